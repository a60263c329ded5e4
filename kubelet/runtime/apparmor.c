/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/runtime/apparmor.h"

#include "common/base/buf.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/process.h"

#include <fcntl.h>
#include <pthread.h>

#define NAME "coracle-default"
#define PARSER_TIMEOUT_MS 30000
#define MAX_PROFILES (4u << 20)

/*
 * What a container may not do whatever else it is given: mount, and write where the whole machine is steered. Includes of the distribution's
 * own abstractions are left out, so that the text means the same everywhere.
 */
static const char text[] =
	"profile " NAME " flags=(attach_disconnected,mediate_deleted) {\n"
	"  network,\n"
	"  capability,\n"
	"  file,\n"
	"  umount,\n"
	"  unix,\n"
	"  signal (receive) peer=unconfined,\n"
	"  signal (send, receive) peer=" NAME ",\n"
	"  ptrace (trace, read, tracedby, readby) peer=" NAME ",\n"
	"  deny mount,\n"
	"  deny /proc/{sysrq-trigger,kcore,kmem,mem} rwklx,\n"
	"  deny /proc/sys/kernel/{core_pattern,modprobe,hotplug,sysrq} wklx,\n"
	"  deny /proc/sys/vm/** wklx,\n"
	"  deny /sys/{firmware,kernel/security,kernel/debug,kernel/tracing}/** rwklx,\n"
	"  deny /sys/{bus,class,devices,module,power}/** wklx,\n"
	"}\n";

const char *apparmor_default_text(void)
{
	return text;
}

bool apparmor_is_enabled(void)
{
	autofree char *value = NULL;
	size_t len;
	return file_exists("/sys/kernel/security/apparmor") && file_read(AT_FDCWD, "/sys/module/apparmor/parameters/enabled", 16, &value, &len, NULL) == 0 && len && value[0] == 'Y';
}

/* Each line is a name, which may have blanks in it, and its mode: "name (enforce)". */
bool apparmor_is_loaded(const char *list, const char *name)
{
	autofree char *profiles = NULL;
	size_t len, want = strlen(name);
	if (file_read(AT_FDCWD, list, MAX_PROFILES, &profiles, &len, NULL) < 0)
		return false;
	char *rest = profiles;
	for (char *line; (line = strsep(&rest, "\n"));)
		if (strncmp(line, name, want) == 0 && str_starts_with(line + want, " (") && !strchr(line + want + 2, '('))
			return true;
	return false;
}

static bool load(void)
{
	const char *const argv[] = {"apparmor_parser", "--replace", "--skip-cache", NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	autobuf struct buf out = BUF_INIT(1 << 16), errout = BUF_INIT(1 << 16);
	autoerror struct error err = {0};
	if (process_run(&options, text, sizeof(text) - 1, &out, &errout, PARSER_TIMEOUT_MS, NULL, &err) == 0)
		return true;
	log_warning("containers run without an AppArmor profile", LOG_ERR(&err));
	return false;
}

const char *apparmor_default_profile(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool asked, loaded;
	pthread_mutex_lock(&lock);
	if (!asked)
		loaded = apparmor_is_enabled() && load();
	asked = true;
	pthread_mutex_unlock(&lock);
	return loaded ? NAME : NULL;
}
