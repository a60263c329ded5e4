/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/spdy_internal.h"

#include "common/base/cursor.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* ---- a server that notes what happens, and echoes ---- */

struct fixture {
	struct spdy *spdy;
	struct buf events;
	z_stream deflate;        /* the client's */
	struct spdy_inflate inflate;
	struct buf sent;
	bool refuse;
};

static void on_stream(struct spdy_stream *stream, const struct spdy_header *headers, size_t count, void *arg)
{
	struct fixture *f = arg;
	buf_printf(&f->events, "open %u", spdy_stream_id(stream));
	for (size_t i = 0; i < count; i++)
		buf_printf(&f->events, " %s=%s", headers[i].name, headers[i].value);
	buf_append_str(&f->events, ";");
	if (f->refuse)
		spdy_reset(stream, SPDY_REFUSED_STREAM);
	else
		spdy_reply(stream, &(struct spdy_header){"status", "ok"}, 1);
}

static void on_data(struct spdy_stream *stream, const void *data, size_t len, void *arg)
{
	struct fixture *f = arg;
	if (len < 100)
		buf_printf(&f->events, "data %u %.*s;", spdy_stream_id(stream), (int)len, (const char *)data);
	spdy_send(stream, data, len);
}

static void on_end(struct spdy_stream *stream, void *arg)
{
	buf_printf(&((struct fixture *)arg)->events, "end %u;", spdy_stream_id(stream));
	spdy_end(stream);
}

static void on_close(struct spdy_stream *stream, void *arg)
{
	buf_printf(&((struct fixture *)arg)->events, "close %u;", spdy_stream_id(stream));
}

static int setup(void **state)
{
	static const struct spdy_callbacks callbacks = {on_stream, on_data, on_end, on_close};
	struct fixture *f = xnew(struct fixture);
	f->events = BUF_INIT(1 << 20);
	f->sent = BUF_INIT(8 << 20);
	f->spdy = spdy_new(&callbacks, f);
	spdy_deflate_init(&f->deflate);
	spdy_inflate_init(&f->inflate);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	spdy_free(f->spdy);
	deflateEnd(&f->deflate);
	spdy_inflate_done(&f->inflate);
	buf_done(&f->events);
	buf_done(&f->sent);
	free(f);
	return 0;
}

/* ---- the client's frames ---- */

static void be32(struct buf *out, uint32_t value)
{
	uint8_t raw[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
	buf_append(out, raw, 4);
}

static void syn_stream(struct fixture *f, uint32_t id, uint8_t flags, const char *type)
{
	autobuf struct buf block = BUF_INIT(1 << 20);
	struct spdy_header header = {"StreamType", type};
	spdy_deflate_block(&f->deflate, &header, 1, &block);
	be32(&f->sent, 0x80030001);
	be32(&f->sent, (uint32_t)flags << 24 | (uint32_t)(10 + block.len));
	be32(&f->sent, id);
	be32(&f->sent, 0);
	buf_append(&f->sent, "\0", 2);
	buf_append(&f->sent, block.data, block.len);
}

static void data_frame(struct fixture *f, uint32_t id, uint8_t flags, const void *data, size_t len)
{
	be32(&f->sent, id);
	be32(&f->sent, (uint32_t)flags << 24 | (uint32_t)len);
	buf_append(&f->sent, data, len);
}

static int feed(struct fixture *f, size_t step)
{
	int rc = 0;
	for (size_t at = 0; !rc && at < f->sent.len; at += step)
		rc = spdy_feed(f->spdy, f->sent.data + at, min_of(step, f->sent.len - at));
	buf_reset(&f->sent);
	return rc;
}

/* What the server sent, as text. */
static char *describe(struct fixture *f, size_t *ret_data)
{
	struct buf *out = spdy_output(f->spdy);
	struct buf text = BUF_INIT(1 << 20);
	buf_append_str(&text, "");
	struct cursor c = cursor_of(out->data, out->len);
	*ret_data = 0;
	while (cursor_left(&c) && !c.failed) {
		uint32_t first = cursor_be32(&c), second = cursor_be32(&c), len = second & 0xffffff;
		struct cursor body = cursor_of(cursor_take(&c, len), len);
		if (!(first >> 31)) {
			*ret_data += len;
			if (len < 100)
				buf_printf(&text, "data %u %.*s%s;", first, (int)len, len ? (const char *)body.pos : "", second >> 24 ? " fin" : "");
		} else if ((first & 0xffff) == 2) {
			uint32_t id = cursor_be32(&body);
			assert_int_equal(spdy_inflate_block(&f->inflate, body.pos, cursor_left(&body)), 0);
			buf_printf(&text, "reply %u %s=%s;", id, f->inflate.headers[0].name, f->inflate.headers[0].value);
		} else if ((first & 0xffff) != 9) {
			buf_printf(&text, "control %u", first & 0xffff);
			while (cursor_left(&body))
				buf_printf(&text, " %u", cursor_be32(&body));
			buf_append_str(&text, ";");
		}
	}
	assert_false(c.failed);
	buf_consume(out, out->len);
	return buf_take(&text);
}

static void expect(struct fixture *f, const char *events, const char *frames)
{
	size_t data;
	autofree char *got = describe(f, &data);
	assert_string_equal(f->events.len ? f->events.data : "", events);
	assert_string_equal(got ? got : "", frames);
	buf_reset(&f->events);
}

static void test_dictionary(void **state)
{
	/* Its Adler-32 stands in the zlib header of every SPDY/3 session. */
	assert_int_equal(adler32(adler32(0, NULL, 0), spdy_dictionary(), SPDY_DICTIONARY_LEN), 0xe3c6a7c2);
}

static void exchange(struct fixture *f, size_t step)
{
	syn_stream(f, 1, 0, "error");
	syn_stream(f, 3, 0, "stdin");
	data_frame(f, 3, 0, "hello", 5);
	data_frame(f, 3, 1, NULL, 0);
	be32(&f->sent, 0x80030006);
	be32(&f->sent, 4);
	be32(&f->sent, 77);
	assert_int_equal(feed(f, step), 0);
	expect(f, "open 1 streamtype=error;open 3 streamtype=stdin;data 3 hello;end 3;close 3;",
		"reply 1 status=ok;reply 3 status=ok;data 3 hello;data 3  fin;control 6 77;");
	be32(&f->sent, 0x80030003);
	be32(&f->sent, 8);
	be32(&f->sent, 1);
	be32(&f->sent, 5);
	be32(&f->sent, 0x80030007);
	be32(&f->sent, 8);
	be32(&f->sent, 0);
	be32(&f->sent, 0);
	assert_int_equal(feed(f, step), 0);
	assert_true(spdy_is_going_away(f->spdy));
	expect(f, "close 1;", "");
}

static void test_exchange(void **state)
{
	exchange(*state, 1 << 20);
}

static void test_exchange_by_bytes(void **state)
{
	struct fixture *f = *state;
	syn_stream(f, 1, 0, "stdin");
	assert_int_equal(feed(f, 1), 0);
	data_frame(f, 1, 1, "x", 1);
	assert_int_equal(feed(f, 1), 0);
	expect(f, "open 1 streamtype=stdin;data 1 x;end 1;close 1;", "reply 1 status=ok;data 1 x;data 1  fin;");
}

static void test_throughput(void **state)
{
	struct fixture *f = *state;
	uint8_t *block = xcalloc(1, 100000);
	syn_stream(f, 1, 0, "data");
	for (int i = 0; i < 20; i++)
		data_frame(f, 1, 0, block, 100000);
	free(block);
	assert_int_equal(feed(f, 7777), 0);
	size_t data;
	free(describe(f, &data));
	assert_int_equal(data, 2000000);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	f->refuse = true;
	syn_stream(f, 1, 1, "x");
	assert_int_equal(feed(f, 100), 0);
	expect(f, "open 1 streamtype=x;close 1;", "control 3 1 3;");
	f->refuse = false;
	syn_stream(f, 1, 0, "again");
	data_frame(f, 9, 0, "nobody", 6);
	assert_int_equal(feed(f, 100), 0);
	expect(f, "", "control 3 1 1;control 3 9 2;");
	spdy_go_away(f->spdy);
	syn_stream(f, 11, 0, "late");
	assert_int_equal(feed(f, 100), 0);
	expect(f, "", "control 7 1 0;control 3 11 3;");
}

static void test_many_streams(void **state)
{
	struct fixture *f = *state;
	for (uint32_t i = 0; i < SPDY_MAX_STREAMS; i++)
		syn_stream(f, 2 * i + 1, 0, "d");
	assert_int_equal(feed(f, 1 << 16), 0);
	size_t data;
	free(describe(f, &data));
	buf_reset(&f->events);
	syn_stream(f, 2 * SPDY_MAX_STREAMS + 1, 0, "d");
	assert_int_equal(feed(f, 1 << 16), 0);
	expect(f, "", "control 3 2049 3;");
}

static void test_broken(void **state)
{
	static const char *const frames[] = {
		"\x80\x02\x00\x01\x00\x00\x00\x00",                                         /* SPDY/2 */
		"\x80\x03\x00\x01\x00\xff\xff\xff",                                         /* a control frame of 16 MB */
		"\x80\x03\x00\x01\x00\x00\x00\x0a\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00", /* an even stream */
		"\x80\x03\x00\x01\x00\x00\x00\x0c\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00zz", /* not zlib */
		"\x00\x00\x00\x00\x00\x00\x00\x00",                                         /* data on stream 0 */
		"\x80\x03\x00\x02\x00\x00\x00\x04\x00\x00\x00\x01",                         /* an answer to nothing */
	};
	static const size_t lens[] = {8, 8, 18, 20, 8, 12};
	for (size_t i = 0; i < array_len(frames); i++) {
		void *own;
		setup(&own);
		struct fixture *f = own;
		buf_append(&f->sent, frames[i], lens[i]);
		assert_true(feed(f, 1 << 16) < 0);
		expect(f, "", "control 7 0 1;");
		assert_true(spdy_feed(f->spdy, "x", 1) < 0);
		teardown(&own);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dictionary),
		cmocka_unit_test_setup_teardown(test_exchange, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exchange_by_bytes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_throughput, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_streams, setup, teardown),
		cmocka_unit_test(test_broken),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
