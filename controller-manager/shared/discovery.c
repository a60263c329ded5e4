/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/shared/discovery.h"

#include <errno.h>
#include <jansson.h>

#define MAX_DISCOVERY_BYTES ((size_t)32 << 20)
#define MAX_PAGE_BYTES ((size_t)256 << 20)
#define METADATA_LIST_MAX ((size_t)2000000)
#define ACCEPT_DISCOVERY "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
#define ACCEPT_METADATA "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"

static char *copy_text(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));
	return xstrdup(s ? s : "");
}

void discovery_done(struct discovery *discovery)
{
	for (size_t i = 0; i < discovery->len; i++) {
		free(discovery->items[i].group);
		free(discovery->items[i].version);
		free(discovery->items[i].plural);
		free(discovery->items[i].kind);
	}
	free(discovery->items);
	free(discovery->failed_groups);
	*discovery = (struct discovery){0};
}

static uint32_t verbs_of(const json_t *list)
{
	static const struct {
		const char *name;
		uint32_t verb;
	} rows[] = {{"create", API_VERB_CREATE}, {"delete", API_VERB_DELETE}, {"deletecollection", API_VERB_DELETECOLLECTION}, {"get", API_VERB_GET},
		{"list", API_VERB_LIST}, {"patch", API_VERB_PATCH}, {"update", API_VERB_UPDATE}, {"watch", API_VERB_WATCH}};
	uint32_t verbs = 0;
	for (size_t i = 0; i < json_array_size(list); i++)
		for (size_t j = 0; j < array_len(rows); j++)
			if (str_equal(json_string_value(json_array_get(list, i)), rows[j].name))
				verbs |= rows[j].verb;
	return verbs;
}

/* version NULL: in any. */
static bool is_known(const struct discovery *discovery, const char *group, const char *version, const char *plural)
{
	for (size_t i = 0; i < discovery->len; i++)
		if (str_equal(discovery->items[i].group, group) && str_equal(discovery->items[i].plural, plural) && (!version || str_equal(discovery->items[i].version, version)))
			return true;
	return false;
}

static void take_version(struct discovery *ret, bool every, const char *group, const json_t *version)
{
	const char *name = str_or(json_string_value(json_object_get(version, "version")), "");
	const json_t *resources = json_object_get(version, "resources");
	for (size_t i = 0; i < json_array_size(resources); i++) {
		const json_t *resource = json_array_get(resources, i);
		const char *plural = json_string_value(json_object_get(resource, "resource"));
		/* Versions come preferred first, so where one is wanted it is the first that has the resource. */
		if (!plural || is_known(ret, group, every ? name : NULL, plural))
			continue;
		ret->items = xreallocarray(ret->items, ret->len + 1, sizeof(*ret->items));
		ret->items[ret->len++] = (struct discovered){
			.group = xstrdup(group),
			.version = copy_text(version, "version"),
			.plural = xstrdup(plural),
			.kind = copy_text(json_object_get(resource, "responseKind"), "kind"),
			.namespaced = str_equal(json_string_value(json_object_get(resource, "scope")), "Namespaced"),
			.verbs = verbs_of(json_object_get(resource, "verbs")),
		};
	}
}

static void take_group(struct discovery *ret, bool every, const json_t *item)
{
	const char *group = str_or(json_string_value(json_object_get(json_object_get(item, "metadata"), "name")), "");
	const json_t *versions = json_object_get(item, "versions");
	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *version = json_array_get(versions, i);
		if (str_equal(json_string_value(json_object_get(version, "freshness")), "Stale")) {
			const char *name = str_or(json_string_value(json_object_get(version, "version")), "");
			char *longer = xprintf("%s%s%s/%s: stale GroupVersion discovery: %s/%s", str_or(ret->failed_groups, ""), ret->failed_groups ? ", " : "", group, name, group, name);
			free(ret->failed_groups);
			ret->failed_groups = longer;
			ret->failed_count++;
		}
		take_version(ret, every, group, version);
	}
}

static int load_root(struct world *world, const char *path, bool every, struct discovery *ret, struct error *err)
{
	autobuf struct buf body = BUF_INIT(MAX_DISCOVERY_BYTES);
	struct client_request request = {.method = "GET", .path = path, .accept = ACCEPT_DISCOVERY};
	int r = world->ops->request(world, &request, &body, NULL, err);
	if (r)
		return r;
	json_error_t at;
	json_t *tree = json_loadb(body.data, body.len, 0, &at);
	if (!tree)
		return error_set(err, EPROTO, "discovery of %s: %s", path, at.text);
	if (!str_equal(json_string_value(json_object_get(tree, "kind")), "APIGroupDiscoveryList")) {
		json_decref(tree);
		return error_set(err, EPROTO, "discovery of %s: the server gives no aggregated discovery", path);
	}
	const json_t *items = json_object_get(tree, "items");
	for (size_t i = 0; i < json_array_size(items); i++)
		take_group(ret, every, json_array_get(items, i));
	json_decref(tree);
	return 0;
}

static int load(struct world *world, bool every, struct discovery *ret, struct error *err)
{
	struct discovery found = {0};
	int r = load_root(world, "/api", every, &found, err);
	r = r ? r : load_root(world, "/apis", every, &found, err);
	if (r) {
		discovery_done(&found);
		return r;
	}
	*ret = found;
	return 0;
}

int discovery_load(struct world *world, struct discovery *ret, struct error *err)
{
	return load(world, false, ret, err);
}

int discovery_load_all(struct world *world, struct discovery *ret, struct error *err)
{
	return load(world, true, ret, err);
}

char *discovered_path(const struct discovered *resource, const char *ns, const char *name)
{
	bool core = !*resource->group;
	return xprintf("%s%s/%s%s%s/%s%s%s", core ? "/api" : "/apis/", resource->group, resource->version, ns ? "/namespaces/" : "", ns ? ns : "",
		resource->plural, name ? "/" : "", name ? name : "");
}

void metadata_list_done(struct metadata_list *list)
{
	for (size_t i = 0; i < list->len; i++) {
		struct metadata_item *item = &list->items[i];
		free(item->ns);
		free(item->name);
		free(item->uid);
		for (size_t j = 0; j < item->finalizer_count; j++)
			free(item->finalizers[j]);
		free(item->finalizers);
	}
	free(list->items);
	*list = (struct metadata_list){0};
}

static void take_item(struct metadata_list *list, const json_t *meta)
{
	list->items = list->len % 64 ? list->items : xreallocarray(list->items, list->len + 64, sizeof(*list->items));
	struct metadata_item *item = &list->items[list->len++];
	const json_t *finalizers = json_object_get(meta, "finalizers");
	*item = (struct metadata_item){.ns = copy_text(meta, "namespace"), .name = copy_text(meta, "name"), .uid = copy_text(meta, "uid")};
	item->finalizer_count = json_array_size(finalizers);
	item->finalizers = xcalloc(item->finalizer_count, sizeof(char *));
	for (size_t i = 0; i < item->finalizer_count; i++)
		item->finalizers[i] = xstrdup(str_or(json_string_value(json_array_get(finalizers, i)), ""));
}

static int list_page(struct world *world, const char *path, struct metadata_list *list, char **token, struct error *err)
{
	autofree char *paged = xprintf("%s?limit=500%s%s", path, *token ? "&continue=" : "", *token ? *token : "");
	autobuf struct buf body = BUF_INIT(MAX_PAGE_BYTES);
	struct client_request request = {.method = "GET", .path = paged, .accept = ACCEPT_METADATA};
	int r = world->ops->request(world, &request, &body, NULL, err);
	if (r)
		return r;
	json_error_t at;
	json_t *tree = json_loadb(body.data, body.len, 0, &at);
	if (!tree)
		return error_set(err, EPROTO, "list %s: %s", path, at.text);
	const json_t *items = json_object_get(tree, "items");
	for (size_t i = 0; i < json_array_size(items); i++)
		take_item(list, json_object_get(json_array_get(items, i), "metadata"));
	free(*token);
	*token = copy_text(json_object_get(tree, "metadata"), "continue");
	json_decref(tree);
	return 0;
}

int discovered_list(struct world *world, const struct discovered *resource, const char *ns, struct metadata_list *ret, struct error *err)
{
	struct metadata_list list = {0};
	autofree char *path = discovered_path(resource, ns, NULL);
	autofree char *token = NULL;
	int r;
	do {
		r = list_page(world, path, &list, &token, err);
		if (!r && list.len > METADATA_LIST_MAX)
			r = error_set(err, EFBIG, "list %s: too many objects", path);
	} while (!r && !str_empty(token));
	if (r) {
		metadata_list_done(&list);
		return r;
	}
	*ret = list;
	return 0;
}
