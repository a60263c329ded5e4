/* SPDX-License-Identifier: Apache-2.0 */
/* Structural schemas over jansson trees: pruning, defaulting, validation. */
#include "apiserver/custom/custom.h"
#include "common/api/patch/patch.h"
#include "common/base/regex.h"

#include <math.h>

static json_t *property(json_t *schema, const char *key) {
	json_t *known = json_object_get(json_object_get(schema, "properties"), key);
	if (known)
		return known;
	json_t *more = json_object_get(schema, "additionalProperties");
	return json_is_object(more) ? more : NULL;
}

static bool flag(json_t *schema, const char *name) {
	return json_is_true(json_object_get(schema, name));
}

/* ---- pruning ---- */

struct pruning {
	void (*unknown)(const char *path, void *arg);
	void *arg;
};

/* The metadata of an embedded resource has what all metadata has. */
static void prune_metadata(json_t *metadata, const char *path, const struct pruning *p) {
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(metadata, next, key, member) {
		bool known = false;
		for (size_t i = 0; i < meta_v1_object_meta_type.field_count && !known; i++)
			known = str_equal(meta_v1_object_meta_type.fields[i].name, key);
		if (known)
			continue;
		autofree char *inner = xprintf("%s.%s", path, key);
		if (p->unknown)
			p->unknown(inner, p->arg);
		json_object_del(metadata, key);
	}
}

static void prune(json_t *schema, json_t *value, const char *path, bool resource, const struct pruning *p) {
	if (json_is_array(value)) {
		json_t *items = json_object_get(schema, "items");
		for (size_t i = 0; items && i < json_array_size(value); i++) {
			autofree char *inner = xprintf("%s[%zu]", path, i);
			prune(items, json_array_get(value, i), inner, flag(items, "x-kubernetes-embedded-resource"), p);
		}
		return;
	}
	if (!json_is_object(value))
		return;
	bool keep = flag(schema, "x-kubernetes-preserve-unknown-fields") || json_is_true(json_object_get(schema, "additionalProperties"));
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(value, next, key, member) {
		json_t *inner_schema = property(schema, key);
		autofree char *inner = *path ? xprintf("%s.%s", path, key) : xstrdup(key);
		if (resource && (strcmp(key, "apiVersion") == 0 || strcmp(key, "kind") == 0 || strcmp(key, "metadata") == 0)) {
			if (*path && *key == 'm')
				prune_metadata(member, inner, p);
			continue;
		}
		if (inner_schema) {
			prune(inner_schema, member, inner, flag(inner_schema, "x-kubernetes-embedded-resource"), p);
		} else if (!keep) {
			if (p->unknown)
				p->unknown(inner, p->arg);
			json_object_del(value, key);
		}
	}
}

void schema_prune(json_t *schema, json_t *value, bool root, void (*unknown)(const char *path, void *arg), void *arg) {
	prune(schema, value, "", root, &(struct pruning){unknown, arg});
}

/* ---- defaults ---- */

/* Null where the schema does not allow it is as good as nothing; what has a default got it before. */
void schema_drop_nulls(json_t *schema, json_t *value) {
	if (json_is_array(value)) {
		json_t *items = json_object_get(schema, "items");
		for (size_t i = 0; items && i < json_array_size(value); i++)
			schema_drop_nulls(items, json_array_get(value, i));
		return;
	}
	if (!json_is_object(value))
		return;
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(value, next, key, member) {
		json_t *inner = property(schema, key);
		if (inner && json_is_null(member) && !flag(inner, "nullable"))
			json_object_del(value, key);
		else if (inner)
			schema_drop_nulls(inner, member);
	}
}

void schema_default(json_t *schema, json_t *value) {
	if (json_is_array(value)) {
		json_t *items = json_object_get(schema, "items");
		for (size_t i = 0; items && i < json_array_size(value); i++)
			schema_default(items, json_array_get(value, i));
		return;
	}
	if (!json_is_object(value))
		return;
	const char *key;
	json_t *inner;
	json_object_foreach(json_object_get(schema, "properties"), key, inner) {
		json_t *fallback = json_object_get(inner, "default");
		json_t *member = json_object_get(value, key);
		bool missing = !member || (json_is_null(member) && !flag(inner, "nullable"));
		if (missing && fallback)
			json_object_set_new(value, key, json_deep_copy(fallback));
		member = json_object_get(value, key);
		if (member)
			schema_default(inner, member);
	}
	json_t *more = json_object_get(schema, "additionalProperties"), *member;
	if (json_is_object(more))
		json_object_foreach(value, key, member)
			if (!json_object_get(json_object_get(schema, "properties"), key))
				schema_default(more, member);
}

bool schema_has_defaults(json_t *schema) {
	if (!json_is_object(schema))
		return false;
	if (json_object_get(schema, "default"))
		return true;
	const char *key;
	json_t *inner;
	json_object_foreach(json_object_get(schema, "properties"), key, inner)
		if (schema_has_defaults(inner))
			return true;
	return schema_has_defaults(json_object_get(schema, "items")) || schema_has_defaults(json_object_get(schema, "additionalProperties"));
}

/* ---- validation ---- */

static const char *type_name(json_t *value) {
	switch (json_typeof(value)) {
	case JSON_OBJECT:
		return "object";
	case JSON_ARRAY:
		return "array";
	case JSON_STRING:
		return "string";
	case JSON_INTEGER:
		return "integer";
	case JSON_REAL:
		return "number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "boolean";
	default:
		return "null";
	}
}

static bool type_fits(const char *type, json_t *value) {
	const char *is = type_name(value);
	if (strcmp(type, is) == 0)
		return true;
	if (strcmp(type, "number") == 0)
		return json_is_number(value);
	return strcmp(type, "integer") == 0 && json_is_real(value) && floor(json_real_value(value)) == json_real_value(value) && fabs(json_real_value(value)) < 0x1p63;
}

static char *text_of(json_t *value) {
	/* Whole numbers are written as such, however they came. */
	if (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value) && fabs(json_real_value(value)) < 1e21)
		return xprintf("%.0f", json_real_value(value));
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return text ? text : xstrdup("null");
}

static void wrong(struct error *causes, const char *path, json_t *value, const char *fmt, ...) printf_like(4, 5);
static void wrong(struct error *causes, const char *path, json_t *value, const char *fmt, ...) {
	struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	autofree char *shown = json_is_object(value) || json_is_array(value) ? xstrdup(json_is_object(value) ? "{}" : "[]") : text_of(value);
	error_cause(causes, "FieldValueInvalid", path, "Invalid value: %s: %s in body %s", shown, path, text.data);
	buf_done(&text);
}

static bool number(json_t *schema, const char *name, double *ret) {
	json_t *value = json_object_get(schema, name);
	*ret = json_number_value(value);
	return json_is_number(value);
}

static void check_number(json_t *schema, json_t *value, const char *path, struct error *causes) {
	double bound, v = json_number_value(value);
	if (number(schema, "minimum", &bound) && (flag(schema, "exclusiveMinimum") ? v <= bound : v < bound))
		wrong(causes, path, value, "should be greater than%s %g", flag(schema, "exclusiveMinimum") ? "" : " or equal to", bound);
	if (number(schema, "maximum", &bound) && (flag(schema, "exclusiveMaximum") ? v >= bound : v > bound))
		wrong(causes, path, value, "should be less than%s %g", flag(schema, "exclusiveMaximum") ? "" : " or equal to", bound);
	if (number(schema, "multipleOf", &bound) && bound > 0 && fmod(v, bound) != 0)
		wrong(causes, path, value, "should be a multiple of %g", bound);
}

static size_t utf8_length(const char *s) {
	size_t n = 0;
	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void check_string(json_t *schema, json_t *value, const char *path, struct error *causes) {
	const char *s = json_string_value(value);
	double bound;
	if (number(schema, "minLength", &bound) && (double)utf8_length(s) < bound)
		wrong(causes, path, value, "should be at least %g chars long", bound);
	if (number(schema, "maxLength", &bound) && (double)utf8_length(s) > bound)
		error_cause(causes, "FieldValueTooLong", path, "Too long: may not be more than %g bytes", bound);
	const char *pattern = json_string_value(json_object_get(schema, "pattern"));
	struct regex *regex = pattern ? regex_new(pattern, NULL) : NULL;
	if (regex && !regex_search(regex, s, json_string_length(value)))
		wrong(causes, path, value, "should match '%s'", pattern);
	regex_free(regex);
	const char *format = json_string_value(json_object_get(schema, "format"));
	if (format && !schema_format_fits(format, s, json_string_length(value)))
		error_cause(causes, "FieldValueTypeInvalid", path, "Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", s, path, format, s);
}

static void check_enum(json_t *schema, json_t *value, const char *path, struct error *causes) {
	json_t *allowed = json_object_get(schema, "enum");
	if (!json_is_array(allowed))
		return;
	autobuf struct buf list = BUF_INIT(64 << 10);
	for (size_t i = 0; i < json_array_size(allowed); i++) {
		if (patch_values_equal(json_array_get(allowed, i), value))
			return;
		autofree char *text = text_of(json_array_get(allowed, i));
		buf_printf(&list, "%s%s", i ? ", " : "", text);
	}
	autofree char *given = text_of(value);
	error_cause(causes, "FieldValueNotSupported", path, "Unsupported value: %s: supported values: %s", given, list.data ? list.data : "");
}

static bool valid(json_t *schema, json_t *value, const char *path) {
	autoerror struct error causes = {0};
	schema_validate(schema, value, path, &causes);
	return !error_has_causes(&causes);
}

/* What holds of several schemas together is told of no field. */
static void wrong_together(struct error *causes, const char *path, const char *fmt, ...) printf_like(3, 4);
static void wrong_together(struct error *causes, const char *path, const char *fmt, ...) {
	struct buf text = BUF_INIT(4096);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	error_cause(causes, "FieldValueInvalid", "<nil>", "Invalid value: \"\": \"%s\" must %s", path, text.data);
	buf_done(&text);
}

static void check_combined(json_t *schema, json_t *value, const char *path, struct error *causes) {
	json_t *all = json_object_get(schema, "allOf"), *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf"), *not = json_object_get(schema, "not");
	size_t fits = 0;
	for (size_t i = 0; i < json_array_size(all); i++) {
		fits += valid(json_array_get(all, i), value, path);
		schema_validate(json_array_get(all, i), value, path, causes);
	}
	if (fits < json_array_size(all))
		wrong_together(causes, path, "validate all the schemas (allOf)%s", fits ? "" : ". None validated");
	fits = 0;
	for (size_t i = 0; i < json_array_size(any); i++)
		fits += valid(json_array_get(any, i), value, path);
	if (json_array_size(any) && !fits) {
		wrong_together(causes, path, "validate at least one schema (anyOf)");
		schema_validate(json_array_get(any, 0), value, path, causes);
	}
	fits = 0;
	for (size_t i = 0; i < json_array_size(one); i++)
		fits += valid(json_array_get(one, i), value, path);
	if (json_array_size(one) && fits > 1)
		wrong_together(causes, path, "validate one and only one schema (oneOf). Found %zu valid alternatives", fits);
	if (json_array_size(one) && !fits) {
		wrong_together(causes, path, "validate one and only one schema (oneOf). Found none valid");
		schema_validate(json_array_get(one, 0), value, path, causes);
	}
	if (json_is_object(not) && valid(not, value, path))
		wrong_together(causes, path, "not validate the schema (not)");
}

static char *child_path(const char *path, const char *key) {
	return *path ? xprintf("%s.%s", path, key) : xstrdup(key);
}

static void check_object(json_t *schema, json_t *value, const char *path, struct error *causes) {
	json_t *names = json_object_get(schema, "required"), *member;
	double bound;
	static const char *const head[] = {"apiVersion", "kind"};
	for (size_t i = 0; flag(schema, "x-kubernetes-embedded-resource") && i < array_len(head); i++)
		if (str_empty(json_string_value(json_object_get(value, head[i])))) {
			autofree char *inner = child_path(path, head[i]);
			error_cause(causes, "FieldValueRequired", inner, "Required value");
		}
	if (number(schema, "minProperties", &bound) && (double)json_object_size(value) < bound)
		wrong(causes, path, value, "should have at least %g properties", bound);
	if (number(schema, "maxProperties", &bound) && (double)json_object_size(value) > bound)
		error_cause(causes, "FieldValueTooMany", path, "Too many: %zu: must have at most %g items", json_object_size(value), bound);
	const char *key;
	json_object_foreach(value, key, member) {
		json_t *inner_schema = property(schema, key);
		autofree char *inner = child_path(path, key);
		if (inner_schema)
			schema_validate(inner_schema, member, inner, causes);
	}
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (!name || json_object_get(value, name))
			continue;
		autofree char *inner = child_path(path, name);
		error_cause(causes, "FieldValueRequired", inner, "Required value");
	}
}

/* The keys that tell elements of a list apart, as an object; NULL where it is no such list or the element none such. */
static json_t *keys_of(json_t *schema, json_t *element) {
	json_t *names = json_object_get(schema, "x-kubernetes-list-map-keys");
	if (!str_equal(json_string_value(json_object_get(schema, "x-kubernetes-list-type")), "map") || !json_is_object(element))
		return NULL;
	json_t *keys = json_object();
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (name && json_object_get(element, name))
			json_object_set(keys, name, json_object_get(element, name));
	}
	return keys;
}

/* Elements of sets and maps stand there once. */
static void check_duplicates(json_t *schema, json_t *value, const char *path, struct error *causes) {
	bool set = str_equal(json_string_value(json_object_get(schema, "x-kubernetes-list-type")), "set") || flag(schema, "uniqueItems");
	automap struct map seen = MAP_INIT(NULL);
	for (size_t i = 0; i < json_array_size(value); i++) {
		json_t *keys = keys_of(schema, json_array_get(value, i)), *what = keys ? keys : set ? json_array_get(value, i) : NULL;
		autofree char *text = what ? json_dumps(what, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) : NULL;
		json_decref(keys);
		if (!text)
			continue;
		if (map_has(&seen, text)) {
			autofree char *inner = xprintf("%s[%zu]", path, i);
			error_cause(causes, "FieldValueDuplicate", inner, "Duplicate value: %s", text);
		}
		map_set(&seen, text, &seen);
	}
}

static void check_array(json_t *schema, json_t *value, const char *path, struct error *causes) {
	json_t *items = json_object_get(schema, "items");
	double bound;
	if (number(schema, "minItems", &bound) && (double)json_array_size(value) < bound)
		wrong(causes, path, value, "should have at least %g items", bound);
	if (number(schema, "maxItems", &bound) && (double)json_array_size(value) > bound)
		error_cause(causes, "FieldValueTooMany", path, "Too many: %zu: must have at most %g items", json_array_size(value), bound);
	for (size_t i = 0; items && i < json_array_size(value); i++) {
		autofree char *inner = xprintf("%s[%zu]", path, i);
		schema_validate(items, json_array_get(value, i), inner, causes);
	}
	check_duplicates(schema, value, path, causes);
}

void schema_validate(json_t *schema, json_t *value, const char *path, struct error *causes) {
	if (json_is_null(value)) {
		if (!flag(schema, "nullable") && json_object_get(schema, "type"))
			error_cause(causes, "FieldValueTypeInvalid", path, "Invalid value: \"null\": %s in body must be of type %s: \"null\"", path, json_string_value(json_object_get(schema, "type")));
		return;
	}
	const char *type = json_string_value(json_object_get(schema, "type"));
	bool int_or_string = flag(schema, "x-kubernetes-int-or-string");
	if (int_or_string && !json_is_integer(value) && !json_is_string(value)) {
		error_cause(causes, "FieldValueTypeInvalid", path, "Invalid value: \"%s\": %s in body must be of type integer,string: \"%s\"", type_name(value), path, type_name(value));
		return;
	}
	if (!str_empty(type) && !int_or_string && !type_fits(type, value)) {
		error_cause(causes, "FieldValueTypeInvalid", path, "Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", type_name(value), path, type, type_name(value));
		return;
	}
	check_enum(schema, value, path, causes);
	if (json_is_number(value))
		check_number(schema, value, path, causes);
	else if (json_is_string(value))
		check_string(schema, value, path, causes);
	else if (json_is_object(value))
		check_object(schema, value, path, causes);
	else if (json_is_array(value))
		check_array(schema, value, path, causes);
	check_combined(schema, value, path, causes);
}

/* ---- paths ---- */

json_t *json_path(json_t *value, const char *path) {
	while (value && *path) {
		if (*path == '.') {
			path++;
			continue;
		}
		if (*path == '[') {
			path++;
			char quote = *path == '\'' || *path == '"' ? *path++ : 0;
			size_t len = quote ? strcspn(path, quote == '\'' ? "'" : "\"") : strcspn(path, "]");
			autofree char *key = xstrndup(path, len);
			path += len;
			path += strcspn(path, "]");
			if (*path)
				path++;
			value = json_is_array(value) ? json_array_get(value, (size_t)strtoul(key, NULL, 10)) : json_object_get(value, key);
			continue;
		}
		size_t len = 0;
		while (path[len] && path[len] != '.' && path[len] != '[')
			len += path[len] == '\\' && path[len + 1] ? 2 : 1;
		char *key = xstrndup(path, len), *to = key;
		for (char *from = key; *from; from++)
			if (*from != '\\')
				*to++ = *from;
		*to = '\0';
		value = json_object_get(value, key);
		free(key);
		path += len;
	}
	return value;
}
