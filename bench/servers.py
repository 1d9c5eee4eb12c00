"""servers.py: the three servers side by side on core 0, one at a time under load: the gateway, bare libh2o, nginx.

All three get the same certificate, the same path and POST body, and send the same answer: the peers learn it from the
gateway. Headers that differ between two captures vary in the peers too.
"""
import os
import re
import shutil
import socket
import subprocess
import time

from load import BenchError, OTHER_CPU, SERVER_CPU, children

# Set by the servers themselves, not by the handler.
OWN_HEADERS = {"date", "server", "content-length", "connection", "alt-svc"}
# When there is no gateway to learn from (--peers): the shape of its answer.
SAMPLE = (200, [("content-type", "application/json", False), ("x-request-id", "018f3c2a9b5e7c31a4d2e6f708192a3b", True),
                ("ratelimit-policy", '"key";q=1000;w=1', False), ("ratelimit", '"key";r=998;t=1', True),
                ("server-timing", "queue;dur=0.012, compute;dur=0.034, overhead;dur=0.021", True)],
          b'{"prediction":206.11667747,"interval":[99.73,312.50],"model":"diabetes","version":"1"}')


def wait_port(port, process, name):
    for _ in range(100):
        if process.poll() is not None:
            raise BenchError(f"{name} ended at once with status {process.returncode}")
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise BenchError(f"{name} does not listen on port {port}")


class Gateway:
    name = "gateway"

    def __init__(self, folder, env, path, body_file, build):
        self.env, self.build, self.folder = env, build, folder
        self.url, self.body_file = env["MAAS_URL"] + path, body_file
        self.headers = ["content-type: application/json", f"authorization: Bearer {env['MAAS_API_KEY']}"]

    def supervisor(self):
        with open(f"{self.folder}/run/gateway.pid") as file:
            return int(file.read().split()[0])

    def pids(self):
        """The gateway process alone: its workers are its children, the supervisor reads no request."""
        found = [pid for pid in children(self.supervisor()) if self.program(pid) == "maas-gateway"]
        if len(found) != 1:
            raise BenchError(f"{len(found)} gateway processes, expected one")
        return found

    def workers(self):
        return [pid for pid in children(self.pids()[0]) if self.program(pid) == "maas-worker"]

    @staticmethod
    def program(pid):
        with open(f"/proc/{pid}/cmdline") as file:
            return os.path.basename(file.read().split("\0")[0])

    def metrics(self):
        """Prometheus text of the admin listener as a dict; label sets are summed."""
        text = self.curl(self.env["MAAS_ADMIN_URL"] + "/metrics", "-H", f"authorization: Bearer {self.env['MAAS_ADMIN_TOKEN']}")
        values = {}
        for line in text.decode().splitlines():
            match = re.match(r"([a-z_0-9]+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", line)
            if match:
                values[match.group(1)] = values.get(match.group(1), 0.0) + float(match.group(2))
        return values

    def settle(self):
        """Until the usage is shipped: what the shipper does for the requests belongs to their cost."""
        for _ in range(600):
            if self.metrics().get("maas_usage_pending", 0) == 0:
                return
            time.sleep(0.1)
        raise BenchError("the usage spool was not shipped within a minute")

    def curl(self, url, *options):
        done = subprocess.run(["curl", "-sS", "--fail-with-body", "--cacert", self.env["MAAS_CA"], *options, url], capture_output=True)
        if done.returncode:
            raise BenchError(f"{url}: {done.stderr.decode().strip()} {done.stdout.decode(errors='replace')[:200]}")
        return done.stdout

    def capture(self):
        """(status, [(name, value, varies)], body) of one answer, compared with a second one."""
        answers = []
        for _ in range(2):
            headers = [word for header in self.headers for word in ("-H", header)]
            raw = self.curl(self.url, "--http2", "-i", *headers, "--data-binary", f"@{self.body_file}")
            head, body = raw.split(b"\r\n\r\n", 1)
            lines = head.decode().split("\r\n")
            fields = [tuple(line.split(": ", 1)) for line in lines[1:] if ": " in line]
            answers.append((int(lines[0].split()[1]), [f for f in fields if f[0].lower() not in OWN_HEADERS], body))
        first, second = answers
        other = dict(second[1])
        return first[0], [(n.lower(), v, other.get(n) != v) for n, v in first[1]], first[2]

    def stop(self):
        pass  # scripts/down does it


class Peer:
    """A process of our own on core 0."""

    def __init__(self, name, port, path, body_file, command, cwd):
        self.name, self.url, self.body_file = name, f"https://localhost:{port}{path}", body_file
        # The same request headers as the gateway gets, a key of the same length among them.
        self.headers = ["content-type: application/json", "authorization: Bearer maas_live_" + "x" * 62]
        with open(f"{cwd}/{name}.log", "w") as log:
            self.process = subprocess.Popen(["taskset", "-c", SERVER_CPU, *command], cwd=cwd, stdout=log, stderr=log)
        wait_port(port, self.process, name)

    def pids(self):
        return [self.process.pid]

    def settle(self):
        pass

    def stop(self):
        self.process.terminate()
        self.process.wait(10)


def start_bare(build, port, tls, path, body_file, answer, folder):
    status, headers, body = answer
    with open(f"{folder}/answer", "wb") as file:
        lines = [str(status)] + [f"{'~' if varies else ''}{name}: {value}" for name, value, varies in headers]
        file.write("\n".join(lines).encode() + b"\n\n" + body)
    command = [f"{build}/bin/maas-bench-bare", str(port), f"{tls}/server.pem", f"{tls}/server.key", path, f"{folder}/answer"]
    return Peer("bare", port, path, body_file, command, folder)


def nginx_config(port, tls, path, answer, folder):
    status, headers, body = answer

    def quoted(text, varies=False):
        escaped = (text[32:] if varies else text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "")
        return '"' + ("${request_id}" if varies else "") + escaped + '"'
    lines, content_type = [], "application/json"
    for name, value, varies in headers:
        if name == "content-type":
            content_type = value
        else:  # $request_id is 32 random hex digits: other bytes on each request, at the header's length
            lines.append(f"add_header {name} {quoted(value, varies and len(value) >= 32)};")
    return f"""daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx-error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 600; server_tokens off;
    client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-1; fastcgi_temp_path {folder}/nginx-2;
    uwsgi_temp_path {folder}/nginx-3; scgi_temp_path {folder}/nginx-4;
    client_body_buffer_size 64k; http2_max_concurrent_streams 128;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {tls}/server.pem; ssl_certificate_key {tls}/server.key; ssl_protocols TLSv1.2 TLSv1.3;
        location = {path} {{ default_type {content_type}; {' '.join(lines)} return {status} '{body.decode().replace("'", "")}'; }}
    }}
}}
"""


def start_nginx(port, tls, path, body_file, answer, folder):
    """None with the reason when there is no nginx."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not program:
        return None
    with open(f"{folder}/nginx.conf", "w") as file:
        file.write(nginx_config(port, tls, path, answer, folder))
    return Peer("nginx", port, path, body_file, [program, "-p", folder, "-c", f"{folder}/nginx.conf"], folder)
