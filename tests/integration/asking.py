"""What the tests of the fleet share: clients that ask models all the time, an installation's models, and what a process holds."""
import collections
import http.client
import io
import json
import os
import pathlib
import ssl
import subprocess
import tarfile
import threading

ROW = [59, 2, 32.1, 101, 157, 93.2, 38, 4, 4.8598, 87]  # for the model diabetes
CLIENTS = 4


def pack(files):
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w", format=tarfile.USTAR_FORMAT) as out:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return tar.getvalue()


class Client:
    def __init__(self, site):
        self.site = site
        self.connection = http.client.HTTPSConnection("localhost", site.place.port, context=site.tls, timeout=30)

    def ask(self, model, row, version=None, parameters=None, id=None):
        body = {"inputs": [{"name": "features", "datatype": "FP64", "shape": [1, len(row)], "data": row}]}
        if parameters:
            body["parameters"] = parameters
        if id:
            body["id"] = id
        path = f"/v2/models/{model}" + (f"/versions/{version}" if version else "") + "/infer"
        self.connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {self.site.key}"})
        answer = self.connection.getresponse()
        return answer.status, json.loads(answer.read())


def output(body, name):
    return next(o["data"][0] for o in body["outputs"] if o["name"] == name)


class Load:
    """CLIENTS kept connections that ask until the end of the with block; a connection that breaks is an error, too.
    judge(body) names the version that an answer is of, or None when it is nobody's."""

    def __init__(self, site, model, row, judge):
        self.site, self.model, self.row, self.judge = site, model, row, judge
        self.errors, self.strange, self.seen = [], [], {}
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self.run) for _ in range(CLIENTS)]

    def run(self):
        client = Client(self.site)
        while not self.over.is_set():
            try:
                status, body = client.ask(self.model, self.row)
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.errors.append(repr(error))
                client.connection.close()
                continue
            if status != 200:
                self.errors.append((status, body))
                continue
            of = self.judge(body)
            self.seen[of] = self.seen.get(of, 0) + 1
            if of is None:
                self.strange.append(body)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()

    def assert_clean(self):
        assert not self.errors, (len(self.errors), self.errors[:3])
        assert not self.strange, self.strange[:3]


class Site:
    """An installation with a tenant without limits worth naming."""

    def __init__(self, place):
        self.place = place
        self.tls = ssl.create_default_context(cafile=place.env["MAAS_CA"])
        self.admin("POST", "/admin/v1/plans", {"name": "wide", "rate": 1000000, "burst": 1000000})
        self.admin("POST", "/admin/v1/tenants", {"slug": "asking", "plan": "wide"})
        self.key = self.admin("POST", "/admin/v1/tenants/asking/keys", {"name": "k", "scopes": ["infer:*"]})["key"]

    def admin(self, method, path, body=None, **more):
        status, _, answer = self.place.admin(method, path, body, **more)
        assert status in (200, 201, 202), answer
        return answer

    def model(self, name):
        self.admin("POST", "/admin/v1/models", {"name": name, "task": "regression"})

    def upload(self, name, plugin, tar):
        return self.admin("POST", f"/admin/v1/models/{name}/versions?plugin={plugin}", tar,
                          headers={"Content-Type": "application/x-tar"})["number"]

    def deploy(self, name, version):
        self.admin("PUT", f"/admin/v1/deployments/{name}", {"model": name, "version": version, "visibility": "all"})

    def restart(self, name):
        self.admin("POST", f"/admin/v1/deployments/{name}/restart")

    def fleet(self, name):
        return next(d for d in self.admin("GET", "/admin/v1/deployments")["data"] if d["name"] == name).get("fleet", {})

    def until_served(self, name, version):
        def served():
            now = self.fleet(name)
            return now.get("state") == "serving" and now["serving"] == version
        self.place.until(served, 20)

    def workers(self):
        return self.admin("GET", "/admin/v1/workers")["data"]

    def copies_of_diabetes(self, count, owner=None):
        """Registers m1 … mN: models of their own with the artifact of diabetes, by SQL, since it takes a second and not a minute.
        The platform's for all, or a tenant's."""
        config = (self.place.folder / "gateway.yaml").read_text()
        address = next(line.split('"')[1] for line in config.splitlines() if line.strip().startswith("admin_conninfo:"))
        of, visibility = f"(SELECT id FROM maas.tenants WHERE slug = '{owner}')" if owner else "NULL::uuid", "private" if owner else "all"
        sql = f"""
            WITH artifact AS (SELECT v.artifact_sha256 AS a FROM maas.model_versions v JOIN maas.models m ON m.id = v.model_id
                              WHERE m.name = 'diabetes' LIMIT 1),
                 model AS (INSERT INTO maas.models (name, task, tenant_id) SELECT 'm' || i, 'regression', {of} FROM generate_series(1, {count}) i
                           RETURNING id, name),
                 version AS (INSERT INTO maas.model_versions (model_id, number, plugin, artifact_sha256)
                             SELECT id, 1, 'maas.linreg', a FROM model, artifact RETURNING id, model_id)
            INSERT INTO maas.deployments (name, model_version_id, visibility, tenant_id)
            SELECT model.name, version.id, '{visibility}', {of} FROM model JOIN version ON version.model_id = model.id"""
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", address, "-c", sql], check=True, capture_output=True, timeout=60)
        self.place.until(lambda: Client(self).ask(f"m{count}", ROW)[0] == 200, 20)


class Held:
    """What a gateway holds: descriptors by kind, kilobytes, worker processes."""

    def __init__(self, pid):
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        self.pid = pid
        self.descriptors = collections.Counter(kinds(pid))
        self.anonymous_kb = int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")))  # rings and files are not its own
        self.workers = len(children(pid))

    def __repr__(self):
        return f"{dict(self.descriptors)}, {self.anonymous_kb} kB, {self.workers} workers"


def kinds(pid):
    """memfd, eventfd, pipe, socket, file … of each descriptor; one that closes meanwhile is left out."""
    for link in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        known = [kind for kind in ("memfd", "eventfd", "eventpoll", "pipe", "socket") if kind in target]
        yield known[0] if known else "file"


def of_workers(held):
    """Those that a worker costs: they must all be given back. Sockets and files are our own connections, Postgres, the spool."""
    return {kind: held.descriptors[kind] for kind in ("memfd", "eventfd", "pipe")}


def children(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except OSError:
            pass
    return found
