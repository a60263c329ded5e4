/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/expand.h"

size_t expand_variables(struct buf *out, const char *in, expand_lookup lookup, void *arg) {
	size_t unknown = 0;
	while (*in) {
		size_t plain = strcspn(in, "$");
		buf_append(out, in, plain);
		in += plain;
		if (!*in)
			break;
		const char *end = in[1] == '(' ? strchr(in + 2, ')') : NULL;
		if (end) {
			autofree char *name = xstrndup(in + 2, (size_t)(end - in - 2));
			const char *value = lookup(name, arg);
			if (value) {
				buf_append_str(out, value);
			} else {
				buf_append(out, in, (size_t)(end + 1 - in));
				unknown++;
			}
			in = end + 1;
			continue;
		}
		buf_append_char(out, '$');
		in += in[1] == '$' ? 2 : 1;
	}
	return unknown;
}
