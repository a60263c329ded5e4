# SPDX-License-Identifier: Apache-2.0
.PHONY: up down install deps
deps:              ## install the Debian packages that building and running takes
	@deploy/install-packages.sh run

up:                ## bring a one-node cluster up on this machine (root); harmless to run again
	@deploy/install-packages.sh run
	@$(MAKE) all BUILD=$(BUILD)
	@BIN=$(BUILD)/bin deploy/cluster.sh up

down:              ## stop the cluster, pods included; PURGE=1 forgets its data
	@BIN=$(BUILD)/bin PURGE=$(PURGE) deploy/cluster.sh down

DESTDIR ?=
PREFIX  ?= /usr/local
install: all       ## install programs (and systemd units, where systemd runs) under $(DESTDIR)$(PREFIX)
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/coracle
	install -m 755 $(BINARIES) $(DESTDIR)$(PREFIX)/bin/
	cp -r deploy/cluster.sh deploy/busybox-image.sh deploy/manifests deploy/systemd $(DESTDIR)$(PREFIX)/share/coracle/
	deploy/systemd/install.sh --units "$(DESTDIR)" "$(PREFIX)"
