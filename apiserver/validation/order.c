/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which causes are told: Kubernetes judges the fields of a type in an order of its own, which clients see. The walk goes by the
 * schema, so what it has found is arranged afterwards: by the rows below, list by list, item by item. What no row names keeps the order it was found in.
 */
#include "apiserver/validation/validation.h"

#include "api/admissionregistration_v1.h"
#include "api/apiregistration_v1.h"
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/autoscaling_v2.h"
#include "api/batch_v1.h"
#include "api/certificates_v1.h"
#include "api/discovery_v1.h"
#include "api/flowcontrol_v1.h"
#include "api/networking_v1.h"
#include "api/node_v1.h"
#include "api/policy_v1.h"
#include "api/rbac_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"

/* Names of fields; "." is the value itself, "~x" a place that causes were put at (tell_at): what no field's own place says. Unnamed, it is behind all. */
static const struct row {
	const struct api_type *type;
	const char *fields;
} rows[] = {
	{&core_v1_pod_spec_type, "terminationGracePeriodSeconds volumes resourceClaims containers initContainers ephemeralContainers resources ~hostPorts restartPolicy dnsPolicy nodeSelector securityContext "
				 "imagePullSecrets affinity dnsConfig readinessGates schedulingGates topologySpreadConstraints ~hostProcess ~hostUsers ~hostname hostnameOverride serviceAccountName nodeName "
				 "activeDeadlineSeconds hostname subdomain tolerations hostAliases priorityClassName runtimeClassName preemptionPolicy overhead os ~os ~files"},
	{&core_v1_container_type, "name image terminationMessagePolicy ports env envFrom volumeMounts volumeDevices imagePullPolicy resources resizePolicy securityContext ~restart ~image ~name "
				  "targetContainerName ~ports lifecycle livenessProbe readinessProbe startupProbe restartPolicy restartPolicyRules ~barred"},
	{&core_v1_env_var_source_type, "fieldRef resourceFieldRef configMapKeyRef secretKeyRef fileKeyRef ."},
	{&core_v1_file_key_selector_type, "key volumeName path"},
	{&core_v1_env_from_source_type, "prefix configMapRef secretRef"},
	{&core_v1_volume_device_type, "name devicePath"},
	{&core_v1_container_restart_rule_type, "action exitCodes"},
	{&core_v1_resource_requirements_type, "~claims limits ~requests . claims"},
	{&core_v1_http_get_action_type, "path port scheme httpHeaders"},
	{&core_v1_security_context_type, "privileged runAsUser runAsGroup procMount seccompProfile . windowsOptions appArmorProfile"},
	{&core_v1_pod_security_context_type, "fsGroup runAsUser runAsGroup supplementalGroups shareProcessNamespace sysctls fsGroupChangePolicy seccompProfile windowsOptions appArmorProfile "
					     "supplementalGroupsPolicy seLinuxChangePolicy"},
	{&core_v1_topology_spread_constraint_type, "maxSkew topologyKey whenUnsatisfiable ~twice minDomains nodeAffinityPolicy nodeTaintsPolicy matchLabelKeys ~keys labelSelector"},
	{&core_v1_pod_template_spec_type, ". metadata labels annotations spec"},
	{&core_v1_probe_type, "exec httpGet tcpSocket grpc . initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold terminationGracePeriodSeconds"},
	{&core_v1_volume_mount_type, "name mountPath"},
	{&core_v1_container_port_type, "name containerPort hostPort protocol"},
	{&core_v1_replication_controller_spec_type, "minReadySeconds selector replicas template"},
	{&core_v1_persistent_volume_claim_spec_type, "selector accessModes resources storageClassName volumeMode dataSource dataSourceRef . volumeAttributesClassName"},
	{&core_v1_persistent_volume_spec_type, "accessModes capacity persistentVolumeReclaimPolicy nodeAffinity hostPath persistentDisk gcePersistentDisk awsElasticBlockStore glusterfs flocker nfs rbd quobyte cephfs "
					       "cephFS iscsi cinder fc flexVolume azureFile vsphereVolume photonPersistentDisk portworxVolume azureDisk scaleIO local storageos csi . ~recycle storageClassName volumeMode "
					       "volumeAttributesClassName ~csi"},
	{&core_v1_persistent_volume_claim_status_type, "capacity allocatedResourceStatuses allocatedResources"},
	{&core_v1_endpoint_address_type, "ip hostname nodeName ~ip"},
	{&core_v1_limit_range_item_type, "type max min default defaultRequest limits maxLimitRequestRatio ~check"},
	{&core_v1_resource_quota_spec_type, "hard scopes scopeSelector"},
	{&core_v1_service_port_type, "name port protocol targetPort appProtocol"},
	{&apps_v1_deployment_spec_type, "replicas selector template strategy minReadySeconds revisionHistoryLimit progressDeadlineSeconds"},
	{&apps_v1_stateful_set_spec_type, "podManagementPolicy updateStrategy persistentVolumeClaimRetentionPolicy volumeClaimTemplates replicas minReadySeconds ordinals serviceName selector template ."},
	{&apiextensions_v1_custom_resource_definition_spec_type, "group scope - - versions version names validation subresources additionalPrinterColumns selectableFields conversion"},
	{&apiextensions_v1_custom_resource_definition_names_type, "plural singular kind listKind shortNames - categories"},
	{&autoscaling_v2_metric_spec_type, "type object external pods resource containerResource ."},
	{&rbac_v1_role_binding_type, "roleRef subjects"},
	{&rbac_v1_cluster_role_binding_type, "roleRef subjects"},
	{&admissionregistration_v1_validating_admission_policy_spec_type, "failurePolicy paramKind matchConstraints matchConditions variables validations auditAnnotations"},
	{&admissionregistration_v1_validating_webhook_type, "name rules failurePolicy matchPolicy sideEffects timeoutSeconds namespaceSelector objectSelector clientConfig matchConditions"},
	{&admissionregistration_v1_mutating_webhook_type, "name rules failurePolicy matchPolicy sideEffects timeoutSeconds namespaceSelector objectSelector reinvocationPolicy clientConfig matchConditions"},
	{&core_v1_endpoint_subset_type, ". addresses notReadyAddresses ports"},
	{&apps_v1_replica_set_spec_type, "replicas minReadySeconds selector template"},
	{&batch_v1_job_spec_type, "~once parallelism completions activeDeadlineSeconds backoffLimit ttlSecondsAfterFinished backoffLimitPerIndex maxFailedIndexes ~failed managedBy completionMode ~mode "
				  "podFailurePolicy successPolicy podReplacementPolicy template selector ~match"},
	{&batch_v1_pod_failure_policy_rule_type, "action onExitCodes onPodConditions ."},
	{&batch_v1_pod_failure_policy_on_pod_conditions_pattern_type, "type status"},
	{&batch_v1_pod_failure_policy_on_exit_codes_requirement_type, "operator containerName values"},
	{&batch_v1_success_policy_rule_type, ". succeededIndexes succeededCount"},
	{&batch_v1_job_status_type, "active succeeded failed ready terminating uncountedTerminatedPods"},
	{&batch_v1_cron_job_spec_type, "schedule startingDeadlineSeconds timeZone concurrencyPolicy jobTemplate successfulJobsHistoryLimit failedJobsHistoryLimit"},
	{&autoscaling_v2_horizontal_pod_autoscaler_spec_type, "minReplicas maxReplicas scaleTargetRef metrics behavior"},
	{&certificates_v1_certificate_signing_request_spec_type, "request usages signerName expirationSeconds"},
	{&networking_v1_network_policy_spec_type, "podSelector ingress egress policyTypes"},
	{&networking_v1_ingress_spec_type, ". defaultBackend rules tls ingressClassName"},
	{&networking_v1_ingress_class_spec_type, "controller parameters"},
	{&networking_v1_parent_reference_type, "group resource name namespace"},
	{&networking_v1_ingress_class_parameters_reference_type, "apiGroup kind name scope namespace"},
	{&core_v1_endpoint_port_type, "name port protocol appProtocol"},
	{&apps_v1_daemon_set_spec_type, "selector template minReadySeconds updateStrategy revisionHistoryLimit"},
	{&admissionregistration_v1_mutating_admission_policy_spec_type, "failurePolicy paramKind matchConstraints matchConditions variables mutations reinvocationPolicy"},
	{&admissionregistration_v1_match_condition_type, "expression name"},
	{&admissionregistration_v1_validation_type, "expression messageExpression message reason"},
	{&policy_v1_pod_disruption_budget_status_type, "conditions disruptionsAllowed currentHealthy desiredHealthy expectedPods"},
	{&policy_v1_pod_disruption_budget_spec_type, ". minAvailable maxUnavailable selector unhealthyPodEvictionPolicy"},
	{&discovery_v1_endpoint_type, "addresses nodeName deprecatedTopology hostname hints"},
	{&discovery_v1_endpoint_slice_type, "addressType ports endpoints"},
	{&discovery_v1_endpoint_port_type, "name protocol appProtocol"},
	{&resource_v1_device_sub_request_type, "name deviceClassName selectors count tolerations"},
	{&resource_v1_exact_device_request_type, "deviceClassName selectors count tolerations"},
	{&resource_v1_device_taint_type, "key value effect"},
	{&resource_v1_device_request_type, "name . exactly firstAvailable"},
	{&resource_v1_resource_slice_spec_type, "driver pool - - - nodeName nodeSelector allNodes perDeviceNodeSelection . devices sharedCounters"},
	{&resource_v1_device_type, "name attributes capacity taints consumesCounters nodeName nodeSelector allNodes . bindingConditions bindingFailureConditions"},
	{&resource_v1_device_claim_configuration_type, "requests opaque"},
	{&resource_v1_resource_claim_status_type, "reservedFor devices - allocation"},
	{&resource_v1_device_request_allocation_result_type, "request driver pool device"},
	{&resource_v1_allocated_device_status_type, "driver pool device shareID . conditions data networkData"},
	{&core_v1_preferred_scheduling_term_type, "weight preference"},
	{&core_v1_node_selector_requirement_type, "~operator key values"},
	{&meta_v1_label_selector_requirement_type, "~operator key values"},
	{&core_v1_host_alias_type, "ip hostnames"},
	{&core_v1_weighted_pod_affinity_term_type, "weight podAffinityTerm"},
	{&core_v1_pod_affinity_term_type, "labelSelector namespaceSelector namespace matchLabelKeys mismatchLabelKeys ~keys topologyKey"},
	{&core_v1_quobyte_volume_source_type, "registry tenant volume"},
	{&core_v1_volume_type, "emptyDir hostPath gitRepo persistentDisk gcePersistentDisk awsElasticBlockStore secret nfs iscsi glusterfs flocker persistentVolumeClaim rbd cinder cephfs cephFS quobyte downwardAPI "
			       "downwarAPI fc flexVolume configMap azureFile vsphereVolume photonPersistentDisk portworxVolume azureDisk storageos projected scaleIO csi ephemeral image . name"},
	{&core_v1_projected_volume_source_type, "defaultMode sources"},
	{&core_v1_volume_projection_type, "secret configMap downwardAPI serviceAccountToken clusterTrustBundle podCertificate"},
	{&core_v1_service_account_token_projection_type, "expirationSeconds path"},
	{&core_v1_downward_api_volume_source_type, "defaultMode items"},
	{&core_v1_downward_api_volume_file_type, "path fieldRef resourceFieldRef . mode"},
	{&core_v1_config_map_volume_source_type, "name defaultMode items"},
	{&core_v1_secret_volume_source_type, "secretName defaultMode items"},
	{&core_v1_config_map_projection_type, "name items"},
	{&core_v1_secret_projection_type, "name items"},
	{&core_v1_config_map_key_selector_type, "name key"},
	{&core_v1_secret_key_selector_type, "name key"},
	{&core_v1_toleration_type, "key ~checks effect"},
	{&core_v1_node_type, "metadata status spec"},
	{&core_v1_topology_selector_label_requirement_type, "values key"},
	{&flowcontrol_v1_flow_schema_spec_type, "matchingPrecedence distinguisherMethod priorityLevelConfiguration rules"},
	{&flowcontrol_v1_policy_rules_with_subjects_type, "subjects . resourceRules nonResourceRules"},
	{&storage_v1_storage_class_type, "provisioner parameters reclaimPolicy volumeBindingMode allowedTopologies"},
	{&networking_v1_network_policy_port_type, "protocol port endPort"},
	{&networking_v1_http_ingress_path_type, "pathType path backend"},
	{&networking_v1_ingress_rule_type, "host http"},
	{&networking_v1_ingress_tls_type, "hosts secretName"},
	{&core_v1_typed_local_object_reference_type, "apiGroup kind name"},
	{&autoscaling_v2_resource_metric_source_type, "name target"},
	{&autoscaling_v2_container_resource_metric_source_type, "name container target"},
	{&autoscaling_v2_object_metric_source_type, "describedObject metric target"},
	{&admissionregistration_v1_param_ref_type, "name selector"},
	{&core_v1_service_spec_type, "~before ~type ports selector sessionAffinity sessionAffinityConfig ~addresses externalIPs type ~ports ~rest externalTrafficPolicy healthCheckNodePort internalTrafficPolicy "
				     "trafficDistribution"},
	{&core_v1_typed_object_reference_type, "name kind apiGroup"},
	{&core_v1_pod_resource_claim_type, "name . resourceClaimName resourceClaimTemplateName"},
	{&core_v1_iscsi_volume_source_type, "targetPortal iqn lun"},
	{&core_v1_iscsi_persistent_volume_source_type, "targetPortal iqn lun"},
	{&autoscaling_v2_hpa_scaling_rules_type, "stabilizationWindowSeconds selectPolicy policies"},
	{&resource_v1_resource_claim_template_spec_type, "metadata spec"},
	{&flowcontrol_v1_limited_priority_level_configuration_type, "nominalConcurrencyShares limitResponse lendablePercent borrowingLimitPercent"},
	{&apiextensions_v1_custom_resource_definition_type, "metadata spec status"},
	{&admissionregistration_v1_validating_admission_policy_status_type, "typeChecking conditions"},
	{&admissionregistration_v1_expression_warning_type, "warning fieldRef"},
	{&resource_v1_device_claim_type, "requests constraints config"},
	{&flowcontrol_v1_priority_level_configuration_spec_type, "type - exempt limited"},
	{&admissionregistration_v1_match_resources_type, "matchPolicy namespaceSelector objectSelector resourceRules excludeResourceRules"},
	{&meta_v1_label_selector_requirement_type, "values operator key"},
	{&storage_v1_csi_driver_spec_type, "attachedRequired podInfoOnMount storageCapacity fsGroupPolicy tokenRequests volumeLifecycleModes seLinuxMount nodeAllocatableUpdatePeriodSeconds"},
	{&storage_v1_csi_node_driver_type, "name nodeID allocatable -"},
	{&certificates_v1_certificate_signing_request_condition_type, "type status"},
	{&admissionregistration_v1_named_rule_with_operations_type, "resourceNames operations apiGroups apiVersions resources scope"},
	{&admissionregistration_v1_rule_with_operations_type, "operations apiGroups apiVersions resources scope"},
};

/* Of what may not change, where that has an order of its own. */
static const struct row update_rows[] = {
	{&storage_v1_storage_class_type, "parameters provisioner reclaimPolicy volumeBindingMode"},
	{&batch_v1_job_spec_type, "completions selector template completionMode podFailurePolicy backoffLimitPerIndex managedBy successPolicy"},
	{&core_v1_persistent_volume_claim_spec_type, ". resources volumeMode volumeAttributesClassName"},
	{&apiextensions_v1_custom_resource_definition_spec_type, "scope names group"},
};

static const char *fields_of(const struct api_type *type, bool of_update) {
	if (type == &core_v1_ephemeral_container_type)
		type = &core_v1_container_type;
	for (size_t i = 0; type && of_update && i < array_len(update_rows); i++)
		if (update_rows[i].type == type)
			return update_rows[i].fields;
	for (size_t i = 0; type && i < array_len(rows); i++)
		if (rows[i].type == type)
			return rows[i].fields;
	return NULL;
}

enum { UNNAMED = 1000, LATE };

static bool is_step(const char *step, size_t len, const char *name) {
	return strlen(name) == len && memcmp(step, name, len) == 0;
}

/* Whether it is about the field itself, not about what is in it. */
static bool is_about(const struct error_cause *cause, const char *step, size_t len) {
	size_t whole = strlen(cause->field);
	return whole >= len && memcmp(cause->field + whole - len, step, len) == 0;
}

static bool is_reason(const struct error_cause *cause, const char *reason) {
	return strcmp(cause->reason, reason) == 0;
}

/* Of which lists it is looked whether they have something twice once each item was. */
static bool is_set_item(const struct api_type *type) {
	static const struct api_type *const types[] = {
		&resource_v1_device_type, &resource_v1_device_request_type, &resource_v1_device_sub_request_type, &resource_v1_device_counter_consumption_type, &resource_v1_counter_set_type,
		&resource_v1_resource_claim_consumer_reference_type, &resource_v1_allocated_device_status_type,
	};
	for (size_t i = 0; i < array_len(types); i++)
		if (types[i] == type)
			return true;
	return false;
}

/* The same of lists of texts. */
static bool is_set_of_texts(const char *field) {
	return strstr(field, "spec.usages[") || strstr(field, ".networkData.ips[") || strstr(field, "devices.constraints[") || strstr(field, "devices.config[") || strstr(field, ".validValues[");
}

/* How the lists of a device's conditions for being bound stand to themselves and each other. */
static bool is_of_binding(const struct error_cause *cause, const char *step, size_t len) {
	bool list = is_step(step, len, "bindingConditions") || is_step(step, len, "bindingFailureConditions");
	return list && ((is_about(cause, step, len) && strcmp(cause->reason, "FieldValueInvalid") == 0) || strcmp(cause->reason, "FieldValueDuplicate") == 0 || strstr(cause->message, "must not overlap"));
}

/* What is looked at once all else of its holder was. */
static bool is_late(const struct api_type *type, const struct error_cause *cause, const char *step, size_t len) {
	bool twice = is_reason(cause, "FieldValueDuplicate"), barred = is_reason(cause, "FieldValueForbidden");
	if (type == &apiextensions_v1_custom_resource_definition_type)
		return strstr(cause->message, "cannot set to true, set x-kubernetes") || str_starts_with(cause->field, "metadata.annotations[");
	if (*step == '[' && is_set_item(type))
		return twice && is_about(cause, step, len);
	if (type == &resource_v1_device_type || type == &resource_v1_device_request_allocation_result_type)
		return is_of_binding(cause, step, len);
	if (type == &flowcontrol_v1_subject_type)
		return barred && is_about(cause, step, len);
	if (type == &certificates_v1_certificate_signing_request_condition_type || type == &admissionregistration_v1_audit_annotation_type)
		return twice;
	if (type == &admissionregistration_v1_match_resources_type)
		return is_step(step, len, "resourceRules") && is_about(cause, step, len);
	if (type == &storage_v1_volume_attachment_spec_type)
		return str_ends_with(cause->field, ".persistentVolumeName") && is_reason(cause, "FieldValueInvalid");
	if (type == &admissionregistration_v1_mutation_type)
		return is_reason(cause, "FieldValueInvalid") && is_about(cause, step, len) && !is_step(step, len, "patchType");
	if (type == &admissionregistration_v1_validating_webhook_type || type == &admissionregistration_v1_mutating_webhook_type)
		return twice && is_step(step, len, "name");
	return false;
}

/* What is told before all else. */
static bool is_early(const struct api_type *type, const struct error_cause *cause, const char *step, size_t len) {
	if (type == &core_v1_persistent_volume_claim_spec_type)
		return is_step(step, len, "accessModes") && is_reason(cause, "FieldValueRequired");
	if (type == &core_v1_persistent_volume_spec_type)
		return is_step(step, len, "csi") && is_reason(cause, "FieldValueRequired") && is_about(cause, step, len);
	if (type == &apiextensions_v1_custom_resource_definition_names_type)
		return is_reason(cause, "FieldValueRequired");
	if (type == &meta_v1_condition_type)
		return is_reason(cause, "FieldValueDuplicate");
	if (type == &networking_v1_network_policy_port_type)
		return is_step(step, len, "endPort") && strstr(cause->message, "may not be specified");
	return false;
}

static long rank_of(const struct api_type *type, const struct error_cause *cause, bool of_update, const char *step, size_t len) {
	if (is_late(type, cause, step, len))
		return LATE + (strstr(cause->message, " are required to use ") != NULL);
	/* Who a claim is reserved for is held against what was allocated once the devices were looked at. */
	if (type == &resource_v1_resource_claim_status_type && is_step(step, len, "reservedFor") && is_reason(cause, "FieldValueForbidden"))
		return 2;
	if (type == &apiextensions_v1_custom_resource_definition_spec_type && of_update && str_ends_with(cause->field, ".plural"))
		return 3;
	if (type == &apiextensions_v1_custom_resource_definition_spec_type && is_step(step, len, "versions") && is_reason(cause, "FieldValueRequired") && str_ends_with(cause->field, "].schema.openAPIV3Schema"))
		return 2;
	if (type == &apiextensions_v1_custom_resource_definition_spec_type && is_step(step, len, "preserveUnknownFields"))
		return 3;
	if (type == &apiextensions_v1_custom_resource_definition_names_type && strstr(cause->message, "may not be the same"))
		return 5;
	/* What does not go with the type of a level is told ahead of what is wrong with what does. */
	if (type == &flowcontrol_v1_priority_level_configuration_spec_type && is_reason(cause, "FieldValueForbidden") && is_about(cause, step, len))
		return 1;
	if (type == &autoscaling_v2_metric_spec_type && is_reason(cause, "FieldValueForbidden") && is_about(cause, step, len))
		return LATE + 1;
	if (type == &storage_v1_csi_node_driver_type && is_reason(cause, "FieldValueDuplicate") && is_step(step, len, "name"))
		return 3;
	/* Where a slice's devices are from may not change, which is looked at before where they can be reached. */
	if (type == &resource_v1_resource_slice_spec_type && strstr(cause->message, IMMUTABLE_TEXT))
		return is_step(step, len, "pool") ? 2 : is_step(step, len, "driver") ? 3 : 4;
	if (type == &core_v1_typed_local_object_reference_type && strstr(cause->field, ".dataSource."))
		type = &core_v1_typed_object_reference_type;
	if (is_early(type, cause, step, len))
		return -1;
	const char *fields = fields_of(type, of_update);
	for (long rank = 0; fields && *fields; rank++) {
		size_t own = strcspn(fields, " ");
		if (own == len && memcmp(fields, step, len) == 0)
			return rank;
		fields += own + strspn(fields + own, " ");
	}
	return *step == '~' ? LATE : UNNAMED;
}

struct item {
	struct error_cause cause;
	const char *rest; /* of its path */
	const char *step;
	size_t step_len;
	long rank;
	size_t first, own; /* where its group and itself were found */
};

static void take_step(struct item *item) {
	const char *at = item->rest + (*item->rest == '.');
	size_t len = *at == '[' ? strcspn(at, "]") + 1 : strcspn(at, ".[");
	if (len > strlen(at))
		len = strlen(at);
	item->step = *at ? at : ".";
	item->step_len = *at ? len : 1;
	item->rest = at + len;
}

static int order(const void *a, const void *b) {
	const struct item *x = a, *y = b;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return (x->own > y->own) - (x->own < y->own);
}

static bool same_step(const struct item *a, const struct item *b) {
	return a->step_len == b->step_len && memcmp(a->step, b->step, a->step_len) == 0;
}

static const struct api_type *type_beneath(const struct api_type *type, const struct item *item) {
	size_t offset;
	if (*item->step == '[')
		return type;
	const struct api_field *f = type ? api_field_find(type, item->step, item->step_len, &offset) : NULL;
	return f && f->kind == API_STRUCT ? f->type : NULL;
}

/* Of what stands in a list, or of the list itself, which comes first unless what is in it made it wrong. */
static long rank_of_item(const struct api_type *type, const struct item *item, bool map) {
	static const char *const first[] = {"FieldValueForbidden", "FieldValueNotSupported", "FieldValueTooMany", "FieldValueTooLong"};
	if (*item->step == '.') {
		/* A device's keys are looked at before what they stand for. */
		if (type == &resource_v1_device_attribute_type || type == &resource_v1_device_capacity_type)
			return -1;
		bool ahead = (is_reason(&item->cause, "FieldValueRequired") && !map) || strstr(item->cause.message, "must be an IPv") || strstr(item->cause.message, ": if '*' is present") || strstr(item->cause.message, ": must have the storage version");
		for (size_t i = 0; i < array_len(first); i++)
			ahead |= is_reason(&item->cause, first[i]);
		return ahead ? -1 : UNNAMED;
	}
	if (is_reason(&item->cause, "FieldValueDuplicate") && is_set_of_texts(item->cause.field) && is_about(&item->cause, item->step, item->step_len))
		return LATE;
	return *item->step == '~' || is_late(type, &item->cause, item->step, item->step_len) ? LATE : strtol(item->step + 1, NULL, 10);
}

/* What is told twice of a metric is told by whoever judges its source, once all else of it was looked at. */
static bool is_told_again(const struct api_type *type, const struct item *items, size_t i) {
	for (size_t n = 0; type == &autoscaling_v2_metric_spec_type && n < i; n++)
		if (strcmp(items[n].cause.field, items[i].cause.field) == 0 && strcmp(items[n].cause.message, items[i].cause.message) == 0)
			return true;
	return false;
}

static void arrange(const struct api_type *type, bool of_update, struct item *items, size_t count) {
	bool list = false, map = false;
	for (size_t i = 0; i < count; i++) {
		take_step(&items[i]);
		list |= *items[i].step == '[';
		map |= *items[i].step == '[' && (items[i].step[1] < '0' || items[i].step[1] > '9');
	}
	for (size_t i = 0; i < count; i++) {
		items[i].own = items[i].first = i;
		items[i].rank = list ? rank_of_item(type, &items[i], map) : rank_of(type, &items[i].cause, of_update, items[i].step, items[i].step_len);
		if (!list && is_step(items[i].step, items[i].step_len, "type") && is_told_again(type, items, i))
			items[i].rank = LATE;
		for (size_t n = 0; n < i; n++)
			if (same_step(&items[n], &items[i])) {
				items[i].first = items[n].first;
				break;
			}
	}
	qsort(items, count, sizeof(*items), order);
	for (size_t from = 0, to; from < count; from = to) {
		for (to = from + 1; to < count && items[to].rank == items[from].rank && same_step(&items[from], &items[to]);)
			to++;
		/* A schema's causes come in the order of three looks at it (schema.c). */
		if (to - from > 1 && *items[from].step != '.' && !is_step(items[from].step, items[from].step_len, "openAPIV3Schema"))
			arrange(type_beneath(type, &items[from]), of_update, items + from, to - from);
	}
}

/* What may not change is judged once the object itself has been. */
static bool is_of_update(const struct error_cause *cause) {
	static const char *const begins[] = {"Forbidden: updates to ", "Forbidden: pod updates ", "Forbidden: field can not be less than "}, *const parts[] = {IMMUTABLE_TEXT, " is immutable after creation", " in tandem with ", ": cannot change roleRef"};
	bool found = cause->place && strstr(cause->place, "~update");
	for (size_t i = 0; i < array_len(begins); i++)
		found |= str_starts_with(cause->message, begins[i]);
	for (size_t i = 0; i < array_len(parts); i++)
		found |= strstr(cause->message, parts[i]) != NULL;
	return found;
}

/* What is looked at behind what may not change. */
static bool is_behind_update(const struct api_type *type, const struct error_cause *cause) {
	return type == &apiextensions_v1_custom_resource_definition_type && (str_starts_with(cause->field, "status.") || str_starts_with(cause->field, "metadata.annotations[") || strstr(cause->message, "cannot set to true, set x-kubernetes"));
}

/* Of these kinds that comes first. */
static bool judges_update_first(const struct api_type *type) {
	return type == &apps_v1_daemon_set_type || type == &networking_v1_ingress_class_type || type == &storage_v1_volume_attributes_class_type || type == &core_v1_config_map_type || type == &core_v1_secret_type;
}

/* On an update these are judged as if they were new, and then once more as what changes. */
static bool is_judged_twice(const struct api_type *type) {
	return type == &batch_v1_job_type || type == &core_v1_persistent_volume_type;
}

/* What only the look at the whole finds. */
static bool is_once(const struct error_cause *cause) {
	return cause->place && strstr(cause->place, "~once");
}

/* The array stays the caller's, what is in it does not. */
static void append_moved(struct error *err, struct error_cause *causes, size_t count) {
	for (size_t i = 0; i < count; i++) {
		size_t at = err->cause_count;
		error_cause(err, causes[i].reason, causes[i].field, "%s", causes[i].message);
		if (causes[i].place)
			error_place_causes(err, at, causes[i].place);
		free(causes[i].reason);
		free(causes[i].field);
		free(causes[i].message);
		free(causes[i].place);
	}
}

/* The causes from `from` on, `count` of them, stand there once more behind themselves. */
static void repeat(size_t from, size_t count, struct error *err) {
	size_t behind = err->cause_count - from - count;
	struct error_cause *rest = xmemdup(err->causes + from + count, behind * sizeof(*rest));
	err->cause_count = from + count;
	for (size_t i = from; i < from + count; i++)
		if (!is_once(&err->causes[i]))
			error_cause(err, err->causes[i].reason, err->causes[i].field, "%s", err->causes[i].message);
	append_moved(err, rest, behind);
	free(rest);
}

void order_causes(const struct api_type *type, bool update, bool whole, size_t from, struct error *err) {
	size_t count = err->cause_count - from, kept = 0;
	if (err->cause_count == from)
		return;
	autofree struct item *items = xcalloc(count, sizeof(*items));
	bool first = judges_update_first(type);
	size_t parts[2] = {0};
	for (int part = 0; part < 2; part++)
		for (size_t i = from; i < err->cause_count; i++) {
			struct error_cause *cause = &err->causes[i];
			bool late = update && type != &resource_v1_resource_slice_type && (is_of_update(cause) || is_behind_update(type, cause)) != first;
			if (late == part) {
				items[kept++] = (struct item){.cause = *cause, .rest = cause->place ? cause->place : cause->field};
				parts[part]++;
			}
		}
	arrange(type, update && first, items, parts[0]);
	arrange(type, update && !first, items + parts[0], parts[1]);
	for (size_t i = 0; i < count; i++)
		err->causes[from + i] = items[i].cause;
	if (update && whole && is_judged_twice(type))
		repeat(from, parts[0], err);
}

/* ---- how often ---- */

/*
 * On an update Kubernetes looks at an object's metadata several times over, and tells what it finds each time: twice for all kinds alike, once more as what changes, and once
 * more where the kind judges the whole object as if it were new.
 */
static const struct api_type *const judged_whole[] = {
	&core_v1_namespace_type, &core_v1_config_map_type, &core_v1_secret_type, &core_v1_pod_type, &core_v1_service_account_type, &core_v1_endpoints_type, &core_v1_persistent_volume_type,
	&core_v1_persistent_volume_claim_type, &core_v1_node_type, &apps_v1_controller_revision_type, &batch_v1_job_type, &networking_v1_ingress_type, &networking_v1_ingress_class_type, &rbac_v1_role_type,
	&rbac_v1_role_binding_type, &rbac_v1_cluster_role_type, &rbac_v1_cluster_role_binding_type, &storage_v1_storage_class_type, &storage_v1_csi_storage_capacity_type, &storage_v1_volume_attributes_class_type,
	&resource_v1_device_class_type, &resource_v1_resource_claim_type, &resource_v1_resource_claim_template_type, &node_v1_runtime_class_type, &apiregistration_v1_api_service_type, &networking_v1_ip_address_type, &certificates_v1_certificate_signing_request_type,
};
/* Of these what changes is not looked at. */
static const struct api_type *const unjudged[] = {&core_v1_event_type, &policy_v1_pod_disruption_budget_type};
/* Of these the whole is looked at instead of what changes. */
static const struct api_type *const only_whole[] = {
	&core_v1_limit_range_type, &admissionregistration_v1_validating_webhook_configuration_type, &admissionregistration_v1_mutating_webhook_configuration_type,
	&admissionregistration_v1_validating_admission_policy_type, &admissionregistration_v1_validating_admission_policy_binding_type, &admissionregistration_v1_mutating_admission_policy_type,
	&admissionregistration_v1_mutating_admission_policy_binding_type, &flowcontrol_v1_flow_schema_type, &flowcontrol_v1_priority_level_configuration_type, &discovery_v1_endpoint_slice_type,
	&storage_v1_volume_attachment_type, &storage_v1_csi_node_type,
};
/* Of these the whole is looked at first, all of it, and what changes behind. */
static const struct api_type *const whole_first[] = {
	&core_v1_namespace_type, &core_v1_node_type, &core_v1_persistent_volume_type, &rbac_v1_role_type, &rbac_v1_role_binding_type, &rbac_v1_cluster_role_type, &rbac_v1_cluster_role_binding_type,
	&storage_v1_storage_class_type, &storage_v1_csi_storage_capacity_type, &node_v1_runtime_class_type, &networking_v1_ip_address_type, &resource_v1_resource_claim_template_type,
};

static bool is_among(const struct api_type *type, const struct api_type *const *types, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (types[i] == type)
			return true;
	return false;
}

/* Labels, annotations and owners are part of each look, finalizers only of those at the whole. */
static bool is_repeated(const char *field) {
	return strcmp(field, "metadata.labels") == 0 || strcmp(field, "metadata.annotations") == 0 || str_starts_with(field, "metadata.ownerReferences");
}

/* What stands in each finalizer, as opposed to the list of them. */
static bool is_finalizer(const char *field) {
	return str_starts_with(field, "metadata.finalizers[");
}

/* What may not change, which the look at what changes tells of once more. */
static bool is_kept(const struct error_cause *cause) {
	static const char *const kept[] = {"metadata.name", "metadata.namespace", "metadata.uid", "metadata.creationTimestamp", "metadata.deletionTimestamp", "metadata.deletionGracePeriodSeconds"};
	for (size_t i = 0; i < array_len(kept); i++)
		if (str_equal(cause->field, kept[i]))
			return true;
	return str_equal(cause->field, "metadata.finalizers") && is_reason(cause, "FieldValueForbidden");
}

/* One more look at the first `count` causes; `changes`: at what may not change, `lists`: at finalizers too, `each`: at each of them. */
static void look_again(size_t from, size_t count, bool changes, bool lists, bool each, struct error *err) {
	for (size_t i = from; i < from + count; i++)
		if (is_repeated(err->causes[i].field) || (changes && is_kept(&err->causes[i])) || (lists && strcmp(err->causes[i].field, "metadata.finalizers") == 0 && !is_kept(&err->causes[i])) || (each && is_finalizer(err->causes[i].field)))
			error_cause(err, err->causes[i].reason, err->causes[i].field, "%s", err->causes[i].message);
}

void repeat_causes(const struct api_type *type, size_t from, size_t meta, struct error *err) {
#define IS(list_) is_among(type, list_, array_len(list_))
	size_t count = err->cause_count - from - meta, split = 0;
	if (!meta)
		return;
	bool changes = !IS(unjudged) && !IS(only_whole), whole = IS(judged_whole) || IS(only_whole), update_first = judges_update_first(type), apart = update_first || IS(whole_first);
#undef IS
	struct error_cause *rest = xmemdup(err->causes + from + meta, count * sizeof(*rest));
	bool again = is_judged_twice(type);
	apart |= again;
	while (apart && split < count && is_of_update(&rest[split]) == update_first)
		split++;
	/* Of these the whole stands there twice already, once for each look, but for what only the first finds. */
	size_t once = 0;
	for (size_t i = 0; again && i < split; i++)
		once += is_once(&rest[i]);
	if (again)
		split = (split + once) / 2;
	err->cause_count = from + meta;
	look_again(from, meta, false, false, false, err);
	if (apart) {
		bool volume = type == &core_v1_persistent_volume_type;
		changes &= !volume; /* of its metadata nothing is looked at once more */
		look_again(from, meta, changes && update_first, !update_first, volume, err);
		append_moved(err, rest, split);
		if (whole || !update_first)
			look_again(from, meta, changes && !update_first, update_first || volume, true, err);
	} else {
		if (changes)
			look_again(from, meta, true, false, false, err);
		/* A finalizer's own name is judged once where the whole is looked at once. */
		for (size_t i = from; whole && i < from + meta; i++)
			look_again(i, 1, false, true, changes, err);
	}
	append_moved(err, rest + split, count - split);
	free(rest);
}
