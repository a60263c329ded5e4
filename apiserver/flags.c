/* SPDX-License-Identifier: Apache-2.0 */
/* The flags, under kube-apiserver's names. */
#include "apiserver/apiserver.h"
#include "common/api/yaml.h"
#include "common/base/file.h"
#include "common/base/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#define O(field) offsetof(struct apiserver_options, field)
#define IGNORED(flag_name) {.name = flag_name, .kind = FLAG_IGNORED, .help = "accepted, without effect here"}
#define REFUSED(flag_name, default_, instead) {.name = flag_name, .kind = FLAG_REFUSED, .fallback = default_, .help = instead}

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
	{.name = "tls-sni-cert-key", .kind = FLAG_STRING_ARRAY, .offset = O(tls_sni_cert_key), .help = "certificate.pem,key.pem:name,*.name: for clients who ask for these names; without any, for those it is for; several times"},
	{.name = "cert-dir", .kind = FLAG_STRING, .offset = O(cert_dir), .fallback = "/var/run/kubernetes", .help = "where a self-signed certificate is kept"},
	{.name = "tls-min-version", .kind = FLAG_STRING, .offset = O(tls_min_version), .fallback = "", .help = "oldest TLS that is spoken: VersionTLS12 or VersionTLS13"},
	{.name = "tls-cipher-suites", .kind = FLAG_STRING_LIST, .offset = O(tls_cipher_suites), .help = "suites of TLS 1.2 that are offered; none: those of the library"},
	{.name = "cors-allowed-origins", .kind = FLAG_STRING_LIST, .offset = O(cors_allowed_origins), .help = "patterns of origins whose scripts may use this server, such as //example\\.com(:|$)"},
	{.name = "strict-transport-security-directives", .kind = FLAG_STRING_LIST, .offset = O(strict_transport_security_directives), .help = "of the header Strict-Transport-Security: max-age=SECONDS, includeSubDomains, preload; empty: none is sent"},
	{.name = "client-ca-file", .kind = FLAG_STRING, .offset = O(client_ca_file), .help = "PEM CAs of client certificates"},

	{.name = "token-auth-file", .kind = FLAG_STRING, .offset = O(token_auth_file), .help = "CSV file of token,user,uid,\"group,...\""},
	{.name = "authentication-config", .kind = FLAG_STRING, .offset = O(authentication_config), .help = "whose tokens are believed, and who may come without: an AuthenticationConfiguration of apiserver.config.k8s.io/v1; read again as it changes"},
	{.name = "oidc-issuer-url", .kind = FLAG_STRING, .offset = O(oidc_issuer_url), .help = "https URL of an OpenID issuer whose tokens are believed"},
	{.name = "oidc-client-id", .kind = FLAG_STRING, .offset = O(oidc_client_id), .help = "whom its tokens must be for"},
	{.name = "oidc-username-claim", .kind = FLAG_STRING, .offset = O(oidc_username_claim), .fallback = "sub", .help = "claim that names the user"},
	{.name = "oidc-username-prefix", .kind = FLAG_STRING, .offset = O(oidc_username_prefix), .help = "stands before the name; empty: the issuer's URL and #, but for the claim email; -: nothing"},
	{.name = "oidc-groups-claim", .kind = FLAG_STRING, .offset = O(oidc_groups_claim), .help = "claim that names the user's groups"},
	{.name = "oidc-groups-prefix", .kind = FLAG_STRING, .offset = O(oidc_groups_prefix), .help = "stands before each of them"},
	{.name = "oidc-required-claim", .kind = FLAG_STRING_MAP, .offset = O(oidc_required_claim), .help = "claim=value that a token must have; several times"},
	{.name = "oidc-ca-file", .kind = FLAG_STRING, .offset = O(oidc_ca_file), .help = "PEM authorities of the issuer's certificate; empty: the system's"},
	{.name = "oidc-signing-algs", .kind = FLAG_STRING_LIST, .offset = O(oidc_signing_algs), .fallback = "RS256", .help = "algorithms its tokens may be signed by: RS, ES or PS with 256, 384 or 512"},
	{.name = "authentication-token-webhook-config-file", .kind = FLAG_STRING, .offset = O(authentication_token_webhook_config_file), .help = "kubeconfig of the server that is asked whose a bearer token is"},
	{.name = "authentication-token-webhook-version", .kind = FLAG_STRING, .offset = O(authentication_token_webhook_version), .fallback = "v1beta1", .help = "of the TokenReview it is sent: v1 or v1beta1"},
	{.name = "authentication-token-webhook-cache-ttl", .kind = FLAG_DURATION, .offset = O(authentication_token_webhook_cache_ttl), .fallback = "2m0s", .help = "how long its answers are kept"},
	{.name = "authorization-mode", .kind = FLAG_STRING_LIST, .offset = O(authorization_mode), .fallback = "Node,RBAC", .help = "AlwaysAllow, AlwaysDeny, ABAC, Node, RBAC, Webhook, in order"},
	{.name = "authorization-config", .kind = FLAG_STRING, .offset = O(authorization_config), .help = "the same and more in a file: an AuthorizationConfiguration of apiserver.config.k8s.io/v1; read again as it changes"},
	{.name = "authorization-policy-file", .kind = FLAG_STRING, .offset = O(authorization_policy_file), .help = "rules of the mode ABAC, one of JSON a line"},
	{.name = "authorization-webhook-config-file", .kind = FLAG_STRING, .offset = O(authorization_webhook_config_file), .help = "kubeconfig of the server that the mode Webhook asks"},
	{.name = "authorization-webhook-version", .kind = FLAG_STRING, .offset = O(authorization_webhook_version), .fallback = "v1beta1", .help = "of the SubjectAccessReview it is sent: v1 or v1beta1"},
	{.name = "authorization-webhook-cache-authorized-ttl", .kind = FLAG_DURATION, .offset = O(authorization_webhook_cache_authorized_ttl), .fallback = "5m0s", .help = "how long it is remembered that somebody may"},
	{.name = "authorization-webhook-cache-unauthorized-ttl", .kind = FLAG_DURATION, .offset = O(authorization_webhook_cache_unauthorized_ttl), .fallback = "30s", .help = "how long it is remembered that somebody may not"},
	{.name = "anonymous-auth", .kind = FLAG_BOOL, .offset = O(anonymous_auth), .fallback = "true", .help = "requests without credentials are system:anonymous"},
	{.name = "enable-bootstrap-token-auth", .kind = FLAG_IGNORED, .help = "bootstrap tokens are always accepted"},
	{.name = "enable-admission-plugins", .kind = FLAG_STRING_LIST, .offset = O(enable_admission_plugins), .help = "plugins to turn on besides the default ones"},
	{.name = "disable-admission-plugins", .kind = FLAG_STRING_LIST, .offset = O(disable_admission_plugins), .help = "plugins to turn off"},

	{.name = "admission-control-config-file", .kind = FLAG_STRING, .offset = O(admission_control_config_file), .help = "what plugins are told: an AdmissionConfiguration of apiserver.config.k8s.io/v1"},

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

	{.name = "encryption-provider-config", .kind = FLAG_STRING, .offset = O(encryption_provider_config), .help = "file that says which objects are encrypted in etcd, and how: an EncryptionConfiguration of apiserver.config.k8s.io/v1"},
	{.name = "encryption-provider-config-automatic-reload", .kind = FLAG_BOOL, .offset = O(encryption_provider_config_automatic_reload), .fallback = "false", .help = "it is read again when it changes"},

	{.name = "kubelet-client-certificate", .kind = FLAG_STRING, .offset = O(kubelet_client_certificate), .help = "PEM client certificate for kubelets"},
	{.name = "kubelet-client-key", .kind = FLAG_STRING, .offset = O(kubelet_client_key), .help = "its key"},
	{.name = "kubelet-certificate-authority", .kind = FLAG_STRING, .offset = O(kubelet_certificate_authority), .help = "PEM CA of kubelets' certificates; empty: not verified"},
	{.name = "kubelet-preferred-address-types", .kind = FLAG_STRING_LIST, .offset = O(kubelet_preferred_address_types), .fallback = "Hostname,InternalDNS,InternalIP,ExternalDNS,ExternalIP", .help = "which address of a node to use"},
	{.name = "kubelet-timeout", .kind = FLAG_DURATION, .offset = O(kubelet_timeout), .fallback = "5s", .help = "for connecting to a kubelet"},

	{.name = "requestheader-client-ca-file", .kind = FLAG_STRING, .offset = O(requestheader_client_ca_file), .help = "PEM CA of front proxies"},
	{.name = "requestheader-username-headers", .kind = FLAG_STRING_LIST, .offset = O(requestheader_username_headers), .fallback = "X-Remote-User", .help = "headers with the user's name"},
	{.name = "requestheader-uid-headers", .kind = FLAG_STRING_LIST, .offset = O(requestheader_uid_headers), .help = "headers with the user's uid"},
	{.name = "requestheader-group-headers", .kind = FLAG_STRING_LIST, .offset = O(requestheader_group_headers), .fallback = "X-Remote-Group", .help = "headers with groups"},
	{.name = "requestheader-extra-headers-prefix", .kind = FLAG_STRING_LIST, .offset = O(requestheader_extra_headers_prefix), .fallback = "X-Remote-Extra-", .help = "prefix of headers with more"},
	{.name = "requestheader-allowed-names", .kind = FLAG_STRING_LIST, .offset = O(requestheader_allowed_names), .help = "certificate names that may use the headers"},
	{.name = "proxy-client-cert-file", .kind = FLAG_STRING, .offset = O(proxy_client_cert_file), .help = "PEM client certificate for aggregated servers"},
	{.name = "proxy-client-key-file", .kind = FLAG_STRING, .offset = O(proxy_client_key_file), .help = "its key"},
	{.name = "enable-aggregator-routing", .kind = FLAG_BOOL, .offset = O(enable_aggregator_routing), .fallback = "true", .help = "requests for aggregated servers go to endpoints of their Services at once, and need no proxy here; false: to the cluster IP"},

	{.name = "allow-privileged", .kind = FLAG_BOOL, .offset = O(allow_privileged), .fallback = "true", .help = "privileged containers are allowed"},
	{.name = "sole-server-reads", .kind = FLAG_BOOL, .offset = O(sole_server_reads), .fallback = "true", .help = "while no other API server serves its etcd, consistent reads are answered without asking etcd"},
	{.name = "watch-cache", .kind = FLAG_BOOL, .offset = O(watch_cache), .fallback = "true", .help = "always on here"},
	{.name = "profiling", .kind = FLAG_BOOL, .offset = O(profiling), .fallback = "true", .help = "serve /debug"},
	{.name = "enable-priority-and-fairness", .kind = FLAG_BOOL, .offset = O(enable_priority_and_fairness), .fallback = "true", .help = "requests share the sum of the two limits below by FlowSchemas"},
	{.name = "max-requests-inflight", .kind = FLAG_INT, .offset = O(max_requests_inflight), .fallback = "400", .help = "reads at once; 0: no limit", .min = 0, .max = 1000000},
	{.name = "max-mutating-requests-inflight", .kind = FLAG_INT, .offset = O(max_mutating_requests_inflight), .fallback = "200", .help = "writes at once; 0: no limit", .min = 0, .max = 1000000},
	{.name = "memory-limit", .kind = FLAG_STRING, .offset = O(memory_limit), .help = "most memory that this process takes, such as 512Mi: requests are refused before it takes more; empty: no limit"},
	{.name = "request-timeout", .kind = FLAG_DURATION, .offset = O(request_timeout), .fallback = "1m0s", .help = "of a request that is not a watch"},
	{.name = "min-request-timeout", .kind = FLAG_INT, .offset = O(min_request_timeout), .fallback = "1800", .help = "seconds that a watch is kept open at least", .min = 1, .max = INT32_MAX},
	{.name = "delete-collection-workers", .kind = FLAG_INT, .offset = O(delete_collection_workers), .fallback = "0", .help = "objects of a collection that are deleted at once; with 1 they go in order; 0: a hundred or fewer in order, more several at once", .min = 0, .max = 1000},
	{.name = "event-ttl", .kind = FLAG_DURATION, .offset = O(event_ttl), .fallback = "1h0m0s", .help = "how long Events are kept"},
	{.name = "default-not-ready-toleration-seconds", .kind = FLAG_INT, .offset = O(default_not_ready_toleration_seconds), .fallback = "300", .help = "of pods that say nothing", .min = 0, .max = INT32_MAX},
	{.name = "default-unreachable-toleration-seconds", .kind = FLAG_INT, .offset = O(default_unreachable_toleration_seconds), .fallback = "300", .help = "of pods that say nothing", .min = 0, .max = INT32_MAX},

	{.name = "shutdown-delay-duration", .kind = FLAG_DURATION, .offset = O(shutdown_delay_duration), .fallback = "0s", .help = "when it is told to end: how long it serves on, while /readyz says that it is leaving"},
	{.name = "shutdown-send-retry-after", .kind = FLAG_BOOL, .offset = O(shutdown_send_retry_after), .fallback = "false", .help = "while requests under way come to their end, new ones are answered with 429, and not refused"},
	{.name = "shutdown-watch-termination-grace-period", .kind = FLAG_DURATION, .offset = O(shutdown_watch_termination_grace_period), .fallback = "0s", .help = "over which watches are ended then, one after the other; 0: all at once"},
	{.name = "livez-grace-period", .kind = FLAG_DURATION, .offset = O(livez_grace_period), .fallback = "0s", .help = "how long after the start /livez takes what is still to be done for done"},
	{.name = "storage-initialization-timeout", .kind = FLAG_DURATION, .offset = O(storage_initialization_timeout), .fallback = "1m0s", .help = "how long etcd may take to answer at the start"},
	{.name = "storage-backend", .kind = FLAG_STRING, .offset = O(storage_backend), .fallback = "", .help = "etcd3, or nothing, which means the same"},
	{.name = "endpoint-reconciler-type", .kind = FLAG_STRING, .offset = O(endpoint_reconciler_type), .fallback = "lease", .help = "lease: the endpoints of the Service kubernetes are the servers that live; none: they are somebody else's"},
	{.name = "lease-reuse-duration-seconds", .kind = FLAG_INT, .offset = O(lease_reuse_duration_seconds), .fallback = "60", .help = "for how long Events written one after the other share a lease of etcd", .min = 0, .max = INT32_MAX},
	{.name = "service-account-extend-token-expiration", .kind = FLAG_BOOL, .offset = O(service_account_extend_token_expiration), .fallback = "true", .help = "tokens that pods have by default live a year, and warn after an hour"},
	{.name = "goaway-chance", .kind = FLAG_DOUBLE, .offset = O(goaway_chance), .fallback = "0", .help = "of connections of HTTP/2, of which there are none here; 0 to 0.02"},
	{.name = "disabled-metrics", .kind = FLAG_STRING_LIST, .offset = O(disabled_metrics), .help = "metrics that are not told"},
	{.name = "allow-metric-labels", .kind = FLAG_STRING_ARRAY, .offset = O(allow_metric_labels), .help = "metric,label=value,value: other values of that label are told as \"unexpected\"; several times"},
	{.name = "allow-metric-labels-manifest", .kind = FLAG_STRING, .offset = O(allow_metric_labels_manifest), .help = "a file with the same, as a map of metric,label to value,value"},
	{.name = "show-hidden-metrics-for-version", .kind = FLAG_STRING, .offset = O(show_hidden_metrics_for_version), .help = "1.35, which has hidden none"},

	{.name = "audit-log-truncate-enabled", .kind = FLAG_BOOL, .offset = O(audit_log_truncate_enabled), .fallback = "false", .help = "events that are too large lose the objects in them, or are dropped"},
	{.name = "audit-log-truncate-max-event-size", .kind = FLAG_INT, .offset = O(audit_log_truncate_max_event_size), .fallback = "102400", .help = "bytes of an event", .min = INT32_MIN, .max = INT32_MAX},
	{.name = "audit-log-truncate-max-batch-size", .kind = FLAG_INT, .offset = O(audit_log_truncate_max_batch_size), .fallback = "10485760", .help = "bytes of events written at once", .min = INT32_MIN, .max = INT32_MAX},
	{.name = "audit-webhook-truncate-enabled", .kind = FLAG_BOOL, .offset = O(audit_webhook_truncate_enabled), .fallback = "false", .help = "events that are too large lose the objects in them, or are dropped"},
	{.name = "audit-webhook-truncate-max-event-size", .kind = FLAG_INT, .offset = O(audit_webhook_truncate_max_event_size), .fallback = "102400", .help = "bytes of an event", .min = INT32_MIN, .max = INT32_MAX},
	{.name = "audit-webhook-truncate-max-batch-size", .kind = FLAG_INT, .offset = O(audit_webhook_truncate_max_batch_size), .fallback = "10485760", .help = "bytes of events posted at once", .min = INT32_MIN, .max = INT32_MAX},

	{.name = "audit-policy-file", .kind = FLAG_STRING, .offset = O(audit_policy_file), .help = "which requests the audit log tells of, and how much: a Policy of audit.k8s.io/v1"},
	{.name = "audit-log-path", .kind = FLAG_STRING, .offset = O(audit_log_path), .help = "file of the audit log; - is standard output; empty: none"},
	{.name = "audit-log-maxage", .kind = FLAG_INT, .offset = O(audit_log_maxage), .fallback = "0", .help = "days that old files of it are kept; 0: for ever", .min = 0, .max = 36500},
	{.name = "audit-log-maxbackup", .kind = FLAG_INT, .offset = O(audit_log_maxbackup), .fallback = "0", .help = "how many old files of it are kept; 0: all", .min = 0, .max = 1000000},
	{.name = "audit-log-maxsize", .kind = FLAG_INT, .offset = O(audit_log_maxsize), .fallback = "0", .help = "megabytes after which it is turned over; 0: 100", .min = 0, .max = 1000000},
	{.name = "audit-log-mode", .kind = FLAG_STRING, .offset = O(audit_log_mode), .fallback = "blocking", .help = "blocking: events are written before the request goes on; batch: by a thread, through a queue; blocking-strict: as blocking, and requests are refused whose event cannot be written"},
	{.name = "audit-log-batch-buffer-size", .kind = FLAG_INT, .offset = O(audit_log_batch_buffer_size), .fallback = "10000", .help = "events that wait to be written; more are dropped", .min = 1, .max = 1000000},
	{.name = "audit-log-batch-max-size", .kind = FLAG_INT, .offset = O(audit_log_batch_max_size), .fallback = "1", .help = "events written at once", .min = 1, .max = 1000000},
	{.name = "audit-log-batch-max-wait", .kind = FLAG_DURATION, .offset = O(audit_log_batch_max_wait), .fallback = "0s", .help = "how long fewer wait for more"},
	{.name = "audit-webhook-config-file", .kind = FLAG_STRING, .offset = O(audit_webhook_config_file), .help = "kubeconfig of the server that events are posted to"},
	{.name = "audit-webhook-mode", .kind = FLAG_STRING, .offset = O(audit_webhook_mode), .fallback = "batch", .help = "as --audit-log-mode, for the webhook"},
	{.name = "audit-webhook-batch-buffer-size", .kind = FLAG_INT, .offset = O(audit_webhook_batch_buffer_size), .fallback = "10000", .help = "events that wait to be posted; more are dropped", .min = 1, .max = 1000000},
	{.name = "audit-webhook-batch-max-size", .kind = FLAG_INT, .offset = O(audit_webhook_batch_max_size), .fallback = "400", .help = "events posted at once", .min = 1, .max = 1000000},
	{.name = "audit-webhook-batch-max-wait", .kind = FLAG_DURATION, .offset = O(audit_webhook_batch_max_wait), .fallback = "30s", .help = "how long fewer wait for more"},
	{.name = "audit-webhook-batch-throttle-enable", .kind = FLAG_BOOL, .offset = O(audit_webhook_batch_throttle_enable), .fallback = "true", .help = "posts are limited to a rate"},
	{.name = "audit-webhook-batch-throttle-qps", .kind = FLAG_DOUBLE, .offset = O(audit_webhook_batch_throttle_qps), .fallback = "10", .help = "posts a second"},
	{.name = "audit-webhook-batch-throttle-burst", .kind = FLAG_INT, .offset = O(audit_webhook_batch_throttle_burst), .fallback = "15", .help = "posts at once where there were few before", .min = 1, .max = 1000000},
	{.name = "audit-webhook-initial-backoff", .kind = FLAG_DURATION, .offset = O(audit_webhook_initial_backoff), .fallback = "10s", .help = "pause after a post that failed"},
	IGNORED("audit-log-format"), IGNORED("audit-log-compress"), IGNORED("audit-log-version"), IGNORED("audit-webhook-version"), IGNORED("audit-log-batch-throttle-enable"), IGNORED("audit-log-batch-throttle-qps"),
	IGNORED("audit-log-batch-throttle-burst"), 
	IGNORED("apiserver-count"), 
	IGNORED("http2-max-streams-per-connection"), 
	IGNORED("etcd-healthcheck-timeout"), IGNORED("etcd-readycheck-timeout"), IGNORED("etcd-count-metric-poll-period"), IGNORED("etcd-db-metric-poll-interval"),
	IGNORED("default-watch-cache-size"), IGNORED("watch-cache-sizes"), IGNORED("enable-garbage-collector"), 
	REFUSED("egress-selector-config-file", "", "nodes and webhooks are dialed directly"),
		IGNORED("tracing-config-file"), 
	REFUSED("etcd-servers-overrides", "", "all kinds are kept in one etcd"), REFUSED("emulated-version", "1.36", "no other version is emulated"), REFUSED("min-compatibility-version", "1.35", "no other version is emulated"),
	REFUSED("kubernetes-service-node-port", "0", "the Service kubernetes has no node port"), REFUSED("service-account-signing-endpoint", "", "tokens are signed with --service-account-signing-key-file"),
	REFUSED("admission-control", "", "name plugins by --enable-admission-plugins and --disable-admission-plugins"), REFUSED("tls-curve-preferences", "", "the groups of the TLS library are offered"),
	REFUSED("debug-socket-path", "", "nothing is served without authentication"),
	IGNORED("aggregator-reject-forwarding-redirect"), IGNORED("disable-http2-serving"), IGNORED("max-connection-bytes-per-sec"), IGNORED("send-retry-after-while-not-ready-once"),
	IGNORED("emulation-forward-compatible"), IGNORED("runtime-config-emulation-forward-compatible"),
	IGNORED("coordinated-leadership-lease-duration"), IGNORED("coordinated-leadership-renew-deadline"), IGNORED("coordinated-leadership-retry-period"),
	IGNORED("peer-advertise-ip"), IGNORED("peer-advertise-port"), IGNORED("peer-ca-file"),
	IGNORED("log-flush-frequency"), IGNORED("log-json-info-buffer-size"), IGNORED("log-json-split-stream"), IGNORED("log-text-info-buffer-size"), IGNORED("log-text-split-stream"),
	IGNORED("permit-address-sharing"), IGNORED("permit-port-sharing"), IGNORED("contention-profiling"), IGNORED("vmodule"),
	IGNORED("insecure-port"), IGNORED("cloud-provider"), IGNORED("cloud-config"), IGNORED("enable-logs-handler"), IGNORED("enable-swagger-ui"), 
};
const size_t apiserver_flag_count = array_len(apiserver_flags);

/* ---- what no row can say ---- */

#define MAX_MANIFEST ((size_t)1 << 20)

/* "metric,label" and "value,value". */
static int allow_label(const char *key, const char *values, struct error *err) {
	const char *comma = strchr(key, ',');
	if (!comma || comma == key || !comma[1] || strchr(comma + 1, ','))
		return error_set(err, EINVAL, "invalid map key \"%s\" of --allow-metric-labels: it is metric,label", key);
	autofree char *metric = xstrndup(key, (size_t)(comma - key));
	metrics_allow_label(metric, comma + 1, values);
	return 0;
}

static int read_manifest(const char *path, struct error *err) {
	autofree char *text = NULL;
	autobuf struct buf json = BUF_INIT(2 * MAX_MANIFEST);
	size_t len;
	const char *key;
	json_t *value;
	int rc = file_read(AT_FDCWD, path, MAX_MANIFEST, &text, &len, err);
	if (rc == 0)
		rc = yaml_to_json_one(text, len, &json, err);
	if (rc < 0)
		return error_context(err, "--allow-metric-labels-manifest %s", path);
	json_t *tree = json_loadb(json.data, json.len, 0, NULL);
	if (!json_is_object(tree))
		rc = error_set(err, EINVAL, "--allow-metric-labels-manifest %s: it is no map", path);
	json_object_foreach(tree, key, value)
		if (rc == 0)
			rc = json_is_string(value) ? allow_label(key, json_string_value(value), err) : error_set(err, EINVAL, "--allow-metric-labels-manifest %s: \"%s\" is no text", path, key);
	json_decref(tree);
	return rc;
}

static int allow_item(const char *item, struct error *err) {
	size_t quoted = *item == '"' && item[strlen(item) - 1] == '"' && item[1];
	autofree char *text = xstrndup(item + quoted, strlen(item) - 2 * quoted);
	char *sign = strchr(text, '=');
	if (!sign)
		return error_set(err, EINVAL, "invalid argument \"%s\" for \"--allow-metric-labels\" flag: it must be metric,label=value,value", item);
	*sign = '\0';
	return allow_label(text, sign + 1, err);
}

static int check_truncation(const char *name, bool enabled, int64_t event, int64_t batch, struct error *err) {
	if (!enabled)
		return 0;
	if (event <= 0)
		return error_set(err, EINVAL, "invalid audit truncate %s max event size %lld, must be a positive number", name, (long long)event);
	if (batch < event)
		return error_set(err, EINVAL, "invalid audit truncate %s max batch size %lld, must be greater than max event size (%lld)", name, (long long)batch, (long long)event);
	return 0;
}

int apiserver_check_flags(const struct apiserver_options *o, struct error *err) {
	static const char *const reconcilers[] = {"lease", "none", "master-count"};
	const struct { const char *name; int64_t ns; } spans[] = {{"shutdown-delay-duration", o->shutdown_delay_duration}, {"shutdown-watch-termination-grace-period", o->shutdown_watch_termination_grace_period},
		{"livez-grace-period", o->livez_grace_period}, {"storage-initialization-timeout", o->storage_initialization_timeout}};
	bool known = false;
	int rc = 0;
	for (size_t i = 0; i < array_len(spans); i++)
		if (spans[i].ns < 0)
			return error_set(err, EINVAL, "--%s can not be a negative value", spans[i].name);
	for (size_t i = 0; i < array_len(reconcilers); i++)
		known |= str_equal(o->endpoint_reconciler_type, reconcilers[i]);
	if (!known)
		return error_set(err, EINVAL, "--endpoint-reconciler-type: unknown reconciler type \"%s\": lease and none are known", o->endpoint_reconciler_type);
	if (str_equal(o->endpoint_reconciler_type, "master-count"))
		return error_set(err, EINVAL, "--endpoint-reconciler-type: master-count is deprecated, and not served here: lease does what it did");
	if (!str_empty(o->storage_backend) && strcmp(o->storage_backend, "etcd3") != 0)
		return error_set(err, EINVAL, "--storage-backend invalid, allowed values: etcd3. If not specified, it will default to 'etcd3'");
	if (!(o->goaway_chance >= 0 && o->goaway_chance <= 0.02))
		return error_set(err, EINVAL, "--goaway-chance can not be less than 0 or greater than 0.02");
	if (!str_empty(o->show_hidden_metrics_for_version) && strcmp(o->show_hidden_metrics_for_version, "1.35") != 0)
		return error_set(err, EINVAL, "--show-hidden-metrics-for-version must be omitted or have the value '1.35'. Only the previous minor version is allowed");
	rc = check_truncation("log", o->audit_log_truncate_enabled, o->audit_log_truncate_max_event_size, o->audit_log_truncate_max_batch_size, err);
	if (rc == 0)
		rc = check_truncation("webhook", o->audit_webhook_truncate_enabled, o->audit_webhook_truncate_max_event_size, o->audit_webhook_truncate_max_batch_size, err);
	for (size_t i = 0; i < o->disabled_metrics.len; i++)
		metrics_disable(o->disabled_metrics.items[i]);
	/* The flag has the last word. */
	if (rc == 0 && !str_empty(o->allow_metric_labels_manifest))
		rc = read_manifest(o->allow_metric_labels_manifest, err);
	for (size_t i = 0; rc == 0 && i < o->allow_metric_labels.len; i++)
		rc = allow_item(o->allow_metric_labels.items[i], err);
	return rc;
}
