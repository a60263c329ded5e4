/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of all commands, one defined in each file of this folder; table.c puts them in order. */
#ifndef CORACLE_CLI_COMMANDS_H
#define CORACLE_CLI_COMMANDS_H

#include "cli/cli.h"

extern const struct cli_command command_apply;
extern const struct cli_command command_certs;
extern const struct cli_command command_create;
extern const struct cli_command command_delete;
extern const struct cli_command command_get;
extern const struct cli_command command_image;
extern const struct cli_command command_supervise;

#endif
