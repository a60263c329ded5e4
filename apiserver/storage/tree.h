/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counted B+ tree of entries, sorted by key, that shares its nodes between versions: a root is a version, and whoever holds one sees it
 * unchanged for ever. A change copies only those nodes on its path that somebody else holds too. Positions are counted, so an
 * entry is found by key and by index alike.
 *
 * Reading a held root needs no lock. A root variable itself (struct tree *) is guarded by its owner. NULL is the empty tree.
 */
#ifndef CORACLE_APISERVER_STORAGE_TREE_H
#define CORACLE_APISERVER_STORAGE_TREE_H

#include "apiserver/storage/store.h"

struct tree;

struct tree *tree_ref(struct tree *tree);
/* Takes NULL. */
void tree_unref(struct tree *tree);
size_t tree_len(const struct tree *tree);
/* Borrowed; NULL where absent. */
struct entry *tree_get(const struct tree *tree, const char *key);
/* Borrowed; position < tree_len(). */
struct entry *tree_at(const struct tree *tree, size_t position);
/* The next entry of a walk (snapshot_scan_next()). The leaves hold the entries' marks too, so that who has them not is passed over unseen. */
struct entry *tree_next(const struct tree *tree, struct snapshot_scan *scan);
/* The first position whose key is not less. */
size_t tree_lower_bound(const struct tree *tree, const char *key);
/* Takes the entry over, in place of the one with the same key; returns that one, the caller's now, or NULL. */
struct entry *tree_set(struct tree **tree, struct entry *take_entry);
/* Returns what was removed, the caller's now, or NULL. */
struct entry *tree_remove(struct tree **tree, const char *key);

#endif
