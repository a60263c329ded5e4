/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/flow/queueset.h"
#include "apiserver/flow/match.h"
#include "common/base/clock.h"
#include "common/base/map.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define MS NSEC_PER_MSEC

static void test_deal(void **state) {
	unsigned seen[64] = {0};
	for (uint64_t hash = 0; hash < 20000; hash++) {
		unsigned hand[6], again[6];
		shuffle_deal(hash * 0x9e3779b97f4a7c15ull, 64, 6, hand);
		shuffle_deal(hash * 0x9e3779b97f4a7c15ull, 64, 6, again);
		assert_memory_equal(hand, again, sizeof(hand));
		for (unsigned i = 0; i < 6; i++) {
			assert_in_range(hand[i], 0, 63);
			for (unsigned n = 0; n < i; n++)
				assert_int_not_equal(hand[i], hand[n]);
			seen[hand[i]]++;
		}
	}
	for (unsigned i = 0; i < 64; i++)
		assert_in_range(seen[i], 1500, 2300); /* 1875 each, were it even */
	unsigned whole[5];
	shuffle_deal(12345, 5, 5, whole);
	unsigned sum = 0;
	for (unsigned i = 0; i < 5; i++)
		sum |= 1u << whole[i];
	assert_int_equal(sum, 31);
}

static void test_divide(void **state) {
	double got[3], fair;
	const struct seat_class even[] = {{10, 0, 100}, {20, 0, 100}, {30, 0, 100}};
	seats_divide(120, even, 3, got, &fair);
	assert_true(fabs(got[0] - 20) < 0.01 && fabs(got[1] - 40) < 0.01 && fabs(got[2] - 60) < 0.01);
	/* One may not have more, one not less: the third gets what is left. */
	const struct seat_class bounds[] = {{10, 0, 15}, {20, 50, 100}, {30, 0, 1000}};
	seats_divide(120, bounds, 3, got, &fair);
	assert_true(fabs(got[0] - 15) < 0.01 && fabs(got[1] - 50) < 0.01 && fabs(got[2] - 55) < 0.01);
	const struct seat_class tight[] = {{5, 5, 5}, {7, 7, 7}};
	seats_divide(100, tight, 2, got, &fair);
	assert_true(got[0] == 5 && got[1] == 7);
	seats_divide(1, tight, 2, got, &fair);
	assert_true(got[0] == 5 && got[1] == 7);
}

/* A level with requests of two kinds that come as fast as they can, each lasting as long as its kind does. */
struct flow_model {
	uint64_t hash;
	int64_t lasts;
	unsigned seats, in_flight, served;
	double seat_time;
};
struct simulated {
	struct queued queued;
	struct flow_model *flow;
	int64_t ends;
};

static void run_flows(struct queueset *set, struct flow_model *flows, size_t flow_count, unsigned each, int64_t duration) {
	static struct simulated requests[4000];
	size_t count = 0;
	int64_t now = 1;
	for (size_t f = 0; f < flow_count; f++)
		for (unsigned i = 0; i < each; i++)
			requests[count++] = (struct simulated){.flow = &flows[f], .ends = -1};
	for (size_t i = 0; i < count; i++)
		requests[i].queued.state = QUEUED_OVER;
	for (; now < duration; now += MS) {
		struct list ready = LIST_INIT(ready);
		for (size_t i = 0; i < count; i++) {
			struct simulated *s = &requests[i];
			if (s->queued.state == QUEUED_EXECUTING && s->ends <= now) {
				queueset_finish(set, &s->queued, now);
				s->flow->served++;
				s->flow->seat_time += (double)s->flow->seats * (double)s->flow->lasts;
			}
			if (s->queued.state != QUEUED_OVER)
				continue;
			unsigned length;
			if (queueset_arrive(set, &s->queued, s->flow->hash, s->flow->seats, now, &length) == QUEUESET_RUN)
				s->ends = now + s->flow->lasts;
			else if (s->queued.state != QUEUED_WAITING)
				s->queued.state = QUEUED_OVER; /* refused: it comes again */
		}
		queueset_dispatch(set, now, &ready);
		while (!list_empty(&ready)) {
			struct simulated *s = (struct simulated *)list_first(&ready, struct queued, link);
			list_remove(&s->queued.link);
			s->ends = now + s->flow->lasts;
		}
		assert_true(set->seats_in_use <= set->limit || set->executing == 1);
	}
	for (size_t i = 0; i < count; i++) {
		if (requests[i].queued.state == QUEUED_EXECUTING)
			queueset_finish(set, &requests[i].queued, now);
		else if (requests[i].queued.state == QUEUED_WAITING)
			queueset_withdraw(set, &requests[i].queued, now);
	}
	assert_int_equal(set->waiting + set->executing + set->seats_in_use + set->seats_waiting + set->active, 0);
}

static struct queueset *new_set(unsigned limit, unsigned queues, unsigned hand, unsigned length) {
	static struct queueset set;
	queueset_init(&set, 0);
	queueset_configure(&set, &(struct queueset_config){.mode = QUEUESET_QUEUE, .queues = queues, .hand_size = hand, .queue_length = length});
	set.limit = limit;
	return &set;
}

static double ratio(double a, double b) {
	return a > b ? a / b : b / a;
}

/* A flow that asks for much more, longer or wider, gets no more of the level's time. */
static void test_fairness(void **state) {
	struct flow_model equal[] = {{.hash = 7, .lasts = 10 * MS, .seats = 1}, {.hash = 7777777777, .lasts = 10 * MS, .seats = 1}};
	struct queueset *set = new_set(8, 128, 1, 1000);
	run_flows(set, equal, 2, 100, 5000 * MS);
	assert_true(ratio(equal[0].seat_time, equal[1].seat_time) < 1.05);
	queueset_done(set);
	struct flow_model lengths[] = {{.hash = 7, .lasts = 5 * MS, .seats = 1}, {.hash = 7777777777, .lasts = 50 * MS, .seats = 1}};
	set = new_set(8, 128, 1, 1000);
	run_flows(set, lengths, 2, 100, 10000 * MS);
	assert_true(ratio(lengths[0].seat_time, lengths[1].seat_time) < 1.1);
	queueset_done(set);
	struct flow_model widths[] = {{.hash = 7, .lasts = 10 * MS, .seats = 1}, {.hash = 7777777777, .lasts = 10 * MS, .seats = 4}};
	set = new_set(8, 128, 1, 1000);
	run_flows(set, widths, 2, 100, 10000 * MS);
	assert_true(ratio(widths[0].seat_time, widths[1].seat_time) < 1.25);
	queueset_done(set);
}

/* Ten elephants in their queues; a mouse's hand nearly always holds a queue without one. */
static void test_mouse(void **state) {
	struct flow_model flows[10];
	for (size_t i = 0; i < 10; i++)
		flows[i] = (struct flow_model){.hash = hash_fnv64(&i, sizeof(i)), .lasts = 20 * MS, .seats = 1};
	struct queueset *set = new_set(4, 64, 6, 50);
	static struct queued busy[3000];
	unsigned length;
	for (size_t i = 0; i < 3000; i++)
		queueset_arrive(set, &busy[i], flows[i % 10].hash, 1, (int64_t)i, &length);
	assert_int_equal(set->executing, 4);
	struct queued mice[50];
	unsigned refused = 0;
	for (size_t i = 0; i < 50; i++) {
		char name[16];
		snprintf(name, sizeof(name), "mouse-%zu", i);
		refused += queueset_arrive(set, &mice[i], hash_fnv64(name, strlen(name)), 1, MS, &length) == QUEUESET_FULL;
	}
	assert_true(refused < 10); /* some three of fifty have bad luck */
	struct queued *last = NULL;
	for (size_t i = 0; i < 50; i++)
		last = mice[i].state == QUEUED_WAITING ? &mice[i] : last;
	int64_t now = MS;
	unsigned rounds = 0;
	/* Each round all that run end, and others begin. */
	for (; last->state != QUEUED_EXECUTING; rounds++) {
		struct list ready = LIST_INIT(ready);
		now += 20 * MS;
		assert_true(rounds < 60); /* of seven hundred that those in front would take */
		for (size_t i = 0; i < 3000; i++)
			if (busy[i].state == QUEUED_EXECUTING)
				queueset_finish(set, &busy[i], now);
		for (size_t i = 0; i < 50; i++)
			if (mice[i].state == QUEUED_EXECUTING)
				queueset_finish(set, &mice[i], now);
		queueset_dispatch(set, now, &ready);
		while (!list_empty(&ready))
			list_remove(ready.next);
	}
	queueset_done(set);
}

static void test_limits(void **state) {
	struct queueset *set = new_set(2, 1, 1, 3);
	struct queued q[8];
	struct list ready = LIST_INIT(ready);
	unsigned length;
	static const enum queueset_verdict expected[] = {QUEUESET_RUN, QUEUESET_RUN, QUEUESET_WAIT, QUEUESET_WAIT, QUEUESET_WAIT, QUEUESET_FULL};
	for (size_t i = 0; i < array_len(expected); i++)
		assert_int_equal(queueset_arrive(set, &q[i], 1, 1, (int64_t)i, &length), expected[i]);
	queueset_dispatch(set, 10, &ready);
	assert_true(list_empty(&ready));
	queueset_withdraw(set, &q[2], 11);
	queueset_finish(set, &q[0], 12);
	queueset_dispatch(set, 12, &ready);
	assert_ptr_equal(list_first(&ready, struct queued, link), &q[3]);
	list_remove(&q[3].link);
	assert_true(list_empty(&ready));
	/* A request wider than the level runs alone. */
	queueset_finish(set, &q[1], 13);
	queueset_finish(set, &q[3], 13);
	queueset_dispatch(set, 13, &ready);
	list_remove(&q[4].link);
	assert_int_equal(queueset_arrive(set, &q[6], 1, 5, 14, &length), QUEUESET_WAIT);
	queueset_dispatch(set, 14, &ready);
	assert_true(list_empty(&ready));
	queueset_finish(set, &q[4], 15);
	queueset_dispatch(set, 15, &ready);
	assert_ptr_equal(list_first(&ready, struct queued, link), &q[6]);
	list_remove(&q[6].link);
	/* Fewer queues, another mode: what is there goes on. */
	assert_int_equal(queueset_arrive(set, &q[7], 1, 1, 16, &length), QUEUESET_WAIT);
	queueset_configure(set, &(struct queueset_config){.mode = QUEUESET_REJECT});
	assert_int_equal(queueset_arrive(set, &q[0], 1, 1, 17, &length), QUEUESET_BUSY);
	queueset_finish(set, &q[6], 18);
	queueset_dispatch(set, 18, &ready);
	assert_ptr_equal(list_first(&ready, struct queued, link), &q[7]);
	list_remove(&q[7].link);
	queueset_finish(set, &q[7], 19);
	assert_int_equal(set->queue_count, 0);
	assert_int_equal(queueset_arrive(set, &q[0], 1, 1, 20, &length), QUEUESET_RUN);
	queueset_finish(set, &q[0], 21);
	queueset_configure(set, &(struct queueset_config){.mode = QUEUESET_EXEMPT});
	set->limit = 0;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(queueset_arrive(set, &q[i], 1, 3, 22, &length), QUEUESET_RUN);
	for (size_t i = 0; i < 8; i++)
		queueset_finish(set, &q[i], 23);
	assert_int_equal(set->seats_in_use, 0);
	queueset_done(set);
}

/* ---- matching ---- */

static bool matches(const char *rules, const struct request *r) {
	autofree char *json = xprintf("{\"kind\":\"FlowSchema\",\"apiVersion\":\"flowcontrol.apiserver.k8s.io/v1\",\"metadata\":{\"name\":\"s\"},\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"l\"},\"rules\":[%s]}}", rules);
	autounref void *schema = NULL;
	assert_int_equal(api_decode_json(&flowcontrol_v1_flow_schema_type, json, strlen(json), NULL, &schema, NULL), 0);
	return flow_schema_matches(schema, r);
}

#define ANY_RESOURCE "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}]"
#define SUBJECT(kind, body) "{\"subjects\":[{\"kind\":\"" kind "\"," body "}]," ANY_RESOURCE "}"
#define RULE(rule) "{\"subjects\":[{\"kind\":\"User\",\"user\":{\"name\":\"*\"}}],\"resourceRules\":[{" rule "}]}"
#define PATHS(urls) "{\"subjects\":[{\"kind\":\"Group\",\"group\":{\"name\":\"*\"}}],\"nonResourceRules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[" urls "]}]}"

static void test_match(void **state) {
	static const char *const groups[] = {"system:serviceaccounts", "system:authenticated", NULL};
	static const struct user account = {.name = "system:serviceaccount:kube-system:dns", .groups = groups};
	struct request r = {.user = &account, .is_resource = true, .verb = "update", .group = "apps", .version = "v1", .plural = "deployments", .subresource = "status", .ns = "default", .name = "d"};
	assert_true(matches(SUBJECT("Group", "\"group\":{\"name\":\"system:authenticated\"}"), &r));
	assert_false(matches(SUBJECT("Group", "\"group\":{\"name\":\"system:masters\"}"), &r));
	assert_true(matches(SUBJECT("User", "\"user\":{\"name\":\"system:serviceaccount:kube-system:dns\"}"), &r));
	assert_true(matches(SUBJECT("ServiceAccount", "\"serviceAccount\":{\"namespace\":\"kube-system\",\"name\":\"*\"}"), &r));
	assert_true(matches(SUBJECT("ServiceAccount", "\"serviceAccount\":{\"namespace\":\"kube-system\",\"name\":\"dns\"}"), &r));
	assert_false(matches(SUBJECT("ServiceAccount", "\"serviceAccount\":{\"namespace\":\"kube\",\"name\":\"*\"}"), &r));
	assert_false(matches(SUBJECT("ServiceAccount", "\"serviceAccount\":{\"namespace\":\"kube-system\",\"name\":\"dn\"}"), &r));
	assert_true(matches(RULE("\"verbs\":[\"update\"],\"apiGroups\":[\"apps\"],\"resources\":[\"deployments/status\"],\"namespaces\":[\"default\"]"), &r));
	assert_false(matches(RULE("\"verbs\":[\"update\"],\"apiGroups\":[\"apps\"],\"resources\":[\"deployments\"],\"namespaces\":[\"default\"]"), &r));
	assert_false(matches(RULE("\"verbs\":[\"get\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"namespaces\":[\"*\"]"), &r));
	assert_false(matches(RULE("\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"other\"]"), &r));
	r.ns = NULL;
	assert_false(matches(RULE("\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"namespaces\":[\"*\"]"), &r));
	struct request path = {.user = &account, .verb = "get", .method = "GET", .path = "/healthz/etcd"};
	assert_true(matches(PATHS("\"/healthz/*\""), &path) && matches(PATHS("\"*\""), &path) && matches(PATHS("\"/healthz\""), &path));
	assert_false(matches(PATHS("\"/health\""), &path) || matches(PATHS("\"/livez/*\""), &path));
	assert_false(matches(SUBJECT("User", "\"user\":{\"name\":\"*\"}"), &path));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deal), cmocka_unit_test(test_divide), cmocka_unit_test(test_fairness), cmocka_unit_test(test_mouse), cmocka_unit_test(test_limits), cmocka_unit_test(test_match),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
