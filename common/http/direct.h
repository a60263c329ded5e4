/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain requests past libmicrohttpd. Every connection begins direct: as long as whole, plain requests (plain.h) come on it they are read and answered here,
 * for two system calls each. The first thing that is not plain makes libmicrohttpd the connection's server, with that request and for good; it then gets its
 * socketpair. Answers look the same both ways.
 */
#ifndef CORACLE_HTTP_DIRECT_H
#define CORACLE_HTTP_DIRECT_H

#include "common/http/internal.h"

/* What is kept of a request that is not whole yet, and of those behind one under way. A larger request is libmicrohttpd's. */
enum { DIRECT_HEAD_MAX = 1 << 20, DIRECT_BODY_MAX = 112 * 1024, DIRECT_MAX = DIRECT_HEAD_MAX + DIRECT_BODY_MAX };

/* One step of a direct connection: takes a request. True where something moved. */
bool direct_pump(struct http_conn *conn);
/* The connection closes: what was held goes, and counts no more. */
void direct_close(struct http_conn *conn);
/* Keeps what is to be answered and makes it known; where the request holds a stream, an upgrade or an inject, that. Takes a reference of each part. */
void direct_respond(struct http_request *req, int status, const char *content_type, struct bytes **parts, size_t count);
/* Does what its handler, or who went on in its place, left to do: an answer is written, a request continued goes on, one that has neither waits. On its I/O thread. */
void direct_settle(struct http_request *req);
/* The server is over: a request that still waits is let go, what its handler answers later is dropped. */
void direct_cancel(struct http_request *req);

#endif
