/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/certificate/internal.h"

#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <math.h>

static const double life_buckets[] = {60, 3600, 14400, 86400, 604800, 2592000, 7776000, 15552000, 31104000, 124416000, 0};

enum { CLIENT_FAILURES, CLIENT_TTL, SERVING_FAILURES, SERVING_LIFE, SERVING_TTL };
static struct metric rows[] = {
	[CLIENT_FAILURES] = {"kubelet_certificate_manager_client_expiration_renew_errors", "Counter of certificate renewal errors.", METRIC_COUNTER, NULL, NULL, NULL},
	[CLIENT_TTL] = {"kubelet_certificate_manager_client_ttl_seconds", "Seconds until the certificate that this node shows to the API server expires; negative: it has, +Inf: there is none.", METRIC_GAUGE, NULL, NULL, NULL},
	[SERVING_FAILURES] = {"kubelet_server_expiration_renew_errors", "Counter of certificate renewal errors.", METRIC_COUNTER, NULL, NULL, NULL},
	[SERVING_LIFE] = {"kubelet_certificate_manager_server_rotation_seconds", "How many seconds the certificates that this node served with have lived before they were renewed.", METRIC_HISTOGRAM, NULL, life_buckets, NULL},
	[SERVING_TTL] = {"kubelet_certificate_manager_server_ttl_seconds", "Seconds until the certificate that this node serves with expires; negative: it has, +Inf: there is none.", METRIC_GAUGE, NULL, NULL, NULL},
};
static const size_t ttl_of[USES] = {CLIENT_TTL, SERVING_TTL}, failures_of[USES] = {CLIENT_FAILURES, SERVING_FAILURES};

static void collect(void *arg) {
	struct certificates *c = arg;
	for (size_t use = 0; use < USES; use++) {
		int64_t not_after = c->renewals[use].not_after;
		if (c->renewals[use].runs)
			metric_set(metric_label(&rows[ttl_of[use]]), not_after ? (double)(not_after - clock_wall().sec) : INFINITY);
	}
}

void certificate_metrics_open(struct certificates *certificates) {
	static bool done;
	if (done)
		return;
	done = true;
	metrics_register(rows, array_len(rows));
	metrics_on_collect(collect, certificates);
}

void certificate_metrics_failed(size_t use) {
	metric_add(metric_label(&rows[failures_of[use]]), 1);
}

void certificate_metrics_renewed(size_t use, int64_t seconds) {
	if (use == USE_SERVING)
		metric_observe(metric_label(&rows[SERVING_LIFE]), (double)seconds);
}
