/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protobuf out, byte for byte as gogo-proto writes the Go structs: fields by ascending number, what has no pointer always
 * written, lists and maps only where they hold something, repeated numbers unpacked, maps by sorted key.
 */
#include "common/api/codec.h"

#include <stdio.h>

#define VARINT 0
#define FIXED64 1
#define BYTES 2

static void append_varint(struct buf *out, uint64_t value) {
	char bytes[10];
	size_t len = 0;
	for (; value >= 0x80; value >>= 7)
		bytes[len++] = (char)(value | 0x80);
	bytes[len++] = (char)value;
	buf_append(out, bytes, len);
}

static void append_tag(struct buf *out, uint32_t number, unsigned wire) {
	append_varint(out, (uint64_t)number << 3 | wire);
}

static void append_bytes(struct buf *out, uint32_t number, const void *data, size_t len) {
	append_tag(out, number, BYTES);
	append_varint(out, len);
	buf_append(out, data, len);
}

/* A message's length is known only after it: one byte is kept for it, and more is made room for where that is not enough. */
static size_t open_message(struct buf *out, uint32_t number) {
	append_tag(out, number, BYTES);
	buf_append_char(out, 0);
	return out->len;
}

static void close_message(struct buf *out, size_t start) {
	char bytes[10];
	size_t len = out->len - start, n = 0;
	if (buf_failed(out))
		return;
	for (uint64_t value = len;; value >>= 7) {
		bytes[n++] = (char)(value >= 0x80 ? value | 0x80 : value);
		if (value < 0x80)
			break;
	}
	if (n > 1) {
		buf_append(out, bytes, n - 1);
		if (buf_failed(out))
			return;
		memmove(out->data + start + n - 1, out->data + start, len);
	}
	memcpy(out->data + start - 1, bytes, n);
}

static void encode_fields(const struct api_type *type, const void *value, struct buf *out);

static void encode_time(struct buf *out, const struct api_time *t, bool micro) {
	if (!t->set)
		return;
	append_tag(out, 1, VARINT);
	append_varint(out, (uint64_t)t->t.sec);
	append_tag(out, 2, VARINT);
	append_varint(out, micro ? (uint64_t)(t->t.nsec - t->t.nsec % 1000) : 0);
}

static void encode_int_or_string(struct buf *out, const struct int_or_string *v) {
	append_tag(out, 1, VARINT);
	append_varint(out, v->str ? 1 : 0);
	append_tag(out, 2, VARINT);
	append_varint(out, v->str ? 0 : (uint64_t)(int64_t)v->num);
	append_bytes(out, 3, v->str ? v->str : "", v->str ? strlen(v->str) : 0);
}

/* The inside of a kind that is a message on the wire. */
static void encode_message(struct buf *out, const struct api_field *f, const void *at) {
	char text[64];
	switch ((enum api_kind)f->kind) {
	case API_QUANTITY:
		append_bytes(out, 1, text, quantity_format(at, text));
		break;
	case API_INT_OR_STRING:
		encode_int_or_string(out, at);
		break;
	case API_TIME:
	case API_MICRO_TIME:
		encode_time(out, at, f->kind == API_MICRO_TIME);
		break;
	case API_DURATION:
		append_tag(out, 1, VARINT);
		append_varint(out, (uint64_t)((const struct api_duration *)at)->ns);
		break;
	case API_RAW_EXTENSION:
	case API_FIELDS_V1:
	case API_JSON: {
		const struct api_raw *raw = at;
		if (raw->json)
			append_bytes(out, 1, raw->json, raw->len);
		break;
	}
	default:
		encode_fields(f->type, at, out);
	}
}

/* One value under `number`. */
static void encode_element(struct buf *out, const struct api_field *f, uint32_t number, const void *at) {
	uint64_t bits;
	switch ((enum api_kind)f->kind) {
	case API_STRING: {
		const char *s = *(const char *const *)at;
		append_bytes(out, number, s ? s : "", s ? strlen(s) : 0);
		return;
	}
	case API_BYTES: {
		const struct api_bytes *bytes = at;
		if (bytes->data)
			append_bytes(out, number, bytes->data, bytes->len);
		return;
	}
	case API_BOOL:
		append_tag(out, number, VARINT);
		append_varint(out, *(const bool *)at);
		return;
	case API_INT32:
		append_tag(out, number, VARINT);
		append_varint(out, (uint64_t)(int64_t)*(const int32_t *)at);
		return;
	case API_INT64:
		append_tag(out, number, VARINT);
		append_varint(out, (uint64_t)*(const int64_t *)at);
		return;
	case API_DOUBLE:
		append_tag(out, number, FIXED64);
		memcpy(&bits, at, sizeof(bits));
		for (int i = 0; i < 8; i++)
			buf_append_char(out, (char)(bits >> 8 * i));
		return;
	default: {
		size_t start = open_message(out, number);
		encode_message(out, f, at);
		close_message(out, start);
	}
	}
}

static void encode_items(struct buf *out, const struct api_field *f, const struct api_any_list *list) {
	size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
	for (uint32_t i = 0; i < list->len; i++) {
		const char *item = list->items + i * stride;
		if (f->shape == API_LIST) {
			encode_element(out, f, f->number, item);
			continue;
		}
		const char *key = *(const char *const *)item;
		size_t start = open_message(out, f->number);
		append_bytes(out, 1, key, strlen(key));
		encode_element(out, f, 2, item + f->value_offset);
		close_message(out, start);
	}
}

static void encode_fields(const struct api_type *type, const void *value, struct buf *out) {
	for (size_t i = 0; i < type->field_count; i++) {
		const struct api_field *f = &type->fields[type->by_number[i]];
		if (!f->number)
			continue;
		if (f->shape != API_SINGLE) {
			encode_items(out, f, api_field_at_const(f, value));
			continue;
		}
		const void *at = api_field_value(f, value);
		if (at && !api_value_is_absent(f, at))
			encode_element(out, f, f->number, at);
	}
}

void api_encode_protobuf_message(const struct api_type *type, const void *value, struct buf *out) {
	encode_fields(type, value, out);
}

void api_encode_protobuf(const struct api_type *type, const void *value, struct buf *out) {
	const char *kind = type->kind, *api_version = NULL;
	char own[128];
	if (type->is_kind) {
		const char *const *head = value;
		kind = str_or(head[0], kind);
		api_version = head[1];
	}
	if (str_empty(api_version)) {
		bool core = str_empty(type->group);
		snprintf(own, sizeof(own), "%s%s%s", core ? "" : type->group, core ? "" : "/", type->version ? type->version : "");
		api_version = own;
	}
	buf_append(out, "k8s", 4);
	size_t start = open_message(out, 1);
	append_bytes(out, 1, api_version, strlen(api_version));
	append_bytes(out, 2, kind ? kind : "", kind ? strlen(kind) : 0);
	close_message(out, start);
	start = open_message(out, 2);
	encode_fields(type, value, out);
	close_message(out, start);
	append_bytes(out, 3, "", 0);
	append_bytes(out, 4, "", 0);
}
