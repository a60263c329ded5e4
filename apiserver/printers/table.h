/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_PRINTER_TABLE_H
#define CORACLE_APISERVER_PRINTER_TABLE_H

#include "apiserver/printers/printer.h"

/* Each ended by a row without cells. */
extern const struct printer printers_core[];
extern const struct printer printers_workloads[];
extern const struct printer printers_other[];
extern const struct printer printers_extensions[];
extern const struct printer printers_metrics[];

#endif
