/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of the cluster, after the DNS specification of Kubernetes (schema version 1.1.0): services, endpoints of headless services,
 * ports (SRV), external names (CNAME), pods by address, and addresses backwards (PTR). Records are kept in wire form, by name.
 *
 * Updates come from informers' threads, answers are read by the servers' threads; a lock lets readers run side by side.
 */
#ifndef CORACLE_DNS_ZONE_H
#define CORACLE_DNS_ZONE_H

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "dns/wire.h"

#define ZONE_TTL 5 /* seconds; as CoreDNS answers for Kubernetes */

struct zone;
/* domain: "cluster.local", in any case, without a dot at the end. */
struct zone *zone_new(const char *domain);
void zone_free(struct zone *zone);

/* Takes the Service with its slices as the new truth for "ns/name"; service NULL: it is gone. */
void zone_set_service(struct zone *zone, const char *key, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count);
/* Pod names (1-2-3-4.ns.pod.domain) exist in existing namespaces only. */
void zone_set_namespace(struct zone *zone, const char *ns, bool exists);
/* Before that every name of the zone is answered with SERVFAIL: an empty cache must not say NXDOMAIN. Thread safe. */
void zone_set_ready(struct zone *zone);
bool zone_is_ready(const struct zone *zone);
size_t zone_record_count(struct zone *zone);

enum zone_result {
	ZONE_ANSWERED,  /* the message is in out */
	ZONE_NOT_OURS,  /* forward it */
	ZONE_EXTERNAL,  /* an external name: ask for `*ret_target` elsewhere and put a CNAME in front */
};
/* Answers into out[max]. *ret_len is the message's length; ret_target (DNS_NAME_TEXT_MAX bytes) is set with ZONE_EXTERNAL. */
enum zone_result zone_answer(struct zone *zone, const struct dns_question *question, uint8_t *out, size_t max, size_t *ret_len, char *ret_target);

#endif
