/* SPDX-License-Identifier: Apache-2.0 */
/* The answer of an HTTP/1.1 server (RFC 9112), taken apart as its bytes come. Bounded: 64 KiB of head, and of the body what the reader allows. */
#ifndef CORACLE_APISERVER_ANSWER_H
#define CORACLE_APISERVER_ANSWER_H

#include "common/base/buf.h"
#include "common/base/error.h"

struct http_answer {
	int status;        /* 0: the head is not all there yet */
	bool text;         /* its body is said to be text */
	bool keep;         /* the connection may be used again, once the answer is whole */
	struct buf body;   /* its maximum is set by http_answer_init */

	struct buf in;     /* not understood yet */
	enum { ANSWER_HEAD, ANSWER_LENGTH, ANSWER_CHUNK_SIZE, ANSWER_CHUNK, ANSWER_CHUNK_END, ANSWER_TRAILER, ANSWER_TO_END, ANSWER_WHOLE } state;
	size_t left;       /* of the body or of the chunk at hand */
};

void http_answer_init(struct http_answer *answer, size_t max_body);
void http_answer_done(struct http_answer *answer);
/* Takes bytes. 1: the answer is whole (what follows it is not looked at), 0: more is to come, -EBADMSG or -EFBIG: it is none. */
int http_answer_feed(struct http_answer *answer, const void *data, size_t len, struct error *err);
/* The server has closed. 1: the answer is whole by that, -EPIPE: it was cut off. */
int http_answer_close(struct http_answer *answer, struct error *err);

#endif
