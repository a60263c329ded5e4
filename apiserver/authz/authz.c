/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authz/authz.h"
#include "apiserver/audit/audit.h"
#include "apiserver/authz/configuration.h"
#include "apiserver/authz/modes.h"
#include "apiserver/request/metrics.h"
#include "apiserver/request/steps.h"
#include "apiserver/timers.h"
#include "common/base/clock.h"
#include "common/base/file_watch.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>

/* ---- modes that are a few lines ---- */

static enum authz_decision allow_decide(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	return AUTHZ_ALLOW;
}

static const char *allow_rules(void *state, const struct user *user, const char *ns, authz_rule_fn *fn, void *arg) {
	static const char *const any_items[] = {"*"};
	const struct api_string_list any = {.items = (const char **)any_items, .len = 1};
	fn(&(struct rbac_v1_policy_rule){.verbs = any, .api_groups = any, .resources = any}, arg);
	fn(&(struct rbac_v1_policy_rule){.verbs = any, .non_resource_urls = any}, arg);
	return NULL;
}

static enum authz_decision deny_decide(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	*ret_reason = "Everything is forbidden.";
	return AUTHZ_NO_OPINION;
}

static int server_open(struct apiserver *server, const struct apiserver_v1_authorizer_configuration *config, void **ret, struct error *err) {
	*ret = server;
	return 0;
}

static enum authz_decision node_mode_decide(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	return node_decide(state, a, arena, ret_reason);
}

static const char *node_rules(void *state, const struct user *user, const char *ns, authz_rule_fn *fn, void *arg) {
	return node_is_user(user) ? "node authorizer does not support user rule resolution" : NULL;
}

static int rbac_open(struct apiserver *server, const struct apiserver_v1_authorizer_configuration *config, void **ret, struct error *err) {
	*ret = rbac_new(server);
	return 0;
}

static void rbac_close(void *state) {
	rbac_free(state);
}

static enum authz_decision rbac_mode_decide(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	return rbac_decide(state, a, arena, ret_reason);
}

static const char *rbac_rules(void *state, const struct user *user, const char *ns, authz_rule_fn *fn, void *arg) {
	rbac_each_rule(state, user, ns, fn, arg);
	return NULL;
}

static const struct authz_mode mode_allow = {.type = "AlwaysAllow", .decide = allow_decide, .rules = allow_rules}, mode_deny = {.type = "AlwaysDeny", .decide = deny_decide},
	mode_node = {.type = "Node", .lasts = true, .open = server_open, .decide = node_mode_decide, .rules = node_rules},
	mode_rbac = {.type = "RBAC", .lasts = true, .open = rbac_open, .close = rbac_close, .decide = rbac_mode_decide, .rules = rbac_rules};

/* All there are, sorted. */
static const struct authz_mode *const modes[] = {&authz_mode_abac, &mode_allow, &mode_deny, &mode_node, &mode_rbac, &authz_mode_webhook};
static const char *const types[] = {"ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook", NULL};

/* ---- the chain ---- */

struct link {
	const struct authz_mode *mode;
	void *state;
	char *name;
};
/* Immutable, counted. */
struct chain {
	unsigned refs; /* atomic */
	struct link *links;
	size_t count;
};
struct authorizer {
	struct apiserver *server;
	void *lasting[array_len(modes)]; /* states of modes that are made once */
	bool lasts[array_len(modes)];    /* those are there */
	struct file_watch *watch;
	bool asks; /* atomic: others may be asked */
	pthread_mutex_t lock; /* guards chain */
	struct chain *chain;
};

static struct metric metrics[] = {
	{.name = "apiserver_authorization_decisions_total", .help = "Total number of terminal decisions made by an authorizer split by authorizer type, name, and decision.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"type", "name", "decision", NULL}},
	{.name = "apiserver_authorization_config_controller_automatic_reloads_total", .help = "Total number of automatic reloads of authorization configuration split by status and apiserver identity.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"status", "apiserver_id_hash", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static size_t mode_index(const char *type) {
	size_t i = 0;
	while (i < array_len(modes) && !str_equal(modes[i]->type, type))
		i++;
	return i;
}

static void chain_unref(struct chain *chain) {
	if (!chain || __atomic_sub_fetch(&chain->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < chain->count; i++) {
		if (!chain->links[i].mode->lasts && chain->links[i].mode->close)
			chain->links[i].mode->close(chain->links[i].state);
		free(chain->links[i].name);
	}
	free(chain->links);
	free(chain);
}

static struct chain *chain_get(struct authorizer *authorizer) {
	pthread_mutex_lock(&authorizer->lock);
	struct chain *chain = authorizer->chain;
	__atomic_add_fetch(&chain->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&authorizer->lock);
	return chain;
}

/* `first`: modes that last are made now; later there must be those and no others. */
static int chain_new(struct authorizer *authorizer, const struct apiserver_v1_authorization_configuration *config, bool first, struct chain **ret, struct error *err) {
	struct chain *chain = xnew(struct chain);
	bool seen[array_len(modes)] = {0};
	int rc = 0;
	chain->refs = 1;
	chain->links = xcalloc(config->authorizers.len + 1, sizeof(*chain->links));
	for (uint32_t i = 0; rc == 0 && i < config->authorizers.len; i++) {
		const struct apiserver_v1_authorizer_configuration *a = &config->authorizers.items[i];
		size_t at = mode_index(a->type);
		struct link link = {.mode = modes[at]};
		seen[at] = true;
		if (link.mode->lasts && !authorizer->lasts[at] && !first)
			rc = error_set(err, EINVAL, "authorizer type %s is not allowed if it was not enabled at initial server startup", a->type);
		else if (link.mode->open && !(link.mode->lasts && authorizer->lasts[at]))
			rc = link.mode->open(authorizer->server, a, &link.state, err);
		if (rc < 0)
			break;
		if (link.mode->lasts && !authorizer->lasts[at]) {
			authorizer->lasts[at] = true;
			authorizer->lasting[at] = link.state;
		}
		link.state = link.mode->lasts ? authorizer->lasting[at] : link.state;
		link.name = xstrdup(a->name);
		chain->links[chain->count++] = link;
	}
	for (size_t i = 0; rc == 0 && i < array_len(modes); i++)
		if (authorizer->lasts[i] && !seen[i])
			rc = error_set(err, EINVAL, "missing required types: [%s]", modes[i]->type);
	if (rc < 0)
		chain_unref(chain);
	else
		*ret = chain;
	return rc;
}

static void take_chain(struct authorizer *authorizer, struct chain *take) {
	bool asks = false;
	for (size_t i = 0; i < take->count; i++)
		asks |= take->links[i].mode == &authz_mode_webhook;
	pthread_mutex_lock(&authorizer->lock);
	struct chain *old = authorizer->chain;
	authorizer->chain = take;
	pthread_mutex_unlock(&authorizer->lock);
	__atomic_store_n(&authorizer->asks, asks, __ATOMIC_RELEASE);
	chain_unref(old);
}

static void on_change(void *arg) {
	struct authorizer *authorizer = arg;
	struct apiserver_v1_authorization_configuration *config = NULL;
	struct chain *chain;
	autoerror struct error err = {0};
	char hash[65];
	/* After the start is done. */
	pthread_mutex_lock(&authorizer->lock);
	bool ready = authorizer->chain;
	pthread_mutex_unlock(&authorizer->lock);
	int rc = ready ? authz_config_read(authorizer->server->options->authorization_config, types, &config, &err) : -EAGAIN;
	if (!ready)
		return;
	if (rc == 0)
		rc = chain_new(authorizer, config, false, &chain, &err);
	api_unref(config);
	sha256_hex(authorizer->server->identity, strlen(authorizer->server->identity), hash);
	autofree char *id = xprintf("sha256:%s", hash);
	metric_add(metric_label(&metrics[1], rc < 0 ? "failure" : "success", id), 1);
	if (rc < 0) {
		log_error("the authorization configuration stays as it was", LOG_ERR(&err));
		return;
	}
	take_chain(authorizer, chain);
	log_info("the authorization configuration was read again", LOG_STR("path", authorizer->server->options->authorization_config));
}

static bool legacy_given(const struct apiserver_options *o) {
	bool modes_given = o->authorization_mode.len != 2 || !str_equal(o->authorization_mode.items[0], "Node") || !str_equal(o->authorization_mode.items[1], "RBAC");
	return modes_given || !str_empty(o->authorization_webhook_config_file) || !str_empty(o->authorization_policy_file);
}

int authz_new(struct apiserver *server, struct authorizer **ret, struct error *err) {
	const struct apiserver_options *o = server->options;
	bool file = !str_empty(o->authorization_config);
	if (file && legacy_given(o))
		return error_set(err, EINVAL, "--authorization-config can not be specified when --authorization-mode, --authorization-policy-file or --authorization-webhook-* flags are defined");
	struct apiserver_v1_authorization_configuration *config = NULL;
	struct authorizer *authorizer = xnew(struct authorizer);
	struct chain *chain;
	authorizer->server = server;
	pthread_mutex_init(&authorizer->lock, NULL);
	if (file) /* first watched, then read */
		authorizer->watch = file_watch_start(timers_loop(server->timers), (const char *const[]){o->authorization_config}, 1, on_change, authorizer);
	int rc = file ? authz_config_read(o->authorization_config, types, &config, err) : authz_config_of_flags(o, types, &config, err);
	if (rc == 0)
		rc = chain_new(authorizer, config, true, &chain, err);
	api_unref(config);
	if (rc < 0) {
		authz_free(authorizer);
		return rc;
	}
	take_chain(authorizer, chain);
	*ret = authorizer;
	return 0;
}

/* What was posted before has been done. */
static void settle(void *arg) {
}

void authz_free(struct authorizer *authorizer) {
	if (!authorizer)
		return;
	file_watch_stop(authorizer->watch);
	chain_unref(authorizer->chain);
	loop_call(timers_loop(authorizer->server->timers), settle, NULL);
	for (size_t i = 0; i < array_len(modes); i++)
		if (authorizer->lasts[i] && modes[i]->close)
			modes[i]->close(authorizer->lasting[i]);
	pthread_mutex_destroy(&authorizer->lock);
	free(authorizer);
}

struct rbac *authz_rbac(struct authorizer *authorizer) {
	return authorizer->lasting[mode_index("RBAC")];
}

bool authz_asks(struct authorizer *authorizer) {
	return __atomic_load_n(&authorizer->asks, __ATOMIC_ACQUIRE);
}

enum authz_decision authz_decide(struct authorizer *authorizer, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	*ret_reason = "";
	if (user_in_group(a->user, "system:masters"))
		return AUTHZ_ALLOW;
	struct chain *chain = chain_get(authorizer);
	const char *reasons = "";
	enum authz_decision decision = AUTHZ_NO_OPINION;
	for (size_t i = 0; decision == AUTHZ_NO_OPINION && i < chain->count; i++) {
		const struct link *link = &chain->links[i];
		const char *reason = "";
		decision = link->mode->decide(link->state, a, asks, arena, &reason);
		if (asks && asks_lacking(asks))
			break;
		if (decision != AUTHZ_NO_OPINION) {
			reasons = reason;
			metric_add(metric_label(&metrics[0], link->mode->type, link->name, decision == AUTHZ_ALLOW ? "allowed" : "denied"), 1);
		} else if (*reason) {
			reasons = *reasons ? arena_printf(arena, "%s\n%s", reasons, reason) : reason;
		}
	}
	chain_unref(chain);
	*ret_reason = reasons;
	return decision;
}

const char *authz_rules(struct authorizer *authorizer, const struct user *user, const char *ns, struct arena *arena, authz_rule_fn *fn, void *arg) {
	struct chain *chain = chain_get(authorizer);
	const char *missing = NULL;
	bool many = false;
	for (size_t i = 0; i < chain->count; i++) {
		const struct link *link = &chain->links[i];
		const char *why = link->mode->rules ? link->mode->rules(link->state, user, ns, fn, arg) : NULL;
		if (!why || (missing && strstr(missing, why)))
			continue;
		many = missing;
		missing = missing ? arena_printf(arena, "%s, %s", missing, why) : why;
	}
	chain_unref(chain);
	return many ? arena_printf(arena, "[%s]", missing) : missing;
}

/* The sentence is worded as the Go server does. */
int authz_forbidden(struct request *r, const struct authz_attributes *a, const char *reason, struct error *err) {
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
	if (!a->is_resource || !*a->resource) {
		int path = error_status(err, 403, "Forbidden", "forbidden: %s", why.data);
		if (a->is_resource && !str_empty(a->name))
			error_details(err, NULL, NULL, a->name);
		else
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

struct authz_attributes authz_attributes_of(struct request *r) {
	struct authz_attributes a = {
		.user = r->user,
		.verb = r->verb,
		.is_resource = r->is_resource,
		.group = r->group, .version = r->version, .ns = r->ns, .resource = r->plural, .subresource = r->subresource,
		.name = r->name ? r->name : r->selected_name,
		.path = r->path,
	};
	if (authz_asks(r->server->authz) && (strcmp(r->verb, "list") == 0 || strcmp(r->verb, "watch") == 0 || strcmp(r->verb, "deletecollection") == 0)) {
		a.field_selector = http_query(r->http, "fieldSelector");
		a.label_selector = http_query(r->http, "labelSelector");
	}
	return a;
}

int step_authorize(struct request *r, struct error *err) {
	if (always_allowed(r)) {
		audit_decision(r, true, "");
		return 0;
	}
	struct authz_attributes a = authz_attributes_of(r);
	const char *reason;
	int64_t began = clock_monotonic_ns();
	enum authz_decision decision = authz_decide(r->server->authz, &a, &r->asks, r->arena, &reason);
	if (asks_lacking(&r->asks))
		return 0;
	bool allowed = decision == AUTHZ_ALLOW;
	request_metrics_authorized(allowed ? AUTHORIZATION_ALLOWED : decision == AUTHZ_NO_OPINION ? AUTHORIZATION_NO_OPINION : AUTHORIZATION_DENIED, clock_monotonic_ns() - began);
	audit_decision(r, allowed, reason);
	if (allowed)
		return 0;
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	return authz_forbidden(r, &a, reason, err);
}
