"""scripts/up and scripts/down: what a person runs. A second up changes nothing, an up after a crash repairs, every
failure says what to do, down ends what up started. Folders and ports of its own; nothing is timed but the bound that is
promised (15 s for a second up)."""
import importlib.util
import os
import pathlib
import pwd
import shlex
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# By its path: several folders have a conftest.
spec = importlib.util.spec_from_file_location("integration_place", pathlib.Path(__file__).with_name("conftest.py"))
integration = importlib.util.module_from_spec(spec)
spec.loader.exec_module(integration)
GOOD = {"model": "diabetes", "features": [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]}
PROGRAMS = ("maas-supervisor", "maas-gateway", "postgres", "redis-server")


def run(*command, environment=None, prefix=()):
    # the leak checker stops its process with ptrace, which the worker's sandbox answers with death
    env = dict(os.environ, ASAN_OPTIONS="abort_on_error=1:detect_leaks=0", **(environment or {}))
    return subprocess.run([*prefix, ROOT / "scripts" / command[0], *map(str, command[1:])], capture_output=True, text=True, timeout=240, env=env)


class Home(integration.Place):
    """An installation that the test itself starts, breaks and stops."""

    def __init__(self, folder):
        super().__init__(folder, integration.free_port(), integration.free_port())
        self.tmp = pathlib.Path(folder).parent / "tmp"
        self.tmp.mkdir(exist_ok=True)
        self.tmp.chmod(0o1777)
        self.prefix = ()

    def up(self, *more, ports=True, environment=None, models="diabetes"):
        ports = ["--port", self.port, "--admin-port", self.admin_port] if ports else []
        models = ["--models", models] if models else []
        return run("up", "--no-build", "--dir", self.folder, *ports, *models, *more, prefix=self.prefix,
                   environment=dict(environment or {}, TMPDIR=str(self.tmp)))

    def down(self, *more):
        return run("down", "--dir", self.folder, *more, prefix=self.prefix, environment=dict(TMPDIR=str(self.tmp)))

    def begin(self):
        done = self.up()
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        self.read_env()
        return self

    def place(self):
        """What up decided: PG_DATA, SOCKETS and the service users."""
        return dict(word.split("=", 1) for word in shlex.split((self.folder / "place").read_text()))

    def processes(self):
        """{pid: program} of this installation, by its paths in the command line or, for PostgreSQL, the working folder."""
        place = self.place()
        found = {}
        for proc in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                words = (proc / "cmdline").read_bytes().decode(errors="replace").split("\0")
                program = os.path.basename(words[0]).split(":")[0]
                ours = any(w.startswith((str(self.folder), place["SOCKETS"])) for w in words[1:])
                if program == "postgres":  # the others make themselves unreadable to their own user
                    ours = ours or os.readlink(proc / "cwd").startswith(place["PG_DATA"])
            except OSError:  # it has ended
                continue
            if program in PROGRAMS and ours:
                found[int(proc.name)] = program
        return found

    def pid(self, program):
        """The process of that name; PostgreSQL's is the postmaster."""
        if program == "postgres":
            return int(pathlib.Path(self.place()["PG_DATA"], "postmaster.pid").read_text().split()[0])
        return next(pid for pid, name in self.processes().items() if name == program)

    def kill_all(self):
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # a child that went with its parent
                pass

    def requests_billed(self):
        return sum(row["requests"] for row in self.request("GET", "/v1/usage")[2]["data"])


@pytest.fixture(scope="module")
def base():
    if "MAAS_BUILD_DIR" not in os.environ:
        pytest.fail("set MAAS_BUILD_DIR to a build folder (scripts/test does)")
    with tempfile.TemporaryDirectory(prefix="maas-up-") as folder:
        os.chmod(folder, 0o755)  # the service users and nobody must get through
        yield pathlib.Path(folder)


@pytest.fixture(scope="module")
def home(base):
    here = Home(base / ("with a space and longer than the path of a Unix socket may be " + 60 * "x"))
    try:
        yield here.begin()
    finally:
        here.down("--wipe")


def seeded(base, home, name):
    """A folder that up may take, with the data set in it: no network."""
    folder = base / name
    (folder / "demo/diabetes").mkdir(parents=True)
    (folder / "place").touch()
    shutil.copytree(home.folder / "demo/diabetes/data", folder / "demo/diabetes/data")
    return folder


def says_what_to_do(done, *words):
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: " in done.stderr and "what to do: " in done.stderr
    for word in words:
        assert str(word) in done.stderr


def test_env_has_what_a_client_needs_and_nobody_else_can_read_it(home):
    assert set(home.env) == {"MAAS_URL", "MAAS_ADMIN_URL", "MAAS_CA", "MAAS_API_KEY", "MAAS_ADMIN_TOKEN", "MAAS_TENANT"}
    assert stat.S_IMODE((home.folder / "env").stat().st_mode) == 0o600
    line = f'. "{home.folder}/env" && curl -sf --cacert "$MAAS_CA" -H "authorization: Bearer $MAAS_API_KEY" "$MAAS_URL/v1/models"'
    assert '"diabetes"' in subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True).stdout
    for secret in (home.folder / "secrets").iterdir():
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600, secret
    assert home.request("POST", "/v1/regression", GOOD)[0] == 200


def test_postgres_and_redis_are_private_to_the_folder(home):
    place = home.place()
    assert pathlib.Path(place["SOCKETS"]).is_dir() and len(place["SOCKETS"]) < 60  # a socket's path holds 107 bytes
    for program in ("postgres", "redis-server"):
        listening = subprocess.run(["find", f"/proc/{home.pid(program)}/fd", "-lname", "socket:*", "-printf", "%l\n"], capture_output=True,
                                   text=True, check=True).stdout
        inodes = {line[len("socket:["):-1] for line in listening.split()}
        tcp = [line.split() for name in ("tcp", "tcp6") for line in pathlib.Path("/proc/net", name).read_text().splitlines()[1:]]
        assert not [row for row in tcp if row[3] == "0A" and row[9] in inodes], f"{program} listens on TCP"


def test_a_second_up_is_quick_and_harmless(home):
    processes, key, env = home.processes(), home.env["MAAS_API_KEY"], (home.folder / "env").read_text()
    servers = {p: n for p, n in processes.items() if p in {home.pid(program) for program in PROGRAMS}}
    assert sorted(servers.values()) == sorted(PROGRAMS)
    start = time.monotonic()
    done = home.up(ports=False)  # the ports are kept, too
    assert time.monotonic() - start < 15
    assert done.returncode == 0, done.stdout + done.stderr
    assert (home.folder / "env").read_text() == env and f"tenant demo: {key}\n" in done.stdout
    assert servers.items() <= home.processes().items()


def test_all_demo_models_are_trained_on_real_data_and_answer(home):
    done = home.up(models=None)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert {m["id"] for m in home.request("GET", "/v1/models")[2]["data"]} == {"diabetes", "language", "digits", "libraries"}
    worth = {line.split()[1].rstrip(":"): float(line.rstrip(")").split()[-1]) for line in done.stdout.splitlines() if "(test_" in line}
    assert worth["language"] > 0.98 and worth["digits"] > 0.96, worth
    done = home.up("--check", models=None)
    assert done.returncode == 0 and " 0 do not" in done.stdout, done.stdout


def test_check_calls_every_route_and_leaves_the_demo_as_it_is(home):
    done = home.up("--check")
    assert done.returncode == 0 and "0 do not" in done.stdout, done.stdout
    assert home.request("POST", "/v1/regression", GOOD)[0] == 200


def test_up_after_the_death_of_everything_serves_the_same_key_and_keeps_the_usage(home):
    before = home.requests_billed()
    for _ in range(3):
        assert home.request("POST", "/v1/regression", GOOD)[0] == 200
    home.until(lambda: home.requests_billed() >= before + 3, 30)  # shipped: what a dead machine has on disk is another test's
    home.kill_all()
    key = home.env["MAAS_API_KEY"]
    home.begin()
    assert home.env["MAAS_API_KEY"] == key
    assert home.requests_billed() >= before + 3
    assert home.request("POST", "/v1/regression", GOOD)[0] == 200


@pytest.mark.parametrize("program", PROGRAMS)
def test_up_repairs_the_death_of_one(home, program):
    os.kill(home.pid(program), signal.SIGKILL)
    key = home.env["MAAS_API_KEY"]
    assert home.begin().env["MAAS_API_KEY"] == key
    assert [p for p in home.processes().values() if p == "maas-gateway"] == ["maas-gateway"]


def test_up_repairs_what_was_swept_away(home):
    """Sockets, pid files and certificates of running servers, and the superuser's password."""
    key = home.env["MAAS_API_KEY"]
    shutil.rmtree(home.place()["SOCKETS"])
    shutil.rmtree(home.folder / "run")
    shutil.rmtree(home.folder / "tls")
    for name in ("secrets/pg_super", "secrets/pgpass", "env", "gateway.yaml"):
        (home.folder / name).unlink()
    assert home.begin().env["MAAS_API_KEY"] == key
    assert home.request("POST", "/v1/regression", GOOD)[0] == 200
    names = sorted(home.processes().values())
    assert names.count("redis-server") == names.count("maas-gateway") == names.count("maas-supervisor") == 1


def test_a_lost_pepper_is_said_aloud_and_a_damaged_one_is_not_replaced(home):
    pepper, key = home.folder / "secrets/pepper", home.env["MAAS_API_KEY"]
    old = pepper.read_bytes()
    pepper.write_text("nonsense\n")
    says_what_to_do(home.up(), pepper)
    assert pepper.read_text() == "nonsense\n"
    pepper.unlink()
    done = home.up()
    assert done.returncode == 0 and f"LOST: {pepper}" in done.stdout, done.stdout + done.stderr
    home.read_env()
    assert home.env["MAAS_API_KEY"] != key
    assert home.request("POST", "/v1/regression", GOOD)[0] == 200
    assert home.request("POST", "/v1/regression", GOOD, key=key)[0] == 401
    pepper.write_bytes(old)  # as from a backup: the old keys are good again
    home.begin()
    assert home.request("POST", "/v1/regression", GOOD, key=key)[0] == 200


def test_a_taken_port_is_named_and_nothing_running_is_stopped(home):
    before = home.processes()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        says_what_to_do(home.up("--port", port, "--admin-port", home.admin_port, ports=False), f"port {port} is taken", "--port")
        says_what_to_do(home.up("--port", home.port, "--admin-port", port, ports=False), f"port {port} is taken", "--port")
    assert {p for p, n in before.items() if n.startswith("maas-")} <= set(home.processes())


@pytest.mark.parametrize("arguments,status", [(["--nonsense"], 2), (["extra"], 2), (["--port"], 1), (["--port", "0"], 1),
                                              (["--port", "65535"], 1), (["--port", "9000", "--admin-port", "9000"], 1)])
def test_wrong_arguments_are_refused_before_anything_is_done(tmp_path, arguments, status):
    done = run("up", "--dir", tmp_path / "never", *arguments)
    assert done.returncode == status and not (tmp_path / "never").exists()
    assert ("usage: scripts/up" if status == 2 else "what to do: ") in done.stderr
    assert run("down", "--nonsense").returncode == 2 and run("test", "--nonsense").returncode == 2


def test_a_folder_with_other_things_in_it_is_not_taken(tmp_path):
    (tmp_path / "letter").write_text("mine")
    tmp_path.chmod(0o750)
    try:
        says_what_to_do(run("up", "--no-build", "--dir", tmp_path), tmp_path, "--dir")
        assert [p.name for p in tmp_path.iterdir()] == ["letter"] and stat.S_IMODE(tmp_path.stat().st_mode) == 0o750
    finally:
        done = run("down", "--wipe", "--dir", tmp_path)
    assert "nothing was started" in done.stdout and (tmp_path / "letter").exists()


def test_an_up_that_was_killed_half_way_is_repaired_by_the_next(base, home):
    here = Home(seeded(base, home, "killed"))
    ports = ["--port", str(here.port), "--admin-port", str(here.admin_port)]
    env = dict(os.environ, ASAN_OPTIONS="abort_on_error=1:detect_leaks=0")
    try:
        for sign in ("postgres.new/global", "secrets/admin_token"):  # PostgreSQL's data half made, and the gateway new
            up = subprocess.Popen([ROOT / "scripts/up", "--no-build", "--dir", here.folder, *ports], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL, start_new_session=True, env=env)
            try:
                here.until(lambda: (here.folder / sign).exists() or up.poll() is not None, 120)
            finally:
                os.killpg(up.pid, signal.SIGKILL)
                up.wait()
        here.begin()
        assert here.request("POST", "/v1/regression", GOOD)[0] == 200
        # The folder is deleted under what runs, as by git clean: down finds it all the same.
        place, running = here.place(), here.processes()
        shutil.rmtree(here.folder)
        done = here.down("--wipe")
        assert done.returncode == 0 and done.stdout.count("(stopped)") == 3, done.stdout + done.stderr
        assert not [pid for pid in running if os.path.exists(f"/proc/{pid}/cwd")]
        assert not os.path.exists(place["SOCKETS"]) and not here.folder.exists()
    finally:
        here.down("--wipe")


def test_an_ordinary_user_without_sudo_needs_nothing_when_all_packages_are_there(base, home):
    if os.getuid() != 0:
        pytest.skip("the whole file runs as an ordinary user")
    nobody = pwd.getpwnam("nobody")
    prefix = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    if subprocess.run([*prefix, "test", "-x", ROOT / "scripts/up", "-a", "-x", f"{os.environ['MAAS_BUILD_DIR']}/bin/maas-gateway"]).returncode:
        pytest.skip("other users cannot reach this checkout")
    here = Home(seeded(base, home, "nobody/p"))
    for path in (here.folder.parent, *here.folder.parent.rglob("*")):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    here.prefix = prefix
    try:
        # of the caller's surroundings, what would reach servers and clients, and a locale that is not there
        hostile = {"PGPORT": "1", "PGPASSWORD": "x", "PGHOSTADDR": "127.0.0.1", "https_proxy": "http://127.0.0.1:1", "CDPATH": f".:{ROOT}",
                   "LC_ALL": "xx_XX.UTF-8"}
        done = here.up(environment=hostile)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        here.read_env()
        assert here.request("POST", "/v1/regression", GOOD)[0] == 200
        owners = {pathlib.Path("/proc", str(pid)).stat().st_uid for pid in here.processes()}
        # one that made itself not dumpable shows as root's
        assert nobody.pw_uid in owners and owners <= {nobody.pw_uid, 0}
        if 80 < int(pathlib.Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()):
            says_what_to_do(here.up("--port", 80, ports=False), "port 80 may be opened by root only")
        says_what_to_do(run("down", "--dir", here.folder), "belongs to user nobody")  # root is somebody else too
        assert here.down().returncode == 0 and not here.processes()
    finally:
        assert here.down("--wipe").returncode == 0
    assert not here.folder.exists() and not list(here.tmp.iterdir())


def test_down_ends_exactly_what_up_started_and_leaves_nothing(home, tmp_path):
    """The last test of the installation. Clients that keep their connections do not hold it up."""
    context = ssl.create_default_context(cafile=home.env["MAAS_CA"])
    clients = [context.wrap_socket(socket.create_connection(("localhost", port)), server_hostname="localhost")
               for port in (home.port, home.admin_port)]
    for client in clients:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(4096).startswith(b"HTTP/1.1 ")
    other = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", tmp_path / "r.sock", "--save", "", "--dir", tmp_path],
                             stdout=subprocess.DEVNULL)
    try:
        place = home.place()
        done = home.down()
        assert done.returncode == 0 and done.stdout.count("(stopped)") == 3, done.stdout + done.stderr
        assert not home.processes() and other.poll() is None
        assert not os.path.exists(place["SOCKETS"]) and not list(home.tmp.iterdir())
        assert os.path.isdir(place["PG_DATA"]) and (home.folder / "secrets/api_key").exists()
        ends = [line for line in (home.folder / "log/gateway.log").read_text().splitlines() if '"gateway.exit"' in line]
        assert '"signal":0,"code":0' in ends[-1]  # the drain came to its end
        assert home.down().stdout.count("was not running") == 3
        assert home.down("--wipe").returncode == 0
        assert not home.folder.exists() and not os.path.exists(place["PG_DATA"])
        assert "nothing was started" in home.down("--wipe").stdout
    finally:
        other.kill()
        other.wait()
        for client in clients:
            client.close()
