/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-hollow: nodes that are not there, for tests and benches of what plans and counts. Never shipped. */
#include "common/base/log.h"
#include "test/hollow/hollow.h"

#define FLAG(name, kind, field, fallback, help) {name, 0, kind, offsetof(struct hollow_options, field), fallback, help, 0, 0}
static const struct flag flags[] = {
	DAEMON_FLAGS(struct hollow_options, common),
	FLAG("kubeconfig", FLAG_STRING, kubeconfig, NULL, "how to reach the API server"),
	{"nodes", 0, FLAG_INT, offsetof(struct hollow_options, node_count), "3", "how many nodes", 1, 16384},
	FLAG("node-prefix", FLAG_STRING, node_prefix, "hollow-", "their names but for the number"),
	FLAG("cpu", FLAG_STRING, cpu, "16", "what each offers"),
	FLAG("memory", FLAG_STRING, memory, "64Gi", "what each offers"),
	FLAG("ephemeral-storage", FLAG_STRING, storage, "100Gi", "what each offers"),
	FLAG("pods", FLAG_STRING, pods, "110", "what each offers"),
	{"zones", 0, FLAG_INT, offsetof(struct hollow_options, zones), "0", "zones the nodes are spread over; 0 for no label", 0, 1000},
	FLAG("lease-interval", FLAG_DURATION, lease_interval_ns, "10s", "how often a lease is renewed"),
	FLAG("heartbeat-interval", FLAG_DURATION, heartbeat_interval_ns, "5m", "how often a node's conditions are written"),
	{"silent-nodes", 0, FLAG_INT, offsetof(struct hollow_options, silent_nodes), "0", "the first so many nodes stop renewing", 0, 16384},
	FLAG("silent-after", FLAG_DURATION, silent_after_ns, "0s", "when they do"),
	{"workers", 0, FLAG_INT, offsetof(struct hollow_options, workers), "16", "pods written at a time", 1, 256},
	FLAG("start-delay", FLAG_DURATION, start_delay_ns, "0s", "from a pod's binding to its start"),
	FLAG("stop-delay", FLAG_DURATION, stop_delay_ns, "0s", "from a pod's deletion to its end; at most its grace"),
	{"failure-percent", 0, FLAG_INT, offsetof(struct hollow_options, failure_percent), "0", "of pods with an end: those that fail at first", 0, 100},
	FLAG("missing-image", FLAG_STRING_LIST, missing_images, ":non-existent,:404,invalid.", "images that hold one of these in their name are not to be had"),
	FLAG("brief-stop", FLAG_BOOL, brief_stop, "false", "no last status before a pod that no finalizer holds is removed"),
};
static const struct daemon_program program = {
	.name = "coracle-hollow", .summary = "Answers as many nodes that are not there.", .flags = flags, .flag_count = array_len(flags),
	.common_offset = offsetof(struct hollow_options, common), .default_port = 0,
};

static int serve(struct daemon *daemon, const struct hollow_options *options, struct error *err)
{
	struct client_config config = {0};
	struct client *client = NULL;
	struct nodes *nodes = NULL;
	int rc = client_config_load(options->kubeconfig, NULL, &config, err);
	if (!rc)
		rc = client_new(&config, &client, err);
	client_config_done(&config);
	if (!rc)
		rc = nodes_start(client, options, daemon_stop_fd(daemon), &nodes, err);
	if (!rc) {
		struct pods *pods = pods_start(client, options, nodes);
		log_info("hollow nodes are registered", LOG_INT("nodes", options->node_count));
		daemon_ready(daemon);
		daemon_wait(daemon);
		pods_free(pods);
		nodes_free(nodes);
	}
	client_free(client);
	return rc;
}

int main(int argc, char **argv)
{
	struct hollow_options options = {0};
	struct daemon *daemon = NULL;
	int rc = daemon_start(&program, argc, argv, &options, &daemon);
	if (rc == 0) {
		autoerror struct error err = {0};
		rc = serve(daemon, &options, &err);
		if (rc < 0)
			log_error("hollow nodes do not start", LOG_ERR(&err));
		rc = rc < 0 ? 1 : daemon_exit_code(daemon);
		daemon_free(daemon);
	} else {
		rc = rc > 0 ? rc - 1 : 1;
	}
	flags_done(flags, array_len(flags), &options);
	return rc;
}
