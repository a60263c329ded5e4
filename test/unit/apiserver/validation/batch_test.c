/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char job_base[] = "{apiVersion: batch/v1, kind: Job, metadata: {name: d, namespace: default}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}";

static void job_create(void **state) {
	static const struct validation_case rows[] = {
		{"spec.manualSelector=true", "spec.selector Required, spec.template.metadata.labels Invalid"},
		{"spec.manualSelector=true\nspec.selector={matchLabels: {a: b}}\nspec.template.metadata.labels={a: b}", ""},
		{"spec.manualSelector=true\nspec.selector={matchLabels: {a: b}}", "spec.template.metadata.labels Invalid", "Invalid value: null: `selector` does not match template `labels`"},
	};
	RUN(job_base, rows);
}

static void job_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.completions=2", "spec.completions Invalid", "Invalid value: 2: field is immutable"},
		{NULL, "spec.template.spec.containers[0].image=x", "spec.template Invalid"},
		{NULL, "spec.backoffLimit=9", ""},
		{NULL, "spec.completionMode=Indexed\nspec.completions=1", "spec.completionMode Invalid", "Invalid value: \"Indexed\": field is immutable"},
		{"spec.suspend=true", "spec.suspend=true\nspec.template.spec.nodeSelector={a: b}", ""},
		{NULL, "spec.template.spec.nodeSelector={a: b}", "spec.template Invalid"},
		{NULL, "spec.managedBy=a.b/c", "spec.managedBy Invalid", "Invalid value: \"a.b/c\": field is immutable"},
		{"spec.completionMode=Indexed\nspec.completions=2\nspec.parallelism=2", "spec.completionMode=Indexed\nspec.completions=2\nspec.parallelism=2\nspec.completions=3\nspec.parallelism=3", ""},
		{"spec.completionMode=Indexed\nspec.completions=2\nspec.parallelism=2", "spec.completionMode=Indexed\nspec.completions=2\nspec.parallelism=2\nspec.completions=3\nspec.parallelism=2", "spec.completions Invalid", "Invalid value: 3: can only be modified in tandem with spec.parallelism"},
	};
	RUN_UPDATES(job_base, "", rows);
}

static void job_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={active: -1}", "status.active Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{NULL, "status={succeeded: -1, failed: -1, ready: -1}", "status.failed Invalid, status.failed Invalid, status.ready Invalid, status.succeeded Invalid, status.succeeded Invalid"},
		{NULL, "status={startTime: \"2020-01-01T00:00:00Z\", completionTime: \"2019-01-01T00:00:00Z\"}", "status.completionTime Invalid, status.completionTime Invalid"},
		{NULL, "status={conditions: [{type: Complete, status: \"True\"}]}", "status.completionTime Required, status.conditions Invalid, status.startTime Required"},
		{NULL, "status={conditions: [{type: Failed, status: \"True\"}]}", "status.conditions Invalid, status.startTime Required"},
		{NULL, "status={active: 1, ready: 2}", "status.ready Invalid", "Invalid value: 2: cannot set more ready pods than active"},
		{NULL, "status={completedIndexes: \"0\"}", "status.completedIndexes Invalid", "Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode"},
		{NULL, "status={uncountedTerminatedPods: {succeeded: [a, a], failed: [\"\"]}}", "status.uncountedTerminatedPods.failed[0] Invalid, status.uncountedTerminatedPods.succeeded[1] Duplicate"},
	};
	RUN_UPDATES(job_base, "status", rows);
}

static const char cronjob_base[] = "{apiVersion: batch/v1, kind: CronJob, metadata: {name: d, namespace: default}, spec: {schedule: \"* * * * *\", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}";

static void cronjob_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.schedule=", "spec.schedule Required", "Required value"},
		{"spec.schedule=x", "spec.schedule Invalid", "Invalid value: \"x\": expected exactly 5 fields, found 1: [x]"},
		{"spec.schedule=\"* * * *\"", "spec.schedule Invalid", "Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]"},
		{"spec.schedule=\"@hourly\"", ""},
		{"spec.schedule=\"@every 1h\"", ""},
		{"spec.schedule=\"60 * * * *\"", "spec.schedule Invalid"},
		{"spec.schedule=\"*/0 * * * *\"", "spec.schedule Invalid"},
		{"spec.schedule=\"1-5/2 1,2 * jan mon-fri\"", ""},
		{"spec.schedule=\"TZ=UTC * * * * *\"", "spec.schedule Invalid", "Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"},
		{"spec.schedule=\"CRON_TZ=UTC * * * * *\"", "spec.schedule Invalid", "Invalid value: \"CRON_TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead"},
		{"spec.timeZone=\"\"", "spec.timeZone Invalid", "Invalid value: \"\": timeZone must be nil or non-empty string"},
		{"spec.timeZone=Local", "spec.timeZone Invalid", "Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"},
		{"spec.timeZone=Europe/Zurich", ""},
		{"spec.timeZone=No/Where", "spec.timeZone Invalid", "Invalid value: \"No/Where\": unknown time zone No/Where"},
		{"spec.startingDeadlineSeconds=-1", "spec.startingDeadlineSeconds Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.concurrencyPolicy=Odd", "spec.concurrencyPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Allow\", \"Forbid\", \"Replace\""},
		{"spec.successfulJobsHistoryLimit=-1\nspec.failedJobsHistoryLimit=-1", "spec.failedJobsHistoryLimit Invalid, spec.successfulJobsHistoryLimit Invalid"},
		{"spec.jobTemplate.spec.template.spec.restartPolicy=Always", "spec.jobTemplate.spec.template.spec.restartPolicy Required", "Required value: valid values: \"OnFailure\", \"Never\""},
		{"spec.jobTemplate.spec.manualSelector=true", "spec.jobTemplate.spec.manualSelector NotSupported"},
		{"spec.jobTemplate.spec.selector={matchLabels: {a: b}}", "spec.jobTemplate.spec.selector Invalid", "Invalid value: {\"matchLabels\":{\"a\":\"b\"}}: `selector` will be auto-generated"},
		{"spec.jobTemplate.spec.selector={matchLabels: {\"a b\": c}}", "spec.jobTemplate.spec.selector Invalid", "Invalid value: {\"matchLabels\":{\"a b\":\"c\"}}: `selector` will be auto-generated"},
	};
	RUN(cronjob_base, rows);
}

static void cronjob_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.schedule=x", "spec.schedule Invalid", "Invalid value: \"x\": expected exactly 5 fields, found 1: [x]"},
		{NULL, "spec.suspend=true", ""},
	};
	RUN_UPDATES(cronjob_base, "", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(job_create),
		cmocka_unit_test(job_update),
		cmocka_unit_test(job_update_status),
		cmocka_unit_test(cronjob_create),
		cmocka_unit_test(cronjob_update),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
