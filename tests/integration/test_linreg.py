"""Linear regression by the worker's own commands and through the gateway: categories, empty cells, weights, statistics, intervals, reasons, and what is
refused. The reference is numpy on the same rows; real data by MAAS_TEST_DATA."""
import gzip
import json
import random
import subprocess

import pytest
from asking import pack
from test_models import Trainer, data, write_rows  # noqa: F401 (a fixture)

numpy = pytest.importorskip("numpy")
stats = pytest.importorskip("scipy.stats")

CITIES = {"Athens": 0, "Oslo": 40, "Rome": -25}
OPTIONS = {"target": "rent", "weight_column": "trust", "missing": "median", "test_fraction": 0}


def flats(count=300):
    """area, city, rooms, trust (the weight), rent; every eleventh area and every thirteenth city is not known."""
    dice = random.Random(5)
    rows = []
    for i in range(count):
        area, city, rooms = round(dice.uniform(20, 120), 1), dice.choice(list(CITIES)), dice.randint(1, 5)
        rent = round(100 + 9 * area + 30 * rooms + CITIES[city] * 5 + dice.gauss(0, 40), 2)
        rows.append(["" if i % 11 == 5 else area, "" if i % 13 == 7 else city, rooms, i % 4, rent])
    return rows


HEAD = ["area", "city", "rooms", "trust", "rent"]


class Reference:
    """Weighted least squares of the flats, as numpy and the textbook do it: medians and the commonest city where a cell is empty."""

    def __init__(self, rows):
        rows = [row for row in rows if row[3]]
        self.area = float(numpy.median([row[0] for row in rows if row[0] != ""]))
        cities = [row[1] for row in rows if row[1]]
        self.city = max(sorted(CITIES), key=cities.count)
        self.x = numpy.array([self.terms(*row[:3]) for row in rows])
        self.y, self.w = numpy.array([row[4] for row in rows]), numpy.array([row[3] for row in rows], dtype=float)
        gram = self.x.T @ (self.w[:, None] * self.x)
        self.beta = numpy.linalg.solve(gram, self.x.T @ (self.w * self.y))
        self.dof = len(rows) - self.x.shape[1]
        self.sigma2 = (self.w * (self.y - self.x @ self.beta) ** 2).sum() / self.dof
        self.inverse = numpy.linalg.inv(gram)
        self.error = numpy.sqrt(self.sigma2 * numpy.diag(self.inverse))

    def terms(self, area, city, rooms):
        city = city or self.city
        return [1, self.area if area == "" else area, city == "Oslo", city == "Rome", rooms]

    def predict(self, area, city, rooms):
        return float(numpy.array(self.terms(area, city, rooms), dtype=float) @ self.beta)

    def half(self, row, level, new):
        x = numpy.array(self.terms(*row), dtype=float)
        return float(stats.t.ppf(0.5 + level / 2, self.dof) * numpy.sqrt(self.sigma2 * (new + x @ self.inverse @ x)))


def near(got, wanted, digits=1e-8):
    assert abs(got - wanted) <= digits * max(1, abs(wanted)), (got, wanted)


@pytest.fixture(scope="module")
def rented(build_dir, tmp_path_factory):
    """A folder of flats, the model, and what its training told."""
    folder = tmp_path_factory.mktemp("flats")
    write_rows(folder / "data/train.csv", HEAD, flats())
    told = Trainer(build_dir, "maas.linreg").train(folder / "data", folder / "model", **OPTIONS)
    return folder, told


def test_training_tells_the_statistics_of_the_fit(rented):
    told, reference = rented[1], Reference(flats())
    names = ["intercept", "area", "city=Oslo", "city=Rome", "rooms"]
    for at, name in enumerate(names):
        near(told[f"coefficient_{name}"], reference.beta[at])
        near(told[f"standard_error_{name}"], reference.error[at])
        t = reference.beta[at] / reference.error[at]
        near(told[f"t_{name}"], t)
        near(told[f"p_{name}"], 2 * stats.t.sf(abs(t), reference.dof))
    near(told["residual_standard_error"], reference.sigma2 ** 0.5)
    assert told["degrees_of_freedom"] == reference.dof and told["coefficients"] == 5
    mean = (reference.w * reference.y).sum() / reference.w.sum()
    total, lost = (reference.w * (reference.y - mean) ** 2).sum(), reference.sigma2 * reference.dof
    near(told["r2"], 1 - lost / total)
    near(told["r2_adjusted"], 1 - lost / total * (reference.dof + 4) / reference.dof)
    near(told["f_statistic"], (total - lost) / 4 / reference.sigma2)
    assert told["f_p_value"] < 1e-100


@pytest.fixture
def own_place(installations, build_dir):
    """Its own: a model that stays deployed is seen by every other test."""
    with installations(build_dir) as here:
        yield here


def test_through_the_gateway_with_intervals_and_reasons(own_place, build_dir, rented):
    own_place.allow_plugin(f"{build_dir}/plugins/maas.linreg.so")
    assert own_place.admin("POST", "/admin/v1/models", {"name": "rents", "task": "regression"})[0] == 201
    files = pack({"linreg.model": (rented[0] / "model/linreg.model").read_bytes()})
    status, _, version = own_place.admin("POST", "/admin/v1/models/rents/versions?plugin=maas.linreg", files, headers={"Content-Type": "application/x-tar"})
    assert status == 201, version
    own_place.admin("PUT", "/admin/v1/deployments/rents", {"model": "rents", "version": version["number"], "visibility": "all"})

    def ask(features, **more):
        return own_place.request("POST", "/v1/regression", {"model": "rents", "features": features, **more})

    def asked(features, **more):
        status, _, body = ask(features, **more)
        assert status == 200, body
        return body
    flat, reference = {"rooms": 3, "area": 71.5, "city": "Rome"}, Reference(flats())
    row = (71.5, "Rome", 3)
    own_place.until(lambda: ask(flat)[0] == 200, 20)

    body = asked(flat)  # by names; 95 % prediction interval, as ever
    near(body["prediction"], reference.predict(*row))
    near(body["interval"][1] - body["prediction"], reference.half(row, 0.95, 1))
    body = asked(list(row), interval="confidence", level=0.8)  # in the model's order
    near(body["prediction"], reference.predict(*row))
    near(body["prediction"] - body["interval"][0], reference.half(row, 0.8, 0))
    assert asked(flat, interval="none")["interval"] is None

    body = asked({"area": None, "city": "", "rooms": 2})  # what is missing is the median, and the commonest city
    near(body["prediction"], reference.predict("", "", 2))

    body = asked([flat, {"area": 30, "city": "Oslo", "rooms": 1}], explain=True)
    for one, values in zip(body["results"], (row, (30, "Oslo", 1))):
        reason = one["explanation"]
        near(reason["base"] + sum(reason["contribution"].values()), one["prediction"])
        mean = (reference.w * reference.x[:, 1]).sum() / reference.w.sum()
        near(reason["contribution"]["area"], reference.beta[1] * (values[0] - mean))
    assert body["results"][0]["prediction"] == asked(flat)["prediction"]  # alone as in a batch, to the last digit

    status, _, v2 = own_place.request("POST", "/v2/models/rents/infer", {
        "inputs": [{"name": "features", "datatype": "BYTES", "shape": [1, 3], "data": ["71.5", "Rome", "3"]}], "parameters": {"interval": "confidence"}})
    assert status == 200, v2
    outputs = {o["name"]: o for o in v2["outputs"]}
    assert outputs["prediction"]["data"] == [asked(flat)["prediction"]] and outputs["interval"]["shape"] == [1, 2]
    near(outputs["interval"]["data"][1] - outputs["prediction"]["data"][0], reference.half(row, 0.95, 0))

    for wrong, more, why in (
            ({**flat, "city": "Paris"}, {}, "feature 'city' has no level 'Paris'"),
            ({**flat, "area": "large"}, {}, "feature 'area' is not one finite number: 'large'"),
            ({**flat, "area": "nan"}, {}, "not one finite number"),
            ({**flat, "area": True}, {}, "must be a number, a string or null"),
            ({"area": 30, "city": "Oslo"}, {}, "feature 'rooms' is missing"),
            ({**flat, "room": 3}, {}, "no feature 'room'"),
            (flat, {"interval": "wide"}, "none|confidence|prediction"),
            (flat, {"level": 1}, "0.01..0.9999")):
        status, _, body = ask(wrong, **more)
        assert status in (400, 422) and why in json.dumps(body), (why, status, body)


def test_a_model_of_texts_passes_the_conformance_runner(build_dir, rented, tmp_path):
    (tmp_path / "ask.json").write_text(json.dumps({"features": [[50, "Oslo", 2], [None, "", 4]]}))
    write_rows(tmp_path / "data/train.csv", HEAD, [row for row in flats() if "" not in row])  # it trains by the defaults
    Trainer(build_dir, "maas.linreg").check(rented[0] / "model", tmp_path / "data", "--input", tmp_path / "ask.json")


def test_a_model_is_measured_on_test_csv(build_dir, rented, tmp_path):
    rows, reference = flats(400)[300:], Reference(flats())
    write_rows(tmp_path / "data/test.csv", [HEAD[i] for i in (4, 2, 1, 0)], [[row[i] for i in (4, 2, 1, 0)] for row in rows] + [[500, 2, "Paris", 30]])
    told = Trainer(build_dir, "maas.linreg").evaluate(tmp_path / "data", rented[0] / "model")
    errors = numpy.array([reference.predict(*row[:3]) - row[4] for row in rows])
    near(told["test_mse"], (errors ** 2).mean())
    near(told["test_mae"], abs(errors).mean())
    assert told["test_rows"] == 100 and told["test_rows_of_unknown_levels"] == 1


def test_the_same_seed_gives_the_same_bytes(release_dir, rented, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        Trainer(release_dir, "maas.linreg").train(rented[0] / "data", tmp_path / name, seed=seed, **{**OPTIONS, "test_fraction": 0.2})
    a, b, c = ((tmp_path / name / "linreg.model").read_bytes() for name in "abc")
    assert a == b and a != c


def test_memory_does_not_grow_with_the_file(release_dir, tmp_path):
    """A file of 75 MB, whose rows would take 77 MB as numbers, and a small one: what the worker holds at most differs by the 64 MiB of rows that it may
    keep, of which a realloc may hold the half once more; unit tests show that beyond them it keeps none."""
    peaks = []
    for rows in (4000, 1200000):
        (tmp_path / "data").mkdir(exist_ok=True)
        with open(tmp_path / "data/train.csv", "w", encoding="utf-8") as out:
            out.write("a,b,c,d,y\n")
            out.writelines(f"{i % 997 / 7:.15f},{i * 31 % 1009 / 11:.15f},{i * 57 % 1013 / 13:.15f},{'xyz'[i % 3]},{i % 89 / 3:.15f}\n" for i in range(rows))
        command = [f"{release_dir}/bin/maas-worker", "train", "--plugin",
                   f"{release_dir}/plugins/maas.linreg.so", "--data", str(tmp_path / "data"), "--out", str(tmp_path / f"m{rows}"), "--seed", "1"]
        script = f"import resource, subprocess; subprocess.run({command!r}, check=True, capture_output=True); " \
                 "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        peaks.append(int(subprocess.run(["/usr/bin/python3", "-c", script], check=True, capture_output=True, text=True, timeout=300).stdout))
    assert (tmp_path / "data/train.csv").stat().st_size > 70e6
    assert peaks[1] - peaks[0] < 68 * 1024, peaks


def test_ridge_shrinks_and_tells_no_tests(release_dir, data, tmp_path):  # noqa: F811
    """scikit-learn: StandardScaler, then Ridge, on all of the diabetes data."""
    linear, preprocessing = pytest.importorskip("sklearn.linear_model"), pytest.importorskip("sklearn.preprocessing")
    with gzip.open(data / "regression/diabetes/diabetes_data_raw.csv.gz", "rt") as x, gzip.open(data / "regression/diabetes/diabetes_target.csv.gz", "rt") as y:
        rows = [[float(word) for word in line.split()] for line in x]
        target = [float(line) for line in y]
    names = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"]
    write_rows(tmp_path / "data/train.csv", names + ["y"], [row + [value] for row, value in zip(rows, target)])
    told = Trainer(release_dir, "maas.linreg").train(tmp_path / "data", tmp_path / "model", ridge=50, test_fraction=0)
    scaler = preprocessing.StandardScaler().fit(rows)
    theirs = linear.Ridge(alpha=50, solver="cholesky").fit(scaler.transform(rows), target)
    for name, coefficient, scale in zip(names, theirs.coef_, scaler.scale_):
        near(told[f"coefficient_{name}"], coefficient / scale)
    assert 430 < told["degrees_of_freedom"] < 436 and "p_bmi" not in told and "f_statistic" not in told and told["standard_error_bmi"] > 0


WRONG = [
    (["x", "y"], [[1, 2], ["", 3], [4, 5]], {}, "line 3: column 'x' is empty"),
    (["x", "y"], [[1, 2], [2, 3], [4, ""]], {}, "line 4: column 'y' is not one finite number"),
    (["x", "y"], [[1, 2], ["1e999", 3], [4, 5]], {}, "line 3: column 'x' is not one finite number"),
    (["x", "y"], [[1, 2], ["NA", 3], [4, 5]], {}, "line 3: column 'x' holds 'NA' where other rows hold numbers"),
    (["x", "y"], [["a", 2], ["b", 3], ["a", 5]], {"categories": "refuse"}, "line 2: column 'x' is not one finite number"),
    (["x", "y"], [[f"p{i}", i] for i in range(400)], {"test_fraction": 0}, "line 258: column 'x' has more than 256 levels"),
    (["x", "w", "y"], [[1, 1, 2], [2, -1, 3]], {"weight_column": "w"}, "line 3: the weight 'w' is negative"),
    (["x", "w", "y"], [[1, 0, 2], [2, 0, 3]], {"weight_column": "w"}, "not one row that counts"),
    (["x", "z", "y"], [[1, 7, 2], [2, 7, 3], [3, 7, 5], [4, 7, 5]], {"test_fraction": 0}, "feature 'z' is constant or depends linearly"),
    (["x", "z", "y"], [[i, 2 * i, i % 3] for i in range(9)], {}, "is constant or depends linearly"),
    (["x", "z", "y"], [[1, 7, 2], [2, 8, 3]], {"test_fraction": 0}, "2 rows are too few for 3 coefficients"),
    (["x", "y"], [["1e200", 1], [2, 2], [3, 4], [4, 4]], {"degree": 2, "test_fraction": 0}, "line 2: a power of column 'x' is not finite"),
    (["x", "y"], [[i, f"{i * i}e300"] for i in range(9)], {"test_fraction": 0}, "too large or too small"),
    (["x", "y"], [[1, 2]], {"target": "z"}, "has no column 'z'"),
    (["x", "y"], [], {}, "not one row"),
]


@pytest.mark.parametrize("head, rows, options, why", WRONG)
def test_wrong_data_is_refused_with_its_line(release_dir, tmp_path, head, rows, options, why):
    write_rows(tmp_path / "data/train.csv", head, rows)
    with pytest.raises(AssertionError) as error:
        Trainer(release_dir, "maas.linreg").train(tmp_path / "data", tmp_path / "model", **options)
    assert why in str(error.value)
