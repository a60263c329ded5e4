/* SPDX-License-Identifier: Apache-2.0 */
/* OpenAPI v2 as protobuf (gnostic's openapi.v2.Document), which discovery clients ask for. */
#include "apiserver/openapi/proto.h"

static const struct proto_message schema;
PROTO_MESSAGE(type_item, 0, {"*", 1, HOW_STRINGS, NULL});
PROTO_MESSAGE(items_item, 0, {"*", 1, HOW_MESSAGES, &schema});
PROTO_ONEOF(additional_item, proto_pick_boolean, {"*", 1, HOW_MESSAGE, &schema}, {"*", 2, HOW_BOOL, NULL});
static const struct proto_row schema_rows[] = {
	{"$ref", 1, HOW_STRING, NULL}, {"format", 2, HOW_STRING, NULL}, {"title", 3, HOW_STRING, NULL}, {"description", 4, HOW_STRING, NULL}, {"default", 5, HOW_ANY, NULL},
	{"multipleOf", 6, HOW_DOUBLE, NULL}, {"maximum", 7, HOW_DOUBLE, NULL}, {"exclusiveMaximum", 8, HOW_BOOL, NULL}, {"minimum", 9, HOW_DOUBLE, NULL},
	{"exclusiveMinimum", 10, HOW_BOOL, NULL}, {"maxLength", 11, HOW_INT, NULL}, {"minLength", 12, HOW_INT, NULL}, {"pattern", 13, HOW_STRING, NULL},
	{"maxItems", 14, HOW_INT, NULL}, {"minItems", 15, HOW_INT, NULL}, {"uniqueItems", 16, HOW_BOOL, NULL}, {"maxProperties", 17, HOW_INT, NULL},
	{"minProperties", 18, HOW_INT, NULL}, {"required", 19, HOW_STRINGS, NULL}, {"enum", 20, HOW_ANYS, NULL}, {"additionalProperties", 21, HOW_MESSAGE, &additional_item},
	{"type", 22, HOW_MESSAGE, &type_item}, {"items", 23, HOW_MESSAGE, &items_item}, {"allOf", 24, HOW_MESSAGES, &schema}, {"properties", 25, HOW_NAMED_IN, &schema},
	{"discriminator", 26, HOW_STRING, NULL}, {"readOnly", 27, HOW_BOOL, NULL}, {"example", 30, HOW_ANY, NULL},
};
static const struct proto_message schema = {31, schema_rows, array_len(schema_rows), NULL};

PROTO_MESSAGE(body_parameter, 6, {"description", 1, HOW_STRING, NULL}, {"name", 2, HOW_STRING, NULL}, {"in", 3, HOW_STRING, NULL}, {"required", 4, HOW_BOOL, NULL}, {"schema", 5, HOW_MESSAGE, &schema});
PROTO_MESSAGE(query_parameter, 23, {"required", 1, HOW_BOOL, NULL}, {"in", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"name", 4, HOW_STRING, NULL}, {"type", 6, HOW_STRING, NULL},
	{"format", 7, HOW_STRING, NULL}, {"uniqueItems", 20, HOW_BOOL, NULL});
PROTO_MESSAGE(path_parameter, 22, {"required", 1, HOW_BOOL, NULL}, {"in", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"name", 4, HOW_STRING, NULL}, {"type", 5, HOW_STRING, NULL},
	{"format", 6, HOW_STRING, NULL}, {"uniqueItems", 19, HOW_BOOL, NULL});

static size_t pick_body(const json_t *parameter) {
	return str_equal(json_string_value(json_object_get(parameter, "in")), "body") ? 0 : 1;
}

static size_t pick_path(const json_t *parameter) {
	return str_equal(json_string_value(json_object_get(parameter, "in")), "path") ? 1 : 0;
}

PROTO_ONEOF(other_parameter, pick_path, {"*", 3, HOW_MESSAGE, &query_parameter}, {"*", 4, HOW_MESSAGE, &path_parameter});
PROTO_ONEOF(parameter, pick_body, {"*", 1, HOW_MESSAGE, &body_parameter}, {"*", 2, HOW_MESSAGE, &other_parameter});
PROTO_MESSAGE(reference, 0, {"$ref", 1, HOW_STRING, NULL}, {"description", 2, HOW_STRING, NULL});
PROTO_ONEOF(parameters_item, proto_pick_reference, {"*", 1, HOW_MESSAGE, &parameter}, {"*", 2, HOW_MESSAGE, &reference});

PROTO_MESSAGE(schema_item, 0, {"*", 1, HOW_MESSAGE, &schema});
PROTO_MESSAGE(response, 5, {"description", 1, HOW_STRING, NULL}, {"schema", 2, HOW_MESSAGE, &schema_item});
PROTO_ONEOF(response_value, proto_pick_reference, {"*", 1, HOW_MESSAGE, &response}, {"*", 2, HOW_MESSAGE, &reference});
PROTO_MESSAGE(responses, 2, {"*", 1, HOW_NAMED, &response_value});
PROTO_MESSAGE(operation, 13, {"tags", 1, HOW_STRINGS, NULL}, {"summary", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"operationId", 5, HOW_STRING, NULL},
	{"produces", 6, HOW_STRINGS, NULL}, {"consumes", 7, HOW_STRINGS, NULL}, {"parameters", 8, HOW_MESSAGES, &parameters_item}, {"responses", 9, HOW_MESSAGE, &responses},
	{"schemes", 10, HOW_STRINGS, NULL}, {"deprecated", 11, HOW_BOOL, NULL});
PROTO_MESSAGE(path_item, 10, {"get", 2, HOW_MESSAGE, &operation}, {"put", 3, HOW_MESSAGE, &operation}, {"post", 4, HOW_MESSAGE, &operation}, {"delete", 5, HOW_MESSAGE, &operation},
	{"options", 6, HOW_MESSAGE, &operation}, {"head", 7, HOW_MESSAGE, &operation}, {"patch", 8, HOW_MESSAGE, &operation}, {"parameters", 9, HOW_MESSAGES, &parameters_item});
PROTO_MESSAGE(paths, 1, {"*", 2, HOW_NAMED, &path_item});
PROTO_MESSAGE(info, 7, {"title", 1, HOW_STRING, NULL}, {"version", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL});
PROTO_MESSAGE(key_definition, 5, {"type", 1, HOW_STRING, NULL}, {"name", 2, HOW_STRING, NULL}, {"in", 3, HOW_STRING, NULL}, {"description", 4, HOW_STRING, NULL});
PROTO_MESSAGE(security_definition, 0, {"*", 2, HOW_MESSAGE, &key_definition});
PROTO_MESSAGE(document, 16, {"swagger", 1, HOW_STRING, NULL}, {"info", 2, HOW_MESSAGE, &info}, {"paths", 8, HOW_MESSAGE, &paths}, {"definitions", 9, HOW_NAMED_IN, &schema},
	{"parameters", 10, HOW_NAMED_IN, &parameter}, {"securityDefinitions", 13, HOW_NAMED_IN, &security_definition});

void openapi_v2_protobuf(const char *json, size_t len, struct buf *out) {
	proto_write(&document, json, len, out);
}
