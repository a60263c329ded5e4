/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/proto.h"

bool proto_next(struct cursor *c, struct proto_field *ret) {
	if (c->failed || !cursor_left(c))
		return false;
	uint64_t tag = cursor_varint(c), len;
	*ret = (struct proto_field){.number = (uint32_t)(tag >> 3), .wire = (enum proto_wire)(tag & 7)};
	switch (ret->wire) {
	case PROTO_VARINT:
		ret->value = cursor_varint(c);
		break;
	case PROTO_FIXED64:
		ret->value = cursor_le64(c);
		break;
	case PROTO_FIXED32:
		ret->value = cursor_le32(c);
		break;
	case PROTO_BYTES:
		len = cursor_varint(c);
		if (len <= cursor_left(c))
			ret->bytes = cursor_of(cursor_take(c, (size_t)len), (size_t)len);
		else
			c->failed = true;
		break;
	default:
		c->failed = true;
	}
	if (tag >> 3 == 0 || tag >> 3 > UINT32_MAX)
		c->failed = true;
	return !c->failed;
}

char *proto_text(const struct proto_field *field) {
	size_t len = cursor_left(&field->bytes);
	if (field->wire != PROTO_BYTES || (len && memchr(field->bytes.pos, 0, len)))
		return NULL;
	return len ? xstrndup((const char *)field->bytes.pos, len) : xstrdup("");
}

void proto_put_varint(struct buf *out, uint64_t value) {
	char bytes[10];
	size_t n = 0;
	for (; value > 0x7f; value >>= 7)
		bytes[n++] = (char)(value | 0x80);
	bytes[n++] = (char)value;
	buf_append(out, bytes, n);
}

void proto_put_number(struct buf *out, uint32_t field, uint64_t value) {
	if (!value)
		return;
	proto_put_varint(out, (uint64_t)field << 3 | PROTO_VARINT);
	proto_put_varint(out, value);
}

void proto_put_bytes(struct buf *out, uint32_t field, const void *data, size_t len) {
	proto_put_varint(out, (uint64_t)field << 3 | PROTO_BYTES);
	proto_put_varint(out, len);
	if (len)
		buf_append(out, data, len);
}

void proto_put_text(struct buf *out, uint32_t field, const char *text) {
	if (!str_empty(text))
		proto_put_bytes(out, field, text, strlen(text));
}
