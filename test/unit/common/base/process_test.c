/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/process.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void missing_programs_are_reported_at_the_start(void **state)
{
	struct process_options o = PROCESS_OPTIONS_INIT;
	o.argv = (const char *const[]){"/nonexistent/program", NULL};
	struct process p = {.pid = -7};
	autoerror struct error err = {0};
	assert_int_equal(process_start(&o, &p, &err), -ENOENT);
	assert_int_equal(p.pid, -7);
	assert_string_equal(err.message, "start /nonexistent/program: No such file or directory");
}

static void input_goes_in_and_output_comes_out(void **state)
{
	struct process_options o = PROCESS_OPTIONS_INIT;
	o.argv = (const char *const[]){"cat", NULL};
	autofree char *large = xmalloc(300000);
	memset(large, 'x', 300000);
	autobuf struct buf out = BUF_INIT(1 << 20);
	int code = -1;
	assert_int_equal(process_run(&o, large, 300000, &out, NULL, 10000, &code, NULL), 0);
	assert_int_equal(code, 0);
	assert_int_equal(out.len, 300000);
	/* A child that reads nothing does not end us by SIGPIPE. */
	o.argv = (const char *const[]){"true", NULL};
	assert_int_equal(process_run(&o, large, 300000, NULL, NULL, 10000, NULL, NULL), 0);
}

static void failure_quotes_the_last_of_stderr(void **state)
{
	struct process_options o = PROCESS_OPTIONS_INIT;
	o.argv = (const char *const[]){"sh", "-c", "echo first; echo broken >&2; exit 3", NULL};
	autobuf struct buf out = BUF_INIT(100), errout = BUF_INIT(3);
	autoerror struct error err = {0};
	int code = 0;
	assert_int_equal(process_run(&o, NULL, 0, &out, &errout, 10000, &code, &err), -EIO);
	assert_int_equal(code, 3);
	assert_string_equal(out.data, "first\n");
	assert_true(buf_failed(&errout));
	assert_string_equal(err.message, "sh exited with code 3: broken");
}

static void late_programs_are_killed(void **state)
{
	struct process_options o = PROCESS_OPTIONS_INIT;
	o.argv = (const char *const[]){"sleep", "100", NULL};
	autoerror struct error err = {0};
	assert_int_equal(process_run(&o, NULL, 0, NULL, NULL, 50, NULL, &err), -ETIMEDOUT);
	struct process p;
	assert_int_equal(process_start(&o, &p, NULL), 0);
	int status = 0;
	assert_int_equal(process_wait(&p, 10, &status, &err), -ETIMEDOUT);
	assert_int_equal(process_signal(&p, SIGTERM), 0);
	assert_int_equal(process_wait(&p, -1, &status, &err), 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	assert_int_equal(p.pidfd, -1);
}

static void descriptors_arrive_where_promised_and_no_others(void **state)
{
	int a[2], b[2];
	assert_int_equal(pipe(a), 0);
	assert_int_equal(pipe(b), 0);
	struct process_options o = PROCESS_OPTIONS_INIT;
	/* A high fd for 3 and a low one for 4: neither may overwrite the other. */
	o.keep_fds = (const int[]){b[1], a[1]};
	o.keep_fd_count = 2;
	o.cwd = "/";
	o.envp = (const char *const[]){"PATH=/usr/bin:/bin", "X=y", NULL};
	o.new_session = o.die_with_parent = true;
	o.argv = (const char *const[]){"sh", "-c", "printf B >&3; printf A >&4; echo $X; pwd; set -- /proc/$$/fd/*; echo $#", NULL};
	autobuf struct buf out = BUF_INIT(1000);
	assert_int_equal(process_run(&o, NULL, 0, &out, NULL, 10000, NULL, NULL), 0);
	char c;
	assert_int_equal(read(a[0], &c, 1), 1);
	assert_int_equal(c, 'A');
	assert_int_equal(read(b[0], &c, 1), 1);
	assert_int_equal(c, 'B');
	assert_true(str_starts_with(out.data, "y\n/\n"));
	assert_int_equal(atoi(out.data + 4), 6); /* 0 to 4, and the folder that the shell lists */
	for (int i = 0; i < 2; i++) {
		close(a[i]);
		close(b[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_programs_are_reported_at_the_start),
		cmocka_unit_test(input_goes_in_and_output_comes_out),
		cmocka_unit_test(failure_quotes_the_last_of_stderr),
		cmocka_unit_test(late_programs_are_killed),
		cmocka_unit_test(descriptors_arrive_where_promised_and_no_others),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
