/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/printers/printer.h"
#include "apiserver/custom/custom.h"
#include "api/meta_v1.h"

static const struct api_column default_columns[] = {
	{.name = "Name", .type = "string", .format = "name", .doc = "Name must be unique within a namespace."},
	{.name = "Created At", .type = "date", .format = "", .doc = "When the object was created."},
};

static const struct printer *find_printer(const struct resource *resource) {
	for (const struct printer *const *table = printer_tables; *table; table++)
		for (const struct printer *p = *table; p->cells; p++)
			if (strcmp(p->plural, resource->api->plural) == 0 && strcmp(p->group, resource_group(resource)) == 0)
				return p;
	return NULL;
}

const struct api_column *printer_columns(const struct resource *resource, size_t *ret_count) {
	if (!resource->api->column_count || (!resource->custom && !find_printer(resource))) {
		*ret_count = array_len(default_columns);
		return default_columns;
	}
	*ret_count = resource->api->column_count;
	return resource->api->columns;
}

static void separate(struct cells *cells) {
	if (cells->any)
		buf_append_char(cells->out, ',');
	cells->any = true;
}

void cell_string(struct cells *cells, const char *value) {
	separate(cells);
	buf_append_json_string(cells->out, value ? value : "", value ? strlen(value) : 0);
}

void cell_printf(struct cells *cells, const char *fmt, ...) {
	struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	cell_string(cells, text.data);
	buf_done(&text);
}

void cell_int(struct cells *cells, int64_t value) {
	separate(cells);
	buf_append_int(cells->out, value);
}

void cell_bool(struct cells *cells, bool value) {
	separate(cells);
	buf_append_str(cells->out, value ? "true" : "false");
}

void cell_age(struct cells *cells, const struct api_time *time) {
	if (!time || !time->set) {
		cell_string(cells, "<unknown>");
		return;
	}
	char text[32];
	duration_format_human(clock_wall().sec - time->t.sec, text);
	cell_string(cells, text);
}

void cell_age_of(struct cells *cells, const void *object) {
	cell_age(cells, &api_metadata(object)->creation_timestamp);
}

void cell_time(struct cells *cells, const struct api_time *time) {
	if (!time || !time->set) {
		cell_string(cells, "<unknown>");
		return;
	}
	char text[40];
	time_format_rfc3339(time->t, text);
	cell_string(cells, text);
}

const char *printer_order(const struct resource *resource) {
	bool flow = str_equal(resource->api->plural, "flowschemas") && str_equal(resource->api->group, "flowcontrol.apiserver.k8s.io");
	return flow ? "spec.matchingPrecedence" : NULL;
}

bool printer_is_known(const struct resource *resource) {
	return resource->custom || find_printer(resource);
}

void printer_cells(const struct resource *resource, const void *object, struct buf *out) {
	struct cells cells = {.out = out};
	if (resource->custom) {
		custom_cells(resource, object, out);
		return;
	}
	const struct printer *printer = find_printer(resource);
	if (printer) {
		printer->cells(object, &cells);
		return;
	}
	const struct meta_v1_object_meta *meta = api_metadata(object);
	cell_string(&cells, meta ? meta->name : "");
	cell_time(&cells, meta ? &meta->creation_timestamp : NULL);
}
