/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The controller manager under test: caches that lag behind the server, queues, workers as fibers. A request stops its worker twice: on its way to the
 * server and on its way back; in between everything else may happen, a crash too.
 */
#include "test/sim/fiber.h"
#include "test/sim/sim.h"

#include "controller-manager/gc/gc.h"
#include "controller-manager/manager.h"

#include <errno.h>
#include <stdio.h>

#define MAX_WORKS 24
#define WORKERS_EACH 2

/* One watch: of an informer, or of the garbage collector. */
struct stream {
	struct collection *collection;
	enum cached what;
	bool open, collector;
	struct table seen;     /* what the cache shows; of the collector's: what it has been told */
	uint64_t version;
	size_t next;           /* number of the change to tell next */
	size_t frozen_until;   /* step */
};

struct running {
	struct reconciler reconciler;
	unsigned busy;
};

struct work {
	struct fiber *fiber;
	struct running *of;
	char *key;
	size_t began;
};

static struct {
	struct world world;
	struct settings settings;
	struct running *running;
	size_t count;
	struct stream caches[CACHED_COUNT], collector[CACHED_COUNT];
	struct work works[MAX_WORKS];
	struct work *current;
	struct reconciler *gc;
	bool dead; /* the process is gone: what its workers still do has no effect */
} manager;

/* ---- caches ---- */

static bool is_shown(enum cached what, const void *object)
{
	const struct informer_options *options = cached_options(what);
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (options && options->ns && !str_equal(options->ns, meta->namespace))
		return false;
	static const char by_name[] = "metadata.name=";
	return !options || !options->field_selector || !str_starts_with(options->field_selector, by_name) ||
	       str_equal(options->field_selector + strlen(by_name), meta->name);
}

static void tell_controllers(enum cached what, const void *old, const void *object)
{
	for (size_t i = 0; i < manager.count; i++) {
		struct reconciler *r = &manager.running[i].reconciler;
		for (const struct controller_watch *watch = r->controller->watches; watch && watch->what != CACHED_NONE; watch++)
			if (watch->what == what && !watch->read_only)
				reconciler_observe(r, watch, old, object);
	}
}

static void tell_collector(const struct stream *stream, const void *old, const void *object)
{
	struct gc *gc = manager.gc->state;
	if (!object) {
		graph_forget(gc, api_metadata(old)->uid);
		return;
	}
	const struct api_type *type = stream->collection->resource->type;
	autofree char *api_version = str_empty(type->group) ? xstrdup(type->version) : xprintf("%s/%s", type->group, type->version);
	struct discovered *resource = gc_resource_of_kind(gc, api_version, type->kind);
	json_t *metadata = api_to_json(&meta_v1_object_meta_type, api_metadata(object));
	if (resource)
		graph_observe(gc, resource, metadata);
	json_decref(metadata);
}

static void show(struct stream *stream, const char *key, void *object, void *last)
{
	void *held = table_get(&stream->seen, key);
	autounref void *old = held ? api_ref(held) : NULL;
	if (!old && !object)
		return;
	/* The collector knows objects by uid: another one of the same name is another object. */
	if (stream->collector && old && object && !str_equal(api_metadata(old)->uid, api_metadata(object)->uid))
		tell_collector(stream, old, NULL);
	table_set(&stream->seen, key, object);
	if (stream->collector)
		tell_collector(stream, last ? last : old, object);
	else
		tell_controllers(stream->what, !object && last ? last : old, object);
}

static void deliver_one(struct stream *stream)
{
	char key[KEY_SIZE];
	struct collection *c = stream->collection;
	struct change *change = &c->changes[stream->next++ - c->first];
	const struct meta_v1_object_meta *meta = api_metadata(change->object);
	autounref void *object = api_ref(change->object);
	stream->version = change->version;
	if (!is_shown(stream->what, object))
		return;
	key_of(meta->namespace, meta->name, key);
	if (change->type == CHANGE_DELETED)
		show(stream, key, NULL, object);
	else
		show(stream, key, object, NULL);
}

/* A list: what happened in between is never told. */
static void relist(struct stream *stream)
{
	struct collection *c = stream->collection;
	stream->next = c->first + c->len;
	stream->version = server.version;
	for (size_t i = 0; i < stream->seen.len;) {
		const char *key = stream->seen.items[i].key;
		if (table_get(&c->objects, key)) {
			i++;
			continue;
		}
		autofree char *copy = xstrdup(key);
		show(stream, copy, NULL, NULL);
	}
	for (size_t i = 0; i < c->objects.len; i++) {
		void *object = c->objects.items[i].object, *seen = table_get(&stream->seen, c->objects.items[i].key);
		if (is_shown(stream->what, object) && (!seen || object_version(seen) != object_version(object)))
			show(stream, c->objects.items[i].key, object, NULL);
	}
}

static bool has_news(const struct stream *stream)
{
	return stream->open && stream->next < stream->collection->first + stream->collection->len;
}

static struct stream *stream_at(size_t i)
{
	return i < CACHED_COUNT ? &manager.caches[i] : &manager.collector[i - CACHED_COUNT];
}

bool manager_sim_deliver(void)
{
	size_t count = 0, pick;
	for (size_t i = 0; i < 2 * CACHED_COUNT; i++)
		count += has_news(stream_at(i)) && stream_at(i)->frozen_until <= sim.step;
	if (!count)
		return false;
	pick = sim_random(count);
	for (size_t i = 0; i < 2 * CACHED_COUNT; i++) {
		struct stream *stream = stream_at(i);
		if (!has_news(stream) || stream->frozen_until > sim.step || pick--)
			continue;
		if (!sim.settling && sim_chance(5)) {
			sim_log("watch of %s%s: 410, lists again", stream->collection->resource->plural, stream->collector ? " (collector)" : "");
			relist(stream);
			return true;
		}
		for (uint64_t n = 1 + sim_random(6); n && has_news(stream); n--)
			deliver_one(stream);
		return true;
	}
	return false;
}

void manager_sim_trim(void)
{
	for (size_t i = 0; i < server.count; i++) {
		struct collection *c = &server.collections[i];
		size_t before = c->first + c->len;
		for (size_t j = 0; j < 2 * CACHED_COUNT; j++)
			if (stream_at(j)->open && stream_at(j)->collection == c)
				before = min_of(before, stream_at(j)->next);
		collection_trim(c, before);
	}
}

void manager_sim_weather(void)
{
	struct stream *stream = stream_at(sim_random(2 * CACHED_COUNT));
	manager_sim_trim();
	if (stream->open && sim_chance(400)) {
		stream->frozen_until = sim.step + sim_random(600);
		sim_log("watch of %s%s stands still until step %zu", stream->collection->resource->plural, stream->collector ? " (collector)" : "",
			stream->frozen_until);
	}
}

void manager_sim_calm(void)
{
	for (size_t i = 0; i < 2 * CACHED_COUNT; i++)
		stream_at(i)->frozen_until = 0;
}

uint64_t manager_sim_cache_version(enum cached what)
{
	return manager.caches[what].open ? manager.caches[what].version : server.version;
}

/* ---- the world, as reconcilers see it ---- */

static struct stream *cache_of(enum cached what)
{
	if (!manager.caches[what].open)
		sim_fail("%s reads the cache of %s, which its row does not name", manager.current ? manager.current->of->reconciler.controller->name : "?",
			cached_resource(what)->plural);
	return &manager.caches[what];
}

static void *sim_find(struct world *world, enum cached what, const char *ns, const char *name)
{
	char key[KEY_SIZE];
	void *found = table_get(&cache_of(what)->seen, key_of(ns, name, key));
	return found ? api_ref(found) : NULL;
}

struct match {
	const char *value;
	bool found;
};

static void match_value(const char *value, void *arg)
{
	struct match *match = arg;
	match->found |= str_equal(value, match->value);
}

static bool in_index(const void *object, const char *index, const char *value)
{
	struct match match = {.value = value};
	if (!index)
		return true;
	if (str_equal(index, INFORMER_INDEX_NAMESPACE))
		return str_equal(api_metadata(object)->namespace, value);
	if (str_equal(index, INDEX_OWNER))
		index_owner(object, match_value, &match);
	else if (str_equal(index, INDEX_NODE))
		informer_index_pod_node(object, match_value, &match);
	else if (str_equal(index, INDEX_SERVICE))
		index_service(object, match_value, &match);
	else if (str_equal(index, INDEX_CLAIM))
		index_claims(object, match_value, &match);
	else if (str_equal(index, INDEX_POOL))
		index_pools(object, match_value, &match);
	else
		sim_fail("the simulator does not know the index %s", index);
	return match.found;
}

static void sim_list(struct world *world, enum cached what, const char *index, const char *value, struct informer_list *ret)
{
	const struct table *seen = &cache_of(what)->seen;
	size_t start = seen->len ? sim_random(seen->len) : 0; /* an informer's order means nothing either */
	for (size_t i = 0; i < seen->len; i++) {
		void *object = seen->items[(start + i) % seen->len].object;
		if (in_index(object, index, value))
			informer_list_add(ret, api_ref(object));
	}
}

static uint64_t sim_version(struct world *world, enum cached what)
{
	return cache_of(what)->version;
}

static int process_is_dead(struct error *err)
{
	return error_set(err, ECANCELED, "the process has died");
}

static int refuse(struct error *err)
{
	switch (sim_random(5)) {
	case 0:
		return error_status(err, 429, "TooManyRequests", "slow down (simulated)");
	case 1:
		return error_status(err, 500, "InternalError", "etcd has no leader (simulated)");
	case 2:
		return error_status(err, 503, "ServiceUnavailable", "shutting down (simulated)");
	case 3:
		return error_status(err, 504, "Timeout", "timed out (simulated)");
	default:
		return error_set(err, ECONNREFUSED, "connection refused (simulated)");
	}
}

static int lose(struct error *err)
{
	return sim_chance(500) ? error_status(err, 504, "Timeout", "timed out (simulated)") : error_set(err, ECONNRESET, "connection lost (simulated)");
}

static const char *name_of_current(void)
{
	return manager.current ? manager.current->of->reconciler.controller->name : "start";
}

/* The server goes on with this worker's request. */
static void enter_server(void)
{
	server.actor = ACTOR_MANAGER;
	server.controller = name_of_current();
}

static void leave_server(void)
{
	server.actor = ACTOR_USER;
	server.controller = NULL;
}

/* A worker waits for something outside of it. */
static void travel(void)
{
	struct work *work = manager.current;
	leave_server();
	fiber_stop();
	manager.current = work;
}

static bool between_charge_and_store(void)
{
	if (!fiber_inside())
		return true;
	travel();
	enter_server();
	return !manager.dead || sim_chance(500);
}

static int apply(const struct write *w, void **ret, struct error *err)
{
	struct collection *c = collection_of(w->resource);
	json_t *tree;
	int r = -EINVAL;
	if (!c)
		return error_status(err, 404, "NotFound", "no such resource here");
	enter_server();
	switch (w->verb) {
	case WRITE_CREATE:
		r = w->subresource ? error_status(err, 404, "NotFound", "no such subresource here") : server_create(c, w->ns, w->object, ret, err);
		break;
	case WRITE_UPDATE:
		r = server_update(c, w->ns, w->name, w->subresource, w->object, ret, err);
		break;
	case WRITE_PATCH:
		tree = json_loads(w->patch, 0, NULL);
		if (!tree || (!w->manager && !str_equal(w->content_type, "application/merge-patch+json")))
			sim_fail("%s sends a patch that the simulator does not know: %s", name_of_current(), w->content_type);
		r = server_patch(c, w->ns, w->name, w->subresource, tree, ret, err);
		json_decref(tree);
		break;
	case WRITE_DELETE:
		r = server_delete(c, w->ns, w->name, &w->delete_options, err);
		break;
	}
	leave_server();
	return r;
}

/* What the weather makes of a request on its way there: 0: it arrives. */
static int on_the_way(bool reads, bool may_conflict, struct error *err)
{
	if (sim_chance(reads ? sim.faults.reads : sim.faults.refused))
		return refuse(err);
	if (may_conflict && sim_chance(sim.faults.conflict))
		return error_status(err, 409, "Conflict", "the object has been modified (simulated)");
	return 0;
}

static const char *const verbs[] = {"creates", "updates", "patches", "deletes"};

static void tell_write(const struct write *w, int r, const struct error *err, const char *how)
{
	const char *name = str_or(w->name, w->object ? str_or(api_metadata(w->object)->name, str_or(api_metadata(w->object)->generate_name, "")) : "");
	sim_log("%s[%s] %s %s%s%s %s/%s%s%s%s", name_of_current(), manager.current ? manager.current->key : "", verbs[w->verb], w->resource->plural,
		w->subresource ? "/" : "", str_or(w->subresource, ""), str_or(w->ns, ""), name, how, r ? ": " : "", r ? error_message(err) : "");
}

static int sim_write(struct world *world, const struct write *w, void **ret, struct error *err)
{
	if (manager.dead)
		return process_is_dead(err);
	if (!fiber_inside())
		return apply(w, ret, err);
	autounref void *result = NULL;
	autoerror struct error failed = {0};
	travel();
	if (manager.dead) {
		if (sim_chance(500)) {
			int r = apply(w, NULL, &failed);
			tell_write(w, r, &failed, " (after its process died)");
		}
		return process_is_dead(err);
	}
	int r = on_the_way(false, w->verb == WRITE_UPDATE, &failed);
	r = r ? r : apply(w, &result, &failed);
	bool lost = !r && sim_chance(sim.faults.lost);
	tell_write(w, r, &failed, lost ? " (answer lost)" : "");
	if (r && (error_is(&failed, "Invalid") || error_is(&failed, "BadRequest")))
		sim_fail("%s wrote what no server takes: %s", name_of_current(), error_message(&failed));
	travel();
	if (manager.dead)
		return process_is_dead(err);
	if (lost)
		return lose(err);
	if (r)
		return error_move(err, &failed);
	if (ret)
		*ret = take_ptr(result);
	return 0;
}

static int sim_get(struct world *world, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err)
{
	struct collection *c = collection_of(resource);
	autounref void *result = NULL;
	autoerror struct error failed = {0};
	if (manager.dead)
		return process_is_dead(err);
	if (fiber_inside())
		travel();
	int r = manager.dead || !fiber_inside() ? 0 : on_the_way(true, false, &failed);
	r = r ? r : server_get(c, ns, name, &result, &failed);
	if (fiber_inside())
		travel();
	if (manager.dead)
		return process_is_dead(err);
	if (r)
		return error_move(err, &failed);
	*ret = take_ptr(result);
	return 0;
}

static int sim_request(struct world *world, const struct client_request *request, struct buf *body, int *ret_status, struct error *err)
{
	autoerror struct error failed = {0};
	bool reads = str_equal(request->method, "GET");
	if (manager.dead)
		return process_is_dead(err);
	if (!fiber_inside())
		return server_request(request, body, err);
	travel();
	if (manager.dead && (reads || sim_chance(500)))
		return process_is_dead(err);
	int r = manager.dead ? 0 : on_the_way(reads, false, &failed);
	enter_server();
	r = r ? r : server_request(request, body, &failed);
	leave_server();
	bool lost = !r && !reads && sim_chance(sim.faults.lost);
	if (!reads)
		sim_log("%s[%s] %s %s %.*s%s%s%s", name_of_current(), manager.current->key, request->method, request->path, (int)request->body_len, str_or(request->body, ""),
			lost ? " (answer lost)" : "", r ? ": " : "", r ? error_message(&failed) : "");
	travel();
	if (manager.dead)
		return process_is_dead(err);
	if (lost)
		return lose(err);
	return r ? error_move(err, &failed) : 0;
}

static void sim_event(struct world *world, const char *component, const void *object, const char *type, const char *reason, const char *message)
{
	if (str_equal(type, EVENT_WARNING))
		sim_log("event of %s: %s %s: %s", component, api_metadata(object)->name, reason, message);
}

static void sim_name_suffix(struct world *world, char *out, size_t len)
{
	snprintf(out, len + 1, "%0*llx", (int)len, (unsigned long long)sim_random(1ULL << 4 * len));
}

static const struct world_ops ops = {
	.name_suffix = sim_name_suffix,
	.find = sim_find,
	.list = sim_list,
	.version = sim_version,
	.get = sim_get,
	.write = sim_write,
	.request = sim_request,
	.event = sim_event,
};

/* ---- workers ---- */

static void work(void *arg)
{
	struct work *work = arg;
	struct workqueue *queue = work->of->reconciler.queue;
	autoerror struct error err = {0};
	int r = reconciler_run(&work->of->reconciler, work->key, &err);
	if (r < 0)
		sim_log("%s[%s] failed: %s", work->of->reconciler.controller->name, work->key, error_message(&err));
	workqueue_settle(queue, work->key, r);
	workqueue_done(queue, work->key);
}

static void go_on(struct work *w)
{
	manager.current = w;
	fiber_resume(w->fiber);
	manager.current = NULL;
}

static void end_work(struct work *w)
{
	w->of->busy--;
	free(w->key);
	w->key = NULL;
	w->of = NULL;
}

static bool may_begin(struct running *running, int64_t now)
{
	return running->reconciler.queue && running->busy < WORKERS_EACH && workqueue_next_due(running->reconciler.queue) <= now;
}

bool manager_sim_begin_work(void)
{
	int64_t now = clock_monotonic_ns();
	struct work *free_work = NULL;
	size_t count = 0;
	for (size_t i = 0; i < MAX_WORKS && !free_work; i++)
		if (!manager.works[i].of)
			free_work = &manager.works[i];
	for (size_t i = 0; i < manager.count && free_work; i++)
		count += may_begin(&manager.running[i], now);
	if (!count)
		return false;
	size_t pick = sim_random(count);
	for (size_t i = 0; i < manager.count; i++) {
		struct running *running = &manager.running[i];
		if (!may_begin(running, now) || pick--)
			continue;
		free_work->key = workqueue_try_get(running->reconciler.queue);
		if (!free_work->key)
			return false;
		running->busy++;
		free_work->of = running;
		free_work->began = sim.step;
		if (!free_work->fiber)
			free_work->fiber = fiber_new();
		manager.current = free_work;
		fiber_start(free_work->fiber, work, free_work);
		manager.current = NULL;
		if (fiber_is_idle(free_work->fiber))
			end_work(free_work);
		return true;
	}
	return false;
}

bool manager_sim_continue_work(void)
{
	size_t count = 0;
	for (size_t i = 0; i < MAX_WORKS; i++)
		count += manager.works[i].of != NULL;
	if (!count)
		return false;
	size_t pick = sim_random(count);
	for (size_t i = 0; i < MAX_WORKS; i++) {
		struct work *w = &manager.works[i];
		if (!w->of || pick--)
			continue;
		go_on(w);
		if (fiber_is_idle(w->fiber))
			end_work(w);
		return true;
	}
	return false;
}

int64_t manager_sim_next_due(void)
{
	int64_t due = INT64_MAX;
	for (size_t i = 0; i < manager.count; i++)
		if (manager.running[i].reconciler.queue)
			due = min_of(due, workqueue_next_due(manager.running[i].reconciler.queue));
	return due;
}

bool manager_sim_is_idle(void)
{
	for (size_t i = 0; i < MAX_WORKS; i++)
		if (manager.works[i].of)
			return false;
	for (size_t i = 0; i < 2 * CACHED_COUNT; i++)
		if (has_news(stream_at(i)))
			return false;
	return manager_sim_next_due() > clock_monotonic_ns();
}

size_t manager_sim_oldest_work(const char *controller)
{
	size_t oldest = SIZE_MAX;
	for (size_t i = 0; i < MAX_WORKS; i++)
		if (manager.works[i].of && str_equal(manager.works[i].of->reconciler.controller->name, controller))
			oldest = min_of(oldest, manager.works[i].began);
	return oldest;
}

/* ---- life and death ---- */

static void open_stream(struct stream *stream, enum cached what, bool collector)
{
	if (stream->open)
		return;
	*stream = (struct stream){.collection = collection_for(what), .what = what, .open = true, .collector = collector};
}

static void start_controllers(void)
{
	manager.running = xcalloc(controller_count, sizeof(struct running));
	for (size_t i = 0; i < controller_count; i++) {
		const struct controller *controller = controllers[i];
		if (!controller_is_enabled(controller, &manager.settings.controllers) || (controller->enabled && !controller->enabled(&manager.settings)))
			continue;
		struct running *running = &manager.running[manager.count++];
		running->reconciler = reconciler_make(controller, &manager.world, NULL);
		running->reconciler.queue = controller->workers ? workqueue_new(&(struct workqueue_options){.name = controller->name, .base_delay_ns = controller->retry_first_ms * NSEC_PER_MSEC, .max_delay_ns = controller->retry_most_ms * NSEC_PER_MSEC}) : NULL;
		for (const struct controller_watch *watch = controller->watches; watch && watch->what != CACHED_NONE; watch++)
			open_stream(&manager.caches[watch->what], watch->what, false);
		if (str_equal(controller->name, "garbage-collector-controller"))
			manager.gc = &running->reconciler;
	}
}

/* Informers list side by side: any of them may be the first to have its objects. */
static void fill_caches(void)
{
	size_t first = sim_random(CACHED_COUNT);
	for (size_t i = 0; i < CACHED_COUNT; i++)
		if (manager.caches[(first + i) % CACHED_COUNT].open)
			relist(&manager.caches[(first + i) % CACHED_COUNT]);
}

static void fill_collector(void)
{
	autoerror struct error err = {0};
	if (reconciler_run(manager.gc, DISCOVERY_KEY, &err) < 0)
		sim_fail("discovery fails without a fault: %s", error_message(&err));
	for (size_t i = 0; i < server.count; i++) {
		enum cached what = server.collections[i].what;
		open_stream(&manager.collector[what], what, true);
		relist(&manager.collector[what]);
	}
}

void manager_sim_start(void)
{
	autoerror struct error err = {0};
	char program[] = "simulation", cidrs[] = "--allocate-node-cidrs=true", range[] = "--cluster-cidr=10.64.0.0/12", ca[] = "--root-ca-file=/dev/null";
	char *argv[] = {program, cidrs, range, ca};
	if (flags_parse(settings_flags, settings_flag_count, array_len(argv), argv, &manager.settings, NULL, &err))
		sim_fail("flags: %s", error_message(&err));
	manager.world = (struct world){.ops = &ops, .settings = &manager.settings};
	server.between = between_charge_and_store;
	start_controllers();
	fill_caches();
	for (size_t i = 0; i < manager.count; i++)
		if (manager.running[i].reconciler.controller->started)
			manager.running[i].reconciler.controller->started(&manager.running[i].reconciler);
	if (manager.gc)
		fill_collector();
	sim_log("a manager has started");
}

void manager_sim_crash(void)
{
	sim_log("the manager dies");
	manager.dead = true;
	for (size_t i = 0; i < MAX_WORKS; i++) {
		struct work *w = &manager.works[i];
		while (w->of) {
			go_on(w);
			if (fiber_is_idle(w->fiber))
				end_work(w);
		}
		fiber_free(w->fiber);
		w->fiber = NULL;
	}
	for (size_t i = 0; i < manager.count; i++) {
		struct reconciler *r = &manager.running[i].reconciler;
		if (r->controller->stopping)
			r->controller->stopping(r);
		workqueue_free(r->queue);
		if (r->controller->state_free)
			r->controller->state_free(r->state);
	}
	for (size_t i = 0; i < 2 * CACHED_COUNT; i++) {
		table_done(&stream_at(i)->seen);
		stream_at(i)->open = false;
	}
	free(manager.running);
	flags_done(settings_flags, settings_flag_count, &manager.settings);
	memset(&manager, 0, sizeof(manager));
}
