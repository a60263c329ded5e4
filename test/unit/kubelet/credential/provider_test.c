/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/credential/provider.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];

static int make_dir(void **state) {
	snprintf(dir, sizeof(dir), "/tmp/credential-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state) {
	return file_remove_all(dir, NULL);
}

static void write_text(const char *name, const char *text, mode_t mode) {
	autofree char *path = path_join(dir, name, NULL);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int open_config(const char *config, struct credential_providers **ret, struct error *err) {
	write_text("config", config, 0600);
	autofree char *path = path_join(dir, "config", NULL);
	return credential_providers_new(path, dir, ret, err);
}

/* A plugin that counts how often it runs, and says what the test has written to "answer". */
static void write_plugin(void) {
	autofree char *text = xprintf("#!/bin/sh\ncat >%s/request\necho \"$1 $GIVEN\" >%s/called\necho run >>%s/runs\ncat %s/answer\n", dir, dir, dir, dir);
	write_text("plugin", text, 0755);
}

static size_t runs(void) {
	autofree char *path = path_join(dir, "runs", NULL), *text = NULL;
	size_t len = 0;
	file_read(AT_FDCWD, path, 4096, &text, &len, NULL);
	return len / 4;
}

static void expect_file(const char *name, const char *text) {
	autofree char *path = path_join(dir, name, NULL), *found = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 4096, &found, &len, NULL), 0);
	assert_string_equal(found, text);
}

static const struct credential_pod *asking; /* whom images are pulled for; NULL: nobody */

static void expect_auth(struct credential_providers *providers, const char *image, const char *registry, const char *auth) {
	json_t *auths = json_object();
	credential_providers_add(providers, image, asking, auths);
	const char *found = json_string_value(json_object_get(json_object_get(auths, registry), "auth"));
	if (auth)
		assert_string_equal(found, auth);
	else
		assert_null(found);
	json_decref(auths);
}

#define HEAD "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n"
#define ONE HEAD "- name: plugin\n  matchImages: [\"*.registry.io\", other.io:5000/team]\n  defaultCacheDuration: \"%s\"\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  args: [get]\n  env: [{name: GIVEN, value: \"by config\"}]\n"
#define ANSWER(type, more, auth) "{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"cacheKeyType\":\"" type "\"" more ",\"auth\":{" auth "}}"
#define ENTRY(registry, user, password) "\"" registry "\":{\"username\":\"" user "\",\"password\":\"" password "\"}"

static struct credential_providers *open_one(const char *duration) {
	struct credential_providers *providers;
	autofree char *config = xprintf(ONE, duration);
	autoerror struct error err = {0};
	write_plugin();
	if (open_config(config, &providers, &err) < 0)
		fail_msg("%s", error_message(&err));
	return providers;
}

static void test_patterns(void **state) {
	static const struct { const char *pattern, *image; bool matches; } rows[] = {
		{"registry.io", "registry.io/a", true},
		{"registry.io", "registry.io:80/a", false},
		{"*.io", "registry.io/a/b", true},
		{"*.io", "sub.registry.io/a", false},
		{"*.registry.*", "sub.registry.io/a", true},
		{"app*.k8s.io", "app1.k8s.io/a", true},
		{"*.k8s.io:5000/team", "x.k8s.io:5000/team/a", true},
		{"*.k8s.io:5000/team", "x.k8s.io:5000/other/a", false},
		{"https://registry.io/a", "registry.io/a/b", true},
		{"*", "localhost/a", true},
		{"", "localhost/a", false},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		if (credential_pattern_matches(rows[i].pattern, rows[i].image) != rows[i].matches)
			fail_msg("%s and %s", rows[i].pattern, rows[i].image);
}

static void test_asks_and_remembers(void **state) {
	struct credential_providers *providers = open_one("10m");
	write_text("answer", ANSWER("Registry", "", ENTRY("*.registry.io", "short", "x") "," ENTRY("a.registry.io", "user", "pass") "," ENTRY("elsewhere.io", "no", "no")), 0600);
	expect_auth(providers, "a.registry.io/one", "a.registry.io", "dXNlcjpwYXNz"); /* user:pass */
	expect_file("request", "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"image\":\"a.registry.io/one\"}");
	expect_file("called", "get by config\n");
	expect_auth(providers, "a.registry.io/two", "a.registry.io", "dXNlcjpwYXNz");
	assert_int_equal(runs(), 1);
	expect_auth(providers, "b.registry.io/one", "b.registry.io", "c2hvcnQ6eA=="); /* of another registry nothing was known */
	assert_int_equal(runs(), 2);
	expect_auth(providers, "not.asked.io/one", "not.asked.io", NULL);
	assert_int_equal(runs(), 2);
	json_t *auths = json_pack("{s:{s:s}}", "a.registry.io", "auth", "of a secret");
	credential_providers_add(providers, "a.registry.io/one", NULL, auths);
	assert_string_equal(json_string_value(json_object_get(json_object_get(auths, "a.registry.io"), "auth")), "of a secret");
	json_decref(auths);
	credential_providers_free(providers);
}

static void test_cache_kinds(void **state) {
	struct credential_providers *providers = open_one("10m");
	write_text("answer", ANSWER("Image", "", ENTRY("a.registry.io", "u", "p")), 0600);
	expect_auth(providers, "a.registry.io/one", "a.registry.io", "dTpw");
	expect_auth(providers, "a.registry.io/one", "a.registry.io", "dTpw");
	expect_auth(providers, "a.registry.io/two", "a.registry.io", "dTpw");
	assert_int_equal(runs(), 2);
	write_text("answer", ANSWER("Global", ",\"cacheDuration\":\"0s\"", ENTRY("*.registry.io", "u", "p")), 0600);
	expect_auth(providers, "b.registry.io/one", "b.registry.io", "dTpw");
	expect_auth(providers, "b.registry.io/one", "b.registry.io", "dTpw");
	assert_int_equal(runs(), 4); /* it did not want to be remembered */
	write_text("answer", ANSWER("Global", ",\"cacheDuration\":\"1h\"", ENTRY("*.registry.io", "u", "p")), 0600);
	expect_auth(providers, "b.registry.io/one", "b.registry.io", "dTpw");
	expect_auth(providers, "c.registry.io/one", "c.registry.io", "dTpw");
	assert_int_equal(runs(), 5);
	credential_providers_free(providers);
}

static void test_plugins_that_fail(void **state) {
	static const char *const answers[] = {"", "no JSON", "[]", "{}", "{\"kind\":\"CredentialProviderResponse\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v2\"}", ANSWER("Registry", "", "\"a.registry.io\":{\"username\":1}"), ANSWER("Registry", "", "\"a.registry.io\":[]")};
	struct credential_providers *providers = open_one("0s");
	for (size_t i = 0; i < array_len(answers); i++) {
		write_text("answer", answers[i], 0600);
		expect_auth(providers, "a.registry.io/one", "a.registry.io", NULL);
	}
	write_text("plugin", "#!/bin/sh\nexit 3\n", 0755);
	expect_auth(providers, "a.registry.io/one", "a.registry.io", NULL);
	credential_providers_free(providers);
}

#define TOKENS(more) HEAD "- name: plugin\n  matchImages: [a.registry.io]\n  defaultCacheDuration: 10m\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  tokenAttributes: {serviceAccountTokenAudience: registry, " more "}\n"

static const char *token;

static int read_account(const struct credential_pod *pod, struct core_v1_service_account **ret, struct error *err) {
	if (str_equal(pod->account, "absent"))
		return error_set(err, ENOENT, "not found");
	struct core_v1_service_account *account = api_new_of(core_v1_service_account);
	account->metadata = (struct meta_v1_object_meta){.namespace = "ns", .name = arena_strdup(api_arena(account), pod->account), .uid = "u"};
	api_map_set(api_arena(account), &account->metadata.annotations, "example.com/id", pod->arg);
	*ret = account;
	return 0;
}

static int get_token(const struct credential_pod *pod, const char *audience, char **ret, struct error *err) {
	assert_string_equal(audience, "registry");
	*ret = xstrdup(token);
	return 0;
}

static struct credential_providers *open_tokens(const char *config) {
	struct credential_providers *providers;
	autoerror struct error err = {0};
	write_plugin();
	if (open_config(config, &providers, &err) < 0)
		fail_msg("%s", error_message(&err));
	return providers;
}

static void test_tokens_of_accounts(void **state) {
	char id[] = "1", other_id[] = "2";
	const struct credential_pod one = {"one", read_account, get_token, id}, changed = {"one", read_account, get_token, other_id}, none = {"", read_account, get_token, id}, absent = {"absent", read_account, get_token, id};
	struct credential_providers *providers = open_tokens(TOKENS("cacheType: ServiceAccount, requireServiceAccount: true, requiredServiceAccountAnnotationKeys: [example.com/id], optionalServiceAccountAnnotationKeys: [example.com/none]"));
	write_text("answer", ANSWER("Registry", "", ENTRY("a.registry.io", "u", "p")), 0600);
	token = "secret";
	asking = &one;
	expect_auth(providers, "a.registry.io/x", "a.registry.io", "dTpw");
	expect_file("request", "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"image\":\"a.registry.io/x\",\"serviceAccountToken\":\"secret\",\"serviceAccountAnnotations\":{\"example.com/id\":\"1\"}}");
	token = "another";
	expect_auth(providers, "a.registry.io/x", "a.registry.io", "dTpw");
	assert_int_equal(runs(), 1); /* the same account, whatever the token */
	asking = &changed;
	expect_auth(providers, "a.registry.io/x", "a.registry.io", "dTpw");
	assert_int_equal(runs(), 2);
	const struct credential_pod *const silent[] = {&none, &absent, NULL};
	for (size_t i = 0; i < array_len(silent); i++) {
		asking = silent[i];
		expect_auth(providers, "a.registry.io/x", "a.registry.io", NULL);
	}
	assert_int_equal(runs(), 2);
	credential_providers_free(providers);

	/* One that wants an annotation that is not there, and one that gives the token back. */
	providers = open_tokens(TOKENS("cacheType: ServiceAccount, requireServiceAccount: true, requiredServiceAccountAnnotationKeys: [example.com/none]"));
	asking = &one;
	expect_auth(providers, "a.registry.io/x", "a.registry.io", NULL);
	assert_int_equal(runs(), 2);
	credential_providers_free(providers);
	providers = open_tokens(TOKENS("cacheType: ServiceAccount, requireServiceAccount: false"));
	token = "p";
	expect_auth(providers, "a.registry.io/x", "a.registry.io", NULL);
	asking = &none; /* asked without a token */
	expect_auth(providers, "a.registry.io/x", "a.registry.io", "dTpw");
	expect_file("request", "{\"kind\":\"CredentialProviderRequest\",\"apiVersion\":\"credentialprovider.kubelet.k8s.io/v1\",\"image\":\"a.registry.io/x\"}");
	credential_providers_free(providers);
	providers = open_tokens(TOKENS("cacheType: Token, requireServiceAccount: true"));
	asking = &one;
	expect_auth(providers, "a.registry.io/x", "a.registry.io", "dTpw");
	token = "q";
	expect_auth(providers, "a.registry.io/x", "a.registry.io", "dTpw");
	assert_int_equal(runs(), 6); /* each token by itself */
	credential_providers_free(providers);
	asking = NULL;
}

static void test_bad_configs(void **state) {
	static const char *const bad[] = {
		"", "kind: Pod", "kind: CredentialProviderConfig", HEAD "- {}",
		HEAD "- {name: ../plugin, matchImages: [a], defaultCacheDuration: 1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
		HEAD "- {name: plugin, matchImages: [], defaultCacheDuration: 1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
		HEAD "- {name: plugin, matchImages: [{}], defaultCacheDuration: 1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
		HEAD "- {name: plugin, matchImages: [a], apiVersion: credentialprovider.kubelet.k8s.io/v1}",
		HEAD "- {name: plugin, matchImages: [a], defaultCacheDuration: -1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
		HEAD "- {name: plugin, matchImages: [a], defaultCacheDuration: 1s, apiVersion: v1}",
		HEAD "- {name: absent, matchImages: [a], defaultCacheDuration: 1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
		HEAD "- &p {name: plugin, matchImages: [a], defaultCacheDuration: 1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}\n- {name: plugin, matchImages: [a], defaultCacheDuration: 1s, apiVersion: credentialprovider.kubelet.k8s.io/v1}",
	};
	write_plugin();
	static const char *const bad_tokens[] = {
		TOKENS("cacheType: Token"), TOKENS("requireServiceAccount: true"), TOKENS("cacheType: Other, requireServiceAccount: true"),
		TOKENS("cacheType: Token, requireServiceAccount: false, requiredServiceAccountAnnotationKeys: [a]"),
		TOKENS("cacheType: Token, requireServiceAccount: true, requiredServiceAccountAnnotationKeys: [a, a]"),
		TOKENS("cacheType: Token, requireServiceAccount: true, requiredServiceAccountAnnotationKeys: [a], optionalServiceAccountAnnotationKeys: [a]"),
	};
	for (size_t i = 0; i < array_len(bad_tokens); i++) {
		autoerror struct error err = {0};
		struct credential_providers *providers;
		if (open_config(bad_tokens[i], &providers, &err) == 0)
			fail_msg("taken: %s", bad_tokens[i]);
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		autoerror struct error err = {0};
		struct credential_providers *providers;
		if (open_config(bad[i], &providers, &err) == 0)
			fail_msg("taken: %s", bad[i]);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_patterns),
		cmocka_unit_test_setup_teardown(test_asks_and_remembers, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_cache_kinds, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_plugins_that_fail, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_tokens_of_accounts, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_bad_configs, make_dir, remove_dir),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
