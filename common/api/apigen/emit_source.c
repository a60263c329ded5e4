/* SPDX-License-Identifier: Apache-2.0 */
/* Writes api/<package>.c: the descriptors of one package's types. */
#include "common/api/apigen/schema.h"

#include <stdlib.h>
#include <string.h>

static void emit_word_list(FILE *out, const struct words *words) {
	if (!words->len) {
		fputs("NULL", out);
		return;
	}
	fputs("(const char *const[]){", out);
	for (size_t i = 0; i < words->len; i++) {
		emit_string(out, words->items[i]);
		fputs(", ", out);
	}
	fputs("NULL}", out);
}

static void emit_flags(FILE *out, const struct field *f) {
	const struct {
		bool on;
		const char *symbol;
	} flags[] = {
		{f->pointer, "API_FIELD_POINTER"}, {f->omit_empty, "API_FIELD_OMIT_EMPTY"}, {f->omit_zero, "API_FIELD_OMIT_ZERO"},
		{f->required, "API_FIELD_REQUIRED"}, {f->inlined, "API_FIELD_INLINE"}, {f->map_atomic, "API_FIELD_MAP_ATOMIC"},
		{f->merge, "API_FIELD_MERGE"}, {f->retain_keys, "API_FIELD_RETAIN_KEYS"}, {f->replace, "API_FIELD_REPLACE"},
		{f->map_granular, "API_FIELD_MAP_GRANULAR"}, {f->self, "API_FIELD_SELF"}, {f->wire, "API_FIELD_WIRE_ONLY"},
	};
	fputs(".flags = 0", out);
	for (size_t i = 0; i < lengthof(flags); i++)
		if (flags[i].on)
			fprintf(out, " | %s", flags[i].symbol);
}

static void emit_check(FILE *out, const struct field *f) {
	if (!f->need && !f->fixed && !f->labels && !f->judged && !f->blank && !f->listed && !f->anyway && !f->one_of_values.len && !f->format && !f->min && !f->max && !f->max_len && !f->max_items)
		return;
	fprintf(out, ".check = &(const struct api_check){.need = %d, .fixed = %d, .labels = %d, .judged = %d, .blank = %d, .listed = %d, .anyway = %d, ", f->need, f->fixed, f->labels, f->judged, f->blank, f->listed, f->anyway);
	if (f->format)
		fprintf(out, ".format = format_%s, ", f->format);
	if (f->one_of_values.len) {
		fputs(".one_of = ", out);
		emit_word_list(out, &f->one_of_values);
		fputs(", ", out);
	}
	if (f->min)
		fprintf(out, ".has_min = true, .min = %s, ", f->min);
	if (f->max)
		fprintf(out, ".has_max = true, .max = %s, ", f->max);
	fprintf(out, ".max_len = %s, .max_items = %s}, ", f->max_len ? f->max_len : "0", f->max_items ? f->max_items : "0");
}

static void emit_field(FILE *out, const struct type *type, const struct field *f) {
	static const char *const shapes[] = {"API_SINGLE", "API_LIST", "API_MAP"};
	const struct scalar_row *row = &scalars[f->scalar];
	const char *element = row->c_type ? row->c_type : format("struct %s", f->type->c_name);
	fputs("\t{.name = ", out);
	emit_string(out, f->name);
	fprintf(out, ", .c_name = \"%s\", .name_len = %zu, .number = %d, .kind = %s, .shape = %s, ", f->c_name, strlen(f->name), f->number, row->symbol, shapes[f->shape]);
	if (f->list_type)
		fprintf(out, ".list_type = %s, ", f->list_type);
	emit_flags(out, f);
	fprintf(out, ", .offset = offsetof(struct %s, %s), .element_size = sizeof(%s), ", type->c_name, f->c_name, element);
	if (f->shape == SHAPE_MAP) {
		const char *map = f->type ? format("struct %s_map", f->type->c_name) : row->map;
		fprintf(out, ".entry_size = sizeof(%s_entry), .value_offset = offsetof(%s_entry, value), ", map, map);
	}
	if (f->type)
		fprintf(out, ".type = &%s_type, ", f->type->c_name);
	/* core/v1 and PodPhase, or other/v1.Name: Go says v1.PodPhase. */
	const char *alias = f->alias;
	if (alias) {
		const char *slash = strchr(alias, '/'), *version = strchr(type->package->name, '/');
		alias = slash ? slash + 1 : format("%s.%s", version ? version + 1 : type->package->name, alias);
	}
	const struct {
		const char *name, *text;
	} strings[] = {
		{"go_type", alias}, {"merge_key", f->merge_key}, {"default_json", f->default_json}, {"fill_json", f->fill_json}, {"doc", f->doc}, {"gate", f->gate},
	};
	for (size_t i = 0; i < lengthof(strings); i++)
		if (strings[i].text) {
			fprintf(out, ".%s = ", strings[i].name);
			emit_string(out, strings[i].text);
			fputs(", ", out);
		}
	if (f->keys.len) {
		fputs(".list_keys = ", out);
		emit_word_list(out, &f->keys);
		fputs(", ", out);
	}
	if (f->values.len) {
		fputs(".enum_values = ", out);
		emit_word_list(out, &f->values);
		fputs(", ", out);
	}
	emit_check(out, f);
	fputs("},\n", out);
}

static const struct type *sorting;

static int order_by_name(const void *a, const void *b) {
	return strcmp(sorting->fields[*(const size_t *)a].name, sorting->fields[*(const size_t *)b].name);
}

static int order_by_number(const void *a, const void *b) {
	int x = sorting->fields[*(const size_t *)a].number, y = sorting->fields[*(const size_t *)b].number;
	return (x > y) - (x < y);
}

/* Indexes of all fields, ordered; unnamed or unnumbered ones come first. */
static void emit_order(FILE *out, const struct type *t, const char *what, int (*order)(const void *, const void *)) {
	size_t *index = calloc(t->field_count + 1, sizeof(*index));
	for (size_t i = 0; i < t->field_count; i++)
		index[i] = i;
	sorting = t;
	qsort(index, t->field_count, sizeof(*index), order);
	fprintf(out, "static const uint16_t %s_%s[] = {", t->c_name, what);
	for (size_t i = 0; i < t->field_count; i++)
		fprintf(out, "%zu, ", index[i]);
	fputs("};\n", out);
	free(index);
}

static bool is_list_kind(const struct type *t) {
	return t->object && t->field_count == 4 && !strcmp(t->fields[3].name, "items") && t->fields[3].shape == SHAPE_LIST;
}

static void emit_type(FILE *out, const struct type *t) {
	const struct package *p = t->package;
	if (t->field_count) {
		fprintf(out, "static const struct api_field %s_fields[] = {\n", t->c_name);
		for (size_t i = 0; i < t->field_count; i++)
			emit_field(out, t, &t->fields[i]);
		fputs("};\n", out);
		emit_order(out, t, "by_name", order_by_name);
		emit_order(out, t, "by_number", order_by_number);
	}
	fprintf(out, "const struct api_type %s_type = {.id = \"%s\", .c_name = \"%s\", ", t->c_name, t->id, t->c_name);
	if (p->openapi)
		fprintf(out, ".openapi = \"%s.%s\", ", p->openapi, t->name);
	if (p->proto)
		fprintf(out, ".proto = \"%s.%s\", ", p->proto, t->name);
	if (t->doc) {
		fputs(".doc = ", out);
		emit_string(out, t->doc);
		fputs(", ", out);
	}
	if (t->field_count)
		fprintf(out, ".fields = %s_fields, .by_name = %s_by_name, .by_number = %s_by_number, .field_count = %zu, ", t->c_name, t->c_name, t->c_name, t->field_count);
	if (t->custom)
		fprintf(out, ".custom_json = API_CUSTOM_%s, ", name_macro(t->custom));
	else if (t->field_count == 1 && t->fields[0].self)
		fputs(".custom_json = API_CUSTOM_SELF, ", out);
	fprintf(out, ".size = sizeof(struct %s), .map_atomic = %s, .is_kind = %s, .is_list = %s, ", t->c_name, t->atomic ? "true" : "false",
		t->object ? "true" : "false", is_list_kind(t) ? "true" : "false");
	if (t->object && t->registered && t->version)
		fprintf(out, ".group = \"%s\", .version = \"%s\", .kind = \"%s\", ", t->group, t->version, t->name);
	if (t->hook)
		fprintf(out, ".defaults = %s_defaults, ", t->c_name);
	fputs("};\n\n", out);
}

void emit_source(FILE *out, const struct schema *schema, const struct package *p) {
	(void)schema;
	fprintf(out, "/* Generated by apigen from %s. */\n#include \"api/%s.h\"\n#include \"common/api/codec.h\"\n#include \"common/api/format.h\"\n\n#include <stddef.h>\n\n", p->file, p->stem);
	for (size_t i = 0; i < p->type_count; i++)
		emit_type(out, p->types[i]);
}
