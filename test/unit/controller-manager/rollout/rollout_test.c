/* SPDX-License-Identifier: Apache-2.0 */
/* Workloads that roll and go back by themselves, with their own controllers beside, in one world. */
#include "../fake_world.h"

#include "controller-manager/rollout/workload.h"

extern const struct controller config_rollout_controller, rollback_controller, deployment_controller, replica_set_controller, stateful_set_controller, daemon_set_controller;

static struct reconciler config, rollback, deployments, sets, stateful, daemons;

static int setup(void **state)
{
	fake_setup(state);
	config = fake_reconciler(&config_rollout_controller);
	rollback = fake_reconciler(&rollback_controller);
	deployments = fake_reconciler(&deployment_controller);
	sets = fake_reconciler(&replica_set_controller);
	stateful = fake_reconciler(&stateful_set_controller);
	daemons = fake_reconciler(&daemon_set_controller);
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&config);
	fake_reconciler_done(&rollback);
	fake_reconciler_done(&deployments);
	fake_reconciler_done(&sets);
	fake_reconciler_done(&stateful);
	fake_reconciler_done(&daemons);
	return fake_teardown(state);
}

/* Pods of one image run (but for a broken one), by the controllers of the kinds. */
static const char *broken_image;

static void play_kubelet(void)
{
	for (size_t i = 0; i < fake.count; i++) {
		struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what != CACHED_PODS || !pod || !pod_is_active(pod))
			continue;
		bool broken = str_equal(pod->spec.containers.items[0].image, broken_image);
		if (!broken && !pod_is_ready(pod))
			fake_run_pod(pod, true);
		else if (broken && pod->status.container_statuses.len == 0)
			fake_run_pod(pod, false);
	}
}

static void work(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		fake_reconcile_all(&deployments, CACHED_DEPLOYMENTS);
		fake_reconcile_all(&sets, CACHED_REPLICA_SETS);
		fake_reconcile_all(&stateful, CACHED_STATEFUL_SETS);
		fake_reconcile_all(&daemons, CACHED_DAEMON_SETS);
		play_kubelet();
	}
}

/* Every broken pod has crashed so many times. */
static void crash(int restarts)
{
	for (size_t i = 0; i < fake.count; i++) {
		struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what != CACHED_PODS || !pod || !str_equal(pod->spec.containers.items[0].image, broken_image))
			continue;
		autofree char *patch = xprintf("{\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"image\":\"bad\",\"imageID\":\"\",\"ready\":false,\"restartCount\":%d,\"state\":{\"waiting\":{\"reason\":\"CrashLoopBackOff\"}}}]}}",
			restarts);
		autofree char *ns = xstrdup(pod->metadata.namespace), *name = xstrdup(pod->metadata.name);
		fake_edit(CACHED_PODS, ns, name, "status", patch);
	}
}

struct subject {
	const char *kind, *key, *spec;
	enum cached what;
};
static const struct subject subjects[] = {
	{"Deployment", "deployments/w", "\"replicas\":2,", CACHED_DEPLOYMENTS},
	{"StatefulSet", "statefulsets/w", "\"replicas\":2,\"serviceName\":\"s\",", CACHED_STATEFUL_SETS},
	{"DaemonSet", "daemonsets/w", "", CACHED_DAEMON_SETS},
};

static void add_subject(const struct subject *s, const char *annotations)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"apps/v1\",\"kind\":\"%s\",\"metadata\":{\"name\":\"w\",\"namespace\":\"n\",\"annotations\":{%s}},\"spec\":{%s\"selector\":{\"matchLabels\":{\"app\":\"w\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"w\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"good\",\"envFrom\":[{\"configMapRef\":{\"name\":\"settings\"}}]}],\"volumes\":[{\"name\":\"v\",\"secret\":{\"secretName\":\"password\"}}]}}}}",
		s->kind, annotations, s->spec);
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"node-1\"},\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\"}],\"allocatable\":{\"cpu\":\"4\",\"memory\":\"4Gi\",\"pods\":\"110\"}}}");
	fake_add(json);
}

static int reconcile(struct reconciler *r, const struct subject *s)
{
	for (;;) {
		autoerror struct error err = {0};
		int result = r->controller->reconcile(r, "n", s->key, &err);
		if (result >= 0)
			return result;
		if (!error_is(&err, "Conflict"))
			fail_msg("%s: %s", s->key, error_message(&err));
	}
}

static const char *annotation(const struct subject *s, const char *name)
{
	return str_or(api_map_get(&api_metadata(fake_live(s->what, "n", "w"))->annotations, name), "");
}

static struct core_v1_pod_template_spec *template_of(const struct subject *s)
{
	const char *name;
	return workload_of_key(s->key, &name)->template(fake_live(s->what, "n", "w"));
}

static const char *condition(const struct subject *s)
{
	static char text[100];
	json_t *tree = api_to_json(api_type_of(fake_live(s->what, "n", "w")), fake_live(s->what, "n", "w")), *c;
	size_t i;
	text[0] = '\0';
	json_array_foreach(json_object_get(json_object_get(tree, "status"), "conditions"), i, c)
		if (str_equal(json_string_value(json_object_get(c, "type")), "RolledBack"))
			snprintf(text, sizeof(text), "%s %s", json_string_value(json_object_get(c, "status")), json_string_value(json_object_get(c, "reason")));
	json_decref(tree);
	return text;
}

static void set_image(const struct subject *s, const char *image)
{
	autofree char *patch = xprintf("{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}}}", image);
	fake_edit(s->what, "n", "w", NULL, patch);
}

#define ALL_SUBJECTS(state)                                                                 \
	for (const struct subject *s = subjects; s < subjects + array_len(subjects); s++)   \
		for (int once = (teardown(state), setup(state), 1); once; once = 0)

/* ---- rolled out ---- */

#define ROLLS "\"coracle.dev/roll-on-change\":\"true\""

static void add_settings(void)
{
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"settings\",\"namespace\":\"n\"},\"data\":{\"a\":\"1\"}}");
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"password\",\"namespace\":\"n\"},\"data\":{\"p\":\"MQ==\"}}");
	fake_add("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"unused\",\"namespace\":\"n\"},\"data\":{\"a\":\"1\"}}");
}

static void test_rolls_when_contents_change(void **state)
{
	ALL_SUBJECTS(state) {
		add_settings();
		add_subject(s, ROLLS);
		reconcile(&config, s);
		/* To ask for it does not roll. */
		assert_int_equal(strlen(annotation(s, ANNOTATION_CONFIG_HASH)), 33);
		assert_null(api_map_get(&template_of(s)->metadata.annotations, ANNOTATION_CONFIG_HASH));
		static const struct {
			enum cached what;
			const char *name, *patch;
			bool rolls;
		} rows[] = {
			{CACHED_CONFIG_MAPS, "settings", "{\"data\":{\"a\":\"2\"}}", true},
			{CACHED_SECRETS, "password", "{\"data\":{\"p\":\"Mg==\"}}", true},
			{CACHED_CONFIG_MAPS, "settings", "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}", false},
			{CACHED_CONFIG_MAPS, "unused", "{\"data\":{\"a\":\"2\"}}", false},
			{CACHED_CONFIG_MAPS, "settings", "{\"data\":{\"b\":\"\"}}", true},
		};
		for (size_t i = 0; i < array_len(rows); i++) {
			autofree char *before = xstrdup(str_or(api_map_get(&template_of(s)->metadata.annotations, ANNOTATION_CONFIG_HASH), ""));
			size_t writes = fake.writes + 1;
			fake_edit(rows[i].what, "n", rows[i].name, NULL, rows[i].patch);
			reconcile(&config, s);
			const char *after = str_or(api_map_get(&template_of(s)->metadata.annotations, ANNOTATION_CONFIG_HASH), "");
			assert_int_equal(!str_equal(before, after), rows[i].rolls);
			assert_int_equal(fake.writes - writes, rows[i].rolls);
			if (rows[i].rolls)
				assert_string_equal(after, annotation(s, ANNOTATION_CONFIG_HASH));
		}
	}
}

static void test_only_where_asked(void **state)
{
	ALL_SUBJECTS(state) {
		add_settings();
		add_subject(s, "\"coracle.dev/roll-on-change\":\"false\"");
		size_t writes = fake.writes;
		reconcile(&config, s);
		reconcile(&rollback, s);
		assert_int_equal(fake.writes, writes);
	}
}

/* The user changes the template to use another object: that is a rollout already, a second one on top would be one too many. */
static void test_new_names_do_not_roll_again(void **state)
{
	ALL_SUBJECTS(state) {
		add_settings();
		add_subject(s, ROLLS);
		reconcile(&config, s);
		fake_edit(s->what, "n", "w", NULL, "{\"spec\":{\"template\":{\"spec\":{\"volumes\":[{\"name\":\"v\",\"configMap\":{\"name\":\"unused\"}}]}}}}");
		reconcile(&config, s);
		assert_null(api_map_get(&template_of(s)->metadata.annotations, ANNOTATION_CONFIG_HASH));
		fake_edit(CACHED_CONFIG_MAPS, "n", "unused", NULL, "{\"data\":{\"a\":\"9\"}}");
		reconcile(&config, s);
		assert_non_null(api_map_get(&template_of(s)->metadata.annotations, ANNOTATION_CONFIG_HASH));
	}
}

static const char *hash_of(const struct subject *s)
{
	return str_or(api_map_get(&template_of(s)->metadata.annotations, ANNOTATION_CONFIG_HASH), "");
}

static void delete(enum cached what, const char *name)
{
	autoerror struct error err = {0};
	assert_int_equal(world_delete(&fake.world, what, fake_live(what, "n", name), NULL, &err), 0);
}

static const char settings_json[] = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"settings\",\"namespace\":\"n\"},\"data\":{%s}}";

/* Applied before what it uses: its pods wait for that, and there is nothing to roll. Deleted meanwhile: what runs is left running. */
static void test_what_must_be_there_is_waited_for(void **state)
{
	ALL_SUBJECTS(state) {
		add_subject(s, ROLLS);
		size_t writes = fake.writes;
		reconcile(&config, s);
		assert_int_equal(fake.writes, writes);
		add_settings();
		reconcile(&config, s);
		assert_string_equal(hash_of(s), "");
		assert_int_equal(strlen(annotation(s, ANNOTATION_CONFIG_HASH)), 33);
		static const struct {
			const char *data;
			bool rolls;
		} rows[] = {{"\"a\":\"1\"", false}, {"\"a\":\"2\"", true}, {"\"b\":\"3\",\"a\":\"2\"", true}, {"\"a\":\"2\",\"b\":\"3\"", false}};
		for (size_t i = 0; i < array_len(rows); i++) {
			autofree char *before = xstrdup(hash_of(s)), *json = xprintf(settings_json, rows[i].data);
			delete (CACHED_CONFIG_MAPS, "settings");
			reconcile(&config, s);
			assert_string_equal(hash_of(s), before);
			fake_add(json);
			reconcile(&config, s);
			assert_int_equal(!str_equal(hash_of(s), before), rows[i].rolls);
		}
	}
}

/* What may be missing is a state like another: pods that run without it are not those that run with it. */
static void test_what_may_be_missing_rolls_when_it_comes_and_goes(void **state)
{
	ALL_SUBJECTS(state) {
		add_settings();
		add_subject(s, ROLLS);
		fake_edit(s->what, "n", "w", NULL,
			"{\"spec\":{\"template\":{\"spec\":{\"volumes\":[],\"containers\":[{\"name\":\"c\",\"image\":\"good\",\"envFrom\":[{\"configMapRef\":{\"name\":\"settings\",\"optional\":true}}]}]}}}}");
		reconcile(&config, s);
		delete (CACHED_CONFIG_MAPS, "settings");
		reconcile(&config, s);
		autofree char *without = xstrdup(hash_of(s));
		assert_string_not_equal(without, "");
		autofree char *json = xprintf(settings_json, "\"a\":\"1\"");
		fake_add(json);
		reconcile(&config, s);
		assert_string_not_equal(hash_of(s), without);
		/* One reference that needs it is enough. */
		fake_edit(s->what, "n", "w", NULL,
			"{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"good\",\"envFrom\":[{\"configMapRef\":{\"name\":\"settings\",\"optional\":true}}],\"env\":[{\"name\":\"A\",\"valueFrom\":{\"configMapKeyRef\":{\"name\":\"settings\",\"key\":\"a\"}}}]}]}}}}");
		reconcile(&config, s);
		autofree char *with = xstrdup(hash_of(s));
		delete (CACHED_CONFIG_MAPS, "settings");
		reconcile(&config, s);
		assert_string_equal(hash_of(s), with);
	}
}

/* Paused, or updated by whoever deletes pods: nothing is written to the template until it rolls again, and then what has changed since is not forgotten. */
static void test_what_does_not_roll_is_left_alone(void **state)
{
	ALL_SUBJECTS(state) {
		bool pauses = s->what == CACHED_DEPLOYMENTS;
		add_settings();
		add_subject(s, ROLLS);
		reconcile(&config, s);
		fake_edit(s->what, "n", "w", NULL, pauses ? "{\"spec\":{\"paused\":true}}" : "{\"spec\":{\"updateStrategy\":{\"type\":\"OnDelete\",\"rollingUpdate\":null}}}");
		fake_edit(CACHED_CONFIG_MAPS, "n", "settings", NULL, "{\"data\":{\"a\":\"2\"}}");
		size_t writes = fake.writes;
		reconcile(&config, s);
		assert_int_equal(fake.writes, writes);
		fake_edit(s->what, "n", "w", NULL, pauses ? "{\"spec\":{\"paused\":false}}" : "{\"spec\":{\"updateStrategy\":{\"type\":\"RollingUpdate\"}}}");
		reconcile(&config, s);
		assert_string_not_equal(hash_of(s), "");
	}
}

/* ---- rolled back ---- */

#define BACK "\"coracle.dev/rollback-on-failure\":\"true\""

static const char *image_of(const struct subject *s)
{
	return template_of(s)->spec.containers.items[0].image;
}

/* A good first rollout, then a bad image. */
static void begin_bad_rollout(const struct subject *s)
{
	broken_image = "bad";
	add_subject(s, BACK);
	work(8);
	reconcile(&rollback, s);
	assert_true(strlen(annotation(s, ANNOTATION_GOOD)) > 0);
	assert_string_equal(condition(s), "");
	set_image(s, "bad");
	work(6);
	reconcile(&rollback, s);
	assert_string_equal(image_of(s), "bad");
}

static void test_goes_back_when_pods_crash(void **state)
{
	ALL_SUBJECTS(state) {
		begin_bad_rollout(s);
		autofree char *good = xstrdup(annotation(s, ANNOTATION_GOOD));
		crash(2);
		reconcile(&rollback, s);
		assert_string_equal(image_of(s), "bad"); /* it may still recover */
		crash(3);
		reconcile(&rollback, s);
		assert_string_equal(image_of(s), "good");
		assert_string_equal(annotation(s, ANNOTATION_GOOD), good);
		assert_non_null(strstr(annotation(s, ANNOTATION_BACK_REASON), "crashes: 3 restarts"));
		assert_non_null(strstr(fake.log.data, "Warning RolledBack"));
		/* Its controller brings the good pods back; the condition says what happened. */
		for (int i = 0; i < 4; i++) {
			work(4);
			reconcile(&rollback, s);
		}
		assert_string_equal(condition(s), "True RolloutFailed");
		size_t bad = 0, running = 0;
		for (size_t i = 0; i < fake.count; i++) {
			struct core_v1_pod *pod = fake.objects[i].live;
			if (fake.objects[i].what != CACHED_PODS || !pod)
				continue;
			bad += str_equal(pod->spec.containers.items[0].image, "bad");
			running += pod_is_ready(pod);
		}
		assert_int_equal(bad, 0);
		assert_int_equal(running, s->what == CACHED_DAEMON_SETS ? 1 : 2);
		/* Then it is quiet. */
		size_t writes = fake.writes;
		reconcile(&rollback, s);
		assert_int_equal(fake.writes, writes);
		/* Another try, which comes out well: good from then on. */
		set_image(s, "better");
		work(8);
		reconcile(&rollback, s);
		assert_string_equal(condition(s), "False NewRollout");
		reconcile(&rollback, s);
		assert_string_not_equal(annotation(s, ANNOTATION_GOOD), good);
	}
}

static void test_goes_back_past_the_deadline(void **state)
{
	ALL_SUBJECTS(state) {
		begin_bad_rollout(s);
		if (s->what != CACHED_DEPLOYMENTS)
			assert_in_range(reconcile(&rollback, s), 599000, 600001);
		clock_advance_test(599 * NSEC_PER_SEC);
		work(2);
		reconcile(&rollback, s);
		assert_string_equal(image_of(s), "bad");
		clock_advance_test(2 * NSEC_PER_SEC);
		work(2);
		reconcile(&rollback, s);
		assert_string_equal(image_of(s), "good");
	}
}

static void test_nothing_to_go_back_to(void **state)
{
	ALL_SUBJECTS(state) {
		broken_image = "good"; /* the first one is broken */
		add_subject(s, BACK);
		work(6);
		crash(5);
		reconcile(&rollback, s);
		assert_string_equal(condition(s), "False NothingToGoBackTo");
		assert_string_equal(annotation(s, ANNOTATION_BACK_FROM), "");
		size_t writes = fake.writes;
		reconcile(&rollback, s);
		assert_int_equal(fake.writes, writes);
	}
}

/* What was good and fails later is left alone: the last rollout is not to blame. */
static void test_later_crashes_do_not_undo(void **state)
{
	ALL_SUBJECTS(state) {
		broken_image = "bad";
		add_subject(s, BACK);
		work(8);
		reconcile(&rollback, s);
		set_image(s, "second");
		work(10);
		reconcile(&rollback, s);
		broken_image = "second";
		for (size_t i = 0; i < fake.count; i++)
			if (fake.objects[i].what == CACHED_PODS && fake.objects[i].live)
				fake_run_pod(fake.objects[i].live, false);
		crash(9);
		reconcile(&rollback, s);
		assert_string_equal(image_of(s), "second");
	}
}

/* What failed once is tried again and works: from then on it is the good one, and its pods are like others. */
static void test_a_failed_revision_may_come_out_well(void **state)
{
	ALL_SUBJECTS(state) {
		begin_bad_rollout(s);
		crash(3);
		for (int i = 0; i < 4; i++) {
			reconcile(&rollback, s);
			work(4);
		}
		reconcile(&rollback, s);
		assert_string_equal(condition(s), "True RolloutFailed");
		broken_image = "none";
		set_image(s, "bad");
		for (int i = 0; i < 4; i++) {
			work(4);
			reconcile(&rollback, s);
			assert_string_equal(condition(s), "False NewRollout");
		}
		assert_string_equal(image_of(s), "bad");
		assert_string_equal(annotation(s, ANNOTATION_BACK_FROM), "");
		assert_string_equal(annotation(s, ANNOTATION_BACK_REASON), "");
		/* A pod of it that is not ready is nobody's to delete. */
		for (size_t i = 0; i < fake.count; i++)
			if (fake.objects[i].what == CACHED_PODS && fake.objects[i].live)
				fake_run_pod(fake.objects[i].live, false);
		size_t writes = fake.writes;
		reconcile(&rollback, s);
		assert_int_equal(fake.writes, writes);
	}
}

/* As kubectl undoes it: the annotations are those of the set that comes back. What was known of rollouts is not among them. */
static void test_undone_by_hand(void **state)
{
	const struct subject *s = &subjects[0];
	add_settings();
	begin_bad_rollout(s);
	fake_edit(s->what, "n", "w", NULL, "{\"metadata\":{\"annotations\":{" ROLLS "}}}");
	reconcile(&config, s);
	crash(3);
	for (int i = 0; i < 4; i++) {
		reconcile(&rollback, s);
		work(4);
	}
	reconcile(&rollback, s);
	assert_string_equal(condition(s), "True RolloutFailed");
	static const char *const known[] = {ANNOTATION_CONFIG_HASH, ANNOTATION_GOOD, ANNOTATION_BACK_FROM, ANNOTATION_BACK_REASON};
	autobuf struct buf patch = BUF_INIT(4096);
	buf_printf(&patch, "{\"metadata\":{\"annotations\":{");
	for (size_t i = 0; i < array_len(known); i++) {
		assert_string_not_equal(annotation(s, known[i]), "");
		for (size_t o = 0; o < fake.count; o++)
			if (fake.objects[o].what == CACHED_REPLICA_SETS && fake.objects[o].live)
				assert_null(api_map_get(&api_metadata(fake.objects[o].live)->annotations, known[i]));
		buf_printf(&patch, "%s\"%s\":null", i ? "," : "", known[i]);
	}
	buf_printf(&patch, "}},\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"bad\"}]}}}}");
	broken_image = "none";
	fake_edit(s->what, "n", "w", NULL, patch.data);
	autofree char *before = xstrdup(hash_of(s));
	for (int i = 0; i < 4; i++) {
		reconcile(&config, s);
		work(4);
		reconcile(&rollback, s);
	}
	assert_string_equal(image_of(s), "bad");
	assert_string_equal(hash_of(s), before); /* one rollout, not two */
	assert_string_equal(condition(s), "False NewRollout");
	assert_string_not_equal(annotation(s, ANNOTATION_GOOD), "");
}

/* The status says that a rollout is late, but it is the one before this. */
static void test_a_deadline_of_another_rollout(void **state)
{
	const struct subject *s = &subjects[0];
	begin_bad_rollout(s);
	clock_advance_test(601 * NSEC_PER_SEC);
	work(2);
	set_image(s, "better");
	broken_image = "better";
	work(1);
	fake_edit(s->what, "n", "w", "status", "{\"status\":{\"conditions\":[{\"type\":\"Progressing\",\"status\":\"False\",\"reason\":\"ProgressDeadlineExceeded\",\"message\":\"ReplicaSet \\\"w-123\\\" has timed out progressing.\"}]}}");
	reconcile(&rollback, s);
	assert_string_equal(image_of(s), "better");
	clock_advance_test(601 * NSEC_PER_SEC);
	fake_edit(s->what, "n", "w", "status", "{\"status\":{\"conditions\":[]}}");
	work(2);
	clock_advance_test(601 * NSEC_PER_SEC);
	work(2);
	reconcile(&rollback, s);
	assert_string_equal(image_of(s), "good");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_rolls_when_contents_change),
		TEST(test_only_where_asked),
		TEST(test_new_names_do_not_roll_again),
		TEST(test_what_must_be_there_is_waited_for),
		TEST(test_what_may_be_missing_rolls_when_it_comes_and_goes),
		TEST(test_what_does_not_roll_is_left_alone),
		TEST(test_a_failed_revision_may_come_out_well),
		TEST(test_undone_by_hand),
		TEST(test_a_deadline_of_another_rollout),
		TEST(test_goes_back_when_pods_crash),
		TEST(test_goes_back_past_the_deadline),
		TEST(test_nothing_to_go_back_to),
		TEST(test_later_crashes_do_not_undo),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
