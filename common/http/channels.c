/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/channels.h"

#include "common/base/random.h"

#include <errno.h>
#include <jansson.h>
#include <strings.h>

enum { RESIZE_MAX = 1024, MESSAGE_MAX = 64 << 20 };

static const struct channel_protocol protocols[] = {
	{.name = "v5.channel.k8s.io", .status = true, .half_close = true},
	{.name = "v4.channel.k8s.io", .status = true},
	{.name = "v4.base64.channel.k8s.io", .status = true, .base64 = true},
	{.name = "channel.k8s.io"},
	{.name = "base64.channel.k8s.io", .base64 = true},
	{.name = "binary.k8s.io"},
	{.name = "base64.binary.k8s.io", .base64 = true},
	{.name = ""},
};

const char *const channel_remote_command_names[] = {"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "channel.k8s.io", "base64.channel.k8s.io", "", NULL};
const char *const channel_port_forward_names[] = {"v4.channel.k8s.io", "v4.base64.channel.k8s.io", "", NULL};
const char *const channel_log_names[] = {"binary.k8s.io", "base64.binary.k8s.io", "", NULL};
const char *const channel_spdy_names[] = {"v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", NULL};

const struct channel_protocol *channel_protocol_find(const char *name)
{
	for (size_t i = 0; i < array_len(protocols); i++) {
		if (str_equal(protocols[i].name, name))
			return &protocols[i];
	}
	return NULL;
}

int channel_send(struct websocket *ws, const struct channel_protocol *protocol, unsigned channel, const void *data, size_t len)
{
	uint8_t head = (uint8_t)channel;
	if (!protocol->base64)
		return websocket_send(ws, WEBSOCKET_BINARY, &head, 1, data, len);
	autobuf struct buf text = BUF_INIT(MESSAGE_MAX);
	head = (uint8_t)('0' + channel);
	buf_append_base64(&text, data, len);
	return buf_failed(&text) ? -EMSGSIZE : websocket_send(ws, WEBSOCKET_TEXT, &head, 1, text.data, text.len);
}

int channel_parse(const struct channel_protocol *protocol, const struct websocket_message *message, struct buf *scratch, unsigned *ret_channel, const uint8_t **ret_data,
	size_t *ret_len)
{
	if (!message->len)
		return -EPROTO;
	unsigned channel = message->data[0];
	const uint8_t *data = message->data + 1;
	size_t len = message->len - 1;
	if (protocol->base64) {
		uint8_t *raw;
		if (channel < '0' || channel > '9' || base64_decode((const char *)data, len, len, &raw, &len) < 0)
			return -EPROTO;
		channel -= '0';
		buf_reset(scratch);
		buf_append(scratch, raw, len);
		free(raw);
		if (buf_failed(scratch))
			return -EPROTO;
		data = (const uint8_t *)(len ? scratch->data : "");
	}
	if (channel == CHANNEL_CLOSE && (!protocol->half_close || len != 1))
		return -EPROTO;
	*ret_channel = channel;
	*ret_data = data;
	*ret_len = len;
	return 0;
}

int channel_parse_resize(const void *data, size_t len, unsigned *ret_width, unsigned *ret_height)
{
	if (len > RESIZE_MAX)
		return -EPROTO;
	json_t *size = json_loadb(data, len, JSON_DISABLE_EOF_CHECK, NULL);
	json_int_t width = json_integer_value(json_object_get(size, "Width")), height = json_integer_value(json_object_get(size, "Height"));
	json_decref(size);
	if (width < 0 || width > UINT16_MAX || height < 0 || height > UINT16_MAX || !(width + height))
		return -EPROTO;
	*ret_width = (unsigned)width;
	*ret_height = (unsigned)height;
	return 0;
}

struct offers {
	const char *name;
	bool any, found;
};

static void look_for(const char *header, const char *value, void *arg)
{
	struct offers *offers = arg;
	if (strcasecmp(header, "X-Stream-Protocol-Version"))
		return;
	while (*(value += strspn(value, " \t,"))) {
		size_t len = strcspn(value, ", \t");
		offers->any = true;
		if (strlen(offers->name) == len && !strncmp(offers->name, value, len))
			offers->found = true;
		value += len;
	}
}

const char *channel_negotiate(const struct http_request *req, const char *const *supported)
{
	const char *last = NULL;
	bool any = false;
	for (; *supported; supported++) {
		struct offers offers = {.name = *supported};
		http_header_each(req, look_for, &offers);
		if (offers.found)
			return *supported;
		any = offers.any;
		last = *supported;
	}
	return any ? NULL : last;
}
