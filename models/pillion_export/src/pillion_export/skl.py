"""scikit-learn, by skl2onnx: one packed input, no ZipMap, thresholds that float32 rows cannot tell from the estimator's."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from . import graph
from .parity import INPUT, TOLERANCE, Refused, as_rows, check, names_of

METHODS = ("predict_proba", "decision_function", "predict")
OPSET = {"": 17, "ai.onnx.ml": 3}


def sklearn(
    estimator: Any,
    rows: Any,
    *,
    names: Sequence[str] | None = None,
    method: str | None = None,
    batch: int | None = None,
    tolerance: Sequence[float] = TOLERANCE,
) -> bytes:
    """An estimator or a pipeline that skl2onnx converts, as ONNX bytes. Trained on a DataFrame it wants `rows` as one: its columns
    become one packed input in their order.

    `method` is what the graph answers: `predict_proba` where there is one, else `predict`. Raises :class:`Refused` with the
    converter's own words for what it does not convert, and :class:`Differs` where the graph does not answer as the estimator.
    """
    values = as_rows(rows)
    known = getattr(estimator, "feature_names_in_", None)
    names = names_of(rows, names, None if known is None else [str(name) for name in known])
    method = method or next(name for name in ("predict_proba", "predict") if hasattr(estimator, name))
    if method not in METHODS:
        raise ValueError(f"method = {method} is none of {', '.join(METHODS)}")
    asked: Any = values
    if hasattr(rows, "columns"):
        asked = type(rows)(values, columns=rows.columns)
    expected = np.asarray(getattr(estimator, method)(asked)).reshape(len(values), -1)
    made = _converted(estimator, asked, method)
    made.producer_name = "pillion"
    if len(made.graph.input) > 1 or hasattr(rows, "columns") and made.graph.input[0].name != INPUT:
        _pack(made, [str(name) for name in rows.columns])
    _one_output(made, method, batch, values.shape[1], expected.shape[1])
    onnx_bytes = graph.to_bytes(graph.finished(made, names))
    check(onnx_bytes, values, expected, tolerance=tolerance, what=type(estimator).__name__)
    return onnx_bytes


def _converted(estimator: Any, rows: Any, method: str) -> onnx.ModelProto:
    packed = [(INPUT, rows.shape[1])]
    if not hasattr(rows, "columns"):
        return _by_skl2onnx(estimator, packed, method)
    # A pipeline that names its columns needs one input for each; others may take only one, of all columns.
    first, second = [(str(name), 1) for name in rows.columns], packed
    if _takes_whole_rows(estimator):
        first, second = second, first
    try:
        return _by_skl2onnx(estimator, first, method)
    except Refused as refused:
        try:
            return _by_skl2onnx(estimator, second, method)
        except Refused:
            raise refused from refused.__cause__


def _takes_whole_rows(estimator: Any) -> bool:
    """True when no part of the estimator picks columns out: neither a ColumnTransformer nor a part that holds estimators."""
    steps = [step for _, step in getattr(estimator, "steps", [])]
    parts = steps or [estimator]
    return not any(hasattr(part, "transformers") or (steps and hasattr(part, "steps")) for part in parts)


def _by_skl2onnx(estimator: Any, inputs: list[tuple[str, int]], method: str) -> onnx.ModelProto:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.preprocessing import RobustScaler, StandardScaler

    types = [(name, FloatTensorType([None, width])) for name, width in inputs]
    # Scaled as scikit-learn does: times the inverse, trees behind it may take another branch.
    options: dict[Any, dict[str, Any]] = {StandardScaler: {"div": "div"}, RobustScaler: {"div": "div"}}
    if hasattr(estimator, "classes_"):
        # Of a pipeline without probabilities the converter asks for a ZipMap all the same, unless its last step is named.
        proba = hasattr(estimator, "predict_proba")
        answers = estimator if proba else getattr(estimator, "steps", [(None, estimator)])[-1][1]
        options[id(answers)] = {"zipmap": False} if proba else {}
        if method == "decision_function":
            options[id(answers)]["raw_scores"] = True
    # skl2onnx gives lists of booleans where onnx by now asks for integers.
    make = helper.make_attribute
    flags = (bool, np.bool_)
    whole = lambda v: [int(i) for i in v] if isinstance(v, list) and any(isinstance(i, flags) for i in v) else v  # noqa: E731
    lenient = mock.patch("onnx.helper.make_attribute", lambda key, v, *rest, **named: make(key, whole(v), *rest, **named))
    try:
        with lenient:
            return to_onnx(estimator, initial_types=types, options=options, target_opset=OPSET)
    except Exception as error:  # the converter's, of many classes
        out = _way_out(estimator)
        raise Refused(f"{type(estimator).__name__}: {error}{out}") from error


def _way_out(estimator: Any) -> str:
    """The mend for a part of another library, which skl2onnx does not know."""
    parts = [part for _, part in getattr(estimator, "steps", [])] or [estimator]
    for part in parts:
        library = type(part).__module__.partition(".")[0]
        if library in ("lightgbm", "xgboost", "catboost"):
            return (
                f" (a {type(part).__name__} within a pipeline is not exported: its trees need no scaling, so train it on the rows "
                f"themselves and export it with pillion_export.{library})"
            )
    return ""


def _pack(made: onnx.ModelProto, names: list[str]) -> None:
    """One input for all columns; each is cut out of it again, unless the graph only puts them together."""
    inputs = [value.name for value in made.graph.input]
    if inputs != names:
        # Columns that nothing uses are no inputs.
        if not set(inputs) <= set(names):
            raise Refused(f"the graph's inputs {inputs} are not the columns {names}")
    del made.graph.input[:]
    for node in list(made.graph.node):
        if node.op_type in ("Concat", "FeatureVectorizer") and list(node.input) == names:
            for other in made.graph.node:
                other.input[:] = [INPUT if value == node.output[0] else value for value in other.input]
            made.graph.node.remove(node)
    used = {value for node in made.graph.node for value in node.input}
    places = [at for at, name in enumerate(names) if name in used]
    cuts = []
    for at in places:
        made.graph.initializer.append(numpy_helper.from_array(np.array([at], np.int64), f"column_{at}"))
        cuts.append(helper.make_node("Gather", [INPUT, f"column_{at}"], [names[at]], axis=1))
    nodes = [*cuts, *made.graph.node]
    del made.graph.node[:]
    made.graph.node.extend(nodes)


def _one_output(made: onnx.ModelProto, method: str, batch: int | None, features: int, values: int) -> None:
    """The values alone, under a plain name, with the dimensions that a run gives."""
    scores = made.graph.output[-1 if method != "predict" else 0].name
    output = "probabilities" if method == "predict_proba" else "predictions"
    # Of two classes the converter scores each, where the estimator scores the second.
    one_of_two = method == "decision_function" and values == 1
    name = "scores_of_classes" if one_of_two else output
    for node in made.graph.node:
        node.input[:] = [name if value == scores else value for value in node.input]
        node.output[:] = [name if value == scores else value for value in node.output]
    if one_of_two:
        made.graph.initializer.append(numpy_helper.from_array(np.array([-1], np.int64), "last_class"))
        made.graph.node.append(helper.make_node("Gather", [name, "last_class"], [output], axis=1))
    kind = next(value.type.tensor_type.elem_type for value in made.graph.output if value.name == scores)
    if kind != TensorProto.FLOAT:
        raise Refused("its predictions are labels; ask for predict_proba or decision_function")
    rows = "batch" if batch is None else batch
    del made.graph.output[:], made.graph.input[:], made.graph.value_info[:]
    made.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, [rows, values]))
    made.graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [rows, features]))
