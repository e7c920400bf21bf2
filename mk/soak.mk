# SPDX-License-Identifier: LGPL-2.1-or-later
# A long time under load: `make soak`, or `make soak MINUTES=20 SOAK_SVG=docs/soak.svg`. As root, like the drop-in check.

MINUTES  ?= 60
SOAK_SVG ?= $(B)/soak.svg

$(B)/soak/echo-%: examples/echo-%.c examples/echo.h $(wildcard include/qb/*.h) | $(B)/lib/$(SONAME)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Wall -Iinclude -o $@ $< -L$(B)/lib -lqb

$(B)/soak/crm-ipc: $(B)/dropin/crm-ipc
	@mkdir -p $(@D)
	cp $< $@

.PHONY: soak
soak: all $(B)/soak/echo-server $(B)/soak/echo-client $(B)/soak/crm-ipc
	c-tests/dropin/run --only-install
	c-tests/soak/run --minutes $(MINUTES) --programs $(B)/soak --svg $(SOAK_SVG)
