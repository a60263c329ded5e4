/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/debug.h"
#include "apiserver/request/steps.h"
#include "apiserver/rest/input.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>

#define HTML "text/html; charset=utf-8"
#define MAX_COMMAND ((size_t)1 << 20)

static int respond(struct request *r, int code, const char *type, const char *text, size_t len) {
	request_finished(r, code);
	http_respond(r->http, code, type, text, len);
	return REQUEST_TAKEN;
}

static int nowhere(struct request *r) {
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_respond_text(r, 404, "404 page not found\n");
	return REQUEST_TAKEN;
}

static int to_index(struct request *r) {
	static const char found[] = "<a href=\"/debug/pprof/\">Found</a>.\n\n";
	bool get = strcmp(r->method, "GET") == 0, told = get || strcmp(r->method, "HEAD") == 0;
	http_add_header(r->http, "Location", "/debug/pprof/");
	return respond(r, 302, told ? HTML : NULL, found, get ? strlen(found) : 0);
}

/* As the kernel has it: arguments with a NUL between them. */
static int command_line(struct request *r, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, "/proc/self/cmdline", MAX_COMMAND, &text, &len, err);
	return rc < 0 ? rc : respond(r, 200, "text/plain; charset=utf-8", text, len ? len - 1 : 0);
}

int debug_profiles(struct request *r, struct error *err) {
	static const char index[] = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/<br>\n<br>\nprofiles:<br>\n<a href=\"cmdline\">cmdline</a><br>\n</body>\n</html>\n";
	if (!r->server->options->profiling)
		return nowhere(r);
	if (strcmp(r->path, "/debug/pprof") == 0)
		return to_index(r);
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	if (strcmp(r->path, "/debug/pprof/") == 0)
		return respond(r, 200, HTML, index, strlen(index));
	if (strcmp(r->path, "/debug/pprof/cmdline") == 0)
		return command_line(r, err);
	http_add_header(r->http, "X-Go-Pprof", "1"); /* by which pprof knows whom it asks */
	request_respond_text(r, 404, "Unknown profile\n");
	return REQUEST_TAKEN;
}

int debug_flags(struct request *r, struct error *err) {
	static const char index[] = "<html>\n<head>\n<title>/debug/flags/</title>\n</head>\n<body>\n/debug/flags/<br>\n<br>\nflags:<br>\n<table>\n<tr>v<br>\n</table>\n<br>\n</body>\n</html>\n";
	if (!r->server->options->profiling || (strcmp(r->path, "/debug/flags") != 0 && strcmp(r->path, "/debug/flags/") != 0))
		return nowhere(r);
	return respond(r, 200, HTML, index, strlen(index));
}

static int say(struct request *r, int code, const char *text) {
	autofree char *line = xprintf("%s\n", text);
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	return respond(r, code, "text/plain", line, strlen(line));
}

int debug_verbosity(struct request *r, struct error *err) {
	size_t len;
	int64_t level;
	if (!r->server->options->profiling)
		return nowhere(r);
	if (strcmp(r->method, "PUT") != 0)
		return say(r, 406, "unsupported http method");
	if (request_check_body(r, err) < 0)
		return -EMSGSIZE;
	const char *body = http_body(r->http, &len);
	autofree char *text = xstrndup(body, len);
	bool number = *text && strspn(text, "0123456789") == strlen(text);
	if (!number || !str_to_int64(text, 0, INT32_MAX, &level)) {
		autobuf struct buf quoted = BUF_INIT(BUF_MAX_DEFAULT);
		buf_append_json_string(&quoted, text, strlen(text));
		autofree char *why = xprintf("strconv.ParseUint: parsing %s: %s", quoted.data, number ? "value out of range" : "invalid syntax");
		return say(r, 400, why);
	}
	log_set_verbosity((int)level);
	autofree char *done = xprintf("successfully set klog.logging.verbosity to %s", text);
	return say(r, 200, done);
}
