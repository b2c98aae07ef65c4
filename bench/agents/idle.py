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

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "bench")]
from region import Failed, Region  # noqa: E402
from rows import no_row, row  # noqa: E402

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


def mean_of(parts, name, index=None):
    return round(statistics.mean(p[name] if index is None else p[name][index] for p in parts), 4)


def rows_of(shares, coarse, memory):
    return [
        row("agent.idle_core_percent", [sum(part.values()) for part in shares], "% of a core",
            "lower", 1.0, {"agent": mean_of(shares, "agent"), "keeper": mean_of(shares, "keeper"),
                           "by clock ticks": coarse}),
        row("agent.idle_rss_mib", [sum(rss for rss, _ in part.values()) for part in memory], "MiB",
            "lower", 16.0,
            {"agent Rss": mean_of(memory, "agent", 0), "keeper Rss": mean_of(memory, "keeper", 0),
             "agent Pss": mean_of(memory, "agent", 1), "keeper Pss": mean_of(memory, "keeper", 1)}),
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
        rows = [no_row("agent.idle_core_percent", "% of a core", "lower", 1.0, str(failure)),
                no_row("agent.idle_rss_mib", "MiB", "lower", 16.0, str(failure))]
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
    else:
        for each in rows:
            print(each["name"], each["value"], each["unit"], each.get("why", ""))


main()
