/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/env_file.h"

#include "common/base/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct lines {
	const char *at, *end;
	size_t number;
};

/* The next line without its end; false past the last. */
static bool next_line(struct lines *lines, const char **ret, const char **ret_end) {
	if (lines->at == lines->end)
		return false;
	const char *newline = memchr(lines->at, '\n', (size_t)(lines->end - lines->at)), *stop = newline ? newline : lines->end;
	*ret = lines->at;
	*ret_end = stop > lines->at && stop[-1] == '\r' ? stop - 1 : stop;
	lines->at = newline ? newline + 1 : lines->end;
	lines->number++;
	return true;
}

static const char *skip_blanks(const char *at, const char *end) {
	while (at < end && (*at == ' ' || *at == '\t'))
		at++;
	return at;
}

static int malformed(const struct lines *lines, const char *why, struct error *err) {
	return error_set(err, EINVAL, "invalid environment variable format at line %zu: %s", lines->number, why);
}

/* What stands between single quotes, from behind the first one on; it may go on in the lines that follow. */
static int read_quoted(struct lines *lines, const char *at, const char *end, struct buf *out, struct error *err) {
	size_t started = lines->number;
	for (;;) {
		const char *quote = memchr(at, '\'', (size_t)(end - at));
		buf_append(out, at, (size_t)((quote ? quote : end) - at));
		if (quote) {
			const char *rest = skip_blanks(quote + 1, end);
			return rest == end || *rest == '#' ? 0 : malformed(lines, "unexpected content after closing quote", err);
		}
		buf_append_char(out, '\n');
		if (!next_line(lines, &at, &end))
			return error_set(err, EINVAL, "invalid environment variable format starting at line %zu: unclosed single quote", started);
	}
}

int env_file_find(const char *text, size_t len, const char *key, struct arena *arena, const char **ret, struct error *err) {
	struct lines lines = {.at = text, .end = text + len};
	autobuf struct buf value = BUF_INIT(ENV_FILE_MAX + 1);
	const char *at, *end;
	*ret = NULL;
	while (next_line(&lines, &at, &end)) {
		at = skip_blanks(at, end);
		if (at == end || *at == '#')
			continue;
		const char *equals = memchr(at, '=', (size_t)(end - at));
		if (!equals)
			return malformed(&lines, "missing '='", err);
		if (equals == at)
			return malformed(&lines, "empty variable name", err);
		if (equals[-1] == ' ' || equals[-1] == '\t')
			return malformed(&lines, "whitespace before '=' is not allowed", err);
		bool wanted = strlen(key) == (size_t)(equals - at) && memcmp(at, key, (size_t)(equals - at)) == 0;
		buf_reset(&value);
		at = equals + 1;
		if (at == end || (*at != ' ' && *at != '\t')) {
			if (at == end || *at != '\'')
				return malformed(&lines, "value must be enclosed in single quotes", err);
			int r = read_quoted(&lines, at + 1, end, &value, err);
			if (r < 0)
				return r;
		}
		if (wanted) {
			size_t text_len = value.len ? strnlen(value.data, value.len) : 0;
			*ret = text_len ? arena_strndup(arena, value.data, text_len) : NULL;
			return 0;
		}
	}
	return 0;
}

int env_file_read(const char *folder, const char *path, const char *key, struct arena *arena, const char **ret, struct error *err) {
	struct open_how how = {.flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	autoclose int root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	autoclose int fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set_errno(err, errno, "open environment file \"%s\"", path);
	if (!S_ISREG(st.st_mode) || st.st_size > ENV_FILE_MAX)
		return error_set(err, EINVAL, "environment file \"%s\" is no regular file of at most %u bytes", path, ENV_FILE_MAX);
	autobuf struct buf text = BUF_INIT(ENV_FILE_MAX);
	char chunk[4096];
	ssize_t n;
	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		buf_append(&text, chunk, (size_t)n);
	if (n < 0 || buf_failed(&text))
		return error_set(err, n < 0 ? errno : E2BIG, "environment file \"%s\" cannot be read", path);
	return env_file_find(text.data ? text.data : "", text.len, key, arena, ret, err);
}
