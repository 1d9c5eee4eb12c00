"""The servers under attack, their memory, and a bystander.

guarded_server ($MAAS_BUILD_DIR, with sanitizers in scripts/test) is for limits that a test chooses; the gateway
(release_place, the release build) is attacked as it is installed: default limits, TLS, keys, workers.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "support"))
import attacks  # noqa: E402
import h2raw  # noqa: E402

MEMORY_MAX = 4 * 1024 * 1024


class Memory:
    """What the kernel says of a process's memory, in bytes."""

    def __init__(self, pid):
        self.pid = pid

    def read(self, name):
        for line in open(f"/proc/{self.pid}/status", encoding="ascii"):
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    def mark(self):
        """Growth counts from here. Who may not reset the peak (the gateway cannot be traced, so its files belong to root)
        counts from the peak so far, which of a new process is little more."""
        try:
            with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
            self.before = self.read("VmRSS")
        except PermissionError:
            self.before = self.read("VmHWM")
        self.shared_before = self.read("RssShmem")

    def grown(self):
        """From mark() to the peak since. The rings to the workers are left out: their size is fixed, and their pages are
        counted when they are first written to."""
        return self.read("VmHWM") - self.before - (self.read("RssShmem") - self.shared_before)


class Bystander:
    """Another client, at work during the attack: `make_client()` connects, `ask` is one request as bytes."""

    def __init__(self, address, ask, connections=1, pause=0.01):
        self.address, self.ask, self.connections, self.pause = address, ask, connections, pause
        self.failures = []
        self.answers = 0
        self.worst = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        self.more(3)
        return self

    def more(self, times):
        """Waits until each connection has had so many answers more."""
        wanted = self.answers + times * self.connections
        while self.answers < wanted and not self.failures:
            time.sleep(0.002)

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()

    def one(self, client):
        start = time.monotonic()
        client.send(self.ask)
        status, body = client.read_answer()
        self.worst = max(self.worst, time.monotonic() - start)
        self.answers += 1
        if status != 200:
            self.failures.append((status, body))

    def run(self):
        try:
            clients = [h2raw.H1(self.address) for _ in range(self.connections)]
            while not self.stop.is_set():
                for client in clients:
                    self.one(client)
                    time.sleep(self.pause)
            for client in clients:
                client.close()
        except Exception as error:  # any failure is a finding
            self.failures.append(repr(error))

    def check(self):
        assert not self.failures
        assert self.worst < 1.0


class Target:
    """A guarded_server: its address, its process, its counters and its memory."""

    def __init__(self, address, process, sanitized):
        self.address = address
        self.process = process
        self.pid = process.pid
        self.sanitized = sanitized

    def counts(self):
        client = h2raw.H1(self.address)
        client.send(b"GET /counts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status, body = client.read_answer()
        client.close()
        return json.loads(body) if status == 200 else None

    def cpu(self):
        """User and system time so far, in hundredths of a second."""
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))

    def alive(self):
        return self.process.poll() is None


@pytest.fixture(scope="session")
def identity(tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )
    return cert, key


@pytest.fixture
def start_server(identity, tmp_path):
    """start_server(limit=value, ...) starts a guarded_server with these limits."""
    started = []

    def start(**limits):
        program = pathlib.Path(os.environ.get("MAAS_BUILD_DIR", "build")) / "bin" / "guarded_server"
        assert program.exists(), f"{program} is missing: set MAAS_BUILD_DIR"
        log = open(tmp_path / f"server{len(started)}.log", "wb")
        process = subprocess.Popen(
            [str(program), *map(str, identity), *(f"{k}={v}" for k, v in limits.items())],
            stdout=subprocess.PIPE, stderr=log,
        )
        line = process.stdout.readline().split()
        assert line and line[0] == b"port", open(log.name, encoding="utf-8").read()
        target = Target(("127.0.0.1", int(line[1])), process, b"__asan_init" in program.read_bytes())
        started.append((target, log))
        return target

    yield start
    for target, log in started:
        alive = target.alive()
        if alive:
            target.process.send_signal(signal.SIGTERM)
        code = target.process.wait(timeout=20)
        log.close()
        text = open(log.name, encoding="utf-8", errors="replace").read()
        assert code == 0, f"the server ended with {code}: {text}"
        assert text == "", f"the server wrote: {text}"


@pytest.fixture
def target(start_server):
    return start_server()


class Attack:
    """with attack(target): ... checks memory, the bystander and that the server lives."""

    def __init__(self, target, memory_max=MEMORY_MAX):
        self.target = target
        self.memory_max = memory_max
        self.memory = Memory(target.pid)
        self.bystander = Bystander(target.address, b"GET /counts HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def __enter__(self):
        warm = [h2raw.H2(self.target.address) for _ in range(2)]
        for client in warm:
            client.get(1)
            client.close()
        self.bystander.__enter__()
        self.memory.mark()
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.bystander.more(3)  # also after the attack
        self.grown = self.memory.grown()
        self.bystander.__exit__()
        if kind is not None:
            return False
        print(f"memory +{self.grown // 1024} KiB, bystander {self.bystander.answers} answers,"
              f" worst {self.bystander.worst * 1000:.0f} ms")
        assert self.target.alive()
        self.bystander.check()
        if not self.target.sanitized:  # a sanitizer keeps freed memory
            assert self.grown <= self.memory_max
        return False


@pytest.fixture
def attack():
    return Attack


# ---- the gateway


class Gateway:
    """The gateway of an installation."""

    def __init__(self, place):
        self.place = place
        self.address = ("127.0.0.1", place.port)
        self.keys = {}

    def key(self, tenant):
        """A key of a tenant of its own."""
        if tenant not in self.keys:
            assert self.place.admin("POST", "/admin/v1/tenants", {"slug": tenant})[0] == 201
            status, _, key = self.place.admin("POST", f"/admin/v1/tenants/{tenant}/keys", {"name": "k", "scopes": ["infer:*"]})
            assert status == 201, key
            self.keys[tenant] = key["key"]
        return self.keys[tenant]

    def metrics(self):
        """Its counters. Asking is a request too: of the connections and the requests one is the scrape."""
        text = self.place.request("GET", "/metrics", key="", port=self.place.admin_port)[2].decode()
        return {name: int(value) for name, value in (line.split() for line in text.splitlines() if line[0] != "#")}

    def renew(self):
        """A new process: one that was attacked has memory in hand, and would not be seen to take it."""
        old = self.place.pid_of("maas-gateway")
        os.kill(self.place.pid_of("maas-supervisor"), signal.SIGHUP)
        self.place.until(lambda: self.place.pid_of("maas-gateway") not in (None, old) and self.metrics()["maas_workers_ready"] == 1, 40)
        self.pid = self.place.pid_of("maas-gateway")

    def warm(self, key):
        """What every loop takes for its first requests is not the attack's."""
        for _ in range(8):
            client = h2raw.H2(self.address)
            assert client.get(1, "/v2/health/live") == 200
            client.send(self.inference(3, key))
            assert client.wait(3) == 200
            client.close()

    @staticmethod
    def bearer(key):
        return [("authorization", "Bearer " + key)]

    def inference(self, stream, key, path="/v1/regression", body=attacks.PREDICTION):
        frames = h2raw.request(stream, path, "POST", self.bearer(key), end=False)
        for at in range(0, len(body), 16384):
            last = h2raw.END_STREAM if at + 16384 >= len(body) else 0
            frames += h2raw.frame(h2raw.DATA, last, stream, body[at : at + 16384])
        return frames

    @staticmethod
    def inference_h1(key, path="/v1/regression", body=attacks.PREDICTION):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body


class GatewayAttack:
    """with gateway_attack() as attack: ... then checks memory, bystander and process, and says what became of the counters:
    requests seen, answers by status, predictions billed, connections closed by reason; without the bystander's and the scrapes."""

    def __init__(self, gateway, memory_max=MEMORY_MAX, pause=0.002):
        self.gateway, self.memory_max, self.pause = gateway, memory_max, pause

    def __enter__(self):
        self.gateway.renew()
        key = self.gateway.key("bystander")
        self.gateway.warm(key)
        self.before = self.gateway.metrics()
        ask = self.gateway.inference_h1(key)
        self.bystander = Bystander(self.gateway.address, ask, connections=4, pause=self.pause).__enter__()
        self.memory = Memory(self.gateway.pid)
        self.memory.mark()
        return self

    def check_memory(self, what):
        """What this part of the attack took; the next one counts from here."""
        grown = self.memory.grown()
        print(f"{what}: memory +{grown // 1024} KiB")
        assert grown <= self.memory_max
        self.memory.mark()

    def count(self):
        after = self.gateway.metrics()
        seen = {name: after[name] - self.before[name] for name in after}
        others = self.bystander.answers
        self.requests = seen["maas_requests_total"] - others - 1
        self.billed = seen["maas_usage_appended_total"] - others
        self.answers = {kind: seen[f'maas_answers_total{{status="{kind}"}}'] for kind in ("2xx", "3xx", "4xx", "5xx")}
        self.answers["2xx"] -= others
        reasons = ("cancel", "control", "headers", "framing", "stall", "body")
        self.closed = {r: seen[f"maas_guard_closed_{r}_total"] for r in reasons if seen[f"maas_guard_closed_{r}_total"]}
        print(f"{self.requests} requests seen, {self.billed} billed, closed {self.closed};"
              f" bystander {others} answers, worst {self.bystander.worst * 1000:.0f} ms")

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.bystander.more(3)  # also after the attack
        self.bystander.__exit__()
        if kind is not None:
            return False
        self.check_memory("attack")
        assert self.gateway.place.pid_of("maas-gateway") == self.gateway.pid, "the gateway died"
        self.count()
        self.bystander.check()
        # Nothing is left behind: no request is open but the scrape.
        self.gateway.place.until(lambda: self.gateway.metrics()["maas_requests_open"] == 1, 5)
        return False


@pytest.fixture(scope="session")
def gateway(release_place):
    return Gateway(release_place)


@pytest.fixture
def gateway_attack(gateway):
    return lambda **more: GatewayAttack(gateway, **more)
