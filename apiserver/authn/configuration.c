/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/configuration.h"
#include "apiserver/configfile.h"
#include "apiserver/validation/validation.h"
#include "common/base/file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>

#define MAX_ISSUERS 64
#define MAX_CA ((size_t)1 << 20)
#define WHAT "authentication configuration"

static const char *const versions[] = {"apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1", NULL};

static void rules_done(struct authn_rules *rules) {
	for (size_t i = 0; i < rules->count; i++)
		cel_program_free(rules->items[i].program);
	free(rules->items);
}

struct authn_config *authn_config_ref(struct authn_config *config) {
	__atomic_add_fetch(&config->refs, 1, __ATOMIC_RELAXED);
	return config;
}

void authn_config_unref(struct authn_config *config) {
	if (!config || __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < config->count; i++) {
		struct authn_issuer *issuer = &config->issuers[i];
		cel_program_free(issuer->username);
		cel_program_free(issuer->groups);
		cel_program_free(issuer->uid);
		rules_done(&issuer->extra);
		rules_done(&issuer->claims);
		rules_done(&issuer->users);
	}
	free(config->issuers);
	cel_env_free(config->env_claims);
	cel_env_free(config->env_user);
	api_unref(config->object);
	free(config);
}

/* ---- what expressions may speak of ---- */

#define FIELD(name_, type_) {.name = (name_), .key = (name_), .type = (type_)}

static void make_environments(struct authn_config *config) {
	config->env_claims = cel_env_new();
	cel_env_add(config->env_claims, "claims", cel_map_of(cel_env_arena(config->env_claims), &cel_string, &cel_dyn));
	config->env_user = cel_env_new();
	struct arena *arena = cel_env_arena(config->env_user);
	const struct cel_type *strings = cel_list_of(arena, &cel_string);
	const struct cel_field fields[] = {FIELD("username", &cel_string), FIELD("uid", &cel_string), FIELD("groups", strings), FIELD("extra", cel_map_of(arena, &cel_string, strings))};
	config->user_type = cel_object_of(arena, "kubernetes.UserInfo", fields, array_len(fields));
	cel_env_add(config->env_user, "user", config->user_type);
}

/* NULL, and a cause, where it is none. `truth`: it must come to a bool. */
static struct cel_program *compile(const struct cel_env *env, const char *text, bool truth, const struct path *path, struct error *err) {
	struct cel_program *program;
	autoerror struct error why = {0};
	if (cel_compile(env, text, &program, &why) < 0) {
		invalid(err, path, text, "%s", error_message(&why));
		return NULL;
	}
	if (truth && cel_program_type(program)->kind != CEL_BOOL) {
		invalid(err, path, text, "must evaluate to bool");
		return cel_program_free(program);
	}
	return program;
}

static void add_rule(struct authn_rules *rules, const char *text, const char *message, struct cel_program *take_program) {
	if (!take_program)
		return;
	rules->items = xreallocarray(rules->items, rules->count + 1, sizeof(*rules->items));
	rules->items[rules->count++] = (struct authn_rule){.text = text, .message = str_or(message, ""), .program = take_program};
}

/* Whether an expression speaks of claims.<name>, or claims.?<name>. */
static bool uses_claim(const char *text, const char *name) {
	size_t len = strlen(name);
	for (const char *p = text; p && (p = strstr(p, "claims")); p++) {
		if (p > text && (isalnum((unsigned char)p[-1]) || strchr("_.", p[-1])))
			continue;
		const char *q = p + strlen("claims");
		q += strspn(q, " \t\n");
		if (*q++ != '.')
			continue;
		q += strspn(q, " \t\n?");
		if (strncmp(q, name, len) == 0 && !isalnum((unsigned char)q[len]) && q[len] != '_')
			return true;
	}
	return false;
}

/* ---- issuers ---- */

static bool listed(const struct flag_list *list, const char *text) {
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

static void check_url(const char *url, const struct flag_list *own, const struct path *path, struct error *err) {
	const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url + strlen(url);
	size_t authority = strcspn(host, "/?#");
	if (own && listed(own, url)) {
		autobuf struct buf all = BUF_INIT(64 << 10);
		for (size_t i = 0; i < own->len; i++)
			buf_printf(&all, "%s%s", i ? " " : "", own->items[i]);
		invalid(err, path, url, "URL must not overlap with disallowed issuers: [%s]", str_or(all.data, ""));
	}
	for (const char *p = url; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return invalid(err, path, url, "parse \"%s\": invalid character in URL", url);
	if (!str_starts_with(url, "https://"))
		invalid(err, path, url, "URL scheme must be https");
	if (memchr(host, '@', authority))
		invalid(err, path, url, "URL must not contain a username or password");
	const char *query = strchr(url, '?'), *fragment = strchr(url, '#');
	if (query && (!fragment || query < fragment) && query[1] && query + 1 != fragment)
		invalid(err, path, url, "URL must not contain a query");
	if (fragment && fragment[1])
		invalid(err, path, url, "URL must not contain a fragment");
}

static size_t without_slashes(const char *url) {
	size_t len = strlen(url);
	while (len && url[len - 1] == '/')
		len--;
	return len;
}

static void check_discovery(const char *url, const char *discovery, const struct path *path, struct error *err) {
	if (str_empty(discovery))
		return;
	size_t len = without_slashes(discovery);
	if (!str_empty(url) && without_slashes(url) == len && strncmp(url, discovery, len) == 0)
		invalid(err, path, discovery, "discoveryURL must be different from URL");
	check_url(discovery, NULL, path, err);
}

static void check_audiences(const struct apiserver_v1_issuer *issuer, const struct path *at, struct error *err) {
	const struct api_string_list *list = &issuer->audiences;
	struct path policy = PATH(at, "audienceMatchPolicy");
	if (!list->len) {
		autobuf struct buf where = BUF_INIT(4096);
		path_write(AT("audiences"), &where);
		autofree char *text = xprintf("at least one %s is required", str_or(where.data, "audience"));
		return required(err, AT("audiences"), text);
	}
	for (uint32_t i = 0; i < list->len; i++) {
		if (str_empty(list->items[i]))
			required(err, AT_INDEX("audiences", i), "");
		bool seen = false;
		for (uint32_t n = 0; n < i; n++)
			seen |= str_equal(list->items[n], list->items[i]);
		if (seen)
			duplicate(err, AT_INDEX("audiences", i), list->items[i]);
	}
	bool any = str_equal(issuer->audience_match_policy, "MatchAny");
	if (list->len > 1 && !any)
		invalid(err, &policy, str_or(issuer->audience_match_policy, ""), "audienceMatchPolicy must be MatchAny for multiple audiences");
	if (list->len == 1 && !str_empty(issuer->audience_match_policy) && !any)
		invalid(err, &policy, issuer->audience_match_policy, "audienceMatchPolicy must be empty or MatchAny for single audience");
}

static void check_ca(const char *pem, const struct path *path, struct error *err) {
	if (str_empty(pem))
		return;
	gnutls_x509_trust_list_t list;
	gnutls_datum_t data = {.data = (unsigned char *)pem, .size = (unsigned)strlen(pem)};
	gnutls_x509_trust_list_init(&list, 0);
	if (gnutls_x509_trust_list_add_trust_mem(list, &data, NULL, GNUTLS_X509_FMT_PEM, 0, 0) <= 0)
		invalid(err, path, "<omitted>", "data does not contain any valid RSA or ECDSA certificates");
	gnutls_x509_trust_list_deinit(list, 1);
}

static void check_issuer(const struct apiserver_v1_issuer *issuer, const struct flag_list *own, const struct path *at, struct error *err) {
	if (str_empty(issuer->url))
		required(err, AT("url"), "");
	else
		check_url(issuer->url, own, AT("url"), err);
	check_discovery(issuer->url, issuer->discovery_url, AT("discoveryURL"), err);
	check_audiences(issuer, at, err);
	check_ca(issuer->certificate_authority, AT("certificateAuthority"), err);
	if (!str_empty(issuer->egress_selector_type)) {
		bool known = str_equal(issuer->egress_selector_type, "controlplane") || str_equal(issuer->egress_selector_type, "cluster");
		invalid(err, AT("egressSelectorType"), issuer->egress_selector_type, known ? "egress selectors are not supported: issuers are dialed directly" : "egress selector must be either controlplane or cluster");
	}
}

/* ---- rules and mappings ---- */

static void check_claim_rules(struct authn_config *config, struct authn_issuer *issuer, const struct path *above, struct error *err) {
	const struct apiserver_v1_claim_validation_rule_array *rules = &issuer->spec->claim_validation_rules;
	for (uint32_t i = 0; i < rules->len; i++) {
		const struct apiserver_v1_claim_validation_rule *rule = &rules->items[i];
		const struct path here = PATH_INDEX(above, "claimValidationRules", i), *at = &here;
		bool claim = !str_empty(rule->claim), expression = !str_empty(rule->expression), seen = false;
		for (uint32_t n = 0; n < i; n++)
			seen |= claim ? str_equal(rules->items[n].claim, rule->claim) : str_equal(rules->items[n].expression, rule->expression);
		if (claim && expression) {
			invalid(err, at, rule->claim, "claim and expression can't both be set");
		} else if (!claim && !expression) {
			required(err, at, "claim or expression is required");
		} else if (claim) {
			if (!str_empty(rule->message))
				invalid(err, AT("message"), rule->message, "may not be specified when claim is set");
			if (seen)
				duplicate(err, AT("claim"), rule->claim);
		} else {
			if (!str_empty(rule->required_value))
				invalid(err, AT("requiredValue"), rule->required_value, "may not be specified when expression is set");
			if (seen)
				duplicate(err, AT("expression"), rule->expression);
			else
				add_rule(&issuer->claims, rule->expression, rule->message, compile(config->env_claims, rule->expression, true, AT("expression"), err));
		}
	}
}

static struct cel_program *check_mapping(struct authn_config *config, const struct apiserver_v1_prefixed_claim_or_expression *mapping, bool needed, const struct path *at, struct error *err) {
	bool claim = !str_empty(mapping->claim), expression = !str_empty(mapping->expression);
	if (claim && expression) {
		invalid(err, at, "", "claim and expression can't both be set");
	} else if (!claim && !expression && needed) {
		required(err, at, "claim or expression is required");
	} else if (expression) {
		if (mapping->prefix)
			invalid(err, AT("prefix"), mapping->prefix, "may not be specified when expression is set");
		return compile(config->env_claims, mapping->expression, false, AT("expression"), err);
	} else if (claim && !mapping->prefix) {
		required(err, AT("prefix"), "prefix is required when claim is set. It can be set to an empty string to disable prefixing");
	}
	return NULL;
}

static bool is_kubernetes(const char *key) {
	const char *slash = strchr(key, '/');
	if (!slash)
		return false;
	autofree char *domain = xstrndup(key, (size_t)(slash - key));
	return strcmp(domain, "kubernetes.io") == 0 || strcmp(domain, "k8s.io") == 0 || str_ends_with(domain, ".kubernetes.io") || str_ends_with(domain, ".k8s.io");
}

/* example.org/path */
static void check_key(const char *key, const struct path *path, struct error *err) {
	const char *slash = strchr(key, '/');
	if (!*key)
		return required(err, path, "");
	if (!slash || !slash[1]) {
		invalid(err, path, key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
	} else {
		autofree char *domain = xstrndup(key, (size_t)(slash - key));
		const char *wrong = format_error(format_dns_subdomain, domain);
		if (wrong)
			invalid(err, path, domain, "%s", wrong);
		for (const char *p = slash + 1; *p; p++)
			if (!isalnum((unsigned char)*p) && !strchr("/-._~%!$&'()*+,;=:", *p)) {
				invalid(err, path, slash + 1, "Invalid path");
				break;
			}
	}
	for (const char *p = key; *p; p++)
		if (isupper((unsigned char)*p)) {
			invalid(err, path, key, "must be lowercase");
			break;
		}
	if (is_kubernetes(key))
		invalid(err, path, key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
}

static void check_extra(struct authn_config *config, struct authn_issuer *issuer, const struct path *above, struct error *err) {
	const struct apiserver_v1_extra_mapping_array *list = &issuer->spec->claim_mappings.extra;
	for (uint32_t i = 0; i < list->len; i++) {
		const struct path here = PATH_INDEX(above, "extra", i), *at = &here;
		const char *key = str_or(list->items[i].key, ""), *text = list->items[i].value_expression;
		bool seen = false;
		check_key(key, AT("key"), err);
		for (uint32_t n = 0; n < i; n++)
			seen |= str_equal(list->items[n].key, key);
		if (seen)
			duplicate(err, AT("key"), key);
		else if (str_empty(text))
			required(err, AT("valueExpression"), "");
		else
			add_rule(&issuer->extra, text, key, compile(config->env_claims, text, false, AT("valueExpression"), err));
	}
}

static void check_mappings(struct authn_config *config, struct authn_issuer *issuer, const struct path *at, struct error *err) {
	const struct apiserver_v1_claim_mappings *m = &issuer->spec->claim_mappings;
	issuer->username = check_mapping(config, &m->username, true, AT("username"), err);
	issuer->groups = check_mapping(config, &m->groups, false, AT("groups"), err);
	const struct path uid = PATH(at, "uid");
	if (!str_empty(m->uid.claim) && !str_empty(m->uid.expression))
		invalid(err, &uid, "", "claim and expression can't both be set");
	else if (!str_empty(m->uid.expression))
		issuer->uid = compile(config->env_claims, m->uid.expression, false, &PATH(&uid, "expression"), err);
	check_extra(config, issuer, at, err);
	/* An address that nobody has verified names nobody. */
	bool verified = !issuer->username || uses_claim(m->username.expression, "email_verified");
	for (size_t i = 0; i < issuer->extra.count; i++)
		verified |= uses_claim(issuer->extra.items[i].text, "email_verified");
	for (size_t i = 0; i < issuer->claims.count; i++)
		verified |= uses_claim(issuer->claims.items[i].text, "email_verified");
	if (!verified && uses_claim(m->username.expression, "email"))
		invalid(err, &PATH(AT("username"), "expression"), m->username.expression,
			"claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression");
}

static void check_user_rules(struct authn_config *config, struct authn_issuer *issuer, const struct path *above, struct error *err) {
	const struct apiserver_v1_user_validation_rule_array *rules = &issuer->spec->user_validation_rules;
	for (uint32_t i = 0; i < rules->len; i++) {
		const struct path here = PATH_INDEX(above, "userValidationRules", i), *at = &here;
		const char *text = rules->items[i].expression;
		bool seen = false;
		for (uint32_t n = 0; n < i; n++)
			seen |= str_equal(rules->items[n].expression, text);
		if (str_empty(text))
			required(err, AT("expression"), "");
		else if (seen)
			duplicate(err, AT("expression"), text);
		else
			add_rule(&issuer->users, text, rules->items[i].message, compile(config->env_user, text, true, AT("expression"), err));
	}
}

/* ---- the whole ---- */

static void check(struct authn_config *config, const struct flag_list *own, struct error *err) {
	const struct apiserver_v1_jwt_authenticator_array *list = &config->object->jwt;
	const struct path root = PATH(NULL, "jwt");
	if (list->len > MAX_ISSUERS)
		return too_many(err, &root, list->len, MAX_ISSUERS);
	config->issuers = xcalloc(list->len + 1, sizeof(*config->issuers));
	for (uint32_t i = 0; i < list->len; i++) {
		struct authn_issuer *issuer = &config->issuers[config->count++];
		const struct path here = PATH_INDEX(NULL, "jwt", i), *at = &here, where = PATH(&here, "issuer");
		issuer->spec = &list->items[i];
		check_issuer(&issuer->spec->issuer, own, &where, err);
		check_claim_rules(config, issuer, at, err);
		check_mappings(config, issuer, AT("claimMappings"), err);
		check_user_rules(config, issuer, at, err);
		bool url = false, discovery = false;
		for (uint32_t n = 0; n < i; n++) {
			url |= str_equal(list->items[n].issuer.url, issuer->spec->issuer.url);
			discovery |= !str_empty(issuer->spec->issuer.discovery_url) && str_equal(list->items[n].issuer.discovery_url, issuer->spec->issuer.discovery_url);
		}
		if (url)
			duplicate(err, &PATH(&where, "url"), str_or(issuer->spec->issuer.url, ""));
		if (discovery)
			duplicate(err, &PATH(&where, "discoveryURL"), issuer->spec->issuer.discovery_url);
	}
	const struct apiserver_v1_anonymous_auth_config *anonymous = config->object->anonymous;
	const struct path above = PATH(NULL, "anonymous");
	if (anonymous && !anonymous->enabled && anonymous->conditions.len)
		invalid_plain(err, &PATH(&above, "conditions"), "enabled should be set to true when conditions are defined");
}

static int make(struct apiserver_v1_authentication_configuration *take_object, const struct flag_list *own, struct authn_config **ret, struct error *err) {
	struct authn_config *config = xnew(struct authn_config);
	autoerror struct error found = {0};
	*config = (struct authn_config){.refs = 1, .object = take_object};
	make_environments(config);
	check(config, own, &found);
	int rc = configfile_verdict(&found, WHAT, err);
	if (rc < 0)
		authn_config_unref(config);
	else
		*ret = config;
	return rc;
}

int authn_config_parse(const char *text, size_t len, const struct flag_list *own, struct authn_config **ret, struct error *err) {
	void *object;
	int rc = configfile_parse(text, len, &apiserver_v1_authentication_configuration_type, versions, &object, err);
	return rc < 0 ? rc : make(object, own, ret, err);
}

int authn_config_read(const char *path, const struct flag_list *own, struct authn_config **ret, struct error *err) {
	void *object;
	int rc = configfile_read(path, &apiserver_v1_authentication_configuration_type, versions, &object, err);
	if (rc == 0)
		rc = make(object, own, ret, err);
	return rc < 0 ? error_context(err, "%s %s", WHAT, path) : 0;
}

static bool any_given(const struct apiserver_options *o) {
	const char *const texts[] = {o->oidc_issuer_url, o->oidc_client_id, o->oidc_username_prefix, o->oidc_groups_claim, o->oidc_groups_prefix, o->oidc_ca_file};
	bool given = o->oidc_required_claim.len || !str_equal(o->oidc_username_claim, "sub");
	for (size_t i = 0; i < array_len(texts); i++)
		given |= !str_empty(texts[i]);
	return given || o->oidc_signing_algs.len != 1 || !str_equal(o->oidc_signing_algs.items[0], "RS256");
}

static int fill_from_flags(const struct apiserver_options *o, struct arena *arena, struct apiserver_v1_authentication_configuration *object, struct error *err) {
	struct apiserver_v1_jwt_authenticator *jwt = api_list_add(arena, &object->jwt);
	struct apiserver_v1_prefixed_claim_or_expression *username = &jwt->claim_mappings.username, *groups = &jwt->claim_mappings.groups;
	jwt->issuer.url = o->oidc_issuer_url;
	api_string_list_add(arena, &jwt->issuer.audiences, o->oidc_client_id);
	username->claim = o->oidc_username_claim;
	/* Names other than addresses are told apart by their issuer, unless somebody says otherwise; "-" is no prefix. */
	if (!str_empty(o->oidc_username_prefix))
		username->prefix = strcmp(o->oidc_username_prefix, "-") == 0 ? "" : o->oidc_username_prefix;
	else
		username->prefix = str_equal(o->oidc_username_claim, "email") ? "" : arena_printf(arena, "%s#", o->oidc_issuer_url);
	if (!str_empty(o->oidc_groups_claim))
		*groups = (struct apiserver_v1_prefixed_claim_or_expression){.claim = o->oidc_groups_claim, .prefix = str_or(o->oidc_groups_prefix, "")};
	for (size_t i = 0; i < o->oidc_required_claim.len; i++) {
		const char *item = o->oidc_required_claim.items[i], *equals = strchr(item, '=');
		if (!equals)
			return error_set(err, EINVAL, "--oidc-required-claim: \"%s\" is no key=value", item);
		struct apiserver_v1_claim_validation_rule *rule = api_list_add(arena, &jwt->claim_validation_rules);
		rule->claim = arena_strndup(arena, item, (size_t)(equals - item));
		rule->required_value = arena_strdup(arena, equals + 1);
	}
	if (str_empty(o->oidc_ca_file))
		return 0;
	autofree char *pem = NULL;
	int rc = file_read(AT_FDCWD, o->oidc_ca_file, MAX_CA, &pem, NULL, err);
	if (rc < 0)
		return error_context(err, "--oidc-ca-file");
	jwt->issuer.certificate_authority = arena_strdup(arena, pem);
	return 0;
}

int authn_config_of_flags(const struct apiserver_options *o, struct authn_config **ret, struct error *err) {
	*ret = NULL;
	if (!any_given(o))
		return 0;
	if (!str_empty(o->authentication_config))
		return error_set(err, EINVAL, "--authentication-config and the flags --oidc-* exclude each other");
	if (str_empty(o->oidc_issuer_url) || str_empty(o->oidc_client_id))
		return error_set(err, EINVAL, "--oidc-issuer-url and --oidc-client-id must be given together where any flag --oidc-* is");
	struct apiserver_v1_authentication_configuration *object = api_new_of(apiserver_v1_authentication_configuration);
	int rc = fill_from_flags(o, api_arena(object), object, err);
	if (rc < 0) {
		api_unref(object);
		return rc;
	}
	return make(object, &o->service_account_issuer, ret, err);
}
