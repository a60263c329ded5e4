/* SPDX-License-Identifier: Apache-2.0 */
/* CNI: plugins that are shell scripts, which write down what they were asked; then the real ones, in a namespace of our own. */
#include "kubelet/network/network.h"

#include "common/base/file.h"
#include "common/base/process.h"
#include "common/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];

#define assert_ok(call, err)                                           \
	do {                                                           \
		int ok_ = (call);                                      \
		if (ok_ < 0)                                           \
			fail_msg("%s: %s", #call, error_message(err)); \
	} while (0)
#define assert_has(text, part)                                            \
	do {                                                              \
		if (!strstr((text), (part)))                              \
			fail_msg("\"%s\" is not in: %s", (part), (text)); \
	} while (0)

static char *under(const char *name)
{
	return path_join(dir, name, NULL);
}

static void put(const char *name, const char *text, mode_t mode)
{
	autofree char *path = under(name);
	unlink(path);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static char *get(const char *name)
{
	autofree char *path = under(name);
	char *text = NULL;
	size_t len;
	return file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL) == 0 ? text : xstrdup("");
}

static char *run(const char *const *argv)
{
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	struct buf out = BUF_INIT(1 << 20), errout = BUF_INIT(1 << 20);
	autoerror struct error err = {0};
	if (process_run(&options, NULL, 0, &out, &errout, 10000, NULL, &err) < 0)
		fail_msg("%s", error_message(&err));
	buf_done(&errout);
	return out.len ? buf_take(&out) : xstrdup("");
}

static int set_up(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/coracle-cni-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	autofree char *conf = under("conf"), *bin = under("bin");
	assert_int_equal(mkdir(conf, 0755), 0);
	assert_int_equal(mkdir(bin, 0755), 0);
	autofree char *up = run((const char *const[]){"ip", "link", "set", "lo", "up", NULL});
	return 0;
}

static int tear_down(void **state)
{
	assert_int_equal(file_remove_all(dir, NULL), 0);
	return 0;
}

static const char *node_of_network;

static struct network *open_network(bool real, int timeout_ms)
{
	autoerror struct error err = {0};
	autofree char *conf = under("conf"), *bin = under("bin"), *cache = under("cache"), *ipam = under("ipam");
	const char *const bins[] = {bin, NULL};
	struct network_options options = {.conf_dir = conf, .bin_dirs = real ? NULL : bins, .cache_dir = cache, .ipam_dir = ipam, .bridge = "cni-unit",
		.timeout_ms = timeout_ms, .node = node_of_network};
	struct network *network;
	assert_ok(network_new(&options, &network, &err), &err);
	return network;
}

/* ---- results ---- */

static void test_results(void **state)
{
	static const struct {
		const char *json;
		int result;
		const char *ips; /* with commas */
	} rows[] = {
		{"{\"ips\":[{\"address\":\"10.1.2.3/24\"}]}", 0, "10.1.2.3"},
		{"{\"ips\":[{\"version\":\"4\",\"address\":\"10.1.2.3/24\",\"interface\":0},{\"address\":\"fd00::0:5/64\"}],\"interfaces\":[{\"name\":\"eth0\",\"sandbox\":\"/x\"}]}",
			0, "10.1.2.3,fd00::5"},
		{"{\"ips\":[{\"address\":\"10.0.0.1/24\",\"interface\":0},{\"address\":\"10.0.0.2/24\",\"interface\":1}],\"interfaces\":[{\"name\":\"br\"},{\"name\":\"eth0\",\"sandbox\":\"/x\"}]}",
			0, "10.0.0.2"},
		{"{\"ip4\":{\"ip\":\"192.168.1.2/16\"},\"ip6\":{\"ip\":\"::1/128\"}}", 0, "192.168.1.2,::1"},
		{"{}", 0, ""},
		{"{\"ips\":[{\"address\":\"nonsense\"}]}", -EINVAL, NULL},
		{"{\"ips\":[{\"address\":7}]}", -EINVAL, NULL},
		{"{\"ips\":[{}]}", -EINVAL, NULL},
		{"{\"ips\":7}", 0, ""},
		{"[]", -EINVAL, NULL},
		{"", -EINVAL, NULL},
		{"{\"ips\":[{\"address\":\"1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21:22:23:24:25:26\"}]}", -EINVAL, NULL},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct network_result result = {0};
		assert_int_equal(network_result_parse(rows[i].json, strlen(rows[i].json), &result, NULL), rows[i].result);
		autobuf struct buf text = BUF_INIT(4096);
		for (size_t n = 0; n < result.ip_count; n++)
			buf_printf(&text, "%s%s", n ? "," : "", result.ips[n]);
		if (rows[i].ips)
			assert_string_equal(str_or(text.data, ""), rows[i].ips);
		network_result_done(&result);
	}
}

/* ---- scripts ---- */

#define LOG_CALL "#!/bin/sh\ninput=$(cat)\necho \"$0 $CNI_COMMAND $CNI_CONTAINERID $CNI_NETNS $CNI_IFNAME $CNI_ARGS $input\" >> %s/calls\n"

static void write_plugin(const char *name, const char *body)
{
	autofree char *text = xprintf(LOG_CALL "%s", dir, body), *path = xprintf("bin/%s", name);
	put(path, text, 0755);
}

static void clear_conf(void)
{
	autofree char *conf = under("conf"), *calls = under("calls"), *cache = under("cache");
	file_remove_all(conf, NULL);
	file_remove_all(cache, NULL);
	unlink(calls);
	assert_int_equal(mkdir(conf, 0755), 0);
	free(run((const char *const[]){"sh", "-c", "ip link delete cni-unit 2>/dev/null || true", NULL}));
}

static void test_ready_and_choice(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	struct network *network = open_network(false, 0);
	assert_true(network_ready(network, &err) < 0);
	assert_string_equal(error_message(&err), "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
						 "message:Network plugin returns error: cni plugin not initialized");
	put("conf/20-b.conf", "{\"name\":\"old\",\"type\":\"one\",\"cniVersion\":\"0.3.1\"}", 0644);
	put("conf/10-broken.conflist", "{\"name\":", 0644);
	put("conf/05-not-ours.txt", "x", 0644);
	assert_true(network_ready(network, &err) < 0);
	assert_has(error_message(&err), "cni plugin \"one\" not found");
	write_plugin("one", "");
	assert_ok(network_ready(network, &err), &err);
	put("conf/01-evil.conflist", "{\"name\":\"x\",\"plugins\":[{\"type\":\"../../bin/sh\"}]}", 0644);
	assert_ok(network_ready(network, &err), &err); /* skipped: a type is no path */
	const char *const cidr[] = {"10.1.0.0/24"};
	assert_ok(network_set_pod_cidrs(network, cidr, 1, &err), &err);
	autofree char *own = under("conf/10-coracle.conflist");
	assert_false(file_exists(own)); /* somebody else's network stays */
	network_free(network);
}

static void test_chain(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	put("conf/10-net.conflist",
		"{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"one\",\"key\":1},{\"type\":\"portmap\",\"capabilities\":{\"portMappings\":true}},"
		"{\"type\":\"bandwidth\",\"capabilities\":{\"bandwidth\":true}},{\"type\":\"two\"}]}", 0644);
	write_plugin("one", "[ $CNI_COMMAND = ADD ] && echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.5.0.2/24\"}],\"from\":\"one\"}'; exit 0\n");
	write_plugin("portmap", "[ $CNI_COMMAND = ADD ] && echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.5.0.2/24\"}],\"from\":\"portmap\"}'; exit 0\n");
	write_plugin("two", "[ $CNI_COMMAND = ADD ] && echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.5.0.3/24\"}]}'; exit 0\n");
	struct network *network = open_network(false, 0);
	struct network_port ports[] = {{.host_port = 8080, .container_port = 80}, {.container_port = 81}, {.host_ip = "127.0.0.1", .host_port = 53, .container_port = 53, .protocol = "UDP"}};
	struct network_pod pod = {.id = "abc123", .name = "web", .namespace_ = "ns", .uid = "u", .netns = "/run/x", .ports = ports, .port_count = 3};
	struct network_result result;
	assert_ok(network_pod_add(network, &pod, &result, &err), &err);
	assert_string_equal(result.ips[0], "10.5.0.3");
	network_result_done(&result);
	autofree char *calls = get("calls");
	assert_has(calls, "/one ADD abc123 /run/x eth0 IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=abc123;K8S_POD_UID=u {");
	assert_has(calls, "\"key\":1");
	assert_has(calls, "\"runtimeConfig\":{\"portMappings\":[{\"hostPort\":8080,\"containerPort\":80,\"protocol\":\"tcp\"},{\"hostPort\":53,\"containerPort\":53,"
			  "\"protocol\":\"udp\",\"hostIP\":\"127.0.0.1\"}]}");
	assert_has(calls, "\"from\":\"portmap\"");
	assert_null(strstr(calls, "bandwidth ADD")); /* nothing for it to do: not run at all */
	assert_ok(network_pod_check(network, &pod, &err), &err);
	char **ids;
	assert_ok(network_cached_ids(network, &ids, &err), &err);
	assert_string_equal(ids[0], "abc123");
	free(ids[0]);
	free(ids);

	/* The configuration changes, the kubelet restarts: DEL still knows what ADD did. */
	clear_conf();
	network_free(network);
	autofree char *cached = under("cache");
	assert_int_equal(file_mkdir_all(cached, 0700, NULL), 0);
	network = open_network(false, 0);
	assert_ok(network_pod_del(network, &pod, &err), &err); /* the cache is gone too: nothing to do */
	network_free(network);
}

static void test_delete_after_restart(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	put("conf/10-net.conflist", "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"one\"},{\"type\":\"two\"}]}", 0644);
	struct network *network = open_network(false, 0);
	struct network_pod pod = {.id = "abc", .name = "web", .namespace_ = "ns", .netns = "/run/x"};
	struct network_result result;
	assert_ok(network_pod_add(network, &pod, &result, &err), &err);
	network_result_done(&result);
	network_free(network);
	autofree char *conf = under("conf/10-net.conflist"), *calls_path = under("calls");
	unlink(conf);
	unlink(calls_path);
	network = open_network(false, 0);
	assert_ok(network_pod_del(network, &pod, &err), &err);
	autofree char *calls = get("calls");
	char *two = strstr(calls, "/two DEL abc"), *one = strstr(calls, "/one DEL abc");
	assert_true(two && one && two < one);
	assert_has(calls, "\"prevResult\"");
	unlink(calls_path);
	assert_ok(network_pod_del(network, &pod, &err), &err);
	assert_false(file_exists(calls_path));
	network_free(network);
}

static void test_failures(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	put("conf/10-net.conflist", "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"one\"},{\"type\":\"bad\"}]}", 0644);
	write_plugin("bad", "[ $CNI_COMMAND = ADD ] || exit 0; echo '{\"code\":11,\"msg\":\"no address left\",\"details\":\"pool is empty\"}'; exit 1\n");
	struct network *network = open_network(false, 700);
	struct network_pod pod = {.id = "f1", .name = "web", .namespace_ = "ns", .netns = "/run/x"};
	struct network_result result;
	assert_true(network_pod_add(network, &pod, &result, &err) < 0);
	assert_string_equal(error_message(&err), "plugin type=\"bad\" failed: no address left: pool is empty");
	autofree char *calls = get("calls");
	assert_has(calls, "/one DEL f1"); /* taken down again */
	char **ids;
	assert_ok(network_cached_ids(network, &ids, &err), &err);
	assert_null(ids[0]);
	free(ids);
	write_plugin("bad", "[ $CNI_COMMAND = ADD ] || exit 0; sleep 31; exit 0\n");
	int64_t before = clock_monotonic_ns();
	assert_int_equal(network_pod_add(network, &pod, &result, &err), -ETIMEDOUT);
	assert_true(clock_monotonic_ns() - before < 5 * NSEC_PER_SEC);
	write_plugin("bad", "exit 0\n");
	assert_int_equal(network_pod_add(network, &pod, &result, &err), -EPROTO);
	pod.id = "../../etc/passwd";
	assert_int_equal(network_pod_add(network, &pod, &result, &err), -EINVAL);
	network_free(network);
}

/* ---- the real plugins ---- */

/* A listener in the namespace, or the host's. */
static int listener(const char *netns, int family, uint16_t port)
{
	autoerror struct error err = {0};
	int fd = netns_socket(netns, family, SOCK_STREAM, 0, &err);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	assert_true(fd >= 0);
	assert_int_equal(family == AF_INET ? bind(fd, (void *)&four, sizeof(four)) : bind(fd, (void *)&six, sizeof(six)), 0);
	assert_int_equal(listen(fd, 128), 0);
	return fd;
}

/* 0 where a connection from the namespace comes through, else the errno. */
static int reach(const char *netns, const char *ip, uint16_t port)
{
	bool v6 = strchr(ip, ':') != NULL;
	autoclose int fd = netns_socket(netns, v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0, NULL);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct timeval limit = {.tv_sec = 5};
	inet_pton(v6 ? AF_INET6 : AF_INET, ip, v6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr);
	assert_true(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	return (v6 ? connect(fd, (void *)&six, sizeof(six)) : connect(fd, (void *)&four, sizeof(four))) == 0 ? 0 : errno;
}

static struct network *open_default(const char *const *cidrs, size_t count)
{
	autoerror struct error err = {0};
	struct network *network = open_network(false, 0); /* no plugins: none are needed */
	assert_ok(network_set_pod_cidrs(network, cidrs, count, &err), &err);
	assert_ok(network_ready(network, &err), &err);
	return network;
}

/* In one network namespace each has its own tables, and takes none but those away. */
static void test_two_nodes_beside_each_other(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	const char *const cidr_a[] = {"10.77.0.0/24"}, *const cidr_b[] = {"10.77.1.0/24"};
	/* What a kubelet left that named them not yet. */
	struct network *former = open_default(cidr_a, 1);
	network_free(former);
	node_of_network = "node-a.example";
	struct network *a = open_default(cidr_a, 1);
	node_of_network = "node b"; /* no name for a table as it is */
	struct network *b = open_network(false, 0);
	node_of_network = NULL;
	assert_ok(network_set_pod_cidrs(b, cidr_b, 1, &err), &err);
	autofree char *both = run((const char *const[]){"nft", "list", "tables", NULL});
	assert_has(both, "table inet coracle-pods-node-a.example\n");
	assert_has(both, "table inet coracle-pods-node-b\n");
	assert_null(strstr(both, "table inet coracle-pods\n"));
	assert_ok(network_clean(b, &err), &err);
	autofree char *one = run((const char *const[]){"nft", "list", "ruleset", NULL});
	assert_has(one, "ip saddr 10.77.0.0/24");
	assert_null(strstr(one, "10.77.1.0/24"));
	assert_ok(network_clean(a, &err), &err);
	assert_ok(network_clean(a, &err), &err);
	network_free(b);
	network_free(a);
}

static void add(struct network *network, const struct network_pod *pod, const char *ips)
{
	autoerror struct error err = {0};
	struct network_result result;
	autobuf struct buf text = BUF_INIT(4096);
	assert_ok(network_pod_add(network, pod, &result, &err), &err);
	for (size_t n = 0; n < result.ip_count; n++)
		buf_printf(&text, "%s%s", n ? "," : "", result.ips[n]);
	assert_string_equal(text.data, ips);
	network_result_done(&result);
	assert_ok(network_pod_check(network, pod, &err), &err);
}

static void test_masquerading(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	const char *const cidrs[] = {"10.77.0.0/24", "fd77::/64"};
	struct network *network = open_default(cidrs, 2);
	assert_int_equal(network_set_pod_cidrs(network, (const char *const[]){"10.77.0.0"}, 1, &err), -EINVAL);
	/* Rules that stand are not written anew: another number of the table would tell. Lost ones are. */
	autofree char *first = run((const char *const[]){"nft", "-a", "list", "table", "inet", "coracle-pods", NULL});
	assert_ok(network_set_pod_cidrs(network, cidrs, 2, &err), &err);
	autofree char *second = run((const char *const[]){"nft", "-a", "list", "table", "inet", "coracle-pods", NULL});
	assert_string_equal(first, second);
	autofree char *deleted = run((const char *const[]){"nft", "delete", "table", "inet", "coracle-pods", NULL});
	assert_ok(network_set_pod_cidrs(network, cidrs, 2, &err), &err);
	autofree char *rules = run((const char *const[]){"nft", "list", "table", "inet", "coracle-pods", NULL});
	assert_has(rules, "ip saddr 10.77.0.0/24 ip daddr != @direct4 masquerade");
	assert_has(rules, "ip6 saddr fd77::/64 ip6 daddr != @direct6 masquerade");
	network_free(network);
}

/* Two pods of both families on the bridge reach the node and each other; what they leave is nothing. */
static void test_own_network(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	const char *const cidrs[] = {"10.78.0.0/24", "fd78::/64"};
	struct network *network = open_default(cidrs, 2);
	autofree char *ns1 = under("ns1"), *ns2 = under("ns2");
	assert_ok(netns_create(ns1, &err), &err);
	assert_ok(netns_create(ns2, &err), &err);
	struct network_pod one = {.id = "0123456789abcdef", .name = "one", .namespace_ = "ns", .netns = ns1}, two = {.id = "1123456789abcdef", .name = "two", .namespace_ = "ns", .netns = ns2};
	add(network, &one, "10.78.0.2,fd78::2");
	add(network, &two, "10.78.0.3,fd78::3");
	autoclose int four = listener(ns2, AF_INET, 80), six = listener(ns2, AF_INET6, 81), host = listener(NULL, AF_INET, 82);
	assert_int_equal(reach(ns1, "10.78.0.3", 80), 0);
	assert_int_equal(reach(ns1, "fd78::3", 81), 0);
	assert_int_equal(reach(NULL, "10.78.0.3", 80), 0);
	assert_int_equal(reach(NULL, "fd78::3", 81), 0);
	assert_int_equal(reach(ns1, "10.78.0.1", 82), 0);
	struct netns_interface interfaces[4];
	assert_int_equal(netns_interfaces(ns1, interfaces, 4, &err), 1);
	assert_string_equal(interfaces[0].name, "eth0");

	/* Ended without a word, begun again: what runs is known; an address that nobody is known to have is free. */
	put("ipam/coracle/10.78.0.9", "someone\r\neth0", 0600);
	put("ipam/coracle/10.78.0.10", "", 0600);
	network_free(network);
	network = open_default(cidrs, 2);
	autofree char *stale = under("ipam/coracle/10.78.0.9"), *empty = under("ipam/coracle/10.78.0.10"), *kept = under("ipam/coracle/10.78.0.2");
	assert_false(file_exists(stale) || file_exists(empty));
	assert_true(file_exists(kept));
	assert_ok(network_pod_check(network, &one, &err), &err);
	assert_ok(network_pod_del(network, &one, &err), &err);
	assert_ok(network_pod_del(network, &one, &err), &err);
	assert_int_equal(netns_interfaces(ns1, interfaces, 4, &err), 0);
	assert_false(file_exists(kept));
	assert_int_equal(reach(NULL, "10.78.0.3", 80), 0);
	/* Given up last, given last; where the namespace went first too. */
	add(network, &one, "10.78.0.4,fd78::4");
	assert_ok(netns_remove(ns2, &err), &err);
	two.netns = NULL;
	assert_ok(network_pod_del(network, &two, &err), &err);
	assert_ok(network_pod_del(network, &one, &err), &err);
	assert_ok(netns_remove(ns1, &err), &err);
	network_free(network);
}

static void test_addresses_run_out(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	autofree char *ipam = under("ipam");
	file_remove_all(ipam, NULL);
	struct network *network = open_default((const char *const[]){"10.79.0.0/29"}, 1);
	autofree char *ns = under("ns");
	struct network_pod pod = {.id = "full", .name = "p", .namespace_ = "ns", .netns = ns};
	struct network_result result;
	assert_ok(netns_create(ns, &err), &err);
	for (int i = 2; i <= 6; i++) { /* the network's, the bridge's and the last are nobody's */
		autofree char *name = xprintf("ipam/coracle/10.79.0.%d", i), *folder = under("ipam/coracle");
		assert_int_equal(file_mkdir_all(folder, 0755, NULL), 0);
		put(name, "other\r\neth0", 0600);
	}
	assert_int_equal(network_pod_add(network, &pod, &result, &err), -ENOSPC);
	assert_string_equal(error_message(&err), "no address is left in 10.79.0.0/29");
	char **ids;
	assert_ok(network_cached_ids(network, &ids, &err), &err);
	assert_null(ids[0]);
	free(ids);
	autofree char *fifth = under("ipam/coracle/10.79.0.5");
	unlink(fifth);
	add(network, &pod, "10.79.0.5");
	assert_ok(network_pod_del(network, &pod, &err), &err);
	/* A namespace that is none: what was given is given back. */
	pod.netns = dir;
	assert_true(network_pod_add(network, &pod, &result, &err) < 0);
	assert_false(file_exists(fifth));
	assert_ok(netns_remove(ns, &err), &err);
	file_remove_all(ipam, NULL);
	network_free(network);
}

static void test_host_ports(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	const char *const cidrs[] = {"10.80.0.0/24", "fd80::/64"};
	struct network *network = open_default(cidrs, 2);
	autofree char *ns = under("ns"), *other = under("other");
	assert_ok(netns_create(ns, &err), &err);
	assert_ok(netns_create(other, &err), &err);
	struct network_port ports[] = {{.host_port = 18080, .container_port = 80}, {.host_ip = "127.0.0.1", .host_port = 18081, .container_port = 80},
		{.host_ip = "::", .host_port = 18082, .container_port = 80}, {.host_port = 18053, .container_port = 53, .protocol = "UDP"},
		{.host_port = 18080, .container_port = 80}};
	struct network_pod pod = {.id = "ports", .name = "p", .namespace_ = "ns", .netns = ns, .ports = ports, .port_count = array_len(ports)};
	struct network_pod caller = {.id = "caller", .name = "c", .namespace_ = "ns", .netns = other};
	add(network, &pod, "10.80.0.2,fd80::2");
	add(network, &caller, "10.80.0.3,fd80::3");
	autoclose int server = listener(ns, AF_INET6, 80); /* of both families */
	for (int round = 0; round < 3; round++) {
		assert_int_equal(reach(NULL, "127.0.0.1", 18080), 0);
		assert_int_equal(reach(NULL, "10.80.0.1", 18080), 0);
		assert_int_equal(reach(NULL, "fd80::1", 18080), 0);
		assert_int_equal(reach(other, "10.80.0.1", 18080), 0);
		assert_int_equal(reach(other, "fd80::1", 18080), 0);
		assert_int_equal(reach(ns, "10.80.0.1", 18080), 0); /* the pod itself */
		assert_int_equal(reach(ns, "fd80::1", 18080), 0);
		assert_int_equal(reach(NULL, "127.0.0.1", 18081), 0);
		assert_int_equal(reach(NULL, "10.80.0.1", 18081), ECONNREFUSED);
		assert_int_equal(reach(NULL, "fd80::1", 18082), 0);
		assert_int_equal(reach(NULL, "10.80.0.1", 18082), ECONNREFUSED);
		/* Lost rules come back, and a kubelet begun anew knows whose they are. */
		if (round == 0)
			free(run((const char *const[]){"nft", "delete", "table", "inet", "coracle-host-ports", NULL}));
		if (round == 1) {
			network_free(network);
			network = open_default(cidrs, 2);
		}
		assert_ok(network_set_pod_cidrs(network, cidrs, 2, &err), &err);
	}
	autofree char *rules = run((const char *const[]){"nft", "list", "table", "inet", "coracle-host-ports", NULL});
	assert_has(rules, "udp . 18053 : 10.80.0.2 . 53");
	assert_ok(network_pod_del(network, &pod, &err), &err);
	assert_int_equal(reach(NULL, "10.80.0.1", 18080), ECONNREFUSED);
	autofree char *tables = run((const char *const[]){"nft", "list", "tables", NULL});
	assert_null(strstr(tables, "coracle-host-ports"));
	assert_ok(network_pod_del(network, &caller, &err), &err);
	assert_ok(netns_remove(ns, &err), &err);
	assert_ok(netns_remove(other, &err), &err);
	network_free(network);
}

/* A configuration of the user's is preferred whatever its name; a pod that was there before is taken down as it was set up. */
static void test_users_network(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	struct network *network = open_default((const char *const[]){"10.81.0.0/24"}, 1);
	autofree char *ns = under("ns");
	assert_ok(netns_create(ns, &err), &err);
	struct network_pod before = {.id = "before", .name = "b", .namespace_ = "ns", .netns = ns}, after = {.id = "after", .name = "a", .namespace_ = "ns", .netns = "/run/x"};
	add(network, &before, "10.81.0.2");
	put("conf/20-user.conflist", "{\"cniVersion\":\"1.0.0\",\"name\":\"net\",\"plugins\":[{\"type\":\"mine\"}]}", 0644);
	write_plugin("mine", "[ $CNI_COMMAND = ADD ] && echo '{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.5.0.2/24\"}]}'; exit 0\n");
	add(network, &after, "10.5.0.2");
	assert_ok(network_pod_del(network, &after, &err), &err);
	assert_ok(network_pod_del(network, &before, &err), &err);
	struct netns_interface interfaces[4];
	assert_int_equal(netns_interfaces(ns, interfaces, 4, &err), 0);
	autofree char *calls = get("calls");
	assert_has(calls, "/mine DEL after");
	assert_null(strstr(calls, "before"));
	/* Broken, it is not replaced by ours. */
	put("conf/20-user.conflist", "{", 0644);
	assert_true(network_ready(network, &err) < 0);
	assert_ok(netns_remove(ns, &err), &err);
	network_free(network);
}

/* The real plugins by a configuration like ours, as earlier kubelets ran them; limits of bandwidth are theirs in our own network too. */
static void test_real_plugins(void **state)
{
	clear_conf();
	autoerror struct error err = {0};
	struct network *network = open_network(true, 0);
	const char *const cidrs[] = {"10.82.0.0/24", "fd82::/64"};
	assert_ok(network_set_pod_cidrs(network, cidrs, 2, &err), &err);
	autofree char *ns = under("ns"), *own = get("conf/10-coracle.conflist");
	assert_ok(netns_create(ns, &err), &err);
	put("conf/20-user.conflist", own, 0644);
	struct network_port ports[] = {{.host_port = 18080, .container_port = 80}};
	struct network_pod pod = {.id = "real", .name = "web", .namespace_ = "ns", .netns = ns, .ports = ports, .port_count = 1};
	struct network_result result;
	assert_ok(network_pod_add(network, &pod, &result, &err), &err);
	assert_string_equal(result.ips[0], "10.82.0.2");
	network_result_done(&result);
	autofree char *nat = run((const char *const[]){"iptables", "-t", "nat", "-S", NULL});
	assert_has(nat, "18080");
	autofree char *user = under("conf/20-user.conflist");
	unlink(user);
	struct network_pod limited = {.id = "limited", .name = "l", .namespace_ = "ns", .ingress_bits_per_second = 1000000, .egress_bits_per_second = 2000000};
	autofree char *second = under("second");
	assert_ok(netns_create(second, &err), &err);
	limited.netns = second;
	add(network, &limited, "10.82.0.3,fd82::3"); /* .2 is given already */
	autofree char *limits = run((const char *const[]){"tc", "qdisc", "show", "dev", "vethlimited", NULL});
	assert_has(limits, "tbf");
	autofree char *links = run((const char *const[]){"ip", "link", "show", "type", "ifb", NULL});
	assert_has(links, "bwp");
	assert_ok(network_pod_del(network, &limited, &err), &err);
	autofree char *links_after = run((const char *const[]){"ip", "link", "show", "type", "ifb", NULL});
	assert_null(strstr(links_after, "bwp"));
	assert_ok(network_pod_del(network, &pod, &err), &err);
	autofree char *after = run((const char *const[]){"iptables", "-t", "nat", "-S", NULL});
	assert_null(strstr(after, "18080"));
	autofree char *address = under("ipam/coracle/10.82.0.2");
	assert_false(file_exists(address));
	assert_ok(netns_remove(ns, &err), &err);
	assert_ok(netns_remove(second, &err), &err);
	network_free(network);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_ready_and_choice),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_delete_after_restart),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_masquerading),
		cmocka_unit_test(test_two_nodes_beside_each_other),
		cmocka_unit_test(test_own_network),
		cmocka_unit_test(test_addresses_run_out),
		cmocka_unit_test(test_host_ports),
		cmocka_unit_test(test_users_network),
		cmocka_unit_test(test_real_plugins),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
