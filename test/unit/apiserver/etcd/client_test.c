/* SPDX-License-Identifier: Apache-2.0 */
/* The client against real etcds: certificates, fail-over, refusals, many calls at once. */
#include "apiserver/storage/store.h"
#include "common/base/log.h"
#include "test/unit/apiserver/storage/store_fixture.h"

struct reply {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	int pending, failed, errnum;
	char text[256];
	int64_t revision;
};
#define REPLY_INIT {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER}

static void on_reply(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct reply *reply = arg;
	struct etcd_txn_response response;

	pthread_mutex_lock(&reply->lock);
	reply->errnum = errnum;
	snprintf(reply->text, sizeof(reply->text), "%s", text);
	if (errnum == 0 && etcd_read_txn(data, len, &response) == 0)
		reply->revision = response.revision;
	reply->failed += errnum != 0;
	reply->pending--;
	pthread_cond_signal(&reply->cond);
	pthread_mutex_unlock(&reply->lock);
}

static int await(struct reply *reply)
{
	pthread_mutex_lock(&reply->lock);
	while (reply->pending)
		pthread_cond_wait(&reply->cond, &reply->lock);
	pthread_mutex_unlock(&reply->lock);
	return reply->errnum;
}

static void send_put(struct etcd_client *client, struct reply *reply, const char *key, const char *value, size_t len, int timeout_ms)
{
	struct buf request = BUF_INIT(ETCD_MAX_REQUEST);

	etcd_message_begin(&request);
	etcd_write_txn(&request, &(struct etcd_txn){.key = ETCD_SLICE(key), .always = true, .then = ETCD_PUT, .value = {value, len}});
	etcd_message_end(&request);
	pthread_mutex_lock(&reply->lock);
	reply->pending++;
	pthread_mutex_unlock(&reply->lock);
	assert_int_equal(etcd_call(client, &(struct etcd_call_options){.method = ETCD_TXN, .timeout_ms = timeout_ms}, &request, on_reply, reply), 0);
}

static struct etcd_client *connect_to(const char *const *endpoints, const char *ca, const char *cert, const char *key)
{
	struct etcd_client *client;
	autoerror struct error err = {0};

	if (etcd_client_new(&(struct etcd_client_options){.endpoints = endpoints, .ca_file = ca, .cert_file = cert, .key_file = key}, &client, &err) < 0)
		fail_msg("%s", error_message(&err));
	return client;
}

static void test_calls(void **state)
{
	struct test_etcd etcd;
	struct reply reply = REPLY_INIT;
	char port[64];
	struct etcd_client *client;

	test_etcd_start(&etcd);
	/* One of the two endpoints is dead: the other one is found, whichever is tried first. */
	snprintf(port, sizeof(port), "http://127.0.0.1:%d", test_free_port());
	for (int i = 0; i < 4; i++) {
		client = connect_to((const char *const[]){port, etcd.url, NULL}, NULL, NULL, NULL);
		send_put(client, &reply, "/a", "x", 1, 5000);
		assert_int_equal(await(&reply), 0);
		etcd_client_free(client);
	}
	client = connect_to(etcd.endpoints, NULL, NULL, NULL);
	for (int i = 0; i < 500; i++) {
		char key[32];
		snprintf(key, sizeof(key), "/many/%d", i);
		send_put(client, &reply, key, key, strlen(key), 10000);
	}
	assert_int_equal(await(&reply), 0);
	assert_int_equal(reply.failed, 0);

	/* Larger than a stream's window, and than etcd takes. */
	size_t len = (size_t)8 << 20;
	autofree char *large = xcalloc(1, len);
	send_put(client, &reply, "/large", large, 1 << 20, 5000);
	assert_int_equal(await(&reply), 0);
	send_put(client, &reply, "/large", large, 1700000, 5000);
	assert_int_equal(await(&reply), -EFBIG);
	send_put(client, &reply, "/large", large, len, 5000);
	assert_int_equal(await(&reply), -EFBIG);
	send_put(client, &reply, "/a", "x", 1, 5000);
	assert_int_equal(await(&reply), 0);

	/* Freed with calls on their way. */
	test_etcd_pause(&etcd);
	send_put(client, &reply, "/a", "x", 1, 60000);
	usleep(20000);
	etcd_client_free(client);
	assert_int_equal(await(&reply), -ECANCELED);
	test_etcd_stop(&etcd);

	/* Nobody there: an end all the same. */
	client = connect_to((const char *const[]){port, NULL}, NULL, NULL, NULL);
	send_put(client, &reply, "/a", "x", 1, 300);
	assert_int_equal(await(&reply), -EIO);
	assert_false(etcd_client_healthy(client, NULL));
	etcd_client_free(client);
}

static void shell(const char *folder, const char *script)
{
	const char *argv[] = {"sh", "-ec", script, NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	struct buf out = BUF_INIT(1 << 20), errors = BUF_INIT(1 << 20);
	autoerror struct error err = {0};

	options.argv = argv;
	options.cwd = folder;
	if (process_run(&options, NULL, 0, &out, &errors, 30000, NULL, &err) < 0)
		fail_msg("%s", error_message(&err));
	buf_done(&out);
	buf_done(&errors);
}

static void test_tls(void **state)
{
	struct test_etcd etcd;
	struct reply reply = REPLY_INIT;
	struct etcd_client *client;
	char files[8][128];
	static const char *const names[] = {"ca.crt", "server.crt", "server.key", "client.crt", "client.key", "other.crt"};
	autoerror struct error err = {0};

	test_etcd_prepare(&etcd);
	shell(etcd.folder,
		"new() { openssl ecparam -name prime256v1 -genkey -noout -out $1.key; openssl req -new -key $1.key -subj /CN=$1 -out $1.csr; }\n"
		"for ca in ca other; do openssl ecparam -name prime256v1 -genkey -noout -out $ca.key\n"
		"openssl req -x509 -new -key $ca.key -subj /CN=$ca -days 2 -out $ca.crt; done\n"
		"printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth\\n' > ext\n"
		"for n in server client; do new $n; openssl x509 -req -in $n.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out $n.crt; done");
	for (size_t i = 0; i < array_len(names); i++)
		snprintf(files[i], sizeof(files[i]), "%s/%s", etcd.folder, names[i]);
	snprintf(etcd.url, sizeof(etcd.url), "https://127.0.0.1:%d", etcd.client_port);
	etcd.ca_file = files[0];
	etcd.cert_file = files[1];
	etcd.key_file = files[2];
	test_etcd_launch(&etcd);

	client = connect_to(etcd.endpoints, files[0], files[3], files[4]);
	size_t len = (size_t)1 << 20;
	autofree char *large = xcalloc(1, len);
	send_put(client, &reply, "/a", large, len, 5000);
	assert_int_equal(await(&reply), 0);
	for (int i = 0; i < 100; i++)
		send_put(client, &reply, "/b", large, 1000, 5000);
	assert_int_equal(await(&reply), 0);
	etcd_client_free(client);
	/* Without a certificate of our own, and with another authority's trust. */
	client = connect_to(etcd.endpoints, files[0], NULL, NULL);
	send_put(client, &reply, "/a", "x", 1, 500);
	assert_int_equal(await(&reply), -EIO);
	etcd_client_free(client);
	client = connect_to(etcd.endpoints, files[5], files[3], files[4]);
	send_put(client, &reply, "/a", "x", 1, 500);
	assert_int_equal(await(&reply), -EIO);
	assert_false(etcd_client_healthy(client, &err));
	assert_non_null(strstr(error_message(&err), "TLS"));
	etcd_client_free(client);

	/* The store through it, large pages and all. */
	struct store *store;
	assert_int_equal(store_open(&(struct store_options){.endpoints = etcd.endpoints, .ca_file = files[0], .cert_file = files[3], .key_file = files[4]}, 10000, &store, NULL), 0);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	for (int i = 0; i < 20; i++) {
		char key[32];
		autofree char *value = object("x", i, 700000);
		snprintf(key, sizeof(key), "default/p%d", i);
		assert_int_equal(put(pods, key, value, 0, NULL), 0);
	}
	store_close(store);
	assert_int_equal(store_open(&(struct store_options){.endpoints = etcd.endpoints, .ca_file = files[0], .cert_file = files[3], .key_file = files[4]}, 10000, &store, NULL), 0);
	pods = store_collection(store, "pods", true, NULL, NULL);
	struct snapshot *snapshot = collection_snapshot(pods);
	assert_int_equal(snapshot->len, 20);
	snapshot_unref(snapshot);
	store_close(store);
	test_etcd_stop(&etcd);

	struct etcd_client *none;
	assert_int_equal(etcd_client_new(&(struct etcd_client_options){.endpoints = (const char *const[]){"https://127.0.0.1:1", NULL}, .ca_file = "/nowhere"}, &none, &err), -EINVAL);
	assert_int_equal(etcd_client_new(&(struct etcd_client_options){.endpoints = (const char *const[]){NULL}}, &none, &err), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),
		cmocka_unit_test(test_tls),
	};

	log_init(2, LOG_FORMAT_TEXT, getenv("V") ? atoi(getenv("V")) : 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
