/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/memory.h"
#include "apiserver/timers.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/trim.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <unistd.h>

#define LEAST_LIMIT ((size_t)64 << 20)
#define LOOK_NS (20 * NSEC_PER_MSEC)
#define TRIM_LOOKS 25 /* between two attempts to give memory back */
/* Parts of the limit, in percent: from where on memory is given back, writes are refused, everything is. */
#define GIVE_BACK 75
#define NO_WRITES 80
#define NOTHING 90
/* What a request needs besides its body; and how often over it holds what the body says: text, tree, object, copies, stored form. */
#define REQUEST_BYTES ((size_t)64 << 10)
#define BODY_COPIES 10
#define LIST_BYTES ((size_t)1 << 20)

struct memory {
	struct apiserver *server;
	size_t limit;
	atomic_size_t used, reserved;
	atomic_bool wanted; /* somebody was refused since the last attempt to give memory back */
	int statm;
	struct timer *timer;
	unsigned looks;
	bool told;
};

static struct metric metrics[] = {
	{.name = "coracle_apiserver_memory_refusals_total", .help = "Requests refused because of --memory-limit", .kind = METRIC_COUNTER},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static size_t percent(const struct memory *m, unsigned part) {
	return m->limit / 100 * part;
}

static size_t resident(int statm) {
	char text[128];
	ssize_t len = pread(statm, text, sizeof(text) - 1, 0);
	unsigned long size, pages;
	if (len <= 0)
		return 0;
	text[len] = '\0';
	if (sscanf(text, "%lu %lu", &size, &pages) != 2)
		return 0;
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void look(void *arg) {
	struct memory *m = arg;
	size_t used = resident(m->statm);
	atomic_store(&m->used, used);
	if (used < percent(m, GIVE_BACK) && !atomic_load(&m->wanted)) {
		m->told = false;
		return;
	}
	if (m->looks++ % TRIM_LOOKS)
		return;
	atomic_store(&m->wanted, false);
	if (!m->told)
		log_warning("memory runs short", LOG_INT("used", used), LOG_INT("limit", m->limit));
	m->told = true;
	store_shrink(m->server->store);
	heap_trim();
}

size_t memory_limit(const struct apiserver *server) {
	return server->memory ? server->memory->limit : 0;
}

int memory_start(struct apiserver *server, struct error *err) {
	const char *text = server->options->memory_limit;
	struct quantity quantity;
	if (str_empty(text) || strcmp(text, "0") == 0)
		return 0;
	if (quantity_parse(text, strlen(text), &quantity) < 0 || quantity_value(&quantity) < (int64_t)LEAST_LIMIT)
		return error_set(err, EINVAL, "--memory-limit: %s is no amount of memory of at least %zuMi", text, LEAST_LIMIT >> 20);
	struct memory *m = xnew(struct memory);
	*m = (struct memory){.server = server, .limit = (size_t)quantity_value(&quantity), .statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC)};
	server->memory = m;
	if (m->statm < 0)
		return error_set_errno(err, errno, "open /proc/self/statm");
	/* What is freed goes back to the system: few arenas; large pieces are mapped by themselves anyway. */
	mallopt(M_ARENA_MAX, 2);
	atomic_store(&m->used, resident(m->statm));
	m->timer = timer_start(server->timers, LOOK_NS, true, look, m);
	return 0;
}

static void memory_free(void *arg) {
	struct memory *m = arg;
	if (m->statm >= 0)
		close(m->statm);
	free(m);
}

void memory_stop(struct apiserver *server) {
	struct memory *m = server->memory;
	if (!m)
		return;
	server->memory = NULL;
	if (m->timer)
		timer_cancel(m->timer, memory_free);
	else
		memory_free(m);
}

/* ---- requests ---- */

struct reservation {
	struct memory *memory;
	size_t bytes;
};

static void give_back(void *arg) {
	struct reservation *reservation = arg;
	atomic_fetch_sub(&reservation->memory->reserved, reservation->bytes);
}

bool memory_reserve(struct request *r) {
	struct memory *m = r->server->memory;
	if (!m || (!r->is_resource && strcmp(r->verb, "get") == 0))
		return true;
	size_t body = 0;
	http_body(r->http, &body);
	bool reads = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
	size_t bytes = REQUEST_BYTES + body * BODY_COPIES + (strcmp(r->verb, "list") == 0 ? LIST_BYTES : 0);
	size_t reserved = atomic_fetch_add(&m->reserved, bytes) + bytes;
	size_t most = percent(m, reads ? NOTHING : NO_WRITES);
	if (atomic_load(&m->used) + reserved > most) {
		atomic_fetch_sub(&m->reserved, bytes);
		atomic_store(&m->wanted, true);
		metric_add(metric_label(&metrics[0]), 1);
		return false;
	}
	struct reservation *reservation = arena_new_type(r->arena, struct reservation);
	*reservation = (struct reservation){m, bytes};
	arena_defer(r->arena, give_back, reservation);
	return true;
}
