/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/storage/internal.h"

#include <errno.h>

struct snapshot_shared {
	struct snapshot snapshot;
	unsigned refs; /* atomic */
	struct tree *tree;
};

struct collection *collection_new(struct store *store, const char *prefix, bool namespaced, collection_index_fn index, void *arg)
{
	struct collection *c = xnew(struct collection);

	c->store = store;
	c->prefix = *prefix ? xprintf("%s/", prefix) : xstrdup("");
	c->prefix_len = strlen(c->prefix);
	c->is_root = !*prefix;
	c->namespaced = namespaced;
	c->index = index;
	c->index_arg = arg;
	c->history.max_events = store->history_events;
	pthread_mutex_init(&c->lock, NULL);
	list_init(&c->watches);
	c->unreadable = MAP_INIT(free);
	return c;
}

static void drop_views(struct collection *c, uint64_t below)
{
	for (size_t i = 0; i < COLLECTION_VIEWS; i++) {
		if (c->views[i].tree && c->views[i].revision < below) {
			tree_unref(c->views[i].tree);
			c->views[i].tree = NULL;
		}
	}
}

void collection_free(struct collection *c)
{
	if (!c)
		return;
	drop_views(c, UINT64_MAX);
	history_done(&c->history);
	tree_unref(c->tree);
	map_done(&c->unreadable);
	for (size_t i = 0; i < c->field_key_count; i++) {
		free(c->field_keys[i]);
		for (size_t k = 0; k < COLLECTION_FIELD_VALUES; k++)
			free(c->field_values[i][k]);
	}
	pthread_mutex_destroy(&c->lock);
	metrics_free(atomic_load(&c->metrics));
	free(c->prefix);
	free(c);
}

bool collection_owns(const struct collection *c, const char *key, size_t len)
{
	const char *slash = memchr(key, '/', len);

	if (len == 0)
		return false;
	if (!c->namespaced)
		return !slash;
	return slash && slash > key && slash + 1 < key + len && !memchr(slash + 1, '/', (size_t)(key + len - slash - 1));
}

struct collection *store_collection(struct store *store, const char *etcd_prefix, bool namespaced, collection_index_fn index, void *arg)
{
	struct collection *c;
	size_t i;

	pthread_mutex_lock(&store->apply_lock);
	c = map_get(&store->collections, etcd_prefix);
	if (!c) {
		c = collection_new(store, etcd_prefix, namespaced, index, arg);
		c->last_revision = c->history.floor = max_of(atomic_load(&store->revision), store->root->last_revision);
		/* What came before anybody asked for it lies with the root. */
		i = tree_lower_bound(store->root->tree, c->prefix);
		while (i < tree_len(store->root->tree)) {
			struct entry *entry = tree_at(store->root->tree, i);
			const char *path = entry_path(entry);
			if (!str_starts_with(path, c->prefix))
				break;
			if (!collection_owns(c, path + c->prefix_len, strlen(path) - c->prefix_len)) {
				i++;
				continue;
			}
			struct entry *ours = entry_copy(c, entry, 0);
			entry_set_load_mark(ours, entry_load_mark(entry));
			c->json_bytes += ours->json->len;
			entry_unref(tree_set(&c->tree, ours));
			entry_unref(tree_remove(&store->root->tree, path));
		}
		unreadable_inherit(c, store->root);
		map_set(&store->collections, etcd_prefix, c);
	}
	pthread_mutex_unlock(&store->apply_lock);
	return c;
}

void collection_apply(struct collection *c, enum store_event_type type, uint64_t revision, struct entry *take_entry)
{
	struct entry *previous;
	struct store_event event = {.type = type, .revision = revision, .entry = take_entry};

	pthread_mutex_lock(&c->lock);
	if (type == STORE_DELETED)
		previous = tree_remove(&c->tree, take_entry->key);
	else
		previous = tree_set(&c->tree, entry_ref(take_entry));
	c->last_revision = revision;
	c->json_bytes += (type == STORE_DELETED ? 0 : take_entry->json->len) - (previous ? previous->json->len : 0);
	if (!c->is_root) {
		history_append(&c->history, type, revision, take_entry, previous);
		drop_views(c, c->history.floor);
	}
	pthread_mutex_unlock(&c->lock);
	event.previous = previous;
	metrics_event(c);
	if (!c->is_root)
		watch_dispatch(c, &event);
	/* Before the writer is told, so that it finds its revision reached. */
	store_publish(c->store, revision);
	write_event(c->store, revision, take_entry);
	entry_unref(previous);
	entry_unref(take_entry);
}

/* ---- reads ---- */

struct entry *collection_get(struct collection *c, const char *key)
{
	struct entry *entry;

	pthread_mutex_lock(&c->lock);
	entry = entry_ref(tree_get(c->tree, key));
	pthread_mutex_unlock(&c->lock);
	return entry;
}

static struct snapshot *snapshot_new(uint64_t revision, struct tree *take_tree)
{
	struct snapshot_shared *s = xnew(struct snapshot_shared);

	s->refs = 1;
	s->tree = take_tree;
	s->snapshot = (struct snapshot){.revision = revision, .len = tree_len(take_tree)};
	return &s->snapshot;
}

struct snapshot *collection_snapshot(struct collection *c)
{
	struct tree *tree;
	uint64_t revision;

	pthread_mutex_lock(&c->lock);
	tree = tree_ref(c->tree);
	/* Of the two the newer: an event is in the tree before its revision is published. */
	revision = max_of(c->last_revision, atomic_load(&c->store->revision));
	pthread_mutex_unlock(&c->lock);
	return snapshot_new(revision, tree);
}

/* Takes back events, the newest first. */
static void undo(struct tree **tree, struct history_event *events, size_t count)
{
	while (count--) {
		struct history_event *event = &events[count];
		if (event->type == STORE_ADDED)
			entry_unref(tree_remove(tree, event->entry->key));
		else
			entry_unref(tree_set(tree, entry_ref(event->previous)));
		entry_unref(event->entry);
		entry_unref(event->previous);
	}
}

int collection_snapshot_at(struct collection *c, uint64_t revision, struct snapshot **ret)
{
	autofree struct history_event *events = NULL;
	struct tree *tree;
	uint64_t base = UINT64_MAX;
	size_t first, end, count;

	pthread_mutex_lock(&c->lock);
	bool forgotten = revision < c->history.floor || revision < atomic_load(&c->store->compacted);
	if (revision > max_of(c->last_revision, atomic_load(&c->store->revision)) || forgotten) {
		int r = forgotten ? -ESTALE : -EAGAIN;
		pthread_mutex_unlock(&c->lock);
		return r;
	}
	if (revision > c->history.gap_start && revision < c->history.exact_floor) {
		pthread_mutex_unlock(&c->lock);
		return -ESTALE;
	}
	/* From the nearest later state that is at hand, back. */
	tree = c->tree;
	for (size_t i = 0; i < COLLECTION_VIEWS; i++) {
		if (c->views[i].tree && c->views[i].revision >= revision && c->views[i].revision < base) {
			base = c->views[i].revision;
			tree = c->views[i].tree;
		}
	}
	tree = tree_ref(tree);
	first = history_after(&c->history, revision);
	end = base == UINT64_MAX ? c->history.len : history_after(&c->history, base);
	count = end > first ? end - first : 0;
	events = xcalloc(count + 1, sizeof(*events));
	for (size_t i = 0; i < count; i++) {
		events[i] = *history_at(&c->history, first + i);
		entry_ref(events[i].entry);
		entry_ref(events[i].previous);
	}
	pthread_mutex_unlock(&c->lock);
	undo(&tree, events, count);
	if (count && tree) {
		pthread_mutex_lock(&c->lock);
		if (revision >= c->history.floor) {
			tree_unref(c->views[c->view_next].tree);
			c->views[c->view_next].tree = tree_ref(tree);
			c->views[c->view_next].revision = revision;
			c->view_next = (c->view_next + 1) % COLLECTION_VIEWS;
		}
		pthread_mutex_unlock(&c->lock);
	}
	*ret = snapshot_new(revision, tree);
	return 0;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	__atomic_add_fetch(&((struct snapshot_shared *)snapshot)->refs, 1, __ATOMIC_RELAXED);
	return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
	struct snapshot_shared *s = (struct snapshot_shared *)snapshot;

	if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	tree_unref(s->tree);
	free(s);
}

struct entry *snapshot_entry(const struct snapshot *snapshot, size_t position)
{
	return tree_at(((const struct snapshot_shared *)snapshot)->tree, position);
}

struct entry *snapshot_scan_next(struct snapshot_scan *scan)
{
	return tree_next(((const struct snapshot_shared *)scan->snapshot)->tree, scan);
}

size_t snapshot_lower_bound(const struct snapshot *snapshot, const char *key)
{
	return tree_lower_bound(((const struct snapshot_shared *)snapshot)->tree, key);
}

struct entry *snapshot_get(const struct snapshot *snapshot, const char *key)
{
	return tree_get(((const struct snapshot_shared *)snapshot)->tree, key);
}

void snapshot_range(const struct snapshot *snapshot, const char *prefix, size_t *ret_first, size_t *ret_end)
{
	size_t len = strlen(prefix);
	autofree char *behind = xstrdup(prefix);

	*ret_first = snapshot_lower_bound(snapshot, prefix);
	/* The least string that is greater than all with this prefix. */
	while (len && (unsigned char)behind[len - 1] == 0xff)
		len--;
	if (len == 0) {
		*ret_end = snapshot->len;
		return;
	}
	behind[len - 1]++;
	behind[len] = '\0';
	*ret_end = snapshot_lower_bound(snapshot, behind);
}

void snapshot_namespace(const struct snapshot *snapshot, const char *ns, size_t *ret_first, size_t *ret_end)
{
	*ret_first = *ret_end = 0;
	if (snapshot->len == 0)
		return;
	autofree char *prefix = xconcat(ns, "/");
	snapshot_range(snapshot, prefix, ret_first, ret_end);
}

size_t collection_size(struct collection *c, size_t *ret_count)
{
	size_t bytes;

	pthread_mutex_lock(&c->lock);
	bytes = c->json_bytes;
	*ret_count = tree_len(c->tree);
	pthread_mutex_unlock(&c->lock);
	return bytes;
}

void collection_shrink(struct collection *c)
{
	pthread_mutex_lock(&c->lock);
	history_shrink(&c->history);
	drop_views(c, UINT64_MAX);
	struct snapshot_scan scan = {.end = tree_len(c->tree)};
	for (struct entry *entry; (entry = tree_next(c->tree, &scan));)
		entry_sweep_encodings(entry);
	pthread_mutex_unlock(&c->lock);
}
