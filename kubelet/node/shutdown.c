/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine shuts down. logind tells before it begins, and waits while we hold its delay lock (logind.h): pods are ended with the whole system
 * still up. Where it was not asked or does not wait, systemd stops our unit before it kills what is left: whoever is told to end while systemd
 * itself says "stopping" ends its pods first. Where another supervisor runs us, --shutdown-signal-is-machine says that SIGTERM means the same.
 */
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "kubelet/node/logind.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/manager.h"
#include "kubelet/pod/status_manager.h"

#include <pthread.h>
#include <stdlib.h>

#define CRITICAL_PRIORITY 2000000000
#define MAX_GROUPS 64
#define ASK_TIMEOUT_MS 5000
#define LOGIND_RETRY_MS 5000
#define LOGIND_CONF "/etc/systemd/logind.conf.d"
#define MESSAGE "Pod was terminated in response to imminent node shutdown."

struct group {
	int64_t priority, seconds;
};

static int by_priority(const void *a, const void *b) {
	const struct group *x = a, *y = b;
	return x->priority < y->priority ? -1 : x->priority > y->priority;
}

static size_t groups_of(const struct kubelet_options *o, struct group ret[MAX_GROUPS]) {
	size_t count = 0;
	for (size_t i = 0; i < o->shutdown_by_priority.len && count < MAX_GROUPS; i++) {
		const char *text = o->shutdown_by_priority.items[i], *equal = strchr(text, '=');
		autofree char *key = xstrndup(text, equal ? (size_t)(equal - text) : 0);
		struct group group;
		if (equal && str_to_int64(key, INT32_MIN, INT32_MAX, &group.priority) && str_to_int64(equal + 1, 0, 86400, &group.seconds))
			ret[count++] = group;
	}
	if (!count && o->shutdown_grace_ns > 0) {
		int64_t critical = min_of(o->shutdown_grace_critical_ns, o->shutdown_grace_ns);
		ret[count++] = (struct group){0, (o->shutdown_grace_ns - critical) / NSEC_PER_SEC};
		ret[count++] = (struct group){CRITICAL_PRIORITY, critical / NSEC_PER_SEC};
	}
	qsort(ret, count, sizeof(*ret), by_priority);
	return count;
}

/* The last group whose priority the pod reaches; the first takes those below it, too. */
static size_t group_of(const struct core_v1_pod *pod, const struct group *groups, size_t count) {
	int64_t priority = pod->spec.priority ? *pod->spec.priority : 0;
	size_t found = 0;
	for (size_t i = 1; i < count; i++)
		if (priority >= groups[i].priority)
			found = i;
	return found;
}

static bool systemd_stops(void) {
	const char *const argv[] = {"systemctl", "is-system-running", NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	autobuf struct buf out = BUF_INIT(4096), errout = BUF_INIT(4096);
	if (!file_exists("/run/systemd/system"))
		return false;
	/* It exits with an error in every state but "running". */
	process_run(&options, NULL, 0, &out, &errout, ASK_TIMEOUT_MS, NULL, NULL);
	return out.data && str_starts_with(out.data, "stopping");
}

bool node_shutdown_due(struct kubelet *kubelet) {
	struct group groups[MAX_GROUPS];
	return groups_of(&kubelet->options, groups) && (kubelet->options.shutdown_on_term || systemd_stops());
}

bool node_shuts_down(struct kubelet *kubelet) {
	return __atomic_load_n(&kubelet->shutting_down, __ATOMIC_ACQUIRE);
}

static void end_group(struct kubelet *kubelet, const struct informer_list *pods, const struct group *groups, size_t count, size_t index) {
	int64_t deadline = clock_monotonic_ns() + max_of(groups[index].seconds, (int64_t)1) * NSEC_PER_SEC;
	const char **uids = xcalloc(pods->len + 1, sizeof(*uids));
	size_t ended = 0;
	for (size_t i = 0; i < pods->len; i++) {
		const struct core_v1_pod *pod = pods->items[i];
		if (group_of(pod, groups, count) != index)
			continue;
		pod_manager_evict(kubelet->pods, pod->metadata.uid, "Terminated", MESSAGE, groups[index].seconds, MESSAGE);
		uids[ended++] = pod->metadata.uid;
	}
	if (!pod_manager_wait_ended(kubelet->pods, uids, ended, deadline))
		log_warning("pods did not end in time", LOG_INT("priority", groups[index].priority), LOG_INT("seconds", groups[index].seconds));
	free(uids);
}

/* One at a time: logind and SIGTERM may both say so. The second finds nothing left to end. */
static pthread_mutex_t shutdown_lock = PTHREAD_MUTEX_INITIALIZER;

void node_shutdown(struct kubelet *kubelet) {
	struct group groups[MAX_GROUPS];
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	size_t count = groups_of(&kubelet->options, groups);
	pthread_mutex_lock(&shutdown_lock);
	log_info("the machine shuts down: pods are ended");
	__atomic_store_n(&kubelet->shutting_down, true, __ATOMIC_RELEASE);
	node_agent_wake(kubelet->node);
	pod_manager_list(kubelet->pods, &pods);
	for (size_t i = 0; i < count; i++)
		end_group(kubelet, &pods, groups, count, i);
	status_manager_flush(kubelet->status);
	pthread_mutex_unlock(&shutdown_lock);
}

static void on_prepare(bool shuts_down, void *arg) {
	struct kubelet *kubelet = arg;
	if (shuts_down) {
		node_shutdown(kubelet);
		return;
	}
	log_info("the machine does not shut down after all");
	__atomic_store_n(&kubelet->shutting_down, false, __ATOMIC_RELEASE);
	node_agent_wake(kubelet->node);
}

void node_shutdown_watch(struct kubelet *kubelet) {
	struct group groups[MAX_GROUPS];
	autoerror struct error err = {0};
	struct logind_options options = {.conf_dir = LOGIND_CONF, .retry_ms = LOGIND_RETRY_MS, .on_prepare = on_prepare, .arg = kubelet};
	size_t count = groups_of(&kubelet->options, groups);
	for (size_t i = 0; i < count; i++)
		options.delay_ns += groups[i].seconds * NSEC_PER_SEC;
	if (count && file_exists("/run/systemd/system") && logind_start(&options, &kubelet->logind, &err) < 0)
		log_warning("the machine's shutdown cannot be delayed", LOG_ERR(&err));
}
