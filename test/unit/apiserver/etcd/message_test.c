/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/etcd/frame.h"
#include "apiserver/etcd/message.h"
#include "apiserver/etcd/transport.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A watch's answer by hand: header, two events. */
static const char watch[] = "\x0a\x04\x08\x01\x18\x4d\x10\x03\x5a\x0b\x12\x09\x0a\x01k\x18\x07*\x02vv\x5a\x09\x08\x01\x12\x05\x0a\x01k\x18\x08";

static void test_read_watch(void **state)
{
	struct etcd_watch_response response;
	struct etcd_event event;

	assert_int_equal(etcd_read_watch(watch, sizeof(watch) - 1, &response), 0);
	assert_int_equal(response.revision, 77);
	assert_int_equal(response.watch_id, 3);
	assert_int_equal(response.event_count, 2);
	assert_true(etcd_next_event(&response.events, &event));
	assert_false(event.deleted);
	assert_int_equal(event.kv.mod_revision, 7);
	assert_int_equal(event.kv.value.len, 2);
	assert_true(etcd_next_event(&response.events, &event));
	assert_true(event.deleted);
	assert_int_equal(event.kv.mod_revision, 8);
	assert_false(etcd_next_event(&response.events, &event));
	assert_false(response.events.failed);
	/* Cut anywhere it is refused, or ends at a field's border; never read past. */
	for (size_t len = 0; len < sizeof(watch) - 1; len++) {
		autofree char *cut = xmemdup(watch, len + 1);
		cut = xrealloc(cut, len ? len : 1);
		if (etcd_read_watch(cut, len, &response) == 0) {
			while (etcd_next_event(&response.events, &event))
				assert_true(event.kv.mod_revision > 0);
		}
	}
}

static void test_write_txn(void **state)
{
	static const char expected[] =
		"\0\0\0\0\x34"
		"\x0a\x87\x80\x80\0\x10\x02\x1a\x01k\x30\x05"
		"\x12\x91\x80\x80\0\x12\x8c\x80\x80\0\x0a\x01k\x12\x05value\x18\x09"
		"\x1a\x88\x80\x80\0\x0a\x83\x80\x80\0\x0a\x01k";
	struct buf b = BUF_INIT(4096);

	etcd_message_begin(&b);
	etcd_write_txn(&b, &(struct etcd_txn){
				   .key = ETCD_SLICE("k"),
				   .target = ETCD_COMPARE_MOD_REVISION,
				   .expected = 5,
				   .then = ETCD_PUT,
				   .otherwise = ETCD_GET,
				   .value = ETCD_SLICE("value"),
				   .lease = 9,
			   });
	etcd_message_end(&b);
	assert_int_equal(b.len, sizeof(expected) - 1);
	assert_memory_equal(b.data + 5, expected + 5, b.len - 5);
	assert_int_equal(b.data[4], b.len - 5);
	buf_done(&b);
}

static void test_frames(void **state)
{
	static const char wire[] = "\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\1d";
	const void *message;
	size_t len;

	for (size_t cut = 1; cut < sizeof(wire) - 1; cut++) {
		struct frame_reader reader = FRAME_READER_INIT(100);
		size_t seen = 0;
		for (size_t at = 0; at < sizeof(wire) - 1; at += cut) {
			assert_int_equal(frame_reader_add(&reader, wire + at, min_of(cut, sizeof(wire) - 1 - at)), 0);
			while (frame_reader_next(&reader, &message, &len)) {
				static const size_t lengths[] = {3, 0, 1};
				assert_int_equal(len, lengths[seen++]);
			}
		}
		assert_int_equal(seen, 3);
		frame_reader_done(&reader);
	}
	struct frame_reader reader = FRAME_READER_INIT(100);
	assert_int_equal(frame_reader_add(&reader, "\0\0\0\0\x65", 5), -EBADMSG);
	frame_reader_done(&reader);
	reader = FRAME_READER_INIT(100);
	assert_int_equal(frame_reader_add(&reader, "\1\0\0\0\0", 5), -EBADMSG);
	frame_reader_done(&reader);
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *url, *host, *port, *authority;
		bool tls, local;
	} rows[] = {
		{"https://10.0.0.1:2379", "10.0.0.1", "2379", "10.0.0.1:2379", true, false},
		{"http://[::1]:2379/", "::1", "2379", "[::1]:2379", false, false},
		{"etcd:2379", "etcd", "2379", "etcd:2379", false, false},
		{"https://etcd.example", "etcd.example", "443", "etcd.example:443", true, false},
		{"unix:///run/etcd.sock", "/run/etcd.sock", NULL, "localhost", false, true},
		{"ftp://x:1", NULL, NULL, NULL, false, false},
		{"http://x:70000", NULL, NULL, NULL, false, false},
		{"http://x:2379/path", NULL, NULL, NULL, false, false},
		{"http://:2379", NULL, NULL, NULL, false, false},
		{"http://[::1", NULL, NULL, NULL, false, false},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct endpoint endpoint;
		autoerror struct error err = {0};
		int r = endpoint_parse(rows[i].url, &endpoint, &err);
		assert_int_equal(r, rows[i].host ? 0 : -EINVAL);
		if (r < 0)
			continue;
		assert_string_equal(endpoint.host, rows[i].host);
		assert_true(str_equal(endpoint.port, rows[i].port));
		assert_string_equal(endpoint.authority, rows[i].authority);
		assert_int_equal(endpoint.tls, rows[i].tls);
		assert_int_equal(endpoint.local, rows[i].local);
		endpoint_done(&endpoint);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_watch),
		cmocka_unit_test(test_write_txn),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_endpoints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
