/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pods/x/eviction: a deletion that asks the disruption budgets. Where a budget covers the pod, one disruption is first taken from
 * its status; then the pod's own status says why it ends, and only then is the pod deleted.
 */
#include "apiserver/rest/body.h"
#include "apiserver/rest/subresource.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/policy_v1.h"
#include "common/api/selector.h"

#include <errno.h>

#define VIOLATES "Cannot evict pod as it would violate the pod's disruption budget."
#define BUSY "The disruption budget %s is still being processed by the server."
#define MAX_DISRUPTED 2000
#define MAX_TRIES 20

struct eviction {
	struct request *r;
	const struct meta_v1_delete_options *options; /* of the eviction, or NULL; lives as long as the input */
	void *input;
	const char *version; /* the pod that may go; NULL: any */
	const char *budget;  /* that says so because the pod is not ready: it is not asked again; NULL: where the pod has changed it is judged anew */
	unsigned tries;
};

/* Takes the text, which says why. */
static int too_many(struct error *err, int retry_after, char *take_why) {
	autofree char *why = take_why;
	int rc = error_status(err, 429, "TooManyRequests", VIOLATES);
	err->retry_after_seconds = retry_after;
	error_cause(err, "DisruptionBudget", NULL, "%s", why);
	return rc;
}

static struct meta_v1_condition *allowed_condition(struct policy_v1_pod_disruption_budget *budget) {
	for (uint32_t i = 0; i < budget->status.conditions.len; i++)
		if (str_equal(budget->status.conditions.items[i].type, "DisruptionAllowed"))
			return &budget->status.conditions.items[i];
	return NULL;
}

static char *why_none(struct policy_v1_pod_disruption_budget *budget) {
	const char *name = budget->metadata.name;
	const struct meta_v1_condition *condition = allowed_condition(budget);
	bool told = condition && str_equal(condition->status, "False") && !str_empty(condition->message);
	if (told && str_equal(condition->reason, "SyncFailed"))
		return xprintf("The disruption budget %s does not allow evicting pods currently because it failed sync: %s", name, condition->message);
	if (budget->status.current_healthy <= budget->status.desired_healthy)
		return xprintf("The disruption budget %s needs %d healthy pods and has %d currently", name, budget->status.desired_healthy, budget->status.current_healthy);
	if (told)
		return xprintf("The disruption budget %s does not allow evicting pods currently (%s): %s", name, str_or(condition->reason, ""), condition->message);
	return xprintf("The disruption budget %s does not allow evicting pods currently", name);
}

static bool is_ready(const struct core_v1_pod *pod) {
	for (uint32_t i = 0; i < pod->status.conditions.len; i++)
		if (str_equal(pod->status.conditions.items[i].type, "Ready"))
			return str_equal(pod->status.conditions.items[i].status, "True");
	return false;
}

/* Takes one disruption, in the budget's status. */
static int make_charged(struct write *w, struct error *err) {
	const char *pod = w->arg;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	struct policy_v1_pod_disruption_budget *budget = w->object = api_copy(w->old);
	const char *name = budget->metadata.name;
	if (budget->status.observed_generation < budget->metadata.generation)
		return too_many(err, 10, xprintf(BUSY, name));
	if (budget->status.disruptions_allowed < 0)
		return error_forbidden(err, w->resource, name, "pdb disruptions allowed is negative");
	if (budget->status.disrupted_pods.len > MAX_DISRUPTED)
		return error_forbidden(err, w->resource, name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
	if (budget->status.disruptions_allowed == 0)
		return too_many(err, 0, why_none(budget));
	struct arena *arena = api_arena(budget);
	w->track_fields = true;
	budget->status.disruptions_allowed--;
	struct meta_v1_condition *condition = allowed_condition(budget);
	if (budget->status.disruptions_allowed == 0 && condition) {
		if (!str_equal(condition->status, "False"))
			condition->last_transition_time = api_time_now();
		condition->status = "False";
		condition->reason = "InsufficientPods";
		condition->message = "";
		condition->observed_generation = budget->status.observed_generation;
	}
	__typeof__(budget->status.disrupted_pods.items) entry = api_list_add(arena, &budget->status.disrupted_pods);
	entry->key = arena_strdup(arena, pod);
	entry->value = api_time_now();
	return 0;
}

static int judge(struct eviction *e, struct error *err);

/* Where the pod is not as it was judged any more, it is judged again. */
static void not_evicted(struct write *w, const struct error *why) {
	struct eviction *e = w->owner;
	struct request *r = e->r;
	autoerror struct error err = {0};
	bool changed = why->http_code == 409 && e->version;
	int rc = -1;
	if (!changed) {
		error_status(&err, why->http_code, why->reason, "%s", error_message(why));
		error_details(&err, why->details_group, why->details_kind, why->details_name);
		err.retry_after_seconds = why->retry_after_seconds;
	} else if (e->budget || ++e->tries >= MAX_TRIES) {
		too_many(&err, 10, xprintf(BUSY, str_or(e->budget, "")));
	}
	write_end(w);
	if (changed && !e->budget && e->tries < MAX_TRIES)
		rc = judge(e, &err);
	if (rc < 0)
		request_fail(r, &err);
}

static void marked(struct write *w, struct entry *entry) {
	struct eviction *e = w->owner;
	const char *version = w->arg ? arena_printf(w->arena, "%llu", (unsigned long long)entry->resource_version) : NULL;
	write_end(w);
	delete_for_eviction(e->r, e->options, version, e->version ? not_evicted : NULL, e);
}

/* The version that is asked for: by whoever judged the pod, or by the client. */
static const char *asked_version(const struct eviction *e) {
	return e->version ? e->version : e->options && e->options->preconditions ? e->options->preconditions->resource_version : NULL;
}

/* Its own status says why the pod ends. */
static int make_marked(struct write *w, struct error *err) {
	struct eviction *e = w->owner;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	struct core_v1_pod *pod = w->object = api_copy(w->old);
	w->arg = (void *)asked_version(e);
	const struct delete_preconditions wanted = {.uid = e->options && e->options->preconditions ? e->options->preconditions->uid : NULL, .resource_version = w->arg};
	int rc = delete_check_preconditions(w, &wanted, &pod->metadata, err);
	if (rc < 0)
		return rc;
	__typeof__(pod->status.conditions.items) condition = NULL;
	for (uint32_t i = 0; i < pod->status.conditions.len && !condition; i++)
		if (str_equal(pod->status.conditions.items[i].type, "DisruptionTarget"))
			condition = &pod->status.conditions.items[i];
	if (!condition) {
		condition = api_list_add(api_arena(pod), &pod->status.conditions);
		condition->type = "DisruptionTarget";
	}
	if (!str_equal(condition->status, "True"))
		condition->last_transition_time = api_time_now();
	condition->status = "True";
	condition->reason = "EvictionByEvictionAPI";
	condition->message = "Eviction API: evicting";
	return 0;
}

static void evict(struct eviction *e) {
	struct request *r = e->r;
	if (r->dry_run) {
		delete_for_eviction(r, e->options, e->version, e->version ? not_evicted : NULL, e);
		return;
	}
	struct write *w = write_new(r, WRITE_UPDATE);
	w->subresource = "status";
	w->skip_admission = true;
	w->skip_validation = true;
	w->owner = e;
	w->make = make_marked;
	w->done = marked;
	w->failed = not_evicted;
	write_start(w);
}

static void charged(struct write *w, struct entry *entry) {
	struct eviction *e = w->owner;
	write_end(w);
	evict(e);
}

/* The budgets of the namespace that select the pod. Returns how many; the first's name in *ret. */
static int find_budget(struct request *r, const struct core_v1_pod *pod, const char **ret, bool *ret_always_unhealthy, bool *ret_satisfied) {
	const struct resource *budgets = registry_find(r->server->registry, "policy", "v1", "poddisruptionbudgets");
	autosnapshot struct snapshot *snapshot = collection_snapshot(budgets->collection);
	autofree char *prefix = xprintf("%s/", r->ns);
	size_t first, end;
	int count = 0;
	snapshot_range(snapshot, prefix, &first, &end);
	for (size_t i = first; i < end; i++) {
		void *object;
		if (resource_decode(budgets, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		const struct policy_v1_pod_disruption_budget *budget = object;
		struct selector *selector = NULL;
		if (budget->spec.selector && label_selector_from(budget->spec.selector, &selector, NULL) == 0 && selector_matches_labels(selector, &pod->metadata.labels)) {
			*ret = arena_strdup(r->arena, budget->metadata.name);
			*ret_always_unhealthy = str_equal(budget->spec.unhealthy_pod_eviction_policy, "AlwaysAllow");
			*ret_satisfied = budget->status.current_healthy >= budget->status.desired_healthy && budget->status.desired_healthy > 0;
			count++;
		}
		selector_free(selector);
		api_unref(object);
	}
	return count;
}

static void free_eviction(void *arg) {
	api_unref(((struct eviction *)arg)->input);
}

static int check_dry_run(struct request *r, const struct meta_v1_delete_options *options, struct error *err) {
	for (uint32_t i = 0; options && i < options->dry_run.len; i++) {
		r->dry_run = true;
		if (strcmp(options->dry_run.items[i], "All") == 0)
			continue;
		error_cause(err, "FieldValueNotSupported", "dryRun", "Unsupported value: [\"%s\"]: supported values: \"All\"", options->dry_run.items[i]);
		return error_invalid(err, "meta.k8s.io", "DeleteOptions", "");
	}
	return 0;
}

/* Decides whether the pod may go, and lets it. Returns an error, or REQUEST_TAKEN. */
static int judge(struct eviction *e, struct error *err) {
	struct request *r = e->r;
	struct core_v1_pod *pod = resource_read(r->resource, r->ns, r->name);
	if (!pod)
		return error_not_found(err, r->resource, r->name);
	const char *budget = NULL;
	bool always = false, satisfied = false;
	int budgets = find_budget(r, pod, &budget, &always, &satisfied);
	bool ended = str_equal(pod->status.phase, "Succeeded") || str_equal(pod->status.phase, "Failed") || pod->metadata.deletion_timestamp.set;
	bool pending = !ended && str_equal(pod->status.phase, "Pending");
	bool unready = !ended && !pending && budgets == 1 && !is_ready(pod) && (always || satisfied);
	const char *version = arena_strdup(r->arena, pod->metadata.resource_version);
	e->version = NULL;
	api_unref(pod);
	/* Who may go because it does not count must not have come to count meanwhile. */
	e->budget = unready ? budget : NULL;
	e->version = unready || (pending && !asked_version(e)) ? version : NULL;
	if (ended || pending || unready || budgets == 0) {
		evict(e);
		return REQUEST_TAKEN;
	}
	if (budgets > 1)
		return error_status(err, 500, "", "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.");
	struct write *w = write_new(r, WRITE_UPDATE);
	w->resource = registry_find(r->server->registry, "policy", "v1", "poddisruptionbudgets");
	w->strategy = w->resource->strategy;
	w->subresource = "status";
	w->name = budget;
	w->skip_admission = true;
	w->skip_validation = true;
	w->manager = "kube-apiserver";
	w->arg = (void *)r->name;
	w->owner = e;
	w->make = make_charged;
	w->done = charged;
	write_start(w);
	return REQUEST_TAKEN;
}

static int begin(struct request *r, void *take_input, struct error *err) {
	struct eviction *e = arena_new_type(r->arena, struct eviction);
	e->r = r;
	e->input = take_input;
	arena_defer(r->arena, free_eviction, e);
	const struct policy_v1_eviction *eviction = e->input;
	e->options = eviction->delete_options;
	if (!str_equal(eviction->metadata.name, r->name))
		return error_bad_request(err, "name in URL does not match name in Eviction object");
	int rc = check_dry_run(r, eviction->delete_options, err);
	return rc < 0 ? rc : judge(e, err);
}

int subresource_eviction(struct request *r, struct error *err) {
	void *input;
	int rc = request_parse_write_options(r, err);
	if (rc == 0)
		rc = request_decode_body(r, &policy_v1_eviction_type, &input, err);
	return rc < 0 ? rc : body_admit(r, &(struct body_admission){r->resource, r->name, "eviction", WRITE_CREATE, begin}, input);
}
