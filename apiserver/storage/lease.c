/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases for keys that go away by themselves. A lease for each event would cost etcd more than the event, so keys of one life time that
 * are written within a while share one: it lives that much longer, and takes no more than a number of keys.
 */
#include "apiserver/storage/internal.h"

#include <errno.h>

#define REUSE_SECONDS 60
#define REUSE_DIVISOR 20 /* at most a twentieth of the life time */
#define MAX_KEYS 1000
#define BUCKETS 16
#define GRANT_TIMEOUT_MS 10000

/* One life time's current lease. */
struct bucket {
	struct leases *leases;
	int64_t seconds; /* 0: free */
	int64_t lease;   /* 0: none yet */
	int64_t fresh_until, used;
	unsigned keys;
	bool granting;
	struct list waiting; /* writes */
};
struct leases {
	struct store *store;
	int64_t reuse_seconds;
	pthread_mutex_t lock;
	struct bucket buckets[BUCKETS];
};

struct leases *leases_new(struct store *store, int64_t reuse_seconds)
{
	struct leases *leases = xnew(struct leases);

	leases->store = store;
	leases->reuse_seconds = reuse_seconds ? max_of(reuse_seconds, (int64_t)0) : REUSE_SECONDS;
	pthread_mutex_init(&leases->lock, NULL);
	for (size_t i = 0; i < BUCKETS; i++) {
		leases->buckets[i].leases = leases;
		list_init(&leases->buckets[i].waiting);
	}
	return leases;
}

void leases_free(struct leases *leases)
{
	if (!leases)
		return;
	pthread_mutex_destroy(&leases->lock);
	free(leases);
}

static int64_t reuse_seconds(const struct leases *leases, int64_t seconds)
{
	return min_of(leases->reuse_seconds, seconds / REUSE_DIVISOR);
}

static void on_granted(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct bucket *bucket = arg;
	struct leases *leases = bucket->leases;
	struct list ready = LIST_INIT(ready);
	struct etcd_lease_response response = {0};
	struct list *link;

	(void)text;
	if (errnum == 0 && etcd_read_lease_grant(data, len, &response) < 0)
		errnum = -EIO;
	if (errnum != 0 && errnum != -ETIMEDOUT)
		errnum = -EIO;
	pthread_mutex_lock(&leases->lock);
	bucket->granting = false;
	bucket->lease = errnum ? 0 : response.id;
	bucket->fresh_until = clock_monotonic_ns() + reuse_seconds(leases, bucket->seconds) * NSEC_PER_SEC;
	bucket->keys = 0;
	while (!list_empty(&bucket->waiting)) {
		link = bucket->waiting.next;
		list_remove(link);
		list_push_back(&ready, link);
		bucket->keys++;
	}
	pthread_mutex_unlock(&leases->lock);
	while (!list_empty(&ready)) {
		link = ready.next;
		list_remove(link);
		write_send(write_of_lease_link(link), errnum, response.id);
	}
}

/* The lock is held. The bucket of this life time; else a free one, or the one that was not used for longest. NULL where all are waited for. */
static struct bucket *find_bucket(struct leases *leases, int64_t seconds)
{
	struct bucket *best = NULL;

	for (size_t i = 0; i < BUCKETS; i++) {
		struct bucket *bucket = &leases->buckets[i];
		if (bucket->seconds == seconds)
			return bucket;
		if (!bucket->granting && (!best || bucket->used < best->used))
			best = bucket;
	}
	if (best) {
		best->seconds = seconds;
		best->lease = 0;
	}
	return best;
}

void leases_send(struct leases *leases, int64_t seconds, struct write *write)
{
	struct buf request = BUF_INIT(256);
	int64_t now = clock_monotonic_ns(), lease = 0;
	struct bucket *bucket;
	bool grant = false;

	pthread_mutex_lock(&leases->lock);
	bucket = find_bucket(leases, seconds);
	if (bucket) {
		bucket->used = now;
		if (bucket->lease && !bucket->granting && bucket->keys < MAX_KEYS && now <= bucket->fresh_until) {
			lease = bucket->lease;
			bucket->keys++;
		} else {
			if (bucket->lease && !bucket->granting)
				metrics_lease(bucket->keys);
			grant = !bucket->granting;
			bucket->granting = true;
			list_push_back(&bucket->waiting, write_lease_link(write));
		}
	}
	pthread_mutex_unlock(&leases->lock);
	if (lease || !bucket)
		return write_send(write, bucket ? 0 : -EBUSY, lease);
	if (!grant)
		return;
	etcd_message_begin(&request);
	etcd_write_lease_grant(&request, seconds + reuse_seconds(leases, seconds), 0);
	etcd_message_end(&request);
	if (etcd_call(leases->store->etcd, &(struct etcd_call_options){.method = ETCD_LEASE_GRANT, .timeout_ms = GRANT_TIMEOUT_MS, .idempotent = true}, &request, on_granted, bucket) < 0)
		on_granted(-EIO, "", NULL, 0, bucket);
}

void leases_forget(struct leases *leases, int64_t lease)
{
	pthread_mutex_lock(&leases->lock);
	for (size_t i = 0; i < BUCKETS; i++) {
		if (leases->buckets[i].lease == lease)
			leases->buckets[i].lease = 0;
	}
	pthread_mutex_unlock(&leases->lock);
}
