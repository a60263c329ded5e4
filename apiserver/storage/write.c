/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes: one etcd transaction each, that compares the key's mod_revision. etcd's answer names the revision of the write; the writer is
 * called back when the event of that revision has reached the cache, whichever of the two comes first.
 */
#include "apiserver/storage/internal.h"

#include <errno.h>

/* Between etcd's answer and the event; longer only where the watch is broken. */
#define EVENT_TIMEOUT_NS (10 * NSEC_PER_SEC)
#define MAX_WRITES 8192

struct write {
	struct list link;       /* in store->written */
	struct list lease_link; /* while it waits for a lease */
	struct collection *collection;
	char *path; /* below the store's prefix */
	struct buf value; /* of a put that needs a lease, until it has one */
	bool is_put, retried, guarded;
	uint64_t expected;
	int timeout_ms;
	int64_t lease_seconds, lease;
	store_write_done done;
	void *arg;
	uint64_t revision; /* of the write, once etcd has answered */
	int64_t deadline, started;
	int outcome;            /* while it is held */
	struct entry *current;
	struct entry *before; /* what a deletion takes away, as far as the cache knows */
};

struct list *write_lease_link(struct write *write)
{
	return &write->lease_link;
}

struct write *write_of_lease_link(struct list *link)
{
	return list_entry(link, struct write, lease_link);
}

/* Whether it says what is in etcd: such is told by a member alone. */
static bool tells(int errnum)
{
	return errnum == 0 || errnum == -EEXIST || errnum == -EAGAIN || errnum == -ENOENT || errnum == -ESTALE;
}

static void finish(struct write *write, int errnum, struct entry *current)
{
	struct store *store = write->collection->store;

	if (tells(errnum) && !store->closing && !members_inside(store->members)) {
		write->outcome = errnum;
		write->current = entry_ref(current);
		write->deadline = clock_monotonic_ns() + EVENT_TIMEOUT_NS;
		list_push_back(&store->held, &write->link);
		return;
	}
	atomic_fetch_sub(&store->writes, 1);
	write->done(errnum, current, write->arg);
	entry_unref(write->before);
	entry_unref(write->current);
	buf_done(&write->value);
	free(write->path);
	free(write);
}

struct late {
	struct write *write;
	int errnum;
};

static void finish_late(void *arg)
{
	struct late *late = arg;

	finish(late->write, late->errnum, NULL);
	free(late);
}

/* On the store's thread, from any. */
static void finish_later(struct write *write, int errnum)
{
	struct late *late;

	if (write->collection->store->closing)
		return finish(write, errnum, NULL);
	late = xnew(struct late);
	*late = (struct late){write, errnum};
	loop_post(write->collection->store->loop, finish_late, late);
}

static const char *key_of(const struct write *write)
{
	return write->path + write->collection->prefix_len;
}

/* ---- after the answer: waiting for the event ---- */

static void measure(struct write *write, bool failed)
{
	metrics_request(write->collection, !write->is_put ? METRICS_DELETE : write->expected ? METRICS_UPDATE : METRICS_CREATE, write->started, failed);
}

static void unlink_written(struct write *write)
{
	list_remove(&write->link);
	write->collection->store->written_count--;
}

/* A load has skipped the event itself: the state it brought stands for it. */
static void finish_without_event(struct write *write)
{
	struct collection *c = write->collection;
	autoentry struct entry *now = collection_get(c, key_of(write));
	autoentry struct entry *last = NULL;

	if (write->is_put) {
		/* Written it was; but where somebody has changed or deleted it since, what it was then is not at hand to be told. */
		bool same = now && now->resource_version == write->revision;
		finish(write, same ? 0 : -ETIMEDOUT, same ? now : NULL);
		return;
	}
	if (write->before)
		last = entry_copy(c, write->before, write->revision);
	finish(write, last ? 0 : -ENOENT, last);
}

void write_event(struct store *store, uint64_t revision, struct entry *entry)
{
	struct list *bucket = &store->written[revision % array_len(store->written)];
	struct write *write;

	if (store->written_count == 0)
		return;
	list_for_each (write, bucket, link) {
		if (write->revision != revision || strcmp(write->path, entry_path(entry)) != 0)
			continue;
		unlink_written(write);
		finish(write, 0, entry);
		return;
	}
}

/* The event of this write, where it came before etcd's answer. */
static struct entry *find_event(struct write *write)
{
	struct collection *c = write->collection;
	struct entry *found = NULL;
	size_t i;

	pthread_mutex_lock(&c->lock);
	i = history_after(&c->history, write->revision - 1);
	for (; !found && i < c->history.len && history_at(&c->history, i)->revision == write->revision; i++) {
		if (strcmp(history_at(&c->history, i)->entry->key, key_of(write)) == 0)
			found = entry_ref(history_at(&c->history, i)->entry);
	}
	pthread_mutex_unlock(&c->lock);
	return found;
}

static void await_event(struct write *write)
{
	struct store *store = write->collection->store;
	autoentry struct entry *entry = find_event(write);

	if (entry)
		return finish(write, 0, entry);
	if (atomic_load(&store->revision) >= write->revision)
		return finish_without_event(write);
	write->deadline = clock_monotonic_ns() + EVENT_TIMEOUT_NS;
	list_push_back(&store->written[write->revision % array_len(store->written)], &write->link);
	store->written_count++;
}

static void release(struct write *write, int errnum)
{
	autoentry struct entry *current = take_ptr(write->current);

	list_remove(&write->link);
	finish(write, errnum, errnum == write->outcome ? current : NULL);
}

void write_release(struct store *store)
{
	struct list released = LIST_INIT(released);
	struct write *write;

	list_splice_back(&released, &store->held);
	list_for_each (write, &released, link)
		release(write, write->outcome);
}

void write_expire(struct store *store)
{
	int64_t now = clock_monotonic_ns();
	uint64_t revision = atomic_load(&store->revision);
	struct write *write;

	list_for_each (write, &store->held, link) {
		if (write->deadline <= now)
			release(write, -ETIMEDOUT);
	}
	if (store->written_count == 0)
		return;
	for (size_t i = 0; i < array_len(store->written); i++) {
		list_for_each (write, &store->written[i], link) {
			if (write->revision <= revision) {
				unlink_written(write);
				finish_without_event(write);
			} else if (write->deadline <= now) {
				unlink_written(write);
				finish(write, -ETIMEDOUT, NULL);
			}
		}
	}
}

void write_abort(struct store *store)
{
	struct write *write;

	for (size_t i = 0; i < array_len(store->written); i++) {
		while ((write = list_first(&store->written[i], struct write, link))) {
			unlink_written(write);
			finish(write, -EIO, NULL);
		}
	}
	while ((write = list_first(&store->held, struct write, link)))
		release(write, -EIO);
}

/* ---- etcd's answer ---- */

/* The comparison has failed: tell what is there. */
static void refused(struct write *write, const struct etcd_txn_response *response)
{
	struct collection *c = write->collection;
	autoentry struct entry *current = NULL;

	store_told(c->store, (uint64_t)response->revision);
	if (!response->has_kv)
		return finish(write, write->guarded && !write->expected ? -ESTALE : !write->is_put && !write->expected ? -ENOENT : -EAGAIN, NULL);
	current = collection_get(c, key_of(write));
	if (!current || current->resource_version != (uint64_t)response->kv.mod_revision) {
		entry_unref(current);
		pthread_mutex_lock(&c->store->apply_lock);
		current = entry_from_value(c, write->path, strlen(write->path), response->kv.value.data, response->kv.value.len, (uint64_t)response->kv.mod_revision,
			(uint64_t)response->kv.create_revision, NULL);
		pthread_mutex_unlock(&c->store->apply_lock);
	}
	if (current && write->guarded && write->expected && current->resource_version == write->expected)
		return finish(write, -ESTALE, current); /* it was not the object itself that had changed */
	finish(write, write->is_put && !write->expected ? -EEXIST : -EAGAIN, current);
}

static void on_answer(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct write *write = arg;
	struct store *store = write->collection->store;
	struct etcd_txn_response response;

	(void)text;
	if (errnum == -ENOENT && write->lease && !write->retried && !store->closing) {
		/* The lease has gone: once more with a new one. */
		write->retried = true;
		leases_forget(store->leases, write->lease);
		return leases_send(store->leases, write->lease_seconds, write);
	}
	if (errnum == 0 && etcd_read_txn(data, len, &response) < 0)
		errnum = -EIO;
	measure(write, errnum != 0);
	switch (errnum) {
	case 0:
		break;
	case -EFBIG:
	case -ENOSPC:
	case -EBUSY:
	case -ETIMEDOUT:
		return finish(write, errnum, NULL);
	default:
		return finish(write, -EIO, NULL);
	}
	if (!response.succeeded)
		return refused(write, &response);
	write->revision = (uint64_t)response.revision;
	await_event(write);
}

/* ---- sending ---- */

/* False where the value cannot be made what is stored: then nothing is. */
static bool write_transaction(struct write *write, struct etcd_slice value, const struct etcd_guard *guards, size_t guard_count, struct buf *request)
{
	struct store *store = write->collection->store;
	autofree char *key = store_key(store, write->path);
	autobuf struct buf sealed = BUF_INIT(ETCD_MAX_REQUEST);
	int changed = write->is_put ? transform_seal(write->collection, write->path, value.data, value.len, &sealed) : 0;
	bool any = !write->is_put && write->expected == 0;
	struct etcd_txn txn = {
		.key = ETCD_SLICE(key),
		.target = ETCD_COMPARE_MOD_REVISION,
		.expected = (int64_t)write->expected,
		.then = write->is_put ? ETCD_PUT : ETCD_DELETE,
		.otherwise = ETCD_GET,
		.value = changed ? (struct etcd_slice){sealed.data, sealed.len} : value,
		.lease = write->lease,
		.guards = guards,
		.guard_count = guard_count,
	};

	if (any) {
		/* Whatever is there: "absent" is the case to refuse. */
		txn.then = ETCD_GET;
		txn.otherwise = ETCD_DELETE;
	}
	if (changed < 0)
		return false;
	/* The key stands in it three times; the rest is small. */
	buf_reserve(request, txn.value.len + 3 * txn.key.len + 128 + guard_count * 256);
	etcd_message_begin(request);
	etcd_write_txn(request, &txn);
	etcd_message_end(request);
	return true;
}

static void on_any_answer(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct write *write = arg;
	struct etcd_txn_response response;

	if (errnum == 0 && etcd_read_txn(data, len, &response) == 0) {
		measure(write, false);
		if (response.succeeded || response.deleted == 0) {
			store_told(write->collection->store, (uint64_t)response.revision);
			return finish(write, -ENOENT, NULL);
		}
		write->revision = (uint64_t)response.revision;
		return await_event(write);
	}
	on_answer(errnum, text, data, len, arg);
}

static void send_request(struct write *write, struct buf *request)
{
	struct store *store = write->collection->store;
	bool any = !write->is_put && write->expected == 0;
	int r = etcd_call(store->etcd, &(struct etcd_call_options){.method = ETCD_TXN, .timeout_ms = write->timeout_ms}, request, any ? on_any_answer : on_answer, write);

	if (r < 0)
		finish_later(write, r);
}

static void send_transaction(struct write *write, struct etcd_slice value, const struct etcd_guard *guards, size_t count)
{
	struct buf request = BUF_INIT(ETCD_MAX_REQUEST);

	if (write_transaction(write, value, guards, count, &request))
		return send_request(write, &request);
	buf_done(&request);
	finish_later(write, -ENOKEY);
}

void write_send(struct write *write, int errnum, int64_t lease)
{
	if (errnum)
		return finish_later(write, errnum);
	write->lease = lease;
	send_transaction(write, (struct etcd_slice){write->value.data, write->value.len}, NULL, 0);
}

static struct write *write_new(struct collection *c, const char *key, uint64_t expected, store_write_done done, void *arg)
{
	struct write *write;

	if (atomic_fetch_add(&c->store->writes, 1) >= MAX_WRITES) {
		atomic_fetch_sub(&c->store->writes, 1);
		return NULL;
	}
	write = xnew(struct write);
	*write = (struct write){.collection = c, .path = xconcat(c->prefix, key), .expected = expected, .done = done, .arg = arg, .value = BUF_INIT(ETCD_MAX_REQUEST), .timeout_ms = c->store->write_timeout_ms,
		.started = clock_monotonic_ns()};
	list_init(&write->link);
	list_init(&write->lease_link);
	return write;
}

/* A refusal is told on the store's thread as everything else. */
struct refusal {
	store_write_done done;
	void *arg;
	int errnum;
};

static void tell_refusal(void *arg)
{
	struct refusal *refusal = arg;

	refusal->done(refusal->errnum, NULL, refusal->arg);
	free(refusal);
}

static void refuse(struct store *store, int errnum, store_write_done done, void *arg)
{
	struct refusal *refusal = xnew(struct refusal);

	*refusal = (struct refusal){done, arg, errnum};
	loop_post(store->loop, tell_refusal, refusal);
}

void collection_put(struct collection *c, const char *key, const char *value, size_t len, uint64_t expected, int64_t lease_seconds, store_write_done done, void *arg)
{
	struct write *write;

	if (len > ETCD_MAX_REQUEST / 2 || !collection_owns(c, key, strlen(key)))
		return refuse(c->store, len > ETCD_MAX_REQUEST / 2 ? -EFBIG : -EINVAL, done, arg);
	write = write_new(c, key, expected, done, arg);
	if (!write)
		return refuse(c->store, -EBUSY, done, arg);
	write->is_put = true;
	if (lease_seconds > 0) {
		write->lease_seconds = lease_seconds;
		buf_append(&write->value, value, len);
		return leases_send(c->store->leases, lease_seconds, write);
	}
	send_transaction(write, (struct etcd_slice){value, len}, NULL, 0);
}

static void shorten(struct write *write, int timeout_ms)
{
	if (timeout_ms > 0)
		write->timeout_ms = min_of(write->timeout_ms, timeout_ms);
}

static void send_guarded(struct write *write, struct etcd_slice value, const struct store_guard *guards, size_t count)
{
	struct etcd_guard compare[STORE_MAX_GUARDS] = {0};
	char *keys[STORE_MAX_GUARDS];

	write->guarded = count > 0;
	for (size_t i = 0; i < count; i++) {
		autofree char *path = xconcat(guards[i].collection->prefix, guards[i].key);
		keys[i] = store_key(write->collection->store, path);
		compare[i] = (struct etcd_guard){ETCD_SLICE(keys[i]), (int64_t)guards[i].revision};
	}
	send_transaction(write, value, compare, count);
	for (size_t i = 0; i < count; i++)
		free(keys[i]);
}

void collection_put_guarded(struct collection *c, const char *key, const char *value, size_t len, uint64_t expected, const struct store_guard *guards, size_t count,
	int timeout_ms, store_write_done done, void *arg)
{
	struct write *write;

	if (len > ETCD_MAX_REQUEST / 2 || count > STORE_MAX_GUARDS || !collection_owns(c, key, strlen(key)))
		return refuse(c->store, len > ETCD_MAX_REQUEST / 2 ? -EFBIG : -EINVAL, done, arg);
	write = write_new(c, key, expected, done, arg);
	if (!write)
		return refuse(c->store, -EBUSY, done, arg);
	write->is_put = true;
	shorten(write, timeout_ms);
	send_guarded(write, (struct etcd_slice){value, len}, guards, count);
}

void collection_delete_guarded(struct collection *c, const char *key, uint64_t expected, const struct store_guard *guards, size_t count, int timeout_ms, store_write_done done, void *arg)
{
	struct write *write;

	if (count > STORE_MAX_GUARDS || !collection_owns(c, key, strlen(key)))
		return refuse(c->store, count > STORE_MAX_GUARDS ? -EINVAL : -ENOENT, done, arg);
	write = write_new(c, key, expected, done, arg);
	if (!write)
		return refuse(c->store, -EBUSY, done, arg);
	write->before = collection_get(c, key);
	shorten(write, timeout_ms);
	send_guarded(write, (struct etcd_slice){0}, guards, count);
}

void collection_delete(struct collection *c, const char *key, uint64_t expected, store_write_done done, void *arg)
{
	collection_delete_guarded(c, key, expected, NULL, 0, 0, done, arg);
}
