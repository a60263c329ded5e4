/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests the signers sign, and with which CA. Keys and requests were made for this test alone. */
#include "../fake_world.h"

#include "api/certificates_v1.h"

#include <gnutls/x509.h>
#include <sys/stat.h>
#include <unistd.h>

extern const struct controller csr_signing_controller;

static const char general_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBezCCASGgAwIBAgIUeaOdyjk1MoL6e7FIGfsJOO5T7E4wCgYIKoZIzj0EAwIw\n"
	"EjEQMA4GA1UEAwwHZ2VuZXJhbDAgFw0yNjExMjkwMjI4MTBaGA8yMTI2MTEwNTAy\n"
	"MjgxMFowEjEQMA4GA1UEAwwHZ2VuZXJhbDBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
	"A0IABFVLSK1fOBjDO8o4rz4VoUqOZC0ulcrRH/s8TN6qWevbZkm8FIYXkqKqnyMY\n"
	"i7ii0KfyO2u+4dcePKzoWteV3+2jUzBRMB0GA1UdDgQWBBR82p8IXOLpIB2KFKSG\n"
	"Hue+jeGGVDAfBgNVHSMEGDAWgBR82p8IXOLpIB2KFKSGHue+jeGGVDAPBgNVHRMB\n"
	"Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDHrWxyclz1Is6/ApVhP4VGy1X1\n"
	"uXGuWhK+hZgYg+SMGQIgFhM3ELw+ZK5240muzSJLozPI5fxjAmh3HQSCDV2YOWE=\n"
	"-----END CERTIFICATE-----\n";
static const char general_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgklZ5WqfO7LE4Pdh3\n"
	"2OH6dl7jzYHJEJlM8CcWfk/RpHChRANCAARVS0itXzgYwzvKOK8+FaFKjmQtLpXK\n"
	"0R/7PEzeqlnr22ZJvBSGF5Kiqp8jGIu4otCn8jtrvuHXHjys6FrXld/t\n"
	"-----END PRIVATE KEY-----\n";
static const char own_cert[] =
	"-----BEGIN CERTIFICATE-----\n"
	"MIIBczCCARmgAwIBAgIUCPQZvImZ/0T702DxcP2xyah/QNswCgYIKoZIzj0EAwIw\n"
	"DjEMMAoGA1UEAwwDb3duMCAXDTI2MTEyOTAyMjgxMVoYDzIxMjYxMTA1MDIyODEx\n"
	"WjAOMQwwCgYDVQQDDANvd24wWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARlG4ti\n"
	"avLj6hkECbw/tznaNDA6MSWnlCATRXlSAbp+JhMckLQqjytcOLWsSYf8oW/fkKWd\n"
	"1DzxYmBR8+L4CBvuo1MwUTAdBgNVHQ4EFgQUiZutmnOCWOeprDbSIN/LXOFXs0Aw\n"
	"HwYDVR0jBBgwFoAUiZutmnOCWOeprDbSIN/LXOFXs0AwDwYDVR0TAQH/BAUwAwEB\n"
	"/zAKBggqhkjOPQQDAgNIADBFAiBebWUWPjX4bsjxGOaUJBBnkctHEbQWUqHAZJ8p\n"
	"eqea8wIhALYwe/lOLW6GIIDLLK1x0DfolGeAgKW8BHZs3wOmSNMw\n"
	"-----END CERTIFICATE-----\n";
static const char own_key[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJC9tNMBCBWhl4YQQ\n"
	"r6nJWct2R0B3TJ5+Ile0KHg6U+qhRANCAARlG4tiavLj6hkECbw/tznaNDA6MSWn\n"
	"lCATRXlSAbp+JhMckLQqjytcOLWsSYf8oW/fkKWd1DzxYmBR8+L4CBvu\n"
	"-----END PRIVATE KEY-----\n";
#define PLAIN_NODE "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIck1JR1NBZ0VBTURBeEZUQVRCZ05WQkFvTURITjVjM1JsYlRwdWIyUmxjekVYTUJVR0ExVUVBd3dPYzNsegpkR1Z0T201dlpHVTZiakV3V1RBVEJnY3Foa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVMyYThYRlFWTVdpcDZuClFwcmN3MmY2aXNsU3dtRldJU3VTMHdiNFZJK2JvRUgzNVJ6WG4wUnVDRXQ1ampYMHM5L3NXYm42UTNmWENPeUgKRnFlL0wrNndvQUF3Q2dZSUtvWkl6ajBFQXdJRFNBQXdSUUlnRENvNVNxdVZPSnVPZi9tY21oTTZRbWNySUdiLwptZkhGVGUzQktKVllZTEFDSVFDaTZRME1GcnRzSWRmSmRtM09aazZ3MkpwenNOMSsvNmhIZDN6bnVxck5ZZz09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo="
#define NAMED_NODE "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQkVEQ0J1QUlCQURBd01SVXdFd1lEVlFRS0RBeHplWE4wWlcwNmJtOWtaWE14RnpBVkJnTlZCQU1NRG5ONQpjM1JsYlRwdWIyUmxPbTR4TUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFdG12RnhVRlRGb3FlCnAwS2EzTU5uK29ySlVzSmhWaUVya3RNRytGU1BtNkJCOStVYzE1OUViZ2hMZVk0MTlMUGY3Rm01K2tOMzF3anMKaHhhbnZ5L3VzS0FtTUNRR0NTcUdTSWIzRFFFSkRqRVhNQlV3RXdZRFZSMFJCQXd3Q29JQ2JqR0hCTUFBQWdFdwpDZ1lJS29aSXpqMEVBd0lEUndBd1JBSWdGeWRuTnB2dmg0TyswNGNtYzNOR0tEODR3QU1jZUJTVUVOaFVLY1NxCndFRUNJQjZJTWNMeEJoTGdZNFBtOXIzQ2hzYWRrOEt5NHMrZ3JsQXVJWHljc0h1MAotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"
#define MAILED_NODE "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlJQkV6Q0J1UUlCQURBd01SVXdFd1lEVlFRS0RBeHplWE4wWlcwNmJtOWtaWE14RnpBVkJnTlZCQU1NRG5ONQpjM1JsYlRwdWIyUmxPbTR4TUZrd0V3WUhLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFdG12RnhVRlRGb3FlCnAwS2EzTU5uK29ySlVzSmhWaUVya3RNRytGU1BtNkJCOStVYzE1OUViZ2hMZVk0MTlMUGY3Rm01K2tOMzF3anMKaHhhbnZ5L3VzS0FuTUNVR0NTcUdTSWIzRFFFSkRqRVlNQll3RkFZRFZSMFJCQTB3QzRJQ2JqR0JCV0ZBWWk1agpNQW9HQ0NxR1NNNDlCQU1DQTBrQU1FWUNJUUNBUEtNUzdmSENMVGRlZmhyb3hEMmE4RjQvSXJKTEkrWEppak95Ci94Y3hzUUloQU9memVhY0ErRnhzZERMYjRSR0hOTThaMFR5OSs2cmhXbTBwb2YvTitMcWsKLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg=="
#define USER "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIYU1JR0JBZ0VBTUI4eER6QU5CZ05WQkFvTUJuQmxiM0JzWlRFTU1Bb0dBMVVFQXd3RFlXNXVNRmt3RXdZSApLb1pJemowQ0FRWUlLb1pJemowREFRY0RRZ0FFdG12RnhVRlRGb3FlcDBLYTNNTm4rb3JKVXNKaFZpRXJrdE1HCitGU1BtNkJCOStVYzE1OUViZ2hMZVk0MTlMUGY3Rm01K2tOMzF3anNoeGFudnkvdXNLQUFNQW9HQ0NxR1NNNDkKQkFNQ0EwZ0FNRVVDSVFEdE5pQ0dKeDBoM21rbTY4TWdzWXJjQUc1cXlzZ25FTy9qSE9MTXkwYXFMQUlnR1REcApVU0pQYUdhbmJMUjI1ZEpjYldobzBGNkk2RFVML0R2djl0TWZ3c2s9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo="
#define NOT_A_NODE "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIbU1JR01BZ0VBTUNveER6QU5CZ05WQkFvTUJuQmxiM0JzWlRFWE1CVUdBMVVFQXd3T2MzbHpkR1Z0T201dgpaR1U2YmpFd1dUQVRCZ2NxaGtqT1BRSUJCZ2dxaGtqT1BRTUJCd05DQUFTMmE4WEZRVk1XaXA2blFwcmN3MmY2CmlzbFN3bUZXSVN1UzB3YjRWSStib0VIMzVSelhuMFJ1Q0V0NWpqWDBzOS9zV2JuNlEzZlhDT3lIRnFlL0wrNncKb0FBd0NnWUlLb1pJemowRUF3SURTUUF3UmdJaEFNaVdVM0hUbldvZXgyVE05Zk02NFlOMFVBWXdCYjFlY0cvWApXVjV0aklzb0FpRUFvNFhCUm8yaVRQUXQvZFVRSlJxOWozZE1zdGJDZlBTaGhxYkNXbHYwL1dnPQotLS0tLUVORCBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K"

static char folder[] = "/tmp/coracle-sign-test-XXXXXX";

static char *write_file(const char *name, const char *text)
{
	char *path = xprintf("%s/%s", folder, name);
	FILE *file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	return path;
}

static int setup(void **state)
{
	fake_setup(state);
	assert_non_null(mkdtemp(strcpy(folder, "/tmp/coracle-sign-test-XXXXXX")));
	fake.settings.cluster_signing_cert_file = write_file("general.crt", general_cert);
	fake.settings.cluster_signing_key_file = write_file("general.key", general_key);
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = {"general.crt", "general.key", "own.crt", "own.key"};
	for (size_t i = 0; i < array_len(names); i++) {
		autofree char *path = xprintf("%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
	return fake_teardown(state);
}

static void add_request(const char *signer, const char *request, const char *usages, const char *condition)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"certificates.k8s.io/v1\",\"kind\":\"CertificateSigningRequest\",\"metadata\":{\"name\":\"r\"},\"spec\":{\"signerName\":\"%s\",\"request\":\"%s\",\"usages\":[%s]},\"status\":{\"conditions\":[%s]}}",
		signer, request, usages, condition);
	fake_add(json);
}

/* The issuer's common name; "failed" where the request was marked so, "" where nothing happened. */
static const char *outcome(void)
{
	static char name[100];
	const struct certificates_v1_certificate_signing_request *csr = fake_live(CACHED_CERTIFICATE_SIGNING_REQUESTS, NULL, "r");
	size_t size = sizeof(name);
	gnutls_x509_crt_t crt;
	for (uint32_t i = 0; i < csr->status.conditions.len; i++)
		if (str_equal(csr->status.conditions.items[i].type, "Failed"))
			return "failed";
	if (!csr->status.certificate.len)
		return "";
	gnutls_datum_t pem = {csr->status.certificate.data, csr->status.certificate.len};
	gnutls_x509_crt_init(&crt);
	assert_int_equal(gnutls_x509_crt_import(crt, &pem, GNUTLS_X509_FMT_PEM), 0);
	assert_int_equal(gnutls_x509_crt_get_issuer_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, name, &size), 0);
	gnutls_x509_crt_deinit(crt);
	return name;
}

#define APPROVED "{\"type\":\"Approved\",\"status\":\"True\"}"
#define CLIENT "\"digital signature\",\"client auth\""
#define SERVER "\"digital signature\",\"server auth\""

static void test_requests(void **state)
{
	static const struct {
		const char *signer, *request, *usages, *condition, *outcome;
	} rows[] = {
		{"kubernetes.io/kube-apiserver-client", USER, CLIENT, APPROVED, "general"},
		{"kubernetes.io/kube-apiserver-client", USER, CLIENT, "", ""},
		{"kubernetes.io/kube-apiserver-client", USER, CLIENT, APPROVED ",{\"type\":\"Denied\",\"status\":\"True\"}", ""},
		{"kubernetes.io/kube-apiserver-client", USER, SERVER, APPROVED, "failed"},
		{"kubernetes.io/kube-apiserver-client", "bm90IFBFTQ==", CLIENT, APPROVED, "failed"},
		{"example.com/other", USER, CLIENT, APPROVED, ""},
		{"kubernetes.io/kube-apiserver-client-kubelet", PLAIN_NODE, CLIENT, APPROVED, "general"},
		{"kubernetes.io/kube-apiserver-client-kubelet", NAMED_NODE, CLIENT, APPROVED, "failed"},
		{"kubernetes.io/kube-apiserver-client-kubelet", NOT_A_NODE, CLIENT, APPROVED, "failed"},
		{"kubernetes.io/kubelet-serving", NAMED_NODE, SERVER, APPROVED, "general"},
		{"kubernetes.io/kubelet-serving", PLAIN_NODE, SERVER, APPROVED, "failed"},
		{"kubernetes.io/kubelet-serving", MAILED_NODE, SERVER, APPROVED, "failed"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		teardown(state);
		setup(state);
		struct reconciler r = fake_reconciler(&csr_signing_controller);
		add_request(rows[i].signer, rows[i].request, rows[i].usages, rows[i].condition);
		fake_reconcile_all(&r, CACHED_CERTIFICATE_SIGNING_REQUESTS);
		if (strcmp(outcome(), rows[i].outcome) != 0)
			fail_msg("row %zu: %s", i, outcome());
		size_t writes = fake.writes;
		fake_reconcile_all(&r, CACHED_CERTIFICATE_SIGNING_REQUESTS);
		assert_int_equal(fake.writes, writes);
		fake_reconciler_done(&r);
	}
}

static void test_a_signer_of_its_own(void **state)
{
	struct reconciler r = fake_reconciler(&csr_signing_controller);
	fake.settings.cluster_signing_kubelet_serving_cert_file = write_file("own.crt", own_cert);
	fake.settings.cluster_signing_kubelet_serving_key_file = write_file("own.key", own_key);
	add_request("kubernetes.io/kubelet-serving", NAMED_NODE, SERVER, APPROVED);
	fake_reconcile_all(&r, CACHED_CERTIFICATE_SIGNING_REQUESTS);
	assert_string_equal(outcome(), "own");
	/* Without the general pair the others are signed by somebody else. */
	free(fake.settings.cluster_signing_cert_file);
	fake.settings.cluster_signing_cert_file = NULL;
	assert_true(csr_signing_controller.enabled(&fake.settings));
	autoerror struct error err = {0};
	world_delete(&fake.world, CACHED_CERTIFICATE_SIGNING_REQUESTS, fake_live(CACHED_CERTIFICATE_SIGNING_REQUESTS, NULL, "r"), NULL, &err);
	add_request("kubernetes.io/kube-apiserver-client", USER, CLIENT, APPROVED);
	fake_reconcile_all(&r, CACHED_CERTIFICATE_SIGNING_REQUESTS);
	assert_string_equal(outcome(), "");
	fake_reconciler_done(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_signer_of_its_own, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
