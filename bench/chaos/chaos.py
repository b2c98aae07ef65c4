"""Minutes of everything that can happen to real processes, under load.

Usage: chaos.py [--minutes M] [--seed S] [--shared] [--build DIR]

Two agents, users that submit all the while, and, drawn by the seed, one thing after another: the
scheduler, an agent or a keeper killed with -9; one of the first two stopped for a while and woken;
the scheduler's disk full for a while (its state is on a small tmpfs, where that may be mounted).
With --shared two schedulers keep the journal in three etcd servers, of which one is killed or
stopped now and then too. Afterwards everything must come to rest, and the history of what users
were told must agree with what ran. Exit: 0 it does, 1 it does not, 77 it cannot be tried here.
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT / "tests/support"), str(ROOT / "bench")]
PAUSE_S = (0.2, 4.0)  # between two happenings
LASTS_S = (0.1, 6.0)  # how long one lasts, where it does
REST_S = 300
DISK_MIB = 64


def say(text):
    print(f"chaos: {text}", file=sys.stderr, flush=True)


class Happenings:
    """What can be done to a region. Each returns once it is over."""

    def __init__(self, region, draw, disk):
        self.region, self.draw, self.disk = region, draw, disk
        self.counts = {}
        self.acts = [self.scheduler_killed, self.scheduler_stopped, self.agent_killed,
                     self.agent_stopped, self.keeper_killed]
        if disk:
            self.acts.append(self.disk_full)
        if hasattr(region, "etcd"):
            self.acts += [self.etcd_killed, self.etcd_stopped]

    def one(self):
        act = self.draw.choice(self.acts)
        self.counts[act.__name__] = self.counts.get(act.__name__, 0) + 1
        act()

    def wait(self):
        time.sleep(self.draw.uniform(*LASTS_S))  # the length itself is what is drawn

    def stop(self, name):
        process = self.region.processes[name]
        process.send_signal(signal.SIGSTOP)
        self.wait()
        process.send_signal(signal.SIGCONT)

    def scheduler(self):
        return self.draw.choice(list(self.region.ports)) if hasattr(self.region, "etcd") \
            else "scheduler"

    def scheduler_killed(self):
        name = self.scheduler()
        self.region.processes[name].kill()
        self.region.processes[name].wait()
        self.wait()
        if name == "scheduler":
            self.region.start_scheduler()
        else:
            self.region.serve(name)

    def scheduler_stopped(self):
        self.stop(self.scheduler())

    def agent(self):
        return self.draw.choice(["n1", "n2"])

    def agent_killed(self):
        name = self.agent()
        process = self.region.processes[f"agent-{name}"]
        process.kill()
        process.wait()
        self.wait()
        self.region.start_agent(name)

    def agent_stopped(self):
        self.stop(f"agent-{self.agent()}")

    def keeper_killed(self):
        pid = self.region.keeper_pid(self.agent())
        if pid:
            os.kill(pid, signal.SIGKILL)

    def disk_full(self):
        ballast = self.disk / "ballast"
        with open(ballast, "wb", buffering=0) as file:
            try:
                while file.write(bytes(65536)):
                    pass
            except OSError:
                pass  # it is full now
        self.wait()
        ballast.unlink()

    def etcd_killed(self):
        server = self.draw.randrange(self.region.etcd.count)
        self.region.etcd.kill(server)
        self.wait()
        self.region.etcd.start(server)

    def etcd_stopped(self):
        server = self.draw.randrange(self.region.etcd.count)
        self.region.etcd.pause(server)
        self.wait()
        self.region.etcd.resume(server)


def small_disk(folder):
    """A small file system for the scheduler's state; None where that may not be mounted."""
    folder.mkdir(mode=0o700)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=700", "chaos",
                           str(folder)], capture_output=True, check=False)
    return folder if done.returncode == 0 else None


def trouble(region, users, options, disk):
    """The happenings, then rest; (what is wrong, what happened, what was told)."""
    from history import all_jobs, at_rest, verdict
    from region import wait_for
    happenings = Happenings(region, random.Random(options.seed), disk)
    until = time.monotonic() + 60 * options.minutes
    with users:
        while time.monotonic() < until:
            time.sleep(happenings.draw.uniform(*PAUSE_S))  # the moment itself is what is drawn
            happenings.one()
    for name in ("n1", "n2"):
        region.wait_up(name)
    wait_for("all jobs to end", lambda: at_rest(region.godwit), REST_S)
    told = {"acknowledged": len(users.acknowledged()),
            "not answered": sum(users.refusals().values())}
    wrong = verdict(users, all_jobs(region.godwit), keepers_died=True)
    for job in wrong["lost"][:3]:
        say(f"{job}: {region.godwit('jobs', job)}")
    return wrong, happenings.counts, told


def run(options):
    from etcd_cluster import EtcdCluster
    from history import Users
    from region import CTL, Region
    from shared_region import SharedRegion

    class OneScheduler(Region):
        disk = None

        def start_scheduler(self):
            return super().start_scheduler("--snapshot-after", "4 MiB")

        def start(self):
            self.disk = small_disk(self.folder / "scheduler")
            super().start()

        def close(self):
            if self.disk:
                subprocess.run(["umount", "--lazy", str(self.disk)], check=False)
            super().close()

    def go(region):
        for name in ("n1", "n2"):
            region.add_agent(name)
        users = Users(CTL, region.folder / "user", region.folder, threads=3, pause_s=0.02,
                      spec={"attempts": 20})
        return trouble(region, users, options, getattr(region, "disk", None))

    if options.shared:
        with EtcdCluster(3) as etcd, SharedRegion(etcd) as region:
            return go(region)
    with OneScheduler() as region:
        return go(region)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--shared", action="store_true", help="two schedulers on etcd")
    parser.add_argument("--build", help="build folder")
    options = parser.parse_args()
    if options.build:
        os.environ["GODWIT_BUILD"] = options.build
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _frame: sys.exit(128 + n))
    from etcd_cluster import etcd_missing
    from region import Failed
    if options.shared and etcd_missing():
        print(f"skipped: {etcd_missing()}")
        return 77
    say(f"seed {options.seed}, {options.minutes} minutes")
    try:
        wrong, counts, told = run(options)
    except (Failed, OSError) as failure:
        print(f"chaos: {failure} (seed {options.seed})")
        return 1
    print(f"happened: {counts}\ntold: {told}")
    for what, jobs in wrong.items():
        print(f"{what}: {len(jobs)}", *jobs[:10])
    return 1 if any(wrong.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
