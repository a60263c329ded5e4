/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/grpc/message.h"

#include <errno.h>

void grpc_frame(struct buf *out, const void *message, size_t len) {
	const uint8_t head[GRPC_FRAME] = {0, (uint8_t)(len >> 24), (uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len};
	buf_append(out, head, sizeof(head));
	if (len)
		buf_append(out, message, len);
}

int grpc_unframe(const void *data, size_t len, size_t *ret_message) {
	struct cursor c = cursor_of(data, len);
	uint8_t flag = cursor_u8(&c);
	uint32_t size = cursor_be32(&c);
	if (c.failed)
		return -EAGAIN;
	if (flag)
		return -ENOTSUP;
	if (size > GRPC_MAX_MESSAGE)
		return -EMSGSIZE;
	if (cursor_left(&c) < size)
		return -EAGAIN;
	*ret_message = size;
	return 0;
}
