/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements for programs: /stats/summary; and /configz. */
#include "kubelet/container/resources.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/manager.h"
#include "kubelet/server/server.h"
#include "kubelet/server/usage.h"

#include <sys/statvfs.h>
#include <unistd.h>

/* ---- summary ---- */

static json_t *time_json(struct wall_time t) {
	char text[40];
	time_format_rfc3339(t, text);
	return json_string(text);
}

static json_t *cpu_json(const struct cgroup_stats *s) {
	return json_pack("{s:o,s:I}", "time", time_json(s->time), "usageCoreNanoSeconds", (json_int_t)s->cpu_usage_ns);
}

static json_t *memory_json(const struct cgroup_stats *s) {
	return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I}", "time", time_json(s->time), "usageBytes", (json_int_t)s->memory_usage, "workingSetBytes", (json_int_t)s->memory_working_set, "rssBytes", (json_int_t)s->memory_rss, "pageFaults",
			 (json_int_t)s->page_faults, "majorPageFaults", (json_int_t)s->major_page_faults);
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
	json_t *containers;
	struct cgroup_stats total;
	uint64_t fs_bytes;
};

static void add_container(const struct usage_visit *v, void *arg) {
	struct summary *s = arg;
	const struct container_usage *u = v->usage;
	json_array_append_new(s->containers, json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "name", v->container->name, "startTime", time_json(v->container->started), "cpu", cpu_json(&u->cgroup), "memory", memory_json(&u->cgroup), "rootfs",
						       fs_json(s->kubelet->options.image_root, (int64_t)u->rootfs_bytes, (int64_t)u->rootfs_inodes), "logs", fs_json(s->kubelet->options.pod_log_dir, (int64_t)u->log_bytes, (int64_t)u->log_inodes)));
	s->fs_bytes += u->rootfs_bytes + u->log_bytes;
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

static json_t *pod_json(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	struct summary s = {.kubelet = kubelet, .containers = json_array()};
	struct cgroup_stats stats;
	usage_each(kubelet, pod, CONTAINER_USAGE_ALL, add_container, &s);
	if (!usage_of_pod(kubelet, pod, &stats)) {
		json_decref(s.containers);
		return NULL;
	}
	json_t *out = json_pack("{s:{s:s,s:s,s:s},s:o,s:o,s:o,s:o,s:o,s:{s:I}}", "podRef", "name", pod->metadata.name, "namespace", pod->metadata.namespace, "uid", pod->metadata.uid, "startTime", time_json(pod->status.start_time.t), "containers", s.containers,
				"cpu", cpu_json(&stats), "memory", memory_json(&stats), "ephemeral-storage", fs_json(kubelet->options.root_dir, (int64_t)s.fs_bytes, -1), "process_stats", "process_count", (json_int_t)stats.pids);
	struct netns_interface interfaces[USAGE_MAX_INTERFACES];
	json_t *network = network_json(interfaces, usage_interfaces(kubelet, pod->metadata.uid, interfaces));
	if (network)
		json_object_set_new(out, "network", network);
	return out;
}

void route_stats_summary(struct route_request *r) {
	struct kubelet *kubelet = r->kubelet;
	autolist struct informer_list list = INFORMER_LIST_INIT;
	struct cgroup_stats stats = {.time = clock_wall()};
	json_t *pods = json_array(), *pod;
	pod_manager_list(kubelet->pods, &list);
	for (size_t i = 0; i < list.len; i++)
		if ((pod = pod_json(kubelet, list.items[i])))
			json_array_append_new(pods, pod);
	cgroup_stats_read(kubelet->cgroups, "/", &stats, NULL);
	struct wall_time started = clock_wall();
	started.sec -= (clock_monotonic_ns() - kubelet->started) / NSEC_PER_SEC;
	json_t *memory = memory_json(&stats);
	json_object_set_new(memory, "availableBytes", json_integer((json_int_t)kubelet->memory_capacity - (json_int_t)min_of(stats.memory_working_set, (uint64_t)kubelet->memory_capacity)));
	json_t *root = json_pack("{s:{s:s,s:o,s:o,s:o,s:o,s:{s:o}},s:o}", "node", "nodeName", kubelet->node_name, "startTime", time_json(started), "cpu", cpu_json(&stats), "memory", memory, "fs", fs_json(kubelet->options.root_dir, -1, -1), "runtime", "imageFs",
				 fs_json(kubelet->options.image_root, -1, -1), "pods", pods);
	struct netns_interface interfaces[USAGE_MAX_INTERFACES];
	json_t *network = network_json(interfaces, netns_interfaces(NULL, interfaces, array_len(interfaces), NULL));
	if (network)
		json_object_set_new(json_object_get(root, "node"), "network", network);
	autofree char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	http_respond(r->http, 200, "application/json", text, strlen(text));
}

void route_configz(struct route_request *r) {
	const struct kubelet_options *o = &r->kubelet->options;
	json_t *root = json_pack("{s:{s:s,s:s,s:I,s:s,s:s,s:I,s:s,s:I,s:I,s:b}}", "kubeletconfig", "kind", "KubeletConfiguration", "apiVersion", "kubelet.config.k8s.io/v1beta1", "port", (json_int_t)o->port, "address", o->address, "staticPodPath", o->pod_manifest_path,
				 "healthzPort", (json_int_t)o->healthz_port, "clusterDomain", o->cluster_domain, "maxPods", (json_int_t)o->max_pods, "containerLogMaxFiles", (json_int_t)o->container_log_max_files, "registerNode", (int)o->register_node);
	autofree char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	http_respond(r->http, 200, "application/json", text, strlen(text));
}
