# SPDX-License-Identifier: LGPL-2.1-or-later
# `make install` and `make uninstall`, with PREFIX, LIBDIR, INCLUDEDIR and DESTDIR. Libraries that `make` has built are
# installed as they are, so that `make && sudo make install` needs no compiler as root.

LIB_DEST       = $(DESTDIR)$(LIBDIR)
HEADER_DEST    = $(DESTDIR)$(INCLUDEDIR)/qb
PKGCONFIG_DEST = $(DESTDIR)$(LIBDIR)/pkgconfig
PUBLIC_HEADERS := $(sort $(notdir $(wildcard include/qb/*.h)))
# Directories that did not exist before: uninstall removes them again when nothing else has moved in.
INSTALLED_DIRS := $(B)/installed-dirs
# The paths of the .pc file stay relative to its prefix where they can.
relative = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))

CHECKS += check-install
.PHONY: install uninstall check-install

install: $(if $(and $(wildcard $(B)/lib/$(SOFILE)),$(wildcard $(B)/lib/libqb.a)),,all)
	@INSTALL="$(INSTALL)" tools/mkdirs $(INSTALLED_DIRS) $(LIB_DEST) $(HEADER_DEST) $(PKGCONFIG_DEST)
	$(INSTALL) -m 755 $(B)/lib/$(SOFILE) $(LIB_DEST)/$(SOFILE)
	ln -sf $(SOFILE) $(LIB_DEST)/$(SONAME)
	ln -sf $(SONAME) $(LIB_DEST)/libqb.so
	$(INSTALL) -m 644 $(B)/lib/libqb.a $(LIB_DEST)/libqb.a
	$(INSTALL) -m 644 $(PUBLIC_HEADERS:%=include/qb/%) $(HEADER_DEST)
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(call relative,$(LIBDIR))|' -e '/^# SPDX/d' \
	    -e 's|@INCLUDEDIR@|$(call relative,$(INCLUDEDIR))|' -e 's|@VERSION@|$(ABI_VERSION)|' \
	    pkgconfig/libqb.pc.in > $(PKGCONFIG_DEST)/libqb.pc
	chmod 644 $(PKGCONFIG_DEST)/libqb.pc

uninstall:
	rm -f $(LIB_DEST)/$(SOFILE) $(LIB_DEST)/$(SONAME) $(LIB_DEST)/libqb.so $(LIB_DEST)/libqb.a
	rm -f $(PUBLIC_HEADERS:%=$(HEADER_DEST)/%) $(PKGCONFIG_DEST)/libqb.pc
	@tools/mkdirs --undo $(INSTALLED_DIRS) $(HEADER_DEST) $(LIB_DEST) $(PKGCONFIG_DEST)

check-install: all
	@MAKE="$(MAKE)" CC="$(CC)" tools/check-install $(abspath $(B))
