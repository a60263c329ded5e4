/* SPDX-License-Identifier: Apache-2.0 */
/* Subresources that change one part of the object: everything else is as stored, whatever the client sent along. */
#include "apiserver/rest/partial.h"
#include "apiserver/validation/validation.h"
#include "api/certificates_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

#include <errno.h>

/* Replaces w->object by a copy of what is stored; gives what the client sent, owned by the new object. */
static void *start_from_old(struct write *w) {
	void *given = w->object;
	w->object = api_copy(w->old);
	/* Who set what is known already. */
	api_metadata(w->object)->managed_fields = api_metadata(given)->managed_fields;
	arena_defer(api_arena(w->object), (void (*)(void *))api_unref, given);
	return given;
}

static int partial_finalize(struct write *w, struct error *causes) {
	struct core_v1_namespace *given = start_from_old(w);
	((struct core_v1_namespace *)w->object)->spec.finalizers = given->spec.finalizers;
	return 0;
}

static int partial_approval(struct write *w, struct error *causes) {
	struct certificates_v1_certificate_signing_request *given = start_from_old(w), *csr = w->object;
	csr->status.conditions = given->status.conditions;
	for (uint32_t i = 0; i < csr->status.conditions.len; i++) {
		struct certificates_v1_certificate_signing_request_condition *condition = &csr->status.conditions.items[i];
		if (!condition->last_update_time.set)
			condition->last_update_time = api_time_now();
		if (!condition->last_transition_time.set)
			condition->last_transition_time = api_time_now();
		if (str_empty(condition->status))
			condition->status = "True";
	}
	api_metadata(csr)->annotations = api_metadata(given)->annotations;
	return 0;
}

/* ---- pods/resize ---- */

static void take_resources(struct core_v1_container *to, const struct core_v1_container *from) {
	to->resources = from->resources;
	to->resize_policy = from->resize_policy;
}

static int partial_resize(struct write *w, struct error *causes) {
	struct core_v1_pod *given = start_from_old(w), *pod = w->object;
	struct path spec = PATH(NULL, "spec");
	if (given->spec.containers.len != pod->spec.containers.len || given->spec.init_containers.len != pod->spec.init_containers.len) {
		forbidden(causes, &spec, "containers may not be added or removed on resize");
		return 0;
	}
	for (uint32_t i = 0; i < pod->spec.containers.len; i++)
		take_resources(&pod->spec.containers.items[i], &given->spec.containers.items[i]);
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
		take_resources(&pod->spec.init_containers.items[i], &given->spec.init_containers.items[i]);
	pod->spec.resources = given->spec.resources;
	const struct core_v1_pod *old = w->old;
	if (!str_equal(pod_qos_class(&pod->spec), str_or(old->status.qos_class, pod_qos_class(&old->spec))))
		invalid(causes, &spec, pod_qos_class(&pod->spec), "Pod QOS Class may not change as a result of resizing");
	validate_pod_spec(&pod->spec, &spec, causes);
	return 0;
}

/* ---- pods/ephemeralcontainers ---- */

static int partial_ephemeral(struct write *w, struct error *causes) {
	struct core_v1_pod *given = start_from_old(w), *pod = w->object;
	struct path spec = PATH(NULL, "spec");
	const struct core_v1_pod *old = w->old;
	pod->spec.ephemeral_containers = given->spec.ephemeral_containers;
	for (uint32_t i = 0; i < old->spec.ephemeral_containers.len; i++) {
		const struct core_v1_ephemeral_container *was = &old->spec.ephemeral_containers.items[i], *now = NULL;
		for (uint32_t n = 0; n < pod->spec.ephemeral_containers.len; n++)
			if (str_equal(pod->spec.ephemeral_containers.items[n].name, was->name))
				now = &pod->spec.ephemeral_containers.items[n];
		autofree char *gone = xprintf("existing ephemeral containers \"%s\" may not be %s", was->name, now ? "changed" : "removed");
		if (!now || !api_equal(&core_v1_ephemeral_container_type, now, was))
			forbidden(causes, &PATH(&spec, "ephemeralContainers"), gone);
	}
	for (uint32_t i = 0; i < pod->spec.ephemeral_containers.len; i++) {
		const struct core_v1_ephemeral_container *c = &pod->spec.ephemeral_containers.items[i];
		struct path at = PATH_INDEX(&spec, "ephemeralContainers", i);
		if (str_empty(c->name))
			required(causes, &PATH(&at, "name"), NULL);
		if (str_empty(c->image))
			required(causes, &PATH(&at, "image"), NULL);
		for (uint32_t n = 0; n < pod->spec.containers.len; n++)
			if (str_equal(pod->spec.containers.items[n].name, c->name))
				duplicate(causes, &PATH(&at, "name"), c->name);
	}
	return 0;
}

static const struct partial_row {
	const char *subresource, *plural;
	int (*prepare)(struct write *w, struct error *causes);
} rows[] = {
	{"finalize", "namespaces", partial_finalize},
	{"approval", "certificatesigningrequests", partial_approval},
	{"resize", "pods", partial_resize},
	{"ephemeralcontainers", "pods", partial_ephemeral},
};

bool write_prepare_partial(struct write *w, struct error *causes) {
	for (size_t i = 0; w->subresource && i < array_len(rows); i++) {
		if (strcmp(rows[i].subresource, w->subresource) != 0 || strcmp(rows[i].plural, w->resource->api->plural) != 0)
			continue;
		rows[i].prepare(w, causes);
		w->skip_validation = true;
		return true;
	}
	return false;
}
