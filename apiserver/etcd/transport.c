/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/etcd/transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- endpoints ---- */

void endpoint_done(struct endpoint *endpoint)
{
	free(endpoint->host);
	free(endpoint->port);
	free(endpoint->authority);
	*endpoint = (struct endpoint){0};
}

int endpoint_parse(const char *url, struct endpoint *ret, struct error *err)
{
	const char *rest = url, *host_end, *port;
	bool tls = false;

	if (str_starts_with(url, "unix://")) {
		rest = url + strlen("unix://");
		if (!*rest || strlen(rest) >= sizeof(((struct sockaddr_un *)0)->sun_path))
			return error_set(err, EINVAL, "endpoint \"%s\": not a usable socket path", url);
		*ret = (struct endpoint){.host = xstrdup(rest), .authority = xstrdup("localhost"), .local = true};
		return 0;
	}
	if (str_starts_with(url, "https://")) {
		rest = url + strlen("https://");
		tls = true;
	} else if (str_starts_with(url, "http://")) {
		rest = url + strlen("http://");
	} else if (strstr(url, "://")) {
		return error_set(err, EINVAL, "etcd endpoint \"%s\": the scheme must be http, https or unix", url);
	}
	size_t len = strcspn(rest, "/");
	const char *end = rest + len;
	if (*rest == '[') {
		host_end = memchr(rest, ']', len);
		if (!host_end)
			return error_set(err, EINVAL, "etcd endpoint \"%s\": missing ]", url);
		port = host_end + 1 < end && host_end[1] == ':' ? host_end + 2 : NULL;
		rest++;
	} else {
		host_end = memchr(rest, ':', len);
		port = host_end ? host_end + 1 : NULL;
		host_end = host_end ? host_end : end;
	}
	if (host_end == rest || (end[0] == '/' && end[1] != '\0'))
		return error_set(err, EINVAL, "etcd endpoint \"%s\": want scheme://host:port", url);
	autofree char *port_text = port ? xstrndup(port, (size_t)(end - port)) : xstrdup(tls ? "443" : "80");
	int64_t number;
	if (!str_to_int64(port_text, 1, 65535, &number))
		return error_set(err, EINVAL, "etcd endpoint \"%s\": bad port \"%s\"", url, port_text);
	*ret = (struct endpoint){.host = xstrndup(rest, (size_t)(host_end - rest)), .port = take_ptr(port_text), .tls = tls};
	ret->authority = strchr(ret->host, ':') ? xprintf("[%s]:%s", ret->host, ret->port) : xprintf("%s:%s", ret->host, ret->port);
	return 0;
}

/* ---- TLS credentials ---- */

struct transport_tls {
	gnutls_certificate_credentials_t credentials;
};

int transport_tls_new(const char *ca_file, const char *cert_file, const char *key_file, struct transport_tls **ret, struct error *err)
{
	struct transport_tls *tls = xnew(struct transport_tls);
	int r = gnutls_certificate_allocate_credentials(&tls->credentials);

	if (r < 0) {
		free(tls);
		return error_set(err, EIO, "TLS credentials: %s", gnutls_strerror(r));
	}
	if (!str_empty(ca_file)) {
		r = gnutls_certificate_set_x509_trust_file(tls->credentials, ca_file, GNUTLS_X509_FMT_PEM);
		r = r == 0 ? GNUTLS_E_NO_CERTIFICATE_FOUND : r;
	} else {
		r = gnutls_certificate_set_x509_system_trust(tls->credentials);
	}
	if (r < 0) {
		error_set(err, EINVAL, "etcd CA file %s: %s", str_or(ca_file, "(system)"), gnutls_strerror(r));
		transport_tls_free(tls);
		return -EINVAL;
	}
	if (!str_empty(cert_file)) {
		r = gnutls_certificate_set_x509_key_file(tls->credentials, cert_file, str_or(key_file, cert_file), GNUTLS_X509_FMT_PEM);
		if (r < 0) {
			error_set(err, EINVAL, "etcd client certificate %s: %s", cert_file, gnutls_strerror(r));
			transport_tls_free(tls);
			return -EINVAL;
		}
	}
	*ret = tls;
	return 0;
}

void transport_tls_free(struct transport_tls *tls)
{
	if (!tls)
		return;
	gnutls_certificate_free_credentials(tls->credentials);
	free(tls);
}

/* ---- the stream ---- */

enum transport_state { TRANSPORT_CONNECTING, TRANSPORT_HANDSHAKE, TRANSPORT_READY, TRANSPORT_FAILED };

struct transport {
	struct loop *loop;
	struct loop_fd *watch;
	int fd;
	enum transport_state state;
	struct addrinfo *addresses, *next_address;
	gnutls_session_t session; /* NULL: in the clear */
	bool write_retry;         /* GnuTLS holds a record that it could not send */
	int tls_error;
	struct transport_events events;
	void *arg;
};

static void fail(struct transport *t, const char *why)
{
	if (t->state == TRANSPORT_FAILED)
		return;
	t->state = TRANSPORT_FAILED;
	if (t->watch)
		loop_fd_set_events(t->watch, 0);
	t->events.failed(why, t->arg);
}

static void on_fd(uint32_t events, void *arg);

static int start_connect(struct transport *t, const struct sockaddr *address, socklen_t len)
{
	int one = 1;

	if (t->watch)
		loop_fd_remove(t->watch);
	t->watch = NULL;
	cleanup_close(&t->fd);
	t->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (t->fd < 0)
		return -errno;
	if (address->sa_family != AF_UNIX)
		(void)setsockopt(t->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (connect(t->fd, address, len) < 0 && errno != EINPROGRESS)
		return -errno;
	t->watch = loop_add_fd(t->loop, t->fd, EPOLLOUT, on_fd, t);
	return 0;
}

/* The next of the addresses that the host's name has. */
static int connect_next(struct transport *t)
{
	int r = -EADDRNOTAVAIL;

	while (t->next_address) {
		const struct addrinfo *a = t->next_address;
		t->next_address = a->ai_next;
		r = start_connect(t, a->ai_addr, a->ai_addrlen);
		if (r == 0)
			return 0;
	}
	return r;
}

static int tls_begin(struct transport *t, const struct endpoint *endpoint, struct transport_tls *tls, struct error *err)
{
	static const gnutls_datum_t alpn = {(unsigned char *)"h2", 2};
	unsigned char address[sizeof(struct in6_addr)];
	bool is_address = inet_pton(AF_INET, endpoint->host, address) == 1 || inet_pton(AF_INET6, endpoint->host, address) == 1;
	int r = gnutls_init(&t->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK);

	if (r < 0) {
		t->session = NULL;
		return error_set(err, EIO, "TLS session: %s", gnutls_strerror(r));
	}
	gnutls_set_default_priority(t->session);
	gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, tls->credentials);
	gnutls_alpn_set_protocols(t->session, &alpn, 1, 0);
	if (!is_address)
		gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, endpoint->host, strlen(endpoint->host));
	gnutls_session_set_verify_cert(t->session, endpoint->host, 0);
	return 0;
}

int transport_open(struct loop *loop, const struct endpoint *endpoint, struct transport_tls *tls, const struct transport_events *events, void *arg, struct transport **ret,
	struct error *err)
{
	struct transport *t = xnew(struct transport);
	int r;

	*t = (struct transport){.loop = loop, .fd = -1, .events = *events, .arg = arg};
	if (endpoint->tls && (r = tls_begin(t, endpoint, tls, err)) < 0) {
		transport_free(t);
		return r;
	}
	if (endpoint->local) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		socklen_t len = sizeof(address);
		memcpy(address.sun_path, endpoint->host, strlen(endpoint->host) + 1);
		if (*address.sun_path == '@') {
			/* A name that no file has: it is as long as it is. */
			*address.sun_path = '\0';
			len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(endpoint->host));
		}
		r = start_connect(t, (const struct sockaddr *)&address, len);
	} else {
		/* This may wait for DNS; without a connection this thread has nothing else to do. */
		const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
		int g = getaddrinfo(endpoint->host, endpoint->port, &hints, &t->addresses);
		if (g != 0) {
			t->addresses = NULL;
			transport_free(t);
			return error_set(err, EHOSTUNREACH, "resolve %s: %s", endpoint->host, gai_strerror(g));
		}
		t->next_address = t->addresses;
		r = connect_next(t);
	}
	if (r < 0) {
		transport_free(t);
		return error_set_errno(err, r, "connect to %s", endpoint->authority);
	}
	*ret = t;
	return 0;
}

void transport_free(struct transport *t)
{
	if (!t)
		return;
	loop_fd_remove(t->watch);
	if (t->session)
		gnutls_deinit(t->session);
	cleanup_close(&t->fd);
	if (t->addresses)
		freeaddrinfo(t->addresses);
	free(t);
}

static void become_ready(struct transport *t)
{
	t->state = TRANSPORT_READY;
	loop_fd_set_events(t->watch, EPOLLIN);
	t->events.ready(t->arg);
}

static void continue_handshake(struct transport *t)
{
	char why[200];
	int r = gnutls_handshake(t->session);

	if (r == 0) {
		gnutls_datum_t chosen;
		if (gnutls_alpn_get_selected_protocol(t->session, &chosen) < 0 || chosen.size != 2)
			return fail(t, "the server does not speak HTTP/2");
		return become_ready(t);
	}
	if (gnutls_error_is_fatal(r)) {
		if (r == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
			gnutls_datum_t text = {0};
			unsigned status = gnutls_session_get_verify_cert_status(t->session);
			gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
			snprintf(why, sizeof(why), "TLS: %s", text.data ? (const char *)text.data : gnutls_strerror(r));
			gnutls_free(text.data);
		} else {
			snprintf(why, sizeof(why), "TLS handshake: %s", gnutls_strerror(r));
		}
		return fail(t, why);
	}
	loop_fd_set_events(t->watch, gnutls_record_get_direction(t->session) ? EPOLLOUT : EPOLLIN);
}

static void connected(struct transport *t)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		if (connect_next(t) < 0)
			fail(t, strerror(error));
		return;
	}
	if (!t->session)
		return become_ready(t);
	gnutls_transport_set_int(t->session, t->fd);
	t->state = TRANSPORT_HANDSHAKE;
	continue_handshake(t);
}

static void on_fd(uint32_t events, void *arg)
{
	struct transport *t = arg;

	switch (t->state) {
	case TRANSPORT_CONNECTING:
		return connected(t);
	case TRANSPORT_HANDSHAKE:
		return continue_handshake(t);
	case TRANSPORT_READY:
		/* One callback for each call: either may free the transport. Level triggering brings the other back. */
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			return t->events.readable(t->arg);
		if (events & EPOLLOUT) {
			loop_fd_set_events(t->watch, EPOLLIN);
			t->events.writable(t->arg);
		}
		return;
	case TRANSPORT_FAILED:
		return;
	}
}

static ssize_t from_gnutls(struct transport *t, ssize_t n)
{
	if (n >= 0)
		return n;
	if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
		return -EAGAIN;
	t->tls_error = (int)n;
	return -EIO;
}

const char *transport_why(const struct transport *t, int errnum)
{
	if (t->tls_error == GNUTLS_E_FATAL_ALERT_RECEIVED)
		return gnutls_alert_get_name(gnutls_alert_get(t->session));
	return t->tls_error ? gnutls_strerror(t->tls_error) : strerror(-errnum);
}

ssize_t transport_read(struct transport *t, void *data, size_t len)
{
	ssize_t n;

	if (t->session)
		return from_gnutls(t, gnutls_record_recv(t->session, data, len));
	do {
		n = recv(t->fd, data, len, 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t transport_write(struct transport *t, const void *data, size_t len)
{
	ssize_t n;

	if (t->session) {
		n = from_gnutls(t, t->write_retry ? gnutls_record_send(t->session, NULL, 0) : gnutls_record_send(t->session, data, len));
		t->write_retry = n == -EAGAIN;
	} else {
		do {
			n = send(t->fd, data, len, MSG_NOSIGNAL);
		} while (n < 0 && errno == EINTR);
		n = n < 0 ? -errno : n;
	}
	if (n == -EAGAIN)
		loop_fd_set_events(t->watch, EPOLLIN | EPOLLOUT);
	return n;
}
