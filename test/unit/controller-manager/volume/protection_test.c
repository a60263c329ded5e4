/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

#include "api/storage_v1.h"

extern const struct controller pvc_protection_controller, pv_protection_controller, vac_protection_controller;

static void drop(enum cached what, const char *ns, const char *name)
{
	autoerror struct error err = {0};
	assert_int_equal(world_delete(&fake.world, what, fake_live(what, ns, name), NULL, &err), 0);
}

#define POD(phase) "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{\"nodeName\":\"x\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[{\"name\":\"v\",\"persistentVolumeClaim\":{\"claimName\":\"c\"}}]},\"status\":{\"phase\":\"" phase "\"}}"
#define CLAIM(spec, status) "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"c\",\"namespace\":\"n\"},\"spec\":{" spec "},\"status\":{" status "}}"

static void test_claim_in_use(void **state)
{
	struct reconciler r = fake_reconciler(&pvc_protection_controller);
	fake_add(CLAIM("", ""));
	fake_add(POD("Running"));
	fake_reconcile_all(&r, CACHED_PERSISTENT_VOLUME_CLAIMS);
	drop(CACHED_PERSISTENT_VOLUME_CLAIMS, "n", "c");
	fake_reconcile_all(&r, CACHED_PERSISTENT_VOLUME_CLAIMS);
	assert_non_null(fake_live(CACHED_PERSISTENT_VOLUME_CLAIMS, "n", "c"));
	fake_edit(CACHED_PODS, "n", "p", "status", "{\"status\":{\"phase\":\"Succeeded\"}}");
	fake_reconcile_all(&r, CACHED_PERSISTENT_VOLUME_CLAIMS);
	assert_null(fake_live(CACHED_PERSISTENT_VOLUME_CLAIMS, "n", "c"));
	fake_reconciler_done(&r);
}

static void test_bound_volume(void **state)
{
	struct reconciler r = fake_reconciler(&pv_protection_controller);
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolume\",\"metadata\":{\"name\":\"v\"},\"status\":{\"phase\":\"Bound\"}}");
	fake_reconcile_all(&r, CACHED_PERSISTENT_VOLUMES);
	drop(CACHED_PERSISTENT_VOLUMES, NULL, "v");
	fake_reconcile_all(&r, CACHED_PERSISTENT_VOLUMES);
	assert_non_null(fake_live(CACHED_PERSISTENT_VOLUMES, NULL, "v"));
	fake_edit(CACHED_PERSISTENT_VOLUMES, NULL, "v", "status", "{\"status\":{\"phase\":\"Released\"}}");
	fake_reconcile_all(&r, CACHED_PERSISTENT_VOLUMES);
	assert_null(fake_live(CACHED_PERSISTENT_VOLUMES, NULL, "v"));
	fake_reconciler_done(&r);
}

/* A class that a claim asks for, has, or is about to have stays. */
static void test_class_in_use(void **state)
{
	static const char *const claims[] = {
		CLAIM("\"volumeAttributesClassName\":\"gold\"", ""),
		CLAIM("", "\"currentVolumeAttributesClassName\":\"gold\""),
		CLAIM("", "\"modifyVolumeStatus\":{\"status\":\"Pending\",\"targetVolumeAttributesClassName\":\"gold\"}"),
	};
	for (size_t i = 0; i < array_len(claims); i++) {
		fake_teardown(state);
		fake_setup(state);
		struct reconciler r = fake_reconciler(&vac_protection_controller);
		fake_add("{\"apiVersion\":\"storage.k8s.io/v1\",\"kind\":\"VolumeAttributesClass\",\"metadata\":{\"name\":\"gold\"},\"driverName\":\"d\"}");
		fake_add(claims[i]);
		fake_reconcile_all(&r, CACHED_VOLUME_ATTRIBUTES_CLASSES);
		drop(CACHED_VOLUME_ATTRIBUTES_CLASSES, NULL, "gold");
		fake_reconcile_all(&r, CACHED_VOLUME_ATTRIBUTES_CLASSES);
		assert_non_null(fake_live(CACHED_VOLUME_ATTRIBUTES_CLASSES, NULL, "gold"));
		drop(CACHED_PERSISTENT_VOLUME_CLAIMS, "n", "c");
		fake_reconcile_all(&r, CACHED_VOLUME_ATTRIBUTES_CLASSES);
		assert_null(fake_live(CACHED_VOLUME_ATTRIBUTES_CLASSES, NULL, "gold"));
		fake_reconciler_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_claim_in_use, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_bound_volume, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_class_in_use, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
