/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line says, for all controllers. */
#ifndef CORACLE_CONTROLLER_MANAGER_SETTINGS_H
#define CORACLE_CONTROLLER_MANAGER_SETTINGS_H

#include "common/daemon/daemon.h"

struct settings {
	char *kubeconfig, *master;
	char *config;
	struct daemon_options common;

	bool leader_elect;
	int64_t leader_elect_lease_duration, leader_elect_renew_deadline, leader_elect_retry_period;
	char *leader_elect_resource_name, *leader_elect_resource_namespace;

	struct flag_list controllers;
	int64_t controller_shutdown_timeout;
	struct flag_list feature_gates;
	double kube_api_qps;
	int64_t kube_api_burst;

	char *service_account_private_key_file, *root_ca_file;
	char *cluster_signing_cert_file, *cluster_signing_key_file;
	char *cluster_signing_kube_apiserver_client_cert_file, *cluster_signing_kube_apiserver_client_key_file;
	char *cluster_signing_kubelet_client_cert_file, *cluster_signing_kubelet_client_key_file;
	char *cluster_signing_kubelet_serving_cert_file, *cluster_signing_kubelet_serving_key_file;
	int64_t cluster_signing_duration;
	bool use_service_account_credentials;

	struct flag_list cluster_cidr, service_cluster_ip_range;
	bool allocate_node_cidrs;
	int64_t node_cidr_mask_size, node_cidr_mask_size_ipv4, node_cidr_mask_size_ipv6;
	char *cidr_allocator_type, *cluster_name, *cloud_provider;

	int64_t node_monitor_period, node_monitor_grace_period, node_startup_grace_period;
	double node_eviction_rate, secondary_node_eviction_rate, unhealthy_zone_threshold;
	int64_t large_cluster_size_threshold;

	bool enable_garbage_collector;
	int64_t terminated_pod_gc_threshold;
	int64_t max_endpoints_per_slice, mirroring_max_endpoints_per_subset;
	int64_t legacy_token_clean_up_period;
	int64_t namespace_sync_period, resource_quota_sync_period, pvclaimbinder_sync_period;
	int64_t hpa_sync_period, hpa_downscale_stabilization, hpa_cpu_initialization_period, hpa_initial_readiness_delay;
	double hpa_tolerance;
	int64_t workers[64]; /* by controllers[] of table.c; 0: the row's own */
};

extern const struct flag settings_flags[];
extern const size_t settings_flag_count;
/* What /configz shows: KubeControllerManagerConfiguration. */
extern const struct config_row settings_config_rows[];
extern const size_t settings_config_count;

#endif
