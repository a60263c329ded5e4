/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/beat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define LEASE(meta, version, fields, spec) "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"n0\",\"namespace\":\"leases\",\"uid\":\"u\"" meta ",\"resourceVersion\":\"" version "\",\"managedFields\":[" fields "]},\"spec\":{" spec "}}"
#define RENEWED(time) "\"holderIdentity\":\"n0\",\"renewTime\":\"" time "\""

static bool read(const char *json, struct beat *ret)
{
	/* A copy without a NUL behind it, so that reading too far is seen. */
	size_t len = strlen(json);
	char *text = len ? xmemdup(json, len) : xmalloc(1);
	bool ok = beat_read(text, len, "spec", "renewTime", ret);
	if (ok) { /* slices into what outlives the copy */
		struct json_slice *slices[] = {&ret->ns, &ret->name, &ret->version};
		for (size_t i = 0; i < array_len(slices); i++)
			if (slices[i]->data)
				slices[i]->data = json + (slices[i]->data - text);
	}
	free(text);
	return ok;
}

static void test_what_is_a_beat(void **state)
{
	static const char before[] = LEASE("", "7", "{\"manager\":\"kubelet\",\"time\":\"1\"}", RENEWED("2026-01-01T00:00:00.000001Z"));
	static const struct {
		const char *name, *json;
		bool same;
	} rows[] = {
		{"itself", before, true},
		{"renewed", LEASE("", "8", "{\"manager\":\"kubelet\",\"time\":\"2\"}", RENEWED("2026-01-01T00:00:10.000001Z")), true},
		{"managed by others too", LEASE("", "8", "{\"manager\":\"kubelet\"},{\"manager\":\"kubectl\"}", RENEWED("2026-01-01T00:00:10.000001Z")), true},
		{"another holder", LEASE("", "8", "", "\"holderIdentity\":\"n1\",\"renewTime\":\"2026-01-01T00:00:10.000001Z\""), false},
		{"a label", LEASE(",\"labels\":{\"a\":\"b\"}", "8", "", RENEWED("2026-01-01T00:00:10.000001Z")), false},
		{"going", LEASE(",\"deletionTimestamp\":\"2026-01-01T00:00:09Z\"", "8", "", RENEWED("2026-01-01T00:00:10.000001Z")), false},
		{"one more field", LEASE("", "8", "", RENEWED("2026-01-01T00:00:10.000001Z") ",\"leaseTransitions\":1"), false},
		/* Where bytes go over from one part to its neighbour, the whole is another all the same. */
		{"a longer name", "{\"kind\":\"Lease\",\"metadata\":{\"name\":\"n0\",\"namespace\":\"leases\",\"uid\":\"u\",\"x\":\"\",\"resourceVersion\":\"8\",\"managedFields\":[]},\"spec\":{" RENEWED("2026-01-01T00:00:10.000001Z") "}}", false},
	};
	struct beats beats;
	struct beat beat;
	struct informer_beat last;
	for (size_t i = 0; i < array_len(rows); i++) {
		beats_init(&beats);
		assert_true(read(before, &beat));
		assert_false(beats_take(&beats, &beat, 1));
		assert_true(beats_take(&beats, &beat, 2));
		assert_false(beats_last(&beats, "leases", "n0", &last)); /* the time is what it was */
		assert_true(read(rows[i].json, &beat));
		if (beats_take(&beats, &beat, 3) != rows[i].same)
			fail_msg("%s", rows[i].name);
		bool beats_now = beats_last(&beats, "leases", "n0", &last);
		assert_int_equal(beats_now, rows[i].same && rows[i].json != before);
		if (beats_now)
			assert_true(last.seen_ns == 3 && last.time.sec == 1767225610 && last.time.nsec == 1000);
		assert_true(beats_take(&beats, &beat, 4)); /* noted */
		beats_done(&beats);
	}
	assert_memory_equal(beat.name.data, "n0", beat.name.len);
	assert_memory_equal(beat.ns.data, "leases", beat.ns.len);
	assert_memory_equal(beat.version.data, "8\"", 2);
}

static struct beat beat_of(const char *name, int64_t second)
{
	return (struct beat){.ns = {"ns", 2}, .name = {name, strlen(name)}, .version = {"1", 1}, .time = {.sec = second}, .rest = 7};
}

/* Many, of which every other goes: those that stay are found, those that went are not. */
static void test_objects_are_told_apart(void **state)
{
	struct beats beats;
	struct informer_beat last;
	char name[16];
	beats_init(&beats);
	beats_forget(&beats, "ns", "none");
	assert_false(beats_last(&beats, "ns", "none", &last));
	for (int64_t round = 1; round <= 2; round++)
		for (int i = 0; i < 1000; i++) {
			struct beat beat = (snprintf(name, sizeof(name), "n%d", i), beat_of(name, round * 1000 + i));
			assert_int_equal(beats_take(&beats, &beat, round), round == 2);
		}
	for (int i = 0; i < 1000; i += 2) {
		snprintf(name, sizeof(name), "n%d", i);
		beats_forget(&beats, "ns", name);
		beats_forget(&beats, "ns", name);
	}
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(beats_last(&beats, "ns", name, &last), i % 2);
		if (i % 2)
			assert_true(last.seen_ns == 2 && last.time.sec == 2000 + i);
		assert_false(beats_last(&beats, "other", name, &last));
	}
	struct beat again = beat_of("n0", 5);
	assert_false(beats_take(&beats, &again, 3));
	beats_clear(&beats);
	assert_false(beats_last(&beats, "ns", "n1", &last));
	assert_false(beats_take(&beats, &again, 4));
	beats_done(&beats);
}

static void test_what_is_left_to_the_decoder(void **state)
{
	static const char *const rows[] = {
		"",
		"null",
		"{",
		"{}",
		"[]",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}",
		"{\"metadata\":{\"name\":\"a\"},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}}",
		"{\"metadata\":{\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}}",
		"{\"metadata\":{\"name\":\"a\\u0062\",\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}}",
		"{\"metadata\":{\"name\":1,\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}}",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":null}}",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"spec\":null}",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"soon\"}}",
		"{\"metadata\":[],\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}}",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"},\"spec\":{\"renewTime\":\"",
		"{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\",\"managedFields\":[{]},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00Z\"}}",
	};
	struct beat beat;
	for (size_t i = 0; i < array_len(rows); i++)
		if (read(rows[i], &beat))
			fail_msg("%s", rows[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_a_beat),
		cmocka_unit_test(test_objects_are_told_apart),
		cmocka_unit_test(test_what_is_left_to_the_decoder),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
