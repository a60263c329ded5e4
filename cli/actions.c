/* SPDX-License-Identifier: Apache-2.0 */
/* What commands do with targets. */
#include "cli/targets.h"

#include "common/api/selector.h"
#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>

#define MAX_EDIT_TRIES 8

static const char *label_of(const char *key, void *labels)
{
	return cli_str(labels, key);
}

int cli_targets_each(struct cli *cli, const struct cli_targets *targets, const char *label_selector, int (*fn)(struct cli *cli, const struct cli_target *target, void *arg, struct error *err), void *arg, struct error *err)
{
	struct selector *selector = NULL;
	int rc = str_empty(label_selector) ? 0 : label_selector_parse(label_selector, &selector, err);
	for (size_t i = 0; !rc && i < targets->len; i++) {
		const struct cli_target *target = &targets->items[i];
		if (selector && !selector_matches(selector, label_of, cli_at(target->object, "metadata.labels")))
			continue;
		autoerror struct error problem = {0};
		if (fn(cli, target, arg, &problem) == 0)
			continue;
		if (targets->len == 1 || !problem.http_code) {
			rc = error_move(err, &problem);
			break;
		}
		fflush(stdout);
		if (target->source)
			fprintf(stderr, "Error from server (%s): error when processing \"%s\": %s\n", str_or(problem.reason, ""), target->source, error_message(&problem));
		else
			fprintf(stderr, "Error from server (%s): %s\n", str_or(problem.reason, ""), error_message(&problem));
		cli->exit_code = 1;
	}
	selector_free(selector);
	return rc;
}

struct absent {
	const char *uid;
	bool gone;
};

static bool on_event(const char *type, json_t *object, void *arg)
{
	struct absent *state = arg;
	state->gone = str_equal(type, "DELETED") || (state->uid && !str_equal(cli_str_at(object, "metadata.uid"), state->uid));
	return !state->gone;
}

int cli_wait_absent(struct cli *cli, const struct cli_target *target, const char *uid, int64_t timeout_ms, struct error *err)
{
	int64_t deadline = timeout_ms ? clock_monotonic_ns() + timeout_ms * NSEC_PER_MSEC : 0;
	for (;;) {
		json_t *object = NULL;
		autoerror struct error problem = {0};
		if (cli_target_get(cli, target, &object, &problem))
			return problem.http_code == 404 ? 0 : error_move(err, &problem);
		bool replaced = uid && !str_equal(cli_str_at(object, "metadata.uid"), uid);
		const char *version = arena_strdup(cli->arena, cli_str_at(object, "metadata.resourceVersion"));
		json_decref(object);
		if (replaced)
			return 0;
		int64_t left = deadline ? (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC : 0;
		if (deadline && left <= 0)
			return error_set(err, ETIMEDOUT, "timed out waiting for the condition on %s", cli_target_display(cli, target));
		struct absent state = {.uid = uid};
		char *path = cli_path(cli, target->resource, target->ns, NULL, NULL);
		path = cli_path_query(cli, path, "watch", "true");
		path = cli_path_query(cli, path, "fieldSelector", arena_printf(cli->arena, "metadata.name=%s", target->name));
		path = cli_path_query(cli, path, "resourceVersion", version);
		int rc = cli_watch(cli, path, NULL, on_event, &state, left, &problem);
		if (state.gone)
			return 0;
		/* A watch that ended, or was too old: look again. */
		if (rc && rc != -ESTALE && rc != -ECONNRESET)
			return error_move(err, &problem);
	}
}

const char *cli_field_validation(const char *validate)
{
	static const char *const known[][2] = {{"true", "Strict"}, {"strict", "Strict"}, {"warn", "Warn"}, {"false", "Ignore"}, {"ignore", "Ignore"}};
	for (size_t i = 0; i < array_len(known); i++)
		if (str_equal(validate, known[i][0]))
			return known[i][1];
	return "Strict";
}

int cli_edit(struct cli *cli, const struct cli_target *target, const char *subresource, int (*change)(json_t *object, void *arg, struct error *err), void *arg, json_t **ret, struct error *err)
{
	char *path = cli_path(cli, target->resource, target->ns, target->name, subresource);
	for (int tries = 1;; tries++) {
		json_t *object = NULL, *answer = NULL;
		autoerror struct error problem = {0};
		int rc = cli_get_json(cli, path, &object, &problem);
		if (!rc)
			rc = change(object, arg, &problem);
		if (!rc)
			rc = cli_call(cli, &(struct cli_call){.method = "PUT", .path = path, .body = object}, &answer, &problem);
		json_decref(object);
		if (rc && problem.http_code == 409 && tries < MAX_EDIT_TRIES)
			continue;
		if (rc)
			return error_move(err, &problem);
		if (ret)
			*ret = answer;
		else
			json_decref(answer);
		return 0;
	}
}

int cli_patch(struct cli *cli, const struct cli_target *target, const char *subresource, const char *content_type, json_t *patch, json_t **ret, struct error *err)
{
	char *path = cli_path(cli, target->resource, target->ns, target->name, subresource);
	return cli_call(cli, &(struct cli_call){.method = "PATCH", .path = path, .content_type = content_type, .body = patch}, ret, err);
}
