"""One region on the loopback, as an operator would run it: scheduler, agents, one user.

Programs come from GODWIT_BUILD, a build folder ("build" of this checkout if absent). A context
manager: whatever was started is ended on the way out, keepers and tasks too.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("GODWIT_BUILD", ROOT / "build"))
SCHEDULER = BUILD / "scheduler/godwit-scheduler"
AGENT = BUILD / "agent/godwit-agent"
# Tasks of the tests write into the test's own folder.
TASK_USER = ("--task-user", "root", "--task-users", "root") if os.geteuid() == 0 else ()
KEEPER = BUILD / "agent/keeper/godwit-keeper"
CTL = BUILD / "scheduler/ctl/godwit"


class Failed(Exception):
    """A step did not work; the text says which, and what the program said."""


def run(*command, timeout=30):
    """Runs to the end; its stdout. Failed with its last words otherwise."""
    done = subprocess.run([str(c) for c in command], text=True, capture_output=True, check=False,
                          timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"{pathlib.Path(command[0]).name} {command[1]} ended with {done.returncode}: "
                     f"{(done.stderr or done.stdout).strip()}")
    return done.stdout


def wait_for(what, condition, seconds=30.0):
    """The first true value of condition(), which is asked every 50 ms."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise Failed(f"waited {seconds:.0f} s for {what}")


def free_ports(count):
    """The first of `count` free TCP ports in a row."""
    for base in range(21000 + os.getpid() % 2000 * 10, 60000, 10):
        sockets = []
        try:
            for port in range(base, base + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
    raise Failed("no free ports on the loopback")


class Region:
    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="godwit-region-"))
        self.processes = {}  # name: Popen, in order of start
        self.port = free_ports(3)
        self.broken = None

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.show_logs()
        self.close()
        if self.broken and not kind:
            raise Failed(f"a program broke: {self.broken}")

    def spawn(self, name, *command):
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True)
        return self.processes[name]

    def start(self):
        run(SCHEDULER, "init", "--state", self.folder / "scheduler", "--region", "test")
        self.start_scheduler()
        self.ticket("user", "--role", "user", "--name", "user")
        wait_for("the user to join", lambda: self.try_join("user"))

    def start_scheduler(self, *options):
        return self.spawn("scheduler", SCHEDULER, "run", "--state", self.folder / "scheduler",
                          "--listen", "127.0.0.1", "--port", self.port, *options)

    def kill_scheduler(self):
        self.processes["scheduler"].kill()
        self.processes["scheduler"].wait()

    def stop_scheduler(self):
        self.processes["scheduler"].terminate()
        if self.processes["scheduler"].wait(10) != 0:
            raise Failed("the scheduler did not stop in order")

    def ticket(self, name, *options):
        run(SCHEDULER, "token", "--state", self.folder / "scheduler", "--listen", "127.0.0.1",
            "--port", self.port, "--ticket", self.folder / f"{name}.ticket", *options)

    def try_join(self, name):
        """The scheduler may not listen yet."""
        try:
            run(CTL, "join", "--config", self.folder / name, "--timeout", "2 s",
                self.folder / f"{name}.ticket")
            return True
        except Failed:
            return False

    def add_agent(self, name, site="a", options=()):
        """Joins a node and starts its agent; waits until the scheduler has it."""
        self.ticket(name, "--role", "agent", "--site", site, "--name", name)
        run(AGENT, "join", "--state", self.folder / name, self.folder / f"{name}.ticket")
        self.start_agent(name, options)
        self.wait_up(name)

    def start_agent(self, name, options=()):
        return self.spawn(f"agent-{name}", AGENT, "run", "--state", self.folder / name,
                          "--data-address", "127.0.0.1", "--keeper", KEEPER, *TASK_USER, *options)

    def wait_up(self, name):
        wait_for(f"{name} to be up", lambda: any(
            n["name"] == name and n["state"] == "up" for n in self.godwit("sites")["nodes"]))

    def godwit(self, command, *arguments):
        """One command of the user, as JSON."""
        return json.loads(run(CTL, command, "--config", self.folder / "user", "--json", *arguments))

    def submit(self, script, name="test", **more):
        """Submits `sh -c script`, with `more` keys of a job file; the job's id."""
        spec = self.folder / f"{name}.yaml"
        spec.write_text(json.dumps({"name": name, "kind": "task",
                                    "command": ["sh", "-c", script], **more}), encoding="utf-8")
        return self.godwit("submit", str(spec))["job"]

    def job(self, job):
        return self.godwit("jobs", job)

    def wait_state(self, job, *states):
        return wait_for(f"job {job} to be {' or '.join(states)}",
                        lambda: (info := self.job(job))["state"] in states and info)

    def keeper_pid(self, name):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"godwit-keeper") and \
                    any(str(self.folder / name).encode() in word for word in words[1:]):
                return int(process.name)
        return None

    def show_logs(self):
        for log in sorted(self.folder.glob("*.log")):
            text = log.read_text(errors="replace").strip().splitlines()
            print(f"--- {log.name}", *text[-30:], sep="\n", flush=True)

    def find_broken(self):
        """A line of a log that no program writes which is well; None: there is none."""
        words = ("Sanitizer", "runtime error", "broken invariant")
        for log in self.folder.rglob("*.log"):
            for line in log.read_text(errors="replace").splitlines():
                if any(word in line for word in words):
                    return f"{log.name}: {line}"
        return None

    def close(self):
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.broken = self.find_broken()
        for node in self.folder.iterdir():
            pid = self.keeper_pid(node.name) if node.is_dir() else None
            if pid:  # it outlives its agent by design; TERM ends its tasks with it
                os.kill(pid, signal.SIGTERM)
                wait_for("the keeper to end", lambda: not pathlib.Path(f"/proc/{pid}").exists())
        shutil.rmtree(self.folder, ignore_errors=True)


def run_test(tests, make):
    """The main program of a file of tests: runs the one that the command line names, on a region
    that make() gives, with an agent n1. Exit: 0 good, 1 failed."""
    names = "|".join(t.__name__ for t in tests)
    test = {t.__name__: t for t in tests}.get(sys.argv[1] if len(sys.argv) == 2 else "")
    if not test:
        sys.exit(f"usage: {pathlib.Path(sys.argv[0]).name} {names}")
    try:
        with make() as region:
            region.add_agent("n1")
            test(region)
    except Failed as failure:
        print(failure)
        sys.exit(1)
    print(f"{test.__name__}: good")
