/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kubelet/device/messages.h"

#include <errno.h>

static void test_fields(void **state) {
	autobuf struct buf out = BUF_INIT(1024);
	proto_put_number(&out, 3, 300);
	proto_put_number(&out, 4, 0);
	proto_put_text(&out, 200, "text");
	proto_put_text(&out, 5, "");
	proto_put_bytes(&out, 6, "", 0);
	struct cursor c = cursor_of(out.data, out.len);
	struct proto_field f;
	assert_true(proto_next(&c, &f));
	assert_int_equal(f.number, 3);
	assert_int_equal(f.value, 300);
	assert_true(proto_next(&c, &f));
	assert_int_equal(f.number, 200);
	autofree char *text = proto_text(&f);
	assert_string_equal(text, "text");
	assert_true(proto_next(&c, &f));
	assert_int_equal(f.number, 6);
	assert_int_equal(cursor_left(&f.bytes), 0);
	assert_false(proto_next(&c, &f));
	assert_false(c.failed);
	/* Cut off anywhere but between two fields it is no message. */
	for (size_t len = 1; len < out.len; len++) {
		c = cursor_of(out.data, len);
		while (proto_next(&c, &f))
			;
		assert_int_equal(c.failed, len != 3 && len != 3 + 7);
	}
}

static void test_frames(void **state) {
	autobuf struct buf out = BUF_INIT(1024);
	size_t len;
	grpc_frame(&out, "abc", 3);
	assert_int_equal(grpc_unframe(out.data, out.len, &len), 0);
	assert_int_equal(len, 3);
	for (size_t i = 0; i < out.len; i++)
		assert_int_equal(grpc_unframe(out.data, i, &len), -EAGAIN);
	out.data[0] = 1;
	assert_int_equal(grpc_unframe(out.data, out.len, &len), -ENOTSUP);
	assert_int_equal(grpc_unframe("\0\x7f\0\0\0", 5, &len), -EMSGSIZE);
}

static void put_device(struct buf *out, const char *id, const char *health) {
	autobuf struct buf one = BUF_INIT(1024);
	proto_put_text(&one, 1, id);
	proto_put_text(&one, 2, health);
	proto_put_bytes(out, 1, one.data, one.len);
}

static void test_devices(void **state) {
	autobuf struct buf out = BUF_INIT(1024), nameless = BUF_INIT(1024);
	struct device_list list;
	put_device(&out, "a", "Healthy");
	put_device(&out, "b", "Unhealthy");
	put_device(&out, "a", "Unhealthy");
	assert_int_equal(device_list_read(out.data, out.len, &list), 0);
	assert_int_equal(list.len, 2);
	assert_string_equal(list.items[0].id, "a");
	assert_false(list.items[0].healthy);
	device_list_done(&list);
	assert_int_equal(device_list_read(NULL, 0, &list), 0);
	assert_int_equal(list.len, 0);
	put_device(&nameless, "", "Healthy");
	assert_int_equal(device_list_read(nameless.data, nameless.len, &list), -EBADMSG);
}

static int read_mount(const char *inside, const char *outside, struct error *err) {
	autobuf struct buf mount = BUF_INIT(1024), part = BUF_INIT(1024), out = BUF_INIT(1024);
	autoarena struct arena *arena = arena_new();
	struct device_grant grant = {0};
	proto_put_text(&mount, 1, inside);
	proto_put_text(&mount, 2, outside);
	proto_put_bytes(&part, 2, mount.data, mount.len);
	proto_put_bytes(&out, 1, part.data, part.len);
	int r = device_allocated_read(out.data, out.len, arena, &grant, err);
	if (r == 0) {
		assert_int_equal(grant.mount_count, 1);
		assert_string_equal(grant.mounts[0].container_path, inside);
		assert_string_equal(grant.mounts[0].host_path, outside);
	}
	return r;
}

static void test_answers(void **state) {
	autoerror struct error err = {0};
	assert_int_equal(read_mount("/in", "/out", &err), 0);
	assert_int_equal(read_mount("in", "/out", &err), -EBADMSG);
	error_done(&err);
	assert_int_equal(read_mount("/in", "", &err), -EBADMSG);
	error_done(&err);
	autoarena struct arena *arena = arena_new();
	struct device_grant grant = {0};
	assert_int_equal(device_allocated_read("", 0, arena, &grant, &err), -EBADMSG);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields), cmocka_unit_test(test_frames), cmocka_unit_test(test_devices), cmocka_unit_test(test_answers)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
