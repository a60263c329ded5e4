/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/proxy/fetch.h"
#include "apiserver/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (16u << 10)
#define MAX_HEAD (16u << 10)

enum state { CONNECTING, HANDSHAKE, SENDING, READING };

struct fetch {
	struct loop *loop;
	struct fetch_options options;
	int fd;
	enum state state;
	struct loop_fd *watch;
	struct loop_timer *timer;
	gnutls_session_t tls;
	struct buf out, in, head;
	struct error early; /* why it cannot even begin; told from the loop */
};

static void fetch_free(struct fetch *f) {
	loop_timer_free(f->timer);
	loop_fd_remove(f->watch);
	if (f->tls)
		gnutls_deinit(f->tls);
	if (f->fd >= 0)
		close(f->fd);
	buf_done(&f->out);
	buf_done(&f->in);
	buf_done(&f->head);
	error_done(&f->early);
	free(f);
}

void fetch_cancel(struct fetch *f) {
	fetch_free(f);
}

static void finish(struct fetch *f, int status, const struct error *err) {
	f->options.done(status, &f->in, err, f->options.arg);
	fetch_free(f);
}

static void fail(struct fetch *f, const char *what, const char *why) {
	autoerror struct error err = {0};
	error_set(&err, EIO, "%s: %s", what, why);
	finish(f, 0, &err);
}

static void on_timeout(void *arg) {
	struct fetch *f = arg;
	if (f->early.errnum)
		finish(f, 0, &f->early);
	else
		fail(f, "no answer", "timed out");
}

/* The session's ticket, for the next fetch: a resumed handshake costs a tenth of a full one. */
static void keep_ticket(struct fetch *f) {
	gnutls_datum_t fresh = {0};
	if (!f->tls || !f->options.ticket || gnutls_session_get_data2(f->tls, &fresh) < 0)
		return;
	gnutls_free(f->options.ticket->data);
	*f->options.ticket = fresh;
}

/* Everything has come: splits head and body. */
static void answered(struct fetch *f) {
	const char *end = f->in.data ? strstr(f->in.data, "\r\n\r\n") : NULL;
	int64_t status;
	if (!end || f->in.len < 12 || strncmp(f->in.data, "HTTP/1.", 7) != 0) {
		fail(f, "answer", "not HTTP");
		return;
	}
	autofree char *code = xstrndup(f->in.data + 9, 3);
	if (!str_to_int64(code, 100, 599, &status)) {
		fail(f, "answer", "not HTTP");
		return;
	}
	buf_append(&f->head, f->in.data, (size_t)(end + 2 - f->in.data));
	buf_consume(&f->in, (size_t)(end + 4 - f->in.data));
	keep_ticket(f);
	finish(f, (int)status, NULL);
}

bool fetch_header(const struct fetch *f, const char *name, char *ret, size_t size) {
	size_t len = strlen(name);
	for (const char *line = f->head.data; line && (line = strstr(line, "\r\n")) && *(line += 2);) {
		if (strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		const char *value = line + len + 1 + strspn(line + len + 1, " \t");
		size_t value_len = strcspn(value, "\r\n");
		if (value_len >= size)
			return false;
		memcpy(ret, value, value_len);
		ret[value_len] = '\0';
		return true;
	}
	return false;
}

static ssize_t receive(struct fetch *f, void *data, size_t len) {
	if (!f->tls) {
		ssize_t n = recv(f->fd, data, len, 0);
		return n < 0 ? -errno : n;
	}
	ssize_t n = gnutls_record_recv(f->tls, data, len);
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	return n >= 0 ? n : gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

static void read_answer(struct fetch *f) {
	char chunk[CHUNK];
	for (;;) {
		ssize_t n = receive(f, chunk, sizeof(chunk));
		if (n == -EAGAIN || n == -EINTR)
			return;
		if (n < 0) {
			fail(f, "read", "connection broken");
			return;
		}
		if (n == 0) {
			answered(f);
			return;
		}
		buf_append(&f->in, chunk, (size_t)n);
		if (buf_failed(&f->in)) {
			fail(f, "answer", "too large");
			return;
		}
	}
}

static void send_request(struct fetch *f) {
	while (f->out.len) {
		ssize_t n = f->tls ? gnutls_record_send(f->tls, f->out.data, f->out.len) : send(f->fd, f->out.data, f->out.len, MSG_NOSIGNAL);
		if (n < 0 && (f->tls ? !gnutls_error_is_fatal((int)n) : errno == EAGAIN))
			return;
		if (n <= 0) {
			fail(f, "write", "connection broken");
			return;
		}
		buf_consume(&f->out, (size_t)n);
	}
	f->state = READING;
	loop_fd_set_events(f->watch, EPOLLIN);
	read_answer(f); /* TLS may have it already */
}

static void handshake(struct fetch *f) {
	int rc = gnutls_handshake(f->tls);
	if (rc == GNUTLS_E_SUCCESS) {
		f->state = SENDING;
		loop_fd_set_events(f->watch, EPOLLIN | EPOLLOUT);
		send_request(f);
	} else if (gnutls_error_is_fatal(rc)) {
		fail(f, "TLS", tls_trouble(f->tls, rc));
	} else {
		loop_fd_set_events(f->watch, gnutls_record_get_direction(f->tls) ? EPOLLOUT : EPOLLIN);
	}
}

static bool open_tls(struct fetch *f) {
	if (gnutls_init(&f->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
		return false;
	gnutls_set_default_priority(f->tls);
	gnutls_credentials_set(f->tls, GNUTLS_CRD_CERTIFICATE, f->options.credentials);
	if (f->options.server_name)
		gnutls_server_name_set(f->tls, GNUTLS_NAME_DNS, f->options.server_name, strlen(f->options.server_name));
	if (f->options.verify)
		gnutls_session_set_verify_cert(f->tls, f->options.server_name ? f->options.server_name : f->options.address, 0);
	if (f->options.ticket && f->options.ticket->size)
		gnutls_session_set_data(f->tls, f->options.ticket->data, f->options.ticket->size);
	gnutls_transport_set_int(f->tls, f->fd);
	return true;
}

static void connected(struct fetch *f) {
	int failure = 0;
	socklen_t len = sizeof(failure);
	getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &failure, &len);
	if (failure) {
		fail(f, "connect", strerror(failure));
		return;
	}
	if (!f->options.credentials) {
		f->state = SENDING;
		send_request(f);
	} else if (open_tls(f)) {
		f->state = HANDSHAKE;
		handshake(f);
	} else {
		fail(f, "TLS", "no session");
	}
}

static void on_ready(uint32_t events, void *arg) {
	struct fetch *f = arg;
	switch (f->state) {
	case CONNECTING:
		connected(f);
		return;
	case HANDSHAKE:
		handshake(f);
		return;
	case SENDING:
		send_request(f);
		return;
	case READING:
		read_answer(f);
		return;
	}
}

static int open_socket(struct fetch *f, struct error *err) {
	struct sockaddr_storage to = {0};
	struct sockaddr_in *four = (void *)&to;
	struct sockaddr_in6 *six = (void *)&to;
	socklen_t len = sizeof(*four);
	if (inet_pton(AF_INET, f->options.address, &four->sin_addr) == 1) {
		four->sin_family = AF_INET;
		four->sin_port = htons(f->options.port);
	} else if (inet_pton(AF_INET6, f->options.address, &six->sin6_addr) == 1) {
		six->sin6_family = AF_INET6;
		six->sin6_port = htons(f->options.port);
		len = sizeof(*six);
	} else {
		return error_set(err, EINVAL, "\"%s\" is no address", f->options.address);
	}
	f->fd = socket(to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || (connect(f->fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS))
		return error_set_errno(err, errno, "connect to %s", f->options.address);
	return 0;
}

struct fetch *fetch_start(struct loop *loop, const struct fetch_options *options) {
	struct fetch *f = xnew(struct fetch);
	bool six = strchr(options->address, ':') != NULL;
	f->loop = loop;
	f->options = *options;
	f->fd = -1;
	f->out = BUF_INIT(MAX_HEAD);
	f->in = BUF_INIT(options->max_body + MAX_HEAD);
	f->head = BUF_INIT(options->max_body + MAX_HEAD);
	buf_printf(&f->out, "GET %s HTTP/1.0\r\nHost: %s%s%s:%u\r\n%sUser-Agent: coracle-apiserver/" CORACLE_VERSION "\r\nConnection: close\r\n\r\n",
		   options->path, six ? "[" : "", options->address, six ? "]" : "", options->port, str_or(options->headers, "Accept: text/plain\r\n"));
	f->timer = loop_timer_new(loop, on_timeout, f);
	if (open_socket(f, &f->early) < 0) {
		loop_timer_arm(f->timer, 1); /* done is never called from inside the start */
		return f;
	}
	f->watch = loop_add_fd(loop, f->fd, EPOLLOUT, on_ready, f);
	loop_timer_arm(f->timer, options->timeout_ns);
	return f;
}
