# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian's Corosync and Pacemaker on our library, in nodes made of namespaces. Needs root and installs packages, so it is
# asked for by name; see c-tests/dropin/run for the scenarios.

# A program against Pacemaker's own library, built once and run on the nodes.
$(B)/have-pacemaker-dev:
	@mkdir -p $(@D)
	@pkg-config --exists pacemaker libxml-2.0 glib-2.0 || \
	    { apt-get update -qq && apt-get install -y -qq --no-install-recommends pacemaker-dev libxml2-dev libglib2.0-dev pkg-config; } || \
	    { echo "the drop-in check needs pacemaker-dev: apt-get install pacemaker-dev" >&2; exit 1; }
	@touch $@

$(B)/dropin/crm-ipc: c-tests/dropin/crm-ipc.c c-tests/check.h $(B)/have-pacemaker-dev
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(TEST_CFLAGS) $$(pkg-config --cflags pacemaker libxml-2.0 glib-2.0) -I/usr/include/pacemaker -o $@ $< \
	    -lcrmcommon -lcib $$(pkg-config --libs libxml-2.0 glib-2.0)

.PHONY: check-dropin check-dropin-short
# One node on the reference and on ours, mixed hosts, three nodes on either, other programs, and a rolling switch.
check-dropin: all $(B)/dropin/crm-ipc
	c-tests/dropin/run --ipc-program $(B)/dropin/crm-ipc

# One node and USBGuard on ours.
check-dropin-short: all $(B)/dropin/crm-ipc
	c-tests/dropin/run --ipc-program $(B)/dropin/crm-ipc short usbguard-ours
