/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of gnostic's openapi.v2 and openapi.v3 as tables: how the members of a JSON document become fields. What no row names and
 * begins with "x-" is an extension, whose value is YAML, and so may be JSON.
 */
#ifndef CORACLE_APISERVER_OPENAPI_PROTO_H
#define CORACLE_APISERVER_OPENAPI_PROTO_H

#include "apiserver/openapi/openapi.h"

enum proto_how {
	HOW_STRING, HOW_BOOL, HOW_INT, HOW_DOUBLE,
	HOW_STRINGS,  /* repeated string; a single one counts as a list of one */
	HOW_ANY,      /* Any */
	HOW_ANYS,     /* repeated Any */
	HOW_MESSAGE,  /* `of` */
	HOW_MESSAGES, /* repeated `of`; a single one counts as a list of one */
	HOW_NAMED,    /* the members of an object that no other row names and are no extensions, each {name = 1, value = 2: `of`} */
	HOW_NAMED_IN, /* all members of an object, the same way, in field 1 of a message of its own */
};

struct proto_message;
struct proto_row {
	const char *name; /* "*": not a member but the value itself */
	unsigned number;
	enum proto_how how;
	const struct proto_message *of;
};
struct proto_message {
	unsigned extensions; /* number of vendor_extension, specification_extension; 0: none */
	const struct proto_row *rows;
	size_t count;
	/* A oneof: which of its rows, all "*", says the value. `count`: none of them. NULL: all rows count. */
	size_t (*pick)(const json_t *value);
};
#define PROTO_MESSAGE(id, ext, ...) \
	static const struct proto_row id##_rows[] = {__VA_ARGS__}; \
	static const struct proto_message id = {ext, id##_rows, array_len(id##_rows), NULL}
#define PROTO_ONEOF(id, picked_by, ...) \
	static const struct proto_row id##_rows[] = {__VA_ARGS__}; \
	static const struct proto_message id = {0, id##_rows, array_len(id##_rows), picked_by}

/* For `pick`: the second row for a reference, the second row for a boolean. */
size_t proto_pick_reference(const json_t *value);
size_t proto_pick_boolean(const json_t *value);

/* Appends the document, which is JSON of our own, as that message. */
void proto_write(const struct proto_message *m, const char *json, size_t len, struct buf *out);

#endif
