/* SPDX-License-Identifier: Apache-2.0 */
/* Finding types and resources by their names. The tables are constant; searches are binary or over some hundred rows. */
#include "common/api/codec.h"

#include <strings.h>

static bool version_matches(const struct api_resource *r, const char *version) {
	return !version || !strcmp(r->version, version);
}

/* Rows stand with the preferred version of a group first. */
const struct api_resource *api_resource_find(const char *group, const char *version, const char *plural) {
	for (size_t i = 0; i < api_resource_count; i++) {
		const struct api_resource *r = &api_resources[i];
		if (!strcmp(r->plural, plural) && str_equal(r->group, group) && version_matches(r, version))
			return r;
	}
	return NULL;
}

const struct api_resource *api_resource_by_kind(const char *group, const char *version, const char *kind) {
	for (size_t i = 0; i < api_resource_count; i++) {
		const struct api_resource *r = &api_resources[i];
		if (!strcmp(r->kind, kind) && str_equal(r->group, group) && version_matches(r, version))
			return r;
	}
	return NULL;
}

/* The part of `name` before the first dot, against one spelling. */
static bool spelled(const char *name, size_t len, const char *candidate) {
	return strlen(candidate) == len && !strncasecmp(candidate, name, len);
}

static bool has_spelling(const struct api_resource *r, const char *name, size_t len, bool short_names) {
	if (!short_names)
		return spelled(name, len, r->plural) || spelled(name, len, r->singular) || spelled(name, len, r->kind);
	for (size_t i = 0; r->short_names[i]; i++)
		if (spelled(name, len, r->short_names[i]))
			return true;
	return false;
}

/* "deployments.v1.apps", "deployments.apps", or a prefix of the group as kubectl allows. */
static bool group_fits(const struct api_resource *r, const char *rest) {
	if (!rest)
		return true;
	size_t version_len = strlen(r->version);
	if (!strncmp(rest, r->version, version_len) && (rest[version_len] == '.' || !rest[version_len])) {
		const char *group = rest[version_len] ? rest + version_len + 1 : "";
		if (!strcasecmp(group, r->group))
			return true;
	}
	return *rest && !strncasecmp(r->group, rest, strlen(rest));
}

const struct api_resource *api_resource_match(const char *name) {
	size_t len = strcspn(name, ".");
	const char *rest = name[len] ? name + len + 1 : NULL;
	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < api_resource_count; i++)
			if (has_spelling(&api_resources[i], name, len, pass == 1) && group_fits(&api_resources[i], rest))
				return &api_resources[i];
	return NULL;
}

/* Options and watch events are kinds of every group and version. */
static bool is_universal(const char *kind) {
	static const char *const kinds[] = {"WatchEvent", "ListOptions", "GetOptions", "DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"};
	for (size_t i = 0; i < array_len(kinds); i++)
		if (!strcmp(kinds[i], kind))
			return true;
	return false;
}

const struct api_type *api_type_by_kind(const char *group, const char *version, const char *kind) {
	size_t low = 0, high = api_kinds_count;
	if (!kind || !version)
		return NULL;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct api_type *t = api_kinds[mid];
		int order = strcmp(t->kind, kind);
		if (!order)
			order = strcmp(t->group, group ? group : "");
		if (!order)
			order = strcmp(t->version, version);
		if (!order)
			return t;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	if (is_universal(kind)) {
		char id[64] = "meta/v1.";
		strncat(id, kind, sizeof(id) - strlen(id) - 1);
		return api_type_by_id(id);
	}
	return NULL;
}

const struct api_type *api_type_by_id(const char *id) {
	size_t low = 0, high = api_types_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(api_types[mid]->id, id);
		if (!order)
			return api_types[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

const struct api_subresource *api_resource_subresource(const struct api_resource *resource, const char *name) {
	for (size_t i = 0; i < resource->subresource_count; i++)
		if (!strcmp(resource->subresources[i].name, name))
			return &resource->subresources[i];
	return NULL;
}

void api_split_group_version(struct arena *arena, const char *api_version, const char **ret_group, const char **ret_version) {
	const char *slash = api_version ? strchr(api_version, '/') : NULL;
	if (slash) {
		*ret_group = arena_strndup(arena, api_version, (size_t)(slash - api_version));
		*ret_version = arena_strdup(arena, slash + 1);
	} else {
		*ret_group = "";
		*ret_version = arena_strdup(arena, api_version ? api_version : "");
	}
}

/* ---- order of versions ---- */

struct version {
	int64_t major, minor;
	int stability; /* 0: released, 1: beta, 2: alpha */
};

/* "v1", "v1beta2", "v1alpha1"; anything else is no such version. */
static bool version_parse(const char *text, struct version *ret) {
	static const char *const words[] = {"", "beta", "alpha"};
	size_t digits = *text == 'v' ? strspn(text + 1, "0123456789") : 0;
	if (!digits || digits > 9 || text[1] == '0')
		return false;
	*ret = (struct version){.major = strtoll(text + 1, NULL, 10)};
	const char *rest = text + 1 + digits;
	if (!*rest)
		return true;
	for (int i = 1; i < 3; i++) {
		size_t len = strlen(words[i]);
		if (strncmp(rest, words[i], len) != 0)
			continue;
		ret->stability = i;
		rest += len;
		digits = strspn(rest, "0123456789");
		ret->minor = strtoll(rest, NULL, 10);
		return digits && digits <= 9 && *rest != '0' && !rest[digits];
	}
	return false;
}

int api_version_compare(const char *a, const char *b) {
	struct version x, y;
	bool is_x = version_parse(a, &x), is_y = version_parse(b, &y);
	if (!is_x || !is_y)
		return is_x != is_y ? (is_x ? -1 : 1) : strcmp(a, b);
	if (x.stability != y.stability)
		return x.stability - y.stability;
	if (x.major != y.major)
		return x.major > y.major ? -1 : 1;
	return x.minor == y.minor ? 0 : x.minor > y.minor ? -1 : 1;
}
