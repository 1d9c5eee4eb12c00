#!/usr/bin/env python3
"""run.py: the gateway beside bare libh2o and nginx, in interleaved rounds (scripts/bench calls it).

usage: run.py --build DIR --results DIR --work DIR --port N [--instance DIR] [--quick] [--check] [--workers]

The peers listen on N + 2 and N + 3. --workers: only the hand-over to workers. --instance is a folder of scripts/up, on N and N + 1; without it only the peers are compared, with a sample of the gateway's answer.
"""
import argparse
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import handover
import report
import keys
from load import BenchError, SHAPES, calibrate, measure
from servers import SAMPLE, Gateway, start_bare, start_nginx

PATH = "/v1/regression"
BODY = ('{"model":"diabetes","features":{"age":59,"sex":2,"bmi":32.1,"bp":101,"s1":157,"s2":93.2,"s3":38,"s4":4,'
        '"s5":4.8598,"s6":87}}')


def read_env(path):
    """The exports of a .maas/env file."""
    with open(path) as file:
        return dict(line[len("export "):].rstrip("\n").replace("'", "").split("=", 1) for line in file if line.startswith("export "))


def self_made_certificate(folder):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-keyout", f"{folder}/server.key", "-out", f"{folder}/server.pem"], check=True, capture_output=True)
    return folder


def compare(targets, quick):
    """Rounds are interleaved, so that a slow minute of the machine meets all servers."""
    rounds, seconds = (3, 1.5) if quick else (5, 5)
    results = {}
    for shape in SHAPES:
        counts = {t.name: calibrate(t, shape, seconds) for t in targets}
        for number in range(rounds):
            for target in targets[number % len(targets):] + targets[:number % len(targets)]:
                run = measure(target, shape, counts[target.name])
                results.setdefault((target.name, shape), []).append(run)
                print(f"  {shape} round {number + 1} {target.name}: {run['rate']:.0f} requests/s, {run['cpu_us']:.2f} us, settled after {run['settle_s']:.1f} s", flush=True)
    return report.medians(results), rounds, seconds


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    for name in ("--build", "--results", "--work", "--instance"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int, default=18443)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--workers", action="store_true")
    options = parser.parse_args()
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("bench: two cores are needed: the server has core 0 for itself, all else runs on core 1")
    os.sched_setaffinity(0, {1})
    work, targets, extra = options.work, [], {}
    if options.workers:
        good = report.write(options.results, {}, 0, 0, handover.figures(options.build, options.quick))
        sys.exit(0 if good or not options.check else 1)
    body_file = f"{work}/body.json"
    with open(body_file, "w") as file:
        file.write(BODY)
    try:
        gateway, answer = None, SAMPLE
        tls = f"{options.instance}/tls" if options.instance else self_made_certificate(work)
        if options.instance:
            gateway = Gateway(options.instance, read_env(f"{options.instance}/env"), PATH, body_file, options.build)
            keys.use_bench_key(gateway)
            answer = gateway.capture()
            targets.append(gateway)
        targets.append(start_bare(options.build, options.port + 2, tls, PATH, body_file, answer, work))
        nginx = start_nginx(options.port + 3, tls, PATH, body_file, answer, work)
        if nginx:
            targets.append(nginx)
        else:
            print("bench: nginx is not installed; it is left out")
        values, rounds, seconds = compare(targets, options.quick)
        if gateway:
            extra = keys.redis_calls(gateway, options.quick)
            extra.update(handover.figures(options.build, options.quick))
        if not report.write(options.results, values, rounds, seconds, extra) and options.check:
            sys.exit(1)
    except BenchError as error:
        sys.exit(f"bench: {error}")
    finally:
        for target in targets:
            target.stop()


if __name__ == "__main__":
    main()
