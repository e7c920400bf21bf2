# SPDX-License-Identifier: LGPL-2.1-or-later
# Random drivers of the main loop and of ring buffers: the same operations on the reference and on ours must have the same results.

CHECKS += check-random
.PHONY: check-random

$(B)/c-tests/random-%: c-tests/random/%.c c-tests/random/random.h $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B)/lib -lqb

check-random: all $(B)/c-tests/random-loop $(B)/c-tests/random-ring
	@c-tests/random/compare
