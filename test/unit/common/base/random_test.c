/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/random.h"

#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

static void identifiers_have_their_form(void **state)
{
	char a[37], b[37], suffix[6], hash[16];
	random_uuid(a);
	random_uuid(b);
	assert_int_equal(strlen(a), 36);
	assert_string_not_equal(a, b);
	assert_int_equal(a[14], '4');
	assert_non_null(strchr("89ab", a[19]));
	random_name_suffix(suffix, 5);
	assert_int_equal(strspn(suffix, "bcdfghjklmnpqrstvwxz2456789"), 5);
	name_safe_hash(1234567890u, hash);
	assert_int_equal(strspn(hash, "bcdfghjklmnpqrstvwxz2456789"), 10);
	for (int i = 0; i < 1000; i++)
		assert_true(random_below(3) < 3);
}

static void sha256_of_known_text(void **state)
{
	char hex[65];
	sha256_hex("abc", 3, hex);
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* RFC 4648's vectors, in lower case and without padding. */
static void base32_of_known_text(void **state)
{
	static const char *const rows[][2] = {{"", ""}, {"f", "my"}, {"fo", "mzxq"}, {"foo", "mzxw6"}, {"foob", "mzxw6yq"}, {"fooba", "mzxw6ytb"}, {"foobar", "mzxw6ytboi"}};
	for (size_t i = 0; i < array_len(rows); i++) {
		char out[12];
		base32_encode((const uint8_t *)rows[i][0], strlen(rows[i][0]), out);
		assert_string_equal(out, rows[i][1]);
	}
}

/* What a thread keeps in store must not be given out twice. */
static void a_forked_child_draws_other_values(void **state)
{
	int ends[2];
	char ours[37], theirs[37];
	random_uuid(ours);
	assert_int_equal(pipe(ends), 0);
	pid_t child = fork();
	if (child == 0) {
		random_uuid(theirs);
		_exit(write(ends[1], theirs, sizeof(theirs)) == sizeof(theirs) ? 0 : 1);
	}
	random_uuid(ours);
	assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
	assert_string_not_equal(ours, theirs);
	assert_int_equal(waitpid(child, NULL, 0), child);
	close(ends[0]);
	close(ends[1]);
}

static void base64_decodes_both_alphabets(void **state)
{
	static const struct {
		const char *text, *bytes;
		size_t len;
	} rows[] = {{"", "", 0}, {"Zg==", "f", 1}, {"Zg", "f", 1}, {"Zm8=", "fo", 2}, {"Zm9vYmFy", "foobar", 6}, {"--__", "\xfb\xef\xff", 3}, {"++//", "\xfb\xef\xff", 3}};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree uint8_t *out = NULL;
		size_t len = 99;
		assert_int_equal(base64_decode(rows[i].text, strlen(rows[i].text), 100, &out, &len), 0);
		assert_int_equal(len, rows[i].len);
		assert_memory_equal(out, rows[i].bytes, len);
	}
	static const char *const bad[] = {"Z", "Zg=", "Zg===", "Zm9=v", "Z g=", "=", "Zm9v="};
	for (size_t i = 0; i < array_len(bad); i++) {
		uint8_t *out = NULL;
		assert_int_equal(base64_decode(bad[i], strlen(bad[i]), 100, &out, &(size_t){0}), -EINVAL);
		assert_null(out);
	}
	uint8_t *out = NULL;
	assert_int_equal(base64_decode("Zm9vYmFy", 8, 5, &out, &(size_t){0}), -EINVAL);
	autofree char *url = base64url_encode("\xfb\xef\xff\xff", 4);
	assert_string_equal(url, "--___w");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identifiers_have_their_form),
		cmocka_unit_test(sha256_of_known_text),
		cmocka_unit_test(base32_of_known_text),
		cmocka_unit_test(a_forked_child_draws_other_values),
		cmocka_unit_test(base64_decodes_both_alphabets),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
