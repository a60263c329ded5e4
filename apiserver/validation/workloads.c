/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that own pods, and the small kinds of other groups. */
#include "apiserver/resources.h"
#include "apiserver/validation/validation.h"
#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/coordination_v1.h"
#include "api/node_v1.h"
#include "api/rbac_v1.h"
#include "api/scheduling_v1.h"
#include "common/api/selector.h"

void validate_pod_template(const struct core_v1_pod_template_spec *template, const struct path *path, struct error *err) {
	struct path meta = PATH(path, "metadata");
	validate_labels(&template->metadata.labels, &PATH(&meta, "labels"), err);
	validate_annotations(&template->metadata.annotations, &PATH(&meta, "annotations"), err);
	validate_pod_spec(&template->spec, &PATH(path, "spec"), err);
}

static void check_selector(const struct meta_v1_label_selector *selector, const struct core_v1_pod_template_spec *template, const struct path *spec, struct error *err) {
	struct path at = PATH(spec, "selector"), template_path = PATH(spec, "template"), meta = PATH(&template_path, "metadata");
	if (!selector) {
		required(err, &at, NULL);
		return;
	}
	validate_label_selector(selector, &at, err);
	if (!selector->match_labels.len && !selector->match_expressions.len) {
		error_cause(err, "FieldValueInvalid", "spec.selector", "Invalid value: {}: empty selector is invalid for deployment");
		return;
	}
	struct selector *parsed = NULL;
	if (label_selector_from(selector, &parsed, NULL) == 0 && !selector_matches_labels(parsed, &template->metadata.labels)) {
		autobuf struct buf text = BUF_INIT(64 << 10);
		for (uint32_t i = 0; i < template->metadata.labels.len; i++) {
			buf_append_str(&text, i ? "," : "");
			buf_append_json_string(&text, template->metadata.labels.items[i].key, strlen(template->metadata.labels.items[i].key));
			buf_append_char(&text, ':');
			buf_append_json_string(&text, template->metadata.labels.items[i].value, strlen(template->metadata.labels.items[i].value));
		}
		error_cause(err, "FieldValueInvalid", "spec.template.metadata.labels", "Invalid value: {%s}: `selector` does not match template `labels`", text.data ? text.data : "");
	}
	selector_free(parsed);
	(void)meta;
}

static void check_restart(const struct core_v1_pod_template_spec *template, const struct path *spec, struct error *err) {
	static const char *const always[] = {"Always", NULL};
	struct path t = PATH(spec, "template"), s = PATH(&t, "spec");
	if (!str_equal(template->spec.restart_policy, "Always"))
		not_supported(err, &PATH(&s, "restartPolicy"), template->spec.restart_policy, always);
}

static void immutable_selector(const void *object, const void *old, const struct meta_v1_label_selector *a, const struct meta_v1_label_selector *b, struct error *err) {
	if (old && a && b && !api_equal(&meta_v1_label_selector_type, a, b)) {
		autobuf struct buf text = BUF_INIT(64 << 10);
		api_encode_json(&meta_v1_label_selector_type, a, &text);
		error_cause(err, "FieldValueInvalid", "spec.selector", "Invalid value: %s: " IMMUTABLE_TEXT, text.data);
	}
}

void validate_replication_controller(const void *object, const void *old, struct error *err) {
	const struct core_v1_replication_controller *rc = object;
	struct path at = PATH(NULL, "spec");
	validate_non_negative(rc->spec.min_ready_seconds, &PATH(&at, "minReadySeconds"), err);
	if (!rc->spec.selector.len)
		required(err, &PATH(&at, "selector"), NULL);
	if (rc->spec.replicas)
		validate_non_negative(*rc->spec.replicas, &PATH(&at, "replicas"), err);
	if (!rc->spec.template) {
		required(err, &PATH(&at, "template"), NULL);
		return;
	}
	if (rc->spec.selector.len && !api_map_contains(&rc->spec.template->metadata.labels, &rc->spec.selector))
		error_cause(err, "FieldValueInvalid", "spec.template.metadata.labels", "Invalid value: {}: `selector` does not match template `labels`");
	validate_pod_template(rc->spec.template, &PATH(&at, "template"), err);
	check_restart(rc->spec.template, &at, err);
}

void validate_deployment(const void *object, const void *old, struct error *err) {
	const struct apps_v1_deployment *d = object, *before = old;
	struct path at = PATH(NULL, "spec");
	if (d->spec.replicas)
		validate_non_negative(*d->spec.replicas, &PATH(&at, "replicas"), err);
	check_selector(d->spec.selector, &d->spec.template, &at, err);
	validate_pod_template(&d->spec.template, &PATH(&at, "template"), err);
	check_restart(&d->spec.template, &at, err);
	validate_non_negative(d->spec.min_ready_seconds, &PATH(&at, "minReadySeconds"), err);
	if (d->spec.revision_history_limit)
		validate_non_negative(*d->spec.revision_history_limit, &PATH(&at, "revisionHistoryLimit"), err);
	if (d->spec.progress_deadline_seconds && *d->spec.progress_deadline_seconds <= d->spec.min_ready_seconds)
		invalid_int(err, &PATH(&at, "progressDeadlineSeconds"), *d->spec.progress_deadline_seconds, "must be greater than minReadySeconds");
	struct path strategy = PATH(&at, "strategy");
	if (str_equal(d->spec.strategy.type, "Recreate") && d->spec.strategy.rolling_update)
		forbidden(err, &PATH(&strategy, "rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
	immutable_selector(object, old, d->spec.selector, before ? before->spec.selector : NULL, err);
}

void validate_replica_set(const void *object, const void *old, struct error *err) {
	const struct apps_v1_replica_set *rs = object, *before = old;
	struct path at = PATH(NULL, "spec");
	if (rs->spec.replicas)
		validate_non_negative(*rs->spec.replicas, &PATH(&at, "replicas"), err);
	check_selector(rs->spec.selector, &rs->spec.template, &at, err);
	validate_pod_template(&rs->spec.template, &PATH(&at, "template"), err);
	check_restart(&rs->spec.template, &at, err);
	immutable_selector(object, old, rs->spec.selector, before ? before->spec.selector : NULL, err);
}

void validate_stateful_set(const void *object, const void *old, struct error *err) {
	const struct apps_v1_stateful_set *s = object, *before = old;
	struct path at = PATH(NULL, "spec");
	if (s->spec.replicas)
		validate_non_negative(*s->spec.replicas, &PATH(&at, "replicas"), err);
	check_selector(s->spec.selector, &s->spec.template, &at, err);
	validate_pod_template(&s->spec.template, &PATH(&at, "template"), err);
	check_restart(&s->spec.template, &at, err);
	if (!before)
		return;
	bool changed = !str_equal(s->spec.service_name, before->spec.service_name) || !str_equal(s->spec.pod_management_policy, before->spec.pod_management_policy) ||
		       (s->spec.selector && before->spec.selector && !api_equal(&meta_v1_label_selector_type, s->spec.selector, before->spec.selector)) || s->spec.volume_claim_templates.len != before->spec.volume_claim_templates.len;
	if (changed)
		forbidden(err, &at, "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
}

void validate_daemon_set(const void *object, const void *old, struct error *err) {
	const struct apps_v1_daemon_set *d = object, *before = old;
	struct path at = PATH(NULL, "spec");
	check_selector(d->spec.selector, &d->spec.template, &at, err);
	validate_pod_template(&d->spec.template, &PATH(&at, "template"), err);
	check_restart(&d->spec.template, &at, err);
	immutable_selector(object, old, d->spec.selector, before ? before->spec.selector : NULL, err);
}

static void check_job_spec(const struct batch_v1_job_spec *spec, const struct path *at, struct error *err) {
	static const char *const policies[] = {"OnFailure", "Never", NULL};
	const struct { const char *name; const int32_t *value; } counts[] = {
		{"parallelism", spec->parallelism}, {"completions", spec->completions}, {"backoffLimit", spec->backoff_limit}, {"ttlSecondsAfterFinished", spec->ttl_seconds_after_finished},
	};
	for (size_t i = 0; i < array_len(counts); i++)
		if (counts[i].value)
			validate_non_negative(*counts[i].value, &PATH(at, counts[i].name), err);
	if (str_equal(spec->completion_mode, "Indexed") && !spec->completions)
		required(err, &PATH(at, "completions"), "when completion mode is Indexed");
	validate_pod_template(&spec->template, &PATH(at, "template"), err);
	struct path t = PATH(at, "template"), s = PATH(&t, "spec");
	if (!str_equal(spec->template.spec.restart_policy, "OnFailure") && !str_equal(spec->template.spec.restart_policy, "Never")) {
		if (str_equal(spec->template.spec.restart_policy, "Always") || str_empty(spec->template.spec.restart_policy))
			required(err, &PATH(&s, "restartPolicy"), "valid values: \"OnFailure\", \"Never\"");
		else
			not_supported(err, &PATH(&s, "restartPolicy"), spec->template.spec.restart_policy, policies);
	}
}

void validate_job(const void *object, const void *old, struct error *err) {
	const struct batch_v1_job *job = object, *before = old;
	struct path at = PATH(NULL, "spec");
	check_job_spec(&job->spec, &at, err);
	if (!before)
		return;
	immutable_selector(object, old, job->spec.selector, before->spec.selector, err);
	if (!str_equal(job->spec.completion_mode, before->spec.completion_mode))
		invalid(err, &PATH(&at, "completionMode"), job->spec.completion_mode, IMMUTABLE_TEXT);
}

void validate_cron_job(const void *object, const void *old, struct error *err) {
	const struct batch_v1_cron_job *job = object;
	struct path at = PATH(NULL, "spec"), template = PATH(&at, "jobTemplate");
	if (str_empty(job->spec.schedule))
		required(err, &PATH(&at, "schedule"), NULL);
	if (strlen(str_or(job->metadata.name, "")) > 52 && !old) {
		struct path metadata = PATH(NULL, "metadata");
		invalid(err, &PATH(&metadata, "name"), job->metadata.name, "must be no more than 52 characters");
	}
	check_job_spec(&job->spec.job_template.spec, &PATH(&template, "spec"), err);
}

/* ---- small kinds ---- */

void validate_priority_class(const void *object, const void *old, struct error *err) {
	const struct scheduling_v1_priority_class *class = object, *before = old;
	if (!before) {
		struct path metadata = PATH(NULL, "metadata");
		if (str_starts_with(str_or(class->metadata.name, ""), "system-") && strcmp(class->metadata.name, "system-cluster-critical") != 0 && strcmp(class->metadata.name, "system-node-critical") != 0)
			forbidden(err, &PATH(&metadata, "name"), "priority class names with 'system-' prefix are reserved for system use only. error: unknown system priority class");
		else if (class->value > 1000000000 && !str_starts_with(class->metadata.name, "system-"))
			forbidden(err, &PATH(NULL, "value"), "maximum allowed value of a user defined priority is 1000000000");
		return;
	}
	if (class->value != before->value)
		forbidden(err, &PATH(NULL, "value"), "may not be changed in an update.");
	if (!str_equal(class->preemption_policy, before->preemption_policy))
		forbidden(err, &PATH(NULL, "preemptionPolicy"), "may not be changed in an update.");
}

void validate_role_binding(const void *object, const void *old, struct error *err) {
	/* RoleBinding and ClusterRoleBinding are laid out alike. */
	const struct rbac_v1_role_binding *binding = object, *before = old;
	struct path ref = PATH(NULL, "roleRef");
	static const char *const groups[] = {"rbac.authorization.k8s.io", NULL}, *const kinds[] = {"Role", "ClusterRole", NULL};
	if (!str_equal(binding->role_ref.api_group, groups[0]))
		not_supported(err, &PATH(&ref, "apiGroup"), binding->role_ref.api_group, groups);
	if (!str_equal(binding->role_ref.kind, "Role") && !str_equal(binding->role_ref.kind, "ClusterRole"))
		not_supported(err, &PATH(&ref, "kind"), binding->role_ref.kind, kinds);
	if (str_empty(binding->role_ref.name))
		required(err, &PATH(&ref, "name"), NULL);
	for (uint32_t i = 0; i < binding->subjects.len; i++) {
		const struct rbac_v1_subject *subject = &binding->subjects.items[i];
		struct path at = PATH_INDEX(NULL, "subjects", i);
		if (str_empty(subject->name))
			required(err, &PATH(&at, "name"), NULL);
		if (str_equal(subject->kind, "ServiceAccount") && str_empty(subject->namespace))
			required(err, &PATH(&at, "namespace"), NULL);
	}
	if (before && !api_field_equal(object, old, "roleRef")) {
		autobuf struct buf text = BUF_INIT(4096);
		api_encode_json(&rbac_v1_role_ref_type, &binding->role_ref, &text);
		error_cause(err, "FieldValueInvalid", "roleRef", "Invalid value: %s: cannot change roleRef", text.data);
	}
}

void validate_lease(const void *object, const void *old, struct error *err) {
	const struct coordination_v1_lease *lease = object;
	struct path at = PATH(NULL, "spec");
	if (lease->spec.lease_duration_seconds && *lease->spec.lease_duration_seconds <= 0)
		invalid_int(err, &PATH(&at, "leaseDurationSeconds"), *lease->spec.lease_duration_seconds, "must be greater than 0");
	if (lease->spec.lease_transitions && *lease->spec.lease_transitions < 0)
		invalid_int(err, &PATH(&at, "leaseTransitions"), *lease->spec.lease_transitions, "must be greater than or equal to 0");
}

void validate_runtime_class(const void *object, const void *old, struct error *err) {
	const struct node_v1_runtime_class *class = object, *before = old;
	const char *text = check_dns_label(str_or(class->handler, ""));
	if (text)
		invalid(err, &PATH(NULL, "handler"), class->handler, "%s", text);
	if (before && !str_equal(class->handler, before->handler))
		invalid(err, &PATH(NULL, "handler"), class->handler, IMMUTABLE_TEXT);
}
