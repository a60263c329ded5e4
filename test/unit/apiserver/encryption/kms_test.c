/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/kms.h"
#include "apiserver/encryption/kms_message.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "kubelet/grpc/server.h"
#include "test/kms/service.h"

#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#define MAX 65536
#define ABOUT "/registry/secrets/default/s"
#define LONG_NS (3600 * NSEC_PER_SEC) /* by itself nothing is asked within a test */

struct site {
	char folder[64];
	char *socket, *endpoint;
	struct grpc_server *server;
	sem_t recovered;
};

static void say(struct site *site, const char *file, const char *text) {
	autofree char *path = path_join(site->folder, file, NULL);
	if (text)
		assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0600, NULL), 0);
	else
		unlink(path);
}

static void serve(struct site *site) {
	assert_int_equal(kms_service_start(site->socket, site->folder, &site->server, NULL), 0);
}

static void stop(struct site *site) {
	grpc_server_stop(take_ptr(site->server));
}

static int set_up(void **state) {
	struct site *site = xnew(struct site);
	snprintf(site->folder, sizeof(site->folder), "/tmp/coracle-kms-XXXXXX");
	assert_non_null(mkdtemp(site->folder));
	site->socket = path_join(site->folder, "socket", NULL);
	site->endpoint = xconcat("unix://", site->socket);
	sem_init(&site->recovered, 0, 0);
	*state = site;
	return 0;
}

static int tear_down(void **state) {
	static const char *const files[] = {"key-id", "health", "lost"};
	struct site *site = *state;
	stop(site);
	for (size_t i = 0; i < array_len(files); i++)
		say(site, files[i], NULL);
	rmdir(site->folder);
	sem_destroy(&site->recovered);
	free(site->socket);
	free(site->endpoint);
	free(site);
	return 0;
}

static void on_recovered(void *arg) {
	struct site *site = arg;
	sem_post(&site->recovered);
}

static struct kms *start(struct site *site, int64_t life_ns, int64_t timeout_ns) {
	struct kms *kms;
	struct kms_options options = {.name = "mock", .endpoint = site->endpoint, .timeout_ns = timeout_ns, .server_id = "me", .good_ns = LONG_NS, .bad_ns = LONG_NS, .life_ns = life_ns, .recovered = on_recovered, .arg = site};
	assert_int_equal(kms_new(&options, &kms, NULL), 0);
	return kms;
}

static void seal(struct kms *kms, const char *text, struct buf *out) {
	autoerror struct error err = {0};
	if (kms_seal(kms, ABOUT, text, strlen(text), out, &err) < 0)
		fail_msg("%s", error_message(&err));
}

static int open_at(struct kms *kms, const char *about, const struct buf *sealed, const char *text, uint32_t *ret_mark) {
	autobuf struct buf opened = BUF_INIT(MAX);
	autoerror struct error err = {0};
	int rc = kms_open(kms, about, sealed->data, sealed->len, &opened, ret_mark, &err);
	assert_true((rc < 0) == (err.errnum != 0));
	if (rc == 0)
		assert_string_equal(str_or(opened.data, ""), text);
	else
		assert_int_equal(opened.len, 0);
	return rc;
}

static void test_there_and_back(void **state) {
	struct site *site = *state;
	autobuf struct buf a = BUF_INIT(MAX), b = BUF_INIT(MAX), empty = BUF_INIT(MAX);
	uint32_t mark = 0;
	serve(site);
	struct kms *kms = start(site, LONG_NS, LONG_NS);
	assert_true(kms_check(kms, NULL));
	seal(kms, "hidden", &a);
	seal(kms, "hidden", &b);
	seal(kms, "", &empty);
	assert_int_equal(a.len, b.len);
	assert_memory_not_equal(a.data, b.data, a.len);
	assert_null(memmem(a.data, a.len, "hidden", 6));
	assert_int_equal(open_at(kms, ABOUT, &a, "hidden", &mark), 0);
	assert_int_equal(mark, kms_mark(kms));
	assert_int_equal(open_at(kms, ABOUT, &empty, "", &mark), 0);
	/* It is bound to its place. */
	assert_int_equal(open_at(kms, ABOUT "2", &a, "", &mark), -EBADMSG);
	a.data[10] ^= 1;
	assert_int_equal(open_at(kms, ABOUT, &a, "", &mark), -EBADMSG);
	a.data[10] ^= 1;
	/* Another process asks the service for the seed of this one, once: then it can do without. */
	struct kms *other = start(site, LONG_NS, LONG_NS);
	assert_int_equal(open_at(other, ABOUT, &a, "hidden", &mark), 0);
	assert_int_equal(mark, kms_mark(other));
	stop(site);
	assert_int_equal(open_at(other, ABOUT, &b, "hidden", &mark), 0);
	kms_free(other);
	kms_free(kms);
}

static void test_rotation(void **state) {
	struct site *site = *state;
	autobuf struct buf old = BUF_INIT(MAX), fresh = BUF_INIT(MAX);
	uint32_t mark = 0, before;
	serve(site);
	struct kms *kms = start(site, LONG_NS, LONG_NS);
	before = kms_mark(kms);
	seal(kms, "old", &old);
	kms_probe(kms);
	assert_int_equal(kms_mark(kms), before);
	say(site, "key-id", "two");
	kms_probe(kms);
	assert_true(kms_check(kms, NULL));
	assert_int_not_equal(kms_mark(kms), before);
	seal(kms, "new", &fresh);
	assert_non_null(memmem(fresh.data, fresh.len, "two", 3));
	assert_int_equal(open_at(kms, ABOUT, &old, "old", &mark), 0);
	assert_int_equal(mark, before);
	assert_int_equal(open_at(kms, ABOUT, &fresh, "new", &mark), 0);
	/* A key that is lost, and found again: it is asked for again, but not with each object. */
	say(site, "lost", "one");
	struct kms *other = start(site, LONG_NS, LONG_NS);
	assert_int_equal(open_at(other, ABOUT, &old, "", &mark), -ENOKEY);
	assert_int_equal(open_at(other, ABOUT, &fresh, "new", &mark), 0);
	assert_int_equal(open_at(kms, ABOUT, &old, "old", &mark), 0);
	say(site, "lost", "");
	do {
		assert_int_equal(sem_wait(&site->recovered), 0);
	} while (open_at(other, ABOUT, &old, "old", &mark) != 0);
	kms_free(other);
	kms_free(kms);
}

static void test_illness(void **state) {
	struct site *site = *state;
	autobuf struct buf a = BUF_INIT(MAX), b = BUF_INIT(MAX), none = BUF_INIT(MAX);
	autoerror struct error err = {0};
	uint32_t mark = 0;
	serve(site);
	struct kms *kms = start(site, LONG_NS, LONG_NS), *brief = start(site, 0, LONG_NS);
	seal(kms, "x", &a);
	say(site, "health", "ill");
	kms_probe(kms);
	assert_false(kms_check(kms, &err));
	assert_non_null(strstr(error_message(&err), "got unexpected healthz status: ill"));
	/* It goes on with the seed it has, while that lives, and with what was opened. */
	seal(kms, "y", &b);
	assert_int_equal(open_at(kms, ABOUT, &a, "x", &mark), 0);
	assert_int_equal(kms_seal(brief, ABOUT, "x", 1, &none, &err), -ENOKEY);
	assert_int_equal(none.len, 0);
	/* What it has not opened has to wait until it is well. */
	struct kms *other = start(site, LONG_NS, LONG_NS);
	assert_int_equal(open_at(other, ABOUT, &a, "", &mark), -ENOKEY);
	say(site, "health", "ok");
	kms_probe(other);
	assert_int_equal(sem_wait(&site->recovered), 0);
	assert_int_equal(open_at(other, ABOUT, &a, "x", &mark), 0);
	kms_free(other);
	kms_free(brief);
	kms_free(kms);
}

static void test_absence(void **state) {
	struct site *site = *state;
	autobuf struct buf a = BUF_INIT(MAX);
	autoerror struct error err = {0};
	struct kms *kms = start(site, LONG_NS, 50 * NSEC_PER_MSEC);
	assert_false(kms_check(kms, &err));
	assert_non_null(strstr(error_message(&err), "DeadlineExceeded"));
	assert_int_equal(kms_mark(kms), 0);
	assert_int_equal(kms_seal(kms, ABOUT, "x", 1, &a, &err), -ENOKEY);
	kms_free(kms);
	serve(site);
	kms = start(site, LONG_NS, LONG_NS);
	seal(kms, "x", &a);
	/* The connection breaks, and is made again when it is needed. */
	stop(site);
	serve(site);
	for (int i = 0; i < 100 && (kms_probe(kms), !kms_check(kms, NULL)); i++)
		;
	assert_true(kms_check(kms, NULL));
	kms_free(kms);
	assert_true(kms_new(&(struct kms_options){.name = "n", .endpoint = "tcp://x", .timeout_ns = 1, .server_id = ""}, &kms, &err) < 0);
}

/* Stored by Kubernetes 1.36's own server, beside this key service. */
static void test_foreign(void **state) {
	static const char hex[] =
		"0a8b028734d66e38cee59061c4d5ce138ce6dbb68cf3b14299f553c5dc7a25023af916320d81053c05076f567a34d4d7c0af8a0c269833707db97c6a8a49d5540551787bb287159cd6525d55c48995e0"
		"fe0e661761ad9fb7b88e45a9b0f35287eeb05a8f20c00c5e7b5001eed16d84c8aed332f278a4a6416083a1fb9d603f5ce259c4c9580620ea1bef479c3721039a2e189a68d04fdc0b3eb23aba3ea1a9e3"
		"cf69d345a501365fcb44309e6c63c386825ce794e1bafd4efcc5a18c4414b7ad421c96831d8c46a3a9d394d5d7f359d4e4ecfea08485bf1ec52cae17d55bd8f4508b246b85c6a652d242568bd039eb5e"
		"f0af78484e8cf6eecc2d9f3c25b405f8676241a57df9971b980edd5d123212036f6e651a21220d4a112584ac62aa51cedeebc5fc25f23676fdb9a8e2ab0b0a395d02a8dbb0fe221b0a0f73616c742e63"
		"6f7261636c652e696f1208da286091e7e463e42801";
	struct site *site = *state;
	autobuf struct buf sealed = BUF_INIT(MAX), opened = BUF_INIT(MAX);
	uint32_t mark = 0;
	serve(site);
	struct kms *kms = start(site, LONG_NS, LONG_NS);
	for (size_t i = 0; i + 1 < sizeof(hex); i += 2) {
		unsigned byte;
		assert_int_equal(sscanf(hex + i, "%2x", &byte), 1);
		buf_append_char(&sealed, (char)byte);
	}
	assert_int_equal(kms_open(kms, ABOUT, sealed.data, sealed.len, &opened, &mark, NULL), 0);
	assert_memory_equal(opened.data, "k8s\0", 4);
	assert_non_null(memmem(opened.data, opened.len, "hidden", 6));
	assert_int_equal(mark, kms_mark(kms));
	kms_free(kms);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_there_and_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_illness, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_absence, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_foreign, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
