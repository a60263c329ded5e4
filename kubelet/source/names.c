/* SPDX-License-Identifier: Apache-2.0 */
/* Names and uids of a pod become names of folders, groups and files: whoever a pod comes from, nothing in them may lead elsewhere. */
#include "kubelet/source/source.h"

#include "common/api/format.h"

#include <errno.h>

#define MAX_UID 128

static int check(format_check *format, const char *what, const char *name, struct error *err) {
	struct format_messages messages = {0};
	format(str_or(name, ""), &messages);
	return messages.len ? error_set(err, EINVAL, "%s \"%.100s\": %s", what, str_or(name, ""), messages.items[0]) : 0;
}

static bool uid_is_plain(const char *uid) {
	size_t len = strspn(str_or(uid, ""), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:");
	return len && len <= MAX_UID && !uid[len] && uid[0] != '.' && !strstr(uid, "..");
}

int source_check_names(const struct core_v1_pod *pod, struct error *err) {
	int r = check(format_dns_subdomain, "name", pod->metadata.name, err);
	if (r == 0)
		r = check(format_dns_label, "namespace", pod->metadata.namespace, err);
	if (r == 0 && !uid_is_plain(pod->metadata.uid))
		r = error_set(err, EINVAL, "uid \"%.100s\" is none", str_or(pod->metadata.uid, ""));
	for api_list_each (volume, &pod->spec.volumes)
		r = r ? r : check(format_dns_label, "volume", volume->name, err);
	for api_list_each (container, &pod->spec.init_containers)
		r = r ? r : check(format_dns_label, "init container", container->name, err);
	for api_list_each (container, &pod->spec.containers)
		r = r ? r : check(format_dns_label, "container", container->name, err);
	for api_list_each (container, &pod->spec.ephemeral_containers)
		r = r ? r : check(format_dns_label, "ephemeral container", container->name, err);
	return r;
}
