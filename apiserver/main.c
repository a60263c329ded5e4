/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-apiserver: reads the flags, starts the server, waits for the signal to end. */
#include "apiserver/admission/admission.h"
#include "apiserver/apiserver.h"
#include "common/base/log.h"
#include "common/base/loop.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/un.h>
#include <unistd.h>

#define SUMMARY "Serves the Kubernetes API out of etcd."

static void on_signal(int signo, void *arg) {
	loop_stop(arg);
}

/* Tells systemd, where it asked to be told. */
static void notify(const char *state) {
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (str_empty(path) || strlen(path) >= sizeof(address.sun_path))
		return;
	autoclose int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	memcpy(address.sun_path, path, strlen(path));
	if (address.sun_path[0] == '@')
		address.sun_path[0] = '\0';
	(void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

static void warn_of_gates(const struct apiserver_options *options) {
	autobuf struct buf names = BUF_INIT(64 << 10);
	for (size_t i = 0; i < options->feature_gates.len; i++)
		buf_printf(&names, "%s%s", names.len ? "," : "", options->feature_gates.items[i]);
	if (names.len)
		log_warning("feature gates have no effect here", LOG_STR("gates", names.data));
	if (!str_empty(options->storage_media_type) && strcmp(options->storage_media_type, "application/json") != 0)
		log_warning("objects are stored as application/json", LOG_STR("asked", options->storage_media_type));
}

static int serve(struct apiserver_options *options) {
	autoerror struct error err = {0};
	struct loop *loop = loop_new();
	loop_add_signal(loop, SIGTERM, on_signal, loop);
	loop_add_signal(loop, SIGINT, on_signal, loop);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	warn_of_gates(options);
	admission_check_flags(options);
	struct apiserver *server;
	if (apiserver_start(options, &server, &err) < 0) {
		log_error("cannot start", LOG_ERR(&err));
		loop_free(loop);
		return 1;
	}
	notify("READY=1");
	loop_run(loop);
	log_info("stopping");
	notify("STOPPING=1");
	apiserver_stop(server);
	loop_free(loop);
	return 0;
}

int main(int argc, char **argv) {
	struct apiserver_options options = {0};
	autoerror struct error err = {0};
	/* Hashes are seeded before there are threads. */
	json_object_seed(0);
	if (flags_parse(apiserver_flags, apiserver_flag_count, argc, argv, &options, NULL, &err) < 0) {
		fprintf(stderr, "Error: %s\n", error_message(&err));
		return 1;
	}
	int status = 0;
	if (options.help) {
		flags_print_help(stdout, "coracle-apiserver", SUMMARY, apiserver_flags, apiserver_flag_count);
	} else if (options.version) {
		printf("Kubernetes v1.36.2 (Coracle %s)\n", CORACLE_VERSION);
	} else {
		log_init(STDERR_FILENO, strcmp(options.logging_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, (int)options.v);
		if (!options.etcd_servers.len) {
			log_error("--etcd-servers must be given");
			status = 1;
		} else {
			status = serve(&options);
		}
	}
	flags_done(apiserver_flags, apiserver_flag_count, &options);
	return status;
}
