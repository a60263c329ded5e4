/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a request, and the start and stop of the whole. */
#include "apiserver/apiserver.h"
#include "apiserver/admission/admission.h"
#include "apiserver/admission/settings.h"
#include "apiserver/aggregator/aggregator.h"
#include "apiserver/audit/audit.h"
#include "apiserver/authn/authn.h"
#include "apiserver/authz/authz.h"
#include "apiserver/bootstrap/bootstrap.h"
#include "apiserver/custom/custom.h"
#include "apiserver/discovery/discovery.h"
#include "apiserver/edge.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/flow/flow.h"
#include "apiserver/health.h"
#include "apiserver/memory.h"
#include "apiserver/proxy/kubelet.h"
#include "apiserver/request/steps.h"
#include "apiserver/rest/watch_socket.h"
#include "apiserver/rest/write.h"
#include "apiserver/resourcemetrics/scraper.h"
#include "apiserver/services/services.h"
#include "apiserver/timers.h"
#include "apiserver/tls.h"
#include "apiserver/webhook/call.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include <errno.h>
#include <stdatomic.h>
#include <pthread.h>
#include <unistd.h>

/* Parse, deadline, authenticate, limit, authorize, and the handler: which goes on through decode, default, admission, validation and store (rest/write.h). */
static const struct {
	const char *name;
	request_step run;
} steps[] = {
	{"parse", step_parse},
	{"deadline", step_deadline},
	{"authenticate", step_authenticate},
	{"audit", step_audit},
	{"impersonate", step_impersonate},
	{"limit", step_limit},
	{"authorize", step_authorize},
	{"fence", step_fence},
	{"dispatch", step_dispatch},
};

int step_parse(struct request *r, struct error *err) {
	return request_parse(r, err);
}

static void free_request(void *arg) {
	struct request *r = arg;
	api_warning_list_done(&r->warnings);
	asks_done(&r->asks);
}

static void run_steps(struct request *r, size_t first);

static uint64_t audit_id_base;
static void seed_audit_id(void) {
	random_bytes(&audit_id_base, sizeof(audit_id_base));
}

/* In the form of a UUID, told apart from others' by its first half, from this server's own by the second: it need be no secret. */
static void make_audit_id(char out[static 37]) {
	static atomic_uint_fast64_t count;
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, seed_audit_id);
	uint64_t half[2] = {audit_id_base, atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) * 0x9e3779b97f4a7c15u};
	char *p = out;
	for (int i = 0; i < 32; i++) {
		if (i == 8 || i == 12 || i == 16 || i == 20)
			*p++ = '-';
		*p++ = "0123456789abcdef"[half[i / 16] >> (60 - i % 16 * 4) & 15];
	}
	*p = '\0';
}

/* Who asks how it is, or what was counted, is answered to the end; so are servers of the same kind. */
static bool is_turned_away(const struct request *r) {
	static const char *const served[] = {"/readyz", "/livez", "/healthz", "/metrics"};
	const char *agent = http_header(r->http, "User-Agent");
	if (!__atomic_load_n(&r->server->turning_away, __ATOMIC_ACQUIRE) || (agent && str_starts_with(agent, "kube-apiserver/")))
		return false;
	for (size_t i = 0; i < array_len(served); i++)
		if (str_starts_with(r->path, served[i]))
			return false;
	return true;
}

static void turn_away(struct request *r) {
	static const char text[] = "The apiserver is shutting down, please try again later.\n";
	http_add_header(r->http, "Retry-After", "5");
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	http_respond(r->http, 429, "text/plain; charset=utf-8", text, strlen(text));
}

void request_handle(struct http_request *http, void *arg) {
	struct request *r = arena_new_type(http_arena(http), struct request);
	r->server = arg;
	r->http = http;
	r->arena = http_arena(http);
	r->method = http_method(http);
	r->path = http_path(http);
	r->verb = "";
	r->started_ns = clock_monotonic_ns();
	arena_defer(r->arena, free_request, r);
	/* Names the request in logs on both sides; a client or a proxy before us may have named it. */
	const char *given = http_header(http, "Audit-ID");
	char id[37];
	if (str_empty(given) || strlen(given) > 64 || strpbrk(given, "\r\n")) {
		make_audit_id(id);
		given = id;
	}
	r->audit_id = arena_strdup(r->arena, given);
	http_add_header(http, "Audit-Id", given);
	/* What an answer says is for who asked, and for now. */
	http_add_header(http, "Cache-Control", "no-cache, private");
	if (edge_answers(r->server->edge, http))
		return;
	if (is_turned_away(r))
		turn_away(r);
	else
		run_steps(r, 0);
}

void request_continue(struct request *r) {
	size_t i = 0;
	while (steps[i].run != step_limit)
		i++;
	request_admitted(r);
	run_steps(r, i + 1);
}

static void run_again(void *arg) {
	struct request *r = arg;
	autoerror struct error err = {0};
	if (!__atomic_load_n(&r->server->stopping, __ATOMIC_ACQUIRE))
		return run_steps(r, r->step);
	error_status(&err, 503, "ServiceUnavailable", "the server is stopping");
	request_fail(r, &err);
}

static void on_answered(void *arg) {
	struct request *r = arg;
	http_continue(r->http, run_again, r);
}

/* A step that lacks others' answers has done nothing yet, and is run again when they are there. */
static void run_steps(struct request *r, size_t first) {
	autoerror struct error err = {0};
	for (size_t i = first; i < array_len(steps); i++) {
		r->step = i;
		int rc = steps[i].run(r, &err);
		if (rc == REQUEST_TAKEN)
			return;
		if (asks_lacking(&r->asks)) {
			asks_start(&r->asks, on_answered, r);
			return;
		}
		if (rc < 0) {
			request_fail(r, &err);
			return;
		}
	}
	error_status(&err, 404, "NotFound", "the server could not find the requested resource");
	request_fail(r, &err);
}

/* ---- start and stop ---- */

static void open_collections(struct store *store, void *arg) {
	struct apiserver *server = arg;
	server->store = store;
	server->registry = registry_new(server);
}

static int open_store(struct apiserver *server, struct error *err) {
	const struct apiserver_options *o = server->options;
	const char **endpoints = xcalloc(o->etcd_servers.len + 1, sizeof(*endpoints));
	for (size_t i = 0; i < o->etcd_servers.len; i++)
		endpoints[i] = o->etcd_servers.items[i];
	struct store_options options = {
		.endpoints = endpoints,
		.prefix = o->etcd_prefix,
		.ca_file = str_empty(o->etcd_cafile) ? NULL : o->etcd_cafile,
		.cert_file = str_empty(o->etcd_certfile) ? NULL : o->etcd_certfile,
		.key_file = str_empty(o->etcd_keyfile) ? NULL : o->etcd_keyfile,
		.write_timeout_ms = (int)min_of(o->request_timeout / NSEC_PER_MSEC, (int64_t)INT32_MAX),
		.compaction_interval_ns = o->etcd_compaction_interval ? o->etcd_compaction_interval : -1,
		.lease_reuse_seconds = o->lease_reuse_duration_seconds ? o->lease_reuse_duration_seconds : -1,
		.ask_always = !o->sole_server_reads,
		.translate = resource_translate,
		.opening = open_collections,
		.arg = server,
	};
	encryption_options(server->encryption, &options.transform);
	struct store *store = NULL;
	int rc = store_open(&options, (int)min_of(o->storage_initialization_timeout / NSEC_PER_MSEC, (int64_t)INT32_MAX), &store, err);
	server->store = store;
	encryption_set_store(server->encryption, store);
	free(endpoints);
	return rc;
}

static void on_http_warning(const char *message, void *arg) {
	log_error("certificates stay as they were", LOG_STR("err", message));
}

/* Of --memory-limit: what bodies and streams may hold, and connections by themselves. */
#define HTTP_PART 5
#define CONNECTION_BYTES ((size_t)96 << 10)

static int open_http(struct apiserver *server, struct error *err) {
	const struct apiserver_options *o = server->options;
	autofree char *cert = NULL, *key = NULL, *policy = NULL;
	int rc = http_tls_policy(o->tls_min_version, o->tls_cipher_suites.items, o->tls_cipher_suites.len, &policy, err);
	if (rc < 0)
		return rc;
	rc = tls_files(o, server->advertise_address, &cert, &key, err);
	if (rc < 0)
		return rc;
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.bind_address = str_empty(o->bind_address) ? NULL : o->bind_address;
	options.port = (uint16_t)o->secure_port;
	options.tls = true;
	options.cert_file = cert;
	options.key_file = key;
	options.tls_policy = policy;
	options.sni = o->tls_sni_cert_key.items;
	options.sni_count = o->tls_sni_cert_key.len;
	options.on_warning = on_http_warning;
	options.client_ca_file = o->client_ca_file;
	options.client_ca_file_too = o->requestheader_client_ca_file;
	size_t limit = memory_limit(server);
	if (limit) {
		options.memory_limit = limit / HTTP_PART;
		options.max_connections = (unsigned)min_of(limit / HTTP_PART / CONNECTION_BYTES, (size_t)20000);
	}
	options.chunk_over = 2048; /* as Go's server, which keeps that much back */
	options.large_handed = true;
	options.handler = request_handle;
	options.arg = server;
	return http_server_start(&options, &server->http, err);
}

/* As Kubernetes names its servers: by their host; those on other ports of a host by that too. */
static void name_server(struct apiserver *server) {
	static const char component[] = "kube-apiserver";
	char host[256] = "";
	uint8_t hash[32];
	gethostname(host, sizeof(host) - 1);
	autofree char *text = server->options->secure_port == 6443 ? xstrdup(host) : xprintf("%s:%d", host, (int)server->options->secure_port);
	/* Both parts with their lengths before them, in two bytes. */
	size_t len = strlen(text);
	autobuf struct buf hashed = BUF_INIT(1024);
	buf_append(&hashed, (const char[]){(char)(len >> 8), (char)len}, 2);
	buf_append(&hashed, text, len);
	buf_append(&hashed, (const char[]){0, sizeof(component) - 1}, 2);
	buf_append(&hashed, component, sizeof(component) - 1);
	sha256(hashed.data, hashed.len, hash);
	char *at = server->identity + snprintf(server->identity, sizeof(server->identity), "apiserver-");
	base32_encode(hash, 16, at);
}

int apiserver_start(const struct apiserver_options *options, struct apiserver **ret, struct error *err) {
	struct apiserver *server = xnew(struct apiserver);
	server->options = options;
	server->started = clock_wall();
	server->disabled_plugins = admission_disabled(options);
	server->advertise_address = tls_advertise_address(options);
	name_server(server);
	int rc = audit_start(options, &server->audit, err);
	if (rc == 0)
		rc = edge_new(options, &server->edge, err);
	if (rc == 0)
		rc = admission_settings_new(options, &server->admission, err);
	if (rc == 0)
		rc = encryption_start(options, server->identity, &server->encryption, err);
	if (rc == 0)
		rc = timers_start(&server->timers, err);
	if (rc == 0) {
		server->caller = caller_new(timers_loop(server->timers));
		rc = open_store(server, err);
	}
	if (rc == 0)
		rc = memory_start(server, err);
	if (rc == 0) {
		server->aggregator = aggregator_new(server);
		custom_start(server);
		rc = authn_new(server, &server->authn, err);
	}
	if (rc == 0)
		rc = authz_new(server, &server->authz, err);
	if (rc == 0)
		rc = services_start(server, err);
	if (rc == 0)
		rc = flow_start(server, err);
	if (rc == 0)
		rc = kubelet_client_new(server, &server->kubelet, err);
	if (rc == 0)
		rc = scraper_start(server, &server->scraper, err);
	if (rc == 0)
		rc = aggregator_start(server->aggregator, err);
	if (rc == 0) {
		server->discovery = discovery_new(server);
		health_start(server);
		rc = open_http(server, err);
	}
	if (rc < 0) {
		apiserver_stop(server);
		return rc;
	}
	server->port = http_server_port(server->http);
	log_info("serving", LOG_STR("address", server->advertise_address), LOG_INT("port", server->port));
	bootstrap_start(server);
	*ret = server;
	return 0;
}

void apiserver_leave(struct apiserver *server) {
	__atomic_store_n(&server->leaving, true, __ATOMIC_RELEASE);
}

void apiserver_turn_away(struct apiserver *server, bool retry_after, int64_t watches_ns) {
	/* Who comes is told of others first. */
	bootstrap_stop(server);
	if (retry_after) {
		__atomic_store_n(&server->turning_away, true, __ATOMIC_RELEASE);
		http_server_close_answered(server->http);
	} else {
		http_server_drain(server->http);
	}
	if (watches_ns > 0)
		watches_end(watches_ns);
}

bool apiserver_is_idle(const struct apiserver *server, bool *ret_watches) {
	*ret_watches = watches_open() > 0;
	return __atomic_load_n(&server->inflight_reads, __ATOMIC_ACQUIRE) == 0 && __atomic_load_n(&server->inflight_writes, __ATOMIC_ACQUIRE) == 0;
}

void apiserver_stop(struct apiserver *server) {
	if (!server)
		return;
	__atomic_store_n(&server->stopping, true, __ATOMIC_RELEASE);
	bootstrap_stop(server);
	flow_drain(server);
	caller_drain(server->caller);
	aggregator_stop(server->aggregator);
	if (server->http)
		http_server_stop(server->http, 3000);
	watch_sockets_close();
	scraper_stop(server->scraper);
	memory_stop(server);
	custom_stop(server);
	authn_stop(server->authn);
	authz_free(server->authz);
	flow_stop(server);
	services_stop(server);
	encryption_set_store(server->encryption, NULL);
	if (server->store)
		store_close(server->store);
	encryption_stop(server->encryption);
	timers_stop(server->timers);
	caller_free(server->caller);
	authn_free(server->authn);
	kubelet_client_free(server->kubelet);
	discovery_free(server->discovery);
	aggregator_free(server->aggregator);
	registry_free(server->registry);
	audit_stop(server->audit);
	edge_free(server->edge);
	admission_settings_free(server->admission);
	free((void *)server->advertise_address);
	free(server);
}
