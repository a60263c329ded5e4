/* SPDX-License-Identifier: Apache-2.0 */
/* The image store, with real archives, skopeo and overlayfs, and a registry on loopback. Needs root; mounts in a namespace of its own. */
#include "common/image/image.h"
#include "test/lib/busybox_image.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

static char dir[64];
static struct image_store *store;

#define assert_ok(call, err)                                           \
	do {                                                           \
		int ok_ = (call);                                      \
		if (ok_ < 0)                                           \
			fail_msg("%s: %s", #call, error_message(err)); \
	} while (0)

static char *under(const char *name)
{
	return path_join(dir, name, NULL);
}

static int set_up(void **state)
{
	autoerror struct error err = {0};
	snprintf(dir, sizeof(dir), "/tmp/coracle-image-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	autofree char *root = under("store");
	assert_ok(image_store_open(root, &store, &err), &err);
	return 0;
}

static int tear_down(void **state)
{
	autoerror struct error err = {0};
	image_store_close(store);
	assert_ok(file_remove_all(dir, &err), &err);
	return 0;
}

/* ---- names ---- */

static void test_references(void **state)
{
#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	static const struct {
		const char *text, *whole; /* whole NULL: refused */
	} rows[] = {
		{"busybox", "docker.io/library/busybox:latest"},
		{"busybox:1.36", "docker.io/library/busybox:1.36"},
		{"a/b", "docker.io/a/b:latest"},
		{"docker.io/busybox", "docker.io/library/busybox:latest"},
		{"index.docker.io/busybox", "docker.io/library/busybox:latest"},
		{"index.docker.io/a/b:x", "docker.io/a/b:x"},
		{"quay.io/a/b/c:v1", "quay.io/a/b/c:v1"},
		{"localhost/x", "localhost/x:latest"},
		{"localhost:5000/x:y", "localhost:5000/x:y"},
		{"host:5000/x", "host:5000/x:latest"},
		{"127.0.0.1:1/x", "127.0.0.1:1/x:latest"},
		{"busybox@sha256:" HEX, "docker.io/library/busybox@sha256:" HEX},
		{"busybox:t@sha256:" HEX, "docker.io/library/busybox:t@sha256:" HEX},
		{"", NULL},
		{"Busybox", NULL},
		{"a//b", NULL},
		{"a/b/", NULL},
		{"busybox:", NULL},
		{"busybox:-x", NULL},
		{"busybox@sha256:12", NULL},
		{"busybox@md5:" HEX, NULL},
		{"../x", NULL},
		{"a/../b", NULL},
		{"a b", NULL},
		{"x:y/z", NULL},
		{"[fd00::1]:5000/z", "[fd00::1]:5000/z:latest"},
		{"[fd00::1/z", NULL},
		{"a..b/z", NULL},
		{"a.b.:1/z", NULL},
		{"a.b:/z", NULL},
		{"a.b:123456/z", NULL},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct image_reference reference;
		autoerror struct error err = {0};
		int r = image_reference_parse(rows[i].text, &reference, &err);
		if (!rows[i].whole) {
			if (r != -EINVAL)
				fail_msg("\"%s\" was accepted", rows[i].text);
			continue;
		}
		if (r < 0)
			fail_msg("%s", error_message(&err));
		autofree char *whole = image_reference_format(&reference);
		assert_string_equal(whole, rows[i].whole);
		image_reference_done(&reference);
	}
}

/* ---- layers ---- */

static int apply(const struct tar_row *rows, size_t count, const char *root)
{
	size_t len;
	autofree char *tar = tar_make(rows, count, &len), *path = under("layer.tar");
	assert_int_equal(file_write(AT_FDCWD, path, tar, len, 0644, NULL), 0);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC), root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0 && root_fd >= 0);
	return image_apply_layer(fd, root_fd, 1 << 20, NULL);
}

static void test_malicious_layers_stay_inside(void **state)
{
	autofree char *victim = under("victim"), *secret = under("victim/secret"), *root = under("evil");
	struct tar_row cases[][3] = {
		{{"../victim/new", S_IFREG, 0644, "x", 0}},
		{{"a/../../victim/new", S_IFREG, 0644, "x", 0}},
		{{"link", S_IFLNK, 0777, victim, 0}, {"link/new", S_IFREG, 0644, "x", 0}},
		{{"link", S_IFLNK, 0777, "../victim", 0}, {"link/new", S_IFREG, 0644, "x", 0}},
		{{"link", S_IFLNK, 0777, secret, 0}, {"link", S_IFREG, 0644, "x", 0}},
		{{"hard", 0, 0644, secret, 0}, {"hard", S_IFREG, 0644, "x", 0}},
		{{"hard", 0, 0644, "../victim/secret", 0}},
		{{"link", S_IFLNK, 0777, victim, 0}, {"hard", 0, 0644, "link/secret", 0}},
		{{"link", S_IFLNK, 0777, victim, 0}, {"link/.wh.secret", S_IFREG, 0644, "", 0}},
		{{"link", S_IFLNK, 0777, victim, 0}, {"link/.wh..wh..opq", S_IFREG, 0644, "", 0}},
		{{".wh...", S_IFREG, 0644, "", 0}},
		{{".wh.", S_IFREG, 0644, "", 0}},
		{{"link", S_IFLNK, 0777, "/proc/self/root", 0}, {"link/tmp/x", S_IFREG, 0644, "x", 0}},
		{{"d", S_IFDIR, 0755, NULL, 0}, {"d", S_IFLNK, 0777, victim, 0}, {"d/secret", S_IFREG, 0644, "x", 0}},
		{{"/etc/absolute", S_IFREG, 0644, "x", 0}},
	};
	for (size_t i = 0; i < array_len(cases); i++) {
		file_remove_all(root, NULL);
		file_remove_all(victim, NULL);
		assert_int_equal(file_mkdir_all(root, 0755, NULL), 0);
		assert_int_equal(file_mkdir_all(victim, 0755, NULL), 0);
		assert_int_equal(file_write(AT_FDCWD, secret, "secret", 6, 0600, NULL), 0);
		size_t count = 0;
		while (count < 3 && cases[i][count].path)
			count++;
		apply(cases[i], count, root); /* refused or harmless: both will do */
		autofree char *text = NULL, *made = under("victim/new");
		size_t len;
		struct stat st;
		if (file_read(AT_FDCWD, secret, 64, &text, &len, NULL) < 0 || strcmp(text, "secret") != 0 || file_exists(made) || stat(secret, &st) < 0 ||
			st.st_nlink != 1)
			fail_msg("case %zu reached outside", i);
		assert_false(file_exists("/etc/absolute"));
	}
}

static void test_layer_contents(void **state)
{
	autofree char *root = under("plain");
	assert_int_equal(file_mkdir_all(root, 0755, NULL), 0);
	const struct tar_row rows[] = {
		{"./", S_IFDIR, 0711, NULL, 0},
		{"dir", S_IFDIR, 0750, NULL, 0},
		{"dir/file", S_IFREG, 04755, "text", 0},
		{"dir/hard", 0, 0644, "dir/file", 0},
		{"dir/link", S_IFLNK, 0777, "/dir/file", 0},
		{"deep/er/still", S_IFREG, 0600, "x", 0},
		{"caf\xc3\xa9", S_IFREG, 0600, "utf-8", 0},
	};
	assert_int_equal(apply(rows, array_len(rows), root), 0);
	struct stat st, other;
	autofree char *file = path_join(root, "dir/file", NULL), *hard = path_join(root, "dir/hard", NULL), *still = path_join(root, "deep/er/still", NULL);
	autofree char *folder = path_join(root, "dir", NULL), *utf = path_join(root, "caf\xc3\xa9", NULL);
	assert_int_equal(stat(root, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 04755);
	assert_int_equal(st.st_mtime, 1700000000);
	assert_int_equal(stat(hard, &other), 0);
	assert_int_equal(st.st_ino, other.st_ino);
	assert_int_equal(stat(still, &st), 0);
	assert_int_equal(stat(folder, &st), 0);
	assert_int_equal(st.st_mtime, 1700000000);
	assert_true(file_exists(utf));
	/* Too much is refused. */
	size_t big = 2 << 20;
	autofree char *data = xcalloc(1, big);
	const struct tar_row large[] = {{"big", S_IFREG, 0644, data, big}};
	assert_int_equal(apply(large, 1, root), -EFBIG);
}

/* ---- the store ---- */

static void test_load_list_remove(void **state)
{
	autoerror struct error err = {0};
	autofree char *archive = under("busybox.tar");
	assert_int_equal(busybox_image_write(archive, "busybox:one"), 0);
	struct image_list list = {0};
	assert_ok(image_load(store, archive, NULL, &list, &err), &err);
	assert_int_equal(list.len, 1);
	autofree char *id = xstrdup(list.items[0]->id);
	assert_string_equal(list.items[0]->tags[0], "docker.io/library/busybox:one");
	assert_string_equal(list.items[0]->config.cmd[0], "sh");
	assert_true(list.items[0]->size > 1 << 20);
	image_list_done(&list);

	assert_ok(image_load(store, archive, NULL, NULL, &err), &err); /* again: the same */
	assert_ok(image_tag(store, "busybox:one", "quay.io/x/y:two", &err), &err);
	assert_ok(image_list(store, &list, &err), &err);
	assert_int_equal(list.len, 1);
	assert_int_equal(image_strv_len(list.items[0]->tags), 2);
	image_list_done(&list);
	autoimage struct image *image = NULL;
	autofree char *brief = xstrndup(id + 7, 12);
	assert_ok(image_get(store, brief, &image, &err), &err);
	assert_string_equal(image->id, id);
	assert_int_equal(image_get(store, "busybox", &image, &err), -ENOENT);

	/* A lease keeps it; another store on the same folder sees all. */
	struct image_store *other;
	assert_ok(image_store_open(image_store_root(store), &other, &err), &err);
	assert_ok(image_lease(other, id, "container-1", &err), &err);
	assert_ok(image_remove(store, "busybox:one", NULL, &err), &err);
	assert_int_equal(image_remove(store, "quay.io/x/y:two", NULL, &err), -EBUSY);
	assert_int_equal(image_remove(store, id, NULL, &err), -EBUSY);
	uint64_t freed = 1;
	assert_ok(image_collect(store, 1 << 30, 0, 0, &freed, &err), &err);
	assert_int_equal(freed, 0);
	assert_ok(image_release(other, id, "container-1", &err), &err);
	assert_ok(image_set_pinned(store, id, true, &err), &err);
	assert_ok(image_collect(store, 1 << 30, 0, 0, &freed, &err), &err);
	assert_int_equal(freed, 0);
	assert_ok(image_set_pinned(store, id, false, &err), &err);
	assert_ok(image_collect(store, 1 << 30, 3600 * NSEC_PER_SEC, 0, &freed, &err), &err); /* too young */
	assert_int_equal(freed, 0);
	struct image_usage usage;
	assert_ok(image_usage(store, &usage, &err), &err);
	assert_true(usage.used_bytes > 2 << 20);
	assert_ok(image_collect(store, 1 << 30, 0, 0, &freed, &err), &err);
	assert_true(freed > 2 << 20);
	assert_int_equal(image_get(other, id, &image, &err), -ENOENT);
	assert_ok(image_usage(store, &usage, &err), &err);
	assert_int_equal(usage.used_bytes, 0);
	image_store_close(other);
}

static char *layer_of(const struct tar_row *rows, size_t count, size_t *ret_len)
{
	return tar_make(rows, count, ret_len);
}

static void test_layers_and_whiteouts(void **state)
{
	autoerror struct error err = {0};
	const struct tar_row first[] = {
		{"./", S_IFDIR, 0711, NULL, 0}, {"keep", S_IFREG, 0644, "1", 0}, {"gone", S_IFREG, 0644, "1", 0}, {"tree", S_IFDIR, 0755, NULL, 0}, {"tree/a", S_IFREG, 0644, "1", 0},
		{"opaque", S_IFDIR, 0755, NULL, 0}, {"opaque/old", S_IFREG, 0644, "1", 0}, {"usr", S_IFDIR, 0755, NULL, 0},
		{"usr/lib", S_IFDIR, 0755, NULL, 0}, {"lib", S_IFLNK, 0777, "usr/lib", 0},
	};
	const struct tar_row second[] = {
		{".wh.gone", S_IFREG, 0644, "", 0}, {".wh.tree", S_IFREG, 0644, "", 0}, {"opaque/new", S_IFREG, 0644, "2", 0},
		{"opaque/.wh..wh..opq", S_IFREG, 0644, "", 0}, {"keep", S_IFREG, 0644, "2", 0}, {"lib/through", S_IFREG, 0644, "2", 0},
	};
	size_t lens[2];
	char *layers[2] = {layer_of(first, array_len(first), &lens[0]), layer_of(second, array_len(second), &lens[1])};
	autofree char *archive = under("layered.tar"), *target = under("mnt"), *upper = under("upper"), *work = under("work");
	assert_int_equal(docker_archive_write(archive, "layered:1", "{\"Cmd\":[\"x\"]}", layers, lens, 2), 0);
	assert_ok(image_load(store, archive, NULL, NULL, &err), &err);
	autoimage struct image *image = NULL;
	assert_ok(image_get(store, "layered:1", &image, &err), &err);
	assert_int_equal(image_strv_len(image->layers), 2);
	assert_int_equal(mkdir(target, 0755), 0);
	assert_ok(image_mount(store, image, &(struct image_place){.target = target, .upper = upper, .work = work, .userns_fd = -1}, &err), &err);
	static const struct {
		const char *path;
		bool there;
	} rows[] = {{"keep", true}, {"gone", false}, {"tree", false}, {"tree/a", false}, {"opaque/old", false}, {"opaque/new", true},
		{"usr/lib/through", true}, {"lib/through", true}};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *path = path_join(target, rows[i].path, NULL);
		if (file_exists(path) != rows[i].there)
			fail_msg("%s %s", rows[i].path, rows[i].there ? "is missing" : "is there");
	}
	autofree char *keep = path_join(target, "keep", NULL), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, keep, 16, &text, &len, NULL), 0);
	assert_string_equal(text, "2");
	struct stat st;
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711); /* the first layer's word on the root holds */
	assert_int_equal(umount2(target, 0), 0);
	assert_ok(image_mount(store, image, &(struct image_place){.target = target, .userns_fd = -1}, &err), &err); /* read only */
	autofree char *fresh = path_join(target, "fresh", NULL);
	assert_true(open(fresh, O_WRONLY | O_CREAT, 0600) < 0);
	assert_int_equal(umount2(target, 0), 0);
	/* Taken away behind the store's back: it is not there until it is loaded again. */
	autofree char *lost = image_layer_folder(store, image, 0), *layer = xstrndup(lost, strlen(lost) - strlen("/fs"));
	struct image *again = NULL;
	assert_ok(file_remove_all(layer, &err), &err);
	assert_int_equal(image_get(store, "layered:1", &again, &err), -ENOENT);
	assert_ok(image_load(store, archive, NULL, NULL, &err), &err);
	assert_ok(image_get(store, "layered:1", &again, &err), &err);
	assert_true(file_exists(lost));
	image_free(again);
	assert_ok(image_remove(store, image->id, NULL, &err), &err);
	free(layers[0]);
	free(layers[1]);
}

/* More than one page of mount options: the layers are named by descriptor. */
static void test_many_layers(void **state)
{
	autoerror struct error err = {0};
	enum { LAYERS = 60 };
	char *layers[LAYERS], name[LAYERS][32];
	size_t lens[LAYERS];
	for (int i = 0; i < LAYERS; i++) {
		snprintf(name[i], sizeof(name[i]), "file-%d", i);
		const struct tar_row rows[] = {{name[i], S_IFREG, 0644, name[i], 0}, {"last", S_IFREG, 0644, name[i], 0}};
		layers[i] = tar_make(rows, 2, &lens[i]);
	}
	autofree char *archive = under("many.tar"), *target = under("many"), *upper = under("many-upper"), *work = under("many-work");
	assert_int_equal(docker_archive_write(archive, "many:1", "{\"Cmd\":[\"x\"]}", layers, lens, LAYERS), 0);
	assert_ok(image_load(store, archive, NULL, NULL, &err), &err);
	autoimage struct image *image = NULL;
	assert_ok(image_get(store, "many:1", &image, &err), &err);
	assert_int_equal(mkdir(target, 0755), 0);
	assert_ok(image_mount(store, image, &(struct image_place){.target = target, .upper = upper, .work = work, .userns_fd = -1}, &err), &err);
	autofree char *last = path_join(target, "last", NULL), *first = path_join(target, "file-0", NULL), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, last, 16, &text, &len, NULL), 0);
	assert_string_equal(text, "file-59");
	assert_true(file_exists(first));
	assert_int_equal(umount2(target, 0), 0);
	assert_ok(image_remove(store, image->id, NULL, &err), &err);
	for (int i = 0; i < LAYERS; i++)
		free(layers[i]);
}

static void test_bad_archives(void **state)
{
	autoerror struct error err = {0};
	autofree char *path = under("bad.tar");
	assert_true(image_load(store, "/no/such/file", NULL, NULL, &err) == -ENOENT);
	assert_int_equal(file_write(AT_FDCWD, path, "not a tar", 9, 0644, NULL), 0);
	assert_true(image_load(store, path, NULL, NULL, &err) < 0);
	const struct tar_row rows[] = {{"x", S_IFREG, 0644, "y", 0}};
	size_t len;
	autofree char *tar = tar_make(rows, 1, &len);
	assert_int_equal(file_write(AT_FDCWD, path, tar, len, 0644, NULL), 0);
	assert_true(image_load(store, path, NULL, NULL, &err) < 0);
	struct image_list list;
	assert_ok(image_list(store, &list, &err), &err);
	assert_int_equal(list.len, 0);
	image_list_done(&list);
}

static void *load_many(void *arg)
{
	struct image_store *own;
	if (image_store_open(image_store_root(store), &own, NULL) < 0)
		return (void *)1;
	int r = image_load(own, arg, NULL, NULL, NULL);
	image_store_close(own);
	return r < 0 ? (void *)1 : NULL;
}

static void test_loading_at_the_same_time(void **state)
{
	autofree char *archive = under("busybox.tar");
	pthread_t threads[4];
	for (size_t i = 0; i < array_len(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, load_many, archive), 0);
	for (size_t i = 0; i < array_len(threads); i++) {
		void *failed;
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	struct image_list list;
	assert_int_equal(image_list(store, &list, NULL), 0);
	assert_int_equal(list.len, 1);
	assert_int_equal(image_strv_len(list.items[0]->tags), 1);
	image_list_done(&list);
	assert_int_equal(image_remove(store, "busybox:one", NULL, NULL), 0);
}

/* ---- a registry ---- */

static struct registry {
	char *config, *manifest, *layer;
	size_t layer_len;
	char config_digest[80], manifest_digest[80], layer_digest[80];
	bool wants_password;
	int layer_gets;
} registry;

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const void *body, size_t len, const char *type, const char *digest)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(len, (void *)body, MHD_RESPMEM_MUST_COPY);
	MHD_add_response_header(response, "Content-Type", type);
	if (digest)
		MHD_add_response_header(response, "Docker-Content-Digest", digest);
	if (status == 401)
		MHD_add_response_header(response, "WWW-Authenticate", "Basic realm=\"test\"");
	enum MHD_Result r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result serve(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
	const char *data, size_t *size, void **state)
{
	char *password = NULL;
	char *user = MHD_basic_auth_get_username_password(connection, &password);
	bool known = user && password && strcmp(user, "me") == 0 && strcmp(password, "secret") == 0;
	MHD_free(user);
	MHD_free(password);
	if (registry.wants_password && !known)
		return answer(connection, 401, "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}", 37, "application/json", NULL);
	if (strcmp(url, "/v2/") == 0)
		return answer(connection, 200, "{}", 2, "application/json", NULL);
	if (str_ends_with(url, "/manifests/latest") || str_ends_with(url, registry.manifest_digest))
		return answer(connection, 200, registry.manifest, strlen(registry.manifest), "application/vnd.oci.image.manifest.v1+json",
			registry.manifest_digest);
	if (str_ends_with(url, registry.config_digest))
		return answer(connection, 200, registry.config, strlen(registry.config), "application/octet-stream", NULL);
	if (str_ends_with(url, registry.layer_digest)) {
		registry.layer_gets++;
		return answer(connection, 200, registry.layer, registry.layer_len, "application/octet-stream", NULL);
	}
	static const char unknown[] = "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"manifest unknown\"}]}";
	return answer(connection, 404, unknown, sizeof(unknown) - 1, "application/json", NULL);
}

static void digest_of(const void *data, size_t len, char *out, size_t size)
{
	char hex[65];
	sha256_hex(data, len, hex);
	snprintf(out, size, "sha256:%s", hex);
}

/* diff_id: what the config says of its layer; NULL: the truth. */
static struct MHD_Daemon *start_registry(uint16_t *ret_port, const char *diff_id)
{
	registry.layer_gets = 0;
	registry.wants_password = false;
	const struct tar_row rows[] = {{"file", S_IFREG, 0644, "pulled", 0}};
	registry.layer = tar_make(rows, 1, &registry.layer_len);
	digest_of(registry.layer, registry.layer_len, registry.layer_digest, sizeof(registry.layer_digest));
	registry.config = xprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"User\":\"7\"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
		diff_id ? diff_id : registry.layer_digest);
	digest_of(registry.config, strlen(registry.config), registry.config_digest, sizeof(registry.config_digest));
	registry.manifest = xprintf("{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":"
				    "\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[{\"mediaType\":"
				    "\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
		registry.config_digest, strlen(registry.config), registry.layer_digest, registry.layer_len);
	digest_of(registry.manifest, strlen(registry.manifest), registry.manifest_digest, sizeof(registry.manifest_digest));
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, serve, NULL, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
	assert_non_null(daemon);
	*ret_port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
	return daemon;
}

static void free_registry(void)
{
	free(registry.config);
	free(registry.manifest);
	free(registry.layer);
}

static void test_pull(void **state)
{
	autoerror struct error err = {0};
	uint16_t port;
	struct MHD_Daemon *daemon = start_registry(&port, NULL);
	autofree char *name = xprintf("127.0.0.1:%u/team/app", port), *missing = xprintf("127.0.0.1:%u/team/app:none", port);
	autofree char *digest_name = xprintf("%s@%s", name, registry.manifest_digest), *tag = xprintf("%s:latest", name);
	autofree char *policy = under("policy.json");
	assert_int_equal(file_write(AT_FDCWD, policy, "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}", 47, 0644, NULL), 0);
	struct image_pull_options options = {.insecure = true, .timeout_ms = 20000, .policy_path = policy};
	autoimage struct image *image = NULL;
	assert_ok(image_pull(store, name, &options, &image, &err), &err);
	assert_string_equal(image->id, registry.config_digest);
	assert_string_equal(image->tags[0], tag);
	assert_string_equal(image_status_id(image), digest_name);
	assert_string_equal(image->config.user, "7");
	image = image_free(image);
	assert_int_equal(registry.layer_gets, 1);
	assert_ok(image_pull(store, name, &options, NULL, &err), &err); /* here already */
	assert_ok(image_pull(store, digest_name, &options, NULL, &err), &err);
	assert_int_equal(registry.layer_gets, 1);

	assert_int_equal(image_pull(store, missing, &options, NULL, &err), -ENOENT);
	assert_string_equal(err.reason, "ErrImagePull");
	assert_int_equal(image_pull(store, "No Name", &options, NULL, &err), -EINVAL);
	assert_string_equal(err.reason, "InvalidImageName");
	registry.wants_password = true;
	assert_int_equal(image_pull(store, name, &options, NULL, &err), -EACCES);
	assert_null(strstr(error_message(&err), "secret"));
	options.username = "me";
	options.password = "secret";
	assert_ok(image_remove(store, registry.config_digest, NULL, &err), &err);
	assert_ok(image_pull(store, name, &options, &image, &err), &err);
	options.username = NULL;
	autofree char *auth = xprintf("{\"auths\":{\"127.0.0.1:%u\":{\"auth\":\"bWU6c2VjcmV0\"}}}", port);
	options.auth_json = auth;
	assert_ok(image_remove(store, registry.config_digest, NULL, &err), &err);
	assert_ok(image_pull(store, name, &options, NULL, &err), &err);
	autofree char *reject = under("reject.json");
	assert_int_equal(file_write(AT_FDCWD, reject, "{\"default\":[{\"type\":\"reject\"}]}", 31, 0644, NULL), 0);
	options.policy_path = reject;
	assert_ok(image_remove(store, registry.config_digest, NULL, &err), &err);
	assert_int_equal(image_pull(store, name, &options, NULL, &err), -EPERM);
	assert_string_equal(err.reason, "SignatureValidationFailed");
	MHD_stop_daemon(daemon);
	options.policy_path = policy;
	assert_int_equal(image_pull(store, name, &options, NULL, &err), -EHOSTUNREACH);
	assert_string_equal(err.reason, "RegistryUnavailable");
	free_registry();
}

/* Layers are shared by the name their images' configs give them: a config that lies must not get its files under another's name. */
static void test_pull_of_a_lying_image(void **state)
{
	autoerror struct error err = {0};
	uint16_t port;
	struct MHD_Daemon *daemon = start_registry(&port, "sha256:" HEX);
	autofree char *name = xprintf("127.0.0.1:%u/liar", port);
	struct image_pull_options options = {.insecure = true, .timeout_ms = 20000};
	assert_int_equal(image_pull(store, name, &options, NULL, &err), -EBADMSG);
	MHD_stop_daemon(daemon);
	free_registry();
}

static void test_pull_gives_up(void **state)
{
	autoerror struct error err = {0};
	/* Accepts and never answers. */
	autoclose int silent = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	assert_int_equal(bind(silent, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(silent, 8), 0);
	assert_int_equal(getsockname(silent, (struct sockaddr *)&address, &len), 0);
	autofree char *name = xprintf("127.0.0.1:%u/x", ntohs(address.sin_port));
	struct image_pull_options options = {.insecure = true, .timeout_ms = 400};
	assert_int_equal(image_pull(store, name, &options, NULL, &err), -ETIMEDOUT);
	int fds[2];
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	options = (struct image_pull_options){.insecure = true, .cancel_fd = &fds[0]};
	assert_int_equal(image_pull(store, name, &options, NULL, &err), -ECANCELED);
	close(fds[0]);
	close(fds[1]);
}

static void test_config_parse(void **state)
{
	static const struct {
		const char *json;
		int result;
	} rows[] = {
		{"{}", 0},
		{"[]", -EINVAL},
		{"", -EINVAL},
		{"{\"config\":{\"Cmd\":[\"a\",1,\"b\"],\"Volumes\":{\"/v\":{}}}}", 0},
		{"{\"config\":null,\"rootfs\":{\"diff_ids\":[\"sha256:../../x\"]}}", -EINVAL},
		{"{\"config\":7,\"rootfs\":7}", 0},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct image_config config = {0};
		char **ids = NULL;
		assert_int_equal(image_config_parse(rows[i].json, strlen(rows[i].json), &config, &ids, NULL), rows[i].result);
		image_config_done(&config);
		image_strv_free(ids);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_references),
		cmocka_unit_test(test_config_parse),
		cmocka_unit_test(test_malicious_layers_stay_inside),
		cmocka_unit_test(test_layer_contents),
		cmocka_unit_test(test_load_list_remove),
		cmocka_unit_test(test_layers_and_whiteouts),
		cmocka_unit_test(test_many_layers),
		cmocka_unit_test(test_bad_archives),
		cmocka_unit_test(test_loading_at_the_same_time),
		cmocka_unit_test(test_pull),
		cmocka_unit_test(test_pull_of_a_lying_image),
		cmocka_unit_test(test_pull_gives_up),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
