"""Who gets how much: a plan's weight in a worker that tenants share, the memory of all workers together, and what is pinned."""
import contextlib
import itertools
import os
import signal
import threading
import time

import pytest

from asking import ROW, Client, Site, output, pack

MIB = 1 << 20
MEMORY = 8 * MIB
PLACES = 12
MODELS = 20
SECONDS = 4
QUEUE = 16


@pytest.fixture(scope="module")
def site(release_dir, installations):
    settings = {"MAAS_WORKERS_RESIDENT_MEMORY_MAX": str(MEMORY), "MAAS_WORKERS_RESIDENT_MAX": str(PLACES), "MAAS_WORKERS_TENANT_QUEUE_MAX": str(QUEUE),
                "MAAS_LOOPS": "1"}
    with installations(release_dir, settings) as place:
        place.allow_plugin(f"{release_dir}/plugins/maas.faulty.so")
        here = Site(place)
        here.copies_of_diabetes(MODELS)
        here.prediction = output(Client(here).ask("diabetes", ROW)[1], "prediction")
        yield here


class Tenant:
    """Of a plan of its own, with clients that ask all the time; each request has parameters of its own, so that none merges."""

    scales = itertools.count(1)

    def __init__(self, site, name, weight):
        self.place, self.tls = site.place, site.tls
        site.admin("POST", "/admin/v1/plans", {"name": name, "rate": 1000000, "burst": 1000000, "weight": weight})
        site.admin("POST", "/admin/v1/tenants", {"slug": name, "plan": name})
        self.key = site.admin("POST", f"/admin/v1/tenants/{name}/keys", {"name": "k", "scopes": ["infer:*"]})["key"]
        self.served, self.errors = 0, []

    def ask(self, client):
        return client.ask("slow", [1000000.5], parameters={"delay_ms": 4, "scale": next(self.scales) / 1024})

    def ask_on(self, until):
        client = Client(self)
        while time.monotonic() < until:
            status, body = self.ask(client)
            if status != 200:
                self.errors.append((status, body))
                return
            self.served += 1

    @contextlib.contextmanager
    def asking(self, until, clients=12):
        threads = [threading.Thread(target=self.ask_on, args=(until,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        yield
        for thread in threads:
            thread.join()


def test_a_plan_of_thrice_the_weight_gets_thrice_the_time(site):
    site.model("slow")
    site.deploy("slow", site.upload("slow", "maas.faulty", pack({"nothing": b""})))
    light, heavy = Tenant(site, "light", 1), Tenant(site, "heavy", 3)
    site.place.until(lambda: light.ask(Client(light))[0] == 200, 20)
    until = time.monotonic() + SECONDS
    with light.asking(until), heavy.asking(until):
        pass
    assert not light.errors and not heavy.errors, (light.errors, heavy.errors)
    assert light.served > 50 and 2.4 < heavy.served / light.served < 3.6, (light.served, heavy.served)


def test_a_crowd_of_one_tenant_is_refused_and_another_is_not(site):
    crowd, other = Tenant(site, "crowd", 1), Tenant(site, "calm", 1)
    statuses, until = [], time.monotonic() + 3

    def flood():
        client = Client(crowd)
        while time.monotonic() < until:
            statuses.append(crowd.ask(client)[0])

    before = site.place.metric("maas_requests_crowded_total")
    threads = [threading.Thread(target=flood) for _ in range(QUEUE * 3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)  # the crowd is there
    with other.asking(until, clients=3):
        pass
    for thread in threads:
        thread.join()
    assert not other.errors and other.served > 20, (other.errors, other.served)
    assert set(statuses) == {200, 503} and statuses.count(200) > 20, {s: statuses.count(s) for s in set(statuses)}
    assert site.place.metric("maas_requests_crowded_total") - before == statuses.count(503)


def held(site):
    return site.place.metric("maas_workers_memory_bytes")


def test_memory_bounds_what_is_loaded_and_every_model_answers(site):
    client, most = Client(site), 0
    for turn in range(2):
        for i in range(1, MODELS + 1):
            status, body = client.ask(f"m{i}", ROW)
            assert status == 200 and output(body, "prediction") == site.prediction, body
            most = max(most, held(site))
    loaded = [w for w in site.workers() if w["state"] == "ready"]
    assert all(w["memory_bytes"] > MIB for w in loaded), loaded
    assert 2 <= len(loaded) < PLACES, len(loaded)  # memory was the bound, not the places
    assert most <= MEMORY and site.place.metric("maas_workers_memory_max_bytes") == MEMORY
    assert site.place.metric("maas_deployment_unloads_total") > MODELS


def pin(site, name, pinned=True):
    return site.place.admin("PUT", f"/admin/v1/deployments/{name}", {"model": name, "version": 1, "visibility": "all", "pinned": pinned})


def test_what_is_pinned_stays_loaded(site):
    client = Client(site)
    assert pin(site, "m3")[0] == 200
    site.until_served("m3", 1)
    before = next(w["pid"] for w in site.workers() if w["deployment"] == "m3")
    for i in [i for i in range(1, MODELS + 1) if i != 3]:
        assert client.ask(f"m{i}", ROW)[0] == 200
    assert next(w["pid"] for w in site.workers() if w["deployment"] == "m3") == before
    assert next(d for d in site.admin("GET", "/admin/v1/deployments")["data"] if d["name"] == "m3")["pinned"] is True
    assert pin(site, "m3", False)[0] == 200


def test_a_gateway_is_ready_when_what_is_pinned_is_loaded(site):
    assert pin(site, "m9")[0] == 200  # by its name among the last, and there is room for some five
    site.until_served("m9", 1)
    before = site.place.pid_of("maas-gateway")
    os.kill(before, signal.SIGKILL)
    site.place.until(lambda: site.place.pid_of("maas-gateway") not in (None, before), 20)
    site.place.until(lambda: site.place.request("GET", "/readyz", key="", port=site.place.admin_port)[0] == 200, 20)
    assert site.fleet("m9").get("serving") == 1
    assert sum(w["state"] == "ready" for w in site.workers()) < MODELS
    assert pin(site, "m9", False)[0] == 200


def test_no_more_are_pinned_than_may_be_loaded(site):
    for i in range(1, PLACES + 1):
        status, _, answer = pin(site, f"m{i}")
        assert status == 200, (i, answer)
    status, _, answer = pin(site, f"m{PLACES + 1}")
    assert status == 422 and answer["errors"][0]["field"] == "pinned" if "errors" in answer else answer.get("field") == "pinned", answer
    assert pin(site, "m1")[0] == 200  # again
    assert pin(site, "m2", pinned="yes")[0] == 422
    for i in range(1, PLACES + 1):
        assert pin(site, f"m{i}", False)[0] == 200
