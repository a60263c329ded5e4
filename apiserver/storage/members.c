/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who else serves this etcd. Each API server keeps a key of its own below coracle.servers/, bound to a lease that it renews: while the key is there it is a
 * member. Nothing is told to a client, neither a write's outcome nor a consistent read, but by a member. So a server that finds no other key knows that
 * nobody else has told anything that its own cache lacks: it is alone, and its consistent reads need not ask etcd.
 *
 * That knowledge lasts ALONE_NS from before the read that showed it. It ends at once when the event of another key comes. A server that says "alone" in its key
 * may believe it; so one that comes puts its key first and looks at the others' then:
 *
 *   - none says "alone": it is a member;
 *   - one does: it waits until that one says "shared" (it will, when it sees the new key), is gone, has died with its process, or until what it knew has
 *     lapsed, since any read that it sends after the new key shows it that key.
 *
 * Nobody believes to be alone before etcd has confirmed for SETTLE_NS that its key says so, nor after another value was sent; where it is not known what became of a
 * put, all begins anew under another key.
 *
 * An etcd without room takes no key, and must be read and deleted from all the same. Who is refused for that takes the keys away of those that say "alone", waits
 * until what they knew has lapsed, and then counts as a member for KEYLESS_NS from each refusal on, if a look after it shows nobody who says "alone". Where
 * there is room again a key that says so was put after that refusal, and its server believes it only when that time is over.
 *
 * What this rests on: that clocks of two machines advance alike within the margins, over sleep too (CLOCK_BOOTTIME), and
 * that nobody but members writes below the prefix. Where somebody does, as a restore or another implementation might, his first event shows it, and
 * etcd is asked again as long as that may go on.
 */
#include "apiserver/storage/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define TTL_SECONDS 15
#define RENEW_NS (TTL_SECONDS / 3 * NSEC_PER_SEC)
#define LEASE_MARGIN_NS (2 * NSEC_PER_SEC)
#define ALONE_NS (2 * NSEC_PER_SEC)
#define ALONE_MARGIN_NS (500 * NSEC_PER_MSEC)
#define KEYLESS_NS (500 * NSEC_PER_MSEC)
#define SETTLE_NS (NSEC_PER_SEC)
#define LOOK_AGAIN_NS (20 * NSEC_PER_MSEC)
#define AGAIN_NS (200 * NSEC_PER_MSEC)
#define STRANGER_FIRST_NS NSEC_PER_SEC
#define STRANGER_MOST_NS (64 * NSEC_PER_SEC)
#define CALL_TIMEOUT_MS 2000
#define LEAVE_SECONDS 1
#define MAX_STAT 1024
#define MAX_VALUE 256

enum state {
	OUTSIDE,  /* has no key, or does not know */
	ENTERING, /* lease, key, a look at the others */
	INSIDE,
	KEYLESS, /* inside without a key: etcd has no room for it */
};
/* A process, so that one on the same machine can tell whether it still runs. */
struct process_id {
	char boot[40], pid_namespace[40];
	long pid;
	unsigned long long started;
};
struct members {
	struct store *store;
	bool never_alone;
	struct process_id process;
	_Atomic int64_t member_until, alone_until; /* boot time; 0: is not */
	atomic_bool reading; /* a read that renews was asked for */

	/* The store's thread: */
	enum state state;
	unsigned life; /* counts beginnings: answers to earlier ones are nobody's */
	char *path;
	int64_t lease, lease_until, put_at, claimed_at, denied_at, stranger_until, stranger_ns;
	bool says_alone, shall_say_alone; /* in etcd, as last confirmed; what it is to become */
	bool putting;
	int64_t refused_at;   /* when the request was sent that etcd had no room for; 0: it had */
	int64_t lapsing_until; /* what those may know whose keys were taken away */
	bool displacing;
	bool leaving; /* its last word to etcd is on the way; under open_lock */
	struct loop_timer *timer;
};

/* One call to etcd. */
struct call {
	struct members *members;
	unsigned life;
	int64_t sent;
	bool alone;
};

/* ---- processes ---- */

static unsigned long long start_time(long pid)
{
	char path[64];
	autofree char *text = NULL;
	size_t len;
	unsigned long long started = 0;

	snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
	if (file_read(AT_FDCWD, path, MAX_STAT, &text, &len, NULL) < 0)
		return 0;
	/* The name before it may hold anything, a parenthesis too. */
	const char *rest = strrchr(text, ')');
	if (!rest || sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &started) != 1)
		return 0;
	return started;
}

static struct process_id this_process(void)
{
	struct process_id process = {.pid = (long)getpid(), .boot = "?", .pid_namespace = "?"};
	autofree char *boot = NULL;
	size_t len;

	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", MAX_STAT, &boot, &len, NULL) == 0)
		snprintf(process.boot, sizeof(process.boot), "%.*s", (int)strcspn(boot, " \n"), boot);
	ssize_t n = readlink("/proc/self/ns/pid", process.pid_namespace, sizeof(process.pid_namespace) - 1);
	if (n > 0)
		process.pid_namespace[n] = '\0';
	process.started = start_time(process.pid);
	return process;
}

/* True only where that is certain: what cannot be seen from here may live. */
static bool has_died(const struct members *members, const struct process_id *other)
{
	const struct process_id *own = &members->process;

	if (own->boot[0] == '?' || own->pid_namespace[0] == '?' || !str_equal(own->boot, other->boot) || !str_equal(own->pid_namespace, other->pid_namespace))
		return false;
	if (kill((pid_t)other->pid, 0) < 0 && errno == ESRCH)
		return true;
	unsigned long long started = start_time(other->pid);
	return started && other->started && started != other->started;
}

/* ---- values ---- */

static char *value_make(const struct members *members, bool alone)
{
	const struct process_id *p = &members->process;
	return xprintf("%s %s %s %ld %llu", alone ? "alone" : "shared", p->boot, p->pid_namespace, p->pid, p->started);
}

/* Whether its server may believe to be alone. What a later version writes may mean that. */
static bool value_claims(const struct members *members, struct etcd_slice value, bool *ret_dead)
{
	char word[8] = "";
	struct process_id process = {0};
	autofree char *text = xstrndup(value.data, min_of(value.len, (size_t)MAX_VALUE));

	bool known = sscanf(text, "%7s %39s %39s %ld %llu", word, process.boot, process.pid_namespace, &process.pid, &process.started) == 5;
	*ret_dead = known && process.pid > 0 && process.pid <= INT_MAX && has_died(members, &process);
	return !*ret_dead && !(known && str_equal(word, "shared"));
}

/* ---- calls ---- */

static void send_call(struct members *members, const char *method, struct buf *request, bool alone, etcd_done done)
{
	struct call *call = xnew(struct call);

	*call = (struct call){members, members->life, clock_boottime_ns(), alone};
	etcd_message_end(request);
	if (etcd_call(members->store->etcd, &(struct etcd_call_options){.method = method, .timeout_ms = CALL_TIMEOUT_MS}, request, done, call) < 0)
		done(-EBUSY, "", NULL, 0, call);
}

/* False where its answer concerns nobody any more. */
static bool take_call(void *arg, struct call *ret)
{
	struct call *call = arg;

	*ret = *call;
	free(call);
	return ret->life == ret->members->life && !ret->members->store->closing;
}

static void on_ignored(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct call call;
	take_call(arg, &call);
}

static void send_give_up(struct members *members, int64_t lease, etcd_done done)
{
	struct buf request = BUF_INIT(256);

	etcd_message_begin(&request);
	etcd_write_lease_id(&request, lease);
	send_call(members, ETCD_LEASE_REVOKE, &request, false, done);
}

static void give_up(struct members *members, int64_t lease)
{
	send_give_up(members, lease, on_ignored);
}

/* ---- coming and going ---- */

static void leave_outside(struct members *members, int64_t again_ns)
{
	atomic_store(&members->alone_until, 0);
	atomic_store(&members->member_until, 0);
	members->state = OUTSIDE;
	members->life++;
	members->putting = false;
	members->refused_at = 0;
	if (members->lease)
		give_up(members, members->lease);
	members->lease = 0;
	loop_timer_arm(members->timer, again_ns);
}

static void on_put(int errnum, const char *text, const void *data, size_t len, void *arg);

static void put(struct members *members)
{
	struct store *store = members->store;
	struct buf request = BUF_INIT(4096);
	bool alone = members->shall_say_alone;
	autofree char *key = store_key(store, members->path), *value = value_make(members, alone);

	members->putting = true;
	etcd_message_begin(&request);
	etcd_write_txn(&request, &(struct etcd_txn){.key = ETCD_SLICE(key), .always = true, .then = ETCD_PUT, .value = ETCD_SLICE(value), .lease = members->lease});
	send_call(members, ETCD_TXN, &request, alone, on_put);
}

/* One put at a time, or the earlier one might be the last to arrive. */
static void say(struct members *members, bool alone)
{
	if (!alone) {
		atomic_store(&members->alone_until, 0);
		members->denied_at = clock_boottime_ns();
	}
	members->shall_say_alone = alone;
	if (!members->putting && members->says_alone != alone && clock_boottime_ns() >= members->refused_at + AGAIN_NS)
		put(members);
}

/* A read that was sent at that time has shown no other. */
static void know_alone(struct members *members, int64_t sent, uint64_t revision)
{
	int64_t now = clock_boottime_ns();

	if (members->never_alone || now < members->stranger_until || sent < members->denied_at)
		return;
	if (!members->says_alone || members->putting || !members->shall_say_alone)
		return say(members, true);
	if (sent < members->claimed_at + SETTLE_NS)
		return;
	/* Others may have been here since it was last known: what they told is not older than this. */
	if (atomic_load(&members->alone_until) <= now)
		store_told(members->store, revision);
	atomic_store(&members->alone_until, min_of(sent + ALONE_NS, atomic_load(&members->member_until)));
}

static void look(struct members *members);

/* How many other keys there are, and whether one of them may believe to be alone. `displace`: such are taken away. */
static size_t count_others(struct members *members, const struct etcd_range_response *response, bool displace, bool *ret_self, bool *ret_claimed)
{
	struct cursor kvs = response->kvs;
	struct etcd_kv kv;
	size_t others = 0;
	autofree char *own = store_key(members->store, members->path);

	*ret_self = *ret_claimed = false;
	while (etcd_next_kv(&kvs, &kv)) {
		bool dead;
		if (kv.key.len == strlen(own) && memcmp(kv.key.data, own, kv.key.len) == 0) {
			*ret_self = true;
			continue;
		}
		others++;
		bool claims = value_claims(members, kv.value, &dead);
		*ret_claimed = *ret_claimed || claims;
		if ((dead || (claims && displace)) && kv.lease)
			give_up(members, kv.lease);
	}
	return others;
}

static void enter(struct members *members, enum state state, int64_t until)
{
	struct store *store = members->store;

	members->state = state;
	atomic_store(&members->member_until, until);
	loop_timer_arm(members->timer, state == INSIDE ? RENEW_NS : AGAIN_NS);
	write_release(store);
	waits_revision(store->waits);
}

/* Etcd has no room; this look was sent after it had said so. */
static void enter_keyless(struct members *members, bool claimed)
{
	int64_t now = clock_boottime_ns();

	if (members->displacing && !claimed)
		members->lapsing_until = now + ALONE_NS + ALONE_MARGIN_NS;
	members->displacing = claimed;
	if (claimed || now < members->lapsing_until) {
		members->state = OUTSIDE;
		return loop_timer_arm(members->timer, LOOK_AGAIN_NS);
	}
	enter(members, KEYLESS, members->refused_at + KEYLESS_NS);
}

static void on_looked(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct call call;
	struct etcd_range_response response;
	bool self, claimed;

	if (!take_call(arg, &call))
		return;
	struct members *members = call.members;
	if (errnum || etcd_read_range(data, len, &response) < 0)
		return loop_timer_arm(members->timer, AGAIN_NS);
	size_t others = count_others(members, &response, members->refused_at != 0, &self, &claimed);
	if (members->refused_at)
		return enter_keyless(members, claimed);
	if (!self || clock_boottime_ns() >= members->lease_until)
		return leave_outside(members, 0);
	if (others)
		say(members, false);
	if (claimed && clock_boottime_ns() < members->put_at + ALONE_NS + ALONE_MARGIN_NS)
		return loop_timer_arm(members->timer, LOOK_AGAIN_NS);
	enter(members, INSIDE, members->lease_until);
	if (!others)
		know_alone(members, call.sent, (uint64_t)response.revision);
}

void members_write_range(struct store *store, struct buf *request)
{
	autofree char *key = store_key(store, KEY_SERVERS), *end = store_key(store, KEY_SERVERS);

	end[strlen(end) - 1]++;
	etcd_write_range(request, &(struct etcd_range){.key = ETCD_SLICE(key), .end = ETCD_SLICE(end)});
}

static void look(struct members *members)
{
	struct buf request = BUF_INIT(4096);

	etcd_message_begin(&request);
	members_write_range(members->store, &request);
	send_call(members, ETCD_RANGE, &request, false, on_looked);
}

static void have_no_room(struct members *members, int64_t sent)
{
	if (members->lease)
		give_up(members, members->lease);
	members->lease = 0;
	members->life++; /* of lease and key one may have got through */
	members->putting = false;
	members->refused_at = sent;
	look(members);
}

static void on_put(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct call call;

	if (!take_call(arg, &call))
		return;
	struct members *members = call.members;
	members->putting = false;
	if (errnum == -ENOSPC && members->state == INSIDE) {
		members->refused_at = call.sent; /* the key stays as it is */
		return;
	}
	if (errnum == -ENOSPC)
		return have_no_room(members, call.sent);
	if (errnum == -ENOENT && members->state == ENTERING && !members->lease_until)
		return; /* on_granted() sends it again */
	/* It may come yet, over what is said later: under another key nothing of that harms. */
	if (errnum)
		return leave_outside(members, AGAIN_NS);
	if (call.alone != members->says_alone)
		log_info(call.alone ? "alone on this etcd: consistent reads need not ask it" : "others serve this etcd: consistent reads ask it");
	members->says_alone = call.alone;
	members->refused_at = 0;
	members->claimed_at = clock_boottime_ns();
	if (members->state == ENTERING && !members->put_at) {
		members->put_at = members->claimed_at;
		if (members->lease_until)
			look(members);
	} else if (members->shall_say_alone != members->says_alone) {
		put(members);
	}
}

static void on_granted(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct call call;
	struct etcd_lease_response response;

	if (!take_call(arg, &call))
		return;
	struct members *members = call.members;
	if (errnum == -ENOSPC)
		return have_no_room(members, call.sent);
	if (errnum || etcd_read_lease_grant(data, len, &response) < 0)
		return leave_outside(members, AGAIN_NS);
	members->lease_until = call.sent + min_of(response.ttl, (int64_t)TTL_SECONDS) * NSEC_PER_SEC - LEASE_MARGIN_NS;
	if (members->put_at)
		look(members);
	else if (!members->putting)
		put(members); /* the first one was there before its lease */
}

/* The lease and the key at once, so that etcd makes both durable by one write to its disk. */
static void begin(struct members *members)
{
	struct buf request = BUF_INIT(256);

	members->state = ENTERING;
	members->life++;
	members->says_alone = false;
	members->put_at = members->refused_at = members->lease_until = 0;
	members->shall_say_alone = !members->never_alone && clock_boottime_ns() >= members->stranger_until;
	members->lease = (int64_t)(random_u64() >> 1) | 1;
	free(members->path);
	members->path = xprintf("%s%016llx", KEY_SERVERS, (unsigned long long)random_u64());
	etcd_message_begin(&request);
	etcd_write_lease_grant(&request, TTL_SECONDS, members->lease);
	send_call(members, ETCD_LEASE_GRANT, &request, false, on_granted);
	if (members->state == ENTERING)
		put(members);
}

static void on_renewed(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct call call;
	struct etcd_lease_response response;

	if (!take_call(arg, &call))
		return;
	struct members *members = call.members;
	if (errnum == 0 && etcd_read_lease_grant(data, len, &response) < 0)
		errnum = -EIO;
	if (errnum == -ENOENT || (errnum == 0 && response.ttl <= 0))
		return leave_outside(members, 0);
	if (errnum)
		return loop_timer_arm(members->timer, AGAIN_NS);
	members->lease_until = call.sent + min_of(response.ttl, (int64_t)TTL_SECONDS) * NSEC_PER_SEC - LEASE_MARGIN_NS;
	enter(members, INSIDE, members->lease_until);
}

static void on_timer(void *arg)
{
	struct members *members = arg;
	struct buf request = BUF_INIT(256);

	if (members->state == OUTSIDE || members->state == KEYLESS)
		return begin(members);
	if (members->state == ENTERING)
		return look(members);
	etcd_message_begin(&request);
	etcd_write_lease_id(&request, members->lease);
	send_call(members, ETCD_LEASE_KEEPALIVE, &request, false, on_renewed);
}

/* ---- what others call ---- */

void members_read(struct members *members, int64_t sent, const struct etcd_range_response *response)
{
	bool self, claimed;

	atomic_store(&members->reading, false);
	if (!response || members->state == OUTSIDE || members->state == ENTERING)
		return;
	size_t others = count_others(members, response, false, &self, &claimed);
	if (members->state == KEYLESS ? claimed : !self)
		leave_outside(members, 0);
	else if (members->state == KEYLESS)
		return;
	else if (others)
		say(members, false);
	else
		know_alone(members, sent, (uint64_t)response->revision);
}

void members_event(struct members *members, const char *path, size_t len, bool deleted)
{
	bool own = members->path && len == strlen(members->path) && memcmp(path, members->path, len) == 0;

	if (members->state == OUTSIDE || members->state == KEYLESS)
		return;
	if (deleted && own)
		leave_outside(members, 0);
	else if (!deleted && !own)
		say(members, false);
}

void members_stranger(struct members *members)
{
	int64_t now = clock_boottime_ns();

	if (!members->shall_say_alone)
		return;
	/* One time it may be a server that comes and writes before its key is there. Who goes on is asked about ever more seldom. */
	bool again = members->stranger_ns && now - members->stranger_until < 4 * members->stranger_ns;
	members->stranger_ns = again ? min_of(members->stranger_ns * 2, STRANGER_MOST_NS) : STRANGER_FIRST_NS;
	if (again)
		log_info("somebody else writes to this etcd: consistent reads ask it for a while", LOG_INT("seconds", members->stranger_ns / NSEC_PER_SEC));
	members->stranger_until = now + members->stranger_ns;
	say(members, false);
}

bool members_inside(const struct members *members)
{
	return clock_boottime_ns() < atomic_load(&members->member_until);
}

static void renew_knowledge(void *arg)
{
	struct members *members = arg;

	if (!members->store->closing)
		waits_read(members->store->waits);
}

bool members_alone(struct members *members)
{
	int64_t until = atomic_load(&members->alone_until), left = until ? until - clock_boottime_ns() : 0;

	if (left <= 0)
		return false;
	/* Who reads all the time shall never have to wait for it. */
	if (left < ALONE_NS / 2 && !atomic_exchange(&members->reading, true))
		loop_post(members->store->loop, renew_knowledge, members);
	return true;
}

struct members *members_new(struct store *store, bool never_alone)
{
	struct members *members = xnew(struct members);

	members->store = store;
	members->never_alone = never_alone;
	members->process = this_process();
	return members;
}

void members_start(struct members *members)
{
	members->timer = loop_timer_new(members->store->loop, on_timer, members);
	begin(members);
}

static void on_left(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct call call;

	take_call(arg, &call);
	pthread_mutex_lock(&call.members->store->open_lock);
	call.members->leaving = false;
	pthread_cond_broadcast(&call.members->store->open_cond);
	pthread_mutex_unlock(&call.members->store->open_lock);
}

void members_stop(struct members *members)
{
	atomic_store(&members->alone_until, 0);
	atomic_store(&members->member_until, 0);
	loop_timer_free(take_ptr(members->timer));
	if (!members->lease || !etcd_client_healthy(members->store->etcd, NULL))
		return;
	members->leaving = true;
	send_give_up(members, members->lease, on_left);
}

void members_await_left(struct members *members)
{
	struct store *store = members->store;
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LEAVE_SECONDS;
	pthread_mutex_lock(&store->open_lock);
	while (members->leaving && pthread_cond_timedwait(&store->open_cond, &store->open_lock, &until) == 0)
		;
	pthread_mutex_unlock(&store->open_lock);
}

void members_free(struct members *members)
{
	if (!members)
		return;
	free(members->path);
	free(members);
}
