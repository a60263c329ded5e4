/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/authorities.h"
#include "apiserver/timers.h"
#include "common/base/file_watch.h"
#include "common/base/log.h"

#include <errno.h>
#include <gnutls/x509.h>
#include <pthread.h>

/* Immutable, counted. */
struct lists {
	unsigned refs; /* atomic */
	gnutls_x509_trust_list_t users, proxies;
};
struct authorities {
	const char *users, *proxies; /* paths */
	struct file_watch *watch;    /* NULL: both are one, or there is no other for proxies: whom TLS trusts is trusted */
	pthread_mutex_t lock;        /* guards lists */
	struct lists *lists;
};

static void lists_unref(struct lists *lists) {
	if (!lists || __atomic_sub_fetch(&lists->refs, 1, __ATOMIC_ACQ_REL))
		return;
	if (lists->users)
		gnutls_x509_trust_list_deinit(lists->users, 1);
	if (lists->proxies)
		gnutls_x509_trust_list_deinit(lists->proxies, 1);
	free(lists);
}

static int load_one(const char *path, gnutls_x509_trust_list_t *ret, struct error *err) {
	gnutls_x509_trust_list_init(ret, 0);
	if (!str_empty(path) && gnutls_x509_trust_list_add_trust_file(*ret, path, NULL, GNUTLS_X509_FMT_PEM, 0, 0) <= 0)
		return error_set(err, EINVAL, "%s: no usable certificate", path);
	return 0;
}

static int load(const struct authorities *a, struct lists **ret, struct error *err) {
	struct lists *lists = xnew(struct lists);
	lists->refs = 1;
	int rc = load_one(a->proxies, &lists->proxies, err);
	if (rc == 0)
		rc = load_one(a->users, &lists->users, err);
	if (rc < 0)
		lists_unref(lists);
	else
		*ret = lists;
	return rc;
}

static void on_change(void *arg) {
	struct authorities *a = arg;
	struct lists *fresh, *old;
	autoerror struct error err = {0};
	if (load(a, &fresh, &err) < 0) {
		log_error("the authorities of clients stay as they were", LOG_ERR(&err));
		return;
	}
	pthread_mutex_lock(&a->lock);
	old = a->lists;
	a->lists = fresh;
	pthread_mutex_unlock(&a->lock);
	lists_unref(old);
	log_info("the authorities of clients were read again");
}

int authorities_new(struct apiserver *server, struct authorities **ret, struct error *err) {
	const struct apiserver_options *o = server->options;
	struct authorities *a = xnew(struct authorities);
	*a = (struct authorities){.users = o->client_ca_file, .proxies = o->requestheader_client_ca_file};
	pthread_mutex_init(&a->lock, NULL);
	*ret = a;
	if (str_empty(a->proxies) || str_equal(a->users, a->proxies))
		return 0;
	int rc = load(a, &a->lists, err);
	if (rc < 0) {
		authorities_free(take_ptr(*ret));
		return rc;
	}
	a->watch = file_watch_start(timers_loop(server->timers), (const char *const[]){a->users, a->proxies}, 2, on_change, a);
	return 0;
}

void authorities_free(struct authorities *a) {
	if (!a)
		return;
	file_watch_stop(a->watch);
	lists_unref(a->lists);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

static bool vouch(struct authorities *a, bool proxy, const struct http_peer_cert *cert) {
	if (!a->watch)
		return true;
	pthread_mutex_lock(&a->lock);
	struct lists *lists = a->lists;
	__atomic_add_fetch(&lists->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&a->lock);
	gnutls_x509_crt_t crt;
	gnutls_datum_t der = {.data = (unsigned char *)cert->der, .size = (unsigned)cert->der_len};
	unsigned status = GNUTLS_CERT_INVALID;
	gnutls_x509_crt_init(&crt);
	if (gnutls_x509_crt_import(crt, &der, GNUTLS_X509_FMT_DER) >= 0 && gnutls_x509_trust_list_verify_crt(proxy ? lists->proxies : lists->users, &crt, 1, 0, &status, NULL) < 0)
		status = GNUTLS_CERT_INVALID;
	gnutls_x509_crt_deinit(crt);
	lists_unref(lists);
	return status == 0;
}

bool authorities_vouch_user(struct authorities *a, const struct http_peer_cert *cert) {
	return vouch(a, false, cert);
}

bool authorities_vouch_proxy(struct authorities *a, const struct http_peer_cert *cert) {
	return vouch(a, true, cert);
}
