/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/watch_socket.h"

#include "common/base/list.h"
#include "common/http/websocket.h"

#include <errno.h>
#include <pthread.h>

/* What has been sent by the watch and not been given to the socket yet. */
struct pending {
	struct list link;
	struct bytes *bytes; /* referenced */
};
struct watch_socket {
	unsigned refs; /* atomic: the watch's, the loop's, one for each posted call */
	struct loop *loop;
	bool text;
	size_t skip, max_queued;
	void (*on_close)(void *arg);
	void *arg;

	pthread_mutex_t lock; /* guards what follows */
	struct list pending;
	size_t queued;        /* bytes, those in the socket's own queue included */
	bool posted, ending, cut, closed;
	void (*on_drain)(void *arg);
	void *drain_arg;

	/* The loop's thread alone. */
	struct websocket *ws;
	struct loop_fd *watch;
	bool close_sent;

	struct list all; /* under all_lock */
};

/* Those that are open, for the server's end. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_gone = PTHREAD_COND_INITIALIZER;
static struct list all_sockets = LIST_INIT(all_sockets);

void watch_socket_unref(struct watch_socket *s) {
	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static struct watch_socket *ref(struct watch_socket *s) {
	__atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
	return s;
}

static struct pending *take_pending(struct watch_socket *s) {
	struct pending *p = list_first(&s->pending, struct pending, link);
	if (p)
		list_remove(&p->link);
	return p;
}

static void free_pending(struct pending *p) {
	bytes_unref(p->bytes);
	free(p);
}

/* The loop's thread. Its reference goes. */
static void shut(struct watch_socket *s) {
	pthread_mutex_lock(&s->lock);
	bool first = !s->closed;
	s->closed = true;
	for (struct pending *p; (p = take_pending(s));)
		free_pending(p);
	s->queued = 0;
	pthread_mutex_unlock(&s->lock);
	if (!first)
		return;
	loop_fd_remove(s->watch);
	websocket_free(s->ws);
	s->watch = NULL;
	s->ws = NULL;
	s->on_close(s->arg);
	pthread_mutex_lock(&all_lock);
	list_remove(&s->all);
	pthread_cond_broadcast(&all_gone);
	pthread_mutex_unlock(&all_lock);
	watch_socket_unref(s);
}

static bool pump(struct watch_socket *s) {
	for (;;) {
		pthread_mutex_lock(&s->lock);
		struct pending *p = s->cut ? NULL : take_pending(s);
		bool ending = s->ending, cut = s->cut;
		pthread_mutex_unlock(&s->lock);
		if (cut)
			return false;
		if (!p) {
			if (ending && !s->close_sent)
				websocket_close(s->ws, WEBSOCKET_CLOSE_NORMAL, "");
			s->close_sent = ending;
			break;
		}
		int rc = websocket_send(s->ws, s->text ? WEBSOCKET_TEXT : WEBSOCKET_BINARY, NULL, 0, p->bytes->data + (s->text ? 0 : s->skip), p->bytes->len - (s->text ? 0 : s->skip));
		free_pending(p);
		if (rc < 0)
			return false;
	}
	int rc = websocket_flush(s->ws);
	if ((rc < 0 && rc != -EAGAIN) || (s->close_sent && !websocket_wants_write(s->ws)))
		return false;
	struct websocket_message ignored;
	while ((rc = websocket_receive(s->ws, &ignored)) == 1)
		;
	if (rc != -EAGAIN)
		return false;
	loop_fd_set_events(s->watch, EPOLLIN | (websocket_wants_write(s->ws) ? EPOLLOUT : 0));
	pthread_mutex_lock(&s->lock);
	size_t before = s->queued;
	if (list_empty(&s->pending))
		s->queued = websocket_queued(s->ws);
	bool drained = before > 0 && s->queued == 0;
	void (*on_drain)(void *arg) = s->on_drain;
	pthread_mutex_unlock(&s->lock);
	if (drained && on_drain)
		on_drain(s->drain_arg);
	return true;
}

static void on_ready(uint32_t events, void *arg) {
	struct watch_socket *s = ref(arg);
	if (s->ws && !pump(s))
		shut(s);
	watch_socket_unref(s);
}

static void on_posted(void *arg) {
	struct watch_socket *s = arg;
	pthread_mutex_lock(&s->lock);
	s->posted = false;
	pthread_mutex_unlock(&s->lock);
	if (s->ws && !pump(s))
		shut(s);
	watch_socket_unref(s);
}

/* The lock is held. Nothing to do before the socket is open: that begins with a look. */
static void post(struct watch_socket *s) {
	if (s->posted || s->closed)
		return;
	s->posted = true;
	loop_post(s->loop, on_posted, ref(s));
}

/* ---- opening ---- */

struct opening {
	struct watch_socket *socket;
	int fd;
	void *extra;
	size_t extra_len;
};

static void on_opened(void *arg) {
	struct opening *o = arg;
	struct watch_socket *s = ref(o->socket);
	if (o->fd >= 0) {
		const struct websocket_options options = {.max_queued = s->max_queued * 2, .extra = o->extra, .extra_len = o->extra_len};
		s->ws = websocket_new(o->fd, &options);
		s->watch = loop_add_fd(s->loop, o->fd, EPOLLIN, on_ready, s);
	}
	if (!s->ws || !pump(s))
		shut(s);
	free(o->extra);
	free(o);
	watch_socket_unref(s);
}

static void on_upgrade(int fd, const void *extra, size_t extra_len, void *arg) {
	struct watch_socket *s = arg;
	struct opening *o = xnew(struct opening);
	*o = (struct opening){s, fd, extra_len ? xmemdup(extra, extra_len) : NULL, extra_len};
	loop_post(s->loop, on_opened, o);
}

/* An absolute URI or path, as far as anybody would send another. */
static bool is_uri(const char *s) {
	size_t scheme = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-.");
	bool absolute = scheme && s[scheme] == ':' && ((s[0] | 0x20) >= 'a' && (s[0] | 0x20) <= 'z');
	return absolute || s[0] == '/';
}

int watch_socket_judge(struct http_request *req, const char **ret_protocol) {
	const char *origin = http_header(req, "Origin");
	if (!origin || !is_uri(origin))
		return 403;
	/* A token among them was the authenticator's, unless there was another. */
	bool token_is_ours = !http_header(req, "Authorization");
	const char *offered = str_or(http_header(req, "Sec-WebSocket-Protocol"), "");
	*ret_protocol = "";
	for (const char *p = offered; *(p += strspn(p, " \t"));) {
		size_t len = strcspn(p, ",");
		if (!token_is_ours || !str_starts_with(p, WEBSOCKET_BEARER)) {
			if (**ret_protocol)
				return 400;
			*ret_protocol = arena_strndup(http_arena(req), p, len);
		}
		p += len;
		if (*p == ',')
			p++;
	}
	return 0;
}

struct watch_socket *watch_socket_start(struct http_request *req, const char *protocol, struct loop *loop, bool text, size_t skip, size_t max_queued, void (*on_close)(void *arg), void *arg) {
	struct watch_socket *s = xnew(struct watch_socket);
	*s = (struct watch_socket){.refs = 2, .loop = loop, .text = text, .skip = skip, .max_queued = max_queued, .on_close = on_close, .arg = arg};
	pthread_mutex_init(&s->lock, NULL);
	list_init(&s->pending);
	pthread_mutex_lock(&all_lock);
	list_push_back(&all_sockets, &s->all);
	pthread_mutex_unlock(&all_lock);
	http_set_header(req, "Cache-Control", ""); /* of answers, which this is not */
	websocket_upgrade(req, protocol, on_upgrade, s);
	return s;
}

/* ---- any thread ---- */

bool watch_socket_send(struct watch_socket *s, struct bytes *bytes) {
	pthread_mutex_lock(&s->lock);
	bool fits = !s->closed && !s->ending && (!s->queued || s->queued + bytes->len <= s->max_queued);
	if (fits) {
		struct pending *p = xnew(struct pending);
		p->bytes = bytes_ref(bytes);
		list_push_back(&s->pending, &p->link);
		s->queued += bytes->len;
	} else if (!s->closed) {
		s->cut = true; /* too slow: what is queued will not be read either */
	}
	post(s);
	pthread_mutex_unlock(&s->lock);
	return fits;
}

size_t watch_socket_queued(struct watch_socket *s) {
	pthread_mutex_lock(&s->lock);
	size_t queued = s->queued;
	pthread_mutex_unlock(&s->lock);
	return queued;
}

void watch_socket_end(struct watch_socket *s) {
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	post(s);
	pthread_mutex_unlock(&s->lock);
}

void watch_socket_on_drain(struct watch_socket *s, void (*fn)(void *arg), void *arg) {
	pthread_mutex_lock(&s->lock);
	s->drain_arg = arg;
	s->on_drain = fn;
	pthread_mutex_unlock(&s->lock);
}

void watch_sockets_close(void) {
	pthread_mutex_lock(&all_lock);
	struct watch_socket *s;
	list_for_each (s, &all_sockets, all) {
		pthread_mutex_lock(&s->lock);
		s->cut = true;
		post(s);
		pthread_mutex_unlock(&s->lock);
	}
	while (!list_empty(&all_sockets))
		pthread_cond_wait(&all_gone, &all_lock);
	pthread_mutex_unlock(&all_lock);
}
