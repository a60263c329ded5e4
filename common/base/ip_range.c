/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/ip_range.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

static unsigned width_of(int family) {
	return family == AF_INET ? 32 : 128;
}

uint64_t band_reserved(uint64_t size, uint64_t least, uint64_t most, uint64_t step) {
	return size <= least ? 0 : min_of(max_of(size / step, least), most);
}

int ip_range_parse(const char *text, struct ip_range *ret) {
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	int64_t bits;
	if (!slash || snprintf(address, sizeof(address), "%.*s", (int)(slash - text), text) >= (int)sizeof(address))
		return -EINVAL;
	struct ip_range range = {.family = strchr(address, ':') ? AF_INET6 : AF_INET};
	unsigned width = width_of(range.family);
	if (inet_pton(range.family, address, range.base) != 1 || !str_to_int64(slash + 1, 0, width, &bits))
		return -EINVAL;
	range.bits = (unsigned)bits;
	for (unsigned i = range.bits; i < width; i++)
		range.base[i / 8] &= (uint8_t)~(0x80 >> (i % 8));
	unsigned host_bits = width - range.bits;
	uint64_t size = host_bits >= 64 ? UINT64_MAX : (uint64_t)1 << host_bits;
	uint64_t kept = range.family == AF_INET ? 2 : 1;
	range.hosts = host_bits >= 64 ? UINT64_MAX : size > kept ? size - kept : 0;
	range.reserved = band_reserved(size, 16, 256, 16);
	*ret = range;
	return 0;
}

void ip_range_text(const struct ip_range *range, char *out) {
	char address[INET6_ADDRSTRLEN];
	inet_ntop(range->family, range->base, address, sizeof(address));
	snprintf(out, INET6_ADDRSTRLEN + 4, "%s/%u", address, range->bits);
}

void ip_range_address(const struct ip_range *range, uint64_t n, char *out) {
	uint8_t address[16];
	memcpy(address, range->base, sizeof(address));
	/* Adds n + 1, which may take 65 bits. */
	unsigned carry = 1;
	for (int i = range->family == AF_INET ? 3 : 15; i >= 0 && (n || carry); i--) {
		unsigned sum = address[i] + (unsigned)(n & 0xff) + carry;
		address[i] = (uint8_t)sum;
		carry = sum >> 8;
		n >>= 8;
	}
	inet_ntop(range->family, address, out, INET6_ADDRSTRLEN);
}

static bool has_prefix(const struct ip_range *range, const uint8_t *address) {
	unsigned whole = range->bits / 8, rest = range->bits % 8;
	if (memcmp(range->base, address, whole) != 0)
		return false;
	return rest == 0 || ((range->base[whole] ^ address[whole]) & (uint8_t)(0xff << (8 - rest))) == 0;
}

bool ip_range_contains(const struct ip_range *range, const char *ip) {
	uint8_t address[16] = {0};
	return inet_pton(range->family, ip, address) == 1 && has_prefix(range, address);
}

bool ip_range_may_give(const struct ip_range *range, const char *ip) {
	uint8_t address[16] = {0};
	if (inet_pton(range->family, ip, address) != 1 || !has_prefix(range, address))
		return false;
	bool zeros = true, ones = true;
	for (unsigned i = range->bits; i < width_of(range->family); i++)
		*(address[i / 8] & (0x80 >> (i % 8)) ? &zeros : &ones) = false;
	return !zeros && !(ones && range->family == AF_INET);
}

bool ip_range_index(const struct ip_range *range, const char *ip, uint64_t *ret) {
	uint8_t address[16] = {0};
	uint64_t n = 0;
	if (!ip_range_may_give(range, ip) || inet_pton(range->family, ip, address) != 1)
		return false;
	for (unsigned i = range->bits / 8, bytes = width_of(range->family) / 8; i < bytes; i++) {
		if (n >> 56)
			return false;
		n = n << 8 | (uint8_t)(address[i] ^ range->base[i]);
	}
	*ret = n - 1;
	return true;
}

bool ip_range_covers(const struct ip_range *outer, const struct ip_range *inner) {
	return outer->family == inner->family && outer->bits <= inner->bits && has_prefix(outer, inner->base);
}
