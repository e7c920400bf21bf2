# SPDX-License-Identifier: LGPL-2.1-or-later
# Logging: the tool qb-blackbox, and the checks beyond c-tests/log.c: what every target receives compared with the reference, blackbox
# files read by both tools, and many threads at once.

CHECKS += check-log
.PHONY: check-log install-blackbox uninstall-blackbox

SBINDIR ?= $(PREFIX)/sbin
MANDIR  ?= $(PREFIX)/share/man
SBIN_DEST = $(DESTDIR)$(SBINDIR)
MAN8_DEST = $(DESTDIR)$(MANDIR)/man8

all: $(B)/sbin/qb-blackbox

$(B)/sbin/qb-blackbox: tools/qb-blackbox.c $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -Wall -Wextra -Werror -Iinclude -o $@ $< $(LDFLAGS) -L$(B)/lib -lqb

$(B)/log-diff/%: c-tests/log-diff/%.c $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -std=gnu11 -Wall -Wextra -Wno-format -Iinclude -o $@ $< -L$(B)/lib -lqb -pthread

check-log: all $(B)/log-diff/log-diff $(B)/log-diff/blackbox $(B)/log-diff/threads
	@c-tests/log-diff/compare $(B)

install-blackbox: | $(if $(wildcard $(B)/sbin/qb-blackbox),,$(B)/sbin/qb-blackbox)
	@INSTALL="$(INSTALL)" tools/mkdirs $(INSTALLED_DIRS) $(SBIN_DEST) $(MAN8_DEST)
	$(INSTALL) -m 755 $(B)/sbin/qb-blackbox $(SBIN_DEST)/qb-blackbox
	$(INSTALL) -m 644 man/qb-blackbox.8 $(MAN8_DEST)/qb-blackbox.8

uninstall-blackbox:
	rm -f $(SBIN_DEST)/qb-blackbox $(MAN8_DEST)/qb-blackbox.8
	@tools/mkdirs --undo $(INSTALLED_DIRS) $(MAN8_DEST) $(SBIN_DEST)

install: install-blackbox
uninstall: uninstall-blackbox

# 8 x 100,000 messages into two sinks and the blackbox, with the sanitizer that the stable compiler has behind RUSTC_BOOTSTRAP. The
# standard library is built as well: its locks and channels look like races to the sanitizer otherwise. That needs its source.
.PHONY: tsan-log
tsan-log:
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/src/rust" ] || rustup component add rust-src || \
	    { echo "make tsan-log: the source of the standard library is missing: rustup component add rust-src"; exit 1; }
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tsan QB_TEST_MESSAGES=100000 \
	    RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) test -q -Zbuild-std --target $(SAN_TARGET) -p qb --lib log::tests
