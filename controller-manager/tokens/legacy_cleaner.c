/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removes the token Secrets that Kubernetes once made by itself for every account, when nobody has used them for --legacy-service-account-token-clean-up-period:
 * first it marks them invalid (the API server refuses them then), and after the same time again it deletes them. Those that people made themselves are
 * not in their account's list, and stay.
 */
#include "controller-manager/tokens/secrets.h"

#include <time.h>

#define KEY "all"
#define ROUND_MS (24 * 3600 * 1000)
#define TRACKING_MAP "kube-apiserver-legacy-service-account-token-tracking"
#define LABEL_LAST_USED "kubernetes.io/legacy-token-last-used"
#define LABEL_INVALID_SINCE "kubernetes.io/legacy-token-invalid-since"
#define DATE_SIZE 16
#define MAX_PODS_BYTES ((size_t)256 << 20)

static void date_of(struct wall_time t, char out[DATE_SIZE])
{
	struct tm parts;
	time_t seconds = t.sec;
	gmtime_r(&seconds, &parts);
	strftime(out, DATE_SIZE, "%Y-%m-%d", &parts);
}

/* Midnight of a "2006-01-02"; false where it is none. */
static bool parse_date(const char *text, struct wall_time *ret)
{
	if (!text || strlen(text) != 10)
		return false;
	autofree char *full = xprintf("%sT00:00:00Z", text);
	return time_parse_rfc3339(full, strlen(full), ret) == 0;
}

static bool account_names(struct reconciler *r, const struct core_v1_secret *secret)
{
	const char *name = api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_NAME), *uid = api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_UID);
	autounref struct core_v1_service_account *account = str_empty(name) ? NULL : world_find(r->world, CACHED_SERVICE_ACCOUNTS, secret->metadata.namespace, name);
	if (!account || (!str_empty(uid) && !str_equal(uid, account->metadata.uid)))
		return false;
	for (uint32_t i = 0; i < account->secrets.len; i++)
		if (str_equal(account->secrets.items[i].name, secret->metadata.name))
			return true;
	return false;
}

static bool container_uses(const struct core_v1_env_var_array *env, const struct core_v1_env_from_source_array *from, const char *name)
{
	for (uint32_t i = 0; i < env->len; i++)
		if (env->items[i].value_from && env->items[i].value_from->secret_key_ref && str_equal(env->items[i].value_from->secret_key_ref->name, name))
			return true;
	for (uint32_t i = 0; i < from->len; i++)
		if (from->items[i].secret_ref && str_equal(from->items[i].secret_ref->name, name))
			return true;
	return false;
}

static bool volume_uses(const struct core_v1_volume *volume, const char *name)
{
	if (volume->secret && str_equal(volume->secret->secret_name, name))
		return true;
	for (uint32_t i = 0; volume->projected && i < volume->projected->sources.len; i++)
		if (volume->projected->sources.items[i].secret && str_equal(volume->projected->sources.items[i].secret->name, name))
			return true;
	return false;
}

static bool pod_uses(const struct core_v1_pod *pod, const char *name)
{
	const struct core_v1_container_array *lists[] = {&pod->spec.containers, &pod->spec.init_containers};
	for (uint32_t i = 0; i < pod->spec.volumes.len; i++)
		if (volume_uses(&pod->spec.volumes.items[i], name))
			return true;
	for (uint32_t i = 0; i < pod->spec.image_pull_secrets.len; i++)
		if (str_equal(pod->spec.image_pull_secrets.items[i].name, name))
			return true;
	for (size_t l = 0; l < array_len(lists); l++)
		for (uint32_t i = 0; i < lists[l]->len; i++)
			if (container_uses(&lists[l]->items[i].env, &lists[l]->items[i].env_from, name))
				return true;
	return false;
}

/* From the server: the cache keeps of pods only what the other controllers read. *ret: whether some pod of the namespace uses it. */
static int is_mounted(struct reconciler *r, const struct core_v1_secret *secret, bool *ret, struct error *err)
{
	autobuf struct buf body = BUF_INIT(MAX_PODS_BYTES);
	autounref struct core_v1_pod_list *pods = NULL;
	autofree char *path = xprintf("/api/v1/namespaces/%s/pods?resourceVersion=0", secret->metadata.namespace);
	struct client_request request = {.method = "GET", .path = path, .accept = "application/json"};
	int result = r->world->ops->request(r->world, &request, &body, NULL, err);
	result = result ? result : api_decode_json(&core_v1_pod_list_type, body.data ? body.data : "", body.len, NULL, (void **)&pods, err);
	if (result < 0)
		return result;
	*ret = false;
	for (uint32_t i = 0; i < pods->items.len && !*ret; i++)
		*ret = pod_uses(&pods->items.items[i], secret->metadata.name);
	return 0;
}

static int look_at(struct reconciler *r, const struct core_v1_secret *secret, const char *oldest, struct error *err)
{
	char created[DATE_SIZE], today[DATE_SIZE];
	struct wall_time date;
	if (!str_equal(secret->type, TYPE_SERVICE_ACCOUNT_TOKEN) || secret->metadata.deletion_timestamp.set)
		return 0;
	date_of(secret->metadata.creation_timestamp.t, created);
	const char *used = api_map_get(&secret->metadata.labels, LABEL_LAST_USED), *invalid = api_map_get(&secret->metadata.labels, LABEL_INVALID_SINCE);
	if (strcmp(created, oldest) >= 0 || (used && (!parse_date(used, &date) || strcmp(used, oldest) >= 0)))
		return 0;
	if (!account_names(r, secret))
		return 0;
	bool mounted;
	int result = is_mounted(r, secret, &mounted, err);
	if (result || mounted)
		return result;
	if (!parse_date(invalid, &date)) {
		date_of(clock_wall(), today);
		autofree char *patch = xprintf("{\"metadata\":{\"uid\":\"%s\",\"labels\":{\"" LABEL_INVALID_SINCE "\":\"%s\"}}}", secret->metadata.uid, today);
		return world_merge_patch(r->world, CACHED_SECRETS, secret->metadata.namespace, secret->metadata.name, NULL, patch, err);
	}
	return strcmp(invalid, oldest) >= 0 ? 0 : world_delete(r->world, CACHED_SECRETS, secret, NULL, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	int64_t period = r->world->settings->legacy_token_clean_up_period / NSEC_PER_SEC;
	autounref struct core_v1_config_map *map = NULL;
	autoerror struct error failed = {0};
	struct wall_time since, now = clock_wall();
	char oldest[DATE_SIZE];
	int result = world_get(r->world, CACHED_CONFIG_MAPS, "kube-system", TRACKING_MAP, (void **)&map, &failed);
	if (result && !error_is(&failed, "NotFound"))
		return error_move(err, &failed);
	/* What was used before use was written down nobody knows. */
	if (!map || !parse_date(api_map_get(&map->data, "since"), &since) || now.sec < since.sec + 24 * 3600 + period)
		return ROUND_MS;
	date_of((struct wall_time){now.sec - period, 0}, oldest);
	autolist struct informer_list secrets = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_SECRETS, &secrets);
	for (size_t i = 0; i < secrets.len; i++) {
		int one = look_at(r, secrets.items[i], oldest, result ? NULL : err);
		result = result ? result : one;
	}
	return result ? result : ROUND_MS;
}

static bool enabled(const struct settings *settings)
{
	return settings->legacy_token_clean_up_period > 0;
}

static void started(struct reconciler *r)
{
	reconciler_add(r, NULL, KEY);
}

const struct controller legacy_token_cleaner_controller = {
	.name = "legacy-serviceaccount-token-cleaner-controller",
	.alias = "legacy-service-account-token-cleaner",
	.account = "legacy-service-account-token-cleaner",
	.workers = 1,
	.enabled = enabled,
	.watches = (const struct controller_watch[]){{.what = CACHED_SECRETS, .read_only = true},
		{.what = CACHED_SERVICE_ACCOUNTS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.started = started,
};
