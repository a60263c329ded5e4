/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large bodies past libmicrohttpd: it is given an answer with a chunked body of nothing, and when its head passes by on the way to the
 * client, the connection puts the chunks in, straight from the shared bytes, before the last chunk that libmicrohttpd wrote. Saves two
 * copies through the socketpair, and the connection stays libmicrohttpd's for the next request.
 */
#ifndef CORACLE_HTTP_INJECT_H
#define CORACLE_HTTP_INJECT_H

#include "common/http/internal.h"

struct inject {
	struct list link;
	struct http_server *server;
	int (*next)(void *arg, struct bytes **ret_part);
	void (*done)(void *arg);
	void *arg;
	int64_t left;      /* bytes still promised; negative: unknown */
	struct bytes *part;
	size_t pos;
	uint64_t boundary; /* in the bytes from the server side: where the head of this answer begins */
	unsigned matched;  /* of the CRLF CRLF that ends it */
	bool started, end;
};

struct inject *inject_new(struct http_server *server, int64_t total, int (*next)(void *arg, struct bytes **ret_part), void (*done)(void *arg), void *arg);
/* Takes NULL. Runs done. */
void inject_free(struct inject *inject);
/* The answer is about to be queued: everything libmicrohttpd wrote up to now belongs to earlier ones. */
void inject_attach(struct inject *inject, struct http_conn *conn);
/* Passes bytes of the server side on, up to the end of the head of the next inject; keeps the rest. False where the connection is lost. */
bool inject_deliver(struct http_conn *conn, const uint8_t *data, size_t len);
/* One step of the first one. False where the connection is to be closed. */
bool inject_pump(struct http_conn *conn);
static inline struct inject *inject_first(struct http_conn *conn)
{
	return list_first(&conn->injects, struct inject, link);
}

#endif
