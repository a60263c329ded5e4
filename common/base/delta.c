/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A delta is steps: how many new bytes, those bytes, how many bytes of the model follow, and where they stand, as the distance from where they would be
 * if all went on as before: mostly 0. The last step may end after its new bytes. Numbers are base 128.
 */
#include "common/base/delta.h"

#include "common/base/cursor.h"

#include <errno.h>

#define SLOT_BITS 10
#define SEED 4      /* so many bytes alike are worth a look */
#define WORTH 6     /* so many alike are worth a step */

/* Where the model has four bytes, by their hash; the position plus one, 0: nowhere. The last of several wins. */
struct seeds {
	uint16_t at[1 << SLOT_BITS];
};

static uint32_t slot_of(const uint8_t *p)
{
	uint32_t four;
	memcpy(&four, p, sizeof(four));
	return four * 2654435761u >> (32 - SLOT_BITS);
}

static void find_seeds(struct seeds *seeds, const uint8_t *model, size_t len)
{
	memset(seeds, 0, sizeof(*seeds));
	for (size_t i = 0; i + SEED <= len; i++)
		seeds->at[slot_of(model + i)] = (uint16_t)(i + 1);
}

static size_t common_length(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	size_t most = min_of(a_len, b_len), n = 0;
	while (n < most && a[n] == b[n])
		n++;
	return n;
}

static void append_number(struct buf *out, uint64_t number)
{
	for (; number >= 0x80; number >>= 7)
		buf_append_char(out, (char)(number | 0x80));
	buf_append_char(out, (char)number);
}

void delta_encode(const void *model_data, size_t model_len, const void *text_data, size_t len, struct buf *out)
{
	const uint8_t *model = model_data, *text = text_data;
	struct seeds seeds;
	model_len = min_of(model_len, (size_t)DELTA_MODEL_MAX - 1);
	find_seeds(&seeds, model, model_len);
	/* New bytes begin at `begun`; `expected` is where in the model they would stand if all went on as before. */
	size_t begun = 0, expected = 0;
	for (size_t at = 0; at < len;) {
		size_t aligned = expected + (at - begun), from = aligned, same = 0;
		if (aligned < model_len)
			same = common_length(model + aligned, model_len - aligned, text + at, len - at);
		if (same < WORTH && at + SEED <= len) {
			size_t seed = seeds.at[slot_of(text + at)];
			size_t found = seed ? common_length(model + seed - 1, model_len - seed + 1, text + at, len - at) : 0;
			if (found > same) {
				same = found;
				from = seed - 1;
			}
		}
		if (same < WORTH && !(same && at + same == len)) {
			at++;
			continue;
		}
		int64_t distance = (int64_t)from - (int64_t)expected;
		append_number(out, at - begun);
		buf_append(out, text + begun, at - begun);
		append_number(out, same);
		append_number(out, (uint64_t)distance << 1 ^ (uint64_t)(distance >> 63));
		at += same;
		begun = at;
		expected = from + same;
	}
	if (begun < len) {
		append_number(out, len - begun);
		buf_append(out, text + begun, len - begun);
	}
}

int delta_decode(const void *model, size_t model_len, const void *delta, size_t len, struct buf *out)
{
	struct cursor c = cursor_of(delta, len);
	size_t expected = 0;
	while (cursor_left(&c) && !c.failed) {
		uint64_t fresh = cursor_varint(&c);
		const uint8_t *bytes = fresh <= cursor_left(&c) ? cursor_take(&c, (size_t)fresh) : NULL;
		if (c.failed || (fresh && !bytes))
			return -EINVAL;
		buf_append(out, bytes, (size_t)fresh);
		if (!cursor_left(&c))
			break;
		uint64_t same = cursor_varint(&c), zigzag = cursor_varint(&c);
		uint64_t from = expected + (zigzag >> 1 ^ -(zigzag & 1));
		if (c.failed || from > model_len || same > model_len - from)
			return -EINVAL;
		buf_append(out, (const uint8_t *)model + from, (size_t)same);
		expected = from + same;
		if (buf_failed(out))
			return -EINVAL;
	}
	return c.failed || buf_failed(out) ? -EINVAL : 0;
}
