/* SPDX-License-Identifier: Apache-2.0 */
/* Which resource a word means. The schema answers without asking; custom resources are found by aggregated discovery. */
#include "cli/request.h"

#include <errno.h>
#include <strings.h>

#define DISCOVERY_ACCEPT "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"

static const struct cli_resource *from_known(struct cli *cli, const struct api_resource *known)
{
	struct cli_resource *out = arena_new_type(cli->arena, struct cli_resource);
	*out = (struct cli_resource){.group = known->group, .version = known->version, .plural = known->plural, .singular = known->singular, .kind = known->kind, .namespaced = known->namespaced, .known = known};
	return out;
}

const char *cli_api_version(struct cli *cli, const struct cli_resource *resource)
{
	return str_empty(resource->group) ? resource->version : arena_printf(cli->arena, "%s/%s", resource->group, resource->version);
}

const char *cli_display_name(struct cli *cli, const struct cli_resource *resource)
{
	char *kind = arena_strdup(cli->arena, resource->kind);
	for (char *p = kind; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p - 'A' + 'a');
	return str_empty(resource->group) ? kind : arena_printf(cli->arena, "%s.%s", kind, resource->group);
}

/* ---- discovery ---- */

static int load_discovery(struct cli *cli, struct error *err)
{
	if (cli->discovery)
		return 0;
	json_t *all = json_array();
	static const char *const paths[] = {"/api", "/apis"};
	for (size_t i = 0; i < array_len(paths); i++) {
		json_t *answer;
		int rc = cli_call(cli, &(struct cli_call){.method = "GET", .path = paths[i], .accept = DISCOVERY_ACCEPT}, &answer, err);
		if (rc) {
			json_decref(all);
			return rc;
		}
		json_array_extend(all, json_object_get(answer, "items"));
		json_decref(answer);
	}
	cli->discovery = all;
	return 0;
}

typedef bool (*each_fn)(const struct cli_resource *resource, json_t *verbs, json_t *short_names, json_t *categories, void *arg);

static bool each_of_version(struct cli *cli, const char *group, json_t *version, each_fn fn, void *arg)
{
	size_t i;
	json_t *item;
	json_array_foreach(json_object_get(version, "resources"), i, item) {
		struct cli_resource *resource = arena_new_type(cli->arena, struct cli_resource);
		*resource = (struct cli_resource){
			.group = arena_strdup(cli->arena, group),
			.version = arena_strdup(cli->arena, str_or(cli_str(version, "version"), "")),
			.plural = arena_strdup(cli->arena, str_or(cli_str(item, "resource"), "")),
			.singular = arena_strdup(cli->arena, str_or(cli_str(item, "singularResource"), "")),
			.kind = arena_strdup(cli->arena, str_or(cli_str_at(item, "responseKind.kind"), "")),
			.namespaced = str_equal(cli_str(item, "scope"), "Namespaced"),
		};
		resource->known = api_resource_find(resource->group, resource->version, resource->plural);
		if (!fn(resource, json_object_get(item, "verbs"), json_object_get(item, "shortNames"), json_object_get(item, "categories"), arg))
			return false;
	}
	return true;
}

int cli_resources_each(struct cli *cli, each_fn fn, void *arg, struct error *err)
{
	int rc = load_discovery(cli, err);
	size_t i, j;
	json_t *group, *version;
	if (rc)
		return rc;
	json_array_foreach(cli->discovery, i, group) {
		const char *name = str_or(cli_str_at(group, "metadata.name"), "");
		json_array_foreach(json_object_get(group, "versions"), j, version)
			if (!each_of_version(cli, name, version, fn, arg))
				return 0;
	}
	return 0;
}

struct search {
	const char *name;    /* plural, singular, short name or kind */
	size_t len;
	const char *rest;    /* ".group" or ".version.group" without its dot; NULL: any */
	const char *group, *version, *kind;
	const struct cli_resource *found;
};

static bool same(const char *a, const char *b, size_t len)
{
	return strlen(a) == len && strncasecmp(a, b, len) == 0;
}

static bool by_name(const struct cli_resource *resource, json_t *verbs, json_t *short_names, json_t *categories, void *arg)
{
	struct search *search = arg;
	bool hit = same(resource->plural, search->name, search->len) || same(resource->singular, search->name, search->len) || same(resource->kind, search->name, search->len);
	size_t i;
	json_t *item;
	json_array_foreach(short_names, i, item)
		hit |= same(str_or(json_string_value(item), ""), search->name, search->len);
	if (hit && search->rest) {
		size_t len = strlen(resource->version);
		hit = str_equal(resource->group, search->rest) || (strncmp(search->rest, resource->version, len) == 0 && search->rest[len] == '.' && str_equal(search->rest + len + 1, resource->group));
	}
	if (hit)
		search->found = resource;
	return !hit;
}

static bool by_kind(const struct cli_resource *resource, json_t *verbs, json_t *short_names, json_t *categories, void *arg)
{
	struct search *search = arg;
	if (!str_equal(resource->kind, search->kind) || !str_equal(resource->group, search->group) || !str_equal(resource->version, search->version))
		return true;
	search->found = resource;
	return false;
}

int cli_resource_match(struct cli *cli, const char *text, const struct cli_resource **ret, struct error *err)
{
	const struct api_resource *known = api_resource_match(text);
	if (known) {
		*ret = from_known(cli, known);
		return 0;
	}
	size_t len = strcspn(text, ".");
	struct search search = {.name = text, .len = len, .rest = text[len] ? text + len + 1 : NULL};
	int rc = len ? cli_resources_each(cli, by_name, &search, err) : 0;
	if (rc)
		return rc;
	if (!search.found)
		return error_set(err, ENOENT, "the server doesn't have a resource type \"%s\"", text);
	*ret = search.found;
	return 0;
}

int cli_resource_by_kind(struct cli *cli, const char *api_version, const char *kind, const struct cli_resource **ret, struct error *err)
{
	const char *group, *version;
	if (str_empty(kind) || str_empty(api_version))
		return error_set(err, EINVAL, "apiVersion or kind is not set");
	api_split_group_version(cli->arena, api_version, &group, &version);
	const struct api_resource *known = api_resource_by_kind(group, version, kind);
	if (known) {
		*ret = from_known(cli, known);
		return 0;
	}
	struct search search = {.group = group, .version = version, .kind = kind};
	int rc = cli_resources_each(cli, by_kind, &search, err);
	if (rc)
		return rc;
	if (!search.found)
		return error_set(err, ENOENT, "no matches for kind \"%s\" in version \"%s\"\nensure CRDs are installed first", kind, api_version);
	*ret = search.found;
	return 0;
}
