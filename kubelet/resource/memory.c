/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/memory.h"

#include "common/base/buf.h"
#include "common/base/map.h"
#include "kubelet/resource/checkpoint.h"

#include <errno.h>
#include <inttypes.h>

static const struct memory_policy *const policies[] = {&memory_policy_none, &memory_policy_static};

bool memory_is_type(const char *name) {
	return str_equal(name, "memory") || str_starts_with(name, "hugepages-");
}

/* ---- what is reserved ---- */

void memory_reservations_done(struct memory_reservations *reservations) {
	for (size_t i = 0; i < reservations->len; i++)
		free(reservations->items[i].type);
	free(reservations->items);
	*reservations = (struct memory_reservations){0};
}

static int parse_amount(const char *text, int node, struct memory_reservations *to, struct error *err) {
	const char *equal = strchr(text, '=');
	autofree char *type = xstrndup(text, equal ? (size_t)(equal - text) : strlen(text));
	struct quantity size;
	if (!equal || !memory_is_type(type))
		return error_set(err, EINVAL, "reserved-memory: want memory=<quantity> or hugepages-<size>=<quantity>, not \"%s\"", text);
	if (quantity_parse(equal + 1, strlen(equal + 1), &size) < 0 || quantity_value(&size) <= 0)
		return error_set(err, EINVAL, "reserved-memory: \"%s\" is no quantity above zero", equal + 1);
	for (size_t i = 0; i < to->len; i++)
		if (to->items[i].node == node && str_equal(to->items[i].type, type))
			return error_set(err, EINVAL, "reserved-memory: NUMA node %d has %s twice", node, type);
	to->items = xreallocarray(to->items, to->len + 1, sizeof(*to->items));
	to->items[to->len++] = (struct memory_reservation){.node = node, .type = take_ptr(type), .size = (uint64_t)quantity_value(&size)};
	return 0;
}

static int parse_node(char *text, struct memory_reservations *to, struct error *err) {
	char *colon = strchr(text, ':'), *save = NULL;
	int64_t node;
	int r = 0;
	if (colon)
		*colon = '\0';
	if (!colon || !str_to_int64(text, 0, INT32_MAX, &node))
		return error_set(err, EINVAL, "reserved-memory: want <NUMA node>:<type>=<quantity>, not \"%s\"", text);
	for (char *amount = strtok_r(colon + 1, ",", &save); r == 0 && amount; amount = strtok_r(NULL, ",", &save))
		r = parse_amount(amount, (int)node, to, err);
	return r;
}

int memory_reservations_parse(const struct flag_list *list, struct memory_reservations *ret, struct error *err) {
	struct memory_reservations out = {0};
	int r = 0;
	for (size_t i = 0; r == 0 && i < list->len; i++) {
		autofree char *copy = xstrdup(list->items[i]);
		char *save = NULL;
		for (char *part = strtok_r(copy, ";", &save); r == 0 && part; part = strtok_r(NULL, ";", &save))
			r = parse_node(part, &out, err);
	}
	if (r < 0)
		memory_reservations_done(&out);
	else
		*ret = out;
	return r;
}

/* ---- what is where ---- */

struct memory_node *memory_node_of(const struct memory_node *nodes, size_t count, int id) {
	for (size_t i = 0; i < count; i++)
		if (nodes[i].id == id)
			return (struct memory_node *)&nodes[i];
	return NULL;
}

struct memory_table *memory_table_of(struct memory_node *node, const char *type) {
	for (size_t i = 0; node && i < node->table_count; i++)
		if (str_equal(node->tables[i].type, type))
			return &node->tables[i];
	return NULL;
}

void memory_nodes_free(struct memory_node *nodes, size_t count) {
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < nodes[i].table_count; k++)
			free(nodes[i].tables[k].type);
	free(nodes);
}

void memory_book(struct memory_node *nodes, size_t count, uint64_t on, const char *type, uint64_t size) {
	for (size_t i = 0; i < count; i++) {
		struct memory_node *node = &nodes[i];
		if (!(on >> node->id & 1))
			continue;
		struct memory_table *table = memory_table_of(node, type);
		uint64_t part = table ? min_of(table->free_bytes, size) : 0;
		node->assignments++;
		node->cells = on;
		if (table) {
			table->reserved += part;
			table->free_bytes -= part;
		}
		size -= part;
	}
}

static void unbook(struct memory_manager *memory, const struct memory_block *block) {
	uint64_t size = block->size;
	for (size_t i = 0; i < memory->node_count; i++) {
		struct memory_node *node = &memory->nodes[i];
		if (!(block->nodes >> node->id & 1))
			continue;
		struct memory_table *table = memory_table_of(node, block->type);
		uint64_t part = table ? min_of(table->reserved, size) : 0;
		if (--node->assignments == 0)
			node->cells = (uint64_t)1 << node->id;
		if (table) {
			table->reserved -= part;
			table->free_bytes += part;
		}
		size -= part;
	}
}

/* ---- who has what ---- */

struct memory_holding *memory_manager_find(const struct memory_manager *memory, const char *pod_uid, const char *container) {
	for (size_t i = 0; i < memory->holding_count; i++)
		if (str_equal(memory->holdings[i].pod_uid, pod_uid) && str_equal(memory->holdings[i].container, container))
			return &memory->holdings[i];
	return NULL;
}

void memory_manager_hold(struct memory_manager *memory, const char *pod_uid, const char *container, struct memory_block *take_blocks, size_t count) {
	memory->holdings = xreallocarray(memory->holdings, memory->holding_count + 1, sizeof(*memory->holdings));
	memory->holdings[memory->holding_count++] = (struct memory_holding){.pod_uid = xstrdup(pod_uid), .container = xstrdup(container), .blocks = take_blocks, .count = count};
}

static void blocks_free(struct memory_block *blocks, size_t count) {
	for (size_t i = 0; i < count; i++)
		free(blocks[i].type);
	free(blocks);
}

static void holding_done(struct memory_holding *holding) {
	blocks_free(holding->blocks, holding->count);
	free(holding->pod_uid);
	free(holding->container);
}

static void forget_lent(struct memory_manager *memory) {
	free(take_ptr(memory->lender));
	blocks_free(take_ptr(memory->lent), memory->lent_count);
	memory->lent_count = 0;
}

bool memory_manager_release(struct memory_manager *memory, const char *pod_uid, const char *container) {
	size_t kept = 0, before = memory->holding_count;
	for (size_t i = 0; i < before; i++) {
		struct memory_holding *holding = &memory->holdings[i];
		if (!str_equal(holding->pod_uid, pod_uid) || (container && !str_equal(holding->container, container))) {
			memory->holdings[kept++] = *holding;
			continue;
		}
		for (size_t k = 0; k < holding->count; k++)
			unbook(memory, &holding->blocks[k]);
		holding_done(holding);
	}
	memory->holding_count = kept;
	if (!container && str_equal(memory->lender, pod_uid))
		forget_lent(memory);
	return kept != before;
}

uint64_t memory_manager_nodes(const struct memory_manager *memory, const char *pod_uid, const char *container) {
	const struct memory_holding *holding = memory_manager_find(memory, pod_uid, container);
	uint64_t nodes = 0;
	for (size_t i = 0; holding && i < holding->count; i++)
		nodes |= holding->blocks[i].nodes;
	return nodes;
}

/* ---- what is kept ---- */

static json_t *nodes_json(uint64_t nodes) {
	json_t *list = json_array();
	for (uint64_t rest = nodes; rest; rest &= rest - 1)
		json_array_append_new(list, json_integer(__builtin_ctzll(rest)));
	return list;
}

static json_t *number(uint64_t value) {
	return json_integer((json_int_t)min_of(value, (uint64_t)INT64_MAX));
}

static json_t *machine_json(const struct memory_manager *memory) {
	json_t *machine = json_object();
	for (size_t i = 0; i < memory->node_count; i++) {
		const struct memory_node *node = &memory->nodes[i];
		json_t *map = json_object();
		for (size_t k = 0; k < node->table_count; k++) {
			const struct memory_table *t = &node->tables[k];
			json_object_set_new(map, t->type, json_pack("{s:o,s:o,s:o,s:o,s:o}", "total", number(t->total), "systemReserved", number(t->system_reserved), "allocatable", number(t->allocatable), "reserved", number(t->reserved), "free", number(t->free_bytes)));
		}
		autofree char *id = xprintf("%d", node->id);
		json_object_set_new(machine, id, json_pack("{s:I,s:o,s:o}", "numberOfAssignments", (json_int_t)node->assignments, "memoryMap", map, "cells", nodes_json(node->cells)));
	}
	return machine;
}

static json_t *entries_json(const struct memory_manager *memory) {
	json_t *entries = json_object();
	for (size_t i = 0; i < memory->holding_count; i++) {
		const struct memory_holding *holding = &memory->holdings[i];
		json_t *blocks = json_array();
		for (size_t k = 0; k < holding->count; k++)
			json_array_append_new(blocks, json_pack("{s:o,s:s,s:o}", "numaAffinity", nodes_json(holding->blocks[k].nodes), "type", holding->blocks[k].type, "size", number(holding->blocks[k].size)));
		if (!json_object_get(entries, holding->pod_uid))
			json_object_set_new(entries, holding->pod_uid, json_object());
		json_object_set_new(json_object_get(entries, holding->pod_uid), holding->container, blocks);
	}
	return entries;
}

/* ---- its sum ---- */

static void show_list(struct buf *text, const json_t *list) {
	size_t i;
	json_t *item;
	if (!json_is_array(list)) {
		buf_append_str(text, "<nil>");
		return;
	}
	buf_append_char(text, '[');
	json_array_foreach(list, i, item)
		buf_printf(text, "%s%lld", i ? " " : "", (long long)json_integer_value(item));
	buf_append_char(text, ']');
}

static long long field(const json_t *object, const char *name) {
	return (long long)json_integer_value(json_object_get(object, name));
}

static void show_map(struct buf *text, const json_t *map) {
	if (!json_is_object(map)) {
		buf_append_str(text, "<nil>");
		return;
	}
	autofree const char **types = checkpoint_names(map);
	buf_append_str(text, "map[");
	for (size_t i = 0; types[i]; i++) {
		const json_t *t = json_object_get(map, types[i]);
		buf_printf(text, "%s%s:<*>{TotalMemSize:(uint64)%lld SystemReserved:(uint64)%lld Allocatable:(uint64)%lld Reserved:(uint64)%lld Free:(uint64)%lld}", i ? " " : "", types[i], field(t, "total"), field(t, "systemReserved"),
			   field(t, "allocatable"), field(t, "reserved"), field(t, "free"));
	}
	buf_append_char(text, ']');
}

static int by_number(const void *a, const void *b) {
	long long x = atoll(*(const char *const *)a), y = atoll(*(const char *const *)b);
	return x < y ? -1 : x > y;
}

static void show_machine(struct buf *text, const json_t *machine) {
	autofree const char **ids = checkpoint_names(machine);
	size_t count = json_object_size(machine);
	if (count)
		qsort(ids, count, sizeof(*ids), by_number);
	buf_append_str(text, "map[");
	for (size_t i = 0; i < count; i++) {
		const json_t *node = json_object_get(machine, ids[i]);
		buf_printf(text, "%s%s:<*>{NumberOfAssignments:(int)%lld MemoryMap:(map[v1.ResourceName]*state.MemoryTable)", i ? " " : "", ids[i], field(node, "numberOfAssignments"));
		show_map(text, json_object_get(node, "memoryMap"));
		buf_append_str(text, " Cells:([]int)");
		show_list(text, json_object_get(node, "cells"));
		buf_append_char(text, '}');
	}
	buf_append_char(text, ']');
}

static void show_blocks(struct buf *text, const json_t *blocks) {
	size_t i;
	json_t *block;
	buf_append_char(text, '[');
	json_array_foreach(blocks, i, block) {
		buf_printf(text, "%s{NUMAAffinity:([]int)", i ? " " : "");
		show_list(text, json_object_get(block, "numaAffinity"));
		buf_printf(text, " Type:(v1.ResourceName)%s Size:(uint64)%lld}", str_or(json_string_value(json_object_get(block, "type")), ""), field(block, "size"));
	}
	buf_append_char(text, ']');
}

static uint32_t sum_of(const char *policy, const json_t *machine, const json_t *entries) {
	autobuf struct buf text = BUF_INIT(CHECKPOINT_MAX);
	autofree const char **pods = checkpoint_names(entries);
	buf_printf(&text, "(*state.MemoryManagerCheckpoint){PolicyName:(string)%s MachineState:(state.NUMANodeMap)", policy);
	show_machine(&text, machine);
	buf_append_str(&text, " Entries:(state.ContainerMemoryAssignments)map[");
	for (size_t i = 0; pods[i]; i++) {
		const json_t *pod = json_object_get(entries, pods[i]);
		autofree const char **containers = checkpoint_names(pod);
		buf_printf(&text, "%s%s:map[", i ? " " : "", pods[i]);
		for (size_t k = 0; containers[k]; k++) {
			buf_printf(&text, "%s%s:", k ? " " : "", containers[k]);
			show_blocks(&text, json_object_get(pod, containers[k]));
		}
		buf_append_char(&text, ']');
	}
	buf_append_str(&text, "] Checksum:(checksum.Checksum)0}");
	return hash_fnv32(text.data, text.len);
}

int memory_manager_save(const struct memory_manager *memory, struct error *err) {
	json_t *machine = machine_json(memory), *entries = entries_json(memory);
	uint32_t sum = sum_of(memory->policy->name, machine, entries);
	json_t *state = json_pack("{s:s,s:o}", "policyName", memory->policy->name, "machineState", machine);
	if (json_object_size(entries))
		json_object_set(state, "entries", entries);
	json_object_set_new(state, "checksum", json_integer(sum));
	int r = checkpoint_write(memory->state_path, state, err);
	json_decref(entries);
	json_decref(state);
	return r;
}

/* ---- reading it ---- */

static int damaged(struct error *err) {
	return error_set(err, EBADMSG, "it is damaged");
}

static int read_nodes(const json_t *list, uint64_t *ret, struct error *err) {
	uint64_t nodes = 0;
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		if (!json_is_integer(item) || json_integer_value(item) < 0 || json_integer_value(item) >= MACHINE_MAX_NODES)
			return damaged(err);
		nodes |= (uint64_t)1 << json_integer_value(item);
	}
	*ret = nodes;
	return 0;
}

static bool read_size(const json_t *object, const char *name, uint64_t *ret) {
	const json_t *value = json_object_get(object, name);
	if (!json_is_integer(value) || json_integer_value(value) < 0)
		return false;
	*ret = (uint64_t)json_integer_value(value);
	return true;
}

static int read_node(struct memory_manager *memory, const char *id, const json_t *state, struct error *err) {
	const json_t *map = json_object_get(state, "memoryMap");
	int64_t number;
	const char *type;
	json_t *t;
	if (!str_to_int64(id, 0, MACHINE_MAX_NODES - 1, &number) || json_object_size(map) > MEMORY_MAX_TYPES || memory->node_count == MACHINE_MAX_NODES)
		return damaged(err);
	struct memory_node *node = &memory->nodes[memory->node_count++];
	*node = (struct memory_node){.id = (int)number, .assignments = json_integer_value(json_object_get(state, "numberOfAssignments"))};
	json_object_foreach((json_t *)map, type, t) {
		struct memory_table *table = &node->tables[node->table_count++];
		*table = (struct memory_table){.type = xstrdup(type)};
		if (!read_size(t, "total", &table->total) || !read_size(t, "systemReserved", &table->system_reserved) || !read_size(t, "allocatable", &table->allocatable) || !read_size(t, "reserved", &table->reserved) || !read_size(t, "free", &table->free_bytes))
			return damaged(err);
	}
	return read_nodes(json_object_get(state, "cells"), &node->cells, err);
}

static int by_id(const void *a, const void *b) {
	return ((const struct memory_node *)a)->id - ((const struct memory_node *)b)->id;
}

static int read_machine(struct memory_manager *memory, const json_t *machine, struct error *err) {
	const char *id;
	json_t *node;
	int r = 0;
	memory->nodes = xcalloc(MACHINE_MAX_NODES, sizeof(*memory->nodes));
	json_object_foreach((json_t *)machine, id, node)
		if (r == 0)
			r = read_node(memory, id, node, err);
	memory->nodes = xreallocarray(memory->nodes, memory->node_count + 1, sizeof(*memory->nodes));
	qsort(memory->nodes, memory->node_count, sizeof(*memory->nodes), by_id);
	return r;
}

static int read_blocks(struct memory_manager *memory, const char *pod, const char *container, const json_t *list, struct error *err) {
	size_t count = json_array_size(list), i;
	struct memory_block *blocks = xcalloc(count + 1, sizeof(*blocks));
	json_t *block;
	int r = 0;
	json_array_foreach(list, i, block) {
		const char *type = json_string_value(json_object_get(block, "type"));
		blocks[i].type = xstrdup(str_or(type, ""));
		if (r == 0)
			r = type && read_size(block, "size", &blocks[i].size) ? read_nodes(json_object_get(block, "numaAffinity"), &blocks[i].nodes, err) : damaged(err);
	}
	memory_manager_hold(memory, pod, container, blocks, count);
	return r;
}

static int load_state(struct memory_manager *memory, const json_t *state, struct error *err) {
	const json_t *machine = json_object_get(state, "machineState"), *entries = json_object_get(state, "entries");
	const char *pod, *container;
	json_t *of_pod, *blocks;
	if ((machine && !json_is_object(machine)) || (entries && !json_is_object(entries)))
		return damaged(err);
	if (!checkpoint_check(state, sum_of(memory->policy->name, machine, entries)))
		return error_set(err, EBADMSG, "checkpoint is corrupted");
	int r = read_machine(memory, machine, err);
	json_object_foreach((json_t *)entries, pod, of_pod)
		json_object_foreach(of_pod, container, blocks)
			if (r == 0)
				r = read_blocks(memory, pod, container, blocks, err);
	return r;
}

static int load(struct memory_manager *memory, struct error *err) {
	autoerror struct error problem = {0};
	json_t *state = NULL;
	int r = checkpoint_read(memory->state_path, memory->policy->name, &state, &problem);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = load_state(memory, state, &problem);
	json_decref(state);
	if (r < 0) {
		checkpoint_refuse(memory->state_path, "memory", &problem);
		return error_move(err, &problem);
	}
	return 0;
}

/* ---- its life ---- */

int memory_manager_init(struct memory_manager *memory, const struct machine *machine, const struct memory_options *options, struct error *err) {
	*memory = (struct memory_manager){.machine = machine, .options = options, .state_path = xstrdup(options->state_path)};
	for (size_t i = 0; i < array_len(policies); i++)
		if (str_equal(policies[i]->name, options->policy))
			memory->policy = policies[i];
	int r = memory->policy ? 0 : error_set(err, EINVAL, "memory-manager-policy: there is no \"%s\"", options->policy);
	if (r == 0)
		r = memory->policy->init(memory, err);
	if (r == 0)
		r = load(memory, err);
	if (r == 0 && (r = memory->policy->check(memory, err)) < 0)
		error_context(err, "the memory manager's state %s does not fit: drain the node and remove the file", memory->state_path);
	if (r == 0)
		r = memory_manager_save(memory, err);
	memory->options = NULL;
	if (r < 0)
		memory_manager_done(memory);
	return r;
}

void memory_manager_done(struct memory_manager *memory) {
	for (size_t i = 0; i < memory->holding_count; i++)
		holding_done(&memory->holdings[i]);
	free(memory->holdings);
	memory_nodes_free(memory->nodes, memory->node_count);
	forget_lent(memory);
	free(memory->state_path);
	*memory = (struct memory_manager){0};
}
