/* SPDX-License-Identifier: Apache-2.0 */
/* What only Kubernetes has: quantities, versions, named formats, the authorizer. */
#include "common/cel/internal.h"
#include "common/api/format.h"
#include "common/base/random.h"

#include <ctype.h>
#include <math.h>

/* ---- quantities ---- */

static struct cel_value quantity_value_of(struct cel_run *run, struct quantity q) {
	struct cel_opaque opaque = {.kind = OPAQUE_QUANTITY, .quantity = q};
	return value_opaque(run, &opaque);
}

static struct cel_value fn_quantity(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct quantity q;
	if (quantity_parse(args[0].s, args[0].len, &q) < 0)
		return cel_fail(run, "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
	return quantity_value_of(run, q);
}

static struct cel_value fn_is_quantity(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct quantity q;
	return VALUE_BOOL(quantity_parse(args[0].s, args[0].len, &q) == 0);
}

static struct cel_value fn_sign(struct cel_run *run, const struct cel_value *args, unsigned count) {
	__int128 nano = args[0].opaque->quantity.nano;
	return VALUE_INT(nano < 0 ? -1 : nano > 0);
}

#define NANO ((__int128)1000000000)

static bool is_whole(const struct quantity *q) {
	return q->nano % NANO == 0 && q->nano / NANO <= INT64_MAX && q->nano / NANO >= INT64_MIN;
}

static struct cel_value fn_is_integer(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(is_whole(&args[0].opaque->quantity));
}

static struct cel_value fn_as_integer(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct quantity *q = &args[0].opaque->quantity;
	return is_whole(q) ? VALUE_INT((int64_t)(q->nano / NANO)) : cel_fail(run, "cannot convert value to integer");
}

static struct cel_value fn_as_float(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct quantity *q = &args[0].opaque->quantity;
	return VALUE_DOUBLE(is_whole(q) ? (double)(int64_t)(q->nano / NANO) : (double)q->nano / 1e9);
}

static struct cel_value quantity_plus(struct cel_run *run, const struct cel_value *args, int sign) {
	struct quantity q = args[0].opaque->quantity, other = args[1].kind == CEL_INT ? quantity_of(args[1].i, QUANTITY_DECIMAL_EXPONENT) : args[1].opaque->quantity;
	if (sign > 0)
		quantity_add(&q, &other);
	else
		quantity_sub(&q, &other);
	return quantity_value_of(run, q);
}

static struct cel_value fn_quantity_add(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return quantity_plus(run, args, 1);
}

static struct cel_value fn_quantity_sub(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return quantity_plus(run, args, -1);
}

/* ---- versions (https://semver.org) ---- */

static bool read_part(const char **p, const char *end, uint64_t *ret) {
	const char *start = *p;
	*ret = 0;
	for (; *p < end && isdigit((unsigned char)**p); (*p)++)
		if (__builtin_mul_overflow(*ret, 10u, ret) || __builtin_add_overflow(*ret, (unsigned)(**p - '0'), ret))
			return false;
	return *p > start && !(*start == '0' && *p - start > 1);
}

/* Dotted identifiers; numeric ones of a pre-release have no leading zeros. */
static bool read_identifiers(const char *s, size_t len, bool pre) {
	while (true) {
		size_t n = 0;
		bool digits = true;
		for (; n < len && s[n] != '.'; n++) {
			if (!isalnum((unsigned char)s[n]) && s[n] != '-')
				return false;
			digits &= isdigit((unsigned char)s[n]) != 0;
		}
		if (!n || (pre && digits && *s == '0' && n > 1))
			return false;
		if (n == len)
			return true;
		s += n + 1;
		len -= n + 1;
	}
}

static bool read_semver(struct cel_run *run, const char *s, size_t len, struct semver *ret) {
	const char *p = s, *end = s + len;
	for (int i = 0; i < 3; i++)
		if (!read_part(&p, end, &ret->part[i]) || (i < 2 && (p == end || *p++ != '.')))
			return false;
	ret->pre = "";
	const char *build = memchr(p, '+', (size_t)(end - p)), *pre_end = build ? build : end;
	if (p < pre_end) {
		if (*p != '-' || !read_identifiers(p + 1, (size_t)(pre_end - p - 1), true))
			return false;
		ret->pre = value_cstr(run, &VALUE_STRING(p + 1, (size_t)(pre_end - p - 1)));
	}
	return !build || read_identifiers(build + 1, (size_t)(end - build - 1), false);
}

/* "v01.2" becomes "1.2.0". */
static bool normalize(const struct cel_value *v, struct buf *out) {
	const char *p = v->s, *end = v->s + v->len;
	if (p < end && *p == 'v')
		p++;
	unsigned parts = 0;
	for (; parts < 3; parts++) {
		const char *dot = parts < 2 ? memchr(p, '.', (size_t)(end - p)) : NULL, *stop = dot ? dot : end, *start = p;
		if (stop - p > 1)
			while (p < stop && *p == '0')
				p++;
		buf_append_str(out, parts ? "." : "");
		if (p > start && (p == stop || !isdigit((unsigned char)*p)))
			buf_append_char(out, '0');
		buf_append(out, p, (size_t)(stop - p));
		if (!dot) {
			if (parts < 2 && (memchr(p, '+', (size_t)(stop - p)) || memchr(p, '-', (size_t)(stop - p))))
				return false;
			break;
		}
		p = dot + 1;
	}
	for (parts++; parts < 3; parts++)
		buf_append_str(out, ".0");
	return true;
}

static bool to_semver(struct cel_run *run, const struct cel_value *args, unsigned count, struct semver *ret) {
	autobuf struct buf text = BUF_INIT(MAX_STRING);
	if (count < 2 || !args[1].b)
		return read_semver(run, args[0].s, args[0].len, ret);
	return normalize(&args[0], &text) && read_semver(run, text.data ? text.data : "", text.len, ret);
}

static struct cel_value fn_semver(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_opaque opaque = {.kind = OPAQUE_SEMVER};
	if (to_semver(run, args, count, &opaque.semver))
		return value_opaque(run, &opaque);
	return cel_fail(run, "%s", args[0].len ? "Invalid semantic version" : "Version string empty");
}

static struct cel_value fn_is_semver(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct semver v;
	return VALUE_BOOL(to_semver(run, args, count, &v));
}

static struct cel_value fn_major(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT((int64_t)args[0].opaque->semver.part[0]);
}

static struct cel_value fn_minor(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT((int64_t)args[0].opaque->semver.part[1]);
}

static struct cel_value fn_patch(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT((int64_t)args[0].opaque->semver.part[2]);
}

static int compare_identifier(const char *a, size_t a_len, const char *b, size_t b_len) {
	bool a_number = strspn(a, "0123456789") >= a_len, b_number = strspn(b, "0123456789") >= b_len;
	if (a_number != b_number)
		return a_number ? -1 : 1;
	if (a_number && a_len != b_len)
		return a_len < b_len ? -1 : 1;
	int c = memcmp(a, b, min_of(a_len, b_len));
	return c ? (c < 0 ? -1 : 1) : a_len < b_len ? -1 : a_len > b_len;
}

static int compare_semver(const struct semver *a, const struct semver *b) {
	for (int i = 0; i < 3; i++)
		if (a->part[i] != b->part[i])
			return a->part[i] < b->part[i] ? -1 : 1;
	/* A release comes after all that lead to it. */
	if (!*a->pre || !*b->pre)
		return !*a->pre - !*b->pre;
	for (const char *x = a->pre, *y = b->pre;;) {
		size_t x_len = strcspn(x, "."), y_len = strcspn(y, ".");
		int c = compare_identifier(x, x_len, y, y_len);
		if (c)
			return c;
		x += x_len;
		y += y_len;
		if (!*x || !*y)
			return *x ? 1 : *y ? -1 : 0;
		x++;
		y++;
	}
}

/* ---- order of both ---- */

static int compare(const struct cel_value *args) {
	const struct cel_opaque *a = args[0].opaque, *b = args[1].opaque;
	int c = a->kind == OPAQUE_QUANTITY ? quantity_compare(&a->quantity, &b->quantity) : compare_semver(&a->semver, &b->semver);
	return c < 0 ? -1 : c > 0;
}

static struct cel_value fn_compare_to(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT(compare(args));
}

static struct cel_value fn_is_greater(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(compare(args) > 0);
}

static struct cel_value fn_is_less(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(compare(args) < 0);
}

/* ---- formats ---- */

struct format_row {
	const char *name;
	format_check *check;              /* or */
	const char *(*wrong)(struct cel_run *run, const struct cel_value *v);
	bool prefix;                      /* of a name that is to be generated: may end in a dash */
	unsigned regex_size;              /* for its cost */
};

static const char *wrong_uri(struct cel_run *run, const struct cel_value *v) {
	const struct function *f = function_find("isURL");
	struct cel_value good = f->overloads[0].run(run, v, 1);
	if (good.b)
		return NULL;
	autobuf struct buf text = BUF_INIT(MAX_STRING);
	buf_append_str(&text, "parse ");
	append_go_quoted(&text, v->s, v->len);
	buf_append_str(&text, ": invalid URI for request");
	return value_cstr(run, &VALUE_STRING(text.data, text.len));
}

static const char *wrong_uuid(struct cel_run *run, const struct cel_value *v) {
	size_t digits = 0;
	bool dashes = false;
	for (size_t i = 0; i < v->len; i++) {
		if (v->s[i] == '-' && (digits == 8 || digits == 12 || digits == 16 || digits == 20)) {
			dashes = true;
			continue;
		}
		if (!isxdigit((unsigned char)v->s[i]))
			return "does not match the UUID format";
		digits++;
	}
	return digits == 32 && (!dashes || v->len <= 36) ? NULL : "does not match the UUID format";
}

static const char *wrong_byte(struct cel_run *run, const struct cel_value *v) {
	uint8_t *data = NULL;
	size_t len, pad = 0;
	while (pad < 2 && pad < v->len && v->s[v->len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < v->len - pad; i++)
		if (!isalnum((unsigned char)v->s[i]) && v->s[i] != '+' && v->s[i] != '/')
			return "invalid base64";
	bool good = v->len && v->len % 4 == 0 && base64_decode(v->s, v->len, MAX_STRING, &data, &len) == 0;
	free(data);
	return good ? NULL : "invalid base64";
}

static const char *wrong_date(struct cel_run *run, const struct cel_value *v) {
	char text[32];
	struct cel_value t;
	if (v->len != 10)
		return "invalid date";
	snprintf(text, sizeof(text), "%.10sT00:00:00Z", v->s);
	return time_parse(text, strlen(text), &t) ? NULL : "invalid date";
}

static const char *wrong_datetime(struct cel_run *run, const struct cel_value *v) {
	struct cel_value t;
	return time_parse(v->s, v->len, &t) ? NULL : "invalid datetime";
}

static const struct format_row formats[] = {
	{"dns1123Label", format_dns_label, NULL, false, 30},
	{"dns1123Subdomain", format_dns_subdomain, NULL, false, 60},
	{"dns1035Label", format_dns_1035_label, NULL, false, 30},
	{"qualifiedName", format_qualified_name, NULL, false, 60},
	{"dns1123LabelPrefix", format_dns_label, NULL, true, 30},
	{"dns1123SubdomainPrefix", format_dns_subdomain, NULL, true, 60},
	{"dns1035LabelPrefix", format_dns_1035_label, NULL, true, 30},
	{"labelValue", format_label_value, NULL, false, 40},
	{"uri", NULL, wrong_uri, false, 1103},
	{"uuid", NULL, wrong_uuid, false, 70},
	{"byte", NULL, wrong_byte, false, 84},
	{"date", NULL, wrong_date, false, 73},
	{"datetime", NULL, wrong_datetime, false, 73},
};

static struct cel_value format_at(struct cel_run *run, size_t i) {
	struct cel_opaque opaque = {.kind = OPAQUE_FORMAT, .format = &formats[i]};
	return value_opaque(run, &opaque);
}

static struct cel_value fn_format_named(struct cel_run *run, const struct cel_value *args, unsigned count) {
	for (size_t i = 0; i < array_len(formats); i++)
		if (strlen(formats[i].name) == args[0].len && memcmp(formats[i].name, args[0].s, args[0].len) == 0)
			return value_some(run, format_at(run, i));
	return VALUE_NONE;
}

#define FORMAT(name_, i_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		return format_at(run, i_); \
	}
FORMAT(fn_format_0, 0)
FORMAT(fn_format_1, 1)
FORMAT(fn_format_2, 2)
FORMAT(fn_format_3, 3)
FORMAT(fn_format_4, 4)
FORMAT(fn_format_5, 5)
FORMAT(fn_format_6, 6)
FORMAT(fn_format_7, 7)
FORMAT(fn_format_8, 8)
FORMAT(fn_format_9, 9)
FORMAT(fn_format_10, 10)
FORMAT(fn_format_11, 11)
FORMAT(fn_format_12, 12)

unsigned format_regex_size(const struct cel_opaque *opaque) {
	return opaque->format->regex_size;
}

static struct cel_value fn_validate(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct format_row *row = args[0].opaque->format;
	struct cel_value list = list_new(run, 0);
	if (row->wrong) {
		const char *text = row->wrong(run, &args[1]);
		if (!text)
			return VALUE_NONE;
		list_push(run, &list, value_text(run, text));
		return value_some(run, list);
	}
	struct format_messages messages = {0};
	char *text = (char *)value_cstr(run, &args[1]);
	if (row->prefix && args[1].len > 1 && text[args[1].len - 1] == '-')
		text[args[1].len - 1] = 'a';
	row->check(text, &messages);
	for (unsigned i = 0; i < messages.len; i++)
		list_push(run, &list, value_text(run, messages.items[i]));
	return messages.len ? value_some(run, list) : VALUE_NONE;
}

/* ---- the authorizer ---- */

static struct cel_value auth_value(struct cel_run *run, enum opaque_kind kind, cel_authorize *authorize, void *arg, const struct cel_access *access) {
	struct cel_opaque opaque = {.kind = kind, .auth = {authorize, arg, *access}};
	return value_opaque(run, &opaque);
}

struct cel_value cel_authorizer(struct cel_run *run, cel_authorize *authorize, void *arg) {
	return auth_value(run, OPAQUE_AUTHORIZER, authorize, arg, &(struct cel_access){0});
}

struct cel_value cel_resource_check(struct cel_run *run, cel_authorize *authorize, void *arg, const struct cel_access *access) {
	return auth_value(run, OPAQUE_RESOURCE, authorize, arg, access);
}

/* The same question with one thing more in it. */
#define NARROW(name_, kind_, field_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		const struct cel_opaque *from = args[0].opaque; \
		struct cel_access access = from->auth.access; \
		access.field_ = value_cstr(run, &args[1]); \
		return auth_value(run, kind_, from->auth.authorize, from->auth.arg, &access); \
	}
NARROW(fn_group, OPAQUE_GROUP, group)
NARROW(fn_subresource, OPAQUE_RESOURCE, subresource)
NARROW(fn_namespace, OPAQUE_RESOURCE, namespace)
NARROW(fn_name, OPAQUE_RESOURCE, name)
NARROW(fn_field_selector, OPAQUE_RESOURCE, field_selector)
NARROW(fn_label_selector, OPAQUE_RESOURCE, label_selector)
NARROW(narrow_path, OPAQUE_PATH, path)
NARROW(narrow_resource, OPAQUE_RESOURCE, resource)

static bool blank(const struct cel_value *v) {
	for (size_t i = 0; i < v->len; i++)
		if (!isspace((unsigned char)v->s[i]))
			return false;
	return true;
}

static struct cel_value fn_auth_path(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return blank(&args[1]) ? cel_fail(run, "path must not be empty") : narrow_path(run, args, count);
}

static struct cel_value fn_auth_resource(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return blank(&args[1]) ? cel_fail(run, "resource must not be empty") : narrow_resource(run, args, count);
}

static struct cel_value fn_service_account(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_opaque *from = args[0].opaque;
	struct cel_access access = {.user_namespace = value_cstr(run, &args[1]), .user_name = value_cstr(run, &args[2])};
	const char *bad = format_error(format_dns_subdomain, access.user_name);
	if (bad)
		return cel_fail(run, "Invalid service account name");
	bad = format_error(format_dns_label, access.user_namespace);
	if (bad)
		return cel_fail(run, "Invalid service account namespace");
	return auth_value(run, OPAQUE_AUTHORIZER, from->auth.authorize, from->auth.arg, &access);
}

static struct cel_value fn_check(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_opaque *from = args[0].opaque;
	struct cel_access access = from->auth.access;
	autofree char *reason = NULL, *error = NULL;
	access.verb = value_cstr(run, &args[1]);
	/* What the question would cost is there before it is asked. */
	if (run->limit - min_of(run->cost, run->limit) < 350000)
		return exceeded(run);
	bool allowed = from->auth.authorize(from->auth.arg, &access, &reason, &error);
	struct cel_value text = value_text(run, reason ? reason : ""), why = value_text(run, error ? error : "");
	struct cel_opaque opaque = {.kind = OPAQUE_DECISION, .decision = {allowed, value_cstr(run, &text), error ? value_cstr(run, &why) : NULL}};
	return value_opaque(run, &opaque);
}

static struct cel_value fn_allowed(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(args[0].opaque->decision.allowed);
}

static struct cel_value fn_reason(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_text(run, args[0].opaque->decision.reason);
}

static struct cel_value fn_errored(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(args[0].opaque->decision.error != NULL);
}

static struct cel_value fn_error(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_text(run, str_or(args[0].opaque->decision.error, ""));
}

/* ---- JSON pointers ---- */

static struct cel_value fn_escape_key(struct cel_run *run, const struct cel_value *args, unsigned count) {
	autobuf struct buf text = BUF_INIT(MAX_STRING);
	for (size_t i = 0; i < args[0].len; i++) {
		if (args[0].s[i] == '/' || args[0].s[i] == '~')
			buf_append_str(&text, args[0].s[i] == '/' ? "~1" : "~0");
		else
			buf_append_char(&text, args[0].s[i]);
	}
	return cel_from_string(run, text.data ? text.data : "", text.len);
}

const struct function_row functions_kubernetes[] = {
	{"quantity", fn_quantity, COST_SIZE, "string_to_quantity=(string):quantity"},
	{"isQuantity", fn_is_quantity, COST_SIZE, "is_quantity_string=(string):bool"},
	/* Not a member function, strange as it is. */
	{"sign", fn_sign, COST_ONE, "quantity_sign=(quantity):int"},
	{"isGreaterThan", fn_is_greater, COST_ONE, "quantity_is_greater_than=.(quantity,quantity):bool semver_is_greater_than=.(semver,semver):bool"},
	{"isLessThan", fn_is_less, COST_ONE, "quantity_is_less_than=.(quantity,quantity):bool semver_is_less_than=.(semver,semver):bool"},
	{"compareTo", fn_compare_to, COST_ONE, "quantity_compare_to=.(quantity,quantity):int semver_compare_to=.(semver,semver):int"},
	{"asApproximateFloat", fn_as_float, COST_ONE, "quantity_get_float=.(quantity):double"},
	{"asInteger", fn_as_integer, COST_ONE, "quantity_get_int=.(quantity):int"},
	{"isInteger", fn_is_integer, COST_ONE, "quantity_is_integer=.(quantity):bool"},
	{"add", fn_quantity_add, COST_ONE, "quantity_add=.(quantity,quantity):quantity quantity_add_int=.(quantity,int):quantity"},
	{"sub", fn_quantity_sub, COST_ONE, "quantity_sub=.(quantity,quantity):quantity quantity_sub_int=.(quantity,int):quantity"},
	{"semver", fn_semver, COST_SIZE, "string_to_semver=(string):semver string_bool_to_semver=(string,bool):semver"},
	{"isSemver", fn_is_semver, COST_SIZE, "is_semver_string=(string):bool is_semver_string_bool=(string,bool):bool"},
	{"major", fn_major, COST_ONE, "semver_major=.(semver):int"},
	{"minor", fn_minor, COST_ONE, "semver_minor=.(semver):int"},
	{"patch", fn_patch, COST_ONE, "semver_patch=.(semver):int"},
	{"format.named", fn_format_named, COST_ONE, "format-named=(string):optional<format>"},
	{"validate", fn_validate, COST_VALIDATE, "format-validate=.(format,string):optional<list<string>>"},
	{"format.dns1123Label", fn_format_0, COST_ONE, "format.dns1123Label=():format"},
	{"format.dns1123Subdomain", fn_format_1, COST_ONE, "format.dns1123Subdomain=():format"},
	{"format.dns1035Label", fn_format_2, COST_ONE, "format.dns1035Label=():format"},
	{"format.qualifiedName", fn_format_3, COST_ONE, "format.qualifiedName=():format"},
	{"format.dns1123LabelPrefix", fn_format_4, COST_ONE, "format.dns1123LabelPrefix=():format"},
	{"format.dns1123SubdomainPrefix", fn_format_5, COST_ONE, "format.dns1123SubdomainPrefix=():format"},
	{"format.dns1035LabelPrefix", fn_format_6, COST_ONE, "format.dns1035LabelPrefix=():format"},
	{"format.labelValue", fn_format_7, COST_ONE, "format.labelValue=():format"},
	{"format.uri", fn_format_8, COST_ONE, "format.uri=():format"},
	{"format.uuid", fn_format_9, COST_ONE, "format.uuid=():format"},
	{"format.byte", fn_format_10, COST_ONE, "format.byte=():format"},
	{"format.date", fn_format_11, COST_ONE, "format.date=():format"},
	{"format.datetime", fn_format_12, COST_ONE, "format.datetime=():format"},
	{"path", fn_auth_path, COST_ONE, "authorizer_path=.(authorizer,string):path"},
	{"group", fn_group, COST_ONE, "authorizer_group=.(authorizer,string):group"},
	{"serviceAccount", fn_service_account, COST_ONE, "authorizer_serviceaccount=.(authorizer,string,string):authorizer"},
	{"resource", fn_auth_resource, COST_ONE, "groupcheck_resource=.(group,string):resource"},
	{"subresource", fn_subresource, COST_ONE, "resourcecheck_subresource=.(resource,string):resource"},
	{"namespace", fn_namespace, COST_ONE, "resourcecheck_namespace=.(resource,string):resource"},
	{"name", fn_name, COST_ONE, "resourcecheck_name=.(resource,string):resource"},
	{"fieldSelector", fn_field_selector, COST_SELECTOR, "authorizer_fieldselector=.(resource,string):resource"},
	{"labelSelector", fn_label_selector, COST_SELECTOR, "authorizer_labelselector=.(resource,string):resource"},
	{"check", fn_check, COST_AUTHORIZE, "pathcheck_check=.(path,string):decision resourcecheck_check=.(resource,string):decision"},
	{"allowed", fn_allowed, COST_ONE, "decision_allowed=.(decision):bool"},
	{"reason", fn_reason, COST_ONE, "decision_reason=.(decision):string"},
	{"errored", fn_errored, COST_ONE, "decision_errored=.(decision):bool"},
	{"error", fn_error, COST_ONE, "decision_error=.(decision):string"},
	{"jsonpatch.escapeKey", fn_escape_key, COST_SIZE, "string_jsonpatch_escapeKey_string=(string):string"},
	{0},
};
