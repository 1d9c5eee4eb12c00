"""keys.py: the keys of the bench, made through the admin API; and how often Redis is asked when many keys are at work.

1,000 keys at 100 requests a second each are 100,000 requests a second: no stock load generator gives each request
another key, hence maas-bench-keys (keys.c).
"""
import http.client
import json
import os
import re
import ssl
import subprocess

from load import BenchError, OTHER_CPU

BENCH_PLAN = {"name": "bench", "rate": 100000000, "window_ms": 1000, "burst": 100000000}
KEYS_PLAN = {"name": "bench-keys", "rate": 200, "window_ms": 1000, "burst": 200}
KEYS, RATE = 1000, 100


class Admin:
    """The admin API over one kept connection: a thousand keys are a thousand calls."""

    def __init__(self, env):
        host, port = re.sub(r"^https://", "", env["MAAS_ADMIN_URL"]).split(":")
        context = ssl.create_default_context(cafile=env["MAAS_CA"])
        self.connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=30)
        self.headers = {"authorization": f"Bearer {env['MAAS_ADMIN_TOKEN']}", "content-type": "application/json"}

    def post(self, path, body, *allowed):
        """The answer, when its status is one of `allowed`."""
        self.connection.request("POST", path, json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        if answer.status not in allowed:
            raise BenchError(f"POST {path}: HTTP {answer.status}: {text}")
        return json.loads(text)


def tenant_on_plan(admin, slug, plan):
    admin.post("/admin/v1/plans", plan, 200, 201, 409)
    admin.post("/admin/v1/tenants", {"slug": slug, "name": slug, "plan": plan["name"]}, 200, 201, 409)


def new_key(admin, slug, name):
    return admin.post(f"/admin/v1/tenants/{slug}/keys", {"name": name, "scopes": ["infer:*", "usage:read"]}, 200, 201)["key"]


def use_bench_key(gateway):
    """A key that is never refused, so that only answers of 200 are measured."""
    admin = Admin(gateway.env)
    tenant_on_plan(admin, "bench", BENCH_PLAN)
    key = new_key(admin, "bench", "bench")
    gateway.headers = ["content-type: application/json", f"authorization: Bearer {key}"]


def many_keys(gateway, folder):
    """The keys of this scenario, kept in a file for the next run."""
    path = f"{folder}/bench-keys"
    if not os.path.exists(path):
        admin = Admin(gateway.env)
        tenant_on_plan(admin, "bench-keys", KEYS_PLAN)
        keys = [new_key(admin, "bench-keys", f"key {i}") for i in range(KEYS)]
        with open(os.open(path + ".new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write("\n".join(keys) + "\n")
        os.rename(path + ".new", path)
    return path


def redis_counts(gateway):
    """(round trips, commands inside scripts) so far, as Redis itself counts them, without our own INFO."""
    with open(f"{gateway.folder}/place") as file:
        place = dict(line.rstrip("\n").split("=", 1) for line in file if "=" in line)
    done = subprocess.run(["redis-cli", "-s", f"{place['SOCKETS']}/redis/redis.sock", "INFO", "commandstats"], capture_output=True, text=True)
    calls = [(name, int(n)) for name, n in re.findall(r"cmdstat_(\w+)[^:]*:calls=(\d+)", done.stdout)]
    sent = ("evalsha", "eval", "ping", "script")  # all that the gateway sends; the rest is called by its scripts
    inside = ("get", "set", "hget", "hset", "time")
    return tuple(sum(n for name, n in calls if name in kind) for kind in (sent, inside))


def drive(gateway, keys_file, keys, seconds):
    """Steady load with `keys` keys at RATE each: what maas-bench-keys said, and Redis' counts meanwhile."""
    gateway.settle()
    used = keys_file + ".used"
    with open(keys_file) as file, open(os.open(used, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as out:
        out.writelines(file.readlines()[:keys])
    host, path = re.sub(r"^https://", "", gateway.url).split("/", 1)
    before = redis_counts(gateway)
    done = subprocess.run(["taskset", "-c", OTHER_CPU, f"{gateway.build}/bin/maas-bench-keys", host.rsplit(":", 1)[1], "/" + path,
                           gateway.body_file, used, str(keys * RATE), str(seconds)], capture_output=True, text=True, timeout=180)
    calls, inside = (now - then for now, then in zip(redis_counts(gateway), before))
    said = {name: float(value) for name, value in re.findall(r"(\w+)=([0-9.]+)", done.stdout)}
    if done.returncode or not said.get("ok"):
        raise BenchError(f"maas-bench-keys: {done.stderr.strip() or done.stdout.strip()}")
    said["calls_per_request"] = calls / (said["ok"] + said["refused"])
    said["commands_per_request"] = inside / (said["ok"] + said["refused"])
    print(f"  {keys} keys, {RATE}/s offered to each: {said['ok']:.0f} answered, {said['refused']:.0f} refused, {said['late']:.0f} not sent in "
          f"time, {said['rate']:.0f} requests/s, {said['calls_per_request']:.4f} Redis calls a request "
          f"({said['commands_per_request']:.4f} commands inside its scripts)", flush=True)
    return said


def redis_calls(gateway, quick):
    """1,000 keys; and where this machine cannot serve 100,000 requests a second, as many keys as it can at RATE each."""
    seconds, keys = (4 if quick else 20), KEYS
    keys_file = many_keys(gateway, gateway.folder)
    drive(gateway, keys_file, KEYS, 1)  # so that each key was looked up once
    said = drive(gateway, keys_file, keys, seconds)
    out = {f"keys_{keys}.{name}": round(said[name], 4) for name in ("rate", "refused", "late", "calls_per_request", "commands_per_request")}
    if said["late"] > 0.05 * KEYS * RATE * seconds:
        keys = max(1, int(said["rate"] / RATE * 0.6))
        said = drive(gateway, keys_file, keys, seconds)
    out.update({"keys_at_100_per_s.keys": keys, "keys_at_100_per_s.calls_per_request": round(said["calls_per_request"], 4),
                "keys_at_100_per_s.commands_per_request": round(said["commands_per_request"], 4),
                "keys_at_100_per_s.refused": said["refused"]})
    return out
