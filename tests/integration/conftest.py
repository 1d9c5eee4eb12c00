"""A whole installation for the integration tests: scripts/up in a folder of its own, with the programs under test."""
import contextlib
import hashlib
import http.client
import io
import json
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tarfile
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pytest_configure(config):
    config.addinivalue_line("markers", "soak: minutes long; scripts/test --full runs it, too")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Place:
    """One running installation: its addresses, keys, and requests over HTTP/1.1."""

    def __init__(self, folder, port, admin_port):
        self.folder, self.port, self.admin_port = pathlib.Path(folder), port, admin_port
        self.env = {}

    def read_env(self):
        for line in (self.folder / "env").read_text().splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.env[name] = value.strip("'\"")

    def request(self, method, path, body=None, key=None, headers=None, port=None, timeout=30):
        """(status, headers, parsed body or bytes). key None: the demo key; '' : none."""
        context = ssl.create_default_context(cafile=self.env["MAAS_CA"])
        connection = http.client.HTTPSConnection("localhost", port or self.port, context=context, timeout=timeout)
        sent = dict(headers or {})
        key = self.env["MAAS_API_KEY"] if key is None else key
        if key:
            sent["Authorization"] = f"Bearer {key}"
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        try:
            parsed = json.loads(raw)
        except ValueError:
            parsed = raw
        return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), parsed

    def admin(self, method, path, body=None, headers=None, token=None):
        token = self.env["MAAS_ADMIN_TOKEN"] if token is None else token
        return self.request(method, path, body, key=token, headers=headers, port=self.admin_port)

    def allow_plugin(self, file):
        """Lets a file run as the plugin that its name says, by its digest."""
        file = pathlib.Path(file)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        status, _, answer = self.admin("POST", "/admin/v1/plugins", {"id": file.name.removesuffix(".so"), "sha256": digest})
        assert status in (200, 201), answer
        return digest

    def deploy(self, name, plugin):
        """A model of a plugin that needs nothing from its artifact (but an artifact holds a file); a new version when there is one."""
        tar = io.BytesIO()
        with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as pack:
            pack.addfile(tarfile.TarInfo("nothing"))
        assert self.admin("POST", "/admin/v1/models", {"name": name, "task": "regression"})[0] in (201, 409)
        status, _, version = self.admin("POST", f"/admin/v1/models/{name}/versions?plugin={plugin}", tar.getvalue(),
                                        headers={"Content-Type": "application/x-tar"})
        assert status == 201, version
        put = {"model": name, "version": version["number"], "visibility": "all"}
        assert self.admin("PUT", f"/admin/v1/deployments/{name}", put)[0] == 200

    def psql(self, statement):
        """As the database's superuser; the lines of the answer."""
        sockets = re.search(r"host='?([^' ]+)", (self.folder / "gateway.yaml").read_text()).group(1)
        password = (self.folder / "secrets" / "pg_super").read_text().strip()
        done = subprocess.run(["psql", "-X", "-h", sockets, "-U", "maas_super", "-d", "maas", "-v", "ON_ERROR_STOP=1", "-qAtc", statement],
                              capture_output=True, text=True, timeout=120, env={**os.environ, "PGPASSWORD": password})
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def workers(self, deployment):
        return [w for w in self.admin("GET", "/admin/v1/workers")[2]["data"] if w["deployment"] == deployment]

    def metric(self, name):
        text = self.request("GET", "/metrics", key="", port=self.admin_port)[2].decode()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(name + " ")))

    def pid_of(self, program):
        """The pid of this installation's program, by its configuration or its memory: only processes of this folder."""
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (proc / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(program.encode()) and any(str(self.folder).encode() in w for w in words[1:]):
                return int(proc.name)
        return None

    def until(self, what, seconds):
        """Seconds it took until what() was true; fails after `seconds`."""
        start = time.monotonic()
        while time.monotonic() - start < seconds:
            try:
                if what():
                    return time.monotonic() - start
            except (OSError, http.client.HTTPException, ValueError):
                pass
            time.sleep(0.01)
        pytest.fail(f"not within {seconds} s")


@contextlib.contextmanager
def installation(build_dir, environment=None):
    """A Place that runs the programs of `build_dir`; `environment` adds settings (MAAS_ and the setting's path)."""
    with tempfile.TemporaryDirectory(prefix="maas-test-") as folder:
        os.chmod(folder, 0o755)
        here = Place(pathlib.Path(folder) / "p", free_port(), free_port())
        ports = ["--dir", str(here.folder), "--port", str(here.port), "--admin-port", str(here.admin_port)]
        # the leak checker stops its process with ptrace, which the worker's sandbox answers with death
        # a Redis that gets no time for 10 ms is "away", and limits then start from nothing: not what these tests are about
        env = {**os.environ, "MAAS_BUILD_DIR": str(build_dir), "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0",
               "MAAS_REDIS_TIMEOUT_MS": "500", **(environment or {})}
        up = subprocess.run([ROOT / "scripts/up", "--no-build", "--models", "diabetes", *ports], capture_output=True, text=True, timeout=240, env=env)
        try:
            assert up.returncode == 0, up.stdout[-3000:] + up.stderr[-2000:]
            here.read_env()
            yield here
        finally:
            subprocess.run([ROOT / "scripts/down", "--wipe", "--dir", str(here.folder)], capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def installations():
    """The function above, for tests that need settings of their own."""
    return installation


@pytest.fixture(scope="session")
def build_dir():
    if "MAAS_BUILD_DIR" not in os.environ:
        pytest.fail("set MAAS_BUILD_DIR to a build folder (scripts/test does)")
    return os.environ["MAAS_BUILD_DIR"]


@pytest.fixture(scope="session")
def place(build_dir):
    with installation(build_dir) as here:
        yield here


@pytest.fixture(scope="session")
def release_dir():
    """The build whose times count: sanitizers make every figure another one."""
    if "MAAS_RELEASE_DIR" not in os.environ:
        pytest.skip("MAAS_RELEASE_DIR names no release build (scripts/test makes one)")
    return os.environ["MAAS_RELEASE_DIR"]


@pytest.fixture(scope="session")
def release_place(release_dir):
    with installation(release_dir) as here:
        yield here
