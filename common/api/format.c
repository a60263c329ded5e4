/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/format.h"
#include "common/base/buf.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#define LABEL "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#define USED_FOR(regex) "regex used for validation is '" regex "')"
#define SUBDOMAIN_TEXT(begin, regex) begin ", and must start and end with an alphanumeric character (e.g. 'example.com', " USED_FOR(regex)
#define SUBDOMAIN_MESSAGE SUBDOMAIN_TEXT("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'", LABEL "(\\." LABEL ")*")
#define NAME "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
#define NAME_MESSAGE "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', " USED_FOR(NAME)

static void add(struct format_messages *out, const char *message) {
	if (out->len < array_len(out->items))
		out->items[out->len++] = message;
}

const char *format_error(format_check *check, const char *text) {
	struct format_messages messages = {0};
	check(text, &messages);
	/* A composed message lies in `messages`; who wants its words asks for them. */
	return !messages.len ? NULL : messages.items[0] == messages.text ? "is not in its canonical form" : messages.items[0];
}

static bool lower_alnum(char c) {
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_label(const char *s, size_t len) {
	if (!len || !lower_alnum(s[0]) || !lower_alnum(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!lower_alnum(s[i]) && s[i] != '-')
			return false;
	return true;
}

/* _?[a-z0-9]([-_a-z0-9]*[a-z0-9])? */
static bool is_loose_label(const char *s, size_t len) {
	if (len && *s == '_')
		s++, len--;
	if (!len || !lower_alnum(s[0]) || !lower_alnum(s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!lower_alnum(s[i]) && s[i] != '-' && s[i] != '_')
			return false;
	return true;
}

static bool each_label(const char *p, size_t left, bool (*good)(const char *, size_t)) {
	for (;;) {
		const char *dot = memchr(p, '.', left);
		size_t len = dot ? (size_t)(dot - p) : left;
		if (!good(p, len))
			return false;
		if (!dot)
			return true;
		left -= len + 1;
		p = dot + 1;
	}
}

void format_dns_label(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (len > 63)
		add(out, "must be no more than 63 characters");
	if (is_label(text, len))
		return;
	if (each_label(text, len, is_label))
		add(out, "must not contain dots");
	else
		add(out, "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', " USED_FOR(LABEL));
}

void format_dns_subdomain(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (len > 253)
		add(out, "must be no more than 253 characters");
	if (!each_label(text, len, is_label))
		add(out, SUBDOMAIN_MESSAGE);
}

void format_dns_1035_label(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (len > 63)
		add(out, "must be no more than 63 characters");
	if (!is_label(text, len) || isdigit((unsigned char)*text))
		add(out, "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', " USED_FOR("[a-z]([-a-z0-9]*[a-z0-9])?"));
}

void format_wildcard_subdomain(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (len > 253)
		add(out, "must be no more than 253 characters");
	if (strncmp(text, "*.", 2) != 0 || !each_label(text + 2, len - 2, is_label))
		add(out, "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', " USED_FOR("\\*\\." LABEL "(\\." LABEL ")*"));
}

void format_search_domain(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (strcmp(text, ".") == 0)
		return;
	if (len && text[len - 1] == '.')
		len--;
	if (len > 253)
		add(out, "must be no more than 253 characters");
	if (!each_label(text, len, is_loose_label))
		add(out, SUBDOMAIN_TEXT("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.'",
					"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*"));
}

static bool is_caseless_label(const char *s, size_t len) {
	if (!len || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-')
			return false;
	return true;
}

void format_driver_name(const char *text, struct format_messages *out) {
	if (strlen(text) > 253)
		add(out, "must be no more than 253 bytes");
	if (!each_label(text, strlen(text), is_caseless_label))
		add(out, SUBDOMAIN_MESSAGE);
}

static bool is_name(const char *s, size_t len) {
	if (!len || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && s[i] != '-' && s[i] != '_' && s[i] != '.')
			return false;
	return true;
}

static void check_key(const char *text, bool caseless, struct format_messages *out) {
	const char *slash = strchr(text, '/'), *name = slash ? slash + 1 : text;
	if (slash && strchr(name, '/')) {
		add(out, "a valid label key " NAME_MESSAGE " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
		return;
	}
	if (slash) {
		size_t len = (size_t)(slash - text);
		if (!len) {
			add(out, "prefix part must be non-empty");
		} else {
			if (len > 253)
				add(out, "prefix part must be no more than 253 bytes");
			if (!each_label(text, len, caseless ? is_caseless_label : is_label))
				add(out, "prefix part " SUBDOMAIN_MESSAGE);
		}
	}
	size_t len = strlen(name);
	if (!len)
		add(out, "name part must be non-empty");
	else if (len > 63)
		add(out, "name part must be no more than 63 bytes");
	if (!is_name(name, len))
		add(out, "name part " NAME_MESSAGE);
}

void format_qualified_name(const char *text, struct format_messages *out) {
	check_key(text, false, out);
}

void format_annotation_key(const char *text, struct format_messages *out) {
	check_key(text, true, out);
}

void format_label_value(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (len > 63)
		add(out, "must be no more than 63 bytes");
	if (len && !is_name(text, len))
		add(out, "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', " USED_FOR("(" NAME ")?"));
}

void format_path_segment(const char *text, struct format_messages *out) {
	if (strcmp(text, ".") == 0) {
		add(out, "may not be '.'");
		return;
	}
	if (strcmp(text, "..") == 0) {
		add(out, "may not be '..'");
		return;
	}
	if (strchr(text, '/'))
		add(out, "may not contain '/'");
	if (strchr(text, '%'))
		add(out, "may not contain '%'");
}

/* All of `text`, which is not empty, is alphanumeric or one of `more`. */
static bool only(const char *text, const char *more) {
	if (!*text)
		return false;
	for (; *text; text++)
		if (!isalnum((unsigned char)*text) && !strchr(more, *text))
			return false;
	return true;
}

void format_config_key(const char *text, struct format_messages *out) {
	if (strlen(text) > 253)
		add(out, "must be no more than 253 characters");
	if (!only(text, "-._"))
		add(out, "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', " USED_FOR("[-._a-zA-Z0-9]+"));
	if (strcmp(text, ".") == 0)
		add(out, "must not be '.'");
	else if (strcmp(text, "..") == 0)
		add(out, "must not be '..'");
	else if (strncmp(text, "..", 2) == 0)
		add(out, "must not start with '..'");
}

void format_port_name(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	bool letter = false, charset = len > 0;
	for (size_t i = 0; i < len; i++) {
		charset &= lower_alnum(text[i]) || text[i] == '-';
		letter |= text[i] >= 'a' && text[i] <= 'z';
	}
	if (len > 15)
		add(out, "must be no more than 15 characters");
	if (!charset)
		add(out, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
	if (!letter)
		add(out, "must contain at least one letter (a-z)");
	if (strstr(text, "--"))
		add(out, "must not contain consecutive hyphens");
	if (len && (text[0] == '-' || text[len - 1] == '-'))
		add(out, "must not begin or end with a hyphen");
}

void format_env_name(const char *text, struct format_messages *out) {
	if (!*text)
		add(out, "environment variable name must be non-empty");
	for (const char *p = text; *p; p++)
		if (*p < 0x20 || *p > 0x7e || *p == '=') {
			add(out, "a valid environment variable name must consist only of printable ASCII characters other than '='");
			return;
		}
}

void format_http_header(const char *text, struct format_messages *out) {
	if (!only(text, "-"))
		add(out, "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', " USED_FOR("[-A-Za-z0-9]+"));
}

void format_c_identifier(const char *text, struct format_messages *out) {
	if (!only(text, "_") || isdigit((unsigned char)*text))
		add(out, "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', " USED_FOR("[A-Za-z_][A-Za-z0-9_]*"));
}

void format_percent(const char *text, struct format_messages *out) {
	size_t digits = strspn(text, "0123456789");
	if (!digits || strcmp(text + digits, "%") != 0)
		add(out, "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', " USED_FOR("[0-9]+%"));
}

/* ---- addresses ---- */

/* Family of `len` bytes of address, and its value; 0 where it is none. Leading zeros pass in IPv4, and are told. */
static int parse_address(const char *text, size_t len, struct in6_addr *ret, bool *ret_zeros) {
	char plain[64], *to = plain;
	*ret_zeros = false;
	if (!len || len >= sizeof(plain) || memchr(text, 0, len))
		return 0;
	bool v6 = memchr(text, ':', len) != NULL;
	for (size_t i = 0; i < len; i++) {
		bool begins = !v6 && (i == 0 || text[i - 1] == '.');
		while (begins && text[i] == '0' && i + 1 < len && isdigit((unsigned char)text[i + 1])) {
			*ret_zeros = true;
			i++;
		}
		*to++ = text[i];
	}
	*to = 0;
	int family = v6 ? AF_INET6 : AF_INET;
	return inet_pton(family, plain, ret) == 1 ? family : 0;
}

bool is_ip_address(const char *text) {
	struct in6_addr address;
	return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

bool is_ipv6_address(const char *text) {
	struct in6_addr address;
	return inet_pton(AF_INET6, text, &address) == 1 && !IN6_IS_ADDR_V4MAPPED(&address);
}

static void not_canonical(const char *text, const char *canonical, struct format_messages *out) {
	if (strcmp(text, canonical) == 0)
		return;
	snprintf(out->text, sizeof(out->text), "must be in canonical form (\"%s\")", canonical);
	add(out, out->text);
}

static void check_ip(const char *text, bool canonical, struct format_messages *out) {
	struct in6_addr address = {0};
	bool zeros;
	int family = parse_address(text, strlen(text), &address, &zeros);
	if (!family)
		add(out, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
	else if (zeros)
		add(out, "must not have leading 0s");
	else if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address))
		add(out, "must not be an IPv4-mapped IPv6 address");
	char form[INET6_ADDRSTRLEN];
	if (canonical && !out->len && inet_ntop(family, &address, form, sizeof(form)))
		not_canonical(text, form, out);
}

void format_ip(const char *text, struct format_messages *out) {
	check_ip(text, false, out);
}

void format_ip_canonical(const char *text, struct format_messages *out) {
	check_ip(text, true, out);
}

static void check_cidr(const char *text, bool canonical, struct format_messages *out) {
	struct in6_addr address = {0};
	bool zeros = false;
	const char *slash = strchr(text, '/');
	int family = slash ? parse_address(text, (size_t)(slash - text), &address, &zeros) : 0;
	int64_t bits = 0, most = family == AF_INET6 ? 128 : 32;
	if (!family || !isdigit((unsigned char)slash[1]) || strlen(slash + 1) > 8 || !str_to_int64(slash + 1, 0, most, &bits)) {
		add(out, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
		return;
	}
	if (zeros || (slash[1] == '0' && slash[2])) {
		add(out, "must not have leading 0s in IP or prefix length");
		return;
	}
	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&address)) {
		add(out, "must not have an IPv4-mapped IPv6 address");
		return;
	}
	const uint8_t *byte = (const uint8_t *)&address;
	for (int64_t i = bits; i < most; i++)
		if (byte[i / 8] & (0x80 >> (i % 8))) {
			add(out, "must not have bits set beyond the prefix length");
			return;
		}
	char form[INET6_ADDRSTRLEN + 8];
	if (canonical && inet_ntop(family, &address, form, INET6_ADDRSTRLEN)) {
		size_t len = strlen(form);
		snprintf(form + len, sizeof(form) - len, "/%d", (int)bits);
		not_canonical(text, form, out);
	}
}

int parse_cidr_loosely(const char *text, void *ret_address, int64_t *ret_bits) {
	const char *slash = strchr(text, '/');
	bool zeros;
	int family = slash ? parse_address(text, (size_t)(slash - text), ret_address, &zeros) : 0;
	bool good = family && isdigit((unsigned char)slash[1]) && strlen(slash + 1) <= 8 && str_to_int64(slash + 1, 0, family == AF_INET6 ? 128 : 32, ret_bits);
	return good ? family : 0;
}

void format_cidr(const char *text, struct format_messages *out) {
	check_cidr(text, false, out);
}

void format_cidr_canonical(const char *text, struct format_messages *out) {
	check_cidr(text, true, out);
}

/* ---- paths ---- */

void format_no_backsteps(const char *text, struct format_messages *out) {
	for (const char *p = text; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
		if (strncmp(p, "..", 2) == 0 && (!p[2] || p[2] == '/')) {
			add(out, "must not contain '..'");
			return;
		}
}

void format_relative_path(const char *text, struct format_messages *out) {
	if (*text == '/')
		add(out, "must be a relative path");
	format_no_backsteps(text, out);
}

void format_local_path(const char *text, struct format_messages *out) {
	format_relative_path(text, out);
	if (strncmp(text, "..", 2) == 0 && text[2] != '/')
		add(out, "must not start with '..'");
}

void format_absolute_path(const char *text, struct format_messages *out) {
	if (*text != '/')
		add(out, "must be an absolute path");
}

/* ---- others ---- */

void format_condition_reason(const char *text, struct format_messages *out) {
	size_t len = strlen(text);
	if (!only(text, "_,:") || !isalpha((unsigned char)*text) || text[len - 1] == ',' || text[len - 1] == ':')
		add(out, "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', " USED_FOR("[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"));
}

void format_uuid(const char *text, struct format_messages *out) {
	bool good = strlen(text) == 36;
	for (size_t i = 0; good && i < 36; i++)
		good = i == 8 || i == 13 || i == 18 || i == 23 ? text[i] == '-' : isdigit((unsigned char)text[i]) || (text[i] >= 'a' && text[i] <= 'f');
	if (!good)
		add(out, "must be a lowercase UUID in 8-4-4-4-12 format");
}

/* ---- schedules ---- */

static const char *const months[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const days[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
static const struct cron_field {
	int min, max;
	const char *const *names;
} cron_fields[] = {{0, 59, NULL}, {0, 23, NULL}, {1, 31, NULL}, {1, 12, months}, {0, 6, days}};

/* A number or a name; -1 where it is neither. */
static int cron_value(const char *s, size_t len, const struct cron_field *f) {
	char word[12];
	int64_t value;
	if (!len || len >= sizeof(word))
		return -1;
	memcpy(word, s, len);
	word[len] = 0;
	for (int i = 0; f->names && f->names[i]; i++)
		if (strcasecmp(word, f->names[i]) == 0)
			return i + f->min;
	return isdigit((unsigned char)*word) && str_to_int64(word, 0, 1000, &value) ? (int)value : -1;
}

/* One of the parts that commas join: *, a, a-b, each with /step. */
static bool cron_part(const char *s, size_t len, const struct cron_field *f) {
	const char *slash = memchr(s, '/', len);
	size_t range = slash ? (size_t)(slash - s) : len;
	if (slash) {
		static const struct cron_field any = {0, 1000, NULL};
		if (cron_value(slash + 1, len - range - 1, &any) <= 0)
			return false;
	}
	if (range == 1 && (*s == '*' || *s == '?'))
		return true;
	const char *dash = memchr(s, '-', range);
	int from = cron_value(s, dash ? (size_t)(dash - s) : range, f);
	int to = dash ? cron_value(dash + 1, range - (size_t)(dash - s) - 1, f) : from;
	return from >= f->min && to <= f->max && from <= to;
}

/* Says how many fields there are, where that is the mistake. */
static void cron_complain(const char *text, struct format_messages *out) {
	autobuf struct buf fields = BUF_INIT(4096);
	unsigned count = 0;
	for (const char *p = text; *p;) {
		size_t space = strspn(p, " \t\n\r\v\f"), len = strcspn(p + space, " \t\n\r\v\f");
		if (len)
			buf_printf(&fields, "%s%.*s", count++ ? " " : "", (int)len, p + space);
		p += space + len;
	}
	if (*text == '@' || count == array_len(cron_fields)) {
		add(out, "must be a schedule of five fields or a descriptor such as @hourly");
		return;
	}
	snprintf(out->text, sizeof(out->text), "expected exactly 5 fields, found %u: [%s]", count, str_or(fields.data, ""));
	add(out, out->text);
}

void format_cron(const char *text, struct format_messages *out) {
	static const char *const named[] = {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"};
	bool good = false;
	for (size_t i = 0; i < array_len(named); i++)
		good |= strcmp(text, named[i]) == 0;
	if (strncmp(text, "@every ", 7) == 0) {
		/* A sequence of numbers with units, as time.ParseDuration takes it. */
		const char *p = text + 7 + (text[7] == '-' || text[7] == '+');
		good = *p != 0;
		while (good && *p && strcmp(p, "0") != 0) {
			size_t digits = strspn(p, "0123456789."), unit = strspn(p + digits, "nuµmsh");
			good = digits && unit && unit <= 3;
			p += digits + unit;
		}
	} else if (*text != '@') {
		const char *p = text;
		size_t fields = 0;
		good = true;
		for (; good; fields++) {
			p += strspn(p, " \t\n\r\v\f");
			if (!*p)
				break;
			size_t len = strcspn(p, " \t\n\r\v\f");
			good = fields < array_len(cron_fields);
			for (const char *end = p + len; good && p <= end;) {
				size_t part = strcspn(p, ", \t\n\r\v\f");
				good = cron_part(p, part, &cron_fields[fields]);
				p += part + 1;
			}
			if (good)
				p--;
		}
		good = good && fields == array_len(cron_fields);
	}
	if (!good)
		cron_complain(text, out);
}
