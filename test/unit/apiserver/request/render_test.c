/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/request/render.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char sample[] = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\\\"b\",\"labels\":{\"x\":\"}\"}},\"spec\":{\"list\":[1,{\"y\":2}],\"n\":5,\"empty\":null}}";

static void finds_values_by_path(void **state) {
	autoarena struct arena *arena = arena_new();
	assert_string_equal(json_text_string(arena, sample, sizeof(sample) - 1, "kind"), "Pod");
	assert_string_equal(json_text_string(arena, sample, sizeof(sample) - 1, "metadata.name"), "a\"b");
	assert_string_equal(json_text_string(arena, sample, sizeof(sample) - 1, "metadata.labels.x"), "}");
	assert_string_equal(json_text_string(arena, sample, sizeof(sample) - 1, "spec.n"), "5");
	assert_null(json_text_string(arena, sample, sizeof(sample) - 1, "spec.empty"));
	assert_null(json_text_string(arena, sample, sizeof(sample) - 1, "spec.none"));
	assert_null(json_text_string(arena, sample, sizeof(sample) - 1, "kind.none"));
	size_t len;
	const char *list = json_text_find(sample, sizeof(sample) - 1, "spec.list", &len);
	assert_int_equal(len, strlen("[1,{\"y\":2}]"));
	assert_memory_equal(list, "[1,{\"y\":2}]", len);
}

static void cut_text_is_not_read_past(void **state) {
	for (size_t cut = 0; cut < sizeof(sample) - 1; cut++) {
		autofree char *copy = xmemdup(sample, cut ? cut : 1);
		size_t len;
		json_text_find(copy, cut, "spec.n", &len);
	}
}

static void metadata_alone(void **state) {
	autobuf struct buf out = BUF_INIT(4096);
	const struct negotiated accept = {.media = MEDIA_JSON};
	partial_metadata(&accept, "{\"kind\":\"X\",\"metadata\":{\"name\":\"n\"},\"spec\":{}}", 46, &out);
	assert_string_equal(out.data, "{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/v1\",\"metadata\":{\"name\":\"n\"}}");
}

static void indents_as_go_does(void **state) {
	autobuf struct buf out = BUF_INIT(4096);
	json_text_pretty("{\"a\":[],\"b\":{},\"c\":[1,\"x,y\"]}", 30, &out);
	assert_string_equal(out.data, "{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    \"x,y\"\n  ]\n}");
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_values_by_path), cmocka_unit_test(cut_text_is_not_read_past),
		cmocka_unit_test(metadata_alone), cmocka_unit_test(indents_as_go_does),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
