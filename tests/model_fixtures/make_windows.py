"""Writes the models of rows already seen, for the 41 features of the bundled set: sums that a test can do by itself.

window.onnx  five rows: the first feature of the oldest row, that of the newest, and the sum of (place from 1) x second feature
state.onnx   s' = s / 2 + (first feature, second feature); published are s' and, as another output, the third feature
lstm.onnx    ten rows through an LSTM of 16 units as PyTorch exports it, its last output to one value
patches.onnx four rows of two features as two rows of four, through an LSTM of three units

Run with the interpreter of models/requirements-zoo.txt.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FEATURES, ROWS = 41, 5
here = Path(__file__).parent


def save(name, nodes, inputs, outputs, constants):
    floats = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, [floats(*i) for i in inputs], [floats(*o) for o in outputs], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    (here / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


weights = np.zeros((ROWS, FEATURES, 3), np.float32)
weights[0, 0, 0] = weights[-1, 0, 1] = 1
weights[:, 1, 2] = np.arange(1, ROWS + 1)
save(
    "window",
    [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["y"])],
    [("x", ["batch", ROWS, FEATURES])],
    [("y", ["batch", 3])],
    {"w": weights.reshape(-1, 3)},
)

pick = np.zeros((FEATURES, 2), np.float32)
pick[0, 0] = pick[1, 1] = 1
third = np.zeros((FEATURES, 1), np.float32)
third[2] = 1
save(
    "state",
    [
        helper.make_node("MatMul", ["x", "pick"], ["picked"]),
        helper.make_node("Mul", ["s", "half"], ["halved"]),
        helper.make_node("Add", ["halved", "picked"], ["next"]),
        helper.make_node("MatMul", ["x", "third"], ["z"]),
    ],
    [("x", ["batch", FEATURES]), ("s", ["batch", 2])],
    [("next", ["batch", 2]), ("z", ["batch", 1])],
    {"pick": pick, "third": third, "half": np.array(0.5, np.float32)},
)

rng = np.random.default_rng(5)
draw = lambda *dims: rng.uniform(-0.3, 0.3, dims).astype(np.float32)
UNITS = 16
save(
    "lstm",
    [
        helper.make_node("Transpose", ["x"], ["by_row"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["by_row", "w", "r", "b"], ["", "last"], hidden_size=UNITS),
        helper.make_node("Squeeze", ["last", "first_axis"], ["h"]),
        helper.make_node("Gemm", ["h", "head", "bias"], ["y"], transB=1),
    ],
    [("x", ["batch", 10, FEATURES])],
    [("y", ["batch", 1])],
    {
        "w": draw(1, 4 * UNITS, FEATURES),
        "r": draw(1, 4 * UNITS, UNITS),
        "b": draw(1, 8 * UNITS),
        "head": draw(1, UNITS),
        "bias": draw(1),
        "first_axis": np.array([0], np.int64),
    },
)
save(
    "patches",
    [
        helper.make_node("Reshape", ["x", "pairs"], ["patches"]),
        helper.make_node("LSTM", ["patches", "w4", "r3", "b3"], ["", "last"], hidden_size=3),
        helper.make_node("Reshape", ["last", "row"], ["y"]),
    ],
    [("x", [1, 4, 2])],
    [("y", [1, 3])],
    {
        "w4": draw(1, 12, 4),
        "r3": draw(1, 12, 3),
        "b3": draw(1, 24),
        "pairs": np.array([2, 1, 4], np.int64),
        "row": np.array([1, 3], np.int64),
    },
)
