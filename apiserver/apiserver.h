/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server as a whole: its options, what its parts share, and how it starts and stops.
 */
#ifndef CORACLE_APISERVER_APISERVER_H
#define CORACLE_APISERVER_APISERVER_H

#include "apiserver/resources.h"
#include "apiserver/storage/store.h"
#include "common/base/flags.h"
#include "common/base/loop.h"
#include "common/http/http.h"

/* Filled by the flag rows of flags.c; the names are those of the flags. */
struct apiserver_options {
	bool help, version;
	int64_t v;
	char *logging_format;

	struct flag_list etcd_servers;
	char *etcd_prefix, *etcd_cafile, *etcd_certfile, *etcd_keyfile;
	int64_t etcd_compaction_interval;

	char *bind_address, *advertise_address, *external_hostname;
	int64_t secure_port;
	struct flag_list cors_allowed_origins, strict_transport_security_directives, tls_cipher_suites, tls_sni_cert_key;
	char *tls_min_version;
	char *tls_cert_file, *tls_private_key_file, *cert_dir, *client_ca_file;

	char *token_auth_file, *authentication_config;
	char *oidc_issuer_url, *oidc_client_id, *oidc_username_claim, *oidc_username_prefix, *oidc_groups_claim, *oidc_groups_prefix, *oidc_ca_file;
	struct flag_list oidc_required_claim, oidc_signing_algs;
	char *authentication_token_webhook_config_file, *authentication_token_webhook_version;
	int64_t authentication_token_webhook_cache_ttl;
	struct flag_list authorization_mode;
	char *authorization_config, *authorization_policy_file, *authorization_webhook_config_file, *authorization_webhook_version;
	int64_t authorization_webhook_cache_authorized_ttl, authorization_webhook_cache_unauthorized_ttl;
	bool anonymous_auth;
	struct flag_list enable_admission_plugins, disable_admission_plugins;
	char *admission_control_config_file;

	struct flag_list service_account_issuer, service_account_key_file, api_audiences;
	char *service_account_signing_key_file, *service_account_jwks_uri;
	bool service_account_lookup;
	int64_t service_account_max_token_expiration;

	struct flag_list service_cluster_ip_range;
	char *service_node_port_range;

	struct flag_list runtime_config, feature_gates;
	char *storage_media_type, *encryption_provider_config;
	bool encryption_provider_config_automatic_reload;

	char *kubelet_client_certificate, *kubelet_client_key, *kubelet_certificate_authority;
	struct flag_list kubelet_preferred_address_types;
	int64_t kubelet_timeout;

	char *requestheader_client_ca_file, *proxy_client_cert_file, *proxy_client_key_file;
	struct flag_list requestheader_username_headers, requestheader_uid_headers, requestheader_group_headers, requestheader_extra_headers_prefix, requestheader_allowed_names;

	struct flag_list disabled_metrics, allow_metric_labels;
	char *allow_metric_labels_manifest, *show_hidden_metrics_for_version;
	char *storage_backend, *endpoint_reconciler_type;
	double goaway_chance;
	bool shutdown_send_retry_after, service_account_extend_token_expiration;
	int64_t shutdown_delay_duration, shutdown_watch_termination_grace_period, livez_grace_period, storage_initialization_timeout, lease_reuse_duration_seconds;
	bool audit_log_truncate_enabled, audit_webhook_truncate_enabled;
	int64_t audit_log_truncate_max_batch_size, audit_log_truncate_max_event_size, audit_webhook_truncate_max_batch_size, audit_webhook_truncate_max_event_size;
	bool allow_privileged, watch_cache, sole_server_reads, profiling;
	bool enable_priority_and_fairness, enable_aggregator_routing;
	char *memory_limit;
	char *audit_policy_file, *audit_log_path, *audit_log_mode;
	int64_t audit_log_maxage, audit_log_maxbackup, audit_log_maxsize;
	int64_t audit_log_batch_buffer_size, audit_log_batch_max_size, audit_log_batch_max_wait;
	char *audit_webhook_config_file, *audit_webhook_mode;
	int64_t audit_webhook_batch_buffer_size, audit_webhook_batch_max_size, audit_webhook_batch_max_wait, audit_webhook_batch_throttle_burst, audit_webhook_initial_backoff;
	double audit_webhook_batch_throttle_qps;
	bool audit_webhook_batch_throttle_enable;
	int64_t max_requests_inflight, max_mutating_requests_inflight;
	int64_t request_timeout, min_request_timeout, event_ttl, delete_collection_workers;
	int64_t default_not_ready_toleration_seconds, default_unreachable_toleration_seconds;
};
extern const struct flag apiserver_flags[];
extern const size_t apiserver_flag_count;
/* What no row of a flag can say; gives effect to those of metrics. Once, before the server is started. */
int apiserver_check_flags(const struct apiserver_options *options, struct error *err);

struct authenticator;
struct authorizer;
struct allocator;
struct timers;
struct kubelet_client;
struct worker;
struct membership;
struct flow;
struct memory;
struct discovery;
struct openapi;
struct scraper;
struct caller;
struct audit;
struct encryption;
struct edge;
struct aggregator;
struct admission_settings;

struct apiserver {
	const struct apiserver_options *options;
	struct store *store;
	struct registry *registry;
	struct authenticator *authn;
	struct authorizer *authz;
	struct allocator *services;
	struct timers *timers;
	struct discovery *discovery;
	struct openapi *openapi;
	struct kubelet_client *kubelet;
	struct scraper *scraper;
	struct audit *audit;           /* NULL: no log */
	struct encryption *encryption; /* NULL: none */
	struct caller *caller;         /* to webhooks */
	struct edge *edge;             /* NULL: nothing is said to browsers */
	struct aggregator *aggregator;
	struct http_server *http;
	struct worker *bootstrap;
	struct membership *membership;
	struct memory *memory;         /* NULL: no limit */
	struct flow *flow;             /* NULL: no priority and fairness */
	const char *advertise_address; /* owned */
	char identity[64];             /* of this server among those on one etcd: apiserver-<hash> */
	uint16_t port;
	unsigned inflight_reads, inflight_writes; /* atomic; watches and upgrades do not count */
	struct wall_time started;
	bool ready;                /* atomic: bootstrap objects are written */
	bool leaving;              /* atomic: /readyz says so, and all is served */
	bool turning_away;         /* atomic: what is new is answered with 429 */
	bool stopping;             /* atomic */
	struct admission_settings *admission;
	uint64_t disabled_plugins; /* admission_disabled() */
};

/* Starts everything and returns when requests are served. The options must outlive it. */
int apiserver_start(const struct apiserver_options *options, struct apiserver **ret, struct error *err);
/* The first word of an end: /readyz fails from now on, everything else is served. */
void apiserver_leave(struct apiserver *server);
/* The second: watches are ended over that time (0: they are left alone), and new requests are answered with 429 where `retry_after`, else nobody is let in. */
void apiserver_turn_away(struct apiserver *server, bool retry_after, int64_t watches_ns);
/* Whether no request is under way that is not a stream, and no watch. */
bool apiserver_is_idle(const struct apiserver *server, bool *ret_watches);
/* Drains and frees. Takes NULL. */
void apiserver_stop(struct apiserver *server);

#endif
