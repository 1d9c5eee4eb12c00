"""API keys: what operators and tenants make of them, where and when they work, and that nobody hands on more than he has."""
import datetime
import time

import pytest

from asking import ROW, Site

BODY = {"model": "diabetes", "features": ROW}
KEYS = "/v1/keys"


@pytest.fixture(scope="module")
def site(build_dir, installations):
    with installations(build_dir) as place:
        yield Site(place)


def tenant(site, slug, plan="wide"):
    site.admin("POST", "/admin/v1/tenants", {"slug": slug, "plan": plan})

    def make(**wish):
        return site.admin("POST", f"/admin/v1/tenants/{slug}/keys", {"name": "k", "scopes": ["infer:*"], **wish})

    return make


def ask(site, key):
    status, _, body = site.place.request("POST", "/v1/regression", BODY, key=key)
    return status if status == 200 else body["error"]["code"]


def later(seconds):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


# ---- operators


def test_a_key_works_from_its_addresses_and_in_its_time(site):
    make = tenant(site, "places")
    assert ask(site, make(allow=["127.0.0.0/8", "::1"])["key"]) == 200
    outside = make(allow=["192.0.2.0/24"])
    assert ask(site, outside["key"]) == "ip_not_allowed"
    assert ask(site, outside["key"][:-7] + "A" + outside["key"][-6:]) == "invalid_api_key"  # a wrong secret hears nothing of addresses
    site.admin("PATCH", f"/admin/v1/keys/{outside['key_id']}", {"allow": []})
    site.place.until(lambda: ask(site, outside["key"]) == 200, 1)
    assert ask(site, make(not_before=later(60))["key"]) == "api_key_expired"
    soon = make(expires_at=later(1.2))
    assert ask(site, soon["key"]) == 200
    site.place.until(lambda: ask(site, soon["key"]) == "api_key_expired", 2)


def test_a_rotated_key_works_on_for_its_overlap(site):
    make = tenant(site, "turning")
    old = make(scopes=["infer:*", "usage:read"], allow=["127.0.0.0/8"])
    site.admin("PUT", f"/admin/v1/keys/{old['key_id']}/limits", {"limits": [{"measure": "concurrency", "amount": 7}]})
    new = site.admin("POST", f"/admin/v1/keys/{old['key_id']}/rotate", {"overlap_s": 1})
    assert new["id"] != old["key_id"] and new["scopes"] == old["scopes"] and new["allow"] == old["allow"]
    assert ask(site, old["key"]) == ask(site, new["key"]) == 200
    assert site.admin("GET", f"/admin/v1/keys/{new['id']}/limits")["data"] == [{"measure": "concurrency", "amount": 7}]
    site.place.until(lambda: ask(site, old["key"]) == "api_key_expired", 3)
    assert ask(site, new["key"]) == 200
    assert site.place.admin("POST", "/admin/v1/keys/nokey000/rotate", {})[0] == 404


def test_the_last_day_of_use_is_known_within_seconds(site):
    key = tenant(site, "daily")()
    look = lambda: site.admin("GET", f"/admin/v1/keys/{key['key_id']}")["last_used"]
    assert look() is None and ask(site, key["key"]) == 200
    site.place.until(lambda: look() == datetime.datetime.now(datetime.timezone.utc).date().isoformat(), 5)


def test_tenants_are_suspended_and_closed_for_good(site):
    key = tenant(site, "resting")()["key"]
    assert ask(site, key) == 200
    change = lambda **c: site.place.admin("PATCH", "/admin/v1/tenants/resting", c)
    assert change(state="suspended")[0] == 200
    assert site.place.until(lambda: ask(site, key) == "tenant_suspended", 1) < 1
    assert change(state="active", name="Rested", time_zone="Europe/Berlin")[2]["time_zone"] == "Europe/Berlin"
    site.place.until(lambda: ask(site, key) == 200, 1)
    for bad, field in (({"state": "asleep"}, "state"), ({"plan": "none"}, "plan"), ({"time_zone": "Mars"}, "time_zone"), ({"slug": "x"}, "slug")):
        status, _, answer = site.place.admin("PATCH", "/admin/v1/tenants/resting", bad)
        assert status == 422 and field in str(answer), answer
    assert change(state="closed")[0] == 200 and change(state="active")[0] == 409
    site.place.until(lambda: ask(site, key) == "tenant_suspended", 1)


def test_plans_bound_what_a_tenant_has(site):
    site.admin("POST", "/admin/v1/plans", {"name": "tiny", "rate": 1000, "burst": 1000, "keys_max": 2, "models_max": 1, "storage_max_bytes": 20000})
    make = tenant(site, "tiny", "tiny")
    first = make(scopes=["infer:*", "keys:write"])["key"]
    new = lambda: site.place.request("POST", KEYS, {"name": "n", "scopes": ["infer:*"]}, key=first)
    assert new()[0] == 201
    status, _, answer = new()
    assert status == 422 and answer["error"]["code"] == "too_many_keys"
    model = lambda name: site.place.admin("POST", "/admin/v1/models", {"name": name, "task": "regression", "tenant": "tiny"})
    assert model("one")[0] == 201
    status, _, answer = model("two")
    assert status == 422 and "tenant" in str(answer)
    from asking import pack
    upload = lambda size: site.place.admin("POST", "/admin/v1/models/one/versions?plugin=maas.linreg&tenant=tiny", pack({"f": b"x" * size}),
                                           headers={"Content-Type": "application/x-tar"})
    assert upload(5000)[0] == 201
    status, _, answer = upload(15000)
    assert status == 422 and "bytes" in str(answer)
    assert site.admin("PATCH", "/admin/v1/plans/tiny", {"storage_max_bytes": 1000000})["storage_max_bytes"] == 1000000
    assert upload(15000)[0] == 201
    assert site.place.admin("DELETE", "/admin/v1/plans/tiny")[0] == 409
    site.admin("POST", "/admin/v1/plans", {"name": "unused", "rate": 1, "burst": 1})
    assert site.place.admin("DELETE", "/admin/v1/plans/unused")[0] == 200 and site.place.admin("GET", "/admin/v1/plans/unused")[0] == 404


@pytest.mark.parametrize("wish,field", [
    ({"allow": ["home"]}, "allow"), ({"allow": ["192.0.2.1/24"]}, "allow"), ({"allow": "192.0.2.1"}, "allow"), ({"allow": ["192.0.2.1"] * 33}, "allow"),
    ({"expires_at": "tomorrow"}, "expires_at"), ({"not_before": 7}, "not_before"), ({"scopes": []}, "scopes"), ({"scopes": ["everything"]}, "scopes"),
    ({"not_before": "2030-01-02T00:00:00Z", "expires_at": "2030-01-01T00:00:00Z"}, "expires_at"), ({"name": ""}, "name"), ({"colour": "red"}, "colour"),
])
def test_a_bad_wish_names_its_field(site, wish, field):
    status, _, answer = site.place.admin("POST", "/admin/v1/tenants/asking/keys", {"name": "k", "scopes": ["infer:*"], **wish})
    assert status == 422 and field in str(answer), answer


# ---- tenants themselves


@pytest.fixture(scope="module")
def own(site):
    """(what the tenant's keeper asks, its key id)"""
    make = tenant(site, "keeper")
    made = make(scopes=["infer:house-*", "infer:diabetes", "usage:read", "keys:write"], allow=["127.0.0.0/8"], expires_at=later(86400))
    return lambda method, path=KEYS, body=None, key=made["key"]: site.place.request(method, path, body, key=key), made["key_id"], make


def test_a_tenant_makes_changes_rotates_and_revokes_its_keys(site, own):
    api, own_id, _ = own
    status, headers, made = api("POST", KEYS, {"name": "app", "scopes": ["infer:diabetes"]})
    assert status == 201 and made["key"].startswith("maas_live_") and headers["cache-control"] == "no-store"
    assert made["allow"] == ["127.0.0.0/8"] and made["expires_at"]  # what was not said is the maker's own
    assert ask(site, made["key"]) == 200
    path = f"{KEYS}/{made['id']}"
    assert {k["id"] for k in api("GET")[2]["data"]} >= {own_id, made["id"]}
    shown = api("GET", path)[2]
    assert shown["name"] == "app" and "key" not in shown and "mac" not in str(shown)
    assert api("PATCH", path, {"name": "App", "scopes": ["infer:house-1"]})[2]["scopes"] == ["infer:house-1"]
    site.place.until(lambda: ask(site, made["key"]) in ("model_not_found", "scope_missing"), 1)
    status, _, turned = api("POST", path + "/rotate", {"overlap_s": 0})
    assert status == 201 and turned["id"] != made["id"] and turned["key"] != made["key"]
    site.place.until(lambda: ask(site, made["key"]) == "api_key_expired", 1)
    assert api("DELETE", f"{KEYS}/{turned['id']}")[2]["state"] == "revoked"
    assert site.place.until(lambda: ask(site, turned["key"]) == "api_key_revoked", 1) < 1
    actions = [(r["actor"], r["action"]) for r in site.admin("GET", "/admin/v1/audit")["data"]][:4]
    assert actions == [(f"key:{own_id}", a) for a in ("key.revoke", "key.rotate", "key.change", "key.create")]
    assert made["key"] not in str(site.admin("GET", "/admin/v1/audit")) and turned["key"] not in str(site.admin("GET", "/admin/v1/audit"))


@pytest.mark.parametrize("wish,param", [
    ({"scopes": ["infer:*"]}, "scopes"), ({"scopes": ["models:write"]}, "scopes"), ({"scopes": ["infer:house*"]}, "scopes"),
    ({"allow": ["0.0.0.0/0"]}, "allow"), ({"allow": []}, "allow"), ({"expires_at": "2999-01-01T00:00:00Z"}, "expires_at"),
])
def test_nobody_hands_on_more_than_he_has(own, wish, param):
    api = own[0]
    status, _, answer = api("POST", KEYS, {"name": "n", "scopes": ["infer:diabetes"], **wish})
    assert status == 403 and answer["error"]["param"] == param and answer["error"]["code"] == "beyond_own_rights"


def test_a_key_with_more_rights_is_out_of_reach(site, own):
    api, own_id, make = own
    mighty = make(scopes=["infer:*", "train"])
    for method, path in (("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        status, _, answer = api(method, f"{KEYS}/{mighty['key_id']}{path}", {} if method != "DELETE" else None)
        assert status == 403 and answer["error"]["code"] == "beyond_own_rights", answer
    assert ask(site, mighty["key"]) == 200


def test_keys_of_others_are_not_there(site, own):
    api = own[0]
    foreign = tenant(site, "foreign")()["key_id"]
    for method, path in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/rotate")):
        seen = api(method, f"{KEYS}/{foreign}{path}", {} if method in ("PATCH", "POST") else None)
        none = api(method, f"{KEYS}/nokey000{path}", {} if method in ("PATCH", "POST") else None)
        assert seen[0] == none[0] == 404 and seen[2] == none[2]
    assert foreign not in str(api("GET")[2])


def test_without_the_scope_there_is_nothing_to_see(site):
    key = tenant(site, "plain")()["key"]
    for method, path in (("GET", KEYS), ("POST", KEYS), ("DELETE", KEYS + "/nokey000")):
        status, _, answer = site.place.request(method, path, {} if method == "POST" else None, key=key)
        assert status == 403 and answer["error"]["code"] == "scope_missing"


@pytest.mark.parametrize("body,param", [
    ({"scopes": ["infer:diabetes"]}, "name"), ({"name": "n"}, "scopes"), ({"name": "n", "scopes": ["infer:diabetes"], "x": 1}, "x"), ("[]", None), ("{", None),
    ('{"name": "a", "name": "b", "scopes": ["infer:diabetes"]}', None), ({"name": "n", "scopes": ["infer:diabetes"], "expires_at": "soon"}, "expires_at"),
])
def test_a_bad_body_of_a_tenant_names_its_field(own, body, param):
    status, _, answer = own[0]("POST", KEYS, body)
    assert status == 400 and answer["error"]["param"] == param, answer


def test_wrong_methods_say_which_are_right(own):
    status, headers, _ = own[0]("PUT", KEYS, {})
    assert status == 405 and headers["allow"] == "GET, POST"
