# SPDX-License-Identifier: LGPL-2.1-or-later
# Sealed memory beyond the IPC tests: inherited connections (`make check-fork`), many connections (`make check-scale`), and delays between
# all steps of its protocol (`make stress-sealed`; a short form of that is a unit test).

$(B)/c-tests/sealed/%: c-tests/sealed/%.c c-tests/sealed/serve.h $(IPC_KIT) $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B)/lib -lqb -pthread

# `make check` has the smaller numbers; `make check-scale-full` goes as far as the limit on descriptors lets it.
SCALE_CONNECTIONS ?= 1000
SCALE_DESCRIPTORS ?= 2000
# In all, a third each for bytes on the stream, futexes, and clients with a service.
STRESS_MESSAGES ?= 100000000

# Both carriers of shared memory: the classic wire has a run of its own.
check-faults: check-faults-classic
check-leaks: check-leaks-classic
check-faults-classic: $(B)/c-tests/faults
	LIBQB_SEALED=0 $(ON_OURS) $<

check-leaks-classic: $(B)/c-tests/leaks
	LIBQB_SEALED=0 $(ON_OURS) $< $(LEAK_CYCLES) $(LEAK_KILLS)

check-callbacks-classic: all $(B)/c-tests/ipcs_callbacks
	LIBQB_SEALED=0 $(ON_OURS) $(B)/c-tests/ipcs_callbacks

CHECKS += check-fork check-scale check-callbacks-classic
.PHONY: check-callbacks-classic check-faults-classic check-leaks-classic check-fork check-scale check-scale-full stress-sealed tsan-sealed asan-sealed
check-fork: all $(B)/c-tests/sealed/fork
	@$(ON_OURS) $(B)/c-tests/sealed/fork
	@LIBQB_SEALED=0 $(ON_OURS) $(B)/c-tests/sealed/fork

check-scale: all $(B)/c-tests/sealed/scale
	@$(ON_OURS) $(B)/c-tests/sealed/scale $(SCALE_CONNECTIONS) $(SCALE_DESCRIPTORS)

check-scale-full: all $(B)/c-tests/sealed/scale
	$(ON_OURS) $(B)/c-tests/sealed/scale

stress-sealed:
	QB_STRESS_MESSAGES=$$(($(STRESS_MESSAGES) / 3)) $(CARGO) test -q --release -p qb --lib stress_tests -- --nocapture

# The delays and the random values under the sanitizers; see tsan-log and asan-rust for what that takes.
tsan-sealed:
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/src/rust" ] || rustup component add rust-src || \
	    { echo "make tsan-sealed: the source of the standard library is missing: rustup component add rust-src"; exit 1; }
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tsan QB_STRESS_MESSAGES=100000 \
	    RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
	    $(CARGO) test -q -Zbuild-std --target $(SAN_TARGET) -p qb --lib stress_tests

asan-sealed:
	LSAN_OPTIONS=suppressions=$(CURDIR)/tools/sanitize/lsan.supp RUSTFLAGS="-Zsanitizer=address" QB_PROPERTY_STEPS=300000 \
	    $(SAN_CARGO) test -q -p qb --lib --target $(SAN_TARGET) -- hostile_tests stress_tests lane::
