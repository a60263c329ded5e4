/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acting as another: Impersonate-* headers, each checked with the authorizer; and the front proxy's X-Remote-* headers. Who may act for another only in what he does so for is checked
 * twice: that he may do this while acting (impersonate-on:<mode>:<verb>), and for whom (impersonate:<mode>). Whom no such mode lets may still "impersonate", whatever he does.
 */
#include "apiserver/authn/frontproxy.h"
#include "apiserver/authz/authz.h"
#include "apiserver/request/steps.h"
#include "common/api/format.h"
#include "common/base/map.h"

#include <ctype.h>
#include <errno.h>
#include <strings.h>

/* How many there are is bounded by the size of a request's head. */
struct headers {
	struct request *r;
	const struct flag_list *group_headers, *extra_prefixes;
	struct api_string_list groups;
	struct extra { const char *key; struct api_string_list values; } *extra;
	size_t extra_count, extra_cap;
	size_t value_count; /* of all extra */
};

static bool is_among(const struct flag_list *names, const char *name) {
	for (size_t i = 0; i < names->len; i++)
		if (strcasecmp(names->items[i], name) == 0)
			return true;
	return false;
}

static struct extra *extra_of(struct headers *h, const char *key) {
	for (size_t i = 0; i < h->extra_count; i++)
		if (strcmp(h->extra[i].key, key) == 0)
			return &h->extra[i];
	if (h->extra_count == h->extra_cap) {
		struct extra *more = arena_calloc(h->r->arena, h->extra_cap * 2 + 4, sizeof(*more));
		if (h->extra_count)
			memcpy(more, h->extra, h->extra_count * sizeof(*more));
		h->extra = more;
		h->extra_cap = h->extra_cap * 2 + 4;
	}
	struct extra *extra = &h->extra[h->extra_count++];
	extra->key = key;
	return extra;
}

static void collect(const char *name, const char *value, void *arg) {
	struct headers *h = arg;
	if (is_among(h->group_headers, name)) {
		api_string_list_add(h->r->arena, &h->groups, value);
		return;
	}
	for (size_t i = 0; i < h->extra_prefixes->len; i++) {
		size_t len = strlen(h->extra_prefixes->items[i]);
		char *key = strncasecmp(name, h->extra_prefixes->items[i], len) == 0 ? http_url_decode(h->r->arena, name + len, strlen(name + len), false) : NULL;
		if (!key)
			continue;
		for (char *p = key; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		api_string_list_add(h->r->arena, &extra_of(h, key)->values, value);
		h->value_count++;
		return;
	}
}

static const char *const *terminated(struct arena *arena, const struct api_string_list *list) {
	const char **values = arena_calloc(arena, (size_t)list->len + 1, sizeof(*values));
	for (uint32_t i = 0; i < list->len; i++)
		values[i] = list->items[i];
	return values;
}

static struct user *user_of(struct headers *h, const char *name, const char *uid) {
	struct arena *arena = h->r->arena;
	struct user *user = arena_new_type(arena, struct user);
	user->name = name;
	user->uid = uid;
	user->groups = terminated(arena, &h->groups);
	user->extra = arena_calloc(arena, max_of(h->extra_count, (size_t)1), sizeof(*user->extra));
	user->extra_count = h->extra_count;
	for (size_t i = 0; i < h->extra_count; i++)
		user->extra[i] = (struct user_extra){.key = h->extra[i].key, .values = terminated(arena, &h->extra[i].values)};
	return user;
}

/* The first of the headers that says something. */
static const char *first_header(struct request *r, const struct flag_list *names) {
	const char *value = NULL;
	for (size_t i = 0; str_empty(value) && i < names->len; i++)
		value = http_header(r->http, names->items[i]);
	return value;
}

struct user *front_proxy_user(struct request *r, const struct http_peer_cert *cert) {
	const struct apiserver_options *o = r->server->options;
	if (str_empty(o->requestheader_client_ca_file))
		return NULL;
	/* None named: whoever that authority vouches for. */
	bool allowed = !o->requestheader_allowed_names.len;
	for (size_t i = 0; i < o->requestheader_allowed_names.len; i++)
		allowed |= strcmp(o->requestheader_allowed_names.items[i], cert->common_name) == 0;
	const char *name = allowed ? first_header(r, &o->requestheader_username_headers) : NULL;
	if (str_empty(name))
		return NULL;
	struct headers h = {.r = r, .group_headers = &o->requestheader_group_headers, .extra_prefixes = &o->requestheader_extra_headers_prefix};
	http_header_each(r->http, collect, &h);
	if (strcmp(name, "system:anonymous") != 0)
		api_string_list_add(r->arena, &h.groups, "system:authenticated");
	return user_of(&h, name, first_header(r, &o->requestheader_uid_headers));
}

/* ---- who is acted for ---- */

#define GROUP "authentication.k8s.io"
#define NODE_NAME_KEY "authentication.kubernetes.io/node-name"
#define MANY 4 /* values of which it is first asked whether all may be had */

struct wanted {
	struct request *r;
	const char *name, *uid;
	const struct headers *h;
};
struct mode {
	const char *name; /* NULL: of old, "impersonate" */
	bool (*applies)(const struct wanted *w);
	bool own_node;    /* the account is known by its node alone */
};

/* Namespace and name of system:serviceaccount:ns:name; false where it is none. */
static bool split_account(struct arena *arena, const char *user, const char **ret_ns, const char **ret_name) {
	static const char prefix[] = "system:serviceaccount:";
	const char *ns = str_starts_with(user, prefix) ? user + sizeof(prefix) - 1 : NULL, *colon = ns ? strchr(ns, ':') : NULL;
	if (!colon)
		return false;
	const char *space = arena_strndup(arena, ns, (size_t)(colon - ns));
	if (format_error(format_dns_label, space) || format_error(format_dns_subdomain, colon + 1))
		return false;
	*ret_ns = space;
	*ret_name = colon + 1;
	return true;
}

static const char *node_of(const char *user) {
	static const char prefix[] = "system:node:";
	return str_starts_with(user, prefix) && !format_error(format_dns_subdomain, user + sizeof(prefix) - 1) ? user + sizeof(prefix) - 1 : NULL;
}

static bool only_name(const struct wanted *w) {
	return str_empty(w->uid) && !w->h->groups.len && !w->h->extra_count;
}

static bool is_own_node(const struct wanted *w) {
	const char *node = node_of(w->name), *ns, *name;
	if (!node || !only_name(w) || !split_account(w->r->arena, w->r->user->name, &ns, &name))
		return false;
	for (size_t i = 0; i < w->r->user->extra_count; i++) {
		const struct user_extra *extra = &w->r->user->extra[i];
		if (strcmp(extra->key, NODE_NAME_KEY) == 0)
			return extra->values[0] && !extra->values[1] && strcmp(extra->values[0], node) == 0;
	}
	return false;
}

static bool is_node(const struct wanted *w) {
	return only_name(w) && node_of(w->name);
}

static bool is_account(const struct wanted *w) {
	const char *ns, *name;
	return only_name(w) && split_account(w->r->arena, w->name, &ns, &name);
}

static bool is_other(const struct wanted *w) {
	const char *ns, *name;
	return !node_of(w->name) && !split_account(w->r->arena, w->name, &ns, &name);
}

static bool always(const struct wanted *w) {
	return true;
}

/* In the order in which they are tried. */
static const struct mode modes[] = {
	{"associated-node", is_own_node, true},
	{"arbitrary-node", is_node, false},
	{"serviceaccount", is_account, false},
	{"user-info", is_other, false},
	{NULL, always, false},
};

/* The asking account without what differs from node to node. */
static const struct user *without_node(struct request *r) {
	struct user *user = arena_memdup(r->arena, r->user, sizeof(*r->user));
	const char **keys = arena_calloc(r->arena, r->user->extra_count + 1, sizeof(*keys));
	for (size_t i = 0; i < r->user->extra_count; i++) {
		size_t at = i;
		for (; at && strcmp(keys[at - 1], r->user->extra[i].key) > 0; at--)
			keys[at] = keys[at - 1];
		keys[at] = r->user->extra[i].key;
	}
	user->extra = arena_calloc(r->arena, 1, sizeof(*user->extra));
	user->extra[0] = (struct user_extra){.key = "authentication.kubernetes.io/associated-node-keys", .values = keys};
	user->extra_count = 1;
	return user;
}

/* One look-up; negative where it is refused, or others must be asked first. */
static int may(const struct wanted *w, const struct authz_attributes *a, struct error *err) {
	const char *reason;
	enum authz_decision decision = authz_decide(w->r->server->authz, a, &w->r->asks, w->r->arena, &reason);
	if (asks_lacking(&w->r->asks))
		return -EAGAIN;
	return decision == AUTHZ_ALLOW ? 0 : authz_forbidden(w->r, a, reason, err);
}

static int check_groups(const struct wanted *w, const struct mode *mode, struct authz_attributes a, struct error *err) {
	const struct headers *h = w->h;
	a.resource = "groups";
	a.group = mode->name ? GROUP : "";
	for (size_t i = 0; mode->name && i < h->groups.len; i++) {
		if (!*h->groups.items[i])
			return authz_forbidden(w->r, &a, "impersonating the empty string group is not allowed", err);
		if (strcmp(h->groups.items[i], "system:masters") == 0) {
			a.name = h->groups.items[i];
			return authz_forbidden(w->r, &a, "impersonating the system:masters group is not allowed", err);
		}
	}
	if (mode->name && h->groups.len >= MANY) {
		a.name = "*";
		int rc = may(w, &a, NULL);
		if (rc == 0 || asks_lacking(&w->r->asks))
			return rc;
	}
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < h->groups.len; i++) {
		a.name = h->groups.items[i];
		rc = may(w, &a, err);
	}
	return rc;
}

/* What is wrong with a key or value, for modes that care; NULL: nothing. */
static const char *wrong_extra(struct arena *arena, const struct extra *extra) {
	const char *slash = strchr(extra->key, '/');
	if (!*extra->key)
		return "impersonating the empty string key in extra is not allowed";
	autofree char *domain = slash ? xstrndup(extra->key, (size_t)(slash - extra->key)) : NULL;
	if (!slash || !slash[1] || format_error(format_dns_subdomain, domain))
		return arena_printf(arena, "impersonating an invalid key in extra is not allowed: extra.key: Invalid value: \"%s\": must be a domain-prefixed path (such as \"acme.io/foo\")", extra->key);
	for (uint32_t i = 0; i < extra->values.len; i++)
		if (!*extra->values.items[i])
			return "impersonating the empty string value in extra is not allowed";
	return NULL;
}

static int check_extra(const struct wanted *w, const struct mode *mode, struct authz_attributes a, struct error *err) {
	const struct headers *h = w->h;
	a.resource = "userextras";
	a.group = GROUP;
	for (size_t i = 0; mode->name && i < h->extra_count; i++) {
		const char *wrong = wrong_extra(w->r->arena, &h->extra[i]);
		if (wrong)
			return authz_forbidden(w->r, &a, wrong, err);
	}
	if (mode->name && h->value_count >= MANY) {
		a.subresource = a.name = "*";
		int rc = may(w, &a, NULL);
		if (rc == 0 || asks_lacking(&w->r->asks))
			return rc;
	}
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < h->extra_count; i++) {
		a.subresource = h->extra[i].key;
		for (uint32_t v = 0; rc == 0 && v < h->extra[i].values.len; v++) {
			a.name = h->extra[i].values.items[v];
			rc = may(w, &a, err);
		}
	}
	return rc;
}

static int check_name(const struct wanted *w, const struct mode *mode, struct authz_attributes a, struct error *err) {
	const char *node = mode->name ? node_of(w->name) : NULL;
	a.group = mode->name ? GROUP : "";
	a.resource = "users";
	a.name = w->name;
	if (node) {
		a.resource = "nodes";
		a.name = mode->own_node ? "*" : node;
	} else if (split_account(w->r->arena, w->name, &a.ns, &a.name)) {
		a.resource = "serviceaccounts";
	}
	return may(w, &a, err);
}

/* 0: it lets him; negative: it does not. */
static int check_mode(const struct wanted *w, const struct mode *mode, struct error *err) {
	const struct user *asks = mode->own_node ? without_node(w->r) : w->r->user;
	if (mode->name) {
		struct authz_attributes on = authz_attributes_of(w->r);
		on.user = asks;
		on.verb = arena_printf(w->r->arena, "impersonate-on:%s:%s", mode->name, w->r->verb);
		int rc = may(w, &on, err);
		if (rc < 0)
			return rc;
	}
	struct authz_attributes a = {.user = asks, .verb = mode->name ? arena_printf(w->r->arena, "impersonate:%s", mode->name) : "impersonate", .is_resource = true, .version = "v1"};
	int rc = check_name(w, mode, a, err);
	if (rc == 0 && !str_empty(w->uid)) {
		struct authz_attributes uid = a;
		uid.group = GROUP;
		uid.resource = "uids";
		uid.name = w->uid;
		rc = may(w, &uid, err);
	}
	if (rc == 0)
		rc = check_groups(w, mode, a, err);
	return rc < 0 ? rc : check_extra(w, mode, a, err);
}

/*
 * Which mode let somebody last is tried first: who acts for others in a mode goes on to. It is a hint, by the name's hash: all modes are tried all the same. Each slot is a hash whose lowest byte
 * is the mode's place and one; 0: none.
 */
static uint64_t recent[1024]; /* atomic */

static uint64_t *slot_of(const struct user *user, uint64_t *ret_hash) {
	*ret_hash = hash_bytes(user->name, strlen(user->name)) & ~UINT64_C(0xff);
	return &recent[(*ret_hash >> 8) % array_len(recent)];
}

/* The mode that lets him; NULL, and the first refusal, where none does. */
static const struct mode *find_mode(const struct wanted *w, struct error *err) {
	bool constrained = api_gate_is_open("ConstrainedImpersonation");
	autoerror struct error first = {0};
	uint64_t hash, *slot = slot_of(w->r->user, &hash), hint = __atomic_load_n(slot, __ATOMIC_RELAXED);
	size_t last = (hint & ~UINT64_C(0xff)) == hash && (hint & 0xff) ? (size_t)(hint & 0xff) - 1 : array_len(modes);
	for (size_t n = 0; n <= array_len(modes); n++) {
		size_t i = n ? n - 1 : last;
		autoerror struct error why = {0};
		if (i == array_len(modes) || (n && i == last) || (modes[i].name && !constrained) || !modes[i].applies(w))
			continue;
		if (check_mode(w, &modes[i], &why) == 0) {
			__atomic_store_n(slot, hash | (i + 1), __ATOMIC_RELAXED);
			return &modes[i];
		}
		if (asks_lacking(&w->r->asks))
			return NULL;
		if (!first.errnum)
			error_move(&first, &why);
	}
	error_move(err, &first);
	return NULL;
}

static void append_strings(struct buf *out, const struct api_string_list *values) {
	buf_append_str(out, "[]string{");
	for (uint32_t i = 0; i < values->len; i++) {
		buf_append_str(out, i ? ", " : "");
		buf_append_json_string(out, values->items[i], strlen(values->items[i]));
	}
	buf_append_char(out, '}');
}

/* Who is asked for, as Go prints it. */
static int refuse_nobody(const struct headers *h, const char *uid, struct error *err) {
	autobuf struct buf who = BUF_INIT(64 << 10);
	buf_append_str(&who, "&user.DefaultInfo{Name:\"\", UID:");
	buf_append_json_string(&who, uid, strlen(uid));
	buf_append_str(&who, ", Groups:");
	if (h->groups.len)
		append_strings(&who, &h->groups);
	else
		buf_append_str(&who, "[]string(nil)");
	buf_append_str(&who, h->extra_count ? ", Extra:map[string][]string{" : ", Extra:map[string][]string(nil)}");
	for (size_t i = 0; i < h->extra_count; i++) {
		buf_append_str(&who, i ? ", " : "");
		buf_append_json_string(&who, h->extra[i].key, strlen(h->extra[i].key));
		buf_append_char(&who, ':');
		append_strings(&who, &h->extra[i].values);
	}
	buf_append_str(&who, h->extra_count ? "}}" : "");
	return error_bad_request(err, "requested %.*s without impersonating a user name", (int)who.len, who.len ? (const char *)who.data : "");
}

static int impersonate(struct request *r, struct error *err) {
	const char *name = http_header(r->http, "Impersonate-User");
	const char *uid = http_header(r->http, "Impersonate-Uid");
	static char *group_header[] = {(char *)"Impersonate-Group"}, *extra_prefix[] = {(char *)"Impersonate-Extra-"};
	static const struct flag_list group_headers = {.items = group_header, .len = 1}, extra_prefixes = {.items = extra_prefix, .len = 1};
	struct headers h = {.r = r, .group_headers = &group_headers, .extra_prefixes = &extra_prefixes};
	http_header_each(r->http, collect, &h);
	if (str_empty(name)) {
		if (!str_empty(uid) || h.groups.len || h.extra_count)
			return refuse_nobody(&h, str_or(uid, ""), err);
		return 0;
	}
	const struct wanted w = {.r = r, .name = name, .uid = uid, .h = &h};
	const struct mode *mode = find_mode(&w, err);
	if (!mode)
		return asks_lacking(&r->asks) ? 0 : -EACCES;
	const char *ns, *account;
	if (mode->name && node_of(name)) {
		api_string_list_add(r->arena, &h.groups, "system:nodes");
	} else if (!h.groups.len && split_account(r->arena, name, &ns, &account)) {
		api_string_list_add(r->arena, &h.groups, "system:serviceaccounts");
		api_string_list_add(r->arena, &h.groups, arena_printf(r->arena, "system:serviceaccounts:%s", ns));
	}
	bool anonymous = strcmp(name, "system:anonymous") == 0, there = false;
	const char *implied = anonymous ? "system:unauthenticated" : "system:authenticated";
	for (uint32_t i = 0; i < h.groups.len; i++)
		there |= strcmp(h.groups.items[i], implied) == 0 || strcmp(h.groups.items[i], "system:unauthenticated") == 0;
	if (!there)
		api_string_list_add(r->arena, &h.groups, implied);
	r->impersonation = mode->name ? arena_printf(r->arena, "impersonate:%s", mode->name) : NULL;
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
