"""LightGBM, from the text of its own model file: every node's rule, every objective's last step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import helper, numpy_helper

from . import graph
from .parity import INPUT, TOLERANCE, Refused, as_rows, check, names_of
from .graph import Steps, Tree, float32_not_above

ZERO = np.float32(1e-35)  # the library takes what is nearer to 0 for 0
NEVER, AS_ZERO, AS_NAN = 0, 1, 2  # its missing types
MOST_CATEGORY = 1 << 24  # up to here every whole number is a float32
MOST_COPIES = 8  # times as many nodes as the model has, which sets of categories may take


def lightgbm(
    estimator: Any,
    rows: Any,
    *,
    names: Sequence[str] | None = None,
    batch: int | None = None,
    tolerance: Sequence[float] = TOLERANCE,
) -> bytes:
    """A Booster, LGBMClassifier, LGBMRegressor or LGBMRanker as ONNX bytes: up to its best iteration, as it predicts.

    Raises :class:`Refused` for what has no graph (linear trees, objectives that are not known), and :class:`Differs` where the
    graph does not answer as the estimator on `rows`.
    """
    booster = getattr(estimator, "booster_", estimator)
    values = as_rows(rows)
    known = [] if all(name == f"Column_{i}" for i, name in enumerate(booster.feature_name())) else booster.feature_name()
    both = hasattr(estimator, "predict_proba")
    predict: Callable[[np.ndarray], np.ndarray] = estimator.predict_proba if both else estimator.predict
    made = from_text(booster.model_to_string(), names=names_of(rows, names, known), batch=batch, both=both)
    check(made, values, _quietly(predict, values), tolerance=tolerance, what="LightGBM")
    return made


def _quietly(predict: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of names that an array does not have
        return predict(values)


def from_text(text: str, *, names: Sequence[str] | None = None, batch: int | None = None, both: bool = False) -> bytes:
    """The graph of a model's text, not compared with anything. `both`: of two classes, the probabilities of each."""
    told, blocks = parse(text)
    features = int(told["max_feature_idx"]) + 1
    if names is not None and len(names) != features:
        raise ValueError(f"{len(names)} names for {features} features")
    each = int(told.get("num_tree_per_iteration", 1))
    trees = [_tree(block, number) for number, block in enumerate(blocks)]
    if "average_output" in told and trees:
        for tree in trees:
            tree.value = [value * each / len(trees) for value in tree.value]
    objective = Objective.of(told.get("objective", ""), each)
    outputs = [number % each for number in range(len(trees))]
    node = graph.ensemble(trees, outputs, each, [0.0] * each, objective.softmax)
    steps = _zeros_as_missing(blocks, features, node)
    objective.last_step(steps, both)
    values = 2 if objective.probability and both and each == 1 else each
    output = "probabilities" if objective.probability or objective.softmax else "predictions"
    return graph.to_bytes(graph.model("lgbm", steps, features, values, output, names, batch))


def parse(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The head's keys, and those of each tree."""
    told: dict[str, str] = {}
    blocks: list[dict[str, str]] = []
    keys = told
    for line in text.splitlines():
        if line == "end of trees":
            break
        key, _, value = line.partition("=")
        if key == "Tree":
            keys = {}
            blocks.append(keys)
        keys[key] = value
    if "max_feature_idx" not in told or not blocks:
        raise Refused("LightGBM: the text holds no trees (a model file of Booster.save_model is taken)")
    return told, blocks


@dataclass(frozen=True)
class Objective:
    """What an objective does to the sum of the trees."""

    name: str
    parameters: dict[str, str]
    trees: int

    RAW = ("regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg", "")
    EXPONENTIAL = ("poisson", "gamma", "tweedie")
    PROBABILITY = ("binary", "cross_entropy", "multiclassova")

    @classmethod
    def of(cls, text: str, trees: int) -> "Objective":
        name, *rest = text.split() or [""]
        known = (*cls.RAW, *cls.EXPONENTIAL, *cls.PROBABILITY, "multiclass", "cross_entropy_lambda")
        if name not in known:
            raise Refused(f"LightGBM: objective = {name} is not exported")
        parameters = dict(part.partition(":")[::2] for part in rest)
        return cls(name, parameters, trees)

    @property
    def softmax(self) -> bool:
        return self.name == "multiclass"

    @property
    def probability(self) -> bool:
        return self.name in self.PROBABILITY

    def last_step(self, steps: Steps, both: bool) -> None:
        """Adds it to the graph."""
        if "sqrt" in self.parameters:
            absolute = steps.last
            steps.then("Abs")
            steps.nodes.append(helper.make_node("Mul", [absolute, steps.last], ["squared"]))
            steps.last = "squared"
        elif self.name in self.EXPONENTIAL:
            steps.then("Exp")
        elif self.name == "cross_entropy_lambda":
            steps.then("Softplus")
        elif self.probability:
            slope = float(self.parameters.get("sigmoid", 1.0))
            if slope != 1.0:
                steps.then("Mul", np.array([slope], np.float32))
            steps.then("Sigmoid")
            if both and self.trees == 1:
                steps.both_classes()


def _zeros_as_missing(blocks: Sequence[dict[str, str]], features: int, node: Any) -> Steps:
    """The ensemble, behind a step that turns zeros into NaN in the columns where the library takes them as missing."""
    kinds: dict[int, set[int]] = {}
    for block in blocks:
        for feature, decision in zip(_ints(block, "split_feature"), _ints(block, "decision_type"), strict=True):
            if not decision & 1:
                kinds.setdefault(feature, set()).add(decision >> 2 & 3)
    zero = {feature for feature, found in kinds.items() if AS_ZERO in found}
    if any(len(kinds[feature]) > 1 for feature in zero):
        raise Refused("LightGBM: a feature takes zeros as missing in one tree and not in another")
    if not zero:
        return Steps([node])
    # Nothing is nearer to 0 than a negative number.
    bound = np.array([[ZERO if feature in zero else -1.0 for feature in range(features)]], np.float32)
    names = {"bound": bound, "missing": np.array(np.nan, np.float32)}
    nodes = [
        helper.make_node("Abs", [INPUT], ["distance"]),
        helper.make_node("LessOrEqual", ["distance", "bound"], ["is_zero"]),
        helper.make_node("Where", ["is_zero", "missing", INPUT], ["marked"]),
    ]
    node.input[:] = ["marked"]
    return Steps([*nodes, node], constants=[numpy_helper.from_array(value, name) for name, value in names.items()])


def _tree(block: dict[str, str], number: int) -> Tree:
    if block.get("is_linear", "0") != "0":
        raise Refused("LightGBM: linear_tree = true is not exported: its leaves are linear models")
    values, tree = _floats(block, "leaf_value"), Tree()
    if int(block["num_leaves"]) == 1:
        tree.leaf(values[0])
        return tree
    source = _Source(
        _ints(block, "split_feature"), _floats(block, "threshold"), _ints(block, "decision_type"),
        _ints(block, "left_child"), _ints(block, "right_child"), values,
        _ints(block, "cat_boundaries"), _ints(block, "cat_threshold"),
    )  # fmt: skip
    source.copy(0, tree, MOST_COPIES * (len(source.feature) * 2 + 64), number)
    return tree


@dataclass(frozen=True)
class _Source:
    """A tree as the library has it: nodes from 0, leaves as their complement."""

    feature: list[int]
    threshold: list[float]
    decision: list[int]
    left: list[int]
    right: list[int]
    value: list[float]
    boundaries: list[int]
    bits: list[int]

    def copy(self, root: int, tree: Tree, most: int, number: int) -> None:
        """The nodes below `root`, and it, into a tree. Iteratively: a tree may be deep."""
        # What is to be made, and where its number goes: a node and whether it is that node's true side.
        pending: list[tuple[int, tuple[int, bool] | None]] = [(root, None)]
        while pending:
            source, parent = pending.pop()
            if len(tree) > most:
                raise Refused(f"LightGBM: the sets of categories of tree {number} take more than {most} nodes")
            if source < 0:
                made = tree.leaf(self.value[~source])
            elif self.decision[source] & 1:
                made = self._categories(source, tree, pending)
            else:
                exact, default_left = self.threshold[source], bool(self.decision[source] & 2)
                missing = self.decision[source] >> 2 & 3
                made = tree.branch(
                    self.feature[source], _threshold(exact), 0.0 <= exact if missing == NEVER else default_left
                )
                pending += [(self.left[source], (made, True)), (self.right[source], (made, False))]
            if parent is not None:
                node, is_true = parent
                tree.join(node, *((made, tree.false[node]) if is_true else (tree.true[node], made)))

    def _categories(self, source: int, tree: Tree, pending: list[tuple[int, tuple[int, bool] | None]]) -> int:
        """A set of categories goes left: intervals of the number line, since the library cuts a value's fraction off. A value
        that is missing or in no interval goes right."""
        first = None
        before: int | None = None

        def below(bound: int) -> int:
            # x < bound, for float32 x.
            node = tree.branch(self.feature[source], np.nextafter(np.float32(bound), np.float32(-np.inf)), False)
            if before is not None:
                tree.join(before, tree.true[before], node)
            return node

        for low, high in self._intervals(source):
            if low == 0:
                # -1 < x: what is cut off goes towards 0.
                start = tree.branch(self.feature[source], np.float32(-1), False)
                if before is not None:
                    tree.join(before, tree.true[before], start)
            else:
                start = below(low)
            first, before = (start if first is None else first), start
            pending.append((self.right[source], (start, True)))
            end = below(high + 1)
            before = end
            pending.append((self.left[source], (end, True)))
        if first is None:
            raise Refused("LightGBM: a node has an empty set of categories")
        pending.append((self.right[source], (before, False)))
        return first

    def _intervals(self, source: int) -> list[tuple[int, int]]:
        """Runs of categories that go left, from lowest to highest."""
        at = int(self.threshold[source])
        words = self.bits[self.boundaries[at] : self.boundaries[at + 1]]
        chosen = [32 * i + bit for i, word in enumerate(words) for bit in range(32) if word >> bit & 1]
        if chosen and chosen[-1] >= MOST_CATEGORY:
            raise Refused(f"LightGBM: category {chosen[-1]} is no float32")
        runs: list[tuple[int, int]] = []
        for category in chosen:
            if runs and runs[-1][1] + 1 == category:
                runs[-1] = (runs[-1][0], category)
            else:
                runs.append((category, category))
        return runs


def _threshold(exact: float) -> np.float32:
    """For float32 rows the same branch. What is nearer to 0 than `ZERO` is 0 before the library looks at any node, so that a
    threshold there is on one side of all of it."""
    if abs(exact) > float(ZERO):
        return float32_not_above(exact)
    return ZERO if exact >= 0 else np.nextafter(-ZERO, np.float32(-np.inf))


def _ints(block: dict[str, str], key: str) -> list[int]:
    return [int(text) for text in block.get(key, "").split()]


def _floats(block: dict[str, str], key: str) -> list[float]:
    return [float(text) for text in block.get(key, "").split()]
