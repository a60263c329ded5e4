/* SPDX-License-Identifier: Apache-2.0 */
/* Functions by name: the rows of all libraries, whose signatures are read once. */
#include "common/cel/internal.h"
#include "common/base/map.h"

#include <pthread.h>

static struct map functions = MAP_INIT(NULL);
static struct arena *types; /* for good */

/* Names that signatures use. */
static const struct cel_type *simple_type(const char *name) {
	static const struct cel_type a = {.kind = CEL_PARAM, .name = "A"}, b = {.kind = CEL_PARAM, .name = "B"};
	static const struct {
		const char *name;
		const struct cel_type *type;
	} rows[] = {
		{"A", &a}, {"B", &b}, {"dyn", &cel_dyn}, {"bool", &cel_bool}, {"int", &cel_int}, {"uint", &cel_uint}, {"double", &cel_double}, {"string", &cel_string}, {"bytes", &cel_bytes}, {"timestamp", &cel_timestamp}, {"duration", &cel_duration},
		{"quantity", &type_quantity}, {"semver", &type_semver}, {"url", &type_url}, {"ip", &type_ip}, {"cidr", &type_cidr}, {"format", &type_format}, {"authorizer", &cel_authorizer_type}, {"path", &type_path_check}, {"group", &type_group_check},
		{"resource", &cel_resource_check_type}, {"decision", &type_decision},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].type;
	abort();
}

/* "map<A,list<B>>"; *p behind it afterwards. */
static const struct cel_type *read_type(const char **p) {
	size_t len = strcspn(*p, "<>,(): ");
	autofree char *name = xstrndup(*p, len);
	*p += len;
	if (**p != '<')
		return simple_type(name);
	(*p)++;
	const struct cel_type *first = read_type(p), *second = NULL;
	if (**p == ',') {
		(*p)++;
		second = read_type(p);
	}
	(*p)++;
	return *name == 'l' ? cel_list_of(types, first) : *name == 'm' ? cel_map_of(types, first, second) : *name == 't' ? type_of_type(types, first) : cel_optional_of(types, first);
}

/* One "id=.(types):type"; *p behind it and what parts it from the next. */
static struct overload read_overload(const char **p, const struct function_row *row) {
	struct overload overload = {.cost = row->cost, .run = row->run};
	size_t len = strcspn(*p, "=");
	overload.id = arena_strndup(types, *p, len);
	*p += len + 1;
	overload.member = **p == '.';
	*p += overload.member + 1;
	while (**p != ')') {
		overload.args[overload.count++] = read_type(p);
		*p += **p == ',';
	}
	*p += 2;
	overload.result = read_type(p);
	*p += strspn(*p, " ");
	return overload;
}

static void add_row(const struct function_row *row) {
	struct function *f = map_get(&functions, row->name);
	if (!f) {
		f = arena_new_type(types, struct function);
		f->name = row->name;
		f->patches = strcmp(row->name, "jsonpatch.escapeKey") == 0;
		map_set(&functions, row->name, f);
	}
	unsigned more = 0;
	for (const char *p = row->overloads; *p; p++)
		more += *p == '=';
	struct overload *overloads = arena_calloc(types, f->count + more, sizeof(*overloads));
	if (f->count)
		memcpy(overloads, f->overloads, f->count * sizeof(*overloads));
	f->overloads = overloads;
	for (const char *p = row->overloads; *p;)
		f->overloads[f->count++] = read_overload(&p, row);
}

static void read_all(void) {
	const struct function_row *const libraries[] = {functions_standard, functions_strings, functions_lists, functions_time, functions_network, functions_kubernetes};
	types = arena_new();
	for (size_t i = 0; i < array_len(libraries); i++)
		for (const struct function_row *row = libraries[i]; row->name; row++)
			add_row(row);
}

const struct function *function_find(const char *name) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, read_all);
	return map_get(&functions, name);
}
