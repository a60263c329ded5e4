/* SPDX-License-Identifier: Apache-2.0 */
/* Cells that several kinds share. */
#ifndef CORACLE_APISERVER_PRINTER_COMMON_H
#define CORACLE_APISERVER_PRINTER_COMMON_H

#include "apiserver/printers/printer.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

/* Two cells: the names of the containers and their images; NULL: both empty. */
void cell_containers(struct cells *cells, const struct core_v1_pod_spec *spec);
/* "a=b,c=d" or <none> */
void cell_labels(struct cells *cells, const struct api_string_map *labels);
void cell_selector(struct cells *cells, const struct meta_v1_label_selector *selector);

#endif
