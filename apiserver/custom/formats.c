/* SPDX-License-Identifier: Apache-2.0 */
/* Formats that schemas of custom resources name, by the patterns that Kubernetes' API server has for them. What is not in the table is not judged. */
#include "apiserver/custom/custom.h"
#include "common/api/format.h"
#include "common/base/regex.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <pthread.h>

#define LETTER "[a-zA-Z0-9\\p{S}\\p{L}]"
#define HEX4 "[0-9a-fA-F]{4}"
#define UUID(third, fourth) "^[0-9a-fA-F]{8}-?" HEX4 "-?" third "-?" fourth "-?[0-9a-fA-F]{12}$"

/* Zeros may lead, as in Go programs of old. */
static bool is_v4(const char *text) {
	unsigned parts = 0;
	for (;; text++) {
		size_t digits = strspn(text, "0123456789");
		if (!digits || digits > 9 || strtol(text, NULL, 10) > 255)
			return false;
		parts++;
		text += digits;
		if (*text != '.')
			return !*text && parts == 4;
	}
}

static bool is_v6(const char *text) {
	struct in6_addr address;
	return inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_cidr(const char *text) {
	const char *slash = strchr(text, '/');
	int64_t bits;
	if (!slash || !isdigit((unsigned char)slash[1]) || !str_to_int64(slash + 1, 0, 128, &bits))
		return false;
	autofree char *address = xstrndup(text, (size_t)(slash - text));
	return is_v6(address) || (is_v4(address) && bits <= 32);
}

/* No label longer than 63, no name than 255. */
static bool is_short(const char *text) {
	for (const char *p = text; *p; p += *p == '.') {
		size_t len = strcspn(p, ".");
		if (len > 63)
			return false;
		p += len;
	}
	return strlen(text) <= 255;
}

static bool is_time(const char *text) {
	struct wall_time time;
	return time_parse_rfc3339(text, strlen(text), &time) == 0;
}

static bool is_date(const char *text) {
	char time[32];
	snprintf(time, sizeof(time), "%.10sT00:00:00Z", text);
	return strlen(text) == 10 && is_time(time);
}

/* A path, or what begins with a scheme. */
static bool is_uri(const char *text) {
	size_t scheme = isalpha((unsigned char)*text) ? strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.") : 0;
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return false;
	const char *host = scheme && strncmp(text + scheme, "://", 3) == 0 ? text + scheme + 3 : "";
	if (strcspn(host, " <>\"") < strcspn(host, "/?#"))
		return false;
	return *text == '/' || (scheme && text[scheme] == ':');
}

static bool is_label(const char *text) {
	return !format_error(format_dns_label, text);
}

static bool is_subdomain(const char *text) {
	return !format_error(format_dns_subdomain, text);
}

/* Digits of a payment card, the last of which checks the others. */
static bool is_checked(const char *text) {
	int sum = 0, count = 0;
	for (size_t i = strlen(text); i-- > 0;) {
		if (!isdigit((unsigned char)text[i]))
			continue;
		int digit = text[i] - '0';
		if (count++ % 2 && (digit *= 2) > 9)
			digit -= 9;
		sum += digit;
	}
	return sum % 10 == 0;
}

/* The number of a book: ten digits, the last of which may be X, or thirteen. */
static bool is_isbn10(const char *text) {
	int sum = 0, count = 0;
	for (const char *p = text; *p; p++) {
		if (*p == '-' || *p == ' ')
			continue;
		int digit = isdigit((unsigned char)*p) ? *p - '0' : count == 9 && *p == 'X' ? 10 : -1;
		if (digit < 0 || count == 10)
			return false;
		sum += ++count * digit;
	}
	return count == 10 && sum % 11 == 0;
}

static bool is_isbn13(const char *text) {
	int sum = 0, count = 0;
	for (const char *p = text; *p; p++) {
		if (*p == '-' || *p == ' ')
			continue;
		if (!isdigit((unsigned char)*p) || count == 13)
			return false;
		sum += (*p - '0') * (count++ % 2 ? 3 : 1);
	}
	return count == 13 && sum % 10 == 0;
}

static bool is_isbn(const char *text) {
	return is_isbn10(text) || is_isbn13(text);
}

#define BYTE "\\s*(?:0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])\\s*"

static struct format {
	const char *name, *pattern; /* NULL: any text */
	bool (*good)(const char *text); /* as well; NULL: nothing more */
	struct regex *regex;
} formats[] = {
	{"date-time", NULL, is_time, NULL},
	{"datetime", NULL, is_time, NULL},
	{"date", NULL, is_date, NULL},
	{"hostname", "^(?:" LETTER "(?:-?" LETTER "{0,62})?|(?:" LETTER "(?:[a-zA-Z0-9\\p{S}\\p{L}-]{0,61}" LETTER ")?\\.)+[a-zA-Z\\p{L}]{2,63})$", is_short, NULL},
	{"ipv4", NULL, is_v4, NULL},
	{"ipv6", NULL, is_v6, NULL},
	{"cidr", NULL, is_cidr, NULL},
	{"mac", "^(?:[0-9a-fA-F]{2}([:-])(?:[0-9a-fA-F]{2}[:-]){4}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{2}[:-]){7}[0-9a-fA-F]{2}|(?:[0-9a-fA-F]{2}[:-]){19}[0-9a-fA-F]{2}|(?:" HEX4 "\\.){2}" HEX4 "|(?:" HEX4 "\\.){3}" HEX4 "|(?:" HEX4 "\\.){9}" HEX4 ")$", NULL, NULL},
	{"uuid", UUID(HEX4, HEX4), NULL, NULL},
	{"uuid3", UUID("3[0-9a-fA-F]{3}", HEX4), NULL, NULL},
	{"uuid4", UUID("4[0-9a-fA-F]{3}", "[89abAB][0-9a-fA-F]{3}"), NULL, NULL},
	{"uuid5", UUID("5[0-9a-fA-F]{3}", "[89abAB][0-9a-fA-F]{3}"), NULL, NULL},
	{"bsonobjectid", "^[0-9a-fA-F]{24}$", NULL, NULL},
	{"hexcolor", "^#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$", NULL, NULL},
	{"ssn", "^[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}$", NULL, NULL},
	{"creditcard", "^(?:[0-9][ -]?){12,18}[0-9]$", is_checked, NULL},
	{"byte", "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})$", NULL, NULL},
	{"email", "^(?:[^<>@]*<)?[^\\s@<>()\\[\\]:;,\"]+@[^\\s@<>()\\[\\]:;,\"]+>?$", NULL, NULL},
	{"duration", "^[+-]?0$|[0-9]+\\.?[0-9]*\\s*(?:n|u|\u00b5|\u03bc|m|s|h|d|w)", NULL, NULL},
	{"rgbcolor", "^rgb\\(" BYTE "," BYTE "," BYTE "\\)$", NULL, NULL},
	{"isbn", NULL, is_isbn, NULL},
	{"isbn10", NULL, is_isbn10, NULL},
	{"isbn13", NULL, is_isbn13, NULL},
	{"uri", NULL, is_uri, NULL},
	{"k8s-short-name", NULL, is_label, NULL},
	{"k8s-long-name", NULL, is_subdomain, NULL},
};

static void compile(void) {
	for (size_t i = 0; i < array_len(formats); i++)
		formats[i].regex = formats[i].pattern ? regex_new(formats[i].pattern, NULL) : NULL;
}

bool schema_format_fits(const char *name, const char *text, size_t len) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, compile);
	for (size_t i = 0; i < array_len(formats); i++) {
		const struct format *f = &formats[i];
		if (strcmp(f->name, name) != 0)
			continue;
		return strlen(text) == len && (!f->pattern || !f->regex || regex_search(f->regex, text, len)) && (!f->good || f->good(text));
	}
	return true;
}
