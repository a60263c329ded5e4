/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/pool.h"

#include "common/base/clock.h"
#include "common/base/trim.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#define TRIM_AFTER 8 /* connections, of some 100 KB each */

struct idle {
	struct pool_handle handle;
	int64_t since;
};

struct pool {
	struct pool *next;
	unsigned refs; /* under pools_lock */
	/* what it is found by */
	char **servers;
	size_t server_count;
	char *tls_server_name, *ca_pem, *cert_pem, *key_pem;
	bool insecure;

	struct pool_files files;
	pthread_mutex_t lock;
	struct idle idle[POOL_MAX_IDLE]; /* the last one given back is the first one taken: the oldest are at the front */
	size_t idle_len;
};

/* Taken before the lock of a pool. */
static pthread_mutex_t pools_lock = PTHREAD_MUTEX_INITIALIZER;
static struct pool *pools;
static _Atomic int64_t oldest_since = INT64_MAX; /* no handle of any pool is kept for longer */

static void handle_close(struct pool_handle handle)
{
	curl_multi_cleanup(handle.multi);
	curl_easy_cleanup(handle.curl);
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

/* A file without a name that holds `pem`; -1 for NULL. */
static int memory_file(const char *pem, int *ret, struct error *err)
{
	if (!pem)
		return 0;
	size_t len = strlen(pem);
	autoclose int fd = memfd_create("pem", MFD_CLOEXEC);
	if (fd < 0 || write(fd, pem, len) != (ssize_t)len)
		return error_set_errno(err, errno ? errno : EIO, "memfd_create");
	*ret = take_fd(fd);
	return 0;
}

static void pool_free(struct pool *pool)
{
	for (size_t i = 0; i < pool->idle_len; i++)
		handle_close(pool->idle[i].handle);
	cleanup_close(&pool->files.ca);
	cleanup_close(&pool->files.cert);
	cleanup_close(&pool->files.key);
	for (size_t i = 0; i < pool->server_count; i++)
		free(pool->servers[i]);
	free(pool->servers);
	free(pool->tls_server_name);
	free(pool->ca_pem);
	free(pool->cert_pem);
	if (pool->key_pem)
		explicit_bzero(pool->key_pem, strlen(pool->key_pem));
	free(pool->key_pem);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

static int pool_new(const struct client_config *config, struct pool **ret, struct error *err)
{
	struct pool *pool = xnew(struct pool);
	pool->refs = 1;
	pool->files = (struct pool_files){-1, -1, -1};
	pool->server_count = config->servers.len;
	pool->servers = xcalloc(config->servers.len, sizeof(char *));
	for (size_t i = 0; i < config->servers.len; i++)
		pool->servers[i] = xstrdup(config->servers.items[i]);
	pool->tls_server_name = copy(config->tls_server_name);
	pool->ca_pem = copy(config->ca_pem);
	pool->cert_pem = copy(config->cert_pem);
	pool->key_pem = copy(config->key_pem);
	pool->insecure = config->insecure_skip_verify;
	pthread_mutex_init(&pool->lock, NULL);
	int r = memory_file(pool->ca_pem, &pool->files.ca, err);
	r = r ? r : memory_file(pool->cert_pem, &pool->files.cert, err);
	r = r ? r : memory_file(pool->key_pem, &pool->files.key, err);
	if (r) {
		pool_free(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

static bool is_for(const struct pool *pool, const struct client_config *config)
{
	if (pool->insecure != config->insecure_skip_verify || pool->server_count != config->servers.len)
		return false;
	for (size_t i = 0; i < pool->server_count; i++)
		if (!str_equal(pool->servers[i], config->servers.items[i]))
			return false;
	return str_equal(pool->tls_server_name, config->tls_server_name) && str_equal(pool->ca_pem, config->ca_pem) && str_equal(pool->cert_pem, config->cert_pem) &&
		str_equal(pool->key_pem, config->key_pem);
}

int pool_get(const struct client_config *config, struct pool **ret, struct error *err)
{
	int r = 0;
	pthread_mutex_lock(&pools_lock);
	struct pool *pool = pools;
	while (pool && !is_for(pool, config))
		pool = pool->next;
	if (pool) {
		pool->refs++;
	} else {
		r = pool_new(config, &pool, err);
		if (!r) {
			pool->next = pools;
			pools = pool;
		}
	}
	pthread_mutex_unlock(&pools_lock);
	if (!r)
		*ret = pool;
	return r;
}

struct pool *pool_ref(struct pool *pool)
{
	pthread_mutex_lock(&pools_lock);
	pool->refs++;
	pthread_mutex_unlock(&pools_lock);
	return pool;
}

void pool_put(struct pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pools_lock);
	bool last = --pool->refs == 0;
	for (struct pool **at = &pools; last && *at; at = &(*at)->next) {
		if (*at == pool) {
			*at = pool->next;
			break;
		}
	}
	pthread_mutex_unlock(&pools_lock);
	if (last)
		pool_free(pool);
}

const struct pool_files *pool_files(const struct pool *pool)
{
	return &pool->files;
}

struct pool_handle pool_take(struct pool *pool)
{
	pools_tidy(clock_monotonic_ns());
	pthread_mutex_lock(&pool->lock);
	struct pool_handle handle = pool->idle_len ? pool->idle[--pool->idle_len].handle : (struct pool_handle){0};
	pthread_mutex_unlock(&pool->lock);
	if (!handle.curl)
		handle = (struct pool_handle){.curl = curl_easy_init(), .multi = curl_multi_init()};
	if (!handle.curl || !handle.multi)
		abort();
	return handle;
}

/* Lowers oldest_since; only pools_tidy raises it. */
static void note_kept(int64_t since)
{
	int64_t oldest = atomic_load(&oldest_since);
	while (since < oldest && !atomic_compare_exchange_weak(&oldest_since, &oldest, since))
		;
}

void pool_give_back(struct pool *pool, struct pool_handle handle)
{
	curl_easy_reset(handle.curl);
	pthread_mutex_lock(&pool->lock);
	bool kept = pool->idle_len < POOL_MAX_IDLE;
	if (kept) {
		int64_t now = clock_monotonic_ns();
		pool->idle[pool->idle_len++] = (struct idle){handle, now};
		note_kept(now);
	}
	pthread_mutex_unlock(&pool->lock);
	if (!kept)
		handle_close(handle);
}

size_t pool_idle(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	size_t count = pool->idle_len;
	pthread_mutex_unlock(&pool->lock);
	return count;
}

/* Takes out what is too old. Returns how many. */
static size_t take_old(struct pool *pool, int64_t now, struct pool_handle old[POOL_MAX_IDLE])
{
	size_t count = 0;
	pthread_mutex_lock(&pool->lock);
	while (count < pool->idle_len && now - pool->idle[count].since >= POOL_IDLE_S * NSEC_PER_SEC) {
		old[count] = pool->idle[count].handle;
		count++;
	}
	pool->idle_len -= count;
	memmove(pool->idle, pool->idle + count, pool->idle_len * sizeof(struct idle));
	if (pool->idle_len)
		note_kept(pool->idle[0].since);
	pthread_mutex_unlock(&pool->lock);
	return count;
}

void pools_tidy(int64_t now)
{
	int64_t oldest = atomic_load(&oldest_since);
	if (oldest == INT64_MAX || now - oldest < POOL_IDLE_S * NSEC_PER_SEC)
		return;
	/* One looks, the others go on with their work. */
	if (pthread_mutex_trylock(&pools_lock))
		return;
	atomic_store(&oldest_since, INT64_MAX); /* what is left, or comes meanwhile, notes itself */
	size_t closed = 0;
	for (struct pool *pool = pools; pool; pool = pool->next) {
		struct pool_handle old[POOL_MAX_IDLE];
		size_t count = take_old(pool, now, old);
		for (size_t i = 0; i < count; i++)
			handle_close(old[i]);
		closed += count;
	}
	pthread_mutex_unlock(&pools_lock);
	/* So many were in use at once: a burst is over, or the first lists are. What they took lies free in the middle of the heap. */
	if (closed >= TRIM_AFTER)
		heap_trim();
}
