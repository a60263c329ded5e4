/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/pulled.h"

#include "common/base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define NAME "registry.test/team/app:v1"
#define REPOSITORY "registry.test/team/app"
#define ID "sha256:1111"
#define MINE "{\"kubernetesSecrets\":[{\"uid\":\"u1\",\"namespace\":\"a\",\"name\":\"mine\",\"credentialHash\":\"h1\"}]}"
#define MINE_CHANGED "{\"kubernetesSecrets\":[{\"uid\":\"u1\",\"namespace\":\"a\",\"name\":\"mine\",\"credentialHash\":\"h2\"}]}"
#define ALIKE "{\"kubernetesSecrets\":[{\"uid\":\"u2\",\"namespace\":\"b\",\"name\":\"alike\",\"credentialHash\":\"h1\"}]}"
#define OTHER "{\"kubernetesSecrets\":[{\"uid\":\"u3\",\"namespace\":\"a\",\"name\":\"mine\",\"credentialHash\":\"h3\"}]}"
#define ACCOUNT "{\"kubernetesServiceAccounts\":[{\"namespace\":\"a\",\"name\":\"builder\"}]}"
#define OTHER_ACCOUNT "{\"kubernetesServiceAccounts\":[{\"namespace\":\"b\",\"name\":\"builder\"}]}"

static struct kubelet kubelet;

static bool allows_in(const char *repository, const char *brings) {
	json_t *with = json_loads(brings, 0, NULL);
	bool allowed = pulled_allows(&kubelet, NAME, repository, ID, with);
	json_decref(with);
	return allowed;
}

static bool allows(const char *brings) {
	return allows_in(REPOSITORY, brings);
}

static void pull(const char *id, const char *used) {
	json_t *with = json_loads(used, 0, NULL);
	assert_int_equal(pulled_intend(&kubelet, NAME, NULL), 0);
	pulled_end(&kubelet, NAME, REPOSITORY, id, with);
	json_decref(with);
}

static int begin(void **state) {
	char path[] = "/tmp/pulled-test-XXXXXX";
	kubelet.options.root_dir = xstrdup(mkdtemp(path));
	kubelet.options.image_credentials_policy = (char *)"NeverVerifyPreloadedImages";
	kubelet.options.preloaded_images = (struct flag_list){0};
	return 0;
}

static int end(void **state) {
	file_remove_all(kubelet.options.root_dir, NULL);
	free(kubelet.options.root_dir);
	return 0;
}

static void test_secrets(void **state) {
	assert_true(allows("{}")); /* loaded, by whomever */
	pull(ID, MINE);
	assert_true(allows(MINE));
	assert_true(allows(ALIKE));
	assert_true(allows(MINE_CHANGED));
	assert_false(allows(OTHER)); /* of the same name, but not the same */
	assert_false(allows("{}"));
	assert_false(allows(ACCOUNT));
	assert_false(allows_in("registry.test/others/app", MINE));
	pull(ID, ACCOUNT);
	assert_true(allows(ACCOUNT));
	assert_false(allows(OTHER_ACCOUNT));
	assert_true(allows(MINE));
	pull(ID, "{}"); /* it needs none at all */
	assert_true(allows("{}") && allows(OTHER));
	pull(ID, OTHER);
	assert_true(allows("{}"));
}

static void test_pulls_that_came_to_nothing(void **state) {
	assert_int_equal(pulled_intend(&kubelet, NAME, NULL), 0);
	assert_false(allows(MINE)); /* if it is here now, then by that pull */
	pulled_end(&kubelet, NAME, REPOSITORY, NULL, NULL);
	assert_true(allows(MINE));
	pull(ID, MINE);
	autofree char *folder = path_join(kubelet.options.root_dir, "image_manager/pulled", NULL);
	DIR *dir = opendir(folder);
	for (struct dirent *e; (e = readdir(dir));)
		if (*e->d_name != '.')
			assert_int_equal(file_write(dirfd(dir), e->d_name, "{", 1, 0600, NULL), 0);
	closedir(dir);
	assert_false(allows(MINE)); /* damaged: nobody is known */
	pull(ID, MINE);
	assert_true(allows(MINE));
}

static void test_policies(void **state) {
	char *listed[] = {(char *)"registry.test/team/*", (char *)"registry.test/app"};
	kubelet.options.image_credentials_policy = (char *)"AlwaysVerify";
	assert_false(allows(MINE));
	kubelet.options.image_credentials_policy = (char *)"NeverVerifyAllowlistedImages";
	assert_false(allows(MINE));
	kubelet.options.preloaded_images = (struct flag_list){.items = listed, .len = 2};
	assert_true(allows("{}"));
	json_t *nothing = json_object();
	assert_true(pulled_allows(&kubelet, "registry.test/app@sha256:22", "registry.test/app", ID, nothing));
	assert_false(pulled_allows(&kubelet, "registry.test/teams/app:v1", "registry.test/teams/app", ID, nothing));
	json_decref(nothing);
	pull(ID, MINE);
	assert_false(allows("{}"));
	kubelet.options.image_credentials_policy = (char *)"NeverVerify";
	assert_true(allows("{}"));
	assert_true(pulled_policy_is_known("AlwaysVerify") && !pulled_policy_is_known("Sometimes"));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_secrets, begin, end), cmocka_unit_test_setup_teardown(test_pulls_that_came_to_nothing, begin, end), cmocka_unit_test_setup_teardown(test_policies, begin, end)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
