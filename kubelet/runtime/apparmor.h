/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_KUBELET_APPARMOR_H
#define CORACLE_KUBELET_APPARMOR_H

#include "common/base/base.h"
#include "common/base/error.h"

/* Whether this kernel confines programs by AppArmor. */
bool apparmor_is_enabled(void);
/* Whether the kernel has a profile of that name: the list is /sys/kernel/security/apparmor/profiles but in tests. */
bool apparmor_is_loaded(const char *list, const char *name);
#define APPARMOR_PROFILES "/sys/kernel/security/apparmor/profiles"
/* Name of the profile of containers that ask for none of their own, loaded at the first call. NULL where AppArmor or its parser is missing. Thread safe. */
const char *apparmor_default_profile(void);
/* Text of that profile. Open to tests. */
const char *apparmor_default_text(void);

#endif
