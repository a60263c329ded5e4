/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/storage/tree.h"

#define NODE_MAX 64
#define NODE_MERGE (NODE_MAX / 4) /* a node with fewer items joins a neighbour */

struct tree {
	unsigned refs; /* atomic */
	uint16_t len;
	uint16_t level; /* 0: a leaf, its items are entries; else nodes */
	size_t count;   /* entries below */
	union {
		struct entry *entry;
		struct tree *node;
	} items[NODE_MAX];
	uint64_t marks[]; /* a leaf's alone, of each entry */
};

static size_t node_size(uint16_t level)
{
	return sizeof(struct tree) + (level ? 0 : NODE_MAX * sizeof(uint64_t));
}

/* Items of one node, with what belongs to them; the places may overlap where the nodes are the same. */
static void move_items(struct tree *to, size_t at, const struct tree *from, size_t first, size_t count)
{
	memmove(&to->items[at], &from->items[first], count * sizeof(to->items[0]));
	if (!to->level)
		memmove(&to->marks[at], &from->marks[first], count * sizeof(to->marks[0]));
}

struct tree *tree_ref(struct tree *tree)
{
	if (tree)
		__atomic_add_fetch(&tree->refs, 1, __ATOMIC_RELAXED);
	return tree;
}

void tree_unref(struct tree *tree)
{
	if (!tree || __atomic_sub_fetch(&tree->refs, 1, __ATOMIC_ACQ_REL) != 0)
		return;
	for (size_t i = 0; i < tree->len; i++) {
		if (tree->level)
			tree_unref(tree->items[i].node);
		else
			entry_unref(tree->items[i].entry);
	}
	free(tree);
}

size_t tree_len(const struct tree *tree)
{
	return tree ? tree->count : 0;
}

static struct tree *node_new(uint16_t level)
{
	struct tree *node = xmalloc(node_size(level));

	node->refs = 1;
	node->len = 0;
	node->level = level;
	node->count = 0;
	return node;
}

/* Makes the node behind *slot ours alone, so that it may be changed. */
static struct tree *own(struct tree **slot)
{
	struct tree *old = *slot, *node;

	if (__atomic_load_n(&old->refs, __ATOMIC_ACQUIRE) == 1)
		return old;
	node = node_new(old->level);
	node->len = old->len;
	node->count = old->count;
	move_items(node, 0, old, 0, old->len);
	for (size_t i = 0; i < node->len; i++) {
		if (node->level)
			tree_ref(node->items[i].node);
		else
			entry_ref(node->items[i].entry);
	}
	tree_unref(old);
	*slot = node;
	return node;
}

static const char *first_key(const struct tree *node)
{
	while (node->level)
		node = node->items[0].node;
	return node->items[0].entry->key;
}

static const char *item_key(const struct tree *node, size_t i)
{
	return node->level ? first_key(node->items[i].node) : node->items[i].entry->key;
}

/* The number of items whose first key is less than `key`, or equal to it where `or_equal`. */
static size_t search(const struct tree *node, const char *key, bool or_equal)
{
	size_t low = 0, high = node->len;

	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(item_key(node, middle), key);
		if (order < 0 || (or_equal && order == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The child that holds `key`, or would. */
static size_t child_of(const struct tree *node, const char *key)
{
	size_t i = search(node, key, true);

	return i ? i - 1 : 0;
}

struct entry *tree_get(const struct tree *node, const char *key)
{
	size_t i;

	if (!node)
		return NULL;
	while (node->level)
		node = node->items[child_of(node, key)].node;
	i = search(node, key, false);
	return i < node->len && strcmp(node->items[i].entry->key, key) == 0 ? node->items[i].entry : NULL;
}

/* The leaf that holds a position; *position becomes the one inside it. */
static const struct tree *leaf_at(const struct tree *node, size_t *position)
{
	while (node->level) {
		size_t i = 0;
		while (*position >= node->items[i].node->count)
			*position -= node->items[i++].node->count;
		node = node->items[i].node;
	}
	return node;
}

struct entry *tree_at(const struct tree *node, size_t position)
{
	return leaf_at(node, &position)->items[position].entry;
}

struct entry *tree_next(const struct tree *tree, struct snapshot_scan *scan)
{
	while (scan->next < scan->end) {
		if (!scan->leaf || scan->leaf_at == scan->leaf->len) {
			scan->leaf_at = scan->next;
			scan->leaf = leaf_at(tree, &scan->leaf_at);
		}
		size_t at = scan->leaf_at++;
		scan->next++;
		if ((scan->leaf->marks[at] & scan->marks) == scan->marks)
			return scan->leaf->items[at].entry;
	}
	return NULL;
}

size_t tree_lower_bound(const struct tree *node, const char *key)
{
	size_t position = 0;

	if (!node)
		return 0;
	while (node->level) {
		size_t child = child_of(node, key);
		for (size_t i = 0; i < child; i++)
			position += node->items[i].node->count;
		node = node->items[child].node;
	}
	return position + search(node, key, false);
}

static void insert_item(struct tree *node, size_t at, void *item)
{
	move_items(node, at + 1, node, at, node->len - at);
	if (node->level) {
		node->items[at].node = item;
	} else {
		node->items[at].entry = item;
		node->marks[at] = entry_marks(item);
	}
	node->len++;
}

static void recount(struct tree *node)
{
	node->count = node->len;
	if (node->level == 0)
		return;
	node->count = 0;
	for (size_t i = 0; i < node->len; i++)
		node->count += node->items[i].node->count;
}

/* Halves a full node; one that grows at its end (a load in order) stays full instead. Returns the right half. */
static struct tree *split(struct tree *node, size_t at)
{
	struct tree *right = node_new(node->level);
	size_t keep = at == NODE_MAX ? NODE_MAX : NODE_MAX / 2;

	right->len = (uint16_t)(node->len - keep);
	move_items(right, 0, node, keep, right->len);
	node->len = (uint16_t)keep;
	return right;
}

/* Inserts an item into an owned node; returns a new right neighbour where it had to be split. */
static struct tree *insert_split(struct tree *node, size_t at, void *item)
{
	struct tree *right = NULL;

	if (node->len == NODE_MAX) {
		right = split(node, at);
		if (at >= node->len && (right->len == 0 || at > node->len))
			insert_item(right, at - node->len, item);
		else
			insert_item(node, at, item);
		recount(right);
	} else {
		insert_item(node, at, item);
	}
	recount(node);
	return right;
}

/* *ret_right: a new node behind this one, or NULL. */
static struct entry *set_in(struct tree **slot, struct entry *entry, struct tree **ret_right)
{
	struct tree *node = own(slot), *right = NULL;
	struct entry *old = NULL;
	size_t i;

	*ret_right = NULL;
	if (node->level) {
		i = child_of(node, entry->key);
		old = set_in(&node->items[i].node, entry, &right);
		if (right)
			*ret_right = insert_split(node, i + 1, right);
		else if (!old)
			node->count++;
		return old;
	}
	i = search(node, entry->key, false);
	if (i < node->len && strcmp(node->items[i].entry->key, entry->key) == 0) {
		old = node->items[i].entry;
		node->items[i].entry = entry;
		node->marks[i] = entry_marks(entry);
		return old;
	}
	*ret_right = insert_split(node, i, entry);
	return NULL;
}

struct entry *tree_set(struct tree **tree, struct entry *take_entry)
{
	struct tree *right, *root;
	struct entry *old;

	if (!*tree)
		*tree = node_new(0);
	old = set_in(tree, take_entry, &right);
	if (right) {
		root = node_new((uint16_t)((*tree)->level + 1));
		root->items[0].node = *tree;
		root->items[1].node = right;
		root->len = 2;
		recount(root);
		*tree = root;
	}
	return old;
}

static void delete_item(struct tree *node, size_t at)
{
	node->len--;
	move_items(node, at, node, at + 1, node->len - at);
}

/* The child at `at` has shrunk: it goes where it is empty, and joins a neighbour where both fit well into one. */
static void settle(struct tree *node, size_t at)
{
	struct tree *left, *right;

	if (node->items[at].node->len == 0) {
		tree_unref(node->items[at].node);
		delete_item(node, at);
		return;
	}
	if (node->items[at].node->len >= NODE_MERGE || node->len < 2)
		return;
	if (at == node->len - 1u)
		at--;
	if (node->items[at].node->len + node->items[at + 1].node->len > NODE_MAX * 3 / 4)
		return;
	left = own(&node->items[at].node);
	right = own(&node->items[at + 1].node);
	move_items(left, left->len, right, 0, right->len);
	left->len = (uint16_t)(left->len + right->len);
	right->len = 0;
	tree_unref(right);
	delete_item(node, at + 1);
	recount(left);
}

static struct entry *remove_in(struct tree **slot, const char *key)
{
	struct tree *node = own(slot);
	struct entry *old;
	size_t i;

	if (node->level) {
		i = child_of(node, key);
		old = remove_in(&node->items[i].node, key);
		settle(node, i);
		node->count--;
		return old;
	}
	i = search(node, key, false);
	old = node->items[i].entry;
	delete_item(node, i);
	node->count--;
	return old;
}

struct entry *tree_remove(struct tree **tree, const char *key)
{
	struct tree *root, *child;
	struct entry *old;

	/* Asked first: a path must not be copied for nothing. */
	if (!tree_get(*tree, key))
		return NULL;
	old = remove_in(tree, key);
	while ((root = *tree) && root->level && root->len == 1) {
		child = tree_ref(root->items[0].node);
		tree_unref(root);
		*tree = child;
	}
	if (*tree && (*tree)->len == 0) {
		tree_unref(*tree);
		*tree = NULL;
	}
	return old;
}
