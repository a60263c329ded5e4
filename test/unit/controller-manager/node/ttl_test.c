/* SPDX-License-Identifier: Apache-2.0 */
#include "../fake_world.h"

extern const struct controller ttl_controller;

static size_t nodes;

static void add_nodes(size_t count)
{
	for (; nodes < count; nodes++) {
		autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n%zu\"}}", nodes);
		fake_add(json);
	}
}

static void remove_nodes(size_t count)
{
	for (; nodes > count; nodes--) {
		autoerror struct error err = {0};
		autofree char *name = xprintf("n%zu", nodes - 1);
		world_delete(&fake.world, CACHED_NODES, fake_live(CACHED_NODES, NULL, name), NULL, &err);
	}
}

static const char *seconds_of(struct reconciler *r, const char *name)
{
	autoerror struct error err = {0};
	assert_int_equal(r->controller->reconcile(r, NULL, name, &err), 0);
	const struct core_v1_node *node = fake_live(CACHED_NODES, NULL, name);
	return api_map_get(&node->metadata.annotations, "node.alpha.kubernetes.io/ttl");
}

/* Going up and down again, the numbers change at different sizes: the rows overlap. */
static void test_steps(void **state)
{
	static const struct {
		size_t count;
		const char *seconds;
	} rows[] = {{1, "0"}, {100, "0"}, {101, "15"}, {95, "15"}, {89, "0"}, {500, "15"}, {501, "30"}, {1001, "60"}, {2001, "300"}, {1801, "300"}, {1799, "60"}, {5, "0"}};
	struct reconciler r = fake_reconciler(&ttl_controller);
	nodes = 0;
	for (size_t i = 0; i < array_len(rows); i++) {
		add_nodes(rows[i].count);
		remove_nodes(rows[i].count);
		assert_string_equal(seconds_of(&r, "n0"), rows[i].seconds);
	}
	size_t writes = fake.writes;
	seconds_of(&r, "n0");
	assert_int_equal(fake.writes, writes);
	fake_reconciler_done(&r);
}

static void test_what_somebody_wrote(void **state)
{
	struct reconciler r = fake_reconciler(&ttl_controller);
	nodes = 0;
	add_nodes(1);
	fake_edit(CACHED_NODES, NULL, "n0", NULL, "{\"metadata\":{\"annotations\":{\"node.alpha.kubernetes.io/ttl\":\"soon\"}}}");
	assert_string_equal(seconds_of(&r, "n0"), "0");
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_steps, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_what_somebody_wrote, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
