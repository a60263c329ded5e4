/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_FRONTPROXY_H
#define CORACLE_APISERVER_FRONTPROXY_H

#include "apiserver/request/request.h"

/* The user that a trusted front proxy (an allowed certificate name) vouches for by headers; NULL where it is none. */
struct user *front_proxy_user(struct request *r, const struct http_peer_cert *cert);

#endif
