/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char validatingwebhookconfigurations_base[] = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingWebhookConfiguration, metadata: {name: d}, webhooks: [{name: a.b.c, clientConfig: {service: {name: s, namespace: \"n\"}}, sideEffects: None, admissionReviewVersions: [v1], rules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}]}";

static void validatingwebhookconfigurations_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"webhooks[0].name=", "webhooks[0].name Required", "Required value"},
		{"webhooks[0].name=ab", "webhooks[0].name Invalid", "Invalid value: \"ab\": should be a domain with at least three segments separated by dots"},
		{"webhooks[0].clientConfig={}", "webhooks[0].clientConfig Required", "Required value: exactly one of url or service is required"},
		{"webhooks[0].clientConfig={url: \"http://a\"}", "webhooks[0].clientConfig.url Invalid", "Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"},
		{"webhooks[0].clientConfig={url: \"https://a/b?c=d#e\"}", "webhooks[0].clientConfig.url Invalid, webhooks[0].clientConfig.url Invalid"},
		{"webhooks[0].clientConfig={url: \"https://u@a/b\"}", "webhooks[0].clientConfig.url Invalid", "Invalid value: \"u\": user information is not permitted in the URL"},
		{"webhooks[0].clientConfig={url: \"https://\"}", "webhooks[0].clientConfig.url Invalid", "Invalid value: \"\": host must be specified; desired format: https://host[/path]"},
		{"webhooks[0].clientConfig={url: \"https://a\", service: {name: s, namespace: \"n\"}}", "webhooks[0].clientConfig Required", "Required value: exactly one of url or service is required"},
		{"webhooks[0].clientConfig={service: {name: \"\", namespace: \"\"}}", "webhooks[0].clientConfig.service.name Required, webhooks[0].clientConfig.service.namespace Required"},
		{"webhooks[0].clientConfig={service: {name: s, namespace: \"n\", path: a, port: 0}}", "webhooks[0].clientConfig.service.path Invalid, webhooks[0].clientConfig.service.path Invalid, webhooks[0].clientConfig.service.port Invalid"},
		{"webhooks[0].clientConfig={service: {name: s, namespace: \"n\", path: //}}", "webhooks[0].clientConfig.service.path Invalid", "Invalid value: \"//\": segment[0] may not be empty"},
		{"webhooks[0].clientConfig={service: {name: s, namespace: \"n\", path: /a//b}}", "webhooks[0].clientConfig.service.path Invalid", "Invalid value: \"/a//b\": segment[1] may not be empty"},
		{"webhooks[0].sideEffects=Odd", "webhooks[0].sideEffects NotSupported", "Unsupported value: \"Odd\": supported values: \"None\", \"NoneOnDryRun\""},
		{"webhooks[0].sideEffects=Some", "webhooks[0].sideEffects NotSupported", "Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""},
		{"webhooks[0].sideEffects=", "webhooks[0].sideEffects Required", "Required value: must specify one of None, NoneOnDryRun"},
		{"webhooks[0].admissionReviewVersions=", "webhooks[0].admissionReviewVersions Required", "Required value: must specify one of v1, v1beta1"},
		{"webhooks[0].admissionReviewVersions=[v9]", "webhooks[0].admissionReviewVersions Invalid", "Invalid value: [\"v9\"]: must include at least one of v1, v1beta1"},
		{"webhooks[0].admissionReviewVersions=[v1, v1]", "webhooks[0].admissionReviewVersions[1] Invalid", "Invalid value: \"v1\": duplicate version"},
		{"webhooks[0].admissionReviewVersions=[\"1 2\", v1]", "webhooks[0].admissionReviewVersions[0] Invalid"},
		{"webhooks[0].failurePolicy=Odd", "webhooks[0].failurePolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Fail\", \"Ignore\""},
		{"webhooks[0].matchPolicy=Odd", "webhooks[0].matchPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Equivalent\", \"Exact\""},
		{"webhooks[0].timeoutSeconds=0", "webhooks[0].timeoutSeconds Invalid", "Invalid value: 0: the timeout value must be between 1 and 30 seconds"},
		{"webhooks[0].timeoutSeconds=31", "webhooks[0].timeoutSeconds Invalid", "Invalid value: 31: the timeout value must be between 1 and 30 seconds"},
		{"webhooks[0].reinvocationPolicy=Odd", ""},
		{"webhooks[0].namespaceSelector={matchLabels: {\"a b\": c}}", "webhooks[0].namespaceSelector.matchLabels Invalid"},
		{"webhooks[0].rules[0].operations=", "webhooks[0].rules[0].operations Required", "Required value"},
		{"webhooks[0].rules[0].operations=[\"*\", CREATE]", "webhooks[0].rules[0].operations Invalid", "Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"},
		{"webhooks[0].rules[0].operations=[ODD]", "webhooks[0].rules[0].operations[0] NotSupported", "Unsupported value: \"ODD\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\""},
		{"webhooks[0].rules[0].apiGroups=", "webhooks[0].rules[0].apiGroups Required", "Required value"},
		{"webhooks[0].rules[0].apiGroups=[\"*\", a]", "webhooks[0].rules[0].apiGroups Invalid", "Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups"},
		{"webhooks[0].rules[0].apiVersions=", "webhooks[0].rules[0].apiVersions Required", "Required value"},
		{"webhooks[0].rules[0].apiVersions=[\"*\", v1]", "webhooks[0].rules[0].apiVersions Invalid", "Invalid value: [\"*\",\"v1\"]: if '*' is present, must not specify other API versions"},
		{"webhooks[0].rules[0].resources=", "webhooks[0].rules[0].resources Required", "Required value"},
		{"webhooks[0].rules[0].resources=[\"*/*\", pods]", "webhooks[0].rules[0].resources Invalid", "Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify other resources"},
		{"webhooks[0].rules[0].resources=[\"*/a\", \"pods/a\"]", "webhooks[0].rules[0].resources[1] Invalid", "Invalid value: \"pods/a\": if '*/a' is present, must not specify pods/a"},
		{"webhooks[0].rules[0].resources=[\"pods/*\", \"pods/a\"]", "webhooks[0].rules[0].resources[1] Invalid", "Invalid value: \"pods/a\": if 'pods/*' is present, must not specify pods/a"},
		{"webhooks[0].rules[0].resources=[\"*\", pods]", "webhooks[0].rules[0].resources Invalid", "Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources"},
		{"webhooks[0].rules[0].scope=Odd", "webhooks[0].rules[0].scope NotSupported", "Unsupported value: \"Odd\": supported values: \"*\", \"Cluster\", \"Namespaced\""},
		{"webhooks[0].matchConditions=[{name: \"\", expression: \"\"}]", "webhooks[0].matchConditions[0].expression Required, webhooks[0].matchConditions[0].name Required"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"true\"},{name: a, expression: \"true\"}]", "webhooks[0].matchConditions[1].name Duplicate", "Duplicate value: \"a\""},
		{"webhooks[0].matchConditions=[{name: a, expression: \" object.metadata.namespace == 'x' && request.userInfo.username != 'y' && authorizer.group('').resource('pods').check('get').allowed() \"}]", ""},
		{"webhooks[0].matchConditions=[{name: a, expression: \"... [}\"}]", "webhooks[0].matchConditions[0].expression Invalid"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"object.x + 1\"}]", "webhooks[0].matchConditions[0].expression Invalid", "Invalid value: \"object.x + 1\": must evaluate to bool but got int"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"params.x\"}]", "webhooks[0].matchConditions[0].expression Invalid",
		 "Invalid value: \"params.x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x\n | ^"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"request.nope == 'x'\"}]", "webhooks[0].matchConditions[0].expression Invalid",
		 "Invalid value: \"request.nope == 'x'\": compilation failed: ERROR: <input>:1:8: undefined field 'nope'\n | request.nope == 'x'\n | .......^"},
		{"webhooks[1]={name: a.b.c, clientConfig: {service: {name: s, namespace: \"n\"}}, sideEffects: None, admissionReviewVersions: [v1], rules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}", "webhooks[1].name Duplicate", "Duplicate value: \"a.b.c\""},
		{"webhooks[0].clientConfig={service: {name: \"\", namespace: a}}", "webhooks[0].clientConfig.service.namespace Required", "Required value"},
		{"webhooks[0].clientConfig={service: {name: a, namespace: \"\"}}", "webhooks[0].clientConfig.service.name Required", "Required value"},
	};
	RUN(validatingwebhookconfigurations_base, rows);
}

static const char mutatingwebhookconfigurations_base[] = "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingWebhookConfiguration, metadata: {name: d}, webhooks: [{name: a.b.c, clientConfig: {service: {name: s, namespace: \"n\"}}, sideEffects: None, admissionReviewVersions: [v1], rules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}]}";

static void mutatingwebhookconfigurations_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"webhooks[0].name=", "webhooks[0].name Required", "Required value"},
		{"webhooks[0].name=ab", "webhooks[0].name Invalid", "Invalid value: \"ab\": should be a domain with at least three segments separated by dots"},
		{"webhooks[0].clientConfig={}", "webhooks[0].clientConfig Required", "Required value: exactly one of url or service is required"},
		{"webhooks[0].clientConfig={url: \"http://a\"}", "webhooks[0].clientConfig.url Invalid", "Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]"},
		{"webhooks[0].clientConfig={url: \"https://a/b?c=d#e\"}", "webhooks[0].clientConfig.url Invalid, webhooks[0].clientConfig.url Invalid"},
		{"webhooks[0].clientConfig={url: \"https://u@a/b\"}", "webhooks[0].clientConfig.url Invalid", "Invalid value: \"u\": user information is not permitted in the URL"},
		{"webhooks[0].clientConfig={url: \"https://\"}", "webhooks[0].clientConfig.url Invalid", "Invalid value: \"\": host must be specified; desired format: https://host[/path]"},
		{"webhooks[0].clientConfig={url: \"https://a\", service: {name: s, namespace: \"n\"}}", "webhooks[0].clientConfig Required", "Required value: exactly one of url or service is required"},
		{"webhooks[0].clientConfig={service: {name: \"\", namespace: \"\"}}", "webhooks[0].clientConfig.service.name Required, webhooks[0].clientConfig.service.namespace Required"},
		{"webhooks[0].clientConfig={service: {name: s, namespace: \"n\", path: a, port: 0}}", "webhooks[0].clientConfig.service.path Invalid, webhooks[0].clientConfig.service.path Invalid, webhooks[0].clientConfig.service.port Invalid"},
		{"webhooks[0].clientConfig={service: {name: s, namespace: \"n\", path: //}}", "webhooks[0].clientConfig.service.path Invalid", "Invalid value: \"//\": segment[0] may not be empty"},
		{"webhooks[0].clientConfig={service: {name: s, namespace: \"n\", path: /a//b}}", "webhooks[0].clientConfig.service.path Invalid", "Invalid value: \"/a//b\": segment[1] may not be empty"},
		{"webhooks[0].sideEffects=Odd", "webhooks[0].sideEffects NotSupported", "Unsupported value: \"Odd\": supported values: \"None\", \"NoneOnDryRun\""},
		{"webhooks[0].sideEffects=Some", "webhooks[0].sideEffects NotSupported", "Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\""},
		{"webhooks[0].sideEffects=", "webhooks[0].sideEffects Required", "Required value: must specify one of None, NoneOnDryRun"},
		{"webhooks[0].admissionReviewVersions=", "webhooks[0].admissionReviewVersions Required", "Required value: must specify one of v1, v1beta1"},
		{"webhooks[0].admissionReviewVersions=[v9]", "webhooks[0].admissionReviewVersions Invalid", "Invalid value: [\"v9\"]: must include at least one of v1, v1beta1"},
		{"webhooks[0].admissionReviewVersions=[v1, v1]", "webhooks[0].admissionReviewVersions[1] Invalid", "Invalid value: \"v1\": duplicate version"},
		{"webhooks[0].admissionReviewVersions=[\"1 2\", v1]", "webhooks[0].admissionReviewVersions[0] Invalid"},
		{"webhooks[0].failurePolicy=Odd", "webhooks[0].failurePolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Fail\", \"Ignore\""},
		{"webhooks[0].matchPolicy=Odd", "webhooks[0].matchPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Equivalent\", \"Exact\""},
		{"webhooks[0].timeoutSeconds=0", "webhooks[0].timeoutSeconds Invalid", "Invalid value: 0: the timeout value must be between 1 and 30 seconds"},
		{"webhooks[0].timeoutSeconds=31", "webhooks[0].timeoutSeconds Invalid", "Invalid value: 31: the timeout value must be between 1 and 30 seconds"},
		{"webhooks[0].reinvocationPolicy=Odd", "webhooks[0].reinvocationPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"IfNeeded\", \"Never\""},
		{"webhooks[0].namespaceSelector={matchLabels: {\"a b\": c}}", "webhooks[0].namespaceSelector.matchLabels Invalid"},
		{"webhooks[0].rules[0].operations=", "webhooks[0].rules[0].operations Required", "Required value"},
		{"webhooks[0].rules[0].operations=[\"*\", CREATE]", "webhooks[0].rules[0].operations Invalid", "Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations"},
		{"webhooks[0].rules[0].operations=[ODD]", "webhooks[0].rules[0].operations[0] NotSupported", "Unsupported value: \"ODD\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\""},
		{"webhooks[0].rules[0].apiGroups=", "webhooks[0].rules[0].apiGroups Required", "Required value"},
		{"webhooks[0].rules[0].apiGroups=[\"*\", a]", "webhooks[0].rules[0].apiGroups Invalid", "Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other API groups"},
		{"webhooks[0].rules[0].apiVersions=", "webhooks[0].rules[0].apiVersions Required", "Required value"},
		{"webhooks[0].rules[0].apiVersions=[\"*\", v1]", "webhooks[0].rules[0].apiVersions Invalid", "Invalid value: [\"*\",\"v1\"]: if '*' is present, must not specify other API versions"},
		{"webhooks[0].rules[0].resources=", "webhooks[0].rules[0].resources Required", "Required value"},
		{"webhooks[0].rules[0].resources=[\"*/*\", pods]", "webhooks[0].rules[0].resources Invalid", "Invalid value: [\"*/*\",\"pods\"]: if '*/*' is present, must not specify other resources"},
		{"webhooks[0].rules[0].resources=[\"*/a\", \"pods/a\"]", "webhooks[0].rules[0].resources[1] Invalid", "Invalid value: \"pods/a\": if '*/a' is present, must not specify pods/a"},
		{"webhooks[0].rules[0].resources=[\"pods/*\", \"pods/a\"]", "webhooks[0].rules[0].resources[1] Invalid", "Invalid value: \"pods/a\": if 'pods/*' is present, must not specify pods/a"},
		{"webhooks[0].rules[0].resources=[\"*\", pods]", "webhooks[0].rules[0].resources Invalid", "Invalid value: [\"*\",\"pods\"]: if '*' is present, must not specify other resources without subresources"},
		{"webhooks[0].rules[0].scope=Odd", "webhooks[0].rules[0].scope NotSupported", "Unsupported value: \"Odd\": supported values: \"*\", \"Cluster\", \"Namespaced\""},
		{"webhooks[0].matchConditions=[{name: \"\", expression: \"\"}]", "webhooks[0].matchConditions[0].expression Required, webhooks[0].matchConditions[0].name Required"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"true\"},{name: a, expression: \"true\"}]", "webhooks[0].matchConditions[1].name Duplicate", "Duplicate value: \"a\""},
		{"webhooks[0].matchConditions=[{name: a, expression: \" object.metadata.namespace == 'x' && request.userInfo.username != 'y' && authorizer.group('').resource('pods').check('get').allowed() \"}]", ""},
		{"webhooks[0].matchConditions=[{name: a, expression: \"... [}\"}]", "webhooks[0].matchConditions[0].expression Invalid"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"object.x + 1\"}]", "webhooks[0].matchConditions[0].expression Invalid", "Invalid value: \"object.x + 1\": must evaluate to bool but got int"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"params.x\"}]", "webhooks[0].matchConditions[0].expression Invalid",
		 "Invalid value: \"params.x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x\n | ^"},
		{"webhooks[0].matchConditions=[{name: a, expression: \"request.nope == 'x'\"}]", "webhooks[0].matchConditions[0].expression Invalid",
		 "Invalid value: \"request.nope == 'x'\": compilation failed: ERROR: <input>:1:8: undefined field 'nope'\n | request.nope == 'x'\n | .......^"},
		{"webhooks[1]={name: a.b.c, clientConfig: {service: {name: s, namespace: \"n\"}}, sideEffects: None, admissionReviewVersions: [v1], rules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}", "webhooks[1].name Duplicate", "Duplicate value: \"a.b.c\""},
	};
	RUN(mutatingwebhookconfigurations_base, rows);
}

static const char vap_base[] = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: d}, spec: {matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}, validations: [{expression: \"true\"}]}}";

static void vap_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.matchConstraints=", "spec.matchConstraints Required", "Required value"},
		{"spec.matchConstraints={resourceRules: []}", "spec.matchConstraints.resourceRules Required", "Required value"},
		{"spec.validations=", "spec.auditAnnotations Required, spec.validations Required"},
		{"spec.validations=[{expression: \"\"}]", "spec.validations[0].expression Required", "Required value: expression is not specified"},
		{"spec.validations=[{expression: \"true\", reason: Odd}]", "spec.validations[0].reason NotSupported", "Unsupported value: \"Odd\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\""},
		{"spec.validations=[{expression: \"true\", message: \" \"}]", "spec.validations[0].message Invalid", "Invalid value: \" \": must be non-empty if specified"},
		{"spec.validations=[{expression: \"true\", message: \"a\\nb\"}]", "spec.validations[0].message Invalid", "Invalid value: \"a\\nb\": must not contain line breaks"},
		{"spec.validations=[{expression: \"true\", messageExpression: \" \"}]", "spec.validations[0].messageExpression Invalid", "Invalid value: \" \": must be non-empty if specified"},
		{"spec.failurePolicy=Odd", "spec.failurePolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Fail\", \"Ignore\""},
		{"spec.paramKind={apiVersion: \"\", kind: \"\"}", "spec.paramKind.apiVersion Required, spec.paramKind.kind Required"},
		{"spec.paramKind={apiVersion: a/b/c, kind: A_}", "spec.paramKind.apiVersion Invalid, spec.paramKind.kind Invalid"},
		{"spec.paramKind={apiVersion: v1, kind: ConfigMap}", ""},
		{"spec.variables=[{name: \"\", expression: \"\"}]", "spec.variables[0].expression Required, spec.variables[0].name Required"},
		{"spec.variables=[{name: 1a, expression: \"true\"}]", "spec.variables[0].name Invalid", "Invalid value: \"1a\": must be a valid CEL identifier"},
		{"spec.variables=[{name: a, expression: \"true\"},{name: a, expression: \"true\"}]", ""},
		{"spec={variables: [{name: a, expression: object.spec.replicas}, {name: b, expression: variables.a + 1}], validations: [{expression: variables.b > 1}], matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}}", ""},
		{"spec={variables: [{name: b, expression: variables.a}, {name: a, expression: \"1\"}], validations: [{expression: variables.c == 'x'}, {expression: variables.a == 'x'}], matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}}",
		 "spec.validations[0].expression Invalid, spec.validations[1].expression Invalid, spec.variables[0].expression Invalid"},
		{"spec.validations=[{expression: \"params.x == 1\"}]", "spec.validations[0].expression Invalid"},
		{"spec={paramKind: {apiVersion: v1, kind: ConfigMap}, validations: [{expression: \"params.x == 1\", messageExpression: \"'x' + params.y\"}], matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}}", ""},
		{"spec.validations=[{expression: \"true\", messageExpression: \"authorizer.path('/x').check('get').reason()\"}]", "spec.validations[0].messageExpression Invalid"},
		{"spec.validations=[{expression: \"true\", messageExpression: \"1\"}]", "spec.validations[0].messageExpression Invalid", "Invalid value: \"1\": must evaluate to string but got int"},
		{"spec.auditAnnotations=[{key: a, valueExpression: \"1\"}]", "spec.auditAnnotations[0].valueExpression Invalid", "Invalid value: \"1\": must evaluate to one of [string null_type] but got int"},
		{"spec.auditAnnotations=[{key: a, valueExpression: \"object.x == 1 ? 'y' : null\"}]", "spec.auditAnnotations[0].valueExpression Invalid"},
		{"spec.auditAnnotations=[{key: a, valueExpression: \"'x'\"}]", ""},
		{"spec.auditAnnotations=[{key: \"\", valueExpression: \"\"}]", "spec.auditAnnotations[0].key Invalid, spec.auditAnnotations[0].key Invalid, spec.auditAnnotations[0].valueExpression Required"},
		{"spec.auditAnnotations=[{key: \"a b\", valueExpression: \"'a'\"}]", "spec.auditAnnotations[0].key Invalid"},
		{"spec.matchConditions=[{name: a, expression: \"true\"},{name: a, expression: \"true\"}]", "spec.matchConditions[1].name Duplicate", "Duplicate value: \"a\""},
		{"spec.matchConstraints.matchPolicy=Odd", "spec.matchConstraints.matchPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Equivalent\", \"Exact\""},
		{"spec.matchConstraints.resourceRules[0].resourceNames=[\"\", a, a]", "spec.matchConstraints.resourceRules[0].resourceNames[2] Duplicate", "Duplicate value: \"a\""},
	};
	RUN(vap_base, rows);
}

#define WARNING(ref) "status={typeChecking: {expressionWarnings: [{warning: w, fieldRef: \"" ref "\"}]}}"
#define UNREADABLE "status.typeChecking.expressionWarnings[0].fieldRef Invalid"

static void vap_update_status(void **state) {
	static const struct update_case rows[] = {
		{NULL, WARNING("spec.validations[0].expression"), ""},
		{NULL, WARNING(" .a.b['c.d'][1:2][*]..e[?(@.x=='y')].z[0,'q'] "), ""},
		{NULL, WARNING("range .items[*]} text {end"), ""},
		{NULL, WARNING("-1.5"), ""},
		{NULL, WARNING("a[-1]"), ""},
		{NULL, WARNING("[?(@.a)]"), ""},
		{NULL, "status={typeChecking: {expressionWarnings: [{warning: \"\", fieldRef: \" \"}]}}", "status.typeChecking.expressionWarnings[0].fieldRef Required, status.typeChecking.expressionWarnings[0].warning Required"},
		{NULL, WARNING("/a"), UNREADABLE, "Invalid value: \"/a\": invalid JSONPath: unrecognized character in action"},
		{NULL, WARNING("1.2.3"), UNREADABLE, "Invalid value: \"1.2.3\": invalid JSONPath: cannot parse number"},
		{NULL, WARNING("a[1"), UNREADABLE},
		{NULL, WARNING("a[x]"), UNREADABLE},
		{NULL, WARNING("a[-]"), UNREADABLE},
		{NULL, WARNING("a[1,/]"), UNREADABLE},
		{NULL, WARNING("....a"), UNREADABLE, "Invalid value: \"....a\": invalid JSONPath: invalid multiple recursive descent"},
		{NULL, WARNING("[?(@.a=='b]"), UNREADABLE},
		{NULL, WARNING("[?(/==1)]"), UNREADABLE},
		{NULL, WARNING("'a"), UNREADABLE},
		{NULL, WARNING("a} {b"), ""},
		{NULL, "status={conditions: [{type: a, status: \"True\", reason: r, message: \"\", lastTransitionTime: \"2020-01-01T00:00:00Z\"}, {type: a, status: \"True\", reason: r, message: \"\", lastTransitionTime: \"2020-01-01T00:00:00Z\"}]}", "status.conditions[1].type Duplicate"},
	};
	RUN_UPDATES(vap_base, "status", rows);
	autofree char *deep = xmalloc(4096);
	size_t len = 0;
	for (int i = 0; i < 1000; i++)
		len += (size_t)snprintf(deep + len, 4096 - len, "[?(");
	assert_non_null(jsonpath_error(deep));
}

static const char vapb_base[] = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: d}, spec: {policyName: p, validationActions: [Deny]}}";

static void vapb_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.policyName=", "spec.policyName Required", "Required value"},
		{"spec.policyName=A_", "spec.policyName Invalid"},
		{"spec.validationActions=", "spec.validationActions Required", "Required value: at least one validation action is required"},
		{"spec.validationActions=[Odd]", "spec.validationActions[0] NotSupported", "Unsupported value: \"Odd\": supported values: \"Audit\", \"Deny\", \"Warn\""},
		{"spec.validationActions=[Deny, Deny]", "spec.validationActions[1] Duplicate", "Duplicate value: \"Deny\""},
		{"spec.validationActions=[Deny, Warn]", "spec.validationActions Invalid"},
		{"spec.paramRef={}", "spec.paramRef Required, spec.paramRef.parameterNotFoundAction Required"},
		{"spec.paramRef={name: a}", "spec.paramRef.parameterNotFoundAction Required", "Required value"},
		{"spec.paramRef={name: a, selector: {}, parameterNotFoundAction: Deny}", "spec.paramRef.name Forbidden, spec.paramRef.selector Forbidden"},
		{"spec.paramRef={name: a, parameterNotFoundAction: Odd}", "spec.paramRef.parameterNotFoundAction NotSupported", "Unsupported value: \"Odd\": supported values: \"Deny\", \"Allow\""},
		{"spec.matchResources={matchPolicy: Odd}", "spec.matchResources.matchPolicy NotSupported", "Unsupported value: \"Odd\": supported values: \"Equivalent\", \"Exact\""},
		{"spec.matchResources={}", ""},
	};
	RUN(vapb_base, rows);
}

static const char map_base[] = "{apiVersion: admissionregistration.k8s.io/v1, kind: MutatingAdmissionPolicy, metadata: {name: d}, spec: {reinvocationPolicy: Never, matchConstraints: {resourceRules: [{operations: [CREATE], apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}, mutations: [{patchType: ApplyConfiguration, applyConfiguration: {expression: \"Object{spec: Object.spec{replicas: 3}}\"}}]}}";

static void map_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.mutations=", "spec.mutations Required", "Required value: mutations must contain at least one item"},
		{"spec.mutations[0].applyConfiguration.expression=\"1\"", "spec.mutations[0].applyConfiguration.expression Invalid", "Invalid value: \"1\": must evaluate to Object but got int"},
		{"spec.mutations[0].applyConfiguration.expression=\"Object{metadata: Object.metadata{annotations: {'a': 'b'}}}\"", ""},
		{"spec.mutations[0].applyConfiguration.expression=\"Objects{}\"", "spec.mutations[0].applyConfiguration.expression Invalid"},
		{"spec.mutations[0]={patchType: JSONPatch, jsonPatch: {expression: \"[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]\"}}", ""},
		{"spec.mutations[0]={patchType: JSONPatch, jsonPatch: {expression: \"[JSONPatch{op: 1}]\"}}", "spec.mutations[0].jsonPatch.expression Invalid"},
		{"spec.mutations[0]={patchType: JSONPatch, jsonPatch: {expression: \"[1]\"}}", "spec.mutations[0].jsonPatch.expression Invalid", "Invalid value: \"[1]\": must evaluate to list(JSONPatch) but got list(int)"},
		{"spec.matchConditions=[{name: a, expression: \"Object{} == null\"}]", "spec.matchConditions[0].expression Invalid"},
		{"spec.variables=[{name: a, expression: \"object.x\"}]", ""},
	};
	RUN(map_base, rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(validatingwebhookconfigurations_create),
		cmocka_unit_test(mutatingwebhookconfigurations_create),
		cmocka_unit_test(vap_create),
		cmocka_unit_test(vap_update_status),
		cmocka_unit_test(map_create),
		cmocka_unit_test(vapb_create),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
