/* SPDX-License-Identifier: Apache-2.0 */
/* Past 800 lines because the tables of flags and of fields have a row for each that Kubernetes knows. */
#include "kubelet/options.h"

#include "common/api/patch/patch.h"
#include "common/api/yaml.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/daemon/zpages.h"
#include "kubelet/resource/cpuset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define MAX_CONFIG (1u << 20)
#define MAX_DEPTH 16 /* of folders below --config-dir */
#define IDS_OF_A_POD 65536 /* of its user namespace */
#define KIND "KubeletConfiguration"
#define API_VERSION "kubelet.config.k8s.io/v1beta1"

#define FIELD(f) offsetof(struct kubelet_options, f)
static const struct flag flags[] = {
	{"kubeconfig", 0, FLAG_STRING, FIELD(kubeconfig), "", "kubeconfig file of the API server; none: standalone mode", 0, 0},
	{"config", 0, FLAG_STRING, FIELD(config), "", "KubeletConfiguration file", 0, 0},
	{"config-dir", 0, FLAG_STRING, FIELD(config_dir), "", "folder of parts of it, *.conf, merged into it in the order of their names", 0, 0},
	{"root-dir", 0, FLAG_STRING, FIELD(root_dir), "/var/lib/kubelet", "folder of pods' volumes and state", 0, 0},
	{"run-dir", 0, FLAG_STRING, FIELD(run_dir), "/run/coracle", "folder of namespaces, sockets and exit files", 0, 0},
	{"runtime-root", 0, FLAG_STRING, FIELD(runtime_root), "", "folder of containers' bundles; default <root-dir>/runtime", 0, 0},
	{"image-root", 0, FLAG_STRING, FIELD(image_root), "/var/lib/coracle/images", "folder of images", 0, 0},
	{"image-credential-provider-config", 0, FLAG_STRING, FIELD(credential_config), "", "file that names the plugins which know credentials of registries", 0, 0},
	{"image-credential-provider-bin-dir", 0, FLAG_STRING, FIELD(credential_programs), "", "folder of those plugins", 0, 0},
	{"pod-log-dir", 0, FLAG_STRING, FIELD(pod_log_dir), "/var/log/pods", "folder of containers' logs", 0, 0},
	{"container-log-links-dir", 0, FLAG_STRING, FIELD(container_log_links_dir), "", "folder of links to them, one a container, for collectors (default: containers, beside the folder of logs)", 0, 0},
	{"cert-dir", 0, FLAG_STRING, FIELD(cert_dir), "", "folder of certificates that are asked for or self-signed; default <root-dir>/pki", 0, 0},
	{"bootstrap-kubeconfig", 0, FLAG_STRING, FIELD(bootstrap_kubeconfig), "", "kubeconfig file with which a certificate is asked for where the other is missing or has expired", 0, 0},
	{"rotate-certificates", 0, FLAG_BOOL, FIELD(rotate_certificates), "false", "renew the certificate that is shown to the API server, in time", 0, 0},
	{"rotate-server-certificates", 0, FLAG_BOOL, FIELD(serving_bootstrap), "false", "ask the API server for the certificate to serve with, and renew it", 0, 0},
	{"hostname-override", 0, FLAG_STRING, FIELD(hostname_override), "", "name of the node instead of the machine's", 0, 0},
	{"node-ip", 0, FLAG_STRING, FIELD(node_ip), "", "address of the node, or one of each family with a comma", 0, 0},
	{"provider-id", 0, FLAG_STRING, FIELD(provider_id), "", "spec.providerID of the node", 0, 0},
	{"cgroup-root", 0, FLAG_STRING, FIELD(cgroup_root), "", "cgroup below which pods run", 0, 0},
	{"cgroup-driver", 0, FLAG_STRING, FIELD(cgroup_driver), "cgroupfs", "cgroupfs is what there is", 0, 0},
	{"pod-manifest-path", 0, FLAG_STRING, FIELD(pod_manifest_path), "", "folder or file of static pods", 0, 0},
	{"manifest-url", 0, FLAG_STRING, FIELD(manifest_url), "", "URL of static pods", 0, 0},
	{"manifest-url-header", 0, FLAG_STRING_ARRAY, FIELD(manifest_url_headers), NULL, "name:value headers of the request to that URL", 0, 0},
	{"http-check-frequency", 0, FLAG_DURATION, FIELD(http_check_frequency_ns), "20s", "how often the URL is read", 0, 0},
	{"file-check-frequency", 0, FLAG_DURATION, FIELD(file_check_frequency_ns), "20s", "accepted; inotify tells at once", 0, 0},
	{"cluster-dns", 0, FLAG_STRING_LIST, FIELD(cluster_dns), NULL, "DNS servers of the cluster", 0, 0},
	{"cluster-domain", 0, FLAG_STRING, FIELD(cluster_domain), "", "domain of the cluster", 0, 0},
	{"resolv-conf", 0, FLAG_STRING, FIELD(resolv_conf), "/etc/resolv.conf", "the node's resolver configuration", 0, 0},
	{"pod-cidr", 0, FLAG_STRING_LIST, FIELD(pod_cidr), NULL, "addresses of pods in standalone mode", 0, 0},
	{"cni-conf-dir", 0, FLAG_STRING, FIELD(cni_conf_dir), "/etc/cni/net.d", "folder of CNI configurations", 0, 0},
	{"cni-bin-dir", 0, FLAG_STRING_LIST, FIELD(cni_bin_dirs), NULL, "folders of CNI plugins", 0, 0},
	{"cni-cache-dir", 0, FLAG_STRING, FIELD(cni_cache_dir), "", "folder of CNI results; default <root-dir>/cni", 0, 0},
	{"device-plugins-dir", 0, FLAG_STRING, FIELD(device_plugins_dir), "", "folder of the sockets of device plugins; default <root-dir>/device-plugins", 0, 0},
	{"pod-resources-dir", 0, FLAG_STRING, FIELD(pod_resources_dir), "", "folder of the socket that tells who has which device; default <root-dir>/pod-resources", 0, 0},
	{"cdi-spec-dirs", 0, FLAG_STRING_LIST, FIELD(cdi_dirs), "/etc/cdi,/var/run/cdi", "folders of CDI files, which say what containers need for a device; the later one wins", 0, 0},
	{"bridge-name", 0, FLAG_STRING, FIELD(bridge_name), "cni0", "bridge of the CNI configuration that is made where there is none", 0, 0},
	{"enable-server", 0, FLAG_BOOL, FIELD(enable_server), "true", "serve the kubelet's API; false: only /healthz", 0, 0},
	{"enable-debugging-handlers", 0, FLAG_BOOL, FIELD(debug_handlers), "true", "serve logs, exec, attach and port-forward", 0, 0},
	{"streaming-connection-idle-timeout", 0, FLAG_DURATION, FIELD(stream_idle_ns), "4h", "when exec, attach and port-forward end on which nothing moves; 0: never", 0, 0},
	{"address", 0, FLAG_STRING, FIELD(address), "0.0.0.0", "address to serve on", 0, 0},
	{"port", 0, FLAG_INT, FIELD(port), "10250", "port to serve on; 0: none", 0, 65535},
	{"read-only-port", 0, FLAG_INT, FIELD(read_only_port), "0", "port without authentication; 0: none", 0, 65535},
	{"healthz-port", 0, FLAG_INT, FIELD(healthz_port), "10248", "port of /healthz; 0: none", 0, 65535},
	{"healthz-bind-address", 0, FLAG_STRING, FIELD(healthz_bind_address), "127.0.0.1", "address of /healthz", 0, 0},
	{"tls-cert-file", 0, FLAG_STRING, FIELD(tls_cert_file), "", "certificate to serve with", 0, 0},
	{"tls-private-key-file", 0, FLAG_STRING, FIELD(tls_key_file), "", "its key", 0, 0},
	{"tls-min-version", 0, FLAG_STRING, FIELD(tls_min_version), "", "VersionTLS12 or VersionTLS13", 0, 0},
	{"tls-cipher-suites", 0, FLAG_STRING_LIST, FIELD(tls_ciphers), NULL, "suites of TLS 1.2 that are offered; none: those of the library", 0, 0},
	{"client-ca-file", 0, FLAG_STRING, FIELD(client_ca_file), "", "authority of client certificates", 0, 0},
	{"anonymous-auth", 0, FLAG_BOOL, FIELD(anonymous_auth), "false", "let anonymous requests reach authorization", 0, 0},
	{"authentication-token-webhook", 0, FLAG_BOOL, FIELD(token_webhook), "true", "check bearer tokens by TokenReview", 0, 0},
	{"authentication-token-webhook-cache-ttl", 0, FLAG_DURATION, FIELD(token_ttl_ns), "2m", "how long a token's review is believed", 0, 0},
	{"authorization-webhook-cache-authorized-ttl", 0, FLAG_DURATION, FIELD(allowed_ttl_ns), "5m", "how long a permission is believed", 0, 0},
	{"authorization-webhook-cache-unauthorized-ttl", 0, FLAG_DURATION, FIELD(denied_ttl_ns), "30s", "how long a refusal is believed", 0, 0},
	{"authorization-mode", 0, FLAG_STRING, FIELD(authorization_mode), "Webhook", "AlwaysAllow or Webhook", 0, 0},
	{"enable-system-log-handler", 0, FLAG_BOOL, FIELD(system_log_handler), "true", "serve the files of the system's log folder at /logs/", 0, 0},
	{"enable-system-log-query", 0, FLAG_BOOL, FIELD(system_log_query), "false", "let /logs/ be asked for the logs of services", 0, 0},
	{"system-log-dir", 0, FLAG_STRING, FIELD(system_log_dir), "/var/log", "the system's log folder", 0, 0},
	{"max-pods", 0, FLAG_INT, FIELD(max_pods), "110", "most pods on this node", 1, 100000},
	{"pods-per-core", 0, FLAG_INT, FIELD(pods_per_core), "0", "most pods for each core; 0: no limit", 0, 10000},
	{"pod-max-pids", 0, FLAG_INT, FIELD(pod_max_pids), "-1", "most processes of a pod", -1, INT64_MAX},
	{"register-node", 0, FLAG_BOOL, FIELD(register_node), "true", "make the node's object", 0, 0},
	{"register-with-taints", 0, FLAG_STRING_LIST, FIELD(register_with_taints), NULL, "key=value:effect taints of a new node", 0, 0},
	{"node-labels", 0, FLAG_STRING_MAP, FIELD(node_labels), NULL, "labels of the node", 0, 0},
	{"kube-reserved", 0, FLAG_STRING_MAP, FIELD(kube_reserved), NULL, "resources kept for the cluster's own daemons", 0, 0},
	{"system-reserved", 0, FLAG_STRING_MAP, FIELD(system_reserved), NULL, "resources kept for the system", 0, 0},
	{"enforce-node-allocatable", 0, FLAG_STRING_LIST, FIELD(enforce_node_allocatable), "pods", "levels whose limits are enforced: pods, kube-reserved, system-reserved, or none", 0, 0},
	{"kube-reserved-cgroup", 0, FLAG_STRING, FIELD(kube_reserved_cgroup), "", "cgroup of the cluster's own daemons, for kube-reserved", 0, 0},
	{"system-reserved-cgroup", 0, FLAG_STRING, FIELD(system_reserved_cgroup), "", "cgroup of the system, for system-reserved", 0, 0},
	{"eviction-hard", 0, FLAG_STRING_LIST, FIELD(eviction_hard), "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%,imagefs.inodesFree<5%", "thresholds that evict at once", 0, 0},
	{"eviction-soft", 0, FLAG_STRING_LIST, FIELD(eviction_soft), NULL, "thresholds that evict once they were crossed for a while", 0, 0},
	{"eviction-soft-grace-period", 0, FLAG_STRING_MAP, FIELD(eviction_soft_grace_period), NULL, "how long, by signal", 0, 0},
	{"eviction-minimum-reclaim", 0, FLAG_STRING_MAP, FIELD(eviction_minimum_reclaim), NULL, "how much beyond the threshold is freed, by signal", 0, 0},
	{"eviction-max-pod-grace-period", 0, FLAG_INT, FIELD(eviction_max_pod_grace_period), "0", "most seconds a pod is given that a soft threshold evicts", 0, 86400},
	{"eviction-pressure-transition-period", 0, FLAG_DURATION, FIELD(eviction_transition_ns), "5m", "how long pressure is told after it is over", 0, 0},
	{"shutdown-grace-period", 0, FLAG_DURATION, FIELD(shutdown_grace_ns), "0s", "how long pods are given when the machine shuts down; 0: not at all", 0, 0},
	{"shutdown-grace-period-critical-pods", 0, FLAG_DURATION, FIELD(shutdown_grace_critical_ns), "0s", "how much of it critical pods are given, after the others", 0, 0},
	{"shutdown-grace-period-by-pod-priority", 0, FLAG_STRING_MAP, FIELD(shutdown_by_priority), NULL, "priority=seconds, instead of the two above", 0, 0},
	{"shutdown-signal-is-machine", 0, FLAG_BOOL, FIELD(shutdown_on_term), "false", "take SIGTERM for the machine's shutdown, where no systemd-logind tells", 0, 0},
	{"runtime-request-timeout", 0, FLAG_DURATION, FIELD(runtime_request_timeout_ns), "2m", "bound of a call to what runs pods; a network plugin is given half", 0, 0},
	{"max-container-restart-period", 0, FLAG_DURATION, FIELD(max_restart_period_ns), "5m", "longest wait between restarts of a container", 0, 0},
	{"node-status-update-frequency", 0, FLAG_DURATION, FIELD(node_status_update_frequency_ns), "10s", "how often the node's state is looked at", 0, 0},
	{"node-status-report-frequency", 0, FLAG_DURATION, FIELD(node_status_report_frequency_ns), "5m", "how often an unchanged state is reported", 0, 0},
	{"node-lease-duration-seconds", 0, FLAG_INT, FIELD(lease_duration_seconds), "40", "length of the node's lease", 1, 86400},
	{"container-log-max-size", 0, FLAG_STRING, FIELD(container_log_max_size), "10Mi", "size at which logs are rotated", 0, 0},
	{"container-log-max-files", 0, FLAG_INT, FIELD(container_log_max_files), "5", "logs kept of a container", 2, 1000},
	{"container-log-monitor-interval", 0, FLAG_DURATION, FIELD(container_log_monitor_ns), "10s", "how often logs are looked at", 0, 0},
	{"merge-default-eviction-settings", 0, FLAG_BOOL, FIELD(merge_default_eviction), "false", "keep the default of each hard threshold that the file does not name", 0, 0},
	{"oom-score-adj", 0, FLAG_INT, FIELD(oom_score_adj), "-999", "of this process; the kernel's word is taken where it allows no less", -1000, 1000},
	{"max-open-files", 0, FLAG_INT, FIELD(max_open_files), "1000000", "file descriptors of this process, within the machine's bounds", 64, INT64_MAX},
	{"fail-swap-on", 0, FLAG_BOOL, FIELD(fail_swap_on), "true", "do not start where the machine has swap in use", 0, 0},
	{"fail-cgroupv1", 0, FLAG_BOOL, FIELD(fail_cgroup_v1), "false", "do not start on version 1 of control groups", 0, 0},
	{"protect-kernel-defaults", 0, FLAG_BOOL, FIELD(protect_kernel_defaults), "false", "do not start where kernel parameters are not as Kubernetes wants them of a node; false: they are left as they are", 0, 0},
	{"seccomp-default", 0, FLAG_BOOL, FIELD(seccomp_default), "false", "give containers that say nothing of seccomp the default profile", 0, 0},
	{"memory-swap-behavior", 0, FLAG_STRING, FIELD(swap_behavior), "NoSwap", "NoSwap, or LimitedSwap: burstable pods may swap in measure of the memory that they ask for (cgroup v2)", 0, 0},
	{"cpu-cfs-quota", 0, FLAG_BOOL, FIELD(cpu_cfs_quota), "true", "enforce limits of cpu", 0, 0},
	{"single-process-oom-kill", 0, FLAG_BOOL, FIELD(single_process_oom_kill), "false", "let a lack of memory end one process of a container, not all (cgroup v2)", 0, 0},
	{"node-status-max-images", 0, FLAG_INT, FIELD(node_status_max_images), "50", "most images told in the node's status; -1: no limit", -1, 100000},
	{"seccomp-profile-root", 0, FLAG_STRING, FIELD(seccomp_dir), "", "folder of seccomp profiles; default <root-dir>/seccomp", 0, 0},
	{"runc", 0, FLAG_STRING, FIELD(runc_path), "", "runc program; default: from PATH", 0, 0},
	{"conmon", 0, FLAG_STRING, FIELD(conmon_path), "", "conmon program; default: from PATH", 0, 0},
	{"serialize-image-pulls", 0, FLAG_BOOL, FIELD(serialize_image_pulls), "false", "pull one image at a time", 0, 0},
	{"registry-qps", 0, FLAG_INT, FIELD(registry_qps), "5", "images pulled a second, beyond registry-burst; others wait; 0: no limit", 0, INT32_MAX},
	{"registry-burst", 0, FLAG_INT, FIELD(registry_burst), "10", "pulls at once, where some were saved up", 0, INT32_MAX},
	{"event-qps", 0, FLAG_INT, FIELD(event_qps), "50", "events told a second, beyond event-burst; 0: no limit", 0, INT32_MAX},
	{"event-burst", 0, FLAG_INT, FIELD(event_burst), "100", "events at once, where some were saved up", 0, INT32_MAX},
	{"kube-api-qps", 0, FLAG_INT, FIELD(api_qps), "0", "other requests to the API server a second, beyond kube-api-burst; 0: no limit but its own, by priority and fairness", 0, INT32_MAX},
	{"kube-api-burst", 0, FLAG_INT, FIELD(api_burst), "100", "such requests at once, where some were saved up", 0, INT32_MAX},
	{"image-signature-policy", 0, FLAG_STRING, FIELD(image_policy), "", "policy.json of image signatures", 0, 0},
	{"registry-certs-dir", 0, FLAG_STRING, FIELD(registry_certs_dir), "", "folder of registries' certificates by host", 0, 0},
	{"image-credentials-verification-policy", 0, FLAG_STRING, FIELD(image_credentials_policy), "NeverVerifyPreloadedImages", "when a pod needs credentials for an image that is here: NeverVerify, NeverVerifyPreloadedImages, NeverVerifyAllowlistedImages, AlwaysVerify", 0, 0},
	{"preloaded-images-verification-allowlist", 0, FLAG_STRING_LIST, FIELD(preloaded_images), NULL, "images that NeverVerifyAllowlistedImages lets be; a last part * stands for all", 0, 0},
	{"insecure-registries", 0, FLAG_STRING_LIST, FIELD(insecure_registries), NULL, "registries reached without TLS", 0, 0},
	{"max-parallel-image-pulls", 0, FLAG_INT, FIELD(max_parallel_image_pulls), "0", "most images pulled at a time; 0: no limit", 0, 10000},
	{"image-gc-high-threshold", 0, FLAG_INT, FIELD(image_gc_high), "85", "percent of disk use that starts image collection", 0, 100},
	{"image-gc-low-threshold", 0, FLAG_INT, FIELD(image_gc_low), "80", "percent of disk use that ends it", 0, 100},
	{"image-maximum-gc-age", 0, FLAG_DURATION, FIELD(image_max_gc_age_ns), "0s", "images unused for longer are collected; 0: none", 0, 0},
	{"minimum-image-ttl-duration", 0, FLAG_DURATION, FIELD(image_min_gc_age_ns), "2m", "least age of an image that is collected", 0, 0},
	{"cpu-manager-policy", 0, FLAG_STRING, FIELD(cpu_policy), "none", "none, or static: cpus of their own for containers of Guaranteed pods that ask for whole ones", 0, 0},
	{"cpu-manager-policy-options", 0, FLAG_STRING_MAP, FIELD(cpu_policy_options), NULL, "name=true of full-pcpus-only, strict-cpu-reservation, prefer-align-cpus-by-uncorecache, distribute-cpus-across-numa, align-by-socket, distribute-cpus-across-cores", 0, 0},
	{"cpu-manager-reconcile-period", 0, FLAG_DURATION, FIELD(cpu_reconcile_ns), "10s", "when it is tried again to move a container to its cpus", 0, 0},
	{"reserved-cpus", 0, FLAG_STRING, FIELD(reserved_cpus), "", "cpus kept for the system, 0-1,8, instead of the amounts in kube-reserved and system-reserved", 0, 0},
	{"memory-manager-policy", 0, FLAG_STRING, FIELD(memory_policy), "None", "None, or Static: memory of Guaranteed pods lies on as few NUMA nodes as can be", 0, 0},
	{"reserved-memory", 0, FLAG_STRING_ARRAY, FIELD(reserved_memory), NULL, "what the system keeps of each NUMA node: 0:memory=1Gi,hugepages-2Mi=4Mi", 0, 0},
	{"topology-manager-policy", 0, FLAG_STRING, FIELD(topology_policy), "none", "none, best-effort, restricted, single-numa-node: how close together cpus, memory and devices must be", 0, 0},
	{"topology-manager-scope", 0, FLAG_STRING, FIELD(topology_scope), "container", "container or pod: whose have to", 0, 0},
	{"topology-manager-policy-options", 0, FLAG_STRING_MAP, FIELD(topology_options), NULL, "prefer-closest-numa-nodes=true, max-allowable-numa-nodes=16", 0, 0},
	{"feature-gates", 0, FLAG_STRING_MAP, FIELD(feature_gates), NULL, "name=bool; of effect are CPUManagerPolicyAlphaOptions, CPUManagerPolicyBetaOptions, DisableCPUQuotaWithExclusiveCPUs", 0, 0},
	/* Of these one value alone is what is done here; any other is refused (check_fixed). */
	{"cgroups-per-qos", 0, FLAG_BOOL, FIELD(cgroups_per_qos), "true", "true is what there is: each class of pods has its group", 0, 0},
	{"cpu-cfs-quota-period", 0, FLAG_DURATION, FIELD(cpu_period_ns), "100ms", "100ms is what there is", 0, 0},
	{"enable-controller-attach-detach", 0, FLAG_BOOL, FIELD(attach_by_controller), "true", "true is what there is: a kubelet attaches no volumes", 0, 0},
	{"local-storage-capacity-isolation", 0, FLAG_BOOL, FIELD(storage_isolation), "true", "true is what there is: limits of local storage hold", 0, 0},
	{"runonce", 0, FLAG_BOOL, FIELD(run_once), "false", "false is what there is", 0, 0},
	{"qos-reserved", 0, FLAG_STRING_MAP, FIELD(qos_reserved), NULL, "nothing is what there is", 0, 0},
	{"logging-format", 0, FLAG_STRING, FIELD(logging_format), "text", "text or json", 0, 0},
	{"v", 'v', FLAG_INT, FIELD(verbosity), "0", "verbosity of the log", 0, 10},
	{"cleanup", 0, FLAG_BOOL, FIELD(cleanup), "false", "remove all pods of this kubelet from the machine, and exit", 0, 0},
	{"version", 0, FLAG_BOOL, FIELD(version), "false", "print the version", 0, 0},
	{"help", 'h', FLAG_BOOL, FIELD(help), "false", "print this", 0, 0},
	{"container-runtime-endpoint", 0, FLAG_IGNORED, 0, NULL, "without effect: the runtime is built in", 0, 0},
	{"container-runtime", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"image-service-endpoint", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"pod-infra-container-image", 0, FLAG_IGNORED, 0, NULL, "without effect: sandboxes need no image", 0, 0},
	{"network-plugin", 0, FLAG_IGNORED, 0, NULL, "without effect: CNI always", 0, 0},
	{"allowed-unsafe-sysctls", 0, FLAG_STRING_LIST, FIELD(allowed_unsafe_sysctls), NULL, "kernel parameters, or prefixes that end in *, that pods may set beside the safe ones", 0, 0},
	{"volume-plugin-dir", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"cloud-provider", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"runtime-cgroups", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"kubelet-cgroups", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"system-cgroups", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"contention-profiling", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"exit-on-lock-contention", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"experimental-allocatable-ignore-eviction", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"experimental-mounter-path", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"hairpin-mode", 0, FLAG_IGNORED, 0, NULL, "without effect: the bridge's ports have it", 0, 0},
	{"kernel-memcg-notification", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"kube-api-content-type", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"lock-file", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"make-iptables-util-chains", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"maximum-dead-containers", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"maximum-dead-containers-per-container", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"minimum-container-ttl-duration", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"sync-frequency", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
	{"volume-stats-agg-period", 0, FLAG_IGNORED, 0, NULL, "without effect", 0, 0},
};

/* KubeletConfiguration's fields, by the flag that means the same. */
static const struct {
	const char *field; /* with dots */
	const char *flag;
} fields[] = {
	{"staticPodPath", "pod-manifest-path"},
	{"staticPodURL", "manifest-url"},
	{"httpCheckFrequency", "http-check-frequency"},
	{"fileCheckFrequency", "file-check-frequency"},
	{"address", "address"},
	{"port", "port"},
	{"readOnlyPort", "read-only-port"},
	{"enableServer", "enable-server"},
	{"enableDebuggingHandlers", "enable-debugging-handlers"},
	{"streamingConnectionIdleTimeout", "streaming-connection-idle-timeout"},
	{"tlsMinVersion", "tls-min-version"},
	{"tlsCipherSuites", "tls-cipher-suites"},
	{"rotateCertificates", "rotate-certificates"},
	{"serverTLSBootstrap", "rotate-server-certificates"},
	{"tlsCertFile", "tls-cert-file"},
	{"tlsPrivateKeyFile", "tls-private-key-file"},
	{"authentication.x509.clientCAFile", "client-ca-file"},
	{"authentication.webhook.cacheTTL", "authentication-token-webhook-cache-ttl"},
	{"authorization.webhook.cacheAuthorizedTTL", "authorization-webhook-cache-authorized-ttl"},
	{"authorization.webhook.cacheUnauthorizedTTL", "authorization-webhook-cache-unauthorized-ttl"},
	{"authentication.webhook.enabled", "authentication-token-webhook"},
	{"authentication.anonymous.enabled", "anonymous-auth"},
	{"authorization.mode", "authorization-mode"},
	{"healthzPort", "healthz-port"},
	{"healthzBindAddress", "healthz-bind-address"},
	{"clusterDomain", "cluster-domain"},
	{"allowedUnsafeSysctls", "allowed-unsafe-sysctls"},
	{"clusterDNS", "cluster-dns"},
	{"nodeStatusUpdateFrequency", "node-status-update-frequency"},
	{"nodeStatusReportFrequency", "node-status-report-frequency"},
	{"nodeLeaseDurationSeconds", "node-lease-duration-seconds"},
	{"imageMinimumGCAge", "minimum-image-ttl-duration"},
	{"imageGCHighThresholdPercent", "image-gc-high-threshold"},
	{"imageGCLowThresholdPercent", "image-gc-low-threshold"},
	{"cgroupRoot", "cgroup-root"},
	{"cgroupDriver", "cgroup-driver"},
	{"maxPods", "max-pods"},
	{"podsPerCore", "pods-per-core"},
	{"podPidsLimit", "pod-max-pids"},
	{"podCIDR", "pod-cidr"},
	{"resolvConf", "resolv-conf"},
	{"serializeImagePulls", "serialize-image-pulls"},
	{"evictionHard", "eviction-hard"},
	{"evictionSoft", "eviction-soft"},
	{"evictionSoftGracePeriod", "eviction-soft-grace-period"},
	{"evictionMinimumReclaim", "eviction-minimum-reclaim"},
	{"evictionMaxPodGracePeriod", "eviction-max-pod-grace-period"},
	{"evictionPressureTransitionPeriod", "eviction-pressure-transition-period"},
	{"enforceNodeAllocatable", "enforce-node-allocatable"},
	{"kubeReservedCgroup", "kube-reserved-cgroup"},
	{"systemReservedCgroup", "system-reserved-cgroup"},
	{"shutdownGracePeriod", "shutdown-grace-period"},
	{"shutdownGracePeriodCriticalPods", "shutdown-grace-period-critical-pods"},
	{"runtimeRequestTimeout", "runtime-request-timeout"},
	{"crashLoopBackOff.maxContainerRestartPeriod", "max-container-restart-period"},
	{"imageMaximumGCAge", "image-maximum-gc-age"},
	{"maxParallelImagePulls", "max-parallel-image-pulls"},
	{"memorySwap.swapBehavior", "memory-swap-behavior"},
	{"imagePullCredentialsVerificationPolicy", "image-credentials-verification-policy"},
	{"preloadedImagesVerificationAllowlist", "preloaded-images-verification-allowlist"},
	{"systemReserved", "system-reserved"},
	{"kubeReserved", "kube-reserved"},
	{"containerLogMaxSize", "container-log-max-size"},
	{"containerLogMaxFiles", "container-log-max-files"},
	{"containerLogMonitorInterval", "container-log-monitor-interval"},
	{"mergeDefaultEvictionSettings", "merge-default-eviction-settings"},
	{"oomScoreAdj", "oom-score-adj"},
	{"maxOpenFiles", "max-open-files"},
	{"failSwapOn", "fail-swap-on"},
	{"registryPullQPS", "registry-qps"},
	{"registryBurst", "registry-burst"},
	{"eventRecordQPS", "event-qps"},
	{"eventBurst", "event-burst"},
	{"kubeAPIQPS", "kube-api-qps"},
	{"kubeAPIBurst", "kube-api-burst"},
	{"cgroupsPerQOS", "cgroups-per-qos"},
	{"cpuCFSQuotaPeriod", "cpu-cfs-quota-period"},
	{"enableControllerAttachDetach", "enable-controller-attach-detach"},
	{"localStorageCapacityIsolation", "local-storage-capacity-isolation"},
	{"runOnce", "runonce"},
	{"qosReserved", "qos-reserved"},
	{"failCgroupV1", "fail-cgroupv1"},
	{"protectKernelDefaults", "protect-kernel-defaults"},
	{"registerNode", "register-node"},
	{"providerID", "provider-id"},
	{"podLogsDir", "pod-log-dir"},
	{"seccompDefault", "seccomp-default"},
	{"cpuCFSQuota", "cpu-cfs-quota"},
	{"singleProcessOOMKill", "single-process-oom-kill"},
	{"nodeStatusMaxImages", "node-status-max-images"},
	{"cpuManagerPolicy", "cpu-manager-policy"},
	{"cpuManagerPolicyOptions", "cpu-manager-policy-options"},
	{"cpuManagerReconcilePeriod", "cpu-manager-reconcile-period"},
	{"reservedSystemCPUs", "reserved-cpus"},
	{"memoryManagerPolicy", "memory-manager-policy"},
	{"topologyManagerPolicy", "topology-manager-policy"},
	{"topologyManagerScope", "topology-manager-scope"},
	{"topologyManagerPolicyOptions", "topology-manager-policy-options"},
	{"featureGates", "feature-gates"},
	{"enableSystemLogHandler", "enable-system-log-handler"},
	{"enableSystemLogQuery", "enable-system-log-query"},
	{"logging.format", "logging-format"},
	{"logging.verbosity", "v"},
};

/* Fields of Kubernetes that have no meaning here: kubelet/README.md says why of each. */
static const char *const ignored_fields[] = {
	"syncFrequency", "tlsCurvePreferences", "enableContentionProfiling", "volumeStatsAggPeriod", "kubeletCgroups", "systemCgroups", "hairpinMode", "contentType",
	"makeIPTablesUtilChains", "iptablesMasqueradeBit", "iptablesDropBit", "containerLogMaxWorkers", "configMapAndSecretChangeDetectionStrategy",
	"showHiddenMetricsForVersion", "volumePluginDir", "kernelMemcgNotification", "enableProfilingHandler", "enableDebugFlagsHandler", "memoryThrottlingFactor",
	"memoryReservationPolicy", "tracing", "containerRuntimeEndpoint", "imageServiceEndpoint", "userNamespaces", "logging.flushFrequency", "logging.vmodule", "logging.options",
};

static int set_value(struct kubelet_options *options, const char *flag, const char *text, struct error *err) {
	return flags_set(flags, array_len(flags), options, flag, text, err);
}

/* evictionHard's and evictionSoft's maps are written "signal<threshold", other maps "k=v". */
static int set_map(struct kubelet_options *options, const char *flag, json_t *value, struct error *err) {
	const char *key, *sign = str_equal(flag, "eviction-hard") || str_equal(flag, "eviction-soft") ? "<" : "=";
	json_t *item;
	autobuf struct buf text = BUF_INIT(MAX_CONFIG);
	json_object_foreach(value, key, item) {
		const char *word = json_is_boolean(item) ? json_is_true(item) ? "true" : "false" : json_string_value(item);
		if (!word)
			return error_set(err, EINVAL, "%s: want a string", key);
		buf_printf(&text, "%s%s%s%s", text.len ? "," : "", key, sign, word);
	}
	return set_value(options, flag, text.data ? text.data : "", err);
}

static int set_json(struct kubelet_options *options, const char *flag, json_t *value, struct error *err) {
	char number[64];
	autobuf struct buf text = BUF_INIT(MAX_CONFIG);
	size_t i;
	json_t *item;
	switch (json_typeof(value)) {
	case JSON_STRING:
		return set_value(options, flag, json_string_value(value), err);
	case JSON_TRUE:
	case JSON_FALSE:
		return set_value(options, flag, json_is_true(value) ? "true" : "false", err);
	case JSON_INTEGER:
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(value));
		return set_value(options, flag, number, err);
	case JSON_OBJECT:
		return set_map(options, flag, value, err);
	case JSON_ARRAY:
		json_array_foreach(value, i, item) {
			if (!json_is_string(item))
				return error_set(err, EINVAL, "want a list of strings");
			buf_printf(&text, "%s%s", i ? "," : "", json_string_value(item));
		}
		return set_value(options, flag, text.data ? text.data : "", err);
	default:
		return 0;
	}
}

static json_t *field_get(json_t *root, const char *path) {
	for (const char *p = path; root && p;) {
		size_t len = strcspn(p, ".");
		autofree char *name = xstrndup(p, len);
		root = json_object_get(root, name);
		p = p[len] ? p + len + 1 : NULL;
	}
	return root;
}

static int set_taints(struct kubelet_options *options, json_t *taints, struct error *err) {
	autobuf struct buf text = BUF_INIT(MAX_CONFIG);
	size_t i;
	json_t *taint;
	json_array_foreach(taints, i, taint) {
		const char *key = json_string_value(json_object_get(taint, "key")), *value = json_string_value(json_object_get(taint, "value")), *effect = json_string_value(json_object_get(taint, "effect"));
		if (!key || !effect)
			return error_set(err, EINVAL, "registerWithTaints: want key and effect");
		buf_printf(&text, "%s%s=%s:%s", i ? "," : "", key, value ? value : "", effect);
	}
	return set_value(options, "register-with-taints", text.data ? text.data : "", err);
}

/* Name to values, as HTTP has them. */
static int set_headers(struct kubelet_options *options, json_t *headers, struct error *err) {
	const char *name;
	json_t *values, *value;
	size_t i;
	flag_list_done(&options->manifest_url_headers);
	options->manifest_url_headers = (struct flag_list){0};
	json_object_foreach(headers, name, values) {
		json_array_foreach(values, i, value) {
			if (!json_is_string(value))
				return error_set(err, EINVAL, "staticPodURLHeader: want lists of strings");
			autofree char *line = xprintf("%s:%s", name, json_string_value(value));
			flag_list_add(&options->manifest_url_headers, line);
		}
	}
	return 0;
}

static json_t *headers_json(const struct flag_list *list) {
	json_t *out = json_object();
	for (size_t i = 0; i < list->len; i++) {
		const char *colon = strchr(list->items[i], ':');
		autofree char *name = xstrndup(list->items[i], strcspn(list->items[i], ":"));
		if (!json_object_get(out, name))
			json_object_set_new(out, name, json_array());
		json_array_append_new(json_object_get(out, name), json_string(colon ? colon + 1 : ""));
	}
	return out;
}

/* Each hard threshold that the file names replaces its default alone. */
static int merge_thresholds(struct kubelet_options *options, json_t *given, struct error *err) {
	struct kubelet_options defaults = {0};
	char *none[] = {NULL};
	int r = flags_parse(flags, array_len(flags), 0, none, &defaults, NULL, err);
	for (size_t i = 0; r == 0 && i < defaults.eviction_hard.len; i++) {
		autofree char *signal = xstrndup(defaults.eviction_hard.items[i], strcspn(defaults.eviction_hard.items[i], "<"));
		if (!json_object_get(given, signal))
			flag_list_add(&options->eviction_hard, defaults.eviction_hard.items[i]);
	}
	flags_done(flags, array_len(flags), &defaults);
	return r;
}

static int set_shutdown(struct kubelet_options *options, json_t *list, struct error *err) {
	autobuf struct buf text = BUF_INIT(MAX_CONFIG);
	size_t i;
	json_t *row;
	json_array_foreach(list, i, row) {
		json_t *priority = json_object_get(row, "priority"), *seconds = json_object_get(row, "shutdownGracePeriodSeconds");
		if (!json_is_integer(priority) || !json_is_integer(seconds))
			return error_set(err, EINVAL, "shutdownGracePeriodByPodPriority: want priority and shutdownGracePeriodSeconds");
		buf_printf(&text, "%s%lld=%lld", i ? "," : "", (long long)json_integer_value(priority), (long long)json_integer_value(seconds));
	}
	return set_value(options, "shutdown-grace-period-by-pod-priority", text.data ? text.data : "", err);
}

/* As the flag has it: the nodes with semicolons, the types with commas. */
static int set_reserved_memory(struct kubelet_options *options, json_t *list, struct error *err) {
	autobuf struct buf text = BUF_INIT(MAX_CONFIG);
	size_t i;
	json_t *row, *size;
	const char *type;
	json_array_foreach(list, i, row) {
		json_t *node = json_object_get(row, "numaNode"), *limits = json_object_get(row, "limits");
		bool first = true;
		if (!json_is_integer(node) || !json_object_size(limits))
			return error_set(err, EINVAL, "reservedMemory: want numaNode and limits");
		buf_printf(&text, "%s%lld:", i ? ";" : "", (long long)json_integer_value(node));
		json_object_foreach(limits, type, size) {
			if (!json_is_string(size) && !json_is_integer(size))
				return error_set(err, EINVAL, "reservedMemory: %s: want a quantity", type);
			buf_printf(&text, "%s%s=", first ? "" : ",", type);
			if (json_is_string(size))
				buf_append_str(&text, json_string_value(size));
			else
				buf_append_int(&text, json_integer_value(size));
			first = false;
		}
	}
	return text.len ? set_value(options, "reserved-memory", text.data, err) : 0;
}

enum field_kind { FIELD_UNKNOWN, FIELD_KNOWN, FIELD_SECTION, FIELD_IGNORED };

/* name: with dots, as the fields' rows have it. */
static enum field_kind field_kind(const char *name) {
	static const char *const others[] = {"apiVersion", "kind", "registerWithTaints", "shutdownGracePeriodByPodPriority", "reservedMemory", "staticPodURLHeader"};
	size_t len = strlen(name);
	for (size_t i = 0; i < array_len(others); i++)
		if (str_equal(others[i], name))
			return FIELD_KNOWN;
	for (size_t i = 0; i < array_len(fields); i++)
		if (strncmp(fields[i].field, name, len) == 0 && (!fields[i].field[len] || fields[i].field[len] == '.'))
			return fields[i].field[len] ? FIELD_SECTION : FIELD_KNOWN;
	for (size_t i = 0; i < array_len(ignored_fields); i++)
		if (str_equal(ignored_fields[i], name))
			return FIELD_IGNORED;
	return FIELD_UNKNOWN;
}

/* A word for each field that will not do what its writer hopes for. */
static void warn_of_fields(json_t *object, const char *section) {
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value) {
		autofree char *name = xprintf("%s%s%s", section, *section ? "." : "", key);
		enum field_kind kind = field_kind(name);
		if (kind == FIELD_IGNORED)
			log_warning("field of KubeletConfiguration has no effect", LOG_STR("field", name));
		else if (kind == FIELD_UNKNOWN)
			log_warning("unknown field of KubeletConfiguration", LOG_STR("field", name));
		else if (kind == FIELD_SECTION)
			warn_of_fields(value, name);
	}
}

static int apply_tree(struct kubelet_options *options, json_t *root, struct error *err) {
	int r = 0;
	warn_of_fields(root, "");
	for (size_t i = 0; r == 0 && i < array_len(fields); i++) {
		json_t *value = field_get(root, fields[i].field);
		if (value && (r = set_json(options, fields[i].flag, value, err)) < 0)
			error_context(err, "%s", fields[i].field);
	}
	json_t *taints = json_object_get(root, "registerWithTaints");
	if (r == 0 && taints)
		r = set_taints(options, taints, err);
	json_t *shutdown = json_object_get(root, "shutdownGracePeriodByPodPriority");
	if (r == 0 && shutdown)
		r = set_shutdown(options, shutdown, err);
	json_t *memory = json_object_get(root, "reservedMemory");
	if (r == 0 && memory)
		r = set_reserved_memory(options, memory, err);
	json_t *headers = json_object_get(root, "staticPodURLHeader"), *hard = json_object_get(root, "evictionHard");
	json_t *ids = field_get(root, "userNamespaces.idsPerPod");
	if (r == 0 && ids && json_integer_value(ids) != IDS_OF_A_POD)
		r = error_set(err, EINVAL, "userNamespaces.idsPerPod: there is nothing but %d here", IDS_OF_A_POD);
	if (r == 0 && headers)
		r = set_headers(options, headers, err);
	if (r == 0 && hard && json_is_true(json_object_get(root, "mergeDefaultEvictionSettings")))
		r = merge_thresholds(options, hard, err);
	return r;
}

static int parse_config(const char *text, size_t len, json_t **ret, struct error *err) {
	json_t *root = NULL;
	int r = yaml_load(text, len, &root, err);
	if (r == 0 && !str_equal(json_string_value(json_object_get(root, "kind")), KIND))
		r = error_set(err, EINVAL, "no kind \"" KIND "\"");
	if (r < 0)
		json_decref(root);
	else
		*ret = root;
	return r;
}

int kubelet_options_apply_config(struct kubelet_options *options, const char *text, size_t len, struct error *err) {
	json_t *root;
	int r = parse_config(text, len, &root, err);
	if (r < 0)
		return r;
	r = apply_tree(options, root, err);
	json_decref(root);
	return r;
}

/* "k<v" or "k=v" of a list as an object; its opposite is set_map(). */
static json_t *map_json(const struct flag_list *list) {
	json_t *out = json_object();
	for (size_t i = 0; i < list->len; i++) {
		const char *item = list->items[i];
		size_t len = strcspn(item, "<=");
		autofree char *key = xstrndup(item, len);
		json_object_set_new(out, key, json_string(item[len] ? item + len + 1 : ""));
	}
	return out;
}

/* NULL: not told. */
static json_t *field_json(const struct flag *flag, const struct kubelet_options *options) {
	const void *at = (const char *)options + flag->offset;
	if (flag->kind == FLAG_IGNORED || (flag->kind == FLAG_STRING && str_empty(*(char *const *)at)))
		return NULL;
	/* Thresholds are a list on the command line and a map in the file. */
	bool is_map = flag->kind == FLAG_STRING_MAP || (flag->kind == FLAG_STRING_LIST && str_starts_with(flag->name, "eviction-"));
	return is_map ? map_json(at) : flag_to_json(flag, false, options);
}

/* Makes the sections on the way. take_value may be NULL: then nothing is set. */
static void field_set(json_t *root, const char *path, json_t *take_value) {
	size_t len;
	for (const char *p = path; take_value; p += len + 1) {
		len = strcspn(p, ".");
		autofree char *name = xstrndup(p, len);
		if (!p[len]) {
			json_object_set_new(root, name, take_value);
			return;
		}
		if (!json_object_get(root, name))
			json_object_set_new(root, name, json_object());
		root = json_object_get(root, name);
	}
}

/* key=value:effect */
static json_t *taints_json(const struct flag_list *list) {
	json_t *out = json_array();
	for (size_t i = 0; i < list->len; i++) {
		const char *item = list->items[i], *effect = strrchr(item, ':');
		size_t key = strcspn(item, "=:"), value = item[key] == '=' && effect ? (size_t)(effect - item) - key - 1 : 0;
		json_t *taint = json_pack("{s:s%,s:s}", "key", item, key, "effect", effect ? effect + 1 : "");
		if (value)
			json_object_set_new(taint, "value", json_stringn(item + key + 1, value));
		json_array_append_new(out, taint);
	}
	return out;
}

static json_t *shutdown_json(const struct flag_list *list) {
	json_t *out = json_array();
	for (size_t i = 0; i < list->len; i++) {
		const char *seconds = strchr(list->items[i], '=');
		json_array_append_new(out, json_pack("{s:I,s:I}", "priority", (json_int_t)atoll(list->items[i]), "shutdownGracePeriodSeconds", (json_int_t)(seconds ? atoll(seconds + 1) : 0)));
	}
	return out;
}

/* Its opposite is set_reserved_memory(). */
static json_t *reserved_memory_json(const struct flag_list *list) {
	json_t *out = json_array();
	for (size_t i = 0; i < list->len; i++) {
		autofree char *copy = xstrdup(list->items[i]);
		char *node_save = NULL, *save;
		for (char *node = strtok_r(copy, ";", &node_save); node; node = strtok_r(NULL, ";", &node_save)) {
			char *colon = strchr(node, ':');
			json_t *limits = json_object();
			for (char *amount = colon ? strtok_r(colon + 1, ",", &save) : NULL; amount; amount = strtok_r(NULL, ",", &save)) {
				char *equal = strchr(amount, '=');
				if (!equal)
					continue;
				*equal = '\0';
				json_object_set_new(limits, amount, json_string(equal + 1));
			}
			json_array_append_new(out, json_pack("{s:I,s:o}", "numaNode", (json_int_t)atoll(node), "limits", limits));
		}
	}
	return out;
}

static json_t *gates_json(const struct flag_list *list) {
	json_t *out = json_object();
	for (size_t i = 0; i < list->len; i++) {
		const char *equal = strchr(list->items[i], '=');
		autofree char *name = equal ? xstrndup(list->items[i], (size_t)(equal - list->items[i])) : NULL;
		if (name)
			json_object_set_new(out, name, json_boolean(strchr("1tT", equal[1]) && equal[1]));
	}
	return out;
}

char *kubelet_options_config(const struct kubelet_options *options) {
	json_t *root = json_pack("{s:s,s:s}", "kind", KIND, "apiVersion", API_VERSION);
	for (size_t i = 0; i < array_len(fields); i++)
		for (size_t j = 0; j < array_len(flags); j++)
			if (str_equal(flags[j].name, fields[i].flag))
				field_set(root, fields[i].field, field_json(&flags[j], options));
	if (options->register_with_taints.len)
		json_object_set_new(root, "registerWithTaints", taints_json(&options->register_with_taints));
	if (options->shutdown_by_priority.len)
		json_object_set_new(root, "shutdownGracePeriodByPodPriority", shutdown_json(&options->shutdown_by_priority));
	if (options->manifest_url_headers.len)
		json_object_set_new(root, "staticPodURLHeader", headers_json(&options->manifest_url_headers));
	if (options->reserved_memory.len)
		json_object_set_new(root, "reservedMemory", reserved_memory_json(&options->reserved_memory));
	json_object_set_new(root, "featureGates", gates_json(&options->feature_gates));
	char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	return text;
}

/* ---- files ---- */

static int read_config(const char *path, json_t **ret, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, MAX_CONFIG, &text, &len, err);
	if (r == 0)
		r = parse_config(text, len, ret, err);
	return r < 0 ? (error_context(err, "config %s", path), r) : 0;
}

static int merge_part(const char *path, json_t **root, struct error *err) {
	json_t *part, *merged = NULL;
	int r = read_config(path, &part, err);
	if (r < 0)
		return r;
	if (str_equal(json_string_value(json_object_get(part, "apiVersion")), API_VERSION))
		r = patch_merge(*root, part, &merged, err);
	else
		r = error_set(err, EINVAL, "config %s: no apiVersion \"" API_VERSION "\"", path);
	json_decref(part);
	if (r < 0)
		return r;
	json_decref(*root);
	*root = merged;
	return 0;
}

/* Folder by folder, in the order of names: a later one wins, a list as a whole. */
static int merge_folder(const char *folder, int depth, json_t **root, struct error *err) {
	struct dirent **entries;
	int count = scandir(folder, &entries, NULL, alphasort), r = 0;
	if (count < 0)
		return error_set_errno(err, errno, "config folder %s", folder);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		autofree char *path = path_join(folder, name, NULL);
		if (r == 0 && entries[i]->d_type == DT_DIR && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
			r = depth < MAX_DEPTH ? merge_folder(path, depth + 1, root, err) : error_set(err, ELOOP, "config folder %s is too deep", folder);
		else if (r == 0 && entries[i]->d_type != DT_DIR && str_ends_with(name, ".conf"))
			r = merge_part(path, root, err);
		free(entries[i]);
	}
	free(entries);
	return r;
}

static int load_files(struct kubelet_options *options, struct error *err) {
	json_t *root = NULL;
	int r = 0;
	if (!str_empty(options->config))
		r = read_config(options->config, &root, err);
	else
		root = json_pack("{s:s,s:s}", "kind", KIND, "apiVersion", API_VERSION);
	if (r == 0 && !str_empty(options->config_dir))
		r = merge_folder(options->config_dir, 0, &root, err);
	if (r == 0 && (r = apply_tree(options, root, err)) < 0)
		error_context(err, "config %s", str_empty(options->config) ? options->config_dir : options->config);
	json_decref(root);
	return r;
}

/* A flag given on the command line wins over the file: it is parsed twice, around the file. */
static int reapply(int argc, char *const *argv, struct kubelet_options *options, struct error *err) {
	struct kubelet_options given = {0};
	int r = flags_parse(flags, array_len(flags), argc, argv, &given, NULL, err);
	for (size_t i = 0; r == 0 && i < array_len(flags); i++) {
		const struct flag *f = &flags[i];
		if (f->kind == FLAG_IGNORED || !flags_given(flags, array_len(flags), argc, argv, f->name))
			continue;
		void *to = (char *)options + f->offset, *from = (char *)&given + f->offset;
		size_t size = f->kind == FLAG_BOOL ? sizeof(bool) : f->kind == FLAG_STRING_LIST || f->kind == FLAG_STRING_MAP || f->kind == FLAG_STRING_ARRAY ? sizeof(struct flag_list) : sizeof(int64_t);
		char swap[sizeof(struct flag_list)];
		memcpy(swap, to, size);
		memcpy(to, from, size);
		memcpy(from, swap, size);
	}
	flags_done(flags, array_len(flags), &given);
	return r;
}

static void default_path(char **field, const char *dir, const char *name) {
	if (!str_empty(*field))
		return;
	free(*field);
	*field = path_join(dir, name, NULL);
}

static void drop_item(struct flag_list *list, const char *key) {
	size_t kept = 0, len = strlen(key);
	for (size_t i = 0; i < list->len; i++) {
		if (strncmp(list->items[i], key, len) == 0 && list->items[i][len] == '=')
			free(list->items[i]);
		else
			list->items[kept++] = list->items[i];
	}
	list->len = kept;
}

/* Cpus that are named stand instead of amounts of them. */
static int apply_reserved_cpus(struct kubelet_options *options, struct error *err) {
	struct cpuset cpus;
	if (str_empty(options->reserved_cpus))
		return 0;
	if (!str_empty(options->system_reserved_cgroup) || !str_empty(options->kube_reserved_cgroup))
		return error_set(err, EINVAL, "reserved-cpus does not go with system-reserved-cgroup or kube-reserved-cgroup");
	int r = cpuset_parse(options->reserved_cpus, &cpus, err);
	if (r < 0)
		return error_context(err, "reserved-cpus");
	autofree char *amount = xprintf("cpu=%zu", cpuset_count(&cpus));
	drop_item(&options->kube_reserved, "cpu");
	drop_item(&options->system_reserved, "cpu");
	flag_list_add(&options->system_reserved, amount);
	return 0;
}

/* What would promise something else than what is done. */
static int check_fixed(const struct kubelet_options *o, struct error *err) {
	const struct {
		const char *flag;
		bool as_it_is;
	} fixed[] = {
		{"cgroups-per-qos", o->cgroups_per_qos},
		{"cpu-cfs-quota-period", o->cpu_period_ns == 100 * NSEC_PER_MSEC},
		{"enable-controller-attach-detach", o->attach_by_controller},
		{"local-storage-capacity-isolation", o->storage_isolation},
		{"runonce", !o->run_once},
		{"qos-reserved", o->qos_reserved.len == 0},
	};
	for (size_t i = 0; i < array_len(fixed); i++)
		if (!fixed[i].as_it_is)
			return error_set(err, EINVAL, "%s: there is nothing but the default here", fixed[i].flag);
	return 0;
}

static void warn_of_gates(const struct flag_list *gates) {
	static const char *const known[] = {"CPUManagerPolicyAlphaOptions=", "CPUManagerPolicyBetaOptions=", "DisableCPUQuotaWithExclusiveCPUs="};
	for (size_t i = 0; i < gates->len; i++) {
		bool any = false;
		for (size_t k = 0; k < array_len(known); k++)
			any = any || str_starts_with(gates->items[i], known[k]);
		if (!any)
			log_warning("feature gate has no effect", LOG_STR("gate", gates->items[i]));
	}
}

int kubelet_options_load(int argc, char *const *argv, struct kubelet_options *ret, struct error *err) {
	struct kubelet_options options = {0};
	int r = flags_parse(flags, array_len(flags), argc, argv, &options, NULL, err);
	if (r == 0 && (!str_empty(options.config) || !str_empty(options.config_dir))) {
		r = load_files(&options, err);
		if (r == 0)
			r = reapply(argc, argv, &options, err);
	}
	if (r == 0)
		r = apply_reserved_cpus(&options, err);
	if (r == 0)
		r = check_fixed(&options, err);
	if (r == 0 && !str_empty(options.bootstrap_kubeconfig) && str_empty(options.kubeconfig))
		r = error_set(err, EINVAL, "bootstrap-kubeconfig needs kubeconfig, the file that is written");
	if (r < 0) {
		kubelet_options_done(&options);
		return r;
	}
	warn_of_gates(&options.feature_gates);
	default_path(&options.runtime_root, options.root_dir, "runtime");
	default_path(&options.cni_cache_dir, options.root_dir, "cni");
	default_path(&options.device_plugins_dir, options.root_dir, "device-plugins");
	default_path(&options.pod_resources_dir, options.root_dir, "pod-resources");
	default_path(&options.cert_dir, options.root_dir, "pki");
	default_path(&options.seccomp_dir, options.root_dir, "seccomp");
	*ret = options;
	return 0;
}

void kubelet_options_done(struct kubelet_options *options) {
	flags_done(flags, array_len(flags), options);
}

void kubelet_options_print_help(FILE *out) {
	flags_print_help(out, "coracle-kubelet", "The node agent: runs the pods that the API server, a folder or a URL gives this node.", flags, array_len(flags));
}

const struct flag *kubelet_options_flags(size_t *ret_count) {
	*ret_count = array_len(flags);
	return flags;
}
