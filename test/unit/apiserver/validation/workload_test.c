/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char deployment_base[] = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, namespace: default}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";

static void deployment_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.replicas=-1", "spec.replicas Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.minReadySeconds=-1", "spec.minReadySeconds Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.selector=", "spec.selector Required, spec.template.metadata.labels Invalid"},
		{"spec.selector={}", "spec.selector Invalid", "Invalid value: {}: empty selector is invalid for deployment"},
		{"spec.selector={matchLabels: {a: c}}", "spec.template.metadata.labels Invalid", "Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
		{"spec.selector={matchExpressions: [{key: a, operator: Near}]}", "spec.selector Invalid, spec.selector.matchExpressions[0].operator Invalid"},
		{"spec.selector={matchExpressions: [{key: a, operator: In}]}", "spec.selector Invalid, spec.selector.matchExpressions[0].values Required"},
		{"spec.selector={matchExpressions: [{key: a, operator: Exists, values: [b]}]}", "spec.selector Invalid, spec.selector.matchExpressions[0].values Forbidden"},
		{"spec.selector={matchLabels: {\"a b\": c, a: \"c d\"}}", "spec.selector Invalid, spec.selector.matchLabels Invalid, spec.selector.matchLabels Invalid"},
		{"spec.strategy={type: Fast}", "spec.strategy NotSupported"},
		{"spec.strategy={type: Recreate, rollingUpdate: {maxSurge: 1}}", "spec.strategy.rollingUpdate Forbidden", "Forbidden: may not be specified when strategy `type` is 'Recreate'"},
		{"spec.strategy={type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}", "spec.strategy.rollingUpdate.maxUnavailable Invalid", "Invalid value: 0: may not be 0 when `maxSurge` is 0"},
		{"spec.strategy={type: RollingUpdate, rollingUpdate: {maxSurge: -1, maxUnavailable: 101%}}", "spec.strategy.rollingUpdate.maxSurge Invalid, spec.strategy.rollingUpdate.maxUnavailable Invalid"},
		{"spec.strategy={type: RollingUpdate, rollingUpdate: {maxSurge: a, maxUnavailable: 10%}}", "spec.strategy.rollingUpdate.maxSurge Invalid", "Invalid value: \"a\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"},
		{"spec.strategy={type: RollingUpdate, rollingUpdate: {maxSurge: 200%}}", ""},
		{"spec.revisionHistoryLimit=-1", "spec.revisionHistoryLimit Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.progressDeadlineSeconds=-1", "spec.progressDeadlineSeconds Invalid, spec.progressDeadlineSeconds Invalid"},
		{"spec.progressDeadlineSeconds=10\nspec.minReadySeconds=10", "spec.progressDeadlineSeconds Invalid", "Invalid value: 10: must be greater than minReadySeconds"},
		{"spec.template.spec.restartPolicy=Never", "spec.template.spec.restartPolicy NotSupported", "Unsupported value: \"Never\": supported values: \"Always\""},
		{"spec.template.spec.activeDeadlineSeconds=5", "spec.template.spec.activeDeadlineSeconds Forbidden", "Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"},
		{"spec.template.metadata.labels={a: c}", "spec.template.metadata.labels Invalid", "Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"},
		{"spec.template.metadata.labels=", "spec.template.metadata.labels Invalid", "Invalid value: null: `selector` does not match template `labels`"},
		{"spec.template.spec.containers=[]", "spec.template.spec.containers Required", "Required value"},
		{"spec.template.spec.containers[0].image=", "spec.template.spec.containers[0].image Required", "Required value"},
		{"spec.template.metadata.annotations={\"a b\": c}", "spec.template.annotations Invalid"},
		{"spec.template.spec.containers[0].ports=[{containerPort: 1, hostPort: 2}]", ""},
		{"spec.paused=true", ""},
		{"spec.rollbackTo={revision: 1}", ""},
		{"metadata.name=a.b", ""},
		{"metadata.annotations={\"A_b\": d}", ""},
		{"metadata.finalizers=[a/b]", ""},
		{"metadata.generation=-1", ""},
		{"metadata.name=\nmetadata.generateName=ok-", ""},
		{"spec.template.spec.ephemeralContainers=[{name: e, image: i}]", "spec.template.spec.ephemeralContainers Forbidden", "Forbidden: ephemeral containers not allowed in pod template"},
		{"spec.template.spec.nodeName=Bad_Node", "spec.template.spec.nodeName Invalid"},
		{"spec.selector={matchExpressions: [{key: a, operator: Odd}]}\nspec.template.spec.containers=[]", "spec.selector Invalid, spec.selector.matchExpressions[0].operator Invalid"},
		{"spec.template.spec.ephemeralContainers=[{name: e, image: i, terminationMessagePolicy: File, lifecycle: {preStop: {}}, ports: [], resources: {limits: {}}}]", "spec.template.spec.ephemeralContainers Forbidden, spec.template.spec.ephemeralContainers[0].lifecycle Forbidden, spec.template.spec.ephemeralContainers[0].ports Forbidden, spec.template.spec.ephemeralContainers[0].resources Forbidden"},
		{"spec.template.spec.initContainers=[{name: a, image: i, livenessProbe: {}, lifecycle: {postStart: {}}, restartPolicyRules: [{}]}]", "spec.template.spec.initContainers[0].lifecycle Forbidden, spec.template.spec.initContainers[0].livenessProbe Forbidden, spec.template.spec.initContainers[0].restartPolicy Required"},
		{"spec.template.spec.containers[0].restartPolicyRules=[{}]", "spec.template.spec.containers[0].restartPolicy Required, spec.template.spec.containers[0].restartPolicyRules[0].action NotSupported, spec.template.spec.containers[0].restartPolicyRules[0].exitCodes Required"},
		{"spec.template.spec.containers[0].restartPolicy=Never\nspec.template.spec.containers[0].restartPolicyRules=[{exitCodes: {}}]", "spec.template.spec.containers[0].restartPolicyRules[0].action NotSupported, spec.template.spec.containers[0].restartPolicyRules[0].exitCodes.operator NotSupported"},
		{"spec.template.spec.resources={claims: []}", "spec.template.spec.resources.claims Forbidden", "Forbidden: claims may not be set for Resources at pod-level"},
		{"spec.template.spec.readinessGates=[{}]", "spec.template.spec.readinessGates[0].conditionType Invalid, spec.template.spec.readinessGates[0].conditionType Invalid"},
		{"spec.template.spec.preemptionPolicy=\"\"", "spec.template.spec.preemptionPolicy Required", "Required value"},
		{"spec.template.spec.preemptionPolicy=Odd", "spec.template.spec.preemptionPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"PreemptLowerPriority\", \"Never\""},
		{"spec.template.spec.topologySpreadConstraints=[{maxSkew: 1, topologyKey: a}]", "spec.template.spec.topologySpreadConstraints[0].whenUnsatisfiable NotSupported", "Unsupported value: \"\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\""},
		{"spec.template.spec.containers=[{image: i},{image: i}]", "spec.template.spec.containers[0].name Required, spec.template.spec.containers[1].name Duplicate, spec.template.spec.containers[1].name Required"},
		{"spec.template.spec.volumes=[{name: a, gcePersistentDisk: {pdName: a, partition: 999}}]", "spec.template.spec.volumes[0].persistentDisk.partition Invalid"},
		{"spec.template.spec.volumes=[{name: a, cephfs: {monitors: []}, hostPath: {path: /a}}]", "spec.template.spec.volumes[0].cephFS Forbidden", "Forbidden: may not specify more than 1 volume type"},
		{"spec.template.spec.volumes=[{name: a, downwardAPI: {defaultMode: 1000}, csi: {driver: \"\"}, hostPath: {path: \"\", type: Odd}}]", "spec.template.spec.volumes[0].csi Forbidden, spec.template.spec.volumes[0].downwarAPI Forbidden, spec.template.spec.volumes[0].hostPath.path Required"},
		{"spec.template.spec.volumes=[{name: a, nfs: {}}]", "spec.template.spec.volumes[0].nfs.path Invalid, spec.template.spec.volumes[0].nfs.path Required, spec.template.spec.volumes[0].nfs.server Required"},
		{"spec.template.spec.volumes=[{name: a, quobyte: {registry: \"::1\", volume: v}}]", "spec.template.spec.volumes[0].quobyte.registry Invalid", "Invalid value: \"::1\": must be a host:port pair or multiple pairs separated by commas"},
		{"spec.template.spec.securityContext={seLinuxChangePolicy: MountOption}", "spec.template.spec.securityContext.seLinuxChangePolicy NotSupported", "Unsupported value: \"MountOption\": supported values: \"Recursive\""},
		{"spec.template.spec.containers[0].lifecycle={postStart: {exec: {}, sleep: {seconds: 100}}}", "spec.template.spec.containers[0].lifecycle.postStart.exec.command Required, spec.template.spec.containers[0].lifecycle.postStart.sleep Forbidden"},
		{"spec.template.spec.containers[0].resources={claims: [{name: a, request: A_},{request: A_}]}", "spec.template.spec.containers[0].resources.claims[0] NotFound, spec.template.spec.containers[0].resources.claims[0].request Invalid, spec.template.spec.containers[0].resources.claims[1] Required"},
	};
	RUN(deployment_base, rows);
}

static void deployment_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.selector={matchLabels: {a: b, c: d}}\nspec.template.metadata.labels={a: b, c: d}", "spec.selector Invalid", "Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable"},
		{NULL, "spec.replicas=3\nspec.template.spec.containers[0].image=other", ""},
	};
	RUN_UPDATES(deployment_base, "", rows);
}

static void deployment_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={replicas: -1}", "status.availableReplicas Invalid, status.readyReplicas Invalid, status.replicas Invalid, status.updatedReplicas Invalid"},
		{NULL, "status={replicas: 1, updatedReplicas: 2, readyReplicas: 2, availableReplicas: 2}", "status.availableReplicas Invalid, status.readyReplicas Invalid, status.updatedReplicas Invalid"},
		{NULL, "status={replicas: 1, updatedReplicas: 1, readyReplicas: 0, availableReplicas: 1, observedGeneration: -1, unavailableReplicas: -1}", "status.availableReplicas Invalid, status.observedGeneration Invalid, status.unavailableReplicas Invalid"},
	};
	RUN_UPDATES(deployment_base, "status", rows);
}

static const char replicaset_base[] = "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: d, namespace: default}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";

static void replicaset_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.replicas=-1", "spec.replicas Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.minReadySeconds=-1", "spec.minReadySeconds Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.selector=", "spec.selector Required, spec.template.metadata.labels Invalid"},
		{"spec.selector={}", "spec.selector Invalid", "Invalid value: {}: empty selector is invalid for deployment"},
		{"spec.template.spec.restartPolicy=OnFailure", "spec.template.spec.restartPolicy NotSupported", "Unsupported value: \"OnFailure\": supported values: \"Always\""},
		{"spec.template=", "spec.template.metadata.labels Invalid, spec.template.spec.containers Required"},
		{"spec.template={}", "spec.template.metadata.labels Invalid, spec.template.spec.containers Required"},
	};
	RUN(replicaset_base, rows);
}

static void replicaset_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.selector={matchLabels: {a: b, c: d}}\nspec.template.metadata.labels={a: b, c: d}", "spec.selector Invalid", "Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable"},
	};
	RUN_UPDATES(replicaset_base, "", rows);
}

static void replicaset_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={replicas: 1, fullyLabeledReplicas: 2, readyReplicas: 2, availableReplicas: 3}", "status.availableReplicas Invalid, status.availableReplicas Invalid, status.fullyLabeledReplicas Invalid, status.readyReplicas Invalid"},
	};
	RUN_UPDATES(replicaset_base, "status", rows);
}

static const char replicationcontroller_base[] = "{apiVersion: v1, kind: ReplicationController, metadata: {name: d, namespace: default}, spec: {selector: {a: b}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";

static void replicationcontroller_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.replicas=-1", "spec.replicas Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.minReadySeconds=-1", "spec.minReadySeconds Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.selector=", ""},
		{"spec.selector={a: c}", "spec.template.metadata.labels Invalid", "Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
		{"spec.template=", "spec.template Required", "Required value"},
		{"spec.template.spec.restartPolicy=Never", "spec.template.spec.restartPolicy NotSupported", "Unsupported value: \"Never\": supported values: \"Always\""},
		{"spec.selector=\nspec.template.metadata.labels=", "spec.selector Required", "Required value"},
	};
	RUN(replicationcontroller_base, rows);
}

static void replicationcontroller_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.replicas=-2", "spec.replicas Invalid", "Invalid value: -2: must be greater than or equal to 0"},
	};
	RUN_UPDATES(replicationcontroller_base, "", rows);
}

static void replicationcontroller_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={replicas: 1, readyReplicas: 2, availableReplicas: -1}", "status.availableReplicas Invalid, status.readyReplicas Invalid"},
	};
	RUN_UPDATES(replicationcontroller_base, "status", rows);
}

static const char daemonset_base[] = "{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: d, namespace: default}, spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";

static void daemonset_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.minReadySeconds=-1", "spec.minReadySeconds Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.selector={}", "spec.selector Invalid", "Invalid value: {}: empty selector is invalid for daemonset"},
		{"spec.selector=", "spec.template.metadata.labels Invalid"},
		{"spec.selector={matchLabels: {a: c}}", "spec.template.metadata.labels Invalid", "Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
		{"spec.updateStrategy={type: Fast}", "spec.updateStrategy NotSupported"},
		{"spec.updateStrategy={type: OnDelete}", ""},
		{"spec.updateStrategy={type: RollingUpdate, rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}", "spec.updateStrategy.rollingUpdate.maxUnavailable Required", "Required value: cannot be 0 when maxSurge is 0"},
		{"spec.updateStrategy={type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 1}}", "spec.updateStrategy.rollingUpdate.maxSurge Invalid", "Invalid value: 1: may not be set when maxUnavailable is non-zero"},
		{"spec.updateStrategy={type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", ""},
		{"spec.updateStrategy={type: RollingUpdate, rollingUpdate: {maxUnavailable: 101%}}", "spec.updateStrategy.rollingUpdate.maxUnavailable Invalid", "Invalid value: \"101%\": must not be greater than 100%"},
		{"spec.revisionHistoryLimit=-1", "spec.revisionHistoryLimit Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.template.spec.restartPolicy=Never", "spec.template.spec.restartPolicy NotSupported", "Unsupported value: \"Never\": supported values: \"Always\""},
		{"spec.template.spec.activeDeadlineSeconds=1", "spec.template.spec.activeDeadlineSeconds Forbidden", "Forbidden: activeDeadlineSeconds in DaemonSet is not Supported"},
		{"spec.selector={matchExpressions: [{key: a, operator: Odd}]}", "spec.selector.matchExpressions[0].operator Invalid", "Invalid value: \"Odd\": not a valid selector operator"},
	};
	RUN(daemonset_base, rows);
}

static void daemonset_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.selector={matchLabels: {a: b, c: d}}\nspec.template.metadata.labels={a: b, c: d}", "spec.selector Invalid", "Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable"},
	};
	RUN_UPDATES(daemonset_base, "", rows);
}

static void daemonset_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={currentNumberScheduled: -1, numberMisscheduled: -1, desiredNumberScheduled: -1, numberReady: -1, observedGeneration: -1, updatedNumberScheduled: -1, numberAvailable: -1, numberUnavailable: -1, collisionCount: -1}", "status.collisionCount Invalid, status.currentNumberScheduled Invalid, status.desiredNumberScheduled Invalid, status.numberAvailable Invalid, status.numberMisscheduled Invalid, status.numberReady Invalid, status.numberUnavailable Invalid, status.observedGeneration Invalid, status.updatedNumberScheduled Invalid"},
	};
	RUN_UPDATES(daemonset_base, "status", rows);
}

static const char statefulset_base[] = "{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: d, namespace: default}, spec: {serviceName: s, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}}";

static void statefulset_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.replicas=-1", "spec.replicas Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.podManagementPolicy=Odd", "spec.podManagementPolicy Invalid", "Invalid value: \"Odd\": must be 'OrderedReady' or 'Parallel'"},
		{"spec.updateStrategy={type: Odd}", "spec.updateStrategy Invalid"},
		{"spec.updateStrategy={type: OnDelete, rollingUpdate: {partition: 1}}", "spec.updateStrategy.rollingUpdate Invalid"},
		{"spec.updateStrategy={type: RollingUpdate, rollingUpdate: {partition: -1}}", "spec.updateStrategy.rollingUpdate.partition Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.updateStrategy={type: RollingUpdate, rollingUpdate: {partition: 1, maxUnavailable: 0}}", ""},
		{"spec.persistentVolumeClaimRetentionPolicy={whenDeleted: Odd, whenScaled: Retain}", "spec.persistentVolumeClaimRetentionPolicy.whenDeleted NotSupported"},
		{"spec.persistentVolumeClaimRetentionPolicy={whenDeleted: Delete}", ""},
		{"spec.ordinals={start: -1}", "spec.ordinals.start Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.minReadySeconds=-1", "spec.minReadySeconds Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.selector={}", "spec.selector Invalid", "Invalid value: {}: empty selector is invalid for statefulset"},
		{"spec.selector={matchLabels: {a: c}}", "spec.template.metadata.labels Invalid", "Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`"},
		{"spec.template.spec.restartPolicy=Never", "spec.template.spec.restartPolicy NotSupported", "Unsupported value: \"Never\": supported values: \"Always\""},
		{"spec.template.spec.activeDeadlineSeconds=1", "spec.template.spec.activeDeadlineSeconds Forbidden", "Forbidden: activeDeadlineSeconds in StatefulSet is not Supported"},
		{"spec.revisionHistoryLimit=-1", ""},
		{"spec.serviceName=", ""},
		{"spec.serviceName=Bad_Name", "spec.serviceName Invalid"},
		{"spec.volumeClaimTemplates=[{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]", ""},
		{"spec.volumeClaimTemplates=[{metadata: {name: v}, spec: {accessModes: [Odd]}}]", "spec.volumeClaimTemplates[0].spec.accessModes NotSupported, spec.volumeClaimTemplates[0].spec.resources[storage] Required"},
		{"spec.volumeClaimTemplates=[{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}]", "spec.template.spec.volumes[0].name Required, spec.template.spec.volumes[0].persistentVolumeClaim.claimName Required"},
		{"spec.volumeClaimTemplates=[{metadata: {name: A_}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}]", "spec.template.spec.volumes[0].name Invalid"},
	};
	RUN(statefulset_base, rows);
}

static void statefulset_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.replicas=3", ""},
		{NULL, "spec.serviceName=x", "spec Forbidden"},
		{NULL, "spec.podManagementPolicy=Parallel", "spec Forbidden"},
		{NULL, "spec.selector={matchLabels: {a: b, c: d}}\nspec.template.metadata.labels={a: b, c: d}", "spec Forbidden"},
		{NULL, "spec.volumeClaimTemplates=[{metadata: {name: v}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]", "spec Forbidden"},
		{NULL, "spec.revisionHistoryLimit=3", ""},
	};
	RUN_UPDATES(statefulset_base, "", rows);
}

static void statefulset_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={replicas: 1, readyReplicas: 2, currentReplicas: 2, updatedReplicas: 2, observedGeneration: -1, collisionCount: -1, availableReplicas: 3}", "status.availableReplicas Invalid, status.availableReplicas Invalid, status.collisionCount Invalid, status.currentReplicas Invalid, status.observedGeneration Invalid, status.readyReplicas Invalid, status.updatedReplicas Invalid"},
	};
	RUN_UPDATES(statefulset_base, "status", rows);
}

static const char controllerrevision_base[] = "{apiVersion: apps/v1, kind: ControllerRevision, metadata: {name: d, namespace: default}, revision: 1, data: {a: 1}}";

static void controllerrevision_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"revision=-1", "revision Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"data=", "data Required", "Required value: data is mandatory"},
	};
	RUN(controllerrevision_base, rows);
}

static void controllerrevision_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "data={a: 2}", "data Invalid", "Invalid value: {\"a\":2}: field is immutable"},
		{NULL, "revision=2", ""},
	};
	RUN_UPDATES(controllerrevision_base, "", rows);
}

static const char podtemplate_base[] = "{apiVersion: v1, kind: PodTemplate, metadata: {name: d, namespace: default}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}";

static void podtemplate_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"template.spec.containers=", "template.spec.containers Required", "Required value"},
		{"template.spec.restartPolicy=Odd", "template.spec.restartPolicy NotSupported"},
	};
	RUN(podtemplate_base, rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deployment_create),
		cmocka_unit_test(deployment_update),
		cmocka_unit_test(deployment_update_status),
		cmocka_unit_test(replicaset_create),
		cmocka_unit_test(replicaset_update),
		cmocka_unit_test(replicaset_update_status),
		cmocka_unit_test(replicationcontroller_create),
		cmocka_unit_test(replicationcontroller_update),
		cmocka_unit_test(replicationcontroller_update_status),
		cmocka_unit_test(daemonset_create),
		cmocka_unit_test(daemonset_update),
		cmocka_unit_test(daemonset_update_status),
		cmocka_unit_test(statefulset_create),
		cmocka_unit_test(statefulset_update),
		cmocka_unit_test(statefulset_update_status),
		cmocka_unit_test(controllerrevision_create),
		cmocka_unit_test(controllerrevision_update),
		cmocka_unit_test(podtemplate_create),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
