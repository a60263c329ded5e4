/* SPDX-License-Identifier: Apache-2.0 */
/* Acting as another: Impersonate-* headers, each checked with the authorizer; and the front proxy's X-Remote-* headers. */
#include "apiserver/authn/frontproxy.h"
#include "apiserver/authz/authz.h"
#include "apiserver/request/steps.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

#define MAX_GROUPS 64
#define MAX_EXTRA 32

struct headers {
	struct request *r;
	const char *group_header, *extra_prefix;
	const char *groups[MAX_GROUPS + 2];
	size_t group_count;
	struct user_extra extra[MAX_EXTRA];
	size_t extra_count;
};

static void collect(const char *name, const char *value, void *arg) {
	struct headers *h = arg;
	if (strcasecmp(name, h->group_header) == 0 && h->group_count < MAX_GROUPS) {
		h->groups[h->group_count++] = value;
		return;
	}
	size_t len = strlen(h->extra_prefix);
	if (strncasecmp(name, h->extra_prefix, len) != 0 || h->extra_count == MAX_EXTRA)
		return;
	char *key = http_url_decode(h->r->arena, name + len, strlen(name + len), false);
	if (!key)
		return;
	for (char *p = key; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	const char **values = arena_calloc(h->r->arena, 2, sizeof(*values));
	values[0] = value;
	h->extra[h->extra_count++] = (struct user_extra){.key = key, .values = values};
}

static struct user *user_of(struct headers *h, const char *name, const char *uid) {
	struct arena *arena = h->r->arena;
	struct user *user = arena_new_type(arena, struct user);
	user->name = name;
	user->uid = uid;
	user->groups = arena_memdup(arena, h->groups, sizeof(*h->groups) * (h->group_count + 1));
	user->extra = arena_memdup(arena, h->extra, sizeof(*h->extra) * max_of(h->extra_count, (size_t)1));
	user->extra_count = h->extra_count;
	return user;
}

struct user *front_proxy_user(struct request *r, const struct http_peer_cert *cert) {
	const struct apiserver_options *o = r->server->options;
	if (str_empty(o->requestheader_client_ca_file) || !o->requestheader_allowed_names.len)
		return NULL;
	bool allowed = false;
	for (size_t i = 0; i < o->requestheader_allowed_names.len; i++)
		allowed |= strcmp(o->requestheader_allowed_names.items[i], cert->common_name) == 0;
	const char *user_header = o->requestheader_username_headers.len ? o->requestheader_username_headers.items[0] : "X-Remote-User";
	const char *name = allowed ? http_header(r->http, user_header) : NULL;
	if (str_empty(name))
		return NULL;
	struct headers h = {
		.r = r,
		.group_header = o->requestheader_group_headers.len ? o->requestheader_group_headers.items[0] : "X-Remote-Group",
		.extra_prefix = o->requestheader_extra_headers_prefix.len ? o->requestheader_extra_headers_prefix.items[0] : "X-Remote-Extra-",
	};
	http_header_each(r->http, collect, &h);
	if (h.group_count < MAX_GROUPS && strcmp(name, "system:anonymous") != 0)
		h.groups[h.group_count++] = "system:authenticated";
	const char *uid = o->requestheader_uid_headers.len ? http_header(r->http, o->requestheader_uid_headers.items[0]) : NULL;
	return user_of(&h, name, uid);
}

static int may_impersonate(struct request *r, const char *group, const char *resource, const char *subresource, const char *ns, const char *name, struct error *err) {
	struct authz_attributes a = {
		.user = r->user, .verb = "impersonate", .is_resource = true, .group = group, .version = "v1",
		.resource = resource, .subresource = subresource, .ns = ns, .name = name,
	};
	const char *reason;
	if (authz_decide(r->server->authz, &a, &r->asks, r->arena, &reason) == AUTHZ_ALLOW)
		return 0;
	const char *where = str_empty(ns) ? " at the cluster scope" : arena_printf(r->arena, " in the namespace \"%s\"", ns);
	int rc = error_status(err, 403, "Forbidden", "%s%s%s \"%s\" is forbidden: User \"%s\" cannot impersonate resource \"%s\" in API group \"%s\"%s", resource, *group ? "." : "", group, name, r->user->name, resource, group, where);
	error_details(err, *group ? group : NULL, resource, name);
	return rc;
}

static int check_name(struct request *r, const char *name, struct headers *h, struct error *err) {
	static const char prefix[] = "system:serviceaccount:";
	const char *colon = str_starts_with(name, prefix) ? strchr(name + sizeof(prefix) - 1, ':') : NULL;
	if (!colon)
		return may_impersonate(r, "", "users", NULL, NULL, name, err);
	const char *ns = arena_strndup(r->arena, name + sizeof(prefix) - 1, (size_t)(colon - name) - (sizeof(prefix) - 1));
	int rc = may_impersonate(r, "", "serviceaccounts", NULL, ns, colon + 1, err);
	if (rc == 0 && h->group_count == 0) {
		h->groups[h->group_count++] = "system:serviceaccounts";
		h->groups[h->group_count++] = arena_printf(r->arena, "system:serviceaccounts:%s", ns);
	}
	return rc;
}

static void append_strings(struct buf *out, const char *const *values) {
	buf_append_str(out, "[]string{");
	for (size_t i = 0; values[i]; i++) {
		buf_append_str(out, i ? ", " : "");
		buf_append_json_string(out, values[i], strlen(values[i]));
	}
	buf_append_char(out, '}');
}

/* Who is asked for, as Go prints it. */
static int refuse_nobody(const struct headers *h, const char *uid, struct error *err) {
	autobuf struct buf who = BUF_INIT(64 << 10);
	const char *groups[MAX_GROUPS + 1] = {0};
	memcpy(groups, h->groups, h->group_count * sizeof(*groups));
	buf_append_str(&who, "&user.DefaultInfo{Name:\"\", UID:");
	buf_append_json_string(&who, uid, strlen(uid));
	buf_append_str(&who, ", Groups:");
	if (h->group_count)
		append_strings(&who, groups);
	else
		buf_append_str(&who, "[]string(nil)");
	buf_append_str(&who, h->extra_count ? ", Extra:map[string][]string{" : ", Extra:map[string][]string(nil)}");
	for (size_t i = 0; i < h->extra_count; i++) {
		buf_append_str(&who, i ? ", " : "");
		buf_append_json_string(&who, h->extra[i].key, strlen(h->extra[i].key));
		buf_append_char(&who, ':');
		append_strings(&who, h->extra[i].values);
	}
	buf_append_str(&who, h->extra_count ? "}}" : "");
	return error_bad_request(err, "requested %.*s without impersonating a user name", (int)who.len, who.len ? (const char *)who.data : "");
}

static int impersonate(struct request *r, struct error *err) {
	const char *name = http_header(r->http, "Impersonate-User");
	const char *uid = http_header(r->http, "Impersonate-Uid");
	struct headers h = {.r = r, .group_header = "Impersonate-Group", .extra_prefix = "Impersonate-Extra-"};
	http_header_each(r->http, collect, &h);
	if (str_empty(name)) {
		if (!str_empty(uid) || h.group_count || h.extra_count)
			return refuse_nobody(&h, str_or(uid, ""), err);
		return 0;
	}
	size_t given_groups = h.group_count;
	int rc = check_name(r, name, &h, err);
	for (size_t i = 0; rc == 0 && i < given_groups; i++)
		rc = may_impersonate(r, "", "groups", NULL, NULL, h.groups[i], err);
	if (rc == 0 && !str_empty(uid))
		rc = may_impersonate(r, "authentication.k8s.io", "uids", NULL, NULL, uid, err);
	for (size_t i = 0; rc == 0 && i < h.extra_count; i++)
		rc = may_impersonate(r, "authentication.k8s.io", "userextras", h.extra[i].key, NULL, h.extra[i].values[0], err);
	if (rc < 0)
		return rc;
	bool anonymous = strcmp(name, "system:anonymous") == 0, there = false;
	const char *implied = anonymous ? "system:unauthenticated" : "system:authenticated";
	for (size_t i = 0; i < h.group_count; i++)
		there |= strcmp(h.groups[i], implied) == 0;
	if (!there)
		h.groups[h.group_count++] = implied;
	r->impersonator = r->user;
	r->user = user_of(&h, name, uid);
	return 0;
}

int step_impersonate(struct request *r, struct error *err) {
	int rc = impersonate(r, err);
	if (rc < 0)
		http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	return rc;
}
