/* SPDX-License-Identifier: Apache-2.0 */
/* YAML to JSON text: libyaml's events become a tree of small nodes, in which aliases can be followed, and that is written. */
#include "common/api/json_reader.h"
#include "common/api/yaml.h"
#include "common/api/yaml_scalar.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <errno.h>
#include <yaml.h>

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
	enum node_kind kind;
	const char *text; /* of a scalar */
	size_t len;
	bool plain;       /* unquoted, without a tag that says string */
	bool binary;
	bool open;        /* its items are being read */
	size_t line;
	struct node **items; /* of a map: key, value, key, value */
	size_t count;
};

#define MAX_FOUND 64

struct loader {
	yaml_parser_t parser;
	struct arena *arena;
	struct map anchors;
	size_t written; /* nodes, aliases expanded */
	struct api_warning_list *found; /* where keys may stand twice */
	struct error *err;
};

static int fail_line(struct loader *l, size_t line, const char *what) {
	return error_set(l->err, EINVAL, "yaml: line %zu: %s", line, what);
}

static int next_event(struct loader *l, yaml_event_t *event) {
	if (yaml_parser_parse(&l->parser, event))
		return 0;
	const char *problem = l->parser.problem ? l->parser.problem : "unknown problem parsing YAML content";
	size_t line = l->parser.problem_mark.line ? l->parser.problem_mark.line : l->parser.context_mark.line;
	/* Go counts from nought where the grammar is wrong, and does not tell that line. */
	if (l->parser.error == YAML_READER_ERROR || !line)
		return error_set(l->err, EINVAL, "yaml: %s", problem);
	return fail_line(l, l->parser.error == YAML_SCANNER_ERROR ? line + 1 : line, problem);
}

static void add_item(struct node *node, struct node *item) {
	if (!(node->count & (node->count - 1)))
		node->items = xreallocarray(node->items, node->count ? node->count * 2 : 1, sizeof(*node->items));
	node->items[node->count++] = item;
}

static struct node *new_node(struct loader *l, enum node_kind kind, const yaml_event_t *event, const yaml_char_t *anchor) {
	struct node *node = arena_new_type(l->arena, struct node);
	node->kind = kind;
	node->line = event->start_mark.line + 1;
	if (anchor)
		map_set(&l->anchors, (const char *)anchor, node);
	return node;
}

static struct node *new_scalar(struct loader *l, const yaml_event_t *event) {
	const char *tag = (const char *)event->data.scalar.tag;
	struct node *node = new_node(l, NODE_SCALAR, event, event->data.scalar.anchor);
	node->text = arena_strndup(l->arena, (const char *)event->data.scalar.value, event->data.scalar.length);
	node->len = event->data.scalar.length;
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && (!tag || strcmp(tag, YAML_STR_TAG));
	/* !!int "5" is the number. */
	if (tag && (!strcmp(tag, YAML_INT_TAG) || !strcmp(tag, YAML_FLOAT_TAG) || !strcmp(tag, YAML_BOOL_TAG) || !strcmp(tag, YAML_NULL_TAG)))
		node->plain = true;
	node->binary = tag && !strcmp(tag, "tag:yaml.org,2002:binary");
	return node;
}

static int load_node(struct loader *l, const yaml_event_t *event, unsigned depth, struct node **ret);

/* Items up to the event that ends the collection. */
static int load_items(struct loader *l, struct node *node, yaml_event_type_t end, unsigned depth) {
	for (;;) {
		yaml_event_t event;
		if (next_event(l, &event) < 0)
			return -EINVAL;
		bool last = event.type == end;
		struct node *item = NULL;
		int r = last ? 0 : load_node(l, &event, depth, &item);
		yaml_event_delete(&event);
		if (r < 0)
			return r;
		if (last)
			return 0;
		add_item(node, item);
	}
}

static void free_items(void *node) {
	free(((struct node *)node)->items);
}

static int load_node(struct loader *l, const yaml_event_t *event, unsigned depth, struct node **ret) {
	if (depth > YAML_MAX_DEPTH)
		return error_set(l->err, EINVAL, "yaml: exceeded max depth of 10000");
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		*ret = new_scalar(l, event);
		return 0;
	case YAML_ALIAS_EVENT: {
		struct node *node = map_get(&l->anchors, (const char *)event->data.alias.anchor);
		if (!node)
			return error_set(l->err, EINVAL, "yaml: unknown anchor '%s' referenced", (const char *)event->data.alias.anchor);
		if (node->open)
			return error_set(l->err, EINVAL, "yaml: anchor '%s' value contains itself", (const char *)event->data.alias.anchor);
		*ret = node;
		return 0;
	}
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT: {
		bool map = event->type == YAML_MAPPING_START_EVENT;
		struct node *node = new_node(l, map ? NODE_MAP : NODE_LIST, event, map ? event->data.mapping_start.anchor : event->data.sequence_start.anchor);
		arena_defer(l->arena, free_items, node);
		*ret = node;
		node->open = true;
		int r = load_items(l, node, map ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT, depth + 1);
		node->open = false;
		return r;
	}
	default:
		return fail_line(l, event->start_mark.line + 1, "unexpected content");
	}
}

/* ---- writing ---- */

static int write_node(struct loader *l, const struct node *node, struct buf *out, unsigned depth);

static int write_binary(struct loader *l, const struct node *node, struct buf *out) {
	autofree uint8_t *data = NULL;
	size_t len;
	if (base64_decode(node->text, node->len, (size_t)64 << 20, &data, &len) < 0)
		return error_set(l->err, EINVAL, "yaml: !!binary value contains invalid base64 data");
	api_append_json_string(out, (const char *)data, len);
	return 0;
}

static int write_scalar(struct loader *l, const struct node *node, struct buf *out) {
	if (node->binary)
		return write_binary(l, node, out);
	switch (node->plain ? yaml_scalar_meaning(node->text, out) : YAML_TEXT) {
	case YAML_TEXT:
		api_append_json_string(out, node->text, node->len);
		break;
	case YAML_NULL:
		buf_append_str(out, "null");
		break;
	case YAML_TRUE:
		buf_append_str(out, "true");
		break;
	case YAML_FALSE:
		buf_append_str(out, "false");
		break;
	case YAML_NO_NUMBER:
		return fail_line(l, node->line, "JSON has no such number");
	case YAML_INTEGER:
	case YAML_FLOAT:
		break; /* written */
	}
	return 0;
}

/* The key as JSON has it: a string, whatever YAML took it for. */
static int key_text(struct loader *l, const struct node *key, char **ret) {
	if (key->kind != NODE_SCALAR)
		return fail_line(l, key->line, "invalid map key");
	autobuf struct buf number = BUF_INIT(1024);
	switch (key->plain ? yaml_scalar_meaning(key->text, &number) : YAML_TEXT) {
	case YAML_TRUE:
		*ret = xstrdup("true");
		break;
	case YAML_FALSE:
		*ret = xstrdup("false");
		break;
	case YAML_INTEGER:
	case YAML_FLOAT:
		*ret = xstrdup(number.data);
		break;
	default:
		*ret = xstrdup(key->text);
	}
	return 0;
}

static bool is_merge(const struct node *key) {
	return key->kind == NODE_SCALAR && key->plain && !strcmp(key->text, "<<");
}

/* Adds the entries of a map named by "<<" that the map itself does not have; earlier ones win. */
static int gather(struct loader *l, const struct node *node, struct map *keys, struct buf *order, bool own, unsigned depth);

static int gather_merged(struct loader *l, const struct node *value, struct map *keys, struct buf *order, unsigned depth) {
	if (value->kind == NODE_MAP)
		return gather(l, value, keys, order, false, depth + 1);
	if (value->kind != NODE_LIST)
		return error_set(l->err, EINVAL, "yaml: map merge requires map or sequence of maps as the value");
	for (size_t i = 0; i < value->count; i++) {
		if (value->items[i]->kind != NODE_MAP)
			return error_set(l->err, EINVAL, "yaml: map merge requires map or sequence of maps as the value");
		if (gather(l, value->items[i], keys, order, false, depth + 1) < 0)
			return -EINVAL;
	}
	return 0;
}

static int gather(struct loader *l, const struct node *node, struct map *keys, struct buf *order, bool own, unsigned depth) {
	if (depth > YAML_MAX_DEPTH || ++l->written > YAML_MAX_NODES)
		return fail_line(l, node->line, "document contains excessive aliasing");
	for (size_t i = 0; i + 1 < node->count; i += 2) {
		autofree char *key = NULL;
		if (is_merge(node->items[i]))
			continue;
		if (key_text(l, node->items[i], &key) < 0)
			return -EINVAL;
		if (map_has(keys, key)) {
			if (!own)
				continue;
			if (l->found) {
				if (l->found->len < MAX_FOUND) {
					l->found->items = xreallocarray(l->found->items, l->found->len + 1, sizeof(char *));
					l->found->items[l->found->len++] = xprintf("line %zu: key \"%s\" already set in map", node->items[i]->line, key);
				}
				map_set(keys, key, node->items[i + 1]);
				continue;
			}
			autofree char *what = xprintf("key \"%s\" already set in map", key);
			return fail_line(l, node->items[i]->line, what);
		}
		map_set(keys, key, node->items[i + 1]);
		buf_append(order, key, strlen(key) + 1);
	}
	for (size_t i = 0; i + 1 < node->count; i += 2)
		if (is_merge(node->items[i]) && gather_merged(l, node->items[i + 1], keys, order, depth) < 0)
			return -EINVAL;
	return 0;
}

static int write_map(struct loader *l, const struct node *node, struct buf *out, unsigned depth) {
	automap struct map keys = MAP_INIT(NULL);
	autobuf struct buf order = BUF_INIT(BUF_MAX_DEFAULT);
	if (gather(l, node, &keys, &order, true, 0) < 0)
		return -EINVAL;
	buf_append_char(out, '{');
	for (size_t at = 0; at < order.len; at += strlen(order.data + at) + 1) {
		const char *key = order.data + at;
		if (at)
			buf_append_char(out, ',');
		api_append_json_string(out, key, strlen(key));
		buf_append_char(out, ':');
		if (write_node(l, map_get(&keys, key), out, depth + 1) < 0)
			return -EINVAL;
	}
	buf_append_char(out, '}');
	return 0;
}

static int write_node(struct loader *l, const struct node *node, struct buf *out, unsigned depth) {
	/* An alias may point at what holds it; the bounds end that too. */
	if (depth > YAML_MAX_DEPTH || ++l->written > YAML_MAX_NODES || buf_failed(out))
		return fail_line(l, node->line, "document contains excessive aliasing");
	if (node->kind == NODE_SCALAR)
		return write_scalar(l, node, out);
	if (node->kind == NODE_MAP)
		return write_map(l, node, out, depth);
	buf_append_char(out, '[');
	for (size_t i = 0; i < node->count; i++) {
		if (i)
			buf_append_char(out, ',');
		if (write_node(l, node->items[i], out, depth + 1) < 0)
			return -EINVAL;
	}
	buf_append_char(out, ']');
	return 0;
}

/* ---- streams ---- */

typedef int document_fn(const char *json, size_t len, void *arg);

static bool is_empty_document(const struct node *node) {
	return node->kind == NODE_SCALAR && node->plain && yaml_scalar_meaning(node->text, NULL) == YAML_NULL;
}

/* The document whose start was read. */
static int read_document(struct loader *l, document_fn *fn, void *arg) {
	autobuf struct buf json = BUF_INIT((size_t)256 << 20);
	struct node *root = NULL;
	yaml_event_t event;
	if (next_event(l, &event) < 0)
		return -EINVAL;
	int r = load_node(l, &event, 0, &root);
	yaml_event_delete(&event);
	if (r < 0 || is_empty_document(root))
		return r;
	l->written = 0;
	if (write_node(l, root, &json, 0) < 0)
		return -EINVAL;
	return fn(json.data, json.len, arg);
}

static int read_stream(struct loader *l, document_fn *fn, void *arg) {
	for (;;) {
		yaml_event_t event;
		if (next_event(l, &event) < 0)
			return -EINVAL;
		yaml_event_type_t type = event.type;
		yaml_event_delete(&event);
		if (type == YAML_STREAM_END_EVENT)
			return 0;
		if (type != YAML_DOCUMENT_START_EVENT)
			continue;
		autoarena struct arena *arena = arena_new();
		l->arena = arena;
		int r = read_document(l, fn, arg);
		map_clear(&l->anchors);
		if (r)
			return r;
	}
}

/* Texts that are JSON, one value after another, are taken as such: YAML reads some of their escapes differently. *ret_json is false where it is none. */
static int read_json(const char *text, size_t len, document_fn *fn, void *arg, bool *ret_json) {
	autoarena struct arena *arena = arena_new();
	struct json_reader r;
	json_reader_init(&r, text, len, arena);
	int c = json_peek(&r), result = 0;
	bool json = c == '{' || c == '[';
	while (json && json_peek(&r) >= 0)
		json = json_skip(&r) == 0;
	*ret_json = json;
	r.p = text;
	while (json && !result && json_peek(&r) >= 0) {
		struct api_raw raw;
		if (json_read_raw(&r, &raw) < 0)
			break;
		result = fn(raw.json, raw.len, arg);
	}
	json_reader_done(&r);
	return result;
}

static int read_text(const char *text, size_t len, document_fn *fn, void *arg, struct api_warning_list *found, struct error *err) {
	bool json;
	int r = read_json(text, len, fn, arg, &json);
	if (json)
		return r;
	struct loader l = {.err = err, .found = found};
	if (!yaml_parser_initialize(&l.parser))
		return error_set(err, ENOMEM, "yaml: no memory");
	yaml_parser_set_input_string(&l.parser, (const unsigned char *)text, len);
	r = read_stream(&l, fn, arg);
	yaml_parser_delete(&l.parser);
	map_done(&l.anchors);
	return r;
}

int yaml_to_json(const char *text, size_t len, document_fn *fn, void *arg, struct error *err) {
	return read_text(text, len, fn, arg, NULL, err);
}

struct one_document {
	struct buf *out;
	bool seen, first;
};

static int take_document(const char *json, size_t len, void *arg) {
	struct one_document *one = arg;
	if (one->seen)
		return 1;
	one->seen = true;
	buf_append(one->out, json, len);
	return one->first;
}

int yaml_to_json_one(const char *text, size_t len, struct buf *ret, struct error *err) {
	return yaml_to_json_one_found(text, len, ret, NULL, err);
}

int yaml_to_json_one_found(const char *text, size_t len, struct buf *ret, struct api_warning_list *found, struct error *err) {
	struct one_document one = {.out = ret, .first = found};
	int r = read_text(text, len, take_document, &one, found, err);
	if (r > 0 && found)
		return 0;
	if (r > 0)
		return error_set(err, EINVAL, "yaml: expected a single document");
	if (!r && !one.seen)
		buf_append_str(ret, "null");
	return r;
}

int yaml_load(const char *text, size_t len, json_t **ret, struct error *err) {
	autobuf struct buf json = BUF_INIT((size_t)256 << 20);
	int r = yaml_to_json_one(text, len, &json, err);
	if (r < 0)
		return r;
	json_error_t error;
	json_t *value = json_loadb(json.data, json.len, JSON_DECODE_ANY, &error);
	if (!value)
		return error_set(err, EINVAL, "yaml: %s", error.text);
	*ret = value;
	return 0;
}
