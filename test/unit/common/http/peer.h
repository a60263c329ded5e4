/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking client for the tests of this folder: raw bytes over TCP or TLS, with a time limit on every read. */
#ifndef TEST_HTTP_PEER_H
#define TEST_HTTP_PEER_H

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PEER_PATIENCE 25 /* seconds; a machine that does much else, and the thread sanitizer, are slow */

struct peer {
	int fd;
	gnutls_session_t tls;
	gnutls_certificate_credentials_t creds;
	bool failed; /* the handshake, where it may */
};

struct peer_options {
	bool tls;
	const char *cert, *key;
	int rcvbuf;
	const char *priority;         /* NULL: GnuTLS' own */
	const gnutls_datum_t *resume; /* a session to resume; NULL: none */
	bool may_fail;
	const char *name;             /* asked for; NULL: none */
};

static inline struct peer peer_connect(uint16_t port, const struct peer_options *options)
{
	struct peer peer = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	struct timeval limit = {.tv_sec = PEER_PATIENCE};
	int on = 1;
	setsockopt(peer.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(peer.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(peer.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (options->rcvbuf)
		setsockopt(peer.fd, SOL_SOCKET, SO_RCVBUF, &options->rcvbuf, sizeof(options->rcvbuf));
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert(connect(peer.fd, (struct sockaddr *)&in, sizeof(in)) == 0);
	if (!options->tls)
		return peer;
	gnutls_certificate_allocate_credentials(&peer.creds);
	if (options->cert)
		assert(gnutls_certificate_set_x509_key_file(peer.creds, options->cert, options->key, GNUTLS_X509_FMT_PEM) >= 0);
	/* The stranger's certificate is sent too, although no CA asked for it. */
	gnutls_init(&peer.tls, GNUTLS_CLIENT | GNUTLS_FORCE_CLIENT_CERT | GNUTLS_NO_SIGNAL);
	if (options->priority)
		gnutls_priority_set_direct(peer.tls, options->priority, NULL);
	else
		gnutls_set_default_priority(peer.tls);
	if (options->resume)
		gnutls_session_set_data(peer.tls, options->resume->data, options->resume->size);
	if (options->name)
		gnutls_server_name_set(peer.tls, GNUTLS_NAME_DNS, options->name, strlen(options->name));
	gnutls_datum_t alpn = {(unsigned char *)"http/1.1", 8};
	gnutls_alpn_set_protocols(peer.tls, &alpn, 1, 0);
	gnutls_credentials_set(peer.tls, GNUTLS_CRD_CERTIFICATE, peer.creds);
	gnutls_transport_set_int(peer.tls, peer.fd);
	int rc;
	do
		rc = gnutls_handshake(peer.tls);
	while (rc < 0 && !gnutls_error_is_fatal(rc));
	peer.failed = rc != 0;
	assert(rc == 0 || options->may_fail);
	return peer;
}

static inline void peer_close(struct peer *peer)
{
	if (peer->tls) {
		gnutls_deinit(peer->tls);
		gnutls_certificate_free_credentials(peer->creds);
	}
	close(peer->fd);
}

static inline bool peer_send(struct peer *peer, const void *data, size_t len)
{
	const char *at = data;
	while (len) {
		ssize_t n = peer->tls ? gnutls_record_send(peer->tls, at, len) : send(peer->fd, at, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		at += n;
		len -= (size_t)n;
	}
	return true;
}

static inline bool peer_say(struct peer *peer, const char *text)
{
	return peer_send(peer, text, strlen(text));
}

/* 0 at the end, -1 on errors and after PEER_PATIENCE seconds. */
static inline ssize_t peer_recv(struct peer *peer, void *data, size_t len)
{
	if (!peer->tls)
		return recv(peer->fd, data, len, 0);
	time_t limit = time(NULL) + PEER_PATIENCE;
	for (;;) {
		ssize_t n = gnutls_record_recv(peer->tls, data, len);
		if (n >= 0)
			return n;
		if (n == GNUTLS_E_PREMATURE_TERMINATION)
			return 0;
		/* Session tickets are reported as E_AGAIN too: only a time-out of the socket is one. */
		if (gnutls_error_is_fatal((int)n) || time(NULL) > limit)
			return -1;
	}
}

struct answer {
	int status;
	char head[8192];
	char *body;
	size_t len;
};

static inline bool peer_byte(struct peer *peer, char *c)
{
	return peer_recv(peer, c, 1) == 1;
}

static inline bool peer_exact(struct peer *peer, char *data, size_t len)
{
	for (size_t n = 0; n < len;) {
		ssize_t got = peer_recv(peer, data + n, len - n);
		if (got <= 0)
			return false;
		n += (size_t)got;
	}
	return true;
}

static inline bool peer_head(struct peer *peer, struct answer *a)
{
	size_t n = 0;
	a->head[0] = 0;
	while (!(n >= 4 && !memcmp(a->head + n - 4, "\r\n\r\n", 4))) {
		if (n + 1 >= sizeof(a->head) || !peer_byte(peer, a->head + n))
			return false;
		a->head[++n] = 0;
	}
	return sscanf(a->head, "HTTP/1.%*d %d", &a->status) == 1;
}

static inline const char *answer_header(const struct answer *a, const char *name)
{
	static __thread char value[1024];
	size_t len = strlen(name);
	for (const char *line = a->head; (line = strstr(line, "\r\n")) && line[2] != '\r'; ) {
		line += 2;
		if (!strncasecmp(line, name, len) && line[len] == ':') {
			line += len + 1 + strspn(line + len + 1, " ");
			snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\r"), line);
			return value;
		}
	}
	return NULL;
}

/* One chunk into body (appended); false at the last, or where it is broken (then *ok is false). */
static inline bool peer_chunk(struct peer *peer, struct answer *a, bool *ok)
{
	char line[32];
	size_t n = 0;
	do {
		if (n + 1 >= sizeof(line) || !peer_byte(peer, line + n)) {
			*ok = false;
			return false;
		}
	} while (line[n++] != '\n');
	size_t len = strtoul(line, NULL, 16);
	a->body = realloc(a->body, a->len + len + 3);
	*ok = peer_exact(peer, a->body + a->len, len + 2) && !memcmp(a->body + a->len + len, "\r\n", 2);
	a->len += *ok ? len : 0;
	a->body[a->len] = 0;
	return *ok && len;
}

/* A whole answer; head_only for HEAD. The body is to be freed. */
static inline bool peer_answer(struct peer *peer, struct answer *a, bool head_only)
{
	memset(a, 0, sizeof(*a));
	if (!peer_head(peer, a))
		return false;
	if (head_only || a->status == 204 || a->status == 304 || a->status < 200)
		return true;
	const char *length = answer_header(a, "Content-Length");
	if (length) {
		a->len = strtoul(length, NULL, 10);
		a->body = calloc(1, a->len + 1);
		return peer_exact(peer, a->body, a->len);
	}
	bool ok = true;
	if (answer_header(a, "Transfer-Encoding")) {
		while (peer_chunk(peer, a, &ok))
			;
		return ok;
	}
	char buf[4096];
	ssize_t got;
	while ((got = peer_recv(peer, buf, sizeof(buf))) > 0) {
		a->body = realloc(a->body, a->len + (size_t)got + 1);
		memcpy(a->body + a->len, buf, (size_t)got);
		a->len += (size_t)got;
		a->body[a->len] = 0;
	}
	return got == 0;
}

#endif
