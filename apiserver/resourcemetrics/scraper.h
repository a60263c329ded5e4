/* SPDX-License-Identifier: Apache-2.0 */
/* Asks every node's kubelet what is used, on a thread of its own. */
#ifndef CORACLE_APISERVER_SCRAPER_H
#define CORACLE_APISERVER_SCRAPER_H

#include "apiserver/apiserver.h"
#include "apiserver/resourcemetrics/samples.h"

struct scraper;
int scraper_start(struct apiserver *server, struct scraper **ret, struct error *err);
/* Joins the thread. Takes NULL. */
void scraper_stop(struct scraper *scraper);
/* A reference, or NULL where nothing is known (any more). Counts as a sign that somebody reads. Thread safe. */
struct node_usage *scraper_usage(struct scraper *scraper, const char *node);
/* False where an APIService says that another server answers for metrics.k8s.io of this version (NULL: of any). */
bool resource_metrics_is_ours(struct apiserver *server);

#endif
