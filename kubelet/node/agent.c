/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/trim.h"
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"
#include "kubelet/node/oom.h"
#include "kubelet/pod/manager.h"
#include "kubelet/pod/pulled.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define LEASE_FRACTION 4 /* renewals in one lease duration */
#define WHOLE_NS (60 * NSEC_PER_SEC)       /* between looks at what somebody else may have changed without a word */
#define MAX_FILES_GROWTH ((size_t)1 << 20) /* of pages of the program, beyond what a look needs */

/*
 * A node at rest is looked at every ten seconds, and all that a look reads has left the caches by then: most of what it costs is fetching memory. So what follows
 * from pods is worked out again only after some pod's worker ran, what follows from the machine and the Node each minute or when told of a change.
 */
struct node_agent {
	struct kubelet *kubelet;
	pthread_t thread;
	int stop_fd, wake_fd, notify_fd, kmsg_fd;
	bool threaded, network_was_ready;
	int64_t last_report; /* monotonic */
	struct coordination_v1_lease *lease; /* as written last */
	struct node_told told;
	/* of the last look */
	bool was_idle;
	uint64_t workers; /* of pods, that had ever run */
	char *node_version;
	int64_t next_whole;
	uint64_t cgroups; /* pod_manager_tidy()'s */
	size_t files; /* bytes of the program's pages that a look needs */
	bool files_let_go;
	struct informer_list limited; /* pods with limits on local storage */
};

/* Gives the network the pod addresses that the controller gave the node. */
static void apply_pod_cidrs(struct node_agent *agent, const struct core_v1_node *node) {
	struct kubelet *kubelet = agent->kubelet;
	autoerror struct error err = {0};
	const char *single[1], *const *cidrs = (const char *const *)kubelet->options.pod_cidr.items;
	size_t count = kubelet->options.pod_cidr.len;
	if (node && node->spec.pod_cidrs.len) {
		cidrs = node->spec.pod_cidrs.items;
		count = node->spec.pod_cidrs.len;
	} else if (node && !str_empty(node->spec.pod_cidr)) {
		single[0] = node->spec.pod_cidr;
		cidrs = single;
		count = 1;
	}
	if (count && network_set_pod_cidrs(kubelet->network, cidrs, count, &err) < 0)
		log_error("network does not take the pod addresses", LOG_ERR(&err));
	bool ready = network_ready(kubelet->network, NULL) == 0;
	if (ready && !agent->network_was_ready)
		pod_manager_wake_all(kubelet->pods);
	agent->network_was_ready = ready;
}

static bool is_report_due(const struct node_agent *agent, int64_t now) {
	return !agent->last_report || now - agent->last_report >= agent->kubelet->options.node_status_report_frequency_ns;
}

static void report(struct node_agent *agent, const struct core_v1_node *node) {
	struct kubelet *kubelet = agent->kubelet;
	autoerror struct error err = {0};
	int64_t now = clock_monotonic_ns();
	bool due = is_report_due(agent, now);
	autounref struct core_v1_node *want = node_status_make(kubelet, node);
	node_tell(kubelet, &agent->told, node, want);
	autofree char *patch = node_status_patch(node, want, due);
	if (!patch)
		return;
	if (client_patch(kubelet->client, &api_nodes, NULL, kubelet->node_name, "status", "application/strategic-merge-patch+json", patch, NULL, &err) < 0)
		log_warning("node status cannot be reported", LOG_ERR(&err));
	else
		agent->last_report = now;
}

/* Frees disk where the images' file system is filled beyond the high threshold, down to the low one. */
static void collect_images(struct kubelet *kubelet, const struct core_v1_node *node) {
	const struct kubelet_options *o = &kubelet->options;
	autoerror struct error err = {0};
	struct statvfs fs;
	uint64_t freed = 0;
	if (o->image_max_gc_age_ns && image_collect(kubelet->images, 0, o->image_min_gc_age_ns, o->image_max_gc_age_ns, NULL, &err) < 0)
		log_warning("old images cannot be collected", LOG_ERR(&err));
	error_done(&err);
	if (o->image_gc_high >= 100 || statvfs(o->image_root, &fs) < 0 || !fs.f_blocks)
		return;
	uint64_t used = fs.f_blocks - fs.f_bavail, high = fs.f_blocks / 100 * (uint64_t)o->image_gc_high, low = fs.f_blocks / 100 * (uint64_t)o->image_gc_low;
	if (used <= high)
		return;
	uint64_t want = (used - low) * fs.f_frsize;
	if (image_collect(kubelet->images, want, o->image_min_gc_age_ns, 0, &freed, &err) < 0)
		log_warning("images cannot be collected", LOG_ERR(&err));
	else if (freed)
		log_info("images were collected", LOG_INT("bytes", (int64_t)freed));
	if (freed)
		pulled_prune(kubelet);
	if (node && freed < want)
		kubelet_event(kubelet, node, NULL, "Warning", "FreeDiskSpaceFailed", "Failed to garbage collect required amount of images. Attempted to free %llu bytes, but only found %llu bytes eligible to free.", (unsigned long long)want, (unsigned long long)freed);
}

/* Whether any pod's worker ran since the last look, or still does: nothing of a pod changes without one. */
static bool pods_moved(struct node_agent *agent) {
	uint64_t workers = 0;
	bool idle = pod_manager_idle(agent->kubelet->pods, &workers), still = idle && agent->was_idle && workers == agent->workers;
	agent->was_idle = idle;
	agent->workers = workers;
	return !still;
}

/* Whether the Node is another than at the last look; others may have written what is ours to say. */
static bool node_moved(struct node_agent *agent, const struct core_v1_node *node) {
	const char *version = node ? str_or(node->metadata.resource_version, "") : NULL;
	if (str_equal(version, agent->node_version))
		return false;
	free(agent->node_version);
	agent->node_version = version ? xstrdup(version) : NULL;
	return true;
}

/* Someone who reads measurements once a minute brings in what nothing else needs: beside what a look alone needs, which is back at the look after. */
static void let_files_go(struct node_agent *agent) {
	struct memory_use use = memory_use();
	size_t files = use.resident - use.anonymous;
	if (agent->files_let_go) {
		agent->files = files;
		agent->files_let_go = false;
	} else if (files > agent->files + MAX_FILES_GROWTH) {
		memory_trim_files();
		agent->files_let_go = true;
	}
}

static void look(struct node_agent *agent, bool woken) {
	struct kubelet *kubelet = agent->kubelet;
	autounref struct core_v1_node *node = kubelet->node_informer ? informer_find(kubelet->node_informer, NULL, kubelet->node_name) : NULL;
	int64_t now = clock_monotonic_ns();
	bool moved = pods_moved(agent), whole = node_moved(agent, node) || woken || !agent->network_was_ready || now >= agent->next_whole;
	if (whole) {
		apply_pod_cidrs(agent, node);
		agent->next_whole = now + WHOLE_NS;
	}
	bool pressed = eviction_sync(kubelet->eviction);
	if (moved) {
		node_qos_update(kubelet);
		informer_list_done(&agent->limited);
		node_storage_limited(kubelet, &agent->limited);
	}
	/* Images come with pods. */
	if (node && (whole || moved || pressed || is_report_due(agent, now)))
		report(agent, node);
	collect_images(kubelet, node);
	node_storage_enforce(kubelet, &agent->limited);
	pod_manager_tidy(kubelet->pods, moved, &agent->cgroups);
	if (!moved)
		let_files_go(agent);
	else
		agent->files_let_go = false; /* what pods bring in is not what a look alone needs */
}

static void renew(struct node_agent *agent) {
	autoerror struct error err = {0};
	if (node_lease_renew(agent->kubelet, &agent->lease, &err) < 0)
		log_warning("node lease cannot be renewed", LOG_ERR(&err));
}

static void drain(int fd) {
	char bytes[4096];
	while (read(fd, bytes, sizeof(bytes)) > 0)
		;
}

static void *run(void *arg) {
	struct node_agent *agent = arg;
	struct kubelet *kubelet = agent->kubelet;
	int64_t lease_ns = kubelet->options.lease_duration_seconds * NSEC_PER_SEC / LEASE_FRACTION, status_ns = kubelet->options.node_status_update_frequency_ns;
	int64_t logs_ns = kubelet->options.container_log_monitor_ns;
	int64_t next_lease = 0, next_look = 0, next_memory = 0, next_logs = 0;
	unsigned step = 0;
	bool woken = true;
	if (kubelet->client && !node_register(kubelet, agent->stop_fd, &agent->told.is_new))
		return NULL;
	for (;;) {
		int64_t now = clock_monotonic_ns();
		if (kubelet->client && now >= next_lease) {
			renew(agent);
			next_lease = clock_monotonic_ns() + lease_ns;
		}
		if (now >= next_look) {
			look(agent, woken);
			woken = false;
			next_look = clock_monotonic_ns() + status_ns;
		}
		if (now >= next_logs) {
			runtime_rotate_logs(kubelet->runtime);
			next_logs = clock_monotonic_ns() + logs_ns;
			/* One waking for both, where they are due at about the same time. */
			if (llabs(next_logs - next_look) < status_ns / 10)
				next_logs = next_look;
		}
		if (now >= next_memory)
			next_memory = clock_monotonic_ns() + memory_look(&step) * NSEC_PER_MSEC;
		int64_t until = min_of(next_look, next_memory);
		until = min_of(until, next_logs);
		if (kubelet->client)
			until = min_of(until, next_lease);
		struct pollfd fds[] = {{.fd = agent->stop_fd, .events = POLLIN}, {.fd = agent->wake_fd, .events = POLLIN}, {.fd = agent->notify_fd, .events = POLLIN}, {.fd = agent->kmsg_fd, .events = POLLIN}};
		poll(fds, array_len(fds), (int)max_of((until - clock_monotonic_ns()) / NSEC_PER_MSEC + 1, (int64_t)0));
		if (fds[0].revents)
			return NULL;
		if (fds[3].revents)
			oom_read(kubelet, agent->kmsg_fd);
		if (fds[1].revents || fds[2].revents) {
			drain(agent->wake_fd);
			drain(agent->notify_fd);
			next_look = 0;
			woken = true;
		}
	}
}

static void on_add(void *object, bool is_initial, void *arg) {
	node_agent_wake(arg);
}

/* Our own reports come back here, too: only what others decide is looked at. */
static void on_update(void *old_object, void *object, void *arg) {
	const struct core_v1_node *old = old_object, *node = object;
	if (!api_equal(&core_v1_node_spec_type, &old->spec, &node->spec))
		node_agent_wake(arg);
}

struct node_agent *node_agent_start(struct kubelet *kubelet) {
	struct node_agent *agent = xnew(struct node_agent);
	*agent = (struct node_agent){.kubelet = kubelet, .stop_fd = eventfd(0, EFD_CLOEXEC), .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .notify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), .kmsg_fd = oom_open()};
	if (agent->kmsg_fd < 0)
		log_info("the kernel's log cannot be read: nobody is told of processes that it ends where the machine lacks memory", LOG_STR("err", strerror(-agent->kmsg_fd)));
	file_mkdir_all(kubelet->options.cni_conf_dir, 0755, NULL);
	if (inotify_add_watch(agent->notify_fd, kubelet->options.cni_conf_dir, IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE) < 0)
		log_warning("CNI folder cannot be watched", LOG_STR("path", kubelet->options.cni_conf_dir), LOG_STR("err", strerror(errno)));
	if (kubelet->node_informer) {
		const struct informer_handler handler = {.on_add = on_add, .on_update = on_update, .arg = agent};
		informer_add_handler(kubelet->node_informer, &handler);
	}
	agent->threaded = pthread_create(&agent->thread, NULL, run, agent) == 0;
	return agent;
}

void node_agent_wake(struct node_agent *agent) {
	uint64_t one = 1;
	if (agent && write(agent->wake_fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

void node_agent_stop(struct node_agent *agent) {
	uint64_t one = 1;
	if (!agent)
		return;
	if (agent->threaded && write(agent->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(agent->thread, NULL);
	cleanup_close(&agent->stop_fd);
	cleanup_close(&agent->wake_fd);
	cleanup_close(&agent->notify_fd);
	cleanup_close(&agent->kmsg_fd);
	api_unref(agent->lease);
	free(agent->node_version);
	informer_list_done(&agent->limited);
	free(agent);
}
