# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the IPC headers beyond one program per header: the interop matrix, a GLib-driven server, injected faults, leaks.

IPC_KIT := $(addprefix c-tests/,check.h miniloop.h ipckit.h ipckit_shared.h ipckit_server.h ipckit_run.h ipckit_acts.h ipckit_ext.h ipc_ext_end.h ipc_scenarios.h ipc_scenarios_end.h ipc_scenarios_wait.h ipc_scenarios_who.h ipcs_leaving.h)
$(B)/c-tests/ipcc $(B)/c-tests/ipcs $(B)/c-tests/ipc_limits $(B)/c-tests/ipc_fork $(B)/c-tests/ipc_arguments $(B)/c-tests/ipcs_callbacks $(B)/c-tests/ipc_ext: $(IPC_KIT)

# Programs in folders of c-tests/ are built like the others; where they run is decided by the script beside them.
define ipc_program
$(B)/c-tests/$(notdir $(1)): c-tests/$(1).c $(IPC_KIT) $(2) | $(B)/lib/$(SONAME)
	@mkdir -p $$(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) $(3) -o $$@ $$< -L$(B)/lib -lqb -pthread $(4)
endef

$(eval $(call ipc_program,interop/interop))
$(eval $(call ipc_program,leaks/leaks))
$(eval $(call ipc_program,faults/faults))
$(eval $(call ipc_program,faults/log_faults))
$(eval $(call ipc_program,threads/ipc_threads))
$(eval $(call ipc_program,glib/glib-server,$(B)/have-glib,$$$$(pkg-config --cflags glib-2.0),$$$$(pkg-config --libs glib-2.0)))

$(B)/have-glib:
	@mkdir -p $(@D)
	@pkg-config --exists glib-2.0 || { apt-get update -qq && apt-get install -y -qq libglib2.0-dev pkg-config; } || \
	    { echo "the GLib test needs glib-2.0: apt-get install libglib2.0-dev pkg-config" >&2; exit 1; }
	@touch $@

REFERENCE_DIR = $(or $(QB_REFERENCE_DIR),$(shell c-tests/reference-dir))
ON_OURS := QB_TEST_LIB=ours LD_LIBRARY_PATH=$(CURDIR)/$(B)/lib
# How often `make check-leaks` and `make soak-connect` connect, and how many clients they kill, per transport.
LEAK_CYCLES ?= 2000
LEAK_KILLS  ?= 50
SOAK_CYCLES ?= 20000
SOAK_KILLS  ?= 200

.PHONY: check-interop check-glib check-faults check-leaks check-threads soak-connect valgrind-c
check-interop: $(B)/c-tests/interop
	c-tests/interop/run

check-glib: $(B)/c-tests/glib-server
	QB_TEST_LIB=reference LD_LIBRARY_PATH=$(REFERENCE_DIR) $<
	$(ON_OURS) $<

check-faults: $(B)/c-tests/faults $(B)/c-tests/log_faults
	$(ON_OURS) $<
	$(ON_OURS) $(B)/c-tests/log_faults

check-threads: $(B)/c-tests/ipc_threads
	$(ON_OURS) $<

check-leaks: $(B)/c-tests/leaks
	$(ON_OURS) $< $(LEAK_CYCLES) $(LEAK_KILLS)

soak-connect: $(B)/c-tests/leaks
	$(ON_OURS) $< $(SOAK_CYCLES) $(SOAK_KILLS)

# Memory errors and definite leaks in client and server alike; slow, so not part of `make check`. Its threads take turns fairly, or one
# that never waits would keep the others from theirs.
VALGRIND := valgrind -q --fair-sched=try --num-callers=40 --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --suppressions=c-tests/valgrind.supp
# It keeps the last real-time signal for itself, makes everything use more processor time, does not go on after a fault that a
# handler has mended, and wants all of a length that is given to recv(), which no message has.
VALGRIND_SKIP := the_last_real_time_signal_is_handled waiting_for_a_timer_takes_no_processor_time truncated_files_are_an_error \
    any_length_is_long_enough [socket]
valgrind-c: all $(C_TESTS:%=$(B)/c-tests/%)
	@command -v valgrind > /dev/null || { apt-get update -qq && apt-get install -y -qq valgrind; } || \
	    { echo "valgrind-c needs valgrind: apt-get install valgrind" >&2; exit 1; }
	@for t in $(C_TESTS); do \
	    echo "valgrind $$t"; QB_SKIP="$(VALGRIND_SKIP)" QB_WATCHDOG=280 $(ON_OURS) $(VALGRIND) $(B)/c-tests/$$t > $(B)/valgrind-$$t.log 2>&1 || \
	        { grep -v '^ok ' $(B)/valgrind-$$t.log; exit 1; }; grep '^skipped' $(B)/valgrind-$$t.log || true; \
	done

CHECKS += check-interop check-glib check-faults check-leaks check-threads
