/* SPDX-License-Identifier: Apache-2.0 */
/* The syntax tree: making nodes, within bounds, and telling what is wrong with a text. */
#include "common/cel/internal.h"

#include <errno.h>

/* ---- issues ---- */

void issue_add(struct source *source, uint32_t at, const char *fmt, ...) {
	if (source->count == MAX_ISSUES)
		return;
	va_list args;
	va_start(args, fmt);
	struct issue *issue = &source->issues[source->count++];
	issue->at = at == NOWHERE ? 0 : at;
	issue->nowhere = at == NOWHERE;
	issue->text = arena_vprintf(source->arena, fmt, args);
	va_end(args);
}

#define MAX_SNIPPET 16384u

static void append_issue(const struct source *source, const struct issue *issue, struct buf *out) {
	const char *end = source->text + source->len, *place = source->text + utf8_offset(source->text, source->len, issue->at), *line = place;
	unsigned number = 1;
	while (line > source->text && line[-1] != '\n')
		line--;
	for (const char *p = source->text; p < line; p++)
		number += *p == '\n';
	const char *line_end = memchr(line, '\n', (size_t)(end - line));
	size_t len = (size_t)((line_end ? line_end : end) - line);
	if (issue->nowhere) {
		buf_printf(out, "ERROR: <input>:-1:0: %s", issue->text);
		return;
	}
	if (!source->len) {
		buf_printf(out, "ERROR: <input>:1:0: %s", issue->text); /* no line is there to be shown */
		return;
	}
	buf_printf(out, "ERROR: <input>:%u:%zu: %s", number, utf8_count(line, (size_t)(place - line)) + 1, issue->text);
	if (len > MAX_SNIPPET)
		return;
	buf_append_str(out, "\n | ");
	for (size_t i = 0; i < len; i++)
		buf_append_char(out, line[i] == '\t' ? ' ' : line[i]);
	buf_append_str(out, "\n | ");
	/* Wide marks beneath what is not ASCII. */
	for (const char *p = line; p < place; p++)
		if ((*p & 0xc0) != 0x80)
			buf_append_str(out, *p & 0x80 ? "\uff0e" : ".");
	buf_append_str(out, place < end && *place & 0x80 ? "\uff3e" : "^");
}

static int compare_issues(const void *a, const void *b) {
	const struct issue *x = a, *y = b;
	if (x->nowhere != y->nowhere)
		return x->nowhere ? -1 : 1;
	return x->at < y->at ? -1 : x->at > y->at;
}

int issues_report(struct source *source, struct error *err) {
	if (!source->count)
		return 0;
	/* Stable: what is told of one place keeps its order. */
	for (unsigned i = 1; i < source->count; i++) {
		struct issue issue = source->issues[i];
		unsigned k = i;
		for (; k && compare_issues(&source->issues[k - 1], &issue) > 0; k--)
			source->issues[k] = source->issues[k - 1];
		source->issues[k] = issue;
	}
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	for (unsigned i = 0; i < source->count; i++) {
		if (i)
			buf_append_char(&text, '\n');
		append_issue(source, &source->issues[i], &text);
	}
	return error_set(err, EINVAL, "%s", text.data);
}

/* ---- nodes ---- */

struct node *node_new(struct source *source, enum node_kind kind, uint32_t at) {
	struct node *node = arena_new_type(source->arena, struct node);
	node->kind = kind;
	node->at = at;
	if (source->nodes++ == MAX_NODES)
		issue_add(source, NOWHERE, "expression is too large");
	return node;
}

void node_deepen(struct source *source, struct node *node, const struct node *child) {
	bool counted = node->kind == NODE_SELECT || (node->kind == NODE_CALL && (node->call.member || strchr(node->call.name, '_')));
	uint32_t steps = child->steps + (counted && strcmp(node->kind == NODE_CALL ? node->call.name : "", "_&&_") != 0 && strcmp(node->kind == NODE_CALL ? node->call.name : "", "_||_") != 0);
	uint32_t depth = child->depth + 1;
	if ((depth > MAX_DEPTH && node->depth <= MAX_DEPTH && child->depth <= MAX_DEPTH) || (steps > MAX_NESTING && node->steps <= MAX_NESTING && child->steps <= MAX_NESTING))
		issue_add(source, NOWHERE, "max recursion depth exceeded");
	node->depth = max_of(node->depth, depth);
	node->steps = max_of(node->steps, steps);
}

struct node *node_literal(struct source *source, uint32_t at, struct cel_value value) {
	struct node *node = node_new(source, NODE_LITERAL, at);
	node->literal = value;
	return node;
}

struct node *node_ident(struct source *source, uint32_t at, const char *name) {
	struct node *node = node_new(source, NODE_IDENT, at);
	node->ident.name = name;
	return node;
}

static struct node **children(struct source *source, struct node *node, unsigned count, struct node *const *items) {
	struct node **ret = count ? arena_calloc(source->arena, count, sizeof(*ret)) : NULL;
	for (unsigned i = 0; i < count; i++) {
		ret[i] = items[i];
		node_deepen(source, node, items[i]);
	}
	return ret;
}

struct node *node_call(struct source *source, uint32_t at, const char *name, bool member, unsigned count, struct node *const *args) {
	struct node *node = node_new(source, NODE_CALL, at);
	node->call.name = name;
	node->call.member = member;
	node->call.count = count;
	node->call.args = children(source, node, count, args);
	return node;
}

struct node *node_list(struct source *source, uint32_t at, unsigned count, struct node *const *items) {
	struct node *node = node_new(source, NODE_LIST, at);
	node->list.count = count;
	node->list.items = children(source, node, count, items);
	return node;
}

struct node *node_copy(struct source *source, const struct node *from) {
	/* Too much already: an issue was made of it. */
	if (source->nodes > MAX_NODES || from->depth > MAX_DEPTH)
		return (struct node *)from;
	struct node *node = node_new(source, from->kind, from->at);
	*node = *from;
	switch (from->kind) {
	case NODE_LITERAL:
	case NODE_IDENT:
		break;
	case NODE_SELECT:
		node->select.operand = node_copy(source, from->select.operand);
		break;
	case NODE_CALL:
		node->call.args = arena_calloc(source->arena, max_of(from->call.count, 1u), sizeof(*node->call.args));
		for (uint32_t i = 0; i < from->call.count; i++)
			node->call.args[i] = node_copy(source, from->call.args[i]);
		break;
	case NODE_LIST:
		node->list.items = arena_calloc(source->arena, max_of(from->list.count, 1u), sizeof(*node->list.items));
		for (uint32_t i = 0; i < from->list.count; i++)
			node->list.items[i] = node_copy(source, from->list.items[i]);
		break;
	case NODE_MAP:
	case NODE_STRUCT:
		node->map.items = arena_calloc(source->arena, max_of(from->map.count, 1u), sizeof(*node->map.items));
		for (uint32_t i = 0; i < from->map.count; i++) {
			node->map.items[i] = from->map.items[i];
			if (from->map.items[i].key)
				node->map.items[i].key = node_copy(source, from->map.items[i].key);
			node->map.items[i].value = node_copy(source, from->map.items[i].value);
		}
		break;
	case NODE_FOLD:
		node->fold.range = node_copy(source, from->fold.range);
		node->fold.init = node_copy(source, from->fold.init);
		node->fold.condition = node_copy(source, from->fold.condition);
		node->fold.step = node_copy(source, from->fold.step);
		node->fold.result = node_copy(source, from->fold.result);
		break;
	}
	return node;
}
