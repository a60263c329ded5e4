/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-dns: the cluster's names, and everybody else's by asking further. */
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/client/service_tracker.h"
#include "common/daemon/daemon.h"
#include "dns/server.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define RESOLV_CONF_MAX (64u << 10)

struct options {
	struct daemon_options common;
	char *kubeconfig, *cluster_domain, *resolv_conf;
	struct flag_list listen_addresses, upstreams;
	int64_t port, threads;
};

#define FLAG(name, kind, field, fallback, help, min, max) {name, 0, kind, offsetof(struct options, field), fallback, help, min, max}
static const struct flag flags[] = {
	DAEMON_FLAGS(struct options, common),
	FLAG("kubeconfig", FLAG_STRING, kubeconfig, NULL, "how to reach the API server", 0, 0),
	FLAG("cluster-domain", FLAG_STRING, cluster_domain, "cluster.local", "the cluster's domain", 0, 0),
	FLAG("listen-address", FLAG_STRING_LIST, listen_addresses, "0.0.0.0", "addresses to answer on", 0, 0),
	FLAG("port", FLAG_INT, port, "53", "UDP and TCP port", 0, 65535),
	FLAG("threads", FLAG_INT, threads, "0", "threads that answer; 0: one a core", 0, 64),
	FLAG("resolv-conf", FLAG_STRING, resolv_conf, "/etc/resolv.conf", "where to find the servers for other names", 0, 0),
	FLAG("upstream", FLAG_STRING_LIST, upstreams, NULL, "servers for other names, instead of those of --resolv-conf", 0, 0),
};
static const struct daemon_program program = {
	"coracle-dns", "Answers for the cluster's names, and forwards the rest.", flags, array_len(flags), offsetof(struct options, common), NULL, 10054 | DAEMON_PLAIN,
};

struct dns {
	struct daemon *daemon;
	const struct options *options;
	struct zone *zone;
	struct server *server;
	struct client *client;
	struct informer_set *informers;
	struct service_tracker *tracker;
	pthread_t starter;
	bool started;
};

static void on_service(const char *key, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count, void *arg) {
	struct dns *dns = arg;
	zone_set_service(dns->zone, key, service, slices, slice_count);
}

static void on_batch(void *arg) {
	struct dns *dns = arg;
	if (zone_is_ready(dns->zone))
		return;
	zone_set_ready(dns->zone);
	daemon_ready(dns->daemon);
}

static void namespace_added(void *object, bool is_initial, void *arg) {
	zone_set_namespace(((struct dns *)arg)->zone, ((const struct core_v1_namespace *)object)->metadata.name, true);
}
static void namespace_deleted(void *object, void *arg) {
	zone_set_namespace(((struct dns *)arg)->zone, ((const struct core_v1_namespace *)object)->metadata.name, false);
}

static void *start_thread(void *arg) {
	struct dns *dns = arg;
	informer_set_start(dns->informers);
	if (informer_set_wait_synced(dns->informers, daemon_stop_fd(dns->daemon)))
		service_tracker_start(dns->tracker);
	return NULL;
}

static int find_upstreams(const struct options *options, struct forward_upstreams *ret, struct error *err) {
	for (size_t i = 0; i < options->upstreams.len; i++)
		if (!forward_upstreams_add(ret, options->upstreams.items[i]))
			return error_set(err, EINVAL, "--upstream: \"%s\" is no address", options->upstreams.items[i]);
	if (options->upstreams.len || str_empty(options->resolv_conf))
		return 0;
	autofree char *text = NULL;
	size_t len;
	autoerror struct error read_error = {0};
	if (file_read(AT_FDCWD, options->resolv_conf, RESOLV_CONF_MAX, &text, &len, &read_error) < 0) {
		log_warning("no servers for other names", LOG_ERR(&read_error));
		return 0;
	}
	autofree const char **own = xcalloc(options->listen_addresses.len + 1, sizeof(*own));
	for (size_t i = 0; i < options->listen_addresses.len; i++)
		own[i] = options->listen_addresses.items[i];
	forward_upstreams_read(ret, text, options->port == 53 ? own : NULL);
	return 0;
}

static int start(struct dns *dns, struct error *err) {
	const struct options *options = dns->options;
	struct server_options server = {.port = (uint16_t)options->port, .zone = dns->zone};
	struct client_config config = {0};
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	server.threads = options->threads ? (unsigned)options->threads : (unsigned)max_of(cores, 1L);
	autofree const char **addresses = xcalloc(options->listen_addresses.len + 1, sizeof(*addresses));
	for (size_t i = 0; i < options->listen_addresses.len; i++)
		addresses[i] = options->listen_addresses.items[i];
	server.addresses = addresses;
	int r = find_upstreams(options, &server.upstreams, err);
	if (r == 0)
		r = client_config_load(options->kubeconfig, NULL, &config, err);
	if (r == 0)
		r = client_new(&config, &dns->client, err);
	client_config_done(&config);
	if (r == 0)
		r = server_start(&server, &dns->server, err);
	if (r < 0)
		return r;
	dns->informers = informer_set_new(dns->client);
	dns->tracker = service_tracker_new(dns->informers, &(struct service_tracker_handler){on_service, on_batch, dns});
	struct informer *namespaces = informer_get(dns->informers, &api_namespaces, NULL);
	informer_add_handler(namespaces, &(struct informer_handler){.on_add = namespace_added, .on_delete = namespace_deleted, .arg = dns});
	if (pthread_create(&dns->starter, NULL, start_thread, dns) != 0)
		abort();
	dns->started = true;
	return 0;
}

static void stop(struct dns *dns) {
	if (dns->started)
		pthread_join(dns->starter, NULL);
	service_tracker_stop(dns->tracker);
	if (dns->informers)
		informer_set_free(dns->informers);
	service_tracker_free(dns->tracker);
	server_stop(dns->server);
	client_free(dns->client);
	zone_free(dns->zone);
}

int main(int argc, char **argv) {
	struct options options = {0};
	struct daemon *daemon = NULL;
	int r = daemon_start(&program, argc, argv, &options, &daemon);
	if (r == 0) {
		autoerror struct error err = {0};
		struct dns dns = {.daemon = daemon, .options = &options, .zone = zone_new(options.cluster_domain)};
		r = start(&dns, &err);
		if (r < 0)
			log_error("dns does not start", LOG_ERR(&err));
		else
			daemon_wait(daemon);
		stop(&dns);
		r = r < 0 ? 1 : daemon_exit_code(daemon);
		daemon_free(daemon);
	} else {
		r = r > 0 ? r - 1 : 1;
	}
	flags_done(flags, array_len(flags), &options);
	return r;
}
