"""godwit-agent with real processes: `agent.py TEST`.

Each test brings up a region on the loopback. Nothing sleeps: tasks wait for files, tests for
conditions with a deadline.
"""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from region import AGENT, KEEPER, SCHEDULER, Failed, Region, wait_for  # noqa: E402


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


def keeper_killed(region):
    """The keeper dies: its task is ended and told as lost, and the agent gets another keeper."""
    job, started, _go = waiting_task(region, "exit 0")
    region.wait_state(job, "running")
    os.kill(region.keeper_pid("n1"), signal.SIGKILL)
    wait_for("another keeper", lambda: region.keeper_pid("n1"))
    wait_for("the task to end", lambda: not alive(pids(started)[0]))
    region.wait_state(job, "failed", "running", "waiting")
    second = region.submit("exit 0", "second")
    region.wait_state(second, "succeeded")


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
    node = with_fake_library(region, "")
    devices = wait_for("devices", lambda: node()["info"]["devices"])
    expect("devices", [d["unavailable"] for d in devices],
           ["", "it cannot be opened: GPU is lost", ""])
    samples = wait_for("their figures", lambda: (node()["telemetry"] or {}).get("devices"))
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


def full_disk(region):
    """No room for what the agent must remember: what runs runs on, starts are refused."""
    node = region.folder / "n2"
    node.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", node],
                           text=True, capture_output=True, check=False)
    if mount.returncode != 0:
        print(f"skipped: a small file system cannot be mounted: {mount.stderr.strip()}")
        sys.exit(77)
    try:
        region.add_agent("n2", "b")
        region.processes["agent-n1"].terminate()
        wait_for("n1 to be gone", lambda: region.processes["agent-n1"].poll() is not None)
        started_and_refused(region, node)
    finally:
        subprocess.run(["umount", "-l", node], check=True)


def started_and_refused(region, node):
    log = region.folder / "agent-n2.log"
    job, started, go = waiting_task(region, "exit 9")
    region.wait_state(job, "running")
    with open(node / "filler", "wb", buffering=0) as filler:
        for size in (1 << 16, 1):  # to the last byte
            try:
                while filler.write(bytes(size)):
                    pass
            except OSError as error:
                expect("error", error.errno, errno.ENOSPC)
    # A shorter lease than any before is one that the agent must remember.
    refused = region.submit("exit 0", "refused", lease="1 h")
    info = wait_for("the refusal", lambda: (i := region.job(refused)) and
                    "No space left" in json.dumps(i) and i)
    if "agent-memory" not in json.dumps(info):
        raise Failed(f"the reason is not told: {info}")
    expect("the agent lives", region.processes["agent-n2"].poll(), None)
    expect("the task lives", alive(pids(started)[0]), True)
    expect("lines about it", log.read_text().count("event=cannot_remember"), 1)
    # The next agent does not know what this one could not store: it starts nothing either.
    kill_hard(region, "n2")
    region.start_agent("n2")
    region.wait_up("n2")
    again = region.submit("exit 0", "again")  # a lease as the first one's: nothing new to store
    wait_for("the refusal", lambda: "No space left" in json.dumps(region.job(again)))
    expect("the task lives", alive(pids(started)[0]), True)
    (node / "filler").unlink()
    wait_for("the memory to be stored", lambda: "event=remembers" in log.read_text())
    after = region.submit("exit 0", "after", lease="30 min")
    region.wait_state(after, "succeeded")
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
         cancelled_without_agent, keeper_killed, chatty_task,
         silent_for_a_while, paths_are_measured, accelerators_are_told, driver_hangs,
         full_disk, one_a_folder, refuses_misuse]


def main():
    test = {t.__name__: t for t in TESTS}.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if not test:
        sys.exit(f"usage: agent.py {'|'.join(t.__name__ for t in TESTS)}")
    with Region() as region:
        region.add_agent("n1")
        test(region)
    print(f"{test.__name__}: good")


try:
    main()
except Failed as failure:
    print(failure)
    sys.exit(1)
