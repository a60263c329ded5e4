/* SPDX-License-Identifier: Apache-2.0 */
/* One GET by HTTP/1.0 over TLS on an event loop's thread. Nothing blocks; the answer is bounded in size and time. */
#ifndef CORACLE_APISERVER_FETCH_H
#define CORACLE_APISERVER_FETCH_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/loop.h"

#include <gnutls/gnutls.h>

struct fetch_options {
	const char *address; /* numeric; must outlive the fetch */
	uint16_t port;
	const char *path;
	const char *headers;   /* more lines of the request's head, each with its CR LF; NULL: none */
	gnutls_certificate_credentials_t credentials; /* NULL: no TLS; must outlive the fetch */
	bool verify;           /* the server's certificate, for server_name or else `address` */
	const char *server_name; /* that it is asked for by; NULL: none; must outlive the fetch */
	gnutls_datum_t *ticket; /* resumes this session, and keeps the new one here (gnutls_free); NULL: none; must outlive the fetch */
	int64_t timeout_ns;
	size_t max_body;
	/* Called once, on the loop's thread. body is borrowed, NUL terminated; err set where it failed (status 0). */
	void (*done)(int status, const struct buf *body, const struct error *err, void *arg);
	void *arg;
};
struct fetch;
/* The loop's thread only. The result is good until done was called. */
struct fetch *fetch_start(struct loop *loop, const struct fetch_options *options);
/* In done, of an answer: the value of a header, copied; false where there is none, or it is longer than size. */
bool fetch_header(const struct fetch *fetch, const char *name, char *ret, size_t size);
/* Ends it without calling done. */
void fetch_cancel(struct fetch *fetch);

#endif
