/* SPDX-License-Identifier: Apache-2.0 */
/* Owner references: who controls an object, taking in orphans and letting go of what no longer matches. */
#ifndef CORACLE_CONTROLLER_MANAGER_OWNERS_H
#define CORACLE_CONTROLLER_MANAGER_OWNERS_H

#include "common/api/selector.h"
#include "controller-manager/world.h"

#include "api/meta_v1.h"

#define DISCOVERY_LABEL_SERVICE_NAME "kubernetes.io/service-name"

/* The reference whose controller is true, or NULL. */
const struct meta_v1_owner_reference *owner_controller(const struct meta_v1_object_meta *meta);
bool owner_is_controller(const struct meta_v1_object_meta *meta, const char *uid);
/* Adds the controlling reference to `owner` (any root object); blockOwnerDeletion is set. */
void owner_set_controller(struct arena *arena, struct meta_v1_object_meta *meta, const void *owner);
/* Adds or drops a plain reference. Return true where it changed something. */
bool owner_add(struct arena *arena, struct meta_v1_object_meta *meta, const void *owner, bool controller, bool block);
bool owner_remove(struct meta_v1_object_meta *meta, const char *uid);

/*
 * Lists the objects of `what` (with INDEX_OWNER) that `owner` controls. Orphans whose labels match are adopted, unless the owner is going; those it
 * controls whose labels no longer match are released. may_claim NULL: all. `owner_what` is the owner's own cache, for the live check before
 * the first adoption. The result has only what is controlled afterwards.
 */
int owner_claim(struct world *world, enum cached owner_what, const void *owner, enum cached what, const struct selector *selector,
	bool (*may_claim)(const void *object, void *arg), void *arg, struct informer_list *ret, struct error *err);

void informer_list_add(struct informer_list *list, void *take_object);

#endif
