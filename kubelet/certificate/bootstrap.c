/* SPDX-License-Identifier: Apache-2.0 */
/* The first certificate of a node, asked for with a bootstrap token; and the kubeconfig that names it. */
#include "kubelet/certificate/internal.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/client/client.h"
#include "kubelet/certificate/request.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <unistd.h>

#define WAIT_SECONDS 3600
#define KEY_FILE "kubelet-client.key.tmp" /* lives until its certificate has come: asked again after a restart, the same request is waited for */

bool bootstrap_is_needed(const struct kubelet_options *options) {
	autoerror struct error err = {0};
	struct client_config config = {0};
	struct pair pair = {0};
	if (str_empty(options->bootstrap_kubeconfig) || str_empty(options->kubeconfig))
		return false;
	bool valid = file_exists(options->kubeconfig);
	if (valid && (client_config_load(options->kubeconfig, NULL, &config, &err) < 0 || !config.cert_pem || !config.key_pem || pair_make(config.cert_pem, config.key_pem, &pair, &err) < 0)) {
		log_warning("kubeconfig holds no certificate of use: asking for one", LOG_STR("file", options->kubeconfig), LOG_ERR(&err));
		valid = false;
	} else if (valid && !pair_is_valid(&pair, clock_wall().sec)) {
		log_warning("certificate of the kubeconfig has expired: asking for another", LOG_STR("file", options->kubeconfig));
		valid = false;
	}
	client_config_done(&config);
	pair_done(&pair);
	return !valid;
}

static int write_kubeconfig(const struct kubelet_options *options, const struct client_config *config, const char *pem_path, struct error *err) {
	autobuf struct buf server = BUF_INIT(64u << 10), ca = BUF_INIT(PAIR_MAX_BYTES * 2);
	for (size_t i = 0; i < config->servers.len; i++)
		buf_printf(&server, "%s%s", i ? "," : "", config->servers.items[i]);
	json_t *cluster = json_pack("{s:s}", "server", server.data);
	if (config->ca_pem) {
		buf_append_base64(&ca, config->ca_pem, strlen(config->ca_pem));
		json_object_set_new(cluster, "certificate-authority-data", json_string(ca.data));
	}
	if (config->tls_server_name)
		json_object_set_new(cluster, "tls-server-name", json_string(config->tls_server_name));
	if (config->insecure_skip_verify)
		json_object_set_new(cluster, "insecure-skip-tls-verify", json_true());
	json_t *root = json_pack("{s:s,s:s,s:s,s:[{s:s,s:o}],s:[{s:s,s:{s:s,s:s,s:s}}],s:[{s:s,s:{s:s,s:s}}]}", "apiVersion", "v1", "kind", "Config", "current-context", "default-context",
		"clusters", "name", "default-cluster", "cluster", cluster,
		"contexts", "name", "default-context", "context", "cluster", "default-cluster", "namespace", "default", "user", "default-auth",
		"users", "name", "default-auth", "user", "client-certificate", pem_path, "client-key", pem_path);
	autofree char *text = json_dumps(root, JSON_INDENT(2)), *copy = xstrdup(options->kubeconfig);
	json_decref(root);
	int r = file_mkdir_all(dirname(copy), 0755, err);
	return r < 0 ? r : file_write_durable(AT_FDCWD, options->kubeconfig, text, strlen(text), 0600, err);
}

/* The key that waits for its certificate, or a new one. */
static int load_key(const char *dir, const char *path, char **ret, struct error *err) {
	autofree char *key = NULL, *request = NULL;
	size_t len;
	if (file_read(AT_FDCWD, path, PAIR_MAX_BYTES, &key, &len, NULL) == 0 && pair_make_request(key, "check", NULL, &request, NULL) == 0) {
		*ret = key;
		key = NULL;
		return 0;
	}
	char *fresh;
	int r = file_mkdir_all(dir, 0755, err);
	if (r == 0)
		r = pair_make_key(&fresh, err);
	if (r < 0)
		return r;
	r = file_write_durable(AT_FDCWD, path, fresh, strlen(fresh), 0600, err);
	if (r < 0) {
		explicit_bzero(fresh, strlen(fresh));
		free(fresh);
		return r;
	}
	*ret = fresh;
	return 0;
}

/* The name follows from the key and the node: whoever asks for the same again finds what was asked for. */
static char *request_name(const char *key, const char *node) {
	char hash[65];
	autofree char *text = xprintf("%s|%s", key, node);
	sha256_hex(text, strlen(text), hash);
	explicit_bzero(text, strlen(text));
	return xprintf("node-csr-%.43s", hash);
}

static int ask(struct certificates *c, const struct client_config *config, const char *key, struct pair *ret, struct error *err) {
	struct client *client = NULL;
	autofree char *name = request_name(key, c->kubelet->node_name), *request = NULL, *cert = NULL;
	int r = pair_make_request(key, c->kubelet->node_name, NULL, &request, err);
	if (r == 0)
		r = client_new(config, &client, err);
	if (r == 0)
		r = certificate_request(client, &(struct certificate_request){.signer = SIGNER_KUBELET_CLIENT, .name = name, .request = request, .wait_seconds = WAIT_SECONDS, .stop_fd = c->stop_fd}, &cert, err);
	client_free(client);
	return r < 0 ? r : pair_make(cert, key, ret, err);
}

static int bootstrap_once(struct certificates *c, struct error *err) {
	const struct kubelet_options *o = &c->kubelet->options;
	struct client_config config = {0};
	struct pair pair = {0};
	autofree char *key_path = path_join(o->cert_dir, KEY_FILE, NULL), *pem_path = pair_store_path(o->cert_dir, CERTIFICATE_CLIENT_PREFIX), *key = NULL;
	int r = client_config_load(o->bootstrap_kubeconfig, NULL, &config, err);
	if (r < 0)
		return error_context(err, "bootstrap kubeconfig");
	r = load_key(o->cert_dir, key_path, &key, err);
	if (r == 0) {
		r = ask(c, &config, key, &pair, err);
		if (r == 0 && !pair_is_valid(&pair, clock_wall().sec))
			r = error_set(err, EINVAL, "the certificate that was signed has expired already");
		/* What was signed is of no use: the next try is to be another request. */
		if (r == -EINVAL && !err->http_code)
			unlink(key_path);
	}
	if (r == 0)
		r = pair_store_write(o->cert_dir, CERTIFICATE_CLIENT_PREFIX, &pair, err);
	if (r == 0)
		r = write_kubeconfig(o, &config, pem_path, err);
	if (r == 0)
		unlink(key_path);
	if (key)
		explicit_bzero(key, strlen(key));
	pair_done(&pair);
	client_config_done(&config);
	return r;
}

void *bootstrap_run(void *arg) {
	struct certificates *c = arg;
	log_info("asking for a certificate of this node", LOG_STR("node", c->kubelet->node_name), LOG_STR("bootstrapKubeconfig", c->kubelet->options.bootstrap_kubeconfig));
	for (int pause = CERTIFICATE_FIRST_RETRY_MS;;) {
		autoerror struct error err = {0};
		int r = bootstrap_once(c, &err);
		if (r == 0) {
			log_info("certificate of this node has come", LOG_STR("kubeconfig", c->kubelet->options.kubeconfig));
			kubelet_turn(c->kubelet, TURN_AGAIN);
			return NULL;
		}
		if (r == -ECANCELED)
			return NULL;
		certificate_metrics_failed(USE_CLIENT);
		log_error("no certificate of this node yet", LOG_ERR(&err));
		if (certificates_pause(c, &pause))
			return NULL;
	}
}
