/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "common/client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char two_contexts[] = "apiVersion: v1\nkind: Config\ncurrent-context: one\n"
	"clusters:\n- name: c1\n  cluster:\n    server: https://a:6443\n    certificate-authority-data: Q0E=\n"
	"- {name: c2, cluster: {server: 'https://b,https://c', insecure-skip-tls-verify: true, tls-server-name: kubernetes}}\n"
	"users:\n- name: u1\n  user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ}\n- name: u2\n  user: {token: 12345}\n- name: u3\n  user: {tokenFile: tok, username: n, password: p}\n"
	"contexts:\n- name: one\n  context: {cluster: c1, user: u1, namespace: ns1}\n- name: two\n  context: {cluster: c2, user: u2}\n- name: three\n  context: {cluster: c1, user: u3}\n- name: bad\n  context: {cluster: none, user: u2}\n";

static int parse(const char *context, struct client_config *config, struct error *err)
{
	struct client_config_choice choice = {.context = context};
	return client_config_parse(two_contexts, sizeof(two_contexts) - 1, "/dir", &choice, config, err);
}

static void test_inline_data(void **state)
{
	struct client_config c;
	assert_int_equal(parse(NULL, &c, NULL), 0);
	assert_int_equal(c.servers.len, 1);
	assert_string_equal(c.servers.items[0], "https://a:6443");
	assert_string_equal(c.ca_pem, "CA");
	assert_string_equal(c.cert_pem, "CERT");
	assert_string_equal(c.key_pem, "KEY");
	assert_string_equal(c.default_namespace, "ns1");
	client_config_done(&c);
}

static void test_contexts_and_several_servers(void **state)
{
	struct client_config c;
	assert_int_equal(parse("two", &c, NULL), 0);
	assert_int_equal(c.servers.len, 2);
	assert_string_equal(c.servers.items[1], "https://c");
	assert_string_equal(c.token, "12345");
	assert_true(c.insecure_skip_verify);
	assert_string_equal(c.tls_server_name, "kubernetes");
	assert_null(c.default_namespace);
	client_config_done(&c);
}

static void test_files_are_relative_to_the_kubeconfig(void **state)
{
	struct client_config c;
	assert_int_equal(parse("three", &c, NULL), 0);
	assert_string_equal(c.token_file, "/dir/tok");
	assert_string_equal(c.username, "n");
	client_config_done(&c);
}

static void expect_failure(const char *context, const char *text)
{
	struct client_config c;
	autoerror struct error err = {0};
	assert_true(parse(context, &c, &err) < 0);
	assert_non_null(strstr(err.message, text));
}

static void test_what_is_missing_is_named(void **state)
{
	expect_failure("none", "context \"none\" does not exist");
	expect_failure("bad", "cluster \"none\" does not exist");
}

static void test_files_and_merging(void **state)
{
	char dir[] = "/tmp/kubeconfig-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	autofree char *a = path_join(dir, "a", NULL), *b = path_join(dir, "b", NULL), *ca = path_join(dir, "ca.pem", NULL);
	static const char first[] = "clusters:\n- name: c\n  cluster: {server: 'https://x', certificate-authority: ca.pem}\ncurrent-context: k\n";
	static const char second[] = "clusters:\n- name: c\n  cluster: {server: 'https://hidden'}\ncontexts:\n- name: k\n  context: {cluster: c}\n";
	assert_int_equal(file_write(AT_FDCWD, a, first, sizeof(first) - 1, 0600, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, b, second, sizeof(second) - 1, 0600, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, ca, "PEM", 3, 0600, NULL), 0);
	autofree char *list = xprintf("%s:/nonexistent:%s", a, b);
	setenv("KUBECONFIG", list, 1);
	struct client_config c;
	autoerror struct error err = {0};
	assert_int_equal(client_config_load(NULL, NULL, &c, &err), 0);
	assert_string_equal(c.servers.items[0], "https://x");
	assert_string_equal(c.ca_pem, "PEM");
	client_config_done(&c);
	assert_int_equal(client_config_load("/nonexistent/kubeconfig", NULL, &c, NULL), -ENOENT);
	unsetenv("KUBECONFIG");
	file_remove_all(dir, NULL);
}

static void test_bad_yaml(void **state)
{
	struct client_config c;
	static const char *const bad[] = {"a: [", "- 1", "\t", "a: &x [*x]", "clusters: [{name: c, cluster: {server: 's', certificate-authority-data: '!'}}]\ncontexts: [{name: k, context: {cluster: c}}]\ncurrent-context: k"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_true(client_config_parse(bad[i], strlen(bad[i]), NULL, NULL, &c, NULL) < 0);
}

static int parse_user(const char *user, struct client_config *config, struct error *err)
{
	autofree char *text = xprintf("clusters: [{name: c, cluster: {server: 's'}}]\ncontexts: [{name: k, context: {cluster: c, user: u}}]\ncurrent-context: k\nusers: [{name: u, user: {%s}}]\n", user);
	return client_config_parse(text, strlen(text), NULL, NULL, config, err);
}

static void test_whom_requests_speak_for(void **state)
{
	struct client_config c;
	assert_int_equal(parse_user("as: anna, as-uid: '7', as-groups: [a, b c], as-user-extra: {\"x/y z\": [one, two]}", &c, NULL), 0);
	static const char *const lines[] = {"Impersonate-User: anna", "Impersonate-Uid: 7", "Impersonate-Group: a", "Impersonate-Group: b c", "Impersonate-Extra-x%2Fy%20z: one", "Impersonate-Extra-x%2Fy%20z: two"};
	assert_int_equal(c.impersonate.len, array_len(lines));
	for (size_t i = 0; i < array_len(lines); i++)
		assert_string_equal(c.impersonate.items[i], lines[i]);
	/* One user, any number of groups; what is said anew takes the place of what was. */
	assert_int_equal(client_config_impersonate(&c, "User", "bert", NULL), 0);
	client_config_impersonate_no(&c, "Group");
	client_config_impersonate_no(&c, "Extra-");
	assert_int_equal(c.impersonate.len, 2);
	assert_string_equal(c.impersonate.items[0], "Impersonate-Uid: 7");
	assert_string_equal(c.impersonate.items[1], "Impersonate-User: bert");
	/* Nothing that would begin a header of its own. */
	assert_int_equal(client_config_impersonate(&c, "Group", "a\r\nAuthorization: x", NULL), -EINVAL);
	assert_int_equal(c.impersonate.len, 2);
	client_config_done(&c);
	assert_int_equal(parse_user("as: ''", &c, NULL), 0);
	assert_int_equal(c.impersonate.len, 0);
	client_config_done(&c);
	assert_int_equal(parse_user("as: u, as-groups: [\"a\\nb\"]", &c, NULL), -EINVAL);
	assert_int_equal(parse_user("as: u, as-groups: [{}]", &c, NULL), -EINVAL);
}

static void test_groups_of_nobody(void **state)
{
	struct client_config c;
	struct client *client = NULL;
	autoerror struct error err = {0};
	assert_int_equal(parse_user("as-groups: [a]", &c, NULL), 0);
	assert_int_equal(client_new(&c, &client, &err), -EINVAL);
	assert_non_null(strstr(err.message, "no user"));
	client_config_done(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_inline_data),
		cmocka_unit_test(test_contexts_and_several_servers),
		cmocka_unit_test(test_files_are_relative_to_the_kubeconfig),
		cmocka_unit_test(test_what_is_missing_is_named),
		cmocka_unit_test(test_files_and_merging),
		cmocka_unit_test(test_bad_yaml),
		cmocka_unit_test(test_whom_requests_speak_for),
		cmocka_unit_test(test_groups_of_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
