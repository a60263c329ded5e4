/* SPDX-License-Identifier: Apache-2.0 */
/* cordon, uncordon, drain, taint. */
#include "cli/commands/commands.h"
#include "cli/targets.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#define EVICT_AGAIN_SECONDS 5

struct options {
	struct cli_globals globals;
	char *selector, *pod_selector, *dry_run;
	bool force, ignore_daemonsets, delete_emptydir, disable_eviction, overwrite, all;
	int64_t grace_period, timeout;
};
#define O(member) offsetof(struct options, member)

static const struct flag cordon_flags[] = {
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector of the nodes", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
};
static const struct flag drain_flags[] = {
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector of the nodes", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
	{"pod-selector", 0, FLAG_STRING, O(pod_selector), NULL, "Label selector of the pods", 0, 0},
	{"force", 0, FLAG_BOOL, O(force), NULL, "Go on even with pods that no controller would bring back", 0, 0},
	{"ignore-daemonsets", 0, FLAG_BOOL, O(ignore_daemonsets), NULL, "Leave pods of daemon sets alone", 0, 0},
	{"delete-emptydir-data", 0, FLAG_BOOL, O(delete_emptydir), NULL, "Go on even with pods that use emptyDir", 0, 0},
	{"disable-eviction", 0, FLAG_BOOL, O(disable_eviction), NULL, "Delete instead of evicting", 0, 0},
	{"grace-period", 0, FLAG_INT, O(grace_period), "-1", "Seconds given to end gracefully; negative: the pod's own", -1, INT32_MAX},
	{"timeout", 0, FLAG_DURATION, O(timeout), "0s", "How long to try; 0: as long as it takes", 0, 0},
	{"skip-wait-for-delete-timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
	{"chunk-size", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};
static const struct flag taint_flags[] = {
	{"selector", 'l', FLAG_STRING, O(selector), NULL, "Label selector of the nodes", 0, 0},
	{"dry-run", 0, FLAG_STRING, O(dry_run), "none", "none, server or client", 0, 0},
	{"overwrite", 0, FLAG_BOOL, O(overwrite), NULL, "Allow to change a taint that is there", 0, 0},
	{"all", 0, FLAG_BOOL, O(all), NULL, "All nodes", 0, 0},
};

/* The nodes named, or chosen by label. */
static int find_nodes(struct cli *cli, const struct options *options, const struct flag_list *args, struct cli_targets *ret, struct error *err)
{
	struct flag_list words = {0};
	flag_list_add(&words, "nodes");
	for (size_t i = 0; i < args->len; i++)
		flag_list_add(&words, str_starts_with(args->items[i], "node/") ? args->items[i] + 5 : args->items[i]);
	int rc = !args->len && str_empty(options->selector) && !options->all ? cli_usage_error(err, "at least one node must be named, or chosen with --selector") : cli_targets_from_args(cli, &words, 0, false, ret, err);
	flag_list_done(&words);
	return rc ? rc : cli_targets_expand(cli, ret, options->selector, NULL, err);
}

static int set_schedulable(struct cli *cli, const struct cli_target *node, bool unschedulable, struct error *err)
{
	json_t *object = NULL;
	int rc = cli_target_get(cli, node, &object, err);
	if (rc)
		return rc;
	bool already = json_is_true(cli_at(object, "spec.unschedulable")) == unschedulable;
	json_decref(object);
	const char *what = unschedulable ? "cordoned" : "uncordoned";
	if (!already) {
		json_t *patch = json_pack("{s:{s:o}}", "spec", "unschedulable", unschedulable ? json_true() : json_null());
		rc = cli_patch(cli, node, NULL, CLI_MERGE_PATCH, patch, NULL, err);
		json_decref(patch);
	}
	if (!rc)
		printf("node/%s %s%s\n", node->name, already ? "already " : "", what);
	return rc;
}

static int cordon_one(struct cli *cli, const struct cli_target *node, void *arg, struct error *err)
{
	return set_schedulable(cli, node, arg != NULL, err);
}

static int run_cordons(struct cli *cli, struct options *options, const struct flag_list *args, bool unschedulable, struct error *err)
{
	autotargets struct cli_targets nodes = {0};
	int rc = find_nodes(cli, options, args, &nodes, err);
	return rc ? rc : cli_targets_each(cli, &nodes, NULL, cordon_one, unschedulable ? options : NULL, err);
}

static int run_cordon(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_cordons(cli, arg, args, true, err);
}
static int run_uncordon(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_cordons(cli, arg, args, false, err);
}

/* ---- drain ---- */

static json_t *controller_of(json_t *pod)
{
	size_t i;
	json_t *owner;
	json_array_foreach(cli_at(pod, "metadata.ownerReferences"), i, owner)
		if (json_is_true(json_object_get(owner, "controller")))
			return owner;
	return NULL;
}

static bool uses_emptydir(json_t *pod)
{
	size_t i;
	json_t *volume;
	json_array_foreach(cli_at(pod, "spec.volumes"), i, volume)
		if (json_object_get(volume, "emptyDir"))
			return true;
	return false;
}

/* Whether the pod is to go. Sets *ret_problem where it may not. */
static bool must_go(const struct options *options, json_t *pod, const char **ret_problem)
{
	json_t *owner = controller_of(pod);
	const char *phase = str_or(cli_str_at(pod, "status.phase"), "");
	if (json_object_get(cli_at(pod, "metadata.annotations"), "kubernetes.io/config.mirror"))
		return false;
	if (str_equal(phase, "Succeeded") || str_equal(phase, "Failed"))
		return true;
	if (str_equal(cli_str(owner, "kind"), "DaemonSet")) {
		if (!options->ignore_daemonsets)
			*ret_problem = "cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)";
		return false;
	}
	if (!owner && !options->force)
		*ret_problem = "cannot delete Pods that declare no controller (use --force to override)";
	else if (uses_emptydir(pod) && !options->delete_emptydir)
		*ret_problem = "cannot delete Pods with local storage (use --delete-emptydir-data to override)";
	return true;
}

static int evict(struct cli *cli, const struct options *options, const struct cli_target *pod, struct error *err)
{
	json_t *how = json_object();
	if (options->grace_period >= 0)
		json_object_set_new(how, "gracePeriodSeconds", json_integer(options->grace_period));
	int rc;
	if (options->disable_eviction) {
		json_object_set_new(how, "kind", json_string("DeleteOptions"));
		json_object_set_new(how, "apiVersion", json_string("v1"));
		rc = cli_call(cli, &(struct cli_call){.method = "DELETE", .path = cli_path(cli, pod->resource, pod->ns, pod->name, NULL), .body = how}, NULL, err);
	} else {
		json_t *eviction = json_pack("{s:s, s:s, s:{s:s, s:s}, s:O}", "apiVersion", "policy/v1", "kind", "Eviction", "metadata", "name", pod->name, "namespace", pod->ns, "deleteOptions", how);
		rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = cli_path(cli, pod->resource, pod->ns, pod->name, "eviction"), .body = eviction}, NULL, err);
		json_decref(eviction);
	}
	json_decref(how);
	return rc;
}

/* Evicts, again and again while a disruption budget forbids it, and waits until the pod is gone. */
static int remove_pod(struct cli *cli, const struct options *options, const struct cli_target *pod, json_t *object, int64_t deadline, struct error *err)
{
	const char *uid = str_or(cli_str_at(object, "metadata.uid"), "");
	printf("evicting pod %s/%s\n", pod->ns, pod->name);
	fflush(stdout);
	for (;;) {
		autoerror struct error problem = {0};
		int rc = evict(cli, options, pod, &problem);
		if (!rc || problem.http_code == 404)
			break;
		if (problem.http_code != 429 || (deadline && clock_monotonic_ns() > deadline))
			return error_move(err, &problem);
		fprintf(stderr, "error when evicting pods/\"%s\" -n \"%s\" (will retry after %ds): %s\n", pod->name, pod->ns, EVICT_AGAIN_SECONDS, error_message(&problem));
		/* The budget tells nobody when it allows more: time is all there is to wait for. */
		clock_nanosleep(CLOCK_MONOTONIC, 0, &(struct timespec){.tv_sec = EVICT_AGAIN_SECONDS}, NULL);
	}
	int64_t left = deadline ? max_of((deadline - clock_monotonic_ns()) / NSEC_PER_MSEC, (int64_t)1) : 0;
	int rc = cli_wait_absent(cli, pod, uid, left, err);
	if (!rc)
		printf("pod/%s evicted\n", pod->name);
	return rc;
}

static int drain_one(struct cli *cli, const struct cli_target *node, void *arg, struct error *err)
{
	struct options *options = arg;
	const struct cli_resource *pods = NULL;
	json_t *list = NULL, *pod;
	size_t i;
	int rc = set_schedulable(cli, node, true, err);
	if (!rc)
		rc = cli_resource_match(cli, "pods", &pods, err);
	if (rc)
		return rc;
	char *path = cli_path_query(cli, cli_path(cli, pods, NULL, NULL, NULL), "fieldSelector", arena_printf(cli->arena, "spec.nodeName=%s", node->name));
	rc = cli_get_json(cli, cli_path_query(cli, path, "labelSelector", options->pod_selector), &list, err);
	if (rc)
		return rc;
	autobuf struct buf problems = BUF_INIT(1 << 20);
	json_t *going = json_array();
	json_array_foreach(json_object_get(list, "items"), i, pod) {
		const char *problem = NULL;
		bool goes = must_go(options, pod, &problem);
		if (problem)
			buf_printf(&problems, "%s%s: %s/%s", problems.len ? ", " : "", problem, cli_ns(pod), cli_name(pod));
		else if (goes)
			json_array_append(going, pod);
	}
	if (problems.len)
		rc = error_set(err, EINVAL, "unable to drain node \"%s\" due to error: %s", node->name, problems.data);
	int64_t deadline = options->timeout ? clock_monotonic_ns() + options->timeout : 0;
	json_array_foreach(going, i, pod) {
		struct cli_target target = {.resource = pods, .ns = cli_ns(pod), .name = cli_name(pod)};
		if (!rc && str_equal(options->dry_run, "none"))
			rc = remove_pod(cli, options, &target, pod, deadline, err);
	}
	if (!rc)
		printf("node/%s drained\n", node->name);
	json_decref(going);
	json_decref(list);
	return rc;
}

static int run_drain(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	autotargets struct cli_targets nodes = {0};
	int rc = find_nodes(cli, arg, args, &nodes, err);
	return rc ? rc : cli_targets_each(cli, &nodes, NULL, drain_one, arg, err);
}

/* ---- taint ---- */

struct tainting {
	const struct options *options;
	struct flag_list changes; /* borrowed: key=value:Effect, key:Effect-, key- */
	const char *what;
};

static void drop_taint(json_t *taints, const char *key, const char *effect)
{
	for (size_t i = json_array_size(taints); i-- > 0;) {
		json_t *taint = json_array_get(taints, i);
		if (str_equal(cli_str(taint, "key"), key) && (str_empty(effect) || str_equal(cli_str(taint, "effect"), effect)))
			json_array_remove(taints, i);
	}
}

static bool has_taint(json_t *taints, const char *key, const char *effect)
{
	size_t i;
	json_t *taint;
	json_array_foreach(taints, i, taint)
		if (str_equal(cli_str(taint, "key"), key) && (str_empty(effect) || str_equal(cli_str(taint, "effect"), effect)))
			return true;
	return false;
}

static int change_taints(json_t *node, void *arg, struct error *err)
{
	struct tainting *tainting = arg;
	json_t *spec = cli_make_at(node, "spec"), *taints = json_object_get(spec, "taints");
	if (!taints)
		json_object_set_new(spec, "taints", taints = json_array());
	tainting->what = "untainted";
	for (size_t i = 0; i < tainting->changes.len; i++) {
		const char *text = tainting->changes.items[i];
		size_t len = strlen(text);
		bool removes = len && text[len - 1] == '-';
		autofree char *body = xstrndup(text, removes ? len - 1 : len);
		char *effect = strrchr(body, ':');
		if (effect)
			*effect++ = 0;
		char *value = strchr(body, '=');
		if (value)
			*value++ = 0;
		if (removes) {
			if (!has_taint(taints, body, effect))
				return error_set(err, ENOENT, "taint \"%s\" not found", text);
			drop_taint(taints, body, effect);
			continue;
		}
		if (str_empty(effect))
			return error_set(err, EINVAL, "invalid taint spec: %s", text);
		if (has_taint(taints, body, effect) && !tainting->options->overwrite)
			return error_set(err, EINVAL, "node %s already has %s taint(s) with same effect(s) and --overwrite is false", cli_name(node), body);
		drop_taint(taints, body, effect);
		json_t *taint = json_pack("{s:s, s:s}", "key", body, "effect", effect);
		if (!str_empty(value))
			json_object_set_new(taint, "value", json_string(value));
		json_array_append_new(taints, taint);
		tainting->what = "tainted";
	}
	return 0;
}

static int taint_one(struct cli *cli, const struct cli_target *node, void *arg, struct error *err)
{
	struct tainting *tainting = arg;
	int rc = cli_edit(cli, node, NULL, change_taints, tainting, NULL, err);
	if (!rc)
		printf("node/%s %s\n", node->name, tainting->what);
	return rc;
}

static int run_taint(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	if (!args->len || (!str_equal(args->items[0], "node") && !str_equal(args->items[0], "nodes") && !str_equal(args->items[0], "no")))
		return cli_usage_error(err, "invalid resource type, only node types are supported");
	size_t first = 1;
	while (first < args->len && !strchr(args->items[first], ':') && !strchr(args->items[first], '=') && !str_ends_with(args->items[first], "-"))
		first++;
	struct flag_list names = {.items = args->items + 1, .len = first - 1};
	struct tainting tainting = {.options = options, .changes = {.items = args->items + first, .len = args->len - first}};
	if (!tainting.changes.len)
		return cli_usage_error(err, "at least one taint update is required");
	autotargets struct cli_targets nodes = {0};
	int rc = find_nodes(cli, options, &names, &nodes, err);
	return rc ? rc : cli_targets_each(cli, &nodes, NULL, taint_one, &tainting, err);
}

const struct cli_command command_cordon = {.name = "cordon", .usage = "NODE", .summary = "Mark node as unschedulable", .flags = cordon_flags, .flag_count = array_len(cordon_flags), .options_size = sizeof(struct options), .run = run_cordon};
const struct cli_command command_uncordon = {.name = "uncordon", .usage = "NODE", .summary = "Mark node as schedulable", .flags = cordon_flags, .flag_count = array_len(cordon_flags), .options_size = sizeof(struct options), .run = run_uncordon};
const struct cli_command command_drain = {.name = "drain", .usage = "NODE", .summary = "Drain node in preparation for maintenance", .flags = drain_flags, .flag_count = array_len(drain_flags), .options_size = sizeof(struct options), .run = run_drain};
const struct cli_command command_taint = {.name = "taint", .usage = "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ...", .summary = "Update the taints on one or more nodes", .flags = taint_flags, .flag_count = array_len(taint_flags), .options_size = sizeof(struct options), .run = run_taint};
