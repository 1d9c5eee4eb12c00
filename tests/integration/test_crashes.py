"""Workers of ten models die at random points under load: no request of another model fails, and the gateway keeps nothing of the dead."""
import http.client
import os
import random
import signal
import threading
import time

import pytest

from asking import ROW, Client, Held, Site, children, of_workers, output

MODELS = [f"m{i}" for i in range(1, 11)]
SIGNALS = [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT]
CRASHES = [60, pytest.param(1000, marks=pytest.mark.soak)]


@pytest.fixture(scope="module")
def site(release_dir, installations):
    with installations(release_dir) as place:
        here = Site(place)
        here.copies_of_diabetes(len(MODELS))
        here.prediction = output(Client(here).ask("diabetes", ROW)[1], "prediction")
        yield here


class Asker(threading.Thread):
    """Asks one model all the time. errors: (sent, answered, what)."""

    def __init__(self, site, model):
        super().__init__()
        self.site, self.model = site, model
        self.errors, self.served, self.over = [], 0, threading.Event()

    def run(self):
        client = Client(self.site)
        while not self.over.wait(0.002):
            sent = time.monotonic()
            try:
                # each a request of its own: one that is there at two deaths within a minute would be taken for their cause
                status, body = client.ask(self.model, ROW, id=str(sent))
                what = None if status == 200 and output(body, "prediction") == self.site.prediction else (status, body)
            except (OSError, ValueError, http.client.HTTPException) as error:
                what = repr(error)
                client.connection.close()
            if what:
                self.errors.append((sent, time.monotonic(), what))
            else:
                self.served += 1


def victim(site, dice):
    """(model, pid) of a worker at random, also of one that is only starting. After the third death within a minute a pool would pause, so
    one that died twice gets new workers first."""
    workers = [w for w in site.workers() if w["deployment"] in MODELS]
    for worn in {w["deployment"] for w in workers if w["restarts"] >= 2 and w["state"] == "ready"}:
        if not any(w["deployment"] == worn and w["pid"] and w["state"] != "ready" for w in workers):  # none are under way
            site.restart(worn)  # also when the last new ones were killed before they served: nobody else tries again
    worker = dice.choice([w for w in workers if w["pid"] and w["restarts"] < 2 and w["state"] in ("ready", "starting")] or [None])
    return worker and (worker["deployment"], worker["pid"])


def crash(site, dice):
    """One crash, (model, when); None when there was nobody to kill."""
    found = victim(site, dice)
    time.sleep(dice.random() * 0.01)
    when = time.monotonic()
    try:
        if found:
            os.kill(found[1], dice.choice(SIGNALS))
    except ProcessLookupError:
        return None  # it was replaced meanwhile
    return found and (found[0], when)


@pytest.mark.parametrize("crashes", CRASHES)
def test_crashes_at_random_points_cost_nobody_else_anything_and_leak_nothing(site, crashes):
    pid, dice, done = site.place.pid_of("maas-gateway"), random.Random(crashes), []
    askers = {model: Asker(site, model) for model in MODELS}
    for asker in askers.values():
        asker.start()
    try:
        site.place.until(lambda: all(a.served > 5 for a in askers.values()), 20)
        settled = lambda: site.place.metric("maas_workers_ready") == len(children(pid)) == len(MODELS) + 1
        site.place.until(settled, 20)
        before = Held(pid)
        while len(done) < crashes:
            one = crash(site, dice)
            if one:
                done.append(one)
        last = {model: asker.served for model, asker in askers.items()}
        site.place.until(lambda: all(a.served > last[m] + 5 for m, a in askers.items()), 40)
        site.place.until(settled, 40)
        after = Held(pid)
    finally:
        for asker in askers.values():
            asker.over.set()
        for asker in askers.values():
            asker.join()
    errors = [(model, e) for model, a in askers.items() for e in a.errors]
    # a request may fail by a death of its own model's worker while it was under way, and by nothing else
    unexplained = [(model, e) for model, e in errors
                   if not any(m == model and e[0] - 0.05 < when < e[1] for m, when in done)]
    served = sum(a.served for a in askers.values())
    print(f"{len(done)} crashes, {served} answers, {len(errors)} lost with their workers; {before} -> {after}")
    assert not unexplained, unexplained[:3]
    assert all(e[2][0] == 502 for _, e in errors), errors[:3]
    assert of_workers(after) == of_workers(before) and after.workers == before.workers
    # what the allocator keeps levels off at some 10 MB; 3,600 crashes end where 2,400 did
    assert after.anonymous_kb < before.anonymous_kb + 12288
