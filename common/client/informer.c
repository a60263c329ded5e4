/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread an informer. It asks for a streaming list (watch with sendInitialEvents), where the server has none lists in
 * pages and watches from there. What a new list lacks is reported as deleted.
 */
#include "common/client/informer.h"

#include "common/api/codec.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/client/beat.h"
#include "common/client/informer_store.h"
#include "common/client/internal.h"

#include "api/meta_v1.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PAGE_SIZE 500
#define WATCH_SECONDS_MIN 300 /* a watch lasts so long, and up to as long again, so that not all end together */
#define BACKOFF_FIRST_MS 800
#define BACKOFF_MAX_MS 30000
#define SHORT_WATCH_NS NSEC_PER_SEC /* a watch that ends before is followed by a pause */
#define INITIAL_EVENTS_END "k8s.io/initial-events-end"

struct informer {
	struct list in_set;
	struct informer_set *set;
	const struct api_resource *resource;
	char *ns, *label_selector, *field_selector;
	void (*transform)(void *object);
	const struct api_field **skip; /* NULL terminated */
	bool compact;
	char *beat_member, *beat_field; /* NULL: no object beats */
	struct beats beats;
	struct informer_store store;
	/* Held while the store changes and handlers hear of it: everybody hears the same order. Recursive: a handler may add handlers. */
	pthread_mutex_t dispatch;
	struct informer_handler *handlers;
	size_t handler_count;
	_Atomic uint64_t version;
	_Atomic bool synced;
	int lull_wanted_ms;
	_Atomic int lull_ms; /* 0 until the first list is there */
	int synced_fd; /* readable from the first list on */
	bool started;
	pthread_t thread;
	bool no_streaming; /* the server has refused streaming lists */
	unsigned failures; /* in a row */
};

struct informer_set {
	struct client *client;
	pthread_mutex_t lock;
	struct list informers;
	int stop_fd; /* readable: stop */
	_Atomic bool stopping;
	bool tidying;     /* there is such a thread */
	pthread_t tidier;
};

/* ---- telling the handlers; `dispatch` is held ---- */

static void tell_add(struct informer *informer, void *object, bool is_initial)
{
	for (size_t i = 0, count = informer->handler_count; i < count; i++) {
		struct informer_handler handler = informer->handlers[i];
		if (handler.on_add)
			handler.on_add(object, is_initial, handler.arg);
	}
}

static void tell_update(struct informer *informer, void *old, void *object)
{
	for (size_t i = 0, count = informer->handler_count; i < count; i++) {
		struct informer_handler handler = informer->handlers[i];
		if (handler.on_update)
			handler.on_update(old, object, handler.arg);
	}
}

static void tell_delete(struct informer *informer, void *object)
{
	for (size_t i = 0, count = informer->handler_count; i < count; i++) {
		struct informer_handler handler = informer->handlers[i];
		if (handler.on_delete)
			handler.on_delete(object, handler.arg);
	}
}

static const char *version_of(const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	return meta ? str_or(meta->resource_version, "") : "";
}

static void note_version(struct informer *informer, const char *text)
{
	uint64_t version = strtoull(text, NULL, 10);
	if (version > atomic_load(&informer->version))
		atomic_store(&informer->version, version);
}

static void tell_put(struct informer *informer, void *old, void *object, bool is_initial)
{
	if (!old)
		tell_add(informer, object, is_initial);
	else if (!str_equal(version_of(old), version_of(object)))
		tell_update(informer, old, object);
}

/* Added or changed. Consumes the object. */
static void take_object(struct informer *informer, void *object)
{
	note_version(informer, version_of(object));
	api_ref(object); /* keeps it through the handlers, whatever the store does */
	void *old = informer_store_put(&informer->store, object);
	tell_put(informer, old, object, false);
	api_unref(old);
	api_unref(object);
}

/* Gone. `object` is its last state; consumed. */
static void take_deletion(struct informer *informer, void *object)
{
	note_version(informer, version_of(object));
	beats_forget(&informer->beats, api_metadata(object)->namespace, api_metadata(object)->name);
	void *old = informer_store_remove(&informer->store, api_key(object));
	if (old)
		tell_delete(informer, object);
	api_unref(old);
	api_unref(object);
}

/* Makes the store what the batch holds. */
static void replace_all(struct informer *informer, struct informer_batch *batch)
{
	bool is_initial = !atomic_load(&informer->synced);
	void *old, *object;
	beats_clear(&informer->beats);
	pthread_mutex_lock(&informer->dispatch);
	while (informer_batch_next_gone(batch, &old)) {
		note_version(informer, version_of(old));
		tell_delete(informer, old);
		api_unref(old);
	}
	while (informer_batch_next_put(batch, &old, &object)) {
		note_version(informer, version_of(object));
		tell_put(informer, old, object, is_initial);
		api_unref(old);
		api_unref(object);
	}
	if (is_initial) {
		atomic_store(&informer->synced, true);
		atomic_store(&informer->lull_ms, informer->lull_wanted_ms);
		eventfd_write(informer->synced_fd, 1);
	}
	pthread_mutex_unlock(&informer->dispatch);
	informer_store_pack(&informer->store);
}

/* ---- decoding ---- */

/* managedFields are a third of most objects, and no reader of a store wants them: they are left out unless a transform is to see them. */
static const struct api_field **fields_to_skip(const struct informer_options *options)
{
	size_t count = 0, at = 0, offset;
	while (options->skip && options->skip[count])
		count++;
	const struct api_field **fields = xcalloc(count + 2, sizeof(*fields));
	if (!options->transform)
		fields[at++] = api_field_find(&meta_v1_object_meta_type, "managedFields", strlen("managedFields"), &offset);
	for (size_t i = 0; i < count; i++) {
		const char *dot = strrchr(options->skip[i], '.');
		autofree char *id = xstrndup(options->skip[i], (size_t)(dot - options->skip[i]));
		const struct api_type *type = api_type_by_id(id);
		fields[at] = type ? api_field_find(type, dot + 1, strlen(dot + 1), &offset) : NULL;
		if (!fields[at++])
			abort(); /* named in code, and not in the schema */
	}
	return fields;
}

static void *decode(struct informer *informer, const char *json, size_t len, struct error *err)
{
	const struct api_decode_options options = {.skip = informer->skip};
	void *object;
	if (api_decode_json(informer->resource->type, json, len, &options, &object, err)) {
		error_context(err, "decode %s", informer->resource->plural);
		return NULL;
	}
	/* Items of a list carry neither: they stand at the head of the list. */
	struct {
		const char *kind, *api_version;
	} *head = object;
	if (str_empty(head->kind))
		head->kind = informer->resource->kind;
	if (str_empty(head->api_version)) {
		const struct api_resource *resource = informer->resource;
		head->api_version = str_empty(resource->group) ? resource->version : arena_printf(api_arena(object), "%s/%s", resource->group, resource->version);
	}
	if (informer->transform)
		informer->transform(object);
	if (!informer->compact)
		return object;
	void *compact = api_copy_compact(object);
	api_unref(object);
	return compact;
}

static bool stopping(const struct informer *informer)
{
	return atomic_load(&informer->set->stopping);
}

static void base_path(const struct informer *informer, struct buf *path)
{
	client_path(path, informer->resource, informer->ns, NULL, NULL);
	client_query(path, "labelSelector", informer->label_selector);
	client_query(path, "fieldSelector", informer->field_selector);
}

/* ---- lists in pages ---- */

static bool append_data(const char *data, size_t len, void *arg)
{
	buf_append(arg, data, len);
	return !buf_failed(arg);
}

static int take_page(struct informer *informer, const struct buf *body, struct informer_batch *fresh, char **ret_continue, char **ret_version, struct error *err)
{
	struct json_slice meta, items, part;
	if (json_scan_member(body->data, body->len, "metadata", &meta) || json_scan_member(body->data, body->len, "items", &items) || !meta.data)
		return error_set(err, EPROTO, "the list of %s could not be read", informer->resource->plural);
	size_t pos = 0;
	int more = 0;
	while (items.data && items.data[0] == '[' && (more = json_scan_next(items.data, items.len, &pos, &part)) == 1) {
		void *object = decode(informer, part.data, part.len, err);
		if (!object)
			return -EINVAL;
		informer_batch_add(fresh, object);
	}
	if (more < 0)
		return error_set(err, EPROTO, "the list of %s could not be read", informer->resource->plural);
	json_scan_member(meta.data, meta.len, "continue", &part);
	*ret_continue = json_scan_string(&part);
	json_scan_member(meta.data, meta.len, "resourceVersion", &part);
	free(*ret_version);
	*ret_version = json_scan_string(&part);
	return 0;
}

static int list_page(struct informer *informer, const char *token, bool paged, struct buf *body, struct error *err)
{
	autobuf struct buf path = BUF_INIT(64 * 1024);
	base_path(informer, &path);
	if (paged) {
		char limit[16];
		snprintf(limit, sizeof(limit), "%d", PAGE_SIZE);
		client_query(&path, "limit", limit);
		client_query(&path, "continue", token);
	}
	buf_reset(body);
	struct client_request request = {.method = "GET", .path = path.data};
	int rc = client_stream(informer->set->client, &request, append_data, body, informer->set->stop_fd, err);
	if (!rc && stopping(informer))
		rc = -ECANCELED;
	if (!rc && (buf_failed(body) || !body->len))
		rc = error_set(err, EFBIG, "the list of %s could not be read", informer->resource->plural);
	return rc;
}

static int list_all(struct informer *informer, bool paged, struct error *err)
{
	struct informer_batch fresh;
	autobuf struct buf body = BUF_INIT(CLIENT_MAX_BODY);
	char *token = NULL, *version = NULL;
	int rc;
	informer_batch_init(&fresh, &informer->store);
	do {
		rc = list_page(informer, token, paged, &body, err);
		free(token);
		token = NULL;
		if (!rc)
			rc = take_page(informer, &body, &fresh, &token, &version, err);
	} while (!rc && !str_empty(token));
	if (!rc) {
		/* A list may be older than what was seen last, where another server answers: then it is the truth to go on from. */
		atomic_store(&informer->version, 0);
		replace_all(informer, &fresh);
		atomic_store(&informer->version, strtoull(str_or(version, "0"), NULL, 10));
	}
	free(token);
	free(version);
	informer_batch_done(&fresh);
	return rc;
}

/* ---- watches ---- */

struct watch_round {
	struct informer *informer;
	bool initial;     /* events up to the bookmark are the list */
	bool relisted;    /* the bookmark came */
	struct informer_batch fresh;
};

static bool ends_initial_events(const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	return meta && str_equal(api_map_get(&meta->annotations, INITIAL_EVENTS_END), "true");
}

static void on_bookmark(struct watch_round *round, void *object)
{
	struct informer *informer = round->informer;
	if (round->initial && ends_initial_events(object)) {
		round->initial = false;
		round->relisted = true;
		atomic_store(&informer->version, 0);
		replace_all(informer, &round->fresh);
		atomic_store(&informer->version, strtoull(version_of(object), NULL, 10));
	} else {
		note_version(informer, version_of(object));
	}
	api_unref(object);
}

/* Whether nothing has changed but the field in which these objects beat: then that is noted. What changed otherwise is taken as any change is. */
static bool take_beat(struct informer *informer, const char *json, size_t len)
{
	struct beat beat;
	if (!informer->beat_member || !beat_read(json, len, informer->beat_member, informer->beat_field, &beat) || !beats_take(&informer->beats, &beat, clock_monotonic_ns()))
		return false;
	note_version(informer, beat.version.data); /* ends at its quote */
	informer->failures = 0;
	return true;
}

static bool on_event(const char *type, const char *json, size_t len, void *arg, struct error *err)
{
	struct watch_round *round = arg;
	struct informer *informer = round->informer;
	if (stopping(informer))
		return false;
	if (!round->initial && str_equal(type, "MODIFIED") && take_beat(informer, json, len))
		return true;
	void *object = decode(informer, json, len, err);
	if (!object) {
		beats_clear(&informer->beats); /* what was noted has not come to pass */
		return false;
	}
	if (str_equal(type, "BOOKMARK")) {
		on_bookmark(round, object);
	} else if (round->initial) {
		informer_batch_add(&round->fresh, object);
	} else {
		pthread_mutex_lock(&informer->dispatch);
		if (str_equal(type, "DELETED"))
			take_deletion(informer, object);
		else
			take_object(informer, object);
		pthread_mutex_unlock(&informer->dispatch);
	}
	informer->failures = 0;
	return true;
}

/* Watches until the stream ends. `initial`: begins with a streaming list. */
static int watch_once(struct informer *informer, bool initial, bool *ret_relisted, struct error *err)
{
	struct watch_round round = {.informer = informer, .initial = initial};
	informer_batch_init(&round.fresh, &informer->store);
	autobuf struct buf path = BUF_INIT(64 * 1024);
	base_path(informer, &path);
	char text[32];
	client_query(&path, "watch", "true");
	client_query(&path, "allowWatchBookmarks", "true");
	snprintf(text, sizeof(text), "%llu", (unsigned long long)(WATCH_SECONDS_MIN + random_below(WATCH_SECONDS_MIN)));
	client_query(&path, "timeoutSeconds", text);
	if (initial) {
		client_query(&path, "sendInitialEvents", "true");
		client_query(&path, "resourceVersionMatch", "NotOlderThan");
	} else {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)atomic_load(&informer->version));
		client_query(&path, "resourceVersion", text);
	}
	const struct client_request request = {.method = "GET", .path = path.data, .lull_ms = &informer->lull_ms, .gather_ms = informer->lull_wanted_ms};
	int rc = client_watch_raw(informer->set->client, &request, on_event, &round, informer->set->stop_fd, err);
	if (!rc && round.initial && !stopping(informer))
		rc = error_set(err, ECONNRESET, "the streaming list of %s ended before its end", informer->resource->plural);
	*ret_relisted = round.relisted;
	informer_batch_done(&round.fresh);
	return rc;
}

/* ---- the thread ---- */

/* Waits longer with each failure in a row; every informer a little differently. Returns false where it is to stop. */
static bool back_off(struct informer *informer)
{
	int64_t ms = BACKOFF_FIRST_MS;
	for (unsigned i = 0; i < informer->failures && ms < BACKOFF_MAX_MS; i++)
		ms *= 2;
	informer->failures++;
	ms = min_of(ms, (int64_t)BACKOFF_MAX_MS);
	ms = ms / 2 + (int64_t)random_below((uint64_t)ms / 2 + 1);
	struct pollfd stop = {.fd = informer->set->stop_fd, .events = POLLIN};
	return poll(&stop, 1, (int)ms) == 0;
}

static void log_failure(const struct informer *informer, const char *what, const struct error *err)
{
	log_warning(what, LOG_STR("resource", informer->resource->plural), LOG_STR("group", informer->resource->group), LOG_ERR(err));
}

/* Servers before streaming lists, and those that have them off, refuse the parameters. */
static bool streaming_refused(const struct error *err)
{
	return err->http_code == 422 || err->http_code == 400;
}

/* A server over a store that cannot tell its progress (etcd before 3.4.25) takes the parameters, and fails; its lists are as good as any. */
static bool streaming_failed(const struct error *err)
{
	return err->http_code == 500;
}

static bool is_gone(const struct error *err)
{
	return err->http_code == 410 || error_is(err, "Expired") || error_is(err, "Gone");
}

static int list_pages(struct informer *informer, struct error *err)
{
	int rc = list_all(informer, true, err);
	if (rc && is_gone(err)) {
		/* The list was compacted away between two pages. */
		error_done(err);
		*err = (struct error){0};
		rc = list_all(informer, false, err);
	}
	return rc;
}

/* Brings the store up to date from nothing. A streaming list goes on as a watch. Returns true where a watch may follow. */
static bool list_round(struct informer *informer)
{
	autoerror struct error err = {0};
	bool relisted = false;
	int rc = 0;
	if (!informer->no_streaming) {
		rc = watch_once(informer, true, &relisted, &err);
		if (relisted)
			return !is_gone(&err);
		if (rc && streaming_refused(&err))
			informer->no_streaming = true;
	}
	if (informer->no_streaming || (rc && streaming_failed(&err))) {
		error_done(&err);
		err = (struct error){0};
		rc = list_pages(informer, &err);
	}
	if (stopping(informer))
		return false;
	if (rc) {
		log_failure(informer, "Failed to list", &err);
		back_off(informer);
		return false;
	}
	informer->failures = 0;
	return true;
}

/* Watches on and on from the version reached, until the server has forgotten it. */
static void watch_rounds(struct informer *informer)
{
	while (!stopping(informer)) {
		autoerror struct error err = {0};
		bool relisted;
		int64_t begun = clock_monotonic_ns();
		int rc = watch_once(informer, false, &relisted, &err);
		if (stopping(informer) || (rc && is_gone(&err)))
			return;
		if (rc && err.http_code)
			log_failure(informer, "Failed to watch", &err);
		if (rc || clock_monotonic_ns() - begun < SHORT_WATCH_NS) {
			if (!back_off(informer))
				return;
		}
	}
}

static void *informer_run(void *arg)
{
	struct informer *informer = arg;
	while (!stopping(informer))
		if (list_round(informer))
			watch_rounds(informer);
	return NULL;
}

/* Stores keep what they unpacked for who asks again; when all is quiet nobody but the clock says that it is enough. */
static void *tidy_run(void *arg)
{
	struct informer_set *set = arg;
	struct pollfd stop = {.fd = set->stop_fd, .events = POLLIN};
	while (poll(&stop, 1, STORE_IDLE_S * 1000 / 2) == 0) {
		struct informer *informer;
		pthread_mutex_lock(&set->lock);
		list_for_each (informer, &set->informers, in_set)
			informer_store_tidy(&informer->store);
		pthread_mutex_unlock(&set->lock);
	}
	return NULL;
}

/* ---- the public side ---- */

struct informer_set *informer_set_new(struct client *client)
{
	struct informer_set *set = xnew(struct informer_set);
	set->client = client;
	pthread_mutex_init(&set->lock, NULL);
	list_init(&set->informers);
	set->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (set->stop_fd < 0)
		abort();
	return set;
}

static void informer_free(struct informer *informer)
{
	informer_store_done(&informer->store);
	beats_done(&informer->beats);
	free(informer->beat_member);
	free(informer->beat_field);
	pthread_mutex_destroy(&informer->dispatch);
	close(informer->synced_fd);
	free(informer->handlers);
	free(informer->skip);
	free(informer->ns);
	free(informer->label_selector);
	free(informer->field_selector);
	free(informer);
}

void informer_set_stop(struct informer_set *set)
{
	if (!set)
		return;
	atomic_store(&set->stopping, true);
	eventfd_write(set->stop_fd, 1);
	struct informer *informer;
	list_for_each (informer, &set->informers, in_set) {
		if (informer->started)
			pthread_join(informer->thread, NULL);
		informer->started = false;
	}
	if (set->tidying)
		pthread_join(set->tidier, NULL);
	set->tidying = false;
}

void informer_set_free(struct informer_set *set)
{
	if (!set)
		return;
	informer_set_stop(set);
	struct informer *informer;
	list_for_each (informer, &set->informers, in_set) {
		list_remove(&informer->in_set);
		informer_free(informer);
	}
	close(set->stop_fd);
	pthread_mutex_destroy(&set->lock);
	free(set);
}

static char *copy(const char *s)
{
	return str_empty(s) ? NULL : xstrdup(s);
}

static struct informer *informer_new(struct informer_set *set, const struct api_resource *resource, const struct informer_options *options)
{
	struct informer *informer = xnew(struct informer);
	informer->set = set;
	informer->resource = resource;
	informer->ns = copy(options->ns);
	informer->label_selector = copy(options->label_selector);
	informer->field_selector = copy(options->field_selector);
	informer->transform = options->transform;
	informer->lull_wanted_ms = options->lull_ms;
	informer->skip = fields_to_skip(options);
	informer->compact = options->compact;
	beats_init(&informer->beats);
	if (options->beat) {
		const char *dot = strchr(options->beat, '.');
		if (!dot)
			abort(); /* named in code, and not of that form */
		informer->beat_member = xstrndup(options->beat, (size_t)(dot - options->beat));
		informer->beat_field = xstrdup(dot + 1);
	}
	informer_store_init(&informer->store, options->packed ? resource->type : NULL);
	pthread_mutexattr_t attr;
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&informer->dispatch, &attr);
	pthread_mutexattr_destroy(&attr);
	informer->synced_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (informer->synced_fd < 0)
		abort();
	return informer;
}

struct informer *informer_get(struct informer_set *set, const struct api_resource *resource, const struct informer_options *options)
{
	static const struct informer_options everything;
	options = options ? options : &everything;
	pthread_mutex_lock(&set->lock);
	struct informer *found = NULL, *it;
	list_for_each (it, &set->informers, in_set) {
		if (it->resource == resource && it->transform == options->transform && str_equal(it->ns, options->ns) && str_equal(it->label_selector, options->label_selector) && str_equal(it->field_selector, options->field_selector))
			found = it;
	}
	if (!found) {
		found = informer_new(set, resource, options);
		list_push_back(&set->informers, &found->in_set);
	}
	pthread_mutex_unlock(&set->lock);
	return found;
}

struct newcomers {
	const struct informer_handler *handlers;
	size_t count;
};

static void tell_newcomers(void *object, void *arg)
{
	const struct newcomers *new = arg;
	for (size_t i = 0; i < new->count; i++)
		if (new->handlers[i].on_add)
			new->handlers[i].on_add(object, true, new->handlers[i].arg);
}

void informer_add_handlers(struct informer *informer, const struct informer_handler *handlers, size_t count)
{
	pthread_mutex_lock(&informer->dispatch);
	informer_store_each(&informer->store, tell_newcomers, &(struct newcomers){handlers, count});
	informer->handlers = xreallocarray(informer->handlers, informer->handler_count + count, sizeof(*handlers));
	memcpy(informer->handlers + informer->handler_count, handlers, count * sizeof(*handlers));
	informer->handler_count += count;
	pthread_mutex_unlock(&informer->dispatch);
}

void informer_add_handler(struct informer *informer, const struct informer_handler *handler)
{
	informer_add_handlers(informer, handler, 1);
}

void informer_add_index(struct informer *informer, const char *name, informer_index_fn fn)
{
	informer_store_add_index(&informer->store, name, fn);
}

void informer_set_start(struct informer_set *set)
{
	bool packs = false;
	pthread_mutex_lock(&set->lock);
	struct informer *informer;
	list_for_each (informer, &set->informers, in_set) {
		if (informer->started)
			continue;
		informer->started = true;
		packs |= informer->store.packed != NULL;
		if (pthread_create(&informer->thread, NULL, informer_run, informer))
			abort();
	}
	if (packs && !set->tidying) {
		set->tidying = true;
		if (pthread_create(&set->tidier, NULL, tidy_run, set))
			abort();
	}
	pthread_mutex_unlock(&set->lock);
}

bool informer_set_wait_synced(struct informer_set *set, int cancel_fd)
{
	bool synced = true;
	pthread_mutex_lock(&set->lock);
	size_t count = 0;
	struct informer *informer;
	list_for_each (informer, &set->informers, in_set)
		count++;
	autofree int *fds = xcalloc(count, sizeof(int));
	count = 0;
	list_for_each (informer, &set->informers, in_set)
		fds[count++] = informer->synced_fd;
	pthread_mutex_unlock(&set->lock);
	for (size_t i = 0; synced && i < count; i++) {
		/* Never read: it stays readable for whoever waits next. */
		struct pollfd wait[2] = {{.fd = fds[i], .events = POLLIN}, {.fd = cancel_fd, .events = POLLIN}};
		while (poll(wait, 2, -1) < 0 && errno == EINTR)
			;
		synced = wait[0].revents & POLLIN;
	}
	return synced;
}

bool informer_synced(const struct informer *informer)
{
	return atomic_load(&informer->synced);
}

uint64_t informer_resource_version(const struct informer *informer)
{
	return atomic_load(&informer->version);
}

void *informer_find(struct informer *informer, const char *ns, const char *name)
{
	if (str_empty(ns))
		return informer_store_get(&informer->store, name);
	autofree char *key = xprintf("%s/%s", ns, name);
	return informer_store_get(&informer->store, key);
}

void *informer_find_key(struct informer *informer, const char *key)
{
	return informer_store_get(&informer->store, key);
}

void informer_list_all(struct informer *informer, struct informer_list *ret)
{
	informer_store_list(&informer->store, NULL, NULL, ret);
}

void informer_list_namespace(struct informer *informer, const char *ns, struct informer_list *ret)
{
	informer_store_list(&informer->store, INFORMER_INDEX_NAMESPACE, str_or(ns, ""), ret);
}

void informer_list_index(struct informer *informer, const char *index, const char *value, struct informer_list *ret)
{
	informer_store_list(&informer->store, index, value, ret);
}

bool informer_last_beat(struct informer *informer, const char *ns, const char *name, struct informer_beat *ret)
{
	return beats_last(&informer->beats, ns, name, ret);
}

size_t informer_count(struct informer *informer)
{
	return informer_store_count(&informer->store);
}
