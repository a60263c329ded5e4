/* SPDX-License-Identifier: Apache-2.0 */
/* Ties the names of a schema together. Whatever names nothing is an error. */
#include "common/api/apigen/schema.h"

#include <stdlib.h>
#include <string.h>

static const struct package *find_package(const struct schema *schema, const struct package *home, const char **name) {
	const char *dot = strrchr(*name, '.');
	if (!dot)
		return home;
	size_t len = (size_t)(dot - *name);
	*name = dot + 1;
	for (size_t i = 0; i < schema->count; i++)
		if (strlen(schema->packages[i]->name) == len && !strncmp(schema->packages[i]->name, dot - len, len))
			return schema->packages[i];
	return NULL;
}

struct type *schema_type(const struct schema *schema, const struct package *home, const char *name) {
	const struct package *p = find_package(schema, home, &name);
	for (size_t i = 0; p && i < p->type_count; i++)
		if (!strcmp(p->types[i]->name, name))
			return p->types[i];
	return NULL;
}

const struct enum_values *schema_enum(const struct schema *schema, const struct package *home, const char *name) {
	const struct package *p = find_package(schema, home, &name);
	for (size_t i = 0; p && i < p->enum_count; i++)
		if (!strcmp(p->enums[i].name, name))
			return &p->enums[i];
	return NULL;
}

static struct field *find_field(struct type *type, const char *name) {
	for (size_t i = 0; i < type->field_count; i++) {
		struct field *f = &type->fields[i];
		if (!strcmp(f->name, name))
			return f;
		if (f->inlined && f->type) {
			struct field *inner = find_field(f->type, name);
			if (inner)
				return inner;
		}
	}
	return NULL;
}

static void resolve_field_type(const struct schema *schema, struct type *type, struct field *f) {
	const char *file = type->package->file;
	if (f->scalar == SCALAR_STRUCT) {
		f->type = schema_type(schema, type->package, f->type_name);
		if (!f->type)
			complain(file, f->line, "type %s is not defined", f->type_name);
	}
	/* An inline field is named in C after its type, a wrapper's one field is its items. */
	if (f->inlined && f->type)
		f->c_name = name_field(f->type->name);
	else
		f->c_name = f->self ? "list" : name_field(f->name);
	const struct enum_values *e = f->alias ? schema_enum(schema, type->package, f->alias) : NULL;
	if (f->alias && !e)
		complain(file, f->line, "enum %s is not defined", f->alias);
	if (f->closed && !e)
		complain(file, f->line, "a closed field names its enum: string:Name");
	if (f->closed && e)
		f->values = e->values;
	if (f->one_of && !e)
		complain(file, f->line, "a field with oneof names its enum: string:Name");
	if (f->one_of && e)
		f->one_of_values = e->values;
	if (f->scalar != SCALAR_STRUCT && f->shape == SHAPE_LIST && !scalars[f->scalar].list)
		complain(file, f->line, "no list of %s", f->type_name);
	if (f->scalar != SCALAR_STRUCT && f->shape == SHAPE_MAP && !scalars[f->scalar].map)
		complain(file, f->line, "no map of %s", f->type_name);
}

static void check_keys(struct type *type, struct field *f) {
	for (size_t i = 0; i < f->keys.len; i++)
		if (!f->type || !find_field(f->type, f->keys.items[i]))
			complain(type->package->file, f->line, "list key %s is no field of %s", f->keys.items[i], f->type_name);
	if (f->merge_key && (!f->type || !find_field(f->type, f->merge_key)))
		complain(type->package->file, f->line, "merge key %s is no field of %s", f->merge_key, f->type_name);
}

static void check_c_names(struct type *type) {
	for (size_t i = 0; i < type->field_count; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(type->fields[i].c_name, type->fields[k].c_name))
				complain(type->package->file, type->fields[i].line, "C name %s stands twice", type->fields[i].c_name);
}

/* "core/v1.PodSpec.nodeName" */
static void resolve_column(const struct schema *schema, const struct package *p, struct column *c) {
	if (!c->doc_ref)
		return;
	char *type_name = format("%s", c->doc_ref);
	char *dot = strrchr(type_name, '.');
	if (dot)
		*dot = 0;
	struct type *type = dot ? schema_type(schema, p, type_name) : NULL;
	struct field *f = type ? find_field(type, dot + 1) : NULL;
	if (!f)
		complain(p->file, c->line, "column %s refers to %s, which is no field", c->name, c->doc_ref);
	else if (!c->doc)
		c->doc = f->doc;
}

static void resolve_resource(const struct schema *schema, struct package *p, struct resource *r) {
	r->type = schema_type(schema, p, r->type_name);
	if (!r->type || !r->type->object) {
		complain(p->file, r->line, "%s is not a kind", r->type_name);
		return;
	}
	r->list_type = schema_type(schema, p, format("%sList", r->type_name));
	if (!r->list_type && words_has(&r->verbs, "list"))
		complain(p->file, r->line, "%sList is not defined", r->type_name);
	for (size_t i = 0; i < r->sub_count; i++) {
		r->subs[i].type = schema_type(schema, p, r->subs[i].type_name);
		if (!r->subs[i].type)
			complain(p->file, r->subs[i].line, "%s is not defined", r->subs[i].type_name);
	}
	for (size_t i = 0; i < r->column_count; i++)
		resolve_column(schema, p, &r->columns[i]);
	if (!r->storage != !r->etcd)
		complain(p->file, r->line, "storage and etcd go together");
}

void schema_resolve(struct schema *schema) {
	for (size_t i = 0; i < schema->count; i++) {
		struct package *p = schema->packages[i];
		for (size_t t = 0; t < p->type_count; t++)
			for (size_t f = 0; f < p->types[t]->field_count; f++)
				resolve_field_type(schema, p->types[t], &p->types[t]->fields[f]);
	}
	for (size_t i = 0; i < schema->count; i++) {
		struct package *p = schema->packages[i];
		for (size_t t = 0; t < p->type_count; t++) {
			for (size_t f = 0; f < p->types[t]->field_count; f++)
				check_keys(p->types[t], &p->types[t]->fields[f]);
			check_c_names(p->types[t]);
		}
		for (size_t r = 0; r < p->resource_count; r++)
			resolve_resource(schema, p, p->resources[r]);
	}
}

static int served_order(const void *a, const void *b) {
	const struct package *x = *(struct package *const *)a, *y = *(struct package *const *)b;
	bool x_core = !*x->group, y_core = !*y->group;
	if (x_core != y_core)
		return x_core ? -1 : 1;
	if (x->group_priority != y->group_priority)
		return y->group_priority - x->group_priority;
	int by_group = strcmp(x->group, y->group);
	return by_group ? by_group : y->version_priority - x->version_priority;
}

struct package **schema_served(const struct schema *schema, size_t *ret_count) {
	struct package **list = calloc(schema->count + 1, sizeof(*list));
	size_t count = 0;
	for (size_t i = 0; i < schema->count; i++)
		if (schema->packages[i]->served)
			list[count++] = schema->packages[i];
	qsort(list, count, sizeof(*list), served_order);
	*ret_count = count;
	return list;
}

size_t resource_index(const struct schema *schema, const struct resource *resource) {
	size_t count, index = 0;
	struct package **list = schema_served(schema, &count);
	for (size_t i = 0; i < count; i++)
		for (size_t r = 0; r < list[i]->resource_count; r++, index++)
			if (list[i]->resources[r] == resource)
				return index;
	abort();
}
