/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

extern const struct controller node_ipam_controller;

static void ranges(const char *cluster, const char *services, int64_t mask4, int64_t mask6)
{
	autoerror struct error err = {0};
	autofree char *a = xprintf("--cluster-cidr=%s", cluster), *b = xprintf("--service-cluster-ip-range=%s", services), *c = xprintf("--node-cidr-mask-size-ipv4=%lld", (long long)mask4),
		      *d = xprintf("--node-cidr-mask-size-ipv6=%lld", (long long)mask6);
	char program[] = "test", allocate[] = "--allocate-node-cidrs";
	char *argv[] = {program, a, b, c, d, allocate};
	flags_done(settings_flags, settings_flag_count, &fake.settings);
	memset(&fake.settings, 0, sizeof(fake.settings));
	assert_int_equal(flags_parse(settings_flags, settings_flag_count, 6, argv, &fake.settings, NULL, &err), 0);
}

static void add_node(const char *name, const char *spec)
{
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\"},\"spec\":{%s}}", name, spec);
	fake_add(json);
}

static const char *cidrs_of(const char *name)
{
	static char text[300];
	const struct core_v1_node *node = fake_live(CACHED_NODES, NULL, name);
	text[0] = '\0';
	for (uint32_t i = 0; i < node->spec.pod_cidrs.len; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", node->spec.pod_cidrs.items[i]);
	return text;
}

static void test_dual_stack(void **state)
{
	ranges("10.4.0.0/16,fd00:4::/48", "10.96.0.0/16", 0, 0);
	struct reconciler r = fake_reconciler(&node_ipam_controller);
	add_node("a", "");
	add_node("b", "");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(cidrs_of("a"), "10.4.0.0/24 fd00:4::/64");
	assert_string_equal(cidrs_of("b"), "10.4.1.0/24 fd00:4:0:1::/64");
	assert_string_equal(((struct core_v1_node *)fake_live(CACHED_NODES, NULL, "b"))->spec.pod_cidr, "10.4.1.0/24");
	fake_reconciler_done(&r);
}

/* What nodes have and what services have is given to nobody else. */
static void test_taken_parts(void **state)
{
	ranges("10.4.0.0/22", "10.4.2.0/24", 24, 0);
	struct reconciler r = fake_reconciler(&node_ipam_controller);
	add_node("there", "\"podCIDR\":\"10.4.0.0/24\",\"podCIDRs\":[\"10.4.0.0/24\"]");
	add_node("a", "");
	add_node("b", "");
	fake_reconcile_all(&r, CACHED_NODES);
	assert_string_equal(cidrs_of("a"), "10.4.1.0/24");
	assert_string_equal(cidrs_of("b"), "10.4.3.0/24");
	/* Nothing is left: said in an Event, and an error to try again by. */
	add_node("c", "");
	autoerror struct error err = {0};
	assert_true(r.controller->reconcile(&r, NULL, "c", &err) < 0);
	assert_non_null(strstr(fake.log.data, "CIDRNotAvailable"));
	assert_string_equal(cidrs_of("c"), "");
	/* A node goes: its part is free. */
	autoerror struct error ignored = {0};
	autounref void *gone = api_ref(fake_live(CACHED_NODES, NULL, "a"));
	assert_int_equal(world_delete(&fake.world, CACHED_NODES, gone, NULL, &ignored), 0);
	node_ipam_controller.watches[0].gone(&r, gone);
	error_done(&err);
	err = (struct error){0};
	assert_int_equal(r.controller->reconcile(&r, NULL, "c", &err), 0);
	assert_string_equal(cidrs_of("c"), "10.4.1.0/24");
	fake_reconciler_done(&r);
}

static void test_senseless_ranges(void **state)
{
	static const char *const rows[] = {"10.4.0.0", "10.4.0.0/33", "zebra/8", "10.4.0.0/28"};
	for (size_t i = 0; i < array_len(rows); i++) {
		ranges(rows[i], "10.96.0.0/16", 24, 0);
		struct reconciler r = fake_reconciler(&node_ipam_controller);
		autoerror struct error err = {0};
		if (!i)
			add_node("a", "");
		assert_int_equal(r.controller->reconcile(&r, NULL, "a", &err), -EINVAL);
		fake_reconciler_done(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dual_stack, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_taken_parts, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_senseless_ranges, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
