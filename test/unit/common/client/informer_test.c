/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include "common/client/informer.h"

#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define POD(name, rv) "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"resourceVersion\":\"" rv "\",\"managedFields\":[{\"manager\":\"m]\"}]},\"spec\":{\"nodeName\":\"node-" name "\",\"containers\":[]}}"
#define ITEM(name, rv) "{\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"resourceVersion\":\"" rv "\"},\"spec\":{\"containers\":[]}}"
#define EVENT(type, object) "{\"type\":\"" type "\",\"object\":" object "}\n"
#define END_BOOKMARK(rv) EVENT("BOOKMARK", "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"" rv "\",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}")
#define GONE EVENT("ERROR", "{\"kind\":\"Status\",\"message\":\"too old\",\"reason\":\"Expired\",\"code\":410}")

/* What the handlers heard, and waiting for it. */
struct heard {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	char log[4096];
};

static void hear(struct heard *h, const char *what, const void *object)
{
	const struct core_v1_pod *pod = object;
	pthread_mutex_lock(&h->lock);
	size_t len = strlen(h->log);
	snprintf(h->log + len, sizeof(h->log) - len, "%s%s@%s;", what, pod->metadata.name, pod->metadata.resource_version);
	pthread_cond_broadcast(&h->wake);
	pthread_mutex_unlock(&h->lock);
}

static void on_add(void *object, bool is_initial, void *arg)
{
	hear(arg, is_initial ? "i" : "+", object);
}
static void on_update(void *old, void *object, void *arg)
{
	hear(arg, "~", object);
}
static void on_delete(void *object, void *arg)
{
	hear(arg, "-", object);
}

static void wait_heard(struct heard *h, const char *last)
{
	pthread_mutex_lock(&h->lock);
	while (!strstr(h->log, last))
		pthread_cond_wait(&h->wake, &h->lock);
	pthread_mutex_unlock(&h->lock);
}

struct fixture {
	struct fake_server server;
	struct client *client;
	struct informer_set *set;
	struct informer *informer;
	struct heard heard;
};

static void setup(struct fixture *f, void (*handler)(struct fake_request *req, void *arg), void *arg)
{
	fake_server_start(&f->server, handler, arg);
	f->client = fake_client(f->server.port, 0);
	f->set = informer_set_new(f->client);
	f->informer = informer_get(f->set, api_resource_find("", "v1", "pods"), NULL);
	pthread_mutex_init(&f->heard.lock, NULL);
	pthread_cond_init(&f->heard.wake, NULL);
	f->heard.log[0] = 0;
	informer_add_index(f->informer, "node", informer_index_pod_node);
	informer_add_handler(f->informer, &(struct informer_handler){.on_add = on_add, .on_update = on_update, .on_delete = on_delete, .arg = &f->heard});
	informer_set_start(f->set);
	assert_true(informer_set_wait_synced(f->set, -1));
}

static void teardown(struct fixture *f)
{
	informer_set_free(f->set);
	client_free(f->client);
	fake_server_stop(&f->server);
}

struct script {
	_Atomic int calls;
	char paths[16][256];
	bool store_is_old; /* of a server that knows streaming lists and cannot do them */
};

static int step(struct script *s, struct fake_request *req)
{
	int n = atomic_fetch_add(&s->calls, 1);
	if (n < 16)
		snprintf(s->paths[n], sizeof(s->paths[n]), "%.255s", req->path);
	return n;
}

static void stream_then_changes(struct fake_request *req, void *arg)
{
	step(arg, req);
	fake_chunked_start(req);
	fake_chunk(req, EVENT("ADDED", POD("a", "1")) EVENT("ADDED", POD("b", "2")) END_BOOKMARK("5"));
	fake_chunk(req, EVENT("MODIFIED", POD("a", "6")) EVENT("ADDED", POD("c", "7")) EVENT("DELETED", POD("b", "8")));
	fake_wait_closed(req);
}

static void test_streaming_list_then_changes(void **state)
{
	struct script s = {0};
	struct fixture f;
	setup(&f, stream_then_changes, &s);
	wait_heard(&f.heard, "-b@8;");
	assert_non_null(strstr(f.heard.log, "ia@1;"));
	assert_non_null(strstr(f.heard.log, "ib@2;"));
	assert_non_null(strstr(f.heard.log, "~a@6;+c@7;-b@8;"));
	assert_non_null(strstr(s.paths[0], "sendInitialEvents=true&resourceVersionMatch=NotOlderThan"));
	assert_int_equal(informer_resource_version(f.informer), 8);
	assert_int_equal(informer_count(f.informer), 2);
	struct core_v1_pod *pod = informer_find(f.informer, "ns", "a");
	assert_string_equal(pod->metadata.resource_version, "6");
	assert_int_equal(pod->metadata.managed_fields.len, 0);
	api_unref(pod);
	assert_null(informer_find_key(f.informer, "ns/b"));
	autolist struct informer_list list = INFORMER_LIST_INIT;
	informer_list_index(f.informer, "node", "node-c", &list);
	assert_int_equal(list.len, 1);
	informer_list_index(f.informer, "node", "node-b", &list);
	assert_int_equal(list.len, 1);
	informer_list_namespace(f.informer, "ns", &list);
	assert_int_equal(list.len, 3);
	teardown(&f);
}

static void test_late_handlers_hear_everything(void **state)
{
	struct script s = {0};
	struct fixture f;
	setup(&f, stream_then_changes, &s);
	wait_heard(&f.heard, "-b@8;");
	struct heard late = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	informer_add_handler(f.informer, &(struct informer_handler){.on_add = on_add, .arg = &late});
	assert_non_null(strstr(late.log, "ia@6;"));
	assert_non_null(strstr(late.log, "ic@7;"));
	assert_null(strstr(late.log, "b@"));
	teardown(&f);
}

static void expire_then_shrink(struct fake_request *req, void *arg)
{
	int n = step(arg, req);
	fake_chunked_start(req);
	if (n == 0)
		fake_chunk(req, EVENT("ADDED", POD("a", "1")) EVENT("ADDED", POD("b", "2")) END_BOOKMARK("5") GONE);
	else
		fake_chunk(req, EVENT("ADDED", POD("b", "9")) END_BOOKMARK("10"));
	if (n == 0)
		fake_chunked_end(req);
	else
		fake_wait_closed(req);
}

static void test_410_relists_and_reports_what_went(void **state)
{
	struct script s = {0};
	struct fixture f;
	setup(&f, expire_then_shrink, &s);
	wait_heard(&f.heard, "-a@1;");
	wait_heard(&f.heard, "~b@9;");
	assert_int_equal(informer_count(f.informer), 1);
	teardown(&f);
}

static void drop_then_resume(struct fake_request *req, void *arg)
{
	int n = step(arg, req);
	fake_chunked_start(req);
	if (n == 0) {
		fake_chunk(req, EVENT("ADDED", POD("a", "1")) END_BOOKMARK("5") EVENT("MODIFIED", POD("a", "6")));
		req->close = true; /* in the middle of the body */
	} else {
		fake_chunk(req, EVENT("MODIFIED", POD("a", "7")));
		fake_wait_closed(req);
	}
}

static void test_a_dropped_watch_goes_on_where_it_was(void **state)
{
	struct script s = {0};
	struct fixture f;
	setup(&f, drop_then_resume, &s);
	wait_heard(&f.heard, "~a@7;");
	assert_non_null(strstr(s.paths[1], "resourceVersion=6"));
	assert_null(strstr(s.paths[1], "sendInitialEvents"));
	teardown(&f);
}

static void answer_by_pages(struct fake_request *req, void *arg)
{
	const struct script *script = arg;
	int n = step(arg, req);
	if (strstr(req->path, "sendInitialEvents") && script->store_is_old) {
		fake_status(req, 500, "InternalError", "the store cannot tell its progress", NULL);
	} else if (strstr(req->path, "sendInitialEvents")) {
		fake_status(req, 422, "Invalid", "sendInitialEvents is forbidden", NULL);
	} else if (strstr(req->path, "continue=next")) {
		fake_respond(req, 200, NULL, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"20\"},\"items\":[" ITEM("c", "3") "]}");
	} else if (!strstr(req->path, "watch=true")) {
		fake_respond(req, 200, NULL, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"20\",\"continue\":\"next\"},\"items\":[" ITEM("a", "1") "," ITEM("b", "2") "]}");
	} else {
		assert_non_null(strstr(req->path, "resourceVersion=20"));
		fake_chunked_start(req);
		fake_chunk(req, EVENT("DELETED", POD("b", "21")));
		fake_wait_closed(req);
	}
	(void)n;
}

static void list_in_pages(struct script *s)
{
	struct fixture f;
	setup(&f, answer_by_pages, s);
	wait_heard(&f.heard, "-b@21;");
	struct core_v1_pod *pod = informer_find(f.informer, "ns", "c");
	assert_string_equal(pod->kind, "Pod");
	assert_string_equal(pod->api_version, "v1");
	api_unref(pod);
	assert_int_equal(informer_count(f.informer), 2);
	teardown(&f);
}

static void test_without_streaming_lists_it_pages(void **state)
{
	struct script old_server = {0}, old_store = {.store_is_old = true};
	list_in_pages(&old_server);
	list_in_pages(&old_store);
}

static void test_sets_share_informers(void **state)
{
	struct script s = {0};
	struct fixture f;
	setup(&f, stream_then_changes, &s);
	assert_ptr_equal(informer_get(f.set, api_resource_find("", "v1", "pods"), NULL), f.informer);
	assert_ptr_not_equal(informer_get(f.set, api_resource_find("", "v1", "pods"), &(struct informer_options){.ns = "x"}), f.informer);
	teardown(&f);
}

#define LEASE(name, rv, holder, renewed) "{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"ns\",\"uid\":\"u\",\"resourceVersion\":\"" rv "\",\"managedFields\":[{\"time\":\"" rv "\"}]},\"spec\":{\"holderIdentity\":\"" holder "\",\"renewTime\":\"2026-01-01T00:00:" renewed ".000000Z\"}}"
#define RENEW(name, rv, holder, renewed) EVENT("MODIFIED", LEASE(name, rv, holder, renewed))

/* Told of once, each lease beats; what is told of besides ends that, and so does a new list. */
static void beat_on(struct fake_request *req, void *arg)
{
	fake_chunked_start(req);
	if (step(arg, req) == 0) {
		fake_chunk(req, EVENT("ADDED", LEASE("a", "1", "x", "01")) EVENT("ADDED", LEASE("b", "2", "x", "02")) END_BOOKMARK("5"));
		fake_chunk(req, RENEW("a", "6", "x", "06") RENEW("a", "7", "x", "07") RENEW("b", "8", "x", "08") RENEW("a", "9", "y", "09") RENEW("a", "10", "y", "10"));
		fake_chunk(req, EVENT("DELETED", LEASE("b", "11", "x", "08")) EVENT("ADDED", LEASE("b", "12", "x", "12")) RENEW("b", "13", "x", "13") RENEW("b", "14", "x", "14") RENEW("a", "15", "y", "15") GONE);
		fake_chunked_end(req);
	} else {
		fake_chunk(req, EVENT("ADDED", LEASE("a", "16", "y", "16")) EVENT("ADDED", LEASE("b", "13", "x", "13")) END_BOOKMARK("20"));
		fake_chunk(req, RENEW("a", "21", "y", "21") RENEW("a", "22", "y", "22") RENEW("b", "24", "x", "24") RENEW("b", "25", "x", "25") RENEW("a", "23", "z", "23"));
		fake_wait_closed(req);
	}
}

static void test_beats_are_noted_undecoded(void **state)
{
	struct script s = {0};
	struct fixture f;
	const struct informer_options options = {.beat = "spec.renewTime"};
	fake_server_start(&f.server, beat_on, &s);
	f.client = fake_client(f.server.port, 0);
	f.set = informer_set_new(f.client);
	f.informer = informer_get(f.set, api_resource_find("coordination.k8s.io", "v1", "leases"), &options);
	f.heard = (struct heard){.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};
	informer_add_handler(f.informer, &(struct informer_handler){.on_add = on_add, .on_update = on_update, .on_delete = on_delete, .arg = &f.heard});
	informer_set_start(f.set);
	wait_heard(&f.heard, "~a@23;");
	assert_string_equal(strstr(f.heard.log, "~"), "~a@6;~b@8;~a@9;-b@11;+b@12;~b@13;~a@16;~a@21;~b@24;~a@23;");
	struct informer_beat last;
	assert_false(informer_last_beat(f.informer, "ns", "a", &last)); /* taken as a whole */
	assert_true(informer_last_beat(f.informer, "ns", "b", &last));
	assert_true(last.seen_ns > 0 && last.time.sec % 60 == 25);
	assert_int_equal(informer_resource_version(f.informer), 25);
	autounref struct coordination_v1_lease *kept = informer_find(f.informer, "ns", "b");
	assert_string_equal(kept->metadata.resource_version, "24");
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streaming_list_then_changes),
		cmocka_unit_test(test_late_handlers_hear_everything),
		cmocka_unit_test(test_410_relists_and_reports_what_went),
		cmocka_unit_test(test_a_dropped_watch_goes_on_where_it_was),
		cmocka_unit_test(test_without_streaming_lists_it_pages),
		cmocka_unit_test(test_sets_share_informers),
		cmocka_unit_test(test_beats_are_noted_undecoded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
