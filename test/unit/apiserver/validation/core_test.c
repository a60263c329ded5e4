/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char configmap_base[] = "{apiVersion: v1, kind: ConfigMap, metadata: {name: d, namespace: default}, data: {a: b}}";

static void configmap_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"data={\"a b\": c}", "data[a b] Invalid"},
		{"data={\"..\": c}", "data[..] Invalid", "Invalid value: \"..\": must not be '..'"},
		{"binaryData={a: YQ==}", "data[a] Invalid", "Invalid value: \"a\": duplicate of key present in binaryData"},
		{"binaryData={\"a/b\": YQ==}", "binaryData[a/b] Invalid"},
		{"immutable=true", ""},
	};
	RUN(configmap_base, rows);
}

static void configmap_update(void **state) {
	static const struct update_case rows[] = {
		{"immutable=true", "immutable=true\ndata={a: c}", "data Forbidden", "Forbidden: field is immutable when `immutable` is set"},
		{"immutable=true", "immutable=true\nimmutable=false", "immutable Forbidden", "Forbidden: field is immutable when `immutable` is set"},
		{"immutable=true", "immutable=true\nmetadata.labels={a: b}", ""},
		{NULL, "data={\"a b\": c}", "data[a b] Invalid"},
	};
	RUN_UPDATES(configmap_base, "", rows);
}

static const char secret_base[] = "{apiVersion: v1, kind: Secret, metadata: {name: d, namespace: default}, data: {a: YQ==}}";

static void secret_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"data={\"a b\": YQ==}", "data[a b] Invalid"},
		{"type=kubernetes.io/dockerconfigjson", "data[.dockerconfigjson] Required", "Required value"},
		{"type=kubernetes.io/dockerconfigjson\ndata={.dockerconfigjson: YQ==}", "data[.dockerconfigjson] Invalid"},
		{"type=kubernetes.io/dockercfg", "data[.dockercfg] Required", "Required value"},
		{"type=kubernetes.io/basic-auth", "data[password] Required, data[username] Required"},
		{"type=kubernetes.io/ssh-auth", "data[ssh-privatekey] Required", "Required value"},
		{"type=kubernetes.io/tls", "data[tls.crt] Required, data[tls.key] Required"},
		{"type=kubernetes.io/tls\ndata={tls.crt: YQ==, tls.key: YQ==}", ""},
		{"type=odd/type", ""},
	};
	RUN(secret_base, rows);
}

static void secret_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "type=other", "type Invalid", "Invalid value: \"other\": field is immutable"},
		{"immutable=true", "immutable=true\ndata={a: Yg==}", "data Forbidden", "Forbidden: field is immutable when `immutable` is set"},
		{"immutable=true", "immutable=true\nimmutable=", "immutable Forbidden", "Forbidden: field is immutable when `immutable` is set"},
	};
	RUN_UPDATES(secret_base, "", rows);
}

static const char namespace_base[] = "{apiVersion: v1, kind: Namespace, metadata: {name: valx}}";

static void namespace_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.finalizers=[a]", "spec.finalizers Invalid", "Invalid value: \"a\": name is neither a standard finalizer name nor is it fully qualified"},
		{"spec.finalizers=[\"a b\"]", "spec.finalizers Invalid, spec.finalizers Invalid"},
	};
	RUN(namespace_base, rows);
}

static const char node_base[] = "{apiVersion: v1, kind: Node, metadata: {name: d}}";

static void node_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.podCIDRs=[10.0.0.0/24, 10.1.0.0/24]", "spec.podCIDRs Invalid", "Invalid value: [\"10.0.0.0/24\",\"10.1.0.0/24\"]: may specify no more than one CIDR for each IP family"},
		{"spec.podCIDRs=[10.0.0.0/24, \"fd00::/64\"]", ""},
		{"spec.podCIDR=10.0.0.0/24\nspec.podCIDRs=[10.1.0.0/24]", ""},
		{"status={capacity: {cpu: -1}}", "status.allocatable.cpu Invalid, status.capacity.cpu Invalid"},
		{"status={capacity: {\"a b\": 1}}", ""},
		{"status={addresses: [{type: InternalIP, address: a},{type: InternalIP, address: a}]}", ""},
		{"spec.podCIDRs=[x, 1.0.0.0/8]", "spec.podCIDRs InternalError, spec.podCIDRs Invalid, spec.podCIDRs[0] Invalid"},
	};
	RUN(node_base, rows);
}

static void node_update(void **state) {
	static const struct update_case rows[] = {
		{"spec.podCIDR=10.0.0.0/24\nspec.podCIDRs=[10.0.0.0/24]", "spec.podCIDR=10.0.0.0/24\nspec.podCIDRs=[10.0.0.0/24]\nspec.podCIDR=10.1.0.0/24\nspec.podCIDRs=[10.1.0.0/24]", "spec.podCIDRs Forbidden", "Forbidden: node updates may not change podCIDR except from \"\" to valid"},
		{"spec.podCIDR=10.0.0.0/24\nspec.podCIDRs=[10.0.0.0/24]", "spec={}", "spec.podCIDRs Forbidden"},
		{"spec.providerID=a", "spec.providerID=a\nspec.providerID=b", "spec.providerID Forbidden", "Forbidden: node updates may not change providerID except from \"\" to valid"},
		{NULL, "spec.unschedulable=true", ""},
		{NULL, "spec.externalID=x", "spec.externalID Forbidden", "Forbidden: may not be updated"},
	};
	RUN_UPDATES(node_base, "", rows);
}

static void node_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={addresses: [{type: InternalIP, address: a},{type: InternalIP, address: a}], capacity: {cpu: 1.5, memory: 1Gi}}", "status.addresses[1] Duplicate"},
	};
	RUN_UPDATES(node_base, "status", rows);
}

static const char resourcequota_base[] = "{apiVersion: v1, kind: ResourceQuota, metadata: {name: d, namespace: default}, spec: {hard: {cpu: 1}}}";

static void resourcequota_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.hard={\"a b\": 1}", "spec.hard[a b] Invalid, spec.hard[a b] Invalid"},
		{"spec.hard={odd: 1}", "spec.hard[odd] Invalid, spec.hard[odd] Invalid"},
		{"spec.hard={cpu: -1}", "spec.hard[cpu] Invalid", "Invalid value: \"-1\": must be greater than or equal to 0"},
		{"spec.hard={pods: 1.5}", "spec.hard[pods] Invalid", "Invalid value: \"1500m\": must be an integer"},
		{"spec.hard={count/pods: 1, requests.storage: 1Gi, a.b/c: 1}", ""},
		{"spec.scopes=[Odd]", "spec.scopes Invalid", "Invalid value: [\"Odd\"]: unsupported scope"},
		{"spec.scopes=[BestEffort]", "spec.scopes Invalid", "Invalid value: [\"BestEffort\"]: unsupported scope applied to resource"},
		{"spec.scopes=[BestEffort, NotBestEffort]\nspec.hard={pods: 1}", "spec.scopes Invalid", "Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes"},
		{"spec.scopeSelector={matchExpressions: [{scopeName: PriorityClass, operator: In}]}\nspec.hard={pods: 1}", "spec.scopeSelector.matchExpressions.values Required", "Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"},
		{"spec.scopeSelector={matchExpressions: [{scopeName: PriorityClass, operator: Exists, values: [a]}]}\nspec.hard={pods: 1}", "spec.scopeSelector.matchExpressions.values Invalid", "Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"},
		{"spec.scopeSelector={matchExpressions: [{scopeName: Odd, operator: Near}]}\nspec.hard={pods: 1}", "spec.scopeSelector.matchExpressions.operator Invalid, spec.scopeSelector.matchExpressions.scopeName Invalid"},
		{"spec.scopeSelector={matchExpressions: [{scopeName: BestEffort, operator: In, values: [a]}]}\nspec.hard={pods: 1}", "spec.scopeSelector.matchExpressions.operator Invalid"},
	};
	RUN(resourcequota_base, rows);
}

static void resourcequota_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.scopes=[Terminating]", "spec.scopes Invalid", "Invalid value: [\"Terminating\"]: field is immutable"},
	};
	RUN_UPDATES(resourcequota_base, "", rows);
}

static void resourcequota_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={hard: {cpu: -1}, used: {odd: 1}}", "status.hard[cpu] Invalid, status.used[odd] Invalid, status.used[odd] Invalid"},
	};
	RUN_UPDATES(resourcequota_base, "status", rows);
}

static const char limitrange_base[] = "{apiVersion: v1, kind: LimitRange, metadata: {name: d, namespace: default}, spec: {limits: [{type: Container, max: {cpu: 2}}]}}";

static void limitrange_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.limits[0].type=Odd", "spec.limits[0].type Invalid", "Invalid value: \"Odd\": must be a standard limit type or fully qualified"},
		{"spec.limits[0].type=", "spec.limits[0].type Invalid, spec.limits[0].type Invalid"},
		{"spec.limits[0].type=Pod\nspec.limits[0].default={cpu: 1}", "spec.limits[0].default Forbidden", "Forbidden: may not be specified when `type` is 'Pod'"},
		{"spec.limits[0].type=Pod\nspec.limits[0].defaultRequest={cpu: 1}", "spec.limits[0].defaultRequest Forbidden", "Forbidden: may not be specified when `type` is 'Pod'"},
		{"spec.limits[0].min={cpu: 3}", "spec.limits[0].defaultRequest[cpu] Invalid, spec.limits[0].default[cpu] Invalid, spec.limits[0].min[cpu] Invalid"},
		{"spec.limits[0].default={cpu: 3}", "spec.limits[0].defaultRequest[cpu] Invalid, spec.limits[0].default[cpu] Invalid"},
		{"spec.limits[0].defaultRequest={cpu: 3}", "spec.limits[0].defaultRequest[cpu] Invalid, spec.limits[0].defaultRequest[cpu] Invalid"},
		{"spec.limits[0].maxLimitRequestRatio={cpu: 0.5}", "spec.limits[0].maxLimitRequestRatio[cpu] Invalid", "Invalid value: \"500m\": ratio 500m is less than 1"},
		{"spec.limits[0].max={\"a b\": 1}", "spec.limits[0].defaultRequest[a b] Invalid, spec.limits[0].defaultRequest[a b] Invalid, spec.limits[0].default[a b] Invalid, spec.limits[0].default[a b] Invalid, spec.limits[0].max[a b] Invalid, spec.limits[0].max[a b] Invalid"},
		{"spec.limits[0].type=PersistentVolumeClaim", "spec.limits[0].limits Required", "Required value: either minimum or maximum storage value is required, but neither was provided"},
		{"spec.limits[0].type=PersistentVolumeClaim\nspec.limits[0].max={storage: 1Gi}", ""},
		{"spec.limits[1]={type: Container}", "spec.limits[1].type Duplicate", "Duplicate value: \"Container\""},
		{"spec.limits[0].max={odd: 1}", "spec.limits[0].defaultRequest[odd] Invalid, spec.limits[0].defaultRequest[odd] Invalid, spec.limits[0].default[odd] Invalid, spec.limits[0].default[odd] Invalid, spec.limits[0].max[odd] Invalid, spec.limits[0].max[odd] Invalid"},
	};
	RUN(limitrange_base, rows);
}

static const char event_base[] = "{apiVersion: v1, kind: Event, metadata: {name: d, namespace: default}, involvedObject: {kind: Pod, name: p, namespace: default}}";

static void event_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"metadata.namespace=default\ninvolvedObject.namespace=other", "involvedObject.namespace Invalid", "Invalid value: \"other\": does not match event.namespace"},
		{"involvedObject={kind: Node, name: \"n\"}", ""},
		{"eventTime=\"2020-01-01T00:00:00.000000Z\"", "action Required, reason Required, reportingComponent Invalid, reportingComponent Invalid, reportingComponent Required, reportingInstance Required"},
		{"eventTime=\"2020-01-01T00:00:00.000000Z\"\nreportingComponent=a/b\nreportingInstance=i\naction=a\nreason=r\ntype=Normal", ""},
	};
	RUN(event_base, rows);
}

static const char eventsv1_base[] = "{apiVersion: events.k8s.io/v1, kind: Event, metadata: {name: d, namespace: default}, eventTime: \"2020-01-01T00:00:00.000000Z\", reportingController: a/b, reportingInstance: i, action: a, reason: r, type: Normal, regarding: {kind: Pod, name: p, namespace: default}}";

static void eventsv1_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"eventTime=", "eventTime Required", "Required value"},
		{"reportingController=", "reportingController Invalid, reportingController Invalid, reportingController Required"},
		{"reportingController=\"a b\"", "reportingController Invalid"},
		{"reportingInstance=", "reportingInstance Required", "Required value"},
		{"action=", "action Required", "Required value"},
		{"reason=", "reason Required", "Required value"},
		{"type=Odd", "type Invalid", "Invalid value: \"\": has invalid value: Odd"},
		{"series={count: 1, lastObservedTime: \"2020-01-01T00:00:00.000000Z\"}", "series.count Invalid", "Invalid value: \"\": should be at least 2"},
		{"regarding.namespace=x", ""},
		{"note=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "message Invalid", "Invalid value: \"\": can have at most 1024 characters"},
	};
	RUN(eventsv1_base, rows);
}

static void eventsv1_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, NULL, ""},
		{NULL, "reason=other", "reason Invalid, reason Invalid"}, /* looked at twice there */
		{NULL, "action=other", "action Invalid"},
	};
	RUN_UPDATES(eventsv1_base, "", rows);
}

static const char lease_base[] = "{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: d, namespace: default}, spec: {holderIdentity: a}}";

static void lease_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.leaseDurationSeconds=0", "spec.leaseDurationSeconds Invalid", "Invalid value: 0: must be greater than 0"},
		{"spec.leaseTransitions=-1", "spec.leaseTransitions Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.holderIdentity=\"\"", ""},
		{"spec.strategy=Odd", ""},
		{"spec.preferredHolder=x", ""},
	};
	RUN(lease_base, rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configmap_create),
		cmocka_unit_test(configmap_update),
		cmocka_unit_test(secret_create),
		cmocka_unit_test(secret_update),
		cmocka_unit_test(namespace_create),
		cmocka_unit_test(node_create),
		cmocka_unit_test(node_update),
		cmocka_unit_test(node_update_status),
		cmocka_unit_test(resourcequota_create),
		cmocka_unit_test(resourcequota_update),
		cmocka_unit_test(resourcequota_update_status),
		cmocka_unit_test(limitrange_create),
		cmocka_unit_test(event_create),
		cmocka_unit_test(eventsv1_create),
		cmocka_unit_test(eventsv1_update),
		cmocka_unit_test(lease_create),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
