/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client for the benches: many TLS connections on few threads, each with one request under way, so that the load costs the machine
 * it shares with the server as little as can be. Answers are read by Content-Length or chunks; bodies are counted and thrown away.
 */
#ifndef TEST_BENCH_CLIENT_H
#define TEST_BENCH_CLIENT_H

#include "common/base/base.h"
#include "common/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum client_part { CLIENT_HEAD, CLIENT_LENGTH, CLIENT_CHUNK_SIZE, CLIENT_CHUNK, CLIENT_CHUNK_END, CLIENT_TRAILER };

struct client {
	int fd;
	gnutls_session_t tls;
	enum client_part part;
	uint64_t left;     /* of the body or the chunk */
	char line[16384];  /* a head or the line of a chunk, until it is whole */
	size_t have;
	int status;
	uint64_t body;
	int64_t began_ns;
	int number; /* of the request under way; the caller's */
	size_t in_pos, in_len;
	char in[32 << 10]; /* read ahead of GnuTLS, which asks for five bytes and then for a record */
};

static inline void client_die(const char *what, const char *detail)
{
	fprintf(stderr, "bench: %s: %s\n", what, detail);
	exit(1);
}

static inline ssize_t client_pull(gnutls_transport_ptr_t ptr, void *data, size_t len)
{
	struct client *c = ptr;
	if (c->in_pos == c->in_len) {
		ssize_t n = recv(c->fd, c->in, sizeof(c->in), 0);
		if (n <= 0)
			return n;
		c->in_pos = 0;
		c->in_len = (size_t)n;
	}
	len = min_of(len, c->in_len - c->in_pos);
	memcpy(data, c->in + c->in_pos, len);
	c->in_pos += len;
	return (ssize_t)len;
}

static inline ssize_t client_push(gnutls_transport_ptr_t ptr, const void *data, size_t len)
{
	return send(((struct client *)ptr)->fd, data, len, MSG_NOSIGNAL);
}

/* Connects and shakes hands, blocking; the socket is non-blocking afterwards. */
static inline void client_connect(struct client *c, const char *host, const char *port, gnutls_certificate_credentials_t credentials)
{
	struct addrinfo *list, hints = {.ai_socktype = SOCK_STREAM};
	int on = 1, r;
	*c = (struct client){.fd = -1};
	if (getaddrinfo(host, port, &hints, &list) != 0)
		client_die("resolve", host);
	c->fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(c->fd, list->ai_addr, list->ai_addrlen) < 0)
		client_die("connect", strerror(errno));
	freeaddrinfo(list);
	gnutls_init(&c->tls, GNUTLS_CLIENT);
	gnutls_set_default_priority(c->tls);
	gnutls_credentials_set(c->tls, GNUTLS_CRD_CERTIFICATE, credentials);
	gnutls_transport_set_ptr(c->tls, c);
	gnutls_transport_set_pull_function(c->tls, client_pull);
	gnutls_transport_set_push_function(c->tls, client_push);
	while ((r = gnutls_handshake(c->tls)) < 0)
		if (gnutls_error_is_fatal(r))
			client_die("handshake", gnutls_strerror(r));
	fcntl(c->fd, F_SETFL, fcntl(c->fd, F_GETFL) | O_NONBLOCK);
}

static inline void client_close(struct client *c)
{
	gnutls_deinit(c->tls);
	close(c->fd);
}

/* Sends a whole request; waits where the socket is full. */
static inline void client_send(struct client *c, const char *data, size_t len)
{
	c->began_ns = clock_monotonic_ns();
	c->part = CLIENT_HEAD;
	c->have = 0;
	c->body = 0;
	while (len) {
		ssize_t n = gnutls_record_send(c->tls, data, len);
		if (n < 0 && gnutls_error_is_fatal((int)n))
			client_die("send", gnutls_strerror((int)n));
		data += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

/* Adds bytes to the line until it ends in mark; returns the bytes taken, and whether the mark came. */
static inline size_t client_line(struct client *c, const char *data, size_t len, const char *mark, bool *whole)
{
	size_t room = sizeof(c->line) - 1 - c->have, n = min_of(len, room), before = c->have, mark_len = strlen(mark);
	memcpy(c->line + c->have, data, n);
	c->have += n;
	size_t from = before > mark_len ? before - mark_len : 0;
	char *end = memmem(c->line + from, c->have - from, mark, mark_len);
	*whole = end != NULL;
	if (!end) {
		if (c->have == sizeof(c->line) - 1)
			client_die("answer", "a line is too long");
		return n;
	}
	size_t upto = (size_t)(end - c->line) + mark_len;
	c->line[upto] = '\0';
	c->have = 0;
	return upto - before;
}

static inline bool client_head(struct client *c)
{
	c->status = (int)strtol(c->line + 9, NULL, 10);
	const char *length = strcasestr(c->line, "\r\ncontent-length:");
	if (strcasestr(c->line, "\r\ntransfer-encoding: chunked")) {
		c->part = CLIENT_CHUNK_SIZE;
		return false;
	}
	c->left = length ? strtoull(length + 17, NULL, 10) : 0;
	c->body = c->left;
	c->part = CLIENT_LENGTH;
	return c->left == 0;
}

/* Takes bytes of an answer. True when it is whole. */
static inline bool client_take(struct client *c, const char *data, size_t len)
{
	while (len) {
		size_t n = 0;
		bool whole = false;
		switch (c->part) {
		case CLIENT_HEAD:
			n = client_line(c, data, len, "\r\n\r\n", &whole);
			if (whole && client_head(c))
				return true;
			break;
		case CLIENT_LENGTH:
			n = (size_t)min_of((uint64_t)len, c->left);
			c->left -= n;
			if (c->left == 0)
				return true;
			break;
		case CLIENT_CHUNK_SIZE:
			n = client_line(c, data, len, "\r\n", &whole);
			if (whole) {
				c->left = strtoull(c->line, NULL, 16);
				c->body += c->left;
				c->part = c->left ? CLIENT_CHUNK : CLIENT_TRAILER;
			}
			break;
		case CLIENT_CHUNK:
			n = (size_t)min_of((uint64_t)len, c->left);
			c->left -= n;
			if (c->left == 0)
				c->part = CLIENT_CHUNK_END;
			break;
		case CLIENT_CHUNK_END:
			n = client_line(c, data, len, "\r\n", &whole);
			if (whole)
				c->part = CLIENT_CHUNK_SIZE;
			break;
		case CLIENT_TRAILER:
			n = client_line(c, data, len, "\r\n", &whole);
			if (whole)
				return true;
			break;
		}
		data += n;
		len -= n;
	}
	return false;
}

/* GnuTLS says so too where it has taken a message of its own; more may be read ahead. */
static inline bool client_has_no_more(const struct client *c, ssize_t n)
{
	return n == GNUTLS_E_AGAIN && c->in_pos == c->in_len;
}

/* Reads what has come. 1: an answer is whole, 0: more is to come. */
static inline int client_receive(struct client *c)
{
	static _Thread_local char buffer[64 << 10];
	for (;;) {
		ssize_t n = gnutls_record_recv(c->tls, buffer, sizeof(buffer));
		if (client_has_no_more(c, n))
			return 0;
		if (n < 0 && !gnutls_error_is_fatal((int)n))
			continue;
		if (n <= 0)
			client_die("receive", n ? gnutls_strerror((int)n) : "closed");
		if (client_take(c, buffer, (size_t)n))
			return 1;
	}
}

#endif
