/* SPDX-License-Identifier: Apache-2.0 */
/* A watch that outlives connections: it goes on after the last revision that was delivered whole. */
#include "apiserver/etcd/client_internal.h"

#include "common/base/clock.h"
#include "common/base/log.h"

#include <errno.h>

#define WATCH_PATH "/etcdserverpb.Watch/Watch"
#define RETRY_NS (100 * NSEC_PER_MSEC)
#define WATCH_REQUEST_MAX (64 << 10)

struct etcd_watch {
	struct list link; /* in client->watches */
	struct etcd_client *client;
	char *key, *end;
	size_t key_len, end_len;
	int64_t next_revision; /* from which it goes on */
	struct etcd_watch_events events;
	void *arg;
	struct grpc_call *call;
	struct loop_timer *retry;
	bool live;
	unsigned depth; /* of callbacks running */
	bool dead;
};

struct etcd_watch *etcd_watch_of(struct list *link)
{
	return list_entry(link, struct etcd_watch, link);
}

static void watch_destroy(struct etcd_watch *watch)
{
	loop_timer_free(watch->retry);
	free(watch->key);
	free(watch->end);
	free(watch);
}

static void set_live(struct etcd_watch *watch, bool live)
{
	if (watch->live == live)
		return;
	watch->live = live;
	if (!watch->dead)
		watch->events.live(live, watch->arg);
}

static void stop(struct etcd_watch *watch)
{
	set_live(watch, false);
	if (watch->call)
		grpc_cancel(take_ptr(watch->call));
}

static void retry_later(struct etcd_watch *watch, const char *why)
{
	log_warning("etcd watch interrupted", LOG_STR("err", why), LOG_INT("revision", watch->next_revision));
	stop(watch);
	loop_timer_arm(watch->retry, RETRY_NS);
}

/* The revision of the last event; it is whole unless more fragments follow. */
static void advance(struct etcd_watch *watch, const struct etcd_watch_response *response)
{
	struct cursor events = response->events;
	struct etcd_event event;
	int64_t last = 0;

	while (etcd_next_event(&events, &event))
		last = event.kv.mod_revision;
	if (last)
		watch->next_revision = max_of(watch->next_revision, response->fragment ? last : last + 1);
	else
		watch->next_revision = max_of(watch->next_revision, response->revision + 1);
}

static void on_response(struct etcd_watch *watch, const struct etcd_watch_response *response)
{
	if (response->canceled) {
		if (response->compact_revision) {
			stop(watch);
			return watch->events.compacted(response->compact_revision, watch->arg);
		}
		autofree char *why = xstrndup(response->cancel_reason.data, response->cancel_reason.len);
		return retry_later(watch, why);
	}
	if (response->created)
		return set_live(watch, true);
	if (response->event_count == 0 && (response->fragment || !watch->client->progress_reliable))
		return; /* old etcds may tell progress before the events */
	watch->events.events(response, watch->arg);
	if (!watch->dead)
		advance(watch, response);
}

static void on_message(const void *data, size_t len, void *arg)
{
	struct etcd_watch *watch = arg;
	struct etcd_watch_response response;

	watch->depth++;
	if (etcd_read_watch(data, len, &response) < 0)
		retry_later(watch, "malformed answer");
	else
		on_response(watch, &response);
	if (--watch->depth == 0 && watch->dead)
		watch_destroy(watch);
}

static void on_ended(int status, const char *text, const void *data, size_t len, void *arg)
{
	struct etcd_watch *watch = arg;
	struct etcd_client *client = watch->client;

	watch->call = NULL;
	retry_later(watch, text);
	/* The member may have lost its leader: another one may have it. */
	if (status == GRPC_UNAVAILABLE && client->endpoint_count > 1)
		etcd_client_reconnect(client, text);
}

void etcd_watch_connect(struct etcd_watch *watch)
{
	static const struct grpc_call_events events = {.message = on_message, .ended = on_ended};
	autobuf struct buf request = BUF_INIT(WATCH_REQUEST_MAX);
	struct etcd_client *client = watch->client;

	if (watch->call || !client->ready)
		return;
	loop_timer_disarm(watch->retry);
	etcd_message_begin(&request);
	etcd_write_watch_create(&request, &(struct etcd_watch_create){
						  .key = {watch->key, watch->key_len},
						  .end = {watch->end, watch->end_len},
						  .start_revision = watch->next_revision,
						  .progress_notify = client->progress_reliable,
					  });
	etcd_message_end(&request);
	watch->call = grpc_start(client->connection, WATCH_PATH, &request, 0, &events, watch);
	if (!watch->call)
		loop_timer_arm(watch->retry, RETRY_NS);
}

/* The connection is gone, and the call with it. */
void etcd_watch_disconnect(struct etcd_watch *watch)
{
	watch->call = NULL;
	set_live(watch, false);
	loop_timer_disarm(watch->retry);
}

static void on_retry(void *arg)
{
	etcd_watch_connect(arg);
}

struct etcd_watch *etcd_watch_new(struct etcd_client *client, struct etcd_slice key, struct etcd_slice end, int64_t start_revision, const struct etcd_watch_events *events, void *arg)
{
	struct etcd_watch *watch = xnew(struct etcd_watch);

	*watch = (struct etcd_watch){
		.client = client,
		.key = xmemdup(key.data, key.len),
		.key_len = key.len,
		.end = xmemdup(end.data, end.len),
		.end_len = end.len,
		.next_revision = start_revision,
		.events = *events,
		.arg = arg,
	};
	watch->retry = loop_timer_new(client->loop, on_retry, watch);
	list_push_back(&client->watches, &watch->link);
	etcd_watch_connect(watch);
	return watch;
}

void etcd_watch_free(struct etcd_watch *watch)
{
	if (!watch)
		return;
	watch->dead = true;
	stop(watch);
	list_remove(&watch->link);
	loop_timer_disarm(watch->retry);
	if (watch->depth == 0)
		watch_destroy(watch);
}

void etcd_watch_request_progress(struct etcd_watch *watch)
{
	autobuf struct buf request = BUF_INIT(64);

	if (!watch->live || !watch->call)
		return;
	etcd_message_begin(&request);
	etcd_write_watch_progress(&request);
	etcd_message_end(&request);
	(void)grpc_send(watch->call, &request);
}
