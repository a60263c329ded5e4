/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/accounts.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"

#include "api/authentication_v1.h"
#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>

#define ACCOUNT_NAMESPACE "kube-system"
#define TOKEN_SECONDS 3600
#define RENEW_SECONDS (TOKEN_SECONDS * 3 / 4)
#define RETRY_SECONDS 30

struct accounts {
	struct client *client;
	const struct client_config *config;
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	bool stopping;
	pthread_t thread;
	struct map clients; /* struct client by name of the account; changed only before there are tokens to renew, or under the lock */
};

static void free_client(void *client)
{
	client_free(client);
}

static int make_account(struct accounts *accounts, const char *name, struct error *err)
{
	autounref struct core_v1_service_account *account = api_new_of(core_v1_service_account);
	autoerror struct error failed = {0};
	account->metadata.name = name;
	account->metadata.namespace = ACCOUNT_NAMESPACE;
	int r = client_create(accounts->client, api_resource_find("", "v1", "serviceaccounts"), ACCOUNT_NAMESPACE, account, NULL, &failed);
	return r && error_is(&failed, "AlreadyExists") ? 0 : error_move(err, &failed);
}

static int ask_token(struct accounts *accounts, const char *name, char **ret, struct error *err)
{
	autounref struct authentication_v1_token_request *request = api_new_of(authentication_v1_token_request), *answer = NULL;
	request->spec.expiration_seconds = api_int64(api_arena(request), TOKEN_SECONDS);
	const struct api_resource *resource = api_resource_find("", "v1", "serviceaccounts");
	int r = client_post_subresource(accounts->client, resource, ACCOUNT_NAMESPACE, name, "token", request, &authentication_v1_token_request_type, (void **)&answer, err);
	if (r)
		return r;
	if (str_empty(answer->status.token))
		return error_set(err, EPROTO, "the server gives no token for %s", name);
	*ret = xstrdup(answer->status.token);
	return 0;
}

/* The account is made once more where somebody has deleted it meanwhile. */
static int fresh_token(struct accounts *accounts, const char *name, char **ret, struct error *err)
{
	autoerror struct error failed = {0};
	int r = ask_token(accounts, name, ret, &failed);
	if (!r || !error_is(&failed, "NotFound"))
		return error_move(err, &failed);
	r = make_account(accounts, name, err);
	return r ? r : ask_token(accounts, name, ret, err);
}

/* Renews all; false where some could not be. */
static bool renew_all(struct accounts *accounts)
{
	bool all = true;
	struct map_entry *entry;
	for (size_t i = 0; (entry = map_next(&accounts->clients, &i));) {
		autofree char *token = NULL;
		autoerror struct error err = {0};
		if (fresh_token(accounts, entry->key, &token, &err)) {
			log_error("the token of a controller's account could not be renewed", LOG_STR("account", entry->key), LOG_ERR(&err));
			all = false;
			continue;
		}
		client_set_token(entry->value, token);
	}
	return all;
}

static void *renew(void *arg)
{
	struct accounts *accounts = arg;
	int64_t wait = RENEW_SECONDS;
	pthread_mutex_lock(&accounts->lock);
	while (!accounts->stopping) {
		struct timespec until;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += wait;
		if (pthread_cond_timedwait(&accounts->stopped, &accounts->lock, &until) != ETIMEDOUT)
			continue;
		wait = renew_all(accounts) ? RENEW_SECONDS : RETRY_SECONDS;
	}
	pthread_mutex_unlock(&accounts->lock);
	return NULL;
}

struct accounts *accounts_new(struct client *client, const struct client_config *config)
{
	struct accounts *accounts = xnew(struct accounts);
	pthread_condattr_t attributes;
	accounts->client = client;
	accounts->config = config;
	accounts->clients = MAP_INIT(free_client);
	pthread_mutex_init(&accounts->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&accounts->stopped, &attributes);
	pthread_condattr_destroy(&attributes);
	if (pthread_create(&accounts->thread, NULL, renew, accounts))
		abort();
	return accounts;
}

static int new_client(struct accounts *accounts, const char *name, struct client **ret, struct error *err)
{
	autofree char *token = NULL;
	int r = fresh_token(accounts, name, &token, err);
	if (r)
		return r;
	struct client_config config = *accounts->config; /* copied by client_new */
	config.cert_pem = config.key_pem = config.token_file = config.username = config.password = NULL;
	config.impersonate.items = NULL, config.impersonate.len = 0;
	config.token = token;
	autofree char *agent = xprintf("%s/system:serviceaccount:" ACCOUNT_NAMESPACE ":%s", str_or(accounts->config->user_agent, "coracle"), name);
	config.user_agent = agent;
	return client_new(&config, ret, err);
}

int accounts_client(struct accounts *accounts, const char *name, struct client **ret, struct error *err)
{
	pthread_mutex_lock(&accounts->lock);
	struct client *client = map_get(&accounts->clients, name);
	int r = client ? 0 : new_client(accounts, name, &client, err);
	if (!r) {
		if (!map_has(&accounts->clients, name))
			map_set(&accounts->clients, name, client);
		*ret = client;
	}
	pthread_mutex_unlock(&accounts->lock);
	return r;
}

void accounts_free(struct accounts *accounts)
{
	if (!accounts)
		return;
	pthread_mutex_lock(&accounts->lock);
	accounts->stopping = true;
	pthread_cond_signal(&accounts->stopped);
	pthread_mutex_unlock(&accounts->lock);
	pthread_join(accounts->thread, NULL);
	map_done(&accounts->clients);
	pthread_cond_destroy(&accounts->stopped);
	pthread_mutex_destroy(&accounts->lock);
	free(accounts);
}
