/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking layers and mounting them: overlayfs, each layer a folder of its own. */
#include "common/image/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_OPTIONS 4000 /* mount(2) takes one page */

/* The layers' folders as overlayfs names them, top first. Long lists go by descriptor: "/proc/self/fd/7". */
struct lowers {
	int fds[IMAGE_MAX_LAYERS + 1];
	size_t fd_count;
	struct buf text;
};

static void lowers_done(struct lowers *lowers)
{
	for (size_t i = 0; i < lowers->fd_count; i++)
		close(lowers->fds[i]);
	buf_done(&lowers->text);
}

static int lowers_make(const struct image_store *store, char *const *chains, size_t count, struct lowers *lowers, struct error *err)
{
	lowers->text = BUF_INIT(1 << 16);
	size_t each = strlen(store->root) + strlen("/layers/") + HEX_LEN + strlen("/fs:");
	bool by_fd = each * count > MAX_OPTIONS - 512;
	for (size_t i = count; i-- > 0;) {
		autofree char *path = xprintf("%s/layers/%s/fs", store->root, chains[i]);
		if (lowers->text.len)
			buf_append_char(&lowers->text, ':');
		if (!by_fd) {
			buf_append_str(&lowers->text, path);
			continue;
		}
		int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return error_set_errno(err, errno, "open layer %s", path);
		lowers->fds[lowers->fd_count++] = fd;
		buf_printf(&lowers->text, "/proc/self/fd/%d", fd);
	}
	return 0;
}

/* The option of a mount that gives all in it one label. The caller frees. */
static char *context_of(const char *label)
{
	return label ? xprintf("context=\"%s\"", label) : xstrdup("");
}

/*
 * "volatile": what a container wrote is never used again after a crash of the machine, so nothing waits for the disk when it is
 * unmounted or fsyncs. Kernels that do not know it get a plain mount.
 */
static int mount_overlay(const struct lowers *lowers, const struct image_place *place, struct error *err)
{
	autofree char *context = context_of(place->label), *mine = place->upper ? xprintf(",upperdir=%s,workdir=%s", place->upper, place->work) : xstrdup("");
	autofree char *plain = xprintf("lowerdir=%s%s%s%s", lowers->text.data, mine, *context ? "," : "", context), *fast = place->upper ? xprintf("%s,volatile", plain) : NULL;
	if (fast && mount("overlay", place->target, "overlay", 0, fast) == 0)
		return 0;
	/* One that failed for another reason has left its mark, with which no plain mount is taken. */
	autofree char *mark = fast ? path_join(place->work, "work", NULL) : NULL;
	if (mark)
		file_remove_all(mark, NULL);
	if (mount("overlay", place->target, "overlay", place->upper ? 0 : MS_RDONLY, plain) == 0)
		return 0;
	return error_set_errno(err, errno, "mount overlay at %s", place->target);
}

static int overlay_of(const struct image_store *store, char *const *chains, size_t count, const struct image_place *place, struct error *err)
{
	struct lowers lowers = {0};
	int r = lowers_make(store, chains, count, &lowers, err);
	/* overlayfs wants two: what the mount covers is empty. */
	if (r == 0 && count == 1 && !place->upper)
		buf_printf(&lowers.text, ":%s", place->target);
	if (r == 0)
		r = mount_overlay(&lowers, place, err);
	lowers_done(&lowers);
	return r;
}

/* ---- with ids mapped ---- */

/*
 * Kernels before 6.15 take as a layer only what is attached somewhere in the mount namespace of who mounts. So a thread takes one of its own,
 * attaches each layer mapped at its own place, mounts there, and hands the mount over: nothing of it shows outside, or outlives a crash.
 */
struct mapped {
	const struct image_store *store;
	char *const *chains;
	size_t count;
	const struct image_place *place;
	struct error *err;
	int tree; /* the mount, not attached; or a negative errno, err set */
};

static int attach_mapped(const char *path, int userns_fd, struct error *err)
{
	autoclose int fd = (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns_fd};
	if (fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH, &attr, sizeof(attr)) < 0 || syscall(SYS_move_mount, fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_set_errno(err, errno, "map ids of layer %s", path);
	return 0;
}

static int mount_apart(struct mapped *m)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return error_set_errno(m->err, errno, "take a mount namespace");
	int r = 0;
	for (size_t i = 0; r == 0 && i < m->count; i++) {
		autofree char *path = xprintf("%s/layers/%s/fs", m->store->root, m->chains[i]);
		r = attach_mapped(path, m->place->userns_fd, m->err);
	}
	if (r == 0)
		r = overlay_of(m->store, m->chains, m->count, m->place, m->err);
	if (r < 0)
		return r;
	r = (int)syscall(SYS_open_tree, AT_FDCWD, m->place->target, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	return r < 0 ? error_set_errno(m->err, errno, "take over %s", m->place->target) : r;
}

static void *mapped_main(void *arg)
{
	struct mapped *m = arg;
	m->tree = mount_apart(m);
	return NULL;
}

static int overlay_of_mapped(struct mapped *m)
{
	pthread_t thread;
	int r = pthread_create(&thread, NULL, mapped_main, m);
	if (r)
		return error_set_errno(m->err, r, "start a thread");
	pthread_join(thread, NULL);
	autoclose int tree = m->tree;
	if (tree < 0)
		return tree;
	return syscall(SYS_move_mount, tree, "", AT_FDCWD, m->place->target, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? error_set_errno(m->err, errno, "mount overlay at %s", m->place->target) : 0;
}

/* The root of an overlay shows what its upper folder is: a new one takes after the layer below. Owners only where ids are not mapped. */
static int take_after(const struct image_store *store, const char *chain, const char *upper, bool owner, struct error *err)
{
	autofree char *below = xprintf("%s/layers/%s/fs", store->root, chain);
	struct stat st;
	if (stat(below, &st) < 0)
		return error_set_errno(err, errno, "layer %s", below);
	if ((owner && chown(upper, st.st_uid, st.st_gid) < 0) || chmod(upper, st.st_mode & 07777) < 0)
		return error_set_errno(err, errno, "prepare %s", upper);
	return 0;
}

char *image_layer_folder(const struct image_store *store, const struct image *image, size_t index)
{
	return xprintf("%s/layers/%s/fs", store->root, image->layers[index]);
}

/* An image without layers: what is written alone, or nothing. */
static int mount_nothing(const struct image_place *place, struct error *err)
{
	autofree char *context = context_of(place->label);
	if (place->upper && place->label && lsetxattr(place->upper, "security.selinux", place->label, strlen(place->label) + 1, 0) < 0 && errno != ENOTSUP)
		return error_set_errno(err, errno, "label %s", place->upper);
	if (mount(place->upper ? place->upper : "none", place->target, place->upper ? NULL : "tmpfs", place->upper ? MS_BIND : MS_RDONLY, context) < 0)
		return error_set_errno(err, errno, "mount at %s", place->target);
	return 0;
}

int image_mount(struct image_store *store, const struct image *image, const struct image_place *place, struct error *err)
{
	size_t count = image_strv_len(image->layers);
	if (place->upper && strpbrk(place->upper, ":,\\"))
		return error_set(err, EINVAL, "\"%s\" cannot be an upper folder", place->upper);
	int r = place->upper ? file_mkdir_all(place->upper, 0755, err) : 0;
	if (r == 0 && place->upper)
		r = file_mkdir_all(place->work, 0700, err);
	if (r < 0)
		return r;
	if (count == 0)
		return mount_nothing(place, err);
	if (!place->upper && count == 1 && place->userns_fd < 0 && !place->label) { /* no overlay where a view of the layer does */
		autofree char *only = image_layer_folder(store, image, 0);
		if (mount(only, place->target, NULL, MS_BIND, NULL) < 0 || mount(NULL, place->target, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) < 0)
			return error_set_errno(err, errno, "mount %s at %s", only, place->target);
		return 0;
	}
	r = place->upper ? take_after(store, image->layers[count - 1], place->upper, place->userns_fd < 0, err) : 0;
	if (r < 0)
		return r;
	struct mapped mapped = {store, image->layers, count, place, err, -1};
	return place->userns_fd < 0 ? overlay_of(store, image->layers, count, place, err) : overlay_of_mapped(&mapped);
}

/* ---- unpacking ---- */

static uint64_t free_bytes(const char *path)
{
	struct statvfs fs;
	return statvfs(path, &fs) < 0 ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize;
}

/* Unpacks into temp/fs, seen through the layers below so that links and whiteouts mean what they mean in the image. */
static int unpack_into(struct image_store *store, const char *temp, char *const *chains, size_t index, const char *blob, const char *diff_id,
	struct error *err)
{
	autofree char *fs = path_join(temp, "fs", NULL), *work = path_join(temp, "work", NULL), *merged = path_join(temp, "merged", NULL);
	autofree char *usage_path = path_join(temp, "usage", NULL), *source = blob_path(store, blob);
	if (mkdir(fs, 0755) < 0 || mkdir(work, 0700) < 0 || mkdir(merged, 0700) < 0)
		return error_set_errno(err, errno, "make %s", fs);
	autoclose int in = open(source, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return error_set_errno(err, errno, "open %s", source);
	const char *root = fs;
	if (index > 0) {
		int r = take_after(store, chains[index - 1], fs, true, err);
		if (r == 0)
			r = overlay_of(store, chains, index, &(struct image_place){.target = merged, .upper = fs, .work = work, .userns_fd = -1}, err);
		if (r < 0)
			return r;
		root = merged;
	}
	char found[HEX_LEN + 8] = "";
	uint64_t bytes = 0, inodes = 0;
	autoclose int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = root_fd < 0 ? error_set_errno(err, errno, "open %s", root)
			    : layer_apply(in, root_fd, free_bytes(temp), found, &bytes, &inodes, err);
	if (root_fd >= 0)
		close(take_fd(root_fd));
	if (index > 0 && umount2(merged, 0) < 0)
		umount2(merged, MNT_DETACH);
	/* Layers are shared by what their configs call them: a config that lies would put its files into others' images. */
	if (r == 0 && strcmp(found, diff_id) != 0)
		r = error_set(err, EBADMSG, "layer %s unpacks to %s, its image says %s", blob, found, diff_id);
	if (r < 0)
		return r;
	autofree char *usage = xprintf("%llu %llu\n", (unsigned long long)bytes, (unsigned long long)inodes);
	return file_write(AT_FDCWD, usage_path, usage, strlen(usage), 0600, err);
}

int layer_unpack(struct image_store *store, char *const *chains, size_t index, const char *blob, const char *diff_id, struct error *err)
{
	autofree char *final = layer_path(store, chains[index]);
	if (access(final, F_OK) == 0)
		return 0;
	autofree char *temp = NULL;
	int r = store_make_temp(store, &temp, err);
	if (r < 0)
		return r;
	r = unpack_into(store, temp, chains, index, blob, diff_id, err);
	autofree char *work = path_join(temp, "work", NULL), *merged = path_join(temp, "merged", NULL);
	if (r == 0)
		r = file_remove_all(work, err);
	if (r == 0)
		rmdir(merged);
	/* Whole on disk before it has its name: after a crash a layer is there or it is not. */
	if (r == 0 && syncfs(store->root_fd) < 0)
		r = error_set_errno(err, errno, "sync %s", store->root);
	if (r == 0 && rename(temp, final) < 0 && errno != EEXIST && errno != ENOTEMPTY)
		r = error_set_errno(err, errno, "rename layer to %s", final);
	file_remove_all(temp, NULL); /* where it is still there: failed, or somebody was first */
	return r;
}
