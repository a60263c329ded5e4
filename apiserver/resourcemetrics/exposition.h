/* SPDX-License-Identifier: Apache-2.0 */
/* The text exposition format of Prometheus (version 0.0.4), read sample by sample. */
#ifndef CORACLE_APISERVER_EXPOSITION_H
#define CORACLE_APISERVER_EXPOSITION_H

#include "common/base/base.h"

#define EXPOSITION_MAX_LABELS 16
#define EXPOSITION_MAX_LINE (64u << 10)

/* Names and values are NUL terminated and good during the callback. */
struct exposition_label {
	const char *name, *value;
};
struct exposition_sample {
	const char *name;
	struct exposition_label labels[EXPOSITION_MAX_LABELS];
	size_t label_count;
	double value;
	bool has_time;
	int64_t time_ms; /* since 1970 */
};
/* NULL where absent. */
const char *exposition_label(const struct exposition_sample *sample, const char *name);
/* Calls fn for each sample; comments and lines that are none are skipped. Returns how many lines were no samples though they should be. */
size_t exposition_read(const char *text, size_t len, void (*fn)(const struct exposition_sample *sample, void *arg), void *arg);

#endif
