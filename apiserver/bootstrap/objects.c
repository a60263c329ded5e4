/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/bootstrap/bootstrap.h"

#define NS(name) "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"" name "\"}}"
#define CLASS(name, value, text) "{\"apiVersion\":\"scheduling.k8s.io/v1\",\"kind\":\"PriorityClass\",\"metadata\":{\"name\":\"" name "\"},\"value\":" value ",\"description\":\"" text "\"}"
#define LEVEL(name, shares, lend, queuing) \
	"{\"apiVersion\":\"flowcontrol.apiserver.k8s.io/v1\",\"kind\":\"PriorityLevelConfiguration\",\"metadata\":{\"name\":\"" name "\",\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}}," \
	"\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":" shares ",\"lendablePercent\":" lend ",\"limitResponse\":" queuing "}}}"
#define QUEUE(size, length, queues) "{\"type\":\"Queue\",\"queuing\":{\"handSize\":" size ",\"queueLengthLimit\":" length ",\"queues\":" queues "}}"
#define FLOW(name, precedence, level, distinguisher, rules) \
	"{\"apiVersion\":\"flowcontrol.apiserver.k8s.io/v1\",\"kind\":\"FlowSchema\",\"metadata\":{\"name\":\"" name "\",\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}}," \
	"\"spec\":{\"priorityLevelConfiguration\":{\"name\":\"" level "\"},\"matchingPrecedence\":" precedence distinguisher ",\"rules\":[" rules "]}}"
#define BY_USER ",\"distinguisherMethod\":{\"type\":\"ByUser\"}"
#define BY_NAMESPACE ",\"distinguisherMethod\":{\"type\":\"ByNamespace\"}"
#define GROUP_SUBJECT(name) "{\"kind\":\"Group\",\"group\":{\"name\":\"" name "\"}}"
#define USER_SUBJECT(name) "{\"kind\":\"User\",\"user\":{\"name\":\"" name "\"}}"
#define SA_SUBJECT(ns, name) "{\"kind\":\"ServiceAccount\",\"serviceAccount\":{\"namespace\":\"" ns "\",\"name\":\"" name "\"}}"
#define ALL_RESOURCES "\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}]"
#define ALL_PATHS "\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]"
#define EVERYTHING(subjects) "{\"subjects\":[" subjects "]," ALL_RESOURCES "," ALL_PATHS "}"

const char *const bootstrap_objects[] = {
	NS("default"), NS("kube-system"), NS("kube-public"), NS("kube-node-lease"),

	CLASS("system-cluster-critical", "2000000000", "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary."),
	CLASS("system-node-critical", "2000001000", "Used for system critical pods that must not be moved from their current node."),

	"{\"apiVersion\":\"flowcontrol.apiserver.k8s.io/v1\",\"kind\":\"PriorityLevelConfiguration\",\"metadata\":{\"name\":\"exempt\",\"annotations\":{\"apf.kubernetes.io/autoupdate-spec\":\"true\"}},\"spec\":{\"type\":\"Exempt\",\"exempt\":{\"nominalConcurrencyShares\":0,\"lendablePercent\":0}}}",
	LEVEL("catch-all", "5", "0", "{\"type\":\"Reject\"}"),
	LEVEL("global-default", "20", "50", QUEUE("6", "50", "128")),
	LEVEL("leader-election", "10", "0", QUEUE("4", "50", "16")),
	LEVEL("node-high", "40", "25", QUEUE("6", "50", "64")),
	LEVEL("system", "30", "33", QUEUE("6", "50", "64")),
	LEVEL("workload-high", "40", "50", QUEUE("6", "50", "128")),
	LEVEL("workload-low", "100", "90", QUEUE("6", "50", "128")),

	FLOW("exempt", "1", "exempt", "", EVERYTHING(GROUP_SUBJECT("system:masters"))),
	FLOW("probes", "2", "exempt", "", "{\"subjects\":[" GROUP_SUBJECT("system:unauthenticated") "," GROUP_SUBJECT("system:authenticated") "],\"nonResourceRules\":[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/readyz\",\"/livez\"]}]}"),
	FLOW("system-leader-election", "100", "leader-election", BY_USER, "{\"subjects\":[" USER_SUBJECT("system:kube-controller-manager") "," USER_SUBJECT("system:kube-scheduler") "," SA_SUBJECT("kube-system", "*") "],\"resourceRules\":[{\"verbs\":[\"get\",\"create\",\"update\"],\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],\"namespaces\":[\"*\"]}]}"),
	FLOW("endpoint-controller", "150", "workload-high", BY_USER, "{\"subjects\":[" USER_SUBJECT("system:kube-controller-manager") "," SA_SUBJECT("kube-system", "endpoint-controller") "," SA_SUBJECT("kube-system", "endpointslicemirroring-controller") "],\"resourceRules\":[{\"verbs\":[\"get\",\"create\",\"update\"],\"apiGroups\":[\"\"],\"resources\":[\"endpoints\"],\"namespaces\":[\"*\"]}]}"),
	FLOW("workload-leader-election", "200", "leader-election", BY_USER, "{\"subjects\":[" SA_SUBJECT("kube-system", "*") "],\"resourceRules\":[{\"verbs\":[\"get\",\"create\",\"update\"],\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],\"namespaces\":[\"*\"]}]}"),
	FLOW("system-node-high", "400", "node-high", BY_USER, "{\"subjects\":[" GROUP_SUBJECT("system:nodes") "],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"nodes\",\"nodes/status\"],\"clusterScope\":true,\"namespaces\":[\"*\"]},{\"verbs\":[\"*\"],\"apiGroups\":[\"coordination.k8s.io\"],\"resources\":[\"leases\"],\"namespaces\":[\"*\"]}]}"),
	FLOW("system-nodes", "500", "system", BY_USER, EVERYTHING(GROUP_SUBJECT("system:nodes"))),
	FLOW("kube-controller-manager", "800", "workload-high", BY_NAMESPACE, EVERYTHING(USER_SUBJECT("system:kube-controller-manager"))),
	FLOW("kube-scheduler", "800", "workload-high", BY_NAMESPACE, EVERYTHING(USER_SUBJECT("system:kube-scheduler"))),
	FLOW("kube-system-service-accounts", "900", "workload-high", BY_NAMESPACE, EVERYTHING(SA_SUBJECT("kube-system", "*"))),
	FLOW("service-accounts", "9000", "workload-low", BY_USER, EVERYTHING(GROUP_SUBJECT("system:serviceaccounts"))),
	FLOW("global-default", "9900", "global-default", BY_USER, EVERYTHING(GROUP_SUBJECT("system:unauthenticated") "," GROUP_SUBJECT("system:authenticated"))),
	FLOW("catch-all", "10000", "catch-all", BY_USER, EVERYTHING(GROUP_SUBJECT("system:unauthenticated") "," GROUP_SUBJECT("system:authenticated"))),
	NULL,
};
