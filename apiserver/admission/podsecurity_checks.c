/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checks of the Pod Security Standards, a row each. All violations of one kind are told together: who sets what they may not, and what that is.
 */
#include "apiserver/admission/podsecurity.h"
#include "apiserver/resources.h"

#include <limits.h>

/* ---- words ---- */

#define MAX_TEXT (64 << 10)

struct words {
	const char **items;
	size_t len;
};

static void words_done(struct words *w) {
	free(w->items);
}
#define autowords cleanup(words_done)

static void words_add(struct words *w, const char *word) {
	w->items = xreallocarray(w->items, w->len + 1, sizeof(*w->items));
	w->items[w->len++] = str_or(word, "");
}

/* In order, each once. */
static void words_insert(struct words *w, const char *word) {
	size_t at = 0;
	word = str_or(word, "");
	while (at < w->len && strcmp(w->items[at], word) < 0)
		at++;
	if (at < w->len && strcmp(w->items[at], word) == 0)
		return;
	words_add(w, word);
	memmove(w->items + at + 1, w->items + at, (w->len - 1 - at) * sizeof(*w->items));
	w->items[at] = word;
}

static void words_write(const struct words *w, bool quoted, struct buf *out) {
	for (size_t i = 0; i < w->len; i++)
		buf_printf(out, quoted ? "%s\"%s\"" : "%s%s", i ? ", " : "", w->items[i]);
}

/* container "a"; containers "a", "b" */
static void named(const char *one, const char *several, const struct words *w, struct buf *out) {
	buf_printf(out, "%s ", w->len == 1 ? one : several);
	words_write(w, true, out);
}

/* pod and container "a" */
static void setters(bool pod, const struct words *containers, struct buf *out) {
	buf_append_str(out, pod ? "pod" : "");
	buf_append_str(out, pod && containers->len ? " and " : "");
	if (containers->len)
		named("container", "containers", containers, out);
}

static bool listed(const char *const *list, const char *word) {
	for (; *list; list++)
		if (strcmp(*list, str_or(word, "")) == 0)
			return true;
	return false;
}

/* ---- the pod ---- */

struct part {
	const char *name;
	const struct core_v1_security_context *context; /* never NULL */
	const struct core_v1_container_port_array *ports;
	const struct core_v1_probe *probes[3];
	const struct core_v1_lifecycle *lifecycle;
};
struct subject {
	const struct meta_v1_object_meta *meta;
	const struct core_v1_pod_spec *spec;
	const struct core_v1_pod_security_context *context; /* never NULL */
	struct part *parts; /* init, usual and ephemeral containers */
	size_t len;
	int minor;
};

static const struct core_v1_security_context no_context;
static const struct core_v1_pod_security_context no_pod_context;
#define PART(c) ((struct part){(c)->name, (c)->security_context ? (c)->security_context : &no_context, &(c)->ports, {(c)->liveness_probe, (c)->readiness_probe, (c)->startup_probe}, (c)->lifecycle})
#define EACH(part, subject) for (const struct part *part = (subject)->parts; part < (subject)->parts + (subject)->len; part++)

static bool is_true(const bool *flag) {
	return flag && *flag;
}

static bool is_windows(const struct subject *s) {
	return s->spec->os && str_equal(s->spec->os->name, "windows");
}

/* In a user namespace of its own root is nobody outside; said since 1.35. */
static bool is_mapped(const struct subject *s) {
	return s->minor >= 35 && s->spec->host_users && !*s->spec->host_users;
}

/* ---- baseline ---- */

static bool apparmor_annotation(const char *value) {
	return str_empty(value) || strcmp(value, "runtime/default") == 0 || str_starts_with(value, "localhost/");
}

static const char *check_apparmor(const struct subject *s, struct buf *out) {
	static const char *const good[] = {"RuntimeDefault", "Localhost", NULL};
	static const char prefix[] = "container.apparmor.security.beta.kubernetes.io/";
	autowords struct words containers = {0}, values = {0};
	const struct core_v1_app_armor_profile *own = s->context->app_armor_profile;
	bool pod = own && !listed(good, own->type);
	size_t annotations = 0;
	if (pod)
		words_insert(&values, own->type);
	EACH(part, s) {
		const struct core_v1_app_armor_profile *profile = part->context->app_armor_profile;
		if (!profile || listed(good, profile->type))
			continue;
		words_add(&containers, part->name);
		words_insert(&values, profile->type);
	}
	setters(pod, &containers, out);
	autobuf struct buf texts = BUF_INIT(MAX_TEXT);
	for (uint32_t i = 0; i < s->meta->annotations.len; i++) {
		const struct api_string_map_entry *entry = &s->meta->annotations.items[i];
		if (!str_starts_with(entry->key, prefix) || apparmor_annotation(entry->value))
			continue;
		buf_printf(&texts, "%s\"%s=\"%s\"\"", values.len || annotations ? ", " : "", entry->key, entry->value);
		annotations++;
	}
	if (!values.len && !annotations)
		return NULL;
	if (annotations)
		buf_printf(out, "%s%s", pod || containers.len ? " and " : "", annotations == 1 ? "annotation" : "annotations");
	buf_append_str(out, " must not set AppArmor profile type to ");
	words_write(&values, true, out);
	buf_append(out, texts.data, texts.len);
	return values.len + annotations == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles";
}

static const char *check_capabilities(const struct subject *s, struct buf *out) {
	static const char *const good[] = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", NULL};
	autowords struct words containers = {0}, added = {0};
	EACH(part, s) {
		bool bad = false;
		for (uint32_t i = 0; part->context->capabilities && i < part->context->capabilities->add.len; i++)
			if (!listed(good, part->context->capabilities->add.items[i])) {
				words_insert(&added, part->context->capabilities->add.items[i]);
				bad = true;
			}
		if (bad)
			words_add(&containers, part->name);
	}
	if (!containers.len)
		return NULL;
	named("container", "containers", &containers, out);
	buf_append_str(out, " must not include ");
	words_write(&added, true, out);
	buf_append_str(out, " in securityContext.capabilities.add");
	return "non-default capabilities";
}

static const char *check_namespaces(const struct subject *s, struct buf *out) {
	autowords struct words shared = {0};
	if (s->spec->host_network)
		words_add(&shared, "hostNetwork=true");
	if (s->spec->host_pid)
		words_add(&shared, "hostPID=true");
	if (s->spec->host_ipc)
		words_add(&shared, "hostIPC=true");
	words_write(&shared, false, out);
	return shared.len ? "host namespaces" : NULL;
}

static const char *check_host_paths(const struct subject *s, struct buf *out) {
	autowords struct words volumes = {0};
	for (uint32_t i = 0; i < s->spec->volumes.len; i++)
		if (s->spec->volumes.items[i].host_path)
			words_add(&volumes, s->spec->volumes.items[i].name);
	if (volumes.len)
		named("volume", "volumes", &volumes, out);
	return volumes.len ? "hostPath volumes" : NULL;
}

static const char *check_host_ports(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0}, ports = {0};
	autoarena struct arena *arena = arena_new();
	EACH(part, s) {
		bool bad = false;
		for (uint32_t i = 0; i < part->ports->len; i++)
			if (part->ports->items[i].host_port) {
				words_insert(&ports, arena_printf(arena, "%d", part->ports->items[i].host_port));
				bad = true;
			}
		if (bad)
			words_add(&containers, part->name);
	}
	if (!containers.len)
		return NULL;
	named("container", "containers", &containers, out);
	buf_printf(out, " %s %s ", containers.len == 1 ? "uses" : "use", ports.len == 1 ? "hostPort" : "hostPorts");
	words_write(&ports, false, out);
	return "hostPort";
}

static void add_hosts(const struct core_v1_http_get_action *http, const struct core_v1_tcp_socket_action *tcp, struct words *hosts) {
	if (http && !str_empty(http->host))
		words_insert(hosts, http->host);
	if (tcp && !str_empty(tcp->host))
		words_insert(hosts, tcp->host);
}

static const char *check_probe_hosts(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0}, hosts = {0};
	EACH(part, s) {
		autowords struct words own = {0};
		for (size_t i = 0; i < array_len(part->probes); i++)
			if (part->probes[i])
				add_hosts(part->probes[i]->http_get, part->probes[i]->tcp_socket, &own);
		const struct core_v1_lifecycle_handler *handlers[] = {part->lifecycle ? part->lifecycle->post_start : NULL, part->lifecycle ? part->lifecycle->pre_stop : NULL};
		for (size_t i = 0; i < array_len(handlers); i++)
			if (handlers[i])
				add_hosts(handlers[i]->http_get, handlers[i]->tcp_socket, &own);
		if (own.len)
			words_insert(&containers, part->name);
		for (size_t i = 0; i < own.len; i++)
			words_insert(&hosts, own.items[i]);
	}
	if (!containers.len)
		return NULL;
	named("container", "containers", &containers, out);
	buf_printf(out, " %s %s ", containers.len == 1 ? "uses" : "use", hosts.len == 1 ? "probe or lifecycle host" : "probe or lifecycle hosts");
	words_write(&hosts, true, out);
	return "probe or lifecycle host";
}

static const char *check_privileged(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0};
	EACH(part, s)
		if (is_true(part->context->privileged))
			words_add(&containers, part->name);
	if (!containers.len)
		return NULL;
	named("container", "containers", &containers, out);
	buf_append_str(out, " must not set securityContext.privileged=true");
	return "privileged";
}

static const char *judge_proc_mount(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0}, types = {0};
	EACH(part, s)
		if (!str_empty(part->context->proc_mount) && strcmp(part->context->proc_mount, "Default") != 0) {
			words_add(&containers, part->name);
			words_insert(&types, part->context->proc_mount);
		}
	if (!containers.len)
		return NULL;
	named("container", "containers", &containers, out);
	buf_append_str(out, " must not set securityContext.procMount to ");
	words_write(&types, true, out);
	return "procMount";
}

static const char *check_proc_mount(const struct subject *s, struct buf *out) {
	return is_mapped(s) ? NULL : judge_proc_mount(s, out);
}

static bool selinux_good(const struct core_v1_se_linux_options *o, const struct subject *s, struct words *types, bool *user, bool *role) {
	static const char *const good[] = {"", "container_t", "container_init_t", "container_kvm_t", NULL};
	if (!o)
		return true;
	bool type = listed(good, o->type) || (s->minor >= 31 && str_equal(o->type, "container_engine_t"));
	if (!type)
		words_insert(types, o->type);
	*user |= !str_empty(o->user);
	*role |= !str_empty(o->role);
	return type && str_empty(o->user) && str_empty(o->role);
}

static const char *check_selinux(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0}, types = {0};
	bool user = false, role = false, pod = !selinux_good(s->context->se_linux_options, s, &types, &user, &role);
	EACH(part, s)
		if (!selinux_good(part->context->se_linux_options, s, &types, &user, &role))
			words_add(&containers, part->name);
	if (!pod && !containers.len)
		return NULL;
	setters(pod, &containers, out);
	buf_append_str(out, " set forbidden securityContext.seLinuxOptions: ");
	if (types.len)
		named("type", "types", &types, out);
	if (user)
		buf_printf(out, "%suser may not be set", types.len ? "; " : "");
	if (role)
		buf_printf(out, "%srole may not be set", types.len || user ? "; " : "");
	return "seLinuxOptions";
}

static bool seccomp_good(const struct core_v1_seccomp_profile *profile) {
	return str_equal(profile->type, "RuntimeDefault") || str_equal(profile->type, "Localhost");
}

/* Who says what may not be; others get in `silent` where nobody says anything for them. */
static const char *judge_seccomp(const struct subject *s, struct words *silent, struct buf *out) {
	autowords struct words containers = {0}, types = {0};
	const struct core_v1_seccomp_profile *own = s->context->seccomp_profile;
	bool pod = own && !seccomp_good(own);
	if (pod)
		words_insert(&types, own->type);
	EACH(part, s) {
		const struct core_v1_seccomp_profile *profile = part->context->seccomp_profile;
		if (!profile && (!own || pod))
			words_add(silent, part->name);
		if (!profile || seccomp_good(profile))
			continue;
		words_add(&containers, part->name);
		words_insert(&types, profile->type);
	}
	if (!pod && !containers.len)
		return NULL;
	setters(pod, &containers, out);
	buf_append_str(out, " must not set securityContext.seccompProfile.type to ");
	words_write(&types, true, out);
	return "seccompProfile";
}

static const char *check_seccomp(const struct subject *s, struct buf *out) {
	autowords struct words silent = {0};
	return judge_seccomp(s, &silent, out);
}

static const char *check_sysctls(const struct subject *s, struct buf *out) {
	static const struct { const char *name; int since; } good[] = {
		{"kernel.shm_rmid_forced", 0}, {"net.ipv4.ip_local_port_range", 0}, {"net.ipv4.tcp_syncookies", 0}, {"net.ipv4.ping_group_range", 0}, {"net.ipv4.ip_unprivileged_port_start", 0},
		{"net.ipv4.ip_local_reserved_ports", 27}, {"net.ipv4.tcp_keepalive_time", 29}, {"net.ipv4.tcp_fin_timeout", 29}, {"net.ipv4.tcp_keepalive_intvl", 29}, {"net.ipv4.tcp_keepalive_probes", 29},
		{"net.ipv4.tcp_rmem", 32}, {"net.ipv4.tcp_wmem", 32},
	};
	autowords struct words bad = {0};
	for (uint32_t i = 0; i < s->context->sysctls.len; i++) {
		bool safe = false;
		for (size_t n = 0; n < array_len(good); n++)
			safe |= s->minor >= good[n].since && str_equal(good[n].name, s->context->sysctls.items[i].name);
		if (!safe)
			words_add(&bad, s->context->sysctls.items[i].name);
	}
	words_write(&bad, false, out);
	return bad.len ? "forbidden sysctls" : NULL;
}

static const char *check_host_process(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0};
	bool pod = s->context->windows_options && is_true(s->context->windows_options->host_process);
	EACH(part, s)
		if (part->context->windows_options && is_true(part->context->windows_options->host_process))
			words_add(&containers, part->name);
	if (!pod && !containers.len)
		return NULL;
	setters(pod, &containers, out);
	buf_append_str(out, " must not set securityContext.windowsOptions.hostProcess=true");
	return "hostProcess";
}

/* ---- restricted ---- */

static const char *check_escalation(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0};
	EACH(part, s)
		if (!part->context->allow_privilege_escalation || *part->context->allow_privilege_escalation)
			words_add(&containers, part->name);
	if (!containers.len || (s->minor >= 25 && is_windows(s)))
		return NULL;
	named("container", "containers", &containers, out);
	buf_append_str(out, " must set securityContext.allowPrivilegeEscalation=false");
	return "allowPrivilegeEscalation != false";
}

static const char *check_dropped(const struct subject *s, struct buf *out) {
	autowords struct words keeping = {0}, adding = {0}, added = {0};
	if (s->minor >= 25 && is_windows(s))
		return NULL;
	EACH(part, s) {
		const struct core_v1_capabilities *c = part->context->capabilities;
		bool bad = false;
		if (!c || !api_string_list_has(&c->drop, "ALL"))
			words_add(&keeping, part->name);
		for (uint32_t i = 0; c && i < c->add.len; i++)
			if (strcmp(c->add.items[i], "NET_BIND_SERVICE") != 0) {
				words_insert(&added, c->add.items[i]);
				bad = true;
			}
		if (bad)
			words_add(&adding, part->name);
	}
	if (keeping.len) {
		named("container", "containers", &keeping, out);
		buf_append_str(out, " must set securityContext.capabilities.drop=[\"ALL\"]");
	}
	if (adding.len) {
		buf_append_str(out, keeping.len ? "; " : "");
		named("container", "containers", &adding, out);
		buf_append_str(out, " must not include ");
		words_write(&added, true, out);
		buf_append_str(out, " in securityContext.capabilities.add");
	}
	return keeping.len || adding.len ? "unrestricted capabilities" : NULL;
}

static const char *check_volumes(const struct subject *s, struct buf *out) {
	static const char *const good[] = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected", "secret", NULL};
	autowords struct words volumes = {0}, types = {0};
	for (uint32_t i = 0; i < s->spec->volumes.len; i++) {
		const struct core_v1_volume_source *source = &s->spec->volumes.items[i].volume_source;
		for (uint16_t n = 0; n < core_v1_volume_source_type.field_count; n++) {
			const struct api_field *field;
			void *const *at = api_field_address(&core_v1_volume_source_type, source, core_v1_volume_source_type.fields[n].name, &field);
			if (!at || !*at || listed(good, field->name))
				continue;
			words_add(&volumes, s->spec->volumes.items[i].name);
			words_insert(&types, field->name);
		}
	}
	if (!volumes.len)
		return NULL;
	named("volume", "volumes", &volumes, out);
	buf_printf(out, " %s %s ", volumes.len == 1 ? "uses" : "use", types.len == 1 ? "restricted volume type" : "restricted volume types");
	words_write(&types, true, out);
	return "restricted volume types";
}

static const char *check_non_root(const struct subject *s, struct buf *out) {
	autowords struct words saying = {0}, silent = {0};
	const bool *own = s->context->run_as_non_root;
	if (is_mapped(s))
		return NULL;
	EACH(part, s) {
		const bool *flag = part->context->run_as_non_root;
		if (flag && !*flag)
			words_add(&saying, part->name);
		else if (!flag && !is_true(own))
			words_add(&silent, part->name);
	}
	bool pod = own && !*own;
	if (pod || saying.len) {
		setters(pod, &saying, out);
		buf_append_str(out, " must not set securityContext.runAsNonRoot=false");
	} else if (silent.len) {
		buf_append_str(out, "pod or ");
		named("container", "containers", &silent, out);
		buf_append_str(out, " must set securityContext.runAsNonRoot=true");
	}
	return pod || saying.len || silent.len ? "runAsNonRoot != true" : NULL;
}

static const char *check_user(const struct subject *s, struct buf *out) {
	autowords struct words containers = {0};
	bool pod = s->context->run_as_user && *s->context->run_as_user == 0;
	EACH(part, s)
		if (part->context->run_as_user && *part->context->run_as_user == 0)
			words_add(&containers, part->name);
	if (is_mapped(s) || (!pod && !containers.len))
		return NULL;
	setters(pod, &containers, out);
	buf_append_str(out, " must not set runAsUser=0");
	return "runAsUser=0";
}

static const char *check_seccomp_set(const struct subject *s, struct buf *out) {
	autowords struct words silent = {0};
	if (s->minor >= 25 && is_windows(s))
		return NULL;
	const char *reason = judge_seccomp(s, &silent, out);
	if (reason || !silent.len)
		return reason;
	buf_append_str(out, "pod or ");
	named("container", "containers", &silent, out);
	buf_append_str(out, " must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"");
	return "seccompProfile";
}

/* ---- rows, in the order in which they are told ---- */

static const struct check_row {
	enum pod_level level; /* from this one on */
	int since;            /* minor */
	int restricted_until; /* at that level another row does its work from this minor on; 0: always; INT_MAX: never */
	const char *(*run)(const struct subject *s, struct buf *out); /* the reason, and its detail in out; NULL where all is well */
} checks[] = {
	{POD_BASELINE, 0, INT_MAX, check_apparmor}, {POD_BASELINE, 0, 22, check_capabilities}, {POD_BASELINE, 0, INT_MAX, check_namespaces}, {POD_BASELINE, 0, 0, check_host_paths},
	{POD_BASELINE, 0, INT_MAX, check_host_ports}, {POD_BASELINE, 34, INT_MAX, check_probe_hosts}, {POD_BASELINE, 0, INT_MAX, check_privileged}, {POD_BASELINE, 0, 35, check_proc_mount},
	{POD_BASELINE, 0, INT_MAX, check_selinux}, {POD_BASELINE, 19, 19, check_seccomp}, {POD_BASELINE, 0, INT_MAX, check_sysctls}, {POD_BASELINE, 0, INT_MAX, check_host_process},
	{POD_RESTRICTED, 8, INT_MAX, check_escalation}, {POD_RESTRICTED, 22, INT_MAX, check_dropped}, {POD_RESTRICTED, 35, INT_MAX, judge_proc_mount}, {POD_RESTRICTED, 0, INT_MAX, check_volumes},
	{POD_RESTRICTED, 0, INT_MAX, check_non_root}, {POD_RESTRICTED, 23, INT_MAX, check_user}, {POD_RESTRICTED, 19, INT_MAX, check_seccomp_set},
};

void podsecurity_judge(const struct pod_policy *policy, const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec, bool details, struct buf *out) {
	struct subject s = {.meta = meta, .spec = spec, .context = spec->security_context ? spec->security_context : &no_pod_context, .minor = policy->minor};
	autofree struct part *parts = xcalloc(spec->init_containers.len + spec->containers.len + spec->ephemeral_containers.len + 1, sizeof(*parts));
	s.parts = parts;
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		parts[s.len++] = PART(&spec->init_containers.items[i]);
	for (uint32_t i = 0; i < spec->containers.len; i++)
		parts[s.len++] = PART(&spec->containers.items[i]);
	for (uint32_t i = 0; i < spec->ephemeral_containers.len; i++)
		parts[s.len++] = PART(&spec->ephemeral_containers.items[i]);
	bool any = false;
	for (size_t i = 0; i < array_len(checks); i++) {
		const struct check_row *row = &checks[i];
		autobuf struct buf detail = BUF_INIT(MAX_TEXT);
		if (policy->level < row->level || policy->minor < row->since || (policy->level == POD_RESTRICTED && policy->minor >= row->restricted_until && row->restricted_until != INT_MAX))
			continue;
		const char *reason = row->run(&s, &detail);
		if (!reason)
			continue;
		buf_printf(out, "%s%s", any ? ", " : "", reason);
		any = true;
		if (details && detail.len)
			buf_printf(out, " (%.*s)", (int)detail.len, (const char *)detail.data);
	}
}
