/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every daemon shares: flags, logs, signals, systemd's readiness and watchdog, and the small HTTP server with /healthz, /livez,
 * /readyz and /metrics.
 *
 *	int main(int argc, char **argv) {
 *		struct options options = {0};
 *		static const struct daemon_program program = {"coracle-x", "Does x.", flags, array_len(flags), offsetof(struct options, common), 10260};
 *		struct daemon *daemon;
 *		int r = daemon_start(&program, argc, argv, &options, &daemon);   // r > 0: exit with r - 1 (--help, --version, bad flags)
 *		...
 *		daemon_ready(daemon);
 *		daemon_wait(daemon);      // until SIGTERM or SIGINT
 *		daemon_free(daemon);
 *	}
 */
#ifndef CORACLE_DAEMON_DAEMON_H
#define CORACLE_DAEMON_DAEMON_H

#include "common/base/error.h"
#include "common/base/flags.h"

/* Embedded in each daemon's options. DAEMON_FLAGS(struct, member) gives its rows. */
struct daemon_options {
	int64_t verbosity;
	char *logging_format;
	char *bind_address; /* of the health server */
	int64_t secure_port; /* 0: none */
	char *tls_cert_file, *tls_key_file; /* given: HTTPS; else plain HTTP on loopback only */
};
#define DAEMON_FLAGS(type, member)                                                                                                                                   \
	{"v", 'v', FLAG_INT, offsetof(type, member.verbosity), "0", "how much to log", 0, 10},                                                                           \
		{"logging-format", 0, FLAG_STRING, offsetof(type, member.logging_format), "text", "text or json", 0, 0},                                                 \
		{"bind-address", 0, FLAG_STRING, offsetof(type, member.bind_address), "127.0.0.1", "address of the health and metrics server", 0, 0},                    \
		{"secure-port", 0, FLAG_INT, offsetof(type, member.secure_port), "-1", "its port; 0 for none", -1, 65535},                                               \
		{"tls-cert-file", 0, FLAG_STRING, offsetof(type, member.tls_cert_file), NULL, "its certificate; without one it speaks plain HTTP", 0, 0},                \
		{"tls-private-key-file", 0, FLAG_STRING, offsetof(type, member.tls_key_file), NULL, "its key", 0, 0}

struct daemon_program {
	const char *name, *summary;
	const struct flag *flags; /* DAEMON_FLAGS among them */
	size_t flag_count;
	size_t common_offset;     /* of struct daemon_options in the options */
	int default_port;         /* of the health server; 0: none unless asked for */
};

struct daemon;
/*
 * Parses flags into `options`, sets logs up, blocks signals for all threads to come (call before any thread starts), ignores SIGPIPE, opens
 * the health server. Returns 0; a positive number n: the program shall exit with n - 1; or a negative errno, already logged.
 */
int daemon_start(const struct daemon_program *program, int argc, char **argv, void *options, struct daemon **ret);
void daemon_free(struct daemon *daemon);
/* A named check of /healthz, /livez and /readyz (readiness only where ready_only). fn returns false, with an error, where it does not hold. Before others threads may ask; any time after daemon_start. */
void daemon_add_check(struct daemon *daemon, const char *name, bool ready_only, bool (*fn)(void *arg, struct error *err), void *arg);
/* Tells systemd, and /readyz, that start-up is over. */
void daemon_ready(struct daemon *daemon);
/* Waits for SIGTERM or SIGINT, or daemon_stop; pets systemd's watchdog meanwhile. */
void daemon_wait(struct daemon *daemon);
/* Thread safe: ends daemon_wait. exit_code is what daemon_exit_code then gives. */
void daemon_stop(struct daemon *daemon, int exit_code);
int daemon_exit_code(const struct daemon *daemon);
/* Readable once the daemon is to stop: a cancel_fd for waits. */
int daemon_stop_fd(const struct daemon *daemon);
/* Port of the health server, for tests; 0: none. */
uint16_t daemon_port(const struct daemon *daemon);

#endif
