/* SPDX-License-Identifier: Apache-2.0 */
/* Text of values, as Go writes them, and numbers out of text. */
#include "common/cel/internal.h"
#include "common/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>

/* Fewest digits that give the number back: "d.ddde+xx" in `text`. */
static void shortest(double d, char *text, size_t size) {
	for (int digits = 0; digits <= 17; digits++) {
		snprintf(text, size, "%.*e", digits, d);
		if (strtod(text, NULL) == d)
			return;
	}
}

/* Go's %g, or 'f' with the fewest digits. */
void append_go_double(struct buf *out, double d, bool fixed) {
	char text[64], digits[32];
	size_t count = 0;
	if (isnan(d) || isinf(d)) {
		buf_append_str(out, isnan(d) ? "NaN" : d < 0 ? "-Inf" : "+Inf");
		return;
	}
	shortest(d, text, sizeof(text));
	const char *p = text, *e = strchr(text, 'e');
	int exponent = (int)strtol(e + 1, NULL, 10);
	if (*p == '-') {
		buf_append_char(out, '-');
		p++;
	}
	for (; p < e; p++)
		if (*p != '.')
			digits[count++] = *p;
	if (!fixed && (exponent < -4 || exponent >= 6)) {
		buf_append_char(out, digits[0]);
		if (count > 1) {
			buf_append_char(out, '.');
			buf_append(out, digits + 1, count - 1);
		}
		buf_printf(out, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		return;
	}
	if (exponent < 0) {
		buf_append_str(out, "0.");
		for (int i = -1; i > exponent; i--)
			buf_append_char(out, '0');
		buf_append(out, digits, count);
		return;
	}
	for (int i = 0; i <= exponent; i++)
		buf_append_char(out, (size_t)i < count ? digits[i] : '0');
	if (count > (size_t)exponent + 1) {
		buf_append_char(out, '.');
		buf_append(out, digits + exponent + 1, count - (size_t)exponent - 1);
	}
}

/* strconv.Quote, of text that is UTF-8 or bytes that are not. */
void append_go_quoted(struct buf *out, const char *s, size_t len) {
	static const char letters[] = "abfnrtv", values[] = "\a\b\f\n\r\t\v";
	buf_append_char(out, '"');
	for (size_t i = 0; i < len; i++) {
		const char *value = s[i] ? strchr(values, s[i]) : NULL;
		if (value)
			buf_printf(out, "\\%c", letters[value - values]);
		else if (s[i] == '"' || s[i] == '\\')
			buf_printf(out, "\\%c", s[i]);
		else if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
			buf_printf(out, "\\x%02x", (unsigned char)s[i]);
		else
			buf_append_char(out, s[i]);
	}
	buf_append_char(out, '"');
}

static bool words(const char *s, size_t len, double *ret) {
	static const struct {
		const char *text;
		double value;
	} rows[] = {{"inf", INFINITY}, {"infinity", INFINITY}, {"nan", NAN}};
	bool sign = len && (*s == '-' || *s == '+');
	for (size_t i = 0; i < array_len(rows); i++)
		if (strlen(rows[i].text) == len - sign && strncasecmp(rows[i].text, s + sign, len - sign) == 0 && !(sign && i == 2)) {
			*ret = *s == '-' ? -rows[i].value : rows[i].value;
			return true;
		}
	return false;
}

/* strconv.ParseFloat: decimal, hexadecimal with an exponent, underscores nowhere. */
bool parse_go_double(const char *s, size_t len, double *ret) {
	char text[400];
	if (len >= sizeof(text) || !len || memchr(s, 0, len))
		return false;
	if (words(s, len, ret))
		return true;
	memcpy(text, s, len);
	text[len] = '\0';
	const char *p = text + (*text == '-' || *text == '+');
	bool hex = p[0] == '0' && (p[1] == 'x' || p[1] == 'X');
	if ((!isdigit((unsigned char)*p) && *p != '.') || (hex && !strpbrk(p, "pP")))
		return false;
	char *end;
	errno = 0;
	double d = strtod(text, &end);
	if (*end || (errno == ERANGE && isinf(d)))
		return false;
	*ret = d;
	return true;
}

/* ---- values ---- */

static void append_ip(struct buf *out, const struct ip *ip) {
	if (ip->len == 4) {
		buf_printf(out, "%u.%u.%u.%u", ip->bytes[0], ip->bytes[1], ip->bytes[2], ip->bytes[3]);
		return;
	}
	uint16_t groups[8];
	int best = -1, best_len = 1;
	for (int i = 0; i < 8; i++)
		groups[i] = (uint16_t)(ip->bytes[2 * i] << 8 | ip->bytes[2 * i + 1]);
	/* The longest run of zeros, the first of those, is left out. */
	for (int i = 0; i < 8; i++) {
		int k = i;
		while (k < 8 && !groups[k])
			k++;
		if (k - i > best_len) {
			best = i;
			best_len = k - i;
		}
	}
	for (int i = 0; i < 8; i++) {
		if (i == best) {
			buf_append_str(out, "::");
			i += best_len - 1;
			continue;
		}
		buf_printf(out, "%s%x", i && i != best + best_len ? ":" : i && best < 0 ? ":" : "", groups[i]);
	}
}

static void append_opaque(struct buf *out, const struct cel_opaque *o) {
	char text[64];
	switch (o->kind) {
	case OPAQUE_QUANTITY:
		quantity_format(&o->quantity, text);
		buf_append_str(out, text);
		break;
	case OPAQUE_SEMVER:
		buf_printf(out, "%" PRIu64 ".%" PRIu64 ".%" PRIu64 "%s%s", o->semver.part[0], o->semver.part[1], o->semver.part[2], *o->semver.pre ? "-" : "", o->semver.pre);
		break;
	case OPAQUE_URL:
		buf_append_str(out, o->url.text);
		break;
	case OPAQUE_IP:
	case OPAQUE_CIDR:
		append_ip(out, &o->ip);
		if (o->kind == OPAQUE_CIDR)
			buf_printf(out, "/%u", o->ip.bits);
		break;
	default:
		break;
	}
}

#define MAX_SHOWN 4096u

void value_append(struct cel_run *run, const struct cel_value *v, struct buf *out) {
	char text[64];
	if (out->len > MAX_SHOWN)
		return;
	switch (v->kind) {
	case CEL_NULL:
		buf_append_str(out, "null");
		break;
	case CEL_BOOL:
		buf_append_str(out, v->b ? "true" : "false");
		break;
	case CEL_INT:
		buf_append_int(out, v->i);
		break;
	case CEL_UINT:
		buf_append_uint(out, v->u);
		break;
	case CEL_DOUBLE:
		append_go_double(out, v->d, false);
		break;
	case CEL_STRING:
	case CEL_BYTES:
		buf_append(out, v->s, v->len);
		break;
	case CEL_TIMESTAMP:
		time_format_rfc3339_nano((struct wall_time){v->sec, v->nsec}, text);
		buf_append_str(out, text);
		break;
	case CEL_DURATION:
		duration_format(v->i, text);
		buf_append_str(out, text);
		break;
	case CEL_TYPE:
		cel_type_append(v->type, out);
		break;
	case CEL_LIST:
		buf_append_char(out, '[');
		for (size_t i = 0; i < v->list->len && out->len <= MAX_SHOWN; i++) {
			struct cel_value item = list_get(run, v->list, i);
			buf_append_str(out, i ? ", " : "");
			value_append(run, &item, out);
		}
		buf_append_char(out, ']');
		break;
	case CEL_OPTIONAL:
		buf_append_str(out, v->some ? "optional(" : "optional.none()");
		if (v->some) {
			value_append(run, v->some, out);
			buf_append_char(out, ')');
		}
		break;
	case CEL_OPAQUE:
		append_opaque(out, v->opaque);
		break;
	default:
		cel_type_append(value_type(v), out);
	}
}

struct cel_value value_to_string(struct cel_run *run, const struct cel_value *v) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	switch (v->kind) {
	case CEL_STRING:
		return *v;
	case CEL_DURATION:
		append_go_double(&text, (double)(v->i / NSEC_PER_SEC) + (double)(v->i % NSEC_PER_SEC) / 1e9, true);
		buf_append_char(&text, 's');
		break;
	case CEL_BYTES:
		for (size_t i = 0, n; i < v->len; i += n) {
			n = utf8_valid(v->s + i, v->len - i);
			if (!n)
				return cel_fail(run, "invalid UTF-8 in bytes, cannot convert to string");
		}
		return VALUE_STRING(v->s, v->len);
	case CEL_BOOL:
	case CEL_INT:
	case CEL_UINT:
	case CEL_DOUBLE:
	case CEL_TIMESTAMP:
	case CEL_TYPE:
	case CEL_OPAQUE:
		value_append(run, v, &text);
		break;
	default:
		return no_overload();
	}
	return cel_from_string(run, text.data ? text.data : "", text.len);
}
