/* SPDX-License-Identifier: Apache-2.0 */
/* Label selectors (first byte even) and field selectors. */
#include "common/api/selector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *value_of(const char *key, void *arg) {
	return *key == 'a' ? "x" : *key == 'b' ? "10" : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct selector *selector = NULL;
	autoerror struct error err = {0};
	if (!size)
		return 0;
	autofree char *text = xstrndup((const char *)data + 1, size - 1);
	int r = data[0] % 2 ? field_selector_parse(text, &selector, &err) : label_selector_parse(text, &selector, &err);
	if (r < 0)
		return 0;
	selector_matches(selector, value_of, NULL);
	selector_exact(selector, "a");
	selector_free(selector);
	return 0;
}
