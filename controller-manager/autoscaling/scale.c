/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/autoscaling/scale.h"

#include "controller-manager/shared/discovery.h"

#include <errno.h>

#define MAX_SCALE ((size_t)1 << 20)

void scale_done(struct scale *scale)
{
	free(scale->path);
	free(scale->group_resource);
	json_decref(scale->object);
	*scale = (struct scale){0};
}

static char *group_of(const char *api_version)
{
	const char *slash = strchr(api_version, '/');
	return slash ? xstrndup(api_version, (size_t)(slash - api_version)) : xstrdup("");
}

int scale_find_resource(struct world *world, const char *ns, const char *api_version, const char *kind, char **ret_path, char **ret_group_resource, struct error *err)
{
	autofree char *group = group_of(str_or(api_version, ""));
	const struct api_resource *known = api_resource_by_kind(group, NULL, kind);
	if (known) {
		autobuf struct buf path = BUF_INIT(8192);
		client_path(&path, known, known->namespaced ? ns : NULL, NULL, NULL);
		*ret_path = buf_take(&path);
		*ret_group_resource = xprintf("%s%s%s", known->plural, *group ? "." : "", group);
		return 0;
	}
	struct discovery found = {0};
	int r = discovery_load(world, &found, err);
	if (r)
		return r;
	bool matched = false;
	for (size_t i = 0; i < found.len && !matched; i++) {
		const struct discovered *d = &found.items[i];
		if (!str_equal(d->group, group) || !str_equal(d->kind, kind) || strchr(d->plural, '/'))
			continue;
		*ret_path = discovered_path(d, d->namespaced ? ns : NULL, NULL);
		*ret_group_resource = xprintf("%s%s%s", d->plural, *group ? "." : "", group);
		matched = true;
	}
	discovery_done(&found);
	return matched ? 0 : error_set(err, ENOENT, "no matches for kind \"%s\" in group \"%s\"", str_or(kind, ""), group);
}

static int request(struct world *world, const char *method, const char *path, const char *body, json_t **ret, struct error *err)
{
	autobuf struct buf answer = BUF_INIT(MAX_SCALE);
	struct client_request request = {.method = method, .path = path, .accept = "application/json"};
	if (body) {
		request.content_type = "application/json";
		request.body = body;
		request.body_len = strlen(body);
	}
	int r = world->ops->request(world, &request, &answer, NULL, err);
	if (r)
		return r;
	json_error_t at;
	json_t *tree = json_loadb(answer.data ? answer.data : "", answer.len, 0, &at);
	if (!json_is_object(tree)) {
		json_decref(tree);
		return error_set(err, EPROTO, "scale %s: not an object", path);
	}
	*ret = tree;
	return 0;
}

static int32_t replicas_in(const json_t *object, const char *part)
{
	json_int_t value = json_integer_value(json_object_get(json_object_get(object, part), "replicas"));
	return value < 0 ? 0 : value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

int scale_read(struct world *world, const char *ns, const char *api_version, const char *kind, const char *name, struct scale *ret, struct error *err)
{
	autoscale struct scale scale = {0};
	autofree char *collection = NULL;
	int r = scale_find_resource(world, ns, api_version, kind, &collection, &scale.group_resource, err);
	if (r)
		return r;
	scale.path = xprintf("%s/%s/scale", collection, str_or(name, ""));
	r = request(world, "GET", scale.path, NULL, &scale.object, err);
	if (r)
		return r;
	scale.replicas = replicas_in(scale.object, "spec");
	scale.current = replicas_in(scale.object, "status");
	scale.selector = str_or(json_string_value(json_object_get(json_object_get(scale.object, "status"), "selector")), "");
	*ret = scale;
	scale = (struct scale){0};
	return 0;
}

int scale_write(struct world *world, const struct scale *scale, int32_t replicas, struct error *err)
{
	json_t *copy = json_deep_copy(scale->object), *answer = NULL;
	json_t *spec = json_object_get(copy, "spec");
	if (!json_is_object(spec)) {
		spec = json_object();
		json_object_set_new(copy, "spec", spec);
	}
	json_object_set_new(spec, "replicas", json_integer(replicas));
	autofree char *body = json_dumps(copy, JSON_COMPACT);
	json_decref(copy);
	int r = request(world, "PUT", scale->path, body, &answer, err);
	json_decref(r ? NULL : answer);
	return r;
}
