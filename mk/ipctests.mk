# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the IPC headers beyond one program per header: the interop matrix, a GLib-driven server, injected faults, leaks.

IPC_KIT := $(addprefix c-tests/,check.h miniloop.h ipckit.h ipckit_shared.h ipckit_server.h ipc_scenarios.h)
$(B)/c-tests/ipcc $(B)/c-tests/ipcs: $(IPC_KIT)

# Programs in folders of c-tests/ are built like the others; where they run is decided by the script beside them.
define ipc_program
$(B)/c-tests/$(notdir $(1)): c-tests/$(1).c $(IPC_KIT) $(2) | $(B)/lib/$(SONAME)
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) $(3) -o $$@ $$< -L$(B)/lib -lqb -pthread $(4)
endef

$(eval $(call ipc_program,interop/interop))

.PHONY: check-interop
check-interop: $(B)/c-tests/interop
	c-tests/interop/run

CHECKS += check-interop
