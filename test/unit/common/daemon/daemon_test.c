/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon/daemon.h"

#include "common/base/loop.h"
#include "common/base/metrics.h"
#include "../http/peer.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/un.h>
#include <cmocka.h>

struct options {
	struct daemon_options common;
};

static const struct flag flags[] = {DAEMON_FLAGS(struct options, common)};
static bool broken;

static bool check_disk(void *arg, struct error *err)
{
	if (*(bool *)arg)
		error_set(err, EIO, "disk is gone");
	return !*(bool *)arg;
}

static uint16_t free_port(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	getsockname(fd, (struct sockaddr *)&in, &len);
	close(fd);
	return ntohs(in.sin_port);
}

static void get(uint16_t port, bool tls, const char *path, int status, const char *body)
{
	struct peer_options options = {.tls = tls};
	struct peer peer = peer_connect(port, &options);
	char text[256];
	snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
	peer_say(&peer, text);
	struct answer a;
	assert_true(peer_answer(&peer, &a, false));
	assert_int_equal(a.status, status);
	if (body)
		assert_string_equal(a.body, body);
	free(a.body);
	peer_close(&peer);
}

static const struct config_row config_rows[] = {CONFIG_ROW("Log.Verbosity", "v"), CONFIG_ROW("Log.Format", "logging-format"), CONFIG_ROW("gone", "cert-dir"), CONFIG_ROW("all[].address", "bind-address"), CONFIG_ROW("none", "none")};
static const struct config_page config = {"tests", "tests.example/v1", "TestConfiguration", config_rows, array_len(config_rows)};
static const struct daemon_program program = {"tester", "Tests.", flags, array_len(flags), offsetof(struct options, common), &config, 0};

static void test_flags(void **state)
{
	struct options options = {0};
	struct daemon *daemon;
	char *bad[] = {(char *)"tester", (char *)"--logging-format=xml"}, *version[] = {(char *)"tester", (char *)"--version"};
	char *good[] = {(char *)"tester", (char *)"-v", (char *)"3", (char *)"--secure-port=0"};
	assert_int_equal(daemon_start(&program, 2, bad, &options, &daemon), 3);
	assert_int_equal(daemon_start(&program, 2, version, &options, &daemon), 1);
	char *no_tls[] = {(char *)"tester", (char *)"--tls-min-version=VersionTLS9", (char *)"--secure-port=10"};
	assert_true(daemon_start(&program, 3, no_tls, &options, &daemon) < 0);
	flags_done(flags, array_len(flags), &options);
	options = (struct options){0};
	assert_int_equal(daemon_start(&program, 4, good, &options, &daemon), 0);
	assert_int_equal(options.common.verbosity, 3);
	assert_int_equal(daemon_port(daemon), 0);
	daemon_free(daemon);
	flags_done(flags, array_len(flags), &options);
}

static void handle_more(struct http_request *req, void *arg)
{
	http_respond(req, 200, "text/plain", arg, strlen(arg));
}

static void serve(bool tls)
{
	struct daemon_program p = program;
	struct options options = {0};
	struct daemon *daemon;
	uint16_t chosen = free_port();
	p.default_port = chosen | (tls ? 0 : DAEMON_PLAIN);
	char *argv[] = {(char *)"tester", (char *)"--bind-address=127.0.0.1"};
	assert_int_equal(daemon_start(&p, 2, argv, &options, &daemon), 0);
	uint16_t port = daemon_port(daemon);
	assert_int_equal(port, chosen);
	broken = false;
	daemon_add_check(daemon, "disk", false, check_disk, &broken);
	get(port, tls, "/healthz", 200, "ok");
	get(port, tls, "/readyz", 500, "[+]ping ok\n[-]startup failed: reason withheld\n[+]disk ok\nreadyz check failed\n");
	daemon_ready(daemon);
	get(port, tls, "/readyz?verbose", 200, "[+]ping ok\n[+]startup ok\n[+]disk ok\nreadyz check passed\n");
	get(port, tls, "/livez/disk", 200, "ok");
	get(port, tls, "/healthz/none", 404, NULL);
	get(port, tls, "/healthzx", 404, NULL);
	get(port, tls, "/metrics", 200, NULL);
	get(port, tls, "/statusz", 200, NULL);
	get(port, tls, "/flagz", 200, NULL);
	get(port, tls, "/configz", 200, "{\"tests\":{\"kind\":\"TestConfiguration\",\"apiVersion\":\"tests.example/v1\",\"Log\":{\"Verbosity\":0,\"Format\":\"text\"},\"all\":[{\"address\":\"127.0.0.1\"}]}}");
	broken = true;
	get(port, tls, "/livez", 500, "[+]ping ok\n[-]disk failed: reason withheld\nlivez check failed\n");
	get(port, tls, "/livez?exclude=disk", 200, "ok");
	get(port, tls, "/livez?verbose&exclude=disk&exclude=none", 200,
		"[+]ping ok\n[+]disk excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"none\"\nlivez check passed\n");
	daemon_handle(daemon, handle_more, (void *)"more");
	get(port, tls, "/else", 200, "more");
	daemon_free(daemon);
	flags_done(flags, array_len(flags), &options);
}

static void test_serve_plain(void **state)
{
	serve(false);
}

static void test_serve_tls(void **state)
{
	serve(true);
}

/* What a page holds, in each form. */
static void test_pages(void **state)
{
	struct options options = {0};
	char *argv[] = {(char *)"tester", (char *)"-v=4", (char *)"--bind-address=::1"};
	static const char *const paths[] = {"/flagz", "/statusz"};
	static const struct {
		const char *accept;
		bool fits;
		enum zpage_form form;
	} rows[] = {
		{NULL, true, ZPAGE_TEXT}, {"*/*", true, ZPAGE_TEXT}, {"text/plain", true, ZPAGE_TEXT}, {"application/json", false, ZPAGE_TEXT}, {"application/json;v=v1beta1;g=config.k8s.io;as=Flagz", true, ZPAGE_BETA},
		{"application/json;v=v1alpha1;g=config.k8s.io;as=Flagz", true, ZPAGE_ALPHA}, {"application/json;v=v1beta1;g=config.k8s.io;as=Statusz", false, ZPAGE_TEXT},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		enum zpage_form form;
		assert_int_equal(zpage_negotiate(rows[i].accept, "Flagz", &form), rows[i].fits);
		if (rows[i].fits)
			assert_int_equal(form, rows[i].form);
	}
	assert_int_equal(flags_parse(flags, array_len(flags), 3, argv, &options, NULL, NULL), 0);
	autobuf struct buf text = BUF_INIT(1 << 20), json = BUF_INIT(1 << 20), status = BUF_INIT(1 << 20), told = BUF_INIT(1 << 20);
	zpage_flagz(&text, ZPAGE_TEXT, "kube-tester", flags, array_len(flags), &options);
	assert_non_null(strstr(text.data, "\nkube-tester flagz\n"));
	assert_non_null(strstr(text.data, "\nbind-address=::1\n"));
	assert_true(strstr(text.data, "\nbind-address=") < strstr(text.data, "\nv=4\n"));
	zpage_flagz(&json, ZPAGE_BETA, "kube-tester", flags, array_len(flags), &options);
	assert_non_null(strstr(json.data, "\"apiVersion\": \"config.k8s.io/v1beta1\""));
	assert_non_null(strstr(json.data, "\n    \"v\": \"4\""));
	zpage_statusz(&status, ZPAGE_TEXT, "kube-tester", (struct wall_time){0}, paths, array_len(paths));
	assert_non_null(strstr(status.data, "Started  Thu Jan  1 00:00:00 UTC 1970\n"));
	assert_non_null(strstr(status.data, "Paths  /flagz /statusz\n"));
	zpage_statusz(&told, ZPAGE_ALPHA, "kube-tester", (struct wall_time){0}, paths, array_len(paths));
	assert_non_null(strstr(told.data, "\"startTime\": \"1970-01-01T00:00:00Z\""));
	flags_done(flags, array_len(flags), &options);
}

static void expect_notify(int fd, const char *text)
{
	char got[64] = "";
	assert_true(recv(fd, got, sizeof(got) - 1, 0) > 0);
	assert_string_equal(got, text);
}

static int notify_fd;

static void *stopper(void *arg)
{
	expect_notify(notify_fd, "WATCHDOG=1");
	daemon_stop(arg, 7);
	return NULL;
}

static void test_signals_and_systemd(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int len = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "coracle-test-%d", getpid());
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)), 0);
	char name[160];
	snprintf(name, sizeof(name), "@%s", address.sun_path + 1);
	setenv("NOTIFY_SOCKET", name, 1);
	setenv("WATCHDOG_USEC", "20000", 1);
	struct options options = {0};
	struct daemon *daemon;
	char *argv[] = {(char *)"tester"};
	assert_int_equal(daemon_start(&program, 1, argv, &options, &daemon), 0);
	daemon_ready(daemon);
	expect_notify(fd, "READY=1");
	pthread_t thread;
	notify_fd = fd;
	pthread_create(&thread, NULL, stopper, daemon);
	daemon_wait(daemon);
	pthread_join(thread, NULL);
	assert_int_equal(daemon_exit_code(daemon), 7);
	char got[64];
	ssize_t n;
	do {
		n = recv(fd, got, sizeof(got), 0);
		assert_true(n > 0);
	} while (!memcmp(got, "WATCHDOG", 8));
	assert_memory_equal(got, "STOPPING=1", 10);
	daemon_free(daemon);
	/* The same by a signal. */
	assert_int_equal(daemon_start(&program, 1, argv, &options, &daemon), 0);
	kill(getpid(), SIGTERM);
	daemon_wait(daemon);
	assert_int_equal(daemon_exit_code(daemon), 0);
	daemon_free(daemon);
	flags_done(flags, array_len(flags), &options);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_serve_plain),
		cmocka_unit_test(test_serve_tls), cmocka_unit_test(test_pages),
		cmocka_unit_test(test_signals_and_systemd),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
