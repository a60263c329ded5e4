/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_KUBELET_NETWORK_INTERNAL_H
#define CORACLE_KUBELET_NETWORK_INTERNAL_H

#include "common/base/buf.h"
#include "common/base/ip_range.h"
#include "common/base/map.h"
#include "common/image/json.h"
#include "kubelet/network/network.h"

#include <net/if.h>
#include <pthread.h>

#define OWN_NAME "coracle"
#define OWN_CONFLIST "10-coracle.conflist"
#define POD_INTERFACE "eth0"
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
	char *pods_table, *ports_table; /* their names in nf_tables */
	char *masquerade_script;    /* the rules that were last set, and the kernel's number of the table that they made */
	uint64_t masquerade_handle;
	pthread_mutex_t ports_lock; /* holds what follows */
	struct map ports;           /* of pods of the own network that have some: ID of the sandbox to its kept result, json_t */
	uint64_t ports_handle;      /* the kernel's number of their table; 0: not written yet */
};

/* Reads a configuration list, or a single plugin's configuration made into one. *ret: {"name", "cniVersion", "plugins": [...]}, checked. */
int conf_parse(const char *json, size_t len, json_t **ret, struct error *err);
/* The first configuration of the folder, by name; our own (*ret_own) only where there is no other. -ENOENT where there is none. */
int conf_load(const struct network *network, json_t **ret, bool *ret_own, struct error *err);
/* Whole path of a plugin's program; the caller frees; NULL where no folder has it. */
char *conf_find_plugin(const struct network *network, const char *type);
/* Writes the nf_tables rules for pods' traffic that leaves the cluster. 1 where they were written, 0 where they stand already. */
int masquerade_set(struct network *network, const char *const *cidrs, size_t count, struct error *err);

/* ---- nf_tables ---- */

/* The kernel's number of a table of family inet, another one each time it is made; 0 where there is none. One question, so that it can be asked often. */
uint64_t nft_table_handle(const char *name);
/* Runs the script as one transaction. */
int nft_run(const struct buf *script, struct error *err);

/* Deletes it, where it is there. */
int nft_delete_table(const char *name, struct error *err);

/* ---- the own network, in process ---- */

#define MAX_POD_ADDRESSES 8
struct pod_address {
	struct ip_range range;
	char ip[INET6_ADDRSTRLEN];
	char gateway[INET6_ADDRSTRLEN];
};

/* Link, addresses and routes by our own configuration. What a failure leaves, in_process_del() takes down. */
int in_process_add(struct network *network, json_t *conf, const char *id, const char *netns, json_t **ret_result, struct error *err);
/* Host ports, link and addresses; idempotent. */
int in_process_del(struct network *network, const char *id, struct error *err);
int in_process_check(struct network *network, json_t *result, const char *id, const char *netns, struct error *err);

/* The next free address of the range, kept for the sandbox; `index`: of the range among the node's. ret_ip: INET6_ADDRSTRLEN bytes. -ENOSPC where none is left. */
int addresses_give(const struct network *network, const struct ip_range *range, size_t index, const char *id, char *ret_ip, struct error *err);
bool addresses_has(const struct network *network, const char *ip, const char *id);
/* Frees those whose owner is `wanted` (with the folder locked); owner "": a file that names none. Returns how many. */
int addresses_take(const struct network *network, bool (*wanted)(const char *owner, void *arg), void *arg, struct error *err);

/* Makes the bridge where it lacks, and a pod's link on it. */
int links_add(const struct network *network, const char *id, const char *netns, const struct pod_address *addresses, size_t count, struct error *err);
int links_remove(const char *id, struct error *err);
int links_check(const char *id, const char *netns, struct error *err);
/* The host's end of a pod's link. */
void links_host_name(const char *id, char name[IF_NAMESIZE]);
/* Lets connections from 127.0.0.1 come through to pods. */
void links_let_localhost(const struct network *network);

/* `entry`: what the cache keeps, with "arguments" and "result". Entries without port mappings are nothing to do. note: known, but not written yet. */
void host_ports_note(struct network *network, const char *id, json_t *entry);
int host_ports_add(struct network *network, const char *id, json_t *entry, struct error *err);
int host_ports_remove(struct network *network, const char *id, struct error *err);
/* Writes the table anew where it is not as it was left. */
int host_ports_keep(struct network *network, struct error *err);

/* Writes a file of /proc/sys/net as a thread in the namespace sees it, where it says something else. */
void netns_setting(const char *netns, const char *path, const char *value);

#endif
