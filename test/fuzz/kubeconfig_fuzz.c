/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/client.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client_config config;
	autoerror struct error err = {0};
	if (client_config_parse((const char *)data, size, "/nonexistent", NULL, &config, &err) == 0)
		client_config_done(&config);
	return 0;
}
