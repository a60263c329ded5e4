/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/log.h"

#include "common/base/clock.h"
#include "common/base/error.h"

#include <stdio.h>
#include <unistd.h>

static char line[4096];

static void read_line(int fd)
{
	ssize_t n = read(fd, line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
}

static void text_is_klogs(void **state)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	clock_set_test((struct wall_time){1795489200, 5000});
	log_init(fds[1], LOG_FORMAT_TEXT, 2);
	log_info("pod \"x\" started", LOG_STR("pod", "a/b"), LOG_INT("restarts", -3), LOG_STR("none", NULL));
	read_line(fds[0]);
	char pid[32];
	snprintf(pid, sizeof(pid), " %7d ", (int)getpid());
	assert_true(str_starts_with(line, "I1124 03:00:00.000005"));
	assert_non_null(strstr(line, pid));
	assert_non_null(strstr(line, "log_test.c:"));
	assert_true(str_ends_with(line, "] \"pod \\\"x\\\" started\" pod=\"a/b\" restarts=-3 none=\"\"\n"));
	log_error("bare");
	read_line(fds[0]);
	assert_true(line[0] == 'E' && str_ends_with(line, "] \"bare\"\n"));
	log_debug(3, "too deep");
	log_debug(2, "seen");
	read_line(fds[0]);
	assert_true(str_ends_with(line, "] \"seen\"\n"));
	log_init(STDERR_FILENO, LOG_FORMAT_TEXT, 0);
	close(fds[0]);
	close(fds[1]);
}

static void json_is_one_object_a_line(void **state)
{
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	log_init(fds[1], LOG_FORMAT_JSON, 0);
	autoerror struct error err = {0};
	error_set(&err, 5, "line\nbreak");
	log_warning("oops", LOG_ERR(&err), LOG_INT("n", 7));
	read_line(fds[0]);
	assert_non_null(strstr(line, "\"level\":\"warning\""));
	assert_true(str_ends_with(line, "\"msg\":\"oops\",\"err\":\"line\\nbreak\",\"n\":7}\n"));
	log_init(STDERR_FILENO, LOG_FORMAT_TEXT, 0);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(text_is_klogs), cmocka_unit_test(json_is_one_object_a_line)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
