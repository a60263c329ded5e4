/* SPDX-License-Identifier: Apache-2.0 */
/* Feature gates of fields, and of what the API server does. */
#include "common/api/api.h"

static struct gate {
	const char *name;
	bool open;
} gates[] = {
	{"ConstrainedImpersonation", true},
	{"ContainerStopSignals", true},
	{"MaxUnavailableStatefulSet", true},
};

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

bool api_gate_set(const char *name, bool open) {
	struct gate *gate = find(name);
	if (gate)
		gate->open = open;
	return gate;
}
