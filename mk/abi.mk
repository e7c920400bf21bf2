# SPDX-License-Identifier: LGPL-2.1-or-later
# Comparison with Debian's libqb: `make abi` for headers and symbols, `make check-debian-build` for programs that were
# compiled and linked with libqb-dev and run with our library.

# Headers whose functions must all be there; final state: all of the reference's.
ABI_REQUIRED ?= qbarray.h qbatomic.h qbconfig.h qbdefs.h qbhdb.h qbipc_common.h qbipcc.h qbipcs.h qblist.h qblog.h qbloop.h qbmap.h qbrb.h qbutil.h

CHECKS += abi check-debian-build
.PHONY: abi check-debian-build

abi: all
	@reference=$$(tools/reference-headers) && libdir=$$(c-tests/reference-dir) && \
	    CC="$(CC)" $(CARGO) run -q -p abi -- "$$reference" include "$$libdir/$(SONAME)" $(B)/lib/$(SONAME) \
	    capi/libqb.sym $(ABI_REQUIRED)

check-debian-build: all
	@reference=$$(tools/reference-headers) && CC="$(CC)" \
	    CFLAGS="$(CFLAGS) $(filter-out -Iinclude -Werror,$(TEST_CFLAGS))" \
	    tools/check-debian-build "$$reference" $(B) $(C_TESTS)
