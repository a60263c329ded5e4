/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/source/source.h"

#include "common/base/map.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void unref(void *object) {
	api_unref(object);
}

/* %s: metadata, volumes, name of the container, more of the spec. */
static int decode(const char *metadata, const char *volume, const char *container, const char *more) {
	struct kubelet kubelet = {.node_name = (char *)"node"};
	struct map pods = MAP_INIT(unref);
	autoerror struct error err = {0};
	autofree char *text = xprintf("apiVersion: v1\nkind: Pod\nmetadata: {%s}\nspec: {volumes: [{name: '%s', emptyDir: {}}], containers: [{name: '%s', image: a}]%s}\n", metadata, volume, container, more);
	int r = source_decode(&kubelet, text, strlen(text), "/manifests/a", "file", &pods, &err);
	assert_int_equal(pods.len, r == 0 ? 1 : 0);
	map_done(&pods);
	return r;
}

static void test_names_lead_nowhere_else(void **state) {
	assert_int_equal(decode("name: a.b, namespace: kube-system", "v", "c", ", initContainers: [{name: i, image: a}]"), 0);
	assert_int_equal(decode("name: a, uid: 5a0cbb66-5d0a-4b3e-9d52-0d1d6a6f3c11", "v", "c", ""), 0);
	static const char *const metadata[] = {"name: ../../etc", "name: a, namespace: ..", "name: a, namespace: a/b", "name: a, uid: ../../../etc", "name: a, uid: /etc", "name: a, uid: ..", "name: a, uid: 'a b'"};
	for (size_t i = 0; i < array_len(metadata); i++)
		assert_int_equal(decode(metadata[i], "v", "c", ""), -EINVAL);
	static const char *const names[] = {"..", ".", "", "../x", "a/b", "a\tb", "UPPER"};
	for (size_t i = 0; i < array_len(names); i++) {
		autofree char *init = xprintf(", initContainers: [{name: '%s', image: a}]", names[i]), *debug = xprintf(", ephemeralContainers: [{name: '%s', image: a}]", names[i]);
		assert_int_equal(decode("name: a", names[i], "c", ""), -EINVAL);
		assert_int_equal(decode("name: a", "v", names[i], ""), -EINVAL);
		assert_int_equal(decode("name: a", "v", "c", init), -EINVAL);
		assert_int_equal(decode("name: a", "v", "c", debug), -EINVAL);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_names_lead_nowhere_else)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
