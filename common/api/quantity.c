/* SPDX-License-Identifier: Apache-2.0 */
/* resource.Quantity: parsed, computed and written as Kubernetes does it. */
#include "common/api/codec.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#define NANO ((__int128)1000000000)
/* Beyond this the value no longer fits 128 bits in nano units, sums included; 10^28 is far past what Kubernetes stores. */
#define QUANTITY_LIMIT ((__int128)100000000000000 * 100000000000000 * 1000000000)

struct suffix {
	const char *text;
	int8_t exponent; /* of 10, or of 2 */
	uint8_t format;
};
static const struct suffix suffixes[] = {
	{"n", -9, QUANTITY_DECIMAL_SI}, {"u", -6, QUANTITY_DECIMAL_SI}, {"m", -3, QUANTITY_DECIMAL_SI}, {"", 0, QUANTITY_DECIMAL_SI},
	{"k", 3, QUANTITY_DECIMAL_SI}, {"M", 6, QUANTITY_DECIMAL_SI}, {"G", 9, QUANTITY_DECIMAL_SI}, {"T", 12, QUANTITY_DECIMAL_SI},
	{"P", 15, QUANTITY_DECIMAL_SI}, {"E", 18, QUANTITY_DECIMAL_SI}, {"Ki", 10, QUANTITY_BINARY_SI}, {"Mi", 20, QUANTITY_BINARY_SI},
	{"Gi", 30, QUANTITY_BINARY_SI}, {"Ti", 40, QUANTITY_BINARY_SI}, {"Pi", 50, QUANTITY_BINARY_SI}, {"Ei", 60, QUANTITY_BINARY_SI},
};

static __int128 saturate(__int128 a) {
	return a > QUANTITY_LIMIT ? QUANTITY_LIMIT : a < -QUANTITY_LIMIT ? -QUANTITY_LIMIT : a;
}

static __int128 times_saturating(__int128 a, int64_t factor) {
	__int128 product;
	return __builtin_mul_overflow(a, (__int128)factor, &product) ? QUANTITY_LIMIT : saturate(product);
}

/* The suffix: which family, and by what it scales. */
static int parse_suffix(const char *s, size_t len, int *ret_exponent, uint8_t *ret_format) {
	for (size_t i = 0; i < array_len(suffixes); i++)
		if (strlen(suffixes[i].text) == len && !memcmp(suffixes[i].text, s, len)) {
			*ret_exponent = suffixes[i].exponent;
			*ret_format = suffixes[i].format;
			return 0;
		}
	if (len < 2 || (*s != 'e' && *s != 'E'))
		return -ENOTSUP;
	char digits[16];
	int64_t exponent;
	if (len - 1 >= sizeof(digits))
		return -ENOTSUP;
	memcpy(digits, s + 1, len - 1);
	digits[len - 1] = 0;
	const char *number = digits + (*digits == '+');
	if (!str_to_int64(number, -1000, 1000, &exponent))
		return -ENOTSUP;
	*ret_exponent = (int)exponent;
	*ret_format = QUANTITY_DECIMAL_EXPONENT;
	return 0;
}

/* Where the suffix begins, or SIZE_MAX: letters of the suffixes, a sign, digits, and then the end. */
static size_t check_suffix(const char *s, size_t pos, size_t len) {
	size_t i = pos;
	while (i < len && strchr("eEinumkKMGTP", s[i]) && s[i])
		i++;
	if (i < len && (s[i] == '-' || s[i] == '+'))
		i++;
	while (i < len && isdigit((unsigned char)s[i]))
		i++;
	return i == len ? pos : SIZE_MAX;
}

/*
 * Sums digits into nano units: `places` digits stand right of the point after scaling by 10^exponent. What is finer than a
 * nano rounds away from zero.
 */
static __int128 sum_digits(const char *num, size_t num_len, const char *denom, size_t denom_len, int exponent) {
	__int128 value = 0;
	bool dropped = false;
	int64_t power = (int64_t)num_len + exponent + 9; /* digits that count */
	for (size_t i = 0; i < num_len + denom_len; i++, power--) {
		int digit = (i < num_len ? num[i] : denom[i - num_len]) - '0';
		if (power <= 0) {
			dropped |= digit != 0;
		} else {
			value = saturate(value * 10 + digit);
		}
	}
	for (; power > 0 && value && value < QUANTITY_LIMIT; power--)
		value = times_saturating(value, 10);
	return saturate(value + dropped);
}

/* 0, -EINVAL where the form is wrong, -ENOTSUP where the suffix is. */
int api_quantity_parse(const char *s, size_t len, struct quantity *ret) {
	size_t pos = 0;
	bool negative = false;
	if (!len)
		return -EINVAL;
	if (*s == '-' || *s == '+') {
		negative = *s == '-';
		pos++;
	}
	while (pos < len && s[pos] == '0')
		pos++;
	const char *num = s + pos;
	while (pos < len && isdigit((unsigned char)s[pos]))
		pos++;
	size_t num_len = (size_t)(s + pos - num), denom_len = 0;
	const char *denom = s + pos;
	if (pos < len && s[pos] == '.') {
		denom = s + ++pos;
		while (pos < len && isdigit((unsigned char)s[pos]))
			pos++;
		denom_len = (size_t)(s + pos - denom);
	}
	size_t suffix = check_suffix(s, pos, len);
	if (suffix == SIZE_MAX)
		return -EINVAL;
	/* "" or "-" alone is zero to the original too; a bare suffix is not a number. */
	int exponent;
	uint8_t format;
	int r = parse_suffix(s + suffix, len - suffix, &exponent, &format);
	if (r < 0)
		return r;
	__int128 nano;
	if (format == QUANTITY_BINARY_SI) {
		/* The fraction keeps more digits than nano until it is multiplied: 0.0000000001Ki is no zero. */
		nano = sum_digits(num, num_len, denom, denom_len, 6);
		nano = times_saturating(nano, (int64_t)1 << exponent);
		if (nano != QUANTITY_LIMIT)
			nano = (nano + 999999) / 1000000;
		nano = min_of(nano, (__int128)INT64_MAX * NANO);
		if (nano > 0 && nano < NANO)
			format = QUANTITY_DECIMAL_SI;
	} else {
		nano = sum_digits(num, num_len, denom, denom_len, exponent);
	}
	*ret = (struct quantity){.nano = negative ? -nano : nano, .format = format, .set = true};
	return 0;
}

int quantity_parse(const char *s, size_t len, struct quantity *ret) {
	return api_quantity_parse(s, len, ret) < 0 ? -EINVAL : 0;
}

static size_t format_int128(__int128 value, char *out) {
	char digits[48];
	size_t n = 0, len = 0;
	if (value < 0) {
		out[len++] = '-';
		value = -value;
	}
	do
		digits[n++] = (char)('0' + (int)(value % 10));
	while (value /= 10);
	while (n)
		out[len++] = digits[--n];
	return len;
}

static size_t append_suffix(char *out, const char *suffix) {
	size_t len = strlen(suffix);
	memcpy(out, suffix, len);
	return len;
}

static size_t format_decimal(__int128 nano, uint8_t family, char *out) {
	int exponent = -9;
	while (nano % 10 == 0) {
		nano /= 10;
		exponent++;
	}
	for (; exponent % 3; exponent--)
		nano *= 10;
	/* Exa is the largest suffix there is. */
	for (; family == QUANTITY_DECIMAL_SI && exponent > 18; exponent -= 3)
		nano *= 1000;
	size_t len = format_int128(nano, out);
	if (family == QUANTITY_DECIMAL_EXPONENT)
		return exponent ? len + (size_t)snprintf(out + len, 8, "e%d", exponent) : len;
	for (size_t i = 0; i < array_len(suffixes); i++)
		if (suffixes[i].format == QUANTITY_DECIMAL_SI && suffixes[i].exponent == exponent)
			return len + append_suffix(out + len, suffixes[i].text);
	return len;
}

size_t quantity_format(const struct quantity *q, char *out) {
	size_t len;
	if (!q->nano) {
		len = 1;
		*out = '0';
	} else if (q->format == QUANTITY_BINARY_SI && q->nano % NANO == 0 && (q->nano <= -1024 * NANO || q->nano >= 1024 * NANO)) {
		static const char *const binary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
		__int128 value = q->nano / NANO;
		size_t times = 0;
		for (; value % 1024 == 0 && times + 1 < array_len(binary); times++)
			value /= 1024;
		len = format_int128(value, out);
		len += append_suffix(out + len, binary[times]);
	} else {
		len = format_decimal(q->nano, q->format == QUANTITY_BINARY_SI ? QUANTITY_DECIMAL_SI : q->format, out);
	}
	out[len] = 0;
	return len;
}

int quantity_compare(const struct quantity *a, const struct quantity *b) {
	return (a->nano > b->nano) - (a->nano < b->nano);
}

void quantity_add(struct quantity *a, const struct quantity *b) {
	if (!a->nano)
		a->format = b->format;
	a->nano = saturate(a->nano + b->nano);
	a->set = true;
}

void quantity_sub(struct quantity *a, const struct quantity *b) {
	if (!a->nano)
		a->format = b->format;
	a->nano = saturate(a->nano - b->nano);
	a->set = true;
}

/* Rounds away from zero. */
static int64_t scale_down(__int128 nano, int64_t unit) {
	__int128 value = nano / unit;
	if (nano % unit)
		value += nano > 0 ? 1 : -1;
	return value > INT64_MAX ? INT64_MAX : value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

int64_t quantity_value(const struct quantity *q) {
	return scale_down(q->nano, 1000000000);
}

int64_t quantity_milli_value(const struct quantity *q) {
	return scale_down(q->nano, 1000000);
}

struct quantity quantity_of(int64_t value, enum quantity_format format) {
	return (struct quantity){.nano = value * NANO, .format = (uint8_t)format, .set = true};
}

struct quantity quantity_of_milli(int64_t milli, enum quantity_format format) {
	return (struct quantity){.nano = milli * (NANO / 1000), .format = (uint8_t)format, .set = true};
}
