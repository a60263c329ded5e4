/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/measure.h"

#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <stdio.h>
#include <string.h>

#define HOST_MAX 256

static const double seconds[] = {0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 0};
static const double sizes[] = {64, 256, 512, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 0};
static const char *const verb_labels[] = {"verb", "host", NULL};

enum { REQUESTS, DURATION, SENT, RECEIVED };
static struct metric metrics[] = {
	[REQUESTS] = {.name = "rest_client_requests_total", .help = "Number of HTTP requests, partitioned by status code, method, and host.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"code", "method", "host", NULL}},
	[DURATION] = {.name = "rest_client_request_duration_seconds", .help = "Request latency in seconds. Broken down by verb, and host.", .kind = METRIC_HISTOGRAM, .labels = verb_labels, .buckets = seconds},
	[SENT] = {.name = "rest_client_request_size_bytes", .help = "Request size in bytes. Broken down by verb and host.", .kind = METRIC_HISTOGRAM, .labels = verb_labels, .buckets = sizes},
	[RECEIVED] = {.name = "rest_client_response_size_bytes", .help = "Response size in bytes. Broken down by verb and host.", .kind = METRIC_HISTOGRAM, .labels = verb_labels, .buckets = sizes},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static void host_of(const char *url, char host[static HOST_MAX]) {
	const char *start = strstr(url, "://");
	start = start ? start + 3 : url;
	snprintf(host, HOST_MAX, "%.*s", (int)min_of(strcspn(start, "/?#"), (size_t)HOST_MAX - 1), start);
}

void client_measure(const struct client_measure *m) {
	char host[HOST_MAX], code[16] = "<error>";
	host_of(m->url, host);
	if (m->status)
		snprintf(code, sizeof(code), "%d", m->status);
	metric_add(metric_label(&metrics[REQUESTS], code, m->method, host), 1);
	if (m->took_ns >= 0)
		metric_observe(metric_label(&metrics[DURATION], m->method, host), (double)m->took_ns / NSEC_PER_SEC);
	if (m->sent)
		metric_observe(metric_label(&metrics[SENT], m->method, host), (double)m->sent);
	if (m->status)
		metric_observe(metric_label(&metrics[RECEIVED], m->method, host), (double)m->received);
}
