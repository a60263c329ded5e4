/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/pki.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>

struct certs_options {
	struct cli_globals globals;
	char *dir, *kubeconfig_dir, *server_url, *cluster_domain;
	struct flag_list nodes, node_ips, service_ips, sans;
};
#define O(member) offsetof(struct certs_options, member)

static const struct flag init_flags[] = {
	{"dir", 0, FLAG_STRING, O(dir), "/etc/coracle/pki", "Folder of keys and certificates", 0, 0},
	{"kubeconfig-dir", 0, FLAG_STRING, O(kubeconfig_dir), NULL, "Folder to write kubeconfigs to; none are written without it", 0, 0},
	{"server", 0, FLAG_STRING, O(server_url), "https://127.0.0.1:6443", "URL of the API server, for the kubeconfigs", 0, 0},
	{"cluster-domain", 0, FLAG_STRING, O(cluster_domain), "cluster.local", "Domain of the cluster's names", 0, 0},
	{"node", 0, FLAG_STRING_LIST, O(nodes), NULL, "Name of a node; may be repeated", 0, 0},
	{"node-ip", 0, FLAG_STRING_LIST, O(node_ips), NULL, "Address of the node, in the order of --node", 0, 0},
	{"service-ip", 0, FLAG_STRING_LIST, O(service_ips), NULL, "Address of the Service default/kubernetes", 0, 0},
	{"san", 0, FLAG_STRING_LIST, O(sans), NULL, "Further name or address of the API server; may be repeated", 0, 0},
	{"apiserver-san", 0, FLAG_STRING_LIST, O(sans), NULL, "The same as --san", 0, 0},
};

static void print_state(const char *path, enum pki_state state, void *arg)
{
	static const char *const words[] = {[PKI_KEPT] = "kept", [PKI_CREATED] = "created", [PKI_RENEWED] = "renewed"};
	printf("%s %s\n", path, words[state]);
}

static int run_init(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct certs_options *options = arg;
	if (args->len)
		return cli_usage_error(err, "certs init takes no arguments");
	if (options->node_ips.len > options->nodes.len)
		return cli_usage_error(err, "more --node-ip than --node were given");
	struct pki_options pki = {
		.dir = options->dir,
		.kubeconfig_dir = str_empty(options->kubeconfig_dir) ? NULL : options->kubeconfig_dir,
		.server = options->server_url,
		.cluster_domain = options->cluster_domain,
		.nodes = options->nodes,
		.node_ips = options->node_ips,
		.service_ips = options->service_ips,
		.sans = options->sans,
	};
	return pki_init(&pki, print_state, NULL, err);
}

static void print_status(const struct pki_status *status, void *arg)
{
	char expires[32];
	time_format_rfc3339((struct wall_time){.sec = status->not_after}, expires);
	printf("%-60s %-40s %-16s %-22s %s\n", status->path, status->subject, status->authority, expires, str_or(status->problem, "ok"));
}

static int run_check(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct certs_options *options = arg;
	printf("%-60s %-40s %-16s %-22s %s\n", "FILE", "SUBJECT", "AUTHORITY", "EXPIRES", "STATE");
	return pki_check(options->dir, str_empty(options->kubeconfig_dir) ? NULL : options->kubeconfig_dir, print_status, NULL, err);
}

static const struct cli_command certs_init = {
	.name = "init",
	.usage = "--dir DIR --node NAME",
	.summary = "Make the keys, certificates and kubeconfigs of a cluster, keeping those that are still good",
	.flags = init_flags,
	.flag_count = array_len(init_flags),
	.options_size = sizeof(struct certs_options),
	.run = run_init,
};
static const struct cli_command certs_check = {
	.name = "check",
	.usage = "--dir DIR",
	.summary = "Show every certificate, its authority, and until when it is good",
	.flags = init_flags,
	.flag_count = 2,
	.options_size = sizeof(struct certs_options),
	.run = run_check,
};

const struct cli_command command_certs = {
	.name = "certs",
	.summary = "Make and check the certificates of a cluster",
	.children = (const struct cli_command *const[]){&certs_init, &certs_check, NULL},
};
