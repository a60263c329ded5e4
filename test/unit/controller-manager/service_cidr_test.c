/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/fake_world.h"

#include "api/networking_v1.h"

extern const struct controller service_cidr_controller;

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"
#define CIDR(name, cidrs) "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"ServiceCIDR\",\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"cidrs\":[" cidrs "]}}"
#define ADDRESS(ip, manager)                                                                                                                                   \
	"{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"IPAddress\",\"metadata\":{\"name\":\"" ip "\",\"labels\":{\"ipaddress.kubernetes.io/managed-by\":\"" \
	manager "\"}},\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"default\",\"name\":\"s\"}}}"
#define OURS "ipallocator.k8s.io"

static struct reconciler controller;

static int setup(void **state)
{
	fake_setup(state);
	controller = fake_reconciler(&service_cidr_controller);
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&controller);
	return fake_teardown(state);
}

static struct networking_v1_service_cidr *live(const char *name)
{
	return fake_live(CACHED_SERVICE_CIDRS, NULL, name);
}

static int settle(void)
{
	fake_reconcile_all(&controller, CACHED_SERVICE_CIDRS);
	return fake_reconcile_all(&controller, CACHED_SERVICE_CIDRS);
}

static const struct meta_v1_condition *ready(const char *name)
{
	const struct networking_v1_service_cidr *cidr = live(name);
	assert_int_equal(cidr->status.conditions.len, 1);
	assert_string_equal(cidr->status.conditions.items[0].type, "Ready");
	return &cidr->status.conditions.items[0];
}

static void delete_cidr(const char *name)
{
	assert_int_equal(world_delete(&fake.world, CACHED_SERVICE_CIDRS, live(name), NULL, NULL), 0);
}

/* The allocators' time to hear of it. */
static void after_grace(void)
{
	int wait = settle();
	assert_in_range(wait, 1, 10000);
	clock_advance_test(11 * NSEC_PER_SEC);
	settle();
}

static void is_made_ready(void **state)
{
	fake_add(CIDR("a", "\"10.0.0.0/24\""));
	settle();
	assert_string_equal(ready("a")->status, "True");
	assert_true(api_string_list_has(&live("a")->metadata.finalizers, FINALIZER));
	size_t writes = fake.writes;
	settle();
	assert_int_equal(fake.writes, writes);
}

static void waits_for_the_last_address(void **state)
{
	fake_add(CIDR("a", "\"10.0.0.0/24\",\"fd00::/112\""));
	fake_add(ADDRESS("10.0.0.7", OURS));
	fake_add(ADDRESS("fd00::7", OURS));
	fake_add(ADDRESS("10.0.0.8", "somebody.else"));
	settle();
	delete_cidr("a");
	settle();
	assert_string_equal(ready("a")->status, "False");
	assert_string_equal(ready("a")->reason, "Terminating");
	world_delete(&fake.world, CACHED_IP_ADDRESSES, fake_live(CACHED_IP_ADDRESSES, NULL, "10.0.0.7"), NULL, NULL);
	clock_advance_test(60 * NSEC_PER_SEC);
	settle();
	assert_non_null(live("a"));
	world_delete(&fake.world, CACHED_IP_ADDRESSES, fake_live(CACHED_IP_ADDRESSES, NULL, "fd00::7"), NULL, NULL);
	settle();
	assert_null(live("a"));
}

static void goes_where_a_wider_one_stays(void **state)
{
	fake_add(CIDR("narrow", "\"10.0.0.0/28\""));
	fake_add(CIDR("wide", "\"10.0.0.0/24\""));
	fake_add(ADDRESS("10.0.0.7", OURS));
	settle();
	delete_cidr("narrow");
	after_grace();
	assert_null(live("narrow"));
	/* Now the wide one alone holds the address. */
	delete_cidr("wide");
	clock_advance_test(60 * NSEC_PER_SEC);
	settle();
	assert_string_equal(ready("wide")->status, "False");
	fake_add(CIDR("same", "\"10.0.0.0/24\""));
	settle();
	assert_null(live("wide"));
	assert_string_equal(ready("same")->status, "True");
}

static void gives_allocators_time(void **state)
{
	fake_add(CIDR("a", "\"10.0.0.0/24\""));
	settle();
	delete_cidr("a");
	assert_in_range(settle(), 1, 10000);
	/* An address that was given out meanwhile. */
	fake_add(ADDRESS("10.0.0.9", OURS));
	clock_advance_test(11 * NSEC_PER_SEC);
	settle();
	assert_non_null(live("a"));
	assert_string_equal(ready("a")->status, "False");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(is_made_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(waits_for_the_last_address, setup, teardown),
		cmocka_unit_test_setup_teardown(goes_where_a_wider_one_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(gives_allocators_time, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
