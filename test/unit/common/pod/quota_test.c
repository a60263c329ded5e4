/* SPDX-License-Identifier: Apache-2.0 */
#include "common/pod/quota.h"
#include "common/pod/resources.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void *object_of(const struct api_type *type, const char *json) {
	void *object = NULL;
	autoerror struct error err = {0};
	if (api_decode_json(type, json, strlen(json), NULL, &object, &err) < 0)
		fail_msg("%s: %s", json, error_message(&err));
	return object;
}

/* "name=amount ..." in the order of names. */
static void check(const struct api_quantity_map *map, const char *want) {
	autobuf struct buf text = BUF_INIT(1 << 16);
	for api_list_each (e, map) {
		char amount[64];
		quantity_format(&e->value, amount);
		buf_printf(&text, "%s%s=%s", text.len ? " " : "", e->key, amount);
	}
	assert_string_equal(text.len ? text.data : "", want);
}

static void test_pods(void **state) {
	static const struct {
		const char *spec, *usage, *qos;
	} rows[] = {
		{"{\"containers\":[{\"name\":\"a\"}]}", "pods=1", "BestEffort"},
		{"{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"1\",\"example.com/x\":\"2\"},\"limits\":{\"cpu\":\"2\",\"example.com/x\":\"2\"}}}]}",
		 "cpu=1 limits.cpu=2 pods=1 requests.cpu=1 requests.example.com/x=2", "Burstable"},
		/* Sidecars count along, an init container only where it is more; the overhead comes on top, of limits only where there is one. */
		{"{\"overhead\":{\"cpu\":\"10m\",\"memory\":\"1Mi\"},\"initContainers\":[{\"name\":\"s\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"100m\"},\"limits\":{\"cpu\":\"100m\"}}},"
		 "{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}],\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"300m\"},\"limits\":{\"cpu\":\"1\"}}}]}",
		 "cpu=2110m limits.cpu=1110m memory=1Mi pods=1 requests.cpu=2110m requests.memory=1Mi", "Burstable"},
		/* What the pod asks for as a whole stands instead. */
		{"{\"resources\":{\"requests\":{\"cpu\":\"3\"},\"limits\":{\"cpu\":\"3\"}},\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}",
		 "cpu=3 limits.cpu=3 memory=1Gi pods=1 requests.cpu=3 requests.memory=1Gi", "Burstable"},
		{"{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"1\",\"memory\":\"1Gi\"},\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}",
		 "cpu=1 limits.cpu=1 limits.memory=1Gi memory=1Gi pods=1 requests.cpu=1 requests.memory=1Gi", "Guaranteed"},
		{"{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"0\",\"memory\":\"1Gi\"},\"limits\":{\"cpu\":\"1\",\"memory\":\"1Gi\"}}}]}",
		 "cpu=0 limits.cpu=1 limits.memory=1Gi memory=1Gi pods=1 requests.cpu=0 requests.memory=1Gi", "Burstable"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *json = xprintf("{\"spec\":%s}", rows[i].spec);
		autounref struct core_v1_pod *pod = object_of(&core_v1_pod_type, json);
		struct api_quantity_map usage = {0};
		quota_pod_usage(api_arena(pod), pod, &usage);
		check(&usage, rows[i].usage);
		assert_string_equal(pod_qos_class(&pod->spec), rows[i].qos);
	}
}

static void test_services_and_claims(void **state) {
	static const struct {
		const char *spec, *usage;
	} rows[] = {
		{"{\"ports\":[{\"port\":1}]}", "count/services=1 services=1 services.loadbalancers=0 services.nodeports=0"},
		{"{\"type\":\"NodePort\",\"ports\":[{\"port\":1},{\"port\":2}]}", "count/services=1 services=1 services.loadbalancers=0 services.nodeports=2"},
		{"{\"type\":\"LoadBalancer\",\"ports\":[{\"port\":1}]}", "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1"},
		/* Without allocation only the ports that somebody asked for. */
		{"{\"type\":\"LoadBalancer\",\"allocateLoadBalancerNodePorts\":false,\"ports\":[{\"port\":1},{\"port\":2,\"nodePort\":30000}]}",
		 "count/services=1 services=1 services.loadbalancers=1 services.nodeports=1"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *json = xprintf("{\"spec\":%s}", rows[i].spec);
		autounref struct core_v1_service *service = object_of(&core_v1_service_type, json);
		struct api_quantity_map usage = {0};
		quota_service_usage(api_arena(service), service, &usage);
		check(&usage, rows[i].usage);
	}
	autounref struct core_v1_persistent_volume_claim *claim =
		object_of(&core_v1_persistent_volume_claim_type, "{\"spec\":{\"storageClassName\":\"fast\",\"resources\":{\"requests\":{\"storage\":\"5Gi\"}}}}");
	struct api_quantity_map usage = {0};
	quota_claim_usage(api_arena(claim), claim, &usage);
	check(&usage, "count/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/persistentvolumeclaims=1 fast.storageclass.storage.k8s.io/requests.storage=5Gi "
		      "persistentvolumeclaims=1 requests.storage=5Gi");
}

/* Of alternatives the dearest of each class; what takes all may take as many as an allocation holds. */
static void test_resource_claims(void **state) {
	autounref struct resource_v1_resource_claim *claim = object_of(&resource_v1_resource_claim_type,
		"{\"spec\":{\"devices\":{\"requests\":[{\"name\":\"a\",\"exactly\":{\"deviceClassName\":\"gpu\",\"allocationMode\":\"ExactCount\",\"count\":3}},"
		"{\"name\":\"b\",\"firstAvailable\":[{\"name\":\"x\",\"deviceClassName\":\"gpu\",\"allocationMode\":\"ExactCount\",\"count\":2},"
		"{\"name\":\"y\",\"deviceClassName\":\"gpu\",\"allocationMode\":\"ExactCount\",\"count\":1},{\"name\":\"z\",\"deviceClassName\":\"nic\",\"allocationMode\":\"ExactCount\",\"count\":1}]},"
		"{\"name\":\"c\",\"exactly\":{\"deviceClassName\":\"gpu\",\"allocationMode\":\"All\"}},{\"name\":\"d\",\"exactly\":{\"deviceClassName\":\"gpu\",\"allocationMode\":\"Other\",\"count\":9}}]}}}");
	struct api_quantity_map usage = {0};
	quota_resource_claim_usage(api_arena(claim), claim, &usage);
	check(&usage, "count/resourceclaims.resource.k8s.io=1 gpu.deviceclass.resource.k8s.io/devices=37 nic.deviceclass.resource.k8s.io/devices=1");
}

#define SELECTOR(scope, operator, values) "{\"scopeSelector\":{\"matchExpressions\":[{\"scopeName\":\"" scope "\",\"operator\":\"" operator "\"" values "}]}}"

static void test_scopes(void **state) {
	static const char best[] = "{\"containers\":[{\"name\":\"a\"}]}", burst[] = "{\"containers\":[{\"name\":\"a\",\"resources\":{\"requests\":{\"cpu\":\"1\"}}}],\"activeDeadlineSeconds\":5}",
			  high[] = "{\"containers\":[{\"name\":\"a\"}],\"priorityClassName\":\"high\"}",
			  cross[] = "{\"containers\":[{\"name\":\"a\"}],\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[{\"topologyKey\":\"z\",\"namespaces\":[\"b\"]}]}}}";
	static const struct {
		const char *quota, *pod;
		bool takes;
	} rows[] = {
		{"{}", best, true},
		{"{\"scopes\":[\"BestEffort\"]}", best, true}, {"{\"scopes\":[\"BestEffort\"]}", burst, false},
		{"{\"scopes\":[\"NotBestEffort\"]}", best, false}, {"{\"scopes\":[\"NotBestEffort\",\"Terminating\"]}", burst, true},
		{"{\"scopes\":[\"NotTerminating\"]}", burst, false}, {"{\"scopes\":[\"VolumeAttributesClass\"]}", best, false},
		{"{\"scopes\":[\"PriorityClass\"]}", best, false}, {"{\"scopes\":[\"PriorityClass\"]}", high, true},
		{SELECTOR("PriorityClass", "In", ",\"values\":[\"high\"]"), high, true}, {SELECTOR("PriorityClass", "In", ",\"values\":[\"low\"]"), high, false},
		{SELECTOR("PriorityClass", "NotIn", ",\"values\":[\"low\"]"), best, true}, {SELECTOR("PriorityClass", "DoesNotExist", ""), best, true},
		{SELECTOR("PriorityClass", "DoesNotExist", ""), high, false}, {SELECTOR("CrossNamespacePodAffinity", "Exists", ""), cross, true},
		{SELECTOR("CrossNamespacePodAffinity", "Exists", ""), best, false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *quota_json = xprintf("{\"spec\":%s}", rows[i].quota), *pod_json = xprintf("{\"spec\":%s}", rows[i].pod);
		autounref struct core_v1_resource_quota *quota = object_of(&core_v1_resource_quota_type, quota_json);
		autounref struct core_v1_pod *pod = object_of(&core_v1_pod_type, pod_json);
		if (quota_takes_pod(quota, pod) != rows[i].takes)
			fail_msg("row %zu: %s and %s", i, rows[i].quota, rows[i].pod);
		assert_int_equal(quota_has_scopes(quota), i != 0);
	}
	autounref struct core_v1_persistent_volume_claim *gold = object_of(&core_v1_persistent_volume_claim_type, "{\"spec\":{\"volumeAttributesClassName\":\"gold\"}}");
	autounref struct core_v1_persistent_volume_claim *plain = object_of(&core_v1_persistent_volume_claim_type, "{\"spec\":{}}");
	autounref struct core_v1_resource_quota *of_gold = object_of(&core_v1_resource_quota_type, "{\"spec\":" SELECTOR("VolumeAttributesClass", "In", ",\"values\":[\"gold\"]") "}");
	assert_true(quota_takes_claim(of_gold, gold));
	assert_false(quota_takes_claim(of_gold, plain));
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_pods), cmocka_unit_test(test_services_and_claims), cmocka_unit_test(test_resource_claims), cmocka_unit_test(test_scopes)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
