/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char deviceclass_base[] = "{apiVersion: resource.k8s.io/v1, kind: DeviceClass, metadata: {name: d}, spec: {}}";

static void deviceclass_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.selectors=[{}]", "spec.selectors[0].cel Required", "Required value"},
		{"spec.selectors=[{cel: {expression: 'device.driver == \"a.b\" && device.attributes[\"a.b\"].fast'}}]", ""},
		{"spec.selectors=[{cel: {expression: 'device.drivers'}}]", "spec.selectors[0].cel.expression Invalid", "Invalid value: \"device.drivers\": compilation failed: ERROR: <input>:1:7: undefined field 'drivers'\n | device.drivers\n | ......^"},
		{"spec.selectors=[{cel: {expression: '1'}}]", "spec.selectors[0].cel.expression Invalid", "Invalid value: \"1\": must evaluate to bool or the unknown type, not int"},
		{"spec.selectors=[{cel: {expression: ''}}]", "spec.selectors[0].cel.expression Invalid"},
		{"spec.selectors=[{cel: {expression: 'device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, device.attributes.all(d, a != b))))'}}]", "spec.selectors[0].cel.expression Forbidden", "Forbidden: too complex, exceeds cost limit"},
		{"spec.config=[{}]", "spec.config[0].opaque Required", "Required value"},
		{"spec.config=[{opaque: {driver: \"\", parameters: {}}}]", "spec.config[0].opaque.driver Required", "Required value"},
		{"spec.config=[{opaque: {driver: a.b, parameters: [1]}}]", "spec.config[0].opaque.parameters Invalid", "Invalid value: \"<value omitted>\": must be a valid JSON object"},
		{"spec.config=[{opaque: {driver: A_, parameters: {a: b}}}]", "spec.config[0].opaque.driver Invalid"},
		{"spec.extendedResourceName=a.b/c", ""},
		{"spec.extendedResourceName=cpu", "spec.extendedResourceName Invalid", "Invalid value: \"cpu\": must be a valid extended resource name"},
		{"spec.config=[{opaque: {driver: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, parameters: {}}}]", "spec.config[0].opaque.driver Invalid, spec.config[0].opaque.driver TooLong"},
	};
	RUN(deviceclass_base, rows);
}

static const char resourceclaim_base[] = "{apiVersion: resource.k8s.io/v1, kind: ResourceClaim, metadata: {name: d, namespace: default}, spec: {devices: {requests: [{name: r, exactly: {deviceClassName: c}}]}}}";

static void resourceclaim_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.devices={requests: [{name: r, firstAvailable: [{name: x, deviceClassName: c}]}, {name: r, firstAvailable: [{name: z, deviceClassName: c}]}], constraints: [{requests: [r/x], matchAttribute: a.b/c}, {requests: [r/z], matchAttribute: a.b/c}]}", "spec.devices.constraints[0].requests[0] Invalid, spec.devices.requests[1] Duplicate"},
		{"spec.devices.requests[0]={name: r}", "spec.devices.requests[0] Required", "Required value: exactly one of `exactly` or `firstAvailable` is required"},
		{"spec.devices.requests[0]={name: A_, exactly: {deviceClassName: \"\"}}", "spec.devices.requests[0].exactly.deviceClassName Required, spec.devices.requests[0].name Invalid"},
		{"spec.devices.requests[0]={name: r, exactly: {deviceClassName: A_}}", "spec.devices.requests[0].exactly.deviceClassName Invalid"},
		{"spec.devices.requests[1]={name: r, exactly: {deviceClassName: c}}", "spec.devices.requests[1] Duplicate", "Duplicate value: \"r\""},
		{"spec.devices.requests[0].exactly.count=-1", "spec.devices.requests[0].exactly.count Invalid", "Invalid value: -1: must be greater than zero"},
		{"spec.devices.requests[0].exactly.allocationMode=All", ""},
		{"spec.devices.requests[0].exactly.allocationMode=All\nspec.devices.requests[0].exactly.count=2", "spec.devices.requests[0].exactly.count Invalid", "Invalid value: 2: must not be specified when allocationMode is 'All'"},
		{"spec.devices.requests[0].exactly.allocationMode=Odd", "spec.devices.requests[0].exactly.allocationMode NotSupported", "Unsupported value: \"Odd\": supported values: \"All\", \"ExactCount\""},
		{"spec.devices.requests[0].exactly.selectors=[{}]", "spec.devices.requests[0].exactly.selectors[0].cel Required", "Required value"},
		{"spec.devices.requests[0].exactly.selectors=[{cel: {expression: 'true'}},{cel: {expression: 'cel.bind(a, device.attributes[\"a.b\"], a.c) && x'}}]", "spec.devices.requests[0].exactly.selectors[1].cel.expression Invalid"},
		{"spec.devices.requests[0]={name: r, firstAvailable: [{name: s, deviceClassName: c, selectors: [{cel: {expression: 'oops('}}]}]}", "spec.devices.requests[0].firstAvailable[0].selectors[0].cel.expression Invalid"},
		{"spec.devices.requests[0].exactly.tolerations=[{operator: Odd}]", "spec.devices.requests[0].exactly.tolerations[0].operator NotSupported", "Unsupported value: \"Odd\": supported values: \"Equal\", \"Exists\""},
		{"spec.devices.requests[0].exactly.tolerations=[{key: a, operator: Exists, value: b}]", "spec.devices.requests[0].exactly.tolerations[0].value Invalid", "Invalid value: \"b\": must be empty for operator `Exists`"},
		{"spec.devices.requests[0].exactly.tolerations=[{key: \"a b\", value: \"c d\", effect: Odd}]", "spec.devices.requests[0].exactly.tolerations[0].effect NotSupported, spec.devices.requests[0].exactly.tolerations[0].key Invalid, spec.devices.requests[0].exactly.tolerations[0].value Invalid"},
		{"spec.devices.requests[0]={name: r, firstAvailable: [{name: s, deviceClassName: c},{name: s, deviceClassName: c}]}", "spec.devices.requests[0].firstAvailable[1] Duplicate", "Duplicate value: \"s\""},
		{"spec.devices.requests[0]={name: r, firstAvailable: [{name: s, deviceClassName: c}]}\nspec.devices.constraints=[{requests: [r/s, r/t, r/s/t, x], matchAttribute: a.b/c}]", "spec.devices.constraints[0].requests[1] Invalid, spec.devices.constraints[0].requests[2] Invalid, spec.devices.constraints[0].requests[3] Invalid"},
		{"spec.devices.constraints=[{requests: [r]}]", "spec.devices.constraints[0] Required", "Required value: exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set"},
		{"spec.devices.constraints=[{matchAttribute: a}]", "spec.devices.constraints[0].matchAttribute Invalid", "Invalid value: \"a\": a fully qualified name must be a domain and a name separated by a slash"},
		{"spec.devices.constraints=[{matchAttribute: \"a.b/1\"}]", "spec.devices.constraints[0].matchAttribute Invalid"},
		{"spec.devices.constraints=[{requests: [r, r], distinctAttribute: a.b/c}]", "spec.devices.constraints[0].requests[1] Duplicate", "Duplicate value: \"r\""},
		{"spec.devices.config=[{}]", "spec.devices.config[0].opaque Required", "Required value"},
		{"spec.devices.config=[{requests: [q], opaque: {driver: a.b, parameters: {}}}]", "spec.devices.config[0].requests[0] Invalid", "Invalid value: \"q\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"},
		{"spec.devices.requests[0].firstAvailable=[{name: A_}]", "spec.devices.requests[0] Invalid", "Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"},
	};
	RUN(resourceclaim_base, rows);
}

static void resourceclaim_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.devices.requests[0].exactly.count=2", "spec Invalid"},
	};
	RUN_UPDATES(resourceclaim_base, "", rows);
}

static void resourceclaim_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, "status={allocation: {devices: {results: [{request: r, driver: a.b, pool: p, device: d}]}}, reservedFor: [{resource: pods, name: x, uid: u}]}", ""},
		{NULL, "status={reservedFor: [{resource: pods, name: x, uid: u}]}", "status.reservedFor Forbidden", "Forbidden: may not be specified when `allocated` is not set"},
		{NULL, "status={allocation: {devices: {results: [{request: x, driver: \"\", pool: \"\", device: \"\"}]}}, reservedFor: [{resource: \"\", name: \"\", uid: \"\"},{resource: a, name: b, uid: \"\"}]}", "status.allocation.devices.results[0].device Invalid, status.allocation.devices.results[0].driver Required, status.allocation.devices.results[0].pool Required, status.allocation.devices.results[0].request Invalid, status.reservedFor[0].name Required, status.reservedFor[0].resource Required, status.reservedFor[0].uid Required, status.reservedFor[1] Duplicate, status.reservedFor[1].uid Required"},
		{NULL, "status={allocation: {devices: {results: [{request: r, driver: a.b, pool: p, device: d}]}}, devices: [{driver: a.b, pool: p, device: e, networkData: {ips: [x, 1.2.3.4/24]}}]}", "status.devices[0] Invalid, status.devices[0].networkData.ips[0] Invalid"},
	};
	RUN_UPDATES(resourceclaim_base, "status", rows);
}

static const char resourceslice_base[] = "{apiVersion: resource.k8s.io/v1, kind: ResourceSlice, metadata: {name: d}, spec: {driver: a.b, nodeName: \"n\", pool: {name: p, generation: 1, resourceSliceCount: 1}, devices: [{name: d1}]}}";

static void resourceslice_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.driver=", "spec.driver Required", "Required value"},
		{"spec.driver=A_", "spec.driver Invalid"},
		{"spec.nodeName=", "spec Required", "Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"},
		{"spec.nodeName=\"\"", "spec Required, spec.nodeName Invalid"},
		{"spec.allNodes=true", "spec Invalid"},
		{"spec.nodeName=\nspec.allNodes=true", ""},
		{"spec.nodeName=\nspec.allNodes=false", "spec Required, spec.allNodes Invalid"},
		{"spec.nodeName=\nspec.nodeSelector={nodeSelectorTerms: []}", "spec.nodeSelector.nodeSelectorTerms Invalid, spec.nodeSelector.nodeSelectorTerms Required"},
		{"spec.pool={name: \"\", generation: -1, resourceSliceCount: 0}", "spec.pool.generation Invalid, spec.pool.name Required, spec.pool.resourceSliceCount Invalid"},
		{"spec.pool={name: a//b, generation: 1, resourceSliceCount: 1}", "spec.pool.name Invalid"},
		{"spec.devices[1]={name: d1}", "spec.devices[1] Duplicate", "Duplicate value: \"d1\""},
		{"spec.devices[0].name=A_", "spec.devices[0].name Invalid"},
		{"spec.devices[0].attributes={a: {}}", "spec.devices[0].attributes[a] Invalid", "Invalid value: \"\": exactly one value must be specified"},
		{"spec.devices[0].attributes={a: {int: 1, bool: true}}", "spec.devices[0].attributes[a] Invalid"},
		{"spec.devices[0].attributes={a.b/c: {version: 1.2.3-a.1+b}}", ""},
		{"spec.devices[0].attributes={a: {version: \"1.2\"}}", "spec.devices[0].attributes[a].version Invalid", "Invalid value: \"1.2\": must be a string compatible with semver.org spec 2.0.0"},
		{"spec.devices[0].attributes={\"a b\": {int: 1}}", "spec.devices[0].attributes Invalid"},
		{"spec.devices[0].attributes={\"/a\": {int: 1}}", "spec.devices[0].attributes Invalid", "Invalid value: \"\": the domain must not be empty"},
		{"spec.devices[0].taints=[{key: a, effect: NoSchedule}]", ""},
		{"spec.devices[0].taints=[{key: \"\", effect: Odd}]", "spec.devices[0].taints[0].effect NotSupported, spec.devices[0].taints[0].key Invalid, spec.devices[0].taints[0].key Invalid"},
		{"spec.devices[0].nodeName=\"n\"", "spec.devices[0] Invalid", "Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"},
		{"spec.nodeName=\nspec.perDeviceNodeSelection=true", "spec.devices[0] Required", "Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"},
		{"spec.nodeName=\nspec.perDeviceNodeSelection=true\nspec.devices[0].nodeName=\"n\"", ""},
		{"spec.devices[0].consumesCounters=[{counterSet: \"\", counters: {}}]", "spec.devices[0].consumesCounters[0].counterSet Required, spec.devices[0].consumesCounters[0].counters Required"},
		{"spec.sharedCounters=[{name: s, counters: {a: {value: 1}}}]", "spec Invalid", "Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"},
		{"spec.devices=\nspec.sharedCounters=[{name: S_, counters: {}},{name: s, counters: {A_: {value: 1}}}]", "spec.sharedCounters[0].counters Required, spec.sharedCounters[0].name Invalid, spec.sharedCounters[1].counters Invalid"},
		{"spec.devices[0].capacity={a: {value: 1}}", ""},
		{"spec.devices[0].capacity={a: {value: 5, requestPolicy: {default: 1, validValues: [1, 2]}}}", "spec.devices[0].capacity[a].requestPolicy Forbidden", "Forbidden: allowMultipleAllocations must be true"},
		{"spec.devices[0].allowMultipleAllocations=true\nspec.devices[0].capacity={a: {value: 5, requestPolicy: {default: 2, validValues: [2, 1, 2]}}}", "spec.devices[0].capacity[a].requestPolicy.validValues[1] Invalid, spec.devices[0].capacity[a].requestPolicy.validValues[2] Duplicate"},
		{"spec.devices[0].consumesCounters=[{counterSet: a}, {counterSet: b}, {counterSet: c}]", "spec.devices[0].consumesCounters TooMany"},
		{"spec.devices[0].allowMultipleAllocations=true\nspec.devices[0].capacity={a: {value: 5, requestPolicy: {default: 1, validValues: [2, 1, 9]}}}", "spec.devices[0].capacity[a].requestPolicy.validValues[1] Invalid, spec.devices[0].capacity[a].requestPolicy.validValues[2] Invalid"},
	};
	RUN(resourceslice_base, rows);
}

static void resourceslice_update(void **state) {
	static const struct update_case rows[] = {
		{NULL, "spec.driver=c.d", "spec.driver Invalid", "Invalid value: \"c.d\": field is immutable"},
		{NULL, "spec.nodeName=m", "spec.nodeName Invalid", "Invalid value: \"m\": field is immutable"},
		{NULL, "spec.pool.name=q", "spec.pool.name Invalid", "Invalid value: \"q\": field is immutable"},
	};
	RUN_UPDATES(resourceslice_base, "", rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deviceclass_create),
		cmocka_unit_test(resourceclaim_create),
		cmocka_unit_test(resourceclaim_update),
		cmocka_unit_test(resourceclaim_update_status),
		cmocka_unit_test(resourceslice_create),
		cmocka_unit_test(resourceslice_update),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
