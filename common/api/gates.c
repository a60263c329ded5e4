/* SPDX-License-Identifier: Apache-2.0 */
/* Feature gates of fields, and of what the API server does. */
#include "common/api/api.h"
#include "common/base/metrics.h"

static struct gate {
	const char *name, *stage; /* of Kubernetes 1.36 */
	bool by_default; /* there */
	bool open;
} gates[] = {
	{"ConstrainedImpersonation", "BETA", true, true},
	{"ContainerStopSignals", "ALPHA", false, true},
	{"MaxUnavailableStatefulSet", "BETA", false, true},
};

static struct metric metrics[] = {
	{.name = "kubernetes_feature_enabled", .help = "Whether a feature gate that can be set here is open, by its stage in Kubernetes.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"name", "stage", NULL}},
};

static void collect(void *arg) {
	for (size_t i = 0; i < array_len(gates); i++)
		metric_set(metric_label(&metrics[0], gates[i].name, gates[i].stage), gates[i].open);
}

void api_gates_measure(void) {
	metrics_register(metrics, array_len(metrics));
	metrics_on_collect(collect, NULL);
}

static struct gate *find(const char *name) {
	for (size_t i = 0; i < array_len(gates); i++)
		if (strcmp(gates[i].name, name) == 0)
			return &gates[i];
	return NULL;
}

bool api_gate_is_open(const char *name) {
	const struct gate *gate = find(name);
	return gate && gate->open;
}

void api_gates_set_defaults(void) {
	for (size_t i = 0; i < array_len(gates); i++)
		gates[i].open = gates[i].by_default;
}

bool api_gate_set(const char *name, bool open) {
	struct gate *gate = find(name);
	if (gate)
		gate->open = open;
	return gate;
}
