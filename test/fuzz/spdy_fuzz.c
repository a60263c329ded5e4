/* SPDX-License-Identifier: Apache-2.0 */
/* SPDY sessions: the first byte says in what steps the rest is fed. */
#include "common/http/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_stream(struct spdy_stream *stream, const struct spdy_header *headers, size_t count, void *arg)
{
	size_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += strlen(headers[i].name) + strlen(headers[i].value);
	if (sum % 7 == 3)
		spdy_reset(stream, SPDY_REFUSED_STREAM);
	else
		spdy_reply(stream, headers, count);
}

static void on_data(struct spdy_stream *stream, const void *data, size_t len, void *arg)
{
	if (len && *(const uint8_t *)data == 'r')
		spdy_reset(stream, SPDY_CANCEL);
	else if (len && *(const uint8_t *)data == 'e')
		spdy_end(stream);
	else
		spdy_send(stream, data, len);
}

static void on_end(struct spdy_stream *stream, void *arg)
{
	spdy_end(stream);
}

static void on_close(struct spdy_stream *stream, void *arg)
{
	(*(size_t *)arg)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct spdy_callbacks callbacks = {on_stream, on_data, on_end, on_close};
	if (!size)
		return 0;
	size_t closed = 0, step = (size_t)data[0] + 1;
	struct spdy *spdy = spdy_new(&callbacks, &closed);
	for (size_t at = 1; at < size; at += step) {
		if (spdy_feed(spdy, data + at, min_of(step, size - at)) < 0)
			break;
		buf_consume(spdy_output(spdy), spdy_output(spdy)->len);
	}
	spdy_free(spdy);
	return 0;
}
