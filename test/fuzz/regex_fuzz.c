/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern, a line end, a subject. */
#include "common/base/regex.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	const uint8_t *end = memchr(data, '\n', size);
	if (!end || size > 2000)
		return 0;
	autofree char *pattern = xstrndup((const char *)data, (size_t)(end - data)), *why = NULL;
	struct regex *regex = regex_new(pattern, &why);
	if (!regex != (why != NULL))
		abort();
	if (regex)
		regex_search(regex, (const char *)end + 1, size - (size_t)(end + 1 - data));
	regex_free(regex);
	return 0;
}
