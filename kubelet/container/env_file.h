/* SPDX-License-Identifier: Apache-2.0 */
/* Environment files of fileKeyRef: lines of NAME='value', whose value may go on over lines. */
#ifndef CORACLE_KUBELET_ENV_FILE_H
#define CORACLE_KUBELET_ENV_FILE_H

#include "common/base/arena.h"
#include "common/base/error.h"

#define ENV_FILE_MAX (1u << 20) /* bytes of a file */

/*
 * The value of `key`, in the arena; NULL where it is absent or empty. -EINVAL with the number of the line where the text before it is malformed: a
 * name without '=' or followed by a blank, a value without single quotes, text behind them that is no comment. A blank after '=' means no value.
 */
int env_file_find(const char *text, size_t len, const char *key, struct arena *arena, const char **ret, struct error *err);
/* The same of a file below `folder`, out of which neither `path` nor a link leads. */
int env_file_read(const char *folder, const char *path, const char *key, struct arena *arena, const char **ret, struct error *err);

#endif
