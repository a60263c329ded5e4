/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads all that lies under the prefix, page by page at one revision. The first time it fills the caches. Later, when etcd has compacted
 * away what the watch had still to tell, it finds what differs and turns that into events in an order that could have been the true one, so
 * that no watch misses a change:
 *
 *   - an object that is new, or has another mod_revision, is an event at its mod_revision;
 *   - one that is gone was deleted at some revision between the last one seen and the load's: a free one is taken;
 *   - one that was deleted and made again is a deletion, before its create_revision, and an addition;
 *   - one that was there but could not be read until now is no event: who follows all that happens has to read anew.
 */
#include "apiserver/storage/internal.h"

#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>

#define PAGE_TIMEOUT_MS 60000
/*
 * Aimed at: for each page etcd counts all keys that are left, so that many small ones cost more than what they bring. They grow with what was read, and so is what they
 * hold for a moment a part of that.
 */
#define PAGE_BYTES_LEAST ((size_t)4 << 20)
#define PAGE_BYTES_MOST ((size_t)16 << 20)
#define PAGE_PART 4
#define PAGE_FIRST 64
#define PAGE_MAX 50000
#define RETRY_NS (200 * NSEC_PER_MSEC)

struct difference {
	struct collection *collection;
	struct entry *entry; /* new state, or (gone) the last one known */
	bool gone, late;
	uint64_t revision, not_after; /* of a deletion: to be found, and below which */
};
struct load {
	struct store *store;
	struct loop_timer *retry;
	bool first;
	int64_t revision; /* of the first page */
	int64_t limit;
	size_t bytes; /* of all pages so far */
	char *next_key; /* full etcd key */
	size_t next_len;
	struct bytes *page; /* one that is still to be taken, while etcd makes the next; NULL: none */
	bool last_page;
	struct difference *differences;
	size_t count, cap;
};

static void request_page(struct load *load);

static void forget_differences(struct load *load)
{
	for (size_t i = 0; i < load->count; i++)
		entry_unref(load->differences[i].entry);
	free(load->differences);
	load->differences = NULL;
	load->count = load->cap = 0;
}

void load_stop(struct store *store)
{
	if (store->load)
		loop_timer_free(take_ptr(store->load->retry));
}

void load_free(struct store *store)
{
	struct load *load = store->load;

	if (!load)
		return;
	load_stop(store);
	forget_differences(load);
	bytes_unref(load->page);
	free(load->next_key);
	free(load);
	store->load = NULL;
}

static void begin(struct load *load)
{
	struct store *store = load->store;

	forget_differences(load);
	store->load_mark++;
	load->page = bytes_unref(load->page);
	load->revision = 0;
	load->bytes = 0;
	load->limit = PAGE_FIRST;
	free(load->next_key);
	load->next_key = xstrdup(store->prefix);
	load->next_len = store->prefix_len;
	request_page(load);
}

static void on_retry(void *arg)
{
	begin(arg);
}

void load_start(struct store *store)
{
	struct load *load = xnew(struct load);

	load_free(store);
	store->load = load;
	load->store = store;
	load->first = !store->loaded;
	load->retry = loop_timer_new(store->loop, on_retry, load);
	if (!load->first)
		log_info("reading all of etcd again", LOG_INT("revision", atomic_load(&store->revision)));
	begin(load);
}

static void add_difference(struct load *load, struct collection *c, struct entry *take_entry, bool gone, uint64_t revision, uint64_t not_after)
{
	if (load->count == load->cap) {
		load->cap = load->cap ? load->cap * 2 : 64;
		load->differences = xreallocarray(load->differences, load->cap, sizeof(*load->differences));
	}
	load->differences[load->count++] = (struct difference){.collection = c, .entry = take_entry, .gone = gone, .revision = revision, .not_after = not_after};
}

/* One key of a page. */
static void load_kv(struct load *load, const struct etcd_kv *kv)
{
	struct store *store = load->store;
	const char *path = kv->key.data + store->prefix_len;
	size_t len = kv->key.len - store->prefix_len;
	struct collection *c = store_route(store, path, len);
	struct entry *known, *entry;
	autoerror struct error why = {0};

	if (!c)
		return;
	autofree char *key = xstrndup(path + c->prefix_len, len - c->prefix_len);
	known = tree_get(c->tree, key);
	if (known && known->resource_version == (uint64_t)kv->mod_revision) {
		entry_set_load_mark(known, store->load_mark);
		return;
	}
	entry = entry_from_value(c, path, len, kv->value.data, kv->value.len, (uint64_t)kv->mod_revision, (uint64_t)kv->create_revision, &why);
	if (!entry) {
		unreadable_note(c, key, (uint64_t)kv->mod_revision, store->load_mark, &why);
		return;
	}
	unreadable_forget(c, key);
	entry_set_load_mark(entry, store->load_mark);
	if (load->first) {
		/* A load that was begun again may bring a newer one. */
		c->json_bytes += entry->json->len - (known ? known->json->len : 0);
		entry_unref(tree_set(&c->tree, entry));
		return;
	}
	if (known) {
		entry_set_load_mark(known, store->load_mark);
		if (known->create_revision != (uint64_t)kv->create_revision)
			add_difference(load, c, entry_ref(known), true, 0, (uint64_t)kv->create_revision);
	}
	add_difference(load, c, entry, false, (uint64_t)kv->mod_revision, 0);
	load->differences[load->count - 1].late = (uint64_t)kv->mod_revision <= atomic_load(&store->revision);
}

/* ---- what is gone, and when ---- */

static void find_gone(struct load *load, struct collection *c)
{
	struct snapshot_scan scan = {.end = tree_len(c->tree)};
	for (struct entry *entry; (entry = tree_next(c->tree, &scan));) {
		if (entry_load_mark(entry) != load->store->load_mark)
			add_difference(load, c, entry_ref(entry), true, 0, (uint64_t)load->revision + 1);
	}
}

/* Deletions first, the most urgent of them first; then by revision. */
static int compare_deadlines(const void *a, const void *b)
{
	const struct difference *x = a, *y = b;

	if (x->gone != y->gone)
		return x->gone ? -1 : 1;
	if (x->gone)
		return x->not_after < y->not_after ? -1 : x->not_after > y->not_after;
	return x->revision < y->revision ? -1 : x->revision > y->revision;
}

static int compare_revisions(const void *a, const void *b)
{
	const struct difference *x = a, *y = b;

	if (x->revision != y->revision)
		return x->revision < y->revision ? -1 : 1;
	return x->gone == y->gone ? 0 : x->gone ? -1 : 1;
}

/*
 * Gives each deletion a revision that no change has. Each deletion and each change has had a revision of its own, so there are enough; and
 * serving the nearest deadline first finds them.
 */
static void date_deletions(struct load *load)
{
	uint64_t next = atomic_load(&load->store->revision) + 1;
	size_t gone = 0, change;

	if (load->count == 0)
		return;
	qsort(load->differences, load->count, sizeof(*load->differences), compare_deadlines);
	while (gone < load->count && load->differences[gone].gone)
		gone++;
	change = gone;
	for (size_t i = 0; i < gone; i++) {
		while (change < load->count && load->differences[change].revision <= next) {
			if (load->differences[change].revision == next)
				next++;
			change++;
		}
		/* Somebody who wrote several keys in one transaction may have left too few. */
		load->differences[i].revision = min_of(next, load->differences[i].not_after - 1);
		next++;
	}
	qsort(load->differences, load->count, sizeof(*load->differences), compare_revisions);
}

/* It lies before what was told already. */
static void apply_late(struct collection *c, struct entry *take_entry, uint64_t revision)
{
	struct entry *previous;

	unreadable_gap(c, revision);
	pthread_mutex_lock(&c->lock);
	previous = tree_set(&c->tree, entry_ref(take_entry));
	c->json_bytes += take_entry->json->len - (previous ? previous->json->len : 0);
	pthread_mutex_unlock(&c->lock);
	if (!c->is_root)
		watch_dispatch(c, &(struct store_event){.type = previous ? STORE_MODIFIED : STORE_ADDED, .revision = revision, .entry = take_entry, .previous = previous});
	entry_unref(previous);
	entry_unref(take_entry);
}

static void apply_difference(struct difference *difference, uint64_t revision)
{
	struct collection *c = difference->collection;
	enum store_event_type type = tree_get(c->tree, difference->entry->key) ? STORE_MODIFIED : STORE_ADDED;
	struct entry *entry = take_ptr(difference->entry);

	if (difference->late)
		return apply_late(c, entry, revision);
	if (difference->gone) {
		struct entry *last = entry_copy(c, entry, difference->revision);
		entry_unref(entry);
		if (!last)
			return;
		entry = last;
		type = STORE_DELETED;
	}
	collection_apply(c, type, difference->revision, entry);
}

/* An object may have had states between the last one seen and the one found: who must see them all is told that he cannot. */
static void tell_gaps(struct load *load)
{
	uint64_t revision = (uint64_t)load->revision, known = atomic_load(&load->store->revision);

	for (size_t i = 0; i < load->count; i++) {
		struct collection *c = load->differences[i].collection;
		if (c->history.exact_floor == revision)
			continue;
		pthread_mutex_lock(&c->lock);
		if (!c->history.exact_floor || c->history.gap_start >= c->history.floor)
			c->history.gap_start = c->history.exact_floor ? min_of(c->history.gap_start, known) : known;
		else
			c->history.gap_start = known; /* the earlier gap is forgotten with its time */
		c->history.exact_floor = revision;
		pthread_mutex_unlock(&c->lock);
		watch_gap(c, revision);
	}
}

static void publish_differences(struct load *load)
{
	struct store *store = load->store;
	struct map_entry *e;

	for (size_t i = 0; (e = map_next(&store->collections, &i));)
		find_gone(load, e->value);
	find_gone(load, store->root);
	date_deletions(load);
	tell_gaps(load);
	for (size_t i = 0; i < load->count; i++)
		apply_difference(&load->differences[i], (uint64_t)load->revision);
	log_info("read all of etcd again", LOG_INT("changes", load->count), LOG_INT("revision", load->revision));
}

static void finish(struct load *load)
{
	struct store *store = load->store;
	uint64_t revision = (uint64_t)load->revision;
	struct map_entry *e;
	bool first = load->first;

	if (first) {
		store->root->last_revision = store->root->history.floor = revision;
		for (size_t i = 0; (e = map_next(&store->collections, &i));) {
			struct collection *c = e->value;
			c->last_revision = c->history.floor = revision;
		}
	} else {
		publish_differences(load);
	}
	unreadable_sweep(store->root, store->load_mark);
	for (size_t i = 0; (e = map_next(&store->collections, &i));)
		unreadable_sweep(e->value, store->load_mark);
	load_free(store);
	store_start_watch(store, revision);
	store_publish(store, revision);
	waits_revision(store->waits);
	write_expire(store);
}

/* ---- pages ---- */

static void on_page(int errnum, const char *text, const void *data, size_t len, void *arg);

static void request_page(struct load *load)
{
	struct store *store = load->store;
	struct buf request = BUF_INIT((size_t)1 << 20);

	etcd_message_begin(&request);
	etcd_write_range(&request,
		&(struct etcd_range){
			.key = {load->next_key, load->next_len},
			.end = ETCD_SLICE(store->prefix_end),
			.limit = load->limit,
			.revision = load->revision,
		});
	etcd_message_end(&request);
	if (etcd_call(store->etcd, &(struct etcd_call_options){.method = ETCD_RANGE, .timeout_ms = PAGE_TIMEOUT_MS, .idempotent = true}, &request, on_page, load) < 0)
		loop_timer_arm(load->retry, RETRY_NS);
}

static void page_failed(struct load *load, int errnum, const char *text)
{
	struct store *store = load->store;

	if (errnum == -EMSGSIZE && load->limit > 1) {
		load->limit = max_of(load->limit / 4, (int64_t)1);
		return request_page(load);
	}
	pthread_mutex_lock(&store->open_lock);
	snprintf(store->load_trouble, sizeof(store->load_trouble), "%s", text);
	pthread_mutex_unlock(&store->open_lock);
	/* Compacted between two pages, too: from the start. */
	log_warning("reading all of etcd failed, trying again", LOG_STR("err", text));
	loop_timer_arm(load->retry, RETRY_NS);
}

/* The page that waits: into the caches, or to the differences. */
static void take_page(struct store *store)
{
	struct load *load = store->load;
	struct etcd_range_response response;
	struct etcd_kv kv;

	if (!load || !load->page || store->closing)
		return;
	autobytes struct bytes *page = take_ptr(load->page);
	etcd_read_range(page->data, page->len, &response);
	pthread_mutex_lock(&store->apply_lock);
	while (etcd_next_kv(&response.kvs, &kv)) {
		if (kv.key.len > store->prefix_len)
			load_kv(load, &kv);
	}
	if (load->last_page)
		finish(load);
	pthread_mutex_unlock(&store->apply_lock);
}

static void take_page_now(void *arg)
{
	take_page(arg);
}

/* What was posted before this has posted the sending of the request. */
static void take_page_after_sending(void *arg)
{
	struct store *store = arg;

	loop_post(store->loop, take_page_now, store);
}

/* Asks for the page behind this one, of which `last` is the last key of `count`. */
static void request_next(struct load *load, const struct etcd_kv *last, size_t len, int64_t count)
{
	/* It begins with the least key behind the last. */
	free(load->next_key);
	load->next_len = last->key.len + 1;
	load->next_key = xstrndup(last->key.data, last->key.len);
	load->bytes += len;
	size_t aim = min_of(max_of(load->bytes / PAGE_PART, PAGE_BYTES_LEAST), PAGE_BYTES_MOST);
	load->limit = min_of((int64_t)(aim / (len / (size_t)count + 1)) + 1, (int64_t)PAGE_MAX);
	request_page(load);
}

static void on_page(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct load *load = arg;
	struct store *store = load->store;
	struct etcd_range_response response;
	struct etcd_kv kv = {0};
	int64_t count = 0;

	if (store->closing)
		return;
	take_page(store);
	if (errnum == 0 && etcd_read_range(data, len, &response) < 0) {
		errnum = -EIO;
		text = "malformed answer";
	}
	if (errnum)
		return page_failed(load, errnum, text);
	if (load->revision == 0)
		load->revision = response.revision;
	for (; etcd_next_kv(&response.kvs, &kv); count++)
		;
	if (response.kvs.failed)
		return page_failed(load, -EIO, "malformed answer");
	/* The next one is asked for first: etcd makes it while this one is taken. */
	load->page = bytes_new(data, len);
	load->last_page = !response.more || count == 0;
	if (load->last_page)
		return take_page(store);
	request_next(load, &kv, len, count);
	loop_post(store->loop, take_page_after_sending, store);
}
