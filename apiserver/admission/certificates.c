/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CertificateApproval, CertificateSigning and CertificateSubjectRestriction: who decides on a signing request, or answers it, holds the verb on its signer; no
 * request for a client of this server asks to be its master.
 */
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "api/certificates_v1.h"

#include <gnutls/x509.h>

#define GROUP "certificates.k8s.io"
#define REQUESTS "certificatesigningrequests"
#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"
#define MASTERS "system:masters"

static bool may(struct write *w, const char *verb, const char *signer) {
	const char *reason;
	const struct authz_attributes a = {.user = w->r->user, .verb = verb, .is_resource = true, .group = GROUP, .version = "*", .resource = "signers", .name = signer};
	return authz_decide(w->r->server->authz, &a, &w->asks, w->arena, &reason) == AUTHZ_ALLOW;
}

/* By the signer's own name, or by all of its domain. */
static bool may_act_for(struct write *w, const char *verb, const char *signer) {
	signer = str_or(signer, "");
	return may(w, verb, signer) || may(w, verb, arena_printf(w->arena, "%.*s/*", (int)strcspn(signer, "/"), signer));
}

static int validate_approval(struct write *w, struct error *err) {
	if (!admission_is(w, GROUP, REQUESTS, "approval") || !w->old)
		return 0;
	const struct certificates_v1_certificate_signing_request *old = w->old;
	if (may_act_for(w, "approve", old->spec.signer_name))
		return 0;
	return error_forbidden(err, w->resource, admission_name(w), "user not permitted to approve requests with signerName \"%s\"", str_or(old->spec.signer_name, ""));
}

const struct admission_plugin admission_certificate_approval = {
	.name = "CertificateApproval",
	.operations = WRITE_UPDATE,
	.validate = validate_approval,
};

static bool same_answer(const struct certificates_v1_certificate_signing_request *a, const struct certificates_v1_certificate_signing_request *b) {
	const struct api_bytes *x = &a->status.certificate, *y = &b->status.certificate;
	if (x->len != y->len || (x->len && memcmp(x->data, y->data, x->len) != 0) || a->status.conditions.len != b->status.conditions.len)
		return false;
	for (uint32_t i = 0; i < a->status.conditions.len; i++)
		if (!api_equal(&certificates_v1_certificate_signing_request_condition_type, &a->status.conditions.items[i], &b->status.conditions.items[i]))
			return false;
	return true;
}

static int validate_signing(struct write *w, struct error *err) {
	if (!admission_is(w, GROUP, REQUESTS, "status") || !w->old)
		return 0;
	const struct certificates_v1_certificate_signing_request *old = w->old;
	if (same_answer(old, w->object) || may_act_for(w, "sign", old->spec.signer_name))
		return 0;
	return error_forbidden(err, w->resource, admission_name(w), "user not permitted to sign requests with signerName \"%s\"", str_or(old->spec.signer_name, ""));
}

const struct admission_plugin admission_certificate_signing = {
	.name = "CertificateSigning",
	.operations = WRITE_UPDATE,
	.validate = validate_signing,
};

/* Whether one of the subject's organizations is this; what cannot be read is told by the caller. */
static bool asks_for(gnutls_x509_crq_t crq, const char *organization) {
	for (int i = 0;; i++) {
		char name[512];
		size_t size = sizeof(name);
		int code = gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_ORGANIZATION_NAME, i, 0, name, &size);
		if (code == GNUTLS_E_SHORT_MEMORY_BUFFER)
			continue; /* longer than what is looked for */
		if (code < 0)
			return false;
		if (size == strlen(organization) && memcmp(name, organization, size) == 0)
			return true;
	}
}

static int validate_subject(struct write *w, struct error *err) {
	if (!admission_is(w, GROUP, REQUESTS, NULL))
		return 0;
	const struct certificates_v1_certificate_signing_request *csr = w->object;
	if (!str_equal(csr->spec.signer_name, CLIENT_SIGNER))
		return 0;
	gnutls_x509_crq_t crq;
	const gnutls_datum_t pem = {(unsigned char *)csr->spec.request.data, (unsigned)csr->spec.request.len};
	if (gnutls_x509_crq_init(&crq) < 0)
		return error_internal(err, "no memory for a signing request");
	int rc = 0;
	if (gnutls_x509_crq_import(crq, &pem, GNUTLS_X509_FMT_PEM) < 0)
		rc = error_forbidden(err, w->resource, admission_name(w), "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST");
	else if (asks_for(crq, MASTERS))
		rc = error_forbidden(err, w->resource, admission_name(w), "use of " CLIENT_SIGNER " signer with " MASTERS " group is not allowed");
	gnutls_x509_crq_deinit(crq);
	return rc;
}

const struct admission_plugin admission_certificate_subject = {
	.name = "CertificateSubjectRestriction",
	.operations = WRITE_CREATE,
	.validate = validate_subject,
};
