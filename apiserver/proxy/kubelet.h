/* SPDX-License-Identifier: Apache-2.0 */
/* Where requests about running things go: a pod's node's kubelet, a pod, a service's endpoint. */
#ifndef CORACLE_APISERVER_KUBELET_H
#define CORACLE_APISERVER_KUBELET_H

#include "apiserver/proxy/upstream.h"

int kubelet_client_new(struct apiserver *server, struct kubelet_client **ret, struct error *err);
void kubelet_client_free(struct kubelet_client *client);
/* Credentials for TLS without verification, as proxied https services get. */
gnutls_certificate_credentials_t kubelet_plain_credentials(struct kubelet_client *client);
/* Those that the API server shows to kubelets; *ret_verify: whether theirs are checked. */
gnutls_certificate_credentials_t kubelet_credentials(struct kubelet_client *client, bool *ret_verify);
/* The numeric address (borrowed from the node; NULL: none) and port of its kubelet. */
struct core_v1_node;
const char *kubelet_address(const struct apiserver *server, const struct core_v1_node *node, uint16_t *ret_port);
/* Where a port of a service is served: a ready endpoint of its slices (or the name that stands for it). Texts in arena; an error in Kubernetes' words. */
int service_locate(struct apiserver *server, struct arena *arena, const char *ns, const char *name, int32_t port, const char **ret_address, uint16_t *ret_port, struct error *err);
/* Fills address, port and TLS of a node's kubelet; strings in r's arena. */
int kubelet_locate(struct request *r, const char *node, struct upstream_options *ret, struct error *err);

#endif
