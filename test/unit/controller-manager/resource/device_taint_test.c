/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

#include "api/resource_v1.h"

extern const struct controller device_taint_eviction_controller;

#define NOW 1800000000
#define POD "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{\"nodeName\":\"x\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"resourceClaims\":[{\"name\":\"own\",\"resourceClaimName\":\"k\"}]},\"status\":{\"phase\":\"Running\"}}"
#define CLAIM "{\"apiVersion\":\"resource.k8s.io/v1\",\"kind\":\"ResourceClaim\",\"metadata\":{\"name\":\"k\",\"namespace\":\"n\"},\"status\":{\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d\",\"pool\":\"x\",\"device\":\"0\",\"tolerations\":[%s]}]}},\"reservedFor\":[{\"resource\":\"pods\",\"name\":\"p\",\"uid\":\"%s\"}]}}"
#define SLICE "{\"apiVersion\":\"resource.k8s.io/v1\",\"kind\":\"ResourceSlice\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"driver\":\"d\",\"pool\":{\"name\":\"x\",\"generation\":%d,\"resourceSliceCount\":1},\"devices\":[{\"name\":\"%s\",\"taints\":[{\"key\":\"t\",\"value\":\"v\",\"effect\":\"%s\",\"timeAdded\":\"2027-01-15T08:00:00Z\"}]}]}}"

static void add_slice(const char *name, int generation, const char *device, const char *effect)
{
	autofree char *json = xprintf(SLICE, name, generation, device, effect);
	fake_add(json);
}

/* The pod's uid is of this world: it is made first. */
static void add_claim(const char *tolerations)
{
	const struct core_v1_pod *pod = fake_add(POD);
	autofree char *json = xprintf(CLAIM, tolerations, pod->metadata.uid);
	fake_add(json);
}

static int look(struct reconciler *r)
{
	autoerror struct error err = {0};
	return r->controller->reconcile(r, "n", "p", &err);
}

static bool is_there(void)
{
	return fake_live(CACHED_PODS, "n", "p") != NULL;
}

static void test_tolerations(void **state)
{
	static const struct {
		const char *tolerations, *effect;
		int answer; /* 0: stays for ever; -1: gone at once; else in so many ms */
	} rows[] = {
		{"", "NoExecute", -1},
		{"", "NoSchedule", 0},
		{"", "None", 0},
		{"{\"key\":\"t\",\"operator\":\"Exists\"}", "NoExecute", 0},
		{"{\"operator\":\"Exists\",\"effect\":\"NoExecute\"}", "NoExecute", 0},
		{"{\"operator\":\"Exists\",\"effect\":\"NoSchedule\"}", "NoExecute", -1},
		{"{\"key\":\"t\",\"operator\":\"Equal\",\"value\":\"v\"}", "NoExecute", 0},
		{"{\"key\":\"t\",\"operator\":\"Equal\",\"value\":\"w\"}", "NoExecute", -1},
		{"{\"key\":\"u\",\"operator\":\"Exists\"}", "NoExecute", -1},
		{"{\"key\":\"t\",\"operator\":\"Exists\",\"tolerationSeconds\":30},{\"operator\":\"Exists\",\"tolerationSeconds\":10}", "NoExecute", 10000},
		{"{\"key\":\"t\",\"operator\":\"Exists\",\"tolerationSeconds\":30},{\"operator\":\"Exists\"}", "NoExecute", 0},
		{"{\"operator\":\"Exists\",\"tolerationSeconds\":-5}", "NoExecute", -1},
		{"{\"operator\":\"Exists\",\"tolerationSeconds\":9223372036854775807}", "NoExecute", 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		fake_setup(state);
		clock_set_test((struct wall_time){NOW, 0});
		struct reconciler r = fake_reconciler(&device_taint_eviction_controller);
		add_slice("s", 1, "0", rows[i].effect);
		add_claim(rows[i].tolerations);
		int answer = look(&r);
		if (answer != max_of(rows[i].answer, 0) || is_there() != (rows[i].answer >= 0))
			fail_msg("row %zu: %d", i, answer);
		fake_reconciler_done(&r);
	}
}

/* Slices that an old generation left behind say nothing, nor do other devices. */
static void test_old_slices(void **state)
{
	struct reconciler r = fake_reconciler(&device_taint_eviction_controller);
	add_slice("old", 1, "0", "NoExecute");
	add_slice("new", 2, "1", "NoExecute");
	add_claim("");
	assert_int_equal(look(&r), 0);
	assert_true(is_there());
	add_slice("newer", 2, "0", "NoExecute");
	assert_int_equal(look(&r), 0);
	assert_false(is_there());
	assert_non_null(strstr(fake.log.data, "event p Normal DeviceTaintManagerEviction: Marking for deletion"));
	assert_non_null(strstr(fake.log.data, "patch pods/status n/p"));
	fake_reconciler_done(&r);
}

/* The taint went before its time was over: the pod is told that it stays. */
static void test_cancelled(void **state)
{
	struct reconciler r = fake_reconciler(&device_taint_eviction_controller);
	autoerror struct error err = {0};
	clock_set_test((struct wall_time){NOW + 5, 0});
	add_slice("s", 1, "0", "NoExecute");
	add_claim("{\"operator\":\"Exists\",\"tolerationSeconds\":30}");
	assert_int_equal(look(&r), 25000);
	assert_int_equal(world_delete(&fake.world, CACHED_RESOURCE_SLICES, fake_live(CACHED_RESOURCE_SLICES, NULL, "s"), NULL, &err), 0);
	assert_int_equal(look(&r), 0);
	assert_true(is_there());
	assert_non_null(strstr(fake.log.data, "event p Normal DeviceTaintManagerEviction: Cancelling deletion"));
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tolerations, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_old_slices, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_cancelled, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
