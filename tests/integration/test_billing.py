"""Gateways, Redis and PostgreSQL are killed at random under load: every delivered answer has exactly one row, of what nobody knows at most one, and
rows, totals and the clients' own log agree to the unit. 10^6 requests in the full suite."""
import collections
import os
import random
import time

from several import billed, clients, several, tenant, wait

import pytest

FULL = bool(os.environ.get("MAAS_FULL"))
REQUESTS, BETWEEN_S = (1000000, 5) if FULL else (60000, 1.5)
SEED = int(os.environ.get("MAAS_SEED", time.time_ns() % 100000))


@pytest.fixture(scope="module")
def here(release_dir, installations):
    with several(installations, release_dir, 2) as it:
        yield it


def one_fault(here, dice):
    kind = dice.choice(["gateway", "gateway", "redis", "postgres"])
    if kind == "gateway":
        dice.choice(here.gateways).kill()
    else:
        getattr(here, kind).restart()
    return kind


def test_delivered_is_billed_once_whatever_is_killed(here):
    dice = random.Random(SEED)
    print(f"MAAS_SEED={SEED}")
    key = tenant(here, "billing", [])
    faults, start = [], time.monotonic()
    with clients(here, key, 16) as threads:
        while sum(len(c.delivered) for c in threads) < REQUESTS:
            assert time.monotonic() - start < (3600 if FULL else 120)
            time.sleep(BETWEEN_S)
            faults.append(one_fault(here, dice))
    delivered = [i for c in threads for i in c.ids]
    unknown = sum(c.unknown for c in threads)
    wait(lambda: all(g.pid() and g.is_ready() for g in here.gateways), 60)
    wait(lambda: all(len(g.spools()) == 1 for g in here.gateways), 60)
    wait(lambda: all(g.metric("maas_usage_pending") == 0 for g in here.gateways), 60)
    rows = collections.Counter(here.place.psql("SELECT e.request_id FROM maas.usage_events e JOIN maas.tenants t ON t.id = e.tenant_id WHERE t.slug = 'billing'"))
    print(f"{collections.Counter(faults)}: {len(delivered)} delivered, {unknown} unknown, {sum(rows.values())} billed in {time.monotonic() - start:.0f} s")
    assert len(set(delivered)) == len(delivered)
    assert all(count == 1 for count in rows.values())
    assert all(i in rows for i in delivered)
    assert len(rows) - len(delivered) <= unknown
    assert billed(here, key) == (len(rows), len(rows))
