# SPDX-License-Identifier: LGPL-2.1-or-later
# Manual pages of section 3, from the comments of the public headers.

MANDIR   ?= $(PREFIX)/share/man
MAN_DEST  = $(DESTDIR)$(MANDIR)/man3
MAN_DIR  := $(B)/man
CHECKS   += check-man
.PHONY: man check-man install-man uninstall-man

man:
	@python3 tools/mkman.py include/qb $(MAN_DIR) $(ABI_VERSION)

# A page for every function that a header declares, and nothing that groff complains about.
check-man: man
	@for name in $$(sed -nE 's/^(qb_[a-z0-9_]+);$$/\1/p' capi/libqb.sym); do \
	    ! grep -qsE "^[a-z].*\<$$name\(" include/qb/*.h || [ -s $(MAN_DIR)/$$name.3 ] || \
	        { echo "check-man: no page for $$name"; exit 1; }; done
	@for page in $(MAN_DIR)/*.3 man/*.8; do \
	    out=$$(groff -ww -man -z $$page 2>&1); [ -z "$$out" ] || { echo "$$page: $$out"; exit 1; }; done
	@echo "check-man: $$(ls $(MAN_DIR) | wc -l) pages without warnings"

install-man: man
	@INSTALL="$(INSTALL)" tools/mkdirs $(INSTALLED_DIRS) $(MAN_DEST)
	$(INSTALL) -m 644 $(MAN_DIR)/*.3 $(MAN_DEST)

uninstall-man:
	for page in $(notdir $(wildcard $(MAN_DIR)/*.3)); do rm -f $(MAN_DEST)/$$page; done
	@tools/mkdirs --undo $(INSTALLED_DIRS) $(MAN_DEST)

install: install-man
uninstall: uninstall-man
