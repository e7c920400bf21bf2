# SPDX-License-Identifier: LGPL-2.1-or-later
# `make bench` compares the reference with ours and prints a table; see bench/README.md.
#   ONLY=PATTERN    cells to measure, a shell pattern on GROUP/NAME, e.g. ONLY='ipc-shm-*/rtt-64*'
#   ROUNDS=N        how often every library is measured (5; 3 with QUICK=1)
#   QUICK=1         about five minutes, for a first look
#   MIXED=1         two more columns: our server with a client on the reference, and the other way round
#   BUSY=N          beside N processes that only compute
#   MARKDOWN=FILE   the table as Markdown as well;  SVG=DIR  one chart per group;  BENCH_ARGS  anything else of bench/run
BENCH_PROGRAMS := $(patsubst bench/%.c,%,$(wildcard bench/*.c))
BENCH_BINARIES := $(BENCH_PROGRAMS:%=$(B)/bench/%)
# One binary for all libraries. Linked against ours, unless told otherwise.
BENCH_LIBDIR ?= $(B)/lib
BENCH_INCLUDE ?= include
BENCH_CFLAGS := -std=gnu11 -O2 -Wall -Wextra -Werror -I$(BENCH_INCLUDE)

CHECKS += bench-smoke

# A program bench/NAME.c may have more files in bench/NAME/.
define BENCH_RULE
$(B)/bench/$(1): bench/$(1).c bench/bench.h $(wildcard bench/$(1)/*.[ch]) | $(B)/lib/$(SONAME)
	@mkdir -p $$(@D)
	$$(CC) $$(BENCH_CFLAGS) -o $$@ $$(filter %.c,$$^) -L$$(BENCH_LIBDIR) -lqb -pthread
endef
$(foreach p,$(BENCH_PROGRAMS),$(eval $(call BENCH_RULE,$(p))))

.PHONY: bench bench-smoke
bench: $(BENCH_BINARIES)
	bench/run $(if $(ONLY),--only '$(ONLY)') $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(QUICK),--quick) $(if $(MIXED),--mixed) $(if $(BUSY),--busy $(BUSY)) \
	    $(if $(MARKDOWN),--markdown $(MARKDOWN)) $(if $(SVG),--svg $(SVG)) $(BENCH_ARGS) $(BENCH_PROGRAMS)

# The published figures: every column, many rounds, about half an hour; ROUNDS=2 took eleven and a half minutes.
.PHONY: bench-docs
bench-docs: $(BENCH_BINARIES)
	@mkdir -p docs/bench
	bench/run --mixed --rounds $(or $(ROUNDS),5) --markdown $(B)/bench.md --svg docs/bench $(BENCH_ARGS) $(BENCH_PROGRAMS)
	bench/publish $(B)/bench.md docs/bench docs/bench.md

# Instructions and code of one round trip; needs valgrind.
.PHONY: footprint
footprint: $(B)/bench/ipc
	@bench/footprint

# Every program, both libraries, the smallest counts: does each cell yield a number?
bench-smoke: $(BENCH_BINARIES)
	@bench/run --smoke $(BENCH_ARGS) $(BENCH_PROGRAMS)
