/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/sync.h"

#include "common/base/map.h"

#include <errno.h>
#include <stdlib.h>

/* One Service's wish for an element. The first claim of a slot is the one the kernel gets. */
struct claim {
	struct claim *next;
	struct service *service;
	struct element element;
};

/* One element by its identity (map, family, key): who claims it, and what the kernel has. */
struct slot {
	struct slot *next_in_bucket;
	struct claim *claims;
	bool in_kernel;
	bool dirty;
	struct element kernel;
};

struct service {
	char *key;
	struct element *items; /* sorted by identity, each once */
	size_t len;
};

struct picked {
	struct pick pick;
	size_t refs; /* elements in the kernel that go there */
	bool in_kernel;
};

struct sync {
	struct nft *nft;
	struct ruleset_config config;
	struct map services; /* key -> struct service */
	struct map picks;    /* chain name -> struct picked */
	struct slot **buckets;
	size_t bucket_count, slot_count;
	struct slot **dirty;
	size_t dirty_len, dirty_cap;
	bool table_valid;
	void (*on_endpoint)(const struct element *element, bool removed, void *arg);
	void *on_endpoint_arg;
};

/* ---- elements by identity ---- */

static int compare_identity(const void *a, const void *b) {
	const struct element *x = a, *y = b;
	if (x->map != y->map)
		return x->map < y->map ? -1 : 1;
	if (x->family != y->family)
		return x->family < y->family ? -1 : 1;
	return memcmp(x->key, y->key, sizeof(x->key));
}

static bool same_value(const struct element *a, const struct element *b) {
	if (a->has_pick != b->has_pick || a->data_len != b->data_len || memcmp(a->data, b->data, a->data_len) != 0)
		return false;
	return !a->has_pick || (a->pick.source == b->pick.source && a->pick.family == b->pick.family && a->pick.endpoints == b->pick.endpoints &&
		a->pick.local == b->pick.local && a->pick.affinity_seconds == b->pick.affinity_seconds && a->pick.local_policy == b->pick.local_policy);
}

static uint64_t identity_hash(const struct element *e) {
	uint8_t bytes[RULESET_KEY_MAX + 2];
	bytes[0] = (uint8_t)e->map;
	bytes[1] = (uint8_t)e->family;
	memcpy(bytes + 2, e->key, sizeof(e->key));
	return hash_bytes(bytes, sizeof(bytes));
}

static void grow_buckets(struct sync *sync) {
	size_t count = sync->bucket_count ? sync->bucket_count * 2 : 1024;
	struct slot **buckets = xcalloc(count, sizeof(*buckets));
	for (size_t i = 0; i < sync->bucket_count; i++) {
		for (struct slot *slot = sync->buckets[i], *next; slot; slot = next) {
			next = slot->next_in_bucket;
			const struct element *e = slot->claims ? &slot->claims->element : &slot->kernel;
			struct slot **bucket = &buckets[identity_hash(e) & (count - 1)];
			slot->next_in_bucket = *bucket;
			*bucket = slot;
		}
	}
	free(sync->buckets);
	sync->buckets = buckets;
	sync->bucket_count = count;
}

static struct slot *find_slot(struct sync *sync, const struct element *e, bool make) {
	if (sync->slot_count >= sync->bucket_count)
		grow_buckets(sync);
	struct slot **bucket = &sync->buckets[identity_hash(e) & (sync->bucket_count - 1)];
	for (struct slot *slot = *bucket; slot; slot = slot->next_in_bucket)
		if (compare_identity(slot->claims ? &slot->claims->element : &slot->kernel, e) == 0)
			return slot;
	if (!make)
		return NULL;
	struct slot *slot = xnew(struct slot);
	slot->kernel = *e; /* keeps the identity while nobody claims it */
	slot->next_in_bucket = *bucket;
	*bucket = slot;
	sync->slot_count++;
	return slot;
}

static void drop_slot(struct sync *sync, struct slot *slot) {
	struct slot **at = &sync->buckets[identity_hash(&slot->kernel) & (sync->bucket_count - 1)];
	while (*at != slot)
		at = &(*at)->next_in_bucket;
	*at = slot->next_in_bucket;
	sync->slot_count--;
	free(slot);
}

static void mark_dirty(struct sync *sync, struct slot *slot) {
	if (slot->dirty)
		return;
	slot->dirty = true;
	if (sync->dirty_len == sync->dirty_cap) {
		sync->dirty_cap = sync->dirty_cap ? sync->dirty_cap * 2 : 64;
		sync->dirty = xreallocarray(sync->dirty, sync->dirty_cap, sizeof(*sync->dirty));
	}
	sync->dirty[sync->dirty_len++] = slot;
}

/* ---- claims ---- */

static struct claim **find_claim(struct slot *slot, const struct service *service) {
	struct claim **at = &slot->claims;
	while (*at && (*at)->service != service)
		at = &(*at)->next;
	return at;
}

static void claim_element(struct sync *sync, struct service *service, const struct element *e) {
	struct slot *slot = find_slot(sync, e, true);
	struct claim **at = find_claim(slot, service);
	if (!*at) {
		*at = xnew(struct claim);
		(*at)->service = service;
	}
	(*at)->element = *e;
	mark_dirty(sync, slot);
}

static void release_element(struct sync *sync, struct service *service, const struct element *e) {
	struct slot *slot = find_slot(sync, e, false);
	if (!slot)
		return;
	struct claim **at = find_claim(slot, service);
	struct claim *claim = *at;
	if (!claim)
		return;
	if (!slot->in_kernel)
		slot->kernel = claim->element;
	*at = claim->next;
	free(claim);
	mark_dirty(sync, slot);
}

static size_t sort_unique(struct element *items, size_t len) {
	if (len < 2)
		return len;
	qsort(items, len, sizeof(*items), compare_identity);
	size_t kept = 1;
	for (size_t i = 1; i < len; i++)
		if (compare_identity(&items[kept - 1], &items[i]) != 0)
			items[kept++] = items[i];
	return kept;
}

static void free_service(void *value) {
	struct service *service = value;
	free(service->key);
	free(service->items);
	free(service);
}

void sync_set(struct sync *sync, const char *key, struct model_rules *take_rules) {
	struct service *service = map_get(&sync->services, key);
	if (!service && !take_rules->len) {
		model_rules_done(take_rules);
		return;
	}
	if (!service) {
		service = xnew(struct service);
		service->key = xstrdup(key);
		map_set(&sync->services, key, service);
	}
	struct element *fresh = take_ptr(take_rules->items);
	size_t len = sort_unique(fresh, take_rules->len), old = 0, new = 0;
	model_rules_done(take_rules);
	while (old < service->len || new < len) {
		int order = old == service->len ? 1 : new == len ? -1 : compare_identity(&service->items[old], &fresh[new]);
		if (order < 0) {
			release_element(sync, service, &service->items[old++]);
		} else if (order > 0) {
			claim_element(sync, service, &fresh[new++]);
		} else {
			if (!same_value(&service->items[old], &fresh[new]))
				claim_element(sync, service, &fresh[new]);
			old++;
			new++;
		}
	}
	free(service->items);
	service->items = fresh;
	service->len = len;
	if (!len)
		map_remove(&sync->services, key);
}

/* ---- the transaction ---- */

struct change {
	const struct element **removed, **added;
	size_t removed_len, added_len;
	struct element *old; /* what `removed` points at: kernel states are overwritten before the callbacks */
};

static void count_pick(struct sync *sync, const struct element *e, bool add) {
	if (!e->has_pick)
		return;
	char name[PICK_NAME_MAX];
	pick_name(&e->pick, name);
	struct picked *picked = map_get(&sync->picks, name);
	if (!picked) {
		picked = xnew(struct picked);
		picked->pick = e->pick;
		map_set(&sync->picks, name, picked);
	}
	if (add)
		picked->refs++;
	else
		picked->refs--;
}

/* Fills `change` from the dirty slots and brings the books up to what the kernel will have. */
static void collect_change(struct sync *sync, struct change *change) {
	change->removed = xcalloc(sync->dirty_len + 1, sizeof(*change->removed));
	change->added = xcalloc(sync->dirty_len + 1, sizeof(*change->added));
	change->old = xcalloc(sync->dirty_len + 1, sizeof(*change->old));
	for (size_t i = 0; i < sync->dirty_len; i++) {
		struct slot *slot = sync->dirty[i];
		const struct element *wanted = slot->claims ? &slot->claims->element : NULL;
		if (slot->in_kernel && wanted && same_value(&slot->kernel, wanted))
			continue;
		if (slot->in_kernel) {
			struct element *old = &change->old[change->removed_len];
			*old = slot->kernel;
			change->removed[change->removed_len++] = old;
			count_pick(sync, &slot->kernel, false);
			slot->in_kernel = false;
		}
		if (wanted) {
			slot->kernel = *wanted;
			slot->in_kernel = true;
			change->added[change->added_len++] = &slot->kernel;
			count_pick(sync, &slot->kernel, true);
		}
	}
}

static void finish_dirty(struct sync *sync) {
	for (size_t i = 0; i < sync->dirty_len; i++) {
		struct slot *slot = sync->dirty[i];
		slot->dirty = false;
		if (!slot->claims && !slot->in_kernel)
			drop_slot(sync, slot);
	}
	sync->dirty_len = 0;
}

static void add_new_picks(struct sync *sync, struct nft_batch *batch) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&sync->picks, &i));) {
		struct picked *picked = e->value;
		if (picked->in_kernel || !picked->refs)
			continue;
		ruleset_add_pick(batch, &sync->config, &picked->pick);
		picked->in_kernel = true;
	}
}

static void delete_old_picks(struct sync *sync, struct nft_batch *batch) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&sync->picks, &i));) {
		struct picked *picked = e->value;
		if (picked->refs)
			continue;
		if (picked->in_kernel)
			ruleset_delete_pick(batch, &picked->pick);
		map_remove(&sync->picks, e->key);
	}
}

static int commit_difference(struct sync *sync, const struct change *change, struct error *err) {
	struct nft_batch *batch = nft_batch_new(sync->nft);
	add_new_picks(sync, batch);
	ruleset_change_elements(batch, false, change->removed, change->removed_len);
	ruleset_change_elements(batch, true, change->added, change->added_len);
	delete_old_picks(sync, batch);
	int r = nft_commit(batch, err);
	nft_batch_free(batch);
	return r;
}

/* Everything that is in the books, as one new table. */
static int commit_whole(struct sync *sync, struct error *err) {
	struct nft_batch *batch = nft_batch_new(sync->nft);
	ruleset_create(batch, &sync->config);
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&sync->picks, &i));)
		((struct picked *)e->value)->in_kernel = false;
	add_new_picks(sync, batch);
	autofree const struct element **all = xcalloc(sync->slot_count + 1, sizeof(*all));
	size_t len = 0;
	for (size_t i = 0; i < sync->bucket_count; i++)
		for (struct slot *slot = sync->buckets[i]; slot; slot = slot->next_in_bucket)
			if (slot->in_kernel)
				all[len++] = &slot->kernel;
	ruleset_change_elements(batch, true, all, len);
	int r = nft_commit(batch, err);
	nft_batch_free(batch);
	sync->table_valid = r == 0;
	return r;
}

static bool same_backend(const struct element *a, const struct element *b) {
	uint32_t without_index = a->key_len - 4;
	return a->family == b->family && a->key_len == b->key_len && memcmp(a->key, b->key, without_index) == 0 && a->data_len == b->data_len &&
		memcmp(a->data, b->data, a->data_len) == 0;
}

/* An endpoint that only moved to another index is not gone. Changes are small except for the first, which removes nothing. */
static void tell_endpoints(struct sync *sync, const struct change *change) {
	if (!sync->on_endpoint)
		return;
	for (size_t i = 0; i < change->removed_len; i++) {
		const struct element *old = change->removed[i];
		bool still = false;
		if (old->map != MAP_ENDPOINTS && old->map != MAP_REFUSED && old->map != MAP_REFUSED_PORTS)
			continue;
		for (size_t k = 0; !still && old->map == MAP_ENDPOINTS && k < change->added_len; k++)
			still = change->added[k]->map == MAP_ENDPOINTS && same_backend(old, change->added[k]);
		if (!still)
			sync->on_endpoint(old, true, sync->on_endpoint_arg);
	}
	for (size_t i = 0; i < change->added_len; i++)
		if (change->added[i]->has_pick)
			sync->on_endpoint(change->added[i], false, sync->on_endpoint_arg);
}

int sync_commit(struct sync *sync, size_t *ret_changed, struct error *err) {
	struct change change = {0};
	collect_change(sync, &change);
	int r = 0;
	bool whole = !sync->table_valid;
	if (!whole && (change.removed_len || change.added_len)) {
		r = commit_difference(sync, &change, err);
		whole = r < 0; /* somebody meddled with the table: write it anew */
	}
	if (whole)
		r = commit_whole(sync, err);
	if (r == 0) {
		tell_endpoints(sync, &change);
		if (ret_changed)
			*ret_changed = change.added_len + change.removed_len;
	}
	finish_dirty(sync);
	free(change.removed);
	free(change.added);
	free(change.old);
	return r;
}

void sync_invalidate(struct sync *sync) {
	sync->table_valid = false;
}

size_t sync_element_count(const struct sync *sync) {
	return sync->slot_count;
}

void sync_on_endpoint_change(struct sync *sync, void (*fn)(const struct element *element, bool removed, void *arg), void *arg) {
	sync->on_endpoint = fn;
	sync->on_endpoint_arg = arg;
}

int sync_new(const struct ruleset_config *config, struct sync **ret, struct error *err) {
	struct nft *nft;
	int r = nft_open(RULESET_TABLE, &nft, err);
	if (r < 0)
		return r;
	struct sync *sync = xnew(struct sync);
	sync->nft = nft;
	sync->config = *config;
	sync->services = MAP_INIT(free_service);
	sync->picks = MAP_INIT(free);
	*ret = sync;
	return 0;
}

void sync_free(struct sync *sync) {
	if (!sync)
		return;
	for (size_t i = 0; i < sync->bucket_count; i++) {
		for (struct slot *slot = sync->buckets[i], *next; slot; slot = next) {
			next = slot->next_in_bucket;
			for (struct claim *claim = slot->claims, *after; claim; claim = after) {
				after = claim->next;
				free(claim);
			}
			free(slot);
		}
	}
	free(sync->buckets);
	free(sync->dirty);
	map_done(&sync->services);
	map_done(&sync->picks);
	nft_close(sync->nft);
	free(sync);
}
