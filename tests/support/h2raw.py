"""Hand-written HTTP/2 and HTTP/1 over TLS, for attacks that no client library would send.

Only what the tests need: frames are bytes, header fields are HPACK literals, and of an answer's
header block only the status is read (libh2o writes it first). Nothing but the standard library.

OpenSSL's connections know one thread: whoever must read while it sends uses pour(), not a second thread.
"""

import select
import socket
import ssl
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STATIC_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def integer(value, prefix_bits, first=0):
    """An HPACK integer."""
    mask = (1 << prefix_bits) - 1
    if value < mask:
        return bytes([first | value])
    out = bytearray([first | mask])
    value -= mask
    while value >= 128:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    out.append(value)
    return bytes(out)


def field(name, value, indexed=False):
    """A literal field; indexed: put into the peer's dynamic table."""
    name, value = name.encode(), value.encode()
    first = b"\x40" if indexed else b"\x00"
    return first + integer(len(name), 7) + name + integer(len(value), 7) + value


def request_block(path="/", method="GET", extra=()):
    fields = [(":method", method), (":scheme", "https"), (":path", path), (":authority", "localhost")]
    return b"".join(field(n, v) for n, v in [*fields, *extra])


def request(stream, path="/", method="GET", extra=(), end=True):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, request_block(path, method, extra))


def tls_context(alpn):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def connect(address, alpn, timeout=5, receive_buffer=None):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(timeout)
    sock.connect(address)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return tls_context(alpn).wrap_socket(sock, server_hostname="localhost")


class Closed(Exception):
    """The server has closed the connection."""


# How Python says so. Anything else that goes wrong with a connection is a fault of the test, and is not caught.
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


def step(sock, data, take):
    """Reads and sends what goes without waiting, for at most 50 ms; returns how many bytes of `data` went."""
    readable, writable, _ = select.select([sock], [sock] if data else [], [], 0 if sock.pending() else 0.05)
    if readable or sock.pending():
        try:
            received = sock.recv(65536)
        except NOT_NOW:
            received = None
        if received == b"":
            raise Closed("end of stream")
        if received:
            take(received)
    if writable:
        try:
            return sock.send(data[:65536])
        except NOT_NOW:
            pass
    return 0


class Poured:
    """What became of pour(): bytes that went, whether the server closed, seconds in all and since the last byte went."""

    def __init__(self):
        self.sent, self.closed, self.start = 0, False, time.monotonic()
        self.last = self.start

    def end(self, closed):
        self.closed, now = closed, time.monotonic()
        self.seconds, self.seconds_to_close = now - self.start, now - self.last
        return self


def pour(sock, data, take, timeout=10):
    """Sends `data` while reading, until the server closes or `timeout` is over; take(bytes) gets what comes."""
    sock.setblocking(False)
    out, rest = Poured(), memoryview(data)
    while time.monotonic() - out.start < timeout:
        try:
            went = step(sock, rest[out.sent:], take)
        except (Closed, *CLOSED):
            return out.end(True)
        if went:
            out.sent, out.last = out.sent + went, time.monotonic()
    return out.end(False)


class H2:
    """One HTTP/2 connection. Frames are read into `frames`; `goaway` holds the last GOAWAY."""

    def __init__(self, address, settings=b"", timeout=5, receive_buffer=None, start=True):
        self.sock = connect(address, ["h2"], timeout, receive_buffer)
        assert self.sock.selected_alpn_protocol() == "h2"
        self.buffer = b""
        self.goaway = None
        self.resets = {}
        self.status = {}
        self.body = {}
        self.ended = set()
        self.credits = True  # answers get their flow control credit back
        if start:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except CLOSED as error:
            raise Closed(str(error)) from error

    def _note(self, kind, flags, stream, payload):
        if kind == GOAWAY:
            self.last_stream, code = struct.unpack(">II", payload[:8])
            self.goaway = (code, payload[8:].decode())
        elif kind == RST_STREAM:
            self.resets[stream] = struct.unpack(">I", payload)[0]
            self.ended.add(stream)
        elif kind == HEADERS:
            first = payload[0]
            self.status[stream] = STATIC_STATUS[first & 0x7F] if first & 0x80 else int(payload[2:5])
        elif kind == DATA:
            self.body.setdefault(stream, bytearray()).extend(payload)
            if payload and self.credits:
                credit = struct.pack(">I", len(payload))
                try:
                    self.send(frame(WINDOW_UPDATE, 0, 0, credit) + frame(WINDOW_UPDATE, 0, stream, credit))
                except Closed:
                    pass
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def read(self, timeout=5):
        """Reads some frames. Raises Closed at the end of the connection, socket.timeout when none comes."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(65536)
        except CLOSED as error:
            raise Closed(str(error)) from error
        if not data:
            raise Closed("end of stream")
        self.take(data)

    def take(self, data):
        """Frames out of what was received."""
        self.buffer += data
        while len(self.buffer) >= 9:
            length = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + length:
                break
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
            payload = self.buffer[9 : 9 + length]
            self.buffer = self.buffer[9 + length :]
            self._note(kind, flags, stream, payload)

    def wait(self, stream, timeout=5):
        """Reads until the stream has ended; returns its status (None: reset before one came)."""
        end = time.monotonic() + timeout
        while stream not in self.ended:
            self.read(max(0.01, end - time.monotonic()))
        return self.status.get(stream)

    def get(self, stream, path="/", **more):
        self.send(request(stream, path, **more))
        return self.wait(stream)

    def closed_after(self, timeout):
        """Seconds until the server closed; fails the test when it does not."""
        start = time.monotonic()
        while True:
            left = timeout - (time.monotonic() - start)
            assert left > 0, "the server did not close"
            try:
                self.read(left)
            except socket.timeout:
                continue
            except Closed:
                return time.monotonic() - start

    def pour(self, data, timeout=10):
        """Sends `data` while reading frames; fails the test when the server does not close."""
        self.credits = False
        out = pour(self.sock, data, self.take, timeout)
        assert out.closed, f"the server did not close; it took {out.sent} of {len(data)} bytes"
        self.sock.close()
        return out

    def flood(self, data, times, timeout=10):
        """Sends `data` again and again, reading nothing; returns how often until the server closed."""
        self.sock.settimeout(timeout)
        for i in range(times):
            try:
                self.send(data)
            except Closed:
                return i
        return times

    def close(self):
        self.sock.close()


class H1:
    """One HTTP/1.1 connection over TLS."""

    def __init__(self, address, timeout=5):
        self.sock = connect(address, ["http/1.1"], timeout)
        self.rest = b""  # of the next answer

    def send(self, data):
        try:
            self.sock.sendall(data)
        except CLOSED as error:
            raise Closed(str(error)) from error

    def pour(self, data, timeout=10):
        """Sends `data` while reading; returns what became of it and what was read."""
        answer = bytearray()
        return pour(self.sock, data, answer.extend, timeout), bytes(answer)

    def read_all(self, timeout=5):
        """Everything until the server closes; fails the test when it does not."""
        self.sock.settimeout(timeout)
        out = b""
        while True:
            try:
                data = self.sock.recv(65536)
            except socket.timeout as error:
                raise AssertionError(f"the server did not close after {out!r}") from error
            except CLOSED:
                return out
            if not data:
                return out
            out += data

    def read_answer(self, timeout=5):
        """One answer with Content-Length: (status, body)."""
        self.sock.settimeout(timeout)
        out, self.rest = self.rest, b""
        while b"\r\n\r\n" not in out:
            data = self.sock.recv(65536)
            if not data:
                raise Closed(repr(out))
            out += data
        head, body = out.split(b"\r\n\r\n", 1)
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, value = line.split(b":", 1)
            if name.lower() == b"content-length":
                length = int(value)
        while len(body) < length:
            data = self.sock.recv(65536)
            if not data:
                raise Closed(repr(out))
            body += data
        self.rest = body[length:]
        return int(head.split()[1]), body[:length]

    def close(self):
        self.sock.close()
