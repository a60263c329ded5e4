/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

#include "controller-manager/endpoints/endpoints.h"

#include "api/discovery_v1.h"

extern const struct controller endpoint_slice_controller;

static void add_node(const char *name, const char *zone, int cpus)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{%s%s%s}},\"status\":{\"allocatable\":{\"cpu\":\"%d\"},\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
		name, *zone ? "\"topology.kubernetes.io/zone\":\"" : "", zone, *zone ? "\"" : "", cpus);
	fake_add(json);
}

static void add_pods(const char *node, int count)
{
	for (int i = 0; i < count; i++) {
		autofree char *json = xprintf(
			"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-%d\",\"namespace\":\"n\",\"labels\":{\"app\":\"w\"}},\"spec\":{\"nodeName\":\"%s\",\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.%d.%d\",\"podIPs\":[{\"ip\":\"10.0.%d.%d\"}],\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}]}}",
			node, i, node, node[0], i + 1, node[0], i + 1);
		fake_add(json);
	}
}

static void add_service(const char *mode)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":\"n\",\"annotations\":{\"service.kubernetes.io/topology-mode\":\"%s\"}},\"spec\":{\"selector\":{\"app\":\"w\"},\"ipFamilies\":[\"IPv4\"],\"clusterIP\":\"10.96.0.9\",\"ports\":[{\"port\":80}]}}",
		mode);
	fake_add(json);
}

/* "a=2 b=3": endpoints hinted for each zone; "" where there are no hints. */
static const char *hinted(void)
{
	static char text[100];
	int a = 0, b = 0, c = 0;
	for (size_t i = 0; i < fake.count; i++) {
		const struct discovery_v1_endpoint_slice *slice = fake.objects[i].live;
		if (fake.objects[i].what != CACHED_ENDPOINT_SLICES || !slice)
			continue;
		for (uint32_t e = 0; e < slice->endpoints.len; e++) {
			const struct discovery_v1_endpoint_hints *hints = slice->endpoints.items[e].hints;
			const char *zone = hints && hints->for_zones.len ? hints->for_zones.items[0].name : "";
			a += str_equal(zone, "a");
			b += str_equal(zone, "b");
			c += str_equal(zone, "c");
		}
	}
	snprintf(text, sizeof(text), "a=%d b=%d c=%d", a, b, c);
	return text;
}

static void test_shares(void **state)
{
	static const struct {
		const char *name;
		int cpus[3], pods[3]; /* of zones a, b, c; no cpus: no such zone */
		const char *hints;
		const char *told; /* why there are none; NULL: that there are */
	} rows[] = {
		{"each zone has what it needs", {4, 4, 4}, {3, 3, 3}, "a=3 b=3 c=3", NULL},
		{"a zone without endpoints is given some", {4, 4, 4}, {5, 4, 0}, "a=3 b=3 c=3", NULL},
		{"by cpu", {8, 4, 0}, {6, 6, 0}, "a=7 b=5 c=0", NULL},
		{"a fifth more than its share is no reason to move", {4, 4, 0}, {6, 5, 0}, "a=6 b=5 c=0", NULL},
		{"one zone", {4, 0, 0}, {4, 0, 0}, "a=0 b=0 c=0", "Nodes only ready in one zone, addressType: IPv4"},
		{"none", {4, 4, 0}, {0, 0, 0}, "a=0 b=0 c=0", "Insufficient number of endpoints (0 endpoints, 2 zones), addressType: IPv4"},
		{"more than a zone bears", {4, 4, 0}, {1, 2, 0}, "a=0 b=0 c=0", "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (3 endpoints, 2 zones), addressType: IPv4"},
		{"too few endpoints", {4, 4, 4}, {1, 1, 0}, "a=0 b=0 c=0", "Insufficient number of endpoints (2 endpoints, 3 zones), addressType: IPv4"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		fake_setup(state);
		struct reconciler r = fake_reconciler(&endpoint_slice_controller);
		static const char *const zones[] = {"a", "b", "c"};
		for (int z = 0; z < 3; z++) {
			if (rows[i].cpus[z])
				add_node(zones[z], zones[z], rows[i].cpus[z]);
			add_pods(zones[z], rows[i].pods[z]);
		}
		add_service("Auto");
		fake_reconcile_all(&r, CACHED_SERVICES);
		autofree char *told = rows[i].told ? xprintf("Warning TopologyAwareHintsDisabled: %s\n", rows[i].told) : xstrdup("Normal TopologyAwareHintsEnabled: ");
		const char *event = strstr(fake.log.data, told);
		if (strcmp(hinted(), rows[i].hints) != 0 || !event)
			fail_msg("%s: %s\n%s", rows[i].name, hinted(), fake.log.data);
		/* The same world gives the same hints: nothing is written again, and hints are told of once. */
		size_t writes = fake.writes, len = fake.log.len;
		fake_reconcile_all(&r, CACHED_SERVICES);
		assert_int_equal(fake.writes, writes);
		if (!rows[i].told)
			assert_int_equal(fake.log.len, len);
		fake_reconciler_done(&r);
	}
}

static void test_only_where_asked(void **state)
{
	struct reconciler r = fake_reconciler(&endpoint_slice_controller);
	add_node("a", "a", 4);
	add_node("b", "b", 4);
	add_pods("a", 4);
	add_pods("b", 4);
	add_service("Disabled");
	fake_reconcile_all(&r, CACHED_SERVICES);
	assert_string_equal(hinted(), "a=0 b=0 c=0");
	fake_reconciler_done(&r);
}

static void test_node_without_a_zone(void **state)
{
	struct reconciler r = fake_reconciler(&endpoint_slice_controller);
	add_node("a", "a", 4);
	add_node("b", "b", 4);
	add_node("x", "", 4);
	add_pods("a", 4);
	add_pods("b", 4);
	add_service("Auto");
	fake_reconcile_all(&r, CACHED_SERVICES);
	assert_string_equal(hinted(), "a=0 b=0 c=0");
	/* It gets one: services that go by zones are looked at again. */
	const struct core_v1_node *before = fake_live(CACHED_NODES, NULL, "x");
	autounref void *kept = api_ref((void *)before);
	fake_edit(CACHED_NODES, NULL, "x", NULL, "{\"metadata\":{\"labels\":{\"topology.kubernetes.io/zone\":\"b\"}}}");
	assert_true(topology_node_matters(kept, fake_live(CACHED_NODES, NULL, "x")));
	fake_reconcile_all(&r, CACHED_SERVICES);
	assert_string_equal(hinted(), "a=3 b=5 c=0");
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_shares, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_only_where_asked, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_node_without_a_zone, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
