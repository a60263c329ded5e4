/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw limit beside which the API server is measured: libmicrohttpd with its own TLS and a thread a core, that gives fixed bodies.
 *
 *	bare_bench CERT.pem KEY.pem OBJECT_BYTES LIST_BYTES
 *
 * Answers a path that ends in /pods (with any query) with the list's bytes, every other with the object's. Prints its port and serves until its
 * standard input ends.
 */
#include "common/base/base.h"

#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct body {
	size_t len;
	char *data;
};
static struct body object, list;

static enum MHD_Result handler(void *cls, struct MHD_Connection *connection, const char *url, const char *method, const char *version, const char *upload, size_t *upload_len,
	void **state)
{
	static int seen;
	size_t len = strlen(url);
	if (!*state) {
		*state = &seen;
		return MHD_YES;
	}
	const struct body *body = len > 5 && !strcmp(url + len - 5, "/pods") ? &list : &object;
	struct MHD_Response *response = MHD_create_response_from_buffer(body->len, body->data, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, "Content-Type", "application/json");
	enum MHD_Result rc = MHD_queue_response(connection, 200, response);
	MHD_destroy_response(response);
	return rc;
}

static char *slurp(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "re");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (!n) {
		fprintf(stderr, "bare_bench: cannot read %s\n", path);
		exit(1);
	}
	fclose(f);
	text[n] = '\0';
	return xstrdup(text);
}

static struct body body_of(const char *bytes)
{
	int64_t len = 0;
	if (!str_to_int64(bytes, 1, 1 << 30, &len))
		exit(2);
	struct body body = {.len = (size_t)len, .data = xmalloc((size_t)len)};
	memset(body.data, 'x', body.len);
	return body;
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: bare_bench CERT KEY OBJECT_BYTES LIST_BYTES\n");
		return 2;
	}
	object = body_of(argv[3]);
	list = body_of(argv[4]);
	char *cert = slurp(argv[1]), *key = slurp(argv[2]), c;
	struct MHD_Daemon *daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TLS | MHD_USE_TURBO, 0, NULL, NULL, handler, NULL, MHD_OPTION_THREAD_POOL_SIZE,
		(unsigned)sysconf(_SC_NPROCESSORS_ONLN), MHD_OPTION_HTTPS_MEM_CERT, cert, MHD_OPTION_HTTPS_MEM_KEY, key, MHD_OPTION_END);
	if (!daemon)
		return 1;
	printf("%u\n", MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	MHD_stop_daemon(daemon);
	free(cert);
	free(key);
	free(object.data);
	free(list.data);
	return 0;
}
