/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/printers/table.h"

const struct printer *const printer_tables[] = {printers_core, printers_workloads, printers_other, printers_extensions, printers_metrics, NULL};
