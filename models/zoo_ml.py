"""Operators of ai.onnx.ml, and what the exporters of scikit-learn, LightGBM, XGBoost and CatBoost make of pipelines and ensembles."""

import tempfile
import warnings
from unittest import mock

import numpy as np
import onnx

from zoo import Net

INPUTS = 6


def forest(rng, trees, depth, targets, modes, missing, positive=False, ids=None, sure=1):
    """Attributes of random trees of uneven depth, without a leaf on the first `sure` levels below the root."""
    a = {f"nodes_{k}": [] for k in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")}
    a["nodes_missing_value_tracks_true"] = []
    leaves = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree in range(trees):
        queue, made = [(0, 0)], 1
        while queue:
            node, level = queue.pop(0)
            leaf = level == depth or (level > sure and rng.random() < 0.3)
            mode = "LEAF" if leaf else str(rng.choice(modes))
            yes, no = (0, 0) if leaf else (made, made + 1)
            if leaf:
                for target in ids or range(targets):
                    weight = rng.standard_normal() / trees
                    for key, value in zip(leaves, (tree, node, target, abs(weight) if positive else weight)):
                        leaves[key].append(value)
            else:
                queue += [(yes, level + 1), (no, level + 1)]
                made += 2
            # Thresholds on a grid that holds 0, which rows of zeros hit exactly.
            values = (tree, node, int(rng.integers(INPUTS)), float(rng.integers(-3, 4)) / 2, mode, yes, no)
            for key, value in zip(list(a)[:7], values):
                a[key].append(value)
            a["nodes_missing_value_tracks_true"].append(int(missing and rng.random() < 0.5))
    if not missing:
        del a["nodes_missing_value_tracks_true"]
    return a, leaves


def models():
    made = {}
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]

    def add(name, build, inputs=INPUTS, version=3):
        net = Net(name, inputs)
        model = net.model(build(net))
        for opset in model.opset_import:
            opset.version = version if opset.domain == "ai.onnx.ml" else opset.version
        made[name] = (model, inputs, None)

    def regressor(name, targets=1, modes=modes[:1], missing=False, trees=11, depth=5, tensors=False, turns=False, sure=1, **more):
        def build(n):
            a, leaves = forest(n.rng, trees, depth, 1 if turns else targets, modes, missing, sure=sure)
            if turns:
                leaves["ids"] = [tree % targets for tree in leaves["treeids"]]
            a.update({f"target_{k}": v for k, v in leaves.items()})
            for key in ("nodes_values", "target_weights") if tensors else ():
                a[f"{key}_as_tensor"] = np.array(a.pop(key), np.float32)
            return n.mlop("TreeEnsembleRegressor", "x", n_targets=targets, **a, **more)
        add(f"trees_{name}", build)

    def classifier(name, classes, ids=None, positive=False, modes=modes[:1], scale=1.0, strings=False, **more):
        def build(n):
            a, leaves = forest(n.rng, 9, 4, classes, modes, False, positive, ids)
            leaves["weights"] = [w * scale for w in leaves["weights"]]
            a.update({f"class_{k}": v for k, v in leaves.items()})
            labels = {"classlabels_strings": list("abcde"[:classes])} if strings else {"classlabels_int64s": list(range(classes))}
            return n.mlop("TreeEnsembleClassifier", "x", outputs=2, **labels, **a, **more)[1]
        add(f"trees_{name}", build)

    for mode in modes + ["BRANCH_EQ", "BRANCH_NEQ"]:
        low = mode.lower()
        regressor(low, modes=[mode])
        regressor(f"{low}_missing", modes=[mode], missing=True)
    regressor("mixed_modes", modes=modes, missing=True, trees=24, depth=7)
    regressor("every_mode", modes=modes + ["BRANCH_EQ", "BRANCH_NEQ"], missing=True, trees=70, depth=6)
    regressor("one", trees=1)
    regressor("stumps", trees=8, depth=1)
    regressor("base", base_values=[0.7])
    regressor("targets", targets=3, base_values=[0.1, 0.2, 0.3])
    regressor("average", aggregate_function="AVERAGE", base_values=[0.4])
    for aggregate in ("AVERAGE", "MIN", "MAX"):
        low = aggregate.lower()
        regressor(f"{low}_of_one", trees=20, aggregate_function=aggregate)
        regressor(f"{low}_of_three", targets=3, trees=20, aggregate_function=aggregate, base_values=[0.1, 0.2, 0.3])
        # Each tree has one target.
        regressor(f"{low}_in_turn", targets=3, trees=40, aggregate_function=aggregate, turns=True)
    regressor("in_turn", targets=3, trees=300, depth=4, turns=True, base_values=[0.1, 0.2, 0.3])
    regressor("many_targets", targets=11, trees=9)
    # More leaves than a byte can number, beside trees that have fewer.
    regressor("deep", trees=3, depth=12, sure=9, missing=True)
    regressor("probit", post_transform="PROBIT", base_values=[0.5])
    regressor("probit_of_three", targets=3, post_transform="PROBIT", base_values=[0.8, 0.25, 0.75])
    regressor("float_tensors", tensors=True, base_values_as_tensor=np.array([0.25], np.float32))
    for post in ("LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
        regressor(f"{post.lower()}_of_three", targets=3, post_transform=post)
        classifier(f"three_classes_{post.lower()}", 3, post_transform=post)
    classifier("three_classes", 3)
    classifier("three_classes_base", 3, base_values=[0.5, -0.5, 0.1], strings=True)
    classifier("two_scores", 2)
    classifier("two_scores_softmax", 2, post_transform="SOFTMAX")
    classifier("two_scores_logistic", 2, post_transform="LOGISTIC")
    for post in ("NONE", "LOGISTIC"):
        for i in (0, 1):
            for positive in (False, True):
                name = f"one_score_{post.lower()}_of_{i}" + ("_positive" if positive else "")
                classifier(name, 2, [i], positive, post_transform=post)
    for post in ("SOFTMAX", "SOFTMAX_ZERO"):
        for positive in (False, True):
            name = f"one_score_{post.lower()}" + ("_positive" if positive else "")
            classifier(name, 2, [0], positive, post_transform=post)
        classifier(f"one_score_{post.lower()}_of_1", 2, [1], post_transform=post)
    classifier("five_classes", 5, strings=True)
    # The last class has no tree.
    classifier("class_without_trees", 4, [0, 1, 2])
    classifier("one_score_above_one", 2, [0], True, scale=20.0)
    classifier("one_score_base", 2, [0], base_values=[0.3], post_transform="LOGISTIC")
    classifier("one_score_base_positive", 2, [0], True, base_values=[-0.3])
    version_5(add)

    add("linear_regressor", lambda n: n.mlop("LinearRegressor", "x", coefficients=n.random(6).tolist(), intercepts=[0.5]))
    add("linear_regressor_targets", lambda n: n.mlop(
        "LinearRegressor", "x", coefficients=n.random(18).tolist(), intercepts=[0.5, 0.1, 0.2], targets=3))
    for post in ("NONE", "LOGISTIC", "SOFTMAX"):
        add(f"linear_classifier_{post.lower()}", lambda n: n.mlop(
            "LinearClassifier", "x", outputs=2, coefficients=n.random(18).tolist(), intercepts=[0.5, 0.1, 0.2],
            classlabels_ints=[0, 1, 2], post_transform=post)[1])
        add(f"linear_two_classes_{post.lower()}", lambda n: n.mlop(
            "LinearClassifier", "x", outputs=2, coefficients=n.random(12).tolist(), intercepts=[0.5, -0.5],
            classlabels_ints=[0, 1], post_transform=post)[1])
    for post in ("NONE", "LOGISTIC"):
        add(f"linear_one_score_{post.lower()}", lambda n: n.mlop(
            "LinearClassifier", "x", outputs=2, coefficients=n.random(6).tolist(), intercepts=[0.5],
            classlabels_ints=[0, 1], post_transform=post)[1])
    add("scaler", lambda n: n.mlop("Scaler", "x", offset=n.random(6).tolist(), scale=n.random(6).tolist()))
    add("scaler_one", lambda n: n.mlop("Scaler", "x", offset=[0.5], scale=[3.0]))
    for norm in ("L1", "L2", "MAX"):
        add(f"normalizer_{norm.lower()}", lambda n: n.mlop("Normalizer", "x", norm=norm))
    add("binarizer", lambda n: n.mlop("Binarizer", "x", threshold=0.25))
    nan = float("nan")
    add("imputer_one", lambda n: n.mlop("Imputer", "x", imputed_value_floats=[0.5], replaced_value_float=nan))
    add("imputer_each", lambda n: n.mlop("Imputer", "x", imputed_value_floats=n.random(6).tolist(), replaced_value_float=nan))
    pipelines(made)
    return made


def ensemble_5(rng, trees, depth, targets, modes, missing=False):
    """Attributes of `TreeEnsemble`: as `forest`, with the leaves apart."""
    old, leaves = forest(rng, trees, depth, 1, ["BRANCH_LEQ"], missing)
    places, of_leaf, n = {}, {}, len(old["nodes_modes"])
    for i in range(n):
        of = of_leaf if old["nodes_modes"][i] == "LEAF" else places
        of[old["nodes_treeids"][i], old["nodes_nodeids"][i]] = len(of)
    a = {f"nodes_{k}": [] for k in ("featureids", "truenodeids", "falsenodeids", "trueleafs", "falseleafs")}
    splits, picked, roots, tracks = [], [], [], []
    for i in range(n):
        tree, node = old["nodes_treeids"][i], old["nodes_nodeids"][i]
        if old["nodes_modes"][i] == "LEAF":
            continue
        if node == 0:
            roots.append(len(splits))
        splits.append(old["nodes_values"][i])
        picked.append(int(rng.choice(modes)))
        a["nodes_featureids"].append(old["nodes_featureids"][i])
        tracks.append(old["nodes_missing_value_tracks_true"][i] if missing else 0)
        for side in ("true", "false"):
            child = tree, old[f"nodes_{side}nodeids"][i]
            a[f"nodes_{side}leafs"].append(int(child in of_leaf))
            a[f"nodes_{side}nodeids"].append(of_leaf.get(child, places.get(child)))
    a |= {"nodes_missing_value_tracks_true": tracks} if missing else {}
    return a | dict(
        tree_roots=roots, n_targets=targets, leaf_targetids=[tree % targets for tree in leaves["treeids"]],
        nodes_splits=np.array(splits, np.float32), nodes_modes=np.array(picked, np.uint8),
        leaf_weights=np.array(leaves["weights"], np.float32))


def version_5(add):
    def ensemble(name, trees=11, depth=5, targets=1, modes=(0,), missing=False, **more):
        add(f"trees5_{name}", lambda n: n.mlop(
            "TreeEnsemble", "x", **ensemble_5(n.rng, trees, depth, targets, modes, missing), **more), version=5)

    ensemble("plain")
    ensemble("every_mode", modes=range(6), missing=True, trees=20)
    for i, low in enumerate(("average", "sum", "min", "max")):
        ensemble(low, aggregate_function=i)
        ensemble(f"{low}_of_three", trees=12, targets=3, aggregate_function=i)
    for i, low in ((3, "softmax_zero"), (4, "probit")):
        ensemble(f"{low}_of_three", trees=12, targets=3, post_transform=i)
    leaf = dict(nodes_featureids=[0], nodes_truenodeids=[0], nodes_falsenodeids=[0], nodes_trueleafs=[1],
                nodes_falseleafs=[1], tree_roots=[0], leaf_targetids=[0], n_targets=1)
    add("trees5_one_leaf", lambda n: n.mlop("TreeEnsemble", "x", **leaf, nodes_modes=np.array([0], np.uint8), nodes_splits=np.array(
        [0.5], np.float32), leaf_weights=np.array([0.75], np.float32)), version=5)


def one_output(model, which):
    """The file with only the wanted output, called y."""
    for node in model.graph.node:
        node.output[:] = ["y" if o == which else o for o in node.output]
        node.input[:] = ["y" if i == which else i for i in node.input]
    (kept,) = (o for o in model.graph.output if o.name == which)
    kept.name = "y"
    del model.graph.output[:]
    model.graph.output.append(kept)
    return model


def pipelines(made):
    """Trained here, converted, and small."""
    warnings.filterwarnings("ignore")
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as Float
    from skl2onnx import to_onnx
    from sklearn import ensemble, impute, linear_model, neural_network, pipeline, preprocessing, tree

    rng = np.random.default_rng(7)
    x = rng.standard_normal((400, INPUTS)).astype(np.float32)
    score = x[:, 0] - x[:, 1] * x[:, 2] + 0.3 * rng.standard_normal(400)
    two, three = (score > 0).astype(int), np.digitize(score, [-0.7, 0.7])
    few = {"n_estimators": 6, "max_depth": 4, "random_state": 0}
    scaled = lambda model: pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    regressors = {
        "sk_forest": ensemble.RandomForestRegressor(**few),
        "sk_boosting": ensemble.GradientBoostingRegressor(**few),
        "sk_tree": tree.DecisionTreeRegressor(max_depth=5, random_state=0),
        "sk_ridge": scaled(linear_model.Ridge()),
        "sk_mlp": scaled(neural_network.MLPRegressor(hidden_layer_sizes=(12, 5), max_iter=200, random_state=0)),
        "sk_imputed": pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.MinMaxScaler(), linear_model.LinearRegression()),
        "sk_normalized": pipeline.make_pipeline(preprocessing.Normalizer(), linear_model.Ridge()),
    }
    for name, model in regressors.items():
        converted = to_onnx(model.fit(x, score.astype(np.float32)), x[:1], target_opset={"": 17, "ai.onnx.ml": 3})
        converted.graph.input[0].name, old = "x", converted.graph.input[0].name
        rename(converted, old)
        made[name] = (one_output(converted, converted.graph.output[0].name), INPUTS, None)
    classifiers = {
        "sk_logistic": scaled(linear_model.LogisticRegression()),
        "sk_forest_classifier": ensemble.RandomForestClassifier(**few),
        "sk_boosting_classifier": ensemble.GradientBoostingClassifier(**few),
        "sk_mlp_classifier": scaled(neural_network.MLPClassifier(hidden_layer_sizes=(9,), max_iter=200, random_state=0)),
    }
    for name, model in classifiers.items():
        for labels, suffix in ((two, "2"), (three, "3")):
            options = {id(model): {"zipmap": False}}
            converted = to_onnx(model.fit(x, labels), x[:1], options=options, target_opset={"": 17, "ai.onnx.ml": 3})
            old = converted.graph.input[0].name
            converted.graph.input[0].name = "x"
            rename(converted, old)
            made[name + suffix] = (one_output(converted, converted.graph.output[1].name), INPUTS, None)
    types = [("x", Float([None, INPUTS]))]
    small = {"n_estimators": 8, "num_leaves": 9, "verbose": -1, "random_state": 0, "n_jobs": 1}
    holes = np.where(rng.random(x.shape) < 0.1, np.nan, x)
    for name, rows in (("lgbm", x), ("lgbm_holes", holes)):
        made[name] = (one_output(m := convert_lightgbm(lightgbm.LGBMRegressor(**small).fit(rows, score), initial_types=types), m.graph.output[0].name), INPUTS, None)
    few = {"n_estimators": 8, "max_depth": 3, "random_state": 0, "n_jobs": 1}
    for name, rows in (("xgb", x), ("xgb_holes", holes)):
        made[name] = (one_output(m := convert_xgboost(xgboost.XGBRegressor(**few).fit(rows, score), initial_types=types), m.graph.output[0].name), INPUTS, None)
    for labels, suffix in ((two, "2"), (three, "3")):
        m = convert_lightgbm(lightgbm.LGBMClassifier(**small).fit(x, labels), initial_types=types, zipmap=False)
        made[f"lgbm_classifier{suffix}"] = (one_output(m, m.graph.output[1].name), INPUTS, None)
        m = convert_xgboost(xgboost.XGBClassifier(**few).fit(x, labels), initial_types=types)
        made[f"xgb_classifier{suffix}"] = (one_output(m, m.graph.output[1].name), INPUTS, None)
    more(made, x, holes, score, two, three)


def more(made, x, holes, score, two, three):
    """Further learners, with and without holes in what they saw."""
    import catboost
    import lightgbm
    import xgboost
    from onnxmltools import convert_lightgbm, convert_xgboost
    from onnxmltools.convert.common.data_types import FloatTensorType as Float
    from skl2onnx import to_onnx
    from sklearn import ensemble, pipeline, preprocessing, tree

    types = [("x", Float([None, INPUTS]))]
    few = {"n_estimators": 6, "max_depth": 4, "random_state": 0}
    hist = {"max_iter": 8, "max_depth": 4, "random_state": 0}

    # skl2onnx gives lists of booleans where onnx by now asks for integers.
    make = onnx.helper.make_attribute
    whole = lambda v: [int(i) for i in v] if isinstance(v, list) and any(isinstance(i, (bool, np.bool_)) for i in v) else v
    lenient = mock.patch("onnx.helper.make_attribute", lambda key, value, *rest, **named: make(key, whole(value), *rest, **named))

    def sk(name, model, rows, labels, which=0):
        options = {id(model): {"zipmap": False}} if which else None
        # Such a pipeline's last step is the classifier.
        with lenient:
            converted = to_onnx(model.fit(rows, labels), rows[:1].astype(np.float32), options=options,
                                target_opset={"": 17, "ai.onnx.ml": 3})
        old = converted.graph.input[0].name
        converted.graph.input[0].name = "x"
        rename(converted, old)
        # It says [1] for three targets.
        converted.graph.output[which].type.tensor_type.ClearField("shape")
        made[name] = (one_output(converted, converted.graph.output[which].name), INPUTS, None)

    score = score.astype(np.float32)
    sk("sk_extra_trees", ensemble.ExtraTreesRegressor(**few), x, score)
    sk("sk_hist", ensemble.HistGradientBoostingRegressor(**hist), x, score)
    sk("sk_hist_holes", ensemble.HistGradientBoostingRegressor(**hist), holes, score)
    sk("sk_scaled_forest", pipeline.make_pipeline(preprocessing.StandardScaler(), ensemble.RandomForestRegressor(**few)), x, score)
    sk("sk_scaled_boosting", pipeline.make_pipeline(preprocessing.MinMaxScaler(), ensemble.GradientBoostingRegressor(**few)), x, score)
    sk("sk_forest_targets", ensemble.RandomForestRegressor(**few), x, np.stack([score, -score, score * 2], 1))
    sk("sk_deep_tree", tree.DecisionTreeRegressor(random_state=0), x, score)
    for labels, suffix in ((two, "2"), (three, "3")):
        sk(f"sk_extra_trees_classifier{suffix}", ensemble.ExtraTreesClassifier(**few), x, labels, 1)
        sk(f"sk_hist_classifier{suffix}", ensemble.HistGradientBoostingClassifier(**hist), x, labels, 1)
        sk(f"sk_hist_classifier{suffix}_holes", ensemble.HistGradientBoostingClassifier(**hist), holes, labels, 1)
        sk(f"sk_tree_classifier{suffix}", tree.DecisionTreeClassifier(max_depth=4, random_state=0), x, labels, 1)
    small = {"n_estimators": 8, "num_leaves": 9, "verbose": -1, "random_state": 0, "n_jobs": 1}
    for labels, suffix in ((two, "2"), (three, "3")):
        m = convert_lightgbm(lightgbm.LGBMClassifier(**small).fit(holes, labels), initial_types=types, zipmap=False)
        made[f"lgbm_classifier{suffix}_holes"] = (one_output(m, m.graph.output[1].name), INPUTS, None)
        m = convert_xgboost(xgboost.XGBClassifier(n_estimators=8, max_depth=3, random_state=0, n_jobs=1).fit(holes, labels), initial_types=types)
        made[f"xgb_classifier{suffix}_holes"] = (one_output(m, m.graph.output[1].name), INPUTS, None)
    # Categories become tests for equality.
    coded = x.copy()
    coded[:, 0], coded[:, 3] = np.digitize(x[:, 0], [-1, -0.4, 0, 0.4, 1]), np.digitize(x[:, 3], [-0.5, 0.5])
    m = convert_lightgbm(lightgbm.LGBMRegressor(**small, min_data_per_group=5, cat_smooth=1).fit(
        coded, score, categorical_feature=[0, 3]), initial_types=types)
    made["lgbm_categories"] = (one_output(m, m.graph.output[0].name), INPUTS, None)
    m = convert_lightgbm(lightgbm.LGBMRegressor(**small, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7).fit(
        x, score), initial_types=types)
    made["lgbm_forest"] = (one_output(m, m.graph.output[0].name), INPUTS, None)
    m = convert_xgboost(xgboost.XGBRFRegressor(n_estimators=6, max_depth=4, random_state=0, n_jobs=1).fit(x, score), initial_types=types)
    made["xgb_forest"] = (one_output(m, m.graph.output[0].name), INPUTS, None)
    few = dict(iterations=8, depth=3, verbose=0, random_seed=0, thread_count=1, allow_writing_files=False)
    for name, model, rows, labels in (
        ("cat", catboost.CatBoostRegressor(**few), x, score),
        ("cat_holes", catboost.CatBoostRegressor(**few), holes, score),
        ("cat_classifier2", catboost.CatBoostClassifier(**few), x, two),
        ("cat_classifier3", catboost.CatBoostClassifier(**few), x, three),
        ("cat_classifier3_holes", catboost.CatBoostClassifier(**few), holes, three),
    ):
        made[name] = (from_catboost(model.fit(rows, labels)), INPUTS, None)


def from_catboost(model):
    """By its own exporter, with the scores that it hands to ZipMap as the output."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model.onnx", format="onnx")
        converted = onnx.load(f"{folder}/model.onnx")
    scores = converted.graph.node[0].output[-1]
    del converted.graph.node[1:], converted.graph.output[:], converted.metadata_props[:]
    converted.graph.output.append(onnx.helper.make_tensor_value_info(scores, onnx.TensorProto.FLOAT, None))
    old = converted.graph.input[0].name
    converted.graph.input[0].name = "x"
    rename(converted, old)
    return one_output(converted, scores)


def rename(model, old):
    for node in model.graph.node:
        node.input[:] = ["x" if i == old else i for i in node.input]
