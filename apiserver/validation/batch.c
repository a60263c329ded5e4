/* SPDX-License-Identifier: Apache-2.0 */
/* Job and CronJob. */
#include "apiserver/validation/validation.h"
#include "api/batch_v1.h"

#include <ctype.h>
#include <strings.h>
#include <sys/stat.h>

#define MANY 100000

typedef struct batch_v1_job_spec spec_t;

static bool is_indexed(const spec_t *spec) {
	return str_equal(spec->completion_mode, "Indexed");
}

/* ---- lists of indexes: "0,3-5" ---- */

struct interval {
	int64_t from, to;
};

/* The interval at *text, which moves past it; false where it is malformed. */
static bool next_interval(const char **text, int32_t completions, struct interval *ret, const char **why) {
	const char *p = *text;
	size_t len = strcspn(p, ",");
	autofree char *part = xstrndup(p, len), *second = NULL;
	char *dash = strchr(part, '-');
	*text = p[len] ? p + len + 1 : NULL;
	*why = NULL;
	if (dash) {
		*dash = 0;
		second = xstrdup(dash + 1);
	}
	if (second && strchr(second, '-'))
		*why = "an index interval can have at most two parts separated by '-'";
	else if (!str_to_int64(part, INT32_MIN, INT32_MAX, &ret->from) || (second && !str_to_int64(second, INT32_MIN, INT32_MAX, &ret->to)))
		*why = "cannot convert string to integer for index";
	else if (ret->from >= completions || (second && ret->to >= completions))
		*why = "too large index";
	else if (second && ret->from >= ret->to)
		*why = "non-increasing order";
	else if (!second)
		ret->to = ret->from;
	return !*why;
}

/* How many indexes there are; -1 where the list is malformed. */
static int64_t count_indexes(const char *text, int32_t completions, const char **why) {
	int64_t total = 0, last = -1;
	struct interval in;
	*why = NULL;
	for (const char *p = str_empty(text) ? NULL : text; p;) {
		if (!next_interval(&p, completions, &in, why))
			return -1;
		if (total && in.from <= last) {
			*why = "non-increasing order";
			return -1;
		}
		total += in.to - in.from + 1;
		last = in.to;
	}
	return total;
}

/* Both lists are sorted: one pass. */
static void check_overlap(const char *completed, const char *failed, int32_t completions, const struct path *path, struct error *err) {
	const char *c = str_empty(completed) ? NULL : completed, *f = str_empty(failed) ? NULL : failed, *why;
	struct interval a, b;
	bool have_a = c && next_interval(&c, completions, &a, &why), have_b = f && next_interval(&f, completions, &b, &why);
	while (have_a && have_b) {
		if (a.from <= b.to && b.from <= a.to) {
			invalid(err, path, failed, "failedIndexes and completedIndexes overlap at index: %lld", (long long)max_of(a.from, b.from));
			return;
		}
		if (a.from <= b.from)
			have_a = c && next_interval(&c, completions, &a, &why);
		else
			have_b = f && next_interval(&f, completions, &b, &why);
	}
}

/* ---- policies ---- */

static bool has_container(const struct core_v1_pod_spec *spec, const char *name) {
	for (uint32_t i = 0; i < spec->containers.len; i++)
		if (str_equal(spec->containers.items[i].name, name))
			return true;
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		if (str_equal(spec->init_containers.items[i].name, name))
			return true;
	return false;
}

/* Absent: Required, with the values that would do. */
static void check_one_of(const char *value, const char *const *supported, const char *listed, const struct path *path, struct error *err) {
	if (str_empty(value)) {
		autofree char *text = xprintf("valid values: [%s]", listed);
		required(err, path, text);
	} else {
		check_enum(value, supported, path, err);
	}
}

static void check_exit_codes(const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *codes, const struct core_v1_pod_spec *pod, const struct path *at, struct error *err) {
	static const char *const operators[] = {"In", "NotIn", NULL};
	check_one_of(codes->operator, operators, "\"In\" \"NotIn\"", AT("operator"), err);
	if (codes->container_name && !has_container(pod, codes->container_name))
		invalid(err, AT("containerName"), codes->container_name, "must be one of the container or initContainer names in the pod template");
	autobuf struct buf list = BUF_INIT(64u << 10);
	buf_append_str(&list, codes->values.items ? "[" : "null");
	for (uint32_t i = 0; i < codes->values.len; i++)
		buf_printf(&list, "%s%d", i ? "," : "", codes->values.items[i]);
	buf_append_str(&list, codes->values.items ? "]" : "");
	if (!codes->values.len)
		invalid_struct(err, AT("values"), NULL, list.data, "at least one value is required");
	automap struct map seen = MAP_INIT(NULL);
	bool ordered = true;
	for (uint32_t i = 0; i < codes->values.len; i++) {
		int32_t code = codes->values.items[i];
		char number[16];
		snprintf(number, sizeof(number), "%d", code);
		if (code == 0 && str_equal(codes->operator, "In"))
			invalid_int(err, AT_INDEX("values", i), code, "must not be 0 for the In operator");
		if (seen_before(&seen, number))
			duplicate_json(err, AT_INDEX("values", i), number);
		ordered &= i == 0 || codes->values.items[i - 1] <= code;
	}
	if (!ordered)
		invalid_struct(err, AT("values"), NULL, list.data, "must be ordered");
}

static void check_failure_policy(const spec_t *spec, const struct path *parent, struct error *err) {
	static const char *const actions[] = {"Count", "FailIndex", "FailJob", "Ignore", NULL}, *const statuses[] = {"False", "True", "Unknown", NULL};
	struct path policy = PATH(parent, "podFailurePolicy");
	for (uint32_t i = 0; i < spec->pod_failure_policy->rules.len; i++) {
		const struct batch_v1_pod_failure_policy_rule *rule = &spec->pod_failure_policy->rules.items[i];
		struct path path = PATH_INDEX(&policy, "rules", i), *at = &path;
		check_one_of(rule->action, actions, "\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"", AT("action"), err);
		if (str_equal(rule->action, "FailIndex") && !spec->backoff_limit_per_index)
			invalid(err, AT("action"), rule->action, "requires the backoffLimitPerIndex to be set");
		if (rule->on_exit_codes)
			check_exit_codes(rule->on_exit_codes, &spec->template.spec, AT("onExitCodes"), err);
		for (uint32_t n = 0; n < rule->on_pod_conditions.len; n++)
			check_one_of(rule->on_pod_conditions.items[n].status, statuses, "\"False\" \"True\" \"Unknown\"", &PATH(AT_INDEX("onPodConditions", n), "status"), err);
		for (uint32_t n = 0; n < rule->on_pod_conditions.len; n++)
			if (str_empty(rule->on_pod_conditions.items[n].type))
				check_format(format_qualified_name, "", &PATH(AT_INDEX("onPodConditions", n), "type"), err);
		if (rule->on_exit_codes && rule->on_pod_conditions.len)
			invalid_plain(err, at, "specifying both OnExitCodes and OnPodConditions is not supported");
		if (!rule->on_exit_codes && !rule->on_pod_conditions.len)
			invalid_plain(err, at, "specifying one of OnExitCodes and OnPodConditions is required");
	}
}

static void check_success_policy(const spec_t *spec, const struct path *parent, struct error *err) {
	struct path policy = PATH(parent, "successPolicy");
	if (!is_indexed(spec)) {
		invalid_struct(err, &policy, &batch_v1_success_policy_type, spec->success_policy, "requires indexed completion mode");
		return;
	}
	if (!spec->success_policy->rules.len)
		required(err, &PATH(&policy, "rules"), "at least one rules must be specified when the successPolicy is specified");
	for (uint32_t i = 0; spec->completions && i < spec->success_policy->rules.len; i++) {
		const struct batch_v1_success_policy_rule *rule = &spec->success_policy->rules.items[i];
		struct path path = PATH_INDEX(&policy, "rules", i), *at = &path;
		const char *why;
		int64_t total = rule->succeeded_indexes ? count_indexes(rule->succeeded_indexes, *spec->completions, &why) : 0;
		if (!rule->succeeded_count && !rule->succeeded_indexes)
			required(err, at, "at least one of succeededCount or succeededIndexes must be specified");
		if (total < 0)
			invalid(err, AT("succeededIndexes"), rule->succeeded_indexes, "error parsing succeededIndexes: %s", why);
		if (rule->succeeded_count && *rule->succeeded_count > *spec->completions)
			invalid_int(err, AT("succeededCount"), *rule->succeeded_count, "must be less than or equal to %d (the number of specified completions)", *spec->completions);
		if (rule->succeeded_count && rule->succeeded_indexes && *rule->succeeded_count > max_of(total, (int64_t)0))
			invalid_int(err, AT("succeededCount"), *rule->succeeded_count, "must be less than or equal to %lld (the number of indexes in the specified succeededIndexes field)", (long long)max_of(total, (int64_t)0));
	}
}

/* domain/path */
static void check_managed_by(const char *text, const struct path *path, struct error *err) {
	const char *slash = strchr(text, '/');
	if (!*text) {
		required(err, path, NULL);
		return;
	}
	if (!slash || slash == text || !slash[1]) {
		invalid(err, path, text, "must be a domain-prefixed path (such as \"acme.io/foo\")");
		return;
	}
	autofree char *host = xstrndup(text, (size_t)(slash - text));
	check_format(format_dns_subdomain, host, path, err);
	for (const char *p = slash + 1; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("/-._~%!$&'()*+,;=:", *p)) {
			invalid(err, path, slash + 1, "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%%!$&'()*+,;=:]+')");
			return;
		}
}

static void check_indexed(const spec_t *spec, const struct path *at, struct error *err) {
	const int32_t *completions = spec->completions, *parallelism = spec->parallelism, *failed = spec->max_failed_indexes;
	if (spec->completion_mode && !is_indexed(spec) && strcmp(spec->completion_mode, "NonIndexed") != 0)
		return;
	if (!is_indexed(spec)) {
		if (spec->backoff_limit_per_index)
			invalid_int(err, AT("backoffLimitPerIndex"), *spec->backoff_limit_per_index, "requires indexed completion mode");
		if (failed)
			invalid_int(err, AT("maxFailedIndexes"), *failed, "requires indexed completion mode");
		return;
	}
	if (!completions)
		required(err, AT("completions"), "when completion mode is Indexed");
	if (parallelism && *parallelism > MANY)
		invalid_int(err, AT("parallelism"), *parallelism, "must be less than or equal to %d when completion mode is Indexed", MANY);
	if (completions && failed && *failed > *completions)
		invalid_int(err, AT("maxFailedIndexes"), *failed, "must be less than or equal to completions");
	if (failed && *failed > MANY)
		invalid_int(err, AT("maxFailedIndexes"), *failed, "must be less than or equal to %d", MANY);
	if (!completions || *completions <= MANY || !spec->backoff_limit_per_index)
		return;
	if (!failed)
		required(err, AT("maxFailedIndexes"), "must be specified when completions is above 100000");
	const char *text = "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
	if (parallelism && *parallelism > 10000)
		invalid_int(err, AT("parallelism"), *parallelism, "%s", text);
	if (failed && *failed > 10000)
		invalid_int(err, AT("maxFailedIndexes"), *failed, "%s", text);
}

static void check_restart(const spec_t *spec, const struct path *at, struct error *err) {
	static const char *const policies[] = {"OnFailure", "Never", NULL};
	const char *policy = str_or(spec->template.spec.restart_policy, "Always");
	size_t from = err->cause_count;
	struct path path = PATH(&PATH(AT("template"), "spec"), "restartPolicy");
	if (strcmp(policy, "Always") == 0)
		required(err, &path, "valid values: \"OnFailure\", \"Never\"");
	else if (strcmp(policy, "OnFailure") != 0 && strcmp(policy, "Never") != 0)
		not_supported(err, &path, policy, policies);
	else if (spec->pod_failure_policy && strcmp(policy, "Never") != 0)
		invalid(err, &path, policy, "only \"Never\" is supported when podFailurePolicy is specified");
	tell_at(&PATH(AT("template"), "~workload"), from, err);
}

/* ---- updates ---- */

static bool condition_true(const struct batch_v1_job *job, const char *type) {
	for (uint32_t i = 0; i < job->status.conditions.len; i++)
		if (str_equal(job->status.conditions.items[i].type, type))
			return str_equal(job->status.conditions.items[i].status, "True");
	return false;
}

static void take_resources(struct core_v1_container_array *to, const struct core_v1_container_array *from) {
	for (uint32_t i = 0; to->len == from->len && i < to->len; i++)
		if (str_equal(to->items[i].name, from->items[i].name))
			to->items[i].resources = from->items[i].resources;
}

/* A job that is suspended and idle may still change where its pods go and what they ask for. */
static void check_template_update(const struct batch_v1_job *job, const struct batch_v1_job *old, const struct path *at, struct error *err) {
	bool suspended = old->spec.suspend && *old->spec.suspend;
	bool mutable = suspended && !old->status.active && (!old->status.start_time.set || condition_true(old, "Suspended"));
	autounref struct batch_v1_job *copy = api_copy(old);
	struct core_v1_pod_template_spec *was = &copy->spec.template;
	const struct core_v1_pod_template_spec *now = &job->spec.template;
	if (mutable) {
		static const struct core_v1_affinity none;
		struct core_v1_affinity *affinity = arena_new_type(api_arena(copy), struct core_v1_affinity);
		*affinity = was->spec.affinity ? *was->spec.affinity : none;
		affinity->node_affinity = now->spec.affinity ? now->spec.affinity->node_affinity : NULL;
		was->spec.affinity = !now->spec.affinity && !affinity->pod_affinity && !affinity->pod_anti_affinity ? NULL : affinity;
		was->spec.node_selector = now->spec.node_selector;
		was->spec.tolerations = now->spec.tolerations;
		was->spec.scheduling_gates = now->spec.scheduling_gates;
		was->metadata.annotations = now->metadata.annotations;
		was->metadata.labels = now->metadata.labels;
		take_resources(&was->spec.containers, &now->spec.containers);
		take_resources(&was->spec.init_containers, &now->spec.init_containers);
	}
	if (mutable && !api_equal(&core_v1_pod_spec_type, &now->spec, &was->spec))
		invalid_struct(err, &PATH(AT("template"), "spec"), &core_v1_pod_spec_type, &now->spec, IMMUTABLE_TEXT);
	else if (!mutable && !api_equal(&core_v1_pod_template_spec_type, now, was))
		invalid_struct(err, AT("template"), &core_v1_pod_template_spec_type, now, IMMUTABLE_TEXT);
}

static void check_job_update(const struct batch_v1_job *job, const struct batch_v1_job *old, const struct path *at, struct error *err) {
	static const char *const fixed[] = {"selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"};
	const spec_t *spec = &job->spec, *was = &old->spec;
	bool same = !spec->completions == !was->completions && (!spec->completions || *spec->completions == *was->completions);
	if (!is_indexed(spec))
		check_fixed(&batch_v1_job_spec_type, spec, was, "completions", at, err);
	else if (!same && spec->completions && spec->parallelism && *spec->completions != *spec->parallelism)
		invalid_int(err, AT("completions"), *spec->completions, "can only be modified in tandem with spec.parallelism");
	check_template_update(job, old, at, err);
	for (size_t i = 0; i < array_len(fixed); i++)
		check_fixed(&batch_v1_job_spec_type, spec, was, fixed[i], at, err);
}

/* ---- status ---- */

static bool before(const struct api_time *a, const struct api_time *b) {
	return a->t.sec != b->t.sec ? a->t.sec < b->t.sec : a->t.nsec < b->t.nsec;
}

static void invalid_time(struct error *err, const struct path *path, const struct api_time *time, const char *text) {
	char value[40] = "";
	if (time->set)
		time_format_rfc3339(time->t, value);
	autofree char *quoted = time->set ? xprintf("\"%s\"", value) : NULL;
	invalid_struct(err, path, NULL, quoted, "%s", text);
}

static void check_uids(const struct api_string_list *uids, const char *name, struct map *seen, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < uids->len; i++)
		if (!*uids->items[i])
			invalid(err, AT_INDEX(name, i), "", "must not be empty");
		else if (seen_before(seen, uids->items[i]))
			duplicate(err, AT_INDEX(name, i), uids->items[i]);
}

static void check_job_indexes(const struct batch_v1_job *job, const struct path *at, struct error *err) {
	const struct batch_v1_job_status *status = &job->status;
	const spec_t *spec = &job->spec;
	const char *why;
	if (spec->completions && count_indexes(status->completed_indexes, *spec->completions, &why) < 0)
		invalid(err, AT("completedIndexes"), status->completed_indexes, "error parsing completedIndexes: %s", why);
	if (spec->completions && spec->backoff_limit_per_index && status->failed_indexes && count_indexes(status->failed_indexes, *spec->completions, &why) < 0)
		invalid(err, AT("failedIndexes"), status->failed_indexes, "error parsing failedIndexes: %s", why);
	if (!str_empty(status->completed_indexes) && !is_indexed(spec))
		invalid(err, AT("completedIndexes"), status->completed_indexes, "cannot set non-empty completedIndexes when non-indexed completion mode");
	if (!spec->backoff_limit_per_index && status->failed_indexes)
		invalid(err, AT("failedIndexes"), status->failed_indexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null");
	if (spec->completions && status->failed_indexes)
		check_overlap(status->completed_indexes, status->failed_indexes, *spec->completions, AT("failedIndexes"), err);
}

static void check_job_status(const struct batch_v1_job *job, const struct path *at, struct error *err) {
	const struct batch_v1_job_status *status = &job->status;
	const spec_t *spec = &job->spec;
	bool complete = condition_true(job, "Complete"), failed = condition_true(job, "Failed"), target = condition_true(job, "FailureTarget");
	bool criteria = condition_true(job, "SuccessCriteriaMet"), finished = complete || failed;
	const struct batch_v1_uncounted_terminated_pods *uncounted = status->uncounted_terminated_pods;
	const struct path *conditions = AT("conditions");
	if (uncounted) {
		automap struct map seen = MAP_INIT(NULL);
		check_uids(&uncounted->succeeded, "succeeded", &seen, AT("uncountedTerminatedPods"), err);
		check_uids(&uncounted->failed, "failed", &seen, AT("uncountedTerminatedPods"), err);
	}
	size_t from = err->cause_count;
	if (complete && failed)
		invalid_plain(err, conditions, "cannot set Complete=True and Failed=true conditions");
	if (complete && target)
		invalid_plain(err, conditions, "cannot set Complete=True and FailureTarget=true conditions");
	if (status->completion_time.set && !complete)
		invalid_time(err, AT("completionTime"), &status->completion_time, "cannot set completionTime when there is no Complete=True condition");
	if (!status->completion_time.set && complete)
		required(err, AT("completionTime"), "completionTime is required for Complete jobs");
	if (status->start_time.set && status->completion_time.set && before(&status->completion_time, &status->start_time))
		invalid_time(err, AT("completionTime"), &status->completion_time, "must be equal to or after `startTime`");
	if (failed && !target)
		invalid_plain(err, conditions, "cannot set Failed=True condition without the FailureTarget=true condition");
	if (complete && !criteria)
		invalid_plain(err, conditions, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition");
	if (status->active > 0 && finished)
		invalid_int(err, AT("active"), status->active, "active>0 is invalid for finished job");
	bool nothing_to_do = spec->suspend && *spec->suspend && spec->completions && *spec->completions == 0;
	if (!status->start_time.set && finished && !nothing_to_do)
		required(err, AT("startTime"), "startTime is required for finished job");
	if (finished && uncounted && (uncounted->succeeded.len || uncounted->failed.len))
		invalid_struct(err, AT("uncountedTerminatedPods"), &batch_v1_uncounted_terminated_pods_type, uncounted, "must be empty for finished job");
	check_job_indexes(job, at, err);
	if (status->terminating && *status->terminating > 0 && finished)
		invalid_int(err, AT("terminating"), *status->terminating, "terminating>0 is invalid for finished job");
	if (status->ready && *status->ready > status->active)
		invalid_int(err, AT("ready"), *status->ready, "cannot set more ready pods than active");
	if (criteria && failed)
		invalid_plain(err, conditions, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
	if (criteria && target)
		invalid_plain(err, conditions, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
	if (spec->success_policy && !criteria && complete)
		invalid_plain(err, conditions, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True");
	tell_at(AT("~whole"), from, err);
}

static void check_job_status_update(const struct batch_v1_job *job, const struct batch_v1_job *old, const struct path *at, struct error *err) {
	static const char *const terminal[] = {"Failed", "Complete", "FailureTarget"};
	const struct batch_v1_job_status *now = &job->status, *was = &old->status;
	size_t from = err->cause_count;
	for (size_t i = 0; i < array_len(terminal); i++)
		if (condition_true(old, terminal[i]) && !condition_true(job, terminal[i]))
			invalid_plain(err, AT("conditions"), "cannot disable the terminal %s=True condition", terminal[i]);
	if (now->failed < was->failed)
		invalid_int(err, AT("failed"), now->failed, "cannot decrease the failed counter");
	bool elastic = is_indexed(&job->spec) && job->spec.completions && job->spec.parallelism && *job->spec.completions == *job->spec.parallelism;
	if (now->succeeded < was->succeeded && !elastic)
		invalid_int(err, AT("succeeded"), now->succeeded, "cannot decrease the succeeded counter");
	if (now->completion_time.set && was->completion_time.set && (before(&now->completion_time, &was->completion_time) || before(&was->completion_time, &now->completion_time)))
		invalid_time(err, AT("completionTime"), &now->completion_time, IMMUTABLE_TEXT);
	bool started_anew = was->start_time.set && (!now->start_time.set || before(&now->start_time, &was->start_time) || before(&was->start_time, &now->start_time));
	bool resuming = condition_true(old, "Suspended") && !condition_true(job, "Suspended");
	if (started_anew && !resuming && !(job->spec.suspend && *job->spec.suspend))
		invalid_time(err, AT("startTime"), &now->start_time, "field is immutable for unsuspended job once set");
	bool had_criteria = condition_true(old, "SuccessCriteriaMet"), has_criteria = condition_true(job, "SuccessCriteriaMet");
	if (had_criteria && !has_criteria)
		invalid_plain(err, AT("conditions"), "cannot disable the SuccessCriteriaMet=True condition");
	if (condition_true(old, "Complete") && !had_criteria && has_criteria)
		invalid_plain(err, AT("conditions"), "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions");
	tell_at(AT("~whole"), from, err);
}

/* ---- the kinds ---- */

CHECK(batch_v1_job_spec, spec) {
	size_t from = err->cause_count;
	if (spec->max_failed_indexes && !spec->backoff_limit_per_index)
		required(err, AT("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
	tell_at(AT("~failed"), from, err);
	tell_field_at(AT("managedBy"), &PATH(AT("managedBy"), "~length"), err);
	if (spec->managed_by)
		check_managed_by(spec->managed_by, AT("managedBy"), err);
	from = err->cause_count;
	check_indexed(spec, at, err);
	tell_at(AT("~mode"), from, err);
	if (spec->pod_failure_policy)
		check_failure_policy(spec, at, err);
	if (spec->success_policy)
		check_success_policy(spec, at, err);
	if (spec->pod_replacement_policy) {
		static const char *const policies[] = {"Failed", "TerminatingOrFailed", NULL}, *const failed[] = {"Failed", NULL};
		check_enum(spec->pod_replacement_policy, spec->pod_failure_policy ? failed : policies, AT("podReplacementPolicy"), err);
	}
	check_restart(spec, at, err);
}

static void check_generated(const struct batch_v1_job *job, bool prefixed, const struct path *at, struct error *err) {
	const struct { const char *key, *value; bool wanted; } labels[] = {
		{"controller-uid", job->metadata.uid, true}, {"job-name", job->metadata.name, true},
		{"batch.kubernetes.io/controller-uid", job->metadata.uid, prefixed}, {"batch.kubernetes.io/job-name", job->metadata.name, prefixed},
	};
	struct path metadata = PATH(AT("template"), "metadata");
	for (size_t i = 0; i < array_len(labels); i++) {
		const char *have = api_map_get(&job->spec.template.metadata.labels, labels[i].key);
		autofree char *text = xprintf("must be '%s'", str_or(labels[i].value, ""));
		if (labels[i].wanted && !have)
			required(err, &PATH_KEY(&metadata, "labels", labels[i].key), text);
		else if (labels[i].wanted && !str_equal(have, labels[i].value))
			invalid(err, &PATH_KEY(&metadata, "labels", labels[i].key), have, "%s", text);
	}
	for (uint32_t i = 0; label_selector_is_good(job->spec.selector) && i < job->spec.selector->match_labels.len; i++) {
		const struct api_string_map_entry *want = &job->spec.selector->match_labels.items[i];
		bool own = false;
		for (size_t n = 0; n < array_len(labels); n++)
			own |= strcmp(want->key, labels[n].key) == 0 && str_equal(want->value, labels[n].value);
		if (!own) {
			invalid_struct(err, AT("selector"), &meta_v1_label_selector_type, job->spec.selector, "`selector` not auto-generated");
			return;
		}
	}
}

CHECK(batch_v1_job, job) {
	struct path spec = PATH(NULL, "spec"), status = PATH(NULL, "status"), metadata = PATH(NULL, "metadata");
	if (check_is_status(c)) {
		check_job_status(job, &status, err);
		if (old)
			check_job_status_update(job, old, &status, err);
		return;
	}
	if (!job->spec.selector)
		required(err, &PATH(&spec, "selector"), NULL);
	else if (!(job->spec.manual_selector && *job->spec.manual_selector)) {
		const struct api_string_map *labels = old ? &old->spec.template.metadata.labels : NULL;
		bool prefixed = !old || (api_map_get(labels, "batch.kubernetes.io/job-name") && api_map_get(labels, "batch.kubernetes.io/controller-uid"));
		size_t from = err->cause_count;
		check_generated(job, prefixed, &spec, err);
		tell_at(&PATH(&spec, "~once"), from, err);
	}
	size_t from = err->cause_count;
	check_workload_selector(job->spec.selector, &job->spec.template, NULL, NULL, &spec, err);
	tell_at(&PATH(&spec, "~match"), from, err);
	if (is_indexed(&job->spec) && job->spec.completions && *job->spec.completions > 0) {
		autofree char *host = xprintf("%s-%d", str_or(job->metadata.name, ""), *job->spec.completions - 1);
		from = err->cause_count;
		if (format_error(format_dns_label, host))
			invalid(err, &PATH(&metadata, "name"), job->metadata.name, "will not able to create pod with invalid DNS label: %s", host);
		tell_at(&PATH(NULL, "~once"), from, err);
	}
	if (old)
		check_job_update(job, old, &spec, err);
}

CHECK(batch_v1_job_template_spec, template) {
	static const char *const none[] = {"nil", "false", NULL};
	if (template->spec.selector) {
		drop_beneath(&PATH(AT("spec"), "selector"), err);
		invalid_struct(err, &PATH(AT("spec"), "selector"), &meta_v1_label_selector_type, template->spec.selector, "`selector` will be auto-generated");
	}
	if (template->spec.manual_selector && *template->spec.manual_selector)
		not_supported_json(err, &PATH(AT("spec"), "manualSelector"), "true", none);
}

static void check_time_zone(const char *zone, const struct path *path, struct error *err) {
	if (!*zone) {
		invalid(err, path, zone, "timeZone must be nil or non-empty string");
		return;
	}
	for (const char *p = zone; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL) {
		size_t len = strcspn(p, "/");
		bool good = len && len <= 14 && *p != '-' && !(len == 1 && *p == '.') && !(len == 2 && strncmp(p, "..", 2) == 0);
		for (size_t i = 0; i < len; i++)
			good &= isalnum((unsigned char)p[i]) || strchr(".-_+", p[i]);
		if (!good) {
			invalid(err, path, zone, "unknown time zone %s", zone);
			return;
		}
	}
	if (strcasecmp(zone, "Local") == 0)
		invalid(err, path, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones");
	autofree char *file = xprintf("/usr/share/zoneinfo/%s", zone);
	struct stat st;
	/* Where the machine has no zones at all, no name can be judged. */
	if (strcmp(zone, "UTC") != 0 && strcasecmp(zone, "Local") != 0 && stat("/usr/share/zoneinfo", &st) == 0 && (stat(file, &st) < 0 || !S_ISREG(st.st_mode)))
		invalid(err, path, zone, "unknown time zone %s", zone);
}

CHECK(batch_v1_cron_job_spec, spec) {
	const char *schedule = str_or(spec->schedule, "");
	bool had_zone = old && strstr(str_or(old->schedule, ""), "TZ"), has_zone = strstr(schedule, "TZ");
	const char *fields = schedule;
	if (str_starts_with(schedule, "TZ=") || str_starts_with(schedule, "CRON_TZ="))
		fields = schedule + strcspn(schedule, " ");
	if (*schedule)
		check_format(format_cron, fields + strspn(fields, " "), AT("schedule"), err);
	if (has_zone && had_zone && spec->time_zone)
		invalid(err, AT("schedule"), schedule, "cannot use both timeZone field and TZ or CRON_TZ in schedule");
	else if (has_zone && !had_zone)
		invalid(err, AT("schedule"), schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
	bool same_zone = old && !old->time_zone == !spec->time_zone && str_equal(old->time_zone, spec->time_zone);
	if (spec->time_zone && !same_zone)
		check_time_zone(spec->time_zone, AT("timeZone"), err);
}

CHECK(batch_v1_cron_job, job) {
	struct path metadata = PATH(NULL, "metadata");
	if (!old && !check_is_status(c) && strlen(str_or(job->metadata.name, "")) > 52)
		invalid(err, &PATH(&metadata, "name"), job->metadata.name, "must be no more than 52 characters");
}

const struct checker checkers_batch[] = {
	ROW(batch_v1_job_spec), ROW(batch_v1_job), ROW(batch_v1_job_template_spec), ROW(batch_v1_cron_job_spec), ROW(batch_v1_cron_job), {0},
};
