/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /logs/: the files below the node's log folder; with ?query=, where that is switched on, what services wrote: by the journal, or in files named after them.
 * Links are followed only to what lies in the folder itself.
 */
#include "common/api/scalar.h"
#include "common/base/file.h"
#include "common/base/process.h"
#include "kubelet/server/server.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_SERVICES 4
#define MAX_SERVICE_NAME 256
#define MAX_TAIL 100000
#define MAX_LISTING (8u << 20)
#define MAX_JOURNAL (64u << 20)
#define JOURNAL_MS 30000
#define PART 65536

/* ---- files ---- */

/* Opens what a path means, wherever links lead, as long as it stays below the folder. -ENOENT where it does not. */
static int open_below(const char *root, const char *path) {
	autofree char *top = realpath(root, NULL), *joined = path_join(root, path, NULL), *real = top ? realpath(joined, NULL) : NULL;
	size_t len = top ? strlen(top) : 0;
	if (!real || strncmp(real, top, len) != 0 || (real[len] && real[len] != '/'))
		return -ENOENT;
	autoclose int dir = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS};
	int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, real[len] ? real + len + 1 : ".", &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}

struct sending {
	int fd;
	int64_t left;
};

static int next_part(void *arg, struct bytes **ret) {
	struct sending *sending = arg;
	char data[PART];
	if (!sending->left)
		return 0;
	ssize_t n = read(sending->fd, data, (size_t)min_of(sending->left, (int64_t)sizeof(data)));
	if (n <= 0)
		return 0; /* shorter than it was: cut off */
	sending->left -= n;
	*ret = bytes_new(data, (size_t)n);
	return 1;
}

static void sent(void *arg) {
	struct sending *sending = arg;
	close(sending->fd);
	free(sending);
}

/* As large as it is now: what is written later is not waited for. */
static void send_file(struct route_request *r, int take_fd, int64_t size) {
	struct sending *sending = xnew(struct sending);
	*sending = (struct sending){.fd = take_fd, .left = size};
	http_respond_pull(r->http, 200, "text/plain; charset=utf-8", size, next_part, sent, sending);
}

static void append_html(struct buf *out, const char *text) {
	for (; *text; text++) {
		const char *entity = *text == '&' ? "&amp;" : *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : *text == '"' ? "&#34;" : *text == '\'' ? "&#39;" : NULL;
		if (entity)
			buf_append_str(out, entity);
		else
			buf_append_char(out, *text);
	}
}

static void append_url(struct buf *out, const char *text) {
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (isalnum(*p) || strchr("-_.~/$&+,:=@", *p))
			buf_append_char(out, (char)*p);
		else
			buf_printf(out, "%%%02X", *p);
	}
}

static int by_name(const struct dirent **a, const struct dirent **b) {
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void send_folder(struct route_request *r, int fd) {
	struct dirent **entries = NULL;
	autobuf struct buf page = BUF_INIT(MAX_LISTING);
	int count = scandirat(fd, ".", &entries, NULL, by_name);
	buf_append_str(&page, "<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name, *slash = entries[i]->d_type == DT_DIR ? "/" : "";
		if (!str_equal(name, ".") && !str_equal(name, "..")) {
			buf_append_str(&page, "<a href=\"");
			append_url(&page, name);
			buf_printf(&page, "%s\">", slash);
			append_html(&page, name);
			buf_printf(&page, "%s</a>\n", slash);
		}
		free(entries[i]);
	}
	free(entries);
	buf_append_str(&page, "</pre>\n");
	if (count < 0)
		route_text(r, 500, "the folder cannot be read");
	else
		route_answer(r, "text/html; charset=utf-8", &page);
}

static void serve_path(struct route_request *r, const char *path) {
	struct stat st;
	int fd = open_below(r->kubelet->options.system_log_dir, path);
	if (fd < 0 || fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
		cleanup_close(&fd);
		route_text(r, 404, "404 page not found");
	} else if (S_ISREG(st.st_mode)) {
		send_file(r, fd, st.st_size);
	} else {
		send_folder(r, fd);
		close(fd);
	}
}

/* ---- services ---- */

struct query {
	const char *services[MAX_SERVICES + 1], *file, *pattern;
	size_t service_count, file_count;
	bool asked, bad;
	struct wall_time since, until;
	bool has_since, has_until, has_tail, has_boot;
	int64_t tail, boot_offset;
	struct buf wrong; /* what is wrong with it, each with a comma */
};

static void complain(struct query *q, const char *field, const char *value, const char *why) {
	buf_printf(&q->wrong, "%s%s: Invalid value: \"%s\": %s", q->wrong.len ? ", " : "", field, value, why);
}

static bool is_blank(const char *text) {
	return text[strspn(text, " \t\n")] == '\0';
}

static void take_time(struct query *q, const char *name, const char *value, struct wall_time *ret, bool *has) {
	*has = time_parse_rfc3339(value, strlen(value), ret) == 0;
	if (!*has)
		complain(q, name, value, "invalid time format");
}

static void take_number(struct query *q, const char *name, const char *value, int64_t *ret, bool *has) {
	*has = str_to_int64(value, INT32_MIN, INT32_MAX, ret);
	if (!*has)
		complain(q, name, value, "invalid syntax");
}

static void take_parameter(const char *name, const char *value, void *arg) {
	struct query *q = arg;
	if (str_equal(name, "query")) {
		q->asked = true;
		/* A slash tells a file from a service. */
		if (strpbrk(value, "/\\")) {
			q->file = value;
			q->file_count++;
		} else if (!is_blank(value) && q->service_count <= MAX_SERVICES) {
			q->services[q->service_count++] = value;
		}
	} else if (str_empty(value)) {
		return;
	} else if (str_equal(name, "sinceTime")) {
		take_time(q, name, value, &q->since, &q->has_since);
	} else if (str_equal(name, "untilTime")) {
		take_time(q, name, value, &q->until, &q->has_until);
	} else if (str_equal(name, "tailLines")) {
		take_number(q, name, value, &q->tail, &q->has_tail);
	} else if (str_equal(name, "boot")) {
		take_number(q, name, value, &q->boot_offset, &q->has_boot);
	} else if (str_equal(name, "pattern")) {
		q->pattern = value;
	}
}

static bool has_options(const struct query *q) {
	return q->has_since || q->has_until || q->has_tail || q->has_boot || q->pattern;
}

static void check(struct query *q) {
	for (size_t i = 0; i < q->service_count; i++) {
		if (strlen(q->services[i]) > MAX_SERVICE_NAME)
			complain(q, "query", q->services[i], "length must be less than 256");
		for (const char *p = q->services[i]; *p; p++)
			if (!isalnum((unsigned char)*p) && !strchr("-_.:@", *p)) {
				complain(q, "query", q->services[i], "input contains unsupported characters");
				break;
			}
	}
	if (q->service_count > MAX_SERVICES)
		complain(q, "query", "", "must have at most 4 items");
	if (!q->file_count && !q->service_count && has_options(q))
		complain(q, "query", "", "cannot be empty with options");
	if (q->file_count && q->service_count)
		complain(q, "query", q->file, "cannot specify a file and service");
	else if (q->file_count > 1)
		complain(q, "query", q->file, "cannot specify more than one file");
	else if (q->file_count && has_options(q))
		complain(q, "query", q->file, "cannot specify file with options");
	if (q->has_since && q->has_until && (q->since.sec > q->until.sec || (q->since.sec == q->until.sec && q->since.nsec > q->until.nsec)))
		complain(q, "untilTime", "", "must be after `sinceTime`");
	if (q->has_boot && q->boot_offset > 0)
		complain(q, "boot", "", "must be less than 1");
	if (q->has_tail && (q->tail < 0 || q->tail > MAX_TAIL))
		complain(q, "tailLines", "", "must be between 0 and 100000, inclusive");
}

static int run_journal(const char *const *argv, struct buf *out, int *ret_code) {
	struct process_options options = PROCESS_OPTIONS_INIT;
	autobuf struct buf said = BUF_INIT(MAX_LISTING);
	*ret_code = -1;
	options.argv = argv;
	int r = process_run(&options, NULL, 0, out, &said, JOURNAL_MS, ret_code, NULL);
	/* One that ended badly has said why. */
	if (said.len)
		buf_append(out, said.data, said.len);
	return r < 0 && *ret_code < 0 ? r : 0;
}

static bool is_in_journal(const char *service) {
	const char *const argv[] = {"journalctl", "--field", "_SYSTEMD_UNIT", NULL};
	autobuf struct buf units = BUF_INIT(MAX_LISTING);
	autofree char *unit = xprintf("%s.service", service);
	int code;
	return run_journal(argv, &units, &code) == 0 && code == 0 && units.data && strstr(units.data, unit);
}

static const char *date(struct arena *arena, const char *flag, const struct wall_time *time) {
	time_t seconds = time->sec;
	struct tm parts;
	char text[32];
	gmtime_r(&seconds, &parts);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts);
	return arena_printf(arena, "%s=%s", flag, text);
}

static void tell_journal(const struct query *q, const char *const *services, size_t count, struct arena *arena, struct buf *out) {
	const char *argv[MAX_SERVICES + 16] = {"journalctl", "--utc", "--no-pager", "--output=short-precise"};
	size_t n = 4;
	int code;
	if (q->has_since)
		argv[n++] = date(arena, "--since", &q->since);
	if (q->has_until)
		argv[n++] = date(arena, "--until", &q->until);
	if (q->has_tail) {
		argv[n++] = "--pager-end";
		argv[n++] = arena_printf(arena, "--lines=%lld", (long long)q->tail);
	}
	for (size_t i = 0; i < count; i++)
		argv[n++] = arena_printf(arena, "--unit=%s", services[i]);
	if (q->pattern) {
		argv[n++] = arena_printf(arena, "--grep=%s", q->pattern);
		argv[n++] = "--case-sensitive=false";
	}
	if (q->has_boot) {
		argv[n++] = "--boot";
		argv[n++] = arena_printf(arena, "%lld", (long long)q->boot_offset);
	}
	if (run_journal(argv, out, &code) < 0)
		buf_append_str(out, "\nerror: journal output not available\n");
}

/* A service that has no journal writes to a file of its name, or to one in a folder of its name. */
static void tell_files(struct route_request *r, const char *service, struct arena *arena, struct buf *out) {
	const char *const names[] = {service, arena_printf(arena, "%s.log", service), arena_printf(arena, "%s/%s.log", service, service)};
	for (size_t i = 0; i < array_len(names); i++) {
		struct stat st;
		autoclose int fd = open_below(r->kubelet->options.system_log_dir, names[i]);
		if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		char data[PART];
		for (ssize_t n; (n = read(fd, data, sizeof(data))) > 0 && !buf_failed(out);)
			buf_append(out, data, (size_t)n);
		return;
	}
	buf_printf(out, "\nlog not found for %s\n", service);
}

static void serve_services(struct route_request *r, const struct query *q) {
	struct arena *arena = http_arena(r->http);
	autobuf struct buf out = BUF_INIT(MAX_JOURNAL);
	const char *native[MAX_SERVICES], *others[MAX_SERVICES];
	size_t native_count = 0, other_count = 0;
	for (size_t i = 0; i < q->service_count; i++) {
		if (is_in_journal(q->services[i]))
			native[native_count++] = q->services[i];
		else
			others[other_count++] = q->services[i];
	}
	if (other_count && has_options(q))
		buf_printf(&out, "\noptions present and query resolved to log files for %s\ntry without specifying options\n", others[0]);
	else
		for (size_t i = 0; i < other_count; i++)
			tell_files(r, others[i], arena, &out);
	if (native_count && !other_count)
		tell_journal(q, native, native_count, arena, &out);
	if (buf_failed(&out))
		route_text(r, 413, "the logs are larger than %u bytes", MAX_JOURNAL);
	else
		route_answer(r, "text/plain;charset=UTF-8", &out);
}

void route_node_logs(struct route_request *r) {
	const struct kubelet_options *o = &r->kubelet->options;
	struct query q = {.wrong = BUF_INIT(65536)};
	const char *path = http_url_decode(http_arena(r->http), r->rest, strlen(r->rest), false);
	if (!o->system_log_handler) {
		route_text(r, 405, "logs endpoint is disabled.");
		return;
	}
	if (o->system_log_query)
		http_query_each(r->http, take_parameter, &q);
	if (q.asked && !q.file_count && !q.service_count)
		complain(&q, "query", "", "query cannot be empty");
	bool unread = q.wrong.len;
	if (!unread)
		check(&q);
	if (q.wrong.len)
		route_text(r, unread ? 400 : 406, "%s", q.wrong.data);
	else if (q.service_count)
		serve_services(r, &q);
	else
		serve_path(r, q.file_count ? q.file : str_or(path, ""));
	buf_done(&q.wrong);
}
