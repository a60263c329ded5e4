# SPDX-License-Identifier: Apache-2.0
# The schema compiler, and what it makes of common/api/*.api: one header and one source a file, and tables.c.

API_FILES       := $(sort $(wildcard common/api/*.api))
API_STEMS       := $(patsubst common/api/%.api,%,$(API_FILES))
API_GEN_DIR     := $(BUILD)/gen/api
API_GEN_HEADERS := $(patsubst %,$(API_GEN_DIR)/%.h,$(API_STEMS))
API_GEN_SOURCES := $(patsubst %,$(API_GEN_DIR)/%.c,$(API_STEMS) tables)
API_GEN_OBJS    := $(API_GEN_SOURCES:.c=.o)
APIGEN_SRCS     := $(sort $(wildcard common/api/apigen/*.c))
HOSTCC          ?= gcc

$(BUILD)/apigen: $(APIGEN_SRCS) $(wildcard common/api/apigen/*.h)
	@mkdir -p $(@D)
	@echo "  HOSTCC apigen"
	@$(HOSTCC) -std=gnu17 -O1 -Wall -Wextra -Werror -D_GNU_SOURCE -I. -o $@ $(APIGEN_SRCS)

# One run makes all. A file whose content stays keeps its time, so that only what changed is compiled again.
$(API_GEN_DIR)/.made: $(BUILD)/apigen $(API_FILES)
	@mkdir -p $(@D)
	@echo "  GEN   api"
	@$(BUILD)/apigen $(API_GEN_DIR) $(API_FILES)
	@touch $@
$(API_GEN_HEADERS) $(API_GEN_SOURCES): $(API_GEN_DIR)/.made ;
