"""The report of a campaign: a table for the terminal and a self-contained page with plots.

Takes the dictionary that campaign.py builds: the campaign's JSON (bench/loss/README.md), its rows,
the jobs as the scheduler placed them, and the sites as it saw them.
"""

import html

import plot

STYLE = """
body{font:16px/1.5 system-ui,sans-serif;color:#1a1a1a;max-width:72em;margin:2em auto;padding:0 1em}
h1{font-size:1.6em;margin-bottom:.2em}h2{font-size:1.15em;margin-top:2em}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:.92em}
th,td{text-align:left;padding:.3em .9em .3em 0;border-bottom:1px solid #e3e3e3;vertical-align:top}
th{font-weight:600;color:#555}.big{font-size:1.25em}.good{color:#1a7f37}.bad{color:#b3261e}
.note{color:#666;font-size:.92em}.plots{display:flex;flex-wrap:wrap;gap:1.5em}
.plots svg{flex:1 1 26em;max-width:40em;border:1px solid #e3e3e3;border-radius:6px}
.mark{background:#fff3cd;padding:.5em 1em;border-radius:6px}
"""


def number(value, digits=3):
    return "-" if value is None else (f"{value:.{digits}g}" if abs(value) < 1000 else f"{value:.0f}")


def cell_of(result, name):
    return next((c for c in result["campaign"]["cells"] if c["name"] == name), None)


def loss_of(cell):
    """The cell's estimate; all None where it was not run."""
    return cell.get("loss_percent") or {"mean": None, "low": None, "high": None}


def distances(result):
    """The cells of saturated decoding over distance, nearest first."""
    return sorted((c for c in result["campaign"]["cells"]
                   if c["name"].endswith("km") and c["kind"] == "block"),
                  key=lambda c: c["rtt_ms_asked"])


def row_of(result, name):
    return next((r for r in result["rows"] if r["name"] == name), None)


def beside(row, name):
    return next((b["value"] for b in row.get("beside", []) if b["name"] == name), None)


def headline(result):
    """(sentence, verdict): what the distance cost, against the budget. Verdict None: no claim."""
    row = row_of(result, "loss.240km.percent")
    if not row or row["value"] is None:
        return f"No figure at 240 km: {row['why'] if row else 'it was not measured'}.", None
    words = (f"Cross-region loss at 240 km: {row['value']:.2f} % "
             f"(95 % interval {row['min']:.2f} to {row['max']:.2f}, {row['runs']} pairs), "
             f"budget {row['bar']:g} %.")
    if row.get("why"):
        return f"{words} No claim: {row['why']}.", None
    holds = row["max"] <= row["bar"]
    return words + (" Within the budget." if holds else " Over the budget."), holds


def marks(result):
    """What a reader must know before believing a figure."""
    notes = []
    if not result["namespaces"]:
        notes.append("No right to make network namespaces here: everything ran on loopback and the "
                     "distance was applied in the simulator's world, not on a real link.")
    if result["shortened"]:
        notes.append("A shortened campaign: it carries no claim. The full one is ./bench/run loss.")
    return notes


def placements(result):
    """Rows (job, stage, site, node, address) of every job that was measured."""
    for name, info in result["jobs"].items():
        for task in info["tasks"]:
            yield [name, task["task_index"], task["site"], task["node_name"],
                   f"[{task['address']}]:{task['port']}"]


def predictions(result):
    for name, info in result["jobs"].items():
        found = info.get("prediction") or {}
        if found.get("present"):
            yield name, found


def latency_rows(result):
    """Rows (figure, one site, across sites, inflation) of the latency cell."""
    cell = cell_of(result, "240km_serve")
    for figure, digits in (("ttft_p50_ms", 4), ("ttft_p99_ms", 4), ("ttft_mean_ms", 4),
                           ("tpot_p50_ms", 4), ("tpot_p99_ms", 4), ("tpot_mean_ms", 4),
                           ("goodput_per_s", 3)):
        one, across = ((cell or {}).get(side, {}).get(figure) for side in "ab")
        if one is None or across is None:
            continue
        yield [figure.upper().replace("_", " ").replace(" MS", " ms").replace(" PER S", " /s"),
               number(one, digits), number(across, digits),
               f"{100 * (across / one - 1):+.2f} %" if one else "-"]


def distance_rows(result):
    """Rows by distance: (km, RTT asked, RTT loaded, loss, interval, theory, verdict)."""
    budget = result["campaign"]["budget"]["percent"]
    for cell in distances(result):
        loss = loss_of(cell)
        known = loss["mean"] is not None
        verdict = "within" if known and loss["high"] <= budget else "broken"
        yield [cell["name"][:-2], f"{cell['rtt_ms_asked']:g}", number(cell.get("b", {}).get("rtt_load_ms")),
               number(loss["mean"]), f"{number(loss['low'])} .. {number(loss['high'])}",
               number(cell.get("theory_percent")), verdict if known else cell.get("why", "-")]


DISTANCE_HEAD = ["km", "RTT asked, ms", "under load, ms", "loss, %", "95 % interval", "theory, %",
                 "budget"]


def columns(head, rows):
    lines = [head] + [[str(c) for c in row] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return ["  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip() for line in lines]


def print_table(result):
    """For the demo: placement, path, prediction, measurement, verdict."""
    out = ["", "Placement"]
    out += columns(["job", "stage", "site", "node", "address"], placements(result))
    for name, found in predictions(result):
        out.append(f"{name}: predicted {found['tokens_per_s']:.0f} tokens/s, TPOT "
                   f"{found['tpot_us'] / 1000:.1f} ms, loss {found['loss_ppm'] / 1e4:.2f} % at a "
                   f"loop of {found['rtt_us'] / 1000:.2f} ms")
    out += ["", "Paths, as the agents measured them (STAMP)"]
    out += columns(["from", "to", "RTT, ms"], [[p["from"], p["to"], f"{p['rtt_us'] / 1000:.2f}"]
                                              for p in result["sites"]["pairs"]])
    row = row_of(result, "loss.240km.percent")
    if row and row["value"] is not None:
        out += ["", f"Throughput: one site {number(beside(row, 'single_tokens_per_s'), 4)} tokens/s,"
                f" across sites {number(beside(row, 'cross_tokens_per_s'), 4)} tokens/s"]
    latency = list(latency_rows(result))
    if latency:
        out += ["", "Latency at equal offered load, 240 km"]
        out += columns(["", "one site", "across sites", "change"], latency)
    out += ["", "Loss over distance"]
    out += columns(DISTANCE_HEAD, distance_rows(result))
    tokens = row_of(result, "loss.tokens_identical")
    if tokens and tokens["value"] is not None:
        out.append("Tokens " + ("identical in every pair of blocks." if tokens["value"] == 1
                                else "DIFFER: the run is wrong."))
    sentence, _holds = headline(result)
    out += ["", sentence] + marks(result)
    print("\n".join(out))


def table(head, rows):
    cells = "".join("<tr>" + "".join(f"<td>{html.escape(str(c))}</td>" for c in row) + "</tr>"
                    for row in rows)
    return ("<table><tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in head) +
            f"</tr>{cells}</table>")


def distance_plot(result):
    cells = [c for c in distances(result) if loss_of(c)["mean"] is not None]
    km = [c["rtt_ms_asked"] * 100 for c in cells]
    return plot.chart(
        "Loss over distance", "km (1 ms of RTT per 100 km)", "loss, %",
        [{"name": "measured, 95 % interval", "line": False,
          "points": [(x, c["loss_percent"]["mean"], c["loss_percent"]["low"],
                      c["loss_percent"]["high"]) for x, c in zip(km, cells)]},
         {"name": "theory", "marks": False,
          "points": [(x, c["theory_percent"]) for x, c in zip(km, cells)
                     if c["theory_percent"] is not None]}],
        levels=[(result["campaign"]["budget"]["percent"], "budget")], y_low=0)


def groups_plot(result):
    sweep = result["campaign"].get("group_sweep") or []
    series = []
    for memory in sorted({p["memory"] for p in sweep}):
        points = sorted((p["m"], p["loss_percent"], p["theory_percent"]) for p in sweep
                        if p["memory"] == memory)
        series.append({"name": f"measured, memory {memory}", "line": False,
                       "points": [(m, loss) for m, loss, _ in points]})
        series.append({"name": f"theory, memory {memory}", "marks": False,
                       "points": [(m, theory) for m, _, theory in points]})
    return plot.chart("Loss over micro-batches in flight, 240 km", "m", "loss, %", series,
                      levels=[(result["campaign"]["budget"]["percent"], "budget")], y_low=0)


def blocks_plot(result):
    """Every raw block of the headline cell, in order of time."""
    cell = cell_of(result, "240km")
    series = []
    for site in ("single", "cross"):
        points = [(b["at_s"], b["answer"]["tokens_per_s"]) for b in (cell or {}).get("blocks", [])
                  if b["site"] == site and not b["void"]]
        series.append({"name": {"single": "one site", "cross": "across sites"}[site],
                       "points": points, "line": False})
    return plot.chart("Every block at 240 km", "s since the start", "tokens/s", series)


def void_rows(result):
    for cell in result["campaign"]["cells"]:
        if "blocks" not in cell:
            continue
        reasons = sorted({r.split(" (")[0] for b in cell["blocks"] for r in b["void"]})
        yield [cell["name"], cell["blocks_run"], cell["blocks_void"], "; ".join(reasons)]


def row_table(rows):
    def text(row):
        spread = "" if row.get("min") is None else f"{number(row['min'])} .. {number(row['max'])}"
        holds = {True: "holds", False: "does not hold", None: ""}[row.get("holds")]
        return [row["name"], number(row["value"]) + " " + row["unit"], spread, row["runs"],
                "" if row.get("bar") is None else number(row["bar"]), holds, row.get("why", "")]
    return table(["row", "value", "interval", "pairs", "bar", "", "why not"], map(text, rows))


def page(result):
    """The self-contained HTML page."""
    sentence, holds = headline(result)
    campaign = result["campaign"]
    accelerator = campaign["ring"]["accelerator"]
    parts = ["<!doctype html><html lang=en><meta charset=utf-8>",
             "<meta name=viewport content='width=device-width'>",
             f"<title>Godwit: what distance costs</title><style>{STYLE}</style>",
             "<h1>What distance costs</h1>",
             f"<p class='big {'' if holds is None else 'good' if holds else 'bad'}'>"
             f"{html.escape(sentence)}</p>"]
    parts += [f"<p class=mark>{html.escape(m)}</p>" for m in marks(result)]
    parts += ["<div class=plots>", distance_plot(result), groups_plot(result), blocks_plot(result),
              "</div>", "<h2>Loss over distance</h2>",
              table(DISTANCE_HEAD, distance_rows(result)),
              "<h2>Latency at equal offered load, 240 km</h2>",
              table(["", "one site", "across sites", "change"], latency_rows(result)),
              "<h2>Placement</h2>",
              table(["job", "stage", "site", "node", "address"], placements(result)),
              "<h2>Predicted by the scheduler</h2>",
              table(["job", "tokens/s", "TPOT, ms", "loop, ms", "loss, %", "bottleneck"],
                    [[n, number(f["tokens_per_s"], 4), number(f["tpot_us"] / 1000, 4),
                      number(f["rtt_us"] / 1000), number(f["loss_ppm"] / 1e4), f["bottleneck"]]
                     for n, f in predictions(result)]),
              "<h2>Paths, as the agents measured them</h2>",
              table(["from", "to", "RTT, ms"], [[p["from"], p["to"], f"{p['rtt_us'] / 1000:.2f}"]
                                               for p in result["sites"]["pairs"]]),
              "<h2>All rows</h2>", row_table(result["rows"]),
              "<h2>Blocks run and void</h2>",
              table(["cell", "blocks", "void", "because of"], void_rows(result)),
              "<h2>How it was measured</h2>",
              "<p class=note>The stages do the reference computation and then wait until the time "
              "that the stated accelerator would have taken has passed (PACED). It holds "
              f"{accelerator['layers_held']:g} layers of hidden size {accelerator['hidden']:g}, "
              f"memory {accelerator['bytes_per_s'] / 1e12:g} TB/s at "
              f"{accelerator['bytes_efficiency']:.0%}, mean context {accelerator['context']:g}; "
              f"{accelerator['slots']} sequences fit. Pairs of adjacent blocks in random order; "
              "a block is void before its result is looked at.</p>",
              f"<p class=note>Commit {html.escape(campaign['commit'])}, seed {campaign['seed']}, "
              f"{html.escape(campaign['host']['cpu_model'])}, {campaign['host']['cores']} cores, "
              f"kernel {html.escape(campaign['host']['kernel'])}; "
              f"{campaign['seconds']:.0f} s of measuring.</p></html>"]
    return "".join(parts)
