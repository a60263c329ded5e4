/* SPDX-License-Identifier: Apache-2.0 */
/* What is taken of pods and templates but odd, in the order in which Kubernetes tells it. */
#include "apiserver/validation/validation.h"

struct old_name {
	const char *name, *text;
};

static const struct old_name old_node_labels[] = {
	{"beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"},
	{"beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"},
	{"failure-domain.beta.kubernetes.io/region", "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"},
	{"failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"},
	{"beta.kubernetes.io/instance-type", "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"},
	{"app.kubernetes.io/created-by", "deprecated since v1.9"},
	{"scheduler.alpha.kubernetes.io/preferAvoidPods", "deprecated since v1.22; use Taints and Tolerations instead"},
	{"node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"},
};

static const char *old_node_label(const char *name) {
	for (size_t i = 0; i < array_len(old_node_labels); i++)
		if (str_equal(name, old_node_labels[i].name))
			return old_node_labels[i].text;
	return NULL;
}

static void warn_of_ip(const char *ip, const struct path *at, struct error *err) {
	const char *text = str_empty(ip) || !is_ip_address(ip) ? NULL : format_error(format_ip_canonical, ip);
	if (text && strchr(ip, ':'))
		warn(err, at, "IPv6 address \"%s\" should be in RFC 5952 canonical format", ip);
}

#define NAME_TEXT "which can result in surprising behavior; a DNS label is recommended: [%s]"

void warn_of_name(const struct meta_v1_object_meta *meta, const char *use, struct error *err) {
	const char *text = str_empty(meta->name) ? NULL : strchr(meta->name, '.') ? "must not contain dots" : format_error(format_dns_label, meta->name);
	if (text)
		warn(err, &PATH(&PATH(NULL, "metadata"), "name"), "this is used in %s, " NAME_TEXT, use, text);
}

#define NO_POD "a null labelSelector results in matching no pod"

/* ---- containers of all sorts ---- */

struct place_list {
	const struct core_v1_pod_spec *spec;
	uint32_t next;
};
struct place {
	const struct core_v1_container *container;
	const char *list;
	uint32_t index;
};

static struct place_list lists_of(const struct core_v1_pod_spec *spec) {
	return (struct place_list){.spec = spec};
}

static bool next_container(struct place_list *lists, struct place *ret) {
	const struct core_v1_pod_spec *spec = lists->spec;
	uint32_t i = lists->next++;
	if (i < spec->init_containers.len) {
		*ret = (struct place){&spec->init_containers.items[i], "initContainers", i};
		return true;
	}
	i -= spec->init_containers.len;
	if (i < spec->containers.len) {
		*ret = (struct place){&spec->containers.items[i], "containers", i};
		return true;
	}
	i -= spec->containers.len;
	if (i >= spec->ephemeral_containers.len)
		return false;
	/* An ephemeral container is a container by layout (podspec.c asserts it). */
	*ret = (struct place){(const struct core_v1_container *)(const void *)&spec->ephemeral_containers.items[i].ephemeral_container_common, "ephemeralContainers", i};
	return true;
}

struct port_seen {
	const struct core_v1_container_port *port;
	const char *list;
	uint32_t container, index;
};

static const char *overlap(const struct core_v1_container_port *a, const struct core_v1_container_port *b) {
	bool same_ip = str_equal(str_or(a->host_ip, ""), str_or(b->host_ip, ""));
	if (same_ip && a->host_port == b->host_port)
		return "duplicate port definition";
	if (!a->host_port || !b->host_port)
		return "overlapping port definition";
	return a->host_port == b->host_port && str_empty(a->host_ip) != str_empty(b->host_ip) ? "dangerously ambiguous port definition" : NULL;
}

static char *port_place(const struct port_seen *seen, const struct path *at) {
	struct buf text = BUF_INIT(64 << 10);
	const struct path container = PATH_INDEX(at, seen->list, seen->container), here = PATH_INDEX(&container, "ports", seen->index);
	path_write(&here, &text);
	return text.data;
}

/* A name stands for the first port that has it. */
static void warn_of_port_names(const struct port_seen *seen, size_t count, const struct path *at, struct error *err) {
	for (size_t i = 0; i < count; i++) {
		size_t first = 0;
		while (!str_equal(seen[first].port->name, seen[i].port->name))
			first++;
		if (first == i || str_empty(seen[i].port->name))
			continue;
		const struct path container = PATH_INDEX(at, seen[i].list, seen[i].container), here = PATH_INDEX(&container, "ports", seen[i].index);
		autofree char *other = port_place(&seen[first], at);
		warn(err, &here, "duplicate port name \"%s\" with %s, services and probes that select ports by name will use %s", seen[i].port->name, other, other);
	}
}

static void warn_of_ports(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	enum { MAX_PORTS = 256 };
	struct port_seen seen[MAX_PORTS];
	size_t count = 0;
	struct place place;
	for (struct place_list lists = lists_of(spec); next_container(&lists, &place);)
		for (uint32_t k = 0; k < place.container->ports.len && count < MAX_PORTS; k++) {
			const struct core_v1_container_port *port = &place.container->ports.items[k];
			const struct path container = PATH_INDEX(at, place.list, place.index), here = PATH_INDEX(&container, "ports", k);
			if (!str_empty(port->host_ip) && !port->host_port)
				warn(err, &here, "hostIP set without hostPort: {Name:%s HostPort:%d ContainerPort:%d Protocol:%s HostIP:%s}", str_or(port->name, ""), port->host_port, port->container_port, str_or(port->protocol, ""), port->host_ip);
			for (size_t n = 0; n < count; n++) {
				const struct port_seen *other = &seen[n];
				if (other->port->container_port != port->container_port || !str_equal(other->port->protocol, port->protocol))
					continue;
				const char *what = overlap(port, other->port);
				autofree char *there = what ? port_place(other, at) : NULL;
				if (what)
					warn(err, &here, "%s with %s", what, there);
			}
			seen[count++] = (struct port_seen){port, place.list, place.index, k};
		}
	warn_of_port_names(seen, count, at, err);
}

/* ---- labels of nodes, selectors ---- */

void warn_of_node_term(const struct core_v1_node_selector_term *term, bool values, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < term->match_expressions.len; i++) {
		const struct core_v1_node_selector_requirement *r = &term->match_expressions.items[i];
		const char *text = old_node_label(r->key);
		if (text)
			warn(err, &PATH(AT_INDEX("matchExpressions", i), "key"), "%s is %s", r->key, text);
		for (uint32_t n = 0; values && n < r->values.len; n++) {
			struct format_messages messages = {0};
			format_label_value(r->values.items[n], &messages);
			for (unsigned m = 0; m < messages.len; m++)
				warn(err, &PATH_INDEX(AT_INDEX("matchExpressions", i), "values", n), "%s is invalid, %s", r->values.items[n], messages.items[m]);
		}
	}
}

static void warn_of_nodes(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < spec->node_selector.len; i++) {
		const char *text = old_node_label(spec->node_selector.items[i].key);
		if (text)
			warn(err, AT_KEY("nodeSelector", spec->node_selector.items[i].key), "%s", text);
	}
	const struct core_v1_node_affinity *affinity = spec->affinity ? spec->affinity->node_affinity : NULL;
	const struct core_v1_node_selector *needed = affinity ? affinity->required_during_scheduling_ignored_during_execution : NULL;
	struct path node = PATH(AT("affinity"), "nodeAffinity"), required_path = PATH(&node, "requiredDuringSchedulingIgnoredDuringExecution");
	for (uint32_t i = 0; needed && i < needed->node_selector_terms.len; i++)
		warn_of_node_term(&needed->node_selector_terms.items[i], false, &PATH_INDEX(&required_path, "nodeSelectorTerms", i), err);
	for (uint32_t i = 0; affinity && i < affinity->preferred_during_scheduling_ignored_during_execution.len; i++)
		warn_of_node_term(&affinity->preferred_during_scheduling_ignored_during_execution.items[i].preference, true,
				  &PATH(&PATH_INDEX(&node, "preferredDuringSchedulingIgnoredDuringExecution", i), "preference"), err);
	for (uint32_t i = 0; i < spec->topology_spread_constraints.len; i++) {
		const struct core_v1_topology_spread_constraint *spread = &spec->topology_spread_constraints.items[i];
		const char *text = old_node_label(spread->topology_key);
		if (text)
			warn(err, &PATH(AT_INDEX("topologySpreadConstraints", i), "topologyKey"), "%s is %s", spread->topology_key, text);
		if (!spread->label_selector)
			warn(err, &PATH(AT_INDEX("topologySpreadConstraints", i), "labelSelector"), NO_POD);
	}
}

static void warn_of_terms(const struct core_v1_pod_affinity_term_array *terms, const struct core_v1_weighted_pod_affinity_term_array *weighted, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < terms->len; i++)
		if (!terms->items[i].label_selector)
			warn(err, &PATH(AT_INDEX("requiredDuringSchedulingIgnoredDuringExecution", i), "labelSelector"), NO_POD);
	for (uint32_t i = 0; i < weighted->len; i++)
		if (!weighted->items[i].pod_affinity_term.label_selector)
			warn(err, &PATH(&PATH(AT_INDEX("preferredDuringSchedulingIgnoredDuringExecution", i), "podAffinityTerm"), "labelSelector"), NO_POD);
}

static void warn_of_affinity(const struct core_v1_affinity *affinity, const struct path *at, struct error *err) {
	if (affinity && affinity->pod_affinity)
		warn_of_terms(&affinity->pod_affinity->required_during_scheduling_ignored_during_execution, &affinity->pod_affinity->preferred_during_scheduling_ignored_during_execution, AT("podAffinity"), err);
	if (affinity && affinity->pod_anti_affinity)
		warn_of_terms(&affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution, &affinity->pod_anti_affinity->preferred_during_scheduling_ignored_during_execution,
			      AT("podAntiAffinity"), err);
}

/* ---- volumes ---- */

static void warn_of_fraction(const struct api_quantity_map *map, const char *name, const struct path *at, struct error *err) {
	const struct quantity *q = api_quantity_get(map, name);
	char text[64];
	if (!q || q->nano % NSEC_PER_SEC == 0)
		return;
	quantity_format(q, text);
	warn(err, &PATH_KEY(at, NULL, name), "fractional byte value \"%s\" is invalid, must be an integer", text);
}

void warn_of_claim(const struct core_v1_persistent_volume_claim_spec *spec, const struct path *at, struct error *err) {
	warn_of_fraction(&spec->resources.requests, "storage", &PATH(AT("resources"), "requests"), err);
	warn_of_fraction(&spec->resources.limits, "storage", &PATH(AT("resources"), "limits"), err);
}

static void warn_of_old_volumes(const struct core_v1_pod_spec *spec, const struct path *parent, struct error *err) {
	for (uint32_t i = 0; i < spec->volumes.len; i++) {
		const struct core_v1_volume *v = &spec->volumes.items[i];
		const struct { const void *source; const char *name, *text; } old_ones[] = {
			{v->photon_persistent_disk, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"}, {v->git_repo, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
			{v->scale_io, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"}, {v->flocker, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
			{v->storageos, "storageOS", "deprecated in v1.22, non-functional in v1.25+"}, {v->quobyte, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
			{v->glusterfs, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"}, {v->ephemeral, "ephemeral", NULL},
			{v->cephfs, "cephfs", "deprecated in v1.28, non-functional in v1.31+"}, {v->rbd, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
		};
		struct path path = PATH_INDEX(parent, "volumes", i), *at = &path;
		for (size_t n = 0; n < array_len(old_ones); n++)
			if (old_ones[n].source && old_ones[n].text)
				warn(err, AT(old_ones[n].name), "%s", old_ones[n].text);
			else if (old_ones[n].source && v->ephemeral->volume_claim_template)
				warn_of_claim(&v->ephemeral->volume_claim_template->spec, &PATH(&PATH(AT("ephemeral"), "volumeClaimTemplate"), "spec"), err);
	}
}

/* Files that one volume has in one place, or one below the other. */
struct file {
	char *path, *source;
};
struct files {
	const char *volume;
	char *what; /* ConfigMap "name" */
	struct file *items;
	size_t count;
	struct error *err;
};

static void file_text(const struct file *file, struct buf *out) {
	buf_printf(out, *file->source ? "\"%s\" (%s)" : "\"%s\"%s", file->path, file->source);
}

static bool lies_in(const char *path, const char *folder) {
	size_t len = strlen(folder);
	return strncmp(path, folder, len) == 0 && (!path[len] || path[len] == '/');
}

static void see_file(struct files *files, const char *path, const char *source) {
	static const struct path nowhere = {.index = -1};
	size_t len = strlen(str_or(path, ""));
	while (len && path[len - 1] == '/')
		len--;
	struct file file = {xstrndup(str_or(path, ""), len), xstrdup(source)};
	for (size_t i = 0; *file.path && i < files->count; i++) {
		const struct file *other = &files->items[i];
		if (!*other->path || !(lies_in(file.path, other->path) || lies_in(other->path, file.path)))
			continue;
		autobuf struct buf text = BUF_INIT(64u << 10);
		file_text(&file, &text);
		buf_append_str(&text, " with ");
		file_text(other, &text);
		warn(files->err, &nowhere, "volume \"%s\" (%s): overlapping paths: %s", files->volume, files->what, text.data);
	}
	files->items = xreallocarray(files->items, files->count + 1, sizeof(*files->items));
	files->items[files->count++] = file;
}

static void see_keys(struct files *files, const struct core_v1_key_to_path_array *keys, const char *source) {
	for (uint32_t i = 0; i < keys->len; i++)
		see_file(files, keys->items[i].path, source);
}

static void see_downward(struct files *files, const struct core_v1_downward_api_volume_file_array *items, const char *source) {
	for (uint32_t i = 0; i < items->len; i++)
		see_file(files, items->items[i].path, source);
}

static void files_start(struct files *files, char *what) {
	for (size_t i = 0; i < files->count; i++) {
		free(files->items[i].path);
		free(files->items[i].source);
	}
	free(files->items);
	free(files->what);
	files->items = NULL;
	files->count = 0;
	files->what = what;
}

static void see_projection(struct files *files, const struct core_v1_volume_projection *source) {
	static const struct core_v1_volume_projection none;
	static const struct path nowhere = {.index = -1};
	autofree char *map = source->config_map ? xprintf("ConfigMap \"%s\"", str_or(source->config_map->name, "")) : NULL;
	autofree char *secret = source->secret ? xprintf("Secret \"%s\"", str_or(source->secret->name, "")) : NULL;
	if (api_equal(&core_v1_volume_projection_type, source, &none)) {
		warn(files->err, &nowhere, "volume \"%s\" (Projected) has no sources provided", files->volume);
	} else if (map && source->config_map->items.items) {
		see_keys(files, &source->config_map->items, map);
	} else if (secret && source->secret->items.items) {
		see_keys(files, &source->secret->items, secret);
	} else if (source->downward_api && source->downward_api->items.items) {
		see_downward(files, &source->downward_api->items, "DownwardAPI");
	} else if (source->service_account_token) {
		see_file(files, source->service_account_token->path, "ServiceAccountToken");
	} else if (source->cluster_trust_bundle) {
		autofree char *bundle = xprintf("ClusterTrustBundle \"%s\"", str_or(source->cluster_trust_bundle->name ? source->cluster_trust_bundle->name : source->cluster_trust_bundle->signer_name, ""));
		see_file(files, source->cluster_trust_bundle->path, bundle);
	} else if (source->pod_certificate) {
		const struct { const char *path, *source; } paths[] = {{source->pod_certificate->certificate_chain_path, "PodCertificate chain"}, {source->pod_certificate->key_path, "PodCertificate key"},
								       {source->pod_certificate->credential_bundle_path, "PodCertificate credential bundle"}};
		for (size_t i = 0; i < array_len(paths); i++)
			if (!str_empty(paths[i].path))
				see_file(files, paths[i].path, paths[i].source);
	}
}

static void warn_of_files(const struct core_v1_pod_spec *spec, struct error *err) {
	struct files files = {.err = err};
	for (uint32_t i = 0; i < spec->volumes.len; i++) {
		const struct core_v1_volume *v = &spec->volumes.items[i];
		files.volume = str_or(v->name, "");
		if (v->config_map) {
			files_start(&files, xprintf("ConfigMap \"%s\"", str_or(v->config_map->name, "")));
			see_keys(&files, &v->config_map->items, "");
		}
		if (v->secret) {
			files_start(&files, xprintf("Secret \"%s\"", str_or(v->secret->secret_name, "")));
			see_keys(&files, &v->secret->items, "");
		}
		if (v->downward_api) {
			files_start(&files, xstrdup("DownwardAPI"));
			see_downward(&files, &v->downward_api->items, "");
		}
		files_start(&files, xstrdup("Projected"));
		for (uint32_t n = 0; v->projected && n < v->projected->sources.len; n++)
			see_projection(&files, &v->projected->sources.items[n]);
	}
	files_start(&files, NULL);
}

/* ---- the rest of a pod ---- */

static void warn_of_annotations(const struct meta_v1_object_meta *meta, const struct path *at, struct error *err) {
	static const struct old_name old_ones[] = {
		{"scheduler.alpha.kubernetes.io/critical-pod", "non-functional in v1.16+; use the \"priorityClassName\" field instead"},
		{"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
		{"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"},
	};
	for (size_t i = 0; i < array_len(old_ones); i++)
		if (api_map_get(&meta->annotations, old_ones[i].name))
			warn(err, &PATH_KEY(AT("metadata"), "annotations", old_ones[i].name), "%s", old_ones[i].text);
}

static void warn_of_names_told_twice(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map addresses = MAP_INIT(NULL), secrets = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->host_aliases.len; i++)
		if (seen_before(&addresses, spec->host_aliases.items[i].ip))
			warn(err, &PATH(AT_INDEX("hostAliases", i), "ip"), "duplicate ip \"%s\"", str_or(spec->host_aliases.items[i].ip, ""));
	for (uint32_t i = 0; i < spec->image_pull_secrets.len; i++)
		if (seen_before(&secrets, spec->image_pull_secrets.items[i].name))
			warn(err, &PATH(AT_INDEX("imagePullSecrets", i), "name"), "duplicate name \"%s\"", str_or(spec->image_pull_secrets.items[i].name, ""));
	for (uint32_t i = 0; i < spec->image_pull_secrets.len; i++)
		if (str_empty(spec->image_pull_secrets.items[i].name))
			warn(err, &PATH(AT_INDEX("imagePullSecrets", i), "name"), "invalid empty name \"\"");
}

/* Of a variable's earlier value nothing is left where the later one does not refer to it. */
static void warn_of_env(const struct core_v1_container *container, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < container->env.len; i++) {
		const struct core_v1_env_var *env = &container->env.items[i];
		autofree char *ref = xprintf("$(%s)", str_or(env->name, ""));
		if (seen_before(&seen, env->name) && (env->value_from || str_equal(env->value, ref) || !strstr(str_or(env->value, ""), ref)))
			warn(err, AT_INDEX("env", i), "hides previous definition of \"%s\", which may be dropped when using apply", str_or(env->name, ""));
	}
}

/* The profile that an annotation stands for, by its type; NULL where it is none. */
static bool says_profile(const char *annotation, const struct core_v1_app_armor_profile *profile) {
	if (!profile)
		return false;
	if (str_starts_with(annotation, "localhost/"))
		return annotation[strlen("localhost/")] && str_equal(profile->type, "Localhost") && str_equal(profile->localhost_profile, annotation + strlen("localhost/"));
	if (profile->localhost_profile)
		return false;
	return (strcmp(annotation, "unconfined") == 0 && str_equal(profile->type, "Unconfined")) || (strcmp(annotation, "runtime/default") == 0 && str_equal(profile->type, "RuntimeDefault"));
}

static void warn_of_container(const struct place *place, const struct core_v1_pod_spec *spec, const struct meta_v1_object_meta *meta, bool template, const struct path *root, struct error *err) {
	const struct core_v1_container *container = place->container;
	const struct core_v1_security_context *sc = container->security_context;
	struct path spec_path = PATH(root, "spec"), path = PATH_INDEX(&spec_path, place->list, place->index), *at = &path, resources = PATH(at, "resources"), metadata = PATH(root, "metadata");
	autofree char *seccomp = xprintf("container.seccomp.security.alpha.kubernetes.io/%s", str_or(container->name, "")), *apparmor = xprintf("container.apparmor.security.beta.kubernetes.io/%s", str_or(container->name, ""));
	if (!(sc && sc->seccomp_profile) && api_map_get(&meta->annotations, seccomp))
		warn(err, &PATH_KEY(&metadata, "annotations", seccomp), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
	/* Of a pod it was told when the field followed the annotation. */
	const char *annotation = template && !(sc && sc->app_armor_profile) ? api_map_get(&meta->annotations, apparmor) : NULL;
	if (annotation && !says_profile(annotation, spec->security_context ? spec->security_context->app_armor_profile : NULL))
		warn(err, &PATH_KEY(&metadata, "annotations", apparmor), "deprecated since v1.30; use the \"appArmorProfile\" field instead");
	static const char *const names[] = {"memory", "ephemeral-storage"};
	for (size_t i = 0; i < array_len(names); i++) {
		warn_of_fraction(&container->resources.limits, names[i], &PATH(&resources, "limits"), err);
		warn_of_fraction(&container->resources.requests, names[i], &PATH(&resources, "requests"), err);
	}
	warn_of_env(container, at, err);
}

static void warn_of_pod(const struct core_v1_pod_spec *spec, const struct meta_v1_object_meta *meta, bool template, const struct path *root, struct error *err) {
	struct path path = PATH(root, "spec"), *at = &path;
	warn_of_nodes(spec, at, err);
	warn_of_annotations(meta, root, err);
	warn_of_old_volumes(spec, at, err);
	warn_of_files(spec, err);
	warn_of_names_told_twice(spec, at, err);
	warn_of_fraction(&spec->overhead, "memory", AT("overhead"), err);
	warn_of_fraction(&spec->overhead, "ephemeral-storage", AT("overhead"), err);
	const char *seccomp = "seccomp.security.alpha.kubernetes.io/pod";
	if (!(spec->security_context && spec->security_context->seccomp_profile) && api_map_get(&meta->annotations, seccomp))
		warn(err, &PATH_KEY(&PATH(root, "metadata"), "annotations", seccomp), "non-functional in v1.27+; use the \"seccompProfile\" field instead");
	struct place place;
	for (struct place_list lists = lists_of(spec); next_container(&lists, &place);)
		warn_of_container(&place, spec, meta, template, root, err);
	warn_of_ports(spec, at, err);
	if (spec->termination_grace_period_seconds && *spec->termination_grace_period_seconds < 0)
		warn(err, AT("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1");
	warn_of_affinity(spec->affinity, AT("affinity"), err);
	for (uint32_t i = 0; spec->dns_config && i < spec->dns_config->nameservers.len; i++)
		warn_of_ip(spec->dns_config->nameservers.items[i], &PATH_INDEX(AT("dnsConfig"), "nameservers", i), err);
	for (uint32_t i = 0; i < spec->host_aliases.len; i++)
		warn_of_ip(spec->host_aliases.items[i].ip, &PATH(AT_INDEX("hostAliases", i), "ip"), err);
}

CHECK(core_v1_pod, pod) {
	/* Few people change pods themselves: nobody is warned then. */
	if (old)
		return;
	warn_of_name(&pod->metadata, "the Pod's hostname", err);
	warn_of_pod(&pod->spec, &pod->metadata, false, at, err);
}

CHECK(core_v1_pod_template_spec, template) {
	warn_of_pod(&template->spec, &template->metadata, true, at, err);
}

const struct checker warnings_pod[] = {ROW(core_v1_pod), ROW(core_v1_pod_template_spec), {0}};
