/* SPDX-License-Identifier: Apache-2.0 */
/* Who may ask the node agent: subresources of its node. */
#include "common/daemon/delegated.h"
#include "kubelet/server/server.h"

#include <errno.h>

struct auth {
	struct kubelet *kubelet;
	struct delegated *delegated;
};

struct auth *auth_new(struct kubelet *kubelet) {
	struct auth *auth = xnew(struct auth);
	const struct delegated_options options = {
		.anonymous = kubelet->options.anonymous_auth, .review_tokens = kubelet->options.token_webhook, .token_ttl_ns = kubelet->options.token_ttl_ns,
		.allowed_ttl_ns = kubelet->options.allowed_ttl_ns, .denied_ttl_ns = kubelet->options.denied_ttl_ns,
	};
	*auth = (struct auth){.kubelet = kubelet, .delegated = delegated_new(kubelet->client, kubelet->client, &options)};
	return auth;
}

void auth_free(struct auth *auth) {
	if (auth)
		delegated_free(auth->delegated);
	free(auth);
}

static bool may(struct auth *auth, const struct delegated_user *who, const char *verb, const char *subresource) {
	const struct delegated_access access = {.verb = verb, .resource = "nodes", .subresource = subresource, .name = auth->kubelet->node_name};
	return delegated_may(auth->delegated, who, &access);
}

int auth_check(struct auth *auth, struct http_request *req, const struct route *route) {
	struct delegated_user who = {0};
	struct route_request r = {.kubelet = auth->kubelet, .http = req};
	const char *verb = delegated_verb(http_method(req));
	if (!delegated_identify(auth->delegated, req, &who)) {
		http_respond(req, 401, "text/plain; charset=utf-8", "Unauthorized", 12);
		return -EACCES;
	}
	/* What was once under "proxy" and has a name of its own now is still allowed by the old one; measurements and logs never were. */
	bool also = route->also_proxy;
	bool allowed = str_equal(auth->kubelet->options.authorization_mode, "AlwaysAllow") || may(auth, &who, verb, route->subresource) || (also && may(auth, &who, verb, "proxy"));
	if (!allowed)
		route_text(&r, 403, "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[%s%s])", who.name, verb, route->subresource, also ? " proxy" : "");
	delegated_user_done(&who);
	return allowed ? 0 : -EPERM;
}
