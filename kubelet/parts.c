/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/parts.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/client/client.h"
#include "kubelet/certificate/manager.h"
#include "kubelet/credential/provider.h"
#include "kubelet/device/device.h"
#include "kubelet/node/eviction.h"
#include "kubelet/metrics.h"
#include "kubelet/node/logind.h"
#include "kubelet/node/node.h"
#include "kubelet/objects/cache.h"
#include "kubelet/pod/manager.h"
#include "kubelet/pod/pulled.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/probe/probe.h"
#include "kubelet/resource/managers.h"
#include "kubelet/source/source.h"
#include "kubelet/volume/token.h"
#include "kubelet/volume/volume.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- who we are ---- */

static char *node_name(const struct kubelet_options *options) {
	char name[256] = "";
	if (str_empty(options->hostname_override))
		gethostname(name, sizeof(name) - 1);
	else
		snprintf(name, sizeof(name), "%s", options->hostname_override);
	for (char *p = name; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return xstrdup(name);
}

static void add_address(struct kubelet *kubelet, const char *text) {
	if (kubelet->node_ip_count < KUBELET_MAX_ADDRESSES && *text)
		kubelet->node_ips[kubelet->node_ip_count++] = xstrdup(text);
}

/* The address the default route would leave by; nothing is sent. */
static bool route_address(char *out, socklen_t size) {
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(0xc0000201)}, mine;
	socklen_t len = sizeof(mine);
	return fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && getsockname(fd, (struct sockaddr *)&mine, &len) == 0 && inet_ntop(AF_INET, &mine.sin_addr, out, size);
}

static bool interface_address(char *out, socklen_t size) {
	struct ifaddrs *list = NULL;
	bool found = false;
	if (getifaddrs(&list) < 0)
		return false;
	for (struct ifaddrs *i = list; i && !found; i = i->ifa_next)
		if (i->ifa_addr && i->ifa_addr->sa_family == AF_INET && !(i->ifa_flags & IFF_LOOPBACK))
			found = inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr, out, size);
	freeifaddrs(list);
	return found;
}

static void find_addresses(struct kubelet *kubelet) {
	char text[INET6_ADDRSTRLEN];
	if (!str_empty(kubelet->options.node_ip)) {
		char *copy = xstrdup(kubelet->options.node_ip), *save = NULL;
		for (char *ip = strtok_r(copy, ",", &save); ip; ip = strtok_r(NULL, ",", &save))
			add_address(kubelet, ip);
		free(copy);
	} else {
		add_address(kubelet, route_address(text, sizeof(text)) || interface_address(text, sizeof(text)) ? text : "127.0.0.1");
	}
}

/* ---- what stands on the machine ---- */

static char *log_links_dir(const struct kubelet_options *options) {
	if (!str_empty(options->container_log_links_dir))
		return xstrdup(options->container_log_links_dir);
	autofree char *logs = xstrdup(options->pod_log_dir);
	char *slash = strrchr(logs, '/');
	if (slash)
		*slash = '\0';
	return path_join(slash ? logs : ".", "containers", NULL);
}

static int make_folders(struct kubelet *kubelet, struct error *err) {
	const struct kubelet_options *o = &kubelet->options;
	autofree char *pods = path_join(o->root_dir, "pods", NULL);
	autofree char *links = log_links_dir(o);
	const char *const folders[] = {o->root_dir, pods, o->run_dir, o->runtime_root, o->image_root, o->pod_log_dir, links, o->cni_cache_dir, o->seccomp_dir};
	for (size_t i = 0; i < array_len(folders); i++) {
		int r = file_mkdir_all(folders[i], i == 0 ? 0711 : i == 1 ? 0750 : 0755, err);
		if (r < 0)
			return r;
	}
	/* Nobody need list it, but the root of a pod's user namespace must come through to its container. */
	struct stat st;
	if (stat(o->root_dir, &st) == 0 && !(st.st_mode & S_IXOTH) && chmod(o->root_dir, (st.st_mode & 07777) | S_IXOTH) < 0)
		return error_set_errno(err, errno, "let others through %s", o->root_dir);
	return 0;
}

static int open_network(struct kubelet *kubelet, struct error *err) {
	const struct kubelet_options *o = &kubelet->options;
	const char **dirs = xcalloc(o->cni_bin_dirs.len + 1, sizeof(*dirs));
	autofree char *ipam = path_join(o->cni_cache_dir, "ipam", NULL), *results = path_join(o->cni_cache_dir, "results", NULL);
	for (size_t i = 0; i < o->cni_bin_dirs.len; i++)
		dirs[i] = o->cni_bin_dirs.items[i];
	const struct network_options options = {.conf_dir = o->cni_conf_dir, .bin_dirs = o->cni_bin_dirs.len ? dirs : NULL, .cache_dir = results, .bridge = o->bridge_name, .ipam_dir = ipam, .node = kubelet->node_name, .timeout_ms = (int)(o->runtime_request_timeout_ns / 2 / NSEC_PER_MSEC)};
	int r = network_new(&options, &kubelet->network, err);
	free(dirs);
	return r;
}

static void on_runtime_event(const struct runtime_event *event, void *arg) {
	struct kubelet *kubelet = arg;
	if (kubelet->pods)
		pod_manager_on_runtime_event(event, kubelet->pods);
}

static int open_runtime(struct kubelet *kubelet, struct error *err) {
	const struct kubelet_options *o = &kubelet->options;
	struct quantity log_size = {0};
	if (quantity_parse(o->container_log_max_size, strlen(o->container_log_max_size), &log_size) < 0)
		return error_set(err, EINVAL, "container-log-max-size: \"%s\" is no quantity", o->container_log_max_size);
	if (!str_empty(o->swap_behavior) && !str_equal(o->swap_behavior, "NoSwap") && !str_equal(o->swap_behavior, "LimitedSwap"))
		return error_set(err, EINVAL, "memory-swap-behavior: there is no \"%s\"", o->swap_behavior);
	if (!pulled_policy_is_known(o->image_credentials_policy))
		return error_set(err, EINVAL, "image-credentials-verification-policy: there is no \"%s\"", o->image_credentials_policy);
	autofree char *links = log_links_dir(o);
	autofree const char **cdi_dirs = xcalloc(o->cdi_dirs.len + 1, sizeof(*cdi_dirs));
	for (size_t i = 0; i < o->cdi_dirs.len; i++)
		cdi_dirs[i] = o->cdi_dirs.items[i];
	const struct runtime_options options = {
		.root_dir = o->runtime_root,
		.run_dir = o->run_dir,
		.runc_path = str_empty(o->runc_path) ? NULL : o->runc_path,
		.conmon_path = str_empty(o->conmon_path) ? NULL : o->conmon_path,
		.seccomp_dir = o->seccomp_dir,
		.cdi_dirs = cdi_dirs,
		.log_links_dir = links,
		.log_max_bytes = quantity_value(&log_size),
		.log_max_files = (int)o->container_log_max_files,
		.images = kubelet->images,
		.network = kubelet->network,
		.cgroups = kubelet->cgroups,
		.on_event = on_runtime_event,
		.on_event_arg = kubelet,
	};
	return runtime_open(&options, &kubelet->runtime, err);
}

int kubelet_parts_open(struct kubelet *kubelet, struct error *err) {
	const struct cgroup_options cgroups = {.root = str_empty(kubelet->options.cgroup_root) ? NULL : kubelet->options.cgroup_root};
	kubelet->node_name = node_name(&kubelet->options);
	kubelet->memory_capacity = node_info_memory();
	kubelet->started = clock_monotonic_ns();
	find_addresses(kubelet);
	int r = make_folders(kubelet, err);
	if (r == 0)
		r = image_store_open(kubelet->options.image_root, &kubelet->images, err);
	if (r == 0 && !str_empty(kubelet->options.credential_config))
		r = credential_providers_new(kubelet->options.credential_config, kubelet->options.credential_programs, &kubelet->credentials, err);
	if (r == 0)
		r = cgroup_open(&cgroups, &kubelet->cgroups, err);
	if (r == 0 && !kubelet->options.cleanup)
		r = node_machine_prepare(&kubelet->options, cgroup_version(kubelet->cgroups), err);
	if (r == 0)
		r = open_network(kubelet, err);
	if (r == 0)
		r = eviction_new(kubelet, &kubelet->eviction, err);
	/* Parts that the runtime's first events reach: of what ended while nobody looked they come at once. */
	if (r == 0) {
		kubelet_metrics_init(kubelet);
		kubelet->pods = pod_manager_new(kubelet);
	}
	if (r == 0)
		r = open_runtime(kubelet, err);
	return r;
}

/* ---- what talks ---- */

static int connect_api(struct kubelet *kubelet, struct error *err) {
	struct client_config config = {0};
	autofree char *field = xprintf("spec.nodeName=%s", kubelet->node_name), *name = xprintf("metadata.name=%s", kubelet->node_name);
	int r = client_config_load(kubelet->options.kubeconfig, NULL, &config, err);
	if (r == 0) {
		certificates_choose(kubelet->certificates, &config);
		config.qps = (double)kubelet->options.api_qps;
		config.burst = (int)kubelet->options.api_burst;
		r = client_new(&config, &kubelet->client, err);
		config.qps = (double)kubelet->options.event_qps;
		config.burst = (int)kubelet->options.event_burst;
		if (r == 0)
			r = client_new(&config, &kubelet->event_client, err);
	}
	client_config_done(&config);
	if (r < 0)
		return r;
	const struct informer_options pods = {.field_selector = field, .compact = true}, node = {.field_selector = name};
	kubelet->informers = informer_set_new(kubelet->client);
	kubelet->pod_informer = informer_get(kubelet->informers, &api_pods, &pods);
	kubelet->node_informer = informer_get(kubelet->informers, &api_nodes, &node);
	kubelet->service_informer = informer_get(kubelet->informers, &api_services, NULL);
	kubelet->recorder = event_recorder_new(kubelet->event_client, "kubelet", kubelet->node_name);
	kubelet->tokens = token_cache_new(kubelet->client);
	kubelet->objects = object_cache_new(kubelet);
	return 0;
}

int kubelet_parts_start(struct kubelet *kubelet, bool waits, struct error *err) {
	int r = 0;
	kubelet->objects = object_source_none();
	if (!str_empty(kubelet->options.kubeconfig) && !waits)
		r = connect_api(kubelet, err);
	if (r < 0)
		return r;
	r = device_manager_new(kubelet, &kubelet->devices, err);
	if (r == 0)
		r = resource_managers_open(kubelet, &kubelet->managers, err);
	if (r < 0)
		return r;
	kubelet->status = status_manager_new(kubelet);
	kubelet->probes = probe_manager_new(kubelet);
	node_allocatable_enforce(kubelet);
	kubelet->node = node_agent_start(kubelet);
	r = device_manager_open(kubelet->devices, err);
	if (r < 0)
		return r;
	certificates_start(kubelet->certificates);
	if (kubelet->client) {
		source_api_start(kubelet);
		informer_set_start(kubelet->informers);
	}
	resource_managers_start(kubelet->managers);
	node_shutdown_watch(kubelet);
	return 0;
}

void kubelet_parts_close(struct kubelet *kubelet) {
	certificates_stop(kubelet->certificates);
	logind_stop(kubelet->logind);
	device_manager_shut(kubelet->devices);
	resource_managers_stop(kubelet->managers);
	node_agent_stop(kubelet->node);
	/* No new word about pods, from the API or from a probe, then no worker, then what workers use. */
	informer_set_stop(kubelet->informers);
	probe_manager_stop(kubelet->probes);
	pod_manager_free(kubelet->pods);
	probe_manager_free(kubelet->probes);
	status_manager_free(kubelet->status);
	resource_managers_free(kubelet->managers);
	device_manager_free(kubelet->devices);
	eviction_free(kubelet->eviction);
	object_cache_free(kubelet->objects);
	runtime_close(kubelet->runtime);
	network_free(kubelet->network);
	cgroup_close(kubelet->cgroups);
	image_store_close(kubelet->images);
	credential_providers_free(kubelet->credentials);
	token_cache_free(kubelet->tokens);
	if (kubelet->recorder)
		event_recorder_free(kubelet->recorder);
	informer_set_free(kubelet->informers);
	client_free(kubelet->event_client);
	client_free(kubelet->client);
	certificates_free(kubelet->certificates);
	for (size_t i = 0; i < kubelet->node_ip_count; i++)
		free(kubelet->node_ips[i]);
	free(kubelet->node_name);
}

/* ---- --cleanup ---- */

int kubelet_cleanup(struct kubelet *kubelet, struct error *err) {
	struct sandbox_status **sandboxes = NULL;
	size_t count = 0;
	int r = runtime_sandbox_list(kubelet->runtime, NULL, &sandboxes, &count, err);
	for (size_t i = 0; i < count; i++) {
		autoerror struct error problem = {0};
		autofree char *dir = path_join(kubelet->options.root_dir, "pods", sandboxes[i]->pod_uid, NULL);
		if (runtime_sandbox_remove(kubelet->runtime, sandboxes[i]->id, &problem) < 0 || volumes_teardown(dir, &problem) < 0 || file_remove_all(dir, &problem) < 0 ||
		    (sandboxes[i]->cgroup_parent && cgroup_remove(kubelet->cgroups, sandboxes[i]->cgroup_parent, &problem) < 0)) {
			log_error("pod cannot be removed", LOG_STR("pod", sandboxes[i]->pod_name), LOG_ERR(&problem));
			r = error_move(err, &problem);
		}
		sandbox_status_free(sandboxes[i]);
	}
	free(sandboxes);
	if (r == 0)
		r = network_clean(kubelet->network, err);
	return r < 0 ? r : cgroup_leave(kubelet->cgroups, err);
}
