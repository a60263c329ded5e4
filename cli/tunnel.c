/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tunnel.h"

#include "common/base/cursor.h"
#include "common/http/channels.h"
#include "common/http/spdy_internal.h"
#include "common/http/websocket.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define MAX_FRAME (1u << 20)
#define MAX_QUEUED (1u << 20)
#define MAX_ERROR 4096
#define FLAG_FIN 1

enum stream { STREAM_ERROR = 1, STREAM_DATA = 3 }; /* a client's streams are odd */
enum frame { FRAME_SYN_STREAM = 1, FRAME_SYN_REPLY = 2, FRAME_RST_STREAM = 3, FRAME_PING = 6, FRAME_GOAWAY = 7 };

struct tunnel {
	struct websocket *ws;
	int fd;
	struct buf in;    /* frames not yet whole */
	struct buf error; /* of the error stream */
	bool local_ended, remote_ended, reset;
};

static void append_be(struct buf *out, uint32_t value, int bytes)
{
	while (bytes--)
		buf_append_char(out, (char)(value >> (bytes * 8)));
}

static int send_frame(struct tunnel *t, const struct buf *head, const void *data, size_t len)
{
	int rc = websocket_send(t->ws, WEBSOCKET_BINARY, head->data, head->len, data, len);
	return rc == -EPIPE ? rc : 0;
}

static int send_data(struct tunnel *t, enum stream stream, const void *data, size_t len, unsigned flags)
{
	autobuf struct buf head = BUF_INIT(64);
	append_be(&head, stream, 4);
	append_be(&head, flags << 24 | (uint32_t)len, 4);
	return send_frame(t, &head, data, len);
}

static int open_stream(struct tunnel *t, z_stream *z, enum stream stream, const char *type, const char *port)
{
	const struct spdy_header headers[] = {{"streamtype", type}, {"port", port}, {"requestid", "0"}};
	autobuf struct buf block = BUF_INIT(4096);
	autobuf struct buf head = BUF_INIT(64);
	spdy_deflate_block(z, headers, array_len(headers), &block);
	append_be(&head, 0x80030000u | FRAME_SYN_STREAM, 4);
	append_be(&head, (uint32_t)block.len + 10, 4);
	append_be(&head, stream, 4);
	append_be(&head, 0, 4); /* associated with none */
	append_be(&head, 0, 2); /* priority, slot */
	return send_frame(t, &head, block.data, block.len);
}

/* The error stream first, as kubectl does; nothing is ever sent on it. */
static int open_streams(struct tunnel *t, int64_t port)
{
	char text[24];
	z_stream z = {0};
	snprintf(text, sizeof(text), "%lld", (long long)port);
	spdy_deflate_init(&z);
	int rc = open_stream(t, &z, STREAM_ERROR, "error", text);
	if (!rc)
		rc = send_data(t, STREAM_ERROR, NULL, 0, FLAG_FIN);
	if (!rc)
		rc = open_stream(t, &z, STREAM_DATA, "data", text);
	deflateEnd(&z);
	return rc;
}

static bool write_local(struct tunnel *t, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = send(t->fd, data, len, MSG_NOSIGNAL);
		if (n < 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

static void end_remote(struct tunnel *t)
{
	t->remote_ended = true;
	shutdown(t->fd, SHUT_WR);
}

static void take_data(struct tunnel *t, uint32_t stream, unsigned flags, const uint8_t *data, size_t len)
{
	if (stream == STREAM_ERROR)
		buf_append(&t->error, data, min_of(len, MAX_ERROR - t->error.len));
	else if (stream == STREAM_DATA && !write_local(t, data, len))
		t->reset = true;
	if (stream == STREAM_DATA && flags & FLAG_FIN)
		end_remote(t);
	if (stream == STREAM_ERROR && flags & FLAG_FIN && t->error.len)
		t->reset = true;
}

static int take_control(struct tunnel *t, unsigned type, const uint8_t *data, size_t len)
{
	struct cursor c = cursor_of(data, len);
	uint32_t id = cursor_be32(&c);
	if (type == FRAME_RST_STREAM && id == STREAM_DATA) {
		t->reset = true;
	} else if (type == FRAME_PING && !(id & 1)) {
		autobuf struct buf head = BUF_INIT(64);
		append_be(&head, 0x80030000u | FRAME_PING, 4);
		append_be(&head, 4, 4);
		append_be(&head, id, 4);
		return send_frame(t, &head, NULL, 0);
	}
	return 0;
}

/* Takes every whole frame from the front of what came. */
static int take_frames(struct tunnel *t)
{
	for (;;) {
		struct cursor c = cursor_of(t->in.data, t->in.len);
		uint32_t word = cursor_be32(&c), second = cursor_be32(&c), len = second & 0xffffff;
		if (c.failed)
			return 0;
		if (len > MAX_FRAME)
			return -EMSGSIZE;
		const uint8_t *data = cursor_take(&c, len);
		if (!data)
			return 0;
		int rc = 0;
		if (word & 0x80000000u)
			rc = take_control(t, word & 0xffff, data, len);
		else
			take_data(t, word, second >> 24, data, len);
		if (rc)
			return rc;
		buf_consume(&t->in, len + 8);
	}
}

static int take_local(struct tunnel *t)
{
	uint8_t data[32768];
	ssize_t n = recv(t->fd, data, sizeof(data), 0);
	if (n > 0)
		return send_data(t, STREAM_DATA, data, (size_t)n, 0);
	t->local_ended = true;
	return send_data(t, STREAM_DATA, NULL, 0, FLAG_FIN);
}

static int receive(struct tunnel *t)
{
	struct websocket_message message;
	int rc;
	while ((rc = websocket_receive(t->ws, &message)) == 1) {
		buf_append(&t->in, message.data, message.len);
		rc = buf_failed(&t->in) ? -EMSGSIZE : take_frames(t);
		if (rc)
			return rc;
	}
	return rc == -EAGAIN ? 0 : rc;
}

static int carry(struct tunnel *t)
{
	for (;;) {
		int rc = receive(t);
		if (rc || t->reset || (t->local_ended && t->remote_ended))
			return rc == -EPIPE ? 0 : rc;
		bool reads = !t->local_ended && websocket_queued(t->ws) < MAX_QUEUED / 2;
		struct pollfd wait[2] = {
			{.fd = websocket_fd(t->ws), .events = (short)(POLLIN | (websocket_wants_write(t->ws) ? POLLOUT : 0))},
			{.fd = reads ? t->fd : -1, .events = POLLIN},
		};
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (wait[0].revents & POLLOUT)
			websocket_flush(t->ws);
		if (wait[1].revents)
			rc = take_local(t);
		if (rc)
			return 0;
	}
}

int tunnel_carry(struct client *client, const char *path, int64_t port, int fd, struct error *err)
{
	struct tunnel t = {.fd = fd, .in = BUF_INIT(4 * MAX_FRAME), .error = BUF_INIT(MAX_ERROR + 1)};
	int ws_fd, rc = client_websocket(client, path, CHANNEL_TUNNEL_PROTOCOL, &ws_fd, NULL, err);
	if (rc)
		return rc;
	t.ws = websocket_new(ws_fd, &(struct websocket_options){.client = true, .max_message = 2 * MAX_FRAME, .max_queued = MAX_QUEUED});
	rc = open_streams(&t, port);
	if (!rc)
		rc = carry(&t);
	if (rc)
		rc = error_set_errno(err, rc, "the connection failed");
	else if (t.error.len)
		rc = error_set(err, EIO, "%.*s", (int)t.error.len, t.error.data);
	websocket_close(t.ws, WEBSOCKET_CLOSE_NORMAL, "");
	websocket_free(t.ws);
	buf_done(&t.in);
	buf_done(&t.error);
	return rc;
}
