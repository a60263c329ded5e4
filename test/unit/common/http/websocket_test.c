/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/channels.h"
#include "common/http/websocket.h"

#include "peer.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

static atomic_int opened_fd;
static const char *chosen;

static void on_open(int fd, const void *extra, size_t len, void *arg)
{
	assert_int_equal(len, 0);
	atomic_store(&opened_fd, fd);
}

static void handler(struct http_request *req, void *arg)
{
	chosen = websocket_choose(req, channel_remote_command_names);
	if (!chosen)
		http_respond(req, 403, NULL, NULL, 0);
	else
		websocket_upgrade(req, chosen, on_open, NULL);
}

static void test_handshake(void **state)
{
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.bind_address = "127.0.0.1";
	options.threads = 1;
	options.handler = handler;
	struct http_server *server;
	assert_int_equal(http_server_start(&options, &server, NULL), 0);
	static const struct {
		const char *headers;
		int status;
		const char *protocol;
	} rows[] = {
		{"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other, v4.channel.k8s.io\r\n", 101,
			"v4.channel.k8s.io"},
		{"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n", 101, "v5.channel.k8s.io"},
		{"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", 101, NULL},
		{"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other\r\n", 403, NULL},
		{"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 12\r\n", 400, NULL},
		{"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n", 400, NULL},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct peer_options plain = {0};
		struct peer peer = peer_connect(http_server_port(server), &plain);
		char text[1024];
		opened_fd = -2;
		snprintf(text, sizeof(text), "GET /exec HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", rows[i].headers);
		peer_say(&peer, text);
		struct answer a;
		assert_true(peer_answer(&peer, &a, false));
		assert_int_equal(a.status, rows[i].status);
		if (a.status == 101) {
			/* The example of RFC 6455, 1.3. */
			assert_string_equal(answer_header(&a, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
			const char *protocol = answer_header(&a, "Sec-WebSocket-Protocol");
			assert_true(str_equal(protocol, rows[i].protocol));
			for (int n = 0; n < 500 && opened_fd == -2; n++)
				usleep(1000);
			close(opened_fd);
		}
		free(a.body);
		peer_close(&peer);
	}
	http_server_stop(server, 100);
}

struct pair {
	struct websocket *server, *client;
};

static int setup(void **state)
{
	struct pair *pair = xnew(struct pair);
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
	struct websocket_options server = {.max_message = 1 << 20}, client = {.client = true, .max_queued = 4 << 20};
	pair->server = websocket_new(fds[0], &server);
	pair->client = websocket_new(fds[1], &client);
	*state = pair;
	return 0;
}

static int teardown(void **state)
{
	struct pair *pair = *state;
	websocket_free(pair->server);
	websocket_free(pair->client);
	free(pair);
	return 0;
}

/* Receives at `to`, letting `from` send on. */
static int receive(struct websocket *from, struct websocket *to, struct websocket_message *message)
{
	for (int i = 0; i < 10000; i++) {
		websocket_flush(from);
		int rc = websocket_receive(to, message);
		if (rc != -EAGAIN)
			return rc;
	}
	return -EAGAIN;
}

static void test_messages(void **state)
{
	struct pair *pair = *state;
	struct websocket_message message;
	assert_int_equal(websocket_receive(pair->server, &message), -EAGAIN);
	assert_int_equal(websocket_send(pair->client, WEBSOCKET_TEXT, NULL, 0, "hello", 5), 0);
	assert_int_equal(websocket_send(pair->client, WEBSOCKET_BINARY, "\x01", 1, "two", 3), 0);
	assert_int_equal(websocket_send(pair->client, WEBSOCKET_BINARY, NULL, 0, NULL, 0), 0);
	assert_int_equal(receive(pair->client, pair->server, &message), 1);
	assert_int_equal(message.opcode, WEBSOCKET_TEXT);
	assert_memory_equal(message.data, "hello", 5);
	assert_int_equal(receive(pair->client, pair->server, &message), 1);
	assert_int_equal(message.opcode, WEBSOCKET_BINARY);
	assert_memory_equal(message.data, "\x01two", 4);
	assert_int_equal(receive(pair->client, pair->server, &message), 1);
	assert_int_equal(message.len, 0);
	uint8_t *big = xmalloc(1 << 20);
	memset(big, 7, 1 << 20);
	assert_int_equal(websocket_send(pair->client, WEBSOCKET_BINARY, NULL, 0, big, 1 << 20), 0);
	assert_int_equal(receive(pair->client, pair->server, &message), 1);
	assert_int_equal(message.len, 1 << 20);
	assert_memory_equal(message.data, big, 1 << 20);
	free(big);
	websocket_ping(pair->client);
	assert_int_equal(receive(pair->client, pair->server, &message), -EAGAIN);
}

static void test_close(void **state)
{
	struct pair *pair = *state;
	struct websocket_message message;
	websocket_close(pair->client, WEBSOCKET_CLOSE_NORMAL, "done");
	assert_int_equal(receive(pair->client, pair->server, &message), -EPIPE);
	assert_int_equal(receive(pair->server, pair->client, &message), -EPIPE);
	assert_int_equal(websocket_send(pair->server, WEBSOCKET_TEXT, NULL, 0, "x", 1), -EPIPE);
}

/* A close does not overtake what the peer has yet to take. */
static void test_close_comes_last(void **state)
{
	struct pair *pair = *state;
	struct websocket_message message;
	uint8_t *block = xcalloc(1, 100000);
	int sent = 0;
	while (websocket_send(pair->server, WEBSOCKET_BINARY, NULL, 0, block, 100000) == 0)
		sent++;
	assert_true(websocket_queued(pair->server) > 0);
	websocket_close(pair->server, WEBSOCKET_CLOSE_NORMAL, "done");
	assert_int_equal(websocket_send(pair->server, WEBSOCKET_TEXT, NULL, 0, "x", 1), -EPIPE);
	assert_true(websocket_wants_write(pair->server));
	for (int i = 0; i < sent; i++) {
		assert_int_equal(receive(pair->server, pair->client, &message), 1);
		assert_int_equal(message.len, 100000);
	}
	assert_int_equal(receive(pair->server, pair->client, &message), -EPIPE);
	assert_int_equal(receive(pair->client, pair->server, &message), -EPIPE);
	free(block);
}

static void test_bounds(void **state)
{
	struct pair *pair = *state;
	struct websocket_message message;
	/* The peer does not read: the queue fills, and says so. */
	uint8_t *block = xcalloc(1, 100000);
	int rc, sent = 0;
	while ((rc = websocket_send(pair->server, WEBSOCKET_BINARY, NULL, 0, block, 100000)) == 0)
		sent++;
	assert_int_equal(rc, -EAGAIN);
	assert_in_range(sent, 10, 30);
	assert_true(websocket_wants_write(pair->server));
	for (int i = 0; i < sent; i++)
		assert_int_equal(receive(pair->server, pair->client, &message), 1);
	assert_int_equal(websocket_queued(pair->server), 0);
	free(block);
	uint8_t *big = xcalloc(1, (1 << 20) + 1);
	assert_int_equal(websocket_send(pair->client, WEBSOCKET_BINARY, NULL, 0, big, (1 << 20) + 1), 0);
	free(big);
	assert_int_equal(receive(pair->client, pair->server, &message), -EMSGSIZE);
}

static void test_garbage(void **state)
{
	struct pair *pair = *state;
	struct websocket_message message;
	/* An unmasked frame of a client is a mistake. */
	assert_int_equal(send(websocket_fd(pair->client), "\x81\x01x", 3, 0), 3);
	assert_int_equal(websocket_receive(pair->server, &message), -EPROTO);
}

static void test_vanished(void **state)
{
	struct pair *pair = *state;
	struct websocket_message message;
	shutdown(websocket_fd(pair->client), SHUT_RDWR);
	assert_int_equal(websocket_receive(pair->server, &message), -EPIPE);
	assert_int_equal(websocket_receive(pair->server, &message), -EPIPE);
}

static void test_channels(void **state)
{
	struct pair *pair = *state;
	for (const char *const *name = channel_remote_command_names; *name; name++) {
		const struct channel_protocol *protocol = channel_protocol_find(*name);
		assert_non_null(protocol);
		struct websocket_message message;
		autobuf struct buf scratch = BUF_INIT(1 << 20);
		unsigned channel;
		const uint8_t *data;
		size_t len;
		assert_int_equal(channel_send(pair->server, protocol, CHANNEL_STDOUT, "out\n", 4), 0);
		assert_int_equal(channel_send(pair->server, protocol, CHANNEL_STDERR, NULL, 0), 0);
		assert_int_equal(receive(pair->server, pair->client, &message), 1);
		assert_int_equal(message.opcode, protocol->base64 ? WEBSOCKET_TEXT : WEBSOCKET_BINARY);
		assert_int_equal(channel_parse(protocol, &message, &scratch, &channel, &data, &len), 0);
		assert_int_equal(channel, CHANNEL_STDOUT);
		assert_int_equal(len, 4);
		assert_memory_equal(data, "out\n", 4);
		assert_int_equal(receive(pair->server, pair->client, &message), 1);
		assert_int_equal(channel_parse(protocol, &message, &scratch, &channel, &data, &len), 0);
		assert_int_equal(channel, CHANNEL_STDERR);
		assert_int_equal(len, 0);
	}
	const struct channel_protocol *v5 = channel_protocol_find("v5.channel.k8s.io"), *v4 = channel_protocol_find("v4.channel.k8s.io");
	struct websocket_message close = {.opcode = WEBSOCKET_BINARY, .data = (const uint8_t *)"\xff\x00", .len = 2};
	unsigned channel, width, height;
	const uint8_t *data;
	size_t len;
	assert_int_equal(channel_parse(v5, &close, NULL, &channel, &data, &len), 0);
	assert_int_equal(channel, CHANNEL_CLOSE);
	assert_int_equal(data[0], CHANNEL_STDIN);
	assert_int_equal(channel_parse(v4, &close, NULL, &channel, &data, &len), -EPROTO);
	close.len = 0;
	assert_int_equal(channel_parse(v5, &close, NULL, &channel, &data, &len), -EPROTO);
	assert_int_equal(channel_parse_resize("{\"Width\":80,\"Height\":24}\n", 25, &width, &height), 0);
	assert_int_equal(width, 80);
	assert_int_equal(height, 24);
	assert_int_equal(channel_parse_resize("{\"Width\":99999999}", 18, &width, &height), -EPROTO);
	assert_int_equal(channel_parse_resize("nonsense", 8, &width, &height), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_handshake),
		cmocka_unit_test_setup_teardown(test_messages, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close, setup, teardown),
		cmocka_unit_test_setup_teardown(test_close_comes_last, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vanished, setup, teardown),
		cmocka_unit_test_setup_teardown(test_channels, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
