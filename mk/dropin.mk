# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian's Corosync and Pacemaker on our library, in nodes made of namespaces. Needs root and installs packages, so it is
# asked for by name; see c-tests/dropin/run for the scenarios.

.PHONY: check-dropin check-dropin-short
# One node on the reference and on ours, mixed hosts, three nodes on either, and a rolling switch.
check-dropin: all
	c-tests/dropin/run

# One node on ours.
check-dropin-short: all
	c-tests/dropin/run short
