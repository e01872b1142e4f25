"""What needs no training library: graphs of models written by hand, against a twin that reads the same text."""

import json

import numpy as np
import onnx
import pytest
import twin

import pillion_export
from pillion_export import lgbm, parity, xgb
from pillion_export.graph import float32_not_above


def text(objective, trees, features=2, each=1, more=()):
    head = ["tree", "version=v4", f"num_class={each}", f"num_tree_per_iteration={each}", f"max_feature_idx={features - 1}",
            f"objective={objective}", *more, ""]  # fmt: skip
    return "\n".join(head) + "".join(f"\nTree={i}\n{tree}\n" for i, tree in enumerate(trees)) + "\nend of trees\n"


def stump(threshold, decision=2, feature=0, left=1.0, right=-1.0, more=""):
    return (
        f"num_leaves=2\nsplit_feature={feature}\nthreshold={threshold!r}\ndecision_type={decision}\nleft_child=-1\n"
        f"right_child=-2\nleaf_value={left} {right}\n{more}"
    )


def rows_around(*thresholds):
    first = twin.around([*thresholds, 0.0, 1e-35, -1e-35, 1e-40, 3.0])
    first = np.concatenate([first, np.array([np.nan, np.inf, -np.inf], np.float32)])
    return np.column_stack([first, first[::-1]])


def same_as_twin(model, rows):
    got = pillion_export.answers(lgbm.from_text(model), rows)
    np.testing.assert_allclose(got, twin.lightgbm(model, rows), rtol=1e-6, atol=1e-6)


# Between two float32, a hair above one, far outside, at 0.
THRESHOLDS = (-0.99999997, 0.1, -0.1, 1.00000003, 16777217.0, 1e300, -1e300, 0.0, 1e-35, -1e-40, 1e-46, 0.5)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_a_threshold_parts_float32_rows_as_in_float64(threshold):
    rounded = float32_not_above(threshold)
    assert float(rounded) <= threshold
    with np.errstate(over="ignore"):
        assert threshold < float(np.nextafter(rounded, np.float32(np.inf)))
    for decision in (0, 2, 4, 6, 8, 10):  # missing: never, as zero, as NaN; default right and left
        same_as_twin(text("regression", [stump(threshold, decision)]), rows_around(threshold))


def test_compared_in_float32_a_threshold_would_stay_above():
    exact = -0.99999997
    near = np.float32(exact)
    # Rounding to nearest goes up here, and NumPy 2 cannot see it.
    assert float(near) > exact and near <= exact
    assert float(float32_not_above(exact)) < exact


def test_trees_lead_where_the_library_goes():
    rng = np.random.default_rng(3)
    trees = []
    for _ in range(12):
        # A full tree of depth 3: nodes 0 to 6, leaves 0 to 7.
        left, right = [1, 3, 5, -1, -3, -5, -7], [2, 4, 6, -2, -4, -6, -8]
        line = lambda name, values: f"{name}={' '.join(map(str, values))}\n"
        trees.append(
            "num_leaves=8\n" + line("split_feature", rng.integers(0, 2, 7)) + line("threshold", rng.choice(THRESHOLDS, 7))
            + line("decision_type", rng.choice([0, 2, 8, 10], 7)) + line("left_child", left) + line("right_child", right)
            + line("leaf_value", rng.standard_normal(8))
        )  # fmt: skip
    rows = np.array(np.meshgrid(rows_around(*THRESHOLDS)[:, 0], rows_around(*THRESHOLDS)[:, 0])).reshape(2, -1).T
    rows = np.ascontiguousarray(rows[:: 7], np.float32)
    same_as_twin(text("regression", trees), rows)
    same_as_twin(text("regression", trees, more=["average_output"]), rows)
    model = text("multiclass num_class:3", trees, each=3)
    raw = twin.lightgbm(model, rows)
    probabilities = np.exp(raw - raw.max(axis=1, keepdims=True))
    expected = probabilities / probabilities.sum(axis=1, keepdims=True)
    found = pillion_export.check(lgbm.from_text(model), rows, expected, tolerance=(1e-6, 0.0))
    assert found.rows == len(rows) and found.differ == 0


def test_a_single_leaf_and_a_set_of_categories():
    bits = [1 << 0 | 1 << 1 | 1 << 5, 1 << 3]  # 0, 1, 5 and 35 go left
    categories = stump(0, 1, left=2.0, right=-3.0, more=f"cat_boundaries=0 2\ncat_threshold={bits[0]} {bits[1]}\n")
    model = text("regression", [categories, "num_leaves=1\nleaf_value=10.5\n"])
    values = [-2.0, -1.0, -0.5, 0.0, 0.99, 1.0, 1.5, 1.9999999, 2.0, 4.0, 5.0, 5.5, 6.0, 34.0, 35.0, 36.0, 1e9, 1e20]
    rows = rows_around(*values)
    got = pillion_export.answers(lgbm.from_text(model), rows)
    np.testing.assert_array_equal(got, twin.lightgbm(model, rows).astype(np.float32))
    assert set(got.ravel()) == {12.5, 7.5}


LAST_STEPS = {
    "regression sqrt": lambda x: np.sign(x) * x * x,
    "poisson": np.exp,
    "tweedie tweedie_variance_power:1.5": np.exp,
    "binary sigmoid:2.5": lambda x: 1 / (1 + np.exp(-2.5 * x)),
    "cross_entropy": lambda x: 1 / (1 + np.exp(-x)),
    "cross_entropy_lambda": lambda x: np.log1p(np.exp(x)),
    "huber": lambda x: x,
    "lambdarank": lambda x: x,
}


@pytest.mark.parametrize("objective", LAST_STEPS)
def test_an_objectives_last_step_is_in_the_graph(objective):
    model, rows = text(objective, [stump(0.1, left=0.7, right=-1.3), stump(-0.1, feature=1)]), rows_around(0.1, -0.1)
    expected = LAST_STEPS[objective](twin.lightgbm(model, rows))
    pillion_export.check(lgbm.from_text(model), rows, expected, tolerance=(1e-6, 1e-6))
    if objective.startswith("binary"):
        both = pillion_export.answers(lgbm.from_text(model, both=True), rows)
        np.testing.assert_allclose(both, np.column_stack([1 - expected, expected]), atol=1e-6)


def test_refusals_name_what_it_is():
    for model, words in (
        (text("regression", [stump(0.5, more="is_linear=1\n")]), "linear_tree"),
        (text("my_own", [stump(0.5)]), "objective = my_own"),
        (text("regression", [stump(0.5, 4), stump(0.5, 8)]), "zeros as missing"),
        ("no model", "no trees"),
    ):
        with pytest.raises(pillion_export.Refused, match=words):
            lgbm.from_text(model)


def boosted(objective, base, classes=0, name="gbtree", **tree):
    trees = [
        {"left_children": [1, -1, -1], "right_children": [2, -1, -1], "split_indices": [i % 2, 0, 0], "default_left": [i % 2, 0, 0],
         "split_conditions": [0.1 * (1 - 2 * (i % 2)), 0.25 * (i + 1), -0.5], "tree_param": {"size_leaf_vector": "1"}} | tree
        for i in range(6)
    ]  # fmt: skip
    model = {"trees": trees, "tree_info": [i % max(classes, 1) for i in range(6)]}
    booster = {"name": name, "model": model}
    if name == "dart":
        booster = {"name": name, "gbtree": {"model": model}, "weight_drop": [1.0, 0.5, 0.25, 1.0, 1.0, 0.125]}
    parameters = {"num_class": str(classes), "num_feature": "2", "base_score": base}
    return {"learner": {"learner_model_param": parameters, "objective": {"name": objective}, "gradient_booster": booster}}


def boosted_twin(rows, classes=1, drops=(1.0,) * 6):
    sums = np.zeros((len(rows), classes))
    for i in range(6):
        x, threshold = rows[:, i % 2], np.float32(0.1 * (1 - 2 * (i % 2)))
        left = np.where(np.isnan(x), bool(i % 2), x < threshold)
        sums[:, i % classes] += drops[i] * np.where(left, 0.25 * (i + 1), -0.5)
    return sums


def test_xgboost_is_read_from_its_own_json():
    rows = rows_around(0.1, -0.1)
    softmax = lambda x: np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    logistic = lambda x: 1 / (1 + np.exp(-x))
    for model, expected in (
        (boosted("reg:squarederror", "[2.5E-1]"), boosted_twin(rows) + 0.25),
        (boosted("reg:logistic", "2E-1"), logistic(boosted_twin(rows) + np.log(0.25))),
        (boosted("count:poisson", "5E-1"), np.exp(boosted_twin(rows) + np.log(0.5))),
        (boosted("multi:softprob", "5E-1", 3), softmax(boosted_twin(rows, 3))),
        (boosted("reg:squarederror", "0", name="dart"), boosted_twin(rows, 1, (1.0, 0.5, 0.25, 1.0, 1.0, 0.125))),
    ):
        pillion_export.check(xgb.from_json(json.loads(json.dumps(model))), rows, expected, tolerance=(1e-6, 1e-6))
    for model, words in (
        (boosted("binary:hinge", "0"), "objective = binary:hinge"),
        (boosted("reg:squarederror", "0", name="gblinear"), "gblinear"),
        (boosted("reg:squarederror", "0", categories=[1]), "category"),
        (boosted("reg:squarederror", "0", tree_param={"size_leaf_vector": "3"}), "multi_output_tree"),
    ):
        with pytest.raises(pillion_export.Refused, match=words):
            xgb.from_json(model)


def test_a_graph_that_differs_is_told_with_count_and_place():
    model, rows = text("regression", [stump(0.5)]), np.array([[0.0, 0.0], [1.0, 0.0], [0.2, 0.0]], np.float32)
    right = twin.lightgbm(model, rows)
    wrong = right + np.array([[0.0], [0.25], [1e-7]])
    with pytest.raises(pillion_export.Differs) as told:
        pillion_export.check(lgbm.from_text(model), rows, wrong)
    found = told.value.difference
    assert (found.rows, found.differ, found.row, found.largest) == (3, 1, 1, 0.25)
    assert "1 of 3 rows" in str(told.value)
    with pytest.raises(pillion_export.Differs):
        pillion_export.check(lgbm.from_text(model), rows, np.where(right > 0, np.nan, right))
    with pytest.raises(ValueError, match="the graph gives"):
        pillion_export.check(lgbm.from_text(model), rows, np.ones((3, 2)))


def test_names_and_a_fixed_batch_are_in_the_file():
    model, rows = text("regression", [stump(0.5)]), rows_around(0.5)
    made = lgbm.from_text(model, names=["spread", "imbalance_1"], batch=1)
    graph = onnx.load_from_string(made)
    assert {entry.key: json.loads(entry.value) for entry in graph.metadata_props} == {"pillion.features": ["spread", "imbalance_1"]}
    assert [dim.dim_value for dim in graph.graph.input[0].type.tensor_type.shape.dim] == [1, 2]
    np.testing.assert_array_equal(pillion_export.answers(made, rows), pillion_export.answers(lgbm.from_text(model), rows))
    with pytest.raises(ValueError, match="3 names for 2"):
        lgbm.from_text(model, names=["a", "b", "c"])
    with pytest.raises(ValueError, match="differ at number 1"):
        parity.names_of(None, ["a", "b"], ["a", "c"])


def test_nobody_is_told_that_onnxruntime_runs():
    import os

    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
