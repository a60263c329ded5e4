/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/cipher.h"
#include "apiserver/encryption/encryption.h"
#include "common/base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#define MAX 4096

static size_t from_hex(const char *hex, uint8_t *out) {
	size_t len = strlen(hex) / 2;
	for (size_t i = 0; i < len; i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &out[i]), 1);
	return len;
}

/* The numbers of NaCl's own test, in the form that is stored. */
static void test_secretbox(void **state) {
	const struct cipher *cipher = cipher_find("secretbox");
	uint8_t key[32], message[MAX], sealed[MAX];
	autobuf struct buf opened = BUF_INIT(MAX);
	from_hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389", key);
	size_t nonce_len = from_hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37", sealed);
	size_t len = from_hex("be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a"
			      "024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f937763848645e0705", message);
	size_t sealed_len = nonce_len + from_hex("f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e5"
				     "26ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5", sealed + nonce_len);
	assert_int_equal(cipher->open(key, sizeof(key), "", sealed, sealed_len, &opened), 0);
	assert_int_equal(opened.len, len);
	assert_memory_equal(opened.data, message, len);
	buf_reset(&opened);
	for (size_t i = 0; i < sealed_len; i++) {
		sealed[i] ^= 1;
		assert_true(cipher->open(key, sizeof(key), "", sealed, sealed_len, &opened) < 0);
		assert_int_equal(opened.len, 0);
		sealed[i] ^= 1;
	}
}

static void test_round_trips(void **state) {
	static const char *const names[] = {"aescbc", "aesgcm", "secretbox"};
	static const size_t keys[] = {16, 24, 32};
	uint8_t key[32], data[300];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	memset(key, 0x5a, sizeof(key));
	for (size_t n = 0; n < array_len(names); n++) {
		const struct cipher *cipher = cipher_find(names[n]);
		for (size_t k = 0; k < array_len(keys); k++) {
			if (!cipher->takes_key(keys[k]))
				continue;
			for (size_t len = 0; len <= sizeof(data); len += len < 70 ? 1 : 23) {
				autobuf struct buf sealed = BUF_INIT(MAX), opened = BUF_INIT(MAX), other = BUF_INIT(MAX);
				assert_int_equal(cipher->seal(key, keys[k], "/registry/secrets/a/b", data, len, &sealed), 0);
				assert_int_equal(cipher->open(key, keys[k], "/registry/secrets/a/b", sealed.data, sealed.len, &opened), 0);
				assert_int_equal(opened.len, len);
				assert_memory_equal(opened.len ? opened.data : "", data, len);
				assert_int_equal(cipher->seal(key, keys[k], "/registry/secrets/a/b", data, len, &other), 0);
				assert_memory_not_equal(sealed.data, other.data, sealed.len);
				/* Cut off anywhere it is refused, or is no message of that length. */
				autobuf struct buf less = BUF_INIT(MAX);
				assert_true(cipher->open(key, keys[k], "/registry/secrets/a/b", sealed.data, sealed.len - 1, &less) < 0);
				assert_int_equal(less.len, 0);
				sealed.data[sealed.len - 1] ^= 0x40;
				if (n > 0)
					assert_true(cipher->open(key, keys[k], "/registry/secrets/a/b", sealed.data, sealed.len, &less) < 0);
			}
		}
	}
	/* GCM binds what is stored to where it is stored. */
	autobuf struct buf sealed = BUF_INIT(MAX), opened = BUF_INIT(MAX);
	assert_int_equal(cipher_find("aesgcm")->seal(key, 32, "/registry/secrets/a/b", data, 10, &sealed), 0);
	assert_true(cipher_find("aesgcm")->open(key, 32, "/registry/secrets/a/c", sealed.data, sealed.len, &opened) < 0);
	assert_null(cipher_find("rot13"));
}

/* Stored by Kubernetes 1.36's own server under these keys: what one writes the other reads. */
static void test_foreign(void **state) {
	static const struct {
		const char *cipher, *about, *hex, *begins;
	} rows[] = {
		{"aescbc", "/registry/secrets/default/s",
			"7e75d2550f138224e000f88c4c1ba5cb59d696456d6358f8c09262ddfe6d6799f62dd964f8fe8deaf5e40105e3034fa209ac4bd74b49d63ab7313f14113478ccba47da97b9710f721b0ce0"
			"5b2ded959cbeedffe18bfa6fcb02c4338494ea0b438493225613fa68ab5e0de8d6d021a5ee4375877e952e9d81255f60ce1efdca177d43a1feee7e91d8e63ada3beeea6c70a5a27d93ebcf"
			"dc3901f6d0bfe1709a2fc9c86b493f168171787c760b353e0e765772eee517d808c0d90f7826f97fc32614634e10e134236c40a92f6c78ff9b596619943803804927a3bf7c919c6cc022",
			"k8s"},
		{"aesgcm", "/registry/secrets/default/s",
			"157ef534fb6b682acef56432184407d36b5766d808a2490236e54bca5060c998a7fd82d1a056be63636ac83b5d0a5b14fbecccc763b11071f8aa7efd75fa657db74c2866789e7baceca536"
			"d8aa24c936665275cccec3dd38da668cb9b73a0aab0fe69ff03176773c5337de14c484414bf35cada90a3d4d5bc7bbd42a3f1a60823bdb9ec5888bfb5833389fc58d3cc237b3984fb64baf"
			"54cf77cb09d4c2b253306c2d3b5adeefb7fa86e49130617492e6657612180878cdbb6a140d82761ebd84",
			"k8s"},
		{"secretbox", "/registry/configmaps/default/s",
			"b512e27192a802398495967f69133d14f5f324fc0e4cf2ed7f9305cc4a23863a04533597eea333f51e1e2972ecc3f98362831a1af63753e18d2cac773ce842ab0bbf7456443bb70e3ebdc9"
			"3a0ef1cbd19d23afcf467838e1464dbc0b1da86219847276844b0d152a9c7c99fd9210ca95da345a66d7df7419b2361fe3e695a870e9b39ebb5c7462b4fe",
			"k8s"},
	};
	uint8_t key[32], data[MAX];
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = (uint8_t)i;
	for (size_t i = 0; i < array_len(rows); i++) {
		autobuf struct buf opened = BUF_INIT(MAX);
		size_t len = from_hex(rows[i].hex, data);
		assert_int_equal(cipher_find(rows[i].cipher)->open(key, sizeof(key), rows[i].about, data, len, &opened), 0);
		assert_true(opened.len > strlen(rows[i].begins) && memcmp(opened.data, rows[i].begins, strlen(rows[i].begins)) == 0);
	}
}

#define HEAD "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n"
#define KEY "MDEyMzQ1Njc4OWFiY2RlZg==" /* sixteen bytes */

static void test_config(void **state) {
	static const char text[] = HEAD "resources:\n- resources: [secrets, deployments.apps]\n  providers:\n  - aescbc: {keys: [{name: k1, secret: " KEY "}, {name: 'k:2', secret: " KEY "}]}\n  - identity: {}\n"
		"- resources: ['*.apps']\n  providers: [{identity: {}}]\n- resources: ['*.']\n  providers: [{aesgcm: {keys: [{name: g, secret: " KEY "}]}}]\n"
		"- resources: [jobs.batch]\n  providers: [{kms: {apiVersion: v2, name: k, endpoint: 'unix:///run/k.sock', timeout: 5s}}]\n";
	struct encryption_config *config;
	struct error err = {0};
	assert_int_equal(encryption_config_parse(text, strlen(text), &config, &err), 0);
	const struct encryption_rule *secrets = encryption_rule_find(config, "", "secrets");
	assert_ptr_equal(secrets, encryption_rule_find(config, "apps", "deployments"));
	assert_int_equal(secrets->key_count, 3);
	assert_string_equal(secrets->keys[0].prefix, "k8s:enc:aescbc:v1:k1:");
	assert_string_equal(secrets->keys[1].prefix, "k8s:enc:aescbc:v1:k:2:");
	assert_null(secrets->keys[2].cipher);
	assert_null(encryption_rule_find(config, "apps", "daemonsets")->keys[0].cipher);
	assert_string_equal(encryption_rule_find(config, "", "pods")->keys[0].prefix, "k8s:enc:aesgcm:v1:g:");
	assert_null(encryption_rule_find(config, "batch", "cronjobs"));
	const struct encryption_key *service = encryption_rule_find(config, "batch", "jobs")->keys;
	assert_true(service->is_kms && !service->kms && config->has_kms);
	assert_string_equal(service->prefix, "k8s:enc:kms:v2:k:");
	assert_string_equal(service->endpoint, "unix:///run/k.sock");
	assert_int_equal(service->timeout_ns, 5000000000);
	encryption_config_unref(config);
}

static void test_bad_config(void **state) {
	static const struct {
		const char *text, *says;
	} rows[] = {
		{"kind: Pod\n", "EncryptionConfiguration"},
		{HEAD, "resources: Required value: at least one resources is required"},
		{HEAD "resources: [{resources: [secrets]}]", "resources[0].providers: Required value"},
		{HEAD "resources: [{resources: ['*'], providers: [{identity: {}}]}]", "resources[0].resources[0]: Invalid value: \"*\": use '*.'"},
		{HEAD "resources: [{resources: [Secrets], providers: [{identity: {}}]}]", "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters"},
		{HEAD "resources: [{resources: [events.events.k8s.io], providers: [{identity: {}}]}]", "'*.events.k8s.io' objects"},
		{HEAD "resources: [{resources: [secrets.*], providers: [{identity: {}}]}]", "across groups"},
		{HEAD "resources: [{resources: [a.extensions], providers: [{identity: {}}]}]", "'extensions' group has been removed"},
		{HEAD "resources: [{resources: [serviceipallocations], providers: [{identity: {}}]}]", "do not have REST API"},
		{HEAD "resources: [{resources: [secrets, '*.'], providers: [{identity: {}}]}]", "resources[0].resources: Invalid value: [\"secrets\",\"*.\"]: using overlapping"},
		{HEAD "resources: [{resources: [secrets, secrets], providers: [{identity: {}}]}]", "cannot be specified multiple times"},
		{HEAD "resources: [{resources: ['*.'], providers: [{identity: {}}]}, {resources: [secrets], providers: [{identity: {}}]}]", "resource \"secrets\" is masked by earlier rule \"*.\""},
		{HEAD "resources: [{resources: [secrets], providers: [{rot13: {}}]}]", "unknown field"},
		{HEAD "resources: [{resources: [secrets], providers: [{identity: {}, aescbc: {}}]}]", "resources[0].providers[0]: Invalid value: more than one provider"},
		{HEAD "resources: [{resources: [secrets], providers: [{}]}]", "does not contain any of the expected providers"},
		{HEAD "resources: [{resources: [secrets], providers: [{aescbc: {keys: []}}]}]", "resources[0].providers[0].aescbc.keys: Required value"},
		{HEAD "resources: [{resources: [secrets], providers: [{aescbc: {keys: [{name: a, secret: AAAA}]}}]}]",
			"resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, got 3, expected one of [16 24 32]"},
		{HEAD "resources: [{resources: [secrets], providers: [{secretbox: {keys: [{name: a, secret: " KEY "}]}}]}]", "got 16, expected one of [32]"},
#define KMS(text) HEAD "resources: [{resources: [secrets], providers: [{kms: {" text "}}]}]"
		{KMS("name: a, endpoint: 'unix:///a'"), "KMSv1 is deprecated"},
		{KMS("apiVersion: v2, endpoint: 'unix:///a'"), "resources[0].providers[0].kms.name: Required value: name is a mandatory field for a provider"},
		{KMS("apiVersion: v2, name: 'a:b', endpoint: 'unix:///a'"), "must not contain ':'"},
		{KMS("apiVersion: v2, name: a"), "kms.endpoint: Invalid value: \"\": endpoint is a mandatory field for a kms"},
		{KMS("apiVersion: v2, name: a, endpoint: 'tcp://a'"), "unsupported scheme \"tcp\" for KMS provider, only unix is supported"},
		{KMS("apiVersion: v2, name: a, endpoint: 'unix://a'"), "names no socket"},
		{KMS("apiVersion: v2, name: a, endpoint: 'unix:///a', timeout: 0s"), "kms.timeout: Invalid value: \"0s\": timeout should be a positive value"},
		{KMS("apiVersion: v2, name: a, endpoint: 'unix:///a', cachesize: 5"), "kms.cachesize: Invalid value: 5: cachesize is not supported in v2"},
		{KMS("apiVersion: v3, name: a, endpoint: 'unix:///a'"), "kms.apiVersion: Invalid value: \"v3\": unsupported apiVersion"},
		{HEAD "resources: [{resources: [secrets], providers: [{kms: {apiVersion: v2, name: a, endpoint: 'unix:///a'}}, {kms: {apiVersion: v2, name: a, endpoint: 'unix:///b'}}]}]", "duplicate KMS provider name a"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		struct encryption_config *config;
		assert_true(encryption_config_parse(rows[i].text, strlen(rows[i].text), &config, &err) < 0);
		if (!strstr(error_message(&err), rows[i].says))
			fail_msg("%s: %s", rows[i].text, error_message(&err));
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_secretbox), cmocka_unit_test(test_round_trips), cmocka_unit_test(test_foreign), cmocka_unit_test(test_config), cmocka_unit_test(test_bad_config)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
