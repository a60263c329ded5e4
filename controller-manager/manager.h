/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the controllers of table.c against a real API server. */
#ifndef CORACLE_CONTROLLER_MANAGER_MANAGER_H
#define CORACLE_CONTROLLER_MANAGER_MANAGER_H

#include "controller-manager/controller.h"

struct manager;

struct manager_options {
	struct client *client;
	const struct client_config *config; /* of that client, for those of the controllers' own accounts */
	const struct settings *settings;
	/* Asked before each write: false where this process may not write (any more). NULL: it always may. Any thread. */
	bool (*may_write)(void *arg);
	void *arg;
};
/* What the options point at stays the caller's. */
struct manager *manager_new(const struct manager_options *options);
/* True where --controllers asks for this one. */
bool controller_is_enabled(const struct controller *controller, const struct flag_list *wanted);
/* -EINVAL naming the first name of --controllers that is no controller. */
int manager_check_names(const struct flag_list *wanted, struct error *err);
/* -EINVAL where a controller that is enabled cannot work with what is set. */
int manager_check_settings(const struct settings *settings, struct error *err);
/* Starts to fill the caches, as a standby does, so that it can take over at once. */
void manager_warm(struct manager *manager);
/*
 * Waits for the caches, then starts the workers. Writes go with the fence (NULL: none). Returns false where cancel_fd became readable first.
 */
bool manager_start(struct manager *manager, const char *fence, int cancel_fd);
/* An Event of the manager itself. Once it has started. */
void manager_event(struct manager *manager, const void *object, const char *type, const char *reason, const char *message);
/* Brings up to date what its controllers count. Any thread, until manager_free. */
void manager_collect(struct manager *manager);
bool manager_is_running(const struct manager *manager);
/* Ends the workers: when it returns, nothing is written any more. What is still queued is left to the next leader. */
void manager_stop(struct manager *manager);
/* Stops the workers, then the caches. Takes NULL. */
void manager_free(struct manager *manager);
/* Calls fn for each controller that runs here, with a check that fails while one of its workers has been at one key for too long. */
void manager_each_check(struct manager *manager, void (*fn)(const char *name, bool (*check)(void *check_arg, struct error *err), void *check_arg, void *arg), void *arg);

#endif
