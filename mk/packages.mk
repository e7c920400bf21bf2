# SPDX-License-Identifier: LGPL-2.1-or-later
# Source tarball and packages. Everything starts from the commit that is checked out: `make dist` exports it, and the packages
# are built from that tarball with packaging/debian and packaging/libqb-rs.spec.

VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
TARBALL := $(B)/dist/libqb-rs-$(VERSION).tar.xz
DEB_DIR := $(B)/deb/out

.PHONY: dist check-dist deb rpm check-deb
dist:
	@CARGO="$(CARGO)" tools/dist $(TARBALL)

# Builds the tarball without a network and runs the C tests on the result.
check-dist: dist
	@MAKE="$(MAKE)" tools/check-dist $(TARBALL)

deb: dist
	@tools/mkdeb $(TARBALL) $(DEB_DIR)
	@cd $(DEB_DIR) && ls -1 *.deb *.dsc *.changes

rpm: dist
	@tools/mkrpm $(TARBALL) $(B)/rpm

# Packages, lintian, and a machine of its own (a Debian in a directory) with Pacemaker, on which they take libqb100's place
# and give it back.
check-deb: deb $(B)/dropin/crm-ipc
	@tools/check-deb $(DEB_DIR) $(B)
