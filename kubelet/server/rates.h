/* SPDX-License-Identifier: Apache-2.0 */
/* From counters to rates: what a counter grew by, a second, between two looks at it. Thread safe. */
#ifndef CORACLE_KUBELET_SERVER_RATES_H
#define CORACLE_KUBELET_SERVER_RATES_H

#include "common/base/base.h"

#define RATES_WINDOW_NS (5 * NSEC_PER_SEC)   /* looks closer together than that tell what the last one told */
#define RATES_FORGET_NS (600 * NSEC_PER_SEC) /* since the last look */

struct rates;
struct rates *rates_new(void);
/* Takes NULL. */
void rates_free(struct rates *rates);
/*
 * What `key` grew by in a second, with `total` its count now. Before there are two looks it is the average since `age_ns` ago, when the count began at
 * zero; so too after it has begun anew.
 */
uint64_t rates_look(struct rates *rates, const char *key, uint64_t total, int64_t age_ns, int64_t now_ns);
/* Forgets what nobody has looked at for long. */
void rates_sweep(struct rates *rates, int64_t now_ns);

#endif
