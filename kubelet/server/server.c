/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/server.h"

#include "common/daemon/health.h"
#include "common/http/http.h"

struct kubelet_server {
	struct kubelet *kubelet;
	struct health *health;
	struct http_server *healthz;
};

static void on_healthz(struct http_request *req, void *arg) {
	struct kubelet_server *server = arg;
	if (!health_answer(server->health, req))
		http_respond(req, 404, "text/plain; charset=utf-8", "404 page not found\n", 19);
}

int kubelet_server_start(struct kubelet *kubelet, struct kubelet_server **ret, struct error *err) {
	struct kubelet_server *server = xnew(struct kubelet_server);
	server->kubelet = kubelet;
	server->health = health_new();
	struct http_server_options healthz = HTTP_SERVER_OPTIONS_INIT;
	healthz.bind_address = kubelet->options.healthz_bind_address;
	healthz.port = (uint16_t)kubelet->options.healthz_port;
	healthz.threads = 1;
	healthz.handler = on_healthz;
	healthz.arg = server;
	int r = kubelet->options.healthz_port ? http_server_start(&healthz, &server->healthz, err) : 0;
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
	http_server_stop(server->healthz, 1000);
	health_free(server->health);
	free(server);
}
