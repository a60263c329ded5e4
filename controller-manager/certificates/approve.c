/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Approves what kubelets ask for themselves: client certificates of nodes, where the API server's authorizer lets the requester create
 * certificatesigningrequests/nodeclient (a bootstrap token, for any node) or selfnodeclient (a node, for itself).
 */
#include "controller-manager/controller.h"

#include "api/authorization_v1.h"
#include "api/certificates_v1.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define SIGNER "kubernetes.io/kube-apiserver-client-kubelet"

/* The node's user name out of the request, where its subject is that of a node and it asks for no other name; the caller frees. */
static char *node_user_of(const struct certificates_v1_certificate_signing_request *csr)
{
	gnutls_x509_crq_t crq;
	gnutls_datum_t pem = {csr->spec.request.data, csr->spec.request.len};
	char cn[256] = "", group[256] = "", names[4096];
	size_t cn_size = sizeof(cn), group_size = sizeof(group), names_size = sizeof(names);
	unsigned critical;
	if (gnutls_x509_crq_init(&crq) < 0)
		return NULL;
	bool node = gnutls_x509_crq_import(crq, &pem, GNUTLS_X509_FMT_PEM) >= 0 &&
		    gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &cn_size) >= 0 &&
		    gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, 0, group, &group_size) >= 0 &&
		    str_starts_with(cn, "system:node:") && str_equal(group, "system:nodes") &&
		    gnutls_x509_crq_get_extension_by_oid(crq, GNUTLS_X509EXT_OID_SAN, 0, names, &names_size, &critical) < 0;
	gnutls_x509_crq_deinit(crq);
	return node ? xstrdup(cn) : NULL;
}

static bool usages_are_right(const struct certificates_v1_certificate_signing_request *csr)
{
	bool client = false;
	for (uint32_t i = 0; i < csr->spec.usages.len; i++) {
		const char *usage = csr->spec.usages.items[i];
		client |= str_equal(usage, "client auth");
		if (!str_equal(usage, "client auth") && !str_equal(usage, "digital signature") && !str_equal(usage, "key encipherment"))
			return false;
	}
	return client;
}

static int may_create(struct reconciler *r, const struct certificates_v1_certificate_signing_request *csr, const char *subresource, bool *ret, struct error *err)
{
	autounref struct authorization_v1_subject_access_review *review = api_new_of(authorization_v1_subject_access_review), *answer = NULL;
	struct arena *arena = api_arena(review);
	review->spec.user = csr->spec.username;
	review->spec.uid = csr->spec.uid;
	review->spec.groups = csr->spec.groups;
	review->spec.resource_attributes = arena_new_type(arena, struct authorization_v1_resource_attributes);
	review->spec.resource_attributes->verb = "create";
	review->spec.resource_attributes->group = "certificates.k8s.io";
	review->spec.resource_attributes->version = "*";
	review->spec.resource_attributes->resource = "certificatesigningrequests";
	review->spec.resource_attributes->subresource = subresource;
	struct write write = {.verb = WRITE_CREATE,
		.resource = api_resource_find("authorization.k8s.io", NULL, "subjectaccessreviews"),
		.object = review};
	int result = world_write(r->world, &write, (void **)&answer, err);
	if (!result)
		*ret = answer && answer->status.allowed;
	return result;
}

static int approve(struct reconciler *r, const struct certificates_v1_certificate_signing_request *csr, const char *message, struct error *err)
{
	autounref struct certificates_v1_certificate_signing_request *copy = api_copy(csr);
	struct certificates_v1_certificate_signing_request_condition *condition = api_list_add(api_arena(copy), &copy->status.conditions);
	condition->type = "Approved";
	condition->status = "True";
	condition->reason = "AutoApproved";
	condition->message = message;
	condition->last_update_time = condition->last_transition_time = api_time_now();
	struct write write = {.verb = WRITE_UPDATE,
		.resource = cached_resource(CACHED_CERTIFICATE_SIGNING_REQUESTS),
		.name = csr->metadata.name,
		.subresource = "approval",
		.object = copy};
	return world_write(r->world, &write, NULL, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct certificates_v1_certificate_signing_request *csr = world_find(r->world, CACHED_CERTIFICATE_SIGNING_REQUESTS, NULL, name);
	if (!csr || csr->status.certificate.len || csr->status.conditions.len || !str_equal(csr->spec.signer_name, SIGNER) || !usages_are_right(csr))
		return 0;
	autofree char *node = node_user_of(csr);
	bool allowed = false;
	if (!node)
		return 0;
	/* A node asks for its own next certificate. */
	int result = str_equal(node, csr->spec.username) ? may_create(r, csr, "selfnodeclient", &allowed, err) : 0;
	if (!result && allowed)
		return approve(r, csr, "Auto approving self kubelet client certificate after SubjectAccessReview.", err);
	result = result ? result : may_create(r, csr, "nodeclient", &allowed, err);
	if (result || !allowed)
		return result;
	return approve(r, csr, "Auto approving kubelet client certificate after SubjectAccessReview.", err);
}

const struct controller csr_approving_controller = {
	.name = "certificatesigningrequest-approving-controller",
	.account = "certificate-controller",
	.alias = "csrapproving",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_CERTIFICATE_SIGNING_REQUESTS}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
