"""Several gateways on one database and one Redis, and the means to kill, freeze and restart any of them."""
import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import ssl
import subprocess
import threading
import time

from asking import ROW

BODY = json.dumps({"model": "diabetes", "features": ROW})


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(p) for p in text.split()]


def is_there(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait(what, seconds):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.005)


class Server:
    """A server process of the installation (Redis, PostgreSQL): killed, frozen, and started again as it was."""

    def __init__(self, pid):
        proc = pathlib.Path(f"/proc/{pid}")
        self.pid, self.process = pid, None
        self.words = [w.decode() for w in (proc / "cmdline").read_bytes().split(b"\0") if w]
        self.program = os.readlink(proc / "exe")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        self.uid, self.gid = int(status["Uid"].split()[0]), int(status["Gid"].split()[0])

    def all(self):
        return [self.pid, *children(self.pid)]

    def signal(self, number):
        for pid in self.all():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        self.signal(signal.SIGSTOP)  # it starts no more children
        pids = self.all()
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()
        wait(lambda: not any(is_there(p) for p in pids), 10)
        if "-D" in self.words:  # a zombie that nobody takes away counts as a running PostgreSQL
            (pathlib.Path(self.words[self.words.index("-D") + 1]) / "postmaster.pid").unlink(missing_ok=True)

    def spawn(self):
        root = os.getuid() == 0
        as_before = {"user": self.uid, "group": self.gid, "extra_groups": []} if root else {}
        self.process = subprocess.Popen(self.words, executable=self.program, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True, **as_before)
        self.pid = self.process.pid

    def runs(self):
        """It has got over its start: PostgreSQL says so in its lock file, Redis listens."""
        if "-D" in self.words:
            with contextlib.suppress(OSError, IndexError):
                lines = (pathlib.Path(self.words[self.words.index("-D") + 1]) / "postmaster.pid").read_text().splitlines()
                return lines[7].strip() == "ready" and int(lines[0]) == self.pid
            return False
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(next(w for w in self.words if w.endswith(".sock"))) == 0

    def start(self):
        self.spawn()
        end = time.monotonic() + 60
        while not self.runs():
            assert time.monotonic() < end, "it does not start"
            if self.process.poll() is not None:  # what held the old one's memory may take a moment to go
                self.spawn()
            time.sleep(0.02)

    def restart(self):
        self.kill()
        self.start()


class Gateway:
    """One more gateway under a supervisor of its own, on the installation's configuration."""

    def __init__(self, place, build_dir, number, settings):
        self.place, self.port, self.admin_port = place, free_port(), free_port()
        self.folder = place.folder / f"gateway-{number}"
        for part in ("spool", "cache"):
            (self.folder / part).mkdir(parents=True)
        self.log_path = self.folder / "log"
        env = {**os.environ, "MAAS_LISTEN": f"127.0.0.1:{self.port}", "MAAS_ADMIN_LISTEN": f"127.0.0.1:{self.admin_port}",
               "MAAS_SPOOL_DIR": str(self.folder / "spool"), "MAAS_WORKERS_CACHE_DIR": str(self.folder / "cache"),
               "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0", **settings}
        with open(self.log_path, "w") as log:
            self.supervisor = subprocess.Popen([f"{build_dir}/bin/maas-supervisor", "--config", place.folder / "gateway.yaml"], env=env,
                                               stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def pid(self):
        found = [p for p in children(self.supervisor.pid) if is_there(p)]
        return found[0] if found else None

    def is_ready(self):
        try:
            return self.place.request("GET", "/readyz", key="", port=self.admin_port, timeout=2)[0] == 200
        except OSError:
            return False

    def kill(self):
        with contextlib.suppress(ProcessLookupError, TypeError):
            os.kill(self.pid(), signal.SIGKILL)

    def stop(self):
        self.supervisor.terminate()
        try:
            self.supervisor.wait(60)
        except subprocess.TimeoutExpired:
            self.supervisor.kill()
            raise

    def metric(self, name):
        text = self.place.request("GET", "/metrics", key="", port=self.admin_port)[2].decode()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    def spools(self):
        return [p for p in (self.folder / "spool").iterdir() if p.is_dir()]

    def answered(self):
        """The access log's lines of answers."""
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "request":
                    lines.append(entry)
        return lines


class Several:
    def __init__(self, place, build_dir, count, settings):
        self.place = place
        settings = {"MAAS_LIMITS_GATEWAYS_MAX": str(count), **settings}
        self.gateways = [Gateway(place, build_dir, i, settings) for i in range(count)]
        self.redis = Server(self.pid_of("redis"))
        self.postgres = Server(self.pid_of("postgres"))
        wait(lambda: all(g.is_ready() for g in self.gateways), 60)

    def pid_of(self, name):
        return int((self.place.folder / "run" / f"{name}.pid").read_text().split()[0])

    def redis_cli(self, *words):
        sock = next(w for w in self.redis.words if w.endswith(".sock"))
        return subprocess.run(["redis-cli", "-s", sock, *words], capture_output=True, text=True, timeout=10).stdout

    def close(self):
        for gateway in self.gateways:
            gateway.stop()
        for server in (self.redis, self.postgres):
            if server.process:  # what scripts/down does not know
                server.signal(signal.SIGCONT)
                server.kill()


@contextlib.contextmanager
def several(installations, build_dir, count, settings=None):
    with installations(build_dir, {"MAAS_LIMITS_GATEWAYS_MAX": str(count), "MAAS_LOOPS": "1"}) as place:
        here = Several(place, build_dir, count, {"MAAS_LOOPS": "1", **(settings or {})})
        try:
            yield here
        finally:
            here.close()


class Client(threading.Thread):
    """One request after the other over a kept connection to one gateway, until the end. delivered: whole answers of 200, by when they came, and their
    ids; unknown: sent, no whole answer; refused: other statuses."""

    def __init__(self, here, gateway, key, pause=0.0):
        super().__init__()
        self.here, self.gateway, self.key, self.pause = here, gateway, key, pause
        self.delivered, self.ids, self.unknown, self.refused = [], [], 0, {}
        self.longest_s = 0.0
        self.ending = threading.Event()

    def connect(self):
        tls = ssl.create_default_context(cafile=self.here.place.env["MAAS_CA"])
        return http.client.HTTPSConnection("localhost", self.gateway.port, context=tls, timeout=10)

    def ask(self, connection):
        sent = False
        try:
            if connection.sock is None:
                connection.connect()
            start, sent = time.monotonic(), True
            connection.request("POST", "/v1/regression", BODY, {"authorization": f"Bearer {self.key}"})
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self.unknown += sent
            connection.close()
            time.sleep(0.01)
            return
        self.longest_s = max(self.longest_s, time.monotonic() - start)
        if answer.status == 200:
            self.delivered.append(time.monotonic())
            self.ids.append(answer.headers["x-request-id"])
        else:
            self.refused[answer.status] = self.refused.get(answer.status, 0) + 1
            time.sleep(self.pause)

    def run(self):
        connection = self.connect()
        while not self.ending.is_set():
            self.ask(connection)
        connection.close()


@contextlib.contextmanager
def clients(here, key, count, pause=0.0):
    """Clients spread over the gateways, for the time of the with block."""
    threads = [Client(here, here.gateways[i % len(here.gateways)], key, pause) for i in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.ending.set()
        for thread in threads:
            thread.join()


def tenant(here, slug, limits, key_rate=1000000):
    """A tenant with such limits; its key."""
    admin = lambda method, path, body: here.place.admin(method, path, body)
    admin("POST", "/admin/v1/plans", {"name": "several", "rate": key_rate, "burst": key_rate})
    assert admin("POST", "/admin/v1/tenants", {"slug": slug, "plan": "several"})[0] == 201
    made = admin("POST", f"/admin/v1/tenants/{slug}/keys", {"name": "k", "scopes": ["infer:*", "usage:read"]})[2]
    assert admin("PUT", f"/admin/v1/tenants/{slug}/limits", {"limits": limits})[0] == 200
    return made["key"]


def billed(here, key):
    rows = here.place.request("GET", "/v1/usage", key=key)[2]["data"]
    return sum(r["requests"] for r in rows), sum(r["units"] for r in rows)
