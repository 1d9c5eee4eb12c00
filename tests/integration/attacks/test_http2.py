"""HTTP/2 attacks: each is closed within its budget, costs at most 4 MB, and harms nobody else."""

import struct
import time

import attacks
import h2raw
import pytest
from attacks import settings
from h2raw import DATA, END_STREAM, PING, PRIORITY, RST_STREAM, WINDOW_UPDATE, Closed, frame, request

CALM = 11  # ENHANCE_YOUR_CALM


def assert_calmed(client, target, counter, text):
    """Closed for this reason. The GOAWAY may be lost in the reset of a connection with unread input."""
    assert client.goaway in (None, (CALM, text))
    counts = target.counts()
    assert counts[counter] == 1


def test_a_header_bomb_is_closed_within_100_ms(target, attack):
    pings = frame(PING, 0, 0, b"12345678") * 100
    with attack(target):
        client = h2raw.H2(target.address)
        taken = client.pour(attacks.header_bomb(400 * 1024) + pings).seconds
    assert taken < (1.0 if target.sanitized else 0.1)
    counts = target.counts()
    assert counts["seen"] <= 2 and counts["headers"] >= 1  # two of the warm-up


def test_a_header_bomb_in_one_frame_is_closed_too(target, attack):
    with attack(target):
        client = h2raw.H2(target.address)
        client.pour(attacks.header_bomb(16000))
    assert_calmed(client, target, "headers", "too many header fields")


def test_a_header_block_a_little_too_large_is_answered_431(target):
    client = h2raw.H2(target.address)
    extra = [(f"x-{i}", "v") for i in range(150)]
    assert client.get(1, extra=extra) == 431
    assert client.get(3) == 200  # the connection lives on
    client.close()


def test_rapid_reset_is_closed_within_200_requests(target, attack):
    pairs = attacks.cancelled(lambda s: request(s, "/slow?1000"))
    before = target.counts()
    with attack(target):
        client = h2raw.H2(target.address)
        client.pour(pairs)
    assert_calmed(client, target, "cancel", "too many cancelled requests")
    after = target.counts()
    assert after["seen"] - before["seen"] <= 200 + 2
    assert after["cancel"] == 1 and after["open"] == 1


@pytest.mark.parametrize("form", attacks.MADE_RESETS)
def test_made_resets_are_closed_within_200_requests(target, attack, form):
    pairs = attacks.made_resets(form, lambda s: request(s, "/slow?1000"))
    before = target.counts()
    with attack(target):
        client = h2raw.H2(target.address)
        client.pour(pairs)
    after = target.counts()
    assert after["seen"] - before["seen"] <= 200 + 2
    assert after["open"] == 1  # what was cancelled is not waited for


def test_bodies_of_the_wrong_length_count_as_cancelled(target, attack):
    pairs = b"".join(request(s, "/echo", "POST", [("content-length", "5")], end=False) + frame(DATA, END_STREAM, s, b"x")
                     for s in range(1, 20001, 2))
    with attack(target):
        client = h2raw.H2(target.address)
        client.pour(pairs)
    assert_calmed(client, target, "cancel", "too many cancelled requests")


def test_a_client_that_cancels_now_and_then_is_not_closed(target):
    client = h2raw.H2(target.address)
    for stream in range(1, 2400, 8):
        client.send(request(stream, "/slow?50") + frame(RST_STREAM, 0, stream, b"\0\0\0\x08"))
        for other in (stream + 2, stream + 4, stream + 6):
            assert client.get(other) == 200
    client.close()


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "not reading"])
@pytest.mark.parametrize("kind", attacks.FLOODS)
def test_a_flood_is_closed_within_its_budget(target, attack, kind, reads):
    with attack(target):
        client = h2raw.H2(target.address)
        assert client.get(3) == 200
        client.send(request(5, "/echo", "POST", end=False) if "DATA" in kind else b"")
        flood = attacks.FLOODS[kind]
        if reads:
            client.pour(flood * 100000)
            assert_calmed(client, target, "control", "too many control frames")
        else:
            assert client.flood(flood * 1000, 1000) < 1000
            client.close()
    counts = target.counts()
    assert counts["control"] == 1


def test_a_flood_of_continuations_is_closed(target, attack):
    with attack(target):
        client = h2raw.H2(target.address)
        client.pour(attacks.continuations(100000))
    assert_calmed(client, target, "headers", "too many CONTINUATION frames")


def test_control_frames_that_requests_explain_are_free(target):
    client = h2raw.H2(target.address)
    for stream in range(1, 1201, 2):
        client.send(frame(PRIORITY, 0, stream, struct.pack(">IB", 0, 7)) + request(stream))
        client.send(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x02") + frame(PING, 0, 0, b"12345678"))
        assert client.wait(stream) == 200
    client.close()


def test_a_large_download_may_update_its_window_often(target):
    client = h2raw.H2(target.address)
    assert client.get(1, "/big?30000000") == 200  # two updates a frame of 16 KiB or less
    assert len(client.body[1]) == 30000000
    client.close()


def test_endless_bodies_on_100_streams_are_closed(start_server, attack):
    # Bodies in flight are bounded per connection; 2 MB here, so that the 4 MB of the test can hold.
    target = start_server(body_in_flight_conn_max=2 * 1024 * 1024)
    with attack(target):
        client = h2raw.H2(target.address)
        # Window updates are not waited for: what the windows forbid is part of the attack.
        client.pour(attacks.endless_bodies(lambda s: request(s, "/echo", "POST", end=False)))
    assert_calmed(client, target, "body", "too many request bodies in flight")
    assert target.counts()["body"] == 1


def test_bodies_past_the_bound_of_a_connection_are_answered_503(start_server):
    target = start_server(body_in_flight_conn_max=200000)  # each byte counts twice
    client = h2raw.H2(target.address)
    for stream in (1, 3):
        client.send(request(stream, "/echo", "POST", end=False))
    for _ in range(4):
        client.send(frame(DATA, 0, 1, b"x" * 16000))
    for _ in range(4):
        client.send(frame(DATA, 0, 3, b"x" * 16000))
    assert client.wait(3) == 503
    client.send(frame(DATA, END_STREAM, 1, b""))
    assert client.wait(1) == 200 and len(client.body[1]) == 64000
    client.close()


@pytest.mark.parametrize("kind", ["TCP", "flow control"])
def test_a_reader_that_stops_is_closed(start_server, attack, kind):
    target = start_server(write_stall_ms=1000)
    with attack(target):
        if kind == "TCP":
            client = h2raw.H2(target.address, settings(4, 0x7FFFFFFF), receive_buffer=4096)
            client.send(frame(WINDOW_UPDATE, 0, 0, b"\x7f\x00\x00\x00"))
        else:
            client = h2raw.H2(target.address, settings(4, 0))
        client.send(b"".join(request(s, "/big?30000") for s in range(1, 201, 2)))
        wait_until(lambda: target.counts()["stall"] == 1, 4)
        wait_until(lambda: target.counts()["open"] == 1, 2)
    client.close()


@pytest.mark.parametrize("path", ["/big", "/late"])
def test_answers_past_the_bound_that_are_not_read_close_the_connection(start_server, path):
    target = start_server(answers_in_flight_conn_max=1000000)
    client = h2raw.H2(target.address, settings(4, 0))
    client.send(b"".join(request(s, path + "?30000") for s in range(1, 67, 2)))
    time.sleep(0.2)
    assert target.counts()["connections"] == 2  # 990,000 bytes are not too much
    client.send(request(67, path + "?30000"))
    assert client.closed_after(2) < 1
    assert_calmed(client, target, "stall", "answers are not being read")


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)


def test_a_reader_that_stops_answering_windows_with_one_byte_is_closed(start_server, attack):
    target = start_server(write_stall_ms=1000, body_min_rate=10000)
    with attack(target):
        client = h2raw.H2(target.address, settings(4, 1))
        client.send(request(1, "/big?20000"))
        end = time.monotonic() + 6
        with pytest.raises(Closed):
            while time.monotonic() < end:
                client.send(frame(WINDOW_UPDATE, 0, 1, b"\0\0\0\x01"))
                time.sleep(0.05)
    assert target.counts()["stall"] == 1


def test_a_body_larger_than_declared_allowed_is_answered_413_before_it_comes(target):
    client = h2raw.H2(target.address)
    client.send(request(1, "/echo", "POST", [("content-length", str(1 << 30))], end=False))
    assert client.wait(1) == 413
    assert b"body_too_large" in client.body[1] or client.body[1]
    assert client.get(3) == 200
    client.close()


def test_a_body_that_grows_past_the_limit_is_answered_413(start_server, attack):
    target = start_server(body_max=100000)
    with attack(target):
        client = h2raw.H2(target.address)
        client.send(request(1, "/echo", "POST", end=False))
        for _ in range(10):
            client.send(frame(DATA, 0, 1, b"x" * 16000))
        assert client.wait(1) == 413
        assert client.body[1] == b'{"error": "body_too_large"}'
        assert client.get(3) == 200
        client.close()


def test_a_condemned_request_whose_body_goes_on_is_reset(start_server):
    target = start_server(body_max=1000)
    client = h2raw.H2(target.address, settings(4, 0))  # the answer cannot leave
    client.send(request(1, "/echo", "POST", [("content-length", "10000000")], end=False))
    for _ in range(20):
        client.send(frame(DATA, 0, 1, b"x" * 16000))
        time.sleep(0.01)
    assert client.wait(1) == 413
    assert client.resets[1] in (5, CALM)
    assert client.body.get(1) is None
    client.close()


@pytest.mark.parametrize("path", ["nothing", "/a b", "/a\x01b", ""])
def test_a_malformed_target_is_refused(target, path):
    client = h2raw.H2(target.address)
    client.send(request(1, path))
    assert client.wait(1) == 400
    assert client.get(3) == 200
    client.close()


def test_a_client_that_leaves_is_told_to_the_handler(start_server):
    target = start_server()
    client = h2raw.H2(target.address)
    client.send(request(1, "/slow?5000") + request(3, "/slow?5000"))
    time.sleep(0.2)
    client.close()
    wait_until(lambda: target.counts()["gone"] == 2, 2)
    assert target.counts()["open"] == 1


def test_bytes_that_are_not_http2_are_closed(target):
    client = h2raw.H2(target.address, start=False)
    client.pour(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 3)


def test_a_reader_that_stops_after_an_error_does_not_fill_the_memory(target, attack):
    """The library would read on without end while its GOAWAY waits for the socket."""
    with attack(target):
        client = h2raw.H2(target.address, settings(4, 0x7FFFFFFF), receive_buffer=4096)
        client.send(frame(WINDOW_UPDATE, 0, 0, b"\x7f\x00\x00\x00"))
        client.send(b"".join(request(s, "/big?10000") for s in range(1, 201, 2)))
        time.sleep(0.3)
        client.send(frame(DATA, 0, 9999, b"x"))  # a connection error
        assert client.flood(frame(DATA, 0, 9999, b"x" * 16000) * 10, 1000, timeout=2) < 1000
        client.close()

