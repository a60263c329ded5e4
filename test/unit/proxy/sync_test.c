/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The proxy against the real nf_tables: a network namespace of its own stands for a node, two more for pods, and packets decide. Needs root.
 */
#include "proxy/sync.h"

#include "common/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* test code may use system(): arguments are ours */
static void run(const char *command) {
	int status = system(command);
	if (status != 0)
		print_error("failed (%d): %s\n", status, command);
	assert_int_equal(status, 0);
}

static void in_namespace(const char *name) {
	autofree char *path = xprintf("/run/netns/%s", name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
	close(fd);
}

static char node[32], pod1[32], pod2[32];

static void make_pod(const char *name, const char *veth, const char *address, const char *gateway) {
	autofree char *text = xprintf("ip netns add %s && ip link add %s netns %s type veth peer name eth0 netns %s && "
				      "ip -n %s addr add %s/32 dev %s && ip -n %s link set %s up && ip -n %s route add %s dev %s && "
				      "ip -n %s addr add %s/24 dev eth0 && ip -n %s link set eth0 up && ip -n %s link set lo up && ip -n %s route add default via %s",
		name, veth, node, name, node, gateway, veth, node, veth, node, address, veth, name, address, name, name, name, gateway);
	run(text);
}

/* Answers one word to every connection, until killed. */
static pid_t serve(const char *ns, const char *address, int port, const char *word) {
	pid_t pid = fork();
	if (pid)
		return pid;
	in_namespace(ns);
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	inet_pton(AF_INET, address, &at.sin_addr);
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0)
		_exit(1);
	for (;;) {
		struct sockaddr_in from;
		socklen_t len = sizeof(from);
		int c = accept(fd, (struct sockaddr *)&from, &len);
		char text[128], source[32];
		inet_ntop(AF_INET, &from.sin_addr, source, sizeof(source));
		int n = snprintf(text, sizeof(text), "%s %s", word, source);
		if (c >= 0 && write(c, text, (size_t)n) < 0)
			_exit(2);
		close(c);
	}
}

/* Connects from a namespace and gives the answer's text; "" where refused or timed out, with errno in *ret_errno. */
static char *ask(const char *ns, const char *address, int port, int *ret_errno) {
	int pipes[2];
	assert_int_equal(pipe(pipes), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char text[128] = "";
		in_namespace(ns);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), failure = 0;
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
		inet_pton(AF_INET, address, &to.sin_addr);
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS)
			failure = errno;
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		if (!failure && poll(&ready, 1, 2000) <= 0)
			failure = ETIMEDOUT;
		socklen_t len = sizeof(failure);
		if (!failure)
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &len);
		if (!failure && read(fd, text, sizeof(text) - 1) < 0)
			failure = errno;
		if (write(pipes[1], &failure, sizeof(failure)) < 0 || write(pipes[1], text, sizeof(text)) < 0)
			_exit(1);
		_exit(0);
	}
	close(pipes[1]);
	static char text[128];
	int failure = 0;
	assert_int_equal(read(pipes[0], &failure, sizeof(failure)), sizeof(failure));
	assert_int_equal(read(pipes[0], text, sizeof(text)), sizeof(text));
	close(pipes[0]);
	waitpid(pid, NULL, 0);
	if (ret_errno)
		*ret_errno = failure;
	return text;
}

static pid_t servers[8];
static int server_count;

static int set_up(void **state) {
	int id = (int)getpid();
	snprintf(node, sizeof(node), "cpt%d-n", id);
	snprintf(pod1, sizeof(pod1), "cpt%d-1", id);
	snprintf(pod2, sizeof(pod2), "cpt%d-2", id);
	autofree char *text = xprintf("ip netns add %s && ip -n %s link set lo up && ip -n %s link add up0 type veth peer name up1 && ip -n %s addr add 192.0.2.1/24 dev up0 && "
				      "ip -n %s link set up0 up && ip -n %s link set up1 up && ip -n %s route add default dev up0",
		node, node, node, node, node, node, node);
	run(text);
	make_pod(pod1, "v1", "10.244.0.11", "10.244.0.1");
	make_pod(pod2, "v2", "10.244.0.12", "10.244.0.1");
	in_namespace(node);
	int fd = open("/proc/sys/net/ipv4/ip_forward", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
	fd = open("/proc/sys/net/ipv4/conf/all/proxy_arp", O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && write(fd, "1", 1) == 1);
	close(fd);
	servers[server_count++] = serve(pod1, "10.244.0.11", 8080, "one");
	servers[server_count++] = serve(pod2, "10.244.0.12", 8080, "two");
	return 0;
}

static int tear_down(void **state) {
	for (int i = 0; i < server_count; i++) {
		kill(servers[i], SIGKILL);
		waitpid(servers[i], NULL, 0);
	}
	autofree char *text = xprintf("ip netns del %s; ip netns del %s; ip netns del %s", pod1, pod2, node);
	run(text);
	return 0;
}

static struct discovery_v1_endpoint_slice *make_slice(const char *service, size_t count, const char *const *addresses, bool ready) {
	struct discovery_v1_endpoint_slice *slice = api_new_of(discovery_v1_endpoint_slice);
	struct arena *arena = api_arena(slice);
	api_map_set(arena, &slice->metadata.labels, "kubernetes.io/service-name", service);
	slice->address_type = "IPv4";
	__auto_type port = api_list_add(arena, &slice->ports);
	port->name = "";
	port->protocol = "TCP";
	port->port = api_int32(arena, 8080);
	for (size_t i = 0; i < count; i++) {
		__auto_type endpoint = api_list_add(arena, &slice->endpoints);
		api_string_list_add(arena, &endpoint->addresses, addresses[i]);
		endpoint->conditions.ready = api_bool(arena, ready);
		endpoint->node_name = i ? "other" : "this";
	}
	return slice;
}

static struct core_v1_service *make_service(const char *cluster_ip, int node_port) {
	struct core_v1_service *service = api_new_of(core_v1_service);
	struct arena *arena = api_arena(service);
	service->metadata.name = "web";
	service->metadata.namespace = "default";
	service->spec.type = node_port ? "NodePort" : "ClusterIP";
	service->spec.cluster_ip = arena_strdup(arena, cluster_ip);
	api_string_list_add(arena, &service->spec.cluster_ips, cluster_ip);
	__auto_type port = api_list_add(arena, &service->spec.ports);
	port->protocol = "TCP";
	port->port = 80;
	port->node_port = node_port;
	return service;
}

static const struct model_config this_node = {.node_name = "this"};

static void apply(struct sync *sync, const char *key, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *slice) {
	autoerror struct error err = {0};
	struct model_rules rules = {0};
	if (service)
		model_build(&this_node, service, &slice, slice ? 1 : 0, &rules);
	sync_set(sync, key, &rules);
	if (sync_commit(sync, NULL, &err) < 0)
		fail_msg("commit: %s", error_message(&err));
}

static struct sync *open_sync(void) {
	autoerror struct error err = {0};
	struct ruleset_config config = {.mark = 0x4000};
	config.pods4.set = true;
	config.pods4.prefix = 16;
	inet_pton(AF_INET, "10.244.0.0", config.pods4.address);
	struct sync *sync = NULL;
	if (sync_new(&config, &sync, &err) < 0)
		fail_msg("open: %s", error_message(&err));
	return sync;
}

static const char *const both[] = {"10.244.0.11", "10.244.0.12"};

static void cluster_ip_reaches_every_endpoint(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *service = make_service("10.96.0.50", 0);
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 2, both, true);
	apply(sync, "default/web", service, slice);
	int seen[2] = {0};
	for (int i = 0; i < 40; i++)
		seen[str_starts_with(ask(node, "10.96.0.50", 80, NULL), "two")]++;
	assert_true(seen[0] >= 5 && seen[1] >= 5);
	/* A pod reaches it with its own address, and itself by hairpin. */
	for (int i = 0; i < 10; i++) {
		const char *answer = ask(pod1, "10.96.0.50", 80, NULL);
		assert_true(str_equal(answer, "two 10.244.0.11") || str_starts_with(answer, "one "));
	}
	sync_free(sync);
}

static void no_endpoint_is_refused_at_once(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *service = make_service("10.96.0.51", 30051);
	apply(sync, "default/web", service, NULL);
	int failure = 0;
	ask(node, "10.96.0.51", 80, &failure);
	assert_int_equal(failure, ECONNREFUSED);
	ask(pod1, "10.96.0.51", 80, &failure);
	assert_int_equal(failure, ECONNREFUSED);
	/* A port that the service does not have, too. */
	ask(pod1, "10.96.0.51", 81, &failure);
	assert_int_equal(failure, ECONNREFUSED);
	ask(node, "192.0.2.1", 30051, &failure);
	assert_int_equal(failure, ECONNREFUSED);
	/* Endpoints come: it answers; they go: refused again. */
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 1, both, true);
	apply(sync, "default/web", service, slice);
	assert_string_equal(ask(pod2, "10.96.0.51", 80, NULL), "one 10.244.0.12");
	apply(sync, "default/web", service, NULL);
	ask(pod1, "10.96.0.51", 80, &failure);
	assert_int_equal(failure, ECONNREFUSED);
	sync_free(sync);
}

static void node_port_masquerades(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *service = make_service("10.96.0.52", 30052);
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 1, both, true);
	apply(sync, "default/web", service, slice);
	assert_string_equal(ask(pod2, "192.0.2.1", 30052, NULL), "one 10.244.0.1");
	assert_true(str_starts_with(ask(node, "192.0.2.1", 30052, NULL), "one "));
	sync_free(sync);
}

static void affinity_stays_with_one_endpoint(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *service = make_service("10.96.0.53", 0);
	service->spec.session_affinity = "ClientIP";
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 2, both, true);
	apply(sync, "default/web", service, slice);
	autofree char *first = xstrdup(ask(node, "10.96.0.53", 80, NULL));
	assert_true(*first);
	for (int i = 0; i < 15; i++)
		assert_string_equal(ask(node, "10.96.0.53", 80, NULL), first);
	sync_free(sync);
}

static void local_policy_keeps_to_this_node(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *service = make_service("10.96.0.54", 30054);
	service->spec.internal_traffic_policy = "Local";
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 2, both, true);
	apply(sync, "default/web", service, slice);
	for (int i = 0; i < 12; i++)
		assert_true(str_starts_with(ask(node, "10.96.0.54", 80, NULL), "one "));
	sync_free(sync);
}

static void first_claim_wins_and_passes_on(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *a = make_service("10.96.0.55", 0), *b = make_service("10.96.0.55", 0);
	autounref struct discovery_v1_endpoint_slice *one = make_slice("a", 1, both, true), *two = make_slice("b", 1, both + 1, true);
	apply(sync, "default/a", a, one);
	apply(sync, "default/b", b, two);
	assert_true(str_starts_with(ask(node, "10.96.0.55", 80, NULL), "one "));
	apply(sync, "default/a", NULL, NULL);
	assert_true(str_starts_with(ask(node, "10.96.0.55", 80, NULL), "two "));
	apply(sync, "default/b", NULL, NULL);
	assert_int_equal(sync_element_count(sync), 0);
	sync_free(sync);
}

static void meddling_is_mended(void **state) {
	struct sync *sync = open_sync();
	autounref struct core_v1_service *service = make_service("10.96.0.56", 0);
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 1, both, true), *more = make_slice("web", 2, both, true);
	apply(sync, "default/web", service, slice);
	run("nft delete table inet " RULESET_TABLE);
	apply(sync, "default/web", service, more); /* the difference is refused: the whole table is written */
	assert_true(*ask(node, "10.96.0.56", 80, NULL));
	sync_free(sync);
}

static void thousands_of_services_in_one_transaction(void **state) {
	struct sync *sync = open_sync();
	autoerror struct error err = {0};
	autounref struct discovery_v1_endpoint_slice *slice = make_slice("web", 2, both, true);
	for (int i = 0; i < 5000; i++) {
		autofree char *ip = xprintf("10.97.%d.%d", i / 250, i % 250 + 1), *key = xprintf("default/s%d", i);
		autounref struct core_v1_service *service = make_service(ip, 0);
		struct model_rules rules = {0};
		model_build(&this_node, service, (const struct discovery_v1_endpoint_slice *const[]){slice}, 1, &rules);
		sync_set(sync, key, &rules);
	}
	if (sync_commit(sync, NULL, &err) < 0)
		fail_msg("commit: %s", error_message(&err));
	assert_true(*ask(node, "10.97.19.250", 80, NULL));
	/* A change of one of them is a change of few elements. */
	autounref struct discovery_v1_endpoint_slice *less = make_slice("web", 1, both, true);
	autounref struct core_v1_service *service = make_service("10.97.0.1", 0);
	struct model_rules rules = {0};
	size_t changed = 0;
	model_build(&this_node, service, (const struct discovery_v1_endpoint_slice *const[]){less}, 1, &rules);
	sync_set(sync, "default/s0", &rules);
	assert_int_equal(sync_commit(sync, &changed, &err), 0);
	assert_true(changed <= 6);
	sync_free(sync);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cluster_ip_reaches_every_endpoint), cmocka_unit_test(no_endpoint_is_refused_at_once), cmocka_unit_test(node_port_masquerades),
		cmocka_unit_test(affinity_stays_with_one_endpoint), cmocka_unit_test(local_policy_keeps_to_this_node), cmocka_unit_test(first_claim_wins_and_passes_on),
		cmocka_unit_test(meddling_is_mended), cmocka_unit_test(thousands_of_services_in_one_transaction),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
