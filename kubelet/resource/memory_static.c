/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers of Guaranteed pods get their memory and huge pages on as few NUMA nodes as can be, and may use no others. Nodes that some container has
 * together are given together or not at all; a node alone is not given together with others while a container has a part of it.
 */
#include "common/base/log.h"
#include "kubelet/container/resources.h"
#include "kubelet/resource/cpu.h"
#include "kubelet/resource/memory.h"

#include <errno.h>

/* ---- what the machine has ---- */

static uint64_t reserved_of(const struct memory_options *options, int node, const char *type) {
	for (size_t i = 0; i < options->reserved->len; i++)
		if (options->reserved->items[i].node == node && str_equal(options->reserved->items[i].type, type))
			return options->reserved->items[i].size;
	return 0;
}

static int add_table(struct memory_node *node, const char *type, uint64_t total, uint64_t taken, uint64_t reserved, struct error *err) {
	if (taken > total || reserved > total - taken)
		return error_set(err, EINVAL, "reserved-memory: NUMA node %d has less %s than is reserved of it", node->id, type);
	uint64_t allocatable = total - taken - reserved;
	node->tables[node->table_count++] = (struct memory_table){.type = xstrdup(type), .total = total, .system_reserved = reserved, .allocatable = allocatable, .free_bytes = allocatable};
	return 0;
}

/* Nothing given yet. */
static int describe(const struct memory_manager *memory, struct memory_node **ret, struct error *err) {
	const struct machine *machine = memory->machine;
	struct memory_node *nodes = xcalloc(machine->node_count + 1, sizeof(*nodes));
	int r = 0;
	for (size_t i = 0; r == 0 && i < machine->node_count; i++) {
		const struct machine_node *from = &machine->nodes[i];
		uint64_t in_pages = 0;
		nodes[i] = (struct memory_node){.id = from->id, .cells = (uint64_t)1 << from->id};
		for (size_t k = 0; r == 0 && k < from->page_sizes; k++) {
			struct quantity q = quantity_of((int64_t)from->pages[k].size, QUANTITY_BINARY_SI);
			char size[64];
			quantity_format(&q, size);
			autofree char *type = xprintf("hugepages-%s", size);
			uint64_t total = from->pages[k].size * from->pages[k].count;
			r = add_table(&nodes[i], type, total, 0, reserved_of(memory->options, from->id, type), err);
			in_pages += total;
		}
		if (r == 0)
			r = add_table(&nodes[i], "memory", from->memory, min_of(in_pages, from->memory), reserved_of(memory->options, from->id, "memory"), err);
	}
	if (r < 0)
		memory_nodes_free(nodes, machine->node_count);
	else
		*ret = nodes;
	return r;
}

/* In sum it must be what the node keeps from pods anyway. */
static int check_sum(const struct memory_options *options, const char *type, struct error *err) {
	const struct quantity *want = api_quantity_get(options->node_reserved, type);
	uint64_t sum = 0;
	for (size_t i = 0; i < options->reserved->len; i++)
		if (str_equal(options->reserved->items[i].type, type))
			sum += options->reserved->items[i].size;
	if (sum == (want ? (uint64_t)quantity_value(want) : 0))
		return 0;
	return error_set(err, EINVAL, "reserved-memory: the total amount \"%llu\" of type \"%s\" is not equal to the value \"%llu\" determined by Node Allocatable feature", (unsigned long long)sum, type,
			 (unsigned long long)(want ? quantity_value(want) : 0));
}

static int init(struct memory_manager *memory, struct error *err) {
	const struct memory_options *o = memory->options;
	bool any = false;
	int r = 0;
	for (size_t i = 0; i < o->reserved->len; i++) {
		any = any || str_equal(o->reserved->items[i].type, "memory");
		if (!machine_node(memory->machine, o->reserved->items[i].node))
			return error_set(err, EINVAL, "reserved-memory: the machine has no NUMA node %d", o->reserved->items[i].node);
	}
	for (size_t i = 0; r == 0 && i < o->reserved->len; i++)
		r = check_sum(o, o->reserved->items[i].type, err);
	for (uint32_t i = 0; r == 0 && i < o->node_reserved->len; i++)
		if (memory_is_type(o->node_reserved->items[i].key))
			r = check_sum(o, o->node_reserved->items[i].key, err);
	return r < 0 || any ? r : error_set(err, EINVAL, "the memory manager's static policy wants reserved-memory");
}

/* ---- whether what was kept fits ---- */

static uint64_t sum_cells(struct memory_node *nodes, size_t count, uint64_t cells, const char *type, bool of_free) {
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++) {
		const struct memory_table *table = cells >> nodes[i].id & 1 ? memory_table_of(&nodes[i], type) : NULL;
		sum += table ? of_free ? table->free_bytes : table->reserved : 0;
	}
	return sum;
}

/* What does not change while the machine and what is reserved stay the same. */
static bool same_machine(const struct memory_node *a, size_t count_a, const struct memory_node *b, size_t count_b) {
	if (count_a != count_b)
		return false;
	for (size_t i = 0; i < count_a; i++) {
		if (a[i].id != b[i].id || a[i].table_count != b[i].table_count)
			return false;
		for (size_t k = 0; k < a[i].table_count; k++) {
			const struct memory_table *x = &a[i].tables[k], *y = memory_table_of((struct memory_node *)&b[i], x->type);
			if (!y || x->total != y->total || x->system_reserved != y->system_reserved || x->allocatable != y->allocatable)
				return false;
		}
	}
	return true;
}

/* How a sum is spread over nodes that are given together depends on the order of containers. */
static bool same_books(struct memory_node *a, struct memory_node *b, size_t count) {
	for (size_t i = 0; i < count; i++) {
		if (a[i].assignments != b[i].assignments || a[i].cells != b[i].cells)
			return false;
		for (size_t k = 0; k < a[i].table_count; k++)
			for (int of_free = 0; of_free < 2; of_free++)
				if (sum_cells(a, count, a[i].cells, a[i].tables[k].type, of_free) != sum_cells(b, count, a[i].cells, a[i].tables[k].type, of_free))
					return false;
	}
	return true;
}

static int expect(const struct memory_manager *memory, struct memory_node *nodes, struct error *err) {
	for (size_t i = 0; i < memory->holding_count; i++)
		for (size_t k = 0; k < memory->holdings[i].count; k++) {
			const struct memory_block *block = &memory->holdings[i].blocks[k];
			for (uint64_t rest = block->nodes; rest; rest &= rest - 1)
				if (!memory_table_of(memory_node_of(nodes, memory->machine->node_count, __builtin_ctzll(rest)), block->type))
					return error_set(err, EBADMSG, "(pod: %s, container: %s) the memory assignment uses what the machine does not have", memory->holdings[i].pod_uid, memory->holdings[i].container);
			memory_book(nodes, memory->machine->node_count, block->nodes, block->type, block->size);
		}
	return 0;
}

static int check(struct memory_manager *memory, struct error *err) {
	struct memory_node *nodes = NULL;
	size_t count = memory->machine->node_count;
	int r = describe(memory, &nodes, err);
	if (r < 0)
		return r;
	if (!memory->node_count && memory->holding_count)
		r = error_set(err, EBADMSG, "machine state can not be empty when it has memory assignments");
	else if (memory->node_count && !same_machine(nodes, count, memory->nodes, memory->node_count))
		r = error_set(err, EBADMSG, "the expected machine state is different from the real one");
	else
		r = expect(memory, nodes, err);
	/* The holdings are what counts: where the books say something else of the same machine, they are made anew. */
	if (r == 0 && (!memory->node_count || !same_books(nodes, memory->nodes, count))) {
		if (memory->node_count)
			log_warning("memory manager: the books do not say what containers have, and are made anew");
		memory_nodes_free(memory->nodes, memory->node_count);
		memory->nodes = take_ptr(nodes);
		memory->node_count = count;
	}
	memory_nodes_free(nodes, nodes ? count : 0);
	return r;
}

/* ---- who wants how much ---- */

struct want {
	const char *type;
	uint64_t size;
};
struct wants {
	struct want items[MEMORY_MAX_TYPES];
	size_t len;
};

static struct want *want_of(struct wants *wants, const char *type) {
	for (size_t i = 0; i < wants->len; i++)
		if (str_equal(wants->items[i].type, type))
			return &wants->items[i];
	if (wants->len == MEMORY_MAX_TYPES)
		return NULL;
	wants->items[wants->len] = (struct want){.type = type};
	return &wants->items[wants->len++];
}

/* False where an amount is no whole number of bytes. */
static bool container_wants(const struct core_v1_container *container, struct wants *ret) {
	*ret = (struct wants){0};
	for api_list_each (e, &container->resources.requests) {
		if (!memory_is_type(e->key))
			continue;
		struct want *want = want_of(ret, e->key);
		if (!want || quantity_value(&e->value) < 0 || quantity_milli_value(&e->value) != quantity_value(&e->value) * 1000)
			return false;
		want->size = (uint64_t)quantity_value(&e->value);
	}
	return true;
}

static bool pod_wants(const struct core_v1_pod *pod, struct wants *ret) {
	struct wants sidecars = {0}, most = {0}, one;
	*ret = (struct wants){0};
	for api_list_each (c, &pod->spec.init_containers) {
		if (!container_wants(c, &one))
			return false;
		for (size_t i = 0; i < one.len; i++) {
			struct want *beside = want_of(&sidecars, one.items[i].type), *peak = want_of(&most, one.items[i].type);
			if (!beside || !peak)
				return false;
			if (str_equal(c->restart_policy, CORE_V1_RESTART_POLICY_ALWAYS))
				beside->size += one.items[i].size;
			else
				peak->size = max_of(peak->size, beside->size + one.items[i].size);
		}
	}
	for api_list_each (c, &pod->spec.containers) {
		if (!container_wants(c, &one))
			return false;
		for (size_t i = 0; i < one.len; i++) {
			struct want *sum = want_of(ret, one.items[i].type);
			if (!sum)
				return false;
			sum->size += one.items[i].size;
		}
	}
	for (size_t i = 0; i < ret->len; i++) {
		struct want *w = &ret->items[i], *beside = want_of(&sidecars, w->type), *peak = want_of(&most, w->type);
		w->size = max_of(w->size + (beside ? beside->size : 0), peak ? peak->size : 0);
	}
	return true;
}

static bool wants(const struct memory_manager *memory, const struct core_v1_pod *pod) {
	return resources_qos(pod) == CGROUP_GUARANTEED && !resource_is_of_pod(pod);
}

/* ---- where it could lie ---- */

static uint64_t lent_to(const struct memory_manager *memory, const struct core_v1_pod *pod, uint64_t nodes, const char *type) {
	for (size_t i = 0; str_equal(memory->lender, pod->metadata.uid) && i < memory->lent_count; i++)
		if (memory->lent[i].nodes == nodes && str_equal(memory->lent[i].type, type))
			return memory->lent[i].size;
	return 0;
}

static uint64_t sum_of(const struct memory_manager *memory, uint64_t nodes, const char *type, bool of_free) {
	uint64_t sum = 0;
	for (size_t i = 0; i < memory->node_count; i++) {
		const struct memory_table *table = nodes >> memory->nodes[i].id & 1 ? memory_table_of(&memory->nodes[i], type) : NULL;
		sum += table ? of_free ? table->free_bytes : table->allocatable : 0;
	}
	return sum;
}

/* Whether giving them together breaks up what is given together already, or alone. */
static bool breaks_up(const struct memory_manager *memory, uint64_t nodes) {
	for (size_t i = 0; hint_count(nodes) > 1 && i < memory->node_count; i++) {
		const struct memory_node *node = &memory->nodes[i];
		if (nodes >> node->id & 1 && node->assignments > 0 && node->cells != nodes)
			return true;
	}
	return false;
}

static bool is_part_of_group(const struct memory_manager *memory, uint64_t nodes) {
	const struct memory_node *node = hint_count(nodes) == 1 ? memory_node_of(memory->nodes, memory->node_count, __builtin_ctzll(nodes)) : NULL;
	return node && hint_count(node->cells) > 1;
}

static bool have(const struct memory_manager *memory, const struct core_v1_pod *pod, uint64_t nodes, const struct wants *wanted, bool of_free, bool with_lent) {
	for (size_t i = 0; i < wanted->len; i++) {
		const struct want *want = &wanted->items[i];
		if (sum_of(memory, nodes, want->type, of_free) + (with_lent ? lent_to(memory, pod, nodes, want->type) : 0) < want->size)
			return false;
	}
	return true;
}

/* The same for all types. */
static void list_hints(const struct memory_manager *memory, const struct core_v1_pod *pod, const struct wants *wanted, struct arena *arena, struct hint_list *ret) {
	uint64_t all = 0;
	for (size_t i = 0; i < memory->node_count; i++)
		all |= (uint64_t)1 << memory->nodes[i].id;
	size_t least = hint_count(all);
	*ret = (struct hint_list){0};
	for (uint64_t nodes = hint_next(all, 0); nodes; nodes = hint_next(all, nodes)) {
		if (!have(memory, pod, nodes, wanted, false, false))
			continue;
		least = min_of(least, hint_count(nodes));
		if (!is_part_of_group(memory, nodes) && !breaks_up(memory, nodes) && have(memory, pod, nodes, wanted, true, true))
			hint_list_add(ret, arena, nodes, false);
	}
	hint_list_prefer(ret, least);
}

/* What it has is where it is, as long as that is what it asks for. */
static void repeat_hints(const struct memory_holding *holding, struct wants *wanted, struct arena *arena, struct hint_set *set) {
	if (holding->count != wanted->len)
		return;
	for (size_t i = 0; i < holding->count; i++) {
		bool same = false;
		for (size_t k = 0; k < wanted->len; k++)
			same = same || (str_equal(wanted->items[k].type, holding->blocks[i].type) && wanted->items[k].size == holding->blocks[i].size);
		if (!same)
			return;
	}
	for (size_t i = 0; i < holding->count; i++)
		hint_list_add(hint_set_add(set, arena), arena, holding->blocks[i].nodes, true);
}

static const struct memory_holding *holding_of(const struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container) {
	const struct core_v1_container_array *lists[] = {&pod->spec.init_containers, &pod->spec.containers};
	if (container)
		return memory_manager_find(memory, pod->metadata.uid, container->name);
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (c, lists[i]) {
			const struct memory_holding *holding = memory_manager_find(memory, pod->metadata.uid, c->name);
			if (holding)
				return holding;
		}
	return NULL;
}

static void hints(const struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
	struct wants wanted;
	struct hint_list list;
	if (!wants(memory, pod) || !(container ? container_wants(container, &wanted) : pod_wants(pod, &wanted)) || !wanted.len)
		return;
	const struct memory_holding *holding = holding_of(memory, pod, container);
	if (holding) {
		repeat_hints(holding, &wanted, arena, set);
		return;
	}
	/* Where nothing would do it says nothing: allocate() then tells what is missing. */
	list_hints(memory, pod, &wanted, arena, &list);
	for (size_t i = 0; list.len && i < wanted.len; i++)
		*hint_set_add(set, arena) = list;
}

/* ---- giving ---- */

/* Of those that hold all of `within`; the narrowest preferred one, or of the others. False where there is none. */
static bool best_of(const struct hint_list *list, uint64_t within, struct hint *ret) {
	struct hint best = {0};
	for (size_t i = 0; i < list->len; i++) {
		const struct hint *hint = &list->items[i];
		if ((hint->nodes & within) != within)
			continue;
		if (!best.nodes || (hint->preferred && !best.preferred) || (hint->preferred == best.preferred && hint_is_narrower(hint->nodes, best.nodes)))
			best = *hint;
	}
	*ret = best;
	return best.nodes;
}

static int choose(const struct memory_manager *memory, const struct core_v1_pod *pod, const struct wants *wanted, const struct hint *hint, uint64_t *ret, struct error *err) {
	autoarena struct arena *arena = arena_new();
	struct hint_list list;
	struct hint best = *hint;
	list_hints(memory, pod, wanted, arena, &list);
	if (!best.nodes) {
		if (!best_of(&list, 0, &best))
			return error_set(err, ENOSPC, "[memorymanager] failed to get the default NUMA affinity, no NUMA nodes with enough memory is available");
		if (!best.preferred && hint->preferred)
			return error_set(err, ENOSPC, "[memorymanager] failed to find the default preferred hint");
	}
	/* The topology manager may have narrowed it, for the sake of others, to where there is too little. */
	if (!have(memory, pod, best.nodes, wanted, true, false)) {
		struct hint wider;
		if (!best_of(&list, best.nodes, &wider))
			return error_set(err, ENOSPC, "[memorymanager] failed to find NUMA nodes to extend the current topology hint");
		if (!wider.preferred && best.preferred)
			return error_set(err, ENOSPC, "[memorymanager] failed to find the extended preferred hint");
		best = wider;
	}
	if (breaks_up(memory, best.nodes))
		return error_set(err, ENOSPC, "[memorymanager] preferred hint violates NUMA node allocation");
	*ret = best.nodes;
	return 0;
}

/* Init containers lend the most that one of them has; what another takes is lent no more. */
static void note_lent(struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, const struct memory_holding *holding) {
	bool lends = resource_is_lender(pod, container);
	if (!str_equal(memory->lender, pod->metadata.uid)) {
		for (size_t i = 0; i < memory->lent_count; i++)
			free(memory->lent[i].type);
		memory->lent_count = 0;
		free(memory->lender);
		memory->lender = xstrdup(pod->metadata.uid);
	}
	for (size_t i = 0; i < holding->count; i++) {
		const struct memory_block *block = &holding->blocks[i];
		struct memory_block *lent = NULL;
		for (size_t k = 0; k < memory->lent_count && !lent; k++)
			if (memory->lent[k].nodes == block->nodes && str_equal(memory->lent[k].type, block->type))
				lent = &memory->lent[k];
		if (!lent && lends) {
			memory->lent = xreallocarray(memory->lent, memory->lent_count + 1, sizeof(*memory->lent));
			lent = &memory->lent[memory->lent_count++];
			*lent = (struct memory_block){.nodes = block->nodes, .type = xstrdup(block->type)};
		}
		if (lent)
			lent->size = lends ? max_of(lent->size, block->size) : lent->size - min_of(lent->size, block->size);
	}
}

/* So that the sum over containers is what is booked, lenders are shown with less. */
static void take_from_lenders(struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, const struct memory_holding *holding) {
	for (size_t i = 0; i < holding->count; i++) {
		uint64_t size = holding->blocks[i].size;
		for api_list_each (c, &pod->spec.init_containers) {
			if (str_equal(c->name, container->name))
				break;
			struct memory_holding *lender = resource_is_lender(pod, c) ? memory_manager_find(memory, pod->metadata.uid, c->name) : NULL;
			for (size_t k = 0; lender && k < lender->count; k++) {
				struct memory_block *block = &lender->blocks[k];
				if (block->nodes != holding->blocks[i].nodes || !str_equal(block->type, holding->blocks[i].type))
					continue;
				uint64_t part = min_of(block->size, size);
				block->size -= part;
				size -= part;
			}
		}
	}
}

static int allocate(struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, const struct hint *hint, struct error *err) {
	struct wants wanted;
	uint64_t nodes = 0;
	if (!wants(memory, pod))
		return 0;
	const struct memory_holding *holding = memory_manager_find(memory, pod->metadata.uid, container->name);
	if (holding) {
		note_lent(memory, pod, container, holding);
		return 0;
	}
	if (!container_wants(container, &wanted))
		return error_set(err, EINVAL, "[memorymanager] failed to represent quantity as int64");
	int r = wanted.len ? choose(memory, pod, &wanted, hint, &nodes, err) : 0;
	if (r < 0 || !wanted.len)
		return r;
	struct memory_block *blocks = xcalloc(wanted.len, sizeof(*blocks));
	for (size_t i = 0; i < wanted.len; i++) {
		const struct want *want = &wanted.items[i];
		uint64_t lent = lent_to(memory, pod, nodes, want->type);
		blocks[i] = (struct memory_block){.nodes = nodes, .type = xstrdup(want->type), .size = want->size};
		memory_book(memory->nodes, memory->node_count, nodes, want->type, want->size - min_of(want->size, lent));
	}
	memory_manager_hold(memory, pod->metadata.uid, container->name, blocks, wanted.len);
	holding = &memory->holdings[memory->holding_count - 1];
	note_lent(memory, pod, container, holding);
	take_from_lenders(memory, pod, container, holding);
	return 0;
}

const struct memory_policy memory_policy_static = {.name = "Static", .init = init, .check = check, .wants = wants, .hints = hints, .allocate = allocate};
