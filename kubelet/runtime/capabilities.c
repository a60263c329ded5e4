/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities: their names in the kernel's order, and the set a container gets. */
#include "kubelet/runtime/internal.h"

#include <linux/capability.h>
#include <strings.h>

static const char *const names[] = {
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP", "LINUX_IMMUTABLE",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT",
	"SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE",
	"AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ",
	"PERFMON", "BPF", "CHECKPOINT_RESTORE",
};
#define BIT(c) ((uint64_t)1 << (c))

/* What every container has unless it drops it. */
#define DEFAULT_SET                                                                                                                  \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) | BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) |             \
		BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) |                 \
		BIT(CAP_SYS_CHROOT) | BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE))
#define ALL ((BIT(array_len(names))) - 1)

/* "NET_ADMIN", "CAP_NET_ADMIN", "ALL"; 0 where it is none. */
static uint64_t mask_of(const char *name)
{
	if (strcasecmp(name, "ALL") == 0)
		return ALL;
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (size_t i = 0; i < array_len(names); i++)
		if (strcasecmp(name, names[i]) == 0)
			return BIT(i);
	return 0;
}

uint64_t capabilities_of(const struct container_config *config, uint64_t own)
{
	if (config->privileged)
		return ALL & own;
	uint64_t mask = DEFAULT_SET;
	bool add_all = false;
	/* "ALL" first, in either list, so that the other can name exceptions. */
	for (size_t i = 0; config->add_capabilities && config->add_capabilities[i]; i++)
		add_all = add_all || mask_of(config->add_capabilities[i]) == ALL;
	if (add_all)
		mask = ALL;
	for (size_t i = 0; config->drop_capabilities && config->drop_capabilities[i]; i++)
		if (mask_of(config->drop_capabilities[i]) == ALL)
			mask = 0;
	for (size_t i = 0; config->add_capabilities && config->add_capabilities[i]; i++)
		if (mask_of(config->add_capabilities[i]) != ALL)
			mask |= mask_of(config->add_capabilities[i]);
	for (size_t i = 0; config->drop_capabilities && config->drop_capabilities[i]; i++)
		if (mask_of(config->drop_capabilities[i]) != ALL)
			mask &= ~mask_of(config->drop_capabilities[i]);
	return mask & own; /* what we do not have we cannot give; runc would refuse the whole container */
}

json_t *capabilities_names(uint64_t mask)
{
	json_t *array = json_array();
	for (size_t i = 0; i < array_len(names); i++)
		if (mask & BIT(i))
			json_array_append_new(array, json_sprintf("CAP_%s", names[i]));
	return array;
}
