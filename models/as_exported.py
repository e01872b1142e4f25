"""Makes tests/as_exported: models as each library's exporter writes them, nothing mended, with what Python's ONNX Runtime answers.

    .venv/bin/pip install --requirement models/requirements-zoo.txt pandas
    ORT_DISABLE_TELEMETRY=1 .venv/bin/python models/as_exported.py

index.toml has for each file the arguments of `pillion model new` that it needs, three rows in the order of the set's features
with the answers of the *file*, whose inputs may stand in another order, and whether the native engine takes it; or the words
of its refusal.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # ONNX Runtime asks while it is imported, and calls home unless told so

import pathlib
import tempfile
import warnings

import catboost
import lightgbm
import numpy as np
import onnx
import onnxruntime
import pandas
import xgboost
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from skl2onnx import to_onnx
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import AdaBoostClassifier, RandomForestRegressor
from sklearn.feature_selection import SelectKBest, VarianceThreshold
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.mixture import GaussianMixture
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (KBinsDiscretizer, MinMaxScaler, OneHotEncoder, PolynomialFeatures, PowerTransformer,
                                   QuantileTransformer, StandardScaler)
from sklearn.svm import NuSVC

OUT = pathlib.Path(__file__).parent.parent / "tests" / "as_exported"
SET = [f"ofi_scaled_1_{i}e" for i in range(1, 7)]
OTHER = [SET[i] for i in (3, 0, 5, 1, 4, 2)]
F = np.float32
warnings.filterwarnings("ignore")

rng = np.random.default_rng(11)
X = rng.standard_normal((240, 6)).astype(F)
X[:, 5] = np.round(X[:, 5])
UP = (X[:, 0] + 0.3 * X[:, 1] + 0.2 * rng.standard_normal(240) > 0).astype(int)
WAY = np.digitize(X[:, 0], [-0.5, 0.5])
MOVE = (X @ np.arange(6) / 6).astype(F)
FRAME = pandas.DataFrame(X, columns=SET)
ROWS = X[[3, 77, 150]]


def answers(model, output, window=None, turn=False):
    """What the file says to each row, or to the one window that the rows make."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    kind = {"tensor(float)": F, "tensor(double)": np.float64}
    answers = []
    for row in ROWS if window is None else [window]:
        if len(inputs) > 1:
            feed = {i.name: np.array([[row[SET.index(i.name)]]], kind[i.type]) for i in inputs}
        else:
            value = row.T if turn else row
            feed = {inputs[0].name: value.astype(kind[inputs[0].type]).reshape(1, *value.shape) if len(inputs[0].shape) > 1 else value}
        values = session.run([output] if isinstance(output, str) else output, feed)
        values = [np.array(list(y[0].values())) if isinstance(y, list) else y for y in values]
        answers.append(np.concatenate([np.ravel(y) for y in values]).astype(float).tolist())
    return answers


def net(inputs, dims, build, output="y", kind=TensorProto.FLOAT, gives=TensorProto.FLOAT, names=None):
    """A small graph by hand, as torch writes such."""
    nodes, constants = build()
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info(inputs, kind, dims)],
                              [helper.make_tensor_value_info(output, gives, None)], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="pytorch")
    if names:
        helper.set_model_props(model, {"feature_names": names})
    return model


def constant(name, *dims, kind=F):
    return numpy_helper.from_array((np.random.default_rng(len(name)).standard_normal(dims) * 0.3).astype(kind), name)


def numbers(name, values, kind=np.int64):
    return numpy_helper.from_array(np.array(values, kind), name)


def integers(op, *inputs, **more):
    """The integers that the row is cast to, in an operator of integers; `i` among the inputs is the row."""
    def build():
        nodes = [helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64), helper.make_node(op, inputs, ["d"], name="d", **more),
                 helper.make_node("Cast", ["d"], ["f"], to=TensorProto.FLOAT), helper.make_node("MatMul", ["f", "w"], ["y"])]
        return nodes, [constant("w", 6, 2), numbers("minus", -1), numbers("three", 3), numbers("seven", 7)]
    return build


def dense(width=6, kind=F):
    return lambda: ([helper.make_node("MatMul", ["x", "w"], ["y"])], [constant("w", width, 2, kind=kind)])


def conv(channels, rows):
    def build():
        nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["r"]),
                 helper.make_node("Flatten", ["r"], ["f"]), helper.make_node("MatMul", ["f", "v"], ["y"])]
        return nodes, [constant("w", 4, channels, 3), constant("v", 4 * (rows - 2), 2)]
    return build


def catboosted(model, labels, **params):
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/model.onnx"
        model(iterations=6, depth=3, verbose=0, allow_writing_files=False, random_seed=1, **params).fit(FRAME, labels).save_model(path, format="onnx")
        return onnx.load(path)


def models():
    """Name, file, published output, whether the native engine takes it, and what else the index says."""
    types = [("x", FloatTensorType([None, 6]))]
    logistic = LogisticRegression
    frame = lambda model, y=UP, data=FRAME[OTHER]: to_onnx(model.fit(data, y), data[:1])
    plain = lambda model, y=UP, data=X: to_onnx(model.fit(data, y), data[:1])
    prob = "output_probability"
    # One input for each column, in another order than the set's.
    yield "frame", frame(make_pipeline(StandardScaler(), logistic())), prob, True, {"labels": ["0", "1"]}
    some = ColumnTransformer([("s", StandardScaler(), SET[:2]), ("p", "passthrough", [SET[4]])])
    yield "frame_transformer", frame(make_pipeline(some, logistic())), prob, True, {}
    doubles = FRAME[OTHER].astype(float)
    model = make_pipeline(StandardScaler(), logistic()).fit(doubles, UP)
    yield "frame_double", to_onnx(model, doubles[:1], options={"zipmap": False}), "probabilities", True, {}
    whole = FRAME[OTHER].assign(**{SET[5]: X[:, 5].astype(int)})
    yield "frame_integers", frame(make_pipeline(StandardScaler(), logistic()), data=whole), None, None, {
        "words": ["`ofi_scaled_1_6e` is int64", "df.astype"]}
    yield "frame_short", frame(make_pipeline(StandardScaler(), logistic()), data=FRAME[SET[:4]]), None, None, {"words": ["it has none for `ofi_scaled_1_5e`, `ofi_scaled_1_6e`"]}
    yield "frame_foreign", frame(make_pipeline(StandardScaler(), logistic()), data=FRAME.rename(columns={SET[2]: "vwap"})), None, None, {
        "words": ["it has none for `ofi_scaled_1_3e`; the set has no `vwap`"]}
    # ZipMaps, and dimensions that are not those of a run.
    yield "sk_logistic", plain(logistic()), prob, True, {"labels": ["0", "1"]}
    yield "sk_nusvc", plain(NuSVC(), WAY), prob, False, {"labels": ["0", "1", "2"]}
    yield "sk_perceptron", plain(Perceptron(), WAY), prob, True, {"labels": ["0", "1", "2"]}
    yield "sk_one_vs_one", plain(OneVsOneClassifier(logistic()), WAY), prob, False, {"labels": ["0", "1", "2"]}
    yield "sk_one_vs_rest", plain(OneVsRestClassifier(logistic()), WAY), prob, True, {}
    yield "lgbm_classifier", convert_lightgbm(lightgbm.LGBMClassifier(n_estimators=6, num_leaves=5, verbose=-1).fit(X, WAY), initial_types=types), "probabilities", True, {"labels": ["0", "1", "2"]}
    yield "lgbm_regressor", convert_lightgbm(lightgbm.LGBMRegressor(n_estimators=6, num_leaves=5, verbose=-1).fit(X, MOVE), initial_types=types), "variable", True, {}
    yield "xgb_classifier", convert_xgboost(xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(X, WAY), initial_types=types), "probabilities", True, {}
    yield "xgb_hinge", convert_xgboost(xgboost.XGBClassifier(n_estimators=5, max_depth=3, objective="binary:hinge").fit(X, UP), initial_types=types), "probabilities", True, {}
    yield "cat_regressor", catboosted(catboost.CatBoostRegressor, MOVE), "predictions", True, {}
    yield "cat_classifier", catboosted(catboost.CatBoostClassifier, np.where(UP, "up", "down")), "probabilities", True, {"labels": ["down", "up"]}
    yield "cat_multiclass", catboosted(catboost.CatBoostClassifier, WAY), "probabilities", True, {"labels": ["0", "1", "2"]}
    yield "forest_two_targets", plain(RandomForestRegressor(3, max_depth=3), np.c_[MOVE, -2 * MOVE]), "variable", True, {}
    # Pipelines that take columns apart.
    for encode in ("ordinal", "onehot-dense"):
        yield f"sk_bins_{encode[:3]}", plain(make_pipeline(KBinsDiscretizer(4, encode=encode), logistic())), prob, True, {}
    hot = ColumnTransformer([("o", OneHotEncoder(handle_unknown="ignore"), [5]), ("s", StandardScaler(), [1, 2, 3])])
    yield "sk_one_hot", plain(make_pipeline(hot, logistic())), prob, True, {}
    yield "sk_columns", plain(make_pipeline(ColumnTransformer([("a", StandardScaler(), [0, 2]), ("b", MinMaxScaler(), [1, 4])], remainder="passthrough"), logistic())), prob, True, {}
    yield "sk_best", plain(make_pipeline(SelectKBest(k=3), logistic())), prob, True, {}
    yield "sk_variance", plain(make_pipeline(VarianceThreshold(0.9), logistic())), prob, True, {}
    yield "sk_polynomial", plain(make_pipeline(PolynomialFeatures(2), logistic())), prob, True, {}
    for method in ("sigmoid", "isotonic"):
        yield f"sk_calibrated_{method}", plain(CalibratedClassifierCV(logistic(), method=method, cv=2)), prob, True, {}
    yield "sk_gaussian_nb", plain(GaussianNB()), prob, True, {}
    yield "sk_bernoulli_nb", plain(BernoulliNB()), prob, True, {}
    yield "sk_multinomial_nb", plain(make_pipeline(MinMaxScaler(), MultinomialNB()), WAY), prob, True, {}
    for kind in ("full", "diag"):
        yield f"sk_mixture_{kind}", plain(GaussianMixture(3, covariance_type=kind, random_state=1)), "probabilities", True, {}
    yield "sk_k_means", plain(KMeans(3, n_init=1, random_state=1)), "scores", True, {}
    yield "sk_boosted_stumps", plain(AdaBoostClassifier(n_estimators=4, random_state=1), WAY), prob, True, {}
    yield "sk_power", plain(make_pipeline(PowerTransformer(), logistic())), prob, True, {}
    yield "sk_quantile", plain(make_pipeline(QuantileTransformer(n_quantiles=8), logistic())), prob, False, {}
    # Other floats, labels alone, and shapes that only their user knows.
    yield "double", net("x", [None, 6], dense(kind=np.float64), kind=TensorProto.DOUBLE, gives=TensorProto.DOUBLE), "y", True, {}
    label = lambda: ([helper.make_node("MatMul", ["x", "w"], ["s"]), helper.make_node("ArgMax", ["s"], ["y"], axis=1, keepdims=0)], [constant("w", 6, 2)])
    yield "label", net("x", [None, 6], label, gives=TensorProto.INT64), "y", True, {"args": ["--output", "y"]}
    yield "label_unnamed", net("x", [None, 6], label, gives=TensorProto.INT64), None, None, {"words": ["int64", "--output y"]}
    yield "open", net("x", ["batch", "n"], dense()), "y", True, {}
    yield "open_row", net("x", ["n"], dense()), "y", True, {}
    declared = net("x", [None, 6], dense())
    declared.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1]))
    yield "declared_otherwise", declared, "y", True, {}
    yield "batch_of_4", net("x", [4, 6], dense()), None, None, {"words": ["fixed at 4", "--window 4"]}
    channels = ["--layout", "channels-first"]
    yield "channels_first", net("x", ["batch", 6, 8], conv(6, 8)), "y", True, {"args": channels, "window": 8, "turn": True}
    yield "channels_undeclared", net("x", ["batch", 6, 8], conv(6, 8)), None, None, {"words": ["6 channels of 8", "--layout channels-first"]}
    yield "square", net("x", ["batch", 6, 6], conv(6, 6)), "y", True, {"window": 6}
    yield "square_channels", net("x", ["batch", 6, 6], conv(6, 6)), "y", True, {"args": channels, "window": 6, "turn": True}
    yield "named_columns", net("x", [None, 6], dense(), names=",".join(SET)), "y", True, {}
    yield "named_otherwise", net("x", [None, 6], dense(), names=",".join(OTHER)), None, None, {"words": ["column 0 is `ofi_scaled_1_4e`, feature 0 of the set `ofi_scaled_1_1e`"]}

    # Names of values, each by its own output.
    both = net("x", [None, 6], lambda: ([helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("ReduceMax", ["y"], ["edge"], axes=[1])], [constant("w", 6, 3)]), output="edge")
    both.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))
    yield "two_outputs", both, ["edge", "y"], True, {"labels": ["edge", "y_0", "y_1", "y_2"]}
    yield "named_by_nobody", net("x", [None, 6], dense(), names=",".join(f"f{i}" for i in range(6))), "y", True, {}
    # Integers divided: the least one by -1 ends the process.
    yield "divided_by_minus_one", net("x", [None, 6], integers("Div", "i", "minus")), None, None, {"words": ["node `d` divides integers", "a constant other than 0 and -1"]}
    yield "divided_by_a_row", net("x", [None, 6], integers("Mod", "seven", "i")), None, None, {"words": ["node `d` divides integers", "divide floats"]}
    yield "divided_by_three", net("x", [None, 6], integers("Div", "i", "three")), "y", True, {}
    # Faults that another export does not mend.
    def strange():
        return [helper.make_node("MatMul", ["x", "w"], ["s"]), helper.make_node("Mine", ["s"], ["y"], domain="own")], [constant("w", 6, 2)]
    foreign = net("x", [None, 6], strange)
    foreign.opset_import.append(helper.make_opsetid("own", 1))
    yield "foreign_operator", foreign, None, None, {"words": ["own:Mine", "ONNX's own operators"]}
    noisy = lambda: ([helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["n"]), helper.make_node("MatMul", ["n", "w"], ["y"])], [constant("w", 6, 2)])
    yield "chance", net("x", [None, 6], noisy), None, None, {"words": ["the same row differently", "model.eval()"]}
    many = lambda: ([helper.make_node("MatMul", ["x", "w"], ["y"])], [constant("w", 6, 17)])
    yield "seventeen", net("x", [None, 6], many), None, None, {"words": ["17 values", "Slice"]}
    steering = lambda: ([helper.make_node("MatMul", ["x", "w"], ["y\x1b[31m"])], [constant("w", 6, 2)])
    yield "steering_name", net("x", [None, 6], steering, output="y\x1b[31m"), None, None, {"words": ["steers a terminal", "rename that input or output"]}
    yield "one_wide", net("x", [None, 1], dense(1)), None, None, {"words": ["not 1 rows of 6 values", "of 1 feature, with --features"]}
    yield "one_fixed", net("x", [1, 1], dense(1)), None, None, {"words": ["not 1 rows of 6 values", "of 1 feature, with --features"]}
    outside = net("x", [None, 6], dense())
    for tensor in outside.graph.initializer:
        external_data_helper.set_external_data(tensor, "weights.bin")
        tensor.ClearField("raw_data")
    yield "weights_outside", outside, None, None, {"words": ["has its values outside the file", "external_data=False"]}


def main():
    OUT.mkdir(exist_ok=True)
    for old in OUT.glob("*.onnx"):
        old.unlink()
    rows = []
    for name, model, output, native, more in models():
        # CatBoost writes the time of training and every parameter.
        if model.producer_name == "CatBoost":
            del model.metadata_props[:]
        (OUT / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        row = f'[[model]]\nname = "{name}"\nargs = {more.get("args", [])}\n'
        if "words" in more:
            rows.append(row + f"words = {more['words']!r}\n")
            continue
        window = X[20:20 + more["window"]] if "window" in more else None
        given = ROWS.tolist() if window is None else [window.ravel().tolist()]
        row += f"native = {str(native).lower()}\nlabels = {more.get('labels', [])}\nrows = {given}\n"
        rows.append(row + f"answers = {answers(model, output, window, more.get('turn', False))}\n")
    (OUT / "index.toml").write_text("# Made by models/as_exported.py.\n\n" + "\n".join(rows))
    total = sum(file.stat().st_size for file in OUT.iterdir())
    print(f"{len(rows)} files, {total:,} bytes")


if __name__ == "__main__":
    main()
