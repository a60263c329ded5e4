/* SPDX-License-Identifier: Apache-2.0 */
/* Deployments, StatefulSets and DaemonSets as one kind of thing: something with a pod template, its revisions, and pods. */
#ifndef CORACLE_CONTROLLER_MANAGER_WORKLOAD_H
#define CORACLE_CONTROLLER_MANAGER_WORKLOAD_H

#include "controller-manager/controller.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"

#define ROLLED_BACK "RolledBack" /* the type of the condition by which roll_back.c remembers; other controllers leave it */
#define ANNOTATION_ROLL_ON_CHANGE "coracle.dev/roll-on-change"
#define ANNOTATION_CONFIG_HASH "coracle.dev/config-hash"
#define ANNOTATION_ROLL_BACK "coracle.dev/rollback-on-failure"
#define ANNOTATION_RESTARTS "coracle.dev/rollback-after-restarts"
#define ANNOTATION_DEADLINE "coracle.dev/progress-deadline"
#define ANNOTATION_GOOD "coracle.dev/good-revision"
#define ANNOTATION_BACK_FROM "coracle.dev/rolled-back-from"
#define ANNOTATION_BACK_REASON "coracle.dev/rolled-back-reason"

/* One revision. id is what its pods carry as a label. */
struct revision {
	char *id;
	int64_t number;
	void *holder; /* reference: the ReplicaSet or ControllerRevision */
	struct core_v1_pod_template_spec template; /* in the arena of the workload that listed it */
};
struct revisions {
	struct revision *items;
	size_t len;
	ptrdiff_t current; /* of the template as it is now; -1: not made yet */
};
void revisions_done(struct revisions *revisions);

/* How far a rollout is wanted to go, as the object says it. */
struct rollout_goal {
	bool rolls;        /* false: paused, or OnDelete */
	bool observed;     /* the status is of this generation */
	int32_t pods;      /* of the current revision, once it is over */
	int32_t min_ready_seconds;
	int64_t deadline_ns; /* 0: none */
	const char *late; /* what the object's own status says of the revision that is past its deadline, naming its holder; NULL: none is. Borrowed */
};

struct workload_kind {
	const char *plural, *kind;
	enum cached what;
	const char *revision_label;
	bool stuck_pods_must_go; /* its controller waits for pods of a revision that is no longer wanted */
	struct core_v1_pod_template_spec *(*template)(const void *object);
	void (*goal)(const void *object, struct rollout_goal *ret);
	/* References and templates go into `arena`. */
	int (*revisions)(struct world *world, const void *object, struct arena *arena, struct revisions *ret, struct error *err);
	/* Sets a condition of the status of a copy; false where it stands there already. */
	bool (*set_condition)(void *copy, const char *type, const char *status, const char *reason, const char *message);
	/* "True", "False"; "": there is none. Borrowed. */
	const char *(*condition)(const void *object, const char *type);
};
extern const struct workload_kind workload_kinds[];
extern const size_t workload_kind_count;
/* The row of an object; NULL where it is no workload. */
const struct workload_kind *workload_kind_of(const void *object);

/* "deployments/web" -> its kind and name; NULL where it is none. */
const struct workload_kind *workload_of_key(const char *key, const char **ret_name);
/* Queues the key of an object of one of the kinds. */
void workload_add(struct reconciler *r, const struct workload_kind *kind, const void *object, int64_t after_ns);
bool workload_asks(const void *object, const char *annotation);
/* The pods that it, or the ReplicaSets that hold its revisions, control. */
void workload_pods(struct world *world, const struct workload_kind *kind, const void *object, const struct revisions *revisions, struct informer_list *ret);
/* Whether a change is any but of the status. */
bool workload_matters(const void *old_object, const void *object);

#endif
