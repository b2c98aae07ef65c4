"""Line and point charts as inline SVG, for self-contained reports. No dependencies.

A series is {"name", "points": [(x, y) or (x, y, low, high)], "line": bool, "marks": bool}.
"""

import html
import math

COLOURS = ["#1f6feb", "#d1495b", "#2e933c", "#8a5cd1", "#c77d0a", "#0a8f8f"]
WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, BOTTOM = 64, 16, 52
TITLE, LEGEND = 36, 17  # heights of the title and of a row of the legend


def ticks(low, high, count=6):
    """Round values covering [low, high]: multiples of 1, 2 or 5 times a power of ten."""
    span = high - low or 1.0
    step = 10 ** math.floor(math.log10(span / count))
    step *= next(f for f in (1, 2, 5, 10) if span / (step * f) <= count)
    first = math.floor(low / step)
    last = math.ceil(high / step)
    return [round(i * step, 12) for i in range(first, last + 1)]


def legend(series):
    """Names in rows that fit the width: [(row, x, index)], rows."""
    placed, row, x = [], 0, LEFT
    for i, one in enumerate(series):
        width = 24 + 6.6 * len(one["name"])
        if x > LEFT and x + width > WIDTH - RIGHT:
            row, x = row + 1, LEFT
        placed.append((row, x, i))
        x += width
    return placed, row + 1


def text(x, y, content, anchor="middle", size=12, colour="#444", rotate=None):
    turn = f' transform="rotate({rotate} {x} {y})"' if rotate is not None else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
            f'fill="{colour}"{turn}>{html.escape(str(content))}</text>')


def label(value):
    return f"{value:g}"


def chart(title, x_label, y_label, series, levels=(), y_low=None):
    """One chart. `levels` are horizontal lines [(y, label)]; y_low fixes the axis' lower end."""
    series = [s for s in series if s["points"]]
    xs = [p[0] for s in series for p in s["points"]]
    ys = [v for s in series for p in s["points"] for v in p[1:]] + [y for y, _ in levels]
    if not xs:
        return ""
    names, name_rows = legend(series)
    top = TITLE + LEGEND * name_rows
    x_ticks = ticks(min(xs), max(xs), min(6, max(1, len(set(xs)) - 1)))
    y_ticks = ticks(min(ys) if y_low is None else min(y_low, min(ys)), max(ys))

    def px(x):
        return LEFT + (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0] or 1) * (WIDTH - LEFT - RIGHT)

    def py(y):
        return HEIGHT - BOTTOM - (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0] or 1) * (
            HEIGHT - top - BOTTOM)

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(title)}" '
           'font-family="system-ui,sans-serif">', text(LEFT, 20, title, "start", 15, "#111")]
    for x in x_ticks:
        out.append(text(px(x), HEIGHT - BOTTOM + 18, label(x)))
    for y in y_ticks:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}" '
                   'stroke="#e5e5e5"/>')
        out.append(text(LEFT - 8, py(y) + 4, label(y), "end"))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label))
    out.append(text(16, (top + HEIGHT - BOTTOM) / 2, y_label, rotate=-90))
    for y, name in levels:
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{py(y):.1f}" y2="{py(y):.1f}" '
                   'stroke="#999" stroke-dasharray="5 4"/>')
        out.append(text(WIDTH - RIGHT, py(y) - 5, name, "end", 11, "#777"))
    for i, one in enumerate(series):
        colour = COLOURS[i % len(COLOURS)]
        if one.get("line", True):
            path = " ".join(f"{px(p[0]):.1f},{py(p[1]):.1f}" for p in one["points"])
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" '
                       'stroke-width="1.8"/>')
        for p in one["points"] if one.get("marks", True) else []:
            if len(p) == 4:
                out.append(f'<line x1="{px(p[0]):.1f}" x2="{px(p[0]):.1f}" y1="{py(p[2]):.1f}" '
                           f'y2="{py(p[3]):.1f}" stroke="{colour}" stroke-width="1.5"/>')
            tip = ", ".join(f"{v:.4g}" for v in p)
            out.append(f'<circle cx="{px(p[0]):.1f}" cy="{py(p[1]):.1f}" r="3.5" '
                       f'fill="{colour}"><title>{html.escape(one["name"])}: {tip}</title></circle>')
    for row, x, i in names:
        out.append(f'<rect x="{x}" y="{TITLE + LEGEND * row - 9}" width="10" height="10" rx="2" '
                   f'fill="{COLOURS[i % len(COLOURS)]}"/>')
        out.append(text(x + 15, TITLE + LEGEND * row, series[i]["name"], "start"))
    out.append("</svg>")
    return "".join(out)
