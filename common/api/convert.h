/* SPDX-License-Identifier: Apache-2.0 */
/* Conversion between the served versions of one kind: Event (core/v1, events.k8s.io/v1), HorizontalPodAutoscaler (v1, v2). */
#ifndef CORACLE_API_CONVERT_H
#define CORACLE_API_CONVERT_H

#include "common/api/api.h"

/* True where an object of type `from` can become one of `to` (also where they are the same). */
bool api_convertible(const struct api_type *from, const struct api_type *to);
/* A new object of the target type, or a reference to the same where it already is of it. -ENOTSUP where they are strangers. */
int api_convert(const void *object, const struct api_type *target, void **ret, struct error *err);

#endif
