/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects for people to read. Each kind that deserves it has a file and a row in table.c; every other one is shown generically.
 */
#ifndef CORACLE_CLI_DESCRIBE_H
#define CORACLE_CLI_DESCRIBE_H

#include "cli/columns.h"
#include "cli/request.h"

struct describe {
	struct cli *cli;
	struct columns columns;
};
struct describe_kind {
	const char *group, *kind;
	void (*write)(struct describe *d, json_t *object);
};
extern const struct describe_kind *const describe_kinds[]; /* NULL terminated */

/* Appends the description of the object, its events included where asked for. */
void describe_object(struct cli *cli, const struct cli_resource *resource, json_t *object, bool with_events, struct buf *out);

/* "Key:  value" at `level`; a value that is empty prints as <none>. */
void describe_text(struct describe *d, int level, const char *key, const char *value);
void describe_printf(struct describe *d, int level, const char *key, const char *fmt, ...) printf_like(4, 5);
/* A line without a value: the head of what follows. */
void describe_head(struct describe *d, int level, const char *text);
/* A map as "a=b", one a line under one key. */
void describe_map(struct describe *d, int level, const char *key, json_t *map);
/* The values of a map, each with its key: "cpu:  1". */
void describe_values(struct describe *d, int level, const char *key, json_t *map);
/* One row of a table below `level`. NULL ends the cells. */
void describe_row(struct describe *d, int level, const char *first, ...) __attribute__((sentinel));
/* Name, namespace, labels, annotations. */
void describe_metadata(struct describe *d, json_t *object);
/* Any value, keys as titles. */
void describe_value(struct describe *d, int level, const char *key, json_t *value);
void describe_conditions(struct describe *d, json_t *conditions, bool with_times);
/* The containers of a pod or template, with their statuses where there are any. */
void describe_containers(struct describe *d, int level, const char *title, json_t *containers, json_t *statuses);
void describe_pod_template(struct describe *d, json_t *template);
void describe_volumes(struct describe *d, int level, json_t *volumes);
/* "5m", of an RFC 3339 time; in the arena. */
const char *describe_age(struct cli *cli, const char *time);

#endif
