/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as protobuf: a walk over the JSON document by tables of its messages (proto_v2.c, proto_v3.c). */
#include "apiserver/openapi/proto.h"

#define MAX_MESSAGE ((size_t)256 << 20)
#define MAX_DEPTH 128 /* of schemas in schemas */

size_t proto_pick_reference(const json_t *value) {
	return json_object_get(value, "$ref") ? 1 : 0;
}

size_t proto_pick_boolean(const json_t *value) {
	return json_is_boolean(value) ? 1 : 0;
}

static void put_varint(struct buf *out, uint64_t value) {
	for (; value >= 0x80; value >>= 7)
		buf_append_char(out, (char)(value | 0x80));
	buf_append_char(out, (char)value);
}

static void put_bytes(struct buf *out, unsigned number, const void *data, size_t len) {
	put_varint(out, number << 3 | 2);
	put_varint(out, len);
	buf_append(out, data, len);
}

static void put_text(struct buf *out, unsigned number, const char *text) {
	put_bytes(out, number, text, strlen(text));
}

static void put_buf(struct buf *out, unsigned number, const struct buf *inner) {
	if (buf_failed(inner))
		out->overflow = true;
	put_bytes(out, number, inner->data, inner->len);
}

static void put_any(struct buf *out, unsigned number, json_t *value) {
	autobuf struct buf any = BUF_INIT(MAX_MESSAGE);
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	put_text(&any, 2, text ? text : "null");
	free(text);
	put_buf(out, number, &any);
}

static void put_message(const struct proto_message *m, json_t *value, unsigned depth, struct buf *out);

static void put_inner(struct buf *out, unsigned number, const struct proto_message *m, json_t *value, unsigned depth) {
	autobuf struct buf inner = BUF_INIT(MAX_MESSAGE);
	put_message(m, value, depth + 1, &inner);
	put_buf(out, number, &inner);
}

static bool is_extension(const char *name) {
	return str_starts_with(name, "x-");
}

/* `others`: the message whose other rows have members of their own; NULL: every member counts. */
static void put_named(struct buf *out, const struct proto_message *others, unsigned number, const struct proto_message *of, json_t *members, unsigned depth) {
	const char *name;
	json_t *value;
	json_object_foreach(members, name, value) {
		autobuf struct buf pair = BUF_INIT(MAX_MESSAGE);
		bool other = others && is_extension(name);
		for (size_t i = 0; others && i < others->count; i++)
			other |= strcmp(others->rows[i].name, name) == 0;
		if (other)
			continue;
		put_text(&pair, 1, name);
		put_inner(&pair, 2, of, value, depth);
		put_buf(out, number, &pair);
	}
}

static void put_integer(struct buf *out, unsigned number, int64_t value) {
	put_varint(out, number << 3);
	put_varint(out, (uint64_t)value);
}

/* fixed64, little endian */
static void put_double(struct buf *out, unsigned number, double value) {
	uint64_t bits;
	memcpy(&bits, &value, sizeof(bits));
	put_varint(out, number << 3 | 1);
	for (int i = 0; i < 8; i++)
		buf_append_char(out, (char)(bits >> 8 * i));
}

/* `picked`: of a oneof, where zero and false are said too. */
static void put_scalar(struct buf *out, const struct proto_row *row, json_t *value, bool picked) {
	if (row->how == HOW_STRING && json_is_string(value))
		put_text(out, row->number, json_string_value(value));
	else if (row->how == HOW_BOOL && (json_is_true(value) || picked))
		put_integer(out, row->number, json_is_true(value));
	else if (row->how == HOW_INT && json_number_value(value) != 0)
		put_integer(out, row->number, json_is_integer(value) ? json_integer_value(value) : (int64_t)json_real_value(value));
	else if (row->how == HOW_DOUBLE && (json_number_value(value) != 0 || picked))
		put_double(out, row->number, json_number_value(value));
}

static void put_one(struct buf *out, const struct proto_row *row, json_t *value, unsigned depth) {
	if (row->how == HOW_ANYS || row->how == HOW_ANY)
		put_any(out, row->number, value);
	else if (row->how == HOW_MESSAGES || row->how == HOW_MESSAGE)
		put_inner(out, row->number, row->of, value, depth);
	else if (json_is_string(value))
		put_text(out, row->number, json_string_value(value));
}

static void put_row(struct buf *out, const struct proto_message *m, const struct proto_row *row, json_t *value, unsigned depth) {
	switch (row->how) {
	case HOW_STRING:
	case HOW_BOOL:
	case HOW_INT:
	case HOW_DOUBLE:
		put_scalar(out, row, value, m->pick);
		break;
	case HOW_STRINGS:
	case HOW_ANYS:
	case HOW_MESSAGES:
		for (size_t i = 0; i < json_array_size(value); i++)
			put_one(out, row, json_array_get(value, i), depth);
		if (!json_is_array(value))
			put_one(out, row, value, depth);
		break;
	case HOW_ANY:
	case HOW_MESSAGE:
		put_one(out, row, value, depth);
		break;
	case HOW_NAMED:
		put_named(out, m, row->number, row->of, value, depth);
		break;
	case HOW_NAMED_IN: {
		autobuf struct buf inner = BUF_INIT(MAX_MESSAGE);
		put_named(&inner, NULL, 1, row->of, value, depth);
		put_buf(out, row->number, &inner);
		break;
	}
	}
}

static void put_message(const struct proto_message *m, json_t *value, unsigned depth, struct buf *out) {
	if (depth > MAX_DEPTH)
		return;
	size_t only = m->pick ? m->pick(value) : 0;
	for (size_t i = 0; i < m->count; i++) {
		const struct proto_row *row = &m->rows[i];
		json_t *member = row->name[0] == '*' ? value : json_object_get(value, row->name);
		if (member && (!m->pick || i == only))
			put_row(out, m, row, member, depth);
	}
	const char *name;
	json_t *member;
	if (m->extensions)
		json_object_foreach(value, name, member)
			if (is_extension(name)) {
				autobuf struct buf pair = BUF_INIT(MAX_MESSAGE);
				put_text(&pair, 1, name);
				put_any(&pair, 2, member);
				put_buf(out, m->extensions, &pair);
			}
}

void proto_write(const struct proto_message *m, const char *json, size_t len, struct buf *out) {
	json_t *tree = json_loadb(json, len, JSON_DECODE_ANY, NULL);
	put_message(m, tree, 0, out);
	json_decref(tree);
}
