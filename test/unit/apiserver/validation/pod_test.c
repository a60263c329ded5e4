/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char pod[] = "{kind: Pod, apiVersion: v1, metadata: {name: p, namespace: ns}, spec: {containers: [{name: c, image: i}]}}";
#define C "spec.containers[0]."

static void containers(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.containers=[]", "spec.containers Required", "Required value"},
		{C "name=", C "name Required"},
		{C "name=A", C "name Invalid"},
		{C "image=", C "image Required"},
		{C "image=' i'", C "image Invalid", "Invalid value: \" i\": must not have leading or trailing whitespace"},
		{C "imagePullPolicy=Sometimes", C "imagePullPolicy NotSupported", "Unsupported value: \"Sometimes\": supported values: \"Always\", \"IfNotPresent\", \"Never\""},
		{C "terminationMessagePolicy=x", C "terminationMessagePolicy NotSupported"},
		{"spec.containers[1]={name: c, image: i}", "spec.containers[1].name Duplicate", "Duplicate value: \"c\""},
		{"spec.initContainers=[{name: c, image: i}]", "spec.initContainers[0].name Duplicate"},
		{C "ports=[{containerPort: 80, name: http}, {containerPort: 81, name: http}]", C "ports[1].name Duplicate"},
		{C "ports=[{containerPort: 0}]", C "ports[0].containerPort Required"},
		{C "ports=[{containerPort: 65536, hostPort: -1, protocol: ICMP, name: Long_Name_Too_Long}]",
		 C "ports[0].containerPort Invalid, " C "ports[0].hostPort Invalid, " C "ports[0].name Invalid, " C "ports[0].name Invalid, " C "ports[0].protocol NotSupported"},
		{C "ports=[{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80}]", C "ports[1].hostPort Duplicate", "Duplicate value: \"TCP//80\""},
		{C "ports=[{containerPort: 80, hostPort: 80}, {containerPort: 81, hostPort: 80, protocol: UDP}, {containerPort: 82, hostPort: 80, hostIP: 127.0.0.1}]", ""},
		{"spec.hostNetwork=true\n" C "ports=[{containerPort: 80, hostPort: 81}]", C "ports[0].hostPort Invalid"},
		{"spec.hostNetwork=true\n" C "ports=[{containerPort: 80}]", ""},
		{C "env=[{name: ''}, {name: 'a=b'}, {name: '1 odd'}]", C "env[0].name Required, " C "env[1].name Invalid"},
		{C "env=[{name: a, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", C "env[0].valueFrom Invalid"},
		{C "env=[{name: a, valueFrom: {}}]", C "env[0].valueFrom Invalid"},
		{C "env=[{name: a, valueFrom: {fieldRef: {fieldPath: status.phase}}}]", C "env[0].valueFrom.fieldRef.fieldPath NotSupported"},
		{C "env=[{name: a, valueFrom: {fieldRef: {fieldPath: spec.nothing}}}]", C "env[0].valueFrom.fieldRef.fieldPath Invalid"},
		{C "env=[{name: a, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['x/y']\"}}}]", ""},
		{C "env=[{name: a, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['x y']\"}}}]", C "env[0].valueFrom.fieldRef Invalid"},
		{C "env=[{name: a, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 2m}}}]", C "env[0].valueFrom.resourceFieldRef.divisor Invalid"},
		{C "env=[{name: a, valueFrom: {resourceFieldRef: {resource: limits.disk}}}]", C "env[0].valueFrom.resourceFieldRef.resource NotSupported"},
		{C "env=[{name: a, valueFrom: {secretKeyRef: {name: A, key: ''}}}]", C "env[0].valueFrom.secretKeyRef.key Required, " C "env[0].valueFrom.secretKeyRef.name Invalid"},
		{C "envFrom=[{}]", C "envFrom Invalid"},
		{C "envFrom=[{prefix: p_, configMapRef: {name: a}}, {secretRef: {name: ''}}]", C "envFrom[1].secretRef.name Required"},
		{C "restartPolicy=Never", ""},
		{C "restartPolicyRules=[{action: Restart, exitCodes: {operator: In, values: [1]}}]", C "restartPolicy Required"},
	};
	RUN(pod, rows);
}

static void probes(void **state) {
	static const struct validation_case rows[] = {
		{C "livenessProbe={httpGet: {path: /, port: 80}}", ""},
		{C "livenessProbe={}", C "livenessProbe Required", "Required value: must specify a handler type"},
		{C "livenessProbe={exec: {command: [a]}, tcpSocket: {port: 80}}", C "livenessProbe.tcpSocket Forbidden", "Forbidden: may not specify more than 1 handler type"},
		{C "livenessProbe={exec: {command: []}, periodSeconds: -1, successThreshold: 2}", C "livenessProbe.exec.command Required, " C "livenessProbe.periodSeconds Invalid, " C "livenessProbe.successThreshold Invalid"},
		{C "readinessProbe={exec: {command: [a]}, successThreshold: 2}", ""},
		{C "readinessProbe={exec: {command: [a]}, terminationGracePeriodSeconds: 1}", C "readinessProbe.terminationGracePeriodSeconds Invalid"},
		{C "startupProbe={tcpSocket: {port: no_such}, terminationGracePeriodSeconds: 0}", C "startupProbe.tcpSocket.port Invalid, " C "startupProbe.terminationGracePeriodSeconds Invalid"},
		{C "startupProbe={grpc: {port: 0}}", C "startupProbe.grpc.port Invalid"},
		{C "livenessProbe={httpGet: {port: 80, scheme: FTP, httpHeaders: [{name: 'a b', value: c}]}}", C "livenessProbe.httpGet.httpHeaders Invalid, " C "livenessProbe.httpGet.scheme NotSupported"},
		{C "lifecycle={preStop: {sleep: {seconds: 31}}}", C "lifecycle.preStop.sleep Invalid"},
		{C "lifecycle={preStop: {sleep: {seconds: 30}}, postStart: {}}", C "lifecycle.postStart Required"},
		{"spec.initContainers=[{name: x, image: i, livenessProbe: {tcpSocket: {port: 1}}}]", "spec.initContainers[0].livenessProbe Forbidden"},
		{"spec.initContainers=[{name: x, image: i, restartPolicy: Always, livenessProbe: {tcpSocket: {port: 1}}}]", ""},
	};
	RUN(pod, rows);
}

static void resources(void **state) {
	static const struct validation_case rows[] = {
		{C "resources={requests: {cpu: 1, memory: 1Gi}, limits: {cpu: 2}}", ""},
		{C "resources={requests: {cpu: 600m}, limits: {cpu: 500m}}", C "resources.requests Invalid", "Invalid value: \"600m\": must be less than or equal to cpu limit of 500m"},
		{C "resources={requests: {cpu: -1}}", C "resources.requests[cpu] Invalid", "Invalid value: \"-1\": must be greater than or equal to 0"},
		{C "resources={requests: {disk: 1}}", C "resources.requests[disk] Invalid, " C "resources.requests[disk] Invalid"},
		{C "resources={requests: {pods: 1}}", C "resources.requests[pods] Invalid", "Invalid value: \"pods\": must be a standard resource for containers"},
		{C "resources={limits: {example.com/gpu: 1}}", ""},
		{C "resources={limits: {example.com/gpu: 1500m}}", C "resources.limits[example.com/gpu] Invalid, " C "resources.requests[example.com/gpu] Invalid", "Invalid value: \"1500m\": must be an integer"},
		{C "resources={requests: {example.com/gpu: 1}}", C "resources.limits Required"},
		{C "resources={limits: {hugepages-2Mi: 4Mi}}", C "resources Forbidden", "Forbidden: HugePages require cpu or memory"},
		{C "resources={limits: {hugepages-2Mi: 3Mi, cpu: 1}}", C "resources.limits[hugepages-2Mi] Invalid, " C "resources.requests[hugepages-2Mi] Invalid"},
		{C "resources={claims: [{name: a}]}", C "resources.claims[0] NotFound", "Not found: \"a\": must be one of the names in pod.spec.resourceClaims which is empty"},
		{C "resources={claims: [{name: a}, {name: a}]}\nspec.resourceClaims=[{name: a, resourceClaimName: b}]", C "resources.claims[1] Duplicate"},
		{C "resources={claims: [{name: a, request: r1}, {name: a, request: r2}]}\nspec.resourceClaims=[{name: a, resourceClaimName: b}]", ""},
		{"spec.resourceClaims=[{name: a}]", "spec.resourceClaims[0] Invalid"},
		{"spec.resources={requests: {cpu: 1}}\n" C "resources={requests: {cpu: 2}}", "spec.resources.requests[cpu] Invalid", "Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2"},
		{"spec.resources={limits: {ephemeral-storage: 1}}", "spec.resources.limits[ephemeral-storage] NotSupported"},
		{"spec.overhead={cpu: -1}", "spec.overhead.limits[cpu] Invalid"},
		{C "resizePolicy=[{resourceName: cpu, restartPolicy: NotRequired}, {resourceName: cpu, restartPolicy: RestartContainer}]", C "resizePolicy[1] Duplicate"},
		{C "resizePolicy=[{resourceName: disk, restartPolicy: NotRequired}]", C "resizePolicy NotSupported"},
	};
	RUN(pod, rows);
}

static void volumes(void **state) {
	static const struct validation_case rows[] = {
		{"spec.volumes=[{name: v, emptyDir: {}}]\n" C "volumeMounts=[{name: v, mountPath: /v}]", ""},
		{"spec.volumes=[{name: v}]", ""},
		{"spec.volumes=[{name: v, emptyDir: {}}, {name: v, emptyDir: {}}]", "spec.volumes[1].name Duplicate"},
		{"spec.volumes=[{name: V, emptyDir: {}, hostPath: {path: /}}]", "spec.volumes[0].hostPath Forbidden, spec.volumes[0].name Invalid"},
		{"spec.volumes=[{name: v, hostPath: {path: /a/../b, type: Odd}}]", "spec.volumes[0].hostPath.path Invalid, spec.volumes[0].hostPath.type NotSupported"},
		{"spec.volumes=[{name: v, secret: {items: [{key: '', path: ../x, mode: 512}]}}]",
		 "spec.volumes[0].secret.items[0].key Required, spec.volumes[0].secret.items[0].mode Invalid, spec.volumes[0].secret.items[0].path Invalid, spec.volumes[0].secret.secretName Required",
		 "Required value"},
		{"spec.volumes=[{name: v, configMap: {name: a, defaultMode: 511}}]", ""},
		{"spec.volumes=[{name: v, configMap: {}}]", "spec.volumes[0].configMap.name Required"},
		{"spec.volumes=[{name: v, nfs: {server: s, path: rel}}]", "spec.volumes[0].nfs.path Invalid"},
		{"spec.volumes=[{name: v, csi: {driver: 'a b'}}]", "spec.volumes[0].csi.driver Invalid"},
		{"spec.volumes=[{name: v, csi: {driver: a, nodePublishSecretRef: {name: A_}}}]", "spec.volumes[0].csi.name Invalid"},
		{"spec.volumes=[{name: v, projected: {sources: [{serviceAccountToken: {path: /a}}]}}]", "spec.volumes[0].projected.path Invalid, spec.volumes[0].projected.sources[0].serviceAccountToken Forbidden"},
		{"spec.volumes=[{name: v, projected: {sources: [{downwardAPI: {items: [{path: a}]}}]}}]", "spec.volumes[0].projected.sources[0].downwardAPI Required"},
		{"spec.affinity={podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: k, namespaces: [A_]}]}}", "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].namespace Invalid"},
		{"spec.volumes=[{name: v, iscsi: {targetPortal: t, iqn: bad, lun: 256}}]", "spec.volumes[0].iscsi.iqn Invalid, spec.volumes[0].iscsi.lun Invalid"},
		{"spec.volumes=[{name: v, iscsi: {targetPortal: t, iqn: 'iqn.2001-04.com.example:storage.disk', lun: 1}}]", ""},
		{"spec.volumes=[{name: v, downwardAPI: {items: [{path: a}]}}]", "spec.volumes[0].downwardAPI Required"},
		{"spec.volumes=[{name: v, downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.labels}}, {path: b, resourceFieldRef: {resource: limits.cpu}}]}}]",
		 "spec.volumes[0].downwardAPI.resourceFieldRef.containerName Required"},
		{"spec.volumes=[{name: v, projected: {sources: [{secret: {name: a, items: [{key: k, path: p}]}}, {configMap: {name: b, items: [{key: k, path: p}]}}]}}]", "spec.volumes[0].projected Invalid",
		 "Invalid value: \"b\": conflicting duplicate paths"},
		{"spec.serviceAccountName=sa\nspec.volumes=[{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 10}}]}}]",
		 "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds Invalid"},
		{"spec.volumes=[{name: v, projected: {sources: [{serviceAccountToken: {path: t}}]}}]", "spec.volumes[0].projected.sources[0].serviceAccountToken Forbidden"},
		{"spec.volumes=[{name: v, ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}}}}}]", ""},
		{"spec.volumes=[{name: v, ephemeral: {volumeClaimTemplate: {metadata: {name: x}, spec: {}}}}]",
		 "spec.volumes[0].ephemeral.volumeClaimTemplate.metadata.name Forbidden, spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes Required, "
		 "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage] Required"},
		{"spec.volumes=[{name: v, image: {}}]", "spec.volumes[0].image.reference Required"},
		{C "volumeMounts=[{name: v, mountPath: /v}]", C "volumeMounts[0].name NotFound", "Not found: \"v\""},
		{"spec.volumes=[{name: v, emptyDir: {}}]\n" C "volumeMounts=[{name: v, mountPath: /v, subPath: /x}, {name: v, mountPath: /v, subPath: a, subPathExpr: b}]",
		 C "volumeMounts.subPath Invalid, " C "volumeMounts[1].mountPath Invalid, " C "volumeMounts[1].subPathExpr Invalid"},
		{"spec.volumes=[{name: v, emptyDir: {}}]\n" C "volumeMounts=[{name: v, mountPath: /v, mountPropagation: Bidirectional}]", C "volumeMounts.mountPropagation Forbidden"},
		{"spec.volumes=[{name: v, emptyDir: {}}]\n" C "volumeMounts=[{name: v, mountPath: /v, recursiveReadOnly: Enabled}]", C "volumeMounts.recursiveReadOnly Forbidden"},
		{"spec.volumes=[{name: v, emptyDir: {}}]\n" C "volumeDevices=[{name: v, devicePath: /dev/../x}]", C "volumeDevices[0].devicePath Invalid, " C "volumeDevices[0].name Invalid"},
		{"spec.volumes=[{name: v, persistentVolumeClaim: {claimName: a}}]\n" C "volumeDevices=[{name: v, devicePath: /dev/x}]", ""},
	};
	RUN(pod, rows);
}

static void spec(void **state) {
	static const struct validation_case rows[] = {
		{"spec.restartPolicy=Sometimes", "spec.restartPolicy NotSupported", "Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\""},
		{"spec.dnsPolicy=x", "spec.dnsPolicy NotSupported"},
		{"spec.dnsPolicy=None", "spec.dnsConfig Required"},
		{"spec.dnsPolicy=None\nspec.dnsConfig={nameservers: [1.2.3.4], searches: [a.b., .], options: [{name: ndots, value: '2'}]}", ""},
		{"spec.dnsConfig={nameservers: [a, b, c, d], options: [{}]}",
		 "spec.dnsConfig.nameservers Invalid, spec.dnsConfig.nameservers[0] Invalid, spec.dnsConfig.nameservers[1] Invalid, spec.dnsConfig.nameservers[2] Invalid, "
		 "spec.dnsConfig.nameservers[3] Invalid, spec.dnsConfig.options[0] Required"},
		{"spec.nodeSelector={a b: c}", "spec.nodeSelector Invalid"},
		{"spec.activeDeadlineSeconds=0", "spec.activeDeadlineSeconds Invalid", "Invalid value: 0: must be between 1 and 2147483647, inclusive"},
		{"spec.hostname=A.b\nspec.subdomain=x_y\nspec.nodeName=N_1\nspec.serviceAccountName=A", "spec.hostname Invalid, spec.nodeName Invalid, spec.serviceAccountName Invalid, spec.subdomain Invalid"},
		{"spec.tolerations=[{key: k, operator: Exists, value: v}, {operator: Equal}, {key: k, operator: Equal, value: v, effect: NoSchedule, tolerationSeconds: 5}]",
		 "spec.tolerations[0].operator Invalid, spec.tolerations[1].operator Invalid, spec.tolerations[2].effect Invalid"},
		{"spec.tolerations=[{operator: Exists}, {key: a/b, effect: NoExecute, tolerationSeconds: -1}]", ""},
		{"spec.tolerations=[{key: k, operator: Some, effect: Never}]", "spec.tolerations[0].effect NotSupported, spec.tolerations[0].operator NotSupported"},
		{"spec.hostAliases=[{ip: 1.2.3, hostnames: [a_b]}]", "spec.hostAliases[0].hostnames[0] Invalid, spec.hostAliases[0].ip Invalid"},
		{"spec.topologySpreadConstraints=[{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Never}]",
		 "spec.topologySpreadConstraints[0].maxSkew Invalid, spec.topologySpreadConstraints[0].topologyKey Required, spec.topologySpreadConstraints[0].whenUnsatisfiable NotSupported"},
		{"spec.topologySpreadConstraints=[{maxSkew: 1, topologyKey: z, whenUnsatisfiable: ScheduleAnyway, minDomains: 2}, {maxSkew: 2, topologyKey: z, whenUnsatisfiable: ScheduleAnyway}]",
		 "spec.topologySpreadConstraints[0].minDomains Invalid, spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable} Duplicate"},
		{"spec.affinity={nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}",
		 "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms Required"},
		{"spec.affinity={nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: In}, {key: b, operator: Odd}], matchFields: [{key: x, operator: Exists}]}]}}}",
		 "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].values Required, "
		 "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[1].operator Invalid, "
		 "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].key Invalid, "
		 "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchFields[0].operator Invalid"},
		{"spec.affinity={nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 101, preference: {}}]}}",
		 "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight Invalid"},
		{"spec.affinity={podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: '', labelSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}}]}}",
		 "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector.matchExpressions[0].values Forbidden, "
		 "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey Invalid, spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey Invalid, spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey Required"},
		{"spec.securityContext={runAsUser: -1, fsGroup: 2147483648, supplementalGroups: [1, -1], sysctls: [{name: kernel.shm_rmid_forced, value: '1'}, {name: foo-, value: b}]}",
		 "spec.securityContext.fsGroup Invalid, spec.securityContext.runAsUser Invalid, spec.securityContext.supplementalGroups[1] Invalid, spec.securityContext.sysctls[1].name Invalid"},
		{"spec.hostNetwork=true\nspec.securityContext={sysctls: [{name: net.core.somaxconn, value: '1'}]}", "spec.securityContext.sysctls[0].name Invalid"},
		{"spec.securityContext={seccompProfile: {type: Localhost}, appArmorProfile: {type: RuntimeDefault, localhostProfile: x}}",
		 "spec.securityContext.appArmorProfile.localhostProfile Invalid, spec.securityContext.seccompProfile.localhostProfile Required"},
		{C "securityContext={privileged: true, allowPrivilegeEscalation: false}", C "securityContext Invalid"},
		{C "securityContext={procMount: Unmasked}", C "securityContext.procMount Invalid"},
		{"spec.hostUsers=false\nspec.hostPID=true", "spec.HostPID Forbidden"},
		{C "resizePolicy=[{}]", C "resizePolicy Required, " C "resizePolicy Required"},
		{C "restartPolicy=\"\"", C "restartPolicy NotSupported"},
		{"spec.runtimeClassName=\"\"", "spec.runtimeClassName Invalid"},
		{"spec.hostAliases=[{ip: \"\"}]", "spec.hostAliases[0].ip Invalid"},
		{"spec.volumes=[{name: v, emptyDir: {}}]\n" C "volumeMounts=[{name: v, mountPath: /a, mountPropagation: Odd, recursiveReadOnly: Odd}]", C "volumeMounts.mountPropagation NotSupported, " C "volumeMounts.recursiveReadOnly NotSupported"},
		{C "livenessProbe={exec: {command: [a]}, httpGet: {port: 0}}", C "livenessProbe.httpGet Forbidden"},
		{C "resources={claims: [{}]}", C "resources.claims[0] Required"},
		{"spec.os={name: plan9}", "spec.os NotSupported"},
		{"spec.os={name: windows}\nspec.securityContext={runAsUser: 1}\n" C "securityContext={privileged: true}", C "securityContext.privileged Forbidden, spec.securityContext.runAsUser Forbidden"},
		{"spec.os={name: linux}\n" C "securityContext={windowsOptions: {runAsUserName: a}}", C "securityContext.windowsOptions Forbidden"},
		{C "securityContext={windowsOptions: {runAsUserName: ''}}", C "securityContext.windowsOptions.runAsUserName Invalid"},
		{C "securityContext={windowsOptions: {runAsUserName: 'a\\b\\c'}}", C "securityContext.windowsOptions.runAsUserName Invalid"},
		{"spec.schedulingGates=[{name: a}, {name: a}]\nspec.nodeName=n1", "spec.nodeName Forbidden, spec.schedulingGates[1] Duplicate"},
		{"spec.readinessGates=[{conditionType: 'a b'}]", "spec.readinessGates[0].conditionType Invalid"},
		{"spec.ephemeralContainers=[{name: e, image: i}]", "spec.ephemeralContainers Forbidden", "Forbidden: cannot be set on create"},
		{"spec.hostnameOverride=a\nspec.hostNetwork=true", "spec.hostnameOverride Forbidden"},
		{"spec.priorityClassName=A\nspec.runtimeClassName=B", "spec.priorityClassName Invalid, spec.runtimeClassName Invalid"},
		{"metadata.annotations={kubernetes.io/config.mirror: x}", "metadata.annotations[kubernetes.io/config.mirror] Invalid"},
		{"metadata.annotations={controller.kubernetes.io/pod-deletion-cost: x}", "metadata.annotations[controller.kubernetes.io/pod-deletion-cost] Invalid"},
		{"metadata.annotations={container.apparmor.security.beta.kubernetes.io/none: unconfined}", "metadata.annotations[container.apparmor.security.beta.kubernetes.io/none] Invalid"},
	};
	RUN(pod, rows);
}

static void updates(void **state) {
	static const struct update_case rows[] = {
		{NULL, C "image=j", ""},
		{NULL, C "image=", "spec Forbidden, " C "image Required, " C "image Required"},
		{NULL, C "command=[x]", "spec Forbidden"},
		{NULL, "spec.containers[1]={name: d, image: i}", "spec.containers Forbidden", "Forbidden: pod updates may not add or remove containers"},
		{NULL, "metadata.labels={a: b}", ""},
		{NULL, "spec.activeDeadlineSeconds=5", ""},
		{"spec.activeDeadlineSeconds=5", "spec.activeDeadlineSeconds=6", "spec.activeDeadlineSeconds Invalid", "Invalid value: 6: must be less than or equal to previous value"},
		{"spec.activeDeadlineSeconds=5", NULL, "spec.activeDeadlineSeconds Invalid", "Invalid value: null: must not update from a positive integer to nil value"},
		{NULL, "spec.tolerations=[{key: a, operator: Exists}]", ""},
		{"spec.tolerations=[{key: a, operator: Exists}]", "spec.tolerations=[{key: b, operator: Exists}]", "spec.tolerations Forbidden"},
		{"spec.tolerations=[{key: a, operator: Exists, effect: NoExecute}]", "spec.tolerations=[{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]", ""},
		{"spec.schedulingGates=[{name: a}]", NULL, ""},
		{NULL, "spec.schedulingGates=[{name: a}]", "spec.schedulingGates[0].name Forbidden"},
		{"spec.schedulingGates=[{name: a}]\nspec.nodeSelector={a: b}", "spec.schedulingGates=[{name: a}]\nspec.nodeSelector={a: b, c: d}", ""},
		{"spec.schedulingGates=[{name: a}]\nspec.nodeSelector={a: b}", "spec.schedulingGates=[{name: a}]", "spec.nodeSelector Invalid"},
		{NULL, "spec.nodeSelector={a: b}", "spec Forbidden"},
		/* What is stored stays usable, whatever it is. */
		{"spec.hostname=A_b", "spec.hostname=A_b\nmetadata.labels={a: b}", ""},
		{"metadata.annotations={container.apparmor.security.beta.kubernetes.io/c: unconfined}", NULL, "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c] Forbidden"},
	};
	RUN_UPDATES(pod, "", rows);
}

static void subresources(void **state) {
	static const struct update_case resize[] = {
		{C "resources={requests: {cpu: 1}}", C "resources={requests: {cpu: 2}}", ""},
		{C "resources={requests: {cpu: 1}}", C "resources={}", "spec Invalid, " C "resources.requests Forbidden"},
		{C "resources={requests: {cpu: 1}}", C "resources={requests: {cpu: 1, ephemeral-storage: 1}}", "spec Forbidden"},
		{C "resources={requests: {cpu: 1}}", C "resources={requests: {cpu: 2}}\n" C "image=j", "spec Forbidden"},
		{C "resources={requests: {cpu: 1}}", C "resources={requests: {cpu: 1}}\nspec.containers[1]={name: d, image: i}", "spec.containers Forbidden"},
	};
	RUN_UPDATES(pod, "resize", resize);
	static const struct update_case ephemeral[] = {
		{NULL, "spec.ephemeralContainers=[{name: e, image: i}]", ""},
		{NULL, "spec.ephemeralContainers=[{name: c, image: i}]", "spec.ephemeralContainers[0].name Duplicate"},
		{NULL, "spec.ephemeralContainers=[{name: e, image: i, targetContainerName: x}]", "spec.ephemeralContainers[0].targetContainerName NotFound"},
		{NULL, "spec.ephemeralContainers=[{name: e, image: i, ports: [{containerPort: 1}], livenessProbe: {tcpSocket: {port: 1}}}]",
		 "spec.ephemeralContainers[0].livenessProbe Forbidden, spec.ephemeralContainers[0].ports Forbidden"},
		{"spec.ephemeralContainers=[{name: e, image: i}]", NULL, "spec.ephemeralContainers Forbidden"},
		{"spec.ephemeralContainers=[{name: e, image: i}]", "spec.ephemeralContainers=[{name: e, image: j}]", "spec.ephemeralContainers Forbidden"},
	};
	RUN_UPDATES(pod, "ephemeralcontainers", ephemeral);
	static const struct update_case status[] = {
		{NULL, "status={phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}], conditions: [{type: example.com/x, status: 'True'}]}", ""},
		{NULL, "status={podIPs: [{ip: x}, {ip: 10.0.0.1}], conditions: [{type: 'a b', status: 'True'}]}", "status.conditions[0].Type Invalid, status.podIPs InternalError, status.podIPs Invalid, status.podIPs[0] Invalid"},
		{"status={qosClass: BestEffort}", "status={qosClass: Guaranteed}", "status.qosClass Invalid"},
		{"spec.restartPolicy=Never\nstatus={containerStatuses: [{name: c, image: i, imageID: '', ready: false, restartCount: 0, state: {terminated: {exitCode: 0}}}]}",
		 "spec.restartPolicy=Never\nstatus={containerStatuses: [{name: c, image: i, imageID: '', ready: false, restartCount: 0, state: {running: {}}}]}", "status.containerStatuses[0].state Forbidden"},
		{NULL, "status={nominatedNodeName: A}", "status.nominatedNodeName Invalid"},
		{NULL, "status={hostIP: 1.2.3.4, hostIPs: [{ip: 1.2.3.5}]}", "status.hostIPs[0].ip Invalid"},
	};
	RUN_UPDATES(pod, "status", status);
}

/* Sizes, numbers and texts that no client means well with: refused or not, but in bounded time. */
static void hostile(void **state) {
	autobuf struct buf yaml = BUF_INIT(32u << 20);
	buf_append_str(&yaml, "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[");
	for (int i = 0; i < 20000; i++)
		buf_printf(&yaml, "%s{\"name\":\"c%d\",\"image\":\"i\",\"ports\":[{\"containerPort\":%d,\"name\":\"p\"}],\"volumeMounts\":[{\"name\":\"v\",\"mountPath\":\"/%d\"}]}", i ? "," : "", i % 10000, i + 1, i);
	buf_append_str(&yaml, "],\"activeDeadlineSeconds\":-9223372036854775808}}");
	void *object = NULL;
	assert_int_equal(api_decode_json_any(yaml.data, yaml.len, NULL, &object, NULL), 0);
	api_default(object);
	autoerror struct error err = {0};
	validate_object(object, NULL, "", &err);
	assert_int_equal(err.cause_count, ERROR_MAX_CAUSES);
	api_unref(object);
	static const struct validation_case rows[] = {
		{"spec.terminationGracePeriodSeconds=-1", ""},
		{"spec.priority=-2147483648", ""},
		{C "resources={requests: {cpu: 9223372036854775807, memory: 1e30}}", ""},
		{"spec.hostname=''\nspec.nodeName=''\nspec.tolerations=[{}]", "spec.tolerations[0].operator Invalid"},
		{"metadata.annotations={kubernetes.io/config.mirror: ''}", "metadata.annotations[kubernetes.io/config.mirror] Invalid"},
		{"spec.volumes=[{name: '', projected: {sources: [{}]}}]", "spec.volumes[0].name Required"},
	};
	RUN(pod, rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(containers), cmocka_unit_test(probes), cmocka_unit_test(resources), cmocka_unit_test(volumes), cmocka_unit_test(spec), cmocka_unit_test(updates),
		cmocka_unit_test(subresources), cmocka_unit_test(hostile),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
