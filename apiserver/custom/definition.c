/* SPDX-License-Identifier: Apache-2.0 */
/* CustomResourceDefinition itself: its status says at once what was accepted, since registering it needs nobody else. */
#include "apiserver/custom/custom.h"
#include "apiserver/worker.h"
#include "api/apiextensions_v1.h"

#include <ctype.h>

typedef struct apiextensions_v1_custom_resource_definition crd_t;

static void default_names(struct apiextensions_v1_custom_resource_definition_names *names, struct arena *arena) {
	if (str_empty(names->singular) && !str_empty(names->kind)) {
		char *lower = arena_strdup(arena, names->kind);
		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		names->singular = lower;
	}
	if (str_empty(names->list_kind) && !str_empty(names->kind))
		names->list_kind = arena_printf(arena, "%sList", names->kind);
}

static void set_condition(crd_t *crd, const char *type, bool good, const char *reason, const char *message) {
	struct arena *arena = api_arena(crd);
	struct apiextensions_v1_custom_resource_definition_condition *condition = NULL;
	for (uint32_t i = 0; i < crd->status.conditions.len; i++)
		if (str_equal(crd->status.conditions.items[i].type, type))
			condition = &crd->status.conditions.items[i];
	if (!condition) {
		condition = api_list_add(arena, &crd->status.conditions);
		condition->type = type;
	}
	const char *status = good ? "True" : "False";
	if (!str_equal(condition->status, status))
		condition->last_transition_time = api_time_now();
	condition->status = status;
	condition->reason = reason;
	condition->message = message;
	condition->observed_generation = crd->metadata.generation;
}

struct clash {
	const crd_t *crd;
	bool found;
};

/* Another definition of the group that has this kind already. */
static void find_clash(const struct resource *resource, void *arg) {
	struct clash *c = arg;
	if (resource->custom && str_equal(resource->api->group, c->crd->spec.group) && !str_equal(resource->api->plural, c->crd->spec.names.plural) && str_equal(resource->api->kind, c->crd->spec.names.kind))
		c->found = true;
}

static void set_status(struct request *r, crd_t *crd) {
	struct arena *arena = api_arena(crd);
	struct clash clash = {.crd = crd};
	if (r)
		registry_each(r->server->registry, find_clash, &clash);
	api_copy_value(&apiextensions_v1_custom_resource_definition_names_type, &crd->status.accepted_names, &crd->spec.names, arena);
	for (uint32_t i = 0; i < crd->spec.versions.len; i++)
		if (crd->spec.versions.items[i].storage && !api_string_list_has(&crd->status.stored_versions, crd->spec.versions.items[i].name))
			api_string_list_add(arena, &crd->status.stored_versions, crd->spec.versions.items[i].name);
	crd->status.observed_generation = crd->metadata.generation;
	if (clash.found) {
		set_condition(crd, "NamesAccepted", false, "KindConflict", arena_printf(arena, "\"%s\" is already in use", crd->spec.names.kind));
		set_condition(crd, "Established", false, "NotAccepted", "not all names are accepted");
		return;
	}
	set_condition(crd, "NamesAccepted", true, "NoConflicts", "no conflicts found");
	set_condition(crd, "Established", true, "InitialNamesAccepted", "the initial names have been accepted");
}

#define CONDITION(type) "\"k:{\\\"type\\\":\\\"" type "\\\"}\":{\".\":{},\"f:lastTransitionTime\":{},\"f:message\":{},\"f:observedGeneration\":{},\"f:reason\":{},\"f:status\":{},\"f:type\":{}}"

/* What a new definition's status says is the server's own. */
static void own_status(crd_t *crd) {
	const struct apiextensions_v1_custom_resource_definition_names *names = &crd->status.accepted_names;
	worker_own_status(crd, "kube-apiserver", "Update", "apiextensions.k8s.io/v1", arena_printf(api_arena(crd),
		"{\"f:status\":{\"f:acceptedNames\":{%s\"f:kind\":{},\"f:listKind\":{},\"f:plural\":{},%s\"f:singular\":{}},\"f:conditions\":{" CONDITION("Established") "," CONDITION("NamesAccepted") "},\"f:observedGeneration\":{}}}",
		names->categories.len ? "\"f:categories\":{}," : "", names->short_names.len ? "\"f:shortNames\":{}," : ""));
}

void crd_prepare_create(struct request *r, void *object) {
	crd_t *crd = object;
	default_names(&crd->spec.names, api_arena(object));
	memset(&crd->status, 0, sizeof(crd->status));
	set_status(r, crd);
	own_status(crd);
}

void crd_prepare_update(struct request *r, void *object, const void *old) {
	crd_t *crd = object;
	default_names(&crd->spec.names, api_arena(object));
	if (!api_equal(&apiextensions_v1_custom_resource_definition_spec_type, &crd->spec, &((const crd_t *)old)->spec))
		set_status(r, crd);
}
