/* SPDX-License-Identifier: Apache-2.0 */
/* API servers that know of each other: alone, joined, killed, stopped, forgotten by etcd, and with strangers that write beside them. */
#include "store_fixture.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#define SERVERS "/registry/coracle.servers/"
#define KNOWN_FOR_US 2000000 /* as members.c has it */

static int setup(void **state)
{
	struct test_etcd *etcd = xnew(struct test_etcd);

	test_etcd_start(etcd);
	*state = etcd;
	return 0;
}

static int teardown(void **state)
{
	test_etcd_stop(*state);
	free(*state);
	return 0;
}

static struct store *open_member(struct test_etcd *etcd)
{
	return open_store_with(etcd, (struct store_options){0});
}

/* Reads until it need not ask etcd any more. */
static void await_alone(struct store *store)
{
	for (int i = 0; i < 3000 && !store_fresh(store); i++) {
		assert_int_equal(await_fresh(store, 0, 10000), 0);
		usleep(10000);
	}
	assert_true(store_fresh(store));
}

static void await_together(struct store *store)
{
	for (int i = 0; i < 1000 && store_fresh(store); i++)
		usleep(10000);
	assert_false(store_fresh(store));
}

static size_t count_keys(struct test_etcd *etcd)
{
	struct buf out = BUF_INIT(65536);
	size_t count = 0;

	test_etcdctl(etcd, (const char *const[]){"get", "--prefix", "--keys-only", SERVERS, NULL}, &out);
	for (const char *at = out.data; at && (at = strstr(at, SERVERS)); at++)
		count++;
	buf_done(&out);
	return count;
}

static void await_keys(struct test_etcd *etcd, size_t count)
{
	for (int i = 0; i < 1000 && count_keys(etcd) != count; i++)
		usleep(20000);
	assert_int_equal(count_keys(etcd), count);
}

static void test_alone(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_member(etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);

	await_alone(store);
	for (int i = 0; i < 50; i++) {
		char key[32];
		snprintf(key, sizeof(key), "default/p%d", i);
		assert_int_equal(put(pods, key, "{\"metadata\":{}}", 0, NULL), 0);
		autoentry struct entry *entry = store_fresh(store) ? collection_get(pods, key) : NULL;
		assert_true(entry || !store_fresh(store));
	}
	/* Without etcd it reads on, until what is known lapses; which it may have on a machine that is slow to stop etcd. */
	int r = -ETIMEDOUT;
	for (int i = 0; i < 10 && r < 0; i++) {
		test_etcd_resume(etcd);
		await_alone(store);
		test_etcd_pause(etcd);
		r = await_fresh(store, 0, 200);
	}
	assert_int_equal(r, 0);
	usleep(KNOWN_FOR_US);
	assert_false(store_fresh(store));
	assert_int_equal(await_fresh(store, 0, 100), -ETIMEDOUT);
	test_etcd_resume(etcd);
	await_alone(store);
	assert_int_equal(count_keys(etcd), 1);
	store_close(store);
	await_keys(etcd, 0);
}

static void test_never(void **state)
{
	struct store *store = open_store(*state, 0);

	for (int i = 0; i < 10; i++) {
		assert_int_equal(await_fresh(store, 0, 10000), 0);
		assert_false(store_fresh(store));
	}
	store_close(store);
}

/* A refusal tells of a state that the cache may not have reached; who was told reads no older one. */
static void test_refused(void **state)
{
	struct store *store = open_member(*state);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct answer answers[64];

	await_alone(store);
	store_told(store, store_revision(store) + 1);
	assert_false(store_fresh(store));
	assert_int_equal(put(pods, "default/first", "{\"metadata\":{}}", 0, NULL), 0);
	await_alone(store);
	for (int round = 0; round < 20; round++) {
		char key[32];
		snprintf(key, sizeof(key), "default/p%d", round);
		for (size_t i = 0; i < array_len(answers); i++) {
			answers[i] = (struct answer)ANSWER_INIT;
			collection_put(pods, key, "{\"metadata\":{}}", strlen("{\"metadata\":{}}"), 0, 0, answer_done, &answers[i]);
		}
		size_t made = 0;
		for (size_t i = 0; i < array_len(answers); i++) {
			int r = answer_await(&answers[i], NULL);
			assert_true(r == 0 || r == -EEXIST);
			made += r == 0;
			assert_int_equal(await_fresh(store, 0, 10000), 0);
			autoentry struct entry *entry = collection_get(pods, key);
			assert_non_null(entry);
		}
		assert_int_equal(made, 1);
	}
	store_close(store);
}

/* ---- two ---- */

struct pair {
	struct store *store;
	struct collection *pods;
	_Atomic uint64_t told; /* the newest revision that any writer was told */
	atomic_bool stop;
	size_t reads, fresh;
};

static void *read_on(void *arg)
{
	struct pair *pair = arg;

	while (!atomic_load(&pair->stop)) {
		uint64_t least = atomic_load(&pair->told);
		bool fresh = store_fresh(pair->store);
		if (!fresh)
			assert_int_equal(await_fresh(pair->store, 0, 10000), 0);
		autoentry struct entry *entry = collection_get(pair->pods, "default/p");
		assert_true(entry->resource_version >= least);
		pair->reads++;
		pair->fresh += fresh;
	}
	return NULL;
}

static void count_up(struct collection *pods, struct pair *pair, int times)
{
	autoentry struct entry *entry = collection_get(pods, "default/p");
	uint64_t revision = entry ? entry->resource_version : 0;

	for (int i = 0; i < times; i++) {
		struct entry *written = NULL;
		int r = put(pods, "default/p", "{\"metadata\":{}}", revision, &written);
		assert_true(r == 0 || r == -EAGAIN || r == -EEXIST);
		revision = written->resource_version;
		entry_unref(written);
		if (r == 0 && revision > atomic_load(&pair->told))
			atomic_store(&pair->told, revision);
	}
}

/* One that is alone reads while others come, write and go: whatever they were told, it sees. */
static void test_come_and_go(void **state)
{
	struct test_etcd *etcd = *state;
	struct pair pair = {.store = open_member(etcd)};
	pthread_t reader;
	size_t alone_before = 0;

	pair.pods = store_collection(pair.store, "pods", true, NULL, NULL);
	assert_int_equal(put(pair.pods, "default/p", "{\"metadata\":{}}", 0, NULL), 0);
	await_alone(pair.store);
	pthread_create(&reader, NULL, read_on, &pair);
	for (int round = 0; round < 3; round++) {
		struct store *other = open_member(etcd);
		struct collection *pods = store_collection(other, "pods", true, NULL, NULL);
		count_up(pods, &pair, 100);
		assert_false(store_fresh(other));
		assert_int_equal(count_keys(etcd), 2);
		count_up(pair.pods, &pair, 20);
		assert_int_equal(await_fresh(other, 0, 10000), 0);
		autoentry struct entry *entry = collection_get(pods, "default/p");
		assert_true(entry->resource_version >= atomic_load(&pair.told));
		store_close(other);
		await_alone(pair.store);
		count_up(pair.pods, &pair, 20);
		alone_before++;
	}
	atomic_store(&pair.stop, true);
	pthread_join(reader, NULL);
	assert_true(pair.reads > 100 && pair.fresh > 0 && pair.fresh < pair.reads);
	store_close(pair.store);
	assert_int_equal(alone_before, 3);
}

/* ---- one that does not hear ---- */

struct deaf {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool hears, is_deaf;
};

static void be_deaf(void *arg)
{
	struct deaf *deaf = arg;

	pthread_mutex_lock(&deaf->lock);
	deaf->is_deaf = true;
	pthread_cond_broadcast(&deaf->cond);
	while (!deaf->hears)
		pthread_cond_wait(&deaf->cond, &deaf->lock);
	pthread_mutex_unlock(&deaf->lock);
}

/* It was alone a moment ago, and no event reaches it: who comes is told nothing until it does not believe that any more. */
static void test_deaf(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_member(etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	struct deaf deaf = {.lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER};

	await_alone(store);
	pthread_mutex_lock(&deaf.lock);
	loop_post(store->loop, be_deaf, &deaf);
	while (!deaf.is_deaf)
		pthread_cond_wait(&deaf.cond, &deaf.lock);
	pthread_mutex_unlock(&deaf.lock);
	struct store *other = open_member(etcd);
	struct collection *others = store_collection(other, "pods", true, NULL, NULL);
	assert_int_equal(put(others, "default/p", "{\"metadata\":{}}", 0, NULL), 0);
	assert_false(store_fresh(store));
	pthread_mutex_lock(&deaf.lock);
	deaf.hears = true;
	pthread_cond_broadcast(&deaf.cond);
	pthread_mutex_unlock(&deaf.lock);
	assert_int_equal(await_fresh(store, 0, 10000), 0);
	autoentry struct entry *entry = collection_get(pods, "default/p");
	assert_non_null(entry);
	store_close(other);
	store_close(store);
}

/* ---- another process ---- */

struct child {
	pid_t pid;
	atomic_bool *alone; /* shared with it */
};

static _Noreturn void be_child(struct test_etcd *etcd, atomic_bool *alone)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	await_alone(open_member(etcd));
	atomic_store(alone, true);
	for (;;)
		pause();
}

static struct child start_child(struct test_etcd *etcd)
{
	struct child child = {.alone = mmap(NULL, sizeof(*child.alone), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};

	child.pid = fork();
	if (child.pid == 0)
		be_child(etcd, child.alone);
	for (int i = 0; i < 3000 && !atomic_load(child.alone); i++)
		usleep(10000);
	assert_true(atomic_load(child.alone));
	return child;
}

static void end_child(struct child *child)
{
	kill(child->pid, SIGKILL);
	waitpid(child->pid, NULL, 0);
	munmap(child->alone, sizeof(*child->alone));
}

/* A process that was killed is waited for by nobody who can see that, and its key does not stay. */
static void test_killed(void **state)
{
	struct test_etcd *etcd = *state;
	struct child child = start_child(etcd);

	end_child(&child);
	assert_int_equal(count_keys(etcd), 1);
	struct store *store = open_member(etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	assert_int_equal(put(pods, "default/p", "{\"metadata\":{}}", 0, NULL), 0);
	await_keys(etcd, 1);
	await_alone(store);
	store_close(store);
}

/* ---- what befalls the key ---- */

/* Whose key is taken away tells nothing until it has one again. */
static void test_forgotten(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_member(etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);

	await_alone(store);
	for (int round = 0; round < 3; round++) {
		test_etcdctl_run(etcd, "del", "--prefix", SERVERS);
		char key[32];
		snprintf(key, sizeof(key), "default/p%d", round);
		assert_int_equal(put(pods, key, "{\"metadata\":{}}", 0, NULL), 0);
		assert_int_equal(count_keys(etcd), 1);
		await_alone(store);
	}
	store_close(store);
}

static void test_outlives_etcd(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_member(etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);

	await_alone(store);
	test_etcd_kill(etcd);
	test_etcd_launch(etcd);
	assert_int_equal(put(pods, "default/p", "{\"metadata\":{}}", 0, NULL), 0);
	await_alone(store);
	assert_int_equal(count_keys(etcd), 1);
	store_close(store);
	await_keys(etcd, 0);
}

static void fill(struct test_etcd *etcd, struct collection *pods)
{
	char key[32];
	autofree char *value = object("big", 1, 400000);
	int r = 0;

	for (int i = 0; i < 200 && r == 0; i++) {
		snprintf(key, sizeof(key), "default/big%d", i);
		r = put(pods, key, value, 0, NULL);
	}
	assert_int_equal(r, -ENOSPC);
}

/* An etcd that is full is read and deleted from, by servers that begin then, too; one that was alone learns that it is not. */
static void test_full(void **state)
{
	struct test_etcd etcd;

	setenv("ETCD_QUOTA_BACKEND_BYTES", "4000000", 1);
	test_etcd_start(&etcd);
	unsetenv("ETCD_QUOTA_BACKEND_BYTES");
	struct store *store = open_member(&etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);
	assert_int_equal(put(pods, "default/p", "{\"metadata\":{}}", 0, NULL), 0);
	await_alone(store);
	fill(&etcd, pods);
	await_alone(store);
	struct store *other = open_member(&etcd);
	struct collection *others = store_collection(other, "pods", true, NULL, NULL);
	assert_int_equal(await_fresh(other, 0, 10000), 0);
	assert_int_equal(del(others, "default/p", 0, NULL), 0);
	assert_int_equal(await_fresh(store, 0, 10000), 0);
	assert_null(collection_get(pods, "default/p"));
	assert_false(store_fresh(store) || store_fresh(other));
	assert_int_equal(put(others, "default/q", "{\"metadata\":{}}", 0, NULL), -ENOSPC);
	/* Room again: both come back, and when one goes the other is alone. */
	test_etcdctl_run(&etcd, "del", "--prefix", "/registry/pods/default/big");
	struct buf out = BUF_INIT(65536);
	test_etcdctl(&etcd, (const char *const[]){"get", "/registry", "-w", "json", NULL}, &out);
	char revision[32];
	snprintf(revision, sizeof(revision), "%d", atoi(strstr(out.data, "\"revision\":") + 11));
	buf_done(&out);
	test_etcdctl_run(&etcd, "compaction", revision);
	test_etcdctl_run(&etcd, "defrag");
	test_etcdctl_run(&etcd, "alarm", "disarm");
	await_keys(&etcd, 2);
	assert_int_equal(put(others, "default/q", "{\"metadata\":{}}", 0, NULL), 0);
	assert_int_equal(await_fresh(store, 0, 10000), 0);
	autoentry struct entry *entry = collection_get(pods, "default/q");
	assert_non_null(entry);
	store_close(other);
	await_alone(store);
	store_close(store);
	test_etcd_stop(&etcd);
}

static void test_strangers(void **state)
{
	struct test_etcd *etcd = *state;
	struct store *store = open_member(etcd);
	struct collection *pods = store_collection(store, "pods", true, NULL, NULL);

	await_alone(store);
	test_etcdctl_run(etcd, "put", "/registry/pods/default/p", "{\"metadata\":{}}");
	await_together(store);
	test_etcdctl_run(etcd, "put", "/registry/pods/default/q", "{\"metadata\":{}}");
	assert_int_equal(await_fresh(store, 0, 10000), 0);
	autoentry struct entry *entry = collection_get(pods, "default/q");
	assert_non_null(entry);
	/* A key of another kind of server, or of a later version, is one that may claim what it likes. */
	test_etcdctl_run(etcd, "put", SERVERS "other", "\x01 of another kind");
	assert_int_equal(put(pods, "default/r", "{\"metadata\":{}}", 0, NULL), 0);
	struct store *third = open_member(etcd);
	struct collection *thirds = store_collection(third, "pods", true, NULL, NULL);
	assert_int_equal(put(thirds, "default/s", "{\"metadata\":{}}", 0, NULL), 0);
	assert_false(store_fresh(third));
	store_close(third);
	store_close(store);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_never, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deaf, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outlives_etcd, setup, teardown),
		cmocka_unit_test(test_full),
		cmocka_unit_test_setup_teardown(test_strangers, setup, teardown),
	};

	log_init(2, LOG_FORMAT_TEXT, getenv("V") ? atoi(getenv("V")) : 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
