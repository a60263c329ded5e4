/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a container would end, told from its command alone: a small reading of sleep, exit, true and false, alone or in a shell's script.
 * An annotation of the pod says it outright where a test wants more.
 */
#ifndef CORACLE_TEST_HOLLOW_OUTCOME_H
#define CORACLE_TEST_HOLLOW_OUTCOME_H

#include "common/api/api.h"

#include "api/core_v1.h"

#define HOLLOW_ANNOTATION_EXIT_CODE "hollow.coracle.io/exit-code" /* of every main container */
#define HOLLOW_ANNOTATION_RUN_FOR "hollow.coracle.io/run-for"     /* a duration; how long until they end with it. Alone: with 0 */

struct outcome {
	bool ends;
	bool heeds_stop;   /* ends by itself, with 0, when told to stop */
	int64_t after_ms;  /* from its start */
	int32_t exit_code;
};

/*
 * A command that is not known runs on where the pod is to run for ever (restartPolicy Always), else it succeeds at once; that of an init container
 * (is_init; a sidecar is none) always does.
 */
struct outcome outcome_of(const struct core_v1_pod *pod, const struct core_v1_container *container, bool is_init);
/* The same of a command line alone; false where it is not known. */
bool outcome_of_command(const struct api_string_list *command, const struct api_string_list *args, struct outcome *ret);

#endif
