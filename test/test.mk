# SPDX-License-Identifier: Apache-2.0
# Tests. A unit test is test/unit/<folder>/<module>_test.c: one cmocka program, linked with that folder's library.
# A fuzzer is test/fuzz/<name>_fuzz.c with its corpus in test/fuzz/corpus/<name>/; `make check` replays the corpus.

UNIT_SRCS := $(shell find test/unit -name '*_test.c' 2>/dev/null | sort)
UNIT_BINS := $(patsubst %.c,$(BUILD)/%,$(UNIT_SRCS))
FUZZ_SRCS := $(sort $(wildcard test/fuzz/*_fuzz.c))
FUZZ_REPLAYS := $(patsubst %.c,$(BUILD)/%,$(FUZZ_SRCS))

# test/unit/kubelet/pods/x_test.c links kubelet's library; test/unit/common/... links only common.
unit_lib   = $(firstword $(subst /, ,$(patsubst test/unit/%,%,$(1))))

# The simulator of the controller manager's world: more than one file.
SIM_OBJS := $(patsubst %.c,$(BUILD)/%.o,$(wildcard test/sim/*.c))
$(BUILD)/test/unit/controller-manager/simulation_test: $(SIM_OBJS)

# It speaks to a key service within its own process.
$(BUILD)/test/unit/apiserver/encryption/kms_test: $(BUILD)/test/kms/service.o $(BUILD)/lib/kubelet.a

.SECONDEXPANSION:
$(UNIT_BINS): $(BUILD)/%: $(BUILD)/%.o $$(if $$(filter-out common,$$(call unit_lib,$$*)),$(BUILD)/lib/$$(call unit_lib,$$*).a) $(BUILD)/lib/common.a
	@echo "  LD    $*"
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(LIBS) -lcmocka

# It plays logind with the library that the kubelet loads only where there is one.
$(BUILD)/test/unit/kubelet/node/logind_test: LIBS += -lsystemd

# A fuzzer names the library it needs, besides common, in a first line "// lib: kubelet".
fuzz_lib   = $(shell sed -n '1s|^// lib: *||p' test/fuzz/$(notdir $(1)).c)
$(FUZZ_REPLAYS): $(BUILD)/%: $(BUILD)/%.o $(BUILD)/test/fuzz/replay.o $$(foreach l,$$(call fuzz_lib,$$*),$(BUILD)/lib/$$(l).a) $(BUILD)/lib/common.a
	@echo "  LD    $*"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)

.PHONY: unit
unit: $(UNIT_BINS) $(FUZZ_REPLAYS)   ## build and run the unit tests and replay the fuzzers' corpora (use SANITIZE=1)
	@test/run-unit.sh $(BUILD) $(UNIT_BINS) -- $(FUZZ_REPLAYS)

# Hollow nodes (test/hollow) are a program of the tests, built with them.
HOLLOW := $(BUILD)/test/hollow/coracle-hollow
$(BUILD)/lib/hollow.a: $(patsubst %.c,$(BUILD)/%.o,$(call srcs,test/hollow))
	@mkdir -p $(@D) && rm -f $@ && $(AR) rcs $@ $^
$(HOLLOW): $(BUILD)/test/hollow/main.o $(BUILD)/lib/hollow.a $(BUILD)/lib/common.a
	@echo "  LD    $(@F)"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
.PHONY: hollow
hollow: $(HOLLOW)  ## build the program that answers as many nodes that are not there

# A key service for the tests of encryption (test/kms).
KMS := $(BUILD)/test/kms/coracle-kms
$(KMS): $(BUILD)/test/kms/main.o $(BUILD)/test/kms/service.o $(BUILD)/lib/kubelet.a $(BUILD)/lib/apiserver.a $(BUILD)/lib/common.a
	@echo "  LD    $(@F)"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)
.PHONY: kms
kms: $(KMS)        ## build the key service that tests talk to

# A bench is test/bench/<name>_bench.c; its first line may name a library as a fuzzer's does. `make bench` builds them; run them by hand.
BENCH_SRCS := $(sort $(wildcard test/bench/*_bench.c))
BENCH_BINS := $(patsubst %.c,$(BUILD)/%,$(BENCH_SRCS))
bench_lib  = $(shell sed -n '1s|^// lib: *||p' test/bench/$(notdir $(1)).c)
$(BENCH_BINS): $(BUILD)/%: $(BUILD)/%.o $$(foreach l,$$(call bench_lib,$$*),$(BUILD)/lib/$$(l).a) $(BUILD)/lib/common.a
	@echo "  LD    $*"
	@$(CC) $(LDFLAGS_ALL) -o $@ $^ $(LIBS)


# Programs whose threads share data, once more under the thread sanitizer: make SANITIZE=thread threads
THREAD_TESTS := $(filter $(addprefix $(BUILD)/test/unit/,common/base/% common/http/% common/client/% apiserver/storage/% apiserver/flow/% apiserver/encryption/% dns/%),$(UNIT_BINS))
.PHONY: threads integration e2e check
threads: $(THREAD_TESTS)
	@TSAN_OPTIONS="halt_on_error=0 exitcode=66" test/run-unit.sh $(BUILD) $(THREAD_TESTS) | sed 's/^unit:/threads:/'; exit $${PIPESTATUS[0]}

integration: all hollow kms  ## run the integration tests against an etcd of their own (use SANITIZE=1)
	@$(if $(filter-out 0,$(SANITIZE)),MAKEFLAGS= $(MAKE) -s SANITIZE=0 all) # what measures memory measures the real thing
	@test/integration/run.sh $(BUILD)

e2e: all           ## play the story end to end, with kubectl, on a cluster of its own (root; use SANITIZE=1, or SANITIZE=thread to look for races)
	@TEST_PYTHON=$(CURDIR)/build/python/bin/python python3 test/e2e/run.py $(BUILD) $(TESTS)

check:             ## install what the tests need, build, run all tests (root)
	@test/check.sh

lint:              ## check what a script can check of STYLE.md
	@test/lint/lint.sh

.PHONY: bench fuzz lint
bench: all hollow $(BENCH_BINS)  ## measure speed and memory (TARGET=https://... TOKEN=... lays the load on any Kubernetes API server)
	@python3 test/bench/run.py $(BUILD)
	@[ -n "$(TARGET)" ] || python3 test/bench/node.py $(BUILD)

FUZZ_SECONDS ?= 30
fuzz:              ## run every fuzzer with libFuzzer (clang) for FUZZ_SECONDS each
	@$(MAKE) CC=clang SANITIZE=fuzz fuzz-run
FUZZ_RUNS := $(patsubst test/fuzz/%_fuzz.c,$(BUILD)/fuzz/%,$(FUZZ_SRCS))
$(FUZZ_RUNS): $(BUILD)/fuzz/%: $(BUILD)/test/fuzz/%_fuzz.o $$(foreach l,$$(call fuzz_lib,$$*_fuzz),$(BUILD)/lib/$$(l).a) $(BUILD)/lib/common.a
	@mkdir -p $(@D)
	@$(CC) $(LDFLAGS_ALL) -fsanitize=fuzzer -o $@ $^ $(LIBS)
.PHONY: fuzz-run
fuzz-run: $(FUZZ_RUNS)
	@for f in $(FUZZ_RUNS); do n=$$(basename $$f); work=$$(mktemp -d); echo "== $$n"; $$f -max_total_time=$(FUZZ_SECONDS) -timeout=10 -print_final_stats=0 -verbosity=0 -artifact_prefix=$$work/ $$work test/fuzz/corpus/$$n || exit 1; rm -rf $$work; done

.PHONY: check-vm
check-vm: all $(addprefix $(BUILD)/test/unit/kubelet/,cgroup/cgroup_test runtime_test node/logind_test) ## boot a Debian guest with systemd and cgroup v2 under qemu (no KVM) and run the smoke part there (root; not part of check)
	@test/vm/run.sh $(BUILD)
