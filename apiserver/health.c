/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/health.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/request/steps.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <sys/utsname.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"

#define LIVEZ  (1u << 0)
#define READYZ (1u << 1)
#define HEALTHZ (1u << 2)
#define ALL (LIVEZ | READYZ | HEALTHZ)
#define WITH_KEY_SERVICES (1u << 3) /* only where there are some */

static bool check_ping(struct apiserver *server, struct error *err) {
	return true;
}

static bool check_etcd(struct apiserver *server, struct error *err) {
	return store_healthy(server->store, err);
}

static bool check_bootstrap(struct apiserver *server, struct error *err) {
	if (__atomic_load_n(&server->ready, __ATOMIC_ACQUIRE))
		return true;
	error_set(err, 11, "not finished");
	return false;
}

static bool check_encryption(struct apiserver *server, struct error *err) {
	return encryption_check(server->encryption, err);
}

static bool check_shutdown(struct apiserver *server, struct error *err) {
	if (!__atomic_load_n(&server->leaving, __ATOMIC_ACQUIRE) && !__atomic_load_n(&server->stopping, __ATOMIC_ACQUIRE))
		return true;
	error_set(err, 11, "process is shutting down");
	return false;
}

static const struct health_check {
	const char *name;
	unsigned endpoints;
	bool (*check)(struct apiserver *server, struct error *err);
} checks[] = {
	{"ping", LIVEZ | READYZ | HEALTHZ, check_ping},
	{"log", LIVEZ | READYZ | HEALTHZ, check_ping},
	{"etcd", LIVEZ | READYZ | HEALTHZ, check_etcd},
	{"etcd-readiness", READYZ, check_etcd},
	{"kms-providers", ALL | WITH_KEY_SERVICES, check_encryption},
	{"informer-sync", READYZ, check_etcd},
	/* What Kubernetes starts after it listens, and we before: then it runs when anybody can ask. */
	{"poststarthook/start-apiserver-admission-initializer", ALL, check_ping},
	{"poststarthook/generic-apiserver-start-informers", ALL, check_ping},
	{"poststarthook/priority-and-fairness-config-consumer", ALL, check_ping},
	{"poststarthook/priority-and-fairness-filter", ALL, check_ping},
	{"poststarthook/storage-object-count-tracker-hook", ALL, check_ping},
	{"poststarthook/start-apiextensions-informers", ALL, check_ping},
	{"poststarthook/start-apiextensions-controllers", ALL, check_ping},
	{"poststarthook/crd-informer-synced", ALL, check_etcd},
	{"poststarthook/storage-readiness", ALL, check_ping},
	{"poststarthook/start-kube-aggregator-informers", ALL, check_ping},
	/* What the bootstrap does, and what begins with its end. */
	{"poststarthook/start-system-namespaces-controller", ALL, check_bootstrap},
	{"poststarthook/start-cluster-authentication-info-controller", ALL, check_bootstrap},
	{"poststarthook/start-kube-apiserver-identity-lease-controller", ALL, check_bootstrap},
	{"poststarthook/start-kube-apiserver-identity-lease-garbage-collector", ALL, check_bootstrap},
	{"poststarthook/start-service-ip-repair-controllers", ALL, check_bootstrap},
	{"poststarthook/rbac/bootstrap-roles", ALL, check_bootstrap},
	{"poststarthook/scheduling/bootstrap-system-priority-classes", ALL, check_bootstrap},
	{"poststarthook/priority-and-fairness-config-producer", ALL, check_bootstrap},
	{"poststarthook/bootstrap-controller", ALL, check_bootstrap},
	{"poststarthook/start-kubernetes-service-cidr-controller", ALL, check_bootstrap},
	{"poststarthook/apiservice-registration-controller", ALL, check_bootstrap},
	{"poststarthook/apiservice-discovery-controller", ALL, check_bootstrap},
	{"poststarthook/apiservice-openapi-controller", ALL, check_bootstrap},
	{"poststarthook/apiservice-openapiv3-controller", ALL, check_bootstrap},
	{"poststarthook/kube-apiserver-autoregistration", ALL, check_bootstrap},
	{"autoregister-completion", ALL, check_bootstrap},
	{"shutdown", READYZ, check_shutdown},
};

static const struct endpoint {
	const char *name;
	unsigned bit;
} endpoints[] = {{"healthz", HEALTHZ}, {"livez", LIVEZ}, {"readyz", READYZ}};

/* How often each check went well and not, under each of the endpoints above. */
static uint64_t results[array_len(checks)][array_len(endpoints)][2];

/* --livez-grace-period: what runs after the start is taken for done. */
static bool is_excused(size_t check, size_t endpoint, const struct apiserver *server) {
	int64_t grace = server->options->livez_grace_period;
	return grace > 0 && endpoints[endpoint].bit == LIVEZ && checks[check].check == check_bootstrap && time_diff_ns(clock_wall(), server->started) < grace;
}

static bool run_check(size_t check, size_t endpoint, struct apiserver *server) {
	autoerror struct error why = {0};
	bool good = is_excused(check, endpoint, server) || checks[check].check(server, &why);
	__atomic_fetch_add(&results[check][endpoint][good], 1, __ATOMIC_RELAXED);
	return good;
}

static bool applies(const struct health_check *c, unsigned bit, const struct apiserver *server) {
	return (c->endpoints & bit) && (!(c->endpoints & WITH_KEY_SERVICES) || encryption_is_checked(server->encryption));
}

struct exclusions {
	const char *names[32];
	size_t len;
};

static void collect_exclusion(const char *name, const char *value, void *arg) {
	struct exclusions *e = arg;
	if (strcmp(name, "exclude") == 0 && e->len < array_len(e->names))
		e->names[e->len++] = value;
}

static bool excluded(const struct exclusions *e, const char *name, bool *used) {
	bool found = false;
	for (size_t i = 0; i < e->len; i++)
		if (strcmp(e->names[i], name) == 0)
			found = used[i] = true;
	return found;
}

/* What nobody is called. */
static void warn_of_unused(const struct exclusions *e, const bool *used, struct buf *out) {
	bool first = true;
	for (size_t i = 0; i < e->len; i++) {
		if (used[i])
			continue;
		buf_append_str(out, first ? "warn: some health checks cannot be excluded: no matches for " : ",");
		buf_append_json_string(out, e->names[i], strlen(e->names[i]));
		first = false;
	}
	if (!first)
		buf_append_char(out, '\n');
}

int health_handle(struct request *r, struct error *err) {
	const char *endpoint = r->parts[0];
	size_t at = 0;
	while (strcmp(endpoints[at].name, endpoint) != 0 && at + 1 < array_len(endpoints))
		at++;
	unsigned bit = endpoints[at].bit;
	const char *only = strchr(r->path + 1, '/');
	only = only ? only + 1 : NULL;
	struct exclusions exclusions = {0};
	http_query_each(r->http, collect_exclusion, &exclusions);
	autobuf struct buf out = BUF_INIT(64 << 10);
	bool ok = true, found = false, used[array_len(exclusions.names)] = {0};
	for (size_t i = 0; i < array_len(checks); i++) {
		const struct health_check *c = &checks[i];
		if (!applies(c, bit, r->server) || (only && strcmp(only, c->name) != 0))
			continue;
		found = true;
		if (excluded(&exclusions, c->name, used)) {
			buf_printf(&out, "[+]%s excluded: ok\n", c->name);
		} else if (run_check(i, at, r->server)) {
			buf_printf(&out, "[+]%s ok\n", c->name);
		} else {
			buf_printf(&out, "[-]%s failed: reason withheld\n", c->name);
			ok = false;
		}
	}
	if (!only || !found)
		http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	if (only && !found) {
		request_respond_text(r, 404, "404 page not found\n");
		return REQUEST_TAKEN;
	}
	if (ok && (only || !http_query(r->http, "verbose"))) {
		request_respond_text(r, 200, "ok");
		return REQUEST_TAKEN;
	}
	warn_of_unused(&exclusions, used, &out);
	buf_printf(&out, "%s check %s\n", endpoint, ok ? "passed" : "failed");
	request_respond_text(r, ok ? 200 : 500, out.data);
	return REQUEST_TAKEN;
}

/* Who scrapes learns when the counters began. */
static void say_start(struct request *r) {
	autofree char *seconds = xprintf("%lld", (long long)r->server->started.sec);
	http_add_header(r->http, "Process-Start-Time-Unix", seconds);
	r->unvaried = true;
}

/* DELETE begins all counting anew, where that much may be looked into. */
static bool is_reset(const struct request *r) {
	return r->server->options->profiling && strcmp(r->method, "DELETE") == 0;
}

static int tell_reset(struct request *r) {
	static const char text[] = "metrics reset\n";
	request_finished(r, 200);
	say_start(r);
	http_respond(r->http, 200, "text/plain; charset=utf-8", text, sizeof(text) - 1);
	return REQUEST_TAKEN;
}

int slis_handle(struct request *r, struct error *err) {
	if (is_reset(r)) {
		for (size_t i = 0; i < array_len(checks); i++)
			for (size_t e = 0; e < array_len(endpoints); e++)
				for (int good = 0; good < 2; good++)
					__atomic_store_n(&results[i][e][good], 0, __ATOMIC_RELAXED);
		return tell_reset(r);
	}
	autobuf struct buf out = BUF_INIT(1 << 20), totals = BUF_INIT(1 << 20);
	buf_append_str(&out, "# HELP kubernetes_healthcheck [STABLE] Whether a check of health went well.\n# TYPE kubernetes_healthcheck gauge\n");
	buf_append_str(&totals, "# HELP kubernetes_healthchecks_total [STABLE] How often a check of health went how.\n# TYPE kubernetes_healthchecks_total counter\n");
	for (size_t i = 0; i < array_len(checks); i++)
		for (size_t e = 0; e < array_len(endpoints); e++) {
			if (!applies(&checks[i], endpoints[e].bit, r->server))
				continue;
			buf_printf(&out, "kubernetes_healthcheck{name=\"%s\",type=\"%s\"} %d\n", checks[i].name, endpoints[e].name, run_check(i, e, r->server));
			for (int good = 0; good < 2; good++) {
				uint64_t count = __atomic_load_n(&results[i][e][good], __ATOMIC_RELAXED);
				if (count)
					buf_printf(&totals, "kubernetes_healthchecks_total{name=\"%s\",status=\"%s\",type=\"%s\"} %llu\n", checks[i].name, good ? "success" : "error", endpoints[e].name, (unsigned long long)count);
			}
		}
	buf_append(&out, totals.data, totals.len);
	request_finished(r, 200);
	say_start(r);
	http_respond(r->http, 200, METRICS_TYPE, out.data, out.len);
	return REQUEST_TAKEN;
}

int metrics_handle(struct request *r, struct error *err) {
	if (is_reset(r)) {
		metrics_reset();
		return tell_reset(r);
	}
	autobuf struct buf out = BUF_INIT(64u << 20);
	metrics_write(&out);
	request_finished(r, 200);
	say_start(r);
	request_respond_large(r, 200, METRICS_TYPE, buf_to_bytes(&out));
	return REQUEST_TAKEN;
}

int version_handle(struct request *r, struct error *err) {
	struct utsname uts;
	static const char *const json[] = {"application/json", NULL};
	int rc = request_check_consumed(r, json, err);
	if (rc == 0)
		rc = request_check_produced(r, json, err);
	if (rc < 0)
		return rc;
	uname(&uts);
	const char *arch = strcmp(uts.machine, "x86_64") == 0 ? "amd64" : strcmp(uts.machine, "aarch64") == 0 ? "arm64" : uts.machine;
	autofree char *text = xprintf("{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"36\",\n  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"35\",\n  \"gitVersion\": \"v1.36.2+coracle-%s\",\n  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"\",\n  \"compiler\": \"cc\",\n  \"platform\": \"linux/%s\"\n}", CORACLE_VERSION, arch);
	request_finished(r, 200);
	http_respond(r->http, 200, "application/json", text, strlen(text));
	return REQUEST_TAKEN;
}

static struct metric health_metrics[] = {
	{.name = "apiserver_current_inflight_requests", .help = "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"request_kind", NULL}},
	{.name = "version_info", .help = "Versions of Kubernetes that this program answers as, and is compatible with.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"binary", "component", "emulation", "min_compat", NULL}},
};

static void collect(void *arg) {
	struct apiserver *server = arg;
	metric_set(metric_label(&health_metrics[0], "readOnly"), __atomic_load_n(&server->inflight_reads, __ATOMIC_RELAXED));
	metric_set(metric_label(&health_metrics[0], "mutating"), __atomic_load_n(&server->inflight_writes, __ATOMIC_RELAXED));
}

void health_start(struct apiserver *server) {
	metrics_register(health_metrics, array_len(health_metrics));
	api_gates_measure();
	metric_set(metric_label(&health_metrics[1], "1.36.2", "kube", "1.36", "1.35"), 1);
	metrics_on_collect(collect, server);
}
