/* SPDX-License-Identifier: Apache-2.0 */
/* What presses on a node: signals that can be observed, and thresholds that operators set on them. */
#ifndef CORACLE_KUBELET_SIGNALS_H
#define CORACLE_KUBELET_SIGNALS_H

#include "kubelet/kubelet.h"

enum signal_kind { SIGNAL_MEMORY, SIGNAL_ALLOCATABLE_MEMORY, SIGNAL_NODEFS, SIGNAL_NODEFS_INODES, SIGNAL_IMAGEFS, SIGNAL_IMAGEFS_INODES, SIGNAL_PIDS, SIGNAL_KINDS };
enum pressure_kind { PRESSURE_MEMORY, PRESSURE_DISK, PRESSURE_PIDS, PRESSURE_KINDS };

struct signal_row {
	const char *name;     /* as operators write it; NULL: derived */
	const char *resource; /* as messages name it */
	enum pressure_kind pressure;
};
extern const struct signal_row signal_rows[SIGNAL_KINDS];

struct observation {
	bool known; /* this node can tell */
	int64_t available, capacity;
};
/* All signals at this moment. */
void signals_observe(struct kubelet *kubelet, struct observation ret[SIGNAL_KINDS]);

#define MAX_THRESHOLDS 32
struct threshold {
	enum signal_kind signal;
	bool hard;
	char *text;          /* quantity or percentage */
	char *min_reclaim;   /* the same; NULL: none */
	int64_t grace_ns;    /* of a soft one */
};
/* Reads the options. Returns how many, or a negative errno with the reason. */
int thresholds_parse(const struct kubelet_options *options, struct threshold ret[MAX_THRESHOLDS], struct error *err);
void thresholds_done(struct threshold *thresholds, int count);
/* The threshold's quantity on what was observed, `reclaim` of it added where asked for. */
int64_t threshold_quantity(const struct threshold *threshold, const struct observation *seen, bool with_reclaim);

#endif
