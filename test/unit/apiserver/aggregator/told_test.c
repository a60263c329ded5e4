/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/aggregator/told.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void equals(char *text, const char *expected) {
	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void groups(void **state) {
	static const char json[] = "{\"items\":[{\"metadata\":{\"name\":\"other\"},\"versions\":[{\"version\":\"v1\",\"resources\":[]}]},"
		"{\"metadata\":{\"name\":\"g\"},\"versions\":[{\"version\":\"v2\"},{\"version\":\"v1\",\"resources\":[{\"resource\":\"a\",\"subresources\":[{\"subresource\":\"s\"}]}]}]}]}";
	equals(told_resources_of_groups(json, strlen(json), "g", "v1"),
		"[{\"resource\":\"a\",\"subresources\":[{\"subresource\":\"s\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"\"}}],\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"\"}}]");
	equals(told_resources_of_groups(json, strlen(json), "g", "v2"), "[]");
	assert_null(told_resources_of_groups(json, strlen(json), "g", "v3"));
	assert_null(told_resources_of_groups(json, strlen(json) - 1, "g", "v1"));
}

static void versions(void **state) {
	static const char json[] = "{\"kind\":\"APIResourceList\",\"resources\":[{\"name\":\"as\",\"singularName\":\"a\",\"namespaced\":true,\"kind\":\"A\",\"verbs\":[\"get\"],\"shortNames\":[\"x\"]},"
		"{\"name\":\"as/scale\",\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\",\"verbs\":[\"get\"]},{\"name\":\"lost/status\",\"kind\":\"L\",\"verbs\":[]}]}";
	equals(told_resources_of_version(json, strlen(json)),
		"[{\"resource\":\"as\",\"scope\":\"Namespaced\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"A\"},\"singularResource\":\"a\",\"verbs\":[\"get\"],\"shortNames\":[\"x\"],"
		"\"subresources\":[{\"subresource\":\"scale\",\"responseKind\":{\"group\":\"autoscaling\",\"version\":\"v1\",\"kind\":\"Scale\"},\"verbs\":[\"get\"]}]},"
		"{\"resource\":\"lost\",\"scope\":\"Cluster\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"\"},\"verbs\":[],\"singularResource\":\"\","
		"\"subresources\":[{\"subresource\":\"status\",\"responseKind\":{\"group\":\"\",\"version\":\"\",\"kind\":\"L\"},\"verbs\":[]}]}]");
	assert_null(told_resources_of_version("{\"kind\":\"Status\",\"resources\":[]}", 31));
	assert_null(told_resources_of_version("", 0));
}

static void documents(void **state) {
	static const char json[] = "{\"paths\":{\"apis/g/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/g/v1?hash=1\"},\"apis/g\":{\"serverRelativeURL\":\"https://elsewhere/\"},\"apis/h/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/h/v1\"}}}";
	struct map found = MAP_INIT(free);
	told_documents(json, strlen(json), "g", "v1", &found);
	assert_int_equal(found.len, 1);
	assert_string_equal(map_get(&found, "apis/g/v1"), "/openapi/v3/apis/g/v1?hash=1");
	map_done(&found);
}

static void swagger(void **state) {
	static const char json[] = "{\"paths\":{\"/apis/g/v1/as\":{\"$ref\":\"#/definitions/A\"},\"/apis/g/v10/bs\":{\"$ref\":\"#/definitions/X\"}},"
		"\"definitions\":{\"A\":{\"items\":{\"$ref\":\"#/definitions/B\"}},\"B\":{\"$ref\":\"#/definitions/A\"},\"X\":{},\"L\":{\"x-kubernetes-group-version-kind\":[{\"group\":\"g\",\"version\":\"v1\",\"kind\":\"L\"}]}}}";
	equals(told_swagger(json, strlen(json), "g", "v1"),
		"{\"definitions\":{\"A\":{\"items\":{\"$ref\":\"#/definitions/B\"}},\"B\":{\"$ref\":\"#/definitions/A\"},\"L\":{\"x-kubernetes-group-version-kind\":[{\"group\":\"g\",\"kind\":\"L\",\"version\":\"v1\"}]}},"
		"\"paths\":{\"/apis/g/v1/as\":{\"$ref\":\"#/definitions/A\"}}}");
	assert_null(told_swagger(json, strlen(json), "none", "v1"));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(groups), cmocka_unit_test(versions), cmocka_unit_test(documents), cmocka_unit_test(swagger)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
