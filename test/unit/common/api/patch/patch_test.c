/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "common/api/patch/patch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static json_t *tree(const char *text) {
	json_error_t error;
	json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
	if (!value)
		fail_msg("%s: %s", text, error.text);
	return value;
}

static void check_equal(json_t *have, const char *want) {
	json_t *expected = tree(want);
	if (!patch_values_equal(have, expected)) {
		char *text = json_dumps(have, JSON_COMPACT | JSON_ENCODE_ANY);
		fail_msg("\nhave %s\nwant %s", text, want);
	}
	json_decref(expected);
}

struct row {
	const char *target, *patch, *want; /* want NULL: refused with `code` */
	int code;
};

static void test_json_patch(void **state) {
	static const struct row rows[] = {
		{"{\"a\":1}", "[{\"op\":\"add\",\"path\":\"/b\",\"value\":[1]}]", "{\"a\":1,\"b\":[1]}", 0},
		{"{\"b\":[1,3]}", "[{\"op\":\"add\",\"path\":\"/b/1\",\"value\":2},{\"op\":\"add\",\"path\":\"/b/-\",\"value\":4}]", "{\"b\":[1,2,3,4]}", 0},
		{"{\"b\":[1]}", "[{\"op\":\"add\",\"path\":\"/b/2\",\"value\":2}]", NULL, 422},
		{"{\"a\":{\"x/y\":1,\"m~n\":2}}", "[{\"op\":\"remove\",\"path\":\"/a/x~1y\"},{\"op\":\"replace\",\"path\":\"/a/m~0n\",\"value\":null}]", "{\"a\":{\"m~n\":null}}", 0},
		{"{\"a\":1}", "[{\"op\":\"remove\",\"path\":\"/b\"}]", NULL, 422},
		{"{\"a\":1}", "[{\"op\":\"replace\",\"path\":\"/b\",\"value\":1},{\"op\":\"copy\",\"from\":\"/none\",\"path\":\"/c\"},{\"op\":\"add\",\"path\":\"/d\"}]", "{\"a\":1,\"b\":1,\"c\":null,\"d\":null}", 0},
		{"{\"a\":[1]}", "[{\"op\":\"replace\",\"path\":\"/a/1\",\"value\":1}]", NULL, 422},
		{"{\"a\":[1]}", "[{\"op\":\"copy\",\"from\":\"/a/1\",\"path\":\"/b\"}]", NULL, 422},
		{"{\"a\":1}", "[{\"op\":\"move\",\"from\":\"/none\",\"path\":\"/b\"}]", NULL, 422},
		{"{\"a\":1}", "null", "{\"a\":1}", 0},
		{"{}", "[5]", NULL, 400},
		{"{}", "[{\"op\":5}]", NULL, 400},
		{"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":1.0},{\"op\":\"test\",\"path\":\"/b\",\"value\":null}]", "{\"a\":1}", 0},
		{"{\"a\":1}", "[{\"op\":\"test\",\"path\":\"/a\",\"value\":2}]", NULL, 422},
		{"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a/b\",\"path\":\"/c\"},{\"op\":\"copy\",\"from\":\"/c\",\"path\":\"/a/d\"}]", "{\"a\":{\"d\":1},\"c\":1}", 0},
		{"{\"a\":{\"b\":1}}", "[{\"op\":\"move\",\"from\":\"/a\",\"path\":\"/a/b\"}]", NULL, 422},
		{"{}", "{\"op\":\"add\"}", NULL, 400},
		{"{}", "[{\"op\":\"nothing\",\"path\":\"/a\"}]", NULL, 422},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		json_t *target = tree(rows[i].target), *patch = tree(rows[i].patch), *ret = NULL;
		int r = patch_json(target, patch, &ret, &err);
		if (rows[i].want) {
			assert_int_equal(r, 0);
			check_equal(ret, rows[i].want);
		} else {
			assert_true(r < 0);
			assert_int_equal(err.http_code, rows[i].code);
		}
		check_equal(target, rows[i].target);
		json_decref(ret);
		json_decref(target);
		json_decref(patch);
	}
}

static void test_merge_patch(void **state) {
	static const struct row rows[] = {
		{"{\"a\":\"b\",\"c\":{\"d\":1,\"e\":2}}", "{\"a\":null,\"c\":{\"e\":null,\"f\":{\"g\":null,\"h\":1}}}", "{\"c\":{\"d\":1,\"f\":{\"h\":1}}}", 0},
		{"{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}", 0},
		{"{\"a\":1}", "[1]", NULL, 400},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		json_t *target = tree(rows[i].target), *patch = tree(rows[i].patch), *ret = NULL;
		int r = patch_merge(target, patch, &ret, &err);
		if (rows[i].want)
			check_equal(ret, rows[i].want);
		else
			assert_true(r < 0 && err.http_code == rows[i].code);
		json_decref(ret);
		json_decref(target);
		json_decref(patch);
	}
}

static const struct row strategic_rows[] = {
	/* Keyed merge, order of the patch first for new ones. */
	{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"1\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"2\"}]}}",
	 "{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\",\"image\":\"2\"}]}}", 0},
	{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"b\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}", 0},
	{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"a\",\"$patch\":\"delete\"}]}}",
	 "{\"spec\":{\"containers\":[{\"name\":\"b\"}]}}", 0},
	{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}", "{\"spec\":{\"containers\":[{\"$patch\":\"replace\"},{\"name\":\"c\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"c\"}]}}", 0},
	{"{\"spec\":{\"nodeSelector\":{\"a\":\"1\",\"b\":\"2\"}}}", "{\"spec\":{\"nodeSelector\":{\"$patch\":\"replace\",\"c\":\"3\"}}}", "{\"spec\":{\"nodeSelector\":{\"c\":\"3\"}}}", 0},
	{"{\"metadata\":{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}}", "{\"metadata\":{\"labels\":{\"a\":null,\"c\":\"3\",\"d\":null}}}", "{\"metadata\":{\"labels\":{\"b\":\"2\",\"c\":\"3\"}}}", 0},
	/* Sets of scalars. */
	{"{\"metadata\":{\"finalizers\":[\"x\",\"y\"]}}", "{\"metadata\":{\"finalizers\":[\"z\"]}}", "{\"metadata\":{\"finalizers\":[\"z\",\"x\",\"y\"]}}", 0},
	{"{\"metadata\":{\"finalizers\":[\"x\",\"y\"]}}", "{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[\"x\"]}}", "{\"metadata\":{\"finalizers\":[\"y\"]}}", 0},
	/* Atomic lists. */
	{"{\"spec\":{\"tolerations\":[{\"key\":\"a\"}]}}", "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}", "{\"spec\":{\"tolerations\":[{\"key\":\"b\"}]}}", 0},
	/* Order. */
	{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]}}",
	 "{\"spec\":{\"$setElementOrder/containers\":[{\"name\":\"c\"},{\"name\":\"a\"}],\"containers\":[{\"name\":\"c\",\"image\":\"2\"}]}}",
	 "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"c\",\"image\":\"2\"},{\"name\":\"a\"}]}}", 0},
	/* Volumes retain only the keys named. */
	{"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}",
	 "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"$retainKeys\":[\"name\",\"hostPath\"],\"hostPath\":{\"path\":\"/x\"}}]}}",
	 "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/x\"}}]}}", 0},
	{"{\"spec\":{\"volumes\":[]}}", "{\"spec\":{\"volumes\":[{\"emptyDir\":{}}]}}", NULL, 500},
	{"{\"spec\":{\"containers\":[{\"name\":\"a\"}]}}", "{\"spec\":{\"$patch\":\"what\"}}", NULL, 500},
};

static void test_strategic(void **state) {
	for (size_t i = 0; i < array_len(strategic_rows); i++) {
		const struct row *row = &strategic_rows[i];
		autoerror struct error err = {0};
		json_t *target = tree(row->target), *patch = tree(row->patch), *ret = NULL;
		int r = patch_strategic(&core_v1_pod_type, target, patch, &ret, &err);
		if (row->want) {
			if (r < 0)
				fail_msg("row %zu: %s", i, error_message(&err));
			check_equal(ret, row->want);
		} else if (r >= 0 || err.http_code != row->code) {
			fail_msg("row %zu: not refused with %d", i, row->code);
		}
		check_equal(target, row->target);
		json_decref(ret);
		json_decref(target);
		json_decref(patch);
	}
}

/* The patch of a difference brings about that difference. */
static void test_diff(void **state) {
	static const char *const pairs[][2] = {
		{"{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"b\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"2\"},{\"name\":\"c\"}]}}"},
		{"{\"metadata\":{\"finalizers\":[\"a\",\"b\"],\"labels\":{\"x\":\"1\"}}}", "{\"metadata\":{\"finalizers\":[\"b\",\"c\"],\"labels\":{\"y\":\"1\"}}}"},
		{"{\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]}}", "{\"spec\":{\"volumes\":[{\"name\":\"v\",\"hostPath\":{\"path\":\"/\"}}]}}"},
		{"{\"spec\":{\"containers\":[{\"name\":\"a\"},{\"name\":\"b\"}]}}", "{\"spec\":{\"containers\":[{\"name\":\"b\"},{\"name\":\"a\"}]}}"},
	};
	for (size_t i = 0; i < array_len(pairs); i++) {
		json_t *from = tree(pairs[i][0]), *to = tree(pairs[i][1]), *patch, *ret;
		assert_int_equal(patch_strategic_diff(&core_v1_pod_type, from, to, &patch, NULL), 0);
		assert_int_equal(patch_strategic(&core_v1_pod_type, from, patch, &ret, NULL), 0);
		check_equal(ret, pairs[i][1]);
		json_decref(patch);
		json_decref(ret);
		assert_int_equal(patch_merge_diff(from, to, &patch, NULL), 0);
		assert_int_equal(patch_merge(from, patch, &ret, NULL), 0);
		check_equal(ret, pairs[i][1]);
		json_decref(patch);
		json_decref(ret);
		json_decref(from);
		json_decref(to);
	}
}

static void test_three_way(void **state) {
	json_t *original = tree("{\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\"},{\"name\":\"old\"}]}}}}");
	json_t *modified = tree("{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"2\"}]}}}}");
	json_t *current = tree("{\"spec\":{\"replicas\":5,\"paused\":true,\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"1\",\"tty\":true},{\"name\":\"old\"},{\"name\":"
			       "\"injected\"}]}}}}");
	json_t *patch, *ret;
	assert_int_equal(patch_strategic_three_way(&apps_v1_deployment_type, original, modified, current, &patch, NULL), 0);
	assert_int_equal(patch_strategic(&apps_v1_deployment_type, current, patch, &ret, NULL), 0);
	check_equal(ret, "{\"spec\":{\"paused\":true,\"template\":{\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"2\",\"tty\":true},{\"name\":\"injected\"}]}}}}");
	json_decref(patch);
	json_decref(ret);
	json_decref(original);
	json_decref(modified);
	json_decref(current);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_patch), cmocka_unit_test(test_merge_patch), cmocka_unit_test(test_strategic),
		cmocka_unit_test(test_diff), cmocka_unit_test(test_three_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
