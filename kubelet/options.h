/* SPDX-License-Identifier: Apache-2.0 */
/* What the kubelet is told, by flags and by a KubeletConfiguration file; flags win. */
#ifndef CORACLE_KUBELET_OPTIONS_H
#define CORACLE_KUBELET_OPTIONS_H

#include "common/base/flags.h"

struct kubelet_options {
	char *kubeconfig; /* empty: standalone, without an API server */
	char *config;
	char *root_dir, *run_dir, *runtime_root, *image_root, *pod_log_dir, *container_log_links_dir, *cert_dir, *bootstrap_kubeconfig;
	bool rotate_certificates, serving_bootstrap;
	int64_t registry_qps, registry_burst, event_qps, event_burst, api_qps, api_burst;
	bool cgroups_per_qos, attach_by_controller, storage_isolation, run_once;
	int64_t cpu_period_ns;
	struct flag_list qos_reserved;
	char *hostname_override, *node_ip, *provider_id;
	char *cgroup_root, *cgroup_driver;
	char *pod_manifest_path, *manifest_url;
	int64_t http_check_frequency_ns, file_check_frequency_ns;
	struct flag_list cluster_dns;
	char *cluster_domain, *resolv_conf;
	struct flag_list pod_cidr;
	char *cni_conf_dir, *cni_cache_dir, *bridge_name;
	char *device_plugins_dir, *pod_resources_dir, *system_log_dir;
	bool system_log_handler, system_log_query;
	struct flag_list cni_bin_dirs;
	char *address;
	int64_t port, read_only_port, healthz_port;
	char *healthz_bind_address;
	char *tls_cert_file, *tls_key_file, *client_ca_file;
	bool anonymous_auth, token_webhook;
	char *authorization_mode;
	int64_t max_pods, pods_per_core, pod_max_pids;
	bool register_node;
	struct flag_list register_with_taints, node_labels;
	struct flag_list kube_reserved, system_reserved, enforce_node_allocatable;
	char *kube_reserved_cgroup, *system_reserved_cgroup;
	struct flag_list eviction_hard, eviction_soft, eviction_soft_grace_period, eviction_minimum_reclaim;
	int64_t eviction_max_pod_grace_period, eviction_transition_ns;
	int64_t shutdown_grace_ns, shutdown_grace_critical_ns;
	struct flag_list shutdown_by_priority;
	bool shutdown_on_term;
	int64_t runtime_request_timeout_ns, max_restart_period_ns;
	int64_t node_status_update_frequency_ns, node_status_report_frequency_ns, lease_duration_seconds;
	char *container_log_max_size;
	int64_t container_log_max_files;
	bool seccomp_default, cpu_cfs_quota, single_process_oom_kill;
	int64_t node_status_max_images;
	char *seccomp_dir, *runc_path, *conmon_path;
	bool serialize_image_pulls;
	char *image_policy, *registry_certs_dir, *credential_config, *credential_programs;
	struct flag_list insecure_registries;
	struct flag_list allowed_unsafe_sysctls;
	int64_t max_parallel_image_pulls;
	int64_t image_gc_high, image_gc_low, image_min_gc_age_ns, image_max_gc_age_ns;
	char *logging_format;
	int64_t verbosity;
	char *config_dir, *image_credentials_policy, *swap_behavior;
	struct flag_list preloaded_images;
	char *cpu_policy, *memory_policy, *topology_policy, *topology_scope, *reserved_cpus;
	struct flag_list cdi_dirs;
	struct flag_list cpu_policy_options, topology_options, reserved_memory, feature_gates;
	int64_t cpu_reconcile_ns;
	int64_t container_log_monitor_ns, stream_idle_ns, token_ttl_ns, allowed_ttl_ns, denied_ttl_ns;
	bool enable_server, debug_handlers, merge_default_eviction, fail_swap_on, fail_cgroup_v1, protect_kernel_defaults;
	struct flag_list manifest_url_headers; /* "Name:value" */
	char *tls_min_version;
	struct flag_list tls_ciphers;
	int64_t oom_score_adj, max_open_files;
	bool cleanup, version, help;
};

/* Defaults, then the file that --config names with those of --config-dir merged into it, then the flags. Warnings about what has no effect go to the log. */
int kubelet_options_load(int argc, char *const *argv, struct kubelet_options *ret, struct error *err);
void kubelet_options_done(struct kubelet_options *options);
void kubelet_options_print_help(FILE *out);
const struct flag *kubelet_options_flags(size_t *ret_count);
/* The options as a KubeletConfiguration: JSON, which applied again gives the same options. The caller frees. */
char *kubelet_options_config(const struct kubelet_options *options);
/* Applies the text of a KubeletConfiguration (YAML or JSON). Open to tests and fuzzers. */
int kubelet_options_apply_config(struct kubelet_options *options, const char *text, size_t len, struct error *err);

#endif
