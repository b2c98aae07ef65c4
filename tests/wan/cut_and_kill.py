"""Real processes in the lab: a task is neither lost nor run twice.

A task on site b writes a line when it starts and one when it ends, and runs longer than what happens
to it: its agent is killed with -9 and started again, then the links between its site and the others
are cut for 30 s and healed. Afterwards the file must hold exactly one start and one end, from one
process, the scheduler must call the task succeeded, in its first attempt, and must have noticed that
the node was silent.
"""

import json
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "bench"))
import cluster  # pylint: disable=wrong-import-position

CUT_S = 30
TASK_S = CUT_S + 15


def node_state(grid, name):
    return next(n["state"] for n in grid.godwit("sites", "--json")["nodes"] if n["name"] == name)


def cut(grid, seconds):
    for link in ("a-b", "b-c"):
        cluster.run([cluster.LAB, "set", grid.name, link, "--cut", f"{seconds}s"])


def scenario(grid):
    trace = grid.folder / "trace"
    spec = (f"name: survivor\nkind: task\nsites: [b]\nresources: {{cpu: 0.1, memory: 64MiB}}\n"
            f"command: [sh, -c, 'echo start $$ >>{trace}; sleep {TASK_S}; echo end $$ >>{trace}']\n")
    job = grid.submit("survivor", spec)["job"]
    grid.wait_running(job)

    place, agent = next((i, p) for i, (n, p) in enumerate(grid.processes) if n == "agent-b1")
    agent.kill()
    agent.wait()
    grid.processes.pop(place)
    grid.start_agent("b1")
    cluster.wait_for("the agent to be back", lambda: node_state(grid, "b1") == "up", 30)
    if grid.job(job)["running"] != 1:
        return "the task does not run on after its agent was killed"

    cut(grid, CUT_S)
    cut_at = time.monotonic()
    cluster.wait_for("the scheduler to notice the silence",
                     lambda: node_state(grid, "b1") == "unknown", CUT_S)
    time.sleep(max(0, cut_at + CUT_S - time.monotonic()))  # the cut's own length, not a condition
    cluster.wait_for("the node to be back", lambda: node_state(grid, "b1") == "up", 60)
    info = cluster.wait_for("the job to end", lambda: (
        lambda found: found if found["state"] not in ("waiting", "running") else None)(
            grid.job(job)), TASK_S + 30)
    lines = trace.read_text(encoding="ascii").split("\n")[:-1]
    task = info["tasks"][0]
    if info["state"] != "succeeded" or task["attempt"] != 1:
        return f"the job is {info['state']} after {task['attempt']} attempts: {json.dumps(task)}"
    if len(lines) != 2 or lines[0].replace("start", "end") != lines[1]:
        return f"the task did not run exactly once: {lines}"
    return None


def main():
    cluster.use_build(pathlib.Path(sys.argv[1]))
    cluster.stoppable()
    try:
        with cluster.Cluster() as grid:
            fault = scenario(grid)
    except cluster.NoNamespaces as reason:
        print(f"skipped: {reason}")
        return 77
    except (cluster.Failed, subprocess.SubprocessError) as failure:
        fault = str(failure)
    print(fault or f"one run through an agent's kill -9 and a cut of {CUT_S} s")
    return 1 if fault else 0


sys.exit(main())
