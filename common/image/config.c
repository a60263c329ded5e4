/* SPDX-License-Identifier: Apache-2.0 */
/* An image's config: what it says its containers run, in OCI's and docker's form. And lists of strings. */
#include "common/image/internal.h"

#include <errno.h>

#define MAX_STRINGS 65536

size_t image_strv_len(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

void image_strv_free(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

bool strv_has(char *const *list, const char *s)
{
	for (size_t i = 0; list && list[i]; i++)
		if (strcmp(list[i], s) == 0)
			return true;
	return false;
}

void strv_add(char ***list, const char *s)
{
	size_t n = image_strv_len(*list);
	*list = xreallocarray(*list, n + 2, sizeof(char *));
	(*list)[n] = xstrdup(s);
	(*list)[n + 1] = NULL;
}

void strv_remove(char **list, const char *s)
{
	size_t out = 0;
	for (size_t i = 0; list && list[i]; i++) {
		if (strcmp(list[i], s) == 0)
			free(list[i]);
		else
			list[out++] = list[i];
	}
	if (list)
		list[out] = NULL;
}

char **strv_copy(char *const *list)
{
	size_t n = image_strv_len(list);
	char **copy = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		copy[i] = xstrdup(list[i]);
	return copy;
}

/* Strings of an array; what is not a string is left out. Never NULL. */
char **strv_from_json(json_t *array)
{
	size_t n = min_of(json_array_size(array), (size_t)MAX_STRINGS), out = 0;
	char **list = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		const char *s = json_string_value(json_array_get(array, i));
		if (s)
			list[out++] = xstrdup(s);
	}
	return list;
}

json_t *strv_to_json(char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static char **keys_of(json_t *object)
{
	char **list = xcalloc(json_object_size(object) + 1, sizeof(char *));
	size_t n = 0;
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value)
		list[n++] = xstrdup(key);
	return list;
}

static char *text_of(json_t *object, const char *key)
{
	return xstrdup(str_or(json_string_value(json_object_get(object, key)), ""));
}

int config_from_json(json_t *root, struct image_config *ret, char ***ret_diff_ids, struct error *err)
{
	if (!json_is_object(root))
		return error_set(err, EINVAL, "image config is not a JSON object");
	json_t *config = json_object_get(root, "config");
	json_t *diff_ids = json_object_get(json_object_get(root, "rootfs"), "diff_ids");
	if (json_array_size(diff_ids) > IMAGE_MAX_LAYERS)
		return error_set(err, E2BIG, "image has %zu layers, more than %d", json_array_size(diff_ids), IMAGE_MAX_LAYERS);
	json_t *id;
	size_t i;
	json_array_foreach(diff_ids, i, id)
		if (!digest_valid(json_string_value(id)))
			return error_set(err, EINVAL, "image config: layer %zu has no sha256 diff ID", i);
	*ret = (struct image_config){
		.entrypoint = strv_from_json(json_object_get(config, "Entrypoint")),
		.cmd = strv_from_json(json_object_get(config, "Cmd")),
		.env = strv_from_json(json_object_get(config, "Env")),
		.volumes = keys_of(json_object_get(config, "Volumes")),
		.user = text_of(config, "User"),
		.working_dir = text_of(config, "WorkingDir"),
		.stop_signal = text_of(config, "StopSignal"),
		.os = text_of(root, "os"),
		.architecture = text_of(root, "architecture"),
	};
	if (ret_diff_ids)
		*ret_diff_ids = strv_from_json(diff_ids);
	return 0;
}

int image_config_parse(const char *json, size_t len, struct image_config *ret, char ***ret_diff_ids, struct error *err)
{
	json_error_t where;
	autojson json_t *root = len <= IMAGE_MAX_MANIFEST ? json_loadb(json, len, 0, &where) : NULL;
	return config_from_json(root, ret, ret_diff_ids, err);
}

void image_config_done(struct image_config *config)
{
	image_strv_free(config->entrypoint);
	image_strv_free(config->cmd);
	image_strv_free(config->env);
	image_strv_free(config->volumes);
	free(config->user);
	free(config->working_dir);
	free(config->stop_signal);
	free(config->os);
	free(config->architecture);
	*config = (struct image_config){0};
}
