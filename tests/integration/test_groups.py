"""Small models of one tenant and plugin share a worker, where the operator allows it: they grow into it, swap in it, and one that is no
good costs its siblings no more than the requests that were under way."""
import os
import random
import signal
import statistics
import threading
import time

import pytest

from asking import ROW, Client, Held, Load, Site, children, of_workers, output, pack

GROUP, CAP, MODELS = 8, 48, 1000
SECONDS = [8, pytest.param(600, marks=pytest.mark.soak)]
ABORT = 1  # the first feature that makes maas.faulty abort


class GroupSite(Site):
    def __init__(self, place, build):
        super().__init__(place)
        for plugin in ("maas.faulty", "maas.swapped"):
            place.allow_plugin(f"{build}/plugins/{plugin}.so")
        self.admin("POST", "/admin/v1/tenants", {"slug": "other", "plan": "wide"})

    def own(self, name, plugin, files=None, tenant="asking"):
        """A model of a tenant, or its next version; its number. Deployed, not waited for."""
        status, _, answer = self.place.admin("POST", "/admin/v1/models", {"name": name, "task": "regression", "tenant": tenant})
        assert status in (201, 409), answer
        number = self.admin("POST", f"/admin/v1/models/{name}/versions?plugin={plugin}&tenant={tenant}", pack(files or {"nothing": b""}),
                            headers={"Content-Type": "application/x-tar"})["number"]
        self.admin("PUT", f"/admin/v1/deployments/{name}", {"model": name, "version": number, "tenant": tenant})
        return number

    def until_answers(self, *names, row=(2000.5,)):
        client = Client(self)
        for name in names:
            self.place.until(lambda: client.ask(name, list(row))[0] == 200, 20)

    def pids(self, *names):
        return [w["pid"] for name in names for w in self.workers() if w["deployment"] == name and w["state"] == "ready"]

    def share(self, *names):
        return len(set(self.pids(*names))) == 1 and len(self.pids(*names)) == len(names)


@pytest.fixture(scope="module")
def site(release_dir, installations):
    settings = {"MAAS_WORKERS_GROUP_MAX": str(GROUP), "MAAS_WORKERS_RESIDENT_MAX": str(CAP), "MAAS_WORKERS_START_MS": "6000"}
    with installations(release_dir, settings) as place:
        yield GroupSite(place, release_dir)


def judge(body):
    x = output(body, "prediction")
    return body["model_name"] if x == 2000.5 else None


def test_models_of_a_tenant_come_into_one_worker_while_it_is_asked(site):
    site.own("a1", "maas.faulty")
    site.until_answers("a1")
    with Load(site, "a1", [2000.5], judge) as load:
        for name in ("a2", "a3", "a4"):
            site.own(name, "maas.faulty")
            site.until_answers(name)
    load.assert_clean()
    assert site.share("a1", "a2", "a3", "a4"), site.workers()
    row = next(w for w in site.workers() if w["deployment"] == "a3" and w["state"] == "ready")
    assert row["models"] == 4 and row["memory_bytes"] > 0
    site.own("b1", "maas.faulty", tenant="other")
    site.place.until(lambda: site.pids("b1"), 20)
    assert not site.share("a1", "b1")  # another tenant's
    demo = next(w for w in site.workers() if w["deployment"] == "diabetes")
    assert demo["models"] == 1  # the platform's


def test_a_version_is_swapped_in_its_group_without_an_error(site):
    for name in ("s1", "s2", "s3"):
        site.own(name, "maas.swapped", {"deed": b"serve"})
        site.until_answers(name)
    with Load(site, "s2", [2000.5], judge) as load, Load(site, "s1", [2000.5], judge) as sibling:
        for _ in range(10):
            number = site.own("s2", "maas.swapped", {"deed": b"serve", "more": os.urandom(8)})
            site.until_served("s2", number)
    load.assert_clean()
    sibling.assert_clean()
    assert site.share("s1", "s2", "s3")


@pytest.mark.parametrize("deed, says", [("refuse", "not for loading"), ("crash", "signal"), ("fail", "self-test"), ("die", "signal"), ("hang", "start_ms")])
def test_a_version_that_is_no_good_leaves_its_group_alone(site, deed, says):
    site.until_answers("s1", "s2", "s3")
    serves = site.fleet("s3")["serving"]
    with Load(site, "s1", [2000.5], judge) as sibling, Load(site, "s3", [2000.5], judge) as old:
        site.own("s3", "maas.swapped", {"deed": deed.encode(), "more": os.urandom(8)})
        site.place.until(lambda: site.fleet("s3").get("attempts"), 20)
        new = f"n{deed}"
        site.own(new, "maas.swapped", {"deed": b"serve"})  # the group goes on: it grows
        site.until_answers(new)
    sibling.assert_clean()
    old.assert_clean()
    assert says in site.fleet("s3")["reason"] and site.fleet("s3")["serving"] == serves
    assert all(site.fleet(name)["attempts"] == 0 for name in ("s1", "s2"))
    site.until_served("s3", site.own("s3", "maas.swapped", {"deed": b"serve", "more": os.urandom(8)}))


def test_a_kill_costs_what_was_under_way_and_all_come_back(site):
    names = ["a1", "a2", "a3", "a4"]
    site.until_answers(*names)
    before = site.pids("a1")[0]
    os.kill(before, signal.SIGKILL)
    site.until_answers(*names)
    assert site.share(*names) and site.pids("a1")[0] != before


def test_one_that_crashes_again_and_again_is_rid_of_its_siblings(site):
    names, client = ["a1", "a2", "a3", "a4"], Client(site)
    site.until_answers(*names)
    splits = site.place.metric("maas_group_splits_total")
    for i in range(40):
        if site.place.metric("maas_group_splits_total") > splits:
            break
        assert client.ask("a2", [ABORT], id=f"{i}")[0] in (502, 503)
        site.place.until(lambda: client.ask("a2", [2000.5])[0] == 200 or site.place.metric("maas_group_splits_total") > splits, 20)
    assert site.place.metric("maas_group_splits_total") == splits + 1
    site.until_answers(*names)
    site.place.until(lambda: len(set(site.pids(*names))) == len(names), 20)
    with Load(site, "a1", [2000.5], judge) as sibling:
        for i in range(4):
            client.ask("a2", [ABORT], id=f"again {i}")
            time.sleep(0.1)
    sibling.assert_clean()


class Walk(threading.Thread):
    def __init__(self, site, until, seed, prediction):
        super().__init__()
        self.site, self.until, self.dice, self.prediction = site, until, random.Random(seed), prediction
        self.wrong, self.took = [], []

    def run(self):
        client = Client(self.site)
        while time.monotonic() < self.until:
            name, start = f"m{self.dice.randint(1, MODELS)}", time.monotonic()
            status, body = client.ask(name, ROW)
            self.took.append(time.monotonic() - start)
            if status != 200 or body["model_name"] != name or output(body, "prediction") != self.prediction:
                self.wrong.append((name, status, body))


def walk(site, seconds, seed, prediction):
    walkers = [Walk(site, time.monotonic() + seconds, seed + i, prediction) for i in range(4)]
    for walker in walkers:
        walker.start()
    for walker in walkers:
        walker.join()
    assert not [w.wrong for w in walkers if w.wrong], [w.wrong[:2] for w in walkers]
    return [t for w in walkers for t in w.took]


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_walk_over_a_thousand_models_in_groups_grows_nothing(site, seconds):
    prediction = output(Client(site).ask("diabetes", ROW)[1], "prediction")
    if Client(site).ask("m1", ROW)[0] == 404:
        site.copies_of_diabetes(MODELS, owner="asking")
    pid = site.place.pid_of("maas-gateway")
    walk(site, 4, 100, prediction)
    before, crashes = Held(pid), site.place.metric("maas_worker_crashes_total")
    unloads = site.place.metric("maas_deployment_unloads_total")
    took = walk(site, seconds, 1, prediction)
    after, unloads = Held(pid), site.place.metric("maas_deployment_unloads_total") - unloads
    loaded, workers = site.place.metric("maas_deployments_resident"), len(children(pid))
    group = max((w for w in site.workers() if w["plugin"] == "maas.linreg" and w["memory_bytes"]), key=lambda w: w["models"])
    assert Client(site).ask("diabetes", ROW)[0] == 200
    site.place.until(lambda: any(w["deployment"] == "diabetes" and w["memory_bytes"] for w in site.workers()), 10)
    alone = next(w["memory_bytes"] for w in site.workers() if w["deployment"] == "diabetes" and w["memory_bytes"])
    print(f"{len(took)} requests, median {statistics.median(took) * 1000:.1f} ms, {unloads} unloads, {loaded} models in {workers} workers, "
          f"a worker of one holds {alone} bytes, one of {group['models']} {group['memory_bytes']}, {before} -> {after}")
    assert site.place.metric("maas_worker_crashes_total") == crashes and unloads > CAP
    site.place.until(lambda: site.place.metric("maas_deployments_resident") <= CAP, 10)
    assert workers < CAP and group["models"] > 1
    assert group["memory_bytes"] < group["models"] * alone / 2 + alone
    assert all(of_workers(after)[kind] < of_workers(before)[kind] + 4 * CAP for kind in ("memfd", "eventfd"))
    assert after.anonymous_kb < before.anonymous_kb + 12288
