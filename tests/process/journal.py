"""What a scheduler remembers, with real processes: `journal.py TEST`.

Each test brings up a region on the loopback and ends its scheduler in some hard way. Nothing
sleeps: a scheduler is killed when so many jobs were acknowledged, while others are on their way.
"""

import errno
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from history import Users, settle  # noqa: E402
from region import CTL, SCHEDULER, Failed, Region, run, run_test, wait_for  # noqa: E402

KILLS = 10
BLOCK = 4096  # a batch of the journal begins at a multiple of it


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")


def expect_in(what, words, text):
    if words not in text:
        raise Failed(f"{what}: expected {words!r} in: {text}")


def journal(region):
    return region.folder / "scheduler/journal"


def inspect(region, command, *arguments, code=0):
    """One of the commands that read a journal; its stdout and stderr."""
    done = subprocess.run([SCHEDULER, command, "--state", region.folder / "scheduler", *arguments],
                          text=True, capture_output=True, check=False, timeout=30)
    expect(f"exit code of {command} ({done.stderr.strip()})", done.returncode, code)
    return done.stdout, done.stderr


def checked(region, *where):
    return json.loads(inspect(region, "check-journal", "--json", *where)[0])


def dumped(region):
    return [json.loads(line) for line in inspect(region, "dump-journal")[0].splitlines()]


def log_of(region, name="scheduler"):
    return (region.folder / f"{name}.log").read_text(errors="replace")


def refused_start(region):
    """The scheduler must end by itself; what it said."""
    process = region.start_scheduler()
    wait_for("the scheduler to refuse", lambda: process.poll() is not None)
    expect("exit code", process.returncode, 1)
    return log_of(region).splitlines()[-1]


def killed_mid_task(region):
    """The task runs on without a scheduler, and ends once, known to the next."""
    ran, go = region.folder / "ran", region.folder / "go"
    job = region.submit(f"echo $$ >>{ran}; until [ -e {go} ]; do sleep 0.05; done; exit 5")
    region.wait_state(job, "running")
    wait_for("the task to start", ran.exists)
    region.kill_scheduler()
    region.start_scheduler()
    region.wait_up("n1")
    expect("state after the restart", region.job(job)["state"], "running")
    go.touch()
    info = region.wait_state(job, "succeeded", "failed")
    expect("exit code", info["tasks"][0]["exit_code"], 5)
    expect("attempt", info["tasks"][0]["attempt"], 1)
    expect("runs", len(ran.read_text().splitlines()), 1)


def ended_without_scheduler(region):
    """A task that ends while there is none, and one that was waiting, are both settled after."""
    ran, go = region.folder / "ran", region.folder / "go"
    job = region.submit(f"echo $$ >>{ran}; until [ -e {go} ]; do sleep 0.05; done; exit 6")
    region.wait_state(job, "running")
    wait_for("the task to start", ran.exists)
    nowhere = region.submit("exit 0", "nowhere", labels=["rack=9"])
    region.kill_scheduler()
    pid = int(ran.read_text())
    go.touch()
    wait_for("the task to end", lambda: not pathlib.Path(f"/proc/{pid}").exists())
    region.start_scheduler()
    region.wait_up("n1")
    info = region.wait_state(job, "succeeded", "failed")
    expect("exit code", info["tasks"][0]["exit_code"], 6)
    expect("runs", len(ran.read_text().splitlines()), 1)
    expect("the job that waits", region.job(nowhere)["state"], "waiting")
    region.godwit("cancel", nowhere)


def killed_again_and_again(region):
    """kill -9 under load: whatever a user was told is known, and ran once."""
    seed = int(os.environ.get("GODWIT_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"GODWIT_SEED={seed}")
    draw = random.Random(seed)
    with Users(CTL, region.folder / "user", region.folder) as users:
        for _ in range(KILLS):
            target = len(users.acknowledged()) + draw.randrange(1, 12)
            wait_for(f"{target} jobs", lambda: len(users.acknowledged()) >= target)
            region.kill_scheduler()
            region.start_scheduler()
    settle(users, region)
    print(f"{len(users.acknowledged())} jobs acknowledged over {KILLS} kills")
    found = checked(region)
    records = [line["record"] for line in dumped(region) if "record" in line]
    expect("records", len(records), found["records"])
    accepted = {r["job_accepted"]["job"] for r in records if "job_accepted" in r}
    expect("jobs without a record", set(users.acknowledged()) - accepted, set())


def snapshots(region):
    """Small snapshots under load: the journal stays short and the state whole."""
    region.stop_scheduler()
    region.start_scheduler("--snapshot-after", "64 KiB")
    region.wait_up("n1")
    with Users(CTL, region.folder / "user", region.folder) as users:
        for _ in range(2):
            before = checked(region)["snapshot_seq"]
            wait_for("a snapshot", lambda: checked(region)["snapshot_seq"] > before, 60)
            region.kill_scheduler()
            region.start_scheduler("--snapshot-after", "64 KiB")
    settle(users, region)
    lines = dumped(region)
    if "snapshot" not in lines[0]:
        raise Failed(f"the dump begins with no snapshot: {lines[0]}")
    jobs = [j for line in lines if "snapshot" in line for j in line["snapshot"]["jobs"]]
    expect("specs in the snapshot", {type(j["spec"]) for j in jobs if j["job"]}, {dict})
    region.stop_scheduler()
    expect_in("the check", "snapshot", inspect(region, "--check-journal")[0])


def last_segment(region):
    return max(journal(region).glob("segment-*"))


def damage(region):
    """A bit that turned: no start, the file and the place are named, and nothing is changed."""
    jobs = [region.submit("exit 0", f"job-{n}") for n in range(3)]
    for job in jobs:
        region.wait_state(job, "succeeded")
    region.stop_scheduler()
    path = last_segment(region)
    good = path.read_bytes()
    at = BLOCK + 100  # in the first batch, behind its header
    path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:])
    bad = path.read_bytes()
    for said in (refused_start(region), inspect(region, "check-journal", code=1)[1]):
        expect_in("the refusal", path.name, said)
        expect_in("the refusal", str(BLOCK), said)
    found = json.loads(inspect(region, "check-journal", "--json", code=1)[0])
    expect("sound", found["sound"], False)
    inspect(region, "dump-journal", code=1)
    expect("the file is as it was", path.read_bytes() == bad, True)
    path.write_bytes(good)
    expect("sound", checked(region)["sound"], True)
    region.start_scheduler()
    region.wait_up("n1")
    for job in jobs:
        expect("state", region.job(job)["state"], "succeeded")


def torn_tail(region):
    """Half a write at the end: cut, said, and started."""
    job = region.submit("exit 0")
    region.wait_state(job, "succeeded")
    region.kill_scheduler()
    expect("cut", checked(region)["cut_bytes"], 0)
    path = last_segment(region)
    end = len(path.read_bytes().rstrip(b"\0"))
    with open(path, "r+b") as file:  # behind it there may be room taken in advance
        file.seek(-(-end // BLOCK) * BLOCK)
        file.write(b"GWBATCH\n" + bytes(range(200)))
    if checked(region)["cut_bytes"] == 0:
        raise Failed("the check does not tell of the tail")
    region.start_scheduler()
    region.wait_up("n1")
    expect_in("the log", "event=journal_cut bytes=", log_of(region))
    expect("state", region.job(job)["state"], "succeeded")
    region.stop_scheduler()
    expect("cut", checked(region)["cut_bytes"], 0)


def ids_are_never_given_twice(region):
    """Whichever of the journal and the count of epochs is lost."""
    def epoch():
        return int(region.submit("exit 0").split(".")[1])

    epochs = [epoch()]
    for lost in ("journal", "epoch"):
        region.stop_scheduler()
        (region.folder / "scheduler" / lost).rename(region.folder / f"lost-{lost}")
        if lost == "journal":  # agents would end what runs, so it is not begun by itself
            expect("exit code", region.start_scheduler().wait(10), 1)
            expect("the refusal", "--begin-anew" in log_of(region), True)
            region.start_scheduler("--begin-anew")
        else:
            region.start_scheduler()
        region.wait_up("n1")
        expect("said that it is missing", "event=journal_missing" in log_of(region), True)
        epochs.append(epoch())
    expect("epochs, each higher", epochs, sorted(set(epochs)))
    done = region.submit("exit 0", "after")
    region.wait_state(done, "succeeded")


def full_disk(region):
    """No room for records: new work is refused with a sentence, and taken once there is room."""
    region.stop_scheduler()
    folder = journal(region)
    kept = region.folder / "kept"
    folder.rename(kept)
    folder.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", folder],
                           text=True, capture_output=True, check=False)
    if mount.returncode != 0:
        print(f"skipped: a small file system cannot be mounted: {mount.stderr.strip()}")
        sys.exit(77)
    try:
        run("cp", "-a", f"{kept}/.", folder)
        region.start_scheduler()
        region.wait_up("n1")
        refused_and_taken(region, folder)
    finally:
        region.stop_scheduler()
        subprocess.run(["umount", "-l", folder], check=True)


def refused_and_taken(region, folder):
    ran, go = region.folder / "ran", region.folder / "go"
    job = region.submit(f"echo x >>{ran}; until [ -e {go} ]; do sleep 0.05; done")
    region.wait_state(job, "running")
    with open(folder / "filler", "wb", buffering=0) as filler:
        for size in (1 << 16, 1):  # to the last byte
            try:
                while filler.write(bytes(size)):
                    pass
            except OSError as error:
                expect("error", error.errno, errno.ENOSPC)

    spec = region.folder / "more.yaml"
    spec.write_text('{"name": "more", "command": ["true"]}', encoding="utf-8")

    def refusal():
        try:
            region.godwit("submit", "--timeout", "1 s", spec)
        except Failed as failure:
            return str(failure)
        return None

    # There may be room for some. The first for which there is none waits; the next is refused.
    wait_for("a refusal", lambda: "No space left" in (refusal() or ""))
    wait_for("a line about it", lambda: "event=journal_slow" in log_of(region))
    expect("the scheduler lives", region.processes["scheduler"].poll(), None)
    if not region.godwit("version", "--timeout", "2 s")["scheduler"]:
        raise Failed("a version waits for no record, and none came")
    expect("the node", region.processes["agent-n1"].poll(), None)
    (folder / "filler").unlink()
    wait_for("new work to be taken", lambda: not refusal())
    region.wait_state(region.submit("exit 0", "after"), "succeeded")
    wait_for("a line about it", lambda: "event=journal_well" in log_of(region))
    go.touch()
    region.wait_state(job, "succeeded")
    expect("runs", len(ran.read_text().splitlines()), 1)


def old_copy(region):
    """The state folder put back from a copy: agents know of a later leader. It is told, and heals."""
    region.stop_scheduler()
    state, copy = region.folder / "scheduler", region.folder / "copy"
    shutil.copytree(state, copy)
    for _ in range(3):  # terms that the copy knows nothing of
        region.start_scheduler()
        region.wait_up("n1")
        region.stop_scheduler()
    shutil.rmtree(state)
    copy.rename(state)
    region.start_scheduler()
    region.wait_up("n1")
    sites = region.godwit("sites")
    expect("losses told", sites["records_lost"], 1)
    expect_in("the text", "a later term is begun", sites["records_lost_text"])
    expect_in("the log", "event=records_lost", log_of(region))
    region.wait_state(region.submit("exit 0"), "succeeded")
    region.stop_scheduler()  # the later term lasts
    region.start_scheduler()
    region.wait_up("n1")
    expect("losses told", region.godwit("sites")["records_lost"], 1)


TESTS = [killed_mid_task, ended_without_scheduler, killed_again_and_again, snapshots, damage,
         torn_tail, old_copy, ids_are_never_given_twice, full_disk]


run_test(TESTS, Region)
