/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions that choose devices (resource.k8s.io): what they may speak of, and what they may come to. */
#ifndef CORACLE_CEL_DEVICE_H
#define CORACLE_CEL_DEVICE_H

#include "common/cel/cel.h"

#define DEVICE_EXPRESSION_LENGTH ((size_t)10 << 10) /* bytes, at most */
#define DEVICE_EXPRESSION_COST 1000000u             /* of one, at most: cel_program_max_cost() must not be above, and no evaluation may be */

/*
 * In terms of `device`: driver, attributes[domain].name, capacity[domain].name, allowMultipleAllocations. -EINVAL where the text is no expression that may come to a bool,
 * in words for who wrote it. Any thread.
 */
int device_expression_compile(const char *expression, struct cel_program **ret, struct error *err);

#endif
