/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenAPI v2 as protobuf (gnostic's openapi.v2.Document), which discovery clients ask for: a walk over the JSON document by tables of
 * its messages. What no row names and begins with "x-" is an extension, whose value is YAML, and so may be JSON.
 */
#include "apiserver/openapi/openapi.h"

enum how {
	HOW_STRING, HOW_BOOL, HOW_INT, HOW_DOUBLE,
	HOW_STRINGS,  /* repeated string; a single one counts as a list of one */
	HOW_ANY,      /* Any */
	HOW_ANYS,     /* repeated Any */
	HOW_MESSAGE,  /* `of` */
	HOW_MESSAGES, /* repeated `of` */
	HOW_WRAPPED,  /* message {`of` = 1}, repeated where it is a list; a boolean becomes {bool = 2} */
	HOW_NAMED,    /* the members of an object, each {name = 1, value = 2: `of`} in field `number` */
	HOW_NAMED_IN, /* the same in field 1 of a message of its own */
	HOW_PARAMETERS, /* by where they stand */
	HOW_PARAMETERS_NAMED,
};

struct message;
struct row {
	const char *name; /* "*": all members that are no extensions */
	unsigned number;
	enum how how;
	const struct message *of;
};
struct message {
	unsigned extensions; /* number of vendor_extension; 0: none */
	const struct row *rows;
	size_t count;
};
#define MESSAGE(id, ext, ...) \
	static const struct row id##_rows[] = {__VA_ARGS__}; \
	static const struct message id = {ext, id##_rows, array_len(id##_rows)}

static const struct message schema;
/* A type may be one or several, items one schema: both stand in a message of their own. */
MESSAGE(type_item, 0, {"*", 1, HOW_STRINGS, NULL});
static const struct row schema_rows[] = {
	{"$ref", 1, HOW_STRING, NULL}, {"format", 2, HOW_STRING, NULL}, {"title", 3, HOW_STRING, NULL}, {"description", 4, HOW_STRING, NULL}, {"default", 5, HOW_ANY, NULL},
	{"multipleOf", 6, HOW_DOUBLE, NULL}, {"maximum", 7, HOW_DOUBLE, NULL}, {"exclusiveMaximum", 8, HOW_BOOL, NULL}, {"minimum", 9, HOW_DOUBLE, NULL},
	{"exclusiveMinimum", 10, HOW_BOOL, NULL}, {"maxLength", 11, HOW_INT, NULL}, {"minLength", 12, HOW_INT, NULL}, {"pattern", 13, HOW_STRING, NULL},
	{"maxItems", 14, HOW_INT, NULL}, {"minItems", 15, HOW_INT, NULL}, {"uniqueItems", 16, HOW_BOOL, NULL}, {"maxProperties", 17, HOW_INT, NULL},
	{"minProperties", 18, HOW_INT, NULL}, {"required", 19, HOW_STRINGS, NULL}, {"enum", 20, HOW_ANYS, NULL}, {"additionalProperties", 21, HOW_WRAPPED, &schema},
	{"type", 22, HOW_WRAPPED, &type_item}, {"items", 23, HOW_WRAPPED, &schema}, {"allOf", 24, HOW_MESSAGES, &schema}, {"properties", 25, HOW_NAMED_IN, &schema},
	{"discriminator", 26, HOW_STRING, NULL}, {"readOnly", 27, HOW_BOOL, NULL}, {"example", 30, HOW_ANY, NULL},
};
static const struct message schema = {31, schema_rows, array_len(schema_rows)};

MESSAGE(body_parameter, 6, {"description", 1, HOW_STRING, NULL}, {"name", 2, HOW_STRING, NULL}, {"in", 3, HOW_STRING, NULL}, {"required", 4, HOW_BOOL, NULL}, {"schema", 5, HOW_MESSAGE, &schema});
MESSAGE(query_parameter, 23, {"required", 1, HOW_BOOL, NULL}, {"in", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"name", 4, HOW_STRING, NULL}, {"type", 6, HOW_STRING, NULL},
	{"format", 7, HOW_STRING, NULL}, {"uniqueItems", 20, HOW_BOOL, NULL});
MESSAGE(path_parameter, 22, {"required", 1, HOW_BOOL, NULL}, {"in", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"name", 4, HOW_STRING, NULL}, {"type", 5, HOW_STRING, NULL},
	{"format", 6, HOW_STRING, NULL}, {"uniqueItems", 19, HOW_BOOL, NULL});
MESSAGE(reference, 0, {"$ref", 1, HOW_STRING, NULL}, {"description", 2, HOW_STRING, NULL});
MESSAGE(response, 5, {"description", 1, HOW_STRING, NULL}, {"schema", 2, HOW_WRAPPED, &schema});
MESSAGE(response_value, 0, {"*", 1, HOW_MESSAGE, &response});
MESSAGE(responses, 2, {"*", 1, HOW_NAMED, &response_value});
MESSAGE(operation, 13, {"tags", 1, HOW_STRINGS, NULL}, {"summary", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"operationId", 5, HOW_STRING, NULL},
	{"produces", 6, HOW_STRINGS, NULL}, {"consumes", 7, HOW_STRINGS, NULL}, {"parameters", 8, HOW_PARAMETERS, NULL}, {"responses", 9, HOW_MESSAGE, &responses},
	{"schemes", 10, HOW_STRINGS, NULL}, {"deprecated", 11, HOW_BOOL, NULL});
MESSAGE(path_item, 10, {"get", 2, HOW_MESSAGE, &operation}, {"put", 3, HOW_MESSAGE, &operation}, {"post", 4, HOW_MESSAGE, &operation}, {"delete", 5, HOW_MESSAGE, &operation},
	{"options", 6, HOW_MESSAGE, &operation}, {"head", 7, HOW_MESSAGE, &operation}, {"patch", 8, HOW_MESSAGE, &operation}, {"parameters", 9, HOW_PARAMETERS, NULL});
MESSAGE(paths, 1, {"*", 2, HOW_NAMED, &path_item});
MESSAGE(info, 7, {"title", 1, HOW_STRING, NULL}, {"version", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL});
MESSAGE(key_definition, 5, {"type", 1, HOW_STRING, NULL}, {"name", 2, HOW_STRING, NULL}, {"in", 3, HOW_STRING, NULL}, {"description", 4, HOW_STRING, NULL});
MESSAGE(security_definition, 0, {"*", 2, HOW_MESSAGE, &key_definition});
MESSAGE(document, 16, {"swagger", 1, HOW_STRING, NULL}, {"info", 2, HOW_MESSAGE, &info}, {"paths", 8, HOW_MESSAGE, &paths}, {"definitions", 9, HOW_NAMED_IN, &schema},
	{"parameters", 10, HOW_PARAMETERS_NAMED, NULL}, {"securityDefinitions", 13, HOW_NAMED_IN, &security_definition});

/* ---- the wire ---- */

#define MAX_MESSAGE ((size_t)256 << 20)
#define MAX_DEPTH 128 /* of schemas in schemas */

static void put_varint(struct buf *out, uint64_t value) {
	for (; value >= 0x80; value >>= 7)
		buf_append_char(out, (char)(value | 0x80));
	buf_append_char(out, (char)value);
}

static void put_bytes(struct buf *out, unsigned number, const void *data, size_t len) {
	put_varint(out, number << 3 | 2);
	put_varint(out, len);
	buf_append(out, data, len);
}

static void put_text(struct buf *out, unsigned number, const char *text) {
	put_bytes(out, number, text, strlen(text));
}

static void put_buf(struct buf *out, unsigned number, const struct buf *inner) {
	if (buf_failed(inner))
		out->overflow = true;
	put_bytes(out, number, inner->data, inner->len);
}

static void put_any(struct buf *out, unsigned number, json_t *value) {
	autobuf struct buf any = BUF_INIT(MAX_MESSAGE);
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	put_text(&any, 2, text ? text : "null");
	free(text);
	put_buf(out, number, &any);
}

static void put_message(const struct message *m, json_t *value, unsigned depth, struct buf *out);

static void put_strings(struct buf *out, unsigned number, json_t *value) {
	if (json_is_string(value))
		put_text(out, number, json_string_value(value));
	for (size_t i = 0; i < json_array_size(value); i++)
		if (json_is_string(json_array_get(value, i)))
			put_text(out, number, json_string_value(json_array_get(value, i)));
}

static void put_inner(struct buf *out, unsigned number, const struct message *m, json_t *value, unsigned depth) {
	autobuf struct buf inner = BUF_INIT(MAX_MESSAGE);
	put_message(m, value, depth + 1, &inner);
	put_buf(out, number, &inner);
}

static bool is_extension(const char *name) {
	return str_starts_with(name, "x-");
}

static void put_named(struct buf *out, unsigned number, const struct message *m, json_t *members, unsigned depth) {
	const char *name;
	json_t *value;
	json_object_foreach(members, name, value) {
		autobuf struct buf pair = BUF_INIT(MAX_MESSAGE);
		if (m == &path_item || m == &response_value ? is_extension(name) : false)
			continue;
		put_text(&pair, 1, name);
		put_inner(&pair, 2, m, value, depth);
		put_buf(out, number, &pair);
	}
}

/* Parameter {BodyParameter | NonBodyParameter {... | query | path}} */
static void put_parameter(struct buf *out, unsigned number, json_t *value, unsigned depth) {
	autobuf struct buf parameter = BUF_INIT(MAX_MESSAGE), other = BUF_INIT(MAX_MESSAGE);
	const char *in = json_string_value(json_object_get(value, "in"));
	if (str_equal(in, "body")) {
		put_inner(&parameter, 1, &body_parameter, value, depth);
	} else {
		bool path = str_equal(in, "path");
		put_inner(&other, path ? 4 : 3, path ? &path_parameter : &query_parameter, value, depth);
		put_buf(&parameter, 2, &other);
	}
	put_buf(out, number, &parameter);
}

/* ParametersItem {Parameter | JsonReference} */
static void put_parameter_item(struct buf *out, unsigned number, json_t *value, unsigned depth) {
	autobuf struct buf item = BUF_INIT(MAX_MESSAGE);
	if (json_object_get(value, "$ref"))
		put_inner(&item, 2, &reference, value, depth);
	else
		put_parameter(&item, 1, value, depth);
	put_buf(out, number, &item);
}

/* ParameterDefinitions {repeated NamedParameter {name, Parameter}} */
static void put_parameter_definitions(struct buf *out, unsigned number, json_t *members, unsigned depth) {
	autobuf struct buf definitions = BUF_INIT(MAX_MESSAGE);
	const char *name;
	json_t *value;
	json_object_foreach(members, name, value) {
		autobuf struct buf pair = BUF_INIT(MAX_MESSAGE);
		put_text(&pair, 1, name);
		put_parameter(&pair, 2, value, depth);
		put_buf(&definitions, 1, &pair);
	}
	put_buf(out, number, &definitions);
}

static void put_wrapped(struct buf *out, const struct row *row, json_t *value, unsigned depth) {
	autobuf struct buf wrapper = BUF_INIT(MAX_MESSAGE);
	if (row->of == &type_item) {
		put_strings(&wrapper, 1, value);
	} else if (json_is_boolean(value)) {
		put_varint(&wrapper, 2 << 3);
		put_varint(&wrapper, json_is_true(value));
	} else if (json_is_array(value)) {
		for (size_t i = 0; i < json_array_size(value); i++)
			put_inner(&wrapper, 1, row->of, json_array_get(value, i), depth);
	} else {
		put_inner(&wrapper, 1, row->of, value, depth);
	}
	put_buf(out, row->number, &wrapper);
}

static void put_number(struct buf *out, const struct row *row, json_t *value) {
	double number = json_number_value(value);
	if (row->how == HOW_INT) {
		put_varint(out, row->number << 3);
		put_varint(out, (uint64_t)json_integer_value(value));
		return;
	}
	/* fixed64, little endian */
	uint64_t bits;
	memcpy(&bits, &number, sizeof(bits));
	put_varint(out, row->number << 3 | 1);
	for (int i = 0; i < 8; i++)
		buf_append_char(out, (char)(bits >> 8 * i));
}

static void put_row(struct buf *out, const struct row *row, json_t *value, unsigned depth) {
	switch (row->how) {
	case HOW_STRING:
		if (json_is_string(value))
			put_text(out, row->number, json_string_value(value));
		break;
	case HOW_BOOL:
		if (json_is_true(value)) {
			put_varint(out, row->number << 3);
			put_varint(out, 1);
		}
		break;
	case HOW_INT:
	case HOW_DOUBLE:
		put_number(out, row, value);
		break;
	case HOW_STRINGS:
		put_strings(out, row->number, value);
		break;
	case HOW_ANY:
		put_any(out, row->number, value);
		break;
	case HOW_ANYS:
		for (size_t i = 0; i < json_array_size(value); i++)
			put_any(out, row->number, json_array_get(value, i));
		break;
	case HOW_MESSAGE:
		put_inner(out, row->number, row->of, value, depth);
		break;
	case HOW_MESSAGES:
		for (size_t i = 0; i < json_array_size(value); i++)
			put_inner(out, row->number, row->of, json_array_get(value, i), depth);
		break;
	case HOW_WRAPPED:
		put_wrapped(out, row, value, depth);
		break;
	case HOW_NAMED:
		put_named(out, row->number, row->of, value, depth);
		break;
	case HOW_NAMED_IN: {
		autobuf struct buf inner = BUF_INIT(MAX_MESSAGE);
		put_named(&inner, 1, row->of, value, depth);
		put_buf(out, row->number, &inner);
		break;
	}
	case HOW_PARAMETERS:
		for (size_t i = 0; i < json_array_size(value); i++)
			put_parameter_item(out, row->number, json_array_get(value, i), depth);
		break;
	case HOW_PARAMETERS_NAMED:
		put_parameter_definitions(out, row->number, value, depth);
		break;
	}
}

static void put_message(const struct message *m, json_t *value, unsigned depth, struct buf *out) {
	if (depth > MAX_DEPTH)
		return;
	for (size_t i = 0; i < m->count; i++) {
		const struct row *row = &m->rows[i];
		json_t *member = row->name[0] == '*' ? value : json_object_get(value, row->name);
		if (member)
			put_row(out, row, member, depth);
	}
	const char *name;
	json_t *member;
	if (m->extensions)
		json_object_foreach(value, name, member)
			if (is_extension(name)) {
				autobuf struct buf pair = BUF_INIT(MAX_MESSAGE);
				put_text(&pair, 1, name);
				put_any(&pair, 2, member);
				put_buf(out, m->extensions, &pair);
			}
}

void openapi_v2_protobuf(const char *json, size_t len, struct buf *out) {
	json_t *tree = json_loadb(json, len, 0, NULL);
	put_message(&document, tree, 0, out);
	json_decref(tree);
}
