/* SPDX-License-Identifier: Apache-2.0 */
/* Who the client is, what it may speak, and certificates that change. */
#include "common/base/base.h"
#include "common/http/http.h"
#include "common/http/selfsigned.h"

#include "peer.h"
#include "pki.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <cmocka.h>

static struct pki pki;
static atomic_int warnings;

static void handler(struct http_request *req, void *arg)
{
	const struct http_peer_cert *cert = http_peer_certificate(req);
	autobuf struct buf text = BUF_INIT(4096);
	if (!cert) {
		buf_append_str(&text, "anonymous");
	} else {
		buf_printf(&text, "%s:", cert->common_name);
		for (const char *const *o = cert->organizations; *o; o++)
			buf_printf(&text, "%s,", *o);
	}
	http_respond(req, 200, "text/plain", text.data, text.len);
}

static void on_warning(const char *message, void *arg)
{
	atomic_fetch_add(&warnings, 1);
}

struct fixture {
	struct http_server *server;
	struct peer_options peer;
	uint16_t port;
};

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.bind_address = "127.0.0.1";
	options.threads = 1;
	options.tls = true;
	options.cert_file = pki.cert;
	options.key_file = pki.key;
	options.client_ca_file = pki.ca;
	options.handler = handler;
	options.on_warning = on_warning;
	autoerror struct error err = {0};
	assert_int_equal(http_server_start(&options, &f->server, &err), 0);
	f->port = http_server_port(f->server);
	f->peer.tls = true;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	http_server_stop(f->server, 100);
	free(f);
	return 0;
}

static void expect(struct peer *peer, int status, const char *body)
{
	struct answer a;
	assert_true(peer_answer(peer, &a, false));
	assert_int_equal(a.status, status);
	assert_string_equal(a.body, body);
	free(a.body);
}

static void test_identity(void **state)
{
	struct fixture *f = *state;
	const struct {
		const char *cert, *key, *who;
	} rows[] = {{NULL, NULL, "anonymous"}, {pki.client_cert, pki.client_key, "jane:dev,ops,"}, {pki.stranger_cert, pki.stranger_key, "anonymous"},
		/* A certificate of our CA that is for servers. */
		{pki.cert, pki.key, "anonymous"}};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct peer_options options = {.tls = true, .cert = rows[i].cert, .key = rows[i].key};
		struct peer peer = peer_connect(f->port, &options);
		gnutls_datum_t alpn;
		assert_int_equal(gnutls_alpn_get_selected_protocol(peer.tls, &alpn), 0);
		peer_say(&peer, "GET /who HTTP/1.1\r\nHost: x\r\n\r\n");
		expect(&peer, 200, rows[i].who);
		peer_close(&peer);
	}
}

static void served_name(struct fixture *f, char *out, size_t len)
{
	struct peer peer = peer_connect(f->port, &f->peer);
	unsigned count;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(peer.tls, &count);
	gnutls_x509_crt_t crt;
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_import(crt, chain, GNUTLS_X509_FMT_DER);
	gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &len);
	gnutls_x509_crt_deinit(crt);
	peer_close(&peer);
}

static void test_reload(void **state)
{
	struct fixture *f = *state;
	char name[64] = "";
	served_name(f, name, sizeof(name));
	assert_string_equal(name, "server");
	pki_renew(&pki, "renewed", 9);
	for (int i = 0; i < 100 && strcmp(name, "renewed"); i++) {
		usleep(10000);
		served_name(f, name, sizeof(name));
	}
	assert_string_equal(name, "renewed");
	pki_renew(&pki, "server", 10);
}

/* Half of a new pair is in place: the old certificate goes on, and the operator hears of it. */
static void test_broken_reload(void **state)
{
	struct fixture *f = *state;
	char name[64] = "";
	char key[128];
	snprintf(key, sizeof(key), "%s.kept", pki.key);
	assert_int_equal(rename(pki.key, key), 0);
	gnutls_x509_privkey_deinit(pki_key(pki.key));
	for (int i = 0; i < 1000 && !atomic_load(&warnings); i++)
		usleep(5000);
	assert_true(atomic_load(&warnings) > 0);
	served_name(f, name, sizeof(name));
	assert_string_equal(name, "server");
	assert_int_equal(rename(key, pki.key), 0);
}

/* A second connection with the ticket of the first is resumed, and still has its identity. */
static void test_resumption(void **state)
{
	struct fixture *f = *state;
	struct peer_options options = {.tls = true, .cert = pki.client_cert, .key = pki.client_key};
	struct peer peer = peer_connect(f->port, &options);
	peer_say(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "jane:dev,ops,");
	gnutls_datum_t session;
	assert_int_equal(gnutls_session_get_data2(peer.tls, &session), 0);
	peer_close(&peer);
	options.resume = &session;
	peer = peer_connect(f->port, &options);
	assert_true(gnutls_session_is_resumed(peer.tls));
	peer_say(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "jane:dev,ops,");
	peer_close(&peer);
	gnutls_free(session.data);
}

static void test_versions(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *priority;
		bool granted;
	} rows[] = {{"NORMAL:-VERS-ALL:+VERS-TLS1.2", true}, {"NORMAL:-VERS-ALL:+VERS-TLS1.3", true}, {"NORMAL:-VERS-ALL:+VERS-TLS1.1:+VERS-TLS1.0", false}};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct peer_options options = {.tls = true, .priority = rows[i].priority, .may_fail = true};
		struct peer peer = peer_connect(f->port, &options);
		assert_int_equal(peer.failed, !rows[i].granted);
		if (rows[i].granted) {
			peer_say(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
			expect(&peer, 200, "anonymous");
		}
		peer_close(&peer);
	}
}

/* A request right behind a new key is not forgotten. */
static void test_key_update(void **state)
{
	struct fixture *f = *state;
	struct peer_options options = {.tls = true, .priority = "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
	struct peer peer = peer_connect(f->port, &options);
	for (int i = 0; i < 5; i++) {
		int on = 1, off = 0;
		setsockopt(peer.fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));
		assert_int_equal(gnutls_session_key_update(peer.tls, GNUTLS_KU_PEER), 0);
		peer_say(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
		setsockopt(peer.fd, IPPROTO_TCP, TCP_CORK, &off, sizeof(off));
		expect(&peer, 200, "anonymous");
	}
	peer_close(&peer);
}

static void test_bad_files(void **state)
{
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	struct http_server *server;
	autoerror struct error err = {0};
	options.bind_address = "127.0.0.1";
	options.tls = true;
	options.cert_file = pki.cert;
	options.key_file = pki.client_key;
	options.handler = handler;
	assert_true(http_server_start(&options, &server, &err) < 0);
	assert_non_null(strstr(err.message, "client.key"));
	options.key_file = "/nonexistent";
	assert_true(http_server_start(&options, &server, &err) < 0);
	options.bind_address = "not an address";
	options.tls = false;
	assert_true(http_server_start(&options, &server, &err) < 0);
}

/* Who comes with which suite is let in, under which policy. */
static void test_policies(void **state)
{
	static const struct {
		const char *version;
		const char *suites[3];
		size_t count;
		bool known, aes128, aes256, tls13;
	} rows[] = {
		{"", {NULL}, 0, true, true, true, true},
		{"VersionTLS12", {NULL}, 0, true, true, true, true},
		{"VersionTLS13", {NULL}, 0, true, false, false, true},
		{"", {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"}, 2, true, false, true, true},
		{"", {"TLS_RSA_WITH_AES_128_CBC_SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"}, 3, true, true, false, true},
		{"", {"TLS_AES_128_GCM_SHA256"}, 1, true, false, false, true},
		{"", {"TLS_RSA_WITH_AES_128_CBC_SHA"}, 1, false, false, false, false},
		{"", {"TLS_OF_TOMORROW"}, 1, false, false, false, false},
		{"TLS13", {NULL}, 0, false, false, false, false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
		struct http_server *server;
		autoerror struct error err = {0};
		autofree char *policy = NULL;
		int r = http_tls_policy(rows[i].version, (char *const *)rows[i].suites, rows[i].count, &policy, &err);
		assert_int_equal(r, rows[i].known ? 0 : -EINVAL);
		if (r < 0)
			continue;
		options.bind_address = "127.0.0.1";
		options.threads = 1;
		options.tls = true;
		options.cert_file = pki.cert;
		options.key_file = pki.key;
		options.tls_policy = policy;
		options.handler = handler;
		assert_int_equal(http_server_start(&options, &server, &err), 0);
		const char *const priorities[] = {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-GCM", "NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-256-GCM", "NORMAL:-VERS-ALL:+VERS-TLS1.3"};
		const bool granted[] = {rows[i].aes128, rows[i].aes256, rows[i].tls13};
		for (size_t n = 0; n < array_len(priorities); n++) {
			struct peer_options peer_options = {.tls = true, .priority = priorities[n], .may_fail = true};
			struct peer peer = peer_connect(http_server_port(server), &peer_options);
			if (peer.failed == granted[n])
				fail_msg("policy %s, client %s", policy, priorities[n]);
			peer_close(&peer);
		}
		http_server_stop(server, 100);
	}
}

static void name_served(uint16_t port, const char *asked, char *out, size_t len)
{
	struct peer_options options = {.tls = true, .name = asked};
	struct peer peer = peer_connect(port, &options);
	unsigned count;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(peer.tls, &count);
	gnutls_x509_crt_t crt;
	gnutls_x509_crt_init(&crt);
	gnutls_x509_crt_import(crt, chain, GNUTLS_X509_FMT_DER);
	gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &len);
	gnutls_x509_crt_deinit(crt);
	peer_close(&peer);
}

/* Which certificate a client is shown depends on whom it asks for. */
static void test_names(void **state)
{
	char paths[3][2][96];
	static const char *const common[] = {"first.example.com", "second", "*.third.example.com"};
	for (int i = 0; i < 3; i++) {
		snprintf(paths[i][0], sizeof(paths[i][0]), "%s/sni%d.crt", pki.dir, i);
		snprintf(paths[i][1], sizeof(paths[i][1]), "%s/sni%d.key", pki.dir, i);
		gnutls_x509_privkey_t key = pki_key(paths[i][1]);
		gnutls_x509_crt_deinit(pki_cert(paths[i][0], key, common[i], NULL, 0, GNUTLS_KP_TLS_WWW_SERVER, pki.ca_crt, pki.ca_key, (unsigned char)(20 + i)));
		gnutls_x509_privkey_deinit(key);
	}
	autofree char *first = xprintf("%s,%s", paths[0][0], paths[0][1]), *second = xprintf("%s,%s:*.example.com, Exact.example.com", paths[1][0], paths[1][1]), *third = xprintf(" %s,%s ", paths[2][0], paths[2][1]);
	char *const pairs[] = {first, second, third};
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	struct http_server *server;
	autoerror struct error err = {0};
	options.bind_address = "127.0.0.1";
	options.threads = 1;
	options.tls = true;
	options.cert_file = pki.cert;
	options.key_file = pki.key;
	options.client_ca_file = pki.ca;
	options.sni = pairs;
	options.sni_count = array_len(pairs);
	options.handler = handler;
	assert_int_equal(http_server_start(&options, &server, &err), 0);
	static const struct {
		const char *asked, *served;
	} rows[] = {{NULL, "server"}, {"elsewhere.org", "server"}, {"first.example.com", "first.example.com"}, {"FIRST.example.com", "first.example.com"}, {"any.example.com", "second"}, {"exact.example.com", "second"},
		{"a.b.example.com", "server"}, {"x.third.example.com", "*.third.example.com"}, {"example.com", "server"}};
	for (size_t i = 0; i < array_len(rows); i++) {
		char name[64] = "";
		name_served(http_server_port(server), rows[i].asked, name, sizeof(name));
		assert_string_equal(name, rows[i].served);
	}
	/* Who it is, is known under each of them. */
	struct peer_options known = {.tls = true, .cert = pki.client_cert, .key = pki.client_key, .name = "first.example.com"};
	struct peer peer = peer_connect(http_server_port(server), &known);
	peer_say(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "jane:dev,ops,");
	peer_close(&peer);
	/* They are read again too. */
	char name[64] = "";
	gnutls_x509_privkey_t key = pki_key(paths[1][1]);
	gnutls_x509_crt_deinit(pki_cert(paths[1][0], key, "renewed", NULL, 0, GNUTLS_KP_TLS_WWW_SERVER, pki.ca_crt, pki.ca_key, 30));
	gnutls_x509_privkey_deinit(key);
	for (int i = 0; i < 1000 && strcmp(name, "renewed"); i++) {
		usleep(10000);
		name_served(http_server_port(server), "any.example.com", name, sizeof(name));
	}
	assert_string_equal(name, "renewed");
	http_server_stop(server, 100);
	static const char *const bad[] = {"one", "a,b,c", "a,b:", "/nonexistent,/nonexistent"};
	for (size_t i = 0; i < array_len(bad); i++) {
		char *const one[] = {(char *)bad[i]};
		options.sni = one;
		options.sni_count = 1;
		assert_true(http_server_start(&options, &server, &err) < 0);
	}
	for (int i = 0; i < 3; i++) {
		unlink(paths[i][0]);
		unlink(paths[i][1]);
	}
}

static void test_selfsigned(void **state)
{
	struct selfsigned own = SELFSIGNED_INIT;
	autoerror struct error err = {0};
	assert_int_equal(selfsigned_make(&own, &err), 0);
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	options.bind_address = "127.0.0.1";
	options.tls = true;
	options.cert_file = own.cert_path;
	options.key_file = own.key_path;
	options.handler = handler;
	struct http_server *server;
	assert_int_equal(http_server_start(&options, &server, &err), 0);
	selfsigned_done(&own);
	struct peer_options tls = {.tls = true};
	struct peer peer = peer_connect(http_server_port(server), &tls);
	peer_say(&peer, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
	expect(&peer, 200, "anonymous");
	peer_close(&peer);
	http_server_stop(server, 100);
}

int main(void)
{
	pki_make(&pki);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken_reload, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resumption, setup, teardown),
		cmocka_unit_test_setup_teardown(test_versions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_key_update, setup, teardown),
		cmocka_unit_test(test_bad_files),
		cmocka_unit_test(test_policies),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_selfsigned),
	};
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	pki_remove(&pki);
	return rc;
}
