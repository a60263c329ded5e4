/* SPDX-License-Identifier: Apache-2.0 */
/* Measurements for Prometheus: /metrics/resource, /metrics/cadvisor under cAdvisor's names, /metrics/probes, and the kubelet's own /metrics. */
#include "kubelet/container/fieldref.h"
#include "kubelet/container/resources.h"
#include "kubelet/pod/manager.h"
#include "kubelet/probe/probe.h"
#include "kubelet/server/server.h"
#include "kubelet/server/usage.h"
#include "common/daemon/health.h"

#include <unistd.h>

#define MAX_TEXT (64u << 20)
#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* What a row's value is taken from. A part that does not apply is NULL. */
struct sample {
	const struct cgroup_stats *cgroup;
	const struct container_usage *usage;
	const struct cgroup_resources *limits;
	struct wall_time started;
	const struct netns_interface *interface;
	const struct cgroup_pressure *pressures; /* CGROUP_PRESSURES of them */
};

enum scope { OF_ALL, OF_CONTAINER, OF_INTERFACE, OF_CPU_PRESSURE, OF_MEMORY_PRESSURE, OF_IO_PRESSURE };
struct row {
	const char *name, *help, *type;
	const char *labels; /* more of them; "" */
	enum scope scope;
	double (*value)(const struct sample *s);
};

#define VALUE(name, expression) \
	static double name(const struct sample *s) { return (double)(expression); }
VALUE(cpu_seconds, s->cgroup->cpu_usage_ns / 1e9)
VALUE(cpu_user, s->cgroup->cpu_user_ns / 1e9)
VALUE(cpu_system, s->cgroup->cpu_system_ns / 1e9)
VALUE(cpu_periods, s->cgroup->cpu_periods)
VALUE(cpu_throttled, s->cgroup->cpu_throttled_periods)
VALUE(cpu_throttled_seconds, s->cgroup->cpu_throttled_ns / 1e9)
VALUE(memory_working_set, s->cgroup->memory_working_set)
VALUE(memory_usage, s->cgroup->memory_usage)
VALUE(memory_peak, s->cgroup->memory_peak)
VALUE(memory_rss, s->cgroup->memory_rss)
VALUE(memory_cache, s->cgroup->memory_cache)
VALUE(memory_swap, s->cgroup->memory_swap)
VALUE(memory_failures, s->cgroup->memory_failures)
VALUE(page_faults, s->cgroup->page_faults)
VALUE(major_page_faults, s->cgroup->major_page_faults)
VALUE(oom_events, s->cgroup->oom_kills)
VALUE(processes, s->cgroup->pids)
VALUE(start_time, s->started.sec + s->started.nsec / 1e9)
VALUE(seen_time, s->cgroup->time.sec)
VALUE(fs_usage, s->usage->rootfs_bytes + s->usage->log_bytes)
VALUE(fs_inodes, s->usage->rootfs_inodes + s->usage->log_inodes)
VALUE(spec_shares, s->limits->cpu_shares)
VALUE(spec_period, s->limits->cpu_period_us)
VALUE(spec_quota, max_of(s->limits->cpu_quota_us, (int64_t)0))
VALUE(spec_memory, max_of(s->limits->memory_limit, (int64_t)0))
VALUE(receive_bytes, s->interface->rx_bytes)
VALUE(receive_packets, s->interface->rx_packets)
VALUE(receive_errors, s->interface->rx_errors)
VALUE(receive_dropped, s->interface->rx_dropped)
VALUE(transmit_bytes, s->interface->tx_bytes)
VALUE(transmit_packets, s->interface->tx_packets)
VALUE(transmit_errors, s->interface->tx_errors)
VALUE(transmit_dropped, s->interface->tx_dropped)
VALUE(cpu_stalled, s->pressures[CGROUP_PRESSURE_CPU].full.total_us / 1e6)
VALUE(cpu_waiting, s->pressures[CGROUP_PRESSURE_CPU].some.total_us / 1e6)
VALUE(memory_stalled, s->pressures[CGROUP_PRESSURE_MEMORY].full.total_us / 1e6)
VALUE(memory_waiting, s->pressures[CGROUP_PRESSURE_MEMORY].some.total_us / 1e6)
VALUE(io_stalled, s->pressures[CGROUP_PRESSURE_IO].full.total_us / 1e6)
VALUE(io_waiting, s->pressures[CGROUP_PRESSURE_IO].some.total_us / 1e6)

static const struct row resource_rows[] = {
	{"container_cpu_usage_seconds_total", "[STABLE] Cumulative cpu time consumed by the container in core-seconds", "counter", "", OF_CONTAINER, cpu_seconds},
	{"container_memory_working_set_bytes", "[STABLE] Current working set of the container in bytes", "gauge", "", OF_CONTAINER, memory_working_set},
	{"container_start_time_seconds", "[STABLE] Start time of the container since unix epoch in seconds", "gauge", "", OF_CONTAINER, start_time},
	{"container_swap_usage_bytes", "[ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems", "gauge", "", OF_CONTAINER, memory_swap},
};

/* Rows of one name stand together. */
static const struct row cadvisor_rows[] = {
	{"container_cpu_usage_seconds_total", "Cumulative cpu time consumed in seconds.", "counter", ",cpu=\"total\"", OF_ALL, cpu_seconds},
	{"container_cpu_user_seconds_total", "Cumulative user cpu time consumed in seconds.", "counter", "", OF_ALL, cpu_user},
	{"container_cpu_system_seconds_total", "Cumulative system cpu time consumed in seconds.", "counter", "", OF_ALL, cpu_system},
	{"container_cpu_cfs_periods_total", "Number of elapsed enforcement period intervals.", "counter", "", OF_ALL, cpu_periods},
	{"container_cpu_cfs_throttled_periods_total", "Number of throttled period intervals.", "counter", "", OF_ALL, cpu_throttled},
	{"container_cpu_cfs_throttled_seconds_total", "Total time duration the container has been throttled.", "counter", "", OF_ALL, cpu_throttled_seconds},
	{"container_memory_working_set_bytes", "Current working set in bytes.", "gauge", "", OF_ALL, memory_working_set},
	{"container_memory_usage_bytes", "Current memory usage in bytes, including all memory regardless of when it was accessed", "gauge", "", OF_ALL, memory_usage},
	{"container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", "gauge", "", OF_ALL, memory_peak},
	{"container_memory_rss", "Size of RSS in bytes.", "gauge", "", OF_ALL, memory_rss},
	{"container_memory_cache", "Number of bytes of page cache memory.", "gauge", "", OF_ALL, memory_cache},
	{"container_memory_swap", "Container swap usage in bytes.", "gauge", "", OF_ALL, memory_swap},
	{"container_memory_failcnt", "Number of memory usage hits limits", "counter", "", OF_ALL, memory_failures},
	{"container_memory_failures_total", "Cumulative count of memory allocation failures.", "counter", ",failure_type=\"pgfault\",scope=\"hierarchy\"", OF_ALL, page_faults},
	{"container_memory_failures_total", "", "", ",failure_type=\"pgmajfault\",scope=\"hierarchy\"", OF_ALL, major_page_faults},
	{"container_oom_events_total", "Count of out of memory events observed for the container", "counter", "", OF_ALL, oom_events},
	{"container_processes", "Number of processes running inside the container.", "gauge", "", OF_ALL, processes},
	{"container_last_seen", "Last time a container was seen by the exporter", "gauge", "", OF_ALL, seen_time},
	{"container_start_time_seconds", "Start time of the container since unix epoch in seconds.", "gauge", "", OF_CONTAINER, start_time},
	{"container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.", "gauge", ",device=\"\"", OF_CONTAINER, fs_usage},
	{"container_fs_inodes_total", "Number of Inodes", "gauge", ",device=\"\"", OF_CONTAINER, fs_inodes},
	{"container_spec_cpu_shares", "CPU share of the container.", "gauge", "", OF_CONTAINER, spec_shares},
	{"container_spec_cpu_period", "CPU period of the container.", "gauge", "", OF_CONTAINER, spec_period},
	{"container_spec_cpu_quota", "CPU quota of the container.", "gauge", "", OF_CONTAINER, spec_quota},
	{"container_spec_memory_limit_bytes", "Memory limit for the container.", "gauge", "", OF_CONTAINER, spec_memory},
	{"container_pressure_cpu_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to CPU congestion.", "counter", "", OF_CPU_PRESSURE, cpu_stalled},
	{"container_pressure_cpu_waiting_seconds_total", "Total time duration tasks in the container have waited due to CPU congestion.", "counter", "", OF_CPU_PRESSURE, cpu_waiting},
	{"container_pressure_memory_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to memory congestion.", "counter", "", OF_MEMORY_PRESSURE, memory_stalled},
	{"container_pressure_memory_waiting_seconds_total", "Total time duration tasks in the container have waited due to memory congestion.", "counter", "", OF_MEMORY_PRESSURE, memory_waiting},
	{"container_pressure_io_stalled_seconds_total", "Total time duration no tasks in the container could make progress due to IO congestion.", "counter", "", OF_IO_PRESSURE, io_stalled},
	{"container_pressure_io_waiting_seconds_total", "Total time duration tasks in the container have waited due to IO congestion.", "counter", "", OF_IO_PRESSURE, io_waiting},
	{"container_network_receive_bytes_total", "Cumulative count of bytes received", "counter", "", OF_INTERFACE, receive_bytes},
	{"container_network_receive_packets_total", "Cumulative count of packets received", "counter", "", OF_INTERFACE, receive_packets},
	{"container_network_receive_errors_total", "Cumulative count of errors encountered while receiving", "counter", "", OF_INTERFACE, receive_errors},
	{"container_network_receive_packets_dropped_total", "Cumulative count of packets dropped while receiving", "counter", "", OF_INTERFACE, receive_dropped},
	{"container_network_transmit_bytes_total", "Cumulative count of bytes transmitted", "counter", "", OF_INTERFACE, transmit_bytes},
	{"container_network_transmit_packets_total", "Cumulative count of packets transmitted", "counter", "", OF_INTERFACE, transmit_packets},
	{"container_network_transmit_errors_total", "Cumulative count of errors encountered while transmitting", "counter", "", OF_INTERFACE, transmit_errors},
	{"container_network_transmit_packets_dropped_total", "Cumulative count of packets dropped while transmitting", "counter", "", OF_INTERFACE, transmit_dropped},
};

/* ---- tables ---- */

struct table {
	struct kubelet *kubelet;
	struct buf *out; /* one for each row */
	const struct row *rows;
	size_t count;
};

static void table_add(struct table *t, enum scope scope, const char *labels, const struct sample *sample, struct wall_time time) {
	int64_t ms = time.sec * 1000 + time.nsec / 1000000;
	for (size_t i = 0; i < t->count; i++)
		if (t->rows[i].scope == scope)
			buf_printf(&t->out[i], "%s{%s%s} %.17g %lld\n", t->rows[i].name, labels, t->rows[i].labels, t->rows[i].value(sample), (long long)ms);
}

/* What the kernel counts of it. */
static void add_pressures(struct table *t, const char *path, const char *labels, struct wall_time time) {
	static const enum scope scopes[] = {[CGROUP_PRESSURE_CPU] = OF_CPU_PRESSURE, [CGROUP_PRESSURE_MEMORY] = OF_MEMORY_PRESSURE, [CGROUP_PRESSURE_IO] = OF_IO_PRESSURE};
	struct cgroup_pressure pressures[CGROUP_PRESSURES];
	for (enum cgroup_pressure_kind kind = 0; kind < CGROUP_PRESSURES; kind++)
		if (cgroup_pressure_read(t->kubelet->cgroups, path, kind, &pressures[kind]))
			table_add(t, scopes[kind], labels, &(struct sample){.pressures = pressures}, time);
}

static void add_container(const struct usage_visit *v, void *arg) {
	struct table *t = arg;
	const struct core_v1_container *spec = fieldref_container(v->pod, v->container->name);
	struct cgroup_resources limits = {0};
	if (spec)
		resources_container_cgroup(v->pod, spec, &limits);
	const struct sample sample = {.cgroup = &v->usage->cgroup, .usage = v->usage, .limits = &limits, .started = v->container->started};
	autofree char *labels = xprintf("container=\"%s\",id=\"%s\",image=\"%s\",name=\"%s\",namespace=\"%s\",pod=\"%s\"", v->container->name, str_or(v->container->cgroup_path, ""), v->container->image, v->container->id, v->pod->metadata.namespace, v->pod->metadata.name);
	table_add(t, OF_CONTAINER, labels, &sample, sample.cgroup->time);
	table_add(t, OF_ALL, labels, &sample, sample.cgroup->time);
	if (v->container->cgroup_path)
		add_pressures(t, v->container->cgroup_path, labels, sample.cgroup->time);
}

/* The pod as a whole: no container, and the network that its containers share. */
static void add_pod(struct table *t, const struct core_v1_pod *pod) {
	struct cgroup_stats stats;
	struct netns_interface interfaces[USAGE_MAX_INTERFACES];
	if (!usage_of_pod(t->kubelet, pod, &stats))
		return;
	autofree char *path = cgroup_pod_path(t->kubelet->cgroups, resources_qos(pod), pod->metadata.uid);
	autofree char *labels = xprintf("container=\"\",id=\"%s\",image=\"\",name=\"\",namespace=\"%s\",pod=\"%s\"", path, pod->metadata.namespace, pod->metadata.name);
	table_add(t, OF_ALL, labels, &(struct sample){.cgroup = &stats}, stats.time);
	add_pressures(t, path, labels, stats.time);
	int count = usage_interfaces(t->kubelet, pod->metadata.uid, interfaces);
	for (int i = 0; i < count; i++) {
		autofree char *with = xprintf("%s,interface=\"%s\"", labels, interfaces[i].name);
		table_add(t, OF_INTERFACE, with, &(struct sample){.interface = &interfaces[i]}, stats.time);
	}
}

static void add_machine(struct table *t) {
	struct cgroup_stats stats = {.time = clock_wall()};
	struct netns_interface interfaces[USAGE_MAX_INTERFACES];
	static const char labels[] = "container=\"\",id=\"/\",image=\"\",name=\"\",namespace=\"\",pod=\"\"";
	cgroup_stats_read(t->kubelet->cgroups, "/", &stats, NULL);
	table_add(t, OF_ALL, labels, &(struct sample){.cgroup = &stats}, stats.time);
	add_pressures(t, "/", labels, stats.time);
	int count = netns_interfaces(NULL, interfaces, array_len(interfaces), NULL);
	for (int i = 0; i < count; i++) {
		autofree char *with = xprintf("%s,interface=\"%s\"", labels, interfaces[i].name);
		table_add(t, OF_INTERFACE, with, &(struct sample){.interface = &interfaces[i]}, stats.time);
	}
}

static struct table table_begin(struct kubelet *kubelet, const struct row *rows, size_t count) {
	struct table t = {.kubelet = kubelet, .out = xcalloc(count, sizeof(struct buf)), .rows = rows, .count = count};
	for (size_t i = 0; i < count; i++) {
		t.out[i] = BUF_INIT(MAX_TEXT);
		if (*rows[i].help)
			buf_printf(&t.out[i], "# HELP %s %s\n# TYPE %s %s\n", rows[i].name, rows[i].help, rows[i].name, rows[i].type);
	}
	return t;
}

static void table_end(struct table *t, struct buf *out) {
	for (size_t i = 0; i < t->count; i++) {
		buf_append(out, t->out[i].data ? t->out[i].data : "", t->out[i].len);
		buf_done(&t->out[i]);
	}
	free(t->out);
}

/* ---- /metrics/resource: asked for every minute or more often, so that nothing of a pod is copied for it ---- */

struct loads {
	struct table table;
	struct informer_list pods; /* by UID */
};

static int compare_uids(const void *a, const void *b) {
	const struct core_v1_pod *x = *(struct core_v1_pod *const *)a, *y = *(struct core_v1_pod *const *)b;
	return strcmp(x->metadata.uid, y->metadata.uid);
}

static void add_load(const struct container_load *load, void *arg) {
	struct loads *loads = arg;
	const struct core_v1_pod wanted = {.metadata.uid = load->pod_uid}, *key = &wanted;
	struct core_v1_pod **found = bsearch(&key, loads->pods.items, loads->pods.len, sizeof(*loads->pods.items), compare_uids);
	if (!found)
		return;
	autofree char *labels = xprintf("container=\"%s\",namespace=\"%s\",pod=\"%s\"", load->name, (*found)->metadata.namespace, (*found)->metadata.name);
	table_add(&loads->table, OF_CONTAINER, labels, &(struct sample){.cgroup = load->usage, .started = load->started}, load->usage->time);
}

static void write_pods(struct kubelet *kubelet, const struct informer_list *list, struct buf *out) {
	autobuf struct buf memory = BUF_INIT(MAX_TEXT);
	buf_append_str(out, "# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds\n# TYPE pod_cpu_usage_seconds_total counter\n");
	buf_append_str(&memory, "# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes\n# TYPE pod_memory_working_set_bytes gauge\n");
	for (size_t i = 0; i < list->len; i++) {
		const struct core_v1_pod *pod = list->items[i];
		struct cgroup_stats s;
		autofree char *path = cgroup_pod_path(kubelet->cgroups, resources_qos(pod), pod->metadata.uid);
		if (cgroup_usage_read(kubelet->cgroups, path, &s, NULL) < 0)
			continue;
		long long ms = s.time.sec * 1000 + s.time.nsec / 1000000;
		buf_printf(out, "pod_cpu_usage_seconds_total{namespace=\"%s\",pod=\"%s\"} %.17g %lld\n", pod->metadata.namespace, pod->metadata.name, (double)s.cpu_usage_ns / 1e9, ms);
		buf_printf(&memory, "pod_memory_working_set_bytes{namespace=\"%s\",pod=\"%s\"} %.17g %lld\n", pod->metadata.namespace, pod->metadata.name, (double)s.memory_working_set, ms);
	}
	buf_append(out, memory.data, memory.len);
}

void route_metrics_resource(struct route_request *r) {
	struct kubelet *kubelet = r->kubelet;
	autobuf struct buf out = BUF_INIT(MAX_TEXT);
	struct cgroup_stats s = {.time = clock_wall()};
	int failed = cgroup_usage_read(kubelet->cgroups, "/", &s, NULL) < 0;
	long long ms = s.time.sec * 1000 + s.time.nsec / 1000000;
	struct loads loads = {.table = table_begin(kubelet, resource_rows, array_len(resource_rows)), .pods = INFORMER_LIST_INIT};
	pod_manager_objects(kubelet->pods, &loads.pods);
	qsort(loads.pods.items, loads.pods.len, sizeof(*loads.pods.items), compare_uids);
	runtime_each_load(kubelet->runtime, add_load, &loads);
	table_end(&loads.table, &out);
	buf_printf(&out, "# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds\n# TYPE node_cpu_usage_seconds_total counter\nnode_cpu_usage_seconds_total %.17g %lld\n", (double)s.cpu_usage_ns / 1e9, ms);
	buf_printf(&out, "# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes\n# TYPE node_memory_working_set_bytes gauge\nnode_memory_working_set_bytes %.17g %lld\n", (double)s.memory_working_set, ms);
	write_pods(kubelet, &loads.pods, &out);
	informer_list_done(&loads.pods);
	buf_printf(&out, "# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise\n# TYPE resource_scrape_error gauge\nresource_scrape_error %d\n", failed);
	route_answer(r, TEXT_TYPE, &out);
}

/* ---- the others ---- */

void route_metrics_cadvisor(struct route_request *r) {
	autobuf struct buf out = BUF_INIT(MAX_TEXT);
	autolist struct informer_list list = INFORMER_LIST_INIT;
	struct table t = table_begin(r->kubelet, cadvisor_rows, array_len(cadvisor_rows));
	pod_manager_list(r->kubelet->pods, &list);
	add_machine(&t);
	for (size_t i = 0; i < list.len; i++) {
		add_pod(&t, list.items[i]);
		usage_each(r->kubelet, list.items[i], CONTAINER_USAGE_ALL, add_container, &t);
	}
	table_end(&t, &out);
	buf_printf(&out, "# HELP machine_cpu_cores Number of logical CPU cores.\n# TYPE machine_cpu_cores gauge\nmachine_cpu_cores %ld\n# HELP machine_memory_bytes Amount of memory installed on the machine.\n# TYPE machine_memory_bytes gauge\nmachine_memory_bytes %lld\n",
		   sysconf(_SC_NPROCESSORS_ONLN), (long long)r->kubelet->memory_capacity);
	route_answer(r, TEXT_TYPE, &out);
}

void route_metrics(struct route_request *r) {
	metrics_answer(r->http);
}

void route_metrics_probes(struct route_request *r) {
	autobuf struct buf out = BUF_INIT(MAX_TEXT);
	probe_manager_write_metrics(r->kubelet->probes, &out);
	route_answer(r, TEXT_TYPE, &out);
}
