/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: an etcd of their own, on free ports of the loopback, in a temporary folder. It dies with the test.
 *
 *	struct test_etcd etcd;
 *	test_etcd_start(&etcd);
 *	... etcd.endpoints ...
 *	test_etcd_stop(&etcd);
 */
#ifndef CORACLE_TEST_SUPPORT_ETCD_H
#define CORACLE_TEST_SUPPORT_ETCD_H

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct test_etcd {
	char folder[64];
	int client_port, peer_port;
	char url[64], peer_url[64];
	const char *endpoints[2];
	struct process process;
	bool running;
	const char *ca_file, *cert_file, *key_file; /* all set: https with client certificates */
};

/* Below the range from which the kernel gives connections and other tests' servers their ports, so that it is still free when it is used. */
static inline int test_free_port(void)
{
	static unsigned next;
	next = next ? next + 1 : (unsigned)getpid() * 31;
	for (int tries = 0; tries < 1000; tries++, next++) {
		int port = 12000 + (int)(next % 18000);
		struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool is_free = fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
		close(fd);
		if (is_free)
			return port;
	}
	abort();
}

static inline bool test_port_answers(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool answers = fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

	if (fd >= 0)
		close(fd);
	return answers;
}

/* Starts (again) on the same ports and folder. */
static inline void test_etcd_launch(struct test_etcd *etcd)
{
	const char *argv[40] = {"etcd", "--name", "test", "--data-dir", etcd->folder, "--listen-client-urls", etcd->url, "--advertise-client-urls", etcd->url,
		"--listen-peer-urls", etcd->peer_url, "--initial-advertise-peer-urls", etcd->peer_url, "--log-level", "error"};
	char cluster[128];
	size_t n = 0;
	autoerror struct error err = {0};

	snprintf(cluster, sizeof(cluster), "test=%s", etcd->peer_url);
	while (argv[n])
		n++;
	argv[n++] = "--initial-cluster";
	argv[n++] = cluster;
	if (etcd->ca_file) {
		argv[n++] = "--client-cert-auth";
		argv[n++] = "--trusted-ca-file";
		argv[n++] = etcd->ca_file;
		argv[n++] = "--cert-file";
		argv[n++] = etcd->cert_file;
		argv[n++] = "--key-file";
		argv[n++] = etcd->key_file;
	}
	argv[n] = NULL;
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	options.die_with_parent = true;
	if (process_start(&options, &etcd->process, &err) < 0) {
		fprintf(stderr, "etcd: %s\n", error_message(&err));
		abort();
	}
	etcd->running = true;
	for (int i = 0; i < 1000 && !test_port_answers(etcd->client_port); i++)
		usleep(10000);
}

static inline void test_etcd_kill(struct test_etcd *etcd)
{
	int status;

	if (!etcd->running)
		return;
	process_signal(&etcd->process, SIGCONT);
	process_signal(&etcd->process, SIGKILL);
	(void)process_wait(&etcd->process, 10000, &status, NULL);
	etcd->running = false;
}

/* It hangs when this returns: all its threads have stopped. */
static inline void test_etcd_pause(struct test_etcd *etcd)
{
	siginfo_t info;

	process_signal(&etcd->process, SIGSTOP);
	(void)waitid(P_PID, (id_t)etcd->process.pid, &info, WSTOPPED);
}

static inline void test_etcd_resume(struct test_etcd *etcd)
{
	process_signal(&etcd->process, SIGCONT);
}

static inline void test_etcd_prepare(struct test_etcd *etcd)
{
	*etcd = (struct test_etcd){0};
	snprintf(etcd->folder, sizeof(etcd->folder), "/tmp/coracle-etcd-XXXXXX");
	if (!mkdtemp(etcd->folder))
		abort();
	etcd->client_port = test_free_port();
	etcd->peer_port = test_free_port();
	snprintf(etcd->url, sizeof(etcd->url), "http://127.0.0.1:%d", etcd->client_port);
	snprintf(etcd->peer_url, sizeof(etcd->peer_url), "http://127.0.0.1:%d", etcd->peer_port);
	etcd->endpoints[0] = etcd->url;
}

static inline void test_etcd_start(struct test_etcd *etcd)
{
	test_etcd_prepare(etcd);
	test_etcd_launch(etcd);
}

static inline void test_etcd_stop(struct test_etcd *etcd)
{
	test_etcd_kill(etcd);
	(void)file_remove_all(etcd->folder, NULL);
}

/* Runs etcdctl (API 3) against it; the last argument is NULL. Aborts where it fails. */
static inline void test_etcdctl(struct test_etcd *etcd, const char *const *arguments, struct buf *out)
{
	const char *argv[32] = {"etcdctl", "--endpoints", etcd->url};
	size_t n = 3;
	struct buf errors = BUF_INIT(65536), none = BUF_INIT((size_t)16 << 20);
	autoerror struct error err = {0};

	setenv("ETCDCTL_API", "3", 1);
	for (; *arguments && n < 31; arguments++)
		argv[n++] = *arguments;
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	if (process_run(&options, NULL, 0, out ? out : &none, &errors, 20000, NULL, &err) < 0) {
		fprintf(stderr, "etcdctl: %s\n", error_message(&err));
		abort();
	}
	buf_done(&errors);
	buf_done(&none);
}
#define test_etcdctl_run(etcd, ...) test_etcdctl((etcd), (const char *const[]){__VA_ARGS__, NULL}, NULL)

#endif
