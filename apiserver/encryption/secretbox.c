/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NaCl's secretbox: "Extending the Salsa20 nonce" and "The Poly1305-AES message-authentication code" by D. J. Bernstein; GnuTLS has neither. No branch and no address
 * depends on the key.
 */
#include "apiserver/encryption/cipher.h"

#include <endian.h>
#include <string.h>

static uint32_t load32(const uint8_t *p) {
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static void store32(uint8_t *p, uint32_t v) {
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

/* ---- Salsa20 ---- */

static uint32_t rotate(uint32_t v, unsigned by) {
	return v << by | v >> (32 - by);
}

static void quarter(uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d) {
	*b ^= rotate(*a + *d, 7);
	*c ^= rotate(*b + *a, 9);
	*d ^= rotate(*c + *b, 13);
	*a ^= rotate(*d + *c, 18);
}

static void rounds(uint32_t x[static 16]) {
	for (int i = 0; i < 10; i++) {
		for (int n = 0; n < 4; n++)
			quarter(&x[5 * n % 16], &x[(5 * n + 4) % 16], &x[(5 * n + 8) % 16], &x[(5 * n + 12) % 16]);
		for (int n = 0; n < 4; n++)
			quarter(&x[4 * n + n], &x[4 * n + (n + 1) % 4], &x[4 * n + (n + 2) % 4], &x[4 * n + (n + 3) % 4]);
	}
}

/* The constants on the diagonal, the key around them, 16 bytes of nonce and counter within. */
static void fill(uint32_t x[static 16], const uint8_t key[static 32], const uint8_t input[static 16]) {
	static const uint8_t constant[] = {'e', 'x', 'p', 'a', 'n', 'd', ' ', '3', '2', '-', 'b', 'y', 't', 'e', ' ', 'k'};
	for (unsigned i = 0; i < 4; i++) {
		x[5 * i] = load32(constant + 4 * i);
		x[1 + i] = load32(key + 4 * i);
		x[6 + i] = load32(input + 4 * i);
		x[11 + i] = load32(key + 16 + 4 * i);
	}
}

static void hsalsa20(const uint8_t key[static 32], const uint8_t input[static 16], uint8_t out[static 32]) {
	uint32_t x[16];
	fill(x, key, input);
	rounds(x);
	for (unsigned i = 0; i < 4; i++) {
		store32(out + 4 * i, x[5 * i]);
		store32(out + 16 + 4 * i, x[6 + i]);
	}
	explicit_bzero(x, sizeof(x));
}

struct stream {
	uint8_t key[32], input[16]; /* input: eight bytes of nonce, a counter of blocks */
	uint8_t block[64];
	size_t used;
};

static void next_block(struct stream *s) {
	uint32_t x[16], start[16];
	fill(start, s->key, s->input);
	memcpy(x, start, sizeof(x));
	rounds(x);
	for (unsigned i = 0; i < 16; i++)
		store32(s->block + 4 * i, x[i] + start[i]);
	for (unsigned i = 8; i < 16 && ++s->input[i] == 0; i++)
		;
	s->used = 0;
	explicit_bzero(x, sizeof(x));
	explicit_bzero(start, sizeof(start));
}

/* XSalsa20: the first sixteen bytes of the nonce go into a key of their own. Its first 32 bytes are Poly1305's key. */
static void stream_start(struct stream *s, const uint8_t key[static 32], const uint8_t nonce[static SECRETBOX_NONCE], uint8_t poly_key[static 32]) {
	*s = (struct stream){.used = 32};
	hsalsa20(key, nonce, s->key);
	memcpy(s->input, nonce + 16, 8);
	next_block(s);
	memcpy(poly_key, s->block, 32);
	s->used = 32;
}

static void stream_xor(struct stream *s, const uint8_t *data, size_t len, uint8_t *out) {
	for (size_t i = 0; i < len; i++) {
		if (s->used == sizeof(s->block))
			next_block(s);
		out[i] = data[i] ^ s->block[s->used++];
	}
}

/* ---- Poly1305: numbers of five limbs of 26 bits ---- */

#define LIMB 0x3ffffffu

static void poly_block(uint32_t h[static 5], const uint32_t r[static 5], const uint8_t m[static 17]) {
	const uint32_t add[] = {load32(m) & LIMB, load32(m + 3) >> 2 & LIMB, load32(m + 6) >> 4 & LIMB, load32(m + 9) >> 6 & LIMB, load32(m + 12) >> 8 | (uint32_t)m[16] << 24};
	uint64_t product[5] = {0}, carry = 0;
	for (unsigned i = 0; i < 5; i++)
		h[i] += add[i];
	/* 2^130 is 5 here: what runs over comes in again below, five times. */
	for (unsigned i = 0; i < 5; i++)
		for (unsigned j = 0; j < 5; j++)
			product[(i + j) % 5] += (uint64_t)h[i] * r[j] * (i + j >= 5 ? 5 : 1);
	for (unsigned i = 0; i < 5; i++) {
		product[i] += carry;
		carry = product[i] >> 26;
		h[i] = (uint32_t)product[i] & LIMB;
	}
	h[0] += (uint32_t)carry * 5;
	h[1] += h[0] >> 26;
	h[0] &= LIMB;
}

static void poly1305(const uint8_t key[static 32], const uint8_t *data, size_t len, uint8_t tag[static SECRETBOX_TAG]) {
	const uint32_t r[] = {load32(key) & LIMB, load32(key + 3) >> 2 & 0x3ffff03, load32(key + 6) >> 4 & 0x3ffc0ff, load32(key + 9) >> 6 & 0x3f03fff, load32(key + 12) >> 8 & 0x00fffff};
	uint32_t h[5] = {0}, less[5], carry;
	for (size_t at = 0; at < len; at += 16) {
		uint8_t m[17] = {0};
		size_t n = len - at < 16 ? len - at : 16;
		memcpy(m, data + at, n);
		m[n] = 1;
		poly_block(h, r, m);
	}
	for (unsigned round = 0, i = 1; round < 5; round++, i = (i + 1) % 5) {
		unsigned to = (i + 1) % 5;
		h[to] += (h[i] >> 26) * (to ? 1 : 5);
		h[i] &= LIMB;
	}
	/* Less the modulus, where it is not smaller. */
	carry = 5;
	for (unsigned i = 0; i < 5; i++) {
		less[i] = h[i] + carry;
		carry = less[i] >> 26;
		less[i] &= LIMB;
	}
	uint32_t take = 0 - carry; /* all ones where h + 5 reaches 2^130 */
	for (unsigned i = 0; i < 5; i++)
		h[i] = (h[i] & ~take) | (less[i] & take);
	const uint32_t words[] = {h[0] | h[1] << 26, h[1] >> 6 | h[2] << 20, h[2] >> 12 | h[3] << 14, h[3] >> 18 | h[4] << 8};
	uint64_t sum = 0;
	for (unsigned i = 0; i < 4; i++) {
		sum += (uint64_t)words[i] + load32(key + 16 + 4 * i);
		store32(tag + 4 * i, (uint32_t)sum);
		sum >>= 32;
	}
}

/* ---- the box ---- */

void secretbox_seal(const uint8_t key[static 32], const uint8_t nonce[static SECRETBOX_NONCE], const uint8_t *data, size_t len, uint8_t *out) {
	struct stream s;
	uint8_t poly_key[32];
	stream_start(&s, key, nonce, poly_key);
	stream_xor(&s, data, len, out + SECRETBOX_TAG);
	poly1305(poly_key, out + SECRETBOX_TAG, len, out);
	explicit_bzero(&s, sizeof(s));
	explicit_bzero(poly_key, sizeof(poly_key));
}

bool secretbox_open(const uint8_t key[static 32], const uint8_t nonce[static SECRETBOX_NONCE], const uint8_t *data, size_t len, uint8_t *out) {
	struct stream s;
	uint8_t poly_key[32], tag[SECRETBOX_TAG], differs = 0;
	stream_start(&s, key, nonce, poly_key);
	poly1305(poly_key, data + SECRETBOX_TAG, len, tag);
	for (unsigned i = 0; i < SECRETBOX_TAG; i++)
		differs |= tag[i] ^ data[i];
	if (!differs)
		stream_xor(&s, data + SECRETBOX_TAG, len, out);
	explicit_bzero(&s, sizeof(s));
	explicit_bzero(poly_key, sizeof(poly_key));
	return !differs;
}
