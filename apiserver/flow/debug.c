/* SPDX-License-Identifier: Apache-2.0 */
/* /debug/api_priority_and_fairness: what levels, queues and requests there are, in Kubernetes' columns. */
#include "apiserver/flow/internal.h"

#define TIME_SIZE 40
#define LEAST_WIDTH 8
#define MAX_CELLS (1u << 20)
#define MAX_COLUMNS 18

/* Cells, row by row. */
struct table {
	struct arena *arena;
	size_t columns, len, room;
	const char **cells;
	bool details;
};

static void cell(struct table *t, const char *fmt, ...) printf_like(2, 3);
static void cell(struct table *t, const char *fmt, ...) {
	va_list args;
	if (t->len >= MAX_CELLS)
		return;
	if (t->len == t->room) {
		t->room = t->room ? t->room * 2 : 1024;
		t->cells = xreallocarray(t->cells, t->room, sizeof(*t->cells));
	}
	va_start(args, fmt);
	autobuf struct buf text = BUF_INIT(64 << 10);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	t->cells[t->len++] = arena_strdup(t->arena, text.len ? text.data : "");
}

static const char *truth(bool value) {
	return value ? "true" : "false";
}

/* Columns stand below each other; a comma follows each cell but the last. */
static void write_table(const struct table *t, struct buf *out) {
	size_t widths[MAX_COLUMNS] = {0};
	for (size_t i = 0; i < t->len; i++)
		widths[i % t->columns] = max_of(widths[i % t->columns], strlen(t->cells[i]) + 2);
	for (size_t i = 0; i < t->len; i++) {
		bool last = i % t->columns == t->columns - 1;
		buf_append_str(out, t->cells[i]);
		if (!last)
			buf_append_char(out, ',');
		for (size_t n = strlen(t->cells[i]) + 1; !last && n < max_of(widths[i % t->columns], (size_t)LEAST_WIDTH); n++)
			buf_append_char(out, ' ');
		if (last)
			buf_append_char(out, '\n');
	}
}

/* ---- rows; the level's lock is held ---- */

static void level_row(struct flow_level *level, struct table *t) {
	const struct queueset *set = &level->set;
	unsigned active = 0;
	for (size_t i = 0; i < set->queue_count; i++)
		active += set->queues[i]->length != 0;
	cell(t, "%s", level->name);
	cell(t, "%u", active);
	cell(t, "%s", truth(!set->waiting && !set->executing));
	cell(t, "%s", truth(level->leaving));
	cell(t, "%u", set->waiting);
	cell(t, "%u", set->executing);
	for (size_t i = 0; i < FLOW_COUNTS; i++)
		cell(t, "%llu", (unsigned long long)level->counts[i]);
}

static void queue_rows(struct flow_level *level, struct table *t) {
	for (size_t i = 0; i < level->set.queue_count; i++) {
		const struct queue *queue = level->set.queues[i];
		cell(t, "%s", level->name);
		cell(t, "%zu", i);
		cell(t, "%u", queue->length);
		cell(t, "%u", queue->executing);
		cell(t, "%u", queue->seats_in_use);
		cell(t, "%.8fss", queue->next_dispatch);
		cell(t, "%u", queue->seats_waiting);
		cell(t, "%u", queue->seats_waiting);
		cell(t, "%.8fss", queue->seats_waiting * QUEUESET_GUESSED_SECONDS);
	}
}

/* Wall time of a moment of the monotonic clock; 0: of none. */
static const char *moment(int64_t ns, char *out) {
	struct wall_time now = clock_wall();
	int64_t then = now.sec * NSEC_PER_SEC + now.nsec - (clock_monotonic_ns() - ns);
	if (!ns)
		return "0001-01-01T00:00:00Z";
	time_format_rfc3339_nano((struct wall_time){.sec = then / NSEC_PER_SEC, .nsec = (int32_t)(then % NSEC_PER_SEC)}, out);
	return out;
}

static void request_row(const struct flow_level *level, const struct flow_request *fr, int queue, int place, struct table *t) {
	const struct request *r = fr->r;
	char text[TIME_SIZE];
	cell(t, "%s", level->name);
	cell(t, "%s", fr->schema->object->metadata.name);
	cell(t, "%d", queue);
	cell(t, "%d", place);
	cell(t, "%s", fr->distinguisher);
	cell(t, "%s", moment(fr->queued.arrived, text));
	cell(t, "%u", fr->queued.seats);
	cell(t, "0");
	cell(t, "0s");
	cell(t, "%s", moment(fr->queued.started, text));
	if (!t->details)
		return;
	cell(t, "%s", r->user->name);
	cell(t, "%s", r->verb);
	cell(t, "%s", r->path);
	cell(t, "%s", str_or(r->ns, ""));
	cell(t, "%s", str_or(r->name, ""));
	cell(t, "%s%s%s", str_or(r->group, ""), str_empty(r->group) ? "" : "/", str_or(r->version, ""));
	cell(t, "%s", str_or(r->plural, ""));
	cell(t, "%s", str_or(r->subresource, ""));
}

static void running_rows(const struct flow_level *level, const struct queue *queue, int index, struct table *t) {
	struct flow_request *fr;
	list_for_each (fr, &level->running, running)
		if (fr->queued.queue == queue)
			request_row(level, fr, index, -1, t);
}

static void request_rows(struct flow_level *level, struct table *t) {
	for (size_t i = 0; i < level->set.queue_count; i++) {
		int place = 0;
		struct queued *queued;
		list_for_each (queued, &level->set.queues[i]->waiting, link)
			request_row(level, (const struct flow_request *)queued, (int)i, place++, t);
		running_rows(level, level->set.queues[i], (int)i, t);
	}
	running_rows(level, NULL, -1, t);
}

static const struct dump_row {
	const char *path;
	const char *heads[MAX_COLUMNS];
	size_t columns, with_details;
	void (*rows)(struct flow_level *level, struct table *t);
} dumps[] = {
	{"dump_priority_levels", {"PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests", "ExecutingRequests", "DispatchedRequests", "RejectedRequests", "TimedoutRequests", "CancelledRequests"}, 10, 10, level_row},
	{"dump_queues", {"PriorityLevelName", "Index", "PendingRequests", "ExecutingRequests", "SeatsInUse", "NextDispatchR", "InitialSeatsSum", "MaxSeatsSum", "TotalWorkSum"}, 9, 9, queue_rows},
	{"dump_requests",
		{"PriorityLevelName", "FlowSchemaName", "QueueIndex", "RequestIndexInQueue", "FlowDistingsher", "ArriveTime", "InitialSeats", "FinalSeats", "AdditionalLatency", "StartTime", "UserName", "Verb", "APIPath", "Namespace",
			"Name", "APIVersion", "Resource", "SubResource"},
		10, 18, request_rows},
};

static int compare_levels(const void *a, const void *b) {
	return strcmp((*(struct flow_level *const *)a)->name, (*(struct flow_level *const *)b)->name);
}

static void respond_dump(struct request *r, const struct dump_row *dump) {
	struct table t = {.arena = r->arena, .details = dump->with_details > dump->columns && !str_empty(http_query(r->http, "includeRequestDetails"))};
	struct flow_config *config = flow_config_get(r->server->flow);
	struct flow_level **levels = arena_calloc(r->arena, config->level_count + 1, sizeof(struct flow_level *));
	t.columns = t.details ? dump->with_details : dump->columns;
	for (size_t i = 0; i < t.columns; i++)
		cell(&t, "%s", dump->heads[i]);
	memcpy(levels, config->levels, config->level_count * sizeof(*levels));
	qsort(levels, config->level_count, sizeof(*levels), compare_levels);
	for (size_t i = 0; i < config->level_count; i++) {
		pthread_mutex_lock(&levels[i]->lock);
		dump->rows(levels[i], &t);
		pthread_mutex_unlock(&levels[i]->lock);
	}
	flow_config_unref(config);
	autobuf struct buf out = BUF_INIT(64u << 20);
	write_table(&t, &out);
	free(t.cells);
	request_respond_text(r, 200, out.data);
}

int flow_debug(struct request *r, struct error *err) {
	const char *name = strrchr(r->path, '/') + 1;
	for (size_t d = 0; r->server->flow && d < array_len(dumps); d++) {
		if (strcmp(dumps[d].path, name) != 0)
			continue;
		respond_dump(r, &dumps[d]);
		return REQUEST_TAKEN;
	}
	request_respond_text(r, 404, "404 page not found\n");
	return REQUEST_TAKEN;
}
