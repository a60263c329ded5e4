/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request passed on to another server (kubelet, pod, service), its answer streamed back as it comes: plain answers with back
 * pressure, as messages of a WebSocket where asked for, upgrades (101) as a pair of byte streams. All connections live on one event loop's thread; nothing blocks.
 */
#ifndef CORACLE_APISERVER_UPSTREAM_H
#define CORACLE_APISERVER_UPSTREAM_H

#include "apiserver/request/request.h"

#include <gnutls/gnutls.h>

struct upstream_options {
	const char *address;        /* numeric */
	uint16_t port;
	gnutls_certificate_credentials_t credentials; /* NULL: no TLS; must outlive the connection */
	bool verify;                /* the server's certificate, for server_name or else `address` */
	const char *server_name;    /* by which it is asked for; NULL: none */
	const char *method;
	const char *target;         /* path and query to ask for */
	const char *location_prefix;/* put before the path of Location headers; NULL: leave them */
	const char *messages;       /* a protocol of upstream_message_protocols: the client's WebSocket takes the body in messages; NULL: it is answered plainly. Static */
	bool errors_as_status;      /* answers of 400 and more become a Status with their text as message */
	const char *reached;        /* "error trying to reach service: " or "", before the reason of a failed connection */
	int unreachable_code;       /* 503 or 500 */
	bool plain_errors;          /* a failed connection is told in plain text, not as a Status */
	bool reject_redirects;      /* the server may not send the client elsewhere: 502 */
	const char *headers;        /* more lines of the request's head, each with its CR LF; NULL: none */
	int64_t deadline_ns;        /* monotonic, by when all of the answer must have come; 0: it may last, once it has begun */
	/* Called once when nothing of the above is used any more; may be NULL. */
	void (*release)(void *arg);
	void *release_arg;
};
/* How a body goes into messages, for websocket_choose(). */
extern const char *const upstream_message_protocols[];
/* Takes the request over; it is answered in every case. Texts are copied, but for `messages`. The request's headers and body go along, without credentials. */
void upstream_start(struct loop *loop, struct request *r, const struct upstream_options *options);

#endif
