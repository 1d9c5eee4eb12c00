"""Image classification on real data, by the worker's own commands: what the networks are worth, that the same seed gives the same bytes, and that
the plugin passes the conformance runner. Digits by MAAS_TEST_DATA, Fashion-MNIST from Debian's dataset-fashion-mnist."""
import base64
import gzip
import json
import pathlib
import struct
import zlib

import pytest
from test_models import Trainer, data, write_rows  # noqa: F401 (a fixture)

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")
DIGITS = {"pixel_max": 16, "learning_rate": 0.003, "epochs": 60, "batch": 32, "dropout": 0.5}


def png(width, height, grey):
    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + bytes(grey(x, y) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def digits(data, tmp_path_factory):  # noqa: F811
    """Every fifth digit is a test."""
    folder, parts = tmp_path_factory.mktemp("digits"), {"train.csv": [], "test.csv": []}
    with gzip.open(data / "vision/digits.csv.gz", "rt") as lines:
        for i, line in enumerate(lines):
            parts["train.csv" if i % 5 else "test.csv"].append([int(float(value)) for value in line.split(",")])
    for name, rows in parts.items():
        write_rows(folder / name, [*(f"p{i}" for i in range(64)), "label"], rows)
    return folder


@pytest.fixture(scope="module")
def fashion():
    if not FASHION.is_dir():
        pytest.skip("the package dataset-fashion-mnist is not installed")
    return FASHION


def test_digits(release_dir, digits, tmp_path):
    trainer = Trainer(release_dir, "maas.vision")
    trainer.train(digits, tmp_path / "model", test_fraction=0, validation_fraction=0, **DIGITS)
    assert trainer.evaluate(digits, tmp_path / "model", pixel_max=16)["test_accuracy"] >= 0.98


@pytest.mark.parametrize("optimiser, rate", [("adam", 0.003), ("momentum", 0.03), ("sgd", 0.1)])
def test_every_optimiser_teaches_the_perceptron(release_dir, digits, tmp_path, optimiser, rate):
    trainer = Trainer(release_dir, "maas.vision")
    told = trainer.train(digits, tmp_path / "model", network="mlp", optimiser=optimiser, **{**DIGITS, "learning_rate": rate, "dropout": 0.2})
    assert told["test_accuracy"] >= 0.94 and told["test_roc_auc"] >= 0.99


def test_a_short_training_on_clothes(release_dir, fashion, tmp_path):
    trainer = Trainer(release_dir, "maas.vision")
    trainer.train(fashion, tmp_path / "model", rows=6000, epochs=3, filters1=16, filters2=32, test_fraction=0)
    assert trainer.evaluate(fashion, tmp_path / "model")["test_accuracy"] >= 0.80


@pytest.mark.soak
def test_clothes(release_dir, fashion, tmp_path):
    trainer = Trainer(release_dir, "maas.vision")
    trainer.train(fashion, tmp_path / "model", epochs=8, test_fraction=0)
    assert trainer.evaluate(fashion, tmp_path / "model")["test_accuracy"] >= 0.916


def test_the_same_seed_gives_the_same_network(release_dir, digits, tmp_path):
    trainer = Trainer(release_dir, "maas.vision")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer.train(digits, tmp_path / name, seed=seed, epochs=2, pixel_max=16)
    a, b, c = ((tmp_path / name / "vision.model").read_bytes() for name in "abc")
    assert a == b and a != c


@pytest.mark.parametrize("network", ["cnn", "mlp"])
def test_the_image_classifier_passes_the_conformance_runner(build_dir, digits, tmp_path, network):
    trainer = Trainer(build_dir, "maas.vision")
    trainer.train(digits, tmp_path / "model", epochs=2, pixel_max=16, network=network)
    pictures = [png(8, 8, lambda x, y: (x * 31 + y * 17) % 256), png(20, 33, lambda x, y: (x * x + 5 * y) % 256)]
    (tmp_path / "ask.json").write_text(json.dumps({"image": [base64.b64encode(picture).decode() for picture in pictures]}))
    head, *rows = (digits / "train.csv").read_text().splitlines()
    (tmp_path / "few").mkdir()
    (tmp_path / "few/train.csv").write_text("\n".join([head, *rows[:200]]) + "\n")
    trainer.check(tmp_path / "model", tmp_path / "few", "--input", tmp_path / "ask.json")
