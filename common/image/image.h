/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The image store: OCI images on disk, loaded from archives or pulled from registries, unpacked once, mounted with
 * overlayfs. It needs no cluster and no daemon: kubelet and the cli open the same folder at the same time, kept apart
 * by file locks. Thread safe; every call may block (disk, or the network where it says so).
 *
 *	<root>/lock            flock: shared to read records, exclusive to change them
 *	<root>/content.lock    flock: shared while content is being added, exclusive to delete content
 *	<root>/images/<hex>    one JSON record an image, named by its ID (the digest of its config)
 *	<root>/blobs/sha256/   content by digest, shared by all images and tags
 *	<root>/layers/<hex>/fs a layer unpacked over the ones below it, named by its chain ID, shared by all images
 *	<root>/leases/<hex>.X  image <hex> is used by X, and is neither removed nor collected
 *	<root>/tmp/            downloads in progress; left-overs are swept on open
 *
 * A reference is what users write: "busybox", "quay.io/a/b:v1", "repo@sha256:...", or an image ID, whole or a
 * unique beginning of at least 12 hex digits.
 */
#ifndef CORACLE_IMAGE_IMAGE_H
#define CORACLE_IMAGE_IMAGE_H

#include "common/base/clock.h"
#include "common/base/error.h"

#define IMAGE_ROOT_DEFAULT "/var/lib/coracle/images"
#define IMAGE_MAX_LAYERS 127
#define IMAGE_MAX_MANIFEST (4 << 20) /* bytes of a manifest, index or config; more is refused */

/* ---- names ---- */

struct image_reference {
	char *repository; /* "docker.io/library/busybox": registry and path, always whole */
	char *tag;        /* NULL where a digest alone was given */
	char *digest;     /* "sha256:<64 hex>"; NULL where none was given */
};
/* Normalises: adds docker.io, library/ and :latest. Returns 0 or -EINVAL (message as Kubernetes gives: couldn't parse image reference "X": ...). */
int image_reference_parse(const char *text, struct image_reference *ret, struct error *err);
void image_reference_done(struct image_reference *reference);
/* "repository[:tag][@digest]"; the caller frees. */
char *image_reference_format(const struct image_reference *reference);

/* ---- images ---- */

struct image_config {
	char **entrypoint; /* each list NULL terminated, never NULL itself */
	char **cmd;
	char **env;        /* "NAME=value" */
	char **volumes;    /* paths the image declares as volumes */
	char *user;        /* "uid", "uid:gid", "name", "name:group"; "" = root */
	char *working_dir; /* "" = "/" */
	char *stop_signal; /* "SIGTERM", "15", ...; "" = SIGTERM */
	char *os;
	char *architecture;
};

/* A snapshot of one image, the caller's own. */
struct image {
	char *id;       /* "sha256:<hex>": digest of the config */
	char **tags;    /* whole names with tag: "docker.io/library/busybox:latest"; NULL terminated; may be empty */
	char **digests; /* whole names with digest, as the registry gave them; NULL terminated; may be empty */
	uint64_t size;  /* bytes of manifest, config and layers, as CRI reports it */
	bool pinned;    /* never collected */
	struct wall_time loaded;    /* when it came into the store */
	struct wall_time last_used; /* last lease taken or given up; `loaded` where never used */
	char **layers;  /* chain IDs as hex, lowest first; NULL terminated */
	struct image_config config;
};
/* Takes NULL. Returns NULL. */
struct image *image_free(struct image *image);
static inline void cleanup_image(struct image **image) {
	*image = image_free(*image);
}
#define autoimage cleanup(cleanup_image)
/* What status.containerStatuses[].imageID shows: the first repository digest, else the ID. Borrowed. */
const char *image_status_id(const struct image *image);

struct image_list {
	struct image **items;
	size_t len;
};
void image_list_done(struct image_list *list);

/* ---- the store ---- */

struct image_store;
/* Makes the folders where missing. root NULL: IMAGE_ROOT_DEFAULT. */
int image_store_open(const char *root, struct image_store **ret, struct error *err);
/* Takes NULL. Returns NULL. */
struct image_store *image_store_close(struct image_store *store);
const char *image_store_root(const struct image_store *store);

/* -ENOENT where no image answers to the reference. */
int image_get(struct image_store *store, const char *reference, struct image **ret, struct error *err);
int image_list(struct image_store *store, struct image_list *ret, struct error *err);

/*
 * Loads every image of an archive: docker-archive (docker save), oci-archive, either compressed, or a folder in OCI
 * layout. `name` (may be NULL) names an image that the archive does not name. ret (may be NULL) gets what was loaded.
 */
int image_load(struct image_store *store, const char *path, const char *name, struct image_list *ret, struct error *err);

struct image_pull_options {
	const char *username; /* NULL: from auth_json, else anonymous */
	const char *password;
	const char *auth_json;      /* content of a docker config.json ({"auths":...}); goes to a private file for the time of the pull */
	const char *policy_path;    /* signature policy; NULL: the system's /etc/containers/policy.json, where that is missing accept anything */
	const char *registries_dir; /* folder of certificates by host, as docker's certs.d; NULL: the system's */
	bool insecure;              /* plain http and unverified TLS allowed */
	int timeout_ms;             /* 0: no limit */
	const int *cancel_fd;       /* NULL: none; readable = give up with -ECANCELED */
	void (*progress)(uint64_t done, uint64_t total, void *arg); /* layers; called from the calling thread; may be NULL */
	void *progress_arg;
};
/*
 * Network. Where the registry's digest is here already nothing is downloaded. Errors, by errnum and by the `reason` of err:
 *   -EINVAL       InvalidImageName          -ENOENT       ErrImagePull (manifest unknown, or repository does not exist)
 *   -EACCES       ErrImagePull (unauthorized)        -EHOSTUNREACH RegistryUnavailable
 *   -EPERM        SignatureValidationFailed          -ETIMEDOUT / -ECANCELED / -ENOSPC / -EIO  ErrImagePull
 */
int image_pull(struct image_store *store, const char *reference, const struct image_pull_options *options, struct image **ret, struct error *err);

/* Gives an image one more name; a name that another image had moves. */
int image_tag(struct image_store *store, const char *reference, const char *name, struct error *err);
int image_set_pinned(struct image_store *store, const char *reference, bool pinned, struct error *err);
/*
 * By a name: takes the name away, and the image with its last name. By ID: the image with all names. -EBUSY while it
 * is leased, -ENOENT where there is none. Content no image needs any more goes too. ret_freed (may be NULL): bytes.
 */
int image_remove(struct image_store *store, const char *reference, uint64_t *ret_freed, struct error *err);

/* ---- use ---- */

/* Says that `user` (a container's ID) needs the image, across restarts, until it is released. Idempotent. */
int image_lease(struct image_store *store, const char *id, const char *user, struct error *err);
int image_release(struct image_store *store, const char *id, const char *user, struct error *err);
/* Drops leases whose user is not kept (kubelet after recovery: containers that are gone). */
int image_release_stale(struct image_store *store, bool (*keep)(const char *user, void *arg), void *arg, struct error *err);

struct image_place {
	const char *target;       /* an existing folder */
	const char *upper, *work; /* what is written; made where missing, both on one file system, both new. NULL: read only */
	int userns_fd;            /* -1, or the user namespace whose ids the files of the layers are to show with (idmapped mounts; the upper folder is then the caller's to give to that namespace's root) */
	const char *label;        /* of SELinux, what all files have; NULL: each its own */
};
/* Mounts the image's root: layers below, what is written above. Take a lease first. Unmount with umount2(target, MNT_DETACH). */
int image_mount(struct image_store *store, const struct image *image, const struct image_place *place, struct error *err);

/* The folder that holds the files of an image's index-th layer; nothing in it ever changes. The caller frees. */
char *image_layer_folder(const struct image_store *store, const struct image *image, size_t index);

/* ---- collection ---- */

struct image_usage {
	uint64_t used_bytes;       /* what the store takes on disk */
	uint64_t used_inodes;
	uint64_t capacity_bytes;   /* of its file system */
	uint64_t available_bytes;
	uint64_t capacity_inodes;
	uint64_t available_inodes;
};
/* Walks the store: not for every request. */
int image_usage(struct image_store *store, struct image_usage *ret, struct error *err);
/*
 * Removes unleased, unpinned images, the longest unused first, until `bytes` are free or none is left; images younger
 * or used more recently than min_age_ns stay. bytes 0: only those unused longer than max_age_ns (0: none).
 */
int image_collect(struct image_store *store, uint64_t bytes, int64_t min_age_ns, int64_t max_age_ns, uint64_t *ret_freed, struct error *err);

/* ---- parsing, open to the fuzzers ---- */

/* Reads an image config (OCI or docker) into `ret` (zeroed by the caller, freed by image_config_done) and its diff IDs. */
int image_config_parse(const char *json, size_t len, struct image_config *ret, char ***ret_diff_ids, struct error *err);
void image_config_done(struct image_config *config);
/*
 * Applies one layer (tar, or compressed tar, read from fd) to the folder `root_fd`. Nothing outside root_fd is ever
 * touched, whatever the archive holds: names with "..", absolute names and links, links through other links, whiteouts.
 * Device nodes are made as the image says only inside the root. Counts bytes against max_bytes (-EFBIG).
 */
int image_apply_layer(int fd, int root_fd, uint64_t max_bytes, struct error *err);

/* NULL-terminated lists of strings, as used above. */
size_t image_strv_len(char *const *list);
void image_strv_free(char **list);

#endif
