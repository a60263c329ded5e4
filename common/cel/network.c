/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses, networks and URLs. */
#include "common/cel/internal.h"
#include "common/base/map.h"

#include <arpa/inet.h>
#include <ctype.h>

/* ---- addresses ---- */

static bool is_mapped(const uint8_t *bytes) {
	static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
	return memcmp(bytes, prefix, sizeof(prefix)) == 0;
}

static const char *read_address(const char *s, size_t len, struct ip *ret) {
	char text[INET6_ADDRSTRLEN + 1];
	if (len >= sizeof(text) || memchr(s, 0, len))
		return "parse error during conversion from string: unable to parse IP";
	memcpy(text, s, len);
	text[len] = '\0';
	*ret = (struct ip){.len = 4};
	if (inet_pton(AF_INET, text, ret->bytes) == 1)
		return NULL;
	ret->len = 16;
	char *zone = strchr(text, '%');
	if (zone)
		*zone = '\0';
	if (inet_pton(AF_INET6, text, ret->bytes) != 1 || (zone && !zone[1]))
		return "parse error during conversion from string: unable to parse IP";
	if (zone)
		return "with zone value is not allowed";
	return is_mapped(ret->bytes) ? "IPv4-mapped" : NULL;
}

static struct cel_value bad_address(struct cel_run *run, const struct cel_value *v, const char *why) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	append_go_quoted(&text, v->s, min_of(v->len, (size_t)200));
	if (strcmp(why, "IPv4-mapped") == 0)
		return cel_fail(run, "IPv4-mapped IPv6 address %s is not allowed", text.data);
	return cel_fail(run, "IP %s %s %s", *why == 'w' ? "address" : "Address", text.data, why);
}

static struct cel_value address(struct cel_run *run, const struct ip *ip, enum opaque_kind kind) {
	struct cel_opaque opaque = {.kind = kind, .ip = *ip};
	return value_opaque(run, &opaque);
}

static struct cel_value to_ip(struct cel_run *run, const struct cel_value *v) {
	struct ip ip;
	const char *why = read_address(v->s, v->len, &ip);
	return why ? bad_address(run, v, why) : address(run, &ip, OPAQUE_IP);
}

static struct cel_value fn_ip(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (args[0].kind == CEL_STRING)
		return to_ip(run, &args[0]);
	struct ip ip = args[0].opaque->ip;
	ip.bits = 0;
	return address(run, &ip, OPAQUE_IP);
}

static struct cel_value fn_is_ip(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct ip ip;
	return VALUE_BOOL(!read_address(args[0].s, args[0].len, &ip));
}

static struct cel_value fn_is_canonical(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value ip = to_ip(run, &args[0]);
	if (ip.kind == CEL_ERROR)
		return ip;
	struct cel_value text = value_to_string(run, &ip);
	return VALUE_BOOL(value_equal(run, &text, &args[0]));
}

static struct cel_value fn_family(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT(args[0].opaque->ip.len == 4 ? 4 : 6);
}

static bool all_zero(const struct ip *ip, unsigned upto) {
	for (unsigned i = 0; i < upto; i++)
		if (ip->bytes[i])
			return false;
	return true;
}

static bool is_loopback(const struct ip *ip) {
	return ip->len == 4 ? ip->bytes[0] == 127 : all_zero(ip, 15) && ip->bytes[15] == 1;
}

static bool is_multicast(const struct ip *ip) {
	return ip->len == 4 ? ip->bytes[0] >> 4 == 14 : ip->bytes[0] == 0xff;
}

static bool is_link_local(const struct ip *ip) {
	return ip->len == 4 ? ip->bytes[0] == 169 && ip->bytes[1] == 254 : ip->bytes[0] == 0xfe && ip->bytes[1] >> 6 == 2;
}

static bool is_unspecified(const struct ip *ip) {
	return all_zero(ip, ip->len);
}

static bool is_link_local_multicast(const struct ip *ip) {
	return ip->len == 4 ? ip->bytes[0] == 224 && !ip->bytes[1] && !ip->bytes[2] : ip->bytes[0] == 0xff && (ip->bytes[1] & 15) == 2;
}

static bool is_global(const struct ip *ip) {
	bool broadcast = ip->len == 4 && ip->bytes[0] == 255 && ip->bytes[1] == 255 && ip->bytes[2] == 255 && ip->bytes[3] == 255;
	return !is_unspecified(ip) && !broadcast && !is_loopback(ip) && !is_multicast(ip) && !is_link_local(ip);
}

#define TEST_IP(name_, test_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		return VALUE_BOOL(test_(&args[0].opaque->ip)); \
	}
TEST_IP(fn_is_unspecified, is_unspecified)
TEST_IP(fn_is_loopback, is_loopback)
TEST_IP(fn_is_link_local_multicast, is_link_local_multicast)
TEST_IP(fn_is_link_local_unicast, is_link_local)
TEST_IP(fn_is_global_unicast, is_global)

/* ---- networks ---- */

static const char *read_network(const struct cel_value *v, struct ip *ret) {
	const char *slash = memrchr(v->s, '/', v->len);
	size_t digits = slash ? (size_t)(v->s + v->len - slash - 1) : 0;
	unsigned bits = 0;
	if (!slash || !digits || digits > 3 || (digits > 1 && slash[1] == '0'))
		return "no prefix length";
	for (size_t i = 1; i <= digits; i++) {
		if (!isdigit((unsigned char)slash[i]))
			return "bad prefix length";
		bits = bits * 10 + (unsigned)(slash[i] - '0');
	}
	const char *why = read_address(v->s, (size_t)(slash - v->s), ret);
	if (why)
		return why;
	if (bits > ret->len * 8u)
		return "prefix length out of range";
	ret->bits = (uint8_t)bits;
	return NULL;
}

static struct cel_value to_cidr(struct cel_run *run, const struct cel_value *v) {
	struct ip ip;
	const char *why = read_network(v, &ip);
	return why ? cel_fail(run, "network address parse error during conversion from string: network address parse error during conversion from string: \"%.*s\": %s", (int)min_of(v->len, (size_t)200), v->s, why) : address(run, &ip, OPAQUE_CIDR);
}

static struct cel_value fn_cidr(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return to_cidr(run, &args[0]);
}

static struct cel_value fn_is_cidr(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct ip ip;
	return VALUE_BOOL(!read_network(&args[0], &ip));
}

static void mask(struct ip *ip) {
	for (unsigned i = 0; i < ip->len; i++) {
		unsigned keep = ip->bits > 8 * i ? min_of(ip->bits - 8 * i, 8u) : 0;
		ip->bytes[i] &= (uint8_t)(0xff00u >> keep);
	}
}

static bool within(const struct ip *network, const struct ip *ip) {
	struct ip a = *network, b = *ip;
	b.bits = a.bits;
	mask(&a);
	mask(&b);
	return a.len == b.len && memcmp(a.bytes, b.bytes, a.len) == 0;
}

static struct cel_value fn_contains_ip(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value ip = args[1].kind == CEL_STRING ? to_ip(run, &args[1]) : args[1];
	return ip.kind == CEL_ERROR ? ip : VALUE_BOOL(within(&args[0].opaque->ip, &ip.opaque->ip));
}

static struct cel_value fn_contains_cidr(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value other = args[1].kind == CEL_STRING ? to_cidr(run, &args[1]) : args[1];
	if (other.kind == CEL_ERROR)
		return other;
	return VALUE_BOOL(args[0].opaque->ip.bits <= other.opaque->ip.bits && within(&args[0].opaque->ip, &other.opaque->ip));
}

static struct cel_value fn_prefix_length(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT(args[0].opaque->ip.bits);
}

static struct cel_value fn_masked(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct ip ip = args[0].opaque->ip;
	mask(&ip);
	return address(run, &ip, OPAQUE_CIDR);
}

/* ---- URLs, as Go's net/url reads them ---- */

static bool is_hex_pair(const char *p) {
	return isxdigit((unsigned char)p[0]) && isxdigit((unsigned char)p[1]);
}

static char hex_pair(const char *p) {
	char text[3] = {p[0], p[1], 0};
	return (char)strtol(text, NULL, 16);
}

/* Text without its escapes; NULL where one is none. `plus` stands for a space. */
static char *unescape(struct cel_run *run, const char *s, size_t len, bool plus, size_t *ret_len) {
	char *out = run_alloc(run, len + 1);
	size_t n = 0;
	for (size_t i = 0; out && i < len; i++) {
		if (s[i] == '%') {
			if (i + 2 >= len || !is_hex_pair(s + i + 1))
				return NULL;
			out[n++] = hex_pair(s + i + 1);
			i += 2;
		} else {
			out[n++] = plus && s[i] == '+' ? ' ' : s[i];
		}
	}
	*ret_len = n;
	return out;
}

static bool is_unreserved(char c) {
	return isalnum((unsigned char)c) || (c && strchr("-_.~", c));
}

static bool all_of(const char *s, size_t len, const char *more) {
	for (size_t i = 0; i < len; i++)
		if (!is_unreserved(s[i]) && !(s[i] && strchr(more, s[i])))
			return false;
	return true;
}

/* The path as it goes over the wire. */
static const char *escaped_path(struct cel_run *run, const char *s, size_t len) {
	size_t plain_len;
	const char *plain = unescape(run, s, len, false, &plain_len);
	autobuf struct buf out = BUF_INIT(MAX_STRING);
	if (!plain)
		return NULL;
	if (all_of(s, len, "!$&'()*+,;=:@[]%/"))
		return value_cstr(run, &VALUE_STRING(s, len));
	for (size_t i = 0; i < plain_len; i++) {
		if (is_unreserved(plain[i]) || (plain[i] && strchr("$&+,/:;=@", plain[i])))
			buf_append_char(&out, plain[i]);
		else
			buf_printf(&out, "%%%02X", (unsigned char)plain[i]);
	}
	return value_cstr(run, &VALUE_STRING(out.data ? out.data : "", out.len));
}

static bool is_port(const char *s, size_t len) {
	if (!len || *s != ':')
		return !len;
	for (size_t i = 1; i < len; i++)
		if (!isdigit((unsigned char)s[i]))
			return false;
	return true;
}

/* "host:port" of an authority; NULL where it is none. */
static const char *read_host(struct cel_run *run, const char *s, size_t len) {
	const char *at = memrchr(s, '@', len), *colon;
	if (at) {
		if (!all_of(s, (size_t)(at - s), ":!$&'()*+,;=%@"))
			return NULL;
		len -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	if (len && *s == '[') {
		const char *close = memrchr(s, ']', len);
		if (!close || !is_port(close + 1, (size_t)(s + len - close - 1)))
			return NULL;
	} else if ((colon = memrchr(s, ':', len)) && !is_port(colon, (size_t)(s + len - colon))) {
		return NULL;
	}
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)s[i] < 0x80 && !is_unreserved(s[i]) && !(s[i] && strchr("!$&'()*+,;=:[]<>\"%", s[i])))
			return NULL;
		/* Only what is not ASCII may be escaped. */
		if (s[i] == '%' && (i + 2 >= len || !is_hex_pair(s + i + 1) || (!(hex_pair(s + i + 1) & 0x80) && memcmp(s + i, "%25", 3) != 0)))
			return NULL;
	}
	size_t n;
	char *host = unescape(run, s, len, false, &n);
	return host ? value_cstr(run, &VALUE_STRING(host, n)) : NULL;
}

static bool read_url(struct cel_run *run, const struct cel_value *v, struct url *ret) {
	const char *s = v->s, *end = v->s + v->len, *p = s;
	*ret = (struct url){.text = value_cstr(run, v), .scheme = "", .host = "", .path = "", .query = ""};
	for (const char *c = s; c < end; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	if (s == end || *s == ':')
		return false;
	while (p < end && (isalpha((unsigned char)*p) || (p > s && (isdigit((unsigned char)*p) || strchr("+-.", *p)))))
		p++;
	if (p < end && *p == ':') {
		char *scheme = (char *)value_cstr(run, &VALUE_STRING(s, (size_t)(p - s)));
		for (char *c = scheme; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		ret->scheme = scheme;
		s = p + 1;
	}
	const char *fragment = memchr(s, '#', (size_t)(end - s));
	size_t ignored;
	if (fragment && !unescape(run, fragment + 1, (size_t)(end - fragment - 1), false, &ignored))
		return false;
	const char *stop = fragment ? fragment : end, *query = memchr(s, '?', (size_t)(stop - s));
	if (query)
		ret->query = value_cstr(run, &VALUE_STRING(query + 1, (size_t)(stop - query - 1)));
	const char *path_end = query ? query : stop;
	if (s == path_end || *s != '/')
		return *ret->scheme != '\0'; /* opaque */
	if (*ret->scheme && path_end - s >= 2 && s[1] == '/') {
		const char *slash = memchr(s + 2, '/', (size_t)(path_end - s - 2)), *host_end = slash ? slash : path_end;
		/* A fragment right behind the host is taken for a part of it. */
		if (!slash && !query && fragment)
			return false;
		if (!(ret->host = read_host(run, s + 2, (size_t)(host_end - s - 2))))
			return false;
		s = host_end;
	}
	ret->path = escaped_path(run, s, (size_t)(path_end - s));
	return ret->path != NULL;
}

static struct cel_value fn_url(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_opaque opaque = {.kind = OPAQUE_URL};
	if (read_url(run, &args[0], &opaque.url))
		return value_opaque(run, &opaque);
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	append_go_quoted(&text, args[0].s, min_of(args[0].len, (size_t)200));
	return cel_fail(run, "URL parse error during conversion from string: parse %s: invalid URI for request", text.data);
}

static struct cel_value fn_is_url(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct url url;
	return VALUE_BOOL(read_url(run, &args[0], &url));
}

static struct cel_value fn_scheme(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_text(run, args[0].opaque->url.scheme);
}

static struct cel_value fn_host(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_text(run, args[0].opaque->url.host);
}

/* Where the port begins, with its colon. */
static const char *port_of(const char *host) {
	const char *close = strrchr(host, ']'), *colon = strrchr(host, ':');
	return colon && (!close || colon > close) && is_port(colon, strlen(colon)) ? colon : host + strlen(host);
}

static struct cel_value fn_hostname(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const char *host = args[0].opaque->url.host, *port = port_of(host);
	size_t len = (size_t)(port - host);
	if (len >= 2 && *host == '[' && host[len - 1] == ']')
		return cel_from_string(run, host + 1, len - 2);
	return cel_from_string(run, host, len);
}

static struct cel_value fn_port(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const char *port = port_of(args[0].opaque->url.host);
	return value_text(run, *port ? port + 1 : "");
}

static struct cel_value fn_path(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_text(run, args[0].opaque->url.path);
}

static struct cel_value fn_query(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value map = map_new(run);
	const char *p = args[0].opaque->url.query;
	while (*p && run_goes_on(run)) {
		size_t len = strcspn(p, "&"), key_len, value_len;
		const char *equals = memchr(p, '=', len), *value_start = equals ? equals + 1 : p + len;
		bool skip = !len || memchr(p, ';', len);
		const char *key = skip ? NULL : unescape(run, p, equals ? (size_t)(equals - p) : len, true, &key_len);
		const char *value = key ? unescape(run, value_start, (size_t)(p + len - value_start), true, &value_len) : NULL;
		if (value) {
			struct cel_value name = VALUE_STRING(key, key_len), list;
			if (!map_find(run, map.map, &name, &list)) {
				list = list_new(run, 1);
				map_put(run, &map, name, list);
			}
			list_push(run, &list, VALUE_STRING(value, value_len));
		}
		p += len;
		p += *p == '&';
	}
	return map;
}

const struct function_row functions_network[] = {
	{"ip", fn_ip, COST_IP, "string_to_ip=(string):ip cidr_ip=.(cidr):ip"},
	{"family", fn_family, COST_ONE, "ip_family=.(ip):int"},
	{"ip.isCanonical", fn_is_canonical, COST_SIZE_TWICE, "ip_is_canonical=(string):bool"},
	{"isUnspecified", fn_is_unspecified, COST_ONE, "ip_is_unspecified=.(ip):bool"},
	{"isLoopback", fn_is_loopback, COST_ONE, "ip_is_loopback=.(ip):bool"},
	{"isLinkLocalMulticast", fn_is_link_local_multicast, COST_ONE, "ip_is_link_local_multicast=.(ip):bool"},
	{"isLinkLocalUnicast", fn_is_link_local_unicast, COST_ONE, "ip_is_link_local_unicast=.(ip):bool"},
	{"isGlobalUnicast", fn_is_global_unicast, COST_ONE, "ip_is_global_unicast=.(ip):bool"},
	{"isIP", fn_is_ip, COST_SIZE, "is_ip=(string):bool"},
	{"cidr", fn_cidr, COST_SIZE, "string_to_cidr=(string):cidr"},
	{"containsIP", fn_contains_ip, COST_CIDR_IP, "cidr_contains_ip_string=.(cidr,string):bool cidr_contains_ip_ip=.(cidr,ip):bool"},
	{"containsCIDR", fn_contains_cidr, COST_CIDR_CIDR, "cidr_contains_cidr_string=.(cidr,string):bool cidr_contains_cidr=.(cidr,cidr):bool"},
	{"prefixLength", fn_prefix_length, COST_ONE, "cidr_prefix_length=.(cidr):int"},
	{"masked", fn_masked, COST_ONE, "cidr_masked=.(cidr):cidr"},
	{"isCIDR", fn_is_cidr, COST_SIZE, "is_cidr=(string):bool"},
	{"url", fn_url, COST_SIZE, "string_to_url=(string):url"},
	{"isURL", fn_is_url, COST_ONE, "is_url_string=(string):bool"},
	{"getScheme", fn_scheme, COST_ONE, "url_get_scheme=.(url):string"},
	{"getHost", fn_host, COST_ONE, "url_get_host=.(url):string"},
	{"getHostname", fn_hostname, COST_ONE, "url_get_hostname=.(url):string"},
	{"getPort", fn_port, COST_ONE, "url_get_port=.(url):string"},
	{"getEscapedPath", fn_path, COST_ONE, "url_get_escaped_path=.(url):string"},
	{"getQuery", fn_query, COST_ONE, "url_get_query=.(url):map<string,list<string>>"},
	{0},
};
