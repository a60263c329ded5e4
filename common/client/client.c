/* SPDX-License-Identifier: Apache-2.0 */
/* The client itself: its copy of the config, whom it talks to, who it says it is. */
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/client/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_CHECK_NS NSEC_PER_SEC

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT))
		abort();
}

static char *copy(const char *s)
{
	return s ? xstrdup(s) : NULL;
}

static void config_copy(struct client_config *to, const struct client_config *from)
{
	*to = *from;
	to->servers.items = xcalloc(from->servers.len, sizeof(char *));
	for (size_t i = 0; i < from->servers.len; i++)
		to->servers.items[i] = xstrdup(from->servers.items[i]);
	to->ca_pem = copy(from->ca_pem);
	to->cert_pem = copy(from->cert_pem);
	to->key_pem = copy(from->key_pem);
	to->token = copy(from->token);
	to->token_file = copy(from->token_file);
	to->username = copy(from->username);
	to->password = copy(from->password);
	to->tls_server_name = copy(from->tls_server_name);
	to->default_namespace = copy(from->default_namespace);
	to->impersonate.items = xcalloc(from->impersonate.len + 1, sizeof(char *));
	for (size_t i = 0; i < from->impersonate.len; i++)
		to->impersonate.items[i] = xstrdup(from->impersonate.items[i]);
	to->user_agent = from->user_agent ? xstrdup(from->user_agent) : client_user_agent(program_invocation_short_name);
}

char *client_user_agent(const char *program)
{
	static const struct {
		const char *program, *role;
	} roles[] = {
		{"coracle-apiserver", "kube-apiserver"}, {"coracle-controller-manager", "kube-controller-manager"}, {"coracle-scheduler", "kube-scheduler"},
		{"coracle-kubelet", "kubelet"}, {"coracle-proxy", "kube-proxy"},
	};
	for (size_t i = 0; i < array_len(roles); i++)
		if (strcmp(roles[i].program, program) == 0)
			program = roles[i].role;
	return xprintf("%s/v1.36.2+coracle-%s", program, CORACLE_VERSION);
}

int client_new(const struct client_config *config, struct client **ret, struct error *err)
{
	pthread_once(&curl_once, init_curl);
	if (!config->servers.len)
		return error_set(err, EINVAL, "no server to talk to");
	if (client_check_impersonation(config, err))
		return -EINVAL;
	struct client *client = xnew(struct client);
	pthread_mutex_init(&client->lock, NULL);
	config_copy(&client->config, config);
	client->tokens = config->burst;
	client->tokens_at = clock_monotonic_ns();
	int rc = pool_get(config, &client->pool, err);
	if (rc) {
		client_free(client);
		return rc;
	}
	*ret = client;
	return 0;
}

void client_free(struct client *client)
{
	if (!client)
		return;
	pool_put(client->pool);
	client_config_done(&client->config);
	free(client->token);
	free(client->fence);
	pthread_mutex_destroy(&client->lock);
	free(client);
}

const char *client_server(struct client *client, size_t attempt)
{
	pthread_mutex_lock(&client->lock);
	const char *server = client->config.servers.items[(client->server + attempt) % client->config.servers.len];
	pthread_mutex_unlock(&client->lock);
	return server;
}

void client_server_answered(struct client *client, const char *server)
{
	pthread_mutex_lock(&client->lock);
	for (size_t i = 0; i < client->config.servers.len; i++)
		if (client->config.servers.items[i] == server)
			client->server = i;
	pthread_mutex_unlock(&client->lock);
}

/* Service account tokens are replaced on disk while a daemon runs. With the lock held. */
static void refresh_token(struct client *client)
{
	int64_t now = clock_monotonic_ns();
	if (client->token && now - client->token_checked < TOKEN_CHECK_NS)
		return;
	client->token_checked = now;
	struct stat st;
	if (stat(client->config.token_file, &st))
		return;
	int64_t mtime = (int64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec;
	char *text;
	if ((client->token && mtime == client->token_mtime) || file_read(AT_FDCWD, client->config.token_file, CLIENT_MAX_TOKEN, &text, NULL, NULL))
		return;
	text[strcspn(text, "\r\n")] = 0;
	free(client->token);
	client->token = text;
	client->token_mtime = mtime;
}

/* Puts a copy in the place of a text of the client; what was there is wiped. */
static void replace_text(struct client *client, char **place, const char *text)
{
	pthread_mutex_lock(&client->lock);
	char *old = *place;
	*place = text ? xstrdup(text) : NULL;
	pthread_mutex_unlock(&client->lock);
	if (old)
		explicit_bzero(old, strlen(old));
	free(old);
}

int client_set_certificate(struct client *client, const char *cert_pem, const char *key_pem, struct error *err)
{
	struct pool *fresh;
	autofree char *cert = xstrdup(cert_pem), *key = xstrdup(key_pem);
	struct client_config config = client->config;
	config.cert_pem = cert;
	config.key_pem = key;
	int rc = pool_get(&config, &fresh, err);
	if (!rc) {
		pthread_mutex_lock(&client->lock);
		struct pool *old = client->pool;
		client->pool = fresh;
		pthread_mutex_unlock(&client->lock);
		pool_put(old);
		replace_text(client, &client->config.cert_pem, cert);
		replace_text(client, &client->config.key_pem, key);
	}
	explicit_bzero(key, strlen(key));
	return rc;
}

struct pool *client_pool(struct client *client)
{
	pthread_mutex_lock(&client->lock);
	struct pool *pool = pool_ref(client->pool);
	pthread_mutex_unlock(&client->lock);
	return pool;
}

void client_set_token(struct client *client, const char *token)
{
	replace_text(client, &client->config.token, token);
}

void client_set_fence(struct client *client, const char *fence)
{
	replace_text(client, &client->fence, fence);
}

char *client_fence(struct client *client)
{
	pthread_mutex_lock(&client->lock);
	char *fence = client->fence ? xstrdup(client->fence) : NULL;
	pthread_mutex_unlock(&client->lock);
	return fence;
}

char *client_authorization(struct client *client)
{
	const struct client_config *config = &client->config;
	if (config->token_file) {
		pthread_mutex_lock(&client->lock);
		refresh_token(client);
		char *header = client->token ? xprintf("Bearer %s", client->token) : NULL;
		pthread_mutex_unlock(&client->lock);
		return header;
	}
	pthread_mutex_lock(&client->lock);
	char *bearer = config->token ? xprintf("Bearer %s", config->token) : NULL;
	pthread_mutex_unlock(&client->lock);
	if (bearer)
		return bearer;
	if (!config->username)
		return NULL;
	autofree char *pair = xprintf("%s:%s", config->username, str_or(config->password, ""));
	autobuf struct buf out = BUF_INIT(64 * 1024);
	buf_append_str(&out, "Basic ");
	buf_append_base64(&out, pair, strlen(pair));
	return buf_take(&out);
}

void client_escape(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_append_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

void client_query(struct buf *path, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	buf_append_char(path, path->data && strchr(path->data, '?') ? '&' : '?');
	buf_append_str(path, name);
	buf_append_char(path, '=');
	client_escape(path, value);
}
