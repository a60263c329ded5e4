/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller cron_job_controller;

/* The moment of all rows is 2027-01-15T08:00:00Z, a Friday; objects are an hour old. */
#define CRON_AT(schedule, more, status) \
	"{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"metadata\":{\"name\":\"tick\",\"namespace\":\"default\"},\"spec\":{\"schedule\":\"" schedule "\"" more ",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}},\"status\":{" status "}}"
#define CRON(schedule, more) CRON_AT(schedule, more, "")
#define JOB(name, made, status) \
	"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"creationTimestamp\":\"" made "\",\"ownerReferences\":[{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"name\":\"tick\",\"uid\":\"u-tick\",\"controller\":true}]},\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},\"status\":{" status "}}"
#define DONE "\"completionTime\":\"2027-01-15T07:31:00Z\",\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]"
#define BROKEN "\"conditions\":[{\"type\":\"Failed\",\"status\":\"True\"}]"
#define ACTIVE(name) "\"active\":[{\"kind\":\"Job\",\"namespace\":\"default\",\"name\":\"" name "\",\"uid\":\"u-" name "\"}]"
#define LAST(time) "\"lastScheduleTime\":\"2027-01-15T" time "Z\""
#define STATUS "update cronjobs/status default/tick\n"
#define MADE(minute) "create jobs default/tick-" minute "\n"

static const struct scenario rows[] = {
	{.name = "what is due is started", .owner = CRON("0 * * * *", ""), .writes = MADE("30000000") STATUS, .status = "{\"lastScheduleTime\":\"2027-01-15T08:00:00Z\",\"active\":[{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"namespace\":\"default\",\"name\":\"tick-30000000\",\"uid\":\"uid-tick-30000000-0\",\"resourceVersion\":\"2\"}]}",
		.event = "event tick Normal SuccessfulCreate: Created job tick-30000000", .after_s = 3600},
	{.name = "once", .owner = CRON_AT("0 * * * *", "", LAST("08:00:00")), .writes = "", .after_s = 3600},
	{.name = "what is to come is waited for", .owner = CRON_AT("30 * * * *", "", LAST("07:30:00")), .writes = "", .after_s = 1800},
	{.name = "of what was missed only the last", .owner = CRON_AT("*/10 * * * *", "", LAST("07:20:00")), .writes = MADE("30000000") STATUS},
	{.name = "unless it is too late", .owner = CRON_AT("15 * * * *", ",\"startingDeadlineSeconds\":60", LAST("06:15:00")), .writes = ""},
	{.name = "for which there may be all the time there is", .owner = CRON("0 * * * *", ",\"startingDeadlineSeconds\":9223372036854775807"), .writes = MADE("30000000") STATUS},
	{.name = "a hundred missed are told", .owner = CRON_AT("* * * * *", "", LAST("01:00:00")), .writes = MADE("30000000") STATUS, .event = "event tick Warning TooManyMissedTimes"},
	{.name = "suspended", .owner = CRON("0 * * * *", ",\"suspend\":true"), .writes = "", .after_s = -1},
	{.name = "a line that cannot be read", .owner = CRON("every hour", ""), .writes = "", .event = "event tick Warning UnparseableSchedule: unparseable schedule: \"every hour\" : ", .after_s = -1},
	{.name = "a day that never comes", .owner = CRON("0 0 30 2 *", ""), .writes = "", .event = "event tick Warning InvalidSchedule: invalid schedule: 0 0 30 2 * :", .after_s = -1},
	{.name = "a zone that is none", .owner = CRON("0 * * * *", ",\"timeZone\":\"Nowhere/Atlantis\""), .writes = "", .event = "event tick Warning UnknownTimeZone", .after_s = -1},
	{.name = "a zone moves the hour", .owner = CRON("0 17 * * *", ",\"timeZone\":\"Asia/Tokyo\""), .writes = MADE("30000000") STATUS},
	{.name = "Forbid waits for the one before", .owner = CRON_AT("0 * * * *", ",\"concurrencyPolicy\":\"Forbid\"", ACTIVE("old")), .objects = {JOB("old", "2027-01-15T07:00:00Z", "")}, .writes = "", .event = "event tick Normal JobAlreadyActive"},
	{.name = "and waits for the next time, not for what went by", .owner = CRON_AT("@every 600s", ",\"concurrencyPolicy\":\"Forbid\"", LAST("07:35:00") "," ACTIVE("old")), .objects = {JOB("old", "2027-01-15T07:35:00Z", "")}, .writes = "", .event = "event tick Normal JobAlreadyActive", .after_s = 300},
	{.name = "Replace removes it", .owner = CRON_AT("0 * * * *", ",\"concurrencyPolicy\":\"Replace\"", ACTIVE("old")), .objects = {JOB("old", "2027-01-15T07:00:00Z", "")}, .writes = "delete jobs default/old\n" MADE("30000000") STATUS},
	{.name = "Allow lets both run", .owner = CRON_AT("0 * * * *", "", ACTIVE("old")), .objects = {JOB("old", "2027-01-15T07:00:00Z", "")}, .writes = MADE("30000000") STATUS},
	{.name = "one that has ended is no longer active", .owner = CRON_AT("0 9 * * *", "", ACTIVE("old")), .objects = {JOB("old", "2027-01-15T07:00:00Z", DONE)}, .writes = STATUS, .status = "{\"active\":null,\"lastSuccessfulTime\":\"2027-01-15T07:31:00Z\"}",
		.event = "event tick Normal SawCompletedJob: Saw completed job: old, condition: Complete"},
	{.name = "one that is gone neither", .owner = CRON_AT("0 9 * * *", "", ACTIVE("old")), .writes = STATUS, .status = "{\"active\":null}", .event = "event tick Normal MissingJob"},
	{.name = "one that nobody knows of is told", .owner = CRON("0 9 * * *", ""), .objects = {JOB("stray", "2027-01-15T07:00:00Z", "")}, .writes = "",
		.event = "event tick Warning UnexpectedJob: Saw a job that the controller did not create or forgot: stray"},
	{.name = "a zone that is none is told where it is suspended too", .owner = CRON("0 * * * *", ",\"suspend\":true,\"timeZone\":\"Nowhere/Atlantis\""), .writes = "", .event = "event tick Warning UnknownTimeZone"},
	{.name = "what another made under its name is the other's", .owner = CRON("0 * * * *", ""),
		.objects = {"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"tick-30000000\",\"namespace\":\"default\"},\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"},
		.writes = MADE("30000000"), .event = "!SuccessfulCreate", .after_s = 3600},
	{.name = "old successes go", .owner = CRON("0 9 * * *", ",\"successfulJobsHistoryLimit\":1"), .objects = {JOB("a", "2027-01-15T05:00:00Z", DONE), JOB("b", "2027-01-15T06:00:00Z", DONE), JOB("c", "2027-01-15T07:00:00Z", BROKEN)},
		.writes = "delete jobs default/a\n" STATUS},
	{.name = "old failures go", .owner = CRON("0 9 * * *", ",\"failedJobsHistoryLimit\":0"), .objects = {JOB("a", "2027-01-15T05:00:00Z", DONE), JOB("c", "2027-01-15T07:00:00Z", BROKEN)}, .writes = "delete jobs default/c\n" STATUS},
	{.name = "of one that is not kept no more is told", .owner = CRON_AT("0 9 * * *", ",\"failedJobsHistoryLimit\":0", ACTIVE("c")), .objects = {JOB("c", "2027-01-15T07:00:00Z", BROKEN)},
		.writes = "delete jobs default/c\n" STATUS, .status = "{\"active\":null}", .event = "!SawCompletedJob"},
	{.name = "a job made before a crash is taken up", .owner = CRON("0 * * * *", ""), .objects = {JOB("tick-30000000", "2027-01-15T08:00:00Z", "")}, .writes = MADE("30000000") STATUS, .status = "{\"lastScheduleTime\":\"2027-01-15T08:00:00Z\"}", .event = "!SuccessfulCreate"},
};

static void schedules(void **state)
{
	scenario_play_all(rows, array_len(rows), &cron_job_controller);
}

/* The status is written before the cache of Jobs shows the new one: it has not gone missing, and Forbid holds. */
static void a_job_that_is_news_to_the_cache_runs(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&cron_job_controller);
	scenario_put(CRON_AT("0 * * * *", ",\"concurrencyPolicy\":\"Forbid\"", LAST("07:00:00") "," ACTIVE("old")));
	fake.stale = true;
	scenario_put(JOB("old", "2027-01-15T07:00:00Z", ""));
	fake_reconcile_all(&r, CACHED_CRON_JOBS);
	assert_null(strstr(fake.log.data, "MissingJob"));
	assert_non_null(strstr(fake.log.data, "JobAlreadyActive"));
	assert_int_equal(fake_count(CACHED_JOBS), 1);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

/* What was let go of, where the cache of CronJobs has not seen it yet, has not gone missing. */
static void a_job_that_was_replaced_is_not_missed(void **state)
{
	fake_setup(state);
	struct reconciler r = fake_reconciler(&cron_job_controller);
	scenario_put(CRON_AT("0 * * * *", ",\"concurrencyPolicy\":\"Replace\"", LAST("07:00:00") "," ACTIVE("old")));
	scenario_put(JOB("old", "2027-01-15T07:00:00Z", ""));
	fake.stale = true;
	for (int i = 0; i < 3; i++)
		fake_reconcile_all(&r, CACHED_CRON_JOBS);
	assert_non_null(strstr(fake.log.data, "SuccessfulDelete: Deleted job old"));
	assert_null(strstr(fake.log.data, "MissingJob"));
	fake_catch_up();
	fake_reconcile_all(&r, CACHED_CRON_JOBS);
	assert_null(strstr(fake.log.data, "MissingJob"));
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(schedules), cmocka_unit_test(a_job_that_is_news_to_the_cache_runs), cmocka_unit_test(a_job_that_was_replaced_is_not_missed)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
