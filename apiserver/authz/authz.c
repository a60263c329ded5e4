/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authz/authz.h"
#include "apiserver/audit/audit.h"
#include "apiserver/request/steps.h"
#include "common/base/log.h"

#include <errno.h>

struct authorizer {
	struct apiserver *server;
	struct rbac *rbac;
	enum mode { MODE_ALWAYS_ALLOW, MODE_ALWAYS_DENY, MODE_NODE, MODE_RBAC } modes[8];
	size_t mode_count;
};

static const char *const mode_names[] = {"AlwaysAllow", "AlwaysDeny", "Node", "RBAC"};

int authz_new(struct apiserver *server, struct authorizer **ret, struct error *err) {
	struct authorizer *authorizer = xnew(struct authorizer);
	authorizer->server = server;
	for (size_t i = 0; i < server->options->authorization_mode.len; i++) {
		const char *name = server->options->authorization_mode.items[i];
		size_t mode = 0;
		while (mode < array_len(mode_names) && strcmp(mode_names[mode], name) != 0)
			mode++;
		if (mode == array_len(mode_names)) {
			log_warning("authorization mode is not supported and left out", LOG_STR("mode", name));
			continue;
		}
		if (authorizer->mode_count == array_len(authorizer->modes)) {
			authz_free(authorizer);
			return error_set(err, EINVAL, "--authorization-mode: too many modes");
		}
		authorizer->modes[authorizer->mode_count++] = (enum mode)mode;
		if (mode == MODE_RBAC && !authorizer->rbac)
			authorizer->rbac = rbac_new(server);
	}
	*ret = authorizer;
	return 0;
}

void authz_free(struct authorizer *authorizer) {
	if (!authorizer)
		return;
	rbac_free(authorizer->rbac);
	free(authorizer);
}

struct rbac *authz_rbac(struct authorizer *authorizer) {
	return authorizer->rbac;
}

static bool has_mode(const struct authorizer *authorizer, enum mode mode) {
	for (size_t i = 0; i < authorizer->mode_count; i++)
		if (authorizer->modes[i] == mode)
			return true;
	return false;
}

bool authz_allows_all(const struct authorizer *authorizer) {
	return has_mode(authorizer, MODE_ALWAYS_ALLOW);
}

bool authz_is_node(const struct authorizer *authorizer, const struct user *user) {
	return has_mode(authorizer, MODE_NODE) && node_is_user(user);
}

enum authz_decision authz_decide(struct authorizer *authorizer, const struct authz_attributes *a, struct arena *arena, const char **ret_reason) {
	*ret_reason = "";
	if (user_in_group(a->user, "system:masters"))
		return AUTHZ_ALLOW;
	const char *reasons = "";
	for (size_t i = 0; i < authorizer->mode_count; i++) {
		const char *reason = "";
		enum authz_decision decision = AUTHZ_NO_OPINION;
		switch (authorizer->modes[i]) {
		case MODE_ALWAYS_ALLOW:
			return AUTHZ_ALLOW;
		case MODE_ALWAYS_DENY:
			reason = "Everything is forbidden.";
			break;
		case MODE_NODE:
			decision = node_decide(authorizer->server, a, arena, &reason);
			break;
		case MODE_RBAC:
			decision = rbac_decide(authorizer->rbac, a, arena, &reason);
			break;
		}
		if (decision != AUTHZ_NO_OPINION) {
			*ret_reason = reason;
			return decision;
		}
		if (*reason)
			reasons = *reasons ? arena_printf(arena, "%s, %s", reasons, reason) : reason;
	}
	*ret_reason = reasons;
	return AUTHZ_NO_OPINION;
}

/* The sentence of a 403, as the Go server words it. */
static int forbidden(struct request *r, const struct authz_attributes *a, const char *reason, struct error *err) {
	autobuf struct buf why = BUF_INIT(16 << 10);
	const char *user = a->user->name;
	if (!a->is_resource) {
		buf_printf(&why, "User \"%s\" cannot %s path \"%s\"", user, a->verb, a->path);
	} else {
		const char *resource = str_empty(a->subresource) ? a->resource : arena_printf(r->arena, "%s/%s", a->resource, a->subresource);
		buf_printf(&why, "User \"%s\" cannot %s resource \"%s\" in API group \"%s\"", user, a->verb, resource, a->group);
		if (!str_empty(a->ns))
			buf_printf(&why, " in the namespace \"%s\"", a->ns);
		else
			buf_append_str(&why, " at the cluster scope");
	}
	if (!str_empty(reason))
		buf_printf(&why, ": %s", reason);
	if (!a->is_resource) {
		int path = error_status(err, 403, "Forbidden", "forbidden: %s", why.data);
		err->empty_details = true;
		return path;
	}
	const char *group_resource = str_empty(a->group) ? a->resource : arena_printf(r->arena, "%s.%s", a->resource, a->group);
	int rc;
	if (str_empty(a->name))
		rc = error_status(err, 403, "Forbidden", "%s is forbidden: %s", group_resource, why.data);
	else
		rc = error_status(err, 403, "Forbidden", "%s \"%s\" is forbidden: %s", group_resource, a->name, why.data);
	error_details(err, str_empty(a->group) ? NULL : a->group, a->resource, str_empty(a->name) ? NULL : a->name);
	return rc;
}

/* Probes are answered whoever asks, also before the roles are there that would allow it. */
static bool always_allowed(const struct request *r) {
	return !r->is_resource && (strcmp(r->path, "/healthz") == 0 || strcmp(r->path, "/livez") == 0 || strcmp(r->path, "/readyz") == 0);
}

int step_authorize(struct request *r, struct error *err) {
	if (always_allowed(r)) {
		audit_decision(r, true, "");
		return 0;
	}
	struct authz_attributes a = {
		.user = r->user,
		.verb = r->verb,
		.is_resource = r->is_resource,
		.group = r->group, .version = r->version, .ns = r->ns, .resource = r->plural, .subresource = r->subresource,
		.name = r->name ? r->name : r->selected_name,
		.path = r->path,
	};
	const char *reason;
	bool allowed = authz_decide(r->server->authz, &a, r->arena, &reason) == AUTHZ_ALLOW;
	audit_decision(r, allowed, reason);
	if (allowed)
		return 0;
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	return forbidden(r, &a, reason, err);
}
