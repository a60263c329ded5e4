/* SPDX-License-Identifier: Apache-2.0 */
/* In which order causes are told, and how often: Kubernetes judges some things behind others, and some of them twice. */
#include "test/unit/apiserver/validation/cases.h"

#define C "spec.containers[0]."
#define META "apiVersion: v1, metadata: {name: a, namespace: default}"

static const char pod[] = "{kind: Pod, " META ", spec: {containers: [{name: c, image: i}]}}";

static void containers(void **state) {
	static const struct validation_case rows[] = {
		/* Ports of the host are held against each other once all containers were looked at, their names behind all else of them. */
		{"spec.containers=[{name: c, image: i, ports: [{containerPort: 1, hostPort: 1},{containerPort: 1, hostPort: 1}]},{name: c, image: \"\", securityContext: {runAsUser: -1}}]",
		 "> spec.containers[1].image Required, spec.containers[1].securityContext.runAsUser Invalid, spec.containers[1].name Duplicate, spec.containers[0].ports[1].hostPort Duplicate"},
		/* Init containers run one by one, and each is told as the first. */
		{"spec.initContainers=[{name: i, image: i},{name: j, image: i, ports: [{containerPort: 1, hostPort: 1},{containerPort: 1, hostPort: 1}], lifecycle: {postStart: {exec: {command: [x]}}}}]",
		 "> spec.initContainers[0].ports[1].hostPort Duplicate, spec.initContainers[1].lifecycle Forbidden"},
		{"spec.initContainers=[{name: c, image: i, restartPolicy: Odd}]", "> spec.initContainers[0].restartPolicy NotSupported, spec.initContainers[0].name Duplicate"},
		{"spec.hostNetwork=true\n" C "ports=[{containerPort: 80, hostPort: 81}]\nspec.dnsPolicy=Odd", "> " C "ports[0].hostPort Invalid, spec.dnsPolicy NotSupported"},
		{C "env=[{name: a, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]\nspec.hostname=A_", "> spec.hostname Invalid, " C "env[0].valueFrom.fileKeyRef.volumeName NotFound"},
		{C "ports=[{containerPort: 80, name: A_},{containerPort: 81, name: A_}]", "> " C "ports[0].name Invalid, " C "ports[0].name Invalid, " C "ports[1].name Invalid, " C "ports[1].name Invalid"},
		{C "resources={limits: {hugepages-2Mi: 1m, memory: 1}}", "> " C "resources.limits[hugepages-2Mi] Invalid, " C "resources.requests[hugepages-2Mi] Invalid"},
		{C "resizePolicy=[{resourceName: cpu, restartPolicy: Odd},{resourceName: cpu, restartPolicy: NotRequired}]", "> " C "resizePolicy NotSupported, " C "resizePolicy[1] Duplicate"},
		{C "livenessProbe={tcpSocket: {port: 0}, successThreshold: -1}", "> " C "livenessProbe.tcpSocket.port Invalid, " C "livenessProbe.successThreshold Invalid, " C "livenessProbe.successThreshold Invalid"},
	};
	RUN(pod, rows);
}

static void pods(void **state) {
	static const struct validation_case rows[] = {
		{"spec.os={name: windows}\nspec.securityContext={runAsUser: -1}\nspec.hostname=A_", "> spec.securityContext.runAsUser Invalid, spec.hostname Invalid, spec.securityContext.runAsUser Forbidden"},
		{"spec.hostUsers=false\nspec.hostPID=true\nspec.tolerations=[{operator: Odd}]", "> spec.HostPID Forbidden, spec.tolerations[0].operator Invalid, spec.tolerations[0].operator NotSupported"},
		{"spec.tolerations=[{key: a, effect: Odd, tolerationSeconds: 1}]", "> spec.tolerations[0].effect Invalid, spec.tolerations[0].effect NotSupported"},
		{"spec.affinity={podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: k, matchLabelKeys: [x], labelSelector: {matchLabels: {x: z}, matchExpressions: [{key: x, operator: Exists}]}}]}}",
		 "> spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0][0] Invalid"},
		{"spec.volumes=[{name: v, projected: {sources: [{secret: {name: \"\"}, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}},{path: a, fieldRef: {fieldPath: metadata.name}}]}}]}}]",
		 "> spec.volumes[0].projected.sources[0].secret.name Required, spec.volumes[0].projected Invalid, spec.volumes[0].projected.sources[0] Forbidden"},
		/* Of a volume that is wrong the name is free. */
		{"spec.volumes=[{name: v, hostPath: {path: \"\"}},{name: v, hostPath: {path: /x}}]", "> spec.volumes[0].hostPath.path Required"},
		{"spec.volumes=[{name: v, azureDisk: {diskName: d, diskURI: \"\", kind: Odd}}]", "> spec.volumes[0].azureDisk.diskURI Required, spec.volumes[0].azureDisk.kind NotSupported, spec.volumes[0].azureDisk.diskURI NotSupported"},
	};
	RUN(pod, rows);
}

static const char set[] = "{kind: StatefulSet, apiVersion: apps/v1, metadata: {name: a, namespace: default}, spec: {serviceName: s, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}, "
			  "volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}]}}";

static void stateful_sets(void **state) {
	static const struct validation_case rows[] = {
		/* The volumes that claims become stand first, and for those of their names. */
		{"spec.template.spec.volumes=[{name: v, hostPath: {path: \"\"}},{name: w, hostPath: {path: \"\"}}]", "> spec.template.spec.volumes[1].hostPath.path Required"},
		{"spec.template.metadata.labels={a: b, c: \"-\"}\nspec.template.spec.restartPolicy=Never", "> spec.template.labels Invalid, spec.template.labels Invalid, spec.template.spec.restartPolicy NotSupported"},
	};
	RUN(set, rows);
}

static const char job[] = "{kind: Job, apiVersion: batch/v1, metadata: {name: a, namespace: default, uid: u}, spec: {template: {metadata: {labels: {controller-uid: u, job-name: a, batch.kubernetes.io/controller-uid: u, "
			  "batch.kubernetes.io/job-name: a}}, spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}, selector: {matchLabels: {batch.kubernetes.io/controller-uid: u}}}}";

static void jobs(void **state) {
	static const struct validation_case rows[] = {
		{"spec.completionMode=Odd\nspec.backoffLimitPerIndex=1", "> spec.completionMode NotSupported"},
		{"spec.backoffLimitPerIndex=1\nspec.managedBy=x", "> spec.managedBy Invalid, spec.backoffLimitPerIndex Invalid"},
		{"spec.template.spec.restartPolicy=Always\nspec.selector={matchLabels: {a: b}}", "> spec.selector Invalid, spec.template.spec.restartPolicy Required, spec.template.metadata.labels Invalid"},
		{"spec.podFailurePolicy={rules: [{action: Ignore, onPodConditions: [{type: \"\", status: Odd}]}]}", "> spec.podFailurePolicy.rules[0].onPodConditions[0].type Invalid, "
		 "spec.podFailurePolicy.rules[0].onPodConditions[0].type Invalid, spec.podFailurePolicy.rules[0].onPodConditions[0].status NotSupported"},
	};
	static const struct update_case updates[] = {
		/* The whole is looked at twice, its generated labels once. */
		{NULL, "spec.parallelism=-1\nspec.template.metadata.labels={a: b}", "> spec.template.metadata.labels[controller-uid] Required, spec.template.metadata.labels[job-name] Required, "
		 "spec.template.metadata.labels[batch.kubernetes.io/controller-uid] Required, spec.template.metadata.labels[batch.kubernetes.io/job-name] Required, spec.parallelism Invalid, spec.template.metadata.labels Invalid, "
		 "spec.parallelism Invalid, spec.template.metadata.labels Invalid, spec.completions Invalid, spec.template Invalid"},
	};
	RUN(job, rows);
	RUN_UPDATES(job, "", updates);
}

static const char service[] = "{kind: Service, " META ", spec: {type: ClusterIP, ports: [{port: 80}], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1]}}";

static void services(void **state) {
	static const struct validation_case rows[] = {
		{"spec.ports=[{port: 80, name: a, nodePort: 30000},{port: 80, name: b}]\nspec.externalIPs=[x]", "> spec.externalIPs[0] Invalid, spec.ports[0].nodePort Forbidden, spec.ports[1] Duplicate"},
		{"spec.type=ExternalName\nspec.internalTrafficPolicy=Odd\nspec.ports=[]\nspec.clusterIP=\nspec.clusterIPs=\nspec.externalName=a", "> spec.internalTrafficPolicy NotSupported"},
	};
	static const struct update_case updates[] = {
		{NULL, "spec.loadBalancerClass=x\nspec.ports=", "> spec.loadBalancerClass Forbidden, spec.ports Required, spec.loadBalancerClass Forbidden"},
		{"spec.clusterIPs=[None]\nspec.clusterIP=None", "spec.clusterIPs=[None, None]\nspec.clusterIP=None", "> spec.clusterIPs Invalid"},
	};
	RUN(service, rows);
	RUN_UPDATES(service, "", updates);
}

static const char node[] = "{kind: Node, apiVersion: v1, metadata: {name: a}, spec: {podCIDRs: [10.0.0.0/24], podCIDR: 10.0.0.0/24, providerID: x}}";

static void nodes(void **state) {
	static const struct update_case updates[] = {
		{NULL, "spec.podCIDRs=[10.1.0.0/24]\nspec.providerID=z\nspec.externalID=z\nspec.taints=[{key: a, effect: Odd}]",
		 "> metadata.taints[0].effect NotSupported, spec.podCIDRs Forbidden, spec.providerID Forbidden, metadata.taints[0].effect NotSupported, spec.externalID Forbidden"},
	};
	RUN_UPDATES(node, "", updates);
}

static const char quota[] = "{kind: ResourceQuota, " META ", spec: {hard: {configmaps: 1, secrets: 1}}}";
static const char endpoints[] = "{kind: Endpoints, " META ", subsets: [{addresses: [{ip: 1.2.3.4}]}]}";
static const char map[] = "{kind: ConfigMap, " META ", immutable: true, data: {a: b}}";
static const char claim[] = "{kind: PersistentVolumeClaim, " META ", spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}";

static void others(void **state) {
	static const struct validation_case quotas[] = {
		{"spec.scopes=[BestEffort]", "> spec.scopes Invalid, spec.scopes Invalid"},
		{"spec.hard={pods: 1}\nspec.scopeSelector={matchExpressions: [{scopeName: Terminating, operator: In},{scopeName: NotTerminating, operator: Odd}]}",
		 "> spec.scopeSelector.matchExpressions.operator Invalid, spec.scopeSelector.matchExpressions.values Required, spec.scopeSelector.matchExpressions.operator Invalid, "
		 "spec.scopeSelector.matchExpressions.operator Invalid, spec.scopeSelector.matchExpressions Invalid"},
	};
	static const struct validation_case addresses[] = {
		{"subsets[0].addresses[0]={ip: 127.0.0.1, hostname: A_}", "> subsets[0].addresses[0].hostname Invalid, subsets[0].addresses[0].ip Invalid"},
		{"subsets[0].addresses[0]={ip: 010.0.0.1}", "> subsets[0].addresses[0].ip Invalid"},
	};
	static const struct update_case maps[] = {{NULL, "binaryData={}", "> binaryData Forbidden"}, {NULL, "data={a: b}", ""}};
	static const struct update_case claims[] = {
		{"spec.dataSource={kind: X, name: x, apiGroup: A}\nspec.dataSourceRef={kind: X, name: x, apiGroup: A}", "spec.dataSource={kind: X, name: x, apiGroup: B}\nspec.dataSourceRef={kind: X, name: x, apiGroup: B}", "> spec Forbidden"},
		{NULL, "spec.dataSource={kind: PersistentVolumeClaim, name: x, apiGroup: \"\"}\nspec.dataSourceRef={kind: PersistentVolumeClaim, name: x}", "> spec Invalid, spec Forbidden"},
	};
	RUN(quota, quotas);
	RUN(endpoints, addresses);
	RUN_UPDATES(map, "", maps);
	RUN_UPDATES(claim, "", claims);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(containers), cmocka_unit_test(pods), cmocka_unit_test(stateful_sets), cmocka_unit_test(jobs), cmocka_unit_test(services), cmocka_unit_test(nodes), cmocka_unit_test(others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
