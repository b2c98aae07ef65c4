"""Several schedulers of one region that share a journal in etcd: `failover.py TEST`.

Real programs on the loopback. Nothing sleeps: tasks wait for files, tests for conditions with a
deadline. How long a take-over takes is a benchmark's to measure.
"""

import contextlib
import pathlib
import re
import shutil
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from etcd_cluster import EtcdCluster, etcd_missing  # noqa: E402
from history import Users, settle  # noqa: E402
from region import AGENT, CTL, SCHEDULER, Failed, run, run_test, wait_for  # noqa: E402
from shared_region import HERE, SharedRegion  # noqa: E402


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")


def waiting_task(region, name="test"):
    ran, go = region.folder / f"{name}-ran", region.folder / f"{name}-go"
    job = region.submit(f"echo $$ >>{ran}; until [ -e {go} ]; do sleep 0.05; done; exit 5", name)
    region.wait_state(job, "running")
    wait_for("the task to start", ran.exists)
    return job, ran, go


def expect_one_run(region, job, ran):
    info = region.wait_state(job, "succeeded", "failed")
    expect("exit code", info["tasks"][0]["exit_code"], 5)
    expect("attempt", info["tasks"][0]["attempt"], 1)
    expect("runs", len(ran.read_text().splitlines()), 1)


def leader_killed(region):
    """kill -9: the standby knows every job, the task runs on and ends once, agents find it."""
    for round_number in range(3):
        first = region.leader()
        second = region.other(first)
        region.wait_following(second)
        job, ran, go = waiting_task(region, f"round-{round_number}")
        region.kill(first)
        region.wait_leader(second)
        expect("the job", region.job(job)["state"], "running")
        region.wait_up("n1")
        go.touch()
        expect_one_run(region, job, ran)
        region.wait_state(region.submit("exit 0", f"after-{round_number}"), "succeeded")
        region.serve(first)


def killed_under_load(region):
    """Users submit while leaders are killed, and snapshots are made and read: nothing is lost or
    doubled."""
    with Users(CTL, region.folder / "user", region.folder) as users:
        for round_number in range(3):
            first = wait_for("a leader", region.leader)
            second = region.other(first)
            region.wait_following(second)
            target = len(users.acknowledged()) + 20
            wait_for(f"{target} jobs", lambda: len(users.acknowledged()) >= target)
            if round_number == 2:
                wait_for("a snapshot", lambda: any(
                    "/snapshot/" in key for key in region.etcd.keys("/godwit/test/")), 60)
            region.kill(first)
            region.wait_leader(second)
            region.serve(first)
    settle(users, region)
    print(f"{len(users.acknowledged())} jobs acknowledged over 3 kills")


def leader_stopped(region):
    """SIGTERM hands over at once: the lease is given back."""
    first = region.leader()
    second = region.other(first)
    region.wait_following(second)
    job, ran, go = waiting_task(region)
    region.processes[first].terminate()
    expect("exit code", region.processes[first].wait(10), 0)
    region.wait_leader(second)
    go.touch()
    expect_one_run(region, job, ran)


def leader_paused(region):
    """A leader that slept past its lease says nothing more, and follows."""
    first = region.leader()
    second = region.other(first)
    region.wait_following(second)
    job, ran, go = waiting_task(region)
    region.processes[first].send_signal(signal.SIGSTOP)
    region.wait_leader(second)
    region.wait_up("n1")
    region.processes[first].send_signal(signal.SIGCONT)
    region.wait_following(first)
    expect("roles", region.roles(first)[-2:], ["deposed", "following"])
    expect("leader", region.leader(), second)
    go.touch()
    expect_one_run(region, job, ran)
    region.kill(second)  # what it missed, it has read
    region.wait_leader(first)
    expect_one_run(region, job, ran)


def joined_anywhere(region):
    """A ticket of the standby works there, and the newcomer is known to both."""
    first = region.leader()
    second = region.other(first)
    region.wait_following(second)
    region.ticket("n2", "--role", "agent", "--site", "b", "--name", "n2", at=second)
    run(AGENT, "join", "--state", region.folder / "n2", region.folder / "n2.ticket")
    region.start_agent("n2")
    region.wait_up("n2")
    region.ticket("ada", "--role", "operator", "--name", "ada", at=first)
    run(CTL, "join", "--config", region.folder / "ada", region.folder / "ada.ticket")
    run(CTL, "revoke", "--config", region.folder / "ada", "n2")
    region.kill(first)
    region.wait_leader(second)
    wait_for("n2 to be refused there too", lambda: "key_refused name=n2" in region.log(second))
    region.wait_up("n1")
    run(CTL, "sites", "--config", region.folder / "ada")


def etcd_away(region):
    """etcd stops: nothing new is taken, what runs runs on; then all goes on."""
    job, ran, go = waiting_task(region)
    region.etcd.pause(0)

    def refusal():
        try:
            region.submit("exit 0", "meanwhile")
        except Failed as failure:
            return str(failure)
        return None

    wait_for("new work to be refused", refusal)
    go.touch()
    region.etcd.resume(0)
    leader = wait_for("a leader", region.leader)
    region.wait_up("n1")
    expect_one_run(region, job, ran)
    region.wait_state(region.submit("exit 0", "after"), "succeeded")
    expect("alive", [region.processes[n].poll() for n in region.ports], [None, None])
    print(f"{leader} leads; roles {[region.roles(n) for n in region.ports]}")


def one_place_for_the_journal(region):
    """A state folder's journal is in etcd or on its machine, never once here and once there."""
    for name in region.ports:
        region.processes[name].terminate()
        expect("exit code", region.processes[name].wait(10), 0)
    process = region.spawn("without", SCHEDULER, "run", "--state", region.folder / "a", "--listen",
                           HERE, "--port", region.ports["a"])
    expect("exit code", process.wait(10), 1)
    if "start with --etcd" not in region.log("without"):
        raise Failed(f"the refusal: {region.log('without')}")
    done = subprocess.run([SCHEDULER, "check-journal", "--state", region.folder / "a"], text=True,
                          capture_output=True, check=False)
    if done.returncode != 1 or "is in etcd" not in done.stderr:
        raise Failed(f"the check: {done}")
    (region.folder / "a/etcd").rename(region.folder / "mark")
    (region.folder / "a/journal").mkdir()
    expect("exit code", region.serve("a").wait(10), 1)
    if "start without --etcd" not in region.log("a"):
        raise Failed(f"the refusal: {region.log('a')}")
    (region.folder / "a/journal").rmdir()
    region.serve("a")
    region.wait_leader("a")
    region.wait_up("n1")


def stop_all(region):
    for name in region.ports:
        if region.processes[name].poll() is None:
            region.processes[name].terminate()
            expect("exit code", region.processes[name].wait(10), 0)


def term_of(region, name):
    """As it said when it began to lead."""
    return int(re.search(r"event=leader .*term=(\d+)", region.log(name))[1])


def terms_after_a_backup(region):
    """etcd put back from a copy: the node obeys a later term, tells it, and is led in one above."""
    job, ran, go = waiting_task(region)
    stop_all(region)
    data, copy = region.etcd.folder / "e0", region.etcd.folder / "copy"
    region.etcd.kill(0)
    shutil.copytree(data, copy)
    region.etcd.start(0)
    region.etcd.wait_healthy()
    for _ in range(100):  # revisions that the copy knows nothing of
        region.etcd.put("/elsewhere", "x")
    region.serve("a")
    region.wait_leader("a")
    region.serve("b")
    heard = term_of(region, "a")
    wait_for("the leader to know both", lambda: "present=2" in region.log("a"))
    region.wait_up("n1")  # and the user has heard of both
    wait_for("the node to hear of both", lambda: re.findall(
        r"event=schedulers count=(\d+)", region.log("agent-n1"))[-1:] == ["2"])
    stop_all(region)
    region.etcd.kill(0)
    shutil.rmtree(data)
    copy.rename(data)
    region.etcd.start(0)
    region.etcd.wait_healthy()
    region.serve("a")
    region.wait_leader("a")
    region.wait_up("n1")
    if term_of(region, "a") >= heard or f"Term {heard + 1} begins" not in region.log("a"):
        raise Failed(f"the term above {heard}: {region.log('a')}")
    expect("losses told", region.godwit("sites")["records_lost"], 1)
    region.serve("b")
    region.wait_following("b")
    region.kill("a")
    region.wait_leader("b")  # in the term after the journal's, since etcd's revision is less
    expect("the next term", term_of(region, "b"), heard + 2)
    region.wait_up("n1")
    go.touch()
    expect_one_run(region, job, ran)
    expect("losses told", region.godwit("sites")["records_lost"], 1)


TESTS = [leader_killed, killed_under_load, leader_stopped, leader_paused, joined_anywhere, etcd_away,
         one_place_for_the_journal, terms_after_a_backup]


@contextlib.contextmanager
def shared():
    with EtcdCluster(1) as etcd, SharedRegion(etcd) as region:
        yield region


if etcd_missing():
    print(f"skipped: {etcd_missing()}")
    sys.exit(77)
run_test(TESTS, shared)
