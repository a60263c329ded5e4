/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --memory-limit: the process stays below it. A share of it bounds what the HTTP server buffers; each request reserves what it may need before
 * it begins; and as the process nears the limit it gives back what it can do without, then refuses: writes first, at last everything but
 * health checks. Nothing happens without the flag.
 */
#ifndef CORACLE_APISERVER_MEMORY_H
#define CORACLE_APISERVER_MEMORY_H

#include "apiserver/request/request.h"

int memory_start(struct apiserver *server, struct error *err);
void memory_stop(struct apiserver *server);
/* The limit in bytes; 0: none. */
size_t memory_limit(const struct apiserver *server);
/* Reserves for the request until its memory is freed. False where there is not enough: it is to be refused. */
bool memory_reserve(struct request *r);

#endif
