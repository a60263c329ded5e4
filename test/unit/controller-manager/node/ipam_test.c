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
	r.queue = workqueue_new(NULL);
	node_ipam_controller.watches[0].gone(&r, gone);
	autofree char *waiting = workqueue_try_get(r.queue); /* who waited for one is looked at at once */
	assert_string_equal(waiting, "c");
	workqueue_free(r.queue);
	r.queue = NULL;
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

/* What the manager does not start with. */
static void test_settings_that_do_not_go_together(void **state)
{
	static const struct {
		const char *flags[4];
		const char *error; /* a part of it; NULL: all is well */
	} rows[] = {
		{{"--cluster-cidr=10.4.0.0/16"}, NULL},
		{{"--cluster-cidr=10.4.0.0/16,fd00:4::/48", "--node-cidr-mask-size-ipv4=26", "--node-cidr-mask-size-ipv6=60"}, NULL},
		{{"--cluster-cidr=fd00:4::/48", "--node-cidr-mask-size=56"}, NULL},
		{{NULL}, "--cluster-cidr"},
		{{"--cluster-cidr=10.4.0.0/16,10.5.0.0/16"}, "one address family"},
		{{"--cluster-cidr=10.4.0.0/16,fd00:4::/48,10.5.0.0/16"}, "at most one"},
		{{"--cluster-cidr=10.4.0.0/16,zebra"}, "\"zebra\" is no CIDR"},
		{{"--cluster-cidr=10.4.0.0/16", "--service-cluster-ip-range=10.96.0.0/16,10.97.0.0/16"}, "--service-cluster-ip-range: both"},
		{{"--cluster-cidr=10.4.0.0/16,fd00:4::/48", "--node-cidr-mask-size=24"}, "dual-stack"},
		{{"--cluster-cidr=10.4.0.0/16", "--node-cidr-mask-size=24", "--node-cidr-mask-size-ipv4=24"}, "beside"},
		{{"--cluster-cidr=10.4.0.0/16", "--node-cidr-mask-size-ipv6=64"}, "single-stack IPv4"},
		{{"--cluster-cidr=fd00:4::/48", "--node-cidr-mask-size-ipv4=24"}, "single-stack IPv6"},
		{{"--cluster-cidr=10.4.0.0/16", "--node-cidr-mask-size=12"}, "does not fit"},
		{{"--cluster-cidr=10.4.0.0/16", "--cidr-allocator-type=CloudAllocator"}, "CloudAllocator"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct settings settings = {0};
		autoerror struct error err = {0};
		char *argv[6] = {(char[]){"test"}, (char[]){"--allocate-node-cidrs"}};
		int argc = 2;
		for (size_t j = 0; j < array_len(rows[i].flags) && rows[i].flags[j]; j++)
			argv[argc++] = xstrdup(rows[i].flags[j]);
		assert_int_equal(flags_parse(settings_flags, settings_flag_count, argc, argv, &settings, NULL, &err), 0);
		int r = node_ipam_controller.check(&settings, &err);
		if ((r != 0) != (rows[i].error != NULL) || (r && !strstr(error_message(&err), rows[i].error)))
			fail_msg("row %zu: %d %s", i, r, error_message(&err));
		while (argc > 2)
			free(argv[--argc]);
		flags_done(settings_flags, settings_flag_count, &settings);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_dual_stack, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_taken_parts, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_senseless_ranges, fake_setup, fake_teardown),
		cmocka_unit_test(test_settings_that_do_not_go_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
