/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Applying a layer's tar to a folder. Every name is resolved by the kernel inside that folder (openat2 with
 * RESOLVE_IN_ROOT): links, wherever they point, lead nowhere else. The last part of a name is never followed.
 *
 *	blob fd -> libarchive "raw" (decompress) -> sha256 (the diff ID) -> libarchive "tar" -> files
 */
#include "common/image/internal.h"

#include "common/base/map.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#define READ_BLOCK (128 << 10)
#define MAX_ENTRIES (8 << 20)
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"

struct folder_time {
	char *path;
	struct timespec mtime;
};

struct layer {
	int root;
	struct archive *raw, *tar;
	gnutls_hash_hd_t hash;
	struct map seen;     /* paths of this layer: a whiteout hides only what lies below */
	char *parent_path;   /* the folder last opened, and its fd: names mostly come folder by folder */
	int parent;
	struct folder_time *times; /* set last: filling a folder moves its time */
	size_t time_count;
	uint64_t bytes, max_bytes, entries;
};

/* ---- resolving ---- */

static int open_inside(int root, const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	int fd = (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

/* "./a//b/" to "a/b"; NULL where a part is "..". "" is the root itself. The caller frees. */
static char *clean_path(const char *name)
{
	char *out = xmalloc(strlen(name) + 1), *end = out;
	while (*name) {
		size_t len = strcspn(name, "/");
		if (len == 2 && name[0] == '.' && name[1] == '.') {
			free(out);
			return NULL;
		}
		if (len && !(len == 1 && name[0] == '.')) {
			if (end != out)
				*end++ = '/';
			memcpy(end, name, len);
			end += len;
		}
		name += len;
		while (*name == '/')
			name++;
	}
	*end = 0;
	return out;
}

static void forget_parent(struct layer *layer)
{
	if (layer->parent >= 0)
		close(layer->parent);
	layer->parent = -1;
	free(layer->parent_path);
	layer->parent_path = NULL;
}

/* Makes missing folders on the way; each step is resolved inside the root again. */
static int make_folders(struct layer *layer, const char *path)
{
	for (const char *end = path; end;) {
		end = strchr(end + 1, '/');
		autofree char *part = end ? xstrndup(path, (size_t)(end - path)) : xstrdup(path);
		int fd = open_inside(layer->root, part, O_PATH | O_DIRECTORY);
		if (fd == -ENOENT) {
			char *slash = strrchr(part, '/');
			if (slash)
				*slash = 0;
			autoclose int above = open_inside(layer->root, slash ? part : "", O_PATH | O_DIRECTORY);
			if (above < 0)
				return above;
			if (mkdirat(above, slash ? slash + 1 : part, 0755) < 0 && errno != EEXIST)
				return -errno;
		} else if (fd < 0) {
			return fd;
		} else {
			close(fd);
		}
	}
	return 0;
}

/* The folder of `path`, kept open; the last part in *ret_leaf points into path. */
static int open_parent(struct layer *layer, const char *path, const char **ret_leaf)
{
	const char *slash = strrchr(path, '/');
	autofree char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
	*ret_leaf = slash ? slash + 1 : path;
	if (layer->parent >= 0 && strcmp(layer->parent_path, folder) == 0)
		return layer->parent;
	int fd = open_inside(layer->root, folder, O_PATH | O_DIRECTORY);
	if (fd == -ENOENT) {
		int r = make_folders(layer, folder);
		fd = r < 0 ? r : open_inside(layer->root, folder, O_PATH | O_DIRECTORY);
	}
	if (fd < 0)
		return fd;
	forget_parent(layer);
	layer->parent = fd;
	layer->parent_path = take_ptr(folder);
	return fd;
}

/* ---- removing ---- */

/* Removes name below dirfd, whole, without following links. keep: leave what this layer brought (prefix names it). */
static int remove_tree(struct layer *layer, int dirfd, const char *name, const char *path, bool keep)
{
	bool kept = keep && map_has(&layer->seen, path);
	if (!kept && unlinkat(dirfd, name, 0) == 0)
		return 0;
	if (!kept && errno == ENOENT)
		return 0;
	autoclose int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return kept ? 0 : -errno;
	DIR *dir = fdopendir(dup(fd));
	if (!dir)
		return -errno;
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(dir));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		autofree char *child = xprintf("%s/%s", path, e->d_name);
		r = remove_tree(layer, fd, e->d_name, child, keep);
	}
	closedir(dir);
	if (r == 0 && !kept && unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && !(keep && errno == ENOTEMPTY))
		r = -errno;
	return r;
}

/* Everything in the folder that lies below this layer goes. */
static int make_opaque(struct layer *layer, const char *folder)
{
	autoclose int fd = open_inside(layer->root, folder, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	DIR *dir = fdopendir(dup(fd));
	if (!dir)
		return -errno;
	int r = 0;
	for (struct dirent *e; r == 0 && (e = readdir(dir));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		autofree char *path = xprintf("%s%s%s", folder, *folder ? "/" : "", e->d_name);
		r = remove_tree(layer, fd, e->d_name, path, true);
	}
	closedir(dir);
	return r;
}

static int apply_whiteout(struct layer *layer, int parent, const char *leaf, const char *path)
{
	const char *slash = strrchr(path, '/');
	autofree char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup("");
	if (strcmp(leaf, OPAQUE) == 0)
		return make_opaque(layer, folder);
	const char *name = leaf + strlen(WHITEOUT);
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EINVAL;
	autofree char *hidden = xprintf("%s%s%s", folder, *folder ? "/" : "", name);
	return map_has(&layer->seen, hidden) ? 0 : remove_tree(layer, parent, name, hidden, true);
}

/* ---- making ---- */

static const char *entry_text(const char *utf8, const char *plain)
{
	return utf8 ? utf8 : plain;
}

/* Capabilities of files, users' attributes and ACLs; what only the host may trust is left out. */
static bool attribute_allowed(const char *name)
{
	return strcmp(name, "security.capability") == 0 || str_starts_with(name, "user.") || str_starts_with(name, "system.posix_acl_");
}

static void set_attributes(const char *path, struct archive_entry *entry)
{
	const char *name;
	const void *value;
	size_t size;
	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
		if (name && attribute_allowed(name))
			lsetxattr(path, name, value, size, 0); /* a file system without them still holds the file */
}

static struct timespec entry_mtime(struct archive_entry *entry)
{
	return (struct timespec){.tv_sec = archive_entry_mtime(entry), .tv_nsec = archive_entry_mtime_nsec(entry)};
}

/* Owner, mode, attributes and time of what was just made. Owner first: a change of it takes setuid away. */
static int set_metadata(int parent, const char *leaf, struct archive_entry *entry, mode_t type)
{
	char path[64 + NAME_MAX];
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", parent, leaf);
	if (fchownat(parent, leaf, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry), AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (type != S_IFLNK && fchmodat(parent, leaf, archive_entry_perm(entry) & 07777, 0) < 0)
		return -errno;
	set_attributes(path, entry);
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, entry_mtime(entry)};
	utimensat(parent, leaf, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int write_file(struct layer *layer, int parent, const char *leaf)
{
	autoclose int fd = openat(parent, leaf, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	const void *block;
	size_t len;
	int64_t offset, end = 0;
	int r;
	while ((r = archive_read_data_block(layer->tar, &block, &len, &offset)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		if (offset < 0 || len > layer->max_bytes - layer->bytes)
			return -EFBIG;
		layer->bytes += len;
		for (size_t done = 0; done < len;) {
			ssize_t n = pwrite(fd, (const char *)block + done, len - done, offset + (int64_t)done);
			if (n < 0)
				return -errno;
			done += (size_t)n;
		}
		end = offset + (int64_t)len;
	}
	if (r != ARCHIVE_EOF)
		return -EBADMSG;
	struct stat st; /* a hole at the end */
	return fstat(fd, &st) == 0 && st.st_size < end && ftruncate(fd, end) < 0 ? -errno : 0;
}

static int make_hardlink(struct layer *layer, int parent, const char *leaf, const char *target)
{
	autofree char *clean = clean_path(target);
	if (!clean || !*clean)
		return -EINVAL;
	autoclose int fd = open_inside(layer->root, clean, O_PATH | O_NOFOLLOW);
	if (fd < 0)
		return fd;
	return linkat(fd, "", parent, leaf, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int make_folder(struct layer *layer, int parent, const char *leaf, const char *path, struct archive_entry *entry)
{
	struct stat st;
	if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode) && unlinkat(parent, leaf, 0) < 0)
		return -errno;
	if (mkdirat(parent, leaf, 0755) < 0 && errno != EEXIST)
		return -errno;
	layer->times = xreallocarray(layer->times, layer->time_count + 1, sizeof(*layer->times));
	layer->times[layer->time_count++] = (struct folder_time){.path = xstrdup(path), .mtime = entry_mtime(entry)};
	return 0;
}

static int make_node(int parent, const char *leaf, struct archive_entry *entry, mode_t type)
{
	dev_t device = type == S_IFIFO ? 0 : archive_entry_rdev(entry);
	if (type == S_IFCHR && device == 0)
		return -EINVAL; /* that is overlayfs's own whiteout */
	return mknodat(parent, leaf, type | 0600, device) < 0 ? -errno : 0;
}

static int make_entry(struct layer *layer, int parent, const char *leaf, const char *path, struct archive_entry *entry)
{
	const char *hardlink = entry_text(archive_entry_hardlink_utf8(entry), archive_entry_hardlink(entry));
	mode_t type = hardlink ? 0 : archive_entry_filetype(entry);
	int r = 0;
	if (type != S_IFDIR) {
		/* A folder that gives way takes the remembered parent's path with it. */
		struct stat st;
		if (fstatat(parent, leaf, &st, AT_SYMLINK_NOFOLLOW) == 0)
			r = remove_tree(layer, parent, leaf, path, false);
		if (r < 0)
			return r;
	}
	if (hardlink)
		return make_hardlink(layer, parent, leaf, hardlink);
	switch (type) {
	case S_IFREG:
		r = write_file(layer, parent, leaf);
		break;
	case S_IFDIR:
		r = make_folder(layer, parent, leaf, path, entry);
		break;
	case S_IFLNK:
		r = symlinkat(str_or(entry_text(archive_entry_symlink_utf8(entry), archive_entry_symlink(entry)), ""), parent, leaf) < 0 ? -errno : 0;
		break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
		r = make_node(parent, leaf, entry, type);
		break;
	default: /* sockets and unknown kinds: as tar itself, left out */
		return 0;
	}
	return r < 0 ? r : set_metadata(parent, leaf, entry, type);
}

static int apply_root(struct layer *layer, struct archive_entry *entry)
{
	if (fchown(layer->root, (uid_t)archive_entry_uid(entry), (gid_t)archive_entry_gid(entry)) < 0)
		return -errno;
	return fchmod(layer->root, archive_entry_perm(entry) & 07777) < 0 ? -errno : 0;
}

static int apply_entry(struct layer *layer, struct archive_entry *entry, struct error *err)
{
	const char *name = entry_text(archive_entry_pathname_utf8(entry), archive_entry_pathname(entry));
	autofree char *path = name ? clean_path(name) : NULL;
	if (!path)
		return error_set(err, EINVAL, "layer holds a name that leads outside: \"%s\"", str_or(name, ""));
	if (++layer->entries > MAX_ENTRIES)
		return error_set(err, EFBIG, "layer holds more than %d files", MAX_ENTRIES);
	int r;
	if (!*path) {
		r = archive_entry_filetype(entry) == S_IFDIR ? apply_root(layer, entry) : -EINVAL;
	} else {
		const char *leaf;
		int parent = open_parent(layer, path, &leaf);
		if (strlen(leaf) > NAME_MAX)
			r = -ENAMETOOLONG;
		else if (parent < 0)
			r = parent;
		else if (str_starts_with(leaf, WHITEOUT))
			r = apply_whiteout(layer, parent, leaf, path);
		else
			r = make_entry(layer, parent, leaf, path, entry);
	}
	if (r < 0)
		return error_set_errno(err, r, "layer: \"%s\"", path);
	set_add(&layer->seen, path);
	/* What was a folder may be something else now: only plain files leave the remembered parent surely right. */
	if (archive_entry_hardlink(entry) == NULL && archive_entry_filetype(entry) != S_IFREG)
		forget_parent(layer);
	return 0;
}

/* ---- reading ---- */

static ssize_t read_raw(struct archive *tar, void *arg, const void **ret_block)
{
	struct layer *layer = arg;
	size_t len = 0;
	int64_t offset;
	int r = archive_read_data_block(layer->raw, ret_block, &len, &offset);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN) {
		archive_set_error(tar, EBADMSG, "%s", str_or(archive_error_string(layer->raw), "damaged"));
		return -1;
	}
	gnutls_hash(layer->hash, *ret_block, len);
	return (ssize_t)len;
}

static int open_streams(struct layer *layer, int fd, struct error *err)
{
	layer->raw = archive_read_new();
	archive_read_support_filter_all(layer->raw);
	archive_read_support_format_raw(layer->raw);
	archive_read_support_format_empty(layer->raw);
	struct archive_entry *entry;
	if (archive_read_open_fd(layer->raw, fd, READ_BLOCK) != ARCHIVE_OK || archive_read_next_header(layer->raw, &entry) < ARCHIVE_WARN)
		return error_set(err, EBADMSG, "layer: %s", str_or(archive_error_string(layer->raw), "unreadable"));
	layer->tar = archive_read_new();
	archive_read_support_format_tar(layer->tar);
	archive_read_support_format_empty(layer->tar);
	if (archive_read_open(layer->tar, layer, NULL, read_raw, NULL) != ARCHIVE_OK)
		return error_set(err, EBADMSG, "layer: %s", str_or(archive_error_string(layer->tar), "not a tar"));
	return 0;
}

static int apply_all(struct layer *layer, struct error *err)
{
	struct archive_entry *entry;
	int r;
	while ((r = archive_read_next_header(layer->tar, &entry)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		int one = apply_entry(layer, entry, err);
		if (one < 0)
			return one;
	}
	if (r != ARCHIVE_EOF)
		return error_set(err, EBADMSG, "layer: %s", str_or(archive_error_string(layer->tar), "damaged tar"));
	/* Padding after the tar's end belongs to its digest. */
	const void *block;
	ssize_t n;
	while ((n = read_raw(layer->tar, layer, &block)) > 0)
		;
	if (n < 0)
		return error_set(err, EBADMSG, "layer: %s", str_or(archive_error_string(layer->tar), "damaged"));
	return 0;
}

static void set_folder_times(struct layer *layer)
{
	for (size_t i = layer->time_count; i-- > 0;) {
		const char *leaf;
		int parent = open_parent(layer, layer->times[i].path, &leaf);
		struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, layer->times[i].mtime};
		if (parent >= 0)
			utimensat(parent, leaf, times, AT_SYMLINK_NOFOLLOW);
	}
}

static void layer_done(struct layer *layer)
{
	forget_parent(layer);
	map_done(&layer->seen);
	if (layer->tar)
		archive_read_free(layer->tar);
	if (layer->raw)
		archive_read_free(layer->raw);
	for (size_t i = 0; i < layer->time_count; i++)
		free(layer->times[i].path);
	free(layer->times);
}

int layer_apply(int fd, int root_fd, uint64_t max_bytes, char ret_diff_id[HEX_LEN + 8], uint64_t *ret_bytes, uint64_t *ret_inodes, struct error *err)
{
	struct layer layer = {.root = root_fd, .parent = -1, .max_bytes = max_bytes, .seen = MAP_INIT(NULL)};
	if (gnutls_hash_init(&layer.hash, GNUTLS_DIG_SHA256) < 0)
		return error_set(err, ENOTSUP, "no SHA-256");
	int r = open_streams(&layer, fd, err);
	if (r == 0)
		r = apply_all(&layer, err);
	if (r == 0)
		set_folder_times(&layer);
	uint8_t digest[32];
	gnutls_hash_deinit(layer.hash, digest);
	if (r == 0) {
		memcpy(ret_diff_id, "sha256:", 7);
		for (size_t i = 0; i < sizeof(digest); i++)
			snprintf(ret_diff_id + 7 + 2 * i, 3, "%02x", digest[i]);
		*ret_bytes = layer.bytes;
		*ret_inodes = layer.entries;
	}
	layer_done(&layer);
	return r;
}

int image_apply_layer(int fd, int root_fd, uint64_t max_bytes, struct error *err)
{
	char diff_id[HEX_LEN + 8];
	uint64_t bytes, inodes;
	return layer_apply(fd, root_fd, max_bytes, diff_id, &bytes, &inodes, err);
}
