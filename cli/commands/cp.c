/* SPDX-License-Identifier: Apache-2.0 */
/* cp: a tar here, a tar in the container, and an exec between them. */
#include "cli/commands/commands.h"
#include "cli/pods.h"
#include "cli/remote.h"

#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
	struct cli_globals globals;
	char *container;
	bool no_preserve;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"container", 'c', FLAG_STRING, O(container), NULL, "Container name", 0, 0},
	{"no-preserve", 0, FLAG_BOOL, O(no_preserve), NULL, "Do not keep owner and permissions", 0, 0},
	{"retries", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

/* "[ns/]pod:path", or a local path. */
struct place {
	const char *ns, *pod, *path; /* pod NULL: local */
};

static struct place parse_place(struct cli *cli, const char *text)
{
	const char *colon = strchr(text, ':');
	if (!colon || text[0] == '/' || text[0] == '.')
		return (struct place){.path = text};
	const char *pod = arena_strndup(cli->arena, text, (size_t)(colon - text)), *slash = strchr(pod, '/');
	return (struct place){.ns = slash ? arena_strndup(cli->arena, pod, (size_t)(slash - pod)) : NULL, .pod = slash ? slash + 1 : pod, .path = colon + 1};
}

static const char *parent_of(struct cli *cli, const char *path)
{
	return dirname(arena_strdup(cli->arena, path));
}
static const char *base_of(struct cli *cli, const char *path)
{
	return basename(arena_strdup(cli->arena, path));
}

/* tar's rule that renames the top of what it packs or unpacks; special characters are taken as they are. */
static const char *rename_rule(struct cli *cli, const char *from, const char *to)
{
	autobuf struct buf rule = BUF_INIT(65536);
	buf_append_str(&rule, "flags=r;s\x01^");
	for (; *from; from++) {
		if (strchr(".*[]^$\\", *from))
			buf_append_char(&rule, '\\');
		buf_append_char(&rule, *from);
	}
	buf_append_char(&rule, '\x01');
	for (; *to; to++) {
		if (strchr("\\&", *to))
			buf_append_char(&rule, '\\');
		buf_append_char(&rule, *to);
	}
	buf_append_char(&rule, '\x01');
	return arena_strndup(cli->arena, rule.data, rule.len);
}

static int remote_tar(struct cli *cli, const struct options *options, const struct place *place, const char *const *command, int in_fd, int out_fd, struct error *err)
{
	const struct cli_resource *pods = NULL;
	const char *ns = place->ns;
	json_t *pod;
	int rc = cli_resource_match(cli, "pods", &pods, err), code = 0;
	if (!rc && !ns)
		rc = cli_namespace(cli, &ns, err);
	if (!rc)
		rc = cli_get_json(cli, cli_path(cli, pods, ns, place->pod, NULL), &pod, err);
	if (rc)
		return rc;
	char *path = cli_path_query(cli, cli_path(cli, pods, ns, place->pod, "exec"), "container", cli_pod_container(pod, options->container, true));
	json_decref(pod);
	for (; *command; command++)
		path = cli_path_query(cli, path, "command", *command);
	path = cli_path_query(cli, path, "stdin", in_fd >= 0 ? "true" : NULL);
	path = cli_path_query(cli, path, "stdout", "true");
	path = cli_path_query(cli, path, "stderr", "true");
	struct remote_options remote = {.use_stdin = in_fd >= 0, .in_fd = in_fd, .out_fd = out_fd, .err_fd = STDERR_FILENO};
	rc = remote_run(cli, path, &remote, &code, err);
	if (!rc && code)
		rc = error_set(err, EIO, "command terminated with exit code %d", code);
	return rc;
}

static int end_local(struct process *tar, int rc, struct error *err)
{
	int status;
	if (process_wait(tar, -1, &status, NULL) == 0 && !rc && (!WIFEXITED(status) || WEXITSTATUS(status)))
		rc = error_set(err, EIO, "the local tar failed");
	return rc;
}

static int upload(struct cli *cli, const struct options *options, const char *from, const struct place *to, struct error *err)
{
	struct stat st;
	if (stat(from, &st))
		return error_set(err, ENOENT, "%s doesn't exist in local filesystem", from);
	size_t len = strlen(to->path);
	if (!len)
		return cli_usage_error(err, "filepath can not be empty");
	const char *base = base_of(cli, from);
	const char *target = to->path[len - 1] == '/' ? arena_printf(cli->arena, "%s%s", to->path, base) : to->path;
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC))
		return error_set_errno(err, errno, "pipe");
	const char *const local[] = {"tar", "-c", "-f", "-", "-C", parent_of(cli, from), "--transform", rename_rule(cli, base, base_of(cli, target)), "--", base, NULL};
	const char *const remote[] = {"tar", options->no_preserve ? "-xmof" : "-xmf", "-", "-C", parent_of(cli, target), NULL};
	struct process_options start = PROCESS_OPTIONS_INIT;
	struct process tar;
	start.argv = local;
	start.stdout_fd = pipe_fds[1];
	start.stderr_fd = STDERR_FILENO;
	int rc = process_start(&start, &tar, err);
	close(pipe_fds[1]);
	if (!rc) {
		rc = remote_tar(cli, options, to, remote, pipe_fds[0], STDOUT_FILENO, err);
		close(pipe_fds[0]);
		return end_local(&tar, rc, err);
	}
	close(pipe_fds[0]);
	return rc;
}

static int download(struct cli *cli, const struct options *options, const struct place *from, const char *to, struct error *err)
{
	struct stat st;
	const char *base = base_of(cli, from->path);
	const char *target = !stat(to, &st) && S_ISDIR(st.st_mode) ? arena_printf(cli->arena, "%s/%s", to, base) : to;
	int pipe_fds[2];
	if (pipe2(pipe_fds, O_CLOEXEC))
		return error_set_errno(err, errno, "pipe");
	const char *const remote[] = {"tar", "cf", "-", "-C", parent_of(cli, from->path), base, NULL};
	const char *const local[] = {"tar", "-x", options->no_preserve ? "-mof" : "-mf", "-", "-C", parent_of(cli, target), "--transform", rename_rule(cli, base, base_of(cli, target)), NULL};
	struct process_options start = PROCESS_OPTIONS_INIT;
	struct process tar;
	start.argv = local;
	start.stdin_fd = pipe_fds[0];
	start.stderr_fd = STDERR_FILENO;
	int rc = process_start(&start, &tar, err);
	close(pipe_fds[0]);
	if (!rc) {
		rc = remote_tar(cli, options, from, remote, -1, pipe_fds[1], err);
		close(pipe_fds[1]);
		return end_local(&tar, rc, err);
	}
	close(pipe_fds[1]);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	if (args->len != 2)
		return cli_usage_error(err, "source and destination are required");
	struct place from = parse_place(cli, args->items[0]), to = parse_place(cli, args->items[1]);
	if (!from.pod == !to.pod)
		return cli_usage_error(err, "one of src or dest must be a remote file specification");
	return to.pod ? upload(cli, arg, from.path, &to, err) : download(cli, arg, &from, to.path, err);
}

const struct cli_command command_cp = {
	.name = "cp",
	.usage = "SRC DEST   (one of them [NAMESPACE/]POD:PATH)",
	.summary = "Copy files and folders to and from containers",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
