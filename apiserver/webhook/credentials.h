/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How this server shows who it is to admission webhooks: the kubeconfig of a WebhookAdmissionConfiguration, whose users are named by the servers they are for: host:port,
 * *.domain:port, the same without the port for 443, "*" for all others, or else the user of the current context.
 */
#ifndef CORACLE_APISERVER_WEBHOOK_CREDENTIALS_H
#define CORACLE_APISERVER_WEBHOOK_CREDENTIALS_H

#include "common/base/error.h"

#include <jansson.h>

struct webhook_credentials;
struct webhook_credential {
	char *name;
	char *authorization; /* the header's value; NULL: none */
	char *token_file;    /* of a token, read at each call; NULL: none */
	char *own;           /* PEM of certificate and key; NULL: none */
	size_t own_len;
};

/* A kubeconfig's text; paths in it are relative to `folder`. */
int webhook_credentials_parse(const char *text, size_t len, const char *folder, struct webhook_credentials **ret, struct error *err);
int webhook_credentials_read(const char *path, struct webhook_credentials **ret, struct error *err);
/* Takes NULL. */
void webhook_credentials_free(struct webhook_credentials *credentials);
/* Who it is to that server (of a Service: name.namespace.svc); NULL: nobody. Takes NULL. */
const struct webhook_credential *webhook_credentials_find(const struct webhook_credentials *credentials, const char *host, uint16_t port);
/* The header's value, malloc'ed; NULL in *ret where there is none. */
int webhook_credential_authorization(const struct webhook_credential *credential, char **ret, struct error *err);

#endif
