/* SPDX-License-Identifier: Apache-2.0 */
/* AlwaysPullImages, ExtendedResourceToleration and LimitPodHardAntiAffinityTopology: small rules for pods that an operator may turn on. */
#include "apiserver/admission/admission.h"
#include "apiserver/validation/validation.h"
#include "api/core_v1.h"

#define ALWAYS "Always"
#define HOST_NAME "kubernetes.io/hostname"

/* ---- AlwaysPullImages ---- */

/* Ephemeral containers are laid out like others. */
static const struct {
	const char *field;
	size_t offset;
} lists[] = {
	{"initContainers", offsetof(struct core_v1_pod_spec, init_containers)},
	{"containers", offsetof(struct core_v1_pod_spec, containers)},
};

static struct core_v1_container_array *list_at(const struct core_v1_pod_spec *spec, size_t i) {
	return (struct core_v1_container_array *)((char *)spec + lists[i].offset);
}

static bool has_image(const struct core_v1_pod_spec *spec, const char *image) {
	for (size_t l = 0; l < array_len(lists); l++)
		for api_list_each (c, list_at(spec, l))
			if (str_equal(c->image, image))
				return true;
	for api_list_each (c, &spec->ephemeral_containers)
		if (str_equal(c->image, image))
			return true;
	return false;
}

/* Whether the pod runs nothing that it did not run before. */
static bool known_images(const struct core_v1_pod_spec *spec, const struct core_v1_pod_spec *old) {
	for (size_t l = 0; l < array_len(lists); l++)
		for api_list_each (c, list_at(spec, l))
			if (!has_image(old, c->image))
				return false;
	for api_list_each (c, &spec->ephemeral_containers)
		if (!has_image(old, c->image))
			return false;
	return true;
}

static struct core_v1_pod_spec *pulled(struct write *w) {
	if (!admission_is(w, "", "pods", NULL))
		return NULL;
	struct core_v1_pod *pod = w->object;
	const struct core_v1_pod *old = w->operation == WRITE_UPDATE ? w->old : NULL;
	return old && known_images(&pod->spec, &old->spec) ? NULL : &pod->spec;
}

static int admit_pull(struct write *w, struct error *err) {
	struct core_v1_pod_spec *spec = pulled(w);
	if (!spec)
		return 0;
	for (size_t l = 0; l < array_len(lists); l++)
		for api_list_each (c, list_at(spec, l))
			c->image_pull_policy = ALWAYS;
	for api_list_each (c, &spec->ephemeral_containers)
		c->image_pull_policy = ALWAYS;
	for api_list_each (v, &spec->volumes)
		if (v->image)
			v->image->pull_policy = ALWAYS;
	return 0;
}

static int refuse_policy(struct write *w, const char *field, long i, const char *rest, const char *policy, struct error *err) {
	return error_forbidden(err, w->resource, admission_name(w), "spec.%s[%ld].%s: Unsupported value: \"%s\": supported values: \"" ALWAYS "\"", field, i, rest, str_or(policy, ""));
}

/* Others may have changed the pod since. */
static int validate_pull(struct write *w, struct error *err) {
	const struct core_v1_pod_spec *spec = pulled(w);
	if (!spec)
		return 0;
	for (size_t l = 0; l < array_len(lists); l++)
		for api_list_each (c, list_at(spec, l))
			if (!str_equal(c->image_pull_policy, ALWAYS))
				return refuse_policy(w, lists[l].field, c - list_at(spec, l)->items, "imagePullPolicy", c->image_pull_policy, err);
	for api_list_each (c, &spec->ephemeral_containers)
		if (!str_equal(c->image_pull_policy, ALWAYS))
			return refuse_policy(w, "ephemeralContainers", c - spec->ephemeral_containers.items, "imagePullPolicy", c->image_pull_policy, err);
	for api_list_each (v, &spec->volumes)
		if (v->image && !str_equal(v->image->pull_policy, ALWAYS))
			return refuse_policy(w, "volumes", v - spec->volumes.items, "image.pullPolicy", v->image->pull_policy, err);
	return 0;
}

const struct admission_plugin admission_always_pull_images = {
	.name = "AlwaysPullImages",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.admit = admit_pull,
	.validate = validate_pull,
};

/* ---- ExtendedResourceToleration ---- */

static int compare_names(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Of those with the same key and effect, operator and value, one stands for all. */
static void tolerate(struct core_v1_pod *pod, const char *key) {
	struct arena *arena = api_arena(pod);
	const struct core_v1_toleration wanted = {.key = key, .operator = "Exists", .effect = "NoSchedule"};
	bool found = false;
	for api_list_each (t, &pod->spec.tolerations) {
		if (!str_equal(t->key, key) || !str_equal(t->operator, wanted.operator) || !str_equal(t->effect, wanted.effect) || !str_empty(t->value))
			continue;
		*t = wanted;
		found = true;
	}
	if (!found)
		*api_list_add(arena, &pod->spec.tolerations) = wanted;
}

static int admit_extended(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	struct core_v1_pod *pod = w->object;
	struct api_string_list names = {0};
	for (size_t l = 0; l < array_len(lists); l++)
		for api_list_each (c, list_at(&pod->spec, l))
			for (uint32_t i = 0; i < c->resources.requests.len; i++)
				if (resource_is_extended(c->resources.requests.items[i].key) && !api_string_list_has(&names, c->resources.requests.items[i].key))
					api_string_list_add(api_arena(pod), &names, c->resources.requests.items[i].key);
	if (names.len)
		qsort(names.items, names.len, sizeof(*names.items), compare_names);
	for (uint32_t i = 0; i < names.len; i++)
		tolerate(pod, names.items[i]);
	return 0;
}

const struct admission_plugin admission_extended_resource_toleration = {
	.name = "ExtendedResourceToleration",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.admit = admit_extended,
};

/* ---- LimitPodHardAntiAffinityTopology ---- */

static int validate_anti_affinity(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	const struct core_v1_pod *pod = w->object;
	const struct core_v1_affinity *affinity = pod->spec.affinity;
	if (!affinity || !affinity->pod_anti_affinity)
		return 0;
	for api_list_each (term, &affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution)
		if (!str_equal(term->topology_key, HOST_NAME))
			return error_forbidden(err, w->resource, admission_name(w), "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey %s but only key " HOST_NAME " is allowed", str_or(term->topology_key, ""));
	return 0;
}

const struct admission_plugin admission_hard_anti_affinity = {
	.name = "LimitPodHardAntiAffinityTopology",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.validate = validate_anti_affinity,
};
