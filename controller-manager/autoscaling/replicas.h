/* SPDX-License-Identifier: Apache-2.0 */
/* From values and targets to a number of replicas. Values are in thousandths. */
#ifndef CORACLE_CONTROLLER_MANAGER_REPLICAS_H
#define CORACLE_CONTROLLER_MANAGER_REPLICAS_H

#include "common/api/selector.h"
#include "controller-manager/autoscaling/metric.h"

#include "api/core_v1.h"

/* Ratios of use to target within [1 - down, 1 + up] are worth no change. */
struct tolerance {
	double up, down;
};

/* What the numbers are of: the pods of one target. */
struct replicas_of {
	const struct informer_list *pods; /* all that the selector matches */
	int32_t current;                  /* spec.replicas of the target */
	struct tolerance tolerance;
	const char *resource;             /* "cpu" has rules for pods that start; NULL: not a resource */
	const char *container;            /* one container of each pod alone; NULL: all */
	int64_t cpu_initialization_ns, initial_readiness_ns;
};

/* By use in per cent of what the pods request. *ret_percent, *ret_average: as measured, over the pods that have a value. */
int replicas_by_utilization(const struct replicas_of *of, struct metric_values *values, int32_t target_percent, int32_t *ret, int32_t *ret_percent, int64_t *ret_average, struct error *err);
/* By the average value of a pod. */
int replicas_by_average(const struct replicas_of *of, struct metric_values *values, int64_t target, int32_t *ret, int64_t *ret_average, struct error *err);
/* By one value for all pods together. */
int replicas_by_value(const struct replicas_of *of, int64_t value, int64_t target, int32_t *ret, struct error *err);
/* By one value that the pods share: `running` are there (status.replicas). */
int32_t replicas_by_share(int32_t running, struct tolerance tolerance, int64_t value, int64_t target, int64_t *ret_average);

#endif
