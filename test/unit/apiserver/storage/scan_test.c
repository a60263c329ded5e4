/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

static void test_splice(void **state)
{
	static const struct {
		const char *json, *expected; /* NULL: refused */
	} rows[] = {
		{"{\"metadata\":{}}", "{\"metadata\":{\"resourceVersion\":\"42\"}}"},
		{" {\"metadata\" : {\"a\":1} , \"x\":[1,{\"y\":\"}\"}]}\n\n", " {\"metadata\" : {\"resourceVersion\":\"42\",\"a\":1} , \"x\":[1,{\"y\":\"}\"}]}"},
		{"{\"metadata\":{\"name\":\"n\"}}", "{\"metadata\":{\"name\":\"n\",\"resourceVersion\":\"42\"}}"},
		{"{\"metadata\":{\"name\":\"n\",\"uid\":\"u\",\"generation\":1}}", "{\"metadata\":{\"name\":\"n\",\"uid\":\"u\",\"resourceVersion\":\"42\",\"generation\":1}}"},
		{"{\"metadata\":{\"resourceVersion\":\"7777\",\"uid\":\"u\"}}", "{\"metadata\":{\"resourceVersion\":\"42\",\"uid\":\"u\"}}"},
		{"{\"metadata\":{\"resourceVersion\":null}}", "{\"metadata\":{\"resourceVersion\":\"42\"}}"},
		{"{\"spec\":{\"metadata\":{\"uid\":\"no\"}},\"metadata\":{\"uid\":\"\\\"\\\\\"}}", "{\"spec\":{\"metadata\":{\"uid\":\"no\"}},\"metadata\":{\"uid\":\"\\\"\\\\\",\"resourceVersion\":\"42\"}}"},
		{"{}", NULL},
		{"", NULL},
		{"[]", NULL},
		{"{\"metadata\":null}", NULL},
		{"{\"metadata\":{}", NULL},
		{"{\"metadata\":{}}}", NULL},
		{"{\"metadata\":{},}", NULL},
		{"{,\"metadata\":{}}", NULL},
		{"{\"metadata\":{\"name\":\"n}}", NULL},
		{"{\"metadata\":{\"name\":\"n\"},\"a\":[}]}", NULL},
		{"{\"metadata\":{\"name\":\"n\\", NULL},
		{"{\"metadata\":{\"name\"}}", NULL},
		{"{\"metadata\":{\"name\":\"a\nb\"}}", NULL},
		{"{\"metadata\":{}} x", NULL},
	};

	for (size_t i = 0; i < array_len(rows); i++) {
		struct scan_object object;
		int r = scan_object(rows[i].json, strlen(rows[i].json), &object);
		assert_int_equal(r, rows[i].expected ? 0 : -EINVAL);
		if (r < 0)
			continue;
		autobytes struct bytes *bytes = scan_splice(rows[i].json, &object, 42);
		assert_string_equal(bytes->data, rows[i].expected);
	}
}

/* A value of many blocks: brackets, quotes and backslashes fall on each place of a block, and on its edges. */
static void write_value(struct buf *out, unsigned *seed, int depth)
{
	static const char *const pieces[] = {"a", "\\\"", "\\\\", "{", "}", "[", "]", ",", ":", "\\u00e9", "\xc3\xa9", "0123456789abcdef", "\\\\\\\""};
	unsigned kind = (*seed = *seed * 1103515245u + 12345u) >> 16;

	if (depth == 0 || kind % 4 == 0) {
		buf_append_char(out, '"');
		for (unsigned i = 0, n = kind / 4 % 12; i < n; i++)
			buf_append_str(out, pieces[(*seed = *seed * 1103515245u + 12345u) / 65536 % array_len(pieces)]);
		buf_append_char(out, '"');
		return;
	}
	bool object = kind % 2;
	buf_append_char(out, object ? '{' : '[');
	for (unsigned i = 0, n = kind / 4 % 5; i < n; i++) {
		buf_append_str(out, i ? ", " : "");
		if (object)
			buf_append_str(out, "\"k\\\\\":");
		write_value(out, seed, depth - 1);
	}
	buf_append_char(out, object ? '}' : ']');
}

static void test_skip(void **state)
{
	for (unsigned n = 0; n < 400; n++) {
		autobuf struct buf text = BUF_INIT(1 << 20);
		unsigned seed = n;
		for (unsigned i = 0; i < n % 70; i++)
			buf_append_char(&text, ' ');
		buf_append_char(&text, '[');
		write_value(&text, &seed, 6);
		buf_append_char(&text, ']');
		size_t len = text.len;
		buf_append_str(&text, "]}\"");
		assert_ptr_equal(scan_skip_value(text.data, text.data + text.len), text.data + len);
		for (size_t cut = 0; cut < len; cut += 1 + len / 100)
			assert_null(scan_skip_value(text.data, text.data + cut));
		text.data[len - 1] = '}';
		assert_null(scan_skip_value(text.data, text.data + text.len));
	}
	/* A string that is long, with a control character at each of its places. */
	for (unsigned at = 0; at < 130; at++) {
		char text[200];
		memset(text, 'x', sizeof(text));
		memcpy(text, "{\"", 2);
		memcpy(text + 132, "\":1}", 4);
		assert_ptr_equal(scan_skip_value(text, text + sizeof(text)), text + 136);
		text[2 + at] = '\n';
		assert_null(scan_skip_value(text, text + sizeof(text)));
	}
	/* White space and more outside of strings is no concern of it. */
	assert_non_null(scan_skip_value("[\n1]", "[\n1]" + 4));
}

static void test_labels(void **state)
{
	const char json[] = "{\"metadata\":{\"labels\":{ \"a\" : \"1\" ,\"b\":2,\"\\u0063\":\"\\ud83d\\ude00\\n\\/\"}}}";
	struct scan_object object;
	struct scan_string key, value;
	const char *pos;
	char out[64];

	assert_int_equal(scan_object(json, sizeof(json) - 1, &object), 0);
	pos = object.labels;
	assert_true(scan_next_label(&pos, json + sizeof(json) - 1, &key, &value));
	assert_int_equal(scan_unescape(key, out), 1);
	assert_string_equal(out, "a");
	scan_unescape(value, out);
	assert_string_equal(out, "1");
	assert_true(scan_next_label(&pos, json + sizeof(json) - 1, &key, &value));
	scan_unescape(key, out);
	assert_string_equal(out, "c");
	assert_int_equal(scan_unescape(value, out), 6);
	assert_string_equal(out, "\xf0\x9f\x98\x80\n/");
	assert_false(scan_next_label(&pos, json + sizeof(json) - 1, &key, &value));
}

static void test_depth(void **state)
{
	struct buf b = BUF_INIT(1 << 20);
	struct scan_object object;

	for (int depth = SCAN_MAX_DEPTH; depth <= SCAN_MAX_DEPTH + 1; depth++) {
		buf_reset(&b);
		buf_append_str(&b, "{\"metadata\":{},\"x\":");
		for (int i = 0; i < depth; i++)
			buf_append_char(&b, '[');
		for (int i = 0; i < depth; i++)
			buf_append_char(&b, ']');
		buf_append_char(&b, '}');
		assert_int_equal(scan_object(b.data, b.len, &object), depth <= SCAN_MAX_DEPTH ? 0 : -EINVAL);
	}
	buf_done(&b);
}

static void index_node(const char *json, size_t len, struct arena *arena, struct api_string_map *ret, void *arg)
{
	ret->items = arena_calloc(arena, 2, sizeof(*ret->items));
	ret->items[0] = (struct api_string_map_entry){"status.phase", "Running"};
	ret->items[1] = (struct api_string_map_entry){"spec.nodeName", arg};
	ret->len = 2;
}

static void test_entry(void **state)
{
	static struct store store;
	char node[] = "n1";
	struct collection *c = collection_new(&store, "pods", true, index_node, node);
	const char value[] = "{\"metadata\":{\"uid\":\"u\",\"labels\":{\"z\":\"1\",\"b\":\"2\"}}}";
	struct entry *entry = entry_from_value(c, "pods/ns/name", 12, value, sizeof(value) - 1, 5, 4, NULL), *copy;
	static const char *const fields[][2] = {{"metadata.name", "name"}, {"metadata.namespace", "ns"}, {"spec.nodeName", "n1"}, {"status.phase", "Running"}};

	assert_string_equal(entry->key, "ns/name");
	assert_string_equal(entry_path(entry), "pods/ns/name");
	assert_string_equal(entry->labels.items[0].key, "b");
	for (int i = 0; i < 2; i++) {
		assert_int_equal(entry->fields.len, 4);
		for (size_t j = 0; j < 4; j++) {
			assert_string_equal(entry->fields.items[j].key, fields[j][0]);
			assert_string_equal(entry->fields.items[j].value, fields[j][1]);
		}
		copy = entry_copy(c, entry, 99);
		entry_unref(entry);
		entry = copy;
	}
	assert_string_equal(entry->json->data, "{\"metadata\":{\"uid\":\"u\",\"resourceVersion\":\"99\",\"labels\":{\"z\":\"1\",\"b\":\"2\"}}}");
	assert_int_equal(entry->resource_version, 99);
	assert_int_equal(entry->create_revision, 4);
	assert_string_equal(entry->uid, "u");
	entry_unref(entry);
	collection_free(c);
}

static struct bytes *shout(const struct entry *entry, void *arg)
{
	++*(int *)arg;
	return bytes_new("shout", 5);
}

static void test_encodings(void **state)
{
	static struct store store;
	struct collection *c = collection_new(&store, "nodes", false, NULL, NULL);
	struct entry *entry = entry_from_value(c, "nodes/n", 7, "{\"metadata\":{}}", 15, 5, 4, NULL);
	int made = 0;

	for (int i = 0; i < 3; i++)
		bytes_unref(entry_encoding(entry, 1, shout, &made));
	assert_int_equal(made, 1);
	entry_sweep_encodings(entry); /* it was asked for */
	bytes_unref(entry_encoding(entry, 1, shout, &made));
	assert_int_equal(made, 1);
	entry_sweep_encodings(entry);
	entry_sweep_encodings(entry);
	bytes_unref(entry_encoding(entry, 1, shout, &made));
	assert_int_equal(made, 2);
	entry_unref(entry);
	collection_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_splice),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_labels),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_entry),
		cmocka_unit_test(test_encodings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
