/* SPDX-License-Identifier: Apache-2.0 */
/* A client for each controller under its own ServiceAccount of kube-system, so that it may do what its role says and no more. */
#ifndef CORACLE_CONTROLLER_MANAGER_ACCOUNTS_H
#define CORACLE_CONTROLLER_MANAGER_ACCOUNTS_H

#include "common/client/client.h"

struct accounts;
/* client makes the accounts and asks for their tokens; config says where the server is. Both stay the caller's. */
struct accounts *accounts_new(struct client *client, const struct client_config *config);
/* Makes the account where it is missing, and a client with a token of it, kept fresh from then on. The client stays ours; one for each name. */
int accounts_client(struct accounts *accounts, const char *name, struct client **ret, struct error *err);
/* Takes NULL. */
void accounts_free(struct accounts *accounts);

#endif
