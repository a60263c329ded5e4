/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates a kubelet lives by: the one it shows to the API server, the one it serves with. Got with a bootstrap token where it has none, and renewed in
 * time, each by a thread that sleeps until then; none runs where nothing is to be renewed.
 */
#ifndef CORACLE_KUBELET_CERTIFICATE_MANAGER_H
#define CORACLE_KUBELET_CERTIFICATE_MANAGER_H

#include "kubelet/kubelet.h"

#define CERTIFICATE_CLIENT_PREFIX "kubelet-client"
#define CERTIFICATE_SERVING_PREFIX "kubelet-server"

struct certificates;

/*
 * Before anything talks. Where the kubeconfig is missing, broken or expired and there is a bootstrap kubeconfig, a thread begins to ask for a certificate, and
 * *ret_waits is true: the kubelet runs its static pods meanwhile, as one without an API server does, and begins anew once kubelet_turn() is called with TURN_AGAIN.
 */
int certificates_open(struct kubelet *kubelet, bool *ret_waits, struct error *err);
/* What was renewed takes the place of what the kubeconfig names. */
void certificates_choose(struct certificates *certificates, struct client_config *config);
/* Begins to renew, once there is a client. */
void certificates_start(struct certificates *certificates);
/* The files to serve with, by which the options' are replaced; they may come later (http_server_options.cert_may_come). Made where none were given and none are asked for. */
int certificates_serve(struct kubelet *kubelet, struct error *err);
void certificates_stop(struct certificates *certificates);
void certificates_free(struct certificates *certificates);

#endif
