/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/grpc/server.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "kubelet/grpc/message.h"
#include "kubelet/kubelet.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_STREAMS 64 /* of one connection, at once */
#define MAX_PATH_LEN 512
#define RECEIVE_SIZE 16384
#define BACKLOG 64

struct grpc_server {
	char *path;
	grpc_handler handler;
	void *arg;
	int listen_fd, stop_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned connections;
};

struct connection {
	struct grpc_server *server;
	int fd;
	nghttp2_session *session;
};

struct stream {
	char *path;
	struct buf body, reply;
	size_t sent;
	char status[8];
	bool ended;
};

static void stream_free(struct stream *stream) {
	if (!stream)
		return;
	free(stream->path);
	buf_done(&stream->body);
	buf_done(&stream->reply);
	free(stream);
}

/* ---- answers ---- */

#define HEADER(name_, value_) ((nghttp2_nv){(uint8_t *)(uintptr_t)(name_), (uint8_t *)(uintptr_t)(value_), strlen(name_), strlen(value_), NGHTTP2_NV_FLAG_NONE})

static ssize_t read_reply(nghttp2_session *session, int32_t id, uint8_t *out, size_t size, uint32_t *flags, nghttp2_data_source *source, void *arg) {
	struct stream *stream = source->ptr;
	size_t len = min_of(size, stream->reply.len - stream->sent);
	memcpy(out, stream->reply.data + stream->sent, len);
	stream->sent += len;
	if (stream->sent == stream->reply.len) {
		const nghttp2_nv trailer = HEADER("grpc-status", "0");
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(session, id, &trailer, 1) != 0)
			return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	}
	return (ssize_t)len;
}

static void refuse(struct connection *c, int32_t id, struct stream *stream, enum grpc_code status, const char *message) {
	autobuf struct buf text = BUF_INIT(8192);
	/* As the protocol has it: what is not printable, and the sign itself, by a percent sign and two digits. */
	for (const unsigned char *p = (const unsigned char *)message; *p && text.len < 4096; p++) {
		if (*p >= 0x20 && *p < 0x7f && *p != '%')
			buf_append_char(&text, (char)*p);
		else
			buf_printf(&text, "%%%02X", *p);
	}
	snprintf(stream->status, sizeof(stream->status), "%d", (int)status);
	const nghttp2_nv headers[] = {HEADER(":status", "200"), HEADER("content-type", "application/grpc"), HEADER("grpc-status", stream->status), HEADER("grpc-message", text.data ? text.data : "")};
	nghttp2_submit_response(c->session, id, headers, array_len(headers), NULL);
}

static void answer(struct connection *c, int32_t id, struct stream *stream) {
	autoerror struct error err = {0};
	autobuf struct buf message = BUF_INIT(GRPC_MAX_MESSAGE);
	size_t len;
	if (!stream->path || buf_failed(&stream->body) || grpc_unframe(stream->body.data, stream->body.len, &len) < 0) {
		refuse(c, id, stream, GRPC_INVALID_ARGUMENT, "no whole message");
		return;
	}
	enum grpc_code status = c->server->handler(stream->path, stream->body.data + GRPC_FRAME, len, &message, c->server->arg, &err);
	if (status == GRPC_OK && buf_failed(&message))
		status = GRPC_RESOURCE_EXHAUSTED;
	if (status != GRPC_OK) {
		refuse(c, id, stream, status, error_message(&err));
		return;
	}
	grpc_frame(&stream->reply, message.data, message.len);
	const nghttp2_nv headers[] = {HEADER(":status", "200"), HEADER("content-type", "application/grpc")};
	const nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
	nghttp2_submit_response(c->session, id, headers, array_len(headers), &provider);
}

/* ---- what nghttp2 tells ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
	if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	struct stream *stream = xnew(struct stream);
	stream->body = (struct buf)BUF_INIT(GRPC_MAX_MESSAGE + GRPC_FRAME);
	stream->reply = (struct buf)BUF_INIT(GRPC_MAX_MESSAGE + GRPC_FRAME);
	nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_len, const uint8_t *value, size_t len, uint8_t flags, void *arg) {
	struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	if (stream && !stream->path && name_len == 5 && memcmp(name, ":path", 5) == 0 && len < MAX_PATH_LEN)
		stream->path = xstrndup((const char *)value, len);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *arg) {
	struct stream *stream = nghttp2_session_get_stream_user_data(session, id);
	if (stream)
		buf_append(&stream->body, data, len);
	return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *arg) {
	struct stream *stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
	bool ends = (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM);
	if (stream && ends && !stream->ended) {
		stream->ended = true;
		answer(arg, frame->hd.stream_id, stream);
	}
	return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t code, void *arg) {
	stream_free(nghttp2_session_get_stream_user_data(session, id));
	nghttp2_session_set_stream_user_data(session, id, NULL);
	return 0;
}

/* ---- connections ---- */

static int session_new(struct connection *c) {
	nghttp2_session_callbacks *callbacks;
	if (nghttp2_session_callbacks_new(&callbacks) != 0)
		return -ENOMEM;
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	int r = nghttp2_session_server_new(&c->session, callbacks, c);
	nghttp2_session_callbacks_del(callbacks);
	const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, MAX_STREAMS}};
	return r != 0 || nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings, array_len(settings)) != 0 ? -ENOMEM : 0;
}

static bool wait_readable(struct connection *c, short events) {
	struct pollfd fds[] = {{.fd = c->fd, .events = events}, {.fd = c->server->stop_fd, .events = POLLIN}};
	while (poll(fds, array_len(fds), -1) < 0)
		if (errno != EINTR)
			return false;
	return !fds[1].revents;
}

static bool send_pending(struct connection *c) {
	const uint8_t *data;
	for (ssize_t len; (len = nghttp2_session_mem_send(c->session, &data)) > 0;) {
		for (ssize_t sent = 0; sent < len;) {
			ssize_t n = send(c->fd, data + sent, (size_t)(len - sent), MSG_NOSIGNAL | MSG_DONTWAIT);
			if (n > 0)
				sent += n;
			else if ((errno != EAGAIN && errno != EINTR) || !wait_readable(c, POLLOUT))
				return false;
		}
	}
	return nghttp2_session_want_read(c->session) || nghttp2_session_want_write(c->session);
}

/* The streams of a connection that is cut off are not closed one by one. */
static void free_streams(struct connection *c) {
	for (int32_t id = 1; id <= nghttp2_session_get_last_proc_stream_id(c->session); id += 2)
		stream_free(nghttp2_session_get_stream_user_data(c->session, id));
}

static void *serve(void *arg) {
	struct connection *c = arg;
	struct grpc_server *server = c->server;
	uint8_t data[RECEIVE_SIZE];
	if (session_new(c) == 0) {
		while (send_pending(c) && wait_readable(c, POLLIN)) {
			ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				continue;
			if (n <= 0 || nghttp2_session_mem_recv(c->session, data, (size_t)n) < 0)
				break;
		}
		free_streams(c);
	}
	nghttp2_session_del(c->session);
	close(c->fd);
	free(c);
	pthread_mutex_lock(&server->lock);
	server->connections--;
	pthread_cond_signal(&server->idle);
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

static void take(struct grpc_server *server, int fd) {
	pthread_mutex_lock(&server->lock);
	bool room = server->connections < GRPC_MAX_CONNECTIONS;
	server->connections += room;
	pthread_mutex_unlock(&server->lock);
	if (!room) {
		close(fd);
		return;
	}
	struct connection *c = xnew(struct connection);
	*c = (struct connection){.server = server, .fd = fd};
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, KUBELET_THREAD_STACK);
	if (pthread_create(&thread, &attr, serve, c) != 0) {
		close(fd);
		free(c);
		pthread_mutex_lock(&server->lock);
		server->connections--;
		pthread_mutex_unlock(&server->lock);
	}
	pthread_attr_destroy(&attr);
}

static void *listen_for(void *arg) {
	struct grpc_server *server = arg;
	struct pollfd fds[] = {{.fd = server->listen_fd, .events = POLLIN}, {.fd = server->stop_fd, .events = POLLIN}};
	for (;;) {
		if (poll(fds, array_len(fds), -1) < 0)
			continue;
		if (fds[1].revents)
			return NULL;
		int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			take(server, fd);
	}
}

static int open_socket(const char *path, struct error *err) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofree char *folder = xstrndup(path, (size_t)(strrchr(path, '/') - path));
	if (strlen(path) >= sizeof(address.sun_path))
		return error_set(err, ENAMETOOLONG, "the path of a socket is too long: %s", path);
	int r = file_mkdir_all(folder, 0750, err);
	if (r < 0)
		return r;
	memcpy(address.sun_path, path, strlen(path) + 1);
	autoclose int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set_errno(err, errno, "socket");
	unlink(path);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0600) < 0 || listen(fd, BACKLOG) < 0)
		return error_set_errno(err, errno, "listen on %s", path);
	return take_fd(fd);
}

int grpc_server_start(const char *socket, grpc_handler handler, void *arg, struct grpc_server **ret, struct error *err) {
	int fd = open_socket(socket, err);
	if (fd < 0)
		return fd;
	struct grpc_server *server = xnew(struct grpc_server);
	*server = (struct grpc_server){.path = xstrdup(socket), .handler = handler, .arg = arg, .listen_fd = fd, .stop_fd = eventfd(0, EFD_CLOEXEC)};
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->idle, NULL);
	if (server->stop_fd < 0 || pthread_create(&server->thread, NULL, listen_for, server) != 0)
		abort();
	*ret = server;
	return 0;
}

void grpc_server_stop(struct grpc_server *server) {
	if (!server)
		return;
	uint64_t one = 1;
	if (write(server->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
	pthread_join(server->thread, NULL);
	pthread_mutex_lock(&server->lock);
	while (server->connections)
		pthread_cond_wait(&server->idle, &server->lock);
	pthread_mutex_unlock(&server->lock);
	close(server->listen_fd);
	close(server->stop_fd);
	unlink(server->path);
	pthread_mutex_destroy(&server->lock);
	pthread_cond_destroy(&server->idle);
	free(server->path);
	free(server);
}
