/* SPDX-License-Identifier: Apache-2.0 */
/* Percent decoding, and the parameters of a query. What is decoded and encoded again must decode to the same. */
#include "common/http/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *name, const char *value, void *arg)
{
	autoarena struct arena *arena = arena_new();
	autobuf struct buf out = BUF_INIT(1 << 20);
	http_url_encode(&out, value);
	char *again = http_url_decode(arena, out.len ? out.data : "", out.len, true);
	if (!again || strcmp(again, value))
		abort();
	if (!http_query(arg, name))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoarena struct arena *arena = arena_new();
	http_url_decode(arena, (const char *)data, size, false);
	struct http_request req = {.arena = arena, .query = arena_strndup(arena, (const char *)data, size)};
	http_query_each(&req, check, &req);
	return 0;
}
