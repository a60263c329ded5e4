/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers for real: runc, conmon, CNI plugins, overlayfs. In mount and network namespaces, a cgroup and folders of its own;
 * nothing of it is left on the machine. Needs root. Past 800 lines because its parts share one costly set-up.
 */
#include "kubelet/runtime/internal.h"
#include "kubelet/runtime/log_files.h"
#include "test/lib/busybox_image.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct {
	char dir[64];
	struct image_store *images;
	struct network *network;
	struct cgroup_tree *cgroups;
	struct runtime *runtime;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int exits;
	int last_code;
	char last_id[80];
} t = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static char *under(const char *name)
{
	return path_join(t.dir, name, NULL);
}

#define assert_ok(call, err)                                                 \
	do {                                                                 \
		int ok_ = (call);                                            \
		if (ok_ < 0)                                                 \
			fail_msg("%s: %s", #call, error_message(err));       \
	} while (0)

static void on_event(const struct runtime_event *event, void *arg)
{
	pthread_mutex_lock(&t.lock);
	t.exits++;
	t.last_code = event->exit_code;
	snprintf(t.last_id, sizeof(t.last_id), "%s", event->container_id);
	pthread_cond_broadcast(&t.changed);
	pthread_mutex_unlock(&t.lock);
}

static void wait_exit_of(const char *id)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 10;
	for (;;) {
		struct container_status *status;
		assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
		bool over = status->state == CONTAINER_EXITED;
		container_status_free(status);
		if (over)
			return;
		pthread_mutex_lock(&t.lock);
		struct timespec soon;
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += 20000000;
		if (soon.tv_nsec >= NSEC_PER_SEC) {
			soon.tv_nsec -= NSEC_PER_SEC;
			soon.tv_sec++;
		}
		pthread_cond_timedwait(&t.changed, &t.lock, &soon);
		pthread_mutex_unlock(&t.lock);
		assert_true(soon.tv_sec <= until.tv_sec);
	}
}

static void open_runtime(void)
{
	autoerror struct error err = {0};
	autofree char *root = under("root"), *run = under("run"), *links = under("containers");
	file_mkdir_all(links, 0755, NULL);
	struct runtime_options options = {.root_dir = root, .run_dir = run, .log_links_dir = links, .images = t.images, .network = t.network, .cgroups = t.cgroups,
		.on_event = on_event, .log_max_bytes = 2000, .log_max_files = 3};
	assert_ok(runtime_open(&options, &t.runtime, &err), &err);
}

static int set_up(void **state)
{
	autoerror struct error err = {0};
	snprintf(t.dir, sizeof(t.dir), "/tmp/coracle-rt-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	assert_int_equal(chmod(t.dir, 0711), 0); /* a user namespace's root must come through */
	assert_int_equal(unshare(CLONE_NEWNS | CLONE_NEWNET), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	autofree char *images = under("images"), *archive = under("busybox.tar"), *conf = under("net.d"), *cache = under("cni"), *ipam = under("ipam");
	assert_ok(image_store_open(images, &t.images, &err), &err);
	assert_int_equal(busybox_image_write(archive, "busybox:test"), 0);
	assert_ok(image_load(t.images, archive, NULL, NULL, &err), &err);
	struct network_options network = {.conf_dir = conf, .cache_dir = cache, .ipam_dir = ipam, .bridge = "cni-test"};
	assert_ok(network_new(&network, &t.network, &err), &err);
	assert_true(network_ready(t.network, NULL) < 0);
	assert_ok(network_set_pod_cidrs(t.network, (const char *const[]){"10.99.0.0/24"}, 1, &err), &err);
	assert_ok(network_ready(t.network, &err), &err);
	autofree char *cgroup = xprintf("/coracle-test-%d", (int)getpid());
	assert_ok(cgroup_open(&(struct cgroup_options){.root = cgroup}, &t.cgroups, &err), &err);
	open_runtime();
	return 0;
}

static int tear_down(void **state)
{
	autoerror struct error err = {0};
	struct sandbox_status **list;
	size_t count;
	runtime_sandbox_list(t.runtime, NULL, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		assert_ok(runtime_sandbox_remove(t.runtime, list[i]->id, &err), &err);
		sandbox_status_free(list[i]);
	}
	free(list);
	runtime_close(t.runtime);
	char **ids;
	assert_int_equal(network_cached_ids(t.network, &ids, NULL), 0);
	assert_null(ids[0]);
	image_strv_free(ids);
	network_free(t.network);
	autofree char *cgroup = xprintf("/coracle-test-%d", (int)getpid());
	assert_ok(cgroup_remove(t.cgroups, cgroup, &err), &err);
	cgroup_close(t.cgroups);
	image_store_close(t.images);
	assert_ok(file_remove_all(t.dir, &err), &err);
	return 0;
}

/* ---- helpers ---- */

static char *start_sandbox(const char *name, void (*change)(struct sandbox_config *))
{
	autoerror struct error err = {0};
	autofree char *uid = xprintf("uid-%s", name), *logs = xprintf("%s/logs/%s", t.dir, name);
	autofree char *cgroup = cgroup_pod_path(t.cgroups, CGROUP_BURSTABLE, uid);
	struct cgroup_resources limits = {.cpu_shares = 512};
	assert_ok(cgroup_create(t.cgroups, cgroup, &limits, &err), &err);
	static const char *const servers[] = {"10.0.0.10", NULL}, *const searches[] = {"default.svc.cluster.local", "svc.cluster.local", NULL};
	static const char *const options[] = {"ndots:5", NULL};
	struct sandbox_config config = {.pod_name = name, .pod_namespace = "default", .pod_uid = uid, .hostname = name, .cgroup_parent = cgroup,
		.log_dir = logs, .dns_servers = servers, .dns_searches = searches, .dns_options = options};
	if (change)
		change(&config);
	char *id;
	assert_ok(runtime_sandbox_start(t.runtime, &config, &id, &err), &err);
	return id;
}

static char *run_container(const char *sandbox, struct container_config *config)
{
	autoerror struct error err = {0};
	char *id;
	if (!config->name)
		config->name = "c";
	if (!config->image)
		config->image = "busybox:test";
	if (!config->log_path)
		config->log_path = "c/0.log";
	assert_ok(runtime_container_create(t.runtime, sandbox, config, &id, &err), &err);
	assert_ok(runtime_container_start(t.runtime, id, &err), &err);
	return id;
}

static char *run_shell(const char *sandbox, const char *script, struct container_config *config)
{
	const char *const command[] = {"sh", "-c", script, NULL};
	config->command = command;
	char *id = run_container(sandbox, config);
	config->command = NULL;
	return id;
}

static char *log_of(const char *id)
{
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	char *text = NULL;
	size_t len;
	if (file_read(AT_FDCWD, status->log_path, 1 << 20, &text, &len, NULL) < 0)
		text = xstrdup("");
	container_status_free(status);
	return text;
}

/* Runs a script to its end in a sandbox; gives its log. */
static char *output_of(const char *sandbox, const char *script, struct container_config *config, int *ret_code)
{
	static int number;
	autofree char *path = xprintf("out/%d.log", number++);
	config->log_path = path;
	autofree char *id = run_shell(sandbox, script, config);
	wait_exit_of(id);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	if (ret_code)
		*ret_code = status->exit_code;
	container_status_free(status);
	char *log = log_of(id);
	assert_int_equal(runtime_container_remove(t.runtime, id, NULL), 0);
	return log;
}

static char *exec_output(const char *id, const char *script, int *ret_code)
{
	autoerror struct error err = {0};
	struct buf out = BUF_INIT(65536);
	int code = -1;
	assert_ok(runtime_exec_sync(t.runtime, id, (const char *const[]){"sh", "-c", script, NULL}, 10000, &out, &code, &err), &err);
	if (ret_code)
		*ret_code = code;
	return out.len ? buf_take(&out) : xstrdup("");
}

#define assert_has(text, part)                                                      \
	do {                                                                        \
		if (!strstr((text), (part)))                                        \
			fail_msg("\"%s\" is not in: %s", (part), (text));           \
	} while (0)

/* ---- tests ---- */

static void test_container_runs_logs_and_exits(void **state)
{
	autofree char *sandbox = start_sandbox("plain", NULL);
	struct sandbox_status *status;
	assert_int_equal(runtime_sandbox_status(t.runtime, sandbox, &status, NULL), 0);
	assert_int_equal(status->state, SANDBOX_READY);
	assert_int_equal(status->network.ip_count, 1);
	assert_true(str_starts_with(status->network.ips[0], "10.99.0."));
	int64_t before = clock_monotonic_ns();
	struct container_config config = {.env = (const char *const[]){"A=1", NULL}};
	int code;
	autofree char *log = output_of(sandbox,
		"hostname; echo $A $FROM_IMAGE $HOSTNAME; cat /etc/resolv.conf; ip addr show eth0; echo bad >&2; exit 7", &config, &code);
	print_message("create, start, run and exit: %lld us\n", (long long)(clock_monotonic_ns() - before) / 1000);
	assert_int_equal(code, 7);
	assert_has(log, " stdout F plain\n");
	assert_has(log, " stdout F 1 yes plain\n");
	assert_has(log, "search default.svc.cluster.local svc.cluster.local");
	assert_has(log, "nameserver 10.0.0.10");
	assert_has(log, "options ndots:5");
	assert_has(log, " stderr F bad\n");
	assert_has(log, status->network.ips[0]);
	sandbox_status_free(status);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
	assert_int_equal(runtime_sandbox_stop(t.runtime, sandbox, NULL), -ENOENT);
}

static void test_exec(void **state)
{
	autofree char *sandbox = start_sandbox("exec", NULL);
	struct container_config config = {0};
	autofree char *id = run_shell(sandbox, "trap 'exit 3' TERM; while true; do sleep 0.1; done", &config);
	int code;
	autofree char *out = exec_output(id, "echo hello; echo err >&2; exit 5", &code);
	assert_int_equal(code, 5);
	assert_has(out, "hello\n");
	assert_has(out, "err\n");

	struct buf none = BUF_INIT(4096);
	autoerror struct error err = {0};
	assert_int_equal(runtime_exec_sync(t.runtime, id, (const char *const[]){"/no/such", NULL}, 5000, &none, &code, &err), 0);
	assert_int_equal(code, 127);
	assert_has(error_message(&err), "no such file");
	buf_reset(&none);
	assert_int_equal(runtime_exec_sync(t.runtime, id, (const char *const[]){"sleep", "60", NULL}, 500, &none, &code, &err), -ETIMEDOUT);
	autofree char *left = exec_output(id, "ps | grep -c '[s]leep 60' || true", NULL);
	assert_string_equal(left, "0\n");
	buf_done(&none);

	struct stream_session *session;
	struct stream_options options = {.argv = (const char *const[]){"cat", NULL}, .want_stdin = true, .want_stdout = true};
	assert_ok(runtime_exec(t.runtime, id, &options, &session, &err), &err);
	assert_int_equal(write(session->stdin_fd, "ping", 4), 4);
	char text[64] = "";
	assert_int_equal(read(session->stdout_fd, text, sizeof(text)), 4);
	assert_string_equal(text, "ping");
	stream_session_close_stdin(session);
	assert_int_equal(stream_session_wait(session, 5000, &code, NULL), 0);
	assert_int_equal(code, 0);
	stream_session_free(session);

	/* It ended by its own trap: the exit code says that no grace period had to run out. */
	assert_int_equal(runtime_container_stop(t.runtime, id, 60000, NULL), 0);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	assert_int_equal(status->exit_code, 3);
	assert_string_equal(status->reason, "Error");
	container_status_free(status);
	assert_int_equal(runtime_exec(t.runtime, id, &options, &session, NULL), -ESRCH);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void read_until(int fd, const char *wanted, char *text, size_t size)
{
	size_t len = 0;
	text[0] = 0;
	while (!strstr(text, wanted)) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		if (poll(&p, 1, 5000) != 1 || len + 1 >= size)
			fail_msg("\"%s\" did not come, only: %s", wanted, text);
		ssize_t n = read(fd, text + len, size - len - 1);
		if (n <= 0)
			fail_msg("\"%s\" did not come before the end: %s", wanted, text);
		text[len += (size_t)n] = 0;
	}
}

static void test_exec_with_terminal(void **state)
{
	autofree char *sandbox = start_sandbox("tty", NULL);
	struct container_config config = {0};
	autofree char *id = run_shell(sandbox, "sleep 1000", &config);
	autoerror struct error err = {0};
	struct stream_session *session;
	struct stream_options options = {.argv = (const char *const[]){"sh", NULL}, .tty = true, .want_stdin = true, .want_stdout = true};
	assert_ok(runtime_exec(t.runtime, id, &options, &session, &err), &err);
	char text[4096];
	assert_int_equal(write(session->stdin_fd, "echo $((40+2))x\n", 16), 16);
	read_until(session->stdout_fd, "42x", text, sizeof(text));
	assert_ok(stream_session_resize(session, 123, 45, &err), &err);
	assert_int_equal(write(session->stdin_fd, "sleep 0.3; stty size\n", 21), 21);
	read_until(session->stdout_fd, "45 123", text, sizeof(text));
	assert_int_equal(write(session->stdin_fd, "exit 9\n", 7), 7);
	int code;
	assert_int_equal(stream_session_wait(session, 5000, &code, NULL), 0);
	assert_int_equal(code, 9);
	stream_session_free(session);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_attach(void **state)
{
	autofree char *sandbox = start_sandbox("attach", NULL);
	struct container_config config = {.stdin_open = true, .stdin_once = true};
	autofree char *id = run_shell(sandbox, "while read line; do echo got $line; echo e >&2; done; exit 4", &config);
	autoerror struct error err = {0};
	struct stream_session *session;
	struct stream_options options = {.want_stdin = true, .want_stdout = true, .want_stderr = true};
	assert_ok(runtime_attach(t.runtime, id, &options, &session, &err), &err);
	char text[4096];
	assert_int_equal(write(session->stdin_fd, "one\n", 4), 4);
	read_until(session->stdout_fd, "got one", text, sizeof(text));
	read_until(session->stderr_fd, "e", text, sizeof(text));
	stream_session_close_stdin(session);
	int code;
	assert_ok(stream_session_wait(session, 5000, &code, &err), &err);
	assert_int_equal(code, 4);
	stream_session_free(session);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_users_and_security(void **state)
{
	autofree char *sandbox = start_sandbox("users", NULL);
	int code;
	struct container_config config = {.run_as_username = "app"};
	autofree char *by_name = output_of(sandbox, "id", &config, &code);
	assert_has(by_name, "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra)");
	int64_t groups[] = {3000};
	config = (struct container_config){.has_run_as_user = true, .run_as_user = 4242, .has_run_as_group = true, .run_as_group = 55,
		.supplemental_groups = groups, .supplemental_group_count = 1, .no_new_privileges = true, .read_only_rootfs = true,
		.drop_capabilities = (const char *const[]){"ALL", NULL}, .seccomp = SECCOMP_RUNTIME_DEFAULT};
	autofree char *locked = output_of(sandbox,
		"id; grep -E 'NoNewPrivs|CapBnd|Seccomp:' /proc/self/status; touch /x; mount -t tmpfs none /tmp; echo done", &config, &code);
	assert_has(locked, "uid=4242 gid=55 groups=55,3000");
	assert_has(locked, "NoNewPrivs:\t1");
	assert_has(locked, "CapBnd:\t0000000000000000");
	assert_has(locked, "Seccomp:\t2");
	assert_has(locked, "Read-only file system");
	assert_has(locked, "mount: ");

	autoerror struct error err = {0};
	char *id;
	config = (struct container_config){.name = "c", .image = "busybox:test", .run_as_non_root = true};
	assert_int_equal(runtime_container_create(t.runtime, sandbox, &config, &id, &err), -EPERM);
	assert_string_equal(err.reason, "CreateContainerConfigError");
	config = (struct container_config){.name = "c", .image = "busybox:none"};
	assert_int_equal(runtime_container_create(t.runtime, sandbox, &config, &id, &err), -ENOENT);
	config = (struct container_config){.name = "c", .image = "busybox:test", .command = (const char *const[]){"/nothing", NULL}};
	assert_int_equal(runtime_container_create(t.runtime, sandbox, &config, &id, NULL), 0);
	assert_true(runtime_container_start(t.runtime, id, &err) < 0);
	assert_string_equal(err.reason, "RunContainerError");
	assert_has(error_message(&err), "/nothing");
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	assert_int_equal(status->exit_code, 128);
	assert_string_equal(status->reason, "StartError");
	container_status_free(status);
	free(id);
	config = (struct container_config){.privileged = true};
	autofree char *privileged = output_of(sandbox, "mount -t tmpfs none /tmp && echo mounted; ls /dev | wc -l", &config, &code);
	assert_has(privileged, "mounted");
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_mounts(void **state)
{
	autofree char *sandbox = start_sandbox("mounts", NULL);
	autofree char *host = under("host"), *file = under("host/f");
	assert_int_equal(file_mkdir_all(host, 0755, NULL), 0);
	assert_int_equal(file_write(AT_FDCWD, file, "from host", 9, 0644, NULL), 0);
	struct container_mount mounts[] = {
		{.host_path = host, .container_path = "/data/ro", .read_only = true},
		{.host_path = host, .container_path = "/data"},
		{.host_path = file, .container_path = "/etc/one-file"},
		{.container_path = "/scratch"},
		{.image_ref = "busybox:test", .container_path = "/img", .image_sub_path = "etc"},
	};
	struct container_config config = {.mounts = mounts, .mount_count = array_len(mounts)};
	int code;
	autofree char *log = output_of(sandbox,
		"echo $(cat /data/f /etc/one-file); echo x > /data/new && echo wrote; touch /data/ro/y; echo z > /scratch/z && cat /scratch/z;"
		"head -n 1 /img/passwd; touch /img/x", &config, &code);
	assert_has(log, "from hostfrom host");
	assert_has(log, "wrote");
	assert_has(log, "/data/ro/y: Read-only file system");
	assert_has(log, "F z\n");
	assert_has(log, "F root:x:0:0");
	assert_has(log, "/img/x: Read-only file system");

	/* A link of the image that leads to the host's file leads to the image's own, or nowhere. */
	autoerror struct error err = {0};
	const struct tar_row rows[] = {{"etc", S_IFDIR, 0755, NULL, 0}, {"etc/passwd", S_IFREG, 0644, "the image's own", 0},
		{"link", S_IFLNK, 0777, "/etc/passwd", 0}, {"up", S_IFLNK, 0777, "../../../../../../proc", 0}};
	size_t len;
	char *layer = tar_make(rows, array_len(rows), &len);
	autofree char *archive = under("links.tar");
	assert_int_equal(docker_archive_write(archive, "links:1", "{\"Cmd\":[\"x\"]}", &layer, &len, 1), 0);
	free(layer);
	assert_ok(image_load(t.images, archive, NULL, NULL, &err), &err);
	struct container_mount links[] = {{.image_ref = "links:1", .container_path = "/img", .image_sub_path = "link"}};
	config = (struct container_config){.mounts = links, .mount_count = 1};
	autofree char *linked = output_of(sandbox, "cat /img; echo", &config, &code);
	assert_has(linked, "the image's own");
	links[0].image_sub_path = "up";
	char *id;
	config = (struct container_config){.name = "c", .image = "busybox:test", .mounts = links, .mount_count = 1};
	assert_true(runtime_container_create(t.runtime, sandbox, &config, &id, &err) < 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void share_processes(struct sandbox_config *config)
{
	config->share_process_namespace = true;
}

static void test_shared_processes(void **state)
{
	autofree char *sandbox = start_sandbox("share", share_processes);
	struct container_config config = {.name = "a"};
	autofree char *first = run_shell(sandbox, "sleep 777", &config);
	struct container_config other = {.name = "b"};
	autofree char *seen = output_of(sandbox, "ps; readlink /proc/1/root || echo hidden; ls /proc/1/root/ | wc -l", &other, NULL);
	assert_has(seen, "sleep 777");
	assert_has(seen, "pause");
	assert_has(seen, "hidden");
	assert_int_equal(runtime_container_stop(t.runtime, first, 0, NULL), 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void host_namespaces(struct sandbox_config *config)
{
	config->host_network = config->host_pid = config->host_ipc = true;
}

static void test_host_namespaces(void **state)
{
	autofree char *sandbox = start_sandbox("host", host_namespaces);
	char own[64] = "", wanted[96];
	assert_true(readlink("/proc/self/ns/net", own, sizeof(own) - 1) > 0);
	snprintf(wanted, sizeof(wanted), "F %s\n", own);
	struct container_config config = {0};
	autofree char *log = output_of(sandbox, "readlink /proc/self/ns/net; ps | wc -l", &config, NULL);
	assert_has(log, wanted);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void user_namespace(struct sandbox_config *config)
{
	config->uid_mappings[0] = config->gid_mappings[0] = (struct runtime_id_mapping){0, 500000, 65536};
	config->uid_mapping_count = config->gid_mapping_count = 1;
}

static void test_user_namespace(void **state)
{
	autofree char *sandbox = start_sandbox("userns", user_namespace);
	struct container_config config = {0};
	autofree char *id = run_shell(sandbox, "id -u; stat -c %u /bin/busybox; touch /new && stat -c %u /new; sleep 1000", &config);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	autofree char *proc = xprintf("/proc/%d", (int)status->pid);
	struct stat st;
	assert_int_equal(stat(proc, &st), 0);
	assert_int_equal(st.st_uid, 500000);
	container_status_free(status);
	autofree char *out = exec_output(id, "id -u; stat -c %u /new /bin/busybox", NULL);
	assert_string_equal(out, "0\n0\n0\n");
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void own_ids(struct sandbox_config *config)
{
	config->user_namespace = true;
}

static uid_t owner_of_process(const char *id)
{
	struct container_status *status;
	struct stat st;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	autofree char *proc = xprintf("/proc/%d", (int)status->pid);
	assert_int_equal(stat(proc, &st), 0);
	container_status_free(status);
	return st.st_uid;
}

/* Two pods get ranges of their own; a volume's files have the same owners inside and on the host. */
static void test_user_namespaces_of_their_own(void **state)
{
	autofree char *first = start_sandbox("own1", own_ids), *second = start_sandbox("own2", own_ids);
	autofree char *volume = xprintf("%s/volume", t.dir), *file = xprintf("%s/file", t.dir), *inside = xprintf("%s/new", volume);
	assert_int_equal(mkdir(volume, 0755), 0);
	autoclose int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "kept\n", 5), 5);
	assert_int_equal(fchown(fd, 1000, 1000), 0);
	const struct container_mount mounts[] = {{.host_path = volume, .container_path = "/volume"}, {.host_path = file, .container_path = "/file", .read_only = true}};
	struct container_config config = {.mounts = mounts, .mount_count = 2, .log_path = "m/0.log"}, plain = {.log_path = "p/0.log"};
	autofree char *id = run_shell(first, "sleep 1000", &config), *other = run_shell(second, "sleep 1000", &plain);
	uid_t root = owner_of_process(id), other_root = owner_of_process(other);
	assert_int_equal(root % RUNTIME_ID_RANGE, 0);
	assert_int_equal(other_root % RUNTIME_ID_RANGE, 0);
	assert_true(root && other_root && root != other_root);
	int code;
	autofree char *out = exec_output(id, "cat /proc/self/uid_map | tr -s ' '; stat -c %u:%g /file; cat /file; touch /volume/new && stat -c %u /volume/new; (echo x >/file) 2>/dev/null", &code);
	autofree char *wanted = xprintf(" 0 %u 65536\n1000:1000\nkept\n0\n", (unsigned)root);
	assert_has(out, wanted);
	assert_int_not_equal(code, 0); /* the last one: it is read only */
	struct stat st;
	assert_int_equal(stat(inside, &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, first, NULL), 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, second, NULL), 0);
	assert_int_equal(stat(inside, &st), 0);
}

static void test_processes_of_a_target(void **state)
{
	autofree char *sandbox = start_sandbox("target", NULL);
	struct container_config config = {.log_path = "t/0.log"};
	autofree char *id = run_shell(sandbox, "exec sleep 987", &config);
	struct container_config debugger = {.target_id = id}, alone = {0}, lost = {.target_id = "0123", .image = "busybox:test"};
	autofree char *seen = output_of(sandbox, "ps", &debugger, NULL), *own = output_of(sandbox, "ps", &alone, NULL);
	assert_has(seen, "sleep 987");
	assert_null(strstr(own, "sleep 987"));
	autoerror struct error err = {0};
	char *none = NULL;
	assert_true(runtime_container_create(t.runtime, sandbox, &lost, &none, &err) < 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_memory_limit_and_resize(void **state)
{
	autofree char *sandbox = start_sandbox("oom", NULL);
	struct container_config config = {.resources = {.memory_limit = 16 << 20, .no_swap = true, .cpu_shares = 100, .cpu_quota_us = 50000,
						  .cpu_period_us = 100000, .pids_limit = 50}};
	autofree char *id = run_shell(sandbox, "echo go; x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' 'a'); echo survived", &config);
	wait_exit_of(id);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	assert_string_equal(status->reason, "OOMKilled");
	assert_int_equal(status->exit_code, 137);
	container_status_free(status);

	config = (struct container_config){.resources = {.memory_limit = 32 << 20, .cpu_shares = 100}};
	autofree char *resized = run_shell(sandbox, "sleep 1000", &config);
	struct container_usage usage;
	assert_int_equal(runtime_container_usage(t.runtime, resized, CONTAINER_USAGE_ALL, &usage, NULL), 0);
	assert_int_equal(usage.cgroup.memory_limit, 32 << 20);
	assert_true(usage.cgroup.memory_usage > 0);
	assert_true(usage.cgroup.cpu_usage_ns > 0);
	assert_true(usage.cgroup.pids >= 1);
	autoerror struct error err = {0};
	struct cgroup_resources more = {.memory_limit = 64 << 20, .cpu_quota_us = 20000};
	assert_ok(runtime_container_update(t.runtime, resized, &more, &err), &err);
	assert_int_equal(runtime_container_usage(t.runtime, resized, CONTAINER_USAGE_ALL, &usage, NULL), 0);
	assert_int_equal(usage.cgroup.memory_limit, 64 << 20);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_recovery(void **state)
{
	autofree char *sandbox = start_sandbox("recover", NULL);
	struct runtime_label labels[] = {{"restartCount", "3"}};
	struct container_config config = {.labels = labels, .label_count = 1, .log_path = "r/0.log"};
	autofree char *lives = run_shell(sandbox, "sleep 1000", &config);
	autofree char *dies = run_shell(sandbox, "sleep 0.2; exit 6", &config);
	runtime_close(t.runtime); /* as if the kubelet were killed: containers go on */
	usleep(500000);
	int exits = t.exits;
	open_runtime();
	wait_exit_of(dies);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, dies, &status, NULL), 0);
	assert_int_equal(status->exit_code, 6);
	assert_string_equal(runtime_label_get(&status->labels, "restartCount"), "3");
	container_status_free(status);
	assert_int_equal(runtime_container_status(t.runtime, lives, &status, NULL), 0);
	assert_int_equal(status->state, CONTAINER_RUNNING);
	pid_t pid = status->pid;
	container_status_free(status);
	autofree char *out = exec_output(lives, "echo still here", NULL);
	assert_has(out, "still here");
	assert_true(pid > 0);
	assert_int_equal(runtime_container_set_label(t.runtime, lives, "restartCount", "4", NULL), 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	wait_exit_of(lives);
	assert_int_equal(runtime_container_status(t.runtime, lives, &status, NULL), 0);
	assert_int_equal(status->exit_code, 137);
	container_status_free(status);
	assert_true(t.exits > exits);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

/* The kubelet was killed in the middle of a start, before the program was let go: what began is ended, and counts as never made. */
static void test_recovery_of_a_half_start(void **state)
{
	autofree char *sandbox = start_sandbox("half", NULL);
	struct container_config config = {0};
	autofree char *id = run_shell(sandbox, "sleep 1000", &config);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	pid_t pid = status->pid;
	container_status_free(status);
	runtime_close(t.runtime);
	autofree char *path = xprintf("%s/root/containers/%s/state.json", t.dir, id), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
	char *field = strstr(text, "\"state\":1");
	assert_non_null(field);
	field[8] = '0'; /* created */
	assert_int_equal(file_write(AT_FDCWD, path, text, len, 0600, NULL), 0);
	open_runtime();
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), -ENOENT);
	for (int i = 0; i < 100 && kill(pid, 0) == 0; i++)
		usleep(20000);
	assert_true(kill(pid, 0) < 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void forge_boot_id(const char *folder, const char *id)
{
	autofree char *path = xprintf("%s/root/%s/%s/state.json", t.dir, folder, id), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 1 << 20, &text, &len, NULL), 0);
	char *field = strstr(text, "\"boot_id\":\"");
	assert_non_null(field);
	memset(field + strlen("\"boot_id\":\""), '0', 36);
	assert_int_equal(file_write(AT_FDCWD, path, text, len, 0600, NULL), 0);
}

/* After a reboot nothing runs any more; what was is still known, and can be removed. */
static void test_reboot(void **state)
{
	autofree char *sandbox = start_sandbox("reboot", NULL);
	struct container_config config = {0};
	autofree char *id = run_shell(sandbox, "sleep 1000", &config);
	runtime_close(t.runtime);
	forge_boot_id("sandboxes", sandbox);
	forge_boot_id("containers", id);
	open_runtime();
	struct sandbox_status *pod;
	struct container_status *status;
	assert_int_equal(runtime_sandbox_status(t.runtime, sandbox, &pod, NULL), 0);
	assert_int_equal(pod->state, SANDBOX_NOT_READY);
	sandbox_status_free(pod);
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	assert_int_equal(status->state, CONTAINER_EXITED);
	assert_int_equal(status->exit_code, 255);
	container_status_free(status);
	char *other;
	config = (struct container_config){.name = "c", .image = "busybox:test"};
	assert_int_equal(runtime_container_create(t.runtime, sandbox, &config, &other, NULL), -EINVAL);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

/* conmon killed: nobody could tell the container's end any more, so it ends with it. */
static void test_monitor_killed(void **state)
{
	autofree char *sandbox = start_sandbox("monitor", NULL);
	struct container_config config = {0};
	autofree char *id = run_shell(sandbox, "sleep 1000", &config);
	autofree char *path = xprintf("%s/run/containers/%s/conmon.pid", t.dir, id), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 32, &text, &len, NULL), 0);
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	pid_t pid = status->pid;
	container_status_free(status);
	assert_int_equal(kill((pid_t)strtol(text, NULL, 10), SIGKILL), 0);
	wait_exit_of(id);
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	assert_int_equal(status->exit_code, 137);
	assert_has(status->message, "monitor");
	container_status_free(status);
	for (int i = 0; i < 100 && kill(pid, 0) == 0; i++)
		usleep(20000);
	assert_true(kill(pid, 0) < 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_attach_to_terminal(void **state)
{
	autofree char *sandbox = start_sandbox("ttyattach", NULL);
	struct container_config config = {.stdin_open = true, .tty = true, .command = (const char *const[]){"sh", NULL}};
	autofree char *id = run_container(sandbox, &config);
	autoerror struct error err = {0};
	struct stream_session *session;
	struct stream_options options = {.want_stdin = true, .want_stdout = true, .want_stderr = true};
	assert_ok(runtime_attach(t.runtime, id, &options, &session, &err), &err);
	assert_int_equal(session->stderr_fd, -1);
	char text[4096];
	assert_ok(stream_session_resize(session, 132, 50, &err), &err);
	assert_int_equal(write(session->stdin_fd, "sleep 0.2; stty size; echo $((6*7))x\n", 37), 37);
	read_until(session->stdout_fd, "42x", text, sizeof(text));
	assert_has(text, "50 132");
	stream_session_free(session); /* detaches: the container stays */
	struct container_status *status;
	assert_int_equal(runtime_container_status(t.runtime, id, &status, NULL), 0);
	assert_int_equal(status->state, CONTAINER_RUNNING);
	container_status_free(status);
	assert_ok(runtime_attach(t.runtime, id, &options, &session, &err), &err);
	assert_int_equal(write(session->stdin_fd, "exit 8\n", 7), 7);
	int code;
	assert_int_equal(stream_session_wait(session, 5000, &code, NULL), 0);
	assert_int_equal(code, 8);
	stream_session_free(session);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_log_rotation(void **state)
{
	autofree char *sandbox = start_sandbox("rotate", NULL);
	struct container_config config = {.log_path = "rot/0.log"};
	autofree char *id = run_shell(sandbox, "i=0; while [ $i -lt 40 ]; do echo line number $i of the first log; i=$((i+1)); done; sleep 1; echo after", &config);
	usleep(300000);
	autoerror struct error err = {0};
	assert_ok(runtime_container_rotate_log(t.runtime, id, false, &err), &err);
	wait_exit_of(id);
	autofree char *now = log_of(id);
	assert_has(now, "stdout F after\n");
	assert_null(strstr(now, "line number 1 "));
	struct container_usage usage;
	assert_int_equal(runtime_container_usage(t.runtime, id, CONTAINER_USAGE_ALL, &usage, NULL), 0);
	assert_int_equal(usage.log_inodes, 2);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

/* Swap goes with the limit of memory where there is one, else by its own name of version 2. */
static void test_spec_of_swap(void **state)
{
	static const struct {
		struct cgroup_resources resources;
		const char *want;
	} rows[] = {
		{{.memory_limit = 1000, .no_swap = true}, "{\"memory\":{\"limit\":1000,\"swap\":1000}}"},
		{{.memory_limit = 1000, .swap_limit = 500}, "{\"memory\":{\"limit\":1000,\"swap\":1500}}"},
		{{.memory_limit = -1, .no_swap = true}, "{\"memory\":{\"limit\":-1},\"unified\":{\"memory.swap.max\":\"0\"}}"},
		{{.memory_limit = -1, .swap_limit = 500}, "{\"memory\":{\"limit\":-1},\"unified\":{\"memory.swap.max\":\"500\"}}"},
		{{.memory_limit = -1}, "{\"memory\":{\"limit\":-1}}"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autojson json_t *spec = spec_resources(&rows[i].resources);
		autofree char *text = json_dumps(spec, JSON_COMPACT | JSON_SORT_KEYS);
		assert_string_equal(text, rows[i].want);
	}
}

/* A log that does not grow is not looked at until something is written to it, and then it is rotated as any other; under its new name, too. */
static void test_quiet_logs(void **state)
{
	autofree char *sandbox = start_sandbox("quiet", NULL);
	struct container_config config = {.log_path = "quiet/0.log"};
	autofree char *id = run_shell(sandbox, "n=0; while :; do while [ ! -e /go$n ]; do sleep 0.05; done; i=0; while [ $i -lt 80 ]; do echo line $i of burst $n in the log; i=$((i+1)); done; n=$((n+1)); touch /done$n; done", &config);
	struct container *container = container_find(t.runtime, id);
	for (int burst = 0; burst < 2; burst++) {
		for (int i = 0; !container->log_watch && i < 100; i++)
			runtime_rotate_logs(t.runtime);
		assert_true(container->log_watch > 0);
		autologfiles struct log_files before;
		log_files_list(container->log_path, &before);
		assert_int_equal(before.len, burst);
		if (before.len)
			sleep(1); /* names have whole seconds */
		autofree char *go = xprintf("touch /go%d; while [ ! -e /done%d ]; do sleep 0.05; done", burst, burst + 1);
		free(exec_output(id, go, NULL));
		size_t count = before.len;
		for (int i = 0; count == before.len && i < 500; i++) {
			autologfiles struct log_files after;
			runtime_rotate_logs(t.runtime);
			log_files_list(container->log_path, &after);
			count = after.len;
			usleep(10000); /* conmon writes what the container has written */
		}
		assert_int_equal(count, burst + 1);
	}
	container_put(t.runtime, container);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

/* Collectors find a container's log by its name while the container is there; what was left behind goes, what is another's stays. */
static void test_log_links(void **state)
{
	autofree char *links = under("containers");
	autofree char *sandbox = start_sandbox("linked", NULL);
	static const struct runtime_label labels[] = {{"io.kubernetes.pod.name", "linked"}, {"io.kubernetes.pod.namespace", "default"}};
	struct container_config config = {.labels = labels, .label_count = 2};
	autofree char *id = run_shell(sandbox, "echo collected", &config);
	wait_exit_of(id);
	autofree char *path = xprintf("%s/linked_default_c-%s.log", links, id), *text = NULL;
	size_t len;
	assert_int_equal(file_read(AT_FDCWD, path, 4096, &text, &len, NULL), 0);
	assert_has(text, "collected");

	autofree char *dangling = xprintf("%s/gone_default_c-%064d.log", links, 1), *others = xprintf("%s/other_default_c-%064d.log", links, 2), *target = under("busybox.tar");
	assert_int_equal(symlink("/nothing/0.log", dangling), 0);
	assert_int_equal(symlink(target, others), 0);
	t.runtime = runtime_close(t.runtime);
	open_runtime();
	assert_true(faccessat(AT_FDCWD, dangling, F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	assert_int_equal(access(others, F_OK), 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
	assert_true(faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0);
	unlink(others);
}

static void test_runc_message(void **state)
{
	static const struct { const char *text, *message; } rows[] = {
		{"time=\"2026-01-01T00:00:00Z\" level=error msg=\"runc create failed: exec: \\\"x\\\": not found\"\n", "runc create failed: exec: \"x\": not found"},
		{"time=\"2\" level=warning msg=\"one\"\ntime=\"3\" level=error msg=\"two\\nlines\"\n", "two lines"},
		{"time=\"2\" level=error msg=\"cut off \\", "cut off \\"},
		{"time=\"2\" level=error msg=\"", ""},
		{"time=\"2\"", "time=\"2\""},
		{"plain msg=\"text\"\n", "plain msg=\"text\""},
		{"", ""},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *message = runc_message(rows[i].text);
		assert_string_equal(message, rows[i].message);
	}
}

static void with_ports(struct sandbox_config *config)
{
	static const struct network_port ports[] = {{.host_port = 18080, .container_port = 8080, .protocol = "TCP"}};
	config->ports = ports;
	config->port_count = 1;
}

static void test_port_forward_socket(void **state)
{
	autofree char *sandbox = start_sandbox("ports", with_ports);
	struct container_config config = {0};
	free(run_shell(sandbox, "echo content > /tmp/f; httpd -f -p 8080 -h /tmp", &config));
	struct sandbox_status *status;
	assert_int_equal(runtime_sandbox_status(t.runtime, sandbox, &status, NULL), 0);
	usleep(200000);
	autoerror struct error err = {0};
	int fd = netns_socket(status->netns, AF_INET, SOCK_STREAM, 0, &err);
	assert_ok(fd, &err);
	struct sockaddr_in local = {.sin_family = AF_INET, .sin_port = htons(8080), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(fd, (struct sockaddr *)&local, sizeof(local)), 0);
	assert_int_equal(write(fd, "GET /f HTTP/1.0\r\n\r\n", 19), 19);
	char text[1024];
	read_until(fd, "content\n", text, sizeof(text));
	close(fd);
	struct netns_interface interfaces[4];
	assert_int_equal(netns_interfaces(status->netns, interfaces, 4, NULL), 1);
	assert_string_equal(interfaces[0].name, "eth0");
	sandbox_status_free(status);
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
}

static void test_start_latency(void **state)
{
	autofree char *sandbox = start_sandbox("latency", NULL);
	struct container_config config = {.name = "c", .image = "busybox:test", .command = (const char *const[]){"sleep", "1000", NULL}, .log_path = "l/0.log"};
	int64_t create_total = 0, start_total = 0, best = INT64_MAX;
	for (int i = 0; i < 5; i++) {
		char *id;
		int64_t a = clock_monotonic_ns();
		assert_int_equal(runtime_container_create(t.runtime, sandbox, &config, &id, NULL), 0);
		int64_t b = clock_monotonic_ns();
		assert_int_equal(runtime_container_start(t.runtime, id, NULL), 0);
		int64_t c = clock_monotonic_ns();
		create_total += b - a;
		start_total += c - b;
		best = min_of(best, c - a);
		free(id);
	}
	print_message("per container: create %lld us, start %lld us; best of both %lld us\n", (long long)create_total / 5000, (long long)start_total / 5000,
		(long long)best / 1000);
	struct container_status **list;
	size_t count;
	assert_int_equal(runtime_container_list(t.runtime, sandbox, NULL, &list, &count, NULL), 0);
	int64_t e = clock_monotonic_ns();
	for (int i = 0; i < 5; i++)
		free(exec_output(list[0]->id, "true", NULL));
	print_message("exec: %lld us\n", (long long)(clock_monotonic_ns() - e) / 5000);
	for (size_t i = 0; i < count; i++)
		container_status_free(list[i]);
	free(list);
	int64_t a = clock_monotonic_ns();
	assert_int_equal(runtime_sandbox_remove(t.runtime, sandbox, NULL), 0);
	print_message("removing a sandbox with five containers: %lld us\n", (long long)(clock_monotonic_ns() - a) / 1000);
	a = clock_monotonic_ns();
	autofree char *second = start_sandbox("latency2", NULL);
	print_message("sandbox with network: %lld us\n", (long long)(clock_monotonic_ns() - a) / 1000);
	assert_int_equal(runtime_sandbox_remove(t.runtime, second, NULL), 0);
}

int main(int argc, char **argv)
{
	runtime_pause_main(argc, argv);
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_container_runs_logs_and_exits),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_with_terminal),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_users_and_security),
		cmocka_unit_test(test_mounts),
		cmocka_unit_test(test_shared_processes),
		cmocka_unit_test(test_host_namespaces),
		cmocka_unit_test(test_user_namespace),
		cmocka_unit_test(test_user_namespaces_of_their_own),
		cmocka_unit_test(test_processes_of_a_target),
		cmocka_unit_test(test_memory_limit_and_resize),
		cmocka_unit_test(test_recovery),
		cmocka_unit_test(test_recovery_of_a_half_start),
		cmocka_unit_test(test_reboot),
		cmocka_unit_test(test_monitor_killed),
		cmocka_unit_test(test_attach_to_terminal),
		cmocka_unit_test(test_log_rotation),
		cmocka_unit_test(test_spec_of_swap),
		cmocka_unit_test(test_quiet_logs),
		cmocka_unit_test(test_log_links),
		cmocka_unit_test(test_runc_message),
		cmocka_unit_test(test_port_forward_socket),
		cmocka_unit_test(test_start_latency),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
