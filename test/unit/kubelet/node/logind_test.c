/* SPDX-License-Identifier: Apache-2.0 */
/* Against a peer that speaks for the bus and for logind over a socket of its own. */
#include "kubelet/node/logind.h"

#include "common/base/clock.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>
#include <cmocka.h>

#define WAIT_MS 20000

enum order { SAY_SHUTDOWN, SAY_NO_SHUTDOWN, HANG_UP, END };

static char dir[] = "/tmp/coracle-logind-XXXXXX";
static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int listen_fd, order_fd;
	enum order order;
	uint64_t limit_usec;
	int locks[8]; /* our ends of the locks that were taken */
	size_t lock_count, reloads, connections;
	bool refuses;
	/* what the kubelet's side was told */
	int began, called_off;
	bool held_when_told;
} peer = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static bool held(size_t index) {
	struct pollfd p = {.fd = peer.locks[index]};
	return poll(&p, 1, 0) == 0;
}

static void note(void) {
	pthread_cond_broadcast(&peer.changed);
}

static int answer(sd_bus_message *call, void *arg, sd_bus_error *problem) {
	const char *member = sd_bus_message_get_member(call), *texts[4] = {0};
	int r = 0;
	pthread_mutex_lock(&peer.lock);
	if (str_equal(member, "Hello")) {
		r = sd_bus_reply_method_return(call, "s", ":1.7");
	} else if (str_equal(member, "AddMatch") || str_equal(member, "RemoveMatch")) {
		r = sd_bus_reply_method_return(call, "");
	} else if (str_equal(member, "Get")) {
		r = sd_bus_reply_method_return(call, "v", "t", peer.limit_usec);
	} else if (str_equal(member, "KillUnit")) {
		autofree char *path = path_join(dir, "conf", "99-kubelet.conf", NULL), *text = NULL;
		size_t len;
		const char *value = file_read(AT_FDCWD, path, 4096, &text, &len, NULL) == 0 ? strstr(text, "InhibitDelayMaxSec=") : NULL;
		if (value)
			peer.limit_usec = strtoull(value + strlen("InhibitDelayMaxSec="), NULL, 10) * 1000000;
		peer.reloads++;
		r = sd_bus_reply_method_return(call, "");
	} else if (str_equal(member, "Inhibit")) {
		int ends[2] = {-1, -1};
		sd_bus_message_read(call, "ssss", &texts[0], &texts[1], &texts[2], &texts[3]);
		if (peer.refuses || !str_equal(texts[0], "shutdown") || !str_equal(texts[1], "kubelet") || !str_equal(texts[3], "delay") || peer.lock_count == array_len(peer.locks) || pipe2(ends, O_CLOEXEC) < 0) {
			r = sd_bus_reply_method_errorf(call, SD_BUS_ERROR_ACCESS_DENIED, "no");
		} else {
			r = sd_bus_reply_method_return(call, "h", ends[1]);
			close(ends[1]);
			peer.locks[peer.lock_count++] = ends[0];
		}
	} else {
		r = sd_bus_reply_method_errorf(call, SD_BUS_ERROR_UNKNOWN_METHOD, "%s", member);
	}
	note();
	pthread_mutex_unlock(&peer.lock);
	return r < 0 ? r : 1;
}

static void say(sd_bus *bus, int shuts_down) {
	sd_bus_message *signal = NULL;
	sd_bus_message_new_signal(bus, &signal, "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PrepareForShutdown");
	sd_bus_message_append(signal, "b", shuts_down);
	sd_bus_message_set_sender(signal, ":1.0");
	sd_bus_send(bus, signal, NULL);
	sd_bus_message_unref(signal);
}

static sd_bus *accept_bus(void) {
	sd_bus *bus = NULL;
	sd_id128_t id;
	int fd = accept4(peer.listen_fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0 || sd_id128_randomize(&id) < 0 || sd_bus_new(&bus) < 0)
		return NULL;
	sd_bus_set_fd(bus, fd, fd);
	sd_bus_set_server(bus, 1, id);
	sd_bus_set_anonymous(bus, 1);
	sd_bus_negotiate_fds(bus, 1);
	sd_bus_add_filter(bus, NULL, answer, NULL);
	sd_bus_start(bus);
	pthread_mutex_lock(&peer.lock);
	peer.connections++;
	note();
	pthread_mutex_unlock(&peer.lock);
	return bus;
}

static void *play(void *arg) {
	sd_bus *bus = NULL;
	for (;;) {
		int r = 1;
		while (bus && (r = sd_bus_process(bus, NULL)) > 0)
			;
		if (bus && r < 0)
			bus = sd_bus_close_unref(bus);
		struct pollfd fds[] = {{.fd = peer.order_fd, .events = POLLIN}, {.fd = bus ? sd_bus_get_fd(bus) : peer.listen_fd, .events = (short)(bus ? sd_bus_get_events(bus) : POLLIN)}};
		poll(fds, 2, -1);
		if (!bus && fds[1].revents)
			bus = accept_bus();
		if (!fds[0].revents)
			continue;
		eventfd_t once;
		eventfd_read(peer.order_fd, &once);
		pthread_mutex_lock(&peer.lock);
		enum order order = peer.order;
		pthread_mutex_unlock(&peer.lock);
		if (order == END || order == HANG_UP)
			bus = bus ? sd_bus_close_unref(bus) : NULL;
		if (order == END)
			return NULL;
		if (bus && (order == SAY_SHUTDOWN || order == SAY_NO_SHUTDOWN))
			say(bus, order == SAY_SHUTDOWN);
	}
}

static void order(enum order order) {
	pthread_mutex_lock(&peer.lock);
	peer.order = order;
	pthread_mutex_unlock(&peer.lock);
	eventfd_write(peer.order_fd, 1);
}

static bool wait_until(bool (*condition)(void)) {
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&peer.lock);
	bool good;
	for (int r = 0; !(good = condition()) && r == 0;)
		r = pthread_cond_timedwait(&peer.changed, &peer.lock, &until);
	pthread_mutex_unlock(&peer.lock);
	return good;
}

static void on_prepare(bool shuts_down, void *arg) {
	pthread_mutex_lock(&peer.lock);
	peer.held_when_told = held(peer.lock_count - 1);
	*(shuts_down ? &peer.began : &peer.called_off) += 1;
	note();
	pthread_mutex_unlock(&peer.lock);
}

static bool one_lock(void) { return peer.lock_count == 1; }
static bool two_locks(void) { return peer.lock_count == 2; }
static bool has_begun(void) { return peer.began == 1; }
static bool is_called_off(void) { return peer.called_off == 1; }
static bool three_connections(void) { return peer.connections >= 3; }

static void assert_let_go(size_t index) {
	struct pollfd p = {.fd = peer.locks[index]};
	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
}

static int set_up(void **state) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	autofree char *bus = xprintf("unix:path=%s/bus", dir);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/bus", dir);
	unlink(address.sun_path);
	setenv("DBUS_SYSTEM_BUS_ADDRESS", bus, 1);
	peer.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	peer.order_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	peer.lock_count = peer.reloads = peer.connections = 0;
	peer.began = peer.called_off = 0;
	peer.limit_usec = 5000000;
	peer.refuses = false;
	return bind(peer.listen_fd, (struct sockaddr *)&address, sizeof(address)) || listen(peer.listen_fd, 4) || pthread_create(&peer.thread, NULL, play, NULL);
}

static int tear_down(void **state) {
	order(END);
	pthread_join(peer.thread, NULL);
	for (size_t i = 0; i < peer.lock_count; i++)
		close(peer.locks[i]);
	close(peer.listen_fd);
	close(peer.order_fd);
	return 0;
}

static struct logind *start(int64_t seconds) {
	struct logind *logind = NULL;
	autoerror struct error err = {0};
	autofree char *conf = path_join(dir, "conf", NULL);
	const struct logind_options options = {.delay_ns = seconds * NSEC_PER_SEC, .conf_dir = conf, .retry_ms = 10, .on_prepare = on_prepare};
	assert_int_equal(logind_start(&options, &logind, &err), 0);
	return logind;
}

static void test_the_lock_is_held_until_pods_are_ended(void **state) {
	struct logind *logind = start(40);
	assert_true(wait_until(one_lock));
	assert_int_equal(peer.reloads, 1);
	assert_int_equal(peer.limit_usec, 40000000);
	assert_true(held(0));
	order(SAY_SHUTDOWN);
	assert_true(wait_until(has_begun));
	assert_true(peer.held_when_told);
	assert_let_go(0);
	/* It was called off: the next one must wait for us again. */
	order(SAY_NO_SHUTDOWN);
	assert_true(wait_until(is_called_off));
	assert_true(wait_until(two_locks));
	assert_true(held(1));
	logind_stop(logind);
	assert_let_go(1);
}

static void test_a_long_enough_limit_is_let_be(void **state) {
	struct logind *logind = start(5);
	assert_true(wait_until(one_lock));
	assert_int_equal(peer.reloads, 0);
	logind_stop(logind);
}

static void test_a_lost_bus_is_found_again(void **state) {
	struct logind *logind = start(5);
	assert_true(wait_until(one_lock));
	order(HANG_UP);
	assert_true(wait_until(two_locks));
	order(SAY_SHUTDOWN);
	assert_true(wait_until(has_begun));
	logind_stop(logind);
}

static void test_a_refusal_is_asked_again(void **state) {
	peer.refuses = true;
	struct logind *logind = start(5);
	assert_true(wait_until(three_connections));
	pthread_mutex_lock(&peer.lock);
	peer.refuses = false;
	pthread_mutex_unlock(&peer.lock);
	assert_true(wait_until(one_lock));
	logind_stop(logind);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_lock_is_held_until_pods_are_ended, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_long_enough_limit_is_let_be, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_lost_bus_is_found_again, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_refusal_is_asked_again, set_up, tear_down),
	};
	if (!mkdtemp(dir))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	file_remove_all(dir, NULL);
	return failed;
}
