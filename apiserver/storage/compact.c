/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction, as Kubernetes does it: of several API servers the one whose transaction first replaces the key's version compacts etcd to
 * the revision of one interval ago; the others learn from the key. The key lies below our prefix, so that its writes reach the watch.
 */
#include "apiserver/storage/internal.h"

#include "common/base/log.h"

#include <errno.h>

#define COMPACT_TIMEOUT_MS 30000

struct compaction {
	struct store *store;
	struct loop_timer *timer;
	int64_t interval_ns;
	int64_t version;  /* of the key, as last seen */
	int64_t revision; /* to compact to, next time */
	int64_t compacting; /* to this, at present */
};

static void forget(struct store *store, int64_t revision)
{
	if (revision > 0 && (uint64_t)revision > atomic_load(&store->compacted))
		atomic_store(&store->compacted, (uint64_t)revision);
}

static void on_compacted(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct compaction *compaction = arg;

	if (errnum && errnum != -ESTALE) /* compacted already is well too */
		log_warning("etcd compaction failed", LOG_STR("err", text));
	else if (!compaction->store->closing)
		forget(compaction->store, compaction->compacting);
}

static void compact(struct compaction *compaction, int64_t revision)
{
	struct buf request = BUF_INIT(256);

	compaction->compacting = revision;
	log_debug(2, "compacting etcd", LOG_INT("revision", revision));
	etcd_message_begin(&request);
	etcd_write_compaction(&request, revision);
	etcd_message_end(&request);
	(void)etcd_call(compaction->store->etcd, &(struct etcd_call_options){.method = ETCD_COMPACT, .timeout_ms = COMPACT_TIMEOUT_MS, .idempotent = true}, &request, on_compacted,
		compaction);
}

static void on_answer(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct compaction *compaction = arg;
	struct etcd_txn_response response;
	int64_t target = compaction->revision;

	if (compaction->store->closing)
		return;
	loop_timer_arm(compaction->timer, compaction->interval_ns);
	if (errnum || etcd_read_txn(data, len, &response) < 0) {
		log_warning("etcd compaction skipped", LOG_STR("err", errnum ? text : "malformed answer"));
		return;
	}
	compaction->revision = response.revision;
	if (!response.succeeded) {
		/* Another one was first: go on from what it wrote. */
		compaction->version = response.has_kv ? response.kv.version : 0;
		int64_t done;
		autofree char *value = response.has_kv ? xstrndup(response.kv.value.data, response.kv.value.len) : NULL;
		if (value && str_to_int64(value, 0, INT64_MAX, &done))
			forget(compaction->store, done);
		return;
	}
	compaction->version++;
	if (target)
		compact(compaction, target);
}

static void on_timer(void *arg)
{
	struct compaction *compaction = arg;
	struct store *store = compaction->store;
	struct buf request = BUF_INIT(4096);
	autofree char *key = store_key(store, KEY_COMPACT);
	autofree char *value = xprintf("%lld", (long long)compaction->revision);

	etcd_message_begin(&request);
	etcd_write_txn(&request,
		&(struct etcd_txn){
			.key = ETCD_SLICE(key),
			.target = ETCD_COMPARE_VERSION,
			.expected = compaction->version,
			.then = ETCD_PUT,
			.otherwise = ETCD_GET,
			.value = ETCD_SLICE(value),
		});
	etcd_message_end(&request);
	if (etcd_call(store->etcd, &(struct etcd_call_options){.method = ETCD_TXN, .timeout_ms = COMPACT_TIMEOUT_MS}, &request, on_answer, compaction) < 0)
		loop_timer_arm(compaction->timer, compaction->interval_ns);
}

struct compaction *compaction_new(struct store *store, int64_t interval_ns)
{
	struct compaction *compaction = xnew(struct compaction);

	compaction->store = store;
	compaction->interval_ns = interval_ns;
	compaction->timer = loop_timer_new(store->loop, on_timer, compaction);
	loop_timer_arm(compaction->timer, interval_ns);
	return compaction;
}

void compaction_stop(struct compaction *compaction)
{
	if (compaction)
		loop_timer_free(take_ptr(compaction->timer));
}

void compaction_free(struct compaction *compaction)
{
	free(compaction);
}
