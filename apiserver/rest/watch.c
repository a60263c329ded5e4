/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WATCH. A watcher goes through two phases:
 *
 *	INITIAL  the objects there are, as ADDED events, sent as the client takes them (on_drain); only where asked for
 *	LIVE     events from the store, from the revision of that view on; a client that cannot keep up is cut off
 *
 * The watcher is counted: the stream's on_close, the timers and the store's watch each hold it while they may call.
 *
 * It is past 800 lines because all phases share the watcher's lock and its order with the store's.
 */
#include "apiserver/custom/custom.h"
#include "apiserver/request/steps.h"
#include "apiserver/rest/query.h"
#include "apiserver/rest/watch_socket.h"
#include "apiserver/rest/write.h"
#include "apiserver/timers.h"
#include "apiserver/webhook/convert.h"
#include "api/meta_v1.h"
#include "common/base/list.h"
#include "common/base/metrics.h"
#include "common/base/random.h"
#include "common/http/websocket.h"

#include <endian.h>
#include <errno.h>
#include <pthread.h>

#define MAX_BUFFERED (32u << 20)
#define INITIAL_BATCH (512u << 10)
#define BOOKMARK_INTERVAL_NS (60 * NSEC_PER_SEC)
/* After that which ends a streaming list comes one more soon, where there is more to tell. */
#define SECOND_BOOKMARK_NS NSEC_PER_SEC
/* Before a watch's time is over comes a last bookmark: who follows starts the next watch from as late as can be. */
#define FAREWELL_NS (2 * NSEC_PER_SEC)
/*
 * "Coracle-Watch-Lull: 1000": the client is in no hurry, and would have what happens within so many milliseconds in one piece. A client that follows a thousand
 * leases by itself pays more for each piece than for what stands in it.
 */
#define LULL_HEADER "Coracle-Watch-Lull"
#define MAX_LULL_MS 5000
#define MAX_GATHERED (256u << 10) /* more is sent without waiting */
#define MAX_CONVERTING 10000 /* events that wait for a webhook */
#define EXPIRED_FORMAT "too old resource version: %llu (%llu)"

/* An event that waits until a webhook has converted its objects. */
struct waiting_event {
	struct list link;
	struct store_event event; /* its entries are referenced */
};

struct watcher {
	struct list link; /* in watchers */
	unsigned refs; /* atomic */
	struct apiserver *server;
	struct render render;
	struct list_query *query;
	struct http_stream *stream;   /* or, over a WebSocket: */
	struct watch_socket *socket;
	struct timer *deadline, *bookmarks, *farewell, *ending; /* the last under watchers_lock */
	struct metric_series *open, *events_sent, *event_sizes, *initial_took;
	int64_t began; /* monotonic */
	int64_t lull_ns; /* 0: each event is sent as it comes */

	pthread_mutex_t lock; /* guards what follows against the phases' threads; never held while calling the store */
	bool closed;
	bool live;
	struct store_watch *watch;
	struct snapshot *initial;
	struct snapshot_scan scan; /* of initial, those that are still to be sent */
	bool pumping;
	bool columns_sent;
	uint64_t sent_revision;
	uint64_t begun_revision; /* what it went live from: no bookmark tells of less */
	uint64_t after; /* what was asked for lay ahead: nothing up to it is told */
	struct buf gathered; /* what the lull holds back */
	struct timer *lull;  /* runs while anything is */
	struct timer *second; /* until the second bookmark is due */
	struct list events, batch; /* that wait to be converted, and that are being */
	size_t event_count;        /* of both */
	bool converting;
};

static struct metric metrics[] = {
	{.name = "apiserver_longrunning_requests", .help = "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and component. Not all requests are tracked this way.", .kind = METRIC_GAUGE,
	 .labels = (const char *const[]){"verb", "group", "version", "resource", "subresource", "scope", "component", NULL}},
	{.name = "apiserver_watch_events_total", .help = "Number of events sent in watch clients", .kind = METRIC_COUNTER, .labels = (const char *const[]){"group", "version", "resource", NULL}},
	{.name = "apiserver_watch_events_sizes", .help = "Watch event size distribution in bytes", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"group", "version", "resource", NULL},
	 .buckets = (const double[]){1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072, 0}},
	{.name = "apiserver_watch_list_duration_seconds", .help = "Response latency distribution in seconds for watch list requests broken by group, version, resource and scope.", .kind = METRIC_HISTOGRAM,
	 .labels = (const char *const[]){"group", "version", "resource", "scope", NULL}, .buckets = (const double[]){0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2, 4, 6, 8, 10, 15, 20, 30, 45, 60, 0}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static void waiting_event_free(struct waiting_event *e) {
	list_remove(&e->link);
	entry_unref(e->event.entry);
	entry_unref(e->event.previous);
	free(e);
}

static void drop_events(struct list *events) {
	while (!list_empty(events))
		waiting_event_free(list_first(events, struct waiting_event, link));
}

static void watcher_unref(void *arg) {
	struct watcher *w = arg;
	if (__atomic_sub_fetch(&w->refs, 1, __ATOMIC_ACQ_REL))
		return;
	metric_add(w->open, -1);
	list_query_free(w->query);
	snapshot_unref(w->initial);
	buf_done(&w->gathered);
	drop_events(&w->events);
	drop_events(&w->batch);
	if (w->socket)
		watch_socket_unref(w->socket);
	else
		http_stream_unref(w->stream);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

static struct watcher *watcher_ref(struct watcher *w) {
	__atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
	return w;
}

/* ---- where it goes ---- */

static bool out_pass(struct watcher *w, struct bytes *bytes) {
	return w->socket ? watch_socket_send(w->socket, bytes) : http_stream_send(w->stream, bytes);
}

/* Sends what was held back. */
static bool out_flush(struct watcher *w) {
	if (!w->gathered.len)
		return true;
	autobytes struct bytes *all = buf_to_bytes(&w->gathered);
	buf_done(&w->gathered);
	w->gathered = (struct buf)BUF_INIT(BUF_MAX_DEFAULT);
	return out_pass(w, all);
}

static void on_lull(void *arg) {
	struct watcher *w = arg;
	pthread_mutex_lock(&w->lock);
	struct timer *timer = take_ptr(w->lull);
	if (!w->closed)
		out_flush(w);
	pthread_mutex_unlock(&w->lock);
	if (timer)
		timer_cancel(timer, watcher_unref);
}

static bool out_send(struct watcher *w, struct bytes *bytes) {
	if (!w->lull_ns || !w->live || bytes->len >= MAX_GATHERED)
		return out_flush(w) && out_pass(w, bytes);
	buf_append(&w->gathered, bytes->data, bytes->len);
	if (w->gathered.len >= MAX_GATHERED)
		return out_flush(w);
	if (!w->lull)
		w->lull = timer_start(w->server->timers, w->lull_ns, false, on_lull, watcher_ref(w));
	return true;
}

static size_t out_queued(struct watcher *w) {
	return w->socket ? watch_socket_queued(w->socket) : http_stream_queued(w->stream);
}

static void out_end(struct watcher *w) {
	out_flush(w);
	if (w->socket)
		watch_socket_end(w->socket);
	else
		http_stream_end(w->stream);
}

/* ---- framing ---- */

static void append_field(struct buf *out, unsigned number, const void *data, size_t len) {
	buf_append_char(out, (char)(number << 3 | 2));
	uint64_t value = len;
	for (; value >= 0x80; value >>= 7)
		buf_append_char(out, (char)(value | 0x80));
	buf_append_char(out, (char)value);
	buf_append(out, data, len);
}

static struct bytes *frame(const struct render *render, const char *type, const char *object, size_t len) {
	if (render_is_protobuf(&render->accept)) {
		/* A frame is four bytes of length, then WatchEvent{type = 1, object = 2 {raw = 1}}; raw has the envelope of its own. */
		autobuf struct buf raw = BUF_INIT(BUF_MAX_DEFAULT), out = BUF_INIT(BUF_MAX_DEFAULT), extension = BUF_INIT(BUF_MAX_DEFAULT);
		append_field(&extension, 1, object, len);
		append_field(&raw, 1, type, strlen(type));
		append_field(&raw, 2, extension.data, extension.len);
		uint32_t size = htobe32((uint32_t)raw.len);
		buf_append(&out, &size, 4);
		buf_append(&out, raw.data, raw.len);
		return buf_to_bytes(&out);
	}
	size_t type_len = strlen(type);
	static const char a[] = "{\"type\":\"", b[] = "\",\"object\":", c[] = "}\n";
	while (len && object[len - 1] == '\n')
		len--;
	struct bytes *bytes = bytes_alloc(sizeof(a) - 1 + type_len + sizeof(b) - 1 + len + sizeof(c) - 1);
	char *p = bytes->data;
	p = mempcpy(p, a, sizeof(a) - 1);
	p = mempcpy(p, type, type_len);
	p = mempcpy(p, b, sizeof(b) - 1);
	p = mempcpy(p, object, len);
	mempcpy(p, c, sizeof(c) - 1);
	return bytes;
}

/*
 * One event goes to many watchers one after the other on the same thread, so the last frame made is nearly always the one
 * wanted next. It is kept for plain JSON only.
 */
struct last_frame { struct entry *entry; const char *type; struct bytes *frame; };
static _Thread_local struct last_frame *last_frame_of_thread;
static pthread_key_t last_frame_key;
static pthread_once_t last_frame_once = PTHREAD_ONCE_INIT;

static void last_frame_free(void *arg) {
	struct last_frame *last = arg;
	entry_unref(last->entry);
	bytes_unref(last->frame);
	free(last);
}

static void last_frame_init(void) {
	pthread_key_create(&last_frame_key, last_frame_free);
}

static struct last_frame *last_frame_get(void) {
	if (!last_frame_of_thread) {
		pthread_once(&last_frame_once, last_frame_init);
		last_frame_of_thread = xnew(struct last_frame);
		pthread_setspecific(last_frame_key, last_frame_of_thread);
	}
	return last_frame_of_thread;
}

static struct bytes *shared_frame(const char *type, struct entry *entry) {
	struct last_frame *last = last_frame_get();
	if (last->entry == entry && last->type == type)
		return bytes_ref(last->frame);
	static const struct render plain = {0};
	struct bytes *made = frame(&plain, type, entry->json->data, entry->json->len);
	entry_unref(last->entry);
	bytes_unref(last->frame);
	last->entry = entry_ref(entry);
	last->type = type;
	last->frame = bytes_ref(made);
	return made;
}

static void count_event(const struct watcher *w, const struct bytes *frame) {
	metric_add(w->events_sent, 1);
	metric_observe(w->event_sizes, (double)frame->len);
}

static bool send_entry(struct watcher *w, const char *type, struct entry *entry) {
	autobytes struct bytes *out = NULL;
	if (render_is_identity(&w->render)) {
		out = shared_frame(type, entry);
	} else {
		autobytes struct bytes *object = render_event_object(&w->render, entry, !w->columns_sent);
		if (!object)
			return true; /* cannot be read: as if it were not there */
		w->columns_sent = true;
		out = frame(&w->render, type, object->data, object->len);
	}
	w->sent_revision = entry->resource_version;
	count_event(w, out);
	return out_send(w, out);
}

/* An object that left the selection goes out as it was before, with the revision of the change. */
static bool send_left(struct watcher *w, struct entry *previous, uint64_t revision) {
	static const char key[] = "\"resourceVersion\":\"";
	/* As a webhook has converted it, where one has: what is made of that is no further one's to convert. */
	autobytes struct bytes *before = conversion_get(w->render.resource, previous);
	if (!before)
		return true;
	const char *json = before->data;
	const char *at = memmem(json, before->len, key, sizeof(key) - 1);
	if (!at)
		return send_entry(w, "DELETED", previous);
	at += sizeof(key) - 1;
	const char *end = memchr(at, '"', before->len - (size_t)(at - json));
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	buf_append(&out, json, (size_t)(at - json));
	buf_append_uint(&out, revision);
	buf_append(&out, end, before->len - (size_t)(end - json));
	struct entry moved = *previous;
	autobytes struct bytes *bytes = buf_to_bytes(&out);
	moved.json = bytes;
	moved.resource_version = revision;
	if (render_is_identity(&w->render)) {
		autobytes struct bytes *framed = frame(&w->render, "DELETED", bytes->data, bytes->len);
		w->sent_revision = revision;
		count_event(w, framed);
		return out_send(w, framed);
	}
	return send_entry(w, "DELETED", &moved);
}

static void send_error(struct watcher *w, const struct error *err) {
	autobuf struct buf status = BUF_INIT(1 << 20);
	status_encode(err, &status);
	void *object;
	if (render_is_protobuf(&w->render.accept) && api_decode_json(&meta_v1_status_type, status.data, status.len, NULL, &object, NULL) == 0) {
		buf_reset(&status);
		api_encode_protobuf(&meta_v1_status_type, object, &status);
		api_unref(object);
	}
	autobytes struct bytes *out = frame(&w->render, "ERROR", status.data, status.len);
	out_send(w, out);
	out_end(w);
}

static void send_bookmark(struct watcher *w, uint64_t revision, bool initial_end) {
	const struct resource *resource = w->render.resource;
	bool partial = w->render.accept.form == FORM_PARTIAL;
	const struct api_type *type = partial ? &meta_v1_partial_object_metadata_type : resource->type;
	autobuf struct buf out = BUF_INIT(1 << 20);
	if (partial)
		buf_printf(&out, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"%s\",\"metadata\":{\"resourceVersion\":\"", render_meta_version(&w->render.accept));
	else
		buf_printf(&out, "{\"kind\":\"%s\",\"apiVersion\":\"%s%s%s\",\"metadata\":{\"resourceVersion\":\"", resource->api->kind, resource_group(resource), *resource_group(resource) ? "/" : "", resource->api->version);
	buf_append_uint(&out, revision);
	buf_append_str(&out, "\"");
	if (initial_end)
		buf_append_str(&out, ",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
	buf_append_str(&out, "}}");
	w->sent_revision = revision;
	if (w->render.accept.form == FORM_TABLE || render_is_protobuf(&w->render.accept) || !(partial || resource->custom)) {
		/* An object of which only this is known: a row of it, or all that is said of what an object lacks. */
		void *object;
		if (api_decode_json(type, out.data, out.len, NULL, &object, NULL) < 0)
			return;
		autobuf struct buf whole = BUF_INIT(1 << 20);
		if (w->render.accept.form == FORM_TABLE)
			render_table_of_one(&w->render, object, &out, revision, !w->columns_sent, &whole);
		else if (render_is_protobuf(&w->render.accept))
			api_encode_protobuf(type, object, &whole);
		else
			api_encode_json(type, object, &whole);
		w->columns_sent = true;
		api_unref(object);
		autobytes struct bytes *framed = frame(&w->render, "BOOKMARK", whole.data, whole.len);
		out_send(w, framed);
		return;
	}
	autobytes struct bytes *framed = frame(&w->render, "BOOKMARK", out.data, out.len);
	out_send(w, framed);
}

/* ---- live ---- */

static void deliver(struct watcher *w, const struct store_event *event) {
	if ((event->marks & w->query->marks) != w->query->marks)
		return; /* neither what it was nor what it is can match */
	bool now = event->type != STORE_DELETED && list_query_matches(w->query, event->entry);
	bool before = event->type == STORE_DELETED ? list_query_matches(w->query, event->entry)
						   : event->previous && list_query_matches(w->query, event->previous);
	bool kept = true;
	pthread_mutex_lock(&w->lock);
	if (!w->closed) {
		if (event->type == STORE_DELETED) {
			if (before)
				kept = send_entry(w, "DELETED", event->entry);
		} else if (now) {
			kept = send_entry(w, before ? "MODIFIED" : "ADDED", event->entry);
		} else if (before) {
			kept = send_left(w, event->previous, event->revision);
		}
	}
	pthread_mutex_unlock(&w->lock);
	(void)kept; /* where it was not, the stream closes and on_close tells */
}

/* ---- events whose objects a webhook converts: in their order, those that came meanwhile together ---- */

static void convert_batch(struct watcher *w);

static void on_batch(struct converted *take_set, const struct error *err, void *arg) {
	struct watcher *w = arg;
	if (!take_set) {
		pthread_mutex_lock(&w->lock);
		if (!w->closed)
			send_error(w, err);
		pthread_mutex_unlock(&w->lock);
		watcher_unref(w);
		return;
	}
	struct waiting_event *e;
	size_t count = 0;
	/* The batch is ours alone while we convert. */
	list_for_each (e, &w->batch, link) {
		deliver(w, &e->event);
		waiting_event_free(e);
		count++;
	}
	converted_unref(take_set);
	pthread_mutex_lock(&w->lock);
	w->event_count -= count;
	list_splice_back(&w->batch, &w->events);
	w->converting = !w->closed && !list_empty(&w->batch);
	bool more = w->converting;
	pthread_mutex_unlock(&w->lock);
	if (more)
		convert_batch(w);
	watcher_unref(w);
}

static void convert_batch(struct watcher *w) {
	struct waiting_event *e;
	size_t events = 0, count = 0;
	list_for_each (e, &w->batch, link)
		events++;
	struct entry **entries = xcalloc(2 * events, sizeof(*entries));
	list_for_each (e, &w->batch, link) {
		entries[count++] = e->event.entry;
		if (e->event.previous)
			entries[count++] = e->event.previous;
	}
	conversion_start(w->server, w->render.resource, entries, count, true, on_batch, watcher_ref(w));
	free(entries);
}

static void convert_event(struct watcher *w, const struct store_event *event) {
	if ((event->marks & w->query->marks) != w->query->marks)
		return;
	struct waiting_event *e = xnew(struct waiting_event);
	e->event = *event;
	e->event.entry = entry_ref(event->entry);
	e->event.previous = event->previous ? entry_ref(event->previous) : NULL;
	pthread_mutex_lock(&w->lock);
	bool begin = !w->converting && !w->closed, full = w->event_count >= MAX_CONVERTING;
	if (!full) {
		list_push_back(begin ? &w->batch : &w->events, &e->link);
		w->event_count++;
		w->converting |= begin;
	} else if (!w->closed) {
		out_end(w); /* as who cannot keep up is cut off */
	}
	pthread_mutex_unlock(&w->lock);
	if (full) {
		list_init(&e->link);
		waiting_event_free(e);
	} else if (begin) {
		convert_batch(w);
	}
}

static void on_event(const struct store_event *event, void *arg) {
	struct watcher *w = arg;
	if (event->type == STORE_BOOKMARK)
		return; /* our own timer sends them, to those who want them */
	if (event->type == STORE_GAP) {
		autoerror struct error err = {0};
		error_status(&err, 410, "Expired", EXPIRED_FORMAT, (unsigned long long)w->sent_revision, (unsigned long long)event->revision);
		pthread_mutex_lock(&w->lock);
		if (!w->closed)
			send_error(w, &err);
		pthread_mutex_unlock(&w->lock);
		return;
	}
	if (event->type == STORE_END) {
		pthread_mutex_lock(&w->lock);
		if (!w->closed)
			out_end(w);
		pthread_mutex_unlock(&w->lock);
		return;
	}
	if (event->revision <= w->after)
		return;
	if (w->render.resource->custom && w->render.resource->custom->conversion)
		convert_event(w, event);
	else
		deliver(w, event);
}

static void go_live(struct watcher *w, uint64_t revision) {
	struct store_watch *watch = NULL;
	watcher_ref(w); /* the store's */
	int rc = collection_watch_exact(w->render.resource->collection, revision, on_event, w, &watch);
	if (rc < 0) {
		autoerror struct error err = {0};
		error_status(&err, 410, "Expired", EXPIRED_FORMAT, (unsigned long long)revision, (unsigned long long)store_revision(w->server->store));
		send_error(w, &err);
		watcher_unref(w);
		return;
	}
	pthread_mutex_lock(&w->lock);
	bool closed = w->closed;
	w->live = true;
	w->begun_revision = revision;
	if (!closed)
		w->watch = watch;
	pthread_mutex_unlock(&w->lock);
	if (closed) {
		store_watch_cancel(watch);
		watcher_unref(w);
		return;
	}
	/* A definition that changed before it was live has ended those that were. */
	const struct resource *resource = w->render.resource;
	if (resource->custom && registry_find(w->server->registry, resource->api->group, resource->api->version, resource->api->plural) != resource)
		on_event(&(struct store_event){.type = STORE_END}, w);
}

/* ---- bookmarks ---- */

/* Tells how far it has come, though it may have said so before, where it has come any further than it began. */
static void on_bookmark_timer(void *arg) {
	struct watcher *w = arg;
	pthread_mutex_lock(&w->lock);
	if (!w->closed && w->live && w->watch && !w->converting) {
		uint64_t revision = max_of(store_watch_revision(w->watch), w->sent_revision);
		if (revision > w->begun_revision)
			send_bookmark(w, revision, false);
	}
	pthread_mutex_unlock(&w->lock);
}

static void on_second_timer(void *arg) {
	struct watcher *w = arg;
	on_bookmark_timer(w);
	pthread_mutex_lock(&w->lock);
	struct timer *timer = take_ptr(w->second);
	pthread_mutex_unlock(&w->lock);
	timer_cancel(timer, watcher_unref);
}

/* ---- initial ---- */

/* Sends what fits now; goes live at the end. Called from on_drain too, on I/O threads, one at a time. */
static void pump_initial(struct watcher *w) {
	pthread_mutex_lock(&w->lock);
	if (w->closed || !w->initial || w->pumping) {
		pthread_mutex_unlock(&w->lock);
		return;
	}
	w->pumping = true;
	for (;;) {
		while (!w->closed && w->scan.next < w->scan.end && out_queued(w) < INITIAL_BATCH) {
			struct entry *entry = snapshot_scan_next(&w->scan);
			if (entry && list_query_matches(w->query, entry) && !send_entry(w, "ADDED", entry))
				break;
		}
		if (w->closed || w->scan.next < w->scan.end) {
			/* The drain callback may have come while we were sending: look once more. */
			if (w->closed || out_queued(w) > 0)
				break;
			continue;
		}
		struct snapshot *initial = take_ptr(w->initial);
		uint64_t revision = initial->revision;
		if (w->query->send_initial_events) {
			metric_observe(w->initial_took, (double)(clock_monotonic_ns() - w->began) / NSEC_PER_SEC);
			if (w->query->allow_bookmarks) {
				send_bookmark(w, revision, true);
				w->second = timer_start(w->server->timers, SECOND_BOOKMARK_NS, false, on_second_timer, watcher_ref(w));
			}
		}
		pthread_mutex_unlock(&w->lock);
		snapshot_unref(initial);
		go_live(w, revision);
		return;
	}
	w->pumping = false;
	pthread_mutex_unlock(&w->lock);
}

static void on_drain(void *arg) {
	pump_initial(arg);
}

/* ---- ends ---- */

/* All that are open: for the end of the server. */
static pthread_mutex_t watchers_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list watchers = {&watchers, &watchers};
static size_t watcher_count;

static void watchers_add(struct watcher *w) {
	pthread_mutex_lock(&watchers_lock);
	list_push_back(&watchers, &w->link);
	watcher_count++;
	pthread_mutex_unlock(&watchers_lock);
}

static struct timer *watchers_remove(struct watcher *w) {
	pthread_mutex_lock(&watchers_lock);
	list_remove(&w->link);
	watcher_count--;
	struct timer *ending = take_ptr(w->ending);
	pthread_mutex_unlock(&watchers_lock);
	return ending;
}

size_t watches_open(void) {
	pthread_mutex_lock(&watchers_lock);
	size_t count = watcher_count;
	pthread_mutex_unlock(&watchers_lock);
	return count;
}

static void on_close(void *arg) {
	struct watcher *w = arg;
	pthread_mutex_lock(&w->lock);
	w->closed = true;
	struct store_watch *watch = take_ptr(w->watch);
	struct timer *lull = take_ptr(w->lull), *second = take_ptr(w->second);
	pthread_mutex_unlock(&w->lock);
	if (watch) {
		store_watch_cancel(watch);
		watcher_unref(w);
	}
	timer_cancel(lull, watcher_unref);
	timer_cancel(second, watcher_unref);
	timer_cancel(watchers_remove(w), watcher_unref);
	timer_cancel(w->deadline, watcher_unref);
	timer_cancel(w->bookmarks, watcher_unref);
	if (w->farewell)
		timer_cancel(w->farewell, watcher_unref);
	watcher_unref(w);
}

static void on_deadline(void *arg) {
	struct watcher *w = arg;
	pthread_mutex_lock(&w->lock);
	if (!w->closed && (__atomic_load_n(&w->stream, __ATOMIC_ACQUIRE) || __atomic_load_n(&w->socket, __ATOMIC_ACQUIRE)))
		out_end(w);
	pthread_mutex_unlock(&w->lock);
}

void watches_end(int64_t over_ns) {
	struct watcher *w;
	size_t i = 0;
	pthread_mutex_lock(&watchers_lock);
	list_for_each (w, &watchers, link) {
		if (w->ending)
			continue;
		__atomic_add_fetch(&w->refs, 1, __ATOMIC_RELAXED);
		w->ending = timer_start(w->server->timers, over_ns / (int64_t)watcher_count * (int64_t)i++, false, on_deadline, w);
	}
	pthread_mutex_unlock(&watchers_lock);
}


static int64_t watch_timeout(const struct request *r, const struct list_query *query) {
	if (query->timeout_ns > 0)
		return query->timeout_ns;
	/* As the Go server: between one and two times --min-request-timeout, so that clients do not all come back at once. */
	int64_t least = r->server->options->min_request_timeout * NSEC_PER_SEC;
	return least + (int64_t)random_below((uint64_t)max_of(least, 1));
}

static int64_t lull_of(const struct request *r) {
	const char *text = http_header(r->http, LULL_HEADER);
	int64_t ms;
	/* Each message of a WebSocket is an event. */
	return text && !websocket_requested(r->http) && str_to_int64(text, 1, MAX_LULL_MS, &ms) ? ms * NSEC_PER_MSEC : 0;
}

static const char *content_type(const struct request *r) {
	if (render_is_protobuf(&r->accept))
		return PROTOBUF_TYPE ";stream=watch";
	return "application/json";
}

/* Takes both; snapshot NULL: what is there is not asked for. */
static void start_from(struct request *r, struct list_query *query, struct snapshot *snapshot) {
	struct watcher *w = xnew(struct watcher);
	w->refs = 2; /* ours while we start, and the stream's */
	w->server = r->server;
	w->query = query;
	w->render = (struct render){.resource = r->resource, .accept = r->accept, .include = request_include_object(r)};
	w->lull_ns = lull_of(r);
	w->gathered = (struct buf)BUF_INIT(BUF_MAX_DEFAULT);
	list_init(&w->events);
	list_init(&w->batch);
	w->open = metric_label(&metrics[0], "WATCH", r->group, r->version, r->plural, "", r->selected_name ? "resource" : str_empty(r->ns) ? "cluster" : "namespace", "apiserver");
	metric_add(w->open, 1);
	w->events_sent = metric_label(&metrics[1], r->group, r->version, r->plural);
	w->event_sizes = metric_label(&metrics[2], r->group, r->version, r->plural);
	w->initial_took = metric_label(&metrics[3], r->group, r->version, r->plural, r->selected_name ? "resource" : str_empty(r->ns) ? "cluster" : "namespace");
	w->began = r->started_ns;
	pthread_mutex_init(&w->lock, NULL);
	struct timers *timers = r->server->timers;
	int64_t timeout = watch_timeout(r, query);
	bool initial = snapshot != NULL;
	if (initial) {
		w->initial = snapshot;
		size_t first = 0, end = w->initial->len;
		if (query->prefix[0])
			snapshot_range(w->initial, query->prefix, &first, &end);
		w->scan = snapshot_scan_over(w->initial, first, end, query->marks);
	}
	uint64_t revision = query->rv ? query->rv : store_revision(r->server->store);
	if (!initial && revision > store_revision(r->server->store))
		w->after = revision;
	request_add_warnings(r);
	request_finished(r, websocket_requested(r->http) ? 101 : 200);
	watchers_add(w);
	/* The timers hold it from now on, so that on_close finds them whenever it comes. */
	bool farewell = query->allow_bookmarks && timeout > FAREWELL_NS;
	w->refs += 1u + query->allow_bookmarks + farewell;
	w->deadline = timer_start(timers, timeout, false, on_deadline, w);
	if (query->allow_bookmarks)
		w->bookmarks = timer_start(timers, BOOKMARK_INTERVAL_NS, true, on_bookmark_timer, w);
	if (farewell)
		w->farewell = timer_start(timers, timeout - FAREWELL_NS, false, on_bookmark_timer, w);
	if (websocket_requested(r->http)) {
		/* A message needs no length before it. */
		const char *protocol;
		watch_socket_judge(r->http, &protocol);
		struct watch_socket *socket = watch_socket_start(r->http, protocol, timers_loop(timers), !render_is_protobuf(&w->render.accept), sizeof(uint32_t), MAX_BUFFERED, on_close, w);
		__atomic_store_n(&w->socket, socket, __ATOMIC_RELEASE);
		watch_socket_on_drain(socket, on_drain, w);
	} else {
		if (w->lull_ns)
			http_set_header(r->http, LULL_HEADER, http_header(r->http, LULL_HEADER)); /* the client need not wait as well */
		struct http_stream *stream = http_stream_start(r->http, 200, content_type(r), MAX_BUFFERED, on_close, w);
		__atomic_store_n(&w->stream, stream, __ATOMIC_RELEASE);
		if (initial)
			http_stream_on_drain(w->stream, on_drain, w);
	}
	if (query->refusal) {
		pthread_mutex_lock(&w->lock);
		if (!w->closed)
			send_error(w, query->refusal);
		query->refusal = NULL;
		pthread_mutex_unlock(&w->lock);
	} else if (initial && !(query->over && query->initial_given)) {
		pump_initial(w);
	} else if (!query->over) {
		go_live(w, revision);
	}
	if (query->over)
		on_deadline(w);
	watcher_unref(w);
}

struct converted_start {
	struct list_query *query;
	struct snapshot *snapshot;
};

static void free_converted_start(void *arg) {
	struct converted_start *s = arg;
	list_query_free(s->query);
	snapshot_unref(s->snapshot);
}

static int start_converted(struct request *r, void *arg, struct error *err) {
	struct converted_start *s = arg;
	start_from(r, take_ptr(s->query), take_ptr(s->snapshot));
	return REQUEST_TAKEN;
}

/* True where what is there has to be converted first: the watch begins then. */
static bool start_when_converted(struct request *r, struct list_query *query, struct snapshot *snapshot) {
	if (!snapshot || !r->resource->custom || !r->resource->custom->conversion)
		return false;
	size_t first = 0, end = snapshot->len, count = 0;
	if (query->prefix[0])
		snapshot_range(snapshot, query->prefix, &first, &end);
	struct entry **entries = xcalloc(end - first + 1, sizeof(*entries));
	struct snapshot_scan scan = snapshot_scan_over(snapshot, first, end, query->marks);
	for (struct entry *entry; (entry = snapshot_scan_next(&scan));)
		if (list_query_matches(query, entry))
			entries[count++] = entry;
	struct converted_start *s = arena_new_type(r->arena, struct converted_start);
	*s = (struct converted_start){query, snapshot};
	arena_defer(r->arena, free_converted_start, s);
	bool taken;
	conversion_for_request(r, entries, count, start_converted, s, &taken);
	if (!taken)
		*s = (struct converted_start){0};
	free(entries);
	return taken;
}

static int start(struct request *r, struct list_query *given, struct error *err) {
	const char *protocol;
	int refused = websocket_requested(r->http) ? watch_socket_judge(r->http, &protocol) : 0;
	if (refused) {
		request_respond_text(r, refused, "");
		return REQUEST_TAKEN;
	}
	/* Nobody follows what cannot be told whole. */
	if (collection_has_unreadable(r->resource->collection)) {
		int rc = error_status(err, 429, "TooManyRequests", "storage is (re)initializing");
		err->retry_after_seconds = 1;
		return rc;
	}
	/* The watcher keeps what the query holds; the shell stays the caller's. */
	struct list_query *query = xmemdup(given, sizeof(*given));
	*given = (struct list_query){0};
	/* No revision asked for, or "0": what is there comes first, as synthetic events. */
	bool initial = !query->refusal && (query->send_initial_events || (!query->initial_given && query->rv == 0));
	autoerror struct error late = {0};
	if (initial && query->over && !query->rv_given && !query->initial_given) {
		error_status(&late, 500, "InternalError", "context deadline exceeded");
		query->refusal = &late;
		initial = false;
	}
	struct snapshot *snapshot = initial ? collection_snapshot(r->resource->collection) : NULL;
	if (!start_when_converted(r, query, snapshot))
		start_from(r, query, snapshot);
	return REQUEST_TAKEN;
}


int rest_watch(struct request *r, struct error *err) {
	struct list_query *query;
	int rc = list_query_parse(r, &query, err);
	if (rc < 0)
		return rc;
	/* From a revision that is yet to come nothing has to be known but that. */
	if (query->rv && !query->send_initial_events) {
		rc = start(r, query, err);
		list_query_free(query);
		return rc;
	}
	return list_when_fresh(r, query, start, err);
}
