/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "apiserver/webhook/answer.h"

#include <errno.h>

#define MAX 64

struct row {
	const char *text;
	int end;          /* what feeding it ends in */
	int closed;       /* then closing; where end is 0 */
	int status;
	const char *body;
	bool keep;
};

static const struct row rows[] = {
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 1, 0, 200, "hello", true},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!", 1, 0, 200, "hello", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 1, 0, 200, "hello", false},
	{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", 1, 0, 200, "", true},
	{"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 1, 0, 200, "", false},
	{"HTTP/1.1 503 \r\ntransfer-encoding: gzip, Chunked\r\n\r\n3\r\nabc\r\nA ; x\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", 1, 0, 503, "abc0123456789", true},
	{"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 1\n\nx", 1, 0, 200, "x", true},
	{"HTTP/1.1 204 No Content\r\nContent-Length: 7\r\n\r\n", 1, 0, 204, "", true},
	{"HTTP/1.1 200 OK\r\n\r\nall of it", 0, 1, 200, "all of it", false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", 0, -EPIPE, 200, "hell", false},
	{"HTTP/1.1 200 OK\r\nContent-Le", 0, -EPIPE, 0, "", false},
	{"", 0, -EPIPE, 0, "", false},
	{"SSH-2.0-OpenSSH_9.9\r\n\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 2x0 OK\r\n\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", -EBADMSG, 0, 0, NULL, false},
	{"HTTP/1.1 200 OK\r\nContent-Length: 70\r\n\r\n0123456789012345678901234567890123456789012345678901234567890123456789", -EFBIG, 0, 0, NULL, false},
};

static void test_rows(void **state) {
	for (size_t i = 0; i < array_len(rows); i++) {
		const struct row *row = &rows[i];
		struct http_answer answer;
		autoerror struct error err = {0};
		http_answer_init(&answer, MAX);
		int r = *row->text ? http_answer_feed(&answer, row->text, strlen(row->text), &err) : 0;
		if (r != row->end)
			fail_msg("row %zu ends in %d (%s)", i, r, error_message(&err));
		if (r == 0)
			assert_int_equal(http_answer_close(&answer, &err), row->closed);
		if (row->body) {
			assert_int_equal(answer.status, row->status);
			assert_int_equal(answer.keep, row->keep);
			assert_string_equal(answer.body.data ? answer.body.data : "", row->body);
		}
		http_answer_done(&answer);
	}
}

/* A head that never ends is not kept for ever. */
static void test_endless_head(void **state) {
	struct http_answer answer;
	autoerror struct error err = {0};
	http_answer_init(&answer, MAX);
	assert_int_equal(http_answer_feed(&answer, "HTTP/1.1 200 OK\r\n", 17, &err), 0);
	int r = 0;
	for (int i = 0; i < 100000 && r == 0; i++)
		r = http_answer_feed(&answer, "A: b\r\n", 6, &err);
	assert_int_equal(r, -EBADMSG);
	http_answer_done(&answer);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_endless_head)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
