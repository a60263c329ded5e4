/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_STRATEGY_TABLE_H
#define CORACLE_APISERVER_STRATEGY_TABLE_H

#include "apiserver/strategy/strategy.h"

/* NULL terminated lists of rows. */
extern const struct strategy *const strategies_core[];
extern const struct strategy *const strategies_workloads[];
extern const struct strategy *const strategies_pods[];
extern const struct strategy *const strategies_policy[];
extern const struct strategy *const strategies_other[];
extern const struct strategy *const strategies_claims[];

#endif
