/* SPDX-License-Identifier: Apache-2.0 */
/* The plugins in their order. */
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "api/meta_v1.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <errno.h>

const struct admission_plugin *const admission_plugins[] = {
	&admission_always_admit,
	&admission_namespace_provision, /* before who asks whether it is there */
	&admission_namespace_lifecycle,
	&admission_namespace_exists,
	&admission_node_restriction,
	&admission_hard_anti_affinity,
	&admission_limit_ranger,
	&admission_service_account,
	&admission_always_pull_images,
	&admission_pod_node_selector,
	&admission_default_toleration_seconds,
	&admission_taint_nodes,
	&admission_priority,
	&admission_pod_toleration_restriction,
	&admission_event_rate_limit,
	&admission_extended_resource_toleration,
	&admission_default_storage_class,
	&admission_storage_protection,
	&admission_owner_references,
	&admission_claim_resize,
	&admission_runtime_class,
	&admission_certificate_approval,
	&admission_certificate_signing,
	&admission_certificate_subject,
	&admission_default_ingress_class,
	&admission_deny_external_ips,
	&admission_pod_security,
	&admission_pod_topology_labels,
	&admission_pod_resize,
	&admission_escalation,
	&admission_mutating_policy, /* sees what all others have made of the object */
	&admission_mutating_webhook,
	&admission_validating_policy,
	&admission_validating_webhook,
	&admission_resource_quota, /* last: what it counts is then sure to be admitted */
	&admission_always_deny,
};
const size_t admission_plugin_count = array_len(admission_plugins);

static const double seconds[] = {0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 0};
static struct metric metrics[] = {
	{.name = "apiserver_admission_controller_admission_duration_seconds", .help = "Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit).", .kind = METRIC_HISTOGRAM,
	 .labels = (const char *const[]){"name", "type", "operation", "rejected", NULL}, .buckets = seconds},
	{.name = "apiserver_admission_step_admission_duration_seconds", .help = "Latency of all admission plugins together in seconds, broken out for each operation and type (validate or admit).", .kind = METRIC_HISTOGRAM,
	 .labels = (const char *const[]){"type", "operation", "rejected", NULL}, .buckets = seconds},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static const char *const operations[] = {"CREATE", "UPDATE", "DELETE", "CONNECT"}; /* by the bit of write_operation */

/* Of a plugin that has answered at once; what others were asked for has metrics of its own. */
static void measure(size_t plugin, bool mutate, enum write_operation operation, bool rejected, int64_t ns) {
	static struct metric_series *known[array_len(admission_plugins)][2][4][2]; /* atomic */
	unsigned which = (unsigned)__builtin_ctz((unsigned)operation);
	struct metric_series **place = &known[plugin][mutate][which][rejected], *series = __atomic_load_n(place, __ATOMIC_ACQUIRE);
	if (!series) {
		series = metric_label(&metrics[0], admission_plugins[plugin]->name, mutate ? "admit" : "validate", operations[which], rejected ? "true" : "false");
		__atomic_store_n(place, series, __ATOMIC_RELEASE);
	}
	metric_observe(series, (double)ns / NSEC_PER_SEC);
}

static void measure_step(const struct write *w, bool mutate, bool rejected) {
	const char *operation = operations[__builtin_ctz((unsigned)w->operation)];
	metric_observe(metric_label(&metrics[1], mutate ? "admit" : "validate", operation, rejected ? "true" : "false"), (double)(clock_monotonic_ns() - w->admission_ns) / NSEC_PER_SEC);
}

bool admission_is(const struct write *w, const char *group, const char *plural, const char *subresource) {
	return strcmp(w->resource->api->plural, plural) == 0 && strcmp(resource_group(w->resource), group) == 0 && str_equal(w->subresource, subresource);
}

const char *admission_name(const struct write *w) {
	const struct meta_v1_object_meta *meta = w->object && !w->body ? api_metadata(w->object) : NULL;
	if (!meta)
		return w->name;
	return str_empty(meta->name) ? meta->generate_name : meta->name;
}

static bool named(const struct flag_list *list, const char *name) {
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], name) == 0)
			return true;
	return false;
}

uint64_t admission_disabled(const struct apiserver_options *options) {
	_Static_assert(array_len(admission_plugins) <= 64, "a bit for each");
	uint64_t bits = 0;
	for (size_t i = 0; i < admission_plugin_count; i++) {
		const struct admission_plugin *plugin = admission_plugins[i];
		if (named(&options->disable_admission_plugins, plugin->name) || (plugin->off_by_default && !named(&options->enable_admission_plugins, plugin->name)))
			bits |= (uint64_t)1 << i;
	}
	return bits;
}

/* ---- plugins that lack the answer of another: they are run again, as if they had not run, once it is there ---- */

struct before {
	void *object; /* a copy; NULL: none was made */
	struct reinvocation policies;
};

/* Only where others may be asked, and the plugin's expressions may have changed the object before one asks. */
static struct before remember(struct write *w, const struct admission_plugin *plugin, bool mutate) {
	struct before before = {0};
	if (!mutate || plugin != &admission_mutating_policy || !w->object || !authz_asks(w->r->server->authz))
		return before;
	before.object = api_copy(w->object);
	before.policies = admission_state(w)->policies;
	if (before.policies.len)
		before.policies.items = arena_memdup(w->arena, before.policies.items, before.policies.cap * sizeof(*before.policies.items));
	return before;
}

static void restore(struct write *w, struct before *before) {
	if (!before->object)
		return;
	api_unref(w->object);
	w->object = take_ptr(before->object);
	w->admission->policies = before->policies;
}

static int run(struct write *w, bool mutate, struct error *err) {
	int64_t began = clock_monotonic_ns(); /* of the plugin at hand: where the one before it ended */
	for (;;) {
		if (w->next_plugin == admission_plugin_count) {
			if (!mutate || !w->admission || !w->admission->wanted || w->admission->again)
				return 0;
			w->admission->again = true;
			w->next_plugin = 0;
		}
		const struct admission_plugin *plugin = admission_plugins[w->next_plugin++];
		bool body_alone = w->body && !w->body->show;
		int (*hook)(struct write *, struct error *) = mutate ? plugin->admit : plugin->validate;
		enum write_operation operation = w->operation == WRITE_UPDATE && w->created ? WRITE_CREATE : w->operation;
		if (!hook || !(plugin->operations & operation) || (plugin->hook && w->skip_hooks) || (body_alone && !plugin->bodies) || w->r->server->disabled_plugins >> (w->next_plugin - 1) & 1)
			continue;
		struct before before = remember(w, plugin, mutate);
		size_t which = w->next_plugin - 1;
		int rc = hook(w, err);
		if (rc != REQUEST_TAKEN && asks_lacking(&w->asks)) {
			restore(w, &before);
			w->next_plugin--;
			write_ask(w);
			return REQUEST_TAKEN;
		}
		if (rc != REQUEST_TAKEN) { /* a write that was taken may be gone */
			int64_t ended = clock_monotonic_ns();
			measure(which, mutate, operation, rc < 0, ended - began);
			began = ended;
		}
		api_unref(before.object);
		if (rc)
			return rc;
	}
}

int admission_run(struct write *w, bool mutate, struct error *err) {
	if (w->next_plugin == 0 && !(w->admission && w->admission->again))
		w->admission_ns = clock_monotonic_ns();
	int rc = run(w, mutate, err);
	if (rc != REQUEST_TAKEN) /* a write that was taken may be gone */
		measure_step(w, mutate, rc < 0);
	return rc;
}

static bool has(const char *const *names, size_t len, const char *name) {
	for (size_t i = 0; i < len; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static bool known(const char *name) {
	for (size_t i = 0; i < admission_plugin_count; i++)
		if (strcmp(admission_plugins[i]->name, name) == 0)
			return true;
	return false;
}

/* Kubernetes has them. What the first look at is behind gates that are shut; the others would be missed. */
static const char *const idle[] = {"ClusterTrustBundleAttest", "JobValidation", "PodGroupProtection", "PodGroupWorkloadExists"};
static const char *const missing[] = {"ImagePolicyWebhook", "NodeDeclaredFeatureValidator"};

int admission_check_flags(const struct apiserver_options *options, struct error *err) {
	const struct {
		const char *flag;
		const struct flag_list *names;
	} lists[] = {{"enable-admission-plugins", &options->enable_admission_plugins}, {"disable-admission-plugins", &options->disable_admission_plugins}};
	for (size_t l = 0; l < array_len(lists); l++)
		for (size_t i = 0; i < lists[l].names->len; i++) {
			const char *name = lists[l].names->items[i];
			if (l == 0 && has(missing, array_len(missing), name))
				return error_set(err, ENOTSUP, "%s plugin \"%s\" is not served here", lists[l].flag, name);
			if (!known(name) && !has(idle, array_len(idle), name) && !has(missing, array_len(missing), name))
				return error_set(err, EINVAL, "%s plugin \"%s\" is unknown", lists[l].flag, name);
			if (l == 0 && named(lists[1].names, name))
				return error_set(err, EINVAL, "[%s] in enable-admission-plugins and disable-admission-plugins overlapped", name);
		}
	return 0;
}

bool admission_is_enabled(const struct apiserver_options *options, const char *name) {
	uint64_t disabled = admission_disabled(options);
	for (size_t i = 0; i < admission_plugin_count; i++)
		if (strcmp(admission_plugins[i]->name, name) == 0)
			return !(disabled >> i & 1);
	return false;
}
