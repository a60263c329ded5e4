/* SPDX-License-Identifier: Apache-2.0 */
/* Causes come in the order in which Kubernetes looks, where the walk over the schema would find them in another. */
#include "test/unit/apiserver/validation/cases.h"

struct order_case {
	const char *object;
	const char *status; /* what is written through /status; NULL: the object is new */
	const char *expect;
};

static void *read_object(const char *yaml) {
	return case_object(yaml, NULL);
}

static void in_order(const struct error *err, const char *expect) {
	autobuf struct buf got = BUF_INIT(1u << 20);
	for (size_t i = 0; i < err->cause_count; i++)
		buf_printf(&got, "%s%s %s", i ? ", " : "", err->causes[i].field, str_starts_with(err->causes[i].reason, "FieldValue") ? err->causes[i].reason + 10 : err->causes[i].reason);
	assert_string_equal(str_or(got.data, ""), expect);
}

#define CLAIM "{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: d}, spec: {devices: "
#define SLICE "{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: d}, spec: {driver: a.b, nodeName: \"n\", pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: "
#define HPA "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: d}, spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}, metrics: "

static void new_objects(void **state) {
	static const struct order_case rows[] = {
		/* What stands twice in a set is told once each item was looked at. */
		{CLAIM "{requests: [{name: r, exactly: {deviceClassName: c}}, {name: r, exactly: {deviceClassName: c}}, {name: A_, exactly: {deviceClassName: c}}], constraints: [{requests: [q, q], matchAttribute: a.b/c}]}}}", NULL,
		 "spec.devices.requests[2].name Invalid, spec.devices.requests[1] Duplicate, spec.devices.constraints[0].requests[0] Invalid, spec.devices.constraints[0].requests[1] Invalid, spec.devices.constraints[0].requests[1] Duplicate"},
		{CLAIM "{requests: [{name: r, exactly: {deviceClassName: \"\", allocationMode: All, count: 2, tolerations: [{key: \"-a\", operator: Exists}]}}]}}}", NULL,
		 "spec.devices.requests[0].exactly.deviceClassName Required, spec.devices.requests[0].exactly.count Invalid, spec.devices.requests[0].exactly.tolerations[0].key Invalid"},
		{SLICE "[{name: a, taints: [{key: \"\", effect: \"\"}], bindingConditions: [c], bindingFailureConditions: [\"-\"]}, {name: b, bindingFailureConditions: [\"-\"]}]}}", NULL,
		 "spec.devices[0].taints[0].key Invalid, spec.devices[0].taints[0].key Invalid, spec.devices[0].taints[0].effect Required, spec.devices[0].bindingFailureConditions[0] Invalid, spec.devices[1].bindingFailureConditions[0] Invalid, spec.devices[1].bindingConditions Invalid"},
		/* The type of a metric is told by who judges it, and again by who would judge its source. */
		{HPA "[{type: Odd, external: {metric: {name: \"\"}, target: {type: Value, value: 1}}}]}}", NULL,
		 "spec.metrics[0].type NotSupported, spec.metrics[0].external.metric.name Required, spec.metrics[0].type NotSupported"},
		{HPA "[{type: Resource, resource: {name: \"\", target: {type: \"\"}}}]}}", NULL,
		 "spec.metrics[0].resource.name Required, spec.metrics[0].resource.target.type Required, spec.metrics[0].resource.target.type Invalid, spec.metrics[0].resource.target.averageUtilization Required"},
		{"{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: d}, spec: {selector: {matchExpressions: [{key: a, operator: Exists, values: [\"a b\"]}, {key: \"\", operator: Odd}]}}}", NULL,
		 "spec.selector.matchExpressions[0].values Forbidden, spec.selector.matchExpressions[0].values[0] Invalid, spec.selector.matchExpressions[1].operator Invalid, spec.selector.matchExpressions[1].key Invalid, spec.selector.matchExpressions[1].key Invalid"},
		{"{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: d}, spec: {selector: {matchExpressions: [{key: \"a b\", operator: Exists, values: [\"a b\"]}]}}}", NULL,
		 "spec.selector.matchExpressions[0].values Forbidden, spec.selector.matchExpressions[0].key Invalid, spec.selector.matchExpressions[0].values[0] Invalid"},
		{"{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: d}, handler: h, scheduling: {tolerations: [{key: a, operator: Odd, effect: Odd, tolerationSeconds: 1}, {operator: Equal, effect: NoSchedule, tolerationSeconds: 1}]}}", NULL,
		 "scheduling.tolerations[0].effect Invalid, scheduling.tolerations[0].operator NotSupported, scheduling.tolerations[0].effect NotSupported, scheduling.tolerations[1].operator Invalid, scheduling.tolerations[1].effect Invalid"},
		{"{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: d}, spec: {volumeLifecycleModes: [Odd], tokenRequests: [{audience: a}, {audience: a}]}}", NULL, "spec.tokenRequests[1].audience Duplicate, spec.volumeLifecycleModes NotSupported"},
		{"{apiVersion: storage.k8s.io/v1, kind: CSINode, metadata: {name: d}, spec: {drivers: [{name: a, nodeID: b, topologyKeys: []}, {name: a, nodeID: \"\", topologyKeys: [/p]}]}}", NULL,
		 "spec.drivers[1].nodeID Required, spec.drivers[1].name Duplicate, spec.drivers[1] Invalid"},
		{"{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: exempt}, spec: {type: Exempt, exempt: {lendablePercent: 101}, limited: {}}}", NULL, "spec.limited Forbidden, spec.exempt.lendablePercent Invalid"},
		{"{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicyBinding, metadata: {name: d}, spec: {policyName: p, matchResources: {matchPolicy: Odd, resourceRules: [{operations: [CREATE], apiGroups: [a], apiVersions: [\"*\", \"\"], resources: [z]}]}}}", NULL,
		 "spec.matchResources.matchPolicy NotSupported, spec.matchResources.resourceRules[0].apiVersions Invalid, spec.matchResources.resourceRules[0].apiVersions[1] Required"},
		/* Three looks at a schema, of which the last tells of children ahead of their parents. */
		{"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.a.b}, spec: {group: a.b, scope: Odd, preserveUnknownFields: true, names: {plural: A_, kind: \"\"}, versions: [{name: 1a, served: true, storage: true, schema: {openAPIV3Schema: "
		 "{type: object, properties: {a: {type: odd, default: 1}, l: {type: array, x-kubernetes-list-type: map, items: {type: string, uniqueItems: true}}}}}}, {name: v2, served: true, storage: false}]}}", NULL,
		 "spec.scope NotSupported, spec.versions[1].schema.openAPIV3Schema Required, spec.preserveUnknownFields Invalid, spec.versions[0].name Invalid, spec.versions[0].schema.openAPIV3Schema.properties[a].default TypeInvalid, "
		 "spec.versions[0].schema.openAPIV3Schema.properties[a].type NotSupported, spec.versions[0].schema.openAPIV3Schema.properties[l].items.uniqueItems Forbidden, spec.versions[0].schema.openAPIV3Schema.properties[l].x-kubernetes-list-map-keys Required, "
		 "spec.versions[0].schema.openAPIV3Schema.properties[l].items.type Invalid, spec.version Invalid, spec.names.singular Required, spec.names.kind Required, spec.names.listKind Required, spec.names.plural Invalid, spec.preserveUnknownFields Invalid"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref void *object = read_object(rows[i].object);
		autoerror struct error err = {0};
		validate_object(object, NULL, "", &err);
		in_order(&err, rows[i].expect);
	}
}

static void statuses(void **state) {
	static const struct order_case rows[] = {
		{CLAIM "{requests: [{name: r, exactly: {deviceClassName: c}}]}}, status: {}}", "{reservedFor: [{resource: \"\", name: a, uid: u}], devices: [{driver: a.b, pool: p, device: d, networkData: {ips: [x]}}]}",
		 "status.reservedFor[0].resource Required, status.devices[0] Invalid, status.devices[0].networkData.ips[0] Invalid, status.reservedFor Forbidden"},
		{"{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: d}, spec: {priorityLevelConfiguration: {name: a}}}", "{conditions: [{type: \"\"}, {type: \"\"}]}",
		 "status.conditions[0].type Required, status.conditions[1].type Duplicate, status.conditions[1].type Required"},
		{"{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: d}, spec: {}}", "{disruptionsAllowed: -1, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0, conditions: [{type: a, status: Odd, reason: r, lastTransitionTime: \"2020-01-01T00:00:00Z\"}]}",
		 "status.conditions[0].status NotSupported, status.disruptionsAllowed Invalid"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *set = xprintf("status=%s", rows[i].status);
		autounref void *old = read_object(rows[i].object), *object = case_object(rows[i].object, set);
		autoerror struct error err = {0};
		validate_object(object, old, "status", &err);
		in_order(&err, rows[i].expect);
	}
}

/* What may not change is told by both looks at an update, where the kind has the second. */
static void what_may_not_change(void **state) {
#define OLD(version, kind) "{apiVersion: " version ", kind: " kind ", metadata: {name: d, uid: u, deletionTimestamp: \"2026-01-01T00:00:00Z\", finalizers: [a.b/c]}}"
	static const struct {
		const char *object;
		int times;
	} rows[] = {
		{OLD("v1", "Pod"), 2}, {OLD("v1", "ConfigMap"), 2}, {OLD("apps/v1", "Deployment"), 2}, {OLD("v1", "Namespace"), 2}, {OLD("rbac.authorization.k8s.io/v1", "ClusterRole"), 2},
		{OLD("v1", "PersistentVolume"), 1}, {OLD("policy/v1", "PodDisruptionBudget"), 1}, {OLD("v1", "LimitRange"), 1}, {OLD("discovery.k8s.io/v1", "EndpointSlice"), 1},
	};
	static const struct strategy strategy = {.any_finalizer = true};
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref void *old = read_object(rows[i].object), *object = case_object(rows[i].object, "metadata={deletionGracePeriodSeconds: 7, finalizers: [a.b/c, d.e/f]}\nmetadata.name=d\nmetadata.uid=w");
		autoerror struct error err = {0};
		validate_object_meta_update(api_metadata(object), api_metadata(old), &strategy, "metadata", &err);
		repeat_causes(api_type_of(object), 0, err.cause_count, &err);
#define ONCE "metadata.uid Invalid, metadata.deletionTimestamp Invalid, metadata.deletionGracePeriodSeconds Invalid, metadata.finalizers Forbidden"
		print_message("%s\n", rows[i].object);
		in_order(&err, rows[i].times == 2 ? ONCE ", " ONCE : ONCE);
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_objects),
		cmocka_unit_test(statuses),
		cmocka_unit_test(what_may_not_change),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
