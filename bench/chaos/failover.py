"""How long a region is without a scheduler, and what that costs its jobs.

Usage: failover.py [--json] [--quick] [--rounds N]

Three etcd servers (heartbeat 50 ms, election 500 ms), two schedulers with a lease of 1 s, an agent,
and users that submit all the while. Again and again the leading scheduler is killed with -9, then
etcd's own leader; the time is that of a submission which a user begins right after, until it is
acknowledged. At last leaders are stopped past their lease and woken: they must be fenced.

median_s   leading scheduler killed (bar 2 s); beside it etcd's leader killed (bar 4 s)
lost       jobs that were acknowledged and are not there, or did not run (bar 0)
doubled    tasks that ran more than once (bar 0)
"""

import argparse
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "bench")]
import region as grid  # noqa: E402
from etcd_cluster import EtcdCluster, etcd_missing  # noqa: E402
from history import Users, all_jobs, at_rest, verdict  # noqa: E402
from rows import no_row, row  # noqa: E402
from shared_region import SharedRegion  # noqa: E402

ROWS = [("failover.median_s", "s", 2.0), ("failover.lost", "jobs", 0),
        ("failover.doubled", "tasks", 0)]
REST_S = 300


def say(text):
    print(f"failover: {text}", file=sys.stderr, flush=True)


def timed_submission(users):
    """Seconds from now until a user who asks now has a job."""
    asked = time.monotonic()
    if not users.submit(timeout="60 s"):
        raise grid.Failed("a submission was not taken within 60 s: " + users.told[-1][3])
    return time.monotonic() - asked


def kill_scheduler(region, users):
    first = grid.wait_for("a leader", region.leader)
    region.wait_following(region.other(first))
    region.kill(first)
    seconds = timed_submission(users)
    region.wait_leader(region.other(first))
    region.serve(first)
    return seconds


def kill_etcd(region, users):
    server = region.etcd.leader()
    region.etcd.kill(server)
    seconds = timed_submission(users)
    region.etcd.start(server)
    region.etcd.wait_healthy()
    return seconds


def pause_scheduler(region, users):
    """True: the leader that slept past its lease was fenced."""
    first = grid.wait_for("a leader", region.leader)
    region.wait_following(region.other(first))
    region.processes[first].send_signal(signal.SIGSTOP)
    timed_submission(users)
    region.processes[first].send_signal(signal.SIGCONT)
    region.wait_following(first)
    return "deposed" in region.roles(first)


def measure(rounds):
    """(seconds after a scheduler's death, after etcd's leader's, fenced, verdict, told)"""
    with EtcdCluster(3) as etcd, SharedRegion(etcd) as region:
        region.add_agent("n1")
        with Users(grid.CTL, region.folder / "user", region.folder, threads=2) as users:
            results = []
            for what, act in (("scheduler", kill_scheduler), ("etcd leader", kill_etcd),
                              ("stopped leader", pause_scheduler)):
                results.append([])
                for i in range(rounds if act != pause_scheduler else max(1, rounds // 4)):
                    results[-1].append(act(region, users))
                say(f"{what}: {[round(value, 2) for value in results[-1]]}")
        grid.wait_for("all jobs to end", lambda: at_rest(region.godwit), REST_S)
        jobs = all_jobs(region.godwit)
        told = {"acknowledged": len(users.acknowledged()),
                "not answered": sum(users.refusals().values())}
        return (*results, verdict(users, jobs), told)


def rows_of(killed, etcd_killed, fenced, wrong, told):
    median = row("failover.median_s", killed, "s", "lower", 2.0,
                 {"etcd leader killed (bar 4)": statistics.median(etcd_killed),
                  "its longest": max(etcd_killed), "fenced": sum(fenced), "of": len(fenced)})
    median["holds"] = median["holds"] and statistics.median(etcd_killed) <= 4 and all(fenced)
    lost = len(wrong["lost"]) + len(wrong["unasked"]) + len(wrong["never ran"])
    return [median, row("failover.lost", [lost], "jobs", "lower", 0, told),
            row("failover.doubled", [len(wrong["doubled"])], "tasks", "lower", 0)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one array of rows on stdout")
    parser.add_argument("--quick", action="store_true", help="within 50 s")
    parser.add_argument("--rounds", type=int, help="how often each is killed")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    try:
        why = etcd_missing()
        rows = [no_row(n, u, "lower", bar, why) for n, u, bar in ROWS] if why else \
            rows_of(*measure(options.rounds or (4 if options.quick else 20)))
    except (grid.Failed, OSError, KeyError, subprocess.SubprocessError) as failure:
        rows = [no_row(name, unit, "lower", bar, str(failure)) for name, unit, bar in ROWS]
    if options.json:
        print(json.dumps(rows, indent=1))
    else:
        for each in rows:
            print(each["name"], each["value"], each["unit"], each.get("why", ""))


if __name__ == "__main__":
    main()
