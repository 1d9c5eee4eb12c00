"""A version, or the plugin's file, is replaced while several kept connections ask all the time: no request fails and every answer is
one version's alone. What cannot load, crashes or fails its self-test never gets a request."""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import threading
import time

import pytest

from asking import ROW, Client, Load, Site, output, pack

START_MS = 6000
SWAPS = 200


class SwapSite(Site):
    def __init__(self, place, plugins, build):
        super().__init__(place)
        self.plugins, self.build = plugins, pathlib.Path(build)
        for build in ("maas.swapped.so", "maas.swapped2.so"):
            self.allow("maas.swapped", self.build / "plugins" / build)

    def allow(self, plugin, file):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self.admin("POST", "/admin/v1/plugins", {"id": plugin, "sha256": digest})

    def put_plugin(self, source):
        """As an operator would: the new file takes the old one's name in one step."""
        new = self.plugins / ".new"
        shutil.copy(source, new)
        os.rename(new, self.plugins / "maas.swapped.so")


@pytest.fixture(scope="module")
def site(release_dir, installations, tmp_path_factory):
    plugins = tmp_path_factory.mktemp("plugins")
    plugins.chmod(0o755)
    for file in (pathlib.Path(release_dir) / "plugins").glob("*.so"):
        shutil.copy(file, plugins)
    with installations(release_dir, {"MAAS_WORKERS_PLUGINS_DIR": str(plugins), "MAAS_WORKERS_START_MS": str(START_MS)}) as place:
        yield SwapSite(place, plugins, release_dir)


@pytest.fixture(scope="module")
def two_versions(site):
    """Model "twice": version 1 is trained on all patients, version 2 on the first 200. {version: prediction of ROW}"""
    work = site.place.folder / "twice"
    rows = (site.place.folder / "demo/diabetes/data/train.csv").read_text().splitlines(keepends=True)
    site.model("twice")
    predictions = {}
    for version, count in ((1, len(rows)), (2, 201)):
        data, out = work / f"data{version}", work / f"out{version}"
        data.mkdir(parents=True)
        (data / "train.csv").write_text("".join(rows[:count]))
        subprocess.run([site.build / "bin/maas-worker", "train", "--plugin", site.build / "plugins/maas.linreg.so", "--data", data, "--out", out,
                        "--seed", "1", "--option", "target=progression"], check=True, capture_output=True, timeout=60)
        files = {f.name: f.read_bytes() for f in out.iterdir()}
        assert site.upload("twice", "maas.linreg", pack(files)) == version
        site.deploy("twice", version)
        site.until_served("twice", version)
        status, body = Client(site).ask("twice", ROW)
        assert status == 200 and body["model_version"] == str(version)
        predictions[version] = output(body, "prediction")
    assert predictions[1] != predictions[2]
    return predictions


def test_swaps_of_versions_under_load_fail_no_request_and_mix_no_answer(site, two_versions):
    def judge(body):
        version = int(body["model_version"])
        return version if output(body, "prediction") == two_versions.get(version) else None
    before, start = site.place.metric("maas_deployment_swaps_total"), time.monotonic()
    with Load(site, "twice", ROW, judge) as load:
        for i in range(SWAPS):
            site.deploy("twice", 1 + i % 2)
            site.until_served("twice", 1 + i % 2)
    print(f"{SWAPS} swaps in {time.monotonic() - start:.1f} s, answers by version: {load.seen}")
    load.assert_clean()
    assert set(load.seen) == {1, 2}
    assert site.place.metric("maas_deployment_swaps_total") - before >= SWAPS - 1


def test_a_pinned_request_gets_its_version(site, two_versions):
    site.deploy("twice", 1)
    site.until_served("twice", 1)
    status, body = Client(site).ask("twice", ROW, version=1)
    assert status == 200 and body["model_version"] == "1" and output(body, "prediction") == two_versions[1]
    assert Client(site).ask("twice", ROW, version=2)[0] == 404


def test_a_version_in_the_path_is_never_answered_by_another_during_swaps(site, two_versions):
    wrong, seen, over = [], {}, threading.Event()

    def ask(version):
        client = Client(site)
        while not over.is_set():
            status, body = client.ask("twice", ROW, version=version)
            seen[version, status] = seen.get((version, status), 0) + 1
            right = status in (404, 503) or (body.get("model_version") == str(version) and output(body, "prediction") == two_versions[version])
            if not right:
                wrong.append((version, status, body))

    threads = [threading.Thread(target=ask, args=(version,)) for version in (1, 1, 2, 2)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        site.deploy("twice", 2 - turn % 2)
        site.until_served("twice", 2 - turn % 2)
    over.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    assert seen[1, 200] > 10 and seen[2, 200] > 10, seen


def judge_build(body):
    build = output(body, "build")
    return build if build in (1, 2) and output(body, "prediction") == 1.5 * build else None


@pytest.fixture(scope="module")
def swapped(site):
    """Model "swapped" of the plugin whose file is replaced; version 1 serves."""
    site.model("swapped")
    assert site.upload("swapped", "maas.swapped", pack({"deed": b"serve"})) == 1
    site.deploy("swapped", 1)
    site.until_served("swapped", 1)
    return "swapped"


def test_swaps_of_the_plugins_file_under_load_fail_no_request_and_mix_no_answer(site, swapped):
    files = [site.build / "plugins/maas.swapped.so", site.build / "plugins/maas.swapped2.so"]
    start = time.monotonic()
    client = Client(site)
    with Load(site, swapped, [1.5], judge_build) as load:
        for i in range(SWAPS):
            site.put_plugin(files[(i + 1) % 2])
            generation = site.fleet(swapped)["generation"]
            site.restart(swapped)
            site.place.until(lambda: site.fleet(swapped)["generation"] > generation, 20)
            site.place.until(lambda: output(client.ask(swapped, [1.5])[1], "build") == (i + 1) % 2 + 1, 5)
    print(f"{SWAPS} swaps in {time.monotonic() - start:.1f} s, answers by build: {load.seen}")
    load.assert_clean()
    assert set(load.seen) == {1, 2}
    audit = site.admin("GET", "/admin/v1/audit")["data"]
    assert [a for a in audit if a["action"] == "deployment.restart" and a["after"]["name"] == swapped]


SAMPLE = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [3]}], "tolerance": 1e-9}


def manifest(**outputs):
    expected = [{"name": name, "data": [value]} for name, value in outputs.items()]
    return json.dumps({"samples": [dict(SAMPLE, outputs=expected)]}).encode()


BAD = {
    "refuses": ({"deed": b"refuse"}, "this version is not for loading"),
    "crashes-in-load": ({"deed": b"crash"}, "signal 6"),
    "hangs-in-load": ({"deed": b"hang"}, "workers.start_ms"),
    "fails-its-self-test": ({"deed": b"fail"}, "self-test, one row of zeros: this version cannot infer"),
    "crashes-in-its-self-test": ({"deed": b"die"}, "signal 6"),
    "answers-otherwise-than-its-sample": ({"deed": b"serve", "manifest.json": manifest(prediction=4711)},
                                          "self-test, samples[0]: output 'prediction' differs in element 0"),
    "has-a-broken-manifest": ({"deed": b"serve", "manifest.json": b"{"}, "manifest.json"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_version_that_fails_before_it_serves_gets_no_request_and_the_old_one_stays(site, swapped, name):
    files, reason = BAD[name]
    site.put_plugin(site.build / "plugins/maas.swapped.so")
    site.restart(swapped)
    site.until_served(swapped, 1)
    bad = site.upload(swapped, "maas.swapped", pack(files))
    failures = site.place.metric("maas_deployment_swap_failures_total")
    with Load(site, swapped, [1.5], lambda body: body["model_version"] if output(body, "prediction") == 1.5 else None) as load:
        site.deploy(swapped, bad)
        site.place.until(lambda: site.fleet(swapped)["state"] == "failed", START_MS / 1000 + 10)
        now = site.fleet(swapped)
        assert (now["serving"], now["wanted"], now["attempts"]) == (1, bad, 1) and reason in now["reason"], now
        time.sleep(1.3)  # its backoff is over; nothing changed, so nothing is tried
        assert site.fleet(swapped)["attempts"] == 1
        site.restart(swapped)
        site.place.until(lambda: site.fleet(swapped)["attempts"] == 2, START_MS / 1000 + 10)
        site.deploy(swapped, 1)
        site.until_served(swapped, 1)
    load.assert_clean()
    assert set(load.seen) == {"1"} and site.fleet(swapped)["attempts"] == 0
    assert site.place.metric("maas_deployment_swap_failures_total") == failures + 2


def test_a_version_with_a_sample_that_agrees_serves(site, swapped):
    site.put_plugin(site.build / "plugins/maas.swapped.so")
    good = site.upload(swapped, "maas.swapped", pack({"deed": b"serve", "manifest.json": manifest(prediction=3, build=1)}))
    site.deploy(swapped, good)
    site.until_served(swapped, good)
    site.deploy(swapped, 1)
    site.until_served(swapped, 1)


def test_a_broken_plugin_file_changes_nothing_and_a_repaired_one_is_taken_by_itself(site, swapped):
    site.put_plugin(site.build / "plugins/maas.swapped.so")
    site.restart(swapped)
    site.until_served(swapped, 1)
    (site.plugins / "broken").write_bytes(b"no plugin")
    with Load(site, swapped, [1.5], judge_build) as load:
        site.put_plugin(site.plugins / "broken")
        site.restart(swapped)
        site.place.until(lambda: site.fleet(swapped)["state"] == "failed", 20)
        assert site.fleet(swapped)["serving"] == 1
        site.put_plugin(site.build / "plugins/maas.swapped2.so")
        site.until_served(swapped, 1)
        client = Client(site)
        site.place.until(lambda: output(client.ask(swapped, [1.5])[1], "build") == 2, 5)
    load.assert_clean()
    assert set(load.seen) == {1, 2}
