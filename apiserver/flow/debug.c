/* SPDX-License-Identifier: Apache-2.0 */
/* /debug/api_priority_and_fairness: what levels, queues and requests there are, in Kubernetes' columns. */
#include "apiserver/flow/internal.h"

#define TIME_SIZE 40

static void level_row(struct flow_level *level, struct buf *out) {
	const struct queueset *set = &level->set;
	bool idle = !set->waiting && !set->executing;
	buf_printf(out, "%s, %u, %s, %s, %u, %u, %llu, %llu, %llu, %llu\n", level->name, set->active, idle ? "true" : "false", level->leaving ? "true" : "false", set->waiting, set->executing,
		(unsigned long long)level->counts[FLOW_DISPATCHED], (unsigned long long)level->counts[FLOW_REJECTED], (unsigned long long)level->counts[FLOW_TIMED_OUT],
		(unsigned long long)level->counts[FLOW_CANCELLED]);
}

static void queue_rows(struct flow_level *level, struct buf *out) {
	for (size_t i = 0; i < level->set.queue_count; i++) {
		const struct queue *queue = level->set.queues[i];
		buf_printf(out, "%s, %zu, %u, %u, %u, %.9fss, %u, %u, %.9fss\n", level->name, i, queue->length, queue->executing, queue->seats_in_use, queue->next_dispatch, queue->seats_waiting,
			queue->seats_waiting, queue->seats_waiting * 0.003);
	}
}

/* Wall time of a moment of the monotonic clock. */
static void moment(int64_t ns, char *out) {
	struct wall_time now = clock_wall();
	int64_t then = now.sec * NSEC_PER_SEC + now.nsec - (clock_monotonic_ns() - ns);
	time_format_rfc3339_nano((struct wall_time){.sec = then / NSEC_PER_SEC, .nsec = (int32_t)(then % NSEC_PER_SEC)}, out);
}

static void request_rows(struct flow_level *level, struct buf *out) {
	for (size_t i = 0; i < level->set.queue_count; i++) {
		unsigned at = 0;
		struct queued *queued;
		list_for_each (queued, &level->set.queues[i]->waiting, link) {
			const struct flow_request *fr = (const struct flow_request *)queued;
			char arrived[TIME_SIZE];
			moment(queued->arrived, arrived);
			buf_printf(out, "%s, %s, %zu, %u, %s, %s, %u, 0, 0s, 0001-01-01T00:00:00Z, %s, %s, %s\n", level->name, fr->schema->object->metadata.name, i, at++, fr->distinguisher, arrived, queued->seats,
				fr->r->user->name, fr->r->verb, fr->r->path);
		}
	}
}

static const struct dump_row {
	const char *path, *head;
	void (*rows)(struct flow_level *level, struct buf *out);
} dumps[] = {
	{"dump_priority_levels", "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, DispatchedRequests, RejectedRequests, TimedoutRequests, CancelledRequests\n", level_row},
	{"dump_queues", "PriorityLevelName, Index, PendingRequests, ExecutingRequests, SeatsInUse, NextDispatchR, InitialSeatsSum, MaxSeatsSum, TotalWorkSum\n", queue_rows},
	{"dump_requests", "PriorityLevelName, FlowSchemaName, QueueIndex, RequestIndexInQueue, FlowDistingsher, ArriveTime, InitialSeats, FinalSeats, AdditionalLatency, StartTime, UserName, Verb, APIPath\n", request_rows},
};

int flow_debug(struct request *r, struct error *err) {
	const char *name = strrchr(r->path, '/') + 1;
	struct flow *flow = r->server->flow;
	for (size_t d = 0; flow && d < array_len(dumps); d++) {
		if (strcmp(dumps[d].path, name) != 0)
			continue;
		autobuf struct buf out = BUF_INIT(64u << 20);
		buf_append_str(&out, dumps[d].head);
		struct flow_config *config = flow_config_get(flow);
		for (size_t i = 0; i < config->level_count; i++) {
			pthread_mutex_lock(&config->levels[i]->lock);
			dumps[d].rows(config->levels[i], &out);
			pthread_mutex_unlock(&config->levels[i]->lock);
		}
		flow_config_unref(config);
		request_respond_text(r, 200, out.data);
		return REQUEST_TAKEN;
	}
	request_respond_text(r, 404, "404 page not found\n");
	return REQUEST_TAKEN;
}
