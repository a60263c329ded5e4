/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/targets.h"

#include "common/api/patch/patch.h"
#include "common/api/yaml.h"
#include "common/base/file.h"
#include "common/base/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_EDIT (64u << 20)
#define PREAMBLE "# Please edit the object below. Lines beginning with a '#' will be ignored,\n# and an empty file will abort the edit. If an error occurs while saving this file will be\n# reopened with the relevant failures.\n"

struct options {
	struct cli_globals globals;
	char *output, *subresource;
	struct flag_list files;
	bool recursive;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name what to edit", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"output", 'o', FLAG_STRING, O(output), "yaml", "yaml or json", 0, 0},
	{"subresource", 0, FLAG_STRING, O(subresource), NULL, "Edit this subresource", 0, 0},
};

/* $KUBE_EDITOR, $EDITOR, vi; with its own words, as a shell would take them. */
static int run_editor(const char *path, struct error *err)
{
	const char *editor = str_or(getenv("KUBE_EDITOR"), str_or(getenv("EDITOR"), "vi"));
	autofree char *line = xprintf("%s \"$1\"", editor);
	const char *const argv[] = {"sh", "-c", line, "sh", path, NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	options.stdin_fd = STDIN_FILENO;
	options.stdout_fd = STDOUT_FILENO;
	options.stderr_fd = STDERR_FILENO;
	struct process process;
	int status, rc = process_start(&options, &process, err);
	if (!rc)
		rc = process_wait(&process, -1, &status, err);
	if (!rc && (!WIFEXITED(status) || WEXITSTATUS(status)))
		rc = error_set(err, EIO, "there was a problem with the editor \"%s\"", editor);
	return rc;
}

static void write_text(const struct options *options, json_t *object, const char *problem, struct buf *out)
{
	buf_append_str(out, PREAMBLE "#\n");
	for (const char *p = str_or(problem, ""); *p;) {
		size_t len = strcspn(p, "\n");
		buf_printf(out, "# %.*s\n", (int)len, p);
		p += len + (p[len] == '\n');
	}
	if (str_equal(options->output, "json")) {
		char *text = json_dumps(object, JSON_INDENT(4) | JSON_SORT_KEYS);
		buf_printf(out, "%s\n", text);
		free(text);
	} else {
		yaml_dump(object, out);
	}
}

/* JSON knows no comments: lines of ours go before either form is read. */
static void drop_comments(char *text)
{
	char *to = text;
	for (char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		len += line[len] == '\n';
		if (*line != '#') {
			memmove(to, line, len);
			to += len;
		}
		line += len;
	}
	*to = 0;
}

static int send_change(struct cli *cli, const struct options *options, const struct cli_target *target, json_t *before, json_t *after, struct error *err)
{
	json_t *patch = NULL;
	bool known = target->resource->known != NULL;
	int rc = known ? patch_strategic_diff(target->resource->known->type, before, after, &patch, err) : patch_merge_diff(before, after, &patch, err);
	if (!rc)
		rc = cli_patch(cli, target, options->subresource, known ? CLI_STRATEGIC_PATCH : CLI_MERGE_PATCH, patch, NULL, err);
	json_decref(patch);
	return rc;
}

/* One object, again and again until the server takes it or the user gives up. */
static int edit_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	const struct options *options = arg;
	char path[] = "/tmp/coracle-edit-XXXXXX.yaml";
	json_t *before = NULL, *shown = NULL;
	autofree char *problem = NULL;
	int rc = cli_get_json(cli, cli_path(cli, target->resource, target->ns, target->name, options->subresource), &before, err);
	if (rc)
		return rc;
	json_object_del(json_object_get(before, "metadata"), "managedFields");
	shown = json_incref(before);
	autoclose int fd = mkostemps(path, 5, O_CLOEXEC);
	if (fd < 0)
		rc = error_set_errno(err, errno, "make a file to edit");
	for (bool done = false; !rc && !done;) {
		autobuf struct buf text = BUF_INIT(MAX_EDIT);
		autofree char *edited = NULL;
		json_t *after = NULL;
		write_text(options, shown, problem, &text);
		rc = file_write(AT_FDCWD, path, text.data, text.len, 0600, err);
		if (!rc)
			rc = run_editor(path, err);
		if (!rc)
			rc = file_read(AT_FDCWD, path, MAX_EDIT, &edited, NULL, err);
		if (rc)
			break;
		drop_comments(edited);
		autoerror struct error trouble = {0};
		int failed = yaml_load(edited, strlen(edited), &after, &trouble);
		if (!failed && (json_equal(after, shown) || !json_is_object(after))) {
			done = true;
			printf("Edit cancelled, no changes made.\n");
			if (problem)
				rc = error_set(err, EINVAL, "%s", problem);
		} else if (!failed) {
			failed = send_change(cli, options, target, before, after, &trouble);
			done = !failed;
			if (done)
				printf("%s edited\n", cli_target_display(cli, target));
		}
		free(problem);
		problem = failed ? xstrdup(error_message(&trouble)) : NULL;
		if (failed && after) {
			json_decref(shown);
			shown = json_incref(after);
		}
		/* Nobody is there to mend it. */
		if (failed && !isatty(STDIN_FILENO))
			rc = error_move(err, &trouble);
		json_decref(after);
	}
	if (fd >= 0)
		unlink(path);
	json_decref(shown);
	json_decref(before);
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, false, &targets, err);
	if (!rc)
		rc = cli_targets_expand(cli, &targets, NULL, NULL, err);
	if (!rc && !targets.len)
		rc = cli_usage_error(err, "must specify a resource to edit");
	return rc ? rc : cli_targets_each(cli, &targets, NULL, edit_one, options, err);
}

const struct cli_command command_edit = {
	.name = "edit",
	.usage = "(TYPE/NAME | -f FILENAME)",
	.summary = "Edit a resource on the server",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
