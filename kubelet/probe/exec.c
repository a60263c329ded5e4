/* SPDX-License-Identifier: Apache-2.0 */
/* exec: a command in the container; exit code 0 is success. */
#include "kubelet/probe/checks.h"

#include <errno.h>

static bool handles(const struct core_v1_probe_handler *handler) {
	return handler->exec;
}

static enum probe_result run(const struct probe_target *target, struct buf *output) {
	const struct api_string_list *command = &target->handler->exec->command;
	const char **argv = xcalloc(command->len + 1, sizeof(*argv));
	for (uint32_t i = 0; i < command->len; i++)
		argv[i] = command->items[i];
	autoerror struct error err = {0};
	int code = 0, r = runtime_exec_sync(target->kubelet->runtime, target->container_id, argv, target->timeout_ms, output, &code, &err);
	free(argv);
	if (r == -ETIMEDOUT) {
		buf_reset(output);
		buf_printf(output, "command timed out: \"%s\" timed out after %ds", command->len ? command->items[0] : "", target->timeout_ms / 1000);
		return PROBE_FAILURE;
	}
	if (r < 0) {
		buf_reset(output);
		buf_append_str(output, error_message(&err));
		return PROBE_UNKNOWN;
	}
	return code == 0 ? PROBE_SUCCESS : PROBE_FAILURE;
}

const struct probe_check probe_exec = {.name = "exec", .handles = handles, .run = run};
