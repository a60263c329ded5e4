/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds that a policy is about, as types that its expressions can be checked against. */
#ifndef CORACLE_CONTROLLER_MANAGER_POLICY_KINDS_H
#define CORACLE_CONTROLLER_MANAGER_POLICY_KINDS_H

#include "controller-manager/world.h"

#include "api/admissionregistration_v1.h"
#include "common/cel/cel.h"

struct policy_kind {
	const char *group, *version, *kind;
	const struct cel_type *type;
};
struct policy_kinds {
	struct arena *arena; /* owns all below */
	struct policy_kind *items; /* by group, version and kind */
	size_t len;
	const struct cel_type *params; /* NULL: of a kind that no schema is known of, or the policy has none */
};

/*
 * Looks up what the policy matches, where it names groups, versions and resources and not all of them: Kubernetes looks at no more than ten of a rule either.
 * Kinds without a schema are left out. An error: the server did not answer.
 */
int policy_kinds_load(struct world *world, const struct admissionregistration_v1_validating_admission_policy *policy, struct policy_kinds *ret, struct error *err);
void policy_kinds_done(struct policy_kinds *kinds);
#define autokinds cleanup(policy_kinds_done)

#endif
