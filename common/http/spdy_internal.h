/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_HTTP_SPDY_INTERNAL_H
#define CORACLE_HTTP_SPDY_INTERNAL_H

#include "common/http/spdy.h"

#include <zlib.h>

enum {
	SPDY_DICTIONARY_LEN = 1423,
	SPDY_HEADER_BLOCK_MAX = 64 << 10, /* inflated */
	SPDY_HEADERS_MAX = 128,
};

const uint8_t *spdy_dictionary(void);

/* One direction of a session's headers; all blocks share the compression's state. */
struct spdy_inflate {
	z_stream z;
	struct buf block; /* the last one, taken apart in place */
	struct spdy_header headers[SPDY_HEADERS_MAX];
	size_t count;
};
void spdy_inflate_init(struct spdy_inflate *in);
void spdy_inflate_done(struct spdy_inflate *in);
/* 0 with headers and count set, -EPROTO or -EMSGSIZE. */
int spdy_inflate_block(struct spdy_inflate *in, const uint8_t *data, size_t len);

void spdy_deflate_init(z_stream *z);
/* Appends a compressed block. */
void spdy_deflate_block(z_stream *z, const struct spdy_header *headers, size_t count, struct buf *out);

#endif
