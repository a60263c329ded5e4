/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/certificate/pair.h"
#include "kubelet/certificate/store.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>
#include <cmocka.h>

#define DAY (24 * 3600)
#define BORN 1700000000

static const char *const names[] = {"node-a", "192.0.2.7", "2001:db8::7", NULL};

/* As a signer does it; the request's names are taken over. */
static char *sign(const char *request, int64_t from, int64_t to)
{
	gnutls_x509_crq_t crq;
	gnutls_x509_crt_t crt;
	gnutls_x509_privkey_t key;
	gnutls_datum_t in = {(unsigned char *)request, (unsigned)strlen(request)}, out;
	unsigned char san[1024];
	size_t len = sizeof(san);
	unsigned critical;
	assert_int_equal(gnutls_x509_crq_init(&crq), 0);
	assert_int_equal(gnutls_x509_crq_import(crq, &in, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_crq_verify(crq, 0), 0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_crq(crt, crq), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(crt, "\1", 1), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(crt, (time_t)from), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, (time_t)to), 0);
	if (gnutls_x509_crq_get_extension_by_oid(crq, GNUTLS_X509EXT_OID_SAN, 0, san, &len, &critical) >= 0)
		assert_int_equal(gnutls_x509_crt_set_extension_by_oid(crt, GNUTLS_X509EXT_OID_SAN, san, len, critical), 0);
	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0), 0);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key, GNUTLS_DIG_SHA256, 0), 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &out), 0);
	char *pem = xstrndup((char *)out.data, out.size);
	gnutls_free(out.data);
	gnutls_x509_privkey_deinit(key);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_crq_deinit(crq);
	return pem;
}

static struct pair make(const char *node, const char *const *for_names)
{
	autofree char *key = NULL, *request = NULL;
	struct pair pair;
	autoerror struct error err = {0};
	assert_int_equal(pair_make_key(&key, &err), 0);
	assert_int_equal(pair_make_request(key, node, for_names, &request, &err), 0);
	assert_true(str_starts_with(request, "-----BEGIN CERTIFICATE REQUEST-----"));
	autofree char *cert = sign(request, BORN, BORN + 100 * DAY);
	assert_int_equal(pair_make(cert, key, &pair, &err), 0);
	return pair;
}

static void test_request_asks_for_what_it_is_for(void **state)
{
	struct pair client = make("node-a", NULL), serving = make("node-a", names);
	assert_true(pair_is_for(&client, "node-a", NULL));
	assert_false(pair_is_for(&client, "node-b", NULL));
	assert_false(pair_is_for(&client, "node-a", names));
	assert_true(pair_is_for(&serving, "node-a", names));
	const char *const fewer[] = {"192.0.2.7", NULL}, *const others[] = {"node-a", "192.0.2.8", NULL}, *const prefix[] = {"node", NULL};
	assert_true(pair_is_for(&serving, "node-a", fewer));
	assert_false(pair_is_for(&serving, "node-a", others));
	assert_false(pair_is_for(&serving, "node-a", prefix));
	pair_done(&client);
	pair_done(&serving);
	assert_false(pair_is_for(&client, "node-a", NULL));
}

static void test_life(void **state)
{
	struct pair pair = make("node-a", NULL);
	assert_int_equal(pair.not_before, BORN);
	assert_true(pair_is_valid(&pair, BORN + 100 * DAY));
	assert_false(pair_is_valid(&pair, BORN + 100 * DAY + 1));
	int64_t least = INT64_MAX, most = 0;
	for (int i = 0; i < 1000; i++) {
		int64_t at = pair_renew_at(&pair);
		least = min_of(least, at);
		most = max_of(most, at);
	}
	assert_in_range(least, BORN + 70 * DAY, BORN + 72 * DAY);
	assert_in_range(most, BORN + 88 * DAY, BORN + 90 * DAY);
	pair_done(&pair);
}

static void test_what_does_not_belong_together_is_refused(void **state)
{
	struct pair a = make("node-a", NULL), b = make("node-a", NULL), mixed;
	autoerror struct error err = {0};
	assert_int_equal(pair_make(a.cert, b.key, &mixed, &err), -EINVAL);
	assert_int_equal(pair_make("no PEM", a.key, &mixed, &err), -EINVAL);
	assert_int_equal(pair_make(a.cert, "", &mixed, &err), -EINVAL);
	char *request;
	assert_int_equal(pair_make_request("no key", "node-a", NULL, &request, &err), -EINVAL);
	/* A chain is as good as its shortest. */
	autofree char *key = NULL, *text = NULL;
	assert_int_equal(pair_make_key(&key, NULL), 0);
	assert_int_equal(pair_make_request(key, "ca", NULL, &text, NULL), 0);
	autofree char *ca = sign(text, BORN, BORN + DAY), *chain = xprintf("%s%s", a.cert, ca);
	assert_int_equal(pair_make(chain, a.key, &mixed, &err), 0);
	assert_int_equal(mixed.not_after, BORN + DAY);
	pair_done(&mixed);
	pair_done(&a);
	pair_done(&b);
}

static void test_store_swaps_a_link(void **state)
{
	char dir[] = "/tmp/pair-test-XXXXXX";
	assert_non_null(mkdtemp(dir));
	autofree char *pki = path_join(dir, "pki", NULL), *current = pair_store_path(pki, "kubelet-client"), *left = path_join(pki, "kubelet-client-updated.pem", NULL);
	struct pair a = make("node-a", NULL), b = make("node-b", NULL), read;
	autoerror struct error err = {0};
	struct stat st;
	assert_int_equal(pair_store_read(pki, "kubelet-client", &read, &err), -ENOENT);
	assert_int_equal(pair_store_write(pki, "kubelet-client", &a, &err), 0);
	assert_int_equal(lstat(current, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(current, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(pair_store_read(pki, "kubelet-client", &read, &err), 0);
	assert_true(pair_is_for(&read, "node-a", NULL));
	pair_done(&read);
	/* One that a kill left behind does not stand in the way. */
	assert_int_equal(symlink("/nowhere", left), 0);
	assert_int_equal(pair_store_write(pki, "kubelet-client", &b, &err), 0);
	assert_int_equal(pair_store_read(pki, "kubelet-client", &read, &err), 0);
	assert_true(pair_is_for(&read, "node-b", NULL));
	assert_false(file_exists(left));
	pair_done(&read);
	assert_int_equal(file_write(AT_FDCWD, current, "broken", 6, 0600, &err), 0);
	assert_int_equal(pair_store_read(pki, "kubelet-client", &read, &err), -EINVAL);
	pair_done(&a);
	pair_done(&b);
	assert_int_equal(file_remove_all(dir, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_request_asks_for_what_it_is_for),
		cmocka_unit_test(test_life),
		cmocka_unit_test(test_what_does_not_belong_together_is_refused),
		cmocka_unit_test(test_store_swaps_a_link),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
