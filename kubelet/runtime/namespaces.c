/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sandbox's namespaces. A child is cloned into them, waits until they are pinned, and ends, or becomes the pause process.
 * The child of a threaded program: until it executes something it makes system calls only.
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAUSE_NAME "coracle-pause"
#define LABEL_ENV "LABEL" /* of SELinux, in the environment: what stands among the arguments the pod can read */

const char *const namespace_files[NS_KINDS] = {
	[NS_NET] = "net",
	[NS_IPC] = "ipc",
	[NS_UTS] = "uts",
	[NS_USER] = "user",
	[NS_PID] = "pid",
};
static const int namespace_flags[NS_KINDS] = {
	[NS_NET] = CLONE_NEWNET,
	[NS_IPC] = CLONE_NEWIPC,
	[NS_UTS] = CLONE_NEWUTS,
	[NS_USER] = CLONE_NEWUSER,
	[NS_PID] = CLONE_NEWPID,
};

/* ---- the child ---- */

struct child {
	int flags;
	const char *hostname;
	int wait_fd;    /* one byte: go on */
	int status_fd;  /* an errno for the parent; closed by exec */
	int program_fd; /* -1: end after pinning */
	char *env;      /* of the program; NULL: none */
};

static noreturn void child_fail(const struct child *child, int errnum)
{
	ssize_t n unused = write(child->status_fd, &errnum, sizeof(errnum));
	_exit(1);
}

static int close_between(int from, int to)
{
	return from <= to ? (int)syscall(SYS_close_range, (unsigned)from, (unsigned)to, 0) : 0;
}

/*
 * A clone has all the parent's descriptors until it executes something. It must not keep them where the parent is killed: not the sockets that
 * the next kubelet listens on, and not the other end of its own pipe, whose end tells it that the parent is gone.
 */
static void close_others(const struct child *child)
{
	int keep[] = {child->wait_fd, child->status_fd, child->program_fd}, next = 3;
	for (int round = 0; round < 3; round++) {
		int least = INT32_MAX;
		for (int i = 0; i < 3; i++)
			if (keep[i] >= next && keep[i] < least)
				least = keep[i];
		if (least == INT32_MAX)
			break;
		close_between(next, least - 1);
		next = least + 1;
	}
	close_between(next, INT32_MAX);
}

static noreturn void child_main(const struct child *child)
{
	char byte;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_others(child);
	if (child->flags & CLONE_NEWUTS && child->hostname && sethostname(child->hostname, strlen(child->hostname)) < 0)
		child_fail(child, errno);
	if (child->flags & CLONE_NEWNET) {
		struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0)
			child_fail(child, errno);
		close(fd);
	}
	int ready = 0;
	if (write(child->status_fd, &ready, sizeof(ready)) != sizeof(ready) || read(child->wait_fd, &byte, 1) != 1)
		_exit(1);
	if (child->program_fd < 0)
		_exit(0);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	char *const argv[] = {(char *)PAUSE_NAME, NULL};
	char *const envp[] = {child->env, NULL};
	syscall(SYS_execveat, child->program_fd, "", argv, envp, AT_EMPTY_PATH);
	child_fail(child, errno);
}

/* ---- the pause process ---- */

static void write_text(const char *path, const char *text)
{
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n unused = fd < 0 ? 0 : write(fd, text, strlen(text));
}

/* An empty, read only root: through /proc/1/root its pod's containers must not see the host. */
static void hide_root(void)
{
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("none", "/tmp", "tmpfs", 0, "size=4k") < 0 ||
		chdir("/tmp") < 0 || syscall(SYS_pivot_root, ".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		_exit(1);
	mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL);
}

/* Not before the root is hidden, which no confined domain may do; so not by an exec either, for there is nothing to load a program from then. */
static void take_label(int fd, const char *label)
{
	if (label && (fd < 0 || write(fd, label, strlen(label)) < 0))
		log_warning("the SELinux policy keeps a sandbox's first process in the domain of the kubelet", LOG_STR("label", label), LOG_STR("err", strerror(errno)));
}

void runtime_pause_main(int argc, char *const *argv)
{
	if (argc < 1 || strcmp(argv[0], PAUSE_NAME) != 0 || getpid() != 1)
		return;
	const char *label = getenv(LABEL_ENV);
	int own_label = label ? open("/proc/self/attr/current", O_WRONLY | O_CLOEXEC) : -1;
	write_text("/proc/self/oom_score_adj", "-998");
	prctl(PR_SET_NAME, "pause");
	hide_root();
	take_label(own_label, label);
	for (int fd = 0; fd < 256; fd++)
		close(fd);
	if (setresgid(65535, 65535, 65535) < 0 || setresuid(65535, 65535, 65535) < 0) {
		/* A user namespace too small for 65535: its own nobody, else stay what we are there. */
		int r unused = setresgid(65534, 65534, 65534) | setresuid(65534, 65534, 65534);
	}
	prctl(PR_SET_DUMPABLE, 0);
	sigset_t all;
	sigemptyset(&all);
	sigaddset(&all, SIGTERM);
	sigaddset(&all, SIGINT);
	sigaddset(&all, SIGCHLD);
	sigprocmask(SIG_BLOCK, &all, NULL);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		int signo = sigwaitinfo(&all, NULL);
		if (signo == SIGTERM || signo == SIGINT)
			_exit(0);
	}
}

/* A sealed copy of this program in memory: what runs in a pod is never the file on the host. Made once. */
static int pause_program(struct runtime *runtime, struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	int have = runtime->pause_fd;
	pthread_mutex_unlock(&runtime->lock);
	if (have >= 0)
		return have;
	autoclose int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	autoclose int copy = memfd_create(PAUSE_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct stat st;
	if (self < 0 || copy < 0 || fstat(self, &st) < 0)
		return error_set_errno(err, errno, "copy the pause program");
	for (off_t left = st.st_size; left > 0;) {
		ssize_t n = sendfile(copy, self, NULL, (size_t)left);
		if (n <= 0)
			return error_set_errno(err, n < 0 ? errno : EIO, "copy the pause program");
		left -= n;
	}
	if (fcntl(copy, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return error_set_errno(err, errno, "seal the pause program");
	pthread_mutex_lock(&runtime->lock);
	if (runtime->pause_fd < 0)
		runtime->pause_fd = take_fd(copy);
	have = runtime->pause_fd;
	pthread_mutex_unlock(&runtime->lock);
	return have;
}

/* ---- the parent ---- */

static int write_mapping(pid_t pid, const char *file, json_t *mappings, struct error *err)
{
	autobuf struct buf text = BUF_INIT(4096);
	json_t *row;
	size_t i;
	json_array_foreach(mappings, i, row) buf_printf(&text, "%lld %lld %lld\n", (long long)json_integer_value(json_object_get(row, "containerID")),
		(long long)json_integer_value(json_object_get(row, "hostID")), (long long)json_integer_value(json_object_get(row, "size")));
	autofree char *path = xprintf("/proc/%d/%s", (int)pid, file);
	return file_write(AT_FDCWD, path, text.data, text.len, 0, err);
}

static int pin(struct runtime *runtime, const char *sandbox_id, pid_t pid, int flags, struct error *err)
{
	for (int kind = 0; kind < NS_KINDS; kind++) {
		if (!(flags & namespace_flags[kind]))
			continue;
		autofree char *target = sandbox_run(runtime, sandbox_id, namespace_files[kind]);
		autofree char *source = xprintf("/proc/%d/ns/%s", (int)pid, namespace_files[kind]);
		autoclose int fd = open(target, O_RDONLY | O_CREAT | O_CLOEXEC, 0444);
		if (fd < 0 || mount(source, target, NULL, MS_BIND, NULL) < 0)
			return error_set_errno(err, errno, "pin namespace at %s", target);
	}
	return 0;
}

/* Waits until the child is in its namespaces (with its ids mapped), or says what failed. */
static int child_ready(int status_fd, struct error *err)
{
	int errnum = 0;
	if (read(status_fd, &errnum, sizeof(errnum)) != sizeof(errnum))
		return error_set(err, ECHILD, "the sandbox's first process ended early");
	return errnum ? error_set_errno(err, errnum, "set up the sandbox's namespaces") : 0;
}

static int place_pause(struct runtime *runtime, const struct sandbox *sandbox, pid_t pid, struct error *err)
{
	autofree char *path = xprintf("%s/pause", sandbox->cgroup_parent);
	int r = cgroup_create(runtime->cgroups, path, NULL, err);
	return r < 0 ? r : cgroup_attach(runtime->cgroups, path, pid, err);
}

/* Steps between the clone and the go; the child waits meanwhile. */
static int prepare_child(struct runtime *runtime, const struct sandbox *sandbox, pid_t pid, int flags, int status_fd, struct error *err)
{
	int r = 0;
	if (flags & CLONE_NEWUSER) {
		r = write_mapping(pid, "uid_map", sandbox->uid_mappings, err);
		if (r == 0)
			r = write_mapping(pid, "gid_map", sandbox->gid_mappings, err);
	}
	if (r == 0)
		r = child_ready(status_fd, err);
	if (r == 0)
		r = pin(runtime, sandbox->id, pid, flags, err);
	if (r == 0 && sandbox->share_process_namespace)
		r = place_pause(runtime, sandbox, pid, err);
	return r;
}

int namespaces_pin(struct runtime *runtime, const struct sandbox *sandbox, int flags, const char *pause_label, pid_t *ret_pause, struct error *err)
{
	int go[2], status[2];
	autofree char *env = pause_label ? xprintf(LABEL_ENV "=%s", pause_label) : NULL;
	struct child child = {.flags = flags, .hostname = sandbox->hostname, .program_fd = -1, .env = env};
	if (sandbox->share_process_namespace) {
		child.program_fd = pause_program(runtime, err);
		if (child.program_fd < 0)
			return child.program_fd;
	}
	if (pipe2(go, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe");
	if (pipe2(status, O_CLOEXEC) < 0) {
		int saved = errno;
		close(go[0]);
		close(go[1]);
		return error_set_errno(err, saved, "pipe");
	}
	child.wait_fd = go[0];
	child.status_fd = status[1];
	int pidfd = -1;
	struct clone_args args = {.flags = (uint64_t)flags | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	int saved = errno;
	if (pid == 0)
		child_main(&child);
	close(go[0]);
	close(status[1]);
	int r = pid < 0 ? error_set_errno(err, saved, "clone the sandbox's first process")
			: prepare_child(runtime, sandbox, pid, flags, status[0], err);
	if (r == 0 && write(go[1], "g", 1) != 1)
		r = error_set_errno(err, errno, "start the sandbox's first process");
	if (r == 0 && child.program_fd >= 0) {
		int errnum; /* nothing to read: the exec closed it */
		if (read(status[0], &errnum, sizeof(errnum)) == sizeof(errnum))
			r = error_set_errno(err, errnum, "execute the pause program");
	}
	close(go[1]);
	close(status[0]);
	if (pid > 0 && (r < 0 || child.program_fd < 0)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (pidfd >= 0)
		close(pidfd);
	if (r < 0)
		namespaces_unpin(runtime, sandbox->id);
	else
		*ret_pause = child.program_fd >= 0 ? pid : 0;
	return r;
}

void namespaces_unpin(struct runtime *runtime, const char *sandbox_id)
{
	for (int kind = 0; kind < NS_KINDS; kind++) {
		autofree char *path = sandbox_run(runtime, sandbox_id, namespace_files[kind]);
		while (umount2(path, MNT_DETACH) == 0)
			;
		unlink(path);
	}
}
