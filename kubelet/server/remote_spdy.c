/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/spdy.h"
#include "kubelet/server/remote.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OPEN_MS 30000
#define FINISH_MS 5000

struct wire {
	struct remote *remote;
	struct spdy *spdy;
	int fd;
	struct spdy_stream *streams[CHANNEL_RESIZE + 1];
	struct buf resize; /* JSON objects one after the other */
	size_t opened, wanted;
	bool gone;
};

static const char *header(const struct spdy_header *headers, size_t count, const char *name) {
	for (size_t i = 0; i < count; i++)
		if (str_equal(headers[i].name, name))
			return headers[i].value;
	return NULL;
}

static void on_stream(struct spdy_stream *stream, const struct spdy_header *headers, size_t count, void *arg) {
	static const char *const names[] = {[CHANNEL_STDIN] = "stdin", [CHANNEL_STDOUT] = "stdout", [CHANNEL_STDERR] = "stderr", [CHANNEL_ERROR] = "error", [CHANNEL_RESIZE] = "resize"};
	struct wire *w = arg;
	const char *type = header(headers, count, "streamtype");
	for (size_t i = 0; i < array_len(names); i++) {
		if (!str_equal(type, names[i]) || w->streams[i])
			continue;
		w->streams[i] = stream;
		w->opened++;
		spdy_stream_set_data(stream, &w->streams[i]);
		spdy_reply(stream, NULL, 0);
		return;
	}
	spdy_reset(stream, SPDY_REFUSED_STREAM);
}

static void take_resize(struct wire *w, const void *data, size_t len) {
	unsigned width, height;
	buf_append(&w->resize, data, len);
	for (const char *end; w->resize.len && (end = memchr(w->resize.data, '}', w->resize.len));) {
		size_t part = (size_t)(end + 1 - w->resize.data);
		if (channel_parse_resize(w->resize.data, part, &width, &height) == 0)
			remote_resize(w->remote, width, height);
		buf_consume(&w->resize, part);
	}
}

static void on_data(struct spdy_stream *stream, const void *data, size_t len, void *arg) {
	struct wire *w = arg;
	if (stream == w->streams[CHANNEL_STDIN])
		remote_input(w->remote, data, len);
	else if (stream == w->streams[CHANNEL_RESIZE])
		take_resize(w, data, len);
}

static void on_end(struct spdy_stream *stream, void *arg) {
	struct wire *w = arg;
	if (stream == w->streams[CHANNEL_STDIN])
		remote_input_end(w->remote);
}

static void on_close(struct spdy_stream *stream, void *arg) {
	struct wire *w = arg;
	struct spdy_stream **place = spdy_stream_data(stream);
	if (stream == w->streams[CHANNEL_STDIN])
		remote_input_end(w->remote);
	if (place)
		*place = NULL;
}

static const struct spdy_callbacks callbacks = {on_stream, on_data, on_end, on_close};

static int flush(struct wire *w) {
	struct buf *out = spdy_output(w->spdy);
	while (out->len) {
		ssize_t n = write(w->fd, out->data, out->len);
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n < 0 && errno != EINTR)
			return -EPIPE;
		if (n > 0)
			buf_consume(out, (size_t)n);
	}
	return 0;
}

static int wire_fd(void *arg) {
	return ((struct wire *)arg)->fd;
}
static bool wants_write(void *arg) {
	return spdy_output(((struct wire *)arg)->spdy)->len;
}
static size_t queued(void *arg) {
	return spdy_output(((struct wire *)arg)->spdy)->len;
}

static int step(void *arg, short revents) {
	struct wire *w = arg;
	char chunk[REMOTE_CHUNK];
	while (revents & (POLLIN | POLLHUP | POLLERR)) {
		ssize_t n = read(w->fd, chunk, sizeof(chunk));
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0 || spdy_feed(w->spdy, chunk, (size_t)n) < 0) {
			flush(w);
			return -EPIPE;
		}
		if (w->remote->to_stdin.len >= REMOTE_MAX_QUEUED)
			break;
	}
	return flush(w);
}

static void send_channel(void *arg, enum channel channel, const void *data, size_t len) {
	struct wire *w = arg;
	if (w->streams[channel])
		spdy_send(w->streams[channel], data, len);
	if (flush(w) < 0)
		w->remote->peer_gone = true;
}

static void close_channel(void *arg, enum channel channel) {
	struct wire *w = arg;
	if (w->streams[channel])
		spdy_end(w->streams[channel]);
}

static void finish(void *arg) {
	struct wire *w = arg;
	int64_t until = clock_monotonic_ns() + FINISH_MS * NSEC_PER_MSEC;
	if (!w->remote->peer_gone && w->streams[CHANNEL_STDIN])
		spdy_end(w->streams[CHANNEL_STDIN]);
	if (!w->remote->peer_gone)
		spdy_go_away(w->spdy);
	while (!w->remote->peer_gone && flush(w) == 0 && spdy_output(w->spdy)->len && clock_monotonic_ns() < until)
		remote_wait_fd(w->fd, POLLOUT, 100);
	/* The client reads to the end and closes first, so that nothing sent is lost in a reset. */
	shutdown(w->fd, SHUT_WR);
	char chunk[REMOTE_CHUNK];
	while (!w->remote->peer_gone && clock_monotonic_ns() < until && remote_wait_fd(w->fd, POLLIN, 500)) {
		ssize_t n = read(w->fd, chunk, sizeof(chunk));
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			break;
	}
	spdy_free(w->spdy);
	cleanup_close(&w->fd);
	buf_done(&w->resize);
	free(w);
}

static const struct remote_wire wire_ops = {wire_fd, wants_write, queued, step, send_channel, close_channel, finish};

void remote_serve_spdy(struct remote *remote, int fd, const void *extra, size_t extra_len, const char *protocol) {
	struct wire *w = xnew(struct wire);
	bool v3 = str_equal(protocol, "v3.channel.k8s.io") || str_equal(protocol, "v4.channel.k8s.io") || str_equal(protocol, "v5.channel.k8s.io");
	*w = (struct wire){.remote = remote, .fd = fd, .resize = BUF_INIT(4096)};
	w->spdy = spdy_new(&callbacks, w);
	w->wanted = 1u + remote->options.want_stdin + remote->options.want_stdout + remote->options.want_stderr + (remote->options.tty && v3);
	remote->wire = &wire_ops;
	remote->wire_data = w;
	remote->plain_errors = !str_equal(protocol, "v4.channel.k8s.io") && !str_equal(protocol, "v5.channel.k8s.io");
	int64_t until = clock_monotonic_ns() + OPEN_MS * NSEC_PER_MSEC;
	bool good = !extra_len || spdy_feed(w->spdy, extra, extra_len) == 0;
	while (good && w->opened < w->wanted) {
		int64_t left = (until - clock_monotonic_ns()) / NSEC_PER_MSEC;
		good = left > 0 && flush(w) == 0 && remote_wait_fd(fd, (short)(POLLIN | (wants_write(w) ? POLLOUT : 0)), (int)left) && step(w, POLLIN) == 0;
	}
	if (good) {
		remote_run(remote);
		return;
	}
	remote->peer_gone = true;
	finish(w);
	remote_free(remote);
}
