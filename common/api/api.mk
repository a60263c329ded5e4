# SPDX-License-Identifier: Apache-2.0
API_GEN_OBJS :=
API_GEN_HEADERS :=
