/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/authn.h"
#include "apiserver/audit/audit.h"
#include "apiserver/authn/authorities.h"
#include "apiserver/authn/frontproxy.h"
#include "apiserver/authn/jwt.h"
#include "apiserver/authn/tokenwebhook.h"
#include "apiserver/request/steps.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "apiserver/request/metrics.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/http/websocket.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>

#define MAX_TOKEN_FILE (1u << 20)

struct static_token {
	char *name, *uid;
	char **groups; /* NULL terminated */
};

struct authenticator {
	struct apiserver *server;
	struct signer *signer;
	struct map tokens; /* token -> struct static_token * */
	struct authorities *authorities;
	struct jwt_authn *jwt;
	struct token_webhook *webhook; /* NULL: none */
};

static void static_token_free(void *arg) {
	struct static_token *token = arg;
	for (char **g = token->groups; g && *g; g++)
		free(*g);
	free(token->groups);
	free(token->name);
	free(token->uid);
	free(token);
}

/* ---- the static file: token,user,uid,"group1,group2" ---- */

/* One CSV field; advances *p past its comma. The caller frees. */
static char *csv_field(char **p) {
	struct buf out = BUF_INIT(64 << 10);
	buf_append_str(&out, "");
	char *s = *p;
	while (*s == ' ')
		s++;
	if (*s == '"') {
		for (s++; *s && !(*s == '"' && s[1] != '"'); s++) {
			if (*s == '"')
				s++;
			buf_append_char(&out, *s);
		}
		if (*s == '"')
			s++;
		s += strcspn(s, ",");
	} else {
		size_t len = strcspn(s, ",");
		buf_append(&out, s, len);
		s += len;
	}
	*p = *s == ',' ? s + 1 : s;
	char *text = buf_take(&out);
	return text ? text : xstrdup("");
}

static void add_static(struct authenticator *a, char *line) {
	if (!*line || *line == '#')
		return;
	autofree char *token = csv_field(&line);
	struct static_token *entry = xnew(struct static_token);
	entry->name = csv_field(&line);
	entry->uid = csv_field(&line);
	autofree char *groups = csv_field(&line);
	size_t count = 0;
	char *save = NULL;
	for (char *g = strtok_r(groups, ",", &save); g; g = strtok_r(NULL, ",", &save)) {
		entry->groups = xreallocarray(entry->groups, count + 2, sizeof(char *));
		entry->groups[count++] = xstrdup(g);
		entry->groups[count] = NULL;
	}
	if (*token && *entry->name)
		map_set(&a->tokens, token, entry);
	else
		static_token_free(entry);
}

static int load_tokens(struct authenticator *a, const char *path, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, path, MAX_TOKEN_FILE, &text, &len, err);
	if (rc < 0)
		return rc;
	char *save = NULL;
	for (char *line = strtok_r(text, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save))
		add_static(a, line);
	memset(text, 0, len);
	return 0;
}

int authn_new(struct apiserver *server, struct authenticator **ret, struct error *err) {
	struct authenticator *a = xnew(struct authenticator);
	a->server = server;
	a->tokens = MAP_INIT(static_token_free);
	int rc = signer_new(server, &a->signer, err);
	if (rc == 0 && !str_empty(server->options->token_auth_file))
		rc = load_tokens(a, server->options->token_auth_file, err);
	if (rc == 0)
		rc = authorities_new(server, &a->authorities, err);
	if (rc == 0)
		rc = jwt_authn_new(server, &a->jwt, err);
	if (rc == 0)
		rc = token_webhook_new(server, &a->webhook, err);
	if (rc < 0) {
		authn_free(a);
		return rc;
	}
	*ret = a;
	return 0;
}

void authn_stop(struct authenticator *a) {
	if (!a)
		return;
	authorities_free(take_ptr(a->authorities));
	jwt_authn_free(take_ptr(a->jwt));
	token_webhook_free(take_ptr(a->webhook));
}

void authn_free(struct authenticator *a) {
	if (!a)
		return;
	authn_stop(a);
	signer_free(a->signer);
	map_done(&a->tokens);
	free(a);
}

struct signer *authn_signer(struct authenticator *a) {
	return a->signer;
}

/* ---- tokens ---- */

static const char **with_authenticated(struct arena *arena, const char *const *groups) {
	size_t len = 0;
	while (groups && groups[len])
		len++;
	const char **all = arena_calloc(arena, len + 2, sizeof(*all));
	bool there = false;
	for (size_t i = 0; i < len; i++) {
		all[i] = arena_strdup(arena, groups[i]);
		there |= strcmp(groups[i], "system:authenticated") == 0;
	}
	if (!there)
		all[len] = "system:authenticated";
	return all;
}

/* kube-system/bootstrap-token-<id> with token-id, token-secret, expiration, usage-bootstrap-authentication. */
static int bootstrap_token(struct authenticator *a, const char *token, struct arena *arena, struct user **ret) {
	if (strlen(token) != 23 || token[6] != '.' || strspn(token, "abcdefghijklmnopqrstuvwxyz0123456789.") != 23)
		return 0;
	autofree char *name = xprintf("bootstrap-token-%.6s", token);
	struct core_v1_secret *secret = registry_read(a->server->registry, "", "secrets", "kube-system", name);
	if (!secret)
		return 0;
	struct { const char *key; const char *value; } wanted[] = {{"token-id", ""}, {"token-secret", ""}, {"expiration", ""}, {"usage-bootstrap-authentication", ""}, {"auth-extra-groups", ""}};
	for (uint32_t i = 0; i < secret->data.len; i++)
		for (size_t n = 0; n < array_len(wanted); n++)
			if (strcmp(secret->data.items[i].key, wanted[n].key) == 0)
				wanted[n].value = arena_strndup(arena, (const char *)secret->data.items[i].value.data, secret->data.items[i].value.len);
	bool good = str_equal(secret->type, "bootstrap.kubernetes.io/token") && !secret->metadata.deletion_timestamp.set && strncmp(token, wanted[0].value, 6) == 0 && strlen(wanted[0].value) == 6 &&
		    strcmp(token + 7, wanted[1].value) == 0 && strcmp(wanted[3].value, "true") == 0;
	struct wall_time expires;
	if (*wanted[2].value && (time_parse_rfc3339(wanted[2].value, strlen(wanted[2].value), &expires) < 0 || expires.sec < clock_wall().sec))
		good = false;
	api_unref(secret);
	if (!good)
		return 0;
	struct user *user = arena_new_type(arena, struct user);
	user->name = arena_printf(arena, "system:bootstrap:%.6s", token);
	const char *groups[32] = {"system:bootstrappers"};
	size_t count = 1;
	char *save = NULL, *extra = arena_strdup(arena, wanted[4].value);
	for (char *g = strtok_r(extra, ",", &save); g && count < array_len(groups) - 1; g = strtok_r(NULL, ",", &save))
		if (str_starts_with(g, "system:bootstrappers:"))
			groups[count++] = g;
	user->groups = with_authenticated(arena, groups);
	*ret = user;
	return 1;
}

/* Whose token it may be. */
struct question {
	const char *token;
	const char *const *audiences; /* NULL: those of this server */
	struct arena *arena;
	struct asks *asks;
};

static int check_static(struct authenticator *a, const struct question *q, struct user **ret, const char *const **ret_audiences, struct error *err) {
	const struct static_token *known = map_get(&a->tokens, q->token);
	if (!known)
		return 0;
	struct user *user = arena_new_type(q->arena, struct user);
	user->name = known->name;
	user->uid = known->uid;
	user->groups = (const char *const *)known->groups;
	*ret = user;
	return 1;
}

static int check_account(struct authenticator *a, const struct question *q, struct user **ret, const char *const **ret_audiences, struct error *err) {
	return signer_verify(a->signer, q->token, q->audiences, q->arena, ret, ret_audiences, err);
}

static int check_bootstrap(struct authenticator *a, const struct question *q, struct user **ret, const char *const **ret_audiences, struct error *err) {
	return bootstrap_token(a, q->token, q->arena, ret);
}

static int check_jwt(struct authenticator *a, const struct question *q, struct user **ret, const char *const **ret_audiences, struct error *err) {
	return jwt_authn_check(a->jwt, q->token, q->arena, q->asks, ret, err);
}

static int check_webhook(struct authenticator *a, const struct question *q, struct user **ret, const char *const **ret_audiences, struct error *err) {
	return a->webhook ? token_webhook_check(a->webhook, q->token, q->audiences, signer_audiences(a->signer), q->arena, q->asks, ret, ret_audiences, err) : 0;
}

/* In the order in which they are tried. */
static const struct {
	/* 1 and the user; 0: it does not know the token, or something is lacking; negative: it refuses it. */
	int (*check)(struct authenticator *a, const struct question *q, struct user **ret, const char *const **ret_audiences, struct error *err);
	bool names_audiences; /* in *ret_audiences; the tokens of others are good for this server's own alone */
} kinds[] = {
	{check_static, false},
	{check_account, true},
	{check_bootstrap, false},
	{check_jwt, false},
	{check_webhook, true},
};

/* Those of the server's own that were asked for; NULL: none was. */
static const char *const *own_audiences(struct authenticator *a, const struct question *q) {
	const char *const *own = signer_audiences(a->signer);
	size_t len = 0, count = 0;
	if (!q->audiences)
		return own;
	while (own[count])
		count++;
	const char **good = arena_calloc(q->arena, count + 1, sizeof(*good));
	for (size_t i = 0; i < count; i++)
		for (const char *const *w = q->audiences; *w; w++)
			if (strcmp(own[i], *w) == 0) {
				good[len++] = own[i];
				break;
			}
	return len ? good : NULL;
}

int authn_token(struct authenticator *a, const char *token, const char *const *audiences, struct arena *arena, struct asks *asks, struct user **ret, const char *const **ret_audiences, struct error *err) {
	const struct question q = {.token = token, .audiences = audiences && *audiences ? audiences : NULL, .arena = arena, .asks = asks};
	autobuf struct buf refusals = BUF_INIT(16 << 10);
	for (size_t i = 0; i < array_len(kinds); i++) {
		autoerror struct error why = {0};
		const char *const *good = NULL;
		struct user *user;
		int rc = kinds[i].check(a, &q, &user, &good, &why);
		if (rc == 1 && !kinds[i].names_audiences) {
			good = own_audiences(a, &q);
			rc = good ? 1 : 0;
		}
		if (asks && asks_lacking(asks))
			return 0;
		if (rc < 0)
			buf_printf(&refusals, "%s%s", refusals.len ? ", " : "", error_message(&why));
		if (rc != 1)
			continue;
		user->groups = with_authenticated(arena, user->groups);
		*ret = user;
		if (ret_audiences)
			*ret_audiences = good;
		return 1;
	}
	return refusals.len ? error_set(err, EACCES, "%s", (const char *)refusals.data) : 0;
}

/* ---- the steps ---- */

static struct user *certificate_user(struct request *r, const struct http_peer_cert *cert) {
	struct user *user = arena_new_type(r->arena, struct user);
	user->name = cert->common_name;
	user->groups = with_authenticated(r->arena, cert->organizations);
	char digest[65];
	sha256_hex(cert->der, cert->der_len, digest);
	const char **values = arena_calloc(r->arena, 2, sizeof(*values));
	values[0] = arena_printf(r->arena, "X509SHA256=%s", digest);
	user->extra = arena_calloc(r->arena, 1, sizeof(*user->extra));
	user->extra[0] = (struct user_extra){.key = "authentication.kubernetes.io/credential-id", .values = values};
	user->extra_count = 1;
	return user;
}

static int unauthorized(struct request *r, struct error *err) {
	audit_unauthenticated(r);
	return error_status(err, 401, "Unauthorized", "Unauthorized");
}

/* The token that a WebSocket offers as one of its subprotocols. Another is needed beside it: the answer names one, and never the token. *ret_wrong: it is no proper one. */
static const char *token_of_protocols(struct request *r, bool *ret_wrong) {
	const char *protocols = websocket_requested(r->http) ? http_header(r->http, "Sec-WebSocket-Protocol") : NULL;
	const char *at = NULL;
	size_t others = 0, tokens = 0;
	for (const char *p = protocols; p && *(p += strspn(p, ", \t")); p += strcspn(p, ",")) {
		bool is_token = str_starts_with(p, WEBSOCKET_BEARER);
		at = is_token ? p + sizeof(WEBSOCKET_BEARER) - 1 : at;
		tokens += is_token;
		others += !is_token;
	}
	if (!at)
		return NULL;
	uint8_t *data;
	size_t len;
	*ret_wrong = tokens > 1 || base64_decode(at, strcspn(at, ", \t"), 64 << 10, &data, &len) < 0;
	if (*ret_wrong)
		return NULL;
	char *token = len ? arena_strndup(r->arena, (char *)data, len) : NULL;
	*ret_wrong = token && !others;
	free(data);
	return token;
}

/* The token of "Authorization: Bearer x", or of a subprotocol; NULL where none, or *ret_wrong. */
static const char *bearer(struct request *r, bool *ret_wrong) {
	const char *header = http_header(r->http, "Authorization");
	header = header ? header + strspn(header, " \t") : NULL;
	if (header && strncasecmp(header, "Bearer ", 7) == 0) {
		size_t len = strcspn(header + 7, " ");
		if (len)
			return arena_strndup(r->arena, header + 7, len);
		if (header[7 + strspn(header + 7, " ")])
			request_warn(r, "the provided Authorization header contains extra space before the bearer token, and is ignored");
	}
	return token_of_protocols(r, ret_wrong);
}

/* By the flag, or for the paths that the configuration names. */
static bool may_be_anonymous(const struct request *r) {
	const struct apiserver_v1_anonymous_auth_config *config = jwt_authn_anonymous(r->server->authn->jwt);
	if (!config)
		return r->server->options->anonymous_auth;
	bool may = config->enabled && !config->conditions.len;
	for (uint32_t i = 0; config->enabled && i < config->conditions.len; i++)
		may |= str_equal(config->conditions.items[i].path, r->path);
	return may;
}

static int authenticate(struct request *r, enum authentication_result *ret_result, struct error *err) {
	const struct http_peer_cert *cert = http_peer_certificate(r->http);
	struct user *user = NULL;
	if (cert && !str_empty(cert->common_name)) {
		struct authorities *authorities = r->server->authn->authorities;
		if (authorities_vouch_proxy(authorities, cert))
			user = front_proxy_user(r, cert);
		if (!user && authorities_vouch_user(authorities, cert))
			user = certificate_user(r, cert);
		if (!user)
			return unauthorized(r, err);
		request_metrics_certificate(cert->not_after - clock_wall().sec);
		*ret_result = AUTHENTICATION_SUCCESS;
		r->user = user;
		return 0;
	}
	bool wrong = false;
	const char *token = bearer(r, &wrong);
	if (wrong) {
		*ret_result = AUTHENTICATION_ERROR;
		return unauthorized(r, err);
	}
	if (token) {
		autoerror struct error why = {0};
		int rc = authn_token(r->server->authn, token, NULL, r->arena, &r->asks, &user, NULL, &why);
		if (asks_lacking(&r->asks))
			return 0;
		if (rc != 1) {
			*ret_result = rc < 0 ? AUTHENTICATION_ERROR : AUTHENTICATION_FAILURE;
			return unauthorized(r, err);
		}
		*ret_result = AUTHENTICATION_SUCCESS;
		r->user = user;
		return 0;
	}
	/* Whatever else says who one is says it to somebody else. */
	if (!may_be_anonymous(r))
		return unauthorized(r, err);
	static const char *const groups[] = {"system:unauthenticated", NULL};
	static const struct user anonymous = {.name = "system:anonymous", .groups = groups};
	*ret_result = AUTHENTICATION_SUCCESS;
	r->user = &anonymous;
	return 0;
}

int step_authenticate(struct request *r, struct error *err) {
	enum authentication_result result = AUTHENTICATION_FAILURE;
	int64_t began = clock_monotonic_ns();
	int rc = authenticate(r, &result, err);
	/* Somebody else is asked first: it runs again then. */
	if (rc == 0 && asks_lacking(&r->asks))
		return 0;
	request_metrics_authenticated(result, rc < 0 ? "" : r->user->name, clock_monotonic_ns() - began);
	return rc;
}
