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
	LIBQB_SEALED=0 $(ON_OURS) $(HOSTILE) --full
	@[ $$(id -u) != 0 ] || { echo "as nobody:"; d=$$(mktemp -d) && chmod 755 $$d && cp -L $(B)/lib/$(SONAME) $(HOSTILE) $$d && \
	    setpriv --reuid=65534 --regid=65534 --clear-groups env QB_TEST_LIB=ours LD_LIBRARY_PATH=$$d $$d/hostile --full; rc=$$?; rm -rf $$d; exit $$rc; }

# The property test for HOURS, a third of it for each transport: any value in any shared word at any time. PROPERTY_SEED=N
# repeats a run, QB_PROPERTY_ONLY=Sealed, SharedMemory or Socket runs one part; `make asan-property` is the same with AddressSanitizer.
HOURS ?= 1
PROPERTY_SEED ?=
PROPERTY_ENV = QB_PROPERTY_SECONDS=$$(awk 'BEGIN { printf "%d", $(HOURS) * 1200 }') $(if $(PROPERTY_SEED),QB_PROPERTY_SEED=$(PROPERTY_SEED))
.PHONY: property asan-property
property:
	$(PROPERTY_ENV) $(CARGO) test -q --release -p qb --lib hostile_tests -- --nocapture

asan-property:
	$(PROPERTY_ENV) $(ASAN_ENV) $(SAN_CARGO) test -q -p qb --lib --target $(SAN_TARGET) hostile_tests -- --nocapture
