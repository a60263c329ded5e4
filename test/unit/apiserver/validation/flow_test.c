/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char flowschema_base[] = "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: FlowSchema, metadata: {name: dq}, spec: {priorityLevelConfiguration: {name: p}, matchingPrecedence: 50, rules: [{subjects: [{kind: User, user: {name: u}}], nonResourceRules: [{verbs: [get], nonResourceURLs: [/a]}]}]}}";

static void flowschema_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.matchingPrecedence=0", ""},
		{"spec.matchingPrecedence=10001", "spec.matchingPrecedence Invalid", "Invalid value: 10001: must not be greater than 10000"},
		{"spec.matchingPrecedence=1", "spec.matchingPrecedence Invalid", "Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"},
		{"spec.priorityLevelConfiguration={name: \"\"}", "spec.priorityLevelConfiguration.name Required", "Required value: must reference a priority level"},
		{"spec.priorityLevelConfiguration={name: A_}", "spec.priorityLevelConfiguration.name Invalid"},
		{"spec.distinguisherMethod={type: Odd}", "spec.distinguisherMethod.type NotSupported"},
		{"spec.distinguisherMethod={type: ByUser}", ""},
		{"spec.rules[0].subjects=", "spec.rules[0].subjects Required", "Required value: subjects must contain at least one value"},
		{"spec.rules[0].subjects=[{kind: Odd}]", "spec.rules[0].subjects[0].kind NotSupported", "Unsupported value: \"Odd\": supported values: \"Group\", \"ServiceAccount\", \"User\""},
		{"spec.rules[0].subjects=[{kind: User}]", "spec.rules[0].subjects[0].user Required", "Required value: user is required when subject kind is 'User'"},
		{"spec.rules[0].subjects=[{kind: Group, group: {name: \"\"}}]", "spec.rules[0].subjects[0].group.name Required", "Required value"},
		{"spec.rules[0].subjects=[{kind: ServiceAccount, serviceAccount: {name: A_, namespace: \"\"}}]", "spec.rules[0].subjects[0].serviceAccount.name Invalid, spec.rules[0].subjects[0].serviceAccount.namespace Required"},
		{"spec.rules[0].subjects=[{kind: User, user: {name: u}, group: {name: g}}]", "spec.rules[0].subjects[0].group Forbidden", "Forbidden: group is forbidden when subject kind is not 'Group'"},
		{"spec.rules[0].nonResourceRules=", "spec.rules[0] Required", "Required value: at least one of resourceRules and nonResourceRules has to be non-empty"},
		{"spec.rules[0].nonResourceRules=[{verbs: [], nonResourceURLs: []}]", "spec.rules[0].nonResourceRules[0].nonResourceURLs Required, spec.rules[0].nonResourceRules[0].verbs Required"},
		{"spec.rules[0].nonResourceRules=[{verbs: [get, \"*\"], nonResourceURLs: [a, \"/a*b\", /c/*, \"*\"]}]", "spec.rules[0].nonResourceRules[0].nonResourceURLs Invalid, spec.rules[0].nonResourceRules[0].verbs Invalid"},
		{"spec.rules[0].resourceRules=[{verbs: [get], apiGroups: [], resources: []}]", "spec.rules[0].resourceRules[0].apiGroups Required, spec.rules[0].resourceRules[0].namespaces Required, spec.rules[0].resourceRules[0].resources Required"},
		{"spec.rules[0].resourceRules=[{verbs: [odd], apiGroups: [a], resources: [b]}]", "spec.rules[0].resourceRules[0].namespaces Required, spec.rules[0].resourceRules[0].verbs NotSupported"},
		{"spec.rules[0].resourceRules=[{verbs: [get], apiGroups: [\"*\", a], resources: [b], namespaces: [A_]}]", "spec.rules[0].resourceRules[0].apiGroups Invalid, spec.rules[0].resourceRules[0].namespaces[0] Invalid"},
		{"spec.rules[0].resourceRules=[{verbs: [get], apiGroups: [a], resources: [b], clusterScope: true}]", ""},
		{"spec.rules[0].subjects=[{kind: Odd, user: {name: \"\"}}]", "spec.rules[0].subjects[0].kind NotSupported", "Unsupported value: \"Odd\": supported values: \"Group\", \"ServiceAccount\", \"User\""},
		{"spec.rules[0].subjects=[{kind: User, user: {name: a}, group: {name: \"\"}}]", "spec.rules[0].subjects[0].group Forbidden", "Forbidden: group is forbidden when subject kind is not 'Group'"},
	};
	RUN(flowschema_base, rows);
}

static const char prioritylevel_base[] = "{apiVersion: flowcontrol.apiserver.k8s.io/v1, kind: PriorityLevelConfiguration, metadata: {name: dq}, spec: {type: Limited, limited: {}}}";

static void prioritylevel_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, "spec.limited.limitResponse.type NotSupported", "Unsupported value: \"\": supported values: \"Queue\", \"Reject\""},
		{"spec.limited=", "spec.limited Required", "Required value: must not be empty when type is Limited"},
		{"spec.limited={nominalConcurrencyShares: -1}", "spec.limited.limitResponse.type NotSupported, spec.limited.nominalConcurrencyShares Invalid"},
		{"spec.limited={nominalConcurrencyShares: 0}", "spec.limited.limitResponse.type NotSupported", "Unsupported value: \"\": supported values: \"Queue\", \"Reject\""},
		{"spec.limited={lendablePercent: 101}", "spec.limited.lendablePercent Invalid, spec.limited.limitResponse.type NotSupported"},
		{"spec.limited={borrowingLimitPercent: -1}", "spec.limited.borrowingLimitPercent Invalid, spec.limited.limitResponse.type NotSupported"},
		{"spec.limited={limitResponse: {type: Odd}}", "spec.limited.limitResponse.type NotSupported", "Unsupported value: \"Odd\": supported values: \"Queue\", \"Reject\""},
		{"spec.limited={limitResponse: {type: Queue}}", "spec.limited.limitResponse.queuing Required", "Required value: must not be empty if limited.limitResponse.type is Limited"},
		{"spec.limited={limitResponse: {type: Queue, queuing: {queues: 0, handSize: 0, queueLengthLimit: 0}}}", ""},
		{"spec.limited={limitResponse: {type: Queue, queuing: {queues: 10, handSize: 11, queueLengthLimit: 5}}}", "spec.limited.limitResponse.queuing.handSize Invalid", "Invalid value: 11: should not be greater than queues (10)"},
		{"spec.limited={limitResponse: {type: Queue, queuing: {queues: 1000000000, handSize: 20, queueLengthLimit: 5}}}", "spec.limited.limitResponse.queuing.handSize Invalid, spec.limited.limitResponse.queuing.queues Invalid"},
		{"spec.limited={limitResponse: {type: Reject, queuing: {queues: 10, handSize: 1, queueLengthLimit: 5}}}", "spec.limited.limitResponse.queuing Forbidden", "Forbidden: must be nil if limited.limitResponse.type is not Limited"},
		{"spec.type=Odd\nspec.limited={nominalConcurrencyShares: -1}", "spec.type NotSupported", "Unsupported value: \"Odd\": supported values: \"Exempt\", \"Limited\""},
		{"spec.exempt={lendablePercent: 200}", "spec.exempt Forbidden, spec.limited.limitResponse.type NotSupported"},
		{"spec.limited.limitResponse={type: Reject, queuing: {queues: -1}}", "spec.limited.limitResponse.queuing Forbidden", "Forbidden: must be nil if limited.limitResponse.type is not Limited"},
	};
	RUN(prioritylevel_base, rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flowschema_create),
		cmocka_unit_test(prioritylevel_create),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
