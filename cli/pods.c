/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pods.h"

#include <errno.h>
#include <stdio.h>

static void append_expression(struct buf *out, json_t *expression)
{
	const char *op = str_or(cli_str(expression, "operator"), ""), *key = str_or(cli_str(expression, "key"), "");
	buf_printf(out, "%s%s%s", out->len ? "," : "", str_equal(op, "DoesNotExist") ? "!" : "", key);
	if (!str_equal(op, "In") && !str_equal(op, "NotIn"))
		return;
	size_t i;
	json_t *value;
	buf_append_str(out, str_equal(op, "In") ? " in (" : " notin (");
	json_array_foreach(json_object_get(expression, "values"), i, value)
		buf_printf(out, "%s%s", i ? "," : "", str_or(json_string_value(value), ""));
	buf_append_char(out, ')');
}

const char *cli_selector_of(struct cli *cli, json_t *object)
{
	json_t *selector = cli_at(object, "spec.selector"), *value;
	json_t *labels = json_object_get(selector, "matchLabels");
	bool bare = !labels && !json_object_get(selector, "matchExpressions");
	autobuf struct buf out = BUF_INIT(64 * 1024);
	const char *key;
	json_object_foreach(bare ? selector : labels, key, value)
		buf_printf(&out, "%s%s=%s", out.len ? "," : "", key, str_or(json_string_value(value), ""));
	size_t i;
	if (!bare)
		json_array_foreach(json_object_get(selector, "matchExpressions"), i, value)
			append_expression(&out, value);
	return out.len ? arena_strdup(cli->arena, out.data) : NULL;
}

static int list_pods(struct cli *cli, const char *ns, const char *selector, json_t *pods, struct error *err)
{
	const struct cli_resource *resource = NULL;
	json_t *list;
	int rc = cli_resource_match(cli, "pods", &resource, err);
	if (!rc)
		rc = cli_get_json(cli, cli_path_query(cli, cli_path(cli, resource, ns, NULL, NULL), "labelSelector", selector), &list, err);
	if (rc)
		return rc;
	json_array_extend(pods, json_object_get(list, "items"));
	json_decref(list);
	return 0;
}

int cli_pods_find(struct cli *cli, const char *word, const char *selector, json_t *pods, struct error *err)
{
	const char *ns = NULL, *slash = word ? strchr(word, '/') : NULL;
	const struct cli_resource *resource = NULL;
	int rc = cli_namespace(cli, &ns, err);
	if (rc || !word)
		return rc ? rc : list_pods(cli, ns, selector, pods, err);
	rc = cli_resource_match(cli, slash ? arena_strndup(cli->arena, word, (size_t)(slash - word)) : "pods", &resource, err);
	json_t *object;
	if (!rc)
		rc = cli_get_json(cli, cli_path(cli, resource, ns, slash ? slash + 1 : word, NULL), &object, err);
	if (rc)
		return rc;
	if (str_equal(resource->plural, "pods")) {
		json_array_append_new(pods, object);
		return 0;
	}
	const char *of = cli_selector_of(cli, object);
	if (!of && str_equal(resource->plural, "jobs"))
		of = arena_printf(cli->arena, "batch.kubernetes.io/job-name=%s", cli_name(object));
	json_decref(object);
	if (!of)
		return error_set(err, EINVAL, "cannot get the pods of %s: it has no selector", word);
	return list_pods(cli, ns, of, pods, err);
}

int cli_pod_find(struct cli *cli, const char *word, json_t **ret, struct error *err)
{
	json_t *pods = json_array(), *pod, *best = NULL;
	int rc = cli_pods_find(cli, word, NULL, pods, err);
	size_t i;
	json_array_foreach(pods, i, pod)
		if (!best || (str_equal(cli_str_at(pod, "status.phase"), "Running") && !str_equal(cli_str_at(best, "status.phase"), "Running")))
			best = pod;
	if (!rc && !best)
		rc = error_set(err, ENOENT, "no pods found for %s", word);
	if (!rc)
		*ret = json_incref(best);
	json_decref(pods);
	return rc;
}

const char *cli_pod_container(json_t *pod, const char *wanted, bool says)
{
	if (!str_empty(wanted))
		return wanted;
	const char *chosen = cli_str(cli_at(pod, "metadata.annotations"), "kubectl.kubernetes.io/default-container");
	json_t *containers = cli_at(pod, "spec.containers"), *container;
	if (!str_empty(chosen))
		return chosen;
	chosen = cli_str(json_array_get(containers, 0), "name");
	if (!says || json_array_size(containers) + json_array_size(cli_at(pod, "spec.initContainers")) < 2)
		return chosen;
	fprintf(stderr, "Defaulted container \"%s\" out of: ", chosen);
	size_t i;
	json_array_foreach(containers, i, container)
		fprintf(stderr, "%s%s", i ? ", " : "", str_or(cli_str(container, "name"), ""));
	json_array_foreach(cli_at(pod, "spec.initContainers"), i, container)
		fprintf(stderr, ", %s (init)", str_or(cli_str(container, "name"), ""));
	fputc('\n', stderr);
	return chosen;
}
