/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/metrics.h"

#include <pthread.h>
#include <stdio.h>

static const char *const verb_labels[] = {"verb", "code", NULL};
static const double buckets[] = {0.1, 1, 0};
static struct metric rows[] = {
	{.name = "requests_total", .help = "Requests.", .kind = METRIC_COUNTER, .labels = verb_labels},
	{.name = "depth", .help = "Depth.", .kind = METRIC_GAUGE},
	{.name = "latency_seconds", .help = "Latency.", .kind = METRIC_HISTOGRAM, .buckets = buckets},
};

static void *count(void *arg)
{
	for (int i = 0; i < 10000; i++) {
		metric_add(metric_label(&rows[0], "GET", "200"), 1);
		metric_observe(arg, 0.5);
	}
	return NULL;
}

static void bring_up_to_date(void *arg)
{
	metric_set(metric_label(&rows[1]), 7.25);
}

static void counts_by_many_threads_are_exact(void **state)
{
	metrics_register(rows, array_len(rows));
	metrics_on_collect(bring_up_to_date, NULL);
	pthread_t threads[4];
	struct metric_series *latency = metric_label(&rows[2]);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_create(&threads[i], NULL, count, latency);
	for (size_t i = 0; i < array_len(threads); i++)
		pthread_join(threads[i], NULL);
	assert_true(metric_value(metric_label(&rows[0], "GET", "200")) == 40000);
	metric_observe(latency, 0.1);
	metric_observe(latency, 5);
	metric_add(metric_label(&rows[0], "a\"b\\c\n", "500"), 2.5);
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	metrics_write(&out);
	static const char *const want[] = {
		"# HELP requests_total Requests.\n# TYPE requests_total counter\n",
		"requests_total{verb=\"GET\",code=\"200\"} 40000\n",
		"requests_total{verb=\"a\\\"b\\\\c\\n\",code=\"500\"} 2.5\n",
		"depth 7.25\n",
		"latency_seconds_bucket{le=\"0.1\"} 1\n",
		"latency_seconds_bucket{le=\"1\"} 40001\n",
		"latency_seconds_bucket{le=\"+Inf\"} 40002\n",
		"latency_seconds_sum 20005.1\n",
		"latency_seconds_count 40002\n",
		"process_resident_memory_bytes ",
		"kubernetes_build_info{",
	};
	for (size_t i = 0; i < array_len(want); i++)
		assert_non_null(strstr(out.data, want[i]));
}

/* Each label value makes a series of its own, however often and in whatever turn they are asked for, and however long they are. */
static void series_are_told_apart(void **state)
{
	static const char *const values[][3] = {{"ab", "c", NULL}, {"a", "bc", NULL}, {"", "abc", NULL}, {"abc", "", NULL}, {"abcdefgh", "c", NULL}, {"abcdefgi", "c", NULL}};
	char text[200];
	struct metric_series *series[array_len(values)], *numbered[200], *longest[2];
	for (size_t i = 0; i < array_len(values); i++)
		metric_add(series[i] = metric_with(&rows[0], values[i]), (double)i + 1);
	for (size_t i = 0; i < array_len(numbered); i++) {
		snprintf(text, sizeof(text), "n%zu", i);
		numbered[i] = metric_label(&rows[0], text, "200");
	}
	memset(text, 'x', sizeof(text));
	for (size_t i = 0; i < array_len(longest); i++) {
		text[sizeof(text) - 1 - i] = 0;
		longest[i] = metric_label(&rows[0], text, "");
	}
	assert_ptr_not_equal(longest[0], longest[1]);
	assert_ptr_equal(longest[1], metric_label(&rows[0], text, ""));
	for (size_t i = 0; i < array_len(numbered); i++) {
		snprintf(text, sizeof(text), "n%zu", i);
		assert_ptr_equal(numbered[i], metric_label(&rows[0], text, "200"));
	}
	for (size_t i = 0; i < array_len(values); i++) {
		assert_ptr_equal(series[i], metric_with(&rows[0], values[i]));
		assert_true(metric_value(series[i]) == (double)i + 1);
	}
}

static void too_many_series_share_one(void **state)
{
	char value[16];
	struct metric_series *last = NULL;
	for (int i = 0; i < METRIC_MAX_SERIES + 10; i++) {
		snprintf(value, sizeof(value), "%d", i);
		last = metric_label(&rows[0], value, "200");
	}
	assert_ptr_equal(last, metric_label(&rows[0], "other", "other"));
}

static struct metric tamed[] = {
	{.name = "tamed_total", .help = "x", .kind = METRIC_COUNTER, .labels = (const char *const[]){"color", "size", NULL}},
	{.name = "silent_total", .help = "x", .kind = METRIC_COUNTER},
};

static void operators_have_a_word(void **state)
{
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	metrics_allow_label("tamed_total", "color", "blue");
	metrics_allow_label("tamed_total", "color", "red,green");
	metrics_allow_label("other_total", "size", "1");
	metrics_disable("silent_total");
	metrics_register(tamed, array_len(tamed));
	metric_add(metric_label(&tamed[0], "red", "7"), 1);
	metric_add(metric_label(&tamed[0], "green", "7"), 1);
	metric_add(metric_label(&tamed[0], "blue", "7"), 1);
	metric_add(metric_label(&tamed[0], "", "7"), 1);
	metrics_write(&out);
	assert_non_null(strstr(out.data, "tamed_total{color=\"red\",size=\"7\"} 1\n"));
	assert_non_null(strstr(out.data, "tamed_total{color=\"green\",size=\"7\"} 1\n"));
	assert_non_null(strstr(out.data, "tamed_total{color=\"unexpected\",size=\"7\"} 2\n"));
	assert_null(strstr(out.data, "blue"));
	assert_null(strstr(out.data, "silent_total"));
}

/* Last: what others have counted is gone. */
static void counting_begins_anew(void **state)
{
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	metric_add(metric_label(&rows[0], "GET", "200"), 3);
	metric_observe(metric_label(&rows[2]), 0.5);
	metrics_reset();
	assert_true(metric_value(metric_label(&rows[0], "GET", "200")) == 0);
	metric_add(metric_label(&rows[0], "GET", "200"), 2);
	metrics_write(&out);
	assert_non_null(strstr(out.data, "requests_total{verb=\"GET\",code=\"200\"} 2\n"));
	assert_non_null(strstr(out.data, "latency_seconds_count 0\n"));
	assert_non_null(strstr(out.data, "depth 7.25\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(counts_by_many_threads_are_exact), cmocka_unit_test(series_are_told_apart), cmocka_unit_test(too_many_series_share_one), cmocka_unit_test(operators_have_a_word), cmocka_unit_test(counting_begins_anew)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
