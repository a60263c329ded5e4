/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/envelope.h"
#include "apiserver/encryption/kms_message.h"
#include "common/base/proto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define MAX (256 << 10)

static void put_annotation(struct buf *out, uint32_t field, const char *name, const char *value) {
	autobuf struct buf entry = BUF_INIT(MAX);
	proto_put_text(&entry, 1, name);
	proto_put_text(&entry, 2, value);
	proto_put_bytes(out, field, entry.data, entry.len);
}

static void put_object(struct buf *out, size_t data, size_t key_id, size_t source, int type) {
	static char text[KMS_MAX_SOURCE + 2];
	memset(text, 'x', sizeof(text));
	buf_reset(out);
	if (data)
		proto_put_bytes(out, 1, text, data);
	if (key_id)
		proto_put_bytes(out, 2, text, key_id);
	if (source)
		proto_put_bytes(out, 3, text, source);
	proto_put_number(out, 5, (uint64_t)type);
}

static void test_maxima(void **state) {
	static const struct {
		size_t data, key_id, source;
		int type;
		const char *says; /* NULL: good */
	} rows[] = {
		{1, 1, 1, 1, NULL},
		{1, KMS_MAX_KEY_ID, KMS_MAX_SOURCE, 0, NULL},
		{1, 1, 1, 2, "unknown encryptedDEKSourceType: 2"},
		{0, 1, 1, 1, "encrypted data is empty"},
		{1, 0, 1, 1, "keyID is empty"},
		{1, KMS_MAX_KEY_ID + 1, 1, 1, "keyID is 1025 bytes, which exceeds the max size of 1024"},
		{1, 1, 0, 1, "encrypted DEK source is empty"},
		{1, 1, KMS_MAX_SOURCE + 1, 1, "encrypted DEK source is 1025 bytes, which exceeds the max size of 1024"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf text = BUF_INIT(MAX);
		autoerror struct error err = {0};
		struct kms_object object;
		put_object(&text, rows[i].data, rows[i].key_id, rows[i].source, rows[i].type);
		int rc = kms_object_read(text.data, text.len, &object, &err);
		assert_int_equal(rc, rows[i].says ? -EBADMSG : 0);
		if (rows[i].says)
			assert_non_null(strstr(error_message(&err), rows[i].says));
		else
			kms_sealed_key_done(&object.sealed);
	}
	assert_int_equal(kms_object_read("\xff", 1, &(struct kms_object){0}, NULL), -EBADMSG);
}

static void test_annotations(void **state) {
	static const struct {
		const char *name;
		bool good;
	} rows[] = {{"a.b", true}, {"a.b.", true}, {"", false}, {"a", false}, {"A.b", false}, {"a..b", false}, {"a.b..", false}, {"a_b.c", false}};
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf text = BUF_INIT(MAX);
		struct kms_object object;
		put_object(&text, 1, 1, 1, 1);
		put_annotation(&text, 4, rows[i].name, "v");
		int rc = kms_object_read(text.data, text.len, &object, NULL);
		assert_int_equal(rc == 0, rows[i].good);
		if (rc == 0)
			kms_sealed_key_done(&object.sealed);
	}
	autobuf struct buf text = BUF_INIT(MAX);
	autofree char *large = xmalloc(KMS_MAX_ANNOTATIONS + 1);
	memset(large, 'v', KMS_MAX_ANNOTATIONS);
	large[KMS_MAX_ANNOTATIONS] = '\0';
	put_object(&text, 1, 1, 1, 1);
	put_annotation(&text, 4, "a.b", large);
	assert_int_equal(kms_object_read(text.data, text.len, &(struct kms_object){0}, NULL), -EBADMSG);
}

/* In whatever order they come, the key is the same; of one that stands twice, the last. */
static void test_name_of_a_key(void **state) {
	static const char *const orders[][3][2] = {{{"a.b", "1"}, {"c.d", "2"}, {"a.b", "3"}}, {{"c.d", "2"}, {"a.b", "2"}, {"a.b", "3"}}, {{"a.b", "3"}, {"c.d", "2"}, {"a.b", "1"}}};
	char hashes[3][65];
	for (size_t i = 0; i < 3; i++) {
		autobuf struct buf text = BUF_INIT(MAX), again = BUF_INIT(MAX);
		struct kms_object object, copy;
		char hash[65];
		put_object(&text, 1, 4, 4, 1);
		for (size_t n = 0; n < 3; n++)
			put_annotation(&text, 4, orders[i][n][0], orders[i][n][1]);
		assert_int_equal(kms_object_read(text.data, text.len, &object, NULL), 0);
		assert_int_equal(object.sealed.annotation_count, 2);
		kms_sealed_key_hash(&object.sealed, object.type, hashes[i]);
		kms_object_write_data(&again, "d", 1);
		kms_object_write_rest(&again, &object.sealed, object.type);
		assert_int_equal(kms_object_read(again.data, again.len, &copy, NULL), 0);
		kms_sealed_key_hash(&copy.sealed, copy.type, hash);
		assert_string_equal(hash, hashes[i]);
		kms_sealed_key_hash(&copy.sealed, KMS_SOURCE_KEY, hash);
		assert_string_not_equal(hash, hashes[i]);
		kms_sealed_key_done(&copy.sealed);
		kms_sealed_key_done(&object.sealed);
	}
	assert_string_equal(hashes[0], hashes[1]);
	assert_string_not_equal(hashes[0], hashes[2]);
}

/* Both forms of a key: what one is derived from for each object, and the key itself. */
static void test_envelope(void **state) {
	uint8_t seed[ENVELOPE_SEED];
	autobuf struct buf sealed = BUF_INIT(MAX), opened = BUF_INIT(MAX);
	memset(seed, 7, sizeof(seed));
	assert_true(envelope_takes_key(KMS_SOURCE_SEED, 32) && envelope_takes_key(KMS_SOURCE_SEED, 64) && !envelope_takes_key(KMS_SOURCE_SEED, 31));
	assert_true(envelope_takes_key(KMS_SOURCE_KEY, 16) && !envelope_takes_key(KMS_SOURCE_KEY, 17));
	assert_int_equal(envelope_seal(seed, "/a", "text", 4, &sealed), 0);
	assert_int_equal(envelope_open(KMS_SOURCE_SEED, seed, sizeof(seed), "/a", sealed.data, sealed.len, &opened), 0);
	assert_string_equal(opened.data, "text");
	assert_int_equal(envelope_open(KMS_SOURCE_KEY, seed, sizeof(seed), "/a", sealed.data, sealed.len, &opened), -EBADMSG);
	assert_int_equal(envelope_open(KMS_SOURCE_SEED, seed, sizeof(seed), "/a", sealed.data, 31, &opened), -EBADMSG);
	assert_int_equal(opened.len, 4);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_maxima), cmocka_unit_test(test_annotations), cmocka_unit_test(test_name_of_a_key), cmocka_unit_test(test_envelope)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
