# SPDX-License-Identifier: LGPL-2.1-or-later
"""One SVG chart per group: how many times better each column is than the first one, on a logarithmic scale.

The cells of a group have different units, so the bars show ratios; the medians behind them are written next to the bars.
"""

import math
from html import escape

from report import PARITY, number

LABEL, PLOT, NOTE = 190, 380, 230  # widths of the three parts
BAR, GAP, TOP, BOTTOM = 13, 9, 58, 30
COLOURS = ["#2b6cb0", "#dd8a1d", "#6b8e23", "#8e5aa8", "#777777"]
SLOWER = "#c0392b"


def scale(ratios):
    """Powers of two that hold all finite ratios, with at least one step to each side."""
    finite = [math.log2(r) for r in ratios if 0 < r < math.inf]
    return min(-1, math.floor(min(finite, default=0))), max(1, math.ceil(max(finite, default=0)))


def text(x, y, content, anchor="start", size=11, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" {extra}>{escape(content)}</text>'


def chart(group, rows, columns, head):
    rows = [r for r in rows if any(e is not None and e.ratio is not None for e in r[4][1:])]
    if not rows:
        return None
    low, high = scale([e.ratio for r in rows for e in r[4][1:] if e is not None and e.ratio is not None])

    def x(ratio):
        return LABEL + PLOT * (min(max(math.log2(ratio), low), high) - low) / (high - low) if 0 < ratio < math.inf else LABEL + PLOT

    count = len(columns) - 1
    step = count * BAR + GAP
    height = TOP + len(rows) * step + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + PLOT + NOTE}" height="{height}" font-family="sans-serif" fill="#222">',
           f'<title>{escape(group)}</title><rect width="100%" height="100%" fill="white"/>',
           text(10, 20, f"{group}: times better than {columns[0]}", size=14, extra='font-weight="bold"'),
           text(10, 36, head, size=9, extra='fill="#666"')]
    for i, name in enumerate(columns[1:]):
        out.append(f'<rect x="{LABEL + i * 130}" y="42" width="9" height="9" fill="{COLOURS[i % len(COLOURS)]}"/>')
        out.append(text(LABEL + i * 130 + 13, 50, name, size=10))
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
            left, right = sorted((x(1), x(e.ratio)))
            colour = COLOURS[k % len(COLOURS)] if e.ratio >= PARITY else SLOWER
            bar_y = y + k * BAR
            out.append(f'<rect x="{left:.1f}" y="{bar_y + 1}" width="{max(right - left, 1):.1f}" height="{BAR - 2}" fill="{colour}"/>')
            base = number(entries[0].median) if entries[0] else "-"
            out.append(text(LABEL + PLOT + 8, bar_y + BAR - 3, f"{number(e.ratio)} ×   {base} → {number(e.median)} {unit}", size=10))
    return "\n".join(out + ["</svg>", ""])


def write(table, directory):
    directory.mkdir(parents=True, exist_ok=True)
    for group, rows in table.groups():
        svg = chart(group, rows, table.columns, table.head)
        if svg is not None:
            (directory / f"{group}.svg").write_text(svg, encoding="utf-8")
