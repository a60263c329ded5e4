/* SPDX-License-Identifier: Apache-2.0 */
/* port-forward: each local connection becomes one tunnel of its own, see cli/tunnel.h. */
#include "cli/commands/commands.h"
#include "cli/pods.h"
#include "cli/tunnel.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PORTS 32

struct options {
	struct cli_globals globals;
	struct flag_list addresses;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"address", 0, FLAG_STRING_LIST, O(addresses), "localhost", "Addresses to listen on", 0, 0},
	{"pod-running-timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

struct forward {
	struct client *client;
	char *path;     /* of the pod's portforward, with the port */
	int64_t local, remote;
	int fd;
};

struct connection {
	const struct forward *forward;
	int fd;
};

/* ---- one connection ---- */

static void *connection_run(void *arg)
{
	struct connection *c = arg;
	autoerror struct error err = {0};
	printf("Handling connection for %lld\n", (long long)c->forward->local);
	fflush(stdout);
	if (tunnel_carry(c->forward->client, c->forward->path, c->forward->remote, c->fd, &err))
		fprintf(stderr, "an error occurred forwarding %lld -> %lld: %s\n", (long long)c->forward->local, (long long)c->forward->remote, error_message(&err));
	close(c->fd);
	free(c);
	return NULL;
}

/* ---- listening ---- */

static int listen_on(const char *address, struct forward *forward, struct error *err)
{
	const char *host = str_equal(address, "localhost") ? "127.0.0.1" : address;
	bool v6 = strchr(host, ':') != NULL;
	struct sockaddr_storage storage = {.ss_family = v6 ? AF_INET6 : AF_INET};
	struct sockaddr_in *four = (struct sockaddr_in *)&storage;
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)&storage;
	socklen_t len = v6 ? sizeof(*six) : sizeof(*four);
	if (inet_pton(v6 ? AF_INET6 : AF_INET, host, v6 ? (void *)&six->sin6_addr : (void *)&four->sin_addr) != 1)
		return cli_usage_error(err, "%s is not a valid IP", address);
	if (v6)
		six->sin6_port = htons((uint16_t)forward->local);
	else
		four->sin_port = htons((uint16_t)forward->local);
	autoclose int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	if (fd < 0 || bind(fd, (struct sockaddr *)&storage, len) || listen(fd, 64) || getsockname(fd, (struct sockaddr *)&storage, &len))
		return error_set_errno(err, errno, "unable to listen on port %lld", (long long)forward->local);
	forward->local = ntohs(v6 ? six->sin6_port : four->sin_port);
	forward->fd = take_fd(fd);
	printf(v6 ? "Forwarding from [%s]:%lld -> %lld\n" : "Forwarding from %s:%lld -> %lld\n", host, (long long)forward->local, (long long)forward->remote);
	fflush(stdout);
	return 0;
}

static void accept_one(const struct forward *forward)
{
	int fd = accept4(forward->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	struct connection *c = xnew(struct connection);
	*c = (struct connection){.forward = forward, .fd = fd};
	pthread_t thread;
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, connection_run, c))
		abort();
	pthread_attr_destroy(&attr);
}

/* A container's port by its name, or the number itself; 0 where there is none. */
static int64_t pod_port(json_t *pod, json_t *port)
{
	size_t i, j;
	json_t *container, *entry;
	int64_t number;
	if (json_is_integer(port))
		return json_integer_value(port);
	if (str_to_int64(str_or(json_string_value(port), ""), 1, 65535, &number))
		return number;
	json_array_foreach(cli_at(pod, "spec.containers"), i, container)
		json_array_foreach(json_object_get(container, "ports"), j, entry)
			if (str_equal(cli_str(entry, "name"), json_string_value(port)))
				return cli_int_at(entry, "containerPort");
	return 0;
}

/* Ports of a service are translated to those of the pod behind it. */
static int64_t remote_port(json_t *service, json_t *pod, const char *text)
{
	size_t i;
	json_t *entry;
	int64_t number = 0;
	str_to_int64(text, 1, 65535, &number);
	json_array_foreach(cli_at(service, "spec.ports"), i, entry)
		if (cli_int_at(entry, "port") == number || str_equal(cli_str(entry, "name"), text))
			return pod_port(pod, json_object_get(entry, "targetPort"));
	if (service)
		return 0;
	json_t *port = json_string(text);
	number = pod_port(pod, port);
	json_decref(port);
	return number;
}

static int add_forward(struct cli *cli, json_t *service, json_t *pod, const char *spec, struct forward *ret, struct error *err)
{
	const struct cli_resource *pods = NULL;
	const char *colon = strchr(spec, ':'), *remote = colon ? colon + 1 : spec;
	autofree char *local = xstrndup(spec, strcspn(spec, ":"));
	int rc = cli_resource_match(cli, "pods", &pods, err);
	if (rc)
		return rc;
	ret->remote = remote_port(service, pod, remote);
	/* ":80" lets the kernel choose; a name alone means the pod's number on both sides. */
	ret->local = ret->remote;
	if (!ret->remote || (colon && *local && !str_to_int64(local, 0, 65535, &ret->local)))
		return cli_usage_error(err, "invalid port spec \"%s\"", spec);
	if (colon && !*local)
		ret->local = 0;
	else if (!colon)
		str_to_int64(local, 1, 65535, &ret->local);
	ret->path = cli_path(cli, pods, cli_ns(pod), cli_name(pod), "portforward");
	return 0;
}

static int load_service(struct cli *cli, const char *word, json_t **ret, struct error *err)
{
	const struct cli_resource *resource = NULL;
	const char *slash = strchr(word, '/'), *ns = NULL;
	if (!slash)
		return 0;
	int rc = cli_resource_match(cli, arena_strndup(cli->arena, word, (size_t)(slash - word)), &resource, err);
	if (!rc)
		rc = cli_namespace(cli, &ns, err);
	if (rc || !str_equal(resource->plural, "services"))
		return rc;
	return cli_get_json(cli, cli_path(cli, resource, ns, slash + 1, NULL), ret, err);
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	if (args->len < 2)
		return cli_usage_error(err, "TYPE/NAME and list of ports are required for port-forward");
	json_t *pod = NULL, *service = NULL;
	struct forward *forwards = arena_calloc(cli->arena, MAX_PORTS, sizeof(*forwards));
	struct pollfd wait[MAX_PORTS];
	size_t len = 0;
	int rc = load_service(cli, args->items[0], &service, err);
	if (!rc)
		rc = cli_pod_find(cli, args->items[0], &pod, err);
	if (!rc && !str_equal(cli_str_at(pod, "status.phase"), "Running"))
		rc = error_set(err, EAGAIN, "unable to forward port because pod is not running. Current status=%s", str_or(cli_str_at(pod, "status.phase"), ""));
	for (size_t i = 1; !rc && i < args->len; i++) {
		for (size_t j = 0; !rc && j < options->addresses.len; j++) {
			if (len == MAX_PORTS) {
				rc = cli_usage_error(err, "more than %d ports", MAX_PORTS);
				break;
			}
			forwards[len].client = cli->client;
			rc = add_forward(cli, service, pod, args->items[i], &forwards[len], err);
			if (!rc)
				rc = listen_on(options->addresses.items[j], &forwards[len], err);
			if (!rc) {
				wait[len] = (struct pollfd){.fd = forwards[len].fd, .events = POLLIN};
				len++;
			}
		}
	}
	/* Until the user has had enough. */
	while (!rc && poll(wait, len, -1) >= 0)
		for (size_t i = 0; i < len; i++)
			if (wait[i].revents)
				accept_one(&forwards[i]);
	for (size_t i = 0; i < len; i++)
		close(forwards[i].fd);
	json_decref(service);
	json_decref(pod);
	return rc;
}

const struct cli_command command_port_forward = {
	.name = "port-forward",
	.usage = "TYPE/NAME [options] [LOCAL_PORT:]REMOTE_PORT ...",
	.summary = "Forward one or more local ports to a pod",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
