/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admission/usage.h"
#include "apiserver/admission/admission.h"
#include "common/pod/quota.h"

#include <errno.h>

static void pod_usage(struct arena *arena, const struct core_v1_pod *pod, struct api_quantity_map *usage) {
	quota_add_count(arena, usage, "count/pods", 1);
	if (!quota_pod_has_ended(pod))
		quota_pod_usage(arena, pod, usage);
}

static void object_usage(struct write *w, const void *object, struct api_quantity_map *usage) {
	static const char *const plain[] = {"replicationcontrollers", "resourcequotas", "secrets", "configmaps"};
	struct arena *arena = w->arena;
	const char *plural = w->resource->api->plural, *group = resource_group(w->resource);
	if (!*group && strcmp(plural, "pods") == 0) {
		pod_usage(arena, object, usage);
	} else if (!*group && strcmp(plural, "services") == 0) {
		quota_service_usage(arena, object, usage);
	} else if (!*group && strcmp(plural, "persistentvolumeclaims") == 0) {
		quota_claim_usage(arena, object, usage);
	} else if (strcmp(group, "resource.k8s.io") == 0 && strcmp(plural, "resourceclaims") == 0 && api_type_of(object) == &resource_v1_resource_claim_type) {
		quota_resource_claim_usage(arena, object, usage);
	} else {
		quota_add_count(arena, usage, *group ? arena_printf(arena, "count/%s.%s", plural, group) : arena_printf(arena, "count/%s", plural), 1);
		for (size_t i = 0; !*group && i < array_len(plain); i++)
			if (strcmp(plain[i], plural) == 0)
				quota_add_count(arena, usage, plural, 1);
	}
}

void usage_delta(struct write *w, struct api_quantity_map *ret) {
	struct api_quantity_map now = {0}, before = {0}, delta = {0};
	object_usage(w, w->object, &now);
	if (!w->created && w->old)
		object_usage(w, w->old, &before);
	for (uint32_t i = 0; i < now.len; i++) {
		struct quantity q = now.items[i].value;
		const struct quantity *was = api_quantity_get(&before, now.items[i].key);
		if (was)
			quantity_sub(&q, was);
		if (!quantity_is_zero(&q))
			api_quantity_set(w->arena, &delta, now.items[i].key, q);
	}
	/* An update that takes less is left to the controller, which knows when it really has. */
	if (!w->created)
		for (uint32_t i = delta.len; i-- > 0;)
			if (delta.items[i].value.nano < 0)
				api_list_remove(&delta, i);
	*ret = delta;
}

void usage_whole(struct write *w, struct api_quantity_map *ret) {
	object_usage(w, w->object, ret);
}

bool usage_has_scope(struct write *w, const char *scope, const char *operator, const struct api_string_list *values) {
	if (admission_is(w, "", "persistentvolumeclaims", NULL))
		return quota_claim_in_scope(w->object, scope, operator, values);
	return admission_is(w, "", "pods", NULL) && quota_pod_in_scope(w->object, scope, operator, values);
}

bool usage_in_scope(struct write *w, const struct core_v1_resource_quota *quota) {
	if (admission_is(w, "", "persistentvolumeclaims", NULL))
		return quota_takes_claim(quota, w->object);
	if (admission_is(w, "", "pods", NULL))
		return quota_takes_pod(quota, w->object);
	return !quota_has_scopes(quota);
}

int usage_check_required(struct write *w, const struct core_v1_resource_quota *quota, struct error *err) {
	static const struct { const char *hard, *name; bool limit; } rules[] = {
		{"cpu", "cpu", false}, {"memory", "memory", false}, {"requests.cpu", "cpu", false}, {"requests.memory", "memory", false}, {"limits.cpu", "cpu", true}, {"limits.memory", "memory", true},
	};
	if (!admission_is(w, "", "pods", NULL) || !w->created)
		return 0;
	const struct core_v1_pod *pod = w->object;
	autobuf struct buf missing = BUF_INIT(64 << 10);
	for (size_t i = 0; i < array_len(rules); i++) {
		if (!api_quantity_get(&quota->spec.hard, rules[i].hard))
			continue;
		for (uint32_t c = 0; c < pod->spec.containers.len; c++) {
			const struct core_v1_resource_requirements *r = &pod->spec.containers.items[c].resources;
			if (!api_quantity_get(rules[i].limit ? &r->limits : &r->requests, rules[i].name))
				buf_printf(&missing, "%s%s for: %s", missing.len ? "; " : "", rules[i].hard, pod->spec.containers.items[c].name);
		}
	}
	if (!missing.len)
		return 0;
	return error_forbidden(err, w->resource, admission_name(w), "failed quota: %s: must specify %s", quota->metadata.name, missing.data);
}
