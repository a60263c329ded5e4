/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/sni.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <strings.h>

static char *trimmed(const char *text, size_t len)
{
	while (len && isspace((unsigned char)*text))
		text++, len--;
	while (len && isspace((unsigned char)text[len - 1]))
		len--;
	return xstrndup(text, len);
}

static void lower(char *text)
{
	for (; *text; text++)
		*text = (char)tolower((unsigned char)*text);
}

void sni_names_free(char **names)
{
	for (char **n = names; n && *n; n++)
		free(*n);
	free(names);
}

void sni_pair_done(struct sni_pair *pair)
{
	free(pair->cert_file);
	free(pair->key_file);
	sni_names_free(pair->names);
	*pair = (struct sni_pair){0};
}

int sni_parse(const char *text, struct sni_pair *ret, struct error *err)
{
	const char *colon = strchr(text, ':');
	autofree char *files = trimmed(text, colon ? (size_t)(colon - text) : strlen(text)), *names = colon ? trimmed(colon + 1, strlen(colon + 1)) : NULL;
	const char *comma = strchr(files, ',');
	if (names && !*names)
		return error_set(err, EINVAL, "\"%s\": the list of names is empty", text);
	if (!comma || strchr(comma + 1, ','))
		return error_set(err, EINVAL, "\"%s\": a certificate's and a key's file are expected, with a comma between", text);
	struct sni_pair pair = {.cert_file = xstrndup(files, (size_t)(comma - files)), .key_file = xstrdup(comma + 1)};
	size_t count = 0;
	for (const char *p = names; p && *p;) {
		size_t len = strcspn(p, ",");
		if (count == SNI_MAX_NAMES) {
			sni_pair_done(&pair);
			return error_set(err, EINVAL, "\"%s\": more than %d names", text, SNI_MAX_NAMES);
		}
		pair.names = xreallocarray(pair.names, count + 2, sizeof(*pair.names));
		pair.names[count] = trimmed(p, len);
		lower(pair.names[count++]);
		pair.names[count] = NULL;
		p += len + (p[len] == ',');
	}
	*ret = pair;
	return 0;
}

static bool is_host(const char *name)
{
	struct in6_addr address;
	const char *rest = strncmp(name, "*.", 2) == 0 ? name + 2 : name;
	if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1)
		return false;
	return *rest && strspn(rest, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(rest) && *rest != '.' && *rest != '-';
}

static void add(char **names, size_t *count, const char *name, size_t len)
{
	if (*count == SNI_MAX_NAMES || !len || strnlen(name, len) != len)
		return;
	names[*count] = xstrndup(name, len);
	lower(names[(*count)++]);
}

char **sni_names_of(const gnutls_datum_t *pem)
{
	char **names = xcalloc(SNI_MAX_NAMES + 1, sizeof(*names)), text[1024];
	size_t count = 0, len = sizeof(text) - 1;
	gnutls_x509_crt_t crt;
	if (gnutls_x509_crt_init(&crt) < 0)
		return names;
	int rc = gnutls_x509_crt_import(crt, pem, GNUTLS_X509_FMT_PEM);
	if (rc >= 0 && gnutls_x509_crt_get_dn_by_oid(crt, GNUTLS_OID_X520_COMMON_NAME, 0, 0, text, &len) >= 0) {
		text[len] = '\0';
		if (strlen(text) == len && is_host(text))
			add(names, &count, text, len);
	}
	for (unsigned i = 0; rc >= 0; i++) {
		len = sizeof(text) - 1;
		int type = gnutls_x509_crt_get_subject_alt_name(crt, i, text, &len, NULL);
		if (type == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
			break;
		if (type == GNUTLS_SAN_DNSNAME)
			add(names, &count, text, len);
	}
	gnutls_x509_crt_deinit(crt);
	return names;
}

bool sni_matches(char *const *names, const char *host, bool wild)
{
	const char *dot = strchr(host, '.');
	for (; *names; names++) {
		if (!wild ? strcasecmp(*names, host) == 0 : dot && strncmp(*names, "*.", 2) == 0 && strcasecmp(*names + 1, dot) == 0)
			return true;
	}
	return false;
}
