/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/storage/scan.h"

#include <errno.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\n' || *p == '\t' || *p == '\r'))
		p++;
	return p;
}

/* p is at the opening quote. Returns behind the closing one, or NULL. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++;;) {
		p = scan_skip_plain(p, end);
		if (p >= end || (unsigned char)*p < 0x20)
			return NULL;
		if (*p == '"')
			return p + 1;
		if (*p == '\\' && ++p >= end)
			return NULL;
		p++;
	}
}

/* The brackets that are open, innermost last. */
struct nesting {
	uint64_t is_object[SCAN_MAX_DEPTH / 64];
	unsigned depth;
};

/* False where the bracket does not fit, or nests too deep. */
static bool nest(struct nesting *n, char bracket)
{
	uint64_t object = bracket == '{' || bracket == '}';

	if (bracket == '{' || bracket == '[') {
		if (n->depth == SCAN_MAX_DEPTH)
			return false;
		uint64_t *word = &n->is_object[n->depth / 64];
		*word = (*word & ~(1ull << n->depth % 64)) | object << n->depth % 64;
		n->depth++;
		return true;
	}
	if (n->depth == 0)
		return false;
	n->depth--;
	return (n->is_object[n->depth / 64] >> n->depth % 64 & 1) == object;
}

#ifdef __SSE2__

enum { BLOCK = 64 };

/* A bit for each byte of a block, the first one lowest. */
struct masks {
	uint64_t quotes, slashes, brackets, controls;
};

static struct masks masks_of(const char *block)
{
	struct masks m = {0};

	for (unsigned i = 0; i < BLOCK; i += 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(block + i));
		/* The bit 0x20 is what sets braces apart from square brackets. */
		__m128i folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
		__m128i bracket = _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')), _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')));
		__m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1f)), bytes);
		m.quotes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"'))) << i;
		m.slashes |= (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))) << i;
		m.brackets |= (uint64_t)(unsigned)_mm_movemask_epi8(bracket) << i;
		m.controls |= (uint64_t)(unsigned)_mm_movemask_epi8(control) << i;
	}
	return m;
}

/* Bits of what a backslash takes its meaning from; *carry: the block before ended with such a backslash. */
static uint64_t escaped_by(uint64_t slashes, bool *carry)
{
	uint64_t escaped = 0;

	if (*carry) {
		escaped = 1;
		slashes &= ~1ull;
	}
	*carry = false;
	while (slashes) {
		unsigned at = (unsigned)__builtin_ctzll(slashes);
		if (at == BLOCK - 1) {
			*carry = true;
			break;
		}
		escaped |= 2ull << at;
		slashes &= ~(3ull << at);
	}
	return escaped;
}

/* From each quote to the next: the bits between, the first quote's own with them. */
static uint64_t between(uint64_t quotes)
{
	for (unsigned shift = 1; shift < BLOCK; shift *= 2)
		quotes ^= quotes << shift;
	return quotes;
}

/*
 * p is at a bracket. Returns behind the one that closes it, or NULL. What lies between is looked at 64 bytes at once: only brackets outside of strings count one
 * by one.
 */
static const char *skip_nested(const char *p, const char *end)
{
	struct nesting nesting;
	uint64_t inside = 0; /* all ones where the last block ended within a string */
	bool carry = false;

	nesting.depth = 0;
	for (; p < end; p += BLOCK) {
		char rest[BLOCK];
		const char *block = p;
		if (end - p < BLOCK) {
			memset(rest, ' ', sizeof(rest));
			memcpy(rest, p, (size_t)(end - p));
			block = rest;
		}
		struct masks m = masks_of(block);
		/* Outside of strings a backslash is no JSON, whatever is made of it here. */
		uint64_t escaped = m.slashes || carry ? escaped_by(m.slashes, &carry) : 0;
		uint64_t strings = between(m.quotes & ~escaped) ^ inside, brackets = m.brackets & ~strings, bad = m.controls & strings;
		while (brackets) {
			unsigned at = (unsigned)__builtin_ctzll(brackets);
			if (!nest(&nesting, block[at]))
				return NULL;
			if (nesting.depth == 0)
				return bad & ((1ull << at) - 1) ? NULL : p + at + 1;
			brackets &= brackets - 1;
		}
		if (bad)
			return NULL;
		inside = (uint64_t)0 - (strings >> (BLOCK - 1));
	}
	return NULL;
}

#else

static const char *skip_nested(const char *p, const char *end)
{
	struct nesting nesting;

	nesting.depth = 0;
	while (p && p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
			continue;
		}
		if (*p == '{' || *p == '[' || *p == '}' || *p == ']') {
			if (!nest(&nesting, *p))
				return NULL;
			if (nesting.depth == 0)
				return p + 1;
		}
		p++;
	}
	return NULL;
}

#endif

const char *scan_skip_value(const char *p, const char *end)
{
	const char *start = p = skip_space(p, end);

	if (p >= end)
		return NULL;
	if (*p == '"')
		return skip_string(p, end);
	if (*p == '{' || *p == '[')
		return skip_nested(p, end);
	while (p < end && ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || *p == '-' || *p == '+' || *p == '.' || *p == 'E'))
		p++;
	return p == start ? NULL : p;
}

/*
 * Steps through an object: *pos at the brace or behind the last value. Gives the key and where its value begins; the caller moves *pos behind
 * the value. 1: a member, 0: the end (then *pos is behind the brace), -1: malformed.
 */
static int next_member(const char **pos, const char *end, struct scan_string *ret_key, const char **ret_value)
{
	const char *p = skip_space(*pos, end), *close;
	bool first = p < end && *p == '{';

	if (p >= end || (!first && *p != ',' && *p != '}'))
		return -1;
	if (*p != '}') {
		p = skip_space(p + 1, end);
		if (p >= end)
			return -1;
	}
	if (*p == '}' && (first || *skip_space(*pos, end) == '}')) {
		*pos = p + 1;
		return 0;
	}
	if (*p != '"' || !(close = skip_string(p, end)))
		return -1;
	*ret_key = (struct scan_string){p + 1, (size_t)(close - p) - 2};
	p = skip_space(close, end);
	if (p >= end || *p != ':')
		return -1;
	p = skip_space(p + 1, end);
	if (p >= end)
		return -1;
	*ret_value = p;
	return 1;
}

static bool is(struct scan_string s, const char *text, size_t len)
{
	return s.len == len && memcmp(s.data, text, len) == 0;
}
#define IS(s, text) is(s, text, sizeof(text) - 1)

static struct scan_string string_at(const char *value, const char *behind)
{
	if (*value != '"')
		return (struct scan_string){0};
	return (struct scan_string){value + 1, (size_t)(behind - value) - 2};
}

/* *pos at the brace of metadata. */
static int scan_metadata(const char *json, const char **pos, const char *end, struct scan_object *object)
{
	size_t first = (size_t)(*pos + 1 - json);
	const char *after_name = NULL, *after_uid = NULL;
	struct scan_string key;
	const char *value, *behind;
	bool empty = true, has_version = false;
	int r;

	while ((r = next_member(pos, end, &key, &value)) == 1) {
		empty = false;
		behind = scan_skip_value(value, end);
		if (!behind)
			return -EINVAL;
		if (IS(key, "name")) {
			after_name = behind;
		} else if (IS(key, "uid")) {
			after_uid = behind;
			object->uid = string_at(value, behind);
		} else if (IS(key, "labels") && *value == '{') {
			object->labels = value;
		} else if (IS(key, "resourceVersion")) {
			has_version = true;
			object->cut = (size_t)(value - json);
			object->resume = (size_t)(behind - json);
			object->before = object->after = "\"";
		}
		*pos = behind;
	}
	if (r < 0)
		return -EINVAL;
	if (has_version)
		return 0;
	/* Where Go's encoder puts it: behind the uid. */
	if (after_uid || after_name) {
		object->cut = object->resume = (size_t)((after_uid ? after_uid : after_name) - json);
		object->before = ",\"resourceVersion\":\"";
		object->after = "\"";
	} else {
		object->cut = object->resume = first;
		object->before = "\"resourceVersion\":\"";
		object->after = empty ? "\"" : "\",";
	}
	return 0;
}

int scan_object(const char *json, size_t len, struct scan_object *ret)
{
	const char *end = json + len, *pos = skip_space(json, end), *value;
	struct scan_object object = {0};
	struct scan_string key;
	bool has_metadata = false;
	int r;

	if (pos >= end || *pos != '{')
		return -EINVAL;
	while ((r = next_member(&pos, end, &key, &value)) == 1) {
		if (!has_metadata && *value == '{' && IS(key, "metadata")) {
			pos = value;
			if (scan_metadata(json, &pos, end, &object) < 0)
				return -EINVAL;
			has_metadata = true;
		} else {
			pos = scan_skip_value(value, end);
			if (!pos)
				return -EINVAL;
		}
	}
	if (r < 0 || !has_metadata || skip_space(pos, end) != end)
		return -EINVAL;
	object.len = (size_t)(pos - json);
	*ret = object;
	return 0;
}

bool scan_next_label(const char **pos, const char *end, struct scan_string *ret_key, struct scan_string *ret_value)
{
	const char *value, *behind;
	struct scan_string key;

	while (next_member(pos, end, &key, &value) == 1) {
		behind = scan_skip_value(value, end);
		if (!behind)
			return false;
		*pos = behind;
		if (*value == '"') {
			*ret_key = key;
			*ret_value = string_at(value, behind);
			return true;
		}
	}
	return false;
}

static bool hex4(const char *s, const char *end, unsigned *ret)
{
	unsigned value = 0;

	if (end - s < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = s[i];
		unsigned digit = c >= '0' && c <= '9' ? (unsigned)(c - '0') : (c | 32) >= 'a' && (c | 32) <= 'f' ? (unsigned)((c | 32) - 'a' + 10) : 16;
		if (digit == 16)
			return false;
		value = value << 4 | digit;
	}
	*ret = value;
	return true;
}

static size_t put_utf8(unsigned c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

size_t scan_unescape(struct scan_string string, char *out)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	const char *p = string.data, *end = string.data + string.len, *simple;
	size_t n = 0;

	if (!p || !memchr(p, '\\', string.len)) {
		if (p)
			memcpy(out, p, string.len);
		out[string.len] = '\0';
		return string.len;
	}
	while (p < end) {
		unsigned c, low;
		if (*p != '\\' || p + 1 >= end) {
			out[n++] = *p++;
			continue;
		}
		p++;
		if (*p == 'u' && hex4(p + 1, end, &c)) {
			p += 5;
			if (c >= 0xd800 && c < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u' && hex4(p + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
				c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
				p += 6;
			}
			n += put_utf8(c, out + n);
			continue;
		}
		simple = memchr(from, *p, sizeof(from) - 1);
		out[n++] = simple ? to[simple - from] : *p;
		p++;
	}
	out[n] = '\0';
	return n;
}

struct bytes *scan_splice(const char *json, const struct scan_object *object, uint64_t resource_version)
{
	char digits[20], *at;
	size_t count = 0, before = strlen(object->before), after = strlen(object->after), tail = object->len - object->resume;

	do
		digits[sizeof(digits) - ++count] = (char)('0' + resource_version % 10);
	while (resource_version /= 10);
	struct bytes *bytes = bytes_alloc(object->cut + before + count + after + tail);
	at = mempcpy(bytes->data, json, object->cut);
	at = mempcpy(at, object->before, before);
	at = mempcpy(at, digits + sizeof(digits) - count, count);
	at = mempcpy(at, object->after, after);
	memcpy(at, json + object->resume, tail);
	return bytes;
}
