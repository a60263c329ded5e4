/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what, and who is who: RBAC, reviews, CertificateSigningRequest. */
#include "apiserver/validation/validation.h"
#include "api/authentication_v1.h"
#include "api/authorization_v1.h"
#include "api/certificates_v1.h"
#include "api/rbac_v1.h"

#include <gnutls/x509.h>

#define RBAC_GROUP "rbac.authorization.k8s.io"

/* ---- roles ---- */

CHECK(rbac_v1_policy_rule, rule) {
	bool namespaced = api_type_of(c->object) == &rbac_v1_role_type;
	if (!rule->verbs.len)
		required(err, AT("verbs"), "verbs must contain at least one value");
	if (rule->non_resource_urls.len) {
		if (namespaced)
			invalid_list(err, AT("nonResourceURLs"), &rule->non_resource_urls, "namespaced rules cannot apply to non-resource URLs");
		if (rule->api_groups.len || rule->resources.len || rule->resource_names.len)
			invalid_list(err, AT("nonResourceURLs"), &rule->non_resource_urls, "rules cannot apply to both regular resources and non-resource URLs");
		return;
	}
	if (!rule->api_groups.len)
		required(err, AT("apiGroups"), "resource rules must supply at least one api group");
	if (!rule->resources.len)
		required(err, AT("resources"), "resource rules must supply at least one resource");
}

CHECK(rbac_v1_aggregation_rule, rule) {
	if (!rule->cluster_role_selectors.len)
		required(err, AT("clusterRoleSelectors"), "at least one clusterRoleSelector required if aggregationRule is non-nil");
	for (uint32_t i = 0; i < rule->cluster_role_selectors.len; i++)
		if (!label_selector_is_good(&rule->cluster_role_selectors.items[i]))
			invalid_struct(err, AT_INDEX("clusterRoleSelectors", i), NULL, "null", "invalid label selector.");
}

/* ---- bindings ---- */

static void check_role_ref(const struct rbac_v1_role_ref *ref, const struct rbac_v1_role_ref *old, bool namespaced, const struct path *parent, struct error *err) {
	static const char *const groups[] = {RBAC_GROUP, NULL}, *const kinds[] = {"Role", "ClusterRole", NULL};
	struct path path = PATH(parent, "roleRef"), *at = &path;
	if (!str_equal(ref->api_group, RBAC_GROUP))
		not_supported(err, AT("apiGroup"), ref->api_group, groups);
	if (!str_equal(ref->kind, "ClusterRole") && !(namespaced && str_equal(ref->kind, "Role")))
		not_supported(err, AT("kind"), ref->kind, namespaced ? kinds : kinds + 1);
	check_needed(format_path_segment, ref->name, AT("name"), err);
	if (old && !api_equal(&rbac_v1_role_ref_type, ref, old))
		invalid_struct(err, at, &rbac_v1_role_ref_type, ref, "cannot change roleRef");
}

CHECK(rbac_v1_role_binding, binding) {
	check_role_ref(&binding->role_ref, old ? &old->role_ref : NULL, true, at, err);
}

CHECK(rbac_v1_cluster_role_binding, binding) {
	check_role_ref(&binding->role_ref, old ? &old->role_ref : NULL, false, at, err);
}

CHECK(rbac_v1_subject, subject) {
	static const char *const none[] = {"", NULL}, *const groups[] = {RBAC_GROUP, NULL}, *const kinds[] = {"ServiceAccount", "User", "Group", NULL};
	const char *kind = str_or(subject->kind, "");
	if (strcmp(kind, "ServiceAccount") == 0) {
		if (!str_empty(subject->name))
			check_format(format_dns_subdomain, subject->name, AT("name"), err);
		if (!str_empty(subject->api_group))
			not_supported(err, AT("apiGroup"), subject->api_group, none);
		if (str_empty(subject->namespace) && api_type_of(c->object) == &rbac_v1_cluster_role_binding_type)
			required(err, AT("namespace"), NULL);
	} else if (strcmp(kind, "User") == 0 || strcmp(kind, "Group") == 0) {
		if (!str_equal(subject->api_group, RBAC_GROUP))
			not_supported(err, AT("apiGroup"), subject->api_group, groups);
	} else {
		not_supported(err, AT("kind"), kind, kinds);
	}
}

/* ---- access reviews ---- */

static void check_attributes(const struct authorization_v1_resource_attributes *resource, const struct authorization_v1_non_resource_attributes *other, const struct path *at, struct error *err) {
	if (resource && other)
		invalid_struct(err, AT("nonResourceAttributes"), &authorization_v1_non_resource_attributes_type, other, "cannot be specified in combination with resourceAttributes");
	if (!resource && !other)
		invalid_struct(err, AT("resourceAttributes"), NULL, "null", "exactly one of nonResourceAttributes or resourceAttributes must be specified");
}

CHECK(authorization_v1_subject_access_review_spec, spec) {
	check_attributes(spec->resource_attributes, spec->non_resource_attributes, at, err);
	if (str_empty(spec->user) && !spec->groups.len)
		invalid(err, AT("user"), "", "at least one of user or group must be specified");
}

CHECK(authorization_v1_self_subject_access_review_spec, spec) {
	check_attributes(spec->resource_attributes, spec->non_resource_attributes, at, err);
}

static void check_selector_attributes(const char *raw, uint32_t requirements, const struct path *at, struct error *err) {
	if (!str_empty(raw) && requirements)
		invalid(err, AT("rawSelector"), raw, "may not specified at the same time as requirements");
	if (str_empty(raw) && !requirements) {
		autofree char *text = xprintf("when spec.resourceAttributes.%s is specified, requirements or rawSelector is required", str_or(at->name, ""));
		required(err, AT("requirements"), text);
	}
}

CHECK(authorization_v1_field_selector_attributes, selector) {
	check_selector_attributes(selector->raw_selector, selector->requirements.len, at, err);
}

CHECK(authorization_v1_label_selector_attributes, selector) {
	check_selector_attributes(selector->raw_selector, selector->requirements.len, at, err);
}

CHECK(authorization_v1_local_subject_access_review, review) {
	struct path spec = PATH(NULL, "spec"), resource = PATH(&spec, "resourceAttributes");
	if (review->spec.resource_attributes && !str_equal(review->spec.resource_attributes->namespace, review->metadata.namespace))
		invalid(err, &PATH(&resource, "namespace"), review->spec.resource_attributes->namespace, "must match metadata.namespace");
	if (review->spec.non_resource_attributes)
		invalid_struct(err, &PATH(&spec, "nonResourceAttributes"), &authorization_v1_non_resource_attributes_type, review->spec.non_resource_attributes, "disallowed on this kind of request");
}

CHECK(authentication_v1_token_request_spec, spec) {
	int64_t seconds = spec->expiration_seconds ? *spec->expiration_seconds : 3600;
	if (seconds < 600)
		invalid_int(err, AT("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
	if (seconds > (int64_t)1 << 32)
		invalid_int(err, AT("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
}

/* ---- CertificateSigningRequest ---- */

void check_signer_name(const char *name, const struct path *path, struct error *err) {
	if (str_empty(name)) {
		required(err, path, NULL);
		return;
	}
	const char *slash = strchr(name, '/');
	if (!slash || strchr(slash + 1, '/')) {
		invalid(err, path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'");
		return;
	}
	autofree char *domain = xstrndup(name, (size_t)(slash - name));
	if (strlen(domain) > 253)
		too_long(err, path, 253);
	const struct { const char *text; bool path; } parts[] = {{domain, false}, {slash + 1, true}};
	for (size_t i = 0; i < array_len(parts); i++)
		for (const char *p = parts[i].text; p; p = strchr(p, '.') ? strchr(p, '.') + 1 : NULL) {
			autofree char *label = xstrndup(p, strcspn(p, "."));
			const char *wrong = format_error(parts[i].path ? format_dns_subdomain : format_dns_label, label);
			if (wrong) {
				invalid(err, path, parts[i].text, "validating label \"%s\": %s", label, wrong);
				break;
			}
		}
	if (!strchr(domain, '.'))
		invalid(err, path, domain, "should be a domain with at least two segments separated by dots");
	if (strlen(slash + 1) > 253 + 1 + 63)
		too_long(err, path, 253 + 1 + 63);
}

/* NULL where it is a request signed by its own key. */
static const char *check_request(const struct api_bytes *request) {
	gnutls_x509_crq_t crq;
	const gnutls_datum_t pem = {request->data, request->len};
	if (!request->len || !memmem(request->data, request->len, "-----BEGIN CERTIFICATE REQUEST-----", 35))
		return "PEM block type must be CERTIFICATE REQUEST";
	if (gnutls_x509_crq_init(&crq) < 0)
		return "cannot be read";
	const char *wrong = gnutls_x509_crq_import(crq, &pem, GNUTLS_X509_FMT_PEM) < 0 ? "asn1: structure error" : gnutls_x509_crq_verify(crq, 0) < 0 ? "x509: signature does not verify" : NULL;
	gnutls_x509_crq_deinit(crq);
	return wrong;
}

CHECK(certificates_v1_certificate_signing_request_spec, spec) {
	if (old)
		return; /* stays as it is */
	const char *wrong = check_request(&spec->request);
	if (wrong) {
		autobuf struct buf text = BUF_INIT(1u << 20);
		buf_append_char(&text, '"');
		buf_append_base64(&text, spec->request.data, spec->request.len);
		buf_append_char(&text, '"');
		invalid_struct(err, AT("request"), NULL, spec->request.len ? text.data : "null", "%s", wrong);
	}
	check_distinct(&spec->usages, "usages", at, err);
	if (str_equal(spec->signer_name, "kubernetes.io/legacy-unknown"))
		invalid(err, AT("signerName"), spec->signer_name, "the legacy signerName is not allowed via this API version");
	else
		check_signer_name(spec->signer_name, AT("signerName"), err);
	if (spec->expiration_seconds && *spec->expiration_seconds < 600)
		invalid_int(err, AT("expirationSeconds"), *spec->expiration_seconds, "may not specify a duration less than 600 seconds (10 minutes)");
}

typedef struct certificates_v1_certificate_signing_request csr_t;

static const struct certificates_v1_certificate_signing_request_condition *condition_of(const csr_t *csr, const char *type) {
	for (uint32_t i = 0; i < csr->status.conditions.len; i++)
		if (str_equal(csr->status.conditions.items[i].type, type))
			return &csr->status.conditions.items[i];
	return NULL;
}

static void check_csr_conditions(const csr_t *csr, const struct path *at, struct error *err) {
	static const char *const all[] = {"False", "True", "Unknown", NULL}, *const only_true[] = {"True", NULL};
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < csr->status.conditions.len; i++) {
		const struct certificates_v1_certificate_signing_request_condition *condition = &csr->status.conditions.items[i];
		const char *type = str_or(condition->type, "");
		bool decides = strcmp(type, "Approved") == 0 || strcmp(type, "Denied") == 0 || strcmp(type, "Failed") == 0;
		check_needed(NULL, type, &PATH(AT_INDEX("conditions", i), "type"), err);
		check_enum(condition->status, decides ? only_true : all, &PATH(AT_INDEX("conditions", i), "status"), err);
		if ((strcmp(type, "Approved") == 0 && map_has(&seen, "Denied")) || (strcmp(type, "Denied") == 0 && map_has(&seen, "Approved")))
			invalid(err, AT("conditions"), type, "Approved and Denied conditions are mutually exclusive");
		if (seen_before(&seen, type))
			duplicate(err, &PATH(AT_INDEX("conditions", i), "type"), type);
	}
}

CHECK(certificates_v1_certificate_signing_request, csr) {
	static const char *const kept[] = {"Approved", "Denied", "Failed"};
	struct path status = PATH(NULL, "status");
	if (!old)
		return;
	at = &status;
	bool approval = strcmp(c->subresource, "approval") == 0;
	check_csr_conditions(csr, at, err);
	for (size_t i = 0; i < array_len(kept); i++) {
		const void *was = condition_of(old, kept[i]), *now = condition_of(csr, kept[i]);
		if (was && !now)
			forbidden(err, AT("conditions"), "updates may not remove a condition of type \"%s\"", kept[i]);
		else if (!approval && i < 2 && !was && now)
			forbidden(err, AT("conditions"), "updates may not add a condition of type \"%s\"", kept[i]);
		else if (!approval && i < 2 && was && now && !api_equal(&certificates_v1_certificate_signing_request_condition_type, now, was))
			forbidden(err, AT("conditions"), "updates may not modify a condition of type \"%s\"\n", kept[i]);
	}
	const struct api_bytes *a = &csr->status.certificate, *b = &old->status.certificate;
	if (a->len == b->len && (!a->len || memcmp(a->data, b->data, a->len) == 0))
		return;
	if (!check_is_status(c))
		forbidden(err, AT("certificate"), "updates may not set certificate content");
	else if (b->len)
		forbidden(err, AT("certificate"), "updates may not modify existing certificate content");
	else if (!memmem(a->data, a->len, "-----BEGIN CERTIFICATE-----", 27))
		invalid(err, AT("certificate"), "<certificate data>", "must contain one or more PEM blocks");
}

const struct checker checkers_access[] = {
	ROW(rbac_v1_policy_rule), ROW(rbac_v1_aggregation_rule), ROW(rbac_v1_role_binding), ROW(rbac_v1_cluster_role_binding), ROW(rbac_v1_subject),
	ROW(authorization_v1_subject_access_review_spec), ROW(authorization_v1_self_subject_access_review_spec), ROW(authorization_v1_field_selector_attributes),
	ROW(authorization_v1_label_selector_attributes), ROW(authorization_v1_local_subject_access_review), ROW(authentication_v1_token_request_spec),
	ROW(certificates_v1_certificate_signing_request_spec), ROW(certificates_v1_certificate_signing_request), {0},
};
