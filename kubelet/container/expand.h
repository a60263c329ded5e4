/* SPDX-License-Identifier: Apache-2.0 */
/* $(VAR) references in commands, arguments, environment values and subPathExpr, as the Kubernetes documentation defines them. */
#ifndef CORACLE_KUBELET_EXPAND_H
#define CORACLE_KUBELET_EXPAND_H

#include "common/base/buf.h"

/* The value of `name`, borrowed, or NULL where it is not defined. */
typedef const char *(*expand_lookup)(const char *name, void *arg);

/*
 * Appends `in` with every $(NAME) that `lookup` knows replaced. One that is not known stays as written; $$ gives $.
 * Returns how many references were not known.
 */
size_t expand_variables(struct buf *out, const char *in, expand_lookup lookup, void *arg);

#endif
