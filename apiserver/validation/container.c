/* SPDX-License-Identifier: Apache-2.0 */
/* What containers are made of: environment, ports, probes, handlers, security settings, resources. */
#include "apiserver/validation/validation.h"

/* ---- environment ---- */

static const char *const field_paths[] = {
	"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs", NULL,
};
static const char *const file_paths[] = {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid", NULL};
static const char *const resource_paths[] = {
	"limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory", NULL,
};

static bool among(const char *const *names, const char *name) {
	for (; *names; names++)
		if (str_equal(*names, name))
			return true;
	return false;
}

/* Fields of a pod that a variable or a file may show. */
static void check_field_ref(const struct core_v1_object_field_selector *ref, const char *const *paths, const struct path *at, struct error *err) {
	static const char *const known[] = {"metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host", NULL};
	const char *field = str_or(ref->field_path, "");
	if (str_empty(ref->api_version) || !*field)
		return;
	if (strcmp(ref->api_version, "v1") != 0) {
		invalid(err, AT("fieldPath"), field, "error converting fieldPath: unsupported pod version: %s", ref->api_version);
		return;
	}
	size_t len = strlen(field);
	const char *open = strstr(field, "['");
	if (open && len >= 4 && strcmp(field + len - 2, "']") == 0) {
		bool annotation = strncmp(field, "metadata.annotations[", 21) == 0, label = strncmp(field, "metadata.labels[", 16) == 0;
		autofree char *key = xstrndup(open + 2, len - 2 > (size_t)(open + 2 - field) ? len - 2 - (size_t)(open + 2 - field) : 0);
		if (annotation || label)
			check_format(annotation ? format_annotation_key : format_qualified_name, key, at, err);
		else
			invalid(err, AT("fieldPath"), field, "error converting fieldPath: field label does not support subscript: %s", field);
		return;
	}
	if (!among(paths, strcmp(field, "spec.host") == 0 ? "spec.nodeName" : field)) {
		if (!among(known, field) && !among(field_paths, field))
			invalid(err, AT("fieldPath"), field, "error converting fieldPath: field label not supported: %s", field);
		else
			not_supported(err, AT("fieldPath"), field, paths);
	}
}

static void check_divisor(const char *resource, const struct quantity *divisor, const struct path *at, struct error *err) {
	static const char *const cpu[] = {"1m", "1", NULL};
	static const char *const bytes[] = {"1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei", NULL};
	static const struct { const char *suffix, *name; } kinds[] = {
		{".memory", "memory"}, {".ephemeral-storage", "local ephemeral storage"}, {".hugepages-", "hugepages"},
	};
	char text[64];
	if (quantity_is_zero(divisor))
		return;
	quantity_format(divisor, text);
	if (str_ends_with(resource, ".cpu") && !among(cpu, text))
		invalid(err, AT("divisor"), resource, "only divisor's values 1m and 1 are supported with the cpu resource");
	for (size_t i = 0; i < array_len(kinds); i++)
		if (strstr(resource, kinds[i].suffix) && !among(bytes, text))
			invalid(err, AT("divisor"), resource, "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the %s resource", kinds[i].name);
}

static void check_resource_ref(const struct core_v1_resource_field_selector *ref, bool file, const struct path *at, struct error *err) {
	const char *resource = str_or(ref->resource, "");
	if (file && str_empty(ref->container_name))
		required(err, AT("containerName"), NULL);
	else if (!*resource)
		required(err, AT("resource"), NULL);
	else if (!among(resource_paths, resource) && !str_starts_with(resource, "limits.hugepages-") && !str_starts_with(resource, "requests.hugepages-"))
		not_supported(err, AT("resource"), resource, resource_paths);
	check_divisor(resource, &ref->divisor, at, err);
}

CHECK(core_v1_downward_api_volume_file, file) {
	if (file->field_ref) {
		check_field_ref(file->field_ref, file_paths, AT("fieldRef"), err);
		if (file->resource_field_ref)
			invalid(err, at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
	} else if (file->resource_field_ref) {
		check_resource_ref(file->resource_field_ref, true, AT("resourceFieldRef"), err);
	} else {
		required(err, at, "one of fieldRef and resourceFieldRef is required");
	}
}

CHECK(core_v1_env_var, env) {
	const struct core_v1_env_var_source *from = env->value_from;
	struct path path = PATH(at, "valueFrom");
	if (!from)
		return;
	if (from->field_ref)
		check_field_ref(from->field_ref, field_paths, &PATH(&path, "fieldRef"), err);
	if (from->resource_field_ref)
		check_resource_ref(from->resource_field_ref, false, &PATH(&path, "resourceFieldRef"), err);
	int sources = !!from->field_ref + !!from->resource_field_ref + !!from->config_map_key_ref + !!from->secret_key_ref + !!from->file_key_ref;
	if (!sources)
		invalid(err, &path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
	else if (!str_empty(env->value))
		invalid(err, &path, "", "may not be specified when `value` is not empty");
	else if (sources > 1)
		invalid(err, &path, "", "may not have more than one field specified at a time");
}

CHECK(core_v1_config_map_key_selector, ref) {
	check_format(format_dns_subdomain, ref->name, AT("name"), err);
}

CHECK(core_v1_secret_key_selector, ref) {
	check_format(format_dns_subdomain, ref->name, AT("name"), err);
}

/* Names of environment sources are checked as prefixes: a hyphen may end them. */
static void check_env_source(const char *name, const struct path *at, struct error *err) {
	autofree char *text = xstrdup(str_or(name, ""));
	size_t len = strlen(text);
	if (len > 1 && text[len - 1] == '-')
		text[len - 1] = 'a';
	if (!len || format_error(format_dns_subdomain, text))
		check_needed(format_dns_subdomain, name, at, err);
}

CHECK(core_v1_env_from_source, from) {
	if (from->config_map_ref)
		check_env_source(from->config_map_ref->name, &PATH(AT("configMapRef"), "name"), err);
	if (from->secret_ref)
		check_env_source(from->secret_ref->name, &PATH(AT("secretRef"), "name"), err);
	if (!from->config_map_ref && !from->secret_ref)
		invalid(err, at->parent, "", "must specify one of: `configMapRef` or `secretRef`");
	else if (from->config_map_ref && from->secret_ref)
		invalid(err, at->parent, "", "may not have more than one field specified at a time");
}

/* ---- handlers and probes ---- */

CHECK(core_v1_http_get_action, action) {
	for (uint32_t i = 0; i < action->http_headers.len; i++)
		check_format(format_http_header, str_or(action->http_headers.items[i].name, ""), AT("httpHeaders"), err);
	check_port(&action->port, AT("port"), err);
}

CHECK(core_v1_tcp_socket_action, action) {
	check_port(&action->port, AT("port"), err);
}

CHECK(core_v1_grpc_action, action) {
	check_port_number(action->port, AT("port"), err);
}

CHECK(core_v1_lifecycle_handler, handler) {
	check_union(&core_v1_lifecycle_handler_type, handler, NULL, "handler type", at, err);
	if (handler->exec || handler->http_get || handler->tcp_socket)
		return;
	const struct core_v1_pod_spec *spec = path_above(at, &core_v1_pod_spec_type);
	const int64_t *grace = spec ? spec->termination_grace_period_seconds : NULL;
	if (handler->sleep && grace && (handler->sleep->seconds < 0 || handler->sleep->seconds > *grace))
		invalid_int(err, AT("sleep"), handler->sleep->seconds, "must be non-negative and less than terminationGracePeriodSeconds (%lld)", (long long)*grace);
}

CHECK(core_v1_lifecycle, lifecycle) {
	static const char *const windows[] = {"SIGKILL", "SIGTERM", NULL};
	const struct core_v1_pod_spec *spec = path_above(at, &core_v1_pod_spec_type);
	if (!lifecycle->stop_signal || !spec)
		return;
	if (!spec->os)
		forbidden(err, AT("stopSignal"), "may not be set for containers with empty `spec.os.name`");
	else if (str_equal(spec->os->name, "windows") && !among(windows, lifecycle->stop_signal))
		not_supported(err, AT("stopSignal"), lifecycle->stop_signal, windows);
}

CHECK(core_v1_probe, probe) {
	check_union(&core_v1_probe_handler_type, &probe->probe_handler, NULL, "handler type", at, err);
	const char *kind = str_or(at->name, "");
	if (probe->termination_grace_period_seconds && strcmp(kind, "readinessProbe") == 0)
		invalid_int(err, AT("terminationGracePeriodSeconds"), *probe->termination_grace_period_seconds, "must not be set for readinessProbes");
	else if (probe->termination_grace_period_seconds && *probe->termination_grace_period_seconds <= 0)
		invalid_int(err, AT("terminationGracePeriodSeconds"), *probe->termination_grace_period_seconds, "must be greater than 0");
	if (strcmp(kind, "readinessProbe") != 0 && probe->success_threshold != 1)
		invalid_int(err, AT("successThreshold"), probe->success_threshold, "must be 1");
}

/* ---- security ---- */

CHECK(core_v1_seccomp_profile, profile) {
	bool local = str_equal(profile->type, "Localhost");
	if (str_empty(profile->type))
		required(err, AT("type"), "type is required when seccompProfile is set");
	if (local && !profile->localhost_profile)
		required(err, AT("localhostProfile"), "must be set when seccomp type is Localhost");
	else if (local)
		check_format(format_relative_path, profile->localhost_profile, AT("localhostProfile"), err);
	else if (profile->localhost_profile)
		invalid_struct(err, AT("localhostProfile"), &core_v1_seccomp_profile_type, profile, "can only be set when seccomp type is Localhost");
}

CHECK(core_v1_app_armor_profile, profile) {
	const char *name = profile->localhost_profile;
	if (str_empty(profile->type)) {
		required(err, AT("type"), "type is required when appArmorProfile is set");
	} else if (strcmp(profile->type, "Localhost") != 0) {
		if (name && (strcmp(profile->type, "RuntimeDefault") == 0 || strcmp(profile->type, "Unconfined") == 0))
			invalid(err, AT("localhostProfile"), name, "can only be set when AppArmor type is Localhost");
	} else if (str_empty(name)) {
		required(err, AT("localhostProfile"), "must be set when AppArmor type is Localhost");
	} else {
		if (strchr(" \t\r\n", *name) || strchr(" \t\r\n", name[strlen(name) - 1]))
			invalid(err, AT("localhostProfile"), name, "must not be padded with whitespace");
		if (strlen(name) > 4095)
			too_long(err, AT("localhostProfile"), 4095);
	}
}

/* NetBIOS: up to 15 bytes without the characters that it forbids, not begun with a dot; DNS: labels of letters, digits and hyphens. */
static bool is_windows_domain(const char *domain, size_t len) {
	bool netbios = len && len <= 15 && *domain != '.', dns = len > 0;
	for (size_t i = 0; i < len; i++) {
		netbios &= !strchr("\\/:*?\"<>|", domain[i]);
		bool letter = (domain[i] | 32) >= 'a' && (domain[i] | 32) <= 'z', digit = domain[i] >= '0' && domain[i] <= '9';
		bool edge = i == 0 || i + 1 == len || domain[i - 1] == '.' || domain[i + 1] == '.';
		dns &= letter || digit || (!edge && (domain[i] == '-' || domain[i] == '.'));
	}
	return netbios || dns;
}

static void check_windows_user(const char *name, const struct path *at, struct error *err) {
	const char *slash = strchr(name, '\\'), *user = slash ? slash + 1 : name;
	size_t len = strlen(user);
	bool control = false;
	for (const char *p = name; *p; p++)
		control |= (unsigned char)*p < 0x20 || *p == 0x7f;
	if (!*name)
		invalid(err, at, name, "runAsUserName cannot be an empty string");
	else if (control)
		invalid(err, at, name, "runAsUserName cannot contain control characters");
	else if (slash && strchr(user, '\\'))
		invalid(err, at, name, "runAsUserName cannot contain more than one backslash");
	else {
		if (slash && slash - name >= 256)
			invalid(err, at, name, "runAsUserName's Domain length must be under 256 characters");
		if (slash && !is_windows_domain(name, (size_t)(slash - name)))
			invalid(err, at, name, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
		if (!len)
			invalid(err, at, name, "runAsUserName's User cannot be empty");
		else if (len > 104)
			invalid(err, at, name, "runAsUserName's User length must not be longer than 104 characters");
		if (len && strspn(user, ". ") == len)
			invalid(err, at, name, "runAsUserName's User cannot contain only periods or spaces");
		if (strpbrk(user, "\"/\\:;|=,+*?<>@[]"))
			invalid(err, at, name, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
	}
}

CHECK(core_v1_windows_security_context_options, options) {
	if (options->gmsa_credential_spec_name)
		check_format(format_dns_subdomain, options->gmsa_credential_spec_name, AT("gmsaCredentialSpecName"), err);
	if (options->gmsa_credential_spec && !*options->gmsa_credential_spec)
		invalid(err, AT("gmsaCredentialSpec"), "", "gmsaCredentialSpec cannot be an empty string");
	else if (options->gmsa_credential_spec && strlen(options->gmsa_credential_spec) > (64u << 10))
		invalid(err, AT("gmsaCredentialSpec"), options->gmsa_credential_spec, "gmsaCredentialSpec size must be under 64 KiB");
	if (options->run_as_user_name)
		check_windows_user(options->run_as_user_name, AT("runAsUserName"), err);
}

CHECK(core_v1_security_context, sc) {
	const struct core_v1_pod_spec *spec = path_above(at, &core_v1_pod_spec_type);
	if (sc->proc_mount && strcmp(sc->proc_mount, "Unmasked") == 0 && !(spec && spec->host_users && !*spec->host_users))
		invalid(err, AT("procMount"), sc->proc_mount, "`hostUsers` must be false to use `Unmasked`");
	if (!sc->allow_privilege_escalation || *sc->allow_privilege_escalation)
		return;
	if (sc->privileged && *sc->privileged)
		invalid_struct(err, at, &core_v1_security_context_type, sc, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
	if (sc->capabilities && api_string_list_has(&sc->capabilities->add, "CAP_SYS_ADMIN"))
		invalid_struct(err, at, &core_v1_security_context_type, sc, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
}

/* ---- names and values of resources ---- */

bool resource_is_native(const char *name) {
	return !strchr(name, '/') || strstr(name, "kubernetes.io/");
}

bool resource_is_hugepages(const char *name) {
	return str_starts_with(name, "hugepages-");
}

bool resource_may_overcommit(const char *name) {
	return resource_is_native(name) && !resource_is_hugepages(name);
}

static const char *const counted[] = {
	"pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers", NULL,
};

bool resource_is_extended(const char *name) {
	if (resource_is_native(name) || str_starts_with(name, "requests."))
		return false;
	autofree char *quota = xprintf("requests.%s", name);
	return !format_error(format_qualified_name, quota);
}

bool resource_is_standard(const char *name, bool quota) {
	static const char *const standard[] = {
		"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "requests.storage", "limits.cpu", "limits.memory",
		"limits.ephemeral-storage", NULL,
	};
	return among(standard, name) || among(counted, name) || resource_is_hugepages(name) || str_starts_with(name, "requests.hugepages-") || (!quota && strcmp(name, "storage") == 0);
}

void check_resource_name(const char *name, const struct path *path, struct error *err) {
	if (format_error(format_qualified_name, name))
		check_format(format_qualified_name, name, path, err);
	else if (!strchr(name, '/') && !resource_is_standard(name, false))
		invalid(err, path, name, "must be a standard resource type or fully qualified");
}

void check_container_resource_name(const char *name, const struct path *path, struct error *err) {
	static const char *const standard[] = {"cpu", "memory", "ephemeral-storage", NULL};
	check_resource_name(name, path, err);
	if (!strchr(name, '/')) {
		if (!among(standard, name) && !resource_is_hugepages(name))
			invalid(err, path, name, "must be a standard resource for containers");
	} else if (!resource_is_native(name) && !resource_is_extended(name)) {
		invalid(err, path, name, "doesn't follow extended resource name standard");
	}
}

void check_resource_value(const char *name, const struct quantity *value, const struct path *path, struct error *err) {
	if (value->nano < 0)
		invalid_quantity(err, path, value, "must be greater than or equal to 0");
	if ((among(counted, name) || resource_is_extended(name)) && value->nano % NSEC_PER_SEC != 0)
		invalid_quantity(err, path, value, "must be an integer");
}

/* ---- resources of a container or a whole pod ---- */

static void check_pod_resource_name(const char *name, const struct path *path, struct error *err) {
	static const char *const supported[] = {"cpu", "hugepages-", "memory", NULL};
	size_t before = err->cause_count;
	check_resource_name(name, path, err);
	if (err->cause_count == before && strcmp(name, "cpu") != 0 && strcmp(name, "memory") != 0 && !resource_is_hugepages(name))
		not_supported(err, path, name, supported);
}

static void check_named_value(const char *name, const struct quantity *value, bool pod, const struct path *at, struct error *err) {
	(pod ? check_pod_resource_name : check_container_resource_name)(name, at, err);
	check_resource_value(name, value, at, err);
}

/* Of whole pages; a fraction of a byte counts as one. */
static void check_pages(const char *name, const struct quantity *value, const struct path *at, struct error *err) {
	struct quantity page;
	if (!resource_is_hugepages(name))
		return;
	bool good = quantity_parse(name + strlen("hugepages-"), strlen(name) - strlen("hugepages-"), &page) == 0 && page.nano > 0 && page.nano % NSEC_PER_SEC == 0;
	if (good && quantity_value(value) % quantity_value(&page) == 0)
		return;
	char text[64];
	quantity_format(value, text);
	invalid(err, at, text, "%s is not positive integer multiple of %s", text, name);
}

static bool has_compute(const struct api_quantity_map *list) {
	return api_quantity_get(list, "cpu") || api_quantity_get(list, "memory");
}

static bool has_hugepages(const struct api_quantity_map *list) {
	for (uint32_t i = 0; i < list->len; i++)
		if (resource_is_hugepages(list->items[i].key))
			return true;
	return false;
}

static bool pod_has_claim(const struct core_v1_pod_spec *spec, const char *name) {
	for (uint32_t i = 0; spec && i < spec->resource_claims.len; i++)
		if (str_equal(spec->resource_claims.items[i].name, name))
			return true;
	return false;
}

static void check_claims(const struct core_v1_resource_requirements *r, const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL), whole = MAP_INIT(NULL), part = MAP_INIT(NULL);
	for (uint32_t i = 0; i < r->claims.len; i++) {
		const struct core_v1_resource_claim *claim = &r->claims.items[i];
		if (str_empty(claim->name)) {
			required(err, AT_INDEX("claims", i), NULL);
			continue;
		}
		if (!str_empty(claim->request) && !map_has(&whole, claim->name))
			check_format(format_dns_label, claim->request, &PATH(AT_INDEX("claims", i), "request"), err);
		autofree char *key = str_empty(claim->request) ? xstrdup(claim->name) : xprintf("%s/%s", claim->name, claim->request);
		/* A claim stands whole or by its requests, each once. */
		bool again = map_has(&whole, claim->name) || seen_before(&seen, key) || (str_empty(claim->request) && map_has(&part, claim->name));
		set_add(str_empty(claim->request) ? &whole : &part, claim->name);
		if (again)
			duplicate(err, AT_INDEX("claims", i), key);
		if (!pod_has_claim(spec, claim->name)) {
			autobuf struct buf names = BUF_INIT(64u << 10);
			for (uint32_t n = 0; n < spec->resource_claims.len; n++)
				buf_printf(&names, "%s%s", n ? ", " : "", spec->resource_claims.items[n].name);
			not_found(err, AT_INDEX("claims", i), claim->name, "must be one of the names in pod.spec.resourceClaims%s%s", names.len ? ": " : " which is empty", names.len ? names.data : "");
		}
	}
}

void check_resources(const struct core_v1_resource_requirements *r, const struct core_v1_pod_spec *spec, bool pod, const struct path *at, struct error *err) {
	struct path limits = PATH(at, "limits"), requests = PATH(at, "requests");
	for (uint32_t i = 0; i < r->limits.len; i++) {
		struct path here = PATH_KEY(&limits, NULL, r->limits.items[i].key);
		check_named_value(r->limits.items[i].key, &r->limits.items[i].value, pod, &here, err);
		check_pages(r->limits.items[i].key, &r->limits.items[i].value, &here, err);
	}
	size_t from = err->cause_count;
	for (uint32_t i = 0; i < r->requests.len; i++) {
		const char *name = r->requests.items[i].key;
		struct path here = PATH_KEY(&requests, NULL, name);
		check_named_value(name, &r->requests.items[i].value, pod, &here, err);
		const struct quantity *limit = api_quantity_get(&r->limits, name), *request = &r->requests.items[i].value;
		char text[64] = "";
		if (limit)
			quantity_format(limit, text);
		if (!limit && !resource_may_overcommit(name))
			required(err, &limits, "Limit must be set for non overcommitable resources");
		else if (limit && !resource_may_overcommit(name) && quantity_compare(request, limit) != 0)
			invalid_quantity(err, &requests, request, "must be equal to %s limit of %s", name, text);
		else if (limit && quantity_compare(request, limit) > 0)
			invalid_quantity(err, &requests, request, "must be less than or equal to %s limit of %s", name, text);
		check_pages(name, request, &here, err);
	}
	tell_at(AT("~requests"), from, err);
	if ((has_hugepages(&r->limits) || has_hugepages(&r->requests)) && !has_compute(&r->limits) && !has_compute(&r->requests))
		forbidden(err, at, "HugePages require cpu or memory");
	if (spec)
		check_claims(r, spec, at, err);
}

const struct checker checkers_container[] = {
	ROW(core_v1_downward_api_volume_file), ROW(core_v1_env_var), ROW(core_v1_config_map_key_selector), ROW(core_v1_secret_key_selector), ROW(core_v1_env_from_source),
	ROW(core_v1_http_get_action), ROW(core_v1_tcp_socket_action), ROW(core_v1_grpc_action), ROW(core_v1_lifecycle_handler), ROW(core_v1_lifecycle), ROW(core_v1_probe),
	ROW(core_v1_seccomp_profile), ROW(core_v1_app_armor_profile), ROW(core_v1_windows_security_context_options), ROW(core_v1_security_context), {0},
};
