/* SPDX-License-Identifier: Apache-2.0 */
/* DefaultTolerationSeconds, Priority and TaintNodesByCondition: small additions to pods and nodes. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/scheduling_v1.h"

#include <errno.h>

/* ---- DefaultTolerationSeconds ---- */

#define NOT_READY "node.kubernetes.io/not-ready"
#define UNREACHABLE "node.kubernetes.io/unreachable"

static bool tolerates(const struct core_v1_pod_spec *spec, const char *key) {
	for (uint32_t i = 0; i < spec->tolerations.len; i++) {
		const struct core_v1_toleration *t = &spec->tolerations.items[i];
		if ((str_equal(t->key, key) || str_empty(t->key)) && (str_equal(t->effect, "NoExecute") || str_empty(t->effect)))
			return true;
	}
	return false;
}

static void tolerate(struct core_v1_pod *pod, const char *key, int64_t seconds) {
	if (tolerates(&pod->spec, key))
		return;
	struct arena *arena = api_arena(pod);
	struct core_v1_toleration *t = api_list_add(arena, &pod->spec.tolerations);
	t->key = key;
	t->operator = "Exists";
	t->effect = "NoExecute";
	t->toleration_seconds = api_int64(arena, seconds);
}

static int admit_tolerations(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	const struct apiserver_options *o = w->r->server->options;
	bool not_ready = tolerates(&((struct core_v1_pod *)w->object)->spec, NOT_READY);
	bool unreachable = tolerates(&((struct core_v1_pod *)w->object)->spec, UNREACHABLE);
	if (!not_ready)
		tolerate(w->object, NOT_READY, o->default_not_ready_toleration_seconds);
	if (!unreachable)
		tolerate(w->object, UNREACHABLE, o->default_unreachable_toleration_seconds);
	return 0;
}

const struct admission_plugin admission_default_toleration_seconds = {
	.name = "DefaultTolerationSeconds",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.admit = admit_tolerations,
};

/* ---- Priority ---- */

static struct scheduling_v1_priority_class *default_class(struct apiserver *server) {
	const struct resource *classes = registry_find(server->registry, "scheduling.k8s.io", "v1", "priorityclasses");
	if (!classes)
		return NULL;
	autosnapshot struct snapshot *snapshot = collection_snapshot(classes->collection);
	struct scheduling_v1_priority_class *best = NULL;
	for (size_t i = 0; i < snapshot->len; i++) {
		void *object;
		struct entry *entry = snapshot_entry(snapshot, i);
		/* Every pod comes by here, and hardly any class is the default. */
		if (!memmem(entry->json->data, entry->json->len, "globalDefault", 13) || resource_decode(classes, entry, &object, NULL) < 0)
			continue;
		struct scheduling_v1_priority_class *class = object;
		if (class->global_default && (!best || class->value < best->value)) {
			api_unref(best);
			best = class;
		} else {
			api_unref(class);
		}
	}
	return best;
}

static int admit_pod_priority(struct write *w, struct error *err) {
	struct core_v1_pod *pod = w->object;
	struct arena *arena = api_arena(pod);
	if (w->old && !w->created) {
		const struct core_v1_pod *old = w->old;
		if (!pod->spec.priority && old->spec.priority)
			pod->spec.priority = api_int32(arena, *old->spec.priority);
		if (str_empty(pod->spec.preemption_policy))
			pod->spec.preemption_policy = arena_strdup(arena, old->spec.preemption_policy);
		return 0;
	}
	int32_t value = 0;
	const char *policy = "PreemptLowerPriority";
	struct scheduling_v1_priority_class *class;
	if (str_empty(pod->spec.priority_class_name)) {
		class = default_class(w->r->server);
		if (class)
			pod->spec.priority_class_name = arena_strdup(arena, class->metadata.name);
	} else {
		class = registry_read(w->r->server->registry, "scheduling.k8s.io", "priorityclasses", NULL, pod->spec.priority_class_name);
		if (!class)
			return error_forbidden(err, w->resource, admission_name(w), "no PriorityClass with name %s was found", pod->spec.priority_class_name);
	}
	if (class) {
		value = class->value;
		policy = arena_strdup(arena, str_or(class->preemption_policy, policy));
		api_unref(class);
	}
	if (pod->spec.priority && *pod->spec.priority != value)
		return error_forbidden(err, w->resource, admission_name(w), "the integer value of priority (%d) must not be provided in pod spec; priority admission controller computed %d from the given PriorityClass name", *pod->spec.priority, value);
	if (!str_empty(pod->spec.preemption_policy) && strcmp(pod->spec.preemption_policy, policy) != 0)
		return error_forbidden(err, w->resource, admission_name(w), "the string value of PreemptionPolicy (%s) must not be provided in pod spec; priority admission controller computed %s from the given PriorityClass name", pod->spec.preemption_policy, policy);
	pod->spec.priority = api_int32(arena, value);
	pod->spec.preemption_policy = policy;
	return 0;
}

static int admit_priority(struct write *w, struct error *err) {
	return admission_is(w, "", "pods", NULL) ? admit_pod_priority(w, err) : 0;
}

static int validate_priority(struct write *w, struct error *err) {
	if (!admission_is(w, "scheduling.k8s.io", "priorityclasses", NULL) || !((struct scheduling_v1_priority_class *)w->object)->global_default)
		return 0;
	struct scheduling_v1_priority_class *class = default_class(w->r->server);
	int rc = 0;
	if (class && !str_equal(class->metadata.name, api_metadata(w->object)->name))
		rc = error_forbidden(err, w->resource, admission_name(w), "PriorityClass %s is already marked as default. Only one default can exist", class->metadata.name);
	api_unref(class);
	return rc;
}

const struct admission_plugin admission_priority = {
	.name = "Priority",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.admit = admit_priority,
	.validate = validate_priority,
};

/* ---- TaintNodesByCondition ---- */

static int admit_node(struct write *w, struct error *err) {
	if (!admission_is(w, "", "nodes", NULL))
		return 0;
	struct core_v1_node *node = w->object;
	for (uint32_t i = 0; i < node->spec.taints.len; i++)
		if (str_equal(node->spec.taints.items[i].key, NOT_READY) && str_equal(node->spec.taints.items[i].effect, "NoSchedule"))
			return 0;
	struct core_v1_taint *taint = api_list_add(api_arena(node), &node->spec.taints);
	taint->key = NOT_READY;
	taint->effect = "NoSchedule";
	return 0;
}

const struct admission_plugin admission_taint_nodes = {
	.name = "TaintNodesByCondition",
	.operations = WRITE_CREATE,
	.admit = admit_node,
};
