/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine must be like before anything starts, and what this process asks of its kernel. */
#include "kubelet/node/node.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

#define SWAPS_MAX 65536

/* As Kubernetes wants them of a node: memory may be promised beyond what there is, a lack of it ends processes, and a kernel that cannot go on starts anew. */
static const struct {
	const char *name;
	int64_t value;
} wanted[] = {
	{"vm/overcommit_memory", 1},
	{"vm/panic_on_oom", 0},
	{"kernel/panic", 10},
	{"kernel/panic_on_oops", 1},
	{"kernel/keys/root_maxkeys", 1000000},
	{"kernel/keys/root_maxbytes", 25000000},
};

static int check_kernel(struct error *err) {
	for (size_t i = 0; i < array_len(wanted); i++) {
		autofree char *path = xprintf("/proc/sys/%s", wanted[i].name), *text = NULL;
		size_t len;
		if (file_read(AT_FDCWD, path, 64, &text, &len, NULL) < 0)
			continue;
		text[strcspn(text, "\n")] = '\0';
		if (atoll(text) != wanted[i].value)
			return error_set(err, EINVAL, "protect-kernel-defaults: kernel parameter %s is %s, want %lld", wanted[i].name, text, (long long)wanted[i].value);
	}
	return 0;
}

/* A head line stands above the areas in use. */
bool node_machine_swaps(const char *path) {
	autofree char *text = NULL;
	size_t len;
	if (file_read(AT_FDCWD, path, SWAPS_MAX, &text, &len, NULL) < 0)
		return false; /* a kernel without swap */
	const char *first = strchr(text, '\n');
	return first && first[strspn(first, " \n")];
}

static void raise_file_limit(int64_t most) {
	struct rlimit limit = {.rlim_cur = (rlim_t)most, .rlim_max = (rlim_t)most};
	if (setrlimit(RLIMIT_NOFILE, &limit) == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = min_of((rlim_t)most, limit.rlim_max);
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void set_oom_score(int64_t score) {
	char text[24];
	autoerror struct error err = {0};
	int len = snprintf(text, sizeof(text), "%lld", (long long)score);
	if (file_write(AT_FDCWD, "/proc/self/oom_score_adj", text, (size_t)len, 0, &err) < 0)
		log_debug(1, "the kernel keeps this process's oom_score_adj", LOG_ERR(&err));
}

int node_machine_prepare(const struct kubelet_options *options, int cgroup_version, struct error *err) {
	if (options->fail_swap_on && node_machine_swaps("/proc/swaps"))
		return error_set(err, EINVAL, "running with swap on: turn it off (swapoff -a), or say --fail-swap-on=false");
	if (options->fail_cgroup_v1 && cgroup_version == 1)
		return error_set(err, EINVAL, "fail-cgroupv1: the machine has version 1 of control groups");
	int r = options->protect_kernel_defaults ? check_kernel(err) : 0;
	if (r < 0)
		return r;
	raise_file_limit(options->max_open_files);
	set_oom_score(options->oom_score_adj);
	return 0;
}
