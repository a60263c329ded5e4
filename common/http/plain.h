/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heads of plain requests: those that every server and proxy reads alike. One method of a few, a path, HTTP/1.1, header lines of tokens and visible
 * text, and a body of known length or none. Whatever else HTTP allows (chunked bodies, upgrades, expectations, folded lines, HTTP/1.0, bare line ends, ...)
 * and whatever it forbids is not plain: libmicrohttpd judges that.
 */
#ifndef CORACLE_HTTP_PLAIN_H
#define CORACLE_HTTP_PLAIN_H

#include "common/base/base.h"

struct header {
	const char *name, *value;
};

enum { PLAIN_HEADERS_MAX = 1024 };

/* Strings point into the text that was parsed. */
struct plain_head {
	const char *method, *path, *query; /* query: what follows '?', "" where none */
	size_t header_count;
	struct header headers[PLAIN_HEADERS_MAX];
	size_t body_len;
};

/* Whether a byte may stand in a method or the name of a header. */
bool plain_is_token(unsigned char c);
/* Whether it may stand in Host: the characters are those of names, addresses and ports. */
bool plain_is_host(const char *host);
/* The length of the head at the start of data, with the empty line that ends it; 0 where it is not there yet. The first `seen` bytes hold no end. */
size_t plain_head_len(const char *data, size_t len, size_t seen);
/* False where what has come of a head can no longer become a plain one. Looks at its first line only. */
bool plain_may_begin(const char *data, size_t len);
/* Parses a head of plain_head_len() bytes, in place: NULs are put into the text. False, with the text spoiled, where it is not plain. */
bool plain_parse(char *text, size_t len, struct plain_head *ret);

#endif
