/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values in etcd that are no objects to us: sealed with a key that is lost, or damaged. Nothing can be told of them but that they are there; so whoever asks for one, or for
 * all of a namespace that has one, is told so, and not that there is less than there is.
 */
#include "apiserver/storage/internal.h"

#include "common/base/log.h"

#include <errno.h>

#define LOGGED 10 /* of a collection; where a key is lost there may be thousands */

struct unreadable {
	uint64_t revision;
	uint32_t load_mark;
	bool sealed; /* else it is no object */
	char why[];
};

void unreadable_note(struct collection *c, const char *key, uint64_t revision, uint32_t load_mark, const struct error *why)
{
	const char *text = error_message(why);
	size_t len = strlen(text);
	struct unreadable *u = xmalloc(sizeof(*u) + len + 1);
	size_t count = atomic_load(&c->unreadable_count);

	*u = (struct unreadable){.revision = revision, .load_mark = load_mark, .sealed = why->errnum == ENOKEY || why->errnum == EBADMSG};
	memcpy(u->why, text, len + 1);
	if (count < LOGGED && !c->is_root)
		log_warning("object in etcd cannot be read", LOG_STR("key", key), LOG_STR("collection", c->prefix), LOG_STR("err", text));
	metrics_undecodable(c);
	pthread_mutex_lock(&c->lock);
	map_set(&c->unreadable, key, u);
	atomic_store(&c->unreadable_count, c->unreadable.len);
	pthread_mutex_unlock(&c->lock);
}

void unreadable_forget(struct collection *c, const char *key)
{
	if (atomic_load(&c->unreadable_count) == 0)
		return;
	pthread_mutex_lock(&c->lock);
	map_remove(&c->unreadable, key);
	atomic_store(&c->unreadable_count, c->unreadable.len);
	pthread_mutex_unlock(&c->lock);
}

void unreadable_sweep(struct collection *c, uint32_t load_mark)
{
	struct map_entry *e;

	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; (e = map_next(&c->unreadable, &i));) {
		if (((struct unreadable *)e->value)->load_mark != load_mark)
			map_remove(&c->unreadable, e->key);
	}
	atomic_store(&c->unreadable_count, c->unreadable.len);
	pthread_mutex_unlock(&c->lock);
}

void unreadable_inherit(struct collection *c, struct collection *root)
{
	struct map_entry *e;

	pthread_mutex_lock(&root->lock);
	for (size_t i = 0; (e = map_next(&root->unreadable, &i));) {
		if (!str_starts_with(e->key, c->prefix) || !collection_owns(c, e->key + c->prefix_len, strlen(e->key) - c->prefix_len))
			continue;
		const struct unreadable *u = e->value;
		map_set(&c->unreadable, e->key + c->prefix_len, xmemdup(u, sizeof(*u) + strlen(u->why) + 1));
		map_remove(&root->unreadable, e->key);
	}
	atomic_store(&root->unreadable_count, root->unreadable.len);
	atomic_store(&c->unreadable_count, c->unreadable.len);
	pthread_mutex_unlock(&root->lock);
}

void unreadable_gap(struct collection *c, uint64_t revision)
{
	pthread_mutex_lock(&c->lock);
	if (!c->history.exact_floor)
		c->history.gap_start = revision - 1;
	c->history.exact_floor = max_of(c->history.exact_floor, revision);
	pthread_mutex_unlock(&c->lock);
	watch_gap(c, revision);
}

bool collection_has_unreadable(const struct collection *c)
{
	return atomic_load(&c->unreadable_count) > 0;
}

/* c->lock is held. */
static int tell(const struct collection *c, const struct unreadable *u, const char *key, bool of_many, struct error *err)
{
	autofree char *path = xconcat(c->prefix, key), *full = store_key(c->store, path);
	autofree char *why = of_many && u->sealed ? xprintf("unable to transform key \"%s\": %s", full, u->why) : xstrdup(u->why);
	int r;

	if (!u->sealed)
		return error_status(err, 500, "", "%s", why);
	r = error_status(err, 500, "InternalError", "Internal error occurred: %s", why);
	error_cause(err, NULL, NULL, "%s", why);
	return r;
}

int collection_check_key(struct collection *c, const char *key, struct error *err)
{
	const struct unreadable *u;
	int r = 0;

	if (!collection_has_unreadable(c))
		return 0;
	pthread_mutex_lock(&c->lock);
	u = map_get(&c->unreadable, key);
	if (u)
		r = tell(c, u, key, false, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}

int collection_check_range(struct collection *c, const char *prefix, const char *from, const char *last, struct error *err)
{
	const struct map_entry *e, *first = NULL;
	int r = 0;

	if (!collection_has_unreadable(c))
		return 0;
	pthread_mutex_lock(&c->lock);
	for (size_t i = 0; (e = map_next(&c->unreadable, &i));) {
		if (!str_starts_with(e->key, prefix) || (from && strcmp(e->key, from) < 0) || (last && strcmp(e->key, last) > 0))
			continue;
		if (!first || strcmp(e->key, first->key) < 0)
			first = e;
	}
	if (first)
		r = tell(c, first->value, first->key, true, err);
	pthread_mutex_unlock(&c->lock);
	return r;
}
