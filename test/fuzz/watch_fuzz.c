/* SPDX-License-Identifier: Apache-2.0 */
/* The framing of watches, fed in pieces whose size the first byte chooses, and the scanner beneath it. */
#include "common/client/beat.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool on_event(const char *type, const char *object, size_t len, void *arg, struct error *err)
{
	struct json_slice slice, part;
	size_t pos = 0;
	if (json_scan_member(object, len, "items", &slice) == 0 && slice.data)
		while (json_scan_next(slice.data, slice.len, &pos, &part) == 1)
			;
	struct beat beat;
	/* A copy without a NUL behind it, so that reading too far is seen. */
	autofree char *copy = len ? xmemdup(object, len) : xmalloc(1);
	if (beat_read(copy, len, "spec", "renewTime", &beat))
		assert(beat.name.len && beat.name.len < len && beat.time.sec);
	return len % 7 != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	size_t piece = data[0] ? data[0] : 1;
	struct watch_frames frames;
	autoerror struct error err = {0};
	watch_frames_init(&frames, on_event, NULL, &err);
	for (size_t at = 1; at < size; at += piece)
		if (!watch_frames_feed((const char *)data + at, min_of(piece, size - at), &frames))
			break;
	watch_frames_done(&frames);
	return 0;
}
