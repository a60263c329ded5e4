/* SPDX-License-Identifier: Apache-2.0 */
/* gRPC's framing: each message is a byte "compressed", four of length, and the bytes; they arrive cut anywhere. */
#ifndef CORACLE_APISERVER_ETCD_FRAME_H
#define CORACLE_APISERVER_ETCD_FRAME_H

#include "common/base/buf.h"

struct frame_reader {
	struct buf data;
	size_t pos; /* of the first byte that was not handed out */
};
#define FRAME_READER_INIT(max_message) ((struct frame_reader){.data = BUF_INIT((max_message) + 5)})

void frame_reader_done(struct frame_reader *reader);
/* -EBADMSG where a frame is compressed or larger than the maximum. */
int frame_reader_add(struct frame_reader *reader, const void *data, size_t len);
/* The next whole message, in place; valid until the next call. */
bool frame_reader_next(struct frame_reader *reader, const void **ret_data, size_t *ret_len);
/* The one message of a unary answer. -EBADMSG where there is not exactly one. */
int frame_reader_message(struct frame_reader *reader, const void **ret_data, size_t *ret_len);
/* grpc-message is percent-encoded; `out` is cut to fit and NUL terminated. */
void frame_unescape(const char *text, size_t len, char *out, size_t out_size);

#endif
