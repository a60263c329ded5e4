/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

static struct store store;
static struct collection *collection;

static struct entry *make(const char *key, uint64_t revision)
{
	char path[32], value[64];
	snprintf(path, sizeof(path), "t/%s", key);
	int len = snprintf(value, sizeof(value), "{\"metadata\":{\"labels\":{\"last\":\"%c\"}}}", key[strlen(key) - 1]);
	struct entry *entry = entry_from_value(collection, path, strlen(path), value, (size_t)len, revision, 1, NULL);

	assert_non_null(entry);
	return entry;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A walk gives all, or of those with a label not one too few. */
static void check_walk(const struct tree *tree, char **keys, size_t first, size_t end)
{
	struct snapshot_scan all = {.next = first, .end = end}, some = {.next = first, .end = end, .marks = entry_label_mark("last", "7")};
	struct entry *entry, *marked = tree_next(tree, &some);

	for (size_t i = first; i < end; i++) {
		entry = tree_next(tree, &all);
		assert_string_equal(entry->key, keys[i]);
		assert_int_equal(all.next, i + 1);
		if (marked == entry)
			marked = tree_next(tree, &some);
		else
			assert_int_not_equal(entry->key[strlen(entry->key) - 1], '7');
	}
	assert_null(marked);
	assert_null(tree_next(tree, &all));
}

static void check(const struct tree *tree, char **keys, size_t count)
{
	assert_int_equal(tree_len(tree), count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(tree_at(tree, i)->key, keys[i]);
		assert_ptr_equal(tree_get(tree, keys[i]), tree_at(tree, i));
		assert_int_equal(tree_lower_bound(tree, keys[i]), i);
	}
	if (count)
		assert_int_equal(tree_lower_bound(tree, "zzzz"), count);
	check_walk(tree, keys, 0, count);
	check_walk(tree, keys, count / 3, count - count / 4);
}

/* Against a plain sorted array, with versions held all along. */
static void test_random(void **state)
{
	enum { MOST = 3000, STEPS = 30000, VERSIONS = 8 };
	static char *keys[MOST];
	struct tree *tree = NULL, *versions[VERSIONS] = {0};
	static char *held[VERSIONS][MOST];
	size_t held_len[VERSIONS] = {0}, len = 0;
	unsigned seed = 7;

	for (int step = 0; step < STEPS; step++) {
		char key[16];
		snprintf(key, sizeof(key), "k%05d", rand_r(&seed) % (2 * MOST));
		size_t at = tree_lower_bound(tree, key);
		bool there = tree_get(tree, key) != NULL, grow = (step / 8000) % 2 == 0 || rand_r(&seed) % 4 == 0;
		if (grow && len < MOST) {
			struct entry *old = tree_set(&tree, make(key, (uint64_t)step + 1));
			assert_int_equal(old != NULL, there);
			entry_unref(old);
			if (!there) {
				memmove(&keys[at + 1], &keys[at], (len - at) * sizeof(*keys));
				keys[at] = xstrdup(key);
				len++;
			}
		} else {
			struct entry *old = tree_remove(&tree, key);
			assert_int_equal(old != NULL, there);
			entry_unref(old);
			if (there) {
				free(keys[at]);
				memmove(&keys[at], &keys[at + 1], (--len - at) * sizeof(*keys));
			}
		}
		if (step % 997 == 0) {
			size_t v = (size_t)(step / 997) % VERSIONS;
			check(versions[v], held[v], held_len[v]);
			for (size_t i = 0; i < held_len[v]; i++)
				free(held[v][i]);
			tree_unref(versions[v]);
			versions[v] = tree_ref(tree);
			for (size_t i = 0; i < len; i++)
				held[v][i] = xstrdup(keys[i]);
			held_len[v] = len;
			check(tree, keys, len);
		}
	}
	qsort(keys, len, sizeof(*keys), compare);
	check(tree, keys, len);
	while (len) {
		entry_unref(tree_remove(&tree, keys[--len]));
		free(keys[len]);
	}
	assert_null(tree);
	for (size_t v = 0; v < VERSIONS; v++) {
		check(versions[v], held[v], held_len[v]);
		tree_unref(versions[v]);
		for (size_t i = 0; i < held_len[v]; i++)
			free(held[v][i]);
	}
}

/* A load in order fills its nodes. */
static void test_in_order(void **state)
{
	struct tree *tree = NULL;

	for (int i = 0; i < 20000; i++) {
		char key[16];
		snprintf(key, sizeof(key), "k%06d", i);
		assert_null(tree_set(&tree, make(key, 1)));
	}
	assert_int_equal(tree_len(tree), 20000);
	for (size_t i = 0; i < 20000; i += 37) {
		char key[16];
		snprintf(key, sizeof(key), "k%06zu", i);
		assert_string_equal(tree_at(tree, i)->key, key);
	}
	tree_unref(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_in_order),
	};

	collection = collection_new(&store, "t", false, NULL, NULL);
	int r = cmocka_run_group_tests(tests, NULL, NULL);
	collection_free(collection);
	return r;
}
