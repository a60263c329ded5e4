/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon/daemon.h"

#include "../client/fake_server.h"
#include "../http/peer.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <cmocka.h>

struct options {
	struct daemon_options common;
};

static const struct flag flags[] = {DAEMON_FLAGS(struct options, common), DAEMON_GUARD_FLAGS(struct options, common.guard)};
static const struct daemon_program program = {"tester", "Tests.", flags, array_len(flags), offsetof(struct options, common), NULL, DAEMON_GUARDED};

/* What the API server was asked. */
static _Atomic int token_reviews, access_reviews;

/* The token "good" is anna's; she alone may, and only get what is not /statusz. */
static void play_api_server(struct fake_request *req, void *arg)
{
	if (strstr(req->path, "/tokenreviews")) {
		atomic_fetch_add(&token_reviews, 1);
		bool good = strstr(req->body, "\"token\":\"good\"");
		fake_respond(req, 201, NULL, good ? "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"authenticated\":true,\"user\":{\"username\":\"anna\",\"uid\":\"7\",\"groups\":[\"painters\"]}}}"
						  : "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"status\":{\"user\":{}}}");
		return;
	}
	atomic_fetch_add(&access_reviews, 1);
	bool may = strstr(req->body, "\"user\":\"anna\"") && strstr(req->body, "\"uid\":\"7\"") && strstr(req->body, "\"painters\"") && strstr(req->body, "\"verb\":\"get\"") && !strstr(req->body, "/statusz");
	fake_respond(req, 201, NULL, may ? "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":true}}"
					 : "{\"kind\":\"SubjectAccessReview\",\"apiVersion\":\"authorization.k8s.io/v1\",\"status\":{\"allowed\":false}}");
}

struct world {
	struct fake_server api;
	struct options options;
	struct daemon *daemon;
	uint16_t port;
};

static uint16_t free_port(void)
{
	struct fake_server server;
	fake_server_start(&server, play_api_server, NULL);
	fake_server_stop(&server);
	return server.port;
}

static void world_up(struct world *w, const char *flag)
{
	autofree char *port = xprintf("--secure-port=%u", free_port());
	char *argv[] = {(char *)"tester", (char *)"--bind-address=127.0.0.1", port, (char *)flag};
	*w = (struct world){0};
	token_reviews = access_reviews = 0;
	fake_server_start(&w->api, play_api_server, NULL);
	assert_int_equal(daemon_start(&program, flag ? 4 : 3, argv, &w->options, &w->daemon), 0);
	w->port = daemon_port(w->daemon);
}

static void open_door(struct world *w)
{
	char url[64], *urls[] = {url};
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", w->api.port);
	const struct client_config config = {.servers = {urls, 1}};
	assert_int_equal(daemon_guard(w->daemon, &config, NULL), 0);
}

static void world_down(struct world *w)
{
	daemon_free(w->daemon);
	flags_done(flags, array_len(flags), &w->options);
	fake_server_stop(&w->api);
}

static void ask(struct world *w, const char *method, const char *path, const char *token, int status, const char *part)
{
	struct peer peer = peer_connect(w->port, &(struct peer_options){.tls = true});
	autofree char *authorization = token ? xprintf("Authorization: Bearer %s\r\n", token) : xstrdup("");
	autofree char *text = xprintf("%s %s HTTP/1.1\r\nHost: x\r\n%s\r\n", method, path, authorization);
	peer_say(&peer, text);
	struct answer a;
	assert_true(peer_answer(&peer, &a, false));
	assert_int_equal(a.status, status);
	if (part)
		assert_non_null(strstr(a.body, part));
	free(a.body);
	peer_close(&peer);
}

static void test_who_may(void **state)
{
	struct world w;
	world_up(&w, NULL);
	ask(&w, "GET", "/metrics", "good", 503, NULL); /* nobody knows yet who may say */
	open_door(&w);
	ask(&w, "GET", "/healthz", NULL, 200, "ok");
	ask(&w, "GET", "/livez", NULL, 200, "ok");
	assert_int_equal(access_reviews, 0);
	ask(&w, "GET", "/metrics", "good", 200, "# HELP");
	ask(&w, "GET", "/metrics", NULL, 403, "\"message\":\"forbidden: User \\\"system:anonymous\\\" cannot get path \\\"/metrics\\\"\"");
	ask(&w, "GET", "/metrics", "bad", 401, "\"reason\":\"Unauthorized\"");
	ask(&w, "GET", "/statusz", "good", 403, "User \\\"anna\\\" cannot get path \\\"/statusz\\\"");
	ask(&w, "POST", "/metrics", "good", 403, "cannot post path");
	ask(&w, "GET", "/readyz/ping", NULL, 403, NULL);
	world_down(&w);
}

static void test_answers_are_kept(void **state)
{
	struct world w;
	world_up(&w, "--authorization-webhook-cache-authorized-ttl=1h");
	open_door(&w);
	for (int i = 0; i < 5; i++)
		ask(&w, "GET", "/metrics", "good", 200, NULL);
	assert_int_equal(token_reviews, 1);
	assert_int_equal(access_reviews, 1);
	world_down(&w);
}

static void test_open_paths(void **state)
{
	struct world w;
	world_up(&w, "--authorization-always-allow-paths=metrics,/live*");
	open_door(&w);
	ask(&w, "GET", "/metrics", NULL, 200, NULL);
	ask(&w, "GET", "/livez/ping", NULL, 200, NULL);
	ask(&w, "GET", "/healthz", NULL, 403, NULL);
	world_down(&w);
}

static void test_nobody_to_ask(void **state)
{
	struct world w;
	world_up(&w, NULL);
	open_door(&w);
	fake_server_stop(&w.api);
	ask(&w, "GET", "/metrics", "good", 401, NULL);
	ask(&w, "GET", "/metrics", NULL, 403, NULL);
	ask(&w, "GET", "/healthz", NULL, 200, NULL);
	daemon_free(w.daemon);
	flags_done(flags, array_len(flags), &w.options);
}

static void test_bad_kubeconfig(void **state)
{
	struct world w;
	world_up(&w, "--authentication-kubeconfig=/nonexistent/kubeconfig");
	const struct client_config config = {0};
	assert_true(daemon_guard(w.daemon, &config, NULL) < 0);
	ask(&w, "GET", "/metrics", "good", 503, NULL);
	world_down(&w);
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_who_may),
		cmocka_unit_test(test_answers_are_kept),
		cmocka_unit_test(test_open_paths),
		cmocka_unit_test(test_nobody_to_ask),
		cmocka_unit_test(test_bad_kubeconfig),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
