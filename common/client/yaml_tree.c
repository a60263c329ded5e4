/* SPDX-License-Identifier: Apache-2.0 */
/* YAML of configuration files to a tree: what kubeconfigs need, where every scalar but true and false is a text. */
#include "common/client/yaml_tree.h"

#include <errno.h>
#include <yaml.h>

#define MAX_NODES 200000 /* an alias counts as often as it is used: "billion laughs" stops here */
#define MAX_DEPTH 64

struct walk {
	yaml_document_t *document;
	size_t nodes;
	size_t depth;
};

static json_t *convert(struct walk *walk, int index);

static json_t *convert_scalar(const yaml_node_t *node)
{
	const char *text = (const char *)node->data.scalar.value;
	size_t len = node->data.scalar.length;
	if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
		if (len == 0 || str_equal(text, "null") || str_equal(text, "~"))
			return json_null();
		if (str_equal(text, "true") || str_equal(text, "True"))
			return json_true();
		if (str_equal(text, "false") || str_equal(text, "False"))
			return json_false();
	}
	return json_stringn(text, len);
}

static json_t *convert_mapping(struct walk *walk, const yaml_node_t *node)
{
	json_t *object = json_object();
	for (yaml_node_pair_t *pair = node->data.mapping.pairs.start; object && pair < node->data.mapping.pairs.top; pair++) {
		yaml_node_t *key = yaml_document_get_node(walk->document, pair->key);
		json_t *value = convert(walk, pair->value);
		/* Jansson takes the value also where it fails, but of a key that is no text it never hears. */
		bool named = key && key->type == YAML_SCALAR_NODE;
		if (!named)
			json_decref(value);
		if (!named || !value || json_object_set_new(object, (const char *)key->data.scalar.value, value)) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}

static json_t *convert_sequence(struct walk *walk, const yaml_node_t *node)
{
	json_t *array = json_array();
	for (yaml_node_item_t *item = node->data.sequence.items.start; array && item < node->data.sequence.items.top; item++) {
		json_t *value = convert(walk, *item);
		if (!value || json_array_append_new(array, value)) {
			json_decref(array);
			array = NULL;
		}
	}
	return array;
}

static json_t *convert(struct walk *walk, int index)
{
	yaml_node_t *node = yaml_document_get_node(walk->document, index);
	if (!node || ++walk->nodes > MAX_NODES || walk->depth >= MAX_DEPTH)
		return NULL;
	walk->depth++;
	json_t *out = NULL;
	if (node->type == YAML_SCALAR_NODE)
		out = convert_scalar(node);
	else if (node->type == YAML_MAPPING_NODE)
		out = convert_mapping(walk, node);
	else if (node->type == YAML_SEQUENCE_NODE)
		out = convert_sequence(walk, node);
	walk->depth--;
	return out;
}

int yaml_tree_parse(const char *text, size_t len, json_t **ret, struct error *err)
{
	yaml_parser_t parser;
	yaml_document_t document;
	if (!yaml_parser_initialize(&parser))
		abort();
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (!yaml_parser_load(&parser, &document)) {
		int rc = error_set(err, EINVAL, "yaml: line %zu: %s", parser.problem_mark.line + 1, str_or(parser.problem, "could not be read"));
		yaml_parser_delete(&parser);
		return rc;
	}
	struct walk walk = {.document = &document};
	yaml_node_t *root = yaml_document_get_root_node(&document);
	json_t *tree = root ? convert(&walk, 1) : json_null();
	yaml_document_delete(&document);
	yaml_parser_delete(&parser);
	if (!tree)
		return error_set(err, EINVAL, "yaml: too large, too deep, or with keys that are no text");
	*ret = tree;
	return 0;
}
