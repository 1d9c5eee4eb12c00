"""Limits through the whole gateway: what operators set holds for requests, and every refusal says why in the form of its surface."""
import json
import threading
import time

import pytest

from asking import ROW, Client, Site, output, pack


@pytest.fixture(scope="module")
def site(build_dir, installations):
    with installations(build_dir) as place:
        here = Site(place)
        place.allow_plugin(f"{build_dir}/plugins/maas.faulty.so")
        here.model("slow")
        here.deploy("slow", here.upload("slow", "maas.faulty", pack({"nothing": b""})))
        place.until(lambda: Client(here).ask("slow", [1000000.5])[0] == 200, 20)
        time.sleep(1.5)  # a limit that is hardly younger than Redis' memory counts as older, and starts empty
        yield here


class Tenant:
    number = 0

    def __init__(self, site, limits=None):
        Tenant.number += 1
        self.slug, self.site, self.place, self.tls = f"limited-{Tenant.number}", site, site.place, site.tls
        site.admin("POST", "/admin/v1/tenants", {"slug": self.slug, "plan": "wide"})
        made = site.admin("POST", f"/admin/v1/tenants/{self.slug}/keys", {"name": "k", "scopes": ["infer:*", "usage:read"]})
        self.key, self.key_id = made["key"], made["key_id"]
        if limits:
            self.limit(limits)

    def limit(self, limits, path=None):
        return self.site.admin("PUT", path or f"/admin/v1/tenants/{self.slug}/limits", {"limits": limits})

    def ask(self, rows=1, model="diabetes"):
        body = {"model": model, "features": [ROW] * rows if rows > 1 else ROW}
        return self.place.request("POST", "/v1/regression", body, key=self.key)

    def passes(self, n):
        return sum(self.ask()[0] == 200 for _ in range(n))

    def in_force(self, what):
        return self.place.until(what, 5)


@pytest.fixture
def priced(site):
    """The model costs a unit a row for a while; a request of 4 rows reserves some 15, by its length."""
    deployment = {"model": "diabetes", "version": 1, "visibility": "all"}
    site.admin("PUT", "/admin/v1/deployments/diabetes", {**deployment, "cost_base": 0, "cost_per_row": 1, "min_row_bytes": 20})
    yield
    site.admin("PUT", "/admin/v1/deployments/diabetes", deployment)


def test_a_rate_of_units_counts_rows_and_gives_back_what_was_not_used(site, priced):
    tenant = Tenant(site, [{"measure": "units", "amount": 60, "per": "minute", "burst": 100}])
    answers = [tenant.ask(rows=4) for _ in range(40)]
    assert 12 <= sum(status == 200 for status, _, _ in answers) <= 30  # by what was reserved it were 6
    status, headers, body = tenant.ask(rows=4)
    assert status == 429 and body["error"]["code"] == "rate_limit_exceeded" and "60 units per 60 s" in body["error"]["message"]
    assert headers["ratelimit-policy"] == '"tenant-units";q=60;w=60' and headers["x-ratelimit-limit-tokens"] == "60"
    assert 1 <= int(headers["retry-after"]) <= 15
    status, headers, body = tenant.ask(rows=60)
    assert status == 429 and body["error"]["code"] == "request_exceeds_limit" and headers["x-should-retry"] == "false"


def test_requests_at_a_time_are_bounded_and_come_back(site):
    tenant = Tenant(site, [{"measure": "concurrency", "amount": 3}])
    statuses, start = [], threading.Barrier(8)

    def slow():
        client = Client(tenant)
        client.connection.connect()
        start.wait()
        statuses.append(client.ask("slow", [1000000.5], parameters={"delay_ms": 1000}))

    threads = [threading.Thread(target=slow) for _ in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    refused = [body for status, body in statuses if status == 429]
    assert sum(status == 200 for status, _ in statuses) == 3 and len(refused) == 5, statuses
    assert all("3" in body["error"] and body["code"] == "concurrency_limit_exceeded" for body in refused)
    assert tenant.passes(10) == 10  # one at a time


def test_a_quota_is_spent_to_the_last_unit_and_no_further(site):
    tenant = Tenant(site, [{"measure": "day", "amount": 7}])
    assert tenant.passes(9) == 7
    status, headers, body = tenant.ask()
    assert status == 429 and body["error"]["type"] == body["error"]["code"] == "insufficient_quota"
    assert headers["x-should-retry"] == "false" and int(headers["retry-after"]) <= 86400
    assert headers["ratelimit-policy"] == '"tenant-day";q=7;w=86400'
    left = site.admin("GET", f"/admin/v1/tenants/{tenant.slug}/limits")["data"][0]
    assert left["period"]["granted"] == 7 and left["period"]["left"] == 0
    site.admin("POST", f"/admin/v1/tenants/{tenant.slug}/quota", {"period": "day", "units": 2})
    time.sleep(1.1)  # a pot that was found empty is asked again after a second
    assert tenant.passes(4) == 2
    tenant.place.until(lambda: sum(r["units"] for r in tenant.place.request("GET", "/v1/usage", key=tenant.key)[2]["data"]) == 9, 5)


def test_a_refused_request_costs_no_other_limit_anything(site):
    tenant = Tenant(site, [{"measure": "day", "amount": 5}])
    tenant.limit([{"measure": "requests", "amount": 2, "per": "hour", "burst": 2}], f"/admin/v1/tenants/{tenant.slug}/limits?model=diabetes")
    tenant.in_force(lambda: tenant.ask()[0] == 429)
    assert tenant.passes(5) == 0
    tenant.limit([], f"/admin/v1/tenants/{tenant.slug}/limits?model=diabetes")
    tenant.in_force(lambda: tenant.ask()[0] == 200)
    spent = site.admin("GET", f"/admin/v1/tenants/{tenant.slug}/limits")["data"][0]["period"]["granted"]
    assert spent <= 5 and tenant.passes(5) >= 1
    units = lambda: sum(r["units"] for r in tenant.place.request("GET", "/v1/usage", key=tenant.key)[2]["data"])
    tenant.place.until(lambda: units() == 5, 5)


def test_every_scope_is_asked_and_the_tightest_answers(site):
    tenant, other = Tenant(site), Tenant(site)
    rate = [{"measure": "requests", "amount": 1, "per": "hour", "burst": 3}]
    places = {
        "key": f"/admin/v1/keys/{tenant.key_id}/limits",
        "tenant": f"/admin/v1/tenants/{tenant.slug}/limits",
        "tenant-model": f"/admin/v1/tenants/{tenant.slug}/limits?model=diabetes",
        "model": "/admin/v1/deployments/diabetes/limits",
        "global": "/admin/v1/limits",
    }
    for name, path in places.items():
        tenant.limit(rate, path)
        took = tenant.in_force(lambda: tenant.ask()[0] == 429)
        status, headers, _ = tenant.ask()
        assert status == 429 and headers["ratelimit-policy"] == f'"{name}";q=1;w=3600', (name, headers)
        assert other.ask()[0] == (429 if name in ("model", "global") else 200), name
        tenant.limit([], path)
        took = max(took, tenant.in_force(lambda: tenant.ask()[0] == 200))
        assert took < 1, (name, took)


def test_a_plan_limits_each_of_its_tenants_and_keys_and_their_own_goes_first(site):
    site.admin("POST", "/admin/v1/plans", {"name": "small", "rate": 1000000, "burst": 1000000})
    site.admin("PUT", "/admin/v1/plans/small/limits?of=tenant", {"limits": [{"measure": "day", "amount": 4}]})
    site.admin("PUT", "/admin/v1/plans/small/limits?of=key", {"limits": [{"measure": "requests", "amount": 3, "per": "hour", "burst": 3}]})
    tenants = []
    for slug in ("small-1", "small-2"):
        site.admin("POST", "/admin/v1/tenants", {"slug": slug, "plan": "small"})
        tenants.append([site.admin("POST", f"/admin/v1/tenants/{slug}/keys", {"name": "k", "scopes": ["infer:*"]}) for _ in range(2)])

    def passes(made, n):
        return [site.place.request("POST", "/v1/regression", {"model": "diabetes", "features": ROW}, key=made["key"])[0] for _ in range(n)].count(200)

    assert [passes(made, 5) for made in tenants[0]] == [3, 1]
    assert passes(tenants[1][0], 5) == 3
    site.admin("PUT", f"/admin/v1/keys/{tenants[1][1]['key_id']}/limits", {"limits": [{"measure": "requests", "amount": 2, "per": "hour", "burst": 2}]})
    site.admin("PUT", "/admin/v1/tenants/small-2/limits", {"limits": [{"measure": "day", "amount": 100}]})
    time.sleep(0.5)
    assert passes(tenants[1][1], 5) == 2


@pytest.mark.parametrize("limit,field", [
    ({"measure": "requests", "amount": 0, "per": "second"}, "amount"),
    ({"measure": "requests", "amount": 5}, "window_ms"),
    ({"measure": "requests", "amount": 5, "per": "fortnight"}, "per"),
    ({"measure": "requests", "amount": 5, "per": "second", "window_ms": 10}, "per"),
    ({"measure": "requests", "amount": 5, "per": "second", "burst": "many"}, "burst"),
    ({"measure": "day", "amount": 5, "per": "second"}, "per"),
    ({"measure": "month", "amount": 5, "time_zone": "Mars/Olympus"}, "time_zone"),
    ({"measure": "month", "amount": 5, "time_zone": 7}, "time_zone"),
    ({"measure": "concurrency", "amount": 1000001}, "amount"),
    ({"measure": "concurrency", "amount": 1, "burst": 4}, "burst"),
    ({"measure": "wishes", "amount": 3}, "measure"),
    (7, "measure"),
])
def test_a_bad_list_is_refused_with_the_field_that_is_wrong(site, limit, field):
    before = site.admin("GET", "/admin/v1/tenants/asking/limits")
    status, headers, answer = site.place.admin("PUT", "/admin/v1/tenants/asking/limits", {"limits": [{"measure": "day", "amount": 1}, limit]})
    assert status == 422 and headers["content-type"] == "application/problem+json"
    assert f"limits[1].{field}" in json.dumps(answer), answer
    assert site.admin("GET", "/admin/v1/tenants/asking/limits") == before


def test_other_bad_input(site):
    put = lambda path, body: site.place.admin("PUT", path, body)[0]
    assert put("/admin/v1/tenants/nobody/limits", {"limits": []}) == 404
    assert put("/admin/v1/tenants/asking/limits?model=nothing", {"limits": []}) == 404
    assert put("/admin/v1/keys/nokey000/limits", {"limits": []}) == 404
    assert put("/admin/v1/plans/none/limits", {"limits": []}) == 404
    assert put("/admin/v1/tenants/asking/limits", {}) == 422
    assert put("/admin/v1/tenants/asking/limits", {"limits": [], "more": 1}) == 422
    assert put("/admin/v1/tenants/asking/limits", {"limits": [{"measure": "day", "amount": 1}] * 2}) == 422
    assert put("/admin/v1/tenants/asking/limits", {"limits": [{"measure": "day", "amount": 1}] * 17}) == 422
    assert site.place.admin("POST", "/admin/v1/tenants/asking/quota", {"period": "year", "units": 1})[0] == 422
    assert site.place.admin("POST", "/admin/v1/tenants/asking/quota", {"period": "day", "units": 1})[0] == 404


def test_a_killed_gateways_units_come_back(site):
    import os
    import signal
    tenant = Tenant(site, [{"measure": "day", "amount": 640}])
    site.place.until(lambda: tenant.ask()[0] == 200, 5)
    assert tenant.passes(20) == 20
    pid = site.place.pid_of("maas-gateway")
    os.kill(pid, signal.SIGKILL)
    site.place.until(lambda: site.place.pid_of("maas-gateway") not in (None, pid), 20)
    site.place.until(lambda: tenant.ask()[0] == 200, 20)
    period = lambda: site.admin("GET", f"/admin/v1/tenants/{tenant.slug}/limits")["data"][0]["period"]
    site.place.until(lambda: 22 <= period()["granted"] <= 32, 15)  # what was delivered, and what the new one holds
