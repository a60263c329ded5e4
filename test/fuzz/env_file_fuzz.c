// lib: kubelet
/* SPDX-License-Identifier: Apache-2.0 */
/* Environment files that containers write: a value found is part of the text, but for the ends of its lines. */
#include "kubelet/container/env_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	struct arena *arena = arena_new();
	const char *value = NULL;
	if (env_file_find((const char *)data, size, "K", arena, &value, NULL) == 0 && value && (!*value || strlen(value) > size))
		abort();
	arena_free(arena);
	return 0;
}
