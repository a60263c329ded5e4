/* SPDX-License-Identifier: Apache-2.0 */
/* A store over an etcd of its own, and its callbacks turned into calls that wait. */
#ifndef CORACLE_TEST_STORE_FIXTURE_H
#define CORACLE_TEST_STORE_FIXTURE_H

#include "apiserver/storage/internal.h"
#include "common/base/log.h"
#include "test/support/etcd.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct answer {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
	int errnum;
	struct entry *entry;
};
#define ANSWER_INIT {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER}

static inline void answer_done(int errnum, struct entry *entry, void *arg)
{
	struct answer *answer = arg;

	pthread_mutex_lock(&answer->lock);
	answer->done = true;
	answer->errnum = errnum;
	answer->entry = entry_ref(entry);
	pthread_cond_signal(&answer->cond);
	pthread_mutex_unlock(&answer->lock);
}

static inline void answer_waited(int errnum, void *arg)
{
	answer_done(errnum, NULL, arg);
}

static inline int answer_await(struct answer *answer, struct entry **ret)
{
	pthread_mutex_lock(&answer->lock);
	while (!answer->done)
		pthread_cond_wait(&answer->cond, &answer->lock);
	pthread_mutex_unlock(&answer->lock);
	if (ret)
		*ret = answer->entry;
	else
		entry_unref(answer->entry);
	return answer->errnum;
}

static inline int put(struct collection *c, const char *key, const char *value, uint64_t expected, struct entry **ret)
{
	struct answer answer = ANSWER_INIT;

	collection_put(c, key, value, strlen(value), expected, 0, answer_done, &answer);
	return answer_await(&answer, ret);
}

static inline int del(struct collection *c, const char *key, uint64_t expected, struct entry **ret)
{
	struct answer answer = ANSWER_INIT;

	collection_delete(c, key, expected, answer_done, &answer);
	return answer_await(&answer, ret);
}

static inline int await_fresh(struct store *store, uint64_t revision, int timeout_ms)
{
	struct answer answer = ANSWER_INIT;

	store_wait(store, revision, timeout_ms, answer_waited, &answer);
	return answer_await(&answer, NULL);
}

/* An object of about `size` bytes. */
static inline char *object(const char *name, int generation, size_t size)
{
	struct buf b = BUF_INIT(1 << 20);

	buf_printf(&b,
		"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"default\",\"uid\":\"11111111-2222-3333-4444-555555555555\",\"generation\":%d,"
		"\"labels\":{\"app\":\"web\",\"tier\":\"front\"}},\"spec\":{\"text\":\"",
		name, generation);
	while (b.len + 4 < size)
		buf_append_char(&b, 'x');
	buf_append_str(&b, "\"}}");
	return buf_take(&b);
}

static inline struct store *open_store_with(struct test_etcd *etcd, struct store_options options)
{
	autoerror struct error err = {0};
	struct store *store = NULL;

	options.endpoints = etcd->endpoints;
	options.prefix = "/registry";
	options.compaction_interval_ns = -1;
	if (store_open(&options, 20000, &store, &err) < 0)
		fail_msg("%s", error_message(&err));
	return store;
}

/* One whose consistent reads always ask etcd. */
static inline struct store *open_store(struct test_etcd *etcd, size_t history)
{
	return open_store_with(etcd, (struct store_options){.history_events = history, .ask_always = true});
}

/* What a watch got, in order. */
struct seen {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct {
		enum store_event_type type;
		uint64_t revision;
		char key[48];
		bool has_previous;
	} *events;
	size_t len, cap;
	uint64_t last; /* revision */
	bool disordered;
};
#define SEEN_INIT {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER}

static inline void see(const struct store_event *event, void *arg)
{
	struct seen *seen = arg;

	if (event->type == STORE_BOOKMARK)
		return;
	pthread_mutex_lock(&seen->lock);
	if (seen->len == seen->cap) {
		seen->cap = seen->cap ? 2 * seen->cap : 64;
		seen->events = xreallocarray(seen->events, seen->cap, sizeof(*seen->events));
	}
	seen->disordered = seen->disordered || (event->entry && event->revision <= seen->last);
	seen->last = event->revision;
	seen->events[seen->len].type = event->type;
	seen->events[seen->len].revision = event->revision;
	seen->events[seen->len].has_previous = event->previous != NULL;
	snprintf(seen->events[seen->len++].key, sizeof(seen->events->key), "%s", event->entry ? event->entry->key : "");
	pthread_cond_broadcast(&seen->cond);
	pthread_mutex_unlock(&seen->lock);
}

static inline void seen_await(struct seen *seen, size_t len)
{
	pthread_mutex_lock(&seen->lock);
	while (seen->len < len)
		pthread_cond_wait(&seen->cond, &seen->lock);
	pthread_mutex_unlock(&seen->lock);
}

#endif
