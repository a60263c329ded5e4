/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may vouch for users (--client-ca-file), and who for front proxies (--requestheader-client-ca-file). The TLS layer trusts both; what each may vouch for is told apart
 * here, where they differ. The files are read again as they change; one that is broken leaves what was.
 */
#ifndef CORACLE_APISERVER_AUTHN_AUTHORITIES_H
#define CORACLE_APISERVER_AUTHN_AUTHORITIES_H

#include "apiserver/apiserver.h"

struct authorities;
int authorities_new(struct apiserver *server, struct authorities **ret, struct error *err);
/* While the timers run. Takes NULL. */
void authorities_free(struct authorities *authorities);
bool authorities_vouch_user(struct authorities *authorities, const struct http_peer_cert *cert);
bool authorities_vouch_proxy(struct authorities *authorities, const struct http_peer_cert *cert);

#endif
