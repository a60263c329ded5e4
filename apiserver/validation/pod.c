/* SPDX-License-Identifier: Apache-2.0 */
/* Pods and pod templates: annotations, what an update, a resize or a new status may change. */
#include "apiserver/validation/validation.h"
#include "common/pod/resources.h"

#define MIRROR "kubernetes.io/config.mirror"
#define APPARMOR "container.apparmor.security.beta.kubernetes.io/"
#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP "container.seccomp.security.alpha.kubernetes.io/"

/* ---- annotations that mean something ---- */

static bool has_container(const struct core_v1_pod_spec *spec, const char *name) {
	for (uint32_t i = 0; i < spec->containers.len; i++)
		if (str_equal(spec->containers.items[i].name, name))
			return true;
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		if (str_equal(spec->init_containers.items[i].name, name))
			return true;
	for (uint32_t i = 0; i < spec->ephemeral_containers.len; i++)
		if (str_equal(spec->ephemeral_containers.items[i].name, name))
			return true;
	return false;
}

static void check_seccomp_annotation(const char *profile, const struct path *at, struct error *err) {
	static const char *const plain[] = {"runtime/default", "docker/default", "unconfined"};
	for (size_t i = 0; i < array_len(plain); i++)
		if (strcmp(profile, plain[i]) == 0)
			return;
	if (str_starts_with(profile, "localhost/"))
		check_format(format_relative_path, profile + strlen("localhost/"), at, err);
	else
		invalid(err, at, profile, "must be a valid seccomp profile");
}

static void check_pod_annotations(const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < meta->annotations.len; i++) {
		const char *key = meta->annotations.items[i].key, *value = meta->annotations.items[i].value;
		int64_t cost;
		if (strcmp(key, MIRROR) == 0 && str_empty(spec->node_name))
			invalid(err, &PATH_KEY(at, NULL, key), value, "must set spec.nodeName if mirror pod annotation is set");
		else if (strcmp(key, "controller.kubernetes.io/pod-deletion-cost") == 0 && (*value == '+' || !str_to_int64(value, INT32_MIN, INT32_MAX, &cost)))
			invalid(err, &PATH_KEY(at, NULL, key), value, "must be a 32bit integer");
		else if (strcmp(key, SECCOMP_POD) == 0 || str_starts_with(key, SECCOMP))
			check_seccomp_annotation(value, AT(key), err);
		else if (str_starts_with(key, APPARMOR)) {
			if (!has_container(spec, key + strlen(APPARMOR)))
				invalid(err, &PATH_KEY(at, NULL, key), key + strlen(APPARMOR), "container not found");
			if (*value && strcmp(value, "runtime/default") != 0 && strcmp(value, "unconfined") != 0 && !str_starts_with(value, "localhost/"))
				invalid(err, &PATH_KEY(at, NULL, key), value, "invalid AppArmor profile name: \"%s\"", value);
		}
	}
}

/* A profile told both ways must be told alike. */
static void check_profiles_match(const char *annotation, const char *type, const char *local, const char *what, const struct path *at, struct error *err) {
	if (!annotation || str_empty(type))
		return;
	bool same = true;
	if (strcmp(type, "Unconfined") == 0)
		same = strcmp(annotation, "unconfined") == 0;
	else if (strcmp(type, "RuntimeDefault") == 0)
		same = strcmp(annotation, "runtime/default") == 0 || (*what == 's' && strcmp(annotation, "docker/default") == 0);
	else if (strcmp(type, "Localhost") == 0) {
		same = str_starts_with(annotation, "localhost/");
		if (same && (!local || strcmp(annotation + strlen("localhost/"), local) != 0))
			forbidden(err, AT("localhostProfile"), "%s profile in annotation and field must match", what);
	}
	if (!same)
		forbidden(err, AT("type"), "%s type in annotation and field must match", what);
}

static void check_container_profiles(const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec, const struct core_v1_container_array *list, const char *name, const struct path *at, struct error *err) {
	const struct core_v1_pod_security_context *pod = spec->security_context;
	for (uint32_t i = 0; i < list->len; i++) {
		const struct core_v1_security_context *sc = list->items[i].security_context;
		if (!(sc && (sc->app_armor_profile || sc->seccomp_profile)) && !(pod && pod->app_armor_profile))
			continue;
		autofree char *apparmor = xprintf(APPARMOR "%s", str_or(list->items[i].name, "")), *seccomp = xprintf(SECCOMP "%s", str_or(list->items[i].name, ""));
		struct path context = PATH(AT_INDEX(name, i), "securityContext");
		const struct core_v1_app_armor_profile *profile = sc && sc->app_armor_profile ? sc->app_armor_profile : pod ? pod->app_armor_profile : NULL;
		if (profile && !(spec->os && str_equal(spec->os->name, "windows")))
			check_profiles_match(api_map_get(&meta->annotations, apparmor), profile->type, profile->localhost_profile, "apparmor", &PATH(&context, "appArmorProfile"), err);
		if (sc && sc->seccomp_profile)
			check_profiles_match(api_map_get(&meta->annotations, seccomp), sc->seccomp_profile->type, sc->seccomp_profile->localhost_profile, "seccomp", &PATH(&context, "seccompProfile"), err);
	}
}

static void check_profiles(const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	const struct core_v1_pod_security_context *sc = spec->security_context;
	if (sc && sc->seccomp_profile)
		check_profiles_match(api_map_get(&meta->annotations, SECCOMP_POD), sc->seccomp_profile->type, sc->seccomp_profile->localhost_profile, "seccomp",
				     &PATH(AT("securityContext"), "seccompProfile"), err);
	check_container_profiles(meta, spec, &spec->init_containers, "initContainers", at, err);
	check_container_profiles(meta, spec, &spec->containers, "containers", at, err);
}

/* ---- templates ---- */

CHECK(core_v1_pod_template_spec, template) {
	check_labels(&template->metadata.labels, AT("labels"), err);
	check_annotations(&template->metadata.annotations, AT("annotations"), err);
	check_pod_annotations(&template->metadata, &template->spec, AT("annotations"), err);
	size_t from = err->cause_count;
	check_profiles(&template->metadata, &template->spec, AT("spec"), err);
	if (template->spec.ephemeral_containers.len)
		forbidden(err, &PATH(AT("spec"), "ephemeralContainers"), "ephemeral containers not allowed in pod template");
	tell_at(AT("~whole"), from, err);
}

/* ---- updates: almost all of a pod's spec stays ---- */

#define MAY_CHANGE "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

static void check_image(const char *image, const struct path *at, struct error *err) {
	size_t len = strlen(str_or(image, ""));
	if (len && (strchr(" \t\r\n\v\f", *image) || strchr(" \t\r\n\v\f", image[len - 1])))
		invalid(err, AT("image"), image, "must not have leading or trailing whitespace");
}

static bool same_toleration(const struct core_v1_toleration *a, const struct core_v1_toleration *b) {
	return str_equal(a->key, b->key) && str_equal(a->operator, b->operator) && str_equal(a->value, b->value) && str_equal(a->effect, b->effect);
}

/* Looked at once more where they are all that may change. */
static void check_images(const struct core_v1_container_array *list, const char *name, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < list->len; i++) {
		if (str_empty(list->items[i].image))
			required(err, &PATH(AT_INDEX(name, i), "image"), NULL);
		check_image(list->items[i].image, AT_INDEX(name, i), err);
	}
}

static void check_tolerations(const struct core_v1_pod_spec *spec, const struct core_v1_pod_spec *old, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < old->tolerations.len; i++) {
		bool found = false;
		for (uint32_t n = 0; n < spec->tolerations.len; n++)
			found |= same_toleration(&old->tolerations.items[i], &spec->tolerations.items[n]);
		if (!found) {
			forbidden(err, AT("tolerations"), "existing toleration can not be modified except its tolerationSeconds");
			return;
		}
	}
	/* What may be added is looked at once more. */
	size_t count = err->cause_count;
	for (uint32_t t = 0; t < spec->tolerations.len; t++) {
		autofree char *prefix = xprintf("spec.tolerations[%u]", t), *key = xprintf("%s.key", prefix);
		/* Its key, what its fields ask of each other, its effect. */
		for (int part = 0; part < 3; part++)
			for (size_t i = 0; i < count; i++) {
				const struct error_cause *cause = &err->causes[i];
				int own = strcmp(cause->field, key) == 0 ? 0 : cause->place ? 1 : 2;
				if (own == part && str_starts_with(cause->field, prefix))
					error_cause(err, cause->reason, cause->field, "%s", cause->message);
			}
	}
}

static void check_no_new_gates(const struct core_v1_pod_spec *spec, const struct core_v1_pod_spec *old, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < spec->scheduling_gates.len; i++) {
		bool found = false;
		for (uint32_t n = 0; n < old->scheduling_gates.len; n++)
			found |= str_equal(spec->scheduling_gates.items[i].name, old->scheduling_gates.items[n].name);
		if (!found)
			forbidden(err, &PATH(AT_INDEX("schedulingGates", i), "name"), "only deletion is allowed, but found new scheduling gate '%s'", spec->scheduling_gates.items[i].name);
	}
}

static bool same_requirements(const struct core_v1_node_selector_requirement_array *now, const struct core_v1_node_selector_requirement_array *old) {
	if (now->len < old->len)
		return false;
	for (uint32_t i = 0; i < old->len; i++)
		if (!api_equal(&core_v1_node_selector_requirement_type, &now->items[i], &old->items[i]))
			return false;
	return true;
}

/* While a pod is gated, what it asks of nodes may become stricter. */
static void check_gated(const struct core_v1_pod_spec *spec, const struct core_v1_pod_spec *old, const struct path *at, struct error *err) {
	if (!api_map_contains(&spec->node_selector, &old->node_selector)) {
		autobuf struct buf text = BUF_INIT(64u << 10);
		buf_append_char(&text, '{');
		for (uint32_t i = 0; i < spec->node_selector.len; i++)
			buf_printf(&text, "%s\"%s\":\"%s\"", i ? "," : "", spec->node_selector.items[i].key, spec->node_selector.items[i].value);
		buf_append_char(&text, '}');
		invalid_struct(err, AT("nodeSelector"), NULL, text.data, "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
	}
	const struct core_v1_node_affinity *was = old->affinity ? old->affinity->node_affinity : NULL, *now = spec->affinity ? spec->affinity->node_affinity : NULL;
	const struct core_v1_node_selector *before = was ? was->required_during_scheduling_ignored_during_execution : NULL;
	const struct core_v1_node_selector *after = now ? now->required_during_scheduling_ignored_during_execution : NULL;
	struct path node = PATH(AT("affinity"), "nodeAffinity"), selector = PATH(&node, "requiredDuringSchedulingIgnoredDuringExecution");
	if (!before || !before->node_selector_terms.len)
		return;
	if (!after || before->node_selector_terms.len != after->node_selector_terms.len) {
		invalid_struct(err, &PATH(&selector, "nodeSelectorTerms"), after ? &core_v1_node_selector_type : NULL, after, "no additions/deletions to non-empty NodeSelectorTerms list are allowed");
		return;
	}
	for (uint32_t i = 0; i < before->node_selector_terms.len; i++) {
		const struct core_v1_node_selector_term *b = &before->node_selector_terms.items[i], *a = &after->node_selector_terms.items[i];
		bool was_empty = !b->match_expressions.len && !b->match_fields.len, is_empty = !a->match_expressions.len && !a->match_fields.len;
		if ((was_empty && !is_empty) || !same_requirements(&a->match_expressions, &b->match_expressions) || !same_requirements(&a->match_fields, &b->match_fields))
			invalid_struct(err, &PATH_INDEX(&selector, "nodeSelectorTerms", i), &core_v1_node_selector_term_type, a, "only additions are allowed (no mutations or deletions)");
	}
}

/* True where more than what may change has changed. */
static bool changed_beyond(const struct core_v1_pod *pod, const struct core_v1_pod *old) {
	if (api_equal(&core_v1_pod_spec_type, &pod->spec, &old->spec))
		return false;
	autounref struct core_v1_pod *copy = api_copy(pod);
	struct core_v1_pod_spec *a = &copy->spec;
	const struct core_v1_pod_spec *b = &old->spec;
	for (uint32_t i = 0; i < a->containers.len; i++)
		a->containers.items[i].image = b->containers.items[i].image;
	for (uint32_t i = 0; i < a->init_containers.len; i++)
		a->init_containers.items[i].image = b->init_containers.items[i].image;
	a->active_deadline_seconds = b->active_deadline_seconds;
	a->tolerations = b->tolerations;
	a->scheduling_gates = b->scheduling_gates;
	if (b->termination_grace_period_seconds && *b->termination_grace_period_seconds < 0 && a->termination_grace_period_seconds && *a->termination_grace_period_seconds == 1)
		a->termination_grace_period_seconds = b->termination_grace_period_seconds;
	if (b->scheduling_gates.len) {
		a->node_selector = b->node_selector;
		if (a->affinity && b->affinity)
			a->affinity->node_affinity = b->affinity->node_affinity;
		else if (b->affinity ? !b->affinity->pod_affinity && !b->affinity->pod_anti_affinity : a->affinity && !a->affinity->pod_affinity && !a->affinity->pod_anti_affinity)
			a->affinity = b->affinity;
	}
	return !api_equal(&core_v1_pod_spec_type, a, b);
}

static void check_update(const struct core_v1_pod *pod, const struct core_v1_pod *old, const struct path *at, struct error *err) {
	const struct core_v1_pod_spec *spec = &pod->spec, *was = &old->spec;
	bool sizes = spec->containers.len == was->containers.len && spec->init_containers.len == was->init_containers.len;
	if (spec->containers.len != was->containers.len)
		forbidden(err, AT("containers"), "pod updates may not add or remove containers");
	else
		check_images(&spec->containers, "containers", at, err);
	if (spec->containers.len == was->containers.len && spec->init_containers.len != was->init_containers.len)
		forbidden(err, AT("initContainers"), "pod updates may not add or remove containers");
	else if (sizes)
		check_images(&spec->init_containers, "initContainers", at, err);
	if (!sizes)
		return;
	const int64_t *deadline = spec->active_deadline_seconds, *before = was->active_deadline_seconds;
	if (deadline && (*deadline < 0 || *deadline > INT32_MAX)) {
		check_range(*deadline, 0, INT32_MAX, AT("activeDeadlineSeconds"), err);
		return;
	}
	if (deadline && before && *before < *deadline) {
		invalid_int(err, AT("activeDeadlineSeconds"), *deadline, "must be less than or equal to previous value");
		return;
	}
	if (!deadline && before)
		invalid_struct(err, AT("activeDeadlineSeconds"), NULL, "null", "must not update from a positive integer to nil value");
	check_tolerations(spec, was, at, err);
	check_no_new_gates(spec, was, at, err);
	if (was->scheduling_gates.len)
		check_gated(spec, was, at, err);
	if (changed_beyond(pod, old))
		forbidden(err, at, "%s", MAY_CHANGE);
}

static void check_annotation_update(const struct core_v1_pod *pod, const struct core_v1_pod *old, struct error *err) {
	struct path metadata = PATH(NULL, "metadata"), *at = &metadata;
	const struct { const struct api_string_map *a, *b; const char *verb; } sides[] = {
		{&old->metadata.annotations, &pod->metadata.annotations, "remove or update"}, {&pod->metadata.annotations, &old->metadata.annotations, "add"},
	};
	for (size_t s = 0; s < array_len(sides); s++)
		for (uint32_t i = 0; i < sides[s].a->len; i++) {
			const char *key = sides[s].a->items[i].key, *other = api_map_get(sides[s].b, key);
			if (s ? other != NULL : other && strcmp(other, sides[s].a->items[i].value) == 0)
				continue;
			if (str_starts_with(key, APPARMOR))
				forbidden(err, AT_KEY("annotations", key), "may not %s AppArmor annotations", sides[s].verb);
			if (strcmp(key, MIRROR) == 0)
				forbidden(err, AT_KEY("annotations", key), "may not %s mirror pod annotation", sides[s].verb);
		}
}

/* ---- /ephemeralcontainers and /resize ---- */

/* Nothing else is told then. */
static void refuse_whole(struct error *err, const char *text) {
	error_done(err);
	*err = (struct error){0};
	forbidden(err, &PATH(NULL, "[]"), "%s", text);
}

static void check_ephemeral_update(const struct core_v1_pod *pod, const struct core_v1_pod *old, const struct path *at, struct error *err) {
	if (api_map_get(&old->metadata.annotations, MIRROR))
		refuse_whole(err, "static pods do not support ephemeral containers");
	for (uint32_t i = 0; !api_map_get(&old->metadata.annotations, MIRROR) && i < old->spec.ephemeral_containers.len; i++) {
		const struct core_v1_ephemeral_container *was = &old->spec.ephemeral_containers.items[i], *now = NULL;
		for (uint32_t n = 0; n < pod->spec.ephemeral_containers.len && !now; n++)
			if (str_equal(pod->spec.ephemeral_containers.items[n].name, was->name))
				now = &pod->spec.ephemeral_containers.items[n];
		if (!now || !api_equal(&core_v1_ephemeral_container_type, now, was))
			forbidden(err, AT("ephemeralContainers"), "existing ephemeral containers \"%s\" may not be %s\n", was->name, now ? "changed" : "removed");
	}
}

static bool resource_removed(const struct api_quantity_map *now, const struct api_quantity_map *old) {
	for (uint32_t i = 0; i < old->len; i++)
		if (!api_quantity_get(now, old->items[i].key))
			return true;
	return false;
}

static bool lacks_other_resource(const struct api_quantity_map *from, const struct api_quantity_map *in) {
	for (uint32_t i = 0; i < from->len; i++) {
		const char *name = from->items[i].key;
		const struct quantity *other = api_quantity_get(in, name);
		if (strcmp(name, "cpu") != 0 && strcmp(name, "memory") != 0 && (!other || quantity_compare(other, &from->items[i].value) != 0))
			return true;
	}
	return false;
}

/* True where anything but cpu and memory differs. */
static bool other_resources_differ(const struct api_quantity_map *a, const struct api_quantity_map *b) {
	return lacks_other_resource(a, b) || lacks_other_resource(b, a);
}

static void check_resized(const struct core_v1_resource_requirements *now, const struct core_v1_resource_requirements *old, const char *level, const struct path *at, struct error *err) {
	if (resource_removed(&now->requests, &old->requests))
		forbidden(err, AT("requests"), "%sresource requests cannot be removed", level);
	if (resource_removed(&now->limits, &old->limits))
		forbidden(err, AT("limits"), "%sresource limits cannot be removed", level);
}

/* True where anything but cpu and memory differs, in what may be asked for or in the claims. */
static bool requirements_changed_beyond(const struct core_v1_resource_requirements *now, const struct core_v1_resource_requirements *old) {
	const struct core_v1_resource_requirements a = {.claims = now->claims}, b = {.claims = old->claims};
	return other_resources_differ(&now->limits, &old->limits) || other_resources_differ(&now->requests, &old->requests) || !api_equal(&core_v1_resource_requirements_type, &a, &b);
}

/* Kubernetes compares a container without its claims to the old one with them: one that has any cannot be resized. */
static bool container_changed_beyond(const struct core_v1_container *now, const struct core_v1_container *old) {
	struct core_v1_container copy = *now;
	copy.resources = old->resources;
	struct core_v1_resource_requirements unclaimed = now->resources;
	memset(&unclaimed.claims, 0, sizeof(unclaimed.claims));
	return !api_equal(&core_v1_container_type, &copy, old) || requirements_changed_beyond(&unclaimed, &old->resources);
}

static bool same_names(const struct core_v1_container_array *now, const struct core_v1_container_array *old, const char *name, const struct path *at, struct error *err) {
	if (now->len != old->len) {
		forbidden(err, AT(name), "%s may not be added or removed on resize", name);
		return false;
	}
	bool same = true;
	for (uint32_t i = 0; i < now->len; i++)
		if (!str_equal(now->items[i].name, old->items[i].name)) {
			forbidden(err, &PATH(AT_INDEX(name, i), "name"), "%s may not be renamed or reordered on resize", name);
			same = false;
		}
	return same;
}

static bool can_resize(const struct core_v1_pod *pod) {
	for (uint32_t i = 0; i < pod->status.container_statuses.len; i++)
		if (pod->status.container_statuses.items[i].state.running)
			return pod->status.container_statuses.items[i].resources;
	return true;
}

static bool has_any(const struct core_v1_resource_requirements *r) {
	return r && (r->requests.len || r->limits.len);
}

static void check_pod_resize(const struct core_v1_pod_spec *spec, const struct core_v1_pod_spec *was, const struct path *at, struct error *err) {
	static const struct core_v1_resource_requirements none;
	if (!has_any(spec->resources) && !has_any(was->resources))
		return;
	if (was->resources && !spec->resources) {
		forbidden(err, AT("resources"), "pod-level resources cannot be removed");
		return;
	}
	const struct core_v1_resource_requirements *before = was->resources ? was->resources : &none;
	check_resized(spec->resources, before, "pod-level ", AT("resources"), err);
	if (requirements_changed_beyond(spec->resources, before))
		forbidden(err, at, "only cpu and memory resources are mutable at pod-level");
}

/* What a sidecar or an init container has become. */
static void check_init_resize(const struct core_v1_container *now, const struct core_v1_container *was, const struct path *at, struct error *err) {
	if (container_changed_beyond(now, was))
		forbidden(err, at, "only cpu and memory resources for init or sidecar containers are mutable");
	if (str_equal(now->restart_policy, "Always") || api_equal(&core_v1_container_type, now, was))
		return;
	for (uint32_t n = 0; n < now->resize_policy.len; n++)
		if (str_equal(now->resize_policy.items[n].restart_policy, "RestartContainer"))
			forbidden(err, at, "non-sidecar init containers with a resize policy of RestartContainer cannot be resized");
}

static void check_resize(const struct core_v1_pod *pod, const struct core_v1_pod *old, const struct path *at, struct error *err) {
	const struct core_v1_pod_spec *spec = &pod->spec, *was = &old->spec;
	if (api_map_get(&old->metadata.annotations, MIRROR)) {
		refuse_whole(err, "static pods cannot be resized");
		return;
	}
	if (was->os && str_equal(was->os->name, "windows")) {
		refuse_whole(err, "windows pods cannot be resized");
		return;
	}
	if (!str_equal(pod_qos_class(spec), str_or(old->status.qos_class, pod_qos_class(was))))
		invalid(err, at, pod->status.qos_class, "Pod QOS Class may not change as a result of resizing");
	if (!can_resize(old))
		forbidden(err, at, "Pod running on node without support for resize");
	check_pod_resize(spec, was, at, err);
	bool same = same_names(&spec->containers, &was->containers, "containers", at, err);
	if (!same_names(&spec->init_containers, &was->init_containers, "initContainers", at, err) || !same)
		return;
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		check_resized(&spec->init_containers.items[i].resources, &was->init_containers.items[i].resources, "", &PATH(AT_INDEX("initContainers", i), "resources"), err);
	for (uint32_t i = 0; i < spec->containers.len; i++)
		check_resized(&spec->containers.items[i].resources, &was->containers.items[i].resources, "", &PATH(AT_INDEX("containers", i), "resources"), err);
	for (uint32_t i = 0; i < spec->containers.len; i++)
		if (container_changed_beyond(&spec->containers.items[i], &was->containers.items[i]))
			forbidden(err, at, "only cpu and memory resources are mutable");
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		check_init_resize(&spec->init_containers.items[i], &was->init_containers.items[i], AT_INDEX("initContainers", i), err);
	if (!error_has_causes(err) && !spec->resources != !was->resources && !has_any(spec->resources))
		forbidden(err, at, "only cpu and memory resources are mutable");
}

/* ---- /status ---- */

static const struct core_v1_container *container_of_name(const struct core_v1_container_array *list, const char *name) {
	for (uint32_t i = 0; i < list->len; i++)
		if (str_equal(list->items[i].name, name))
			return &list->items[i];
	return NULL;
}

static bool rule_matches(const struct core_v1_container_restart_rule *rule, int32_t code) {
	if (!rule->exit_codes)
		return false;
	bool in = false;
	for (uint32_t i = 0; i < rule->exit_codes->values.len; i++)
		in |= rule->exit_codes->values.items[i] == code;
	return str_equal(rule->exit_codes->operator, "In") ? in : !in;
}

static bool may_restart(const struct core_v1_container *container, const struct core_v1_pod_spec *spec, int32_t code) {
	const char *policy = str_or(spec->restart_policy, "Always");
	if (container->restart_policy) {
		for (uint32_t i = 0; i < container->restart_policy_rules.len; i++)
			if (rule_matches(&container->restart_policy_rules.items[i], code))
				return true;
		policy = container->restart_policy;
	}
	return strcmp(policy, "Always") == 0 || (strcmp(policy, "OnFailure") == 0 && code != 0);
}

static bool all_may_restart(const struct core_v1_container_array *list) {
	for (uint32_t i = 0; i < list->len; i++)
		for (uint32_t n = 0; n < list->items[i].restart_policy_rules.len; n++)
			if (str_equal(list->items[i].restart_policy_rules.items[n].action, "RestartAllContainers"))
				return true;
	return false;
}

static void check_transitions(const struct core_v1_container_status_array *now, const struct core_v1_container_status_array *old, const struct core_v1_container_array *containers,
			      const struct core_v1_pod_spec *spec, const char *name, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < old->len; i++) {
		const struct core_v1_container_state_terminated *ended = old->items[i].state.terminated;
		for (uint32_t n = 0; ended && n < now->len; n++) {
			if (!str_equal(now->items[n].name, old->items[i].name))
				continue;
			const struct core_v1_container *container = containers ? container_of_name(containers, old->items[i].name) : NULL;
			if (!now->items[n].state.terminated && !(container && may_restart(container, spec, ended->exit_code)))
				forbidden(err, &PATH(AT_INDEX(name, i), "state"), "may not be transitioned to non-terminated state");
			break;
		}
	}
}

static void check_ips(const char *first_family, size_t count, bool differ, const char *name, const struct path *at, struct error *err) {
	if (count > 2 || (count == 2 && !differ))
		invalid(err, AT(name), first_family, "may specify no more than one IP for each IP family");
}

static void check_extended_claim(const struct core_v1_pod_extended_resource_claim_status *claim, const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	if (!claim->request_mappings.len)
		required(err, AT("requestMappings"), "at least one request mapping is required");
	for (uint32_t i = 0; i < claim->request_mappings.len; i++) {
		const struct core_v1_container_extended_resource_request *mapping = &claim->request_mappings.items[i];
		const struct core_v1_container *container = container_of_name(&spec->containers, mapping->container_name);
		struct path here = PATH_INDEX(at, "requestMappings", i);
		if (!container)
			container = container_of_name(&spec->init_containers, mapping->container_name);
		if (!container)
			invalid(err, &PATH(&here, "containerName"), mapping->container_name, "must match the name of an entry in spec.initContainers.name or spec.containers.name");
		else if (!api_quantity_get(&container->resources.requests, str_or(mapping->resource_name, "")))
			invalid(err, &PATH(&here, "resourceName"), mapping->resource_name, "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests");
		check_format(format_dns_label, mapping->request_name, AT("requestName"), err);
		autofree char *key = xprintf("%s\n%s\n%s", str_or(mapping->container_name, ""), str_or(mapping->resource_name, ""), str_or(mapping->request_name, ""));
		if (seen_before(&seen, key)) {
			duplicate(err, &PATH(&here, "containerName"), mapping->container_name);
			duplicate(err, &PATH(&here, "resourceName"), mapping->resource_name);
			duplicate(err, &PATH(&here, "requestName"), mapping->request_name);
		}
	}
	check_needed(format_dns_subdomain, claim->resource_claim_name, AT("resourceClaimName"), err);
}

static void check_status(const struct core_v1_pod *pod, const struct core_v1_pod *old, const struct path *at, struct error *err) {
	static const char *const system[] = {"PodScheduled", "Ready", "Initialized"};
	const struct core_v1_pod_status *status = &pod->status, *was = &old->status;
	for (uint32_t i = 0; i < status->conditions.len; i++) {
		bool known = false;
		for (size_t n = 0; n < array_len(system); n++)
			known |= str_equal(status->conditions.items[i].type, system[n]);
		if (!known)
			check_format(format_qualified_name, status->conditions.items[i].type, &PATH(AT_INDEX("conditions", i), "Type"), err);
	}
	if (!str_equal(status->nominated_node_name, was->nominated_node_name) && !str_empty(status->nominated_node_name)) {
		check_format(format_dns_subdomain, status->nominated_node_name, AT("nominatedNodeName"), err);
		if (!str_empty(old->spec.node_name))
			forbidden(err, AT("nominatedNodeName"), "may not be set on pods that are already bound to a node");
	}
	if (!str_empty(status->qos_class) && !str_equal(status->qos_class, was->qos_class))
		invalid(err, AT("qosClass"), status->qos_class, IMMUTABLE_TEXT);
	if (!all_may_restart(&old->spec.containers) && !all_may_restart(&old->spec.init_containers)) {
		check_transitions(&status->container_statuses, &was->container_statuses, &old->spec.containers, &old->spec, "containerStatuses", at, err);
		check_transitions(&status->init_container_statuses, &was->init_container_statuses, &old->spec.init_containers, &old->spec, "initContainerStatuses", at, err);
	}
	check_transitions(&status->ephemeral_container_statuses, &was->ephemeral_container_statuses, NULL, &old->spec, "ephemeralContainerStatuses", at, err);
	automap struct map claims = MAP_INIT(NULL);
	for (uint32_t i = 0; i < status->resource_claim_statuses.len; i++) {
		const struct core_v1_pod_resource_claim_status *claim = &status->resource_claim_statuses.items[i];
		bool found = false;
		for (uint32_t n = 0; n < pod->spec.resource_claims.len; n++)
			found |= str_equal(pod->spec.resource_claims.items[n].name, claim->name);
		if (!found)
			invalid(err, &PATH(AT_INDEX("resourceClaimStatuses", i), "name"), claim->name, "must match the name of an entry in `spec.resourceClaims`");
		if (seen_before(&claims, claim->name))
			duplicate(err, &PATH(AT_INDEX("resourceClaimStatuses", i), "name"), claim->name);
		if (claim->resource_claim_name)
			check_format(format_dns_subdomain, claim->resource_claim_name, &PATH(AT_INDEX("resourceClaimStatuses", i), "resourceClaimName"), err);
	}
	if (status->extended_resource_claim_status)
		check_extended_claim(status->extended_resource_claim_status, &pod->spec, AT("extendedResourceClaimStatus"), err);
	const char *bad = NULL;
	size_t from;
	for (uint32_t i = 0; i < status->pod_ips.len; i++) {
		const char *ip = str_or(status->pod_ips.items[i].ip, "");
		check_format(format_ip, ip, AT_INDEX("podIPs", i), err);
		if (!bad && format_error(format_ip, ip))
			bad = ip;
	}
	if (bad && status->pod_ips.len > 1)
		cause_internal(err, AT("podIPs"), "failed to check for dual stack with error:invalid IP address: %s", bad);
	from = err->cause_count;
	if (status->host_ips.len && !str_equal(status->host_ips.items[0].ip, status->host_ip))
		invalid(err, &PATH(AT_INDEX("hostIPs", 0), "ip"), status->host_ips.items[0].ip, "must be equal to `hostIP`");
	tell_at(AT_INDEX("hostIPs", 0), from, err);
	for (uint32_t i = 0; i < status->host_ips.len; i++)
		check_format(format_ip, status->host_ips.items[i].ip, AT_INDEX("hostIPs", i), err);
#define V6(list_, i_) is_ipv6_address(str_or((list_).items[i_].ip, ""))
	if (status->pod_ips.len > 1)
		check_ips(status->pod_ips.items[0].ip, status->pod_ips.len, V6(status->pod_ips, 0) != V6(status->pod_ips, 1), "podIPs", at, err);
	if (status->host_ips.len > 1)
		check_ips(status->host_ips.items[0].ip, status->host_ips.len, V6(status->host_ips, 0) != V6(status->host_ips, 1), "hostIPs", at, err);
#undef V6
}

/* ---- the pod ---- */

static void check_spec(const struct core_v1_pod *pod, const struct path *at, struct error *err) {
	for (uint32_t i = 0; str_empty(pod->spec.service_account_name) && i < pod->spec.volumes.len; i++) {
		const struct core_v1_projected_volume_source *projected = pod->spec.volumes.items[i].projected;
		struct path volume = PATH_INDEX(at, "volumes", i), source = PATH(&volume, "projected");
		for (uint32_t n = 0; projected && n < projected->sources.len; n++)
			if (projected->sources.items[n].service_account_token)
				forbidden(err, &PATH(&PATH_INDEX(&source, "sources", n), "serviceAccountToken"), "must not be specified when serviceAccountName is not set");
	}
	for (uint32_t i = 0; i < pod->spec.containers.len; i++)
		check_image(pod->spec.containers.items[i].image, AT_INDEX("containers", i), err);
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
		check_image(pod->spec.init_containers.items[i].image, AT_INDEX("initContainers", i), err);
	for (uint32_t i = 0; i < pod->spec.ephemeral_containers.len; i++) {
		size_t from = err->cause_count;
		check_image(pod->spec.ephemeral_containers.items[i].image, AT_INDEX("ephemeralContainers", i), err);
		tell_at(&PATH(AT_INDEX("ephemeralContainers", i), "~image"), from, err);
	}
}

CHECK(core_v1_pod, pod) {
	struct path spec = PATH(NULL, "spec"), status = PATH(NULL, "status");
	if (old)
		check_annotation_update(pod, old, err);
	if (check_is_status(c)) {
		if (old)
			check_status(pod, old, &status, err);
		return;
	}
	size_t from = err->cause_count;
	check_pod_annotations(&pod->metadata, &pod->spec, &PATH(&PATH(NULL, "metadata"), "annotations"), err);
	from = err->cause_count;
	check_spec(pod, &spec, err);
	if (!old) {
		if (pod->spec.ephemeral_containers.len && !*c->subresource)
			forbidden(err, &PATH(&spec, "ephemeralContainers"), "cannot be set on create");
		if (!str_empty(pod->spec.node_name) && pod->spec.scheduling_gates.len)
			forbidden(err, &PATH(&spec, "nodeName"), "cannot be set until all schedulingGates have been cleared");
		check_profiles(&pod->metadata, &pod->spec, &spec, err);
	} else if (strcmp(c->subresource, "resize") == 0) {
		check_resize(pod, old, &spec, err);
	} else if (strcmp(c->subresource, "ephemeralcontainers") == 0) {
		check_ephemeral_update(pod, old, &spec, err);
	} else {
		check_update(pod, old, &spec, err);
	}
	tell_at(&PATH(&spec, "~pod"), from, err);
}

CHECK(core_v1_binding, binding) {
	static const char *const kinds[] = {"Node", "<empty>", NULL};
	struct path target = PATH(at, "target");
	if (!str_empty(binding->target.kind) && strcmp(binding->target.kind, "Node") != 0)
		not_supported(err, &PATH(&target, "kind"), binding->target.kind, kinds);
	check_needed(NULL, binding->target.name, &PATH(&target, "name"), err);
}

const struct checker checkers_pod[] = {ROW(core_v1_pod_template_spec), ROW(core_v1_pod), ROW(core_v1_binding), {0}};
