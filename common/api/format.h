/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The syntax of texts that Kubernetes gives names to. A checker appends one message, in Kubernetes' words, for each thing
 * that is wrong; none means good. The word format=<name> of a field in a .api file names one of these. The text may come from a
 * peer: any bytes, any length, NUL terminated.
 */
#ifndef CORACLE_API_FORMAT_H
#define CORACLE_API_FORMAT_H

#include "common/base/base.h"

struct format_messages {
	const char *items[6]; /* constant, or `text` */
	unsigned len;
	char text[160];
};
typedef void format_check(const char *text, struct format_messages *out);

format_check format_dns_label;           /* RFC 1123 label */
format_check format_dns_subdomain;       /* RFC 1123 subdomain */
format_check format_dns_1035_label;
format_check format_wildcard_subdomain;  /* *.example.com */
format_check format_search_domain;       /* of a resolver: underscores, a last dot, "." */
format_check format_driver_name;         /* a subdomain whose case does not matter, 63 bytes */
format_check format_qualified_name;      /* [prefix/]Name: keys of labels */
format_check format_annotation_key;      /* the same, case folded */
format_check format_label_value;
format_check format_path_segment;
format_check format_config_key;          /* of ConfigMap and Secret */
format_check format_port_name;           /* IANA service name */
format_check format_env_name;
format_check format_http_header;
format_check format_c_identifier;
format_check format_percent;
format_check format_ip;                  /* without leading zeros, not an IPv4 inside an IPv6 */
format_check format_ip_canonical;
format_check format_cidr;
format_check format_cidr_canonical;
format_check format_no_backsteps;        /* a path without ".." */
format_check format_relative_path;       /* and relative */
format_check format_local_path;          /* and no name that begins with ".." */
format_check format_absolute_path;
format_check format_condition_reason;
format_check format_uuid;
format_check format_cron;                /* five fields or @every, @hourly, ... without TZ= */

/* The first message, NULL where good. */
const char *format_error(format_check *check, const char *text);
bool is_ip_address(const char *text);
bool is_ipv6_address(const char *text);
/* AF_INET or AF_INET6, the address (16 bytes of room) and the length of its prefix, of ranges written sloppily too: with leading zeros, or bits behind the prefix. 0: it is none. */
int parse_cidr_loosely(const char *text, void *ret_address, int64_t *ret_bits);

#endif
