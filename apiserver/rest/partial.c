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

void csr_stamp_conditions(struct certificates_v1_certificate_signing_request *csr, const struct certificates_v1_certificate_signing_request *was) {
	for (uint32_t i = 0; i < csr->status.conditions.len; i++) {
		struct certificates_v1_certificate_signing_request_condition *condition = &csr->status.conditions.items[i];
		if (!condition->last_update_time.set)
			condition->last_update_time = api_time_now();
		/* One that says what it said before has not passed over. */
		for (uint32_t n = 0; !condition->last_transition_time.set && n < was->status.conditions.len; n++)
			if (str_equal(was->status.conditions.items[n].type, condition->type) && str_equal(was->status.conditions.items[n].status, condition->status))
				condition->last_transition_time = was->status.conditions.items[n].last_transition_time;
		if (!condition->last_transition_time.set)
			condition->last_transition_time = api_time_now();
	}
}

static int partial_approval(struct write *w, struct error *causes) {
	struct certificates_v1_certificate_signing_request *given = start_from_old(w), *csr = w->object;
	csr->status.conditions = given->status.conditions;
	csr_stamp_conditions(csr, w->old);
	api_metadata(csr)->labels = api_metadata(given)->labels;
	api_metadata(csr)->annotations = api_metadata(given)->annotations;
	return 0;
}

/* ---- pods/resize ---- */

static void take_resources(struct core_v1_container_array *to, const struct core_v1_container_array *from) {
	bool same = to->len == from->len;
	for (uint32_t i = 0; same && i < to->len; i++)
		same = str_equal(to->items[i].name, from->items[i].name);
	if (!same) { /* other containers, or in another order: for validation to refuse */
		*to = *from;
		return;
	}
	for (uint32_t i = 0; i < to->len; i++) {
		to->items[i].resources = from->items[i].resources;
		to->items[i].resize_policy = from->items[i].resize_policy;
	}
}

static int partial_resize(struct write *w, struct error *causes) {
	struct core_v1_pod *given = start_from_old(w), *pod = w->object;
	take_resources(&pod->spec.containers, &given->spec.containers);
	take_resources(&pod->spec.init_containers, &given->spec.init_containers);
	pod->spec.resources = given->spec.resources;
	return 0;
}

/* ---- pods/ephemeralcontainers ---- */

static int partial_ephemeral(struct write *w, struct error *causes) {
	struct core_v1_pod *given = start_from_old(w), *pod = w->object;
	pod->spec.ephemeral_containers = given->spec.ephemeral_containers;
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
		return true;
	}
	return false;
}
