/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/controller-manager/scenario.h"

extern const struct controller stateful_set_controller;

#define META "\"metadata\":{\"name\":\"db\",\"namespace\":\"default\""
#define SPEC(replicas, image, more)                                                                                                           \
	"\"spec\":{\"replicas\":" replicas ",\"serviceName\":\"db\",\"selector\":{\"matchLabels\":{\"app\":\"db\"}},\"template\":{\"metadata\":{" \
	"\"labels\":{\"app\":\"db\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"" image "\"}]}}" more "}"
#define SET(replicas, more) "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\"," META "}," SPEC(replicas, "i", more) "}"
#define LEFT ",\"updateStrategy\":{\"type\":\"OnDelete\"}" /* pods of no revision are not rolled */
#define CLAIMS ",\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"data\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}]"
#define KEEP(scaled, deleted) ",\"persistentVolumeClaimRetentionPolicy\":{\"whenScaled\":\"" scaled "\",\"whenDeleted\":\"" deleted "\"}"
#define CLAIM(name, owners) "{\"apiVersion\":\"v1\",\"kind\":\"PersistentVolumeClaim\",\"metadata\":{\"name\":\"" name "\",\"namespace\":\"default\",\"ownerReferences\":[" owners "]}}"
#define OWNER(kind, name, uid) "{\"apiVersion\":\"v1\",\"kind\":\"" kind "\",\"name\":\"" name "\",\"uid\":\"" uid "\",\"controller\":true,\"blockOwnerDeletion\":true}"
#define MINE(name) " of=StatefulSet/db label=app:db label=statefulset.kubernetes.io/pod-name:" name " "
#define UP " Running ready node=n "
#define REVISION "create controllerrevisions default/db-"
#define PARALLEL ",\"podManagementPolicy\":\"Parallel\""
#define ORDERED_TWO "db-0" UP MINE("db-0") "\ndb-1" UP MINE("db-1")

/* Each round begins with the revision, whose name is a hash, and ends with the status: rows say what is between. */
static const struct {
	struct scenario s;
	const char *between;
} rows[] = {
	{{.name = "the first is made, the next waits", .owner = SET("3", ""), .event = "event db Normal SuccessfulCreate: Create Pod db-0 in StatefulSet db successful"}, "create pods default/db-0\n"},
	{{.name = "one that is not ready holds up the next", .owner = SET("3", ""), .pods = "db-0 Running unready node=n" MINE("db-0")}, ""},
	{{.name = "an old one that serves nobody is replaced before those that do", .owner = SET("3", PARALLEL), .pods = "db-0" UP MINE("db-0") "\ndb-1 Running unready node=n" MINE("db-1") "\ndb-2" UP MINE("db-2")},
		"delete pods default/db-1\n"},
	{{.name = "the highest goes first", .owner = SET("3", PARALLEL), .pods = "db-0" UP MINE("db-0") "\ndb-1" UP MINE("db-1") "\ndb-2" UP MINE("db-2")}, "delete pods default/db-2\n"},
	{{.name = "a ready one lets the next be made", .owner = SET("3", ""), .pods = "db-0" UP MINE("db-0")}, "create pods default/db-1\n"},
	{{.name = "one that is going holds up the next", .owner = SET("3", ""), .pods = "db-0 Running ready going" MINE("db-0")}, ""},
	{{.name = "a gap is filled first", .owner = SET("3", ""), .pods = "db-1" UP MINE("db-1")}, "create pods default/db-0\n"},
	{{.name = "availability counts where seconds are asked for", .owner = SET("2", ",\"minReadySeconds\":100"), .pods = "db-0 Running ready age=60" MINE("db-0"), .after_s = 40}, ""},
	{{.name = "a claim that goes with an earlier pod is waited for", .owner = SET("1", CLAIMS), .objects = {CLAIM("data-db-0", OWNER("Pod", "db-0", "earlier"))}, .after_s = 1}, ""},
	{{.name = "and one that goes with an earlier set", .owner = SET("1", CLAIMS), .objects = {CLAIM("data-db-0", OWNER("StatefulSet", "db", "earlier"))}, .after_s = 1}, ""},
	{{.name = "in parallel all are made", .owner = SET("3", PARALLEL)}, "create pods default/db-0\ncreate pods default/db-1\ncreate pods default/db-2\n"},
	{{.name = "the first number may be another", .owner = SET("2", PARALLEL ",\"ordinals\":{\"start\":5}")}, "create pods default/db-5\ncreate pods default/db-6\n"},
	{{.name = "numbers before the first are removed", .owner = SET("1", LEFT ",\"ordinals\":{\"start\":1}"), .pods = ORDERED_TWO}, "delete pods default/db-0\n"},
	{{.name = "the last goes first", .owner = SET("0", ""), .pods = ORDERED_TWO}, "delete pods default/db-1\n"},
	{{.name = "and is waited for", .owner = SET("0", ""), .pods = "db-0" UP MINE("db-0") "\ndb-1 Running going" MINE("db-1")}, ""},
	{{.name = "one that is sick below holds it up", .owner = SET("0", ""), .pods = "db-0 Running unready node=n" MINE("db-0") "\ndb-1" UP MINE("db-1")}, "delete pods default/db-1\n"},
	{{.name = "one that is not ready waits for those below", .owner = SET("0", ""), .pods = "db-0 Running unready node=n" MINE("db-0") "\ndb-1 Running unready node=n" MINE("db-1")}, ""},
	{{.name = "one that has ended does not", .owner = SET("0", ""), .pods = "db-0 Failed node=n" MINE("db-0") "\ndb-1 Failed node=n" MINE("db-1")}, "delete pods default/db-1\n"},
	{{.name = "in parallel all go", .owner = SET("0", PARALLEL), .pods = ORDERED_TWO}, "delete pods default/db-1\ndelete pods default/db-0\n"},
	{{.name = "a failed one is made anew", .owner = SET("2", ""), .pods = "db-0 Failed node=n" MINE("db-0"), .event = "!Recreating"}, "delete pods default/db-0\n"},
	{{.name = "a succeeded one too", .owner = SET("2", ""), .pods = "db-0 Succeeded node=n" MINE("db-0"), .event = "!Recreating"}, "delete pods default/db-0\n"},
	{{.name = "a pod of the name and labels is adopted", .owner = SET("1", LEFT), .pods = "db-0" UP "label=app:db label=statefulset.kubernetes.io/pod-name:db-0"}, "patch pods default/db-0\n"},
	{{.name = "one of another name is not", .owner = SET("1", LEFT), .pods = "db-x" UP "label=app:db"}, "create pods default/db-0\n"},
	{{.name = "a lost name label is put back", .owner = SET("1", LEFT), .pods = "db-0" UP "of=StatefulSet/db label=app:db"}, "patch pods default/db-0\n"},
	{{.name = "claims come before the pod", .owner = SET("1", LEFT CLAIMS)}, "create persistentvolumeclaims default/data-db-0\ncreate pods default/db-0\n"},
	{{.name = "a claim that is there is used", .owner = SET("1", LEFT CLAIMS), .objects = {CLAIM("data-db-0", "")}}, "create pods default/db-0\n"},
	{{.name = "a pending pod's lost claim is made again", .owner = SET("1", LEFT CLAIMS), .pods = "db-0 Pending" MINE("db-0")}, "create persistentvolumeclaims default/data-db-0\n"},
	{{.name = "kept claims have no owner", .owner = SET("1", LEFT CLAIMS KEEP("Retain", "Retain")), .objects = {CLAIM("data-db-0", OWNER("StatefulSet", "db", "u-db"))}, .pods = "db-0" UP MINE("db-0")},
		"update persistentvolumeclaims default/data-db-0\n"},
	{{.name = "claims that go with the set are its own", .owner = SET("1", LEFT CLAIMS KEEP("Retain", "Delete")), .objects = {CLAIM("data-db-0", "")}, .event = "event db Normal SuccessfulUpdate: Update Pod db-0 in StatefulSet db successful", .pods = "db-0" UP MINE("db-0")},
		"update persistentvolumeclaims default/data-db-0\n"},
	{{.name = "and stay as they are then", .owner = SET("1", LEFT CLAIMS KEEP("Retain", "Delete")), .objects = {CLAIM("data-db-0", OWNER("StatefulSet", "db", "u-db"))}, .pods = "db-0" UP MINE("db-0")}, ""},
	{{.name = "claims of a pod that goes for good become its own", .owner = SET("0", CLAIMS KEEP("Delete", "Delete")), .objects = {CLAIM("data-db-0", OWNER("StatefulSet", "db", "u-db"))}, .pods = "db-0" UP MINE("db-0")},
		"update persistentvolumeclaims default/data-db-0\ndelete pods default/db-0\n"},
	{{.name = "claims that another controls are left alone", .owner = SET("1", LEFT CLAIMS KEEP("Delete", "Delete")), .objects = {CLAIM("data-db-0", OWNER("Backup", "b", "u-b"))}, .pods = "db-0" UP MINE("db-0")}, ""},
	{{.name = "claims of an earlier set of the name too", .owner = SET("1", LEFT CLAIMS KEEP("Delete", "Delete")), .objects = {CLAIM("data-db-0", OWNER("StatefulSet", "db", "u-before"))}, .pods = "db-0" UP MINE("db-0")}, ""},
	{{.name = "a set that goes does nothing", .owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\"," META ",\"deletionTimestamp\":\"2027-01-15T08:00:00Z\",\"finalizers\":[\"foregroundDeletion\"]}," SPEC("3", "i", "") "}",
		.pods = "db-0" UP MINE("db-0")}, ""},
	{{.name = "a selector that does not match makes nothing",
		.owner = "{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\"," META "},\"spec\":{\"replicas\":2,\"serviceName\":\"db\",\"selector\":{\"matchLabels\":{\"app\":\"mail\"}},\"template\":{\"metadata\":{\"labels\":{"
			 "\"app\":\"db\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}",
		.event = "event db Warning SelectorMismatch"}, ""},
};

static void one_round(void **state)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		autofree char *writes = xprintf("%supdate statefulsets/status default/db\n", rows[i].between);
		struct scenario s = rows[i].s;
		s.writes = writes;
		s.skip = REVISION;
		scenario_play(&s, &stateful_set_controller);
	}
}

/* ---- rollouts ---- */

static struct reconciler sets;

static int setup(void **state)
{
	fake_setup(state);
	sets = fake_reconciler(&stateful_set_controller);
	return 0;
}

static int teardown(void **state)
{
	fake_reconciler_done(&sets);
	return fake_teardown(state);
}

static const struct apps_v1_stateful_set *db(void)
{
	return fake_live(CACHED_STATEFUL_SETS, "default", "db");
}

static const struct core_v1_pod *pod(const char *name)
{
	return fake_live(CACHED_PODS, "default", name);
}

static void settle(void)
{
	for (int i = 0; i < 60; i++) {
		size_t before = fake.writes;
		fake_reconcile_all(&sets, CACHED_STATEFUL_SETS);
		fake_run_all_pods();
		fake_finish_pods();
		if (fake.writes == before)
			return;
	}
	fail_msg("does not settle:\n%s", fake.log.data + fake.log.len - min_of(fake.log.len, (size_t)2000));
}

static void begin(const char *replicas_and_more)
{
	scenario_put(replicas_and_more);
	settle();
}

static void change(const char *spec)
{
	autofree char *patch = xprintf("{\"spec\":%s}", spec);
	fake_edit(CACHED_STATEFUL_SETS, "default", "db", NULL, patch);
}

#define NEW_IMAGE "\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"two\"}]}}"

static bool is_new(const char *name)
{
	return pod(name) && str_equal(pod(name)->spec.containers.items[0].image, "two");
}

static void an_update_goes_from_the_last_to_the_first(void **state)
{
	begin(SET("3", ""));
	autofree char *first = xstrdup(db()->status.current_revision);
	buf_reset(&fake.log);
	change("{" NEW_IMAGE "}");
	settle();
	assert_true(is_new("db-0") && is_new("db-1") && is_new("db-2"));
	const char *two = strstr(fake.log.data, "delete pods default/db-2"), *one = strstr(fake.log.data, "delete pods default/db-1"), *zero = strstr(fake.log.data, "delete pods default/db-0");
	assert_true(two && one && zero && two < one && one < zero);
	assert_string_not_equal(db()->status.current_revision, first);
	assert_string_equal(db()->status.current_revision, db()->status.update_revision);
	assert_int_equal(db()->status.updated_replicas, 3);
	assert_int_equal(db()->status.current_replicas, 3);
	assert_int_equal(fake_count(CACHED_CONTROLLER_REVISIONS), 2);
}

static void a_partition_keeps_the_first_ones_old(void **state)
{
	begin(SET("3", ",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":2}}"));
	change("{" NEW_IMAGE "}");
	settle();
	assert_true(!is_new("db-0") && !is_new("db-1") && is_new("db-2"));
	assert_int_equal(db()->status.updated_replicas, 1);
	assert_int_equal(db()->status.current_replicas, 2);
	/* One of the old ones that is lost comes back old. */
	assert_int_equal(world_delete(&fake.world, CACHED_PODS, pod("db-0"), NULL, NULL), 0);
	settle();
	assert_true(pod("db-0") && !is_new("db-0"));
	change("{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":0}}}");
	settle();
	assert_true(is_new("db-0") && is_new("db-1"));
	assert_string_equal(db()->status.current_revision, db()->status.update_revision);
}

static void on_delete_waits_for_the_user(void **state)
{
	begin(SET("2", ",\"updateStrategy\":{\"type\":\"OnDelete\"}"));
	change("{" NEW_IMAGE "}");
	settle();
	assert_true(!is_new("db-0") && !is_new("db-1"));
	assert_int_equal(world_delete(&fake.world, CACHED_PODS, pod("db-1"), NULL, NULL), 0);
	settle();
	assert_true(!is_new("db-0") && is_new("db-1"));
}

static void max_unavailable_bounds_how_many_are_away(void **state)
{
	begin(SET("6", ",\"podManagementPolicy\":\"Parallel\",\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":2}}"));
	change("{" NEW_IMAGE "}");
	buf_reset(&fake.log);
	fake_reconcile_all(&sets, CACHED_STATEFUL_SETS);
	assert_non_null(strstr(fake.log.data, "delete pods default/db-5"));
	assert_non_null(strstr(fake.log.data, "delete pods default/db-4"));
	assert_null(strstr(fake.log.data, "delete pods default/db-3"));
	settle();
	assert_true(is_new("db-0") && is_new("db-5"));
}

static size_t refused;

static int refuse_most_claims(struct fake_world *w, const struct write *write, struct error *err)
{
	if (write->verb != WRITE_CREATE || !str_equal(write->resource->plural, "persistentvolumeclaims") || str_equal(api_metadata(write->object)->name, "data-db-0"))
		return 0;
	refused++;
	return error_status(err, 403, "Forbidden", "exceeded quota");
}

/* Of those that wait for nobody more are tried, but not all: one, two, four. */
static void a_refusal_in_parallel_holds_up_only_the_next_batch(void **state)
{
	refused = 0;
	fake.fault = refuse_most_claims;
	scenario_put(SET("50", PARALLEL CLAIMS));
	autoerror struct error err = {0};
	assert_true(sets.controller->reconcile(&sets, "default", "db", &err) < 0);
	assert_int_equal(fake_count(CACHED_PODS), 1);
	assert_int_equal(refused, 2);
	assert_non_null(strstr(fake.log.data, "Warning FailedCreate: Create Pod db-2 in StatefulSet db failed error: failed to create PVC data-db-2: exceeded quota"));
}

/* As many as an API allows cost no more than those that are made; what lies past the last ordinal is never made, and told. */
static void huge_sets_are_made_bit_by_bit(void **state)
{
	autoerror struct error err = {0};
	scenario_put(SET("2147483647", PARALLEL ",\"ordinals\":{\"start\":7}"));
	assert_true(sets.controller->reconcile(&sets, "default", "db", &err) >= 0);
	assert_int_equal(fake_count(CACHED_PODS), BURST_REPLICAS);
	assert_non_null(pod("db-7"));
	assert_non_null(strstr(fake.log.data, "event db Warning FailedCreate: StatefulSet db asks for ordinals past 2147483647"));
	change("{\"replicas\":2,\"ordinals\":{\"start\":2147483646}}");
	settle();
	assert_int_equal(fake_count(CACHED_PODS), 2);
	assert_non_null(pod("db-2147483647"));
	change("{\"replicas\":2147483647,\"podManagementPolicy\":\"OrderedReady\"}");
	settle();
	assert_int_equal(fake_count(CACHED_PODS), 2);
}

static void old_revisions_are_forgotten_past_the_limit(void **state)
{
	begin(SET("1", ",\"revisionHistoryLimit\":1"));
	for (int i = 0; i < 4; i++) {
		autofree char *patch = xprintf("{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"v%d\"}]}}}", i);
		change(patch);
		settle();
	}
	assert_int_equal(fake_count(CACHED_CONTROLLER_REVISIONS), 2);
}

static void an_undo_takes_the_old_revision_up_again(void **state)
{
	begin(SET("1", ""));
	autofree char *first = xstrdup(db()->status.current_revision);
	autounref struct apps_v1_stateful_set *before = api_copy(db());
	change("{" NEW_IMAGE "}");
	settle();
	autounref struct apps_v1_stateful_set *copy = api_copy(db());
	copy->spec.template = before->spec.template;
	assert_int_equal(world_update(&fake.world, CACHED_STATEFUL_SETS, copy, NULL, NULL), 0);
	settle();
	assert_string_equal(db()->status.current_revision, first);
	assert_int_equal(fake_count(CACHED_CONTROLLER_REVISIONS), 2);
	const struct apps_v1_controller_revision *revision = fake_live(CACHED_CONTROLLER_REVISIONS, "default", first);
	assert_int_equal(revision->revision, 3);
}

static void a_revision_is_written_as_clients_compare_it(void **state)
{
	scenario_put("{\"apiVersion\":\"apps/v1\",\"kind\":\"StatefulSet\"," META "},\"spec\":{\"selector\":{\"matchLabels\":{\"app\":\"db\"}},\"template\":{\"metadata\":{\"labels\":{\"app\":\"db\"}},"
		     "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i:1\",\"args\":[\"a<b && c>d\"]}]}}}}");
	fake_reconcile_all(&sets, CACHED_STATEFUL_SETS);
	const struct apps_v1_controller_revision *revision = NULL;
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == CACHED_CONTROLLER_REVISIONS)
			revision = fake.objects[i].live;
	assert_non_null(revision);
	assert_string_equal(revision->data.json,
		"{\"spec\":{\"template\":{\"$patch\":\"replace\",\"metadata\":{\"labels\":{\"app\":\"db\"}},\"spec\":{\"containers\":[{\"args\":[\"a\\u003cb \\u0026\\u0026 c\\u003ed\"],\"image\":\"i:1\","
		"\"imagePullPolicy\":\"IfNotPresent\",\"name\":\"c\",\"resources\":{},\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\"}],\"dnsPolicy\":\"ClusterFirst\","
		"\"restartPolicy\":\"Always\",\"schedulerName\":\"default-scheduler\",\"securityContext\":{},\"terminationGracePeriodSeconds\":30}}}}");
}

/* Conditions are the clients' own until the next status, which is told as a whole. */
static void a_clients_condition_ends_with_the_status_it_stands_in(void **state)
{
	begin(SET("1", ""));
	fake_edit(CACHED_STATEFUL_SETS, "default", "db", "status", "{\"status\":{\"conditions\":[{\"type\":\"Odd\",\"status\":\"True\"}]}}");
	settle();
	assert_int_equal(db()->status.conditions.len, 1);
	change("{\"replicas\":2}");
	settle();
	assert_int_equal(db()->status.replicas, 2);
	assert_int_equal(db()->status.conditions.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_round),
		cmocka_unit_test_setup_teardown(an_update_goes_from_the_last_to_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(a_partition_keeps_the_first_ones_old, setup, teardown),
		cmocka_unit_test_setup_teardown(on_delete_waits_for_the_user, setup, teardown),
		cmocka_unit_test_setup_teardown(max_unavailable_bounds_how_many_are_away, setup, teardown),
		cmocka_unit_test_setup_teardown(a_refusal_in_parallel_holds_up_only_the_next_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(huge_sets_are_made_bit_by_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(old_revisions_are_forgotten_past_the_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(a_revision_is_written_as_clients_compare_it, setup, teardown),
		cmocka_unit_test_setup_teardown(a_clients_condition_ends_with_the_status_it_stands_in, setup, teardown),
		cmocka_unit_test_setup_teardown(an_undo_takes_the_old_revision_up_again, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
