/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic of a range of addresses that are given out one by one, as Services get theirs. Texts of addresses hold INET6_ADDRSTRLEN bytes. */
#ifndef CORACLE_BASE_IP_RANGE_H
#define CORACLE_BASE_IP_RANGE_H

#include "common/base/base.h"

#include <netinet/in.h>

struct ip_range {
	int family;        /* AF_INET, AF_INET6 */
	unsigned bits;     /* of the prefix */
	uint8_t base[16];
	uint64_t hosts;    /* addresses that may be given out: not the network's, for IPv4 not the broadcast one; saturated */
	uint64_t reserved; /* so many of the first are chosen last: they are for those asked for by hand */
};

/* "10.0.0.0/24". Returns 0 or -EINVAL. */
int ip_range_parse(const char *text, struct ip_range *ret);
/* In canonical form; out holds INET6_ADDRSTRLEN + 4 bytes. */
void ip_range_text(const struct ip_range *range, char *out);
/* The n-th address that may be given out, from 0. */
void ip_range_address(const struct ip_range *range, uint64_t n, char *out);
/* Which one it is: the n of ip_range_address(). False where it is none that may be given out, or its number needs more than 64 bits. */
bool ip_range_index(const struct ip_range *range, const char *ip, uint64_t *ret);
/* True where the network holds the address, its first and last included. */
bool ip_range_contains(const struct ip_range *range, const char *ip);
/* True where it is one that may be given out. */
bool ip_range_may_give(const struct ip_range *range, const char *ip);
/* True where all of `inner` lies in `outer`. */
bool ip_range_covers(const struct ip_range *outer, const struct ip_range *inner);
/* How many of `size` things in a row are kept for requests by number: size / step, between least and most; 0 where that leaves nothing. */
uint64_t band_reserved(uint64_t size, uint64_t least, uint64_t most, uint64_t step);

#endif
