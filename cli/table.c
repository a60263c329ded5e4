/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the server (meta.k8s.io/v1 Table) as text. */
#include "cli/columns.h"
#include "cli/output.h"

static void add_labels(struct columns *columns, json_t *labels)
{
	autobuf struct buf text = BUF_INIT(1 << 20);
	const char *key;
	json_t *value;
	json_object_foreach(labels, key, value)
		buf_printf(&text, "%s%s=%s", text.len ? "," : "", key, str_or(json_string_value(value), ""));
	columns_add(columns, text.len ? text.data : "<none>");
}

static void add_cell(struct columns *columns, json_t *cell, const char *prefix)
{
	if (json_is_string(cell)) {
		if (prefix)
			columns_printf(columns, "%s/%s", prefix, json_string_value(cell));
		else
			columns_add(columns, json_string_value(cell));
	} else if (cell && !json_is_null(cell)) {
		char *text = json_dumps(cell, JSON_COMPACT | JSON_ENCODE_ANY);
		columns_add(columns, text);
		free(text);
	} else {
		columns_add(columns, "");
	}
}

static bool is_shown(json_t *definition, bool wide)
{
	return wide || json_integer_value(json_object_get(definition, "priority")) == 0;
}

static char *upper(const char *s)
{
	char *out = xstrdup(s);
	for (char *p = out; *p; p++)
		if (*p >= 'a' && *p <= 'z')
			*p = (char)(*p - 'a' + 'A');
	return out;
}

/* "app.kubernetes.io/name" heads its column as NAME. */
static void add_label_head(struct columns *columns, const char *label)
{
	const char *slash = strrchr(label, '/');
	autofree char *text = upper(slash ? slash + 1 : label);
	columns_add(columns, text);
}

static void write_head(struct columns *columns, json_t *definitions, const struct cli_table_options *options)
{
	size_t i;
	json_t *definition;
	if (options->output_watch_events)
		columns_add(columns, "EVENT");
	if (options->with_namespace)
		columns_add(columns, "NAMESPACE");
	json_array_foreach(definitions, i, definition) {
		if (!is_shown(definition, options->wide))
			continue;
		autofree char *text = upper(str_or(cli_str(definition, "name"), ""));
		columns_add(columns, text);
	}
	for (const char *const *label = options->label_columns; label && *label; label++)
		add_label_head(columns, *label);
	if (options->show_labels)
		columns_add(columns, "LABELS");
	columns_end_row(columns);
}

static void write_row(struct columns *columns, json_t *definitions, json_t *row, const struct cli_table_options *options)
{
	size_t i;
	json_t *definition;
	json_t *object = json_object_get(row, "object"), *cells = json_object_get(row, "cells");
	json_t *labels = cli_at(object, "metadata.labels");
	if (options->output_watch_events)
		columns_add(columns, options->watch_event);
	if (options->with_namespace)
		columns_add(columns, cli_ns(object));
	json_array_foreach(definitions, i, definition) {
		if (is_shown(definition, options->wide))
			add_cell(columns, json_array_get(cells, i), options->with_kind && i == 0 ? options->kind : NULL);
	}
	for (const char *const *label = options->label_columns; label && *label; label++)
		columns_add(columns, str_or(cli_str(labels, *label), ""));
	if (options->show_labels)
		add_labels(columns, labels);
	columns_end_row(columns);
}

void cli_table_adopt_columns(json_t *table, json_t *head)
{
	if (!json_array_size(json_object_get(table, "columnDefinitions")))
		json_object_set(table, "columnDefinitions", json_object_get(head, "columnDefinitions"));
}

void cli_table_write(json_t *table, const struct cli_table_options *options, struct buf *out)
{
	autocolumns struct columns columns = {0};
	json_t *definitions = json_object_get(table, "columnDefinitions"), *row;
	size_t i;
	if (!options->no_headers)
		write_head(&columns, definitions, options);
	json_array_foreach(json_object_get(table, "rows"), i, row)
		write_row(&columns, definitions, row, options);
	columns_write(&columns, "", 3, out);
}
