/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/storage/internal.h"

#include "common/base/log.h"

#include <errno.h>
#include <time.h>

#define COMPACTION_INTERVAL_NS (300 * NSEC_PER_SEC)
#define WRITE_TIMEOUT_MS 10000
#define TICK_NS NSEC_PER_SEC
#define TRIM_TICKS 30
#define SWEEP_TICKS 300
#define SIZE_TICKS 30

/* ---- events from etcd ---- */

static bool is_server_key(const char *path, size_t len)
{
	return len >= strlen(KEY_SERVERS) && memcmp(path, KEY_SERVERS, strlen(KEY_SERVERS)) == 0;
}

static bool is_own_key(const char *path, size_t len)
{
	static const char *const keys[] = {KEY_COMPACT, KEY_PROGRESS};

	for (size_t i = 0; i < array_len(keys); i++) {
		if (len == strlen(keys[i]) && memcmp(path, keys[i], len) == 0)
			return true;
	}
	return is_server_key(path, len);
}

struct collection *store_route(struct store *store, const char *path, size_t len)
{
	struct collection *found = NULL, *c;
	const char *end = path + len;

	if (len == 0 || is_own_key(path, len) || memchr(path, '\0', len))
		return NULL;
	/* The longest prefix that somebody has opened. */
	for (const char *slash = path; (slash = memchr(slash, '/', (size_t)(end - slash))); slash++) {
		c = map_get_len(&store->collections, path, (size_t)(slash - path));
		if (c)
			found = c;
	}
	if (!found)
		return store->root;
	return collection_owns(found, path + found->prefix_len, len - found->prefix_len) ? found : NULL;
}

/* What was written; NULL where it cannot be read. */
static struct entry *take_value(struct collection *c, const char *key, const char *path, size_t len, const struct etcd_kv *kv)
{
	uint64_t revision = (uint64_t)kv->mod_revision;
	autoerror struct error why = {0};
	struct entry *entry = entry_from_value(c, path, len, kv->value.data, kv->value.len, revision, (uint64_t)kv->create_revision, &why);

	if (entry) {
		unreadable_forget(c, key);
		return entry;
	}
	unreadable_note(c, key, revision, c->store->load_mark, &why);
	unreadable_gap(c, revision);
	return NULL;
}

void store_apply(struct store *store, const char *path, size_t len, const struct etcd_kv *kv, bool deleted)
{
	struct collection *c = store_route(store, path, len);
	uint64_t revision = (uint64_t)kv->mod_revision;
	struct entry *known, *entry = NULL;
	enum store_event_type type;

	if (!c)
		return;
	autofree char *key = xstrndup(path + c->prefix_len, len - c->prefix_len);
	known = tree_get(c->tree, key);
	/* A watch that was interrupted may tell a thing twice. */
	if (revision <= c->history.floor || (known && known->resource_version >= revision))
		return;
	if (deleted)
		unreadable_forget(c, key);
	else
		entry = take_value(c, key, path, len, kv);
	if (!entry) {
		/* Gone, or nothing that can be read any more. */
		entry = known ? entry_copy(c, known, revision) : NULL;
		if (!entry)
			return;
		type = STORE_DELETED;
	} else {
		type = known ? STORE_MODIFIED : STORE_ADDED;
	}
	collection_apply(c, type, revision, entry);
}

void store_publish(struct store *store, uint64_t revision)
{
	if (revision > atomic_load(&store->revision))
		atomic_store(&store->revision, revision);
}

void store_told(struct store *store, uint64_t revision)
{
	uint64_t told = atomic_load(&store->told);

	while (revision > told && !atomic_compare_exchange_weak(&store->told, &told, revision))
		;
}

static void take_event(struct store *store, const struct etcd_event *event)
{
	const char *path = event->kv.key.data + store->prefix_len;
	size_t len = event->kv.key.len - store->prefix_len;

	if (is_server_key(path, len))
		members_event(store->members, path, len, event->deleted);
	if (is_own_key(path, len))
		return;
	/* A deletion may be a lease's end. */
	if (!event->deleted && atomic_load(&store->writes) == 0 && (uint64_t)event->kv.mod_revision > atomic_load(&store->revision))
		members_stranger(store->members);
	pthread_mutex_lock(&store->apply_lock);
	store_apply(store, path, len, &event->kv, event->deleted);
	pthread_mutex_unlock(&store->apply_lock);
}

static void on_events(const struct etcd_watch_response *response, void *arg)
{
	struct store *store = arg;
	struct cursor events = response->events;
	struct etcd_event event;
	uint64_t last = 0;

	/* Nothing to tell: all up to here was told. */
	if (response->event_count == 0)
		last = (uint64_t)response->revision;
	while (etcd_next_event(&events, &event)) {
		last = (uint64_t)event.kv.mod_revision;
		if (event.kv.key.len > store->prefix_len)
			take_event(store, &event);
	}
	if (events.failed)
		log_error("malformed events from etcd");
	/* The last one's revision may go on in the next fragment. */
	if (last)
		store_publish(store, response->fragment ? last - 1 : last);
	waits_revision(store->waits);
}

/* All of it is read again: what was unreadable then is taken, or noted as before. */
static void read_again(void *arg)
{
	struct store *store = arg;
	struct map_entry *e;
	bool any = false;

	pthread_mutex_lock(&store->apply_lock);
	for (size_t i = 0; (e = map_next(&store->collections, &i));)
		any = any || collection_has_unreadable(e->value);
	any = any || collection_has_unreadable(store->root);
	pthread_mutex_unlock(&store->apply_lock);
	if (store->closing || !any)
		return;
	store->again = true;
	if (!store->watch)
		return; /* a load is on its way: then after it */
	store->again = false;
	etcd_watch_free(take_ptr(store->watch));
	load_start(store);
}

void store_read_again(struct store *store)
{
	if (!store->closing)
		loop_post(store->loop, read_again, store);
}

static void on_compacted(int64_t compact_revision, void *arg)
{
	struct store *store = arg;

	log_warning("etcd has compacted what the watch had still to tell", LOG_INT("compacted", compact_revision), LOG_INT("revision", atomic_load(&store->revision)));
	etcd_watch_free(take_ptr(store->watch));
	load_start(store);
}

bool store_is_loaded(struct store *store)
{
	pthread_mutex_lock(&store->open_lock);
	bool loaded = store->loaded;
	pthread_mutex_unlock(&store->open_lock);
	return loaded;
}

static void on_live(bool live, void *arg)
{
	struct store *store = arg;
	struct map_entry *e;

	store->watching = live;
	if (live && store->again)
		loop_post(store->loop, read_again, store);
	if (!live || store->loaded)
		return;
	/* Not earlier: a watch that has a revision to catch up with, as that of the key would be, is served by etcd a tenth of a second later. */
	members_start(store->members);
	pthread_mutex_lock(&store->apply_lock);
	for (size_t i = 0; (e = map_next(&store->collections, &i));)
		metrics_filled(e->value);
	pthread_mutex_unlock(&store->apply_lock);
	pthread_mutex_lock(&store->open_lock);
	store->loaded = true;
	pthread_cond_broadcast(&store->open_cond);
	pthread_mutex_unlock(&store->open_lock);
}

void store_start_watch(struct store *store, uint64_t after_revision)
{
	static const struct etcd_watch_events events = {.events = on_events, .compacted = on_compacted, .live = on_live};

	store->watch = etcd_watch_new(store->etcd, ETCD_SLICE(store->prefix), ETCD_SLICE(store->prefix_end), (int64_t)after_revision + 1, &events, store);
}

/* ---- housekeeping ---- */

static void sweep_encodings(struct collection *c)
{
	struct tree *tree;

	pthread_mutex_lock(&c->lock);
	tree = tree_ref(c->tree);
	pthread_mutex_unlock(&c->lock);
	struct snapshot_scan scan = {.end = tree_len(tree)};
	for (struct entry *entry; (entry = tree_next(tree, &scan));)
		entry_sweep_encodings(entry);
	tree_unref(tree);
}

static void on_tick(void *arg)
{
	struct store *store = arg;
	struct map_entry *e;

	store->ticks++;
	pthread_mutex_lock(&store->apply_lock);
	for (size_t i = 0; (e = map_next(&store->collections, &i));) {
		struct collection *c = e->value;
		watch_tick(c);
		if (store->ticks % TRIM_TICKS == 0) {
			pthread_mutex_lock(&c->lock);
			history_trim(&c->history);
			pthread_mutex_unlock(&c->lock);
		}
		if (store->ticks % SWEEP_TICKS == 0)
			sweep_encodings(c);
	}
	pthread_mutex_unlock(&store->apply_lock);
	write_expire(store);
	if (store->ticks % SIZE_TICKS == 1)
		metrics_ask_size(store);
	loop_timer_arm(store->tick, TICK_NS);
}

/* ---- open and close ---- */

char *store_key(const struct store *store, const char *path)
{
	return xconcat(store->prefix, path);
}

uint64_t store_revision(struct store *store)
{
	return atomic_load(&store->revision);
}

bool store_fresh(struct store *store)
{
	/* In this order: what others told while one was not alone is noted before one is again. */
	return members_alone(store->members) && atomic_load(&store->revision) >= atomic_load(&store->told);
}

bool store_healthy(struct store *store, struct error *err)
{
	if (!etcd_client_healthy(store->etcd, err))
		return false;
	if (!store->watching) {
		error_set(err, EIO, "etcd: the watch is interrupted");
		return false;
	}
	return true;
}

static void start(void *arg)
{
	struct store *store = arg;

	store->waits = waits_new(store);
	store->tick = loop_timer_new(store->loop, on_tick, store);
	if (store->compaction_interval_ns > 0)
		store->compaction = compaction_new(store, store->compaction_interval_ns);
	loop_timer_arm(store->tick, TICK_NS);
	load_start(store);
}

static void free_collection(void *collection)
{
	collection_free(collection);
}

static struct store *store_new(const struct store_options *options)
{
	struct store *store = xnew(struct store);
	size_t len = strlen(str_or(options->prefix, "/registry"));
	const char *prefix = str_or(options->prefix, "/registry");
	pthread_mutexattr_t attributes;
	pthread_condattr_t monotonic;

	while (len && prefix[len - 1] == '/')
		len--;
	store->prefix = xprintf("%s%.*s/", *prefix == '/' ? "" : "/", (int)len, prefix);
	store->prefix_len = strlen(store->prefix);
	store->prefix_end = xstrdup(store->prefix);
	store->prefix_end[store->prefix_len - 1]++;
	store->transform = options->transform;
	store->translate = options->translate;
	store->write_timeout_ms = options->write_timeout_ms > 0 ? min_of(options->write_timeout_ms, WRITE_TIMEOUT_MS) : WRITE_TIMEOUT_MS;
	store->compaction_interval_ns = options->compaction_interval_ns ? options->compaction_interval_ns : COMPACTION_INTERVAL_NS;
	store->leases = leases_new(store, options->lease_reuse_seconds);
	store->members = members_new(store, options->ask_always);
	list_init(&store->held);
	store->history_events = options->history_events;
	store->collections = MAP_INIT(free_collection);
	for (size_t i = 0; i < array_len(store->written); i++)
		list_init(&store->written[i]);
	pthread_mutexattr_init(&attributes);
	pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&store->apply_lock, &attributes);
	pthread_mutexattr_destroy(&attributes);
	pthread_mutex_init(&store->open_lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&store->open_cond, &monotonic);
	pthread_condattr_destroy(&monotonic);
	store->root = collection_new(store, "", false, NULL, NULL);
	metrics_open(store);
	return store;
}

static int await_load(struct store *store, int timeout_ms, struct error *err)
{
	autoerror struct error trouble = {0};
	struct timespec until;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (timeout_ms % 1000) * NSEC_PER_MSEC;
	if (until.tv_nsec >= NSEC_PER_SEC) {
		until.tv_sec++;
		until.tv_nsec -= NSEC_PER_SEC;
	}
	pthread_mutex_lock(&store->open_lock);
	while (!store->loaded && r == 0)
		r = pthread_cond_timedwait(&store->open_cond, &store->open_lock, &until);
	if (!store->loaded) {
		const char *why = store->load_trouble;
		if (!*why && !etcd_client_healthy(store->etcd, &trouble))
			why = error_message(&trouble);
		error_set(err, ETIMEDOUT, "etcd was not read in time: %s", str_or(why, "it takes longer"));
	}
	r = store->loaded ? 0 : -ETIMEDOUT;
	pthread_mutex_unlock(&store->open_lock);
	return r;
}

int store_open(const struct store_options *options, int timeout_ms, struct store **ret, struct error *err)
{
	struct store *store = store_new(options);
	int r = etcd_client_new(
		&(struct etcd_client_options){.endpoints = options->endpoints, .ca_file = options->ca_file, .cert_file = options->cert_file, .key_file = options->key_file}, &store->etcd, err);

	if (r == 0) {
		store->loop = etcd_client_loop(store->etcd);
		if (options->opening)
			options->opening(store, options->arg);
		loop_post(store->loop, start, store);
		r = await_load(store, timeout_ms, err);
	}
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret = store;
	return 0;
}

/* On the store's thread: timers go while their loop runs. What calls still point at stays. */
static void shut(void *arg)
{
	struct store *store = arg;

	store->closing = true;
	etcd_watch_free(take_ptr(store->watch));
	loop_timer_free(take_ptr(store->tick));
	load_stop(store);
	compaction_stop(store->compaction);
	write_abort(store);
	waits_abort(store->waits);
	members_stop(store->members);
	pthread_mutex_lock(&store->open_lock);
	store->shut = true;
	pthread_cond_broadcast(&store->open_cond);
	pthread_mutex_unlock(&store->open_lock);
}

void store_close(struct store *store)
{
	if (!store)
		return;
	metrics_close(store);
	if (store->etcd) {
		loop_post(store->loop, shut, store);
		pthread_mutex_lock(&store->open_lock);
		while (!store->shut)
			pthread_cond_wait(&store->open_cond, &store->open_lock);
		pthread_mutex_unlock(&store->open_lock);
		waits_stop(store->waits);
		members_await_left(store->members);
		etcd_client_free(store->etcd);
		write_abort(store);
	}
	load_free(store);
	compaction_free(store->compaction);
	waits_free(store->waits);
	leases_free(store->leases);
	members_free(store->members);
	map_done(&store->collections);
	collection_free(store->root);
	pthread_cond_destroy(&store->open_cond);
	pthread_mutex_destroy(&store->open_lock);
	pthread_mutex_destroy(&store->apply_lock);
	free(store->prefix);
	free(store->prefix_end);
	free(store);
}

static void shrink(void *arg)
{
	struct store *store = arg;
	struct map_entry *e;

	pthread_mutex_lock(&store->apply_lock);
	collection_shrink(store->root);
	for (size_t i = 0; (e = map_next(&store->collections, &i));)
		collection_shrink(e->value);
	pthread_mutex_unlock(&store->apply_lock);
}

void store_shrink(struct store *store)
{
	if (!store->closing)
		loop_post(store->loop, shrink, store);
}
