/* SPDX-License-Identifier: Apache-2.0 */
/* /debug: what --profiling opens. Of profiles this program has none to give but its own command line; what is logged can be set while it runs. */
#ifndef CORACLE_APISERVER_DEBUG_H
#define CORACLE_APISERVER_DEBUG_H

#include "apiserver/request/request.h"

int debug_profiles(struct request *r, struct error *err);
int debug_flags(struct request *r, struct error *err);
/* /debug/flags/v: a PUT of a number. */
int debug_verbosity(struct request *r, struct error *err);

#endif
