/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets of type kubernetes.io/service-account-token: filled with a token of the account they name, its namespace and the cluster's CA, and removed when
 * the account goes. Accounts forget Secrets that are gone.
 */
#include "common/base/file.h"
#include "common/token/jwt.h"
#include "controller-manager/tokens/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#define MAX_CA_BYTES ((size_t)1 << 20)
#define ISSUER "kubernetes/serviceaccount"

struct state {
	pthread_mutex_t lock;
	struct jwt_key **keys; /* read with the first Secret */
	size_t key_count;
	struct jwt_key *signing; /* one of them */
	char *ca;                /* "" where there is none */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	for (size_t i = 0; i < state->key_count; i++)
		jwt_key_free(state->keys[i]);
	free(state->keys);
	free(state->ca);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static bool enabled(const struct settings *settings)
{
	return !str_empty(settings->service_account_private_key_file);
}

static int read_files(struct state *state, const struct settings *settings, struct error *err)
{
	int r = 0;
	if (!state->key_count)
		r = jwt_keys_load(settings->service_account_private_key_file, &state->keys, &state->key_count, err);
	for (size_t i = 0; i < state->key_count && !state->signing; i++)
		if (jwt_key_is_private(state->keys[i]))
			state->signing = state->keys[i];
	if (!r && !state->signing)
		r = error_set(err, EINVAL, "--service-account-private-key-file: holds no private key");
	if (!r && !state->ca) {
		if (str_empty(settings->root_ca_file))
			state->ca = xstrdup("");
		else
			r = file_read(AT_FDCWD, settings->root_ca_file, MAX_CA_BYTES, &state->ca, NULL, err);
	}
	return r;
}

static int ready(struct reconciler *r, struct error *err)
{
	struct state *state = r->state;
	pthread_mutex_lock(&state->lock);
	int result = read_files(state, r->world->settings, err);
	pthread_mutex_unlock(&state->lock);
	return result;
}

/* The claims of old tokens: no end, no audience; good as long as Secret and account are. */
static int make_token(const struct state *state, const struct core_v1_secret *secret, const struct core_v1_service_account *account, char **ret, struct error *err)
{
	autofree char *subject = xprintf("system:serviceaccount:%s:%s", account->metadata.namespace, account->metadata.name);
	json_t *claims = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "iss", ISSUER, "kubernetes.io/serviceaccount/namespace", account->metadata.namespace,
		"kubernetes.io/serviceaccount/secret.name", secret->metadata.name, "kubernetes.io/serviceaccount/service-account.name", account->metadata.name,
		"kubernetes.io/serviceaccount/service-account.uid", account->metadata.uid, "sub", subject);
	autofree char *text = json_dumps(claims, JSON_COMPACT);
	json_decref(claims);
	return jwt_sign(state->signing, text, strlen(text), ret, err);
}

static int fill(struct reconciler *r, const struct core_v1_secret *secret, const struct core_v1_service_account *account, struct error *err)
{
	struct state *state = r->state;
	int result = ready(r, err);
	if (result)
		return result;
	autounref struct core_v1_secret *copy = api_copy(secret);
	autoarena struct arena *arena = arena_new();
	bool needs_token = str_empty(secret_text(arena, secret, "token")), changed = needs_token;
	if (*state->ca && !secret_data_is(secret, "ca.crt", state->ca)) {
		secret_set_data(copy, "ca.crt", state->ca);
		changed = true;
	}
	if (!secret_data_is(secret, "namespace", secret->metadata.namespace)) {
		secret_set_data(copy, "namespace", secret->metadata.namespace);
		changed = true;
	}
	if (!str_equal(api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_UID), account->metadata.uid)) {
		api_map_set(api_arena(copy), &copy->metadata.annotations, ANNOTATION_ACCOUNT_UID, account->metadata.uid);
		changed = true;
	}
	if (!changed)
		return 0;
	autofree char *token = NULL;
	if (needs_token) {
		result = make_token(state, secret, account, &token, err);
		if (result)
			return result;
		secret_set_data(copy, "token", token);
	}
	return world_update(r->world, CACHED_SECRETS, copy, NULL, err);
}

/* The account that a Secret names, from the server where the cache does not have it. NULL: it is gone, or another than the Secret was made for. */
static int find_account(struct reconciler *r, const struct core_v1_secret *secret, struct core_v1_service_account **ret, struct error *err)
{
	const char *name = api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_NAME), *uid = api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_UID);
	struct core_v1_service_account *account = world_find(r->world, CACHED_SERVICE_ACCOUNTS, secret->metadata.namespace, name);
	if (!account || (uid && !str_equal(uid, account->metadata.uid))) {
		autoerror struct error failed = {0};
		api_unref(account);
		account = NULL;
		int result = world_get(r->world, CACHED_SERVICE_ACCOUNTS, secret->metadata.namespace, name, (void **)&account, &failed);
		if (result && !error_is(&failed, "NotFound"))
			return error_move(err, &failed);
		if (account && uid && !str_equal(uid, account->metadata.uid)) {
			api_unref(account);
			account = NULL;
		}
	}
	*ret = account;
	return 0;
}

/* Accounts of the namespace that name this Secret do so no more. */
static int forget_secret(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autolist struct informer_list accounts = INFORMER_LIST_INIT;
	int result = 0;
	world_list_namespace(r->world, CACHED_SERVICE_ACCOUNTS, ns, &accounts);
	for (size_t i = 0; i < accounts.len && !result; i++) {
		autounref struct core_v1_service_account *copy = api_copy(accounts.items[i]);
		uint32_t before = copy->secrets.len;
		for (uint32_t j = 0; j < copy->secrets.len;) {
			if (str_equal(copy->secrets.items[j].name, name))
				api_list_remove(&copy->secrets, j);
			else
				j++;
		}
		if (copy->secrets.len != before)
			result = world_update(r->world, CACHED_SERVICE_ACCOUNTS, copy, NULL, err);
	}
	return result;
}

static bool is_token(const struct core_v1_secret *secret)
{
	return str_equal(secret->type, TYPE_SERVICE_ACCOUNT_TOKEN) && !str_empty(api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_NAME));
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_secret *secret = world_find(r->world, CACHED_SECRETS, ns, name);
	if (!secret)
		return forget_secret(r, ns, name, err);
	if (!is_token(secret) || secret->metadata.deletion_timestamp.set)
		return 0;
	autounref struct core_v1_service_account *account = NULL;
	int result = find_account(r, secret, &account, err);
	if (result)
		return result;
	return account ? fill(r, secret, account, err) : world_delete(r->world, CACHED_SECRETS, secret, NULL, err);
}

static void wake_by_secret(struct reconciler *r, const void *object)
{
	const struct core_v1_secret *secret = object;
	if (is_token(secret))
		reconciler_add(r, secret->metadata.namespace, secret->metadata.name);
}

static void wake_by_account(struct reconciler *r, const void *object)
{
	const struct core_v1_service_account *account = object;
	autolist struct informer_list secrets = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_SECRETS, account->metadata.namespace, &secrets);
	for (size_t i = 0; i < secrets.len; i++)
		if (is_token(secrets.items[i]) && str_equal(api_map_get(&api_metadata(secrets.items[i])->annotations, ANNOTATION_ACCOUNT_NAME), account->metadata.name))
			wake_by_secret(r, secrets.items[i]);
}

const struct controller service_account_token_controller = {
	.name = "serviceaccount-token-controller",
	.queue = "serviceaccount_tokens_service",
	.alias = "serviceaccount-token",
	.concurrency_flag = "concurrent-serviceaccount-token-syncs",
	.workers = 5,
	.enabled = enabled,
	.watches = (const struct controller_watch[]){{.what = CACHED_SECRETS, .wake = wake_by_secret},
		{.what = CACHED_SERVICE_ACCOUNTS, .wake = wake_by_account},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
