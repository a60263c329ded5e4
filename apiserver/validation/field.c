/* SPDX-License-Identifier: Apache-2.0 */
/* Causes in Kubernetes' words, and the syntax of names. */
#include "apiserver/validation/validation.h"

#include <arpa/inet.h>
#include <ctype.h>

static void path_write(const struct path *path, struct buf *out) {
	if (!path)
		return;
	path_write(path->parent, out);
	if (path->name) {
		if (out->len)
			buf_append_char(out, '.');
		buf_append_str(out, path->name);
	}
	if (path->index >= 0)
		buf_printf(out, "[%d]", path->index);
	if (path->key)
		buf_printf(out, "[%s]", path->key);
}

static char *path_text(const struct path *path) {
	struct buf out = BUF_INIT(64 << 10);
	path_write(path, &out);
	char *text = buf_take(&out);
	return text ? text : xstrdup("");
}

static char *format(const char *fmt, va_list args) {
	struct buf out = BUF_INIT(64 << 10);
	buf_vprintf(&out, fmt, args);
	char *text = buf_take(&out);
	return text ? text : xstrdup("");
}

void invalid(struct error *err, const struct path *path, const char *value, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	autofree char *text = format(fmt, args), *where = path_text(path);
	va_end(args);
	error_cause(err, "FieldValueInvalid", where, "Invalid value: \"%s\": %s", value ? value : "", text);
}

void invalid_int(struct error *err, const struct path *path, int64_t value, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	autofree char *text = format(fmt, args), *where = path_text(path);
	va_end(args);
	error_cause(err, "FieldValueInvalid", where, "Invalid value: %lld: %s", (long long)value, text);
}

void required(struct error *err, const struct path *path, const char *text) {
	autofree char *where = path_text(path);
	if (str_empty(text))
		error_cause(err, "FieldValueRequired", where, "Required value");
	else
		error_cause(err, "FieldValueRequired", where, "Required value: %s", text);
}

void forbidden(struct error *err, const struct path *path, const char *text) {
	autofree char *where = path_text(path);
	error_cause(err, "FieldValueForbidden", where, "Forbidden: %s", text);
}

void duplicate(struct error *err, const struct path *path, const char *value) {
	autofree char *where = path_text(path);
	error_cause(err, "FieldValueDuplicate", where, "Duplicate value: \"%s\"", value);
}

void not_found(struct error *err, const struct path *path, const char *value) {
	autofree char *where = path_text(path);
	error_cause(err, "FieldValueNotFound", where, "Not found: \"%s\"", value);
}

void too_long(struct error *err, const struct path *path, size_t max) {
	autofree char *where = path_text(path);
	error_cause(err, "FieldValueTooLong", where, "Too long: may not be more than %zu bytes", max);
}

void not_supported(struct error *err, const struct path *path, const char *value, const char *const *supported) {
	autofree char *where = path_text(path);
	autobuf struct buf list = BUF_INIT(64 << 10);
	for (const char *const *s = supported; *s; s++)
		buf_printf(&list, "%s\"%s\"", s == supported ? "" : ", ", *s);
	error_cause(err, "FieldValueNotSupported", where, "Unsupported value: \"%s\": supported values: %s", value ? value : "", list.data);
}

/* ---- names ---- */

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

const char *check_dns_label(const char *value) {
	size_t len = strlen(value);
	if (len > 63)
		return "must be no more than 63 bytes";
	if (!is_label(value, len))
		return "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
	return NULL;
}

const char *check_dns_subdomain(const char *value) {
	if (strlen(value) > 253)
		return "must be no more than 253 bytes";
	const char *p = value;
	for (;;) {
		size_t len = strcspn(p, ".");
		if (!is_label(p, len))
			return "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
		p += len;
		if (!*p)
			return NULL;
		p++;
	}
}

const char *check_dns_1035_label(const char *value) {
	size_t len = strlen(value);
	if (len > 63)
		return "must be no more than 63 bytes";
	if (!is_label(value, len) || isdigit((unsigned char)*value))
		return "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
	return NULL;
}

const char *check_path_segment(const char *value) {
	if (strcmp(value, ".") == 0)
		return "may not be '.'";
	if (strcmp(value, "..") == 0)
		return "may not be '..'";
	if (strchr(value, '/'))
		return "may not contain '/'";
	return strchr(value, '%') ? "may not contain '%'" : NULL;
}

static bool name_part(const char *s, size_t len) {
	if (!len || len > 63 || !isalnum((unsigned char)s[0]) || !isalnum((unsigned char)s[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
			return false;
	return true;
}

#define QUALIFIED_TEXT "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"

const char *check_qualified_name(const char *value) {
	const char *slash = strchr(value, '/');
	const char *name = slash ? slash + 1 : value;
	if (slash) {
		if (strchr(name, '/'))
			return "a valid label key must consist of an optional prefix and a name, separated by a '/'";
		char prefix[254];
		if (slash == value)
			return "prefix part must be non-empty";
		if (snprintf(prefix, sizeof(prefix), "%.*s", (int)(slash - value), value) >= (int)sizeof(prefix))
			return "prefix part must be no more than 253 bytes";
		if (check_dns_subdomain(prefix))
			return "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
	}
	if (!*name)
		return "name part must be non-empty";
	if (strlen(name) > 63)
		return "name part must be no more than 63 bytes";
	return name_part(name, strlen(name)) ? NULL : QUALIFIED_TEXT;
}

const char *check_label_value(const char *value) {
	size_t len = strlen(value);
	if (len > 63)
		return "must be no more than 63 bytes";
	if (len && !name_part(value, len))
		return "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
	return NULL;
}

const char *check_config_key(const char *value) {
	size_t len = strlen(value);
	if (len > 253)
		return "must be no more than 253 bytes";
	bool good = len > 0;
	for (size_t i = 0; i < len; i++)
		good &= isalnum((unsigned char)value[i]) || strchr("-_.", value[i]);
	if (!good)
		return "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
	if (strcmp(value, ".") == 0)
		return "must not be '.'";
	if (strcmp(value, "..") == 0)
		return "must not be '..'";
	return strncmp(value, "..", 2) == 0 ? "must not start with '..'" : NULL;
}

const char *check_port_name(const char *value) {
	size_t len = strlen(value);
	if (len > 15)
		return "must be no more than 15 characters";
	bool letter = false;
	for (size_t i = 0; i < len; i++) {
		if (!lower_alnum(value[i]) && value[i] != '-')
			return "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)";
		letter |= isalpha((unsigned char)value[i]) != 0;
	}
	if (!letter)
		return "must contain at least one letter (a-z)";
	if (strstr(value, "--"))
		return "must not contain consecutive hyphens";
	return value[0] == '-' || value[len - 1] == '-' ? "must not begin or end with a hyphen" : NULL;
}

const char *check_env_name(const char *value) {
	if (!*value)
		return "environment variable name must not be empty";
	for (const char *p = value; *p; p++)
		if (*p < 0x20 || *p > 0x7e || *p == '=')
			return "a valid environment variable name must consist only of printable ASCII characters other than '='";
	return NULL;
}

bool is_ip_address(const char *value) {
	struct in6_addr address;
	return inet_pton(AF_INET, value, &address) == 1 || inet_pton(AF_INET6, value, &address) == 1;
}

bool is_cidr(const char *value) {
	const char *slash = strchr(value, '/');
	if (!slash)
		return false;
	char address[64];
	if (snprintf(address, sizeof(address), "%.*s", (int)(slash - value), value) >= (int)sizeof(address) || !is_ip_address(address))
		return false;
	int64_t bits;
	return str_to_int64(slash + 1, 0, strchr(address, ':') ? 128 : 32, &bits);
}

void validate_non_negative(int64_t value, const struct path *path, struct error *err) {
	if (value < 0)
		invalid_int(err, path, value, "must be greater than or equal to 0");
}
