# SPDX-License-Identifier: LGPL-2.1-or-later
# Hostile peers against our library (see SECURITY.md): `make check-hostile` in full, `make check-hostile-short` in `make check`.

HOSTILE := $(B)/c-tests/hostile
$(HOSTILE): $(wildcard c-tests/hostile/*.[ch]) c-tests/miniloop.h $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) -o $@ c-tests/hostile/hostile.c -L$(B)/lib -lqb -pthread

CHECKS += check-hostile-short
.PHONY: check-hostile check-hostile-short
check-hostile-short: all $(HOSTILE)
	@$(ON_OURS) $(HOSTILE)

check-hostile: all $(HOSTILE)
	$(ON_OURS) $(HOSTILE) --full
	$(ON_OURS) $(HOSTILE) --full --own-loop
