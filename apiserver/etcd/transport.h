/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A non-blocking byte stream to one etcd endpoint, over TCP or a unix socket, in the clear or by TLS with a client certificate.
 * Belongs to one loop's thread.
 */
#ifndef CORACLE_APISERVER_ETCD_TRANSPORT_H
#define CORACLE_APISERVER_ETCD_TRANSPORT_H

#include "common/base/loop.h"

#include <sys/types.h>

struct endpoint {
	char *host; /* a path where `local` */
	char *port;
	char *authority; /* as it stands in :authority and in the certificate */
	bool tls;
	bool local; /* a unix socket; of a name that begins with @: an abstract one */
};
/* "https://10.0.0.1:2379", "http://[::1]:2379", "unix:///run/etcd.sock", "host:2379" (http). */
int endpoint_parse(const char *url, struct endpoint *ret, struct error *err);
void endpoint_done(struct endpoint *endpoint);

/* The credentials of all TLS connections. */
struct transport_tls;
/* ca_file NULL: the system's trust store. cert_file and key_file: both or neither. */
int transport_tls_new(const char *ca_file, const char *cert_file, const char *key_file, struct transport_tls **ret, struct error *err);
void transport_tls_free(struct transport_tls *tls);

struct transport;
struct transport_events {
	void (*ready)(void *arg);    /* once: connected, and the TLS handshake is done */
	void (*readable)(void *arg); /* read until -EAGAIN */
	void (*writable)(void *arg); /* after transport_write() gave -EAGAIN */
	void (*failed)(const char *why, void *arg); /* once, at most; free it */
};
/* Begins to connect. tls may be NULL where the endpoint is not https. */
int transport_open(struct loop *loop, const struct endpoint *endpoint, struct transport_tls *tls, const struct transport_events *events, void *arg, struct transport **ret,
	struct error *err);
/* Takes NULL. Safe inside its callbacks. */
void transport_free(struct transport *transport);
/* Bytes moved, 0 at the end of the stream (reading), -EAGAIN, or another negative errno: the stream is broken. */
ssize_t transport_read(struct transport *transport, void *data, size_t len);
ssize_t transport_write(struct transport *transport, const void *data, size_t len);
/* In words, what was wrong when one of the two gave this. */
const char *transport_why(const struct transport *transport, int errnum);

#endif
