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
from history import Users, all_jobs, at_rest, verdict

LIBRARY = grid.BUILD / "tests/unit/libpowercut.so"
ALIVE_S = (0.02, 1.0)  # a scheduler's life until it is killed
REST_S = 300


class Region(grid.Region):
    """Its scheduler may run under the library that notes what was not synced."""

    emulated = False
    undone = 0

    def start_scheduler(self):
        state, log = self.folder / "scheduler", self.folder / "unsynced"
        prefix = []
        if self.emulated:
            variables = powercut.environment(str(LIBRARY), str(state), str(log))
            prefix = ["env"] + [f"{name}={variables[name]}" for name in
                                ("LD_PRELOAD", "POWERCUT_FOLDER", "POWERCUT_LOG")]
        return self.spawn("scheduler", *prefix, grid.SCHEDULER, "run", "--state", state, "--listen",
                          "127.0.0.1", "--port", self.port)

    def kill_scheduler(self, seed):
        process = self.processes.pop("scheduler")
        process.kill()
        process.wait()
        if self.emulated:
            undone, _ = powercut.cut(str(self.folder / "scheduler"), str(self.folder / "unsynced"),
                                     seed)
            self.undone += undone


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
        grid.wait_for("all jobs to end", lambda: at_rest(region.godwit), REST_S)
        jobs = all_jobs(region.godwit)
        told = {"writes undone": region.undone, "acknowledged": len(users.acknowledged()), "known": len(jobs),
                "not answered": sum(users.refusals().values())}
        return verdict(users, jobs), told
