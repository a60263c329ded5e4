/* SPDX-License-Identifier: Apache-2.0 */
/* Where events go: at once on the thread of the request, or by way of a bounded queue and a thread of the backend's own. */
#include "apiserver/audit/backend.h"
#include "apiserver/audit/truncate.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"

#include <pthread.h>

#define MAX_QUEUE_BYTES ((size_t)64 << 20) /* beside the number of events: those at level RequestResponse are large */

struct audit_backend {
	struct audit_backend_options options;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool started, stop, told;
	struct bytes **queue; /* a ring of options.buffer_size */
	size_t first, len, bytes;
	double tokens; /* of the rate of batches */
	int64_t tokens_at;
};

static const char *const by_plugin[] = {"plugin", NULL};
static struct metric metrics[] = {
	{.name = "apiserver_audit_error_total", .help = "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.", .kind = METRIC_COUNTER, .labels = by_plugin},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static bool process_some(struct audit_backend *b, struct bytes **events, size_t count) {
	int failed = b->options.process(b->options.arg, events, count);
	if (failed)
		metric_add(metric_label(&metrics[0], b->options.name), (double)count);
	return failed == 0;
}

/* As Kubernetes: of events that are too large what is left of them, in calls of no more than so many bytes. Those that are too large even so are lost, and counted. */
static bool process(struct audit_backend *b, struct bytes **events, size_t count) {
	if (!b->options.max_event)
		return process_some(b, events, count);
	struct bytes **rest = xcalloc(count, sizeof(struct bytes *));
	size_t first = 0, n = 0, bytes = 0;
	bool good = true;
	for (size_t i = 0; i < count; i++) {
		struct bytes *event = events[i]->len > b->options.max_event ? audit_truncate(events[i]) : bytes_ref(events[i]);
		if (event->len > b->options.max_event) {
			metric_add(metric_label(&metrics[0], "truncate"), 1);
			bytes_unref(event);
			continue;
		}
		if (n > first && bytes + event->len > b->options.max_bytes) {
			good = process_some(b, rest + first, n - first) && good;
			first = n;
			bytes = 0;
		}
		bytes += event->len;
		rest[n++] = event;
	}
	if (n > first)
		good = process_some(b, rest + first, n - first) && good;
	for (size_t i = 0; i < n; i++)
		bytes_unref(rest[i]);
	free(rest);
	return good;
}

/* ---- the thread ---- */

/* Takes the oldest events, as many as make a batch. The lock is held. */
static size_t take(struct audit_backend *b, struct bytes **batch) {
	size_t count = min_of(b->len, b->options.batch_size);
	for (size_t i = 0; i < count; i++) {
		batch[i] = b->queue[b->first];
		b->bytes -= batch[i]->len;
		b->first = (b->first + 1) % b->options.buffer_size;
	}
	b->len -= count;
	return count;
}

static void wait_until(struct audit_backend *b, int64_t until) {
	int64_t left = until - clock_monotonic_ns();
	struct timespec at;
	if (left <= 0)
		return;
	clock_gettime(CLOCK_MONOTONIC, &at);
	left += at.tv_nsec;
	at.tv_sec += left / NSEC_PER_SEC;
	at.tv_nsec = left % NSEC_PER_SEC;
	pthread_cond_timedwait(&b->wake, &b->lock, &at);
}

/* Whether a batch may go now; otherwise when. */
static bool may_send(struct audit_backend *b, int64_t now, int64_t *ret_at) {
	const struct audit_backend_options *o = &b->options;
	if (o->qps <= 0)
		return true;
	b->tokens += (double)(now - b->tokens_at) / NSEC_PER_SEC * o->qps;
	b->tokens = min_of(b->tokens, (double)o->burst);
	b->tokens_at = now;
	if (b->tokens >= 1) {
		b->tokens -= 1;
		return true;
	}
	*ret_at = now + (int64_t)((1 - b->tokens) / o->qps * NSEC_PER_SEC) + 1;
	return false;
}

static void *run(void *arg) {
	struct audit_backend *b = arg;
	struct bytes **batch = xcalloc(b->options.batch_size, sizeof(struct bytes *));
	int64_t since = 0; /* when the oldest event that waits came, as far as is known */
	pthread_mutex_lock(&b->lock);
	for (;;) {
		int64_t now = clock_monotonic_ns(), at;
		if (!b->len) {
			if (b->stop)
				break;
			since = 0;
			pthread_cond_wait(&b->wake, &b->lock);
			continue;
		}
		since = since ? since : now;
		if (!b->stop && b->len < b->options.batch_size && now < since + b->options.batch_wait_ns) {
			wait_until(b, since + b->options.batch_wait_ns);
			continue;
		}
		if (!b->stop && !may_send(b, now, &at)) {
			wait_until(b, at);
			continue;
		}
		size_t count = take(b, batch);
		since = 0;
		pthread_mutex_unlock(&b->lock);
		process(b, batch, count);
		for (size_t i = 0; i < count; i++)
			bytes_unref(batch[i]);
		pthread_mutex_lock(&b->lock);
	}
	pthread_mutex_unlock(&b->lock);
	free(batch);
	return NULL;
}

static void enqueue(struct audit_backend *b, struct bytes *event) {
	pthread_mutex_lock(&b->lock);
	bool full = b->len == b->options.buffer_size || b->bytes + event->len > MAX_QUEUE_BYTES, told = b->told;
	if (!full) {
		b->queue[(b->first + b->len++) % b->options.buffer_size] = bytes_ref(event);
		b->bytes += event->len;
		if (b->len == 1 || b->len >= b->options.batch_size)
			pthread_cond_signal(&b->wake);
	}
	b->told = full;
	pthread_mutex_unlock(&b->lock);
	if (!full)
		return;
	metric_add(metric_label(&metrics[0], b->options.name), 1);
	if (!told)
		log_error("audit events are dropped, for their queue is full", LOG_STR("plugin", b->options.name));
}

/* ---- */

int audit_backend_start(const struct audit_backend_options *options, struct audit_backend **ret, struct error *err) {
	struct audit_backend *b = xnew(struct audit_backend);
	pthread_condattr_t attr;
	b->options = *options;
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->wake, &attr);
	pthread_condattr_destroy(&attr);
	b->tokens = options->burst;
	b->tokens_at = clock_monotonic_ns();
	*ret = b;
	if (!options->batch)
		return 0;
	b->queue = xcalloc(options->buffer_size, sizeof(struct bytes *));
	int rc = pthread_create(&b->thread, NULL, run, b);
	b->started = rc == 0;
	return rc ? error_set_errno(err, rc, "start a thread for audit events") : 0;
}

bool audit_backend_tell(struct audit_backend *b, struct bytes *event) {
	if (!b->options.batch)
		return process(b, &event, 1) || !b->options.strict;
	enqueue(b, event);
	return true;
}

void audit_backend_stop(struct audit_backend *b) {
	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_signal(&b->wake);
	pthread_mutex_unlock(&b->lock);
	if (b->started)
		pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->wake);
	pthread_mutex_destroy(&b->lock);
	free(b->queue);
	free(b);
}
