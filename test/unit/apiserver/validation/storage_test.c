/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char pv_base[] = "{apiVersion: v1, kind: PersistentVolume, metadata: {name: d}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /a}}}";

static void pv_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.capacity=", "spec.capacity NotSupported, spec.capacity Required"},
		{"spec.capacity={cpu: 1}", "spec.capacity NotSupported", "Unsupported value: {\"cpu\":\"1\"}: supported values: \"storage\""},
		{"spec.capacity={storage: -1}", "spec.capacity[storage] Invalid, spec.capacity[storage] Invalid"},
		{"spec.capacity={storage: 0}", "spec.capacity[storage] Invalid", "Invalid value: \"0\": must be greater than zero"},
		{"spec.accessModes=", "spec.accessModes Required", "Required value"},
		{"spec.accessModes=[Odd]", "spec.accessModes NotSupported", "Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\""},
		{"spec.accessModes=[ReadWriteOncePod, ReadWriteOnce]", "spec.accessModes Forbidden", "Forbidden: may not use ReadWriteOncePod with other access modes"},
		{"spec.hostPath=", "spec Required", "Required value: must specify a volume type"},
		{"spec.hostPath={path: \"\"}", "spec.hostPath.path Required", "Required value"},
		{"spec.hostPath={path: /a/../b}", "spec.hostPath.path Invalid", "Invalid value: \"/a/../b\": must not contain '..'"},
		{"spec.hostPath={path: /}\nspec.persistentVolumeReclaimPolicy=Recycle", "spec.persistentVolumeReclaimPolicy Forbidden", "Forbidden: may not be 'recycle' for a hostPath mount of '/'"},
		{"spec.nfs={server: s, path: /p}", "spec.nfs Forbidden", "Forbidden: may not specify more than 1 volume type"},
		{"spec.hostPath=\nspec.nfs={server: \"\", path: p}", "spec.nfs.path Invalid, spec.nfs.server Required"},
		{"spec.hostPath=\nspec.local={path: /a}", "spec.nodeAffinity Required", "Required value: Local volume requires node affinity"},
		{"spec.hostPath=\nspec.local={path: /a}\nspec.nodeAffinity={required: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}", ""},
		{"spec.hostPath=\nspec.csi={driver: \"\", volumeHandle: \"\"}", "spec.csi.driver Required, spec.csi.volumeHandle Required"},
		{"spec.hostPath=\nspec.csi={driver: A_, volumeHandle: h, nodePublishSecretRef: {name: \"\"}}", "spec.csi.driver Invalid, spec.csi.nodePublishSecretRef.name Required, spec.csi.nodePublishSecretRef.namespace Required"},
		{"spec.hostPath=\nspec.csi={driver: a.b, volumeHandle: h}", ""},
		{"spec.persistentVolumeReclaimPolicy=Odd", "spec.persistentVolumeReclaimPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Delete\", \"Recycle\", \"Retain\""},
		{"spec.volumeMode=Odd", "spec.volumeMode NotSupported", "Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""},
		{"spec.storageClassName=A_", "spec.storageClassName Invalid"},
		{"spec.nodeAffinity={}", "spec.nodeAffinity.required Required"},
		{"spec.nodeAffinity={required: {nodeSelectorTerms: []}}", "spec.nodeAffinity.required.nodeSelectorTerms Required", "Required value: must have at least one node selector term"},
		{"spec.volumeAttributesClassName=\"\"", "spec.csi Required, spec.volumeAttributesClassName Required"},
		{"spec.volumeAttributesClassName=a", "spec.csi Required", "Required value: has to be specified when using volumeAttributesClassName"},
		{"spec.mountOptions=[a]", ""},
		{"spec.hostPath=\nspec.iscsi={targetPortal: p, iqn: x, lun: 300}", "spec.iscsi.iqn Invalid, spec.iscsi.lun Invalid"},
		{"spec.hostPath=\nspec.fc={targetWWNs: [a], lun: 1, wwids: [b]}", "spec.fc.targetWWNs Invalid", "Invalid value: [\"a\"]: targetWWNs and wwids can not be specified simultaneously"},
		{"spec.hostPath=\nspec.fc={}", "spec.fc.targetWWNs Required", "Required value: must specify either targetWWNs or wwids, but not both"},
		{"spec.claimRef={name: a, namespace: b}", ""},
		{"spec.local={path: a}", "spec.local Forbidden", "Forbidden: may not specify more than 1 volume type"},
		{"spec.hostPath=\nspec.local={path: a}", "spec.nodeAffinity Required", "Required value: Local volume requires node affinity"},
		{"spec.flexVolume={driver: a/b}", ""},
		{"spec.cephfs={monitors: []}", "spec.cephFS Forbidden", "Forbidden: may not specify more than 1 volume type"},
		{"spec.gcePersistentDisk={pdName: a}", "spec.gcePersistentDisk Forbidden", "Forbidden: may not specify more than 1 volume type"},
		{"spec.hostPath={path: \"\", type: Odd}", "spec.hostPath.path Required", "Required value"},
		{"spec.flocker={}", "spec.flocker Forbidden", "Forbidden: may not specify more than 1 volume type"},
	};
	RUN(pv_base, rows);
}

static void pv_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.hostPath={path: /b}", "spec.persistentvolumesource Forbidden"},
		{NULL, "spec.capacity={storage: 2Gi}", ""},
		{NULL, "spec.volumeMode=Block", "volumeMode Invalid", "Invalid value: \"Block\": field is immutable"},
		{NULL, "spec.persistentVolumeReclaimPolicy=Delete", ""},
		{"spec.hostPath=\nspec.csi={driver: a.b, volumeHandle: h}", "spec.hostPath=\nspec.csi={driver: a.b, volumeHandle: h}\nspec.csi={driver: a.b, volumeHandle: i}", "spec.persistentvolumesource Forbidden"},
	};
	RUN_UPDATES(pv_base, "", rows);
}

static const char pvc_base[] = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: d, namespace: default}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}";

static void pvc_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.accessModes=", "spec.accessModes Required", "Required value: at least 1 access mode is required"},
		{"spec.accessModes=[Odd]", "spec.accessModes NotSupported", "Unsupported value: \"Odd\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\""},
		{"spec.accessModes=[ReadWriteOncePod, ReadWriteMany]", "spec.accessModes Forbidden", "Forbidden: may not use ReadWriteOncePod with other access modes"},
		{"spec.resources=", "spec.resources[storage] Required", "Required value"},
		{"spec.resources={requests: {cpu: 1}}", "spec.resources[storage] Required", "Required value"},
		{"spec.resources={requests: {storage: -1}}", "spec.resources[storage] Invalid", "Invalid value: \"-1\": must be greater than zero"},
		{"spec.resources={requests: {storage: 0}}", "spec.resources[storage] Invalid", "Invalid value: \"0\": must be greater than zero"},
		{"spec.resources={requests: {storage: 2Gi}, limits: {storage: 1Gi}}", ""},
		{"spec.storageClassName=A_", "spec.storageClassName Invalid"},
		{"spec.storageClassName=\"\"", ""},
		{"spec.volumeMode=Odd", "spec.volumeMode NotSupported", "Unsupported value: \"Odd\": supported values: \"Block\", \"Filesystem\""},
		{"spec.selector={matchLabels: {\"a b\": c}}", "spec.selector.matchLabels Invalid"},
		{"spec.dataSource={kind: PersistentVolumeClaim, name: x}", ""},
		{"spec.dataSourceRef={apiGroup: a.b, kind: K, name: x}", ""},
		{"spec.dataSource={kind: PersistentVolumeClaim, name: x}\nspec.dataSourceRef={kind: PersistentVolumeClaim, name: \"y\"}", "spec Invalid"},
		{"spec.volumeAttributesClassName=A_", "spec.volumeAttributesClassName Invalid"},
		{"spec.dataSource={kind: PersistentVolumeClaim, name: x}\nspec.dataSourceRef={kind: PersistentVolumeClaim, name: \"y\"}", "spec Invalid", "Invalid value: {}: must match dataSourceRef"},
	};
	RUN(pvc_base, rows);
}

static void pvc_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.resources={requests: {storage: 2Gi}}", "spec Forbidden"},
		{NULL, "spec.accessModes=[ReadWriteMany]", "spec Forbidden"},
		{NULL, "spec.volumeName=x", ""},
		{NULL, "spec.storageClassName=\"y\"", ""},
	};
	RUN_UPDATES(pvc_base, "", rows);
}

static void pvc_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={capacity: {storage: -1}}", "status.capacity[storage] Invalid", "Invalid value: -1: must be a valid resource quantity"},
	};
	RUN_UPDATES(pvc_base, "status", rows);
}

static const char storageclass_base[] = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: d}, provisioner: a.b/c}";

static void storageclass_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"provisioner=", "provisioner Required", "Required value"},
		{"provisioner=A B", "provisioner Invalid"},
		{"parameters={\"\": a}", "parameters Invalid", "Invalid value: \"\": field can not be empty."},
		{"reclaimPolicy=Odd", "reclaimPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Delete\", \"Retain\""},
		{"reclaimPolicy=Recycle", "reclaimPolicy NotSupported", "Unsupported value: \"Recycle\": supported values: \"Delete\", \"Retain\""},
		{"volumeBindingMode=Odd", "volumeBindingMode NotSupported", "Unsupported value: \"Odd\": supported values: \"Immediate\", \"WaitForFirstConsumer\""},
		{"mountOptions=[a]", ""},
		{"allowedTopologies=[{matchLabelExpressions: [{key: a, values: []}]}]", "allowedTopologies[0].matchLabelExpressions[0].values Required", "Required value"},
		{"allowedTopologies=[{matchLabelExpressions: [{key: a, values: [b, b]}]}]", "allowedTopologies[0].matchLabelExpressions[0].values[1] Duplicate", "Duplicate value: \"b\""},
		{"allowedTopologies=[{matchLabelExpressions: [{key: a, values: [b]},{key: a, values: [c]}]}]", "allowedTopologies[0].matchLabelExpressions[1].key Duplicate", "Duplicate value: \"a\""},
		{"allowedTopologies=[{}]", "allowedTopologies[0].matchLabelExpressions Duplicate", "Duplicate value: \"\""},
		{"allowedTopologies=[{matchLabelExpressions: [{key: a, values: [b]}]},{}]", "allowedTopologies[1].matchLabelExpressions Duplicate, allowedTopologies[1].matchLabelExpressions Duplicate"},
		{"allowedTopologies=[{matchLabelExpressions: [{key: a, values: [b, c]},{key: d, values: [e]}]},{matchLabelExpressions: [{key: d, values: [e]},{key: a, values: [c, b]}]}]", "allowedTopologies[1].matchLabelExpressions Duplicate"},
		{"allowedTopologies=[{matchLabelExpressions: [{key: a, values: [b]}]},{matchLabelExpressions: [{key: a, values: [b]}]}]", "allowedTopologies[1].matchLabelExpressions Duplicate", "Duplicate value: \"\""},
	};
	RUN(storageclass_base, rows);
}

static void storageclass_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "parameters={a: b}", "parameters Invalid"},
		{NULL, "provisioner=z", "provisioner Invalid", "Invalid value: \"z\": field is immutable"},
		{NULL, "reclaimPolicy=Retain", "reclaimPolicy Invalid", "Invalid value: \"Retain\": field is immutable"},
		{NULL, "volumeBindingMode=WaitForFirstConsumer", "volumeBindingMode Invalid", "Invalid value: \"WaitForFirstConsumer\": field is immutable"},
		{NULL, "allowVolumeExpansion=true", ""},
	};
	RUN_UPDATES(storageclass_base, "", rows);
}

static const char csidriver_base[] = "{apiVersion: storage.k8s.io/v1, kind: CSIDriver, metadata: {name: a.b}}";

static void csidriver_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.volumeLifecycleModes=[Odd]", "spec.volumeLifecycleModes NotSupported", "Unsupported value: \"Odd\": supported values: \"Persistent\", \"Ephemeral\""},
		{"spec.fsGroupPolicy=Odd", "spec.fsGroupPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\""},
		{"spec.tokenRequests=[{audience: a},{audience: a}]", "spec.tokenRequests[1].audience Duplicate", "Duplicate value: \"a\""},
		{"spec.tokenRequests=[{audience: a, expirationSeconds: 5}]", "spec.tokenRequests[0].expirationSeconds Invalid", "Invalid value: 5: may not specify a duration less than 10 minutes"},
		{"spec.nodeAllocatableUpdatePeriodSeconds=5", "spec.nodeAllocatableUpdatePeriodSeconds Invalid", "Invalid value: 5: must be greater than or equal to 10 seconds"},
	};
	RUN(csidriver_base, rows);
}

static void csidriver_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.attachRequired=false", "spec.attachedRequired Invalid", "Invalid value: false: field is immutable"},
		{NULL, "spec.podInfoOnMount=true", ""},
	};
	RUN_UPDATES(csidriver_base, "", rows);
}

static const char csinode_base[] = "{apiVersion: storage.k8s.io/v1, kind: CSINode, metadata: {name: d}, spec: {drivers: [{name: a.b, nodeID: \"n\", topologyKeys: [k]}]}}";

static void csinode_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.drivers[0].name=", "spec.drivers[0].name Required", "Required value"},
		{"spec.drivers[0].name=A_", "spec.drivers[0].name Invalid"},
		{"spec.drivers[0].topologyKeys=[\"a b\"]", "spec.drivers[0] Invalid"},
		{"spec.drivers[0].topologyKeys=[a, a]", "spec.drivers[0] Duplicate", "Duplicate value: \"a\""},
		{"spec.drivers[0].nodeID=", "spec.drivers[0].nodeID Required", "Required value"},
		{"spec.drivers[0].allocatable={count: -1}", "spec.drivers[0].allocatable.count Invalid", "Invalid value: -1: must be greater than or equal to 0"},
		{"spec.drivers[1]={name: a.b, nodeID: \"n\"}", "spec.drivers[1].name Duplicate", "Duplicate value: \"a.b\""},
	};
	RUN(csinode_base, rows);
}

static void csinode_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.drivers[0].nodeID=x", "spec.drivers Invalid"},
		{NULL, "spec.drivers=[]", ""},
	};
	RUN_UPDATES(csinode_base, "", rows);
}

static const char volumeattachment_base[] = "{apiVersion: storage.k8s.io/v1, kind: VolumeAttachment, metadata: {name: d}, spec: {attacher: a.b, nodeName: \"n\", source: {persistentVolumeName: p}}}";

static void volumeattachment_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.source={persistentVolumeName: \"\"}", "spec.source.persistentVolumeName Invalid, spec.source.persistentVolumeName Required"},
		{"spec.attacher=", "spec.attacher Required", "Required value"},
		{"spec.attacher=A_", "spec.attacher Invalid"},
		{"spec.nodeName=", "spec.nodeName Invalid"},
		{"spec.source={}", "spec.source Required", "Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"},
		{"spec.source={persistentVolumeName: p, inlineVolumeSpec: {csi: {}}}", "spec.source Forbidden", "Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"},
		{"spec.source={inlineVolumeSpec: {accessModes: [ReadWriteOnce], nfs: {server: a, path: /}, volumeAttributesClassName: A_}}", "spec.source.inlineVolumeSpec.csi Required", "Required value: has to be specified in the context of inline volumes"},
		{"spec.source={inlineVolumeSpec: {accessModes: [ReadWriteOnce], csi: {driver: a, volumeHandle: b}, persistentVolumeReclaimPolicy: Odd, volumeMode: Odd, capacity: {storage: -1}}}", "spec.source.inlineVolumeSpec.capacity Forbidden, spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy Forbidden, spec.source.inlineVolumeSpec.volumeMode Forbidden"},
	};
	RUN(volumeattachment_base, rows);
}

static void volumeattachment_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.nodeName=x", "spec Invalid"},
	};
	RUN_UPDATES(volumeattachment_base, "", rows);
}

static const char volumeattributesclass_base[] = "{apiVersion: storage.k8s.io/v1, kind: VolumeAttributesClass, metadata: {name: d}, driverName: a.b, parameters: {a: b}}";

static void volumeattributesclass_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"driverName=", "driverName Required", "Required value"},
		{"driverName=A_", "driverName Invalid"},
		{"parameters=", "parameters Required", "Required value: must contain at least one key/value pair"},
		{"parameters={\"\": b}", "parameters Invalid", "Invalid value: \"\": field can not be empty."},
	};
	RUN(volumeattributesclass_base, rows);
}

static void volumeattributesclass_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "parameters={a: c}", "parameters Forbidden", "Forbidden: updates to parameters are forbidden."},
		{NULL, "driverName=c.d", "driverName Forbidden", "Forbidden: updates to driverName are forbidden."},
	};
	RUN_UPDATES(volumeattributesclass_base, "", rows);
}

static const char csistoragecapacity_base[] = "{apiVersion: storage.k8s.io/v1, kind: CSIStorageCapacity, metadata: {name: d, namespace: default}, storageClassName: s, capacity: 1Gi}";

static void csistoragecapacity_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"storageClassName=", "storageClassName Invalid"},
		{"storageClassName=A_", "storageClassName Invalid"},
		{"capacity=-1", "capacity Invalid", "Invalid value: \"-1\": must be greater than or equal to 0"},
		{"nodeTopology={matchLabels: {\"a b\": c}}", "nodeTopology.matchLabels Invalid"},
		{"maximumVolumeSize=-1", ""},
	};
	RUN(csistoragecapacity_base, rows);
}

static void csistoragecapacity_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "storageClassName=x", "storageClassName Invalid", "Invalid value: \"x\": field is immutable"},
		{NULL, "nodeTopology={}", "nodeTopology Invalid", "Invalid value: {}: field is immutable"},
		{NULL, "capacity=2Gi", ""},
	};
	RUN_UPDATES(csistoragecapacity_base, "", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pv_create),
		cmocka_unit_test(pv_update),
		cmocka_unit_test(pvc_create),
		cmocka_unit_test(pvc_update),
		cmocka_unit_test(pvc_update_status),
		cmocka_unit_test(storageclass_create),
		cmocka_unit_test(storageclass_update),
		cmocka_unit_test(csidriver_create),
		cmocka_unit_test(csidriver_update),
		cmocka_unit_test(csinode_create),
		cmocka_unit_test(csinode_update),
		cmocka_unit_test(volumeattachment_create),
		cmocka_unit_test(volumeattachment_update),
		cmocka_unit_test(volumeattributesclass_create),
		cmocka_unit_test(volumeattributesclass_update),
		cmocka_unit_test(csistoragecapacity_create),
		cmocka_unit_test(csistoragecapacity_update),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
