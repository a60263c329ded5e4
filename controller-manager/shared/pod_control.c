/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing pods: expectations, events, slow start. */
#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <pthread.h>

#define STATUS_PATCH_MAX ((size_t)1 << 20)
#define EXPECTATIONS_TIMEOUT_NS (5 * 60 * NSEC_PER_SEC)

struct pending_delete {
	char *ns, *name, *uid;
};

struct expectation {
	uint64_t created_version; /* the cache must reach it */
	struct pending_delete *deletes;
	size_t delete_count;
	int64_t since_ns;
};

struct expectations {
	pthread_mutex_t lock;
	struct map by_key;
};

static void drop_delete(struct expectation *e, size_t index)
{
	free(e->deletes[index].ns);
	free(e->deletes[index].name);
	free(e->deletes[index].uid);
	e->deletes[index] = e->deletes[--e->delete_count];
}

static void expectation_free(void *value)
{
	struct expectation *e = value;
	while (e->delete_count)
		drop_delete(e, e->delete_count - 1);
	free(e->deletes);
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
	e->created_version = max_of(e->created_version, version);
	pthread_mutex_unlock(&expectations->lock);
}

void expectations_deleted(struct expectations *expectations, const char *key, const void *deleted)
{
	const struct meta_v1_object_meta *meta = api_metadata(deleted);
	pthread_mutex_lock(&expectations->lock);
	struct expectation *e = expectation_of(expectations, key);
	e->deletes = xreallocarray(e->deletes, e->delete_count + 1, sizeof(*e->deletes));
	e->deletes[e->delete_count++] =
		(struct pending_delete){xstrdup(str_or(meta->namespace, "")), xstrdup(meta->name), xstrdup(str_or(meta->uid, ""))};
	pthread_mutex_unlock(&expectations->lock);
}

/* The cache no longer has it, or shows it going. */
static bool delete_is_seen(struct world *world, enum cached what, const struct pending_delete *d)
{
	autounref void *object = world_find(world, what, d->ns, d->name);
	const struct meta_v1_object_meta *meta = object ? api_metadata(object) : NULL;
	return !meta || !str_equal(meta->uid, d->uid) || meta->deletion_timestamp.set;
}

bool expectations_satisfied(struct expectations *expectations, struct world *world, enum cached what, const char *key)
{
	uint64_t version = world_version(world, what);
	pthread_mutex_lock(&expectations->lock);
	struct expectation *e = map_get(&expectations->by_key, key);
	bool satisfied = !e || clock_monotonic_ns() - e->since_ns > EXPECTATIONS_TIMEOUT_NS;
	if (!satisfied) {
		for (size_t i = 0; i < e->delete_count;) {
			if (delete_is_seen(world, what, &e->deletes[i]))
				drop_delete(e, i);
			else
				i++;
		}
		satisfied = !e->delete_count && version >= e->created_version;
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

int pod_create(struct reconciler *r, const void *owner, const struct core_v1_pod *pod, struct expectations *expectations, const char *key,
	struct error *err)
{
	autoerror struct error failed = {0};
	autounref struct core_v1_pod *created = NULL;
	int result = world_create(r->world, CACHED_PODS, pod, (void **)&created, &failed);
	if (result) {
		/* A namespace that goes takes its pods with it: nothing to tell anybody. */
		if (!namespace_is_going(&failed))
			reconciler_event(r, owner, EVENT_WARNING, "FailedCreate", "Error creating: %s", error_message(&failed));
		return error_move(err, &failed);
	}
	if (expectations && created)
		expectations_created(expectations, key, created);
	reconciler_event(r, owner, EVENT_NORMAL, "SuccessfulCreate", "Created pod: %s",
		created ? created->metadata.name : str_or(pod->metadata.name, pod->metadata.generate_name));
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
		reconciler_event(r, owner, EVENT_WARNING, "FailedDelete", "Error deleting: %s", error_message(&failed));
		if (expectations)
			expectations_forget(expectations, key);
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

/* ---- batches: several threads, because each create waits for etcd ---- */

#define BATCH_THREADS 16 /* at most */

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
