/* SPDX-License-Identifier: Apache-2.0 */
/* Answers of upstream servers, kept for as long as they allow, in bounds. One thread (each server thread has its own). */
#ifndef CORACLE_DNS_CACHE_H
#define CORACLE_DNS_CACHE_H

#include "dns/wire.h"

#define CACHE_ENTRIES_MAX 10000
#define CACHE_BYTES_MAX (4u << 20)
#define CACHE_TTL_MAX 30   /* seconds, as Kubernetes' CoreDNS is set up */
#define CACHE_ERROR_TTL 5  /* answers without a SOA that says how long they hold */

struct cache;
struct cache *cache_new(void);
void cache_free(struct cache *cache);
/* Keeps a copy of the answer, where it may be kept: NOERROR or NXDOMAIN, not truncated. */
void cache_put(struct cache *cache, const struct dns_question *question, const uint8_t *answer, size_t len);
/* Writes the kept answer with the asker's id and case, and what is left of each TTL. Returns its length; 0 where there is none, or where it does not fit in max. */
size_t cache_get(struct cache *cache, const struct dns_question *question, uint8_t *out, size_t max);

#endif
