# SPDX-License-Identifier: LGPL-2.1-or-later
"""One SVG chart per group: how many times better each column is than the first one, on a logarithmic scale.

The cells of a group have different units, so the bars show ratios; the medians behind them are written next to the bars.
"""

import math
from html import escape

from report import PARITY, number

LABEL, PLOT, RATIO, NOTE = 190, 360, 80, 210  # widths of the parts
BAR, GAP, TOP, BOTTOM = 13, 9, 62, 30
COLOURS = ["#2b6cb0", "#dd8a1d", "#6b8e23", "#8e5aa8", "#777777"]
SLOWER, PERHAPS = "#c0392b", "#e0a39c"  # beyond the noise, or not
LIMIT = 6  # a bar beyond 64 times ends in an arrow: one such cell would squeeze all others


def scale(ratios):
    """Powers of two that hold all ratios up to the limit, with at least one step to each side."""
    finite = [math.log2(r) for r in ratios if 0 < r < math.inf]
    if any(r == math.inf for r in ratios):
        finite.append(LIMIT)
    return max(-LIMIT, min(-1, math.floor(min(finite, default=0)))), min(LIMIT, max(1, math.ceil(max(finite, default=0))))


def quantity(value, unit):
    """Times in the unit that suits them."""
    steps = ["ns", "us", "ms"]
    if unit in steps:
        at = steps.index(unit)
        while value >= 1000 and at + 1 < len(steps):
            value, at = value / 1000, at + 1
        unit = "µs" if steps[at] == "us" else steps[at]
    return f"{number(value)} {'/s' if unit == 'per-s' else unit}"


def bar(ratio, x, y, colour, low, high):
    """From 1 to the ratio; an arrow at the end says that it goes on."""
    left, right = sorted((x(1), x(ratio)))
    shape = f'<rect x="{left:.1f}" y="{y + 1}" width="{max(right - left, 1):.1f}" height="{BAR - 2}" fill="{colour}"/>'
    if low <= (math.log2(ratio) if 0 < ratio < math.inf else math.inf) <= high:
        return shape
    end, by = (right, 6) if ratio > 1 else (left, -6)
    return shape + f'<path d="M{end:.1f},{y + 1} l{by},{BAR / 2 - 1} l{-by},{BAR / 2 - 1} z" fill="{colour}"/>'


def text(x, y, content, anchor="start", size=11, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {extra}>{escape(content)}</text>'


def chart(group, rows, columns, head):
    rows = [r for r in rows if any(e is not None and e.ratio is not None for e in r[4][1:])]
    if not rows:
        return None
    low, high = scale([e.ratio for r in rows for e in r[4][1:] if e is not None and e.ratio is not None])

    def x(ratio):
        power = math.log2(ratio) if 0 < ratio < math.inf else math.copysign(math.inf, ratio - 1)
        return LABEL + PLOT * (min(max(power, low), high) - low) / (high - low)

    count = len(columns) - 1
    step = count * BAR + GAP
    height = TOP + len(rows) * step + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + PLOT + RATIO + NOTE}" height="{height}" font-family="sans-serif" fill="#222">',
           f'<title>{escape(group)}</title><rect width="100%" height="100%" fill="white"/>',
           text(10, 20, f"{group}: times better than {columns[0]}", size=14, extra='font-weight="bold"'),
           text(10, 36, head, size=9, extra='fill="#666"')]
    legend = [(COLOURS[i % len(COLOURS)], name) for i, name in enumerate(columns[1:])]
    worse = [e for r in rows for e in r[4][1:] if e is not None and e.ratio is not None and e.ratio < PARITY]
    legend += [(SLOWER, "worse")] if any(e.high < PARITY for e in worse) else []
    legend += [(PERHAPS, "worse, perhaps by noise")] if any(e.high >= PARITY for e in worse) else []
    at = 10
    for colour, name in legend:
        out.append(f'<rect x="{at}" y="44" width="9" height="9" fill="{colour}"/>')
        out.append(text(at + 13, 52, name, size=10))
        at += round(26 + 5.3 * len(name))
    out.append(text(LABEL + PLOT + RATIO + 8, 52, f"{columns[0]} → this library", size=10, extra='fill="#666"'))
    for power in range(low, high + 1):
        at, mark = x(2.0**power), "#222" if power == 0 else "#ddd"
        out.append(f'<line x1="{at:.1f}" y1="{TOP - 4}" x2="{at:.1f}" y2="{height - BOTTOM + 2}" stroke="{mark}"/>')
        out.append(text(at, height - BOTTOM + 15, f"{2**power}" if power >= 0 else f"1/{2**-power}", "middle", 10))
    for i, (_, name, unit, _, entries) in enumerate(rows):
        y = TOP + i * step
        out.append(text(LABEL - 8, y + count * BAR / 2 + 4, name, "end"))
        for k, e in enumerate(entries[1:]):
            if e is None or e.ratio is None:
                continue
            colour = COLOURS[k % len(COLOURS)] if e.ratio >= PARITY else SLOWER if e.high < PARITY else PERHAPS
            bar_y = y + k * BAR
            out.append(bar(e.ratio, x, bar_y, colour, low, high))
            base = quantity(entries[0].median, unit) if entries[0] else "-"
            out.append(text(LABEL + PLOT + RATIO - 4, bar_y + BAR - 3, f"{number(e.ratio)} ×", "end", 10, 'font-weight="bold"'))
            out.append(text(LABEL + PLOT + RATIO + 8, bar_y + BAR - 3, f"{base} → {quantity(e.median, unit)}", size=10))
    return "\n".join(out + ["</svg>", ""])


def write(table, directory):
    directory.mkdir(parents=True, exist_ok=True)
    for group, rows in table.groups():
        svg = chart(group, rows, table.columns, table.head)
        if svg is not None:
            (directory / f"{group}.svg").write_text(svg, encoding="utf-8")
