/* SPDX-License-Identifier: Apache-2.0 */
/* What is on the machine of pods that no source knows: ended and removed, once all sources have spoken. */
#include "common/base/file.h"
#include "common/base/log.h"
#include "kubelet/pod/pod.h"
#include "kubelet/pod/pulled.h"
#include "kubelet/resource/managers.h"
#include "kubelet/volume/volume.h"

#include <dirent.h>
#include <errno.h>

#define ORPHAN_GRACE_MS 2000

static void end_sandbox(struct kubelet *kubelet, const struct sandbox_status *sandbox) {
	struct container_status **containers = NULL;
	size_t count = 0;
	autoerror struct error err = {0};
	log_info("ends an orphaned pod", LOG_STR("pod", sandbox->pod_name), LOG_STR("namespace", sandbox->pod_namespace), LOG_STR("uid", sandbox->pod_uid));
	runtime_container_list(kubelet->runtime, sandbox->id, NULL, &containers, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		runtime_container_stop(kubelet->runtime, containers[i]->id, ORPHAN_GRACE_MS, NULL);
		container_status_free(containers[i]);
	}
	free(containers);
	if (runtime_sandbox_remove(kubelet->runtime, sandbox->id, &err) < 0)
		log_error("orphaned sandbox stays", LOG_STR("uid", sandbox->pod_uid), LOG_ERR(&err));
}

static void end_sandboxes(struct pod_manager *manager) {
	struct kubelet *kubelet = pod_manager_kubelet(manager);
	struct sandbox_status **sandboxes = NULL;
	size_t count = 0;
	if (runtime_sandbox_list(kubelet->runtime, NULL, &sandboxes, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (!pod_manager_knows(manager, sandboxes[i]->pod_uid))
			end_sandbox(kubelet, sandboxes[i]);
		sandbox_status_free(sandboxes[i]);
	}
	free(sandboxes);
}

/* Calls fn for each name in a folder whose pod nobody knows. uid_of: where in the name the pod's UID begins; NULL: it has none. */
static void each_orphan(struct pod_manager *manager, const char *folder, const char *(*uid_of)(const char *name), void (*fn)(const char *path)) {
	DIR *dir = opendir(folder);
	if (!dir)
		return;
	for (struct dirent *e; (e = readdir(dir));) {
		const char *uid = *e->d_name == '.' ? NULL : uid_of(e->d_name);
		if (!uid || pod_manager_knows(manager, uid))
			continue;
		autofree char *path = path_join(folder, e->d_name, NULL);
		fn(path);
	}
	closedir(dir);
}

static const char *uid_of_folder(const char *name) {
	return name;
}

/* <namespace>_<name>_<uid> */
static const char *uid_of_logs(const char *name) {
	const char *first = strchr(name, '_'), *second = first ? strchr(first + 1, '_') : NULL;
	return second && second[1] ? second + 1 : NULL;
}

static void remove_folder(const char *path) {
	autoerror struct error err = {0};
	if (volumes_teardown(path, &err) < 0 || file_remove_all(path, &err) < 0)
		log_error("orphaned pod folder stays", LOG_STR("path", path), LOG_ERR(&err));
}

static void remove_logs(const char *path) {
	autoerror struct error err = {0};
	if (file_remove_all(path, &err) < 0)
		log_error("orphaned pod logs stay", LOG_STR("path", path), LOG_ERR(&err));
}

/* False where something stays that should have gone. */
static bool remove_cgroups(struct pod_manager *manager, enum cgroup_qos qos) {
	struct kubelet *kubelet = pod_manager_kubelet(manager);
	autofree char *parent = cgroup_qos_path(kubelet->cgroups, qos);
	char **names = NULL;
	bool all = true;
	if (cgroup_children(kubelet->cgroups, parent, &names, NULL) < 0)
		return true;
	for (size_t i = 0; names[i]; i++) {
		autoerror struct error err = {0};
		autofree char *path = path_join(parent, names[i], NULL);
		if (str_starts_with(names[i], "pod") && !pod_manager_knows(manager, names[i] + 3) && cgroup_remove(kubelet->cgroups, path, &err) < 0) {
			log_error("orphaned cgroup stays", LOG_STR("path", path), LOG_ERR(&err));
			all = false;
		}
		free(names[i]);
	}
	free(names);
	return all;
}

static uint64_t count_cgroups(struct pod_manager *manager) {
	struct kubelet *kubelet = pod_manager_kubelet(manager);
	uint64_t sum = 0;
	for (enum cgroup_qos qos = CGROUP_GUARANTEED; qos <= CGROUP_BESTEFFORT; qos++) {
		autofree char *parent = cgroup_qos_path(kubelet->cgroups, qos);
		sum += cgroup_child_count(kubelet->cgroups, parent);
	}
	return sum;
}

void pod_manager_tidy(struct pod_manager *manager, bool pods_moved, uint64_t *seen) {
	if (!pod_manager_is_ready(manager) || (!pods_moved && *seen && count_cgroups(manager) == *seen))
		return;
	bool all = true;
	for (enum cgroup_qos qos = CGROUP_GUARANTEED; qos <= CGROUP_BESTEFFORT; qos++)
		all = remove_cgroups(manager, qos) && all;
	*seen = all ? count_cgroups(manager) : 0;
}

static void *run(void *arg) {
	struct pod_manager *manager = arg;
	const struct kubelet_options *options = &pod_manager_kubelet(manager)->options;
	autofree char *pods = path_join(options->root_dir, "pods", NULL);
	end_sandboxes(manager);
	pod_manager_set_ready(manager);
	pod_manager_tidy(manager, true, &(uint64_t){0});
	pulled_prune(pod_manager_kubelet(manager));
	resource_managers_tidy(pod_manager_kubelet(manager)->managers);
	each_orphan(manager, pods, uid_of_folder, remove_folder);
	each_orphan(manager, options->pod_log_dir, uid_of_logs, remove_logs);
	pod_manager_work_end(manager);
	return NULL;
}

void pod_manager_sources_ready(struct pod_manager *manager) {
	pthread_t thread;
	pod_manager_work_begin(manager);
	if (pthread_create(&thread, NULL, run, manager) == 0)
		pthread_detach(thread);
	else
		pod_manager_work_end(manager);
}
