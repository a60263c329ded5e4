/* SPDX-License-Identifier: Apache-2.0 */
/* PodSecurity: the level that a namespace's label asks for (privileged, baseline, restricted) is enforced on its pods. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"

#include <errno.h>

#define ENFORCE "pod-security.kubernetes.io/enforce"
#define ENFORCE_VERSION "pod-security.kubernetes.io/enforce-version"

struct violations {
	struct buf text;
	unsigned count;
};

static void violate(struct violations *v, const char *fmt, ...) printf_like(2, 3);
static void violate(struct violations *v, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	buf_append_str(&v->text, v->count++ ? ", " : "");
	buf_vprintf(&v->text, fmt, args);
	va_end(args);
}

static bool listed(const char *const *list, const char *word) {
	for (; *list; list++)
		if (strcmp(*list, word) == 0)
			return true;
	return false;
}

/* ---- baseline ---- */

static const char *const baseline_capabilities[] = {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", NULL};
static const char *const safe_sysctls[] = {
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", NULL,
};

static void baseline_container(const struct core_v1_container *c, struct violations *v) {
	const struct core_v1_security_context *s = c->security_context;
	if (s && s->privileged && *s->privileged)
		violate(v, "privileged (container \"%s\" must not set securityContext.privileged=true)", c->name);
	for (uint32_t i = 0; s && s->capabilities && i < s->capabilities->add.len; i++)
		if (!listed(baseline_capabilities, s->capabilities->add.items[i]))
			violate(v, "non-default capabilities (container \"%s\" must not include \"%s\" in securityContext.capabilities.add)", c->name, s->capabilities->add.items[i]);
	if (s && str_equal(s->proc_mount, "Unmasked"))
		violate(v, "procMount (container \"%s\" must not set securityContext.procMount to \"Unmasked\")", c->name);
	if (s && s->seccomp_profile && str_equal(s->seccomp_profile->type, "Unconfined"))
		violate(v, "seccompProfile (container \"%s\" must not set securityContext.seccompProfile.type to \"Unconfined\")", c->name);
	for (uint32_t i = 0; i < c->ports.len; i++)
		if (c->ports.items[i].host_port)
			violate(v, "hostPort (container \"%s\" uses hostPort %d)", c->name, c->ports.items[i].host_port);
}

static void baseline_pod(const struct core_v1_pod_spec *spec, struct violations *v) {
	if (spec->host_network || spec->host_pid || spec->host_ipc)
		violate(v, "host namespaces (%s%s%s)", spec->host_network ? "hostNetwork=true" : "", spec->host_pid ? (spec->host_network ? ", hostPID=true" : "hostPID=true") : "",
			spec->host_ipc ? (spec->host_network || spec->host_pid ? ", hostIPC=true" : "hostIPC=true") : "");
	for (uint32_t i = 0; i < spec->volumes.len; i++)
		if (spec->volumes.items[i].host_path)
			violate(v, "hostPath volumes (volume \"%s\")", spec->volumes.items[i].name);
	const struct core_v1_pod_security_context *s = spec->security_context;
	if (s && s->seccomp_profile && str_equal(s->seccomp_profile->type, "Unconfined"))
		violate(v, "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")");
	for (uint32_t i = 0; s && i < s->sysctls.len; i++)
		if (!listed(safe_sysctls, str_or(s->sysctls.items[i].name, "")))
			violate(v, "forbidden sysctls (%s)", s->sysctls.items[i].name);
}

/* ---- restricted ---- */

static void restricted_container(const struct core_v1_pod_spec *spec, const struct core_v1_container *c, struct violations *v) {
	const struct core_v1_security_context *s = c->security_context;
	const struct core_v1_pod_security_context *p = spec->security_context;
	if (!s || !s->allow_privilege_escalation || *s->allow_privilege_escalation)
		violate(v, "allowPrivilegeEscalation != false (container \"%s\" must set securityContext.allowPrivilegeEscalation=false)", c->name);
	if (!s || !s->capabilities || !api_string_list_has(&s->capabilities->drop, "ALL"))
		violate(v, "unrestricted capabilities (container \"%s\" must set securityContext.capabilities.drop=[\"ALL\"])", c->name);
	for (uint32_t i = 0; s && s->capabilities && i < s->capabilities->add.len; i++)
		if (strcmp(s->capabilities->add.items[i], "NET_BIND_SERVICE") != 0)
			violate(v, "unrestricted capabilities (container \"%s\" must not include \"%s\" in securityContext.capabilities.add)", c->name, s->capabilities->add.items[i]);
	/* In a user namespace of its own root is nobody outside. */
	bool mapped = spec->host_users && !*spec->host_users;
	bool non_root = mapped ? true : s && s->run_as_non_root ? *s->run_as_non_root : p && p->run_as_non_root && *p->run_as_non_root;
	if (!non_root)
		violate(v, "runAsNonRoot != true (pod or container \"%s\" must set securityContext.runAsNonRoot=true)", c->name);
	if (!mapped && ((s && s->run_as_user && *s->run_as_user == 0) || (!(s && s->run_as_user) && p && p->run_as_user && *p->run_as_user == 0)))
		violate(v, "runAsUser=0 (container \"%s\" must not set runAsUser=0)", c->name);
	bool seccomp = (s && s->seccomp_profile) || (p && p->seccomp_profile);
	if (!seccomp)
		violate(v, "seccompProfile (pod or container \"%s\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")", c->name);
}

static void restricted_volumes(const struct core_v1_pod_spec *spec, struct violations *v) {
	for (uint32_t i = 0; i < spec->volumes.len; i++) {
		const struct core_v1_volume *volume = &spec->volumes.items[i];
		bool good = volume->config_map || volume->csi || volume->downward_api || volume->empty_dir || volume->ephemeral || volume->persistent_volume_claim || volume->projected || volume->secret || volume->image;
		if (!good && !volume->host_path) /* that one was named already */
			violate(v, "restricted volume types (volume \"%s\" uses a restricted volume type)", volume->name);
	}
}

static int validate(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	autoentry struct entry *ns = collection_get(registry_find(w->r->server->registry, "", "v1", "namespaces")->collection, w->ns);
	const char *level = ns ? api_map_get(&ns->labels, ENFORCE) : NULL;
	const char *version = ns ? str_or(api_map_get(&ns->labels, ENFORCE_VERSION), "latest") : NULL;
	bool restricted = str_equal(level, "restricted");
	if (!restricted && !str_equal(level, "baseline"))
		return 0;
	const struct core_v1_pod *pod = w->object;
	/* An update that leaves what is judged alone is let through, as the pod runs already. */
	if (!w->created && w->old && api_field_equal(w->object, w->old, "spec"))
		return 0;
	struct violations v = {.text = BUF_INIT(256 << 10)};
	baseline_pod(&pod->spec, &v);
	struct { const struct core_v1_container *items; uint32_t len; } lists[] = {{pod->spec.init_containers.items, pod->spec.init_containers.len}, {pod->spec.containers.items, pod->spec.containers.len}};
	for (size_t l = 0; l < array_len(lists); l++)
		for (uint32_t i = 0; i < lists[l].len; i++) {
			baseline_container(&lists[l].items[i], &v);
			if (restricted)
				restricted_container(&pod->spec, &lists[l].items[i], &v);
		}
	if (restricted)
		restricted_volumes(&pod->spec, &v);
	int rc = 0;
	if (v.count)
		rc = error_forbidden(err, w->resource, admission_name(w), "violates PodSecurity \"%s:%s\": %s", level, version, v.text.data);
	buf_done(&v.text);
	return rc;
}

const struct admission_plugin admission_pod_security = {
	.name = "PodSecurity",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.validate = validate,
};
