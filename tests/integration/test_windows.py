"""Three gateways on one Redis: in every window W at most b + r·W requests pass, by the times at which the gateways admitted them on one
monotonic clock, and at least 99 % of r is used; also with Redis flushed, restarted and away. 60 s each in the full suite."""
import json
import os
import signal
import time

import pytest

from several import clients, several, tenant

RATE, BURST, CLIENTS = 300, 60, 64
SECONDS = 60 if os.environ.get("MAAS_FULL") else 6
SLACK_S = 0.001


@pytest.fixture(scope="module")
def here(release_dir, installations):
    with several(installations, release_dir, 3, {"MAAS_REDIS_TIMEOUT_MS": "10"}) as it:
        time.sleep(1.5)
        yield it


def admitted(here, key_id, since):
    times = [e["admitted_us"] / 1e6 for g in here.gateways for e in g.answered() if e["key"] == key_id and e["admitted_us"] and e["status"] == 200]
    return sorted(t for t in times if t >= since)


def worst_excess(times):
    """By how much the fullest window exceeds b + r·(W + slack)."""
    worst, lowest = -BURST, float("inf")
    for i, t in enumerate(times):
        line = i - RATE * (t - times[0])
        lowest = min(lowest, line)
        worst = max(worst, line - lowest + 1 - BURST - RATE * SLACK_S)
    return worst


def used(times, begin, end):
    return sum(begin <= t < end for t in times) / (RATE * (end - begin))


def run(here, name, disturb):
    """(the times of all admissions, when the load was steady, when it ended)"""
    key = tenant(here, f"windows-{name}", [{"measure": "requests", "amount": RATE, "per": "second", "burst": BURST}])
    since = time.monotonic()
    with clients(here, key, CLIENTS, pause=0.02) as threads:
        time.sleep(1)
        begin = time.monotonic()
        disturb(here)
        time.sleep(max(0, begin + SECONDS - time.monotonic()))
        end = time.monotonic()
    assert sum(c.unknown for c in threads) == 0 and set().union(*(c.refused for c in threads)) <= {429}
    time.sleep(0.5)  # the log is buffered
    times = admitted(here, key.split("_")[2][:8], since)
    assert len(times) == sum(len(c.delivered) for c in threads)
    print(json.dumps({"case": name, "admitted": len(times), "excess": round(worst_excess(times), 2), "used": round(used(times, begin, end), 4)}))
    return times, begin, end


def test_the_window_is_kept_and_used(here):
    times, begin, end = run(here, "steady", lambda here: None)
    assert worst_excess(times) <= 0
    assert used(times, begin, end) >= 0.99


# A flush or an outage costs what was leased to nobody yet. In the short runs it weighs more.
LEAST = 0.99 if os.environ.get("MAAS_FULL") else 0.98


def test_with_redis_flushed(here):
    def flush(here):
        for _ in range(3):
            time.sleep(SECONDS / 4)
            here.redis_cli("FLUSHALL")

    times, begin, end = run(here, "flushed", flush)
    assert worst_excess(times) <= 0
    assert used(times, begin, end) >= LEAST


def test_with_redis_restarted(here):
    def restart(here):
        for _ in range(2):
            time.sleep(SECONDS / 4)
            here.redis.restart()

    times, begin, end = run(here, "restarted", restart)
    assert worst_excess(times) <= 0
    assert used(times, begin, end) >= LEAST


def test_with_redis_away(here):
    def away(here):
        time.sleep(SECONDS / 4)
        here.redis.kill()
        time.sleep(SECONDS / 2)
        here.redis.start()

    times, begin, end = run(here, "away", away)
    assert worst_excess(times) <= 0
    assert used(times, begin, end) >= LEAST


def test_with_redis_frozen_and_nobody_waits_for_it(here):
    """30 s in the full suite: nothing stalls, and after the first moment nobody waits at all."""
    total = lambda name: [g.metric(name) for g in here.gateways]
    seen = {}

    def freeze(here):
        time.sleep(SECONDS / 6)
        seen["slow"] = total("maas_loop_slow_turns_total")
        here.redis.signal(signal.SIGSTOP)
        time.sleep(0.2)
        seen["waited"] = total("maas_limits_waited_total")
        time.sleep(SECONDS / 2)
        assert total("maas_limits_waited_total") == seen["waited"]
        assert total("maas_loop_slow_turns_total") == seen["slow"]
        here.redis.signal(signal.SIGCONT)

    times, begin, end = run(here, "frozen", freeze)
    assert worst_excess(times) <= 0
    assert used(times, begin, end) >= LEAST
    waits = [e["us"] for g in here.gateways for e in g.answered() if e["admitted_us"] and begin <= e["admitted_us"] / 1e6 < end]
    print(json.dumps({"longest request in ms": max(waits) / 1000}))
    assert max(waits) < 50000  # 10 ms for Redis, and a busy machine
