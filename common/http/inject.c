/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/inject.h"

#include <linux/sockios.h>
#include <stdio.h>
#include <sys/ioctl.h>

enum { CHUNK_HEAD = 8, CHUNK_TAIL = 2 };

struct inject *inject_new(struct http_server *server, int64_t total, int (*next)(void *arg, struct bytes **ret_part), void (*done)(void *arg), void *arg)
{
	struct inject *inject = xnew(struct inject);
	*inject = (struct inject){.server = server, .next = next, .done = done, .arg = arg, .left = total};
	list_init(&inject->link);
	/* Until the body is out the request counts as open: a server that stops waits for it. */
	atomic_fetch_add(&server->refs, 1);
	server_request_begin(server);
	return inject;
}

void inject_free(struct inject *inject)
{
	if (!inject)
		return;
	list_remove(&inject->link);
	bytes_unref(inject->part);
	if (inject->done)
		inject->done(inject->arg);
	server_request_end(inject->server);
	server_unref(inject->server);
	free(inject);
}

void inject_attach(struct inject *inject, struct http_conn *conn)
{
	int unread = 0;
	if (conn->dead || ioctl(conn->pair, SIOCINQ, &unread) < 0) {
		inject_free(inject);
		return;
	}
	inject->boundary = conn->delivered + (conn->rest.len - conn->rest.pos) + (uint64_t)unread;
	list_push_back(&conn->injects, &inject->link);
}

/* How many of the bytes go out before the body; the head ends with the last of them where inject->matched is 4 afterwards. */
static size_t up_to_body(struct inject *inject, const uint8_t *data, size_t len, uint64_t at)
{
	size_t n = inject->boundary > at ? (size_t)min_of(inject->boundary - at, (uint64_t)len) : 0;
	while (n < len && inject->matched < 4) {
		uint8_t want = inject->matched % 2 ? '\n' : '\r';
		if (data[n] == want)
			inject->matched++;
		else
			inject->matched = data[n] == '\r';
		n++;
	}
	return n;
}

bool inject_deliver(struct http_conn *conn, const uint8_t *data, size_t len)
{
	struct inject *inject = inject_first(conn);
	size_t n = inject ? up_to_body(inject, data, len, conn->delivered) : len;
	if (inject && inject->matched == 4)
		inject->started = true;
	conn->delivered += n;
	if (n < len)
		pending_keep(&conn->rest, data + n, len - n);
	return conn_write(conn, data, n);
}

/* Fills `body`; several parts share a chunk, a large one fills many. */
static size_t fill(struct inject *inject, char *body, size_t room)
{
	size_t n = 0;
	while (n < room && !inject->end) {
		if (!inject->part) {
			inject->pos = 0;
			if (inject->next(inject->arg, &inject->part) <= 0) {
				inject->part = NULL;
				inject->end = true;
			}
			continue;
		}
		size_t take = min_of(room - n, inject->part->len - inject->pos);
		memcpy(body + n, inject->part->data + inject->pos, take);
		n += take;
		inject->pos += take;
		if (inject->pos == inject->part->len)
			inject->part = bytes_unref(inject->part);
	}
	return n;
}

bool inject_pump(struct http_conn *conn)
{
	struct inject *inject = inject_first(conn);
	char *buffer = (char *)conn->thread->buffer, *body = buffer + CHUNK_HEAD;
	size_t n = fill(inject, body, HTTP_IO_BUFFER - CHUNK_HEAD - CHUNK_TAIL);
	if (inject->left >= 0)
		inject->left -= (int64_t)n;
	if (n) {
		char head[CHUNK_HEAD + 1];
		int len = snprintf(head, sizeof(head), "%zx\r\n", n);
		char *at = body - len;
		memcpy(at, head, (size_t)len);
		memcpy(body + n, "\r\n", CHUNK_TAIL);
		if (!conn_write(conn, at, (size_t)len + n + CHUNK_TAIL))
			return false;
	}
	bool broken = inject->end && inject->left > 0;
	if (inject->end) {
		inject_free(inject);
		/* Of other answers libmicrohttpd has written the end. */
		if (conn->direct && !broken && !conn_append(conn, "0\r\n\r\n", 5))
			return false;
	}
	/* Less than was promised: only a broken connection tells the client. */
	return !broken;
}
