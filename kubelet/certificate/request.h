/* SPDX-License-Identifier: Apache-2.0 */
/* Asks the API server for a certificate, and waits until somebody has approved and a signer signed. */
#ifndef CORACLE_KUBELET_CERTIFICATE_REQUEST_H
#define CORACLE_KUBELET_CERTIFICATE_REQUEST_H

#include "common/client/client.h"

#define SIGNER_KUBELET_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define SIGNER_KUBELET_SERVING "kubernetes.io/kubelet-serving"

struct certificate_request {
	const char *signer;
	const char *name;    /* of the object; NULL: the server finds one. One that is there already by that name is waited for */
	const char *request; /* PEM */
	int wait_seconds;
	int stop_fd; /* readable: give up, -ECANCELED */
};
/* The caller frees. -EACCES: denied or refused for good; -ETIMEDOUT: nobody has signed it in time. */
int certificate_request(struct client *client, const struct certificate_request *request, char **ret_cert, struct error *err);

#endif
