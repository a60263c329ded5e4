/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says in the status of each ValidatingAdmissionPolicy that its generation was looked at. Its expressions are not yet checked (common/cel) against the types
 * that they match: no warnings are listed, as for a policy whose expressions fit.
 */
#include "controller-manager/controller.h"

#include "api/admissionregistration_v1.h"

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct admissionregistration_v1_validating_admission_policy *cached = world_find(r->world, CACHED_VALIDATING_ADMISSION_POLICIES, NULL, name);
	if (!cached || cached->metadata.deletion_timestamp.set || (cached->status.observed_generation >= cached->metadata.generation && cached->status.type_checking))
		return 0;
	autounref struct admissionregistration_v1_validating_admission_policy *policy = api_copy(cached);
	policy->status.observed_generation = policy->metadata.generation;
	if (!policy->status.type_checking)
		policy->status.type_checking = arena_new_type(api_arena(policy), struct admissionregistration_v1_type_checking);
	return world_update_status(r->world, CACHED_VALIDATING_ADMISSION_POLICIES, policy, NULL, err);
}

const struct controller policy_status_controller = {
	.name = "validatingadmissionpolicy-status-controller",
	.queue = "validatingadmissionpolicy-status",
	.account = "validatingadmissionpolicy-status-controller",
	.concurrency_flag = "concurrent-validating-admission-policy-status-syncs",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_VALIDATING_ADMISSION_POLICIES}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
