/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "kubelet/runtime/cdi.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/image/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void test_names(void **state) {
	static const char *const good[] = {"vendor.com/class=name", "v/c=0", "a-b_c.d/e-f.g=all:x_1"}, *const bad[] = {"", "vendor.com/class", "vendor.com/class=", "/class=n", "v/=n", "1v/c=n", "v/c/d=n", "v/c=n ", "v/c=-n", "v./c=n", "v/c=n."};
	for (size_t i = 0; i < array_len(good); i++)
		assert_true(cdi_is_device(good[i]));
	for (size_t i = 0; i < array_len(bad); i++)
		if (cdi_is_device(bad[i]))
			fail_msg("%s", bad[i]);
}

#define FILE_OF(rest) "cdiVersion: 0.6.0\nkind: v.com/c\n" rest
#define EDITS(edits) FILE_OF("devices: [{name: a, containerEdits: {" edits "}}]")

static void test_files(void **state) {
	static const char *const good[] = {
		EDITS("env: [A=b]"),
		"{\"cdiVersion\":\"1.1.0\",\"kind\":\"v/c\",\"annotations\":{\"a\":\"b\"},\"devices\":[{\"name\":\"0\",\"annotations\":{},\"containerEdits\":{\"intelRdt\":{\"closID\":\"x\",\"enableCMT\":true}}}]}",
		EDITS("deviceNodes: [{path: /dev/x, hostPath: /dev/y, type: c, major: 1, minor: 2, fileMode: 438, permissions: rw, uid: 1, gid: 2}]"),
		EDITS("mounts: [{hostPath: /a, containerPath: /b, options: [ro, bind], type: none}], additionalGids: [5]"),
		EDITS("hooks: [{hookName: createContainer, path: /bin/h, args: [h, x], env: [A=b], timeout: 3}], netDevices: [{hostInterfaceName: e, name: f}]"),
		EDITS("env: null, additionalGids: [1]"),
	};
	static const struct { const char *text, *says; } bad[] = {
		{"", "object"}, {"[]", "object"}, {"a: [", "yaml"},
		{"kind: v/c\ndevices: [{name: a, containerEdits: {env: [A=b]}}]", "no cdiVersion"},
		{"cdiVersion: 2.0.0\nkind: v/c\ndevices: [{name: a, containerEdits: {env: [A=b]}}]", "invalid version \"2.0.0\""},
		{"cdiVersion: 0.6\nkind: v/c\ndevices: []", "invalid"},
		{"cdiVersion: 0.6.0\nkind: v\ndevices: [{name: a, containerEdits: {env: [A=b]}}]", "invalid kind \"v\""},
		{FILE_OF(""), "one device"}, {FILE_OF("devices: {}"), "invalid list"}, {FILE_OF("devices: [{name: a}]"), "empty device edits"},
		{FILE_OF("devices: [{name: a, containerEdits: {env: [A=b]}}, {name: a, containerEdits: {env: [A=b]}}]"), "twice"},
		{FILE_OF("devices: [{name: '-', containerEdits: {env: [A=b]}}]"), "invalid device name"},
		{EDITS("env: [A]"), "environment variable \"A\""}, {EDITS("env: ['=b']"), "environment"}, {EDITS("env: [1]"), "invalid list"}, {EDITS("environment: [A=b]"), "unknown field \"environment\""},
		{EDITS("deviceNodes: [{path: /dev/x, type: d}]"), "invalid type"}, {EDITS("deviceNodes: [{path: /dev/x, permissions: rx}]"), "invalid permissions"}, {EDITS("deviceNodes: [{type: c}]"), "no path"},
		{EDITS("deviceNodes: [{path: /dev/x, major: -1}]"), "invalid value"}, {EDITS("mounts: [{hostPath: /a}]"), "no containerPath"}, {EDITS("hooks: [{hookName: late, path: /h}]"), "invalid hook name \"late\""},
		{EDITS("intelRdt: {closID: a/b}"), "closID"}, {EDITS("intelRdt: []"), "object"}, {EDITS("additionalGids: [x]"), "invalid list"},
	};
	for (size_t i = 0; i < array_len(good); i++) {
		autoerror struct error err = {0};
		autojson json_t *json = NULL;
		if (cdi_parse(good[i], strlen(good[i]), &json, &err) < 0)
			fail_msg("%s: %s", good[i], error_message(&err));
	}
	for (size_t i = 0; i < array_len(bad); i++) {
		autoerror struct error err = {0};
		json_t *json;
		assert_int_equal(cdi_parse(bad[i].text, strlen(bad[i].text), &json, &err), -EINVAL);
		if (!strstr(err.message, bad[i].says))
			fail_msg("%s: %s", bad[i].text, err.message);
	}
}

static void expect(const char *edits, const char *before, const char *after) {
	autojson json_t *oci = json_loads(before, 0, NULL), *want = json_loads(after, 0, NULL), *json = json_loads(edits, 0, NULL);
	autoerror struct error err = {0};
	assert_non_null(want);
	assert_non_null(json);
	if (cdi_apply(json, oci, &err) < 0)
		fail_msg("%s: %s", edits, error_message(&err));
	if (!json_equal(oci, want)) {
		autofree char *got = json_dumps(oci, JSON_COMPACT);
		fail_msg("%s gives %s", edits, got);
	}
}

static void test_edits(void **state) {
	expect("{\"env\":[\"A=new\",\"C=\"]}", "{\"process\":{\"env\":[\"A=old\",\"AB=x\"]}}", "{\"process\":{\"env\":[\"A=new\",\"AB=x\",\"C=\"]}}");
	expect("{\"env\":[\"A=b\"]}", "{}", "{\"process\":{\"env\":[\"A=b\"]}}");
	expect("{\"mounts\":[{\"hostPath\":\"/h\",\"containerPath\":\"/a\",\"options\":[\"ro\",\"bind\"]}]}",
	       "{\"process\":{},\"mounts\":[{\"destination\":\"/proc\"},{\"destination\":\"/a\"},{\"destination\":\"/a/b\"}]}",
	       "{\"process\":{},\"mounts\":[{\"destination\":\"/proc\"},{\"destination\":\"/a\",\"source\":\"/h\",\"options\":[\"ro\",\"bind\"]},{\"destination\":\"/a/b\"}]}");
	expect("{\"hooks\":[{\"hookName\":\"poststop\",\"path\":\"/h\",\"args\":[\"h\"],\"timeout\":2}]}", "{\"process\":{}}", "{\"process\":{},\"hooks\":{\"poststop\":[{\"path\":\"/h\",\"args\":[\"h\"],\"timeout\":2}]}}");
	expect("{\"additionalGids\":[0,5,6]}", "{\"process\":{\"user\":{\"uid\":0,\"additionalGids\":[5]}}}", "{\"process\":{\"user\":{\"uid\":0,\"additionalGids\":[5,6]}}}");
	expect("{\"intelRdt\":{\"closID\":\"x\"}}", "{\"process\":{},\"linux\":{}}", "{\"process\":{},\"linux\":{\"intelRdt\":{\"closID\":\"x\"}}}");
	/* The host says what the file does not; who runs in the container has it. */
	expect("{\"deviceNodes\":[{\"path\":\"/dev/mine\",\"hostPath\":\"/dev/null\",\"permissions\":\"rw\"}]}", "{\"process\":{\"user\":{\"uid\":7}},\"linux\":{\"devices\":[{\"path\":\"/dev/mine\"}],\"resources\":{\"devices\":[{\"allow\":false}]}}}",
	       "{\"process\":{\"user\":{\"uid\":7}},\"linux\":{\"devices\":[{\"path\":\"/dev/mine\",\"type\":\"c\",\"major\":1,\"minor\":3,\"uid\":7}],\"resources\":{\"devices\":[{\"allow\":false},{\"allow\":true,\"type\":\"c\",\"major\":1,\"minor\":3,\"access\":\"rw\"}]}}}");
	expect("{\"deviceNodes\":[{\"path\":\"/dev/none-such\",\"type\":\"b\",\"major\":8,\"minor\":1,\"uid\":0,\"fileMode\":384}]}", "{\"process\":{\"user\":{\"uid\":7}},\"linux\":{}}",
	       "{\"process\":{\"user\":{\"uid\":7}},\"linux\":{\"devices\":[{\"path\":\"/dev/none-such\",\"type\":\"b\",\"major\":8,\"minor\":1,\"fileMode\":384,\"uid\":0}],\"resources\":{\"devices\":[{\"allow\":true,\"type\":\"b\",\"major\":8,\"minor\":1,\"access\":\"rwm\"}]}}}");
	static const char *const bad[] = {"{\"deviceNodes\":[{\"path\":\"/dev/none-such\"}]}", "{\"deviceNodes\":[{\"path\":\"/dev/null\",\"type\":\"b\"}]}", "{\"deviceNodes\":[{\"path\":\"/\"}]}", "{\"netDevices\":[{\"hostInterfaceName\":\"e\",\"name\":\"f\"}]}"};
	for (size_t i = 0; i < array_len(bad); i++) {
		autojson json_t *edits = json_loads(bad[i], 0, NULL), *oci = json_object();
		assert_true(cdi_apply(edits, oci, NULL) < 0);
	}
}

static void put(const char *dir, const char *name, const char *text) {
	autofree char *path = path_join(dir, name, NULL);
	assert_int_equal(file_write(AT_FDCWD, path, text, strlen(text), 0644, NULL), 0);
}

#define NAMED(name, env) "{name: " name ", containerEdits: {env: [" env "]}}"

/* The later folder wins; within one a name stands once; what is no file of this kind is skipped. */
static void test_folders(void **state) {
	char etc[] = "/tmp/coracle-cdi-XXXXXX", run[] = "/tmp/coracle-cdi-XXXXXX";
	assert_non_null(mkdtemp(etc));
	assert_non_null(mkdtemp(run));
	const char *const folders[] = {etc, "/none/such", run, NULL};
	put(etc, "a.yaml", FILE_OF("containerEdits: {env: [ALL=etc]}\ndevices: [" NAMED("one", "ONE=etc") "," NAMED("two", "TWO=etc") "," NAMED("dup", "D=1") "]"));
	put(etc, "b.yaml", FILE_OF("devices: [" NAMED("dup", "D=2") "," NAMED("over", "O=etc") "]"));
	put(etc, "c.json", "{\"broken\":");
	put(etc, "d.txt", FILE_OF("devices: [" NAMED("text", "A=b") "]"));
	put(run, "a.json", "{\"cdiVersion\":\"0.3.0\",\"kind\":\"v.com/c\",\"containerEdits\":{\"env\":[\"ALL=run\"]},\"devices\":[{\"name\":\"one\",\"containerEdits\":{\"env\":[\"ONE=run\"]}}]}");
	static const struct { const char *const devices[4]; const char *env; } rows[] = {
		{{"v.com/c=one"}, "[\"ALL=run\",\"ONE=run\"]"},
		{{"v.com/c=two"}, "[\"ALL=etc\",\"TWO=etc\"]"},
		{{"v.com/c=one", "v.com/c=two"}, "[\"ALL=etc\",\"ONE=run\",\"TWO=etc\"]"},
		{{"v.com/c=over"}, "[\"O=etc\"]"},
		{{"v.com/c=dup"}, NULL}, {{"v.com/c=text"}, NULL}, {{"v.com/other=one"}, NULL}, {{"one"}, NULL}, {{"v.com/c=two", "v.com/c=none"}, NULL},
	};
	autoclose int quiet = memfd_create("log", MFD_CLOEXEC);
	log_init(quiet, LOG_FORMAT_TEXT, 0);
	for (size_t i = 0; i < array_len(rows); i++) {
		autojson json_t *oci = json_object();
		autoerror struct error err = {0};
		int r = cdi_inject(folders, rows[i].devices, oci, &err);
		if (!rows[i].env) {
			assert_int_equal(r, -ENOENT);
			continue;
		}
		assert_int_equal(r, 0);
		autofree char *env = json_dumps(json_object_get(json_object_get(oci, "process"), "env"), JSON_COMPACT);
		assert_string_equal(env, rows[i].env);
	}
	log_init(STDERR_FILENO, LOG_FORMAT_TEXT, 0);
	assert_int_equal(file_remove_all(etc, NULL), 0);
	assert_int_equal(file_remove_all(run, NULL), 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_names), cmocka_unit_test(test_files), cmocka_unit_test(test_edits), cmocka_unit_test(test_folders)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
