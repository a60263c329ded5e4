/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes bootstrap tokens when their time is over. */
#include "controller-manager/tokens/secrets.h"

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_secret *secret = world_find(r->world, CACHED_SECRETS, ns, name);
	int wait_ms;
	if (!secret || !str_equal(secret->type, TYPE_BOOTSTRAP_TOKEN) || secret->metadata.deletion_timestamp.set)
		return 0;
	return bootstrap_token_is_expired(secret, &wait_ms) ? world_delete(r->world, CACHED_SECRETS, secret, NULL, err) : wait_ms;
}

static void wake(struct reconciler *r, const void *object)
{
	const struct core_v1_secret *secret = object;
	if (str_equal(secret->type, TYPE_BOOTSTRAP_TOKEN) && str_equal(secret->metadata.namespace, BOOTSTRAP_NAMESPACE))
		reconciler_add(r, secret->metadata.namespace, secret->metadata.name);
}

const struct controller token_cleaner_controller = {
	.name = "token-cleaner-controller",
	.queue = "token_cleaner",
	.alias = "tokencleaner",
	.account = "token-cleaner",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_SECRETS, .wake = wake}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
