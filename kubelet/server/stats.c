/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements for programs: /stats/summary; and /configz. */
#include "common/base/file.h"
#include "common/base/trim.h"
#include "kubelet/container/build.h"
#include "kubelet/container/resources.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/manager.h"
#include "kubelet/server/rates.h"
#include "kubelet/server/server.h"
#include "kubelet/server/usage.h"

#include <glob.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

/* ---- summary ---- */

static json_t *time_json(struct wall_time t) {
	char text[40];
	time_format_rfc3339(t, text);
	return json_string(text);
}

static int64_t age_ns(struct wall_time since) {
	struct wall_time now = clock_wall();
	return (now.sec - since.sec) * NSEC_PER_SEC + now.nsec - since.nsec;
}

static json_t *pressure_line_json(const struct cgroup_pressure_line *line) {
	return json_pack("{s:I,s:f,s:f,s:f}", "total", (json_int_t)line->total_us, "avg10", line->avg10, "avg60", line->avg60, "avg300", line->avg300);
}

static void add_pressure(struct kubelet *kubelet, json_t *part, const char *path, enum cgroup_pressure_kind kind) {
	struct cgroup_pressure pressure;
	if (cgroup_pressure_read(kubelet->cgroups, path, kind, &pressure))
		json_object_set_new(part, "psi", json_pack("{s:o,s:o}", "full", pressure_line_json(&pressure.full), "some", pressure_line_json(&pressure.some)));
}

/* What of processor, memory and disks the group had to wait for, where the kernel counts that. */
static void add_pressures(struct kubelet *kubelet, json_t *out, const char *path, bool brief) {
	json_t *io = json_pack("{s:o}", "time", time_json(clock_wall()));
	add_pressure(kubelet, json_object_get(out, "cpu"), path, CGROUP_PRESSURE_CPU);
	add_pressure(kubelet, json_object_get(out, "memory"), path, CGROUP_PRESSURE_MEMORY);
	if (!brief)
		add_pressure(kubelet, io, path, CGROUP_PRESSURE_IO);
	if (json_object_get(io, "psi"))
		json_object_set(out, "io", io);
	json_decref(io);
}

/* key: what tells these counts from all others. since: when they began. */
static json_t *cpu_json(struct kubelet *kubelet, const char *key, const struct cgroup_stats *s, struct wall_time since) {
	uint64_t rate = rates_look(kubelet->rates, key, s->cpu_usage_ns, age_ns(since), clock_monotonic_ns());
	return json_pack("{s:o,s:I,s:I}", "time", time_json(s->time), "usageNanoCores", (json_int_t)rate, "usageCoreNanoSeconds", (json_int_t)s->cpu_usage_ns);
}

static json_t *memory_json(const struct cgroup_stats *s) {
	json_t *out = json_pack("{s:o,s:I,s:I,s:I,s:I,s:I}", "time", time_json(s->time), "usageBytes", (json_int_t)s->memory_usage, "workingSetBytes", (json_int_t)s->memory_working_set, "rssBytes", (json_int_t)s->memory_rss, "pageFaults",
				(json_int_t)s->page_faults, "majorPageFaults", (json_int_t)s->major_page_faults);
	if (s->memory_limit < INT64_MAX)
		json_object_set_new(out, "availableBytes", json_integer((json_int_t)(s->memory_limit - min_of(s->memory_working_set, s->memory_limit))));
	return out;
}

static json_t *swap_json(const struct cgroup_stats *s) {
	return json_pack("{s:o,s:I}", "time", time_json(s->time), "swapUsageBytes", (json_int_t)s->memory_swap);
}

static json_t *fs_json(const char *path, int64_t used, int64_t inodes_used) {
	struct statvfs fs = {0};
	statvfs(path, &fs);
	json_t *out = json_pack("{s:o,s:I,s:I,s:I,s:I}", "time", time_json(clock_wall()), "availableBytes", (json_int_t)(fs.f_bavail * fs.f_frsize), "capacityBytes", (json_int_t)(fs.f_blocks * fs.f_frsize), "inodesFree",
				(json_int_t)fs.f_favail, "inodes", (json_int_t)fs.f_files);
	json_object_set_new(out, "usedBytes", json_integer(used >= 0 ? used : (json_int_t)((fs.f_blocks - fs.f_bfree) * fs.f_frsize)));
	json_object_set_new(out, "inodesUsed", json_integer(inodes_used >= 0 ? inodes_used : (json_int_t)(fs.f_files - fs.f_ffree)));
	return out;
}

struct summary {
	struct kubelet *kubelet;
	bool brief; /* cpu and memory only */
	json_t *containers;
	uint64_t fs_bytes, fs_inodes;
};

static void add_container(const struct usage_visit *v, void *arg) {
	struct summary *s = arg;
	const struct container_usage *u = v->usage;
	json_t *out = json_pack("{s:s,s:o,s:o,s:o}", "name", v->container->name, "startTime", time_json(v->container->started), "cpu", cpu_json(s->kubelet, v->container->id, &u->cgroup, v->container->started), "memory", memory_json(&u->cgroup));
	json_array_append_new(s->containers, out);
	if (v->container->cgroup_path)
		add_pressures(s->kubelet, out, v->container->cgroup_path, s->brief);
	if (s->brief)
		return;
	json_object_set_new(out, "rootfs", fs_json(s->kubelet->options.image_root, (int64_t)u->rootfs_bytes, (int64_t)u->rootfs_inodes));
	json_object_set_new(out, "logs", fs_json(s->kubelet->options.pod_log_dir, (int64_t)u->log_bytes, (int64_t)u->log_inodes));
	json_object_set_new(out, "swap", swap_json(&u->cgroup));
	s->fs_bytes += u->rootfs_bytes + u->log_bytes;
	s->fs_inodes += u->rootfs_inodes + u->log_inodes;
}

/* Whatever the kubelet itself put into the pod's folder: <plugin>/<volume>. What stands elsewhere on the machine is nobody's to measure. */
static json_t *volumes_json(struct summary *s, const struct core_v1_pod *pod) {
	json_t *list = json_array();
	autofree char *pod_dir = build_pod_dir(s->kubelet, pod->metadata.uid);
	for api_list_each (volume, &pod->spec.volumes) {
		autofree char *pattern = path_join(pod_dir, "volumes", "*", volume->name, NULL);
		glob_t found = {0};
		if (glob(pattern, GLOB_NOSORT, NULL, &found) == 0) {
			int64_t bytes = 0, inodes = 0;
			node_storage_folder(found.gl_pathv[0], &bytes, &inodes);
			json_t *out = fs_json(found.gl_pathv[0], bytes, inodes);
			json_object_set_new(out, "name", json_string(volume->name));
			if (volume->empty_dir && str_empty(volume->empty_dir->medium)) {
				s->fs_bytes += (uint64_t)bytes;
				s->fs_inodes += (uint64_t)inodes;
			}
			if (volume->persistent_volume_claim)
				json_object_set_new(out, "pvcRef", json_pack("{s:s,s:s}", "name", volume->persistent_volume_claim->claim_name, "namespace", pod->metadata.namespace));
			json_array_append_new(list, out);
		}
		globfree(&found);
	}
	return list;
}

static json_t *interface_json(const struct netns_interface *i) {
	return json_pack("{s:s,s:I,s:I,s:I,s:I}", "name", i->name, "rxBytes", (json_int_t)i->rx_bytes, "rxErrors", (json_int_t)i->rx_errors, "txBytes", (json_int_t)i->tx_bytes, "txErrors", (json_int_t)i->tx_errors);
}

/* The first interface stands for the whole beside the list of all. NULL where there is none. */
static json_t *network_json(const struct netns_interface *all, int count) {
	if (count <= 0)
		return NULL;
	json_t *out = interface_json(&all[0]), *list = json_array();
	json_object_set_new(out, "time", time_json(clock_wall()));
	for (int i = 0; i < count; i++)
		json_array_append_new(list, interface_json(&all[i]));
	json_object_set_new(out, "interfaces", list);
	return out;
}

static json_t *pod_json(struct kubelet *kubelet, const struct core_v1_pod *pod, bool brief) {
	struct summary s = {.kubelet = kubelet, .brief = brief, .containers = json_array()};
	struct cgroup_stats stats;
	usage_each(kubelet, pod, brief ? CONTAINER_USAGE_CGROUP : CONTAINER_USAGE_ALL, add_container, &s);
	if (!usage_of_pod(kubelet, pod, &stats)) {
		json_decref(s.containers);
		return NULL;
	}
	json_t *out = json_pack("{s:{s:s,s:s,s:s},s:o,s:o,s:o,s:o}", "podRef", "name", pod->metadata.name, "namespace", pod->metadata.namespace, "uid", pod->metadata.uid, "startTime", time_json(pod->status.start_time.t), "containers", s.containers,
				"cpu", cpu_json(kubelet, pod->metadata.uid, &stats, pod->status.start_time.t), "memory", memory_json(&stats));
	autofree char *path = cgroup_pod_path(kubelet->cgroups, resources_qos(pod), pod->metadata.uid);
	add_pressures(kubelet, out, path, brief);
	if (brief)
		return out;
	json_object_set_new(out, "volume", volumes_json(&s, pod));
	json_object_set_new(out, "ephemeral-storage", fs_json(kubelet->options.root_dir, (int64_t)s.fs_bytes, (int64_t)s.fs_inodes));
	json_object_set_new(out, "process_stats", json_pack("{s:I}", "process_count", (json_int_t)stats.pids));
	json_object_set_new(out, "swap", swap_json(&stats));
	struct netns_interface interfaces[USAGE_MAX_INTERFACES];
	json_t *network = network_json(interfaces, usage_interfaces(kubelet, pod->metadata.uid, interfaces));
	if (network)
		json_object_set_new(out, "network", network);
	return out;
}

static json_t *system_json(struct kubelet *kubelet, const char *name, const struct cgroup_stats *stats, struct wall_time since) {
	return json_pack("{s:s,s:o,s:o,s:o}", "name", name, "startTime", time_json(since), "cpu", cpu_json(kubelet, name, stats, since), "memory", memory_json(stats));
}

/* What the node itself runs, under the names that Kubernetes gives its own parts. */
static json_t *systems_json(struct kubelet *kubelet, struct wall_time started) {
	struct rusage used;
	struct memory_use memory = memory_use();
	getrusage(RUSAGE_SELF, &used);
	const struct cgroup_stats own = {.time = clock_wall(),
					 .cpu_usage_ns = (uint64_t)((used.ru_utime.tv_sec + used.ru_stime.tv_sec) * NSEC_PER_SEC + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000),
					 .memory_usage = memory.resident,
					 .memory_working_set = memory.resident,
					 .memory_rss = memory.anonymous,
					 .memory_limit = UINT64_MAX,
					 .page_faults = (uint64_t)used.ru_minflt,
					 .major_page_faults = (uint64_t)used.ru_majflt};
	json_t *list = json_pack("[o]", system_json(kubelet, "kubelet", &own, started));
	autofree char *monitors = cgroup_monitors_path(kubelet->cgroups), *pods = cgroup_qos_path(kubelet->cgroups, CGROUP_GUARANTEED);
	struct cgroup_stats stats;
	if (cgroup_stats_read(kubelet->cgroups, monitors, &stats, NULL) == 0)
		json_array_append_new(list, system_json(kubelet, "runtime", &stats, started));
	if (cgroup_stats_read(kubelet->cgroups, pods, &stats, NULL) == 0)
		json_array_append_new(list, system_json(kubelet, "pods", &stats, started));
	return list;
}

static json_t *node_json(struct kubelet *kubelet, bool brief) {
	struct cgroup_stats stats = {.time = clock_wall()};
	struct sysinfo info = {0};
	struct wall_time started = clock_wall(), booted = started;
	sysinfo(&info);
	started.sec -= (clock_monotonic_ns() - kubelet->started) / NSEC_PER_SEC;
	booted.sec -= info.uptime;
	cgroup_stats_read(kubelet->cgroups, "/", &stats, NULL);
	stats.memory_limit = (uint64_t)kubelet->memory_capacity;
	json_t *out = json_pack("{s:s,s:o,s:o,s:o,s:o}", "nodeName", kubelet->node_name, "startTime", time_json(started), "systemContainers", systems_json(kubelet, started), "cpu", cpu_json(kubelet, "/", &stats, booted), "memory", memory_json(&stats));
	add_pressures(kubelet, out, "/", brief);
	if (brief)
		return out;
	json_object_set_new(out, "fs", fs_json(kubelet->options.root_dir, -1, -1));
	json_object_set_new(out, "runtime", json_pack("{s:o,s:o}", "imageFs", fs_json(kubelet->options.image_root, -1, -1), "containerFs", fs_json(kubelet->options.runtime_root, -1, -1)));
	json_object_set_new(out, "rlimit", json_pack("{s:o,s:I,s:I}", "time", time_json(clock_wall()), "maxpid", (json_int_t)node_info_max_pids(), "curproc", (json_int_t)info.procs));
	json_object_set_new(out, "swap", json_pack("{s:o,s:I,s:I}", "time", time_json(clock_wall()), "swapAvailableBytes", (json_int_t)((uint64_t)info.freeswap * info.mem_unit), "swapUsageBytes", (json_int_t)((uint64_t)(info.totalswap - info.freeswap) * info.mem_unit)));
	struct netns_interface interfaces[USAGE_MAX_INTERFACES];
	json_t *network = network_json(interfaces, netns_interfaces(NULL, interfaces, array_len(interfaces), NULL));
	if (network)
		json_object_set_new(out, "network", network);
	return out;
}

void route_stats_summary(struct route_request *r) {
	struct kubelet *kubelet = r->kubelet;
	autolist struct informer_list list = INFORMER_LIST_INIT;
	bool brief = route_flag(r, "only_cpu_and_memory");
	json_t *pods = json_array(), *pod;
	pod_manager_list(kubelet->pods, &list);
	for (size_t i = 0; i < list.len; i++)
		if ((pod = pod_json(kubelet, list.items[i], brief)))
			json_array_append_new(pods, pod);
	json_t *root = json_pack("{s:o,s:o}", "node", node_json(kubelet, brief), "pods", pods);
	rates_sweep(kubelet->rates, clock_monotonic_ns());
	autofree char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	http_respond(r->http, 200, "application/json", text, strlen(text));
}
