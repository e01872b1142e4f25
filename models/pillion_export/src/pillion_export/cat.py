"""CatBoost, by its own exporter, with what that leaves out put right."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from . import graph
from .parity import INPUT, TOLERANCE, Refused, as_rows, check, names_of

EXPONENTIAL = ("Poisson", "Tweedie")
ONE_FOR_EACH = "MultiClassOneVsAll"


def catboost(
    estimator: Any,
    rows: Any,
    *,
    names: Sequence[str] | None = None,
    batch: int | None = None,
    tolerance: Sequence[float] = TOLERANCE,
) -> bytes:
    """A CatBoostClassifier or CatBoostRegressor as ONNX bytes.

    Raises :class:`Refused` for what its own exporter does not write, and :class:`Differs` where the graph does not answer as the
    estimator on `rows`.
    """
    values = as_rows(rows)
    known = [str(name) for name in estimator.feature_names_]
    if known == [str(i) for i in range(len(known))]:
        known = []
    names = names_of(rows, names, known)
    loss = str(estimator.get_all_params().get("loss_function", "")).split(":")[0]
    if loss.startswith("Multi") and not hasattr(estimator, "predict_proba"):
        several = "has several targets, which its own exporter does not write; train a model for each"
        raise Refused(f"CatBoost: loss_function = {loss} {several}")
    both = hasattr(estimator, "predict_proba")
    expected = np.asarray(estimator.predict_proba(values) if both else estimator.predict(values))
    expected = expected.reshape(len(values), -1)
    made = _mended(_exported(estimator), both, loss)
    shape = [("batch" if batch is None else batch), expected.shape[1]]
    made.graph.output.append(helper.make_tensor_value_info(_output(both), TensorProto.FLOAT, shape))
    made.graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [shape[0], values.shape[1]]))
    onnx_bytes = graph.to_bytes(graph.finished(made, names))
    check(onnx_bytes, values, expected, tolerance=tolerance, what="CatBoost")
    return onnx_bytes


def _output(both: bool) -> str:
    return "probabilities" if both else "predictions"


def _exported(estimator: Any) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            estimator.save_model(str(path), format="onnx")
        except Exception as error:  # its own class, which is not public
            raise Refused(f"CatBoost: {error}") from error
        return onnx.load(str(path))


def _mended(made: onnx.ModelProto, both: bool, loss: str) -> onnx.ModelProto:
    """The ensemble alone, from `features` to the output's name; without ZipMap and without declared inputs and outputs."""
    (trees,) = [node for node in made.graph.node if node.op_type.startswith("TreeEnsemble")]
    trees.input[:] = [INPUT]
    scores = _output(both)
    if not both and loss in EXPONENTIAL:
        trees.output[-1] = "scores"
        nodes = [trees, helper.make_node("Exp", ["scores"], [scores])]
    elif loss == ONE_FOR_EACH:
        # Its exporter ends these in a softmax, where the library takes the logistic function of each.
        for attribute in trees.attribute:
            if attribute.name == "post_transform":
                attribute.s = b"NONE"
        trees.output[-1] = "scores"
        nodes = [trees, helper.make_node("Sigmoid", ["scores"], [scores])]
    else:
        trees.output[-1] = scores
        nodes = [trees]
    kept = helper.make_graph(nodes, "catboost", [], [])
    return helper.make_model(kept, opset_imports=graph.OPSETS, ir_version=graph.IR_VERSION, producer_name="pillion")
