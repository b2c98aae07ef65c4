"""A whole grid for a bench: a lab of data centres, one scheduler, one agent a host, one user.

Everything runs as the operator would run it: region keys, one-time tickets, certificates, CURVE.
Used as a context manager: whatever was brought up is taken down on the way out, also after an error
or a signal (the programs' signal handlers are turned into exceptions by `stoppable`).
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def use_build(folder):
    """Takes the programs from this build folder; ./build unless told otherwise."""
    programs = {"LAB": "bench/wan/godwit-lab", "SCHEDULER": "scheduler/godwit-scheduler",
                "AGENT": "agent/godwit-agent", "KEEPER": "agent/keeper/godwit-keeper",
                "CTL": "scheduler/ctl/godwit", "STAGE": "bench/loss/godwit-stage",
                "LOSS": "bench/loss/godwit-loss", "SIM": "bench/sim/godwit-sim"}
    globals().update({name: folder / path for name, path in programs.items()})


use_build(pathlib.Path(os.environ.get("GODWIT_BUILD", ROOT / "build")))
PORT = 7100
NO_RIGHT = 77  # godwit-lab's exit code without the right to make namespaces


class Failed(Exception):
    """A step did not work; the text says which, and what the program said."""


class NoNamespaces(Exception):
    """This host does not let us make network namespaces."""


def say(text):
    print(text, file=sys.stderr, flush=True)


def stoppable():
    """TERM, INT and HUP end the program through its cleanup."""
    def stop(number, _frame):
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + number)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)


def run(command, **options):
    """Runs to the end; its stdout. Failed with its last words otherwise."""
    done = subprocess.run([str(c) for c in command], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False, **options)
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failed(f"{pathlib.Path(command[0]).name} {command[1]}: "
                     f"{words[-1] if words else 'exit ' + str(done.returncode)}")
    return done.stdout


def wait_for(what, condition, seconds=30.0):
    """Polls until condition() is true; its value."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise Failed(f"waited {seconds:.0f} s for {what}")


class Cluster:
    """Hosts {host: (site, address)}; `on(host)` is the command prefix that runs there."""

    def __init__(self, scenario=ROOT / "bench/scenarios/three-sites.yaml", namespaces=True):
        self.scenario = scenario
        self.name = f"grid-{os.getpid()}"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="godwit-"))
        self.processes = []  # (name, Popen), in order of start
        self.namespaces = namespaces
        self.lab_is_up = False
        self.hosts = {}

    def __enter__(self):
        try:
            self.start_lab()
            self.start_region()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def on(self, host):
        return [str(LAB), "exec", self.name, host, "--"] if self.namespaces else []

    def emulator(self):
        return f"/run/godwit-lab/{self.name}.sock"

    def start_lab(self):
        if not self.namespaces:
            self.hosts = {h: (h[0], "::1") for h in ("a1", "a2", "a3", "b1", "c1")}
            return
        subprocess.run([LAB, "down", "--all-stale"], check=False, stdout=subprocess.DEVNULL)
        self.lab_is_up = True  # to be taken down, however far the start comes
        done = subprocess.run([LAB, "up", self.scenario, "--name", self.name, "--owner",
                               str(os.getpid())], text=True, capture_output=True, check=False)
        if done.returncode == NO_RIGHT:
            self.lab_is_up = False
            raise NoNamespaces(done.stderr.strip() or "no right to make namespaces")
        if done.returncode != 0:
            raise Failed(f"godwit-lab up: {done.stderr.strip()}")
        for lab in json.loads(run([LAB, "list", "--json"])):
            if lab["name"] == self.name:
                self.hosts = {h["name"]: (site["name"], h["address"])
                              for site in lab["sites"] for h in site["hosts"]}

    def spawn(self, name, command, **options):
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, start_new_session=True, **options)
        log.close()
        self.processes.append((name, process))
        return process

    def start_region(self):
        """Scheduler on the first host, an agent on each, a user beside the scheduler."""
        first = next(iter(self.hosts))
        state = self.folder / "scheduler"
        run([SCHEDULER, "init", "--state", state, "--region", "lab"])
        self.spawn("scheduler", self.on(first) + [SCHEDULER, "run", "--state", state, "--listen",
                                                  self.hosts[first][1], "--port", PORT])
        for host, (site, _address) in self.hosts.items():
            folder = self.folder / host
            self.ticket(state, folder, first, "--role", "agent", "--site", site, "--name", host)
            run(self.on(host) + [AGENT, "join", "--state", folder, self.folder / f"{host}.ticket"])
            self.start_agent(host)
        self.user = self.folder / "user"
        self.ticket(state, self.user, first, "--role", "user", "--name", "bench")
        run(self.on(first) + [CTL, "join", "--config", self.user, self.folder / "user.ticket"])
        self.first = first
        wait_for("all agents to be up", self.all_up, 60)

    def start_agent(self, host):
        place = list(self.hosts).index(host)
        ports = 20000 + (0 if self.namespaces else 1000 * place)
        self.spawn(f"agent-{host}", self.on(host) + [
            AGENT, "run", "--state", self.folder / host, "--data-address", self.hosts[host][1],
            "--ports", f"{ports}-{ports + 99}", "--probe-port",
            862 if self.namespaces else 8620 + place, "--keeper", KEEPER,
            # Real-time scheduling and pinning, as this user may.
            *(["--task-user", "root", "--task-users", "root"] if os.geteuid() == 0 else [])])

    def ticket(self, state, folder, first, *options):
        run([SCHEDULER, "token", "--state", state, "--listen", self.hosts[first][1], "--port", PORT,
             "--ticket", self.folder / f"{folder.name}.ticket", *options])

    def all_up(self):
        try:
            nodes = self.godwit("sites", "--json")["nodes"]
        except Failed:
            return False
        return sum(n["state"] == "up" for n in nodes) == len(self.hosts)

    def godwit(self, *arguments):
        """One command of the user; its JSON if it was asked for, otherwise its text."""
        out = run(self.on(self.first) + [CTL, arguments[0], "--config", self.user, *arguments[1:]])
        return json.loads(out) if "--json" in arguments else out

    def submit(self, name, text):
        """Submits a job spec given as YAML text; the answer of `godwit submit --json`."""
        spec = self.folder / f"{name}.yaml"
        spec.write_text(text, encoding="utf-8")
        return self.godwit("submit", "--json", str(spec))

    def job(self, job):
        return self.godwit("jobs", "--json", job)

    def wait_running(self, job, seconds=60):
        def running():
            info = self.job(job)
            if info["state"] in ("failed", "cancelled", "succeeded"):
                raise Failed(f"job {info['name']} is {info['state']}: {self.last_words(info)}")
            return info if info["running"] == info["task_count"] else None
        return wait_for(f"job {job} to run", running, seconds)

    def last_words(self, info):
        for task in info["tasks"]:
            if task.get("error") or task.get("exit_code"):
                try:
                    words = self.godwit("logs", "--stderr", "--task", str(task["task_index"]),
                                        info["job"]).strip().splitlines()
                except Failed:
                    words = []
                return task.get("error") or (words[-1] if words else
                                             f"exit code {task['exit_code']}")
        return "no task says why"

    def close(self):
        """Takes down what is up, in reverse; never raises."""
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)
        for _name, process in reversed(self.processes):
            if process.poll() is None:
                process.terminate()
        for name, process in reversed(self.processes):
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                say(f"{name} did not end within 5 s and was killed")
        if self.lab_is_up:  # ends keepers and tasks too: all that runs in its namespaces
            subprocess.run([LAB, "down", self.name], check=False, stdout=subprocess.DEVNULL,
                           stderr=subprocess.DEVNULL)
            self.lab_is_up = False
        else:
            self.end_keepers()
        if not os.environ.get("GODWIT_KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            say(f"kept: {self.folder}")

    def end_keepers(self):
        """Without namespaces: keepers outlive their agents by design, so end them by pid, and wait:
        they end their tasks first and write that down in the folder that goes next."""
        pids = set()
        for host in self.hosts:
            log = self.folder / f"agent-{host}.log"
            words = log.read_text(encoding="utf-8").split() if log.exists() else []
            pids |= {int(w[4:]) for before, w in zip(words, words[1:])
                     if before == "event=keeper" and w[4:].isdigit()}
        for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 2.0)):
            for pid in pids:
                try:
                    os.kill(pid, number)
                except OSError:
                    pass  # it ended already
            deadline = time.monotonic() + seconds
            while pids and time.monotonic() < deadline:
                pids = {pid for pid in pids if pathlib.Path(f"/proc/{pid}").exists()}
                time.sleep(0.05)
