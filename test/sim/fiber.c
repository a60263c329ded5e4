/* SPDX-License-Identifier: Apache-2.0 */
#include "test/sim/fiber.h"

#include "common/base/base.h"

#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define WITH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WITH_ASAN 1
#endif
#endif
#ifdef WITH_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define STACK_BYTES ((size_t)512 * 1024)

struct fiber {
	ucontext_t context;
	char *stack;
	void (*fn)(void *arg);
	void *arg;
	bool running;
	void *fake_stack; /* of the address sanitizer */
};

static ucontext_t main_context;
static struct fiber *current;
static void *main_fake_stack;
static const void *main_stack;
static size_t main_stack_size;

struct fiber *fiber_new(void)
{
	struct fiber *fiber = xnew(struct fiber);
	fiber->stack = xmalloc(STACK_BYTES);
	return fiber;
}

void fiber_free(struct fiber *fiber)
{
	if (!fiber)
		return;
	free(fiber->stack);
	free(fiber);
}

static void before_switch(void **save, const void *stack, size_t size)
{
#ifdef WITH_ASAN
	__sanitizer_start_switch_fiber(save, stack, size);
#endif
}

static void after_switch(void *saved, const void **ret_stack, size_t *ret_size)
{
#ifdef WITH_ASAN
	__sanitizer_finish_switch_fiber(saved, ret_stack, ret_size);
#endif
}

static void enter(void)
{
	after_switch(NULL, &main_stack, &main_stack_size);
	struct fiber *fiber = current;
	fiber->fn(fiber->arg);
	fiber->running = false;
	before_switch(NULL, main_stack, main_stack_size); /* NULL: the fiber's own frames are done with */
	setcontext(&main_context);
}

static void switch_to(struct fiber *fiber)
{
	current = fiber;
	before_switch(&main_fake_stack, fiber->stack, STACK_BYTES);
	swapcontext(&main_context, &fiber->context);
	after_switch(main_fake_stack, NULL, NULL);
	current = NULL;
}

void fiber_start(struct fiber *fiber, void (*fn)(void *arg), void *arg)
{
	fiber->fn = fn;
	fiber->arg = arg;
	fiber->running = true;
	getcontext(&fiber->context);
	fiber->context.uc_stack.ss_sp = fiber->stack;
	fiber->context.uc_stack.ss_size = STACK_BYTES;
	fiber->context.uc_link = NULL;
	makecontext(&fiber->context, enter, 0);
	switch_to(fiber);
}

void fiber_resume(struct fiber *fiber)
{
	switch_to(fiber);
}

bool fiber_is_idle(const struct fiber *fiber)
{
	return !fiber->running;
}

void fiber_stop(void)
{
	struct fiber *fiber = current;
	before_switch(&fiber->fake_stack, main_stack, main_stack_size);
	swapcontext(&fiber->context, &main_context);
	after_switch(fiber->fake_stack, &main_stack, &main_stack_size);
}

bool fiber_inside(void)
{
	return current != NULL;
}
