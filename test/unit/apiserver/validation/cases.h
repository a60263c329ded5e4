/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows for validation: an object as YAML or JSON, changed in places, and the causes it must get. A row's `set` is a list of changes to
 * the base object of its table, "path=JSON" separated by newlines: spec.containers[0].name="x"; a value of nothing removes. `expect` is the list
 * of causes as "path reason", reasons without FieldValue, joined by commas and sorted by path; "" where the object is good. Behind a "> " they stand
 * in the order in which they are told.
 */
#ifndef CORACLE_TEST_VALIDATION_CASES_H
#define CORACLE_TEST_VALIDATION_CASES_H

#include "apiserver/validation/validation.h"
#include "common/api/yaml.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* Most rows leave the text out. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct validation_case {
	const char *set;    /* changes to the base object; NULL: none */
	const char *expect;
	const char *text;   /* the message of the first cause; NULL: not looked at */
};
struct update_case {
	const char *old_set, *set; /* from the base so changed to the base so changed */
	const char *expect;
	const char *text;
};

static inline json_t *case_tree(const char *yaml) {
	json_t *tree = NULL;
	autoerror struct error err = {0};
	if (yaml_load(yaml, strlen(yaml), &tree, &err) < 0)
		fail_msg("%s: %s", error_message(&err), yaml);
	return tree;
}

/* Walks to the holder of the last step of `path`, making objects on the way. */
static inline void case_set(json_t *tree, char *path, json_t *value) {
	for (char *p = path;;) {
		size_t len = strcspn(p, ".[]");
		/* {a.b} is one step */
		if (*p == '{') {
			p++;
			len = strcspn(p, "}");
		}
		char *end = p + len, stop = *end;
		*end = 0;
		if (stop == '}') {
			end++;
			stop = *end;
		}
		bool index = *p >= '0' && *p <= '9' && json_is_array(tree);
		char *next = stop ? end + 1 : end;
		while (*next == '.' || *next == '[' || *next == ']')
			next++;
		if (!*next) {
			if (index && value)
				(size_t)atoi(p) >= json_array_size(tree) ? json_array_append_new(tree, value) : json_array_set_new(tree, (size_t)atoi(p), value);
			else if (index)
				json_array_remove(tree, (size_t)atoi(p));
			else if (value)
				json_object_set_new(tree, p, value);
			else
				json_object_del(tree, p);
			return;
		}
		json_t *inner = index ? json_array_get(tree, (size_t)atoi(p)) : json_object_get(tree, p);
		if (!inner) {
			inner = *next >= '0' && *next <= '9' ? json_array() : json_object();
			if (index)
				json_array_append_new(tree, inner);
			else
				json_object_set_new(tree, p, inner);
		}
		tree = inner;
		p = next;
	}
}

static inline void *case_object(const char *base, const char *set) {
	json_t *tree = case_tree(base);
	autofree char *changes = xstrdup(set ? set : "");
	for (char *line = strtok(changes, "\n"); line; line = strtok(NULL, "\n")) {
		while (*line == ' ' || *line == '\t')
			line++;
		char *equals = strchr(line, '=');
		if (!equals)
			fail_msg("no = in %s", line);
		*equals = 0;
		json_t *value = equals[1] ? case_tree(equals + 1) : NULL;
		case_set(tree, line, value);
	}
	autofree char *text = json_dumps(tree, JSON_COMPACT);
	json_decref(tree);
	void *object = NULL;
	autoerror struct error err = {0};
	if (api_decode_json_any(text, strlen(text), NULL, &object, &err) < 0)
		fail_msg("%s: %s", error_message(&err), text);
	api_default(object);
	return object;
}

static inline int case_order(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static inline void case_compare(const struct error *err, const char *expect, const char *text, const char *what) {
	autobuf struct buf got = BUF_INIT(1u << 20);
	char *lines[ERROR_MAX_CAUSES];
	for (size_t i = 0; i < err->cause_count; i++)
		lines[i] = xprintf("%s %s", err->causes[i].field, str_starts_with(err->causes[i].reason, "FieldValue") ? err->causes[i].reason + 10 : err->causes[i].reason);
	bool ordered = expect && str_starts_with(expect, "> ");
	if (ordered)
		expect += 2;
	else
		qsort(lines, err->cause_count, sizeof(*lines), case_order);
	for (size_t i = 0; i < err->cause_count; i++) {
		buf_printf(&got, "%s%s", i ? ", " : "", lines[i]);
		free(lines[i]);
	}
	if (!str_equal(got.data, expect))
		fail_msg("%s\nexpected: %s\ngot:      %s\nfirst:    %s", what, expect, got.data ? got.data : "", err->cause_count ? err->causes[0].message : "");
	if (text && !str_equal(err->causes[0].message, text))
		fail_msg("%s\nexpected: %s\ngot:      %s", what, text, err->causes[0].message);
}

static inline void run_cases(const char *base, const struct validation_case *rows, size_t count) {
	for (size_t i = 0; i < count; i++) {
		autounref void *object = case_object(base, rows[i].set);
		autoerror struct error err = {0};
		validate_object(object, NULL, "", &err);
		case_compare(&err, rows[i].expect, rows[i].text, str_or(rows[i].set, "(as it is)"));
	}
}

static inline void run_updates(const char *base, const char *subresource, const struct update_case *rows, size_t count) {
	for (size_t i = 0; i < count; i++) {
		autounref void *old = case_object(base, rows[i].old_set), *object = case_object(base, rows[i].set);
		autoerror struct error err = {0};
		validate_object(object, old, subresource, &err);
		case_compare(&err, rows[i].expect, rows[i].text, str_or(rows[i].set, "(as it is)"));
	}
}
#define RUN(base, rows) run_cases(base, rows, array_len(rows))
#define RUN_UPDATES(base, subresource, rows) run_updates(base, subresource, rows, array_len(rows))

#endif
