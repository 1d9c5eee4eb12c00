"""load.py: h2load runs, and the CPU time of what they load.

CPU time is user + system time of whole processes (/proc/PID/stat counts all threads, also those that ended), because
requests per second on two cores say more about the load generator than about the server.
"""
import os
import re
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
SERVER_CPU, OTHER_CPU = "0", "1"
# connections, streams a connection, HTTP/1.1
SHAPES = {"h2_16x32": (16, 32, False), "h2_64x1": (64, 1, False), "h1_64": (64, 1, True)}
CIPHER = "TLS_AES_128_GCM_SHA256"


class BenchError(Exception):
    pass


def cpu_seconds(pids):
    """User + system time of the processes; one that is gone is an error, its time would be lost."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICK


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def h2load(target, shape, requests):
    """Sends exactly `requests` POSTs and returns requests per second; any answer but 2xx is an error."""
    connections, streams, http1 = SHAPES[shape]
    command = ["taskset", "-c", OTHER_CPU, "h2load", "-n", str(requests), "-c", str(connections), "-m", str(streams),
               "-d", target.body_file, f"--tls13-ciphers={CIPHER}", *(["--h1"] if http1 else [])]
    for header in target.headers:
        command += ["-H", header]
    done = subprocess.run([*command, target.url], capture_output=True, text=True, timeout=300)
    good = re.search(r"(\d+) succeeded, (\d+) failed", done.stdout)
    rate = re.search(r"finished in [^,]*, ([0-9.]+) req/s", done.stdout)
    if not good or not rate or int(good.group(1)) != requests:
        codes = re.search(r"status codes:.*", done.stdout)
        raise BenchError(f"{target.name} {shape}: not all of {requests} requests were answered with 2xx: "
                         f"{codes.group(0) if codes else (done.stdout + done.stderr)[-300:]}")
    return float(rate.group(1))


def measure(target, shape, requests):
    """One round: {"rate": requests/s, "cpu_us": server CPU microseconds per request, "settle_s": until all was shipped}."""
    target.settle()
    pids = target.pids()
    before = cpu_seconds(pids)
    rate = h2load(target, shape, requests)
    ended = time.monotonic()
    target.settle()  # the gateway: until its usage is shipped
    settled = time.monotonic() - ended
    if target.pids() != pids:
        raise BenchError(f"{target.name} was restarted during a round")
    return {"rate": rate, "cpu_us": (cpu_seconds(pids) - before) / requests * 1e6, "settle_s": settled}


def calibrate(target, shape, seconds):
    """How many requests take about that long; also the warm-up."""
    requests = 2000
    while True:
        began = time.monotonic()
        rate = h2load(target, shape, requests)
        if time.monotonic() - began > 0.3:
            return max(2000, int(rate * seconds) // 64 * 64)
        requests *= 4
