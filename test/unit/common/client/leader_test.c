/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include "common/base/clock.h"
#include "common/client/events.h"
#include "common/client/event_correlator.h"
#include "common/client/leader.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* A server that keeps one Lease and minds resourceVersions. */
struct lease_server {
	pthread_mutex_t lock;
	json_t *lease;
	int version;
	_Atomic bool broken;
};

static void answer_lease(struct fake_request *req, json_t *lease)
{
	char *text = json_dumps(lease, JSON_COMPACT);
	fake_respond(req, 200, NULL, text);
	free(text);
}

static void serve_lease(struct fake_request *req, void *arg)
{
	struct lease_server *s = arg;
	if (atomic_load(&s->broken)) {
		fake_status(req, 500, "InternalError", "broken", NULL);
		return;
	}
	pthread_mutex_lock(&s->lock);
	bool is_write = strcmp(req->method, "GET") != 0;
	json_t *sent = is_write ? json_loads(req->body, 0, NULL) : NULL;
	json_t *sent_version = json_object_get(json_object_get(sent, "metadata"), "resourceVersion");
	char version[16];
	snprintf(version, sizeof(version), "%d", s->version);
	if (!is_write && !s->lease) {
		fake_status(req, 404, "NotFound", "no lease", NULL);
	} else if (!is_write) {
		answer_lease(req, s->lease);
	} else if (s->lease && (!sent_version || strcmp(json_string_value(sent_version), version))) {
		fake_status(req, 409, "Conflict", "changed", NULL);
	} else {
		snprintf(version, sizeof(version), "%d", ++s->version);
		json_object_set_new(json_object_get(sent, "metadata"), "resourceVersion", json_string(version));
		json_decref(s->lease);
		s->lease = json_incref(sent);
		answer_lease(req, s->lease);
	}
	json_decref(sent);
	pthread_mutex_unlock(&s->lock);
}

struct candidate {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int started, stopped;
};

static void on_started(void *arg)
{
	struct candidate *c = arg;
	pthread_mutex_lock(&c->lock);
	c->started++;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}
static void on_stopped(void *arg)
{
	struct candidate *c = arg;
	pthread_mutex_lock(&c->lock);
	c->stopped++;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
}
static void wait_for(struct candidate *c, const int *what)
{
	pthread_mutex_lock(&c->lock);
	while (!*what)
		pthread_cond_wait(&c->wake, &c->lock);
	pthread_mutex_unlock(&c->lock);
}

static struct leader *run_candidate(struct client *client, const char *identity, struct candidate *c)
{
	*c = (struct candidate){.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	return leader_start(client, &(struct leader_options){.ns = "kube-system", .name = "x", .identity = identity, .lease_duration_ns = NSEC_PER_SEC, .renew_deadline_ns = 600 * NSEC_PER_MSEC, .retry_period_ns = 50 * NSEC_PER_MSEC, .release_on_exit = true, .on_started = on_started, .on_stopped = on_stopped, .arg = c});
}

static void test_the_lease_is_handed_over(void **state)
{
	struct lease_server s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, serve_lease, &s);
	struct client *client = fake_client(server.port, 0);
	struct candidate a, b;
	struct leader *first = run_candidate(client, "a", &a);
	wait_for(&a, &a.started);
	assert_true(leader_is_leading(first));
	struct leader *second = run_candidate(client, "b", &b);
	assert_false(leader_is_leading(second));
	leader_stop(first);
	assert_int_equal(a.stopped, 1);
	wait_for(&b, &b.started);
	pthread_mutex_lock(&s.lock);
	json_t *spec = json_object_get(s.lease, "spec");
	assert_string_equal(json_string_value(json_object_get(spec, "holderIdentity")), "b");
	assert_int_equal(json_integer_value(json_object_get(spec, "leaseTransitions")), 1);
	pthread_mutex_unlock(&s.lock);
	leader_stop(second);
	client_free(client);
	fake_server_stop(&server);
	json_decref(s.lease);
}

static void test_a_leader_that_cannot_renew_steps_down(void **state)
{
	struct lease_server s = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, serve_lease, &s);
	struct client *client = fake_client(server.port, 0);
	struct candidate a;
	struct leader *leader = run_candidate(client, "a", &a);
	wait_for(&a, &a.started);
	atomic_store(&s.broken, true);
	wait_for(&a, &a.stopped);
	assert_false(leader_is_leading(leader));
	leader_stop(leader);
	client_free(client);
	fake_server_stop(&server);
	json_decref(s.lease);
}

static void test_events_are_correlated(void **state)
{
	struct event_correlator *c = event_correlator_new();
	struct event_facts facts = {.source = "s", .object = "o", .type = "Normal", .reason = "R", .message = "m"};
	struct event_seen *seen;
	assert_true(event_correlate(c, &facts, 100, &seen));
	assert_int_equal(seen->count, 1);
	assert_true(event_correlate(c, &facts, 101, &seen));
	assert_int_equal(seen->count, 2);
	assert_false(seen->aggregated);
	for (int i = 0; i < 9; i++) {
		char message[16];
		snprintf(message, sizeof(message), "m%d", i);
		facts.message = message;
		assert_true(event_correlate(c, &facts, 102, &seen));
	}
	assert_true(seen->aggregated);
	int passed = 0;
	for (int i = 0; i < 100; i++)
		passed += event_correlate(c, &facts, 103, &seen);
	assert_int_equal(passed, EVENT_SPAM_BURST - 11);
	assert_true(event_correlate(c, &facts, 103 + EVENT_SPAM_REFILL_S, &seen));
	event_correlator_free(c);
}

struct event_log {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	int creates, patches;
	char first[4096], patch[1024], patch_path[256];
};

static void serve_events(struct fake_request *req, void *arg)
{
	struct event_log *log = arg;
	pthread_mutex_lock(&log->lock);
	if (strcmp(req->method, "POST") == 0) {
		log->creates++;
		snprintf(log->first, sizeof(log->first), "%s", req->body);
	} else {
		log->patches++;
		snprintf(log->patch, sizeof(log->patch), "%s", req->body);
		snprintf(log->patch_path, sizeof(log->patch_path), "%.255s", req->path);
	}
	pthread_cond_signal(&log->wake);
	pthread_mutex_unlock(&log->lock);
	fake_respond(req, 201, NULL, req->body);
}

static void test_events_are_sent_once_and_counted(void **state)
{
	struct event_log log = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, serve_events, &log);
	struct client *client = fake_client(server.port, 0);
	struct event_recorder *recorder = event_recorder_new(client, "kubelet", "node-1");
	struct core_v1_pod *pod = api_new_of(core_v1_pod);
	pod->metadata.name = "p";
	pod->metadata.namespace = "ns";
	pod->metadata.uid = "u";
	event_record(recorder, pod, "spec.containers{app}", "Normal", "Started", "Started container %s", "app");
	event_record(recorder, pod, "spec.containers{app}", "Normal", "Started", "Started container %s", "app");
	api_unref(pod);
	pthread_mutex_lock(&log.lock);
	while (!log.patches)
		pthread_cond_wait(&log.wake, &log.lock);
	pthread_mutex_unlock(&log.lock);
	event_recorder_free(recorder);
	assert_int_equal(log.creates, 1);
	assert_int_equal(log.patches, 1);
	assert_non_null(strstr(log.first, "\"involvedObject\":{\"kind\":\"Pod\",\"namespace\":\"ns\",\"name\":\"p\",\"uid\":\"u\",\"apiVersion\":\"v1\",\"fieldPath\":\"spec.containers{app}\"}"));
	assert_non_null(strstr(log.first, "\"message\":\"Started container app\""));
	assert_non_null(strstr(log.first, "\"reportingComponent\":\"kubelet\""));
	assert_non_null(strstr(log.patch, "\"count\":2,"));
	assert_non_null(strstr(log.patch_path, "/api/v1/namespaces/ns/events/p."));
	client_free(client);
	fake_server_stop(&server);
}

static void test_reports_say_what_was_done_and_repeat_in_a_series(void **state)
{
	struct event_log log = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, serve_events, &log);
	struct client *client = fake_client(server.port, 0);
	struct event_recorder *recorder = event_recorder_new(client, "default-scheduler", "host-1");
	struct core_v1_pod *pod = api_new_of(core_v1_pod);
	pod->metadata.name = "p";
	pod->metadata.namespace = "ns";
	for (int i = 0; i < 2; i++)
		event_report(recorder, pod, "Normal", "Scheduled", "Binding", "Successfully assigned %s to %s", "ns/p", "n");
	api_unref(pod);
	pthread_mutex_lock(&log.lock);
	while (!log.patches)
		pthread_cond_wait(&log.wake, &log.lock);
	pthread_mutex_unlock(&log.lock);
	event_recorder_free(recorder);
	assert_int_equal(log.creates, 1);
	assert_non_null(strstr(log.first, "\"apiVersion\":\"events.k8s.io/v1\""));
	assert_non_null(strstr(log.first, "\"action\":\"Binding\""));
	assert_non_null(strstr(log.first, "\"note\":\"Successfully assigned ns/p to n\""));
	assert_non_null(strstr(log.first, "\"reportingController\":\"default-scheduler\",\"reportingInstance\":\"default-scheduler-host-1\""));
	assert_null(strstr(log.first, "\"eventTime\":null"));
	assert_null(strstr(log.first, "deprecatedCount"));
	assert_non_null(strstr(log.patch, "{\"series\":{\"count\":2,\"lastObservedTime\":\""));
	assert_non_null(strstr(log.patch_path, "/apis/events.k8s.io/v1/namespaces/ns/events/p."));
	client_free(client);
	fake_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_lease_is_handed_over),
		cmocka_unit_test(test_a_leader_that_cannot_renew_steps_down),
		cmocka_unit_test(test_events_are_correlated),
		cmocka_unit_test(test_events_are_sent_once_and_counted),
		cmocka_unit_test(test_reports_say_what_was_done_and_repeat_in_a_series),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
