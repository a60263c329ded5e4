/* SPDX-License-Identifier: Apache-2.0 */
/* The graph against a plain table of what was told, through thousands of random changes. */
#include "test/unit/controller-manager/fake_world.h"

#include "controller-manager/gc/gc.h"

#define OBJECTS 40
#define OWNERS 3

extern const struct controller garbage_collector_controller;

static struct reconciler r;
static struct gc *gc;
static struct discovered things = {(char *)"example.com", (char *)"v1", (char *)"things", (char *)"Thing", true, 0};

static struct {
	bool there, blocks[OWNERS];
	int owners[OWNERS], count;
} model[OBJECTS];

static int setup(void **state)
{
	fake_setup(state);
	r = fake_reconciler(&garbage_collector_controller);
	gc = r.state;
	gc->r = &r;
	memset(model, 0, sizeof(model));
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&r);
	return fake_teardown(state);
}

static void uid_of(int i, char out[16])
{
	snprintf(out, 16, "uid-%d", i);
}

static void tell(int i, const char *more)
{
	autobuf struct buf json = BUF_INIT(1 << 16);
	buf_printf(&json, "{\"uid\":\"uid-%d\",\"name\":\"o%d\",\"namespace\":\"ns%d\"%s,\"ownerReferences\":[", i, i, i % 3, more);
	for (int j = 0; j < model[i].count; j++)
		buf_printf(&json, "%s{\"apiVersion\":\"example.com/v1\",\"kind\":\"Thing\",\"name\":\"o%d\",\"uid\":\"uid-%d\",\"blockOwnerDeletion\":%s}", j ? "," : "", model[i].owners[j], model[i].owners[j], model[i].blocks[j] ? "true" : "false");
	buf_append_str(&json, "]}");
	json_t *tree = json_loads(json.data, 0, NULL);
	assert_non_null(tree);
	graph_observe(gc, &things, tree);
	json_decref(tree);
	model[i].there = true;
}

static void drop(int i)
{
	char uid[16];
	uid_of(i, uid);
	graph_forget(gc, uid);
	model[i].there = false;
}

static bool listed(const struct flag_list *list, int i)
{
	char uid[16];
	uid_of(i, uid);
	int found = 0;
	for (size_t j = 0; j < list->len; j++)
		found += str_equal(list->items[j], uid);
	assert_true(found <= 1);
	return found;
}

static bool owns(int owner, int i, bool only_blocking)
{
	for (int j = 0; model[i].there && j < model[i].count; j++)
		if (model[i].owners[j] == owner && (model[i].blocks[j] || !only_blocking))
			return true;
	return false;
}

static void check(void)
{
	for (int owner = 0; owner < OBJECTS; owner++) {
		char uid[16];
		uid_of(owner, uid);
		struct flag_list all = graph_dependents(&gc->graph, uid, false), blocking = graph_dependents(&gc->graph, uid, true);
		bool referred = false;
		for (int i = 0; i < OBJECTS; i++) {
			assert_int_equal(listed(&all, i), owns(owner, i, false));
			assert_int_equal(listed(&blocking, i), owns(owner, i, true));
			referred |= owns(owner, i, false);
		}
		struct gc_node *node = graph_copy(&gc->graph, uid);
		assert_int_equal(node != NULL, model[owner].there || referred);
		if (node) {
			assert_int_equal(node->virtual_, !model[owner].there);
			assert_int_equal(node->owner_count, model[owner].there ? model[owner].count : 0);
			assert_string_equal(str_or(node->virtual_ ? node->ref.name : node->name, ""), node->name);
		}
		gc_node_free(node);
		flag_list_done(&all);
		flag_list_done(&blocking);
	}
}

static void edges_are_what_was_told(void **state)
{
	for (int step = 0; step < 3000; step++) {
		int i = (int)fake_random(OBJECTS);
		if (model[i].there && fake_random(3) == 0) {
			drop(i);
		} else {
			model[i].count = 0;
			for (int j = (int)fake_random(OWNERS + 1); j--;) {
				int owner = (int)fake_random(OBJECTS);
				bool twice = false;
				for (int k = 0; k < model[i].count; k++)
					twice |= model[i].owners[k] == owner;
				if (twice)
					continue;
				model[i].owners[model[i].count] = owner;
				model[i].blocks[model[i].count++] = fake_random(2);
			}
			tell(i, "");
		}
		if (step % 10 == 0)
			check();
	}
	for (int i = 0; i < OBJECTS; i++)
		if (model[i].there)
			drop(i);
	assert_int_equal(gc->graph.count, 0);
	assert_int_equal(gc->graph.namespaces.len, 0);
}

static void what_a_list_no_longer_has_is_forgotten(void **state)
{
	for (int i = 0; i < 9; i++) {
		tell(i, "");
		char uid[16];
		uid_of(i, uid);
		graph_mark(gc, uid, i < 4 ? 2 : 1);
	}
	graph_forget_unlisted(gc, &things, "ns2", 2, true);
	for (int i = 0; i < 9; i++) {
		char uid[16];
		uid_of(i, uid);
		struct gc_node *node = graph_copy(&gc->graph, uid);
		assert_int_equal(node != NULL, i < 4 || i % 3 == 2);
		gc_node_free(node);
	}
}

static void deletion_shows(void **state)
{
	static const struct {
		const char *more;
		bool deleting, foreground, orphan;
	} rows[] = {
		{"", false, false, false},
		{",\"finalizers\":[\"foregroundDeletion\"]", false, false, false},
		{",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\"", true, false, false},
		{",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\",\"finalizers\":[\"foregroundDeletion\"]", true, true, false},
		{",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\",\"finalizers\":[\"orphan\"]", true, false, true},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		tell(1, rows[i].more);
		struct gc_node *node = graph_copy(&gc->graph, "uid-1");
		assert_int_equal(node->deleting, rows[i].deleting);
		assert_int_equal(node->foreground, rows[i].foreground);
		assert_int_equal(node->orphan, rows[i].orphan);
		gc_node_free(node);
	}
}

static bool is_known_absent(const char *uid)
{
	struct gc_node *node = graph_copy(&gc->graph, uid);
	bool absent = node && node->virtual_ && node->absent;
	gc_node_free(node);
	return absent;
}

/* The server need not be asked for an owner that was seen to go; for one that was only heard of, or that nobody serves any more, it must. */
static void an_owner_that_went_is_known_to_be_absent(void **state)
{
	model[1].count = 2;
	model[1].owners[0] = 2;
	model[1].owners[1] = 3;
	tell(2, "");
	tell(1, "");
	assert_false(is_known_absent("uid-2"));
	assert_false(is_known_absent("uid-3")); /* only heard of */
	graph_forget(gc, "uid-2");
	assert_true(is_known_absent("uid-2"));
	assert_false(is_known_absent("uid-3"));
	tell(3, "");
	graph_mark(gc, "uid-1", 2);
	graph_forget_unlisted(gc, &things, NULL, 2, false);
	assert_false(is_known_absent("uid-3"));
	/* Where an older answer shows it once more, what is there counts. */
	tell(2, "");
	assert_false(is_known_absent("uid-2"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(edges_are_what_was_told, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_list_no_longer_has_is_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(deletion_shows, setup, teardown),
		cmocka_unit_test_setup_teardown(an_owner_that_went_is_known_to_be_absent, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
