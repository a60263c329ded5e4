/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-proxy: makes Services reachable on this node. */
#include "common/base/log.h"
#include "common/daemon/daemon.h"
#include "proxy/proxy.h"

#include <stdio.h>

#define FLAG(name, kind, field, fallback, help) {name, 0, kind, offsetof(struct proxy_options, field), fallback, help, 0, 0}
static const struct flag flags[] = {
	DAEMON_FLAGS(struct proxy_options, common),
	FLAG("kubeconfig", FLAG_STRING, kubeconfig, NULL, "how to reach the API server"),
	FLAG("hostname-override", FLAG_STRING, node_name, NULL, "name of this node; the host's name otherwise"),
	FLAG("cluster-cidr", FLAG_STRING_LIST, cluster_cidrs, NULL, "ranges of the pods: what comes to a cluster IP from outside of them is masqueraded"),
	FLAG("masquerade-all", FLAG_BOOL, masquerade_all, NULL, "masquerade everything sent to cluster IPs"),
	FLAG("node-routes", FLAG_BOOL, node_routes, "true", "keep routes to other nodes' pods"),
	FLAG("cleanup", FLAG_BOOL, cleanup, NULL, "remove the table and routes, and exit"),
	FLAG("config", FLAG_IGNORED, ignored, NULL, "accepted, without effect"),
	FLAG("proxy-mode", FLAG_IGNORED, ignored, NULL, "accepted, without effect: it is always nf_tables"),
	FLAG("conntrack-max-per-core", FLAG_IGNORED, ignored, NULL, "accepted, without effect"),
};
static const struct daemon_program program = {
	"coracle-proxy", "Makes Services reachable on this node, by nf_tables.", flags, array_len(flags), offsetof(struct proxy_options, common), NULL, 10249 | DAEMON_PLAIN,
};

static int clean_up(void) {
	autoerror struct error err = {0};
	if (proxy_clean_up(&err) == 0)
		return 0;
	fprintf(stderr, "coracle-proxy: %s\n", error_message(&err));
	return 1;
}

int main(int argc, char **argv) {
	for (int i = 1; i < argc; i++)
		if (str_equal(argv[i], "--cleanup") || str_equal(argv[i], "--cleanup=true"))
			return clean_up();
	struct proxy_options options = {0};
	struct daemon *daemon = NULL;
	int r = daemon_start(&program, argc, argv, &options, &daemon);
	if (r == 0) {
		autoerror struct error err = {0};
		struct proxy *proxy = NULL;
		r = proxy_start(daemon, &options, &proxy, &err);
		if (r < 0)
			log_error("proxy does not start", LOG_ERR(&err));
		else
			daemon_wait(daemon);
		proxy_stop(proxy);
		r = r < 0 ? 1 : daemon_exit_code(daemon);
		daemon_free(daemon);
	} else {
		r = r > 0 ? r - 1 : 1;
	}
	flags_done(flags, array_len(flags), &options);
	return r;
}
