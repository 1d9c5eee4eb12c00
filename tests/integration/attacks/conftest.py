"""Starts the server under attack and watches its memory and a bystander.

By default that is guarded_server from $MAAS_BUILD_DIR. To run the attacks against a gateway that is up,
set MAAS_ATTACK_ADDRESS=host:port and MAAS_ATTACK_PID; tests that need limits of their own are skipped then.
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
import h2raw  # noqa: E402

MEMORY_MAX = 4 * 1024 * 1024


class Target:
    """A server: its address, its process, its counters and its memory."""

    def __init__(self, address, pid, process=None, sanitized=False):
        self.address = address
        self.pid = pid
        self.process = process
        self.sanitized = sanitized

    def counts(self):
        client = h2raw.H1(self.address)
        client.send(b"GET /counts HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status, body = client.read_answer()
        client.close()
        return json.loads(body) if status == 200 else None

    def _status(self, name):
        for line in open(f"/proc/{self.pid}/status", encoding="ascii"):
            if line.startswith(name + ":"):
                return int(line.split()[1]) * 1024
        raise KeyError(name)

    def rss(self):
        return self._status("VmRSS")

    def peak(self):
        return self._status("VmHWM")

    def reset_peak(self):
        with open(f"/proc/{self.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def alive(self):
        return self.process is None or self.process.poll() is None


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


def build_dir():
    return pathlib.Path(os.environ.get("MAAS_BUILD_DIR", "build"))


@pytest.fixture
def start_server(identity, tmp_path):
    """start_server(limit=value, ...) starts a guarded_server with these limits."""
    if os.environ.get("MAAS_ATTACK_ADDRESS"):
        pytest.skip("needs a server with limits of its own")
    started = []

    def start(**limits):
        program = build_dir() / "bin" / "guarded_server"
        assert program.exists(), f"{program} is missing: set MAAS_BUILD_DIR"
        log = open(tmp_path / f"server{len(started)}.log", "wb")
        process = subprocess.Popen(
            [str(program), *map(str, identity), *(f"{k}={v}" for k, v in limits.items())],
            stdout=subprocess.PIPE, stderr=log,
        )
        line = process.stdout.readline().split()
        assert line and line[0] == b"port", open(log.name, encoding="utf-8").read()
        target = Target(("127.0.0.1", int(line[1])), process.pid, process, b"__asan_init" in program.read_bytes())
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
def target(request):
    address = os.environ.get("MAAS_ATTACK_ADDRESS")
    if address:
        host, port = address.rsplit(":", 1)
        return Target((host, int(port)), int(os.environ["MAAS_ATTACK_PID"]))
    return request.getfixturevalue("start_server")()


class Bystander:
    """Another client, at work during the attack."""

    def __init__(self, address):
        self.address = address
        self.failures = []
        self.answers = 0
        self.worst = 0.0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            client = h2raw.H1(self.address)
            while not self.stop.is_set():
                start = time.monotonic()
                client.send(b"GET /counts HTTP/1.1\r\nHost: localhost\r\n\r\n")
                status, _ = client.read_answer()
                self.worst = max(self.worst, time.monotonic() - start)
                self.answers += 1
                if status >= 500:
                    self.failures.append(status)
                time.sleep(0.01)
            client.close()
        except Exception as error:  # any failure is a finding
            self.failures.append(repr(error))


class Attack:
    """with attack(target): ... checks memory, the bystander and that the server lives."""

    def __init__(self, target, memory_max=MEMORY_MAX):
        self.target = target
        self.memory_max = memory_max

    def __enter__(self):
        warm = [h2raw.H2(self.target.address) for _ in range(2)]
        for client in warm:
            client.get(1)
        self.bystander = Bystander(self.target.address)
        self.bystander.thread.start()
        while self.bystander.answers < 3 and not self.bystander.failures:
            time.sleep(0.01)
        for client in warm:
            client.close()
        self.target.reset_peak()
        self.before = self.target.rss()
        return self

    def __exit__(self, kind, value, trace):
        self.grown = self.target.peak() - self.before
        self.bystander.stop.set()
        self.bystander.thread.join()
        if kind is not None:
            return False
        print(f"memory +{self.grown // 1024} KiB, bystander {self.bystander.answers} answers,"
              f" worst {self.bystander.worst * 1000:.0f} ms")
        assert self.target.alive()
        assert not self.bystander.failures
        assert self.bystander.worst < 1.0
        if not self.target.sanitized:  # a sanitizer keeps freed memory
            assert self.grown <= self.memory_max
        return False


@pytest.fixture
def attack():
    return Attack
