/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/credential/account.h"

#include "common/api/yaml.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_CONFIG (1u << 20)
#define MAX_ANSWER (1u << 20)
#define PLUGIN_TIMEOUT_MS 60000
#define MAX_HOST 256
#define API_GROUP "credentialprovider.kubelet.k8s.io/"
#define GLOBAL_KEY "" /* no image and no registry is called so */

struct provider {
	char *name, *path, *api_version;
	char **patterns, **argv, **env; /* NULL terminated */
	int64_t cache_ns;
	struct account_rule account;
	pthread_mutex_t running; /* one at a time: who comes second finds the answer */
};

struct answer {
	json_t *auth;
	int64_t until;
};

struct credential_providers {
	struct provider *items;
	size_t len;
	pthread_mutex_t lock;
	struct map answers; /* "<provider's place>/<account's key>/<key>" -> struct answer */
};

/* ---- patterns ---- */

/* "host[:port][/path]": the parts of a registry's place. */
struct place {
	char host[MAX_HOST];
	const char *port, *path; /* "" where absent; the port within `host` */
};

static bool place_of(const char *text, struct place *ret) {
	const char *scheme = strstr(text, "://");
	text = scheme ? scheme + 3 : text;
	size_t len = strcspn(text, "/");
	if (len >= sizeof(ret->host))
		return false;
	memcpy(ret->host, text, len);
	ret->host[len] = '\0';
	ret->path = text + len;
	char *colon = strchr(ret->host, ':');
	ret->port = colon ? colon + 1 : "";
	if (colon)
		*colon = '\0';
	return len > 0;
}

/* Label by label: a star stands for no dot. */
static bool hosts_match(char *pattern, char *host) {
	char *save_pattern = NULL, *save_host = NULL;
	char *p = strtok_r(pattern, ".", &save_pattern), *h = strtok_r(host, ".", &save_host);
	for (; p && h; p = strtok_r(NULL, ".", &save_pattern), h = strtok_r(NULL, ".", &save_host))
		if (fnmatch(p, h, 0) != 0)
			return false;
	return !p && !h;
}

bool credential_pattern_matches(const char *pattern, const char *image) {
	struct place p, i;
	return place_of(pattern, &p) && place_of(image, &i) && str_equal(p.port, i.port) && str_starts_with(i.path, p.path) && hosts_match(p.host, i.host);
}

/* ---- configuration ---- */

static void free_strings(char **list) {
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

/* Room for `more` is kept at the front. NULL where something in the list is no string. */
static char **strings_of(json_t *list, size_t more) {
	char **out = xcalloc(json_array_size(list) + more + 1, sizeof(char *));
	for (size_t i = 0; i < json_array_size(list); i++)
		out[more + i] = xstrdup(str_or(json_string_value(json_array_get(list, i)), ""));
	return out;
}

/* What this process has, and then what the configuration says. */
static char **environment_of(json_t *list) {
	size_t own = 0, n = 0;
	while (environ[own])
		own++;
	char **out = xcalloc(own + json_array_size(list) + 1, sizeof(char *));
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *item = json_array_get(list, i);
		out[n++] = xprintf("%s=%s", str_or(json_string_value(json_object_get(item, "name")), ""), str_or(json_string_value(json_object_get(item, "value")), ""));
	}
	size_t given = n;
	for (size_t i = 0; i < own; i++) {
		bool replaced = false;
		for (size_t j = 0; j < given; j++)
			replaced = replaced || strncmp(out[j], environ[i], strcspn(out[j], "=") + 1) == 0;
		if (!replaced)
			out[n++] = xstrdup(environ[i]);
	}
	return out;
}

static int read_provider(json_t *json, const char *programs, struct provider *ret, struct error *err) {
	const char *name = json_string_value(json_object_get(json, "name")), *version = json_string_value(json_object_get(json, "apiVersion")), *cache = json_string_value(json_object_get(json, "defaultCacheDuration"));
	json_t *patterns = json_object_get(json, "matchImages");
	if (str_empty(name) || strpbrk(name, "/ ") || str_equal(name, ".") || str_equal(name, ".."))
		return error_set(err, EINVAL, "name: \"%s\" is no name of a program", str_or(name, ""));
	ret->name = xstrdup(name);
	ret->path = path_join(programs, name, NULL);
	ret->patterns = strings_of(patterns, 0);
	ret->env = environment_of(json_object_get(json, "env"));
	ret->argv = strings_of(json_object_get(json, "args"), 1);
	ret->argv[0] = xstrdup(ret->path);
	if (!json_array_size(patterns))
		return error_set(err, EINVAL, "%s: matchImages: at least one is required", name);
	struct place place;
	for (size_t i = 0; ret->patterns[i]; i++)
		if (!place_of(ret->patterns[i], &place))
			return error_set(err, EINVAL, "%s: matchImages: \"%s\" matches nothing", name, ret->patterns[i]);
	if (!version || !str_starts_with(version, API_GROUP))
		return error_set(err, EINVAL, "%s: apiVersion: want " API_GROUP "v1", name);
	ret->api_version = xstrdup(version);
	if (!cache || duration_parse(cache, strlen(cache), &ret->cache_ns) < 0 || ret->cache_ns < 0)
		return error_set(err, EINVAL, "%s: defaultCacheDuration: want a duration", name);
	json_t *attributes = json_object_get(json, "tokenAttributes");
	if (attributes && !str_equal(version, API_GROUP "v1"))
		return error_set(err, EINVAL, "%s: tokenAttributes: want apiVersion " API_GROUP "v1", name);
	int r = attributes ? account_rule_read(attributes, &ret->account, err) : 0;
	if (r < 0)
		return error_context(err, "%s", name);
	if (access(ret->path, X_OK) < 0)
		return error_set_errno(err, errno, "%s", ret->path);
	return 0;
}

static int read_config(struct credential_providers *providers, json_t *root, const char *programs, struct error *err) {
	json_t *list = json_object_get(root, "providers");
	if (!str_equal(json_string_value(json_object_get(root, "kind")), "CredentialProviderConfig"))
		return error_set(err, EINVAL, "no kind \"CredentialProviderConfig\"");
	if (!json_array_size(list))
		return error_set(err, EINVAL, "providers: at least one is required");
	providers->items = xcalloc(json_array_size(list), sizeof(*providers->items));
	int r = 0;
	for (size_t i = 0; r == 0 && i < json_array_size(list); i++) {
		struct provider *provider = &providers->items[providers->len++];
		pthread_mutex_init(&provider->running, NULL);
		r = read_provider(json_array_get(list, i), programs, provider, err);
		for (size_t j = 0; r == 0 && j < i; j++)
			if (str_equal(providers->items[j].name, provider->name))
				r = error_set(err, EINVAL, "%s: stands there twice", provider->name);
	}
	return r;
}

static void answer_free(void *arg) {
	struct answer *answer = arg;
	json_decref(answer->auth);
	free(answer);
}

int credential_providers_new(const char *config, const char *programs, struct credential_providers **ret, struct error *err) {
	struct credential_providers *providers = xnew(struct credential_providers);
	autofree char *text = NULL;
	json_t *root = NULL;
	size_t len;
	pthread_mutex_init(&providers->lock, NULL);
	providers->answers = MAP_INIT(answer_free);
	int r = file_read(AT_FDCWD, config, MAX_CONFIG, &text, &len, err);
	if (r == 0)
		r = yaml_load(text, len, &root, err);
	if (r == 0)
		r = read_config(providers, root, programs, err);
	json_decref(root);
	if (r < 0) {
		credential_providers_free(providers);
		error_context(err, "%s", config);
		return r;
	}
	*ret = providers;
	return 0;
}

void credential_providers_free(struct credential_providers *providers) {
	if (!providers)
		return;
	for (size_t i = 0; i < providers->len; i++) {
		struct provider *p = &providers->items[i];
		free(p->name);
		free(p->path);
		free(p->api_version);
		free_strings(p->patterns);
		free_strings(p->argv);
		free_strings(p->env);
		account_rule_done(&p->account);
		pthread_mutex_destroy(&p->running);
	}
	free(providers->items);
	map_done(&providers->answers);
	pthread_mutex_destroy(&providers->lock);
	free(providers);
}

/* ---- asking ---- */

static char *cache_key(size_t place, const struct account *account, const char *key) {
	return xprintf("%zu/%s/%s", place, account->key, key);
}

/* The caller drops the reference; NULL where nothing is remembered. */
static json_t *remembered(struct credential_providers *providers, size_t place, const struct account *account, const char *image, const char *registry) {
	const char *const keys[] = {image, registry, GLOBAL_KEY};
	json_t *found = NULL;
	pthread_mutex_lock(&providers->lock);
	for (size_t i = 0; !found && i < array_len(keys); i++) {
		autofree char *key = cache_key(place, account, keys[i]);
		struct answer *answer = map_get(&providers->answers, key);
		if (answer && clock_monotonic_ns() < answer->until)
			found = json_incref(answer->auth);
	}
	pthread_mutex_unlock(&providers->lock);
	return found;
}

static void remember(struct credential_providers *providers, size_t place, const struct account *account, const char *key, json_t *auth, int64_t ns) {
	int64_t now = clock_monotonic_ns();
	struct map_entry *e;
	if (ns <= 0)
		return;
	struct answer *answer = xnew(struct answer);
	*answer = (struct answer){json_incref(auth), ns < INT64_MAX - now ? now + ns : INT64_MAX};
	autofree char *name = cache_key(place, account, key);
	pthread_mutex_lock(&providers->lock);
	for (size_t i = 0; (e = map_next(&providers->answers, &i));)
		if (((struct answer *)e->value)->until <= now)
			map_remove(&providers->answers, e->key);
	map_set(&providers->answers, name, answer);
	pthread_mutex_unlock(&providers->lock);
}

static int run_plugin(const struct provider *provider, const char *image, const struct account *account, json_t **ret, struct error *err) {
	json_t *request = json_pack("{s:s,s:s,s:s}", "kind", "CredentialProviderRequest", "apiVersion", provider->api_version, "image", image);
	if (account->token)
		json_object_set_new(request, "serviceAccountToken", json_string(account->token));
	if (json_object_size(account->annotations))
		json_object_set(request, "serviceAccountAnnotations", account->annotations);
	autofree char *input = json_dumps(request, JSON_COMPACT);
	autobuf struct buf out = BUF_INIT(MAX_ANSWER), errout = BUF_INIT(MAX_ANSWER);
	json_decref(request);
	const struct process_options options = {.argv = (const char *const *)provider->argv, .envp = (const char *const *)provider->env, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .new_session = true, .die_with_parent = false};
	int r = process_run(&options, input, strlen(input), &out, &errout, PLUGIN_TIMEOUT_MS, NULL, err);
	memset(input, 0, strlen(input));
	if (r < 0)
		return r;
	/* Nothing of the answer is ever told: it holds secrets. */
	json_t *answer = out.len ? json_loadb(out.data, out.len, 0, NULL) : NULL;
	bool fits = json_is_object(answer) && str_equal(json_string_value(json_object_get(answer, "kind")), "CredentialProviderResponse") && str_equal(json_string_value(json_object_get(answer, "apiVersion")), provider->api_version);
	if (out.data)
		memset(out.data, 0, out.len);
	if (!fits) {
		json_decref(answer);
		return error_set(err, EBADMSG, "its answer is no CredentialProviderResponse of %s", provider->api_version);
	}
	*ret = answer;
	return 0;
}

/* What is good for all pods of an account must not be the token of one of them. */
static bool echoes_token(const struct provider *provider, const struct account *account, json_t *auth) {
	const char *key;
	json_t *entry;
	json_object_foreach(auth, key, entry)
		if (account->token && !provider->account.per_token && str_equal(json_string_value(json_object_get(entry, "password")), account->token))
			return true;
	return false;
}

/* The "auth" map of an answer, remembered for as long as it allows; the caller drops the reference. */
static json_t *take_answer(struct credential_providers *providers, size_t place, const struct account *account, const char *image, const char *registry, json_t *answer) {
	const struct provider *provider = &providers->items[place];
	const char *kind = json_string_value(json_object_get(answer, "cacheKeyType")), *cache = json_string_value(json_object_get(answer, "cacheDuration"));
	const char *key = str_equal(kind, "Image") ? image : str_equal(kind, "Registry") ? registry : str_equal(kind, "Global") ? GLOBAL_KEY : NULL;
	int64_t ns = provider->cache_ns;
	json_t *auth = json_object_get(answer, "auth");
	if (cache && duration_parse(cache, strlen(cache), &ns) < 0)
		ns = 0;
	if (echoes_token(provider, account, auth)) {
		log_error("credential provider gives the token back as a password, which cacheType Token alone allows", LOG_STR("provider", provider->name));
		return NULL;
	}
	auth = json_is_object(auth) ? json_incref(auth) : json_object();
	if (key)
		remember(providers, place, account, key, auth, ns);
	else
		log_error("credential provider's answer has no cacheKeyType", LOG_STR("provider", provider->name));
	return auth;
}

/* The provider's "auth" map; the caller drops the reference. */
static json_t *ask(struct credential_providers *providers, size_t place, const char *image, const char *registry, const struct credential_pod *pod) {
	struct provider *provider = &providers->items[place];
	autoerror struct error err = {0};
	autoaccount struct account account = {0};
	json_t *answer = NULL;
	int r = account_of(&provider->account, pod, &account, &err);
	if (r < 0) {
		if (r != -ENOENT)
			log_error("credential provider cannot be asked", LOG_STR("provider", provider->name), LOG_STR("image", image), LOG_ERR(&err));
		return NULL;
	}
	pthread_mutex_lock(&provider->running);
	json_t *auth = remembered(providers, place, &account, image, registry);
	if (!auth && run_plugin(provider, image, &account, &answer, &err) < 0)
		log_error("credential provider fails", LOG_STR("provider", provider->name), LOG_STR("image", image), LOG_ERR(&err));
	if (answer)
		auth = take_answer(providers, place, &account, image, registry, answer);
	json_decref(answer);
	pthread_mutex_unlock(&provider->running);
	return auth;
}

static void add_auth(json_t *auths, const char *registry, json_t *entry) {
	const char *user = json_string_value(json_object_get(entry, "username")), *password = json_string_value(json_object_get(entry, "password"));
	if (!user || !password || json_object_get(auths, registry))
		return;
	autofree char *plain = xprintf("%s:%s", user, password);
	gnutls_datum_t in = {(unsigned char *)plain, (unsigned)strlen(plain)}, out = {0};
	if (gnutls_base64_encode2(&in, &out) == 0) {
		json_object_set_new(auths, registry, json_pack("{s:s%}", "auth", (const char *)out.data, (size_t)out.size));
		gnutls_free(out.data);
	}
	memset(plain, 0, strlen(plain));
}

bool credential_providers_ask_for_accounts(const struct credential_providers *providers) {
	for (size_t i = 0; providers && i < providers->len; i++)
		if (!str_empty(providers->items[i].account.audience))
			return true;
	return false;
}

void credential_providers_add(struct credential_providers *providers, const char *image, const struct credential_pod *pod, json_t *auths) {
	autofree char *registry = xstrndup(image, strcspn(image, "/"));
	for (size_t i = 0; providers && i < providers->len; i++) {
		bool asked = false;
		for (size_t j = 0; !asked && providers->items[i].patterns[j]; j++)
			asked = credential_pattern_matches(providers->items[i].patterns[j], image);
		json_t *auth = asked ? ask(providers, i, image, registry, pod) : NULL, *entry, *best = NULL;
		const char *key, *best_key = "";
		json_object_foreach(auth, key, entry) {
			/* The last by name, as Kubernetes orders them: a longer path comes after a shorter one, a name after a star. */
			if (credential_pattern_matches(key, image) && strcmp(key, best_key) > 0) {
				best_key = key;
				best = entry;
			}
		}
		if (best)
			add_auth(auths, registry, best);
		json_decref(auth);
	}
}
