/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tests of reconcilers as tables: a world in, the writes out. A world is one owner (JSON, its uid "u-<name>"), other objects (JSON), and pods, each a
 * line of words:
 *
 *	web-1 Running ready node=n1 age=60 of=ReplicaSet/web label=app:web
 *
 * Words: a phase; ready, unready; going (being deleted); node=NAME; age=SECONDS since it was made and became ready; of=KIND/NAME (its controller);
 * condition=TYPE (True); label=KEY:VALUE; note=KEY:VALUE (an annotation); finalizer=NAME; grace=SECONDS; restarts=N; exit=CODE (its container has ended so); reason=WORD (of its status); image=NAME.
 * The time is always the same moment. Writes are compared as the world logs them, one line each, in order; events only where the row asks.
 */
#ifndef CORACLE_TEST_SCENARIO_H
#define CORACLE_TEST_SCENARIO_H

#include "test/unit/controller-manager/fake_world.h"

#define SCENARIO_OBJECTS 8

struct scenario {
	const char *name;
	const char *owner;                     /* JSON of the object that is reconciled; NULL: `key` names one that is not there */
	const char *key;                       /* name, where owner is NULL */
	const char *objects[SCENARIO_OBJECTS]; /* JSON */
	const char *pods;
	int rounds;                            /* 0: one */
	const char *writes;                    /* NULL: not compared */
	const char *skip;                      /* writes that begin so are not compared; NULL: none */
	const char *status;                    /* JSON that the owner's status holds afterwards; NULL: any */
	const char *conditions;                /* all that its status holds afterwards, each a line "Type Status Reason"; NULL: any */
	const char *event;                     /* a part of an event's line; NULL: none asked for. "!" before it: there must be none */
	int after_s;                           /* to be looked at again then; 0: not asked; -1: never */
	const char *error;                     /* a part of the last round's error; NULL: it succeeds */
};

static void scenario_store(void *take_object)
{
	enum cached what = what_of(api_resource_by_kind(api_type_of(take_object)->group, NULL, api_type_of(take_object)->kind));
	struct meta_v1_object_meta *meta = meta_of(take_object);
	assert_int_not_equal(what, CACHED_NONE);
	if (str_empty(meta->uid))
		meta->uid = arena_printf(api_arena(take_object), "u-%s", meta->name);
	if (!meta->creation_timestamp.set)
		meta->creation_timestamp = (struct api_time){.t = time_after(clock_wall(), -3600), .set = true};
	if (!meta->generation)
		meta->generation = 1;
	fake_store(fake_new_slot(what), take_object);
}

static void scenario_put(const char *json)
{
	autoerror struct error err = {0};
	void *object = NULL;
	if (api_decode_json_any(json, strlen(json), NULL, &object, &err) < 0)
		fail_msg("%s: %s", error_message(&err), json);
	api_default(object);
	scenario_store(object);
}

static void scenario_pair(struct arena *arena, struct api_string_map *map, char *text)
{
	char *colon = strchr(text, ':');
	assert_non_null(colon);
	*colon = '\0';
	api_map_set(arena, map, text, colon + 1);
}

static void scenario_owner(struct arena *arena, struct core_v1_pod *pod, char *text)
{
	char *slash = strchr(text, '/');
	assert_non_null(slash);
	*slash = '\0';
	struct meta_v1_owner_reference *ref = api_list_add(arena, &pod->metadata.owner_references);
	const char *group = str_equal(text, "ReplicationController") ? "v1" : str_equal(text, "Job") ? "batch/v1" : "apps/v1";
	*ref = (struct meta_v1_owner_reference){.api_version = group, .kind = arena_strdup(arena, text), .name = arena_strdup(arena, slash + 1), .uid = arena_printf(arena, "u-%s", slash + 1), .controller = api_bool(arena, true)};
}

static void scenario_word(struct core_v1_pod *pod, char *word, int64_t *age)
{
	struct arena *arena = api_arena(pod);
	struct core_v1_container_status *status = pod->status.container_statuses.len ? pod->status.container_statuses.items : NULL;
	char *value = strchr(word, '=');
	if (value)
		*value++ = '\0';
	if (str_equal(word, "ready") || str_equal(word, "unready"))
		pod_set_condition(arena, pod, "Ready", word[0] == 'r' ? "True" : "False", NULL, NULL);
	else if (str_equal(word, "going"))
		pod->metadata.deletion_timestamp = api_time_now();
	else if (!value)
		pod->status.phase = arena_strdup(arena, word);
	else if (str_equal(word, "node"))
		pod->spec.node_name = arena_strdup(arena, value);
	else if (str_equal(word, "age"))
		assert_true(str_to_int64(value, 0, 1000000, age));
	else if (str_equal(word, "of"))
		scenario_owner(arena, pod, value);
	else if (str_equal(word, "condition"))
		pod_set_condition(arena, pod, value, "True", NULL, NULL);
	else if (str_equal(word, "label"))
		scenario_pair(arena, &pod->metadata.labels, value);
	else if (str_equal(word, "note"))
		scenario_pair(arena, &pod->metadata.annotations, value);
	else if (str_equal(word, "finalizer"))
		api_string_list_add(arena, &pod->metadata.finalizers, arena_strdup(arena, value));
	else if (str_equal(word, "grace"))
		pod->spec.termination_grace_period_seconds = api_int64(arena, strtol(value, NULL, 10));
	else if (str_equal(word, "reason"))
		pod->status.reason = arena_strdup(arena, value);
	else if (str_equal(word, "image"))
		pod->spec.containers.items[0].image = arena_strdup(arena, value);
	else if (str_equal(word, "restarts"))
		status->restart_count = (int32_t)strtol(value, NULL, 10);
	else if (str_equal(word, "exit")) {
		status->state.terminated = arena_new_type(arena, struct core_v1_container_state_terminated);
		status->state.terminated->exit_code = (int32_t)strtol(value, NULL, 10);
	} else
		fail_msg("what is %s?", word);
}

static void scenario_pod(char *line)
{
	char *rest = NULL, *word = strtok_r(line, " ", &rest);
	int64_t age = 60;
	if (!word)
		return;
	struct core_v1_pod *pod = api_new_of(core_v1_pod);
	struct arena *arena = api_arena(pod);
	pod->metadata.name = arena_strdup(arena, word);
	pod->metadata.namespace = "default";
	struct core_v1_container *container = api_list_add(arena, &pod->spec.containers);
	container->name = "c";
	struct core_v1_container_status *status = api_list_add(arena, &pod->status.container_statuses);
	status->name = "c";
	while ((word = strtok_r(NULL, " ", &rest)))
		scenario_word(pod, word, &age);
	pod->metadata.creation_timestamp = (struct api_time){.t = time_after(clock_wall(), -age), .set = true};
	for api_list_each (condition, &pod->status.conditions)
		condition->last_transition_time = pod->metadata.creation_timestamp;
	if (status->state.terminated)
		status->state.terminated->finished_at = pod->metadata.creation_timestamp;
	scenario_store(pod);
}

static void scenario_pods(const char *text)
{
	autofree char *copy = xstrdup(str_or(text, ""));
	char *rest = NULL;
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		scenario_pod(line);
}

static bool scenario_holds(json_t *have, json_t *want)
{
	const char *key;
	json_t *value;
	if (!json_is_object(want))
		return json_equal(have, want);
	json_object_foreach(want, key, value)
		if (json_is_null(value) ? json_object_get(have, key) != NULL : !scenario_holds(json_object_get(have, key), value))
			return false;
	return true;
}

static void scenario_check_status(const struct scenario *s, const void *owner)
{
	json_t *tree = api_to_json(api_type_of(owner), owner), *want = json_loads(s->status, 0, NULL);
	assert_non_null(want);
	autofree char *have = json_dumps(json_object_get(tree, "status"), JSON_COMPACT);
	if (!scenario_holds(json_object_get(tree, "status"), want))
		fail_msg("%s: the status is %s", s->name, have);
	json_decref(tree);
	json_decref(want);
}

static void scenario_check_conditions(const struct scenario *s, const void *owner)
{
	json_t *tree = api_to_json(api_type_of(owner), owner);
	const json_t *conditions = json_object_get(json_object_get(tree, "status"), "conditions");
	autobuf struct buf have = BUF_INIT(BUF_MAX_DEFAULT);
	buf_append_str(&have, "");
	for (size_t i = 0; i < json_array_size(conditions); i++) {
		const json_t *condition = json_array_get(conditions, i);
		buf_printf(&have, "%s %s %s\n", json_string_value(json_object_get(condition, "type")), json_string_value(json_object_get(condition, "status")),
			str_or(json_string_value(json_object_get(condition, "reason")), ""));
	}
	json_decref(tree);
	if (!str_equal(str_or(have.data, ""), s->conditions))
		fail_msg("%s: the conditions are\n%s", s->name, have.data);
}

/* The log without its events, and without lines that begin with `skip` (NULL: none). */
static char *scenario_writes(const char *skip)
{
	autofree char *copy = xstrdup(fake.log.len ? fake.log.data : "");
	struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	char *rest = NULL;
	buf_append_str(&out, "");
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (!str_starts_with(line, "event ") && !(skip && str_starts_with(line, skip)))
			buf_printf(&out, "%s\n", line);
	return out.data ? buf_take(&out) : xstrdup("");
}

static void scenario_play(const struct scenario *s, const struct controller *controller)
{
	fake_setup(NULL);
	struct reconciler r = fake_reconciler(controller);
	autoerror struct error err = {0};
	print_message("  %s\n", s->name);
	const char *name = s->key;
	enum cached what = CACHED_NONE;
	if (s->owner) {
		scenario_put(s->owner);
		name = meta_of(fake.objects[0].live)->name;
		what = fake.objects[0].what;
	}
	for (size_t i = 0; i < SCENARIO_OBJECTS && s->objects[i]; i++)
		scenario_put(s->objects[i]);
	scenario_pods(s->pods);
	autofree char *key = xstrdup(name);
	int result = 0;
	for (int i = 0; i < max_of(s->rounds, 1); i++) {
		error_done(&err);
		err = (struct error){0};
		result = controller->reconcile(&r, "default", key, &err);
	}
	if (s->error ? result >= 0 || !strstr(error_message(&err), s->error) : result < 0)
		fail_msg("%s: %d, %s", s->name, result, err.errnum ? error_message(&err) : "no error");
	autofree char *writes = scenario_writes(s->skip);
	if (s->writes && !str_equal(writes, s->writes))
		fail_msg("%s: it wrote\n%s", s->name, writes);
	if (s->status) {
		assert_non_null(fake_live(what, "default", key));
		scenario_check_status(s, fake_live(what, "default", key));
	}
	if (s->conditions)
		scenario_check_conditions(s, fake_live(what, "default", key));
	if (s->event && (fake.log.len && strstr(fake.log.data, s->event + (s->event[0] == '!')) != NULL) == (s->event[0] == '!'))
		fail_msg("%s: the log is\n%s", s->name, fake.log.len ? fake.log.data : "");
	if (s->after_s && (s->after_s < 0 ? result != 0 : result < (s->after_s - 1) * 1000 || result > (s->after_s + 1) * 1000))
		fail_msg("%s: looks again after %d ms", s->name, result);
	fake_reconciler_done(&r);
	fake_teardown(NULL);
}

unused static void scenario_play_all(const struct scenario *rows, size_t count, const struct controller *controller)
{
	for (size_t i = 0; i < count; i++)
		scenario_play(&rows[i], controller);
}

#endif
