/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values by their schema. Each validator that applies to a value is asked, in the order in which Kubernetes asks: none stands in another's way. Each counts what it found
 * good; of the schemas of which one must fit, the one that found most tells what it misses.
 */
#include "apiserver/custom/custom.h"
#include "apiserver/validation/validation.h"
#include "common/api/patch/patch.h"
#include "common/base/regex.h"

#include <ctype.h>
#include <math.h>

/* What is judged: the value, and where it is. */
struct judged {
	json_t *schema, *value, *old;
	const char *path;
};

static unsigned judge(const struct judged *j, struct error *causes);

/* ---- words ---- */

static bool is_whole(json_t *value) {
	return json_is_integer(value) || (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value) && fabs(json_real_value(value)) < 0x1p63);
}

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

static char *text_of(json_t *value) {
	/* Whole numbers are written as such, however they came. */
	if (json_is_real(value) && floor(json_real_value(value)) == json_real_value(value) && fabs(json_real_value(value)) < 1e21)
		return xprintf("%.0f", json_real_value(value));
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	return text ? text : xstrdup("null");
}

static void wrong(const struct judged *j, struct error *causes, const char *fmt, ...) printf_like(3, 4);
static void wrong(const struct judged *j, struct error *causes, const char *fmt, ...) {
	struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	autofree char *shown = json_is_object(j->value) || json_is_array(j->value) ? xstrdup(json_is_object(j->value) ? "{}" : "[]") : text_of(j->value);
	error_cause(causes, "FieldValueInvalid", j->path, "Invalid value: %s: %s in body %s", shown, j->path, text.data);
	buf_done(&text);
}

/* What is told of no field. */
static void wrong_at_all(struct error *causes, const char *fmt, ...) printf_like(2, 3);
static void wrong_at_all(struct error *causes, const char *fmt, ...) {
	struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	error_cause(causes, "FieldValueInvalid", "<nil>", "Invalid value: \"\": %s", text.data);
	buf_done(&text);
}

static void wrong_type(const struct judged *j, const char *wanted, const char *is, struct error *causes) {
	error_cause(causes, "FieldValueTypeInvalid", j->path, "Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", is, j->path, wanted, is);
}

static char *child_path(const char *path, const char *key) {
	return *path ? xprintf("%s.%s", path, key) : xstrdup(key);
}

/* ---- one validator each; they return how much they found good, besides that they were asked ---- */

static unsigned check_type(const struct judged *j, const char *type, bool int_or_string, const char *format, struct error *causes) {
	const char *is = type_name(j->value), *wanted = int_or_string ? "integer,string" : str_or(type, "");
	bool text = json_is_string(j->value), list = json_is_array(j->value);
	bool takes_integers = int_or_string || str_equal(type, "integer"), takes_numbers = str_equal(type, "number");
	bool fits = int_or_string ? text || json_is_integer(j->value) : str_equal(type, is);
	fits |= (json_is_real(j->value) && is_whole(j->value) && takes_integers) || (json_is_integer(j->value) && takes_numbers);
	const char *own_format = json_is_integer(j->value) ? "int64" : json_is_real(j->value) ? "float64" : "";
	if (!text && !list && !str_empty(format) && !fits && strcmp(own_format, format) != 0) {
		wrong_type(j, format, own_format, causes);
		return 0;
	}
	/* Who knows the format knows texts. */
	if (!takes_numbers && !takes_integers && !str_empty(format) && (text || list))
		return 1;
	if (!fits)
		wrong_type(j, wanted, is, causes);
	return fits;
}

static bool is_good(json_t *schema, const struct judged *j, struct error *ret, unsigned *ret_count) {
	struct judged inner = *j;
	inner.schema = schema;
	*ret_count = judge(&inner, ret);
	return !error_has_causes(ret);
}

static void append(struct error *causes, const struct error *found) {
	for (size_t i = 0; i < found->cause_count; i++)
		error_cause(causes, found->causes[i].reason, found->causes[i].field, "%s", found->causes[i].message);
}

/* How many of the list fit (`once`: the search ends with the first); *ret_count is that of the first that does, or of the one that comes closest, whose causes are in `closest`. */
static size_t find_fitting(json_t *list, const struct judged *j, bool once, struct error *closest, unsigned *ret_count) {
	size_t fits = 0;
	unsigned best = 0;
	bool any = false;
	for (size_t i = 0; i < json_array_size(list) && !(once && fits); i++) {
		autoerror struct error found = {0};
		unsigned count;
		bool good = is_good(json_array_get(list, i), j, &found, &count);
		if (good && !fits++) {
			*ret_count = count;
			error_done(closest);
		} else if (!good && !fits && (!any || count > best)) {
			any = true;
			best = *ret_count = count;
			error_done(closest);
			*closest = found;
			found = (struct error){0};
		}
	}
	return fits;
}

static unsigned check_combined(const struct judged *j, struct error *causes) {
	json_t *all = json_object_get(j->schema, "allOf"), *any = json_object_get(j->schema, "anyOf"), *one = json_object_get(j->schema, "oneOf"), *not = json_object_get(j->schema, "not");
	unsigned total = 1, count = 0;
	autoerror struct error any_closest = {0}, one_closest = {0};
	if (json_array_size(any)) {
		if (!find_fitting(any, j, true, &any_closest, &count))
			wrong_at_all(causes, "\"%s\" must validate at least one schema (anyOf)", j->path);
		append(causes, &any_closest);
		total += count;
	}
	if (json_array_size(one)) {
		size_t fits = find_fitting(one, j, false, &one_closest, &count);
		if (!fits)
			wrong_at_all(causes, "\"%s\" must validate one and only one schema (oneOf). Found none valid", j->path);
		else if (fits > 1)
			wrong_at_all(causes, "\"%s\" must validate one and only one schema (oneOf). Found %zu valid alternatives", j->path, fits);
		append(causes, &one_closest);
		total += fits > 1 ? 0 : count;
	}
	size_t fits = 0;
	for (size_t i = 0; i < json_array_size(all); i++) {
		autoerror struct error found = {0};
		fits += is_good(json_array_get(all, i), j, &found, &count);
		append(causes, &found);
		total += count;
	}
	if (fits < json_array_size(all))
		wrong_at_all(causes, "\"%s\" must validate all the schemas (allOf)%s", j->path, fits ? "" : ". None validated");
	autoerror struct error ignored = {0};
	if (json_is_object(not) && is_good(not, j, &ignored, &count))
		wrong_at_all(causes, "\"%s\" must not validate the schema (not)", j->path);
	return total;
}

static size_t utf8_length(const char *s) {
	size_t n = 0;
	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static bool number(json_t *schema, const char *name, double *ret) {
	json_t *value = json_object_get(schema, name);
	*ret = json_number_value(value);
	return json_is_number(value);
}

/* The first that does not hold is told. */
static void check_string(const struct judged *j, struct error *causes) {
	const char *s = json_string_value(j->value), *pattern = json_string_value(json_object_get(j->schema, "pattern"));
	double bound;
	if (number(j->schema, "maxLength", &bound) && (double)utf8_length(s) > bound) {
		error_cause(causes, "FieldValueTooLong", j->path, "Too long: may not be more than %.0f bytes", bound);
		return;
	}
	if (number(j->schema, "minLength", &bound) && (double)utf8_length(s) < bound) {
		wrong(j, causes, "should be at least %.0f chars long", bound);
		return;
	}
	struct regex *regex = str_empty(pattern) ? NULL : regex_new(pattern, NULL);
	if (regex && !regex_search(regex, s, json_string_length(j->value)))
		wrong(j, causes, "should match '%s'", pattern);
	regex_free(regex);
}

static void check_text_format(const struct judged *j, const char *format, struct error *causes) {
	const char *s = json_string_value(j->value);
	if (!schema_format_fits(format, s, json_string_length(j->value)))
		error_cause(causes, "FieldValueTypeInvalid", j->path, "Invalid value: \"%s\": %s in body must be of type %s: \"%s\"", s, j->path, format, s);
}

/* Whether a number, or a bound for one, can be of the type at all. */
static bool is_in_range(json_t *value, const char *type, const char *format) {
	double v = json_number_value(value);
	if (!str_equal(type, "integer"))
		return !str_equal(format, "float") || fabs(v) <= 3.4028234663852886e38;
	if (!is_whole(value))
		return false;
	if (str_equal(format, "int32"))
		return v >= INT32_MIN && v <= INT32_MAX;
	if (str_equal(format, "uint32"))
		return v >= 0 && v <= UINT32_MAX;
	return !str_equal(format, "uint64") || v >= 0;
}

static bool check_in_range(const struct judged *j, json_t *value, const char *what, const char *type, const char *format, struct error *causes) {
	if (is_in_range(value, type, format))
		return true;
	if (str_empty(format))
		wrong_at_all(causes, "%s value must be of type %s (default format) in %s", what, type, j->path);
	else
		wrong_at_all(causes, "%s value must be of type %s with format %s in %s", what, str_or(type, ""), format, j->path);
	return false;
}

/* A bound as it is held against the value: whole ones against whole numbers. */
static double bound_for(const struct judged *j, json_t *bound, bool in_range) {
	return in_range && json_is_integer(j->value) ? trunc(json_number_value(bound)) : json_number_value(bound);
}

static void check_multiple(const struct judged *j, double factor, struct error *causes) {
	double v = json_number_value(j->value), times = factor < 1 ? 1 / factor * v : v / factor;
	if (factor <= 0)
		error_cause(causes, "FieldValueInvalid", j->path, "Invalid value: %g: factor MultipleOf declared for %s must be positive: %g", factor, j->path, factor);
	else if (json_is_integer(j->value) ? fmod(v, factor) != 0 : floor(times) != times)
		wrong(j, causes, "should be a multiple of %g", factor);
}

static void check_number(const struct judged *j, const char *type, const char *format, struct error *causes) {
	json_t *multiple = json_object_get(j->schema, "multipleOf"), *least = json_object_get(j->schema, "minimum"), *most = json_object_get(j->schema, "maximum");
	bool above = schema_flag(j->schema, "exclusiveMinimum"), below = schema_flag(j->schema, "exclusiveMaximum");
	double v = json_number_value(j->value);
	check_in_range(j, j->value, "Checked", type, format, causes);
	if (json_is_number(multiple))
		check_multiple(j, bound_for(j, multiple, check_in_range(j, multiple, "MultipleOf", type, format, causes)), causes);
	if (json_is_number(least)) {
		double bound = bound_for(j, least, check_in_range(j, least, "Minimum boundary", type, format, causes));
		if (above ? v <= bound : v < bound)
			wrong(j, causes, "should be greater than%s %g", above ? "" : " or equal to", bound);
	}
	if (json_is_number(most)) {
		double bound = bound_for(j, most, check_in_range(j, most, "Maximum boundary", type, format, causes));
		if (below ? v >= bound : v > bound)
			wrong(j, causes, "should be less than%s %g", below ? "" : " or equal to", bound);
	}
}

static bool same_keys(json_t *a, json_t *b, json_t *names) {
	for (size_t i = 0; i < json_array_size(names); i++) {
		json_t *x = json_object_get(a, str_or(json_string_value(json_array_get(names, i)), "")), *y = json_object_get(b, str_or(json_string_value(json_array_get(names, i)), ""));
		if (x != y && (!x || !y || !patch_values_equal(x, y)))
			return false;
	}
	return true;
}

/* The item that was this one before: only those of maps can be told. */
static json_t *old_item(const struct judged *j, json_t *item) {
	json_t *names = json_object_get(j->schema, "x-kubernetes-list-map-keys"), *before;
	size_t i;
	if (!json_is_array(j->old) || !json_is_object(item) || !str_equal(json_string_value(json_object_get(j->schema, "x-kubernetes-list-type")), "map"))
		return NULL;
	json_array_foreach(j->old, i, before)
		if (json_is_object(before) && same_keys(before, item, names))
			return before;
	return NULL;
}

static unsigned check_items(const struct judged *j, struct error *causes) {
	json_t *items = json_object_get(j->schema, "items"), *item;
	double bound;
	unsigned total = 1;
	size_t i, len = json_array_size(j->value);
	if (json_is_object(items))
		json_array_foreach(j->value, i, item) {
			autofree char *inner = xprintf("%s[%zu]", j->path, i);
			total += judge(&(struct judged){items, item, old_item(j, item), inner}, causes);
		}
	if (number(j->schema, "minItems", &bound) && (double)len < bound)
		wrong(j, causes, "should have at least %.0f items", bound);
	if (number(j->schema, "maxItems", &bound) && (double)len > bound)
		error_cause(causes, "FieldValueTooMany", j->path, "Too many: %zu: must have at most %.0f items", len, bound);
	return total;
}

static void check_listed(const struct judged *j, struct error *causes) {
	json_t *allowed = json_object_get(j->schema, "enum");
	if (!json_array_size(allowed))
		return;
	autobuf struct buf list = BUF_INIT(64 << 10);
	for (size_t i = 0; i < json_array_size(allowed); i++) {
		if (!json_is_null(j->value) && patch_values_equal(json_array_get(allowed, i), j->value))
			return;
		autofree char *text = text_of(json_array_get(allowed, i));
		buf_printf(&list, "%s%s", i ? ", " : "", text);
	}
	autofree char *given = text_of(j->value);
	error_cause(causes, "FieldValueNotSupported", j->path, "Unsupported value: %s: supported values: %s", given, str_or(list.data, ""));
}

static unsigned check_members(const struct judged *j, struct error *causes) {
	json_t *names = json_object_get(j->schema, "required"), *member;
	double bound;
	unsigned total = 0;
	const char *key;
	if (number(j->schema, "minProperties", &bound) && (double)json_object_size(j->value) < bound)
		wrong(j, causes, "should have at least %.0f properties", bound);
	if (number(j->schema, "maxProperties", &bound) && (double)json_object_size(j->value) > bound)
		error_cause(causes, "FieldValueTooMany", j->path, "Too many: %zu: must have at most %.0f items", json_object_size(j->value), bound);
	json_object_foreach(j->value, key, member) {
		json_t *inner_schema = schema_member(j->schema, key);
		autofree char *inner = child_path(j->path, key);
		if (inner_schema)
			total += judge(&(struct judged){inner_schema, member, json_object_get(j->old, key), inner}, causes);
	}
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (!name || json_object_get(j->value, name))
			continue;
		autofree char *inner = child_path(j->path, name);
		error_cause(causes, "FieldValueRequired", inner, "Required value");
	}
	return total;
}

static unsigned judge(const struct judged *j, struct error *causes) {
	const char *type = json_string_value(json_object_get(j->schema, "type")), *format = json_string_value(json_object_get(j->schema, "format"));
	bool int_or_string = schema_flag(j->schema, "x-kubernetes-int-or-string"), typed = int_or_string || !str_empty(type);
	unsigned total = 3; /* that it was judged, and the two that are always asked */
	if (j->old && patch_values_equal(j->old, j->value))
		return total;
	if (json_is_null(j->value)) {
		bool wanted = typed && !schema_flag(j->schema, "nullable");
		if (wanted)
			wrong_type(j, int_or_string ? "integer,string" : type, "null", causes);
		check_listed(j, causes);
		return !wanted;
	}
	if (typed || !str_empty(format))
		total += 1 + check_type(j, type, int_or_string, format, causes);
	total += check_combined(j, causes);
	if (json_is_string(j->value)) {
		total++;
		check_string(j, causes);
		if (!str_empty(format))
			check_text_format(j, format, causes);
	} else if (json_is_number(j->value)) {
		total += 2;
		check_number(j, int_or_string ? "integer" : type, format, causes);
	} else if (json_is_array(j->value)) {
		total += 1 + check_items(j, causes);
	}
	check_listed(j, causes);
	if (json_is_object(j->value))
		total += 1 + check_members(j, causes);
	return total;
}

void schema_validate(json_t *schema, json_t *value, json_t *old, const char *path, struct error *causes) {
	judge(&(struct judged){schema, value, old, path}, causes);
}

/* ---- embedded resources ---- */

static void invalid_at(const char *path, const char *name, json_t *value, const char *why, struct error *causes) {
	autofree char *inner = child_path(path, name), *shown = json_is_object(value) || json_is_array(value) ? json_dumps(value, JSON_COMPACT) : text_of(value);
	error_cause(causes, "FieldValueInvalid", inner, "Invalid value: %s: %s", shown, why);
}

static void check_version(const char *path, json_t *value, struct error *causes) {
	const char *text = json_string_value(value), *slash = text ? strchr(text, '/') : NULL;
	autofree char *why = text ? xprintf("unexpected GroupVersion string: %s", text) : NULL;
	if (!text)
		invalid_at(path, "apiVersion", value, "must be a string", causes);
	else if (!*text)
		invalid_at(path, "apiVersion", value, "must not be empty", causes);
	else if (slash && strchr(slash + 1, '/'))
		invalid_at(path, "apiVersion", value, why, causes);
}

static void check_kind(const char *path, json_t *value, struct error *causes) {
	const char *text = json_string_value(value);
	if (!text || !*text) {
		invalid_at(path, "kind", value, text ? "must not be empty" : "must be a string", causes);
		return;
	}
	autofree char *lower = xstrdup(text);
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	const char *wrong_form = format_error(format_dns_1035_label, lower);
	autofree char *why = wrong_form ? xprintf("may have mixed case, but should otherwise match: %s", wrong_form) : NULL;
	if (why)
		invalid_at(path, "kind", value, why, causes);
}

/* As that of any object, but that it need have no name. */
static void check_metadata(const char *path, json_t *value, struct error *causes) {
	static const struct strategy any = {.name = NAME_PATH_SEGMENT, .any_finalizer = true};
	autofree char *inner = child_path(path, "metadata");
	json_t *tree = json_pack("{s:s, s:s, s:O}", "kind", "ConfigMap", "apiVersion", "v1", "metadata", value);
	autounref void *holder = NULL;
	if (api_from_json(api_type_by_kind("", "v1", "ConfigMap"), tree, &(struct api_decode_options){.validation = API_IGNORE}, &holder, NULL) == 0) {
		struct meta_v1_object_meta *meta = api_metadata(holder);
		if (str_empty(meta->name))
			meta->name = "fakename";
		validate_object_meta(meta, NULL, &any, !str_empty(meta->namespace), inner, causes);
	}
	json_decref(tree);
}

static void check_resource(json_t *value, const char *path, struct error *causes) {
	static const char *const head[] = {"apiVersion", "kind"};
	json_t *member;
	for (size_t i = 0; i < array_len(head); i++)
		if (!json_object_get(value, head[i])) {
			autofree char *inner = child_path(path, head[i]);
			error_cause(causes, "FieldValueRequired", inner, "Required value");
		}
	if ((member = json_object_get(value, "apiVersion")))
		check_version(path, member, causes);
	if ((member = json_object_get(value, "kind")))
		check_kind(path, member, causes);
	if (json_is_object(member = json_object_get(value, "metadata")))
		check_metadata(path, member, causes);
}

/* Looks at what is in a value, each with its own schema. */
static void look_into(json_t *schema, json_t *value, const char *path, void (*look)(json_t *schema, json_t *value, const char *path, struct error *causes), struct error *causes) {
	const char *key;
	json_t *member, *items = json_object_get(schema, "items");
	size_t i;
	if (json_is_object(value)) {
		json_object_foreach(value, key, member) {
			json_t *known = json_object_get(json_object_get(schema, "properties"), key), *inner_schema = known ? known : schema_member(schema, key);
			autofree char *inner = known ? child_path(path, key) : xprintf("%s[%s]", path, key);
			if (inner_schema)
				look(inner_schema, member, inner, causes);
		}
	} else if (json_is_object(items)) {
		json_array_foreach(value, i, member) {
			autofree char *inner = xprintf("%s[%zu]", path, i);
			look(items, member, inner, causes);
		}
	}
}

void schema_check_embedded(json_t *schema, json_t *value, const char *path, struct error *causes) {
	if (json_is_object(value) && schema_flag(schema, "x-kubernetes-embedded-resource"))
		check_resource(value, path, causes);
	look_into(schema, value, path, schema_check_embedded, causes);
}

/* ---- lists ---- */

/* What tells an item of a list from the others, as an object. */
static json_t *keys_of(json_t *names, json_t *item) {
	json_t *keys = json_object();
	for (size_t i = 0; i < json_array_size(names); i++) {
		const char *name = json_string_value(json_array_get(names, i));
		if (name && json_object_get(item, name))
			json_object_set(keys, name, json_object_get(item, name));
	}
	return keys;
}

/* Each that stands there more than once is told once. */
static void check_told_apart(json_t *value, json_t *names, bool map, const char *path, struct error *causes) {
	static int once, more;
	automap struct map seen = MAP_INIT(NULL);
	for (size_t i = 0; i < json_array_size(value); i++) {
		json_t *item = json_array_get(value, i), *keys = map ? keys_of(names, item) : NULL;
		autofree char *text = json_dumps(map ? keys : item, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
		json_decref(keys);
		void *times = text ? map_get(&seen, text) : &more;
		if (times == &once) {
			autofree char *inner = xprintf("%s[%zu]", path, i);
			error_cause(causes, "FieldValueDuplicate", inner, "Duplicate value: %s", text);
		}
		if (text)
			map_set(&seen, text, times ? &more : &once);
	}
}

static bool are_objects(json_t *value, const char *path, struct error *causes) {
	size_t i;
	json_t *item;
	json_array_foreach(value, i, item) {
		if (json_is_object(item) || json_is_null(item))
			continue;
		autofree char *inner = xprintf("%s[%zu]", path, i), *shown = json_is_array(item) ? json_dumps(item, JSON_COMPACT) : text_of(item);
		error_cause(causes, "FieldValueInvalid", inner, "Invalid value: %s: must be an object for an array of list-type map", shown);
		return false;
	}
	return true;
}

void schema_check_lists(json_t *schema, json_t *value, const char *path, struct error *causes) {
	const char *list = json_string_value(json_object_get(schema, "x-kubernetes-list-type"));
	bool map = str_equal(list, "map");
	if (json_is_array(value) && (map || str_equal(list, "set")) && (!map || are_objects(value, path, causes)))
		check_told_apart(value, json_object_get(schema, "x-kubernetes-list-map-keys"), map, path, causes);
	look_into(schema, value, path, schema_check_lists, causes);
}
