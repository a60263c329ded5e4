/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/remote.h"

#include "common/http/websocket.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#define PROTOCOLS "v5.channel.k8s.io, v4.channel.k8s.io"
#define MAX_MESSAGE (4u << 20)
#define MAX_QUEUED (1u << 20)
#define MAX_STATUS (1u << 20)

enum channel { CHANNEL_STDIN, CHANNEL_STDOUT, CHANNEL_STDERR, CHANNEL_ERROR, CHANNEL_RESIZE, CHANNEL_CLOSE = 255 };

struct remote {
	const struct remote_options *options;
	struct websocket *ws;
	bool can_close_stdin; /* v5 */
	bool stdin_open;
	struct buf status;    /* of the error channel */
	struct termios before;
	bool raw;
	int signal_fd;
};

static void send_channel(struct remote *r, enum channel channel, const void *data, size_t len)
{
	uint8_t head = (uint8_t)channel;
	websocket_send(r->ws, WEBSOCKET_BINARY, &head, 1, data, len);
}

/* ---- the terminal ---- */

static void send_size(struct remote *r)
{
	struct winsize size;
	if (ioctl(r->options->in_fd, TIOCGWINSZ, &size) || !size.ws_col)
		return;
	char text[64];
	int len = snprintf(text, sizeof(text), "{\"Width\":%u,\"Height\":%u}", size.ws_col, size.ws_row);
	send_channel(r, CHANNEL_RESIZE, text, (size_t)len);
}

static void terminal_enter(struct remote *r)
{
	r->signal_fd = -1;
	if (!r->options->tty || r->options->in_fd < 0 || tcgetattr(r->options->in_fd, &r->before))
		return;
	struct termios raw = r->before;
	cfmakeraw(&raw);
	r->raw = tcsetattr(r->options->in_fd, TCSADRAIN, &raw) == 0;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	send_size(r);
}

static void terminal_leave(struct remote *r)
{
	if (r->raw)
		tcsetattr(r->options->in_fd, TCSADRAIN, &r->before);
	if (r->signal_fd >= 0)
		close(r->signal_fd);
}

/* ---- carrying ---- */

static void write_out(int fd, const uint8_t *data, size_t len)
{
	while (fd >= 0 && len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EAGAIN) {
			struct pollfd wait = {.fd = fd, .events = POLLOUT};
			poll(&wait, 1, -1);
			continue;
		}
		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
}

static void take_message(struct remote *r, const struct websocket_message *message)
{
	if (!message->len)
		return;
	const uint8_t *data = message->data + 1;
	size_t len = message->len - 1;
	switch (message->data[0]) {
	case CHANNEL_STDOUT:
		write_out(r->options->out_fd, data, len);
		break;
	case CHANNEL_STDERR:
		write_out(r->options->err_fd, data, len);
		break;
	case CHANNEL_ERROR:
		buf_append(&r->status, data, len);
		break;
	default:
		break;
	}
}

static void take_stdin(struct remote *r)
{
	char data[32768];
	ssize_t n = read(r->options->in_fd, data, sizeof(data));
	if (n > 0) {
		send_channel(r, CHANNEL_STDIN, data, (size_t)n);
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		r->stdin_open = false;
		if (r->can_close_stdin)
			send_channel(r, CHANNEL_CLOSE, &(uint8_t){CHANNEL_STDIN}, 1);
	}
}

static void take_signal(struct remote *r)
{
	struct signalfd_siginfo info;
	while (read(r->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		send_size(r);
}

/* Until the peer has closed. Returns 0 or a negative errno. */
static int carry(struct remote *r)
{
	for (;;) {
		struct websocket_message message;
		int rc;
		while ((rc = websocket_receive(r->ws, &message)) == 1)
			take_message(r, &message);
		if (rc != -EAGAIN)
			return rc == -EPIPE ? 0 : rc;
		/* What the peer has not taken yet holds our reading back. */
		bool reads = r->stdin_open && websocket_queued(r->ws) < MAX_QUEUED / 2;
		struct pollfd wait[3] = {
			{.fd = websocket_fd(r->ws), .events = (short)(POLLIN | (websocket_wants_write(r->ws) ? POLLOUT : 0))},
			{.fd = reads ? r->options->in_fd : -1, .events = POLLIN},
			{.fd = r->signal_fd, .events = POLLIN},
		};
		if (poll(wait, 3, -1) < 0 && errno != EINTR)
			return -errno;
		if (wait[0].revents & POLLOUT)
			websocket_flush(r->ws);
		if (wait[1].revents)
			take_stdin(r);
		if (wait[2].revents)
			take_signal(r);
	}
}

/* The Status at the end says how the program ended. */
static int read_status(struct remote *r, int *ret_exit, struct error *err)
{
	if (!r->status.len)
		return 0;
	json_t *status = json_loadb(r->status.data, r->status.len, 0, NULL);
	int rc = 0;
	if (!json_is_object(status)) {
		rc = error_set(err, EIO, "%.*s", (int)min_of(r->status.len, (size_t)1024), r->status.data);
	} else if (str_equal(cli_str(status, "reason"), "NonZeroExitCode")) {
		size_t i;
		json_t *cause;
		int64_t code = 1;
		json_array_foreach(cli_at(status, "details.causes"), i, cause)
			if (str_equal(cli_str(cause, "reason"), "ExitCode"))
				str_to_int64(str_or(cli_str(cause, "message"), "1"), 0, 255, &code);
		*ret_exit = (int)code;
	} else if (!str_equal(cli_str(status, "status"), "Success")) {
		rc = error_set(err, EIO, "Internal error occurred: %s", str_or(cli_str(status, "message"), "unknown"));
	}
	json_decref(status);
	return rc;
}

int remote_run(struct cli *cli, const char *path, const struct remote_options *options, int *ret_exit, struct error *err)
{
	struct client *client;
	int fd;
	autofree char *protocol = NULL;
	int rc = cli_client(cli, &client, err);
	if (!rc)
		rc = client_websocket(client, path, PROTOCOLS, &fd, &protocol, err);
	if (rc)
		return rc;
	struct remote r = {.options = options, .stdin_open = options->use_stdin && options->in_fd >= 0, .status = BUF_INIT(MAX_STATUS), .can_close_stdin = str_equal(protocol, "v5.channel.k8s.io")};
	r.ws = websocket_new(fd, &(struct websocket_options){.client = true, .max_message = MAX_MESSAGE, .max_queued = MAX_QUEUED});
	*ret_exit = 0;
	terminal_enter(&r);
	rc = carry(&r);
	terminal_leave(&r);
	rc = rc ? error_set_errno(err, rc, "the connection failed") : read_status(&r, ret_exit, err);
	websocket_free(r.ws);
	buf_done(&r.status);
	return rc;
}
