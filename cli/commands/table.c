/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"

const struct cli_command *const cli_commands[] = {
	&command_get,
	&command_describe,
	&command_create,
	&command_apply,
	&command_delete,
	&command_scale,
	&command_logs,
	&command_exec,
	&command_attach,
	&command_image,
	&command_certs,
	&command_supervise,
	NULL,
};
