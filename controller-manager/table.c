/* SPDX-License-Identifier: Apache-2.0 */
/* Every controller, in the order they are started. */
#include "controller-manager/controller.h"

#define ROW(name) extern const struct controller name
ROW(service_account_controller);
ROW(root_ca_publisher_controller);
ROW(namespace_controller);
ROW(deployment_controller);
ROW(replica_set_controller);
ROW(replication_controller_controller);
ROW(endpoint_slice_controller);
ROW(endpoints_controller);
ROW(node_ipam_controller);
ROW(node_lifecycle_controller);
ROW(taint_eviction_controller);
ROW(pod_gc_controller);
ROW(garbage_collector_controller);
ROW(daemon_set_controller);
ROW(stateful_set_controller);
ROW(job_controller);
ROW(ttl_after_finished_controller);
ROW(cron_job_controller);
ROW(disruption_controller);
ROW(pvc_protection_controller);
ROW(pv_protection_controller);
ROW(cluster_role_aggregation_controller);
ROW(resource_quota_controller);
ROW(endpoint_slice_mirroring_controller);
ROW(csr_approving_controller);
ROW(csr_signing_controller);
ROW(csr_cleaner_controller);
ROW(horizontal_pod_autoscaler_controller);
ROW(service_account_token_controller);
ROW(legacy_token_cleaner_controller);
ROW(bootstrap_signer_controller);
ROW(token_cleaner_controller);
ROW(ttl_controller);
ROW(policy_status_controller);
ROW(vac_protection_controller);
ROW(config_rollout_controller);
ROW(rollback_controller);
ROW(service_lb_controller);
ROW(service_cidr_controller);

const struct controller *const controllers[] = {
	&service_account_controller,
	&root_ca_publisher_controller,
	&namespace_controller,
	&deployment_controller,
	&replica_set_controller,
	&replication_controller_controller,
	&endpoint_slice_controller,
	&endpoints_controller,
	&node_ipam_controller,
	&node_lifecycle_controller,
	&taint_eviction_controller,
	&pod_gc_controller,
	&garbage_collector_controller,
	&daemon_set_controller,
	&stateful_set_controller,
	&job_controller,
	&ttl_after_finished_controller,
	&cron_job_controller,
	&disruption_controller,
	&pvc_protection_controller,
	&pv_protection_controller,
	&cluster_role_aggregation_controller,
	&resource_quota_controller,
	&endpoint_slice_mirroring_controller,
	&csr_approving_controller,
	&csr_signing_controller,
	&csr_cleaner_controller,
	&horizontal_pod_autoscaler_controller,
	&service_account_token_controller,
	&legacy_token_cleaner_controller,
	&bootstrap_signer_controller,
	&token_cleaner_controller,
	&ttl_controller,
	&policy_status_controller,
	&vac_protection_controller,
	&config_rollout_controller,
	&rollback_controller,
	&service_lb_controller,
	&service_cidr_controller,
};
const size_t controller_count = array_len(controllers);
