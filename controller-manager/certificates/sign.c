/* SPDX-License-Identifier: Apache-2.0 */
/* Signs approved certificate requests of Kubernetes' own signers with --cluster-signing-cert-file and its key, or the pair that a flag names for the signer. */
#include "common/base/file.h"
#include "common/base/random.h"
#include "controller-manager/controller.h"

#include "api/certificates_v1.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define MAX_PEM_BYTES ((size_t)1 << 20)
#define BACKDATE_SECONDS 300 /* clocks of others may be behind */
#define MIN_SECONDS 600

#define PAIR(signer) offsetof(struct settings, cluster_signing_##signer##_cert_file), offsetof(struct settings, cluster_signing_##signer##_key_file)

/* Which usages a signer allows; what is asked for beyond them is refused. NULL ends a list. */
static const struct signer {
	const char *name;
	const char *const *usages;
	bool node_subject; /* CN system:node:..., O system:nodes */
	enum { NAMES_ANY, NAMES_NONE, NAMES_OF_HOSTS } names; /* alternative names: of hosts are DNS names and addresses, at least one */
	size_t cert_file, key_file; /* in struct settings; empty there: the general pair */
} signers[] = {
	{"kubernetes.io/kube-apiserver-client", (const char *const[]){"digital signature", "key encipherment", "client auth", NULL}, false, NAMES_ANY, PAIR(kube_apiserver_client)},
	{"kubernetes.io/kube-apiserver-client-kubelet", (const char *const[]){"digital signature", "key encipherment", "client auth", NULL}, true, NAMES_NONE, PAIR(kubelet_client)},
	{"kubernetes.io/kubelet-serving", (const char *const[]){"digital signature", "key encipherment", "server auth", NULL}, true, NAMES_OF_HOSTS, PAIR(kubelet_serving)},
};

static const struct {
	const char *name;
	unsigned key_usage;
	const char *purpose;
} usage_rows[] = {
	{"digital signature", GNUTLS_KEY_DIGITAL_SIGNATURE, NULL},
	{"key encipherment", GNUTLS_KEY_KEY_ENCIPHERMENT, NULL},
	{"client auth", 0, GNUTLS_KP_TLS_WWW_CLIENT},
	{"server auth", 0, GNUTLS_KP_TLS_WWW_SERVER},
};

/* The files of a signer's CA; false where it has none. */
static bool ca_files(const struct settings *settings, const struct signer *signer, const char **ret_cert, const char **ret_key)
{
	*ret_cert = *(char *const *)((const char *)settings + signer->cert_file);
	*ret_key = *(char *const *)((const char *)settings + signer->key_file);
	if (str_empty(*ret_cert) && str_empty(*ret_key)) {
		*ret_cert = settings->cluster_signing_cert_file;
		*ret_key = settings->cluster_signing_key_file;
	}
	return !str_empty(*ret_cert) && !str_empty(*ret_key);
}

static bool enabled(const struct settings *settings)
{
	const char *cert, *key;
	for (size_t i = 0; i < array_len(signers); i++)
		if (ca_files(settings, &signers[i], &cert, &key))
			return true;
	return false;
}

static const struct signer *find_signer(const char *name)
{
	for (size_t i = 0; i < array_len(signers); i++)
		if (str_equal(signers[i].name, name))
			return &signers[i];
	return NULL;
}

static const struct certificates_v1_certificate_signing_request_condition *find_condition(
	const struct certificates_v1_certificate_signing_request *csr, const char *type)
{
	for (uint32_t i = 0; i < csr->status.conditions.len; i++)
		if (str_equal(csr->status.conditions.items[i].type, type))
			return &csr->status.conditions.items[i];
	return NULL;
}

/* All GnuTLS objects of one signature. */
struct signing {
	gnutls_x509_crt_t ca, crt;
	gnutls_x509_privkey_t key;
	gnutls_x509_crq_t crq;
	gnutls_datum_t out;
};

static void signing_done(struct signing *s)
{
	if (s->ca)
		gnutls_x509_crt_deinit(s->ca);
	if (s->crt)
		gnutls_x509_crt_deinit(s->crt);
	if (s->key)
		gnutls_x509_privkey_deinit(s->key);
	if (s->crq)
		gnutls_x509_crq_deinit(s->crq);
	gnutls_free(s->out.data);
}

static int tls_error(struct error *err, int code, const char *what)
{
	return error_set(err, EINVAL, "%s: %s", what, gnutls_strerror(code));
}

static int load_ca(const char *cert_file, const char *key_file, struct signing *s, struct error *err)
{
	autofree char *cert = NULL, *key = NULL;
	size_t cert_len = 0, key_len = 0;
	int r = file_read(AT_FDCWD, cert_file, MAX_PEM_BYTES, &cert, &cert_len, err);
	r = r ? r : file_read(AT_FDCWD, key_file, MAX_PEM_BYTES, &key, &key_len, err);
	if (r)
		return r;
	gnutls_datum_t cert_pem = {(unsigned char *)cert, (unsigned)cert_len}, key_pem = {(unsigned char *)key, (unsigned)key_len};
	int code = gnutls_x509_crt_init(&s->ca);
	code = code < 0 ? code : gnutls_x509_crt_import(s->ca, &cert_pem, GNUTLS_X509_FMT_PEM);
	code = code < 0 ? code : gnutls_x509_privkey_init(&s->key);
	code = code < 0 ? code : gnutls_x509_privkey_import2(s->key, &key_pem, GNUTLS_X509_FMT_PEM, NULL, 0);
	explicit_bzero(key, key_len);
	return code < 0 ? tls_error(err, code, "read the signing CA") : 0;
}

static bool subject_is(gnutls_x509_crq_t crq, const char *oid, const char *prefix)
{
	char text[512];
	size_t size = sizeof(text);
	return gnutls_x509_crq_get_dn_by_oid(crq, oid, 0, 0, text, &size) >= 0 && str_starts_with(text, prefix);
}

static bool usages_allowed(const struct signer *signer, const struct certificates_v1_certificate_signing_request *csr)
{
	for (uint32_t i = 0; i < csr->spec.usages.len; i++) {
		bool allowed = false;
		for (size_t j = 0; signer->usages[j]; j++)
			allowed |= str_equal(signer->usages[j], csr->spec.usages.items[i]);
		if (!allowed)
			return false;
	}
	return csr->spec.usages.len > 0;
}

/* Whether the alternative names are what the signer allows. */
static bool names_allowed(const struct signer *signer, gnutls_x509_crq_t crq)
{
	unsigned count = 0;
	for (;; count++) {
		char name[512];
		size_t size = sizeof(name);
		unsigned type;
		int code = gnutls_x509_crq_get_subject_alt_name(crq, count, name, &size, &type, NULL);
		if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (code < 0)
			return false;
		type = (unsigned)code;
		if (signer->names == NAMES_OF_HOSTS && type != GNUTLS_SAN_DNSNAME && type != GNUTLS_SAN_IPADDRESS)
			return false;
	}
	return signer->names == NAMES_ANY || (signer->names == NAMES_OF_HOSTS) == (count > 0);
}

static int load_request(const struct signer *signer, const struct certificates_v1_certificate_signing_request *csr, struct signing *s, struct error *err)
{
	gnutls_datum_t pem = {csr->spec.request.data, csr->spec.request.len};
	int code = gnutls_x509_crq_init(&s->crq);
	code = code < 0 ? code : gnutls_x509_crq_import(s->crq, &pem, GNUTLS_X509_FMT_PEM);
	code = code < 0 ? code : gnutls_x509_crq_verify(s->crq, 0);
	if (code < 0)
		return tls_error(err, code, "read the certificate request");
	if (!usages_allowed(signer, csr))
		return error_set(err, EINVAL, "invalid usages for signer %s", signer->name);
	if (signer->node_subject && (!subject_is(s->crq, GNUTLS_OID_X520_COMMON_NAME, "system:node:") ||
					    !subject_is(s->crq, GNUTLS_OID_X520_ORGANIZATION_NAME, "system:nodes")))
		return error_set(err, EINVAL, "subject is not that of a node");
	if (!names_allowed(signer, s->crq))
		return error_set(err, EINVAL, "subject alternative names are not those that signer %s allows", signer->name);
	return 0;
}

static int set_usages(const struct certificates_v1_certificate_signing_request *csr, gnutls_x509_crt_t crt)
{
	unsigned key_usage = 0;
	int code = 0;
	for (uint32_t i = 0; i < csr->spec.usages.len; i++) {
		for (size_t j = 0; j < array_len(usage_rows) && code >= 0; j++) {
			if (!str_equal(usage_rows[j].name, csr->spec.usages.items[i]))
				continue;
			key_usage |= usage_rows[j].key_usage;
			if (usage_rows[j].purpose)
				code = gnutls_x509_crt_set_key_purpose_oid(crt, usage_rows[j].purpose, 0);
		}
	}
	return code < 0 || !key_usage ? code : gnutls_x509_crt_set_key_usage(crt, key_usage);
}

static int sign(const struct settings *settings, const struct certificates_v1_certificate_signing_request *csr, struct signing *s, struct error *err)
{
	unsigned char serial[16];
	int64_t now = clock_wall().sec, life = settings->cluster_signing_duration / NSEC_PER_SEC;
	if (csr->spec.expiration_seconds)
		life = min_of(life, max_of((int64_t)*csr->spec.expiration_seconds, (int64_t)MIN_SECONDS));
	/* Never longer than the CA itself. */
	int64_t end = min_of(now + life, (int64_t)gnutls_x509_crt_get_expiration_time(s->ca));
	random_bytes(serial, sizeof(serial));
	serial[0] &= 0x7f;
	int code = gnutls_x509_crt_init(&s->crt);
	code = code < 0 ? code : gnutls_x509_crt_set_version(s->crt, 3);
	code = code < 0 ? code : gnutls_x509_crt_set_crq(s->crt, s->crq);
	code = code < 0 ? code : gnutls_x509_crt_set_serial(s->crt, serial, sizeof(serial));
	code = code < 0 ? code : gnutls_x509_crt_set_activation_time(s->crt, (time_t)(now - BACKDATE_SECONDS));
	code = code < 0 ? code : gnutls_x509_crt_set_expiration_time(s->crt, (time_t)end);
	code = code < 0 ? code : gnutls_x509_crt_set_basic_constraints(s->crt, 0, -1);
	code = code < 0 ? code : set_usages(csr, s->crt);
	if (code >= 0) {
		/* Only the names of the request are taken over, none of its other extensions. */
		gnutls_datum_t names = {NULL, 0};
		unsigned char data[4096];
		size_t size = sizeof(data);
		unsigned critical;
		if (gnutls_x509_crq_get_extension_by_oid(s->crq, GNUTLS_X509EXT_OID_SAN, 0, data, &size, &critical) >= 0) {
			names = (gnutls_datum_t){data, (unsigned)size};
			code = gnutls_x509_crt_set_extension_by_oid(s->crt, GNUTLS_X509EXT_OID_SAN, names.data, names.size, critical);
		}
	}
	code = code < 0 ? code : gnutls_x509_crt_sign2(s->crt, s->ca, s->key, GNUTLS_DIG_SHA256, 0);
	code = code < 0 ? code : gnutls_x509_crt_export2(s->crt, GNUTLS_X509_FMT_PEM, &s->out);
	return code < 0 ? tls_error(err, code, "sign the certificate") : 0;
}

static int fail_request(struct reconciler *r, const struct certificates_v1_certificate_signing_request *csr, const char *message, struct error *err)
{
	autounref struct certificates_v1_certificate_signing_request *copy = api_copy(csr);
	struct arena *arena = api_arena(copy);
	struct certificates_v1_certificate_signing_request_condition *condition = api_list_add(arena, &copy->status.conditions);
	condition->type = "Failed";
	condition->status = "True";
	condition->reason = "SignerValidationFailure";
	condition->message = arena_strdup(arena, message);
	condition->last_update_time = condition->last_transition_time = api_time_now();
	return world_update_status(r->world, CACHED_CERTIFICATE_SIGNING_REQUESTS, copy, NULL, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct certificates_v1_certificate_signing_request *csr = world_find(r->world, CACHED_CERTIFICATE_SIGNING_REQUESTS, NULL, name);
	const struct signer *signer = csr ? find_signer(csr->spec.signer_name) : NULL;
	if (!signer || csr->status.certificate.len || !find_condition(csr, "Approved") || find_condition(csr, "Denied") || find_condition(csr, "Failed"))
		return 0;
	cleanup(signing_done) struct signing s = {0};
	autoerror struct error bad = {0};
	const char *cert_file, *key_file;
	if (!ca_files(r->world->settings, signer, &cert_file, &key_file))
		return 0; /* another signs for it */
	int result = load_ca(cert_file, key_file, &s, err);
	if (result)
		return result;
	if (load_request(signer, csr, &s, &bad) < 0)
		return fail_request(r, csr, error_message(&bad), err);
	result = sign(r->world->settings, csr, &s, err);
	if (result)
		return result;
	autounref struct certificates_v1_certificate_signing_request *copy = api_copy(csr);
	copy->status.certificate.data = arena_memdup(api_arena(copy), s.out.data, s.out.size);
	copy->status.certificate.len = s.out.size;
	return world_update_status(r->world, CACHED_CERTIFICATE_SIGNING_REQUESTS, copy, NULL, err);
}

const struct controller csr_signing_controller = {
	.name = "certificatesigningrequest-signing-controller",
	.queue = "certificate",
	.account = "certificate-controller",
	.alias = "csrsigning",
	.workers = 1,
	.enabled = enabled,
	.watches = (const struct controller_watch[]){{.what = CACHED_CERTIFICATE_SIGNING_REQUESTS}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
