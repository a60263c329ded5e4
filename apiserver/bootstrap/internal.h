/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. All run on the bootstrap's worker. */
#ifndef CORACLE_APISERVER_BOOTSTRAP_INTERNAL_H
#define CORACLE_APISERVER_BOOTSTRAP_INTERNAL_H

#include "apiserver/worker.h"
#include "common/base/clock.h"

/* Creates it, defaults and metadata filled in; 0 where it is there already. */
int bootstrap_put(struct worker *worker, const struct resource *resource, void *object);
/* Creates it where nothing is, or sets these fields (NULL terminated) of what is there where they differ. -EAGAIN: changed meanwhile. */
int bootstrap_converge(struct worker *worker, const struct resource *resource, void *object, const char *const *fields);

/* ---- reconcile.c ---- */

/* Brings what is there up to date with what should be, as far as its kind and annotations allow. */
int bootstrap_reconcile(struct worker *worker, const struct resource *resource, void *wanted, const void *there);

/* ---- membership.c ---- */

#define MEMBERSHIP_INTERVAL_NS (10 * NSEC_PER_SEC)
struct membership;
/* Joins the servers on this etcd, and watches for others that come and go: then the worker is woken. */
struct membership *membership_start(struct worker *worker);
/* Says that this server lives, and brings the kubernetes Service's endpoints up to date with those that do. */
void membership_renew(struct membership *membership);
/* Takes this server out of the endpoints, as far as etcd answers. The worker has ended. Takes NULL. */
void membership_stop(struct membership *membership);

#endif
