/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/health.h"
#include "apiserver/request/steps.h"
#include "common/base/metrics.h"

#include <sys/utsname.h>

#define LIVEZ  (1u << 0)
#define READYZ (1u << 1)
#define HEALTHZ (1u << 2)

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

static bool check_shutdown(struct apiserver *server, struct error *err) {
	if (!__atomic_load_n(&server->stopping, __ATOMIC_ACQUIRE))
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
	{"informer-sync", READYZ, check_etcd},
	{"poststarthook/rbac/bootstrap-roles", LIVEZ | READYZ | HEALTHZ, check_bootstrap},
	{"poststarthook/scheduling/bootstrap-system-priority-classes", LIVEZ | READYZ | HEALTHZ, check_bootstrap},
	{"poststarthook/start-system-namespaces-controller", LIVEZ | READYZ | HEALTHZ, check_bootstrap},
	{"poststarthook/bootstrap-controller", LIVEZ | READYZ | HEALTHZ, check_bootstrap},
	{"shutdown", READYZ, check_shutdown},
};

struct exclusions {
	const char *names[32];
	size_t len;
};

static void collect_exclusion(const char *name, const char *value, void *arg) {
	struct exclusions *e = arg;
	if (strcmp(name, "exclude") == 0 && e->len < array_len(e->names))
		e->names[e->len++] = value;
}

static bool excluded(const struct exclusions *e, const char *name) {
	for (size_t i = 0; i < e->len; i++)
		if (strcmp(e->names[i], name) == 0)
			return true;
	return false;
}

int health_handle(struct request *r, struct error *err) {
	const char *endpoint = r->parts[0];
	unsigned bit = strcmp(endpoint, "livez") == 0 ? LIVEZ : strcmp(endpoint, "readyz") == 0 ? READYZ : HEALTHZ;
	const char *only = strchr(r->path + 1, '/');
	only = only && only[1] ? only + 1 : NULL;
	struct exclusions exclusions = {0};
	http_query_each(r->http, collect_exclusion, &exclusions);
	autobuf struct buf out = BUF_INIT(64 << 10);
	bool ok = true, found = false;
	for (size_t i = 0; i < array_len(checks); i++) {
		const struct health_check *c = &checks[i];
		if (!(c->endpoints & bit) || (only && strcmp(only, c->name) != 0))
			continue;
		found = true;
		autoerror struct error why = {0};
		if (excluded(&exclusions, c->name)) {
			buf_printf(&out, "[+]%s excluded: ok\n", c->name);
		} else if (c->check(r->server, &why)) {
			buf_printf(&out, "[+]%s ok\n", c->name);
		} else {
			buf_printf(&out, "[-]%s failed: reason withheld\n", c->name);
			ok = false;
		}
	}
	if (only && !found) {
		request_respond_text(r, 404, "404 page not found\n");
		return REQUEST_TAKEN;
	}
	if (ok && (only || !http_query(r->http, "verbose"))) {
		request_respond_text(r, 200, "ok");
		return REQUEST_TAKEN;
	}
	buf_printf(&out, "%s check %s\n", endpoint, ok ? "passed" : "failed");
	request_respond_text(r, ok ? 200 : 500, out.data);
	return REQUEST_TAKEN;
}

int metrics_handle(struct request *r, struct error *err) {
	autobuf struct buf out = BUF_INIT(64u << 20);
	metrics_write(&out);
	request_finished(r, 200);
	http_respond(r->http, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
	return REQUEST_TAKEN;
}

int version_handle(struct request *r, struct error *err) {
	struct utsname uts;
	uname(&uts);
	const char *arch = strcmp(uts.machine, "x86_64") == 0 ? "amd64" : strcmp(uts.machine, "aarch64") == 0 ? "arm64" : uts.machine;
	autofree char *text = xprintf("{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"emulationMajor\": \"1\",\n  \"emulationMinor\": \"36\",\n  \"minCompatibilityMajor\": \"1\",\n  \"minCompatibilityMinor\": \"35\",\n  \"gitVersion\": \"v1.36.2+coracle-%s\",\n  \"gitCommit\": \"\",\n  \"gitTreeState\": \"clean\",\n  \"buildDate\": \"1970-01-01T00:00:00Z\",\n  \"goVersion\": \"\",\n  \"compiler\": \"cc\",\n  \"platform\": \"linux/%s\"\n}", CORACLE_VERSION, arch);
	request_finished(r, 200);
	http_respond(r->http, 200, "application/json", text, strlen(text));
	return REQUEST_TAKEN;
}

static struct metric health_metrics[] = {
	{.name = "apiserver_current_inflight_requests", .help = "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"request_kind", NULL}},
};

static void collect(void *arg) {
	struct apiserver *server = arg;
	metric_set(metric_label(&health_metrics[0], "readOnly"), __atomic_load_n(&server->inflight_reads, __ATOMIC_RELAXED));
	metric_set(metric_label(&health_metrics[0], "mutating"), __atomic_load_n(&server->inflight_writes, __ATOMIC_RELAXED));
}

void health_start(struct apiserver *server) {
	metrics_register(health_metrics, array_len(health_metrics));
	metrics_on_collect(collect, server);
}
