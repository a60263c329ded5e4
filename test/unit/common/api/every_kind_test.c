/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind with every field set, by way of its descriptors: JSON and protobuf say the same both ways, and the protobuf bytes are those that the
 * kind's published .proto description makes of that JSON (wire_digests.h).
 */
#include "common/api/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "test/unit/common/api/wire_digests.h"

#define MAX_NESTING 40

struct filling {
	struct buf *out;
	unsigned next; /* makes values that differ */
	const struct api_type *path[MAX_NESTING];
	size_t depth;
};

static void fill_members(struct filling *f, const struct api_type *type, bool *first);

static void fill_struct(struct filling *f, const struct api_type *type) {
	bool first = true;
	for (size_t i = 0; i < f->depth; i++)
		if (f->path[i] == type) {
			buf_append_str(f->out, "{}"); /* a type within itself ends */
			return;
		}
	assert_true(f->depth < MAX_NESTING);
	f->path[f->depth++] = type;
	buf_append_char(f->out, '{');
	fill_members(f, type, &first);
	buf_append_char(f->out, '}');
	f->depth--;
}

static void fill_field(struct filling *f, const struct api_field *field);

static void fill_value(struct filling *f, const struct api_field *field) {
	unsigned n = ++f->next;
	switch (field->kind) {
	case API_STRING:
		buf_printf(f->out, "\"s%u\"", n);
		return;
	case API_BOOL:
		buf_append_str(f->out, "true");
		return;
	case API_INT32:
	case API_INT64:
		buf_printf(f->out, "%s%u", n % 3 ? "" : "-", n * 7);
		return;
	case API_DOUBLE:
		buf_printf(f->out, "%u.5", n);
		return;
	case API_BYTES:
		buf_append_str(f->out, n % 2 ? "\"AAH/\"" : "\"eHl6\"");
		return;
	case API_QUANTITY:
		buf_printf(f->out, "\"%u%s\"", n, n % 2 ? "m" : "Mi");
		return;
	case API_INT_OR_STRING:
		buf_printf(f->out, n % 2 ? "%u" : "\"%u%%\"", n);
		return;
	case API_TIME:
		buf_printf(f->out, "\"2026-01-02T03:%02u:%02uZ\"", n / 60 % 60, n % 60);
		return;
	case API_MICRO_TIME:
		buf_printf(f->out, "\"2026-01-02T03:04:05.%06uZ\"", n);
		return;
	case API_DURATION:
		buf_printf(f->out, "\"1h%um3s\"", n % 59 + 1);
		return;
	case API_RAW_EXTENSION:
		buf_printf(f->out, "{\"kind\":\"K\",\"apiVersion\":\"v1\",\"n\":%u}", n);
		return;
	case API_FIELDS_V1:
		buf_printf(f->out, "{\"f:n%u\":{}}", n);
		return;
	case API_JSON:
		buf_printf(f->out, "{\"n\":[%u,\"x\",null]}", n);
		return;
	}
	switch (field->type->custom_json) {
	case API_CUSTOM_NONE:
		fill_struct(f, field->type);
		return;
	case API_CUSTOM_SELF:
		fill_field(f, &field->type->fields[0]);
		return;
	case API_CUSTOM_SCHEMA_OR_STRINGS:
		buf_printf(f->out, "[\"s%u\"]", n);
		return;
	default:
		buf_printf(f->out, "{\"type\":\"s%u\"}", n);
	}
}

static void fill_field(struct filling *f, const struct api_field *field) {
	size_t count = field->kind == API_STRUCT ? 1 : 2;
	if (field->shape == API_SINGLE) {
		fill_value(f, field);
		return;
	}
	buf_append_char(f->out, field->shape == API_LIST ? '[' : '{');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_append_char(f->out, ',');
		if (field->shape == API_MAP)
			buf_printf(f->out, "\"key%zu\":", i);
		fill_value(f, field);
	}
	buf_append_char(f->out, field->shape == API_LIST ? ']' : '}');
}

static void fill_members(struct filling *f, const struct api_type *type, bool *first) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *field = &type->fields[i];
		if (field->flags & API_FIELD_INLINE) {
			fill_members(f, field->type, first);
			continue;
		}
		if (api_field_is_closed(field) || field->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON | API_FIELD_REST))
			continue; /* what a gate is closed for is dropped */
		bool head = type->is_kind && (strcmp(field->name, "kind") == 0 || strcmp(field->name, "apiVersion") == 0);
		if (head && f->depth > 1)
			continue; /* what stands in a list says nothing of its kind */
		buf_printf(f->out, "%s\"%s\":", *first ? "" : ",", field->name);
		*first = false;
		if (!head)
			fill_field(f, field);
		else if (field->name[0] == 'k')
			buf_printf(f->out, "\"%s\"", type->kind);
		else
			buf_printf(f->out, "\"%s%s%s\"", type->group, *type->group ? "/" : "", type->version);
	}
}

static uint64_t digest(const struct buf *b) {
	uint64_t h = 0xcbf29ce484222325u;
	for (size_t i = 0; i < b->len; i++)
		h = (h ^ (unsigned char)b->data[i]) * 0x100000001b3u;
	return h;
}

static void same_text(const struct api_type *type, const struct buf *have, const struct buf *want) {
	size_t at = 0;
	while (at < have->len && at < want->len && have->data[at] == want->data[at])
		at++;
	if (at < have->len || at < want->len)
		fail_msg("%s: at %zu: %.60s, not %.60s", type->id, at, have->data + at - min_of(at, (size_t)20), want->data + at - min_of(at, (size_t)20));
}

/* Tables have none. */
static bool has_wire_form(const struct api_type *type) {
	bool numbered = false;
	for (size_t i = 0; i < type->field_count; i++)
		numbered |= type->fields[i].number;
	return type->proto && numbered;
}

static void check_kind(const struct api_type *type, bool show) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT), wire = BUF_INIT(BUF_MAX_DEFAULT), text = BUF_INIT(BUF_MAX_DEFAULT), again = BUF_INIT(BUF_MAX_DEFAULT);
	autounref void *object = NULL, *back = NULL;
	autoerror struct error err = {0};
	struct filling f = {.out = &json};
	fill_struct(&f, type);
	if (show)
		printf("%s\n", json.data);
	if (api_decode_json_any(json.data, json.len, &(struct api_decode_options){.validation = API_STRICT}, &object, &err) < 0)
		fail_msg("%s: %s", type->id, error_message(&err));
	assert_ptr_equal(api_type_of(object), type);
	api_encode(object, &text);
	same_text(type, &text, &json);
	if (!has_wire_form(type))
		return;
	api_encode_protobuf(type, object, &wire);
	if (api_decode_protobuf(wire.data, wire.len, &back, &err) < 0)
		fail_msg("%s: %s", type->id, error_message(&err));
	buf_reset(&text);
	api_encode(back, &text);
	same_text(type, &text, &json);
	api_encode_protobuf(type, back, &again);
	assert_int_equal(again.len, wire.len);
	assert_memory_equal(again.data, wire.data, wire.len);
	autofree char *name = xprintf("%s%s%s %s", type->group, *type->group ? "/" : "", type->version, type->kind);
	for (size_t i = 0; i < array_len(wire_digests); i++)
		if (strcmp(wire_digests[i].kind, name) == 0) {
			if (wire_digests[i].len != wire.len || wire_digests[i].digest != digest(&wire))
				fail_msg("%s: %zu bytes, digest %016llx", name, wire.len, (unsigned long long)digest(&wire));
			return;
		}
}

static void test_every_kind(void **state) {
	for (size_t i = 0; i < api_kinds_count; i++)
		check_kind(api_kinds[i], false);
}

/* A digest that no kind has checks nothing. */
static void test_digests_have_kinds(void **state) {
	for (size_t i = 0; i < array_len(wire_digests); i++) {
		bool found = false;
		for (size_t n = 0; n < api_kinds_count && !found; n++) {
			const struct api_type *t = api_kinds[n];
			autofree char *name = xprintf("%s%s%s %s", t->group, *t->group ? "/" : "", t->version, t->kind);
			found = strcmp(name, wire_digests[i].kind) == 0;
		}
		if (!found)
			fail_msg("no kind %s", wire_digests[i].kind);
	}
}

/* every_kind_test show: the filled objects, a line each, to make digests of with the official descriptions. */
int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "show") == 0) {
		for (size_t i = 0; i < api_kinds_count; i++)
			check_kind(api_kinds[i], true);
		return 0;
	}
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_kind), cmocka_unit_test(test_digests_have_kinds)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
