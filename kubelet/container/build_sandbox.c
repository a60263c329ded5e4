/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "kubelet/container/build.h"
#include "kubelet/container/dns.h"
#include "kubelet/container/hosts.h"
#include "kubelet/container/sysctl.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define HOSTNAME_MAX 63
#define MAX_HOSTS_FILE (1u << 20)
#define BANDWIDTH_INGRESS "kubernetes.io/ingress-bandwidth"
#define BANDWIDTH_EGRESS "kubernetes.io/egress-bandwidth"

char *build_pod_dir(struct kubelet *kubelet, const char *uid) {
	return path_join(kubelet->options.root_dir, "pods", uid, NULL);
}

char *build_log_dir(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	autofree char *name = xprintf("%s_%s_%s", pod->metadata.namespace, pod->metadata.name, pod->metadata.uid);
	return path_join(kubelet->options.pod_log_dir, name, NULL);
}

/* The kernel takes 64 bytes; a name cut there must not end in a hyphen or dot. */
static const char *truncate_hostname(struct arena *arena, const char *name) {
	if (strlen(name) <= HOSTNAME_MAX)
		return name;
	char *cut = arena_strndup(arena, name, HOSTNAME_MAX);
	for (size_t len = HOSTNAME_MAX; len && (cut[len - 1] == '-' || cut[len - 1] == '.'); len--)
		cut[len - 1] = '\0';
	return cut;
}

void build_hostname(struct kubelet *kubelet, const struct core_v1_pod *pod, struct arena *arena, const char **ret_hostname, const char **ret_domain) {
	*ret_domain = "";
	if (!str_empty(pod->spec.hostname_override)) {
		*ret_hostname = truncate_hostname(arena, pod->spec.hostname_override);
		return;
	}
	*ret_hostname = truncate_hostname(arena, str_or(pod->spec.hostname, pod->metadata.name));
	if (!str_empty(pod->spec.subdomain))
		*ret_domain = arena_printf(arena, "%s.%s.svc.%s", pod->spec.subdomain, pod->metadata.namespace, kubelet->options.cluster_domain);
}

static void read_host_dns(struct kubelet *kubelet, struct arena *arena, struct dns_config *ret) {
	autofree char *text = NULL;
	size_t len;
	*ret = (struct dns_config){0};
	if (!str_empty(kubelet->options.resolv_conf) && file_read(AT_FDCWD, kubelet->options.resolv_conf, DNS_MAX_RESOLV_CONF, &text, &len, NULL) == 0)
		dns_parse_resolv_conf(text, arena, ret);
}

static void apply_dns_config(const struct core_v1_pod_dns_config *config, struct arena *arena, struct dns_config *ret) {
	for (uint32_t i = 0; i < config->nameservers.len; i++)
		dns_add_server(ret, config->nameservers.items[i]);
	for (uint32_t i = 0; i < config->searches.len; i++)
		dns_add_search(ret, config->searches.items[i]);
	for api_list_each (option, &config->options)
		if (!str_empty(option->name))
			dns_set_option(ret, arena, option->name, option->value);
}

static void build_dns(struct kubelet *kubelet, const struct core_v1_pod *pod, struct arena *arena, struct sandbox_config *ret) {
	struct dns_config host, *config = arena_new_type(arena, struct dns_config);
	const char *policy = str_or(pod->spec.dns_policy, CORE_V1_DNS_POLICY_CLUSTER_FIRST);
	read_host_dns(kubelet, arena, &host);
	bool cluster = str_equal(policy, CORE_V1_DNS_POLICY_CLUSTER_FIRST_WITH_HOST_NET) || (str_equal(policy, CORE_V1_DNS_POLICY_CLUSTER_FIRST) && !pod->spec.host_network);
	if (cluster && !kubelet->options.cluster_dns.len) {
		kubelet_event(kubelet, pod, NULL, "Warning", "MissingClusterDNS", "pod: \"%s_%s(%s)\". kubelet does not have ClusterDNS IP configured and cannot create Pod using \"%s\" policy. Falling back to \"Default\" policy.", pod->metadata.name, pod->metadata.namespace, pod->metadata.uid, policy);
		cluster = false;
	}
	if (cluster)
		dns_cluster_first((const char *const *)kubelet->options.cluster_dns.items, kubelet->options.cluster_dns.len, pod->metadata.namespace, kubelet->options.cluster_domain, &host, arena, config);
	else if (!str_equal(policy, CORE_V1_DNS_POLICY_NONE))
		*config = host;
	if (pod->spec.dns_config)
		apply_dns_config(pod->spec.dns_config, arena, config);
	ret->dns_servers = config->servers;
	ret->dns_searches = config->searches;
	ret->dns_options = config->options;
}

static int64_t bandwidth(const struct core_v1_pod *pod, const char *annotation) {
	const char *text = api_map_get(&pod->metadata.annotations, annotation);
	struct quantity q;
	return text && quantity_parse(text, strlen(text), &q) == 0 ? quantity_value(&q) : 0;
}

static void build_ports(const struct core_v1_pod *pod, struct arena *arena, struct sandbox_config *ret) {
	const struct core_v1_container_array *lists[] = {&pod->spec.init_containers, &pod->spec.containers};
	size_t count = 0, cap = 0;
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (c, lists[i])
			cap += c->ports.len;
	struct network_port *ports = arena_calloc(arena, cap, sizeof(*ports));
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (c, lists[i])
			for api_list_each (port, &c->ports)
				ports[count++] = (struct network_port){.host_ip = port->host_ip, .host_port = (uint16_t)port->host_port, .container_port = (uint16_t)port->container_port, .protocol = port->protocol};
	ret->ports = ports;
	ret->port_count = count;
}

int build_sandbox(struct kubelet *kubelet, const struct core_v1_pod *pod, uint32_t attempt, const char *cgroup_parent, struct arena *arena, struct sandbox_config *ret, struct error *err) {
	const char *hostname, *domain;
	build_hostname(kubelet, pod, arena, &hostname, &domain);
	if (pod->spec.set_hostname_as_fqdn && *pod->spec.set_hostname_as_fqdn && *domain) {
		hostname = arena_printf(arena, "%s.%s", hostname, domain);
		if (strlen(hostname) > 64)
			return error_set(err, EINVAL, "pod FQDN \"%s\" is too long: 64 characters is the max, %zu characters requested", hostname, strlen(hostname));
	}
	autofree char *log_dir = build_log_dir(kubelet, pod);
	*ret = (struct sandbox_config){
		.pod_name = pod->metadata.name,
		.pod_namespace = pod->metadata.namespace,
		.pod_uid = pod->metadata.uid,
		.hostname = pod->spec.host_network ? NULL : hostname,
		.attempt = attempt,
		.host_network = pod->spec.host_network,
		.host_pid = pod->spec.host_pid,
		.host_ipc = pod->spec.host_ipc,
		.share_process_namespace = pod->spec.share_process_namespace && *pod->spec.share_process_namespace,
		.user_namespace = pod->spec.host_users && !*pod->spec.host_users,
		.selinux = pod->spec.security_context ? build_selinux(pod->spec.security_context->se_linux_options, arena) : NULL,
		.cgroup_parent = cgroup_parent,
		.log_dir = arena_strdup(arena, log_dir),
		.ingress_bits_per_second = bandwidth(pod, BANDWIDTH_INGRESS),
		.egress_bits_per_second = bandwidth(pod, BANDWIDTH_EGRESS),
	};
	build_dns(kubelet, pod, arena, ret);
	build_ports(pod, arena, ret);
	if (pod->spec.security_context && pod->spec.security_context->sysctls.len) {
		struct runtime_label *sysctls = arena_calloc(arena, pod->spec.security_context->sysctls.len, sizeof(*sysctls));
		for api_list_each (sysctl, &pod->spec.security_context->sysctls)
			sysctls[ret->sysctl_count++] = (struct runtime_label){sysctl_normalize(arena, sysctl->name), sysctl->value};
		ret->sysctls = sysctls;
	}
	return 0;
}

int build_hosts_file(struct kubelet *kubelet, const struct core_v1_pod *pod, const struct pod_facts *facts, struct error *err) {
	autoarena struct arena *arena = arena_new();
	autobuf struct buf out = BUF_INIT(MAX_HOSTS_FILE);
	autofree char *host_file = NULL, *dir = build_pod_dir(kubelet, pod->metadata.uid), *path = path_join(dir, "etc-hosts", NULL), *have = NULL;
	const char *hostname, *domain;
	size_t len;
	build_hostname(kubelet, pod, arena, &hostname, &domain);
	if (pod->spec.host_network && file_read(AT_FDCWD, "/etc/hosts", MAX_HOSTS_FILE / 2, &host_file, &len, NULL) < 0)
		host_file = xstrdup("");
	struct hosts_alias *aliases = arena_calloc(arena, pod->spec.host_aliases.len, sizeof(*aliases));
	size_t count = 0;
	for api_list_each (alias, &pod->spec.host_aliases)
		aliases[count++] = (struct hosts_alias){.ip = alias->ip, .hostnames = alias->hostnames.items, .hostname_count = alias->hostnames.len};
	hosts_write(&out, host_file, facts->pod_ips, facts->pod_ip_count, hostname, domain, aliases, count);
	/* Written in place: containers have this very file mounted. */
	if (file_read(AT_FDCWD, path, MAX_HOSTS_FILE, &have, &len, NULL) == 0 && len == out.len && memcmp(have, out.data, len) == 0)
		return 0;
	return file_write(AT_FDCWD, path, out.data, out.len, 0644, err);
}
