/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "test/hollow/outcome.h"

static void commands_tell_how_they_end(void **state)
{
	static const struct {
		const char *words[3];
		bool known, ends;
		int64_t after_ms;
		int code;
	} rows[] = {
		{{"sleep", "3"}, true, true, 3000, 0},
		{{"sleep", "2m"}, true, true, 120000, 0},
		{{"sleep", "infinity"}, true, false, 0, 0},
		{{"/bin/true"}, true, true, 0, 0},
		{{"false"}, true, true, 0, 1},
		{{"sh", "-c", "exit 7"}, true, true, 0, 7},
		{{"/bin/sh", "-c", "sleep 1; sleep 2 && exit 3"}, true, true, 3000, 3},
		{{"sh", "-c", "false || exit 4"}, true, true, 0, 4},
		{{"sh", "-c", "true || exit 4"}, true, true, 0, 0},
		{{"sh", "-c", "false && exit 4"}, true, true, 0, 1},
		{{"sh", "-c", "echo 'a; exit 9'\nexit 2"}, true, true, 0, 2},
		{{"sh", "-c", "while true; do sleep 1; done"}, true, false, 0, 0},
		{{"sh", "-c", "exit $CODE"}, false, false, 0, 0},
		{{"sh", "-c", "make me happy"}, false, false, 0, 0},
		{{"sh"}, false, false, 0, 0},
		{{"nginx", "-g"}, false, false, 0, 0},
		{{NULL}, false, false, 0, 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct api_string_list command = {.items = (const char **)rows[i].words}, args = {0};
		while (command.len < 3 && rows[i].words[command.len])
			command.len++;
		struct outcome outcome = {0};
		print_message("row %zu\n", i);
		assert_int_equal(outcome_of_command(&command, &args, &outcome), rows[i].known);
		assert_int_equal(outcome.ends, rows[i].ends);
		assert_int_equal(outcome.after_ms, rows[i].after_ms);
		assert_int_equal(outcome.exit_code, rows[i].code);
	}
}

static void annotations_say_it_outright(void **state)
{
	autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
	struct core_v1_container *container = api_list_add(api_arena(pod), &pod->spec.containers);
	pod->spec.restart_policy = "Never";
	container->image = "nginx";
	assert_false(outcome_of(pod, container, false).ends);
	assert_true(outcome_of(pod, container, true).ends);
	api_map_set(api_arena(pod), &pod->metadata.annotations, HOLLOW_ANNOTATION_RUN_FOR, "1m30s");
	assert_int_equal(outcome_of(pod, container, false).after_ms, 90000);
	assert_int_equal(outcome_of(pod, container, false).exit_code, 0);
	api_map_set(api_arena(pod), &pod->metadata.annotations, HOLLOW_ANNOTATION_EXIT_CODE, "42");
	assert_int_equal(outcome_of(pod, container, false).exit_code, 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_tell_how_they_end),
		cmocka_unit_test(annotations_say_it_outright),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
