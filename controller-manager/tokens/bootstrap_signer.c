/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signs the kubeconfig in kube-public/cluster-info with every bootstrap token that may sign (HMAC, a detached JSON Web Signature): whoever knows a token can tell that the
 * CA it reads there, unauthenticated, is the cluster's.
 */
#include "common/base/random.h"
#include "controller-manager/tokens/secrets.h"

#include <gnutls/crypto.h>

#define CONFIG_NAMESPACE "kube-public"
#define CONFIG_NAME "cluster-info"
#define CONFIG_KEY "kubeconfig"
#define SIGNATURE_PREFIX "jws-kubeconfig-"
#define ID_LEN 6
#define SECRET_LEN 16

static bool is_word(const char *text, size_t len)
{
	return text && strlen(text) == len && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789") == len;
}

/* The id and secret of a token that may sign now; false where it may not. *ret_wait_ms: until it expires, 0: never. */
static bool may_sign(struct arena *arena, const struct core_v1_secret *secret, const char **ret_id, const char **ret_secret, int *ret_wait_ms)
{
	if (!str_equal(secret->type, TYPE_BOOTSTRAP_TOKEN) || secret->metadata.deletion_timestamp.set)
		return false;
	const char *id = secret_text(arena, secret, "token-id"), *text = secret_text(arena, secret, "token-secret"), *usage = secret_text(arena, secret, "usage-bootstrap-signing");
	if (!is_word(id, ID_LEN) || !is_word(text, SECRET_LEN) || !str_equal(usage, "true"))
		return false;
	/* The name stands for the id: a Secret of another name is not the one that the API server looks up. */
	if (!str_starts_with(secret->metadata.name, BOOTSTRAP_PREFIX) || !str_equal(secret->metadata.name + strlen(BOOTSTRAP_PREFIX), id))
		return false;
	*ret_id = id;
	*ret_secret = text;
	return !bootstrap_token_is_expired(secret, ret_wait_ms);
}

/* header..signature */
static char *sign(const char *content, const char *id, const char *secret)
{
	uint8_t digest[32];
	autofree char *header = xprintf("{\"alg\":\"HS256\",\"kid\":\"%s\"}", id);
	autofree char *header64 = base64url_encode(header, strlen(header)), *content64 = base64url_encode(content, strlen(content));
	autofree char *text = xprintf("%s.%s", header64, content64);
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, secret, strlen(secret), text, strlen(text), digest) < 0)
		return NULL;
	autofree char *signature = base64url_encode(digest, sizeof(digest));
	return xprintf("%s..%s", header64, signature);
}

static void drop_signatures(struct core_v1_config_map *map)
{
	for (uint32_t i = 0; i < map->data.len;) {
		if (str_starts_with(map->data.items[i].key, SIGNATURE_PREFIX))
			api_list_remove(&map->data, i);
		else
			i++;
	}
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_config_map *map = world_find(r->world, CACHED_CLUSTER_INFO, CONFIG_NAMESPACE, CONFIG_NAME);
	const char *content = map ? api_map_get(&map->data, CONFIG_KEY) : NULL;
	if (!content || map->metadata.deletion_timestamp.set)
		return 0;
	autounref struct core_v1_config_map *copy = api_copy(map);
	autolist struct informer_list secrets = INFORMER_LIST_INIT;
	autoarena struct arena *arena = arena_new();
	int soonest = 0;
	drop_signatures(copy);
	world_list_namespace(r->world, CACHED_SECRETS, BOOTSTRAP_NAMESPACE, &secrets);
	for (size_t i = 0; i < secrets.len; i++) {
		const char *id, *secret;
		int wait_ms = 0;
		if (!may_sign(arena, secrets.items[i], &id, &secret, &wait_ms))
			continue;
		autofree char *key = xprintf(SIGNATURE_PREFIX "%s", id), *signature = sign(content, id, secret);
		if (signature)
			api_map_set(api_arena(copy), &copy->data, key, signature);
		if (wait_ms)
			soonest = soonest ? min_of(soonest, wait_ms) : wait_ms;
	}
	if (!api_map_equal(&copy->data, &map->data)) {
		int result = world_update(r->world, CACHED_CLUSTER_INFO, copy, NULL, err);
		if (result)
			return result;
	}
	return soonest;
}

static void wake_by_secret(struct reconciler *r, const void *object)
{
	const struct core_v1_secret *secret = object;
	if (str_equal(secret->type, TYPE_BOOTSTRAP_TOKEN) && str_equal(secret->metadata.namespace, BOOTSTRAP_NAMESPACE))
		reconciler_add(r, CONFIG_NAMESPACE, CONFIG_NAME);
}

const struct controller bootstrap_signer_controller = {
	.name = "bootstrap-signer-controller",
	.queue = "bootstrap_signer_queue",
	.alias = "bootstrapsigner",
	.account = "bootstrap-signer",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_CLUSTER_INFO}, {.what = CACHED_SECRETS, .wake = wake_by_secret}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
