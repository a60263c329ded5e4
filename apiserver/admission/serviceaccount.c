/* SPDX-License-Identifier: Apache-2.0 */
/* ServiceAccount: pods run as one, carry its pull secrets, and get its token as a projected volume. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "common/base/random.h"

#include <errno.h>

#define TOKEN_MOUNT "/var/run/secrets/kubernetes.io/serviceaccount"
#define TOKEN_SECONDS 3607 /* an hour and seven seconds: recognisable, and renewed for long-lived clients */
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

static bool automounts(const struct core_v1_service_account *account, const struct core_v1_pod *pod) {
	if (pod->spec.automount_service_account_token)
		return *pod->spec.automount_service_account_token;
	if (account->automount_service_account_token)
		return *account->automount_service_account_token;
	return true;
}

static const char *token_volume(struct core_v1_pod *pod, struct arena *arena) {
	char suffix[6];
	random_name_suffix(suffix, 5);
	struct core_v1_volume *volume = api_list_add(arena, &pod->spec.volumes);
	volume->name = arena_printf(arena, "kube-api-access-%s", suffix);
	volume->projected = arena_new_type(arena, struct core_v1_projected_volume_source);
	volume->projected->default_mode = api_int32(arena, 0644);
	struct core_v1_volume_projection *token = api_list_add(arena, &volume->projected->sources);
	token->service_account_token = arena_new_type(arena, struct core_v1_service_account_token_projection);
	token->service_account_token->path = "token";
	token->service_account_token->expiration_seconds = api_int64(arena, TOKEN_SECONDS);
	struct core_v1_volume_projection *ca = api_list_add(arena, &volume->projected->sources);
	ca->config_map = arena_new_type(arena, struct core_v1_config_map_projection);
	ca->config_map->name = "kube-root-ca.crt";
	struct core_v1_key_to_path *ca_item = api_list_add(arena, &ca->config_map->items);
	ca_item->key = "ca.crt";
	ca_item->path = "ca.crt";
	struct core_v1_volume_projection *ns = api_list_add(arena, &volume->projected->sources);
	ns->downward_api = arena_new_type(arena, struct core_v1_downward_api_projection);
	struct core_v1_downward_api_volume_file *file = api_list_add(arena, &ns->downward_api->items);
	file->path = "namespace";
	file->field_ref = arena_new_type(arena, struct core_v1_object_field_selector);
	file->field_ref->api_version = "v1";
	file->field_ref->field_path = "metadata.namespace";
	return volume->name;
}

static bool mounts_token(const struct core_v1_container *c) {
	for (uint32_t i = 0; i < c->volume_mounts.len; i++)
		if (str_equal(c->volume_mounts.items[i].mount_path, TOKEN_MOUNT))
			return true;
	return false;
}

static void mount_token(struct core_v1_pod *pod, struct arena *arena) {
	const char *name = NULL;
	for (uint32_t i = 0; i < pod->spec.volumes.len; i++)
		if (str_starts_with(pod->spec.volumes.items[i].name, "kube-api-access-"))
			name = pod->spec.volumes.items[i].name;
	struct { struct core_v1_container *items; uint32_t len; } lists[] = {
		{pod->spec.init_containers.items, pod->spec.init_containers.len}, {pod->spec.containers.items, pod->spec.containers.len},
	};
	for (size_t l = 0; l < array_len(lists); l++)
		for (uint32_t i = 0; i < lists[l].len; i++) {
			struct core_v1_container *c = &lists[l].items[i];
			if (mounts_token(c))
				continue;
			if (!name)
				name = token_volume(pod, arena);
			struct core_v1_volume_mount *mount = api_list_add(arena, &c->volume_mounts);
			mount->name = name;
			mount->read_only = true;
			mount->mount_path = TOKEN_MOUNT;
		}
}

static int admit(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	struct core_v1_pod *pod = w->object;
	struct arena *arena = api_arena(pod);
	if (api_map_get(&pod->metadata.annotations, MIRROR_ANNOTATION)) {
		if (!str_empty(pod->spec.service_account_name))
			return error_forbidden(err, w->resource, admission_name(w), "a mirror pod may not reference service accounts");
		return 0;
	}
	if (str_empty(pod->spec.service_account_name))
		pod->spec.service_account_name = str_empty(pod->spec.service_account) ? "default" : pod->spec.service_account;
	pod->spec.service_account = pod->spec.service_account_name;
	struct core_v1_service_account *account = registry_read(w->r->server->registry, "", "serviceaccounts", w->ns, pod->spec.service_account_name);
	if (!account)
		return error_forbidden(err, w->resource, admission_name(w), "error looking up service account %s/%s: serviceaccount \"%s\" not found", w->ns, pod->spec.service_account_name, pod->spec.service_account_name);
	if (automounts(account, pod))
		mount_token(pod, arena);
	if (!pod->spec.image_pull_secrets.len)
		for (uint32_t i = 0; i < account->image_pull_secrets.len; i++) {
			struct core_v1_local_object_reference *ref = api_list_add(arena, &pod->spec.image_pull_secrets);
			ref->name = arena_strdup(arena, account->image_pull_secrets.items[i].name);
		}
	api_unref(account);
	return 0;
}

const struct admission_plugin admission_service_account = {
	.name = "ServiceAccount",
	.operations = WRITE_CREATE,
	.admit = admit,
};
