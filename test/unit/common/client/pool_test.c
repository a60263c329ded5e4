/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_server.h"

#include "common/base/clock.h"
#include "common/client/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/eventfd.h>

#define POD "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ns\",\"resourceVersion\":\"7\"},\"spec\":{\"containers\":[]}}"
#define THREADS 6

struct seen {
	pthread_mutex_t lock;
	char authorization[256];
};

static const struct api_resource *pods(void)
{
	return api_resource_find("", "v1", "pods");
}

static void answer(struct fake_request *req, void *arg)
{
	struct seen *seen = arg;
	const char *header = strcasestr(req->headers, "\r\nAuthorization: ");
	pthread_mutex_lock(&seen->lock);
	snprintf(seen->authorization, sizeof(seen->authorization), "%.*s", header ? (int)strcspn(header + 17, "\r") : 0, header ? header + 17 : "");
	pthread_mutex_unlock(&seen->lock);
	fake_respond(req, 200, NULL, POD);
}

static struct client *client_with(uint16_t port, const char *token, const char *ca_pem)
{
	autofree char *server = xprintf("http://127.0.0.1:%u", port);
	autofree char *own_token = xstrdup(token), *own_ca = ca_pem ? xstrdup(ca_pem) : NULL;
	struct client_config config = {.servers = {.items = &server, .len = 1}, .token = own_token, .ca_pem = own_ca};
	struct client *client = NULL;
	assert_int_equal(client_new(&config, &client, NULL), 0);
	return client;
}

static void assert_asked_as(struct client *client, struct seen *seen, const char *authorization)
{
	assert_int_equal(client_get(client, pods(), "ns", "p", NULL, NULL), 0);
	pthread_mutex_lock(&seen->lock);
	assert_string_equal(seen->authorization, authorization);
	pthread_mutex_unlock(&seen->lock);
}

static void test_accounts_share_connections_not_names(void **state)
{
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, answer, &seen);
	struct client *a = client_with(server.port, "a", NULL), *b = client_with(server.port, "b", NULL);
	assert_ptr_equal(a->pool, b->pool);
	for (int i = 0; i < 3; i++) {
		assert_asked_as(a, &seen, "Bearer a");
		assert_asked_as(b, &seen, "Bearer b");
	}
	assert_int_equal(pool_idle(a->pool), 1);
	client_free(a);
	assert_asked_as(b, &seen, "Bearer b"); /* what the other had stays */
	client_free(b);
	fake_server_stop(&server);
	assert_int_equal(server.conn_count, 1);
}

static void test_another_peer_has_another_pool(void **state)
{
	struct client *a = client_with(1, "a", NULL), *other_server = client_with(2, "a", NULL), *other_ca = client_with(1, "a", "PEM"), *same_ca = client_with(1, "b", "PEM");
	assert_ptr_not_equal(a->pool, other_server->pool);
	assert_ptr_not_equal(a->pool, other_ca->pool);
	assert_ptr_equal(other_ca->pool, same_ca->pool);
	assert_int_equal(pool_files(a->pool)->ca, -1);
	assert_true(pool_files(other_ca->pool)->ca >= 0);
	client_free(a);
	client_free(other_server);
	client_free(other_ca);
	client_free(same_ca);
}

static void test_what_is_idle_is_closed(void **state)
{
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, answer, &seen);
	struct client *client = client_with(server.port, "a", NULL), *keeps_pool = client_with(server.port, "b", NULL);
	int64_t before = clock_monotonic_ns();
	assert_asked_as(client, &seen, "Bearer a");
	pools_tidy(before + POOL_IDLE_S * NSEC_PER_SEC - 1);
	assert_int_equal(pool_idle(client->pool), 1);
	pools_tidy(clock_monotonic_ns() + POOL_IDLE_S * NSEC_PER_SEC);
	assert_int_equal(pool_idle(client->pool), 0);
	assert_asked_as(client, &seen, "Bearer a");
	client_free(client);
	client_free(keeps_pool);
	fake_server_stop(&server);
	assert_int_equal(server.conn_count, 2);
}

/* Connections of the old certificate end with their requests; what is taken by the way goes back where it came from. */
static void test_another_certificate_is_another_peer(void **state)
{
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, answer, &seen);
	struct client *client = client_with(server.port, "a", NULL), *other = client_with(server.port, "b", NULL);
	struct pool *old = client_pool(client);
	struct pool_handle under_way = pool_take(old);
	assert_asked_as(client, &seen, "Bearer a");
	assert_int_equal(client_set_certificate(client, "CERT", "KEY", NULL), 0);
	assert_ptr_not_equal(client->pool, old);
	assert_ptr_equal(other->pool, old);
	assert_string_equal(client->config.cert_pem, "CERT");
	assert_true(pool_files(client->pool)->cert >= 0 && pool_files(client->pool)->key >= 0);
	struct pool *second = client_pool(client);
	assert_int_equal(client_set_certificate(client, "CERT", "KEY", NULL), 0);
	assert_ptr_equal(client->pool, second);
	pool_put(second);
	client_free(other);
	pool_give_back(old, under_way);
	pool_put(old);
	client_free(client);
	fake_server_stop(&server);
}

static bool go_on(const char *data, size_t len, void *arg)
{
	return true;
}

/* A stream goes on where the list before it has come from. */
static void test_a_stream_takes_the_connection_of_the_list(void **state)
{
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, answer, &seen);
	struct client *client = client_with(server.port, "a", NULL);
	struct client_request request = {.method = "GET", .path = "/"};
	int cancel_fd = eventfd(0, EFD_CLOEXEC);
	assert_asked_as(client, &seen, "Bearer a");
	assert_int_equal(client_stream(client, &request, go_on, NULL, cancel_fd, NULL), 0);
	assert_asked_as(client, &seen, "Bearer a");
	close(cancel_fd);
	client_free(client);
	fake_server_stop(&server);
	assert_int_equal(server.conn_count, 1);
}

/* The one that was used meanwhile stays, and its turn comes. */
static void test_only_the_oldest_are_closed(void **state)
{
	struct client *client = client_with(1, "a", NULL);
	struct pool_handle first = pool_take(client->pool), second = pool_take(client->pool);
	pool_give_back(client->pool, first);
	int64_t between = clock_monotonic_ns();
	while (clock_monotonic_ns() == between)
		;
	pool_give_back(client->pool, second);
	pools_tidy(between + POOL_IDLE_S * NSEC_PER_SEC);
	assert_int_equal(pool_idle(client->pool), 1);
	assert_ptr_equal(pool_take(client->pool).curl, second.curl);
	pool_give_back(client->pool, second);
	pools_tidy(clock_monotonic_ns() + POOL_IDLE_S * NSEC_PER_SEC);
	assert_int_equal(pool_idle(client->pool), 0);
	client_free(client);
}

static void test_no_more_are_kept_than_there_is_room_for(void **state)
{
	struct client *client = client_with(1, "a", NULL);
	struct pool_handle taken[POOL_MAX_IDLE + 2];
	for (size_t i = 0; i < array_len(taken); i++)
		taken[i] = pool_take(client->pool);
	for (size_t i = 0; i < array_len(taken); i++)
		pool_give_back(client->pool, taken[i]);
	assert_int_equal(pool_idle(client->pool), POOL_MAX_IDLE);
	client_free(client);
}

static void *ask_and_tidy(void *arg)
{
	uint16_t port = *(const uint16_t *)arg;
	for (int i = 0; i < 10; i++) {
		struct client *client = client_with(port, "a", NULL);
		int r = client_get(client, pods(), "ns", "p", NULL, NULL);
		pools_tidy(clock_monotonic_ns() + POOL_IDLE_S * NSEC_PER_SEC);
		client_free(client);
		if (r)
			return arg;
	}
	return NULL;
}

static void test_threads_tidy_and_ask_at_once(void **state)
{
	struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER};
	struct fake_server server;
	fake_server_start(&server, answer, &seen);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, ask_and_tidy, &server.port);
	for (int i = 0; i < THREADS; i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	fake_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accounts_share_connections_not_names),
		cmocka_unit_test(test_another_peer_has_another_pool),
		cmocka_unit_test(test_what_is_idle_is_closed),
		cmocka_unit_test(test_another_certificate_is_another_peer),
		cmocka_unit_test(test_a_stream_takes_the_connection_of_the_list),
		cmocka_unit_test(test_only_the_oldest_are_closed),
		cmocka_unit_test(test_no_more_are_kept_than_there_is_room_for),
		cmocka_unit_test(test_threads_tidy_and_ask_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
