/* SPDX-License-Identifier: Apache-2.0 */
/* One I/O thread: its epoll set, its libmicrohttpd daemon, its connections, and the work others post to it. */
#include "common/http/direct.h"

#include "common/base/clock.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { EVENTS = 256, MHD_ROUNDS = 4 };

static __thread struct io_thread *current_thread;

int thread_watch(struct io_thread *thread, int fd, uint32_t events, struct source *source)
{
	struct epoll_event event = {.events = events, .data.ptr = source};
	return epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void thread_unwatch(struct io_thread *thread, int fd)
{
	epoll_ctl(thread->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	close(fd);
}

void thread_activate(struct io_thread *thread, struct http_conn *conn)
{
	if (conn->active || conn->dead)
		return;
	conn->active = true;
	list_push_back(&thread->active, &conn->active_link);
}

/* Releases the lock. The thread itself looks at its posts before it sleeps. */
static void unlock_and_wake(struct io_thread *thread)
{
	bool wake = !thread->woken && current_thread != thread;
	if (wake)
		thread->woken = true;
	pthread_mutex_unlock(&thread->lock);
	if (wake)
		eventfd_write(thread->wake_fd, 1);
}

void thread_post(struct io_thread *thread, struct post *post)
{
	pthread_mutex_lock(&thread->lock);
	list_push_back(&thread->posts, &post->link);
	unlock_and_wake(thread);
}

void thread_resume(struct io_thread *thread, struct MHD_Connection *mhd)
{
	/* A daemon that is polled from outside has no channel of its own to wake anybody. */
	MHD_resume_connection(mhd);
	pthread_mutex_lock(&thread->lock);
	thread->resumed = true;
	unlock_and_wake(thread);
}

void thread_answered(struct io_thread *thread, struct http_request *req)
{
	pthread_mutex_lock(&thread->lock);
	list_push_back(&thread->answers, &req->answer_link);
	unlock_and_wake(thread);
}

/* Where there are none, whoever posts wakes the thread from now on: it is about to sleep. */
static bool has_posts(struct io_thread *thread)
{
	pthread_mutex_lock(&thread->lock);
	bool any = !list_empty(&thread->posts) || !list_empty(&thread->answers) || thread->resumed;
	thread->woken = any;
	pthread_mutex_unlock(&thread->lock);
	return any;
}

static void run_posts(struct io_thread *thread)
{
	struct list taken, answers;
	list_init(&taken);
	list_init(&answers);
	pthread_mutex_lock(&thread->lock);
	list_splice_back(&answers, &thread->answers);
	thread->woken = true; /* until it sleeps again, it looks by itself */
	if (thread->resumed)
		thread->mhd_pending = true;
	thread->resumed = false;
	list_splice_back(&taken, &thread->posts);
	pthread_mutex_unlock(&thread->lock);
	while (!list_empty(&taken)) {
		struct post *post = list_first(&taken, struct post, link);
		list_remove(&post->link);
		post->fn(thread, post);
	}
	while (!list_empty(&answers)) {
		struct http_request *req = list_first(&answers, struct http_request, answer_link);
		list_remove(&req->answer_link);
		direct_settle(req);
		request_unref(req);
	}
}

static void run_active(struct io_thread *thread)
{
	struct list round;
	list_init(&round);
	list_splice_back(&round, &thread->active);
	while (!list_empty(&round)) {
		struct http_conn *conn = list_first(&round, struct http_conn, active_link);
		list_remove(&conn->active_link);
		conn->active = false;
		conn_run(conn);
	}
}

static void run_mhd(struct io_thread *thread)
{
	for (int i = 0; thread->mhd_pending && i < MHD_ROUNDS; i++) {
		thread->mhd_pending = false;
		MHD_run_wait(thread->mhd, 0);
		MHD_UNSIGNED_LONG_LONG ms;
		if (MHD_get_timeout(thread->mhd, &ms) == MHD_YES && ms == 0)
			thread->mhd_pending = true;
	}
}

/* What libmicrohttpd answered at once need not wait for its event. */
static void run_expecting(struct io_thread *thread)
{
	while (!list_empty(&thread->expecting)) {
		struct http_conn *conn = list_first(&thread->expecting, struct http_conn, expecting_link);
		list_remove(&conn->expecting_link);
		conn->pair_readable = true;
		conn_run(conn);
	}
}

static void sweep(struct io_thread *thread)
{
	int64_t now = clock_monotonic_ns();
	if (now < thread->sweep_at)
		return;
	thread->sweep_at = INT64_MAX;
	struct http_conn *conn;
	list_for_each(conn, &thread->conns, link)
		conn_check_deadline(conn, now);
	int64_t next = INT64_MAX;
	list_for_each(conn, &thread->conns, link) {
		if (conn->deadline_kind != DEADLINE_NONE && conn->deadline < next)
			next = conn->deadline;
	}
	/* At most one walk over all connections a second. */
	thread->sweep_at = next == INT64_MAX ? next : max_of(next, now + NSEC_PER_SEC);
}

static void free_dead(struct io_thread *thread)
{
	while (!list_empty(&thread->freed)) {
		struct http_conn *conn = list_first(&thread->freed, struct http_conn, link);
		list_remove(&conn->link);
		conn_unref(conn);
	}
}

static int wait_ms(struct io_thread *thread)
{
	if (!list_empty(&thread->active) || thread->mhd_pending || thread->stopping || has_posts(thread))
		return 0;
	if (thread->sweep_at == INT64_MAX)
		return -1;
	int64_t left = thread->sweep_at - clock_monotonic_ns();
	return left <= 0 ? 0 : (int)min_of(left / NSEC_PER_MSEC + 1, (int64_t)3600000);
}

/* Edge triggered, so that the counter need not be read. */
static void on_wake(struct source *source, uint32_t events) {}

void thread_stop(struct io_thread *thread)
{
	thread->stopping = true;
}

static void cancel_all(struct io_thread *thread)
{
	struct http_request *req;
	list_for_each(req, &thread->requests, link)
		if (req->mhd)
			request_cancel(req);
		else
			direct_cancel(req);
}

/* The server is over: whoever still waits is answered 503 into a closing connection, so that libmicrohttpd lets go of all. */
static void close_all(struct io_thread *thread)
{
	cancel_all(thread);
	struct http_conn *conn;
	list_for_each(conn, &thread->conns, link)
		conn_close(conn);
	thread->mhd_pending = true;
	run_mhd(thread);
	run_posts(thread);
	cancel_all(thread); /* those that went on just now, and wait again */
	MHD_stop_daemon(take_ptr(thread->mhd));
	run_posts(thread); /* of streams that never reached a connection */
	free_dead(thread);
}

static void *thread_main(void *arg)
{
	struct io_thread *thread = arg;
	current_thread = thread;
	struct epoll_event events[EVENTS];
	while (!thread->stopping) {
		int n = epoll_wait(thread->epoll_fd, events, EVENTS, wait_ms(thread));
		for (int i = 0; i < n; i++) {
			struct source *source = events[i].data.ptr;
			source->fn(source, events[i].events);
		}
		run_posts(thread);
		run_active(thread);
		run_mhd(thread);
		run_expecting(thread);
		sweep(thread);
		free_dead(thread);
	}
	close_all(thread);
	return NULL;
}

/* A connection of libmicrohttpd holds a reference to ours, for the requests that come on it. */
static void on_connection(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_ConnectionNotificationCode code)
{
	struct io_thread *thread = cls;
	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		*context = conn_ref(thread->adding);
	} else {
		conn_unref(*context);
		*context = NULL;
	}
}

/* Paths and parameters are decoded by us, and only where somebody asks. */
static size_t leave_escaped(void *cls, struct MHD_Connection *mhd, char *s)
{
	return strlen(s);
}

/*
 * The daemon is polled from outside, and not even watched: it has something to do only after we put bytes before it, made it room,
 * closed a pair or resumed a connection, and all of these set mhd_pending. Its epoll descriptor would wake us for every answer we took.
 */
static int start_mhd(struct io_thread *thread, struct error *err)
{
	const struct http_server_options *options = &thread->server->options;
	thread->mhd = MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE | MHD_USE_TURBO, 0, NULL, NULL,
		request_on_access, thread, MHD_OPTION_URI_LOG_CALLBACK, request_on_uri, thread, MHD_OPTION_NOTIFY_COMPLETED, request_on_completed, thread, MHD_OPTION_NOTIFY_CONNECTION, on_connection, thread,
		MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, options->max_header_bytes, MHD_OPTION_CONNECTION_LIMIT, options->max_connections + 1, MHD_OPTION_CONNECTION_TIMEOUT, 0u,
		MHD_OPTION_END);
	if (!thread->mhd)
		return error_set(err, EIO, "cannot start libmicrohttpd");
	return 0;
}

int thread_start(struct io_thread *thread, struct http_server *server, struct error *err)
{
	thread->server = server;
	thread->wake.fn = on_wake;
	thread->buffer = xmalloc(HTTP_IO_BUFFER);
	thread->out = BUF_INIT(BUF_MAX_DEFAULT);
	thread->sweep_at = INT64_MAX;
	if (thread->epoll_fd < 0 || thread->wake_fd < 0)
		return error_set(err, EMFILE, "no descriptors left for an I/O thread");
	if (thread_watch(thread, thread->wake_fd, EPOLLIN | EPOLLET, &thread->wake) < 0)
		return error_set_errno(err, errno, "epoll_ctl");
	int rc = start_mhd(thread, err);
	if (rc < 0)
		return rc;
	rc = pthread_create(&thread->id, NULL, thread_main, thread);
	if (rc)
		return error_set_errno(err, rc, "start an I/O thread");
	pthread_setname_np(thread->id, "http-io");
	return 0;
}

void thread_free(struct io_thread *thread)
{
	if (thread->mhd)
		MHD_stop_daemon(take_ptr(thread->mhd));
	if (thread->wake_fd >= 0)
		close(thread->wake_fd);
	if (thread->epoll_fd >= 0)
		close(thread->epoll_fd);
	free(thread->buffer);
	buf_done(&thread->out);
	pthread_mutex_destroy(&thread->resume_lock);
	pthread_mutex_destroy(&thread->lock);
}
