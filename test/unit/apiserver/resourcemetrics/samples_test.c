/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "apiserver/resourcemetrics/exposition.h"
#include "apiserver/resourcemetrics/samples.h"
#include "common/base/buf.h"

#include <stdio.h>

static void on_sample(const struct exposition_sample *sample, void *arg)
{
	struct buf *out = arg;
	buf_printf(out, "%s", sample->name);
	for (size_t i = 0; i < sample->label_count; i++)
		buf_printf(out, " %s=[%s]", sample->labels[i].name, sample->labels[i].value);
	buf_printf(out, " %g", sample->value);
	if (sample->has_time)
		buf_printf(out, " @%lld", (long long)sample->time_ms);
	buf_append_char(out, ';');
}

static void test_exposition(void **state)
{
	static const struct {
		const char *text, *read;
		size_t bad;
	} rows[] = {
		{"", "", 0},
		{"# HELP a b\n# TYPE a counter\n\n", "", 0},
		{"a 1\n", "a 1;", 0},
		{"a 1", "a 1;", 0},
		{"a 1.5e3 1700000000123\r\n", "a 1500 @1700000000123;", 0},
		{"a{} 1\nb{x=\"y\"} 2\nc{x=\"y\",z=\"w\",} 3\n", "a 1;b x=[y] 2;c x=[y] z=[w] 3;", 0},
		{"a { x = \"y\" , z=\"w\" } +Inf -5\n", "a x=[y] z=[w] inf @-5;", 0},
		{"a{x=\"q\\\"q\\\\ \\n}\"} 1\n", "a x=[q\"q\\ \n}] 1;", 0},
		{"a{x=\"y} 1\nb 2\n", "b 2;", 1},
		{"a{x=\"y\\", "", 1},
		{"a{x} 1\na{x=y} 1\na{x=\"y\" z=\"w\"} 1\n1a 2\na\na 1 2 3\na 1x\na 1 2x\n{} 1\n", "", 9},
		{"a:b_c9 NaN\n", "a:b_c9 nan;", 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf out = BUF_INIT(4096);
		assert_int_equal(exposition_read(rows[i].text, strlen(rows[i].text), on_sample, &out), rows[i].bad);
		assert_string_equal(out.data ? out.data : "", rows[i].read);
	}
}

static struct sample_set *parse(const char *text, int64_t at)
{
	return sample_set_parse(text, strlen(text), (struct wall_time){at, 0});
}

#define POD "{container=\"%s\",namespace=\"n\",pod=\"p\"}"
static struct sample_set *node_at(int64_t at, double node_cpu, double a_cpu, double a_start, double b_cpu)
{
	autobuf struct buf text = BUF_INIT(4096);
	buf_printf(&text, "node_cpu_usage_seconds_total %g %lld\nnode_memory_working_set_bytes 1048576\n", node_cpu, (long long)at * 1000);
	buf_printf(&text, "container_cpu_usage_seconds_total" POD " %g %lld\ncontainer_memory_working_set_bytes" POD " 2048\ncontainer_start_time_seconds" POD " %.17g\n", "a",
		a_cpu, (long long)at * 1000, "a", "a", a_start);
	if (b_cpu >= 0)
		buf_printf(&text, "container_cpu_usage_seconds_total" POD " %g %lld\ncontainer_memory_working_set_bytes" POD " 4096\n", "b", b_cpu, (long long)at * 1000, "b");
	return parse(text.data, at);
}

static void check_pod(const struct node_usage *usage, const char *name, int64_t cpu_milli, uint64_t memory, int64_t window_s)
{
	const struct pod_usage *pod = node_usage_pod(usage, "n", "p");
	assert_non_null(pod);
	for (size_t i = 0; i < pod->count; i++) {
		if (strcmp(pod->containers[i].name, name) != 0)
			continue;
		assert_int_equal((int64_t)(pod->containers[i].usage.cpu_nano + 500) / 1000000, cpu_milli);
		assert_int_equal(pod->containers[i].usage.memory, memory);
		assert_int_equal(pod->containers[i].usage.window_ns, window_s * NSEC_PER_SEC);
		return;
	}
	fail_msg("no container %s", name);
}

static void test_rate(void **state)
{
	struct sample_set *first = node_at(1000, 100, 10, 100, -1), *second = node_at(1020, 110, 15, 100, -1);
	autousage struct node_usage *usage = node_usage_new(first, second);
	const struct usage *node = node_usage_node(usage);
	assert_non_null(node);
	assert_int_equal(node->cpu_nano, 500000000);
	assert_int_equal(node->memory, 1048576);
	assert_int_equal(node->at.sec, 1020);
	check_pod(usage, "a", 250, 2048, 20);
	assert_null(node_usage_pod(usage, "n", "other"));
	sample_set_free(first);
	sample_set_free(second);
}

/* What one answer alone can tell: containers that started a moment ago, not the node, not what is old. */
static void test_first_answer(void **state)
{
	struct sample_set *young = node_at(1000, 100, 5, 990, -1), *old = node_at(1000, 100, 5, 100, -1);
	autousage struct node_usage *usage = node_usage_new(NULL, young);
	assert_null(node_usage_node(usage));
	check_pod(usage, "a", 500, 2048, 10);
	autousage struct node_usage *nothing = node_usage_new(NULL, old);
	assert_null(node_usage_pod(nothing, "n", "p"));
	sample_set_free(young);
	sample_set_free(old);
}

static void test_restart_counts_from_start(void **state)
{
	struct sample_set *first = node_at(1000, 100, 50, 100, -1), *second = node_at(1020, 110, 4, 1010, -1), *same = node_at(1020, 110, 4, 1010, -1);
	autousage struct node_usage *usage = node_usage_new(first, second);
	check_pod(usage, "a", 400, 2048, 10);
	/* The kubelet gave the same numbers again: no time has passed, nothing can be said. */
	autousage struct node_usage *stuck = node_usage_new(second, same);
	assert_null(node_usage_pod(stuck, "n", "p"));
	assert_null(node_usage_node(stuck));
	sample_set_free(first);
	sample_set_free(second);
	sample_set_free(same);
}

/* A pod is shown whole or not at all: half a sum would mislead the autoscaler. */
static void test_half_known_pod(void **state)
{
	struct sample_set *first = node_at(1000, 100, 10, 100, -1), *second = node_at(1020, 110, 15, 100, 3), *third = node_at(1040, 120, 20, 100, 5);
	autousage struct node_usage *half = node_usage_new(first, second);
	assert_null(node_usage_pod(half, "n", "p"));
	autousage struct node_usage *whole = node_usage_new(second, third);
	check_pod(whole, "a", 250, 2048, 20);
	check_pod(whole, "b", 100, 4096, 20);
	sample_set_free(first);
	sample_set_free(second);
	sample_set_free(third);
}

static void test_senseless_numbers(void **state)
{
	static const char *const texts[] = {
		"node_cpu_usage_seconds_total -1\nnode_memory_working_set_bytes 5\n",
		"node_cpu_usage_seconds_total NaN\nnode_memory_working_set_bytes 5\n",
		"node_cpu_usage_seconds_total 5\nnode_memory_working_set_bytes +Inf\n",
		"container_cpu_usage_seconds_total{pod=\"p\"} 1\ncontainer_memory_working_set_bytes{namespace=\"n\",pod=\"p\",container=\"\"} 1\n",
	};
	for (size_t i = 0; i < array_len(texts); i++) {
		struct sample_set *a = parse(texts[i], 1000), *b = parse(texts[i], 1020);
		autousage struct node_usage *usage = node_usage_new(a, b);
		assert_null(node_usage_node(usage));
		assert_null(node_usage_pod(usage, "n", "p"));
		sample_set_free(a);
		sample_set_free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exposition),
		cmocka_unit_test(test_rate),
		cmocka_unit_test(test_first_answer),
		cmocka_unit_test(test_restart_counts_from_start),
		cmocka_unit_test(test_half_known_pod),
		cmocka_unit_test(test_senseless_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
