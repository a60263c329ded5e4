// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as etcd holds them: what the scanner takes, spliced, must be taken again and give the same labels. */
#include "apiserver/storage/scan.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t count_labels(const char *json, size_t len, const struct scan_object *object)
{
	struct scan_string key, value;
	const char *pos = object->labels;
	size_t count = 0;

	while (pos && scan_next_label(&pos, json + len, &key, &value)) {
		autofree char *out = xmalloc(max_of(key.len, value.len) + 1);
		scan_unescape(key, out);
		scan_unescape(value, out);
		count++;
	}
	return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scan_object object, again;

	/* A copy without a NUL behind it, so that reading too far is seen. */
	autofree char *json = size ? xmemdup(data, size) : xmalloc(1);
	if (scan_object(json, size, &object) < 0)
		return 0;
	size_t labels = count_labels(json, size, &object);
	autobytes struct bytes *bytes = scan_splice(json, &object, 123456);
	int r = scan_object(bytes->data, bytes->len, &again);
	assert(r == 0);
	assert(count_labels(bytes->data, bytes->len, &again) == labels);
	assert(strstr(bytes->data, "\"123456\"") || memchr(bytes->data, '\0', bytes->len));
	return 0;
}
