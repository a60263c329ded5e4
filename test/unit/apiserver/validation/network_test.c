/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char ingress_base[] = "{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: d, namespace: default}, spec: {defaultBackend: {service: {name: s, port: {number: 80}}}}}";

static void ingress_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.defaultBackend=", "spec Invalid", "Invalid value: null: either `defaultBackend` or `rules` must be specified"},
		{"spec.rules=[{http: {paths: [{path: ../x, pathType: Odd, backend: {service: {name: s, port: {number: 1}}}}]}}]", "spec.rules[0].http.paths[0].pathType NotSupported"},
		{"spec.defaultBackend={}", "spec.defaultBackend Invalid", "Invalid value: \"\": resource or service backend is required"},
		{"spec.defaultBackend={service: {name: s}}", "spec.defaultBackend Required", "Required value: port name or number is required"},
		{"spec.defaultBackend={service: {name: S_, port: {number: 70000}}}", "spec.defaultBackend.service.name Invalid, spec.defaultBackend.service.port.number Invalid"},
		{"spec.defaultBackend={service: {name: s, port: {name: a, number: 80}}}", "spec.defaultBackend Invalid", "Invalid value: \"\": cannot set both port name & port number"},
		{"spec.defaultBackend={service: {name: s, port: {name: A_}}}", "spec.defaultBackend.service.port.name Invalid, spec.defaultBackend.service.port.name Invalid"},
		{"spec.defaultBackend={resource: {kind: K, name: \"n\"}}", ""},
		{"spec.defaultBackend={resource: {kind: \"\", name: \"\"}}", "spec.defaultBackend.resource.kind Required, spec.defaultBackend.resource.name Required"},
		{"spec.defaultBackend={resource: {kind: K, name: \"n\"}, service: {name: s, port: {number: 80}}}", "spec.defaultBackend Invalid", "Invalid value: \"\": cannot set both resource and service backends"},
		{"spec.rules=[{host: a.b, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]", ""},
		{"spec.rules=[{host: A_b}]", "spec.rules[0].host Invalid"},
		{"spec.rules=[{host: 1.2.3.4}]", "spec.rules[0].host Invalid", "Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address"},
		{"spec.rules=[{host: \"*.a.b\"}]", ""},
		{"spec.rules=[{host: \"*\"}]", "spec.rules[0].host Invalid"},
		{"spec.rules=[{http: {paths: []}}]", "spec.rules[0].http.paths Required", "Required value"},
		{"spec.rules=[{http: {paths: [{path: a, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]", "spec.rules[0].http.paths[0].path Invalid", "Invalid value: \"a\": must be an absolute path"},
		{"spec.rules=[{http: {paths: [{path: /a//b, pathType: Exact, backend: {service: {name: s, port: {number: 80}}}}]}}]", "spec.rules[0].http.paths[0].path Invalid", "Invalid value: \"/a//b\": must not contain '//'"},
		{"spec.rules=[{http: {paths: [{path: /a/../b, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]", "spec.rules[0].http.paths[0].path Invalid", "Invalid value: \"/a/../b\": must not contain '/../'"},
		{"spec.rules=[{http: {paths: [{path: /, pathType: Odd, backend: {service: {name: s, port: {number: 80}}}}]}}]", "spec.rules[0].http.paths[0].pathType NotSupported", "Unsupported value: \"Odd\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""},
		{"spec.rules=[{http: {paths: [{path: /, backend: {service: {name: s, port: {number: 80}}}}]}}]", "spec.rules[0].http.paths[0].pathType Required", "Required value: pathType must be specified"},
		{"spec.rules=[{http: {paths: [{pathType: ImplementationSpecific, backend: {service: {name: s, port: {number: 80}}}}]}}]", ""},
		{"spec.rules=[{http: {paths: [{path: /%2f, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]", "spec.rules[0].http.paths[0].path Invalid", "Invalid value: \"/%2f\": must not contain '%2f'"},
		{"spec.tls=[{hosts: [A_], secretName: \"S_\"}]", "spec.tls[0].hosts[0] Invalid, spec.tls[0].secretName Invalid"},
		{"spec.tls=[{hosts: [\"*.a.b\"]}]", ""},
		{"spec.ingressClassName=A_", "spec.ingressClassName Invalid"},
		{"spec.ingressClassName=c", ""},
		{"metadata.annotations={kubernetes.io/ingress.class: c}\nspec.ingressClassName=c", ""},
		{"metadata.annotations={kubernetes.io/ingress.class: c}", ""},
		{"spec.defaultBackend={resource: {kind: a/b, name: c/d}}", "spec.defaultBackend.resource.kind Invalid, spec.defaultBackend.resource.name Invalid"},
		{"spec.defaultBackend={resource: {}, service: {name: a, port: {number: 1}}}", "spec.defaultBackend Invalid", "Invalid value: \"\": cannot set both resource and service backends"},
	};
	RUN(ingress_base, rows);
}

static void ingress_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={loadBalancer: {ingress: [{ports: [{port: 1, protocol: Odd}]}]}}", ""},
		{NULL, "status={loadBalancer: {ingress: [{ip: x, hostname: 1.2.3.4}]}}", "status.loadBalancer.ingress[0].hostname Invalid, status.loadBalancer.ingress[0].ip Invalid"},
	};
	RUN_UPDATES(ingress_base, "status", rows);
}

static const char ingressclass_base[] = "{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: d}, spec: {controller: a.b/c}}";

static void ingressclass_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.controller=", "spec.controller Required", "Required value"},
		{"spec.controller=a", "spec.controller Invalid", "Invalid value: \"a\": must be a domain-prefixed path (such as \"acme.io/foo\")"},
		{"spec.controller=A_/c", "spec.controller Invalid"},
		{"spec.parameters={kind: K, name: \"n\"}", ""},
		{"spec.parameters={kind: \"\", name: \"\", apiGroup: A_}", "spec.parameters.apiGroup Invalid, spec.parameters.kind Required, spec.parameters.name Required"},
		{"spec.parameters={kind: K, name: \"n\", scope: Namespace}", "spec.parameters.namespace Required", "Required value: `parameters.scope` is set to 'Namespace'"},
		{"spec.parameters={kind: K, name: \"n\", scope: Odd}", "spec.parameters.scope NotSupported", "Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespace\""},
		{"spec.parameters={kind: K, name: \"n\", scope: Cluster, namespace: x}", "spec.parameters.namespace Forbidden", "Forbidden: `parameters.scope` is set to 'Cluster'"},
		{"spec.parameters={kind: a/b, name: a/b, scope: Namespace, namespace: \"A_\"}", "spec.parameters.kind Invalid, spec.parameters.name Invalid, spec.parameters.namespace Invalid"},
		{"spec.parameters={kind: a, name: b, scope: \"\"}", "spec.parameters.scope NotSupported", "Unsupported value: \"\": supported values: \"Cluster\", \"Namespace\""},
	};
	RUN(ingressclass_base, rows);
}

static void ingressclass_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.controller=a.b/d", "spec.controller Invalid", "Invalid value: \"a.b/d\": field is immutable"},
	};
	RUN_UPDATES(ingressclass_base, "", rows);
}

static const char networkpolicy_base[] = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: d, namespace: default}, spec: {podSelector: {}}}";

static void networkpolicy_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.policyTypes=[Odd]", "spec.policyTypes[0] NotSupported", "Unsupported value: \"Odd\": supported values: \"Ingress\", \"Egress\""},
		{"spec.policyTypes=[Ingress, Egress, Ingress]", "spec.policyTypes Invalid", "Invalid value: [\"Ingress\",\"Egress\",\"Ingress\"]: may not specify more than two policyTypes"},
		{"spec.ingress=[{from: [{}]}]", "spec.ingress[0].from[0] Required", "Required value: must specify a peer"},
		{"spec.ingress=[{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]", "spec.ingress[0].from[0].ipBlock.except[0] Invalid", "Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`"},
		{"spec.ingress=[{from: [{ipBlock: {cidr: x}}]}]", "spec.ingress[0].from[0].ipBlock.cidr Invalid", "Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
		{"spec.ingress=[{from: [{ipBlock: {cidr: \"\"}}]}]", "spec.ingress[0].from[0].ipBlock.cidr Required", "Required value"},
		{"spec.ingress=[{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9, \"y\"]}}]}]", "spec.ingress[0].from[0].ipBlock.except[0] Invalid, spec.ingress[0].from[0].ipBlock.except[1] Invalid"},
		{"spec.ingress=[{from: [{ipBlock: {cidr: 010.0.0.0/8, except: [10.0.0.0/8]}}]}]", "spec.ingress[0].from[0].ipBlock.cidr Invalid, spec.ingress[0].from[0].ipBlock.except[0] Invalid"},
		{"spec.ingress=[{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]", "spec.ingress[0].from[0] Forbidden", "Forbidden: may not specify both ipBlock and another peer"},
		{"spec.ingress=[{ports: [{port: 0}]}]", "spec.ingress[0].ports[0].port Invalid", "Invalid value: 0: must be between 1 and 65535, inclusive"},
		{"spec.ingress=[{ports: [{port: A_, protocol: Odd}]}]", "spec.ingress[0].ports[0].port Invalid, spec.ingress[0].ports[0].port Invalid, spec.ingress[0].ports[0].protocol NotSupported"},
		{"spec.ingress=[{ports: [{endPort: 80}]}]", "spec.ingress[0].ports[0].endPort Invalid", "Invalid value: 80: may not be specified when `port` is not specified"},
		{"spec.ingress=[{ports: [{port: a, endPort: 80}]}]", "spec.ingress[0].ports[0].endPort Invalid", "Invalid value: 80: may not be specified when `port` is non-numeric"},
		{"spec.ingress=[{ports: [{port: 90, endPort: 80}]}]", "spec.ingress[0].ports[0].endPort Invalid", "Invalid value: 90: must be greater than or equal to `port`"},
		{"spec.egress=[{to: [{namespaceSelector: {matchLabels: {\"a b\": c}}}], ports: [{port: 70000}]}]", "spec.egress[0].ports[0].port Invalid, spec.egress[0].to[0].namespaceSelector.matchLabels Invalid"},
	};
	RUN(networkpolicy_base, rows);
}

static const char servicecidr_base[] = "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: dz}, spec: {cidrs: [10.5.0.0/24]}}";

static void servicecidr_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.cidrs=", "spec.cidrs Required", "Required value: at least one CIDR required"},
		{"spec.cidrs=[x]", "spec.cidrs[0] Invalid", "Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"},
		{"spec.cidrs=[10.5.0.1/24]", "spec.cidrs[0] Invalid", "Invalid value: \"10.5.0.1/24\": must not have bits set beyond the prefix length"},
		{"spec.cidrs=[10.5.0.0/24, 10.6.0.0/24]", "spec.cidrs Invalid", "Invalid value: [\"10.5.0.0/24\",\"10.6.0.0/24\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"},
		{"spec.cidrs=[10.5.0.0/24, \"fd01::/112\", \"fd02::/112\"]", "spec.cidrs Invalid"},
		{"spec.cidrs=[a, b]", "spec.cidrs[0] Invalid, spec.cidrs[1] Invalid"},
		{"spec.cidrs=[10.5.0.0/24, 010.6.0.1/24]", "spec.cidrs Invalid, spec.cidrs[1] Invalid"},
	};
	RUN(servicecidr_base, rows);
}

static void servicecidr_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.cidrs=[10.7.0.0/24]", "spec.cidrs[0] Invalid", "Invalid value: \"10.7.0.0/24\": field is immutable"},
	};
	RUN_UPDATES(servicecidr_base, "", rows);
}

static const char ipaddress_base[] = "{apiVersion: networking.k8s.io/v1, kind: IPAddress, metadata: {name: 10.9.9.9}, spec: {parentRef: {resource: services, name: a, namespace: b}}}";

static void ipaddress_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.parentRef=", "spec.parentRef Required", "Required value"},
		{"spec.parentRef={resource: \"\", name: \"\"}", "spec.parentRef.name Required, spec.parentRef.resource Required"},
		{"spec.parentRef={group: A_, resource: \"a/b\", name: \"a/b\", namespace: \"a/b\"}", "spec.parentRef.group Invalid, spec.parentRef.name Invalid, spec.parentRef.namespace Invalid, spec.parentRef.resource Invalid"},
	};
	RUN(ipaddress_base, rows);
}

static void ipaddress_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.parentRef={resource: services, name: z, namespace: b}", "spec.parentRef Invalid"},
	};
	RUN_UPDATES(ipaddress_base, "", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ingress_create),
		cmocka_unit_test(ingress_update_status),
		cmocka_unit_test(ingressclass_create),
		cmocka_unit_test(ingressclass_update),
		cmocka_unit_test(networkpolicy_create),
		cmocka_unit_test(servicecidr_create),
		cmocka_unit_test(servicecidr_update),
		cmocka_unit_test(ipaddress_create),
		cmocka_unit_test(ipaddress_update),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
