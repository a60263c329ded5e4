/* SPDX-License-Identifier: Apache-2.0 */
/* A function that can stop in the middle and go on later, on a stack of its own: a worker of the simulator. */
#ifndef CORACLE_TEST_SIM_FIBER_H
#define CORACLE_TEST_SIM_FIBER_H

#include <stdbool.h>

struct fiber;
struct fiber *fiber_new(void);
void fiber_free(struct fiber *fiber);
/* Runs fn(arg) until it stops or ends. The fiber must be idle. */
void fiber_start(struct fiber *fiber, void (*fn)(void *arg), void *arg);
/* Lets it go on until it stops again or ends. */
void fiber_resume(struct fiber *fiber);
bool fiber_is_idle(const struct fiber *fiber);
/* Inside a fiber: stop here, back to who resumed it. */
void fiber_stop(void);
bool fiber_inside(void);

#endif
