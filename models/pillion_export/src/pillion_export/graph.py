"""Ensembles of trees as a graph."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from .parity import INPUT, Refused

OPSETS = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]  # old enough for any reader
IR_VERSION = 8
NAMES = "pillion.features"


def float32_not_above(exact: float) -> np.float32:
    """The largest float32 that is not above it: for float32 x the same `x <= exact`. Compared in float64: NumPy 2 would
    compare a float32 with a Python float in float32, where a rounded value is never above."""
    with np.errstate(over="ignore"):
        near = np.float32(exact)
    if float(near) <= exact:
        return near
    return np.nextafter(near, np.float32(-np.inf))


@dataclass
class Tree:
    """Nodes in flat lists; the root is number 0. A leaf has no feature."""

    feature: list[int] = field(default_factory=list)
    threshold: list[np.float32] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    false: list[int] = field(default_factory=list)
    missing_true: list[bool] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    mode: str = "BRANCH_LEQ"

    def leaf(self, value: float) -> int:
        """A leaf; its number."""
        return self._add(-1, np.float32(0), False, value)

    def branch(self, feature: int, threshold: np.float32, missing_true: bool) -> int:
        """A node whose children are still to be said with :meth:`join`; its number."""
        return self._add(feature, threshold, missing_true, 0.0)

    def join(self, node: int, true: int, false: int) -> None:
        """Where a node leads to."""
        self.true[node], self.false[node] = true, false

    def __len__(self) -> int:
        return len(self.feature)

    def _add(self, feature: int, threshold: np.float32, missing_true: bool, value: float) -> int:
        self.feature.append(feature)
        self.threshold.append(threshold)
        self.missing_true.append(missing_true)
        self.value.append(value)
        self.true.append(0)
        self.false.append(0)
        return len(self.feature) - 1


def ensemble(trees: Sequence[Tree], outputs: Sequence[int], count: int, base: Sequence[float], classifier: bool) -> NodeProto:
    """One node of the ai.onnx.ml domain: tree `i` adds to value `outputs[i]` of `count`. A classifier ends in a softmax, and has
    an integer label that leads nowhere."""
    of = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids",
                              "missing_value_tracks_true")}  # fmt: skip
    leaves = {key: [] for key in ("treeids", "nodeids", "ids", "weights")}
    for number, (tree, output) in enumerate(zip(trees, outputs, strict=True)):
        for node in range(len(tree)):
            leaf = tree.feature[node] < 0
            of["treeids"].append(number)
            of["nodeids"].append(node)
            of["featureids"].append(0 if leaf else tree.feature[node])
            of["modes"].append("LEAF" if leaf else tree.mode)
            of["values"].append(0.0 if leaf else float(tree.threshold[node]))
            of["truenodeids"].append(tree.true[node])
            of["falsenodeids"].append(tree.false[node])
            of["missing_value_tracks_true"].append(int(tree.missing_true[node]))
            if leaf:
                leaves["treeids"].append(number)
                leaves["nodeids"].append(node)
                leaves["ids"].append(output)
                leaves["weights"].append(float(tree.value[node]))
    attributes = {f"nodes_{key}": values for key, values in of.items()}
    if any(base):
        attributes["base_values"] = [float(value) for value in base]
    if classifier:
        attributes |= {f"class_{key}": values for key, values in leaves.items()}
        attributes |= {"classlabels_int64s": list(range(count)), "post_transform": "SOFTMAX"}
        return helper.make_node("TreeEnsembleClassifier", [INPUT], ["label", "scores"], domain="ai.onnx.ml", **attributes)
    attributes |= {f"target_{key}": values for key, values in leaves.items()}
    attributes |= {"n_targets": count, "aggregate_function": "SUM", "post_transform": "NONE"}
    return helper.make_node("TreeEnsembleRegressor", [INPUT], ["scores"], domain="ai.onnx.ml", **attributes)


@dataclass
class Steps:
    """Nodes behind one another, and the value that the last one gives."""

    nodes: list[NodeProto]
    last: str = "scores"
    constants: list[TensorProto] = field(default_factory=list)

    def then(self, op: str, *others: np.ndarray, first: bool = False, **attributes: object) -> "Steps":
        """One node more, of the last value and constants; `first`: the constants stand before it."""
        names = []
        for constant in others:
            names.append(f"c{len(self.constants)}")
            self.constants.append(numpy_helper.from_array(np.asarray(constant), names[-1]))
        inputs = [*names, self.last] if first else [self.last, *names]
        self.last = f"s{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [self.last], **attributes))
        return self

    def both_classes(self) -> "Steps":
        """The probability of the second class becomes those of both."""
        second = self.last
        self.then("Sub", np.array([1.0], np.float32), first=True)
        self.nodes.append(helper.make_node("Concat", [self.last, second], ["both"], axis=1))
        self.last = "both"
        return self


def model(
    name: str, steps: Steps, features: int, values: int, output: str, names: Sequence[str] | None, batch: int | None = None
) -> ModelProto:
    """The graph from `features` to `output`, [batch, features] to [batch, values]; an open batch when `batch` is `None`."""
    for node in steps.nodes:
        node.output[:] = [output if value == steps.last else value for value in node.output]
        node.input[:] = [output if value == steps.last else value for value in node.input]
    rows = "batch" if batch is None else batch
    takes = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [rows, features])
    gives = helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, values])
    graph = helper.make_graph(steps.nodes, name, [takes], [gives], steps.constants)
    made = helper.make_model(graph, opset_imports=OPSETS, ir_version=IR_VERSION, producer_name="pillion")
    return finished(made, names)


def finished(made: ModelProto, names: Sequence[str] | None) -> ModelProto:
    """Checked, with the names of its columns in the metadata."""
    if names is not None:
        helper.set_model_props(made, {NAMES: json.dumps(list(names))})
    try:
        onnx.checker.check_model(made, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise Refused(f"the converter's graph contradicts itself: {error}") from error
    return made


def to_bytes(made: ModelProto) -> bytes:
    """The file; the same bytes for the same graph."""
    return made.SerializeToString(deterministic=True)
