"""What it costs that nothing is lost: durable submissions, recovery, and killing the scheduler.

Usage: bench.py [--json] [--quick] [--points N] [--seed S]

durable_per_s   64 CURVE clients, 4 submissions each under way; an answer comes when the job is on
                disk. Beside it the floor: the same clients and bodies against a server that only
                writes them to a file, syncs once a turn and sends them back (bar: half of that).
ack_p99_ms      of those answers, at that load; beside it the floor's.
recover_s       a scheduler's start on a journal of 1,000,000 tasks; beside it the floor: the same
                bytes read, checked and decoded, and nothing applied (bar: 3 times that).
kill_points_lost  jobs lost or run twice after kill -9 of the scheduler at 200 random points under
                load; at every second one the disk also drops what was not synced.

Servers and clients share the machine's cores in both cases. --quick shortens every part (its rows
carry no claim).
"""

import argparse
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "bench"), str(ROOT / "bench/chaos")]
import region as grid  # noqa: E402
from kill import kill_points  # noqa: E402
from rows import no_row, row  # noqa: E402

PROGRAM = grid.BUILD / "bench/journal/godwit-journal"
CLIENTS = 64
IN_FLIGHT = 4


def say(text):
    print(f"journal: {text}", file=sys.stderr, flush=True)


class Region(grid.Region):
    """A region whose users are the load's clients, and whose admission lets them all in."""

    def start_scheduler(self):
        return self.spawn("scheduler", grid.SCHEDULER, "run", "--state", self.folder / "scheduler",
                          "--listen", "127.0.0.1", "--port", self.port,
                          "--waiting-tasks-max", "1000000")

    def add_clients(self):
        (self.folder / "clients").mkdir()
        for i in range(CLIENTS):
            name = f"clients/{i}"
            self.ticket(name, "--role", "user", "--name", f"client-{i}")
            grid.run(grid.CTL, "join", "--config", self.folder / name, "--timeout", "5 s",
                     self.folder / f"{name}.ticket")

    def stop(self, name):
        self.processes[name].terminate()
        self.processes.pop(name).wait()

    def load(self, count, *options):
        return json.loads(grid.run(PROGRAM, "load", "--identities", self.folder / "clients",
                                   "--clients", CLIENTS, "--in-flight", IN_FLIGHT,
                                   "--count", count, "--warm", count // 10, *options, timeout=300))

    def echo(self, count):
        """The same clients against the floor, at the scheduler's own port while it is down."""
        echo = subprocess.Popen(
            [str(PROGRAM), "echo", "--state", str(self.folder / "scheduler"), "--file",
             str(self.folder / "echo"), "--endpoint", f"tcp://127.0.0.1:{self.port}"],
            stdout=subprocess.PIPE, text=True)
        try:
            if echo.stdout.readline().strip() != "ready":
                raise grid.Failed("the echo server did not begin")
            return self.load(count, "--plain")
        finally:
            echo.terminate()
            echo.wait()


def measure_durable(rounds, count):
    """[(floor, ours)] of runs in turn."""
    pairs = []
    with Region() as region:
        region.add_clients()
        for i in range(rounds):
            region.stop("scheduler")
            floor = region.echo(count)
            region.start_scheduler()
            grid.wait_for("the scheduler", lambda: region.godwit("version"))
            ours = region.load(count)
            pairs.append((floor, ours))
            say(f"round {i + 1} of {rounds}: {ours['per_s']:.0f}/s, floor {floor['per_s']:.0f}/s")
    return pairs


def durable_rows(quick):
    pairs = measure_durable(3 if quick else 7, 4000 if quick else 20000)
    floor = statistics.median(f["per_s"] for f, _ in pairs)
    ratio = statistics.median(o["per_s"] / f["per_s"] for f, o in pairs)
    durable = row("journal.durable_per_s", [o["per_s"] for _, o in pairs], "1/s", "higher",
                  round(floor / 2), {"fdatasync_floor": floor, "ratio to the floor": ratio})
    ack = row("journal.ack_p99_ms", [o["p99_ms"] for _, o in pairs], "ms", "lower", None,
              {"p50": statistics.median(o["p50_ms"] for _, o in pairs),
               "floor p99": statistics.median(f["p99_ms"] for f, _ in pairs),
               "floor p50": statistics.median(f["p50_ms"] for f, _ in pairs)})
    durable["holds"] = ratio >= 0.5  # of the pairs, since rounds differ
    return [durable, ack]


def recover_rows(quick):
    tasks, rounds = (100000, 3) if quick else (1000000, 5)
    with tempfile.TemporaryDirectory(prefix="godwit-journal-") as folder:
        def timed(what):
            return json.loads(grid.run(PROGRAM, what, "--directory", folder, "--tasks", tasks,
                                       timeout=600))
        say(f"writing the journal of {tasks} tasks")
        records = timed("make")["records"]
        pairs = []
        for i in range(rounds):
            pairs.append((timed("read"), timed("recover")))
            say(f"round {i + 1} of {rounds}: {pairs[-1][1]['seconds']:.2f} s, floor "
                f"{pairs[-1][0]['seconds']:.2f} s")
    floor = statistics.median(f["seconds"] for f, _ in pairs)
    ratio = statistics.median(o["seconds"] / f["seconds"] for f, o in pairs)
    result = row("journal.recover_s", [o["seconds"] for _, o in pairs], "s", "lower",
                 round(3 * floor, 3),
                 {"read_floor": floor, "ratio to the floor": ratio, "records": records,
                  "tasks": tasks, "MiB": pairs[-1][1]["rss_mib"]})
    result["holds"] = ratio <= 3
    return [result]


def kill_rows(points, seed):
    wrong, told = kill_points(points, seed, say)
    lost = sum(len(jobs) for jobs in wrong.values())
    return [row("journal.kill_points_lost", [lost], "jobs", "lower", 0,
                {"points": points, **told, **{k: len(v) for k, v in wrong.items()}})]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one array of rows on stdout")
    parser.add_argument("--quick", action="store_true", help="within 50 s")
    parser.add_argument("--points", type=int, help="how often the scheduler is killed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments at which it is")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    parts = [
        (lambda: durable_rows(options.quick), [("journal.durable_per_s", "1/s", "higher"),
                                               ("journal.ack_p99_ms", "ms", "lower")]),
        (lambda: recover_rows(options.quick), [("journal.recover_s", "s", "lower")]),
        (lambda: kill_rows(options.points or (12 if options.quick else 200), options.seed),
         [("journal.kill_points_lost", "jobs", "lower")]),
    ]
    rows = []
    for part, names in parts:
        try:
            rows += part()
        except (grid.Failed, OSError, KeyError, subprocess.SubprocessError) as failure:
            rows += [no_row(name, unit, better, None, str(failure)) for name, unit, better in names]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for each in rows:
            print(each["name"], each["value"], each["unit"], each.get("why", ""))


if __name__ == "__main__":
    main()
