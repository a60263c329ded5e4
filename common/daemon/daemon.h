/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every daemon shares: flags, logs, signals, systemd's readiness and watchdog, and the small HTTP server with /healthz, /livez,
 * /readyz, /metrics, /statusz, /flagz and /configz.
 *
 *	int main(int argc, char **argv) {
 *		struct options options = {0};
 *		static const struct daemon_program program = {.name = "coracle-x", .summary = "Does x.", .flags = flags,
 *			.flag_count = array_len(flags), .common_offset = offsetof(struct options, common), .default_port = 10260};
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
#include "common/daemon/guard.h"
#include "common/daemon/zpages.h"
#include "common/http/http.h"

/* Embedded in each daemon's options. DAEMON_FLAGS(struct, member) gives its rows. */
struct daemon_options {
	int64_t verbosity;
	char *logging_format;
	char *bind_address;   /* of the health server */
	int64_t secure_port;  /* 0: none; -1: the program's default */
	char *tls_cert_file, *tls_key_file; /* neither: a certificate signed by itself, new at each start */
	char *client_ca_file; /* whose certificates may read /metrics from afar */
	char *tls_min_version;
	struct flag_list tls_cipher_suites;
	struct guard_options guard; /* of programs that have DAEMON_GUARD_FLAGS too */
};
#define DAEMON_FLAG_NO_EFFECT(flag_name) {flag_name, 0, FLAG_IGNORED, 0, NULL, "accepted for compatibility, without effect", 0, 0}
#define DAEMON_FLAGS(type, member)                                                                                                                                   \
	{"v", 'v', FLAG_INT, offsetof(type, member.verbosity), "0", "how much to log", 0, 10},                                                                           \
		{"logging-format", 0, FLAG_STRING, offsetof(type, member.logging_format), "text", "text or json", 0, 0},                                                 \
		{"bind-address", 0, FLAG_STRING, offsetof(type, member.bind_address), "0.0.0.0", "address of the health and metrics server", 0, 0},                      \
		{"secure-port", 0, FLAG_INT, offsetof(type, member.secure_port), "-1", "its port; 0 for none", -1, 65535},                                               \
		{"tls-cert-file", 0, FLAG_STRING, offsetof(type, member.tls_cert_file), NULL, "its certificate; without one it makes its own", 0, 0},                    \
		{"tls-private-key-file", 0, FLAG_STRING, offsetof(type, member.tls_key_file), NULL, "its key", 0, 0},                                                    \
		{"client-ca-file", 0, FLAG_STRING, offsetof(type, member.client_ca_file), NULL, "CA of the clients that may read metrics from afar", 0, 0},              \
		{"tls-min-version", 0, FLAG_STRING, offsetof(type, member.tls_min_version), NULL, "VersionTLS12 or VersionTLS13", 0, 0},                                  \
		{"tls-cipher-suites", 0, FLAG_STRING_LIST, offsetof(type, member.tls_cipher_suites), NULL, "suites of TLS 1.2 that are offered; none: the library's", 0, 0}, \
		DAEMON_FLAG_NO_EFFECT("cert-dir"),                                                                                                                       \
		DAEMON_FLAG_NO_EFFECT("tls-sni-cert-key"), DAEMON_FLAG_NO_EFFECT("http2-max-streams-per-connection"),                                                    \
		DAEMON_FLAG_NO_EFFECT("permit-port-sharing"), DAEMON_FLAG_NO_EFFECT("permit-address-sharing"), DAEMON_FLAG_NO_EFFECT("vmodule"),                         \
		DAEMON_FLAG_NO_EFFECT("log-flush-frequency"), DAEMON_FLAG_NO_EFFECT("log-text-split-stream"), DAEMON_FLAG_NO_EFFECT("log-text-info-buffer-size"),        \
		DAEMON_FLAG_NO_EFFECT("log-json-split-stream"), DAEMON_FLAG_NO_EFFECT("log-json-info-buffer-size"), DAEMON_FLAG_NO_EFFECT("allow-metric-labels"),        \
		DAEMON_FLAG_NO_EFFECT("allow-metric-labels-manifest"), DAEMON_FLAG_NO_EFFECT("disabled-metrics"),                                                        \
		DAEMON_FLAG_NO_EFFECT("show-hidden-metrics-for-version")

struct daemon_program {
	const char *name, *summary;
	const struct flag *flags; /* DAEMON_FLAGS among them, or rows of the program's own for the same fields */
	size_t flag_count;
	size_t common_offset;     /* of struct daemon_options in the options */
	const struct config_page *config; /* what /configz shows; NULL: it has none */
	int default_port;         /* of the health server; 0: none unless asked for. Or'ed with one of those below, or none */
};
/* HTTP instead of HTTPS, and metrics for all who reach it, as kube-proxy and CoreDNS serve them. */
#define DAEMON_PLAIN (1 << 16)
/* What its server shows is only for who may; see daemon_guard(). Without it: for who comes from the machine itself, or with a certificate. */
#define DAEMON_GUARDED (1 << 17)

struct daemon;
/*
 * Parses flags into `options`, sets logs up, blocks signals for all threads to come (call before any thread starts), ignores SIGPIPE, opens
 * the health server, with a limit of open files as high as allowed. Returns 0; a positive number n: the program shall exit with n - 1; or a negative errno, already logged.
 */
int daemon_start(const struct daemon_program *program, int argc, char **argv, void *options, struct daemon **ret);
void daemon_free(struct daemon *daemon);
/*
 * Lets clients in from now on, each as far as the API server says he may (common/daemon/guard.h); before, a guarded program answers 503. The API server that `own` names
 * reviews tokens and permissions where flags name no other.
 */
int daemon_guard(struct daemon *daemon, const struct client_config *own, struct error *err);
/* A named check of /healthz, /livez and /readyz (readiness only where ready_only). fn returns false, with an error, where it does not hold. Before others threads may ask; any time after daemon_start. */
/* Its error is logged at --v=2; it runs on an I/O thread and must not block. */
void daemon_add_check(struct daemon *daemon, const char *name, bool ready_only, bool (*fn)(void *arg, struct error *err), void *arg);
/*
 * Serves further paths on the health server: handler gets what is not health or metrics (else 404). Before or after daemon_start's
 * return; thread safe.
 */
void daemon_handle(struct daemon *daemon, http_handler handler, void *arg);
/* Tells systemd, and /readyz, that start-up is over. */
void daemon_ready(struct daemon *daemon);
/* Waits for SIGTERM or SIGINT, or daemon_stop; feeds systemd's watchdog meanwhile, while the checks of /livez hold, and gives memory back that is free. A second signal exits at once. */
void daemon_wait(struct daemon *daemon);
/* Thread safe: ends daemon_wait. exit_code is what daemon_exit_code then gives. */
void daemon_stop(struct daemon *daemon, int exit_code);
int daemon_exit_code(const struct daemon *daemon);
/* Readable once the daemon is to stop: a cancel_fd for waits. */
int daemon_stop_fd(const struct daemon *daemon);
/* Port of the health server, for tests; 0: none. */
uint16_t daemon_port(const struct daemon *daemon);

#endif
