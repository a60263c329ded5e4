/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/certificate/store.h"

#include "common/base/clock.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

char *pair_store_path(const char *dir, const char *prefix) {
	return xprintf("%s/%s-current.pem", dir, prefix);
}

int pair_read_files(const char *cert_file, const char *key_file, struct pair *ret, struct error *err) {
	autofree char *cert = NULL, *key = NULL;
	size_t cert_len = 0, key_len = 0;
	int r = file_read(AT_FDCWD, cert_file, PAIR_MAX_BYTES, &cert, &cert_len, err);
	if (r == 0)
		r = file_read(AT_FDCWD, key_file, PAIR_MAX_BYTES, &key, &key_len, err);
	if (r == 0 && (r = pair_make(cert, key, ret, err)) < 0)
		error_context(err, "%s", cert_file);
	if (key)
		explicit_bzero(key, key_len);
	if (cert)
		explicit_bzero(cert, cert_len);
	return r;
}

int pair_store_read(const char *dir, const char *prefix, struct pair *ret, struct error *err) {
	autofree char *path = pair_store_path(dir, prefix);
	return pair_read_files(path, path, ret, err);
}

int pair_store_write(const char *dir, const char *prefix, const struct pair *pair, struct error *err) {
	autofree char *current = pair_store_path(dir, prefix), *fresh = xprintf("%s/%s-updated.pem", dir, prefix);
	time_t now = (time_t)clock_wall().sec;
	struct tm utc;
	char stamp[32];
	int r = file_mkdir_all(dir, 0755, err);
	if (r < 0)
		return r;
	strftime(stamp, sizeof(stamp), "%Y-%m-%d-%H-%M-%S", gmtime_r(&now, &utc));
	autofree char *name = xprintf("%s-%s.pem", prefix, stamp), *path = path_join(dir, name, NULL);
	autofree char *text = xprintf("%s%s%s", pair->cert, pair->cert[0] && pair->cert[strlen(pair->cert) - 1] == '\n' ? "" : "\n", pair->key);
	r = file_write_durable(AT_FDCWD, path, text, strlen(text), 0600, err);
	explicit_bzero(text, strlen(text));
	if (r < 0)
		return r;
	/* One that a kill left behind. */
	if (unlink(fresh) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove %s", fresh);
	if (symlink(path, fresh) < 0 || rename(fresh, current) < 0)
		return error_set_errno(err, errno, "let %s lead to %s", current, path);
	autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return error_set_errno(err, errno, "sync %s", dir);
	return 0;
}
