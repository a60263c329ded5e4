/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char hpa_base[] = "{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: d, namespace: default}, spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}}}";

static void hpa_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.maxReplicas=0", "spec.maxReplicas Invalid, spec.maxReplicas Required"},
		{"spec.minReplicas=5", "spec.maxReplicas Invalid", "Invalid value: 3: must be greater than or equal to `minReplicas`"},
		{"spec.minReplicas=-1", "spec.minReplicas Invalid", "Invalid value: -1: must be greater than or equal to 1"},
		{"spec.minReplicas=0", "spec.metrics Forbidden, spec.minReplicas Invalid"},
		{"spec.minReplicas=0\nspec.metrics=[{type: External, external: {metric: {name: q}, target: {type: Value, value: 1}}}]", "spec.minReplicas Invalid"},
		{"spec.scaleTargetRef={kind: Thing, name: a, apiVersion: v1}", "spec.scaleTargetRef.apiVersion Invalid", "Invalid value: \"v1\": apiVersion must specify API group"},
		{"spec.scaleTargetRef={kind: ReplicationController, name: a, apiVersion: v1}", ""},
		{"spec.scaleTargetRef={kind: a/b, name: a/b, apiVersion: \"a/b/c\"}", "spec.scaleTargetRef.apiVersion Invalid, spec.scaleTargetRef.kind Invalid, spec.scaleTargetRef.name Invalid"},
		{"spec.metrics=[{type: Resource}]", "spec.metrics[0].resource Required", "Required value: must populate information for the given metric source"},
		{"spec.metrics=[{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]", ""},
		{"spec.metrics=[{type: Resource, resource: {name: \"\", target: {type: Utilization}}}]", "spec.metrics[0].resource.name Required, spec.metrics[0].resource.target.averageUtilization Required"},
		{"spec.metrics=[{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: -1, averageValue: 1}}}]", "spec.metrics[0].resource.target.averageUtilization Invalid, spec.metrics[0].resource.target.averageValue Forbidden"},
		{"spec.metrics=[{type: Resource, resource: {name: cpu, target: {type: Value, value: 1}}}]", "spec.metrics[0].resource.target.averageUtilization Required", "Required value: must set either a target raw value or a target utilization"},
		{"spec.metrics=[{type: Resource, resource: {name: cpu, target: {type: Odd}}}]", "spec.metrics[0].resource.target.averageUtilization Required, spec.metrics[0].resource.target.type Invalid"},
		{"spec.metrics=[{type: Pods, pods: {metric: {name: a/b}, target: {type: AverageValue, averageValue: -1}}}]", "spec.metrics[0].pods.metric.name Invalid, spec.metrics[0].pods.target.averageValue Invalid"},
		{"spec.metrics=[{type: Pods, pods: {metric: {name: m, selector: {matchExpressions: [{key: \"-\", operator: Odd}]}}, target: {type: AverageValue, averageValue: 1}}}]", ""},
		{"spec.metrics=[{type: Pods, pods: {metric: {name: \"\"}, target: {type: Value}}}]", "spec.metrics[0].pods.metric.name Required, spec.metrics[0].pods.target.averageValue Required"},
		{"spec.metrics=[{type: Object, object: {describedObject: {kind: \"\", name: \"\"}, metric: {name: m}, target: {type: Value}}}]", "spec.metrics[0].object.describedObject.kind Required, spec.metrics[0].object.describedObject.name Required, spec.metrics[0].object.target.averageValue Required"},
		{"spec.metrics=[{type: External, external: {metric: {name: m}, target: {type: Value, value: 1, averageValue: 1}}}]", "spec.metrics[0].external.target.value Forbidden", "Forbidden: may not set both a target value for metric and a per-pod target"},
		{"spec.metrics=[{type: External, external: {metric: {name: m}, target: {type: Value}}}]", "spec.metrics[0].external.target.averageValue Required", "Required value: must set either a target value for metric or a per-pod target"},
		{"spec.metrics=[{type: ContainerResource, containerResource: {name: cpu, container: \"\", target: {type: Utilization, averageUtilization: 1}}}]", "spec.metrics[0].containerResource.container Required", "Required value: must specify a container"},
		{"spec.metrics=[{type: Pods, pods: {metric: {name: m}, target: {type: AverageValue, averageValue: 1}}, resource: {name: cpu, target: {type: Utilization, averageUtilization: 1}}}]", "spec.metrics[0].resource Forbidden", "Forbidden: must populate the given metric source only"},
		{"spec.behavior={scaleUp: {stabilizationWindowSeconds: -1}}", "spec.behavior.scaleUp.stabilizationWindowSeconds Invalid", "Invalid value: -1: must be greater than or equal to zero"},
		{"spec.behavior={scaleUp: {stabilizationWindowSeconds: 4000, selectPolicy: Odd}}", "spec.behavior.scaleUp.selectPolicy NotSupported, spec.behavior.scaleUp.stabilizationWindowSeconds Invalid"},
		{"spec.behavior={scaleUp: {policies: []}}", "spec.behavior.scaleUp.policies Required", "Required value: must specify at least one Policy"},
		{"spec.behavior={scaleDown: {policies: [{type: Odd, value: 0, periodSeconds: 0}]}}", "spec.behavior.scaleDown.policies[0].periodSeconds Invalid, spec.behavior.scaleDown.policies[0].type NotSupported, spec.behavior.scaleDown.policies[0].value Invalid"},
		{"spec.behavior={scaleDown: {policies: [{type: Pods, value: 1, periodSeconds: 2000}]}}", "spec.behavior.scaleDown.policies[0].periodSeconds Invalid", "Invalid value: 2000: must be less than or equal to 1800"},
		{"spec.behavior={scaleUp: {tolerance: -1}}", "spec.behavior.scaleUp.tolerance Invalid", "Invalid value: \"-1\": must be greater than or equal to 0"},
		{"spec.metrics=[{type: Odd, pods: {metric: {}, target: {}}, external: {metric: {name: a}, target: {type: Value, value: 1}}}]", "spec.metrics[0].external Forbidden, spec.metrics[0].pods Forbidden, spec.metrics[0].type NotSupported, spec.metrics[0].type NotSupported"},
	};
	RUN(hpa_base, rows);
}

/* The older version is judged as the newer one, whose metrics it keeps in an annotation. */
static void hpa_v1(void **state) {
#define METRICS "metadata.annotations={autoscaling.alpha.kubernetes.io/metrics: "
#define BEHAVIOR "metadata.annotations={autoscaling.alpha.kubernetes.io/behavior: "
	static const char base[] = "{apiVersion: autoscaling/v1, kind: HorizontalPodAutoscaler, metadata: {name: d, namespace: default}, spec: {maxReplicas: 3, scaleTargetRef: {kind: Deployment, name: a, apiVersion: apps/v1}}}";
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.targetCPUUtilizationPercentage=-1", "spec.metrics[0].resource.target.averageUtilization Invalid", "Invalid value: -1: must be greater than 0"},
		{METRICS "'[{\"type\":\"Pods\"}]'}\nspec.targetCPUUtilizationPercentage=-1", "spec.metrics[0].pods Required, spec.metrics[1].resource.target.averageUtilization Invalid"},
		{METRICS "'[1]'}", ""},
		{METRICS "x}", ""},
		{METRICS "'[{\"type\":\"External\",\"external\":{\"metricName\":\"m\",\"targetValue\":\"odd\"}}]'}", ""},
		{"spec.minReplicas=0", "spec.metrics Forbidden, spec.minReplicas Invalid"},
		{"spec.minReplicas=0\n" METRICS "'[{\"type\":\"External\",\"external\":{\"metricName\":\"m\",\"targetValue\":\"1\"}}]'}", "spec.minReplicas Invalid"},
		{BEHAVIOR "'{\"ScaleUp\":{}}'}", "spec.behavior.scaleUp.policies Required", "Required value: must specify at least one Policy"},
		{BEHAVIOR "'{\"ScaleUp\":{\"Policies\":[{\"Type\":\"Pods\",\"Value\":\"1\"}]}}'}", ""},
		{BEHAVIOR "'{}'}", ""},
	};
	RUN(base, rows);
}

static void hpa_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={desiredReplicas: 0, currentMetrics: [{type: Pods, pods: {metric: {name: m, selector: {matchLabels: {\"a b\": c}}}, current: {}}}]}", ""},
		{NULL, "status={currentReplicas: -1, desiredReplicas: -1}", "status.currentReplicas Invalid, status.desiredReplicas Invalid"},
	};
	RUN_UPDATES(hpa_base, "status", rows);
}

static const char pdb_base[] = "{apiVersion: policy/v1, kind: PodDisruptionBudget, metadata: {name: d, namespace: default}, spec: {minAvailable: 1, selector: {matchLabels: {a: b}}}}";

static void pdb_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.minAvailable=-1", "spec.minAvailable Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.minAvailable=101%", "spec.minAvailable Invalid", "Invalid value: \"101%\": must not be greater than 100%"},
		{"spec.minAvailable=a", "spec.minAvailable Invalid", "Invalid value: \"a\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"},
		{"spec.minAvailable=\nspec.maxUnavailable=-1", "spec.maxUnavailable Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.maxUnavailable=1", "spec Invalid"},
		{"spec.selector={matchLabels: {\"a b\": c}}", "spec.selector.matchLabels Invalid"},
		{"spec.unhealthyPodEvictionPolicy=Odd", "spec.unhealthyPodEvictionPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\""},
		{"spec.unhealthyPodEvictionPolicy=AlwaysAllow", ""},
		{"spec.minAvailable=50%", ""},
	};
	RUN(pdb_base, rows);
}

static void pdb_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.minAvailable=2", ""},
	};
	RUN_UPDATES(pdb_base, "", rows);
}

static void pdb_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0, conditions: [{type: a, status: \"True\", reason: r, message: \"\", lastTransitionTime: \"2020-01-01T00:00:00Z\"}, {type: a, status: \"True\", reason: r, message: \"\", lastTransitionTime: \"2020-01-01T00:00:00Z\"}]}", "status.conditions[1].type Duplicate", "Duplicate value: \"a\""},
		{NULL, "status={disruptionsAllowed: -1, currentHealthy: -1, desiredHealthy: -1, expectedPods: -1, conditions: [{type: \"a b\", status: Odd, reason: \"\", message: \"\", lastTransitionTime: \"2020-01-01T00:00:00Z\"}]}", "status.conditions[0].reason Required, status.conditions[0].status NotSupported, status.conditions[0].type Invalid, status.currentHealthy Invalid, status.desiredHealthy Invalid, status.disruptionsAllowed Invalid, status.expectedPods Invalid"},
	};
	RUN_UPDATES(pdb_base, "status", rows);
}

static const char priorityclass_base[] = "{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: d}, value: 5}";

static void priorityclass_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"value=1000000001", "value Forbidden", "Forbidden: maximum allowed value of a user defined priority is 1000000000"},
		{"preemptionPolicy=Odd", "preemptionPolicy NotSupported"},
		{"preemptionPolicy=Never", ""},
		{"globalDefault=true", ""},
		{"preemptionPolicy=\"\"", "preemptionPolicy Required"},
		{"preemptionPolicy=Odd", "preemptionPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"PreemptLowerPriority\", \"Never\""},
	};
	RUN(priorityclass_base, rows);
}

static void priorityclass_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "value=6", "value Forbidden", "Forbidden: may not be changed in an update."},
		{NULL, "preemptionPolicy=Never", "preemptionPolicy Invalid", "Invalid value: \"Never\": field is immutable"},
		{NULL, "description=x", ""},
	};
	RUN_UPDATES(priorityclass_base, "", rows);
}

static const char runtimeclass_base[] = "{apiVersion: node.k8s.io/v1, kind: RuntimeClass, metadata: {name: d}, handler: h}";

static void runtimeclass_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"overhead={podFixed: {hugepages-2Mi: 1n, cpu: 1}}", "overhead.limits[hugepages-2Mi] Invalid", "Invalid value: \"1n\": 1n is not positive integer multiple of hugepages-2Mi"},
		{"handler=", "handler Required", "Required value"},
		{"handler=A_", "handler Invalid"},
		{"overhead={podFixed: {cpu: -1}}", "overhead.limits[cpu] Invalid", "Invalid value: \"-1\": must be greater than or equal to 0"},
		{"overhead={podFixed: {cpu: 1}}", ""},
		{"scheduling={nodeSelector: {\"a b\": c}}", "scheduling.nodeSelector Invalid"},
		{"scheduling={tolerations: [{operator: Odd}]}", "scheduling.tolerations[0].operator Invalid, scheduling.tolerations[0].operator NotSupported"},
		{"scheduling={tolerations: [{key: a, operator: Exists},{key: a, operator: Exists}]}", "scheduling.tolerations[1] Duplicate"},
	};
	RUN(runtimeclass_base, rows);
}

static void runtimeclass_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "handler=x", "handler Invalid", "Invalid value: \"x\": field is immutable"},
	};
	RUN_UPDATES(runtimeclass_base, "", rows);
}

static const char role_base[] = "{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: d, namespace: default}, rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]}";

static void role_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"rules[0].verbs=", "rules[0].verbs Required", "Required value: verbs must contain at least one value"},
		{"rules[0].apiGroups=", "rules[0].apiGroups Required", "Required value: resource rules must supply at least one api group"},
		{"rules[0].resources=", "rules[0].resources Required", "Required value: resource rules must supply at least one resource"},
		{"rules[0]={verbs: [get], nonResourceURLs: [/a]}", "rules[0].nonResourceURLs Invalid", "Invalid value: [\"/a\"]: namespaced rules cannot apply to non-resource URLs"},
		{"metadata.name=\"a:b\"", ""},
	};
	RUN(role_base, rows);
}

static const char clusterrole_base[] = "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: dz}, rules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]}";

static void clusterrole_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"rules[0]={verbs: [get], nonResourceURLs: [/a]}", ""},
		{"rules[0]={verbs: [get], nonResourceURLs: [/a], resources: [pods], apiGroups: [\"\"]}", "rules[0].nonResourceURLs Invalid", "Invalid value: [\"/a\"]: rules cannot apply to both regular resources and non-resource URLs"},
		{"aggregationRule={clusterRoleSelectors: []}", "aggregationRule.clusterRoleSelectors Required", "Required value: at least one clusterRoleSelector required if aggregationRule is non-nil"},
		{"aggregationRule={clusterRoleSelectors: [{},{matchExpressions: [{key: a, operator: Odd}]}]}", "aggregationRule.clusterRoleSelectors[1] Invalid, aggregationRule.clusterRoleSelectors[1].matchExpressions[0].operator Invalid"},
	};
	RUN(clusterrole_base, rows);
}

static const char rolebinding_base[] = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: d, namespace: default}, roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: view}, subjects: [{kind: User, name: u, apiGroup: rbac.authorization.k8s.io}]}";

static void rolebinding_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"roleRef={apiGroup: x, kind: Odd, name: \"\"}", "roleRef.apiGroup NotSupported, roleRef.kind NotSupported, roleRef.name Required"},
		{"roleRef={apiGroup: rbac.authorization.k8s.io, kind: Role, name: \"a/b\"}", "roleRef.name Invalid", "Invalid value: \"a/b\": may not contain '/'"},
		{"subjects=[{kind: Odd, name: u}]", "subjects[0].kind NotSupported", "Unsupported value: \"Odd\": supported values: \"ServiceAccount\", \"User\", \"Group\""},
		{"subjects=[{kind: User, name: \"\", apiGroup: x}]", "subjects[0].apiGroup NotSupported, subjects[0].name Required"},
		{"subjects=[{kind: ServiceAccount, name: A_}]", "subjects[0].name Invalid"},
		{"subjects=[{kind: ServiceAccount, name: a, apiGroup: x}]", "subjects[0].apiGroup NotSupported", "Unsupported value: \"x\": supported values: \"\""},
		{"subjects=[{kind: Group, name: g}]", ""},
		{"subjects=[]", ""},
	};
	RUN(rolebinding_base, rows);
}

static void rolebinding_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "roleRef={apiGroup: rbac.authorization.k8s.io, kind: Role, name: other}", "roleRef Invalid"},
	};
	RUN_UPDATES(rolebinding_base, "", rows);
}

static const char csr_base[] = "{apiVersion: certificates.k8s.io/v1, kind: CertificateSigningRequest, metadata: {name: d}, spec: {request: YQ==, signerName: a.b/c, usages: [client auth]}}";

static void csr_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, "spec.request Invalid", "Invalid value: \"YQ==\": PEM block type must be CERTIFICATE REQUEST"},
		{"spec.request=", "spec.request Invalid"},
		{"spec.signerName=", "spec.request Invalid, spec.signerName Required"},
		{"spec.signerName=a", "spec.request Invalid, spec.signerName Invalid"},
		{"spec.usages=", "spec.request Invalid, spec.usages Required"},
		{"spec.usages=[odd]", "spec.request Invalid, spec.usages[0] NotSupported"},
		{"spec.usages=[client auth, client auth]", "spec.request Invalid, spec.usages[1] Duplicate"},
		{"spec.expirationSeconds=5", "spec.expirationSeconds Invalid, spec.request Invalid"},
	};
	RUN(csr_base, rows);
}

static void csr_approval(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={conditions: [{type: Approved, status: \"True\"}]}", ""},
		{NULL, "status={conditions: [{type: Approved}, {type: Odd}]}", "status.conditions[0].status Required, status.conditions[1].status Required", "Required value"},
		{NULL, "status={conditions: [{type: Denied, status: \"False\"}]}", "status.conditions[0].status NotSupported"},
	};
	RUN_UPDATES(csr_base, "approval", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hpa_create),
		cmocka_unit_test(hpa_v1),
		cmocka_unit_test(hpa_update_status),
		cmocka_unit_test(pdb_create),
		cmocka_unit_test(pdb_update),
		cmocka_unit_test(pdb_update_status),
		cmocka_unit_test(priorityclass_create),
		cmocka_unit_test(priorityclass_update),
		cmocka_unit_test(runtimeclass_create),
		cmocka_unit_test(runtimeclass_update),
		cmocka_unit_test(role_create),
		cmocka_unit_test(clusterrole_create),
		cmocka_unit_test(rolebinding_create),
		cmocka_unit_test(rolebinding_update),
		cmocka_unit_test(csr_create),
		cmocka_unit_test(csr_approval),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
