/* SPDX-License-Identifier: Apache-2.0 */
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/authentication_v1.h"
#include "api/core_v1.h"
#include "common/api/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void check_round_trip(const char *json) {
	autoerror struct error err = {0};
	autounref void *object = NULL, *back = NULL;
	autobuf struct buf wire = BUF_INIT(BUF_MAX_DEFAULT), again = BUF_INIT(BUF_MAX_DEFAULT), text = BUF_INIT(BUF_MAX_DEFAULT);
	if (api_decode_json_any(json, strlen(json), NULL, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	api_encode_protobuf(api_type_of(object), object, &wire);
	if (api_decode_protobuf(wire.data, wire.len, &back, &err) < 0)
		fail_msg("%s", error_message(&err));
	api_encode(back, &text);
	assert_string_equal(text.data, json);
	api_encode_protobuf(api_type_of(back), back, &again);
	assert_int_equal(again.len, wire.len);
	assert_memory_equal(again.data, wire.data, wire.len);
	/* No cut message may crash or pass as whole without notice of the reader. */
	for (size_t len = 0; len < wire.len; len += 7) {
		void *part = NULL;
		autofree char *exact = xmemdup(wire.data, len);
		if (api_decode_protobuf(exact, len, &part, NULL) == 0)
			api_unref(part);
	}
}

static void test_round_trips(void **state) {
	check_round_trip("{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"web\",\"namespace\":\"default\",\"creationTimestamp\":\"2026-01-02T03:04:05Z\",\"labels\":{\"a\":\"1\","
			 "\"b\":\"2\"},\"managedFields\":[{\"manager\":\"m\",\"operation\":\"Apply\",\"fieldsV1\":{\"f:a\":{}}}]},\"spec\":{\"volumes\":[{\"name\":\"v\",\"emptyDir\":{\"sizeLimit\":"
			 "\"1Gi\"}}],\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"128Mi\"}},\"livenessProbe\":{\"httpGet\":{"
			 "\"path\":\"/\",\"port\":\"http\"},\"initialDelaySeconds\":3}}],\"terminationGracePeriodSeconds\":0,\"securityContext\":{\"supplementalGroups\":[1,-5]}},\"status\":{"
			 "\"phase\":\"Running\"}}");
	check_round_trip("{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{\"name\":\"d\"},\"spec\":{\"replicas\":0,\"selector\":{\"matchLabels\":{\"app\":\"d\"}},\"template\":{"
			 "\"metadata\":{},\"spec\":{\"containers\":[{\"name\":\"c\",\"resources\":{}}]}},\"strategy\":{\"rollingUpdate\":{\"maxUnavailable\":\"25%\",\"maxSurge\":1}}},"
			 "\"status\":{}}");
	check_round_trip("{\"kind\":\"Secret\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"s\"},\"immutable\":false,\"data\":{\"a\":\"AAEC\",\"b\":\"\"},\"type\":\"Opaque\"}");
	check_round_trip("{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",\"metadata\":{},\"spec\":{\"token\":\"t\"},\"status\":{\"authenticated\":true,\"user\":{"
			 "\"username\":\"u\",\"extra\":{\"k\":[\"a\",\"b\"]}}}}");
	check_round_trip("{\"kind\":\"CustomResourceDefinition\",\"apiVersion\":\"apiextensions.k8s.io/v1\",\"metadata\":{\"name\":\"x\"},\"spec\":{\"group\":\"g\",\"names\":{\"plural\":\"ps\","
			 "\"kind\":\"P\"},\"scope\":\"Namespaced\",\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\","
			 "\"properties\":{\"a\":{\"type\":\"number\",\"default\":1.5,\"maximum\":2.5,\"enum\":[1,\"x\"]},\"b\":{\"type\":\"object\",\"additionalProperties\":true}}}}}]},"
			 "\"status\":{\"conditions\":null,\"acceptedNames\":{\"plural\":\"\",\"kind\":\"\"},\"storedVersions\":null}}");
	check_round_trip("{\"kind\":\"Lease\",\"apiVersion\":\"coordination.k8s.io/v1\",\"metadata\":{\"name\":\"l\"},\"spec\":{\"holderIdentity\":\"h\",\"renewTime\":"
			 "\"2026-01-02T03:04:05.123456Z\"}}");
}

/* The bytes that the Go server writes for this object. */
static void test_known_bytes(void **state) {
	static const char json[] = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"v\"}}";
	static const unsigned char envelope[] = {'k', '8', 's', 0, 0x0a, 15, 0x0a, 2, 'v', '1', 0x12, 9, 'C', 'o', 'n', 'f', 'i', 'g', 'M', 'a', 'p'};
	/* name, generateName, namespace, selfLink, uid, resourceVersion, generation, creationTimestamp are written also when empty. */
	static const unsigned char meta[] = {0x0a, 17, 0x0a, 1, 'a', 0x12, 0, 0x1a, 0, 0x22, 0, 0x2a, 0, 0x32, 0, 0x38, 0, 0x42, 0};
	static const unsigned char data[] = {0x12, 6, 0x0a, 1, 'k', 0x12, 1, 'v'};
	const size_t head = sizeof(envelope);
	autounref void *object = NULL;
	autobuf struct buf wire = BUF_INIT(1 << 20);
	assert_int_equal(api_decode_json_any(json, strlen(json), NULL, &object, NULL), 0);
	api_encode_protobuf(api_type_of(object), object, &wire);
	assert_memory_equal(wire.data, envelope, head);
	assert_int_equal((unsigned char)wire.data[head], 0x12);
	assert_int_equal((unsigned char)wire.data[head + 1], sizeof(meta) + sizeof(data));
	assert_memory_equal(wire.data + head + 2, meta, sizeof(meta));
	assert_memory_equal(wire.data + head + 2 + sizeof(meta), data, sizeof(data));
	assert_memory_equal(wire.data + head + 2 + sizeof(meta) + sizeof(data), "\x1a\x00\x22\x00", 4);
	assert_int_equal(wire.len, head + 2 + sizeof(meta) + sizeof(data) + 4);
}

static void test_refusals(void **state) {
	autoerror struct error err = {0};
	void *object = NULL;
	assert_true(api_decode_protobuf("{\"a\"", 4, &object, &err) < 0);
	assert_true(api_decode_protobuf("k8s\0\x0a\x04\x0a\x02v9", 10, &object, &err) < 0);
	/* A string longer than the message. */
	assert_true(api_decode_protobuf_message(&core_v1_config_map_type, "\x0a\x05\x0a\xff\xff\xff\x7f", 7, &object, &err) < 0);
	assert_null(object);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips), cmocka_unit_test(test_known_bytes), cmocka_unit_test(test_refusals)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
