/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pod has which address: a file for each address, in the folder, under the names and with the lock of the host-local plugin. So what
 * that gave out before stays given, whoever takes it back.
 */
#include "kubelet/network/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#define PLUGIN_DIR "/var/lib/cni/networks"
#define MAX_OWNER 1024
#define MAX_TRIES (1 << 20)

/* Gives the folder, locked for as long as *ret_lock is open. */
static int open_locked(const struct network *network, int *ret_lock, struct error *err)
{
	autofree char *folder = path_join(network->ipam_dir ? network->ipam_dir : PLUGIN_DIR, OWN_NAME, NULL);
	int r = file_mkdir_all(folder, 0755, err);
	if (r < 0)
		return r;
	autoclose int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	autoclose int lock = dir < 0 ? -1 : openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return error_set_errno(err, errno, "lock the pod addresses in %s", folder);
	*ret_lock = take_fd(lock);
	return take_fd(dir);
}

/* The sandbox that a file of an address names in its first line; "" where it names none. */
static char *owner_of(int dir, const char *ip)
{
	char *text = NULL;
	size_t len;
	if (file_read(dir, ip, MAX_OWNER, &text, &len, NULL) < 0)
		return xstrdup("");
	text[strcspn(text, "\r\n")] = 0;
	return text;
}

static bool is_address(const char *name)
{
	uint8_t raw[16];
	return inet_pton(strchr(name, ':') ? AF_INET6 : AF_INET, name, raw) == 1;
}

static int claim(int dir, const char *ip, const char *id, struct error *err)
{
	autofree char *text = xprintf("%s\r\n" POD_INTERFACE, id);
	autoclose int fd = openat(dir, ip, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 && errno == EEXIST)
		return 0;
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
		int saved = errno;
		if (fd >= 0)
			unlinkat(dir, ip, 0);
		return error_set_errno(err, saved, "note the pod address %s", ip);
	}
	return 1;
}

int addresses_give(const struct network *network, const struct ip_range *range, size_t index, const char *id, char *ret_ip, struct error *err)
{
	autoclose int lock = -1, dir = open_locked(network, &lock, err);
	if (dir < 0)
		return dir;
	/* Round and round: an address that was just given up is the last to be given again. The range's first is the bridge's. */
	autofree char *last_file = xprintf("last_reserved_ip.%zu", index), *last = NULL;
	size_t len;
	uint64_t n = 0;
	if (file_read(dir, last_file, MAX_OWNER, &last, &len, NULL) == 0)
		ip_range_index(range, last, &n);
	for (uint64_t tries = min_of(range->hosts, (uint64_t)MAX_TRIES); tries > 0; tries--) {
		char ip[INET6_ADDRSTRLEN];
		n = n + 1 < range->hosts ? n + 1 : 0;
		if (n == 0)
			continue;
		ip_range_address(range, n, ip);
		int r = claim(dir, ip, id, err);
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		file_write(dir, last_file, ip, strlen(ip), 0644, NULL); /* without it, only the order is another */
		memcpy(ret_ip, ip, sizeof(ip));
		return 0;
	}
	char text[INET6_ADDRSTRLEN + 4];
	ip_range_text(range, text);
	return error_set(err, ENOSPC, "no address is left in %s", text);
}

bool addresses_has(const struct network *network, const char *ip, const char *id)
{
	autoclose int lock = -1, dir = open_locked(network, &lock, NULL);
	autofree char *owner = dir < 0 ? NULL : owner_of(dir, ip);
	return str_equal(owner, id);
}

int addresses_take(const struct network *network, bool (*wanted)(const char *owner, void *arg), void *arg, struct error *err)
{
	autoclose int lock = -1, dir = open_locked(network, &lock, err);
	if (dir < 0)
		return dir;
	int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = again < 0 ? NULL : fdopendir(again);
	if (!list) {
		int saved = errno;
		if (again >= 0)
			close(again);
		return error_set_errno(err, saved, "list the pod addresses");
	}
	int taken = 0;
	for (struct dirent *e; (e = readdir(list));) {
		if (!is_address(e->d_name))
			continue;
		autofree char *owner = owner_of(dir, e->d_name);
		if (wanted(owner, arg) && unlinkat(dir, e->d_name, 0) == 0)
			taken++;
	}
	closedir(list);
	return taken;
}
