/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pki.h"

#include "common/base/file.h"
#include "common/client/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct counts {
	int kept, created, renewed;
};

static void count(const char *path, enum pki_state state, void *arg)
{
	struct counts *counts = arg;
	*(state == PKI_KEPT ? &counts->kept : (state == PKI_CREATED ? &counts->created : &counts->renewed)) += 1;
}

static struct counts make(const char *dir, const char *node_ip)
{
	struct counts counts = {0};
	char node[] = "n1", *nodes[] = {node};
	char *ips[] = {(char *)node_ip};
	struct pki_options options = {.dir = dir, .kubeconfig_dir = dir, .server = "https://127.0.0.1:6443", .cluster_domain = "cluster.local", .nodes = {nodes, 1}, .node_ips = {ips, 1}};
	autoerror struct error err = {0};
	if (pki_init(&options, count, &counts, &err))
		fail_msg("%s", err.message);
	return counts;
}

static void nothing(const struct pki_status *status, void *arg)
{
	*(int *)arg += 1;
}

static void test_making_twice_keeps_all(void **state)
{
	char dir[] = "/tmp/pki-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	struct counts first = make(dir, "10.0.0.1"), second = make(dir, "10.0.0.1");
	assert_int_equal(first.kept, 0);
	assert_int_equal(second.created + second.renewed, 0);
	assert_int_equal(first.created, second.kept);
	/* Another address of the node: only what names it is made anew. */
	struct counts third = make(dir, "10.0.0.2");
	assert_int_equal(third.renewed, 3);
	int seen = 0;
	assert_int_equal(pki_check(dir, dir, nothing, &seen, NULL), 0);
	assert_true(seen >= 15);
	autofree char *key = path_join(dir, "ca.key", NULL), *admin = path_join(dir, "admin.kubeconfig", NULL), *crt = path_join(dir, "ca.crt", NULL);
	struct stat st;
	assert_int_equal(stat(key, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	struct client_config config;
	assert_int_equal(client_config_load(admin, NULL, &config, NULL), 0);
	assert_string_equal(config.servers.items[0], "https://127.0.0.1:6443");
	assert_non_null(config.key_pem);
	client_config_done(&config);
	/* A lost authority takes all it signed with it. */
	assert_int_equal(unlink(crt), 0);
	assert_int_equal(pki_check(dir, dir, nothing, &seen, NULL), -EINVAL);
	assert_true(make(dir, "10.0.0.2").renewed >= 8);
	assert_int_equal(pki_check(dir, dir, nothing, &seen, NULL), 0);
	file_remove_all(dir, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_making_twice_keeps_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
