/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The RuntimeDefault seccomp profile, as rows. What is not listed fails with EPERM (runc makes it ENOSYS for calls newer than all
 * listed). The always list is what ordinary programs need; the others come with the capability that governs them anyway.
 */
#include "kubelet/runtime/internal.h"

#include <linux/capability.h>
#include <sys/socket.h>

#define BIT(c) ((uint64_t)1 << (c))
#define NAMESPACE_FLAGS 0x7E020000 /* CLONE_NEWNS, CGROUP, UTS, IPC, USER, PID, NET */

static const char always[] =
	"accept accept4 access adjtimex alarm arch_prctl bind brk cachestat capget capset chdir chmod chown chown32 clock_adjtime "
	"clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close "
	"close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
	"epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate "
	"fanotify_mark fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fork "
	"fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 "
	"futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 getegid getegid32 geteuid "
	"geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom "
	"getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid getsockname getsockopt get_thread_area "
	"gettid gettimeofday getuid getuid32 getxattr getxattrat inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel "
	"ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule "
	"landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link linkat listen listmount listxattr listxattrat "
	"llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore "
	"mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect mq_getsetattr mq_notify mq_open mq_timedreceive "
	"mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall "
	"munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 pkey_alloc "
	"pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 prlimit64 process_mrelease pselect6 pselect6_time64 "
	"pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages "
	"removexattr removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask "
	"rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity "
	"sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler sched_rr_get_interval "
	"sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl "
	"semget semop semtimedop semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 "
	"setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid setresuid32 "
	"setreuid setreuid32 setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setuid32 setxattr setxattrat "
	"shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 "
	"statfs statfs64 statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete "
	"timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
	"timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat "
	"utimensat_time64 utimes vfork vmsplice wait4 waitid waitpid write writev process_vm_readv process_vm_writev ptrace";

static const struct {
	int capability;
	const char *calls;
} by_capability[] = {
	{CAP_DAC_READ_SEARCH, "open_by_handle_at"},
	{CAP_SYS_ADMIN, "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr lsm_list_modules "
			"lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr perf_event_open quotactl quotactl_fd setdomainname "
			"sethostname setns syslog umount umount2 unshare"},
	{CAP_SYS_BOOT, "reboot"},
	{CAP_SYS_CHROOT, "chroot"},
	{CAP_SYS_MODULE, "delete_module init_module finit_module"},
	{CAP_SYS_PACCT, "acct"},
	{CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"},
	{CAP_SYS_RAWIO, "iopl ioperm"},
	{CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"},
	{CAP_SYS_TTY_CONFIG, "vhangup"},
	{CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
	{CAP_SYSLOG, "syslog"},
	{CAP_BPF, "bpf"},
	{CAP_PERFMON, "perf_event_open"},
};

static json_t *words(const char *text)
{
	json_t *array = json_array();
	while (*text) {
		size_t len = strcspn(text, " ");
		/* A name the kernel never had is skipped by runc; one here marks none. */
		if (len)
			json_array_append_new(array, json_stringn(text, len));
		text += len;
		while (*text == ' ')
			text++;
	}
	return array;
}

static void allow(json_t *rules, const char *calls)
{
	json_array_append_new(rules, json_pack("{s:o,s:s}", "names", words(calls), "action", "SCMP_ACT_ALLOW"));
}

static void allow_when(json_t *rules, const char *call, unsigned index, uint64_t value, uint64_t value_two, const char *op)
{
	json_array_append_new(rules, json_pack("{s:[s],s:s,s:[{s:i,s:I,s:I,s:s}]}", "names", call, "action", "SCMP_ACT_ALLOW", "args", "index", index,
		"value", (json_int_t)value, "valueTwo", (json_int_t)value_two, "op", op));
}

static void deny(json_t *rules, const char *call, int errnum)
{
	json_array_append_new(rules, json_pack("{s:[s],s:s,s:i}", "names", call, "action", "SCMP_ACT_ERRNO", "errnoRet", errnum));
}

/* Personalities that programs use: Linux and its 32-bit views, without address randomisation or not. */
static const uint64_t personalities[] = {0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF};

static json_t *rules_for(uint64_t capabilities)
{
	json_t *rules = json_array();
	allow(rules, always);
	for (size_t i = 0; i < array_len(by_capability); i++)
		if (capabilities & BIT(by_capability[i].capability))
			allow(rules, by_capability[i].calls);
	for (size_t i = 0; i < array_len(personalities); i++)
		allow_when(rules, "personality", 0, personalities[i], 0, "SCMP_CMP_EQ");
	/* Sockets of all families but the two that reach the host: vsock and alg. */
	allow_when(rules, "socket", 0, AF_ALG, 0, "SCMP_CMP_LT");
	allow_when(rules, "socket", 0, AF_ALG + 1, 0, "SCMP_CMP_EQ");
	allow_when(rules, "socket", 0, AF_VSOCK, 0, "SCMP_CMP_GT");
	if (!(capabilities & BIT(CAP_SYS_ADMIN))) {
		/* No new namespaces; clone3 hides its flags in memory: glibc takes ENOSYS as "use clone". */
		allow_when(rules, "clone", 0, NAMESPACE_FLAGS, 0, "SCMP_CMP_MASKED_EQ");
		deny(rules, "clone3", 38);
	}
	return rules;
}

json_t *seccomp_profile(uint64_t capabilities)
{
#if defined(__x86_64__)
	json_t *architectures = json_pack("[s,s,s]", "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");
#elif defined(__aarch64__)
	json_t *architectures = json_pack("[s,s]", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM");
#else
	json_t *architectures = json_array();
#endif
	return json_pack("{s:s,s:i,s:o,s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet", 1, "architectures", architectures, "syscalls",
		rules_for(capabilities));
}

static pthread_once_t text_once = PTHREAD_ONCE_INIT;
static char *default_text;

static void make_text(void)
{
	autojson json_t *profile = seccomp_profile(0);
	default_text = json_dumps(profile, JSON_COMPACT);
}

const char *runtime_seccomp_default(void)
{
	pthread_once(&text_once, make_text);
	return default_text;
}
