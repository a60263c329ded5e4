/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps a ServiceAccount "default" in every namespace that stays. */
#include "controller-manager/controller.h"

#include "api/core_v1.h"

#define DEFAULT_NAME "default"

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_namespace *namespace = world_find(r->world, CACHED_NAMESPACES, NULL, name);
	if (!namespace || namespace->metadata.deletion_timestamp.set || str_equal(namespace->status.phase, CORE_V1_NAMESPACE_PHASE_TERMINATING))
		return 0;
	autounref struct core_v1_service_account *found = world_find(r->world, CACHED_SERVICE_ACCOUNTS, name, DEFAULT_NAME);
	if (found)
		return 0;
	autounref struct core_v1_service_account *account = api_new_of(core_v1_service_account);
	account->metadata.name = DEFAULT_NAME;
	account->metadata.namespace = arena_strdup(api_arena(account), name);
	autoerror struct error failed = {0};
	int result = world_create(r->world, CACHED_SERVICE_ACCOUNTS, account, NULL, &failed);
	if (result == 0 || error_is(&failed, "AlreadyExists") || error_is(&failed, "NotFound"))
		return 0;
	for (size_t i = 0; i < failed.cause_count; i++)
		if (str_equal(failed.causes[i].reason, META_V1_CAUSE_TYPE_NAMESPACE_TERMINATING))
			return 0;
	return error_move(err, &failed);
}

static void wake_by_account(struct reconciler *r, const void *object)
{
	const struct core_v1_service_account *account = object;
	if (str_equal(account->metadata.name, DEFAULT_NAME))
		reconciler_add(r, NULL, account->metadata.namespace);
}

const struct controller service_account_controller = {
	.name = "serviceaccount-controller",
	.queue = "serviceaccount",
	.account = "service-account-controller",
	.alias = "serviceaccount",
	.concurrency_flag = "concurrent-serviceaccount-syncs",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_NAMESPACES}, {.what = CACHED_SERVICE_ACCOUNTS, .wake = wake_by_account}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
