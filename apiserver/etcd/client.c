/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/etcd/client_internal.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include <errno.h>
#include <stdio.h>

#define CONNECT_TIMEOUT_NS (5 * NSEC_PER_SEC)
#define STATUS_TIMEOUT_MS 3000
#define BACKOFF_FIRST_NS (20 * NSEC_PER_MSEC)
#define BACKOFF_MAX_NS (3 * NSEC_PER_SEC)
/* etcd takes more than one ping in 5 s for an attack. */
#define PING_AFTER_NS (7 * NSEC_PER_SEC)
#define PING_TIMEOUT_NS (5 * NSEC_PER_SEC)
#define DEADLINE_TICK_NS (100 * NSEC_PER_MSEC)
/* A call unanswered for so long makes the client unhealthy. */
#define SLOW_NS (3 * NSEC_PER_SEC)

struct etcd_call {
	struct list link;
	struct etcd_client *client;
	struct etcd_call_options options;
	struct buf message;
	etcd_done done;
	void *arg;
	int64_t deadline, started;
	struct grpc_call *grpc; /* while flying */
};

static void set_health(struct etcd_client *client, bool healthy, const char *trouble)
{
	pthread_mutex_lock(&client->lock);
	client->healthy = healthy;
	snprintf(client->trouble, sizeof(client->trouble), "%s", trouble);
	pthread_mutex_unlock(&client->lock);
}

/* ---- calls ---- */

static void call_finish(struct etcd_call *call, int errnum, const char *text, const void *data, size_t len)
{
	struct etcd_client *client = call->client;

	list_remove(&call->link);
	pthread_mutex_lock(&client->lock);
	client->calls--;
	pthread_mutex_unlock(&client->lock);
	call->done(errnum, text, data, len, call->arg);
	buf_done(&call->message);
	free(call);
}

/* What etcd's statuses mean here. `text` NULL: any. The first row that fits holds. */
static const struct {
	int status;
	const char *text;
	int errnum;
} statuses[] = {
	{GRPC_OUT_OF_RANGE, "has been compacted", -ESTALE},
	{GRPC_INVALID_ARGUMENT, "request is too large", -EFBIG},
	{GRPC_RESOURCE_EXHAUSTED, "received message larger than max", -EFBIG},
	{GRPC_RESOURCE_EXHAUSTED, "database space exceeded", -ENOSPC},
	{GRPC_RESOURCE_EXHAUSTED, NULL, -EBUSY},
	{GRPC_INVALID_ARGUMENT, NULL, -EINVAL},
	{GRPC_OUT_OF_RANGE, NULL, -EINVAL},
	{GRPC_NOT_FOUND, NULL, -ENOENT},
	{GRPC_PERMISSION_DENIED, NULL, -EACCES},
	{GRPC_UNAUTHENTICATED, NULL, -EACCES},
	{GRPC_DEADLINE_EXCEEDED, NULL, -ETIMEDOUT},
	{GRPC_CANCELLED, NULL, -ETIMEDOUT},
	{GRPC_UNAVAILABLE, "timed out", -ETIMEDOUT},
	{GRPC_INTERNAL, "too large a message", -EMSGSIZE},
};

static int status_errnum(int status, const char *text)
{
	for (size_t i = 0; i < array_len(statuses); i++) {
		if (statuses[i].status == status && (!statuses[i].text || strstr(text, statuses[i].text)))
			return statuses[i].errnum;
	}
	return -EIO;
}

static void call_ended(int status, const char *text, const void *data, size_t len, void *arg)
{
	struct etcd_call *call = arg;

	call->grpc = NULL;
	if (call->client->slow) {
		call->client->slow = false;
		set_health(call->client, true, "");
	}
	if (status == GRPC_OK)
		return call_finish(call, 0, "", data, len);
	call_finish(call, status_errnum(status, text), text, NULL, 0);
}

static void call_send(struct etcd_call *call)
{
	static const struct grpc_call_events events = {.ended = call_ended};
	struct etcd_client *client = call->client;
	int64_t left_ms = (call->deadline - clock_monotonic_ns()) / NSEC_PER_MSEC;

	list_remove(&call->link);
	if (client->ready && left_ms > 0)
		call->grpc = grpc_start(client->connection, call->options.method, &call->message, (int)left_ms, &events, call);
	list_push_back(call->grpc ? &client->flying : &client->waiting, &call->link);
}

/* Ends what is late, and says whether etcd answers. */
static void on_deadlines(void *arg)
{
	struct etcd_client *client = arg;
	int64_t now = clock_monotonic_ns();
	struct list *lists[] = {&client->waiting, &client->flying};
	struct etcd_call *c;
	bool slow = false;

	client->deadlines_armed = false;
	for (size_t i = 0; i < array_len(lists); i++) {
		list_for_each (c, lists[i], link) {
			if (c->deadline > now) {
				slow = slow || now - c->started > SLOW_NS;
				continue;
			}
			if (c->grpc)
				grpc_cancel(take_ptr(c->grpc));
			call_finish(c, client->ready ? -ETIMEDOUT : -EIO, client->ready ? "no answer in time" : client->trouble, NULL, 0);
		}
	}
	if (client->ready && slow != client->slow) {
		client->slow = slow;
		set_health(client, !slow, slow ? "etcd does not answer" : "");
	}
	if (!list_empty(&client->waiting) || !list_empty(&client->flying)) {
		client->deadlines_armed = true;
		loop_timer_arm(client->deadlines, DEADLINE_TICK_NS);
	}
}

static void arm_deadlines(struct etcd_client *client)
{
	if (client->deadlines_armed)
		return;
	client->deadlines_armed = true;
	loop_timer_arm(client->deadlines, DEADLINE_TICK_NS);
}

static void take_posted(void *arg)
{
	struct etcd_client *client = arg;
	struct list batch = LIST_INIT(batch);
	struct etcd_call *call;

	pthread_mutex_lock(&client->lock);
	client->wake_posted = false;
	if (!list_empty(&client->posted)) {
		list_insert_between(&batch, client->posted.prev, &client->posted);
		list_remove(&client->posted);
	}
	pthread_mutex_unlock(&client->lock);
	if (!list_empty(&batch))
		arm_deadlines(client);
	list_for_each (call, &batch, link)
		call_send(call);
}

int etcd_call(struct etcd_client *client, const struct etcd_call_options *options, struct buf *take_message, etcd_done done, void *arg)
{
	struct etcd_call *call;
	bool wake;

	if (buf_failed(take_message)) {
		buf_done(take_message);
		return -EFBIG;
	}
	call = xnew(struct etcd_call);
	*call = (struct etcd_call){.client = client, .options = *options, .message = *take_message, .done = done, .arg = arg, .started = clock_monotonic_ns()};
	call->deadline = call->started + options->timeout_ms * NSEC_PER_MSEC;
	*take_message = BUF_INIT(take_message->max);
	pthread_mutex_lock(&client->lock);
	if (client->calls >= ETCD_MAX_CALLS || client->stopping) {
		pthread_mutex_unlock(&client->lock);
		buf_done(&call->message);
		free(call);
		return -EBUSY;
	}
	client->calls++;
	list_push_back(&client->posted, &call->link);
	wake = !client->wake_posted;
	client->wake_posted = true;
	pthread_mutex_unlock(&client->lock);
	if (wake)
		loop_post(client->loop, take_posted, client);
	return 0;
}

/* ---- the connection ---- */

static void connect_next(void *arg);

/* The first round over all endpoints goes without a pause, then they grow. */
static void schedule_connect(struct etcd_client *client)
{
	int64_t pause = 0;

	if (++client->failures > client->endpoint_count) {
		client->backoff_ns = min_of(client->backoff_ns ? client->backoff_ns * 2 : BACKOFF_FIRST_NS, BACKOFF_MAX_NS);
		pause = client->backoff_ns / 2 + (int64_t)random_below((uint64_t)client->backoff_ns);
	}
	loop_timer_arm(client->reconnect, pause);
}

void etcd_client_reconnect(struct etcd_client *client, const char *why)
{
	const char *endpoint = client->endpoints[client->endpoint_next].authority;
	struct list broken = LIST_INIT(broken);
	struct etcd_call *call;

	if (client->ready || client->failures == 0)
		log_warning("etcd is away", LOG_STR("endpoint", endpoint), LOG_STR("err", why));
	else
		log_debug(2, "etcd endpoint failed", LOG_STR("endpoint", endpoint), LOG_STR("err", why));
	client->ready = false;
	client->ping_sent = false;
	set_health(client, false, why);
	grpc_connection_free(take_ptr(client->connection));
	client->endpoint_next = (client->endpoint_next + 1) % client->endpoint_count;
	for (struct list *link = client->watches.next; link != &client->watches; link = link->next)
		etcd_watch_disconnect(etcd_watch_of(link));
	list_for_each (call, &client->flying, link) {
		call->grpc = NULL;
		list_remove(&call->link);
		list_push_back(call->options.idempotent ? &client->waiting : &broken, &call->link);
	}
	schedule_connect(client);
	while ((call = list_first(&broken, struct etcd_call, link)))
		call_finish(call, -EIO, "etcd went away before it answered", NULL, 0);
}

static bool version_progress_reliable(const char *version)
{
	int major = 0, minor = 0, patch = 0;

	if (sscanf(version, "%d.%d.%d", &major, &minor, &patch) != 3)
		return false;
	if (major != 3 || minor > 5)
		return major > 3 || minor > 5;
	return minor == 5 ? patch >= 8 : minor == 4 && patch >= 25;
}

static void become_ready(struct etcd_client *client)
{
	struct list ready = LIST_INIT(ready);
	struct list *next;
	struct etcd_call *call;

	client->ready = true;
	client->slow = false;
	client->failures = 0;
	client->backoff_ns = 0;
	loop_timer_arm(client->keepalive, PING_AFTER_NS);
	set_health(client, true, "");
	log_debug(1, "etcd connected", LOG_STR("endpoint", client->endpoints[client->endpoint_next].authority), LOG_STR("version", client->version));
	for (struct list *link = client->watches.next; link != &client->watches; link = next) {
		next = link->next;
		etcd_watch_connect(etcd_watch_of(link));
	}
	list_for_each (call, &client->waiting, link) {
		list_remove(&call->link);
		list_push_back(&ready, &call->link);
	}
	list_for_each (call, &ready, link)
		call_send(call);
}

static void status_ended(int status, const char *text, const void *data, size_t len, void *arg)
{
	struct etcd_client *client = arg;
	struct etcd_status_response response = {0};
	char why[256];

	if (status == GRPC_UNAVAILABLE || status == GRPC_DEADLINE_EXCEEDED || status == GRPC_UNIMPLEMENTED || status == GRPC_UNKNOWN) {
		snprintf(why, sizeof(why), "status: %s", text);
		return etcd_client_reconnect(client, why);
	}
	/* Where Status may not be asked, the version is not known: then the oldest is supposed. */
	client->version[0] = '\0';
	if (status == GRPC_OK && etcd_read_status(data, len, &response) == 0) {
		if (response.leader == 0)
			return etcd_client_reconnect(client, "the member has no leader");
		snprintf(client->version, sizeof(client->version), "%.*s", (int)min_of(response.version.len, sizeof(client->version) - 1), response.version.data);
	}
	client->progress_reliable = version_progress_reliable(client->version);
	become_ready(client);
}

static void on_connected(void *arg)
{
	static const struct grpc_call_events events = {.ended = status_ended};
	struct etcd_client *client = arg;

	grpc_start(client->connection, ETCD_STATUS, &client->status_request, STATUS_TIMEOUT_MS, &events, client);
}

static void on_closed(const char *why, void *arg)
{
	etcd_client_reconnect(arg, why);
}

static void connect_next(void *arg)
{
	static const struct grpc_connection_events events = {.ready = on_connected, .closed = on_closed};
	struct etcd_client *client = arg;
	autoerror struct error err = {0};

	client->connect_deadline = clock_monotonic_ns() + CONNECT_TIMEOUT_NS;
	if (grpc_connect(client->loop, &client->endpoints[client->endpoint_next], client->tls, &events, client, &client->connection, &err) < 0)
		return etcd_client_reconnect(client, error_message(&err));
	loop_timer_arm(client->keepalive, CONNECT_TIMEOUT_NS);
}

/* One timer guards the connection's birth and its life. */
static void on_keepalive(void *arg)
{
	struct etcd_client *client = arg;
	int64_t now = clock_monotonic_ns(), last;

	if (!client->connection)
		return;
	if (!client->ready) {
		if (now >= client->connect_deadline)
			return etcd_client_reconnect(client, "no connection in time");
		return loop_timer_arm(client->keepalive, client->connect_deadline - now);
	}
	last = grpc_last_received(client->connection);
	if (client->ping_sent && last > client->ping_sent_at)
		client->ping_sent = false;
	if (client->ping_sent && now - client->ping_sent_at >= PING_TIMEOUT_NS)
		return etcd_client_reconnect(client, "no answer to a ping");
	if (!client->ping_sent && now - last >= PING_AFTER_NS) {
		client->ping_sent = true;
		client->ping_sent_at = now;
		grpc_ping(client->connection);
	}
	loop_timer_arm(client->keepalive, client->ping_sent ? PING_TIMEOUT_NS : PING_AFTER_NS - (now - last) + NSEC_PER_MSEC);
}

/* ---- the client ---- */

static void *run(void *arg)
{
	struct etcd_client *client = arg;

	loop_run(client->loop);
	return NULL;
}

static int options_apply(struct etcd_client *client, const struct etcd_client_options *options, struct error *err)
{
	bool tls = false;
	size_t count = 0;
	int r;

	while (options->endpoints && options->endpoints[count])
		count++;
	if (count == 0)
		return error_set(err, EINVAL, "no etcd endpoint given");
	client->endpoints = xcalloc(count, sizeof(*client->endpoints));
	for (; client->endpoint_count < count; client->endpoint_count++) {
		r = endpoint_parse(options->endpoints[client->endpoint_count], &client->endpoints[client->endpoint_count], err);
		if (r < 0)
			return r;
		tls = tls || client->endpoints[client->endpoint_count].tls;
	}
	return tls ? transport_tls_new(options->ca_file, options->cert_file, options->key_file, &client->tls, err) : 0;
}

int etcd_client_new(const struct etcd_client_options *options, struct etcd_client **ret, struct error *err)
{
	struct etcd_client *client = xnew(struct etcd_client);
	int r;

	client->status_request = BUF_INIT(64);
	etcd_message_begin(&client->status_request);
	etcd_write_status(&client->status_request);
	etcd_message_end(&client->status_request);
	list_init(&client->waiting);
	list_init(&client->flying);
	list_init(&client->posted);
	list_init(&client->watches);
	pthread_mutex_init(&client->lock, NULL);
	snprintf(client->trouble, sizeof(client->trouble), "not connected yet");
	client->loop = loop_new();
	client->reconnect = loop_timer_new(client->loop, connect_next, client);
	client->keepalive = loop_timer_new(client->loop, on_keepalive, client);
	client->deadlines = loop_timer_new(client->loop, on_deadlines, client);
	r = options_apply(client, options, err);
	if (r == 0) {
		client->endpoint_next = random_below(client->endpoint_count);
		loop_timer_arm(client->reconnect, 0);
		r = -pthread_create(&client->thread, NULL, run, client);
		client->thread_started = r == 0;
		if (r < 0)
			error_set_errno(err, r, "start the etcd thread");
		else
			pthread_setname_np(client->thread, "etcd");
	}
	if (r < 0) {
		etcd_client_free(client);
		return r;
	}
	*ret = client;
	return 0;
}

/* What was posted before this is run before the loop stops, and so is what this posts. */
static void stop_second(void *arg)
{
	loop_stop(((struct etcd_client *)arg)->loop);
}

static void stop_first(void *arg)
{
	struct etcd_client *client = arg;

	for (struct list *link = client->watches.next; link != &client->watches; link = link->next)
		etcd_watch_disconnect(etcd_watch_of(link));
	loop_timer_disarm(client->reconnect);
	loop_timer_disarm(client->keepalive);
	loop_timer_disarm(client->deadlines);
	client->ready = false;
	grpc_connection_free(take_ptr(client->connection));
	loop_post(client->loop, stop_second, client);
}

void etcd_client_free(struct etcd_client *client)
{
	struct list *lists[3];
	struct etcd_call *call;

	if (!client)
		return;
	pthread_mutex_lock(&client->lock);
	client->stopping = true;
	pthread_mutex_unlock(&client->lock);
	if (client->thread_started) {
		loop_post(client->loop, stop_first, client);
		pthread_join(client->thread, NULL);
	}
	lists[0] = &client->posted, lists[1] = &client->waiting, lists[2] = &client->flying;
	for (size_t i = 0; i < array_len(lists); i++) {
		while ((call = list_first(lists[i], struct etcd_call, link)))
			call_finish(call, -ECANCELED, "the client stops", NULL, 0);
	}
	loop_timer_free(client->reconnect);
	loop_timer_free(client->keepalive);
	loop_timer_free(client->deadlines);
	loop_free(client->loop);
	transport_tls_free(client->tls);
	for (size_t i = 0; i < client->endpoint_count; i++)
		endpoint_done(&client->endpoints[i]);
	free(client->endpoints);
	buf_done(&client->status_request);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

struct loop *etcd_client_loop(struct etcd_client *client)
{
	return client->loop;
}

bool etcd_client_is_current(const struct etcd_client *client)
{
	return pthread_equal(pthread_self(), client->thread);
}

bool etcd_client_healthy(struct etcd_client *client, struct error *err)
{
	bool healthy;

	pthread_mutex_lock(&client->lock);
	healthy = client->healthy;
	if (!healthy)
		error_set(err, EIO, "etcd: %s", client->trouble);
	pthread_mutex_unlock(&client->lock);
	return healthy;
}

bool etcd_client_progress_reliable(const struct etcd_client *client)
{
	return client->ready && client->progress_reliable;
}

const char *etcd_client_version(const struct etcd_client *client)
{
	return client->version;
}
