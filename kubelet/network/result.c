/* SPDX-License-Identifier: Apache-2.0 */
/* What plugins answer: the addresses, in every version of the specification. */
#include "kubelet/network/internal.h"

#include <arpa/inet.h>
#include <errno.h>

void network_result_done(struct network_result *result)
{
	for (size_t i = 0; i < result->ip_count; i++)
		free(result->ips[i]);
	*result = (struct network_result){0};
}

/* "10.1.2.3/24" or without prefix; kept in canonical form. */
static int add_address(struct network_result *result, const char *text, struct error *err)
{
	char plain[INET6_ADDRSTRLEN + 1], canonical[INET6_ADDRSTRLEN];
	uint8_t raw[16];
	size_t len = text ? strcspn(text, "/") : 0;
	if (len == 0 || len >= sizeof(plain))
		return error_set(err, EINVAL, "CNI result holds an address that is not one");
	memcpy(plain, text, len);
	plain[len] = 0;
	int family = strchr(plain, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(family, plain, raw) != 1)
		return error_set(err, EINVAL, "CNI result holds an address that is not one");
	if (result->ip_count == NETWORK_MAX_IPS)
		return error_set(err, E2BIG, "CNI result holds more than %d addresses", NETWORK_MAX_IPS);
	inet_ntop(family, raw, canonical, sizeof(canonical));
	result->ips[result->ip_count++] = xstrdup(canonical);
	return 0;
}

/*
 * Since 0.3.0 an address may name its interface; one without a sandbox is on the host's side and is not the pod's.
 */
static bool on_host(json_t *root, json_t *ip)
{
	json_t *index = json_object_get(ip, "interface");
	if (!json_is_integer(index) || json_integer_value(index) < 0)
		return false;
	json_t *interface = json_array_get(json_object_get(root, "interfaces"), (size_t)json_integer_value(index));
	return interface && str_empty(json_string_value(json_object_get(interface, "sandbox")));
}

static int read_old(json_t *root, struct network_result *result, struct error *err)
{
	static const char *const keys[] = {"ip4", "ip6"};
	for (size_t i = 0; i < array_len(keys); i++) {
		json_t *part = json_object_get(root, keys[i]);
		if (!part || json_is_null(part))
			continue;
		int r = add_address(result, json_string_value(json_object_get(part, "ip")), err);
		if (r < 0)
			return r;
	}
	return 0;
}

int network_result_parse(const char *json, size_t len, struct network_result *ret, struct error *err)
{
	json_error_t where;
	autojson json_t *root = len <= NETWORK_MAX_RESULT ? json_loadb(json, len, 0, &where) : NULL;
	if (!json_is_object(root))
		return error_set(err, EINVAL, "CNI result is not a JSON object");
	struct network_result result = {0};
	int r = read_old(root, &result, err);
	json_t *ip;
	size_t i;
	json_array_foreach(json_object_get(root, "ips"), i, ip)
	{
		if (r == 0 && !on_host(root, ip))
			r = add_address(&result, json_string_value(json_object_get(ip, "address")), err);
	}
	if (r < 0) {
		network_result_done(&result);
		return r;
	}
	*ret = result;
	return 0;
}
