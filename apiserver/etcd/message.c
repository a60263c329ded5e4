/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/etcd/message.h"

#include "common/base/proto.h"

#include <errno.h>

/* ---- writing ---- */

static void write_slice(struct buf *buf, unsigned field, struct etcd_slice slice)
{
	if (slice.len)
		proto_put_bytes(buf, field, slice.data, slice.len);
}

/* A nested message's length is not known before it is written: it gets four bytes, which a varint may always have. */
#define NESTED_LENGTH_BYTES 4

static size_t nested_open(struct buf *buf, unsigned field)
{
	proto_put_varint(buf, field << 3 | PROTO_BYTES);
	buf_append(buf, "\x80\x80\x80\0", NESTED_LENGTH_BYTES);
	return buf->len;
}

static void nested_close(struct buf *buf, size_t start)
{
	size_t len = buf->len - start;

	if (buf_failed(buf))
		return;
	for (int i = 0; i < NESTED_LENGTH_BYTES; i++, len >>= 7)
		buf->data[start - NESTED_LENGTH_BYTES + (size_t)i] = (char)((len & 0x7f) | (i < NESTED_LENGTH_BYTES - 1 ? 0x80 : 0));
}

void etcd_message_begin(struct buf *buf)
{
	buf_append(buf, "\0\0\0\0\0", ETCD_FRAME_HEADER);
}

void etcd_message_end(struct buf *buf)
{
	uint32_t len = (uint32_t)(buf->len - ETCD_FRAME_HEADER);

	if (buf_failed(buf))
		return;
	for (int i = 0; i < 4; i++)
		buf->data[1 + i] = (char)(len >> (24 - 8 * i));
}

void etcd_write_range(struct buf *buf, const struct etcd_range *range)
{
	write_slice(buf, 1, range->key);
	write_slice(buf, 2, range->end);
	proto_put_number(buf, 3, range->limit);
	proto_put_number(buf, 4, range->revision);
	proto_put_number(buf, 7, range->serializable);
	proto_put_number(buf, 8, range->keys_only);
	proto_put_number(buf, 9, range->count_only);
}

static void write_operation(struct buf *buf, unsigned field, enum etcd_operation operation, const struct etcd_txn *txn)
{
	/* The place of each kind within RequestOp's oneof. */
	static const unsigned places[] = {[ETCD_GET] = 1, [ETCD_PUT] = 2, [ETCD_DELETE] = 3};
	size_t outer, inner;

	if (operation == ETCD_NOTHING)
		return;
	outer = nested_open(buf, field);
	inner = nested_open(buf, places[operation]);
	write_slice(buf, 1, txn->key);
	if (operation == ETCD_PUT) {
		write_slice(buf, 2, txn->value);
		proto_put_number(buf, 3, txn->lease);
	}
	nested_close(buf, inner);
	nested_close(buf, outer);
}

static void write_compare(struct buf *buf, struct etcd_slice key, enum etcd_compare_target target, int64_t expected)
{
	/* Where the value to compare with stands in Compare, for each target. */
	static const unsigned places[] = {[ETCD_COMPARE_VERSION] = 4, [ETCD_COMPARE_CREATE_REVISION] = 5, [ETCD_COMPARE_MOD_REVISION] = 6};
	size_t compare = nested_open(buf, 1);

	proto_put_number(buf, 2, target);
	write_slice(buf, 3, key);
	/* A oneof is written even where it is zero. */
	proto_put_varint(buf, places[target] << 3 | PROTO_VARINT);
	proto_put_varint(buf, (uint64_t)expected);
	nested_close(buf, compare);
}

void etcd_write_txn(struct buf *buf, const struct etcd_txn *txn)
{
	if (!txn->always)
		write_compare(buf, txn->key, txn->target, txn->expected);
	for (size_t i = 0; i < txn->guard_count; i++)
		write_compare(buf, txn->guards[i].key, ETCD_COMPARE_MOD_REVISION, txn->guards[i].mod_revision);
	write_operation(buf, 2, txn->then, txn);
	write_operation(buf, 3, txn->otherwise, txn);
}

void etcd_write_compaction(struct buf *buf, int64_t revision)
{
	proto_put_number(buf, 1, revision);
}

void etcd_write_lease_grant(struct buf *buf, int64_t ttl_seconds, int64_t id)
{
	proto_put_number(buf, 1, ttl_seconds);
	proto_put_number(buf, 2, id);
}

void etcd_write_lease_id(struct buf *buf, int64_t id)
{
	proto_put_number(buf, 1, id);
}

void etcd_write_status(struct buf *buf)
{
	(void)buf;
}

void etcd_write_watch_create(struct buf *buf, const struct etcd_watch_create *create)
{
	size_t start = nested_open(buf, 1);

	write_slice(buf, 1, create->key);
	write_slice(buf, 2, create->end);
	proto_put_number(buf, 3, create->start_revision);
	proto_put_number(buf, 4, create->progress_notify);
	proto_put_number(buf, 8, 1); /* fragment: large answers come in pieces */
	nested_close(buf, start);
}

void etcd_write_watch_cancel(struct buf *buf, int64_t watch_id)
{
	size_t start = nested_open(buf, 2);

	proto_put_number(buf, 1, watch_id);
	nested_close(buf, start);
}

void etcd_write_watch_progress(struct buf *buf)
{
	nested_close(buf, nested_open(buf, 3));
}

/* ---- reading ---- */

static struct etcd_slice slice_of(const struct proto_field *field)
{
	return (struct etcd_slice){(const char *)field->bytes.pos, cursor_left(&field->bytes)};
}

/* An int64 or bool of the message: where it stands and where it goes. */
struct int_row {
	unsigned number;
	int64_t *to;
};

static void take_int(const struct proto_field *field, const struct int_row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (rows[i].number == field->number && field->wire == PROTO_VARINT)
			*rows[i].to = (int64_t)field->value;
	}
}

static bool is_bytes(const struct proto_field *field, unsigned number)
{
	return field->number == number && field->wire == PROTO_BYTES;
}

/* ResponseHeader; only its revision matters. */
static bool read_header(const struct proto_field *field, int64_t *ret_revision)
{
	struct cursor c = field->bytes;
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (f.number == 3)
			*ret_revision = (int64_t)f.value;
	}
	return !c.failed;
}

static bool read_kv(struct cursor c, struct etcd_kv *ret)
{
	struct etcd_kv kv = {.key = {"", 0}, .value = {"", 0}};
	const struct int_row rows[] = {{2, &kv.create_revision}, {3, &kv.mod_revision}, {4, &kv.version}, {6, &kv.lease}};
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 1))
			kv.key = slice_of(&f);
		else if (is_bytes(&f, 5))
			kv.value = slice_of(&f);
		else
			take_int(&f, rows, array_len(rows));
	}
	if (c.failed || kv.mod_revision < 0 || kv.create_revision < 0)
		return false;
	*ret = kv;
	return true;
}

/* Reads the message again from its start: the repeated field is walked in place rather than collected. */
static bool next_of(struct cursor *c, unsigned number, struct proto_field *ret)
{
	while (proto_next(c, ret)) {
		if (is_bytes(ret, number))
			return true;
	}
	return false;
}

int etcd_read_range(const void *data, size_t len, struct etcd_range_response *ret)
{
	struct cursor c = cursor_of(data, len);
	struct etcd_range_response response = {.kvs = c};
	int64_t more = 0;
	const struct int_row rows[] = {{3, &more}, {4, &response.count}};
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 1) && !read_header(&f, &response.revision))
			return -EBADMSG;
		take_int(&f, rows, array_len(rows));
	}
	if (c.failed)
		return -EBADMSG;
	response.more = more != 0;
	*ret = response;
	return 0;
}

bool etcd_next_kv(struct cursor *kvs, struct etcd_kv *ret)
{
	struct proto_field f;

	if (!next_of(kvs, 2, &f))
		return false;
	if (!read_kv(f.bytes, ret)) {
		kvs->failed = true;
		return false;
	}
	return true;
}

/* ResponseOp: what the branch taken has done. */
static int read_operation(const struct proto_field *field, struct etcd_txn_response *response)
{
	struct cursor c = field->bytes;
	struct proto_field f, g;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 1) && !response->has_kv) {
			struct etcd_range_response range;
			if (etcd_read_range(f.bytes.pos, cursor_left(&f.bytes), &range) < 0)
				return -EBADMSG;
			response->has_kv = etcd_next_kv(&range.kvs, &response->kv);
			if (range.kvs.failed)
				return -EBADMSG;
		} else if (is_bytes(&f, 3)) {
			struct cursor inner = f.bytes;
			const struct int_row rows[] = {{2, &response->deleted}};
			while (proto_next(&inner, &g))
				take_int(&g, rows, array_len(rows));
			if (inner.failed)
				return -EBADMSG;
		}
	}
	return c.failed ? -EBADMSG : 0;
}

int etcd_read_txn(const void *data, size_t len, struct etcd_txn_response *ret)
{
	struct cursor c = cursor_of(data, len);
	struct etcd_txn_response response = {0};
	int64_t succeeded = 0;
	const struct int_row rows[] = {{2, &succeeded}};
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 1) && !read_header(&f, &response.revision))
			return -EBADMSG;
		if (is_bytes(&f, 3) && read_operation(&f, &response) < 0)
			return -EBADMSG;
		take_int(&f, rows, array_len(rows));
	}
	if (c.failed)
		return -EBADMSG;
	response.succeeded = succeeded != 0;
	*ret = response;
	return 0;
}

int etcd_read_lease_grant(const void *data, size_t len, struct etcd_lease_response *ret)
{
	struct cursor c = cursor_of(data, len);
	struct etcd_lease_response response = {0};
	const struct int_row rows[] = {{2, &response.id}, {3, &response.ttl}};
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 4) && cursor_left(&f.bytes))
			return -EBADMSG; /* granted nothing */
		take_int(&f, rows, array_len(rows));
	}
	if (c.failed || response.id == 0)
		return -EBADMSG;
	*ret = response;
	return 0;
}

int etcd_read_status(const void *data, size_t len, struct etcd_status_response *ret)
{
	struct cursor c = cursor_of(data, len);
	struct etcd_status_response response = {.version = {"", 0}};
	int64_t leader = 0;
	const struct int_row rows[] = {{3, &response.db_size}, {4, &leader}};
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 1) && !read_header(&f, &response.revision))
			return -EBADMSG;
		if (is_bytes(&f, 2))
			response.version = slice_of(&f);
		take_int(&f, rows, array_len(rows));
	}
	if (c.failed)
		return -EBADMSG;
	response.leader = (uint64_t)leader;
	*ret = response;
	return 0;
}

int etcd_read_watch(const void *data, size_t len, struct etcd_watch_response *ret)
{
	struct cursor c = cursor_of(data, len);
	struct etcd_watch_response response = {.cancel_reason = {"", 0}, .events = c};
	int64_t created = 0, canceled = 0, fragment = 0;
	const struct int_row rows[] = {{2, &response.watch_id}, {3, &created}, {4, &canceled}, {5, &response.compact_revision}, {7, &fragment}};
	struct proto_field f;

	while (proto_next(&c, &f)) {
		if (is_bytes(&f, 1) && !read_header(&f, &response.revision))
			return -EBADMSG;
		if (is_bytes(&f, 6))
			response.cancel_reason = slice_of(&f);
		if (is_bytes(&f, 11))
			response.event_count++;
		take_int(&f, rows, array_len(rows));
	}
	if (c.failed)
		return -EBADMSG;
	response.created = created != 0;
	response.canceled = canceled != 0;
	response.fragment = fragment != 0;
	*ret = response;
	return 0;
}

bool etcd_next_event(struct cursor *events, struct etcd_event *ret)
{
	struct etcd_event event = {0};
	struct proto_field outer, f;
	struct cursor c;
	bool has_kv = false;

	if (!next_of(events, 11, &outer))
		return false;
	c = outer.bytes;
	while (proto_next(&c, &f)) {
		if (f.number == 1 && f.wire == PROTO_VARINT)
			event.deleted = f.value == 1;
		else if (is_bytes(&f, 2))
			has_kv = read_kv(f.bytes, &event.kv);
	}
	if (c.failed || !has_kv) {
		events->failed = true;
		return false;
	}
	*ret = event;
	return true;
}
