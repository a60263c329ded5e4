/* SPDX-License-Identifier: Apache-2.0 */
/* What `create` and its generators share. */
#ifndef CORACLE_CLI_CREATE_H
#define CORACLE_CLI_CREATE_H

#include "cli/output.h"

struct create_options {
	struct cli_globals globals;
	char *output, *dry_run, *field_manager, *validate;
	bool save_config, show_managed_fields;
};
/* Rows for an options struct `type` that begins with struct create_options. */
#define CREATE_FLAGS(type)                                                                                                                         \
	{"output", 'o', FLAG_STRING, offsetof(struct create_options, output), NULL, "Output format: json, yaml, name, ...", 0, 0},                   \
	{"dry-run", 0, FLAG_STRING, offsetof(struct create_options, dry_run), "none", "none, server or client", 0, 0},                              \
	{"field-manager", 0, FLAG_STRING, offsetof(struct create_options, field_manager), "kubectl-create", "Name of the manager of the fields", 0, 0}, \
	{"validate", 0, FLAG_STRING, offsetof(struct create_options, validate), "strict", "strict, warn or ignore unknown fields", 0, 0},            \
	{"save-config", 0, FLAG_BOOL, offsetof(struct create_options, save_config), NULL, "Keep the configuration in an annotation, for apply", 0, 0}, \
	{"show-managed-fields", 0, FLAG_BOOL, offsetof(struct create_options, show_managed_fields), NULL, "Keep managedFields in JSON and YAML", 0, 0}
#define CREATE_FLAG_COUNT 6

extern const struct cli_command *const create_generators[]; /* NULL terminated */

int create_object(struct cli *cli, const struct create_options *options, const struct cli_resource *resource, const char *ns, json_t *object, struct error *err);
/* The same for an object that a generator made: its resource is found by its kind, its namespace is the command's. */
int create_generated(struct cli *cli, const struct create_options *options, json_t *take_object, struct error *err);

#endif
