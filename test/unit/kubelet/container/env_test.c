/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/env.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

static void *decode(const struct api_type *type, const char *json) {
	void *object = NULL;
	autoerror struct error err = {0};
	if (api_decode_json(type, json, strlen(json), NULL, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	return object;
}

/* One ConfigMap "cm" and one Secret "sec", one Service. */
static int get(struct object_source *source, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err) {
	if (resource == &api_configmaps && str_equal(name, "cm")) {
		*ret = decode(&core_v1_config_map_type, "{\"data\":{\"k\":\"v\",\"other\":\"w\"}}");
		return 0;
	}
	if (resource == &api_secrets && str_equal(name, "sec")) {
		*ret = decode(&core_v1_secret_type, "{\"data\":{\"pw\":\"aHVudGVyMg==\"}}");
		return 0;
	}
	return error_set(err, ENOENT, "%s \"%s\" not found", resource->singular, name);
}

static void services(struct object_source *source, const char *ns, struct informer_list *ret) {
	*ret = (struct informer_list){.items = xcalloc(1, sizeof(void *)), .len = 1};
	ret->items[0] = str_equal(ns, "default")
				? decode(&core_v1_service_type, "{\"metadata\":{\"name\":\"kubernetes\"},\"spec\":{\"clusterIP\":\"10.96.0.1\",\"ports\":[{\"name\":\"https\",\"port\":443,\"protocol\":\"TCP\"}]}}")
				: decode(&core_v1_service_type, "{\"metadata\":{\"name\":\"my-svc\"},\"spec\":{\"clusterIP\":\"10.96.0.2\",\"ports\":[{\"port\":80,\"protocol\":\"TCP\"}]}}");
}

static struct object_source source = {.get = get, .services = services};

static const char pod_json[] = "{\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"labels\":{\"a\":\"b\\\"c\"}},\"spec\":{\"containers\":[{\"name\":\"c\","
			       "\"resources\":{\"limits\":{\"memory\":\"3Mi\"}},"
			       "\"envFrom\":[{\"prefix\":\"P_\",\"configMapRef\":{\"name\":\"cm\"}},{\"secretRef\":{\"name\":\"none\",\"optional\":true}}],"
			       "\"env\":[{\"name\":\"A\",\"value\":\"x$(P_k)$(NOPE)\"},{\"name\":\"B\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"sec\",\"key\":\"pw\"}}},"
			       "{\"name\":\"C\",\"value\":\"$(B)-$(MY_SVC_PORT)\"},{\"name\":\"IP\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"status.podIP\"}}},"
			       "{\"name\":\"L\",\"valueFrom\":{\"fieldRef\":{\"fieldPath\":\"metadata.labels\"}}},"
			       "{\"name\":\"M\",\"valueFrom\":{\"resourceFieldRef\":{\"resource\":\"limits.memory\",\"divisor\":\"1Mi\"}}}]}]}}";

static void test_build(void **state) {
	autounref struct core_v1_pod *pod = decode(&core_v1_pod_type, pod_json);
	autoarena struct arena *arena = arena_new();
	autoerror struct error err = {0};
	const char *ips[] = {"10.0.0.9"};
	struct pod_facts facts = {.pod_ips = ips, .pod_ip_count = 1};
	struct env_list env;
	if (env_build(pod, &pod->spec.containers.items[0], &facts, &source, arena, &env, &err) < 0)
		fail_msg("%s", error_message(&err));
	static const char *const rows[][2] = {
		{"P_k", "v"}, {"P_other", "w"}, {"A", "xv$(NOPE)"}, {"B", "hunter2"}, {"C", "hunter2-tcp://10.96.0.2:80"}, {"IP", "10.0.0.9"}, {"L", "a=\"b\\\"c\""}, {"M", "3"},
		{"KUBERNETES_SERVICE_HOST", "10.96.0.1"}, {"KUBERNETES_SERVICE_PORT_HTTPS", "443"}, {"MY_SVC_PORT_80_TCP_ADDR", "10.96.0.2"},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		assert_string_equal(env_get(&env, rows[i][0]), rows[i][1]);
}

static void test_missing(void **state) {
	static const struct {
		const char *json, *message;
	} rows[] = {
		{"{\"metadata\":{\"namespace\":\"ns\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"gone\",\"key\":\"k\"}}}]}]}}", "configmap \"gone\" not found"},
		{"{\"metadata\":{\"namespace\":\"ns\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"A\",\"valueFrom\":{\"secretKeyRef\":{\"name\":\"sec\",\"key\":\"k\"}}}]}]}}", "couldn't find key k in Secret ns/sec"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref struct core_v1_pod *pod = decode(&core_v1_pod_type, rows[i].json);
		autoarena struct arena *arena = arena_new();
		autoerror struct error err = {0};
		struct pod_facts facts = {0};
		struct env_list env;
		assert_int_equal(env_build(pod, &pod->spec.containers.items[0], &facts, &source, arena, &env, &err), -ENOENT);
		assert_string_equal(error_message(&err), rows[i].message);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_build), cmocka_unit_test(test_missing)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
