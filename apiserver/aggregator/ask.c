/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to remote servers: one GET each, by the timers' loop, within bounds of time and size. */
#include "apiserver/aggregator/internal.h"
#include "apiserver/proxy/fetch.h"
#include "apiserver/timers.h"
#include "common/base/clock.h"

#include <semaphore.h>

#define TIMEOUT_NS (5 * NSEC_PER_SEC)
#define MAX_ANSWER ((size_t)16 << 20)
#define DISCOVERY_TYPE(version) "application/json;g=apidiscovery.k8s.io;v=" version ";as=APIGroupDiscoveryList"
#define AS_US "X-Remote-User: system:kube-aggregator\r\nX-Remote-Group: system:masters\r\n"

static const char *const headers[STEP_COUNT] = {
	[STEP_CHECK] = "Accept: application/json\r\n" AS_US,
	[STEP_GROUPS] = "Accept: " DISCOVERY_TYPE("v2") "," DISCOVERY_TYPE("v2beta1") "\r\n" AS_US,
	[STEP_VERSION] = "Accept: application/json\r\n" AS_US,
	[STEP_DOCUMENTS] = "Accept: application/json\r\n" AS_US,
	[STEP_SWAGGER] = "Accept: application/json\r\n" AS_US,
};

void question_free(struct question *q) {
	aggregated_unref(q->info);
	free(q->address);
	free(q->path);
	free(q->trouble);
	free(q->body);
	free(q);
}

static char *path_of(const struct aggregated *info, enum step step) {
	switch (step) {
	case STEP_GROUPS:
		return xstrdup("/apis");
	case STEP_DOCUMENTS:
		return xstrdup("/openapi/v3");
	case STEP_SWAGGER:
		return xstrdup("/openapi/v2");
	default:
		return *info->group ? xprintf("/apis/%s/%s", info->group, info->version) : xprintf("/api/%s", info->version);
	}
}

static void on_done(int status, const struct buf *body, const struct error *err, void *arg) {
	struct question *q = arg;
	struct aggregator *a = q->aggregator;
	q->status = status;
	if (status == 0)
		q->trouble = xstrdup(error_message(err));
	else if (!fetch_header(q->fetch, "Content-Type", q->type, sizeof(q->type)))
		*q->type = '\0';
	q->fetch = NULL;
	if (status == 200 && body->len) {
		q->body = xmemdup(body->data, body->len + 1);
		q->body_len = body->len;
	}
	list_remove(&q->link);
	pthread_mutex_lock(&a->work);
	list_push_back(&a->answers, &q->link);
	if (a->wake)
		worker_wake(a->wake);
	pthread_mutex_unlock(&a->work);
}

static void on_begin(void *arg) {
	struct question *q = arg;
	struct fetch_options options = {
		.address = q->address,
		.port = q->port,
		.path = q->path,
		.headers = headers[q->step],
		.credentials = q->info->trust->credentials,
		.verify = q->info->trust->verify,
		.server_name = q->info->server_name,
		.timeout_ns = TIMEOUT_NS,
		.max_body = MAX_ANSWER,
		.done = on_done,
		.arg = q,
	};
	list_push_back(&q->aggregator->asked, &q->link);
	q->fetch = fetch_start(timers_loop(q->aggregator->server->timers), &options);
}

void ask_start(struct aggregator *a, struct aggregated *info, enum step step, const char *address, uint16_t port) {
	struct question *q = xnew(struct question);
	*q = (struct question){.aggregator = a, .info = aggregated_ref(info), .step = step, .address = xstrdup(address), .port = port, .path = path_of(info, step)};
	list_init(&q->link);
	loop_post(timers_loop(a->server->timers), on_begin, q);
}

struct drain {
	struct aggregator *aggregator;
	sem_t done;
};

static void on_drain(void *arg) {
	struct drain *drain = arg;
	struct list *asked = &drain->aggregator->asked;
	while (!list_empty(asked)) {
		struct question *q = list_entry(asked->next, struct question, link);
		list_remove(&q->link);
		fetch_cancel(q->fetch);
		question_free(q);
	}
	sem_post(&drain->done);
}

void ask_drain(struct aggregator *a) {
	struct drain drain = {.aggregator = a};
	sem_init(&drain.done, 0, 0);
	loop_post(timers_loop(a->server->timers), on_drain, &drain);
	while (sem_wait(&drain.done) < 0)
		;
	sem_destroy(&drain.done);
}
