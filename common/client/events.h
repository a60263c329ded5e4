/* SPDX-License-Identifier: Apache-2.0 */
/* Events about objects: sent by a thread of its own, aggregated as client-go does, bounded, never blocking the caller. */
#ifndef CORACLE_CLIENT_EVENTS_H
#define CORACLE_CLIENT_EVENTS_H

#include "common/client/client.h"

struct event_recorder;
/* component: "kubelet", "deployment-controller"; host may be NULL. */
struct event_recorder *event_recorder_new(struct client *client, const char *component, const char *host);
/* Sends what is queued for at most a second, joins, frees. */
void event_recorder_free(struct event_recorder *recorder);
/* type: "Normal" or "Warning". object: any root object with metadata. field_path may be NULL ("spec.containers{app}"). */
void event_record(struct event_recorder *recorder, const void *object, const char *field_path, const char *type, const char *reason, const char *fmt, ...) printf_like(6, 7);
/* The same in the newer form (events.k8s.io/v1), which says what was done ("Binding") and counts repeats in a series. */
void event_report(struct event_recorder *recorder, const void *object, const char *type, const char *reason, const char *action, const char *fmt, ...) printf_like(6, 7);

#endif
