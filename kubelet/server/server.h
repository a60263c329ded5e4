/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kubelet's own API: health, pods, logs, streams into containers, measurements. A route is a row of table.c. Each request runs on a thread of
 * its own, because authorization, logs and streams block; how many there are at once is bounded.
 */
#ifndef CORACLE_KUBELET_SERVER_H
#define CORACLE_KUBELET_SERVER_H

#include "common/http/http.h"
#include "kubelet/kubelet.h"

#define SERVER_MAX_REQUESTS 512 /* at once, streams included; past it: 503 */

struct kubelet_server;

/* Opens the ports of the options. */
int kubelet_server_start(struct kubelet *kubelet, struct kubelet_server **ret, struct error *err);
/* Takes NULL. */
void kubelet_server_stop(struct kubelet_server *server);

/* One request, on its thread. parts: the path's elements after the route's own, decoded; in the request's arena. */
#define ROUTE_MAX_PARTS 5
struct route_request {
	struct kubelet *kubelet;
	struct http_request *http;
	const char *parts[ROUTE_MAX_PARTS];
	size_t part_count;
	const char *rest; /* the path after the route's prefix */
};
struct route {
	const char *prefix;    /* "/containerLogs" */
	size_t min_parts, max_parts;
	const char *subresource; /* of nodes, that authorization asks for */
	bool also_proxy;       /* who may "proxy" may it, too */
	bool read_only_port;   /* served there, too */
	bool debug;            /* not served without the debugging handlers */
	/* Ends the request. */
	void (*handler)(struct route_request *r);
};
extern const struct route routes[];
extern const size_t route_count;

void route_text(struct route_request *r, int status, const char *fmt, ...) printf_like(3, 4);
/* Copies text of a buffer as the answer. */
void route_answer(struct route_request *r, const char *content_type, const struct buf *body);
/* For how long nothing may move on a stream, as poll() has it. */
int route_idle_ms(const struct kubelet *kubelet);
bool route_flag(const struct route_request *r, const char *name);

/*
 * The container that a path names by namespace, pod and container (parts 0, 1, 2; a uid may stand between), newest instance; previous: the
 * one before it that ended. 0 and a status to free, or the answer was given (404, 400).
 */
int route_container(struct route_request *r, bool previous, struct container_status **ret);
/* Starts fn(arg) on a detached thread. False where it cannot. */
bool route_thread(void *(*fn)(void *arg), void *arg);

/* Handlers, by file. */
void route_healthz(struct route_request *r);
void route_pods(struct route_request *r);
void route_running_pods(struct route_request *r);
void route_logs(struct route_request *r);
void route_node_logs(struct route_request *r);
void route_remote_command(struct route_request *r);
void route_port_forward(struct route_request *r);
void route_run(struct route_request *r);
void route_stats_summary(struct route_request *r);
void route_metrics(struct route_request *r);
void route_metrics_resource(struct route_request *r);
void route_metrics_cadvisor(struct route_request *r);
void route_metrics_probes(struct route_request *r);
void route_configz(struct route_request *r);
void route_flagz(struct route_request *r);
void route_statusz(struct route_request *r);

/* auth.c: 0, or the answer was given (401, 403). */
struct auth;
struct auth *auth_new(struct kubelet *kubelet);
void auth_free(struct auth *auth);
int auth_check(struct auth *auth, struct http_request *req, const struct route *route);

#endif
