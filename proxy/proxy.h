/* SPDX-License-Identifier: Apache-2.0 */
/* The proxy as a whole: informers in front, the kernel's table behind. */
#ifndef CORACLE_PROXY_PROXY_H
#define CORACLE_PROXY_PROXY_H

#include "common/daemon/daemon.h"

struct proxy_options {
	struct daemon_options common;
	char *kubeconfig, *node_name, *ignored;
	struct flag_list cluster_cidrs;
	bool masquerade_all, node_routes, cleanup;
};

struct proxy;
/* Connects and starts its threads; readiness is told to the daemon once the first table stands. options must outlive it. */
int proxy_start(struct daemon *daemon, const struct proxy_options *options, struct proxy **ret, struct error *err);
/* Joins the threads. The table stays: services go on working while the proxy is away. Takes NULL. */
void proxy_stop(struct proxy *proxy);
/* Removes table and routes of this network namespace. */
int proxy_clean_up(struct error *err);

#endif
