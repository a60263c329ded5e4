/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and sessions. Credentials are immutable and counted: when a file changes a new set is read and swapped in, and
 * sessions that began with the old one keep it. The folders are watched, not the files, since both kubeadm (rename) and
 * Kubernetes volumes (a link swapped) replace them.
 */
#include "common/http/internal.h"

#include "common/base/file.h"
#include "common/http/sni.h"

#include <arpa/inet.h>

#include <errno.h>
#include <fcntl.h>
#include <gnutls/x509.h>
#include <libgen.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { PEM_MAX = 4 << 20, ORGANIZATIONS_MAX = 64 };

/* AEAD only; AES-128 first, which is twice as fast as 256 where it matters and what Go prefers too. */
#define VERSIONS "NORMAL:-VERS-ALL:+VERS-TLS1.3"
static const char priorities[] = VERSIONS ":+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305:-RSA:-DHE-RSA:%SERVER_PRECEDENCE";

static const struct {
	const char *name, *cipher, *exchange;
} offered[] = {
	{"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", ":+AES-128-GCM", "ECDSA"},
	{"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ":+AES-128-GCM", "RSA"},
	{"TLS_AES_128_GCM_SHA256", ":+AES-128-GCM", NULL},
	{"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", ":+AES-256-GCM", "ECDSA"},
	{"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", ":+AES-256-GCM", "RSA"},
	{"TLS_AES_256_GCM_SHA384", ":+AES-256-GCM", NULL},
	{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", ":+CHACHA20-POLY1305", "ECDSA"},
	{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", ":+CHACHA20-POLY1305", "RSA"},
	{"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", ":+CHACHA20-POLY1305", "ECDSA"},
	{"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", ":+CHACHA20-POLY1305", "RSA"},
	{"TLS_CHACHA20_POLY1305_SHA256", ":+CHACHA20-POLY1305", NULL},
};
static const char *const not_offered[] = {"TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
	"TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
	"TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", "TLS_ECDHE_RSA_WITH_RC4_128_SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", "TLS_RSA_WITH_AES_128_CBC_SHA",
	"TLS_RSA_WITH_AES_128_CBC_SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_256_CBC_SHA", "TLS_RSA_WITH_AES_256_GCM_SHA384", "TLS_RSA_WITH_RC4_128_SHA"};

static bool never_offered(const char *name)
{
	for (size_t i = 0; i < array_len(not_offered); i++)
		if (str_equal(not_offered[i], name))
			return true;
	return false;
}

int http_tls_policy(const char *min_version, char *const *suites, size_t count, char **ret, struct error *err)
{
	static const char *const versions[] = {"", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13"};
	autobuf struct buf ciphers = BUF_INIT(1024), out = BUF_INIT(4096);
	bool ecdsa = count == 0, rsa = count == 0, known = false;
	for (size_t i = 0; i < array_len(versions); i++)
		known = known || str_equal(versions[i], str_or(min_version, ""));
	if (!known)
		return error_set(err, EINVAL, "there is no TLS version \"%s\"", min_version);
	for (size_t i = 0; i < count; i++) {
		size_t at = 0;
		while (at < array_len(offered) && !str_equal(offered[at].name, suites[i]))
			at++;
		if (at == array_len(offered) && !never_offered(suites[i]))
			return error_set(err, EINVAL, "there is no TLS cipher suite \"%s\"", suites[i]);
		if (at == array_len(offered))
			continue;
		if (!ciphers.len || !strstr(ciphers.data, offered[at].cipher))
			buf_append_str(&ciphers, offered[at].cipher);
		ecdsa = ecdsa || str_equal(offered[at].exchange, "ECDSA");
		rsa = rsa || str_equal(offered[at].exchange, "RSA");
	}
	if (count && !ciphers.len)
		return error_set(err, EINVAL, "none of the TLS cipher suites can be offered");
	/* Without an exchange of 1.2's, the suites are all of 1.3. */
	bool only_13 = str_equal(min_version, "VersionTLS13") || (!ecdsa && !rsa);
	buf_printf(&out, VERSIONS "%s:-CIPHER-ALL%s:-RSA:-DHE-RSA%s%s:%%SERVER_PRECEDENCE", only_13 ? "" : ":+VERS-TLS1.2",
		ciphers.len ? ciphers.data : ":+AES-128-GCM:+AES-256-GCM:+CHACHA20-POLY1305", ecdsa || only_13 ? "" : ":-ECDHE-ECDSA", rsa || only_13 ? "" : ":-ECDHE-RSA");
	*ret = buf_take(&out);
	return 0;
}

/* A certificate for some names. */
struct named {
	gnutls_certificate_credentials_t handle;
	char **names;
};
struct tls_creds {
	atomic_uint refs;
	gnutls_certificate_credentials_t handle;
	bool verifies;
	struct named *named;
	size_t named_count;
};

struct http_tls {
	struct http_server *server;
	char *cert_file, *key_file, *ca_files[2];
	struct sni_pair *pairs;
	size_t pair_count;
	gnutls_priority_t priority;
	gnutls_datum_t ticket_key;
	pthread_mutex_t lock; /* guards creds */
	struct tls_creds *creds; /* NULL: there were none yet */
	int inotify_fd;
	struct source source;
};

void tls_creds_unref(struct tls_creds *creds)
{
	if (!creds || atomic_fetch_sub(&creds->refs, 1) != 1)
		return;
	for (size_t i = 0; i < creds->named_count; i++) {
		gnutls_certificate_free_credentials(creds->named[i].handle);
		sni_names_free(creds->named[i].names);
	}
	free(creds->named);
	if (creds->handle)
		gnutls_certificate_free_credentials(creds->handle);
	free(creds);
}

static int read_pem(const char *path, gnutls_datum_t *ret, struct error *err)
{
	char *data;
	size_t len;
	int rc = file_read(AT_FDCWD, path, PEM_MAX, &data, &len, err);
	if (rc < 0)
		return rc;
	*ret = (gnutls_datum_t){.data = (unsigned char *)data, .size = (unsigned)len};
	return 0;
}

static int trust(gnutls_certificate_credentials_t handle, const char *path, struct error *err)
{
	gnutls_datum_t ca = {0};
	int rc = read_pem(path, &ca, err);
	if (rc)
		return rc;
	int n = gnutls_certificate_set_x509_trust_mem(handle, &ca, GNUTLS_X509_FMT_PEM);
	free(ca.data);
	return n <= 0 ? error_set(err, EINVAL, "client CA %s: %s", path, n ? gnutls_strerror(n) : "no certificate in it") : 0;
}

/* names of the certificate, where ret_names is given. */
static int load_pair(const struct http_tls *tls, const char *cert_file, const char *key_file, gnutls_certificate_credentials_t *ret, char ***ret_names, struct error *err)
{
	gnutls_datum_t cert = {0}, key = {0};
	gnutls_certificate_credentials_t handle;
	int n, rc = gnutls_certificate_allocate_credentials(&handle);
	if (rc < 0)
		return error_set(err, ENOMEM, "gnutls: %s", gnutls_strerror(rc));
	rc = read_pem(cert_file, &cert, err);
	if (!rc)
		rc = read_pem(key_file, &key, err);
	if (!rc && (n = gnutls_certificate_set_x509_key_mem2(handle, &cert, &key, GNUTLS_X509_FMT_PEM, NULL, 0)) < 0)
		rc = error_set(err, EINVAL, "certificate %s with key %s: %s", cert_file, key_file, gnutls_strerror(n));
	for (size_t i = 0; !rc && i < array_len(tls->ca_files); i++)
		if (tls->ca_files[i])
			rc = trust(handle, tls->ca_files[i], err);
	if (!rc && ret_names)
		*ret_names = sni_names_of(&cert);
	if (key.data)
		explicit_bzero(key.data, key.size);
	free(cert.data);
	free(key.data);
	if (rc < 0)
		gnutls_certificate_free_credentials(handle);
	else
		*ret = handle;
	return rc;
}

static char **copy_names(char *const *names)
{
	size_t count = 0;
	while (names[count])
		count++;
	char **copy = xcalloc(count + 1, sizeof(*copy));
	for (size_t i = 0; i < count; i++)
		copy[i] = xstrdup(names[i]);
	return copy;
}

static int load(struct http_tls *tls, struct tls_creds **ret, struct error *err)
{
	struct tls_creds *creds = xnew(struct tls_creds);
	creds->refs = 1;
	creds->verifies = tls->ca_files[0] || tls->ca_files[1];
	creds->named = xcalloc(tls->pair_count + 1, sizeof(*creds->named));
	int rc = load_pair(tls, tls->cert_file, tls->key_file, &creds->handle, NULL, err);
	for (size_t i = 0; !rc && i < tls->pair_count; i++) {
		const struct sni_pair *pair = &tls->pairs[i];
		struct named named = {0};
		rc = load_pair(tls, pair->cert_file, pair->key_file, &named.handle, pair->names ? NULL : &named.names, err);
		if (rc)
			break;
		if (pair->names)
			named.names = copy_names(pair->names);
		creds->named[creds->named_count++] = named;
	}
	if (rc < 0) {
		tls_creds_unref(creds);
		return rc;
	}
	*ret = creds;
	return 0;
}

static void on_change(struct source *source, uint32_t events)
{
	struct http_tls *tls = container_of(source, struct http_tls, source);
	char drain[4096] __attribute__((aligned(8)));
	while (read(tls->inotify_fd, drain, sizeof(drain)) > 0)
		;
	autoerror struct error err = {0};
	struct tls_creds *fresh;
	int rc = load(tls, &fresh, &err);
	if (rc < 0) {
		/* Often only half of a pair has been replaced yet; the next event brings the rest. Others write into the folder too while the first pair is waited for. */
		if (rc != -ENOENT || tls->creds)
			server_warn(tls->server, error_message(&err));
		return;
	}
	pthread_mutex_lock(&tls->lock);
	struct tls_creds *old = tls->creds;
	tls->creds = fresh;
	pthread_mutex_unlock(&tls->lock);
	tls_creds_unref(old);
}

static void watch_folder(struct http_tls *tls, const char *path)
{
	if (!path)
		return;
	autofree char *copy = xstrdup(path);
	inotify_add_watch(tls->inotify_fd, dirname(copy), IN_CLOSE_WRITE | IN_MOVED_TO | IN_CREATE | IN_ONLYDIR);
}

int tls_new(struct http_server *server, struct http_tls **ret, struct error *err)
{
	struct http_tls *tls = xnew(struct http_tls);
	const struct http_server_options *options = &server->options;
	tls->server = server;
	tls->cert_file = xstrdup(str_or(options->cert_file, ""));
	tls->key_file = xstrdup(str_or(options->key_file, ""));
	tls->ca_files[0] = str_empty(options->client_ca_file) ? NULL : xstrdup(options->client_ca_file);
	tls->ca_files[1] = str_empty(options->client_ca_file_too) ? NULL : xstrdup(options->client_ca_file_too);
	tls->source.fn = on_change;
	tls->pairs = xcalloc(options->sni_count + 1, sizeof(*tls->pairs));
	pthread_mutex_init(&tls->lock, NULL);
	tls->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	int rc = options->sni_count > SNI_MAX_PAIRS ? error_set(err, E2BIG, "more than %d certificates by name", SNI_MAX_PAIRS) : 0;
	for (; !rc && tls->pair_count < options->sni_count; tls->pair_count += !rc)
		rc = sni_parse(options->sni[tls->pair_count], &tls->pairs[tls->pair_count], err);
	int n = gnutls_priority_init(&tls->priority, str_or(options->tls_policy, priorities), NULL);
	if (n < 0 || (n = gnutls_session_ticket_key_generate(&tls->ticket_key)) < 0)
		rc = error_set(err, EIO, "gnutls: %s", gnutls_strerror(n));
	if (!rc) {
		rc = load(tls, &tls->creds, err);
		if (rc < 0 && options->cert_may_come) {
			server_warn(server, error_message(err));
			if (err)
				error_done(err), *err = (struct error){0};
			rc = 0;
		}
	}
	if (rc < 0) {
		tls_free(tls);
		return rc;
	}
	*ret = tls;
	return 0;
}

void tls_watch(struct http_tls *tls, struct io_thread *thread)
{
	if (tls->inotify_fd < 0)
		return;
	watch_folder(tls, tls->cert_file);
	watch_folder(tls, tls->key_file);
	watch_folder(tls, tls->ca_files[0]);
	watch_folder(tls, tls->ca_files[1]);
	for (size_t i = 0; i < tls->pair_count; i++) {
		watch_folder(tls, tls->pairs[i].cert_file);
		watch_folder(tls, tls->pairs[i].key_file);
	}
	thread_watch(thread, tls->inotify_fd, EPOLLIN, &tls->source);
}

void tls_free(struct http_tls *tls)
{
	if (!tls)
		return;
	tls_creds_unref(tls->creds);
	if (tls->priority)
		gnutls_priority_deinit(tls->priority);
	if (tls->ticket_key.data) {
		explicit_bzero(tls->ticket_key.data, tls->ticket_key.size);
		gnutls_free(tls->ticket_key.data);
	}
	if (tls->inotify_fd >= 0)
		close(tls->inotify_fd);
	pthread_mutex_destroy(&tls->lock);
	for (size_t i = 0; i < tls->pair_count; i++)
		sni_pair_done(&tls->pairs[i]);
	free(tls->pairs);
	free(tls->cert_file);
	free(tls->key_file);
	free(tls->ca_files[0]);
	free(tls->ca_files[1]);
	free(tls);
}

/* The address that a client who names nobody has come to. */
static void own_address(const struct http_conn *conn, char *out, size_t size)
{
	struct sockaddr_storage own = {0};
	socklen_t len = sizeof(own);
	*out = '\0';
	if (getsockname(conn->sock, (struct sockaddr *)&own, &len) < 0)
		return;
	const struct in6_addr *six = &((struct sockaddr_in6 *)&own)->sin6_addr;
	if (own.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&own)->sin_addr, out, (socklen_t)size);
	else if (own.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(six))
		inet_ntop(AF_INET, six->s6_addr + 12, out, (socklen_t)size);
	else if (own.ss_family == AF_INET6)
		inet_ntop(AF_INET6, six, out, (socklen_t)size);
}

/* Once the client has said whom it means to talk to: a name of its own comes before one that stands for many, earlier certificates before later ones. */
static int choose_certificate(gnutls_session_t session)
{
	const struct http_conn *conn = gnutls_session_get_ptr(session);
	const struct tls_creds *creds = conn->creds;
	char name[256];
	size_t len = sizeof(name);
	unsigned type;
	if (!creds->named_count)
		return 0;
	bool asked = gnutls_server_name_get(session, name, &len, &type, 0) == 0 && type == GNUTLS_NAME_DNS;
	if (!asked)
		own_address(conn, name, sizeof(name));
	for (int wild = 0; wild <= asked; wild++)
		for (size_t i = 0; i < creds->named_count; i++)
			if (*name && sni_matches(creds->named[i].names, name, wild))
				return gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, creds->named[i].handle);
	return 0;
}

int tls_session_start(struct http_tls *tls, struct http_conn *conn)
{
	static const gnutls_datum_t alpn = {.data = (unsigned char *)"http/1.1", .size = 8};
	pthread_mutex_lock(&tls->lock);
	struct tls_creds *creds = tls->creds;
	if (creds)
		atomic_fetch_add(&creds->refs, 1);
	pthread_mutex_unlock(&tls->lock);
	if (!creds)
		return -ENOENT;
	gnutls_session_t session = NULL;
	int rc = gnutls_init(&session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);
	if (!rc)
		rc = gnutls_priority_set(session, tls->priority);
	if (!rc)
		rc = gnutls_credentials_set(session, GNUTLS_CRD_CERTIFICATE, creds->handle);
	if (!rc)
		rc = gnutls_session_ticket_enable_server(session, &tls->ticket_key);
	if (!rc)
		rc = gnutls_alpn_set_protocols(session, &alpn, 1, 0);
	if (rc < 0) {
		if (session)
			gnutls_deinit(session);
		tls_creds_unref(creds);
		return -ENOMEM;
	}
	if (creds->verifies)
		gnutls_certificate_server_set_request(session, GNUTLS_CERT_REQUEST);
	gnutls_handshake_set_timeout(session, GNUTLS_INDEFINITE_TIMEOUT);
	gnutls_transport_set_ptr2(session, conn, (gnutls_transport_ptr_t)(intptr_t)conn->sock);
	gnutls_transport_set_pull_function(session, transport_pull);
	gnutls_session_set_ptr(session, conn);
	gnutls_handshake_set_post_client_hello_function(session, choose_certificate);
	conn->tls = session;
	conn->creds = creds;
	return 0;
}

/* The index-th value of an attribute of the subject; NULL past the last, and where it hides a NUL. */
static char *subject_part(gnutls_x509_crt_t crt, const char *oid, unsigned index)
{
	char value[1024];
	size_t len = sizeof(value) - 1;
	if (gnutls_x509_crt_get_dn_by_oid(crt, oid, index, 0, value, &len) < 0)
		return NULL;
	value[len] = 0;
	return strlen(value) == len ? xstrndup(value, len) : NULL;
}

static struct http_peer_cert *parse_certificate(const gnutls_datum_t *der)
{
	gnutls_x509_crt_t crt;
	if (gnutls_x509_crt_init(&crt) < 0)
		return NULL;
	struct http_peer_cert *cert = NULL;
	if (gnutls_x509_crt_import(crt, der, GNUTLS_X509_FMT_DER) >= 0) {
		cert = xnew(struct http_peer_cert);
		char *name = subject_part(crt, GNUTLS_OID_X520_COMMON_NAME, 0);
		cert->common_name = name ? name : xstrdup("");
		char **organizations = xcalloc(ORGANIZATIONS_MAX + 1, sizeof(*organizations));
		for (unsigned i = 0; i < ORGANIZATIONS_MAX && (organizations[i] = subject_part(crt, GNUTLS_OID_X520_ORGANIZATION_NAME, i)); i++)
			;
		cert->organizations = (const char *const *)organizations;
		cert->der = xmemdup(der->data, der->size);
		cert->der_len = der->size;
		cert->not_after = gnutls_x509_crt_get_expiration_time(crt);
	}
	gnutls_x509_crt_deinit(crt);
	return cert;
}

void tls_read_certificate(struct http_conn *conn)
{
	unsigned count = 0, status = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(conn->tls, &count);
	if (!chain || !count || !conn->creds->verifies)
		return;
	gnutls_typed_vdata_st purpose = {.type = GNUTLS_DT_KEY_PURPOSE_OID, .data = (unsigned char *)GNUTLS_KP_TLS_WWW_CLIENT};
	if (gnutls_certificate_verify_peers(conn->tls, &purpose, 1, &status) < 0 || status)
		return;
	conn->certificate = parse_certificate(&chain[0]);
}
