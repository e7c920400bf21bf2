# SPDX-License-Identifier: LGPL-2.1-or-later
# `make fuzz`: each target of fuzz/ for FUZZ_SECONDS, from its seeds. The installed stable compiler has what is needed behind
# RUSTC_BOOTSTRAP.
#   FUZZ_TARGETS='...'  some of them only
FUZZ_SECONDS ?= 200
FUZZ_TARGETS ?= $(patsubst fuzz/fuzz_targets/%.rs,%,$(wildcard fuzz/fuzz_targets/*.rs))
# The sanitizer's own reading of printf formats runs past the end of incomplete ones.
FUZZ_CARGO = ASAN_OPTIONS=check_printf=0 RUSTC_BOOTSTRAP=1 $(CARGO) fuzz
FUZZ_DIR = $(abspath $(CARGO_TARGET_DIR))/fuzz

.PHONY: fuzz
fuzz:
	@cargo-fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked -q --target-dir $(FUZZ_DIR)/tool cargo-fuzz || \
	    { echo "make fuzz: cargo-fuzz is missing and could not be installed: cargo install cargo-fuzz"; exit 1; }
	@for t in $(FUZZ_TARGETS); do \
	    mkdir -p $(FUZZ_DIR)/corpus/$$t; \
	    echo "make fuzz: $$t for $(FUZZ_SECONDS) seconds"; \
	    $(FUZZ_CARGO) run --target-dir $(FUZZ_DIR) $$t $(FUZZ_DIR)/corpus/$$t fuzz/seeds/$$t -- \
	        -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -verbosity=0 -timeout=20 || exit 1; \
	done
	@echo "make fuzz: nothing found"

# The seeds, and forty changes of each, without the fuzzer: the same ones each time.
CHECKS += check-seeds
.PHONY: check-seeds
check-seeds:
	$(CARGO) fmt --check -p qb-fuzz-cases
	$(CARGO) clippy -q -p qb-fuzz-cases --all-targets -- -D warnings
	$(CARGO) test -q -p qb-fuzz-cases
