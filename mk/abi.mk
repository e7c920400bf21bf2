# SPDX-License-Identifier: LGPL-2.1-or-later
# Comparison with Debian's libqb: `make abi` for headers and symbols, `make check-debian-build` for programs that were
# compiled and linked with libqb-dev and run with our library, `make check-imports` for what Debian's packages import.

# Headers whose functions must all be there; final state: all of the reference's.
ABI_REQUIRED ?= qbarray.h qbatomic.h qbconfig.h qbdefs.h qbhdb.h qbipc_common.h qbipcc.h qbipcs.h qblist.h qblog.h qbloop.h qbmap.h qbrb.h qbutil.h

# Tests of headers that the reference does not have.
OWN_TESTS := $(basename $(notdir $(shell grep -l '^\#include <qb/qbipc_ext.h>' c-tests/*.c)))

# Debian's packages that link with libqb; downloaded once into build/imports, not installed.
IMPORTERS ?= corosync corosync-notifyd corosync-vqsim libcfg7 libcmap4 libcpg4 libquorum5 libvotequorum8 pacemaker \
    pacemaker-cli-utils pacemaker-remote libcrmcommon34 libcrmcluster29 libcib27 liblrmd28 libstonithd26 libpe-status28 sbd \
    usbguard libusbguard1 booth libqb-tools

CHECKS += abi check-debian-build check-imports check-compatibility check-rooms
.PHONY: abi check-debian-build check-imports check-compatibility check-rooms

abi: all
	@reference=$$(tools/reference-headers) && libdir=$$(c-tests/reference-dir) && \
	    CC="$(CC)" $(CARGO) run -q -p abi -- "$$reference" include "$$libdir/$(SONAME)" $(B)/lib/$(SONAME) \
	    capi/libqb.sym $(ABI_REQUIRED)

check-debian-build: all
	@reference=$$(tools/reference-headers) && CC="$(CC)" \
	    CFLAGS="$(CFLAGS) $(filter-out -Iinclude -Werror,$(TEST_CFLAGS))" \
	    tools/check-debian-build "$$reference" $(B) $(filter-out $(OWN_TESTS),$(C_TESTS))

check-imports: all
	@libdir=$$(c-tests/reference-dir) && \
	    tools/check-imports "$$libdir/$(SONAME)" $(B)/lib/$(SONAME) $(B)/imports $(IMPORTERS)

# Every row of COMPATIBILITY.md has its test.
check-compatibility:
	@tools/check-compatibility

# ARCHITECTURE.md, "Rooms": who uses whom.
check-rooms:
	@tools/check-rooms
