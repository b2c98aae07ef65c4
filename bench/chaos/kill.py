"""kill -9 of a real scheduler at random points under load.

The scheduler is started, killed after a time that a seed draws (also while it still recovers), and
started again on what it left; at every second point the folder is first put into a state in which a
power cut could have left it: what was not synced is gone, or there in part. Users submit all the
while. At the end everything acknowledged must be there and must have run once.
"""

import random
import time

import powercut
import region as grid
from history import Users, all_jobs, verdict

ALIVE_S = (0.02, 1.0)  # a scheduler's life until it is killed
REST_S = 300


class Region(grid.Region):
    """Its scheduler may run under the library that notes what was not synced."""

    emulated = False

    def start_scheduler(self):
        state = self.folder / "scheduler"
        prefix = powercut.command(state) if self.emulated else []
        return self.spawn("scheduler", *prefix, grid.SCHEDULER, "run", "--state", state, "--listen",
                          "127.0.0.1", "--port", self.port)

    def kill_scheduler(self, seed):
        process = self.processes.pop("scheduler")
        process.kill()
        process.wait()
        if self.emulated:
            powercut.cut(self.folder / "scheduler", seed)


def kill_points(points, seed, say):
    """({what is wrong: jobs}, {what happened: count})."""
    draw = random.Random(seed)
    with Region() as region:
        region.add_agent("n1")
        with Users(grid.CTL, region.folder / "user", region.folder) as users:
            for point in range(points):
                time.sleep(draw.uniform(*ALIVE_S))  # the moment itself is what is drawn
                region.kill_scheduler(draw.getrandbits(32))
                region.emulated = point % 2 == 0
                region.start_scheduler()
                if (point + 1) % 20 == 0:
                    say(f"killed {point + 1} times of {points}, "
                        f"{len(users.acknowledged())} jobs acknowledged")
        grid.wait_for("all jobs to end", lambda: all(
            job["state"] not in ("waiting", "running") for job in all_jobs(region.godwit).values()),
            REST_S)
        jobs = all_jobs(region.godwit)
        told = {"acknowledged": len(users.acknowledged()), "known": len(jobs),
                "not answered": sum(users.refusals().values())}
        return verdict(users, jobs), told
