/* SPDX-License-Identifier: Apache-2.0 */
/* Which NUMA nodes devices are hinted at, on a machine with two: plain facts of a plugin, none of this machine. */
#include "kubelet/device/device.h"
#include "kubelet/device/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define THING "example.com/thing"
#define NODES 3 /* 0 and 1 */

struct place {
	const char *id;
	bool healthy;
	int64_t node; /* -1: it does not say; -2: it is on both */
};

static struct resource resource_of(const struct place *places, size_t count, struct device *devices) {
	for (size_t i = 0; i < count; i++) {
		devices[i] = (struct device){.id = (char *)places[i].id, .healthy = places[i].healthy, .node_count = places[i].node == -1 ? 0 : places[i].node == -2 ? 2 : 1};
		devices[i].nodes[0] = max_of(places[i].node, (int64_t)0);
		devices[i].nodes[1] = 1;
	}
	return (struct resource){.name = (char *)THING, .devices = {devices, count, count}};
}

/* "1* 3": the sets of nodes, as numbers, the preferred ones with a star; "nowhere"; "no wish". */
static const char *hints_of(struct device_manager *m, const char *uid, const char *container, const char *count, char out[64]) {
	autoarena struct arena *arena = arena_new();
	autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
	struct core_v1_container *c = api_list_add(api_arena(pod), &pod->spec.containers);
	struct hint_set set = {0};
	struct quantity q;
	assert_int_equal(quantity_parse(count, strlen(count), &q), 0);
	pod->metadata.uid = uid;
	c->name = container;
	api_quantity_set(api_arena(pod), &c->resources.limits, THING, q);
	device_manager_hints(m, pod, c, NODES, arena, &set);
	snprintf(out, 64, "%s", set.len == 0 ? "no wish" : set.items[0].len == 0 ? "nowhere" : "");
	for (size_t i = 0; set.len && i < set.items[0].len; i++)
		snprintf(out + strlen(out), 64 - strlen(out), "%s%d%s", i ? " " : "", (int)set.items[0].items[i].nodes, set.items[0].items[i].preferred ? "*" : "");
	return out;
}

static void check(const struct place *places, size_t len, struct holding *holding, const char *uid, const char *container, const char *count, const char *expected) {
	struct device devices[8];
	char said[64];
	struct resource resource = resource_of(places, len, devices);
	struct holding *holdings[] = {holding};
	struct device_manager m = {.resources = MAP_INIT(NULL), .holdings = holdings, .holding_count = holding != NULL, .lock = PTHREAD_MUTEX_INITIALIZER};
	map_set(&m.resources, THING, &resource);
	assert_string_equal(hints_of(&m, uid, container, count, said), expected);
	map_done(&m.resources);
}

#define CHECK(places, ...) check(places, array_len(places), __VA_ARGS__)

static void test_as_few_nodes_as_can_be(void **state) {
	static const struct place places[] = {{"a", true, 0}, {"b", true, 0}, {"c", true, 1}};
	CHECK(places, NULL, "u", "x", "1", "1* 2* 3");
	CHECK(places, NULL, "u", "x", "2", "1* 3");
	CHECK(places, NULL, "u", "x", "3", "3*");
	CHECK(places, NULL, "u", "x", "4", "nowhere");
	CHECK(places, NULL, "u", "x", "0", "no wish");
}

static void test_what_is_not_to_be_had_does_not_count(void **state) {
	/* What would do on an idle machine says what is preferred: two that are broken or taken make one node too small, but not the wish for one less. */
	static const struct place broken[] = {{"a", true, 0}, {"b", false, 0}, {"c", true, 1}};
	CHECK(broken, NULL, "u", "x", "2", "3");
	static const struct place places[] = {{"a", true, 0}, {"b", true, 0}, {"c", true, 1}};
	char *ids[] = {(char *)"a", NULL};
	struct holding other = {(char *)"other", (char *)"x", (char *)THING, ids, 1, false, NULL};
	CHECK(places, &other, "u", "x", "1", "1* 2* 3");
	CHECK(places, &other, "u", "x", "2", "3");
	CHECK(places, &other, "u", "x", "3", "nowhere");
}

static void test_what_a_container_has_it_keeps(void **state) {
	static const struct place places[] = {{"a", true, 0}, {"b", true, 0}, {"c", true, 1}};
	char *ids[] = {(char *)"c", NULL};
	struct holding own = {(char *)"u", (char *)"x", (char *)THING, ids, 1, false, NULL};
	CHECK(places, &own, "u", "x", "1", "2* 3");
	CHECK(places, &own, "u", "x", "2", "nowhere");
	/* What its init container lends is taken first. */
	struct holding lent = {(char *)"u", (char *)"init", (char *)THING, ids, 1, true, NULL};
	CHECK(places, &lent, "u", "x", "1", "2* 3");
	CHECK(places, &lent, "u", "x", "2", "3");
}

static void test_places_that_are_not_said_or_several(void **state) {
	static const struct place nowhere[] = {{"a", true, -1}, {"b", true, -1}}, both[] = {{"a", true, -2}, {"b", true, 1}};
	CHECK(nowhere, NULL, "u", "x", "1", "no wish");
	CHECK(both, NULL, "u", "x", "1", "1* 2* 3");
	CHECK(both, NULL, "u", "x", "2", "2* 3");
	static const struct place beyond[] = {{"a", true, 7}};
	CHECK(beyond, NULL, "u", "x", "2", "nowhere");
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_few_nodes_as_can_be), cmocka_unit_test(test_what_is_not_to_be_had_does_not_count), cmocka_unit_test(test_what_a_container_has_it_keeps),
		cmocka_unit_test(test_places_that_are_not_said_or_several)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
