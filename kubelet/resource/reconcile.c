/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings containers that run to the cpus that are theirs by now: whoever shares leaves cpus that became somebody's own, and comes back to them later. Done
 * whenever that changes; what fails is tried again after the reconcile period.
 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "kubelet/resource/internal.h"

#include <errno.h>

static char *cpus_of(struct resource_managers *m, const struct container_status *status) {
	pthread_mutex_lock(&m->lock);
	const struct cpu_holding *holding = cpu_manager_find(&m->cpu, status->pod_uid, status->name);
	char *text = cpuset_format(holding ? &holding->cpus : &m->cpu.shared);
	pthread_mutex_unlock(&m->lock);
	return text;
}

/* False where it is to be tried again. */
static bool tell(struct resource_managers *m, const struct container_status *status, struct map *fresh) {
	autofree char *cpus = cpus_of(m, status);
	autoerror struct error err = {0};
	if (!*cpus)
		return true;
	if (!str_equal(map_get(&m->told, status->id), cpus)) {
		int r = runtime_container_update(m->kubelet->runtime, status->id, &(struct cgroup_resources){.cpuset_cpus = cpus}, &err);
		if (r == -ESRCH || r == -ENOENT)
			return true;
		if (r < 0) {
			log_warning("container cannot be moved to its cpus", LOG_STR("container", status->name), LOG_STR("pod", status->pod_uid), LOG_STR("cpus", cpus), LOG_ERR(&err));
			return false;
		}
	}
	map_set(fresh, status->id, xstrdup(cpus));
	return true;
}

static bool pass(struct resource_managers *m) {
	struct container_status **list = NULL;
	size_t count = 0;
	struct map fresh = MAP_INIT(free);
	bool all = runtime_container_list(m->kubelet->runtime, NULL, NULL, &list, &count, NULL) == 0;
	for (size_t i = 0; i < count; i++) {
		if (list[i]->state != CONTAINER_EXITED)
			all = tell(m, list[i], &fresh) && all;
		container_status_free(list[i]);
	}
	free(list);
	map_done(&m->told);
	m->told = fresh;
	return all;
}

static struct timespec after(int64_t ns) {
	int64_t at = clock_monotonic_ns() + ns;
	return (struct timespec){.tv_sec = at / NSEC_PER_SEC, .tv_nsec = at % NSEC_PER_SEC};
}

static void *run(void *arg) {
	struct resource_managers *m = arg;
	bool failed = false;
	pthread_mutex_lock(&m->reconcile_lock);
	while (!m->stops) {
		struct timespec deadline = after(m->kubelet->options.cpu_reconcile_ns);
		while (!m->stops && !m->dirty)
			if ((failed ? pthread_cond_timedwait(&m->changed, &m->reconcile_lock, &deadline) : pthread_cond_wait(&m->changed, &m->reconcile_lock)) == ETIMEDOUT)
				break;
		if (m->stops)
			break;
		m->dirty = false;
		pthread_mutex_unlock(&m->reconcile_lock);
		failed = !pass(m);
		pthread_mutex_lock(&m->reconcile_lock);
	}
	pthread_mutex_unlock(&m->reconcile_lock);
	return NULL;
}

void reconcile_wake(struct resource_managers *m) {
	pthread_mutex_lock(&m->reconcile_lock);
	m->dirty = true;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->reconcile_lock);
}

void resource_managers_start(struct resource_managers *m) {
	if (!m || m->cpu.policy != &cpu_policy_static)
		return;
	/* Who ran before may have been told something else by then. */
	m->dirty = true;
	m->runs = pthread_create(&m->thread, NULL, run, m) == 0;
}

void resource_managers_stop(struct resource_managers *m) {
	if (!m || !m->runs)
		return;
	pthread_mutex_lock(&m->reconcile_lock);
	m->stops = true;
	pthread_cond_signal(&m->changed);
	pthread_mutex_unlock(&m->reconcile_lock);
	pthread_join(m->thread, NULL);
	m->runs = false;
}
