/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/payload.h"

#include "kubelet/volume/mount.h"

#include <errno.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_MODE 0644
#define TOKEN_SECONDS 3600
#define MAX_VALUE (4u << 20) /* bytes of one downward API file */

void payload_init(struct payload *payload, struct volume_pod *pod, const int32_t *default_mode) {
	*payload = (struct payload){.arena = arena_new(), .default_mode = default_mode ? *default_mode : DEFAULT_MODE, .gid = volume_fs_group(pod->pod)};
}

void payload_done(struct payload *payload) {
	payload->arena = arena_free(payload->arena);
	free(payload->files);
}

void payload_add(struct payload *payload, const char *path, const void *data, size_t len, int32_t mode, uid_t uid) {
	struct volume_file file = {.path = arena_strdup(payload->arena, path), .data = arena_memdup(payload->arena, data ? data : "", len), .len = len, .uid = uid, .gid = payload->gid};
	file.mode = (mode_t)(mode < 0 ? payload->default_mode : mode);
	if (payload->gid != (gid_t)-1)
		file.mode |= 0440;
	for (size_t i = 0; i < payload->len; i++) {
		if (str_equal(payload->files[i].path, path)) {
			payload->files[i] = file;
			return;
		}
	}
	if (payload->len == payload->cap)
		payload->files = xreallocarray(payload->files, payload->cap = payload->cap ? payload->cap * 2 : 8, sizeof(file));
	payload->files[payload->len++] = file;
}

/* One key of an object: by `items` where there are any, else each under its own name. */
struct key_value {
	const char *key;
	const void *data;
	size_t len;
};

static int add_keys(struct payload *payload, const struct key_value *values, size_t count, const struct core_v1_key_to_path_array *items, bool optional, const char *complaint, struct error *err) {
	if (!items->len) {
		for (size_t i = 0; i < count; i++)
			payload_add(payload, values[i].key, values[i].data, values[i].len, -1, (uid_t)-1);
		return 0;
	}
	for api_list_each (item, items) {
		const struct key_value *hit = NULL;
		for (size_t i = 0; i < count; i++)
			if (str_equal(values[i].key, item->key))
				hit = &values[i];
		if (hit)
			payload_add(payload, item->path, hit->data, hit->len, item->mode ? *item->mode : -1, (uid_t)-1);
		else if (!optional)
			return error_set(err, ENOENT, "%s: %s", complaint, item->key);
	}
	return 0;
}

int payload_add_config_map(struct payload *payload, struct volume_pod *pod, const char *name, const struct core_v1_key_to_path_array *items, bool optional, struct error *err) {
	autounref struct core_v1_config_map *map = NULL;
	int r = pod->objects->get(pod->objects, &api_configmaps, pod->pod->metadata.namespace, name, (void **)&map, err);
	if (r < 0) {
		if (r != -ENOENT || !optional)
			return r;
		error_done(err);
		return 0;
	}
	size_t count = 0;
	struct key_value *values = arena_calloc(payload->arena, map->data.len + map->binary_data.len, sizeof(*values));
	for api_list_each (e, &map->data)
		values[count++] = (struct key_value){e->key, e->value ? e->value : "", e->value ? strlen(e->value) : 0};
	for api_list_each (e, &map->binary_data)
		values[count++] = (struct key_value){e->key, e->value.data, e->value.len};
	return add_keys(payload, values, count, items, optional, "configmap references non-existent config key", err);
}

int payload_add_secret(struct payload *payload, struct volume_pod *pod, const char *name, const struct core_v1_key_to_path_array *items, bool optional, struct error *err) {
	autounref struct core_v1_secret *secret = NULL;
	int r = pod->objects->get(pod->objects, &api_secrets, pod->pod->metadata.namespace, name, (void **)&secret, err);
	if (r < 0) {
		if (r != -ENOENT || !optional)
			return r;
		error_done(err);
		return 0;
	}
	size_t count = 0;
	struct key_value *values = arena_calloc(payload->arena, secret->data.len, sizeof(*values));
	for api_list_each (e, &secret->data)
		values[count++] = (struct key_value){e->key, e->value.data, e->value.len};
	return add_keys(payload, values, count, items, optional, "references non-existent secret key", err);
}

int payload_add_downward(struct payload *payload, struct volume_pod *pod, const struct core_v1_downward_api_volume_file_array *items, struct error *err) {
	for api_list_each (item, items) {
		autobuf struct buf out = BUF_INIT(MAX_VALUE);
		int r = 0;
		if (item->field_ref)
			r = fieldref_value(pod->pod, pod->facts, item->field_ref->field_path, &out, err);
		else if (item->resource_field_ref)
			r = fieldref_resource(pod->pod, pod->facts, NULL, item->resource_field_ref, &out, err);
		if (r < 0)
			return r;
		payload_add(payload, item->path, out.data, out.len, item->mode ? *item->mode : -1, (uid_t)-1);
	}
	return 0;
}

/* The user that all containers run as, or -1: then the token may be its alone. */
static uid_t common_user(const struct core_v1_pod *pod) {
	const struct core_v1_pod_security_context *security = pod->spec.security_context;
	int64_t of_pod = security && security->run_as_user ? *security->run_as_user : -1, common = -2;
	const struct core_v1_container_array *lists[] = {&pod->spec.init_containers, &pod->spec.containers};
	for (size_t i = 0; i < array_len(lists); i++) {
		for api_list_each (c, lists[i]) {
			int64_t user = c->security_context && c->security_context->run_as_user ? *c->security_context->run_as_user : of_pod;
			if (user < 0 || (common >= 0 && common != user))
				return (uid_t)-1;
			common = user;
		}
	}
	return common >= 0 ? (uid_t)common : (uid_t)-1;
}

int payload_add_token(struct payload *payload, struct volume_pod *pod, const struct core_v1_service_account_token_projection *source, struct error *err) {
	autofree char *token = NULL;
	int64_t refresh;
	if (!pod->tokens)
		return error_set(err, ENOTSUP, "service account tokens need an API server");
	int r = token_cache_get(pod->tokens, pod->pod, source->audience, source->expiration_seconds ? *source->expiration_seconds : TOKEN_SECONDS, &token, &refresh, err);
	if (r < 0)
		return r;
	volume_refresh_after(pod, refresh);
	uid_t uid = common_user(pod->pod);
	int32_t mode = payload->gid != (gid_t)-1 || uid != (uid_t)-1 ? 0600 : -1;
	payload_add(payload, source->path, token, strlen(token), mode, uid);
	memset(token, 0, strlen(token));
	return 0;
}

int payload_write(struct payload *payload, struct volume_pod *pod, const char *dir, bool in_memory, char **ret_path, struct error *err) {
	if (in_memory && !mount_is_point(dir) && mount("tmpfs", dir, "tmpfs", 0, "mode=0755") < 0)
		return error_set_errno(err, errno, "mount tmpfs");
	bool owned = payload->gid != (gid_t)-1;
	if ((owned && lchown(dir, (uid_t)-1, payload->gid) < 0) || chmod(dir, owned ? 02777 : 0777) < 0)
		return error_set_errno(err, errno, "chmod %s", dir);
	int r = atomic_writer_write(dir, payload->files, payload->len, NULL, err);
	if (r < 0)
		return r;
	*ret_path = xstrdup(dir);
	return 0;
}
