/* SPDX-License-Identifier: Apache-2.0 */
/* A document of OpenAPI v3 as protobuf (gnostic's openapi.v3.Document), which kubectl asks for where it looks what parameters an operation takes. */
#include "apiserver/openapi/proto.h"

PROTO_MESSAGE(reference, 0, {"$ref", 1, HOW_STRING, NULL}, {"summary", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL});

static const struct proto_message schema;
PROTO_ONEOF(schema_or_reference, proto_pick_reference, {"*", 1, HOW_MESSAGE, &schema}, {"*", 2, HOW_MESSAGE, &reference});
PROTO_MESSAGE(items_item, 0, {"*", 1, HOW_MESSAGES, &schema_or_reference});
PROTO_ONEOF(additional_item, proto_pick_boolean, {"*", 1, HOW_MESSAGE, &schema_or_reference}, {"*", 2, HOW_BOOL, NULL});

/* A default that is an object or a list has no form here: the message is empty. */
static size_t pick_default(const json_t *value) {
	return json_is_number(value) ? 0 : json_is_boolean(value) ? 1 : json_is_string(value) ? 2 : SIZE_MAX;
}

PROTO_ONEOF(default_type, pick_default, {"*", 1, HOW_DOUBLE, NULL}, {"*", 2, HOW_BOOL, NULL}, {"*", 3, HOW_STRING, NULL});
PROTO_MESSAGE(external_docs, 3, {"description", 1, HOW_STRING, NULL}, {"url", 2, HOW_STRING, NULL});
static const struct proto_row schema_rows[] = {
	{"nullable", 1, HOW_BOOL, NULL}, {"readOnly", 3, HOW_BOOL, NULL}, {"writeOnly", 4, HOW_BOOL, NULL}, {"externalDocs", 6, HOW_MESSAGE, &external_docs}, {"example", 7, HOW_ANY, NULL},
	{"deprecated", 8, HOW_BOOL, NULL}, {"title", 9, HOW_STRING, NULL}, {"multipleOf", 10, HOW_DOUBLE, NULL}, {"maximum", 11, HOW_DOUBLE, NULL}, {"exclusiveMaximum", 12, HOW_BOOL, NULL},
	{"minimum", 13, HOW_DOUBLE, NULL}, {"exclusiveMinimum", 14, HOW_BOOL, NULL}, {"maxLength", 15, HOW_INT, NULL}, {"minLength", 16, HOW_INT, NULL}, {"pattern", 17, HOW_STRING, NULL},
	{"maxItems", 18, HOW_INT, NULL}, {"minItems", 19, HOW_INT, NULL}, {"uniqueItems", 20, HOW_BOOL, NULL}, {"maxProperties", 21, HOW_INT, NULL}, {"minProperties", 22, HOW_INT, NULL},
	{"required", 23, HOW_STRINGS, NULL}, {"enum", 24, HOW_ANYS, NULL}, {"type", 25, HOW_STRING, NULL}, {"allOf", 26, HOW_MESSAGES, &schema_or_reference},
	{"oneOf", 27, HOW_MESSAGES, &schema_or_reference}, {"anyOf", 28, HOW_MESSAGES, &schema_or_reference}, {"not", 29, HOW_MESSAGE, &schema}, {"items", 30, HOW_MESSAGE, &items_item},
	{"properties", 31, HOW_NAMED_IN, &schema_or_reference}, {"additionalProperties", 32, HOW_MESSAGE, &additional_item}, {"default", 33, HOW_MESSAGE, &default_type},
	{"description", 34, HOW_STRING, NULL}, {"format", 35, HOW_STRING, NULL},
};
static const struct proto_message schema = {36, schema_rows, array_len(schema_rows), NULL};

PROTO_MESSAGE(parameter, 14, {"name", 1, HOW_STRING, NULL}, {"in", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"required", 4, HOW_BOOL, NULL}, {"schema", 10, HOW_MESSAGE, &schema_or_reference});
PROTO_ONEOF(parameter_or_reference, proto_pick_reference, {"*", 1, HOW_MESSAGE, &parameter}, {"*", 2, HOW_MESSAGE, &reference});
PROTO_MESSAGE(media_type, 5, {"schema", 1, HOW_MESSAGE, &schema_or_reference});
PROTO_MESSAGE(request_body, 4, {"description", 1, HOW_STRING, NULL}, {"content", 2, HOW_NAMED_IN, &media_type}, {"required", 3, HOW_BOOL, NULL});
PROTO_ONEOF(request_body_or_reference, proto_pick_reference, {"*", 1, HOW_MESSAGE, &request_body}, {"*", 2, HOW_MESSAGE, &reference});
PROTO_MESSAGE(response, 5, {"description", 1, HOW_STRING, NULL}, {"content", 3, HOW_NAMED_IN, &media_type});
PROTO_ONEOF(response_or_reference, proto_pick_reference, {"*", 1, HOW_MESSAGE, &response}, {"*", 2, HOW_MESSAGE, &reference});
PROTO_MESSAGE(responses, 3, {"default", 1, HOW_MESSAGE, &response_or_reference}, {"*", 2, HOW_NAMED, &response_or_reference});
PROTO_MESSAGE(operation, 13, {"tags", 1, HOW_STRINGS, NULL}, {"summary", 2, HOW_STRING, NULL}, {"description", 3, HOW_STRING, NULL}, {"operationId", 5, HOW_STRING, NULL},
	{"parameters", 6, HOW_MESSAGES, &parameter_or_reference}, {"requestBody", 7, HOW_MESSAGE, &request_body_or_reference}, {"responses", 8, HOW_MESSAGE, &responses}, {"deprecated", 10, HOW_BOOL, NULL});
PROTO_MESSAGE(path_item, 14, {"get", 4, HOW_MESSAGE, &operation}, {"put", 5, HOW_MESSAGE, &operation}, {"post", 6, HOW_MESSAGE, &operation}, {"delete", 7, HOW_MESSAGE, &operation},
	{"options", 8, HOW_MESSAGE, &operation}, {"head", 9, HOW_MESSAGE, &operation}, {"patch", 10, HOW_MESSAGE, &operation}, {"parameters", 13, HOW_MESSAGES, &parameter_or_reference});
PROTO_MESSAGE(paths, 2, {"*", 1, HOW_NAMED, &path_item});
PROTO_MESSAGE(info, 7, {"title", 1, HOW_STRING, NULL}, {"description", 2, HOW_STRING, NULL}, {"version", 6, HOW_STRING, NULL});
PROTO_MESSAGE(security_scheme, 9, {"type", 1, HOW_STRING, NULL}, {"description", 2, HOW_STRING, NULL}, {"name", 3, HOW_STRING, NULL}, {"in", 4, HOW_STRING, NULL});
PROTO_ONEOF(security_scheme_or_reference, proto_pick_reference, {"*", 1, HOW_MESSAGE, &security_scheme}, {"*", 2, HOW_MESSAGE, &reference});
PROTO_MESSAGE(components, 10, {"schemas", 1, HOW_NAMED_IN, &schema_or_reference}, {"securitySchemes", 7, HOW_NAMED_IN, &security_scheme_or_reference});
PROTO_MESSAGE(document, 9, {"openapi", 1, HOW_STRING, NULL}, {"info", 2, HOW_MESSAGE, &info}, {"paths", 4, HOW_MESSAGE, &paths}, {"components", 5, HOW_MESSAGE, &components});

void openapi_v3_protobuf(const char *json, size_t len, struct buf *out) {
	proto_write(&document, json, len, out);
}
