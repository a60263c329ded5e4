/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pod networks: by CNI (spec 1.0.0, older configurations too) where the folder has a configuration of somebody else: its first, the plugins
 * chained. Else the node's own network, set up in process. What ADD gave is kept on disk, so that DEL works after a restart and after the
 * configuration changed. Thread safe; ADD, DEL and CHECK block (one at a time for one pod) and end by time-out where a plugin hangs.
 */
#ifndef CORACLE_KUBELET_NETWORK_H
#define CORACLE_KUBELET_NETWORK_H

#include "common/base/error.h"

#define NETWORK_CONF_DIR "/etc/cni/net.d"
#define NETWORK_CACHE_DIR "/var/lib/cni/coracle"
#define NETWORK_MAX_IPS 16
#define NETWORK_MAX_RESULT (1 << 20) /* bytes a plugin may answer */

struct network;

struct network_options {
	const char *conf_dir;       /* NULL: NETWORK_CONF_DIR */
	const char *const *bin_dirs; /* NULL terminated; NULL: /opt/cni/bin, /usr/lib/cni, /usr/libexec/cni */
	const char *cache_dir;      /* NULL: NETWORK_CACHE_DIR */
	const char *bridge;         /* name in the generated default; NULL: "cni0" */
	const char *ipam_dir;       /* host-local's data folder in the generated default; NULL: host-local's own */
	const char *const *direct_cidrs; /* destinations that see pods' own addresses; the rest sees the node's. NULL terminated; NULL: 10.0.0.0/8 */
	int timeout_ms;             /* of one plugin call; 0: 60 s */
	const char *node;           /* the tables of nf_tables bear its name, so that two nodes in one network namespace do not write each other's; NULL: none */
};
int network_new(const struct network_options *options, struct network **ret, struct error *err);
/* Takes NULL. Returns NULL. */
struct network *network_free(struct network *network);
/* Takes this node's tables from the kernel, where it is to run no more pods. */
int network_clean(struct network *network, struct error *err);

/*
 * 0 where a pod could be added now: a configuration reads and its plugins are there. Otherwise the message is that of
 * the node's Ready condition: "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady
 * message:Network plugin returns error: cni plugin not initialized" or what is wrong. Reads the folder; cheap.
 */
int network_ready(struct network *network, struct error *err);
/*
 * Pod CIDRs of this node (one, or one of each family). Where the folder has no configuration of somebody else, writes
 * 10-coracle.conflist (bridge + host-local + portmap + bandwidth: what the own network does without them), and has nf_tables masquerade what leaves for elsewhere (one rule a
 * family, not a chain a pod). Idempotent; rewrites its own file when the CIDRs change, and nf_tables' tables where they are gone.
 */
int network_set_pod_cidrs(struct network *network, const char *const *cidrs, size_t count, struct error *err);

struct network_port {
	const char *host_ip; /* NULL or "": all */
	uint16_t host_port;
	uint16_t container_port;
	const char *protocol; /* "TCP", "UDP", "SCTP"; NULL: TCP */
};
struct network_pod {
	const char *id; /* of the sandbox: CNI_CONTAINERID */
	const char *name;
	const char *namespace_;
	const char *uid;
	const char *netns; /* path of the pinned namespace; NULL on DEL where it is gone */
	const struct network_port *ports; /* only those with a host port are passed on */
	size_t port_count;
	int64_t ingress_bits_per_second; /* kubernetes.io/ingress-bandwidth; 0: none */
	int64_t egress_bits_per_second;
};
struct network_result {
	char *ips[NETWORK_MAX_IPS]; /* without prefix length, in the plugins' order: the first is status.podIP */
	size_t ip_count;
};
void network_result_done(struct network_result *result);

/* Also brings up loopback. On failure everything that was set up is taken down again. */
int network_pod_add(struct network *network, const struct network_pod *pod, struct network_result *ret, struct error *err);
/* Idempotent: a pod never added, or already gone, is success. */
int network_pod_del(struct network *network, const struct network_pod *pod, struct error *err);
/* 0 where the plugins say all is as ADD left it. */
int network_pod_check(struct network *network, const struct network_pod *pod, struct error *err);
/* IDs that have a kept result, for sweeping after a restart; NULL terminated, free each and the list. */
int network_cached_ids(struct network *network, char ***ret, struct error *err);

/* A plugin's answer to ADD, any spec version; open to the fuzzers. */
int network_result_parse(const char *json, size_t len, struct network_result *ret, struct error *err);

/* ---- network namespaces ---- */

/* Makes a network namespace and pins it at `path` (a file, made by this call). Loopback is up. */
int netns_create(const char *path, struct error *err);
/* Unpins; absent is success. */
int netns_remove(const char *path, struct error *err);
/*
 * socket(2) inside the namespace pinned at `path` (NULL: the host's): for port-forward and probes. Only the calling
 * thread enters, and is back when this returns. Gives a CLOEXEC fd or a negative errno.
 */
int netns_socket(const char *path, int domain, int type, int protocol, struct error *err);

struct netns_interface {
	char name[16];
	uint64_t rx_bytes, rx_packets, rx_errors, rx_dropped;
	uint64_t tx_bytes, tx_packets, tx_errors, tx_dropped;
};
/* Counters of its interfaces without lo; returns how many (at most max) or a negative errno. */
int netns_interfaces(const char *path, struct netns_interface *out, size_t max, struct error *err);

#endif
