/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_KUBELET_NETWORK_INTERNAL_H
#define CORACLE_KUBELET_NETWORK_INTERNAL_H

#include "common/image/json.h"
#include "kubelet/network/network.h"

#include <pthread.h>

#define OWN_CONFLIST "10-coracle.conflist"
#define MAX_CONF (1 << 20)
#define MAX_PLUGINS 16
#define MAX_BIN_DIRS 8

struct network {
	char *conf_dir;
	char *cache_dir;
	char *bridge;
	char *ipam_dir;
	char *bin_dirs[MAX_BIN_DIRS];
	size_t bin_dir_count;
	char *bin_path; /* "a:b", for CNI_PATH */
	char **direct_cidrs; /* NULL terminated */
	int timeout_ms;
	int calls_fd; /* a fifo that every plugin holds open while it runs, and all that it starts */
	pthread_mutex_t conf_lock; /* one writer of our own conflist; holds what follows */
	char *masquerade_script;    /* the rules that were last set, and the kernel's number of the table that they made */
	uint64_t masquerade_handle;
};

/* Reads a configuration list, or a single plugin's configuration made into one. *ret: {"name", "cniVersion", "plugins": [...]}, checked. */
int conf_parse(const char *json, size_t len, json_t **ret, struct error *err);
/* The first configuration of the folder, by name. -ENOENT where there is none. */
int conf_load(const struct network *network, json_t **ret, struct error *err);
/* Whole path of a plugin's program; the caller frees; NULL where no folder has it. */
char *conf_find_plugin(const struct network *network, const char *type);
/* Writes the nf_tables rules for pods' traffic that leaves the cluster. 1 where they were written, 0 where they stand already. */
int masquerade_set(struct network *network, const char *const *cidrs, size_t count, struct error *err);

#endif
