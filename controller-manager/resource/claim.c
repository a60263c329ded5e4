/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceClaims: makes those that pods ask for by a template, reserves what is allocated for pods that came to their node past the scheduler, takes back
 * reservations of pods that run no more, and with the last of them the allocation, the finalizer and, where it was made for a pod, the claim.
 *
 * Its keys are "pod:<name>" and "claim:<name>" in the object's namespace.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/resource_v1.h"

#include <errno.h>

#define KEY_POD "pod:"
#define KEY_CLAIM "claim:"
#define FINALIZER "resource.kubernetes.io/delete-protection"
#define ANNOTATION_POD_CLAIM "resource.kubernetes.io/pod-claim-name"
#define ANNOTATION_EXTENDED "resource.kubernetes.io/extended-resource-claim"
#define RESERVED_MAX 256 /* consumers of one claim */
#define GENERATED_BASE 57 /* a dash and five characters come behind it */
#define STATUS_PATCH_MAX ((size_t)1 << 20)

static const char *const create_labels[] = {"status", "admin_access", NULL};
static const char *const claim_labels[] = {"allocated", "admin_access", "source", NULL};
static struct metric metrics[] = {
	{.name = "resourceclaim_controller_creates_total", .help = "ResourceClaims that were to be made from templates.", .kind = METRIC_COUNTER, .labels = create_labels},
	{.name = "resourceclaim_controller_resource_claims", .help = "ResourceClaims there are.", .kind = METRIC_GAUGE, .labels = claim_labels},
};

struct state {
	struct expectations *expectations; /* of claims that were made, by the key of the pod */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	state->expectations = expectations_new();
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	expectations_free(state->expectations);
	free(state);
}

static void add_key(struct reconciler *r, const char *kind, const char *ns, const char *name)
{
	autofree char *key = xprintf("%s%s", kind, name);
	reconciler_add(r, ns, key);
}

/* None of its containers runs, and none ever will. */
static bool pod_is_done(const struct core_v1_pod *pod)
{
	return pod_is_terminal(pod) || (pod->metadata.deletion_timestamp.set && str_empty(pod->spec.node_name));
}

/* ---- which claim a pod means ---- */

static const struct core_v1_pod_resource_claim_status *status_of(const struct core_v1_pod *pod, const char *name)
{
	for api_list_each (status, &pod->status.resource_claim_statuses)
		if (str_equal(status->name, name))
			return status;
	return NULL;
}

/* The name of the claim behind one of the pod's; NULL: there is none yet, or none is needed. */
static const char *claim_name(const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *wanted)
{
	if (!str_empty(wanted->resource_claim_name))
		return wanted->resource_claim_name;
	const struct core_v1_pod_resource_claim_status *status = status_of(pod, wanted->name);
	return status && !str_empty(status->resource_claim_name) ? status->resource_claim_name : NULL;
}

static bool is_for_pod(const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *wanted, const struct resource_v1_resource_claim *claim)
{
	return !str_empty(wanted->resource_claim_name) || owner_is_controller(&claim->metadata, pod->metadata.uid);
}

/* One that was made for this pod before, and of which its status does not tell. */
static struct resource_v1_resource_claim *find_made(struct reconciler *r, const struct core_v1_pod *pod, const char *name)
{
	autolist struct informer_list made = INFORMER_LIST_INIT;
	world_list_index(r->world, CACHED_RESOURCE_CLAIMS, INDEX_OWNER, pod->metadata.uid, &made);
	for (size_t i = 0; i < made.len; i++)
		if (str_equal(api_map_get(&api_metadata(made.items[i])->annotations, ANNOTATION_POD_CLAIM), name))
			return api_ref(made.items[i]);
	return NULL;
}

static const char *admin_label(const struct resource_v1_resource_claim_spec *spec)
{
	for api_list_each (request, &spec->devices.requests)
		if (request->exactly && request->exactly->admin_access && *request->exactly->admin_access)
			return "true";
	return "false";
}

/* ---- making claims ---- */

/* <pod>-<claim>-, each cut by the same share where both together are too long. */
static const char *generated_base(struct arena *arena, const char *pod, const char *name)
{
	size_t len = strlen(pod) + strlen(name) + 2;
	if (len <= GENERATED_BASE)
		return arena_printf(arena, "%s-%s-", pod, name);
	return arena_printf(arena, "%.*s-%.*s", (int)(strlen(pod) * GENERATED_BASE / len), pod, (int)(strlen(name) * GENERATED_BASE / len), name);
}

static struct resource_v1_resource_claim *claim_from(const struct resource_v1_resource_claim_template *template, const struct core_v1_pod *pod, const char *name)
{
	struct resource_v1_resource_claim *claim = api_new_of(resource_v1_resource_claim);
	struct arena *arena = api_arena(claim);
	struct resource_v1_resource_claim_template_spec copy = {0};
	api_copy_value(&resource_v1_resource_claim_template_spec_type, &copy, &template->spec, arena);
	claim->spec = copy.spec;
	claim->metadata.labels = copy.metadata.labels;
	claim->metadata.annotations = copy.metadata.annotations;
	api_map_set(arena, &claim->metadata.annotations, ANNOTATION_POD_CLAIM, arena_strdup(arena, name));
	claim->metadata.namespace = arena_strdup(arena, pod->metadata.namespace);
	claim->metadata.generate_name = generated_base(arena, pod->metadata.name, name);
	owner_add(arena, &claim->metadata, pod, true, false);
	return claim;
}

static int create_claim(struct reconciler *r, const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *wanted, const char *key,
	struct resource_v1_resource_claim **ret, struct error *err)
{
	struct state *state = r->state;
	autounref struct resource_v1_resource_claim_template *template =
		world_find(r->world, CACHED_RESOURCE_CLAIM_TEMPLATES, pod->metadata.namespace, wanted->resource_claim_template_name);
	if (!template)
		return error_set(err, ENOENT, "resource claim template \"%s\" not found", wanted->resource_claim_template_name);
	autounref struct resource_v1_resource_claim *claim = claim_from(template, pod, wanted->name);
	autoerror struct error failed = {0};
	object_choose_name(r->world, claim);
	int result = world_create(r->world, CACHED_RESOURCE_CLAIMS, claim, (void **)ret, &failed);
	if (result && error_is(&failed, "AlreadyExists") && object_is_own(r->world, CACHED_RESOURCE_CLAIMS, claim, (void **)ret))
		result = 0;
	metric_add(metric_label(&metrics[0], result ? "failure" : "success", admin_label(&claim->spec)), 1);
	if (result) {
		expectations_failed(state->expectations, key, claim, &failed);
		error_context(&failed, "create ResourceClaim %s", claim->metadata.name);
		return error_move(err, &failed);
	}
	expectations_created(state->expectations, key, *ret);
	return 0;
}

/* Gives the name of the claim for one that the pod wants by a template. */
static int want_claim(struct reconciler *r, const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim *wanted, const char *key, char **ret_name,
	struct error *err)
{
	const char *known = claim_name(pod, wanted);
	autounref struct resource_v1_resource_claim *claim = known ? world_find(r->world, CACHED_RESOURCE_CLAIMS, pod->metadata.namespace, known) : NULL;
	if (claim && !is_for_pod(pod, wanted, claim)) {
		api_unref(claim);
		claim = NULL;
	}
	if (!claim)
		claim = find_made(r, pod, wanted->name);
	int result = claim ? 0 : create_claim(r, pod, wanted, key, &claim, err);
	if (!result)
		*ret_name = xstrdup(claim->metadata.name);
	return result;
}

/* Writes which claims were made. Nobody else writes that list, so it is written as a whole. */
static int write_statuses(struct reconciler *r, const struct core_v1_pod *pod, const struct core_v1_pod_resource_claim_status_array *statuses, struct error *err)
{
	const struct core_v1_pod_status part = {.resource_claim_statuses = *statuses};
	autobuf struct buf patch = BUF_INIT(STATUS_PATCH_MAX);
	buf_printf(&patch, "{\"metadata\":{\"uid\":\"%s\"},\"status\":", pod->metadata.uid);
	api_encode_json(&core_v1_pod_status_type, &part, &patch);
	buf_append_char(&patch, '}');
	if (buf_failed(&patch))
		return error_set(err, EFBIG, "the claims of pod %s are too many", pod->metadata.name);
	return world_merge_patch(r->world, CACHED_PODS, pod->metadata.namespace, pod->metadata.name, "status", patch.data, err);
}

/* Sees to the claims of all templates. Returns 1 where the pod has to be looked at again as it will be. */
static int make_claims(struct reconciler *r, const struct core_v1_pod *pod, const char *key, struct error *err)
{
	autounref struct core_v1_pod *copy = api_copy(pod);
	struct core_v1_pod_resource_claim_status_array statuses = {0};
	bool changed = false;
	for api_list_each (wanted, &copy->spec.resource_claims) {
		const struct core_v1_pod_resource_claim_status *status = status_of(copy, wanted->name);
		if (str_empty(wanted->resource_claim_template_name))
			continue;
		autofree char *name = NULL;
		bool unneeded = status && str_empty(status->resource_claim_name);
		int result = unneeded ? 0 : want_claim(r, copy, wanted, key, &name, err);
		if (result) {
			reconciler_event(r, pod, EVENT_WARNING, "FailedResourceClaimCreation", "PodResourceClaim %s: %s", wanted->name, err ? error_message(err) : "");
			return result;
		}
		changed |= !unneeded && (!status || !str_equal(status->resource_claim_name, name));
		struct core_v1_pod_resource_claim_status *written = api_list_add(api_arena(copy), &statuses);
		written->name = wanted->name;
		written->resource_claim_name = name ? arena_strdup(api_arena(copy), name) : NULL;
	}
	if (!changed)
		return 0;
	int result = write_statuses(r, copy, &statuses, err);
	return result ? result : 1;
}

/* ---- reserving ---- */

static bool is_reserved_for(const struct resource_v1_resource_claim *claim, const struct core_v1_pod *pod)
{
	for api_list_each (consumer, &claim->status.reserved_for)
		if (str_equal(consumer->uid, pod->metadata.uid))
			return true;
	return false;
}

static bool needs_reservation(const struct resource_v1_resource_claim *claim, const struct core_v1_pod *pod)
{
	return claim->status.allocation && !is_reserved_for(claim, pod) && claim->status.reserved_for.len < RESERVED_MAX;
}

static int reserve(struct reconciler *r, const struct core_v1_pod *pod, const struct resource_v1_resource_claim *claim, struct error *err)
{
	autounref struct resource_v1_resource_claim *copy = api_copy(claim);
	struct resource_v1_resource_claim_consumer_reference *consumer = api_list_add(api_arena(copy), &copy->status.reserved_for);
	consumer->resource = "pods";
	consumer->name = arena_strdup(api_arena(copy), pod->metadata.name);
	consumer->uid = arena_strdup(api_arena(copy), pod->metadata.uid);
	return world_update_status(r->world, CACHED_RESOURCE_CLAIMS, copy, NULL, err);
}

/* The scheduler reserves; a pod that was given its node by somebody else has nobody who did. */
static int reserve_claims(struct reconciler *r, const struct core_v1_pod *pod, struct error *err)
{
	for api_list_each (wanted, &pod->spec.resource_claims) {
		const char *name = claim_name(pod, wanted);
		autounref struct resource_v1_resource_claim *claim = name ? world_find(r->world, CACHED_RESOURCE_CLAIMS, pod->metadata.namespace, name) : NULL;
		if (!claim || !is_for_pod(pod, wanted, claim) || !needs_reservation(claim, pod))
			continue;
		int result = reserve(r, pod, claim, err);
		if (result)
			return result;
	}
	return 0;
}

static int reconcile_pod(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	struct state *state = r->state;
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, name);
	/* One that has ended needs none: what is taken away with its end must not be made again. */
	if (!pod || pod->metadata.deletion_timestamp.set || pod_is_terminal(pod)) {
		expectations_forget(state->expectations, key);
		return 0;
	}
	/* What was made and is not seen yet would be made twice. */
	int result = expectations_check(state->expectations, r->world, CACHED_RESOURCE_CLAIMS, key, err);
	if (result <= 0)
		return result < 0 ? result : EXPECTATIONS_LOOK_MS;
	result = make_claims(r, pod, key, err);
	if (result)
		return result < 0 ? result : 0; /* its new status brings us back */
	return str_empty(pod->spec.node_name) ? 0 : reserve_claims(r, pod, err);
}

/* ---- letting go ---- */

/* 1 where the pod of a reservation will not run (any more), 0 where it may. */
static int consumer_is_done(struct reconciler *r, const struct resource_v1_resource_claim *claim,
	const struct resource_v1_resource_claim_consumer_reference *consumer, struct error *err)
{
	const char *ns = claim->metadata.namespace;
	bool is_pod = str_empty(consumer->api_group) && str_equal(consumer->resource, "pods");
	if (!is_pod)
		return 0; /* whose it is we cannot know */
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, consumer->name);
	if (pod && str_equal(pod->metadata.uid, consumer->uid))
		return pod_is_done(pod);
	/* Who reserved saw the pod: a cache as new as the reservation would show it. */
	if (world_version(r->world, CACHED_PODS) >= object_version(claim))
		return 1;
	autoerror struct error failed = {0};
	autounref struct core_v1_pod *live = NULL;
	int result = world_get(r->world, CACHED_PODS, ns, consumer->name, (void **)&live, &failed);
	if (result && !error_is(&failed, "NotFound"))
		return error_move(err, &failed);
	return !live || !str_equal(live->metadata.uid, consumer->uid);
}

static int drop_finalizer(struct reconciler *r, const struct resource_v1_resource_claim *claim, struct error *err)
{
	if (!api_string_list_has(&claim->metadata.finalizers, FINALIZER))
		return 0;
	autounref struct resource_v1_resource_claim *copy = api_copy(claim);
	struct api_string_list *finalizers = &copy->metadata.finalizers;
	for (uint32_t i = 0; i < finalizers->len;) {
		if (str_equal(finalizers->items[i], FINALIZER))
			api_list_remove(finalizers, i);
		else
			i++;
	}
	return world_update(r->world, CACHED_RESOURCE_CLAIMS, copy, NULL, err);
}

/* Takes back what is reserved for nobody, and what was allocated once the last one is gone: the next may need it elsewhere. */
static int release(struct reconciler *r, const struct resource_v1_resource_claim *claim, const struct resource_v1_resource_claim_consumer_reference_array *left,
	struct error *err)
{
	bool protected = api_string_list_has(&claim->metadata.finalizers, FINALIZER), fewer = left->len < claim->status.reserved_for.len;
	bool going = claim->metadata.deletion_timestamp.set && protected && !left->len;
	if (!fewer && !going)
		return 0;
	autounref struct resource_v1_resource_claim *copy = api_copy(claim), *written = NULL;
	copy->status.reserved_for = *left;
	if (!left->len && protected) {
		copy->status.allocation = NULL;
		copy->status.devices.len = 0;
	}
	bool changed = fewer || (claim->status.allocation && !copy->status.allocation);
	int result = changed ? world_update_status(r->world, CACHED_RESOURCE_CLAIMS, copy, (void **)&written, err) : 0;
	if (result)
		return result;
	const struct resource_v1_resource_claim *now = written ? written : claim;
	return now->status.allocation ? 0 : drop_finalizer(r, now, err);
}

/* One that was made for a pod which will not run goes at once: the pod itself may stay for long. */
static int remove_unused(struct reconciler *r, const struct resource_v1_resource_claim *claim, struct error *err)
{
	const struct meta_v1_owner_reference *owner = owner_controller(&claim->metadata);
	if (!owner || !str_equal(owner->kind, "Pod") || !str_equal(owner->api_version, "v1") || claim->metadata.deletion_timestamp.set)
		return 0;
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, claim->metadata.namespace, owner->name);
	/* Not in the cache: gone, which is the garbage collector's to see, or not there yet. */
	if (!pod || (str_equal(pod->metadata.uid, owner->uid) && !pod_is_done(pod)))
		return 0;
	/* Another of that name: the cache may be behind the one that owns the claim. */
	if (!str_equal(pod->metadata.uid, owner->uid) && world_version(r->world, CACHED_PODS) < object_version(claim))
		return 0;
	return world_delete(r->world, CACHED_RESOURCE_CLAIMS, claim, NULL, err);
}

static int reconcile_claim(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct resource_v1_resource_claim *claim = world_find(r->world, CACHED_RESOURCE_CLAIMS, ns, name);
	if (!claim)
		return 0;
	autounref struct resource_v1_resource_claim *holder = api_new_of(resource_v1_resource_claim);
	struct resource_v1_resource_claim_consumer_reference_array left = {0};
	for api_list_each (consumer, &claim->status.reserved_for) {
		int done = consumer_is_done(r, claim, consumer, err);
		if (done < 0)
			return done;
		if (!done) {
			struct resource_v1_resource_claim_consumer_reference *kept = api_list_add(api_arena(holder), &left);
			*kept = *consumer;
		}
	}
	autoerror struct error failed = {0};
	int result = release(r, claim, &left, &failed);
	if (!result && !left.len)
		result = remove_unused(r, claim, &failed);
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

static int reconcile(struct reconciler *r, const char *ns, const char *key, struct error *err)
{
	if (str_starts_with(key, KEY_POD))
		return reconcile_pod(r, ns, key + strlen(KEY_POD), err);
	if (str_starts_with(key, KEY_CLAIM))
		return reconcile_claim(r, ns, key + strlen(KEY_CLAIM), err);
	return 0;
}

/* ---- what wakes it ---- */

static bool pod_has_claims(const struct core_v1_pod *pod)
{
	return pod->spec.resource_claims.len || pod->status.extended_resource_claim_status;
}

static bool pod_needs_work(struct reconciler *r, const struct core_v1_pod *pod)
{
	if (pod->metadata.deletion_timestamp.set || pod_is_terminal(pod))
		return false;
	for api_list_each (wanted, &pod->spec.resource_claims) {
		const char *name = claim_name(pod, wanted);
		bool by_template = !str_empty(wanted->resource_claim_template_name);
		if (!name && by_template && !status_of(pod, wanted->name))
			return true;
		autounref struct resource_v1_resource_claim *claim = name ? world_find(r->world, CACHED_RESOURCE_CLAIMS, pod->metadata.namespace, name) : NULL;
		if (name && by_template && (!claim || !is_for_pod(pod, wanted, claim)))
			return true;
		if (claim && !str_empty(pod->spec.node_name) && needs_reservation(claim, pod))
			return true;
	}
	return false;
}

static void add_claims(struct reconciler *r, const struct core_v1_pod *pod)
{
	for api_list_each (wanted, &pod->spec.resource_claims) {
		const char *name = claim_name(pod, wanted);
		if (name)
			add_key(r, KEY_CLAIM, pod->metadata.namespace, name);
	}
	const struct core_v1_pod_extended_resource_claim_status *extended = pod->status.extended_resource_claim_status;
	if (extended && !str_empty(extended->resource_claim_name))
		add_key(r, KEY_CLAIM, pod->metadata.namespace, extended->resource_claim_name);
}

static void wake_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	if (!pod_has_claims(pod))
		return;
	if (pod_is_done(pod))
		add_claims(r, pod);
	if (pod_needs_work(r, pod))
		add_key(r, KEY_POD, pod->metadata.namespace, pod->metadata.name);
}

static void pod_gone(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	if (!pod_has_claims(pod))
		return;
	add_claims(r, pod);
	add_key(r, KEY_POD, pod->metadata.namespace, pod->metadata.name); /* forgets what was expected of it */
}

static void wake_pods_of(struct reconciler *r, const char *prefix, const struct meta_v1_object_meta *meta)
{
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	autofree char *value = xprintf("%s%s/%s", prefix, meta->namespace, meta->name);
	world_list_index(r->world, CACHED_PODS, INDEX_CLAIM, value, &pods);
	for (size_t i = 0; i < pods.len; i++)
		wake_pod(r, pods.items[i]);
}

static void wake_by_claim(struct reconciler *r, const void *object)
{
	const struct resource_v1_resource_claim *claim = object;
	const struct meta_v1_owner_reference *owner = owner_controller(&claim->metadata);
	add_key(r, KEY_CLAIM, claim->metadata.namespace, claim->metadata.name);
	wake_pods_of(r, "", &claim->metadata);
	/* Its status may not tell of the claim yet. */
	if (owner && str_equal(owner->kind, "Pod"))
		add_key(r, KEY_POD, claim->metadata.namespace, owner->name);
}

static void wake_by_template(struct reconciler *r, const void *object)
{
	wake_pods_of(r, "template/", api_metadata(object));
}

static void ignore(struct reconciler *r, const void *object)
{
}

/* ---- what there is, for whoever reads the metrics ---- */

static void count_claims(void *arg)
{
	static const char *const flags[] = {"false", "true"}, *const sources[] = {"", "resource_claim_template", "extended_resource"};
	struct reconciler *r = arg;
	size_t counts[2][2][3] = {0};
	autolist struct informer_list claims = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_RESOURCE_CLAIMS, &claims);
	for (size_t i = 0; i < claims.len; i++) {
		const struct resource_v1_resource_claim *claim = claims.items[i];
		bool extended = str_equal(api_map_get(&claim->metadata.annotations, ANNOTATION_EXTENDED), "true");
		bool templated = !str_empty(api_map_get(&claim->metadata.annotations, ANNOTATION_POD_CLAIM));
		counts[claim->status.allocation != NULL][str_equal(admin_label(&claim->spec), "true")][extended ? 2 : templated]++;
	}
	for (size_t allocated = 0; allocated < 2; allocated++)
		for (size_t admin = 0; admin < 2; admin++)
			for (size_t source = 0; source < 3; source++)
				metric_set(metric_label(&metrics[1], flags[allocated], flags[admin], sources[source]), (double)counts[allocated][admin][source]);
}

const struct controller resource_claim_controller = {
	.name = "resourceclaim-controller",
	.alias = "resource-claim-controller",
	.queue = "resource_claim",
	.component = "resource_claim",
	.account = "resource-claim-controller",
	.concurrency_flag = "concurrent-resourceclaim-syncs",
	.workers = 10,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.collect = count_claims,
	.watches = (const struct controller_watch[]){{.what = CACHED_PODS, .wake = wake_pod, .gone = pod_gone, .latest_only = true},
		{.what = CACHED_RESOURCE_CLAIMS, .wake = wake_by_claim},
		{.what = CACHED_RESOURCE_CLAIM_TEMPLATES, .wake = wake_by_template, .gone = ignore, .latest_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
