"""Benchmark rows: made by the benches, shown to people as a table or a page of bars.

Reads the JSON array that `bench/run NAME --json` prints. Usage: rows.py table | rows.py html NAME
"""

import html
import json
import statistics
import sys


def row(name, values, unit, better, bar, beside=(), digits=4):
    """A row of measured values: their median, held to the bar, between their extremes. `beside` is
    {name: value} of peers and floors from the same run."""
    value = round(statistics.median(values), digits)
    holds = None if bar is None else value <= bar if better == "lower" else value >= bar
    return {"name": name, "value": value, "unit": unit, "better": better, "bar": bar,
            "holds": holds,
            "beside": [{"name": n, "value": round(v, digits)} for n, v in dict(beside).items()],
            "min": round(min(values), digits), "max": round(max(values), digits),
            "runs": len(values)}


def no_row(name, unit, better, bar, why):
    """The row of what could not be measured."""
    return {"name": name, "value": None, "unit": unit, "better": better, "bar": bar,
            "holds": None, "beside": [], "min": None, "max": None, "runs": 0, "why": why}


def number(value):
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def cells(row):
    beside = ", ".join(f"{b['name']} {number(b['value'])}" for b in row.get("beside") or [])
    holds = row.get("holds")
    verdict = "" if holds is None else ("holds" if holds else "does not hold")
    spread = ""
    if row.get("min") is not None:
        spread = f"{number(row['min'])} .. {number(row['max'])}"
    bar = "" if row.get("bar") is None else \
        ("<= " if row.get("better") == "lower" else ">= ") + number(row["bar"])
    value = number(row.get("value")) + " " + row.get("unit", "")
    return [row["name"], value.strip(), spread, str(row.get("runs", "")), bar, verdict,
            row.get("why") or beside]


HEAD = ["name", "value", "from .. to", "runs", "bar", "", "beside"]


def table(rows):
    lines = [HEAD] + [cells(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip())


def page(name, rows):
    body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells(row)) + "</tr>"
                   for row in rows)
    head = "".join(f"<th>{h}</th>" for h in HEAD)
    print(f"<!doctype html><meta charset=utf-8><title>{name}</title><style>"
          "body{font:15px system-ui;margin:2em}td,th{padding:.3em .8em;text-align:left;"
          "border-bottom:1px solid #ddd}td{font-variant-numeric:tabular-nums}</style>"
          f"<h1>Benchmark {html.escape(name)}</h1><table><tr>{head}</tr>{body}</table>")


def main():
    rows = json.load(sys.stdin)
    if sys.argv[1:2] == ["table"]:
        table(rows)
    elif sys.argv[1:2] == ["html"] and len(sys.argv) == 3:
        page(sys.argv[2], rows)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
