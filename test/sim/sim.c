/* SPDX-License-Identifier: Apache-2.0 */
/* Chance, history, and the order of steps. */
#include "test/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define HISTORY 400
#define LINE 320
#define SETTLE_NS (25 * 60 * NSEC_PER_SEC) /* longer than any back-off, deadline or expectation */
#define SETTLE_STEPS 400000

struct simulation sim;
static char history[HISTORY][LINE];
static size_t history_len;
static uint64_t random_state[2];

/* ---- chance ---- */

static uint64_t next_random(void)
{
	/* xoroshiro128+: a few shifts, and the same on every machine. */
	uint64_t a = random_state[0], b = random_state[1], result = a + b;
	b ^= a;
	random_state[0] = (a << 24 | a >> 40) ^ b ^ b << 16;
	random_state[1] = b << 37 | b >> 27;
	return result;
}

uint64_t sim_random(uint64_t bound)
{
	return (next_random() >> 11) % bound;
}

bool sim_chance(unsigned per_mille)
{
	return per_mille && sim_random(1000) < per_mille;
}

static uint64_t spread(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

/* ---- history ---- */

void sim_log(const char *fmt, ...)
{
	char *line = history[history_len++ % HISTORY];
	int64_t now = clock_monotonic_ns();
	int len = snprintf(line, LINE, "%zu %lld.%03lld ", sim.step, (long long)(now / NSEC_PER_SEC), (long long)(now / NSEC_PER_MSEC % 1000));
	va_list args;
	va_start(args, fmt);
	vsnprintf(line + len, LINE - (size_t)len, fmt, args);
	va_end(args);
	if (getenv("TRACE"))
		fprintf(stderr, "%s\n", line);
}

void sim_fail(const char *fmt, ...)
{
	va_list args;
	for (size_t i = history_len > HISTORY ? history_len - HISTORY : 0; i < history_len; i++)
		printf("%s\n", history[i % HISTORY]);
	printf("\nstep %zu: ", sim.step);
	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	printf("\nplay it again with SEED=%llu STEPS=%zu\n", (unsigned long long)sim.seed, sim.steps);
	fflush(stdout);
	_exit(1);
}

/* ---- steps ---- */

static void pass_time(int64_t ns)
{
	clock_advance_test(ns);
	nodes_tick();
}

/* How bad the weather is, for the next while. */
static void change_weather(void)
{
	static const struct faults kinds[] = {
		{0, 0, 0, 0},
		{10, 10, 10, 5},
		{60, 40, 60, 30},
		{300, 100, 100, 200},
	};
	sim.faults = kinds[sim_random(array_len(kinds))];
	sim_log("weather: %u refused, %u lost, %u conflicts, %u reads in a thousand", sim.faults.refused, sim.faults.lost, sim.faults.conflict, sim.faults.reads);
}

static void act(void)
{
	if (sim.step % 40 == 0)
		manager_sim_weather();
	if (sim.step % 700 == 0)
		change_weather();
	if (sim_random(2500) == 0) {
		sim.crashes++;
		manager_sim_crash();
		manager_sim_start();
		return;
	}
	uint64_t pick = sim_random(100);
	if (pick < 34 && manager_sim_continue_work())
		return;
	if (pick < 58 && manager_sim_begin_work())
		return;
	if (pick < 78 && manager_sim_deliver())
		return;
	if (pick < 88 && kubelets_act())
		return;
	if (pick < 94 && scheduler_act())
		return;
	if (pick < 97) {
		users_act();
		return;
	}
	/* Mostly moments; now and then nothing happens for a while. */
	pass_time(sim_chance(100) ? (int64_t)sim_random(20000) * NSEC_PER_MSEC : (int64_t)sim_random(300) * NSEC_PER_MSEC);
}

static void step(void)
{
	sim.step++;
	act();
	checks_on_step();
}

/* No faults, no users: all that is under way comes to its end. */
static void settle(void)
{
	sim.settling = true;
	sim.faults = (struct faults){0};
	manager_sim_calm();
	nodes_revive();
	users_leave();
	int64_t until = clock_monotonic_ns() + SETTLE_NS;
	for (size_t i = 0; i < SETTLE_STEPS; i++) {
		checks_on_step();
		sim.step++;
		if (i % 64 == 0)
			manager_sim_trim();
		uint64_t first = sim_random(5);
		bool did = false;
		for (uint64_t n = 0; n < 5 && !did; n++) {
			switch ((first + n) % 5) {
			case 0:
				did = manager_sim_continue_work();
				break;
			case 1:
				did = manager_sim_begin_work();
				break;
			case 2:
				did = manager_sim_deliver();
				break;
			case 3:
				did = kubelets_act();
				break;
			default:
				did = scheduler_act();
				break;
			}
		}
		if (did)
			continue;
		int64_t now = clock_monotonic_ns(), due = manager_sim_next_due();
		if (now >= until)
			return;
		users_mend();
		pass_time(max_of(min_of(due, now + 10 * NSEC_PER_SEC) - now, NSEC_PER_MSEC));
	}
	sim_fail("the world does not settle: %zu writes so far", sim.writes);
}

void simulate(uint64_t seed, size_t steps)
{
	sim = (struct simulation){.seed = seed, .steps = steps, .steady = seed % 3 == 0};
	random_state[0] = spread(seed);
	random_state[1] = spread(random_state[0]);
	history_len = 0;
	clock_set_test((struct wall_time){1800000000, 0});
	checks_start();
	server_start();
	users_start();
	cluster_start();
	manager_sim_start();
	for (size_t i = 0; i < steps; i++)
		step();
	settle();
	checks_settled();
	manager_sim_crash();
	cluster_done();
	server_done();
	checks_done();
}
