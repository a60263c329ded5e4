/* SPDX-License-Identifier: Apache-2.0 */
/* What one look at a Job does, row by row; whole lives of Jobs are in job_test.c. */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller job_controller;

#define JOB_WITH(more, spec, status)                                                                                                                             \
	"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"work\",\"namespace\":\"default\"" more "},\"spec\":{" spec                           \
	"\"selector\":{\"matchLabels\":{\"job\":\"work\"}},\"template\":{\"metadata\":{\"labels\":{\"job\":\"work\"}},\"spec\":{\"restartPolicy\":\"Never\","         \
	"\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},\"status\":{" status "}}"
#define JOB(spec) JOB_WITH("", spec, "\"startTime\":\"2027-01-15T07:59:00Z\"")
#define ON_FAILURE(spec)                                                                                                                                         \
	"{\"apiVersion\":\"batch/v1\",\"kind\":\"Job\",\"metadata\":{\"name\":\"work\",\"namespace\":\"default\"},\"spec\":{" spec                                   \
	"\"selector\":{\"matchLabels\":{\"job\":\"work\"}},\"template\":{\"metadata\":{\"labels\":{\"job\":\"work\"}},\"spec\":{\"restartPolicy\":\"OnFailure\","     \
	"\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}},\"status\":{\"startTime\":\"2027-01-15T07:59:00Z\"}}"
#define MINE " of=Job/work label=job:work finalizer=batch.kubernetes.io/job-tracking "
#define COUNTED " of=Job/work label=job:work "
#define INDEX(n) "note=batch.kubernetes.io/job-completion-index:" n " "
#define FAILURES(n) "note=batch.kubernetes.io/job-index-failure-count:" n " "
#define STATUS "update jobs/status default/work\n"
#define CREATE "create pods default/work-\n"
#define LET_GO(pod) "patch pods default/" pod "\n"
#define DELETE(pod) "delete pods default/" pod "\n"
#define PER_INDEX(limit, more) "\"completionMode\":\"Indexed\",\"completions\":3,\"parallelism\":3,\"backoffLimitPerIndex\":" limit ",\"backoffLimit\":2147483647," more

#define POLICY(action, rule) "\"podFailurePolicy\":{\"rules\":[{\"action\":\"" action "\"," rule "}]},"
#define EXIT_42 "\"onExitCodes\":{\"operator\":\"In\",\"values\":[42]}"
#define DISRUPTED "\"onPodConditions\":[{\"type\":\"DisruptionTarget\",\"status\":\"True\"}]"

static const struct scenario jobs[] = {
	{.name = "the first pods are made, and told of at once", .owner = JOB_WITH("", "\"completions\":3,\"parallelism\":2,", ""), .writes = CREATE CREATE STATUS,
		.status = "{\"active\":2,\"ready\":0,\"terminating\":0,\"startTime\":\"2027-01-15T08:00:00Z\"}", .event = "event work Normal SuccessfulCreate: Created pod: work-"},
	{.name = "no more than are left to do", .owner = JOB_WITH("", "\"completions\":3,\"parallelism\":3,", "\"startTime\":\"2027-01-15T07:59:00Z\",\"succeeded\":2"), .writes = CREATE STATUS,
		.status = "{\"active\":1,\"succeeded\":2}"},
	{.name = "nothing is written where all is well", .owner = JOB_WITH("", "", "\"startTime\":\"2027-01-15T07:59:00Z\",\"active\":1,\"ready\":1,\"terminating\":0,\"uncountedTerminatedPods\":{}"),
		.pods = "a Running ready" MINE, .writes = ""},
	{.name = "a success is listed before the pod is let go", .owner = JOB(""), .pods = "a Succeeded exit=0" MINE, .writes = STATUS LET_GO("a"),
		.status = "{\"succeeded\":null,\"active\":null}", .conditions = "SuccessCriteriaMet True CompletionsReached\n"},
	{.name = "one that was listed as failed stays so, whatever comes of it", .owner = JOB_WITH("", "\"completions\":2,", "\"startTime\":\"2027-01-15T07:59:00Z\",\"active\":1,\"uncountedTerminatedPods\":{\"failed\":[\"u-a\"]}"),
		.pods = "a Succeeded going exit=0" MINE "\nb Running ready" MINE, .rounds = 2, .status = "{\"failed\":1,\"succeeded\":null,\"active\":1,\"uncountedTerminatedPods\":{}}"},
	{.name = "but not one that was written as succeeded before", .owner = JOB_WITH("", "\"completions\":2,", "\"startTime\":\"2027-01-15T07:59:00Z\",\"uncountedTerminatedPods\":{\"succeeded\":[\"u-a\"]},\"conditions\":[{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":\"DeadlineExceeded\",\"message\":\"m\",\"lastTransitionTime\":\"2027-01-15T07:59:00Z\"}]"),
		.pods = "a Succeeded going" MINE, .rounds = 2, .status = "{\"succeeded\":1,\"failed\":null,\"uncountedTerminatedPods\":{\"succeeded\":null,\"failed\":null}}"},
	{.name = "nor one whose index was", .owner = JOB_WITH("", "\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,", "\"startTime\":\"2027-01-15T07:59:00Z\",\"succeeded\":1,\"completedIndexes\":\"1\",\"conditions\":[{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":\"DeadlineExceeded\",\"message\":\"m\",\"lastTransitionTime\":\"2027-01-15T07:59:00Z\"}]"),
		.pods = "a Succeeded going " INDEX("1") MINE, .rounds = 2, .status = "{\"succeeded\":1,\"failed\":null,\"completedIndexes\":\"1\"}"},
	{.name = "one that a failed job took away has failed with it", .owner = JOB_WITH("", "\"completions\":2,", "\"startTime\":\"2027-01-15T07:59:00Z\",\"active\":1,\"conditions\":[{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":\"DeadlineExceeded\",\"message\":\"m\",\"lastTransitionTime\":\"2027-01-15T07:59:00Z\"}]"),
		.pods = "a Succeeded going exit=0" MINE, .rounds = 2, .status = "{\"failed\":1,\"succeeded\":null,\"uncountedTerminatedPods\":{}}",
		.conditions = "FailureTarget True DeadlineExceeded\nFailed True DeadlineExceeded\n"},
	{.name = "and counted afterwards", .owner = JOB(""), .pods = "a Succeeded exit=0" MINE, .rounds = 2, .status = "{\"succeeded\":1,\"completionTime\":\"2027-01-15T08:00:00Z\",\"uncountedTerminatedPods\":{}}",
		.conditions = "SuccessCriteriaMet True CompletionsReached\nComplete True CompletionsReached\n", .event = "event work Normal Completed: Job completed"},
	{.name = "one that succeeds too often says so", .owner = JOB("\"completions\":1,\"parallelism\":2,"), .pods = "a Succeeded exit=0" MINE "\nb Succeeded exit=0" MINE, .rounds = 2, .status = "{\"succeeded\":2}",
		.event = "event work Warning TooManySucceededPods: Too many succeeded pods running after completion count reached"},
	{.name = "nothing to do is done, and has begun", .owner = JOB_WITH("", "\"completions\":0,", ""), .writes = STATUS, .status = "{\"startTime\":\"2027-01-15T08:00:00Z\",\"completionTime\":\"2027-01-15T08:00:00Z\"}",
		.conditions = "SuccessCriteriaMet True CompletionsReached\nComplete True CompletionsReached\n"},
	{.name = "without completions one success ends it, once the others have", .owner = JOB("\"completions\":null,\"parallelism\":2,"), .pods = "a Succeeded exit=0" MINE "\nb Running ready" MINE, .writes = STATUS LET_GO("a"),
		.status = "{\"active\":1}", .conditions = ""},
	{.name = "a failure waits for ten seconds", .owner = JOB(""), .pods = "a Failed exit=1 age=2" MINE, .writes = STATUS LET_GO("a"), .after_s = 8},
	{.name = "and twice that the second time", .owner = JOB(""), .pods = "a Failed exit=1 age=40" COUNTED "\nb Failed exit=1 age=2" COUNTED, .after_s = 18},
	{.name = "a success in between forgives", .owner = JOB("\"completions\":5,"), .pods = "a Failed exit=1 age=90" COUNTED "\nb Succeeded exit=0 age=60" COUNTED "\nc Failed exit=1 age=2" COUNTED, .after_s = 8},
	{.name = "too many failures end it", .owner = JOB_WITH("", "\"backoffLimit\":1,\"parallelism\":2,\"completions\":2,", "\"startTime\":\"2027-01-15T07:59:00Z\",\"failed\":1"),
		.pods = "a Failed exit=1" MINE "\nb Running ready" MINE, .writes = DELETE("b") STATUS LET_GO("a"), .status = "{\"active\":null,\"terminating\":1,\"ready\":0}", .conditions = "FailureTarget True BackoffLimitExceeded\n"},
	{.name = "and their reason stays what it was", .owner = JOB_WITH("", "\"backoffLimit\":0," POLICY("FailJob", EXIT_42),
		"\"startTime\":\"2027-01-15T07:59:00Z\",\"failed\":1,\"conditions\":[{\"type\":\"FailureTarget\",\"status\":\"True\",\"reason\":\"DeadlineExceeded\",\"message\":\"m\"}]"),
		.pods = "a Failed exit=42" MINE, .rounds = 2, .conditions = "FailureTarget True DeadlineExceeded\nFailed True DeadlineExceeded\n", .event = "event work Warning DeadlineExceeded: m"},
	{.name = "restarts count where pods restart, those of going pods too", .owner = ON_FAILURE("\"backoffLimit\":3,\"parallelism\":2,\"completions\":2,"),
		.pods = "a Running restarts=2" MINE "\nb Running going restarts=1" MINE, .conditions = "FailureTarget True BackoffLimitExceeded\n"},
	{.name = "with no limit the first restart is one too many", .owner = ON_FAILURE("\"backoffLimit\":0,"), .pods = "a Running restarts=1" MINE, .conditions = "FailureTarget True BackoffLimitExceeded\n"},
	{.name = "none is none too many", .owner = ON_FAILURE("\"backoffLimit\":0,"), .pods = "a Running" MINE, .conditions = ""},
	{.name = "the deadline ends it", .owner = JOB("\"activeDeadlineSeconds\":60,"), .pods = "a Running ready" MINE, .writes = DELETE("a") STATUS, .conditions = "FailureTarget True DeadlineExceeded\n"},
	{.name = "and is waited for", .owner = JOB("\"activeDeadlineSeconds\":90,"), .pods = "a Running ready" MINE, .after_s = 30},
	{.name = "and one past all time never comes", .owner = JOB("\"activeDeadlineSeconds\":9223372036854775807,"), .pods = "a Running ready" MINE, .conditions = ""},
	{.name = "what fails after success does not undo it", .owner = JOB_WITH("", "\"backoffLimit\":0,\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,\"successPolicy\":{\"rules\":[{\"succeededIndexes\":\"0\"}]},",
		"\"startTime\":\"2027-01-15T07:59:00Z\",\"completedIndexes\":\"0\",\"succeeded\":1,\"conditions\":[{\"type\":\"SuccessCriteriaMet\",\"status\":\"True\",\"reason\":\"SuccessPolicy\",\"message\":\"m\"}]"),
		.pods = "b Failed exit=1 " INDEX("1") MINE, .rounds = 2, .status = "{\"failed\":1,\"succeeded\":1}", .conditions = "SuccessCriteriaMet True SuccessPolicy\nComplete True SuccessPolicy\n"},
	{.name = "pods that are not needed for success have not failed", .owner = JOB("\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,\"successPolicy\":{\"rules\":[{\"succeededIndexes\":\"0\",\"succeededCount\":1}]},"),
		.pods = "a Succeeded exit=0 " INDEX("0") MINE "\nb Running ready " INDEX("1") MINE, .rounds = 3, .writes = LET_GO("b") DELETE("b") STATUS LET_GO("a") STATUS,
		.status = "{\"failed\":null,\"succeeded\":1,\"completedIndexes\":\"0\"}", .conditions = "SuccessCriteriaMet True SuccessPolicy\nComplete True SuccessPolicy\n"},
	{.name = "a rule that names no index of the job never holds", .owner = JOB("\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,\"successPolicy\":{\"rules\":[{\"succeededIndexes\":\"7-9\"}]},"),
		.pods = "a Succeeded exit=0 " INDEX("0") MINE "\nb Running ready " INDEX("1") MINE, .status = "{\"completedIndexes\":\"0\",\"active\":1}", .conditions = ""},
	{.name = "enough indexes are enough", .owner = JOB("\"completionMode\":\"Indexed\",\"completions\":3,\"parallelism\":3,\"successPolicy\":{\"rules\":[{\"succeededCount\":2}]},"),
		.pods = "a Succeeded exit=0 " INDEX("0") MINE "\nb Succeeded exit=0 " INDEX("2") MINE "\nc Running " INDEX("1") MINE, .status = "{\"completedIndexes\":\"0,2\"}", .conditions = "SuccessCriteriaMet True SuccessPolicy\n"},
	{.name = "the policy ends it", .owner = JOB(POLICY("FailJob", EXIT_42)), .pods = "a Failed exit=42" MINE, .writes = STATUS LET_GO("a"), .conditions = "FailureTarget True PodFailurePolicy\n"},
	{.name = "or takes no notice", .owner = JOB("\"backoffLimit\":0," POLICY("Ignore", DISRUPTED)), .pods = "a Failed exit=137 condition=DisruptionTarget" MINE, .rounds = 2, .status = "{\"failed\":null}", .conditions = ""},
	{.name = "or counts as ever", .owner = JOB("\"backoffLimit\":0," POLICY("Count", DISRUPTED)), .pods = "a Failed exit=137 condition=DisruptionTarget" MINE, .conditions = "FailureTarget True BackoffLimitExceeded\n"},
	{.name = "or gives one index up", .owner = JOB(PER_INDEX("5", POLICY("FailIndex", EXIT_42))), .pods = "a Failed exit=42 " INDEX("1") MINE "\nb Running " INDEX("0") MINE "\nc Running " INDEX("2") MINE, .writes = STATUS LET_GO("a"),
		.status = "{\"failedIndexes\":\"1\",\"active\":2}", .conditions = ""},
	{.name = "a going pod has failed where it is replaced at once", .owner = JOB(""), .pods = "a Running going age=30" MINE, .writes = STATUS LET_GO("a"), .status = "{\"terminating\":1}"},
	{.name = "not where only failed ones are replaced", .owner = JOB("\"podReplacementPolicy\":\"Failed\","), .pods = "a Running going age=30" MINE, .writes = STATUS, .status = "{\"terminating\":1,\"failed\":null}"},
	{.name = "a failed index keeps its pod until the next one has it from there", .owner = JOB(PER_INDEX("1", "")), .pods = "a Failed exit=1 age=2 " INDEX("1") FAILURES("0") MINE "\nb Running " INDEX("0") MINE "\nc Running " INDEX("2") MINE,
		.writes = STATUS, .status = "{\"failed\":null,\"failedIndexes\":\"\",\"active\":2}", .after_s = 8},
	{.name = "and is let go then", .owner = JOB(PER_INDEX("1", "")), .pods = "a Failed exit=1 age=20 " INDEX("1") FAILURES("0") MINE "\nb Running " INDEX("0") MINE "\nc Running " INDEX("2") MINE, .rounds = 2,
		.writes = "create pods default/work-1-\n" STATUS STATUS LET_GO("a"), .status = "{\"active\":3}"},
	{.name = "past its limit the index has failed", .owner = JOB(PER_INDEX("1", "")), .pods = "a Failed exit=1 " INDEX("1") FAILURES("1") MINE "\nb Running " INDEX("0") MINE "\nc Running " INDEX("2") MINE,
		.writes = STATUS LET_GO("a"), .status = "{\"failedIndexes\":\"1\"}", .conditions = ""},
	{.name = "too many of them end it", .owner = JOB(PER_INDEX("0", "\"maxFailedIndexes\":0,")), .pods = "a Failed exit=1 " INDEX("1") MINE "\nb Running " INDEX("0") MINE "\nc Running " INDEX("2") MINE,
		.conditions = "FailureTarget True MaxFailedIndexesExceeded\n"},
	{.name = "with all others done it has failed", .owner = JOB_WITH("", PER_INDEX("0", ""), "\"startTime\":\"2027-01-15T07:59:00Z\",\"completedIndexes\":\"0,2\",\"succeeded\":2"), .pods = "a Failed exit=1 " INDEX("1") MINE, .rounds = 2,
		.status = "{\"failed\":1,\"succeeded\":2,\"failedIndexes\":\"1\"}", .conditions = "FailureTarget True FailedIndexes\nFailed True FailedIndexes\n", .event = "event work Warning FailedIndexes: Job has failed indexes"},
	{.name = "the younger of two of one index goes", .owner = JOB("\"completionMode\":\"Indexed\",\"completions\":2,\"parallelism\":2,"), .pods = "a Running age=20 " INDEX("0") MINE "\nb Running age=90 " INDEX("0") MINE "\nc Running " INDEX("1") MINE,
		.writes = LET_GO("a") DELETE("a") STATUS, .status = "{\"active\":2,\"terminating\":1}"},
	{.name = "a suspended one loses its pods, uncounted", .owner = JOB("\"suspend\":true,"), .pods = "a Running ready" MINE, .writes = LET_GO("a") DELETE("a") STATUS, .status = "{\"active\":null,\"startTime\":null,\"terminating\":1}",
		.conditions = "Suspended True JobSuspended\n", .event = "event work Normal Suspended: Job suspended"},
	{.name = "and begins anew", .owner = JOB_WITH("", "", "\"conditions\":[{\"type\":\"Suspended\",\"status\":\"True\",\"reason\":\"JobSuspended\"}]"), .writes = CREATE STATUS, .status = "{\"active\":1,\"startTime\":\"2027-01-15T08:00:00Z\"}",
		.conditions = "Suspended False JobResumed\n", .event = "event work Normal Resumed: Job resumed"},
	{.name = "less parallelism takes pods away, uncounted", .owner = JOB("\"completions\":5,\"parallelism\":1,"), .pods = "a Running ready age=90" MINE "\nb Pending" MINE, .writes = LET_GO("b") DELETE("b") STATUS, .status = "{\"active\":1}"},
	{.name = "one that another manages is left alone", .owner = JOB("\"managedBy\":\"example.com/other\","), .pods = "a Failed exit=1" MINE, .writes = ""},
	{.name = "one that goes makes nothing, and lets go", .owner = JOB_WITH(",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\",\"finalizers\":[\"foregroundDeletion\"]", PER_INDEX("1", ""), "\"startTime\":\"2027-01-15T07:59:00Z\""),
		.pods = "a Failed exit=1 " INDEX("1") MINE, .writes = STATUS LET_GO("a")},
	{.name = "an orphan that matches is taken in", .owner = JOB(""), .pods = "a Running label=job:work", .writes = "patch pods default/a\n" STATUS, .status = "{\"active\":1}"},
	{.name = "one that has ended lets go of what is left", .owner = JOB_WITH("", "", "\"startTime\":\"2027-01-15T07:59:00Z\",\"conditions\":[{\"type\":\"Complete\",\"status\":\"True\"}]"), .pods = "a Succeeded" MINE, .writes = LET_GO("a")},
};

static void each_look_does_what_it_should(void **state)
{
	scenario_play_all(jobs, array_len(jobs), &job_controller);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(each_look_does_what_it_should)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
