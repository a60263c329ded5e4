/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line flags as rows: --name=value, --name value, --bool, --no... is not a form. Values land in the caller's
 * struct by offset. Lists may be given several times or with commas.
 */
#ifndef CORACLE_BASE_FLAGS_H
#define CORACLE_BASE_FLAGS_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <stdio.h>

enum flag_kind {
	FLAG_STRING,      /* char * (owned by the struct; freed by flags_done) */
	FLAG_BOOL,        /* bool; --x alone is true */
	FLAG_INT,         /* int64_t */
	FLAG_DOUBLE,      /* double */
	FLAG_DURATION,    /* int64_t nanoseconds; Go's text */
	FLAG_STRING_LIST, /* struct flag_list */
	FLAG_STRING_ARRAY, /* struct flag_list; one item a flag, commas are part of it */
	FLAG_STRING_MAP,  /* struct flag_list of "k=v" strings */
	FLAG_IGNORED,     /* known to Kubernetes, without effect here; takes a value; warned of once */
	FLAG_REFUSED,     /* known to Kubernetes, and not to be ignored: who asks for it would get less than asked for. Taken at its default, which is `fallback`, or nothing */
};

struct flag_list {
	char **items;
	size_t len;
};

struct flag {
	const char *name;    /* without dashes; as the Kubernetes program of the same role calls it */
	char shorthand;      /* 0: none */
	enum flag_kind kind;
	size_t offset;       /* of the field in the options struct */
	const char *fallback; /* text of the default; NULL: zero value */
	const char *help;    /* one line */
	int64_t min, max;    /* bounds of FLAG_INT; both 0: none */
};

/* Fills `options` with defaults, then from argv. Positional arguments are collected in *ret_args (may be NULL: then they are an error). "--" ends flags. -h/--help and --version are the caller's to check first. Returns 0 or -EINVAL naming the flag. */
int flags_parse(const struct flag *flags, size_t count, int argc, char *const *argv, void *options, struct flag_list *ret_args, struct error *err);
/* True where the last flags_parse of these options saw the flag on the command line. */
bool flags_given(const struct flag *flags, size_t count, int argc, char *const *argv, const char *name);
/* Sets one flag from text, as a config file does. */
int flags_set(const struct flag *flags, size_t count, void *options, const char *name, const char *value, struct error *err);
void flags_done(const struct flag *flags, size_t count, void *options);
void flag_list_done(struct flag_list *list);
void flag_list_add(struct flag_list *list, const char *value);
/* The flag's value in the words of the command line: lists as [a,b]. */
void flag_format(const struct flag *flag, const void *options, struct buf *out);
/* The usage text. */
void flags_print_help(FILE *out, const char *program, const char *summary, const struct flag *flags, size_t count);

#endif
