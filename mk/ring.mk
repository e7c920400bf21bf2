# SPDX-License-Identifier: LGPL-2.1-or-later
# Rings: processes on the reference and on ours share them (`make check-ring-mixed`), and the protocol under the model
# checker (`make loom`).

CHECKS += check-ring-mixed loom
.PHONY: check-ring-mixed loom

$(B)/c-tests/rb $(B)/c-tests/rb-files: c-tests/rb-common.h c-tests/rb-shared.h

$(B)/c-tests/mixed/ring: c-tests/mixed/ring.c c-tests/check.h $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B)/lib -lqb -pthread

check-ring-mixed: all $(B)/c-tests/mixed/ring
	@c-tests/mixed/run-ring $(B)/c-tests/mixed/ring

# Optimised, because the checker runs thousands of interleavings; its own directory, because the flag rebuilds everything.
loom:
	RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/loom $(CARGO) test -q --release -p qb --lib loom_
