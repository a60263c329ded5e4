/* SPDX-License-Identifier: Apache-2.0 */
/* Between an object's bytes and those in etcd: what the owner of the store puts there (encryption). */
#include "apiserver/storage/internal.h"

#include "common/base/log.h"

#include <errno.h>

#define SEALED "k8s:enc:" /* how it begins in etcd, whoever has sealed it */

struct names {
	const char *group, *resource;
	char *own; /* behind them, where they are not the collection's */
};

static void names_done(struct names *n)
{
	free(n->own);
}

/* What nobody has opened lies under group/resource/: so custom objects do before their definition is known. */
static struct names names_of(const struct collection *c, const char *path, size_t len)
{
	struct names n = {.group = "", .resource = ""};
	const char *first, *second;

	if (metrics_names(c, &n.group, &n.resource))
		return n;
	first = memchr(path, '/', len);
	second = first ? memchr(first + 1, '/', len - (size_t)(first + 1 - path)) : NULL;
	if (!second)
		return n;
	n.own = xstrndup(path, (size_t)(second - path));
	n.own[first - path] = '\0';
	n.group = n.own;
	n.resource = n.own + (first - path) + 1;
	return n;
}

int transform_seal(const struct collection *c, const char *path, const void *value, size_t len, struct buf *ret)
{
	const struct store_transform *t = &c->store->transform;

	if (!t->seal)
		return 0;
	cleanup(names_done) struct names n = names_of(c, path, strlen(path));
	autofree char *about = store_key(c->store, path);
	autoerror struct error err = {0};
	int r = t->seal(t->arg, n.group, n.resource, about, value, len, ret, &err);

	if (r < 0)
		log_warning("an object cannot be sealed, and so not stored", LOG_STR("key", about), LOG_STR("err", error_message(&err)));
	return r;
}

int transform_open(const struct collection *c, const char *path, size_t path_len, const void *value, size_t len, struct buf *ret, uint32_t *ret_mark, struct error *err)
{
	const struct store_transform *t = &c->store->transform;

	*ret_mark = 0;
	if (!t->open)
		return len >= strlen(SEALED) && memcmp(value, SEALED, strlen(SEALED)) == 0 ? error_set(err, ENOKEY, "identity transformer tried to read encrypted data") : 0;
	cleanup(names_done) struct names n = names_of(c, path, path_len);
	autofree char *rest = xstrndup(path, path_len), *about = store_key(c->store, rest);
	return t->open(t->arg, n.group, n.resource, about, value, len, ret, ret_mark, err);
}

bool collection_is_stale(const struct collection *c, const struct entry *entry)
{
	const struct store_transform *t = &c->store->transform;

	if (entry_is_foreign(entry))
		return true;
	if (!t->is_stale)
		return false;
	cleanup(names_done) struct names n = names_of(c, entry_path(entry), strlen(entry_path(entry)));
	return t->is_stale(t->arg, n.group, n.resource, entry_mark(entry));
}
