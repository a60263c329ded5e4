/* SPDX-License-Identifier: Apache-2.0 */
/* From flags and kubeconfig to a client. */
#include "cli/cli.h"

#include "common/base/clock.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#define MAX_PEM (1 << 20)

static void replace(char **field, const char *value)
{
	if (str_empty(value))
		return;
	free(*field);
	*field = xstrdup(value);
}

static int replace_from_file(char **field, const char *path, struct error *err)
{
	char *text;
	if (str_empty(path))
		return 0;
	int rc = file_read(AT_FDCWD, path, MAX_PEM, &text, NULL, err);
	if (rc)
		return rc;
	free(*field);
	*field = text;
	return 0;
}

static void set_server(struct client_config *config, const char *server)
{
	for (size_t i = 0; i < config->servers.len; i++)
		free(config->servers.items[i]);
	free(config->servers.items);
	config->servers.items = xcalloc(1, sizeof(char *));
	config->servers.items[0] = strstr(server, "://") ? xstrdup(server) : xprintf("http://%s", server);
	config->servers.len = 1;
}

static int set_timeout(struct client_config *config, const char *text, struct error *err)
{
	int64_t ns;
	if (str_empty(text) || str_equal(text, "0"))
		return 0;
	if (str_to_int64(text, 1, INT_MAX / 1000, &ns))
		config->timeout_ms = (int)ns * 1000;
	else if (duration_parse(text, strlen(text), &ns) == 0 && ns > 0 && ns / NSEC_PER_MSEC < INT_MAX)
		config->timeout_ms = (int)max_of(ns / NSEC_PER_MSEC, (int64_t)1);
	else
		return cli_usage_error(err, "Invalid timeout value. Timeout must be a single integer in seconds, or an integer followed by a corresponding time unit (e.g. 1s | 2m | 3h)");
	return 0;
}

/* What flags say of a part takes the place of what the kubeconfig said of it. */
static int apply_impersonation(struct client_config *config, const struct cli_globals *globals, struct error *err)
{
	int rc = str_empty(globals->as) ? 0 : client_config_impersonate(config, "User", globals->as, err);
	if (!rc && !str_empty(globals->as_uid))
		rc = client_config_impersonate(config, "Uid", globals->as_uid, err);
	if (globals->as_group.len)
		client_config_impersonate_no(config, "Group");
	for (size_t i = 0; !rc && i < globals->as_group.len; i++)
		rc = client_config_impersonate(config, "Group", globals->as_group.items[i], err);
	if (globals->as_user_extra.len)
		client_config_impersonate_no(config, "Extra-");
	for (size_t i = 0; !rc && i < globals->as_user_extra.len; i++) {
		const char *text = globals->as_user_extra.items[i], *equals = strchr(text, '=');
		if (!equals || equals == text)
			return cli_usage_error(err, "--as-user-extra takes key=value, not \"%s\"", text);
		autofree char *part = xprintf("Extra-%.*s", (int)(equals - text), text);
		rc = client_config_impersonate(config, part, equals + 1, err);
	}
	return rc;
}

static int apply_flags(struct client_config *config, const struct cli_globals *globals, struct error *err)
{
	if (!str_empty(globals->server))
		set_server(config, globals->server);
	if (!str_empty(globals->token))
		replace(&config->token_file, ""), free(config->token_file), config->token_file = NULL;
	replace(&config->token, globals->token);
	replace(&config->default_namespace, globals->ns);
	replace(&config->tls_server_name, globals->tls_server_name);
	config->insecure_skip_verify |= globals->insecure;
	int rc = apply_impersonation(config, globals, err);
	if (!rc)
		rc = replace_from_file(&config->ca_pem, globals->certificate_authority, err);
	if (!rc)
		rc = replace_from_file(&config->cert_pem, globals->client_certificate, err);
	if (!rc)
		rc = replace_from_file(&config->key_pem, globals->client_key, err);
	return rc ? rc : set_timeout(config, globals->request_timeout, err);
}

static void print_warning(const char *text, void *arg)
{
	fprintf(stderr, "Warning: %s\n", text);
}

static int load(struct cli *cli, struct error *err)
{
	if (cli->config_loaded)
		return 0;
	const struct cli_globals *globals = cli->globals;
	struct client_config config = {0};
	struct client_config_choice choice = {.context = globals->context, .cluster = globals->cluster, .user = globals->user};
	int rc = client_config_load_choice(globals->kubeconfig, &choice, &config, err);
	/* A server named by flag needs no kubeconfig. */
	if (rc && !str_empty(globals->server) && str_empty(globals->kubeconfig)) {
		error_done(err);
		config = (struct client_config){0};
		rc = 0;
	}
	if (!rc)
		rc = apply_flags(&config, globals, err);
	if (rc) {
		client_config_done(&config);
		return rc;
	}
	config.on_warning = print_warning;
	if (!config.user_agent)
		config.user_agent = xstrdup("coracle/" CORACLE_VERSION);
	cli->config = config;
	cli->config_loaded = true;
	return 0;
}

int cli_client(struct cli *cli, struct client **ret, struct error *err)
{
	int rc = 0;
	if (!cli->client) {
		rc = load(cli, err);
		if (!rc)
			rc = client_new(&cli->config, &cli->client, err);
	}
	if (!rc)
		*ret = cli->client;
	return rc;
}

int cli_namespace(struct cli *cli, const char **ret, struct error *err)
{
	int rc = load(cli, err);
	if (!rc)
		*ret = str_or(cli->config.default_namespace, "default");
	return rc;
}
