"""A request that is sent several times is done and charged once: replays, refusals, and exactness while everything is killed."""
import collections
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import ssl
import subprocess
import threading
import time
import uuid

import pytest

from asking import ROW, Site, pack

CHAOS_SECONDS, SOAK_SECONDS = 15, 180
KEYS_AT_A_TIME = 6
TOO_MUCH = 9  # maas.faulty says that it has no memory


def fresh():
    return str(uuid.uuid4())


class Ledger(Site):
    """An installation with a slow model, and its database as the superuser sees it."""

    def __init__(self, place, build):
        super().__init__(place)
        self.build = build
        place.allow_plugin(f"{build}/plugins/maas.faulty.so")
        self.model("slow")
        self.deploy("slow", self.upload("slow", "maas.faulty", pack({"nothing": b""})))
        place.until(lambda: self.slow(fresh(), 0)[0] == 200, 30)
        config = (place.folder / "gateway.yaml").read_text()
        address = next(line.split('"')[1] for line in config.splitlines() if line.strip().startswith("admin_conninfo:"))
        self.address = address.replace("maas_admin", "maas_super")

    def sql(self, text):
        return subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self.address, "-c", text], check=True, capture_output=True,
                              text=True, timeout=60).stdout.strip()

    def send(self, path, body, idempotency, key=None, port=None, headers=None, timeout=30):
        """(status, headers, the body's bytes)."""
        connection = http.client.HTTPSConnection("localhost", port or self.place.port, context=self.tls, timeout=timeout)
        sent = {"Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json", **(headers or {})}
        if idempotency is not None:
            sent["Idempotency-Key"] = idempotency
        try:
            connection.request("POST", path, body if isinstance(body, (bytes, str)) else json.dumps(body), sent)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def slow(self, idempotency, delay_ms, value=1000000.5, **more):
        body = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [value]}], "parameters": {"delay_ms": delay_ms}}
        return self.send("/v2/models/slow/infer", body, idempotency, **more)

    def answers(self):
        return subprocess.run(["psql", "-X", "-q", self.address, "-c", "SELECT 1"], capture_output=True, timeout=60).returncode == 0

    def usage(self):
        return int(self.sql("SELECT count(*) FROM maas.usage_events"))

    def settled(self):
        """The rows of usage, once the spool has nothing to ship."""
        self.place.until(lambda: self.place.metric("maas_usage_pending") == 0, 10)
        return self.usage()

    def tenant(self, slug):
        self.admin("POST", "/admin/v1/tenants", {"slug": slug, "plan": "wide"})
        return self.admin("POST", f"/admin/v1/tenants/{slug}/keys", {"name": "k", "scopes": ["infer:*"]})["key"]


@pytest.fixture(scope="module")
def site(build_dir, installations):
    with installations(build_dir, {"MAAS_LOOPS": "2", "MAAS_LOG_ACCESS": "false", "MAAS_WORKERS_RING_BYTES": str(64 << 20),
                                   "MAAS_REQUESTS_BODY_MAX": str(16 << 20)}) as place:
        yield Ledger(place, build_dir)


SURFACES = {
    "task": ("/v1/regression", {"model": "diabetes", "features": ROW}),
    "v2": ("/v2/models/diabetes/infer", {"id": "mine", "inputs": [{"name": "features", "datatype": "FP64", "shape": [1, len(ROW)], "data": ROW}]}),
    "version": ("/v2/models/diabetes/versions/1/infer",
                {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, len(ROW)], "data": ROW}]}),
}


@pytest.mark.parametrize("surface", SURFACES)
def test_a_second_sending_gets_the_first_ones_answer_and_costs_nothing(site, surface):
    path, body = SURFACES[surface]
    before, replays, key = site.settled(), site.place.metric("maas_idempotency_replayed_total"), fresh()
    first = site.send(path, body, key)
    assert first[0] == 200 and "idempotency-replayed" not in first[1], first
    for spelling in (key, f'"{key}"'):
        again = site.send(path, body, spelling)
        assert (again[0], again[2]) == (200, first[2])
        assert again[1]["idempotency-replayed"] == "true" and again[1]["content-type"] == first[1]["content-type"]
    assert site.settled() == before + 1
    assert site.place.metric("maas_idempotency_replayed_total") == replays + 2
    assert site.send(path, body, fresh())[0] == 200 and site.send(path, body, None)[0] == 200
    assert site.settled() == before + 3


def test_a_charged_answer_is_counted_and_its_row_of_usage_is_whole(site):
    before, key = site.place.metric("maas_usage_appended_total"), fresh()
    assert site.send("/v1/regression", {"model": "diabetes", "features": ROW}, key)[0] == 200
    assert site.place.metric("maas_usage_appended_total") == before + 1
    row = site.sql("SELECT e.loop < 0 AND e.rows = 1 AND e.units = 1 AND e.http_status = 200 AND e.tenant_id = i.tenant_id AND e.spool = i.owner"
                   " AND abs(extract(epoch FROM e.at - now())) < 60 AND k.name = 'k'"
                   " FROM maas.idempotency i JOIN maas.usage_events e ON e.request_id = i.attempt JOIN maas.api_keys k ON k.id = e.key_id"
                   " ORDER BY i.started_at DESC LIMIT 1")
    assert row == "t"


def test_while_the_first_runs_another_is_told_so_and_then_gets_its_answer(site):
    key, answers = fresh(), []
    before = site.settled()
    first = threading.Thread(target=lambda: answers.append(site.slow(key, 1500)))
    first.start()
    site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") == "1", 5)
    status, headers, body = site.slow(key, 1500)
    assert status == 409 and headers["retry-after"] == "1" and json.loads(body)["code"] == "idempotency_running"
    assert json.loads(body)["param"] == "Idempotency-Key"
    first.join()
    again = site.slow(key, 1500)
    assert answers[0][0] == again[0] == 200 and answers[0][2] == again[2]
    assert site.settled() == before + 1


def test_another_request_under_the_same_key_is_refused(site):
    key, path, body = fresh(), *SURFACES["task"]
    text = json.dumps(body)
    assert site.send(path, text, key)[0] == 200
    others = [(path, text + " ", {}), (path + "?a=1", text, {}), ("/v1/recommendations", text, {}), (path, text, {"Content-Type": "text/json"}),
              (path, text, {"Content-Encoding": "identity"}), (path, text, {"Inference-Header-Content-Length": "1"})]
    for where, what, headers in others:
        status, _, answer = site.send(where, what, key, headers=headers)
        error = json.loads(answer)["error"]
        assert (status, error["code"], error["param"]) == (422, "idempotency_key_reused", "Idempotency-Key"), (where, headers, answer)
    assert site.send(path, text, key)[1]["idempotency-replayed"] == "true"


@pytest.mark.parametrize("bad", ["", '"', '""', '"a', "a b", '"a b"', '"a"b"', "x" * 256, "caf\xe9"])
def test_what_is_no_key_is_refused_by_name(site, bad):
    status, _, answer = site.send(*SURFACES["task"], bad)
    error = json.loads(answer)["error"]
    assert (status, error["code"], error["param"]) == (400, "invalid_idempotency_key", "Idempotency-Key"), answer


def test_holders_do_not_meet(site):
    key, (path, body) = fresh(), SURFACES["task"]
    second = site.admin("POST", "/admin/v1/tenants/asking/keys", {"name": "other", "scopes": ["infer:*"]})["key"]
    stranger = site.tenant("stranger")
    before = site.settled()
    for holder in (site.key, second, stranger):
        status, headers, _ = site.send(path, body, key, key=holder)
        assert status == 200 and "idempotency-replayed" not in headers
    other = {**body, "features": [1] * len(ROW)}
    assert site.send(path, other, key, key=site.tenant("stranger2"))[0] == 200  # not 422: nobody learns of another's key
    assert site.settled() == before + 4


def test_after_a_day_the_key_is_free_and_the_row_goes(site):
    key, (path, body) = fresh(), SURFACES["task"]
    before = site.settled()
    assert site.send(path, body, key)[0] == 200
    last = "(SELECT scope FROM maas.idempotency ORDER BY started_at DESC LIMIT 1)"
    kept = site.sql(f"SELECT expires_at - now() BETWEEN interval '23 h 59 min' AND interval '24 h' FROM maas.idempotency WHERE scope = {last}")
    assert kept == "t"
    site.sql(f"UPDATE maas.idempotency SET expires_at = now() - interval '1 s' WHERE scope = {last}")
    assert "idempotency-replayed" not in site.send(path, {**body, "features": [2] * len(ROW)}, key)[1]
    assert site.settled() == before + 2
    scope = site.sql(f"SELECT encode(scope, 'hex') FROM maas.idempotency WHERE scope = {last}")
    site.sql(f"UPDATE maas.idempotency SET expires_at = now() - interval '2 min' WHERE scope = {last}")
    site.place.until(lambda: site.sql(f"SELECT count(*) FROM maas.idempotency WHERE scope = '\\x{scope}'") == "0", 20)


def test_what_is_not_charged_is_not_kept(site):
    key, path = fresh(), "/v1/regression"
    before = site.settled()
    wrong = site.send(path, {"model": "diabetes", "features": [1]}, key)
    assert wrong[0] == 400
    site.place.until(lambda: site.send(path, {"model": "nobody", "features": [1]}, key)[0] == 404, 2)
    site.place.until(lambda: site.send(path, {"model": "diabetes", "features": ROW}, key)[0] == 200, 2)
    assert site.settled() == before + 1


def test_a_rate_limit_gives_the_key_back(site):
    site.admin("POST", "/admin/v1/plans", {"name": "narrow", "rate": 1, "window_ms": 1000, "burst": 1})
    site.admin("POST", "/admin/v1/tenants", {"slug": "narrow", "plan": "narrow"})
    holder = site.admin("POST", "/admin/v1/tenants/narrow/keys", {"name": "k", "scopes": ["infer:*"]})["key"]
    statuses, keys = [], [fresh() for _ in range(4)]
    for key in keys:
        statuses.append(site.send(*SURFACES["task"], key, key=holder)[0])
    assert 429 in statuses, statuses
    refused = keys[statuses.index(429)]
    seen = []

    def done():
        seen.append(site.send(*SURFACES["task"], refused, key=holder)[0])
        time.sleep(0.3)
        return seen[-1] == 200

    site.place.until(done, 15)
    assert 422 not in seen and 503 not in seen


def test_a_client_that_leaves_finds_its_answer_when_it_comes_back(site):
    key, before = fresh(), site.settled()
    with pytest.raises(TimeoutError):
        site.slow(key, 1000, timeout=0.4)
    answers = []
    site.place.until(lambda: answers.append(site.slow(key, 1000)) or answers[-1][0] == 200, 5)
    assert 409 in [a[0] for a in answers] and answers[-1][1]["idempotency-replayed"] == "true"
    assert site.settled() == before + 1


def test_the_database_cannot_read_an_answer_and_one_that_was_tampered_with_is_not_sent(site):
    key, before = fresh(), site.settled()
    assert site.send(*SURFACES["task"], key)[0] == 200
    last = "(SELECT scope FROM maas.idempotency ORDER BY started_at DESC LIMIT 1)"
    assert site.sql(f"SELECT position('prediction'::bytea IN answer) FROM maas.idempotency WHERE scope = {last}") == "0"
    assert site.sql(f"SELECT count(*) FROM maas.idempotency WHERE encode(scope, 'hex') = '{key}' OR position('{key}'::bytea IN answer) > 0") == "0"
    site.sql(f"UPDATE maas.idempotency SET answer = set_byte(answer, 20, get_byte(answer, 20) # 1) WHERE scope = {last}")
    status, _, answer = site.send(*SURFACES["task"], key)
    assert (status, json.loads(answer)["error"]["code"]) == (409, "idempotency_answer_not_kept")
    site.sql(f"UPDATE maas.idempotency SET answer = NULL WHERE scope = {last}")  # as one that was too large
    status, _, answer = site.send(*SURFACES["task"], key)
    assert (status, json.loads(answer)["error"]["code"]) == (409, "idempotency_answer_not_kept")
    assert site.settled() == before + 1


@contextlib.contextmanager
def second_gateway(site, name="second"):
    """Another gateway on the same database, of this test's own. Yields a namespace with its port and process."""
    from several import free_port
    port, admin_port, folder = free_port(), free_port(), site.place.folder / name
    folder.mkdir(exist_ok=True)
    env = {**os.environ, "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0", "MAAS_LISTEN": f"127.0.0.1:{port}",
           "MAAS_ADMIN_LISTEN": f"127.0.0.1:{admin_port}", "MAAS_SPOOL_DIR": str(folder / "spool"), "MAAS_WORKERS_CACHE_DIR": str(folder / "cache"),
           "MAAS_REDIS_TIMEOUT_MS": "500", "MAAS_LOOPS": "2", "MAAS_LOG_ACCESS": "false", "MAAS_WORKERS_PLUGINS_DIR": f"{site.build}/plugins"}
    (folder / "cache").mkdir(exist_ok=True)
    it = type("Gateway", (), {"port": port, "admin_port": admin_port, "process": None})()

    def start():
        with open(folder / "log", "ab") as log:
            it.process = subprocess.Popen([f"{site.build}/bin/maas-gateway", "--config", str(site.place.folder / "gateway.yaml")], env=env, stdout=log,
                                          stderr=log)
    it.start = start
    start()
    try:
        site.place.until(lambda: site.slow(None, 0, port=port, timeout=2)[0] == 200, 30)
        yield it
    finally:
        it.process.send_signal(signal.SIGCONT)
        it.process.kill()
        it.process.wait()


def test_a_gateway_that_was_stopped_too_long_is_taken_over_and_may_not_finish(site):
    key, before, late = fresh(), site.settled(), []
    with second_gateway(site) as second:
        site.settled()
        time.sleep(1)  # what its own start was asked is shipped by its own spool
        before = site.usage()
        thread = threading.Thread(target=lambda: late.append(site.slow(key, 1200, port=second.port)))
        thread.start()
        site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") == "1", 5)
        os.kill(second.process.pid, signal.SIGSTOP)
        start, statuses = time.monotonic(), []

        def taken():
            statuses.append(site.slow(key, 1200)[0])
            time.sleep(0.2)
            return statuses[-1] == 200

        site.place.until(taken, 20)
        assert 409 in statuses and time.monotonic() - start > 8, statuses
        os.kill(second.process.pid, signal.SIGCONT)
        thread.join()
        lost = late[0]
        assert lost[0] == 409 and json.loads(lost[2])["code"] == "idempotency_running", lost
        assert site.slow(key, 1200, port=second.port)[1]["idempotency-replayed"] == "true"
        time.sleep(1)
    assert site.settled() == before + 1


def test_what_a_killed_gateway_had_begun_is_taken_over_when_its_spool_is(site):
    """Its successor finds the lock free and says so: nobody waits the 10 s after which a silent gateway counts as dead."""
    key, before = fresh(), site.settled()
    thread = threading.Thread(target=_ignore, args=(lambda: site.slow(key, 3000),))
    thread.start()
    site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") == "1", 5)
    pid = site.place.pid_of("maas-gateway")
    os.kill(pid, signal.SIGKILL)
    thread.join()
    took = site.place.until(lambda: site.slow(key, 3000)[0] == 200 or time.sleep(0.1), 20) - 3
    print(f"taken over after {took:.1f} s")
    assert took < 6
    assert site.settled() == before + 1


def test_a_commit_that_outlives_its_gateway_is_found_and_not_repeated(site):
    """The gateway is killed while its finish is held in the server: the commit comes all the same, later."""
    key, before = fresh(), site.settled()
    site.sql("CREATE FUNCTION public.hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(1.5); RETURN NEW; END';"
             "GRANT USAGE ON SCHEMA public TO maas_system; GRANT EXECUTE ON FUNCTION public.hold() TO maas_system;"
             "CREATE TRIGGER hold BEFORE UPDATE ON maas.idempotency FOR EACH ROW WHEN (NEW.state = 'done') EXECUTE FUNCTION public.hold()")
    try:
        thread = threading.Thread(target=_ignore, args=(lambda: site.slow(key, 0),))
        thread.start()
        site.place.until(lambda: site.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == "1", 5)
        pid = site.place.pid_of("maas-gateway")
        os.kill(pid, signal.SIGKILL)
        thread.join()
        site.place.until(lambda: site.place.pid_of("maas-gateway") not in (None, pid), 20)
        answers = []

        def answered():
            answers.append(site.slow(key, 0, timeout=10))
            return answers[-1][0] == 200

        site.place.until(answered, 30)
    finally:
        site.sql("DROP TRIGGER hold ON maas.idempotency; DROP FUNCTION public.hold()")
    assert answers[-1][1].get("idempotency-replayed") == "true", [a[0] for a in answers]
    assert site.settled() == before + 1


def _ignore(what):
    try:
        what()
    except (OSError, http.client.HTTPException):
        pass


@contextlib.contextmanager
def frozen_database(site):
    """Every process of PostgreSQL is stopped: connections stand and nobody answers."""
    postmaster = postgres(site)[0]
    stopped = [postmaster]
    os.kill(postmaster, signal.SIGSTOP)  # first: it makes no more children
    for pid in postgres(site)[1]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
    try:
        yield
    finally:
        for pid in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def test_without_the_database_nothing_runs_that_could_be_charged_twice(site):
    key, before = fresh(), site.settled()
    with frozen_database(site):
        status, headers, answer = site.send(*SURFACES["task"], key)
        assert status == 503 and headers["retry-after"] == "1" and json.loads(answer)["error"]["code"] == "idempotency_unavailable"
        assert site.send(*SURFACES["task"], None)[0] == 200  # others are not concerned
    site.place.until(lambda: site.send(*SURFACES["task"], key)[0] == 200 or time.sleep(0.2), 10)  # what was in doubt was given back
    assert site.settled() == before + 2


def test_a_failed_request_gives_its_key_back_though_the_database_was_away(site):
    key, before, answers = fresh(), site.settled(), []
    first = threading.Thread(target=lambda: answers.append(site.slow(key, 700, value=TOO_MUCH)))
    first.start()
    site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") == "1", 5)
    site.sql("CHECKPOINT")  # the row is on disk: no crash takes it along
    with frozen_database(site):
        first.join()
        assert answers[0][0] in (500, 502, 503), answers
        for pid in postgres(site)[1]:  # what was sent to them dies with them
            os.kill(pid, signal.SIGKILL)
    site.place.until(lambda: site.answers(), 10)
    site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") == "0", 5)  # not its 39 s
    site.place.until(lambda: site.slow(key, 0)[0] == 200 or time.sleep(0.1), 5)  # each loop has its connection back in its time
    assert site.settled() == before + 1


def test_a_commit_that_waits_for_a_database_that_comes_back_is_charged_once(site):
    """The answer is there, PostgreSQL is not: it is asked until it is back, and the client has its 200."""
    key, before, answers = fresh(), site.settled(), []
    first = threading.Thread(target=lambda: answers.append(site.slow(key, 700)))
    first.start()
    site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") == "1", 5)
    with frozen_database(site):
        time.sleep(4)
        assert not answers
    first.join()
    assert answers[0][0] == 200 and "idempotency-replayed" not in answers[0][1]
    assert site.slow(key, 700)[1]["idempotency-replayed"] == "true"
    assert site.settled() == before + 1


def test_an_answer_that_is_too_large_is_sent_and_charged_and_not_kept(site):
    """The id of a request comes back in its answer: one of 2 MiB is kept, one of 9 MiB is not."""
    before, key = site.settled(), fresh()
    answers = {}
    for size in (2 << 20, 9 << 20):
        body = {"id": "i" * size, "inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [1000000.5]}]}
        answers[size] = [site.send("/v2/models/slow/infer", body, f"{key}{size}") for _ in range(2)]
        assert answers[size][0][0] == 200 and len(answers[size][0][2]) > size
    kept, too_large = answers.values()
    assert kept[1][0] == 200 and kept[1][2] == kept[0][2]
    assert (too_large[1][0], json.loads(too_large[1][2])["code"]) == (409, "idempotency_answer_not_kept")
    assert site.settled() == before + 2


def test_more_large_answers_than_may_be_on_their_way_are_all_kept(site):
    """Sixteen of 7 MiB are done while the database stands still: beyond 8 MiB a loop they wait for each other."""
    before, keys, answers = site.settled(), [fresh() for _ in range(16)], {}
    body = json.dumps({"id": "i" * (7 << 20), "parameters": {"delay_ms": 300},
                       "inputs": [{"name": "features", "datatype": "FP64", "shape": [1, 1], "data": [1000000.5]}]})

    def ask(key):
        answers[key] = site.send("/v2/models/slow/infer", body, key, timeout=60)

    threads = [threading.Thread(target=ask, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    site.place.until(lambda: site.sql("SELECT count(*) FROM maas.idempotency WHERE state = 'running'") != "0", 10)
    with frozen_database(site):
        time.sleep(1.5)
    for thread in threads:
        thread.join()
    refused = [a[0] for a in answers.values() if a[0] != 200]
    assert set(refused) <= {503}, refused  # those whose begin met the pause
    for key in keys:
        site.place.until(lambda: answers[key][0] == 200 or ask(key), 30)
    assert all(len(a[2]) > 7 << 20 for a in answers.values())
    assert site.settled() == before + len(keys)


def postgres(site):
    """(the postmaster, its children) of this installation."""
    found = {}
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if str(site.place.folder) in os.readlink(proc / "cwd") and "postgres" in os.readlink(proc / "exe"):
                found[int(proc.name)] = int((proc / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    postmaster = next(pid for pid, parent in found.items() if parent not in found)
    return postmaster, [pid for pid in found if pid != postmaster]


def recovers(pid):
    """The process that starts the database after a crash: without it the postmaster gives up, and scripts/up would have to be run."""
    try:
        return b"startup" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


class Sender(threading.Thread):
    """Sends each of its keys, again and again, until it has a 200; two senders share each list of keys."""

    def __init__(self, site, ports, seed):
        super().__init__()
        self.site, self.ports, self.random = site, ports, random.Random(seed)
        self.seed, self.answers, self.statuses, self.strange = seed, {}, collections.Counter(), []
        self.ending = threading.Event()

    def once(self, key, value):
        body = json.dumps({"model": "slow", "features": [1000000.5 + value]})
        try:
            status, _, answer = self.site.send("/v1/regression", body, key, port=self.random.choice(self.ports), timeout=15)
        except (OSError, http.client.HTTPException):
            status, answer = 0, b""
        self.statuses[status] += 1
        if status == 200:
            self.answers[key] = answer
        elif status not in (0, 409, 502, 503, 504):
            self.strange.append((status, answer))
        return status in (0, 409, 502, 503, 504)

    def run(self):
        number = 0
        while not self.ending.is_set():
            key = f"chaos-{self.seed // 2}-{number}"
            while self.once(key, 0):
                time.sleep(0.02)
            number += 1


def chaos(site, seconds):
    random.seed(7)
    with second_gateway(site, "chaos") as second:
        place = site.place
        time.sleep(1)
        before = site.settled()
        senders = [Sender(site, [place.port, second.port], seed) for seed in range(2 * KEYS_AT_A_TIME)]
        for sender in senders:
            sender.start()
        kills, end = collections.Counter(), time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(random.uniform(0.3, 1.5))
            what = random.choice(["gateway", "second", "postgres"])
            kills[what] += 1
            if what == "gateway":
                pid = gateway_of(site)
                if pid:
                    os.kill(pid, signal.SIGKILL)
            elif what == "second":
                second.process.kill()
                second.process.wait()
                second.start()
            else:
                children = [pid for pid in postgres(site)[1] if not recovers(pid)]
                if children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(random.choice(children), signal.SIGKILL)
        for sender in senders:
            sender.ending.set()
        for sender in senders:
            sender.join()
        # what a killed one left is shipped by its successor; nothing here went through a spool but what second_gateway asked for
        answers = collections.defaultdict(set)
        for sender in senders:
            for key, answer in sender.answers.items():
                answers[key].add(answer)
        statuses = sum((s.statuses for s in senders), collections.Counter())
        print(f"{len(answers)} keys, kills {dict(kills)}, statuses {dict(statuses)}")
        assert not [s.strange for s in senders if s.strange]
        assert all(len(of) == 1 for of in answers.values())  # both senders of a key have the same answer, byte for byte
        assert statuses[200] > 20 * KEYS_AT_A_TIME
        site.place.until(lambda: site.place.metric("maas_usage_pending") == 0, 20)
        assert site.usage() == before + len(answers)
        assert site.sql("SELECT count(*) FROM (SELECT FROM maas.idempotency i LEFT JOIN maas.usage_events e ON e.request_id = i.attempt"
                        " WHERE i.state = 'done' GROUP BY i.attempt HAVING count(e.request_id) <> 1) x") == "0"


def gateway_of(site):
    """The supervised gateway's pid, not the second one's."""
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            words = (proc / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"maas-gateway") and b"--listen-fd" in words and any(str(site.place.folder).encode() in w for w in words[1:]):
            return int(proc.name)
    return None


def test_every_key_is_charged_once_while_gateways_and_the_database_are_killed(site):
    chaos(site, CHAOS_SECONDS)


@pytest.mark.soak
def test_every_key_is_charged_once_for_minutes(site):
    chaos(site, SOAK_SECONDS)


# ---- the admin listener


def admin(site, method, path, body, key, token=None, headers=None):
    """(status, headers, the body's bytes)."""
    connection = http.client.HTTPSConnection("localhost", site.place.admin_port, context=site.tls, timeout=30)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Authorization": f"Bearer {token or site.place.env['MAAS_ADMIN_TOKEN']}", "Idempotency-Key": key, **(headers or {})})
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_a_created_key_is_given_again_byte_for_byte_and_the_database_cannot_read_it(site):
    site.admin("POST", "/admin/v1/tenants", {"slug": "twice", "plan": "wide"})
    path, body, key = "/admin/v1/tenants/twice/keys", {"name": "k", "scopes": ["infer:*"]}, fresh()
    first = admin(site, "POST", path, body, key)
    again = admin(site, "POST", path, body, f'"{key}"')
    assert first[0] == again[0] == 201 and first[2] == again[2]
    assert "idempotency-replayed" not in first[1] and again[1]["idempotency-replayed"] == "true"
    made = json.loads(first[2])["key"]
    assert len(site.admin("GET", "/admin/v1/tenants/twice/keys")["data"]) == 1
    assert site.sql("SELECT count(*) FROM maas.audit_log WHERE action = 'key.create' AND object = 'tenant'"
                    f" AND after->>'key_id' = '{json.loads(first[2])['key_id']}'") == "1"
    assert site.send(*SURFACES["task"], None, key=made)[0] == 200
    dump = site.sql("SELECT scope, tenant_id, convert_from(decode(replace(encode(answer, 'hex'), '00', '01'), 'hex'), 'LATIN1') FROM maas.idempotency"
                    " WHERE tenant_id IS NULL AND answer IS NOT NULL")
    assert dump and made not in dump and made[20:40] not in dump and key not in dump


def test_admin_another_request_is_422_and_a_bad_key_400_and_another_token_its_own(site):
    key, body = fresh(), {"slug": "once-a", "plan": "wide"}
    assert admin(site, "POST", "/admin/v1/tenants", body, key)[0] == 201
    status, _, answer = admin(site, "POST", "/admin/v1/tenants", {**body, "slug": "once-b"}, key)
    assert status == 422 and json.loads(answer)["field"] == "Idempotency-Key"
    status, _, answer = admin(site, "POST", "/admin/v1/tenants", body, "a b")
    assert status == 400 and json.loads(answer)["field"] == "Idempotency-Key"
    token = subprocess.run([f"{site.build}/bin/maas-gateway", "--config", site.place.folder / "gateway.yaml", "--create-admin-token", "other"],
                           check=True, capture_output=True, text=True).stdout.strip()
    assert admin(site, "POST", "/admin/v1/tenants", body, key, token=token)[0] == 409  # the slug exists: it was tried


def test_admin_what_failed_is_not_kept_and_other_methods_may_have_a_key(site):
    key = fresh()
    assert admin(site, "POST", "/admin/v1/tenants", {"slug": "No", "plan": "wide"}, key)[0] == 409
    assert admin(site, "POST", "/admin/v1/tenants", {"slug": "yes", "plan": "wide"}, key)[0] == 201  # anew, although another
    made = site.admin("POST", "/admin/v1/tenants/yes/keys", {"name": "k", "scopes": ["infer:*"]})
    revokes = [admin(site, "DELETE", f"/admin/v1/keys/{made['key_id']}", None, key + "d") for _ in range(2)]
    assert [r[0] for r in revokes] == [200, 200] and revokes[1][1]["idempotency-replayed"] == "true"
    assert site.sql(f"SELECT count(*) FROM maas.audit_log WHERE action = 'key.revoke' AND after->>'key_id' = '{made['key_id']}'") == "1"
    reads = [admin(site, "GET", "/admin/v1/tenants/yes", None, key) for _ in range(2)]
    assert [r[0] for r in reads] == [200, 200] and "idempotency-replayed" not in reads[1][1]


def test_admin_two_at_once_on_two_gateways_make_one(site):
    site.admin("POST", "/admin/v1/tenants", {"slug": "pair", "plan": "wide"})
    with second_gateway(site, "pair") as second:
        for turn in range(5):
            key, answers = fresh(), []

            def create(port):
                it = type("At", (), {"tls": site.tls, "place": type("P", (), {"admin_port": port, "env": site.place.env})()})()
                answers.append(admin(it, "POST", "/admin/v1/tenants/pair/keys", {"name": "k", "scopes": ["infer:*"]}, key))
            threads = [threading.Thread(target=create, args=(port,)) for port in (site.place.admin_port, second.admin_port) * 3]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert {a[0] for a in answers} == {201} and len({a[2] for a in answers}) == 1
            assert sum("idempotency-replayed" in a[1] for a in answers) == len(answers) - 1
            assert len(site.admin("GET", "/admin/v1/tenants/pair/keys")["data"]) == turn + 1
