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
extern const struct cli_command command_attach;
extern const struct cli_command command_describe;
extern const struct cli_command command_exec;
extern const struct cli_command command_image;
extern const struct cli_command command_logs;
extern const struct cli_command command_scale;
extern const struct cli_command command_label;
extern const struct cli_command command_annotate;
extern const struct cli_command command_patch;
extern const struct cli_command command_version;
extern const struct cli_command command_cluster_info;
extern const struct cli_command command_api_resources;
extern const struct cli_command command_api_versions;
extern const struct cli_command command_wait;
extern const struct cli_command command_cordon;
extern const struct cli_command command_uncordon;
extern const struct cli_command command_drain;
extern const struct cli_command command_taint;
extern const struct cli_command command_rollout;
extern const struct cli_command command_run;
extern const struct cli_command command_expose;
extern const struct cli_command command_config;
extern const struct cli_command command_auth;
extern const struct cli_command command_edit;
extern const struct cli_command command_port_forward;
extern const struct cli_command command_cp;
extern const struct cli_command command_explain;
extern const struct cli_command command_top;
extern const struct cli_command command_supervise;

/* Runs a command in a pod's container (subresource exec), or joins it (attach), with this process's stdio. */
int remote_session(struct cli *cli, json_t *pod, const char *subresource, const char *container, const struct flag_list *command, bool use_stdin, bool tty, bool quiet, struct error *err);

#endif
