/* SPDX-License-Identifier: Apache-2.0 */
/* /run: a command to its end, its output as the answer. */
#include "kubelet/server/server.h"

#define MAX_OUTPUT (16u << 20)
#define TIMEOUT_MS 120000


void route_run(struct route_request *r) {
	struct container_status *status = NULL;
	autobuf struct buf out = BUF_INIT(MAX_OUTPUT);
	autoerror struct error err = {0};
	int code = 0;
	const char *cmd = http_query(r->http, "cmd");
	if (str_empty(cmd)) {
		route_text(r, 400, "cmd is empty");
		return;
	}
	if (route_container(r, false, &status) < 0)
		return;
	/* One string, split at blanks, as the kubelet has always done. */
	char *copy = arena_strdup(http_arena(r->http), cmd), *save = NULL;
	const char **argv = arena_calloc(http_arena(r->http), strlen(cmd) / 2 + 2, sizeof(*argv));
	size_t count = 0;
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		argv[count++] = word;
	int result = runtime_exec_sync(r->kubelet->runtime, status->id, argv, TIMEOUT_MS, &out, &code, &err);
	container_status_free(status);
	if (result < 0)
		route_text(r, 500, "%s", error_message(&err));
	else if (code)
		route_text(r, 500, "command '%s' exited with %d: %s", cmd, code, out.data ? out.data : "");
	else
		route_answer(r, "text/plain", &out);
}
