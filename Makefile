# Coracle: Kubernetes in C. `make help` lists what can be made.
# SPDX-License-Identifier: Apache-2.0

VERSION     := 0.1.0
KUBE_MINOR  := 36
SANITIZE    ?= 0
ifeq ($(origin CC),default)
CC          := gcc
endif
BUILD       ?= build/$(CC)$(if $(filter 1,$(SANITIZE)),-asan,)$(if $(filter thread,$(SANITIZE)),-tsan,)$(if $(filter fuzz,$(SANITIZE)),-fuzz,)
PROGRAMS    := apiserver scheduler controller-manager kubelet proxy dns cli
PKGS        := libmicrohttpd jansson libcurl libnl-3.0 libnl-route-3.0 libnghttp2 libprotobuf-c gnutls yaml-0.1 zlib libnftnl libmnl libpcre2-8
PKGS        += libnetfilter_conntrack libarchive ldns libsodium

SHELL       := /bin/bash
MAKEFLAGS   += --no-print-directory
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS   += -j$(shell nproc)
endif

WARN        := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wwrite-strings -Wno-unused-parameter
HARDEN      := -fPIE -fstack-protector-strong -fno-strict-aliasing
OPT         := -O2 -g1
LDHARDEN    := -pie -Wl,-z,relro,-z,now -Wl,--as-needed
ifeq ($(SANITIZE),1)
OPT         := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDHARDEN    := -fsanitize=address,undefined -Wl,--as-needed
else ifeq ($(SANITIZE),thread)
OPT         := -O1 -g -fsanitize=thread -fno-omit-frame-pointer
LDHARDEN    := -fsanitize=thread -Wl,--as-needed
else ifeq ($(SANITIZE),fuzz)
OPT         := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=undefined -fno-omit-frame-pointer
LDHARDEN    := -fsanitize=address,undefined -Wl,--as-needed
else
HARDEN      += -D_FORTIFY_SOURCE=2
endif
PKG_CFLAGS  := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS    := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS_ALL  := -std=gnu17 $(OPT) $(WARN) $(HARDEN) -D_GNU_SOURCE -DCORACLE_VERSION='"$(VERSION)"' -I. -I$(BUILD)/gen $(PKG_CFLAGS) $(CFLAGS)
LDFLAGS_ALL := $(LDHARDEN) $(LDFLAGS)
LIBS        := $(PKG_LIBS) -lwslay -lpthread -lm
# Pods come and go for months: glibc's heap keeps what stays on twice the pages it needs after some hundred of them. Sanitizers bring an allocator of their own.
HEAP_kubelet := $(if $(filter 0,$(SANITIZE)),-ljemalloc)

.DEFAULT_GOAL := all
include common/api/api.mk

# Every folder of sources is a library; main.c of a program stands apart, so that tests link the rest.
srcs         = $(shell find $(wildcard $(1)) -name '*.c' ! -name main.c ! -path 'common/api/apigen/*' | sort)
COMMON_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(call srcs,common)) $(API_GEN_OBJS)
program_name = $(if $(filter cli,$(1)),coracle,coracle-$(1))
BINARIES    := $(foreach p,$(PROGRAMS),$(if $(wildcard $(p)/main.c),$(BUILD)/bin/$(call program_name,$(p))))

.PHONY: all help
all: $(BINARIES)   ## build every program

$(BUILD)/lib/common.a: $(COMMON_OBJS)
	@mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^

define program_rules
$(BUILD)/lib/$(1).a: $(patsubst %.c,$(BUILD)/%.o,$(call srcs,$(1)))
	@mkdir -p $$(@D) && rm -f $$@ && $(AR) rcs $$@ $$^
$(BUILD)/bin/$(call program_name,$(1)): $(BUILD)/$(1)/main.o $(BUILD)/lib/$(1).a $(BUILD)/lib/common.a
	@mkdir -p $$(@D)
	@echo "  LD    $$(@F)"
	@$(CC) $(LDFLAGS_ALL) -o $$@ $$^ $(HEAP_$(1)) $(LIBS)
.PHONY: $(call program_name,$(1))
$(call program_name,$(1)): $(BUILD)/bin/$(call program_name,$(1))
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rules,$(p))))

# Generated headers come before the first compile; afterwards .d files say what depends on them.
$(BUILD)/%.o: %.c | $(API_GEN_HEADERS)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

$(BUILD)/gen/%.o: $(BUILD)/gen/%.c | $(API_GEN_HEADERS)
	@mkdir -p $(@D)
	@echo "  CC    $(patsubst $(BUILD)/%,%,$<)"
	@$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

include test/test.mk
-include deploy/deploy.mk

help:              ## list the targets
	@grep -hE '^[a-zA-Z_-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-zA-Z_-]+):[^#]*## */\1\t/' | sort | awk -F'\t' '{printf "  %-14s %s\n", $$1, $$2}'

.PHONY: clean
clean:             ## remove all that was built
	rm -rf build

-include $(shell [ -d $(BUILD) ] && find $(BUILD) -name '*.d')
