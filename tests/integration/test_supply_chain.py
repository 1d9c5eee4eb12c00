"""Only a file whose digest is allowed runs as a plugin: whatever its name, whenever it was put there, and for as long as it is allowed.

The installation has a folder of plugins of its own, so that the files can be exchanged."""
import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import time

import pytest

ECHO = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [0.5]}]}
ABORT = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [1]}]}


@pytest.fixture(scope="module")
def plugins(tmp_path_factory, build_dir):
    folder = tmp_path_factory.mktemp("plugins")
    for file in pathlib.Path(build_dir).glob("plugins/*.so"):
        shutil.copy(file, folder)
    for part in (folder, *folder.parents[:2]):  # of this test alone: the service user reads them
        os.chmod(part, 0o755)
    return folder


@pytest.fixture(scope="module")
def place(installations, build_dir, plugins):
    with installations(build_dir, {"MAAS_WORKERS_PLUGINS_DIR": str(plugins)}) as here:
        yield here


def digest_of(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def exchange(file):
    """Another file under the same name, as an attacker or a careless operator puts it there: it would load and serve all the same."""
    changed = file.with_suffix(".new")
    changed.write_bytes(file.read_bytes() + b"!")
    os.rename(changed, file)
    return digest_of(file)


def ask(place, model, body=ECHO):
    return place.request("POST", f"/v2/models/{model}/infer", body)[0]


def served(place, model):
    return lambda: ask(place, model) == 200


def refused(place, model, digest):
    """Not ready, with a reason that names the file's digest."""
    workers = place.workers(model)
    return bool(workers) and all(w["pid"] == 0 and digest in w["reason"] and "not allowed" in w["reason"] for w in workers)


def log_has(place, *words):
    return any(all(w in line for w in words) for line in (place.folder / "log" / "gateway.log").read_text().splitlines())


def audited(place, action, digest):
    return [a for a in place.admin("GET", "/admin/v1/audit")[2]["data"] if a["action"] == action and a["after"]["sha256"] == digest]


def plugin(place, name, digest):
    """Its row in the list; None when there is none."""
    rows = place.admin("GET", "/admin/v1/plugins")[2]["data"]
    return next((r for r in rows if r["id"] == name and r["sha256"] == digest), None)


def test_the_demo_plugin_was_installed_through_the_api(place, plugins):
    row = plugin(place, "maas.linreg", digest_of(plugins / "maas.linreg.so"))
    assert row["state"] == "allowed" and row["installed_by"].startswith("token:up-") and row["revoked_at"] is None
    assert len(audited(place, "plugin.allow", row["sha256"])) == 1


def test_a_plugin_that_nobody_allowed_is_never_loaded_and_starts_once_it_is_allowed(place, plugins):
    file, before = plugins / "maas.faulty.so", place.metric("maas_plugins_refused_total")
    starts = place.metric("maas_worker_starts_total")
    place.deploy("unknown", "maas.faulty")
    place.until(lambda: refused(place, "unknown", digest_of(file)), 10)
    assert ask(place, "unknown") == 503
    assert place.metric("maas_plugins_refused_total") > before
    assert place.metric("maas_worker_starts_total") == starts, "a worker was started for a file that is not allowed"
    assert log_has(place, "worker.start", "maas.faulty", digest_of(file), "not allowed")
    assert place.request("GET", "/readyz", key="", port=place.admin_port)[0] == 200  # the others are served
    place.allow_plugin(file)
    assert place.until(served(place, "unknown"), 10) < 5  # at once, not after the pause of a pool that fails
    worker = place.workers("unknown")[0]
    assert worker["sha256"] == digest_of(file) and worker["reason"] == "" and worker["state"] == "ready"


def test_an_exchanged_file_is_not_loaded_by_the_next_worker_and_revoking_ends_the_running_one(place, plugins):
    file = plugins / "maas.faulty.so"
    first = place.allow_plugin(file)
    place.deploy("exchanged", "maas.faulty")
    place.until(served(place, "exchanged"), 10)
    second = exchange(file)
    assert ask(place, "exchanged") == 200  # what runs has been checked and is a sealed copy
    assert ask(place, "exchanged", ABORT) == 502
    place.until(lambda: refused(place, "exchanged", second), 10)

    place.allow_plugin(file)  # a roll-out: two digests of one plugin
    place.until(served(place, "exchanged"), 10)
    assert place.workers("exchanged")[0]["sha256"] == second
    pid = place.workers("exchanged")[0]["pid"]
    assert place.admin("DELETE", f"/admin/v1/plugins/maas.faulty/{first}")[0] == 200
    time.sleep(0.5)
    assert ask(place, "exchanged") == 200 and place.workers("exchanged")[0]["pid"] == pid  # the old digest is not what runs

    crashes = place.metric("maas_worker_crashes_total")
    revoked = place.metric("maas_plugins_revoked_total")
    assert place.admin("DELETE", f"/admin/v1/plugins/maas.faulty/{second}")[0] == 200
    took = place.until(lambda: refused(place, "exchanged", second) and not os.path.exists(f"/proc/{pid}"), 10)
    assert took < 2 and ask(place, "exchanged") == 503
    assert place.metric("maas_plugins_revoked_total") > revoked and place.metric("maas_worker_crashes_total") == crashes
    assert log_has(place, "worker.revoked", "exchanged")
    for digest in (first, second):
        assert plugin(place, "maas.faulty", digest)["state"] == "revoked" and len(audited(place, "plugin.revoke", digest)) == 1


def test_revoking_ends_an_old_version_that_serves_until_the_new_one_is_ready(place, plugins):
    digest = place.allow_plugin(plugins / "maas.faulty.so")
    place.deploy("stuck", "maas.faulty")
    place.until(served(place, "stuck"), 10)
    place.deploy("stuck", "maas.absent")  # there is no such file: the first version goes on
    place.until(lambda: any(w["version"] == 2 and w["reason"] for w in place.workers("stuck")), 10)
    assert ask(place, "stuck") == 200
    assert place.admin("DELETE", f"/admin/v1/plugins/maas.faulty/{digest}")[0] == 200
    assert place.until(lambda: ask(place, "stuck") == 503, 10) < 2


def test_a_gateway_that_starts_anew_loads_nothing_that_was_revoked_meanwhile(place, plugins):
    file = plugins / "maas.faulty.so"
    digest = place.allow_plugin(file)  # once more: revoked before
    place.deploy("anew", "maas.faulty")
    place.until(served(place, "anew"), 10)
    os.kill(place.pid_of("maas-gateway"), signal.SIGKILL)
    place.until(served(place, "anew"), 20)
    assert place.admin("DELETE", f"/admin/v1/plugins/maas.faulty/{digest}")[0] == 200
    os.kill(place.pid_of("maas-gateway"), signal.SIGKILL)
    place.until(lambda: refused(place, "anew", digest), 20)
    assert ask(place, "anew") == 503


def test_allowing_is_idempotent_and_wrong_fields_are_named(place):
    digest = "ab" * 32
    allow = {"id": "some.plugin", "sha256": digest.upper(), "version": "1.2"}
    status, _, row = place.admin("POST", "/admin/v1/plugins", allow)
    assert status == 201 and row["sha256"] == digest and row["version"] == "1.2" and row["state"] == "allowed"
    status, _, again = place.admin("POST", "/admin/v1/plugins", allow)
    assert status == 200 and again == row and len(audited(place, "plugin.allow", digest)) == 1
    for wrong, field in ((dict(allow, id="../evil"), "id"), (dict(allow, id=""), "id"), (dict(allow, id=".so"), "id"), (dict(allow, sha256="ab"), "sha256"),
                         (dict(allow, sha256="g" * 64), "sha256"), ({"id": "x"}, "sha256"), (dict(allow, path="/x"), "path"),
                         (dict(allow, version="v" * 65), "version")):
        status, headers, problem = place.admin("POST", "/admin/v1/plugins", wrong)
        assert status == 422 and problem["field"] == field and headers["content-type"] == "application/problem+json", (wrong, problem)
    assert place.admin("DELETE", "/admin/v1/plugins/some.plugin/xyz")[2]["field"] == "sha256"
    assert place.admin("DELETE", f"/admin/v1/plugins/some.plugin/{'cd' * 32}")[0] == 404
    for _ in range(2):
        status, _, row = place.admin("DELETE", f"/admin/v1/plugins/some.plugin/{digest}")
        assert status == 200 and row["state"] == "revoked" and row["revoked_at"]
    assert place.admin("POST", "/admin/v1/plugins", allow)[0] == 201  # may be allowed again; the log has it all
    assert len(audited(place, "plugin.allow", digest)) == 2


def test_who_runs_models_does_not_decide_which_code_runs(place, build_dir):
    def token(role):
        program = os.path.join(build_dir, "bin", "maas-gateway")
        said = subprocess.run([program, "--config", place.folder / "gateway.yaml", "--create-admin-token", f"a-{role}", "--role", role],
                              capture_output=True, text=True, timeout=60, check=True).stdout
        return next(word for word in said.split() if word.startswith("maas_admin_"))
    operator, viewer = token("operator"), token("viewer")
    digest = "ef" * 32
    assert place.admin("POST", "/admin/v1/plugins", {"id": "x", "sha256": digest}, token=operator)[0] == 403
    assert place.admin("POST", "/admin/v1/plugins", {"id": "x", "sha256": digest})[0] == 201
    assert place.admin("DELETE", f"/admin/v1/plugins/x/{digest}", token=viewer)[0] == 403
    assert place.admin("DELETE", f"/admin/v1/plugins/x/{digest}", token=operator)[0] == 200
    assert place.admin("GET", "/admin/v1/plugins", token=viewer)[0] == 200


def test_check_says_of_each_plugin_whether_it_is_allowed(place, build_dir, plugins):
    def check():
        program = os.path.join(build_dir, "bin", "maas-gateway")
        return subprocess.run([program, "--config", place.folder / "gateway.yaml", "--check"], capture_output=True, text=True, timeout=60,
                              env=dict(os.environ, MAAS_WORKERS_PLUGINS_DIR=str(plugins)))
    said = check().stdout
    assert "plugin maas.linreg: its digest is allowed" in said
    assert "plugin maas.faulty: its digest is not allowed, it will not be loaded" in said
    assert "FAIL  plugins:" in said and "a deployment wants it" in said
    place.allow_plugin(plugins / "maas.faulty.so")
    done = check()
    assert done.returncode == 0 and "plugin maas.faulty: its digest is allowed" in done.stdout
