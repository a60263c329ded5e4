/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that own pods and go on: Deployment, ReplicaSet, StatefulSet, DaemonSet, ControllerRevision. */
#include "apiserver/validation/validation.h"
#include "api/apps_v1.h"
#include "common/api/selector.h"


/* A label map as JSON, the value that Kubernetes shows. */
static void labels_mismatch(const struct api_string_map *labels, const struct path *template, struct error *err) {
	autobuf struct buf text = BUF_INIT(64u << 10);
	buf_append_str(&text, labels->len ? "{" : "null");
	for (uint32_t i = 0; i < labels->len; i++) {
		buf_append_str(&text, i ? "," : "");
		buf_append_json_string(&text, labels->items[i].key, strlen(labels->items[i].key));
		buf_append_char(&text, ':');
		buf_append_json_string(&text, labels->items[i].value, strlen(labels->items[i].value));
	}
	buf_append_str(&text, labels->len ? "}" : "");
	struct path metadata = PATH(template, "metadata");
	invalid_struct(err, &PATH(&metadata, "labels"), NULL, text.data, "`selector` does not match template `labels`");
}

bool check_workload_selector(const struct meta_v1_label_selector *selector, const struct core_v1_pod_template_spec *template, const char *kind, const char *text, const struct path *at, struct error *err) {
	if (!selector) {
		labels_mismatch(&template->metadata.labels, AT("template"), err);
		return true;
	}
	if (kind && selects_everything(selector)) {
		invalid_struct(err, AT("selector"), &meta_v1_label_selector_type, selector, "empty selector is invalid for %s", kind);
		return true;
	}
	struct selector *parsed = NULL;
	bool good = label_selector_is_good(selector) && label_selector_from(selector, &parsed, NULL) == 0;
	if (!good && text) {
		/* Without a selector there is nothing to judge the template by. */
		drop_beneath(AT("template"), err);
		invalid_struct(err, AT("selector"), &meta_v1_label_selector_type, selector, *text ? "%s" : NULL, text);
	} else if (good && !selector_matches_labels(parsed, &template->metadata.labels)) {
		labels_mismatch(&template->metadata.labels, AT("template"), err);
	}
	selector_free(parsed);
	return good || !text;
}

static void check_template(const struct core_v1_pod_template_spec *template, const char *kind, const struct path *at, struct error *err) {
	static const char *const always[] = {"Always", NULL};
	struct path inner = PATH(AT("template"), "spec");
	size_t from = err->cause_count;
	if (!str_equal(template->spec.restart_policy, "Always"))
		not_supported(err, &PATH(&inner, "restartPolicy"), template->spec.restart_policy, always);
	if (template->spec.active_deadline_seconds)
		forbidden(err, &PATH(&inner, "activeDeadlineSeconds"), "activeDeadlineSeconds in %s is not Supported", kind);
	tell_at(&PATH(AT("template"), "~workload"), from, err);
}

static int percent_of(const struct int_or_string *value, bool *ret_percent) {
	*ret_percent = value->str && !format_error(format_percent, value->str);
	int64_t number = 0;
	if (value->str) {
		autofree char *digits = xstrndup(value->str, strspn(value->str, "0123456789"));
		if (!str_to_int64(digits, 0, INT32_MAX, &number))
			number = *digits ? INT32_MAX : 0;
		return (int)number;
	}
	return value->num;
}

/* A number or a percentage; `cap`: of at most 100%. */
void check_amount(const struct int_or_string *value, bool cap, const struct path *at, struct error *err) {
	if (!value)
		return;
	bool percent;
	int amount = percent_of(value, &percent);
	if (value->str && !percent)
		invalid_int_or_string(err, at, value, "%s", format_error(format_percent, value->str));
	else if (!value->str)
		check_non_negative(value->num, at, err);
	if (cap && percent && amount > 100)
		invalid_int_or_string(err, at, value, "must not be greater than 100%%");
}

static bool is_nonzero(const struct int_or_string *value) {
	bool percent;
	return value && percent_of(value, &percent) != 0;
}

static void check_counts(const char *const *fields, const int64_t *values, size_t count, int64_t most, const struct path *at, struct error *err) {
	for (size_t i = 0; i < count; i++)
		if (values[i] > most)
			invalid_int(err, AT(fields[i]), values[i], "cannot be greater than status.replicas");
}

static void check_collisions(const int32_t *now, const int32_t *old, const struct path *at, struct error *err) {
	if (old && (!now || *now < *old))
		invalid_int(err, AT("collisionCount"), now ? *now : 0, "cannot be decremented");
}

/* ---- Deployment ---- */

CHECK(apps_v1_deployment_spec, spec) {
	if (!spec->selector)
		required(err, AT("selector"), NULL);
	if (check_workload_selector(spec->selector, &spec->template, "deployment", "invalid label selector", at, err))
		check_template(&spec->template, "ReplicaSet", at, err);
	if (spec->progress_deadline_seconds && *spec->progress_deadline_seconds <= spec->min_ready_seconds)
		invalid_int(err, AT("progressDeadlineSeconds"), *spec->progress_deadline_seconds, "must be greater than minReadySeconds");
}

CHECK(apps_v1_deployment_strategy, strategy) {
	static const char *const types[] = {"Recreate", "RollingUpdate", NULL};
	const struct apps_v1_rolling_update_deployment *rolling = strategy->rolling_update;
	struct path path = PATH(at, "rollingUpdate");
	if (str_equal(strategy->type, "Recreate")) {
		if (rolling)
			forbidden(err, &path, "may not be specified when strategy `type` is 'Recreate'");
	} else if (!str_equal(strategy->type, "RollingUpdate")) {
		not_supported(err, at, strategy->type, types);
	} else if (!rolling) {
		required(err, &path, "this should be defaulted and never be nil");
	} else {
		check_amount(rolling->max_unavailable, true, &PATH(&path, "maxUnavailable"), err);
		check_amount(rolling->max_surge, false, &PATH(&path, "maxSurge"), err);
		if (rolling->max_unavailable && !is_nonzero(rolling->max_unavailable) && !is_nonzero(rolling->max_surge))
			invalid_int_or_string(err, &PATH(&path, "maxUnavailable"), rolling->max_unavailable, "may not be 0 when `maxSurge` is 0");
	}
}

CHECK(apps_v1_deployment_status, status) {
	static const char *const fields[] = {"updatedReplicas", "readyReplicas", "availableReplicas"};
	const int64_t values[] = {status->updated_replicas, status->ready_replicas, status->available_replicas};
	check_counts(fields, values, array_len(values), status->replicas, at, err);
	if (status->available_replicas > status->ready_replicas)
		invalid_int(err, AT("availableReplicas"), status->available_replicas, "cannot be greater than readyReplicas");
	if (old)
		check_collisions(status->collision_count, old->collision_count, at, err);
}

/* ---- ReplicaSet ---- */

CHECK(apps_v1_replica_set_spec, spec) {
	if (!spec->selector)
		required(err, AT("selector"), NULL);
	if (check_workload_selector(spec->selector, &spec->template, "deployment", "invalid label selector", at, err))
		check_template(&spec->template, "ReplicaSet", at, err);
}

CHECK(apps_v1_replica_set_status, status) {
	static const char *const fields[] = {"fullyLabeledReplicas", "readyReplicas", "availableReplicas"};
	const int64_t values[] = {status->fully_labeled_replicas, status->ready_replicas, status->available_replicas};
	check_counts(fields, values, array_len(values), status->replicas, at, err);
	if (status->available_replicas > status->ready_replicas)
		invalid_int(err, AT("availableReplicas"), status->available_replicas, "cannot be greater than readyReplicas");
}

/* ---- StatefulSet ---- */

#define SET_MAY_CHANGE "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"

/* Claims become volumes of the pods, and their names those of volumes. */
static void check_claim_names(const struct core_v1_persistent_volume_claim_array *claims, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	unsigned count = 0;
	for (uint32_t i = 0; i < claims->len; i++) {
		const char *name = claims->items[i].metadata.name;
		if (seen_before(&seen, name))
			continue;
		struct path volume = PATH_INDEX(at, "volumes", count++);
		check_needed(format_dns_label, name, &PATH(&volume, "name"), err);
		if (str_empty(name))
			required(err, &PATH(&PATH(&volume, "persistentVolumeClaim"), "claimName"), NULL);
	}
}

static bool is_claim(const struct core_v1_persistent_volume_claim_array *claims, const char *name) {
	for (uint32_t i = 0; i < claims->len; i++)
		if (str_equal(str_or(claims->items[i].metadata.name, ""), str_or(name, "")))
			return true;
	return false;
}

/* The volumes that claims become stand before the template's own, and take the place of those of their names. */
static void shift_volumes(const struct apps_v1_stateful_set_spec *spec, const struct path *pod, struct error *err) {
	const struct core_v1_persistent_volume_claim_array *claims = &spec->volume_claim_templates;
	const struct core_v1_volume_array *volumes = &spec->template.spec.volumes;
	uint32_t first = 0, kept = 0;
	for (uint32_t i = 0; i < claims->len; i++) {
		bool again = false;
		for (uint32_t n = 0; n < i; n++)
			again |= str_equal(str_or(claims->items[n].metadata.name, ""), str_or(claims->items[i].metadata.name, ""));
		first += !again;
	}
	if (!first)
		return;
	/* Each goes to a place that no cause has, so that none is moved twice. */
	for (uint32_t i = 0; i < volumes->len; i++)
		if (is_claim(claims, volumes->items[i].name))
			drop_judgement(&PATH_INDEX(pod, "volumes", i), err);
		else
			move_causes(&PATH_INDEX(pod, "volumes", i), &PATH_INDEX(pod, "~volumes", first + kept++), err);
	move_causes(&PATH(pod, "~volumes"), &PATH(pod, "volumes"), err);
}

/* Kubernetes looks at labels and annotations of this template once more. */
static void look_again(const struct path *template, struct error *err) {
	static const char *const names[] = {"labels", "annotations"};
	for (size_t i = 0; i < array_len(names); i++) {
		autobuf struct buf field = BUF_INIT(1024);
		path_write(&PATH(template, names[i]), &field);
		for (size_t n = 0, count = err->cause_count; n < count; n++)
			if (str_starts_with(err->causes[n].field, field.data)) {
				size_t from = err->cause_count;
				error_cause(err, err->causes[n].reason, err->causes[n].field, "%s", err->causes[n].message);
				tell_at(&PATH(template, "~workload"), from, err);
			}
	}
}

CHECK(apps_v1_stateful_set_spec, spec) {
	if (!str_empty(spec->pod_management_policy) && strcmp(spec->pod_management_policy, "OrderedReady") != 0 && strcmp(spec->pod_management_policy, "Parallel") != 0)
		invalid(err, AT("podManagementPolicy"), spec->pod_management_policy, "must be 'OrderedReady' or 'Parallel'");
	if (!old && !str_empty(spec->service_name))
		check_format(format_dns_label, spec->service_name, AT("serviceName"), err);
	if (!spec->selector)
		required(err, AT("selector"), NULL);
	struct path template = PATH(at, "template"), pod = PATH(&template, "spec");
	shift_volumes(spec, &pod, err);
	check_workload_selector(spec->selector, &spec->template, "statefulset", "", at, err);
	look_again(&template, err);
	check_claim_names(&spec->volume_claim_templates, &pod, err);
	if (old)
		drop_beneath(AT("volumeClaimTemplates"), err);
	check_template(&spec->template, "StatefulSet", at, err);
	/* All fields stay but those that the message names. */
	static const char *const kept[] = {"selector", "volumeClaimTemplates", "serviceName", "podManagementPolicy"};
	bool differ = false;
	for (size_t i = 0; old && i < array_len(kept); i++) {
		size_t offset;
		const struct api_field *f = api_field_find(&apps_v1_stateful_set_spec_type, kept[i], strlen(kept[i]), &offset);
		differ |= !api_field_same(f, spec, old);
	}
	if (differ)
		forbidden(err, at, SET_MAY_CHANGE);
}

CHECK(apps_v1_stateful_set_update_strategy, strategy) {
	const struct apps_v1_rolling_update_stateful_set_strategy *rolling = strategy->rolling_update;
	if (str_empty(strategy->type))
		required(err, at, NULL);
	else if (strcmp(strategy->type, "OnDelete") == 0) {
		if (rolling)
			invalid_struct(err, AT("rollingUpdate"), &apps_v1_rolling_update_stateful_set_strategy_type, rolling, "only allowed for updateStrategy 'RollingUpdate'");
	} else if (strcmp(strategy->type, "RollingUpdate") != 0) {
		invalid_struct(err, at, &apps_v1_stateful_set_update_strategy_type, strategy, "must be 'RollingUpdate' or 'OnDelete'");
	} else if (rolling && rolling->max_unavailable) {
		check_amount(rolling->max_unavailable, true, &PATH(AT("rollingUpdate"), "maxUnavailable"), err);
	}
}

CHECK(apps_v1_stateful_set_status, status) {
	static const char *const fields[] = {"readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"};
	const int64_t values[] = {status->ready_replicas, status->current_replicas, status->updated_replicas, status->available_replicas};
	check_counts(fields, values, array_len(values), status->replicas, at, err);
	if (status->available_replicas > status->ready_replicas)
		invalid_int(err, AT("availableReplicas"), status->available_replicas, "cannot be greater than status.readyReplicas");
	if (old)
		check_collisions(status->collision_count, old->collision_count, at, err);
}

/* ---- DaemonSet ---- */

CHECK(apps_v1_daemon_set_spec, spec) {
	check_workload_selector(spec->selector, &spec->template, "daemonset", NULL, at, err);
	check_template(&spec->template, "DaemonSet", at, err);
}

CHECK(apps_v1_daemon_set_update_strategy, strategy) {
	static const char *const types[] = {"RollingUpdate", "OnDelete", NULL};
	const struct apps_v1_rolling_update_daemon_set *rolling = strategy->rolling_update;
	struct path path = PATH(at, "rollingUpdate");
	if (str_equal(strategy->type, "OnDelete"))
		return;
	if (!str_equal(strategy->type, "RollingUpdate")) {
		not_supported(err, at, strategy->type, types);
	} else if (!rolling) {
		required(err, &path, NULL);
	} else {
		check_amount(rolling->max_unavailable, true, &PATH(&path, "maxUnavailable"), err);
		check_amount(rolling->max_surge, true, &PATH(&path, "maxSurge"), err);
		bool unavailable = is_nonzero(rolling->max_unavailable), surge = is_nonzero(rolling->max_surge);
		if (unavailable && surge)
			invalid_int_or_string(err, &PATH(&path, "maxSurge"), rolling->max_surge, "may not be set when maxUnavailable is non-zero");
		else if (!unavailable && !surge)
			required(err, &PATH(&path, "maxUnavailable"), "cannot be 0 when maxSurge is 0");
	}
}

CHECK(apps_v1_daemon_set_status, status) {
	if (old)
		check_collisions(status->collision_count, old->collision_count, at, err);
}

/* ---- ControllerRevision ---- */

CHECK(apps_v1_controller_revision, revision) {
	const char *data = revision->data.json;
	if (old) {
		check_fixed(&apps_v1_controller_revision_type, revision, old, "data", at, err);
		return;
	}
	if (!data || strcmp(data, "null") == 0)
		required(err, AT("data"), "data is mandatory");
	else if (data[strspn(data, " \t\r\n")] != '{')
		required(err, AT("data"), "data must be a valid JSON object");
}

const struct checker checkers_apps[] = {
	ROW(apps_v1_deployment_spec), ROW(apps_v1_deployment_strategy), ROW(apps_v1_deployment_status), ROW(apps_v1_replica_set_spec), ROW(apps_v1_replica_set_status),
	ROW(apps_v1_stateful_set_spec), ROW(apps_v1_stateful_set_update_strategy), ROW(apps_v1_stateful_set_status), ROW(apps_v1_daemon_set_spec),
	ROW(apps_v1_daemon_set_update_strategy), ROW(apps_v1_daemon_set_status), ROW(apps_v1_controller_revision), {0},
};
