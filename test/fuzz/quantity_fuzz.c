/* SPDX-License-Identifier: Apache-2.0 */
/* Quantities: the canonical text means the same value. */
#include "common/api/scalar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct quantity q, again;
	char first[64];
	if (quantity_parse((const char *)data, size, &q) < 0)
		return 0;
	size_t len = quantity_format(&q, first);
	if (quantity_parse(first, len, &again) < 0)
		abort();
	/* The family of suffixes may not show in the text (448000 was 437.5Ki), the value does. */
	if (quantity_compare(&q, &again))
		abort();
	quantity_add(&again, &q);
	quantity_sub(&again, &q);
	quantity_value(&q);
	quantity_milli_value(&q);
	return 0;
}
