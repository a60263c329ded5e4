/* SPDX-License-Identifier: Apache-2.0 */
/* The server as clients see it, plain and through TLS; past 800 lines because every test runs against the one handler and fixture. */
#include "common/base/base.h"
#include "common/http/http.h"

#include "peer.h"
#include "pki.h"

#include <pthread.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <cmocka.h>

static struct pki pki;

/* ---- a handler with a path for each thing to be seen ---- */

static struct http_request *parked; /* answered by the test */
static pthread_mutex_t parked_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t parked_cond = PTHREAD_COND_INITIALIZER;
static struct http_stream *stream;
static atomic_int streams_closed, pulls_done, data_freed, drains;

static void park(struct http_request *req, struct http_stream *started)
{
	pthread_mutex_lock(&parked_lock);
	parked = req;
	stream = started;
	pthread_cond_signal(&parked_cond);
	pthread_mutex_unlock(&parked_lock);
}

static struct http_request *wait_parked(void)
{
	pthread_mutex_lock(&parked_lock);
	while (!parked)
		pthread_cond_wait(&parked_cond, &parked_lock);
	struct http_request *req = take_ptr(parked);
	pthread_mutex_unlock(&parked_lock);
	return req;
}

static void wait_count(atomic_int *counter, int value)
{
	for (int i = 0; i < 1000 && atomic_load(counter) < value; i++)
		usleep(5000);
	assert_int_equal(atomic_load(counter), value);
}

static void *answer_later(void *arg)
{
	http_respond(arg, 200, "text/plain", "later", 5);
	return NULL;
}

/* Goes on some times, on its own thread and from others, before it answers. */
struct hops {
	struct http_request *req;
	int left;
};

static void hop(void *arg);

static void *hop_from_elsewhere(void *arg)
{
	http_continue(((struct hops *)arg)->req, hop, arg);
	return NULL;
}

static void hop(void *arg)
{
	struct hops *hops = arg;
	if (hops->left-- == 0) {
		http_respond(hops->req, 200, "text/plain", "later", 5);
		free(hops);
	} else if (hops->left % 2) {
		http_continue(hops->req, hop, hops);
	} else {
		pthread_t thread;
		pthread_create(&thread, NULL, hop_from_elsewhere, hops);
		pthread_detach(thread);
	}
}

static void count_up(void *arg)
{
	atomic_fetch_add((atomic_int *)arg, 1);
}

static int pull_next(void *arg, struct bytes **ret)
{
	int *left = arg;
	if (!*left)
		return 0;
	(*left)--;
	*ret = bytes_alloc(1000);
	memset((*ret)->data, 'p', 1000);
	return 1;
}

static void pull_done(void *arg)
{
	free(arg);
	atomic_fetch_add(&pulls_done, 1);
}

static void *echo(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char buf[65536];
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	ssize_t n;
	while ((n = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t at = 0; at < n;) {
			ssize_t w = send(fd, buf + at, (size_t)(n - at), MSG_NOSIGNAL);
			if (w < 0)
				n = at = -1;
			else
				at += w;
		}
	}
	/* What was read to the end is answered to the end: the half close came through. */
	if (n == 0)
		send(fd, "bye", 3, MSG_NOSIGNAL);
	close(fd);
	return NULL;
}

static void on_upgrade(int fd, const void *extra, size_t len, void *arg)
{
	if (fd < 0)
		return;
	if (len)
		assert_int_equal(send(fd, extra, len, MSG_NOSIGNAL), (ssize_t)len);
	pthread_t thread;
	pthread_create(&thread, NULL, echo, (void *)(intptr_t)fd);
	pthread_detach(thread);
}

static void list_param(const char *name, const char *value, void *arg)
{
	buf_printf(arg, "%s=%s;", name, value);
}

static void respond_parts(struct http_request *req, size_t count)
{
	struct bytes **parts = xcalloc(count, sizeof(*parts));
	for (size_t i = 0; i < count; i++) {
		parts[i] = bytes_alloc(1000);
		memset(parts[i]->data, 'a' + (int)(i % 26), 1000);
	}
	http_respond_bytes(req, 200, "application/json", parts, count);
	free(parts);
}

static void handler(struct http_request *req, void *arg)
{
	const char *path = http_path(req);
	http_set_data(req, &data_freed, count_up);
	if (!strcmp(path, "/hello")) {
		http_add_header(req, "X-Test", "yes");
		http_respond(req, 200, "text/plain", "hello", 5);
	} else if (!strcmp(path, "/echo")) {
		size_t len;
		const char *body = http_body(req, &len);
		http_respond(req, 200, str_or(http_header(req, "content-type"), "none"), body, len);
	} else if (!strcmp(path, "/later")) {
		pthread_t thread;
		pthread_create(&thread, NULL, answer_later, req);
		pthread_detach(thread);
	} else if (!strcmp(path, "/hops")) {
		struct hops *hops = xnew(struct hops);
		*hops = (struct hops){.req = req, .left = atoi(http_query(req, "n"))};
		hop(hops);
	} else if (!strcmp(path, "/park")) {
		park(req, NULL);
	} else if (!strcmp(path, "/query")) {
		autobuf struct buf text = BUF_INIT(4096);
		http_query_each(req, list_param, &text);
		buf_printf(&text, "first a=%s none=%s", http_query(req, "a"), http_query(req, "none") ? "set" : "unset");
		http_respond(req, 200, "text/plain", text.data, text.len);
	} else if (!strcmp(path, "/parts")) {
		respond_parts(req, (size_t)atoi(http_query(req, "n")));
	} else if (!strcmp(path, "/pull")) {
		int *left = xnew(int);
		*left = atoi(http_query(req, "n"));
		http_respond_pull(req, 200, "text/plain", http_query(req, "sized") ? *left * 1000 : -1, pull_next, pull_done, left);
	} else if (!strcmp(path, "/watch")) {
		struct http_stream *s = http_stream_start(req, 200, "application/json", 1 << 20, count_up, &streams_closed);
		http_stream_on_drain(s, count_up, &drains);
		park((void *)s, s);
	} else if (!strcmp(path, "/upgrade")) {
		http_upgrade(req, "echo", on_upgrade, NULL);
	} else if (!strcmp(path, "/not-modified")) {
		http_add_header(req, "ETag", "\"x\"");
		http_respond(req, 304, "text/plain", "", 0);
	} else if (!strcmp(path, "/odd-header")) {
		http_add_header(req, "X-Split", "a\r\nX-Injected: b");
		http_add_header(req, "X-Empty", "");
		http_add_header(req, "X-Twice", "a");
		http_add_header(req, "X-Twice", "b");
		http_respond(req, 418, "text/plain", "odd", 3);
	} else if (!strcmp(path, "/none")) {
		http_respond(req, 204, NULL, NULL, 0);
	} else {
		http_respond(req, 404, "text/plain", path, strlen(path));
	}
}

struct fixture {
	struct http_server *server;
	struct peer_options peer;
	uint16_t port;
};

static int setup(void **state, bool tls, size_t memory_limit)
{
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.bind_address = "127.0.0.1";
	options.threads = 2;
	options.tls = tls;
	options.cert_file = pki.cert;
	options.key_file = pki.key;
	options.client_ca_file = pki.ca;
	options.memory_limit = memory_limit;
	options.handler = handler;
	struct fixture *f = xnew(struct fixture);
	autoerror struct error err = {0};
	assert_int_equal(http_server_start(&options, &f->server, &err), 0);
	f->port = http_server_port(f->server);
	f->peer.tls = tls;
	streams_closed = pulls_done = data_freed = drains = 0;
	parked = NULL;
	stream = NULL;
	*state = f;
	return 0;
}

static int setup_plain(void **state)
{
	return setup(state, false, 0);
}

static int setup_tls(void **state)
{
	return setup(state, true, 0);
}

static int setup_small(void **state)
{
	return setup(state, false, 64 << 10);
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	http_server_stop(f->server, 1000);
	free(f);
	return 0;
}

static void expect(struct peer *peer, int status, const char *body)
{
	struct answer a;
	assert_true(peer_answer(peer, &a, false));
	assert_int_equal(a.status, status);
	if (body)
		assert_string_equal(a.body ? a.body : "", body);
	free(a.body);
}

static void expect_end(struct peer *peer)
{
	char c;
	assert_int_equal(peer_recv(peer, &c, 1), 0);
}

static void test_basic(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	for (int i = 0; i < 3; i++) {
		peer_say(&peer, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
		struct answer a;
		assert_true(peer_answer(&peer, &a, false));
		assert_int_equal(a.status, 200);
		assert_string_equal(a.body, "hello");
		assert_string_equal(answer_header(&a, "X-Test"), "yes");
		assert_string_equal(answer_header(&a, "Content-Type"), "text/plain");
		free(a.body);
	}
	peer_say(&peer, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "later");
	peer_say(&peer, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 204, NULL);
	peer_say(&peer, "HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer a;
	assert_true(peer_answer(&peer, &a, true));
	assert_string_equal(answer_header(&a, "Content-Length"), "5");
	peer_say(&peer, "GET /a%2Fb%20c?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
	expect(&peer, 404, "/a%2Fb%20c");
	expect_end(&peer);
	peer_close(&peer);
	wait_count(&data_freed, 7);
}

static void test_http10(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /hello HTTP/1.0\r\n\r\n");
	expect(&peer, 200, "hello");
	expect_end(&peer);
	peer_close(&peer);
}

static void test_query(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /query?a=1%202&b&a=x+y&bad=%zz&c%3D=%26 HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "a=1 2;b=;a=x y;c==&;first a=1 2 none=unset");
	peer_close(&peer);
}

static void test_pipelining(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	autobuf struct buf all = BUF_INIT(1 << 20);
	for (int i = 0; i < 50; i++)
		buf_printf(&all, "GET /%s HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n%04d", i % 2 ? "later" : "hello", i);
	assert_true(peer_send(&peer, all.data, all.len));
	for (int i = 0; i < 50; i++) {
		char text[16];
		snprintf(text, sizeof(text), "%04d", i);
		expect(&peer, 200, i % 2 ? "later" : "hello");
		expect(&peer, 200, text);
	}
	peer_close(&peer);
}

/* Everything a connection gives until it closes, without what the time of day changes. */
static void read_all(struct peer *peer, struct buf *out)
{
	char buf[65536];
	ssize_t n;
	while ((n = peer_recv(peer, buf, sizeof(buf))) > 0)
		buf_append(out, buf, (size_t)n);
	char *date = out->data;
	while (date && (date = strstr(date, "\r\nDate: "))) {
		date += 8;
		memset(date, '*', strcspn(date, "\r"));
	}
}

/* A plain request and one that only libmicrohttpd takes, for a line folded that means nothing, are answered with the same bytes. */
static void test_same_answers(void **state)
{
	struct fixture *f = *state;
	static const char *const requests[] = {"GET /hello", "GET /none", "GET /what?x", "GET /later", "DELETE /query?a=1", "GET /parts?n=0", "GET /parts?n=40", "GET /parts?n=100",
		"GET /pull?n=5&sized=1", "GET /pull?n=0", "GET /hops?n=0", "GET /hops?n=1", "GET /hops?n=5", "GET /not-modified", "GET /odd-header"};
	static const char end[] = "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
	for (size_t i = 0; i < array_len(requests); i++) {
		struct buf answers[2] = {BUF_INIT(1 << 24), BUF_INIT(1 << 24)};
		for (int odd = 0; odd < 2; odd++) {
			struct peer peer = peer_connect(f->port, &f->peer);
			char text[256];
			snprintf(text, sizeof(text), "%s HTTP/1.1\r\nHost: x\r\nX-A: b\r\n%s\r\n%s", requests[i], odd ? " c\r\n" : "", end);
			peer_say(&peer, text);
			read_all(&peer, &answers[odd]);
			peer_close(&peer);
		}
		assert_true(answers[0].len > 0);
		assert_string_equal(answers[0].data, answers[1].data);
		buf_done(&answers[0]);
		buf_done(&answers[1]);
	}
}

/* Requests cut anywhere, each byte a write of its own, and kinds that take turns on one connection. */
static void test_pieces(void **state)
{
	struct fixture *f = *state;
	static const char text[] = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabc\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
		"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /later HTTP/1.1\r\nHost: x\r\n\r\n";
	struct peer peer = peer_connect(f->port, &f->peer);
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		assert_true(peer_send(&peer, text + i, 1));
	expect(&peer, 200, "abc\r\n");
	expect(&peer, 200, "hello");
	expect(&peer, 200, "abc");
	expect(&peer, 200, "later");
	peer_close(&peer);
	for (size_t cut = 1; cut < sizeof(text) - 1; cut += 7) {
		peer = peer_connect(f->port, &f->peer);
		assert_true(peer_send(&peer, text, cut));
		assert_true(peer_send(&peer, text + cut, sizeof(text) - 1 - cut));
		expect(&peer, 200, "abc\r\n");
		expect(&peer, 200, "hello");
		expect(&peer, 200, "abc");
		expect(&peer, 200, "later");
		peer_close(&peer);
	}
}

/* A client that has said all it has to say still gets its answers; one that leaves in the middle of a word gets none. */
static void test_half_close(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /parts?n=300 HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /he");
	shutdown(peer.fd, SHUT_WR);
	expect(&peer, 200, "later");
	struct answer a;
	assert_true(peer_answer(&peer, &a, false));
	assert_int_equal(a.len, 300000);
	free(a.body);
	expect(&peer, 200, "hello");
	expect_end(&peer);
	peer_close(&peer);
}

/* A child between fork and exec holds copies of all descriptors: of a connection that we have closed nothing may be heard any more. */
static void test_closed_amid_fork(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	struct linger reset = {.l_onoff = 1};
	peer_say(&peer, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "hello");
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		close(peer.fd);
		for (;;)
			pause();
	}
	shutdown(peer.fd, SHUT_WR);
	for (int i = 0; i < 40; i++) {
		struct peer other = peer_connect(f->port, &f->peer);
		peer_say(&other, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
		expect(&other, 200, "hello");
		peer_close(&other);
		if (i == 20) {
			setsockopt(peer.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
			peer_close(&peer);
		}
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void post_body(struct peer *peer, size_t len, bool chunked, char *body)
{
	char head[256];
	for (size_t i = 0; i < len; i++)
		body[i] = (char)('a' + i % 23);
	if (chunked) {
		peer_say(peer, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
		for (size_t at = 0; at < len; at += 5000) {
			size_t n = min_of(len - at, (size_t)5000);
			snprintf(head, sizeof(head), "%zx\r\n", n);
			peer_say(peer, head);
			peer_send(peer, body + at, n);
			peer_say(peer, "\r\n");
		}
		peer_say(peer, "0\r\n\r\n");
	} else {
		snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", len);
		peer_say(peer, head);
		peer_send(peer, body, len);
	}
}

static void test_big_body(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	size_t len = 3 << 20;
	char *body = xmalloc(len);
	for (int chunked = 0; chunked < 2; chunked++) {
		post_body(&peer, len, chunked, body);
		struct answer a;
		assert_true(peer_answer(&peer, &a, false));
		assert_int_equal(a.status, 200);
		assert_int_equal(a.len, len);
		assert_memory_equal(a.body, body, len);
		free(a.body);
	}
	free(body);
	peer_close(&peer);
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	size_t len = (3 << 20) + 1;
	char *body = xmalloc(len);
	for (int chunked = 0; chunked < 2; chunked++) {
		struct peer peer = peer_connect(f->port, &f->peer);
		post_body(&peer, len, chunked, body);
		expect(&peer, 413, NULL);
		peer_close(&peer);
	}
	free(body);
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n");
	expect(&peer, 413, NULL);
	expect_end(&peer);
	peer_close(&peer);
}

static void test_expect_continue(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	expect(&peer, 100, NULL);
	peer_say(&peer, "abc");
	expect(&peer, 200, "abc");
	peer_close(&peer);
}

static void test_header_limit(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	autobuf struct buf text = BUF_INIT(4 << 20);
	/* Many names, one long value: all that a plain request takes. */
	buf_append_str(&text, "GET /hello HTTP/1.1\r\nHost: x\r\n");
	for (int i = 0; i < 900; i++)
		buf_printf(&text, "X-%d: y\r\n", i);
	buf_append_str(&text, "X-Long: ");
	for (int i = 0; i < 1000000; i++)
		buf_append_char(&text, 'x');
	size_t fits = text.len;
	buf_append_str(&text, "\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	peer_send(&peer, text.data, text.len);
	expect(&peer, 200, "hello");
	expect(&peer, 200, "hello");
	text.len = fits;
	for (int i = 0; i < 100000; i++)
		buf_append_char(&text, 'x');
	buf_append_str(&text, "\r\n\r\n");
	peer_send(&peer, text.data, text.len);
	expect(&peer, 431, NULL);
	peer_close(&peer);
}

/* What a proxy before this server might take for something else is turned down, and the connection with it. */
static void test_ambiguous(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *text;
		int status;
		const char *body;
	} rows[] = {
		{"GET /hello HTTP/1.1\r\n\r\n", 400, "400 Bad Request: missing required Host header"},
		{"GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "400 Bad Request"},
		{"GET /hello HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "400 Bad Request: malformed Host header"},
		{"GET /hello HTTP/1.1\r\nHost: a\r\nA B: c\r\n\r\n", 400, "400 Bad Request: invalid header name"},
		{"GET /hello HTTP/1.1\r\nHost: a\r\nA : c\r\n\r\n", 400, "400 Bad Request: invalid header name"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "400 Bad Request"},
		{"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "Unsupported transfer encoding"},
		{"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: magic\r\n\r\n", 417, ""},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct peer peer = peer_connect(f->port, &f->peer);
		peer_say(&peer, rows[i].text);
		expect(&peer, rows[i].status, rows[i].body);
		expect_end(&peer);
		peer_close(&peer);
	}
}

static void test_garbage(void **state)
{
	struct fixture *f = *state;
	static const char *const inputs[] = {"\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "GET / HTTP/9.9\r\n\r\n", "POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
		"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"};
	for (size_t i = 0; i < array_len(inputs); i++) {
		struct peer peer = peer_connect(f->port, &f->peer);
		peer_say(&peer, inputs[i]);
		shutdown(peer.fd, SHUT_WR);
		char buf[4096];
		while (peer_recv(&peer, buf, sizeof(buf)) > 0)
			;
		peer_close(&peer);
	}
	/* Not TLS at all, where TLS is spoken. */
	struct peer_options plain = {0};
	struct peer peer = peer_connect(f->port, &plain);
	peer_say(&peer, "\x01garbage garbage garbage\r\n\r\n");
	shutdown(peer.fd, SHUT_WR);
	char buf[4096];
	while (peer_recv(&peer, buf, sizeof(buf)) > 0)
		;
	peer_close(&peer);
	test_basic(state);
}

static void test_parts(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /parts?n=5000 HTTP/1.1\r\nHost: x\r\n\r\nGET /parts?n=1 HTTP/1.1\r\nHost: x\r\n\r\nGET /parts?n=0 HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer a;
	assert_true(peer_answer(&peer, &a, false));
	assert_int_equal(a.len, 5000 * 1000);
	for (size_t i = 0; i < a.len; i++) {
		if (a.body[i] != 'a' + (int)(i / 1000 % 26))
			fail_msg("byte %zu is wrong", i);
	}
	free(a.body);
	assert_true(peer_answer(&peer, &a, false));
	assert_int_equal(a.len, 1000);
	free(a.body);
	expect(&peer, 200, "");
	peer_close(&peer);
}

/* Of some lengths the last bytes are written when there is room again: what came behind the request, or its end, is not forgotten over that. */
static void test_answer_fills_socket(void **state)
{
	struct fixture *f = *state;
	for (int n = 60; n < 4000; n += 60) {
		struct peer peer = peer_connect(f->port, &f->peer);
		char text[256], c;
		snprintf(text, sizeof(text), "GET /parts?n=%d HTTP/1.1\r\nHost: x\r\n\r\nGET /parts?n=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", n);
		peer_say(&peer, text);
		/* Read only once no more comes. */
		for (int seen = -1, now = 0; seen != now; usleep(5000)) {
			seen = now;
			assert_int_equal(ioctl(peer.fd, FIONREAD, &now), 0);
		}
		for (int i = 0; i < 2; i++) {
			struct answer a;
			assert_true(peer_answer(&peer, &a, false));
			assert_int_equal(a.len, (i ? 1 : n) * 1000);
			free(a.body);
		}
		assert_int_equal(peer_recv(&peer, &c, 1), 0);
		peer_close(&peer);
	}
}

static void test_pull(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /pull?n=2000 HTTP/1.1\r\nHost: x\r\n\r\nGET /pull?n=2000&sized=1 HTTP/1.1\r\nHost: x\r\n\r\n");
	for (int i = 0; i < 2; i++) {
		struct answer a;
		assert_true(peer_answer(&peer, &a, false));
		assert_int_equal(a.len, 2000 * 1000);
		free(a.body);
	}
	wait_count(&pulls_done, 2);
	/* A client that leaves in the middle. */
	peer_say(&peer, "GET /pull?n=200000 HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer a;
	assert_true(peer_head(&peer, &a));
	peer_close(&peer);
	wait_count(&pulls_done, 3);
}

static void send_text(const char *text)
{
	autobytes struct bytes *bytes = bytes_new(text, strlen(text));
	assert_true(http_stream_send(stream, bytes));
}

static void test_stream(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	struct answer a = {0};
	assert_true(peer_head(&peer, &a));
	assert_string_equal(answer_header(&a, "Transfer-Encoding"), "chunked");
	assert_null(answer_header(&a, "Connection"));
	bool ok;
	for (int i = 0; i < 5; i++) {
		char text[32];
		snprintf(text, sizeof(text), "event %d\n", i);
		a.len = 0;
		send_text(text);
		assert_true(peer_chunk(&peer, &a, &ok));
		assert_string_equal(a.body, text);
	}
	send_text("last");
	http_stream_end(stream);
	assert_true(peer_chunk(&peer, &a, &ok));
	assert_false(peer_chunk(&peer, &a, &ok));
	assert_true(ok);
	wait_count(&streams_closed, 1);
	assert_true(atomic_load(&drains) >= 5);
	autobytes struct bytes *late = bytes_new("x", 1);
	assert_false(http_stream_send(stream, late));
	http_stream_unref(stream);
	free(a.body);
	peer_say(&peer, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "hello");
	peer_close(&peer);
}

static void read_stream(struct peer *peer, const char *text)
{
	struct answer a = {0};
	bool ok;
	assert_true(peer_head(peer, &a));
	a.len = 0;
	while (peer_chunk(peer, &a, &ok))
		;
	assert_true(ok);
	assert_string_equal(a.body ? a.body : "", text);
	free(a.body);
}

/* One connection, stream after stream; what is said behind a request for one, whole or in pieces, waits for its end. */
static void test_requests_behind_streams(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	for (int i = 0; i < 3; i++) {
		peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\nGET /later HTTP/1.1\r\nHost: x\r\n\r\nGET /he");
		wait_parked();
		peer_say(&peer, "llo HTTP/1.1\r\nHo");
		send_text("event");
		usleep(5000);
		http_stream_end(stream);
		http_stream_unref(stream);
		read_stream(&peer, "event");
		expect(&peer, 200, "later");
		peer_say(&peer, "st: x\r\n\r\n");
		expect(&peer, 200, "hello");
	}
	/* More than is kept: the stream is still told to its end, which is the connection's. */
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	char block[4096];
	memset(block, 'x', sizeof(block));
	for (int i = 0; i < 64; i++)
		assert_true(peer_send(&peer, block, sizeof(block)));
	send_text("one ");
	usleep(20000);
	send_text("two");
	http_stream_end(stream);
	http_stream_unref(stream);
	read_stream(&peer, "one two");
	expect_end(&peer);
	peer_close(&peer);
	wait_count(&streams_closed, 4);
}

/* A server on its way out takes nothing more on a connection whose stream has come to its end. */
static void test_stream_ends_while_draining(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	struct answer a = {0};
	bool ok;
	assert_true(peer_head(&peer, &a));
	http_server_drain(f->server);
	send_text("last");
	http_stream_end(stream);
	http_stream_unref(stream);
	while (peer_chunk(&peer, &a, &ok))
		;
	assert_true(ok);
	expect_end(&peer);
	free(a.body);
	peer_close(&peer);
}

/* All that was sent comes, but no end of it. */
static void test_torn_stream(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	autobytes struct bytes *large = bytes_alloc(600000);
	memset(large->data, 'x', large->len);
	assert_true(http_stream_send(stream, large));
	http_stream_tear(stream);
	struct answer a = {0};
	char c;
	bool ok;
	size_t got = 0;
	assert_true(peer_head(&peer, &a));
	for (a.len = 0; got < large->len; got += a.len, a.len = 0)
		assert_true(peer_chunk(&peer, &a, &ok));
	assert_int_equal(got, large->len);
	assert_true(peer_recv(&peer, &c, 1) <= 0);
	wait_count(&streams_closed, 1);
	http_stream_unref(stream);
	free(a.body);
	peer_close(&peer);
}

static void test_stream_old_and_head(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.0\r\n\r\n");
	wait_parked();
	send_text("one ");
	send_text("two");
	http_stream_end(stream);
	http_stream_unref(stream);
	expect(&peer, 200, "one two");
	peer_close(&peer);
	peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "HEAD /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	struct answer a;
	assert_true(peer_answer(&peer, &a, true));
	expect_end(&peer);
	wait_count(&streams_closed, 2);
	http_stream_unref(stream);
	peer_close(&peer);
}

static void test_stream_client_leaves(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	struct answer a;
	assert_true(peer_head(&peer, &a));
	peer_close(&peer);
	wait_count(&streams_closed, 1);
	http_stream_unref(stream);
}

static void test_stream_slow_reader(void **state)
{
	struct fixture *f = *state;
	struct peer_options options = f->peer;
	options.rcvbuf = 4096;
	struct peer peer = peer_connect(f->port, &options);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	autobytes struct bytes *bytes = bytes_alloc(100000);
	memset(bytes->data, 'x', 100000);
	int sent = 0;
	while (sent < 1000 && http_stream_send(stream, bytes)) {
		assert_true(http_stream_queued(stream) <= 1 << 20);
		sent++;
		usleep(500);
	}
	assert_in_range(sent, 5, 999);
	wait_count(&streams_closed, 1);
	http_stream_unref(stream);
	peer_close(&peer);
}

static void test_stream_big_burst(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	/* One piece above the bound passes an empty queue, and is cut into chunks. */
	autobytes struct bytes *big = bytes_alloc(5 << 20);
	for (size_t i = 0; i < big->len; i++)
		big->data[i] = (char)(i % 251);
	assert_true(http_stream_send(stream, big));
	http_stream_end(stream);
	http_stream_unref(stream);
	struct answer a;
	assert_true(peer_answer(&peer, &a, false));
	assert_int_equal(a.len, big->len);
	assert_memory_equal(a.body, big->data, a.len);
	free(a.body);
	peer_close(&peer);
}

static void *pump_echo(void *arg)
{
	struct peer *peer = arg;
	static char block[65536];
	for (int i = 0; i < 320; i++)
		assert_true(peer_send(peer, block, sizeof(block)));
	if (peer->tls)
		gnutls_bye(peer->tls, GNUTLS_SHUT_WR);
	shutdown(peer->fd, SHUT_WR);
	return NULL;
}

static void test_upgrade(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	/* Bytes sent before the answer are not lost. */
	peer_say(&peer, "GET /upgrade HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly");
	struct answer a;
	assert_true(peer_head(&peer, &a));
	assert_int_equal(a.status, 101);
	assert_string_equal(answer_header(&a, "Upgrade"), "echo");
	char early[5];
	assert_true(peer_exact(&peer, early, 5));
	assert_memory_equal(early, "early", 5);
	pthread_t thread;
	pthread_create(&thread, NULL, pump_echo, &peer);
	static char buf[65536];
	size_t total = 0;
	ssize_t n;
	char tail[3] = "";
	while ((n = peer_recv(&peer, buf, sizeof(buf))) > 0) {
		total += (size_t)n;
		if (n >= 3)
			memcpy(tail, buf + n - 3, 3);
	}
	pthread_join(thread, NULL);
	assert_int_equal(n, 0);
	assert_int_equal(total, 320 * 65536 + 3);
	assert_memory_equal(tail, "bye", 3);
	peer_close(&peer);
	peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /upgrade HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
	expect(&peer, 400, NULL);
	peer_close(&peer);
}

static void test_client_leaves_while_parked(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
	struct http_request *req = wait_parked();
	peer_close(&peer);
	usleep(20000);
	assert_null(http_header(req, "X-None"));
	http_respond(req, 200, "text/plain", "nobody", 6);
	wait_count(&data_freed, 1);
}

static void test_memory_limit(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	char *body = xmalloc(100000);
	post_body(&peer, 100000, false, body);
	expect(&peer, 503, NULL);
	post_body(&peer, 50000, false, body);
	expect(&peer, 200, NULL);
	post_body(&peer, 50000, false, body);
	expect(&peer, 200, NULL);
	free(body);
	peer_close(&peer);
}

static void *stop(void *arg)
{
	http_server_stop(arg, 3000);
	return NULL;
}

/* A request under way is answered, one that never ends is cut, and its late answer does no harm. */
static void test_stop(void **state)
{
	struct fixture *f = *state;
	struct peer parked_peer = peer_connect(f->port, &f->peer), watcher = peer_connect(f->port, &f->peer), idle = peer_connect(f->port, &f->peer);
	peer_say(&idle, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&idle, 200, "hello");
	peer_say(&watcher, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	struct http_stream *watch = stream;
	peer_say(&parked_peer, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
	struct http_request *req = wait_parked();
	pthread_t thread;
	pthread_create(&thread, NULL, stop, f->server);
	expect_end(&idle);
	http_respond(req, 200, "text/plain", "in time", 7);
	expect(&parked_peer, 200, "in time");
	pthread_join(thread, NULL);
	wait_count(&streams_closed, 1);
	http_stream_unref(watch);
	peer_close(&parked_peer);
	peer_close(&watcher);
	peer_close(&idle);
	bool tls = f->peer.tls;
	free(f);
	setup(state, tls, 0);
}

static void test_stop_hard(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
	struct http_request *req = wait_parked();
	bool tls = f->peer.tls;
	http_server_stop(f->server, 10);
	http_respond(req, 200, "text/plain", "too late", 8);
	peer_close(&peer);
	free(f);
	setup(state, tls, 0);
}

/* What goes on with a request after the server's end does so at once, and its answer goes nowhere. */
static void test_continue_after_stop(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /park HTTP/1.1\r\nHost: x\r\n\r\n");
	struct hops *hops = xnew(struct hops);
	*hops = (struct hops){.req = wait_parked(), .left = 2};
	bool tls = f->peer.tls;
	http_server_stop(f->server, 10);
	http_continue(hops->req, hop, hops);
	wait_count(&data_freed, 1);
	peer_close(&peer);
	free(f);
	setup(state, tls, 0);
}

/* Who feeds a stream may learn of the server's end late: what it says then goes nowhere, and nothing is kept for it. */
static void test_stop_before_stream_ends(void **state)
{
	struct fixture *f = *state;
	struct peer peer = peer_connect(f->port, &f->peer);
	peer_say(&peer, "GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
	wait_parked();
	struct answer a = {0};
	assert_true(peer_head(&peer, &a));
	bool ok, tls = f->peer.tls;
	send_text("one");
	assert_true(peer_chunk(&peer, &a, &ok));
	http_server_stop(f->server, 10);
	wait_count(&streams_closed, 1);
	autobytes struct bytes *late = bytes_new("x", 1);
	assert_false(http_stream_send(stream, late));
	http_stream_end(stream);
	http_stream_unref(stream);
	free(a.body);
	peer_close(&peer);
	free(f);
	setup(state, tls, 0);
}

/* Bodies that nobody reads hold a stopping server no longer than its grace. */
static void test_stop_while_bodies_flow(void **state)
{
	struct fixture *f = *state;
	struct peer_options options = f->peer;
	options.rcvbuf = 4096;
	struct peer peer = peer_connect(f->port, &options);
	for (int i = 0; i < 20; i++)
		peer_say(&peer, "GET /pull?n=20000 HTTP/1.1\r\nHost: x\r\n\r\nGET /parts?n=2000 HTTP/1.1\r\nHost: x\r\n\r\n");
	struct answer a;
	assert_true(peer_head(&peer, &a));
	bool tls = f->peer.tls;
	http_server_stop(f->server, 100);
	assert_true(atomic_load(&pulls_done) > 0);
	peer_close(&peer);
	free(f);
	setup(state, tls, 0);
}

static void *hammer(void *arg)
{
	struct fixture *f = arg;
	for (int c = 0; c < 5; c++) {
		struct peer peer = peer_connect(f->port, &f->peer);
		for (int i = 0; i < 40; i++) {
			static const char *const paths[] = {"/later", "/hello", "/hops?n=4", "/hello"};
			char text[64];
			snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i % 4]);
			peer_say(&peer, text);
			expect(&peer, 200, i % 2 ? "hello" : "later");
		}
		peer_close(&peer);
	}
	return NULL;
}

static void test_many_clients(void **state)
{
	pthread_t threads[8];
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_create(&threads[i], NULL, hammer, *state);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_join(threads[i], NULL);
}

#define BOTH(test) \
	{#test " plain", test, setup_plain, teardown, NULL}, {#test " tls", test, setup_tls, teardown, NULL}

int main(void)
{
	pki_make(&pki);
	const struct CMUnitTest tests[] = {
		BOTH(test_basic),
		BOTH(test_http10),
		BOTH(test_query),
		BOTH(test_pipelining),
		BOTH(test_same_answers),
		BOTH(test_pieces),
		BOTH(test_half_close),
		BOTH(test_closed_amid_fork),
		BOTH(test_big_body),
		BOTH(test_too_large),
		BOTH(test_expect_continue),
		BOTH(test_header_limit),
		BOTH(test_ambiguous),
		BOTH(test_garbage),
		BOTH(test_parts),
		{"test_answer_fills_socket", test_answer_fills_socket, setup_plain, teardown, NULL},
		BOTH(test_pull),
		BOTH(test_stream),
		BOTH(test_requests_behind_streams),
		BOTH(test_stream_ends_while_draining),
		BOTH(test_torn_stream),
		BOTH(test_stream_old_and_head),
		BOTH(test_stream_client_leaves),
		BOTH(test_stream_slow_reader),
		BOTH(test_stream_big_burst),
		BOTH(test_upgrade),
		BOTH(test_client_leaves_while_parked),
		BOTH(test_stop),
		BOTH(test_stop_hard),
		BOTH(test_continue_after_stop),
		BOTH(test_stop_before_stream_ends),
		BOTH(test_stop_while_bodies_flow),
		BOTH(test_many_clients),
		{"test_memory_limit", test_memory_limit, setup_small, teardown, NULL},
	};
	cmocka_set_test_filter(getenv("TEST"));
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	pki_remove(&pki);
	return rc;
}
