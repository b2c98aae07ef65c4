"""Real etcd servers on the loopback: one or three, killed, paused, restarted, filled.

    with EtcdCluster(3, heartbeat_ms=50, election_ms=500) as etcd:
        ... etcd.endpoints ... etcd.kill(etcd.leader()) ...

A context manager: servers and their folder are gone on the way out. etcd_missing() tells why there
can be none here.
"""

import base64
import json
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from region import Failed, free_ports, wait_for  # noqa: E402


def etcd_missing():
    """None: etcd can be started here; else the reason."""
    return None if shutil.which("etcd") else "etcd is not installed (etcd-server)"


def text64(text):
    return base64.b64encode(text.encode()).decode()


def make_certificates(folder):
    """A CA, and a certificate that it made for servers and clients on 127.0.0.1."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test CA")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "tls.key", "-out", "tls.csr", "-subj", "/O=godwit test")
    (folder / "tls.ext").write_text("subjectAltName=IP:127.0.0.1\n"
                                    "extendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "tls.ext", "-out", "tls.pem")


class EtcdCluster:
    def __init__(self, count=1, heartbeat_ms=50, election_ms=500, quota_bytes=None, tls=False):
        self.count = count
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="godwit-etcd-"))
        self.options = ["--heartbeat-interval", str(heartbeat_ms),
                        "--election-timeout", str(election_ms), "--log-level", "error"]
        if quota_bytes:
            self.options += ["--quota-backend-bytes", str(quota_bytes)]
        self.scheme, self.context = "http", None
        if tls:  # clients need a certificate too: folder/ca.pem, tls.pem, tls.key
            make_certificates(self.folder)
            self.scheme = "https"
            self.context = ssl.create_default_context(cafile=self.folder / "ca.pem")
            self.context.load_cert_chain(self.folder / "tls.pem", self.folder / "tls.key")
            self.options += ["--client-cert-auth", "--trusted-ca-file", self.folder / "ca.pem",
                             "--cert-file", self.folder / "tls.pem",
                             "--key-file", self.folder / "tls.key"]
        base = free_ports(2 * count)
        self.client_ports = [base + 2 * i for i in range(count)]
        self.peer_ports = [base + 2 * i + 1 for i in range(count)]
        self.processes = [None] * count

    def __enter__(self):
        try:
            for i in range(self.count):
                self.start(i)
            self.wait_healthy()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for i in range(self.count):
            self.kill(i)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, i):
        return f"{self.scheme}://127.0.0.1:{self.client_ports[i]}"

    @property
    def endpoints(self):
        return ",".join(self.url(i) for i in range(self.count))

    def start(self, i):
        """Starts server i, with what it kept if it ran before."""
        peer = f"http://127.0.0.1:{self.peer_ports[i]}"
        cluster = ",".join(f"e{j}=http://127.0.0.1:{port}"
                           for j, port in enumerate(self.peer_ports))
        with open(self.folder / f"e{i}.log", "ab") as log:
            self.processes[i] = subprocess.Popen(
                ["etcd", "--name", f"e{i}", "--data-dir", self.folder / f"e{i}",
                 "--listen-client-urls", self.url(i), "--advertise-client-urls", self.url(i),
                 "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                 "--initial-cluster", cluster, "--initial-cluster-token", self.folder.name,
                 *self.options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self, i):
        """SIGKILL, and waits; nothing when it does not run."""
        process, self.processes[i] = self.processes[i], None
        if process:
            process.kill()
            process.wait()

    def pause(self, i):
        self.processes[i].send_signal(signal.SIGSTOP)

    def resume(self, i):
        self.processes[i].send_signal(signal.SIGCONT)

    def post(self, path, body, i=0, seconds=5):
        """The gateway's answer; Failed with its error."""
        request = urllib.request.Request(self.url(i) + path, json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=self.context) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Failed(f"{path}: {error.read().decode()}") from error
        except OSError as error:
            raise Failed(f"{path}: {error}") from error

    def put(self, key, value, i=0):
        return self.post("/v3/kv/put", {"key": text64(key), "value": text64(value)}, i)

    def keys(self, prefix, i=0):
        """Every key below the prefix."""
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        answer = self.post("/v3/kv/range", {"key": text64(prefix), "range_end": text64(end),
                                            "keys_only": True}, i)
        return [base64.b64decode(kv["key"]).decode() for kv in answer.get("kvs", [])]

    def healthy(self, i):
        try:
            self.post("/v3/kv/range", {"key": text64("x")}, i, 1)
            return True
        except Failed:
            return False

    def wait_healthy(self):
        """Until every server that runs answers a linearizable read."""
        running = [i for i in range(self.count) if self.processes[i]]
        wait_for("etcd to answer", lambda: all(self.healthy(i) for i in running))

    def leader(self):
        """The index of etcd's own leader."""
        def find():
            for i in range(self.count):
                try:
                    status = self.post("/v3/maintenance/status", {}, i, 1)
                except Failed:
                    continue
                if status.get("leader") == status["header"]["member_id"]:
                    return i + 1
            return None
        return wait_for("etcd to have a leader", find) - 1

    def free_space(self, i=0):
        """What the operator of a full etcd does: compact, defragment, disarm the alarm."""
        revision = self.post("/v3/kv/range", {"key": text64("x")}, i)["header"]["revision"]
        try:
            self.post("/v3/kv/compaction", {"revision": revision, "physical": True}, i, 30)
        except Failed as error:
            if "compacted" not in str(error):
                raise
        self.post("/v3/maintenance/defragment", {}, i, 30)
        for alarm in self.post("/v3/maintenance/alarm", {"action": "GET"}, i).get("alarms", []):
            self.post("/v3/maintenance/alarm", {"action": "DEACTIVATE",
                                                "memberID": alarm["memberID"],
                                                "alarm": alarm["alarm"]}, i)
