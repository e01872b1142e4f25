"""From a fitted estimator to a model directory: the graph, golden rows, and the manifest that ties them together."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime asks while it is imported, and calls home unless told so

import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import onnx
import onnxmltools
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxmltools.convert.common.data_types import FloatTensorType

INPUT, OUTPUT = "features", "probabilities"
OPSETS = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]  # the newest that every exporter writes
IR_VERSION = 8  # what those came with: old enough for any reader
GOLDEN_ROWS, GOLDEN_TOLERANCE = 32, 1e-5

Predict = Callable[[np.ndarray], np.ndarray]
Layer = tuple[np.ndarray, np.ndarray]  # weights [in, out], biases [out]


def forward(layers: list[Layer], x: np.ndarray) -> np.ndarray:
    """The net in numpy: what the graph must give."""
    for weights, biases in layers[:-1]:
        x = np.maximum(x @ weights + biases, 0.0)
    weights, biases = layers[-1]
    x = x @ weights + biases
    x = np.exp(x - x.max(axis=1, keepdims=True))
    return x / x.sum(axis=1, keepdims=True)


def dense_net(layers: list[Layer], scaler: Any, clip: float, classes: tuple[str, ...]) -> ModelProto:
    """Scale, clip, dense layers with ReLU, softmax: raw features in, probabilities out, one row."""
    scale = {"offset": scaler.mean.tolist(), "scale": scaler.scale.tolist()}
    nodes = [helper.make_node("Scaler", [INPUT], ["scaled"], domain="ai.onnx.ml", **scale)]
    nodes.append(helper.make_node("Clip", ["scaled", "lowest", "highest"], ["hidden0"]))
    bounds = {"lowest": -clip, "highest": clip}
    constants = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in bounds.items()]
    for i, (weights, biases) in enumerate(layers):
        constants += [numpy_helper.from_array(weights, f"w{i}"), numpy_helper.from_array(biases, f"b{i}")]
        nodes.append(helper.make_node("Gemm", [f"hidden{i}", f"w{i}", f"b{i}"], [f"dense{i}"]))
        if i + 1 < len(layers):
            nodes.append(helper.make_node("Relu", [f"dense{i}"], [f"hidden{i + 1}"]))
    nodes.append(helper.make_node("Softmax", [f"dense{len(layers) - 1}"], [OUTPUT], axis=1))
    return finish("mlp", nodes, len(scaler.mean), classes, constants)


def with_float32_thresholds(booster: lightgbm.Booster) -> lightgbm.Booster:
    """The same ensemble, best rounds only, with every threshold rounded down to a float32: for float32 features the
    same splits. The graph holds float32, and rounding to the nearest would send some rows down the other branch."""

    def snap(text: str) -> str:
        exact = float(text)
        near = np.float32(exact)
        return repr(float(near if near <= exact else np.nextafter(near, np.float32(-np.inf))))

    lines = []
    for line in booster.model_to_string(num_iteration=booster.best_iteration).splitlines():
        key, _, values = line.partition("=")
        if key == "threshold":
            line = f"threshold={' '.join(map(snap, values.split()))}"
        if key != "tree_sizes":  # byte offsets of the text that was
            lines.append(line)
    return lightgbm.Booster(model_str="\n".join(lines) + "\n")


def trees(booster: lightgbm.Booster, features: int, classes: tuple[str, ...]) -> ModelProto:
    """The ensemble as one TreeEnsembleClassifier: of what the converter writes, the node alone. The integer label
    leads nowhere, and there is no ZipMap."""
    inputs = [(INPUT, FloatTensorType([1, features]))]
    converted = onnxmltools.convert_lightgbm(booster, "lgbm", inputs, target_opset=15, zipmap=False).graph
    node = next(node for node in converted.node if node.op_type == "TreeEnsembleClassifier")
    node.output[:] = ["label", OUTPUT]
    return finish("lgbm", [node], features, classes, [])


def finish(
    name: str, nodes: list[onnx.NodeProto], features: int, classes: tuple[str, ...], constants: list[TensorProto]
) -> ModelProto:
    takes = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, features])
    gives = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, len(classes)])
    graph = helper.make_graph(nodes, name, [takes], [gives], constants)
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="pillion")
    onnx.checker.check_model(model, full_check=True)
    return model


def predictor(model: bytes) -> Predict:
    """Predicts row by row through ONNX Runtime, the way the sidecar will."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: np.concatenate([session.run([OUTPUT], {INPUT: x[i : i + 1]})[0] for i in range(len(x))])


def golden(x: np.ndarray, predict: Predict) -> bytes:
    rows = x[np.linspace(0, len(x) - 1, GOLDEN_ROWS).astype(int)]
    parts = {"tolerance": GOLDEN_TOLERANCE, "inputs": rows.tolist(), "outputs": predict(rows).tolist()}
    return (json.dumps(parts) + "\n").encode()


def write(directory: Path, onnx_bytes: bytes, golden_bytes: bytes, manifest: dict[str, Any]) -> None:
    """The three files. The revision grows by one when the model differs from the one that lies there."""
    directory.mkdir(parents=True, exist_ok=True)
    onnx_sha256 = hashlib.sha256(onnx_bytes).hexdigest()
    head = {"schema": 1, "name": directory.name, "revision": revision(directory / "manifest.toml", onnx_sha256)}
    hashes = {"onnx_sha256": onnx_sha256, "golden_sha256": hashlib.sha256(golden_bytes).hexdigest()}
    (directory / "model.onnx").write_bytes(onnx_bytes)
    (directory / "golden.json").write_bytes(golden_bytes)
    (directory / "manifest.toml").write_text(to_toml(head | hashes | manifest))


def revision(path: Path, onnx_sha256: str) -> int:
    if not path.is_file():
        return 1
    before = tomllib.loads(path.read_text())
    return before["revision"] + (before["onnx_sha256"] != onnx_sha256)


def to_toml(table: dict[str, Any], prefix: str = "") -> str:
    """Enough TOML for a manifest: strings, numbers, lists and nested tables. JSON's scalars are TOML's."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    text = "".join(f"{key} = {to_value(value)}\n" for key, value in plain.items())
    for key, value in table.items():
        if isinstance(value, dict):
            holds_values = any(not isinstance(inner, dict) for inner in value.values())
            text += f"\n[{prefix}{key}]\n" * holds_values + to_toml(value, f"{prefix}{key}.")
    return text


def to_value(value: Any) -> str:
    if isinstance(value, list) and len(value) > 8:
        return "[\n" + "".join(f"  {json.dumps(item)},\n" for item in value) + "]"
    return json.dumps(value)
