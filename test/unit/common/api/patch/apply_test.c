/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "common/api/patch/apply.h"
#include "common/api/patch/field_set.h"
#include "common/api/patch/patch.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static json_t *tree(const char *text) {
	json_error_t error;
	json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
	if (!value)
		fail_msg("%s: %s", text, error.text);
	return value;
}

static void check_equal(json_t *have, const char *want) {
	json_t *expected = tree(want);
	if (!patch_values_equal(have, expected)) {
		char *text = json_dumps(have, JSON_COMPACT | JSON_ENCODE_ANY);
		fail_msg("\nhave %s\nwant %s", text, want);
	}
	json_decref(expected);
}

static json_t *fields_of(json_t *object, size_t index) {
	return json_object_get(json_array_get(json_object_get(json_object_get(object, "metadata"), "managedFields"), index), "fieldsV1");
}

static size_t owner_count(json_t *object) {
	return json_array_size(json_object_get(json_object_get(object, "metadata"), "managedFields"));
}

static json_t *apply(const struct managed_options *options, json_t *take_live, const char *config) {
	autoerror struct error err = {0};
	json_t *given = tree(config), *ret = NULL;
	if (managed_apply(options, take_live, given, &ret, &err) < 0)
		fail_msg("%s", error_message(&err));
	json_decref(given);
	json_decref(take_live);
	return ret;
}

static json_t *update(const struct managed_options *options, json_t *live, const char *text) {
	json_t *updated = tree(text), *ret = NULL;
	assert_int_equal(managed_update(options, live, updated, &ret, NULL), 0);
	json_decref(updated);
	return ret;
}

/* What a real server recorded for such a create. */
static void test_create(void **state) {
	struct managed_options options = {.type = &core_v1_pod_type, .api_version = "v1", .manager = "kubectl"};
	json_t *pod = update(&options, NULL,
			     "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\","
			     "\"resources\":{},\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}]}],\"dnsPolicy\":\"ClusterFirst\",\"securityContext\":{}},\"status\":{}}");
	assert_int_equal(owner_count(pod), 1);
	check_equal(fields_of(pod, 0),
		    "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:app\":{}}},\"f:spec\":{\"f:containers\":{\"k:{\\\"name\\\":\\\"c\\\"}\":{\".\":{},\"f:image\":{},\"f:name\":{},\"f:ports\":{\".\":"
		    "{},\"k:{\\\"containerPort\\\":80,\\\"protocol\\\":\\\"TCP\\\"}\":{\".\":{},\"f:containerPort\":{},\"f:protocol\":{}}},\"f:resources\":{}}},\"f:dnsPolicy\":{},"
		    "\"f:securityContext\":{}}}");
	/* In order: clients compare it as text. */
	autofree char *text = json_dumps(fields_of(pod, 0), JSON_COMPACT), *sorted = json_dumps(fields_of(pod, 0), JSON_COMPACT | JSON_SORT_KEYS);
	assert_string_equal(text, sorted);
	/* A no-op changes nothing, time included. */
	json_t *again = NULL;
	options.manager = "other";
	assert_int_equal(managed_update(&options, pod, pod, &again, NULL), 0);
	assert_true(patch_values_equal(pod, again));
	json_decref(again);
	json_decref(pod);
}

/* The short way for creates says what the general one says. */
static void check_created(const char *text, bool defaulted) {
	autoerror struct error err = {0};
	void *object;
	if (api_decode_json_any(text, strlen(text), NULL, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	const struct api_type *type = api_type_of(object);
	if (defaulted)
		api_default(object);
	static const char *const resets[] = {"f:status", NULL};
	struct managed_options options = {.type = type, .api_version = "v1", .manager = "m", .reset_fields = resets};
	json_t *updated = api_to_json(type, object), *general = NULL;
	assert_int_equal(managed_update(&options, NULL, updated, &general, NULL), 0);
	json_t *want = fields_of(general, 0);
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	assert_int_equal(managed_created_fields(type, object, resets, &out), 0);
	if (want) {
		check_equal(want, out.data);
		/* In the same order too. */
		autofree char *told = json_dumps(want, JSON_COMPACT);
		json_t *short_way = json_loads(out.data, 0, NULL);
		autofree char *said = json_dumps(short_way, JSON_COMPACT);
		assert_string_equal(said, told);
		json_decref(short_way);
	} else
		assert_string_equal(out.data, "{}");
	json_decref(updated);
	json_decref(general);
	api_unref(object);
}

static void test_order_of_elements(void **state) {
	/* Each before the next. */
	static const char *const elements[] = {".", "f:", "f:1", "f:10", "f:9", "f:a", "f:b", "k:{\"containerPort\":53,\"protocol\":\"TCP\"}", "k:{\"containerPort\":53,\"protocol\":\"UDP\"}",
		"k:{\"containerPort\":443,\"protocol\":\"TCP\"}", "k:{\"containerPort\":4430,\"protocol\":\"TCP\"}", "k:{\"name\":\"10\"}", "k:{\"name\":\"9\"}", "k:{\"name\":\"a\\\"10\"}", "k:{\"name\":\"a\\\"9\"}", "v:\"10\"", "v:\"9\"", "v:9", "v:10"};
	for (size_t i = 0; i < array_len(elements); i++)
		for (size_t j = 0; j < array_len(elements); j++) {
			int order = field_set_order(elements[i], elements[j]);
			if ((i < j) != (order < 0) || (i == j) != (order == 0))
				fail_msg("%s and %s: %d", elements[i], elements[j], order);
		}
}

static void test_created_fields(void **state) {
	static const char *const objects[] = {
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"labels\":{\"app\":\"x\",\"a.b/c-d\":\"\"},\"annotations\":{},\"finalizers\":[\"f/a\",\"f/b\"],"
		"\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"name\":\"n\",\"uid\":\"u-1\"}]},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i<>&\",\"ports\":["
		"{\"containerPort\":443},{\"containerPort\":53,\"protocol\":\"UDP\",\"name\":\"u\"},{\"containerPort\":53}],\"env\":[{\"name\":\"A\",\"value\":\"1\"},{\"name\":\"B\",\"valueFrom\":{\"fieldRef\":"
		"{\"fieldPath\":\"metadata.name\"}}},{\"name\":\"A\",\"value\":\"2\"}],\"resources\":{\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}},\"securityContext\":{},\"command\":[\"x\"],"
		"\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":\"web\"}},\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/v\"}]},{\"name\":\"a\",\"image\":\"twice\"}],"
		"\"nodeSelector\":{\"k\":\"v\"},\"hostAliases\":[{\"ip\":\"1.2.3.4\",\"hostnames\":[\"h\"]}],\"tolerations\":[{\"key\":\"k\"}],\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}},"
		"{\"name\":\"w\",\"projected\":{\"sources\":[{\"configMap\":{\"name\":\"c\"}}]}}],\"topologySpreadConstraints\":[{\"maxSkew\":1,\"topologyKey\":\"zone\","
		"\"whenUnsatisfiable\":\"DoNotSchedule\",\"labelSelector\":{\"matchLabels\":{\"a\":\"b\"}}}]},\"status\":{\"phase\":\"Pending\"}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{},\"spec\":{\"containers\":[]}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80,\"targetPort\":\"x\"},{\"port\":53,\"protocol\":\"UDP\",\"name\":\"d\"}],"
		"\"selector\":{\"a\":\"b\"},\"type\":\"NodePort\"}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"a\\\"b\":\"1\",\"\":\"2\"},\"binaryData\":{\"x\":\"AAE=\"}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"c\",\"labels\":{}},\"data\":{},\"type\":\"Opaque\"}",
		"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"taints\":[{\"key\":\"k\",\"effect\":\"NoSchedule\"}],\"unschedulable\":true}}",
		"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\",\"labels\":{\"a\":\"b\"}},\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"a\":\"b\"},"
		"\"matchExpressions\":[{\"key\":\"x\",\"operator\":\"Exists\"}]},\"strategy\":{\"rollingUpdate\":{\"maxSurge\":\"25%\",\"maxUnavailable\":0}},\"template\":{\"metadata\":{"
		"\"labels\":{\"a\":\"b\"},\"name\":\"kept\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"affinity\":{\"podAntiAffinity\":{"
		"\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":1,\"podAffinityTerm\":{\"topologyKey\":\"h\"}}]}}}}}}",
		"{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"metadata\":{\"name\":\"i\"},\"spec\":{\"rules\":[{\"host\":\"h\",\"http\":{\"paths\":[{\"path\":\"/\","
		"\"pathType\":\"Prefix\",\"backend\":{\"service\":{\"name\":\"s\",\"port\":{\"number\":80}}}}]}}]}}",
		"{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\",\"metadata\":{\"name\":\"r\"},\"roleRef\":{\"apiGroup\":\"g\",\"kind\":\"Role\",\"name\":\"x\"},"
		"\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"}]}",
		"{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{\"name\":\"l\"},\"spec\":{\"renewTime\":\"2026-01-01T00:00:00.000001Z\",\"leaseDurationSeconds\":0}}",
		"{\"apiVersion\":\"v1\",\"kind\":\"Event\",\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\"},\"count\":1,\"firstTimestamp\":null,\"source\":{}}",
		"{\"apiVersion\":\"batch/v1\",\"kind\":\"CronJob\",\"metadata\":{\"name\":\"j\"},\"spec\":{\"schedule\":\"* * * * *\",\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"containers\":"
		"[{\"name\":\"c\",\"image\":\"i\"}],\"restartPolicy\":\"Never\"}}}}}}",
		"{\"apiVersion\":\"autoscaling/v2\",\"kind\":\"HorizontalPodAutoscaler\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"maxReplicas\":3,\"scaleTargetRef\":{\"kind\":\"D\",\"name\":\"d\"},"
		"\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]}}",
	};
	for (size_t i = 0; i < array_len(objects); i++) {
		check_created(objects[i], false);
		check_created(objects[i], true);
	}
	/* What only a tree can say goes the general way. */
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	void *pod = api_new(&core_v1_pod_type);
	static const char *const deep[] = {"f:spec.f:x", NULL};
	assert_int_equal(managed_created_fields(&core_v1_pod_type, pod, deep, &out), -ENOTSUP);
	assert_int_equal(out.len, 0);
	api_unref(pod);
}

/* An update of structs says of owners what an update of trees says. */
static void check_updated(const struct api_type *type, const char *before, const char *after, const char *subresource, const char *updater) {
	autoerror struct error err = {0};
	static const char *const resets[] = {"f:status", NULL};
	struct managed_options options = {.type = type, .api_version = "v1", .manager = "a", .subresource = subresource, .reset_fields = resets};
	json_t *first = tree(before), *second = tree(after), *live = NULL, *general = NULL;
	assert_int_equal(managed_update(&options, NULL, first, &live, NULL), 0);
	void *old, *object;
	if (api_from_json(type, live, NULL, &old, &err) < 0 || api_from_json(type, second, NULL, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	/* Through the structs once, so that both compare what a server holds. */
	json_decref(live);
	json_decref(second);
	live = api_to_json(type, old);
	second = api_to_json(type, object);
	options.manager = updater;
	assert_int_equal(managed_update(&options, live, second, &general, NULL), 0);
	assert_int_equal(managed_update_object(&options, old, object), 0);
	json_t *fast = api_to_json(type, object), *trees[] = {fast, general};
	for (size_t i = 0; i < array_len(trees); i++) {
		size_t at;
		json_t *entry;
		json_array_foreach(json_object_get(json_object_get(trees[i], "metadata"), "managedFields"), at, entry)
			json_object_del(entry, "time");
	}
	autofree char *want = json_dumps(general, JSON_COMPACT | JSON_SORT_KEYS);
	check_equal(fast, want);
	json_t *all[] = {first, second, live, general, fast};
	for (size_t i = 0; i < array_len(all); i++)
		json_decref(all[i]);
	api_unref(old);
	api_unref(object);
}

static void test_updated_structs(void **state) {
	static const char *const pods[] = {
		"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"i\"}]}}",
		"{\"metadata\":{\"name\":\"p\",\"labels\":{\"x\":\"1\",\"y\":\"2\"},\"annotations\":{}},\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"j\",\"ports\":[{\"containerPort\":80,\"protocol\":\"TCP\"}],"
		"\"resources\":{\"limits\":{\"cpu\":\"1\"}}}],\"nodeName\":\"n\",\"tolerations\":[{\"key\":\"k\"}],\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}]},\"status\":{\"phase\":\"Running\"}}",
		"{\"metadata\":{\"name\":\"p\",\"labels\":{\"y\":\"3\",\"z\":\"1\"},\"finalizers\":[\"a/b\",\"c/d\"]},\"spec\":{\"containers\":[{\"name\":\"b\",\"image\":\"i\"},{\"name\":\"a\",\"image\":\"j\",\"ports\":["
		"{\"containerPort\":80,\"protocol\":\"TCP\",\"name\":\"w\"},{\"containerPort\":81,\"protocol\":\"TCP\"}],\"securityContext\":{},\"resources\":{\"limits\":{\"cpu\":\"2\",\"memory\":\"1Gi\"}}}],"
		"\"affinity\":{\"nodeAffinity\":{}},\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"medium\":\"Memory\"}},{\"name\":\"w\",\"hostPath\":{\"path\":\"/\"}}]},\"status\":{\"phase\":\"Failed\","
		"\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"},{\"type\":\"X\",\"status\":\"False\",\"reason\":\"r\"}],\"containerStatuses\":[{\"name\":\"a\",\"image\":\"\",\"imageID\":\"\",\"ready\":true,"
		"\"restartCount\":1}]}}",
		"{\"metadata\":{\"name\":\"p\",\"finalizers\":[\"c/d\"]},\"spec\":{\"containers\":[],\"securityContext\":{\"runAsUser\":1},\"nodeSelector\":{\"a\":\"b\"}},\"status\":{\"conditions\":[{\"type\":"
		"\"Ready\",\"status\":\"False\"}]}}",
		"{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":null}}",
	};
	static const char *const services[] = {
		"{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"targetPort\":80}],\"selector\":{\"a\":\"b\"}}}",
		"{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"port\":80,\"protocol\":\"TCP\",\"targetPort\":\"x\"},{\"port\":80,\"protocol\":\"UDP\",\"targetPort\":1}],\"clusterIP\":\"10.0.0.1\"}}",
		"{\"metadata\":{\"name\":\"s\"},\"spec\":{\"selector\":{\"a\":\"c\"},\"externalName\":\"e\"},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"1.1.1.1\"}]}}}",
	};
	for (size_t i = 0; i < array_len(pods); i++)
		for (size_t k = 0; k < array_len(pods); k++) {
			check_updated(&core_v1_pod_type, pods[i], pods[k], "", "b");
			check_updated(&core_v1_pod_type, pods[i], pods[k], "", "a");
			check_updated(&core_v1_pod_type, pods[i], pods[k], "status", "a");
		}
	for (size_t i = 0; i < array_len(services); i++)
		for (size_t k = 0; k < array_len(services); k++)
			check_updated(&core_v1_service_type, services[i], services[k], "", i % 2 ? "a" : "b");
}

/* Who writes the same fields again keeps the entry that is there; who comes to more, or takes some away, gets another. */
static void test_updated_again(void **state) {
	static const struct { const char *object, *fields; } steps[] = {
		{"{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"1\",\"y\":\"1\"}}", "{\"f:data\":{\".\":{},\"f:x\":{},\"f:y\":{}}}"},
		{"{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"2\",\"y\":\"1\"}}", "{\"f:data\":{\".\":{},\"f:x\":{},\"f:y\":{}}}"},
		{"{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"3\",\"y\":\"1\",\"z\":\"1\"}}", "{\"f:data\":{\".\":{},\"f:x\":{},\"f:y\":{},\"f:z\":{}}}"},
		{"{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"3\",\"z\":\"2\"}}", "{\"f:data\":{\".\":{},\"f:x\":{},\"f:z\":{}}}"},
		{"{\"metadata\":{\"name\":\"m\",\"labels\":{\"a\":\"b\"}},\"data\":{\"x\":\"3\",\"z\":\"2\"}}", "{\"f:data\":{\".\":{},\"f:x\":{},\"f:z\":{}},\"f:metadata\":{\"f:labels\":{\".\":{},\"f:a\":{}}}}"},
	};
	struct managed_options options = {.type = &core_v1_config_map_type, .api_version = "v1", .manager = "a"};
	void *live = NULL;
	for (size_t i = 0; i < array_len(steps); i++) {
		json_t *given = tree(steps[i].object), *created = NULL;
		void *object;
		if (!live)
			assert_int_equal(managed_update(&options, NULL, given, &created, NULL), 0);
		assert_int_equal(api_from_json(options.type, created ? created : given, NULL, &object, NULL), 0);
		if (live)
			assert_int_equal(managed_update_object(&options, live, object), 0);
		json_decref(given);
		json_decref(created);
		api_unref(live);
		live = object;
		json_t *shown = api_to_json(options.type, live);
		assert_int_equal(owner_count(shown), 1);
		check_equal(fields_of(shown, 0), steps[i].fields);
		json_decref(shown);
	}
	api_unref(live);
}

static void test_update_takes_over(void **state) {
	struct managed_options a = {.type = &core_v1_config_map_type, .api_version = "v1", .manager = "a"}, b = a;
	b.manager = "b";
	json_t *first = update(&a, NULL, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"1\",\"y\":\"1\",\"z\":\"1\"}}");
	json_t *second = update(&b, first, "{\"metadata\":{\"name\":\"m\"},\"data\":{\"x\":\"2\",\"y\":\"1\"}}");
	assert_int_equal(owner_count(second), 2);
	check_equal(fields_of(second, 0), "{\"f:data\":{\".\":{},\"f:y\":{}}}");
	check_equal(fields_of(second, 1), "{\"f:data\":{\"f:x\":{}}}");
	json_decref(first);
	json_decref(second);
}

#define CM "\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"}"

static void test_apply(void **state) {
	struct managed_options a = {.type = &core_v1_config_map_type, .api_version = "v1", .manager = "a"}, b = a;
	b.manager = "b";
	json_t *map = apply(&a, NULL, "{" CM ",\"data\":{\"x\":\"1\",\"y\":\"1\"}}");
	check_equal(fields_of(map, 0), "{\"f:data\":{\"f:x\":{},\"f:y\":{}}}");
	/* Shared while the values agree. */
	map = apply(&b, map, "{" CM ",\"data\":{\"y\":\"1\",\"z\":\"1\"}}");
	assert_int_equal(owner_count(map), 2);
	/* Another value is a conflict that names the manager. */
	autoerror struct error err = {0};
	json_t *config = tree("{" CM ",\"data\":{\"y\":\"2\",\"z\":\"1\"}}"), *ret = NULL;
	assert_true(managed_apply(&b, map, config, &ret, &err) < 0);
	assert_int_equal(err.http_code, 409);
	assert_string_equal(err.message, "Apply failed with 1 conflict: conflict with \"a\": .data.y");
	assert_int_equal(err.cause_count, 1);
	assert_string_equal(err.causes[0].field, ".data.y");
	assert_string_equal(err.causes[0].message, "conflict with \"a\"");
	json_decref(config);
	/* Forced, it is taken. */
	b.force = true;
	map = apply(&b, map, "{" CM ",\"data\":{\"y\":\"2\",\"z\":\"1\"}}");
	check_equal(json_object_get(map, "data"), "{\"x\":\"1\",\"y\":\"2\",\"z\":\"1\"}");
	/* What is no longer applied goes, unless somebody else owns it. */
	map = apply(&b, map, "{" CM ",\"data\":{\"z\":\"1\"}}");
	check_equal(json_object_get(map, "data"), "{\"x\":\"1\",\"z\":\"1\"}");
	map = apply(&b, map, "{" CM ",\"data\":{\"x\":\"1\"}}");
	map = apply(&a, map, "{" CM "}");
	check_equal(json_object_get(map, "data"), "{\"x\":\"1\"}");
	assert_int_equal(owner_count(map), 1);
	json_decref(map);
}

#define DEPLOYMENT "\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"d\"}"

/* kubectl apply, then kubectl apply --server-side. */
static void test_from_client_side(void **state) {
	struct managed_options options = {.type = &core_v1_config_map_type, .api_version = "v1", .manager = "kubectl-client-side-apply"};
	json_t *live = update(&options, NULL,
			      "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"m\",\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":"
			      "\"{\\\"apiVersion\\\":\\\"v1\\\",\\\"kind\\\":\\\"ConfigMap\\\",\\\"metadata\\\":{\\\"name\\\":\\\"m\\\"},\\\"data\\\":{\\\"a\\\":\\\"1\\\",\\\"b\\\":\\\"1\\\"}}\"}},"
			      "\"data\":{\"a\":\"1\",\"b\":\"1\"}}");
	static const char config[] = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"m\"},\"data\":{\"a\":\"2\"}}";
	json_t *given = tree(config), *ret = NULL;
	autoerror struct error err = {0};
	options.manager = "somebody";
	assert_int_equal(managed_apply(&options, live, given, &ret, &err), -EAGAIN);
	error_done(&err);
	options.manager = "kubectl";
	json_t *applied = apply(&options, json_incref(live), config);
	check_equal(json_object_get(applied, "data"), "{\"a\":\"2\",\"b\":\"1\"}");
	assert_string_equal(json_string_value(json_object_get(json_object_get(json_object_get(applied, "metadata"), "annotations"), "kubectl.kubernetes.io/last-applied-configuration")),
			    "{\"apiVersion\":\"v1\",\"data\":{\"a\":\"2\"},\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"m\"}}\n");
	json_decref(applied);
	/* What another changed since is a conflict still. */
	json_object_set_new(json_object_get(live, "data"), "a", json_string("3"));
	assert_int_equal(managed_apply(&options, live, given, &ret, &err), -EAGAIN);
	assert_int_equal(err.cause_count, 1);
	assert_string_equal(err.causes[0].field, ".data.a");
	json_decref(live);
	json_decref(given);
}

static void test_keyed_lists(void **state) {
	struct managed_options a = {.type = &apps_v1_deployment_type, .api_version = "apps/v1", .manager = "a"}, b = a;
	b.manager = "b";
	json_t *d = apply(&a, NULL,
			  "{" DEPLOYMENT ",\"spec\":{\"replicas\":1,\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"1\",\"ports\":[{\"containerPort\":80}]},{\"name\":\"y\","
			  "\"image\":\"1\"}]}}}}");
	d = apply(&b, d, "{" DEPLOYMENT ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"tty\":true},{\"name\":\"z\",\"image\":\"3\"}]}}}}");
	check_equal(json_object_get(json_object_get(json_object_get(json_object_get(d, "spec"), "template"), "spec"), "containers"),
		    "[{\"name\":\"x\",\"image\":\"1\",\"tty\":true,\"ports\":[{\"containerPort\":80}]},{\"name\":\"y\",\"image\":\"1\"},{\"name\":\"z\",\"image\":\"3\"}]");
	d = apply(&a, d, "{" DEPLOYMENT ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"2\"}]}}}}");
	/* Empty parts are those of the empty Deployment that the first apply began with. */
	check_equal(json_object_get(d, "spec"), "{\"selector\":null,\"strategy\":{},\"template\":{\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"2\",\"tty\":true},{\"name\":\"z\",\"image\":\"3\"}]}}}");
	json_decref(d);
}

/* Who owns no more than something in an item does not keep it: it goes with who owns the item itself. */
static void test_items_of_others(void **state) {
	struct managed_options a = {.type = &apps_v1_deployment_type, .api_version = "apps/v1", .manager = "a"}, b = a;
	b.manager = "b";
	json_t *d = apply(&a, NULL, "{" DEPLOYMENT ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"x\",\"image\":\"1\"},{\"name\":\"y\",\"image\":\"1\"}]}}}}");
	json_t *changed = json_deep_copy(d);
	json_t *containers = json_object_get(json_object_get(json_object_get(json_object_get(changed, "spec"), "template"), "spec"), "containers");
	json_object_set_new(json_array_get(containers, 0), "tty", json_true());
	autofree char *text = json_dumps(changed, 0);
	json_t *updated = update(&b, d, text);
	json_decref(changed);
	json_decref(d);
	d = apply(&a, updated, "{" DEPLOYMENT ",\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"y\",\"image\":\"1\"}]}}}}");
	check_equal(json_object_get(json_object_get(json_object_get(json_object_get(d, "spec"), "template"), "spec"), "containers"), "[{\"name\":\"y\",\"image\":\"1\"}]");
	/* Nothing is left that b would own. */
	assert_int_equal(owner_count(d), 1);
	json_decref(d);
}

static void test_refusals(void **state) {
	struct managed_options a = {.type = &apps_v1_deployment_type, .api_version = "apps/v1", .manager = "a"};
	static const struct {
		const char *config, *message;
		int code;
	} rows[] = {
		{"{" DEPLOYMENT ",\"spec\":{\"foo\":1}}", "failed to create typed patch object (/d; apps/v1, Kind=Deployment): .spec.foo: field not declared in schema", 500},
		{"{\"apiVersion\":\"apps/v2\",\"kind\":\"Deployment\"}", "Incorrect version specified in apply patch. Specified patch version: apps/v2, expected: apps/v1", 400},
		{"{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"managedFields\":[{}]}}", "metadata.managedFields must be nil", 400},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		json_t *config = tree(rows[i].config), *ret = NULL;
		assert_true(managed_apply(&a, NULL, config, &ret, &err) < 0);
		assert_string_equal(err.message, rows[i].message);
		assert_int_equal(err.http_code, rows[i].code);
		json_decref(config);
	}
}

static void test_custom_resource(void **state) {
	json_t *schema = tree("{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\",\"properties\":{\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\","
			      "\"x-kubernetes-list-map-keys\":[\"id\"],\"items\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},\"v\":{\"type\":\"integer\"}}}},\"free\":{"
			      "\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true}}}}}");
	struct managed_options a = {.schema = schema, .api_version = "g/v1", .manager = "a"}, b = a;
	b.manager = "b";
	json_t *object = apply(&a, NULL, "{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"items\":[{\"id\":\"1\",\"v\":1}],\"free\":{\"x\":{\"y\":1}}}}");
	object = apply(&b, object, "{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"items\":[{\"id\":\"2\",\"v\":2}],\"free\":{\"x\":{\"z\":1}}}}");
	check_equal(json_object_get(object, "spec"), "{\"items\":[{\"id\":\"1\",\"v\":1},{\"id\":\"2\",\"v\":2}],\"free\":{\"x\":{\"y\":1,\"z\":1}}}");
	autoerror struct error err = {0};
	json_t *bad = tree("{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},\"unknown\":1}"), *ret = NULL;
	assert_true(managed_apply(&a, object, bad, &ret, &err) < 0);
	assert_non_null(strstr(err.message, ".unknown: field not declared in schema"));
	json_decref(bad);
	json_decref(object);
	json_decref(schema);
}

/* Where members that the schema does not name may stand: wherever something around preserves them, and in an object of which it says nothing. */
static void test_open_objects(void **state) {
	json_t *schema = tree("{\"type\":\"object\",\"properties\":{\"bare\":{\"type\":\"object\"},\"shut\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}},\"none\":{\"type\":\"object\",\"additionalProperties\":false},"
			      "\"own\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true},"
			      "\"open\":{\"type\":\"object\",\"x-kubernetes-preserve-unknown-fields\":true,\"properties\":{\"in\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}},"
			      "\"map\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}},"
			      "\"items\":{\"type\":\"array\",\"x-kubernetes-list-type\":\"map\",\"x-kubernetes-list-map-keys\":[\"k\"],\"items\":{\"type\":\"object\",\"properties\":{\"k\":{\"type\":\"string\"}}}},"
			      "\"own\":{\"type\":\"object\",\"x-kubernetes-embedded-resource\":true,\"properties\":{\"k\":{\"type\":\"string\"}}}}}}}");
	static const struct {
		const char *members, *mistake; /* NULL: taken */
	} rows[] = {
		{"\"bare\":{\"x\":{\"y\":1}}", NULL},
		{"\"shut\":{\"x\":1}", ".shut.x: field not declared in schema"},
		{"\"none\":{\"x\":1}", ".none.x: field not declared in schema"},
		{"\"own\":{\"x\":1}", ".own.x: field not declared in schema"},
		{"\"x\":1", ".x: field not declared in schema"},
		{"\"open\":{\"in\":{\"x\":1},\"map\":{\"a\":{\"x\":1}},\"items\":[{\"k\":\"a\",\"x\":1}],\"own\":{\"x\":1,\"metadata\":{\"name\":\"n\"}},\"x\":{\"y\":1}}", NULL},
		{"\"open\":{\"own\":{\"metadata\":{\"x\":1}}}", ".open.own.metadata.x: field not declared in schema"},
	};
	struct managed_options a = {.schema = schema, .api_version = "g/v1", .manager = "a"};
	for (size_t i = 0; i < array_len(rows); i++) {
		print_message("  %s\n", rows[i].members);
		autofree char *text = xprintf("{\"apiVersion\":\"g/v1\",\"kind\":\"K\",\"metadata\":{\"name\":\"n\"},%s}", rows[i].members);
		autoerror struct error err = {0};
		json_t *config = tree(text), *ret = NULL;
		int r = managed_apply(&a, NULL, config, &ret, &err);
		assert_int_equal(r < 0, rows[i].mistake != NULL);
		if (rows[i].mistake)
			assert_non_null(strstr(err.message, rows[i].mistake));
		json_decref(ret);
		json_decref(config);
	}
	json_decref(schema);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_create),
		cmocka_unit_test(test_order_of_elements), cmocka_unit_test(test_created_fields), cmocka_unit_test(test_updated_structs), cmocka_unit_test(test_updated_again), cmocka_unit_test(test_update_takes_over), cmocka_unit_test(test_apply),
		cmocka_unit_test(test_from_client_side),
		cmocka_unit_test(test_keyed_lists), cmocka_unit_test(test_items_of_others), cmocka_unit_test(test_refusals), cmocka_unit_test(test_custom_resource), cmocka_unit_test(test_open_objects),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
