# SPDX-License-Identifier: LGPL-2.1-or-later
# The containers' random driver: the same operations on the reference and on ours must have the same results.

CHECKS += check-containers
.PHONY: check-containers

$(B)/c-tests/containers-random: c-tests/containers/random.c c-tests/random/random.h $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ $< -L$(B)/lib -lqb

check-containers: all $(B)/c-tests/containers-random
	@c-tests/containers/compare
