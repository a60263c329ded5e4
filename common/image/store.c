/* SPDX-License-Identifier: Apache-2.0 */
/* The store: opening, locks, looking up, naming, leases, removing, collecting. */
#include "common/image/internal.h"

#include "common/base/file.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define SETTLED_NS (50 * NSEC_PER_MSEC) /* a folder changed this recently may change again within one clock tick */
#define TEMP_MAX_AGE_S (24 * 3600)

static int64_t stat_mtime_ns(const struct stat *st)
{
	return st->st_mtim.tv_sec * NSEC_PER_SEC + st->st_mtim.tv_nsec;
}

static int64_t now_ns(void)
{
	struct wall_time now = clock_wall();
	return now.sec * NSEC_PER_SEC + now.nsec;
}

/* ---- opening and locks ---- */

static int lock_file(struct image_store *store, const char *name, int operation, int *ret_fd, struct error *err)
{
	autoclose int fd = openat(store->root_fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s/%s", store->root, name);
	while (flock(fd, operation) < 0)
		if (errno != EINTR)
			return error_set_errno(err, errno, "lock %s/%s", store->root, name);
	*ret_fd = take_fd(fd);
	return 0;
}

int store_lock(struct image_store *store, bool exclusive, int *ret_fd, struct error *err)
{
	return lock_file(store, "lock", exclusive ? LOCK_EX : LOCK_SH, ret_fd, err);
}

int store_lock_content(struct image_store *store, bool exclusive, bool wait, int *ret_fd, struct error *err)
{
	return lock_file(store, "content.lock", (exclusive ? LOCK_EX : LOCK_SH) | (wait ? 0 : LOCK_NB), ret_fd, err);
}

/* Left-overs of downloads that a crash ended. With the content lock free nobody is downloading. */
static void sweep_temp(struct image_store *store)
{
	autoclose int lock = -1;
	if (store_lock_content(store, true, false, &lock, NULL) < 0)
		return;
	autofree char *folder = path_join(store->root, "tmp", NULL);
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (e->d_name[0] == '.')
			continue;
		autofree char *path = path_join(folder, e->d_name, NULL);
		file_remove_all(path, NULL);
	}
	if (dir)
		closedir(dir);
}

int image_store_open(const char *root, struct image_store **ret, struct error *err)
{
	static const char *const folders[] = {"images", "blobs/sha256", "layers", "leases", "tmp"};
	root = root ? root : IMAGE_ROOT_DEFAULT;
	if (*root != '/' || strpbrk(root, ":,\\"))
		return error_set(err, EINVAL, "image root \"%s\" must be an absolute path without colon, comma and backslash", root);
	for (size_t i = 0; i < array_len(folders); i++) {
		autofree char *path = path_join(root, folders[i], NULL);
		int r = file_mkdir_all(path, 0700, err);
		if (r < 0)
			return r;
	}
	struct image_store *store = xnew(struct image_store);
	store->root = xstrdup(root);
	store->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pthread_mutex_init(&store->cache_lock, NULL);
	if (store->root_fd < 0) {
		int r = error_set_errno(err, errno, "open %s", root);
		image_store_close(store);
		return r;
	}
	sweep_temp(store);
	*ret = store;
	return 0;
}

struct image_store *image_store_close(struct image_store *store)
{
	if (!store)
		return NULL;
	record_list_done(&store->cache);
	if (store->root_fd >= 0)
		close(store->root_fd);
	pthread_mutex_destroy(&store->cache_lock);
	free(store->root);
	free(store);
	return NULL;
}

const char *image_store_root(const struct image_store *store)
{
	return store->root;
}

char *blob_path(const struct image_store *store, const char *digest)
{
	return xprintf("%s/blobs/sha256/%s", store->root, digest + 7);
}

char *layer_path(const struct image_store *store, const char *chain_hex)
{
	return xprintf("%s/layers/%s", store->root, chain_hex);
}

int store_make_temp(struct image_store *store, char **ret, struct error *err)
{
	char suffix[13];
	random_name_suffix(suffix, sizeof(suffix) - 1);
	autofree char *path = xprintf("%s/tmp/%s", store->root, suffix);
	if (mkdir(path, 0700) < 0)
		return error_set_errno(err, errno, "make %s", path);
	*ret = take_ptr(path);
	return 0;
}

/* ---- looking up ---- */

/*
 * Records are kept in memory while the folder has not changed: each change renames a file in it. A folder changed within the last tick
 * of the file system's clock is read anew, as a second change may not show in its time. Called with cache_lock.
 */
static int refresh(struct image_store *store, struct error *err)
{
	struct stat st;
	if (fstatat(store->root_fd, "images", &st, 0) < 0)
		return error_set_errno(err, errno, "stat %s/images", store->root);
	int64_t mtime = stat_mtime_ns(&st);
	if (store->cache_valid && store->cache_mtime_ns == mtime && store->cache_read_ns - mtime > SETTLED_NS)
		return 0;
	struct record_list fresh;
	int64_t read_at = now_ns();
	int r = records_read(store, &fresh, err);
	if (r < 0)
		return r;
	record_list_done(&store->cache);
	store->cache = fresh;
	store->cache_mtime_ns = mtime;
	store->cache_read_ns = read_at;
	store->cache_valid = true;
	return 0;
}

static int not_found(const char *reference, bool ambiguous, struct error *err)
{
	if (ambiguous)
		return error_set(err, EINVAL, "image ID \"%s\" is the beginning of several", reference);
	return error_set(err, ENOENT, "image \"%s\" not found", reference);
}

/* What somebody took out of the store from beneath its record: with a layer gone, the image is one to be pulled again. */
static int check_layers(struct image_store *store, const struct image *image, struct error *err)
{
	for (size_t i = 0; image->layers[i]; i++) {
		autofree char *folder = xprintf("layers/%s/fs", image->layers[i]);
		if (faccessat(store->root_fd, folder, F_OK, 0) < 0)
			return error_set(err, ENOENT, "image \"%s\" has lost its layer %s", image->id, image->layers[i]);
	}
	return 0;
}

int image_get(struct image_store *store, const char *reference, struct image **ret, struct error *err)
{
	pthread_mutex_lock(&store->cache_lock);
	int r = refresh(store, err);
	bool ambiguous = false;
	struct record *record = r == 0 ? records_find(&store->cache, reference, &ambiguous) : NULL;
	struct image *image = record ? record_to_image(store, record) : NULL;
	pthread_mutex_unlock(&store->cache_lock);
	if (r < 0)
		return r;
	if (!image)
		return not_found(reference, ambiguous, err);
	r = check_layers(store, image, err);
	if (r < 0) {
		image_free(image);
		return r;
	}
	*ret = image;
	return 0;
}

int image_list(struct image_store *store, struct image_list *ret, struct error *err)
{
	pthread_mutex_lock(&store->cache_lock);
	int r = refresh(store, err);
	struct image_list list = {0};
	if (r == 0)
		list.items = xcalloc(store->cache.len + 1, sizeof(*list.items));
	for (size_t i = 0; r == 0 && i < store->cache.len; i++) {
		struct image *image = record_to_image(store, store->cache.items[i]);
		if (image)
			list.items[list.len++] = image;
	}
	pthread_mutex_unlock(&store->cache_lock);
	if (r == 0)
		*ret = list;
	return r;
}

/* ---- changing ---- */

/* Reads all records under the exclusive lock and finds one. The caller ends with record_list_done and close. */
static int begin_change(struct image_store *store, const char *reference, int *ret_lock, struct record_list *ret_list, struct record **ret,
	struct error *err)
{
	autoclose int lock = -1;
	int r = store_lock(store, true, &lock, err);
	if (r < 0)
		return r;
	struct record_list list;
	r = records_read(store, &list, err);
	if (r < 0)
		return r;
	bool ambiguous;
	struct record *record = records_find(&list, reference, &ambiguous);
	if (!record) {
		record_list_done(&list);
		return not_found(reference, ambiguous, err);
	}
	*ret_lock = take_fd(lock);
	*ret_list = list;
	*ret = record;
	return 0;
}

int image_tag(struct image_store *store, const char *reference, const char *name, struct error *err)
{
	struct image_reference parsed;
	int r = image_reference_parse(name, &parsed, err);
	if (r < 0)
		return r;
	autofree char *whole = parsed.tag && !parsed.digest ? image_reference_format(&parsed) : NULL;
	image_reference_done(&parsed);
	if (!whole)
		return error_set(err, EINVAL, "\"%s\" is not a name with a tag", name);
	struct record_list list;
	struct record *record;
	int lock;
	r = begin_change(store, reference, &lock, &list, &record, err);
	if (r < 0)
		return r;
	if (!strv_has(record->tags, whole))
		strv_add(&record->tags, whole);
	for (size_t i = 0; r == 0 && i < list.len; i++) {
		if (list.items[i] == record || !strv_has(list.items[i]->tags, whole))
			continue;
		strv_remove(list.items[i]->tags, whole);
		r = record_save(store, list.items[i], err);
	}
	if (r == 0)
		r = record_save(store, record, err);
	record_list_done(&list);
	close(lock);
	return r;
}

int image_set_pinned(struct image_store *store, const char *reference, bool pinned, struct error *err)
{
	struct record_list list;
	struct record *record;
	int lock;
	int r = begin_change(store, reference, &lock, &list, &record, err);
	if (r < 0)
		return r;
	record->pinned = pinned;
	r = record_save(store, record, err);
	record_list_done(&list);
	close(lock);
	return r;
}

/* ---- leases ---- */

static int lease_name(const char *id, const char *user, char **ret, struct error *err)
{
	if (!digest_valid(id) || str_empty(user) || strchr(user, '/') || strlen(user) > 128)
		return error_set(err, EINVAL, "no lease on \"%s\" for \"%s\"", id, str_or(user, ""));
	*ret = xprintf("leases/%s.%s", id + 7, user);
	return 0;
}

static void touch_record(struct image_store *store, const char *id)
{
	autofree char *path = xprintf("images/%s", id + 7);
	utimensat(store->root_fd, path, NULL, 0);
}

int image_lease(struct image_store *store, const char *id, const char *user, struct error *err)
{
	autofree char *name = NULL;
	int r = lease_name(id, user, &name, err);
	if (r < 0)
		return r;
	autoclose int lock = -1;
	r = store_lock(store, false, &lock, err); /* against a removal at the same time */
	if (r < 0)
		return r;
	autofree char *record = xprintf("images/%s", id + 7);
	if (faccessat(store->root_fd, record, F_OK, 0) < 0)
		return error_set(err, ENOENT, "image \"%s\" not found", id);
	autoclose int fd = openat(store->root_fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return error_set_errno(err, errno, "lease image %s", id);
	touch_record(store, id);
	return 0;
}

int image_release(struct image_store *store, const char *id, const char *user, struct error *err)
{
	autofree char *name = NULL;
	int r = lease_name(id, user, &name, err);
	if (r < 0)
		return r;
	if (unlinkat(store->root_fd, name, 0) < 0)
		return errno == ENOENT ? 0 : error_set_errno(err, errno, "release image %s", id);
	touch_record(store, id);
	return 0;
}

/* Calls fn for each lease; fn returning true ends it. */
static bool each_lease(struct image_store *store, bool (*fn)(struct image_store *, const char *name, void *arg), void *arg)
{
	autofree char *folder = path_join(store->root, "leases", NULL);
	DIR *dir = opendir(folder);
	bool stopped = false;
	for (struct dirent *e; dir && !stopped && (e = readdir(dir));)
		if (strlen(e->d_name) > HEX_LEN + 1 && e->d_name[HEX_LEN] == '.')
			stopped = fn(store, e->d_name, arg);
	if (dir)
		closedir(dir);
	return stopped;
}

static bool lease_is_of(struct image_store *store, const char *name, void *id)
{
	return strncmp(name, (const char *)id + 7, HEX_LEN) == 0;
}

static bool leased(struct image_store *store, const char *id)
{
	return each_lease(store, lease_is_of, (void *)id);
}

struct stale {
	bool (*keep)(const char *user, void *arg);
	void *arg;
};

static bool drop_stale(struct image_store *store, const char *name, void *arg)
{
	struct stale *stale = arg;
	autofree char *path = xprintf("leases/%s", name);
	if (!stale->keep(name + HEX_LEN + 1, stale->arg))
		unlinkat(store->root_fd, path, 0);
	return false;
}

int image_release_stale(struct image_store *store, bool (*keep)(const char *user, void *arg), void *arg, struct error *err)
{
	struct stale stale = {keep, arg};
	each_lease(store, drop_stale, &stale);
	return 0;
}

/* ---- removing ---- */

static int remove_record(struct image_store *store, const struct record *record, struct error *err)
{
	if (leased(store, record->id))
		return error_set(err, EBUSY, "image %s is used by a container", record->id);
	autofree char *path = xprintf("images/%s", record->id + 7);
	if (unlinkat(store->root_fd, path, 0) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove image %s", record->id);
	return 0;
}

/* Frees what no record names, unless somebody is adding content: then the next removal or collection does. */
static uint64_t try_sweep(struct image_store *store)
{
	autoclose int content = -1;
	uint64_t freed = 0;
	if (store_lock_content(store, true, false, &content, NULL) == 0)
		content_sweep(store, &freed, NULL);
	return freed;
}

/* The name among the record's that `reference` means; NULL where it is an ID. The caller frees. */
static char *name_meant(const struct record *record, const char *reference)
{
	struct image_reference parsed;
	if (str_starts_with(record->id + 7, reference) || str_starts_with(record->id, reference) || image_reference_parse(reference, &parsed, NULL) < 0)
		return NULL;
	char *whole = parsed.digest ? xprintf("%s@%s", parsed.repository, parsed.digest) : xprintf("%s:%s", parsed.repository, parsed.tag);
	image_reference_done(&parsed);
	return whole;
}

int image_remove(struct image_store *store, const char *reference, uint64_t *ret_freed, struct error *err)
{
	struct record_list list;
	struct record *record;
	int lock;
	int r = begin_change(store, reference, &lock, &list, &record, err);
	if (r < 0)
		return r;
	uint64_t freed = 0;
	autofree char *name = name_meant(record, reference);
	if (name) {
		strv_remove(record->tags, name);
		strv_remove(record->digests, name);
	}
	if (name && record->tags[0]) {
		r = record_save(store, record, err);
	} else {
		r = remove_record(store, record, err);
		if (r == 0)
			freed = try_sweep(store);
	}
	record_list_done(&list);
	close(lock);
	if (r == 0 && ret_freed)
		*ret_freed = freed;
	return r;
}

/* ---- content ---- */

struct sweep {
	struct map blobs, layers; /* wanted, by hex */
};

static void want(struct sweep *sweep, const struct record *record)
{
	set_add(&sweep->blobs, record->id + 7);
	set_add(&sweep->blobs, record->manifest + 7);
	for (size_t i = 0; record->blobs[i]; i++)
		set_add(&sweep->blobs, record->blobs[i] + 7);
	for (size_t i = 0; record->chains[i]; i++)
		set_add(&sweep->layers, record->chains[i]);
}

void layer_usage(const struct image_store *store, const char *chain_hex, uint64_t *ret_bytes, uint64_t *ret_inodes)
{
	autofree char *path = xprintf("layers/%s/usage", chain_hex);
	autofree char *text = NULL;
	size_t len;
	unsigned long long bytes = 0, inodes = 0;
	if (file_read(store->root_fd, path, 128, &text, &len, NULL) == 0)
		sscanf(text, "%llu %llu", &bytes, &inodes);
	*ret_bytes = bytes;
	*ret_inodes = inodes;
}

static uint64_t sweep_folder(struct image_store *store, const char *name, const struct map *wanted, bool layers)
{
	autofree char *folder = path_join(store->root, name, NULL);
	uint64_t freed = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (e->d_name[0] == '.' || map_has(wanted, e->d_name))
			continue;
		uint64_t bytes = 0, inodes;
		struct stat st;
		if (layers)
			layer_usage(store, e->d_name, &bytes, &inodes);
		else if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			bytes = (uint64_t)st.st_size;
		autofree char *path = path_join(folder, e->d_name, NULL);
		if (file_remove_all(path, NULL) == 0)
			freed += bytes;
	}
	if (dir)
		closedir(dir);
	return freed;
}

int content_sweep(struct image_store *store, uint64_t *ret_freed, struct error *err)
{
	struct record_list list;
	int r = records_read(store, &list, err);
	if (r < 0)
		return r;
	struct sweep sweep = {MAP_INIT(NULL), MAP_INIT(NULL)};
	for (size_t i = 0; i < list.len; i++)
		want(&sweep, list.items[i]);
	*ret_freed = sweep_folder(store, "layers", &sweep.layers, true) + sweep_folder(store, "blobs/sha256", &sweep.blobs, false);
	map_done(&sweep.blobs);
	map_done(&sweep.layers);
	record_list_done(&list);
	return 0;
}

int image_usage(struct image_store *store, struct image_usage *ret, struct error *err)
{
	struct statvfs fs;
	if (fstatvfs(store->root_fd, &fs) < 0)
		return error_set_errno(err, errno, "statvfs %s", store->root);
	struct image_usage usage = {
		.capacity_bytes = (uint64_t)fs.f_blocks * fs.f_frsize,
		.available_bytes = (uint64_t)fs.f_bavail * fs.f_frsize,
		.capacity_inodes = fs.f_files,
		.available_inodes = fs.f_favail,
	};
	static const char *const folders[] = {"layers", "blobs/sha256"};
	for (size_t i = 0; i < array_len(folders); i++) {
		autofree char *folder = path_join(store->root, folders[i], NULL);
		DIR *dir = opendir(folder);
		for (struct dirent *e; dir && (e = readdir(dir));) {
			uint64_t bytes = 0, inodes = 1;
			struct stat st;
			if (e->d_name[0] == '.')
				continue;
			if (i == 0)
				layer_usage(store, e->d_name, &bytes, &inodes);
			else if (fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
				bytes = (uint64_t)st.st_blocks * 512;
			usage.used_bytes += bytes;
			usage.used_inodes += inodes;
		}
		if (dir)
			closedir(dir);
	}
	*ret = usage;
	return 0;
}

/* ---- collecting ---- */

struct candidate {
	const struct record *record;
	int64_t used_ns;
};

static int compare_candidates(const void *a, const void *b)
{
	int64_t x = ((const struct candidate *)a)->used_ns, y = ((const struct candidate *)b)->used_ns;
	return x < y ? -1 : x > y;
}

static int64_t record_used_ns(struct image_store *store, const struct record *record)
{
	autofree char *path = xprintf("images/%s", record->id + 7);
	struct stat st;
	return fstatat(store->root_fd, path, &st, 0) == 0 ? stat_mtime_ns(&st) : record->loaded_ns;
}

int image_collect(struct image_store *store, uint64_t bytes, int64_t min_age_ns, int64_t max_age_ns, uint64_t *ret_freed, struct error *err)
{
	autoclose int lock = -1, content = -1;
	int r = store_lock(store, true, &lock, err);
	if (r < 0)
		return r;
	if (store_lock_content(store, true, false, &content, NULL) < 0)
		return error_set(err, EBUSY, "image content is being added");
	struct record_list list;
	r = records_read(store, &list, err);
	if (r < 0)
		return r;
	struct candidate *candidates = xcalloc(list.len + 1, sizeof(*candidates));
	size_t count = 0;
	int64_t now = now_ns();
	for (size_t i = 0; i < list.len; i++) {
		int64_t used = record_used_ns(store, list.items[i]);
		if (!list.items[i]->pinned && now - used >= min_age_ns)
			candidates[count++] = (struct candidate){list.items[i], used};
	}
	qsort(candidates, count, sizeof(*candidates), compare_candidates);
	uint64_t freed = 0, more;
	content_sweep(store, &freed, NULL);
	for (size_t i = 0; i < count; i++) {
		if (bytes ? freed >= bytes : !max_age_ns || now - candidates[i].used_ns < max_age_ns)
			break;
		if (remove_record(store, candidates[i].record, NULL) == 0 && content_sweep(store, &more, NULL) == 0)
			freed += more;
	}
	free(candidates);
	record_list_done(&list);
	if (ret_freed)
		*ret_freed = freed;
	return 0;
}
