/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/machine.h"

#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define MAX_FILE (1u << 20)
#define FIRST_SHARED_CACHE 3 /* caches below that level are a core's own */

/* ---- looking things up ---- */

const struct machine_cpu *machine_cpu(const struct machine *machine, int id) {
	size_t low = 0, high = machine->cpu_count;
	while (low < high) {
		size_t middle = (low + high) / 2;
		if (machine->cpus[middle].id == id)
			return &machine->cpus[middle];
		if (machine->cpus[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

const struct machine_node *machine_node(const struct machine *machine, int id) {
	for (size_t i = 0; i < machine->node_count; i++)
		if (machine->nodes[i].id == id)
			return &machine->nodes[i];
	return NULL;
}

struct cpuset machine_cpus(const struct machine *machine, enum machine_level level, int id) {
	struct cpuset out = {{0}};
	for (size_t i = 0; i < machine->cpu_count; i++)
		if (machine->cpus[i].of[level] == id)
			cpuset_add(&out, machine->cpus[i].id);
	return out;
}

struct cpuset machine_cpus_of_nodes(const struct machine *machine, uint64_t nodes) {
	struct cpuset out = {{0}};
	for (size_t i = 0; i < machine->cpu_count; i++)
		if (nodes >> machine->cpus[i].of[MACHINE_NODE] & 1)
			cpuset_add(&out, machine->cpus[i].id);
	return out;
}

uint64_t machine_cpu_nodes(const struct machine *machine) {
	uint64_t nodes = 0;
	for (size_t i = 0; i < machine->cpu_count; i++)
		nodes |= (uint64_t)1 << machine->cpus[i].of[MACHINE_NODE];
	return nodes;
}

uint64_t machine_all_nodes(const struct machine *machine) {
	uint64_t nodes = 0;
	for (size_t i = 0; i < machine->node_count; i++)
		nodes |= (uint64_t)1 << machine->nodes[i].id;
	return nodes;
}

size_t machine_cpus_each(const struct machine *machine, enum machine_level level) {
	return machine->counts[level] ? machine->cpu_count / machine->counts[level] : 0;
}

/* ---- putting it in order ---- */

static int by_id(const void *a, const void *b) {
	return ((const struct machine_cpu *)a)->id - ((const struct machine_cpu *)b)->id;
}

static int by_node_id(const void *a, const void *b) {
	return ((const struct machine_node *)a)->id - ((const struct machine_node *)b)->id;
}

static size_t count_distinct(const struct machine *machine, enum machine_level level) {
	size_t count = 0;
	for (size_t i = 0; i < machine->cpu_count; i++) {
		bool seen = false;
		for (size_t k = 0; k < i && !seen; k++)
			seen = machine->cpus[k].of[level] == machine->cpus[i].of[level];
		count += !seen;
	}
	return count;
}

void machine_settle(struct machine *machine) {
	if (machine->cpu_count)
		qsort(machine->cpus, machine->cpu_count, sizeof(*machine->cpus), by_id);
	if (machine->node_count)
		qsort(machine->nodes, machine->node_count, sizeof(*machine->nodes), by_node_id);
	machine->all = (struct cpuset){{0}};
	for (size_t i = 0; i < machine->cpu_count; i++)
		cpuset_add(&machine->all, machine->cpus[i].id);
	for (enum machine_level level = 0; level < MACHINE_LEVELS; level++)
		machine->counts[level] = count_distinct(machine, level);
}

void machine_done(struct machine *machine) {
	free(machine->cpus);
	free(machine->nodes);
	*machine = (struct machine){0};
}

/* ---- reading sysfs ---- */

/* The caller frees; NULL where there is none. */
static char *read_text(const char *folder, const char *name) {
	autofree char *path = path_join(folder, name, NULL);
	char *text = NULL;
	size_t len;
	return file_read(AT_FDCWD, path, MAX_FILE, &text, &len, NULL) < 0 ? NULL : text;
}

static bool read_number(const char *folder, const char *name, int64_t *ret) {
	autofree char *text = read_text(folder, name);
	long long value;
	if (!text || sscanf(text, "%lld", &value) != 1)
		return false;
	*ret = value;
	return true;
}

static bool read_int(const char *folder, const char *name, int *ret) {
	int64_t value;
	if (!read_number(folder, name, &value) || value < INT32_MIN || value > INT32_MAX)
		return false;
	*ret = (int)value;
	return true;
}

/* "cpu12" gives 12; -1 where it is no such name. */
static int number_of(const char *name, const char *prefix, int max) {
	int64_t id;
	return str_starts_with(name, prefix) && str_to_int64(name + strlen(prefix), 0, max, &id) ? (int)id : -1;
}


static bool read_cpu(const char *cpus, int id, int node, struct machine_cpu *ret, int *ret_core) {
	autofree char *name = xprintf("cpu%d", id), *folder = path_join(cpus, name, NULL), *topology = path_join(folder, "topology", NULL);
	int online;
	if (read_int(folder, "online", &online) && !online)
		return false;
	*ret = (struct machine_cpu){.id = id};
	ret->of[MACHINE_NODE] = node;
	return read_int(topology, "core_id", ret_core) && read_int(topology, "physical_package_id", &ret->of[MACHINE_SOCKET]);
}

struct reader {
	struct machine *machine;
	int *core_ids; /* beside the machine's cpus: what the kernel calls their core */
	char *cpus;    /* folder */
};

static void add_cpu(struct reader *r, int id, int node) {
	struct machine *m = r->machine;
	struct machine_cpu cpu;
	int core;
	if (!read_cpu(r->cpus, id, node, &cpu, &core))
		return;
	m->cpus = xreallocarray(m->cpus, m->cpu_count + 1, sizeof(*m->cpus));
	r->core_ids = xreallocarray(r->core_ids, m->cpu_count + 1, sizeof(*r->core_ids));
	r->core_ids[m->cpu_count] = core;
	m->cpus[m->cpu_count++] = cpu;
}

/* The kernel's ids of cores are those of one socket alone: here the first of their cpus names them. */
static void name_cores(struct reader *r) {
	struct machine *m = r->machine;
	for (size_t i = 0; i < m->cpu_count; i++) {
		int first = m->cpus[i].id;
		for (size_t k = 0; k < m->cpu_count; k++)
			if (r->core_ids[k] == r->core_ids[i] && m->cpus[k].of[MACHINE_SOCKET] == m->cpus[i].of[MACHINE_SOCKET] && m->cpus[k].of[MACHINE_NODE] == m->cpus[i].of[MACHINE_NODE])
				first = min_of(first, m->cpus[k].id);
		m->cpus[i].of[MACHINE_CORE] = first;
	}
}

static size_t count_list(const char *folder, const char *name) {
	autofree char *text = read_text(folder, name);
	struct cpuset set;
	return text && cpuset_parse(text, &set, NULL) == 0 ? cpuset_count(&set) : 0;
}

/* The cache that cpus of several cores share, but not all of a NUMA node: what it is called; otherwise `fallback`. */
static int shared_cache(const struct reader *r, int cpu, size_t of_node, int fallback) {
	autofree char *name = xprintf("cpu%d/cache", cpu), *folder = path_join(r->cpus, name, NULL);
	for (int index = 0;; index++) {
		autofree char *which = xprintf("index%d", index), *at = path_join(folder, which, NULL);
		int level, id = 0;
		if (!read_int(at, "level", &level))
			return fallback;
		if (level < FIRST_SHARED_CACHE || count_list(at, "shared_cpu_list") == of_node)
			continue;
		read_int(at, "id", &id);
		return id;
	}
}

static void name_caches(struct reader *r) {
	struct machine *m = r->machine;
	for (size_t i = 0; i < m->cpu_count; i++) {
		struct machine_cpu *cpu = &m->cpus[i];
		size_t of_node = 0;
		for (size_t k = 0; k < m->cpu_count; k++)
			of_node += m->cpus[k].of[MACHINE_NODE] == cpu->of[MACHINE_NODE];
		cpu->of[MACHINE_CACHE] = shared_cache(r, cpu->id, of_node, cpu->of[MACHINE_SOCKET]);
	}
}

static uint64_t read_memory(const char *folder) {
	autofree char *text = read_text(folder, "meminfo");
	const char *line = text ? strstr(text, "MemTotal:") : NULL;
	unsigned long long kib;
	return line && sscanf(line, "MemTotal: %llu", &kib) == 1 && kib <= UINT64_MAX / 1024 ? kib * 1024 : 0;
}

static void read_distances(const char *folder, struct machine_node *node) {
	autofree char *text = read_text(folder, "distance");
	char *save = NULL;
	for (char *word = text ? strtok_r(text, " \n", &save) : NULL; word && node->distance_count < MACHINE_MAX_NODES; word = strtok_r(NULL, " \n", &save)) {
		int64_t distance;
		if (str_to_int64(word, 0, INT32_MAX, &distance))
			node->distances[node->distance_count++] = (uint64_t)distance;
	}
}

static int by_size(const void *a, const void *b) {
	const struct machine_pages *x = a, *y = b;
	return x->size < y->size ? -1 : x->size > y->size;
}

static void read_pages(const char *folder, struct machine_node *node) {
	autofree char *path = path_join(folder, "hugepages", NULL);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		unsigned long long kib;
		int64_t count;
		autofree char *of = path_join(path, e->d_name, NULL);
		if (node->page_sizes == MACHINE_MAX_PAGE_SIZES || sscanf(e->d_name, "hugepages-%llukB", &kib) != 1 || !kib || kib > UINT64_MAX >> 20 || !read_number(of, "nr_hugepages", &count) || count < 0)
			continue;
		node->pages[node->page_sizes++] = (struct machine_pages){.size = kib * 1024, .count = (uint64_t)count};
	}
	if (dir)
		closedir(dir);
	if (node->page_sizes)
		qsort(node->pages, node->page_sizes, sizeof(*node->pages), by_size);
}

static struct machine_node *add_node(struct machine *m, int id) {
	m->nodes = xreallocarray(m->nodes, m->node_count + 1, sizeof(*m->nodes));
	m->nodes[m->node_count] = (struct machine_node){.id = id};
	return &m->nodes[m->node_count++];
}

/* Calls fn for each "<prefix><number>" in the folder, in no order. False where there is no such folder. */
static bool each_numbered(const char *folder, const char *prefix, int max, void (*fn)(int id, void *arg), void *arg) {
	DIR *dir = opendir(folder);
	if (!dir)
		return false;
	for (struct dirent *e; (e = readdir(dir));) {
		int id = number_of(e->d_name, prefix, max);
		if (id >= 0)
			fn(id, arg);
	}
	closedir(dir);
	return true;
}

struct of_node {
	struct reader *reader;
	int node;
};

static void add_cpu_of_node(int id, void *arg) {
	const struct of_node *of = arg;
	add_cpu(of->reader, id, of->node);
}

struct folder_reader {
	struct reader *reader;
	const char *folder;
};

static void read_node(int id, void *arg) {
	const struct folder_reader *in = arg;
	autofree char *name = xprintf("node%d", id), *folder = path_join(in->folder, name, NULL);
	struct machine_node *node = add_node(in->reader->machine, id);
	node->memory = read_memory(folder);
	read_distances(folder, node);
	read_pages(folder, node);
	each_numbered(folder, "cpu", CPUSET_MAX - 1, add_cpu_of_node, &(struct of_node){in->reader, id});
}

/* A kernel without NUMA: each socket is taken for a node. */
static void read_cpu_alone(int id, void *arg) {
	struct reader *r = arg;
	size_t before = r->machine->cpu_count;
	add_cpu(r, id, 0);
	if (r->machine->cpu_count == before)
		return;
	struct machine_cpu *cpu = &r->machine->cpus[before];
	int socket = cpu->of[MACHINE_SOCKET];
	cpu->of[MACHINE_NODE] = socket >= 0 && socket < MACHINE_MAX_NODES ? socket : 0;
	if (!machine_node(r->machine, cpu->of[MACHINE_NODE]))
		add_node(r->machine, cpu->of[MACHINE_NODE]);
}

int machine_read(const char *sys, struct machine *ret, struct error *err) {
	struct machine machine = {0};
	autofree char *nodes = path_join(sys, "devices/system/node", NULL), *cpus = path_join(sys, "devices/system/cpu", NULL);
	struct reader reader = {.machine = &machine, .cpus = cpus};
	each_numbered(nodes, "node", MACHINE_MAX_NODES - 1, read_node, &(struct folder_reader){&reader, nodes});
	if (!machine.node_count)
		each_numbered(cpus, "cpu", CPUSET_MAX - 1, read_cpu_alone, &reader);
	name_cores(&reader);
	name_caches(&reader);
	free(reader.core_ids);
	if (!machine.cpu_count) {
		machine_done(&machine);
		return error_set(err, ENODEV, "%s tells of no cpus", cpus);
	}
	machine_settle(&machine);
	*ret = machine;
	return 0;
}
