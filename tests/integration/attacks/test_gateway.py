"""The attacks against the gateway itself: the release build as it is installed, default limits, TLS, keys and workers.

Each is closed within its budget, costs at most 4 MB (bodies of who has a key: the configured bound), and harms nobody
else: another tenant's predictions go on, without a failure, within a second each.
"""

import socket

import time
import zlib

import attacks
import h2raw
import pytest
from attacks import settings
from h2raw import DATA, END_STREAM, PING, WINDOW_UPDATE, Closed, frame, request

CALM = 11  # ENHANCE_YOUR_CALM
BODIES_MAX = 32 * 1024 * 1024  # requests.body_in_flight_connection
ANSWERS_MAX = 32 * 1024 * 1024  # requests.answers_in_flight_connection
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def with_another_secret(key):
    """A key with the id and tag of `key` and a checksum that fits: only its secret tells."""
    wrong = key[:30] + ("A" if key[30] != "A" else "B") + key[31:-6]
    number, checksum = zlib.crc32(wrong.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        checksum = BASE62[digit] + checksum
    return wrong + checksum


# ---- HTTP/2: headers


@pytest.mark.parametrize("who", ["nobody", "a tenant"])
def test_a_header_bomb_is_closed_within_100_ms(gateway, gateway_attack, who):
    extra = gateway.bearer(gateway.key("attacker")) if who == "a tenant" else []
    bomb = attacks.header_bomb(400 * 1024, extra=extra) + frame(PING, 0, 0, b"12345678") * 1000
    times = []
    with gateway_attack() as attack:
        for _ in range(3):
            client = h2raw.H2(gateway.address)
            times.append(client.pour(bomb).seconds)  # from the first byte
    print(f"closed after {', '.join(f'{t * 1000:.0f}' for t in times)} ms")
    assert min(times) < 0.1
    assert attack.requests == 0 and attack.closed == {"headers": 3}


def test_a_header_bomb_in_one_frame_is_closed_too(gateway, gateway_attack):
    with gateway_attack() as attack:
        client = h2raw.H2(gateway.address)
        client.pour(attacks.header_bomb(16000))
    assert client.goaway in (None, (CALM, "too many header fields"))
    assert attack.requests == 0 and attack.closed == {"headers": 1}


def test_a_flood_of_continuations_is_closed(gateway, gateway_attack):
    flood = attacks.continuations(100000)
    with gateway_attack() as attack:
        client = h2raw.H2(gateway.address)
        client.pour(flood)
    assert client.goaway in (None, (CALM, "too many CONTINUATION frames"))
    assert attack.requests == 0 and attack.closed == {"headers": 1}


# ---- HTTP/2: requests that are not waited for


def requests_of(gateway):
    key = gateway.key("attacker")
    return {
        "without a key": lambda s: request(s, "/v1/models"),
        "predictions": lambda s: gateway.inference(s, key),
        "predictions without their body": lambda s: request(s, "/v1/regression", "POST", gateway.bearer(key), end=False),
    }


def check_cancelled(attack):
    assert attack.requests <= 200
    assert attack.answers["2xx"] <= 200 and attack.billed <= attack.requests


@pytest.mark.parametrize("what", ["without a key", "predictions", "predictions without their body"])
def test_rapid_reset_is_closed_within_200_requests(gateway, gateway_attack, what):
    pairs = attacks.cancelled(requests_of(gateway)[what])
    with gateway_attack() as attack:
        client = h2raw.H2(gateway.address)
        client.pour(pairs)
    assert client.goaway in (None, (CALM, "too many cancelled requests"))
    if client.goaway:
        print(f"the last stream accepted is number {(client.last_stream + 1) // 2}")
        assert (client.last_stream + 1) // 2 <= 200
    assert attack.closed == {"cancel": 1}
    check_cancelled(attack)


@pytest.mark.parametrize("form", attacks.MADE_RESETS)
def test_made_resets_are_closed_within_200_requests(gateway, gateway_attack, form):
    pairs = attacks.made_resets(form, requests_of(gateway)["predictions"])
    with gateway_attack() as attack:
        client = h2raw.H2(gateway.address)
        client.pour(pairs)
    check_cancelled(attack)


# ---- HTTP/2: floods


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "not reading"])
@pytest.mark.parametrize("kind", attacks.FLOODS)
def test_a_flood_is_closed_within_its_budget(gateway, gateway_attack, kind, reads):
    flood = attacks.FLOODS[kind] * 100000
    with gateway_attack() as attack:
        client = h2raw.H2(gateway.address)
        assert client.get(3, "/v2/health/live") == 200
        if "DATA" in kind:
            client.send(request(5, "/v1/regression", "POST", gateway.bearer(gateway.key("attacker")), end=False))
        if reads:
            client.pour(flood)
            assert client.goaway in (None, (CALM, "too many control frames"))
        else:
            assert client.flood(attacks.FLOODS[kind] * 1000, 1000) < 1000
            client.close()
    assert attack.closed == {"control": 1} and attack.requests == 1


# ---- bodies


def strangers(gateway):
    """Heads of requests whose bodies nobody wants. name -> (path, method, fields, status)"""
    good = gateway.bearer(gateway.key("attacker"))
    wrong = gateway.bearer(with_another_secret(gateway.key("attacker")))
    return {
        "no key": ("/v1/regression", "POST", [], 401),
        "no key, in short frames": ("/v1/regression", "POST", [], 401),
        "no key, the length declared": ("/v1/regression", "POST", [("content-length", str(8 << 20))], 401),
        "not a key": ("/v1/regression", "POST", gateway.bearer("nonsense"), 401),
        "a wrong secret": ("/v2/models/diabetes/infer", "POST", wrong, 401),
        "an unknown path": ("/v1/nothing", "POST", good, 404),
        "a wrong method": ("/v1/regression", "PUT", good, 405),
        "a route without a body": ("/v2/health/live", "GET", [], 200),
    }


STRANGERS = ["no key", "no key, in short frames", "no key, the length declared", "not a key", "a wrong secret", "an unknown path", "a wrong method",
             "a route without a body"]


@pytest.mark.parametrize("who", STRANGERS)
def test_endless_bodies_of_strangers_are_answered_at_once_and_closed(gateway, gateway_attack, who):
    path, method, fields, status = strangers(gateway)[who]
    size = 4000 if "short" in who else 16384
    bodies = attacks.endless_bodies(lambda s: request(s, path, method, fields, end=False), size)
    with gateway_attack() as attack:
        client = h2raw.H2(gateway.address)
        client.pour(bodies)
    assert attack.requests <= 100 and attack.billed == 0
    assert sum(attack.closed.values()) == 1
    assert set(client.status.values()) <= {status}


def test_endless_bodies_on_the_admin_listener_are_answered_at_once_and_closed(gateway, gateway_attack):
    bodies = attacks.endless_bodies(lambda s: request(s, "/admin/v1/tenants", "POST", end=False))
    with gateway_attack() as attack:
        client = h2raw.H2(("127.0.0.1", gateway.place.admin_port))
        client.pour(bodies)
    assert sum(attack.closed.values()) == 1 and set(client.status.values()) <= {401}


def test_endless_bodies_of_a_tenant_take_the_configured_bytes_at_most(gateway, gateway_attack):
    fields = gateway.bearer(gateway.key("attacker"))
    bodies = attacks.endless_bodies(lambda s: request(s, "/v1/regression", "POST", fields, end=False))
    with gateway_attack(memory_max=BODIES_MAX) as attack:
        client = h2raw.H2(gateway.address)
        client.pour(bodies)
    assert client.goaway in (None, (CALM, "too many request bodies in flight"))
    assert attack.closed == {"body": 1} and set(client.status.values()) <= {503}


@pytest.mark.parametrize("who", ["no key", "a wrong secret", "an unknown path"])
@pytest.mark.parametrize("framing", ["a length", "chunked"])
def test_an_endless_body_over_http1_is_answered_at_once_and_closed(gateway, gateway_attack, who, framing):
    path, method, fields, status = strangers(gateway)[who]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    lines += "Transfer-Encoding: chunked\r\n" if framing == "chunked" else f"Content-Length: {8 << 20}\r\n"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n".encode()
    body = (b"4000\r\n" + b"x" * 16384 + b"\r\n" if framing == "chunked" else b"x" * 16384) * 511
    with gateway_attack() as attack:
        outcome, answer = h2raw.H1(gateway.address).pour(head + body)
    assert outcome.closed and outcome.sent < len(body)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 %d " % status)  # the reset may overtake it
    assert attack.requests == 1 and attack.answers["4xx"] == 1


def large_prediction(rows):
    """A batch of the Open Inference Protocol whose answer is three times its size."""
    data = ",".join(["1"] * (10 * rows))
    return b'{"inputs":[{"name":"features","datatype":"FP64","shape":[%d,10],"data":[%s]}]}' % (rows, data.encode())


@pytest.mark.parametrize("protocol", ["HTTP/1", "HTTP/2"])
def test_a_long_body_waits_while_its_key_is_looked_up(gateway, protocol):
    """The gate of a new process knows no key yet, and loses nothing of a body for that."""
    gateway.renew()
    body, key = large_prediction(9000), gateway.key("honest")
    for _ in range(4):  # both loops
        if protocol == "HTTP/1":
            client = h2raw.H1(gateway.address)
            client.send(gateway.inference_h1(key, "/v2/models/diabetes/infer", body))
            status, answer = client.read_answer()
        else:
            client = h2raw.H2(gateway.address)
            client.send(gateway.inference(1, key, "/v2/models/diabetes/infer", body))
            status, answer = client.wait(1), client.body[1]
        assert status == 200 and answer.count(b",") > 9000
        client.close()


# ---- readers that stop


def test_readers_that_stop_are_closed_after_20_seconds(gateway, gateway_attack):
    """All at once, as each takes the default of connections.write_stall_ms."""
    key, path, body = gateway.key("attacker"), "/v2/models/diabetes/infer", large_prediction(100)
    many = b"".join(gateway.inference(s, key, path, body) for s in range(1, 201, 2))
    with gateway_attack(pause=0.05) as attack:
        start = time.monotonic()
        no_window = h2raw.H2(gateway.address, settings(4, 0))
        no_window.send(many)
        time.sleep(0.5)
        attack.check_memory("HTTP/2 without a window")
        deaf = h2raw.H2(gateway.address, settings(4, 0x7FFFFFFF), receive_buffer=4096)
        deaf.send(frame(WINDOW_UPDATE, 0, 0, b"\x7f\x00\x00\x00") + many)
        time.sleep(0.5)
        attack.check_memory("HTTP/2 that does not read")
        deaf_h1 = h2raw.H1(gateway.address)
        deaf_h1.sock.settimeout(0.5)
        with pytest.raises(socket.timeout):
            deaf_h1.sock.sendall(gateway.inference_h1(key, path, body) * 2000)
        attack.check_memory("HTTP/1 that does not read")
        drops = h2raw.H2(gateway.address, settings(4, 1))
        drops.send(gateway.inference(1, key, path, large_prediction(10)))
        with pytest.raises(Closed):
            while time.monotonic() < start + 40:
                drops.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"))
                time.sleep(0.1)
        gateway.place.until(lambda: gateway.metrics()["maas_guard_closed_stall_total"] == 4, 10)
        print(f"closed after {time.monotonic() - start:.1f} s")
    assert attack.closed == {"stall": 4}
    for client in (no_window, deaf, drops, deaf_h1):
        client.close()


def test_large_answers_that_are_not_read_take_the_configured_bytes_at_most(gateway, gateway_attack):
    key, body = gateway.key("attacker"), large_prediction(9000)
    many = b"".join(gateway.inference(s, key, "/v2/models/diabetes/infer", body) for s in range(1, 201, 2))
    with gateway_attack(memory_max=BODIES_MAX + ANSWERS_MAX) as attack:
        client = h2raw.H2(gateway.address, settings(4, 0))
        client.pour(many)
    assert attack.closed == {"stall": 1} and attack.billed > 20


# ---- HTTP/1: framing


EXACTLY_ONE = ("two lengths", "a list of lengths", "length and chunked", "chunked and length", "chunked twice", "a folded",
               "a bare LF", "no Host", "two Hosts")


@pytest.mark.parametrize("how", attacks.bad_framing(b"/"))
def test_bad_framing_is_400_and_exactly_one_request_is_seen(gateway, how):
    key = gateway.key("attacker")
    before = gateway.metrics()
    client = h2raw.H1(gateway.address)
    bearer = f"Authorization: Bearer {key}\r\n".encode()
    client.send(attacks.bad_framing(b"/v1/regression", bearer)[how] + gateway.inference_h1(key))
    answer = client.read_all()
    after = gateway.metrics()
    seen = {name: after[name] - before[name] for name in after}
    requests = seen["maas_requests_total"] - 1  # the scrape
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1 and b"connection: close" in answer.lower(), answer
    assert requests <= 1 and seen['maas_answers_total{status="4xx"}'] == requests
    assert requests == 1 or not how.startswith(EXACTLY_ONE)
    assert seen['maas_answers_total{status="2xx"}'] == 0 and seen["maas_guard_closed_framing_total"] == 1
