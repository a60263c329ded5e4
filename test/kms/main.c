/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/grpc/server.h"
#include "test/kms/service.h"

#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

int main(int argc, char **argv) {
	autoerror struct error err = {0};
	struct grpc_server *server;
	sigset_t set;
	struct signalfd_siginfo info;
	if (argc != 3) {
		fprintf(stderr, "usage: %s SOCKET FOLDER\n", argv[0]);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	autoclose int fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (kms_service_start(argv[1], argv[2], &server, &err) < 0) {
		fprintf(stderr, "%s\n", error_message(&err));
		return 1;
	}
	(void)!read(fd, &info, sizeof(info));
	grpc_server_stop(server);
	return 0;
}
