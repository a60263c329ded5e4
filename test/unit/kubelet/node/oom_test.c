/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/node/oom.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define HEAD "6,1234,5678901,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,"

static void test_records(void **state) {
	static const struct {
		const char *record, *name;
		int64_t pid;
	} rows[] = {
		{HEAD "global_oom,task_memcg=/user.slice,task=hungry,pid=4711,uid=0\n SUBSYSTEM=x\n", "hungry", 4711},
		{HEAD "global_oom,task_memcg=/a,task=a,pid=1,uid=2,pid=7,uid=0\n", "a,pid=1,uid=2", 7}, /* names are free */
		{HEAD "global_oom,task_memcg=/,task=,pid=3,uid=0", "", 3},
		{HEAD "oom_memcg=/kubepods/x,task_memcg=/kubepods/x,task=hungry,pid=4711,uid=0\n", NULL, 0}, /* a group's limit: the container's own status tells */
		{HEAD "oom_memcg=/x,task_memcg=/x,task=,global_oom,,pid=3,uid=0\n", NULL, 0},
		{"14,1234,5678901,-;oom-kill:constraint=CONSTRAINT_NONE,global_oom,task_memcg=/,task=forged,pid=1,uid=0\n", NULL, 0}, /* written by a process */
		{HEAD "global_oom,task_memcg=/,task=x,pid=-1,uid=0", NULL, 0},
		{HEAD "global_oom,task_memcg=/,task=x,pid=99999999999999999999999,uid=0", NULL, 0},
		{"6,1,2,-;Out of memory: Killed process 4711 (hungry)\n", NULL, 0},
		{"6,1,2,-;oom-kill:", NULL, 0},
		{"6,1,2,-", NULL, 0},
		{"", NULL, 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		char name[64];
		int64_t pid;
		bool told = oom_parse(rows[i].record, name, &pid);
		assert_int_equal(told, rows[i].name != NULL);
		if (told) {
			assert_string_equal(name, rows[i].name);
			assert_int_equal(pid, rows[i].pid);
		}
	}
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_records)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
