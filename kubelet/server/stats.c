/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements: /stats/summary, /metrics/resource, /metrics/cadvisor, and the kubelet's own /metrics. */
#include "common/base/metrics.h"
#include "common/daemon/health.h"
#include "kubelet/container/resources.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/manager.h"
#include "kubelet/server/server.h"

#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_TEXT (64u << 20)

/* Calls fn for each running container with its usage. */
struct visit {
	const struct core_v1_pod *pod;
	const struct container_status *container;
	const struct container_usage *usage;
};

static void each_container(struct kubelet *kubelet, const struct core_v1_pod *pod, void (*fn)(const struct visit *v, void *arg), void *arg) {
	struct container_status **list = NULL;
	size_t count = 0;
	runtime_container_list(kubelet->runtime, NULL, pod->metadata.uid, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		struct container_usage usage = {0};
		if (list[i]->state == CONTAINER_RUNNING && runtime_container_usage(kubelet->runtime, list[i]->id, &usage, NULL) == 0)
			fn(&(struct visit){pod, list[i], &usage}, arg);
		container_status_free(list[i]);
	}
	free(list);
}

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

static void add_container(const struct visit *v, void *arg) {
	struct summary *s = arg;
	const struct container_usage *u = v->usage;
	json_array_append_new(s->containers, json_pack("{s:s,s:o,s:o,s:o,s:o,s:o}", "name", v->container->name, "startTime", time_json(v->container->started), "cpu", cpu_json(&u->cgroup), "memory", memory_json(&u->cgroup), "rootfs",
						       fs_json(s->kubelet->options.image_root, (int64_t)u->rootfs_bytes, (int64_t)u->rootfs_inodes), "logs", fs_json(s->kubelet->options.pod_log_dir, (int64_t)u->log_bytes, (int64_t)u->log_inodes)));
	s->fs_bytes += u->rootfs_bytes + u->log_bytes;
}

static json_t *network_json(struct kubelet *kubelet, const char *uid) {
	struct sandbox_status **list = NULL;
	size_t count = 0;
	json_t *out = NULL, *interfaces = json_array();
	runtime_sandbox_list(kubelet->runtime, uid, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		struct netns_interface all[8];
		int n = !out && list[i]->state == SANDBOX_READY && list[i]->netns ? netns_interfaces(list[i]->netns, all, array_len(all), NULL) : 0;
		for (int j = 0; j < n; j++)
			json_array_append_new(interfaces, json_pack("{s:s,s:I,s:I,s:I,s:I}", "name", all[j].name, "rxBytes", (json_int_t)all[j].rx_bytes, "rxErrors", (json_int_t)all[j].rx_errors, "txBytes", (json_int_t)all[j].tx_bytes, "txErrors", (json_int_t)all[j].tx_errors));
		if (n > 0)
			out = json_pack("{s:o,s:s,s:I,s:I,s:I,s:I}", "time", time_json(clock_wall()), "name", all[0].name, "rxBytes", (json_int_t)all[0].rx_bytes, "rxErrors", (json_int_t)all[0].rx_errors, "txBytes", (json_int_t)all[0].tx_bytes, "txErrors", (json_int_t)all[0].tx_errors);
		sandbox_status_free(list[i]);
	}
	free(list);
	if (out)
		json_object_set(out, "interfaces", interfaces);
	json_decref(interfaces);
	return out;
}

static bool pod_stats(struct kubelet *kubelet, const struct core_v1_pod *pod, struct cgroup_stats *ret) {
	autofree char *path = cgroup_pod_path(kubelet->cgroups, resources_qos(pod), pod->metadata.uid);
	return cgroup_stats_read(kubelet->cgroups, path, ret, NULL) == 0;
}

static json_t *pod_json(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	struct summary s = {.kubelet = kubelet, .containers = json_array()};
	struct cgroup_stats stats;
	each_container(kubelet, pod, add_container, &s);
	if (!pod_stats(kubelet, pod, &stats)) {
		json_decref(s.containers);
		return NULL;
	}
	json_t *out = json_pack("{s:{s:s,s:s,s:s},s:o,s:o,s:o,s:o,s:o,s:{s:I}}", "podRef", "name", pod->metadata.name, "namespace", pod->metadata.namespace, "uid", pod->metadata.uid, "startTime", time_json(pod->status.start_time.t), "containers", s.containers,
				"cpu", cpu_json(&stats), "memory", memory_json(&stats), "ephemeral-storage", fs_json(kubelet->options.root_dir, (int64_t)s.fs_bytes, -1), "process_stats", "process_count", (json_int_t)stats.pids);
	json_t *network = network_json(kubelet, pod->metadata.uid);
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
	autofree char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	http_respond(r->http, 200, "application/json", text, strlen(text));
}

/* ---- Prometheus ---- */

enum column { COLUMN_CPU, COLUMN_MEMORY, COLUMN_START, COLUMN_RSS, COLUMN_CACHE, COLUMN_USAGE, COLUMN_SWAP, COLUMN_FAILURES, COLUMN_PROCESSES };
struct row {
	const char *name, *help, *type;
	enum column column;
};
static const struct row resource_rows[] = {
	{"container_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the container in core-seconds", "counter", COLUMN_CPU},
	{"container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes", "gauge", COLUMN_MEMORY},
	{"container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", "gauge", COLUMN_START},
	{"container_swap_usage_bytes", "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems", "gauge", COLUMN_SWAP},
};
static const struct row cadvisor_rows[] = {
	{"container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", "counter", COLUMN_CPU},
	{"container_memory_working_set_bytes", "Current working set in bytes.", "gauge", COLUMN_MEMORY},
	{"container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", "gauge", COLUMN_USAGE},
	{"container_memory_rss", "Size of RSS in bytes.", "gauge", COLUMN_RSS},
	{"container_memory_cache", "Number of bytes of page cache memory.", "gauge", COLUMN_CACHE},
	{"container_memory_failcnt", "Number of memory usage hits limits", "counter", COLUMN_FAILURES},
	{"container_processes", "Number of processes running inside the container.", "gauge", COLUMN_PROCESSES},
	{"container_start_time_seconds", "Start time of the container since unix epoch in seconds.", "gauge", COLUMN_START},
};

static double value_of(enum column column, const struct cgroup_stats *s, struct wall_time started) {
	switch (column) {
	case COLUMN_CPU: return (double)s->cpu_usage_ns / 1e9;
	case COLUMN_MEMORY: return (double)s->memory_working_set;
	case COLUMN_START: return (double)started.sec + started.nsec / 1e9;
	case COLUMN_RSS: return (double)s->memory_rss;
	case COLUMN_CACHE: return (double)s->memory_cache;
	case COLUMN_USAGE: return (double)s->memory_usage;
	case COLUMN_SWAP: return (double)s->memory_swap;
	case COLUMN_FAILURES: return (double)s->memory_failures;
	case COLUMN_PROCESSES: return (double)s->pids;
	}
	return 0;
}

struct table {
	struct buf *out; /* one for each row */
	const struct row *rows;
	size_t count;
	bool cadvisor;
};

static void write_container(const struct visit *v, void *arg) {
	struct table *t = arg;
	int64_t ms = v->usage->cgroup.time.sec * 1000 + v->usage->cgroup.time.nsec / 1000000;
	for (size_t i = 0; i < t->count; i++) {
		double value = value_of(t->rows[i].column, &v->usage->cgroup, v->container->started);
		if (t->cadvisor)
			buf_printf(&t->out[i], "%s{container=\"%s\",id=\"%s\",image=\"%s\",name=\"%s\",namespace=\"%s\",pod=\"%s\"} %.17g %lld\n", t->rows[i].name, v->container->name, v->container->cgroup_path ? v->container->cgroup_path : "", v->container->image,
				   v->container->id, v->pod->metadata.namespace, v->pod->metadata.name, value, (long long)ms);
		else
			buf_printf(&t->out[i], "%s{container=\"%s\",namespace=\"%s\",pod=\"%s\"} %.17g %lld\n", t->rows[i].name, v->container->name, v->pod->metadata.namespace, v->pod->metadata.name, value, (long long)ms);
	}
}

static void write_tables(struct kubelet *kubelet, const struct row *rows, size_t count, bool cadvisor, struct buf *out) {
	autolist struct informer_list list = INFORMER_LIST_INIT;
	struct table t = {.out = xcalloc(count, sizeof(struct buf)), .rows = rows, .count = count, .cadvisor = cadvisor};
	for (size_t i = 0; i < count; i++) {
		t.out[i] = BUF_INIT(MAX_TEXT);
		buf_printf(&t.out[i], "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help, rows[i].name, rows[i].type);
	}
	pod_manager_list(kubelet->pods, &list);
	for (size_t i = 0; i < list.len; i++)
		each_container(kubelet, list.items[i], write_container, &t);
	for (size_t i = 0; i < count; i++) {
		buf_append(out, t.out[i].data, t.out[i].len);
		buf_done(&t.out[i]);
	}
	free(t.out);
}

static void write_pods(struct kubelet *kubelet, struct buf *out) {
	autolist struct informer_list list = INFORMER_LIST_INIT;
	autobuf struct buf memory = BUF_INIT(MAX_TEXT);
	pod_manager_list(kubelet->pods, &list);
	buf_append_str(out, "# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds\n# TYPE pod_cpu_usage_seconds_total counter\n");
	buf_append_str(&memory, "# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes\n# TYPE pod_memory_working_set_bytes gauge\n");
	for (size_t i = 0; i < list.len; i++) {
		const struct core_v1_pod *pod = list.items[i];
		struct cgroup_stats s;
		if (!pod_stats(kubelet, pod, &s))
			continue;
		long long ms = s.time.sec * 1000 + s.time.nsec / 1000000;
		buf_printf(out, "pod_cpu_usage_seconds_total{namespace=\"%s\",pod=\"%s\"} %.17g %lld\n", pod->metadata.namespace, pod->metadata.name, (double)s.cpu_usage_ns / 1e9, ms);
		buf_printf(&memory, "pod_memory_working_set_bytes{namespace=\"%s\",pod=\"%s\"} %.17g %lld\n", pod->metadata.namespace, pod->metadata.name, (double)s.memory_working_set, ms);
	}
	buf_append(out, memory.data, memory.len);
}

void route_metrics_resource(struct route_request *r) {
	autobuf struct buf out = BUF_INIT(MAX_TEXT);
	struct cgroup_stats s = {.time = clock_wall()};
	int failed = cgroup_stats_read(r->kubelet->cgroups, "/", &s, NULL) < 0;
	long long ms = s.time.sec * 1000 + s.time.nsec / 1000000;
	write_tables(r->kubelet, resource_rows, array_len(resource_rows), false, &out);
	buf_printf(&out, "# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds\n# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total %.17g %lld\n", (double)s.cpu_usage_ns / 1e9, ms);
	buf_printf(&out, "# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes\n# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes %.17g %lld\n", (double)s.memory_working_set, ms);
	write_pods(r->kubelet, &out);
	buf_printf(&out, "# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise\n# TYPE resource_scrape_error gauge\nresource_scrape_error %d\n", failed);
	route_answer(r, "text/plain; version=0.0.4; charset=utf-8", &out);
}

void route_metrics_cadvisor(struct route_request *r) {
	autobuf struct buf out = BUF_INIT(MAX_TEXT);
	write_tables(r->kubelet, cadvisor_rows, array_len(cadvisor_rows), true, &out);
	buf_printf(&out, "# HELP machine_cpu_cores Number of logical CPU cores.\n# TYPE machine_cpu_cores gauge\nmachine_cpu_cores %ld\n# HELP machine_memory_bytes Amount of memory installed on the machine.\n# TYPE machine_memory_bytes gauge\nmachine_memory_bytes %lld\n",
		   sysconf(_SC_NPROCESSORS_ONLN), (long long)r->kubelet->memory_capacity);
	route_answer(r, "text/plain; version=0.0.4; charset=utf-8", &out);
}

void route_metrics(struct route_request *r) {
	metrics_answer(r->http);
}

void route_metrics_probes(struct route_request *r) {
	metrics_answer(r->http);
}

void route_configz(struct route_request *r) {
	const struct kubelet_options *o = &r->kubelet->options;
	json_t *root = json_pack("{s:{s:s,s:s,s:I,s:s,s:s,s:I,s:s,s:I,s:I,s:b}}", "kubeletconfig", "kind", "KubeletConfiguration", "apiVersion", "kubelet.config.k8s.io/v1beta1", "port", (json_int_t)o->port, "address", o->address, "staticPodPath", o->pod_manifest_path,
				 "healthzPort", (json_int_t)o->healthz_port, "clusterDomain", o->cluster_domain, "maxPods", (json_int_t)o->max_pods, "containerLogMaxFiles", (json_int_t)o->container_log_max_files, "registerNode", (int)o->register_node);
	autofree char *text = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	http_respond(r->http, 200, "application/json", text, strlen(text));
}
