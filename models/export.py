"""From a fitted estimator to a model directory: the dense net's graph, golden rows, and the manifest that ties all together.
Trees are exported by pillion_export."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime asks while it is imported, and calls home unless told so

import hashlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pillion_export
from onnx import ModelProto, TensorProto, helper, numpy_helper

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
    """Predicts row by row through ONNX Runtime, the way the sidecar will: the graphs take one row."""
    return lambda x: pillion_export.answers(model, x)


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
    """Enough TOML for a manifest: strings, numbers, lists, lists of tables and nested tables. JSON's scalars are TOML's."""
    tables = {key: value for key, value in table.items() if isinstance(value, list) and value and isinstance(value[0], dict)}
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) and key not in tables}
    text = "".join(f"{key} = {to_value(value)}\n" for key, value in plain.items())
    for key, entries in tables.items():
        text += "".join(f"\n[[{prefix}{key}]]\n{to_toml(entry)}" for entry in entries)
    for key, value in table.items():
        if isinstance(value, dict):
            holds_values = any(not isinstance(inner, dict) for inner in value.values())
            text += f"\n[{prefix}{key}]\n" * holds_values + to_toml(value, f"{prefix}{key}.")
    return text


def to_value(value: Any) -> str:
    if isinstance(value, list) and len(value) > 8:
        return "[\n" + "".join(f"  {json.dumps(item)},\n" for item in value) + "]"
    return json.dumps(value)
