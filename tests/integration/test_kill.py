"""kill -9 of the gateway under load, on the release build: back within a second, and what was delivered is billed once."""
import http.client
import json
import os
import signal
import ssl
import threading
import time

ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]
BODY = json.dumps({"model": "diabetes", "features": ROW})
CLIENTS, KILLS, BETWEEN = 8, 4, 1.2


class Client(threading.Thread):
    """Sends one request after the other over a kept connection. delivered: whole answers of 200; unknown: sent, no whole answer."""

    def __init__(self, place, key):
        super().__init__()
        self.place, self.key = place, key
        self.delivered = self.unknown = 0
        self.refused = []
        self.ending = threading.Event()

    def connect(self):
        context = ssl.create_default_context(cafile=self.place.env["MAAS_CA"])
        return http.client.HTTPSConnection("localhost", self.place.port, context=context, timeout=10)

    def run(self):
        connection = self.connect()
        while not self.ending.is_set():
            sent = False
            try:
                connection.connect() if connection.sock is None else None
                sent = True
                connection.request("POST", "/v1/regression", BODY, {"authorization": f"Bearer {self.key}"})
                answer = connection.getresponse()
                answer.read()
                if answer.status == 200:
                    self.delivered += 1
                else:
                    self.refused.append(answer.status)
            except (OSError, http.client.HTTPException):
                self.unknown += sent
                connection.close()
                time.sleep(0.002)


def kill_and_time(place, key):
    """Seconds from the death of the gateway to the next prediction for a new client."""
    pid = place.pid_of("maas-gateway")
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    place.until(lambda: place.pid_of("maas-gateway") not in (None, pid), 20)
    place.until(lambda: place.request("POST", "/v1/regression", BODY, key=key, timeout=2)[0] == 200, 20)
    return time.monotonic() - killed


def test_kill_9_under_load_costs_a_second_at_most_and_no_bill_is_lost_or_doubled(release_place):
    place = release_place
    assert place.admin("POST", "/admin/v1/plans", {"name": "unlimited", "rate": 1000000, "window_ms": 1000, "burst": 1000000})[0] == 201
    assert place.admin("POST", "/admin/v1/tenants", {"slug": "killed", "plan": "unlimited"})[0] == 201
    key = place.admin("POST", "/admin/v1/tenants/killed/keys", {"name": "k", "scopes": ["infer:*", "usage:read"]})[2]["key"]
    place.until(lambda: place.request("POST", "/v1/regression", BODY, key=key)[0] == 200, 5)
    clients = [Client(place, key) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    took = []
    try:
        for _ in range(KILLS):
            time.sleep(BETWEEN)
            took.append(kill_and_time(place, key))
    finally:
        for client in clients:
            client.ending.set()
        for client in clients:
            client.join()
    delivered = 1 + KILLS + sum(c.delivered for c in clients)
    unknown = sum(c.unknown for c in clients)
    print(f"back after {', '.join(f'{t:.2f}' for t in took)} s; {delivered} delivered, {unknown} unknown")
    assert delivered > 50 * CLIENTS  # there was a load

    def billed():
        return sum(r["requests"] for r in place.request("GET", "/v1/usage", key=key)[2]["data"])

    place.until(lambda: billed() >= delivered, 30)
    time.sleep(1)
    assert delivered <= billed() <= delivered + unknown
    assert sorted(took)[KILLS // 2] < 1  # the median: one may meet a busy machine
