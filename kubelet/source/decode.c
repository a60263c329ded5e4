/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/yaml.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "kubelet/pod/manager.h"
#include "kubelet/source/source.h"

#include <errno.h>

struct decode {
	struct kubelet *kubelet;
	const char *origin, *kind;
	struct map *pods;
	struct error *err;
};

static void add_toleration(struct arena *arena, struct core_v1_pod *pod) {
	/* A static pod belongs to its node, whatever is wrong with it. */
	struct core_v1_toleration *t = api_list_add(arena, &pod->spec.tolerations);
	*t = (struct core_v1_toleration){.operator = CORE_V1_TOLERATION_OPERATOR_EXISTS, .effect = CORE_V1_TAINT_EFFECT_NO_EXECUTE};
}

/* Same text, node and origin: same uid, so that a restart finds its pod again. */
static const char *uid_of(struct arena *arena, const struct decode *d, const struct core_v1_pod *pod, const char *json, size_t len) {
	char hex[65];
	autobuf struct buf all = BUF_INIT(SOURCE_MAX_MANIFEST + 8192);
	buf_append(&all, json, len);
	buf_printf(&all, "\nhost:%s\norigin:%s\n", d->kubelet->node_name, d->origin);
	sha256_hex(all.data, all.len, hex);
	return arena_strndup(arena, hex, 32);
}

static int add_pod(const struct decode *d, struct core_v1_pod *pod, const char *json, size_t len) {
	struct arena *arena = api_arena(pod);
	char now[40];
	if (str_empty(pod->metadata.name) || !pod->spec.containers.len)
		return error_set(d->err, EINVAL, "manifest has no name or no containers");
	if (str_empty(pod->metadata.uid))
		pod->metadata.uid = uid_of(arena, d, pod, json, len);
	pod->metadata.name = arena_printf(arena, "%s-%s", pod->metadata.name, d->kubelet->node_name);
	if (str_empty(pod->metadata.namespace))
		pod->metadata.namespace = "default";
	int r = source_check_names(pod, d->err);
	if (r < 0)
		return r;
	time_format_rfc3339_nano(clock_wall(), now);
	api_map_set(arena, &pod->metadata.annotations, "kubernetes.io/config.hash", pod->metadata.uid);
	api_map_set(arena, &pod->metadata.annotations, "kubernetes.io/config.seen", now);
	api_map_set(arena, &pod->metadata.annotations, "kubernetes.io/config.source", d->kind);
	pod->spec.node_name = d->kubelet->node_name;
	pod->status = (struct core_v1_pod_status){0};
	api_default(pod);
	add_toleration(arena, pod);
	autofree char *uid = xstrdup(pod->metadata.uid);
	map_set(d->pods, uid, api_ref(pod));
	return 0;
}

static int decode_one(const char *json, size_t len, void *arg) {
	const struct decode *d = arg;
	const struct api_decode_options options = {.validation = API_IGNORE};
	autounref void *object = NULL;
	int r = api_decode_json_any(json, len, &options, &object, d->err);
	if (r < 0)
		return r;
	if (api_type_of(object) == &core_v1_pod_type)
		return add_pod(d, object, json, len);
	if (api_type_of(object) != &core_v1_pod_list_type)
		return error_set(d->err, EINVAL, "manifest is neither a Pod nor a PodList");
	struct core_v1_pod_list *list = object;
	for api_list_each (item, &list->items) {
		autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
		autobuf struct buf text = BUF_INIT(SOURCE_MAX_MANIFEST);
		api_copy_value(&core_v1_pod_type, pod, item, api_arena(pod));
		api_encode_json(&core_v1_pod_type, item, &text);
		r = add_pod(d, pod, text.data, text.len);
		if (r < 0)
			return r;
	}
	return 0;
}

int source_decode(struct kubelet *kubelet, const char *text, size_t len, const char *origin, const char *kind, struct map *pods, struct error *err) {
	struct decode d = {.kubelet = kubelet, .origin = origin, .kind = kind, .pods = pods, .err = err};
	return yaml_to_json(text, len, decode_one, &d, err);
}

static void unref(void *object) {
	api_unref(object);
}

void source_apply(struct kubelet *kubelet, struct map *known, struct map *take_pods, const char *kind) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(known, &i));)
		if (!map_has(take_pods, e->key)) {
			const struct core_v1_pod *gone = e->value;
			log_info("static pod is gone", LOG_STR("pod", gone->metadata.name));
			pod_manager_remove(kubelet->pods, e->key);
			autounref struct core_v1_pod *mirror = kubelet->client ? informer_find(kubelet->pod_informer, gone->metadata.namespace, gone->metadata.name) : NULL;
			if (mirror && mirror_is(mirror))
				mirror_delete(kubelet, mirror->metadata.namespace, mirror->metadata.name, mirror->metadata.uid);
		}
	for (size_t i = 0; (e = map_next(take_pods, &i));)
		if (!map_has(known, e->key))
			pod_manager_set(kubelet->pods, e->value, kind);
	map_done(known);
	*known = *take_pods;
	*take_pods = MAP_INIT(unref);
}

void source_spoke(struct kubelet *kubelet) {
	if (__atomic_sub_fetch(&kubelet->silent_sources, 1, __ATOMIC_ACQ_REL) == 0)
		pod_manager_sources_ready(kubelet->pods);
}
