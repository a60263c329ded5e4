/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a WebSocket to the API server. libcurl makes the connection with its TLS; a thread then pumps it to one end of a socket pair,
 * whose other end the caller gets: a plain descriptor to poll, whatever lies beneath.
 */
#include "common/base/random.h"
#include "common/client/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_HEAD (64u << 10)
#define PUMP_BUFFER (64u << 10)
#define ANSWER_TIMEOUT_MS 60000
#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* ---- the handshake ---- */

static int socket_of(CURL *curl)
{
	curl_socket_t fd = CURL_SOCKET_BAD;
	curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &fd);
	return fd;
}

static int send_all(CURL *curl, const char *data, size_t len, struct error *err)
{
	while (len) {
		size_t n = 0;
		CURLcode result = curl_easy_send(curl, data, len, &n);
		if (result == CURLE_AGAIN) {
			struct pollfd wait = {.fd = socket_of(curl), .events = POLLOUT};
			if (poll(&wait, 1, ANSWER_TIMEOUT_MS) == 0)
				return error_set(err, ETIMEDOUT, "the server does not take the request");
			continue;
		}
		if (result != CURLE_OK)
			return error_set(err, ECONNRESET, "send the upgrade request: %s", curl_easy_strerror(result));
		data += n;
		len -= n;
	}
	return 0;
}

/* Reads some more into buf. 1: got some, 0: the end, or a negative errno. */
static int receive_some(CURL *curl, struct buf *buf, struct error *err)
{
	for (;;) {
		char data[4096];
		size_t n = 0;
		CURLcode result = curl_easy_recv(curl, data, sizeof(data), &n);
		if (result == CURLE_OK) {
			buf_append(buf, data, n);
			return buf_failed(buf) ? error_set(err, EFBIG, "the answer to the upgrade is too large") : n > 0;
		}
		if (result != CURLE_AGAIN)
			return 0;
		struct pollfd wait = {.fd = socket_of(curl), .events = POLLIN};
		if (poll(&wait, 1, ANSWER_TIMEOUT_MS) == 0)
			return error_set(err, ETIMEDOUT, "the server does not answer the upgrade request");
	}
}

static void append_header(struct buf *out, const char *name, const char *value)
{
	if (!str_empty(value))
		buf_printf(out, "%s: %s\r\n", name, value);
}

static int send_request(struct client *client, CURL *curl, const char *server, const char *path, const char *protocol, const char *key, struct error *err)
{
	autobuf struct buf out = BUF_INIT(256u << 10);
	const char *host = strstr(server, "://");
	host = host ? host + 3 : server;
	size_t host_len = strcspn(host, "/");
	size_t prefix_len = strlen(host + host_len);
	while (prefix_len && host[host_len + prefix_len - 1] == '/')
		prefix_len--;
	autofree char *authorization = client_authorization(client);
	buf_printf(&out, "GET %.*s%s HTTP/1.1\r\nHost: %.*s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n", (int)prefix_len, host + host_len, path, (int)host_len, host);
	append_header(&out, "Sec-WebSocket-Key", key);
	append_header(&out, "Sec-WebSocket-Protocol", protocol);
	append_header(&out, "User-Agent", client->config.user_agent);
	for (size_t i = 0; i < client->config.impersonate.len; i++)
		buf_printf(&out, "%s\r\n", client->config.impersonate.items[i]);
	append_header(&out, "Authorization", authorization);
	buf_append_str(&out, "\r\n");
	if (buf_failed(&out))
		return error_set(err, E2BIG, "the upgrade request is too large");
	int rc = send_all(curl, out.data, out.len, err);
	explicit_bzero(out.data, out.len);
	return rc;
}

/* The value of a header in a whole head, or NULL; the caller frees. */
static char *header_of(const char *head, const char *name)
{
	size_t len = strlen(name);
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, len) != 0 || line[len] != ':')
			continue;
		const char *value = line + len + 1;
		value += strspn(value, " \t");
		return xstrndup(value, strcspn(value, "\r\n"));
	}
	return NULL;
}

static bool accept_matches(const char *key, const char *accept)
{
	autofree char *joined = xprintf("%s%s", key, WEBSOCKET_GUID);
	uint8_t digest[20];
	if (gnutls_hash_fast(GNUTLS_DIG_SHA1, joined, strlen(joined), digest) < 0)
		return false;
	autobuf struct buf want = BUF_INIT(64);
	buf_append_base64(&want, digest, sizeof(digest));
	return str_equal(want.data, accept);
}

/* The whole body of a refusal, by its length or up to the end. */
static int refusal(CURL *curl, struct buf *in, size_t head_len, int status, struct error *err)
{
	autofree char *length = header_of(in->data, "Content-Length");
	int64_t want = CLIENT_MAX_ERROR_BODY;
	if (length && !str_to_int64(length, 0, CLIENT_MAX_ERROR_BODY, &want))
		want = 0;
	while (in->len - head_len < (size_t)want && receive_some(curl, in, NULL) == 1)
		;
	return client_error_from_answer(err, status, in->data + head_len, in->len - head_len, 0);
}

/* What follows the head in `in` stays there, from *ret_head_len on. */
static int read_answer(CURL *curl, const char *key, struct buf *in, size_t *ret_head_len, char **ret_protocol, struct error *err)
{
	char *end = NULL;
	while (!end) {
		int rc = receive_some(curl, in, err);
		if (rc <= 0)
			return rc ? rc : error_set(err, ECONNRESET, "the server closed the connection instead of upgrading it");
		end = strstr(in->data, "\r\n\r\n");
		if (!end && in->len > MAX_HEAD)
			return error_set(err, EFBIG, "the answer to the upgrade is too large");
	}
	size_t head_len = (size_t)(end + 4 - in->data);
	int64_t status = 0;
	autofree char *code = in->len > 12 && str_starts_with(in->data, "HTTP/1.1 ") ? xstrndup(in->data + 9, 3) : NULL;
	if (!code || !str_to_int64(code, 100, 599, &status))
		return error_set(err, EPROTO, "the server's answer to the upgrade is not HTTP");
	if (status != 101) {
		int rc = refusal(curl, in, head_len, (int)status, err);
		return rc ? rc : error_set(err, EPROTO, "the server did not upgrade the connection");
	}
	char after = *end;
	*end = 0;
	autofree char *accept = header_of(in->data, "Sec-WebSocket-Accept");
	char *protocol = header_of(in->data, "Sec-WebSocket-Protocol");
	*end = after;
	if (!accept_matches(key, accept)) {
		free(protocol);
		return error_set(err, EPROTO, "the server's answer to the upgrade is not for this request");
	}
	if (ret_protocol)
		*ret_protocol = protocol ? protocol : xstrdup("");
	else
		free(protocol);
	*ret_head_len = head_len;
	return 0;
}

/* ---- the pump ---- */

struct direction {
	char *data;
	size_t start, end;
	bool eof; /* nothing more will be read */
};

struct pump {
	CURL *curl;
	int fd; /* our end of the pair */
	struct direction to_user, to_server;
};

static bool is_empty(const struct direction *d)
{
	return d->start == d->end;
}

/* Returns true where something moved. */
static bool read_server(struct pump *pump)
{
	struct direction *d = &pump->to_user;
	if (d->eof || !is_empty(d))
		return false;
	size_t n = 0;
	CURLcode result = curl_easy_recv(pump->curl, d->data, PUMP_BUFFER, &n);
	if (result == CURLE_AGAIN)
		return false;
	d->eof = result != CURLE_OK || n == 0;
	d->start = 0;
	d->end = n;
	return true;
}

static bool write_user(struct pump *pump)
{
	struct direction *d = &pump->to_user;
	if (is_empty(d))
		return false;
	ssize_t n = send(pump->fd, d->data + d->start, d->end - d->start, MSG_NOSIGNAL);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0) {
		d->eof = pump->to_server.eof = true;
		d->start = d->end = 0;
		return true;
	}
	d->start += (size_t)n;
	return true;
}

static bool read_user(struct pump *pump)
{
	struct direction *d = &pump->to_server;
	if (d->eof || !is_empty(d))
		return false;
	ssize_t n = recv(pump->fd, d->data, PUMP_BUFFER, 0);
	if (n < 0 && errno == EAGAIN)
		return false;
	d->eof = n <= 0;
	d->start = 0;
	d->end = n > 0 ? (size_t)n : 0;
	return true;
}

static bool write_server(struct pump *pump)
{
	struct direction *d = &pump->to_server;
	if (is_empty(d))
		return false;
	size_t n = 0;
	CURLcode result = curl_easy_send(pump->curl, d->data + d->start, d->end - d->start, &n);
	if (result == CURLE_AGAIN)
		return false;
	if (result != CURLE_OK) {
		d->eof = pump->to_user.eof = true;
		d->start = d->end = 0;
		return true;
	}
	d->start += n;
	return true;
}

static void *pump_run(void *arg)
{
	struct pump *pump = arg;
	struct direction *in = &pump->to_user, *out = &pump->to_server;
	int server = socket_of(pump->curl);
	while (!(in->eof && is_empty(in)) && !(out->eof && is_empty(out))) {
		bool moved = read_server(pump);
		moved |= write_user(pump);
		moved |= read_user(pump);
		moved |= write_server(pump);
		if (moved)
			continue;
		struct pollfd wait[2] = {
			{.fd = server, .events = (short)((is_empty(in) ? POLLIN : 0) | (is_empty(out) ? 0 : POLLOUT))},
			{.fd = pump->fd, .events = (short)((is_empty(out) ? POLLIN : 0) | (is_empty(in) ? 0 : POLLOUT))},
		};
		poll(wait, 2, -1);
	}
	close(pump->fd);
	curl_easy_cleanup(pump->curl);
	free(in->data);
	free(out->data);
	free(pump);
	return NULL;
}

static int start_pump(CURL *take_curl, const char *extra, size_t extra_len, int *ret_fd, struct error *err)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		int rc = error_set_errno(err, errno, "socketpair");
		curl_easy_cleanup(take_curl);
		return rc;
	}
	struct pump *pump = xnew(struct pump);
	*pump = (struct pump){.curl = take_curl, .fd = pair[1], .to_user = {.data = xmalloc(PUMP_BUFFER + MAX_HEAD), .end = extra_len}, .to_server = {.data = xmalloc(PUMP_BUFFER)}};
	if (extra_len)
		memcpy(pump->to_user.data, extra, extra_len);
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, pump_run, pump))
		abort();
	pthread_attr_destroy(&attr);
	*ret_fd = pair[0];
	return 0;
}

int client_websocket(struct client *client, const char *path, const char *protocol, int *ret_fd, char **ret_protocol, struct error *err)
{
	CURL *curl;
	const char *server;
	int rc = client_connect(client, &curl, &server, err);
	if (rc)
		return rc;
	uint8_t nonce[16];
	random_bytes(nonce, sizeof(nonce));
	autobuf struct buf key = BUF_INIT(64);
	buf_append_base64(&key, nonce, sizeof(nonce));
	autobuf struct buf in = BUF_INIT(CLIENT_MAX_ERROR_BODY + MAX_HEAD);
	size_t head_len = 0;
	rc = send_request(client, curl, server, path, protocol, key.data, err);
	if (!rc)
		rc = read_answer(curl, key.data, &in, &head_len, ret_protocol, err);
	if (rc) {
		curl_easy_cleanup(curl);
		return rc;
	}
	return start_pump(curl, in.data + head_len, min_of(in.len - head_len, (size_t)(PUMP_BUFFER + MAX_HEAD)), ret_fd, err);
}
