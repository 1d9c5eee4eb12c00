"""The gate: whose body is let in before the handler has seen the request. What x-gate says is in guarded_server.c."""

import signal
import socket
import time

import h2raw
import pytest
from h2raw import DATA, END_STREAM, Closed, frame, request

LONG = b"x" * 300000


def post_h1(way, body, fields=b""):
    return b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Gate: %s\r\n%sContent-Length: %d\r\n\r\n%s" % (way.encode(), fields, len(body), body)


def chunked_h1(way, body):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 10000]), body[i : i + 10000]) for i in range(0, len(body), 10000))
    return b"POST /echo HTTP/1.1\r\nHost: a\r\nX-Gate: %s\r\nTransfer-Encoding: chunked\r\n\r\n%s0\r\n\r\n" % (way.encode(), chunks)


def post_h2(stream, way, body, declare):
    fields = [("x-gate", way)] + ([("content-length", str(len(body)))] if declare else [])
    out = request(stream, "/echo", "POST", fields, end=False)
    for at in range(0, len(body), 16384):
        out += frame(DATA, END_STREAM if at + 16384 >= len(body) else 0, stream, body[at : at + 16384])
    return out


class Asker:
    """Sends one request with a body over a protocol; returns (status, body) of the answer."""

    def __init__(self, address, how):
        self.how = how
        self.client = (h2raw.H1 if "HTTP/1" in how else h2raw.H2)(address)
        self.stream = -1

    def send(self, way, body):
        if "chunked" in self.how:
            self.client.send(chunked_h1(way, body))
        elif "HTTP/1" in self.how:
            self.client.send(post_h1(way, body))
        else:
            self.stream += 2
            self.client.send(post_h2(self.stream, way, body, "declared" in self.how))

    def ask(self, way, body):
        self.send(way, body)
        if "HTTP/1" in self.how:
            return self.client.read_answer()
        status = self.client.wait(self.stream)
        return status, self.client.body[self.stream]


HOWS = ["HTTP/1", "HTTP/1 chunked", "HTTP/2", "HTTP/2 declared"]


@pytest.mark.parametrize("how", HOWS)
def test_short_bodies_are_not_asked_about(target, how):
    asker = Asker(target.address, how)
    for _ in range(3):
        assert asker.ask("open", b"y" * 4096) == (200, b"y" * 4096)
    assert target.counts()["asked"] == (3 if "chunked" in how else 0)  # how long a chunked body will be nobody knows


@pytest.mark.parametrize("how", HOWS)
def test_long_bodies_are_asked_about_once(target, how):
    asker = Asker(target.address, how)
    for i in range(3):
        assert asker.ask("open", LONG) == (200, LONG)
        assert target.counts()["asked"] == i + 1


@pytest.mark.parametrize("how", HOWS)
def test_a_shut_gate_lets_the_handler_refuse(target, how):
    asker = Asker(target.address, how)
    try:
        assert asker.ask("shut", LONG) == (401, b"withheld")
    except (Closed, ConnectionError):
        assert "HTTP/1" in how  # a reset that overtook the answer: the client was still sending
    assert target.counts()["seen"] == 1
    if "HTTP/2" in how:
        assert asker.ask("open", LONG) == (200, LONG)  # the connection lives on


def test_a_shut_gate_is_told_before_the_body_comes(target):
    client = h2raw.H2(target.address)
    client.send(request(1, "/echo", "POST", [("x-gate", "shut"), ("content-length", "5000")], end=False))
    assert client.wait(1) == 401
    old = h2raw.H1(target.address)
    old.send(post_h1("shut", LONG, b"Expect: 100-continue\r\n")[: -len(LONG)])
    answer = old.read_all()
    assert answer.startswith(b"HTTP/1.1 401 ") and b"connection: close" in answer.lower()


def test_nothing_behind_a_shut_gate_is_read_as_a_request(target):
    client = h2raw.H1(target.address)
    client.send(post_h1("shut", b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 200))
    assert client.read_all().count(b"HTTP/1.1 ") <= 1
    assert target.counts()["seen"] == 1


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("way", ["later-open", "later-shut"])
def test_a_gate_that_knows_later_keeps_the_body_waiting(target, how, way):
    asker = Asker(target.address, how)
    if way == "later-open":
        for _ in range(3):
            assert asker.ask(way, LONG) == (200, LONG)
        assert 5 <= target.counts()["asked"] <= 15  # over HTTP/2 a body may be complete before it is asked again
        return
    try:
        assert asker.ask(way, LONG) == (401, b"withheld")
    except (Closed, ConnectionError):
        assert "HTTP/1" in how
    assert target.counts()["asked"] == 5


@pytest.mark.parametrize("how", HOWS)
def test_a_gate_that_does_not_get_to_know_is_shut_after_a_second(target, how):
    asker = Asker(target.address, how)
    start = time.monotonic()
    try:
        assert asker.ask("never", LONG) == (401, b"withheld")
    except (Closed, ConnectionError):
        assert "HTTP/1" in how
    assert 0.9 < time.monotonic() - start < 3
    assert target.counts()["seen"] == 1


@pytest.mark.parametrize("how", HOWS)
def test_while_a_body_waits_nothing_is_read(target, how):
    """What fits into the buffers of the two kernels leaves the client, and no more."""
    asker = Asker(target.address, how)
    asker.client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    asker.client.sock.settimeout(0.5)
    with pytest.raises(socket.timeout):
        asker.send("never", b"x" * 4000000)


def test_another_stream_goes_on_while_a_body_waits(target):
    client = h2raw.H2(target.address)
    client.send(request(1, "/slow?100") + post_h2(3, "never", LONG, False)[:40000])
    start = time.monotonic()
    assert client.wait(1) == 200
    assert time.monotonic() - start < 0.8


@pytest.mark.parametrize("how", HOWS)
def test_a_client_that_leaves_while_its_body_waits_costs_nothing(target, how):
    for _ in range(5):
        asker = Asker(target.address, how)
        asker.client.sock.setblocking(False)
        try:
            asker.send("never", LONG)
        except (OSError, Closed):
            pass
        time.sleep(0.05)
        asker.client.close()
    end = time.monotonic() + 5
    while target.counts()["connections"] > 1:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("how", HOWS)
def test_a_drain_ends_while_a_body_waits(start_server, how):
    target = start_server()
    asker = Asker(target.address, how)
    asker.send("never", LONG[:40000])
    time.sleep(0.1)
    target.process.send_signal(signal.SIGTERM)
    assert target.process.wait(timeout=5) == 0
