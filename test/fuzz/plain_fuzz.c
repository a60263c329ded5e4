/* SPDX-License-Identifier: Apache-2.0 */
/* Heads of requests. What is plain must be made of words and lines only, and once plain be plain again when it is written anew. */
#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/http/plain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoarena struct arena *arena = arena_new();
	const char *text = (const char *)data;
	size_t len = plain_head_len(text, size, 0);
	struct plain_head head, again;
	bool may = plain_may_begin(text, len ? len : size);
	/* Bytes that came one by one end their head at the same place. */
	for (size_t i = 0; i < len; i++)
		check(plain_head_len(text, i, i ? i - 1 : 0) == 0);
	if (!len || !plain_parse(arena_strndup(arena, text, len), len, &head))
		return 0;
	check(may);
	autobuf struct buf out = BUF_INIT(1 << 22);
	buf_printf(&out, "%s %s%s%s HTTP/1.1\r\n", head.method, head.path, *head.query ? "?" : "", head.query);
	for (size_t i = 0; i < head.header_count; i++) {
		check(*head.headers[i].name && !strpbrk(head.headers[i].name, " \t\r\n:") && !strpbrk(head.headers[i].value, "\r\n"));
		buf_printf(&out, "%s: %s\r\n", head.headers[i].name, head.headers[i].value);
	}
	buf_append_str(&out, "\r\n");
	check(!buf_failed(&out) && plain_parse(arena_strndup(arena, out.data, out.len), out.len, &again));
	check(again.header_count == head.header_count && again.body_len == head.body_len && str_equal(again.path, head.path) && str_equal(again.query, head.query));
	return 0;
}
