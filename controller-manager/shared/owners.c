/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/shared/owners.h"

#include <errno.h>
#include <stdio.h>

const struct meta_v1_owner_reference *owner_controller(const struct meta_v1_object_meta *meta)
{
	if (!meta)
		return NULL;
	for (uint32_t i = 0; i < meta->owner_references.len; i++)
		if (meta->owner_references.items[i].controller && *meta->owner_references.items[i].controller)
			return &meta->owner_references.items[i];
	return NULL;
}

bool owner_is_controller(const struct meta_v1_object_meta *meta, const char *uid)
{
	const struct meta_v1_owner_reference *owner = owner_controller(meta);
	return owner && str_equal(owner->uid, uid);
}

bool owner_add(struct arena *arena, struct meta_v1_object_meta *meta, const void *owner, bool controller, bool block)
{
	const struct meta_v1_object_meta *owner_meta = api_metadata(owner);
	const struct api_type *type = api_type_of(owner);
	for (uint32_t i = 0; i < meta->owner_references.len; i++)
		if (str_equal(meta->owner_references.items[i].uid, owner_meta->uid))
			return false;
	struct meta_v1_owner_reference *ref = api_list_add(arena, &meta->owner_references);
	ref->api_version = str_empty(type->group) ? arena_strdup(arena, type->version) : arena_printf(arena, "%s/%s", type->group, type->version);
	ref->kind = arena_strdup(arena, type->kind);
	ref->name = arena_strdup(arena, owner_meta->name);
	ref->uid = arena_strdup(arena, owner_meta->uid);
	if (controller)
		ref->controller = api_bool(arena, true);
	if (block)
		ref->block_owner_deletion = api_bool(arena, true);
	return true;
}

void owner_set_controller(struct arena *arena, struct meta_v1_object_meta *meta, const void *owner)
{
	owner_add(arena, meta, owner, true, true);
}

bool owner_remove(struct meta_v1_object_meta *meta, const char *uid)
{
	for (uint32_t i = 0; i < meta->owner_references.len; i++) {
		if (str_equal(meta->owner_references.items[i].uid, uid)) {
			api_list_remove(&meta->owner_references, i);
			return true;
		}
	}
	return false;
}

void informer_list_add(struct informer_list *list, void *take_object)
{
	list->items = xreallocarray(list->items, list->len + 1, sizeof(void *));
	list->items[list->len++] = take_object;
}

struct claim {
	struct world *world;
	enum cached owner_what, what;
	const void *owner;
	const struct meta_v1_object_meta *owner_meta;
	bool checked; /* the server has confirmed that the owner is there and is to stay */
};

/* The cache may be behind: adopting for an owner that is gone would leave the adopted to the garbage collector. */
static int check_owner_lives(struct claim *claim, struct error *err)
{
	if (claim->checked)
		return 0;
	autounref void *fresh = NULL;
	int r = world_get(claim->world, claim->owner_what, claim->owner_meta->namespace, claim->owner_meta->name, &fresh, err);
	if (r)
		return r;
	const struct meta_v1_object_meta *meta = api_metadata(fresh);
	if (!str_equal(meta->uid, claim->owner_meta->uid))
		return error_status(err, 409, "Conflict", "original %s/%s is gone: got uid %s, wanted %s", str_or(meta->namespace, ""), meta->name,
			meta->uid, claim->owner_meta->uid);
	if (meta->deletion_timestamp.set)
		return error_status(err, 409, "Conflict", "%s/%s has just been deleted", str_or(meta->namespace, ""), meta->name);
	claim->checked = true;
	return 0;
}

/* Writes a changed copy; an object that is gone or has changed meanwhile is left for the next round. *ret NULL then. */
static int write_claimed(struct claim *claim, const void *changed, void **ret, struct error *err)
{
	autoerror struct error failed = {0};
	int r = world_update_metadata(claim->world, claim->what, changed, ret, &failed);
	if (r == 0 || error_is(&failed, "NotFound"))
		return 0;
	return error_move(err, &failed);
}

static int adopt(struct claim *claim, const void *object, void **ret, struct error *err)
{
	int r = check_owner_lives(claim, err);
	if (r)
		return r;
	autounref void *copy = api_copy(object);
	owner_set_controller(api_arena(copy), api_metadata(copy), claim->owner);
	return write_claimed(claim, copy, ret, err);
}

static int release(struct claim *claim, const void *object, struct error *err)
{
	autounref void *copy = api_copy(object);
	autounref void *ignored = NULL;
	owner_remove(api_metadata(copy), claim->owner_meta->uid);
	return write_claimed(claim, copy, &ignored, err);
}

int owner_claim(struct world *world, enum cached owner_what, const void *owner, enum cached what, const struct selector *selector,
	bool (*may_claim)(const void *object, void *arg), void *arg, struct informer_list *ret, struct error *err)
{
	struct claim claim = {.world = world, .owner_what = owner_what, .what = what, .owner = owner, .owner_meta = api_metadata(owner)};
	bool going = claim.owner_meta->deletion_timestamp.set;
	autolist struct informer_list owned = INFORMER_LIST_INIT, orphans = INFORMER_LIST_INIT, result = INFORMER_LIST_INIT;
	world_list_index(world, what, INDEX_OWNER, claim.owner_meta->uid, &owned);
	int r = 0;
	for (size_t i = 0; i < owned.len; i++) {
		const struct meta_v1_object_meta *meta = api_metadata(owned.items[i]);
		bool matches = selector_matches_labels(selector, &meta->labels) && (!may_claim || may_claim(owned.items[i], arg));
		if (matches || going) {
			informer_list_add(&result, api_ref(owned.items[i]));
			continue;
		}
		int one = release(&claim, owned.items[i], r ? NULL : err);
		r = r ? r : one;
	}
	char index[512];
	snprintf(index, sizeof(index), "orphan/%s", str_or(claim.owner_meta->namespace, ""));
	if (!going)
		world_list_index(world, what, INDEX_OWNER, index, &orphans);
	for (size_t i = 0; i < orphans.len; i++) {
		const struct meta_v1_object_meta *meta = api_metadata(orphans.items[i]);
		if (meta->deletion_timestamp.set || !selector_matches_labels(selector, &meta->labels) ||
			(may_claim && !may_claim(orphans.items[i], arg)))
			continue;
		void *adopted = NULL;
		int one = adopt(&claim, orphans.items[i], &adopted, r ? NULL : err);
		if (adopted)
			informer_list_add(&result, adopted);
		r = r ? r : one;
	}
	if (r)
		return r;
	*ret = result;
	result = (struct informer_list){0};
	return 0;
}
