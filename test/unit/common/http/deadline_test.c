/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that dawdle, with time moved by hand. */
#include "common/base/clock.h"
#include "common/http/http.h"

#include "peer.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

static _Atomic(struct http_request *) parked;
static struct http_server *server;

static void handler(struct http_request *req, void *arg)
{
	if (!strcmp(http_path(req), "/park"))
		atomic_store(&parked, req);
	else
		http_respond(req, 200, "text/plain", "ok", 2);
}

static struct peer dial(const char *text)
{
	struct peer_options plain = {0};
	struct peer peer = peer_connect(http_server_port(server), &plain);
	peer_say(&peer, text);
	return peer;
}

static void expect_ok(struct peer *peer)
{
	struct answer a;
	assert_true(peer_answer(peer, &a, false));
	assert_int_equal(a.status, 200);
	free(a.body);
}

/* Wakes the I/O thread, and returns once it has been round. */
static void poke(void)
{
	for (int i = 0; i < 2; i++) {
		struct peer peer = dial("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		expect_ok(&peer);
		peer_close(&peer);
	}
}

static bool is_closed(struct peer *peer)
{
	char c;
	ssize_t n = recv(peer->fd, &c, 1, MSG_DONTWAIT);
	return n == 0 || (n < 0 && errno == ECONNRESET);
}

static void pass(int seconds)
{
	clock_advance_test(seconds * NSEC_PER_SEC);
	poke();
}

static void test_dawdlers(void **state)
{
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.bind_address = "127.0.0.1";
	options.threads = 1;
	options.handler = handler;
	assert_int_equal(http_server_start(&options, &server, NULL), 0);
	struct peer head = dial("GET / HTTP/1.1\r\nX-Slow"), body = dial("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc");
	struct peer waiting = dial("GET /park HTTP/1.1\r\nHost: x\r\n\r\n"), idle = dial("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), silent = dial("");
	expect_ok(&idle);
	poke();
	pass(10);
	peer_say(&head, "er"); /* a byte now and then buys no time */
	poke();
	assert_false(is_closed(&head));
	pass(23);
	assert_true(is_closed(&head));
	assert_false(is_closed(&body) || is_closed(&waiting) || is_closed(&idle) || is_closed(&silent));
	pass(31);
	assert_true(is_closed(&body));
	assert_false(is_closed(&waiting) || is_closed(&idle));
	pass(60);
	assert_true(is_closed(&idle) && is_closed(&silent));
	pass(3600);
	assert_false(is_closed(&waiting));
	http_respond(atomic_load(&parked), 200, "text/plain", "at last", 7);
	expect_ok(&waiting);
	peer_close(&head);
	peer_close(&body);
	peer_close(&waiting);
	peer_close(&idle);
	peer_close(&silent);
	http_server_stop(server, 100);
}

int main(void)
{
	clock_set_test((struct wall_time){.sec = 1700000000});
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_dawdlers)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
