/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/kms_client.h"
#include "apiserver/etcd/message.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/metrics.h"

#include <errno.h>
#include <pthread.h>

#define RECONNECT_NS (200 * NSEC_PER_MSEC)

static const double latency_buckets[] = {0.0001, 0.0002, 0.0004, 0.0008, 0.0016, 0.0032, 0.0064, 0.0128, 0.0256, 0.0512, 0.1024, 0.2048, 0.4096, 0.8192, 1.6384, 3.2768, 6.5536, 13.1072, 26.2144, 52.4288, 0};
static struct metric metrics[] = {
	{.name = "apiserver_envelope_encryption_kms_operations_latency_seconds", .help = "How long calls of key services took, by their outcome in gRPC's words.", .kind = METRIC_HISTOGRAM,
		.labels = (const char *const[]){"grpc_status_code", "method_name", "provider_name", NULL}, .buckets = latency_buckets},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

struct kms_client {
	char *name;
	struct endpoint endpoint;
	int64_t timeout_ns;
	struct loop *loop;
	pthread_t thread;
	struct grpc_connection *connection;
	bool ready;
	struct list calls;
	struct loop_timer *reconnect, *deadline;
};

struct call {
	struct list link;
	struct kms_client *client;
	const char *method;
	struct buf message;
	struct grpc_call *grpc; /* NULL: not sent */
	int64_t started;
	kms_done done;
	void *arg;
};

static void call_free(struct call *call) {
	list_remove(&call->link);
	buf_done(&call->message);
	free(call);
}

static void end(struct call *call, int status, const char *text, const void *data, size_t len) {
	struct kms_client *client = call->client;
	metric_observe(metric_label(&metrics[0], grpc_status_name(status), call->method, client->name), (double)(clock_monotonic_ns() - call->started) / NSEC_PER_SEC);
	list_remove(&call->link);
	call->done(status, text, data, len, call->arg);
	call_free(call);
}

/* ---- the connection ---- */

static void on_ended(int status, const char *text, const void *data, size_t len, void *arg) {
	end(arg, status, text, data, len);
}

static void send_call(struct call *call) {
	static const struct grpc_call_events events = {.ended = on_ended};
	struct kms_client *client = call->client;
	int64_t left = call->started + client->timeout_ns - clock_monotonic_ns();
	call->grpc = grpc_start(client->connection, call->method, &call->message, (int)max_of(left / NSEC_PER_MSEC, (int64_t)1), &events, call);
	if (!call->grpc)
		end(call, GRPC_UNAVAILABLE, "the connection takes no more calls", NULL, 0);
}

static void on_ready(void *arg) {
	struct kms_client *client = arg;
	struct call *call;
	client->ready = true;
	list_for_each (call, &client->calls, link)
		if (!call->grpc)
			send_call(call);
}

static void connect_now(void *arg);

/* What was sent is lost with the connection; what was not waits for the next one. */
static void on_closed(const char *why, void *arg) {
	struct kms_client *client = arg;
	struct list sent;
	struct call *call;
	list_init(&sent);
	client->ready = false;
	grpc_connection_free(take_ptr(client->connection));
	list_for_each (call, &client->calls, link)
		if (call->grpc) {
			list_remove(&call->link);
			list_push_back(&sent, &call->link);
		}
	autofree char *text = xstrdup(why);
	while ((call = list_first(&sent, struct call, link)))
		end(call, GRPC_UNAVAILABLE, text, NULL, 0);
	if (!list_empty(&client->calls))
		loop_timer_arm(client->reconnect, RECONNECT_NS);
}

static void connect_now(void *arg) {
	static const struct grpc_connection_events events = {.ready = on_ready, .closed = on_closed};
	struct kms_client *client = arg;
	autoerror struct error why = {0};
	if (client->connection || list_empty(&client->calls))
		return;
	if (grpc_connect(client->loop, &client->endpoint, NULL, &events, client, &client->connection, &why) < 0) {
		client->connection = NULL;
		loop_timer_arm(client->reconnect, RECONNECT_NS);
	}
}

static void arm_deadline(struct kms_client *client);

/* Calls are held in the order of their beginning, and all have the same time. */
static void on_deadline(void *arg) {
	struct kms_client *client = arg;
	struct call *call;
	while ((call = list_first(&client->calls, struct call, link)) && call->started + client->timeout_ns <= clock_monotonic_ns()) {
		if (call->grpc)
			grpc_cancel(call->grpc);
		end(call, GRPC_DEADLINE_EXCEEDED, call->grpc ? "context deadline exceeded" : "context deadline exceeded while waiting for connections to become ready", NULL, 0);
	}
	arm_deadline(client);
}

static void arm_deadline(struct kms_client *client) {
	struct call *call = list_first(&client->calls, struct call, link);
	if (call)
		loop_timer_arm(client->deadline, max_of(call->started + client->timeout_ns - clock_monotonic_ns(), (int64_t)0));
}

/* ---- calls ---- */

void kms_client_call(struct kms_client *client, const char *method, struct buf *take_message, kms_done done, void *arg) {
	struct call *call = xnew(struct call);
	*call = (struct call){.client = client, .method = method, .message = *take_message, .started = clock_monotonic_ns(), .done = done, .arg = arg};
	*take_message = BUF_INIT(0);
	bool first = list_empty(&client->calls);
	list_init(&call->link);
	list_push_back(&client->calls, &call->link);
	if (first)
		arm_deadline(client);
	if (client->ready)
		send_call(call);
	else if (!client->connection)
		connect_now(client);
}

struct ask {
	struct kms_client *client;
	const char *method;
	struct buf *message, *ret;
	struct error *err;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool over;
	int status;
};

static void on_answer(int status, const char *text, const void *data, size_t len, void *arg) {
	struct ask *ask = arg;
	pthread_mutex_lock(&ask->lock);
	if (status == GRPC_OK && len > KMS_MAX_ANSWER) {
		status = GRPC_INTERNAL;
		text = "the answer is too large";
	}
	if (status == GRPC_OK)
		buf_append(ask->ret, data, len);
	else
		error_set(ask->err, EIO, "rpc error: code = %s desc = %s", grpc_status_name(status), text);
	ask->status = status;
	ask->over = true;
	pthread_cond_signal(&ask->cond);
	pthread_mutex_unlock(&ask->lock);
}

static void start_ask(void *arg) {
	struct ask *ask = arg;
	kms_client_call(ask->client, ask->method, ask->message, on_answer, ask);
}

int kms_client_ask(struct kms_client *client, const char *method, struct buf *take_message, struct buf *ret, struct error *err) {
	struct ask ask = {.client = client, .method = method, .message = take_message, .ret = ret, .err = err};
	pthread_mutex_init(&ask.lock, NULL);
	pthread_cond_init(&ask.cond, NULL);
	loop_post(client->loop, start_ask, &ask);
	pthread_mutex_lock(&ask.lock);
	while (!ask.over)
		pthread_cond_wait(&ask.cond, &ask.lock);
	pthread_mutex_unlock(&ask.lock);
	pthread_cond_destroy(&ask.cond);
	pthread_mutex_destroy(&ask.lock);
	return ask.status;
}

/* ---- start and stop ---- */

static void *run(void *arg) {
	loop_run(((struct kms_client *)arg)->loop);
	return NULL;
}

struct loop *kms_client_loop(struct kms_client *client) {
	return client->loop;
}

int kms_client_new(const char *name, const char *endpoint, int64_t timeout_ns, struct kms_client **ret, struct error *err) {
	struct endpoint parsed;
	/* unix:///@name is an abstract socket. */
	static const char abstract[] = "unix:///@";
	autofree char *url = str_starts_with(endpoint, abstract) ? xconcat("unix://@", endpoint + strlen(abstract)) : xstrdup(endpoint);
	int rc = endpoint_parse(url, &parsed, err);
	if (rc < 0)
		return rc;
	struct kms_client *client = xnew(struct kms_client);
	*client = (struct kms_client){.name = xstrdup(name), .endpoint = parsed, .timeout_ns = timeout_ns, .loop = loop_new()};
	list_init(&client->calls);
	client->reconnect = loop_timer_new(client->loop, connect_now, client);
	client->deadline = loop_timer_new(client->loop, on_deadline, client);
	rc = pthread_create(&client->thread, NULL, run, client);
	if (rc) {
		client->loop = (loop_free(client->loop), NULL);
		kms_client_free(client);
		return error_set_errno(err, rc, "start a thread for key service %s", name);
	}
	*ret = client;
	return 0;
}

/* On its own thread, where what the connection has posted has run. */
static void let_go(void *arg) {
	struct kms_client *client = arg;
	struct call *call;
	grpc_connection_free(take_ptr(client->connection));
	client->ready = false;
	while ((call = list_first(&client->calls, struct call, link)))
		call_free(call);
}

void kms_client_free(struct kms_client *client) {
	if (!client)
		return;
	if (client->loop) {
		loop_call(client->loop, let_go, client);
		loop_stop(client->loop);
		pthread_join(client->thread, NULL);
		loop_free(client->loop);
	}
	endpoint_done(&client->endpoint);
	free(client->name);
	free(client);
}
