# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counting of `ok` and `FAIL` lines, and waiting with a bound."""
import sys
import time


class Report:
    """What a run has shown so far. `context` names the scenario that the next lines belong to."""

    def __init__(self):
        self.passed = 0
        self.failed = 0
        self.context = ""
        self.figures = {}
        self.on_failure = None

    def check(self, holds, claim, detail=""):
        """Prints one line for `claim` and, when it does not hold, `detail` and the nodes' log tails."""
        if holds:
            self.passed += 1
            print(f"ok   {self.context}: {claim}", flush=True)
            return True
        self.failed += 1
        print(f"FAIL {self.context}: {claim}", flush=True)
        if detail:
            print("     " + str(detail)[-2000:].replace("\n", "\n     "), flush=True)
        if self.on_failure:
            self.on_failure()
        return False

    def figure(self, name, value, unit):
        """Keeps a measured value for the table at the end."""
        self.figures.setdefault((name, unit), {})[self.context] = value
        print(f"     {self.context}: {name} {value:.2f} {unit}", flush=True)

    def finish(self):
        """Prints the figures and the summary line; returns the exit status."""
        for (name, unit), values in self.figures.items():
            for context, value in values.items():
                print(f"figure {name} [{unit}] {context}: {value:.2f}")
        print(f"{self.passed} passed, {self.failed} failed")
        sys.stdout.flush()
        return 1 if self.failed or not self.passed else 0


def wait_until(condition, seconds, step=0.5):
    """Polls `condition` until it returns something true, which is returned, or until `seconds` have gone."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            return None
        time.sleep(step)
