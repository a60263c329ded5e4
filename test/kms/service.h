/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key service for tests, in the second version of Kubernetes' KMS API. What it does is said by files of a folder, read at each call:
 *   key-id   the name of its key; without it: "one"
 *   health   its health, where it is not "ok"
 *   lost     names of keys that it has no more, one a line
 * Its keys are made of their names: it hides nothing from anybody.
 */
#ifndef CORACLE_TEST_KMS_SERVICE_H
#define CORACLE_TEST_KMS_SERVICE_H

#include "common/base/error.h"

struct grpc_server;
/* The folder's name must outlive it. Ends with grpc_server_stop(). */
int kms_service_start(const char *socket, const char *folder, struct grpc_server **ret, struct error *err);

#endif
