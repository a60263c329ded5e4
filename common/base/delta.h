/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One text told by another that it has much in common with, the model: what it copies from there, and what is new. For many small texts that are nearly
 * the same, in memory; not for files or for the wire.
 */
#ifndef CORACLE_BASE_DELTA_H
#define CORACLE_BASE_DELTA_H

#include "common/base/buf.h"

#define DELTA_MODEL_MAX 65535 /* bytes; what stands behind in a longer model is not used */

/* Appends to `out`. An empty model is one too. */
void delta_encode(const void *model, size_t model_len, const void *text, size_t len, struct buf *out);
/* Appends the text. -EINVAL where the delta is none of this model; memory is taken up to the maximum of `out` at most. */
int delta_decode(const void *model, size_t model_len, const void *delta, size_t len, struct buf *out);

#endif
