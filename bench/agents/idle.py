"""What an agent costs at rest: one agent with its keeper and a live scheduler on the loopback.

Usage: idle.py [--json] [--quick]

CPU: time on a processor of both processes, all threads, over a window of 60 s (20 s with --quick) in
four parts, after they have settled; heartbeats and telemetry run at their default pace. Memory at
the end of each part: `idle_rss_mib` is the sum of resident sets, which counts pages of shared
libraries once for each process; proportional sets stand beside it. Values are medians of the parts.
"""

import json
import os
import pathlib
import signal
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "tests/support"))
from region import Failed, Region  # noqa: E402

SETTLE_S = 5
PARTS = 4  # of the window
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_ticks(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])  # user and system time, all threads


def run_ns(pid):
    """Time on a processor by the scheduler's own count, where the kernel keeps it: ticks of 10 ms
    are coarse for a process that hardly runs."""
    total = 0
    for thread in pathlib.Path(f"/proc/{pid}/task").iterdir():
        total += int((thread / "schedstat").read_text().split()[0])
    return total


def memory_mib(pid):
    """Resident and proportional set."""
    sizes = {}
    for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        words = line.split()
        sizes[words[0]] = int(words[1]) / 1024
    return sizes["Rss:"], sizes["Pss:"]


def measure(window_s):
    """CPU shares of each part of the window {process: percent}, the whole by clock ticks, and the
    memory at each part's end {process: (Rss, Pss)}."""
    with Region() as region:
        region.add_agent("n1")
        pids = {"agent": region.processes["agent-n1"].pid, "keeper": region.keeper_pid("n1")}
        time.sleep(SETTLE_S)
        ticks = sum(cpu_ticks(p) for p in pids.values())
        start = time.monotonic()
        shares, memory = [], []
        for _ in range(PARTS):
            before, ns = time.monotonic(), {n: run_ns(p) for n, p in pids.items()}
            time.sleep(window_s / PARTS)
            elapsed_ns = (time.monotonic() - before) * 1e9
            shares.append({n: 100 * (run_ns(p) - ns[n]) / elapsed_ns for n, p in pids.items()})
            memory.append({n: memory_mib(p) for n, p in pids.items()})
        ticks = sum(cpu_ticks(p) for p in pids.values()) - ticks
        coarse = 100 * ticks / TICKS_PER_S / (time.monotonic() - start)
        if region.godwit("sites")["nodes"][0]["state"] != "up":
            raise Failed("the agent was not up at the window's end: this was no rest")
        return shares, coarse, memory


def row(name, values, unit, bar, beside):
    value = round(statistics.median(values), 4)
    return {"name": name, "value": value, "unit": unit, "better": "lower", "bar": bar,
            "holds": value <= bar, "beside": beside, "min": round(min(values), 4),
            "max": round(max(values), 4), "runs": len(values)}


def no_row(name, unit, bar, why):
    return {"name": name, "value": None, "unit": unit, "better": "lower", "bar": bar,
            "holds": None, "beside": [], "min": None, "max": None, "runs": 0, "why": why}


def mean_of(parts, name, index=None):
    return round(statistics.mean(p[name] if index is None else p[name][index] for p in parts), 4)


def rows_of(shares, coarse, memory):
    return [
        row("agent.idle_core_percent", [sum(part.values()) for part in shares], "% of a core", 1.0,
            [{"name": "agent", "value": mean_of(shares, "agent")},
             {"name": "keeper", "value": mean_of(shares, "keeper")},
             {"name": "by clock ticks", "value": round(coarse, 4)}]),
        row("agent.idle_rss_mib", [sum(rss for rss, _ in part.values()) for part in memory], "MiB",
            16.0,
            [{"name": "agent Rss", "value": mean_of(memory, "agent", 0)},
             {"name": "keeper Rss", "value": mean_of(memory, "keeper", 0)},
             {"name": "agent Pss", "value": mean_of(memory, "agent", 1)},
             {"name": "keeper Pss", "value": mean_of(memory, "keeper", 1)}]),
    ]


def main():
    unknown = set(sys.argv[1:]) - {"--json", "--quick"}
    if unknown:
        sys.exit(f"idle.py: unknown option {unknown.pop()}\n{__doc__}")
    window_s = 20 if "--quick" in sys.argv else 60
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    print(f"agents: an agent at rest for {window_s} s", file=sys.stderr, flush=True)
    try:
        rows = rows_of(*measure(window_s))
    except (Failed, OSError, KeyError) as failure:
        rows = [no_row("agent.idle_core_percent", "% of a core", 1.0, str(failure)),
                no_row("agent.idle_rss_mib", "MiB", 16.0, str(failure))]
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
    else:
        for each in rows:
            print(each["name"], each["value"], each["unit"], each.get("why", ""))


main()
