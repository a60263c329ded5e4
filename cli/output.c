/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include "cli/columns.h"
#include "cli/jsonpath.h"

#include "common/api/yaml.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define MAX_OUTPUT ((size_t)1 << 31)
#define MAX_TEMPLATE (1u << 20)

void cli_print(const struct buf *out)
{
	if (out->len)
		fwrite(out->data, 1, out->len, stdout);
	fflush(stdout);
}

static const struct {
	const char *name;
	enum cli_format format;
	bool takes_argument, from_file;
} formats[] = {
	{"wide", CLI_WIDE, false, false},
	{"json", CLI_JSON, false, false},
	{"yaml", CLI_YAML, false, false},
	{"name", CLI_NAME, false, false},
	{"jsonpath", CLI_JSONPATH, true, false},
	{"jsonpath-file", CLI_JSONPATH, true, true},
	{"jsonpath-as-json", CLI_JSONPATH_JSON, true, false},
	{"custom-columns", CLI_COLUMNS, true, false},
	{"custom-columns-file", CLI_COLUMNS, true, true},
};

/* "NAME RSRC\nmetadata.name metadata.resourceVersion" in a file is "NAME:metadata.name,RSRC:..." as an argument. */
static char *columns_of_file(struct cli *cli, char *text)
{
	char *second = strchr(text, '\n');
	if (!second)
		return arena_strdup(cli->arena, "");
	*second++ = 0;
	second[strcspn(second, "\n")] = 0;
	autobuf struct buf out = BUF_INIT(MAX_TEMPLATE);
	char *save_head, *save_spec, *head = strtok_r(text, " \t", &save_head), *spec = strtok_r(second, " \t", &save_spec);
	for (; head && spec; head = strtok_r(NULL, " \t", &save_head), spec = strtok_r(NULL, " \t", &save_spec))
		buf_printf(&out, "%s%s:%s", out.len ? "," : "", head, spec);
	return arena_strdup(cli->arena, out.data ? out.data : "");
}

int cli_output_parse(struct cli *cli, const char *text, struct cli_output *ret, struct error *err)
{
	if (str_empty(text))
		return 0;
	size_t len = strcspn(text, "=");
	for (size_t i = 0; i < array_len(formats); i++) {
		if (strlen(formats[i].name) != len || memcmp(formats[i].name, text, len) != 0)
			continue;
		if (formats[i].takes_argument != (text[len] == '='))
			return cli_usage_error(err, formats[i].takes_argument ? "template format specified but no template given" : "unable to match a printer suitable for the output format \"%s\"", text);
		ret->format = formats[i].format;
		ret->argument = text[len] ? arena_strdup(cli->arena, text + len + 1) : NULL;
		if (formats[i].from_file) {
			autofree char *content = NULL;
			int rc = file_read(AT_FDCWD, ret->argument, MAX_TEMPLATE, &content, NULL, err);
			if (rc)
				return rc;
			ret->argument = formats[i].format == CLI_COLUMNS ? columns_of_file(cli, content) : arena_strdup(cli->arena, content);
		}
		return 0;
	}
	return cli_usage_error(err, "unable to match a printer suitable for the output format \"%s\", allowed formats are: custom-columns,custom-columns-file,json,jsonpath,jsonpath-as-json,jsonpath-file,name,wide,yaml", text);
}

/* ---- custom columns ---- */

static void custom_row(struct columns *columns, const char *spec, json_t *object)
{
	for (const char *p = spec; *p;) {
		size_t len = strcspn(p, ",");
		const char *colon = memchr(p, ':', len);
		autofree char *expression = colon ? xstrndup(colon + 1, len - (size_t)(colon + 1 - p)) : xstrdup("");
		struct jsonpath_values values = {0};
		autobuf struct buf cell = BUF_INIT(MAX_TEMPLATE);
		jsonpath_find(expression, object, &values, NULL);
		for (size_t i = 0; i < values.len; i++) {
			if (i)
				buf_append_char(&cell, ',');
			if (json_is_null(values.items[i]))
				buf_append_str(&cell, "<none>");
			else
				jsonpath_append_value(values.items[i], &cell);
		}
		columns_add(columns, values.len ? cell.data : "<none>");
		free(values.items);
		p += len + (p[len] == ',');
	}
	columns_end_row(columns);
}

static int print_custom(const struct cli_output *output, json_t *object, struct error *err)
{
	autocolumns struct columns columns = {0};
	if (str_empty(output->argument))
		return cli_usage_error(err, "custom-columns format specified but no custom columns given");
	for (const char *p = output->argument; *p;) {
		size_t len = strcspn(p, ",");
		const char *colon = memchr(p, ':', len);
		if (!colon)
			return cli_usage_error(err, "unexpected custom-columns spec: %.*s, expected <header>:<json-path-expr>", (int)len, p);
		autofree char *head = xstrndup(p, (size_t)(colon - p));
		if (!output->no_headers)
			columns_add(&columns, head);
		p += len + (p[len] == ',');
	}
	if (!output->no_headers)
		columns_end_row(&columns);
	json_t *items = json_object_get(object, "items"), *item;
	size_t i;
	if (json_is_array(items))
		json_array_foreach(items, i, item)
			custom_row(&columns, output->argument, item);
	else
		custom_row(&columns, output->argument, object);
	autobuf struct buf out = BUF_INIT(MAX_OUTPUT);
	columns_write(&columns, "", 3, &out);
	cli_print(&out);
	return 0;
}

/* ---- whole objects ---- */

static void drop_managed_fields(json_t *object)
{
	size_t i;
	json_t *item;
	json_object_del(json_object_get(object, "metadata"), "managedFields");
	json_array_foreach(json_object_get(object, "items"), i, item)
		json_object_del(json_object_get(item, "metadata"), "managedFields");
}

static int print_name(struct cli *cli, json_t *object, struct error *err)
{
	size_t i;
	json_t *items = json_object_get(object, "items"), *item;
	int rc = 0;
	if (json_is_array(items)) {
		json_array_foreach(items, i, item)
			if (!rc)
				rc = print_name(cli, item, err);
		return rc;
	}
	const struct cli_resource *resource = NULL;
	rc = cli_resource_by_kind(cli, cli_str(object, "apiVersion"), cli_str(object, "kind"), &resource, err);
	if (!rc)
		printf("%s/%s\n", cli_display_name(cli, resource), cli_name(object));
	return rc;
}

static int print_jsonpath(const struct cli_output *output, json_t *object, struct error *err)
{
	autobuf struct buf out = BUF_INIT(MAX_OUTPUT);
	if (output->format == CLI_JSONPATH) {
		int rc = jsonpath_render(output->argument, object, &out, err);
		if (!rc)
			cli_print(&out);
		return rc;
	}
	struct jsonpath_values values = {0};
	int rc = jsonpath_find(output->argument, object, &values, err);
	json_t *array = json_array();
	for (size_t i = 0; i < values.len; i++)
		json_array_append(array, values.items[i]);
	free(values.items);
	if (!rc) {
		char *text = json_dumps(array, JSON_INDENT(4) | JSON_SORT_KEYS);
		printf("%s\n", text);
		free(text);
	}
	json_decref(array);
	return rc;
}

int cli_output_print(struct cli *cli, const struct cli_output *output, json_t *object, struct error *err)
{
	if (!output->show_managed_fields)
		drop_managed_fields(object);
	switch (output->format) {
	case CLI_JSON: {
		char *text = json_dumps(object, JSON_INDENT(4) | JSON_SORT_KEYS);
		printf("%s\n", text ? text : "");
		free(text);
		return 0;
	}
	case CLI_YAML: {
		autobuf struct buf out = BUF_INIT(MAX_OUTPUT);
		yaml_dump(object, &out);
		cli_print(&out);
		return 0;
	}
	case CLI_NAME:
		return print_name(cli, object, err);
	case CLI_JSONPATH:
	case CLI_JSONPATH_JSON:
		return print_jsonpath(output, object, err);
	case CLI_COLUMNS:
		return print_custom(output, object, err);
	case CLI_TABLE:
	case CLI_WIDE:
		break;
	}
	return cli_usage_error(err, "this command has no table to print");
}

int cli_output_result(struct cli *cli, const struct cli_output *output, const struct cli_resource *resource, json_t *object, const char *what, struct error *err)
{
	if (output->format != CLI_TABLE && output->format != CLI_WIDE)
		return cli_output_print(cli, output, object, err);
	printf("%s/%s %s\n", cli_display_name(cli, resource), cli_name(object), what);
	return 0;
}
