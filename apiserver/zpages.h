/* SPDX-License-Identifier: Apache-2.0 */
/* /statusz and /flagz: what runs here, and how it was told to. */
#ifndef CORACLE_APISERVER_ZPAGES_H
#define CORACLE_APISERVER_ZPAGES_H

#include "apiserver/request/request.h"

int statusz_handle(struct request *r, struct error *err);
int flagz_handle(struct request *r, struct error *err);

#endif
