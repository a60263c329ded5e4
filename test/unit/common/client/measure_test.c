/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/client/measure.h"

#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <string.h>

static void assert_told(const char *line) {
	autobuf struct buf out = BUF_INIT(1 << 20);
	metrics_write(&out);
	if (!strstr(out.data, line))
		fail_msg("not told: %s", line);
}

static void requests_are_told_by_host_method_and_code(void **state) {
	client_measure(&(struct client_measure){"https://server.example:6443/api/v1/pods?limit=1", "GET", 200, NSEC_PER_SEC / 50, 0, 300});
	client_measure(&(struct client_measure){"https://server.example:6443", "GET", 404, NSEC_PER_SEC * 2, 0, 100});
	client_measure(&(struct client_measure){"hook.example:443", "POST", 0, NSEC_PER_SEC, 2000, 0});
	assert_told("rest_client_requests_total{code=\"200\",method=\"GET\",host=\"server.example:6443\"} 1\n");
	assert_told("rest_client_requests_total{code=\"404\",method=\"GET\",host=\"server.example:6443\"} 1\n");
	assert_told("rest_client_requests_total{code=\"<error>\",method=\"POST\",host=\"hook.example:443\"} 1\n");
	assert_told("rest_client_request_duration_seconds_bucket{verb=\"GET\",host=\"server.example:6443\",le=\"0.025\"} 1\n");
	assert_told("rest_client_request_duration_seconds_count{verb=\"GET\",host=\"server.example:6443\"} 2\n");
	assert_told("rest_client_response_size_bytes_sum{verb=\"GET\",host=\"server.example:6443\"} 400\n");
	assert_told("rest_client_request_size_bytes_bucket{verb=\"POST\",host=\"hook.example:443\",le=\"4096\"} 1\n");
}

static void a_stream_is_counted_but_not_timed(void **state) {
	client_measure(&(struct client_measure){"https://watched.example:6443", "GET", 200, -1, 0, 5});
	assert_told("rest_client_requests_total{code=\"200\",method=\"GET\",host=\"watched.example:6443\"} 1\n");
	autobuf struct buf out = BUF_INIT(1 << 20);
	metrics_write(&out);
	assert_null(strstr(out.data, "rest_client_request_duration_seconds_count{verb=\"GET\",host=\"watched.example:6443\"}"));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests_are_told_by_host_method_and_code),
		cmocka_unit_test(a_stream_is_counted_but_not_timed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
