/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the controllers of table.c against a real API server. */
#ifndef CORACLE_CONTROLLER_MANAGER_MANAGER_H
#define CORACLE_CONTROLLER_MANAGER_MANAGER_H

#include "controller-manager/controller.h"

struct manager;

/* client and settings stay the caller's. */
struct manager *manager_new(struct client *client, const struct settings *settings);
/* True where --controllers asks for this one. */
bool controller_is_enabled(const struct controller *controller, const struct flag_list *wanted);
/* -EINVAL naming the first name of --controllers that is no controller. */
int manager_check_names(const struct flag_list *wanted, struct error *err);
/* Fills the caches, then starts the workers. Blocks until then; returns false where cancel_fd became readable first. */
bool manager_start(struct manager *manager, int cancel_fd);
bool manager_is_running(const struct manager *manager);
/* Stops the workers, then the caches. */
void manager_free(struct manager *manager);

#endif
