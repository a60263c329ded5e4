/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/runtime/selinux.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define XATTR "security.selinux"
#define MAX_CONFIG (64u << 10)
#define MAX_LABEL 4096
#define CATEGORIES 1022u /* with numbers below this */
#define UNCONFINED_TYPE "spc_t"
/* Where the policy comes without the file that names its containers' types. */
#define DEFAULT_PROCESS "system_u:system_r:container_t"
#define DEFAULT_FILE "system_u:object_r:container_file_t"

struct selinux {
	char *context_file; /* takes a label, refuses one that the policy does not know */
	char *process, *file, *shared; /* the policy's labels for containers; NULL: it has none */
	bool has_levels;
};

/* ---- what the system says ---- */

static char *read_text(const char *root, const char *path)
{
	autofree char *full = xprintf("%s%s", root, path);
	char *text = NULL;
	size_t len;
	return file_read(AT_FDCWD, full, MAX_CONFIG, &text, &len, NULL) == 0 ? text : NULL;
}

static const char *trim(char *text)
{
	text += strspn(text, " \t\"");
	for (size_t len = strlen(text); len && strchr(" \t\r\"", text[len - 1]); len--)
		text[len - 1] = 0;
	return text;
}

/* The value of "key = value", which may be quoted, in a file of such lines; NULL: none. The caller frees. */
static char *value_of(const char *text, const char *key)
{
	autofree char *copy = xstrdup(str_or(text, ""));
	char *rest = copy;
	for (char *line; (line = strsep(&rest, "\n"));) {
		char *equals = strchr(line, '=');
		if (!equals || line[strspn(line, " \t")] == '#' || line[strspn(line, " \t")] == ';')
			continue;
		*equals = 0;
		if (str_equal(trim(line), key))
			return xstrdup(trim(equals + 1));
	}
	return NULL;
}

/* The file that says how containers are labelled: the distribution's of container tools, else that of the policy in use. */
static char *read_contexts(const char *root)
{
	char *text = read_text(root, "/usr/share/containers/selinux/contexts");
	if (text)
		return text;
	autofree char *config = read_text(root, "/etc/selinux/config"), *type = value_of(config, "SELINUXTYPE");
	if (str_empty(type) || strchr(type, '/') || str_starts_with(type, "."))
		return NULL;
	autofree char *path = xprintf("/etc/selinux/%s/contexts/lxc_contexts", type);
	return read_text(root, path);
}

static bool is_known(const struct selinux *selinux, const char *label)
{
	/* No policy's names have other characters, and it may come to stand in the options of a mount. */
	if (label[strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.:,")] || strlen(label) > MAX_LABEL)
		return false;
	autoclose int fd = open(selinux->context_file, O_RDWR | O_CLOEXEC);
	return fd >= 0 && write(fd, label, strlen(label)) == (ssize_t)strlen(label);
}

static char *default_label(const struct selinux *selinux, const char *contexts, const char *key, const char *otherwise)
{
	autofree char *label = value_of(contexts, key);
	if (str_empty(label)) {
		free(label);
		label = xprintf("%s%s", otherwise, selinux->has_levels ? ":s0" : "");
	}
	if (is_known(selinux, label))
		return take_ptr(label);
	log_warning("the SELinux policy does not know the label that containers are to have; they go without", LOG_STR("label", label));
	return NULL;
}

static bool is_enabled(const char *root)
{
	autofree char *context = xprintf("%s/sys/fs/selinux/context", root), *own = read_text(root, "/proc/self/attr/current");
	/* Until a policy is loaded all that runs is called "kernel". Mounted read only, it is not ours to use: we run in a container. */
	return access(context, W_OK) == 0 && !str_empty(own) && !str_equal(own, "kernel");
}

struct selinux *selinux_open(const char *root)
{
	if (!is_enabled(root))
		return NULL;
	struct selinux *selinux = xnew(struct selinux);
	autofree char *mls = read_text(root, "/sys/fs/selinux/mls"), *contexts = read_contexts(root);
	selinux->context_file = xprintf("%s/sys/fs/selinux/context", root);
	selinux->has_levels = mls && *mls == '1';
	selinux->process = default_label(selinux, contexts, "process", DEFAULT_PROCESS);
	selinux->file = default_label(selinux, contexts, "file", DEFAULT_FILE);
	autofree char *shared = value_of(contexts, "ro_file");
	selinux->shared = !str_empty(shared) && is_known(selinux, shared) ? take_ptr(shared) : selinux->file ? xstrdup(selinux->file) : NULL;
	return selinux;
}

struct selinux *selinux_close(struct selinux *selinux)
{
	if (!selinux)
		return NULL;
	free(selinux->context_file);
	free(selinux->process);
	free(selinux->file);
	free(selinux->shared);
	free(selinux);
	return NULL;
}

/* ---- labels ---- */

char *selinux_level(const struct selinux *selinux, uint32_t number)
{
	if (!selinux->has_levels)
		return NULL;
	uint32_t first = 0, left = number % SELINUX_LEVELS;
	while (left >= CATEGORIES - 1 - first)
		left -= CATEGORIES - 1 - first++;
	return xprintf("s0:c%u,c%u", first, first + 1 + left);
}

struct parts {
	const char *user, *role, *type, *level;
};

/* Takes the text apart. A level has colons of its own. */
static struct parts parts_of(char *label)
{
	struct parts parts = {.user = strsep(&label, ":")};
	parts.role = label ? strsep(&label, ":") : "";
	parts.type = label ? strsep(&label, ":") : "";
	parts.level = label;
	return parts;
}

static int join(const struct selinux *selinux, const struct parts *p, bool asked_for, char **ret, struct error *err)
{
	bool leveled = selinux->has_levels && !str_empty(p->level);
	autofree char *label = xprintf("%s:%s:%s%s%s", p->user, p->role, p->type, leveled ? ":" : "", leveled ? p->level : "");
	bool known = is_known(selinux, label);
	if (!known && asked_for)
		return error_set(err, EINVAL, "invalid SELinux label \"%s\"", label);
	*ret = known ? take_ptr(label) : NULL;
	return 0;
}

static const char *pick(const char *asked, const char *otherwise)
{
	return str_empty(asked) ? otherwise : asked;
}

int selinux_process_label(const struct selinux *selinux, const struct container_selinux *asked, const char *level, char **ret, struct error *err)
{
	static const struct container_selinux nothing;
	const struct container_selinux *a = asked ? asked : &nothing;
	/* A policy without containers still has the types that a pod may name. */
	bool any = !str_empty(a->user) || !str_empty(a->role) || !str_empty(a->type) || !str_empty(a->level);
	*ret = NULL;
	if (!selinux->process && !any)
		return 0;
	autofree char *base = xstrdup(selinux->process ? selinux->process : DEFAULT_PROCESS ":s0");
	struct parts parts = parts_of(base);
	parts = (struct parts){pick(a->user, parts.user), pick(a->role, parts.role), pick(a->type, parts.type), pick(a->level, pick(level, parts.level))};
	return join(selinux, &parts, any, ret, err);
}

int selinux_file_label(const struct selinux *selinux, const struct container_selinux *asked, const char *level, char **ret, struct error *err)
{
	*ret = NULL;
	if (!selinux->file)
		return 0;
	autofree char *base = xstrdup(selinux->file);
	struct parts parts = parts_of(base);
	if (asked)
		parts.user = pick(asked->user, parts.user);
	parts.level = pick(asked ? asked->level : NULL, pick(level, parts.level));
	return join(selinux, &parts, asked, ret, err);
}

const char *selinux_shared_label(const struct selinux *selinux)
{
	return selinux->shared;
}

char *selinux_unconfined_label(const struct selinux *selinux)
{
	autofree char *base = xstrdup(selinux->process ? selinux->process : DEFAULT_PROCESS ":s0");
	struct parts parts = parts_of(base);
	char *label = NULL;
	parts.type = UNCONFINED_TYPE;
	return join(selinux, &parts, false, &label, NULL) == 0 ? label : NULL;
}

/* ---- files ---- */

static bool has_label(const char *path, const char *label)
{
	char have[MAX_LABEL + 1];
	ssize_t len = getxattr(path, XATTR, have, sizeof(have) - 1);
	return len > 0 && strnlen(have, (size_t)len) == strlen(label) && strncmp(have, label, strlen(label)) == 0;
}

static int label_one(int fd, const struct stat *st, void *arg, struct error *err)
{
	const char *label = arg;
	char path[40];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (has_label(path, label))
		return 0;
	if (setxattr(path, XATTR, label, strlen(label) + 1, 0) == 0 || errno == ENOTSUP)
		return 0;
	return error_set_errno(err, errno, "label as %s", label);
}

int selinux_relabel(const char *path, const char *label, struct error *err)
{
	return walk_tree(path, true, label_one, (char *)label, err);
}

int selinux_relabel_once(const char *path, const char *label, struct error *err)
{
	return has_label(path, label) ? 0 : selinux_relabel(path, label, err);
}
