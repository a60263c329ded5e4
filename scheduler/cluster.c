/* SPDX-License-Identifier: Apache-2.0 */
#include "scheduler/cluster.h"

#include "common/pod/resources.h"

#include <stdint.h>
#include <stdio.h>

/* What a container that asks for nothing is taken for in scores, so that such pods spread too (Kubernetes' own figures). */
#define DEFAULT_SCORE_CPU 100
#define DEFAULT_SCORE_MEMORY (200ll << 20)

#define LABEL_ZONE "topology.kubernetes.io/zone"

static void free_owner(void *value) {
	struct owner_pods *owner = value;
	free(owner->by_row);
	free(owner);
}

static void free_namespace(void *value) {
	api_unref(value);
}

static void pod_info_free(struct cluster *cluster, struct pod_info *info);

void cluster_init(struct cluster *cluster) {
	static const char *const names[] = {"cpu", "memory", "ephemeral-storage", "pods"};
	*cluster = (struct cluster){0};
	cluster->by_name = MAP_INIT(NULL);
	cluster->pods = MAP_INIT(NULL);
	cluster->facts = MAP_INIT(NULL);
	cluster->owners = MAP_INIT(free_owner);
	cluster->namespaces = MAP_INIT(free_namespace);
	cluster->zone_numbers = MAP_INIT(NULL);
	list_init(&cluster->anti_affine);
	for (size_t i = 0; i < array_len(names); i++)
		cluster_resource_id(cluster, names[i]);
}

void cluster_done(struct cluster *cluster) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&cluster->pods, &i));)
		pod_info_free(cluster, e->value);
	for (uint32_t row = 0; row < cluster->row_count; row++)
		api_unref(cluster->rows[row].node);
	for (uint16_t i = 0; i < cluster->column_count; i++) {
		free(cluster->columns[i].name);
		free(cluster->columns[i].allocatable);
		free(cluster->columns[i].requested);
	}
	free(cluster->rows);
	free(cluster->score_cpu);
	free(cluster->score_memory);
	free(cluster->zones);
	map_done(&cluster->zone_numbers);
	map_done(&cluster->by_name);
	map_done(&cluster->pods);
	map_done(&cluster->facts);
	map_done(&cluster->owners);
	map_done(&cluster->namespaces);
}

/* ---- columns and rows ---- */

static void grow_column(int64_t **column, uint32_t old, uint32_t new) {
	*column = xreallocarray(*column, new, sizeof(**column));
	memset(*column + old, 0, (new - old) * sizeof(**column));
}

uint16_t cluster_resource_id(struct cluster *cluster, const char *name) {
	for (uint16_t i = 0; i < cluster->column_count; i++)
		if (strcmp(cluster->columns[i].name, name) == 0)
			return i;
	if (cluster->column_count == RESOURCES_MAX)
		return RESOURCES_MAX;
	struct resource_column *column = &cluster->columns[cluster->column_count];
	column->name = xstrdup(name);
	if (cluster->row_cap) {
		grow_column(&column->allocatable, 0, cluster->row_cap);
		grow_column(&column->requested, 0, cluster->row_cap);
	}
	return cluster->column_count++;
}

static uint32_t new_row(struct cluster *cluster) {
	for (uint32_t row = 0; cluster->node_count < cluster->row_count && row < cluster->row_count; row++)
		if (!cluster->rows[row].node)
			return row;
	if (cluster->row_count == cluster->row_cap) {
		uint32_t old = cluster->row_cap, new = old ? old * 2 : 16;
		/* Lists have their heads in the rows: they must be tied to where the rows go. */
		struct node_row *rows = xcalloc(new, sizeof(*rows));
		for (uint32_t i = 0; i < old; i++) {
			rows[i] = cluster->rows[i];
			list_init(&rows[i].pods);
			struct pod_info *pod;
			list_for_each (pod, &cluster->rows[i].pods, on_node) {
				list_remove(&pod->on_node);
				list_push_back(&rows[i].pods, &pod->on_node);
			}
		}
		free(cluster->rows);
		cluster->rows = rows;
		for (uint16_t i = 0; i < cluster->column_count; i++) {
			grow_column(&cluster->columns[i].allocatable, old, new);
			grow_column(&cluster->columns[i].requested, old, new);
		}
		grow_column(&cluster->score_cpu, old, new);
		grow_column(&cluster->score_memory, old, new);
		grow_column(&cluster->zones, old, new);
		cluster->row_cap = new;
	}
	return cluster->row_count++;
}

uint32_t cluster_find_node(const struct cluster *cluster, const char *name) {
	uintptr_t row = (uintptr_t)map_get(&cluster->by_name, name);
	return row ? (uint32_t)(row - 1) : NO_NODE;
}

static int64_t amount_of(uint16_t id, const struct quantity *q) {
	return id == RESOURCE_CPU ? quantity_milli_value(q) : quantity_value(q);
}

/* ---- pods of one controller ---- */

static void owner_add_to_row(struct owner_pods *owner, const struct cluster *cluster, uint32_t row) {
	if (row >= owner->row_cap) {
		owner->by_row = xreallocarray(owner->by_row, cluster->row_cap, sizeof(*owner->by_row));
		memset(owner->by_row + owner->row_cap, 0, (cluster->row_cap - owner->row_cap) * sizeof(*owner->by_row));
		owner->row_cap = cluster->row_cap;
	}
	owner->by_row[row]++;
}

static struct owner_pods *owner_of(const struct cluster *cluster, const struct pod_info *info) {
	return info->facts->owner_uid ? map_get(&cluster->owners, info->facts->owner_uid) : NULL;
}

static void owner_count_row(struct cluster *cluster, const struct pod_info *info) {
	struct owner_pods *owner = owner_of(cluster, info);
	if (!owner)
		return;
	if (owner->by_row) {
		owner_add_to_row(owner, cluster, info->node);
		return;
	}
	if (owner->count < OWNER_COUNTED_FROM)
		return;
	struct pod_info *other;
	list_for_each (other, &owner->pods, of_owner)
		if (other->node != NO_NODE)
			owner_add_to_row(owner, cluster, other->node);
}

static void owner_uncount_row(struct cluster *cluster, const struct pod_info *info) {
	struct owner_pods *owner = owner_of(cluster, info);
	if (owner && owner->by_row && info->node < owner->row_cap && owner->by_row[info->node])
		owner->by_row[info->node]--;
}

static void count(struct cluster *cluster, struct pod_info *info, uint32_t row) {
	info->node = row;
	free(info->node_name);
	info->node_name = NULL;
	owner_count_row(cluster, info);
	list_push_back(&cluster->rows[row].pods, &info->on_node);
	cluster->rows[row].pod_count++;
	for (size_t i = 0; i < info->facts->request_count; i++)
		cluster->columns[info->facts->requests[i].id].requested[row] += info->facts->requests[i].amount;
	cluster->columns[RESOURCE_PODS].requested[row]++;
	cluster->score_cpu[row] += info->facts->score_cpu;
	cluster->score_memory[row] += info->facts->score_memory;
}

static void uncount(struct cluster *cluster, struct pod_info *info) {
	uint32_t row = info->node;
	if (row == NO_NODE)
		return;
	owner_uncount_row(cluster, info);
	list_remove(&info->on_node);
	cluster->rows[row].pod_count--;
	for (size_t i = 0; i < info->facts->request_count; i++)
		cluster->columns[info->facts->requests[i].id].requested[row] -= info->facts->requests[i].amount;
	cluster->columns[RESOURCE_PODS].requested[row]--;
	cluster->score_cpu[row] -= info->facts->score_cpu;
	cluster->score_memory[row] -= info->facts->score_memory;
	info->node = NO_NODE;
}

/* Pods can be heard of before their node: they are counted when it comes. */
static void count_waiting(struct cluster *cluster, const char *name, uint32_t row) {
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&cluster->pods, &i));) {
		struct pod_info *info = e->value;
		if (info->node == NO_NODE && str_equal(info->node_name, name))
			count(cluster, info, row);
	}
}

/* Zones are few, and their numbers are kept for good. */
static int64_t zone_number(struct cluster *cluster, const char *zone) {
	if (!zone)
		return 0;
	uintptr_t number = (uintptr_t)map_get(&cluster->zone_numbers, zone);
	if (!number) {
		number = cluster->zone_numbers.len + 1;
		map_set(&cluster->zone_numbers, zone, (void *)number);
	}
	return (int64_t)number;
}

void cluster_set_node(struct cluster *cluster, struct core_v1_node *node) {
	const char *name = node->metadata.name;
	uint32_t row = cluster_find_node(cluster, name);
	bool fresh = row == NO_NODE;
	if (fresh) {
		row = new_row(cluster);
		list_init(&cluster->rows[row].pods);
		cluster->rows[row].pod_count = 0;
		map_set(&cluster->by_name, name, (void *)(uintptr_t)(row + 1));
		cluster->node_count++;
	}
	api_ref(node);
	api_unref(cluster->rows[row].node);
	cluster->rows[row].node = node;
	cluster->zones[row] = zone_number(cluster, api_map_get(&node->metadata.labels, LABEL_ZONE));
	for (uint16_t i = 0; i < cluster->column_count; i++)
		cluster->columns[i].allocatable[row] = 0;
	for (uint32_t i = 0; i < node->status.allocatable.len; i++) {
		uint16_t id = cluster_resource_id(cluster, node->status.allocatable.items[i].key);
		if (id < RESOURCES_MAX)
			cluster->columns[id].allocatable[row] = amount_of(id, &node->status.allocatable.items[i].value);
	}
	if (fresh)
		count_waiting(cluster, name, row);
}

void cluster_remove_node(struct cluster *cluster, const char *name) {
	uint32_t row = cluster_find_node(cluster, name);
	if (row == NO_NODE)
		return;
	struct pod_info *info;
	list_for_each (info, &cluster->rows[row].pods, on_node) {
		uncount(cluster, info);
		info->node_name = xstrdup(name);
	}
	api_unref(cluster->rows[row].node);
	cluster->rows[row].node = NULL;
	map_remove(&cluster->by_name, name);
	cluster->node_count--;
}

/* ---- pods ---- */

struct sums {
	struct cluster *cluster;
	int64_t amounts[RESOURCES_MAX];
};

static void add_list(struct sums *sums, const struct api_quantity_map *list) {
	for (uint32_t i = 0; i < list->len; i++) {
		uint16_t id = cluster_resource_id(sums->cluster, list->items[i].key);
		if (id < RESOURCES_MAX)
			sums->amounts[id] += amount_of(id, &list->items[i].value);
	}
}

static void sum_requests(struct cluster *cluster, const struct core_v1_pod *pod, struct sums *total) {
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map requests;
	total->cluster = cluster;
	pod_requests(pod, arena, &requests);
	add_list(total, &requests);
}

static void score_requests(struct pod_facts *facts, const struct sums *total) {
	const struct core_v1_pod_spec *spec = &facts->pod->spec;
	facts->score_cpu = total->amounts[RESOURCE_CPU];
	facts->score_memory = total->amounts[RESOURCE_MEMORY];
	for api_list_each (container, &spec->containers) {
		if (!api_quantity_get(&container->resources.requests, "cpu"))
			facts->score_cpu += DEFAULT_SCORE_CPU;
		if (!api_quantity_get(&container->resources.requests, "memory"))
			facts->score_memory += DEFAULT_SCORE_MEMORY;
	}
}

static void collect_ports(struct pod_facts *facts) {
	const struct core_v1_pod_spec *spec = &facts->pod->spec;
	size_t n = 0;
	for api_list_each (container, &spec->containers)
		n += container->ports.len;
	for api_list_each (container, &spec->init_containers)
		n += container->ports.len;
	facts->ports = arena_calloc(facts->arena, n + 1, sizeof(*facts->ports));
	for (int init = 0; init < 2; init++) {
		const struct core_v1_container *containers = init ? spec->init_containers.items : spec->containers.items;
		uint32_t len = init ? spec->init_containers.len : spec->containers.len;
		for (uint32_t i = 0; i < len; i++) {
			if (init && !pod_is_sidecar(&containers[i]))
				continue;
			for api_list_each (port, &containers[i].ports)
				if (port->host_port > 0)
					facts->ports[facts->port_count++] = (struct host_port){str_or(port->protocol, "TCP"), str_or(port->host_ip, "0.0.0.0"), port->host_port};
		}
	}
}

struct pod_facts *pod_facts_new(struct cluster *cluster, struct core_v1_pod *pod) {
	struct pod_facts *facts = xnew(struct pod_facts);
	autofree struct sums *total = xnew(struct sums);
	facts->pod = api_ref(pod);
	facts->arena = arena_new();
	facts->priority = pod->spec.priority ? *pod->spec.priority : 0;
	for api_list_each (owner, &pod->metadata.owner_references)
		if (owner->controller && *owner->controller)
			facts->owner_uid = owner->uid;
	sum_requests(cluster, pod, total);
	for (unsigned i = 0; i < RESOURCES_MAX; i++)
		facts->request_count += total->amounts[i] != 0;
	facts->requests = arena_calloc(facts->arena, facts->request_count + 1, sizeof(*facts->requests));
	for (unsigned i = 0, n = 0; i < RESOURCES_MAX; i++)
		if (total->amounts[i])
			facts->requests[n++] = (struct resource_request){(uint16_t)i, total->amounts[i]};
	score_requests(facts, total);
	collect_ports(facts);
	const struct core_v1_affinity *affinity = pod->spec.affinity;
	facts->has_affinity = affinity && affinity->pod_affinity && affinity->pod_affinity->required_during_scheduling_ignored_during_execution.len;
	facts->has_anti_affinity = affinity && affinity->pod_anti_affinity && affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution.len;
	return facts;
}

void pod_facts_free(struct pod_facts *facts) {
	if (!facts)
		return;
	api_unref(facts->pod);
	arena_free(facts->arena);
	free(facts);
}

#define FACTS_KEY 20
static void facts_key(uint64_t hash, char out[FACTS_KEY]) {
	snprintf(out, FACTS_KEY, "%llx", (unsigned long long)hash);
}

/* The facts of a pod on a node, one use counted: those of a pod like it, where there is one. */
static struct pod_facts *share_facts(struct cluster *cluster, const struct core_v1_pod *pod) {
	const struct core_v1_pod_spec *all = &pod->spec;
	const struct meta_v1_object_meta meta = {.namespace = pod->metadata.namespace, .labels = pod->metadata.labels, .owner_references = pod->metadata.owner_references};
	const struct core_v1_pod_spec spec = {.containers = all->containers, .init_containers = all->init_containers, .overhead = all->overhead, .resources = all->resources,
		.affinity = all->affinity, .priority = all->priority};
	uint64_t hash = api_hash(&core_v1_pod_spec_type, &spec) * 31 + api_hash(&meta_v1_object_meta_type, &meta);
	char key[FACTS_KEY];
	facts_key(hash, key);
	struct pod_facts *there = map_get(&cluster->facts, key);
	if (there && api_equal(&core_v1_pod_spec_type, &there->pod->spec, &spec) && api_equal(&meta_v1_object_meta_type, &there->pod->metadata, &meta)) {
		there->users++;
		return there;
	}
	autounref struct core_v1_pod *copy = api_new_of(core_v1_pod);
	api_copy_value(&meta_v1_object_meta_type, &copy->metadata, &meta, api_arena(copy));
	api_copy_value(&core_v1_pod_spec_type, &copy->spec, &spec, api_arena(copy));
	struct pod_facts *facts = pod_facts_new(cluster, copy);
	facts->users = 1;
	facts->hash = hash;
	if (!there)
		map_set(&cluster->facts, key, facts);
	return facts;
}

static void facts_unref(struct cluster *cluster, struct pod_facts *facts) {
	char key[FACTS_KEY];
	if (--facts->users)
		return;
	facts_key(facts->hash, key);
	if (map_get(&cluster->facts, key) == facts)
		map_take(&cluster->facts, key);
	pod_facts_free(facts);
}

static void pod_info_free(struct cluster *cluster, struct pod_info *info) {
	facts_unref(cluster, info->facts);
	free(info->key);
	free(info->node_name);
	free(info);
}

struct pod_info *cluster_find_pod(const struct cluster *cluster, const char *key) {
	return map_get(&cluster->pods, key);
}

void cluster_remove_pod(struct cluster *cluster, const char *key) {
	struct pod_info *info = map_take(&cluster->pods, key);
	if (!info)
		return;
	uncount(cluster, info);
	list_remove(&info->anti);
	list_remove(&info->of_owner);
	struct owner_pods *owner = owner_of(cluster, info);
	if (owner && --owner->count == 0)
		map_remove(&cluster->owners, info->facts->owner_uid);
	pod_info_free(cluster, info);
}

static void join_owner(struct cluster *cluster, struct pod_info *info) {
	if (!info->facts->owner_uid)
		return;
	struct owner_pods *owner = map_get(&cluster->owners, info->facts->owner_uid);
	if (!owner) {
		owner = xnew(struct owner_pods);
		list_init(&owner->pods);
		map_set(&cluster->owners, info->facts->owner_uid, owner);
	}
	list_push_back(&owner->pods, &info->of_owner);
	owner->count++;
}

bool cluster_add_pod(struct cluster *cluster, const struct core_v1_pod *pod, const char *node_name, bool assumed) {
	const char *key = api_key(pod);
	struct pod_facts *facts = share_facts(cluster, pod);
	struct pod_info *info = map_get(&cluster->pods, key);
	uint32_t row = cluster_find_node(cluster, node_name);
	bool going = pod->metadata.deletion_timestamp.set;
	if (info && info->facts == facts && info->node == row && row != NO_NODE) {
		bool changed = info->going != going;
		facts_unref(cluster, facts);
		info->assumed = assumed;
		info->going = going;
		return changed;
	}
	cluster_remove_pod(cluster, key);
	info = xnew(struct pod_info);
	*info = (struct pod_info){.facts = facts, .key = xstrdup(key), .node = NO_NODE, .node_name = row == NO_NODE ? xstrdup(node_name) : NULL, .assumed = assumed, .going = going};
	list_init(&info->on_node);
	list_init(&info->of_owner);
	list_init(&info->anti);
	map_set(&cluster->pods, info->key, info);
	join_owner(cluster, info);
	if (facts->has_anti_affinity)
		list_push_back(&cluster->anti_affine, &info->anti);
	if (row != NO_NODE)
		count(cluster, info, row);
	return true;
}

const struct core_v1_namespace *cluster_namespace(const struct cluster *cluster, const char *name) {
	return map_get(&cluster->namespaces, name);
}

void cluster_set_namespace(struct cluster *cluster, const char *name, struct core_v1_namespace *ns) {
	if (ns)
		map_set(&cluster->namespaces, name, api_ref(ns));
	else
		map_remove(&cluster->namespaces, name);
}
