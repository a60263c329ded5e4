/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/remote.h"

#include <errno.h>
#include <poll.h>

#define FINISH_MS 5000

struct wire {
	struct remote *remote;
	struct websocket *ws;
	const struct channel_protocol *protocol;
	struct buf scratch;
};

static int wire_fd(void *arg) {
	return websocket_fd(((struct wire *)arg)->ws);
}
static bool wants_write(void *arg) {
	return websocket_wants_write(((struct wire *)arg)->ws);
}
static size_t queued(void *arg) {
	return websocket_queued(((struct wire *)arg)->ws);
}

static void take(struct wire *w, const struct websocket_message *message) {
	unsigned channel, width, height;
	const uint8_t *data;
	size_t len;
	if (channel_parse(w->protocol, message, &w->scratch, &channel, &data, &len) < 0)
		return;
	if (channel == CHANNEL_STDIN)
		remote_input(w->remote, data, len);
	else if (channel == CHANNEL_RESIZE && channel_parse_resize(data, len, &width, &height) == 0)
		remote_resize(w->remote, width, height);
	else if (channel == CHANNEL_CLOSE && len == 1 && data[0] == CHANNEL_STDIN)
		remote_input_end(w->remote);
}

static int step(void *arg, short revents) {
	struct wire *w = arg;
	struct websocket_message message;
	int r = 0;
	while (w->remote->to_stdin.len < REMOTE_MAX_QUEUED && (r = websocket_receive(w->ws, &message)) == 1)
		take(w, &message);
	if (r >= 0 || r == -EAGAIN) {
		r = websocket_flush(w->ws);
		return r == -EPIPE ? r : 0;
	}
	return r;
}

static void send_channel(void *arg, enum channel channel, const void *data, size_t len) {
	struct wire *w = arg;
	/* The queue is twice what the pump fills it to: a full one is a client that is gone. */
	if (channel_send(w->ws, w->protocol, channel, data, len) == -EPIPE)
		w->remote->peer_gone = true;
}

static void close_channel(void *arg, enum channel channel) {
}

static void finish(void *arg) {
	struct wire *w = arg;
	struct websocket_message message;
	int64_t until = clock_monotonic_ns() + FINISH_MS * NSEC_PER_MSEC;
	size_t left = SIZE_MAX;
	websocket_close(w->ws, WEBSOCKET_CLOSE_NORMAL, "");
	/* Until all is sent and the client has said good-bye; a slow one has its time as long as it takes something. */
	while (!w->remote->peer_gone && clock_monotonic_ns() < until) {
		if (websocket_queued(w->ws) < left) {
			left = websocket_queued(w->ws);
			until = clock_monotonic_ns() + FINISH_MS * NSEC_PER_MSEC;
		}
		int r = websocket_flush(w->ws);
		if (r == -EPIPE || (r = websocket_receive(w->ws, &message), r < 0 && r != -EAGAIN))
			break;
		remote_wait_fd(websocket_fd(w->ws), (short)(POLLIN | (websocket_wants_write(w->ws) ? POLLOUT : 0)), 100);
	}
	websocket_free(w->ws);
	buf_done(&w->scratch);
	free(w);
}

static const struct remote_wire wire_ops = {wire_fd, wants_write, queued, step, send_channel, close_channel, finish};

void remote_serve_websocket(struct remote *remote, int fd, const void *extra, size_t extra_len, const char *protocol) {
	struct wire *w = xnew(struct wire);
	const struct websocket_options options = {.max_queued = REMOTE_MAX_QUEUED * 2, .extra = extra, .extra_len = extra_len};
	*w = (struct wire){.remote = remote, .ws = websocket_new(fd, &options), .protocol = channel_protocol_find(protocol), .scratch = BUF_INIT(REMOTE_MAX_QUEUED * 2)};
	remote->wire = &wire_ops;
	remote->wire_data = w;
	remote->plain_errors = !w->protocol->status;
	/* Clients wait for this first, empty word. */
	channel_send(w->ws, w->protocol, remote->options.want_stdout ? CHANNEL_STDOUT : remote->options.want_stderr ? CHANNEL_STDERR : CHANNEL_ERROR, "", 0);
	remote_run(remote);
}
