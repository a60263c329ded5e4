/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: writes a docker archive of a small image whose one program is this machine's static busybox. Deterministic but for
 * busybox itself. Users: root, nobody, app (1000, in group extra 2000).
 */
#ifndef CORACLE_TEST_BUSYBOX_IMAGE_H
#define CORACLE_TEST_BUSYBOX_IMAGE_H

#include "common/base/file.h"
#include "common/base/random.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <sys/stat.h>

struct tar_row {
	const char *path;
	mode_t type;      /* S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR; 0: hard link */
	mode_t mode;
	const char *text; /* content, or where a link leads */
	size_t len;       /* 0: strlen(text) */
};

static inline char *tar_make(const struct tar_row *rows, size_t count, size_t *ret_len)
{
	size_t cap = 64 << 10, used = 0;
	for (size_t i = 0; i < count; i++)
		cap += 4096 + (rows[i].len ? rows[i].len : rows[i].text ? strlen(rows[i].text) : 0);
	char *out = xmalloc(cap);
	struct archive *tar = archive_write_new();
	archive_write_set_format_pax_restricted(tar);
	archive_write_set_bytes_in_last_block(tar, 1);
	archive_write_open_memory(tar, out, cap, &used);
	for (size_t i = 0; i < count; i++) {
		struct archive_entry *e = archive_entry_new();
		size_t len = rows[i].len ? rows[i].len : rows[i].text ? strlen(rows[i].text) : 0;
		archive_entry_set_pathname(e, rows[i].path);
		archive_entry_set_mtime(e, 1700000000, 0);
		archive_entry_set_perm(e, rows[i].mode);
		if (!rows[i].type)
			archive_entry_set_hardlink(e, rows[i].text);
		else
			archive_entry_set_filetype(e, rows[i].type);
		if (rows[i].type == S_IFLNK)
			archive_entry_set_symlink(e, rows[i].text);
		if (rows[i].type == S_IFREG)
			archive_entry_set_size(e, (int64_t)len);
		archive_write_header(tar, e);
		if (rows[i].type == S_IFREG)
			archive_write_data(tar, rows[i].text, len);
		archive_entry_free(e);
	}
	archive_write_close(tar);
	archive_write_free(tar);
	*ret_len = used;
	return out;
}

/* A docker archive of these layers at `path`, tagged `tag` (NULL: not). config_json is the inner config: {"Cmd":[...]}. */
static inline int docker_archive_write(const char *path, const char *tag, const char *config_json, char *const *layers, const size_t *lens, size_t count)
{
	struct tar_row rows[132] = {0};
	char names[130][80], hex[65], config_name[80];
	autobuf struct buf diff = BUF_INIT(1 << 16), list = BUF_INIT(1 << 16);
	for (size_t i = 0; i < count; i++) {
		sha256_hex(layers[i], lens[i], hex);
		snprintf(names[i], sizeof(names[i]), "%s.tar", hex);
		rows[i] = (struct tar_row){names[i], S_IFREG, 0644, layers[i], lens[i]};
		buf_printf(&diff, "%s\"sha256:%s\"", i ? "," : "", hex);
		buf_printf(&list, "%s\"%s\"", i ? "," : "", names[i]);
	}
	autofree char *config = xprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":%s,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[%s]}}",
		config_json, diff.data);
	sha256_hex(config, strlen(config), hex);
	snprintf(config_name, sizeof(config_name), "%s.json", hex);
	autofree char *manifest = tag ? xprintf("[{\"Config\":\"%s\",\"RepoTags\":[\"%s\"],\"Layers\":[%s]}]", config_name, tag, list.data)
				      : xprintf("[{\"Config\":\"%s\",\"RepoTags\":null,\"Layers\":[%s]}]", config_name, list.data);
	rows[count] = (struct tar_row){config_name, S_IFREG, 0644, config, 0};
	rows[count + 1] = (struct tar_row){"manifest.json", S_IFREG, 0644, manifest, 0};
	size_t len;
	autofree char *tar = tar_make(rows, count + 2, &len);
	return file_write(AT_FDCWD, path, tar, len, 0644, NULL);
}

static inline int busybox_image_write(const char *path, const char *tag)
{
	static const char *const applets[] = {"sh", "ls", "cat", "echo", "sleep", "true", "false", "id", "env", "mount", "ps", "wget", "nc", "httpd", "ip",
		"hostname", "head", "tail", "dd", "grep", "kill", "stat", "touch", "stty", "nslookup", "ping", "readlink", "mkdir", "rm", "tr", "wc"};
	struct tar_row rows[80] = {
		{"bin", S_IFDIR, 0755, NULL, 0}, {"etc", S_IFDIR, 0755, NULL, 0}, {"tmp", S_IFDIR, 01777, NULL, 0}, {"proc", S_IFDIR, 0755, NULL, 0},
		{"sys", S_IFDIR, 0755, NULL, 0}, {"dev", S_IFDIR, 0755, NULL, 0}, {"root", S_IFDIR, 0700, NULL, 0},
		{"etc/passwd", S_IFREG, 0644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\napp:x:1000:1000::/:/bin/sh\n", 0},
		{"etc/group", S_IFREG, 0644, "root:x:0:\napp:x:1000:\nextra:x:2000:app\n", 0},
	};
	size_t n = 9, len, busybox_len;
	autofree char *busybox = NULL;
	if (file_read(AT_FDCWD, "/bin/busybox", 16 << 20, &busybox, &busybox_len, NULL) < 0)
		return -1;
	rows[n++] = (struct tar_row){"bin/busybox", S_IFREG, 0755, busybox, busybox_len};
	char names[array_len(applets)][32];
	for (size_t i = 0; i < array_len(applets); i++) {
		snprintf(names[i], sizeof(names[i]), "bin/%s", applets[i]);
		rows[n++] = (struct tar_row){names[i], S_IFLNK, 0777, "busybox", 0};
	}
	char *layer = tar_make(rows, n, &len);
	int r = docker_archive_write(path, tag, "{\"Env\":[\"PATH=/bin\",\"FROM_IMAGE=yes\"],\"Cmd\":[\"sh\",\"-c\",\"echo default\"]}", &layer, &len, 1);
	free(layer);
	return r;
}

#endif
