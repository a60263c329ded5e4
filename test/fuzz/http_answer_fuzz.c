// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* What a webhook answers: in one piece and byte by byte it comes to the same. */
#include "apiserver/webhook/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_BODY 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct http_answer whole, parts;
	http_answer_init(&whole, MAX_BODY);
	http_answer_init(&parts, MAX_BODY);
	int r = size ? http_answer_feed(&whole, data, size, NULL) : 0;
	if (r == 0)
		r = http_answer_close(&whole, NULL);
	int p = 0;
	for (size_t i = 0; i < size && p == 0; i++)
		p = http_answer_feed(&parts, data + i, 1, NULL);
	if (p == 0)
		p = http_answer_close(&parts, NULL);
	if ((r > 0) != (p > 0))
		abort();
	if (r > 0 && (whole.status != parts.status || whole.body.len != parts.body.len || (whole.body.len && memcmp(whole.body.data, parts.body.data, whole.body.len) != 0)))
		abort();
	http_answer_done(&whole);
	http_answer_done(&parts);
	return 0;
}
