# SPDX-License-Identifier: LGPL-2.1-or-later
"""An SVG with one panel per quantity and one line per process, over time."""
from html import escape

WIDTH, PANEL, LEFT, RIGHT, TOP, GAP = 900, 150, 70, 190, 50, 40
COLOURS = ["#2b6cb0", "#dd8a1d", "#6b8e23", "#8e5aa8", "#c0392b", "#16a085", "#7f8c8d", "#d35400", "#2c3e50", "#b7950b"]
POINTS = 120  # a line needs no more to be seen, and the file stays small


def thin(line):
    """At most POINTS points: the highest of each stretch, so that no peak is hidden."""
    size = -(-len(line) // POINTS)
    return [max(line[i:i + size], key=lambda point: point[1]) for i in range(0, len(line), size)]


def text(x, y, content, anchor="start", size=11, extra=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" text-anchor="{anchor}" {extra}>{escape(content)}</text>'


def panel(top, quantity, unit, lines, names, end):
    """`lines`: [(name, points)]. From zero up, so that what looks flat is flat."""
    high = max((value for _, line in lines for _, value in line), default=0) or 1

    def at(point):
        return f"{LEFT + (WIDTH - LEFT - RIGHT) * point[0] / end:.1f},{top + PANEL * (1 - point[1] / high):.1f}"

    out = [text(LEFT, top - 6, f"{quantity}{f' [{unit}]' if unit else ''}", size=12, extra='font-weight="bold"')]
    for part in (0, 0.5, 1):
        y = top + PANEL * (1 - part)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 6, y + 4, f"{high * part:,.0f}" if high >= 10 else f"{high * part:g}", "end", 10))
    for name, line in lines:
        out.append(f'<polyline fill="none" stroke="{COLOURS[names.index(name) % len(COLOURS)]}" stroke-width="1.3" points="{" ".join(at(p) for p in thin(line))}"/>')
    return out


def draw(series, quantities, title):
    """`series`: {(quantity, (name, pid)): [(seconds, value)]}. A process that was replaced goes on as another line of one colour."""
    names = sorted({name for _, (name, _) in series})
    end = max((line[-1][0] for line in series.values()), default=1) or 1
    height = TOP + len(quantities) * (PANEL + GAP) + 20
    out = ["<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->",
           f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" fill="#222">',
           f'<title>{escape(title)}</title><rect width="100%" height="100%" fill="white"/>', text(10, 20, title, size=14, extra='font-weight="bold"')]
    top = TOP
    for quantity, (unit, _, _) in quantities.items():
        lines = [(name, line) for (q, (name, _)), line in sorted(series.items()) if q == quantity]
        out += panel(top, quantity, unit, lines, names, end)
        for i, name in enumerate(sorted({name for name, _ in lines})):
            y = top + 10 + 15 * i
            out.append(f'<rect x="{WIDTH - RIGHT + 14}" y="{y - 8}" width="9" height="9" fill="{COLOURS[names.index(name) % len(COLOURS)]}"/>')
            out.append(text(WIDTH - RIGHT + 28, y, name, size=10))
        top += PANEL + GAP
    for part in range(5):
        out.append(text(LEFT + (WIDTH - LEFT - RIGHT) * part / 4, height - 24, f"{end * part / 4 / 60:.1f} min", "middle", 10))
    return "\n".join(out + ["</svg>", ""])
