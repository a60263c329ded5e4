/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An HTTP server for the client's tests: a thread a connection, a handler that plays the API server. It speaks plain
 * HTTP/1.1 with keep-alive on a free port of the loopback.
 */
#ifndef CORACLE_TEST_FAKE_SERVER_H
#define CORACLE_TEST_FAKE_SERVER_H

#include "common/base/buf.h"
#include "common/client/client.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

struct fake_request {
	int fd;
	char method[16];
	char path[4096]; /* with its query */
	char headers[16384];
	char *body;
	bool close; /* the handler sets it: no further request on this connection */
};
struct fake_server {
	int fd;
	uint16_t port;
	void (*handler)(struct fake_request *req, void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock;
	int conns[256];
	pthread_t threads[256];
	size_t conn_count;
	_Atomic int requests;
	_Atomic bool stopping;
};
struct fake_conn {
	struct fake_server *server;
	int fd;
};

static inline void fake_write(struct fake_request *req, const char *data, size_t len)
{
	while (len) {
		ssize_t n = send(req->fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		data += n;
		len -= (size_t)n;
	}
}

static inline void fake_respond(struct fake_request *req, int status, const char *extra_headers, const char *body)
{
	autofree char *head = xprintf("HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%s\r\n", status, strlen(body), extra_headers ? extra_headers : "");
	fake_write(req, head, strlen(head));
	fake_write(req, body, strlen(body));
}

static inline void fake_chunked_start(struct fake_request *req)
{
	const char *head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
	fake_write(req, head, strlen(head));
}

static inline void fake_chunk(struct fake_request *req, const char *data)
{
	autofree char *chunk = xprintf("%zx\r\n%s\r\n", strlen(data), data);
	fake_write(req, chunk, strlen(chunk));
}

static inline void fake_chunked_end(struct fake_request *req)
{
	fake_write(req, "0\r\n\r\n", 5);
}

static inline void fake_status(struct fake_request *req, int code, const char *reason, const char *message, const char *headers)
{
	autofree char *body = xprintf("{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":\"%s\",\"reason\":\"%s\",\"code\":%d}", message, reason, code);
	fake_respond(req, code, headers, body);
}

/* Waits until the peer closes, for watches that stay open. */
static inline void fake_wait_closed(struct fake_request *req)
{
	char c;
	while (recv(req->fd, &c, 1, 0) > 0)
		;
	req->close = true;
}

static inline bool fake_read_request(int fd, struct fake_request *req)
{
	size_t len = 0;
	*req = (struct fake_request){.fd = fd};
	char *end = NULL;
	while (!end && len < sizeof(req->headers) - 1) {
		ssize_t n = recv(fd, req->headers + len, 1, 0);
		if (n <= 0)
			return false;
		len += (size_t)n;
		end = len >= 4 && memcmp(req->headers + len - 4, "\r\n\r\n", 4) == 0 ? req->headers : NULL;
	}
	if (sscanf(req->headers, "%15s %4095s", req->method, req->path) != 2)
		return false;
	const char *length = strcasestr(req->headers, "\r\ncontent-length:");
	size_t body_len = length ? strtoul(length + 17, NULL, 10) : 0;
	req->body = xcalloc(1, body_len + 1);
	for (size_t got = 0; got < body_len;) {
		ssize_t n = recv(fd, req->body + got, body_len - got, 0);
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

static inline void *fake_connection(void *arg)
{
	struct fake_conn *conn = arg;
	static _Thread_local struct fake_request req;
	while (!atomic_load(&conn->server->stopping) && fake_read_request(conn->fd, &req)) {
		atomic_fetch_add(&conn->server->requests, 1);
		conn->server->handler(&req, conn->server->arg);
		free(req.body);
		req.body = NULL;
		if (req.close)
			break;
	}
	free(req.body);
	req.body = NULL;
	shutdown(conn->fd, SHUT_RDWR);
	free(conn);
	return NULL;
}

static inline void *fake_accept(void *arg)
{
	struct fake_server *server = arg;
	for (;;) {
		int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0 || atomic_load(&server->stopping)) {
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		struct fake_conn *conn = xnew(struct fake_conn);
		*conn = (struct fake_conn){.server = server, .fd = fd};
		pthread_mutex_lock(&server->lock);
		if (server->conn_count == 256)
			abort();
		server->conns[server->conn_count] = fd;
		pthread_create(&server->threads[server->conn_count++], NULL, fake_connection, conn);
		pthread_mutex_unlock(&server->lock);
	}
}

static inline void fake_server_start(struct fake_server *server, void (*handler)(struct fake_request *req, void *arg), void *arg)
{
	*server = (struct fake_server){.handler = handler, .arg = arg};
	pthread_mutex_init(&server->lock, NULL);
	server->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	if (bind(server->fd, (struct sockaddr *)&addr, sizeof(addr)) || listen(server->fd, 64) || getsockname(server->fd, (struct sockaddr *)&addr, &len))
		abort();
	server->port = ntohs(addr.sin_port);
	pthread_create(&server->thread, NULL, fake_accept, server);
}

static inline void fake_server_stop(struct fake_server *server)
{
	atomic_store(&server->stopping, true);
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
	for (size_t i = 0; i < server->conn_count; i++)
		shutdown(server->conns[i], SHUT_RDWR);
	for (size_t i = 0; i < server->conn_count; i++) {
		pthread_join(server->threads[i], NULL);
		close(server->conns[i]);
	}
	pthread_mutex_destroy(&server->lock);
}

/* A client of one or two servers; port 0: none. */
static inline struct client *fake_client(uint16_t port, uint16_t second_port)
{
	struct client_config config = {0};
	char first[64], second[64];
	char *urls[2] = {first, second};
	snprintf(first, sizeof(first), "http://127.0.0.1:%u", port);
	snprintf(second, sizeof(second), "http://127.0.0.1:%u", second_port);
	config.servers.items = urls;
	config.servers.len = second_port ? 2 : 1;
	struct client *client;
	autoerror struct error err = {0};
	if (client_new(&config, &client, &err))
		abort();
	return client;
}

#endif
