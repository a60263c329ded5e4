/* SPDX-License-Identifier: Apache-2.0 */
#include "test/hollow/status.h"

#include "common/base/map.h"
#include "test/hollow/outcome.h"

#define BACKOFF_FIRST_MS 10000
#define BACKOFF_MAX_MS 300000
#define KILLED_EXIT_CODE 137

struct making {
	const struct core_v1_pod *pod;
	const struct status_view *view;
	struct arena *arena;
	struct core_v1_pod_status *status;
	int64_t elapsed_ms, next_ms; /* next_ms 0: none */
	int64_t start_ms;            /* of what is made now, since the pod's start: main containers begin where init containers end */
};

static void look_again(struct making *m, int64_t at_ms)
{
	int64_t in = max_of(at_ms - m->elapsed_ms, (int64_t)1);
	if (!m->next_ms || in < m->next_ms)
		m->next_ms = in;
}

static struct api_time at(const struct making *m, int64_t ms)
{
	struct wall_time t = m->view->started;
	t.sec += ms / 1000;
	t.nsec = 0;
	return (struct api_time){.t = t, .set = true};
}

/* ---- the life of one container ---- */

struct moment {
	bool running, ended, waiting; /* waiting: between two attempts */
	int64_t since_ms;             /* since the pod's start: of the attempt, or of its end */
	int32_t exit_code;
	int32_t restarts;
};

static bool restarts_after(const struct core_v1_pod *pod, bool is_init, int32_t exit_code)
{
	if (str_equal(pod->spec.restart_policy, CORE_V1_RESTART_POLICY_NEVER))
		return false;
	if (str_equal(pod->spec.restart_policy, CORE_V1_RESTART_POLICY_ALWAYS) && !is_init)
		return true;
	return exit_code != 0;
}

static struct moment moment_of(struct making *m, const struct outcome *outcome, bool is_init)
{
	int64_t start = m->start_ms, backoff = 0;
	for (int32_t n = 0;; n++) {
		if (!outcome->ends)
			return (struct moment){.running = true, .since_ms = start, .restarts = n};
		int64_t end = start + outcome->after_ms;
		int32_t code = n == 0 && m->view->fails ? 1 : outcome->exit_code;
		if (m->elapsed_ms < end) {
			look_again(m, end);
			return (struct moment){.running = true, .since_ms = start, .restarts = n};
		}
		if (!restarts_after(m->pod, is_init, code))
			return (struct moment){.ended = true, .since_ms = end, .exit_code = code, .restarts = n};
		if (m->elapsed_ms < end + backoff) {
			look_again(m, end + backoff);
			return (struct moment){.waiting = true, .since_ms = end, .exit_code = code, .restarts = n};
		}
		start = end + backoff;
		/* The first restart comes at once, the others ever later. */
		backoff = backoff ? min_of(backoff * 2, (int64_t)BACKOFF_MAX_MS) : BACKOFF_FIRST_MS;
	}
}

static bool image_is_missing(const struct making *m, const char *image)
{
	for (size_t i = 0; i < m->view->missing_images->len; i++)
		if (strstr(str_or(image, ""), m->view->missing_images->items[i]))
			return true;
	return false;
}

static const struct core_v1_container_status *before(const struct core_v1_container_status_array *list, const char *name)
{
	for api_list_each (status, list)
		if (str_equal(status->name, name))
			return status;
	return NULL;
}

static struct core_v1_container_state_terminated *terminated(struct making *m, const char *id, int64_t since_ms, int32_t exit_code)
{
	struct core_v1_container_state_terminated *t = arena_new_type(m->arena, struct core_v1_container_state_terminated);
	*t = (struct core_v1_container_state_terminated){.exit_code = exit_code, .reason = exit_code ? "Error" : "Completed",
		.started_at = at(m, m->start_ms), .finished_at = at(m, since_ms), .container_id = id};
	return t;
}

static struct core_v1_container_state_waiting *waiting(struct making *m, const char *reason, const char *message)
{
	struct core_v1_container_state_waiting *w = arena_new_type(m->arena, struct core_v1_container_state_waiting);
	*w = (struct core_v1_container_state_waiting){.reason = reason, .message = message};
	return w;
}

static bool probe_passes(struct making *m, const struct core_v1_probe *probe, int64_t since_ms)
{
	struct outcome outcome;
	static const struct api_string_list none;
	if (!probe)
		return true;
	int64_t from = since_ms + probe->initial_delay_seconds * 1000LL;
	if (m->elapsed_ms < from) {
		look_again(m, from);
		return false;
	}
	return !probe->exec || !outcome_of_command(&probe->exec->command, &none, &outcome) || !outcome.ends || outcome.exit_code == 0;
}

static void make_running(struct making *m, const struct core_v1_container *container, const struct moment *moment, bool is_init, struct core_v1_container_status *out)
{
	out->state.running = arena_new_type(m->arena, struct core_v1_container_state_running);
	out->state.running->started_at = at(m, moment->since_ms);
	bool started = probe_passes(m, container->startup_probe, moment->since_ms);
	out->started = api_bool(m->arena, started);
	out->ready = started && !is_init && probe_passes(m, container->readiness_probe, moment->since_ms);
}

/* Returns when it ended with success, -1 where it did not. */
static int64_t make_container(struct making *m, const struct core_v1_container *container, const struct core_v1_container_status_array *old_list, bool is_init, bool may_start,
	struct core_v1_container_status_array *list)
{
	const struct core_v1_container_status *old = before(old_list, container->name);
	struct core_v1_container_status *out = api_list_add(m->arena, list);
	*out = (struct core_v1_container_status){.name = container->name, .image = str_or(container->image, ""), .image_id = ""};
	out->started = api_bool(m->arena, false);
	if (!may_start || image_is_missing(m, container->image)) {
		out->state.waiting = !may_start ? waiting(m, "PodInitializing", NULL)
						: waiting(m, "ImagePullBackOff", arena_printf(m->arena, "Back-off pulling image \"%s\"", container->image));
		return -1;
	}
	struct outcome outcome = outcome_of(m->pod, container, is_init);
	bool stopped = m->view->stopping;
	struct moment moment = moment_of(m, &outcome, is_init);
	if (stopped && !moment.ended)
		moment = (struct moment){.ended = true, .since_ms = m->elapsed_ms, .exit_code = outcome.heeds_stop ? 0 : KILLED_EXIT_CODE, .restarts = moment.restarts};
	/* A new image is a new container. What the API knows of earlier attempts is kept, also over a start of this program. */
	out->restart_count = moment.restarts;
	if (old)
		out->restart_count = max_of(moment.restarts, old->restart_count + (!str_empty(old->container_id) && !str_equal(old->image, out->image)));
	out->image_id = arena_printf(m->arena, "hollow://%s", out->image);
	out->container_id = arena_printf(m->arena, "hollow://%08x%08x", hash_fnv32(m->pod->metadata.uid, strlen(m->pod->metadata.uid)),
		hash_fnv32(container->name, strlen(container->name)) + (uint32_t)out->restart_count);
	if (moment.running) {
		make_running(m, container, &moment, is_init, out);
	} else if (moment.ended) {
		out->state.terminated = terminated(m, out->container_id, moment.since_ms, moment.exit_code);
		out->ready = is_init && moment.exit_code == 0;
	} else {
		out->state.waiting = waiting(m, "CrashLoopBackOff", "back-off restarting failed container");
		out->last_state.terminated = terminated(m, out->container_id, moment.since_ms, moment.exit_code);
	}
	return moment.ended && moment.exit_code == 0 ? moment.since_ms : -1;
}

/* ---- the pod ---- */

struct tally {
	bool initialized, init_failed;
	unsigned running, waiting, ended, failed, unready;
};

static void make_init_containers(struct making *m, struct tally *t)
{
	t->initialized = true;
	for api_list_each (container, &m->pod->spec.init_containers) {
		bool sidecar = str_equal(container->restart_policy, CORE_V1_CONTAINER_RESTART_POLICY_ALWAYS);
		int64_t end = make_container(m, container, &m->pod->status.init_container_statuses, !sidecar, t->initialized, &m->status->init_container_statuses);
		const struct core_v1_container_status *made = &m->status->init_container_statuses.items[m->status->init_container_statuses.len - 1];
		if (sidecar)
			continue;
		if (made->state.terminated && made->state.terminated->exit_code)
			t->init_failed = true;
		if (end < 0)
			t->initialized = false;
		else
			m->start_ms = end;
	}
}

static void make_containers(struct making *m, struct tally *t, struct buf *unready)
{
	for api_list_each (container, &m->pod->spec.containers) {
		make_container(m, container, &m->pod->status.container_statuses, false, t->initialized, &m->status->container_statuses);
		const struct core_v1_container_status *made = &m->status->container_statuses.items[m->status->container_statuses.len - 1];
		if (made->state.running || made->last_state.terminated)
			t->running++;
		else if (made->state.terminated)
			t->ended++, t->failed += made->state.terminated->exit_code != 0;
		else
			t->waiting++;
		if (!made->ready)
			t->unready++, buf_printf(unready, "%s%s", unready->len ? " " : "", container->name);
	}
}

static const char *phase_of(const struct tally *t, bool never_restarts)
{
	if (t->init_failed && never_restarts)
		return CORE_V1_POD_PHASE_FAILED;
	if (t->waiting)
		return CORE_V1_POD_PHASE_PENDING;
	if (t->running)
		return CORE_V1_POD_PHASE_RUNNING;
	return t->failed ? CORE_V1_POD_PHASE_FAILED : CORE_V1_POD_PHASE_SUCCEEDED;
}

static const struct core_v1_pod_condition *condition_of(const struct core_v1_pod_status *status, const char *type)
{
	for api_list_each (condition, &status->conditions)
		if (str_equal(condition->type, type))
			return condition;
	return NULL;
}

static void set_condition(struct making *m, const char *type, bool value, const char *reason, const char *message)
{
	const struct core_v1_pod_condition *old = condition_of(&m->pod->status, type);
	struct core_v1_pod_condition *c = api_list_add(m->arena, &m->status->conditions);
	*c = (struct core_v1_pod_condition){.type = type, .status = value ? CORE_V1_CONDITION_STATUS_TRUE : CORE_V1_CONDITION_STATUS_FALSE, .reason = reason,
		.message = message, .observed_generation = m->pod->metadata.generation};
	c->last_transition_time = old && str_equal(old->status, c->status) ? old->last_transition_time : (struct api_time){.t = {.sec = m->view->now.sec}, .set = true};
}

static bool gates_are_open(const struct core_v1_pod *pod)
{
	for api_list_each (gate, &pod->spec.readiness_gates) {
		const struct core_v1_pod_condition *condition = condition_of(&pod->status, gate->condition_type);
		if (!condition || !str_equal(condition->status, CORE_V1_CONDITION_STATUS_TRUE))
			return false;
	}
	return true;
}

static void make_conditions(struct making *m, const struct tally *t, const char *unready)
{
	const char *reason = NULL, *message = NULL;
	bool ready = !t->unready;
	if (str_equal(m->status->phase, CORE_V1_POD_PHASE_SUCCEEDED)) {
		reason = "PodCompleted";
	} else if (str_equal(m->status->phase, CORE_V1_POD_PHASE_FAILED)) {
		reason = "PodFailed";
	} else if (!ready) {
		reason = "ContainersNotReady";
		message = arena_printf(m->arena, "containers with unready status: [%s]", unready);
	}
	bool over = str_equal(reason, "PodCompleted") || str_equal(reason, "PodFailed");
	set_condition(m, CORE_V1_POD_CONDITION_TYPE_POD_READY_TO_START_CONTAINERS, !over, NULL, NULL);
	set_condition(m, CORE_V1_POD_CONDITION_TYPE_INITIALIZED, t->initialized, t->initialized ? (over ? reason : NULL) : "ContainersNotInitialized", NULL);
	bool gated = ready && !gates_are_open(m->pod);
	set_condition(m, CORE_V1_POD_CONDITION_TYPE_READY, ready && !gated, gated ? "ReadinessGatesNotReady" : reason, gated ? "corresponding condition of pod readiness gate is not \"True\"" : message);
	set_condition(m, CORE_V1_POD_CONDITION_TYPE_CONTAINERS_READY, ready, reason, message);
	if (!condition_of(&m->pod->status, CORE_V1_POD_CONDITION_TYPE_POD_SCHEDULED))
		set_condition(m, CORE_V1_POD_CONDITION_TYPE_POD_SCHEDULED, true, NULL, NULL);
}

static void make_addresses(struct making *m)
{
	m->status->host_ip = m->view->host_ip;
	((struct core_v1_host_ip *)api_list_add(m->arena, &m->status->host_ips))->ip = m->view->host_ip;
	if (str_empty(m->view->pod_ip))
		return;
	m->status->pod_ip = m->view->pod_ip;
	((struct core_v1_pod_ip *)api_list_add(m->arena, &m->status->pod_ips))->ip = m->view->pod_ip;
}

/* activeDeadlineSeconds. Returns true where it has passed. */
static bool deadline_passed(struct making *m)
{
	if (!m->pod->spec.active_deadline_seconds)
		return false;
	int64_t deadline = *m->pod->spec.active_deadline_seconds * 1000;
	if (m->elapsed_ms >= deadline)
		return true;
	look_again(m, deadline);
	return false;
}

static void make(struct making *m)
{
	struct tally t = {0};
	autobuf struct buf unready = BUF_INIT(64 * 1024);
	struct core_v1_pod_status *status = m->status;
	status->observed_generation = m->pod->metadata.generation;
	status->start_time = m->pod->status.start_time.set ? m->pod->status.start_time : at(m, 0);
	struct status_view late = *m->view;
	bool expired = deadline_passed(m);
	if (expired) {
		late.stopping = true;
		m->view = &late;
		status->reason = "DeadlineExceeded";
		status->message = "Pod was active on the node longer than the specified deadline";
	}
	make_init_containers(m, &t);
	make_containers(m, &t, &unready);
	status->phase = expired ? CORE_V1_POD_PHASE_FAILED : phase_of(&t, str_equal(m->pod->spec.restart_policy, CORE_V1_RESTART_POLICY_NEVER) || m->view->stopping);
	make_addresses(m);
	make_conditions(m, &t, unready.data ? unready.data : "");
}

/* ---- what differs ---- */

static bool state_differs(const struct core_v1_container_state *a, const struct core_v1_container_state *b)
{
	if (!a->running != !b->running || !a->waiting != !b->waiting || !a->terminated != !b->terminated)
		return true;
	if (a->waiting && !str_equal(a->waiting->reason, b->waiting->reason))
		return true;
	return a->terminated && a->terminated->exit_code != b->terminated->exit_code;
}

static bool containers_differ(const struct core_v1_container_status_array *have, const struct core_v1_container_status_array *want)
{
	if (have->len != want->len)
		return true;
	for (uint32_t i = 0; i < want->len; i++) {
		const struct core_v1_container_status *a = before(have, want->items[i].name), *b = &want->items[i];
		if (!a || a->ready != b->ready || a->restart_count != b->restart_count || !str_equal(a->image, b->image) || state_differs(&a->state, &b->state))
			return true;
		if (!a->started != !b->started || (a->started && *a->started != *b->started))
			return true;
	}
	return false;
}

static bool differs(const struct core_v1_pod_status *have, const struct core_v1_pod_status *want)
{
	if (!str_equal(have->phase, want->phase) || have->observed_generation != want->observed_generation || (want->reason && !str_equal(have->reason, want->reason)))
		return true;
	if (!have->start_time.set || str_empty(have->pod_ip) != str_empty(want->pod_ip) || !str_equal(have->host_ip, want->host_ip))
		return true;
	for api_list_each (condition, &want->conditions) {
		const struct core_v1_pod_condition *old = condition_of(have, condition->type);
		if (!old || !str_equal(old->status, condition->status) || !str_equal(old->reason, condition->reason) || old->observed_generation != condition->observed_generation)
			return true;
	}
	return containers_differ(&have->init_container_statuses, &want->init_container_statuses) ||
	       containers_differ(&have->container_statuses, &want->container_statuses);
}

static void append_text(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, ",\"%s\":", name);
	if (value)
		buf_append_json_string(out, value, strlen(value));
	else
		buf_append_str(out, "null");
}

/* Conditions are merged by their type: what one has no more must be null to go. */
static void encode_status(struct core_v1_pod_status *status, struct buf *out)
{
	struct core_v1_pod_condition_array conditions = status->conditions;
	status->conditions = (struct core_v1_pod_condition_array){0};
	api_encode_json(&core_v1_pod_status_type, status, out);
	out->len--; /* the closing brace */
	buf_append_str(out, ",\"conditions\":[");
	for api_list_each (c, &conditions) {
		char time[32];
		time_format_rfc3339(c->last_transition_time.t, time);
		buf_printf(out, "%s{\"type\":\"%s\",\"status\":\"%s\",\"lastProbeTime\":null,\"lastTransitionTime\":\"%s\",\"observedGeneration\":%lld", c == conditions.items ? "" : ",", c->type,
			c->status, time, (long long)c->observed_generation);
		append_text(out, "reason", c->reason);
		append_text(out, "message", c->message);
		buf_append_char(out, '}');
	}
	buf_append_str(out, "]}");
}

bool status_has_ended(const struct core_v1_pod *pod)
{
	return str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED) || str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED);
}

void status_patch(const struct core_v1_pod *pod, const struct status_view *view, struct buf *ret_patch, int64_t *ret_next_ms)
{
	*ret_next_ms = 0;
	if (status_has_ended(pod))
		return;
	autoarena struct arena *arena = arena_new();
	struct core_v1_pod_status status = {0};
	struct making m = {.pod = pod, .view = view, .arena = arena, .status = &status,
		.elapsed_ms = max_of(time_diff_ns(view->now, view->started) / NSEC_PER_MSEC, (int64_t)0)};
	make(&m);
	*ret_next_ms = m.next_ms;
	if (!differs(&pod->status, &status))
		return;
	buf_append_str(ret_patch, "{\"metadata\":{\"uid\":");
	buf_append_json_string(ret_patch, str_or(pod->metadata.uid, ""), strlen(str_or(pod->metadata.uid, "")));
	buf_append_str(ret_patch, "},\"status\":");
	encode_status(&status, ret_patch);
	buf_append_char(ret_patch, '}');
}
