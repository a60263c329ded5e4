/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leader election as client-go does it: whoever's identity stands in the Lease leads, as long as it renews. The age of a
 * foreign claim is measured from when this process first saw it, by its own clock: clocks of machines need not agree.
 */
#include "common/client/leader.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/random.h"
#include "common/client/internal.h"

#include "api/coordination_v1.h"
#include "api/meta_v1.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define LEASE_DURATION (15 * NSEC_PER_SEC)
#define RENEW_DEADLINE (10 * NSEC_PER_SEC)
#define RETRY_PERIOD (2 * NSEC_PER_SEC)

struct leader {
	struct client *client;
	struct leader_options options;
	char *ns, *name, *identity;
	const struct api_resource *resource;
	struct coordination_v1_lease *seen; /* the Lease as last read or written; NULL: none yet */
	int64_t seen_at;                    /* when its holder or renewTime was seen to change */
	char *told;                         /* identity last passed to on_new_leader */
	_Atomic bool leading;
	_Atomic int64_t renewed; /* monotonic: when the last renewal that succeeded was begun */
	int stop_fd;
	pthread_t thread;
};

static const char *const name_label[] = {"name", NULL};
static struct metric metrics[] = {
	{"leader_election_master_status", "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.",
		METRIC_GAUGE, name_label, NULL, NULL},
};

bool leader_is_leading(struct leader *leader)
{
	return atomic_load(&leader->leading);
}

bool leader_is_sure(struct leader *leader)
{
	return atomic_load(&leader->leading) && clock_monotonic_ns() - atomic_load(&leader->renewed) < leader->options.renew_deadline_ns;
}

char *leader_fence(const struct leader *leader)
{
	return xprintf("%s/%s/%s", leader->ns, leader->name, leader->identity);
}

static void observe(struct leader *leader, struct coordination_v1_lease *take_lease)
{
	struct coordination_v1_lease *old = leader->seen;
	if (!old || !api_equal(&coordination_v1_lease_spec_type, &old->spec, &take_lease->spec))
		leader->seen_at = clock_monotonic_ns();
	leader->seen = take_lease;
	api_unref(old);
	const char *holder = str_or(take_lease->spec.holder_identity, "");
	if (*holder && !str_equal(holder, leader->told)) {
		free(leader->told);
		leader->told = xstrdup(holder);
		if (leader->options.on_new_leader)
			leader->options.on_new_leader(holder, leader->options.arg);
	}
}

/* A request that must not outlast the deadline for renewal. */
static int request(struct leader *leader, const char *method, const struct coordination_v1_lease *body, struct error *err)
{
	autobuf struct buf path = BUF_INIT(8192);
	autobuf struct buf text = BUF_INIT(1 << 20);
	client_path(&path, leader->resource, leader->ns, str_equal(method, "POST") ? NULL : leader->name, NULL);
	if (body)
		api_encode(body, &text);
	struct client_request out = {.method = method, .path = path.data, .body = body ? text.data : NULL, .body_len = text.len, .timeout_ms = (int)(leader->options.renew_deadline_ns / 2 / NSEC_PER_MSEC)};
	void *answer;
	int rc = client_exchange(leader->client, &out, &coordination_v1_lease_type, &answer, err);
	if (!rc)
		observe(leader, answer);
	return rc;
}

static void fill_spec(const struct leader *leader, struct coordination_v1_lease *lease, bool is_new_term)
{
	struct arena *arena = api_arena(lease);
	struct api_time now = api_time_now_micro();
	lease->spec.holder_identity = arena_strdup(arena, leader->identity);
	lease->spec.lease_duration_seconds = api_int32(arena, (int32_t)(leader->options.lease_duration_ns / NSEC_PER_SEC));
	lease->spec.renew_time = now;
	if (!is_new_term)
		return;
	int32_t transitions = lease->spec.lease_transitions ? *lease->spec.lease_transitions + 1 : 0;
	lease->spec.lease_transitions = api_int32(arena, transitions);
	lease->spec.acquire_time = now;
}

static int create(struct leader *leader, struct error *err)
{
	autounref struct coordination_v1_lease *lease = api_new_of(coordination_v1_lease);
	lease->metadata.name = leader->name;
	lease->metadata.namespace = leader->ns;
	fill_spec(leader, lease, true);
	return request(leader, "POST", lease, err);
}

static bool holds(const struct leader *leader)
{
	return leader->seen && str_equal(leader->seen->spec.holder_identity, leader->identity);
}

static int write_claim(struct leader *leader, struct error *err)
{
	bool is_new_term = !holds(leader);
	autounref struct coordination_v1_lease *lease = api_copy(leader->seen);
	fill_spec(leader, lease, is_new_term);
	return request(leader, "PUT", lease, err);
}

/* Whether somebody else's claim still counts. */
static bool held_by_other(const struct leader *leader)
{
	const struct coordination_v1_lease_spec *spec = &leader->seen->spec;
	if (str_empty(spec->holder_identity) || holds(leader))
		return false;
	int64_t seconds = spec->lease_duration_seconds ? *spec->lease_duration_seconds : leader->options.lease_duration_ns / NSEC_PER_SEC;
	return leader->seen_at + seconds * NSEC_PER_SEC > clock_monotonic_ns();
}

/* True where the lease is ours, freshly written. */
static bool claim(struct leader *leader)
{
	autoerror struct error err = {0};
	/* The holder need not read what it wrote itself, as long as nobody else touches it. */
	if (atomic_load(&leader->leading) && holds(leader) && write_claim(leader, &err) == 0)
		return true;
	error_done(&err);
	err = (struct error){0};
	int rc = request(leader, "GET", NULL, &err);
	if (rc && err.http_code == 404) {
		error_done(&err);
		err = (struct error){0};
		rc = create(leader, &err);
	} else if (!rc && held_by_other(leader)) {
		return false;
	} else if (!rc) {
		rc = write_claim(leader, &err);
	}
	if (rc && !error_is(&err, "Conflict") && !error_is(&err, "AlreadyExists"))
		log_warning("Failed to claim the lease", LOG_STR("lease", leader->name), LOG_ERR(&err));
	return !rc;
}

/* It counts from before the request: whoever sees the claim measures from later. */
static bool try_claim(struct leader *leader)
{
	int64_t begun = clock_monotonic_ns();
	bool claimed = claim(leader);
	if (claimed)
		atomic_store(&leader->renewed, begun);
	return claimed;
}

/* Returns false where it is time to stop. */
static bool pause_for(struct leader *leader, int64_t ns)
{
	struct pollfd stop = {.fd = leader->stop_fd, .events = POLLIN};
	return poll(&stop, 1, (int)(ns / NSEC_PER_MSEC)) == 0;
}

/* Given up, or gone: no reason to wait any longer. */
static bool on_lease(const char *type, void *object, void *arg)
{
	const struct coordination_v1_lease *lease = object;
	bool *free_now = arg;
	*free_now = str_equal(type, "DELETED") || (!str_equal(type, "BOOKMARK") && str_empty(lease->spec.holder_identity));
	return !*free_now;
}

/* Readable once it is to stop, or the time is over. */
static int watch_end(struct leader *leader, int64_t ns, int *ret_timer)
{
	int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct itimerspec until = {.it_value = {.tv_sec = ns / NSEC_PER_SEC, .tv_nsec = ns % NSEC_PER_SEC}};
	if (epoll < 0 || timer < 0 || timerfd_settime(timer, 0, &until, NULL) || epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN}) ||
		epoll_ctl(epoll, EPOLL_CTL_ADD, leader->stop_fd, &(struct epoll_event){.events = EPOLLIN}))
		abort();
	*ret_timer = timer;
	return epoll;
}

/* Waits, but not past the moment where the holder gives the lease up. Returns false where it is time to stop. */
static bool wait_for_lease(struct leader *leader, int64_t ns)
{
	int64_t end = clock_monotonic_ns() + max_of(ns, (int64_t)1);
	bool free_now = false;
	if (leader->seen && !str_empty(leader->seen->metadata.resource_version)) {
		autoclose int timer = -1, epoll = watch_end(leader, max_of(ns, (int64_t)1), &timer);
		autofree char *field = xprintf("metadata.name=%s", leader->name);
		struct client_list_options options = {.field_selector = field, .resource_version = leader->seen->metadata.resource_version};
		client_watch(leader->client, leader->resource, leader->ns, &options, on_lease, &free_now, epoll, NULL);
	}
	int64_t left = end - clock_monotonic_ns();
	return pause_for(leader, free_now || left < 0 ? 0 : left);
}

static bool acquire(struct leader *leader)
{
	while (!try_claim(leader)) {
		int64_t period = leader->options.retry_period_ns;
		if (!wait_for_lease(leader, period + (int64_t)random_below((uint64_t)period * 6 / 5 + 1)))
			return false;
	}
	return true;
}

/* Returns false where the lease is lost, true where it was told to stop. */
static bool renew(struct leader *leader)
{
	while (pause_for(leader, leader->options.retry_period_ns)) {
		/* Stopped for so long that another may lead: what was ours is not taken back. */
		bool late = clock_monotonic_ns() - atomic_load(&leader->renewed) > leader->options.lease_duration_ns;
		if (late || (!try_claim(leader) && (!holds(leader) || !leader_is_sure(leader))))
			return false;
	}
	return true;
}

static void release(struct leader *leader)
{
	if (!leader->options.release_on_exit || !holds(leader))
		return;
	autounref struct coordination_v1_lease *lease = api_copy(leader->seen);
	struct api_time now = api_time_now_micro();
	lease->spec.holder_identity = NULL;
	lease->spec.lease_duration_seconds = api_int32(api_arena(lease), 1);
	lease->spec.renew_time = lease->spec.acquire_time = now;
	request(leader, "PUT", lease, NULL);
}

static void *leader_run(void *arg)
{
	struct leader *leader = arg;
	if (!acquire(leader))
		return NULL;
	struct metric_series *status = metric_label(&metrics[0], leader->name);
	atomic_store(&leader->leading, true);
	metric_set(status, 1);
	if (leader->options.on_started)
		leader->options.on_started(leader->options.arg);
	bool kept = renew(leader);
	/* Nobody may think it leads once another could. */
	atomic_store(&leader->leading, false);
	metric_set(status, 0);
	if (leader->options.on_stopped)
		leader->options.on_stopped(leader->options.arg);
	if (kept)
		release(leader);
	return NULL;
}

static char *default_identity(void)
{
	char host[256] = "localhost", uuid[37];
	gethostname(host, sizeof(host) - 1);
	random_uuid(uuid);
	return xprintf("%s_%s", host, uuid);
}

static void register_metrics(void)
{
	metrics_register(metrics, array_len(metrics));
}

struct leader *leader_start(struct client *client, const struct leader_options *options)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, register_metrics);
	struct leader *leader = xnew(struct leader);
	leader->client = client;
	leader->options = *options;
	if (!options->lease_duration_ns)
		leader->options.lease_duration_ns = LEASE_DURATION;
	if (!options->renew_deadline_ns)
		leader->options.renew_deadline_ns = RENEW_DEADLINE;
	if (!options->retry_period_ns)
		leader->options.retry_period_ns = RETRY_PERIOD;
	leader->ns = xstrdup(options->ns);
	leader->name = xstrdup(options->name);
	leader->identity = options->identity ? xstrdup(options->identity) : default_identity();
	leader->resource = api_resource_find("coordination.k8s.io", "v1", "leases");
	leader->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (leader->stop_fd < 0 || pthread_create(&leader->thread, NULL, leader_run, leader))
		abort();
	return leader;
}

void leader_stop(struct leader *leader)
{
	if (!leader)
		return;
	eventfd_write(leader->stop_fd, 1);
	pthread_join(leader->thread, NULL);
	close(leader->stop_fd);
	api_unref(leader->seen);
	free(leader->ns);
	free(leader->name);
	free(leader->identity);
	free(leader->told);
	free(leader);
}
