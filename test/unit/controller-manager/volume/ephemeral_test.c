/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

extern const struct controller ephemeral_volume_controller;

#define POD(name, volumes) "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[" volumes "]}}"
#define VOLUME(name) "{\"name\":\"" name "\",\"ephemeral\":{\"volumeClaimTemplate\":{\"metadata\":{\"labels\":{\"a\":\"b\"},\"annotations\":{\"c\":\"d\"}},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"storageClassName\":\"fast\",\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}}"

static struct core_v1_persistent_volume_claim *claim_of(const char *name)
{
	return fake_live(CACHED_PERSISTENT_VOLUME_CLAIMS, "n", name);
}

static void test_makes_claims(void **state)
{
	struct reconciler r = fake_reconciler(&ephemeral_volume_controller);
	const struct core_v1_pod *pod = fake_add(POD("p", VOLUME("v") ",{\"name\":\"e\",\"emptyDir\":{}}," VOLUME("w")));
	fake_reconcile_all(&r, CACHED_PODS);
	assert_int_equal(fake_count(CACHED_PERSISTENT_VOLUME_CLAIMS), 2);
	struct core_v1_persistent_volume_claim *claim = claim_of("p-v");
	assert_non_null(claim);
	assert_non_null(claim_of("p-w"));
	assert_true(owner_is_controller(&claim->metadata, pod->metadata.uid));
	assert_true(*claim->metadata.owner_references.items[0].block_owner_deletion);
	assert_string_equal(api_map_get(&claim->metadata.labels, "a"), "b");
	assert_string_equal(api_map_get(&claim->metadata.annotations, "c"), "d");
	assert_string_equal(claim->spec.storage_class_name, "fast");
	size_t writes = fake.writes;
	fake_reconcile_all(&r, CACHED_PODS);
	assert_int_equal(fake.writes, writes);
	fake_reconciler_done(&r);
}

/* The cache does not show what was made: it is ours all the same. */
static void test_stale_cache(void **state)
{
	struct reconciler r = fake_reconciler(&ephemeral_volume_controller);
	fake_add(POD("p", VOLUME("v")));
	fake.stale = true;
	fake_reconcile_all(&r, CACHED_PODS);
	fake_reconcile_all(&r, CACHED_PODS);
	assert_int_equal(fake_count(CACHED_PERSISTENT_VOLUME_CLAIMS), 1);
	assert_null(strstr(fake.log.data, "FailedBinding"));
	fake_reconciler_done(&r);
}

/* Somebody else's claim is left alone, and the pod told why it waits; once it is gone the pod gets its own. */
static void test_name_is_taken(void **state)
{
	struct reconciler r = fake_reconciler(&ephemeral_volume_controller);
	autoerror struct error err = {0};
	const struct core_v1_pod *pod = fake_add(POD("p", VOLUME("v")));
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"p-v\",\"namespace\":\"n\"},\"spec\":{}}");
	assert_true(r.controller->reconcile(&r, "n", "p", &err) < 0);
	assert_non_null(strstr(fake.log.data, "event p Warning FailedBinding: ephemeral volume v: "));
	assert_int_equal(claim_of("p-v")->metadata.owner_references.len, 0);
	error_done(&err);
	err = (struct error){0};
	assert_int_equal(world_delete(&fake.world, CACHED_PERSISTENT_VOLUME_CLAIMS, claim_of("p-v"), NULL, &err), 0);
	assert_int_equal(r.controller->reconcile(&r, "n", "p", &err), 0);
	assert_true(owner_is_controller(&claim_of("p-v")->metadata, pod->metadata.uid));
	fake_reconciler_done(&r);
}

/* A pod that goes gets none any more. */
static void test_going_pod(void **state)
{
	struct reconciler r = fake_reconciler(&ephemeral_volume_controller);
	autoerror struct error err = {0};
	fake.graceful_pods = true;
	void *pod = fake_add(POD("p", VOLUME("v")));
	assert_int_equal(world_delete(&fake.world, CACHED_PODS, pod, NULL, &err), 0);
	fake_reconcile_all(&r, CACHED_PODS);
	assert_int_equal(fake_count(CACHED_PERSISTENT_VOLUME_CLAIMS), 0);
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_makes_claims, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_stale_cache, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_name_is_taken, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_going_pod, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
