"""A thousand registered models, of which a few are loaded at a time: a request waits for its model, the least recently used makes room,
and nothing grows."""
import random
import re
import statistics
import threading
import time

import pytest

from asking import ROW, Client, Held, Site, children, of_workers, output

MODELS, CAP, STARTS = 1000, 50, 4
WALKERS = 4
SECONDS = [8, pytest.param(600, marks=pytest.mark.soak)]


@pytest.fixture(scope="module")
def site(release_dir, installations):
    settings = {"MAAS_WORKERS_RESIDENT_MAX": str(CAP), "MAAS_WORKERS_STARTS_MAX": str(STARTS)}
    with installations(release_dir, settings) as place:
        here = Site(place)
        here.copies_of_diabetes(MODELS)
        here.prediction = output(Client(here).ask("diabetes", ROW)[1], "prediction")
        yield here


class Walk(threading.Thread):
    """Asks models at random, now and then one of the last few again. took: seconds by whether the model was asked lately."""

    def __init__(self, site, until, seed):
        super().__init__()
        self.site, self.until, self.dice = site, until, random.Random(seed)
        self.wrong, self.took = [], {True: [], False: []}

    def run(self):
        client, lately = Client(self.site), []
        while time.monotonic() < self.until:
            again = bool(lately) and self.dice.random() < 0.3
            name = self.dice.choice(lately) if again else f"m{self.dice.randint(1, MODELS)}"
            start = time.monotonic()
            try:
                status, body = client.ask(name, ROW)
            except Exception as error:
                self.wrong.append(repr(error))
                return
            self.took[again].append(time.monotonic() - start)
            if status != 200 or body["model_name"] != name or output(body, "prediction") != self.site.prediction:
                self.wrong.append((name, status, body))
            lately = (lately + [name])[-3:]


class Watch(threading.Thread):
    """The most workers that the gateway ever had at a time."""

    def __init__(self, pid):
        super().__init__()
        self.pid, self.most, self.over = pid, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.005):
            self.most = max(self.most, len(children(self.pid)))


class Busy(threading.Thread):
    """Asks diabetes all the time: it is never the least recently used."""

    def __init__(self, site):
        super().__init__()
        self.site, self.took, self.wrong, self.over = site, [], [], threading.Event()

    def run(self):
        client = Client(self.site)
        while not self.over.wait(0.01):
            start = time.monotonic()
            status, body = client.ask("diabetes", ROW)
            self.took.append(time.monotonic() - start)
            if status != 200:
                self.wrong.append((status, body))


def walk(site, seconds, seed):
    walkers = [Walk(site, time.monotonic() + seconds, seed + i) for i in range(WALKERS)]
    for walker in walkers:
        walker.start()
    for walker in walkers:
        walker.join()
    assert not [w.wrong for w in walkers if w.wrong], [w.wrong[:2] for w in walkers]
    return walkers


def ms(seconds):
    return f"{statistics.median(seconds) * 1000:.1f} ms"


def cold_starts(site):
    """Milliseconds from a worker's spawn to its word, self-test included, as the gateway logged them."""
    text = (site.place.folder / "log/gateway.log").read_text()
    return [float(found) for found in re.findall(r'"event":"worker.ready".*?"ms":([0-9.]+)', text)]


def idle_when_unloaded(site, model):
    """Milliseconds that a model had not been used when it was unloaded, of each time."""
    text = (site.place.folder / "log/gateway.log").read_text()
    return [int(found) for found in re.findall(rf'"event":"deployment.unloaded","model":"{model}","idle_ms":([0-9]+)', text)]


@pytest.mark.parametrize("seconds", SECONDS)
def test_a_walk_over_a_thousand_models_answers_all_and_grows_nothing(site, seconds):
    pid = site.place.pid_of("maas-gateway")
    walk(site, 2, 100)  # every cache has its size then, every allocator its arenas
    site.place.until(lambda: len(children(pid)) == CAP, 10)
    before, unloads, crashes = Held(pid), site.place.metric("maas_deployment_unloads_total"), site.place.metric("maas_worker_crashes_total")
    watch, busy = Watch(pid), Busy(site)
    watch.start()
    busy.start()
    try:
        walkers = walk(site, seconds, 1)
    finally:
        watch.over.set()
        busy.over.set()
        watch.join()
        busy.join()
    site.place.until(lambda: len(children(pid)) == CAP, 10)
    after, unloads = Held(pid), site.place.metric("maas_deployment_unloads_total") - unloads
    fresh = [t for w in walkers for t in w.took[False]]
    again = [t for w in walkers for t in w.took[True]]
    print(f"{len(fresh) + len(again)} requests, {unloads} unloads; medians: of a model at random {ms(fresh)}, of one asked lately {ms(again)}, "
          f"of diabetes meanwhile {ms(busy.took)}; worker from spawn to ready {statistics.median(cold_starts(site)):.1f} ms; {before} -> {after}")
    assert not busy.wrong and len(busy.took) > 10
    # asked all the time, it goes only when its client was kept from asking while all the others were loaded anew
    assert all(idle >= 30 for idle in idle_when_unloaded(site, "diabetes")), idle_when_unloaded(site, "diabetes")
    assert site.place.metric("maas_worker_crashes_total") == crashes
    assert unloads > CAP  # it was a walk
    assert watch.most <= CAP
    assert of_workers(after) == of_workers(before) and after.workers == before.workers == CAP
    assert after.anonymous_kb < before.anonymous_kb + 12288  # what the allocator keeps levels off at some 10 MB


def test_a_storm_of_loads_is_bounded_and_all_are_answered(site):
    starting, over, answers = [0], threading.Event(), []

    def look():
        while not over.is_set():
            starting[0] = max(starting[0], sum(w["state"] == "starting" for w in site.workers()))

    def ask(name):
        answers.append(Client(site).ask(name, ROW)[0])
    watcher = threading.Thread(target=look)
    askers = [threading.Thread(target=ask, args=(f"m{n}",)) for n in random.Random(7).sample(range(1, MODELS), 60)]
    for thread in [watcher, *askers]:
        thread.start()
    for thread in askers:
        thread.join()
    over.set()
    watcher.join()
    assert answers == [200] * len(askers)
    assert starting[0] <= STARTS
