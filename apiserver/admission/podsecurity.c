/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodSecurity: what a namespace's labels ask of its pods. The level to enforce refuses pods; the level to warn of tells of pods, and of workloads by their
 * templates; so does the level to audit, to the audit log. A namespace that gets stricter is told which of its pods would not be let in today.
 */
#include "apiserver/admission/podsecurity.h"
#include "apiserver/admission/admission.h"
#include "apiserver/admission/settings.h"
#include "apiserver/audit/audit.h"
#include "apiserver/validation/validation.h"
#include "api/apps_v1.h"
#include "api/batch_v1.h"

#include "common/base/metrics.h"
#include <errno.h>
#include <limits.h>

#define LABEL "pod-security.kubernetes.io/"
#define MAX_TEXT (256 << 10)
#define MAX_PODS 3000 /* that are looked at where a namespace changes */

static const char *const level_names[] = {"privileged", "baseline", "restricted"};

/* ---- what the labels say ---- */

static bool parse_level(const char *text, enum pod_level *ret) {
	for (size_t i = 0; i < array_len(level_names); i++)
		if (strcmp(level_names[i], text) == 0) {
			*ret = (enum pod_level)i;
			return true;
		}
	return false;
}

static bool parse_version(const char *text, int *ret) {
	int64_t minor;
	*ret = INT_MAX;
	if (strcmp(text, "latest") == 0)
		return true;
	bool good = strncmp(text, "v1.", 3) == 0 && (text[3] == '0' ? !text[4] : strspn(text + 3, "0123456789") == strlen(text + 3)) && str_to_int64(text + 3, 0, INT_MAX - 1, &minor);
	if (good)
		*ret = (int)minor;
	return good;
}

enum mode { ENFORCE, AUDIT, WARN, MODES };
static const struct {
	const char *name, *level_label, *version_label;
} modes[MODES] = {
	[ENFORCE] = {"enforce", LABEL "enforce", LABEL "enforce-version"},
	[AUDIT] = {"audit", LABEL "audit", LABEL "audit-version"},
	[WARN] = {"warn", LABEL "warn", LABEL "warn-version"},
};

/* What holds where labels say nothing; what was checked at the start can be read. */
static struct pod_policy default_of(const struct apiserver *server, enum mode mode) {
	struct pod_policy policy = {.level = POD_PRIVILEGED, .minor = INT_MAX};
	if (!server->admission->pod_security)
		return policy;
	const struct apiserver_v1_pod_security_defaults *d = &server->admission->pod_security->defaults;
	const char *const levels[] = {[ENFORCE] = d->enforce, [AUDIT] = d->audit, [WARN] = d->warn};
	const char *const versions[] = {[ENFORCE] = d->enforce_version, [AUDIT] = d->audit_version, [WARN] = d->warn_version};
	parse_level(str_or(levels[mode], "privileged"), &policy.level);
	parse_version(str_or(versions[mode], "latest"), &policy.minor);
	return policy;
}

/* What cannot be read is enforced as restricted, and not warned of. */
static struct pod_policy policy_of(const struct apiserver *server, const struct api_string_map *labels, enum mode mode) {
	struct pod_policy policy = default_of(server, mode);
	const char *level = api_map_get(labels, modes[mode].level_label), *version = api_map_get(labels, modes[mode].version_label);
	if (level && !parse_level(level, &policy.level))
		policy.level = mode == ENFORCE ? POD_RESTRICTED : POD_PRIVILEGED;
	if (version)
		parse_version(version, &policy.minor);
	/* What labels enforce is warned of too, where they do not say otherwise and less would be warned of. */
	enum pod_level enforced;
	const char *enforce_level = api_map_get(labels, modes[ENFORCE].level_label);
	if (mode == WARN && !level && enforce_level && parse_level(enforce_level, &enforced) && enforced > policy.level) {
		struct pod_policy other = policy_of(server, labels, ENFORCE);
		policy.level = other.level;
		policy.minor = version ? policy.minor : other.minor;
	}
	return policy;
}

/* ---- metrics ---- */

enum { EVALUATIONS, EXEMPTIONS };
static struct metric metrics[] = {
	[EVALUATIONS] = {.name = "pod_security_evaluations_total", .help = "Number of policy evaluations that occurred, not counting ignored or exempt requests.", .kind = METRIC_COUNTER,
			 .labels = (const char *const[]){"decision", "mode", "policy_level", "policy_version", "request_operation", "resource", "subresource", NULL}},
	[EXEMPTIONS] = {.name = "pod_security_exemptions_total", .help = "Number of exempt requests, not counting ignored or out of scope requests.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"request_operation", "resource", "subresource", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static const char *operation_label(const struct write *w) {
	return w->operation == WRITE_CREATE || w->created ? "create" : "update";
}

/* Of what has a template rather than being a pod, the kind is not told. */
static const char *resource_label(const struct write *w) {
	return str_equal(w->resource->api->plural, "pods") ? "pod" : str_equal(w->resource->api->plural, "namespaces") ? "namespace" : "controller";
}

static struct metric_series *evaluations(const struct write *w, const struct pod_policy *policy, enum mode mode, bool denied) {
	char version[16] = "latest";
	if (policy->minor != INT_MAX)
		snprintf(version, sizeof(version), "v1.%d", policy->minor);
	return metric_label(&metrics[EVALUATIONS], denied ? "deny" : "allow", modes[mode].name, level_names[policy->level], version, operation_label(w), resource_label(w), str_or(w->subresource, ""));
}

/* What nearly every pod is: it is not looked up by its labels each time. */
static struct metric_series *usual_evaluations(const struct write *w, const struct pod_policy *policy) {
	static struct metric_series *known[array_len(level_names)]; /* atomic */
	struct metric_series *series = __atomic_load_n(&known[policy->level], __ATOMIC_ACQUIRE);
	if (!series) {
		series = evaluations(w, policy, ENFORCE, false);
		__atomic_store_n(&known[policy->level], series, __ATOMIC_RELEASE);
	}
	return series;
}

static void count_evaluation(const struct write *w, const struct pod_policy *policy, enum mode mode, bool denied) {
	bool usual = mode == ENFORCE && !denied && policy->minor == INT_MAX && w->created && !w->subresource && api_type_of(w->object) == &core_v1_pod_type;
	metric_add(usual ? usual_evaluations(w, policy) : evaluations(w, policy, mode, denied), 1);
}

static void count_exemption(const struct write *w) {
	metric_add(metric_label(&metrics[EXEMPTIONS], operation_label(w), resource_label(w), str_or(w->subresource, "")), 1);
}

/* ---- who is exempt ---- */

static bool listed(const struct api_string_list *list, const char *text) {
	for (uint32_t i = 0; text && i < list->len; i++)
		if (str_equal(list->items[i], text))
			return true;
	return false;
}

/* What exempts the write: "user", "namespace", "runtimeClass"; NULL: nothing. `spec` NULL: of no pod. */
static const char *exempt_by(const struct write *w, const char *ns, const struct core_v1_pod_spec *spec) {
	const struct apiserver_v1_pod_security_configuration *config = w->r->server->admission->pod_security;
	if (!config)
		return NULL;
	if (listed(&config->exemptions.namespaces, ns))
		return "namespace";
	/* Whoever really acts: users acted for are judged by their own names. */
	if (listed(&config->exemptions.usernames, w->r->user->name))
		return "user";
	return spec && listed(&config->exemptions.runtime_classes, spec->runtime_class_name) ? "runtimeClass" : NULL;
}

static void check_names(const struct api_string_list *list, const char *field, format_check *format, struct error *found) {
	const struct path above = PATH(NULL, "exemptions"), *at = &above;
	for (uint32_t i = 0; i < list->len; i++) {
		const char *name = str_or(list->items[i], ""), *wrong = format ? format_error(format, name) : *name ? NULL : "username must not be empty";
		bool seen = false;
		for (uint32_t n = 0; n < i; n++)
			seen |= str_equal(list->items[n], name);
		if (wrong)
			invalid(found, AT_INDEX(field, i), name, "%s", wrong);
		else if (seen)
			duplicate(found, AT_INDEX(field, i), name);
	}
}

void podsecurity_check_settings(const struct apiserver_v1_pod_security_configuration *config, struct error *found) {
	const struct apiserver_v1_pod_security_defaults *d = &config->defaults;
	const struct {
		const char *field, *value;
		bool version;
	} rows[] = {{"enforce", d->enforce, false}, {"enforce-version", d->enforce_version, true}, {"warn", d->warn, false}, {"warn-version", d->warn_version, true}, {"audit", d->audit, false}, {"audit-version", d->audit_version, true}};
	const struct path above = PATH(NULL, "defaults"), *at = &above;
	enum pod_level level;
	int minor;
	for (size_t i = 0; i < array_len(rows); i++) {
		if (str_empty(rows[i].value))
			continue;
		if (rows[i].version ? !parse_version(rows[i].value, &minor) : !parse_level(rows[i].value, &level))
			invalid(found, AT(rows[i].field), rows[i].value, rows[i].version ? "must be \"latest\" or \"v1.x\"" : "must be one of privileged, baseline, restricted");
	}
	check_names(&config->exemptions.namespaces, "namespaces", format_dns_label, found);
	check_names(&config->exemptions.runtime_classes, "runtimeClasses", format_dns_subdomain, found);
	check_names(&config->exemptions.usernames, "usernames", NULL, found);
}

static void policy_text(const struct pod_policy *policy, struct buf *out) {
	buf_printf(out, "%s:", level_names[policy->level]);
	if (policy->minor == INT_MAX)
		buf_append_str(out, "latest");
	else
		buf_printf(out, "v1.%d", policy->minor);
}

/* ---- namespaces ---- */

static void check_own_labels(const struct api_string_map *labels, struct error *err) {
	enum pod_level level;
	int minor;
	for (size_t i = 0; i < array_len(modes); i++) {
		const char *level_label = modes[i].level_label, *version_label = modes[i].version_label;
		const char *given = api_map_get(labels, level_label), *version = api_map_get(labels, version_label);
		autofree char *level_path = xprintf("metadata.labels[%s]", level_label), *version_path = xprintf("metadata.labels[%s]", version_label);
		if (given && !parse_level(given, &level))
			error_cause(err, "FieldValueInvalid", level_path, "Invalid value: \"%s\": must be one of privileged, baseline, restricted", given);
		if (version && !parse_version(version, &minor))
			error_cause(err, "FieldValueInvalid", version_path, "Invalid value: \"%s\": must be \"latest\" or \"v1.x\"", version);
	}
}

static bool labels_same(const struct api_string_map *a, const struct api_string_map *b) {
	static const char *const labels[] = {LABEL "enforce", LABEL "enforce-version", LABEL "audit", LABEL "audit-version", LABEL "warn", LABEL "warn-version"};
	for (size_t i = 0; i < array_len(labels); i++)
		if (!str_equal(api_map_get(a, labels[i]), api_map_get(b, labels[i])))
			return false;
	return true;
}

struct offenders {
	char *first, *reasons;
	size_t count;
};

/* The pods that would be refused now, those of the same reasons together. */
static void warn_of_pods(struct write *w, const struct pod_policy *policy) {
	const struct resource *pods = registry_find(w->r->server->registry, "", "v1", "pods");
	autosnapshot struct snapshot *snapshot = collection_snapshot(pods->collection);
	autofree char *prefix = xprintf("%s/", w->name);
	struct offenders *groups = NULL;
	size_t first, end, count = 0;
	snapshot_range(snapshot, prefix, &first, &end);
	for (size_t i = first; i < min_of(end, first + MAX_PODS); i++) {
		autounref struct core_v1_pod *pod = NULL;
		autobuf struct buf reasons = BUF_INIT(MAX_TEXT);
		if (resource_decode(pods, snapshot_entry(snapshot, i), (void **)&pod, NULL) < 0)
			continue;
		podsecurity_judge(policy, &pod->metadata, &pod->spec, false, &reasons);
		if (!reasons.len)
			continue;
		size_t at = 0;
		while (at < count && strcmp(groups[at].reasons, reasons.data) != 0)
			at++;
		if (at == count) {
			groups = xreallocarray(groups, count + 1, sizeof(*groups));
			groups[count++] = (struct offenders){.first = xstrdup(pod->metadata.name), .reasons = xstrdup(reasons.data)};
		}
		groups[at].count++;
	}
	autobuf struct buf text = BUF_INIT(256);
	policy_text(policy, &text);
	if (count)
		request_warn(w->r, "existing pods in namespace \"%s\" violate the new PodSecurity enforce level \"%s\"", w->name, text.data);
	for (size_t i = 0; i < count; i++) {
		size_t others = groups[i].count - 1;
		if (others)
			request_warn(w->r, "%s (and %zu other %s): %s", groups[i].first, others, others == 1 ? "pod" : "pods", groups[i].reasons);
		else
			request_warn(w->r, "%s: %s", groups[i].first, groups[i].reasons);
		free(groups[i].first);
		free(groups[i].reasons);
	}
	free(groups);
}

static int validate_namespace(struct write *w, struct error *err) {
	const struct api_string_map *labels = &api_metadata(w->object)->labels, none = {0};
	const struct api_string_map *before = w->old && !w->created ? &api_metadata(w->old)->labels : &none;
	if (labels_same(labels, before))
		return 0;
	autoerror struct error causes = {0};
	check_own_labels(labels, &causes);
	if (error_has_causes(&causes)) {
		error_invalid(&causes, NULL, "Namespace", admission_name(w));
		return error_move(err, &causes);
	}
	struct pod_policy now = policy_of(w->r->server, labels, ENFORCE), was = policy_of(w->r->server, before, ENFORCE);
	bool relaxed = now.minor == was.minor && now.level <= was.level;
	if (exempt_by(w, w->name, NULL))
		return 0;
	if (!w->created && w->old && now.level != POD_PRIVILEGED && !relaxed)
		warn_of_pods(w, &now);
	return 0;
}

/* ---- pods and what makes them ---- */

static const struct core_v1_pod_template_spec *template_of(const struct write *w) {
	const void *o = w->object;
	const struct api_type *type = api_type_of(o);
	if (type == &core_v1_replication_controller_type)
		return ((const struct core_v1_replication_controller *)o)->spec.template;
	if (type == &core_v1_pod_template_type)
		return &((const struct core_v1_pod_template *)o)->template;
	if (type == &apps_v1_replica_set_type)
		return &((const struct apps_v1_replica_set *)o)->spec.template;
	if (type == &apps_v1_deployment_type)
		return &((const struct apps_v1_deployment *)o)->spec.template;
	if (type == &apps_v1_stateful_set_type)
		return &((const struct apps_v1_stateful_set *)o)->spec.template;
	if (type == &apps_v1_daemon_set_type)
		return &((const struct apps_v1_daemon_set *)o)->spec.template;
	if (type == &batch_v1_job_type)
		return &((const struct batch_v1_job *)o)->spec.template;
	return type == &batch_v1_cron_job_type ? &((const struct batch_v1_cron_job *)o)->spec.job_template.spec.template : NULL;
}

static void warn_of(struct write *w, const struct pod_policy *policy, const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec) {
	autobuf struct buf violations = BUF_INIT(MAX_TEXT), text = BUF_INIT(256);
	if (policy->level == POD_PRIVILEGED)
		return;
	podsecurity_judge(policy, meta, spec, true, &violations);
	policy_text(policy, &text);
	if (violations.len)
		count_evaluation(w, policy, WARN, true);
	if (violations.len)
		request_warn(w->r, "would violate PodSecurity \"%s\": %s", text.data, violations.data);
}

/* The same for the audit log, where the namespace asks for it. */
static void note_of(struct write *w, const struct pod_policy *policy, const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec) {
	autobuf struct buf violations = BUF_INIT(MAX_TEXT), text = BUF_INIT(256);
	if (policy->level == POD_PRIVILEGED || !w->r->audit)
		return;
	podsecurity_judge(policy, meta, spec, true, &violations);
	policy_text(policy, &text);
	if (!violations.len)
		return;
	count_evaluation(w, policy, AUDIT, true);
	autofree char *note = xprintf("would violate PodSecurity \"%s\": %s", text.data, violations.data);
	audit_annotate(w->r, AUDIT_METADATA, LABEL "audit-violations", note);
}

static int validate_pod(struct write *w, const struct api_string_map *labels, struct error *err) {
	const struct core_v1_pod *pod = w->object;
	/* An update that leaves what is judged alone is let through, as the pod runs already. */
	if (!w->created && w->old && api_field_equal(w->object, w->old, "spec"))
		return 0;
	struct pod_policy enforce = policy_of(w->r->server, labels, ENFORCE), warn = policy_of(w->r->server, labels, WARN), audit = policy_of(w->r->server, labels, AUDIT);
	autobuf struct buf violations = BUF_INIT(MAX_TEXT), text = BUF_INIT(256);
	const char *exempt = exempt_by(w, w->ns, &pod->spec);
	if (exempt) {
		count_exemption(w);
		audit_annotate(w->r, AUDIT_METADATA, LABEL "exempt", exempt);
		return 0;
	}
	if (enforce.level != POD_PRIVILEGED)
		podsecurity_judge(&enforce, &pod->metadata, &pod->spec, true, &violations);
	policy_text(&enforce, &text);
	audit_annotate(w->r, AUDIT_METADATA, LABEL "enforce-policy", text.data);
	note_of(w, &audit, &pod->metadata, &pod->spec);
	count_evaluation(w, &enforce, ENFORCE, violations.len);
	if (violations.len)
		return error_forbidden(err, w->resource, admission_name(w), "violates PodSecurity \"%s\": %s", text.data, violations.data);
	warn_of(w, &warn, &pod->metadata, &pod->spec);
	return 0;
}

static int validate(struct write *w, struct error *err) {
	bool pod = admission_is(w, "", "pods", NULL) || admission_is(w, "", "pods", "ephemeralcontainers") || admission_is(w, "", "pods", "resize");
	if (admission_is(w, "", "namespaces", NULL))
		return validate_namespace(w, err);
	const struct core_v1_pod_template_spec *template = pod || w->subresource || w->resource->custom ? NULL : template_of(w);
	if (!pod && !template)
		return 0;
	autoentry struct entry *ns = collection_get(registry_find(w->r->server->registry, "", "v1", "namespaces")->collection, w->ns);
	if (!ns)
		return 0;
	if (pod)
		return validate_pod(w, &ns->labels, err);
	struct pod_policy warn = policy_of(w->r->server, &ns->labels, WARN), audit = policy_of(w->r->server, &ns->labels, AUDIT);
	const char *exempt = exempt_by(w, w->ns, &template->spec);
	if (exempt) {
		count_exemption(w);
		audit_annotate(w->r, AUDIT_METADATA, LABEL "exempt", exempt);
		return 0;
	}
	note_of(w, &audit, &template->metadata, &template->spec);
	warn_of(w, &warn, &template->metadata, &template->spec);
	return 0;
}

const struct admission_plugin admission_pod_security = {
	.name = "PodSecurity",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.validate = validate,
};
