/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands/commands.h"
#include "cli/pods.h"

#include "common/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define MAX_LINE (1u << 20)

struct options {
	struct cli_globals globals;
	char *container, *selector, *since_time;
	bool follow, previous, timestamps, all_containers, prefix, ignore_errors, all_pods;
	int64_t tail, limit_bytes, since, max_requests;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"follow", 'f', FLAG_BOOL, O(follow), NULL, "Stream the logs as they are written", 0, 0},
	{"container", 'c', FLAG_STRING, O(container), NULL, "Container name", 0, 0},
	{"previous", 'p', FLAG_BOOL, O(previous), NULL, "Of the container's previous run", 0, 0},
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector of the pods", 0, 0},
	{"tail", 0, FLAG_INT, O(tail), "-1", "Lines from the end; -1: all", -1, INT64_MAX},
	{"since", 0, FLAG_DURATION, O(since), "0s", "Only newer than this", 0, 0},
	{"since-time", 0, FLAG_STRING, O(since_time), NULL, "Only after this RFC 3339 time", 0, 0},
	{"timestamps", 0, FLAG_BOOL, O(timestamps), NULL, "Put the time in front of each line", 0, 0},
	{"limit-bytes", 0, FLAG_INT, O(limit_bytes), "0", "At most so many bytes; 0: all", 0, INT64_MAX},
	{"all-containers", 0, FLAG_BOOL, O(all_containers), NULL, "Of all containers", 0, 0},
	{"all-pods", 0, FLAG_BOOL, O(all_pods), NULL, "Of all pods of the workload", 0, 0},
	{"prefix", 0, FLAG_BOOL, O(prefix), NULL, "Put pod and container in front of each line", 0, 0},
	{"ignore-errors", 0, FLAG_BOOL, O(ignore_errors), NULL, "Go on where one log cannot be read", 0, 0},
	{"max-log-requests", 0, FLAG_INT, O(max_requests), "5", "Logs to follow at the same time", 1, 1000},
	{"pod-running-timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"insecure-skip-tls-verify-backend", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};

/* One log on its way to stdout. */
struct stream {
	struct client *client;
	char *path, *prefix;
	bool whole_lines; /* others write too: lines must not mix */
	struct buf line;
	struct error err;
	int rc;
};

static void put(const struct stream *s, const char *data, size_t len)
{
	flockfile(stdout);
	if (s->prefix)
		fputs(s->prefix, stdout);
	fwrite(data, 1, len, stdout);
	fflush(stdout);
	funlockfile(stdout);
}

static bool on_data(const char *data, size_t len, void *arg)
{
	struct stream *s = arg;
	if (!s->whole_lines && !s->prefix) {
		put(s, data, len);
		return true;
	}
	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t part = end ? (size_t)(end + 1 - data) : len;
		buf_append(&s->line, data, part);
		if (end || buf_failed(&s->line)) {
			put(s, s->line.data, s->line.len);
			s->line.overflow = false;
			buf_reset(&s->line);
		}
		data += part;
		len -= part;
	}
	return true;
}

static void *stream_run(void *arg)
{
	struct stream *s = arg;
	struct client_request request = {.method = "GET", .path = s->path, .accept = "*/*"};
	s->rc = client_stream(s->client, &request, on_data, s, -1, &s->err);
	if (s->line.len)
		put(s, s->line.data, s->line.len);
	buf_done(&s->line);
	return NULL;
}

static char *log_path(struct cli *cli, const struct options *options, json_t *pod, const char *container)
{
	const struct cli_resource *resource = NULL;
	char number[32];
	if (cli_resource_match(cli, "pods", &resource, NULL))
		return NULL;
	char *path = cli_path(cli, resource, cli_ns(pod), cli_name(pod), "log");
	path = cli_path_query(cli, path, "container", container);
	path = cli_path_query(cli, path, "follow", options->follow ? "true" : NULL);
	path = cli_path_query(cli, path, "previous", options->previous ? "true" : NULL);
	path = cli_path_query(cli, path, "timestamps", options->timestamps ? "true" : NULL);
	path = cli_path_query(cli, path, "sinceTime", options->since_time);
	/* A selector may mean many pods: kubectl then shows the last lines only. */
	int64_t tail = options->tail < 0 && !str_empty(options->selector) && !cli_flag_given(cli, "tail") ? 10 : options->tail;
	snprintf(number, sizeof(number), "%lld", (long long)tail);
	path = cli_path_query(cli, path, "tailLines", tail >= 0 ? number : NULL);
	snprintf(number, sizeof(number), "%lld", (long long)((options->since + NSEC_PER_SEC - 1) / NSEC_PER_SEC));
	path = cli_path_query(cli, path, "sinceSeconds", options->since > 0 ? number : NULL);
	snprintf(number, sizeof(number), "%lld", (long long)options->limit_bytes);
	return cli_path_query(cli, path, "limitBytes", options->limit_bytes > 0 ? number : NULL);
}

struct streams {
	struct stream *items;
	size_t len;
};

static void add_stream(struct cli *cli, const struct options *options, json_t *pod, const char *container, struct streams *streams)
{
	streams->items = xreallocarray(streams->items, streams->len + 1, sizeof(*streams->items));
	streams->items[streams->len++] = (struct stream){
		.client = cli->client,
		.path = log_path(cli, options, pod, container),
		.prefix = options->prefix ? arena_printf(cli->arena, "[pod/%s/%s] ", cli_name(pod), container) : NULL,
		.line = BUF_INIT(MAX_LINE),
	};
}

static void add_pod(struct cli *cli, const struct options *options, json_t *pod, struct streams *streams)
{
	static const char *const lists[] = {"spec.initContainers", "spec.containers", "spec.ephemeralContainers"};
	if (!options->all_containers) {
		add_stream(cli, options, pod, arena_strdup(cli->arena, str_or(cli_pod_container(pod, options->container, true), "")), streams);
		return;
	}
	for (size_t i = 0; i < array_len(lists); i++) {
		size_t j;
		json_t *container;
		json_array_foreach(cli_at(pod, lists[i]), j, container)
			add_stream(cli, options, pod, arena_strdup(cli->arena, str_or(cli_str(container, "name"), "")), streams);
	}
}

static int follow_all(struct streams *streams)
{
	autofree pthread_t *threads = xcalloc(streams->len, sizeof(*threads));
	for (size_t i = 0; i < streams->len; i++) {
		streams->items[i].whole_lines = true;
		if (pthread_create(&threads[i], NULL, stream_run, &streams->items[i]))
			abort();
	}
	for (size_t i = 0; i < streams->len; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

static int run_streams(struct cli *cli, const struct options *options, struct streams *streams, struct error *err)
{
	if (options->follow && streams->len > (size_t)options->max_requests)
		return cli_usage_error(err, "you are attempting to follow %zu log streams, but maximum allowed concurrency is %lld, use --max-log-requests to increase the limit", streams->len, (long long)options->max_requests);
	if (options->follow && streams->len > 1)
		follow_all(streams);
	int rc = 0;
	for (size_t i = 0; i < streams->len; i++) {
		struct stream *s = &streams->items[i];
		if (!rc && !(options->follow && streams->len > 1))
			stream_run(s);
		if (s->rc && options->ignore_errors)
			fprintf(stderr, "error: %s\n", error_message(&s->err));
		else if (s->rc && !rc)
			rc = error_move(err, &s->err);
		error_done(&s->err);
	}
	return rc;
}

static int run(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	bool selects = !str_empty(options->selector);
	if (args->len == 2 && str_empty(options->container))
		options->container = xstrdup(args->items[1]);
	else if (args->len + selects != 1)
		return cli_usage_error(err, "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command");
	json_t *pods = json_array(), *pod;
	struct streams streams = {0};
	int rc;
	if (selects || options->all_pods) {
		rc = cli_pods_find(cli, selects ? NULL : args->items[0], options->selector, pods, err);
	} else {
		rc = cli_pod_find(cli, args->items[0], &pod, err);
		if (!rc)
			json_array_append_new(pods, pod);
	}
	size_t i;
	if (!rc)
		json_array_foreach(pods, i, pod)
			add_pod(cli, options, pod, &streams);
	if (!rc && !streams.len)
		fprintf(stderr, "No resources found in %s namespace.\n", str_or(cli->config.default_namespace, "default"));
	if (!rc)
		rc = run_streams(cli, options, &streams, err);
	free(streams.items);
	json_decref(pods);
	return rc;
}

const struct cli_command command_logs = {
	.name = "logs",
	.usage = "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]",
	.summary = "Print the logs of a container in a pod",
	.flags = flags,
	.flag_count = array_len(flags),
	.options_size = sizeof(struct options),
	.run = run,
};
