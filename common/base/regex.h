/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Regular expressions as the Kubernetes API takes them from its users: the syntax of Go's regexp, which PCRE2 shares but for what Go leaves out.
 * Subjects and patterns are UTF-8. Searching is bounded: a pattern that would backtrack for ever matches nothing.
 */
#ifndef CORACLE_BASE_REGEX_H
#define CORACLE_BASE_REGEX_H

#include "common/base/base.h"

struct regex;

/* NULL where the pattern is none, or asks for what Go has not (look-around, back references); *ret_why then says why, malloc; may be NULL. */
struct regex *regex_new(const char *pattern, char **ret_why);
void regex_free(struct regex *regex);
/* True where it matches somewhere in `s`. Any thread. */
bool regex_search(const struct regex *regex, const char *s, size_t len);
/* The same, from byte `from` on; *ret_start and *ret_end are the bytes of the first match. */
bool regex_find(const struct regex *regex, const char *s, size_t len, size_t from, size_t *ret_start, size_t *ret_end);

#endif
