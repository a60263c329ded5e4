/* SPDX-License-Identifier: Apache-2.0 */
/* Network namespaces: made, pinned by a bind mount, entered by one thread at a time. */
#include "kubelet/network/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <unistd.h>

/* Where the calling thread came from, to go back to. */
static int enter(const char *path, int *ret_home, struct error *err)
{
	autoclose int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (home < 0)
		return error_set_errno(err, errno, "open own network namespace");
	autoclose int target = open(path, O_RDONLY | O_CLOEXEC);
	if (target < 0)
		return error_set_errno(err, errno, "open network namespace %s", path);
	if (setns(target, CLONE_NEWNET) < 0)
		return error_set_errno(err, errno, "enter network namespace %s", path);
	*ret_home = take_fd(home);
	return 0;
}

static void leave(int home)
{
	/* Going on in a pod's namespace would be worse than ending here. */
	if (setns(home, CLONE_NEWNET) < 0)
		abort();
	close(home);
}

int netns_socket(const char *path, int domain, int type, int protocol, struct error *err)
{
	int home = -1;
	if (path) {
		int r = enter(path, &home, err);
		if (r < 0)
			return r;
	}
	int fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	int saved = errno;
	if (path)
		leave(home);
	return fd < 0 ? error_set_errno(err, saved, "make a socket") : fd;
}

void netns_setting(const char *netns, const char *path, const char *value)
{
	int home;
	if (enter(netns, &home, NULL) < 0)
		return;
	autofree char *now = NULL;
	size_t len;
	if (file_read(AT_FDCWD, path, 64, &now, &len, NULL) == 0 && strncmp(now, value, strlen(value)) != 0)
		file_write(AT_FDCWD, path, value, strlen(value), 0, NULL);
	leave(home);
}

static int loopback_up(int fd)
{
	struct ifreq request = {.ifr_name = "lo"};
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

struct maker {
	const char *path;
	int result;
	const char *step;
};

/* A thread of its own: it ends in the new namespace, and the pin alone keeps that alive. */
static void *make_and_pin(void *arg)
{
	struct maker *maker = arg;
	maker->step = "unshare";
	if (unshare(CLONE_NEWNET) < 0) {
		maker->result = -errno;
		return NULL;
	}
	maker->step = "bring up loopback";
	autoclose int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	maker->result = fd < 0 ? -errno : loopback_up(fd);
	if (maker->result < 0)
		return NULL;
	maker->step = "pin";
	if (mount("/proc/thread-self/ns/net", maker->path, NULL, MS_BIND, NULL) < 0)
		maker->result = -errno;
	return NULL;
}

int netns_create(const char *path, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return error_set_errno(err, errno, "make %s", path);
	close(fd);
	struct maker maker = {.path = path, .step = "start a thread"};
	pthread_t thread;
	int r = pthread_create(&thread, NULL, make_and_pin, &maker);
	if (r == 0)
		pthread_join(thread, NULL);
	else
		maker.result = -r;
	if (maker.result < 0) {
		unlink(path);
		return error_set_errno(err, maker.result, "network namespace %s: %s", path, maker.step);
	}
	return 0;
}

int netns_remove(const char *path, struct error *err)
{
	/* Several mounts may be stacked where a crash came between; take all away. */
	while (umount2(path, MNT_DETACH) == 0)
		;
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove %s", path);
	return 0;
}

static bool parse_counters(char *line, struct netns_interface *out)
{
	char *colon = strchr(line, ':');
	unsigned long long v[16];
	if (!colon)
		return false;
	*colon = 0;
	while (*line == ' ')
		line++;
	if (strcmp(line, "lo") == 0)
		return false;
	int n = sscanf(colon + 1, "%llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7],
		&v[8], &v[9], &v[10], &v[11]);
	if (n != 12)
		return false;
	*out = (struct netns_interface){.rx_bytes = v[0], .rx_packets = v[1], .rx_errors = v[2], .rx_dropped = v[3],
		.tx_bytes = v[8], .tx_packets = v[9], .tx_errors = v[10], .tx_dropped = v[11]};
	snprintf(out->name, sizeof(out->name), "%.15s", line);
	return true;
}

int netns_interfaces(const char *path, struct netns_interface *out, size_t max, struct error *err)
{
	int home = -1;
	if (path) {
		int r = enter(path, &home, err);
		if (r < 0)
			return r;
	}
	FILE *file = fopen("/proc/thread-self/net/dev", "re");
	int saved = errno;
	if (path)
		leave(home);
	if (!file)
		return error_set_errno(err, saved, "open /proc/thread-self/net/dev");
	char line[512];
	size_t count = 0;
	while (count < max && fgets(line, sizeof(line), file))
		if (parse_counters(line, &out[count]))
			count++;
	fclose(file);
	return (int)count;
}
