"""What a tenant is told of its usage: the same figures in every form, exactly what was asked for, and nothing of anybody else."""
import csv
import datetime
import io
import json

import pytest

from asking import ROW, Site


@pytest.fixture(scope="module")
def place(build_dir, installations):
    with installations(build_dir) as it:
        yield it


@pytest.fixture(scope="module")
def used(place):
    """A tenant with two keys and two models, and what it did: (place, keys, expected requests by (model, key id))."""
    site = Site(place)
    site.admin("POST", "/admin/v1/tenants", {"slug": "reader", "plan": "wide"})
    site.admin("PUT", "/admin/v1/deployments/second", {"model": "diabetes", "version": 1, "visibility": "all", "cost_base": 3})
    keys = [site.admin("POST", "/admin/v1/tenants/reader/keys", {"name": f"k{i}", "scopes": ["infer:*", "usage:read"]}) for i in range(2)]
    body = lambda model, rows: {"model": model, "features": [ROW] * rows}
    place.until(lambda: place.request("POST", "/v1/regression", body("second", 1), key=site.key)[0] == 200, 20)
    done = {}
    for model, key, times, rows in (("diabetes", 0, 3, 1), ("diabetes", 1, 2, 4), ("second", 0, 4, 2)):
        for _ in range(times):
            assert place.request("POST", "/v1/regression", body(model, rows), key=keys[key]["key"])[0] == 200
        done[model, keys[key]["key_id"]] = (times, times * rows, times * (3 if model == "second" else 1))
    get = lambda query="", **more: place.request("GET", f"/v1/usage{query}", key=keys[0]["key"], **more)
    place.until(lambda: sum(r["requests"] for r in get()[2]["data"]) == 9, 5)
    return place, keys, done, get


def figures(rows, *by):
    return {tuple(r[b] for b in by): (int(r["requests"]), int(r["rows"]), int(r["units"])) for r in rows}


def test_every_form_says_the_same(used):
    place, keys, done, get = used
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    status, _, answer = get("?group=model,key")
    assert status == 200 and answer["time_zone"] == "UTC" and answer["has_more"] is False and answer["next"] is None
    assert figures(answer["data"], "model", "key") == done and all(r["day"] == today for r in answer["data"])
    status, headers, text = get("?group=model,key&format=csv")
    assert status == 200 and headers["content-type"].startswith("text/csv")
    assert figures(csv.DictReader(io.StringIO(text.decode())), "model", "key") == done
    status, headers, text = get("?group=model,key", headers={"Accept": "application/x-ndjson"})
    lines = [json.loads(line) for line in (text if isinstance(text, bytes) else json.dumps(text).encode()).splitlines()]
    assert status == 200 and headers["content-type"] == "application/x-ndjson" and figures(lines, "model", "key") == done
    for by in ("hour", "month"):
        assert figures(get(f"?group=model,key&by={by}")[2]["data"], "model", "key") == done
    assert get("?by=month")[2]["data"][0]["month"] == today[:7]
    assert get("?by=hour")[2]["data"][0]["hour"].startswith(today) and get("?by=hour")[2]["data"][0]["hour"].endswith(":00:00Z")


def test_groups_and_filters(used):
    place, keys, done, get = used
    ids = [k["key_id"] for k in keys]
    by_model = figures(get()[2]["data"], "model")
    assert by_model == {("diabetes",): (5, 11, 5), ("second",): (4, 8, 12)}
    assert figures(get("?group=key")[2]["data"], "key") == {(ids[0],): (7, 11, 15), (ids[1],): (2, 8, 2)}
    assert figures(get("?model=second")[2]["data"], "model") == {("second",): (4, 8, 12)}
    assert figures(get(f"?key={ids[1]}")[2]["data"], "model") == {("diabetes",): (2, 8, 2)}
    assert get("?to=2020-01-01")[2]["data"] == [] and get("?from=2999-01-01")[2]["data"] == []
    assert get("?from=2020-01-01&to=2999-01-01")[2]["data"] != []


def test_pages_are_the_whole_in_parts(used):
    place, keys, done, get = used
    rows, cursor = [], ""
    for _ in range(3):
        answer = get(f"?group=model,key&limit=1{cursor}")[2]
        rows += answer["data"]
        cursor = f"&cursor={answer['next']}"
    assert answer["next"] is None and figures(rows, "model", "key") == done
    assert get("?group=model,key&limit=2&format=csv")[1]["x-next-cursor"] == "2"




@pytest.mark.parametrize("query,param", [
    ("?from=yesterday", "from"), ("?to=2026-13-01", "to"), ("?from=2026-02-30", "from"), ("?by=week", "by"), ("?group=tenant", "group"), ("?format=xml", "format"),
    ("?model=nobodys", "model"), ("?key=short", "key"), ("?limit=0", "limit"), ("?limit=10001", "limit"), ("?limit=many", "limit"), ("?cursor=-1", "cursor"),
    ("?frm=2026-01-01", "frm"), ("?from", "from"),
])
def test_a_bad_question_names_what_is_wrong(used, query, param):
    status, _, answer = used[3](query)
    assert status == 400 and answer["error"]["param"] == param, answer


def test_another_tenants_usage_is_not_there(used):
    place, keys, done, get = used
    assert place.request("GET", f"/v1/usage?key={keys[1]['key_id']}")[2]["data"] == []  # the demo tenant asks


# ---- what operators see, and whether it adds up


def test_operators_read_the_same_figures(used):
    place, keys, done, get = used
    rows = place.admin("GET", "/admin/v1/usage?tenant=reader&group=model,key")[2]["data"]
    assert figures(rows, "model", "key") == done and {r["tenant"] for r in rows} == {"reader"}
    _, headers, text = place.admin("GET", "/admin/v1/usage?tenant=reader&group=model,key&format=csv")
    assert headers["content-type"].startswith("text/csv") and figures(csv.DictReader(io.StringIO(text.decode())), "model", "key") == done
    _, _, text = place.admin("GET", "/admin/v1/usage?tenant=reader&group=model,key&format=jsonl")
    assert figures([json.loads(line) for line in text.splitlines()], "model", "key") == done
    for query in ("by=week", "group=all", "format=xml", "from=2026-13-01", "to=never"):
        status, _, answer = place.admin("GET", f"/admin/v1/usage?{query}")
        assert status == 422 and query.split("=")[0] in json.dumps(answer), answer


def reconcile(place):
    today = datetime.datetime.now(datetime.timezone.utc).date()
    body = {"from": str(today - datetime.timedelta(days=3)), "to": str(today + datetime.timedelta(days=1))}
    status, _, answer = place.admin("POST", "/admin/v1/reconciliations", body)
    assert status == 201, answer
    assert place.admin("GET", f"/admin/v1/reconciliations/{answer['id']}")[2] == answer
    return answer


def test_what_was_delivered_adds_up(used):
    answer = reconcile(used[0])
    assert answer["ok"] is True and answer["report"]["findings"] == [] and answer["report"]["events"] >= 9, answer


# each: what is done to the database, what undoes it, the kinds that are found
DAMAGE = {
    "an hour says too much": ("UPDATE maas.usage_hourly SET units = units + 1", "UPDATE maas.usage_hourly SET units = units - 1", {"hourly", "daily"}),
    "a day says too little": ("UPDATE maas.usage_daily SET requests = requests - 1", "UPDATE maas.usage_daily SET requests = requests + 1", {"daily"}),
    "a row is gone": ("CREATE TABLE maas.gone AS SELECT * FROM maas.usage_events WHERE seq = 2 LIMIT 1;"
                      "DELETE FROM maas.usage_events e USING maas.gone g WHERE e.spool = g.spool AND e.loop = g.loop AND e.seq = g.seq",
                      "INSERT INTO maas.usage_events SELECT * FROM maas.gone; DROP TABLE maas.gone", {"hourly", "lost"}),
    "a row is there twice": ("INSERT INTO maas.usage_events SELECT (jsonb_populate_record(e, jsonb_build_object('loop', -7))).* FROM maas.usage_events e WHERE seq = 1 LIMIT 1",
                             "DELETE FROM maas.usage_events WHERE loop = -7", {"hourly", "twice"}),
    "a cursor went back": ("UPDATE maas.spool_cursors SET seq = seq - 1", "UPDATE maas.spool_cursors SET seq = seq + 1", {"cursor"}),
    "a key that is nobody's": ("UPDATE maas.usage_events SET key_id = '00000000-0000-0000-0000-00000000dead' WHERE seq = 1", None, {"stranger"}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_each_damage_is_found_and_nothing_else(used, name):
    place = used[0]
    damage, mend, kinds = DAMAGE[name]
    if mend is None:
        place.psql("CREATE TABLE maas.kept AS SELECT * FROM maas.usage_events")
        mend = "TRUNCATE maas.usage_events; INSERT INTO maas.usage_events SELECT * FROM maas.kept; DROP TABLE maas.kept"
    place.psql(damage)
    try:
        answer = reconcile(place)
    finally:
        place.psql(mend)
    assert answer["ok"] is False and {f["kind"] for f in answer["report"]["findings"]} == kinds, answer
    assert reconcile(place)["ok"] is True


def test_totals_are_rebuilt_from_rows(used):
    place, keys, done, get = used
    today = datetime.datetime.now(datetime.timezone.utc).date()
    place.psql("UPDATE maas.usage_hourly SET units = units + 5, requests = requests * 2; DELETE FROM maas.usage_daily")
    body = {"from": str(today - datetime.timedelta(days=1)), "to": str(today)}
    assert place.admin("POST", "/admin/v1/usage/rebuild", body)[0] == 200
    assert reconcile(place)["ok"] is True
    assert figures(get("?group=model,key")[2]["data"], "model", "key") == done
    for bad in ({"from": "2026-01-01"}, {"from": "2026-01-02", "to": "2026-01-01"}, {"from": "2026-01-01", "to": "2026-12-31"}, {"from": "x", "to": "y"}):
        assert place.admin("POST", "/admin/v1/reconciliations", bad)[0] == 422


def test_the_day_that_ended_is_reconciled_by_itself(used):
    place = used[0]
    yesterday = str(datetime.datetime.now(datetime.timezone.utc).date() - datetime.timedelta(days=1))
    if datetime.datetime.now(datetime.timezone.utc).hour == 0:
        pytest.skip("within an hour after midnight (UTC) it waits for spools")
    place.until(lambda: any(r["from_day"] == r["to_day"] == yesterday for r in place.admin("GET", "/admin/v1/reconciliations")[2]["data"]), 15)
