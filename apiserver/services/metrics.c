/* SPDX-License-Identifier: Apache-2.0 */
/* What Prometheus is told of addresses and ports, under Kubernetes' names. */
#include "apiserver/services/internal.h"
#include "common/base/metrics.h"

static const char *const by_range[] = {"cidr", NULL}, *const by_range_scope[] = {"cidr", "scope", NULL}, *const by_scope[] = {"scope", NULL};
enum { IP_ALLOCATED, IP_AVAILABLE, IP_TOTAL, IP_ERRORS, PORT_ALLOCATED, PORT_AVAILABLE, PORT_TOTAL, PORT_ERRORS, IP_REPAIRS, PORT_REPAIRS };
static struct metric metrics[] = {
	[IP_ALLOCATED] = {.name = "kube_apiserver_clusterip_allocator_allocated_ips", .help = "Gauge measuring the number of allocated IPs for Services", .kind = METRIC_GAUGE, .labels = by_range},
	[IP_AVAILABLE] = {.name = "kube_apiserver_clusterip_allocator_available_ips", .help = "Gauge measuring the number of available IPs for Services", .kind = METRIC_GAUGE, .labels = by_range},
	[IP_TOTAL] = {.name = "kube_apiserver_clusterip_allocator_allocation_total", .help = "Number of Cluster IPs allocations", .kind = METRIC_COUNTER, .labels = by_range_scope},
	[IP_ERRORS] = {.name = "kube_apiserver_clusterip_allocator_allocation_errors_total", .help = "Number of errors trying to allocate Cluster IPs", .kind = METRIC_COUNTER, .labels = by_range_scope},
	[PORT_ALLOCATED] = {.name = "kube_apiserver_nodeport_allocator_allocated_ports", .help = "Gauge measuring the number of allocated NodePorts for Services", .kind = METRIC_GAUGE},
	[PORT_AVAILABLE] = {.name = "kube_apiserver_nodeport_allocator_available_ports", .help = "Gauge measuring the number of available NodePorts for Services", .kind = METRIC_GAUGE},
	[PORT_TOTAL] = {.name = "kube_apiserver_nodeport_allocator_allocation_total", .help = "Number of NodePort allocations", .kind = METRIC_COUNTER, .labels = by_scope},
	[PORT_ERRORS] = {.name = "kube_apiserver_nodeport_allocator_allocation_errors_total", .help = "Number of errors trying to allocate NodePort", .kind = METRIC_COUNTER, .labels = by_scope},
	[IP_REPAIRS] = {.name = "apiserver_clusterip_repair_ip_errors_total", .help = "Number of errors detected on clusterips by the repair loop broken down by type of error: leak, repair, full, outOfRange, duplicate, unknown, invalid", .kind = METRIC_COUNTER, .labels = (const char *const[]){"type", NULL}},
	[PORT_REPAIRS] = {.name = "apiserver_nodeport_repair_port_errors_total", .help = "Number of errors detected on ports by the repair loop broken down by type of error: leak, repair, full, outOfRange, duplicate, unknown", .kind = METRIC_COUNTER, .labels = (const char *const[]){"type", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

void metrics_allocated(enum claim_kind kind, const struct ip_range *range, bool requested, bool failed) {
	const char *scope = requested ? "static" : "dynamic";
	char text[INET6_ADDRSTRLEN + 4] = "";
	if (kind == CLAIM_PORT) {
		metric_add(metric_label(&metrics[failed ? PORT_ERRORS : PORT_TOTAL], scope), 1);
		return;
	}
	if (range && range->family)
		ip_range_text(range, text);
	metric_add(metric_label(&metrics[failed ? IP_ERRORS : IP_TOTAL], text, scope), 1);
}

void metrics_repaired(enum claim_kind kind, const char *type) {
	metric_add(metric_label(&metrics[kind == CLAIM_PORT ? PORT_REPAIRS : IP_REPAIRS], type), 1);
}

/* The server whose gauges are shown; a scrape may come while it stops. */
static pthread_mutex_t shown_lock = PTHREAD_MUTEX_INITIALIZER;
static struct allocator *shown;

static void collect(void *arg) {
	pthread_mutex_lock(&shown_lock);
	struct allocator *a = shown;
	if (a) {
		ranges_refresh(a);
		autosnapshot struct snapshot *addresses = collection_snapshot(a->claims[CLAIM_ADDRESS]), *ports = collection_snapshot(a->claims[CLAIM_PORT]);
		pthread_mutex_lock(&a->lock);
		for (size_t i = 0; i < a->range_count; i++) {
			const struct ip_range *range = &a->ranges[i];
			size_t used = 0;
			for (size_t n = 0; n < addresses->len; n++)
				used += ip_range_contains(range, snapshot_entry(addresses, n)->key);
			char text[INET6_ADDRSTRLEN + 4];
			ip_range_text(range, text);
			metric_set(metric_label(&metrics[IP_ALLOCATED], text), (double)used);
			metric_set(metric_label(&metrics[IP_AVAILABLE], text), (double)(range->hosts > used ? range->hosts - used : 0));
		}
		pthread_mutex_unlock(&a->lock);
		size_t all = (size_t)(a->port_last - a->port_first + 1);
		metric_set(metric_label(&metrics[PORT_ALLOCATED]), (double)ports->len);
		metric_set(metric_label(&metrics[PORT_AVAILABLE]), (double)(all > ports->len ? all - ports->len : 0));
	}
	pthread_mutex_unlock(&shown_lock);
}

void service_metrics_start(struct allocator *a) {
	static bool registered;
	pthread_mutex_lock(&shown_lock);
	shown = a;
	bool first = !registered;
	registered = true;
	pthread_mutex_unlock(&shown_lock);
	if (first)
		metrics_on_collect(collect, NULL);
}

void service_metrics_stop(struct allocator *a) {
	pthread_mutex_lock(&shown_lock);
	if (shown == a)
		shown = NULL;
	pthread_mutex_unlock(&shown_lock);
}
