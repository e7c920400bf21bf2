# SPDX-License-Identifier: LGPL-2.1-or-later
"""The table: medians, ratios of the same round, and how far the ratios of the rounds lie apart."""

import os
import platform
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

# Below this a cell counts as slower than the reference.
PARITY = 0.95


@dataclass
class Entry:
    """One column of one row. The ratio is above 1 where this column is better than the first one."""

    median: float
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def ratio(base, value, better):
    good, bad = (base, value) if better == "lower" else (value, base)
    if bad == 0:
        return 1.0 if good == 0 else float("inf")
    return good / bad


def number(x):
    if x is None:
        return "-"
    if x == float("inf"):
        return "inf"
    return f"{x:,.0f}" if x >= 1000 else f"{x:.1f}" if x >= 100 else f"{x:.2f}" if x >= 0.1 or x == 0 else f"{x:.3g}"


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    return f"{len(os.sched_getaffinity(0))} CPUs, {model}, Linux {platform.release()}"


class Watch:
    """How long the run took, and how much of the machine others used meanwhile."""

    def __init__(self, loops=0):
        self.loops = f", beside {loops} busy loops" if loops else ""
        self.start, self.busy, self.own = time.monotonic(), self.machine_busy(), self.own_cpu()

    @staticmethod
    def machine_busy():
        """Seconds that all CPUs together have not been idle."""
        user, nice, system, _, _, irq, softirq, steal, *_ = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def own_cpu():
        uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(u.ru_utime + u.ru_stime for u in uses)

    def text(self):
        took = time.monotonic() - self.start
        others = max(0.0, self.machine_busy() - self.busy - self.own_cpu() + self.own) / (took * (os.cpu_count() or 1))
        return f"{took:.0f} s, {others:.0%} of the CPU time went to other processes{self.loops}"


class Table:
    def __init__(self, results, columns, watch):
        self.columns = columns
        self.remarks = results.remarks
        self.rows = []  # (group, name, unit, better, [Entry or None per column])
        self.rounds = max((len(s) for c in results.values.values() for s in c.values()), default=0)
        self.head = f"{machine()}; up to {self.rounds} rounds; {watch.text()}; {time.strftime('%Y-%m-%d')}"
        for cell, (group, name, unit, better) in results.cells.items():
            series = [results.values[c].get(cell, []) for c in columns]
            self.rows.append((group, name, unit, better, [self.entry(series[0], s, i > 0, better) for i, s in enumerate(series)]))

    @staticmethod
    def entry(base, series, compare, better):
        seen = [v for v in series if v is not None]
        if not seen:
            return None
        e = Entry(statistics.median(seen))
        ratios = [ratio(b, v, better) for b, v in zip(base, series) if b is not None and v is not None]
        if compare and ratios:
            e.ratio, e.low, e.high = statistics.median(ratios), min(ratios), max(ratios)
            if len(ratios) >= 4 and e.high < float("inf"):
                e.low, _, e.high = statistics.quantiles(ratios, n=4, method="inclusive")
        return e

    def groups(self):
        """(group, rows of it), in order of appearance."""
        names = list(dict.fromkeys(row[0] for row in self.rows))
        return [(g, [r for r in self.rows if r[0] == g]) for g in names]

    def lines(self, rows):
        """The cells of a group as text, one list per row, headings first."""
        head = ["cell", "unit", self.columns[0]]
        for c in self.columns[1:]:
            head += [c, "ratio", "spread"]
        result = [head]
        for _, name, unit, better, entries in rows:
            line = [name, unit + (" +" if better == "higher" else ""), number(entries[0] and entries[0].median)]
            for e in entries[1:]:
                if e is None or e.ratio is None:
                    line += [number(e and e.median), "-", "-"]
                else:
                    mark = "" if e.ratio >= PARITY else " !" if e.high < PARITY else " ?"
                    line += [number(e.median), f"{number(e.ratio)}{mark}", f"{number(e.low)}-{number(e.high)}"]
            result.append(line)
        return result

    def summary(self):
        result = []
        for i, column in enumerate(self.columns[1:], 1):
            rated = [(r[0] + "/" + r[1], r[4][i]) for r in self.rows if r[4][i] is not None and r[4][i].ratio is not None]
            slow = [(f"{cell} {number(e.ratio)}", e.high < PARITY) for cell, e in rated if e.ratio < PARITY]
            sure = [text for text, beyond_noise in slow if beyond_noise]
            result.append(f"{column} against {self.columns[0]}: {len(rated)} cells, {len(slow)} below {PARITY}, {len(sure)} of them beyond the noise"
                          + (": " + ", ".join(sure) if sure else ""))
        return result

    NOTE = ("ratio: above 1 is better than the first column, median of the rounds; spread: the middle half of the rounds' ratios; "
            f"+ in the unit: more is better; !: below {PARITY} with its whole spread; ?: below {PARITY}, but perhaps by noise")

    def text(self):
        out = [self.head, self.NOTE]
        for group, rows in self.groups():
            lines = self.lines(rows)
            widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
            out.append(f"\n{group}")
            for line in lines:
                out.append("  ".join(w.ljust(widths[i]) if i < 2 else w.rjust(widths[i]) for i, w in enumerate(line)).rstrip())
        return "\n".join(out + [""] + self.remarks + self.summary())

    def markdown(self):
        out = [self.head + ".", "", self.NOTE + "."]
        for group, rows in self.groups():
            head, *body = self.lines(rows)
            out += ["", f"### {group}", "", "| " + " | ".join(head) + " |", "|---|---|" + "---:|" * (len(head) - 2)]
            out += ["| " + " | ".join(line) + " |" for line in body]
        return "\n".join(out + [""] + [f"* {line.lstrip('# ')}" for line in self.remarks + self.summary()]) + "\n"
