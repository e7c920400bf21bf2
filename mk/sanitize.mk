# SPDX-License-Identifier: LGPL-2.1-or-later
# `make sanitize`: the unit tests and the C tests with AddressSanitizer in the Rust code too. The installed stable compiler has
# the sanitizers behind RUSTC_BOOTSTRAP; the runtime is the C compiler's.
SAN_TARGET := $(shell rustc -vV | sed -n 's/^host: //p')
SAN_DIR := $(B)/asan
SAN_CARGO = RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/asan $(CARGO)
# A test asks for more memory than there is, and gets none.
ASAN_ENV = ASAN_OPTIONS=allocator_may_return_null=1 LSAN_OPTIONS=suppressions=$(CURDIR)/tools/sanitize/lsan.supp RUSTFLAGS="-Zsanitizer=address"
SAN_LIB := $(CARGO_TARGET_DIR)/asan/$(SAN_TARGET)/debug/libqb_capi.a

.PHONY: sanitize asan-rust asan-c asan-lib asan-hostile ubsan-c tsan-ipc
sanitize: asan-rust asan-c asan-hostile ubsan-c tsan-ipc

# What the tests do with memory that faults on purpose is theirs.
ASAN_RUN = ASAN_OPTIONS=detect_leaks=0:handle_sigbus=0:allow_user_segv_handler=1
SAN_LINK = -Wl,-soname,$(SONAME) -Wl,--version-script=capi/libqb.sym -Wl,--gc-sections

asan-rust:
	$(ASAN_ENV) $(SAN_CARGO) test -q -p qb --lib --target $(SAN_TARGET)

# The library and the tests share one runtime, which the test programs bring.
asan-lib:
	RUSTFLAGS="-Zsanitizer=address -Zexternal-clangrt" $(SAN_CARGO) build -q -p qb-capi --target $(SAN_TARGET)
	@mkdir -p $(SAN_DIR)/lib $(SAN_DIR)/c-tests
	$(CC) -shared -o $(SAN_DIR)/lib/$(SOFILE) $(SAN_LINK) \
	    -Wl,--whole-archive $(SAN_LIB) -Wl,--no-whole-archive -lgcc_s -lc -lpthread -ldl -lm
	ln -sf $(SOFILE) $(SAN_DIR)/lib/$(SONAME)
	ln -sf $(SONAME) $(SAN_DIR)/lib/libqb.so

# The sanitizer's allocator has locks, which a thread that is stopped by a signal keeps, and a forked child never gets.
ASAN_SKIP = a_forked_child_logs forks_while_threads_log_do_not_hang a_child_that_was_forked_during_a_dump_can_end_logging \
    a_thread_that_is_stopped_in_a_log_call_stops_nobody_else
asan-c: asan-lib
	for t in $(C_TESTS); do \
	    $(CC) -g $(TEST_CFLAGS) -fsanitize=address -o $(SAN_DIR)/c-tests/$$t c-tests/$$t.c -L$(SAN_DIR)/lib -lqb -pthread || exit 1; done
	QB_SKIP="$(ASAN_SKIP)" ONLY=ours QB_OURS_DIR=$(SAN_DIR)/lib $(ASAN_RUN) c-tests/run-both $(C_TESTS:%=$(SAN_DIR)/c-tests/%)

# The campaign, with all memory of the victims watched.
asan-hostile: asan-lib
	$(CC) -g $(TEST_CFLAGS) -fsanitize=address -o $(SAN_DIR)/c-tests/hostile c-tests/hostile/hostile.c -L$(SAN_DIR)/lib -lqb -pthread
	QB_TEST_LIB=ours LD_LIBRARY_PATH=$(SAN_DIR)/lib $(ASAN_RUN) $(SAN_DIR)/c-tests/hostile --jobs 6

# UndefinedBehaviorSanitizer for what is written in C: the shim, the headers' inline functions and the tests.
UBSAN := -fsanitize=undefined -fno-sanitize-recover=all
UBSAN_DIR := $(B)/ubsan
ubsan-c:
	CFLAGS="-g -O1 $(UBSAN)" CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/ubsan $(CARGO) build -q -p qb-capi
	@mkdir -p $(UBSAN_DIR)/lib $(UBSAN_DIR)/c-tests
	$(CC) -shared $(UBSAN) -o $(UBSAN_DIR)/lib/$(SOFILE) $(SAN_LINK) \
	    -Wl,--whole-archive $(CARGO_TARGET_DIR)/ubsan/debug/libqb_capi.a -Wl,--no-whole-archive -lgcc_s -lc -lpthread -ldl -lm
	ln -sf $(SOFILE) $(UBSAN_DIR)/lib/$(SONAME)
	ln -sf $(SONAME) $(UBSAN_DIR)/lib/libqb.so
	for t in $(C_TESTS); do \
	    $(CC) -g $(TEST_CFLAGS) $(UBSAN) -o $(UBSAN_DIR)/c-tests/$$t c-tests/$$t.c -L$(UBSAN_DIR)/lib -lqb -pthread || exit 1; done
	ONLY=ours QB_OURS_DIR=$(UBSAN_DIR)/lib UBSAN_OPTIONS=print_stacktrace=1 c-tests/run-both $(C_TESTS:%=$(UBSAN_DIR)/c-tests/%)

# ThreadSanitizer over threads that share a connection (c-tests/threads). Linked statically with the runtime that Rust brings;
# the standard library is built as well (see tsan-log).
TSAN_DIR := $(B)/tsan
TSAN_RUNTIME = $(firstword $(wildcard $(shell rustc --print target-libdir)/librustc-*_rt.tsan.a))
tsan-ipc:
	@[ -d "$$(rustc --print sysroot)/lib/rustlib/src/rust" ] || rustup component add rust-src || \
	    { echo "make tsan-ipc: the source of the standard library is missing: rustup component add rust-src"; exit 1; }
	RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/tsan-ipc \
	    RUSTFLAGS="-Zsanitizer=thread -Zexternal-clangrt -Cunsafe-allow-abi-mismatch=sanitizer" CFLAGS="-g -O1 -fsanitize=thread" \
	    $(CARGO) build -q -Zbuild-std --target $(SAN_TARGET) -p qb-capi
	@mkdir -p $(TSAN_DIR)
	$(CC) -g -O1 $(TEST_CFLAGS) -fsanitize=thread -c -o $(TSAN_DIR)/ipc_threads.o c-tests/threads/ipc_threads.c
	$(CC) -o $(TSAN_DIR)/ipc_threads $(TSAN_DIR)/ipc_threads.o $(CARGO_TARGET_DIR)/tsan-ipc/$(SAN_TARGET)/debug/libqb_capi.a \
	    -Wl,--whole-archive $(TSAN_RUNTIME) -Wl,--no-whole-archive -lgcc_s -lpthread -ldl -lrt -lm -lstdc++
	QB_TEST_LIB=ours TSAN_OPTIONS=halt_on_error=1:exitcode=66 $(TSAN_DIR)/ipc_threads
