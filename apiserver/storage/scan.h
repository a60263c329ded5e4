/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pass over an object's JSON as it lies in etcd: finds what the index of the cache needs and where metadata.resourceVersion belongs.
 * It checks that brackets and strings are whole, not every token: what is stored was checked when it was written.
 */
#ifndef CORACLE_APISERVER_STORAGE_SCAN_H
#define CORACLE_APISERVER_STORAGE_SCAN_H

#include "common/base/buf.h"

#include <endian.h>

#define SCAN_MAX_DEPTH 1024

/* A string's bytes between its quotes, escapes and all. data NULL: absent. */
struct scan_string {
	const char *data;
	size_t len;
};
struct scan_object {
	size_t len;             /* without white space at the end */
	struct scan_string uid;
	const char *labels;     /* at the brace of metadata.labels, or NULL; for scan_next_label() */
	/* The bytes [cut, resume) are replaced by `before`, the digits, `after`. */
	size_t cut, resume;
	const char *before, *after;
};
/* Any value, white space before it too. Returns behind it, or NULL where a bracket or a string has no end, or a bracket not its own. */
const char *scan_skip_value(const char *p, const char *end);
/* -EINVAL where it is no JSON object with metadata. */
int scan_object(const char *json, size_t len, struct scan_object *ret);
/* Walks labels: *pos begins as object->labels. Values that are no strings are left out. Use only on text that scan_object() took. */
bool scan_next_label(const char **pos, const char *end, struct scan_string *ret_key, struct scan_string *ret_value);
/* Undoes escapes; `out` has room for string.len + 1 bytes. Returns the length. */
size_t scan_unescape(struct scan_string string, char *out);
/* The object with resourceVersion in its place. */
struct bytes *scan_splice(const char *json, const struct scan_object *object, uint64_t resource_version);

/*
 * Within a string, skips eight bytes at once: up to the first quote, backslash or control character, or to where fewer than eight are left. Of the bits found
 * only the lowest is sure, which is the first in the text.
 */
static inline const char *scan_skip_plain(const char *p, const char *end)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;

	while (end - p >= 8) {
		uint64_t w, quote, slash, found;
		memcpy(&w, p, 8);
		w = le64toh(w);
		quote = w ^ ones * '"';
		slash = w ^ ones * '\\';
		found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ones * 0x20) & ~w)) & high;
		if (found)
			return p + __builtin_ctzll(found) / 8;
		p += 8;
	}
	return p;
}

#endif
