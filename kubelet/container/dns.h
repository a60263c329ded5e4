/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in a pod's resolv.conf: dnsPolicy and dnsConfig over the cluster's and the node's settings. */
#ifndef CORACLE_KUBELET_DNS_H
#define CORACLE_KUBELET_DNS_H

#include "common/base/arena.h"
#include "common/base/error.h"

#define DNS_MAX_NAMESERVERS 3
#define DNS_MAX_SEARCHES 32
#define DNS_MAX_SEARCH_CHARS 2048
#define DNS_MAX_OPTIONS 64
#define DNS_MAX_RESOLV_CONF 65536 /* bytes of a resolv.conf we read */

/* Lists are NULL terminated; strings live in the caller's arena. */
struct dns_config {
	const char *servers[DNS_MAX_NAMESERVERS + 1];
	const char *searches[DNS_MAX_SEARCHES + 1];
	const char *options[DNS_MAX_OPTIONS + 1];
	size_t server_count, search_count, option_count;
};

enum dns_policy { DNS_CLUSTER_FIRST, DNS_DEFAULT, DNS_NONE };

/* Reads the text of a resolv.conf. Lines that mean nothing are passed over. */
void dns_parse_resolv_conf(const char *text, struct arena *arena, struct dns_config *ret);
/* The search list and options of the cluster, then those of the host. host may be NULL. */
void dns_cluster_first(const char *const *cluster_servers, size_t count, const char *ns, const char *cluster_domain, const struct dns_config *host, struct arena *arena, struct dns_config *ret);
/* Each adds one entry unless it is there or the limit is reached; returns false where it did not fit. */
bool dns_add_server(struct dns_config *config, const char *server);
bool dns_add_search(struct dns_config *config, const char *search);
/* An option "name:value" replaces one of the same name. */
bool dns_set_option(struct dns_config *config, struct arena *arena, const char *name, const char *value);

#endif
