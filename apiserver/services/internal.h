/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_APISERVER_SERVICES_INTERNAL_H
#define CORACLE_APISERVER_SERVICES_INTERNAL_H

#include "common/base/ip_range.h"
#include "apiserver/services/services.h"
#include "common/base/map.h"
#include "api/core_v1.h"

#include <pthread.h>

#define MAX_RANGES 64
#define LABEL_FAMILY "ipaddress.kubernetes.io/ip-family"
#define LABEL_MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define MANAGED_BY "ipallocator.k8s.io"

enum claim_kind { CLAIM_ADDRESS, CLAIM_PORT, CLAIM_KINDS };

struct repair;
struct allocator {
	struct apiserver *server;
	struct ip_range primary[2]; /* of the flags */
	char *primary_text[2];      /* in canonical form */
	size_t primary_count;
	int port_first, port_last;
	const struct resource *services, *addresses, *cidrs;
	struct collection *claims[CLAIM_KINDS], *endpoints;

	pthread_mutex_t lock; /* guards what follows; a leaf */
	struct map planned;   /* "10.0.0.1" or ":30001" that requests of this server are about to claim -> their write */
	struct ip_range ranges[MAX_RANGES]; /* of ServiceCIDRs; those that give out first */
	size_t range_count, ready_count;
	uint64_t ranges_revision;
	struct repair *repair;
};

/* ---- cidrs.c ---- */

/* Reads the ServiceCIDRs again where they changed. */
void ranges_refresh(struct allocator *a);
/* Copies those that give out addresses of a family. */
size_t ranges_ready(struct allocator *a, int family, struct ip_range *ret, size_t max);
/* True where some ServiceCIDR, in whatever state, contains it. */
bool ranges_contain(struct allocator *a, const char *ip);

/* ---- claims.c ---- */

/* Who a claim is for, as its object says; in `arena`. False where it is for no Service. */
bool claim_parent(const struct entry *entry, struct arena *arena, const char **ret_ns, const char **ret_name);
void claim_json(enum claim_kind kind, const char *key, const char *ns, const char *name, struct buf *out);
/* Its age in seconds by the wall clock. */
int64_t claim_age(const struct entry *entry, struct arena *arena);

/* ---- families.c ---- */

bool service_wants_address(const struct core_v1_service_spec *spec);
bool service_wants_health_port(const struct core_v1_service_spec *spec);
int service_fill_families(struct allocator *a, struct core_v1_service *service, const struct core_v1_service *old, struct error *err);

/* clusterIPs as JSON, for messages; the caller frees. */
char *service_addresses_text(const struct core_v1_service_spec *spec);
/* Calls fn for each address and port that a Service holds, as keys of their claims. NULL: none. */
void service_each_held(const struct core_v1_service *service, void (*fn)(enum claim_kind kind, const char *key, void *arg), void *arg);
bool service_holds(const struct core_v1_service *service, enum claim_kind kind, const char *key);

/* ---- repair.c ---- */

struct repair *repair_start(struct allocator *a);
void repair_stop(struct repair *repair);

/* ---- metrics.c ---- */

void metrics_allocated(enum claim_kind kind, const struct ip_range *range, bool requested, bool failed);
void metrics_repaired(enum claim_kind kind, const char *type);
void service_metrics_start(struct allocator *a);
void service_metrics_stop(struct allocator *a);

#endif
