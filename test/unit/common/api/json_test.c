/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "common/api/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static char *encoded(const void *object) {
	struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode(object, &out);
	return buf_take(&out);
}

static void check_round_trip(const struct api_type *type, const char *json) {
	autoerror struct error err = {0};
	void *object = NULL;
	struct api_decode_options strict = {.validation = API_STRICT};
	if (api_decode_json(type, json, strlen(json), &strict, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	autofree char *out = encoded(object);
	assert_string_equal(out, json);
	autounref void *copy = api_copy(object);
	assert_true(api_equal(type, object, copy));
	autounref void *compact = api_copy_compact(object);
	assert_true(api_equal(type, object, compact));
	assert_int_equal(api_hash(type, object), api_hash(type, copy));
	autofree char *again = encoded(copy);
	assert_string_equal(again, json);
	json_t *tree = api_to_json(type, object);
	void *from_tree = NULL;
	assert_int_equal(api_from_json(type, tree, NULL, &from_tree, NULL), 0);
	assert_true(api_equal(type, object, from_tree));
	json_decref(tree);
	api_unref(from_tree);
	api_unref(object);
}

static void test_pod_round_trip(void **state) {
	check_round_trip(&core_v1_pod_type,
			 "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"creationTimestamp\":\"2026-01-02T03:04:05Z\",\"labels\":{\"a\":"
			 "\"1\",\"b\":\"\\u003cx\\u003e\"}},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":\"1Gi\"}},{\"name\":\"h\",\"hostPath\":{\"path\":\"/x\",\"type\":\"\"}}],"
			 "\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"env\":[{\"name\":\"A\",\"value\":\"é\"}],\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"128Mi\"}},"
			 "\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":\"http\"},\"initialDelaySeconds\":3}}],\"terminationGracePeriodSeconds\":0,\"hostNetwork\":true},"
			 "\"status\":{\"phase\":\"Running\",\"startTime\":\"2026-01-02T03:04:05Z\"}}");
	/* What Go writes for empty parts. */
	check_round_trip(&core_v1_pod_type, "{\"metadata\":{},\"spec\":{\"containers\":null},\"status\":{}}");
	check_round_trip(&core_v1_pod_type, "{\"metadata\":{},\"spec\":{\"containers\":[]},\"status\":{}}");
}

static void test_workload_round_trip(void **state) {
	check_round_trip(&apps_v1_deployment_type,
			 "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"app\":\"d\"}},\"template\":{"
			 "\"metadata\":{\"labels\":{\"app\":\"d\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{}}]}},\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{"
			 "\"maxUnavailable\":\"25%\",\"maxSurge\":1}}},\"status\":{}}");
}

static void test_controllers_round_trip(void **state) {
	static const char *const manifests[] = {
		"{\"kind\":\"ReplicaSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":2,\"selector\":{\"matchLabels\":{\"app\":\"x\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"restartPolicy\":\"Always\"}}},\"status\":{\"replicas\":2}}",
		"{\"kind\":\"StatefulSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":1,\"selector\":{\"matchLabels\":{\"app\":\"x\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"restartPolicy\":\"Always\"}},\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"d\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}},\"status\":{}}],\"serviceName\":\"s\",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":0}}},\"status\":{\"replicas\":1,\"availableReplicas\":0}}",
		"{\"kind\":\"DaemonSet\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"x\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"restartPolicy\":\"Always\"}},\"updateStrategy\":{\"type\":\"OnDelete\"}},\"status\":{\"currentNumberScheduled\":0,\"numberMisscheduled\":0,\"desiredNumberScheduled\":0,\"numberReady\":0}}",
		"{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"parallelism\":1,\"backoffLimit\":6,\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"restartPolicy\":\"Never\"}}},\"status\":{\"active\":1,\"ready\":0}}",
		"{\"kind\":\"CronJob\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"schedule\":\"*/5 * * * *\",\"suspend\":false,\"jobTemplate\":{\"metadata\":{},\"spec\":{\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"restartPolicy\":\"OnFailure\"}}}}},\"status\":{\"lastScheduleTime\":\"2026-01-02T03:04:05Z\"}}",
		"{\"kind\":\"ReplicationController\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"replicas\":1,\"selector\":{\"app\":\"x\"},\"template\":{\"metadata\":{\"labels\":{\"app\":\"x\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{}}],\"restartPolicy\":\"Always\"}}},\"status\":{\"replicas\":0}}",
	};
	for (size_t i = 0; i < array_len(manifests); i++) {
		void *object = NULL;
		assert_int_equal(api_decode_json_any(manifests[i], strlen(manifests[i]), NULL, &object, NULL), 0);
		check_round_trip(api_type_of(object), manifests[i]);
		api_unref(object);
	}
}

static void test_schema_forms(void **state) {
	check_round_trip(&apiextensions_v1_json_schema_props_type,
			 "{\"type\":\"object\",\"default\":{\"a\":[1,2.5,\"x\"]},\"maximum\":1.5,\"enum\":[\"a\",1,null],\"items\":[{\"type\":\"string\"}],\"properties\":{\"a\":{\"type\":"
			 "\"string\"},\"b\":{\"items\":{\"type\":\"integer\"}}},\"additionalProperties\":false,\"dependencies\":{\"x\":[\"y\"]},\"x-kubernetes-preserve-unknown-fields\":true}");
}

static void check_error(const char *json, enum api_validation validation, const char *want) {
	autoerror struct error err = {0};
	void *object = NULL;
	struct api_decode_options options = {.validation = validation};
	assert_true(api_decode_json(&core_v1_pod_type, json, strlen(json), &options, &object, &err) < 0);
	assert_null(object);
	assert_int_equal(err.http_code, 400);
	assert_string_equal(err.message, want);
}

static void test_errors(void **state) {
	check_error("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":\"x\"}}", API_IGNORE,
		    "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container");
	check_error("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"spec\":{\"containers\":[{\"ports\":[{\"containerPort\":99999999999}]}]}}", API_IGNORE,
		    "Pod in version \"v1\" cannot be handled as a Pod: json: cannot unmarshal number 99999999999 into Go struct field "
		    "ContainerPort.spec.containers.ports.containerPort of type int32");
	check_error("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"bad\":1,\"spec\":{\"containers\":[{\"foo\":{},\"name\":\"a\",\"name\":\"b\"}]}}", API_STRICT,
		    "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: unknown field \"bad\", unknown field \"spec.containers[0].foo\", duplicate field "
		    "\"spec.containers[0].name\"");
	check_error("{\"kind\":\"Pod\"", API_IGNORE,
		    "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({\"kind\":\"Pod\")");
}

static void test_warnings(void **state) {
	struct api_warning_list warnings = {0};
	struct api_decode_options options = {.validation = API_WARN, .warnings = &warnings};
	static const char json[] = "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"labels\":{\"b\":\"1\",\"a\":\"2\",\"b\":\"3\"}},\"x\":[{}]}";
	void *object = NULL;
	assert_int_equal(api_decode_json(&core_v1_pod_type, json, strlen(json), &options, &object, NULL), 0);
	assert_int_equal(warnings.len, 2);
	assert_string_equal(warnings.items[0], "duplicate field \"metadata.labels.b\"");
	assert_string_equal(warnings.items[1], "unknown field \"x\"");
	const struct core_v1_pod *pod = object;
	assert_string_equal(api_map_get(&pod->metadata.labels, "b"), "3");
	assert_int_equal(pod->metadata.labels.len, 2);
	api_unref(object);
	/* What was found before stays. */
	static const char other[] = "{\"y\":1}";
	assert_int_equal(api_decode_json(&core_v1_pod_type, other, strlen(other), &options, &object, NULL), 0);
	assert_int_equal(warnings.len, 3);
	assert_string_equal(warnings.items[0], "duplicate field \"metadata.labels.b\"");
	assert_string_equal(warnings.items[2], "unknown field \"y\"");
	api_warning_list_done(&warnings);
	api_unref(object);
}

static void test_skip(void **state) {
	static const char json[] = "{\"metadata\":{\"managedFields\":[{\"manager\":\"m\"}],\"name\":\"n\"}}";
	size_t offset;
	const struct api_field *skip[] = {api_field_find(&meta_v1_object_meta_type, "managedFields", strlen("managedFields"), &offset), NULL};
	struct api_decode_options options = {.skip = skip};
	void *object = NULL;
	assert_int_equal(api_decode_json(&core_v1_pod_type, json, strlen(json), &options, &object, NULL), 0);
	assert_int_equal(api_metadata(object)->managed_fields.len, 0);
	assert_string_equal(api_metadata(object)->name, "n");
	api_unref(object);
}

static void test_any_and_key(void **state) {
	static const char json[] = "{\"metadata\":{\"name\":\"n\",\"namespace\":\"s\"},\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\"}";
	autounref void *object = NULL;
	autoerror struct error err = {0};
	assert_int_equal(api_decode_json_any(json, strlen(json), NULL, &object, &err), 0);
	assert_ptr_equal(api_type_of(object), &apps_v1_deployment_type);
	assert_string_equal(api_key(object), "s/n");
	void *none = NULL;
	static const char unknown[] = "{\"kind\":\"Foo\",\"apiVersion\":\"apps/v9\"}";
	assert_int_equal(api_decode_json_any(unknown, strlen(unknown), NULL, &none, &err), -2);
	assert_string_equal(err.message, "no kind \"Foo\" is registered for version \"apps/v9\"");
}

static void test_strings(void **state) {
	static const char json[] = "{\"data\":{\"a\":\"\\ud83d\\ude00\\n\\u0000\",\"b\":\"\xff!\"}}";
	void *object = NULL;
	assert_int_equal(api_decode_json(&core_v1_config_map_type, json, strlen(json), NULL, &object, NULL), 0);
	const struct core_v1_config_map *map = object;
	assert_string_equal(api_map_get(&map->data, "a"), "\xf0\x9f\x98\x80\n\xef\xbf\xbd");
	assert_string_equal(api_map_get(&map->data, "b"), "\xef\xbf\xbd!");
	api_unref(object);
}

static void test_lookups(void **state) {
	assert_ptr_equal(api_resource_find("", "v1", "pods"), &api_pods);
	assert_ptr_equal(api_resource_find("apps", NULL, "deployments"), &api_deployments);
	assert_ptr_equal(api_resource_match("deploy"), &api_deployments);
	assert_ptr_equal(api_resource_match("Deployments.apps"), &api_deployments);
	assert_ptr_equal(api_resource_match("deployments.v1.apps"), &api_deployments);
	assert_ptr_equal(api_resource_match("po"), &api_pods);
	assert_null(api_resource_match("nothing"));
	assert_null(api_resource_find("apps", "v2", "deployments"));
	assert_ptr_equal(api_resource_by_kind("", "v1", "Pod"), &api_pods);
	assert_string_equal(api_type_by_kind("apps", "v1", "DeleteOptions")->id, "meta/v1.DeleteOptions");
	assert_string_equal(api_resource_find("", "v1", "services")->etcd_prefix, "services/specs");
	assert_string_equal(api_resource_subresource(&api_pods, "eviction")->group, "policy");
	for (size_t i = 0; i < api_types_count; i++)
		assert_ptr_equal(api_type_by_id(api_types[i]->id), api_types[i]);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pod_round_trip), cmocka_unit_test(test_workload_round_trip), cmocka_unit_test(test_controllers_round_trip), cmocka_unit_test(test_schema_forms),
		cmocka_unit_test(test_errors), cmocka_unit_test(test_warnings), cmocka_unit_test(test_any_and_key),
		cmocka_unit_test(test_strings), cmocka_unit_test(test_skip), cmocka_unit_test(test_lookups),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
