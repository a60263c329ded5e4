/* SPDX-License-Identifier: Apache-2.0 */
/* explain: the schema for people to read. */
#include "cli/commands/commands.h"
#include "cli/request.h"

#include "common/api/codec.h"

#include <errno.h>
#include <stdio.h>

#define MAX_DEPTH 24

struct options {
	struct cli_globals globals;
	char *api_version;
	bool recursive;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"api-version", 0, FLAG_STRING, O(api_version), NULL, "Of this group and version", 0, 0},
	{"recursive", 0, FLAG_BOOL, O(recursive), NULL, "The fields of the fields too", 0, 0},
	{"output", 'o', FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

static const char *type_name(const struct api_field *field)
{
	static const char *const names[] = {[API_STRING] = "string", [API_BOOL] = "boolean", [API_INT32] = "integer", [API_INT64] = "integer", [API_DOUBLE] = "number", [API_BYTES] = "string",
		[API_QUANTITY] = "Quantity", [API_INT_OR_STRING] = "IntOrString", [API_TIME] = "string", [API_MICRO_TIME] = "string", [API_DURATION] = "string", [API_RAW_EXTENSION] = "Object",
		[API_FIELDS_V1] = "FieldsV1", [API_JSON] = "Object"};
	if (field->kind != API_STRUCT)
		return names[field->kind];
	const char *dot = strrchr(field->type->id, '.');
	return dot ? dot + 1 : field->type->id;
}

static void print_type(const struct api_field *field)
{
	if (field->shape == API_LIST)
		printf("<[]%s>", type_name(field));
	else if (field->shape == API_MAP)
		printf("<map[string]%s>", type_name(field));
	else
		printf("<%s>", type_name(field));
	if (field->flags & API_FIELD_REQUIRED)
		printf(" -required-");
}

static void print_enum(const struct api_field *field, int indent)
{
	if (!field->enum_values)
		return;
	printf("%*senum: ", indent, "");
	for (const char *const *value = field->enum_values; *value; value++)
		printf("%s%s", value == field->enum_values ? "" : ", ", *value);
	putchar('\n');
}

static void print_fields(const struct api_type *type, int depth, bool recursive)
{
	for (uint16_t i = 0; i < type->field_count; i++) {
		const struct api_field *field = &type->fields[i];
		int indent = 2 + depth * 2;
		if (field->flags & (API_FIELD_NO_JSON | API_FIELD_WIRE_ONLY))
			continue;
		if (field->flags & (API_FIELD_INLINE | API_FIELD_SELF)) {
			if (field->type && depth < MAX_DEPTH)
				print_fields(field->type, depth, recursive);
			continue;
		}
		printf("%*s%s\t", indent, "", field->name);
		print_type(field);
		putchar('\n');
		if (!recursive) {
			print_enum(field, indent);
			printf("%*s%s\n\n", indent + 2, "", str_or(field->doc, "<no description>"));
		} else if (field->kind == API_STRUCT && field->type != type && depth < MAX_DEPTH) {
			print_fields(field->type, depth + 1, recursive);
		}
	}
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	if (args->len != 1)
		return cli_usage_error(err, "You must specify the type of resource to explain. Use \"coracle api-resources\" for a complete list of supported resources.");
	size_t len = strcspn(args->items[0], ".");
	const char *word = arena_strndup(cli->arena, args->items[0], len), *path = args->items[0][len] ? args->items[0] + len + 1 : "";
	const struct api_resource *resource = api_resource_match(word);
	if (resource && !str_empty(options->api_version)) {
		const char *group, *version;
		api_split_group_version(cli->arena, options->api_version, &group, &version);
		resource = api_resource_find(group, version, resource->plural);
	}
	if (!resource)
		return error_set(err, ENOENT, "the server doesn't have a resource type \"%s\"", word);
	const struct api_type *type = resource->type;
	const struct api_field *field = NULL;
	for (const char *p = path; *p;) {
		size_t part = strcspn(p, "."), offset;
		field = type ? api_field_find(type, p, part, &offset) : NULL;
		if (!field)
			return error_set(err, ENOENT, "field \"%.*s\" does not exist", (int)part, p);
		type = field->kind == API_STRUCT ? field->type : NULL;
		p += part + (p[part] == '.');
	}
	if (!str_empty(resource->group))
		printf("GROUP:      %s\n", resource->group);
	printf("KIND:       %s\nVERSION:    %s\n\n", resource->kind, resource->version);
	if (field) {
		printf("FIELD: %s ", field->name);
		print_type(field);
		printf("\n\n");
	}
	printf("DESCRIPTION:\n    %s\n\n", str_or(field && field->doc ? field->doc : (type ? type->doc : NULL), "<no description>"));
	if (field)
		print_enum(field, 0);
	if (type) {
		printf("FIELDS:\n");
		print_fields(type, 0, options->recursive);
	}
	return 0;
}

const struct cli_command command_explain = {
	.name = "explain",
	.usage = "TYPE[.FIELD...] [--recursive]",
	.summary = "Get documentation for a resource",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
