/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/proxy.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/client/service_tracker.h"
#include "common/conntrack/conntrack.h"
#include "proxy/routes.h"
#include "proxy/sync.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#define MASQUERADE_MARK 0x4000 /* the bit Kubernetes' own proxy uses */
#define NODES_MAX 16384
#define ZONE_LABEL "topology.kubernetes.io/zone"

struct proxy {
	struct daemon *daemon;
	const struct proxy_options *options;
	char *node_name;
	struct client *client;
	struct informer_set *informers;
	struct informer *nodes;
	struct service_tracker *tracker;
	struct sync *sync;
	struct conntrack *conntrack;
	struct model_config model; /* zone: under lock */
	char *zone;
	pthread_mutex_t lock;
	pthread_t starter;
	bool started, told_ready;
	atomic_bool failing; /* the last transaction was refused */
	int64_t batch_started_ns;
};

static struct metric proxy_metrics[] = {
	{.name = "kubeproxy_sync_proxy_rules_duration_seconds", .help = "How long a change took to reach the kernel.", .kind = METRIC_HISTOGRAM},
	{.name = "kubeproxy_sync_proxy_rules_last_timestamp_seconds", .help = "When rules were last changed.", .kind = METRIC_GAUGE},
	{.name = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", .help = "Transactions the kernel refused.", .kind = METRIC_COUNTER},
	{.name = "coracle_proxy_elements", .help = "Elements in the table.", .kind = METRIC_GAUGE},
};

/* ---- services ---- */

static void on_service(const char *key, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count, void *arg) {
	struct proxy *proxy = arg;
	struct model_rules rules = {0};
	if (!proxy->batch_started_ns)
		proxy->batch_started_ns = clock_monotonic_ns();
	if (service) {
		pthread_mutex_lock(&proxy->lock);
		model_build(&proxy->model, service, slices, slice_count, &rules);
		pthread_mutex_unlock(&proxy->lock);
	}
	sync_set(proxy->sync, key, &rules);
}

static void on_endpoint(const struct element *element, bool removed, void *arg) {
	struct proxy *proxy = arg;
	bool is6 = element->family == NFPROTO_IPV6, by_port = element->map == MAP_NODEPORTS || element->map == MAP_REFUSED_PORTS;
	uint32_t address_len = by_port ? 0 : is6 ? 16 : 4;
	uint8_t address[16] = {0};
	uint16_t port;
	if (element->key[address_len] != IPPROTO_UDP || element->map == MAP_CLUSTER_IPS || element->map == MAP_HAIRPIN)
		return;
	memcpy(address, element->key, address_len);
	memcpy(&port, element->key + address_len + 4, sizeof(port));
	/* Where a service had no endpoint until now, flows that were not redirected must begin anew; where one left, those that went to it. */
	conntrack_add(proxy->conntrack, is6 ? AF_INET6 : AF_INET, address, port, removed && element->map == MAP_ENDPOINTS ? element->data : NULL);
}

static void on_batch(void *arg) {
	struct proxy *proxy = arg;
	autoerror struct error err = {0};
	size_t changed = 0;
	int64_t began = proxy->batch_started_ns ? proxy->batch_started_ns : clock_monotonic_ns();
	proxy->batch_started_ns = 0;
	if (sync_commit(proxy->sync, &changed, &err) < 0) {
		atomic_store(&proxy->failing, true);
		metric_add(metric_label(&proxy_metrics[2]), 1);
		log_error("rules not changed", LOG_ERR(&err));
		return;
	}
	atomic_store(&proxy->failing, false);
	if (conntrack_run(proxy->conntrack, NULL, &err) < 0)
		log_warning("stale UDP flows not removed", LOG_ERR(&err));
	metric_observe(metric_label(&proxy_metrics[0]), (double)(clock_monotonic_ns() - began) / 1e9);
	metric_set(metric_label(&proxy_metrics[1]), (double)clock_wall().sec);
	metric_set(metric_label(&proxy_metrics[3]), (double)sync_element_count(proxy->sync));
	log_debug(2, "rules changed", LOG_INT("elements", changed));
	if (!proxy->told_ready)
		daemon_ready(proxy->daemon);
	proxy->told_ready = true;
}

static bool check_rules(void *arg, struct error *err) {
	struct proxy *proxy = arg;
	return atomic_load(&proxy->failing) ? (error_set(err, EIO, "the kernel refused the rules"), false) : true;
}

/* ---- nodes ---- */

static const char *internal_ip(const struct core_v1_node *node, bool is6) {
	for api_list_each (address, &node->status.addresses)
		if (str_equal(address->type, "InternalIP") && (strchr(str_or(address->address, ""), ':') != NULL) == is6)
			return address->address;
	return NULL;
}

static size_t add_wishes(const struct core_v1_node *node, struct route_wish *wishes, size_t room) {
	size_t n = 0;
	for (uint32_t i = 0; i < node->spec.pod_cidrs.len && n < room; i++) {
		const char *cidr = node->spec.pod_cidrs.items[i];
		const char *gateway = internal_ip(node, strchr(cidr, ':') != NULL);
		if (gateway)
			wishes[n++] = (struct route_wish){cidr, gateway};
	}
	if (!node->spec.pod_cidrs.len && !str_empty(node->spec.pod_cidr) && n < room && internal_ip(node, strchr(node->spec.pod_cidr, ':') != NULL))
		wishes[n++] = (struct route_wish){node->spec.pod_cidr, internal_ip(node, strchr(node->spec.pod_cidr, ':') != NULL)};
	return n;
}

static void apply_routes(struct proxy *proxy) {
	autolist struct informer_list nodes = INFORMER_LIST_INIT;
	autoerror struct error err = {0};
	informer_list_all(proxy->nodes, &nodes);
	size_t room = min_of(nodes.len, (size_t)NODES_MAX) * 2, n = 0, unreachable = 0;
	autofree struct route_wish *wishes = xcalloc(room + 1, sizeof(*wishes));
	for (size_t i = 0; i < nodes.len; i++) {
		const struct core_v1_node *node = nodes.items[i];
		if (!str_equal(node->metadata.name, proxy->node_name))
			n += add_wishes(node, wishes + n, room - n);
	}
	if (routes_apply(wishes, n, &unreachable, &err) < 0)
		log_warning("routes to other nodes' pods not kept", LOG_ERR(&err));
	else if (unreachable)
		log_info("nodes that no link reaches have no route", LOG_INT("routes", unreachable));
}

static bool same_routes(const struct core_v1_node *a, const struct core_v1_node *b) {
	struct route_wish x[8], y[8];
	size_t n = add_wishes(a, x, 8);
	if (n != add_wishes(b, y, 8))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!str_equal(x[i].destination, y[i].destination) || !str_equal(x[i].gateway, y[i].gateway))
			return false;
	return true;
}

static void take_zone(struct proxy *proxy, const struct core_v1_node *node) {
	const char *zone = api_map_get(&node->metadata.labels, ZONE_LABEL);
	pthread_mutex_lock(&proxy->lock);
	bool changed = !str_equal(zone, proxy->zone);
	if (changed) {
		free(proxy->zone);
		proxy->zone = zone ? xstrdup(zone) : NULL;
		proxy->model.zone = proxy->zone;
	}
	pthread_mutex_unlock(&proxy->lock);
	if (changed)
		service_tracker_resync(proxy->tracker);
}

static void node_changed(struct proxy *proxy, const struct core_v1_node *node, bool routes) {
	if (str_equal(node->metadata.name, proxy->node_name))
		take_zone(proxy, node);
	else if (routes && proxy->options->node_routes && informer_synced(proxy->nodes))
		apply_routes(proxy);
}

static void node_added(void *object, bool is_initial, void *arg) {
	node_changed(arg, object, !is_initial);
}
static void node_updated(void *old_object, void *object, void *arg) {
	node_changed(arg, object, !same_routes(old_object, object));
}
static void node_deleted(void *object, void *arg) {
	node_changed(arg, object, true);
}

/* ---- life ---- */

static int parse_cidr(const char *text, struct ruleset_config *config, struct error *err) {
	char address[64];
	const char *slash = strchr(text, '/');
	int64_t prefix;
	bool is6 = strchr(text, ':') != NULL;
	if (!slash || (size_t)(slash - text) >= sizeof(address) || !str_to_int64(slash + 1, 0, is6 ? 128 : 32, &prefix))
		return error_set(err, EINVAL, "--cluster-cidr: \"%s\" is no range", text);
	memcpy(address, text, (size_t)(slash - text));
	address[slash - text] = '\0';
	uint8_t *out = is6 ? config->pods6.address : config->pods4.address;
	if (inet_pton(is6 ? AF_INET6 : AF_INET, address, out) != 1)
		return error_set(err, EINVAL, "--cluster-cidr: \"%s\" is no range", text);
	for (unsigned i = (unsigned)prefix; i < (is6 ? 128u : 32u); i++) /* what the mask takes from packets must not stand here */
		out[i / 8] &= (uint8_t)~(0x80 >> (i % 8));
	if (is6) {
		config->pods6.prefix = (unsigned)prefix;
		config->pods6.set = true;
	} else {
		config->pods4.prefix = (unsigned)prefix;
		config->pods4.set = true;
	}
	return 0;
}

static char *host_name(void) {
	char name[256] = "";
	gethostname(name, sizeof(name) - 1);
	for (char *c = name; *c; c++)
		*c = (char)tolower((uint8_t)*c);
	return xstrdup(name);
}

/* Starting waits for the API server, which may be away for long; the daemon meanwhile answers health checks. */
static void *start_thread(void *arg) {
	struct proxy *proxy = arg;
	informer_set_start(proxy->informers);
	if (!informer_set_wait_synced(proxy->informers, daemon_stop_fd(proxy->daemon)))
		return NULL;
	if (proxy->options->node_routes)
		apply_routes(proxy);
	service_tracker_start(proxy->tracker);
	return NULL;
}

int proxy_start(struct daemon *daemon, const struct proxy_options *options, struct proxy **ret, struct error *err) {
	struct proxy *proxy = xnew(struct proxy);
	struct ruleset_config rules = {.mark = MASQUERADE_MARK, .masquerade_all = options->masquerade_all};
	struct client_config config = {0};
	int r = 0;
	*ret = proxy;
	proxy->daemon = daemon;
	proxy->options = options;
	proxy->node_name = str_empty(options->node_name) ? host_name() : xstrdup(options->node_name);
	proxy->model.node_name = proxy->node_name;
	pthread_mutex_init(&proxy->lock, NULL);
	metrics_register(proxy_metrics, array_len(proxy_metrics));
	for (size_t i = 0; r == 0 && i < options->cluster_cidrs.len; i++)
		r = parse_cidr(options->cluster_cidrs.items[i], &rules, err);
	if (r == 0)
		r = sync_new(&rules, &proxy->sync, err);
	if (r == 0)
		r = client_config_load(options->kubeconfig, NULL, &config, err);
	if (r == 0)
		r = client_new(&config, &proxy->client, err);
	client_config_done(&config);
	if (r < 0)
		return r;
	proxy->conntrack = conntrack_new();
	sync_on_endpoint_change(proxy->sync, on_endpoint, proxy);
	proxy->informers = informer_set_new(proxy->client);
	proxy->tracker = service_tracker_new(proxy->informers, &(struct service_tracker_handler){on_service, on_batch, proxy});
	proxy->nodes = informer_get(proxy->informers, &api_nodes, NULL);
	informer_add_handler(proxy->nodes, &(struct informer_handler){.on_add = node_added, .on_update = node_updated, .on_delete = node_deleted, .arg = proxy});
	daemon_add_check(daemon, "rules", false, check_rules, proxy);
	if (pthread_create(&proxy->starter, NULL, start_thread, proxy) != 0)
		abort();
	proxy->started = true;
	return 0;
}

void proxy_stop(struct proxy *proxy) {
	if (!proxy)
		return;
	if (proxy->started)
		pthread_join(proxy->starter, NULL);
	service_tracker_stop(proxy->tracker);
	if (proxy->informers)
		informer_set_free(proxy->informers);
	service_tracker_free(proxy->tracker);
	client_free(proxy->client);
	sync_free(proxy->sync);
	conntrack_free(proxy->conntrack);
	pthread_mutex_destroy(&proxy->lock);
	free(proxy->zone);
	free(proxy->node_name);
	free(proxy);
}

int proxy_clean_up(struct error *err) {
	struct nft *nft = NULL;
	int r = nft_open(RULESET_TABLE, &nft, err);
	if (r < 0)
		return r;
	struct nft_batch *batch = nft_batch_new(nft);
	nft_table_add(batch);
	nft_table_delete(batch);
	r = nft_commit(batch, err);
	nft_batch_free(batch);
	nft_close(nft);
	return r == 0 ? routes_apply(NULL, 0, NULL, err) : r;
}
