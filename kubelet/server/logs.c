/* SPDX-License-Identifier: Apache-2.0 */
/* /containerLogs/{namespace}/{pod}/{container} */
#include "kubelet/pod/manager.h"
#include "kubelet/server/log_reader.h"
#include "kubelet/server/server.h"

#include <errno.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_QUEUED (1u << 20)
#define RESUME_BELOW (MAX_QUEUED / 2)

/* Shared by the thread that reads the log and the I/O thread that tells of the connection. */
struct log_stream {
	struct kubelet *kubelet;
	struct container_status *status;
	struct http_stream *stream;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int cancel_fd;
	bool closed;
	uint64_t drains; /* how often the queue has become empty */
	unsigned refs; /* under lock */
};

static void log_stream_unref(struct log_stream *log) {
	pthread_mutex_lock(&log->lock);
	bool last = --log->refs == 0;
	pthread_mutex_unlock(&log->lock);
	if (!last)
		return;
	container_status_free(log->status);
	cleanup_close(&log->cancel_fd);
	pthread_mutex_destroy(&log->lock);
	pthread_cond_destroy(&log->changed);
	free(log);
}

static void on_close(void *arg) {
	struct log_stream *log = arg;
	uint64_t one = 1;
	pthread_mutex_lock(&log->lock);
	log->closed = true;
	pthread_cond_signal(&log->changed);
	pthread_mutex_unlock(&log->lock);
	if (write(log->cancel_fd, &one, sizeof(one)) == sizeof(one))
		log_stream_unref(log);
}

static void on_drain(void *arg) {
	struct log_stream *log = arg;
	pthread_mutex_lock(&log->lock);
	log->drains++;
	pthread_cond_signal(&log->changed);
	pthread_mutex_unlock(&log->lock);
}

/* Waits where the client is slow, instead of being cut off. */
static bool emit(const void *data, size_t len, void *arg) {
	struct log_stream *log = arg;
	pthread_mutex_lock(&log->lock);
	uint64_t drains = log->drains;
	bool closed = log->closed;
	pthread_mutex_unlock(&log->lock);
	/* The stream has a lock of its own: it is never asked under ours. */
	if (!closed && http_stream_queued(log->stream) > RESUME_BELOW) {
		pthread_mutex_lock(&log->lock);
		while (!log->closed && log->drains == drains)
			pthread_cond_wait(&log->changed, &log->lock);
		closed = log->closed;
		pthread_mutex_unlock(&log->lock);
	}
	if (closed)
		return false;
	autobytes struct bytes *bytes = bytes_new(data, len);
	return http_stream_send(log->stream, bytes);
}

static bool ended(void *arg) {
	struct log_stream *log = arg;
	return !pod_manager_container_running(log->kubelet->pods, log->status->pod_uid, log->status->id);
}

static bool number(struct route_request *r, const char *name, int64_t *ret) {
	const char *text = http_query(r->http, name);
	return str_empty(text) || str_to_int64(text, 0, INT64_MAX, ret);
}

static int read_options(struct route_request *r, struct log_reader_options *o) {
	int64_t since_seconds = -1;
	const char *since = http_query(r->http, "sinceTime"), *stream = http_query(r->http, "stream");
	o->follow = route_flag(r, "follow");
	o->timestamps = route_flag(r, "timestamps");
	o->want_stdout = str_equal(stream, "Stdout");
	o->want_stderr = str_equal(stream, "Stderr");
	bool good = number(r, "tailLines", &o->tail_lines) && number(r, "limitBytes", &o->limit_bytes) && number(r, "sinceSeconds", &since_seconds);
	if (!str_empty(since)) {
		o->has_since = true;
		good = good && time_parse_rfc3339(since, strlen(since), &o->since) == 0;
	} else if (since_seconds >= 0) {
		o->has_since = true;
		o->since = clock_wall();
		o->since.sec -= since_seconds;
	}
	if (!good)
		route_text(r, 400, "Unable to decode query.");
	return good ? 0 : -EINVAL;
}

void route_logs(struct route_request *r) {
	struct log_reader_options options = LOG_READER_OPTIONS_INIT;
	struct container_status *status = NULL;
	if (read_options(r, &options) < 0 || route_container(r, route_flag(r, "previous"), &status) < 0)
		return;
	struct log_stream *log = xnew(struct log_stream);
	*log = (struct log_stream){.kubelet = r->kubelet, .status = status, .cancel_fd = eventfd(0, EFD_CLOEXEC), .refs = 2};
	pthread_mutex_init(&log->lock, NULL);
	pthread_cond_init(&log->changed, NULL);
	log->stream = http_stream_start(r->http, 200, "text/plain", MAX_QUEUED, on_close, log);
	http_stream_on_drain(log->stream, on_drain, log);
	autoerror struct error err = {0};
	if (log_reader_run(status->log_path, &options, emit, ended, log, log->cancel_fd, &err) < 0) {
		autofree char *text = xprintf("%s\n", error_message(&err));
		emit(text, strlen(text), log);
	}
	http_stream_end(log->stream);
	http_stream_unref(log->stream);
	log_stream_unref(log);
}
