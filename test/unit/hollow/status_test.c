/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/hollow/status.h"

#define BEGAN 1800000000

static const struct flag_list missing = {.items = (char *[]){(char *)":404"}, .len = 1};

static struct core_v1_pod *pod_of(const char *spec)
{
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\",\"uid\":\"u\",\"generation\":3},\"spec\":%s}", spec);
	struct error err = {0};
	void *pod;
	if (api_decode_json_any(json, strlen(json), NULL, &pod, &err))
		fail_msg("%s", error_message(&err));
	api_default(pod);
	return pod;
}

/* Carries the patch into the pod, as the server would where nobody else writes. */
static bool look(struct core_v1_pod *pod, int64_t second, bool stopping, int64_t *ret_next_ms)
{
	struct status_view view = {.pod_ip = "10.1.2.3", .host_ip = "10.0.0.1", .started = {.sec = BEGAN}, .now = {.sec = BEGAN + second}, .stopping = stopping, .missing_images = &missing};
	autobuf struct buf patch = BUF_INIT(1 << 20);
	status_patch(pod, &view, &patch, ret_next_ms);
	if (!patch.len)
		return false;
	json_t *tree = json_loadb(patch.data, patch.len, 0, NULL);
	assert_non_null(tree);
	assert_string_equal(json_string_value(json_object_get(json_object_get(tree, "metadata"), "uid")), "u");
	autofree char *status = json_dumps(json_object_get(tree, "status"), JSON_COMPACT);
	json_decref(tree);
	memset(&pod->status, 0, sizeof(pod->status));
	struct error err = {0};
	if (api_decode_json_value(&core_v1_pod_status_type, status, strlen(status), &pod->status, api_arena(pod), &err))
		fail_msg("%s", error_message(&err));
	return true;
}

static const char *condition(const struct core_v1_pod *pod, const char *type)
{
	for api_list_each (c, &pod->status.conditions)
		if (str_equal(c->type, type)) {
			assert_int_equal(c->observed_generation, 3);
			return c->status;
		}
	return NULL;
}

#define RUNS "{\"containers\":[{\"name\":\"c\",\"image\":\"nginx\"}]}"

static void a_server_runs_and_needs_no_second_look(void **state)
{
	autounref struct core_v1_pod *pod = pod_of(RUNS);
	int64_t next;
	assert_true(look(pod, 0, false, &next));
	assert_int_equal(next, 0);
	assert_string_equal(pod->status.phase, "Running");
	assert_string_equal(pod->status.pod_ip, "10.1.2.3");
	assert_string_equal(pod->status.host_ip, "10.0.0.1");
	assert_int_equal(pod->status.observed_generation, 3);
	assert_string_equal(condition(pod, "Ready"), "True");
	assert_true(pod->status.container_statuses.items[0].ready);
	assert_false(look(pod, 100, false, &next));
}

static void one_that_is_told_to_stop_ends(void **state)
{
	autounref struct core_v1_pod *pod = pod_of("{\"containers\":[{\"name\":\"c\",\"image\":\"busybox\",\"command\":[\"sleep\",\"1000\"]}]}");
	int64_t next;
	assert_true(look(pod, 0, false, &next));
	assert_int_equal(next, 1000000);
	assert_true(look(pod, 5, true, &next));
	assert_string_equal(pod->status.phase, "Failed");
	assert_int_equal(pod->status.container_statuses.items[0].state.terminated->exit_code, 137);
	assert_string_equal(condition(pod, "Ready"), "False");
	assert_false(look(pod, 6, true, &next));
}

static void ends_make_phases(void **state)
{
	static const struct {
		const char *policy, *script;
		int64_t second;
		const char *phase;
		int restarts;
	} rows[] = {
		{"Never", "sleep 5", 4, "Running", 0},
		{"Never", "sleep 5", 5, "Succeeded", 0},
		{"Never", "sleep 5; exit 1", 5, "Failed", 0},
		{"OnFailure", "exit 0", 0, "Succeeded", 0},
		{"OnFailure", "sleep 5; exit 1", 5, "Running", 1},   /* the first restart comes at once */
		{"OnFailure", "sleep 5; exit 1", 10, "Running", 1},  /* and then there is a pause */
		{"OnFailure", "sleep 5; exit 1", 20, "Running", 2},
		{"Always", "sleep 5", 5, "Running", 1},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *spec = xprintf("{\"restartPolicy\":\"%s\",\"containers\":[{\"name\":\"c\",\"image\":\"busybox\",\"command\":[\"sh\",\"-c\",\"%s\"]}]}", rows[i].policy, rows[i].script);
		autounref struct core_v1_pod *pod = pod_of(spec);
		int64_t next;
		print_message("row %zu\n", i);
		assert_true(look(pod, rows[i].second, false, &next));
		assert_string_equal(pod->status.phase, rows[i].phase);
		assert_int_equal(pod->status.container_statuses.items[0].restart_count, rows[i].restarts);
		assert_int_equal(next > 0, str_equal(rows[i].phase, "Running"));
	}
}

static void what_cannot_start_waits(void **state)
{
	autounref struct core_v1_pod *pod = pod_of("{\"containers\":[{\"name\":\"c\",\"image\":\"webserver:404\"},{\"name\":\"d\",\"image\":\"nginx\"}]}");
	int64_t next;
	assert_true(look(pod, 0, false, &next));
	assert_string_equal(pod->status.phase, "Pending");
	assert_string_equal(pod->status.container_statuses.items[0].state.waiting->reason, "ImagePullBackOff");
	assert_string_equal(condition(pod, "ContainersReady"), "False");
}

static void init_containers_go_first(void **state)
{
	autounref struct core_v1_pod *pod = pod_of("{\"restartPolicy\":\"Never\",\"initContainers\":[{\"name\":\"i\",\"image\":\"busybox\",\"command\":[\"sleep\",\"3\"]}],"
						   "\"containers\":[{\"name\":\"c\",\"image\":\"busybox\",\"command\":[\"sleep\",\"4\"]}]}");
	int64_t next;
	assert_true(look(pod, 0, false, &next));
	assert_string_equal(pod->status.phase, "Pending");
	assert_int_equal(next, 3000);
	assert_string_equal(condition(pod, "Initialized"), "False");
	assert_string_equal(pod->status.container_statuses.items[0].state.waiting->reason, "PodInitializing");
	assert_true(look(pod, 3, false, &next));
	assert_string_equal(pod->status.phase, "Running");
	assert_int_equal(next, 4000);
	assert_true(look(pod, 7, false, &next));
	assert_string_equal(pod->status.phase, "Succeeded");
}

static void readiness_waits_for_its_delay_and_gates(void **state)
{
	autounref struct core_v1_pod *pod = pod_of("{\"readinessGates\":[{\"conditionType\":\"example.com/ok\"}],\"containers\":[{\"name\":\"c\",\"image\":\"nginx\","
						   "\"readinessProbe\":{\"initialDelaySeconds\":5,\"tcpSocket\":{\"port\":80}}}]}");
	int64_t next;
	assert_true(look(pod, 0, false, &next));
	assert_int_equal(next, 5000);
	assert_string_equal(condition(pod, "ContainersReady"), "False");
	assert_true(look(pod, 5, false, &next));
	assert_string_equal(condition(pod, "ContainersReady"), "True");
	assert_string_equal(condition(pod, "Ready"), "False");
	struct core_v1_pod_condition *gate = api_list_add(api_arena(pod), &pod->status.conditions);
	*gate = (struct core_v1_pod_condition){.type = "example.com/ok", .status = "True"};
	assert_true(look(pod, 6, false, &next));
	assert_string_equal(condition(pod, "Ready"), "True");
}

static void a_deadline_fails_the_pod(void **state)
{
	autounref struct core_v1_pod *pod = pod_of("{\"activeDeadlineSeconds\":10,\"containers\":[{\"name\":\"c\",\"image\":\"nginx\"}]}");
	int64_t next;
	assert_true(look(pod, 0, false, &next));
	assert_int_equal(next, 10000);
	assert_true(look(pod, 10, false, &next));
	assert_string_equal(pod->status.phase, "Failed");
	assert_string_equal(pod->status.reason, "DeadlineExceeded");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_server_runs_and_needs_no_second_look),
		cmocka_unit_test(one_that_is_told_to_stop_ends),
		cmocka_unit_test(ends_make_phases),
		cmocka_unit_test(what_cannot_start_waits),
		cmocka_unit_test(init_containers_go_first),
		cmocka_unit_test(readiness_waits_for_its_delay_and_gates),
		cmocka_unit_test(a_deadline_fails_the_pod),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
