# SPDX-License-Identifier: LGPL-2.1-or-later
# Manual pages of section 3, from the comments of the public headers. They need python3, so `make` leaves them out where
# that is missing; `make install` makes only what is not there, or older than the headers.

MANDIR   ?= $(PREFIX)/share/man
MAN_DEST  = $(DESTDIR)$(MANDIR)/man3
MAN_DIR  := $(B)/man
MAN_DONE := $(MAN_DIR)/.done
CHECKS   += check-man
.PHONY: man need-man check-man install-man uninstall-man

man: $(MAN_DONE)
all: $(if $(shell command -v python3 2>/dev/null),$(MAN_DONE))

$(MAN_DONE): tools/mkman.py $(wildcard include/qb/*.h)
	@command -v python3 >/dev/null || { echo "manual pages are made with python3, which is missing" >&2; exit 1; }
	@rm -rf $(MAN_DIR)
	@python3 tools/mkman.py include/qb $(MAN_DIR) $(ABI_VERSION)
	@touch $@

need-man:
	@tools/need python3 python3
	@tools/need groff groff-base

# A page for every function that a header declares, and nothing that groff complains about.
check-man: need-man $(MAN_DONE)
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
