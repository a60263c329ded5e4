/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests run at once, and whose turn it is. FlowSchemas say which priority level a request belongs to and which flow it is part of;
 * levels divide the server's seats among them, lend what they do not need, and let flows wait in turn (queueset.h). A request that waits is kept,
 * and goes on in a thread of ours; nothing blocks.
 */
#ifndef CORACLE_APISERVER_FLOW_H
#define CORACLE_APISERVER_FLOW_H

#include "apiserver/request/request.h"

int flow_start(struct apiserver *server, struct error *err);
/* The bootstrap objects are written: their status may be kept from now on. */
void flow_ready(struct apiserver *server);
/* Refuses those who wait, now and from now on. */
void flow_drain(struct apiserver *server);
/* No request is left. Takes a server without. */
void flow_stop(struct apiserver *server);

/*
 * Takes seats for the request: 0 (it runs now), REQUEST_TAKEN (it waits, and goes on with request_continue(), or was refused with 429).
 * It holds them until flow_release().
 */
int flow_admit(struct request *r, struct error *err);
void flow_release(struct request *r);

/* /debug/api_priority_and_fairness/... */
int flow_debug(struct request *r, struct error *err);

#endif
