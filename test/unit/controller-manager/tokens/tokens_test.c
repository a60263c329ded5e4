/* SPDX-License-Identifier: Apache-2.0 */
/* The controllers of Secrets that let somebody in: tokens of accounts, old ones, bootstrap tokens. */
#include "../fake_world.h"

#include "common/token/jwt.h"
#include "controller-manager/tokens/secrets.h"

#include <unistd.h>

extern const struct controller service_account_token_controller, legacy_token_cleaner_controller, bootstrap_signer_controller, token_cleaner_controller;

/* Made for this test alone. */
static const char key_pem[] =
	"-----BEGIN PRIVATE KEY-----\n"
	"MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg6k9/IHDwzKHHm01P\n"
	"uhypsxRKWBdGSqk2oBCQQEcweyuhRANCAAT2w7Y3V0jmBB0T/3BdqPQOMfF784SV\n"
	"mnIBj+Sf52rLcRZmxuFU56iiAMKXK4tDFhAvOlfP8nzQRc9ifrkk+ClO\n"
	"-----END PRIVATE KEY-----\n";
static char key_path[] = "/tmp/coracle-tokens-test-XXXXXX";

static int setup(void **state)
{
	fake_setup(state);
	free(fake.settings.service_account_private_key_file);
	fake.settings.service_account_private_key_file = xstrdup(key_path);
	fake.settings.legacy_token_clean_up_period = 365 * 24 * 3600 * NSEC_PER_SEC;
	return 0;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name)
{
	autoerror struct error err = {0};
	int result = r->controller->reconcile(r, ns, name, &err);
	if (result < 0)
		fail_msg("%s", error_message(&err));
	return result;
}

/* ---- tokens of accounts ---- */

#define ACCOUNT "{\"apiVersion\":\"v1\",\"kind\":\"ServiceAccount\",\"metadata\":{\"name\":\"robot\",\"namespace\":\"n\"},\"secrets\":[{\"name\":\"gone\"},{\"name\":\"old\"}]}"
#define TOKEN(name, more) "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"n\",\"annotations\":{\"kubernetes.io/service-account.name\":\"robot\"" more "}},\"type\":\"kubernetes.io/service-account-token\"}"

static void test_secret_is_filled(void **state)
{
	struct reconciler r = fake_reconciler(&service_account_token_controller);
	autoarena struct arena *arena = arena_new();
	autoerror struct error err = {0};
	fake_add(ACCOUNT);
	fake_add(TOKEN("t", ""));
	reconcile(&r, "n", "t");
	const struct core_v1_secret *secret = fake_live(CACHED_SECRETS, "n", "t");
	const struct core_v1_service_account *account = fake_live(CACHED_SERVICE_ACCOUNTS, "n", "robot");
	assert_string_equal(secret_text(arena, secret, "namespace"), "n");
	assert_string_equal(api_map_get(&secret->metadata.annotations, ANNOTATION_ACCOUNT_UID), account->metadata.uid);
	/* The token is signed with the key, and says whose it is. */
	struct jwt_key **keys = NULL;
	size_t count = 0;
	json_t *claims = NULL;
	assert_int_equal(jwt_keys_load(key_path, &keys, &count, &err), 0);
	assert_int_equal(jwt_verify(keys, count, secret_text(arena, secret, "token"), &claims, &err), 0);
	assert_string_equal(json_string_value(json_object_get(claims, "sub")), "system:serviceaccount:n:robot");
	assert_string_equal(json_string_value(json_object_get(claims, "kubernetes.io/serviceaccount/secret.name")), "t");
	assert_null(json_object_get(claims, "exp"));
	json_decref(claims);
	jwt_key_free(keys[0]);
	free(keys);
	/* Nothing more to do. */
	size_t writes = fake.writes;
	reconcile(&r, "n", "t");
	assert_int_equal(fake.writes, writes);
	/* Taken out by somebody: made anew. */
	fake_edit(CACHED_SECRETS, "n", "t", NULL, "{\"data\":{\"token\":null}}");
	reconcile(&r, "n", "t");
	assert_non_null(secret_text(arena, fake_live(CACHED_SECRETS, "n", "t"), "token"));
	fake_reconciler_done(&r);
}

static void test_secret_goes_with_its_account(void **state)
{
	struct reconciler r = fake_reconciler(&service_account_token_controller);
	autoerror struct error err = {0};
	fake_add(TOKEN("nobody", ""));
	reconcile(&r, "n", "nobody");
	assert_null(fake_live(CACHED_SECRETS, "n", "nobody"));
	fake_add(ACCOUNT);
	fake_add(TOKEN("other", ",\"kubernetes.io/service-account.uid\":\"another-uid\""));
	fake_add(TOKEN("t", ""));
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"plain\",\"namespace\":\"n\"}}");
	fake_reconcile_all(&r, CACHED_SECRETS);
	assert_null(fake_live(CACHED_SECRETS, "n", "other")); /* of an account of that name that is no more */
	assert_non_null(fake_live(CACHED_SECRETS, "n", "t"));
	assert_int_equal(world_delete(&fake.world, CACHED_SERVICE_ACCOUNTS, fake_live(CACHED_SERVICE_ACCOUNTS, "n", "robot"), NULL, &err), 0);
	fake_reconcile_all(&r, CACHED_SECRETS);
	assert_null(fake_live(CACHED_SECRETS, "n", "t"));
	assert_non_null(fake_live(CACHED_SECRETS, "n", "plain"));
	fake_reconciler_done(&r);
}

static void test_account_forgets_secret(void **state)
{
	struct reconciler r = fake_reconciler(&service_account_token_controller);
	fake_add(ACCOUNT);
	reconcile(&r, "n", "gone");
	const struct core_v1_service_account *account = fake_live(CACHED_SERVICE_ACCOUNTS, "n", "robot");
	assert_int_equal(account->secrets.len, 1);
	assert_string_equal(account->secrets.items[0].name, "old");
	fake_reconciler_done(&r);
}

/* ---- old ones ---- */

#define DAY (24 * 3600 * NSEC_PER_SEC)

static void pass_days(int days)
{
	clock_advance_test(days * DAY);
}

/* The pods as the server lists them. */
static int answer_pods(struct fake_world *w, const struct client_request *request, struct buf *body, struct error *err)
{
	bool first = true;
	assert_string_equal(request->path, "/api/v1/namespaces/n/pods?resourceVersion=0");
	buf_append_str(body, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"items\":[");
	for (size_t i = 0; i < w->count; i++) {
		if (w->objects[i].what != CACHED_PODS || !w->objects[i].live)
			continue;
		if (!first)
			buf_append_char(body, ',');
		first = false;
		api_encode(w->objects[i].live, body);
	}
	buf_append_str(body, "]}");
	return 0;
}

static bool marked(const char *name)
{
	const struct core_v1_secret *secret = fake_live(CACHED_SECRETS, "n", name);
	return secret && api_map_get(&secret->metadata.labels, "kubernetes.io/legacy-token-invalid-since");
}

static void test_unused_tokens_go(void **state)
{
	struct reconciler r = fake_reconciler(&legacy_token_cleaner_controller);
	fake.request = answer_pods;
	fake_add(ACCOUNT);
	fake_add(TOKEN("old", ""));
	fake_add(TOKEN("by-hand", ""));
	reconcile(&r, NULL, "all");
	pass_days(400);
	reconcile(&r, NULL, "all");
	assert_false(marked("old")); /* nobody has written down what was used */
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"kube-apiserver-legacy-service-account-token-tracking\",\"namespace\":\"kube-system\"},\"data\":{\"since\":\"2028-03-01\"}}");
	pass_days(200);
	reconcile(&r, NULL, "all");
	assert_false(marked("old"));
	pass_days(200);
	/* Mounted: used, whatever the label says. */
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"namespace\":\"n\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"old\"}}]}}");
	reconcile(&r, NULL, "all");
	assert_false(marked("old"));
	autoerror struct error err = {0};
	world_delete(&fake.world, CACHED_PODS, fake_live(CACHED_PODS, "n", "p"), NULL, &err);
	assert_true(reconcile(&r, NULL, "all") > 0);
	assert_true(marked("old"));
	assert_false(marked("by-hand"));
	pass_days(364);
	reconcile(&r, NULL, "all");
	assert_non_null(fake_live(CACHED_SECRETS, "n", "old"));
	pass_days(3);
	reconcile(&r, NULL, "all");
	assert_null(fake_live(CACHED_SECRETS, "n", "old"));
	assert_non_null(fake_live(CACHED_SECRETS, "n", "by-hand"));
	fake_reconciler_done(&r);
}

/* ---- bootstrap tokens ---- */

#define BOOT(name, id, secret, more) "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"kube-system\"},\"type\":\"bootstrap.kubernetes.io/token\",\"data\":{\"token-id\":\"" id "\",\"token-secret\":\"" secret "\"" more "}}"
#define SIGNS ",\"usage-bootstrap-signing\":\"dHJ1ZQ==\""
#define ID "YWJjZGVm"                 /* abcdef */
#define SECRET "MDEyMzQ1Njc4OWFiY2RlZg==" /* 0123456789abcdef */

static void test_cluster_info_is_signed(void **state)
{
	struct reconciler r = fake_reconciler(&bootstrap_signer_controller);
	reconcile(&r, "kube-public", "cluster-info"); /* not there: nothing to sign */
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"cluster-info\",\"namespace\":\"kube-public\"},\"data\":{\"kubeconfig\":\"some content\",\"jws-kubeconfig-zzzzzz\":\"left over\"}}");
	fake_add(BOOT("bootstrap-token-abcdef", ID, SECRET, SIGNS));
	fake_add(BOOT("bootstrap-token-nosign", "bm9zaWdu", SECRET, ""));
	fake_add(BOOT("bootstrap-token-other1", ID, SECRET, SIGNS)); /* its name does not stand for its id */
	fake_add(BOOT("bootstrap-token-shorts", "c2hvcnRz", "c2hvcnQ=", SIGNS));
	assert_int_equal(reconcile(&r, "kube-public", "cluster-info"), 0);
	const struct core_v1_config_map *map = fake_live(CACHED_CLUSTER_INFO, "kube-public", "cluster-info");
	assert_int_equal(map->data.len, 2);
	/* As openssl computes it: HMAC-SHA256 of header.payload with the secret's sixteen bytes. */
	assert_string_equal(api_map_get(&map->data, "jws-kubeconfig-abcdef"), "eyJhbGciOiJIUzI1NiIsImtpZCI6ImFiY2RlZiJ9..Ak-Sq5TJaZVVofPrFWqrt2J4qwsYNxitnuh0Ygr6oz4");
	size_t writes = fake.writes;
	reconcile(&r, "kube-public", "cluster-info");
	assert_int_equal(fake.writes, writes);
	/* The end of a token is waited for, and takes its signature along. 2027-01-15T08:00:10Z is ten seconds from now. */
	fake_edit(CACHED_SECRETS, "kube-system", "bootstrap-token-abcdef", NULL, "{\"data\":{\"expiration\":\"MjAyNy0wMS0xNVQwODowMDoxMFo=\"}}");
	assert_int_equal(reconcile(&r, "kube-public", "cluster-info"), 10000);
	clock_advance_test(10 * NSEC_PER_SEC);
	reconcile(&r, "kube-public", "cluster-info");
	map = fake_live(CACHED_CLUSTER_INFO, "kube-public", "cluster-info");
	assert_int_equal(map->data.len, 1);
	fake_reconciler_done(&r);
}

static void test_expired_tokens_are_deleted(void **state)
{
	struct reconciler r = fake_reconciler(&token_cleaner_controller);
	fake_add(BOOT("bootstrap-token-abcdef", ID, SECRET, ",\"expiration\":\"MjAyNy0wMS0xNVQwODowMDoxMFo=\""));
	fake_add(BOOT("bootstrap-token-eternl", ID, SECRET, ""));
	fake_add(BOOT("bootstrap-token-unread", ID, SECRET, ",\"expiration\":\"dG9tb3Jyb3c=\"")); /* "tomorrow" */
	assert_int_equal(fake_reconcile_all(&r, CACHED_SECRETS), 10000);
	assert_int_equal(fake_count(CACHED_SECRETS), 2);
	clock_advance_test(10 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_SECRETS);
	assert_int_equal(fake_count(CACHED_SECRETS), 1);
	assert_non_null(fake_live(CACHED_SECRETS, "kube-system", "bootstrap-token-eternl"));
	fake_reconciler_done(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_secret_is_filled),
		TEST(test_secret_goes_with_its_account),
		TEST(test_account_forgets_secret),
		TEST(test_unused_tokens_go),
		TEST(test_cluster_info_is_signed),
		TEST(test_expired_tokens_are_deleted),
	};
	int fd = mkstemp(key_path);
	if (fd < 0 || write(fd, key_pem, strlen(key_pem)) < 0)
		return 1;
	close(fd);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(key_path);
	return failed;
}
