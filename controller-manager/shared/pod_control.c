/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing pods: expectations, events, slow start. */
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>

#define STATUS_PATCH_MAX ((size_t)1 << 20)
#define GENERATED_SUFFIX 5    /* characters */
#define MAX_GENERATED_NAME 63 /* the base of a longer one is cut */
#define EXPECTATIONS_TIMEOUT_NS (5 * 60 * NSEC_PER_SEC)

/* An object that a write was about. */
struct subject {
	char *ns, *name, *uid; /* uid NULL: it was to be made or changed, else deleted */
};
struct subjects {
	struct subject *items;
	size_t len;
};

struct expectation {
	uint64_t version;          /* the cache must reach it */
	struct subjects deletes;   /* the cache must show them going */
	struct subjects uncertain; /* the server has to be asked */
	int64_t since_ns;
};

struct expectations {
	pthread_mutex_t lock;
	struct map by_key;
};

static void subjects_add(struct subjects *list, const struct meta_v1_object_meta *meta, bool deletion)
{
	list->items = xreallocarray(list->items, list->len + 1, sizeof(*list->items));
	list->items[list->len++] =
		(struct subject){xstrdup(str_or(meta->namespace, "")), xstrdup(meta->name), deletion ? xstrdup(str_or(meta->uid, "")) : NULL};
}

static void subjects_drop(struct subjects *list, size_t index)
{
	free(list->items[index].ns);
	free(list->items[index].name);
	free(list->items[index].uid);
	list->items[index] = list->items[--list->len];
}

static void subjects_done(struct subjects *list)
{
	while (list->len)
		subjects_drop(list, list->len - 1);
	free(list->items);
	*list = (struct subjects){0};
}

static void expectation_free(void *value)
{
	struct expectation *e = value;
	subjects_done(&e->deletes);
	subjects_done(&e->uncertain);
	free(e);
}

struct expectations *expectations_new(void)
{
	struct expectations *expectations = xnew(struct expectations);
	pthread_mutex_init(&expectations->lock, NULL);
	expectations->by_key = MAP_INIT(expectation_free);
	return expectations;
}

void expectations_free(struct expectations *expectations)
{
	if (!expectations)
		return;
	map_done(&expectations->by_key);
	pthread_mutex_destroy(&expectations->lock);
	free(expectations);
}

static struct expectation *expectation_of(struct expectations *expectations, const char *key)
{
	struct expectation *e = map_get(&expectations->by_key, key);
	if (!e) {
		e = xnew(struct expectation);
		map_set(&expectations->by_key, key, e);
	}
	e->since_ns = clock_monotonic_ns();
	return e;
}

void expectations_created(struct expectations *expectations, const char *key, const void *created)
{
	uint64_t version = object_version(created);
	pthread_mutex_lock(&expectations->lock);
	struct expectation *e = expectation_of(expectations, key);
	e->version = max_of(e->version, version);
	pthread_mutex_unlock(&expectations->lock);
}

void expectations_deleted(struct expectations *expectations, const char *key, const void *deleted)
{
	pthread_mutex_lock(&expectations->lock);
	subjects_add(&expectation_of(expectations, key)->deletes, api_metadata(deleted), true);
	pthread_mutex_unlock(&expectations->lock);
}

void expectations_failed(struct expectations *expectations, const char *key, const void *object, const struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	bool deletion = false;
	pthread_mutex_lock(&expectations->lock);
	struct expectation *e = expectation_of(expectations, key);
	for (size_t i = 0; i < e->deletes.len && !deletion; i++) {
		deletion = !str_empty(meta->uid) && str_equal(e->deletes.items[i].uid, meta->uid);
		if (deletion)
			subjects_drop(&e->deletes, i);
	}
	if (write_is_uncertain(err) && !str_empty(meta->name))
		subjects_add(&e->uncertain, meta, deletion);
	pthread_mutex_unlock(&expectations->lock);
}

/* The cache no longer has it, or shows it going. */
static bool delete_is_seen(struct world *world, enum cached what, const struct subject *d)
{
	autounref void *object = world_find(world, what, *d->ns ? d->ns : NULL, d->name);
	const struct meta_v1_object_meta *meta = object ? api_metadata(object) : NULL;
	return !meta || !str_equal(meta->uid, d->uid) || meta->deletion_timestamp.set;
}

/* Asks the server what became of one write, and turns it into something to wait for, or nothing. */
static int ask_for(struct expectations *expectations, struct world *world, enum cached what, const char *key, const struct subject *subject,
	struct error *err)
{
	autoerror struct error failed = {0};
	autounref void *live = NULL;
	int r = world_get(world, what, *subject->ns ? subject->ns : NULL, subject->name, &live, &failed);
	if (r && !error_is(&failed, "NotFound"))
		return error_move(err, &failed);
	const struct meta_v1_object_meta *meta = live ? api_metadata(live) : NULL;
	bool gone = !meta || (subject->uid && !str_equal(meta->uid, subject->uid));
	if (subject->uid && (gone || meta->deletion_timestamp.set)) {
		struct meta_v1_object_meta told = {.namespace = subject->ns, .name = subject->name, .uid = subject->uid};
		pthread_mutex_lock(&expectations->lock);
		subjects_add(&expectation_of(expectations, key)->deletes, &told, true);
		pthread_mutex_unlock(&expectations->lock);
	} else if (live && !subject->uid) {
		expectations_created(expectations, key, live);
	}
	return 0;
}

static int settle_uncertain(struct expectations *expectations, struct world *world, enum cached what, const char *key, struct error *err)
{
	struct subjects asked = {0};
	int r = 0;
	pthread_mutex_lock(&expectations->lock);
	struct expectation *e = map_get(&expectations->by_key, key);
	if (e) {
		asked = e->uncertain;
		e->uncertain = (struct subjects){0};
	}
	pthread_mutex_unlock(&expectations->lock);
	while (asked.len && !r) {
		r = ask_for(expectations, world, what, key, &asked.items[asked.len - 1], err);
		if (!r)
			subjects_drop(&asked, asked.len - 1);
	}
	/* What could not be asked is asked the next time. */
	pthread_mutex_lock(&expectations->lock);
	for (size_t i = 0; i < asked.len; i++) {
		struct meta_v1_object_meta told = {.namespace = asked.items[i].ns, .name = asked.items[i].name, .uid = asked.items[i].uid};
		subjects_add(&expectation_of(expectations, key)->uncertain, &told, asked.items[i].uid != NULL);
	}
	pthread_mutex_unlock(&expectations->lock);
	subjects_done(&asked);
	return r;
}

int expectations_check(struct expectations *expectations, struct world *world, enum cached what, const char *key, struct error *err)
{
	int r = settle_uncertain(expectations, world, what, key, err);
	if (r)
		return r;
	uint64_t version = world_version(world, what);
	pthread_mutex_lock(&expectations->lock);
	struct expectation *e = map_get(&expectations->by_key, key);
	bool satisfied = !e || clock_monotonic_ns() - e->since_ns > EXPECTATIONS_TIMEOUT_NS;
	if (!satisfied) {
		for (size_t i = 0; i < e->deletes.len;) {
			if (delete_is_seen(world, what, &e->deletes.items[i]))
				subjects_drop(&e->deletes, i);
			else
				i++;
		}
		satisfied = !e->deletes.len && version >= e->version;
	}
	if (e && satisfied)
		map_remove(&expectations->by_key, key);
	pthread_mutex_unlock(&expectations->lock);
	return satisfied;
}

void expectations_forget(struct expectations *expectations, const char *key)
{
	pthread_mutex_lock(&expectations->lock);
	map_remove(&expectations->by_key, key);
	pthread_mutex_unlock(&expectations->lock);
}

static bool namespace_is_going(const struct error *err)
{
	for (size_t i = 0; i < err->cause_count; i++)
		if (str_equal(err->causes[i].reason, META_V1_CAUSE_TYPE_NAMESPACE_TERMINATING))
			return true;
	return false;
}

/* As the server does with generateName, from the same alphabet. */
void object_choose_name(struct world *world, void *object)
{
	struct meta_v1_object_meta *meta = api_metadata(object);
	char suffix[GENERATED_SUFFIX + 1];
	if (world->ops->name_suffix)
		world->ops->name_suffix(world, suffix, GENERATED_SUFFIX);
	else
		random_name_suffix(suffix, GENERATED_SUFFIX);
	meta->name = arena_printf(api_arena(object), "%.*s%s", MAX_GENERATED_NAME - GENERATED_SUFFIX, meta->generate_name, suffix);
}

bool object_is_own(struct world *world, enum cached what, const void *object, void **ret)
{
	autounref void *live = NULL;
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct meta_v1_owner_reference *owner = owner_controller(meta);
	if (world_get(world, what, meta->namespace, meta->name, &live, NULL) || !owner || !owner_is_controller(api_metadata(live), owner->uid))
		return false;
	*ret = take_ptr(live);
	return true;
}

int pod_create(struct reconciler *r, const void *owner, const struct core_v1_pod *pod, struct expectations *expectations, const char *key,
	struct error *err)
{
	autoerror struct error failed = {0};
	autounref struct core_v1_pod *created = NULL, *named = NULL;
	bool generated = str_empty(pod->metadata.name) && !str_empty(pod->metadata.generate_name);
	if (generated) {
		named = api_copy(pod);
		object_choose_name(r->world, named);
		pod = named;
	}
	int result = world_create(r->world, CACHED_PODS, pod, (void **)&created, &failed);
	if (result && generated && error_is(&failed, "AlreadyExists") && object_is_own(r->world, CACHED_PODS, pod, (void **)&created))
		result = 0;
	if (result) {
		if (expectations)
			expectations_failed(expectations, key, pod, &failed);
		/* A namespace that goes takes its pods with it: nothing to tell anybody. */
		if (!namespace_is_going(&failed))
			reconciler_event(r, owner, EVENT_WARNING, "FailedCreate", "Error creating: %s", error_message(&failed));
		return error_move(err, &failed);
	}
	if (expectations && created)
		expectations_created(expectations, key, created);
	reconciler_event(r, owner, EVENT_NORMAL, "SuccessfulCreate", "Created pod: %s", pod->metadata.name);
	return 0;
}

int pod_delete(struct reconciler *r, const void *owner, const struct core_v1_pod *pod, struct expectations *expectations, const char *key,
	struct error *err)
{
	autoerror struct error failed = {0};
	if (expectations)
		expectations_deleted(expectations, key, pod);
	int result = world_delete(r->world, CACHED_PODS, pod, NULL, &failed);
	if (result) {
		if (expectations)
			expectations_failed(expectations, key, pod, &failed);
		reconciler_event(r, owner, EVENT_WARNING, "FailedDelete", "Error deleting: %s", error_message(&failed));
		return error_move(err, &failed);
	}
	reconciler_event(r, owner, EVENT_NORMAL, "SuccessfulDelete", "Deleted pod: %s", pod->metadata.name);
	return 0;
}

int pod_write_conditions(struct reconciler *r, const struct core_v1_pod *changed, struct error *err)
{
	const struct core_v1_pod_status part = {.phase = changed->status.phase, .conditions = changed->status.conditions};
	autobuf struct buf patch = BUF_INIT(STATUS_PATCH_MAX);
	buf_printf(&patch, "{\"metadata\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\"},\"status\":", str_or(changed->metadata.uid, ""), str_or(changed->metadata.resource_version, ""));
	api_encode_json(&core_v1_pod_status_type, &part, &patch);
	buf_append_char(&patch, '}');
	if (buf_failed(&patch))
		return error_set(err, EFBIG, "conditions of pod %s are too long", changed->metadata.name);
	autoerror struct error failed = {0};
	int result = world_merge_patch(r->world, CACHED_PODS, changed->metadata.namespace, changed->metadata.name, "status", patch.data, &failed);
	return result && !error_is(&failed, "NotFound") ? error_move(err, &failed) : 0;
}

int pod_disrupt(struct reconciler *r, const struct core_v1_pod *pod, const char *reason, const char *message, struct error *err)
{
	autounref struct core_v1_pod *copy = api_copy(pod);
	int result = 0;
	if (pod_set_condition(api_arena(copy), copy, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET, "True", reason, message))
		result = pod_write_conditions(r, copy, err);
	return result ? result : world_delete(r->world, CACHED_PODS, pod, NULL, err);
}

/* ---- batches: several threads, because each create waits for etcd ---- */

#define BATCH_THREADS 32 /* at most */

struct batch {
	pthread_mutex_t lock;
	unsigned threads;
	size_t next, end, done;
	int (*fn)(size_t index, void *arg, struct error *err);
	void *arg;
	struct error first_error;
};

static void *batch_work(void *arg)
{
	struct batch *batch = arg;
	for (;;) {
		pthread_mutex_lock(&batch->lock);
		size_t index = batch->next < batch->end ? batch->next++ : SIZE_MAX;
		pthread_mutex_unlock(&batch->lock);
		if (index == SIZE_MAX)
			return NULL;
		autoerror struct error err = {0};
		int r = batch->fn(index, batch->arg, &err);
		pthread_mutex_lock(&batch->lock);
		if (r == 0)
			batch->done++;
		else if (!batch->first_error.errnum)
			error_move(&batch->first_error, &err);
		pthread_mutex_unlock(&batch->lock);
	}
}

static void batch_run(struct batch *batch)
{
	pthread_t threads[BATCH_THREADS];
	size_t wanted = min_of((batch->end - batch->next + 3) / 4, (size_t)batch->threads), started = 0;
	while (started + 1 < wanted && pthread_create(&threads[started], NULL, batch_work, batch) == 0)
		started++;
	batch_work(batch);
	for (size_t i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
}

size_t slow_start(const struct world *world, size_t count, int (*fn)(size_t index, void *arg, struct error *err), void *arg, struct error *err)
{
	struct batch batch = {.lock = PTHREAD_MUTEX_INITIALIZER, .threads = min_of(world->batch_threads, (unsigned)BATCH_THREADS), .fn = fn, .arg = arg};
	for (size_t size = 1; batch.next < count && !batch.first_error.errnum; size *= 2) {
		batch.end = min_of(batch.next + size, count);
		batch_run(&batch);
	}
	error_move(err, &batch.first_error);
	pthread_mutex_destroy(&batch.lock);
	return batch.done;
}
