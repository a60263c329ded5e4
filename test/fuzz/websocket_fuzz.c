/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a WebSocket client, and Kubernetes' channels in them. The first byte chooses the channel protocol. */
#include "common/http/channels.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fds[2];
	if (!size || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
		return 0;
	const struct channel_protocol *protocol = channel_protocol_find(channel_remote_command_names[data[0] % 6]);
	struct websocket_options options = {.max_message = 1 << 16, .max_queued = 1 << 16, .extra = data + 1, .extra_len = size - 1};
	struct websocket *ws = websocket_new(fds[0], &options);
	shutdown(fds[1], SHUT_WR);
	autobuf struct buf scratch = BUF_INIT(1 << 16);
	struct websocket_message message;
	while (websocket_receive(ws, &message) == 1) {
		unsigned channel, width, height;
		const uint8_t *payload;
		size_t len;
		if (channel_parse(protocol, &message, &scratch, &channel, &payload, &len) < 0)
			continue;
		if (channel == CHANNEL_RESIZE)
			channel_parse_resize(payload, len, &width, &height);
		else
			channel_send(ws, protocol, CHANNEL_STDOUT, payload, len);
	}
	websocket_free(ws);
	close(fds[1]);
	return 0;
}
