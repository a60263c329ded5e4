/* SPDX-License-Identifier: Apache-2.0 */
/* Files: read whole within a bound, replaced durably, removed as trees without following links. All fds are CLOEXEC. */
#ifndef CORACLE_BASE_FILE_H
#define CORACLE_BASE_FILE_H

#include "common/base/buf.h"
#include "common/base/error.h"

#include <sys/stat.h>
#include <sys/types.h>

/* Reads all of `path` (relative to dirfd, or AT_FDCWD). -EFBIG where it holds more than `max` bytes. Result is NUL terminated, the caller's to free. */
int file_read(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len, struct error *err);
/* Writes to a temporary file beside it, fsyncs, renames, fsyncs the folder: after success it is there whole, before it the old one is. */
int file_write_durable(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct error *err);
/* Plain write (truncate), for /proc, /sys, cgroups and files that need not survive a crash. */
int file_write(int dirfd, const char *path, const void *data, size_t len, mode_t mode, struct error *err);
/* mkdir -p; exists already is success. */
int file_mkdir_all(const char *path, mode_t mode, struct error *err);
/* rm -rf; absent is success. Never follows a symlink and never crosses into another mounted file system. */
int file_remove_all(const char *path, struct error *err);
/*
 * Cuts all regular files below a folder to nothing, as far as it can: frees their space even where somebody holds them, by a copy of a mount, say. Never
 * follows a symlink and never crosses into another mounted file system. What they hold is lost under all their names.
 */
void file_empty_all(const char *path);
bool file_exists(const char *path);
/* "a/b" from its parts with one slash between; the caller frees. */
char *path_join(const char *first, ...) __attribute__((sentinel));

#endif
