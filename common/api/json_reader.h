/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON text in one pass: tokens, strings, raw values. Errors are worded as encoding/json words them. */
#ifndef CORACLE_API_JSON_READER_H
#define CORACLE_API_JSON_READER_H

#include "common/api/codec.h"

/* Where the reader stands in the object: a chain on the C stack. */
struct json_path {
	const struct json_path *up;
	const char *key; /* NULL: an index */
	size_t key_len;
	size_t index;
	const struct api_type *type; /* struct that holds the field */
};

struct json_reader {
	const char *start, *p, *end;
	struct arena *arena;
	struct buf scratch; /* elements of the lists being read, innermost on top */
	struct buf text;    /* unescaped string */
	uint32_t max_depth;
	uint32_t depth;
	const struct api_field *const *skip; /* left out; may be NULL */
	bool strict;        /* collect unknown and duplicate fields */
	struct api_warning_list found;
	char *message;      /* of the first error; malloc */
	bool syntax;        /* the text is no JSON at all */
};

#define JSON_MAX_WARNINGS 100

void json_reader_init(struct json_reader *r, const char *json, size_t len, struct arena *arena);
void json_reader_done(struct json_reader *r);
/* Sets the error where there is none yet. Returns -EINVAL. */
int json_fail(struct json_reader *r, const char *fmt, ...) printf_like(2, 3);
/* "invalid character 'x' <where>" or the end of input. */
int json_fail_at(struct json_reader *r, const char *where);
/* Past white space; the next byte or -1 at the end. */
int json_peek(struct json_reader *r);
/* Consumes `c` or fails. */
int json_expect(struct json_reader *r, char c, const char *where);
/*
 * A string token. *ret points into the text where nothing needs unescaping, else into r->text; valid until the next token. Bad
 * UTF-8 and NUL become U+FFFD.
 */
int json_read_string(struct json_reader *r, const char **ret, size_t *ret_len);
/* The text of a number token. */
int json_read_number(struct json_reader *r, const char **ret, size_t *ret_len);
int json_read_literal(struct json_reader *r, const char *literal);
/* Checks and skips any value without recursion. */
int json_skip(struct json_reader *r);
/* Any value as compact text in the arena. */
int json_read_raw(struct json_reader *r, struct api_raw *ret);
/* "spec.containers[0].name" (with_index) or "spec.containers.name", without the keys of maps either; malloc. */
char *json_path_text(const struct json_path *path, bool with_index);
void json_found(struct json_reader *r, const char *what, const struct json_path *path);

/* A time that was parsed has the six digits of a fraction that a MicroTime must have. */
bool time_text_is_micro(const char *text, size_t len);
/* Appends why the text is no Time or MicroTime, in Go's words. */
void time_text_explain(const char *text, size_t len, bool micro, struct buf *out);

/* Opens an object or list already peeked; counts depth. */
int json_enter(struct json_reader *r);
static inline void json_leave(struct json_reader *r) {
	r->depth--;
}

/* apiVersion and kind at the top of an object, malloc, NULL where absent. Other parts are only skipped. */
int json_peek_kind(const char *json, size_t len, char **ret_api_version, char **ret_kind, char **ret_message);

/*
 * What a strict reading of any value finds: `duplicate field "a.b"`, in order, up to the first fault of the text, JSON_MAX_WARNINGS at most. known: of a list of
 * objects, the members that these may have (`unknown field "[0].x"`), NULL terminated; NULL: any.
 */
void json_find_duplicates(const char *json, size_t len, const char *const *known, struct api_warning_list *ret);

#endif
