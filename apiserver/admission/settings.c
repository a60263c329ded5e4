/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/admission/settings.h"
#include "apiserver/admission/admission.h"
#include "apiserver/configfile.h"
#include "apiserver/webhook/credentials.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>

static const char *const versions[] = {"apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1", NULL};

static int read_pod_security(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	static const char *const own[] = {"pod-security.admission.config.k8s.io/v1", "pod-security.admission.config.k8s.io/v1beta1", "pod-security.admission.config.k8s.io/v1alpha1", NULL};
	autoerror struct error found = {0};
	void *object;
	int rc = configfile_parse(text, len, &apiserver_v1_pod_security_configuration_type, own, &object, err);
	if (rc < 0)
		return rc;
	api_unref(settings->pod_security);
	settings->pod_security = object;
	podsecurity_check_settings(object, &found);
	return configfile_verdict(&found, "PodSecurityConfiguration", err);
}

static int read_webhook(const char *text, size_t len, struct webhook_credentials **ret, struct error *err) {
	static const char *const own[] = {"apiserver.config.k8s.io/v1", NULL};
	void *object;
	int rc = configfile_parse(text, len, &apiserver_v1_webhook_admission_configuration_type, own, &object, err);
	if (rc < 0)
		return rc;
	const struct apiserver_v1_webhook_admission_configuration *config = object;
	const char *path = config->kube_config_file;
	if (!str_empty(config->static_manifests_dir))
		rc = error_set(err, EINVAL, "staticManifestsDir: Forbidden: staticManifestsDir requires the ManifestBasedAdmissionControlConfig feature gate to be enabled");
	else if (!str_empty(path) && *path != '/')
		rc = error_set(err, EINVAL, "kubeConfigFile: Invalid value: \"%s\": must be an absolute file path", path);
	else if (!str_empty(path))
		rc = webhook_credentials_read(path, ret, err);
	api_unref(object);
	return rc;
}

static int read_mutating(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	return read_webhook(text, len, &settings->mutating, err);
}

static int read_validating(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	return read_webhook(text, len, &settings->validating, err);
}

/* Plugins that take something. */
static const struct {
	const char *name;
	int (*read)(struct admission_settings *settings, const char *text, size_t len, struct error *err);
} readers[] = {
	{"EventRateLimit", eventrate_read},
	{"MutatingAdmissionWebhook", read_mutating},
	{"PodNodeSelector", nodeselector_read},
	{"PodSecurity", read_pod_security},
	{"PodTolerationRestriction", tolerations_read},
	{"ResourceQuota", quota_read},
	{"ValidatingAdmissionWebhook", read_validating},
};

static int read_plugin(const struct apiserver_options *options, struct admission_settings *settings, const struct apiserver_v1_admission_plugin_configuration *plugin, const char *folder, struct error *err) {
	autofree char *text = NULL, *path = NULL;
	size_t i = 0, len = 0;
	while (i < array_len(readers) && !str_equal(readers[i].name, plugin->name))
		i++;
	if (i == array_len(readers)) {
		log_warning("an admission plugin takes no configuration here, or there is none of that name", LOG_STR("plugin", str_or(plugin->name, "")));
		return 0;
	}
	/* As Kubernetes: nobody asks for what is said to others. */
	if (options && !admission_is_enabled(options, plugin->name))
		return 0;
	if (plugin->configuration.json)
		return readers[i].read(settings, plugin->configuration.json, plugin->configuration.len, err);
	if (str_empty(plugin->path))
		return 0;
	path = *plugin->path == '/' ? xstrdup(plugin->path) : path_join(folder, plugin->path, NULL);
	int rc = file_read(AT_FDCWD, path, CONFIGFILE_MAX, &text, &len, err);
	return rc < 0 ? rc : readers[i].read(settings, text, len, err);
}

static struct admission_settings *settings_new(void) {
	struct admission_settings *settings = xnew(struct admission_settings);
	settings->node_selectors = MAP_INIT(free);
	return settings;
}

int admission_settings_parse(const struct apiserver_options *options, const char *text, size_t len, const char *folder, struct admission_settings **ret, struct error *err) {
	void *object;
	int rc = configfile_parse(text, len, &apiserver_v1_admission_configuration_type, versions, &object, err);
	if (rc < 0)
		return rc;
	struct apiserver_v1_admission_configuration *config = object;
	struct admission_settings *settings = settings_new();
	for (uint32_t i = 0; rc == 0 && i < config->plugins.len; i++) {
		for (uint32_t n = 0; rc == 0 && n < i; n++)
			if (str_equal(config->plugins.items[n].name, config->plugins.items[i].name))
				rc = error_set(err, EINVAL, "plugins[%u].name: Duplicate value: \"%s\"", i, config->plugins.items[i].name);
		if (rc == 0)
			rc = read_plugin(options, settings, &config->plugins.items[i], folder, err);
	}
	api_unref(config);
	if (rc < 0)
		admission_settings_free(settings);
	else
		*ret = settings;
	return rc;
}

/* Frees what it refuses. */
static int check_needed_settings(const struct apiserver_options *options, struct admission_settings **settings, struct error *err) {
	if ((*settings)->event_limits || !admission_is_enabled(options, "EventRateLimit"))
		return 0;
	admission_settings_free(*settings);
	*settings = NULL;
	return error_set(err, EINVAL, "couldn't init admission plugin \"EventRateLimit\": limits: Invalid value: null: must not be empty");
}

int admission_settings_new(const struct apiserver_options *options, struct admission_settings **ret, struct error *err) {
	const char *path = options->admission_control_config_file;
	autofree char *text = NULL, *copy = NULL;
	size_t len;
	if (str_empty(path)) {
		*ret = settings_new();
		return check_needed_settings(options, ret, err);
	}
	copy = xstrdup(path);
	int rc = file_read(AT_FDCWD, path, CONFIGFILE_MAX, &text, &len, err);
	if (rc == 0)
		rc = admission_settings_parse(options, text, len, dirname(copy), ret, err);
	if (rc < 0)
		return error_context(err, "admission configuration %s", path);
	return check_needed_settings(options, ret, err);
}

void admission_settings_free(struct admission_settings *settings) {
	if (!settings)
		return;
	api_unref(settings->pod_security);
	api_unref(settings->tolerations);
	map_done(&settings->node_selectors);
	eventrate_free(settings->event_limits);
	webhook_credentials_free(settings->mutating);
	webhook_credentials_free(settings->validating);
	api_unref(settings->quota);
	free(settings);
}
