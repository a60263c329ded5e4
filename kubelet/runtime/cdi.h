/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Container Device Interface: files that say what a container needs to use a device (environment, nodes, mounts, hooks, ...), laid into its OCI
 * configuration. As https://github.com/cncf-tags/container-device-interface has it, up to version 1.1.0.
 */
#ifndef CORACLE_KUBELET_CDI_H
#define CORACLE_KUBELET_CDI_H

#include "common/base/error.h"

#include <jansson.h>

#define CDI_MAX_FILE (4u << 20)
#define CDI_MAX_FILES 4096 /* of one folder */

/*
 * Lays the devices ("vendor.com/class=name"; NULL terminated) into the configuration. folders: of the files, NULL terminated; the later one wins. A file that is
 * none is skipped, with a word in the log. -ENOENT where a device is in no file, or in two of a folder.
 */
int cdi_inject(const char *const *folders, const char *const *devices, json_t *oci, struct error *err);

/* The text of a file, YAML or JSON, taken apart and checked (new reference). -EINVAL. */
int cdi_parse(const char *text, size_t len, json_t **ret, struct error *err);
/* Lays edits (a file's, or one of its devices') into the configuration. */
int cdi_apply(const json_t *edits, json_t *oci, struct error *err);
/* True for "vendor.com/class=name". */
bool cdi_is_device(const char *name);

#endif
