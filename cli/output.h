/* SPDX-License-Identifier: Apache-2.0 */
/* The forms of -o. */
#ifndef CORACLE_CLI_OUTPUT_H
#define CORACLE_CLI_OUTPUT_H

#include "cli/request.h"

enum cli_format { CLI_TABLE, CLI_WIDE, CLI_JSON, CLI_YAML, CLI_NAME, CLI_JSONPATH, CLI_JSONPATH_JSON, CLI_COLUMNS };
struct cli_output {
	enum cli_format format;
	const char *argument; /* of jsonpath and custom-columns; in the arena */
	bool no_headers;
	bool show_managed_fields;
};
/* text: what stands after -o; NULL or "": a table. */
int cli_output_parse(struct cli *cli, const char *text, struct cli_output *ret, struct error *err);
/* Prints one object (or list) to stdout. Not for tables. */
int cli_output_print(struct cli *cli, const struct cli_output *output, json_t *object, struct error *err);
/* What commands that change things say: "-o name" names it, "-o yaml" prints it, nothing says "pod/x created". */
int cli_output_result(struct cli *cli, const struct cli_output *output, const struct cli_resource *resource, json_t *object, const char *what, struct error *err);

/* Tables that the server rendered. */
struct cli_table_options {
	bool wide, no_headers, with_namespace, with_kind, show_labels, output_watch_events;
	const char *const *label_columns; /* NULL terminated; NULL: none */
	const char *kind;                 /* "pod" in front of names, where with_kind */
	const char *watch_event;          /* ADDED, ... */
};
/* Appends rows (and the head) of a meta.k8s.io Table. */
void cli_table_write(json_t *table, const struct cli_table_options *options, struct buf *out);
/* One more table of a watch has no head of its own: rows are then read by the columns of `head`. */
void cli_table_adopt_columns(json_t *table, json_t *head);

/* Writes to stdout; flushes where it is a terminal or a pipe somebody waits at. */
void cli_print(const struct buf *out);

#endif
