/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/apiserver/validation/cases.h"

static const char crd_base[] = "{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.a.b}, spec: {group: a.b, scope: Namespaced, names: {plural: things, kind: Thing}, versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {x: {type: string}}}}}}}]}}";

static void crd_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.group=", "spec.group Required"},
		{"spec.group=ab", "spec.group Invalid"},
		{"spec.group=A_.b", "spec.group Invalid"},
		{"spec.scope=", "spec.scope Required", "Required value"},
		{"spec.scope=Odd", "spec.scope NotSupported", "Unsupported value: \"Odd\": supported values: \"Cluster\", \"Namespaced\""},
		{"spec.names.kind=1a", "spec.names.kind Invalid, spec.names.listKind Invalid, spec.names.singular Invalid"},
		{"spec.names.plural=A", "spec.names.plural Invalid"},
		{"spec.names.listKind=Thing", "spec.names.listKind Invalid", "Invalid value: \"Thing\": kind and listKind may not be the same"},
		{"spec.names.shortNames=[A_]", "spec.names.shortNames[0] Invalid"},
		{"spec.names.categories=[A_]", "spec.names.categories[0] Invalid"},
		{"spec.versions[0].schema=", "spec.versions[0].schema.openAPIV3Schema Required", "Required value"},
		{"spec.versions[0].deprecated=true", ""},
		{"spec.versions[0].deprecationWarning=x", "spec.versions[0].deprecationWarning Invalid", "Invalid value: \"x\": can only be set for deprecated versions"},
		{"spec.versions[0].deprecated=true\nspec.versions[0].deprecationWarning=\"\"", "spec.versions[0].deprecationWarning Invalid", "Invalid value: \"\": must not be an empty string"},
		{"spec.versions[1]={name: v1, served: true, storage: false, schema: {openAPIV3Schema: {type: object}}}", "spec.versions Invalid"},
		{"spec.versions[1]={name: v2, served: true, storage: false, schema: {openAPIV3Schema: {type: array}}}", "spec.versions[1].schema.openAPIV3Schema.items Required, spec.versions[1].schema.openAPIV3Schema.type Invalid"},
		{"spec.preserveUnknownFields=true", "spec.preserveUnknownFields Invalid", "Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"},
		{"spec.versions[0].additionalPrinterColumns=[{name: a, type: string, jsonPath: .spec.x}]", ""},
		{"spec.versions[0].additionalPrinterColumns=[{name: \"\", type: odd, format: odd, jsonPath: spec}]", "spec.additionalPrinterColumns[0].JSONPath Invalid, spec.additionalPrinterColumns[0].format Invalid, spec.additionalPrinterColumns[0].name Required, spec.additionalPrinterColumns[0].type Invalid"},
		{"spec.versions[0].additionalPrinterColumns=[{name: a, type: \"\", jsonPath: \"\"}]", "spec.additionalPrinterColumns[0].JSONPath Required, spec.additionalPrinterColumns[0].type Required"},
		{"spec.versions[0].subresources={scale: {specReplicasPath: .spec.x, statusReplicasPath: .status.y}}", ""},
		{"spec.versions[0].subresources={scale: {specReplicasPath: \"\", statusReplicasPath: .spec.y, labelSelectorPath: .x}}", "spec.subresources.scale.labelSelectorPath Invalid, spec.subresources.scale.specReplicasPath Required, spec.subresources.scale.statusReplicasPath Invalid"},
		{"spec.versions[0].subresources={scale: {specReplicasPath: spec, statusReplicasPath: \"\"}}", "spec.subresources.scale.specReplicasPath Invalid, spec.subresources.scale.statusReplicasPath Required"},
		{"spec.versions[0].selectableFields=[{jsonPath: .spec.x}]", ""},
		{"spec.versions[0].selectableFields=[{jsonPath: \"\"},{jsonPath: .spec}]", "spec.selectableFields[0].jsonPath Required, spec.selectableFields[1].jsonPath Invalid"},
		{"spec.versions[0].selectableFields=[{jsonPath: .spec.x},{jsonPath: .spec.x}]", "spec.selectableFields[1].jsonPath Duplicate", "Duplicate value: \".spec.x\""},
		{"spec.versions[0].selectableFields=[{jsonPath: .metadata.name}]", "spec.selectableFields[0].jsonPath Invalid", "Invalid value: \".metadata.name\": is an invalid path: does not refer to a valid field"},
		{"spec.versions[0].selectableFields=[{jsonPath: .spec.no}]", "spec.selectableFields[0].jsonPath Invalid", "Invalid value: \".spec.no\": is an invalid path: does not refer to a valid field"},
		{"spec.conversion={strategy: Odd}", "spec.conversion.strategy NotSupported", "Unsupported value: \"Odd\": supported values: \"None\", \"Webhook\""},
		{"spec.conversion={strategy: Webhook}", "spec.conversion.conversionReviewVersions Required, spec.conversion.webhookClientConfig Required"},
		{"spec.conversion={strategy: Webhook, webhook: {conversionReviewVersions: [v1], clientConfig: {}}}", "spec.conversion.webhookClientConfig Required", "Required value: exactly one of url or service is required"},
		{"spec.conversion={strategy: Webhook, webhook: {conversionReviewVersions: [v9], clientConfig: {url: \"http://a\"}}}", "spec.conversion.conversionReviewVersions Invalid, spec.conversion.webhookClientConfig.url Invalid"},
		{"spec.conversion={strategy: Webhook, webhook: {conversionReviewVersions: [v1, v1], clientConfig: {service: {name: \"\", namespace: \"n\"}}}}", "spec.conversion.conversionReviewVersions[1] Invalid, spec.conversion.webhookClientConfig.service.namespace Required"},
		{"spec.conversion={strategy: None, webhook: {conversionReviewVersions: [v1], clientConfig: {url: \"https://a\"}}}", "spec.conversion.conversionReviewVersions Forbidden, spec.conversion.webhookClientConfig Forbidden"},
		{"spec.group=x.k8s.io\nmetadata.name=things.x.k8s.io\nmetadata.annotations={api-approved.kubernetes.io: \"https://x/y\"}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={}", "spec.validation.openAPIV3Schema.properties[spec].type Required", "Required value: must not be empty for specified object fields"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: odd}", "spec.validation.openAPIV3Schema.properties[spec].type NotSupported", "Unsupported value: \"odd\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array}", "spec.validation.openAPIV3Schema.properties[spec].items Required", "Required value: must be specified"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {}}", "spec.validation.openAPIV3Schema.properties[spec].items.type Required", "Required value: must not be empty for specified array items"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, properties: {a: {}}}", "spec.validation.openAPIV3Schema.properties[spec].properties[a].type Required", "Required value: must not be empty for specified object fields"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, additionalProperties: {type: string}, properties: {a: {type: string}}}", "spec.validation.openAPIV3Schema.properties[spec].additionalProperties Forbidden", "Forbidden: additionalProperties and properties are mutual exclusive"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, additionalProperties: {}}", "spec.validation.openAPIV3Schema.properties[spec].additionalProperties.type Required", "Required value: must not be empty for specified object fields"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={x-kubernetes-int-or-string: true}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={x-kubernetes-int-or-string: true, anyOf: [{type: integer},{type: string}]}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={anyOf: [{type: integer},{type: string}]}", "spec.validation.openAPIV3Schema.properties[spec].type Required", "Required value: must not be empty for specified object fields"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, anyOf: [{properties: {a: {type: string}}}]}", "spec.validation.openAPIV3Schema.properties[spec].anyOf[0].properties[a].type Forbidden", "Forbidden: must be empty to be structural"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, properties: {a: {type: string}}, anyOf: [{properties: {a: {maxLength: 3}}}]}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, allOf: [{description: d, default: {}, nullable: true, title: t}]}", "spec.validation.openAPIV3Schema.properties[spec].allOf[0].default Forbidden, spec.validation.openAPIV3Schema.properties[spec].allOf[0].description Forbidden, spec.validation.openAPIV3Schema.properties[spec].allOf[0].nullable Forbidden, spec.validation.openAPIV3Schema.properties[spec].allOf[0].title Forbidden"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={x-kubernetes-preserve-unknown-fields: true}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={x-kubernetes-preserve-unknown-fields: false, type: object}", "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-preserve-unknown-fields Invalid", "Invalid value: false: must be true or undefined"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, uniqueItems: true}", "spec.validation.openAPIV3Schema.properties[spec].uniqueItems Forbidden", "Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, id: x}", "spec.validation.openAPIV3Schema.properties[spec].id Forbidden", "Forbidden: id is not supported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, $ref: x}", "spec.validation.openAPIV3Schema.properties[spec].$ref Forbidden", "Forbidden: $ref is not supported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, patternProperties: {a: {type: string}}}", "spec.validation.openAPIV3Schema.properties[spec].patternProperties Forbidden", "Forbidden: patternProperties is not supported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, definitions: {a: {type: string}}}", "spec.validation.openAPIV3Schema.properties[spec].definitions Forbidden", "Forbidden: definitions is not supported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: \"null\"}", "spec.validation.openAPIV3Schema.properties[spec].type Forbidden, spec.validation.openAPIV3Schema.properties[spec].type NotSupported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, pattern: \"(\"}", "spec.validation.openAPIV3Schema.properties[spec].pattern Invalid", "Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, pattern: \"*a\"}", "spec.validation.openAPIV3Schema.properties[spec].pattern Invalid", "Invalid value: \"*a\": must be a valid regular expression, but isn't: error parsing regexp: missing argument to repetition operator: `*a`"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, pattern: \"(?=a)\"}", "spec.validation.openAPIV3Schema.properties[spec].pattern Invalid", "Invalid value: \"(?=a)\": must be a valid regular expression, but isn't: error parsing regexp: invalid or unsupported Perl syntax: `(?=a)`"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, pattern: \"^(?P<x>[[:alpha:]]+)(?i:b)\\\\pL$\"}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, pattern: \"^a\\\\d+$\"}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {type: string}, x-kubernetes-list-type: set}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {type: object}, x-kubernetes-list-type: set}", "spec.validation.openAPIV3Schema.properties[spec].items.x-kubernetes-map-type Invalid"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {type: string}, x-kubernetes-list-type: map}", "spec.validation.openAPIV3Schema.properties[spec].items.type Invalid, spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-list-map-keys Required"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {type: object, properties: {a: {type: string}}}, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [a]}", "spec.validation.openAPIV3Schema.properties[spec].items.properties[a].default Required", "Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {type: object, required: [a], properties: {a: {type: string}}}, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [a]}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: {type: object, properties: {a: {type: object}}}, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [a, a, b]}", "spec.validation.openAPIV3Schema.properties[spec].items.properties[a].default Required, spec.validation.openAPIV3Schema.properties[spec].items.properties[a].default Required, spec.validation.openAPIV3Schema.properties[spec].items.properties[a].type Invalid, spec.validation.openAPIV3Schema.properties[spec].items.properties[a].type Invalid, spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-list-map-keys Invalid, spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-list-map-keys Invalid"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, x-kubernetes-list-type: odd}", "spec.validation.openAPIV3Schema.properties[spec].type Invalid, spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-list-type NotSupported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, x-kubernetes-map-type: odd}", "spec.validation.openAPIV3Schema.properties[spec].type Invalid, spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-map-type NotSupported"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, x-kubernetes-map-type: atomic}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, x-kubernetes-embedded-resource: true}", "spec.validation.openAPIV3Schema.properties[spec].properties Required", "Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, x-kubernetes-validations: [{rule: \"\"}]}", "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule Required", "Required value: rule is not specified"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, x-kubernetes-validations: [{rule: \"true\", message: \" \"}]}", "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].message Invalid", "Invalid value: \" \": must be non-empty if specified"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, default: a}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: object, properties: {metadata: {type: string}}}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: array, items: [{type: string}]}", "spec.validation.openAPIV3Schema.properties[spec].items Forbidden", "Forbidden: items must be a schema object and not an array"},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, nullable: true}", ""},
		{"spec.versions[0].schema.openAPIV3Schema.properties.spec={type: string, format: odd, enum: [a, b]}", ""},
		{"spec.versions[0].schema.openAPIV3Schema={}", "spec.validation.openAPIV3Schema.type Required", "Required value: must not be empty at the root"},
		{"spec.versions[0].schema.openAPIV3Schema={type: string}", "spec.validation.openAPIV3Schema.type Invalid", "Invalid value: \"string\": must be object at the root"},
		{"spec.versions[0].schema.openAPIV3Schema={type: object, x-kubernetes-preserve-unknown-fields: true}", ""},
		{"spec.versions[0].schema.openAPIV3Schema={type: object, properties: {metadata: {type: object, properties: {name: {type: string, maxLength: 5}}}}}", ""},
		{"spec.versions[0].schema.openAPIV3Schema={type: object, properties: {metadata: {type: object, properties: {labels: {type: object}}}}}", "spec.validation.openAPIV3Schema.properties[metadata] Forbidden", "Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified"},
		{"spec.versions[0].schema.openAPIV3Schema={type: object, properties: {kind: {type: object}}}", "spec.validation.openAPIV3Schema.properties[kind].type Invalid", "Invalid value: \"object\": must be string"},
		{"spec.versions[0].schema.openAPIV3Schema={type: object, additionalProperties: {type: string}}", "spec.validation.openAPIV3Schema.additionalProperties Forbidden", "Forbidden: must not be used at the root"},
		{"spec.versions[0].schema.openAPIV3Schema={type: object, nullable: true}", "spec.validation.openAPIV3Schema.nullable Forbidden", "Forbidden: nullable cannot be true at the root"},
	};
	RUN(crd_base, rows);
}

static const char apiservice_base[] = "{apiVersion: apiregistration.k8s.io/v1, kind: APIService, metadata: {name: v1.a.b}, spec: {group: a.b, version: v1, groupPriorityMinimum: 10, versionPriority: 10, service: {name: s, namespace: \"n\"}, insecureSkipTLSVerify: true}}";

static void apiservice_create(void **state) {
	static const struct validation_case rows[] = {
		{NULL, ""},
		{"spec.group=A_", "spec.group Invalid"},
		{"spec.groupPriorityMinimum=0\nspec.versionPriority=0", "spec.groupPriorityMinimum Invalid, spec.versionPriority Invalid"},
		{"spec.groupPriorityMinimum=20001\nspec.versionPriority=1001", "spec.groupPriorityMinimum Invalid, spec.versionPriority Invalid"},
		{"spec.service=", "spec.insecureSkipTLSVerify Invalid", "Invalid value: true: local APIServices may not have insecureSkipTLSVerify"},
		{"spec.service={name: \"\", namespace: \"\"}", "spec.service.name Required, spec.service.namespace Required"},
		{"spec.service={name: s, namespace: \"n\", port: 0}", "spec.service.port Invalid", "Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive"},
		{"spec.caBundle=YQ==", "spec.insecureSkipTLSVerify Invalid", "Invalid value: true: may not be true if caBundle is present"},
	};
	RUN(apiservice_base, rows);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crd_create),
		cmocka_unit_test(apiservice_create),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
