/* SPDX-License-Identifier: Apache-2.0 */
/* The door of a daemon's server: who may read what is not for everybody. Reviews block, so each of such requests has a thread of its own, a bounded number at a time. */
#ifndef CORACLE_DAEMON_GUARD_H
#define CORACLE_DAEMON_GUARD_H

#include "common/daemon/delegated.h"

/* Embedded in daemon_options; DAEMON_GUARD_FLAGS(struct, member) gives its rows, under the names and defaults of Kubernetes. */
struct guard_options {
	char *authentication_kubeconfig, *authorization_kubeconfig; /* who reviews; neither: the daemon's own client */
	int64_t token_ttl_ns, allowed_ttl_ns, denied_ttl_ns;
	struct flag_list open_paths; /* for everybody; an asterisk at the end stands for anything */
};
#define DAEMON_GUARD_FLAGS(type, member)                                                                                                                                                  \
	{"authentication-kubeconfig", 0, FLAG_STRING, offsetof(type, member.authentication_kubeconfig), NULL, "who reviews the tokens of clients; none: the API server of --kubeconfig", 0, 0}, \
		{"authorization-kubeconfig", 0, FLAG_STRING, offsetof(type, member.authorization_kubeconfig), NULL, "who reviews what clients may; none: the API server of --kubeconfig", 0, 0}, \
		{"authentication-token-webhook-cache-ttl", 0, FLAG_DURATION, offsetof(type, member.token_ttl_ns), "10s", "how long a token's review is believed", 0, 0}, \
		{"authorization-webhook-cache-authorized-ttl", 0, FLAG_DURATION, offsetof(type, member.allowed_ttl_ns), "10s", "how long a permission is believed", 0, 0}, \
		{"authorization-webhook-cache-unauthorized-ttl", 0, FLAG_DURATION, offsetof(type, member.denied_ttl_ns), "10s", "how long a refusal is believed", 0, 0}, \
		{"authorization-always-allow-paths", 0, FLAG_STRING_LIST, offsetof(type, member.open_paths), "/healthz,/readyz,/livez", "paths that everybody may read", 0, 0}

struct guard;
/* Borrows the options; `own` says how the daemon itself reaches the API server. serve answers a request that may pass, on any thread. */
int guard_new(const struct guard_options *options, const struct client_config *own, http_handler serve, void *arg, struct guard **ret, struct error *err);
/* Waits for requests under way: some seconds at most. */
void guard_free(struct guard *guard);
/* Serves the request, or answers 401, 403, or 503 where too many wait; later, on another thread, where somebody must be asked. */
void guard_handle(struct guard *guard, struct http_request *req);

#endif
