/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_IMAGE_INTERNAL_H
#define CORACLE_IMAGE_INTERNAL_H

#include "common/base/buf.h"
#include "common/image/image.h"
#include "common/image/json.h"

#include <pthread.h>

#define HEX_LEN 64
#define MAX_RECORD (IMAGE_MAX_MANIFEST + (1 << 20))

/* One image as its record file tells it. Immutable once read. */
struct record {
	char *id; /* "sha256:<hex>" */
	char **tags;
	char **digests;
	char *manifest;  /* digest */
	char **blobs;    /* digests of the layers as they came */
	char **chains;   /* hex */
	uint64_t size;
	bool pinned;
	int64_t loaded_ns; /* since 1970 */
	json_t *config;    /* the parts of the config we use, in OCI's form */
};

struct record_list {
	struct record **items;
	size_t len;
};

struct image_store {
	char *root;
	int root_fd;
	pthread_mutex_t cache_lock;
	struct record_list cache; /* of the records; good while images/ has this change time */
	int64_t cache_mtime_ns;
	int64_t cache_read_ns;
	bool cache_valid;
};

/* ---- locks: released by closing the fd ---- */
int store_lock(struct image_store *store, bool exclusive, int *ret_fd, struct error *err);
/* `wait` false: -EWOULDBLOCK where somebody adds content. */
int store_lock_content(struct image_store *store, bool exclusive, bool wait, int *ret_fd, struct error *err);

/* ---- records ---- */
struct record *record_free(struct record *record);
int record_parse(const char *json, size_t len, struct record **ret, struct error *err);
char *record_format(const struct record *record);
void record_list_done(struct record_list *list);
/* Reads all; the caller holds the lock, or does not mind a change meanwhile (each file is whole). */
int records_read(struct image_store *store, struct record_list *ret, struct error *err);
/* The one that `reference` names; NULL where none. *ret_ambiguous (may be NULL) is set where a short ID fits several. */
struct record *records_find(const struct record_list *list, const char *reference, bool *ret_ambiguous);
int record_save(struct image_store *store, const struct record *record, struct error *err);
/* Adds an image, or names to one that is there; names move here from others. The record's size etc. come from `record`. */
int record_add(struct image_store *store, const struct record *record, struct error *err);
struct image *record_to_image(struct image_store *store, const struct record *record);

/* ---- content ---- */
char *blob_path(const struct image_store *store, const char *digest);
char *layer_path(const struct image_store *store, const char *chain_hex);
/* "sha256:" and 64 lower-case hex digits. */
bool digest_valid(const char *digest);
/* A private folder under tmp/; remove it with file_remove_all. The caller frees the path. */
int store_make_temp(struct image_store *store, char **ret, struct error *err);
/*
 * From a folder in OCI layout (blobs shared with the store): reads manifest and config, unpacks missing layers, and adds the record with the
 * names given (either may be NULL). The caller holds the content lock shared.
 */
int store_import(struct image_store *store, const char *layout, char *const *tags, const char *digest_name, struct image **ret, struct error *err);
/* Unpacks layer `index` where its chain is missing. */
int layer_unpack(struct image_store *store, char *const *chains, size_t index, const char *blob, const char *diff_id, struct error *err);
/* As image_apply_layer; also gives the digest of the uncompressed tar, and what it took. */
int layer_apply(int fd, int root_fd, uint64_t max_bytes, char ret_diff_id[HEX_LEN + 8], uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err);
/* Deletes blobs and layers that no record names. Holds both locks: lock exclusive by the caller, content exclusive. */
int content_sweep(struct image_store *store, uint64_t *ret_freed, struct error *err);
/* What a layer took when it was unpacked. */
void layer_usage(const struct image_store *store, const char *chain_hex, uint64_t *ret_bytes, uint64_t *ret_inodes);

/* Runs skopeo with these arguments; output in `out` (may be NULL). Errors are classified as image_pull says. */
int skopeo_run(const char *const *argv, const struct image_pull_options *options, struct buf *out, void (*on_line)(const char *line, void *arg),
	void *arg, struct error *err);

/* ---- lists of strings ---- */
char **strv_from_json(json_t *array);
json_t *strv_to_json(char *const *list);
bool strv_has(char *const *list, const char *s);
void strv_add(char ***list, const char *s);
void strv_remove(char **list, const char *s);
char **strv_copy(char *const *list);

int config_from_json(json_t *root, struct image_config *ret, char ***ret_diff_ids, struct error *err);

#endif
