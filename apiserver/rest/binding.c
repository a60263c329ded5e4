/* SPDX-License-Identifier: Apache-2.0 */
/* pods/x/binding and bindings: the scheduler's word on where a pod runs. */
#include "apiserver/rest/body.h"
#include "apiserver/rest/subresource.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

#include <errno.h>

static void set_scheduled(struct core_v1_pod *pod) {
	struct arena *arena = api_arena(pod);
	struct core_v1_pod_condition *condition = NULL;
	for (uint32_t i = 0; i < pod->status.conditions.len; i++)
		if (str_equal(pod->status.conditions.items[i].type, "PodScheduled"))
			condition = &pod->status.conditions.items[i];
	if (!condition)
		condition = api_list_add(arena, &pod->status.conditions);
	bool was = str_equal(condition->status, "True");
	struct api_time since = condition->last_transition_time;
	*condition = (struct core_v1_pod_condition){.type = "PodScheduled", .status = "True"};
	condition->last_transition_time = was ? since : api_time_now();
}

static int make_bound(struct write *w, struct error *err) {
	const struct core_v1_binding *binding = w->input;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	struct core_v1_pod *pod = w->object = api_copy(w->old);
	struct arena *arena = api_arena(pod);
	if (!str_empty(binding->metadata.uid) && !str_equal(binding->metadata.uid, pod->metadata.uid)) {
		autofree char *text = xprintf("Precondition failed: UID in precondition: %s, UID in object meta: %s", binding->metadata.uid, pod->metadata.uid);
		return error_conflict(err, w->resource, w->name, text);
	}
	if (pod->metadata.deletion_timestamp.set) {
		autofree char *text = xprintf("pod %s is being deleted, cannot be assigned to a host", w->name);
		return error_conflict(err, w->resource, w->name, text);
	}
	if (!str_empty(pod->spec.node_name)) {
		autofree char *text = xprintf("pod %s is already assigned to node \"%s\"", w->name, pod->spec.node_name);
		return error_conflict(err, w->resource, w->name, text);
	}
	if (pod->spec.scheduling_gates.len) {
		autofree char *text = xprintf("pod %s has non-empty .spec.schedulingGates", w->name);
		return error_conflict(err, w->resource, w->name, text);
	}
	pod->spec.node_name = arena_strdup(arena, binding->target.name);
	pod->status.nominated_node_name = NULL;
	for (uint32_t i = 0; i < binding->metadata.annotations.len; i++)
		api_map_set(arena, &pod->metadata.annotations, binding->metadata.annotations.items[i].key, binding->metadata.annotations.items[i].value);
	for (uint32_t i = 0; i < binding->metadata.labels.len; i++)
		api_map_set(arena, &pod->metadata.labels, binding->metadata.labels.items[i].key, binding->metadata.labels.items[i].value);
	set_scheduled(pod);
	return 0;
}

static void answer_bound(struct write *w, struct entry *entry) {
	struct request *r = w->r;
	write_end(w);
	static const char text[] = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"code\":201}";
	request_respond_status(r, 201, text, sizeof(text) - 1);
}

static int bind_pod(struct request *r, void *input, struct error *err) {
	const struct core_v1_binding *binding = input;
	const char *name = r->name ? r->name : arena_strdup(r->arena, str_or(binding->metadata.name, ""));
	int rc = 0;
	/* What is wrong with a target is no Invalid there either, but a bare error. */
	if (!str_equal(binding->metadata.name, name))
		rc = error_bad_request(err, "name in URL does not match name in Binding object");
	else if (str_empty(binding->target.name)) {
		rc = error_status(err, 500, "", "target.name: Required value");
	} else if (!str_empty(binding->target.kind) && strcmp(binding->target.kind, "Node") != 0) {
		rc = error_status(err, 500, "", "target.kind: Unsupported value: \"%s\": supported values: \"Node\", \"<empty>\"", binding->target.kind);
	}
	if (rc < 0) {
		api_unref(input);
		return rc;
	}
	struct write *w = write_new(r, WRITE_UPDATE);
	w->resource = registry_find(r->server->registry, "", "v1", "pods");
	w->strategy = w->resource->strategy;
	w->name = name;
	w->subresource = "binding";
	w->skip_validation = true;
	w->skip_hooks = true;
	w->input = input;
	w->make = make_bound;
	w->done = answer_bound;
	write_start(w);
	return REQUEST_TAKEN;
}

int subresource_binding(struct request *r, struct error *err) {
	int rc = request_parse_write_options(r, err);
	void *input;
	if (rc == 0)
		rc = request_decode_body(r, &core_v1_binding_type, &input, err);
	if (rc < 0)
		return rc;
	return body_admit(r, &(struct body_admission){r->resource, r->name, "binding", WRITE_CREATE, bind_pod}, input);
}

int rest_create_binding(struct request *r, struct error *err) {
	int rc = request_parse_write_options(r, err);
	void *input;
	if (rc == 0)
		rc = request_decode_body(r, &core_v1_binding_type, &input, err);
	if (rc < 0)
		return rc;
	const char *name = ((struct core_v1_binding *)input)->metadata.name;
	if (str_empty(name) && !str_empty(((struct core_v1_binding *)input)->target.name)) {
		api_unref(input);
		return error_bad_request(err, "name must be provided");
	}
	return body_admit(r, &(struct body_admission){r->resource, arena_strdup(r->arena, name), NULL, WRITE_CREATE, bind_pod}, input);
}
