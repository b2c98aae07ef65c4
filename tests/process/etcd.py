"""The journal in etcd, with real etcd servers: `etcd.py TEST`.

Members (etcd_member) are driven over stdin. Whatever a member said was durable must be in every
later member's list, in its place, and nothing may be there twice.
"""

import base64
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from etcd_cluster import EtcdCluster, etcd_missing, text64  # noqa: E402
from region import BUILD, Failed, wait_for  # noqa: E402

MEMBER = BUILD / "tests/process/etcd_member"
TTL_S = 1
NO_SNAPSHOT = 1 << 40


def expect(what, found, expected):
    if found != expected:
        raise Failed(f"{what}: expected {expected!r}, found {found!r}")


class Member:
    """One etcd_member; what it says is kept as lines."""

    def __init__(self, etcd, name, endpoints=None, snapshot_bytes=NO_SNAPSHOT, ttl_s=TTL_S,
                 secure=()):
        self.name = name
        self.lines = []
        self.asked = 0
        self.appended = []  # texts, since it leads
        folder = os.path.join(etcd.folder, "member-" + name)
        os.makedirs(folder, exist_ok=True)
        self.process = subprocess.Popen(
            [MEMBER, endpoints or etcd.endpoints, "/godwit/test", name, folder, str(ttl_s),
             str(snapshot_bytes), *secure], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def said(self, prefix, after=0):
        return [line for line in self.lines[after:] if line.startswith(prefix)]

    def wait(self, prefix, after=0, seconds=20):
        """The first line that begins so, of those after the first `after`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found = self.said(prefix, after)
            if found:
                return found[0]
            time.sleep(0.002)
        raise Failed(f"{self.name} did not say {prefix!r}; it said {self.lines[-8:]}")

    def wait_durable(self, seq, seconds=20):
        wait_for(f"{self.name} to say durable {seq}",
                 lambda: any(int(line.split()[1]) >= seq for line in self.said("durable ")),
                 seconds)

    def leads(self):
        """Whether it said so last."""
        said = [line for line in list(self.lines) if line.startswith(("leader ", "lost "))]
        return bool(said) and said[-1].startswith("leader ")

    def append(self, *texts):
        for text in texts:
            self.tell(f"append {text}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def dump(self):
        """Its list, in order."""
        after = len(self.lines)
        self.tell("dump")
        self.wait("dumped ", after)
        return [line.split(" ", 2)[2] for line in self.said("text ", after)]

    def wait_dump(self, texts):
        """Until it has exactly these."""
        wait_for(f"{self.name} to have {len(texts)} texts", lambda: len(self.dump()) >= len(texts))
        expect(f"the list of {self.name}", self.dump(), list(texts))


class Relay:
    """TCP to one etcd server. `held`: what comes from clients is kept until that ends. `cuts`: of
    so many requests, one is carried to etcd and its connection cut before the answer."""

    def __init__(self, port):
        self.port = port
        self.held = False
        self.cuts = 0
        self.requests = 0
        self.cut_count = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.held = False
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                return
            threading.Thread(target=self._up, args=(client, server), daemon=True).start()
            threading.Thread(target=self._down, args=(client, server), daemon=True).start()

    def _up(self, client, server):
        try:
            while data := client.recv(1 << 20):
                while self.held:
                    time.sleep(0.005)
                self.requests += data.count(b"POST /v3/kv/txn")
                server.sendall(data)
                if self.cuts and self.requests >= self.cuts and b"POST /v3/kv/txn" in data:
                    self.requests = 0
                    self.cut_count += 1
                    client.shutdown(socket.SHUT_RDWR)
                    server.settimeout(2)
                    server.recv(1 << 20)  # etcd did it; nobody is told
                    server.close()
                    return
            server.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def _down(self, client, server):
        try:
            while data := server.recv(1 << 20):
                client.sendall(data)
            client.close()
        except OSError:
            pass


def two_members(etcd, **options):
    """One that leads, one that follows."""
    first = Member(etcd, "a", **options)
    first.wait("leader ")
    second = Member(etcd, "b", **options)
    second.wait("following ")
    return first, second


def take_over(etcd):
    """kill -9 of the leader: the standby has all that was acknowledged."""
    times = []
    first, second = two_members(etcd)
    texts = []
    for turn in range(5):
        more = [f"t{turn}-{i}" for i in range(20)]
        first.append(*more)
        texts += more
        first.wait_durable(len(texts))
        after = len(second.lines)
        killed = time.monotonic()
        first.kill()
        second.wait("leader ", after)
        times.append(time.monotonic() - killed)
        expect("the new leader's list", second.dump(), texts)
        first, second = second, Member(etcd, "ab"[turn % 2])
        second.wait("following ")
    for member in (first, second):
        member.wait_dump(texts)
        member.kill()
    print(f"take-over after kill -9, of {len(times)}: median {sorted(times)[len(times) // 2]:.2f} s,"
          f" most {max(times):.2f} s (lease {TTL_S} s)")


def stop_in_order(etcd):
    """A leader that ends in order writes what it was given and hands over at once, records of the
    largest size too."""
    first, second = two_members(etcd)
    with first, second:
        first.tell(f"flood 3 {1 << 20}")
        first.wait("flooded ")
        texts = [f"s{i}" for i in range(2000)]
        first.append(*texts)
        texts = 3 * ["f" * (1 << 20)] + texts
        first.tell("stop")
        stopped = time.monotonic()
        first.wait("stopped")
        expect("exit code", first.process.wait(10), 0)
        second.wait("leader ")
        print(f"handed over in {time.monotonic() - stopped:.2f} s")
        second.wait_dump(texts)


def fenced(etcd):
    """SIGSTOP past the lease: who wakes is told that it lost, and what it appends is nobody's."""
    first, second = two_members(etcd)
    with first, second:
        first.append("one")
        first.wait_durable(1)
        first.process.send_signal(signal.SIGSTOP)
        second.wait("leader ")
        second.append("two")
        second.wait_durable(2)
        after = len(first.lines)
        first.append("late")
        first.process.send_signal(signal.SIGCONT)
        first.wait("lost ", after)
        first.wait("following ", after)
        expect("a late append was durable", first.said("durable ", after), [])
        first.wait_dump(["one", "two"])
        second.wait_dump(["one", "two"])


def late_append(etcd):
    """An append that was under way when its leader was deposed reaches etcd long after: refused."""
    with Relay(etcd.client_ports[0]) as relay, Member(etcd, "a", endpoints=relay.url) as first:
        first.wait("leader ")
        with Member(etcd, "b") as second:
            second.wait("following ")
            first.append("one")
            first.wait_durable(1)
            second.wait_dump(["one"])
            relay.held = True
            first.append("late")
            second.wait("leader ")
            first.wait("lost ")
            second.append("two")
            second.wait_durable(2)
            after = len(first.lines)
            relay.held = False
            first.wait("following 2", after)
            first.wait_dump(["one", "two"])
            second.append("three")
            first.wait_dump(["one", "two", "three"])
            second.wait_dump(["one", "two", "three"])


def lost_answers(etcd):
    """Connections that are cut after the request went out: each record is there once."""
    with Relay(etcd.client_ports[0]) as relay:
        with Member(etcd, "a", endpoints=relay.url, ttl_s=5) as member:
            member.wait("leader ")
            relay.cuts = 4
            texts = [f"u{i}" for i in range(60)]
            for i, text in enumerate(texts):
                member.append(text)
                member.wait_durable(i + 1)
            relay.cuts = 0
            if relay.cut_count < 10:
                raise Failed(f"only {relay.cut_count} connections were cut")
            expect("leaderships lost", member.said("lost "), [])
            with Member(etcd, "b") as fresh:
                fresh.wait_dump(texts)


def server_restarts(etcd):
    """kill -9 of the only etcd under load, and a new start of it."""
    with Member(etcd, "a") as member:
        member.wait("leader ")
        member.append(*[f"r{i}" for i in range(50)])
        member.wait_durable(50)
        etcd.kill(0)
        member.append("under way")
        member.wait("lost ")  # its lease cannot be renewed
        member.wait("notice etcd at ")
        after = len(member.lines)
        etcd.start(0)
        member.wait("leader ", after)
        texts = member.dump()
        expect("what was acknowledged", texts[:50], [f"r{i}" for i in range(50)])
        expect("what was not", texts[50:] in ([], ["under way"]), True)
        member.append("again")
        member.wait_durable(len(texts) + 1)


def leader_of(*members):
    return wait_for("a leader", lambda: next((m for m in members if m.leads()), None))


def server_leader_killed(etcd):
    """etcd's own leader killed under load, each server once."""
    first, second = two_members(etcd)
    with first, second:
        times = []
        for turn in range(3):
            leads = leader_of(first, second)
            after = len(leads.lines)
            leads.append(f"before {turn}")
            leads.wait("durable ", after)
            victim = etcd.leader()
            marks = {member: len(member.lines) for member in (first, second)}
            killed = time.monotonic()
            etcd.kill(victim)

            def works():
                for member, mark in marks.items():
                    if member.said("durable ", mark):
                        return True
                    if member.leads():
                        member.append(f"during {turn}")
                return False
            wait_for("a record to be durable again", works)
            times.append(time.monotonic() - killed)
            etcd.start(victim)
            etcd.wait_healthy()
        lists = wait_for("both to have the same",
                         lambda: (lambda a, b: a == b and a)(first.dump(), second.dump()))
        for turn in range(3):
            expect(f"times that 'before {turn}' is there", lists.count(f"before {turn}"), 1)
        print(f"durable again after etcd's leader was killed: "
              f"{', '.join(f'{t:.2f}' for t in times)} s")


def fill(etcd):
    try:
        while True:
            etcd.put("/junk", "j" * 500000)
    except Failed as error:
        expect("the quota is used up", "space exceeded" in str(error), True)


def stopped_while_full(etcd):
    """A leader whose last record etcd does not take still ends, and gives its lease back."""
    with Member(etcd, "a") as member:
        member.wait("leader ")
        fill(etcd)
        member.append("never")
        member.wait("stalled etcd is full")
        member.tell("stop")
        member.wait("stopped")
        expect("exit code", member.process.wait(10), 0)
        expect("the leader key", "/godwit/test/leader" in etcd.keys("/godwit/test/"), False)


def server_full(etcd):
    """etcd without space: new work is refused with what to do, and after that was done it goes on,
    under the same leader."""
    with Member(etcd, "a", ttl_s=5) as member:
        member.wait("leader ")
        member.append("one")
        member.wait_durable(1)
        fill(etcd)
        member.append("two")
        expect("what to do is said", "etcdctl" in member.wait("stalled etcd is full"), True)
        etcd.free_space()
        member.wait_durable(2)
        member.wait("keeps up")
        expect("leaderships lost", member.said("lost "), [])
        with Member(etcd, "b") as fresh:
            fresh.wait_dump(["one", "two"])


def snapshots(etcd):
    """Snapshots replace batches; a follower from zero reads both; a half upload is collected."""
    with Member(etcd, "a", snapshot_bytes=200000) as member:
        member.wait("leader ")
        etcd.put("/godwit/test/snapshot/0000000000000001-0000000000000001-00000000/00000000", "x")
        member.tell("flood 9000 300")
        member.wait("flooded ")
        texts = ["f" * 300] * 9000

        def collected():
            keys = etcd.keys("/godwit/test/")
            batches = [key for key in keys if "/batch/" in key]
            names = {key.split("/")[4] for key in keys if "/snapshot/" in key}
            return len(names) == 1 and len(batches) < 10 and "/godwit/test/manifest" in keys
        wait_for("batches and the half upload to be collected", collected)
        member.append("tail")
        member.wait_durable(9001)
        with Member(etcd, "b") as fresh:
            fresh.wait_dump(texts + ["tail"])
            after = len(fresh.lines)
            member.kill()
            fresh.wait("leader ", after)
            fresh.append("more")
            fresh.wait_durable(9002)


def roster(etcd):
    """Members come and go with their leases; certificates reach all, old and new."""
    first, second = two_members(etcd)
    with first, second:
        first.wait("members a=tcp://a* b=tcp://b")
        second.wait("members a=tcp://a* b=tcp://b")
        first.tell("cert n1 one")
        first.wait("kept 1")
        second.tell("cert n2 two")
        second.wait("kept 1")
        for member in (first, second):
            member.wait("cert n1 one")
            member.wait("cert n2 two")
        with Member(etcd, "c") as third:
            third.wait("cert n1 one")
            third.wait("cert n2 two")
            first.kill()
            wait_for("the dead one to be gone",
                     lambda: "a=" not in third.said("members ")[-1])
            leader_of(second, third)
            wait_for("the leader to be told",
                     lambda: third.said("members ")[-1].count("*") == 1)


def silent_server(etcd):
    """The etcd server in use falls silent, its connections open: the next one is used in time."""
    victim = (etcd.leader() + 1) % etcd.count
    order = [victim] + [i for i in range(etcd.count) if i != victim]
    with Member(etcd, "a", endpoints=",".join(etcd.url(i) for i in order),
                ttl_s=5) as member:
        member.wait("leader ")
        member.append("one")
        member.wait_durable(1)
        etcd.pause(victim)
        try:
            member.append("two")
            member.wait_durable(2)
            member.wait(f"notice etcd at {etcd.url(victim)}")
            expect("leaderships lost", member.said("lost "), [])
        finally:
            etcd.resume(victim)


def secured(etcd):
    """etcd that asks for a certificate and a password: with both it works, also when its token is
    forgotten by a restart; without, what is wrong is said."""
    files = [etcd.folder / name for name in ("ca.pem", "tls.pem", "tls.key")]
    user, wrong = etcd.folder / "user", etcd.folder / "wrong"
    for path, text in ((user, "root:s3cr\"t\n"), (wrong, "root:another\n")):
        path.touch(mode=0o600)
        path.write_text(text)
    etcd.post("/v3/auth/user/add", {"name": "root", "password": "s3cr\"t"})
    etcd.post("/v3/auth/role/add", {"name": "root"})
    etcd.post("/v3/auth/user/grant", {"user": "root", "role": "root"})
    etcd.post("/v3/auth/enable", {})
    with Member(etcd, "a", secure=[*files, user]) as member:
        member.wait("leader ")
        member.append("one")
        member.wait_durable(1)
        etcd.kill(0)
        member.wait("lost ")
        after = len(member.lines)
        etcd.start(0)
        member.wait("leader ", after)
        member.append("two")
        member.wait_durable(2)
    with Member(etcd, "b", secure=[*files, wrong]) as member:
        expect("the password is named", "password" in member.wait("notice "), True)
    user.chmod(0o644)
    with Member(etcd, "c", secure=[*files, user]) as member:
        expect("the mode is named", "user" in member.wait("failed "), True)
    with Member(etcd, "d") as member:  # the system's authorities do not know this one
        expect("the certificate is named", "certificate" in member.wait("notice "), True)


def speed(etcd):
    """Not a test of speed: prints records and bytes a second beside etcd's own floor."""
    with Member(etcd, "a") as member:
        member.wait("leader ")
        rates = []
        for _ in range(3):
            after = len(member.lines)
            member.tell("flood 40000 200")
            count, took_us = member.wait("flooded ", after, 60).split()[1:]
            rates.append(int(count) * 1e6 / int(took_us))
    connection = http.client.HTTPConnection("127.0.0.1", etcd.client_ports[0])
    value = base64.b64encode(b"f" * 65536).decode()
    floors = []
    for _ in range(3):
        began = time.monotonic()
        for i in range(125):
            connection.request("POST", "/v3/kv/put",
                               f'{{"key":"{text64(f"/floor/{i}")}","value":"{value}"}}')
            connection.getresponse().read()
        floors.append(125 / (time.monotonic() - began) * 65536 / 204)
    rate, floor = sorted(rates)[1], sorted(floors)[1]
    print(f"{rate:,.0f} records/s of 200 bytes ({rate * 200 / 1e6:.1f} MB/s); floor, sequential puts "
          f"of the same batches: {floor:,.0f} ({rate / floor:.2f} of it; runs {min(rates):,.0f} to "
          f"{max(rates):,.0f} beside {min(floors):,.0f} to {max(floors):,.0f})")


TESTS = {test.__name__: (test, options) for test, options in [
    (take_over, {}),
    (stop_in_order, {}),
    (fenced, {}),
    (late_append, {}),
    (lost_answers, {}),
    (server_restarts, {}),
    (server_leader_killed, {"count": 3}),
    (silent_server, {"count": 3}),
    (server_full, {"quota_bytes": 8 << 20}),
    (stopped_while_full, {"quota_bytes": 8 << 20}),
    (snapshots, {}),
    (roster, {}),
    (secured, {"tls": True}),
    (speed, {}),
]}


def main():
    test, options = TESTS[sys.argv[1]]
    missing = etcd_missing()
    if missing:
        print(missing)
        return 77
    with EtcdCluster(**options) as etcd:
        try:
            test(etcd)
        except Failed as error:
            print(f"{sys.argv[1]}: {error}")
            return 1
    print("ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
