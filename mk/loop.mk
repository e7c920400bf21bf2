# SPDX-License-Identifier: LGPL-2.1-or-later
# The tests of the main loop share a header.
$(patsubst c-tests/%.c,$(B)/c-tests/%,$(wildcard c-tests/loop*.c)): c-tests/loop-help.h
