/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authz/configuration.h"
#include "apiserver/configfile.h"
#include "apiserver/validation/validation.h"
#include "common/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <sys/stat.h>

#define WHAT "authorization configuration"
#define MAX_CONDITIONS 64
#define LONGEST_NS (30 * NSEC_PER_SEC)
#define DEFAULT_AUTHORIZED_NS (300 * NSEC_PER_SEC)
#define DEFAULT_UNAUTHORIZED_NS (30 * NSEC_PER_SEC)

static const char *const versions[] = {"apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1", NULL};

/* ---- match conditions ---- */

struct authz_conditions {
	struct cel_env *env;
	const struct cel_type *type;
	struct cel_program *programs[MAX_CONDITIONS];
	const char *texts[MAX_CONDITIONS];
	size_t count;
};

#define FIELD(name_, type_) {.name = (name_), .key = (name_), .type = (type_)}
#define OBJECT(arena_, name_, ...) cel_object_of(arena_, name_, (const struct cel_field[]){__VA_ARGS__}, array_len(((const struct cel_field[]){__VA_ARGS__})))

static void make_environment(struct authz_conditions *c) {
	c->env = cel_env_new();
	struct arena *arena = cel_env_arena(c->env);
	const struct cel_type *strings = cel_list_of(arena, &cel_string);
	const struct cel_type *requirements = cel_list_of(arena, OBJECT(arena, "kubernetes.SelectorRequirement", FIELD("key", &cel_string), FIELD("operator", &cel_string), FIELD("values", strings)));
	const struct cel_type *fields = OBJECT(arena, "kubernetes.FieldSelectorAttributes", FIELD("rawSelector", &cel_string), FIELD("requirements", requirements));
	const struct cel_type *labels = OBJECT(arena, "kubernetes.LabelSelectorAttributes", FIELD("rawSelector", &cel_string), FIELD("requirements", requirements));
	const struct cel_type *resource = OBJECT(arena, "kubernetes.ResourceAttributes", FIELD("namespace", &cel_string), FIELD("verb", &cel_string), FIELD("group", &cel_string), FIELD("version", &cel_string),
		FIELD("resource", &cel_string), FIELD("subresource", &cel_string), FIELD("name", &cel_string), FIELD("fieldSelector", fields), FIELD("labelSelector", labels));
	const struct cel_type *path = OBJECT(arena, "kubernetes.NonResourceAttributes", FIELD("path", &cel_string), FIELD("verb", &cel_string));
	c->type = OBJECT(arena, "kubernetes.SubjectAccessReviewSpec", FIELD("resourceAttributes", resource), FIELD("nonResourceAttributes", path), FIELD("user", &cel_string), FIELD("groups", strings),
		FIELD("extra", cel_map_of(arena, &cel_string, strings)), FIELD("uid", &cel_string));
	cel_env_add(c->env, "request", c->type);
}

void authz_conditions_free(struct authz_conditions *c) {
	if (!c)
		return;
	for (size_t i = 0; i < c->count; i++)
		cel_program_free(c->programs[i]);
	cel_env_free(c->env);
	free(c);
}

static struct cel_program *compile(const struct cel_env *env, const char *text, const struct path *path, struct error *found) {
	struct cel_program *program;
	autoerror struct error why = {0};
	if (cel_compile(env, text, &program, &why) < 0) {
		invalid(found, path, text, "%s", error_message(&why));
		return NULL;
	}
	if (cel_program_type(program)->kind == CEL_BOOL)
		return program;
	autobuf struct buf type = BUF_INIT(64 << 10);
	cel_type_append_full(cel_program_type(program), &type);
	invalid(found, path, text, "must evaluate to bool but got %s", str_or(type.data, ""));
	return cel_program_free(program);
}

static bool is_blank(const char *text) {
	return !text || text[strspn(text, " \t\r\n\v\f")] == '\0';
}

void authz_conditions_new(const struct apiserver_v1_webhook_match_condition_array *list, const struct path *at, struct authz_conditions **ret, struct error *found) {
	*ret = NULL;
	if (!list->len)
		return;
	if (list->len > MAX_CONDITIONS)
		return too_many(found, AT("matchConditions"), list->len, MAX_CONDITIONS);
	struct authz_conditions *c = xnew(struct authz_conditions);
	make_environment(c);
	for (uint32_t i = 0; i < list->len; i++) {
		const struct path item = PATH_INDEX(at, "matchConditions", i), path = PATH(&item, "expression");
		const char *text = list->items[i].expression;
		bool seen = false;
		for (uint32_t n = 0; n < i; n++)
			seen |= str_equal(list->items[n].expression, text);
		if (is_blank(text))
			required(found, &path, "");
		else if (seen)
			duplicate(found, &path, text);
		else if ((c->programs[c->count] = compile(c->env, text, &path, found)))
			c->texts[c->count++] = text;
	}
	*ret = c;
}

int authz_conditions_meet(const struct authz_conditions *c, json_t *spec, struct error *err) {
	if (!c)
		return 1;
	autorun struct cel_run *run = cel_run_new(CEL_MATCH_CONDITIONS_BUDGET);
	const struct cel_binding binding = {"request", cel_from_json(run, spec, c->type)};
	autoerror struct error first = {0};
	for (size_t i = 0; i < c->count; i++) {
		struct cel_value value;
		autoerror struct error why = {0};
		int rc = cel_evaluate(c->programs[i], run, &binding, 1, &value, &why);
		if (rc == 0 && value.kind == CEL_BOOL && !value.b)
			return 0;
		if (rc < 0 && !first.errnum)
			error_set(&first, EINVAL, "cel evaluation error: expression '%s' resulted in error: %s", c->texts[i], error_message(&why));
		if (rc == -EDQUOT)
			break;
	}
	return first.errnum ? error_move(err, &first) : 1;
}

/* ---- checks ---- */

static void check_ttl(const struct api_duration *ttl, const struct path *path, struct error *found) {
	char text[64];
	if (!ttl || !ttl->ns)
		return required(found, path, "");
	duration_format(ttl->ns, text);
	if (ttl->ns < 0)
		invalid(found, path, text, "must be > 0s");
}

static void check_timeout(const struct api_duration *timeout, const struct path *path, struct error *found) {
	char text[64];
	if (!timeout || !timeout->ns)
		return required(found, path, "");
	duration_format(timeout->ns, text);
	if (timeout->ns < 0 || timeout->ns > LONGEST_NS)
		invalid(found, path, text, "must be > 0s and <= 30s");
}

static void check_connection(const struct apiserver_v1_webhook_connection_info *info, const struct path *at, struct error *found) {
	static const char *const types[] = {"InClusterConfig", "KubeConfigFile", NULL};
	const char *file = info->kube_config_file;
	struct stat st;
	if (str_empty(info->type))
		return required(found, AT("type"), "");
	if (str_equal(info->type, "InClusterConfig")) {
		if (file)
			invalid(found, AT("kubeConfigFile"), file, "can only be set when type=KubeConfigFile");
	} else if (!str_equal(info->type, "KubeConfigFile")) {
		not_supported(found, AT("type"), info->type, types);
	} else if (str_empty(file)) {
		required(found, AT("kubeConfigFile"), "");
	} else if (*file != '/') {
		invalid(found, AT("kubeConfigFile"), file, "must be an absolute path");
	} else if (stat(file, &st) < 0) {
		invalid(found, AT("kubeConfigFile"), file, "error loading file: %s", strerror(errno));
	} else if (!S_ISREG(st.st_mode)) {
		invalid(found, AT("kubeConfigFile"), file, "must be a regular file");
	}
}

static void check_webhook(const struct apiserver_v1_webhook_configuration *hook, const struct path *at, struct error *found) {
	static const char *const reviews[] = {"v1", "v1beta1", NULL}, *const matches[] = {"v1", NULL}, *const policies[] = {"NoOpinion", "Deny", NULL};
	check_timeout(hook->timeout, AT("timeout"), found);
	check_ttl(hook->authorized_ttl, AT("authorizedTTL"), found);
	check_ttl(hook->unauthorized_ttl, AT("unauthorizedTTL"), found);
	check_enum(hook->subject_access_review_version, reviews, AT("subjectAccessReviewVersion"), found);
	if (!str_empty(hook->match_condition_subject_access_review_version))
		check_enum(hook->match_condition_subject_access_review_version, matches, AT("matchConditionSubjectAccessReviewVersion"), found);
	else if (hook->match_conditions.len)
		required(found, AT("matchConditionSubjectAccessReviewVersion"), "required if match conditions are specified");
	check_enum(hook->failure_policy, policies, AT("failurePolicy"), found);
	check_connection(&hook->connection_info, AT("connectionInfo"), found);
	struct authz_conditions *conditions;
	authz_conditions_new(&hook->match_conditions, at, &conditions, found);
	authz_conditions_free(conditions);
}

static bool is_type(const char *const *types, const char *name) {
	for (; *types; types++)
		if (str_equal(*types, name))
			return true;
	return false;
}

static void check(const struct apiserver_v1_authorization_configuration *config, const char *const *types, struct error *found) {
	const struct apiserver_v1_authorizer_configuration_array *list = &config->authorizers;
	if (!list->len)
		required(found, &PATH(NULL, "authorizers"), "at least one authorization mode must be defined");
	for (uint32_t i = 0; i < list->len; i++) {
		const struct apiserver_v1_authorizer_configuration *a = &list->items[i];
		const struct path here = PATH_INDEX(NULL, "authorizers", i), *at = &here;
		bool webhook = str_equal(a->type, "Webhook"), type_seen = false, name_seen = false;
		for (uint32_t n = 0; n < i; n++) {
			type_seen |= str_equal(list->items[n].type, a->type);
			name_seen |= str_equal(list->items[n].name, a->name);
		}
		if (str_empty(a->type)) {
			required(found, AT("type"), "");
			continue;
		}
		if (!is_type(types, a->type)) {
			not_supported(found, AT("type"), a->type, types);
			continue;
		}
		if (type_seen && !webhook) {
			duplicate(found, AT("type"), a->type);
			continue;
		}
		const char *wrong = str_empty(a->name) ? NULL : format_error(format_dns_subdomain, a->name);
		if (str_empty(a->name))
			required(found, AT("name"), "");
		else if (name_seen)
			duplicate(found, AT("name"), a->name);
		else if (wrong)
			invalid(found, AT("name"), a->name, "authorizer name is invalid: %s", wrong);
		if (webhook && !a->webhook)
			required(found, AT("webhook"), "required when type=Webhook");
		else if (webhook)
			check_webhook(a->webhook, at, found);
		else if (a->webhook)
			invalid(found, AT("webhook"), "non-null", "may only be specified when type=Webhook");
	}
}

static const char *lowered(struct arena *arena, const char *text) {
	char *copy = arena_strdup(arena, text);
	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* Modes without a server of their own are named after themselves. */
static int check_names(struct apiserver_v1_authorization_configuration *config, struct error *err) {
	for (uint32_t i = 0; i < config->authorizers.len; i++) {
		const struct apiserver_v1_authorizer_configuration *a = &config->authorizers.items[i];
		const char *name = lowered(api_arena(config), a->type);
		if (!str_equal(a->type, "Webhook") && strcmp(name, a->name) != 0)
			return error_set(err, EINVAL, "expected name %s for authorizer %s instead of %s", name, a->type, a->name);
	}
	return 0;
}

static struct api_duration *duration(struct arena *arena, int64_t ns) {
	struct api_duration *duration = arena_new_type(arena, struct api_duration);
	duration->ns = ns;
	return duration;
}

static void fill_defaults(struct apiserver_v1_authorization_configuration *config) {
	struct arena *arena = api_arena(config);
	for (uint32_t i = 0; i < config->authorizers.len; i++) {
		struct apiserver_v1_webhook_configuration *hook = config->authorizers.items[i].webhook;
		if (!hook)
			continue;
		if (!hook->authorized_ttl || !hook->authorized_ttl->ns)
			hook->authorized_ttl = duration(arena, DEFAULT_AUTHORIZED_NS);
		if (!hook->unauthorized_ttl || !hook->unauthorized_ttl->ns)
			hook->unauthorized_ttl = duration(arena, DEFAULT_UNAUTHORIZED_NS);
	}
}

static int finish(void *take_object, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err) {
	autoerror struct error found = {0};
	struct apiserver_v1_authorization_configuration *config = take_object;
	fill_defaults(config);
	check(config, types, &found);
	int rc = configfile_verdict(&found, WHAT, err);
	if (rc == 0)
		rc = check_names(config, err);
	if (rc < 0)
		api_unref(config);
	else
		*ret = config;
	return rc;
}

int authz_config_parse(const char *text, size_t len, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err) {
	void *object;
	int rc = configfile_parse(text, len, &apiserver_v1_authorization_configuration_type, versions, &object, err);
	return rc < 0 ? rc : finish(object, types, ret, err);
}

int authz_config_read(const char *path, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err) {
	void *object;
	int rc = configfile_read(path, &apiserver_v1_authorization_configuration_type, versions, &object, err);
	if (rc == 0)
		rc = finish(object, types, ret, err);
	return rc < 0 ? error_context(err, "%s %s", WHAT, path) : 0;
}

/* ---- flags ---- */

static bool has(const struct flag_list *list, const char *text) {
	for (size_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], text) == 0)
			return true;
	return false;
}

static int check_flags(const struct apiserver_options *o, const char *const *types, struct error *err) {
	const struct flag_list *modes = &o->authorization_mode;
	if (!modes->len)
		return error_set(err, EINVAL, "at least one authorization-mode must be passed");
	for (size_t i = 0; i < modes->len; i++) {
		if (!is_type(types, modes->items[i]))
			return error_set(err, EINVAL, "authorization-mode \"%s\" is not a valid mode", modes->items[i]);
		for (size_t n = 0; n < i; n++)
			if (strcmp(modes->items[n], modes->items[i]) == 0)
				return error_set(err, EINVAL, "authorization-mode has mode %s specified more than once", modes->items[i]);
	}
	bool abac = has(modes, "ABAC"), webhook = has(modes, "Webhook");
	if (abac && str_empty(o->authorization_policy_file))
		return error_set(err, EINVAL, "authorization-mode ABAC's authorization policy file not passed");
	if (webhook && str_empty(o->authorization_webhook_config_file))
		return error_set(err, EINVAL, "authorization-mode Webhook's authorization config file not passed");
	if (!abac && !str_empty(o->authorization_policy_file))
		return error_set(err, EINVAL, "cannot specify --authorization-policy-file without mode ABAC");
	if (!webhook && !str_empty(o->authorization_webhook_config_file))
		return error_set(err, EINVAL, "cannot specify --authorization-webhook-config-file without mode Webhook");
	if (!str_equal(o->authorization_webhook_version, "v1") && !str_equal(o->authorization_webhook_version, "v1beta1"))
		return error_set(err, EINVAL, "unsupported webhook authorizer version \"%s\", supported versions are \"v1\", \"v1beta1\"", o->authorization_webhook_version);
	return 0;
}

static struct apiserver_v1_webhook_configuration *webhook_of_flags(const struct apiserver_options *o, struct arena *arena) {
	struct apiserver_v1_webhook_configuration *hook = arena_new_type(arena, struct apiserver_v1_webhook_configuration);
	hook->authorized_ttl = duration(arena, o->authorization_webhook_cache_authorized_ttl);
	hook->unauthorized_ttl = duration(arena, o->authorization_webhook_cache_unauthorized_ttl);
	hook->timeout = duration(arena, LONGEST_NS);
	hook->subject_access_review_version = o->authorization_webhook_version;
	hook->failure_policy = "NoOpinion";
	hook->connection_info.type = "KubeConfigFile";
	hook->connection_info.kube_config_file = o->authorization_webhook_config_file;
	return hook;
}

int authz_config_of_flags(const struct apiserver_options *o, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err) {
	int rc = check_flags(o, types, err);
	if (rc < 0)
		return rc;
	struct apiserver_v1_authorization_configuration *config = api_new_of(apiserver_v1_authorization_configuration);
	struct arena *arena = api_arena(config);
	for (size_t i = 0; i < o->authorization_mode.len; i++) {
		struct apiserver_v1_authorizer_configuration *a = api_list_add(arena, &config->authorizers);
		a->type = arena_strdup(arena, o->authorization_mode.items[i]);
		a->name = lowered(arena, a->type);
		if (strcmp(a->type, "Webhook") == 0)
			a->webhook = webhook_of_flags(o, arena);
	}
	*ret = config;
	return 0;
}
