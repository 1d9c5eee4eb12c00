"""A plugin that attacks from inside a whole installation: its worker dies of the call, the gateway counts it, and nobody else notices.

What is denied, and in which stages, is tests/unit/worker/test_hostile.c's; this is that the gateway lives with it."""
import pathlib

import pytest

ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
# tests/support/plugins/hostile/hostile.h
KILLED = {"socket": 1, "fork": 3, "exec": 6, "kill-parent": 10, "kill-all": 12, "own-a-pipe": 17}
REFUSED = {"passwd": 100, "chmod": 109, "limit-parent": 121}
SCRIBBLE = 201


@pytest.fixture(scope="module", params=["sanitized", "release"])
def place(request, installations):
    build = request.getfixturevalue("release_dir" if request.param == "release" else "build_dir")
    with installations(build) as here:
        here.allow_plugin(pathlib.Path(build) / "plugins" / "maas.hostile.so")
        yield here


def ask(place, model, deed):
    body = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [deed]}]}
    status, _, answer = place.request("POST", f"/v2/models/{model}/infer", body)
    return status, next(o["data"][0] for o in answer["outputs"] if o["name"] == "prediction") if status == 200 else None


def processes(place):
    return [(w["pid"], w["restarts"]) for w in place.workers("diabetes")]


def diabetes(place):
    return place.request("POST", "/v1/regression", {"model": "diabetes", "features": ROW})[2]["prediction"]


def test_each_attack_costs_its_own_request_alone(place):
    gateway, right = place.pid_of("maas-gateway"), diabetes(place)
    others = processes(place)
    for name, deed in KILLED.items():  # a model each: a pool pauses after three deaths in a minute
        model = f"hostile-{name}"
        place.deploy(model, "maas.hostile")
        place.until(lambda: ask(place, model, 0) == (200, 0), 20)
        before = place.metric("maas_worker_sandbox_kills_total")
        assert ask(place, model, deed)[0] == 502, name
        place.until(lambda: place.metric("maas_worker_sandbox_kills_total") == before + 1, 5)
        place.until(lambda: ask(place, model, 0) == (200, 0), 10)
        assert diabetes(place) == right
    for name, deed in REFUSED.items():
        status, errno = ask(place, model, deed)
        assert status == 200 and errno in (1, 13), name
    assert place.pid_of("maas-gateway") == gateway and processes(place) == others


def test_scribbled_rings_harm_nobody_else(place):
    gateway, right = place.pid_of("maas-gateway"), diabetes(place)
    others = processes(place)
    place.deploy("hostile-scribbles", "maas.hostile")
    place.until(lambda: ask(place, "hostile-scribbles", -1) == (200, 0), 20)
    for _ in range(3):  # 200 when nobody looked before the worker had written its positions anew
        assert ask(place, "hostile-scribbles", SCRIBBLE)[0] in (200, 502, 503)
    place.until(lambda: ask(place, "hostile-scribbles", -1) == (200, 0), 20)
    assert diabetes(place) == right
    assert place.pid_of("maas-gateway") == gateway and processes(place) == others
