"""godwit-agent with real processes: `agent.py TEST`.

Each test brings up a region on the loopback. Nothing sleeps: tasks wait for files, tests for
conditions with a deadline.
"""

import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from region import (AGENT, KEEPER, SCHEDULER, TASK_USER, Failed, Region,  # noqa: E402
                    run_test, wait_for)


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")


def waiting_task(region, last_words):
    """A task that writes its pid, waits for a file and ends with `last_words`; id and files."""
    started, go = region.folder / "started", region.folder / "go"
    job = region.submit(f"echo $$ >>{started}; until [ -e {go} ]; do sleep 0.05; done; "
                        f"{last_words}")
    wait_for("the task to start", started.exists)
    return job, started, go


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def pids(started):
    return [int(word) for word in started.read_text().split()]


def kill_hard(region, name):
    process = region.processes[f"agent-{name}"]
    process.kill()
    process.wait()


def expect_one_run(region, job, started, exit_code):
    info = region.wait_state(job, "succeeded", "failed")
    expect("runs of the task", len(pids(started)), 1)
    expect("exit code", info["tasks"][0]["exit_code"], exit_code)
    expect("attempt", info["tasks"][0]["attempt"], 1)


def killed_mid_task(region):
    """kill -9 of the agent under a running task: found again, neither lost nor run twice."""
    job, started, go = waiting_task(region, "echo done; exit 5")
    region.wait_state(job, "running")
    kill_hard(region, "n1")
    expect("the task lives", alive(pids(started)[0]), True)
    region.start_agent("n1")
    region.wait_up("n1")
    expect("the task lives", alive(pids(started)[0]), True)
    go.touch()
    expect_one_run(region, job, started, 5)


def ended_without_agent(region):
    """The task ends while there is no agent: its status is told by the next one."""
    job, started, go = waiting_task(region, "exit 6")
    region.wait_state(job, "running")
    kill_hard(region, "n1")
    go.touch()
    wait_for("the task to end", lambda: not alive(pids(started)[0]))
    region.start_agent("n1")
    expect_one_run(region, job, started, 6)


def killed_again_and_again(region):
    """Ten deaths of the agent, at whatever moment they come."""
    job, started, go = waiting_task(region, "exit 7")
    for _ in range(10):
        kill_hard(region, "n1")
        region.start_agent("n1")
    go.touch()
    region.wait_up("n1")
    expect_one_run(region, job, started, 7)


def stopped_in_order(region):
    """SIGTERM ends the agent, says so to the scheduler, and leaves the task running."""
    job, started, go = waiting_task(region, "exit 0")
    process = region.processes["agent-n1"]
    process.terminate()
    expect("exit code", process.wait(10), 0)
    wait_for("the node to be draining",
             lambda: region.godwit("sites")["nodes"][0]["info"]["draining"])
    expect("the task lives", alive(pids(started)[0]), True)
    region.start_agent("n1")
    region.wait_up("n1")
    go.touch()
    expect_one_run(region, job, started, 0)


def cancelled_without_agent(region):
    """A cancel that comes while the agent is away is carried out by the next one."""
    job, started, _go = waiting_task(region, "exit 0")
    region.wait_state(job, "running")
    kill_hard(region, "n1")
    region.godwit("cancel", job)
    expect("the task lives", alive(pids(started)[0]), True)
    region.start_agent("n1")
    region.wait_state(job, "cancelled")
    wait_for("the task to end", lambda: not alive(pids(started)[0]))
    expect("runs of the task", len(pids(started)), 1)


def two_tasks(region):
    """Two tasks that write their pids and wait; files with the pids."""
    files = [region.folder / f"pids{i}" for i in (1, 2)]
    jobs = [region.submit(f"echo $$ >>{file}; exec sleep 1000", f"task{i}")
            for i, file in enumerate(files)]
    for file in files:
        wait_for("a task to start", lambda f=file: f.exists() and f.read_text())
    return jobs, files


def never_two(files):
    """Of each task at most one process lives."""
    for file in files:
        living = [pid for pid in pids(file) if alive(pid)]
        if len(living) > 1:
            raise Failed(f"{len(living)} runs of one task live at once: {living}")
    return True


def keeper_killed(region):
    """The keeper dies under tasks: noticed at once, they are ended and told as lost, once each."""
    jobs, files = two_tasks(region)
    first = [pids(file)[0] for file in files]
    log = region.folder / "agent-n1.log"
    os.kill(region.keeper_pid("n1"), signal.SIGKILL)
    wait_for("the agent to notice", lambda: "event=keeper_gone" in log.read_text())
    wait_for("the tasks to end", lambda: never_two(files) and not any(map(alive, first)))
    for job in jobs:
        wait_for("the loss to be told", lambda j=job: never_two(files) and (
            region.job(j)["tasks"][0]["attempt"] > 1 or
            "lost with the keeper that ran it" in json.dumps(region.job(j))))
    expect("losses told", log.read_text().count("event=exited"), 2)
    expect("state", node(region, "n1")["state"], "up")
    for job in jobs:  # they may be running again
        region.godwit("cancel", job)
    region.wait_state(region.submit("exit 0", "second"), "succeeded")


def keeper_killed_again_and_again(region):
    """Six deaths of the keeper while tasks start and end: no attempt runs twice, no two at once."""
    runs, doubles = region.folder / "runs", region.folder / "doubles"
    jobs = [region.submit(f"exec 9>{region.folder}/lock{i}; flock -n 9 || echo {i} >>{doubles}; "
                          f"echo $GODWIT_KEEPER_ATTEMPT >>{runs}; sleep 0.1", f"task{i}",
                          attempts=20) for i in range(8)]
    log = region.folder / "agent-n1.log"
    for death in range(1, 7):
        wait_for("a start", lambda d=death: log.read_text().count("event=spawn ") >= d)
        os.kill(wait_for("a keeper", lambda: region.keeper_pid("n1")), signal.SIGKILL)
        wait_for("its end to be noticed",
                 lambda d=death: log.read_text().count("event=keeper_gone") == d)
        wait_for("another keeper", lambda d=death: log.read_text().count("event=keeper ") == d + 1)
    for job in jobs:
        region.wait_state(job, "succeeded")
    attempts = runs.read_text().split()
    expect("attempts that ran twice", len(attempts) - len(set(attempts)), 0)
    expect("runs at once", doubles.exists(), False)


def both_killed(region):
    """Keeper and agent die together: the next ones find the tasks, end them and say so."""
    jobs, files = two_tasks(region)
    first = [pids(file)[0] for file in files]
    os.kill(region.keeper_pid("n1"), signal.SIGKILL)
    kill_hard(region, "n1")
    expect("tasks without keeper", [alive(pid) for pid in first], [True, True])
    region.start_agent("n1")
    region.wait_up("n1")
    expect("tasks with the next keeper", [alive(pid) for pid in first], [False, False])
    for job in jobs:
        wait_for("the loss to be told", lambda j=job: never_two(files) and (
            region.job(j)["tasks"][0]["attempt"] > 1 or
            "lost with the keeper that ran it" in json.dumps(region.job(j))))
        region.godwit("cancel", job)
    region.wait_state(region.submit("exit 0", "second"), "succeeded")


def keeper_stopped(region):
    """A keeper that does not answer: the agent is heard as ever, takes no work and says why."""
    job, started, go = waiting_task(region, "exit 4")
    region.wait_state(job, "running")
    keeper = region.keeper_pid("n1")
    os.kill(keeper, signal.SIGSTOP)
    try:
        kill_hard(region, "n1")  # the next one connects to it, and hears nothing either
        region.start_agent("n1", ("--telemetry", "1 s"))
        log = region.folder / "agent-n1.log"
        wait_for("the agent to say so", lambda: "its keeper does not answer" in log.read_text())
        os.kill(keeper, signal.SIGCONT)
        region.wait_up("n1")
        os.kill(keeper, signal.SIGSTOP)
        wait_node(region, "n1", "draining", "its keeper does not answer")
        second = region.submit("exit 0", "second")
        wait_for("why it waits", lambda: region.job(second)["wait_reason"])
        expect("the task lives", alive(pids(started)[0]), True)
    finally:
        os.kill(keeper, signal.SIGCONT)
    region.wait_state(second, "succeeded")
    go.touch()
    expect_one_run(region, job, started, 4)


def declined(region):
    """Starts that reach an agent whose keeper is silent: no failures, though one try is all they
    have, and another node runs them."""
    small = {"attempts": 1, "resources": {"cpu": 0.1, "memory": "16 MiB"}}
    keeper = region.keeper_pid("n1")
    agent = region.processes["agent-n1"]
    log = region.folder / "agent-n1.log"
    os.kill(keeper, signal.SIGSTOP)
    try:
        first = region.submit("exit 0", "first", **small)
        wait_for("it to be handed on", lambda: "event=spawn " in log.read_text())
        agent.send_signal(signal.SIGSTOP)
        jobs = [region.submit("exit 0", f"crossing{i}", **small) for i in range(4)]
        wait_for("the keeper to be silent for long",
                 lambda: node(region, "n1")["silent_us"] > 6_000_000)
        agent.send_signal(signal.SIGCONT)
        wait_for("them to be declined",
                 lambda: log.read_text().count("event=not_spawned") == len(jobs))
        wait_node(region, "n1", "draining", "its keeper does not answer")
        for job in jobs:
            why = wait_for("why it waits", lambda j=job: region.job(j)["wait_reason"])
            expect("it names the node", "(n1: its keeper does not answer)" in why, True)
        expect("declined again", log.read_text().count("event=not_spawned"), len(jobs))
        region.add_agent("n2", "b")
        for job in jobs:
            task = region.wait_state(job, "succeeded", "failed")["tasks"][0]
            expect("where it ran", (task["state"], task["node_name"]), ("succeeded", "n2"))
    finally:
        agent.send_signal(signal.SIGCONT)
        os.kill(keeper, signal.SIGCONT)
    region.wait_state(first, "succeeded")
    region.wait_up("n1")


def upgraded(region):
    """Another agent program takes the place of the first while a task runs."""
    job, started, go = waiting_task(region, "exit 3")
    region.wait_state(job, "running")
    process = region.processes["agent-n1"]
    process.terminate()
    expect("exit code", process.wait(10), 0)
    program = region.folder / "godwit-agent"
    shutil.copy(AGENT, program)
    region.spawn("agent-n1", program, "run", "--state", region.folder / "n1", "--data-address",
                 "127.0.0.1", "--keeper", KEEPER, *TASK_USER)
    region.wait_up("n1")
    go.touch()
    expect_one_run(region, job, started, 3)


def former_memory(region):
    """A state folder of an agent of before the journal: what its file says lasts, and it goes."""
    kill_hard(region, "n1")
    shutil.rmtree(region.folder / "n1/journal")
    memory = region.folder / "n1/agent-memory"
    memory.write_text("godwit-agent-memory 1\nterm 1000000\n"
                      "boot 00000000000000000000000000000000\nrenewed-us 0\nlease-us 0\n")
    region.start_agent("n1")
    wait_for("the file to go", lambda: not memory.exists())
    kill_hard(region, "n1")
    region.start_agent("n1")  # now out of the journal
    log = region.folder / "agent-n1.log"
    # The scheduler may have been told of it, and lead in the next one.
    wait_for("the term to be known",
             lambda: any(f" term={term}" in log.read_text() for term in (1000000, 1000001)))
    expect("upgrades", log.read_text().count("event=upgraded"), 1)


def cut_off(region):
    """A scheduler that is not there while tasks end: their ends are told when it is, once."""
    jobs = [waiting_task_of(region, i) for i in (1, 2)]
    for job, _started, _go in jobs:
        region.wait_state(job, "running")
    scheduler = region.processes["scheduler"]
    scheduler.send_signal(signal.SIGSTOP)
    log = region.folder / "agent-n1.log"
    for _job, _started, go in jobs:
        go.touch()
    wait_for("the tasks to end", lambda: log.read_text().count("event=exited") == 2)
    expect("forgotten", log.read_text().count("event=forget"), 0)
    scheduler.send_signal(signal.SIGCONT)
    for i, (job, started, _go) in enumerate(jobs):
        expect_one_run(region, job, started, i + 1)
    wait_for("them to be forgotten", lambda: log.read_text().count("event=forget") == 2)
    expect("output", region.godwit("logs", jobs[0][0]) and True, True)


def waiting_task_of(region, number):
    """waiting_task, with files of its own; ends with its number."""
    started, go = region.folder / f"started{number}", region.folder / f"go{number}"
    job = region.submit(f"echo $$ >>{started}; until [ -e {go} ]; do sleep 0.05; done; "
                        f"exit {number}", f"task{number}")
    wait_for("the task to start", started.exists)
    return job, started, go


def chatty_task(region):
    """A task that writes without end blocks neither heartbeats nor another task."""
    job = region.submit("exec yes")
    region.wait_state(job, "running")
    wait_for("much output", lambda: sum(f.stat().st_size for f in
                                        (region.folder / "n1/keeper").rglob("1.*")) > 1 << 22)
    second = region.submit("exit 0", "second")
    region.wait_state(second, "succeeded")
    expect("state", region.godwit("sites")["nodes"][0]["state"], "up")
    region.godwit("cancel", job)
    region.wait_state(job, "cancelled")


def silent_for_a_while(region):
    """An agent that is not heard of until the scheduler does not know of it, and comes back."""
    job, started, go = waiting_task(region, "exit 8")
    region.wait_state(job, "running")
    process = region.processes["agent-n1"]
    process.send_signal(signal.SIGSTOP)
    wait_for("the scheduler to miss it",
             lambda: region.godwit("sites")["nodes"][0]["state"] == "unknown")
    expect("the task lives", alive(pids(started)[0]), True)
    process.send_signal(signal.SIGCONT)
    region.wait_up("n1")
    go.touch()
    expect_one_run(region, job, started, 8)


def silent_within_a_session(region):
    """An agent that stands still while its connection lives, beyond its attempt's replacement."""
    region.stop_scheduler()
    region.start_scheduler("--unknown-after", "1s", "--lost-after", "2s")
    region.wait_up("n1")
    started = region.folder / "started"
    job = region.submit(f"echo $$ >>{started}; exec sleep 1000", lease="60 s", grace="1 s",
                        disconnect={"lost_after": "2 s", "replace": "at_once",
                                    "reconcile": "keep_original"})
    region.wait_state(job, "running")
    process = region.processes["agent-n1"]
    process.send_signal(signal.SIGSTOP)
    try:
        wait_for("it to be given up", lambda: region.job(job)["waiting"] == 1)
        region.add_agent("n2")
        wait_for("its replacement", lambda: started.exists() and len(pids(started)) == 2)
    finally:
        process.send_signal(signal.SIGCONT)
    first, second = pids(started)
    wait_for("the replacement to end", lambda: not alive(second))
    expect("the original lives", alive(first), True)
    wait_for("it to count", lambda: region.job(job)["tasks"][0]["attempt"] == 1)
    if not node(region, "n1")["away_us"] >= 1000000:
        raise Failed(f"expected to be told of its silence: {node(region, 'n1')}")


def paths_are_measured(region):
    """Two sites: both agents probe each other, and the scheduler hears of it."""
    region.add_agent("n2", "b")
    pairs = wait_for("both directions", lambda: (p := region.godwit("sites")["pairs"])[1:] and p)
    expect("pairs", sorted((p["from"], p["to"]) for p in pairs), [("a", "b"), ("b", "a")])
    expect("loss", [p["loss_ppm"] for p in pairs], [0, 0])


def with_fake_library(region, mode):
    """Restarts the agent with a stand-in for the accelerators' library; its node as told."""
    library = region.folder / "libnvidia-ml.so.1"
    library.write_bytes(pathlib.Path(os.environ["GODWIT_FAKE_NVML"]).read_bytes())
    kill_hard(region, "n1")
    os.environ.update(LD_LIBRARY_PATH=str(region.folder), FAKE_NVML=mode)
    region.start_agent("n1", ["--telemetry", "1 s"])
    del os.environ["LD_LIBRARY_PATH"]
    return lambda: region.godwit("sites")["nodes"][0]


def accelerators_are_told(region):
    """Devices by a child that ends: two that can be used, one that says why not."""
    told = with_fake_library(region, "")
    devices = wait_for("devices", lambda: told()["info"]["devices"])
    expect("devices", [d["unavailable"] for d in devices],
           ["", "it cannot be opened: GPU is lost", ""])
    samples = wait_for("their figures", lambda: (told()["telemetry"] or {}).get("devices"))
    expect("utilisation", samples[0]["utilisation_ppm"], 350000)
    expect("children left", children(region.processes["agent-n1"].pid) <= 1, True)


def children(pid):
    """Processes whose parent is `pid`; one may be reading just now."""
    count = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            count += int(stat.read_text().rsplit(")", 1)[1].split()[1]) == pid
        except OSError:
            pass
    return count


def driver_hangs(region):
    """A driver that never answers delays the agent's start, and nothing else."""
    with_fake_library(region, "hang")
    job = region.submit("exit 0")
    region.wait_state(job, "succeeded")
    expect("devices", region.godwit("sites")["nodes"][0]["info"]["devices"], [])


def node(region, name):
    return next(n for n in region.godwit("sites")["nodes"] if n["name"] == name)


def wait_node(region, name, state, reason=""):
    """Until the node is in this state, and says why if it takes no work."""
    return wait_for(f"{name} to be {state}", lambda: (n := node(region, name))["state"] == state and
                    (not reason or reason in n["info"]["draining_reason"]) and n)


def full_disk(region):
    """A state folder without room: what runs runs on, nothing is placed there, and why is told."""
    folder = region.folder / "n2"
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", folder],
                           text=True, capture_output=True, check=False)
    if mount.returncode != 0:
        print(f"skipped: a small file system cannot be mounted: {mount.stderr.strip()}")
        sys.exit(77)
    try:
        region.add_agent("n2", "b", ("--telemetry", "1 s"))
        region.processes["agent-n1"].terminate()
        wait_for("n1 to be gone", lambda: region.processes["agent-n1"].poll() is not None)
        started_and_refused(region, folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def started_and_refused(region, folder):
    reason = "the disk of its state folder has less than 1 MiB left"
    job, started, go = waiting_task(region, "exit 9")
    region.wait_state(job, "running")
    with open(folder / "filler", "wb", buffering=0) as filler:
        for size in (1 << 16, 1):  # to the last byte
            try:
                while filler.write(bytes(size)):
                    pass
            except OSError as error:
                expect("error", error.errno, errno.ENOSPC)
    wait_node(region, "n2", "draining", reason)
    waiting = region.submit("exit 0", "waiting", lease="1 h")
    wait_for("why it waits", lambda: region.job(waiting)["wait_reason"])
    expect("the agent lives", region.processes["agent-n2"].poll(), None)
    expect("the task lives", alive(pids(started)[0]), True)
    kill_hard(region, "n2")
    region.start_agent("n2", ("--telemetry", "1 s"))
    wait_node(region, "n2", "draining", reason)
    expect("the task lives", alive(pids(started)[0]), True)
    expect("state", region.job(waiting)["state"], "waiting")
    (folder / "filler").unlink()
    region.wait_state(waiting, "succeeded")
    go.touch()
    expect_one_run(region, job, started, 9)


def one_a_folder(region):
    """A second daemon on a state folder is refused by the first one's pid, and harms nothing."""
    first = region.processes["agent-n1"].pid
    scheduler = region.processes["scheduler"].pid
    for pid, command in ((first, (AGENT, "run", "--state", region.folder / "n1",
                                  "--data-address", "127.0.0.1", "--keeper", KEEPER)),
                         (scheduler, (SCHEDULER, "run", "--state", region.folder / "scheduler",
                                      "--listen", "127.0.0.1", "--port", str(region.port)))):
        done = subprocess.run(command, text=True, capture_output=True, check=False, timeout=20)
        expect("exit code", done.returncode, 1)
        if f"process {pid} already runs on this state folder" not in done.stderr:
            raise Failed(f"expected the pid {pid} in {done.stderr!r}")
    region.wait_state(region.submit("exit 0"), "succeeded")
    kill_hard(region, "n1")  # what it held ends with it
    region.start_agent("n1")
    region.wait_state(region.submit("exit 0", "after"), "succeeded")


def refuses_misuse(region):
    """Wrong options and a foreign state folder: a sentence each, exit 2 or 1."""
    config = region.folder / "agent.yaml"
    config.write_text("state: /tmp\nports: 9-3\n")

    def refused(code, words, *arguments):
        done = subprocess.run([AGENT, "run", *arguments], text=True, capture_output=True,
                              check=False, timeout=20)
        expect(f"exit code of {arguments}", done.returncode, code)
        if words not in done.stderr:
            raise Failed(f"{arguments}: expected {words!r} in {done.stderr!r}")

    refused(2, "--state DIR is needed")
    refused(2, f'{config}:2:8: ports: found "9-3"', "--config", config)
    refused(2, 'unknown option "--stat"', "--stat", "x")
    refused(2, "residency", "--state", "/tmp", "--residency", "china", "--check")
    refused(2, "data-address", "--state", "/tmp", "--data-address", "host", "--check")
    refused(1, "No such file", "--state", region.folder / "nowhere")
    refused(1, 'is of "n1", not of "n2"', "--state", region.folder / "n1", "--name", "n2")
    refused(1, "is not an agent's", "--state", region.folder / "user")


TESTS = [killed_mid_task, ended_without_agent, killed_again_and_again, stopped_in_order,
         cancelled_without_agent, keeper_killed,
         keeper_killed_again_and_again, both_killed, keeper_stopped, declined, upgraded,
         former_memory, cut_off, chatty_task,
         silent_for_a_while, silent_within_a_session, paths_are_measured, accelerators_are_told,
         driver_hangs, full_disk, one_a_folder, refuses_misuse]


run_test(TESTS, Region)
