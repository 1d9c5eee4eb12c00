"""Slow clients: every wait has a deadline. And the polite ends: age, drain."""

import signal
import socket
import time

import h2raw
import pytest
from h2raw import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Closed, frame, request


def closed_by(sock, seconds):
    """Seconds until the peer closed."""
    start = time.monotonic()
    sock.settimeout(seconds)
    try:
        while sock.recv(4096):
            pass
    except socket.timeout as error:
        raise AssertionError("the server did not close") from error
    except OSError:
        pass
    return time.monotonic() - start


@pytest.fixture
def quick(start_server):
    return start_server(header_timeout_ms=500, body_timeout_ms=800, idle_timeout_ms=1000, write_stall_ms=1000)


def test_a_handshake_that_does_not_come_is_closed(quick):
    sock = socket.create_connection(quick.address)
    assert 0.4 < closed_by(sock, 3) < 1.0


def test_a_handshake_in_drops_is_closed(quick):
    sock = socket.create_connection(quick.address)
    start = time.monotonic()
    with pytest.raises(OSError):
        for byte in b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100:
            sock.sendall(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - start < 1.5


def test_a_connection_without_a_request_is_closed(quick):
    assert 0.4 < closed_by(h2raw.H1(quick.address).sock, 3) < 1.0
    assert 0.4 < closed_by(h2raw.H2(quick.address, start=False).sock, 3) < 1.0


def test_a_header_in_drops_is_closed(quick):
    client = h2raw.H1(quick.address)
    start = time.monotonic()
    with pytest.raises(Closed):
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100:
            client.send(bytes([byte]))
            time.sleep(0.02)
    assert time.monotonic() - start < 1.5
    assert quick.counts()["stall"] == 1


def test_a_header_block_without_end_is_closed(quick):
    client = h2raw.H2(quick.address)
    client.send(frame(HEADERS, END_STREAM, 1, h2raw.request_block()))
    assert client.closed_after(2) < 1.0
    assert client.goaway[1] == "header not complete in time"


def test_a_frame_in_drops_is_closed(quick):
    client = h2raw.H2(quick.address)
    assert client.get(1) == 200
    start = time.monotonic()
    with pytest.raises(Closed):
        for byte in request(3, extra=[("x", "y" * 1000)]):
            client.send(bytes([byte]))
            time.sleep(0.02)
    assert time.monotonic() - start < 1.5


def test_a_body_without_end_is_closed(quick):
    client = h2raw.H1(quick.address)
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
    assert 0.7 < closed_by(client.sock, 3) < 1.5


def test_an_http2_body_without_end_is_closed(quick):
    client = h2raw.H2(quick.address)
    client.send(request(1, "/echo", "POST", end=False))
    start = time.monotonic()
    with pytest.raises(Closed):
        for _ in range(100):
            client.send(frame(DATA, 0, 1, b"x"))
            try:
                client.read(0.05)
            except socket.timeout:
                pass
    assert 0.7 < time.monotonic() - start < 1.5
    assert client.goaway[1] == "body not complete in time"


@pytest.mark.parametrize("protocol", ["HTTP/1", "HTTP/2"])
def test_a_body_slower_than_the_least_rate_is_closed_after_5_s(start_server, protocol):
    target = start_server(body_min_rate=1000)
    if protocol == "HTTP/1":
        client = h2raw.H1(target.address)
        client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        drop = b"x" * 50
    else:
        client = h2raw.H2(target.address)
        client.send(request(1, "/echo", "POST", end=False))
        drop = frame(DATA, 0, 1, b"x" * 50)
    start = time.monotonic()
    with pytest.raises(Closed):
        for _ in range(200):
            client.send(drop)
            time.sleep(0.1)
    assert 4.9 < time.monotonic() - start < 7.5


def test_a_body_at_a_good_rate_is_not_closed(start_server):
    target = start_server(body_min_rate=1000)
    client = h2raw.H1(target.address)
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 12000\r\n\r\n")
    for _ in range(60):
        client.send(b"x" * 200)
        time.sleep(0.1)
    assert client.read_answer() == (200, b"x" * 12000)
    client.close()


def test_an_idle_connection_is_closed(quick):
    old = h2raw.H1(quick.address)
    old.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert old.read_answer()[0] == 200
    new = h2raw.H2(quick.address)
    assert new.get(1) == 200
    assert 0.9 < closed_by(old.sock, 3) < 1.6
    assert new.closed_after(2) < 1
    assert new.goaway == (0, "idle")


def test_a_request_under_way_is_not_idle(quick):
    client = h2raw.H2(quick.address)
    assert client.get(1, "/slow?1800") == 200
    old = h2raw.H1(quick.address)
    old.send(b"GET /slow?1800 HTTP/1.1\r\nHost: a\r\n\r\n")
    assert old.read_answer()[0] == 200


def test_an_old_connection_is_asked_to_leave_and_finishes_its_requests(start_server):
    target = start_server(connection_age_ms=1000)
    client = h2raw.H2(target.address)
    client.send(request(1, "/slow?2000"))
    assert client.wait(1) == 200
    assert client.goaway == (0, "leaving")
    assert client.closed_after(2) < 1
    old = h2raw.H1(target.address)
    old.send(b"GET /slow?1500 HTTP/1.1\r\nHost: a\r\n\r\n")
    answer = old.read_all()
    assert b" 200 " in answer and b"Connection: close" in answer


def test_connections_past_the_limit_are_closed(start_server):
    target = start_server(connections_max=3)
    kept = [h2raw.H2(target.address) for _ in range(3)]
    with pytest.raises(OSError):
        h2raw.H2(target.address)
    assert all(client.get(1) == 200 for client in kept)
    kept.pop().close()
    time.sleep(0.2)
    assert h2raw.H2(target.address).get(1) == 200


def test_a_drain_finishes_requests_and_closes_idle_connections(start_server):
    target = start_server()
    client, old, idle = h2raw.H2(target.address), h2raw.H1(target.address), h2raw.H1(target.address)
    client.send(request(1, "/slow?600"))
    old.send(b"GET /slow?600 HTTP/1.1\r\nHost: a\r\n\r\n")
    idle.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert idle.read_answer()[0] == 200
    time.sleep(0.2)
    target.process.send_signal(signal.SIGTERM)
    assert closed_by(idle.sock, 1) < 0.3
    assert client.wait(1) == 200
    assert b" 200 " in old.read_all()
    assert target.process.wait(timeout=3) == 0


def test_a_drain_waits_for_a_body_that_is_on_its_way(start_server):
    target = start_server()
    client = h2raw.H2(target.address)
    client.send(request(1, "/echo", "POST", end=False) + frame(DATA, 0, 1, b"hello "))
    time.sleep(0.1)
    target.process.send_signal(signal.SIGTERM)
    time.sleep(0.6)
    client.send(frame(DATA, END_STREAM, 1, b"world"))
    assert client.wait(1) == 200 and client.body[1] == b"hello world"
    assert target.process.wait(timeout=3) == 0


def test_a_drain_ends_in_time_whatever_clients_do(start_server):
    target = start_server()
    client, old = h2raw.H2(target.address), h2raw.H1(target.address)
    client.send(request(1, "/slow?60000"))
    old.send(b"GET /slow?60000 HTTP/1.1\r\nHost: a\r\n\r\n")
    stuck = socket.create_connection(target.address)
    time.sleep(0.2)
    start = time.monotonic()
    target.process.send_signal(signal.SIGTERM)
    assert target.process.wait(timeout=5) == 0
    assert 0.9 < time.monotonic() - start < 2.5
    stuck.close()


def test_a_continuation_during_a_drain_does_not_hang_the_loop(start_server):
    """libh2o 2.2.5 loops for ever on CONTINUATION once it has sent its last GOAWAY."""
    target = start_server(connection_age_ms=600)
    client = h2raw.H2(target.address)
    client.send(frame(HEADERS, END_STREAM, 1, h2raw.request_block()))
    time.sleep(1.2)
    try:
        client.send(frame(CONTINUATION, END_HEADERS, 1, h2raw.field("x", "y")))
    except Closed:
        pass
    other = h2raw.H2(target.address)
    assert other.get(1) == 200
    target.process.send_signal(signal.SIGTERM)
    assert target.process.wait(timeout=4) == 0


def test_tls_offers_resumption_and_no_old_versions(start_server):
    import ssl

    target = start_server()
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = h2raw.tls_context(["http/1.1"])
        context.minimum_version = context.maximum_version = version
        session = None
        for expected in (False, True):
            sock = context.wrap_socket(socket.create_connection(target.address), server_hostname="localhost",
                                       session=session)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            sock.recv(1000)
            assert sock.session_reused == expected
            session = sock.session
            sock.close()
    context = h2raw.tls_context(["spdy/1"])
    with pytest.raises(ssl.SSLError):
        context.wrap_socket(socket.create_connection(target.address), server_hostname="localhost")


def test_a_reload_serves_the_new_certificate_and_keeps_connections(start_server, identity):
    import subprocess

    def served(address):
        sock = h2raw.connect(address, ["http/1.1"])
        der = sock.getpeercert(binary_form=True)
        sock.close()
        return der

    target = start_server()
    old = served(target.address)
    client = h2raw.H2(target.address)
    cert, key = identity
    saved = cert.read_bytes(), key.read_bytes()
    try:
        cert.write_bytes(b"not a certificate")
        target.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert served(target.address) == old
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                        "-days", "2", "-subj", "/CN=other", "-keyout", str(key), "-out", str(cert)],
                       check=True, capture_output=True)
        target.process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert served(target.address) != old
        assert client.get(1) == 200
    finally:
        cert.write_bytes(saved[0])
        key.write_bytes(saved[1])


def test_an_idle_connection_that_sends_pieces_of_tls_records_is_closed(quick):
    client = h2raw.H1(quick.address)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.read_answer()[0] == 200
    raw = socket.socket(fileno=client.sock.detach())
    start = time.monotonic()
    with pytest.raises(OSError):
        for byte in b"\x17\x03\x03\x40\x00" + b"\0" * 100:
            raw.sendall(bytes([byte]))
            time.sleep(0.1)
    assert time.monotonic() - start < 2
    raw.close()


def test_a_kept_connection_is_read_again_at_once_after_a_late_answer(start_server):
    """An answer that is given outside of the library's run must not leave the connection deaf until something wakes the loop."""
    target = start_server()
    client = h2raw.H1(target.address)
    start = time.monotonic()
    for _ in range(12):
        client.send(b"GET /slow?1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_answer()[0] == 200
    assert time.monotonic() - start < 2  # each would wait for the idle turn, half a second


def test_requests_in_a_pipeline_are_answered_in_order_while_one_is_worked_on(start_server):
    target = start_server()
    client = h2raw.H1(target.address)
    client.send(b"GET /slow?300 HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.1)  # while the first is worked on, reading is stopped: nothing of these may reach its buffer
    body = b"x" * 100000
    client.send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    client.send(b"GET /find?host HTTP/1.1\r\nHost: last\r\n\r\n")
    answers = [client.read_answer() for _ in range(3)]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert answers[1][1] == body and answers[2][1] == b"last"


def test_a_client_that_leaves_while_its_request_is_worked_on_costs_nothing(start_server):
    target = start_server()
    for ending in (lambda c: c.close(), lambda c: c.sock.unwrap(), lambda c: c.sock.shutdown(socket.SHUT_WR)):
        client = h2raw.H1(target.address)
        client.send(b"GET /slow?300 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(0.1)
        client.sock.settimeout(0.05)
        try:
            ending(client)
        except OSError:
            pass
    before = target.cpu()
    time.sleep(0.6)
    other = h2raw.H1(target.address)
    other.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert other.read_answer()[0] == 200
    assert target.cpu() - before < 20  # hundredths of a second: a loop that polls a closed connection in vain would burn 50


def test_a_reader_that_stops_and_goes_on_sending_costs_no_cpu(start_server):
    """Level-triggered readiness of a connection whose answer is stuck must not keep the loop turning."""
    target = start_server(write_stall_ms=5000)
    client = h2raw.H1(target.address)
    client.send(b"GET /big?20000000 HTTP/1.1\r\nHost: a\r\n\r\n")
    time.sleep(0.3)
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    before = target.cpu()
    time.sleep(1)
    assert target.cpu() - before < 10  # hundredths of a second
    client.close()
