/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/rollout/workload.h"

#include "controller-manager/shared/history.h"
#include "controller-manager/shared/owners.h"

#include "api/apps_v1.h"

#define LABEL_TEMPLATE_HASH "pod-template-hash"
#define ANNOTATION_REVISION "deployment.kubernetes.io/revision"
#define DEFAULT_DEADLINE_NS (600 * NSEC_PER_SEC)

void revisions_done(struct revisions *revisions)
{
	for (size_t i = 0; i < revisions->len; i++) {
		free(revisions->items[i].id);
		api_unref(revisions->items[i].holder);
	}
	free(revisions->items);
	*revisions = (struct revisions){.current = -1};
}

static struct revision *add_revision(struct revisions *revisions, const char *id, int64_t number, const void *holder)
{
	revisions->items = xreallocarray(revisions->items, revisions->len + 1, sizeof(*revisions->items));
	struct revision *revision = &revisions->items[revisions->len++];
	*revision = (struct revision){.id = xstrdup(id), .number = number, .holder = api_ref((void *)holder)};
	return revision;
}

static bool same_template(const struct core_v1_pod_template_spec *a, const struct core_v1_pod_template_spec *b)
{
	return api_equal(&core_v1_pod_template_spec_type, a, b);
}

/* The last one whose template is the object's: the highest number wins, as the controllers have it. */
static void find_current(struct revisions *revisions, const struct core_v1_pod_template_spec *template)
{
	revisions->current = -1;
	for (size_t i = 0; i < revisions->len; i++)
		if (same_template(&revisions->items[i].template, template) &&
			(revisions->current < 0 || revisions->items[i].number >= revisions->items[revisions->current].number))
			revisions->current = (ptrdiff_t)i;
}

static int64_t deadline_of(const void *object)
{
	const char *text = api_map_get(&api_metadata(object)->annotations, ANNOTATION_DEADLINE);
	int64_t ns;
	return text && duration_parse(text, strlen(text), &ns) == 0 && ns > 0 ? ns : DEFAULT_DEADLINE_NS;
}

/* ---- Deployments ---- */

static struct core_v1_pod_template_spec *deployment_template(const void *object)
{
	return &((struct apps_v1_deployment *)object)->spec.template;
}

static void deployment_goal(const void *object, struct rollout_goal *ret)
{
	const struct apps_v1_deployment *d = object;
	*ret = (struct rollout_goal){.rolls = !d->spec.paused,
		.observed = d->status.observed_generation >= d->metadata.generation,
		.pods = d->spec.replicas ? *d->spec.replicas : 1,
		.min_ready_seconds = d->spec.min_ready_seconds};
	for (uint32_t i = 0; i < d->status.conditions.len; i++) {
		const struct apps_v1_deployment_condition *c = &d->status.conditions.items[i];
		if (str_equal(c->type, "Progressing") && str_equal(c->reason, "ProgressDeadlineExceeded"))
			ret->late = str_or(c->message, "");
	}
}

static int deployment_revisions(struct world *world, const void *object, struct arena *arena, struct revisions *ret, struct error *err)
{
	autolist struct informer_list sets = INFORMER_LIST_INIT;
	world_list_index(world, CACHED_REPLICA_SETS, INDEX_OWNER, api_metadata(object)->uid, &sets);
	for (size_t i = 0; i < sets.len; i++) {
		const struct apps_v1_replica_set *rs = sets.items[i];
		const char *id = api_map_get(&rs->metadata.labels, LABEL_TEMPLATE_HASH);
		int64_t number = 0;
		str_to_int64(api_map_get(&rs->metadata.annotations, ANNOTATION_REVISION), 0, INT64_MAX, &number);
		if (!id || rs->metadata.deletion_timestamp.set)
			continue;
		struct revision *revision = add_revision(ret, id, number, rs);
		api_copy_value(&core_v1_pod_template_spec_type, &revision->template, &rs->spec.template, arena);
		api_map_remove(&revision->template.metadata.labels, LABEL_TEMPLATE_HASH);
	}
	find_current(ret, deployment_template(object));
	return 0;
}

/* ---- StatefulSets ---- */

static struct core_v1_pod_template_spec *stateful_template(const void *object)
{
	return &((struct apps_v1_stateful_set *)object)->spec.template;
}

static void stateful_goal(const void *object, struct rollout_goal *ret)
{
	const struct apps_v1_stateful_set *set = object;
	const struct apps_v1_rolling_update_stateful_set_strategy *rolling = set->spec.update_strategy.rolling_update;
	int32_t replicas = set->spec.replicas ? *set->spec.replicas : 1;
	int32_t kept = rolling && rolling->partition ? *rolling->partition : 0;
	*ret = (struct rollout_goal){.rolls = !str_equal(set->spec.update_strategy.type, "OnDelete"),
		.observed = set->status.observed_generation >= set->metadata.generation,
		.pods = max_of(replicas - kept, 0),
		.min_ready_seconds = set->spec.min_ready_seconds,
		.deadline_ns = deadline_of(object)};
}

/* ---- DaemonSets ---- */

static struct core_v1_pod_template_spec *daemon_template(const void *object)
{
	return &((struct apps_v1_daemon_set *)object)->spec.template;
}

static void daemon_goal(const void *object, struct rollout_goal *ret)
{
	const struct apps_v1_daemon_set *set = object;
	*ret = (struct rollout_goal){.rolls = !str_equal(set->spec.update_strategy.type, "OnDelete"),
		.observed = set->status.observed_generation >= set->metadata.generation,
		.pods = set->status.desired_number_scheduled,
		.min_ready_seconds = set->spec.min_ready_seconds,
		.deadline_ns = deadline_of(object)};
}

/* Of both: ControllerRevisions. */
static int history_revisions(struct world *world, const void *object, struct arena *arena, struct revisions *ret, struct error *err)
{
	autolist struct informer_list list = INFORMER_LIST_INIT;
	bool stateful = str_equal(api_type_of(object)->kind, "StatefulSet");
	world_list_index(world, CACHED_CONTROLLER_REVISIONS, INDEX_OWNER, api_metadata(object)->uid, &list);
	for (size_t i = 0; i < list.len; i++) {
		const struct apps_v1_controller_revision *held = list.items[i];
		struct core_v1_pod_template_spec template = {0};
		if (held->metadata.deletion_timestamp.set)
			continue;
		int r = history_template(held, arena, &template, err);
		if (r)
			return r;
		/* Pods of StatefulSets carry the revision's name, those of DaemonSets its hash. */
		add_revision(ret, stateful ? held->metadata.name : revision_hash(held), held->revision, held)->template = template;
	}
	find_current(ret, stateful ? stateful_template(object) : daemon_template(object));
	return 0;
}

/* ---- conditions: three types with the same fields ---- */

#define DEFINE_CONDITIONS(function, get, type_name)                                                                                                      \
	static bool function(void *copy, const char *type, const char *status, const char *reason, const char *message)                                              \
	{                                                                                                                                                            \
		struct type_name *object = copy;                                                                                                                     \
		struct arena *arena = api_arena(copy);                                                                                                               \
		uint32_t at = 0;                                                                                                                                     \
		while (at < object->status.conditions.len && !str_equal(object->status.conditions.items[at].type, type))                                             \
			at++;                                                                                                                                        \
		bool there = at < object->status.conditions.len;                                                                                                     \
		if (!there)                                                                                                                                          \
			at = object->status.conditions.len, (void)api_list_add(arena, &object->status.conditions);                                                   \
		__typeof__(object->status.conditions.items[0]) *c = &object->status.conditions.items[at];                                                            \
		if (there && str_equal(c->status, status) && str_equal(c->reason, reason) && str_equal(c->message, message))                                         \
			return false;                                                                                                                                \
		if (!str_equal(c->status, status))                                                                                                                   \
			c->last_transition_time = api_time_now();                                                                                                    \
		c->type = arena_strdup(arena, type);                                                                                                                 \
		c->status = arena_strdup(arena, status);                                                                                                             \
		c->reason = arena_strdup(arena, reason);                                                                                                             \
		c->message = arena_strdup(arena, message);                                                                                                           \
		return true;                                                                                                                                         \
	}                                                                                                                                                            \
	static const char *get(const void *object, const char *type)                                                                                                 \
	{                                                                                                                                                            \
		const struct type_name *o = object;                                                                                                                  \
		for (uint32_t i = 0; i < o->status.conditions.len; i++)                                                                                              \
			if (str_equal(o->status.conditions.items[i].type, type))                                                                                     \
				return str_or(o->status.conditions.items[i].status, "");                                                                             \
		return "";                                                                                                                                           \
	}
DEFINE_CONDITIONS(deployment_set, deployment_condition, apps_v1_deployment)
DEFINE_CONDITIONS(stateful_set, stateful_condition, apps_v1_stateful_set)
DEFINE_CONDITIONS(daemon_set, daemon_condition, apps_v1_daemon_set)

const struct workload_kind workload_kinds[] = {
	{"deployments", "Deployment", CACHED_DEPLOYMENTS, LABEL_TEMPLATE_HASH, false, deployment_template, deployment_goal, deployment_revisions, deployment_set, deployment_condition},
	{"statefulsets", "StatefulSet", CACHED_STATEFUL_SETS, LABEL_REVISION_HASH, true, stateful_template, stateful_goal, history_revisions, stateful_set, stateful_condition},
	{"daemonsets", "DaemonSet", CACHED_DAEMON_SETS, LABEL_REVISION_HASH, false, daemon_template, daemon_goal, history_revisions, daemon_set, daemon_condition},
};
const size_t workload_kind_count = array_len(workload_kinds);

const struct workload_kind *workload_kind_of(const void *object)
{
	for (size_t i = 0; i < workload_kind_count; i++)
		if (str_equal(workload_kinds[i].kind, api_type_of(object)->kind))
			return &workload_kinds[i];
	return NULL;
}

/* ---- keys ---- */

const struct workload_kind *workload_of_key(const char *key, const char **ret_name)
{
	for (size_t i = 0; i < workload_kind_count; i++) {
		size_t len = strlen(workload_kinds[i].plural);
		if (strncmp(key, workload_kinds[i].plural, len) != 0 || key[len] != '/')
			continue;
		*ret_name = key + len + 1;
		return &workload_kinds[i];
	}
	return NULL;
}

void workload_add(struct reconciler *r, const struct workload_kind *kind, const void *object, int64_t after_ns)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	autofree char *name = xprintf("%s/%s", kind->plural, meta->name);
	reconciler_add_after(r, meta->namespace, name, after_ns);
}

bool workload_asks(const void *object, const char *annotation)
{
	return str_equal(api_map_get(&api_metadata(object)->annotations, annotation), "true");
}

void workload_pods(struct world *world, const struct workload_kind *kind, const void *object, const struct revisions *revisions, struct informer_list *ret)
{
	bool by_sets = kind->what == CACHED_DEPLOYMENTS;
	for (size_t i = 0; i < (by_sets ? revisions->len : 1); i++)
		world_list_index(world, CACHED_PODS, INDEX_OWNER, api_metadata(by_sets ? revisions->items[i].holder : object)->uid, ret);
}

bool workload_matters(const void *old_object, const void *object)
{
	const struct meta_v1_object_meta *old = api_metadata(old_object), *meta = api_metadata(object);
	return old->generation != meta->generation || !str_equal(old->uid, meta->uid) || !api_map_equal(&old->annotations, &meta->annotations) ||
	       old->deletion_timestamp.set != meta->deletion_timestamp.set;
}
