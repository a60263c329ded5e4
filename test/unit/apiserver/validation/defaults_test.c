/* SPDX-License-Identifier: Apache-2.0 */
/* What is filled in where nothing was said: an object, and "path=JSON" for what it then has, a line each; nothing after = means it has none. */
#include "test/unit/apiserver/validation/cases.h"

struct default_case {
	const char *object, *expect;
};

static json_t *value_at(json_t *tree, char *path) {
	for (char *p = path; tree && *p;) {
		size_t len = strcspn(p, ".[]");
		char *start = p;
		if (*p == '{') {
			start = p + 1;
			len = strcspn(start, "}");
		}
		char *end = start + len, *next = end;
		while (*next == '.' || *next == '[' || *next == ']' || *next == '}')
			next++;
		*end = 0;
		tree = json_is_array(tree) ? json_array_get(tree, (size_t)atoi(start)) : json_object_get(tree, start);
		p = next;
	}
	return tree;
}

static void run_defaults(const struct default_case *rows, size_t count) {
	for (size_t i = 0; i < count; i++) {
		autounref void *object = case_object(rows[i].object, NULL);
		json_t *tree = api_to_json(api_type_of(object), object);
		autofree char *lines = xstrdup(rows[i].expect);
		char *save = NULL;
		for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
			char *equals = strchr(line, '=');
			assert_non_null(equals);
			*equals = 0;
			autofree char *path = xstrdup(line);
			json_t *got = value_at(tree, path), *want = equals[1] ? json_loads(equals + 1, JSON_DECODE_ANY, NULL) : NULL;
			autofree char *text = got ? json_dumps(got, JSON_ENCODE_ANY | JSON_COMPACT) : xstrdup("(nothing)");
			if ((!got != !want) || (got && !json_equal(got, want)))
				fail_msg("%s\n%s: expected %s, got %s", rows[i].object, line, equals[1] ? equals + 1 : "(nothing)", text);
			json_decref(want);
		}
		json_decref(tree);
	}
}

#define POD(spec) "{kind: Pod, apiVersion: v1, metadata: {name: p}, spec: {containers: [{name: c, image: i}], " spec "}}"
#define VOLUME(volume) POD("volumes: [{name: v, " volume "}]")
#define C "spec.containers[0]."
#define V "spec.volumes[0]."

static void pods(void **state) {
	static const struct default_case rows[] = {
		{POD(""), "spec.dnsPolicy=\"ClusterFirst\"\nspec.restartPolicy=\"Always\"\nspec.securityContext={}\nspec.terminationGracePeriodSeconds=30\nspec.schedulerName=\"default-scheduler\"\nspec.enableServiceLinks=true"},
		{POD("terminationGracePeriodSeconds: 0"), "spec.terminationGracePeriodSeconds=0"},
		{POD(""), C "imagePullPolicy=\"Always\"\n" C "terminationMessagePath=\"/dev/termination-log\"\n" C "terminationMessagePolicy=\"File\"\n" C "resources={}"},
		{"{kind: Pod, apiVersion: v1, spec: {containers: [{image: 'a:1'}, {image: 'a:latest'}, {image: 'a@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'}, {image: 'h:5000/a'}, {image: 'A B'}]}}",
		 "spec.containers[0].imagePullPolicy=\"IfNotPresent\"\nspec.containers[1].imagePullPolicy=\"Always\"\nspec.containers[2].imagePullPolicy=\"IfNotPresent\"\nspec.containers[3].imagePullPolicy=\"Always\"\nspec.containers[4].imagePullPolicy=\"IfNotPresent\""},
		{POD("ephemeralContainers: [{name: e, image: 'i:1'}]"), "spec.ephemeralContainers[0].imagePullPolicy=\"IfNotPresent\"\nspec.ephemeralContainers[0].terminationMessagePath=\"/dev/termination-log\"\nspec.ephemeralContainers[0].terminationMessagePolicy=\"File\""},
		{"{kind: Pod, apiVersion: v1, spec: {containers: [{resources: {limits: {cpu: 1, memory: 2Gi}, requests: {cpu: 500m}}}], initContainers: [{resources: {limits: {memory: 1Gi}}}]}}",
		 C "resources.requests={\"cpu\": \"500m\", \"memory\": \"2Gi\"}\nspec.initContainers[0].resources.requests={\"memory\": \"1Gi\"}"},
		{"{kind: Pod, apiVersion: v1, spec: {resources: {limits: {cpu: 2, memory: 1Gi}}, containers: [{resources: {requests: {cpu: 1}}}, {resources: {requests: {cpu: 500m}}}]}}", "spec.resources.requests={\"cpu\": \"1500m\", \"memory\": \"1Gi\"}"},
		{"{kind: Pod, apiVersion: v1, spec: {containers: [{resources: {requests: {memory: 1.0001m}}}]}}", C "resources.requests.memory=\"2m\""},
		{"{kind: Pod, apiVersion: v1, spec: {hostNetwork: true, containers: [{ports: [{containerPort: 80}]}], initContainers: [{ports: [{containerPort: 81}]}]}}",
		 C "ports[0].hostPort=80\n" C "ports[0].protocol=\"TCP\"\nspec.initContainers[0].ports[0].hostPort=81"},
		{"{kind: Pod, apiVersion: v1, spec: {containers: [{livenessProbe: {httpGet: {port: 80}}, readinessProbe: {grpc: {port: 1}}, startupProbe: {periodSeconds: 5, timeoutSeconds: 6, failureThreshold: 7, successThreshold: 1}}]}}",
		 C "livenessProbe={\"httpGet\": {\"path\": \"/\", \"port\": 80, \"scheme\": \"HTTP\"}, \"timeoutSeconds\": 1, \"periodSeconds\": 10, \"successThreshold\": 1, \"failureThreshold\": 3}\n" C "readinessProbe.grpc={\"port\": 1, \"service\": \"\"}\n" C
		   "startupProbe={\"periodSeconds\": 5, \"timeoutSeconds\": 6, \"failureThreshold\": 7, \"successThreshold\": 1}"},
		{"{kind: Pod, apiVersion: v1, spec: {containers: [{lifecycle: {preStop: {httpGet: {port: 80}}}, env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: b, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]}]}}",
		 C "lifecycle.preStop.httpGet={\"path\": \"/\", \"port\": 80, \"scheme\": \"HTTP\"}\n" C "env[0].valueFrom.fieldRef.apiVersion=\"v1\""},
		{VOLUME(""), V "emptyDir={}"},
		{VOLUME("image: {reference: 'a'}"), V "image.pullPolicy=\"Always\""},
		{VOLUME("image: {reference: 'a:1'}"), V "image.pullPolicy=\"IfNotPresent\""},
		{VOLUME("secret: {secretName: s}"), V "secret.defaultMode=420"},
		{VOLUME("configMap: {name: s}"), V "configMap.defaultMode=420"},
		{VOLUME("downwardAPI: {items: [{path: a, fieldRef: {fieldPath: metadata.name}}]}"), V "downwardAPI.defaultMode=420\n" V "downwardAPI.items[0].fieldRef.apiVersion=\"v1\""},
		{VOLUME("projected: {sources: [{serviceAccountToken: {path: p}}]}"), V "projected.defaultMode=420\n" V "projected.sources[0].serviceAccountToken.expirationSeconds=3600"},
		{VOLUME("hostPath: {path: /}"), V "hostPath.type=\"\""},
		{VOLUME("iscsi: {targetPortal: t, iqn: q, lun: 1}"), V "iscsi.iscsiInterface=\"default\""},
		{VOLUME("rbd: {monitors: [a], image: i}"), V "rbd.pool=\"rbd\"\n" V "rbd.user=\"admin\"\n" V "rbd.keyring=\"/etc/ceph/keyring\""},
		{VOLUME("azureDisk: {diskName: d, diskURI: u}"), V "azureDisk.cachingMode=\"ReadWrite\"\n" V "azureDisk.fsType=\"ext4\"\n" V "azureDisk.readOnly=false\n" V "azureDisk.kind=\"Shared\""},
		{VOLUME("scaleIO: {gateway: g, system: s}"), V "scaleIO.storageMode=\"ThinProvisioned\"\n" V "scaleIO.fsType=\"xfs\""},
		{VOLUME("ephemeral: {volumeClaimTemplate: {spec: {}}}"), V "ephemeral.volumeClaimTemplate.spec.volumeMode=\"Filesystem\""},
	};
	run_defaults(rows, array_len(rows));
}

static void services(void **state) {
#define SERVICE(spec) "{kind: Service, apiVersion: v1, spec: {" spec "}}"
	static const struct default_case rows[] = {
		{SERVICE("ports: [{port: 80}]"), "spec.sessionAffinity=\"None\"\nspec.type=\"ClusterIP\"\nspec.ports[0]={\"protocol\": \"TCP\", \"port\": 80, \"targetPort\": 80}\nspec.internalTrafficPolicy=\"Cluster\"\nspec.externalTrafficPolicy=\nspec.allocateLoadBalancerNodePorts="},
		{SERVICE("sessionAffinity: ClientIP"), "spec.sessionAffinityConfig.clientIP.timeoutSeconds=10800"},
		{SERVICE("sessionAffinity: None, sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}"), "spec.sessionAffinityConfig="},
		{SERVICE("sessionAffinityConfig: {clientIP: {timeoutSeconds: 5}}"), "spec.sessionAffinityConfig=\nspec.sessionAffinity=\"None\""},
		{SERVICE("type: NodePort"), "spec.externalTrafficPolicy=\"Cluster\"\nspec.internalTrafficPolicy=\"Cluster\"\nspec.allocateLoadBalancerNodePorts="},
		{SERVICE("externalIPs: [1.2.3.4]"), "spec.externalTrafficPolicy=\"Cluster\""},
		{SERVICE("type: LoadBalancer"), "spec.externalTrafficPolicy=\"Cluster\"\nspec.allocateLoadBalancerNodePorts=true"},
		{SERVICE("type: ExternalName, externalName: a.b"), "spec.internalTrafficPolicy=\nspec.externalTrafficPolicy="},
		{"{kind: Service, apiVersion: v1, spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{ip: 1.2.3.4}, {hostname: a}]}}}", "status.loadBalancer.ingress[0].ipMode=\"VIP\"\nstatus.loadBalancer.ingress[1].ipMode="},
		{"{kind: Endpoints, apiVersion: v1, subsets: [{ports: [{port: 80}]}]}", "subsets[0].ports[0].protocol=\"TCP\""},
		{"{kind: EndpointSlice, apiVersion: discovery.k8s.io/v1, ports: [{port: 80}]}", "ports[0].name=\"\"\nports[0].protocol=\"TCP\""},
		{"{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, spec: {podSelector: {}, ingress: [{ports: [{port: 80}]}]}}", "spec.policyTypes=[\"Ingress\"]\nspec.ingress[0].ports[0].protocol=\"TCP\""},
		{"{kind: NetworkPolicy, apiVersion: networking.k8s.io/v1, spec: {podSelector: {}, egress: [{}]}}", "spec.policyTypes=[\"Ingress\", \"Egress\"]"},
		{"{kind: IngressClass, apiVersion: networking.k8s.io/v1, spec: {parameters: {kind: k, name: a}}}", "spec.parameters.scope=\"Cluster\""},
	};
	run_defaults(rows, array_len(rows));
}

static void workloads(void **state) {
#define APPS(kind, spec) "{kind: " kind ", apiVersion: apps/v1, spec: {" spec "}}"
#define JOB(spec) "{kind: Job, apiVersion: batch/v1, spec: {" spec "}}"
	static const struct default_case rows[] = {
		{APPS("Deployment", ""), "spec.replicas=1\nspec.strategy={\"type\": \"RollingUpdate\", \"rollingUpdate\": {\"maxUnavailable\": \"25%\", \"maxSurge\": \"25%\"}}\nspec.revisionHistoryLimit=10\nspec.progressDeadlineSeconds=600"},
		{APPS("Deployment", "strategy: {type: Recreate}"), "spec.strategy={\"type\": \"Recreate\"}"},
		{APPS("Deployment", "strategy: {rollingUpdate: {maxSurge: 2}}, template: {spec: {containers: [{resources: {limits: {cpu: 1}}}]}}"), "spec.strategy.rollingUpdate={\"maxUnavailable\": \"25%\", \"maxSurge\": 2}\nspec.template.spec.containers[0].resources={\"limits\": {\"cpu\": \"1\"}}\nspec.template.spec.enableServiceLinks="},
		{APPS("DaemonSet", ""), "spec.updateStrategy={\"type\": \"RollingUpdate\", \"rollingUpdate\": {\"maxUnavailable\": 1, \"maxSurge\": 0}}\nspec.revisionHistoryLimit=10"},
		{APPS("DaemonSet", "updateStrategy: {type: OnDelete}"), "spec.updateStrategy={\"type\": \"OnDelete\"}"},
		{APPS("StatefulSet", ""), "spec.podManagementPolicy=\"OrderedReady\"\nspec.updateStrategy.type=\"RollingUpdate\"\nspec.updateStrategy.rollingUpdate.partition=0\nspec.persistentVolumeClaimRetentionPolicy={\"whenDeleted\": \"Retain\", \"whenScaled\": \"Retain\"}\nspec.replicas=1\nspec.revisionHistoryLimit=10"},
		{APPS("StatefulSet", "updateStrategy: {type: OnDelete}, persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}"), "spec.updateStrategy={\"type\": \"OnDelete\"}\nspec.persistentVolumeClaimRetentionPolicy={\"whenDeleted\": \"Delete\", \"whenScaled\": \"Retain\"}"},
		{APPS("ReplicaSet", ""), "spec.replicas=1"},
		{APPS("ReplicaSet", "replicas: 0"), "spec.replicas=0"},
		{"{kind: ReplicationController, apiVersion: v1, spec: {template: {metadata: {labels: {a: b}}}}}", "spec.selector={\"a\": \"b\"}\nmetadata.labels={\"a\": \"b\"}\nspec.replicas=1"},
		{"{kind: ReplicationController, apiVersion: v1, metadata: {labels: {c: d}}, spec: {selector: {e: f}, template: {metadata: {labels: {a: b}}}}}", "spec.selector={\"e\": \"f\"}\nmetadata.labels={\"c\": \"d\"}"},
		{JOB("template: {metadata: {labels: {a: b}}}"), "spec.completions=1\nspec.parallelism=1\nspec.backoffLimit=6\nmetadata.labels={\"a\": \"b\"}\nspec.completionMode=\"NonIndexed\"\nspec.suspend=false\nspec.podReplacementPolicy=\"TerminatingOrFailed\"\nspec.manualSelector=false"},
		{JOB("parallelism: 3"), "spec.completions=\nspec.parallelism=3"},
		{JOB("completions: 3"), "spec.completions=3\nspec.parallelism=1"},
		{JOB("completionMode: Indexed, completions: 2, backoffLimitPerIndex: 1"), "spec.backoffLimit=2147483647"},
		{JOB("podFailurePolicy: {rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]}"), "spec.podReplacementPolicy=\"Failed\"\nspec.podFailurePolicy.rules[0].onPodConditions[0].status=\"True\""},
		{APPS("StatefulSet", "volumeClaimTemplates: [{metadata: {name: v}}]"), "spec.volumeClaimTemplates[0].kind=\"PersistentVolumeClaim\"\nspec.volumeClaimTemplates[0].apiVersion=\"v1\""},
		{"{kind: CronJob, apiVersion: batch/v1, spec: {schedule: '@daily'}}", "spec.concurrencyPolicy=\"Allow\"\nspec.suspend=false\nspec.successfulJobsHistoryLimit=3\nspec.failedJobsHistoryLimit=1"},
	};
	run_defaults(rows, array_len(rows));
}

static void core(void **state) {
	static const struct default_case rows[] = {
		{"{kind: Secret, apiVersion: v1}", "type=\"Opaque\""},
		{"{kind: PersistentVolume, apiVersion: v1, spec: {iscsi: {targetPortal: t, iqn: q, lun: 1}}}", "status.phase=\"Pending\"\nspec.persistentVolumeReclaimPolicy=\"Retain\"\nspec.volumeMode=\"Filesystem\"\nspec.iscsi.iscsiInterface=\"default\""},
		{"{kind: PersistentVolume, apiVersion: v1, spec: {rbd: {monitors: [a], image: i}}}", "spec.rbd.pool=\"rbd\"\nspec.rbd.user=\"admin\"\nspec.rbd.keyring=\"/etc/ceph/keyring\""},
		{"{kind: PersistentVolume, apiVersion: v1, spec: {scaleIO: {gateway: g, system: s}}}", "spec.scaleIO.storageMode=\"ThinProvisioned\"\nspec.scaleIO.fsType=\"xfs\""},
		{"{kind: PersistentVolumeClaim, apiVersion: v1}", "status.phase=\"Pending\"\nspec.volumeMode=\"Filesystem\""},
		{"{kind: Namespace, apiVersion: v1, metadata: {name: x, labels: {kubernetes.io/metadata.name: z}}}", "metadata.labels.{kubernetes.io/metadata.name}=\"x\"\nstatus.phase=\"Active\""},
		{"{kind: Node, apiVersion: v1, status: {capacity: {cpu: 2}}}", "status.allocatable={\"cpu\": \"2\"}"},
		{"{kind: LimitRange, apiVersion: v1, spec: {limits: [{type: Container, max: {cpu: 2}, min: {cpu: 1, memory: 1Gi}}, {type: Pod, max: {cpu: 2}}]}}",
		 "spec.limits[0].default={\"cpu\": \"2\"}\nspec.limits[0].defaultRequest={\"cpu\": \"2\", \"memory\": \"1Gi\"}\nspec.limits[1].default=\nspec.limits[1].defaultRequest="},
		{"{kind: HorizontalPodAutoscaler, apiVersion: autoscaling/v2, spec: {maxReplicas: 3, scaleTargetRef: {kind: a, name: b}}}",
		 "spec.minReplicas=1\nspec.metrics=[{\"type\": \"Resource\", \"resource\": {\"name\": \"cpu\", \"target\": {\"type\": \"Utilization\", \"averageUtilization\": 80}}}]\nspec.behavior="},
		{"{kind: HorizontalPodAutoscaler, apiVersion: autoscaling/v2, spec: {maxReplicas: 3, scaleTargetRef: {kind: a, name: b}, behavior: {}}}",
		 "spec.behavior.scaleUp={\"stabilizationWindowSeconds\": 0, \"selectPolicy\": \"Max\", \"policies\": [{\"type\": \"Pods\", \"value\": 4, \"periodSeconds\": 15}, {\"type\": \"Percent\", \"value\": 100, \"periodSeconds\": 15}]}\n"
		 "spec.behavior.scaleDown={\"selectPolicy\": \"Max\", \"policies\": [{\"type\": \"Percent\", \"value\": 100, \"periodSeconds\": 15}]}"},
		{"{kind: HorizontalPodAutoscaler, apiVersion: autoscaling/v1, spec: {maxReplicas: 3, scaleTargetRef: {kind: a, name: b}}}", "spec.minReplicas=1"},
		{"{kind: TokenRequest, apiVersion: authentication.k8s.io/v1, spec: {audiences: [a]}}", "spec.expirationSeconds=3600"},
		{"{kind: PriorityClass, apiVersion: scheduling.k8s.io/v1, value: 1}", "preemptionPolicy=\"PreemptLowerPriority\""},
		{"{kind: StorageClass, apiVersion: storage.k8s.io/v1, provisioner: p}", "reclaimPolicy=\"Delete\"\nvolumeBindingMode=\"Immediate\""},
		{"{kind: CSIDriver, apiVersion: storage.k8s.io/v1, spec: {}}",
		 "spec.attachRequired=true\nspec.podInfoOnMount=false\nspec.storageCapacity=false\nspec.fsGroupPolicy=\"ReadWriteOnceWithFSType\"\nspec.volumeLifecycleModes=[\"Persistent\"]\nspec.requiresRepublish=false\nspec.seLinuxMount=false"},
		{"{kind: ClusterRoleBinding, apiVersion: rbac.authorization.k8s.io/v1, roleRef: {kind: a, name: b}, subjects: [{kind: ServiceAccount, name: a}, {kind: User, name: u}, {kind: Group, name: g}]}",
		 "roleRef.apiGroup=\"rbac.authorization.k8s.io\"\nsubjects[0].apiGroup=\nsubjects[1].apiGroup=\"rbac.authorization.k8s.io\"\nsubjects[2].apiGroup=\"rbac.authorization.k8s.io\""},
		{"{kind: RoleBinding, apiVersion: rbac.authorization.k8s.io/v1, roleRef: {kind: a, name: b}}", "roleRef.apiGroup=\"rbac.authorization.k8s.io\""},
	};
	run_defaults(rows, array_len(rows));
}

static void extensions(void **state) {
#define HOOK "webhooks: [{name: a.b.c, clientConfig: {service: {name: s, namespace: x}}, rules: [{operations: [CREATE], apiGroups: [''], apiVersions: [v1], resources: [pods]}]}]"
#define HOOK_DEFAULTS "webhooks[0].failurePolicy=\"Fail\"\nwebhooks[0].matchPolicy=\"Equivalent\"\nwebhooks[0].namespaceSelector={}\nwebhooks[0].objectSelector={}\nwebhooks[0].timeoutSeconds=10\nwebhooks[0].rules[0].scope=\"*\"\nwebhooks[0].clientConfig.service.port=443"
	static const struct default_case rows[] = {
		{"{kind: ValidatingWebhookConfiguration, apiVersion: admissionregistration.k8s.io/v1, " HOOK "}", HOOK_DEFAULTS},
		{"{kind: MutatingWebhookConfiguration, apiVersion: admissionregistration.k8s.io/v1, " HOOK "}", HOOK_DEFAULTS "\nwebhooks[0].reinvocationPolicy=\"Never\""},
		{"{kind: ValidatingAdmissionPolicy, apiVersion: admissionregistration.k8s.io/v1, spec: {matchConstraints: {resourceRules: [{operations: [CREATE]}]}}}",
		 "spec.failurePolicy=\"Fail\"\nspec.matchConstraints.matchPolicy=\"Equivalent\"\nspec.matchConstraints.namespaceSelector={}\nspec.matchConstraints.objectSelector={}\nspec.matchConstraints.resourceRules[0].scope=\"*\""},
		{"{kind: MutatingAdmissionPolicy, apiVersion: admissionregistration.k8s.io/v1, spec: {}}", "spec.failurePolicy=\"Fail\""},
		{"{kind: APIService, apiVersion: apiregistration.k8s.io/v1, spec: {service: {name: a, namespace: b}}}", "spec.service.port=443"},
		{"{kind: CustomResourceDefinition, apiVersion: apiextensions.k8s.io/v1, spec: {names: {kind: Thing}, versions: [{name: v1, storage: true}, {name: v2}]}}",
		 "spec.names.singular=\"thing\"\nspec.names.listKind=\"ThingList\"\nspec.conversion={\"strategy\": \"None\"}\nstatus.storedVersions=[\"v1\"]"},
		{"{kind: CustomResourceDefinition, apiVersion: apiextensions.k8s.io/v1, spec: {conversion: {strategy: Webhook, webhook: {clientConfig: {service: {name: a, namespace: b}}}}}}", "spec.conversion.webhook.clientConfig.service.port=443"},
		{"{kind: FlowSchema, apiVersion: flowcontrol.apiserver.k8s.io/v1, spec: {}}", "spec.matchingPrecedence=1000"},
		{"{kind: PriorityLevelConfiguration, apiVersion: flowcontrol.apiserver.k8s.io/v1, spec: {type: Limited, limited: {limitResponse: {type: Queue, queuing: {}}}}}",
		 "spec.limited.nominalConcurrencyShares=30\nspec.limited.lendablePercent=0\nspec.limited.limitResponse.queuing={\"queues\": 64, \"handSize\": 8, \"queueLengthLimit\": 50}"},
		{"{kind: PriorityLevelConfiguration, apiVersion: flowcontrol.apiserver.k8s.io/v1, spec: {type: Exempt, exempt: {}}}", "spec.exempt={\"nominalConcurrencyShares\": 0, \"lendablePercent\": 0}"},
		{"{kind: ResourceClaim, apiVersion: resource.k8s.io/v1, spec: {devices: {requests: [{name: a, exactly: {deviceClassName: b, tolerations: [{key: k}]}}, {name: b, exactly: {allocationMode: All}}, {name: c, firstAvailable: [{name: d}]}]}}}",
		 "spec.devices.requests[0].exactly.allocationMode=\"ExactCount\"\nspec.devices.requests[0].exactly.count=1\nspec.devices.requests[0].exactly.tolerations[0].operator=\"Equal\"\nspec.devices.requests[1].exactly.count=\nspec.devices.requests[2].firstAvailable[0].allocationMode=\"ExactCount\"\nspec.devices.requests[2].firstAvailable[0].count=1"},
	};
	run_defaults(rows, array_len(rows));
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pods),
		cmocka_unit_test(services),
		cmocka_unit_test(workloads),
		cmocka_unit_test(core),
		cmocka_unit_test(extensions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
