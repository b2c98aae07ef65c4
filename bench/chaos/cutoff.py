"""A site that hears nothing for a while, with tasks that run, and end, meanwhile.

Usage: cutoff.py [--json] [--quick] [--seeds N]

virtual   half an hour of cut-off of a site with more than 1,000 running tasks, in virtual time, for
          several seeds (scenario site-cut-off)
real      60 s (20 s with --quick) of the same with real processes in the lab: an array of tasks on
          one site, some of which end before, some during and some after the cut

lost      seeds that broke an invariant other than "run twice", and real tasks that did not succeed
doubled   seeds in which a task ran twice, and real tasks that ran more than once
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "bench")]
import cluster  # noqa: E402
from rows import no_row, row  # noqa: E402

CUT_SITE = "s2"  # of the scenario
TASKS = 40
ROWS = [("cutoff.lost", "tasks"), ("cutoff.doubled", "tasks")]


def say(text):
    print(f"cutoff: {text}", file=sys.stderr, flush=True)


def running_at_cut(transcript):
    """How many tasks the site ran when it was cut off, by what its keepers say."""
    running = set()
    for line in transcript.splitlines():
        words = line.split()
        if len(words) > 2 and words[1] == "fault" and words[2] == "link-cut":
            return len(running)
        said = re.match(rf"\s*[\d.]+ {CUT_SITE}n\d+ +keeper says (\S+): (spawned|exited)", line)
        if said:
            (running.add if said[2] == "spawned" else running.discard)(said[1])
    raise cluster.Failed("the transcript tells of no cut")


def virtual(seeds):
    """(lost, doubled, least number of tasks that ran at the cut)"""
    lost = doubled = 0
    least = None
    for seed in range(1, seeds + 1):
        command = [str(cluster.SIM), "--scenario", "site-cut-off", "--seed", str(seed)]
        done = subprocess.run(command + ["--json"], text=True, capture_output=True, check=False)
        outcome = json.loads(done.stdout)
        if not outcome["good"]:
            twice = "twice" in outcome["fault"]
            lost, doubled = lost + (not twice), doubled + twice
            say(f"seed {seed}: {outcome['fault']}")
        running = running_at_cut(subprocess.run(command + ["--transcript"], text=True, check=False,
                                                capture_output=True).stdout)
        least = min(least or running, running)
    return lost, doubled, least


def real(cut_s):
    """(lost, doubled, ends during the cut)"""
    with cluster.Cluster() as grid:
        trace = grid.folder / "trace"
        step_ms = 1500 * cut_s // TASKS
        spec = {"name": "cut-off", "kind": "task", "count": TASKS, "sites": ["b"],
                "resources": {"cpu": 0.01, "memory": "8 MiB"},
                "command": ["sh", "-c", f"echo $GODWIT_TASK_INDEX >>{trace}; "
                            f"ms=$((5000 + GODWIT_TASK_INDEX * {step_ms})); "
                            "sleep $((ms / 1000)).$(printf %03d $((ms % 1000)))"]}
        job = grid.submit("cut-off", json.dumps(spec))["job"]
        grid.wait_running(job)
        for link in ("a-b", "b-c"):
            cluster.run([cluster.LAB, "set", grid.name, link, "--cut", f"{cut_s}s"])
        began = time.time()
        info = cluster.wait_for("the job to end", lambda: (
            lambda found: found if found["state"] not in ("waiting", "running", "ending")
            else None)(grid.job(job)), 4 * cut_s + 60)
        runs = collections.Counter(trace.read_text(encoding="ascii").split())
        lost = sum(task["state"] != "succeeded" or runs[str(task["task_index"])] == 0
                   for task in info["tasks"])
        doubled = sum(count > 1 for count in runs.values())
        during = sum(began < info["submitted_wall_us"] / 1e6 + 5 + i * step_ms / 1000 < began + cut_s
                     for i in range(TASKS))
        return lost, doubled, during


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one array of rows on stdout")
    parser.add_argument("--quick", action="store_true", help="within 50 s")
    parser.add_argument("--seeds", type=int, help="of the virtual site")
    options = parser.parse_args()
    cluster.stoppable()
    cut_s = 15 if options.quick else 60
    try:
        seeds = options.seeds or (1 if options.quick else 10)
        lost, doubled, least = virtual(seeds)
        say(f"virtual: {seeds} seeds, at least {least} tasks ran on the site; {lost} lost, "
            f"{doubled} doubled")
        beside = {"virtual seeds": seeds, "tasks running at the cut, at least": least}
        why = None
        try:
            lost_real, doubled_real, during = real(cut_s)
            beside.update({"real cut, s": cut_s, "real tasks": TASKS, "ended in the cut": during})
            lost, doubled = lost + lost_real, doubled + doubled_real
        except cluster.NoNamespaces as reason:
            why = f"virtual only: {reason}"
        rows = [row("cutoff.lost", [lost], "tasks", "lower", 0, beside),
                row("cutoff.doubled", [doubled], "tasks", "lower", 0, beside)]
        for each in rows:
            each.update({"why": why, "holds": None} if why else {})
    except (cluster.Failed, OSError, ValueError, KeyError) as failure:
        rows = [no_row(name, unit, "lower", 0, str(failure)) for name, unit in ROWS]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for each in rows:
            print(each["name"], each["value"], each["unit"], each.get("why") or "")


if __name__ == "__main__":
    main()
