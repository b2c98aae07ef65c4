"""A region of two schedulers that share a journal in etcd, on the loopback."""

import shutil

from region import SCHEDULER, Region, free_ports, run, wait_for

HERE = "127.0.0.1"


class SharedRegion(Region):
    """A region of schedulers a and b, with the same keys and a state folder each."""

    def __init__(self, etcd):
        super().__init__()
        self.etcd = etcd
        base = free_ports(6)
        self.ports = {"a": base, "b": base + 3}

    def start(self):
        run(SCHEDULER, "init", "--state", self.folder / "a", "--region", "test")
        (self.folder / "b").mkdir(mode=0o700)
        for name in ("keys", "region"):
            shutil.copy2(self.folder / "a" / name, self.folder / "b" / name)
        for name in self.ports:
            self.serve(name)
        self.ticket("user", "--role", "user", "--name", "user")
        wait_for("the user to join", lambda: self.try_join("user"))
        wait_for("a leader", self.leader)
        wait_for("the leader to know both", lambda: "present=2" in self.log(self.leader()))
        self.godwit("sites")  # and with that the user

    def serve(self, name):
        """Starts it, with a log of its own."""
        log = self.folder / f"{name}.log"
        if log.exists():
            log.rename(self.folder / f"{name}-{sum(1 for _ in self.folder.glob('*.log'))}.log")
        return self.spawn(name, SCHEDULER, "run", "--state", self.folder / name, "--listen", HERE,
                          "--port", self.ports[name], "--etcd", self.etcd.endpoints,
                          "--etcd-lease", "1 s", "--snapshot-after", "64 KiB")

    def ticket(self, name, *options, at="a"):
        run(SCHEDULER, "token", "--state", self.folder / at, "--listen", HERE, "--port",
            self.ports[at], "--ticket", self.folder / f"{name}.ticket", *options)

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def roles(self, name):
        """Its role events, oldest first."""
        words = [line.split("event=", 1)[1].split()[0] for line in self.log(name).splitlines()
                 if "event=" in line]
        return [w for w in words if w in ("following", "leader", "deposed", "stopped")]

    def leader(self):
        """The scheduler that led last by the log, and lives."""
        leaders = [n for n in self.ports if self.processes[n].poll() is None and
                   self.roles(n)[-1:] == ["leader"]]
        return leaders[0] if len(leaders) == 1 else None

    def other(self, name):
        return "b" if name == "a" else "a"

    def wait_leader(self, name):
        wait_for(f"{name} to lead", lambda: self.roles(name)[-1:] == ["leader"])

    def wait_following(self, name):
        wait_for(f"{name} to follow", lambda: self.roles(name)[-1:] == ["following"])

    def kill(self, name):
        self.processes[name].kill()
        self.processes[name].wait()
