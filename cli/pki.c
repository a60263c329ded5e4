/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pki.h"

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define MAX_PEM (256 * 1024)
#define DAY (24 * 3600)
#define CLOCK_SKEW 300 /* certificates begin a little in the past, for machines whose clock is behind */

/* ---- keys and certificates as values ---- */

struct identity {
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
};

static void identity_done(struct identity *identity)
{
	if (identity->crt)
		gnutls_x509_crt_deinit(identity->crt);
	if (identity->key)
		gnutls_x509_privkey_deinit(identity->key);
	*identity = (struct identity){0};
}
#define autoidentity cleanup(identity_done)

static int tls_error(struct error *err, int rc, const char *what)
{
	return error_set(err, EIO, "%s: %s", what, gnutls_strerror(rc));
}

enum usage { USAGE_CA = 1, USAGE_SERVER = 2, USAGE_CLIENT = 4 };

struct subject {
	const char *common_name;
	const char *organization; /* NULL: none */
	unsigned usage;
	struct flag_list sans; /* names and addresses */
};

static bool san_is_ip(const char *san, uint8_t *out, unsigned *ret_len)
{
	if (inet_pton(AF_INET, san, out) == 1)
		return *ret_len = 4, true;
	if (inet_pton(AF_INET6, san, out) == 1)
		return *ret_len = 16, true;
	return false;
}

static int crt_set_sans(gnutls_x509_crt_t crt, const struct flag_list *sans)
{
	for (size_t i = 0; i < sans->len; i++) {
		uint8_t ip[16];
		unsigned len;
		int rc = san_is_ip(sans->items[i], ip, &len)
				 ? gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_IPADDRESS, ip, len, GNUTLS_FSAN_APPEND)
				 : gnutls_x509_crt_set_subject_alt_name(crt, GNUTLS_SAN_DNSNAME, sans->items[i], (unsigned)strlen(sans->items[i]), GNUTLS_FSAN_APPEND);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int crt_set_usage(gnutls_x509_crt_t crt, unsigned usage)
{
	int rc = gnutls_x509_crt_set_basic_constraints(crt, usage & USAGE_CA ? 1 : 0, -1);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key_usage(crt, usage & USAGE_CA ? GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN | GNUTLS_KEY_DIGITAL_SIGNATURE : GNUTLS_KEY_DIGITAL_SIGNATURE);
	if (rc >= 0 && usage & USAGE_SERVER)
		rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_SERVER, 0);
	if (rc >= 0 && usage & USAGE_CLIENT)
		rc = gnutls_x509_crt_set_key_purpose_oid(crt, GNUTLS_KP_TLS_WWW_CLIENT, 0);
	return rc;
}

static int crt_set_subject(gnutls_x509_crt_t crt, const struct subject *subject)
{
	int rc = 0;
	if (subject->organization)
		rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, subject->organization, (unsigned)strlen(subject->organization));
	if (rc >= 0)
		rc = gnutls_x509_crt_set_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, subject->common_name, (unsigned)strlen(subject->common_name));
	return rc;
}

/* Ties a certificate to its authority's key, so that a chain is found by key and not by name. */
static int crt_set_key_ids(gnutls_x509_crt_t crt, gnutls_x509_crt_t authority)
{
	uint8_t id[64];
	size_t len = sizeof(id);
	int rc = gnutls_x509_crt_get_key_id(crt, 0, id, &len);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_subject_key_id(crt, id, len);
	if (rc >= 0 && authority != crt) {
		len = sizeof(id);
		rc = gnutls_x509_crt_get_key_id(authority, 0, id, &len);
		if (rc >= 0)
			rc = gnutls_x509_crt_set_authority_key_id(crt, id, len);
	}
	return rc;
}

static int key_new(gnutls_x509_privkey_t *ret, struct error *err)
{
	gnutls_x509_privkey_t key;
	int rc = gnutls_x509_privkey_init(&key);
	if (rc < 0)
		return tls_error(err, rc, "make a key");
	rc = gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	if (rc < 0) {
		gnutls_x509_privkey_deinit(key);
		return tls_error(err, rc, "make a key");
	}
	*ret = key;
	return 0;
}

/* authority NULL: signed by itself. */
static int identity_issue(const struct subject *subject, const struct identity *authority, struct identity *ret, struct error *err)
{
	autoidentity struct identity made = {0};
	int rc = key_new(&made.key, err);
	if (rc)
		return rc;
	uint8_t serial[16];
	random_bytes(serial, sizeof(serial));
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, and of one length */
	int64_t now = clock_wall().sec;
	rc = gnutls_x509_crt_init(&made.crt);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_version(made.crt, 3);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_key(made.crt, made.key);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_serial(made.crt, serial, sizeof(serial));
	if (rc >= 0)
		rc = gnutls_x509_crt_set_activation_time(made.crt, now - CLOCK_SKEW);
	if (rc >= 0)
		rc = gnutls_x509_crt_set_expiration_time(made.crt, now + (int64_t)DAY * (subject->usage & USAGE_CA ? PKI_CA_DAYS : PKI_LEAF_DAYS));
	if (rc >= 0)
		rc = crt_set_subject(made.crt, subject);
	if (rc >= 0)
		rc = crt_set_sans(made.crt, &subject->sans);
	if (rc >= 0)
		rc = crt_set_usage(made.crt, subject->usage);
	if (rc >= 0)
		rc = crt_set_key_ids(made.crt, authority ? authority->crt : made.crt);
	if (rc >= 0)
		rc = gnutls_x509_crt_sign2(made.crt, authority ? authority->crt : made.crt, authority ? authority->key : made.key, GNUTLS_DIG_SHA256, 0);
	if (rc < 0)
		return tls_error(err, rc, subject->common_name);
	*ret = made;
	made = (struct identity){0};
	return 0;
}

static bool crt_has_name(gnutls_x509_crt_t crt, const struct subject *subject)
{
	char cn[256], org[256] = "";
	size_t cn_len = sizeof(cn), org_len = sizeof(org);
	if (gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &cn_len) < 0 || !str_equal(cn, subject->common_name))
		return false;
	if (gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, 0, org, &org_len) < 0)
		org[0] = 0;
	if (!str_equal(org, subject->organization))
		return false;
	for (size_t i = 0; i < subject->sans.len; i++) {
		uint8_t ip[16];
		unsigned len;
		const char *san = subject->sans.items[i];
		if (san_is_ip(san, ip, &len) ? !gnutls_x509_crt_check_ip(crt, ip, len, 0) : !gnutls_x509_crt_check_hostname2(crt, san, 0))
			return false;
	}
	return true;
}

static bool identity_matches_key(const struct identity *identity)
{
	uint8_t a[64], b[64];
	size_t a_len = sizeof(a), b_len = sizeof(b);
	return gnutls_x509_crt_get_key_id(identity->crt, 0, a, &a_len) >= 0 && gnutls_x509_privkey_get_key_id(identity->key, 0, b, &b_len) >= 0 && a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* Signed by `authority`, not taking its dates into account. */
static bool crt_signed_by(gnutls_x509_crt_t crt, gnutls_x509_crt_t authority)
{
	unsigned status = 0;
	return gnutls_x509_crt_verify(crt, &authority, 1, GNUTLS_VERIFY_DISABLE_TIME_CHECKS, &status) >= 0 && status == 0;
}

static bool identity_still_good(const struct identity *identity, const struct subject *subject, const struct identity *authority)
{
	if (gnutls_x509_crt_get_expiration_time(identity->crt) < clock_wall().sec + (int64_t)DAY * PKI_RENEW_DAYS)
		return false;
	return identity_matches_key(identity) && crt_has_name(identity->crt, subject) && (!authority || crt_signed_by(identity->crt, authority->crt));
}

/* ---- files ---- */

static char *crt_pem(gnutls_x509_crt_t crt)
{
	gnutls_datum_t out = {0};
	if (gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out) < 0)
		abort();
	char *pem = xstrndup((char *)out.data, out.size);
	gnutls_free(out.data);
	return pem;
}

static char *key_pem(gnutls_x509_privkey_t key)
{
	gnutls_datum_t out = {0};
	if (gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, &out) < 0)
		abort();
	char *pem = xstrndup((char *)out.data, out.size);
	gnutls_memset(out.data, 0, out.size);
	gnutls_free(out.data);
	return pem;
}

static int crt_parse(const char *pem, size_t len, gnutls_x509_crt_t *ret)
{
	gnutls_datum_t in = {.data = (unsigned char *)pem, .size = (unsigned)len};
	gnutls_x509_crt_t crt;
	if (gnutls_x509_crt_init(&crt) < 0)
		return -ENOMEM;
	if (gnutls_x509_crt_import(crt, &in, GNUTLS_X509_FMT_PEM) < 0) {
		gnutls_x509_crt_deinit(crt);
		return -EINVAL;
	}
	*ret = crt;
	return 0;
}

static int key_parse(const char *pem, size_t len, gnutls_x509_privkey_t *ret)
{
	gnutls_datum_t in = {.data = (unsigned char *)pem, .size = (unsigned)len};
	gnutls_x509_privkey_t key;
	if (gnutls_x509_privkey_init(&key) < 0)
		return -ENOMEM;
	if (gnutls_x509_privkey_import(key, &in, GNUTLS_X509_FMT_PEM) < 0) {
		gnutls_x509_privkey_deinit(key);
		return -EINVAL;
	}
	*ret = key;
	return 0;
}

static int identity_parse(const char *crt, const char *key, struct identity *ret)
{
	autoidentity struct identity read = {0};
	int rc = crt_parse(crt, strlen(crt), &read.crt);
	if (!rc)
		rc = key_parse(key, strlen(key), &read.key);
	if (rc)
		return rc;
	*ret = read;
	read = (struct identity){0};
	return 0;
}

static int identity_load(const char *crt_path, const char *key_path, struct identity *ret)
{
	autofree char *crt = NULL;
	autofree char *key = NULL;
	int rc = file_read(AT_FDCWD, crt_path, MAX_PEM, &crt, NULL, NULL);
	if (!rc)
		rc = file_read(AT_FDCWD, key_path, MAX_PEM, &key, NULL, NULL);
	return rc ? rc : identity_parse(crt, key, ret);
}

/* The key first: a certificate that is there has its key. */
static int identity_store(const struct identity *identity, const char *crt_path, const char *key_path, struct error *err)
{
	autofree char *crt = crt_pem(identity->crt);
	autofree char *key = key_pem(identity->key);
	int rc = file_write_durable(AT_FDCWD, key_path, key, strlen(key), 0600, err);
	return rc ? rc : file_write_durable(AT_FDCWD, crt_path, crt, strlen(crt), 0644, err);
}

/* ---- the set ---- */

enum names { NAMES_NONE, NAMES_APISERVER, NAMES_ETCD, NAMES_NODE };

struct certificate {
	const char *file;      /* without .crt, .key; %s is the node's name */
	const char *authority; /* file of it; NULL: an authority itself */
	const char *common_name;
	const char *organization;
	unsigned usage;
	enum names names;
};

/* Authorities stand before what they sign. */
static const struct certificate certificates[] = {
	{"ca", NULL, "kubernetes", NULL, USAGE_CA, NAMES_NONE},
	{"front-proxy-ca", NULL, "front-proxy-ca", NULL, USAGE_CA, NAMES_NONE},
	{"etcd-ca", NULL, "etcd-ca", NULL, USAGE_CA, NAMES_NONE},
	{"apiserver", "ca", "kube-apiserver", NULL, USAGE_SERVER, NAMES_APISERVER},
	{"apiserver-kubelet-client", "ca", "kube-apiserver-kubelet-client", "system:masters", USAGE_CLIENT, NAMES_NONE},
	{"front-proxy-client", "front-proxy-ca", "front-proxy-client", NULL, USAGE_CLIENT, NAMES_NONE},
	{"etcd-server", "etcd-ca", "etcd-server", NULL, USAGE_SERVER | USAGE_CLIENT, NAMES_ETCD},
	{"apiserver-etcd-client", "etcd-ca", "kube-apiserver-etcd-client", NULL, USAGE_CLIENT, NAMES_NONE},
};
static const struct certificate node_certificate = {"kubelet-%s", "ca", "system:node:%s", "system:nodes", USAGE_SERVER, NAMES_NODE};

struct user {
	const char *file; /* without .kubeconfig */
	const char *common_name;
	const char *organization;
};
static const struct user users[] = {
	{"admin", "kubernetes-admin", "system:masters"},
	{"scheduler", "system:kube-scheduler", NULL},
	{"controller-manager", "system:kube-controller-manager", NULL},
	{"proxy", "system:kube-proxy", NULL},
	{"dns", "system:kube-dns", NULL},
};

struct pki {
	const struct pki_options *options;
	struct identity authorities[array_len(certificates)]; /* by row; only those of authorities are filled */
	char *ca_pem;
	void (*report)(const char *path, enum pki_state state, void *arg);
	void *report_arg;
};

static void report_file(const struct pki *pki, const char *path, enum pki_state state)
{
	if (pki->report)
		pki->report(path, state, pki->report_arg);
}

static void add_all(struct flag_list *to, const struct flag_list *from)
{
	for (size_t i = 0; i < from->len; i++)
		if (!str_empty(from->items[i]))
			flag_list_add(to, from->items[i]);
}

/* "https://[::1]:6443/x" -> "::1"; NULL where there is no host. */
static char *url_host(const char *url)
{
	const char *start = strstr(url, "://");
	start = start ? start + 3 : url;
	if (*start == '[') {
		const char *end = strchr(start, ']');
		return end ? xstrndup(start + 1, (size_t)(end - start - 1)) : NULL;
	}
	size_t len = strcspn(start, ":/");
	return len ? xstrndup(start, len) : NULL;
}

static void names_of(const struct pki_options *options, enum names names, size_t node, struct flag_list *ret)
{
	if (names == NAMES_NONE)
		return;
	if (names == NAMES_NODE) {
		flag_list_add(ret, options->nodes.items[node]);
		if (node < options->node_ips.len)
			flag_list_add(ret, options->node_ips.items[node]);
	}
	flag_list_add(ret, "localhost");
	flag_list_add(ret, "127.0.0.1");
	flag_list_add(ret, "::1");
	if (names == NAMES_NODE)
		return;
	add_all(ret, &options->nodes);
	add_all(ret, &options->node_ips);
	if (names != NAMES_APISERVER)
		return;
	flag_list_add(ret, "kubernetes");
	flag_list_add(ret, "kubernetes.default");
	flag_list_add(ret, "kubernetes.default.svc");
	autofree char *full = xprintf("kubernetes.default.svc.%s", options->cluster_domain);
	flag_list_add(ret, full);
	add_all(ret, &options->service_ips);
	add_all(ret, &options->sans);
	autofree char *host = url_host(options->server);
	if (host)
		flag_list_add(ret, host);
}

static const struct identity *authority_of(const struct pki *pki, const struct certificate *row)
{
	for (size_t i = 0; row->authority && i < array_len(certificates); i++)
		if (str_equal(certificates[i].file, row->authority))
			return &pki->authorities[i];
	return NULL;
}

/* In the few rows that name a node, %s stands for it. */
static char *with_node(const char *text, const char *node)
{
	const char *at = text ? strstr(text, "%s") : NULL;
	return at ? xprintf("%.*s%s%s", (int)(at - text), text, node, at + 2) : (text ? xstrdup(text) : NULL);
}

static int ensure_certificate(struct pki *pki, const struct certificate *row, size_t node, struct identity *ret, struct error *err)
{
	const char *node_name = node < pki->options->nodes.len ? pki->options->nodes.items[node] : "";
	autofree char *base = with_node(row->file, node_name);
	autofree char *common_name = with_node(row->common_name, node_name);
	autofree char *crt_path = xprintf("%s/%s.crt", pki->options->dir, base);
	autofree char *key_path = xprintf("%s/%s.key", pki->options->dir, base);
	struct subject subject = {.common_name = common_name, .organization = row->organization, .usage = row->usage};
	names_of(pki->options, row->names, node, &subject.sans);
	const struct identity *authority = authority_of(pki, row);
	autoidentity struct identity identity = {0};
	int rc = 0;
	if (identity_load(crt_path, key_path, &identity) == 0 && identity_still_good(&identity, &subject, authority)) {
		report_file(pki, crt_path, PKI_KEPT);
	} else {
		enum pki_state state = file_exists(crt_path) ? PKI_RENEWED : PKI_CREATED;
		identity_done(&identity);
		rc = identity_issue(&subject, authority, &identity, err);
		if (!rc)
			rc = identity_store(&identity, crt_path, key_path, err);
		if (!rc)
			report_file(pki, crt_path, state);
	}
	flag_list_done(&subject.sans);
	if (!rc && ret) {
		*ret = identity;
		identity = (struct identity){0};
	}
	return rc;
}

/* The key that signs service account tokens has no certificate. */
static int ensure_service_account_key(struct pki *pki, struct error *err)
{
	autofree char *key_path = xprintf("%s/sa.key", pki->options->dir);
	autofree char *pub_path = xprintf("%s/sa.pub", pki->options->dir);
	if (file_exists(key_path) && file_exists(pub_path)) {
		report_file(pki, pub_path, PKI_KEPT);
		return 0;
	}
	autoidentity struct identity identity = {0};
	int rc = key_new(&identity.key, err);
	if (rc)
		return rc;
	gnutls_pubkey_t pub;
	gnutls_datum_t pem = {0};
	rc = gnutls_pubkey_init(&pub);
	if (rc < 0)
		return tls_error(err, rc, "sa.pub");
	gnutls_privkey_t abstract;
	rc = gnutls_privkey_init(&abstract);
	if (rc >= 0) {
		rc = gnutls_privkey_import_x509(abstract, identity.key, 0);
		if (rc >= 0)
			rc = gnutls_pubkey_import_privkey(pub, abstract, 0, 0);
		if (rc >= 0)
			rc = gnutls_pubkey_export2(pub, GNUTLS_X509_FMT_PEM, &pem);
		gnutls_privkey_deinit(abstract);
	}
	gnutls_pubkey_deinit(pub);
	if (rc < 0)
		return tls_error(err, rc, "sa.pub");
	autofree char *key = key_pem(identity.key);
	rc = file_write_durable(AT_FDCWD, key_path, key, strlen(key), 0600, err);
	if (!rc)
		rc = file_write_durable(AT_FDCWD, pub_path, pem.data, pem.size, 0644, err);
	gnutls_free(pem.data);
	if (!rc)
		report_file(pki, pub_path, PKI_CREATED);
	return rc;
}

/* ---- kubeconfigs ---- */

/* The decoded value of one `name: base64` line of a kubeconfig written here; NULL where there is none. */
static char *kubeconfig_data(const char *text, const char *name)
{
	const char *at = strstr(text, name);
	if (!at)
		return NULL;
	at += strlen(name);
	at += strspn(at, ": ");
	size_t len = strcspn(at, " \r\n");
	uint8_t *data = NULL;
	size_t data_len;
	if (base64_decode(at, len, MAX_PEM, &data, &data_len))
		return NULL;
	char *out = xstrndup((char *)data, data_len);
	free(data);
	return out;
}

static bool kubeconfig_still_good(const struct pki *pki, const char *path, const struct subject *subject)
{
	autofree char *text = NULL;
	if (file_read(AT_FDCWD, path, MAX_PEM, &text, NULL, NULL))
		return false;
	autofree char *server = xprintf("server: %s\n", pki->options->server);
	autofree char *ca = kubeconfig_data(text, "certificate-authority-data");
	autofree char *crt = kubeconfig_data(text, "client-certificate-data");
	autofree char *key = kubeconfig_data(text, "client-key-data");
	if (!ca || !crt || !key || !strstr(text, server) || !str_equal(ca, pki->ca_pem))
		return false;
	autoidentity struct identity identity = {0};
	return identity_parse(crt, key, &identity) == 0 && identity_still_good(&identity, subject, &pki->authorities[0]);
}

static void append_data(struct buf *out, const char *name, const char *pem)
{
	buf_printf(out, "    %s: ", name);
	buf_append_base64(out, pem, strlen(pem));
	buf_append_char(out, '\n');
}

static int write_kubeconfig(const struct pki *pki, const char *path, const struct subject *subject, struct error *err)
{
	autoidentity struct identity identity = {0};
	int rc = identity_issue(subject, &pki->authorities[0], &identity, err);
	if (rc)
		return rc;
	autofree char *crt = crt_pem(identity.crt);
	autofree char *key = key_pem(identity.key);
	autobuf struct buf out = BUF_INIT(MAX_PEM);
	buf_printf(&out, "apiVersion: v1\nkind: Config\nclusters:\n- name: coracle\n  cluster:\n    server: %s\n", pki->options->server);
	append_data(&out, "certificate-authority-data", pki->ca_pem);
	buf_printf(&out, "users:\n- name: %s\n  user:\n", subject->common_name);
	append_data(&out, "client-certificate-data", crt);
	append_data(&out, "client-key-data", key);
	buf_printf(&out, "contexts:\n- name: %s@coracle\n  context:\n    cluster: coracle\n    user: %s\ncurrent-context: %s@coracle\n", subject->common_name, subject->common_name, subject->common_name);
	return file_write_durable(AT_FDCWD, path, out.data, out.len, 0600, err);
}

static int ensure_kubeconfig(const struct pki *pki, const char *file, const char *common_name, const char *organization, struct error *err)
{
	autofree char *path = xprintf("%s/%s.kubeconfig", pki->options->kubeconfig_dir, file);
	struct subject subject = {.common_name = common_name, .organization = organization, .usage = USAGE_CLIENT};
	if (kubeconfig_still_good(pki, path, &subject)) {
		report_file(pki, path, PKI_KEPT);
		return 0;
	}
	enum pki_state state = file_exists(path) ? PKI_RENEWED : PKI_CREATED;
	int rc = write_kubeconfig(pki, path, &subject, err);
	if (!rc)
		report_file(pki, path, state);
	return rc;
}

/* Whether the file is of another node than the one named: then it is not ours to replace. */
static bool kubeconfig_is_of_other(const char *path, const char *common_name)
{
	autofree char *text = NULL;
	if (file_read(AT_FDCWD, path, MAX_PEM, &text, NULL, NULL))
		return false;
	autofree char *line = xprintf("- name: %s\n", common_name);
	return strstr(text, "- name: system:node:") && !strstr(text, line);
}

static int ensure_kubeconfigs(const struct pki *pki, struct error *err)
{
	if (!pki->options->kubeconfig_dir)
		return 0;
	int rc = file_mkdir_all(pki->options->kubeconfig_dir, 0755, err);
	for (size_t i = 0; !rc && i < array_len(users); i++)
		rc = ensure_kubeconfig(pki, users[i].file, users[i].common_name, users[i].organization, err);
	/* The first node's is kubelet.kubeconfig; further nodes carry their name. */
	for (size_t i = 0; !rc && i < pki->options->nodes.len; i++) {
		autofree char *common_name = xprintf("system:node:%s", pki->options->nodes.items[i]);
		autofree char *plain = xprintf("%s/kubelet.kubeconfig", pki->options->kubeconfig_dir);
		autofree char *named = xprintf("kubelet-%s", pki->options->nodes.items[i]);
		rc = ensure_kubeconfig(pki, i || kubeconfig_is_of_other(plain, common_name) ? named : "kubelet", common_name, "system:nodes", err);
	}
	return rc;
}

static void pki_done(struct pki *pki)
{
	for (size_t i = 0; i < array_len(pki->authorities); i++)
		identity_done(&pki->authorities[i]);
	free(pki->ca_pem);
}

int pki_init(const struct pki_options *options, void (*report)(const char *path, enum pki_state state, void *arg), void *arg, struct error *err)
{
	struct pki pki = {.options = options, .report = report, .report_arg = arg};
	int rc = file_mkdir_all(options->dir, 0755, err);
	for (size_t i = 0; !rc && i < array_len(certificates); i++)
		rc = ensure_certificate(&pki, &certificates[i], SIZE_MAX, certificates[i].authority ? NULL : &pki.authorities[i], err);
	for (size_t i = 0; !rc && i < options->nodes.len; i++)
		rc = ensure_certificate(&pki, &node_certificate, i, NULL, err);
	if (!rc)
		rc = ensure_service_account_key(&pki, err);
	if (!rc) {
		pki.ca_pem = crt_pem(pki.authorities[0].crt);
		rc = ensure_kubeconfigs(&pki, err);
	}
	pki_done(&pki);
	return rc;
}

/* ---- checking ---- */

struct check {
	void (*report)(const struct pki_status *status, void *arg);
	void *arg;
	gnutls_x509_crt_t authorities[8];
	size_t authority_count;
	size_t problems;
};

static void check_crt(struct check *check, const char *path, gnutls_x509_crt_t crt)
{
	char cn[256] = "", issuer[256] = "";
	size_t cn_len = sizeof(cn), issuer_len = sizeof(issuer);
	gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, cn, &cn_len);
	gnutls_x509_crt_get_issuer_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, issuer, &issuer_len);
	struct pki_status status = {.path = path, .subject = cn, .authority = issuer, .not_after = gnutls_x509_crt_get_expiration_time(crt)};
	int64_t now = clock_wall().sec;
	bool trusted = false;
	for (size_t i = 0; i < check->authority_count; i++)
		trusted |= crt_signed_by(crt, check->authorities[i]);
	if (status.not_after < now)
		status.problem = "expired";
	else if (gnutls_x509_crt_get_activation_time(crt) > now)
		status.problem = "not valid yet";
	else if (!trusted)
		status.problem = "not signed by an authority of this folder";
	check->problems += status.problem != NULL;
	check->report(&status, check->arg);
}

static int check_file(struct check *check, const char *path, struct error *err)
{
	autofree char *text = NULL;
	int rc = file_read(AT_FDCWD, path, MAX_PEM, &text, NULL, err);
	if (rc)
		return rc;
	autofree char *inner = str_ends_with(path, ".kubeconfig") ? kubeconfig_data(text, "client-certificate-data") : NULL;
	const char *pem = str_ends_with(path, ".kubeconfig") ? inner : text;
	gnutls_x509_crt_t crt;
	if (!pem || crt_parse(pem, strlen(pem), &crt)) {
		check->problems++;
		check->report(&(struct pki_status){.path = path, .subject = "", .authority = "", .problem = "not a certificate"}, check->arg);
		return 0;
	}
	check_crt(check, path, crt);
	gnutls_x509_crt_deinit(crt);
	return 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int check_dir(struct check *check, const char *dir, const char *suffix, struct error *err)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, NULL, compare_names);
	if (count < 0)
		return error_set_errno(err, errno, "open %s", dir);
	int rc = 0;
	for (int i = 0; i < count; i++) {
		if (!rc && str_ends_with(entries[i]->d_name, suffix)) {
			autofree char *path = path_join(dir, entries[i]->d_name, NULL);
			rc = check_file(check, path, err);
		}
		free(entries[i]);
	}
	free(entries);
	return rc;
}

int pki_check(const char *dir, const char *kubeconfig_dir, void (*report)(const struct pki_status *status, void *arg), void *arg, struct error *err)
{
	struct check check = {.report = report, .arg = arg};
	for (size_t i = 0; i < array_len(certificates) && check.authority_count < array_len(check.authorities); i++) {
		if (certificates[i].authority)
			continue;
		autofree char *path = xprintf("%s/%s.crt", dir, certificates[i].file);
		autofree char *text = NULL;
		size_t len;
		if (file_read(AT_FDCWD, path, MAX_PEM, &text, &len, NULL) == 0 && crt_parse(text, len, &check.authorities[check.authority_count]) == 0)
			check.authority_count++;
	}
	int rc = check_dir(&check, dir, ".crt", err);
	if (!rc && kubeconfig_dir)
		rc = check_dir(&check, kubeconfig_dir, ".kubeconfig", err);
	for (size_t i = 0; i < check.authority_count; i++)
		gnutls_x509_crt_deinit(check.authorities[i]);
	if (!rc && check.problems)
		rc = error_set(err, EINVAL, "%zu certificates have problems", check.problems);
	return rc;
}
