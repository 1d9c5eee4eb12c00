"""Each backend under valgrind, on the release build: loaded, asked, unloaded: no wrong read, no leak."""
import base64
import json
import shutil
import subprocess

import pytest
from test_models import Trainer, data, write_rows  # noqa: F401 (a fixture)
from test_onnx import residual  # noqa: F401 (a fixture)
from test_vision import png

pytestmark = pytest.mark.soak
WORDS = [["good", "so good"], ["bad", "not so good"], ["good", "很好"], ["bad", "不好"]] * 6
PICTURES = [base64.b64encode(png(28, 28, lambda x, y, i=i: (x * 31 * i + y * 17) % 256)).decode() for i in range(3)]
FLATS = [[20 + i, ["Rome", "Oslo"][i % 2], 300 + 11 * i + i % 3] for i in range(12)]
TASTES = [["ann", "tea", 5], ["ann", "milk", 4], ["bob", "tea", 3], ["bob", "beer", 1], ["cat", "milk", 2]]
BACKENDS = {
    "linreg": ("maas.linreg", (["size", "city", "rent"], FLATS), {}, {"features": [[50, "Oslo"], [30, "Rome"]]}),
    "ngrams": ("maas.textcls", (["label", "text"], WORDS), {}, {"text": ["so good", "不好", ""]}),
    "lstm": ("maas.textcls", (["label", "text"], WORDS), {"network": "lstm", "width": 8, "hidden": 8, "epochs": 2}, {"text": ["so good", "不好", ""]}),
    "als": ("maas.recommender", (["user", "item", "rating"], TASTES), {"rank": 4}, {"user": ["ann", "zoe"], "items": [["beer"], []]}),
    "item-cosine": ("maas.recommender", (["user", "item", "rating"], TASTES), {"method": "item-cosine"}, {"user": ["ann", "zoe"]}),
    "cnn": ("maas.vision", ([*(f"p{i}" for i in range(784)), "label"], [[(i * 7 + k) % 256 for k in range(784)] + [i % 2] for i in range(20)]),
            {"epochs": 1}, {"image": PICTURES}),
}


@pytest.fixture(autouse=True)
def valgrind(release_dir):
    if not shutil.which("valgrind"):
        pytest.skip("valgrind is not installed: scripts/test --full installs it")


def run_under_valgrind(release_dir, plugin, model, ask):
    done = subprocess.run(["valgrind", "-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", "--exit-on-first-error=yes",
                           f"{release_dir}/bin/maas-plugin-check", "run", f"{release_dir}/plugins/{plugin}.so", "--model", model, "--input", ask],
                          capture_output=True, text=True, timeout=600, env={"PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"})
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_trained_model_is_clean(release_dir, tmp_path, name):
    plugin, rows, options, question = BACKENDS[name]
    write_rows(tmp_path / "data/train.csv", *rows)
    Trainer(release_dir, plugin).train(tmp_path / "data", tmp_path / "model", **options)
    (tmp_path / "ask.json").write_text(json.dumps(question))
    answer = run_under_valgrind(release_dir, plugin, tmp_path / "model", tmp_path / "ask.json")
    assert len(json.dumps(answer)) > 20


def test_an_onnx_model_is_clean(release_dir, residual, tmp_path):  # noqa: F811
    (tmp_path / "ask.json").write_text(json.dumps({"image": PICTURES}))
    answer = run_under_valgrind(release_dir, "maas.vision", residual, tmp_path / "ask.json")
    assert len(answer["results"]) == len(PICTURES)
