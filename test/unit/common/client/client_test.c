/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include "common/client/internal.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/eventfd.h>

#define POD "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"resourceVersion\":\"7\"},\"spec\":{\"containers\":[]}}"

struct script {
	_Atomic int calls;
	char seen[4096];
	char body[4096];
};

static const struct api_resource *pods(void)
{
	return api_resource_find("", "v1", "pods");
}

static void note(struct script *s, struct fake_request *req)
{
	snprintf(s->seen, sizeof(s->seen), "%s %.2000s", req->method, req->path);
	snprintf(s->body, sizeof(s->body), "%s", req->body);
}

static void answer_pod(struct fake_request *req, void *arg)
{
	note(arg, req);
	fake_respond(req, 200, NULL, POD);
}

static void test_typed_requests(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, answer_pod, &s);
	struct client *client = fake_client(server.port, 0);
	autoerror struct error err = {0};
	void *got;
	assert_int_equal(client_get(client, pods(), "ns", "p", &got, &err), 0);
	struct core_v1_pod *pod = got;
	assert_string_equal(s.seen, "GET /api/v1/namespaces/ns/pods/p");
	assert_string_equal(pod->metadata.name, "p");
	assert_int_equal(client_update(client, pods(), "ns", pod, "status", NULL, &err), 0);
	assert_string_equal(s.seen, "PUT /api/v1/namespaces/ns/pods/p/status");
	assert_non_null(strstr(s.body, "\"name\":\"p\""));
	api_unref(pod);
	struct client_delete_options options = CLIENT_DELETE_OPTIONS_INIT;
	options.uid = "u";
	options.grace_period_seconds = 0;
	options.propagation = "Foreground";
	assert_int_equal(client_delete(client, pods(), "ns", "p", &options, &err), 0);
	assert_string_equal(s.body, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":0,\"preconditions\":{\"uid\":\"u\"},\"propagationPolicy\":\"Foreground\"}");
	assert_int_equal(client_patch(client, pods(), "ns", "p", NULL, "application/merge-patch+json", "{}", NULL, &err), 0);
	assert_string_equal(s.seen, "PATCH /api/v1/namespaces/ns/pods/p");
	client_free(client);
	fake_server_stop(&server);
	assert_int_equal(atomic_load(&server.requests), 4);
	assert_int_equal(server.conn_count, 1); /* all on one connection */
}

static void refuse(struct fake_request *req, void *arg)
{
	fake_respond(req, 422, NULL, "{\"kind\":\"Status\",\"message\":\"bad\",\"reason\":\"Invalid\",\"code\":422,\"details\":{\"name\":\"p\",\"kind\":\"Pod\",\"causes\":[{\"reason\":\"FieldValueRequired\",\"message\":\"Required value\",\"field\":\"spec.containers\"}]}}");
}

static void test_a_status_becomes_an_error(void **state)
{
	struct fake_server server;
	fake_server_start(&server, refuse, NULL);
	struct client *client = fake_client(server.port, 0);
	autoerror struct error err = {0};
	assert_int_equal(client_get(client, pods(), "ns", "p", NULL, &err), -EINVAL);
	assert_int_equal(err.http_code, 422);
	assert_string_equal(err.reason, "Invalid");
	assert_string_equal(err.message, "bad");
	assert_string_equal(err.details_kind, "Pod");
	assert_int_equal(err.cause_count, 1);
	assert_string_equal(err.causes[0].field, "spec.containers");
	client_free(client);
	fake_server_stop(&server);
}

static void busy_once(struct fake_request *req, void *arg)
{
	struct script *s = arg;
	note(s, req);
	if (atomic_fetch_add(&s->calls, 1) == 0)
		fake_status(req, 429, "TooManyRequests", "slow down", "Retry-After: 1\r\n");
	else
		fake_respond(req, 200, NULL, POD);
}

static void test_429_with_retry_after_is_asked_again(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, busy_once, &s);
	struct client *client = fake_client(server.port, 0);
	assert_int_equal(client_delete(client, pods(), "ns", "p", NULL, NULL), 0);
	assert_int_equal(atomic_load(&s.calls), 2);
	client_free(client);
	fake_server_stop(&server);
}

static void always_429(struct fake_request *req, void *arg)
{
	atomic_fetch_add(&((struct script *)arg)->calls, 1);
	fake_status(req, 429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", NULL);
}

static void test_429_without_retry_after_is_an_answer(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, always_429, &s);
	struct client *client = fake_client(server.port, 0);
	autoerror struct error err = {0};
	assert_int_equal(client_delete(client, pods(), "ns", "p", NULL, &err), -EBUSY);
	assert_int_equal(atomic_load(&s.calls), 1);
	client_free(client);
	fake_server_stop(&server);
}

/* A port nobody listens on: bound, then let go. */
static uint16_t closed_port(void)
{
	struct fake_server server;
	fake_server_start(&server, refuse, NULL);
	uint16_t port = server.port;
	fake_server_stop(&server);
	return port;
}

static void test_failover_to_the_next_server(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, answer_pod, &s);
	struct client *client = fake_client(closed_port(), server.port);
	autoerror struct error err = {0};
	assert_int_equal(client_patch(client, pods(), "ns", "p", NULL, "application/merge-patch+json", "{}", NULL, &err), 0);
	assert_int_equal(client_get(client, pods(), "ns", "p", NULL, &err), 0);
	client_free(client);
	fake_server_stop(&server);
}

static void test_refused_connections_are_told(void **state)
{
	struct client *client = fake_client(closed_port(), 0);
	autoerror struct error err = {0};
	assert_int_equal(client_get(client, pods(), "ns", "p", NULL, &err), -ECONNREFUSED);
	assert_int_equal(err.http_code, 0);
	client_free(client);
}

static void drop_once(struct fake_request *req, void *arg)
{
	struct script *s = arg;
	if (atomic_fetch_add(&s->calls, 1) == 0)
		req->close = true;
	else
		fake_respond(req, 200, NULL, POD);
}

static void test_a_lost_read_is_asked_again(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, drop_once, &s);
	struct client *client = fake_client(server.port, 0);
	assert_int_equal(client_get(client, pods(), "ns", "p", NULL, NULL), 0);
	assert_int_equal(atomic_load(&s.calls), 2);
	client_free(client);
	fake_server_stop(&server);
}

static void test_a_lost_write_is_not(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, drop_once, &s);
	struct client *client = fake_client(server.port, 0);
	assert_int_equal(client_delete(client, pods(), "ns", "p", NULL, NULL), -ECONNRESET);
	assert_int_equal(atomic_load(&s.calls), 1);
	client_free(client);
	fake_server_stop(&server);
}

static void slow(struct fake_request *req, void *arg)
{
	fake_wait_closed(req);
}

static void test_a_slow_answer_times_out(void **state)
{
	struct fake_server server;
	fake_server_start(&server, slow, NULL);
	struct client *client = fake_client(server.port, 0);
	struct client_request request = {.method = "GET", .path = "/x", .timeout_ms = 100};
	assert_int_equal(client_do(client, &request, NULL, NULL, NULL), -ETIMEDOUT);
	client_free(client);
	fake_server_stop(&server);
}

static void two_events(struct fake_request *req, void *arg)
{
	note(arg, req);
	fake_chunked_start(req);
	fake_chunk(req, "{\"type\":\"ADDED\",\"obj");
	fake_chunk(req, "ect\":" POD "}\n{\"type\":\"MODIFIED\",\"object\":" POD "}\n");
	fake_wait_closed(req);
}

struct events {
	char log[256];
	int cancel_fd;
};

static bool on_event(const char *type, void *object, void *arg)
{
	struct events *events = arg;
	const struct core_v1_pod *pod = object;
	snprintf(events->log + strlen(events->log), sizeof(events->log) - strlen(events->log), "%s %s;", type, pod->metadata.name);
	if (strcmp(type, "MODIFIED") == 0 && events->cancel_fd >= 0)
		eventfd_write(events->cancel_fd, 1);
	return true;
}

static void test_a_watch_is_cancelled_by_its_fd(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, two_events, &s);
	struct client *client = fake_client(server.port, 0);
	struct events events = {.cancel_fd = eventfd(0, EFD_CLOEXEC)};
	struct client_list_options options = {.label_selector = "a=b,c", .resource_version = "5"};
	assert_int_equal(client_watch(client, pods(), "ns", &options, on_event, &events, events.cancel_fd, NULL), 0);
	assert_string_equal(events.log, "ADDED p;MODIFIED p;");
	assert_string_equal(s.seen, "GET /api/v1/namespaces/ns/pods?watch=true&allowWatchBookmarks=true&labelSelector=a%3Db%2Cc&resourceVersion=5");
	close(events.cancel_fd);
	client_free(client);
	fake_server_stop(&server);
}

static void gone_event(struct fake_request *req, void *arg)
{
	fake_chunked_start(req);
	fake_chunk(req, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"message\":\"too old resource version\",\"reason\":\"Expired\",\"code\":410}}\n");
	fake_chunked_end(req);
}

static void test_an_error_event_ends_a_watch(void **state)
{
	struct fake_server server;
	fake_server_start(&server, gone_event, NULL);
	struct client *client = fake_client(server.port, 0);
	struct events events = {.cancel_fd = -1};
	autoerror struct error err = {0};
	assert_int_equal(client_watch(client, pods(), NULL, NULL, on_event, &events, -1, &err), -ESTALE);
	assert_string_equal(err.reason, "Expired");
	client_free(client);
	fake_server_stop(&server);
}

static void warn(struct fake_request *req, void *arg)
{
	fake_respond(req, 200, "Warning: 299 - \"v1 Endpoints is \\\"deprecated\\\"\"\r\n", "{}");
}

static void keep_warning(const char *text, void *arg)
{
	snprintf(arg, 128, "%s", text);
}

static void test_warnings_are_passed_on(void **state)
{
	struct fake_server server;
	fake_server_start(&server, warn, NULL);
	char url[64], text[128] = "";
	char *urls[] = {url};
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", server.port);
	struct client_config config = {.on_warning = keep_warning, .warning_arg = text};
	config.servers.items = urls;
	config.servers.len = 1;
	struct client *client;
	assert_int_equal(client_new(&config, &client, NULL), 0);
	assert_int_equal(client_do(client, &(struct client_request){.method = "GET", .path = "/x"}, NULL, NULL, NULL), 0);
	assert_string_equal(text, "v1 Endpoints is \"deprecated\"");
	client_free(client);
	fake_server_stop(&server);
}

static void *many_gets(void *arg)
{
	for (int i = 0; i < 20; i++)
		if (client_get(arg, pods(), "ns", "p", NULL, NULL))
			return arg;
	return NULL;
}

static void answer_quietly(struct fake_request *req, void *arg)
{
	fake_respond(req, 200, NULL, POD);
}

static void test_threads_share_a_client(void **state)
{
	struct fake_server server;
	fake_server_start(&server, answer_quietly, NULL);
	struct client *client = fake_client(server.port, 0);
	pthread_t threads[6];
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, many_gets, client);
	for (int i = 0; i < 6; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	client_free(client);
	fake_server_stop(&server);
	assert_true(server.conn_count <= 6);
}

static void answer_and_keep_headers(struct fake_request *req, void *arg)
{
	struct script *s = arg;
	snprintf(s->seen, sizeof(s->seen), "%.4000s", req->headers);
	fake_respond(req, 200, NULL, POD);
}

/* Writes carry the fence that was last set, reads none; a token set later goes with what comes after. */
static void test_fence_and_token_change(void **state)
{
	struct script s = {0};
	struct fake_server server;
	fake_server_start(&server, answer_and_keep_headers, &s);
	struct client *client = fake_client(server.port, 0);
	autoerror struct error err = {0};
	client_set_token(client, "first");
	client_set_fence(client, "ns/lease/me");
	assert_int_equal(client_patch(client, pods(), "ns", "p", NULL, "application/merge-patch+json", "{}", NULL, &err), 0);
	assert_non_null(strstr(s.seen, "Coracle-Fence: ns/lease/me"));
	assert_non_null(strstr(s.seen, "Authorization: Bearer first"));
	client_set_token(client, "second");
	assert_int_equal(client_get(client, pods(), "ns", "p", NULL, &err), 0);
	assert_null(strstr(s.seen, "Coracle-Fence"));
	assert_non_null(strstr(s.seen, "Authorization: Bearer second"));
	client_set_fence(client, NULL);
	assert_int_equal(client_patch(client, pods(), "ns", "p", NULL, "application/merge-patch+json", "{}", NULL, &err), 0);
	assert_null(strstr(s.seen, "Coracle-Fence"));
	client_free(client);
	fake_server_stop(&server);
}

static void test_json_scan(void **state)
{
	const char *json = " {\"a\" : {\"type\":\"no\"}, \"s\\\"x\":1, \"type\":\"yes\", \"n\":-1.5e3,\"l\":[1, {\"x\":[]},\"]\"]}";
	struct json_slice slice, part;
	assert_int_equal(json_scan_member(json, strlen(json), "type", &slice), 0);
	autofree char *type = json_scan_string(&slice);
	assert_string_equal(type, "yes");
	assert_int_equal(json_scan_member(json, strlen(json), "none", &slice), 0);
	assert_null(slice.data);
	assert_int_equal(json_scan_member(json, strlen(json), "l", &slice), 0);
	size_t pos = 0;
	static const char *const want[] = {"1", "{\"x\":[]}", "\"]\""};
	for (int i = 0; i < 3; i++) {
		assert_int_equal(json_scan_next(slice.data, slice.len, &pos, &part), 1);
		assert_int_equal(part.len, strlen(want[i]));
		assert_memory_equal(part.data, want[i], part.len);
	}
	assert_int_equal(json_scan_next(slice.data, slice.len, &pos, &part), 0);
	assert_int_equal(json_scan_member("{\"a\":[1", 7, "b", &slice), -EINVAL);
	assert_int_equal(json_scan_member("[]", 2, "b", &slice), -EINVAL);
	pos = 0;
	assert_int_equal(json_scan_next("[]", 2, &pos, &part), 0);
}

static bool note_event(const char *type, const char *object, size_t len, void *arg, struct error *err)
{
	buf_printf(arg, "%s %.*s|", type, (int)len, object);
	return true;
}

/* However a server writes them. */
static void test_events_are_cut_apart(void **state)
{
	static const struct {
		const char *line, *event; /* NULL: refused */
	} rows[] = {
		{"{\"type\":\"ADDED\",\"object\":{\"a\":{}}}\n", "ADDED {\"a\":{}}|"},
		{"{\"type\":\"ADDED\",\"object\":{}} \r\n", "ADDED {}|"},
		{"{ \"type\": \"ADDED\", \"object\": {\"a\":1} }\n", "ADDED {\"a\":1}|"},
		{"{\"object\":{\"type\":\"x\"},\"type\":\"DELETED\"}\n", "DELETED {\"type\":\"x\"}|"},
		{"{\"type\":\"ADDED\"}\n", NULL},
		{"{\"type\":\"AD\\\"DED\",\"object\":{}}\n", NULL},
		{"{\"type\":\"ADDED\",\"object\":{\n", NULL},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf seen = BUF_INIT(4096);
		autoerror struct error err = {0};
		struct watch_frames frames;
		watch_frames_init(&frames, note_event, &seen, &err);
		bool kept = watch_frames_feed(rows[i].line, strlen(rows[i].line), &frames);
		watch_frames_done(&frames);
		assert_int_equal(kept, rows[i].event != NULL);
		assert_string_equal(seen.data ? seen.data : "", str_or(rows[i].event, ""));
	}
}

static void test_user_agents(void **state)
{
	autofree char *ours = client_user_agent("coracle-kubelet"), *other = client_user_agent("tool");
	assert_true(str_starts_with(ours, "kubelet/v1.36") && str_starts_with(other, "tool/"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_typed_requests),
		cmocka_unit_test(test_a_status_becomes_an_error),
		cmocka_unit_test(test_429_with_retry_after_is_asked_again),
		cmocka_unit_test(test_429_without_retry_after_is_an_answer),
		cmocka_unit_test(test_failover_to_the_next_server),
		cmocka_unit_test(test_refused_connections_are_told),
		cmocka_unit_test(test_a_lost_read_is_asked_again),
		cmocka_unit_test(test_a_lost_write_is_not),
		cmocka_unit_test(test_a_slow_answer_times_out),
		cmocka_unit_test(test_a_watch_is_cancelled_by_its_fd),
		cmocka_unit_test(test_an_error_event_ends_a_watch),
		cmocka_unit_test(test_warnings_are_passed_on),
		cmocka_unit_test(test_threads_share_a_client),
		cmocka_unit_test(test_fence_and_token_change),
		cmocka_unit_test(test_json_scan),
		cmocka_unit_test(test_events_are_cut_apart),
		cmocka_unit_test(test_user_agents),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
