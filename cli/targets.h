/* SPDX-License-Identifier: Apache-2.0 */
/* What a command is to work on: "pods web-1", "deploy/web svc/web", or the objects of files. */
#ifndef CORACLE_CLI_TARGETS_H
#define CORACLE_CLI_TARGETS_H

#include "cli/request.h"

#define CLI_MAX_FILE (64u << 20)

struct cli_target {
	const struct cli_resource *resource;
	const char *name;   /* NULL: all that the selectors choose */
	const char *ns;     /* NULL: cluster-scoped, or all namespaces */
	json_t *object;     /* as it stands in a file; NULL: named by words */
	const char *source; /* the file; NULL: none */
};
struct cli_targets {
	struct cli_target *items;
	size_t len;
};
void cli_targets_done(struct cli_targets *targets);
#define autotargets cleanup(cli_targets_done)

/* "TYPE[,TYPE] [NAME...]" or "TYPE/NAME ...", from args[first] on. all_namespaces: ns stays NULL. */
int cli_targets_from_args(struct cli *cli, const struct flag_list *args, size_t first, bool all_namespaces, struct cli_targets *ret, struct error *err);
/* Files, folders, "-" and URLs; lists are taken apart. Objects without a namespace get the command's. */
int cli_targets_from_files(struct cli *cli, const struct flag_list *files, bool recursive, struct cli_targets *ret, struct error *err);
/* Every document of the files as a tree, as it stands. */
int cli_read_files(struct cli *cli, const struct flag_list *files, bool recursive, int (*fn)(json_t *object, const char *source, void *arg, struct error *err), void *arg, struct error *err);
/* "pod/x", "pod.apps/x": for messages; in the arena. */
const char *cli_target_display(struct cli *cli, const struct cli_target *target);
/* The object on the server. */
int cli_target_get(struct cli *cli, const struct cli_target *target, json_t **ret, struct error *err);
/* Replaces targets without a name by one target for each object that the selectors choose. */
int cli_targets_expand(struct cli *cli, struct cli_targets *targets, const char *label_selector, const char *field_selector, struct error *err);
/*
 * Runs fn for each target whose object carries the labels (selector NULL: all). What the server refuses is told on stderr and the rest
 * goes on, with exit code 1; a single target's error is returned.
 */
int cli_targets_each(struct cli *cli, const struct cli_targets *targets, const char *label_selector, int (*fn)(struct cli *cli, const struct cli_target *target, void *arg, struct error *err), void *arg, struct error *err);
/* Waits until the object (with that uid, where it is given) is gone. timeout_ms 0: for ever. */
int cli_wait_absent(struct cli *cli, const struct cli_target *target, const char *uid, int64_t timeout_ms, struct error *err);
/* --validate as the server's fieldValidation. */
const char *cli_field_validation(const char *validate);
/* Reads the object, lets `change` edit it, and puts it back; again where somebody else was faster. subresource may be NULL; ret may be NULL. */
int cli_edit(struct cli *cli, const struct cli_target *target, const char *subresource, int (*change)(json_t *object, void *arg, struct error *err), void *arg, json_t **ret, struct error *err);
/* A patch of the object. ret may be NULL. */
int cli_patch(struct cli *cli, const struct cli_target *target, const char *subresource, const char *content_type, json_t *patch, json_t **ret, struct error *err);
#define CLI_MERGE_PATCH "application/merge-patch+json"
#define CLI_STRATEGIC_PATCH "application/strategic-merge-patch+json"

#endif
