/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodTolerationRestriction: the pods of a namespace have the tolerations that its annotation says, or else those that the operator has said for all, and none beside those that
 * are listed in the same way.
 */
#include "apiserver/admission/settings.h"
#include "apiserver/admission/admission.h"
#include "apiserver/configfile.h"
#include "common/pod/resources.h"
#include "api/core_v1.h"
#include "api/podtolerationrestriction_v1alpha1.h"

#include <errno.h>
#include <jansson.h>

#define DEFAULTS "scheduler.alpha.kubernetes.io/defaultTolerations"
#define WHITELIST "scheduler.alpha.kubernetes.io/tolerationsWhitelist"

typedef struct core_v1_toleration_array tolerations;

int tolerations_read(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	static const char *const versions[] = {"podtolerationrestriction.admission.k8s.io/v1alpha1", NULL};
	void *object;
	int rc = configfile_parse(text, len, &podtolerationrestriction_v1alpha1_configuration_type, versions, &object, err);
	if (rc < 0)
		return rc;
	api_unref(settings->tolerations);
	settings->tolerations = object;
	return 0;
}

/* Whether it puts up with all that the other does. */
static bool covers(const struct core_v1_toleration *wide, const struct core_v1_toleration *t) {
	bool exists = str_equal(wide->operator, "Exists");
	if (api_equal(&core_v1_toleration_type, wide, t))
		return true;
	if (!str_equal(str_or(wide->key, ""), str_or(t->key, "")) && !(str_empty(wide->key) && exists))
		return false;
	if (!str_empty(wide->effect) && !str_equal(wide->effect, t->effect))
		return false;
	if (str_equal(wide->effect, "NoExecute") && wide->toleration_seconds && (!t->toleration_seconds || *t->toleration_seconds > *wide->toleration_seconds))
		return false;
	if (exists)
		return true;
	return (str_empty(wide->operator) || str_equal(wide->operator, "Equal")) && str_equal(t->operator, "Equal") && str_equal(str_or(wide->value, ""), str_or(t->value, ""));
}

static bool is_covered(const struct core_v1_toleration *t, const tolerations *list, uint32_t from, bool but_equal) {
	for (uint32_t i = from; i < list->len; i++)
		if (covers(&list->items[i], t) && !(but_equal && api_equal(&core_v1_toleration_type, &list->items[i], t)))
			return true;
	return false;
}

/* What a namespace's annotation says; *ret_said tells whether it is there. */
static int read_annotation(struct write *w, const char *key, tolerations *ret, bool *ret_said, struct error *err) {
	autounref struct core_v1_namespace *ns = registry_read(w->r->server->registry, "", "namespaces", NULL, w->ns);
	if (!ns)
		return error_not_found(err, registry_find(w->r->server->registry, "", "v1", "namespaces"), w->ns);
	const char *text = api_map_get(&ns->metadata.annotations, key);
	*ret_said = text;
	if (str_empty(text))
		return 0;
	json_t *tree = json_loads(text, 0, NULL);
	struct core_v1_pod_spec spec = {0};
	int rc = 0;
	if (!json_is_array(tree)) {
		rc = error_status(err, 500, "", "the annotation %s of namespace %s is no list of tolerations", key, w->ns);
	} else {
		/* A list has no type of its own. */
		const char *whole = arena_printf(w->arena, "{\"tolerations\":%s}", text);
		autoerror struct error wrong = {0};
		if (api_decode_json_value(&core_v1_pod_spec_type, whole, strlen(whole), &spec, w->arena, &wrong) < 0)
			rc = error_status(err, 500, "", "the annotation %s of namespace %s: %s", key, w->ns, error_message(&wrong));
	}
	json_decref(tree);
	if (rc == 0)
		*ret = spec.tolerations;
	return rc;
}

static int validate(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	const struct core_v1_pod *pod = w->object;
	const struct podtolerationrestriction_v1alpha1_configuration *config = w->r->server->admission->tolerations;
	tolerations allowed = {0};
	bool said = false;
	if (!pod->spec.tolerations.len)
		return 0;
	int rc = read_annotation(w, WHITELIST, &allowed, &said, err);
	if (rc < 0)
		return rc;
	if (!said && config)
		allowed = config->whitelist;
	for (uint32_t i = 0; allowed.len && i < pod->spec.tolerations.len; i++)
		if (!is_covered(&pod->spec.tolerations.items[i], &allowed, 0, false))
			return error_status(err, 500, "", "pod tolerations (possibly merged with namespace default tolerations) conflict with its %s whitelist", said ? "namespace" : "cluster");
	return 0;
}

static int admit(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	struct core_v1_pod *pod = w->object;
	struct arena *arena = api_arena(pod);
	const struct podtolerationrestriction_v1alpha1_configuration *config = w->r->server->admission->tolerations;
	tolerations more = {0}, all = {0}, merged = {0};
	bool said = false;
	if (w->operation == WRITE_CREATE || w->created) {
		int rc = read_annotation(w, DEFAULTS, &more, &said, err);
		if (rc < 0)
			return rc;
		if (!said && config)
			more = config->default_;
	}
	for api_list_each (t, &pod->spec.tolerations)
		api_copy_value(&core_v1_toleration_type, api_list_add(arena, &all), t, arena);
	for api_list_each (t, &more)
		api_copy_value(&core_v1_toleration_type, api_list_add(arena, &all), t, arena);
	bool pressed = !str_equal(pod_qos_class(&pod->spec), "BestEffort");
	if (pressed)
		*api_list_add(arena, &all) = (struct core_v1_toleration){.key = "node.kubernetes.io/memory-pressure", .operator = "Exists", .effect = "NoSchedule"};
	if (pressed || more.len) {
		for (uint32_t i = 0; i < all.len; i++)
			if (!is_covered(&all.items[i], &merged, 0, false) && !is_covered(&all.items[i], &all, i + 1, true))
				*api_list_add(arena, &merged) = all.items[i];
		pod->spec.tolerations = merged;
	}
	return validate(w, err);
}

const struct admission_plugin admission_pod_toleration_restriction = {
	.name = "PodTolerationRestriction",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.admit = admit,
	.validate = validate,
};
