/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/sysctl.h"

#include <errno.h>

static const char *const safe[] = {
	"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
	"net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes",
	"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
};

/* Those that each namespace has for itself; all others are the machine's. A prefix ends in '.' or stands for what goes on from it. */
static const struct {
	const char *prefix;
	bool whole, network;
} namespaced[] = {
	{"kernel.sem", true, false}, {"kernel.shm", false, false}, {"kernel.msg", false, false}, {"fs.mqueue.", false, false}, {"net.", false, true},
};

const char *sysctl_normalize(struct arena *arena, const char *name) {
	const char *first = strpbrk(name, "./");
	char *out = arena_strdup(arena, name);
	/* Where a slash comes first, slashes are the separators, and dots belong to the parts. */
	for (char *p = out; first && *first == '/' && *p; p++)
		*p = *p == '/' ? '.' : *p == '.' ? '/' : *p;
	return out;
}

static bool is_listed(const char *name, const struct flag_list *allowed) {
	for (size_t i = 0; i < array_len(safe); i++)
		if (str_equal(name, safe[i]))
			return true;
	for (size_t i = 0; i < allowed->len; i++) {
		const char *pattern = allowed->items[i];
		size_t len = strlen(pattern);
		if (len && pattern[len - 1] == '*' ? strncmp(name, pattern, len - 1) == 0 : str_equal(name, pattern))
			return true;
	}
	return false;
}

static int check_one(const struct core_v1_pod *pod, const char *name, const struct flag_list *allowed, struct error *err) {
	if (!is_listed(name, allowed))
		return error_set(err, EPERM, "forbidden sysctl: \"%s\" not allowlisted", name);
	for (size_t i = 0; i < array_len(namespaced); i++) {
		if (namespaced[i].whole ? !str_equal(name, namespaced[i].prefix) : !str_starts_with(name, namespaced[i].prefix))
			continue;
		bool of_host = namespaced[i].network ? pod->spec.host_network : pod->spec.host_ipc;
		return of_host ? error_set(err, EPERM, "forbidden sysctl: \"%s\" not allowed with host %s enabled", name, namespaced[i].network ? "net" : "ipc") : 0;
	}
	return error_set(err, EPERM, "forbidden sysctl: \"%s\" is the machine's own", name);
}

int sysctl_check(const struct core_v1_pod *pod, const struct flag_list *allowed, struct error *err) {
	autoarena struct arena *arena = arena_new();
	int r = 0;
	for (uint32_t i = 0; r == 0 && pod->spec.security_context && i < pod->spec.security_context->sysctls.len; i++)
		r = check_one(pod, sysctl_normalize(arena, pod->spec.security_context->sysctls.items[i].name), allowed, err);
	return r;
}
