/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /portForward: connections into a pod's network namespace. Each is a pair of SPDY streams (data, error) with the port in its headers; the frames
 * come over the connection itself, or inside binary messages of a WebSocket, which is how kubectl tunnels them.
 */
#include "common/base/list.h"
#include "common/http/channels.h"
#include "common/http/spdy.h"
#include "kubelet/pod/manager.h"
#include "kubelet/server/remote.h"
#include "kubelet/server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PAIRS 512
#define MAX_PENDING (1u << 20) /* bytes towards one socket, or towards the client, before the faster side waits */
#define CHUNK 32768

struct forward;

/* One connection of the client. */
struct pair {
	struct list link;
	struct forward *forward;
	struct spdy_stream *data, *error;
	char request_id[64];
	uint16_t port;
	int fd;              /* -1: not connected */
	bool connecting, client_ended, pod_ended;
	struct buf pending;  /* from the client, not yet taken by the pod */
};

struct forward {
	int idle_ms; /* when it ends where nothing moves; -1: never */
	struct kubelet *kubelet;
	char *netns; /* NULL: the host's */
	char *pod;
	struct spdy *spdy;
	int fd;               /* of the client; the WebSocket's where there is one */
	struct websocket *ws; /* NULL: plain SPDY */
	bool tunnel;
	void *extra;
	size_t extra_len;
	struct list pairs;
	size_t pair_count;
	bool gone;
};

static void drop_fd(struct pair *pair) {
	cleanup_close(&pair->fd);
	pair->fd = -1;
}

static void pair_free(struct pair *pair) {
	list_remove(&pair->link);
	pair->forward->pair_count--;
	cleanup_close(&pair->fd);
	buf_done(&pair->pending);
	free(pair);
}

static void fail(struct pair *pair, const char *what) {
	autofree char *text = xprintf("an error occurred forwarding %u -> %u: error forwarding port %u to pod %s, uid : %s", pair->port, pair->port, pair->port, pair->forward->pod, what);
	if (pair->error) {
		spdy_send(pair->error, text, strlen(text));
		spdy_end(pair->error);
	}
	if (pair->data)
		spdy_reset(pair->data, SPDY_CANCEL);
}

/* Loopback of the pod: what listens on all addresses, or on it alone, is reached. */
static int open_socket(struct pair *pair, struct error *err) {
	const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(pair->port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = netns_socket(pair->forward->netns, AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, err);
	if (fd < 0)
		return fd;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	if (connect(fd, (const struct sockaddr *)&v4, sizeof(v4)) < 0 && errno != EINPROGRESS) {
		int problem = errno;
		cleanup_close(&fd);
		return error_set(err, problem, "failed to connect to localhost:%u inside namespace: %s", pair->port, strerror(problem));
	}
	return fd;
}

static void begin(struct pair *pair) {
	autoerror struct error err = {0};
	pair->fd = open_socket(pair, &err);
	pair->connecting = pair->fd >= 0;
	if (pair->fd < 0)
		fail(pair, error_message(&err));
}

/* ---- SPDY's side ---- */

static const char *header(const struct spdy_header *headers, size_t count, const char *name) {
	for (size_t i = 0; i < count; i++)
		if (str_equal(headers[i].name, name))
			return headers[i].value;
	return "";
}

static struct pair *pair_of(struct forward *f, const char *id, uint16_t port) {
	struct pair *pair;
	list_for_each (pair, &f->pairs, link)
		if (str_equal(pair->request_id, id))
			return pair;
	if (f->pair_count == MAX_PAIRS)
		return NULL;
	pair = xnew(struct pair);
	*pair = (struct pair){.forward = f, .port = port, .fd = -1, .pending = BUF_INIT(MAX_PENDING * 4)};
	snprintf(pair->request_id, sizeof(pair->request_id), "%s", id);
	list_push_back(&f->pairs, &pair->link);
	f->pair_count++;
	return pair;
}

static void on_stream(struct spdy_stream *stream, const struct spdy_header *headers, size_t count, void *arg) {
	struct forward *f = arg;
	const char *type = header(headers, count, "streamtype"), *id = header(headers, count, "requestid");
	char made[32];
	int64_t port;
	/* Old clients name no request: the data stream comes right after its error stream. */
	if (!*id) {
		snprintf(made, sizeof(made), "%u", spdy_stream_id(stream) - (str_equal(type, "data") ? 2 : 0));
		id = made;
	}
	bool good = str_to_int64(header(headers, count, "port"), 1, 65535, &port) && (str_equal(type, "data") || str_equal(type, "error")) && strlen(id) < 64;
	struct pair *pair = good ? pair_of(f, id, (uint16_t)port) : NULL;
	if (!pair) {
		spdy_reset(stream, SPDY_REFUSED_STREAM);
		return;
	}
	spdy_stream_set_data(stream, pair);
	spdy_reply(stream, NULL, 0);
	if (str_equal(type, "data"))
		pair->data = stream;
	else
		pair->error = stream;
	if (pair->data && pair->error && pair->fd < 0)
		begin(pair);
}

static void on_data(struct spdy_stream *stream, const void *data, size_t len, void *arg) {
	struct pair *pair = spdy_stream_data(stream);
	if (pair && stream == pair->data && !pair->pod_ended)
		buf_append(&pair->pending, data, len);
}

static void on_end(struct spdy_stream *stream, void *arg) {
	struct pair *pair = spdy_stream_data(stream);
	if (pair && stream == pair->data)
		pair->client_ended = true;
}

static void on_close(struct spdy_stream *stream, void *arg) {
	struct pair *pair = spdy_stream_data(stream);
	if (!pair)
		return;
	if (stream == pair->data) {
		pair->data = NULL;
		pair->client_ended = pair->pod_ended = true;
	} else {
		pair->error = NULL;
	}
}

static const struct spdy_callbacks callbacks = {on_stream, on_data, on_end, on_close};

/* ---- the pod's side ---- */

static void pump_to_pod(struct pair *pair) {
	while (pair->pending.len) {
		ssize_t n = send(pair->fd, pair->pending.data, pair->pending.len, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			buf_reset(&pair->pending);
			pair->pod_ended = true;
			break;
		}
		buf_consume(&pair->pending, (size_t)n);
	}
	if (pair->client_ended)
		shutdown(pair->fd, SHUT_WR);
}

static void pump_from_pod(struct pair *pair) {
	char chunk[CHUNK];
	ssize_t n = recv(pair->fd, chunk, sizeof(chunk), 0);
	if (n > 0 && pair->data)
		spdy_send(pair->data, chunk, (size_t)n);
	else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		pair->pod_ended = true;
}

static void step_pair(struct pair *pair, short revents) {
	if (pair->connecting && revents) {
		int problem = 0;
		socklen_t len = sizeof(problem);
		getsockopt(pair->fd, SOL_SOCKET, SO_ERROR, &problem, &len);
		if (problem) {
			autofree char *text = xprintf("failed to connect to localhost:%u inside namespace \"%s\", IPv4: dial tcp4 127.0.0.1:%u: connect: %s", pair->port, pair->forward->netns ? pair->forward->netns : "", pair->port, strerror(problem));
			drop_fd(pair);
			fail(pair, text);
			pair->pod_ended = true;
			return;
		}
		pair->connecting = false;
	}
	if (revents & (POLLIN | POLLHUP | POLLERR))
		pump_from_pod(pair);
	if (!pair->connecting)
		pump_to_pod(pair);
}

/* Ends streams of connections that are over; frees pairs without streams. */
static void reap(struct forward *f) {
	struct pair *pair;
	list_for_each (pair, &f->pairs, link) {
		if (pair->pod_ended && pair->fd >= 0)
			drop_fd(pair);
		if (pair->pod_ended && pair->error) {
			struct spdy_stream *error = pair->error;
			pair->error = NULL;
			spdy_stream_set_data(error, NULL);
			spdy_end(error);
		}
		if (pair->pod_ended && pair->data) {
			struct spdy_stream *data = pair->data;
			pair->data = NULL;
			spdy_stream_set_data(data, NULL);
			spdy_end(data);
		}
		if (pair->pod_ended && !pair->data && !pair->error)
			pair_free(pair);
	}
}

/* ---- the client's side ---- */

static int flush(struct forward *f) {
	struct buf *out = spdy_output(f->spdy);
	while (out->len) {
		if (f->ws) {
			size_t part = min_of(out->len, (size_t)CHUNK);
			int r = websocket_send(f->ws, WEBSOCKET_BINARY, NULL, 0, out->data, part);
			if (r == -EAGAIN)
				break;
			if (r < 0)
				return r;
			buf_consume(out, part);
			continue;
		}
		ssize_t n = send(f->fd, out->data, out->len, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return -EPIPE;
		buf_consume(out, (size_t)n);
	}
	return f->ws && websocket_flush(f->ws) == -EPIPE ? -EPIPE : 0;
}

static int step_client(struct forward *f, short revents) {
	char chunk[CHUNK];
	if (f->ws) {
		struct websocket_message message;
		int r;
		while ((r = websocket_receive(f->ws, &message)) == 1)
			if (spdy_feed(f->spdy, message.data, message.len) < 0)
				return -EPROTO;
		return r == -EAGAIN ? 0 : r;
	}
	ssize_t n = revents & (POLLIN | POLLHUP | POLLERR) ? read(f->fd, chunk, sizeof(chunk)) : -1;
	if (n > 0)
		return spdy_feed(f->spdy, chunk, (size_t)n);
	return n == 0 || (revents && errno != EAGAIN && errno != EINTR && errno) ? -EPIPE : 0;
}

static bool wants_write(const struct forward *f) {
	return spdy_output(f->spdy)->len || (f->ws && websocket_wants_write(f->ws));
}

static void pump(struct forward *f) {
	struct pollfd fds[MAX_PAIRS + 1];
	struct pair *who[MAX_PAIRS + 1];
	size_t count = 1;
	bool room = spdy_output(f->spdy)->len < MAX_PENDING, taking = true;
	struct pair *pair;
	list_for_each (pair, &f->pairs, link) {
		taking = taking && pair->pending.len < MAX_PENDING;
		if (pair->fd < 0)
			continue;
		short events = (short)((room && !pair->connecting && !pair->pod_ended ? POLLIN : 0) | (pair->connecting || pair->pending.len ? POLLOUT : 0));
		who[count] = pair;
		fds[count++] = (struct pollfd){.fd = events ? pair->fd : -1, .events = events};
	}
	fds[0] = (struct pollfd){.fd = f->fd, .events = (short)((taking ? POLLIN : 0) | (wants_write(f) ? POLLOUT : 0))};
	int ready = poll(fds, count, f->idle_ms);
	if (ready == 0 || (ready < 0 && errno != EINTR)) {
		f->gone = true;
		return;
	}
	for (size_t i = 1; i < count; i++)
		if (fds[i].revents || (who[i]->client_ended && !who[i]->connecting))
			step_pair(who[i], fds[i].revents);
	if (fds[0].revents && step_client(f, fds[0].revents) < 0)
		f->gone = true;
	list_for_each (pair, &f->pairs, link)
		if (pair->fd >= 0 && !pair->connecting && (pair->pending.len || pair->client_ended))
			pump_to_pod(pair);
	reap(f);
	if (flush(f) < 0)
		f->gone = true;
}

static void forward_free(struct forward *f) {
	spdy_free(f->spdy);
	struct pair *pair;
	list_for_each (pair, &f->pairs, link)
		pair_free(pair);
	if (f->ws)
		websocket_free(f->ws);
	else
		cleanup_close(&f->fd);
	free(f->netns);
	free(f->pod);
	free(f->extra);
	free(f);
}

static void *serve(void *arg) {
	struct forward *f = arg;
	f->spdy = spdy_new(&callbacks, f);
	if (f->tunnel) {
		const struct websocket_options options = {.max_queued = MAX_PENDING, .extra = f->extra, .extra_len = f->extra_len};
		f->ws = websocket_new(f->fd, &options);
		f->gone = step_client(f, 0) < 0;
	} else if (f->extra_len) {
		f->gone = spdy_feed(f->spdy, f->extra, f->extra_len) < 0;
	}
	f->gone = f->gone || flush(f) < 0;
	while (!f->gone)
		pump(f);
	forward_free(f);
	return NULL;
}

static void on_upgrade(int fd, const void *extra, size_t extra_len, void *arg) {
	struct forward *f = arg;
	f->fd = fd;
	f->extra = extra_len ? xmemdup(extra, extra_len) : NULL;
	f->extra_len = extra_len;
	if (fd < 0 || !route_thread(serve, f))
		forward_free(f);
}

/* The newest sandbox of the pod that is up. */
static struct sandbox_status *find_sandbox(struct kubelet *kubelet, const char *uid) {
	struct sandbox_status **list = NULL, *found = NULL;
	size_t count = 0;
	runtime_sandbox_list(kubelet->runtime, uid, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		if (!found && list[i]->state == SANDBOX_READY)
			found = list[i];
		else
			sandbox_status_free(list[i]);
	}
	free(list);
	return found;
}

void route_port_forward(struct route_request *r) {
	static const char *const tunnel[] = {CHANNEL_TUNNEL_PROTOCOL, NULL}, *const spdy[] = {CHANNEL_PORT_FORWARD_SPDY, NULL};
	autounref struct core_v1_pod *pod = pod_manager_find(r->kubelet->pods, r->parts[0], r->parts[1]);
	struct sandbox_status *sandbox = pod ? find_sandbox(r->kubelet, pod->metadata.uid) : NULL;
	if (!sandbox) {
		route_text(r, 404, "pod does not exist");
		return;
	}
	struct forward *f = xnew(struct forward);
	*f = (struct forward){.kubelet = r->kubelet, .netns = sandbox->netns ? xstrdup(sandbox->netns) : NULL, .pod = xstrdup(sandbox->id), .fd = -1, .idle_ms = route_idle_ms(r->kubelet), .tunnel = websocket_requested(r->http)};
	list_init(&f->pairs);
	sandbox_status_free(sandbox);
	const char *protocol = f->tunnel ? websocket_choose(r->http, tunnel) : channel_negotiate(r->http, spdy);
	if (!protocol || !http_header(r->http, "Upgrade")) {
		route_text(r, f->tunnel ? 403 : 400, "unable to upgrade: unable to negotiate protocol");
		forward_free(f);
	} else if (f->tunnel) {
		websocket_upgrade(r->http, protocol, on_upgrade, f);
	} else {
		http_add_header(r->http, "X-Stream-Protocol-Version", protocol);
		http_upgrade(r->http, "SPDY/3.1", on_upgrade, f);
	}
}
