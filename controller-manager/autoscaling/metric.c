/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/autoscaling/metric.h"

#include "common/api/scalar.h"
#include "common/http/http.h"

#include "api/meta_v1.h"

#include <errno.h>
#include <jansson.h>

#define MAX_ANSWER ((size_t)64 << 20)
#define DEFAULT_WINDOW_NS (60 * NSEC_PER_SEC)

void metric_values_done(struct metric_values *values)
{
	for (size_t i = 0; i < values->len; i++)
		free(values->items[i].pod);
	free(values->items);
	*values = (struct metric_values){0};
}

struct metric_value *metric_values_find(const struct metric_values *values, const char *pod)
{
	for (size_t i = 0; i < values->len; i++)
		if (values->items[i].pod && str_equal(values->items[i].pod, pod))
			return &values->items[i];
	return NULL;
}

static struct metric_value *add_value(struct metric_values *values, const char *pod, int64_t milli)
{
	if (!(values->len & (values->len - 1)))
		values->items = xreallocarray(values->items, values->len ? values->len * 2 : 1, sizeof(*values->items));
	struct metric_value *value = &values->items[values->len++];
	*value = (struct metric_value){.pod = pod ? xstrdup(pod) : NULL, .milli = milli, .window_ns = DEFAULT_WINDOW_NS};
	return value;
}

void metric_values_set(struct metric_values *values, const char *pod, int64_t milli)
{
	struct metric_value *value = metric_values_find(values, pod);
	if (value)
		value->milli = milli;
	else
		add_value(values, pod, milli);
}

void metric_values_remove(struct metric_values *values, const char *pod)
{
	struct metric_value *value = metric_values_find(values, pod);
	if (!value)
		return;
	free(value->pod);
	*value = values->items[--values->len];
}

/* ---- answers ---- */

/* Nobody serves it, or nobody answers for it: what a client says of its own where no Status tells more. */
static bool is_unserved(const struct error *err)
{
	return str_equal(err->message, "the server could not find the requested resource") || str_equal(err->message, "the server is currently unable to handle the request");
}

/* `what`: as a client names what it asks for, "pods.metrics.k8s.io". */
static int fetch(struct world *world, const char *path, const char *what, json_t **ret, struct error *err)
{
	autobuf struct buf body = BUF_INIT(MAX_ANSWER);
	autoerror struct error failed = {0};
	struct client_request request = {.method = "GET", .path = path, .accept = "application/json"};
	int r = world->ops->request(world, &request, &body, NULL, &failed);
	if (r && is_unserved(&failed))
		return error_status(err, failed.http_code, failed.reason, "%s (get %s)", failed.message, what);
	if (r)
		return error_move(err, &failed);
	json_error_t at;
	json_t *tree = json_loadb(body.data ? body.data : "", body.len, 0, &at);
	if (!json_is_object(tree)) {
		json_decref(tree);
		return error_set(err, EPROTO, "%s: not an object", path);
	}
	*ret = tree;
	return 0;
}

static bool read_quantity(const json_t *text, int64_t *ret_milli)
{
	struct quantity q;
	const char *s = json_string_value(text);
	if (!s || quantity_parse(s, strlen(s), &q) < 0)
		return false;
	*ret_milli = quantity_milli_value(&q);
	return true;
}

static void read_time(const json_t *item, struct metric_value *value)
{
	const char *at = json_string_value(json_object_get(item, "timestamp")), *window = json_string_value(json_object_get(item, "window"));
	const json_t *seconds = json_object_get(item, "windowSeconds");
	if (at)
		time_parse_rfc3339(at, strlen(at), &value->at);
	if (window)
		duration_parse(window, strlen(window), &value->window_ns);
	else if (json_is_integer(seconds))
		value->window_ns = json_integer_value(seconds) * NSEC_PER_SEC;
}

char *metric_selector_text(const struct meta_v1_label_selector *selector)
{
	autobuf struct buf out = BUF_INIT(64 << 10);
	buf_append_str(&out, "");
	for (uint32_t i = 0; selector && i < selector->match_labels.len; i++)
		buf_printf(&out, "%s%s=%s", out.len ? "," : "", selector->match_labels.items[i].key, selector->match_labels.items[i].value);
	for (uint32_t i = 0; selector && i < selector->match_expressions.len; i++) {
		const struct meta_v1_label_selector_requirement *e = &selector->match_expressions.items[i];
		bool in = str_equal(e->operator, "In"), exists = str_equal(e->operator, "Exists"), absent = str_equal(e->operator, "DoesNotExist");
		buf_printf(&out, "%s%s%s", out.len ? "," : "", absent ? "!" : "", e->key);
		if (exists || absent)
			continue;
		buf_append_str(&out, in ? " in (" : " notin (");
		for (uint32_t j = 0; j < e->values.len; j++)
			buf_printf(&out, "%s%s", j ? "," : "", e->values.items[j]);
		buf_append_char(&out, ')');
	}
	return buf_take(&out);
}

static void add_parameter(struct buf *path, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	buf_printf(path, "%s%s=", strchr(path->data, '?') ? "&" : "?", name);
	http_url_encode(path, value);
}

/* ---- metrics.k8s.io ---- */

/* False where the pod (or the container wanted) has no value. */
static bool sum_containers(const json_t *pod, const char *resource, const char *container, int64_t *ret)
{
	const json_t *containers = json_object_get(pod, "containers");
	int64_t sum = 0, one;
	bool found = false;
	for (size_t i = 0; i < json_array_size(containers); i++) {
		const json_t *c = json_array_get(containers, i);
		if (container && !str_equal(json_string_value(json_object_get(c, "name")), container))
			continue;
		if (!read_quantity(json_object_get(json_object_get(c, "usage"), resource), &one))
			return false;
		sum += one;
		found = true;
	}
	*ret = sum;
	return found;
}

int metric_of_resource(struct world *world, const char *ns, const char *selector, const char *resource, const char *container, struct metric_values *ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(64 << 10);
	json_t *tree;
	buf_printf(&path, "/apis/metrics.k8s.io/v1beta1/namespaces/%s/pods", ns);
	add_parameter(&path, "labelSelector", selector);
	int r = fetch(world, path.data, "pods.metrics.k8s.io", &tree, err);
	if (r) {
		error_context(err, "unable to fetch metrics from resource metrics API");
		return r;
	}
	autovalues struct metric_values values = {0};
	const json_t *items = json_object_get(tree, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *pod = json_array_get(items, i);
		const char *name = json_string_value(json_object_get(json_object_get(pod, "metadata"), "name"));
		int64_t milli;
		if (name && sum_containers(pod, resource, container, &milli))
			read_time(pod, add_value(&values, name, milli));
	}
	bool any = json_array_size(items) > 0;
	json_decref(tree);
	if (!any)
		return error_set(err, ENODATA, "no metrics returned from resource metrics API");
	if (!values.len && container)
		return error_set(err, ENODATA, "failed to get container metrics: container %s not present in metrics for the targeted pods", container);
	*ret = values;
	values = (struct metric_values){0};
	return 0;
}

/* ---- custom.metrics.k8s.io ---- */

/* Adapters serve v1beta2, older ones v1beta1; their paths are the same. `what`: "pods.custom.metrics.k8s.io *". */
static int fetch_custom(struct world *world, const char *rest, const char *what, const char *pod_selector, const struct meta_v1_label_selector *selector, json_t **ret, struct error *err)
{
	static const char *const versions[] = {"v1beta2", "v1beta1"};
	autofree char *metric_selector = metric_selector_text(selector);
	for (size_t i = 0; i < array_len(versions); i++) {
		autobuf struct buf path = BUF_INIT(64 << 10);
		autoerror struct error failed = {0};
		buf_printf(&path, "/apis/custom.metrics.k8s.io/%s/%s", versions[i], rest);
		add_parameter(&path, "labelSelector", pod_selector);
		add_parameter(&path, "metricLabelSelector", metric_selector);
		int r = fetch(world, path.data, what, ret, &failed);
		if (!r)
			return 0;
		/* A server that does not know the metric says so itself. */
		if (failed.http_code != 404 || !str_starts_with(error_message(&failed), "the server could not find the requested resource (")) {
			r = error_move(err, &failed);
			error_context(err, "unable to fetch metrics from custom metrics API");
			return r;
		}
	}
	return error_status(err, 404, "NotFound", "unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered");
}

int metric_of_pods(struct world *world, const char *ns, const char *selector, const struct autoscaling_v2_metric_identifier *metric, struct metric_values *ret, struct error *err)
{
	autobuf struct buf rest = BUF_INIT(8192);
	autovalues struct metric_values values = {0};
	json_t *tree;
	buf_printf(&rest, "namespaces/%s/pods/%%2A/", ns);
	http_url_encode(&rest, metric->name);
	int r = fetch_custom(world, rest.data, "pods.custom.metrics.k8s.io *", selector, metric->selector, &tree, err);
	if (r)
		return r;
	const json_t *items = json_object_get(tree, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *item = json_array_get(items, i);
		const char *name = json_string_value(json_object_get(json_object_get(item, "describedObject"), "name"));
		int64_t milli;
		if (name && read_quantity(json_object_get(item, "value"), &milli))
			read_time(item, add_value(&values, name, milli));
	}
	json_decref(tree);
	if (!values.len)
		return error_set(err, ENODATA, "no metrics returned from custom metrics API");
	*ret = values;
	values = (struct metric_values){0};
	return 0;
}

int metric_of_object(struct world *world, const char *ns, const char *group_resource, const char *name, const struct autoscaling_v2_metric_identifier *metric, int64_t *ret_milli,
	struct error *err)
{
	autobuf struct buf rest = BUF_INIT(8192);
	json_t *tree;
	/* A namespace's own metrics stand below the word "metrics". */
	if (str_equal(group_resource, "namespaces"))
		buf_printf(&rest, "namespaces/%s/metrics/", name);
	else
		buf_printf(&rest, "namespaces/%s/%s/%s/", ns, group_resource, name);
	http_url_encode(&rest, metric->name);
	autofree char *what = xprintf("%s.custom.metrics.k8s.io %s", str_equal(group_resource, "namespaces") ? "metrics" : group_resource, str_equal(group_resource, "namespaces") ? metric->name : name);
	int r = fetch_custom(world, rest.data, what, NULL, metric->selector, &tree, err);
	if (r)
		return r;
	const json_t *items = json_object_get(tree, "items");
	bool good = json_array_size(items) == 1 && read_quantity(json_object_get(json_array_get(items, 0), "value"), ret_milli);
	json_decref(tree);
	return good ? 0 : error_set(err, ENODATA, "the custom metrics API gives no single value of %s", metric->name);
}

/* ---- external.metrics.k8s.io ---- */

int metric_external(struct world *world, const char *ns, const struct autoscaling_v2_metric_identifier *metric, struct metric_values *ret, struct error *err)
{
	autobuf struct buf path = BUF_INIT(64 << 10);
	autofree char *selector = metric_selector_text(metric->selector);
	autovalues struct metric_values values = {0};
	json_t *tree;
	buf_printf(&path, "/apis/external.metrics.k8s.io/v1beta1/namespaces/%s/", ns);
	http_url_encode(&path, metric->name);
	add_parameter(&path, "labelSelector", selector);
	autofree char *what = xprintf("%s.external.metrics.k8s.io", metric->name);
	int r = fetch(world, path.data, what, &tree, err);
	if (r) {
		error_context(err, "unable to fetch metrics from external metrics API");
		return r;
	}
	const json_t *items = json_object_get(tree, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		int64_t milli;
		if (read_quantity(json_object_get(json_array_get(items, i), "value"), &milli))
			read_time(json_array_get(items, i), add_value(&values, NULL, milli));
	}
	json_decref(tree);
	if (!values.len)
		return error_set(err, ENODATA, "no metrics returned from external metrics API");
	*ret = values;
	values = (struct metric_values){0};
	return 0;
}
