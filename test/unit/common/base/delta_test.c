/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/delta.h"
#include "common/base/random.h"

#define MOST 4096

static size_t round_trip(const void *model, size_t model_len, const void *text, size_t len)
{
	autobuf struct buf delta = BUF_INIT(1 << 20), again = BUF_INIT(1 << 20);
	/* Copies of their exact length, so that reading too far is seen. */
	autofree char *m = xmemdup(model, model_len), *t = xmemdup(text, len);
	delta_encode(m, model_len, t, len, &delta);
	assert_int_equal(delta_decode(m, model_len, delta.data, delta.len, &again), 0);
	assert_int_equal(again.len, len);
	if (len)
		assert_memory_equal(again.data, t, len);
	return delta.len;
}

static void like_texts_take_little(void **state)
{
	static const char model[] = "name web-7d9c4b-aaaaa uid 360b7269-4546-407c-90cc-e52ef3d4abd3 node node-17 image registry.example/web:1 phase Running";
	static const char text[] = "name web-7d9c4b-bbbbb uid 5c6e5044-4135-4220-a6cd-5271d88321fa node node-4 image registry.example/web:1 phase Running";
	assert_true(round_trip(model, sizeof(model), text, sizeof(text)) < 75);
	assert_true(round_trip(model, sizeof(model), model, sizeof(model)) < 6);
	assert_int_equal(round_trip(model, sizeof(model), "", 0), 0);
	assert_true(round_trip("", 0, text, sizeof(text)) < sizeof(text) + 4);
	assert_true(round_trip(model, 3, text, 3) < 8);
}

/* Texts made of pieces of the model, and of bytes of chance, of all lengths. */
static void any_text_comes_back(void **state)
{
	char model[MOST], text[MOST];
	for (int round = 0; round < 3000; round++) {
		size_t model_len = random_below(round % 10 ? 600 : MOST) + 1, len = 0, want = random_below(round % 10 ? 600 : MOST);
		for (size_t i = 0; i < model_len; i++)
			model[i] = (char)('a' + random_below(round % 3 ? 26 : 2));
		while (len < want) {
			size_t from = random_below(model_len), most = min_of(model_len - from, want - len), piece = min_of(random_below(80), most);
			memcpy(text + len, model + from, piece);
			len += piece;
			if (len < want)
				text[len++] = (char)random_below(256);
		}
		round_trip(model, model_len, text, len);
	}
}

static void long_models_do(void **state)
{
	size_t size = 3 * DELTA_MODEL_MAX;
	autofree char *model = xmalloc(size);
	for (size_t i = 0; i < size; i++)
		model[i] = (char)random_below(256);
	assert_true(round_trip(model, size, model, size) <= size + 16);
	assert_true(round_trip(model, size, model + 1000, 60000) <= 60016);
}

static void what_is_no_delta_is_refused(void **state)
{
	autobuf struct buf out = BUF_INIT(100);
	assert_int_equal(delta_decode("model", 5, "\x05"
					"ab", 3, &out), -22);
	assert_int_equal(delta_decode("model", 5, "\x00\x06\x00", 3, &out), -22);     /* longer than the model */
	assert_int_equal(delta_decode("model", 5, "\x00\x01\x01", 3, &out), -22);     /* before its beginning */
	assert_int_equal(delta_decode("model", 5, "\x00\x01\x0c", 3, &out), -22);     /* behind its end */
	assert_int_equal(delta_decode("model", 5, "\x80", 1, &out), -22);
	assert_int_equal(delta_decode("model", 5, "\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00", 12, &out), -22);
	for (int i = 0; i < 19; i++)
		assert_int_equal(delta_decode("model", 5, "\x00\x05\x00", 3, &out), 0);
	assert_int_equal(out.len, 95);
	assert_int_equal(delta_decode("model", 5, "\x01x\x05\x00", 4, &out), -22); /* more than the buffer may hold */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(like_texts_take_little),
		cmocka_unit_test(any_text_comes_back),
		cmocka_unit_test(long_models_do),
		cmocka_unit_test(what_is_no_delta_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
