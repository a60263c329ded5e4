/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of a connection: GnuTLS records or plain bytes, and what neither took yet. */
#include "common/http/internal.h"

#include <errno.h>
#include <unistd.h>

enum { READ_AHEAD = 4096 };

/*
 * GnuTLS asks for the 5 bytes of a record's head, then for the rest. Small asks are read ahead, and a short read says that the socket is
 * empty until its next event: one system call for a request instead of three.
 */
ssize_t transport_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct http_conn *conn = ptr;
	uint8_t step[READ_AHEAD];
	if (!pending_empty(&conn->ahead)) {
		size_t n = min_of(len, conn->ahead.len - conn->ahead.pos);
		memcpy(data, conn->ahead.data + conn->ahead.pos, n);
		conn->ahead.pos += n;
		if (pending_empty(&conn->ahead))
			pending_clear(&conn->ahead);
		return (ssize_t)n;
	}
	if (conn->drained) {
		conn->starved = true;
		errno = EAGAIN;
		return -1;
	}
	bool small = len < sizeof(step);
	size_t asked = small ? sizeof(step) : len;
	ssize_t n = recv(conn->sock, small ? step : data, asked, 0);
	conn->drained = n > 0 && (size_t)n < asked && !conn->sock_ending;
	if (n < 0 && errno == EAGAIN)
		conn->starved = true;
	if (!small || n <= 0)
		return n;
	size_t taken = min_of(len, (size_t)n);
	memcpy(data, step, taken);
	if (taken < (size_t)n)
		pending_keep(&conn->ahead, step + taken, (size_t)n - taken);
	return (ssize_t)taken;
}

ssize_t transport_recv(struct http_conn *conn, void *data, size_t len)
{
	if (!conn->tls) {
		ssize_t n;
		if (conn->drained)
			return -EAGAIN;
		do
			n = recv(conn->sock, data, len, 0);
		while (n < 0 && errno == EINTR);
		conn->drained = n > 0 && (size_t)n < len && !conn->sock_ending;
		if (n >= 0)
			return n;
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	}
	for (;;) {
		conn->starved = false;
		ssize_t n = gnutls_record_recv(conn->tls, data, len);
		if (n >= 0)
			return n;
		/* A new key of the peer is reported as E_AGAIN too, though more may lie here already. */
		if (n == GNUTLS_E_AGAIN && !conn->starved && !gnutls_record_get_direction(conn->tls))
			continue;
		if (n == GNUTLS_E_AGAIN)
			return -EAGAIN;
		/* Most clients close without a close_notify; HTTP bounds its messages itself. */
		if (n == GNUTLS_E_PREMATURE_TERMINATION)
			return 0;
		/* A renegotiation (TLS 1.2) is not granted: the certificate was judged once. */
		if (n == GNUTLS_E_REHANDSHAKE || gnutls_error_is_fatal((int)n))
			return -EPIPE;
	}
}

ssize_t transport_send(struct http_conn *conn, const void *data, size_t len)
{
	if (!conn->tls) {
		ssize_t n;
		do
			n = send(conn->sock, data, len, MSG_NOSIGNAL);
		while (n < 0 && errno == EINTR);
		if (n >= 0)
			return n;
		return errno == EAGAIN ? -EAGAIN : -EPIPE;
	}
	for (;;) {
		/* After a block the record lies encrypted inside; asking with NULL flushes it and returns what it stood for. */
		ssize_t n = conn->tls_blocked ? gnutls_record_send(conn->tls, NULL, 0) : gnutls_record_send(conn->tls, data, len);
		if (n >= 0) {
			conn->tls_blocked = false;
			return n;
		}
		if (n == GNUTLS_E_AGAIN) {
			conn->tls_blocked = true;
			return -EAGAIN;
		}
		if (n == GNUTLS_E_INTERRUPTED) {
			conn->tls_blocked = true;
			continue;
		}
		return -EPIPE;
	}
}

void transport_shutdown_write(struct http_conn *conn)
{
	/* close_notify where it fits; a client that reads nothing gets the end from TCP. */
	if (conn->tls && !conn->handshaking)
		gnutls_bye(conn->tls, GNUTLS_SHUT_WR);
	shutdown(conn->sock, SHUT_WR);
}

void pending_keep(struct pending *pending, const void *data, size_t len)
{
	pending_clear(pending);
	pending->data = xmemdup(data, len);
	pending->len = len;
}

void pending_clear(struct pending *pending)
{
	free(pending->data);
	*pending = (struct pending){0};
}

bool conn_write(struct http_conn *conn, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len) {
		ssize_t n = transport_send(conn, at, len);
		if (n == -EAGAIN) {
			conn->writable = false;
			pending_keep(&conn->out, at, len);
			return true;
		}
		if (n < 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

bool conn_append(struct http_conn *conn, const void *data, size_t len)
{
	struct pending *out = &conn->out;
	if (pending_empty(out))
		return conn_write(conn, data, len);
	/* GnuTLS may hold a record of what lies at `pos`: it is asked for by length only, so it may move. */
	out->data = xrealloc(out->data, out->len + len);
	memcpy(out->data + out->len, data, len);
	out->len += len;
	return true;
}
