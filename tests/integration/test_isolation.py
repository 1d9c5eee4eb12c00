"""A plugin that calls abort(), loops for ever, writes to a null pointer or calls exit() costs its own requests alone; another model served
at the same time has no error; the worker is back within 500 ms.

Each fault has a deployment of its own of the plugin maas.faulty (tests/support/plugins): a pool pauses after three deaths in a minute.
Several clients ask diabetes all the time, others the faulty model itself. A worker has one thread, so while the bad request sleeps or
loops, each of the latter has one request in the worker's queue: they are the ones that had not started when it died."""
import collections
import contextlib
import http.client
import json
import pathlib
import ssl
import threading
import time

import pytest

ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
CLIENTS = 3  # of each model
PAUSE = 0.005  # between two requests of a client: the machine has other work, too
DELAY = 0.4  # a request that kills sleeps so long before its deed

# What a build is given: the deadline of a request, the grace after it, and the time for a worker to be back; all in seconds. Sanitizers
# multiply a start by a factor that is not the gateway's.
Pace = collections.namedtuple("Pace", "deadline grace back")
PACES = {"release": Pace(2, 0.5, 0.5), "sanitized": Pace(3, 0.5, 2)}

Fault = collections.namedtuple("Fault", "deed hangs")  # the deed: tests/support/plugins/faulty.h
FAULTS = {"abort": Fault(1, False), "null-write": Fault(2, False), "exit": Fault(4, False),
          "loop": Fault(3, True), "never-done": Fault(7, True), "sleep": Fault(8, True)}
UNTIL_CANCELLED = 111

Answer = collections.namedtuple("Answer", "sent at status body")


class Client:
    """One kept connection; sends a row to a model and says when, and what came of it."""

    def __init__(self, site):
        self.site = site
        self.connection = http.client.HTTPSConnection("localhost", site.place.port, context=site.tls, timeout=30)

    def ask(self, model, row, **parameters):
        body = {"parameters": parameters, "inputs": [{"name": "features", "datatype": "FP64", "shape": [1, len(row)], "data": row}]}
        sent = time.monotonic()
        try:
            self.connection.request("POST", f"/v2/models/{model}/infer", json.dumps(body), {"Authorization": f"Bearer {self.site.key}"})
            answer = self.connection.getresponse()
            status, body = answer.status, json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.connection.close()  # the next request opens another
            status, body = type(error).__name__, str(error)
        return Answer(sent, time.monotonic(), status, body)


def predicted(answer):
    return next(o["data"][0] for o in answer.body["outputs"] if o["name"] == "prediction")


class Load:
    """Clients that ask one model until the end of the with block. row(client, n): what to send; right(row, value): the answer to it."""

    def __init__(self, site, model, row, right):
        self.site, self.model, self.row, self.right = site, model, row, right
        self.answers, self.wrong = [], []
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(i,)) for i in range(CLIENTS)]
        self.latest = [0.0] * CLIENTS  # when the last request that was answered by 200 had been sent

    def run(self, index):
        client, n = Client(self.site), 0
        while not self.over.wait(PAUSE):
            n += 1
            row = self.row(index, n)
            answer = client.ask(self.model, row)
            self.answers.append(answer)
            if answer.status == 200:
                self.latest[index] = answer.sent
                if not self.right(row, predicted(answer)):
                    self.wrong.append((row, answer))

    def all_served_since(self, when):
        return min(self.latest) > when

    def __enter__(self):
        start = time.monotonic()
        for thread in self.threads:
            thread.start()
        self.site.place.until(lambda: self.all_served_since(start), 20)
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Site:
    """An installation with small deadlines, a tenant without limits worth naming, and diabetes."""

    def __init__(self, place, pace):
        self.place, self.pace = place, pace
        self.tls = ssl.create_default_context(cafile=place.env["MAAS_CA"])
        self.admin("POST", "/admin/v1/plans", {"name": "wide", "rate": 1000000, "burst": 1000000})
        self.admin("POST", "/admin/v1/tenants", {"slug": "isolation", "plan": "wide"})
        self.key = self.admin("POST", "/admin/v1/tenants/isolation/keys", {"name": "k", "scopes": ["infer:*"]})["key"]
        self.client = Client(self)
        place.until(lambda: self.client.ask("diabetes", ROW).status == 200, 20)
        self.prediction = predicted(self.client.ask("diabetes", ROW))

    def admin(self, method, path, body=None, **more):
        status, _, answer = self.place.admin(method, path, body, **more)
        assert status in (200, 201), answer
        return answer

    def deploy(self, name):
        """A model of the faulty plugin, served."""
        self.place.deploy(name, "maas.faulty")
        self.place.until(lambda: self.client.ask(name, [0.5]).status == 200, 20)

    def worker(self, deployment):
        """(pid, restarts) of the one worker."""
        workers = self.admin("GET", "/admin/v1/workers")["data"]
        return next((w["pid"], w["restarts"]) for w in workers if w["deployment"] == deployment)

    def diabetes(self):
        return Load(self, "diabetes", lambda client, n: ROW, lambda row, value: value == self.prediction)

    def echoes(self, model):  # each its own number, none of which is a deed
        return Load(self, model, lambda client, n: [1000000.5 * (client + 1) + n], lambda row, value: value == row[0])


@pytest.fixture(scope="module", params=PACES)
def site(request, installations):
    pace = PACES[request.param]
    build = request.getfixturevalue("release_dir" if request.param == "release" else "build_dir")
    small = {"MAAS_REQUESTS_TIMEOUT_MS": str(int(pace.deadline * 1000)), "MAAS_REQUESTS_HANG_GRACE_MS": str(int(pace.grace * 1000))}
    with installations(build, small) as place:
        place.allow_plugin(pathlib.Path(build) / "plugins" / "maas.faulty.so")
        yield Site(place, pace)


@contextlib.contextmanager
def untouched(site):
    """Diabetes is asked meanwhile, and every answer is its prediction, from the same worker."""
    before = site.worker("diabetes")
    with site.diabetes() as load:
        yield
    errors = [a for a in load.answers if a.status != 200]
    assert not errors and not load.wrong
    assert site.worker("diabetes") == before


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_costs_its_own_requests_alone_and_the_worker_is_back_at_once(site, name):
    fault, pace, model = FAULTS[name], site.pace, f"faulty-{name}"
    site.deploy(model)
    with untouched(site), site.echoes(model) as load:
        # a delay of its own keeps it out of the echoes' calls: a deed is looked for in the first row of a call only
        if fault.hangs:
            bad = site.client.ask(model, [fault.deed], delay_ms=1)
            died = bad.sent + pace.deadline + pace.grace
        else:
            bad = site.client.ask(model, [fault.deed], delay_ms=int(DELAY * 1000))
            died = bad.sent + DELAY
        # "died" is the earliest moment that it can be, so the time to be back is rather found too long
        site.place.until(lambda: load.all_served_since(max(bad.at, died)), 20)

    assert bad.status == (504 if fault.hangs else 502), bad
    if fault.hangs:
        assert pace.deadline - 0.05 < bad.at - bad.sent < pace.deadline + pace.back
    after = [a for a in load.answers if a.at > died and a.status == 200]
    back = min(a.at for a in after) - died
    print(f"{name}: back after {back * 1000:.1f} ms")
    assert back < pace.back

    # who waited behind a hang for longer than the deadline has the same fate; nobody else has any
    errors = [a for a in load.answers if a.status != 200]
    doomed = [a for a in errors if fault.hangs and a.status == 504 and a.sent + pace.deadline < died + pace.back]
    assert errors == doomed and not load.wrong
    assert [a for a in after if a.sent < died], "no request was in the queue of the worker that died: the test shows nothing"
    assert site.worker(model)[1] == 1


def test_a_plugin_that_heeds_its_deadline_keeps_its_worker(site):
    site.deploy("faulty-slow")
    before = site.worker("faulty-slow")
    with untouched(site):
        assert site.client.ask("faulty-slow", [UNTIL_CANCELLED]).status == 504
        time.sleep(site.pace.grace + 0.2)
        assert site.client.ask("faulty-slow", [0.5]).status == 200
    assert site.worker("faulty-slow") == before


def test_a_model_that_dies_three_times_in_a_minute_is_refused_for_a_second(site):
    model = "faulty-often"
    site.deploy(model)
    with untouched(site):
        for delay in range(3):  # requests that differ: the same one would be refused the third time
            assert site.client.ask(model, [0.5]).status == 200
            last = site.client.ask(model, [FAULTS["abort"].deed], delay_ms=delay)
            assert last.status == 502
        assert site.client.ask(model, [0.5]).status == 503
        site.place.until(lambda: site.client.ask(model, [0.5]).status == 200, 10)
        assert time.monotonic() - last.sent > 1


def test_a_request_that_ends_its_model_twice_is_refused(site):
    model = "faulty-again"
    site.deploy(model)
    before = site.place.metric("maas_requests_condemned_total")
    with untouched(site):
        for _ in range(2):
            assert site.client.ask(model, [FAULTS["abort"].deed]).status == 502
            site.place.until(lambda: site.client.ask(model, [0.5]).status == 200, 20)
        again = site.client.ask(model, [FAULTS["abort"].deed])
        assert again.status == 422 and "ended the model's process twice" in str(again.body), again
        assert site.client.ask(model, [0.5]).status == 200  # others are not
    assert site.worker(model)[1] == 2
    assert site.place.metric("maas_requests_condemned_total") == before + 1
