/* SPDX-License-Identifier: Apache-2.0 */
/* Pods that are admitted, one after the other, on machines that are played: what each gets, what is kept of it, and with which words it is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kubelet/resource/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MIB (1ull << 20)

struct world {
	char dir[64];
	int sockets, cores, threads; /* a NUMA node a socket, of 1 GiB each, 64 MiB of it in pages of 2 MiB */
	const char *cpu_policy, *cpu_options, *reserved_cpus, *topology, *scope, *memory_policy, *reserved_memory;
	struct resource_managers *managers;
};

static void split(const char *text, const char *at, struct flag_list *ret) {
	autofree char *copy = xstrdup(str_or(text, ""));
	char *save = NULL;
	for (char *word = strtok_r(copy, at, &save); word; word = strtok_r(NULL, at, &save))
		flag_list_add(ret, word);
}

static struct machine play(const struct world *w) {
	struct machine m = {0};
	int cores = w->sockets * w->cores;
	m.cpus = xcalloc((size_t)(cores * w->threads), sizeof(*m.cpus));
	m.nodes = xcalloc((size_t)w->sockets, sizeof(*m.nodes));
	for (int i = 0; i < cores * w->threads; i++)
		m.cpus[m.cpu_count++] = (struct machine_cpu){.id = i, .of = {i % cores, i % cores / w->cores, i % cores / w->cores, i % cores / w->cores}};
	for (int i = 0; i < w->sockets; i++) {
		struct machine_node *node = &m.nodes[m.node_count++];
		*node = (struct machine_node){.id = i, .memory = 1024 * MIB, .pages = {{2 * MIB, 32}}, .page_sizes = 1, .distance_count = (size_t)w->sockets};
		for (int k = 0; k < w->sockets; k++)
			node->distances[k] = i == k ? 10 : 20;
	}
	machine_settle(&m);
	return m;
}

static int begin(struct world *w, struct error *err) {
	struct flag_list cpu_options = {0}, topology_options = {0}, reserved_memory = {0};
	struct memory_reservations reserved = {0};
	struct api_quantity_map kept = {0};
	autoarena struct arena *arena = arena_new();
	if (!*w->dir) {
		snprintf(w->dir, sizeof(w->dir), "/tmp/coracle-managers-XXXXXX");
		assert_non_null(mkdtemp(w->dir));
	}
	autofree char *cpu_state = path_join(w->dir, "cpu_manager_state", NULL), *memory_state = path_join(w->dir, "memory_manager_state", NULL);
	split(w->cpu_options, ",", &cpu_options);
	split(w->reserved_memory, " ", &reserved_memory);
	int r = memory_reservations_parse(&reserved_memory, &reserved, err);
	for (size_t i = 0; i < reserved.len; i++) {
		struct quantity size = quantity_of((int64_t)reserved.items[i].size, QUANTITY_BINARY_SI), *have = api_quantity_get(&kept, reserved.items[i].type);
		if (have)
			quantity_add(have, &size);
		else
			api_quantity_set(arena, &kept, arena_strdup(arena, reserved.items[i].type), size);
	}
	struct machine machine = play(w);
	const struct resource_options options = {
		.take_machine = &machine,
		.topology_policy = str_or(w->topology, "none"),
		.topology_scope = str_or(w->scope, "container"),
		.topology_options = &topology_options,
		.cpu = {.policy = str_or(w->cpu_policy, "static"), .policy_options = &cpu_options, .topology_policy = str_or(w->topology, "none"), .reserved_cpus = w->reserved_cpus, .reserved_milli = 1000, .beta = true, .state_path = cpu_state},
		.memory = {.policy = str_or(w->memory_policy, "None"), .reserved = &reserved, .node_reserved = &kept, .state_path = memory_state},
	};
	if (r == 0)
		r = resource_managers_new(&options, &w->managers, err);
	else
		machine_done(&machine);
	flag_list_done(&cpu_options);
	flag_list_done(&reserved_memory);
	memory_reservations_done(&reserved);
	return r;
}

static void end(struct world *w) {
	resource_managers_free(take_ptr(w->managers));
	assert_int_equal(file_remove_all(w->dir, NULL), 0);
	*w->dir = '\0';
}

static struct core_v1_pod *pod_of(const char *text) {
	autoerror struct error err = {0};
	void *pod = NULL;
	if (api_decode_json(&core_v1_pod_type, text, strlen(text), NULL, &pod, &err) < 0)
		fail_msg("%s", error_message(&err));
	return pod;
}

#define BOTH(cpu, memory) "\"resources\":{\"requests\":{\"cpu\":\"" cpu "\",\"memory\":\"" memory "\"},\"limits\":{\"cpu\":\"" cpu "\",\"memory\":\"" memory "\"}}"
#define C(name, cpu, memory) "{\"name\":\"" name "\"," BOTH(cpu, memory) "}"
#define SIDECAR(name, cpu, memory) "{\"name\":\"" name "\",\"restartPolicy\":\"Always\"," BOTH(cpu, memory) "}"
#define POD(uid, inits, mains) "{\"metadata\":{\"name\":\"" uid "\",\"namespace\":\"default\",\"uid\":\"" uid "\"},\"spec\":{\"initContainers\":[" inits "],\"containers\":[" mains "]}}"

static int admit(struct world *w, const char *text, struct error *err) {
	autounref struct core_v1_pod *pod = pod_of(text);
	return resource_managers_admit(w->managers, pod, err);
}

static void expect_cpus(struct world *w, const char *pod, const char *container, const char *want) {
	struct cpuset cpus = resource_managers_cpus(w->managers, pod, container);
	autofree char *text = cpuset_format(&cpus);
	assert_string_equal(text, want);
}

static void expect_shared(struct world *w, const char *want) {
	autofree char *text = cpuset_format(&w->managers->cpu.shared);
	assert_string_equal(text, want);
}

static void test_exclusive(void **state) {
	struct world w = {.sockets = 1, .cores = 4, .threads = 2};
	autoerror struct error err = {0};
	assert_int_equal(begin(&w, NULL), 0);
	expect_shared(&w, "0-7"); /* cpu 0 is reserved: shared, but never given */
	assert_int_equal(admit(&w, POD("a", "", C("x", "2", "1Mi") "," C("y", "500m", "1Mi")), &err), 0);
	expect_cpus(&w, "a", "x", "1,5");
	expect_cpus(&w, "a", "y", "");
	expect_shared(&w, "0,2-4,6-7");
	/* Not Guaranteed, or given as a whole: like all others. */
	assert_int_equal(admit(&w, "{\"metadata\":{\"uid\":\"b\"},\"spec\":{\"containers\":[{\"name\":\"x\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]}}", &err), 0);
	assert_int_equal(admit(&w, "{\"metadata\":{\"uid\":\"c\"},\"spec\":{\"resources\":{\"requests\":{\"cpu\":\"2\",\"memory\":\"1Gi\"},\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}},\"containers\":[" C("x", "2", "1Gi") "]}}", &err), 0);
	expect_shared(&w, "0,2-4,6-7");
	/* All or nothing. */
	assert_int_equal(admit(&w, POD("d", "", C("x", "3", "1Mi") "," C("y", "3", "1Mi")), &err), -EPERM);
	assert_string_equal(err.reason, "UnexpectedAdmissionError");
	assert_string_equal(err.message, "Allocate failed due to not enough cpus available to satisfy request: requested=3, available=2, which is unexpected");
	expect_shared(&w, "0,2-4,6-7");
	resource_managers_release(w.managers, "a");
	resource_managers_release(w.managers, "nobody");
	expect_shared(&w, "0-7");
	end(&w);
}

/* Init containers lend what they have; sidecars keep it. */
static void test_init_containers(void **state) {
	struct world w = {.sockets = 1, .cores = 8, .threads = 1};
	assert_int_equal(begin(&w, NULL), 0);
	assert_int_equal(admit(&w, POD("a", C("i", "3", "1Mi") "," SIDECAR("s", "2", "1Mi") "," C("j", "2", "1Mi"), C("x", "2", "1Mi")), NULL), 0);
	expect_cpus(&w, "a", "i", "1-3");
	expect_cpus(&w, "a", "s", "1-2");
	expect_cpus(&w, "a", "j", "3-4");
	expect_cpus(&w, "a", "x", "3-4");
	expect_shared(&w, "0,5-7");
	/* The same pod again gets what it has. */
	assert_int_equal(admit(&w, POD("a", C("i", "3", "1Mi") "," SIDECAR("s", "2", "1Mi") "," C("j", "2", "1Mi"), C("x", "2", "1Mi")), NULL), 0);
	expect_shared(&w, "0,5-7");
	resource_managers_release(w.managers, "a");
	expect_shared(&w, "0-7");
	end(&w);
}

static void test_whole_cores(void **state) {
	struct world w = {.sockets = 1, .cores = 4, .threads = 2, .cpu_options = "full-pcpus-only=true"};
	autoerror struct error err = {0};
	assert_int_equal(begin(&w, NULL), 0);
	assert_int_equal(admit(&w, POD("a", "", C("x", "3", "1Mi")), &err), -EPERM);
	assert_string_equal(err.reason, "SMTAlignmentError");
	assert_string_equal(err.message, "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2");
	assert_int_equal(admit(&w, POD("a", "", C("x", "8", "1Mi")), &err), -EPERM);
	assert_string_equal(err.message, "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 6, requested CPUs = 8, CPUs per core = 2");
	assert_int_equal(admit(&w, POD("a", "", C("x", "4", "1Mi")), NULL), 0);
	expect_cpus(&w, "a", "x", "1-2,5-6");
	end(&w);
}

static void test_topology(void **state) {
	struct world w = {.sockets = 2, .cores = 4, .threads = 1, .reserved_cpus = "0", .topology = "single-numa-node"};
	autoerror struct error err = {0};
	assert_int_equal(begin(&w, NULL), 0);
	assert_int_equal(admit(&w, POD("a", "", C("x", "4", "1Mi")), NULL), 0);
	expect_cpus(&w, "a", "x", "4-7");
	assert_int_equal(admit(&w, POD("b", "", C("x", "4", "1Mi")), &err), -EPERM);
	assert_string_equal(err.reason, "TopologyAffinityError");
	assert_string_equal(err.message, "Resources cannot be allocated with Topology locality");
	assert_int_equal(admit(&w, POD("b", "", C("x", "3", "1Mi")), NULL), 0);
	expect_cpus(&w, "b", "x", "1-3");
	end(&w);
	/* Of a pod all containers lie together, or, one by one, they do not. */
	for (int of_pod = 0; of_pod < 2; of_pod++) {
		w.scope = of_pod ? "pod" : "container";
		assert_int_equal(begin(&w, NULL), 0);
		assert_int_equal(admit(&w, POD("a", "", C("x", "2", "1Mi") "," C("y", "2", "1Mi")), NULL), 0);
		expect_cpus(&w, "a", "x", of_pod ? "4-5" : "1-2");
		expect_cpus(&w, "a", "y", of_pod ? "6-7" : "4-5");
		end(&w);
	}
	w.topology = "restricted";
	w.scope = NULL;
	assert_int_equal(begin(&w, NULL), 0);
	assert_int_equal(admit(&w, POD("a", "", C("x", "1", "1Mi")), NULL), 0);
	assert_int_equal(admit(&w, POD("b", "", C("x", "1", "1Mi") "," C("y", "3", "1Mi")), NULL), 0);
	/* Six would take two nodes anyway; three would not. */
	assert_int_equal(admit(&w, POD("c", "", C("x", "3", "1Mi")), &err), -EPERM);
	assert_string_equal(err.reason, "TopologyAffinityError");
	end(&w);
	w.topology = "best-effort";
	assert_int_equal(begin(&w, NULL), 0);
	assert_int_equal(admit(&w, POD("a", "", C("x", "2", "1Mi") "," C("y", "3", "1Mi")), NULL), 0);
	assert_int_equal(admit(&w, POD("c", "", C("x", "2", "1Mi")), NULL), 0);
	expect_cpus(&w, "c", "x", "3,7");
	end(&w);
}

static void test_memory(void **state) {
	struct world w = {.sockets = 2, .cores = 4, .threads = 1, .memory_policy = "Static", .reserved_memory = "0:memory=60Mi;1:memory=60Mi"};
	autoerror struct error err = {0};
	autoarena struct arena *arena = arena_new();
	assert_int_equal(begin(&w, NULL), 0);
	/* 1024 MiB, of which 64 are huge pages and 60 reserved. */
	assert_int_equal(w.managers->memory.nodes[0].tables[1].allocatable, 900 * MIB);
	assert_int_equal(admit(&w, POD("a", "", C("x", "500m", "600Mi")), NULL), 0);
	assert_int_equal(admit(&w, POD("b", "", C("x", "500m", "600Mi")), NULL), 0);
	assert_int_equal(memory_manager_nodes(&w.managers->memory, "a", "x"), 1);
	assert_int_equal(memory_manager_nodes(&w.managers->memory, "b", "x"), 2);
	/* 600 MiB are left, but on nodes that others have alone. */
	assert_int_equal(admit(&w, POD("c", "", C("x", "500m", "400Mi")), &err), -EPERM);
	assert_string_equal(err.reason, "UnexpectedAdmissionError");
	autounref struct core_v1_pod *b = pod_of(POD("b", "", C("x", "500m", "600Mi")));
	struct cgroup_resources resources = {.cpu_quota_us = 50000};
	resource_managers_fill(w.managers, b, &b->spec.containers.items[0], arena, &resources);
	assert_string_equal(resources.cpuset_mems, "1");
	assert_string_equal(resources.cpuset_cpus, "0-7");
	assert_int_equal(resources.cpu_quota_us, 50000);
	resource_managers_release(w.managers, "a");
	resource_managers_release(w.managers, "b");
	/* Together where one alone is too small; then each is the others' part. */
	assert_int_equal(admit(&w, POD("d", "", C("x", "500m", "1000Mi")), NULL), 0);
	assert_int_equal(memory_manager_nodes(&w.managers->memory, "d", "x"), 3);
	assert_int_equal(admit(&w, POD("e", "", C("x", "500m", "100Mi")), NULL), 0);
	assert_int_equal(memory_manager_nodes(&w.managers->memory, "e", "x"), 3);
	resource_managers_release(w.managers, "d");
	resource_managers_release(w.managers, "e");
	assert_int_equal(w.managers->memory.nodes[1].cells, 2);
	assert_int_equal(w.managers->memory.nodes[1].assignments, 0);
	/* What init containers have is lent, and free once another started. */
	autounref struct core_v1_pod *f = pod_of(POD("f", C("i", "500m", "800Mi"), C("x", "500m", "500Mi")));
	assert_int_equal(resource_managers_admit(w.managers, f, NULL), 0);
	assert_int_equal(w.managers->memory.nodes[0].tables[1].free_bytes, 100 * MIB);
	resource_managers_started(w.managers, f, &f->spec.containers.items[0], "0-7");
	assert_int_equal(w.managers->memory.nodes[0].tables[1].free_bytes, 400 * MIB);
	end(&w);
}

/* A kubelet that starts anew finds what was given; one of another policy, or on another machine, does not go on. */
static void test_kept(void **state) {
	struct world w = {.sockets = 2, .cores = 2, .threads = 2, .memory_policy = "Static", .reserved_memory = "0:memory=60Mi", .topology = "best-effort"};
	autoerror struct error err = {0};
	assert_int_equal(begin(&w, NULL), 0);
	assert_int_equal(admit(&w, POD("a", "", C("x", "2", "100Mi")), NULL), 0);
	struct cpuset cpus = resource_managers_cpus(w.managers, "a", "x");
	autofree char *had = cpuset_format(&cpus), *path = path_join(w.dir, "cpu_manager_state", NULL), *text = NULL;
	resource_managers_free(take_ptr(w.managers));
	assert_int_equal(begin(&w, NULL), 0);
	expect_cpus(&w, "a", "x", had);
	assert_int_equal(hint_count(memory_manager_nodes(&w.managers->memory, "a", "x")), 1);
	resource_managers_free(take_ptr(w.managers));
	/* Other machines. */
	w.cores = 3;
	assert_int_equal(begin(&w, &err), -EBADMSG);
	w.cores = 2;
	w.reserved_cpus = had;
	assert_int_equal(begin(&w, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "not all reserved cpus"));
	w.reserved_cpus = NULL;
	w.reserved_memory = "0:memory=61Mi";
	assert_int_equal(begin(&w, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "the expected machine state is different from the real one"));
	w.reserved_memory = "0:memory=60Mi";
	/* Another policy. */
	w.cpu_policy = "none";
	assert_int_equal(begin(&w, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "configured policy \"none\" differs from state checkpoint policy \"static\""));
	w.cpu_policy = NULL;
	/* Tampered with. */
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
	char *mark = strstr(text, "\"defaultCpuSet\":\"") + strlen("\"defaultCpuSet\":\"");
	*mark = *mark == '0' ? '1' : '0';
	assert_int_equal(file_write(AT_FDCWD, path, text, len, 0600, NULL), 0);
	assert_int_equal(begin(&w, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "checkpoint is corrupted"));
	end(&w);
}

/* Files that Kubernetes' own kubelet wrote. */
static void test_foreign_state(void **state) {
	struct world w = {.sockets = 1, .cores = 4, .threads = 1, .cpu_policy = "none"};
	autofree char *text = NULL;
	size_t len;
	assert_int_equal(begin(&w, NULL), 0);
	autofree char *path = path_join(w.dir, "cpu_manager_state", NULL), *memory = path_join(w.dir, "memory_manager_state", NULL), *memory_text = NULL;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
	assert_string_equal(text, "{\"policyName\":\"none\",\"defaultCpuSet\":\"\",\"checksum\":1353318690}");
	assert_int_equal(file_read(AT_FDCWD, memory, 1 << 20, &memory_text, &len, NULL), 0);
	assert_string_equal(memory_text, "{\"policyName\":\"None\",\"machineState\":{},\"checksum\":4236770233}");
	resource_managers_free(take_ptr(w.managers));
	static const char foreign[] = "{\"policyName\":\"static\",\"defaultCpuSet\":\"0-1\",\"entries\":{\"u0\":{},\"u1\":{\"a \\\"q\\\"\":\"3\",\"b\":\"2\"}},\"checksum\":2197696366}";
	assert_int_equal(file_write(AT_FDCWD, path, foreign, strlen(foreign), 0600, NULL), 0);
	w.cpu_policy = "static";
	assert_int_equal(begin(&w, NULL), 0);
	expect_cpus(&w, "u1", "b", "2");
	expect_shared(&w, "0-1");
	end(&w);
}

static void test_refused_options(void **state) {
	static const struct { struct world world; const char *says; } rows[] = {
		{{.cpu_policy = "dynamic"}, "there is no \"dynamic\""},
		{{.cpu_options = "none-such=true"}, "unknown CPU Manager Policy option: \"none-such\""},
		{{.cpu_options = "full-pcpus-only=yes"}, "bad value for option \"full-pcpus-only\""},
		{{.cpu_options = "align-by-socket=true"}, "Alpha-level Options not enabled"},
		{{.cpu_options = "prefer-align-cpus-by-uncorecache=true,distribute-cpus-across-numa=true"}, "can not be used at the same time"},
		{{.cpu_policy = "none", .cpu_options = "full-pcpus-only=true"}, "the policy none has no \"full-pcpus-only=true\""},
		{{.reserved_cpus = "1,9"}, "reserved-cpus: 1,9 is not a subset of online-cpus: 0-3"},
		{{.topology = "nearby"}, "there is no \"nearby\""},
		{{.topology = "restricted", .scope = "node"}, "there is no \"node\""},
		{{.memory_policy = "Static"}, "wants reserved-memory"},
		{{.memory_policy = "Static", .reserved_memory = "5:memory=1Mi"}, "no NUMA node 5"},
		{{.memory_policy = "Static", .reserved_memory = "0:memory=1Mi,memory=2Mi"}, "twice"},
		{{.memory_policy = "Static", .reserved_memory = "0:cpu=1"}, "not \"cpu=1\""},
		{{.memory_policy = "Static", .reserved_memory = "memory=1Mi"}, "want <NUMA node>"},
		{{.memory_policy = "Static", .reserved_memory = "0:memory=100Gi"}, "less memory than is reserved"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct world w = rows[i].world;
		autoerror struct error err = {0};
		w.sockets = 2;
		w.cores = 2;
		w.threads = 1;
		assert_int_equal(begin(&w, &err), -EINVAL);
		if (!strstr(err.message, rows[i].says))
			fail_msg("row %zu: %s", i, err.message);
		end(&w);
	}
}

static void test_strict_reservation(void **state) {
	struct world w = {.sockets = 1, .cores = 4, .threads = 1, .reserved_cpus = "0-1", .cpu_options = "strict-cpu-reservation=true"};
	autoarena struct arena *arena = arena_new();
	assert_int_equal(begin(&w, NULL), 0);
	expect_shared(&w, "2-3");
	autounref struct core_v1_pod *pod = pod_of(POD("a", "", C("x", "1", "1Mi") "," C("y", "100m", "1Mi")));
	assert_int_equal(resource_managers_admit(w.managers, pod, NULL), 0);
	/* No quota beside cpus of its own, nor above it. */
	for (int i = -1; i < 2; i++) {
		struct cgroup_resources r = {.cpu_quota_us = 100000};
		resource_managers_fill(w.managers, pod, i < 0 ? NULL : &pod->spec.containers.items[i], arena, &r);
		assert_int_equal(r.cpu_quota_us, i == 1 ? 100000 : -1);
		assert_string_equal(str_or(r.cpuset_cpus, ""), i < 0 ? "" : i == 0 ? "2" : "3");
	}
	assert_string_equal(resource_managers_binds(w.managers, "cpu"), "static");
	assert_null(resource_managers_binds(w.managers, "memory"));
	resource_managers_free(take_ptr(w.managers));
	assert_int_equal(begin(&w, NULL), 0);
	expect_cpus(&w, "a", "x", "2");
	end(&w);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exclusive), cmocka_unit_test(test_init_containers), cmocka_unit_test(test_whole_cores), cmocka_unit_test(test_topology), cmocka_unit_test(test_memory),
		cmocka_unit_test(test_kept), cmocka_unit_test(test_foreign_state), cmocka_unit_test(test_refused_options), cmocka_unit_test(test_strict_reservation),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
