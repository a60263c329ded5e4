/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf in. Unknown fields are skipped, numbers of a list may come packed, nothing is sized from what a length claims. */
#include "common/api/codec.h"
#include "common/api/json_reader.h"
#include "common/base/cursor.h"

#include <errno.h>

#define WIRE_VARINT 0
#define WIRE_FIXED64 1
#define WIRE_BYTES 2
#define WIRE_FIXED32 5
#define MAX_NESTING 200
#define TEXT_ABOVE 8192

struct wire {
	struct arena *arena;
	unsigned depth;
};

static int decode_message(struct wire *w, const struct api_type *type, void *value, struct cursor c);

static struct cursor take_bytes(struct cursor *c) {
	uint64_t len = cursor_varint(c);
	if (c->failed || len > cursor_left(c)) {
		c->failed = true;
		return cursor_of("", 0);
	}
	const uint8_t *data = cursor_take(c, (size_t)len);
	return cursor_of(data ? (const void *)data : "", data ? (size_t)len : 0);
}

static void skip(struct cursor *c, unsigned wire) {
	switch (wire) {
	case WIRE_VARINT:
		cursor_varint(c);
		break;
	case WIRE_FIXED64:
		cursor_take(c, 8);
		break;
	case WIRE_BYTES:
		take_bytes(c);
		break;
	case WIRE_FIXED32:
		cursor_take(c, 4);
		break;
	default: /* groups are not used */
		c->failed = true;
	}
}

/* Text that must be a C string: bytes past a NUL are lost. */
static const char *text_of(struct wire *w, struct cursor c) {
	return arena_strndup(w->arena, (const char *)c.pos, cursor_left(&c));
}

static int decode_time(struct cursor c, struct api_time *at, bool micro) {
	*at = (struct api_time){0};
	at->set = cursor_left(&c) > 0;
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag == (1 << 3 | WIRE_VARINT)) {
			at->t.sec = (int64_t)cursor_varint(&c);
		} else if (tag == (2 << 3 | WIRE_VARINT)) {
			int32_t nsec = (int32_t)cursor_varint(&c);
			at->t.nsec = micro && nsec > 0 && nsec < 1000000000 ? nsec - nsec % 1000 : 0;
		} else {
			skip(&c, tag & 7);
		}
	}
	/* What the year field of RFC 3339 cannot hold is no time of ours. */
	if (at->t.sec < -62135596800LL || at->t.sec > 253402300799LL)
		return -EINVAL;
	return c.failed ? -EINVAL : 0;
}

static int decode_int_or_string(struct wire *w, struct cursor c, struct int_or_string *at) {
	uint64_t type = 0;
	struct cursor text = cursor_of("", 0);
	*at = (struct int_or_string){0};
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag == (1 << 3 | WIRE_VARINT))
			type = cursor_varint(&c);
		else if (tag == (2 << 3 | WIRE_VARINT))
			at->num = (int32_t)cursor_varint(&c);
		else if (tag == (3 << 3 | WIRE_BYTES))
			text = take_bytes(&c);
		else
			skip(&c, tag & 7);
	}
	if (type == 1)
		*at = (struct int_or_string){.str = text_of(w, text)};
	return c.failed ? -EINVAL : 0;
}

/* Messages of one field with number 1: the bytes of it; absent leaves *ret_found false. */
static int decode_wrapped(struct cursor c, struct cursor *ret, uint64_t *ret_number, bool *ret_found) {
	*ret_found = false;
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag == (1 << 3 | WIRE_BYTES) && ret) {
			*ret = take_bytes(&c);
			*ret_found = true;
		} else if (tag == (1 << 3 | WIRE_VARINT) && ret_number) {
			*ret_number = cursor_varint(&c);
			*ret_found = true;
		} else {
			skip(&c, tag & 7);
		}
	}
	return c.failed ? -EINVAL : 0;
}

/* Raw bytes are JSON; an object in its own envelope is turned into that. */
static int decode_raw(struct wire *w, struct cursor c, struct api_raw *at) {
	size_t len = cursor_left(&c);
	if (len > 4 && !memcmp(c.pos, "k8s", 4)) {
		autounref void *object = NULL;
		autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
		if (w->depth > 8 || api_decode_protobuf(c.pos, len, &object, NULL) < 0)
			return -EINVAL;
		api_encode(object, &json);
		*at = (struct api_raw){.json = arena_strndup(w->arena, json.data, json.len), .len = (uint32_t)json.len};
		return 0;
	}
	struct json_reader r;
	json_reader_init(&r, (const char *)c.pos, len, w->arena);
	int ret = json_read_raw(&r, at);
	if (!ret && json_peek(&r) >= 0)
		ret = -EINVAL;
	json_reader_done(&r);
	return ret;
}

static int decode_submessage(struct wire *w, const struct api_field *f, void *at, struct cursor c) {
	struct cursor inner = cursor_of("", 0);
	uint64_t number = 0;
	bool found;
	switch ((enum api_kind)f->kind) {
	case API_QUANTITY: {
		struct quantity *q = at;
		if (decode_wrapped(c, &inner, NULL, &found) < 0)
			return -EINVAL;
		*q = (struct quantity){.set = true};
		return cursor_left(&inner) ? quantity_parse((const char *)inner.pos, cursor_left(&inner), q) : 0;
	}
	case API_INT_OR_STRING:
		return decode_int_or_string(w, c, at);
	case API_TIME:
	case API_MICRO_TIME:
		return decode_time(c, at, f->kind == API_MICRO_TIME);
	case API_DURATION:
		if (decode_wrapped(c, NULL, &number, &found) < 0)
			return -EINVAL;
		((struct api_duration *)at)->ns = (int64_t)number;
		return 0;
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON:
		if (decode_wrapped(c, &inner, NULL, &found) < 0)
			return -EINVAL;
		return found && cursor_left(&inner) ? decode_raw(w, inner, at) : 0;
	default:
		return decode_message(w, f->type, at, c);
	}
}

static bool is_number(const struct api_field *f) {
	return f->kind == API_BOOL || f->kind == API_INT32 || f->kind == API_INT64;
}

static void store_number(const struct api_field *f, void *at, uint64_t value) {
	if (f->kind == API_BOOL)
		*(bool *)at = value != 0;
	else if (f->kind == API_INT32)
		*(int32_t *)at = (int32_t)value;
	else
		*(int64_t *)at = (int64_t)value;
}

/* One value of the field, whatever holds it. */
static int decode_element(struct wire *w, const struct api_field *f, void *at, struct cursor *c, unsigned wire) {
	if (is_number(f)) {
		if (wire != WIRE_VARINT)
			return -EINVAL;
		store_number(f, at, cursor_varint(c));
		return 0;
	}
	if (f->kind == API_DOUBLE) {
		if (wire != WIRE_FIXED64)
			return -EINVAL;
		uint64_t bits = cursor_le64(c);
		memcpy(at, &bits, sizeof(bits));
		return 0;
	}
	if (wire != WIRE_BYTES)
		return -EINVAL;
	struct cursor inner = take_bytes(c);
	if (c->failed)
		return -EINVAL;
	if (f->kind == API_STRING) {
		*(const char **)at = text_of(w, inner);
		return 0;
	}
	if (f->kind == API_BYTES) {
		struct api_bytes *bytes = at;
		bytes->len = (uint32_t)cursor_left(&inner);
		bytes->data = arena_memdup(w->arena, inner.pos, bytes->len);
		return 0;
	}
	return decode_submessage(w, f, at, inner);
}

static int decode_packed(struct wire *w, const struct api_field *f, void *list, struct cursor c) {
	while (cursor_left(&c) && !c.failed)
		store_number(f, api_list_grow(w->arena, list, f->element_size), cursor_varint(&c));
	return c.failed ? -EINVAL : 0;
}

static int decode_entry(struct wire *w, const struct api_field *f, void *map, struct cursor c) {
	const char *key = "";
	struct cursor value = cursor_of("", 0);
	unsigned wire = WIRE_BYTES;
	bool found = false;
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag == (1 << 3 | WIRE_BYTES)) {
			key = text_of(w, take_bytes(&c));
		} else if (tag >> 3 == 2) {
			value = c;
			wire = tag & 7;
			found = true;
			skip(&c, wire);
		} else {
			skip(&c, tag & 7);
		}
	}
	if (c.failed)
		return -EINVAL;
	char *entry = api_map_insert(w->arena, map, f->entry_size, key);
	return found ? decode_element(w, f, entry + f->value_offset, &value, wire) : 0;
}

/* How many values of the field stand here one after the other, the first of them without its tag. */
static uint32_t count_values(struct cursor c, unsigned wire, uint64_t number) {
	uint32_t count = 1;
	skip(&c, wire);
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag >> 3 != number)
			break;
		skip(&c, tag & 7);
		count += !c.failed;
	}
	return count;
}

static bool is_empty(const void *list) {
	return !((const struct api_any_list *)list)->items;
}

static int decode_field(struct wire *w, const struct api_field *f, void *value, struct cursor *c, unsigned wire) {
	void *at = api_field_at(f, value);
	if (f->shape == API_MAP) {
		if (wire != WIRE_BYTES)
			return -EINVAL;
		if (is_empty(at))
			api_list_reserve(w->arena, at, f->entry_size, count_values(*c, wire, f->number));
		struct cursor inner = take_bytes(c);
		return c->failed ? -EINVAL : decode_entry(w, f, at, inner);
	}
	if (f->shape == API_LIST) {
		if (is_number(f) && wire == WIRE_BYTES) {
			struct cursor inner = take_bytes(c);
			return c->failed ? -EINVAL : decode_packed(w, f, at, inner);
		}
		if (is_empty(at))
			api_list_reserve(w->arena, at, f->element_size, count_values(*c, wire, f->number));
		return decode_element(w, f, api_list_grow(w->arena, at, f->element_size), c, wire);
	}
	if (api_field_indirect(f)) {
		if (!*(void **)at)
			*(void **)at = arena_alloc(w->arena, f->element_size);
		at = *(void **)at;
	}
	return decode_element(w, f, at, c, wire);
}

static const struct api_field *field_by_number(const struct api_type *type, uint64_t number) {
	size_t low = 0, high = type->field_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct api_field *f = &type->fields[type->by_number[mid]];
		if (f->number == number)
			return number ? f : NULL;
		if (f->number < number)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

static int decode_message(struct wire *w, const struct api_type *type, void *value, struct cursor c) {
	if (++w->depth > MAX_NESTING)
		return -EINVAL;
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		const struct api_field *f = field_by_number(type, tag >> 3);
		if (!f || api_field_is_closed(f))
			skip(&c, tag & 7);
		else if (decode_field(w, f, value, &c, tag & 7) < 0)
			return -EINVAL;
	}
	w->depth--;
	return c.failed ? -EINVAL : 0;
}

int api_decode_protobuf_message(const struct api_type *type, const void *data, size_t len, void **ret_object, struct error *err) {
	/* As structs an object takes about three times what it does here, unless it is mostly text. */
	void *object = api_new_bare_sized(type, min_of(len * 3, len + TEXT_ABOVE));
	struct wire w = {.arena = api_arena(object)};
	if (decode_message(&w, type, object, cursor_of(data, len)) < 0) {
		api_unref(object);
		return error_status(err, 400, "BadRequest", "the protobuf body is malformed or is no %s", type->id);
	}
	*ret_object = object;
	return 0;
}

static int read_type_meta(struct arena *arena, struct cursor c, const char **ret_api_version, const char **ret_kind) {
	struct wire w = {.arena = arena};
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag == (1 << 3 | WIRE_BYTES))
			*ret_api_version = text_of(&w, take_bytes(&c));
		else if (tag == (2 << 3 | WIRE_BYTES))
			*ret_kind = text_of(&w, take_bytes(&c));
		else
			skip(&c, tag & 7);
	}
	return c.failed ? -EINVAL : 0;
}

/* The type that a version in the tables gives the kind, where the version asked for is not in them. */
static const struct api_type *type_of_any_version(const char *group, const char *kind) {
	for (size_t i = 0; i < api_resource_count; i++)
		if (strcmp(api_resources[i].kind, kind) == 0 && str_equal(str_or(api_resources[i].group, ""), group))
			return api_resources[i].type;
	return NULL;
}

static int decode_enveloped(const void *data, size_t len, bool any_version, void **ret_object, struct error *err) {
	autoarena struct arena *arena = arena_new();
	const char *api_version = "", *kind = "", *group, *version;
	struct cursor c = cursor_of(data, len), raw = cursor_of("", 0), meta = cursor_of("", 0);
	const uint8_t *magic = cursor_take(&c, 4);
	if (!magic || memcmp(magic, "k8s", 4))
		return error_status(err, 400, "BadRequest", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]");
	while (cursor_left(&c) && !c.failed) {
		uint64_t tag = cursor_varint(&c);
		if (tag == (1 << 3 | WIRE_BYTES))
			meta = take_bytes(&c);
		else if (tag == (2 << 3 | WIRE_BYTES))
			raw = take_bytes(&c);
		else
			skip(&c, tag & 7);
	}
	if (c.failed || read_type_meta(arena, meta, &api_version, &kind) < 0)
		return error_status(err, 400, "BadRequest", "unexpected EOF");
	api_split_group_version(arena, api_version, &group, &version);
	const struct api_type *type = api_type_by_kind(group, version, kind);
	bool other = !type && any_version;
	if (other)
		type = type_of_any_version(group, kind);
	if (!type)
		return error_set(err, ENOENT, "no kind \"%s\" is registered for version \"%s\"", kind, api_version);
	int r = api_decode_protobuf_message(type, raw.pos, cursor_left(&raw), ret_object, err);
	if (r < 0)
		return r;
	const char **head = *ret_object;
	head[0] = type->kind;
	head[1] = !other ? arena_strdup(api_arena(*ret_object), api_version) : *group ? arena_printf(api_arena(*ret_object), "%s/%s", group, type->version) : type->version;
	return 0;
}

int api_decode_protobuf(const void *data, size_t len, void **ret_object, struct error *err) {
	return decode_enveloped(data, len, false, ret_object, err);
}

int api_decode_protobuf_stored(const void *data, size_t len, void **ret_object, struct error *err) {
	return decode_enveloped(data, len, true, ret_object, err);
}
