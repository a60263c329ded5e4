/* SPDX-License-Identifier: Apache-2.0 */
/* The flags, under kube-apiserver's names. */
#include "apiserver/apiserver.h"

#define O(field) offsetof(struct apiserver_options, field)
#define IGNORED(flag_name) {.name = flag_name, .kind = FLAG_IGNORED, .help = "accepted, without effect here"}

const struct flag apiserver_flags[] = {
	{.name = "help", .shorthand = 'h', .kind = FLAG_BOOL, .offset = O(help), .help = "print this text"},
	{.name = "version", .kind = FLAG_BOOL, .offset = O(version), .help = "print the version"},
	{.name = "v", .shorthand = 'v', .kind = FLAG_INT, .offset = O(v), .fallback = "0", .help = "log verbosity", .min = 0, .max = 10},
	{.name = "logging-format", .kind = FLAG_STRING, .offset = O(logging_format), .fallback = "text", .help = "text or json"},

	{.name = "etcd-servers", .kind = FLAG_STRING_LIST, .offset = O(etcd_servers), .help = "http(s)://host:port of etcd"},
	{.name = "etcd-prefix", .kind = FLAG_STRING, .offset = O(etcd_prefix), .fallback = "/registry", .help = "what all keys begin with"},
	{.name = "etcd-cafile", .kind = FLAG_STRING, .offset = O(etcd_cafile), .help = "PEM file of etcd's CA"},
	{.name = "etcd-certfile", .kind = FLAG_STRING, .offset = O(etcd_certfile), .help = "PEM client certificate for etcd"},
	{.name = "etcd-keyfile", .kind = FLAG_STRING, .offset = O(etcd_keyfile), .help = "its key"},
	{.name = "etcd-compaction-interval", .kind = FLAG_DURATION, .offset = O(etcd_compaction_interval), .fallback = "5m0s", .help = "how often old revisions are compacted; 0 means never"},

	{.name = "bind-address", .kind = FLAG_STRING, .offset = O(bind_address), .fallback = "0.0.0.0", .help = "address to listen on"},
	{.name = "advertise-address", .kind = FLAG_STRING, .offset = O(advertise_address), .help = "address that the cluster reaches this server at; empty: of the default route"},
	{.name = "external-hostname", .kind = FLAG_STRING, .offset = O(external_hostname), .help = "host name for URLs made for clients"},
	{.name = "secure-port", .kind = FLAG_INT, .offset = O(secure_port), .fallback = "6443", .help = "port to listen on", .min = 0, .max = 65535},
	{.name = "tls-cert-file", .kind = FLAG_STRING, .offset = O(tls_cert_file), .help = "PEM server certificate; empty: a self-signed one in --cert-dir"},
	{.name = "tls-private-key-file", .kind = FLAG_STRING, .offset = O(tls_private_key_file), .help = "its key"},
	{.name = "cert-dir", .kind = FLAG_STRING, .offset = O(cert_dir), .fallback = "/var/run/kubernetes", .help = "where a self-signed certificate is kept"},
	{.name = "client-ca-file", .kind = FLAG_STRING, .offset = O(client_ca_file), .help = "PEM CAs of client certificates"},

	{.name = "token-auth-file", .kind = FLAG_STRING, .offset = O(token_auth_file), .help = "CSV file of token,user,uid,\"group,...\""},
	{.name = "authorization-mode", .kind = FLAG_STRING_LIST, .offset = O(authorization_mode), .fallback = "Node,RBAC", .help = "AlwaysAllow, AlwaysDeny, Node, RBAC, in order"},
	{.name = "anonymous-auth", .kind = FLAG_BOOL, .offset = O(anonymous_auth), .fallback = "true", .help = "requests without credentials are system:anonymous"},
	{.name = "enable-bootstrap-token-auth", .kind = FLAG_IGNORED, .help = "bootstrap tokens are always accepted"},
	{.name = "enable-admission-plugins", .kind = FLAG_STRING_LIST, .offset = O(enable_admission_plugins), .help = "plugins to turn on besides the default ones"},
	{.name = "disable-admission-plugins", .kind = FLAG_STRING_LIST, .offset = O(disable_admission_plugins), .help = "plugins to turn off"},

	{.name = "service-account-issuer", .kind = FLAG_STRING_LIST, .offset = O(service_account_issuer), .help = "issuer of tokens; the first one signs"},
	{.name = "service-account-key-file", .kind = FLAG_STRING_LIST, .offset = O(service_account_key_file), .help = "PEM keys that verify service account tokens"},
	{.name = "service-account-signing-key-file", .kind = FLAG_STRING, .offset = O(service_account_signing_key_file), .help = "PEM key that signs them"},
	{.name = "service-account-jwks-uri", .kind = FLAG_STRING, .offset = O(service_account_jwks_uri), .help = "overrides the URI in the discovery document"},
	{.name = "service-account-lookup", .kind = FLAG_BOOL, .offset = O(service_account_lookup), .fallback = "true", .help = "a token's account must still be there"},
	{.name = "service-account-max-token-expiration", .kind = FLAG_DURATION, .offset = O(service_account_max_token_expiration), .fallback = "0s", .help = "longest life of a token; 0: any"},
	{.name = "api-audiences", .kind = FLAG_STRING_LIST, .offset = O(api_audiences), .help = "audiences of this server; default: the issuer"},

	{.name = "service-cluster-ip-range", .kind = FLAG_STRING_LIST, .offset = O(service_cluster_ip_range), .fallback = "10.0.0.0/24", .help = "addresses of Services; one or two CIDRs"},
	{.name = "service-node-port-range", .kind = FLAG_STRING, .offset = O(service_node_port_range), .fallback = "30000-32767", .help = "node ports of Services"},

	{.name = "runtime-config", .kind = FLAG_STRING_LIST, .offset = O(runtime_config), .help = "group/version=true or false"},
	{.name = "feature-gates", .kind = FLAG_STRING_LIST, .offset = O(feature_gates), .help = "Gate=true or false"},
	{.name = "storage-media-type", .kind = FLAG_STRING, .offset = O(storage_media_type), .fallback = "application/json", .help = "application/json is what is stored"},

	{.name = "kubelet-client-certificate", .kind = FLAG_STRING, .offset = O(kubelet_client_certificate), .help = "PEM client certificate for kubelets"},
	{.name = "kubelet-client-key", .kind = FLAG_STRING, .offset = O(kubelet_client_key), .help = "its key"},
	{.name = "kubelet-certificate-authority", .kind = FLAG_STRING, .offset = O(kubelet_certificate_authority), .help = "PEM CA of kubelets' certificates; empty: not verified"},
	{.name = "kubelet-preferred-address-types", .kind = FLAG_STRING_LIST, .offset = O(kubelet_preferred_address_types), .fallback = "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", .help = "which address of a node to use"},
	{.name = "kubelet-timeout", .kind = FLAG_DURATION, .offset = O(kubelet_timeout), .fallback = "5s", .help = "for connecting to a kubelet"},

	{.name = "requestheader-client-ca-file", .kind = FLAG_STRING, .offset = O(requestheader_client_ca_file), .help = "PEM CA of front proxies"},
	{.name = "requestheader-username-headers", .kind = FLAG_STRING_LIST, .offset = O(requestheader_username_headers), .help = "headers with the user's name"},
	{.name = "requestheader-group-headers", .kind = FLAG_STRING_LIST, .offset = O(requestheader_group_headers), .help = "headers with groups"},
	{.name = "requestheader-extra-headers-prefix", .kind = FLAG_STRING_LIST, .offset = O(requestheader_extra_headers_prefix), .help = "prefix of headers with more"},
	{.name = "requestheader-allowed-names", .kind = FLAG_STRING_LIST, .offset = O(requestheader_allowed_names), .help = "certificate names that may use the headers"},
	{.name = "proxy-client-cert-file", .kind = FLAG_STRING, .offset = O(proxy_client_cert_file), .help = "PEM client certificate for aggregated servers"},
	{.name = "proxy-client-key-file", .kind = FLAG_STRING, .offset = O(proxy_client_key_file), .help = "its key"},

	{.name = "allow-privileged", .kind = FLAG_BOOL, .offset = O(allow_privileged), .fallback = "true", .help = "privileged containers are allowed"},
	{.name = "sole-server-reads", .kind = FLAG_BOOL, .offset = O(sole_server_reads), .fallback = "true", .help = "while no other API server serves its etcd, consistent reads are answered without asking etcd"},
	{.name = "watch-cache", .kind = FLAG_BOOL, .offset = O(watch_cache), .fallback = "true", .help = "always on here"},
	{.name = "profiling", .kind = FLAG_BOOL, .offset = O(profiling), .fallback = "true", .help = "accepted"},
	{.name = "enable-priority-and-fairness", .kind = FLAG_BOOL, .offset = O(enable_priority_and_fairness), .fallback = "true", .help = "requests share the sum of the two limits below by FlowSchemas"},
	{.name = "max-requests-inflight", .kind = FLAG_INT, .offset = O(max_requests_inflight), .fallback = "400", .help = "reads at once; 0: no limit", .min = 0, .max = 1000000},
	{.name = "max-mutating-requests-inflight", .kind = FLAG_INT, .offset = O(max_mutating_requests_inflight), .fallback = "200", .help = "writes at once; 0: no limit", .min = 0, .max = 1000000},
	{.name = "memory-limit", .kind = FLAG_STRING, .offset = O(memory_limit), .help = "most memory that this process takes, such as 512Mi: requests are refused before it takes more; empty: no limit"},
	{.name = "request-timeout", .kind = FLAG_DURATION, .offset = O(request_timeout), .fallback = "1m0s", .help = "of a request that is not a watch"},
	{.name = "min-request-timeout", .kind = FLAG_INT, .offset = O(min_request_timeout), .fallback = "1800", .help = "seconds that a watch is kept open at least", .min = 1, .max = INT32_MAX},
	{.name = "event-ttl", .kind = FLAG_DURATION, .offset = O(event_ttl), .fallback = "1h0m0s", .help = "how long Events are kept"},
	{.name = "default-not-ready-toleration-seconds", .kind = FLAG_INT, .offset = O(default_not_ready_toleration_seconds), .fallback = "300", .help = "of pods that say nothing", .min = 0, .max = INT32_MAX},
	{.name = "default-unreachable-toleration-seconds", .kind = FLAG_INT, .offset = O(default_unreachable_toleration_seconds), .fallback = "300", .help = "of pods that say nothing", .min = 0, .max = INT32_MAX},

	{.name = "audit-policy-file", .kind = FLAG_STRING, .offset = O(audit_policy_file), .help = "which requests the audit log tells of, and how much: a Policy of audit.k8s.io/v1"},
	{.name = "audit-log-path", .kind = FLAG_STRING, .offset = O(audit_log_path), .help = "file of the audit log; - is standard output; empty: none"},
	{.name = "audit-log-maxage", .kind = FLAG_INT, .offset = O(audit_log_maxage), .fallback = "0", .help = "days that old files of it are kept; 0: for ever", .min = 0, .max = 36500},
	{.name = "audit-log-maxbackup", .kind = FLAG_INT, .offset = O(audit_log_maxbackup), .fallback = "0", .help = "how many old files of it are kept; 0: all", .min = 0, .max = 1000000},
	{.name = "audit-log-maxsize", .kind = FLAG_INT, .offset = O(audit_log_maxsize), .fallback = "0", .help = "megabytes after which it is turned over; 0: 100", .min = 0, .max = 1000000},
	IGNORED("audit-log-format"), IGNORED("audit-log-mode"),
	IGNORED("apiserver-count"), IGNORED("endpoint-reconciler-type"), IGNORED("enable-aggregator-routing"),
	IGNORED("encryption-provider-config"), IGNORED("goaway-chance"), IGNORED("http2-max-streams-per-connection"), IGNORED("livez-grace-period"),
	IGNORED("shutdown-delay-duration"), IGNORED("shutdown-send-retry-after"), IGNORED("tls-cipher-suites"), IGNORED("tls-min-version"), IGNORED("tls-sni-cert-key"),
	IGNORED("etcd-healthcheck-timeout"), IGNORED("etcd-readycheck-timeout"), IGNORED("etcd-count-metric-poll-period"), IGNORED("etcd-db-metric-poll-interval"),
	IGNORED("default-watch-cache-size"), IGNORED("watch-cache-sizes"), IGNORED("delete-collection-workers"), IGNORED("enable-garbage-collector"), IGNORED("storage-backend"),
	IGNORED("oidc-issuer-url"), IGNORED("oidc-client-id"), IGNORED("oidc-username-claim"), IGNORED("oidc-groups-claim"), IGNORED("oidc-ca-file"),
	IGNORED("authentication-config"), IGNORED("authorization-config"), IGNORED("authentication-token-webhook-config-file"), IGNORED("authorization-webhook-config-file"),
	IGNORED("admission-control-config-file"), IGNORED("egress-selector-config-file"), IGNORED("tracing-config-file"), IGNORED("service-account-extend-token-expiration"),
	IGNORED("cors-allowed-origins"), IGNORED("permit-address-sharing"), IGNORED("permit-port-sharing"), IGNORED("contention-profiling"), IGNORED("vmodule"),
	IGNORED("insecure-port"), IGNORED("cloud-provider"), IGNORED("cloud-config"), IGNORED("enable-logs-handler"), IGNORED("enable-swagger-ui"), IGNORED("lease-reuse-duration-seconds"),
};
const size_t apiserver_flag_count = array_len(apiserver_flags);
