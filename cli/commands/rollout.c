/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"
#include "cli/commands/commands.h"
#include "cli/describe/describe.h"
#include "cli/output.h"
#include "cli/pods.h"
#include "cli/targets.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct cli_globals globals;
	char *selector, *output;
	struct flag_list files;
	bool recursive, watch;
	int64_t timeout, revision, to_revision;
};
#define O(member) offsetof(struct options, member)

static const struct flag flags[] = {
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector to filter on", 0, 0},
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name the objects", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"watch", 'w', FLAG_BOOL, O(watch), "true", "Wait until the rollout is done", 0, 0},
	{"timeout", 0, FLAG_DURATION, O(timeout), "0s", "How long to wait; 0: as long as it takes", 0, 0},
	{"revision", 0, FLAG_INT, O(revision), "0", "The revision to show", 0, INT64_MAX},
	{"to-revision", 0, FLAG_INT, O(to_revision), "0", "The revision to go back to; 0: the one before", 0, INT64_MAX},
	{"output", 'o', FLAG_STRING, O(output), NULL, "Output format: json, yaml, name, ...", 0, 0},
};

static int run_each(struct cli *cli, struct options *options, const struct flag_list *args, int (*fn)(struct cli *cli, const struct cli_target *target, void *arg, struct error *err), struct error *err)
{
	autotargets struct cli_targets targets = {0};
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, false, &targets, err);
	if (!rc)
		rc = cli_targets_expand(cli, &targets, options->selector, NULL, err);
	if (!rc && !targets.len)
		rc = cli_usage_error(err, "required resource not specified");
	return rc ? rc : cli_targets_each(cli, &targets, NULL, fn, options, err);
}

/* ---- status ---- */

/* Says how far a rollout is, in the arena; *ret_done: it is over. NULL: it failed (err is set). */
static const char *deployment_status(struct cli *cli, json_t *o, bool *ret_done, struct error *err)
{
	const char *name = cli_name(o);
	int64_t wanted = cli_int_at(o, "spec.replicas"), updated = cli_int_at(o, "status.updatedReplicas"), all = cli_int_at(o, "status.replicas"), available = cli_int_at(o, "status.availableReplicas");
	if (cli_int_at(o, "metadata.generation") > cli_int_at(o, "status.observedGeneration"))
		return "Waiting for deployment spec update to be observed...";
	size_t i;
	json_t *condition;
	json_array_foreach(cli_at(o, "status.conditions"), i, condition) {
		if (str_equal(cli_str(condition, "type"), "Progressing") && str_equal(cli_str(condition, "reason"), "ProgressDeadlineExceeded")) {
			error_set(err, ETIMEDOUT, "deployment \"%s\" exceeded its progress deadline", name);
			return NULL;
		}
	}
	if (updated < wanted)
		return arena_printf(cli->arena, "Waiting for deployment \"%s\" rollout to finish: %lld out of %lld new replicas have been updated...", name, (long long)updated, (long long)wanted);
	if (all > updated)
		return arena_printf(cli->arena, "Waiting for deployment \"%s\" rollout to finish: %lld old replicas are pending termination...", name, (long long)(all - updated));
	if (available < updated)
		return arena_printf(cli->arena, "Waiting for deployment \"%s\" rollout to finish: %lld of %lld updated replicas are available...", name, (long long)available, (long long)updated);
	*ret_done = true;
	return arena_printf(cli->arena, "deployment \"%s\" successfully rolled out", name);
}

static const char *daemonset_status(struct cli *cli, json_t *o, bool *ret_done, struct error *err)
{
	int64_t wanted = cli_int_at(o, "status.desiredNumberScheduled"), updated = cli_int_at(o, "status.updatedNumberScheduled"), available = cli_int_at(o, "status.numberAvailable");
	if (cli_int_at(o, "metadata.generation") > cli_int_at(o, "status.observedGeneration"))
		return "Waiting for daemon set spec update to be observed...";
	if (updated < wanted)
		return arena_printf(cli->arena, "Waiting for daemon set \"%s\" rollout to finish: %lld out of %lld new pods have been updated...", cli_name(o), (long long)updated, (long long)wanted);
	if (available < wanted)
		return arena_printf(cli->arena, "Waiting for daemon set \"%s\" rollout to finish: %lld of %lld updated pods are available...", cli_name(o), (long long)available, (long long)wanted);
	*ret_done = true;
	return arena_printf(cli->arena, "daemon set \"%s\" successfully rolled out", cli_name(o));
}

static const char *statefulset_status(struct cli *cli, json_t *o, bool *ret_done, struct error *err)
{
	int64_t wanted = cli_int_at(o, "spec.replicas"), ready = cli_int_at(o, "status.readyReplicas"), updated = cli_int_at(o, "status.updatedReplicas"), partition = cli_int_at(o, "spec.updateStrategy.rollingUpdate.partition");
	if (cli_int_at(o, "metadata.generation") > cli_int_at(o, "status.observedGeneration"))
		return "Waiting for statefulset spec update to be observed...";
	if (ready < wanted)
		return arena_printf(cli->arena, "Waiting for %lld pods to be ready...", (long long)(wanted - ready));
	if (partition > 0 && updated < wanted - partition)
		return arena_printf(cli->arena, "Waiting for partitioned roll out to finish: %lld out of %lld new pods have been updated...", (long long)updated, (long long)(wanted - partition));
	if (!partition && !str_equal(cli_str_at(o, "status.updateRevision"), cli_str_at(o, "status.currentRevision")))
		return arena_printf(cli->arena, "waiting for statefulset rolling update to complete %lld pods at revision %s...", (long long)updated, str_or(cli_str_at(o, "status.updateRevision"), ""));
	*ret_done = true;
	return arena_printf(cli->arena, "statefulset rolling update complete %lld pods at revision %s...", (long long)cli_int_at(o, "status.currentReplicas"), str_or(cli_str_at(o, "status.currentRevision"), ""));
}

static const struct {
	const char *kind;
	const char *(*status)(struct cli *cli, json_t *o, bool *ret_done, struct error *err);
} kinds[] = {{"Deployment", deployment_status}, {"DaemonSet", daemonset_status}, {"StatefulSet", statefulset_status}};

struct following {
	struct cli *cli;
	const char *kind;
	const char *last;
	bool done;
	struct error *err;
	int rc;
};

/* Returns false where there is no more to wait for. */
static bool show_status(struct following *f, json_t *object)
{
	const char *text = NULL;
	for (size_t i = 0; i < array_len(kinds); i++)
		if (str_equal(kinds[i].kind, f->kind))
			text = kinds[i].status(f->cli, object, &f->done, f->err);
	if (!text) {
		f->rc = -ETIMEDOUT;
		return false;
	}
	if (!str_equal(text, f->last))
		printf("%s\n", text);
	fflush(stdout);
	f->last = text;
	return !f->done;
}

static bool on_event(const char *type, json_t *object, void *arg)
{
	struct following *f = arg;
	if (str_equal(type, "DELETED")) {
		f->rc = error_set(f->err, ENOENT, "object has been deleted");
		return false;
	}
	return show_status(f, object);
}

static int status_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct options *options = arg;
	struct following f = {.cli = cli, .kind = target->resource->kind, .err = err};
	int64_t deadline = options->timeout ? clock_monotonic_ns() + options->timeout : 0;
	bool known = false;
	for (size_t i = 0; i < array_len(kinds); i++)
		known |= str_equal(kinds[i].kind, f.kind);
	if (!known)
		return cli_usage_error(err, "no status viewer has been implemented for %s", f.kind);
	for (;;) {
		json_t *object;
		int rc = cli_target_get(cli, target, &object, err);
		if (rc)
			return rc;
		const char *version = arena_strdup(cli->arena, cli_str_at(object, "metadata.resourceVersion"));
		bool more = show_status(&f, object);
		json_decref(object);
		if (!more || !options->watch)
			return f.rc;
		int64_t left = deadline ? (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC : 0;
		if (deadline && left <= 0)
			return error_set(err, ETIMEDOUT, "timed out waiting for the condition");
		char *path = cli_path_query(cli, cli_path(cli, target->resource, target->ns, NULL, NULL), "fieldSelector", arena_printf(cli->arena, "metadata.name=%s", target->name));
		path = cli_path_query(cli, cli_path_query(cli, path, "watch", "true"), "resourceVersion", version);
		autoerror struct error problem = {0};
		rc = cli_watch(cli, path, NULL, on_event, &f, left, &problem);
		if (f.done || f.rc)
			return f.rc;
		if (rc && rc != -ESTALE && rc != -ECONNRESET)
			return error_move(err, &problem);
	}
}

/* ---- restart, pause, resume ---- */

static int patch_and_say(struct cli *cli, const struct cli_target *target, json_t *take_patch, const char *what, struct error *err)
{
	int rc = cli_patch(cli, target, NULL, CLI_STRATEGIC_PATCH, take_patch, NULL, err);
	json_decref(take_patch);
	if (!rc)
		printf("%s %s\n", cli_target_display(cli, target), what);
	return rc;
}

static int restart_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	char now[32];
	time_format_rfc3339(clock_wall(), now);
	return patch_and_say(cli, target, json_pack("{s:{s:{s:{s:{s:s}}}}}", "spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt", now), "restarted", err);
}

static int pause_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	return patch_and_say(cli, target, json_pack("{s:{s:b}}", "spec", "paused", 1), "paused", err);
}
static int resume_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	return patch_and_say(cli, target, json_pack("{s:{s:n}}", "spec", "paused"), "resumed", err);
}

/* ---- history, undo ---- */

/* What holds the old templates: replica sets of a deployment, controller revisions of the others. */
static int load_history(struct cli *cli, const struct cli_target *target, json_t *object, json_t **ret, struct error *err)
{
	const struct cli_resource *resource = NULL;
	bool deployment = str_equal(target->resource->kind, "Deployment");
	json_t *list, *item, *out = json_array();
	size_t i, j;
	int rc = cli_resource_match(cli, deployment ? "replicasets.apps" : "controllerrevisions.apps", &resource, err);
	if (!rc)
		rc = cli_get_json(cli, cli_path_query(cli, cli_path(cli, resource, target->ns, NULL, NULL), "labelSelector", cli_selector_of(cli, object)), &list, err);
	if (rc) {
		json_decref(out);
		return rc;
	}
	json_array_foreach(json_object_get(list, "items"), i, item) {
		json_t *owner;
		json_array_foreach(cli_at(item, "metadata.ownerReferences"), j, owner) {
			if (!str_equal(cli_str(owner, "uid"), cli_str_at(object, "metadata.uid")))
				continue;
			int64_t number = cli_int_at(item, "revision");
			if (deployment)
				str_to_int64(str_or(cli_str(cli_at(item, "metadata.annotations"), "deployment.kubernetes.io/revision"), "0"), 0, INT64_MAX, &number);
			json_t *template = deployment ? cli_at(item, "spec.template") : cli_at(item, "data.spec.template");
			json_t *cause = json_object_get(cli_at(item, "metadata.annotations"), "kubernetes.io/change-cause");
			json_array_append_new(out, json_pack("{s:I, s:O?, s:O?}", "revision", (json_int_t)number, "template", template, "cause", cause));
		}
	}
	json_decref(list);
	*ret = out;
	return 0;
}

static json_t *find_revision(json_t *history, int64_t number)
{
	size_t i;
	json_t *entry, *found = NULL;
	json_array_foreach(history, i, entry)
		if (cli_int_at(entry, "revision") == number)
			found = entry;
	return found;
}

/* The highest number below `below`. */
static int64_t highest_below(json_t *history, int64_t below)
{
	size_t i;
	json_t *entry;
	int64_t best = 0;
	json_array_foreach(history, i, entry)
		if (cli_int_at(entry, "revision") < below)
			best = max_of(best, cli_int_at(entry, "revision"));
	return best;
}

static void print_history(json_t *history)
{
	autocolumns struct columns columns = {0};
	autobuf struct buf out = BUF_INIT(16 << 20);
	columns_add(&columns, "REVISION");
	columns_add(&columns, "CHANGE-CAUSE");
	columns_end_row(&columns);
	autofree int64_t *numbers = xcalloc(json_array_size(history), sizeof(int64_t));
	size_t len = 0;
	for (int64_t at = highest_below(history, INT64_MAX); at && len < json_array_size(history); at = highest_below(history, at))
		numbers[len++] = at;
	while (len--) {
		columns_printf(&columns, "%lld", (long long)numbers[len]);
		columns_add(&columns, str_or(cli_str(find_revision(history, numbers[len]), "cause"), "<none>"));
		columns_end_row(&columns);
	}
	columns_write(&columns, "", 2, &out);
	cli_print(&out);
}

static int history_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct options *options = arg;
	json_t *object = NULL, *history = NULL;
	int rc = cli_target_get(cli, target, &object, err);
	if (!rc)
		rc = load_history(cli, target, object, &history, err);
	json_t *entry = options->revision ? find_revision(history, options->revision) : NULL;
	if (!rc && options->revision && !entry)
		rc = error_set(err, ENOENT, "unable to find the specified revision");
	if (!rc && !options->revision) {
		printf("%s \n", cli_target_display(cli, target));
		print_history(history);
	} else if (!rc) {
		struct describe d = {.cli = cli};
		autobuf struct buf out = BUF_INIT(16 << 20);
		printf("%s with revision #%lld\n", cli_target_display(cli, target), (long long)options->revision);
		describe_pod_template(&d, json_object_get(entry, "template"));
		columns_write(&d.columns, "", 2, &out);
		cli_print(&out);
	}
	json_decref(history);
	json_decref(object);
	return rc;
}

static int set_template(json_t *object, void *arg, struct error *err)
{
	json_t *template = json_deep_copy(arg);
	json_object_del(cli_at(template, "metadata.labels"), "pod-template-hash");
	json_object_del(template, "$patch");
	return json_object_set_new(cli_make_at(object, "spec"), "template", template);
}

static int undo_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct options *options = arg;
	json_t *object = NULL, *history = NULL;
	int rc = cli_target_get(cli, target, &object, err);
	if (!rc && json_is_true(cli_at(object, "spec.paused")))
		rc = error_set(err, EINVAL, "you cannot rollback a paused deployment; resume it first with 'coracle rollout resume' and try again");
	if (!rc)
		rc = load_history(cli, target, object, &history, err);
	int64_t number = options->to_revision;
	if (!rc && !number)
		number = highest_below(history, highest_below(history, INT64_MAX));
	json_t *entry = rc ? NULL : find_revision(history, number);
	if (!rc && !entry)
		rc = error_set(err, ENOENT, options->to_revision ? "unable to find specified revision %lld in history" : "no rollout history found", (long long)options->to_revision);
	if (!rc)
		rc = cli_edit(cli, target, NULL, set_template, json_object_get(entry, "template"), NULL, err);
	if (!rc)
		printf("%s rolled back\n", cli_target_display(cli, target));
	json_decref(history);
	json_decref(object);
	return rc;
}

#define ROLLOUT(word, help)                                                                                            \
	static int run_##word(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)             \
	{                                                                                                               \
		return run_each(cli, arg, args, word##_one, err);                                                       \
	}                                                                                                               \
	static const struct cli_command rollout_##word = {.name = #word, .usage = "(TYPE NAME | TYPE/NAME)", .summary = help, .flags = flags, .flag_count = array_len(flags), .options_size = sizeof(struct options), .run = run_##word}

ROLLOUT(history, "View rollout history");
ROLLOUT(pause, "Stop a deployment from rolling out changes");
ROLLOUT(restart, "Restart a resource's pods");
ROLLOUT(resume, "Let a paused deployment go on");
ROLLOUT(status, "Show the status of the rollout");
ROLLOUT(undo, "Go back to a previous revision");

const struct cli_command command_rollout = {
	.name = "rollout",
	.summary = "Manage the rollout of a resource",
	.children = (const struct cli_command *const[]){&rollout_history, &rollout_pause, &rollout_restart, &rollout_resume, &rollout_status, &rollout_undo, NULL},
};
