"""Estimators of the libraries themselves: each graph must answer as its estimator, on rows at the very thresholds too. A
library that is not installed is left out."""

import warnings

import numpy as np
import pytest
import twin

import pillion_export

FEATURES, ROWS = 8, 3_000
EXACT = (1e-6, 1e-5)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(11)
    x = rng.standard_normal((ROWS, FEATURES)).astype(np.float32)
    # Sizes, ratios and signs of a book: few values, many equal, zeros among them.
    x[:, 1] = np.round(x[:, 1] * 3) / 10
    x[:, 2] = np.clip(x[:, 2] * 2, -1, 1)
    x[:, 3] = rng.integers(0, 6, ROWS)
    x[:, 4] *= rng.random(ROWS) < 0.6
    score = x[:, 0] - x[:, 1] * x[:, 2] + (x[:, 3] == 2) + 0.3 * rng.standard_normal(ROWS)
    return x, score


def holes(x):
    return np.where(np.random.default_rng(5).random(x.shape) < 0.15, np.float32(np.nan), x)


def with_neighbours(x, thresholds):
    """The rows, and rows whose values lie at thresholds and one unit in the last place beside them."""
    near = twin.around([t for t in thresholds if abs(t) < 1e30])
    rng = np.random.default_rng(1)
    more = x[rng.integers(0, len(x), 6 * len(near))].copy()
    for feature in range(x.shape[1]):
        more[feature :: x.shape[1], feature] = rng.permutation(np.resize(near, len(more)))[feature :: x.shape[1]]
    return np.concatenate([x, more, np.zeros((1, x.shape[1]), np.float32)])


def lightgbm_thresholds(booster):
    from pillion_export.lgbm import parse

    _, trees = parse(booster.model_to_string())
    return [float(text) for tree in trees for text in tree.get("threshold", "").split()]


LIGHTGBM = {
    "regression": {}, "l1": {"objective": "l1"}, "huber": {"objective": "huber"}, "fair": {"objective": "fair"},
    "quantile": {"objective": "quantile", "alpha": 0.3}, "mape": {"objective": "mape"}, "poisson": {"objective": "poisson"},
    "gamma": {"objective": "gamma"}, "tweedie": {"objective": "tweedie"}, "reg_sqrt": {"reg_sqrt": True},
    "binary": {"objective": "binary"}, "sigmoid": {"objective": "binary", "sigmoid": 2.5},
    "xentropy": {"objective": "cross_entropy"}, "xentlambda": {"objective": "cross_entropy_lambda"},
    "multiclass": {"objective": "multiclass", "num_class": 3}, "ova": {"objective": "multiclassova", "num_class": 3},
    "rf": {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6, "feature_fraction": 0.7},
    "rf multiclass": {"objective": "multiclass", "num_class": 3, "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6},
    "dart": {"boosting": "dart"}, "goss": {"data_sample_strategy": "goss"}, "extra": {"extra_trees": True},
    "zero as missing": {"zero_as_missing": True}, "no missing": {"use_missing": False}, "monotone": {"monotone_constraints": [1] + [0] * 7},
    "categories": {"min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 1},
    "zeros and categories": {"zero_as_missing": True, "min_data_per_group": 5, "max_cat_to_onehot": 1},
}  # fmt: skip


@pytest.mark.parametrize("holed", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("name", LIGHTGBM)
def test_lightgbm(data, name, holed):
    library = pytest.importorskip("lightgbm")
    x, score = data
    x = holes(x) if holed else x
    settings = {"num_leaves": 15, "verbose": -1, "num_threads": 1, "seed": 1, "min_data_in_leaf": 10} | LIGHTGBM[name]
    objective = settings.get("objective", "regression")
    y = score
    if objective in ("poisson", "gamma", "tweedie") or settings.get("reg_sqrt"):
        y = np.abs(score) + 0.1
    elif objective in ("binary", "cross_entropy", "cross_entropy_lambda"):
        y = (score > 0.2).astype(float)
    elif "num_class" in settings:
        y = np.digitize(score, [-0.5, 0.5])
    categories = [3] if "categories" in name else "auto"
    booster = library.train(settings, library.Dataset(x, y, categorical_feature=categories), 25)
    rows = with_neighbours(x, lightgbm_thresholds(booster))
    made = pillion_export.lightgbm(booster, rows, tolerance=EXACT)
    expected = booster.predict(rows)
    assert pillion_export.check(made, rows, expected, tolerance=EXACT).rows == len(rows)
    # The twin reads the same text: the library decides as this package's README says it does.
    some = rows[-200:]
    raw = booster.predict(some, raw_score=True) / (25 if settings.get("boosting") == "rf" else 1)
    np.testing.assert_allclose(twin.lightgbm(booster.model_to_string(), some).ravel(), raw.ravel(), atol=1e-9)


def test_lightgbm_of_scikit_learns_kind(data):
    library = pytest.importorskip("lightgbm")
    pytest.importorskip("sklearn")
    x, score = data
    few = {"n_estimators": 20, "num_leaves": 9, "verbose": -1, "n_jobs": 1}
    for labels in (score > 0, np.digitize(score, [-0.5, 0.5])):
        model = library.LGBMClassifier(**few).fit(x, labels)
        made = pillion_export.lightgbm(model, with_neighbours(x, lightgbm_thresholds(model.booster_)), tolerance=EXACT)
        assert pillion_export.answers(made, x).shape == (ROWS, len(set(labels)))
    model = library.LGBMRegressor(**few, boosting_type="rf", subsample=0.7, subsample_freq=1).fit(x, score)
    pillion_export.lightgbm(model, x, tolerance=EXACT)
    model = library.LGBMRanker(**few).fit(x, np.digitize(score, [-0.5, 0.5]), group=[ROWS // 10] * 10)
    pillion_export.lightgbm(model, x, tolerance=EXACT)
    # Stopped early: the best rounds, not all.
    rows = library.Dataset(x[:500], score[:500])
    other = library.Dataset(x[500:900], score[500:900], reference=rows)
    stop = [library.early_stopping(5, verbose=False)]
    settings = {"verbose": -1, "num_threads": 1, "learning_rate": 0.5}
    booster = library.train(settings, rows, 300, [other], callbacks=stop, keep_training_booster=True)
    assert 1 < booster.best_iteration < booster.current_iteration()
    pillion_export.lightgbm(booster, x, tolerance=EXACT)


def test_lightgbm_refusals(data):
    library = pytest.importorskip("lightgbm")
    x, score = data
    quiet = {"verbose": -1, "num_threads": 1}
    linear = library.train(quiet | {"linear_tree": True}, library.Dataset(x, score), 3)
    with pytest.raises(pillion_export.Refused, match="linear_tree"):
        pillion_export.lightgbm(linear, x)


def test_rounding_to_nearest_is_what_this_package_mends(data):
    """The usual exporter, on the same rows: it answers otherwise. Held here so that the reason is not forgotten."""
    library = pytest.importorskip("lightgbm")
    onnxmltools = pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType

    x, score = data
    booster = library.train({"verbose": -1, "num_threads": 1, "num_leaves": 31}, library.Dataset(x, score), 40)
    rows = with_neighbours(x, lightgbm_thresholds(booster))
    usual = onnxmltools.convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, FEATURES]))])
    usual = usual.SerializeToString()
    assert pillion_export.compare(pillion_export.answers(usual, rows), booster.predict(rows), EXACT).differ > 100
    pillion_export.lightgbm(booster, rows, tolerance=EXACT)


XGBOOST = {
    "squared": {"objective": "reg:squarederror"}, "absolute": {"objective": "reg:absoluteerror"},
    "huber": {"objective": "reg:pseudohubererror"}, "reg:logistic": {"objective": "reg:logistic"},
    "binary": {"objective": "binary:logistic"}, "raw": {"objective": "binary:logitraw"},
    "poisson": {"objective": "count:poisson"}, "gamma": {"objective": "reg:gamma"}, "tweedie": {"objective": "reg:tweedie"},
    "softprob": {"objective": "multi:softprob", "num_class": 3}, "base": {"objective": "reg:squarederror", "base_score": 3.25},
    "logistic base": {"objective": "binary:logistic", "base_score": 0.2}, "lossguide": {"grow_policy": "lossguide", "max_leaves": 12},
    "forest": {"num_parallel_tree": 5, "subsample": 0.7, "eta": 1.0}, "dart": {"booster": "dart", "rate_drop": 0.3},
    "quantile": {"objective": "reg:quantileerror", "quantile_alpha": 0.3}, "exact": {"tree_method": "exact"},
}  # fmt: skip


@pytest.mark.parametrize("holed", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("name", XGBOOST)
def test_xgboost(data, name, holed):
    library = pytest.importorskip("xgboost")
    x, score = data
    x = holes(x) if holed else x
    settings = {"max_depth": 4, "nthread": 1, "seed": 1} | XGBOOST[name]
    objective = settings.get("objective", "")
    y = score
    if objective in ("count:poisson", "reg:gamma", "reg:tweedie"):
        y = np.abs(score) + 0.1
    elif "logi" in objective:
        y = (score > 0.2).astype(float)
    elif "num_class" in settings:
        y = np.digitize(score, [-0.5, 0.5])
    booster = library.train(settings, library.DMatrix(x, y), 15)
    thresholds = booster.trees_to_dataframe()["Split"].dropna()
    rows = with_neighbours(x, thresholds)
    made = pillion_export.xgboost(booster, rows, tolerance=EXACT)
    assert pillion_export.check(made, rows, booster.predict(library.DMatrix(rows)), tolerance=EXACT).rows == len(rows)


def test_xgboost_of_scikit_learns_kind(data):
    library = pytest.importorskip("xgboost")
    x, score = data
    few = {"n_estimators": 20, "max_depth": 3, "n_jobs": 1}
    for labels in ((score > 0).astype(int), np.digitize(score, [-0.5, 0.5])):
        model = library.XGBClassifier(**few).fit(x, labels)
        assert pillion_export.answers(pillion_export.xgboost(model, x, tolerance=EXACT), x).shape == (ROWS, labels.max() + 1)
    noise = np.random.default_rng(2).standard_normal(ROWS)
    model = library.XGBRegressor(**few, early_stopping_rounds=3).fit(x, noise, eval_set=[(x, -noise)], verbose=False)
    assert model.best_iteration < 19
    pillion_export.xgboost(model, x, tolerance=EXACT)
    with pytest.raises(pillion_export.Refused, match="missing = 0"):
        pillion_export.xgboost(library.XGBRegressor(**few, missing=0).fit(x, score), x)
    with pytest.raises(pillion_export.Refused, match="gblinear"):
        pillion_export.xgboost(library.XGBRegressor(n_estimators=2, booster="gblinear").fit(x, score), x)
    with pytest.raises(pillion_export.Refused, match="binary:hinge"):
        pillion_export.xgboost(library.train({"objective": "binary:hinge"}, library.DMatrix(x, score > 0), 2), x)


@pytest.mark.parametrize("holed", [False, True], ids=["whole", "holes"])
@pytest.mark.parametrize("loss", ["RMSE", "MAE", "Poisson", "Tweedie:variance_power=1.5", "Quantile:alpha=0.3", "Logloss", "MultiClass"])
def test_catboost(data, loss, holed):
    library = pytest.importorskip("catboost")
    x, score = data
    x = holes(x) if holed else x
    few = dict(iterations=15, depth=4, verbose=0, random_seed=0, thread_count=1, allow_writing_files=False, loss_function=loss)
    if loss in ("Logloss", "MultiClass"):
        y = (score > 0.2).astype(int) if loss == "Logloss" else np.digitize(score, [-0.5, 0.5])
        model = library.CatBoostClassifier(**few).fit(x, y)
    else:
        y = np.abs(score) + 0.1 if loss.startswith(("Poisson", "Tweedie")) else score
        model = library.CatBoostRegressor(**few).fit(x, y)
    borders = [border for feature in model.get_borders().values() for border in feature]
    rows = with_neighbours(x, borders)
    made = pillion_export.catboost(model, rows, tolerance=EXACT)
    assert pillion_export.answers(made, rows[:5]).shape[1] == {"Logloss": 2, "MultiClass": 3}.get(loss, 1)


def estimators():
    from sklearn import ensemble, linear_model, neural_network, pipeline, preprocessing, tree

    few = {"n_estimators": 8, "max_depth": 6, "random_state": 0}
    scaled = lambda model: pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    return {
        "tree": tree.DecisionTreeRegressor(random_state=0), "forest": ensemble.RandomForestRegressor(**few),
        "extra trees": ensemble.ExtraTreesRegressor(**few), "boosting": ensemble.GradientBoostingRegressor(**few),
        "hist": ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0),
        "ridge": scaled(linear_model.Ridge()), "net": scaled(neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=50, random_state=0)),
        "tree classifier": tree.DecisionTreeClassifier(max_depth=8, random_state=0),
        "forest classifier": ensemble.RandomForestClassifier(**few), "boosting classifier": ensemble.GradientBoostingClassifier(**few),
        "logistic": scaled(linear_model.LogisticRegression()),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["tree", "forest", "extra trees", "boosting", "hist", "ridge", "net", "tree classifier",
                                  "forest classifier", "boosting classifier", "logistic"])  # fmt: skip
def test_scikit_learn(data, name):
    pytest.importorskip("skl2onnx")
    x, score = data
    model = estimators()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(x, np.digitize(score, [-0.5, 0.5]) if "classifier" in name or name == "logistic" else score)
    rows = with_neighbours(x, thresholds_of(model))
    made = pillion_export.sklearn(model, rows, tolerance=(1e-5, 1e-5))
    assert pillion_export.answers(made, rows).shape[0] == len(rows)


def thresholds_of(model):
    trees = np.ravel(model.estimators_) if hasattr(model, "estimators_") else [model]
    return [t for tree in trees if hasattr(tree, "tree_") for t in tree.tree_.threshold if t != -2.0] or [0.0]


def test_a_frame_becomes_one_packed_input(data):
    pytest.importorskip("skl2onnx")
    pandas = pytest.importorskip("pandas")
    import json

    import onnx
    from sklearn import compose, linear_model, pipeline, preprocessing

    x, score = data
    names = [f"feature_{i}" for i in range(FEATURES)]
    frame = pandas.DataFrame(x, columns=names)
    parts = compose.ColumnTransformer([
        ("scaled", preprocessing.StandardScaler(), names[:3]), ("ranged", preprocessing.MinMaxScaler(), names[5:2:-1]),
    ])  # fmt: skip
    for model in (pipeline.make_pipeline(parts, linear_model.Ridge()), pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.Ridge())):
        made = pillion_export.sklearn(model.fit(frame, score), frame, tolerance=(1e-4, 1e-4))
        graph = onnx.load_from_string(made)
        assert [value.name for value in graph.graph.input] == ["features"]
        (fact,) = graph.metadata_props
        assert (fact.key, json.loads(fact.value)) == ("pillion.features", names)
        assert pillion_export.answers(made, x).shape == (ROWS, 1)
    # Of a pipeline that takes all columns as they stand nothing is cut out and put together again.
    assert not {node.op_type for node in graph.graph.node} & {"Gather", "Concat", "FeatureVectorizer"}
    with pytest.raises(ValueError, match="differ at number 0"):
        pillion_export.sklearn(model, frame, names=names[::-1])


def test_a_wrong_export_does_not_get_out(data, monkeypatch):
    """The check itself: an exporter that rounds to nearest is caught by the package before it returns."""
    library = pytest.importorskip("lightgbm")
    from pillion_export import lgbm

    x, score = data
    booster = library.train({"verbose": -1, "num_threads": 1}, library.Dataset(x, score), 10)
    rows = with_neighbours(x, lightgbm_thresholds(booster))
    monkeypatch.setattr(lgbm, "float32_not_above", np.float32)
    with pytest.raises(pillion_export.Differs, match="rows differ from the estimator"):
        pillion_export.lightgbm(booster, rows)


def test_catboosts_other_losses(data):
    library = pytest.importorskip("catboost")
    x, score = data
    few = dict(iterations=15, depth=4, verbose=0, random_seed=0, thread_count=1, allow_writing_files=False)
    each = library.CatBoostClassifier(loss_function="MultiClassOneVsAll", **few).fit(x, np.digitize(score, [-0.5, 0.5]))
    pillion_export.catboost(each, x, tolerance=EXACT)
    several = library.CatBoostRegressor(loss_function="MultiRMSE", **few).fit(x, np.column_stack([score, -score]))
    with pytest.raises(pillion_export.Refused, match="several targets"):
        pillion_export.catboost(several, x)


def test_scaled_trees_divide_as_the_estimator_does(data):
    """Times the inverse, a value beside a threshold falls on the other side of it."""
    pytest.importorskip("skl2onnx")
    from sklearn import ensemble, pipeline, preprocessing

    x, score = data
    for scaler in (preprocessing.StandardScaler(), preprocessing.RobustScaler()):
        model = pipeline.make_pipeline(scaler, ensemble.RandomForestRegressor(8, max_depth=8, random_state=0)).fit(x, score)
        pillion_export.sklearn(model, x, tolerance=EXACT)


def test_scores_without_probabilities(data):
    pytest.importorskip("skl2onnx")
    from sklearn import linear_model, pipeline, preprocessing, svm

    x, score = data
    for labels in (score > 0.2, np.digitize(score, [-0.5, 0.5])):
        for model in (svm.LinearSVC(), pipeline.make_pipeline(preprocessing.StandardScaler(), svm.LinearSVC()), linear_model.LogisticRegression()):
            made = pillion_export.sklearn(model.fit(x, labels), x, method="decision_function", tolerance=(1e-5, 1e-4))
            assert pillion_export.answers(made, x).shape[1] == np.reshape(model.decision_function(x), (ROWS, -1)).shape[1]


def test_a_frame_for_what_takes_whole_rows_alone(data):
    pytest.importorskip("skl2onnx")
    pandas = pytest.importorskip("pandas")
    from sklearn import ensemble

    x, score = data
    frame = pandas.DataFrame(x, columns=[f"feature_{i}" for i in range(FEATURES)])
    model = ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0).fit(frame, score)
    pillion_export.sklearn(model, frame, tolerance=(1e-5, 1e-5))


def test_another_library_within_a_pipeline_is_refused_with_a_way_out(data):
    pytest.importorskip("skl2onnx")
    library = pytest.importorskip("lightgbm")
    from sklearn import pipeline, preprocessing

    x, score = data
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), library.LGBMRegressor(n_estimators=3, verbose=-1, n_jobs=1))
    with pytest.raises(pillion_export.Refused, match="pillion_export.lightgbm"):
        pillion_export.sklearn(model.fit(x, score), x)
