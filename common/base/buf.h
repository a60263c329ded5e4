/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing byte buffer with a named maximum. An append that would pass the maximum sets `overflow` and appends
 * nothing, then and afterwards: write everything, test buf_failed() once. data is always NUL terminated once
 * anything was appended (the NUL is not counted in len).
 */
#ifndef CORACLE_BASE_BUF_H
#define CORACLE_BASE_BUF_H

#include "common/base/base.h"

#include <stdarg.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
	size_t max; /* most bytes it may hold */
	bool overflow;
};

#define BUF_MAX_DEFAULT ((size_t)1 << 30)
/* `struct buf b = BUF_INIT(MAX_BODY);` */
#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_done(struct buf *buf);
#define autobuf cleanup(buf_done)
static inline bool buf_failed(const struct buf *buf) {
	return buf->overflow;
}
/* Empties it, keeps the memory. */
void buf_reset(struct buf *buf);
/* Makes room for `extra` more bytes. Returns false where that passes the maximum. */
bool buf_reserve(struct buf *buf, size_t extra);
void buf_append(struct buf *buf, const void *data, size_t len);
void buf_append_str(struct buf *buf, const char *s);
void buf_append_char(struct buf *buf, char c);
void buf_append_int(struct buf *buf, int64_t value);
void buf_append_uint(struct buf *buf, uint64_t value);
void buf_printf(struct buf *buf, const char *fmt, ...) printf_like(2, 3);
void buf_vprintf(struct buf *buf, const char *fmt, va_list args) printf_like(2, 0);
/* Appends `s` as a JSON string with its quotes; escapes as encoding/json does (<, >, & are kept; U+2028/9 escaped). */
void buf_append_json_string(struct buf *buf, const char *s, size_t len);
void buf_append_base64(struct buf *buf, const void *data, size_t len);
/* Drops the first `len` bytes. */
void buf_consume(struct buf *buf, size_t len);
/* Gives the NUL-terminated data to the caller to free; the buffer is empty afterwards. */
char *buf_take(struct buf *buf);

/*
 * Immutable bytes with a count of references: what a cache and a thousand sockets share.
 * Thread safe. `data` is followed by a NUL that `len` does not count.
 */
struct bytes {
	unsigned refs; /* atomic */
	size_t len;
	char data[];
};
struct bytes *bytes_new(const void *data, size_t len);
/* For filling in place before it is published. */
struct bytes *bytes_alloc(size_t len);
struct bytes *bytes_ref(struct bytes *bytes);
/* Takes NULL. Returns NULL. */
struct bytes *bytes_unref(struct bytes *bytes);
static inline void cleanup_bytes(struct bytes **bytes) {
	*bytes = bytes_unref(*bytes);
}
#define autobytes cleanup(cleanup_bytes)
/* Copies what the buffer holds, exactly sized. */
struct bytes *buf_to_bytes(const struct buf *buf);

#endif
