/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kubernetes' channels over WebSockets (exec, attach, port-forward): the first byte of each message is the channel. And the names of
 * the protocols that go with SPDY.
 *
 * A server for exec and attach, once connected, writes an empty message to stdout, else stderr, else the error channel: clients wait
 * for it. At the end it writes one message to the error channel: a Status as JSON where `status` is set, also for success; else the text
 * of the error, and nothing for success.
 */
#ifndef CORACLE_HTTP_CHANNELS_H
#define CORACLE_HTTP_CHANNELS_H

#include "common/http/websocket.h"

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_CLOSE = 255 };

struct channel_protocol {
	const char *name;  /* of the subprotocol; "" where the client offered none */
	bool base64;       /* text messages: the channel as a digit, the rest in base64 */
	bool status;       /* the error channel carries a Status */
	bool half_close;   /* a message {255, channel} ends that channel */
};

/* For websocket_choose(): names for exec and attach, and for the older port-forward. */
extern const char *const channel_remote_command_names[];
extern const char *const channel_port_forward_names[];
/* "binary.k8s.io", "base64.binary.k8s.io", "": whole messages without channels, for logs. */
extern const char *const channel_log_names[];

#define CHANNEL_TUNNEL_PROTOCOL "SPDY/3.1+portforward.k8s.io" /* SPDY/3.1 inside binary messages, as kubectl port-forward speaks it */
#define CHANNEL_PORT_FORWARD_SPDY "portforward.k8s.io"        /* in X-Stream-Protocol-Version */
/* For X-Stream-Protocol-Version of exec and attach by SPDY: v4 down to v1. */
extern const char *const channel_spdy_names[];

/* The row of a chosen name; NULL where unknown. */
const struct channel_protocol *channel_protocol_find(const char *name);

/* As websocket_send. An empty piece is sent as well. */
int channel_send(struct websocket *ws, const struct channel_protocol *protocol, unsigned channel, const void *data, size_t len);
/*
 * Takes a message apart. *ret_channel is CHANNEL_CLOSE with one byte of data, the channel that ended, where half_close. Base64 is decoded in
 * place of the message's memory: *ret_data lies in `scratch`, which the caller owns. 0 or -EPROTO.
 */
int channel_parse(const struct channel_protocol *protocol, const struct websocket_message *message, struct buf *scratch, unsigned *ret_channel, const uint8_t **ret_data,
	size_t *ret_len);
/* {"Width":80,"Height":24} of the resize channel. 0 or -EPROTO. */
int channel_parse_resize(const void *data, size_t len, unsigned *ret_width, unsigned *ret_height);

/*
 * The SPDY protocol both sides speak: the first of `supported` (in the server's order) among the client's X-Stream-Protocol-Version headers. A
 * client that sends none means the last one of `supported`. NULL where there is none in common.
 */
const char *channel_negotiate(const struct http_request *req, const char *const *supported);

#endif
