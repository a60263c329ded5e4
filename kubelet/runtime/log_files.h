/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of a log: what was rotated away stands beside it as <log>.<time>, and as <log>.<time>.gz once it is compressed.
 *
 *	0.log                      being written
 *	0.log.20060102-150405      the one before, plain, as somebody may still read it
 *	0.log.20060102-150300.gz   older ones
 */
#ifndef CORACLE_KUBELET_LOG_FILES_H
#define CORACLE_KUBELET_LOG_FILES_H

#include "common/base/base.h"

#define LOG_STAMP_LEN 32

struct log_file {
	char *path;
	char stamp[LOG_STAMP_LEN]; /* when it was rotated; orders as text */
	bool compressed;
};
struct log_files {
	struct log_file *items;
	size_t len;
};
/* Rotated files of a log, oldest first; those being compressed are left out. */
void log_files_list(const char *log, struct log_files *ret);
void log_files_done(struct log_files *files);
#define autologfiles cleanup(log_files_done)

/* What a log that is rotated now is called; the caller frees. */
char *log_files_name(const char *log);

#endif
