/* SPDX-License-Identifier: Apache-2.0 */
/* Reads .api files. A line at column 0 opens a statement; an indented one belongs to the type or resource above it. */
#include "common/api/apigen/schema.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

int schema_errors;

void complain(const char *file, int line, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	fprintf(stderr, "%s:%d: error: ", file, line);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
	va_end(args);
	schema_errors++;
}

const struct scalar_row scalars[] = {
	[SCALAR_STRING] = {"string", "API_STRING", "const char *", "struct api_string_list", "struct api_string_map", false},
	[SCALAR_BOOL] = {"bool", "API_BOOL", "bool", "struct api_bool_list", NULL, true},
	[SCALAR_INT32] = {"int32", "API_INT32", "int32_t", "struct api_int32_list", NULL, true},
	[SCALAR_INT64] = {"int64", "API_INT64", "int64_t", "struct api_int64_list", NULL, true},
	[SCALAR_DOUBLE] = {"double", "API_DOUBLE", "double", NULL, NULL, true},
	[SCALAR_BYTES] = {"bytes", "API_BYTES", "struct api_bytes", NULL, "struct api_bytes_map", false},
	[SCALAR_QUANTITY] = {"quantity", "API_QUANTITY", "struct quantity", "struct api_quantity_list", "struct api_quantity_map", false},
	[SCALAR_INT_OR_STRING] = {"intOrString", "API_INT_OR_STRING", "struct int_or_string", NULL, NULL, true},
	[SCALAR_TIME] = {"time", "API_TIME", "struct api_time", NULL, "struct api_time_map", false},
	[SCALAR_MICRO_TIME] = {"microTime", "API_MICRO_TIME", "struct api_time", NULL, NULL, false},
	[SCALAR_DURATION] = {"duration", "API_DURATION", "struct api_duration", NULL, NULL, true},
	[SCALAR_RAW_EXTENSION] = {"rawExtension", "API_RAW_EXTENSION", "struct api_raw", "struct api_raw_list", NULL, false},
	[SCALAR_FIELDS_V1] = {"fieldsV1", "API_FIELDS_V1", "struct api_raw", NULL, NULL, false},
	[SCALAR_JSON] = {"json", "API_JSON", "struct api_raw", "struct api_raw_list", NULL, false},
	[SCALAR_STRUCT] = {NULL, "API_STRUCT", NULL, NULL, NULL, true},
};

struct reader {
	struct schema *schema;
	struct package *package;
	struct type *type;
	struct resource *resource;
	const char *path;
	int line;
};

#define fail(r, ...) complain((r)->path, (r)->line, __VA_ARGS__)

/*
 * Cuts a line into words. White space inside double quotes or JSON braces and brackets does not cut; a word that is
 * quoted as a whole loses its quotes. " -- " opens the description, which is the rest of the line.
 */
static char *split_line(struct reader *r, char *line, struct words *words) {
	char *s = line;
	for (;;) {
		while (isspace((unsigned char)*s))
			s++;
		if (!*s || *s == '#')
			return NULL;
		if (!strncmp(s, "-- ", 3))
			return format("%s", s + 3);
		char *start = s;
		bool quoted = false;
		while (*s && (quoted || !isspace((unsigned char)*s))) {
			if (*s == '\\' && quoted && s[1])
				s++;
			else if (*s == '"')
				quoted = !quoted;
			s++;
		}
		if (quoted)
			fail(r, "quote without its end");
		char *word = strndup(start, (size_t)(s - start));
		size_t len = strlen(word);
		if (*word == '"' && len >= 2 && word[len - 1] == '"') {
			word[len - 1] = 0;
			word++;
		}
		words_add(words, word);
	}
}

static void take_words(struct words *to, const struct words *from, size_t first) {
	for (size_t i = first; i < from->len; i++)
		words_add(to, from->items[i]);
}

/* "a,b" or "a|b" */
static void split_list(struct words *to, const char *text, char separator) {
	if (*text == '"')
		text = strndup(text + 1, strlen(text) - 2);
	for (;;) {
		const char *end = strchrnul(text, separator);
		words_add(to, strndup(text, (size_t)(end - text)));
		if (!*end)
			return;
		text = end + 1;
	}
}

static const char *value_of(const char *word, const char *key) {
	size_t len = strlen(key);
	return !strncmp(word, key, len) && word[len] == '=' ? word + len + 1 : NULL;
}

static int parse_number(struct reader *r, const char *text) {
	char *end;
	long number = strtol(text, &end, 10);
	if (!*text || *end || number < 0 || number > 1000000)
		fail(r, "\"%s\" is not a number in range", text);
	return (int)number;
}

static bool parse_field_type(struct reader *r, struct field *field, const char *text) {
	char *s = format("%s", text);
	char *alias = strchr(s, ':');
	if (alias) {
		*alias = 0;
		field->alias = alias + 1;
	}
	if (*s == '*') {
		field->pointer = true;
		s++;
	}
	size_t len = strlen(s);
	if (len > 5 && !strncmp(s, "list<", 5) && s[len - 1] == '>')
		field->shape = SHAPE_LIST, s += 5;
	else if (len > 4 && !strncmp(s, "map<", 4) && s[len - 1] == '>')
		field->shape = SHAPE_MAP, s += 4;
	if (field->shape != SHAPE_SINGLE) {
		if (field->pointer) {
			fail(r, "a list or map cannot be a pointer: %s", text);
			return false;
		}
		s[strlen(s) - 1] = 0;
	}
	field->scalar = SCALAR_STRUCT;
	field->type_name = s;
	for (int i = 0; i < SCALAR_STRUCT; i++)
		if (!strcmp(scalars[i].name, s))
			field->scalar = (enum scalar)i;
	return true;
}

static void parse_field_word(struct reader *r, struct field *f, const char *word) {
	const struct {
		const char *word;
		bool *flag;
	} flags[] = {
		{"inline", &f->inlined}, {"self", &f->self}, {"wire", &f->wire}, {"closed", &f->closed},
		{"omitempty", &f->omit_empty}, {"omitzero", &f->omit_zero}, {"required", &f->required},
		{"need", &f->need}, {"fixed", &f->fixed}, {"labels", &f->labels}, {"oneof", &f->one_of}, {"judged", &f->judged}, {"blank", &f->blank}, {"listed", &f->listed}, {"anyway", &f->anyway},
		{"mapatomic", &f->map_atomic}, {"mapgranular", &f->map_granular}, {"merge", &f->merge}, {"retainKeys", &f->retain_keys}, {"replace", &f->replace},
	};
	for (size_t i = 0; i < lengthof(flags); i++)
		if (!strcmp(word, flags[i].word)) {
			*flags[i].flag = true;
			return;
		}
	const struct {
		const char *key;
		char **text;
		bool number;
	} bounds[] = {{"format", &f->format, false}, {"min", &f->min, true}, {"max", &f->max, true}, {"maxlen", &f->max_len, true}, {"maxitems", &f->max_items, true}};
	const char *value;
	for (size_t i = 0; i < lengthof(bounds); i++)
		if ((value = value_of(word, bounds[i].key))) {
			char *end = NULL;
			if (bounds[i].number && (strtoll(value, &end, 10), !*value || *end))
				fail(r, "\"%s\" is not a number", value);
			*bounds[i].text = format("%s", value);
			return;
		}
	if (!strcmp(word, "listatomic"))
		f->list_type = "API_LIST_ATOMIC";
	else if (!strcmp(word, "set"))
		f->list_type = "API_LIST_SET";
	else if ((value = value_of(word, "keys")))
		f->list_type = "API_LIST_MAP", split_list(&f->keys, value, ',');
	else if ((value = value_of(word, "merge")))
		f->merge = true, f->merge_key = format("%s", value);
	else if ((value = value_of(word, "oneof")))
		split_list(&f->one_of_values, value, '|');
	else if ((value = value_of(word, "values")))
		split_list(&f->values, value, '|');
	else if ((value = value_of(word, "default")))
		f->default_json = format("%s", value);
	else if ((value = value_of(word, "fill")))
		f->fill_json = format("%s", value);
	else if ((value = value_of(word, "gate")))
		f->gate = format("%s", value);
	else
		fail(r, "unknown word \"%s\" in a field", word);
}

static void parse_field(struct reader *r, const struct words *words, char *doc) {
	struct type *type = r->type;
	if (words->len < 3) {
		fail(r, "a field needs a name, a number and a type");
		return;
	}
	type->fields = grow(type->fields, type->field_count, sizeof(*type->fields));
	struct field *f = &type->fields[type->field_count++];
	memset(f, 0, sizeof(*f));
	f->line = r->line;
	f->doc = doc;
	f->name = strcmp(words->items[0], "-") ? words->items[0] : "";
	if (strcmp(words->items[1], "-")) {
		char *end;
		long number = strtol(words->items[1], &end, 10);
		if (*end || number < 1 || number > 65535)
			fail(r, "\"%s\" is not a protobuf field number", words->items[1]);
		f->number = (int)number;
	}
	if (!parse_field_type(r, f, words->items[2]))
		return;
	for (size_t i = 3; i < words->len; i++)
		parse_field_word(r, f, words->items[i]);
	if (!*f->name && !f->inlined && !f->self)
		fail(r, "only inline and self fields have no name");
	for (size_t i = 0; i + 1 < type->field_count; i++) {
		if (*f->name && !strcmp(type->fields[i].name, f->name))
			fail(r, "field %s stands twice", f->name);
		if (f->number && type->fields[i].number == f->number)
			fail(r, "number %d stands twice", f->number);
	}
}

static void parse_type(struct reader *r, const struct words *words, char *doc) {
	struct package *p = r->package;
	if (words->len < 2) {
		fail(r, "a type needs a name");
		return;
	}
	struct type *t = calloc(1, sizeof(*t));
	t->package = p;
	t->line = r->line;
	t->name = words->items[1];
	t->doc = doc;
	t->id = format("%s.%s", p->name, t->name);
	t->c_name = format("%s_%s", p->stem, name_snake(t->name));
	t->registered = true;
	t->group = p->group;
	t->version = p->version;
	for (size_t i = 2; i < words->len; i++) {
		const char *word = words->items[i], *value;
		if (!strcmp(word, "object"))
			t->object = true;
		else if (!strcmp(word, "unregistered"))
			t->registered = false;
		else if (!strcmp(word, "atomic"))
			t->atomic = true;
		else if (!strcmp(word, "internal"))
			t->internal = true;
		else if (!strcmp(word, "hook"))
			t->hook = true;
		else if ((value = value_of(word, "custom")))
			t->custom = format("%s", value);
		else if ((value = value_of(word, "gv")))
			t->group = "", t->version = format("%s", value);
		else
			fail(r, "unknown word \"%s\" in a type", word);
	}
	for (size_t i = 0; i < p->type_count; i++)
		if (!strcmp(p->types[i]->name, t->name))
			fail(r, "type %s stands twice", t->name);
	p->types = grow(p->types, p->type_count, sizeof(*p->types));
	p->types[p->type_count++] = t;
	r->type = t;
	r->resource = NULL;
	if (t->object) {
		struct words kind = {0}, api_version = {0};
		split_line(r, format("kind - string omitempty"), &kind);
		split_line(r, format("apiVersion - string omitempty"), &api_version);
		parse_field(r, &kind, format("The kind of the object."));
		parse_field(r, &api_version, format("Group and version of the API that the kind is of."));
	}
}

static void parse_enum(struct reader *r, const struct words *words) {
	struct package *p = r->package;
	if (words->len < 4 || strcmp(words->items[2], "=")) {
		fail(r, "expected: enum Name = Value ...");
		return;
	}
	p->enums = grow(p->enums, p->enum_count, sizeof(*p->enums));
	struct enum_values *e = &p->enums[p->enum_count++];
	*e = (struct enum_values){.name = words->items[1]};
	e->prefix = name_macro(format("%s_%s", p->stem, name_snake(e->name)));
	take_words(&e->values, words, 3);
}

static void parse_resource(struct reader *r, const struct words *words) {
	struct package *p = r->package;
	if (words->len < 3 || (words->len == 4 && strcmp(words->items[3], "namespaced")) || words->len > 4) {
		fail(r, "expected: resource plural Kind [namespaced]");
		return;
	}
	struct resource *res = calloc(1, sizeof(*res));
	*res = (struct resource){.package = p, .line = r->line, .plural = words->items[1], .type_name = words->items[2], .namespaced = words->len == 4};
	p->resources = grow(p->resources, p->resource_count, sizeof(*p->resources));
	p->resources[p->resource_count++] = res;
	r->resource = res;
	r->type = NULL;
}

static void parse_column(struct reader *r, const struct words *words, char *doc) {
	struct resource *res = r->resource;
	if (words->len < 3) {
		fail(r, "expected: column Name type [format=] [priority=] [doc=]");
		return;
	}
	res->columns = grow(res->columns, res->column_count, sizeof(*res->columns));
	struct column *c = &res->columns[res->column_count++];
	*c = (struct column){.name = words->items[1], .type = words->items[2], .format = "", .doc = doc, .line = r->line};
	for (size_t i = 3; i < words->len; i++) {
		const char *value;
		if ((value = value_of(words->items[i], "format")))
			c->format = format("%s", value);
		else if ((value = value_of(words->items[i], "priority")))
			c->priority = parse_number(r, value);
		else if ((value = value_of(words->items[i], "doc")))
			c->doc_ref = format("%s", value);
		else
			fail(r, "unknown word \"%s\" in a column", words->items[i]);
	}
}

static void parse_resource_line(struct reader *r, const struct words *words, char *doc) {
	struct resource *res = r->resource;
	const char *key = words->items[0];
	const struct {
		const char *key;
		char **one;
		struct words *many;
	} rows[] = {
		{"singular", &res->singular, NULL}, {"storage", &res->storage, NULL}, {"etcd", &res->etcd, NULL},
		{"short", NULL, &res->shorts}, {"categories", NULL, &res->categories}, {"verbs", NULL, &res->verbs},
		{"selectors", NULL, &res->selectors},
	};
	if (words->len < 2) {
		fail(r, "\"%s\" needs a value", key);
		return;
	}
	for (size_t i = 0; i < lengthof(rows); i++)
		if (!strcmp(key, rows[i].key)) {
			if (rows[i].one)
				*rows[i].one = words->items[1];
			else
				take_words(rows[i].many, words, 1);
			return;
		}
	if (!strcmp(key, "column")) {
		parse_column(r, words, doc);
	} else if (!strcmp(key, "sub") && words->len >= 4) {
		res->subs = grow(res->subs, res->sub_count, sizeof(*res->subs));
		struct subresource *sub = &res->subs[res->sub_count++];
		*sub = (struct subresource){.name = words->items[1], .type_name = words->items[2], .line = r->line};
		take_words(&sub->verbs, words, 3);
	} else {
		fail(r, "unknown line \"%s\" in a resource", key);
	}
}

static void parse_statement(struct reader *r, const struct words *words, char *doc) {
	struct package *p = r->package;
	const char *key = words->items[0];
	const char *first = words->len > 1 ? words->items[1] : "";
	if (!strcmp(key, "type"))
		parse_type(r, words, doc);
	else if (!strcmp(key, "enum"))
		parse_enum(r, words);
	else if (!strcmp(key, "resource"))
		parse_resource(r, words);
	else if (!strcmp(key, "package") && words->len == 2)
		p->name = format("%s", first);
	else if (!strcmp(key, "group") && words->len == 3)
		p->group = words->items[1], p->version = words->items[2];
	else if (!strcmp(key, "openapi") && words->len == 2)
		p->openapi = format("%s", first);
	else if (!strcmp(key, "proto") && words->len == 2)
		p->proto = format("%s", first);
	else if (!strcmp(key, "priority") && words->len == 3)
		p->served = true, p->group_priority = parse_number(r, first), p->version_priority = parse_number(r, words->items[2]);
	else
		fail(r, "unknown statement \"%s\"", key);
}

void schema_parse(struct schema *schema, const char *path) {
	FILE *in = fopen(path, "re");
	if (!in) {
		complain(path, 0, "%s", strerror(errno));
		return;
	}
	struct package *p = calloc(1, sizeof(*p));
	const char *base = strrchr(path, '/');
	p->file = format("%s", path);
	p->stem = format("%s", base ? base + 1 : path);
	p->stem[strcspn(p->stem, ".")] = 0;
	p->name = p->stem;
	struct reader r = {.schema = schema, .package = p, .path = path};
	char *line = NULL;
	size_t cap = 0;
	while (getline(&line, &cap, in) >= 0) {
		struct words words = {0};
		r.line++;
		char *end = strchr(line, '\n');
		if (end)
			*end = 0;
		char *doc = split_line(&r, line, &words);
		if (!words.len)
			continue;
		if (!isspace((unsigned char)line[0]))
			parse_statement(&r, &words, doc);
		else if (r.type)
			parse_field(&r, &words, doc);
		else if (r.resource)
			parse_resource_line(&r, &words, doc);
		else
			fail(&r, "an indented line belongs to no type or resource");
	}
	free(line);
	fclose(in);
	schema->packages = grow(schema->packages, schema->count, sizeof(*schema->packages));
	schema->packages[schema->count++] = p;
}
