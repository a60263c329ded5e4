/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/random.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/random.h>

static const char name_alphabet[] = "bcdfghjklmnpqrstvwxz2456789";

void random_bytes(void *out, size_t len)
{
	unsigned char *p = out;
	while (len) {
		ssize_t n = getrandom(p, len, 0);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			abort(); /* identifiers and keys must never be guessable */
		}
		p += n;
		len -= (size_t)n;
	}
}

/*
 * Small values, of which servers need thousands a second, come from a supply of the thread's own; what was given is wiped. A child that was forked
 * begins without.
 */
enum { SUPPLY = 512 };
static _Thread_local struct {
	unsigned char bytes[SUPPLY];
	size_t left;
	unsigned generation;
} supply;
static atomic_uint fork_generation;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;

static void forked(void)
{
	atomic_fetch_add(&fork_generation, 1);
}

static void watch_forks(void)
{
	pthread_atfork(NULL, NULL, forked);
}

static void random_small(void *out, size_t len)
{
	pthread_once(&fork_once, watch_forks);
	unsigned generation = atomic_load_explicit(&fork_generation, memory_order_relaxed);
	if (supply.left < len || supply.generation != generation) {
		random_bytes(supply.bytes, SUPPLY);
		supply.left = SUPPLY;
		supply.generation = generation;
	}
	supply.left -= len;
	memcpy(out, supply.bytes + supply.left, len);
	explicit_bzero(supply.bytes + supply.left, len);
}

uint64_t random_u64(void)
{
	uint64_t value;
	random_small(&value, sizeof(value));
	return value;
}

uint64_t random_below(uint64_t bound)
{
	/* Values under `reject` would make the low results likelier. */
	uint64_t reject = (0 - bound) % bound, value;
	do
		value = random_u64();
	while (value < reject);
	return value % bound;
}

void random_uuid(char *out)
{
	static const char digits[] = "0123456789abcdef";
	unsigned char b[16];
	random_small(b, sizeof(b));
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < sizeof(b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = digits[b[i] >> 4];
		*out++ = digits[b[i] & 15];
	}
	*out = '\0';
}

void random_name_suffix(char *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = name_alphabet[random_below(sizeof(name_alphabet) - 1)];
	out[len] = '\0';
}

void name_safe_hash(uint32_t hash, char *out)
{
	int n = snprintf(out, 16, "%u", hash);
	for (int i = 0; i < n; i++)
		out[i] = name_alphabet[(unsigned char)out[i] % (sizeof(name_alphabet) - 1)];
}

void sha256(const void *data, size_t len, uint8_t out[32])
{
	if (gnutls_hash_fast(GNUTLS_DIG_SHA256, data, len, out) < 0)
		abort(); /* the algorithm is built in; without it nothing that follows can be trusted */
}

void base32_encode(const uint8_t *data, size_t len, char *out)
{
	for (size_t bit = 0; bit < len * 8; bit += 5) {
		size_t i = bit / 8;
		unsigned two = (unsigned)data[i] << 8 | (i + 1 < len ? data[i + 1] : 0);
		*out++ = "abcdefghijklmnopqrstuvwxyz234567"[two >> (11 - bit % 8) & 31];
	}
	*out = '\0';
}

void sha256_hex(const void *data, size_t len, char out[65])
{
	uint8_t digest[32];
	sha256(data, len, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

int base64_decode(const char *s, size_t len, size_t max, uint8_t **ret, size_t *ret_len)
{
	size_t padding = 0;
	while (padding < 2 && len && s[len - 1] == '=') {
		len--;
		padding++;
	}
	size_t rest = len % 4, size = len / 4 * 3 + (rest ? rest - 1 : 0);
	if (rest == 1 || (padding && (rest + padding) != 4) || size > max)
		return -EINVAL;
	autofree uint8_t *out = xmalloc(size + 1);
	uint32_t bits = 0;
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		int value = base64_value(s[i]);
		if (value < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)value;
		if (i % 4 == 3) {
			out[n++] = (uint8_t)(bits >> 16);
			out[n++] = (uint8_t)(bits >> 8);
			out[n++] = (uint8_t)bits;
		}
	}
	if (rest >= 2)
		out[n++] = (uint8_t)(rest == 2 ? bits >> 4 : bits >> 10);
	if (rest == 3)
		out[n++] = (uint8_t)(bits >> 2);
	out[n] = '\0';
	*ret = take_ptr(out);
	*ret_len = n;
	return 0;
}

char *base64url_encode(const void *data, size_t len)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *p = data;
	char *out = xmalloc(len / 3 * 4 + 5), *at = out;
	for (; len >= 3; len -= 3, p += 3) {
		*at++ = alphabet[p[0] >> 2];
		*at++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
		*at++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
		*at++ = alphabet[p[2] & 63];
	}
	if (len) {
		uint8_t second = len == 2 ? p[1] : 0;
		*at++ = alphabet[p[0] >> 2];
		*at++ = alphabet[(p[0] & 3) << 4 | second >> 4];
		if (len == 2)
			*at++ = alphabet[(second & 15) << 2];
	}
	*at = '\0';
	return out;
}
