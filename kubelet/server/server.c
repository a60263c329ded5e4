/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/metrics.h"
#include "kubelet/server/rates.h"
#include "kubelet/server/server.h"

#include "common/base/log.h"
#include "common/daemon/health.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>

#define MAX_BODY (1u << 20)
#define MAX_TEXT 65536

struct kubelet_server {
	struct kubelet *kubelet;
	struct health *health;
	struct auth *auth;
	struct http_server *healthz, *read_only, *main;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned running;
};

/* A request on its way to its thread. */
struct job {
	struct kubelet_server *server;
	const struct route *route;
	struct route_request request;
	bool authenticate;
};

void route_text(struct route_request *r, int status, const char *fmt, ...) {
	autobuf struct buf text = BUF_INIT(MAX_TEXT);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	buf_append_char(&text, '\n');
	http_respond(r->http, status, "text/plain; charset=utf-8", text.data ? text.data : "", text.len);
}

void route_answer(struct route_request *r, const char *content_type, const struct buf *body) {
	http_respond(r->http, 200, content_type, body->data ? body->data : "", body->len);
}

int route_idle_ms(const struct kubelet *kubelet) {
	int64_t idle = kubelet->options.stream_idle_ns;
	return idle > 0 ? (int)min_of(idle / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX) : -1;
}

bool route_flag(const struct route_request *r, const char *name) {
	const char *value = http_query(r->http, name);
	return value && (str_equal(value, "1") || str_equal(value, "true"));
}

bool route_thread(void *(*fn)(void *arg), void *arg) {
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, KUBELET_THREAD_STACK);
	bool started = pthread_create(&thread, &attr, fn, arg) == 0;
	pthread_attr_destroy(&attr);
	return started;
}

/* Splits what follows the prefix. False where there are too few or too many elements, or one is no proper text. */
static bool split(const struct route *route, struct route_request *r, const char *path) {
	size_t len = strlen(route->prefix);
	if (strncmp(path, route->prefix, len) != 0 || (path[len] && path[len] != '/'))
		return false;
	r->rest = path + len;
	r->part_count = 0;
	for (const char *p = path + len; *p == '/';) {
		size_t part = strcspn(++p, "/");
		if (part && r->part_count == ROUTE_MAX_PARTS)
			return false;
		const char *text = part ? http_url_decode(http_arena(r->http), p, part, false) : "";
		if (!text)
			return false;
		if (part)
			r->parts[r->part_count++] = text;
		p += part;
	}
	return r->part_count >= route->min_parts && r->part_count <= route->max_parts;
}

static void *run(void *arg) {
	struct job *job = arg;
	struct kubelet_server *server = job->server;
	kubelet_metrics_request(http_method(job->request.http), job->route->prefix + 1, job->route->max_parts > 1);
	if (!job->authenticate || auth_check(server->auth, job->request.http, job->route) == 0)
		job->route->handler(&job->request);
	free(job);
	pthread_mutex_lock(&server->lock);
	server->running--;
	pthread_cond_signal(&server->idle);
	pthread_mutex_unlock(&server->lock);
	return NULL;
}

static void dispatch(struct kubelet_server *server, struct http_request *req, bool read_only) {
	struct job *job = xnew(struct job);
	*job = (struct job){.server = server, .request = {.kubelet = server->kubelet, .http = req}, .authenticate = !read_only};
	for (size_t i = 0; i < route_count && !job->route; i++)
		if ((!read_only || routes[i].read_only_port) && split(&routes[i], &job->request, http_path(req)))
			job->route = &routes[i];
	if (!job->route) {
		route_text(&job->request, 404, "404 page not found");
		free(job);
		return;
	}
	if (job->route->debug && !server->kubelet->options.debug_handlers) {
		route_text(&job->request, 405, "Debug endpoints are disabled.");
		free(job);
		return;
	}
	pthread_mutex_lock(&server->lock);
	bool room = server->running < SERVER_MAX_REQUESTS;
	if (room)
		server->running++;
	pthread_mutex_unlock(&server->lock);
	if (room && route_thread(run, job))
		return;
	if (room) {
		pthread_mutex_lock(&server->lock);
		server->running--;
		pthread_mutex_unlock(&server->lock);
	}
	route_text(&job->request, 503, "too many requests at once");
	free(job);
}

static void on_request(struct http_request *req, void *arg) {
	dispatch(arg, req, false);
}

static void on_read_only(struct http_request *req, void *arg) {
	dispatch(arg, req, true);
}

static void on_healthz(struct http_request *req, void *arg) {
	struct kubelet_server *server = arg;
	if (!health_answer(server->health, req))
		http_respond(req, 404, "text/plain; charset=utf-8", "404 page not found\n", 19);
}

void route_healthz(struct route_request *r) {
	http_respond(r->http, 200, "text/plain; charset=utf-8", "ok", 2);
}

static void on_warning(const char *message, void *arg) {
	log_warning("certificate to serve with is not taken up", LOG_STR("message", message));
}

static int open_main(struct kubelet_server *server, struct error *err) {
	const struct kubelet_options *o = &server->kubelet->options;
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	autofree char *policy = NULL;
	int r = http_tls_policy(o->tls_min_version, o->tls_ciphers.items, o->tls_ciphers.len, &policy, err);
	if (r < 0 || !o->port || !o->enable_server)
		return r;
	options.tls_policy = policy;
	options.bind_address = o->address;
	options.port = (uint16_t)o->port;
	options.tls = true;
	options.cert_file = o->tls_cert_file;
	options.key_file = o->tls_key_file;
	options.client_ca_file = str_empty(o->client_ca_file) ? NULL : o->client_ca_file;
	options.max_body = MAX_BODY;
	options.threads = 1;
	options.handler = on_request;
	options.arg = server;
	options.cert_may_come = o->serving_bootstrap;
	options.on_warning = on_warning;
	return http_server_start(&options, &server->main, err);
}

static int open_plain(struct kubelet_server *server, const char *address, int64_t port, http_handler handler, struct http_server **ret, struct error *err) {
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	if (!port)
		return 0;
	options.bind_address = address;
	options.port = (uint16_t)port;
	options.max_body = MAX_BODY;
	options.threads = 1;
	options.handler = handler;
	options.arg = server;
	return http_server_start(&options, ret, err);
}

int kubelet_server_start(struct kubelet *kubelet, struct kubelet_server **ret, struct error *err) {
	const struct kubelet_options *o = &kubelet->options;
	struct kubelet_server *server = xnew(struct kubelet_server);
	*server = (struct kubelet_server){.kubelet = kubelet, .health = health_new(), .auth = auth_new(kubelet)};
	pthread_mutex_init(&server->lock, NULL);
	pthread_cond_init(&server->idle, NULL);
	kubelet->rates = rates_new();
	/* Who is told that all is well finds the rest there. */
	int r = open_main(server, err);
	if (r == 0)
		r = open_plain(server, o->address, o->enable_server ? o->read_only_port : 0, on_read_only, &server->read_only, err);
	if (r == 0)
		r = open_plain(server, o->healthz_bind_address, o->healthz_port, on_healthz, &server->healthz, err);
	if (r < 0) {
		kubelet_server_stop(server);
		return r;
	}
	*ret = server;
	return 0;
}

void kubelet_server_stop(struct kubelet_server *server) {
	if (!server)
		return;
	http_server_stop(server->main, 500);
	http_server_stop(server->read_only, 500);
	http_server_stop(server->healthz, 500);
	/* Streams see their connections cut, and end. */
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	pthread_mutex_lock(&server->lock);
	int timed_out = 0;
	while (server->running && !timed_out)
		timed_out = pthread_cond_timedwait(&server->idle, &server->lock, &until);
	bool left = server->running;
	pthread_mutex_unlock(&server->lock);
	if (left)
		return;
	rates_free(server->kubelet->rates);
	server->kubelet->rates = NULL;
	auth_free(server->auth);
	health_free(server->health);
	free(server);
}
