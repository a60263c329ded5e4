/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

#include "api/resource_v1.h"

extern const struct controller resource_claim_controller;

#define FINALIZER "resource.kubernetes.io/delete-protection"
#define POD(spec) "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{" spec "\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"resourceClaims\":[{\"name\":\"gpu\",\"resourceClaimTemplateName\":\"t\"},{\"name\":\"nic\",\"resourceClaimTemplateName\":\"t\"},{\"name\":\"own\",\"resourceClaimName\":\"shared\"}]}}"
#define TEMPLATE "{\"apiVersion\":\"resource.k8s.io/v1\",\"kind\":\"ResourceClaimTemplate\",\"metadata\":{\"name\":\"t\",\"namespace\":\"n\"},\"spec\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"k\"}}]}}}}"
#define CLAIM(meta, status) "{\"apiVersion\":\"resource.k8s.io/v1\",\"kind\":\"ResourceClaim\",\"metadata\":{\"name\":\"shared\",\"namespace\":\"n\"" meta "},\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"k\"}}]}},\"status\":{" status "}}"
#define ALLOCATED "\"allocation\":{\"devices\":{\"results\":[{\"request\":\"r\",\"driver\":\"d\",\"pool\":\"x\",\"device\":\"0\"}]}}"
#define CONSUMER(uid) "{\"resource\":\"pods\",\"name\":\"p\",\"uid\":\"" uid "\"}"

static struct core_v1_pod *pod_now(void)
{
	return fake_live(CACHED_PODS, "n", "p");
}

static struct resource_v1_resource_claim *claim_now(const char *name)
{
	return fake_live(CACHED_RESOURCE_CLAIMS, "n", name);
}

static int look(struct reconciler *r, const char *key)
{
	autoerror struct error err = {0};
	return r->controller->reconcile(r, "n", key, &err);
}

static const char *made_for(const char *name)
{
	for api_list_each (status, &pod_now()->status.resource_claim_statuses)
		if (str_equal(status->name, name))
			return status->resource_claim_name;
	return NULL;
}

static void test_makes_claims_by_template(void **state)
{
	struct reconciler r = fake_reconciler(&resource_claim_controller);
	fake_add(TEMPLATE);
	fake_add(POD(""));
	assert_int_equal(look(&r, "pod:p"), 0);
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 2);
	assert_int_equal(pod_now()->status.resource_claim_statuses.len, 2);
	struct resource_v1_resource_claim *claim = claim_now(made_for("gpu"));
	assert_non_null(claim);
	assert_true(str_starts_with(claim->metadata.name, "p-gpu-"));
	assert_string_equal(api_map_get(&claim->metadata.annotations, "resource.kubernetes.io/pod-claim-name"), "gpu");
	assert_string_equal(api_map_get(&claim->metadata.labels, "a"), "b");
	assert_true(owner_is_controller(&claim->metadata, pod_now()->metadata.uid));
	assert_string_equal(claim->spec.devices.requests.items[0].exactly->device_class_name, "k");
	assert_non_null(claim_now(made_for("nic")));
	size_t writes = fake.writes;
	assert_int_equal(look(&r, "pod:p"), 0);
	assert_int_equal(fake.writes, writes);
	/* Lost by mistake: made again, the other kept. */
	autoerror struct error err = {0};
	autofree char *nic = xstrdup(made_for("nic")), *gpu = xstrdup(made_for("gpu"));
	assert_int_equal(world_delete(&fake.world, CACHED_RESOURCE_CLAIMS, claim_now(gpu), NULL, &err), 0);
	assert_int_equal(look(&r, "pod:p"), 0);
	assert_string_equal(made_for("nic"), nic);
	assert_string_not_equal(made_for("gpu"), gpu);
	assert_non_null(claim_now(made_for("gpu")));
	fake_reconciler_done(&r);
}

static void test_no_template(void **state)
{
	struct reconciler r = fake_reconciler(&resource_claim_controller);
	fake_add(POD(""));
	assert_true(look(&r, "pod:p") < 0);
	assert_non_null(strstr(fake.log.data, "event p Warning FailedResourceClaimCreation: PodResourceClaim gpu: resource claim template \"t\" not found"));
	fake_reconciler_done(&r);
}

static size_t failing;
static int fail_status(struct fake_world *w, const struct write *write, struct error *err)
{
	if (!failing || !str_equal(write->subresource, "status"))
		return 0;
	failing--;
	return error_status(err, 500, "InternalError", "lost");
}

/* The claims were made, their names were not written, the cache shows nothing of it: none is made twice, not by the next leader either. */
static void test_crash_before_status(void **state)
{
	struct reconciler r = fake_reconciler(&resource_claim_controller);
	fake_add(TEMPLATE);
	fake_add(POD(""));
	fake.stale = true;
	fake.fault = fail_status;
	failing = 1;
	assert_true(look(&r, "pod:p") < 0);
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 2);
	assert_int_equal(look(&r, "pod:p"), EXPECTATIONS_LOOK_MS);
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 2);
	fake_reconciler_done(&r);
	fake.stale = false;
	for (size_t i = 0; i < fake.count; i++)
		fake_show(&fake.objects[i]);
	struct reconciler next = fake_reconciler(&resource_claim_controller);
	assert_int_equal(look(&next, "pod:p"), 0);
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 2);
	assert_non_null(claim_now(made_for("gpu")));
	assert_non_null(claim_now(made_for("nic")));
	fake_reconciler_done(&next);
}

/* A pod that did not come by the scheduler: what is allocated is reserved for it. */
static void test_reserves(void **state)
{
	struct reconciler r = fake_reconciler(&resource_claim_controller);
	fake_add(TEMPLATE);
	fake_add(CLAIM("", ALLOCATED));
	fake_add(POD("\"nodeName\":\"x\","));
	look(&r, "pod:p");
	look(&r, "pod:p");
	assert_int_equal(claim_now("shared")->status.reserved_for.len, 1);
	assert_string_equal(claim_now("shared")->status.reserved_for.items[0].uid, pod_now()->metadata.uid);
	assert_string_equal(claim_now("shared")->status.reserved_for.items[0].resource, "pods");
	fake_reconciler_done(&r);
}

/* The last pod is done: the reservation goes, the allocation with it, and what kept the claim from being deleted. */
static void test_releases(void **state)
{
	struct reconciler r = fake_reconciler(&resource_claim_controller);
	fake_add(POD("\"nodeName\":\"x\","));
	autofree char *json = xprintf(CLAIM(",\"finalizers\":[\"" FINALIZER "\"]", ALLOCATED ",\"reservedFor\":[" CONSUMER("gone") "," CONSUMER("%s") ",{\"apiGroup\":\"x.io\",\"resource\":\"pods\",\"name\":\"p\",\"uid\":\"other\"}]"),
		pod_now()->metadata.uid);
	fake_add(json);
	assert_int_equal(look(&r, "claim:shared"), 0);
	assert_int_equal(claim_now("shared")->status.reserved_for.len, 2);
	assert_non_null(claim_now("shared")->status.allocation);
	fake_edit(CACHED_PODS, "n", "p", "status", "{\"status\":{\"phase\":\"Failed\"}}");
	assert_int_equal(look(&r, "claim:shared"), 0);
	/* Whose the other one is nobody can tell: it stays, and so does the allocation. */
	assert_int_equal(claim_now("shared")->status.reserved_for.len, 1);
	assert_non_null(claim_now("shared")->status.allocation);
	fake_edit(CACHED_RESOURCE_CLAIMS, "n", "shared", "status", "{\"status\":{\"reservedFor\":[" CONSUMER("gone") "]}}");
	assert_int_equal(look(&r, "claim:shared"), 0);
	assert_int_equal(claim_now("shared")->status.reserved_for.len, 0);
	assert_null(claim_now("shared")->status.allocation);
	assert_int_equal(claim_now("shared")->metadata.finalizers.len, 0);
	fake_reconciler_done(&r);
}

/* A claim that was made for a pod goes with the pod's end; one on its way out is let go of. */
static void test_made_claim_goes(void **state)
{
	struct reconciler r = fake_reconciler(&resource_claim_controller);
	fake_add(TEMPLATE);
	fake_add(POD("\"nodeName\":\"x\","));
	look(&r, "pod:p");
	autofree char *key = xprintf("claim:%s", made_for("gpu"));
	assert_int_equal(look(&r, key), 0);
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 2);
	fake_edit(CACHED_PODS, "n", "p", "status", "{\"status\":{\"phase\":\"Succeeded\"}}");
	assert_int_equal(look(&r, key), 0);
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 1);
	/* And is not made again for a pod that has ended. */
	look(&r, "pod:p");
	assert_int_equal(fake_count(CACHED_RESOURCE_CLAIMS), 1);
	autoerror struct error err = {0};
	fake_add(CLAIM(",\"finalizers\":[\"" FINALIZER "\"]", ALLOCATED));
	assert_int_equal(world_delete(&fake.world, CACHED_RESOURCE_CLAIMS, claim_now("shared"), NULL, &err), 0);
	assert_non_null(claim_now("shared"));
	assert_int_equal(look(&r, "claim:shared"), 0);
	assert_null(claim_now("shared"));
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_makes_claims_by_template, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_no_template, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_crash_before_status, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_reserves, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_releases, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_made_claim_goes, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
