"""XGBoost, from the model's own JSON: float32 thresholds as they are, every objective's last step and base score."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import graph
from .parity import TOLERANCE, Refused, as_rows, check, names_of
from .graph import Steps, Tree

RAW = (
    "reg:squarederror", "reg:absoluteerror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:quantileerror",
    "binary:logitraw", "rank:pairwise", "rank:ndcg", "rank:map",
)  # fmt: skip
LOGISTIC = ("reg:logistic", "binary:logistic")
EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")


def xgboost(
    estimator: Any,
    rows: Any,
    *,
    names: Sequence[str] | None = None,
    batch: int | None = None,
    tolerance: Sequence[float] = TOLERANCE,
) -> bytes:
    """A Booster, XGBClassifier, XGBRegressor or XGBRanker as ONNX bytes; of scikit-learn's kind up to its best iteration.

    Raises :class:`Refused` for what has no graph (gblinear, categories, vector leaves, objectives that are not known), and
    :class:`Differs` where the graph does not answer as the estimator on `rows`.
    """
    import xgboost as library

    values = as_rows(rows)
    whole = hasattr(estimator, "get_booster")
    booster = estimator.get_booster() if whole else estimator
    if whole and not (estimator.missing is None or np.isnan(estimator.missing)):
        raise Refused(f"XGBoost: missing = {estimator.missing} is not exported; NaN is what is missing")
    known = booster.feature_names
    both = hasattr(estimator, "predict_proba")
    if both:
        expected = estimator.predict_proba(values)
    elif whole:
        expected = estimator.predict(values)
    else:
        expected = booster.predict(library.DMatrix(values, feature_names=known))
    best = getattr(estimator, "best_iteration", None) if whole and booster.attr("best_iteration") else None
    trained = booster if best is None else booster[: best + 1]
    text = bytes(trained.save_raw("json")).decode()
    made = from_json(json.loads(text), names=names_of(rows, names, known), batch=batch, both=both)
    check(made, values, expected, tolerance=tolerance, what="XGBoost")
    return made


def from_json(model: dict, *, names: Sequence[str] | None = None, batch: int | None = None, both: bool = False) -> bytes:
    """The graph of a model's JSON, not compared with anything. `both`: of two classes, the probabilities of each."""
    learner = model["learner"]
    parameters, objective = learner["learner_model_param"], learner["objective"]["name"]
    booster = learner["gradient_booster"]
    drops = booster.get("weight_drop")
    if booster["name"] == "dart":
        booster = booster["gbtree"]
    elif booster["name"] != "gbtree":
        raise Refused(f"XGBoost: booster = {booster['name']} is not exported")
    each = max(int(parameters["num_class"]), int(parameters.get("num_target", 1)), 1)
    trees = booster["model"]["trees"]
    made = [_tree(tree, 1.0 if drops is None else drops[number]) for number, tree in enumerate(trees)]
    base = _base(parameters["base_score"], objective, each)
    features = int(parameters["num_feature"])
    if names is not None and len(names) != features:
        raise ValueError(f"{len(names)} names for {features} features")
    node = graph.ensemble(made, booster["model"]["tree_info"], each, base, False)
    steps, values = Steps([node]), each
    if objective in LOGISTIC:
        steps.then("Sigmoid")
        if both and each == 1:
            steps.both_classes()
            values = 2
    elif objective in EXPONENTIAL:
        steps.then("Exp")
    elif objective == "multi:softprob" or (objective == "multi:softmax" and both):
        steps.then("Softmax", axis=1)
    elif objective not in RAW:
        raise Refused(f"XGBoost: objective = {objective} is not exported")
    output = "probabilities" if both or objective.startswith("multi:") or objective == "binary:logistic" else "predictions"
    return graph.to_bytes(graph.model("xgb", steps, features, values, output, names, batch))


def _base(text: str, objective: str, each: int) -> list[float]:
    """What the trees are added to. The model has it after its last step."""
    values = [float(part) for part in text.strip("[]").split(",")]
    values = values * each if len(values) == 1 else values
    if objective in LOGISTIC:
        return [float(np.log(value) - np.log1p(-value)) for value in values]
    return [float(np.log(value)) for value in values] if objective in EXPONENTIAL else values


def _tree(source: dict, scale: float) -> Tree:
    if any(source.get("split_type", [])) or source.get("categories"):
        raise Refused("XGBoost: splits by category are not exported")
    if int(source["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise Refused("XGBoost: multi_strategy = multi_output_tree is not exported")
    tree = Tree(mode="BRANCH_LT")
    left, right = source["left_children"], source["right_children"]
    for node, condition in enumerate(source["split_conditions"]):
        if left[node] < 0:
            tree.leaf(float(np.float32(condition)) * scale)
        else:
            missing_left = bool(source["default_left"][node])
            tree.join(tree.branch(source["split_indices"][node], np.float32(condition), missing_left), left[node], right[node])
    return tree
