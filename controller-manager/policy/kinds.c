/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/policy/kinds.h"

#include "common/base/clock.h"
#include "common/base/map.h"
#include "common/cel/schema.h"
#include "controller-manager/shared/discovery.h"

#include <errno.h>
#include <jansson.h>

#define KINDS_MAX 10 /* of a rule, as in Kubernetes */
#define MAX_DOCUMENT ((size_t)64 << 20)

/* ---- schemas ---- */

/* The server's documents of schemas by path, each fetched once for a policy. */
struct documents {
	struct world *world;
	struct map by_path; /* json_t; NULL: the server has none */
};

static void free_document(void *document)
{
	json_decref(document);
}

static int fetch_document(struct documents *documents, const char *path, json_t **ret, struct error *err)
{
	autobuf struct buf body = BUF_INIT(MAX_DOCUMENT);
	struct client_request request = {.method = "GET", .path = path, .accept = "application/json"};
	autoerror struct error failed = {0};
	json_error_t at;
	int r = documents->world->ops->request(documents->world, &request, &body, NULL, &failed);
	if (r == -ENOENT) {
		*ret = json_null();
		return 0;
	}
	if (r)
		return error_move(err, &failed);
	*ret = json_loadb(body.data, body.len, 0, &at);
	return *ret ? 0 : error_set(err, EPROTO, "schemas of %s: %s", path, at.text);
}

/* *ret is borrowed. */
static int find_document(struct documents *documents, const char *group, const char *version, json_t **ret, struct error *err)
{
	autofree char *path = xprintf("/openapi/v3/api%s%s/%s", *group ? "s/" : "", group, version);
	*ret = map_get(&documents->by_path, path);
	if (*ret)
		return 0;
	int r = fetch_document(documents, path, ret, err);
	if (r == 0)
		map_set(&documents->by_path, path, *ret);
	return r;
}

static bool is_of_kind(const json_t *schema, const char *group, const char *version, const char *kind)
{
	const json_t *kinds = json_object_get(schema, "x-kubernetes-group-version-kind"), *one;
	size_t i;
	json_array_foreach(kinds, i, one) {
		if (str_equal(json_string_value(json_object_get(one, "group")), group) && str_equal(json_string_value(json_object_get(one, "version")), version) &&
			str_equal(json_string_value(json_object_get(one, "kind")), kind))
			return true;
	}
	return false;
}

/* *ret_type NULL: no schema is known of it. */
static int find_type(struct documents *documents, struct arena *arena, const char *group, const char *version, const char *kind, const struct cel_type **ret_type, struct error *err)
{
	json_t *document, *schema;
	const char *name;
	int r = find_document(documents, group, version, &document, err);
	if (r)
		return r;
	json_t *definitions = json_object_get(json_object_get(document, "components"), "schemas");
	*ret_type = NULL;
	json_object_foreach(definitions, name, schema) {
		if (!is_of_kind(schema, group, version, kind))
			continue;
		/* A name of its own: it stands in messages, and no two types may share it. */
		autofree char *type_name = xprintf("%s%d", kind, clock_wall().nsec);
		*ret_type = cel_type_of_schema(arena, schema, definitions, type_name, true);
		break;
	}
	return 0;
}

/* ---- what is matched ---- */

static bool has_wildcard(const struct api_string_list *list)
{
	for (uint32_t i = 0; i < list->len; i++)
		if (strchr(list->items[i], '*'))
			return true;
	return false;
}

static int compare_texts(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In order, so that the first ten are always the same. The caller frees the array. */
static const char **sorted(const struct api_string_list *list)
{
	const char **texts = xcalloc(list->len + 1, sizeof(*texts));
	if (list->len)
		memcpy(texts, list->items, list->len * sizeof(*texts));
	qsort(texts, list->len, sizeof(*texts), compare_texts);
	return texts;
}

static int compare_kinds(const void *a, const void *b)
{
	const struct policy_kind *first = a, *second = b;
	int order = strcmp(first->group, second->group);
	order = order ? order : strcmp(first->version, second->version);
	return order ? order : strcmp(first->kind, second->kind);
}

static void add_kind(struct policy_kinds *kinds, const struct discovered *resource)
{
	struct policy_kind kind = {arena_strdup(kinds->arena, resource->group), arena_strdup(kinds->arena, resource->version), arena_strdup(kinds->arena, resource->kind), NULL};
	for (size_t i = 0; i < kinds->len; i++)
		if (compare_kinds(&kinds->items[i], &kind) == 0)
			return;
	kinds->items = xreallocarray(kinds->items, kinds->len + 1, sizeof(*kinds->items));
	kinds->items[kinds->len++] = kind;
}

/* What nobody can write meets no policy: metrics of pods are no pods. */
#define WRITES (API_VERB_CREATE | API_VERB_UPDATE | API_VERB_PATCH | API_VERB_DELETE)

/* The resources of a group and version by this name; no group: of any, for so Kubernetes looks them up. */
static bool add_resources(struct policy_kinds *kinds, const struct discovery *discovery, const char *group, const char *version, const char *resource, unsigned *count)
{
	for (size_t i = 0; i < discovery->len; i++) {
		const struct discovered *item = &discovery->items[i];
		if ((*group && !str_equal(item->group, group)) || !str_equal(item->version, version) || !str_equal(item->plural, resource) ||
			!(item->verbs & WRITES))
			continue;
		add_kind(kinds, item);
		if (++*count == KINDS_MAX)
			return false;
	}
	return true;
}

/* False: that is enough for the whole policy. */
static bool add_rule(struct policy_kinds *kinds, const struct discovery *discovery, const struct admissionregistration_v1_rule *rule)
{
	if (has_wildcard(&rule->api_groups) || has_wildcard(&rule->api_versions))
		return true;
	autofree const char **groups = sorted(&rule->api_groups), **versions = sorted(&rule->api_versions), **resources = sorted(&rule->resources);
	unsigned count = 0;
	for (uint32_t i = 0; i < rule->api_groups.len; i++)
		for (uint32_t j = 0; j < rule->api_versions.len; j++)
			for (uint32_t k = 0; k < rule->resources.len; k++)
				if (!strpbrk(resources[k], "*/") && !add_resources(kinds, discovery, groups[i], versions[j], resources[k], &count))
					return false;
	return true;
}

static int load_kinds(struct world *world, const struct admissionregistration_v1_validating_admission_policy *policy, struct policy_kinds *kinds, struct error *err)
{
	const struct admissionregistration_v1_match_resources *match = policy->spec.match_constraints;
	struct discovery discovery = {0};
	if (!match || !match->resource_rules.len)
		return 0;
	int r = discovery_load_all(world, &discovery, err);
	for (uint32_t i = 0; r == 0 && i < match->resource_rules.len; i++)
		if (!add_rule(kinds, &discovery, &match->resource_rules.items[i].rule_with_operations.rule))
			break;
	discovery_done(&discovery);
	if (kinds->len)
		qsort(kinds->items, kinds->len, sizeof(*kinds->items), compare_kinds);
	return r;
}

static int load_types(struct documents *documents, struct policy_kinds *kinds, struct error *err)
{
	size_t known = 0;
	for (size_t i = 0; i < kinds->len; i++) {
		struct policy_kind kind = kinds->items[i];
		int r = find_type(documents, kinds->arena, kind.group, kind.version, kind.kind, &kind.type, err);
		if (r)
			return r;
		if (kind.type)
			kinds->items[known++] = kind;
	}
	kinds->len = known;
	return 0;
}

static int load_params(struct documents *documents, const struct admissionregistration_v1_param_kind *kind, struct policy_kinds *kinds, struct error *err)
{
	if (!kind || str_empty(kind->api_version) || str_empty(kind->kind))
		return 0;
	const char *slash = strchr(kind->api_version, '/');
	autofree char *group = slash ? xstrndup(kind->api_version, (size_t)(slash - kind->api_version)) : xstrdup("");
	return find_type(documents, kinds->arena, group, slash ? slash + 1 : kind->api_version, kind->kind, &kinds->params, err);
}

int policy_kinds_load(struct world *world, const struct admissionregistration_v1_validating_admission_policy *policy, struct policy_kinds *ret, struct error *err)
{
	struct policy_kinds kinds = {.arena = arena_new()};
	struct documents documents = {world, MAP_INIT(free_document)};
	int r = load_kinds(world, policy, &kinds, err);
	r = r ? r : load_types(&documents, &kinds, err);
	r = r ? r : load_params(&documents, policy->spec.param_kind, &kinds, err);
	map_done(&documents.by_path);
	if (r) {
		policy_kinds_done(&kinds);
		return r;
	}
	*ret = kinds;
	return 0;
}

void policy_kinds_done(struct policy_kinds *kinds)
{
	free(kinds->items);
	if (kinds->arena)
		arena_free(kinds->arena);
	*kinds = (struct policy_kinds){0};
}
