/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/remote.h"

#include "common/base/log.h"
#include "kubelet/server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#define MAX_COMMAND 4096 /* arguments of a command */
#define MAX_STATUS 65536
#define DRAIN_MS 50 /* output that follows the end of the command through the pipe */

void remote_free(struct remote *remote) {
	if (!remote)
		return;
	stream_session_free(remote->session);
	for (size_t i = 0; remote->options.argv && remote->options.argv[i]; i++)
		free((char *)remote->options.argv[i]);
	free((void *)remote->options.argv);
	free(remote->container_id);
	buf_done(&remote->to_stdin);
	free(remote);
}

bool remote_wait_fd(int fd, short events, int timeout_ms) {
	struct pollfd ready = {.fd = fd, .events = events};
	return poll(&ready, 1, timeout_ms) > 0;
}

/* ---- what the client sends ---- */

void remote_input(struct remote *remote, const void *data, size_t len) {
	if (remote->options.want_stdin && !remote->stdin_ended)
		buf_append(&remote->to_stdin, data, len);
}

void remote_input_end(struct remote *remote) {
	remote->stdin_ended = true;
}

void remote_resize(struct remote *remote, unsigned columns, unsigned rows) {
	if (remote->session)
		stream_session_resize(remote->session, (uint16_t)columns, (uint16_t)rows, NULL);
}

/* ---- what the command says ---- */

static void set_nonblocking(int fd) {
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* False where the stream has ended. */
static bool pump_out(struct remote *remote, int fd, enum channel channel) {
	char chunk[REMOTE_CHUNK];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	if (n > 0)
		remote->wire->send(remote->wire_data, channel, chunk, (size_t)n);
	return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void pump_in(struct remote *remote) {
	struct buf *pending = &remote->to_stdin;
	while (pending->len && remote->session->stdin_fd >= 0) {
		ssize_t n = write(remote->session->stdin_fd, pending->data, pending->len);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			/* The command reads no more. */
			buf_reset(pending);
			remote->stdin_ended = true;
			break;
		}
		buf_consume(pending, (size_t)n);
	}
	if (remote->stdin_ended && !pending->len && remote->session->stdin_fd >= 0)
		stream_session_close_stdin(remote->session);
}

struct pump {
	bool out_open, err_open, ended;
};

/* False where nothing moved for the whole time. */
static bool pump_once(struct remote *remote, struct pump *p, int timeout_ms) {
	struct stream_session *s = remote->session;
	bool room = remote->wire->queued(remote->wire_data) < REMOTE_MAX_QUEUED;
	bool taking = remote->to_stdin.len < REMOTE_MAX_QUEUED / 2;
	struct pollfd fds[] = {
		{.fd = remote->wire->fd(remote->wire_data), .events = (short)((taking ? POLLIN : 0) | (remote->wire->wants_write(remote->wire_data) ? POLLOUT : 0))},
		{.fd = p->out_open && room ? s->stdout_fd : -1, .events = POLLIN},
		{.fd = p->err_open && room ? s->stderr_fd : -1, .events = POLLIN},
		{.fd = remote->to_stdin.len ? s->stdin_fd : -1, .events = POLLOUT},
		{.fd = p->ended ? -1 : s->done_fd, .events = POLLIN},
	};
	int ready = poll(fds, array_len(fds), timeout_ms);
	if (ready < 0 && errno != EINTR)
		return true;
	if (fds[1].revents && !pump_out(remote, s->stdout_fd, CHANNEL_STDOUT))
		p->out_open = false;
	if (fds[2].revents && !pump_out(remote, s->stderr_fd, CHANNEL_STDERR))
		p->err_open = false;
	p->ended = p->ended || fds[4].revents;
	if (fds[0].revents && remote->wire->step(remote->wire_data, fds[0].revents) < 0)
		remote->peer_gone = true;
	pump_in(remote);
	/* What the wire had read already while we took nothing makes the fd readable no more. */
	if (!taking && remote->to_stdin.len < REMOTE_MAX_QUEUED / 2 && remote->wire->step(remote->wire_data, 0) < 0)
		remote->peer_gone = true;
	return ready != 0;
}

/* After the end: what is in the pipes already, but not what a left-over background process may say one day. */
static void drain(struct remote *remote, struct pump *p) {
	struct stream_session *s = remote->session;
	while ((p->out_open || p->err_open) && !remote->peer_gone) {
		struct pollfd fds[] = {{.fd = p->out_open ? s->stdout_fd : -1, .events = POLLIN}, {.fd = p->err_open ? s->stderr_fd : -1, .events = POLLIN}};
		if (poll(fds, 2, DRAIN_MS) <= 0)
			return;
		pump_once(remote, p, DRAIN_MS);
	}
}

/* ---- the end ---- */

static void send_status(struct remote *remote, int code, const char *problem) {
	autobuf struct buf out = BUF_INIT(MAX_STATUS);
	if (remote->plain_errors) {
		if (problem)
			buf_append_str(&out, problem);
		else if (code)
			buf_printf(&out, "command terminated with non-zero exit code: command terminated with exit code %d", code);
	} else if (problem) {
		buf_append_str(&out, "{\"metadata\":{},\"status\":\"Failure\",\"message\":");
		buf_append_json_string(&out, problem, strlen(problem));
		buf_append_str(&out, ",\"reason\":\"InternalError\",\"details\":{\"causes\":[{\"message\":");
		buf_append_json_string(&out, problem, strlen(problem));
		buf_append_str(&out, "}]},\"code\":500}");
	} else if (code) {
		buf_printf(&out, "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"command terminated with non-zero exit code: command terminated with exit code %d\",\"reason\":\"NonZeroExitCode\",\"details\":{\"causes\":[{\"reason\":\"ExitCode\",\"message\":\"%d\"}]}}", code, code);
	} else {
		buf_append_str(&out, "{\"metadata\":{},\"status\":\"Success\"}");
	}
	if (out.len)
		remote->wire->send(remote->wire_data, CHANNEL_ERROR, out.data, out.len);
}

static int open_session(struct remote *remote, struct error *err) {
	struct runtime *runtime = remote->kubelet->runtime;
	int r = remote->attach ? runtime_attach(runtime, remote->container_id, &remote->options, &remote->session, err) : runtime_exec(runtime, remote->container_id, &remote->options, &remote->session, err);
	if (r < 0)
		return r;
	set_nonblocking(remote->session->stdin_fd);
	set_nonblocking(remote->session->stdout_fd);
	set_nonblocking(remote->session->stderr_fd);
	return 0;
}

void remote_run(struct remote *remote) {
	autoerror struct error err = {0};
	int code = 0, r = open_session(remote, &err);
	if (r == 0) {
		struct pump p = {.out_open = remote->session->stdout_fd >= 0, .err_open = remote->session->stderr_fd >= 0};
		while (!p.ended && !remote->peer_gone)
			remote->peer_gone = !pump_once(remote, &p, route_idle_ms(remote->kubelet)) || remote->peer_gone;
		drain(remote, &p);
		if (!remote->peer_gone)
			r = stream_session_wait(remote->session, -1, &code, &err);
		/* An attachment has no outcome of its own: the container's is in the pod's status. */
		if (remote->attach)
			code = 0;
	}
	if (!remote->peer_gone) {
		send_status(remote, code, r < 0 || code == 126 || code == 127 ? err.message : NULL);
		remote->wire->close_channel(remote->wire_data, CHANNEL_STDOUT);
		remote->wire->close_channel(remote->wire_data, CHANNEL_STDERR);
		remote->wire->close_channel(remote->wire_data, CHANNEL_ERROR);
	}
	remote->wire->finish(remote->wire_data);
	remote_free(remote);
}

/* ---- the request ---- */

struct arguments {
	char **items;
	size_t len;
};

static void take_argument(const char *name, const char *value, void *arg) {
	struct arguments *list = arg;
	if (!str_equal(name, "command") || list->len == MAX_COMMAND)
		return;
	list->items = xreallocarray(list->items, list->len + 2, sizeof(char *));
	list->items[list->len++] = xstrdup(value ? value : "");
	list->items[list->len] = NULL;
}

static bool flag_of(const struct route_request *r, const char *name, const char *other) {
	return route_flag(r, name) || route_flag(r, other);
}

/* What the upgraded connection needs, until its thread runs. */
struct handover {
	struct remote *remote;
	int fd;
	void *extra;
	size_t extra_len;
	const char *protocol;
	bool websocket;
};

static void *serve(void *arg) {
	struct handover *h = arg;
	if (h->websocket)
		remote_serve_websocket(h->remote, h->fd, h->extra, h->extra_len, h->protocol);
	else
		remote_serve_spdy(h->remote, h->fd, h->extra, h->extra_len, h->protocol);
	free(h->extra);
	free(h);
	return NULL;
}

static void on_upgrade(int fd, const void *extra, size_t extra_len, void *arg) {
	struct handover *h = arg;
	h->fd = fd;
	h->extra = extra_len ? xmemdup(extra, extra_len) : NULL;
	h->extra_len = extra_len;
	if (fd >= 0 && route_thread(serve, h))
		return;
	cleanup_close(&fd);
	remote_free(h->remote);
	free(h->extra);
	free(h);
}

static void upgrade(struct route_request *r, struct remote *remote) {
	struct handover *h = xnew(struct handover);
	h->remote = remote;
	h->websocket = websocket_requested(r->http);
	h->protocol = h->websocket ? websocket_choose(r->http, channel_remote_command_names) : channel_negotiate(r->http, channel_spdy_names);
	if (!h->protocol) {
		route_text(r, h->websocket ? 400 : 403, "unable to upgrade: unable to negotiate protocol");
		remote_free(remote);
		free(h);
		return;
	}
	if (h->websocket) {
		websocket_upgrade(r->http, h->protocol, on_upgrade, h);
	} else {
		http_add_header(r->http, "X-Stream-Protocol-Version", h->protocol);
		http_upgrade(r->http, "SPDY/3.1", on_upgrade, h);
	}
}

void route_remote_command(struct route_request *r) {
	struct container_status *status = NULL;
	struct arguments command = {0};
	bool attach = str_starts_with(http_path(r->http), "/attach");
	bool in = flag_of(r, "input", "stdin"), out = flag_of(r, "output", "stdout"), errors = flag_of(r, "error", "stderr"), tty = route_flag(r, "tty");
	if (!in && !out && !errors) {
		route_text(r, 400, "you must specify at least 1 of stdin, stdout, stderr");
		return;
	}
	if (!http_header(r->http, "Upgrade")) {
		route_text(r, 400, "unable to upgrade: missing upgrade headers in request");
		return;
	}
	if (route_container(r, false, &status) < 0)
		return;
	if (status->state != CONTAINER_RUNNING) {
		route_text(r, 500, "cannot %s in a stopped container %s", attach ? "attach" : "exec", status->name);
		container_status_free(status);
		return;
	}
	http_query_each(r->http, take_argument, &command);
	struct remote *remote = xnew(struct remote);
	*remote = (struct remote){.kubelet = r->kubelet, .container_id = xstrdup(status->id), .attach = attach, .to_stdin = BUF_INIT(REMOTE_MAX_QUEUED * 4)};
	bool is_tty = attach ? status->tty : tty;
	remote->options = (struct stream_options){.argv = (const char *const *)command.items, .tty = is_tty, .want_stdin = in, .want_stdout = out, .want_stderr = errors && !is_tty};
	container_status_free(status);
	if (!attach && !command.len) {
		route_text(r, 400, "command is empty");
		remote_free(remote);
		return;
	}
	upgrade(r, remote);
}
