# SPDX-License-Identifier: LGPL-2.1-or-later
# The public headers: `make headers` writes include/qb from capi/headers and capi/src, `make check-headers` fails when
# the committed ones differ and compiles each header alone in every dialect that a consumer may use.

HEADERGEN := $(CARGO) run -q -p headergen --
CHECKS += check-headers
.PHONY: headers check-headers

headers:
	$(HEADERGEN) include/qb

check-headers:
	@mkdir -p $(B)
	@rm -rf $(B)/headers && $(HEADERGEN) $(B)/headers/qb
	@diff -ru include/qb $(B)/headers/qb || \
	    { echo "check-headers: include/qb is not what capi/ says; run 'make headers' and commit"; exit 1; }
	@CC="$(CC)" CXX="$(CXX)" tools/check-headers include
