/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/arena.h"
#include "common/http/plain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define HOST "Host: x\r\n"

static bool parse(const char *text, struct arena *arena, struct plain_head *ret)
{
	size_t len = plain_head_len(text, strlen(text), 0);
	return len == strlen(text) && plain_parse(arena_strdup(arena, text), len, ret);
}

static void test_plain(void **state)
{
	autoarena struct arena *arena = arena_new();
	struct plain_head head;
	assert_true(parse("PATCH /a%20b?c=d?e HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nX-Blanks:\t a b \t\r\ncontent-LENGTH: 12\r\nConnection: Keep-Alive\r\n\r\n", arena, &head));
	assert_string_equal(head.method, "PATCH");
	assert_string_equal(head.path, "/a%20b");
	assert_string_equal(head.query, "c=d?e");
	assert_int_equal(head.body_len, 12);
	assert_int_equal(head.header_count, 5);
	assert_string_equal(head.headers[1].name, "X-Empty");
	assert_string_equal(head.headers[1].value, "");
	assert_string_equal(head.headers[2].value, "a b");
	assert_true(parse("GET / HTTP/1.1\r\n" HOST "\r\n", arena, &head));
	assert_string_equal(head.query, "");
	assert_int_equal(head.body_len, 0);
}

static void test_not_plain(void **state)
{
	static const char *const texts[] = {
		/* other methods, targets, versions */
		"HEAD / HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "GETT / HTTP/1.1\r\n" HOST "\r\n", "get / HTTP/1.1\r\n" HOST "\r\n",
		"GET http://x/ HTTP/1.1\r\n" HOST "\r\n", "GET  / HTTP/1.1\r\n" HOST "\r\n", "GET /  HTTP/1.1\r\n" HOST "\r\n", "GET / HTTP/1.0\r\n" HOST "\r\n", "GET /\r\n" HOST "\r\n",
		"GET / HTTP/1.1 \r\n" HOST "\r\n", "GET /\x7f HTTP/1.1\r\n" HOST "\r\n", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", "\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
		/* how the message is framed */
		"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n",
		"POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		/* what becomes of the connection */
		"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: x\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "Upgrade: x\r\n\r\n",
		/* lines */
		"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n" HOST HOST "\r\n", "GET / HTTP/1.1\r\n" HOST "A: b\r\n c\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "A : b\r\n\r\n",
		"GET / HTTP/1.1\r\n" HOST ": b\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "A\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "A: b\nC: d\r\n\r\n", "GET / HTTP/1.1\r\n" HOST "A: b\rC\r\n\r\n",
		"GET / HTTP/1.1\n" HOST "\r\n", "GET / HTTP/1.1\r\n" HOST "A: \x01\r\n\r\n",
	};
	autoarena struct arena *arena = arena_new();
	for (size_t i = 0; i < array_len(texts); i++) {
		struct plain_head head;
		if (parse(texts[i], arena, &head))
			fail_msg("taken for plain: %s", texts[i]);
	}
	/* A NUL would cut what follows off. */
	static const char nul[] = "GET / HTTP/1.1\r\n" HOST "A: b\0c\r\n\r\n";
	struct plain_head head;
	assert_false(plain_parse(arena_memdup(arena, nul, sizeof(nul)), sizeof(nul) - 1, &head));
}

static void test_too_many_headers(void **state)
{
	autoarena struct arena *arena = arena_new();
	struct plain_head head;
	for (int extra = 0; extra < 2; extra++) {
		char text[8192] = "GET / HTTP/1.1\r\n" HOST;
		for (int i = 1; i < PLAIN_HEADERS_MAX + extra; i++)
			strcat(text, "A: b\r\n");
		strcat(text, "\r\n");
		assert_int_equal(parse(text, arena, &head), !extra);
	}
}

/* What may still become plain is waited for, what may not is passed on at once. */
static void test_begin(void **state)
{
	static const char whole[] = "DELETE /api HTTP/1.1\r\nHo";
	for (size_t i = 0; i < sizeof(whole); i++)
		assert_true(plain_may_begin(whole, i));
	static const char *const others[] = {"X", "GEX", "GET\r", "GET x", "GET / X", "GET / HTTP/2", "GET / HTTP/1.1\n", "\x16\x03", "PRI * HTTP/2.0"};
	for (size_t i = 0; i < array_len(others); i++)
		assert_false(plain_may_begin(others[i], strlen(others[i])));
	assert_int_equal(plain_head_len("a\r\n\r\nb", 6, 0), 5);
	assert_int_equal(plain_head_len("a\r\n\r\nb", 6, 4), 5);
	assert_int_equal(plain_head_len("a\r\n\r", 4, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain), cmocka_unit_test(test_not_plain), cmocka_unit_test(test_too_many_headers), cmocka_unit_test(test_begin)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
