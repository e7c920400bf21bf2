# SPDX-License-Identifier: LGPL-2.1-or-later
# Logging: the tool qb-blackbox, and the checks beyond c-tests/log.c: what every target receives compared with the reference, blackbox
# files read by both tools, and many threads at once.

CHECKS += check-log
.PHONY: check-log install-blackbox

SBINDIR ?= $(PREFIX)/sbin
MANDIR  ?= $(PREFIX)/share/man

all: $(B)/sbin/qb-blackbox

$(B)/sbin/qb-blackbox: tools/qb-blackbox.c $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -Wall -Wextra -Werror -Iinclude -o $@ $< -L$(B)/lib -lqb

$(B)/log-diff/%: c-tests/log-diff/%.c $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -Wall -Wextra -Wno-format -Iinclude -o $@ $< -L$(B)/lib -lqb -pthread

check-log: all $(B)/log-diff/log-diff $(B)/log-diff/blackbox $(B)/log-diff/threads
	@c-tests/log-diff/compare $(B)

install-blackbox: $(B)/sbin/qb-blackbox
	$(INSTALL) -D -m 755 $< $(DESTDIR)$(SBINDIR)/qb-blackbox
	$(INSTALL) -D -m 644 man/qb-blackbox.8 $(DESTDIR)$(MANDIR)/man8/qb-blackbox.8

# Needs the nightly toolchain with rust-src; 8 x 100,000 messages into two sinks and the blackbox.
.PHONY: tsan-log
tsan-log:
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tsan RUSTFLAGS=-Zsanitizer=thread QB_TEST_MESSAGES=100000 \
	    $(CARGO) +nightly test -q -Zbuild-std --target x86_64-unknown-linux-gnu -p qb --lib log::tests
