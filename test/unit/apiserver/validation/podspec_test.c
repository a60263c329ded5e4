/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char pod_base[] = "{apiVersion: v1, kind: Pod, metadata: {name: d, namespace: default}, spec: {containers: [{name: c, image: i}]}}";

static void pod_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"metadata.name=a.b", ""},
		{"spec.nodeSelector={beta.kubernetes.io/os: linux}", ""},
		{"spec.containers[1]={name: c, image: i}", "spec.containers[1].name Duplicate", "Duplicate value: \"c\""},
		{"spec.imagePullSecrets=[{name: \"\"},{name: a},{name: a}]", ""},
		{"spec.hostAliases=[{ip: 1.2.3.4, hostnames: [a]},{ip: 1.2.3.4, hostnames: [A_]}]", "spec.hostAliases[1].hostnames[0] Invalid"},
		{"spec.containers[0].env=[{name: a, value: b},{name: a, value: c}]", ""},
		{"spec.containers[0].ports=[{containerPort: 80},{containerPort: 80}]", ""},
		{"spec.containers[0].ports=[{containerPort: 80, hostPort: 80},{containerPort: 80}]", ""},
		{"spec.containers[0].ports=[{containerPort: 80, name: a},{containerPort: 80, name: b, protocol: UDP}]", ""},
		{"spec.containers[0].resources={requests: {memory: 100m}}", ""},
		{"spec.terminationGracePeriodSeconds=-1", ""},
		{"spec.affinity={podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]}}", ""},
		{"spec.affinity={nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: beta.kubernetes.io/os, operator: Exists}]}]}}}", ""},
		{"spec.topologySpreadConstraints=[{maxSkew: 0, topologyKey: \"\", whenUnsatisfiable: Odd}]", "spec.topologySpreadConstraints[0].maxSkew Invalid, spec.topologySpreadConstraints[0].topologyKey Required, spec.topologySpreadConstraints[0].whenUnsatisfiable NotSupported"},
		{"spec.topologySpreadConstraints=[{maxSkew: 1, topologyKey: beta.kubernetes.io/arch, whenUnsatisfiable: DoNotSchedule}]", ""},
		{"spec.volumes=[{name: a, gitRepo: {repository: x}}]", ""},
		{"spec.volumes=[{name: a, glusterfs: {endpoints: e, path: p}}]", ""},
		{"spec.volumes=[{name: a}]", ""},
		{"spec.volumes=[{name: A_, configMap: {name: \"\"}}]", "spec.volumes[0].configMap.name Required, spec.volumes[0].name Invalid"},
		{"spec.volumes=[{name: a, projected: {sources: [{}]}}]", ""},
		{"spec.volumes=[{name: a, secret: {secretName: s, items: [{key: a, path: ../b}]}}]", "spec.volumes[0].secret.items[0].path Invalid", "Invalid value: \"../b\": must not contain '..'"},
		{"spec.containers[0].volumeMounts=[{name: x, mountPath: /a}]", "spec.containers[0].volumeMounts[0].name NotFound", "Not found: \"x\""},
		{"spec.dnsPolicy=None", "spec.dnsConfig Required", "Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
		{"spec.dnsPolicy=Odd", "spec.dnsPolicy NotSupported"},
		{"spec.dnsConfig={nameservers: [x, \"::1\", 1.1.1.1, 2.2.2.2], searches: [A_b], options: [{name: \"\"}]}", "spec.dnsConfig.nameservers Invalid, spec.dnsConfig.nameservers[0] Invalid, spec.dnsConfig.options[0] Required, spec.dnsConfig.searches[0] Invalid"},
		{"spec.restartPolicy=Odd", "spec.restartPolicy NotSupported"},
		{"spec.tolerations=[{operator: Exists, value: a}]", "spec.tolerations[0].operator Invalid", "Invalid value: \"a\": value must be empty when `operator` is 'Exists'"},
		{"spec.tolerations=[{key: a, effect: Odd}]", "spec.tolerations[0].effect NotSupported"},
		{"spec.tolerations=[{key: a, operator: Odd, tolerationSeconds: 5}]", "spec.tolerations[0].effect Invalid, spec.tolerations[0].operator NotSupported"},
		{"spec.priorityClassName=A_", "spec.priorityClassName Invalid"},
		{"spec.schedulingGates=[{name: a},{name: a}]", "spec.schedulingGates[1] Duplicate", "Duplicate value: \"a\""},
		{"spec.schedulingGates=[{name: \"a b\"}]", "spec.schedulingGates[0] Invalid"},
		{"spec.hostname=A_", "spec.hostname Invalid"},
		{"spec.subdomain=A_", "spec.subdomain Invalid"},
		{"spec.serviceAccountName=A_", "spec.serviceAccountName Invalid"},
		{"spec.activeDeadlineSeconds=0", "spec.activeDeadlineSeconds Invalid", "Invalid value: 0: must be between 1 and 2147483647, inclusive"},
		{"spec.securityContext={runAsUser: -1, fsGroup: -1, sysctls: [{name: A, value: b}]}", "spec.securityContext.fsGroup Invalid, spec.securityContext.runAsUser Invalid, spec.securityContext.sysctls[0].name Invalid"},
		{"spec.securityContext={seLinuxOptions: {level: x}, fsGroupChangePolicy: Odd}", "spec.securityContext.fsGroupChangePolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Always\", \"OnRootMismatch\""},
		{"spec.securityContext={seccompProfile: {type: Localhost}}", "spec.securityContext.seccompProfile.localhostProfile Required", "Required value: must be set when seccomp type is Localhost"},
		{"spec.securityContext={seccompProfile: {type: Odd}}", "spec.securityContext.seccompProfile.type NotSupported", "Unsupported value: \"Odd\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\""},
		{"spec.securityContext={appArmorProfile: {type: RuntimeDefault, localhostProfile: x}}", "spec.securityContext.appArmorProfile.localhostProfile Invalid", "Invalid value: \"x\": can only be set when AppArmor type is Localhost"},
		{"spec.containers[0].securityContext={privileged: true, allowPrivilegeEscalation: false}", "spec.containers[0].securityContext Invalid"},
		{"spec.containers[0].securityContext={procMount: Odd}", "spec.containers[0].securityContext.procMount NotSupported", "Unsupported value: \"Odd\": supported values: \"Default\", \"Unmasked\""},
		{"spec.containers[0].lifecycle={postStart: {}}", "spec.containers[0].lifecycle.postStart Required", "Required value: must specify a handler type"},
		{"spec.containers[0].livenessProbe={httpGet: {path: \"\", port: 0}}", "spec.containers[0].livenessProbe.httpGet.port Invalid", "Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"spec.containers[0].livenessProbe={exec: {command: [a]}, timeoutSeconds: -1, successThreshold: 2}", "spec.containers[0].livenessProbe.successThreshold Invalid, spec.containers[0].livenessProbe.timeoutSeconds Invalid"},
		{"spec.containers[0].stdinOnce=true", ""},
		{"spec.containers[0].imagePullPolicy=Odd", "spec.containers[0].imagePullPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Always\", \"IfNotPresent\", \"Never\""},
		{"spec.containers[0].resources={requests: {cpu: 2}, limits: {cpu: 1}}", "spec.containers[0].resources.requests Invalid", "Invalid value: \"2\": must be less than or equal to cpu limit of 1"},
		{"spec.containers[0].resources={limits: {hugepages-2Mi: 1Mi}}", "spec.containers[0].resources Forbidden, spec.containers[0].resources.limits[hugepages-2Mi] Invalid, spec.containers[0].resources.requests[hugepages-2Mi] Invalid"},
		{"spec.containers[0].resources={claims: [{name: x}]}", "spec.containers[0].resources.claims[0] NotFound", "Not found: \"x\": must be one of the names in pod.spec.resourceClaims which is empty"},
		{"spec.ephemeralContainers=[{name: e, image: i}]", "spec.ephemeralContainers Forbidden", "Forbidden: cannot be set on create"},
		{"spec.hostNetwork=true\nspec.containers[0].ports=[{containerPort: 80}]", ""},
		{"spec.hostUsers=false\nspec.hostNetwork=true", "spec.hostNetwork Forbidden", "Forbidden: when `hostUsers` is false"},
		{"spec.overhead={cpu: 1}", ""},
		{"spec.nodeName=A_", "spec.nodeName Invalid"},
		{"spec.os={name: windows}\nspec.securityContext={runAsUser: 1}", "spec.securityContext.runAsUser Forbidden", "Forbidden: cannot be set for a windows pod"},
		{"spec.readinessGates=[{conditionType: \"a b\"}]", "spec.readinessGates[0].conditionType Invalid"},
		{"spec.enableServiceLinks=false", ""},
		{"spec.preemptionPolicy=Odd", "spec.preemptionPolicy NotSupported"},
		{"metadata.annotations={seccomp.security.alpha.kubernetes.io/pod: runtime/default}", ""},
		{"spec.initContainers=[{name: i, image: i, restartPolicy: Odd}]", "spec.initContainers[0].restartPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Always\", \"Never\", \"OnFailure\""},
		{"spec.initContainers=[{name: i, image: i, livenessProbe: {exec: {command: [a]}}}]", "spec.initContainers[0].livenessProbe Forbidden", "Forbidden: may not be set for init containers without restartPolicy=Always"},
		{"spec.resources={requests: {cpu: 1}}", ""},
		{"spec.resources={requests: {odd: 1}}", "spec.resources.requests[odd] Invalid", "Invalid value: \"odd\": must be a standard resource type or fully qualified"},
		{"spec.setHostnameAsFQDN=true", ""},
		{"spec.shareProcessNamespace=true\nspec.hostPID=true", "spec.securityContext.shareProcessNamespace Invalid", "Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"},
		{"spec.schedulerName=A_", ""},
	};
	RUN(pod_base, rows);
}

static void pod_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.containers[0].image=j", ""},
		{NULL, "spec.containers[0].name=z", "spec Forbidden"},
		{NULL, "spec.nodeName=x", "spec Forbidden"},
		{NULL, "spec.tolerations=[{key: a, operator: Exists}]", ""},
		{"spec.activeDeadlineSeconds=50", "spec.activeDeadlineSeconds=50\nspec.activeDeadlineSeconds=60", "spec.activeDeadlineSeconds Invalid", "Invalid value: 60: must be less than or equal to previous value"},
		{"spec.activeDeadlineSeconds=50", "spec.activeDeadlineSeconds=50\nspec.activeDeadlineSeconds=", "spec.activeDeadlineSeconds Invalid", "Invalid value: null: must not update from a positive integer to nil value"},
		{"spec.activeDeadlineSeconds=50", "spec.activeDeadlineSeconds=50\nspec.activeDeadlineSeconds=40", ""},
		{NULL, "spec.terminationGracePeriodSeconds=1", "spec Forbidden"},
		{"spec.schedulingGates=[{name: a}]", "spec.schedulingGates=[{name: a}]\nspec.schedulingGates=", ""},
		{NULL, "spec.schedulingGates=[{name: a}]", "spec.schedulingGates[0].name Forbidden", "Forbidden: only deletion is allowed, but found new scheduling gate 'a'"},
		{"spec.schedulingGates=[{name: a}]", "spec.schedulingGates=[{name: a}]\nspec.nodeSelector={a: b}", ""},
		{NULL, "metadata.labels={a: b}", ""},
		{NULL, "spec.hostname=x", "spec Forbidden"},
		{NULL, "spec.containers[0].resources={requests: {cpu: 1}}", "spec Forbidden"},
	};
	RUN_UPDATES(pod_base, "", rows);
}

static void pod_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={phase: Running, containerStatuses: [{name: x, image: i, imageID: \"\", ready: true, restartCount: 0}]}", ""},
		{NULL, "status={podIPs: [{ip: x}]}", "status.podIPs[0] Invalid", "Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"},
	};
	RUN_UPDATES(pod_base, "status", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pod_create),
		cmocka_unit_test(pod_update),
		cmocka_unit_test(pod_update_status),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
