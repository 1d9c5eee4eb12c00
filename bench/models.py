#!/usr/bin/env python3
"""models.py --build DIR --work DIR [--runs N]: the ONNX executor beside onnxruntime, one thread each, one picture, rounds in turn; medians;
then training beside its peers (training.py).

The model has ResNet-18's shapes and random weights (3.63 GFLOP). The peers come from PyPI into WORK/venv, but fasttext, which is Debian's.
"""
import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time

import training

STAGES = ((64, 1), (128, 2), (256, 2), (512, 2))
BAR = 1.3
PEERS = ("onnx", "onnxruntime", "numpy", "pandas", "scikit-learn", "implicit")


def resnet18(path):
    import numpy
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = numpy.random.default_rng(1)
    nodes, weights = [], []

    def add(operator, inputs, **attributes):
        name = f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def weight(values):
        weights.append(numpy_helper.from_array(values.astype(numpy.float32), f"w{len(weights)}"))
        return weights[-1].name

    def conv(x, channels, filters, kernel, stride):
        w = weight(random.normal(0, (2 / (channels * kernel * kernel)) ** 0.5, (filters, channels, kernel, kernel)))
        y = add("Conv", [x, w], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[kernel // 2] * 4)
        parts = [random.uniform(0.5, 1.5, filters), random.normal(0, 0.1, filters), random.normal(0, 0.1, filters), random.uniform(0.5, 1.5, filters)]
        return add("BatchNormalization", [y, *map(weight, parts)])

    x = add("MaxPool", [add("Relu", [conv("x", 3, 64, 7, 2)])], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    channels = 64
    for filters, first in STAGES:
        for stride in (first, 1):
            y = conv(add("Relu", [conv(x, channels, filters, 3, stride)]), filters, filters, 3, 1)
            x = x if stride == 1 and channels == filters else conv(x, channels, filters, 1, stride)
            x, channels = add("Relu", [add("Add", [y, x])]), filters
    x = add("Gemm", [add("Flatten", [add("GlobalAveragePool", [x])]), weight(random.normal(0, 0.05, (1000, 512))), weight(numpy.zeros(1000))], transB=1)
    graph = helper.make_graph(nodes, "resnet18", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
                              [helper.make_tensor_value_info(x, TensorProto.FLOAT, [1, 1000])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)


def peer(path, runs):
    import numpy
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    x = numpy.random.default_rng(2).uniform(-0.5, 0.5, (1, 3, 224, 224)).astype(numpy.float32)
    took = []
    for _ in range(runs + 3):
        start = time.perf_counter()
        session.run(None, {"x": x})
        took.append((time.perf_counter() - start) * 1e3)
    return statistics.median(took[3:])


def own(build, path, runs):
    done = subprocess.run([build / "bin/maas-bench-onnx", path, str(runs)], capture_output=True, text=True, check=True)
    return {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines()}


def in_own_python(work):
    """Runs this file again by the venv's Python, which is made when it is not there."""
    python = work / "venv/bin/python"
    if pathlib.Path(sys.prefix) == work / "venv":
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PEERS], check=True)
    os.execv(python, [str(python), *sys.argv])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--work", type=lambda text: pathlib.Path(text).resolve(), required=True)
    parser.add_argument("--runs", type=int, default=30)
    options = parser.parse_args()
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    in_own_python(options.work)
    path = options.work / "resnet18.onnx"
    resnet18(path)
    rounds = [(own(options.build, path, options.runs), peer(path, options.runs)) for _ in range(5)]
    theirs = statistics.median(b for _, b in rounds)
    print("ResNet-18 shapes, batch 1, one thread, medians of 5 rounds in turn")
    print(f"  onnxruntime      {theirs:8.2f} ms")
    for name in ("f32", "bf16", "plain"):
        value = statistics.median(a[name] for a, _ in rounds)
        ratios = sorted(a[name] / b for a, b in rounds)
        print(f"  maas {name:11} {value:8.2f} ms, {ratios[2]:.2f} times onnxruntime's ({ratios[0]:.2f} to {ratios[-1]:.2f})"
              + (f"; at most {BAR} is promised" if name == "f32" else ""))
    training.main(options.build, options.work)
    return statistics.median(a["f32"] / b for a, b in rounds) > BAR


if __name__ == "__main__":
    sys.exit(main())
