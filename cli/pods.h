/* SPDX-License-Identifier: Apache-2.0 */
/* From words to pods: "web-1", "pod/web-1", "deploy/web". */
#ifndef CORACLE_CLI_PODS_H
#define CORACLE_CLI_PODS_H

#include "cli/request.h"

/* The pod that the word means; of a workload the first one that runs. *ret is a new reference. */
int cli_pod_find(struct cli *cli, const char *word, json_t **ret, struct error *err);
/* All pods that the word or the selector means, appended to the array. */
int cli_pods_find(struct cli *cli, const char *word, const char *selector, json_t *pods, struct error *err);
/* The container that commands mean where none is named. says: tells on stderr where there was a choice. */
const char *cli_pod_container(json_t *pod, const char *wanted, bool says);
/* The selector of a workload's pods as text, in the arena; NULL where it has none. */
const char *cli_selector_of(struct cli *cli, json_t *object);

#endif
