/* SPDX-License-Identifier: Apache-2.0 */
/* State files as Kubernetes' resource managers keep them: JSON with a checksum (hash_fnv32) over a text that shows all but the checksum. */
#ifndef CORACLE_KUBELET_CHECKPOINT_H
#define CORACLE_KUBELET_CHECKPOINT_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <jansson.h>

#define CHECKPOINT_MAX (64u << 20)

/* -ENOENT where there is none, -EBADMSG where it is no object or was not written for this policy. Its sum is the caller's to check: checkpoint_check(). */
int checkpoint_read(const char *path, const char *policy, json_t **ret, struct error *err);
/* True where it has no sum, or that one. */
bool checkpoint_check(const json_t *state, uint32_t sum);
/* Names of an object, sorted; NULL terminated; free the list alone. */
const char **checkpoint_names(const json_t *object);
/* Durably. */
int checkpoint_write(const char *path, const json_t *state, struct error *err);
/* "could not restore state ...": what is said of a file that does not fit. Returns -errnum of err. */
int checkpoint_refuse(const char *path, const char *what, struct error *err);

#endif
