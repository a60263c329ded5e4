/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells when files change: their folders are watched by inotify, since files are mostly replaced (a rename, a volume's link swapped), and each file is looked at every
 * minute besides, for what its folder does not show: the target of a link, a mount that came.
 */
#ifndef CORACLE_BASE_FILE_WATCH_H
#define CORACLE_BASE_FILE_WATCH_H

#include "common/base/loop.h"

#define FILE_WATCH_MAX 256 /* files of one watch; more are not looked at */

struct file_watch;
/*
 * Calls fn(arg) on the loop's thread, which must not be the caller's or not run yet, a moment after one of the files has changed: another file, size or time. What changed between the
 * caller's own reading and this call may go unseen: so start first, and then read. Paths that are NULL or "" are left out.
 */
struct file_watch *file_watch_start(struct loop *loop, const char *const *paths, size_t count, void (*fn)(void *arg), void *arg);
/* fn has returned and is called no more. Not on the loop's thread, which must run. Takes NULL. */
void file_watch_stop(struct file_watch *watch);

#endif
