/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/error.h"

#include <errno.h>

static void local_errors_gain_context(void **state)
{
	autoerror struct error err = {0};
	assert_int_equal(error_set(&err, EINVAL, "bad %s", "x"), -EINVAL);
	assert_int_equal(error_context(&err, "pod %d", 1), -EINVAL);
	assert_string_equal(err.message, "pod 1: bad x");
	assert_int_equal(error_set(&err, -ENOENT, "again: %s", err.message), -ENOENT);
	assert_string_equal(err.message, "again: pod 1: bad x");
	assert_int_equal(error_set_errno(&err, ENOENT, "open /x"), -ENOENT);
	assert_string_equal(err.message, "open /x: No such file or directory");
	assert_int_equal(error_set(NULL, EIO, "nobody cares"), -EIO);
}

static void status_codes_become_errno(void **state)
{
	static const struct {
		int code;
		const char *reason;
		int errnum;
	} rows[] = {
		{404, "NotFound", ENOENT}, {409, "AlreadyExists", EEXIST}, {409, "Conflict", EAGAIN}, {400, "BadRequest", EINVAL},
		{422, "Invalid", EINVAL}, {403, "Forbidden", EACCES}, {410, "Expired", ESTALE}, {429, "TooManyRequests", EBUSY},
		{503, "ServiceUnavailable", EBUSY}, {504, "Timeout", ETIMEDOUT}, {500, "InternalError", EIO},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autoerror struct error err = {0};
		assert_int_equal(error_status(&err, rows[i].code, rows[i].reason, "m"), -rows[i].errnum);
		assert_true(error_is(&err, rows[i].reason));
		assert_false(error_is(&err, "Other"));
	}
}

static void causes_become_invalid(void **state)
{
	autoerror struct error err = {0};
	assert_int_equal(error_invalid(&err, "apps", "Deployment", "x"), 0);
	error_cause(&err, "FieldValueRequired", "spec.a", "Required value");
	assert_int_equal(error_invalid(&err, "apps", "Deployment", "x"), -EINVAL);
	assert_string_equal(err.message, "Deployment.apps \"x\" is invalid: spec.a: Required value");
	error_cause(&err, "FieldValueRequired", "spec.a", "Required value");
	error_cause(&err, "FieldValueInvalid", "spec.b", "Invalid value: %d: too small", 1);
	error_invalid(&err, "", "Pod", "y");
	assert_string_equal(err.message, "Pod \"y\" is invalid: [spec.a: Required value, spec.b: Invalid value: 1: too small]");
	assert_int_equal(err.http_code, 422);
	assert_string_equal(err.details_kind, "Pod");
	for (int i = 0; i < 1000; i++)
		error_cause(&err, "FieldValueInvalid", "f", "%d", i);
	assert_int_equal(err.cause_count, ERROR_MAX_CAUSES);
}

static void moving_empties_the_source(void **state)
{
	autoerror struct error a = {0}, b = {0};
	assert_int_equal(error_move(&a, &b), 0);
	error_status(&b, 404, "NotFound", "pods \"x\" not found");
	error_details(&b, "", "pods", "x");
	error_set(&a, EIO, "old");
	assert_int_equal(error_move(&a, &b), -ENOENT);
	assert_int_equal(b.errnum, 0);
	assert_string_equal(a.details_name, "x");
	error_set(&b, EPERM, "x");
	assert_int_equal(error_move(NULL, &b), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(local_errors_gain_context),
		cmocka_unit_test(status_codes_become_errno),
		cmocka_unit_test(causes_become_invalid),
		cmocka_unit_test(moving_empties_the_source),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
