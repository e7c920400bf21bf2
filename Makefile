# SPDX-License-Identifier: LGPL-2.1-or-later
# `make` builds libqb.so.100 and libqb.a into build/lib; `make demo` and `make check` are the two commands of the README.
# Parts with rules of their own live in mk/*.mk; they append their targets to CHECKS (run by `make check`).

PREFIX     ?= /usr/local
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
DESTDIR    ?=
# Where filesystem sockets live and which file switches to them: the values that Debian's libqb100 is built with, since
# both must look in one place. Read at build time.
SOCKETDIR          ?= /tmp
FORCE_SOCKETS_FILE ?= /etc/libqb/force-filesystem-sockets
# `no`: nothing beyond the wire of the C library, also between two processes on this one.
SEALED             ?= yes
export QB_SEALED := $(SEALED)
export QB_SOCKETDIR := $(SOCKETDIR)
export QB_FORCE_SOCKETS_FILE := $(FORCE_SOCKETS_FILE)

CARGO   ?= cargo
CC      ?= cc
INSTALL ?= install
CFLAGS  ?= -O2 -g

ABI_VERSION := 2.0.10
SONAME      := libqb.so.100
SOFILE      := libqb.so.100.10.0

B := build
CARGO_TARGET_DIR ?= target
export CARGO_TARGET_DIR
STATIC := $(CARGO_TARGET_DIR)/release/libqb_capi.a
CHECKS :=
CLEANS :=

.PHONY: all check clean force
.DELETE_ON_ERROR:

all: $(B)/lib/$(SONAME) $(B)/lib/libqb.a

# Named one by one so that the dynamic loader, which provides __tls_get_addr, does not become a DT_NEEDED entry of its
# own (libc brings it). `make abi` checks what is left undefined.
SOLIBS := -nodefaultlibs -l:libgcc_s.so.1 -l:libc.so.6 -l:libc_nonshared.a

# Cargo knows best whether anything changed.
$(STATIC): force
	$(CARGO) build --release -q -p qb-capi

$(B)/lib/$(SOFILE): $(STATIC) capi/libqb.sym
	@mkdir -p $(@D)
	$(CC) -shared -o $@ -Wl,-soname,$(SONAME) -Wl,--version-script=capi/libqb.sym \
	    -Wl,--whole-archive $(STATIC) -Wl,--no-whole-archive \
	    -Wl,--gc-sections -Wl,-O1 -Wl,-z,now,-z,relro -Wl,--build-id $(LDFLAGS) $(SOLIBS)

$(B)/lib/$(SONAME): $(B)/lib/$(SOFILE)
	ln -sf $(SOFILE) $@
	ln -sf $(SONAME) $(B)/lib/libqb.so

$(B)/lib/libqb.a: $(STATIC)
	@mkdir -p $(@D)
	cp $< $@

# C tests: one program per public header, linked once, run on the reference and on ours (see c-tests/run-both).
C_TESTS := $(patsubst c-tests/%.c,%,$(wildcard c-tests/*.c))
TEST_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Iinclude -Ic-tests

$(B)/c-tests/%: c-tests/%.c c-tests/check.h $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B)/lib -lqb -pthread

.PHONY: check-rust check-c
# The engine's tests twice: with the checks of a debug build, and as it is shipped. The generator of the headers and the tool
# that compares interfaces are no default members of the workspace, so they are named.
TOOLS := -p headergen -p abi
check-rust:
	$(CARGO) fmt --check
	$(CARGO) fmt --check $(TOOLS)
	$(CARGO) clippy -q --all-targets -- -D warnings
	$(CARGO) clippy -q $(TOOLS) --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc -q --no-deps -p qb
	$(CARGO) test -q
	$(CARGO) test -q --release -p qb --lib
	$(CARGO) test -q $(TOOLS)

check-c: all $(C_TESTS:%=$(B)/c-tests/%)
	@c-tests/run-both $(C_TESTS:%=$(B)/c-tests/%)

include $(wildcard mk/*.mk)

check: check-rust check-c $(CHECKS)
	@echo "make check: all parts passed"

clean: $(CLEANS)
	rm -rf $(B) $(CARGO_TARGET_DIR)
