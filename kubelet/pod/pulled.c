/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/pulled.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/image/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_RECORD (1u << 20)
#define MAX_CREDENTIALS 100 /* of one kind, for one image; the oldest go */
#define API_VERSION "kubelet.config.k8s.io/v1beta1"

enum policy { NEVER, NOT_PRELOADED, NOT_LISTED, ALWAYS, POLICIES };
static const char *const policies[POLICIES] = {"NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify"};
static const char *const lists[] = {"kubernetesSecrets", "kubernetesServiceAccounts"};

static pthread_mutex_t records_lock = PTHREAD_MUTEX_INITIALIZER;

static enum policy policy_of(const char *text) {
	for (enum policy p = 0; p < POLICIES; p++)
		if (str_equal(text, policies[p]))
			return p;
	return POLICIES;
}

bool pulled_policy_is_known(const char *policy) {
	return policy_of(policy) < POLICIES;
}

/* ---- files ---- */

static char *folder_of(struct kubelet *kubelet, const char *kind) {
	return path_join(kubelet->options.root_dir, "image_manager", kind, NULL);
}

static char *file_of(struct kubelet *kubelet, const char *kind, const char *name) {
	char hex[65];
	sha256_hex(name, strlen(name), hex);
	autofree char *folder = folder_of(kubelet, kind), *file = xprintf("sha256-%s", hex);
	return path_join(folder, file, NULL);
}

static json_t *load(const char *path) {
	autofree char *text = NULL;
	size_t len;
	json_t *record = file_read(AT_FDCWD, path, MAX_RECORD, &text, &len, NULL) == 0 ? json_loadb(text, len, 0, NULL) : NULL;
	if (json_is_object(record))
		return record;
	json_decref(record);
	return NULL;
}

static int save(struct kubelet *kubelet, const char *kind, const char *name, json_t *record, struct error *err) {
	autofree char *folder = folder_of(kubelet, kind), *path = file_of(kubelet, kind, name), *text = json_dumps(record, JSON_COMPACT);
	int r = file_mkdir_all(folder, 0700, err);
	return r < 0 ? r : file_write_durable(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* ---- who may ---- */

/* The same credential, or the same object that held another one before. */
static bool is_same(json_t *a, json_t *b) {
	const char *x = json_string_value(json_object_get(a, "credentialHash")), *y = json_string_value(json_object_get(b, "credentialHash"));
	if (!str_empty(x) && str_equal(x, y))
		return true;
	static const char *const coordinates[] = {"uid", "namespace", "name"};
	for (size_t i = 0; i < array_len(coordinates); i++)
		if (!str_equal(json_string_value(json_object_get(a, coordinates[i])), json_string_value(json_object_get(b, coordinates[i]))))
			return false;
	return true;
}

static json_t *find_same(json_t *list, json_t *one) {
	json_t *item;
	size_t i;
	json_array_foreach(list, i, item)
		if (is_same(item, one))
			return item;
	return NULL;
}

static bool shares_one(json_t *known, json_t *brings) {
	for (size_t k = 0; k < array_len(lists); k++) {
		json_t *item;
		size_t i;
		json_array_foreach(json_object_get(brings, lists[k]), i, item)
			if (find_same(json_object_get(known, lists[k]), item))
				return true;
	}
	return false;
}

/* "registry/path", or all below it by "registry/path/" and a star. */
static bool is_listed(const struct flag_list *list, const char *name, const char *repository) {
	const char *slash = strrchr(name, '/');
	size_t len = strcspn(name, "@");
	const char *colon = strchr(slash ? slash : name, ':');
	autofree char *bare = xstrndup(name, colon ? min_of(len, (size_t)(colon - name)) : len);
	for (size_t i = 0; i < list->len; i++) {
		const char *pattern = list->items[i];
		size_t n = strlen(pattern);
		bool below = n > 2 && str_ends_with(pattern, "/*");
		if (below ? strncmp(bare, pattern, n - 1) == 0 || strncmp(repository, pattern, n - 1) == 0 : str_equal(bare, pattern) || str_equal(repository, pattern))
			return true;
	}
	return false;
}

static bool needs_check(struct kubelet *kubelet, const char *name, const char *repository, bool was_pulled) {
	const struct kubelet_options *o = &kubelet->options;
	switch (policy_of(o->image_credentials_policy)) {
	case NEVER:
		return false;
	case NOT_LISTED:
		return was_pulled || !is_listed(&o->preloaded_images, name, repository);
	case ALWAYS:
		return true;
	default:
		return was_pulled;
	}
}

bool pulled_allows(struct kubelet *kubelet, const char *name, const char *repository, const char *id, json_t *brings) {
	autofree char *path = file_of(kubelet, "pulled", id), *intent = file_of(kubelet, "pulling", name);
	pthread_mutex_lock(&records_lock);
	json_t *record = load(path);
	bool was_pulled = file_exists(path) || file_exists(intent);
	pthread_mutex_unlock(&records_lock);
	json_t *known = json_object_get(json_object_get(record, "credentialMapping"), repository);
	bool allowed = !needs_check(kubelet, name, repository, was_pulled) || json_is_true(json_object_get(known, "nodePodsAccessible")) || shares_one(known, brings);
	json_decref(record);
	return allowed;
}

/* ---- pulls ---- */

int pulled_intend(struct kubelet *kubelet, const char *name, struct error *err) {
	json_t *intent = json_pack("{s:s,s:s,s:s}", "kind", "ImagePullIntent", "apiVersion", API_VERSION, "image", name);
	pthread_mutex_lock(&records_lock);
	int r = save(kubelet, "pulling", name, intent, err);
	pthread_mutex_unlock(&records_lock);
	json_decref(intent);
	return r < 0 ? error_context(err, "failed to record image pull intent") : 0;
}

/* What was pulled with joins what is known; one that has changed takes the place of its former self. */
static void join(json_t *mapping, const char *repository, json_t *used) {
	json_t *known = json_object_get(mapping, repository), *item;
	bool any = false;
	size_t i;
	if (!json_is_object(known)) {
		known = json_object();
		json_object_set_new(mapping, repository, known);
	}
	for (size_t k = 0; k < array_len(lists); k++) {
		json_array_foreach(json_object_get(used, lists[k]), i, item) {
			json_t *list = json_object_get(known, lists[k]), *same = find_same(list, item);
			any = true;
			if (!list)
				json_object_set_new(known, lists[k], list = json_array());
			if (same)
				json_object_update(same, item);
			else
				json_array_append(list, item);
			while (json_array_size(list) > MAX_CREDENTIALS)
				json_array_remove(list, 0);
		}
	}
	/* Whoever can pull without any, or with the node's, stands for all pods of the node. */
	if (!any) {
		json_object_clear(known);
		json_object_set_new(known, "nodePodsAccessible", json_true());
	} else if (json_is_true(json_object_get(known, "nodePodsAccessible"))) {
		for (size_t k = 0; k < array_len(lists); k++)
			json_object_del(known, lists[k]);
	}
}

static int record_pull(struct kubelet *kubelet, const char *repository, const char *id, json_t *used, struct error *err) {
	autofree char *path = file_of(kubelet, "pulled", id);
	char now[40];
	json_t *record = load(path);
	if (!record)
		record = json_pack("{s:s,s:s,s:s}", "kind", "ImagePulledRecord", "apiVersion", API_VERSION, "imageRef", id);
	json_t *mapping = json_object_get(record, "credentialMapping");
	if (!json_is_object(mapping))
		json_object_set_new(record, "credentialMapping", mapping = json_object());
	json_t *before = json_deep_copy(mapping);
	join(mapping, repository, used);
	int r = 0;
	if (!json_equal(before, mapping) || !file_exists(path)) {
		time_format_rfc3339(clock_wall(), now);
		json_object_set_new(record, "lastUpdatedTime", json_string(now));
		r = save(kubelet, "pulled", id, record, err);
	}
	json_decref(before);
	json_decref(record);
	return r;
}

void pulled_end(struct kubelet *kubelet, const char *name, const char *repository, const char *id, json_t *used) {
	autofree char *intent = file_of(kubelet, "pulling", name);
	autoerror struct error err = {0};
	pthread_mutex_lock(&records_lock);
	/* Where it cannot be recorded the intent stays: the image counts as pulled by nobody known. */
	if (id && record_pull(kubelet, repository, id, used, &err) < 0)
		log_warning("with whose credentials an image was pulled is not recorded", LOG_STR("image", name), LOG_ERR(&err));
	else
		unlink(intent);
	pthread_mutex_unlock(&records_lock);
}

void pulled_prune(struct kubelet *kubelet) {
	autofree char *folder = folder_of(kubelet, "pulled");
	DIR *dir = opendir(folder);
	if (!dir)
		return;
	pthread_mutex_lock(&records_lock);
	for (struct dirent *e; (e = readdir(dir));) {
		if (!str_starts_with(e->d_name, "sha256-"))
			continue;
		autofree char *path = path_join(folder, e->d_name, NULL);
		json_t *record = load(path);
		autoimage struct image *image = NULL;
		const char *id = json_string_value(json_object_get(record, "imageRef"));
		if (!str_empty(id) && image_get(kubelet->images, id, &image, NULL) == -ENOENT)
			unlink(path);
		json_decref(record);
	}
	pthread_mutex_unlock(&records_lock);
	closedir(dir);
}
