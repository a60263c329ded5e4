// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* What decides who comes in and reads foreign bytes: key sets, tokens, discovery documents; and the files that configure it. The first byte says which. */
#include "apiserver/admission/settings.h"
#include "apiserver/webhook/credentials.h"
#include "apiserver/authn/configuration.h"
#include "apiserver/authn/issuer.h"
#include "apiserver/authn/jwt.h"
#include "apiserver/authz/configuration.h"
#include "apiserver/authz/modes.h"
#include "apiserver/webhook/call.h"
#include "common/http/sni.h"
#include "common/token/jwt.h"

static const char set[] = "{\"keys\":[{\"kty\":\"EC\",\"kid\":\"a\",\"crv\":\"P-256\",\"x\":\"gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0\",\"y\":\"SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps\"}]}";
static const char config[] = "{\"apiVersion\":\"apiserver.config.k8s.io/v1\",\"kind\":\"AuthenticationConfiguration\",\"jwt\":[{\"issuer\":{\"url\":\"https://a\",\"audiences\":[\"x\"]},"
	"\"claimMappings\":{\"username\":{\"expression\":\"claims.sub\"},\"groups\":{\"expression\":\"claims.g\"},\"uid\":{\"claim\":\"u\"},\"extra\":[{\"key\":\"a.b/c\",\"valueExpression\":\"claims.e\"}]},"
	"\"claimValidationRules\":[{\"expression\":\"claims.exp > 5.0\"}],\"userValidationRules\":[{\"expression\":\"user.username != 'x'\"}]}]}";

static void keys(const char *text, size_t len)
{
	struct jwt_key **keys = NULL;
	size_t count = 0;
	jwt_keys_parse_set(text, len, &keys, &count, NULL);
	for (size_t i = 0; i < count; i++)
		jwt_key_free(keys[i]);
	free(keys);
}

static void token(const char *text)
{
	static struct jwt_key **known;
	static size_t count;
	json_t *claims = NULL;
	if (!known)
		jwt_keys_parse_set(set, sizeof(set) - 1, &known, &count, NULL);
	if (jwt_verify_by(known, count, NULL, 0, true, text, &claims, NULL) == 0)
		json_decref(claims);
	json_decref(jwt_peek(text));
}

static void claims(const char *text, size_t len)
{
	static struct authn_config *known;
	static const struct flag_list none;
	json_t *tree = json_loadb(text, len, 0, NULL);
	struct arena *arena = arena_new();
	struct user *user;
	if (!known)
		authn_config_parse(config, sizeof(config) - 1, &none, &known, NULL);
	if (known && json_is_object(tree))
		claims_user(known, &known->issuers[0], tree, 1, arena, &user, NULL);
	json_decref(tree);
	arena_free(arena);
}

static void files(uint8_t which, const char *text, size_t len)
{
	static const char *const types[] = {"ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook", NULL};
	static const struct flag_list none;
	struct authn_config *authn;
	struct apiserver_v1_authorization_configuration *authz;
	struct admission_settings *settings;
	struct abac *abac;
	if (which == 0 && authn_config_parse(text, len, &none, &authn, NULL) == 0)
		authn_config_unref(authn);
	if (which == 1 && authz_config_parse(text, len, types, &authz, NULL) == 0)
		api_unref(authz);
	if (which == 2 && admission_settings_parse(NULL, text, len, "/nonexistent", &settings, NULL) == 0)
		admission_settings_free(settings);
	if (which == 3 && abac_parse(text, len, &abac, NULL) == 0)
		abac_free(abac);
	struct webhook_credentials *credentials;
	if (which == 3 && webhook_credentials_parse(text, len, "/nonexistent", &credentials, NULL) == 0) {
		(void)webhook_credentials_find(credentials, "a.b.svc", 443);
		webhook_credentials_free(credentials);
	}
}

static void names(const char *text)
{
	struct call_url url;
	struct sni_pair pair;
	if (call_url_parse(text, &url, NULL) == 0)
		call_url_done(&url);
	if (sni_parse(text, &pair, NULL) == 0) {
		if (pair.names)
			sni_matches(pair.names, text, true);
		sni_pair_done(&pair);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || size > 64 << 10)
		return 0;
	size_t len = size - 1;
	autofree char *text = xcalloc(size, 1); /* ended by a NUL; there may be others within */
	memcpy(text, data + 1, len);
	char *keys_url = NULL;
	switch (data[0] % 8) {
	case 0:
		keys(text, len);
		break;
	case 1:
		token(text);
		break;
	case 2:
		claims(text, len);
		break;
	case 3:
		issuer_read_document("https://a", text, len, &keys_url, NULL);
		free(keys_url);
		names(text);
		break;
	default:
		files(data[0] % 4, text, len);
	}
	return 0;
}
