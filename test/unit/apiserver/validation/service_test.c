/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char service_base[] = "{apiVersion: v1, kind: Service, metadata: {name: d, namespace: default}, spec: {selector: {a: b}, ports: [{port: 80}]}}";

static void service_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.ports=", "spec.ports Required", "Required value"},
		{"spec.ports=[{port: 0}]", "spec.ports[0].port Invalid, spec.ports[0].targetPort Invalid"},
		{"spec.ports=[{port: 65536, targetPort: 0, protocol: ICMP}]", "spec.ports[0].port Invalid, spec.ports[0].protocol NotSupported, spec.ports[0].targetPort Invalid"},
		{"spec.ports=[{port: 80, targetPort: Bad_Name}]", "spec.ports[0].targetPort Invalid", "Invalid value: \"Bad_Name\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"},
		{"spec.ports=[{port: 80},{port: 81}]", "spec.ports[0].name Required, spec.ports[1].name Required"},
		{"spec.ports=[{port: 80, name: a},{port: 80, name: b}]", "spec.ports[1] Duplicate"},
		{"spec.ports=[{port: 80, name: a},{port: 81, name: a}]", "spec.ports[1].name Duplicate", "Duplicate value: \"a\""},
		{"spec.ports=[{port: 80, name: A}]", "spec.ports[0].name Invalid"},
		{"spec.ports=[{port: 80, name: a},{port: 80, name: b, protocol: UDP}]", ""},
		{"spec.sessionAffinity=Odd", "spec.sessionAffinity NotSupported", "Unsupported value: \"Odd\": supported values: \"ClientIP\", \"None\""},
		{"spec.sessionAffinity=ClientIP", ""},
		{"spec.sessionAffinity=ClientIP\nspec.sessionAffinityConfig={clientIP: {timeoutSeconds: 0}}", "spec.sessionAffinityConfig.clientIP.timeoutSeconds Invalid", "Invalid value: 0: must be greater than 0 and less than 86400"},
		{"spec.sessionAffinityConfig={clientIP: {timeoutSeconds: 5}}", ""},
		{"spec.type=ExternalName", "spec.externalName Required", "Required value"},
		{"spec.type=ExternalName\nspec.externalName=a.b\nspec.ports=", ""},
		{"spec.type=ExternalName\nspec.externalName=Bad_Name", "spec.externalName Invalid"},
		{"spec.externalName=a.b", ""},
		{"spec.type=NodePort", ""},
		{"spec.ports=[{port: 80, nodePort: 30000}]", "spec.ports[0].nodePort Forbidden", "Forbidden: may not be used when `type` is 'ClusterIP'"},
		{"spec.type=NodePort\nspec.ports=[{port: 80, nodePort: 80}]", ""},
		{"spec.type=LoadBalancer", ""},
		{"spec.loadBalancerSourceRanges=[10.0.0.0/8]", "spec.LoadBalancerSourceRanges Forbidden", "Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{"spec.type=LoadBalancer\nspec.loadBalancerSourceRanges=[10.0.0.0]", "spec.LoadBalancerSourceRanges[0] Invalid", "Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
		{"spec.type=LoadBalancer\nspec.loadBalancerSourceRanges=[10.0.0.0/8]", ""},
		{"spec.type=LoadBalancer\nspec.loadBalancerClass=A B", "spec.loadBalancerClass Invalid"},
		{"spec.loadBalancerClass=a.b/c", "spec.loadBalancerClass Forbidden", "Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{"spec.type=LoadBalancer\nspec.loadBalancerClass=a.b/c", ""},
		{"spec.externalIPs=[1.2.3.4]", ""},
		{"spec.externalIPs=[127.0.0.1, 0.0.0.0, x]", "spec.externalIPs[0] Invalid, spec.externalIPs[1] Invalid, spec.externalIPs[2] Invalid"},
		{"spec.externalTrafficPolicy=Local", "spec.externalTrafficPolicy Invalid", "Invalid value: \"Local\": may only be set for externally-accessible services"},
		{"spec.type=NodePort\nspec.externalTrafficPolicy=Odd", "spec.externalTrafficPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\""},
		{"spec.healthCheckNodePort=30005", "spec.healthCheckNodePort Invalid", "Invalid value: 30005: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"},
		{"spec.internalTrafficPolicy=Odd", "spec.internalTrafficPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Cluster\", \"Local\""},
		{"spec.internalTrafficPolicy=Local", ""},
		{"spec.allocateLoadBalancerNodePorts=true", "spec.allocateLoadBalancerNodePorts Forbidden", "Forbidden: may only be used when `type` is 'LoadBalancer'"},
		{"spec.ipFamilyPolicy=Odd", "spec.ipFamilyPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"PreferDualStack\", \"RequireDualStack\", \"SingleStack\""},
		{"spec.ipFamilies=[IPv5]", "spec.ipFamilies[0] NotSupported"},
		{"spec.ipFamilies=[IPv4, IPv4]", "spec.ipFamilies[1] Duplicate", "Duplicate value: \"IPv4\""},
		{"spec.ipFamilyPolicy=PreferDualStack", ""},
		{"spec.ipFamilyPolicy=RequireDualStack", ""},
		{"spec.trafficDistribution=PreferClose", ""},
		{"spec.trafficDistribution=Odd", "spec.trafficDistribution NotSupported"},
		{"spec.selector={\"a b\": c}", "spec.selector Invalid"},
		{"metadata.name=1a", ""},
		{"spec.publishNotReadyAddresses=true", ""},
		{"spec.ports=[{port: 80, appProtocol: \"a b\"}]", "spec.ports[0].appProtocol Invalid"},
		{"spec.ports=[{port: 80, appProtocol: kubernetes.io/h2c}]", ""},
		{"spec.loadBalancerIP=1.2.3.4", ""},
		{"spec.clusterIPs=[10.0.0.7, 10.0.0.8]", "spec.clusterIPs Invalid, spec.clusterIPs Invalid"},
		{"spec.clusterIP=10.0.0.7\nspec.clusterIPs=[10.0.0.8]", "spec.clusterIPs Invalid", "Invalid value: [\"10.0.0.8\"]: first value must match `clusterIP`"},
		{"spec.externalTrafficPolicy=Odd", "spec.externalTrafficPolicy Invalid", "Invalid value: \"Odd\": may only be set for externally-accessible services"},
		{"spec.ipFamilies=[\"\"]", "spec.ipFamilies[0] NotSupported", "Unsupported value: \"\": supported values: \"IPv4\", \"IPv6\""},
		{"spec.clusterIPs=[10.0.0.7, 10.0.0.8]", "spec.clusterIPs Invalid, spec.clusterIPs Invalid"},
	};
	RUN(service_base, rows);
}

static void service_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.type=NodePort", ""},
		{NULL, "spec.type=ExternalName\nspec.externalName=a.b\nspec.clusterIP=\nspec.clusterIPs=", ""},
		{"spec.type=LoadBalancer\nspec.loadBalancerClass=a.b/c", "spec.type=LoadBalancer\nspec.loadBalancerClass=a.b/c\nspec.loadBalancerClass=a.b/d", "spec.loadBalancerClass Invalid", "Invalid value: \"a.b/d\": may not change once set"},
	};
	RUN_UPDATES(service_base, "", rows);
}

static void service_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={loadBalancer: {ingress: [{ip: 1.2.3.4}]}}", "status.loadBalancer.ingress Forbidden", "Forbidden: may only be used when `spec.type` is 'LoadBalancer'"},
		{"spec.type=LoadBalancer", "spec.type=LoadBalancer\nstatus={loadBalancer: {ingress: [{ip: 1.2.3}, {hostname: A_b}, {hostname: 1.2.3.4}]}}", "status.loadBalancer.ingress[0].ip Invalid, status.loadBalancer.ingress[1].hostname Invalid, status.loadBalancer.ingress[2].hostname Invalid"},
		{"spec.type=LoadBalancer", "spec.type=LoadBalancer\nstatus={loadBalancer: {ingress: [{ip: 1.2.3.4, ipMode: Odd}, {hostname: a.b, ipMode: VIP}]}}", "status.loadBalancer.ingress[0].ipMode NotSupported, status.loadBalancer.ingress[1].ipMode Forbidden"},
	};
	RUN_UPDATES(service_base, "status", rows);
}

static const char endpoints_base[] = "{apiVersion: v1, kind: Endpoints, metadata: {name: d, namespace: default}, subsets: [{addresses: [{ip: 1.2.3.4}], ports: [{port: 80}]}]}";

static void endpoints_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"subsets=[{ports: [{port: 80}]}]", "subsets[0] Required", "Required value: must specify `addresses` or `notReadyAddresses`"},
		{"subsets[0].addresses[0].ip=127.0.0.1", "subsets[0].addresses[0].ip Invalid", "Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{"subsets[0].addresses[0].hostname=A_b", "subsets[0].addresses[0].hostname Invalid"},
		{"subsets[0].addresses[0].nodeName=A_b", "subsets[0].addresses[0].nodeName Invalid"},
		{"subsets[0].ports=[{port: 0}]", "subsets[0].ports[0].port Invalid", "Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"subsets[0].ports=[{port: 80},{port: 81}]", "subsets[0].ports[0].name Required, subsets[0].ports[1].name Required"},
		{"subsets[0].ports=[{port: 80, name: A_, protocol: ICMP}]", "subsets[0].ports[0].name Invalid, subsets[0].ports[0].protocol NotSupported"},
		{"subsets[0].addresses[0].ip=169.254.1.1", "subsets[0].addresses[0].ip Invalid", "Invalid value: \"169.254.1.1\": may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{"subsets[0].addresses[0].ip=224.0.0.1", "subsets[0].addresses[0].ip Invalid", "Invalid value: \"224.0.0.1\": may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
	};
	RUN(endpoints_base, rows);
}

static const char endpointslice_base[] = "{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: d, namespace: default}, addressType: IPv4, endpoints: [{addresses: [1.2.3.4]}], ports: [{name: a, port: 80}]}";

static void endpointslice_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"addressType=", "addressType Required", "Required value"},
		{"addressType=Odd", "addressType NotSupported", "Unsupported value: \"Odd\": supported values: \"FQDN\", \"IPv4\", \"IPv6\""},
		{"addressType=IPv6", "endpoints[0].addresses Invalid", "Invalid value: \"1.2.3.4\": must be an IPv6 address"},
		{"addressType=FQDN", ""},
		{"addressType=FQDN\nendpoints=[{addresses: [a.b]}]", ""},
		{"endpoints[0].addresses=", "endpoints[0].addresses Required", "Required value: must contain at least 1 address"},
		{"endpoints[0].addresses=[127.0.0.1]", "endpoints[0].addresses[0] Invalid", "Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{"endpoints[0].hostname=A_", "endpoints[0].hostname Invalid"},
		{"endpoints[0].nodeName=A_", "endpoints[0].nodeName Invalid"},
		{"endpoints[0].deprecatedTopology={\"a b\": c}", ""},
		{"endpoints[0].deprecatedTopology={kubernetes.io/hostname: \"n\"}", ""},
		{"ports=[{name: a},{name: a}]", "ports[1].name Duplicate", "Duplicate value: \"a\""},
		{"ports=[{name: A_B, protocol: Odd, port: 0}]", "ports[0].name Invalid, ports[0].protocol NotSupported"},
		{"ports=[{appProtocol: \"a b\"}]", "ports[0].appProtocol Invalid"},
		{"endpoints[0].hints={forZones: [{name: \"\"},{name: z},{name: z}]}", "endpoints[0].hints.forZones[2].name Duplicate", "Duplicate value: \"z\""},
		{"endpoints[0].hints={forNodes: [{name: \"\"},{name: z},{name: z}]}", "endpoints[0].hints.forNodes[0].name Invalid, endpoints[0].hints.forNodes[2].name Duplicate"},
	};
	RUN(endpointslice_base, rows);
}

static void endpointslice_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "addressType=IPv6\nendpoints=[{addresses: [\"::5\"]}]", "addressType Invalid", "Invalid value: \"IPv6\": field is immutable"},
		{NULL, "endpoints=[]", ""},
	};
	RUN_UPDATES(endpointslice_base, "", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(service_create),
		cmocka_unit_test(service_update),
		cmocka_unit_test(service_update_status),
		cmocka_unit_test(endpoints_create),
		cmocka_unit_test(endpointslice_create),
		cmocka_unit_test(endpointslice_update),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
