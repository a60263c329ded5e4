/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/node/oom.h"

#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define RECORD_MAX 8192 /* the kernel gives one record a read, and none that is longer */
#define NAME_MAX_BYTES 64
#define FACILITY_BITS 3 /* the level, below the facility; the kernel's own is 0 */

int oom_open(void) {
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || lseek(fd, 0, SEEK_END) < 0) {
		int errnum = errno;
		cleanup_close(&fd);
		return -errnum;
	}
	return fd;
}

/* The last ",key=" before `end`. */
static const char *find_last(const char *from, const char *end, const char *key) {
	size_t len = strlen(key);
	for (const char *p = end - len; p >= from; p--)
		if (strncmp(p, key, len) == 0)
			return p;
	return NULL;
}

bool oom_parse(const char *record, char *name, int64_t *pid) {
	static const char head[] = "oom-kill:", global[] = ",global_oom,";
	char number[24];
	const char *text = strchr(record, ';');
	/* Anybody with the right to may write a record; its facility then tells. */
	if (!text || strtol(record, NULL, 10) >> FACILITY_BITS != 0 || strncmp(text + 1, head, strlen(head)) != 0)
		return false;
	const char *end = text + strcspn(text, "\n"), *scope = strstr(text, global);
	/* From the end: what stands before may hold anything. */
	const char *uid = find_last(text, end, ",uid="), *id = uid ? find_last(text, uid, ",pid=") : NULL, *task = id ? find_last(text, id, ",task=") : NULL;
	if (!task || !scope || scope > task)
		return false;
	id += strlen(",pid=");
	task += strlen(",task=");
	snprintf(number, sizeof(number), "%.*s", (int)min_of(uid - id, (ptrdiff_t)20), id);
	snprintf(name, NAME_MAX_BYTES, "%.*s", (int)min_of(id - (ptrdiff_t)strlen(",pid=") - task, (ptrdiff_t)NAME_MAX_BYTES), task);
	return str_to_int64(number, 1, INT64_MAX, pid);
}

void oom_read(struct kubelet *kubelet, int fd) {
	char record[RECORD_MAX + 1], name[NAME_MAX_BYTES];
	ssize_t n;
	int64_t pid;
	/* EPIPE: records were overwritten before they were read; the next read goes on after them. */
	while ((n = read(fd, record, RECORD_MAX)) > 0 || (n < 0 && errno == EPIPE)) {
		if (n < 0)
			continue;
		record[n] = '\0';
		if (!oom_parse(record, name, &pid))
			continue;
		autounref struct core_v1_node *node = kubelet->node_informer ? informer_find(kubelet->node_informer, NULL, kubelet->node_name) : NULL;
		log_warning("the machine lacked memory", LOG_STR("victim", name), LOG_INT("pid", pid));
		if (node)
			kubelet_event(kubelet, node, NULL, "Warning", "SystemOOM", "System OOM encountered, victim process: %s, pid: %lld", name, (long long)pid);
	}
}
