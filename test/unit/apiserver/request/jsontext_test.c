/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/request/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char json[] = "{ \"kind\":\"Pod\", \"spec\" : {\"x\":[{\"nodeName\":\"no\"},\"}\\\"\"],\"nodeName\":\"n1\" , \"hostNetwork\":true},"
			   "\"status\":{\"phase\":\"Run\\u006eing\",\"podIP\":null,\"empty\":{}},\"spe\":1,\"replicas\":12 }";

static const struct {
	const char *path, *value; /* NULL: absent */
} rows[] = {
	{"kind", "Pod"},
	{"spec.nodeName", "n1"},
	{"spec.hostNetwork", "true"},
	{"spec.nodeNam", NULL},
	{"spec.nodeName.x", NULL},
	{"status.phase", "Running"},
	{"status.podIP", NULL},
	{"status.empty", "{}"},
	{"status.empty.x", NULL},
	{"spe", "1"},
	{"spe.x", NULL},
	{"replicas", "12"},
	{"none.at.all", NULL},
};

/* One by one and all together give the same. */
static void test_find(void **state)
{
	autoarena struct arena *arena = arena_new();
	const char *paths[array_len(rows)];
	struct json_text found[array_len(rows)];

	for (size_t i = 0; i < array_len(rows); i++)
		paths[i] = rows[i].path;
	json_text_find_all(json, sizeof(json) - 1, paths, array_len(rows), found);
	for (size_t i = 0; i < array_len(rows); i++) {
		const char *one = json_text_string(arena, json, sizeof(json) - 1, rows[i].path), *all = json_text_value(arena, found[i].data, found[i].len);
		assert_int_equal(one != NULL, rows[i].value != NULL);
		assert_int_equal(all != NULL, rows[i].value != NULL);
		if (!one)
			continue;
		assert_string_equal(one, rows[i].value);
		assert_string_equal(all, rows[i].value);
	}
	/* A byte that begins nothing: it ends. */
	static const char odd[] = "{\"a\":{\0\1x},\"kind\":\"Pod\"}";
	assert_string_equal(json_text_string(arena, odd, sizeof(odd) - 1, "kind"), "Pod");
	static const char zero_in_key[] = "{\"kind\0and more of it than any path is long\":1}";
	json_text_find_all(zero_in_key, sizeof(zero_in_key) - 1, paths, array_len(rows), found);
	assert_null(found[0].data);
	/* Cut anywhere: no read past the end. */
	for (size_t len = 0; len < sizeof(json) - 1; len++) {
		autofree char *cut = len ? xmemdup(json, len) : xmalloc(1);
		json_text_find_all(cut, len, paths, array_len(rows), found);
		for (size_t i = 0; i < array_len(rows); i++) {
			json_text_value(arena, found[i].data, found[i].len);
			json_text_string(arena, cut, len, rows[i].path);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
