/* SPDX-License-Identifier: Apache-2.0 */
/* Revision history of DaemonSets and StatefulSets: each template they ever had, kept as a ControllerRevision. */
#ifndef CORACLE_CONTROLLER_MANAGER_HISTORY_H
#define CORACLE_CONTROLLER_MANAGER_HISTORY_H

#include "common/api/selector.h"
#include "controller-manager/controller.h"

#include "api/apps_v1.h"

#define LABEL_REVISION_HASH "controller-revision-hash"

struct history {
	struct apps_v1_controller_revision **items; /* references, by revision */
	size_t len;
	struct apps_v1_controller_revision *current; /* borrowed: of the template as it is now */
};
void history_done(struct history *history);
/*
 * Loads the revisions of `owner`, adopting orphans, and makes or renumbers the one of `template`. collision_count is raised in *collisions where a
 * name is taken by another template (then -EAGAIN: the caller writes its status). For an owner that is being deleted nothing is written: what is
 * missing is only in *ret.
 */
int history_load(struct reconciler *r, enum cached owner_what, const void *owner, const struct selector *selector,
	const struct core_v1_pod_template_spec *template, int32_t *collisions, struct history *ret, struct error *err);
/* The value of LABEL_REVISION_HASH on pods of this revision. daemon sets label pods by hash, stateful sets by name. */
const char *revision_hash(const struct apps_v1_controller_revision *revision);
struct apps_v1_controller_revision *history_find(const struct history *history, const char *name);
/* Deletes the oldest beyond `limit` for which is_live(name or hash) does not hold. */
int history_truncate(struct reconciler *r, const struct history *history, int32_t limit, bool (*is_live)(const struct apps_v1_controller_revision *revision, void *arg), void *arg, struct error *err);
/* The template that a revision holds, in `arena`. */
int history_template(const struct apps_v1_controller_revision *revision, struct arena *arena, struct core_v1_pod_template_spec *ret, struct error *err);

#endif
