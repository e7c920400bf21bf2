# SPDX-License-Identifier: LGPL-2.1-or-later
# `make demo`: what a user of the installed library does. A private tree is installed into build/demo, the two examples are built
# through pkg-config from that tree alone, and run on shared memory and on sockets.
DEMO := $(B)/demo
DEMO_PREFIX := $(CURDIR)/$(DEMO)
# Only this directory: a libqb of the system must not be found.
DEMO_PC := PKG_CONFIG_LIBDIR=$(DEMO_PREFIX)/lib/pkgconfig PKG_CONFIG_PATH= pkg-config

CHECKS += demo

.PHONY: demo
demo: all
	@tools/need pkg-config pkg-config
	@tools/need python3 python3
	@rm -rf $(DEMO)
	@mkdir -p $(DEMO)/bin
	@$(MAKE) --no-print-directory install PREFIX=$(DEMO_PREFIX) LIBDIR=$(DEMO_PREFIX)/lib INCLUDEDIR=$(DEMO_PREFIX)/include DESTDIR= \
	    INSTALLED_DIRS=$(DEMO)/installed-dirs >/dev/null
	$(CC) $(CFLAGS) -Wall -o $(DEMO)/bin/echo-server examples/echo-server.c $$($(DEMO_PC) --cflags --libs libqb)
	$(CC) $(CFLAGS) -Wall -o $(DEMO)/bin/echo-client examples/echo-client.c $$($(DEMO_PC) --cflags --libs libqb)
	@examples/run-demo $(DEMO)/bin $(DEMO)/lib
